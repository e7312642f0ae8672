/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What stands around a program: the cost of a packet through skep_run_packets() with a
 * program that only drops, and the time that loading takes (verifier, compiler) by
 * size, here and in the kernel where bpf(2) is permitted. All take turns; medians.
 *
 *	bench_load [ROUNDS]
 */
#include <errno.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "../test/kern.h"
#include "bpf/uapi.h"
#include "skep.h"

#define MAX_ROUNDS 101
#define PACKETS    (1u << 16)
#define BATCH      64u
#define SLOT       (256u + 1536u)

static int rounds = 11;

static double now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec * 1e9 + (double)t.tv_nsec;
}

static int compare(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return x < y ? -1 : x > y;
}

static double median(double *v, int n)
{
	qsort(v, (size_t)n, sizeof(*v), compare);
	return v[n / 2];
}

static void die(const char *what, long err)
{
	fprintf(stderr, "bench_load: %s: %s\n", what, strerror((int)-err));
	exit(1);
}

static int load(struct skep *skep, const struct bpf_insn *insns, uint32_t n)
{
	union bpf_attr a;
	long fd;

	memset(&a, 0, sizeof(a));
	a.prog_type = BPF_PROG_TYPE_XDP;
	a.insns = (uintptr_t)insns;
	a.insn_cnt = n;
	a.license = (uintptr_t) "GPL";
	fd = skep ? skep_bpf(skep, BPF_PROG_LOAD, &a, sizeof(a)) : kern_bpf(BPF_PROG_LOAD, &a);
	if (fd < 0)
		die("PROG_LOAD", fd);
	return (int)fd;
}

/* ---- Packets ---- */

#define INSN(c, d, s, o, i)                                                                        \
	((struct bpf_insn){.code = (c), .dst_reg = (d), .src_reg = (s), .off = (o), .imm = (i)})

static const char *const kinds[] = {"drop", "parse"};

static uint32_t packet_program(int kind, struct bpf_insn *p)
{
	uint32_t n = 0;

	if (kind == 1) { /* drop IPv4, pass the rest: two bounds checks and two loads */
		p[n++] = INSN(BPF_LDX | BPF_MEM | BPF_W, 2, 1, 0, 0);
		p[n++] = INSN(BPF_LDX | BPF_MEM | BPF_W, 3, 1, 4, 0);
		p[n++] = INSN(BPF_ALU64 | BPF_MOV | BPF_K, 0, 0, 0, XDP_PASS);
		p[n++] = INSN(BPF_ALU64 | BPF_MOV | BPF_X, 4, 2, 0, 0);
		p[n++] = INSN(BPF_ALU64 | BPF_ADD | BPF_K, 4, 0, 0, 34);
		p[n++] = INSN(BPF_JMP | BPF_JGT | BPF_X, 4, 3, 4, 0);
		p[n++] = INSN(BPF_LDX | BPF_MEM | BPF_H, 5, 2, 12, 0);
		p[n++] = INSN(BPF_JMP | BPF_JNE | BPF_K, 5, 0, 2, 8);
		p[n++] = INSN(BPF_LDX | BPF_MEM | BPF_B, 5, 2, 23, 0);
		p[n++] = INSN(BPF_ALU64 | BPF_MOV | BPF_K, 0, 0, 0, XDP_DROP);
		p[n++] = INSN(BPF_JMP | BPF_EXIT, 0, 0, 0, 0);
		return n;
	}
	p[n++] = INSN(BPF_ALU64 | BPF_MOV | BPF_K, 0, 0, 0, XDP_DROP);
	p[n++] = INSN(BPF_JMP | BPF_EXIT, 0, 0, 0, 0);
	return n;
}

