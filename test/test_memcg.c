/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A memory cgroup at its limit. Its processes run programs that fill a map, while a process outside
 * punches holes into the same map and uses it, too. The system's answer is to kill one of them
 * (there is no SIGBUS, and no ENOMEM either), or, if so configured, to let them wait.
 */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "map_pair.h"
#include "memcg.h"
#include "side.h"
#include "vasm.h"

#define PAGE  4096
#define LIMIT ((size_t)24 << 20)
#define VALUE 1024

enum { BIG, VAULT, LEDGER, MAPS };
static const char *const text =
	"r6 = value 2 +0 ll; r7 = 1; lock *(u64 *)(r6 +0) += r7;"
	"r7 = *(u32 *)(r6 +0); r7 += 40000; *(u32 *)(r10 -4) = r7;"
	"r1 = map 0 ll; r2 = r10; r2 += -4; r3 = value 2 +8 ll; r4 = 0; call map_update_elem;"
	"if r0 == -12 goto none; r0 = 2; exit; none: r0 = 1; exit" /* ENOMEM: dropped */;

static int fd[MAPS], prog;
static struct skep_map *big;
static struct memcg cg;
/* What the processes tell each other; it has its memory before there is any limit. */
static struct {
	volatile uint32_t runs[2], refused, eaten, reading, done;
} * shared;

static int setup(void **state)
{
	static const uint32_t shapes[MAPS][4] = {
		[BIG] = {BPF_MAP_TYPE_HASH, 4, VALUE, 200000},
		[VAULT] = {BPF_MAP_TYPE_HASH, 4, 8, 300},
		[LEDGER] = {BPF_MAP_TYPE_ARRAY, 4, 8 + VALUE, 1},
	};
	static struct side s;
	struct bpf_insn insns[64];
	int n;

	if (pair_setup(state))
		return -1;
	for (int i = 0; i < MAPS; i++) {
		fd[i] = pair_create(0, shapes[i][0], shapes[i][1], shapes[i][2], shapes[i][3], 0);
		assert_true(fd[i] >= 0);
	}
	big = pair_map(fd[BIG]);
	s.skep = pair_skep;
	n = vasm(text, fd, MAPS, insns, 64);
	assert_true(n > 0);
	if (side_load(&s, BPF_PROG_TYPE_XDP, insns, (uint32_t)n, "GPL", &prog))
		fail_msg("%s", s.log);
	for (uint32_t k = 0; k < 300; k++) {
		uint64_t value = k * 7;

		assert_int_equal(pair_elem(0, BPF_MAP_UPDATE_ELEM, fd[VAULT], &k, &value, 0), 0);
	}
	shared = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	assert_true(shared != MAP_FAILED);
	memset(shared, 0, PAGE);
	return 0;
}

static int teardown(void **state)
{
	if (cg.dir[0])
		memcg_drop(&cg);
	munmap(shared, PAGE);
	close(prog);
	skep_object_put(&big->obj);
	for (int i = 0; i < MAPS; i++)
		close(fd[i]);
	return pair_teardown(state);
}

/* Everything that nobody took memory of is as it was, and the full map still takes keys. */
static void check_rest(void)
{
	static uint8_t value[VALUE];
	uint64_t v, since = skep_clock_mono();
	uint32_t key;

	for (key = 0; key < 300; key++) {
		assert_int_equal(pair_elem(0, BPF_MAP_LOOKUP_ELEM, fd[VAULT], &key, &v, 0), 0);
		assert_int_equal(v, key * 7);
	}
	for (key = 500000; key < 500500; key++) {
		memset(value, (int)key, sizeof(value));
		assert_int_equal(pair_elem(0, BPF_MAP_UPDATE_ELEM, fd[BIG], &key, value, 0), 0);
		assert_int_equal(pair_elem(0, BPF_MAP_LOOKUP_ELEM, fd[BIG], &key, value, 0), 0);
		assert_int_equal(value[VALUE - 1], key & 0xff);
	}
	if (skep_clock_mono() - since > 5000000000ull)
		fail_msg("%lu ms for 500 updates",
			 (unsigned long)((skep_clock_mono() - since) / 1000000));
}

static __attribute__((noreturn)) void filler(unsigned who)
{
	static struct skep_packet p;
	static uint8_t buf[128];
	struct skep_runner *r;

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	/* Not cmocka's handlers, which would make an exit of a signal. */
	signal(SIGBUS, SIG_DFL);
	signal(SIGSEGV, SIG_DFL);
	if (!memcg_join(&cg) || skep_runner_open(&r, pair_skep, prog))
		_exit(1);
	for (;;) {
		p = (struct skep_packet){.buf = buf, .cap = sizeof(buf), .len = 64};
		if (skep_run_packets(r, &p, 1) != 1)
			_exit(2);
		shared->runs[who]++;
	}
}

/* Two processes fill the map beyond their limit: they are killed, by the system and not by a fault
 * of ours, and nothing is lost but what they were doing. */
