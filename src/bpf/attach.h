/* SPDX-License-Identifier: Apache-2.0 */
/* Attach types: which programs, and to what they are attached. */
#ifndef SKEP_ATTACH_H
#define SKEP_ATTACH_H

#include "bpf/instance.h"

enum skep_attach_target {
	SKEP_AT_NOWHERE,
	SKEP_AT_CGROUP,
	SKEP_AT_NETNS,
	SKEP_AT_SOCKMAP,
	SKEP_AT_NETDEV,
	SKEP_AT_NETKIT,
	SKEP_AT_LIRC
};

/* BPF_PROG_TYPE_UNSPEC: no attach type, or one for links only. */
uint32_t skep_attach_prog_type(uint32_t attach_type);
enum skep_attach_target skep_attach_target(uint32_t attach_type);
/* Whether prog may be attached so: 0 or -EINVAL. */
int skep_attach_check(const struct skep_prog *prog, uint32_t attach_type);
/* The errno for a target that can't be there, because an instance has no such places. */
int skep_attach_nowhere(uint32_t attach_type);
/* A map that can have programs: 0, -EBADF, -EINVAL no map, -EOPNOTSUPP another kind. */
int skep_attach_sockmap(struct skep *skep, uint32_t fd);
/* Why attaching so was refused with err, to be said to people; NULL: for a reason of the call's own. */
const char *skep_attach_reason(uint32_t attach_type, int err);

#endif
