/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Memory that is not there any more: holes punched into segments while there is no other memory
 * to be had. The tests make that come true in two ways: with a memory cgroup at its limit, and with
 * a userfaultfd, through which the kernel answers an access to a hole with SIGBUS, as it does by
 * itself where it keeps strict account of memory.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/userfaultfd.h>
#include <sched.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "exec/slot.h"
#include "map_pair.h"
#include "memcg.h"
#include "side.h"
#include "vasm.h"

#define PAGE 4096

/* ---- Holes that can't be filled ---- */

/* A userfaultfd of the calling process, -1 where that is not allowed. */
static int missing_open(void)
{
	struct uffdio_api api = {.api = UFFD_API, .features = UFFD_FEATURE_SIGBUS};
	int fd = (int)syscall(SYS_userfaultfd, O_CLOEXEC | UFFD_USER_MODE_ONLY);

	return fd >= 0 && !ioctl(fd, UFFDIO_API, &api) ? fd : -1;
}

/* From now on a hole of the segment is SIGBUS to this process, until it is mapped anew. */
static int missing_watch(int fd, const struct skep_seg *seg)
{
	struct uffdio_register r = {.range = {(uintptr_t)seg->base, seg->size},
				    .mode = UFFDIO_REGISTER_MODE_MISSING};

	return seg->base ? ioctl(fd, UFFDIO_REGISTER, &r) : 0;
}

static int punch(const struct skep_seg *seg, size_t off, size_t len)
{
	return fallocate(seg->fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, (off_t)off,
			 (off_t)len);
}

static void expect_exit(pid_t pid, const char *who)
{
	int st = -1;

	assert_int_equal(waitpid(pid, &st, 0), pid);
	if (st)
		fail_msg("%s: exit %d, signal %d", who, WIFEXITED(st) ? WEXITSTATUS(st) : -1,
			 WIFSIGNALED(st) ? WTERMSIG(st) : 0);
}

/* ---- One segment ---- */

/* What is left is left, what is gone is replaced, here alone, and comes back. */
static void test_replaced(void **state)
{
	const size_t pages = 6000;
	struct skep_seg seg;
	int fd = missing_open();
	pid_t pid;
	char *p;

	NOT_UNDER_TSAN();
	if (fd < 0)
		skip();
	assert_int_equal(skep_seg_create(&seg, "test", pages * PAGE), 0);
	assert_int_equal(skep_seg_reserve(&seg, 0, seg.size), 0);
	p = seg.base;
	for (size_t i = 0; i < pages; i++)
		p[i * PAGE] = 7;
	assert_int_equal(missing_watch(fd, &seg), 0);
	assert_int_equal(punch(&seg, 2 * PAGE, PAGE), 0);
	assert_false(skep_seg_missing(&seg));
	p[2 * PAGE + 5] = 42;
	assert_true(skep_seg_missing(&seg));
	assert_int_equal(p[2 * PAGE + 5], 42);
	assert_int_equal(p[PAGE], 7);
	assert_int_equal(p[3 * PAGE], 7);
	/* Another process sees the hole, and fills it: for it there is memory. */
	pid = fork();
	if (!pid) {
		char *q = mmap(NULL, 3 * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, seg.fd, 0);

		if (q == MAP_FAILED || q[2 * PAGE + 5] || q[PAGE] != 7)
			_exit(1);
		q[2 * PAGE + 5] = 9;
		_exit(0);
	}
	expect_exit(pid, "the other process");
	assert_int_equal(p[2 * PAGE + 5], 42);
	/* Releasing punches where it may: not into what stands in for all missing pages. */
	skep_seg_release(&seg, 2 * PAGE, PAGE);
	p[2 * PAGE] = 1;
	skep_seg_restore(&seg);
	assert_false(skep_seg_missing(&seg));
	assert_int_equal(p[2 * PAGE + 5], 9);
	assert_int_equal(p[PAGE], 7);
	/* Many at once. */
	assert_int_equal(missing_watch(fd, &seg), 0);
	assert_int_equal(punch(&seg, 0, seg.size - PAGE), 0);
	for (size_t i = 0; i < pages; i++)
		((volatile char *)p)[i * PAGE] += 1;
	assert_true(skep_seg_missing(&seg));
	assert_int_equal(skep_seg_reserve(&seg, 0, seg.size), 0);
	assert_false(skep_seg_missing(&seg));
	assert_int_equal(p[PAGE], 0);
	assert_int_equal(p[(pages - 1) * PAGE], 7); /* its neighbours' substitute took the store */
	skep_seg_close(&seg);
	close(fd);
	print_message("ran: memory_replaced 1\n");
}

