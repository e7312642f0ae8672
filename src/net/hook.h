/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A wire to which programs are attached by bpf(2) while it runs: A is the interface that they see,
 * by XDP (one), tcx ingress and egress (lists); without any everything passes.
 */
#ifndef SKEP_NET_HOOK_H
#define SKEP_NET_HOOK_H

#include <stddef.h>
#include <stdint.h>

#include "skep.h"

struct skep_net_hook;

/* Opens the interfaces (b NULL: watch a) and starts a thread for them. Where it fails, why holds a
 * sentence and the result is -errno. */
int skep_net_hook_open(struct skep_net_hook **out, struct skep *skep, const char *a, const char *b,
		       char *why, size_t len);
/* Detaches what is attached. */
void skep_net_hook_close(struct skep_net_hook *h);
uint32_t skep_net_hook_ifindex(const struct skep_net_hook *h);

/* What a netlink message with IFLA_XDP does: the caller's descriptor of a program (-1: none),
 * XDP_FLAGS_*, and with XDP_FLAGS_REPLACE that of the one that is there. 0 or the kernel's -errno. */
int skep_net_hook_xdp(struct skep_net_hook *h, int fd, uint32_t flags, int expected);

#endif
