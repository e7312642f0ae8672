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
#include <stdint.h>
#include <sys/types.h>

/* Capabilities that count here, as the kernel numbers them. */
enum skep_cap {
	SKEP_CAP_NET_ADMIN = 12,
	SKEP_CAP_SYS_ADMIN = 21,
	SKEP_CAP_PERFMON = 38,
	SKEP_CAP_BPF = 39,
};

struct skep_caller {
	pid_t pid, tgid; /* the calling thread, and its process */
	uid_t uid; /* its real ids */
	gid_t gid;
	uid_t fsuid; /* those that count for files */
	gid_t fsgid;
	int pidfd; /* of its process: descriptors are copied through it */
	/* In effect, by their numbers; 0 for who is in another user namespace than this process:
	 * there they say nothing of what it may do here. */
	uint64_t caps;
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

/* Fills it, but for pidfd, for the thread `pid`: false if there is none. */
bool skep_caller_find(struct skep_caller *caller, pid_t pid);
/* Between these two this thread reaches files with the caller's rights, where it could do more:
 * 0 or -errno. */
int skep_caller_files_enter(void);
void skep_caller_files_leave(void);

/* A descriptor of this process for the caller's fd: the same open file description.
 * Owned by the caller's structure. -EBADF. */
int skep_caller_fd(int fd);

#endif
