/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How good the LRU is: the same accesses (look up, insert on a miss) go to the kernel's
 * LRU hash, through a program, and to ours; hit ratios are printed and compared.
 */
#include <math.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>

#include "asm.h"
#include "kern.h"
#include "map/map.h"
#include "os/os.h"
#include "scale.h"
#include "skep.h"

#define CHUNK 8192 /* accesses per run of the kernel's program */

static struct skep *skep;
static uint64_t rng = 88172645463325252ull;

static uint64_t rnd(void)
{
	rng ^= rng << 13;
	rng ^= rng >> 7;
	rng ^= rng << 17;
	return rng >> 11;
}

/* ---- Accesses ---- */

struct workload {
	const char *name;
	uint32_t keys; /* different ones */
	double skew; /* of Zipf's law */
	uint32_t scan; /* every so many accesses, a run of keys used once; 0: never */
	double *cdf;
	uint32_t scan_left, scan_key;
};

static void workload_init(struct workload *w)
{
	double sum = 0;

	w->cdf = malloc(w->keys * sizeof(*w->cdf));
	for (uint32_t i = 0; i < w->keys; i++)
		w->cdf[i] = sum += 1 / pow(i + 1, w->skew);
	for (uint32_t i = 0; i < w->keys; i++)
		w->cdf[i] /= sum;
}

static uint32_t next_key(struct workload *w)
{
	double p = (double)(rnd() % 1000000007) / 1000000007;
	uint32_t lo = 0, hi = w->keys - 1;

	if (w->scan && !w->scan_left && !(rnd() % w->scan))
		w->scan_left = 500;
	if (w->scan_left) {
		w->scan_left--;
		return 0x80000000u + w->scan_key++;
	}
	while (lo < hi) {
		uint32_t mid = (lo + hi) / 2;

		if (w->cdf[mid] < p)
			lo = mid + 1;
		else
			hi = mid;
	}
	return lo * 2654435761u >> 1;
}

/* ---- The kernel's side ---- */

static long kern_map(uint32_t type, uint32_t value_size, uint32_t n, uint32_t flags)
{
	union bpf_attr attr = {.map_type = type,
			       .key_size = 4,
			       .value_size = value_size,
			       .max_entries = n,
			       .map_flags = flags};

	return kern_bpf(BPF_MAP_CREATE, &attr);
}

#define KEYS_MARK 0x11111111
#define LRU_MARK  0x22222222

/* Returns the misses of CHUNK accesses, whose keys stand in the array's only value. */
static int load_prog(int keys_fd, int lru_fd)
{
	static const char text[] = "r6 = 0x11111111 ll\n"
				   "r7 = 0\n"
				   "r8 = 0\n"
				   "loop:\n"
				   "r1 = r7\n"
				   "r1 <<= 2\n"
				   "r1 += r6\n"
				   "r1 = *(u32 *)(r1 +0)\n"
				   "*(u32 *)(r10 -4) = r1\n"
				   "r2 = r10\n"
				   "r2 += -4\n"
				   "r1 = 0x22222222 ll\n"
				   "call #1\n"
				   "if r0 != 0x0 goto next\n"
				   "r8 += 1\n"
				   "r1 = 1\n"
				   "*(u64 *)(r10 -16) = r1\n"
				   "r2 = r10\n"
				   "r2 += -4\n"
				   "r3 = r10\n"
				   "r3 += -16\n"
				   "r4 = 0\n"
				   "r1 = 0x22222222 ll\n"
				   "call #2\n"
				   "next:\n"
				   "r7 += 1\n"
				   "if r7 < 8192 goto loop\n"
				   "r0 = r8\n"
				   "exit\n";
	struct bpf_insn insns[64];
	int n = asm_text(text, insns, 64);

	assert_true(n > 0);
	for (int i = 0; i < n; i++) {
		if (insns[i].code != (BPF_LD | BPF_DW | BPF_IMM))
			continue;
		insns[i].src_reg =
			insns[i].imm == KEYS_MARK ? BPF_PSEUDO_MAP_VALUE : BPF_PSEUDO_MAP_FD;
		insns[i].imm = insns[i].imm == KEYS_MARK ? keys_fd : lru_fd;
		insns[i++ + 1].imm = 0;
	}
	return kern_load(BPF_PROG_TYPE_SYSCALL, insns, (uint32_t)n, 0, NULL, 0);
}

/* ---- Ours ---- */

