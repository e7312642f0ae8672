/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A client that works on elements and gives the numbers of its descriptors to other maps in every
 * way there is. It holds on the kernel, and on an instance whether or not the library does the work.
 *	direct ops | reuse | bench [N]
 * The last prints nanoseconds for a lookup and an update.
 */
#include <bpf/bpf.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static int failures;

#define CHECK(cond, ...)                                                                           \
	do {                                                                                       \
		if (!(cond)) {                                                                     \
			printf("line %d: ", __LINE__);                                             \
			printf(__VA_ARGS__);                                                       \
			printf("\n");                                                              \
			failures++;                                                                \
		}                                                                                  \
	} while (0)

static int make(enum bpf_map_type type, uint32_t value)
{
	bool keyless = type == BPF_MAP_TYPE_QUEUE || type == BPF_MAP_TYPE_STACK;
	int fd = bpf_map_create(type, "direct", keyless ? 0 : 4, value, 64, NULL);

	if (fd < 0) {
		perror("map");
		exit(1);
	}
	return fd;
}

/* A map in which key 0 has the value v. */
static int map_of(uint64_t v)
{
	int fd = make(BPF_MAP_TYPE_HASH, 8);
	uint32_t key = 0;

	CHECK(!bpf_map_update_elem(fd, &key, &v, 0), "update");
	return fd;
}

static uint64_t in_it(int fd)
{
	uint64_t v = 0;
	uint32_t key = 0;

	return bpf_map_lookup_elem(fd, &key, &v) ? (uint64_t)-errno : v;
}

/* ---- Every way in which a number gets another meaning ---- */

enum way {
	WAY_CLOSE,
	WAY_RAW_CLOSE,
	WAY_DUP2,
	WAY_DUP3,
	WAY_RAW_DUP3,
	WAY_CLOSE_RANGE,
	WAY_RAW_CLOSE_RANGE,
	WAY_CLOSEFROM,
	WAY_FCLOSE,
	WAY_FREOPEN,
	WAY_FORK,
	WAYS
};
static const char *const way_names[] = {"close",    "raw close",   "dup2",      "dup3",
					"raw dup3", "close_range", "raw range", "closefrom",
					"fclose",   "freopen",     "fork"};

#if defined(__x86_64__) && !defined(QUIET)
static long raw(long nr, long a, long b, long c)
{
	long ret;

	__asm__ volatile("syscall"
			 : "=a"(ret)
			 : "a"(nr), "D"(a), "S"(b), "d"(c)
			 : "rcx", "r11", "memory");
	return ret;
}
#else
#define raw(nr, a, b, c) syscall(nr, a, b, c)
#endif

/* Makes number fd mean the map behind other, and closes that number. */
static void replace(enum way way, int fd, int other)
{
	FILE *f;

	switch (way) {
	case WAY_CLOSE:
		close(fd);
		break;
	case WAY_RAW_CLOSE:
		raw(SYS_close, fd, 0, 0);
		break;
	case WAY_DUP2:
		dup2(other, fd);
		close(other);
		return;
	case WAY_DUP3:
		dup3(other, fd, O_CLOEXEC);
		close(other);
		return;
	case WAY_RAW_DUP3:
		raw(SYS_dup3, other, fd, O_CLOEXEC);
		close(other);
		return;
	case WAY_CLOSE_RANGE:
		close_range((unsigned)fd, (unsigned)fd, 0);
		break;
	case WAY_RAW_CLOSE_RANGE:
		raw(SYS_close_range, fd, fd, 0);
		break;
	case WAY_CLOSEFROM:
		/* other must survive. */
		other = dup2(other, 40);
		dup2(fd, 1000);
		close(fd);
		closefrom(41);
		break;
	case WAY_FCLOSE:
		f = fdopen(fd, "r");
		CHECK(f && !fclose(f), "fclose");
		break;
	case WAY_FREOPEN:
		f = fdopen(fd, "r");
		f = f ? freopen("/dev/null", "r", f) : NULL;
		CHECK(f, "freopen");
		if (f)
			fclose(f);
		break;
	default:
		break;
	}
	CHECK(fcntl(fd, F_GETFD) < 0, "%s did not close", way_names[way]);
	CHECK(fcntl(other, F_DUPFD_CLOEXEC, fd) == fd, "number %d is taken", fd);
	close(other);
}

