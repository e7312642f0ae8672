/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What map operations cost: ours, called as helpers call them, and the kernel's, by a
 * SCHED_CLS program under BPF_PROG_TEST_RUN. Both do the same loop over random keys of a
 * full map; the loop without the operation is measured too and subtracted. The two take
 * turns; medians.
 *
 *	bench_map [-r ROUNDS]
 */
#include <errno.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "../test/asm.h"
#include "../test/kern.h"
#include "map/map.h"
#include "os/os.h"
#include "skep.h"

#define OPS_PER_RUN 1024 /* in one run of the program */
#define MAX_ROUNDS  51
#define SLICE_OPS   (OPS_PER_RUN * 48)

enum op { NONE, LOOKUP, MISS, UPDATE, REINSERT, EVICT };

static const struct {
	const char *name;
} ops[] = {
	[NONE] = {"loop alone"},          [LOOKUP] = {"lookup"},
	[MISS] = {"lookup, not there"},   [UPDATE] = {"update"},
	[REINSERT] = {"delete + insert"}, [EVICT] = {"insert, evicting"},
};

struct bench {
	uint32_t type;
	const char *name;
	uint32_t entries;
	enum op op;
};

static struct skep *skep;
static bool have_kernel;

/* This thread's time on a CPU: what others take from it does not count. */
static double now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &ts);
	return (double)ts.tv_sec * 1e9 + (double)ts.tv_nsec;
}

static void die(const char *what, long err)
{
	fprintf(stderr, "bench_map: %s: %s\n", what, strerror((int)-err));
	exit(1);
}

/* ---- Maps, full ---- */

static uint32_t value_bytes(uint32_t type, uint32_t cpus)
{
	return type == BPF_MAP_TYPE_PERCPU_ARRAY || type == BPF_MAP_TYPE_PERCPU_HASH ? 8 * cpus : 8;
}

static int kern_full(const struct bench *b)
{
	union bpf_attr attr = {
		.map_type = b->type, .key_size = 4, .value_size = 8, .max_entries = b->entries};
	uint32_t step = 65536, size = value_bytes(b->type, skep_possible_cpus());
	uint32_t *keys = calloc(step, 4);
	void *values = calloc(step, size);
	int fd = (int)kern_bpf(BPF_MAP_CREATE, &attr);
	long err = fd < 0 ? fd : 0;

	for (uint32_t from = 0; !err && from < b->entries; from += step) {
		union bpf_attr up = {.batch = {.map_fd = (uint32_t)fd,
					       .keys = (uintptr_t)keys,
					       .values = (uintptr_t)values}};

		up.batch.count = b->entries - from < step ? b->entries - from : step;
		for (uint32_t i = 0; i < up.batch.count; i++)
			keys[i] = from + i;
		err = kern_bpf(BPF_MAP_UPDATE_BATCH, &up);
	}
	free(keys);
	free(values);
	if (err)
		die("filling the kernel's map", err);
	return fd;
}

static struct skep_map *our_full(const struct bench *b, struct skep_env *env)
{
	union bpf_attr attr = {
		.map_type = b->type, .key_size = 4, .value_size = 8, .max_entries = b->entries};
	void *value = calloc(1, value_bytes(b->type, skep->cpus));
	struct skep_map *map;
	long err = skep_map_create(skep, &attr, NULL, NULL, &map);

	for (uint32_t key = 0; !err && key < b->entries; key++)
		err = map->ops->sys_update(map, &key, value, 0, env);
	free(value);
	if (err)
		die("filling a map", err);
	return map;
}

/* ---- The kernel's loop ---- */

#define MAP_MARK 0x11111111

static const char *const bodies[] = {
	[NONE] = "",
	[LOOKUP] = "r1 = 0x11111111 ll\nr2 = r10\nr2 += -4\ncall #1\n"
		   "if r0 == 0x0 goto none\nr1 = *(u64 *)(r0 +0)\nnone:\n",
	[MISS] = "r1 = 0x11111111 ll\nr2 = r10\nr2 += -4\ncall #1\n"
		 "if r0 == 0x0 goto none\nr1 = *(u64 *)(r0 +0)\nnone:\n",
	[UPDATE] = "r1 = 0x11111111 ll\nr2 = r10\nr2 += -4\nr3 = r10\nr3 += -16\nr4 = 0\ncall #2\n",
	[REINSERT] =
		"r1 = 0x11111111 ll\nr2 = r10\nr2 += -4\ncall #3\n"
		"r1 = 0x11111111 ll\nr2 = r10\nr2 += -4\nr3 = r10\nr3 += -16\nr4 = 0\ncall #2\n",
	[EVICT] = "r1 = 0x11111111 ll\nr2 = r10\nr2 += -4\nr3 = r10\nr3 += -16\nr4 = 0\ncall #2\n",
};

