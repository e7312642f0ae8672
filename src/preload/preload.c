/* SPDX-License-Identifier: Apache-2.0 */
/*
 * In a client of skep exec: libc calls that reach a handle other than by bpf(2), which
 * seccomp leads to the instance. Each asks libc first wherever libc's answer tells that the
 * descriptor is none of ours, so that programs which have no handles notice nothing.
 */
#include <dlfcn.h>
#include <errno.h>
#include <linux/perf_event.h>
#include <stdarg.h>
#include <stdint.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>

#include "client/ask.h"
#include "client/standin.h"
#include "client/view.h"
#include "map/pages.h"
#include "next.h"
#include "preload/direct.h"

/* ---- The way to libc and to the instance ---- */

static const char *const names[] = {
#define X(n) #n,
	NAMES(X)
#undef X
};
static void *_Atomic next[NEXT_END];

void *skep_next(enum name name)
{
	void *f = atomic_load_explicit(&next[name], memory_order_relaxed);

	if (!f) {
		f = dlsym(RTLD_NEXT, names[name]);
		atomic_store_explicit(&next[name], f, memory_order_relaxed);
	}
	return f;
}

/* All at once and early: dlsym() is nothing for signal handlers. */
__attribute__((constructor)) static void find_next(void)
{
	for (int i = 0; i < NEXT_END; i++)
		skep_next((enum name)i);
}

long skep_ask(int question, unsigned long a, unsigned long b)
{
	int code = errno;
	long r = syscall(SYS_bpf, (long)question, a, b);

	if (r < 0)
		r = -errno;
	errno = code;
	return r;
}

/* ---- For standin.c ---- */

int skep_real_epoll_ctl(int epfd, int op, int fd, struct epoll_event *ev)
{
	return NEXT(epoll_ctl)(epfd, op, fd, ev);
}

int skep_real_epoll_pwait(int epfd, struct epoll_event *ev, int max, int ms, const sigset_t *mask)
{
	return NEXT(epoll_pwait)(epfd, ev, max, ms, mask);
}

int skep_real_close(int fd)
{
	return NEXT(close)(fd);
}

long skep_real_futex(void *word, int op, uint32_t val)
{
	return syscall(SYS_futex, word, (long)op, (long)val, (void *)NULL, (void *)NULL, 0L);
}

long skep_real_futex_waitv(const struct futex_waitv *words, unsigned n, const struct timespec *at)
{
	return syscall(SYS_futex_waitv, words, (long)n, 0L, at, (long)CLOCK_MONOTONIC);
}

/* Handles are sealed memory files. */
bool skep_may_be_source(int fd)
{
	const int sealed = F_SEAL_SHRINK | F_SEAL_GROW;
	int code = errno, seals = fcntl(fd, F_GET_SEALS);

	errno = code;
	return seals >= 0 && (seals & sealed) == sealed;
}

static bool ring_readable(const struct skep_source *src)
{
	return skep_ring_readable(src->own[0], src->own[1]);
}

static bool perf_readable(const struct skep_source *src)
{
	return skep_perf_page_readable(src->own[0]);
}

static void release(struct skep_source *src)
{
	for (int i = 0; i < 2; i++)
		if (src->own[i])
			munmap(src->own[i], SKEP_PAGE);
}

static void *map_page(int fd, int prot, off64_t off)
{
	void *p = NEXT(mmap64)(NULL, SKEP_PAGE, prot, MAP_SHARED, fd, off);

	return p == MAP_FAILED ? NULL : p;
}

