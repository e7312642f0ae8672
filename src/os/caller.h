/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Whose memory and descriptors a call of bpf(2) names: this process's own, or, when a
 * server answers for a client, the client's. Set per thread and for the length of one
 * call; everything that reads a caller's memory goes through here.
 */
#ifndef SKEP_CALLER_H
#define SKEP_CALLER_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

struct skep_caller {
	pid_t pid, tgid; /* the calling thread, and its process */
	uid_t uid; /* its real ids */
	gid_t gid;
	int pidfd; /* of its process: descriptors are copied through it */
	bool unprivileged; /* it has none of the kernel's capabilities for bpf(2) */
	bool gave; /* out: the call's result is a new descriptor, in this process */
	int taken[8]; /* copies of its descriptors, closed when the call ends */
	unsigned ntaken;
};

/* Makes `caller` the one whom this thread answers (NULL: itself); returns the one before. */
struct skep_caller *skep_caller_enter(struct skep_caller *caller);
struct skep_caller *skep_caller_current(void);
/* Closes what was taken from it. */
void skep_caller_done(struct skep_caller *caller);

/* As skep_probe_read(), _read_str() and _write(), in the caller's memory. */
int skep_caller_read(void *dst, const void *src, size_t len);
long skep_caller_read_str(char *dst, const void *src, size_t len);
int skep_caller_write(void *dst, const void *src, size_t len);

/* A descriptor of this process for the caller's fd: the same open file description.
 * Owned by the caller's structure. -EBADF. */
int skep_caller_fd(int fd);

#endif
