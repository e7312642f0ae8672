/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a packet costs beyond the program: skep_run_packets() in batches over
 * packets in memory, against calling the compiled program alone.
 *   bench_packets [MILLIONS]
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bpf/instance.h"
#include "os/os.h"
#include "prog/run.h"
#include "prog/type.h"

#define BATCH 256
#define CAP   2048
#define FRAME 64

static struct skep_packet packets[BATCH];
static uint8_t *memory;

static int load(struct skep *skep, uint32_t type, int32_t verdict)
{
	const struct bpf_insn insns[] = {
		{.code = BPF_ALU64 | BPF_MOV | BPF_K, .imm = verdict},
		{.code = BPF_JMP | BPF_EXIT},
	};
	union bpf_attr attr = {.prog_type = type,
			       .insns = (uintptr_t)insns,
			       .insn_cnt = 2,
			       .license = (uintptr_t) "GPL"};

	return (int)skep_bpf(skep, BPF_PROG_LOAD, &attr, sizeof(attr));
}

static void reset(void)
{
	for (uint32_t i = 0; i < BATCH; i++)
		packets[i] = (struct skep_packet){
			.buf = memory + (size_t)i * CAP, .cap = CAP, .off = 256, .len = FRAME};
}

static double per_packet(struct skep_runner *runner, uint64_t n)
{
	uint64_t start, done;

	reset();
	start = skep_clock_mono();
	for (done = 0; done < n; done += BATCH)
		skep_run_packets(runner, packets, BATCH);
	return (double)(skep_clock_mono() - start) / (double)done;
}

/* The program alone, called as often. */
static double per_call(struct skep *skep, int fd, uint64_t n)
{
	struct skep_object *obj;
	struct skep_session s;
	struct skep_xdp xdp = {.data = memory, .data_end = memory + FRAME};
	uint64_t start, sum = 0;
	double ns;

	if (skep_object_get(skep, fd, SKEP_KIND_PROG, &obj) ||
	    skep_session_open(&s, (struct skep_prog *)obj))
		exit(1);
	skep_enter(s.env);
	s.env->prog = s.prog;
	start = skep_clock_mono();
	for (uint64_t i = 0; i < n; i++)
		sum += s.prog->run(&xdp, s.env);
	ns = (double)(skep_clock_mono() - start) / (double)n;
	skep_leave(s.env);
	skep_session_close(&s);
	skep_object_put(obj);
	return sum == 12345 ? 0 : ns;
}

static int by_value(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

#define ROUNDS 9

int main(int argc, char **argv)
{
	static const struct {
		uint32_t type;
		int32_t verdict;
		const char *name;
	} kinds[] = {{BPF_PROG_TYPE_XDP, XDP_DROP, "xdp"},
		     {BPF_PROG_TYPE_SCHED_CLS, 2, "sched_cls"},
		     {BPF_PROG_TYPE_SOCKET_FILTER, 0, "socket_filter"}};
	uint64_t n = (argc > 1 ? strtoull(argv[1], NULL, 0) : 2) * 1000000;
	double packet[ROUNDS], call[ROUNDS];
	struct skep *skep;

	memory = calloc(BATCH, CAP);
	if (!memory || skep_open(&skep, NULL))
		return 1;
	printf("%-14s %12s %12s %12s\n", "type", "ns/packet", "ns/call", "beyond");
	for (size_t k = 0; k < sizeof(kinds) / sizeof(kinds[0]); k++) {
		struct skep_runner *runner;
		int fd = load(skep, kinds[k].type, kinds[k].verdict);

		if (fd < 0 || skep_runner_open(&runner, skep, fd))
			return 1;
		for (int i = 0; i < ROUNDS; i++) {
			packet[i] = per_packet(runner, n);
			call[i] = per_call(skep, fd, n);
		}
		qsort(packet, ROUNDS, sizeof(double), by_value);
		qsort(call, ROUNDS, sizeof(double), by_value);
		printf("%-14s %12.2f %12.2f %12.2f\n", kinds[k].name, packet[ROUNDS / 2],
		       call[ROUNDS / 2], packet[ROUNDS / 2] - call[ROUNDS / 2]);
		skep_runner_close(runner);
	}
	skep_close(skep);
	free(memory);
	return 0;
}
