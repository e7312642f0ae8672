// SPDX-License-Identifier: Apache-2.0
/*
 * Verified programs in three places: compiled, interpreted with every access
 * checked, and in the running kernel. Verdict, result, packet and maps must be the
 * same, and checked mode must have nothing to complain about.
 */
#include <errno.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "asm.h"
#include "kern.h"
#include "rndprog.h"
#include "skep.h"

#define MAX_INSNS 2048
#define CTX       80
#define PACKET    256

enum place { COMPILED, CHECKED, KERNEL, PLACES };
static const char *const place_name[] = {"compiled", "checked", "kernel"};

static struct skep *instance[2];
static bool with_kernel;
static char complaint[512];

static struct {
	unsigned programs, refused, runs;
} counts;

static void on_printk(void *arg, const char *text, size_t len)
{
	snprintf(complaint, sizeof(complaint), "%.*s", (int)len, text);
}

static long bpf_at(enum place p, int cmd, union bpf_attr *attr)
{
	return p == KERNEL ? kern_bpf(cmd, attr) : skep_bpf(instance[p], cmd, attr, sizeof(*attr));
}

static bool is_there(enum place p)
{
	return p != KERNEL || with_kernel;
}

/* ---- Maps ---- */

enum { ARRAY, HASH, PERCPU, LRU, NMAPS };
static const struct {
	uint32_t type, value_size, entries;
} map_kinds[NMAPS] = {
	[ARRAY] = {BPF_MAP_TYPE_ARRAY, 16, 7},
	[HASH] = {BPF_MAP_TYPE_HASH, 8, 64},
	[PERCPU] = {BPF_MAP_TYPE_PERCPU_ARRAY, 8, 4},
	[LRU] = {BPF_MAP_TYPE_LRU_HASH, 24, 512},
};
static int map_fd[PLACES][NMAPS];

static void create_maps(enum place p)
{
	for (int m = 0; m < NMAPS; m++) {
		union bpf_attr attr = {.map_type = map_kinds[m].type,
				       .key_size = 4,
				       .value_size = map_kinds[m].value_size,
				       .max_entries = map_kinds[m].entries};

		map_fd[p][m] = bpf_at(p, BPF_MAP_CREATE, &attr);
		assert_true(map_fd[p][m] >= 0);
	}
}

/* One value; false: not there. Per-CPU values are added up. */
static bool read_value(enum place p, int m, uint32_t key, uint8_t *out)
{
	static uint8_t buf[8 * 1024];
	union bpf_attr attr = {
		.map_fd = map_fd[p][m], .key = (uintptr_t)&key, .value = (uintptr_t)buf};

	memset(buf, 0, sizeof(buf));
	if (bpf_at(p, BPF_MAP_LOOKUP_ELEM, &attr))
		return false;
	memcpy(out, buf, map_kinds[m].value_size);
	if (m == PERCPU) {
		uint64_t sum = 0, v;

		for (size_t i = 0; i + 8 <= sizeof(buf); i += 8) {
			memcpy(&v, buf + i, 8);
			sum += v;
		}
		memcpy(out, &sum, 8);
	}
	return true;
}

static void compare_maps(enum place p, const char *what)
{
	for (int m = 0; m < NMAPS; m++) {
		/* Keys that programs use are small. */
		for (uint32_t key = 0; key < 80; key++) {
			uint8_t want[64] = {0}, got[64] = {0};
			bool a = read_value(COMPILED, m, key, want), b = read_value(p, m, key, got);

			if (a == b && !memcmp(want, got, sizeof(want)))
				continue;
			fail_msg("%s: map %d, key %u: compiled %s %llx, %s %s %llx", what, m, key,
				 a ? "has" : "has not", *(unsigned long long *)want, place_name[p],
				 b ? "has" : "has not", *(unsigned long long *)got);
		}
	}
}

/* ---- Programs ---- */

