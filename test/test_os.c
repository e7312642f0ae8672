/* SPDX-License-Identifier: Apache-2.0 */
/* What the core asks of the operating system: segments, code memory, own memory. */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>
#include <cmocka.h>

#include "os/os.h"

#define PAGE 4096

#if defined(__SANITIZE_THREAD__) || defined(__SANITIZE_ADDRESS__)
#define SANITIZED 1
#else
#define SANITIZED 0
#endif

/* A segment can't be shrunk or grown, by whoever has a descriptor of it. */
static void test_seg_sealed(void **state)
{
	struct skep_seg seg;
	struct stat st;
	int fd;

	assert_int_equal(skep_seg_create(&seg, "test", PAGE + 1), 0);
	assert_int_equal(seg.size, 2 * PAGE);
	assert_int_equal(fstat(seg.fd, &st), 0);
	assert_int_equal(st.st_mode & 0777, 0600);
	assert_int_equal(fcntl(seg.fd, F_GETFD) & FD_CLOEXEC, FD_CLOEXEC);
	fd = skep_fd_reopen(seg.fd, O_RDWR, false);
	assert_true(fd >= 0);
	assert_int_equal(ftruncate(fd, 0), -1);
	assert_int_equal(errno, EPERM);
	assert_int_equal(ftruncate(fd, 1 << 20), -1);
	assert_int_equal(errno, EPERM);
	assert_int_equal(fallocate(fd, 0, 0, 1 << 20), -1);
	/* A hole reads as zeros; nobody faults. */
	memset(seg.base, 1, seg.size);
	assert_int_equal(fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, 2 * PAGE), 0);
	assert_int_equal(((char *)seg.base)[PAGE], 0);
	((char *)seg.base)[PAGE] = 7;
	assert_int_equal(((char *)seg.base)[PAGE], 7);
	close(fd);
	skep_seg_close(&seg);
	assert_int_equal(seg.fd, -1);
}

static void test_seg_open(void **state)
{
	struct skep_seg seg, other;
	int fd = memfd_create("loose", MFD_ALLOW_SEALING | MFD_CLOEXEC);

	assert_int_equal(ftruncate(fd, PAGE), 0);
	assert_int_equal(skep_seg_open(&other, fd, true), -EPERM);
	close(fd);
	assert_int_equal(skep_seg_open(&other, -1, true), -EBADF);
	assert_int_equal(skep_seg_create(&seg, "test", PAGE), 0);
	assert_int_equal(skep_seg_open(&other, seg.fd, false), 0);
	*(int *)seg.base = 42;
	assert_int_equal(*(int *)other.base, 42);
	assert_true(seg.dev == other.dev && seg.ino == other.ino);
	skep_seg_close(&other);
	skep_seg_close(&seg);
	/* More than there is address space. */
	assert_true(skep_seg_create(&seg, "huge", SIZE_MAX) < 0);
	assert_true(skep_seg_create(&seg, "huge", (size_t)1 << 62) < 0);
}

static uint64_t blocks(int fd)
{
	struct stat st;

	return fstat(fd, &st) ? 0 : (uint64_t)st.st_blocks * 512;
}

static void test_seg_reserve(void **state)
{
	struct skep_seg seg;
	int keep;

	assert_int_equal(skep_seg_create(&seg, "sparse", (size_t)1 << 40), 0);
	assert_int_equal(blocks(seg.fd), 0);
	assert_int_equal(skep_seg_reserve(&seg, (size_t)1 << 39, 3 * PAGE), 0);
	assert_int_equal(blocks(seg.fd), 3 * PAGE);
	assert_int_equal(skep_seg_reserve(&seg, seg.size, 1), -EINVAL);
	assert_int_equal(skep_seg_reserve(&seg, seg.size - 1, 2), -EINVAL);
	assert_int_equal(skep_seg_reserve(&seg, SIZE_MAX, 2), -EINVAL);
	assert_int_equal(skep_seg_reserve(&seg, 0, 0), 0);
	/* The same after somebody closed our descriptor and took its number. */
	keep = dup(seg.fd);
	assert_true(dup2(STDERR_FILENO, seg.fd) == seg.fd);
	assert_int_equal(skep_seg_reserve(&seg, PAGE + 5, PAGE), 0);
	assert_int_equal(blocks(keep), 5 * PAGE);
	keep = (close(keep), seg.fd);
	skep_seg_close(&seg);
	assert_true(fcntl(keep, F_GETFD) >= 0); /* not ours: left open */
	close(keep);
}