int skep_source_open(int fd, struct skep_source *src)
{
	long kind = skep_may_be_source(fd) ? skep_ask(SKEP_ASK_SOURCE, (unsigned)fd, 0) : -EPERM;
	/* Behind a read-only handle: no producer is told that somebody sleeps, so what is in
	 * the buffer is found when the thread looks by itself, each second. */
	static _Atomic uint32_t nobody;
	_Atomic uint32_t *armed = &nobody;
	struct skep_perf_own *perf;
	struct skep_cons_page *cons;
	struct skep_prod_page *prod;

	if (kind == SKEP_ASK_RING) {
		cons = map_page(fd, PROT_READ | PROT_WRITE, 0);
		prod = map_page(fd, PROT_READ, SKEP_PAGE);
		if (cons)
			armed = &cons->armed;
		else
			cons = map_page(fd, PROT_READ, 0);
		*src = (struct skep_source){NULL, NULL, ring_readable, release, {cons, prod}};
		if (cons && prod) {
			src->seq = (const uint32_t *)&prod->seq;
			src->armed = armed;
			return 0;
		}
	} else if (kind == SKEP_ASK_PERF) {
		*src = (struct skep_source){NULL, NULL, perf_readable, release, {NULL}};
		src->own[0] = map_page(fd, PROT_READ | PROT_WRITE, 0);
		if (src->own[0]) {
			perf = (struct skep_perf_own *)((uint8_t *)src->own[0] + SKEP_PERF_OWN);
			src->seq = (const uint32_t *)&perf->seq;
			src->armed = &perf->armed;
			return 0;
		}
	} else if (kind == SKEP_ASK_MAP) {
		*src = (struct skep_source){NULL, NULL, NULL, NULL, {NULL}};
		return 0;
	} else {
		return -EPERM;
	}
	release(src);
	return -EPERM;
}

/* ---- Memory of handles ---- */

/* A perf reader learns its size from who maps it. What else a handle's mmap shows, the file
 * itself has; but see skep_view_again() for frozen maps. */
static void *map_handle(void *addr, size_t len, int prot, int flags, int fd, off64_t off)
{
	int type = flags & MAP_TYPE, again, code;
	void *p;

	if (type == MAP_SHARED && !off && prot & PROT_WRITE && skep_may_be_source(fd)) {
		long r = skep_ask(SKEP_ASK_PERF_MAP, (unsigned)fd, len);

		if (r == -EINVAL || r == -ENOMEM) {
			errno = (int)-r;
			return MAP_FAILED;
		}
	}
	p = NEXT(mmap64)(addr, len, prot, flags, fd, off);
	if (p != MAP_FAILED || errno != EPERM || type == MAP_PRIVATE || prot & PROT_WRITE ||
	    !skep_may_be_source(fd))
		return p;
	again = skep_view_again(fd);
	if (again >= 0) {
		p = NEXT(mmap64)(addr, len, prot, flags, again, off);
		code = errno;
		close(again);
		errno = code;
	} else {
		errno = EPERM;
	}
	return p;
}

/* Memory without a file is asked for by allocators before anything is set up. */
static void *map_any(void *addr, size_t len, int prot, int flags, int fd, off64_t off)
{
	if (prot & PROT_EXEC)
		skep_direct_new_code();
	if (fd < 0 || flags & MAP_ANONYMOUS)
		return (void *)syscall(SYS_mmap, addr, len, (long)prot, (long)flags, (long)fd, off);
	return map_handle(addr, len, prot, flags, fd, off);
}

EXPORT void *mmap(void *addr, size_t len, int prot, int flags, int fd, off_t off)
{
	return map_any(addr, len, prot, flags, fd, off);
}

EXPORT void *mmap64(void *addr, size_t len, int prot, int flags, int fd, off64_t off)
{
	return map_any(addr, len, prot, flags, fd, off);
}

EXPORT int ioctl(int fd, unsigned long req, ...)
{
	va_list ap;
	void *arg;
	long r;

	va_start(ap, req);
	arg = va_arg(ap, void *);
	va_end(ap);
	r = NEXT(ioctl)(fd, req, arg);
	if (r < 0 && errno == ENOTTY &&
	    (req == PERF_EVENT_IOC_ENABLE || req == PERF_EVENT_IOC_DISABLE) &&
	    !skep_ask(SKEP_ASK_PERF_ENABLE, (unsigned)fd, req == PERF_EVENT_IOC_ENABLE))
		return 0;
	return (int)r;
}

/* ---- Descriptors that end ---- */

static void closing(unsigned first, unsigned last)
{
	skep_direct_closing(first, last);
	skep_standin_closing(first, last);
}

EXPORT int close(int fd)
{
	if (fd >= 0)
		closing((unsigned)fd, (unsigned)fd);
	return NEXT(close)(fd);
}

static void replacing(int from, int fd)
{
	if (fd < 0 || fd == from)
		return;
	skep_direct_closing((unsigned)fd, (unsigned)fd);
	if (skep_standin_any() && fcntl(from, F_GETFD) >= 0)
		skep_standin_closing((unsigned)fd, (unsigned)fd);
}

EXPORT int dup2(int from, int fd)
{
	replacing(from, fd);
	return NEXT(dup2)(from, fd);
}

