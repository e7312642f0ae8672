/* SPDX-License-Identifier: Apache-2.0 */
/* Linux: segments, code memory, clocks, waiting, own memory. */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/keyctl.h>
#include <linux/futex.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <time.h>
#include <unistd.h>

#include "os/linux.h"
#include "os/os.h"

#ifndef MADV_POPULATE_WRITE
#define MADV_POPULATE_WRITE 23
#endif

static size_t page_up(size_t size)
{
	size_t page = (size_t)sysconf(_SC_PAGESIZE);

	return (size + page - 1) & ~(page - 1);
}

/* ---- Segments ---- */

int skep_seg_create(struct skep_seg *seg, const char *name, size_t size)
{
	size_t len = page_up(size ? size : 1);
	int fd, err;

	*seg = (struct skep_seg){.fd = -1};
	if (len < size || len > (size_t)PTRDIFF_MAX)
		return -E2BIG;
	fd = skep_linux_memfd(name);
	if (fd < 0)
		return fd;
	seg->fd = fd;
	seg->size = len;
	if (ftruncate(fd, (off_t)len) < 0 ||
	    fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW) < 0) {
		err = errno == EFBIG ? -ENOMEM : -errno;
		goto fail;
	}
	err = skep_fd_stat(fd, &seg->dev, &seg->ino);
	if (err)
		goto fail;
	seg->base = mmap(NULL, len, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_NORESERVE, fd, 0);
	if (seg->base == MAP_FAILED) {
		err = -errno;
		goto fail;
	}
	err = skep_linux_guard(seg);
	if (!err)
		return 0;
	munmap(seg->base, len);
fail:
	close(fd);
	*seg = (struct skep_seg){.fd = -1};
	return err;
}

int skep_seg_open(struct skep_seg *seg, int fd, bool writable)
{
	int prot = PROT_READ | (writable ? PROT_WRITE : 0), seals, own, err;
	struct stat st;

	*seg = (struct skep_seg){.fd = -1};
	own = skep_linux_high(fcntl(fd, F_DUPFD_CLOEXEC, 0));
	if (own < 0)
		return own;
	seals = fcntl(own, F_GET_SEALS);
	if (seals < 0 || (seals & (F_SEAL_SHRINK | F_SEAL_GROW)) != (F_SEAL_SHRINK | F_SEAL_GROW)) {
		err = -EPERM;
		goto fail;
	}
	if (fstat(own, &st) < 0) {
		err = -errno;
		goto fail;
	}
	if (st.st_size <= 0) {
		err = -EINVAL;
		goto fail;
	}
	seg->base = mmap(NULL, (size_t)st.st_size, prot, MAP_SHARED | MAP_NORESERVE, own, 0);
	if (seg->base == MAP_FAILED) {
		err = -errno;
		seg->base = NULL;
		goto fail;
	}
	seg->fd = own;
	seg->size = (size_t)st.st_size;
	seg->dev = st.st_dev;
	seg->ino = st.st_ino;
	err = writable ? skep_linux_guard(seg) : 0;
	if (!err)
		return 0;
	munmap(seg->base, seg->size);
	*seg = (struct skep_seg){.fd = -1};
fail:
	close(own);
	return err;
}

int skep_seg_move(struct skep_seg *seg, uint64_t address)
{
	void *p = mmap((void *)(uintptr_t)address, seg->size, PROT_READ | PROT_WRITE,
		       MAP_SHARED | MAP_FIXED_NOREPLACE, seg->fd, 0);

	if (p == MAP_FAILED)
		return -errno;
	if (p != (void *)(uintptr_t)address) { /* a kernel that takes it for a hint */
		munmap(p, seg->size);
		return -EEXIST;
	}
	munmap(seg->base, seg->size);
	seg->base = p;
	return 0;
}

void skep_seg_close(struct skep_seg *seg)
{
	skep_linux_unguard(seg);
	if (seg->base)
		munmap(seg->base, seg->size);
	skep_fd_close(seg->fd, seg->dev, seg->ino);
	*seg = (struct skep_seg){.fd = -1};
}

int skep_seg_reserve(struct skep_seg *seg, size_t off, size_t len)
{
	size_t page = (size_t)sysconf(_SC_PAGESIZE);
	size_t start = off & ~(page - 1);
	size_t end;

	if (off > seg->size || len > seg->size - off)
		return -EINVAL;
	if (!len)
		return 0;
	end = page_up(off + len);
	if (skep_fd_is(seg->fd, seg->dev, seg->ino)) {
		int r;

		do {
			r = fallocate(seg->fd, 0, (off_t)start, (off_t)(end - start));
		} while (r < 0 && errno == EINTR);
		if (r < 0) /* ENOSPC: by strict accounting */
			return errno == ENOSPC ? -ENOMEM : -errno;
		skep_seg_restore(seg);
		return 0;
	}
	/* The descriptor was closed under us; the mapping still does it. */
	if (madvise((char *)seg->base + start, end - start, MADV_POPULATE_WRITE) < 0)
		return errno == EFAULT ? -ENOMEM : -errno;
	return 0;
}

