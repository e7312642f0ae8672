/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Clients that were written for the kernel, served by an instance: their bpf(2) calls
 * arrive as seccomp user notifications (seccomp_unotify(2)), whether the program is static
 * or dynamic and whatever language made the call. No privilege is needed.
 */
#ifndef SKEP_NOTIFY_H
#define SKEP_NOTIFY_H

#include "client/start.h"
#include "skep.h"

struct skep_notify;

/* Will answer for what was started, on an instance. 0 or -errno. */
int skep_notify_open(struct skep_notify **out, struct skep *skep, const struct skep_start *from);
/* The ports to which programs may be attached by netlink; they stay the caller's. */
struct skep_net_hook;
void skep_notify_ports(struct skep_notify *n, struct skep_net_hook *const *ports, unsigned count);
/* Serves on the calling thread and a few others until no process is left that could call. */
int skep_notify_serve(struct skep_notify *n);
void skep_notify_close(struct skep_notify *n);

/* Calls that were answered so far. */
unsigned long skep_notify_count(const struct skep_notify *n);

#endif