static void test_seg_freeze(void **state)
{
	struct skep_seg seg, other;
	int ro;

	assert_int_equal(skep_seg_create(&seg, "rodata", PAGE), 0);
	strcpy(seg.base, "constant");
	/* Somebody maps it writable: no. And ours is as it was. */
	assert_int_equal(skep_seg_open(&other, seg.fd, true), 0);
	assert_int_equal(skep_seg_freeze(&seg), -EBUSY);
	((char *)seg.base)[0] = 'C';
	skep_seg_close(&other);
	/* Nobody does: yes, for good. */
	assert_int_equal(skep_seg_freeze(&seg), 0);
	assert_string_equal(seg.base, "Constant");
	assert_int_equal(skep_seg_open(&other, seg.fd, true), -EPERM);
	assert_int_equal(mprotect(seg.base, PAGE, PROT_READ | PROT_WRITE), -1);
	assert_int_equal(pwrite(seg.fd, "x", 1, 0), -1);
	assert_int_equal(fallocate(seg.fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, PAGE),
			 -1);
	assert_int_equal(skep_probe_write(seg.base, "x", 1), -EFAULT);
	ro = skep_fd_reopen(seg.fd, O_RDONLY, false);
	assert_int_equal(skep_seg_open(&other, ro, false), 0);
	assert_string_equal(other.base, "Constant");
	skep_seg_close(&other);
	close(ro);
	assert_int_equal(skep_seg_freeze(&seg), 0);
	skep_seg_close(&seg);
}

/* Users can't write any more, we can. */
static void test_seg_freeze_users(void **state)
{
	struct skep_seg seg;
	int rw;
	void *p;

	assert_int_equal(skep_seg_create(&seg, "data", 2 * PAGE), 0);
	rw = skep_fd_reopen(seg.fd, O_RDWR, false);
	p = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, rw, PAGE);
	assert_true(p != MAP_FAILED);
	assert_int_equal(skep_seg_freeze_users(&seg), -EBUSY);
	munmap(p, PAGE);
	p = mmap(NULL, PAGE, PROT_READ, MAP_SHARED, rw, 0);
	assert_int_equal(skep_seg_freeze_users(&seg), 0);
	*(int *)seg.base = 5;
	assert_int_equal(*(int *)p, 5);
	assert_ptr_equal(mmap(NULL, PAGE, PROT_WRITE, MAP_SHARED, rw, 0), MAP_FAILED);
	assert_int_equal(errno, EPERM);
	assert_int_equal(pwrite(rw, "x", 1, 0), -1);
	assert_int_equal(skep_seg_reserve(&seg, PAGE, PAGE), 0);
	munmap(p, PAGE);
	close(rw);
	skep_seg_close(&seg);
}

/* Where there is no memory left, reserving says so; nothing dies later. */
static void test_seg_exhausted(void **state)
{
	struct rlimit lim = {1 << 20, 1 << 20};
	int st;
	pid_t pid = fork();

	if (!pid) {
		struct skep_seg seg;
		int err;

		/* Stands for a full machine: this process may write no file beyond 1 MiB. */
		signal(SIGXFSZ, SIG_IGN);
		if (skep_seg_create(&seg, "full", 2 << 20))
			_exit(1);
		if (setrlimit(RLIMIT_FSIZE, &lim))
			_exit(2);
		err = skep_seg_reserve(&seg, 0, 2 << 20);
		if (err != -EFBIG && err != 0)
			_exit(3);
		if (SANITIZED) /* which need more of it */
			_exit(0);
		/* And an address space that is too small for another segment. */
		lim.rlim_cur = lim.rlim_max = 64 << 20;
		setrlimit(RLIMIT_AS, &lim);
		lim.rlim_cur = lim.rlim_max = RLIM_INFINITY;
		skep_seg_close(&seg);
		err = skep_seg_create(&seg, "large", 1 << 30);
		_exit(err == -ENOMEM || err == -EFBIG ? 0 : 4);
	}
	assert_int_equal(waitpid(pid, &st, 0), pid);
	assert_int_equal(st, 0);
}

static bool maps_have(const void *addr, const char *perms)
{
	FILE *f = fopen("/proc/self/maps", "r");
	char line[512], p[8];
	unsigned long lo, hi;
	bool found = false;

	while (f && fgets(line, sizeof(line), f))
		if (sscanf(line, "%lx-%lx %7s", &lo, &hi, p) == 3 && (uintptr_t)addr >= lo &&
		    (uintptr_t)addr < hi)
			found = !strncmp(p, perms, 3);
	if (f)
		fclose(f);
	return found;
}