static void test_killed(void **state)
{
	pid_t pid[2];
	uint64_t ledger[1 + VALUE / 8], end = skep_clock_mono() + 30000000000ull;
	uint32_t zero = 0;
	int left = 2, st, holes = 0;
	long kills;

	if (!memcg_make(&cg, LIMIT))
		skip();
	for (unsigned i = 0; i < 2; i++) {
		pid[i] = fork();
		if (!pid[i])
			filler(i);
	}
	while (left && skep_clock_mono() < end) {
		static uint8_t value[VALUE];
		uint32_t key = pair_rnd(100000);

		/* Some of what the cgroup paid for goes, and is taken again by who uses it. */
		holes += !fallocate(big->data.fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
				    (off_t)pair_rnd(4000) * PAGE, PAGE);
		pair_elem(0, BPF_MAP_LOOKUP_ELEM, fd[BIG], &key, value, 0);
		for (int i = 0; i < 2; i++)
			if (pid[i] && waitpid(pid[i], &st, WNOHANG) == pid[i]) {
				pid[i] = 0;
				left--;
				if (!WIFSIGNALED(st) || WTERMSIG(st) != SIGKILL)
					fail_msg("process %d: exit %d, signal %d", i,
						 WIFEXITED(st) ? WEXITSTATUS(st) : -1,
						 WIFSIGNALED(st) ? WTERMSIG(st) : 0);
			}
		usleep(200);
	}
	kills = memcg_kills(&cg);
	for (int i = 0; i < 2; i++)
		if (pid[i]) {
			kill(pid[i], SIGKILL);
			waitpid(pid[i], &st, 0);
		}
	assert_int_equal(left, 0);
	assert_true(kills < 0 || kills >= 2); /* -1: this system does not count them */
	check_rest();
	/* Each run counted, at most the last of each process was cut off before we heard of it. */
	assert_int_equal(pair_elem(0, BPF_MAP_LOOKUP_ELEM, fd[LEDGER], &zero, ledger, 0), 0);
	assert_in_range(ledger[0] - shared->runs[0] - shared->runs[1], 0, 2);
	print_message("%lu runs, %d holes, %ld killed at the limit\n", (unsigned long)ledger[0],
		      holes, kills);
	print_message("ran: memory_cgroup 1\n");
}

/* Takes what the cgroup has left, page by page. */
static void eat(int file, off_t *at)
{
	while (!fallocate(file, 0, *at, PAGE))
		*at += PAGE;
}

static __attribute__((noreturn)) void waiter(void)
{
	static uint8_t value[VALUE], buf[128];
	struct skep_packet p = {.buf = buf, .cap = sizeof(buf), .len = 64};
	int file = memfd_create("eaten", MFD_CLOEXEC), r = 0;
	uint32_t key, ten = 10;
	struct skep_runner *run;
	off_t at = 0;

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (ftruncate(file, 1 << 30) || skep_runner_open(&run, pair_skep, prog) || !memcg_join(&cg))
		_exit(1);
	/* Here reserving is refused before anything is touched, and commands and programs say so. */
	for (key = 1000; !r && key < 100000; key++)
		r = pair_elem(0, BPF_MAP_UPDATE_ELEM, fd[BIG], &key, value, 0);
	if (r != -ENOMEM)
		_exit(2);
	eat(file, &at);
	for (int i = 0; i < 20000 && p.verdict != XDP_DROP; i++)
		if (skep_run_packets(run, &p, 1) != 1)
			_exit(3);
	if (p.verdict != XDP_DROP)
		_exit(4);
	shared->refused = 1;
	while (!shared->eaten)
		usleep(1000);
	eat(file, &at);
	shared->reading = 1;
	r = pair_elem(0, BPF_MAP_LOOKUP_ELEM, fd[BIG], &ten, value, 0);
	shared->done = 1;
	_exit(r && r != -ENOENT ? 5 : 0);
}

static bool await(volatile uint32_t *word, pid_t pid, unsigned ms)
{
	siginfo_t ended = {0};

	while (!*word && ms-- && !ended.si_pid) {
		usleep(1000);
		waitid(P_PID, (id_t)pid, &ended, WEXITED | WNOHANG | WNOWAIT);
	}
	return *word;
}

/* The same where nobody is killed: who reaches a hole waits, and goes on when there is memory.
 * Others are not held up by it. */
static void test_waiting(void **state)
{
	static uint8_t value[VALUE];
	uint32_t ten = 10;
	char *elem;
	pid_t pid;
	int st;

	if (!memcg_make(&cg, LIMIT))
		skip();
	if (!memcg_wait(&cg)) {
		print_message("processes that wait for memory: cgroups of version 1 only\n");
		skip();
	}
	assert_int_equal(pair_elem(0, BPF_MAP_UPDATE_ELEM, fd[BIG], &ten, value, 0), 0);
	skep_enter(pair_env);
	elem = big->ops->lookup(big, &ten, pair_env);
	skep_leave(pair_env);
	assert_non_null(elem);
	pid = fork();
	if (!pid)
		waiter();
	if (await(&shared->refused, pid, 10000)) {
		assert_int_equal(fallocate(big->data.fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
					   (elem - (char *)big->data.base) / PAGE * PAGE, PAGE),
				 0);
		shared->eaten = 1;
		if (await(&shared->reading, pid, 10000)) {
			await(&shared->done, pid, 300);
			print_message("at the hole: %s\n",
				      shared->done ? "memory was found" : "waiting");
		}
		check_rest();
	}
	assert_true(memcg_limit(&cg, 2 * LIMIT));
	await(&shared->done, pid, 10000);
	if (!shared->done)
		kill(pid, SIGKILL);
	assert_int_equal(waitpid(pid, &st, 0), pid);
	if (st)
		fail_msg("exit %d, signal %d", WIFEXITED(st) ? WEXITSTATUS(st) : -1,
			 WIFSIGNALED(st) ? WTERMSIG(st) : 0);
	print_message("ran: memory_waiting 1\n");
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_killed, setup, teardown),
		cmocka_unit_test_setup_teardown(test_waiting, setup, teardown),
	};

	return cmocka_run_group_tests_name("memcg", tests, NULL, NULL);
}
