/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Clients that were written for the kernel, served by an instance: their bpf(2) calls
 * arrive as seccomp user notifications (seccomp_unotify(2)), whether the program is static
 * or dynamic and whatever language made the call. No privilege is needed.
 */
#ifndef SKEP_NOTIFY_H
#define SKEP_NOTIFY_H

#include <sys/types.h>

#include "client/error.h"
#include "skep.h"

struct skep_notify;

/* Starts argv (found in PATH) with its bpf(2) led to skep, for it and all its
 * descendants. *pid is the child's, which the caller waits for. 0 or -errno; the child's own
 * failure to start argv shows in its exit status, 127 or 126 as shells have it. */
int skep_notify_start(struct skep_notify **out, struct skep *skep, char *const *argv, pid_t *pid,
		      struct skep_error *err);
/* Serves on the calling thread and a few others until no process is left that could call. */
int skep_notify_serve(struct skep_notify *n);
void skep_notify_close(struct skep_notify *n);

/* Calls that were answered so far. */
unsigned long skep_notify_count(const struct skep_notify *n);

#endif