/* Loads with the maps of each place; "rN = M" with src_reg 1 names map M. */
static int load_at(enum place p, uint32_t type, const struct bpf_insn *insns, int n, char *log,
		   uint32_t log_size)
{
	static struct bpf_insn copy[MAX_INSNS];
	union bpf_attr attr = {
		.prog_type = type,
		.insns = (uintptr_t)copy,
		.insn_cnt = n,
		.license = (uintptr_t) "GPL",
		.log_level = 1,
		.log_buf = (uintptr_t)log,
		.log_size = log_size,
		.prog_flags = type == BPF_PROG_TYPE_SYSCALL ? BPF_F_SLEEPABLE : 0,
	};

	memcpy(copy, insns, n * sizeof(*copy));
	for (int i = 0; i < n; i++)
		if (copy[i].code == 0x18 && copy[i].src_reg == BPF_PSEUDO_MAP_FD)
			copy[i].imm = map_fd[p][copy[i].imm];
	log[0] = '\0';
	return bpf_at(p, BPF_PROG_LOAD, &attr);
}

/* Loads everywhere. False if nobody takes it; one verdict for all. */
static bool load_all(uint32_t type, const struct bpf_insn *insns, int n, int *fds, const char *what)
{
	static char logs[PLACES][1 << 16];
	bool any = false, all = true;

	for (enum place p = COMPILED; p < PLACES; p++) {
		fds[p] = -1;
		if (!is_there(p))
			continue;
		fds[p] = load_at(p, type, insns, n, logs[p], sizeof(logs[p]));
		any |= fds[p] >= 0;
		all &= fds[p] >= 0;
	}
	counts.programs++;
	if (any && !all) {
		for (enum place p = COMPILED; p < PLACES; p++)
			if (is_there(p))
				print_message("%s: %s: %s\n%.3000s\n", what, place_name[p],
					      fds[p] < 0 ? strerror(-fds[p]) : "accepted",
					      fds[p] < 0 ? logs[p] : "");
		fail_msg("%s: verdicts differ", what);
	}
	counts.refused += !any;
	return any;
}

static void close_all(const int *fds)
{
	for (enum place p = COMPILED; p < PLACES; p++)
		if (fds[p] >= 0)
			close(fds[p]);
}

struct result {
	uint32_t retval, len;
	uint8_t data[PACKET + 64];
};

/* What goes in and out of TEST_RUN. */
enum form { CONTEXT, FRAME, SKB };

static void run_at(enum place p, int fd, enum form form, const uint8_t *in, uint32_t len,
		   struct result *r, const char *what)
{
	static uint8_t frame[64];
	union bpf_attr attr = {.test.prog_fd = fd};
	long err;

	memset(r, 0, sizeof(*r));
	memcpy(r->data, in, len);
	if (form == SKB) {
		attr.test.data_in = (uintptr_t)frame;
		attr.test.data_size_in = sizeof(frame);
		attr.test.ctx_in = (uintptr_t)in;
		attr.test.ctx_size_in = len;
		attr.test.ctx_out = (uintptr_t)r->data;
		attr.test.ctx_size_out = sizeof(r->data);
		attr.test.repeat = 1;
	} else if (form == FRAME) {
		attr.test.data_in = (uintptr_t)in;
		attr.test.data_size_in = len;
		attr.test.data_out = (uintptr_t)r->data;
		attr.test.data_size_out = sizeof(r->data);
		attr.test.repeat = 1;
	} else {
		attr.test.ctx_in = (uintptr_t)r->data;
		attr.test.ctx_size_in = len;
	}
	complaint[0] = '\0';
	err = bpf_at(p, BPF_PROG_TEST_RUN, &attr);
	if (err)
		fail_msg("%s: %s: TEST_RUN: %s", what, place_name[p], strerror(-err));
	if (complaint[0])
		fail_msg("%s: %s: %s", what, place_name[p], complaint);
	r->retval = attr.test.retval;
	r->len = form == FRAME ? attr.test.data_size_out : len;
	counts.runs++;
}

