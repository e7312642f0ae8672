/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Linux: own memory, safely.
 *
 * process_vm_readv on oneself: a system call, but one that needs no descriptor, no signal
 * handler, and no guess about what is mapped, which another thread may change at any
 * moment. It costs most of a microsecond, so what is certainly mapped is copied at once: the
 * calling thread's stack from the stack pointer up, and the heap that brk() made. Callers
 * that know other ranges copy them themselves.
 */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#include "os/linux.h"
#include "os/os.h"

#define STACK_MAX (8ul << 20)

/* What skep_thread_prepare() found out about the calling thread. */
static __thread struct {
	uintptr_t stack_lo, stack_hi; /* hi 0: not prepared */
	uintptr_t heap_lo; /* 0: unknown */
} known __attribute__((tls_model("initial-exec")));

/* Where the heap begins, the 47th number of /proc/self/stat; the second is a name in
 * parentheses, which may hold anything. */
static uintptr_t heap_start(void)
{
	char buf[1024], *p;
	int fd = open("/proc/self/stat", O_RDONLY | O_CLOEXEC), field;
	ssize_t n;

	if (fd < 0)
		return 0;
	n = read(fd, buf, sizeof(buf) - 1);
	close(fd);
	if (n <= 0)
		return 0;
	buf[n] = 0;
	p = strrchr(buf, ')');
	for (field = 2; p && field < 47; field++)
		p = strchr(p + 1, ' ');
	return p ? (uintptr_t)strtoull(p, NULL, 10) : 0;
}

static __attribute__((noinline)) void prepare(void)
{
	pthread_attr_t attr;
	size_t size = 0;
	void *lo = NULL;

	known.stack_hi = 1; /* prepared, though nothing is known */
	if (pthread_getattr_np(pthread_self(), &attr))
		return;
	if (!pthread_attr_getstack(&attr, &lo, &size) && size) {
		uintptr_t hi = (uintptr_t)lo + size;

		known.stack_lo = size > STACK_MAX ? hi - STACK_MAX : (uintptr_t)lo;
		known.heap_lo = heap_start();
		known.stack_hi = hi;
	}
	pthread_attr_destroy(&attr);
}

void skep_thread_prepare(void)
{
	if (__builtin_expect(!known.stack_hi, 0))
		prepare();
}

static inline bool certainly_mapped(const void *p, size_t len)
{
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
	return false; /* they know more than what is mapped */
#endif
	uintptr_t at = (uintptr_t)p, end = at + len, sp = (uintptr_t)__builtin_frame_address(0);

	if (end < at)
		return false;
	/* Running on another stack (a signal's, a coroutine's), nothing is known of this one's
	 * lower end. */
	if (at >= sp && end <= known.stack_hi)
		return sp >= known.stack_lo;
	return known.heap_lo && at >= known.heap_lo && end <= (uintptr_t)sbrk(0);
}

bool skep_probe_certain(const void *p, size_t len)
{
	return certainly_mapped(p, len);
}

static long copy_vm(void *dst, const void *src, size_t len, bool write)
{
	struct iovec here = {write ? (void *)(uintptr_t)src : dst, len};
	struct iovec there = {write ? dst : (void *)(uintptr_t)src, len};
	long n = syscall(write ? SYS_process_vm_writev : SYS_process_vm_readv, getpid(), &here, 1UL,
			 &there, 1UL, 0UL);

	/* EINVAL: the length wraps round, which is no address either. */
	return n < 0 ? (errno == EINVAL ? -EFAULT : -errno) : n;
}

static int copy_all(void *dst, const void *src, size_t len, bool write)
{
	while (len) {
		long n = copy_vm(dst, src, len, write);

		if (n <= 0)
			return n < 0 ? (int)n : -EFAULT;
		dst = (char *)dst + n;
		src = (const char *)src + n;
		len -= (size_t)n;
	}
	return 0;
}

int skep_probe_read(void *dst, const void *src, size_t len)
{
	if (certainly_mapped(src, len)) {
		memcpy(dst, src, len);
		return 0;
	}
	return copy_all(dst, src, len, false);
}

int skep_probe_write(void *dst, const void *src, size_t len)
{
	if (certainly_mapped(dst, len)) {
		memcpy(dst, src, len);
		return 0;
	}
	return copy_all(dst, src, len, true);
}

long skep_probe_read_str(char *dst, const void *src, size_t len)
{
	return skep_linux_read_str(skep_probe_read, dst, src, len);
}

long skep_linux_read_str(int (*read)(void *dst, const void *src, size_t len), char *dst,
			 const void *src, size_t len)
{
	size_t page = (size_t)sysconf(_SC_PAGESIZE), done = 0;
	const char *from = src;

	/* Up to the end of a page at a time: a string may end right before a hole. */
	while (done < len) {
		size_t n = page - ((uintptr_t)from & (page - 1));
		const char *end;
		int err;

		if (n > len - done)
			n = len - done;
		if (n > 256)
			n = 256;
		err = read(dst + done, from, n);
		if (err)
			return err;
		end = memchr(dst + done, 0, n);
		if (end)
			return end - dst + 1;
		done += n;
		from += n;
	}
	/* Cut off, and terminated as the kernel's helper does. */
	if (len)
		dst[len - 1] = 0;
	return (long)len;
}
