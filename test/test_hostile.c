/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Programs that run while another process writes garbage over every byte of their maps
 * that it can: compiled, interpreted, and interpreted with every access tested. Nothing
 * may fault, hang, or leave the memory that the verifier allowed.
 */
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
#include <sys/wait.h>
#include <unistd.h>
#include <cmocka.h>

#include "asm.h"
#include "map/map.h"
#include "scale.h"
#include "skep.h"

static uint64_t rnd_state = 88172645463325252u;

static uint64_t rnd64(void)
{
	rnd_state ^= rnd_state << 13;
	rnd_state ^= rnd_state >> 7;
	rnd_state ^= rnd_state << 17;
	return rnd_state;
}

enum { HASH, GLOBAL, PERCPU, LRU, OUTER, RING, PROGS, ARRAY, INNER, MAPS };

static const struct {
	uint32_t type, key, value, max;
} shapes[MAPS] = {
	[HASH] = {BPF_MAP_TYPE_HASH, 4, 16, 100},
	[GLOBAL] = {BPF_MAP_TYPE_ARRAY, 4, 256, 1},
	[PERCPU] = {BPF_MAP_TYPE_PERCPU_HASH, 4, 16, 100},
	[LRU] = {BPF_MAP_TYPE_LRU_HASH, 4, 16, 50},
	[OUTER] = {BPF_MAP_TYPE_HASH_OF_MAPS, 4, 4, 8},
	[RING] = {BPF_MAP_TYPE_RINGBUF, 0, 0, 4096},
	[PROGS] = {BPF_MAP_TYPE_PROG_ARRAY, 4, 4, 8},
	[ARRAY] = {BPF_MAP_TYPE_ARRAY, 4, 16, 64},
	[INNER] = {BPF_MAP_TYPE_ARRAY, 4, 16, 8},
};

/* "r1 = MAP(n) ll" and "r1 = VALUE(n) ll" stand for map n and its value 0. */
#define MAP(n)   "0x4d000" #n
#define VALUE(n) "0x4e000" #n

/* Numbers that come out of maps are bounded and then used: each must be read once. */
static const char *const text =
	"r6 = r1\n"
	"call #7\n"
	"r7 = r0\n"
	"r7 &= 127\n"
	"*(u32 *)(r10 -4) = r7\n"
	/* HASH: its value's words as offsets into GLOBAL. */
	"r2 = r10\n r2 += -4\n r1 = " MAP(
		0) " ll\n call #1\n"
		   "if r0 == 0 goto no_hash\n"
		   "r8 = *(u64 *)(r0 +0)\n"
		   "if r8 > 200 goto second\n"
		   "r4 = " VALUE(
			   1) " ll\n r4 += r8\n r5 = *(u64 *)(r4 +0)\n *(u64 *)(r4 +8) = r5\n"
			      "second:\n"
			      "r8 = *(u32 *)(r0 +8)\n"
			      "r8 &= 63\n"
			      "r4 = " VALUE(
				      1) " ll\n r4 += r8\n r5 = *(u8 *)(r4 +128)\n *(u8 *)(r4 +64) "
					 "= r5\n"
					 "r1 = 1\n lock *(u64 *)(r0 +0) += r1\n"
					 "no_hash:\n"
					 /* GLOBAL: a number in it is an index into ARRAY, by a helper and by hand. */
					 "r4 = " VALUE(
						 1) " ll\n r8 = *(u32 *)(r4 +16)\n"
						    "if r8 > 200 goto update\n"
						    "r4 += r8\n r8 = *(u8 *)(r4 +0)\n *(u32 *)(r10 "
						    "-8) = r8\n"
						    "r2 = r10\n r2 += -8\n r1 = " MAP(
							    7) " ll\n call #1\n"
							       "if r0 == 0 goto update\n"
							       "r8 = *(u64 *)(r0 +8)\n *(u64 *)(r0 "
							       "+0) = r8\n"
							       "update:\n"
							       "*(u64 *)(r10 -24) = r7\n *(u64 "
							       "*)(r10 -16) = r7\n"
							       "r4 = 0\n r3 = r10\n r3 += -24\n r2 "
							       "= r10\n r2 += -4\n r1 = " MAP(
								       0) " ll\n call #2\n"
									  "r4 = 0\n r3 = r10\n r3 "
									  "+= -24\n r2 = r10\n r2 "
									  "+= -4\n r1 = " MAP(
										  3) " ll\n call "
										     "#2\n"
										     "r4 = 0\n r3 "
										     "= r10\n r3 "
										     "+= -24\n r2 "
										     "= r10\n r2 "
										     "+= -4\n r1 "
										     "= " MAP(
											     2) " l"
												"l"
												"\n"
												" c"
												"al"
												"l "
												"#2"
												"\n"
												"r2"
												" ="
												" r"
												"10"
												"\n"
												" r"
												"2 "
												"+="
												" -"
												"4"
												"\n"
												" r"
												"1 "
												"="
												" " MAP(2) " ll\n call #1\n"
													   "if r0 == 0 goto no_percpu\n"
													   "r1 = *(u64 *)(r0 +0)\n r1 += 1\n *(u64 *)(r0 +0) = r1\n"
													   "no_percpu:\n"
													   "r2 = r10\n r2 += -4\n r1 = " MAP(
														   3) " ll\n call #1\n"
														      "if r0 == 0 goto no_lru\n"
														      "r1 = *(u64 *)(r0 +0)\n *(u64 *)(r0 +8) = r1\n"
														      "no_lru:\n"
														      "if r7 > 30 goto no_delete\n"
														      "r2 = r10\n r2 += -4\n r1 = " MAP(
															      0) " ll\n call #3\n"
																 "no_delete:\n"
																 /* OUTER: a map out of a map. */
																 "r7 &= 7\n *(u32 *)(r10 -4) = r7\n"
																 "r2 = r10\n r2 += -4\n r1 = " MAP(
																	 4) " ll\n call #1\n"
																	    "if r0 == 0 goto ring\n"
																	    "r1 = r0\n r2 = r10\n r2 += -4\n call #1\n"
																	    "if r0 == 0 goto ring\n"
																	    "r1 = 1\n lock *(u64 *)(r0 +0) += r1\n"
																	    "ring:\n"
																	    "r1 = " MAP(
																		    5) " ll\n r2 = 24\n r3 = 0\n call #131\n"
																		       "if r0 == 0 goto tail\n"
																		       "*(u64 *)(r0 +0) = r7\n *(u64 *)(r0 +16) = r7\n"
																		       "r1 = r0\n r2 = 0\n call #132\n"
																		       "tail:\n"
																		       "r1 = r6\n r2 = " MAP(
																			       6) " ll\n r3 = r7\n call #12\n"
																				  "r0 = 0\n"
																				  "exit\n";

