/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the core asks of the operating system (os/os.h), answered without libc. Descriptors
 * belong to the host and are closed once a segment is mapped, so memory is reserved through
 * the mapping. Only what the agent's part of the core uses is here.
 */
#include "os/os.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/futex.h>
#include <linux/memfd.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <time.h>

#include "btf/btf.h"
#include "map/map.h"
#include "trace/agent/agent.h"

#ifndef MADV_POPULATE_WRITE
#define MADV_POPULATE_WRITE 23
#endif
#define PAGE 4096ul

static size_t page_up(size_t size)
{
	return (size + PAGE - 1) & ~(PAGE - 1);
}

struct agent_area agent_areas[AGENT_AREAS];

void *agent_map(size_t size, int prot, int flags, int fd)
{
	long p = SYS6(SYS_mmap, 0, size, prot, flags, fd, 0);

	if (p < 0 && p > -4096)
		return NULL;
	/* What is not noted for want of room stays when the agent goes. */
	for (size_t i = 0; i < AGENT_AREAS; i++) {
		uint64_t none = 0;

		if (__atomic_compare_exchange_n(&agent_areas[i].base, &none, (uint64_t)p, false,
						__ATOMIC_RELAXED, __ATOMIC_RELAXED)) {
			agent_areas[i].size = size;
			break;
		}
	}
	return (void *)p;
}

void agent_unmap(void *at, size_t size)
{
	for (size_t i = 0; i < AGENT_AREAS; i++)
		if (__atomic_load_n(&agent_areas[i].base, __ATOMIC_RELAXED) == (uint64_t)at) {
			__atomic_store_n(&agent_areas[i].base, 0, __ATOMIC_RELAXED);
			break;
		}
	SYS3(SYS_munmap, at, size, 0);
}

/* ---- Segments ---- */

int skep_seg_create(struct skep_seg *seg, const char *name, size_t size)
{
	*seg = (struct skep_seg){.fd = -1};
	return -ENOTSUP; /* the instance's process makes them */
}

int skep_seg_open(struct skep_seg *seg, int fd, bool writable)
{
	long seals = SYS3(SYS_fcntl, fd, F_GET_SEALS, 0);
	struct stat st = {0};
	long err;

	*seg = (struct skep_seg){.fd = -1};
	if (seals < 0 || (seals & (F_SEAL_SHRINK | F_SEAL_GROW)) != (F_SEAL_SHRINK | F_SEAL_GROW))
		return -EPERM;
	err = SYS3(SYS_fstat, fd, &st, 0);
	if (err)
		return (int)err;
	if (st.st_size <= 0)
		return -EINVAL;
	seg->base = agent_map((size_t)st.st_size, PROT_READ | (writable ? PROT_WRITE : 0),
			      MAP_SHARED | MAP_NORESERVE, fd);
	if (!seg->base)
		return -ENOMEM;
	seg->size = (size_t)st.st_size;
	seg->dev = st.st_dev;
	seg->ino = st.st_ino;
	return 0;
}

void skep_seg_close(struct skep_seg *seg)
{
	if (seg->base)
		agent_unmap(seg->base, seg->size);
	*seg = (struct skep_seg){.fd = -1};
}

int skep_seg_reserve(struct skep_seg *seg, size_t off, size_t len)
{
	uintptr_t from = ((uintptr_t)seg->base + off) & ~(PAGE - 1);
	uintptr_t to = page_up((uintptr_t)seg->base + off + len);

	long err = SYS3(SYS_madvise, from, to - from, MADV_POPULATE_WRITE);

	/* EINVAL: mapped read-only (frozen), there is nothing to write. */
	return err && err != -EINVAL ? -ENOMEM : 0;
}

/* Who made the map looked after that. */
bool skep_memory_strict(void)
{
	return false;
}

/* Signals are the host's: nothing is replaced here. */
bool skep_seg_missing_at(const void *p)
{
	return false;
}

int skep_seg_freeze(struct skep_seg *seg)
{
	return -ENOTSUP;
}

int skep_seg_freeze_users(struct skep_seg *seg)
{
	return -ENOTSUP;
}

/* ---- Descriptors ---- */

int skep_fd_stat(int fd, uint64_t *dev, uint64_t *ino)
{
	struct stat st = {0};

	if (SYS3(SYS_fstat, fd, &st, 0))
		return -EBADF;
	*dev = st.st_dev;
	*ino = st.st_ino;
	return 0;
}

bool skep_fd_is(int fd, uint64_t dev, uint64_t ino)
{
	uint64_t d, i;

	return fd >= 0 && !skep_fd_stat(fd, &d, &i) && d == dev && i == ino;
}