static uint32_t our_misses(struct skep_map *map, struct skep_env *env, const uint32_t *keys)
{
	uint32_t misses = 0;
	uint64_t one = 1;

	skep_enter(env);
	for (int i = 0; i < CHUNK; i++) {
		if (map->ops->lookup(map, &keys[i], env))
			continue;
		misses++;
		assert_int_equal(map->ops->update(map, &keys[i], &one, BPF_ANY, env), 0);
	}
	skep_leave(env);
	return misses;
}

static void compare(struct workload *w, uint32_t entries, uint32_t flags, bool have_kernel)
{
	union bpf_attr attr = {.map_type = BPF_MAP_TYPE_LRU_HASH,
			       .key_size = 4,
			       .value_size = 8,
			       .max_entries = entries,
			       .map_flags = flags};
	unsigned long chunks = scaled(40), warm = chunks / 4;
	static uint32_t keys[CHUNK];
	int keys_fd = -1, lru_fd = -1, prog = -1;
	uint64_t theirs = 0, ours = 0, total = (chunks - warm) * CHUNK;
	struct skep_map *map;
	struct skep_env *env;

	if (have_kernel) {
		keys_fd = (int)kern_map(BPF_MAP_TYPE_ARRAY, sizeof(keys), 1, 0);
		lru_fd = (int)kern_map(BPF_MAP_TYPE_LRU_HASH, 8, entries, flags);
		prog = load_prog(keys_fd, lru_fd);
		assert_true(prog >= 0);
	}
	assert_int_equal(skep_map_create(skep, &attr, NULL, NULL, &map), 0);
	assert_int_equal(skep_env_open(&env, skep), 0);
	workload_init(w);
	for (unsigned long c = 0; c < chunks; c++) {
		uint32_t zero = 0, misses = 0;
		union bpf_attr up = {.map_fd = (uint32_t)keys_fd,
				     .key = (uintptr_t)&zero,
				     .value = (uintptr_t)keys};

		for (int i = 0; i < CHUNK; i++)
			keys[i] = next_key(w);
		if (have_kernel) {
			assert_int_equal(kern_bpf(BPF_MAP_UPDATE_ELEM, &up), 0);
			assert_int_equal(kern_run_ctx(prog, NULL, 0, &misses), 0);
			theirs += c < warm ? 0 : misses;
		}
		misses = our_misses(map, env, keys);
		ours += c < warm ? 0 : misses;
	}
	print_message("%-22s %6u of %6u entries%s: hit ratio skep %.4f", w->name, entries, w->keys,
		      flags ? ", per CPU" : "", 1 - (double)ours / (double)total);
	if (have_kernel)
		print_message(", kernel %.4f", 1 - (double)theirs / (double)total);
	print_message("\n");
	if (have_kernel)
		assert_true((double)ours <= (double)theirs + 0.02 * (double)total);
	skep_env_close(env);
	skep_object_put(&map->obj);
	free(w->cdf);
	close(keys_fd);
	close(lru_fd);
	close(prog);
}

static void test_hit_ratio(void **state)
{
	bool have_kernel = kern_available();
	cpu_set_t one;

	/* The kernel's lists are per CPU; stay on one. */
	CPU_ZERO(&one);
	CPU_SET(0, &one);
	sched_setaffinity(0, sizeof(one), &one);
	for (int i = 0; i < 6; i++) {
		static const struct {
			struct workload w;
			uint32_t entries, flags;
		} cases[] = {
			{{.name = "Zipf 1.0", .keys = 10000, .skew = 1.0}, 1000, 0},
			{{.name = "Zipf 0.8", .keys = 100000, .skew = 0.8}, 10000, 0},
			{{.name = "Zipf 1.2", .keys = 100000, .skew = 1.2}, 1000, 0},
			{{.name = "Zipf 1.0, with scans", .keys = 10000, .skew = 1.0, .scan = 2000},
			 1000,
			 0},
			{{.name = "even", .keys = 2000}, 1000, 0},
			{{.name = "Zipf 1.0", .keys = 10000, .skew = 1.0},
			 2000,
			 BPF_F_NO_COMMON_LRU},
		};
		struct workload w = cases[i].w;

		compare(&w, cases[i].entries, cases[i].flags, have_kernel);
	}
	if (have_kernel)
		print_message("ran: map_lru_ratios 6\n");
}

static int setup(void **state)
{
	struct skep_opts opts = {.sz = sizeof(opts), .cpus = skep_possible_cpus()};

	return skep_open(&skep, &opts);
}

static int teardown(void **state)
{
	skep_close(skep);
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(test_hit_ratio)};

	return cmocka_run_group_tests(tests, setup, teardown);
}