static void run_all(const int *fds, enum form form, const uint8_t *in, uint32_t len,
		    const char *what)
{
	struct result want, got;

	run_at(COMPILED, fds[COMPILED], form, in, len, &want, what);
	for (enum place p = CHECKED; p < PLACES; p++) {
		if (!is_there(p))
			continue;
		run_at(p, fds[p], form, in, len, &got, what);
		if (got.retval != want.retval || got.len != want.len)
			fail_msg("%s: compiled: %d, %u bytes; %s: %d, %u bytes", what, want.retval,
				 want.len, place_name[p], got.retval, got.len);
		for (uint32_t i = 0; i < sizeof(want.data); i++)
			if (got.data[i] != want.data[i])
				fail_msg("%s: byte %u: compiled 0x%02x, %s 0x%02x", what, i,
					 want.data[i], place_name[p], got.data[i]);
	}
}

static double now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec + ts.tv_nsec / 1e9;
}

static double scale(void)
{
	const char *s = getenv("SKEP_TEST_SCALE");

	return s ? atof(s) : 1;
}

static uint64_t first_seed(void)
{
	const char *s = getenv("SKEP_TEST_SEED");

	return s ? strtoull(s, NULL, 0) : 1;
}

static void report(const char *name)
{
	print_message("%s: %u programs (%u refused by all), %u runs%s\n", name, counts.programs,
		      counts.refused, counts.runs,
		      with_kernel ? "" : "; no kernel to compare with");
	memset(&counts, 0, sizeof(counts));
}

/* ---- Random computations, with all that the verifier knows of them ---- */

static void test_computations(void **state)
{
	static struct bpf_insn insns[MAX_INSNS];
	double until = now() + 2.5 * scale();
	int fds[PLACES];
	char what[64];

	for (uint64_t i = first_seed(); now() < until; i++) {
		uint8_t ctx[CTX];
		int n;

		alarm(30); /* what is compiled wrong may not end */
		rnd_seed(i);
		snprintf(what, sizeof(what), "SKEP_TEST_SEED=%llu", (unsigned long long)i);
		n = i % 2 ? rnd_program(insns) : rnd_compiled(insns);
		if (!load_all(BPF_PROG_TYPE_SYSCALL, insns, n, fds, what))
			continue;
		for (int k = 0; k < 3; k++) {
			for (int r = 0; r < CTX / 8; r++) {
				int64_t v = rnd_value();

				memcpy(ctx + 8 * r, &v, 8);
			}
			run_all(fds, CONTEXT, ctx, CTX, what);
		}
		close_all(fds);
	}
	alarm(0);
	report("computations");
}

/* ---- Random packet programs with maps ---- */

static const uint8_t sizes[] = {BPF_B, BPF_H, BPF_W, BPF_DW};

static int mov(struct bpf_insn *out, uint8_t dst, int src, int32_t imm)
{
	*out = INSN(BPF_ALU64 | BPF_MOV | (src >= 0 ? BPF_X : BPF_K), dst, src >= 0 ? src : 0, 0,
		    src >= 0 ? 0 : imm);
	return 1;
}

static int add(struct bpf_insn *out, uint8_t dst, int src, int32_t imm)
{
	*out = INSN(BPF_ALU64 | BPF_ADD | (src >= 0 ? BPF_X : BPF_K), dst, src >= 0 ? src : 0, 0,
		    src >= 0 ? 0 : imm);
	return 1;
}

static int map_arg(struct bpf_insn *out, int m)
{
	out[0] = INSN(BPF_LD | BPF_IMM | BPF_DW, 1, BPF_PSEUDO_MAP_FD, 0, m);
	out[1] = INSN(0, 0, 0, 0, 0);
	return 2;
}

static int call(struct bpf_insn *out, int id)
{
	*out = INSN(BPF_JMP | BPF_CALL, 0, 0, 0, id);
	return 1;
}

/* A key on the stack: constant, or some bits of a byte of the packet. */
static int key_on_stack(struct bpf_insn *out, int mask)
{
	int n = 0;

	if (rnd(2)) {
		out[n++] = INSN(BPF_ST | BPF_MEM | BPF_W, 10, 0, -4, (int)rnd(mask + 1));
		return n;
	}
	out[n++] = INSN(BPF_LDX | BPF_MEM | BPF_B, 1, 7, (int)rnd(60), 0);
	out[n++] = INSN(BPF_ALU64 | BPF_AND | BPF_K, 1, 0, 0, mask);
	out[n++] = INSN(BPF_STX | BPF_MEM | BPF_W, 10, 1, -4, 0);
	return n;
}