struct world {
	struct skep *skep;
	int fd[MAPS], prog;
	struct skep_map *map[MAPS];
	_Atomic unsigned faults;
	_Atomic uint64_t runs;
	_Atomic bool stop;
};

static void on_printk(void *arg, const char *line, size_t len)
{
	struct world *w = arg;

	if (!w->faults++)
		print_message("%.*s", (int)len, line);
}

static long call(struct world *w, int cmd, union bpf_attr *attr)
{
	return skep_bpf(w->skep, cmd, attr, sizeof(*attr));
}

static void make_maps(struct world *w)
{
	for (int i = MAPS - 1; i >= 0; i--) {
		union bpf_attr attr;
		struct skep_object *obj;

		memset(&attr, 0, sizeof(attr));
		attr.map_type = shapes[i].type;
		attr.key_size = shapes[i].key;
		attr.value_size = shapes[i].value;
		attr.max_entries = shapes[i].max;
		if (i == OUTER)
			attr.inner_map_fd = (uint32_t)w->fd[INNER];
		w->fd[i] = (int)call(w, BPF_MAP_CREATE, &attr);
		if (w->fd[i] < 0)
			fail_msg("map %d: %d", i, w->fd[i]);
		assert_int_equal(skep_object_get(w->skep, w->fd[i], SKEP_KIND_MAP, &obj), 0);
		w->map[i] = (struct skep_map *)obj;
	}
}

static void store_fd(struct world *w, int map, uint32_t key, int fd)
{
	union bpf_attr attr;
	long r;

	memset(&attr, 0, sizeof(attr));
	attr.map_fd = (uint32_t)w->fd[map];
	attr.key = (uintptr_t)&key;
	attr.value = (uintptr_t)&fd;
	r = call(w, BPF_MAP_UPDATE_ELEM, &attr);
	if (r)
		fail_msg("store in map %d: %ld", map, r);
}