static void reuse_once(enum way way)
{
	int a = map_of(1), b = map_of(2), fd = 50, status;
	uint64_t nine = 9;
	uint32_t key = 0;

	CHECK(dup2(a, fd) == fd, "dup2");
	close(a);
	/* What it is must be known by now, in any cache. */
	for (int i = 0; i < 3; i++)
		CHECK(in_it(fd) == 1, "first map");
	if (way == WAY_FORK) {
		pid_t pid = fork();

		if (!pid) {
			failures = 0;
			replace(WAY_RAW_CLOSE, fd, b);
			CHECK(in_it(fd) == 2, "in a child");
			CHECK(!bpf_map_update_elem(fd, &key, &nine, 0), "update in a child");
			_exit(failures);
		}
		waitpid(pid, &status, 0);
		CHECK(!status, "child");
		CHECK(in_it(fd) == 1, "the parent's is as it was");
		CHECK(in_it(b) == 9, "what the child wrote");
		close(b);
		close(fd);
		return;
	}
	replace(way, fd, b);
	CHECK(in_it(fd) == 2, "%s: %lld instead of the second map", way_names[way],
	      (long long)in_it(fd));
	CHECK(!bpf_map_update_elem(fd, &key, &nine, 0), "update");
	CHECK(in_it(fd) == 9, "%s: after an update", way_names[way]);
	/* And a file that is no map. */
	close(fd);
	CHECK(in_it(fd) == (uint64_t)-EBADF, "%s: closed", way_names[way]);
	fd = open("/dev/null", O_RDWR);
	CHECK(in_it(fd) == (uint64_t)-EINVAL, "%s: no map", way_names[way]);
	close(fd);
}

static void *many_closes(void *stop)
{
	while (!__atomic_load_n((int *)stop, __ATOMIC_RELAXED))
		close(dup(0));
	return NULL;
}

static void reuse(void)
{
	pthread_t t;
	int stop = 0;

	for (int round = 0; round < 20; round++)
		for (enum way w = 0; w < WAYS; w++)
			reuse_once(w);
	/* While others close all the time. */
	pthread_create(&t, NULL, many_closes, &stop);
	for (int i = 0; i < 200; i++) {
		int a = map_of(1), b = map_of(2);

		CHECK(in_it(a) == 1 && in_it(b) == 2, "with closes");
		dup2(b, a);
		CHECK(in_it(a) == 2, "replaced");
		close(a);
		close(b);
	}
	__atomic_store_n(&stop, 1, __ATOMIC_RELAXED);
	pthread_join(t, NULL);
}

/* ---- Operations ---- */

