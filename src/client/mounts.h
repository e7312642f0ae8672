/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The files by which a kernel shows what it has, as an instance has it: mounts in a namespace
 * that the client gets for itself, so that every program finds them by whatever path, and nobody else
 * sees them. Root enters a mount namespace, another user a user namespace too.
 */
#ifndef SKEP_CLIENT_MOUNTS_H
#define SKEP_CLIENT_MOUNTS_H

#include <stdbool.h>

struct skep_mounts {
	int pins; /* the directory at /sys/fs/bpf, opened with O_PATH; -1 */
	int trace; /* the one at /sys/kernel/tracing; -1 */
};

/* Enters a mount namespace in which "/" is a mount, also in a chroot, and what is mounted from
 * now on is seen by this process and what it starts only. The process has one thread. 0 or -errno. */
int skep_mounts_unshare(void);

/* For the calling process, which has one thread, and what it starts. 0 with at least one
 * of the directories, or -errno. */
int skep_mounts_enter(struct skep_mounts *m, bool jit);

#endif