static void load(struct world *w, const char *source)
{
	static char log[1 << 20];
	struct bpf_insn insns[256];
	union bpf_attr attr;
	int n = asm_text(source, insns, 256);

	assert_true(n > 0);
	for (int i = 0; i < n; i++) {
		uint32_t kind = (uint32_t)insns[i].imm >> 16, map = (uint32_t)insns[i].imm & 0xffff;

		if (insns[i].code != (BPF_LD | BPF_IMM | BPF_DW))
			continue;
		if (kind == 0x4d || kind == 0x4e) {
			insns[i].src_reg = kind == 0x4d ? BPF_PSEUDO_MAP_FD : BPF_PSEUDO_MAP_VALUE;
			insns[i].imm = w->fd[map];
			insns[i + 1].imm = 0;
		}
		i++;
	}
	memset(&attr, 0, sizeof(attr));
	attr.prog_type = BPF_PROG_TYPE_SCHED_CLS;
	attr.insns = (uintptr_t)insns;
	attr.insn_cnt = (uint32_t)n;
	attr.license = (uintptr_t) "GPL";
	attr.log_buf = (uintptr_t)log;
	attr.log_size = sizeof(log);
	attr.log_level = 1;
	w->prog = (int)call(w, BPF_PROG_LOAD, &attr);
	if (w->prog < 0)
		fail_msg("%s\nload: %d", log, w->prog);
}

static void *run(void *arg)
{
	struct world *w = arg;
	struct skep_runner *runner;
	uint8_t buf[256] = {0};

	assert_int_equal(skep_runner_open(&runner, w->skep, w->prog), 0);
	while (!w->stop) {
		struct skep_packet p[16];

		for (int i = 0; i < 16; i++)
			p[i] = (struct skep_packet){
				.buf = buf, .cap = sizeof(buf), .off = 64, .len = 64};
		assert_int_equal(skep_run_packets(runner, p, 16), 16);
		w->runs += 16;
	}
	skep_runner_close(runner);
	return NULL;
}

static __attribute__((noreturn)) void hostile(struct world *w)
{
	rnd_state ^= (uint64_t)getpid() << 30;
	for (;;) {
		for (int i = 0; i < 200; i++) {
			struct skep_map *map = w->map[rnd64() % MAPS];
			struct skep_seg *seg =
				map->ctl.base && rnd64() & 1 ? &map->ctl : &map->data;
			uint64_t word = rnd64() >> rnd64() % 64;
			size_t at = (size_t)(rnd64() % (seg->size / 8)) * 8;

			if (rnd64() & 1)
				at %= 4096;
			if (!(rnd64() % 4))
				word = rnd64() % 300;
			__atomic_store_n((uint64_t *)((char *)seg->base + at), word,
					 __ATOMIC_RELAXED);
		}
		/* The numbers that the program bounds: in bounds and out of them, all the time. */
		for (int i = 0; i < 2000; i++) {
			uint32_t *word = (uint32_t *)((char *)w->map[GLOBAL]->data.base + 16);
			uint32_t *first = w->map[HASH]->data.base;

			__atomic_store_n(word, i & 1 ? 0xfffffff0u : (uint32_t)i % 200,
					 __ATOMIC_RELAXED);
			__atomic_store_n(&first[rnd64() % 600], i & 1 ? 0x7fffffffu : 7,
					 __ATOMIC_RELAXED);
		}
		usleep(20);
	}
}

static void under_garbage(uint32_t flags, const char *how)
{
	struct world w = {.prog = -1};
	struct skep_opts opts = {
		.sz = sizeof(opts), .flags = flags, .printk = on_printk, .printk_arg = &w};
	uint64_t end, before = 0, longest = 0, since;
	pthread_t t[2];
	pid_t pid;
	int st;

	assert_int_equal(skep_open(&w.skep, &opts), 0);
	make_maps(&w);
	load(&w, text);
#ifdef __x86_64__
	if (!flags) {
		struct skep_object *obj;

		assert_int_equal(skep_object_get(w.skep, w.prog, SKEP_KIND_PROG, &obj), 0);
		assert_non_null(((struct skep_prog *)obj)->code.entry);
		skep_object_put(obj);
	}
#endif
	for (uint32_t k = 0; k < 8; k += 2)
		store_fd(&w, OUTER, k, w.fd[INNER]);
	store_fd(&w, PROGS, 3, w.prog);
	pid = fork();
	if (!pid)
		hostile(&w);
	for (int i = 0; i < 2; i++)
		pthread_create(&t[i], NULL, run, &w);
	since = skep_clock_mono();
	end = since + scaled(1500) * 1000000;
	for (; skep_clock_mono() < end; usleep(1000)) {
		if (w.runs != before) {
			before = w.runs;
			since = skep_clock_mono();
		}
		if (skep_clock_mono() - since > longest)
			longest = skep_clock_mono() - since;
		if (longest > 30000000000ull)
			fail_msg("%s: stuck after %lu runs", how, (unsigned long)before);
	}
	w.stop = true;
	for (int i = 0; i < 2; i++)
		pthread_join(t[i], NULL);
	kill(pid, SIGKILL);
	waitpid(pid, &st, 0);
	assert_true(WIFSIGNALED(st) && WTERMSIG(st) == SIGKILL);
	print_message("%s: %lu runs under garbage, longest pause %lu ms, %u bad accesses\n", how,
		      (unsigned long)w.runs, (unsigned long)(longest / 1000000), w.faults);
	assert_int_equal(w.faults, 0);
	assert_true(w.runs > 0);
	close(w.prog);
	for (int i = 0; i < MAPS; i++) {
		skep_object_put(&w.map[i]->obj);
		close(w.fd[i]);
	}
	skep_close(w.skep);
}