void skep_fd_close(int fd, uint64_t dev, uint64_t ino)
{
	if (skep_fd_is(fd, dev, ino))
		SYS1(SYS_close, fd);
}

int skep_fd_reopen(int fd, int access, bool high)
{
	char path[40] = "/proc/self/fd/", digits[12], *p = path + 14;
	int n = 0;

	for (uint32_t v = (uint32_t)fd; n == 0 || v; v /= 10)
		digits[n++] = (char)('0' + v % 10);
	while (n)
		*p++ = digits[--n];
	*p = 0;
	return (int)SYS6(SYS_openat, AT_FDCWD, path, access | O_CLOEXEC, 0, 0, 0);
}

int skep_fd_hold(int fd, uint64_t byte)
{
	struct flock l = {
		.l_type = F_RDLCK, .l_whence = SEEK_SET, .l_start = (off_t)byte, .l_len = 1};

	return (int)SYS3(SYS_fcntl, fd, F_OFD_SETLK, &l);
}

int skep_fd_held(int fd, uint64_t byte, uint64_t len, uint64_t *next)
{
	struct flock l = {.l_type = F_WRLCK,
			  .l_whence = SEEK_SET,
			  .l_start = (off_t)byte,
			  .l_len = (off_t)len};
	long err = SYS3(SYS_fcntl, fd, F_OFD_GETLK, &l);

	if (err)
		return (int)err;
	if (l.l_type == F_UNLCK)
		return 0;
	if (next)
		*next = (uint64_t)l.l_start;
	return 1;
}

/* ---- Memory ---- */

void *skep_wipe_alloc(size_t size)
{
	void *p = agent_map(page_up(size), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1);

	if (p && SYS3(SYS_madvise, p, page_up(size), MADV_WIPEONFORK)) {
		agent_unmap(p, page_up(size));
		p = NULL;
	}
	return p;
}

void skep_wipe_free(void *p, size_t size)
{
	if (p)
		agent_unmap(p, page_up(size));
}

/* Written first, then made executable: in a stopped process nobody sees it before. */
int skep_exec_make(struct skep_exec_mem *m, const void *code, size_t len)
{
	long err;

	*m = (struct skep_exec_mem){.size = page_up(len ? len : 1)};
	m->rx = agent_map(m->size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1);
	if (!m->rx)
		return -ENOMEM;
	memcpy(m->rx, code, len);
	err = SYS3(SYS_mprotect, m->rx, m->size, PROT_READ | PROT_EXEC);
	if (err)
		skep_exec_free(m);
	return (int)err;
}

void skep_exec_free(struct skep_exec_mem *m)
{
	if (m->rx)
		agent_unmap(m->rx, m->size);
	*m = (struct skep_exec_mem){0};
}

/* ---- Clocks ---- */