EXPORT int dup3(int from, int fd, int flags)
{
	replacing(from, fd);
	return NEXT(dup3)(from, fd, flags);
}

EXPORT int close_range(unsigned first, unsigned last, int flags)
{
	if (!(flags & (int)CLOSE_RANGE_CLOEXEC))
		closing(first, last);
	return NEXT(close_range)(first, last, flags);
}

EXPORT void closefrom(int first)
{
	closing(first < 0 ? 0 : (unsigned)first, ~0u);
	NEXT(closefrom)(first);
}

/* A stream closes its descriptor inside libc. */
static void closing_stream(FILE *f)
{
	int fd = f ? fileno(f) : -1;

	if (fd >= 0)
		closing((unsigned)fd, (unsigned)fd);
}

EXPORT int fclose(FILE *f)
{
	closing_stream(f);
	return NEXT(fclose)(f);
}

EXPORT int fcloseall(void)
{
	closing(0, ~0u);
	return NEXT(fcloseall)();
}

EXPORT FILE *freopen(const char *path, const char *mode, FILE *f)
{
	closing_stream(f);
	return NEXT(freopen)(path, mode, f);
}

EXPORT FILE *freopen64(const char *path, const char *mode, FILE *f)
{
	closing_stream(f);
	return NEXT(freopen64)(path, mode, f);
}

/* ---- bpf(2), and what may close descriptors without telling ---- */

EXPORT long syscall(long nr, ...)
{
	long a[6], ret;
	va_list ap;

	va_start(ap, nr);
	for (int i = 0; i < 6; i++)
		a[i] = va_arg(ap, long);
	va_end(ap);
	if (nr == SYS_bpf && skep_direct((int)a[0], (union bpf_attr *)a[1], (unsigned)a[2], &ret)) {
		if (ret >= 0)
			return ret;
		errno = (int)-ret;
		return -1;
	}
	switch (nr) {
	case SYS_close:
	case SYS_dup3:
#ifdef SYS_dup2
	case SYS_dup2:
#endif
		a[5] = nr == SYS_close ? a[0] : a[1];
		if (a[5] >= 0 && (nr == SYS_close || a[0] != a[1]))
			closing((unsigned)a[5], (unsigned)a[5]);
		break;
	case SYS_close_range:
		if (!(a[2] & (long)CLOSE_RANGE_CLOEXEC))
			closing((unsigned)a[0], (unsigned)a[1]);
		break;
	case SYS_unshare:
	case SYS_clone:
	case SYS_clone3:
		skep_direct_new_code();
		break;
	}
	return NEXT(syscall)(nr, a[0], a[1], a[2], a[3], a[4], a[5]);
}

/* Threads whose descriptors are others' from now on. */
EXPORT int unshare(int flags)
{
	skep_direct_new_code();
	return NEXT(unshare)(flags);
}

EXPORT int mprotect(void *p, size_t len, int prot)
{
	if (prot & PROT_EXEC)
		skep_direct_new_code();
	return NEXT(mprotect)(p, len, prot);
}

/* ---- epoll ---- */

EXPORT int epoll_ctl(int epfd, int op, int fd, struct epoll_event *ev)
{
	return skep_standin_epoll_ctl(epfd, op, fd, ev);
}

EXPORT int epoll_pwait(int epfd, struct epoll_event *ev, int max, int ms, const sigset_t *mask)
{
	return skep_standin_epoll_pwait(epfd, ev, max, ms, mask);
}

EXPORT int epoll_wait(int epfd, struct epoll_event *ev, int max, int ms)
{
	return skep_standin_epoll_pwait(epfd, ev, max, ms, NULL);
}

EXPORT int epoll_pwait2(int epfd, struct epoll_event *ev, int max, const struct timespec *t,
			const sigset_t *mask)
{
	int64_t ms = -1;

	if (!skep_standin_any() || (t && (t->tv_sec < 0 || t->tv_nsec < 0)))
		return NEXT(epoll_pwait2)(epfd, ev, max, t, mask);
	if (t)
		ms = t->tv_sec > INT32_MAX / 1000 - 1
			     ? INT32_MAX
			     : t->tv_sec * 1000 + (t->tv_nsec + 999999) / 1000000;
	return skep_standin_epoll_pwait(epfd, ev, max, (int)ms, mask);
}