#ifdef __x86_64__
/* Mappings of code with these permissions. */
static int code_views(const char *perms)
{
	FILE *f = fopen("/proc/self/maps", "r");
	char line[512], p[8];
	int n = 0;

	assert_non_null(f);
	while (fgets(line, sizeof(line), f))
		n += strstr(line, "skep-code") && sscanf(line, "%*s %7s", p) == 1 &&
		     !strncmp(p, perms, strlen(perms));
	fclose(f);
	return n;
}

/* The file behind a page, as whoever may do that opens it from outside. */
static int map_file(const void *addr)
{
	char path[64];

	snprintf(path, sizeof(path), "/proc/self/map_files/%lx-%lx", (unsigned long)addr,
		 (unsigned long)addr + PAGE);
	return open(path, O_RDWR);
}
#endif

static void test_exec(void **state)
{
#ifdef __x86_64__
	static const uint8_t ret42[] = {0xb8, 42, 0, 0, 0, 0xc3};
	struct skep_exec_mem m;
	int (*fn)(void);
	int fd;

	assert_int_equal(skep_exec_make(&m, ret42, sizeof(ret42)), 0);
	assert_int_equal(m.size, PAGE);
	assert_true(maps_have(m.rx, "r-x"));
	memcpy(&fn, &m.rx, sizeof(fn));
	assert_int_equal(fn(), 42);
	/* Nowhere is the file mapped writable, and no descriptor of it is left. */
	assert_int_equal(code_views("rw"), 0);
	fd = map_file(m.rx);
	if (fd >= 0) { /* who may open mappings finds it sealed */
		assert_true(mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0) ==
			    MAP_FAILED);
		assert_int_equal(pwrite(fd, "x", 1, 0), -1);
		assert_int_equal(ftruncate(fd, 0), -1);
		close(fd);
	}
	/* Never writable again. */
	assert_int_equal(mprotect(m.rx, PAGE, PROT_READ | PROT_WRITE), -1);
	assert_int_equal(mprotect(m.rx, PAGE, PROT_READ | PROT_WRITE | PROT_EXEC), -1);
	skep_exec_free(&m);
	skep_exec_free(&m);
#else
	skip();
#endif
}

