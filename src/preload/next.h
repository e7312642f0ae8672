/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The preloaded library of skep exec: names of libc that it puts itself in front of. NEXT(name)
 * is the function behind. Only these names are exported.
 */
#ifndef SKEP_PRELOAD_NEXT_H
#define SKEP_PRELOAD_NEXT_H

#include <fcntl.h>
#include <mntent.h>
#include <poll.h>
#include <sched.h>
#include <stdbool.h>
#include <stdio.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/select.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

/* clang-format off */
#define NAMES(X) \
	X(open) X(open64) X(openat) X(openat64) X(fopen) X(fopen64) \
	X(access) X(faccessat) X(euidaccess) X(eaccess) X(stat) X(stat64) \
	X(readlink) X(readlinkat) X(setmntent) \
	X(mmap) X(mmap64) X(ioctl) \
	X(close) X(dup2) X(dup3) X(close_range) X(closefrom) \
	X(epoll_ctl) X(epoll_pwait) X(epoll_pwait2) \
	X(send) X(sendto) X(sendmsg) \
	X(poll) X(ppoll) X(select) X(pselect) \
	X(fclose) X(fcloseall) X(freopen) X(freopen64) \
	X(syscall) X(unshare) X(mprotect)
/* clang-format on */

enum name {
#define X(n) NEXT_##n,
	NAMES(X)
#undef X
		NEXT_END
};

void *skep_next(enum name name);
#define NEXT(n) ((__typeof__(&(n)))skep_next(NEXT_##n))

#define EXPORT __attribute__((visibility("default")))

/* Asks who answers our bpf(2): >= 0, or -errno; errno stays. */
long skep_ask(int question, unsigned long a, unsigned long b);

/* Whether fd may be a handle that can be waited for: cheap, and true for few other files. */
bool skep_may_be_source(int fd);

#endif