static void ops_of(enum bpf_map_type type)
{
	int fd = make(type, 8), n = 0;
	uint64_t values[64] = {0}; /* of all CPUs, where there is one for each */
	bool array = type == BPF_MAP_TYPE_ARRAY || type == BPF_MAP_TYPE_PERCPU_ARRAY;
	uint32_t key, next;

	for (key = 0; key < 64; key++) {
		values[0] = key * 3 + 1;
		CHECK(!bpf_map_update_elem(fd, &key, values, BPF_ANY), "update %u", key);
	}
	key = 64;
	CHECK(bpf_map_update_elem(fd, &key, values, BPF_EXIST) && errno == (array ? E2BIG : ENOENT),
	      "type %d: beyond: %d", type, errno);
	key = 5;
	CHECK(bpf_map_update_elem(fd, &key, values, BPF_NOEXIST) && errno == EEXIST, "exists");
	CHECK(bpf_map_update_elem(fd, &key, values, 77) && errno == EINVAL, "flags");
	for (key = 0; key < 64; key++)
		CHECK(!bpf_map_lookup_elem(fd, &key, values) && values[0] == key * 3 + 1,
		      "lookup %u", key);
	for (int r = bpf_map_get_next_key(fd, NULL, &next); !r;
	     r = bpf_map_get_next_key(fd, &next, &next))
		n++;
	CHECK(errno == ENOENT && n == 64, "type %d: %d keys, %d", type, n, errno);
	key = 7;
	CHECK(bpf_map_delete_elem(fd, &key) == (array ? -EINVAL : 0), "delete");
	CHECK(bpf_map_lookup_elem(fd, &key, values) == (array ? 0 : -ENOENT), "gone");
	CHECK(bpf_map_lookup_elem(fd, NULL, values) == -EFAULT, "no key");
	CHECK(bpf_map_lookup_elem(fd, (void *)0x1000, values) == -EFAULT, "wild key");
	key = 8;
	CHECK(bpf_map_lookup_elem(fd, &key, (void *)0x1000) == -EFAULT, "wild value");
	/* Memory that is neither stack nor heap, and some that can't be written. */
	uint64_t *far =
		mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	CHECK(!bpf_map_lookup_elem(fd, &key, far) && *far == 25, "far value");
	mprotect(far, 4096, PROT_READ);
	CHECK(bpf_map_lookup_elem(fd, &key, far) == -EFAULT, "value that can't be written");
	CHECK(!bpf_map_update_elem(fd, &key, far, 0), "but read");
	munmap(far, 4096);
	/* Frozen: nobody may write any more. */
	CHECK(!bpf_map_freeze(fd), "freeze");
	CHECK(bpf_map_update_elem(fd, &key, values, 0) == -EPERM, "write to a frozen map");
	CHECK(!bpf_map_lookup_elem(fd, &key, values) && values[0] == 25, "read it");
	close(fd);
}

static void ops(void)
{
	uint64_t v = 3;
	int q;

	ops_of(BPF_MAP_TYPE_HASH);
	ops_of(BPF_MAP_TYPE_ARRAY);
	ops_of(BPF_MAP_TYPE_PERCPU_HASH);
	ops_of(BPF_MAP_TYPE_PERCPU_ARRAY);
	q = make(BPF_MAP_TYPE_QUEUE, 8);
	CHECK(!bpf_map_update_elem(q, NULL, &v, 0), "push");
	v = 4;
	CHECK(!bpf_map_update_elem(q, NULL, &v, 0), "push");
	CHECK(!bpf_map_lookup_elem(q, NULL, &v) && v == 3, "peek");
	CHECK(!bpf_map_lookup_and_delete_elem(q, NULL, &v) && v == 3, "pop");
	CHECK(!bpf_map_lookup_and_delete_elem(q, NULL, &v) && v == 4, "pop");
	CHECK(bpf_map_lookup_and_delete_elem(q, NULL, &v) == -ENOENT, "empty");
	close(q);
}

/* ---- How fast ---- */

static double ns_each(int fd, bool update, unsigned n)
{
	struct timespec a, b;
	uint64_t v = 1;
	uint32_t key = 0;

	clock_gettime(CLOCK_MONOTONIC, &a);
	for (unsigned i = 0; i < n; i++) {
		key = (key * 1103515245 + 12345) % 1000;
		if (update)
			bpf_map_update_elem(fd, &key, &v, 0);
		else
			bpf_map_lookup_elem(fd, &key, &v);
	}
	clock_gettime(CLOCK_MONOTONIC, &b);
	return ((double)(b.tv_sec - a.tv_sec) * 1e9 + (double)(b.tv_nsec - a.tv_nsec)) / n;
}

static void bench(unsigned n)
{
	int fd = bpf_map_create(BPF_MAP_TYPE_HASH, "bench", 4, 8, 1024, NULL);
	uint64_t v = 1;

	for (uint32_t key = 0; key < 1000; key++)
		bpf_map_update_elem(fd, &key, &v, 0);
	ns_each(fd, false, n / 10);
	printf("%.1f %.1f\n", ns_each(fd, false, n), ns_each(fd, true, n));
}

int main(int argc, char **argv)
{
	const char *mode = argc > 1 ? argv[1] : "ops";

	if (!strcmp(mode, "bench"))
		bench(argc > 2 ? (unsigned)atoi(argv[2]) : 1000000);
	else if (!strcmp(mode, "reuse"))
		reuse();
	else
		ops();
	return failures ? 1 : 0;
}