static void test_probe(void **state)
{
	char *p = mmap(NULL, 4 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	char buf[3 * PAGE];

	munmap(p + 2 * PAGE, PAGE);
	mprotect(p + 3 * PAGE, PAGE, PROT_NONE);
	memset(p, 'a', 2 * PAGE);
	assert_int_equal(skep_probe_read(buf, p, 2 * PAGE), 0);
	assert_memory_equal(buf, p, 2 * PAGE);
	assert_int_equal(skep_probe_read(buf, p + 2 * PAGE - 4, 8), -EFAULT);
	assert_int_equal(skep_probe_read(buf, p + 2 * PAGE, 1), -EFAULT);
	assert_int_equal(skep_probe_read(buf, p + 3 * PAGE, 1), -EFAULT);
	assert_int_equal(skep_probe_read(buf, NULL, 8), -EFAULT);
	assert_int_equal(skep_probe_read(buf, (void *)-8, 16), -EFAULT);
	assert_int_equal(skep_probe_read(buf, (void *)(1ul << 63), 16), -EFAULT);
	assert_int_equal(skep_probe_read(buf, NULL, 0), 0);
	/* Strings: over a page's end, up to a hole, cut off, into a hole. */
	strcpy(p + PAGE - 2, "over");
	assert_int_equal(skep_probe_read_str(buf, p + PAGE - 2, 100), 5);
	assert_string_equal(buf, "over");
	p[2 * PAGE - 1] = 0;
	assert_int_equal(skep_probe_read_str(buf, p + 2 * PAGE - 3, 100), 3);
	assert_string_equal(buf, "aa");
	assert_int_equal(skep_probe_read_str(buf, p, 4), 4);
	assert_string_equal(buf, "aaa");
	p[2 * PAGE - 1] = 'a';
	assert_int_equal(skep_probe_read_str(buf, p + 2 * PAGE - 3, 100), -EFAULT);
	assert_int_equal(skep_probe_read_str(buf, NULL, 0), 0);
	/* Writing. */
	assert_int_equal(skep_probe_write(p, "xy", 2), 0);
	assert_memory_equal(p, "xy", 2);
	mprotect(p, PAGE, PROT_READ);
	assert_int_equal(skep_probe_write(p, "z", 1), -EFAULT);
	munmap(p, 2 * PAGE);
	munmap(p + 3 * PAGE, PAGE);
}

static void check_known(void)
{
	char here[64] = "stack", out[64], *heap = strdup("heap");
	uintptr_t end = (uintptr_t)sbrk(0);

	assert_int_equal(skep_probe_read(out, here, sizeof(here)), 0);
	assert_string_equal(out, "stack");
	assert_int_equal(skep_probe_write(here, "back", 5), 0);
	assert_string_equal(here, "back");
	assert_int_equal(skep_probe_read(out, heap, 5), 0);
	assert_string_equal(out, "heap");
	/* Where they end. */
	if (!SANITIZED)
		assert_int_equal(skep_probe_read(out, (void *)(end - 8), 8), 0);
	assert_int_equal(skep_probe_read(out, (void *)(end - 8), 16), -EFAULT);
	assert_int_equal(skep_probe_read(here, here, SIZE_MAX), -EFAULT);
	assert_int_equal(skep_probe_read(here, here, (size_t)1 << 46), -EFAULT);
	free(heap);
}

static void *known_thread(void *arg)
{
	check_known();
	skep_thread_prepare();
	check_known();
	return NULL;
}

static void on_altstack(int sig)
{
	check_known();
}

/* What is copied without a system call: the same answers. */
static void test_probe_known(void **state)
{
	struct sigaction sa = {.sa_handler = on_altstack, .sa_flags = SA_ONSTACK}, old;
	stack_t ss = {.ss_size = 1 << 16}, off = {.ss_flags = SS_DISABLE};
	pthread_t t;

	known_thread(NULL);
	pthread_create(&t, NULL, known_thread, NULL);
	pthread_join(t, NULL);
	ss.ss_sp = malloc(ss.ss_size);
	sigaltstack(&ss, NULL);
	sigaction(SIGUSR1, &sa, &old);
	raise(SIGUSR1);
	sigaction(SIGUSR1, &old, NULL);
	sigaltstack(&off, NULL);
	free(ss.ss_sp);
	if (!fork()) {
		check_known();
		_exit(0);
	}
	wait(NULL);
}

static _Atomic bool stop;

static void *mapper(void *arg)
{
	while (!stop) {
		mprotect(arg, PAGE, PROT_NONE);
		mprotect(arg, PAGE, PROT_READ | PROT_WRITE);
	}
	return NULL;
}

/* Memory that comes and goes while it is read. */
static void test_probe_race(void **state)
{
	char *p = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	unsigned ok = 0, fault = 0;
	pthread_t t;
	char buf[64];

	stop = false;
	pthread_create(&t, NULL, mapper, p);
	for (int i = 0; i < 200000; i++) {
		int err = skep_probe_read(buf, p, sizeof(buf));

		assert_true(err == 0 || err == -EFAULT);
		ok += !err;
		fault += !!err;
	}
	stop = true;
	pthread_join(t, NULL);
	print_message("%u reads, %u faults\n", ok, fault);
	munmap(p, PAGE);
}

static void test_descriptors(void **state)
{
	uint64_t dev, ino, at;
	int fd = skep_fd_make("object"), low = open("/dev/null", O_RDONLY), a, b;

	/* Ours lie high, so that clients get the numbers they expect. */
	assert_true(fd >= 500);
	assert_true(low < 100);
	assert_int_equal(skep_fd_stat(fd, &dev, &ino), 0);
	assert_true(skep_fd_is(fd, dev, ino));
	assert_false(skep_fd_is(low, dev, ino));
	assert_false(skep_fd_is(-1, dev, ino));
	assert_int_equal(pwrite(fd, "x", 1, 0), -1);
	assert_int_equal(ftruncate(fd, 1), -1);
	/* Locks belong to open file descriptions. */
	a = skep_fd_reopen(fd, O_RDWR, false);
	b = skep_fd_reopen(fd, O_WRONLY, false);
	assert_int_equal(skep_fd_access(a), O_RDWR);
	assert_int_equal(skep_fd_access(b), O_WRONLY);
	assert_int_equal(skep_fd_held(fd, 100, 0, NULL), 0);
	assert_int_equal(skep_fd_hold(a, 1000), 0);
	assert_int_equal(skep_fd_held(fd, 100, 0, &at), 1);
	assert_int_equal(at, 1000);
	assert_int_equal(skep_fd_held(a, 100, 0, NULL), 0); /* its own does not count */
	assert_int_equal(skep_fd_hold(b, 1000), -EAGAIN);
	assert_int_equal(skep_fd_hold(b, 1001), 0);
	assert_int_equal(skep_fd_held(fd, 1001, 1, NULL), 1);
	assert_int_equal(skep_fd_held(fd, 1002, 0, NULL), 0);
	close(b);
	assert_int_equal(skep_fd_held(fd, 1001, 1, NULL), 0);
	b = dup(a);
	close(a);
	assert_int_equal(skep_fd_held(fd, 1000, 1, NULL), 1);
	close(b);
	assert_int_equal(skep_fd_held(fd, 0, 0, NULL), 0);
	assert_true(dup2(low, fd) == fd);
	skep_fd_close(fd, dev, ino);
	assert_true(fcntl(fd, F_GETFD) >= 0);
	close(fd);
	close(low);
}

static void test_watch(void **state)
{
	int w = skep_watch_open(), fd = skep_fd_make("object"), a, wd, got[4], pipefd[2];

	assert_true(w >= 0);
	wd = skep_watch_add(w, fd);
	assert_true(wd >= 0);
	assert_int_equal(skep_watch_pending(w), 0);
	a = skep_fd_reopen(fd, O_RDWR, false);
	assert_int_equal(skep_watch_pending(w), 0);
	close(a);
	assert_int_equal(skep_watch_pending(w), 1);
	assert_int_equal(skep_watch_read(w, got, 4), 1);
	assert_int_equal(got[0], wd);
	assert_int_equal(skep_watch_read(w, got, 4), 0);
	/* Another file at its number is not read from. */
	assert_int_equal(pipe(pipefd), 0);
	assert_int_equal(write(pipefd[1], "mine", 4), 4);
	a = dup(w);
	assert_true(dup2(pipefd[0], w) == w);
	assert_int_equal(skep_watch_pending(w), -EBADF);
	skep_watch_close(w);
	assert_true(fcntl(w, F_GETFD) >= 0);
	close(w);
	skep_watch_close(a);
	assert_int_equal(fcntl(a, F_GETFD), -1);
	close(pipefd[0]);
	close(pipefd[1]);
	close(fd);
}

static void test_wipe(void **state)
{
	uint32_t *p = skep_wipe_alloc(4);
	int st;
	pid_t pid;

	*p = 1;
	pid = fork();
	if (!pid)
		_exit(*p ? 1 : 0);
	assert_int_equal(waitpid(pid, &st, 0), pid);
	assert_int_equal(st, 0);
	assert_int_equal(*p, 1);
	skep_wipe_free(p, 4);
}

static void test_clocks(void **state)
{
	uint64_t a = skep_clock_mono(), b;
	uint32_t word = 5;

	assert_int_equal(skep_futex_wait(&word, 4, 0), -EAGAIN);
	assert_int_equal(skep_futex_wait(&word, 5, 2000000), -ETIMEDOUT);
	assert_int_equal(skep_futex_wake(&word, 1), 0);
	b = skep_clock_mono();
	assert_true(b - a >= 2000000);
	assert_true(skep_clock_coarse() <= b + 1 && skep_clock_coarse() + 100000000 > a);
	assert_true(skep_clock_boot() >= b);
	assert_true(skep_clock_tai() > skep_clock_boot());
	assert_true(skep_jiffies() > 0);
	assert_true(skep_random() != skep_random());
	assert_int_equal(skep_possible_cpus() >= (uint32_t)sysconf(_SC_NPROCESSORS_ONLN), 1);
	assert_true(skep_tid() == (uint32_t)gettid());
	assert_false(skep_tid_gone(skep_tid()));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_seg_sealed),
		cmocka_unit_test(test_seg_open),
		cmocka_unit_test(test_seg_reserve),
		cmocka_unit_test(test_seg_freeze),
		cmocka_unit_test(test_seg_freeze_users),
		cmocka_unit_test(test_seg_exhausted),
		cmocka_unit_test(test_exec),
		cmocka_unit_test(test_probe),
		cmocka_unit_test(test_probe_known),
		cmocka_unit_test(test_probe_race),
		cmocka_unit_test(test_descriptors),
		cmocka_unit_test(test_watch),
		cmocka_unit_test(test_wipe),
		cmocka_unit_test(test_clocks),
	};

	return cmocka_run_group_tests_name("os", tests, NULL, NULL);
}