/* What is trusted (formats, constants) has all its memory from the moment it is frozen. */
static void test_frozen(void **state)
{
	struct skep_seg seg;
	struct stat st;

	assert_int_equal(skep_seg_create(&seg, "test", 600 * PAGE), 0);
	assert_int_equal(skep_seg_freeze(&seg), 0);
	assert_int_equal(fstat(seg.fd, &st), 0);
	assert_int_equal(st.st_blocks, 600 * PAGE / 512);
	assert_int_equal(punch(&seg, 0, PAGE), -1);
	assert_int_equal(errno, EPERM);
	skep_seg_close(&seg);
}

static char *foreign(void)
{
	int fd = memfd_create("foreign", MFD_CLOEXEC);
	char *p = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);

	close(fd); /* empty: there is no byte behind the mapping */
	return p;
}

static void on_foreign(int sig, siginfo_t *info, void *context)
{
	_exit(info->si_code > 0 ? 7 : 8);
}

/* Other faults are as they were without us: in a new process, whose handler comes first. */
static void test_foreign(void **state)
{
	struct skep_seg seg;
	struct sigaction sa = {.sa_sigaction = on_foreign, .sa_flags = SA_SIGINFO};
	int st;

	for (int i = 0; i < 5; i++) {
		pid_t pid = fork();

		if (!pid) {
			/* By the default action sanitizers report, and exit otherwise. */
			signal(SIGBUS, SIG_DFL);
			if (i == 0 || i == 3)
				sigaction(SIGBUS, &sa, NULL);
			if (i == 2)
				signal(SIGBUS, SIG_IGN);
			if (skep_seg_create(&seg, "test", PAGE))
				_exit(1);
			if (i >= 2)
				raise(SIGBUS);
			*(volatile char *)foreign() = 1;
			_exit(2);
		}
		assert_int_equal(waitpid(pid, &st, 0), pid);
		if (i == 0)
			assert_true(WIFEXITED(st) && WEXITSTATUS(st) == 7);
		else if (i == 3)
			assert_true(WIFEXITED(st) && WEXITSTATUS(st) == 8);
		else
			assert_true(WIFSIGNALED(st) && WTERMSIG(st) == SIGBUS);
	}
}

/* ---- Maps, and programs that use them in two processes ---- */

enum {
	HASH,
	GLOBAL,
	LRU,
	PERCPU,
	RING,
	LARGE,
	LPM,
	QUEUE,
	ATTACKED,
	VAULT = ATTACKED,
	LEDGER,
	MAPS
};

static const struct {
	uint32_t type, key, value, max, flags;
} shapes[MAPS] = {
	[HASH] = {BPF_MAP_TYPE_HASH, 4, 16, 200, 0},
	[GLOBAL] = {BPF_MAP_TYPE_ARRAY, 4, 256, 1, 0},
	[LRU] = {BPF_MAP_TYPE_LRU_HASH, 4, 16, 100, 0},
	[PERCPU] = {BPF_MAP_TYPE_PERCPU_ARRAY, 4, 8, 128, 0},
	[RING] = {BPF_MAP_TYPE_RINGBUF, 0, 0, 8192, 0},
	[LARGE] = {BPF_MAP_TYPE_ARRAY, 4, 16384, 128, 0},
	[LPM] = {BPF_MAP_TYPE_LPM_TRIE, 8, 16, 200, BPF_F_NO_PREALLOC},
	[QUEUE] = {BPF_MAP_TYPE_QUEUE, 0, 8, 1000, 0},
	/* Nobody takes memory of these. */
	[VAULT] = {BPF_MAP_TYPE_HASH, 4, 16, 200, 0},
	[LEDGER] = {BPF_MAP_TYPE_ARRAY, 4, 8, 1, 0},
};