void skep_seg_release(struct skep_seg *seg, size_t off, size_t len)
{
	if (off > seg->size || len > seg->size - off)
		return;
	/* Zero in any case, also where holes can't be made. */
	if (madvise((char *)seg->base + off, len, MADV_REMOVE) < 0)
		memset((char *)seg->base + off, 0, len);
}

int skep_seg_freeze(struct skep_seg *seg)
{
	int ro, err = 0;
	void *p;

	if (!skep_fd_is(seg->fd, seg->dev, seg->ino))
		return -EBADF;
	/* Through a read-only description, a mapping can't ever become writable and
	 * does not count as one that may write. */
	ro = skep_fd_reopen(seg->fd, O_RDONLY, true);
	if (ro < 0)
		return ro;
	/* What is trusted must never be missing. */
	err = skep_seg_reserve(seg, 0, seg->size);
	if (err) {
		close(ro);
		return err;
	}
	p = mmap(seg->base, seg->size, PROT_READ, MAP_SHARED | MAP_NORESERVE | MAP_FIXED, ro, 0);
	if (p == MAP_FAILED)
		err = -errno;
	else if (fcntl(seg->fd, F_ADD_SEALS, F_SEAL_WRITE) < 0)
		err = -errno;
	close(ro);
	if (err && p != MAP_FAILED &&
	    mmap(seg->base, seg->size, PROT_READ | PROT_WRITE,
		 MAP_SHARED | MAP_NORESERVE | MAP_FIXED, seg->fd, 0) == MAP_FAILED)
		err = -errno;
	if (!err) {
		skep_linux_unguard(seg);
		/* A hole that was punched between the two is filled, if it can be. */
		(void)skep_seg_reserve(seg, 0, seg->size);
	}
	return err;
}

/* Whether this process maps the segment writable elsewhere. Those of other processes can't
 * be seen, unless by trying to seal, which our own mapping prevents. */
static bool mapped_writable(const struct skep_seg *seg)
{
	FILE *f = fopen("/proc/self/maps", "re");
	unsigned long lo, hi, ino;
	unsigned major, minor;
	bool found = false;
	char line[512], perms[5];

	while (f && !found && fgets(line, sizeof(line), f)) {
		if (sscanf(line, "%lx-%lx %4s %*x %x:%x %lu", &lo, &hi, perms, &major, &minor,
			   &ino) != 6)
			continue;
		if (ino == seg->ino && makedev(major, minor) == seg->dev && perms[1] == 'w')
			found = lo < (uintptr_t)seg->base || lo >= (uintptr_t)seg->base + seg->size;
	}
	if (f)
		fclose(f);
	return found;
}

int skep_seg_freeze_users(struct skep_seg *seg)
{
	if (!skep_fd_is(seg->fd, seg->dev, seg->ino))
		return -EBADF;
	if (mapped_writable(seg))
		return -EBUSY;
	return fcntl(seg->fd, F_ADD_SEALS, F_SEAL_FUTURE_WRITE) < 0 ? -errno : 0;
}

/* ---- Code memory ---- */

/* Bytes for a file that is never mapped writable: with memory behind them (ENOSPC where a store
 * would be a SIGBUS), and sealed. */
static int write_sealed(int fd, const void *code, size_t len)
{
	const uint8_t *p = code;

	for (size_t done = 0; done < len;) {
		ssize_t n = pwrite(fd, p + done, len - done, (off_t)done);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return n < 0 ? -errno : -ENOSPC;
		done += (size_t)n;
	}
	return fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE | F_SEAL_SEAL) < 0
		       ? -errno
		       : 0;
}

int skep_exec_make(struct skep_exec_mem *m, const void *code, size_t len)
{
	int fd = skep_linux_memfd("skep-code"), ro, err;
	size_t size = page_up(len ? len : 1);

	*m = (struct skep_exec_mem){0};
	if (fd < 0)
		return fd;
	err = write_sealed(fd, code, len);
	if (err)
		goto out;
	m->rx = mmap(NULL, size, PROT_READ | PROT_EXEC, MAP_SHARED, fd, 0);
	if (m->rx == MAP_FAILED && errno == EPERM) {
		/* Before Linux 6.7 only what is open for reading alone may map sealed bytes. */
		ro = skep_fd_reopen(fd, O_RDONLY, true);
		if (ro >= 0) {
			m->rx = mmap(NULL, size, PROT_READ | PROT_EXEC, MAP_SHARED, ro, 0);
			close(ro);
		}
	}
	if (m->rx == MAP_FAILED) {
		err = -errno;
		m->rx = NULL;
		goto out;
	}
	m->size = size;
#if defined(__x86_64__) || defined(__i386__)
	/* Coherent: nothing to do. */
#else
	__builtin___clear_cache((char *)m->rx, (char *)m->rx + m->size);
#endif
out:
	close(fd);
	return err;
}