/* lookup; if there: change the value and R9; else perhaps update. */
static int use_map(struct bpf_insn *out)
{
	int m = rnd(NMAPS), n = 0, skip;
	bool array = m == ARRAY || m == PERCPU;

	n += key_on_stack(out + n, array ? 7 : 63);
	n += map_arg(out + n, m);
	n += mov(out + n, 2, 10, 0);
	n += add(out + n, 2, -1, -4);
	n += call(out + n, BPF_FUNC_map_lookup_elem);
	skip = n;
	out[n++] = INSN(BPF_JMP | BPF_JEQ, 0, 0, 0, 0);
	out[n++] = INSN(BPF_LDX | BPF_MEM | BPF_DW, 1, 0, 0, 0);
	if (rnd(2)) {
		n += add(out + n, 1, rnd(2) ? 9 : -1, 1 + (int)rnd(9));
		out[n++] = INSN(BPF_STX | BPF_MEM | BPF_DW, 0, 1, 0, 0);
	} else {
		n += mov(out + n, 2, -1, 3);
		out[n++] = INSN(BPF_STX | BPF_ATOMIC | (rnd(2) ? BPF_DW : BPF_W), 0, 2, 0,
				rnd(2) ? BPF_ADD | BPF_FETCH : BPF_ADD);
	}
	n += add(out + n, 9, 1, 0);
	out[n] = INSN(BPF_JMP | BPF_JA, 0, 0, 0, 0);
	out[skip].off = n - skip;
	skip = n++;
	if (!array) {
		for (int k = 0; k < 3; k++)
			out[n++] = INSN(BPF_STX | BPF_MEM | BPF_DW, 10, 9, -32 + 8 * k, 0);
		n += map_arg(out + n, m);
		n += mov(out + n, 2, 10, 0);
		n += add(out + n, 2, -1, -4);
		n += mov(out + n, 3, 10, 0);
		n += add(out + n, 3, -1, -32);
		n += mov(out + n, 4, -1, (int)rnd(3));
		n += call(out + n, rnd(4) ? BPF_FUNC_map_update_elem : BPF_FUNC_map_delete_elem);
		n += add(out + n, 9, 0, 0);
	}
	out[skip].off = n - skip - 1;
	return n;
}

/* Bytes of the packet, at constant and at variable places. */
static int use_packet(struct bpf_insn *out)
{
	uint8_t size = sizes[rnd(4)];
	int off = (int)rnd(56), n = 0, skip;

	switch (rnd(5)) {
	case 0:
		out[n++] = INSN(BPF_LDX | BPF_MEM | size, 1, 7, off, 0);
		n += add(out + n, 9, 1, 0);
		return n;
	case 1:
		out[n++] = INSN(BPF_STX | BPF_MEM | size, 7, 9, off, 0);
		return n;
	case 2:
		out[n++] = INSN(BPF_ST | BPF_MEM | size, 7, 0, off, (int32_t)rnd_value());
		return n;
	case 3:
		out[n++] = INSN(BPF_LDX | BPF_MEM | BPF_W, 1, 7, off, 0);
		out[n++] = rnd(2) ? INSN(BPF_ALU | BPF_END | BPF_TO_BE, 1, 0, 0, 16 << rnd(3))
				  : INSN(BPF_ALU | BPF_XOR | BPF_X, 1, 9, 0, 0);
		out[n++] = INSN(BPF_STX | BPF_MEM | BPF_W, 7, 1, off, 0);
		return n;
	default:
		/* p = data + (byte & 63); if (p + 8 <= end) ... */
		out[n++] = INSN(BPF_LDX | BPF_MEM | BPF_B, 1, 7, off, 0);
		out[n++] = INSN(BPF_ALU64 | BPF_AND | BPF_K, 1, 0, 0, 0x7f);
		n += mov(out + n, 2, 7, 0);
		n += add(out + n, 2, 1, 0);
		n += mov(out + n, 3, 2, 0);
		n += add(out + n, 3, -1, 8);
		skip = n;
		out[n++] = INSN(BPF_JMP | BPF_JGT | BPF_X, 3, 8, 0, 0);
		out[n++] = INSN(BPF_LDX | BPF_MEM | size, 4, 2, 0, 0);
		n += add(out + n, 9, 4, 0);
		if (rnd(2))
			out[n++] = INSN(BPF_STX | BPF_MEM | size, 2, 9, 0, 0);
		out[skip].off = n - skip - 1;
		return n;
	}
}