static const char *const text =
	"r6 = value 1 +0 ll; r7 = *(u64 *)(r6 +0); r7 += 1; *(u64 *)(r6 +0) = r7; r7 &= 127;"
	"*(u32 *)(r10 -4) = r7; *(u64 *)(r10 -16) = r7; *(u64 *)(r10 -24) = r7;"
	"*(u32 *)(r10 -28) = r7; *(u32 *)(r10 -32) = 32;"
	"r1 = map 0 ll; r2 = r10; r2 += -4; r3 = r10; r3 += -24; r4 = 0; call map_update_elem;"
	"r1 = map 0 ll; r2 = r10; r2 += -4; call map_lookup_elem; if r0 == 0 goto lru;"
	"r1 = 1; lock *(u64 *)(r0 +0) += r1;"
	"lru: r1 = map 2 ll; r2 = r10; r2 += -4; r3 = r10; r3 += -24; r4 = 0; call map_update_elem;"
	"r1 = map 3 ll; r2 = r10; r2 += -4; call map_lookup_elem; if r0 == 0 goto ring;"
	"r1 = *(u64 *)(r0 +0); r1 += 1; *(u64 *)(r0 +0) = r1;"
	"ring: r1 = map 4 ll; r2 = 24; r3 = 0; call ringbuf_reserve; if r0 == 0 goto large;"
	"*(u64 *)(r0 +0) = r7; r1 = r0; r2 = 0; call ringbuf_submit;"
	"large: r1 = map 5 ll; r2 = r10; r2 += -4; call map_lookup_elem; if r0 == 0 goto lpm;"
	"*(u64 *)(r0 +8192) = r7;"
	"lpm: r1 = map 6 ll; r2 = r10; r2 += -32; r3 = r10; r3 += -24; r4 = 0; call "
	"map_update_elem;"
	"r1 = map 7 ll; r2 = r10; r2 += -24; r3 = 2; call map_push_elem;"
	"if r7 > 30 goto out; r1 = map 0 ll; r2 = r10; r2 += -4; call map_delete_elem;"
	"out: r1 = value 9 +0 ll; r2 = 1; lock *(u64 *)(r1 +0) += r2; r0 = 2; exit";

static struct {
	int fd[MAPS], prog;
	struct skep_map *map[MAPS];
	uint64_t runs[2]; /* in shared memory */
} * w;

static void fill_vault(void)
{
	for (uint32_t k = 0; k < 200; k++) {
		uint64_t value[2] = {k * 3, k};

		assert_int_equal(pair_elem(0, BPF_MAP_UPDATE_ELEM, w->fd[VAULT], &k, value, 0), 0);
	}
}

/* 0, or what is wrong with what nobody took memory of. */
static int check_vault(void)
{
	for (uint32_t k = 0; k < 200; k++) {
		uint64_t value[2];

		if (pair_elem(0, BPF_MAP_LOOKUP_ELEM, w->fd[VAULT], &k, value, 0))
			return 80;
		if (value[0] != k * 3 || value[1] != k)
			return 81;
	}
	return 0;
}

