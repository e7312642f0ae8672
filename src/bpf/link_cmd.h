/* SPDX-License-Identifier: Apache-2.0 */
/* Between the commands on links and the links. */
#ifndef SKEP_LINK_CMD_H
#define SKEP_LINK_CMD_H

#include "bpf/call.h"
#include "bpf/link.h"

bool skep_link_hook(struct skep *skep, uint32_t attach_type, uint32_t ifindex,
		    const struct skep_hook **hook, void **arg);
/* Makes a link on the hook and attaches it: a descriptor or -errno. */
long skep_link_make(struct skep_call *c, struct skep_prog *prog, uint32_t attach_type,
		    uint32_t ifindex, const struct skep_hook *hook, void *arg, uint64_t cookie);
/* LINK_UPDATE; old NULL: whatever it is now. */
int skep_link_replace(struct skep_link *link, struct skep_prog *next, struct skep_prog *old,
		      uint32_t flags);
int skep_link_stop(struct skep_link *link);

#endif