static void bench_packets(struct skep *skep)
{
	static uint8_t slots[BATCH * SLOT];
	struct skep_packet packets[BATCH];

	printf("%-24s %12s\n", "packet", "ns");
	for (int kind = 0; kind < 2; kind++) {
		struct bpf_insn insns[32];
		int fd = load(skep, insns, packet_program(kind, insns));
		struct skep_runner *runner;
		double ns[MAX_ROUNDS];
		long err = skep_runner_open(&runner, skep, fd);

		if (err)
			die("runner", err);
		for (int r = 0; r < rounds; r++) {
			double spent = 0;

			for (uint32_t done = 0; done < PACKETS; done += BATCH) {
				double start;

				for (uint32_t i = 0; i < BATCH; i++) {
					uint8_t *slot = slots + i * SLOT;

					slot[256 + 12] = 8;
					packets[i] = (struct skep_packet){.buf = slot,
									  .cap = SLOT,
									  .off = 256,
									  .len = 64,
									  .ifindex = 1};
				}
				start = now_ns();
				skep_run_packets(runner, packets, BATCH);
				spent += now_ns() - start;
			}
			ns[r] = spent / PACKETS;
			if (packets[0].verdict != XDP_DROP)
				die("wrong verdict", -EINVAL);
		}
		printf("%-24s %12.1f\n", kinds[kind], median(ns, rounds));
		skep_runner_close(runner);
		close(fd);
	}
}

/* ---- Loading ---- */

/* Arithmetic on what is not known, a store and a branch around one instruction in every eight. */
static void load_program(struct bpf_insn *p, uint32_t n)
{
	p[0] = INSN(BPF_LDX | BPF_MEM | BPF_W, 3, 1, 12, 0);
	p[1] = INSN(BPF_ALU64 | BPF_MOV | BPF_X, 0, 3, 0, 0);
	p[2] = INSN(BPF_ALU64 | BPF_MUL | BPF_X, 0, 3, 0, 0);
	for (uint32_t i = 3; i < n - 2; i++) {
		if (i % 8 == 0)
			p[i] = INSN(BPF_JMP | BPF_JGT | BPF_X, 0, 3, 1, 0);
		else if (i % 8 == 1)
			p[i] = INSN(BPF_ALU64 | BPF_XOR | BPF_X, 0, 3, 0, 0);
		else if (i % 8 == 4)
			p[i] = INSN(BPF_STX | BPF_MEM | BPF_DW, 10, 0, -8, 0);
		else
			p[i] = INSN(BPF_ALU64 | (i % 3 ? BPF_ADD : BPF_XOR) | BPF_X, 0, 3, 0, 0);
	}
	p[n - 2] = INSN(BPF_ALU64 | BPF_MOV | BPF_K, 0, 0, 0, XDP_DROP);
	p[n - 1] = INSN(BPF_JMP | BPF_EXIT, 0, 0, 0, 0);
}

static void bench_loads(struct skep *skep, struct skep *interp)
{
	static const uint32_t sizes[] = {16, 128, 1024, 8192, 65536};
	static struct bpf_insn insns[65536];
	bool kernel = kern_available();

	printf("\n%-24s %12s %12s %12s %8s\n", "load, instructions", "skep us", "verify us",
	       "kernel us", "ratio");
	for (size_t s = 0; s < sizeof(sizes) / sizeof(sizes[0]); s++) {
		double us[3][MAX_ROUNDS];
		struct skep *who[3] = {skep, interp, NULL};

		load_program(insns, sizes[s]);
		for (int r = 0; r < rounds; r++) {
			for (int w = 0; w < 2 + kernel; w++) {
				double start = now_ns();
				int fd = load(who[w], insns, sizes[s]);

				us[w][r] = (now_ns() - start) / 1000;
				close(fd);
			}
		}
		printf("%-24u %12.1f %12.1f", sizes[s], median(us[0], rounds),
		       median(us[1], rounds));
		if (kernel)
			printf(" %12.1f %8.2f", median(us[2], rounds),
			       median(us[0], rounds) / median(us[2], rounds));
		printf("\n");
	}
	printf("verify: without the compiler (SKEP_F_INTERPRET)\n");
}

int main(int argc, char **argv)
{
	struct skep_opts opts = {.sz = sizeof(opts)};
	struct skep *skep, *interp = NULL;
	int err;

	if (argc > 1)
		rounds = atoi(argv[1]);
	if (rounds < 1 || rounds > MAX_ROUNDS) {
		fprintf(stderr, "usage: bench_load [ROUNDS]\n");
		return 2;
	}
	err = skep_open(&skep, &opts);
	opts.flags = SKEP_F_INTERPRET;
	if (!err)
		err = skep_open(&interp, &opts);
	if (err)
		die("instance", err);
	bench_packets(skep);
	bench_loads(skep, interp);
	skep_close(interp);
	skep_close(skep);
	return 0;
}
