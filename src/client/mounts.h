/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The files by which a kernel shows what it has, as an instance has it: mounts in a namespace
 * that the client gets for itself, so that every program finds them by whatever path, and nobody else
 * sees them. Root enters a mount namespace, another user a user namespace too.
 */
#ifndef SKEP_CLIENT_MOUNTS_H
#define SKEP_CLIENT_MOUNTS_H

#include <stdbool.h>

/* Descriptors, or -1. */
struct skep_mounts {
	int pins; /* the directory at /sys/fs/bpf, opened with O_PATH */
	int trace; /* the one at /sys/kernel/tracing */
	int ns, user; /* the mount namespace that they are in; its user namespace if it is not ours */
};
#define SKEP_MOUNTS_NONE ((struct skep_mounts){-1, -1, -1, -1})
void skep_mounts_close(struct skep_mounts *m);

/* Enters a mount namespace in which "/" is a mount, also in a chroot, and what is mounted from
 * now on is seen by this process and what it starts only. The process has one thread. 0 or -errno. */
int skep_mounts_unshare(void);

/* For the calling process, which has one thread, and what it starts. 0 with at least one
 * of the directories, or -errno. Those of `shared`, which may be NULL, take the place of new ones. */
int skep_mounts_enter(struct skep_mounts *m, bool jit, const struct skep_mounts *shared);

/* The directories of another namespace once more, to be entered somewhere else: descriptors of mounts that
 * are nowhere yet, in out->pins and out->trace. 0 or -errno. */
int skep_mounts_again(struct skep_mounts *out, const struct skep_mounts *of);

#endif