static uint64_t clock_ns(int clock)
{
	struct timespec ts = {0, 0};
	int (*vdso)(long, struct timespec *) = NULL;

	memcpy(&vdso, &agent_vdso_clock, sizeof(vdso));
	if ((!vdso || vdso(clock, &ts)) && SYS3(SYS_clock_gettime, clock, &ts, 0))
		return __builtin_ia32_rdtsc(); /* limits have to end all the same */
	return (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
}

uint64_t skep_clock_mono(void)
{
	return clock_ns(CLOCK_MONOTONIC);
}

uint64_t skep_clock_boot(void)
{
	return clock_ns(CLOCK_BOOTTIME);
}

uint64_t skep_clock_coarse(void)
{
	return clock_ns(CLOCK_MONOTONIC_COARSE);
}

uint64_t skep_clock_tai(void)
{
	return clock_ns(CLOCK_TAI);
}

uint64_t skep_jiffies(void)
{
	return skep_clock_coarse() / (1000000000u / 250) + (uint64_t)(uint32_t)(-300 * 250);
}

/* ---- Waiting ---- */

int skep_futex_wait(const uint32_t *word, uint32_t val, uint64_t ns)
{
	struct timespec ts = {(time_t)(ns / 1000000000u), (long)(ns % 1000000000u)};

	return (int)SYS6(SYS_futex, word, FUTEX_WAIT, val, ns ? &ts : NULL, 0, 0);
}

int skep_futex_wake(const uint32_t *word, int n)
{
	return (int)SYS6(SYS_futex, word, FUTEX_WAKE, n, 0, 0, 0);
}

void skep_cpu_relax(void)
{
	__builtin_ia32_pause();
}

void skep_cpu_yield(void)
{
	SYS1(SYS_sched_yield, 0);
}

void skep_sleep(uint64_t ns)
{
	struct timespec ts = {(time_t)(ns / 1000000000u), (long)(ns % 1000000000u)};

	SYS3(SYS_nanosleep, &ts, NULL, 0);
}

uint64_t skep_signals_block(void)
{
	uint64_t all = ~0ull, old = 0;

	SYS6(SYS_rt_sigprocmask, SIG_SETMASK, &all, &old, 8, 0, 0);
	return old;
}

void skep_signals_restore(uint64_t old)
{
	SYS6(SYS_rt_sigprocmask, SIG_SETMASK, &old, NULL, 8, 0, 0);
}

/* ---- Threads ---- */

uint32_t skep_tid(void)
{
	struct agent_thread *t = agent_thread();

	return t ? t->tid : (uint32_t)SYS1(SYS_gettid, 0);
}

bool skep_tid_gone(uint32_t tid)
{
	return tid && SYS3(SYS_kill, tid, 0, 0) == -ESRCH;
}

uint32_t skep_pidns(void)
{
	struct stat st = {0};

	return SYS6(SYS_newfstatat, AT_FDCWD, "/proc/self/ns/pid", &st, 0, 0, 0)
		       ? 0
		       : (uint32_t)st.st_ino;
}

uint64_t skep_random(void)
{
	static _Atomic uint64_t state;
	uint64_t x = 0;

	if (SYS3(SYS_getrandom, &x, sizeof(x), 1 /* GRND_NONBLOCK */) == sizeof(x))
		return x;
	x = atomic_fetch_add(&state, 0x9e3779b97f4a7c15ull) ^ __builtin_ia32_rdtsc();
	x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9ull;
	return x ^ (x >> 31);
}

/* ---- Own memory, safely ---- */

void skep_thread_prepare(void) {}

static int copy_vm(void *dst, const void *src, size_t len, bool write)
{
	while (len) {
		struct iovec here = {write ? (void *)(uintptr_t)src : dst, len};
		struct iovec there = {write ? dst : (void *)(uintptr_t)src, len};
		struct agent_thread *t = agent_thread();
		long n = SYS6(write ? SYS_process_vm_writev : SYS_process_vm_readv,
			      t ? t->pid : (uint32_t)agent_skep.pid, &here, 1, &there, 1, 0);

		if (n <= 0)
			return -EFAULT;
		dst = (char *)dst + n;
		src = (const char *)src + n;
		len -= (size_t)n;
	}
	return 0;
}

/* What needs no asking. The stack is mapped from the agent's own frame up to its owner's frames: the rest
 * of the page at least. The program's own file stays mapped (and can't be cut short) while it runs. */
static bool certainly_mapped(const void *p, size_t len)
{
	uintptr_t at = (uintptr_t)p, here = (uintptr_t)__builtin_frame_address(0), end = at + len;

	return end >= at && ((at >= here && end <= (here | (PAGE - 1)) + 1) ||
			     (at >= agent_fixed.start && end <= agent_fixed.end));
}

int skep_probe_read(void *dst, const void *src, size_t len)
{
	if (!certainly_mapped(src, len))
		return copy_vm(dst, src, len, false);
	memcpy(dst, src, len);
	return 0;
}

int skep_probe_write(void *dst, const void *src, size_t len)
{
	return copy_vm(dst, src, len, true);
}

long skep_probe_read_str(char *dst, const void *src, size_t len)
{
	const char *from = src;
	size_t done = 0;

	/* Up to the end of a page at a time: a string may end right before a hole. */
	while (done < len) {
		size_t n = PAGE - ((uintptr_t)from & (PAGE - 1));
		const char *end;

		if (n > len - done)
			n = len - done;
		if (n > 256)
			n = 256;
		if (skep_probe_read(dst + done, from, n))
			return -EFAULT;
		end = memchr(dst + done, 0, n);
		if (end)
			return end - dst + 1;
		done += n;
		from += n;
	}
	if (len)
		dst[len - 1] = 0;
	return (long)len;
}

/* ---- The instance's side, which an agent has none of ---- */

void skep_hold(struct skep *skep) {}

void skep_release(struct skep *skep) {}

void skep_object_put(struct skep_object *obj) {}

int skep_object_get(struct skep *skep, int fd, enum skep_kind kind, struct skep_object **out)
{
	return -EBADF;
}

int skep_object_add(struct skep *skep, struct skep_object *obj, enum skep_kind kind, int fd)
{
	return -ENOTCONN;
}

int skep_object_fd(struct skep_object *obj, int flags)
{
	return -ENOTCONN;
}

void skep_objects_walk(struct skep *skep, void (*fn)(struct skep_object *obj, void *arg), void *arg)
{
}