static void test_compiled(void **state)
{
	under_garbage(0, "compiled");
}

static void test_interpreted(void **state)
{
	under_garbage(SKEP_F_INTERPRET, "interpreted");
}

static void test_checked(void **state)
{
	under_garbage(SKEP_F_CHECKED, "checked");
	print_message("ran: hostile 1\n");
}

/* ---- Processes ---- */

static const char *const counting =
	"*(u32 *)(r10 -4) = 0\n"
	"r2 = r10\n r2 += -4\n r1 = " MAP(
		0) " ll\n call #1\n"
		   "if r0 == 0 goto out\n"
		   "r1 = *(u64 *)(r0 +0)\n r1 += 1\n *(u64 *)(r0 +0) = r1\n"
		   "out:\n r0 = 0\n"
		   "exit\n";

static void run_times(struct world *w, uint32_t n)
{
	static struct skep_packet p[64];
	static uint8_t buf[128];
	struct skep_runner *runner;

	if (skep_runner_open(&runner, w->skep, w->prog))
		_exit(1);
	for (uint32_t done = 0; done < n; done += 64) {
		for (int i = 0; i < 64; i++)
			p[i] = (struct skep_packet){.buf = buf, .cap = sizeof(buf), .len = 64};
		if (skep_run_packets(runner, p, 64) != 64)
			_exit(2);
	}
	skep_runner_close(runner);
}

/* Forked processes run the same program on the same map: no increment is lost, although
 * the program adds without atomics. */
static void test_processes(void **state)
{
	enum { PROCESSES = 6, EACH = 64 * 4000 };
	struct skep_opts opts = {.sz = sizeof(opts), .cpus = 2};
	struct world w = {.prog = -1};
	uint64_t values[2], sum = 0;
	union bpf_attr attr;
	pid_t pid[PROCESSES];
	uint32_t key = 0;
	int st;

	assert_int_equal(skep_open(&w.skep, &opts), 0);
	memset(&attr, 0, sizeof(attr));
	attr.map_type = BPF_MAP_TYPE_PERCPU_ARRAY;
	attr.key_size = 4;
	attr.value_size = 8;
	attr.max_entries = 1;
	w.fd[0] = (int)call(&w, BPF_MAP_CREATE, &attr);
	assert_true(w.fd[0] >= 0);
	load(&w, counting);
	for (int i = 0; i < PROCESSES; i++) {
		pid[i] = fork();
		if (!pid[i]) {
			run_times(&w, EACH);
			_exit(0);
		}
	}
	run_times(&w, EACH);
	for (int i = 0; i < PROCESSES; i++) {
		assert_int_equal(waitpid(pid[i], &st, 0), pid[i]);
		assert_int_equal(st, 0);
	}
	memset(&attr, 0, sizeof(attr));
	attr.map_fd = (uint32_t)w.fd[0];
	attr.key = (uintptr_t)&key;
	attr.value = (uintptr_t)values;
	assert_int_equal(call(&w, BPF_MAP_LOOKUP_ELEM, &attr), 0);
	sum = values[0] + values[1];
	print_message("%lu increments by %d processes\n", (unsigned long)sum, PROCESSES + 1);
	assert_int_equal(sum, (PROCESSES + 1) * EACH);
	close(w.prog);
	close(w.fd[0]);
	skep_close(w.skep);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_compiled),
		cmocka_unit_test(test_interpreted),
		cmocka_unit_test(test_checked),
		cmocka_unit_test(test_processes),
	};

	return cmocka_run_group_tests_name("hostile", tests, NULL, NULL);
}