static int use_registers(struct bpf_insn *out)
{
	do {
		*out = rnd_alu();
	} while (out->dst_reg != 9 || (BPF_SRC(out->code) == BPF_X &&
				       BPF_OP(out->code) != BPF_END && out->src_reg != 9));
	return 1;
}

/* R6 context, R7 packet, R8 its end, R9 what is computed; the verdict is of R9. */
static int rnd_packet_program(struct bpf_insn *out)
{
	int n = 0, exit_at, parts = 1 + rnd(8);

	n += mov(out + n, 6, 1, 0);
	out[n++] = INSN(BPF_LDX | BPF_MEM | BPF_W, 7, 1, offsetof(struct xdp_md, data), 0);
	out[n++] = INSN(BPF_LDX | BPF_MEM | BPF_W, 8, 1, offsetof(struct xdp_md, data_end), 0);
	n += mov(out + n, 2, 7, 0);
	n += add(out + n, 2, -1, 64);
	exit_at = n;
	out[n++] = INSN(BPF_JMP | BPF_JGT | BPF_X, 2, 8, 0, 0);
	n += mov(out + n, 9, -1, 1);
	for (int i = 0; i < parts; i++) {
		switch (rnd(5)) {
		case 0:
		case 1:
			n += use_map(out + n);
			break;
		case 2:
		case 3:
			n += use_packet(out + n);
			break;
		default:
			n += use_registers(out + n);
		}
	}
	out[n++] = INSN(BPF_STX | BPF_MEM | BPF_DW, 7, 9, 48, 0);
	n += mov(out + n, 0, 9, 0);
	out[n++] = INSN(BPF_ALU64 | BPF_AND | BPF_K, 0, 0, 0, 1);
	n += add(out + n, 0, -1, 1);
	out[n++] = INSN(BPF_JMP | BPF_EXIT, 0, 0, 0, 0);
	out[exit_at].off = n - exit_at - 1;
	n += mov(out + n, 0, -1, 1);
	out[n++] = INSN(BPF_JMP | BPF_EXIT, 0, 0, 0, 0);
	return n;
}

static void test_packets(void **state)
{
	static struct bpf_insn insns[MAX_INSNS];
	double until = now() + 2.5 * scale();
	int fds[PLACES];
	char what[64];

	for (uint64_t i = first_seed(); now() < until; i++) {
		uint8_t packet[PACKET];
		int n;

		rnd_seed(i ^ 0x5555);
		snprintf(what, sizeof(what), "packet program SKEP_TEST_SEED=%llu",
			 (unsigned long long)i);
		n = rnd_packet_program(insns);
		if (!load_all(BPF_PROG_TYPE_XDP, insns, n, fds, what))
			continue;
		for (int k = 0; k < 3; k++) {
			uint32_t len = k ? 64 + rnd(PACKET - 64) : 14 + rnd(60);

			for (uint32_t b = 0; b < PACKET; b++)
				packet[b] = (uint8_t)rnd(256);
			run_all(fds, FRAME, packet, len, what);
		}
		close_all(fds);
		for (enum place p = CHECKED; p < PLACES; p++)
			if (is_there(p) && i % 16 == 0)
				compare_maps(p, what);
	}
	for (enum place p = CHECKED; p < PLACES; p++)
		if (is_there(p))
			compare_maps(p, "at the end");
	report("packets and maps");
}

/* ---- Facts that hold on one path only ---- */

