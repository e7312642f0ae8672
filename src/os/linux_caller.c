/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Linux: a client's memory by process_vm_readv(2), its descriptors by pidfd_getfd(2). Both
 * ask for the right to trace the client, which a server of the same user has.
 */
#include "os/caller.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#include "os/linux.h"
#include "os/os.h"

static __thread struct skep_caller *current __attribute__((tls_model("initial-exec")));

struct skep_caller *skep_caller_enter(struct skep_caller *caller)
{
	struct skep_caller *was = current;

	current = caller;
	return was;
}

struct skep_caller *skep_caller_current(void)
{
	return current;
}

void skep_caller_done(struct skep_caller *caller)
{
	while (caller->ntaken)
		close(caller->taken[--caller->ntaken]);
}

/* The kernel copies page by page and stops at a hole: less than asked is a fault. */
static int remote(void *here, const void *there, size_t len, bool write)
{
	while (len) {
		struct iovec mine = {here, len}, theirs = {(void *)(uintptr_t)there, len};
		long n = syscall(write ? SYS_process_vm_writev : SYS_process_vm_readv,
				 (long)current->pid, &mine, 1UL, &theirs, 1UL, 0UL);

		if (n <= 0)
			return -EFAULT;
		here = (char *)here + n;
		there = (const char *)there + n;
		len -= (size_t)n;
	}
	return 0;
}

static int remote_read(void *dst, const void *src, size_t len)
{
	return remote(dst, src, len, false);
}

int skep_caller_read(void *dst, const void *src, size_t len)
{
	return current ? remote_read(dst, src, len) : skep_probe_read(dst, src, len);
}

long skep_caller_read_str(char *dst, const void *src, size_t len)
{
	if (!current)
		return skep_probe_read_str(dst, src, len);
	return skep_linux_read_str(remote_read, dst, src, len);
}

int skep_caller_write(void *dst, const void *src, size_t len)
{
	if (!current)
		return skep_probe_write(dst, src, len);
	return remote((void *)(uintptr_t)src, dst, len, true);
}

int skep_caller_fd(int fd)
{
	struct skep_caller *c = current;
	int mine;

	if (!c)
		return fd;
	mine = (int)syscall(SYS_pidfd_getfd, (long)c->pidfd, (long)fd, 0UL);
	if (mine < 0)
		return -EBADF;
	/* The oldest goes first: a call looks at its descriptors one after the other. */
	if (c->ntaken == sizeof(c->taken) / sizeof(c->taken[0])) {
		close(c->taken[0]);
		for (unsigned i = 1; i < c->ntaken; i++)
			c->taken[i - 1] = c->taken[i];
		c->ntaken--;
	}
	c->taken[c->ntaken++] = mine;
	return mine;
}