/* Keys below mask + 1, all there; or high bits set, none there. */
static int kern_prog(int map_fd, enum op op, uint32_t entries)
{
	struct bpf_insn insns[96];
	char text[2048];
	int n;

	snprintf(text, sizeof(text),
		 "call #7\n"
		 "r7 = r0\n"
		 "r6 = 0\n"
		 "r1 = 0\n"
		 "*(u64 *)(r10 -16) = r1\n"
		 "loop:\n"
		 "r7 *= 1664525\n"
		 "r7 += 1013904223\n"
		 "r1 = r7\n"
		 "r1 >>= 8\n"
		 "%s"
		 "*(u32 *)(r10 -4) = r1\n"
		 "%s"
		 "r6 += 1\n"
		 "if r6 < 1024 goto loop\n"
		 "r0 = 0\n"
		 "exit\n",
		 op == MISS ? "r1 |= 2097152\n" : "", bodies[op]);
	if (op != EVICT && op != MISS) {
		char *at = strstr(text, "r1 >>= 8\n") + strlen("r1 >>= 8\n");
		char and[64], rest[2048];

		snprintf(and, sizeof(and), "r1 &= %u\n", entries - 1);
		snprintf(rest, sizeof(rest), "%s", at);
		snprintf(at, sizeof(text) - (size_t)(at - text), "%s%s", and, rest);
	}
	n = asm_text(text, insns, 96);
	if (n < 0)
		exit(1);
	for (int i = 0; i < n; i++) {
		if (insns[i].code != (BPF_LD | BPF_DW | BPF_IMM))
			continue;
		insns[i].src_reg = BPF_PSEUDO_MAP_FD;
		insns[i].imm = map_fd;
		insns[++i].imm = 0;
	}
	n = kern_load(BPF_PROG_TYPE_SCHED_CLS, insns, (uint32_t)n, 0, NULL, 0);
	if (n < 0)
		die("loading the kernel's program", n);
	return n;
}

/* ns per turn of the loop */
static double kern_slice(int prog, uint32_t nops)
{
	uint32_t repeat = nops / OPS_PER_RUN, ret, ns;
	uint8_t packet[64] = {0};
	double from = now_ns();
	int err = kern_run_packet(prog, packet, sizeof(packet), NULL, NULL, repeat, &ret, &ns);

	if (err)
		die("running the kernel's program", err);
	return (now_ns() - from) / (double)(repeat * OPS_PER_RUN);
}

/* ---- Our loop ---- */

static double our_slice(struct skep_map *map, struct skep_env *env, enum op op, uint32_t entries,
			uint32_t nops)
{
	uint32_t mask = op == EVICT || op == MISS ? 0xffffffffu : entries - 1;
	uint32_t high = op == MISS ? 2097152 : 0;
	const struct skep_map_ops *o = map->ops;
	static uint64_t seed = 12345;
	uint64_t value = 0;
	double from;

	skep_enter(env);
	from = now_ns();
	for (uint32_t i = 0; i < nops; i++) {
		uint32_t key;
		uint64_t *p;

		seed = seed * 1664525 + 1013904223;
		key = ((uint32_t)(seed >> 8) & mask) | high;
		__asm__ volatile("" : : "r"(&key) : "memory");
		switch (op) {
		case NONE:
			break;
		case LOOKUP:
		case MISS:
			p = o->lookup(map, &key, env);
			if (p)
				__asm__ volatile("" : : "r"(*p));
			break;
		case REINSERT:
			o->delete (map, &key, env);
			/* fall through */
		case UPDATE:
		case EVICT:
			o->update(map, &key, &value, BPF_ANY, env);
			break;
		}
	}
	from = now_ns() - from;
	skep_leave(env);
	return from / nops;
}

/* ---- Tables ---- */