/* The key is a constant on each path and differs between them; so do the maps. */
static void test_paths(void **state)
{
	static const char *const texts[] = {
		"r6 = r1\n r2 = *(u32 *)(r1 +0)\n"
		"*(u32 *)(r10 -4) = 1\n if r2 == 0 goto a\n *(u32 *)(r10 -4) = 2\n"
		"a:\n r2 = r10\n r2 += -4\n r1 = 0 ll\n call #1\n if r0 == 0 goto none\n"
		"r0 = *(u64 *)(r0 +0)\n *(u64 *)(r6 +8) = r0\n r0 = 1\n exit\n"
		"none:\n r0 = 2\n exit\n",
		"r6 = r1\n r2 = *(u32 *)(r1 +0)\n"
		"r1 = 2\n if r2 != 0 goto a\n r1 = 0x100\n"
		"a:\n *(u32 *)(r10 -4) = r1\n r2 = r10\n r2 += -4\n r1 = 0 ll\n call #1\n"
		"if r0 == 0 goto none\n"
		"r0 = *(u64 *)(r0 +0)\n *(u64 *)(r6 +8) = r0\n r0 = 1\n exit\n"
		"none:\n r0 = 2\n exit\n",
		"r6 = r1\n r2 = *(u32 *)(r1 +0)\n *(u32 *)(r10 -4) = 3\n"
		"r1 = 0 ll\n if r2 == 0 goto a\n r1 = 1 ll\n"
		"a:\n r2 = r10\n r2 += -4\n call #1\n if r0 == 0 goto none\n"
		"r0 = *(u64 *)(r0 +0)\n *(u64 *)(r6 +8) = r0\n r0 = 1\n exit\n"
		"none:\n r0 = 2\n exit\n",
	};
	static struct bpf_insn insns[MAX_INSNS];
	int fds[PLACES];

	for (enum place p = COMPILED; p < PLACES; p++) {
		for (uint32_t key = 0; key < map_kinds[ARRAY].entries && is_there(p); key++) {
			uint64_t value[2] = {1000 + key, 0};
			union bpf_attr attr = {.map_fd = map_fd[p][ARRAY],
					       .key = (uintptr_t)&key,
					       .value = (uintptr_t)value};

			assert_int_equal(bpf_at(p, BPF_MAP_UPDATE_ELEM, &attr), 0);
		}
	}
	for (size_t t = 0; t < sizeof(texts) / sizeof(texts[0]); t++) {
		int n = asm_text(texts[t], insns, MAX_INSNS);
		char what[32];

		assert_true(n > 0);
		snprintf(what, sizeof(what), "paths %zu", t);
		for (int i = 0; i < n; i++)
			if (insns[i].code == 0x18)
				insns[i].src_reg = BPF_PSEUDO_MAP_FD;
		assert_true(load_all(BPF_PROG_TYPE_SYSCALL, insns, n, fds, what));
		for (uint8_t k = 0; k < 2; k++) {
			uint8_t ctx[CTX] = {k};

			run_all(fds, CONTEXT, ctx, CTX, what);
		}
		close_all(fds);
	}
	report("paths");
}

/* ---- Tail calls ---- */

/* A chain of programs that each count and call the next; index beyond, empty slots,
 * a loop to itself (33 calls and no more). */