static int world_setup(void **state)
{
	static struct side s;
	struct bpf_insn insns[256];
	int n;

	if (pair_setup(state))
		return -1;
	w = mmap(NULL, sizeof(*w), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	assert_true(w != MAP_FAILED);
	for (int i = 0; i < MAPS; i++) {
		w->fd[i] = pair_create(0, shapes[i].type, shapes[i].key, shapes[i].value,
				       shapes[i].max, shapes[i].flags);
		assert_true(w->fd[i] >= 0);
		w->map[i] = pair_map(w->fd[i]);
	}
	s.skep = pair_skep;
	n = vasm(text, w->fd, MAPS, insns, 256);
	assert_true(n > 0);
	if (side_load(&s, BPF_PROG_TYPE_XDP, insns, (uint32_t)n, "GPL", &w->prog))
		fail_msg("%s", s.log);
	fill_vault();
	return 0;
}

static int world_teardown(void **state)
{
	close(w->prog);
	for (int i = 0; i < MAPS; i++) {
		skep_object_put(&w->map[i]->obj);
		close(w->fd[i]);
	}
	munmap(w, sizeof(*w));
	return pair_teardown(state);
}

static int run_program(struct skep_runner *r, uint64_t *count)
{
	static struct skep_packet p[16];
	static uint8_t buf[128];

	for (int i = 0; i < 16; i++)
		p[i] = (struct skep_packet){.buf = buf, .cap = sizeof(buf), .len = 64};
	if (skep_run_packets(r, p, 16) != 16)
		return 70;
	*count += 16;
	return 0;
}

static int watch_all(int fd)
{
	const struct skep_seg *slots = skep_slots_seg(pair_skep->slots);

	for (int i = 0; i < ATTACKED; i++)
		if (missing_watch(fd, &w->map[i]->data) || missing_watch(fd, &w->map[i]->ctl))
			return -1;
	return missing_watch(fd, slots);
}

/* Commands answer something that a full or empty map may answer, or that memory is missing. */
static int command(int map)
{
	static const int commands[] = {BPF_MAP_UPDATE_ELEM, BPF_MAP_LOOKUP_ELEM,
				       BPF_MAP_DELETE_ELEM, BPF_MAP_GET_NEXT_KEY};
	static uint8_t value[16384 + 8 * 1024];
	uint32_t key[2] = {32, pair_rnd(128)};
	int cmd = commands[pair_rnd(4)], r;

	r = pair_elem(0, cmd, w->fd[map], map == QUEUE ? NULL : &key[map != LPM], value, 0);
	switch (r) {
	case 0:
	case -ENOMEM:
	case -ENOENT:
	case -E2BIG:
	case -ENOSPC:
	case -EBUSY:
	case -EINVAL:
	case -EAGAIN:
	case -ETIMEDOUT:
	case -524: /* ENOTSUPP: a ring buffer has no elements */
		return 0;
	}
	fprintf(stderr, "map %d, command %d: %d\n", map, cmd, r);
	return 71;
}

static __attribute__((noreturn)) void worker(unsigned who)
{
	uint64_t end = skep_clock_mono() + 1200000000ull * pair_scale();
	struct pair_seen seen = {0};
	struct skep_seg seg;
	struct skep_runner *r;
	unsigned missing = 0;
	int fd = missing_open(), err = 0;

	pair_seed(who + 1);
	/* cmocka set a handler of its own; with each segment ours is put before others. */
	if (fd < 0 || skep_seg_create(&seg, "test", PAGE) ||
	    skep_runner_open(&r, pair_skep, w->prog))
		_exit(72);
	while (!err && skep_clock_mono() < end) {
		if (watch_all(fd))
			_exit(73);
		for (int i = 0; i < 20 && !err; i++)
			err = run_program(r, &w->runs[who]);
		for (int i = 0; i < ATTACKED; i++)
			missing += skep_map_answer(w->map[i], 0) == -ENOMEM;
		for (int i = 0; i < 20 && !err; i++)
			err = command((int)pair_rnd(ATTACKED));
		skep_ringbuf_consume(w->map[RING], pair_see, &seen);
		if (!err)
			err = check_vault();
	}
	skep_runner_close(r);
	if (!err && missing < 20) {
		fprintf(stderr, "%u times without memory, %lu runs\n", missing,
			(unsigned long)w->runs[who]);
		err = 74;
	}
	/* There is memory again. */
	close(fd);
	for (int i = 0; i < ATTACKED && !err; i++) {
		skep_map_restore(w->map[i]);
		err = command(i);
		if (!err)
			err = skep_map_answer(w->map[i], 0) ? 75 : 0;
	}
	_exit(err);
}

static __attribute__((noreturn)) void puncher(void)
{
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	pair_seed(99);
	for (;;) {
		const struct skep_map *map = w->map[pair_rnd(ATTACKED)];
		const struct skep_seg *seg = pair_rnd(2) && map->ctl.base ? &map->ctl : &map->data;
		size_t pages = seg->size / PAGE;

		if (!pair_rnd(50))
			seg = skep_slots_seg(pair_skep->slots);
		else if (pair_rnd(4))
			punch(seg, pair_rnd((uint32_t)pages) * (size_t)PAGE, PAGE);
		if (pair_rnd(4) == 0)
			punch(seg, 0, seg->size);
		if (!ftruncate(seg->fd, 0))
			_exit(1);
		usleep(100);
	}
}

/* Two processes run the program and send commands while a third takes pages away, and what is
 * taken can't be had again. Nobody dies or hangs, and what nobody took away is as it was. */
static void test_programs(void **state)
{
	pid_t worker_pid[2], bad;
	uint32_t zero = 0;
	uint64_t counted = 0;
	int fd = missing_open(), st;

	NOT_UNDER_TSAN();
	if (fd < 0)
		skip();
	close(fd);
	bad = fork();
	if (!bad)
		puncher();
	for (unsigned i = 0; i < 2; i++) {
		worker_pid[i] = fork();
		if (!worker_pid[i])
			worker(i);
	}
	for (unsigned i = 0; i < 2; i++)
		expect_exit(worker_pid[i], "worker");
	kill(bad, SIGKILL);
	assert_int_equal(waitpid(bad, &st, 0), bad);
	assert_true(WIFSIGNALED(st));
	assert_int_equal(check_vault(), 0);
	assert_int_equal(pair_elem(0, BPF_MAP_LOOKUP_ELEM, w->fd[LEDGER], &zero, &counted, 0), 0);
	assert_int_equal(counted, w->runs[0] + w->runs[1]);
	print_message("%lu and %lu runs without memory\n", (unsigned long)w->runs[0],
		      (unsigned long)w->runs[1]);
	print_message("ran: memory_programs 2\n");
}

/* As long as memory is missing, commands say so instead of making up what was there. */
static void test_answer(void **state)
{
	uint64_t value[2];
	uint32_t key = 5;
	int fd = missing_open();
	pid_t pid;

	NOT_UNDER_TSAN();
	if (fd < 0)
		skip();
	close(fd);
	pid = fork();
	if (!pid) {
		struct skep_map *map = w->map[VAULT];
		struct skep_seg seg;
		int uffd = missing_open();

		if (skep_seg_create(&seg, "test", PAGE) || missing_watch(uffd, &map->data) ||
		    punch(&map->data, 0, map->data.size))
			_exit(1);
		*(volatile char *)map->data.base = 1;
		/* By what can't be seen the segment can't be mapped anew. */
		close(map->data.fd);
		for (int i = 0; i < 2; i++) {
			if (pair_elem(0, BPF_MAP_LOOKUP_ELEM, w->fd[VAULT], &key, value, 0) !=
				    -ENOMEM ||
			    pair_elem(0, BPF_MAP_UPDATE_ELEM, w->fd[VAULT], &key, value, 0) !=
				    -ENOMEM)
				_exit(2);
		}
		/* Other maps have theirs. */
		_exit(pair_elem(0, BPF_MAP_UPDATE_ELEM, w->fd[HASH], &key, value, 0));
	}
	expect_exit(pid, "the process without");
	/* Here the memory can be had: the keys are zero. */
	assert_int_equal(pair_elem(0, BPF_MAP_LOOKUP_ELEM, w->fd[VAULT], &key, value, 0), -ENOENT);
	print_message("ran: memory_answer 1\n");
}

/* Where the system refuses memory at the first touch, arrays have all of it from the start: their
 * elements are touched without being reserved. */
static void test_strict(void **state)
{
	pid_t pid = fork();
	int st;

	if (!pid) {
		char path[] = "/tmp/skep-strict-XXXXXX";
		int file = mkstemp(path), fd;
		struct stat before, after;

		if (skep_open(&pair_skep, NULL)) /* the parent's makes nothing here */
			_exit(3);
		fd = pair_create(0, BPF_MAP_TYPE_ARRAY, 4, PAGE, 1024, 0);
		if (fd < 0 || fstat(fd, &before) || before.st_blocks)
			_exit(1);
		/* What the system says of itself, in a mount namespace of our own. */
		if (unshare(CLONE_NEWNS) || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) ||
		    write(file, "2\n", 2) != 2 ||
		    mount(path, "/proc/sys/vm/overcommit_memory", NULL, MS_BIND, NULL)) {
			unlink(path);
			_exit(77);
		}
		unlink(path);
		fd = pair_create(0, BPF_MAP_TYPE_ARRAY, 4, PAGE, 1024, 0);
		if (fd < 0 || fstat(fd, &after) || after.st_blocks != 1024 * PAGE / 512)
			_exit(2);
		_exit(0);
	}
	assert_int_equal(waitpid(pid, &st, 0), pid);
	if (WIFEXITED(st) && WEXITSTATUS(st) == 77)
		skip();
	if (st)
		fail_msg("exit %d, signal %d", WIFEXITED(st) ? WEXITSTATUS(st) : -1,
			 WIFSIGNALED(st) ? WTERMSIG(st) : 0);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_foreign), /* before this process has a segment */
		cmocka_unit_test(test_replaced),
		cmocka_unit_test(test_frozen),
		cmocka_unit_test_setup_teardown(test_programs, world_setup, world_teardown),
		cmocka_unit_test_setup_teardown(test_answer, world_setup, world_teardown),
		cmocka_unit_test_setup_teardown(test_strict, pair_setup, pair_teardown),
	};

	return cmocka_run_group_tests_name("memory", tests, NULL, NULL);
}