void skep_exec_free(struct skep_exec_mem *m)
{
	if (m->rx)
		munmap(m->rx, m->size);
	*m = (struct skep_exec_mem){0};
}

/* ---- Clocks ---- */

static uint64_t clock_ns(clockid_t id)
{
	struct timespec ts;

	clock_gettime(id, &ts);
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

uint64_t skep_clock_real(void)
{
	return clock_ns(CLOCK_REALTIME);
}

uint64_t skep_clock_tai(void)
{
	return clock_ns(CLOCK_TAI);
}

uint64_t skep_jiffies(void)
{
	/* The kernel starts its counter five minutes before the wrap of 32 bits. */
	return clock_ns(CLOCK_MONOTONIC_COARSE) / (1000000000u / 250) +
	       (uint64_t)(uint32_t)(-300 * 250);
}

/* ---- Waiting ---- */

int skep_futex_wait(const uint32_t *word, uint32_t val, uint64_t ns)
{
	struct timespec ts = {(time_t)(ns / 1000000000u), (long)(ns % 1000000000u)};

	if (syscall(SYS_futex, word, FUTEX_WAIT, val, ns ? &ts : NULL, NULL, 0) < 0)
		return -errno;
	return 0;
}

int skep_futex_wake(const uint32_t *word, int n)
{
	long r = syscall(SYS_futex, word, FUTEX_WAKE, n, NULL, NULL, 0);

	return r < 0 ? -errno : (int)r;
}

void skep_cpu_relax(void)
{
#if defined(__x86_64__) || defined(__i386__)
	__builtin_ia32_pause();
#elif defined(__aarch64__)
	__asm__ volatile("yield" ::: "memory");
#else
	__asm__ volatile("" ::: "memory");
#endif
}

void skep_cpu_yield(void)
{
	sched_yield();
}

void skep_sleep(uint64_t ns)
{
	struct timespec ts = {(time_t)(ns / 1000000000u), (long)(ns % 1000000000u)};

	nanosleep(&ts, NULL);
}

uint64_t skep_signals_block(void)
{
	uint64_t all = ~(1ull << (SIGBUS - 1)), old = 0;

	syscall(SYS_rt_sigprocmask, SIG_SETMASK, &all, &old, sizeof(old));
	return old;
}

void skep_signals_restore(uint64_t old)
{
	syscall(SYS_rt_sigprocmask, SIG_SETMASK, &old, NULL, sizeof(old));
}

/* ---- Threads and processes ---- */

uint32_t skep_tid(void)
{
	return (uint32_t)syscall(SYS_gettid);
}

bool skep_tid_gone(uint32_t tid)
{
	return tid && kill((pid_t)tid, 0) < 0 && errno == ESRCH;
}

uint32_t skep_pidns(void)
{
	struct stat st;

	return stat("/proc/self/ns/pid", &st) < 0 ? 0 : (uint32_t)st.st_ino;
}

void *skep_wipe_alloc(size_t size)
{
	void *p;

	size = page_up(size);
	p = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (p == MAP_FAILED)
		return NULL;
	if (madvise(p, size, MADV_WIPEONFORK) < 0) {
		munmap(p, size);
		return NULL;
	}
	return p;
}

void skep_wipe_free(void *p, size_t size)
{
	if (p)
		munmap(p, page_up(size));
}

/* ---- The machine ---- */

uint32_t skep_possible_cpus(void)
{
	FILE *f = fopen("/sys/devices/system/cpu/possible", "re");
	unsigned lo, hi, n = 0;
	long conf;
	int c = ',';

	while (f && c == ',' && fscanf(f, "%u", &lo) == 1) {
		hi = lo;
		c = getc(f);
		if (c == '-') {
			if (fscanf(f, "%u", &hi) != 1)
				break;
			c = getc(f);
		}
		if (hi < lo || hi > 65535)
			break;
		n = hi + 1 > n ? hi + 1 : n;
	}
	if (f)
		fclose(f);
	if (n)
		return n;
	conf = sysconf(_SC_NPROCESSORS_CONF);
	return conf > 0 ? (uint32_t)conf : 1;
}

int32_t skep_key_find(int32_t serial, bool create)
{
	long key = syscall(SYS_keyctl, KEYCTL_GET_KEYRING_ID, (long)serial, (long)create);

	if (key >= 0)
		return (int32_t)key;
	return errno == EACCES && serial > 0 ? serial : -errno;
}

uint64_t skep_random(void)
{
	uint64_t v;

	if (getrandom(&v, sizeof(v), GRND_NONBLOCK) == sizeof(v))
		return v;
	/* Early boot: good enough for hash seeds and lock bytes, which only must differ. */
	v = clock_ns(CLOCK_MONOTONIC) ^ ((uint64_t)getpid() << 40) ^ (uintptr_t)&v;
	v = (v ^ (v >> 30)) * 0xbf58476d1ce4e5b9u;
	v = (v ^ (v >> 27)) * 0x94d049bb133111ebu;
	return v ^ (v >> 31);
}
