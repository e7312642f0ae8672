/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Clients that were written for the kernel, served by an instance: their bpf(2) calls
 * arrive as seccomp user notifications (seccomp_unotify(2)), whether the program is static
 * or dynamic and whatever language made the call. No privilege is needed.
 */
#ifndef SKEP_NOTIFY_H
#define SKEP_NOTIFY_H

#include <stdatomic.h>
#include <stdint.h>

#include "skep.h"

#define SKEP_NOTIFY_THREADS 4

/* Which notifications are being answered: for who is to answer them if the server dies (orphan.h). */
struct skep_serving {
	_Atomic uint64_t last; /* the newest that was taken; ids rise */
	_Atomic uint64_t ids[SKEP_NOTIFY_THREADS]; /* what each thread is at, or 0 */
};

struct skep_notify;

struct skep_notify_opts {
	int listener; /* stays the caller's */
	int pins; /* the directory of the clients' pins, or -1 */
	struct skep_serving *serving; /* NULL: nobody looks */
};

/* Will answer for who is stopped by the filter, on an instance. 0 or -errno. */
int skep_notify_open(struct skep_notify **out, struct skep *skep,
		     const struct skep_notify_opts *opts);
/* The ports to which programs may be attached by netlink; they stay the caller's. */
struct skep_net_hook;
void skep_notify_ports(struct skep_notify *n, struct skep_net_hook *const *ports, unsigned count);
/* Serves on the calling thread and a few others until no process is left that could call, or it is
 * told to stop. */
int skep_notify_serve(struct skep_notify *n);
/* From any thread: calls under way are answered still. */
void skep_notify_stop(struct skep_notify *n);
void skep_notify_close(struct skep_notify *n);

/* Calls that were answered so far. */
unsigned long skep_notify_count(const struct skep_notify *n);

#endif