static void test_tail_calls(void **state)
{
	static const char *const targets[] = {
		/* 0: adds 1, calls 1 */
		"r6 = r1\n r2 = *(u32 *)(r6 +8)\n r2 += 1\n *(u32 *)(r6 +8) = r2\n"
		"r1 = r6\n r2 = 0 ll\n r3 = 1\n call #12\n r0 = 10\n exit\n",
		/* 1: adds 100, calls what the context says */
		"r6 = r1\n r2 = *(u32 *)(r6 +8)\n r2 += 100\n *(u32 *)(r6 +8) = r2\n"
		"r1 = r6\n r2 = 0 ll\n r3 = *(u32 *)(r6 +48)\n call #12\n r0 = 11\n exit\n",
		/* 2: adds 10000 and ends */
		"r2 = *(u32 *)(r1 +8)\n r2 += 10000\n *(u32 *)(r1 +8) = r2\n r0 = 12\n exit\n",
		/* 3: to itself for ever */
		"r6 = r1\n r2 = *(u32 *)(r6 +8)\n r2 += 1\n *(u32 *)(r6 +8) = r2\n"
		"r1 = r6\n r2 = 0 ll\n r3 = 3\n call #12\n r0 = 13\n exit\n",
	};
	static const uint32_t nexts[] = {2, 0, 3, 9, 6, 5, 0xffffffff, 1};
	static struct bpf_insn insns[MAX_INSNS];
	int array[PLACES], fds[4][PLACES];
	static char log[1 << 16];

	for (enum place p = COMPILED; p < PLACES; p++) {
		union bpf_attr attr = {.map_type = BPF_MAP_TYPE_PROG_ARRAY,
				       .key_size = 4,
				       .value_size = 4,
				       .max_entries = 8};

		if (!is_there(p))
			continue;
		array[p] = bpf_at(p, BPF_MAP_CREATE, &attr);
		assert_true(array[p] >= 0);
		for (uint32_t t = 0; t < 4; t++) {
			int n = asm_text(targets[t], insns, MAX_INSNS);
			union bpf_attr up = {.map_fd = array[p], .key = (uintptr_t)&t};

			assert_true(n > 0);
			for (int i = 0; i < n; i++)
				if (insns[i].code == 0x18 && !insns[i].imm) {
					insns[i].src_reg = BPF_PSEUDO_MAP_FD;
					insns[i].imm = array[p];
				}
			union bpf_attr load = {
				.prog_type = BPF_PROG_TYPE_SCHED_CLS,
				.insns = (uintptr_t)insns,
				.insn_cnt = n,
				.license = (uintptr_t) "GPL",
				.log_level = 1,
				.log_buf = (uintptr_t)log,
				.log_size = sizeof(log),
			};
			fds[t][p] = bpf_at(p, BPF_PROG_LOAD, &load);
			if (fds[t][p] < 0)
				fail_msg("tail call target %u: %s: %s\n%s", t, place_name[p],
					 strerror(-fds[t][p]), log);
			up.value = (uintptr_t)&fds[t][p];
			assert_int_equal(bpf_at(p, BPF_MAP_UPDATE_ELEM, &up), 0);
		}
	}
	for (size_t k = 0; k < sizeof(nexts) / sizeof(nexts[0]); k++) {
		for (int t = 0; t < 4; t++) {
			struct __sk_buff skb = {.cb[0] = nexts[k]};
			char what[64];

			snprintf(what, sizeof(what), "tail call from %d, next %u", t, nexts[k]);
			run_all(fds[t], SKB, (uint8_t *)&skb, sizeof(skb), what);
		}
	}
	for (enum place p = COMPILED; p < PLACES; p++) {
		if (!is_there(p))
			continue;
		for (int t = 0; t < 4; t++)
			close(fds[t][p]);
		close(array[p]);
	}
	report("tail calls");
}

/* ---- All of it ---- */

static int setup(void **state)
{
	static const struct skep_opts opts = {.sz = sizeof(opts), .printk = on_printk};
	struct skep_opts checked = opts;
	cpu_set_t one;

	checked.flags = SKEP_F_CHECKED;
	/* The kernel's per-CPU values are those of the CPU it happens to run on. */
	CPU_ZERO(&one);
	CPU_SET(sched_getcpu(), &one);
	sched_setaffinity(0, sizeof(one), &one);
	with_kernel = !getenv("SKEP_TEST_NO_KERNEL") && kern_available();
	if (skep_open(&instance[COMPILED], &opts) || skep_open(&instance[CHECKED], &checked))
		return -1;
	for (enum place p = COMPILED; p < PLACES; p++)
		if (is_there(p))
			create_maps(p);
	return 0;
}

static int teardown(void **state)
{
	for (enum place p = COMPILED; p < PLACES; p++)
		for (int m = 0; m < NMAPS && is_there(p); m++)
			close(map_fd[p][m]);
	skep_close(instance[COMPILED]);
	skep_close(instance[CHECKED]);
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_computations),
		cmocka_unit_test(test_packets),
		cmocka_unit_test(test_paths),
		cmocka_unit_test(test_tail_calls),
	};

	cmocka_set_test_filter(getenv("SKEP_TEST_ONLY"));
	return cmocka_run_group_tests(tests, setup, teardown);
}