static int by_value(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return x < y ? -1 : x > y;
}

static double median(double *v, int n)
{
	qsort(v, (size_t)n, sizeof(*v), by_value);
	return v[n / 2];
}

static void run_map(uint32_t type, const char *name, uint32_t entries, uint32_t which, int rounds)
{
	struct bench b = {.type = type, .name = name, .entries = entries};
	int fd = have_kernel ? kern_full(&b) : -1;
	struct skep_env *env;
	struct skep_map *map;

	if (skep_env_open(&env, skep))
		die("opening an environment", -ENOMEM);
	map = our_full(&b, env);
	for (enum op op = LOOKUP; op <= EVICT; op++) {
		double k[MAX_ROUNDS], k0[MAX_ROUNDS], s[MAX_ROUNDS], s0[MAX_ROUNDS], ours, theirs;
		int prog = -1, empty = -1;

		if (!(which & 1u << op))
			continue;
		if (have_kernel) {
			prog = kern_prog(fd, op, entries);
			empty = kern_prog(fd, NONE, entries);
		}
		for (int r = 0; r < rounds; r++) {
			s[r] = our_slice(map, env, op, entries, SLICE_OPS);
			s0[r] = our_slice(map, env, NONE, entries, SLICE_OPS);
			if (!have_kernel)
				continue;
			k[r] = kern_slice(prog, SLICE_OPS);
			k0[r] = kern_slice(empty, SLICE_OPS);
		}
		ours = median(s, rounds) - median(s0, rounds);
		printf("%-14s %8u  %-18s %8.1f", name, entries, ops[op].name, ours);
		if (have_kernel) {
			theirs = median(k, rounds) - median(k0, rounds);
			printf(" %8.1f %8.2f", theirs, theirs > 0 ? ours / theirs : 0);
			close(prog);
			close(empty);
		}
		printf("\n");
		fflush(stdout);
	}
	skep_env_close(env);
	skep_object_put(&map->obj);
	if (fd >= 0)
		close(fd);
}

int main(int argc, char **argv)
{
	static const struct {
		uint32_t type;
		const char *name;
		uint32_t ops;
	} maps[] = {
		{BPF_MAP_TYPE_ARRAY, "array", 1 << LOOKUP | 1 << UPDATE},
		{BPF_MAP_TYPE_PERCPU_ARRAY, "percpu_array", 1 << LOOKUP | 1 << UPDATE},
		{BPF_MAP_TYPE_HASH, "hash", 1 << LOOKUP | 1 << MISS | 1 << UPDATE | 1 << REINSERT},
		{BPF_MAP_TYPE_PERCPU_HASH, "percpu_hash",
		 1 << LOOKUP | 1 << MISS | 1 << UPDATE | 1 << REINSERT},
		{BPF_MAP_TYPE_LRU_HASH, "lru_hash",
		 1 << LOOKUP | 1 << MISS | 1 << UPDATE | 1 << REINSERT | 1 << EVICT},
	};
	struct skep_opts opts = {.sz = sizeof(opts), .cpus = skep_possible_cpus()};
	int rounds = 15, opt;
	cpu_set_t one;

	while ((opt = getopt(argc, argv, "r:")) != -1) {
		if (opt != 'r' || (rounds = atoi(optarg)) < 1 || rounds > MAX_ROUNDS) {
			fprintf(stderr, "usage: bench_map [-r ROUNDS]\n");
			return 2;
		}
	}
	CPU_ZERO(&one);
	CPU_SET(sched_getcpu(), &one);
	sched_setaffinity(0, sizeof(one), &one);
	if (skep_open(&skep, &opts))
		die("opening an instance", -ENOMEM);
	have_kernel = kern_available();
	printf("ns per operation, 4-byte keys, 8-byte values, random keys; median of %d\n", rounds);
	printf("%-14s %8s  %-18s %8s%s\n", "map", "entries", "operation", "skep",
	       have_kernel ? "   kernel    ratio" : "  (no bpf(2) here)");
	for (uint32_t size = 1024; size <= 1 << 20; size <<= 10)
		for (size_t i = 0; i < sizeof(maps) / sizeof(maps[0]); i++)
			run_map(maps[i].type, maps[i].name, size, maps[i].ops, rounds);
	skep_close(skep);
	return 0;
}
