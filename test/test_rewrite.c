/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What rewriting makes of programs, seen by running them on both sides: context
 * accesses of every size, packet loads, code that is dead, jumps that become long.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>

#include "bpf/instance.h"
#include "kernel.h"
#include "prog/type.h"
#include "twin.h"

#define MAX_CODE 60000

static struct bpf_insn code[MAX_CODE];
static uint32_t len;
static uint8_t packet[256];

static void add(uint8_t op, uint8_t dst, uint8_t src, int16_t off, int32_t imm)
{
	assert_true(len < MAX_CODE);
	code[len++] = (struct bpf_insn){
		.code = op, .dst_reg = dst, .src_reg = src, .off = off, .imm = imm};
}

static void begin(void)
{
	len = 0;
	add(BPF_ALU64 | BPF_MOV | BPF_X, 6, 1, 0, 0);
	add(BPF_ALU64 | BPF_MOV | BPF_K, 7, 0, 0, 0);
}

static void mix(uint8_t reg)
{
	add(BPF_ALU64 | BPF_MUL | BPF_K, 7, 0, 0, 31);
	add(BPF_ALU64 | BPF_ADD | BPF_X, 7, reg, 0, 0);
}

static void end(uint32_t type)
{
	add(BPF_ALU64 | BPF_MOV | BPF_X, 0, 7, 0, 0);
	if (type == BPF_PROG_TYPE_CGROUP_SKB)
		add(BPF_ALU64 | BPF_AND | BPF_K, 0, 0, 0, 1);
	add(BPF_JMP | BPF_EXIT, 0, 0, 0, 0);
}

static const uint8_t size_bits[] = {[1] = BPF_B, [2] = BPF_H, [4] = BPF_W, [8] = BPF_DW};

/* ---- Context fields ---- */

static bool scalar_access(const struct skep_prog *prog, uint32_t off, uint32_t size, bool write)
{
	const struct skep_ctx_field *f = skep_ctx_find(prog, off, size, write, true);

	return f && f->kind == SKEP_CTX_SCALAR;
}

/* All fields that may be read, by words. */
static void read_all(const struct skep_prog *prog)
{
	for (uint32_t size = 4; size <= 8; size += 4) {
		for (uint32_t off = 0; off < prog->ops->ctx_size; off += size) {
			if (!scalar_access(prog, off, size, false))
				continue;
			add(BPF_LDX | BPF_MEM | size_bits[size], 0, 6, (int16_t)off, 0);
			mix(0);
		}
	}
}

static void run_ctx(struct skep *skep, uint32_t type, const char *what)
{
	struct xdp_md md = {.data = 4, .data_end = 104, .ingress_ifindex = 1};
	struct __sk_buff skb = {.mark = 0x81828384,
				.priority = 0x91929394,
				.ingress_ifindex = 3,
				.cb = {0xa1a2a3a4, 2, 3, 4, 0x85868788},
				.tstamp = 0xc1c2c3c4c5c6c7c8,
				.wire_len = 0x1234,
				.gso_segs = 0xfedc,
				.gso_size = 0x8bcd,
				.hwtstamp = 0x8182838485868788};
	bool xdp = type == BPF_PROG_TYPE_XDP;
	struct twin_run r = {.data = packet,
			     .size = 104,
			     .out_size = 2000,
			     .ctx = xdp ? (void *)&md : (void *)&skb,
			     .ctx_size = xdp ? sizeof(md) : sizeof(skb),
			     .ctx_out_size = 192};
	struct twin t;

	end(type);
	assert_int_equal(twin_load(&t, skep, type, code, len), 0);
	twin_run(&t, &r, NULL, what);
	twin_unload(&t);
}

static void one_access(struct skep *skep, const struct skep_prog *prog, uint32_t off, uint32_t size,
		       int kind, uint32_t *cases)
{
	static const char *const kinds[] = {"load", "sign-extending load", "store",
					    "store of a constant"};
	static const uint64_t values[] = {0x8899aabbccddeeff, 0xffff, 0xfffe, 0x7fff};
	char what[128];

	if (!scalar_access(prog, off, size, kind >= 2))
		return;
	for (int v = 0; v < (kind < 2 ? 1 : 4); v++) {
		begin();
		snprintf(what, sizeof(what), "%s: %s of %u bytes at %u, value %d", prog->ops->name,
			 kinds[kind], size, off, v);
		add(BPF_LD | BPF_IMM | BPF_DW, 2, 0, 0, (int32_t)values[v]);
		add(0, 0, 0, 0, (int32_t)(values[v] >> 32));
		if (kind == 0) {
			add(BPF_LDX | BPF_MEM | size_bits[size], 0, 6, (int16_t)off, 0);
			mix(0);
		} else if (kind == 1) {
			if (size == 8)
				return;
			add(BPF_LDX | BPF_MEMSX | size_bits[size], 0, 6, (int16_t)off, 0);
			mix(0);
		} else if (kind == 2) {
			add(BPF_STX | BPF_MEM | size_bits[size], 6, 2, (int16_t)off, 0);
		} else {
			add(BPF_ST | BPF_MEM | size_bits[size], 6, 0, (int16_t)off,
			    (int32_t)values[v]);
		}
		if (kind >= 2)
			read_all(prog);
		run_ctx(skep, prog->type, what);
		++*cases;
	}
}

static void test_fields(void **state)
{
	static const uint32_t types[] = {BPF_PROG_TYPE_XDP, BPF_PROG_TYPE_SCHED_CLS,
					 BPF_PROG_TYPE_SOCKET_FILTER, BPF_PROG_TYPE_CGROUP_SKB,
					 BPF_PROG_TYPE_LWT_IN};
	struct skep *skep = twin_open(0);
	uint32_t cases = 0;

	for (size_t i = 0; i < sizeof(packet); i++)
		packet[i] = (uint8_t)(i * 11);
	packet[12] = 0x08;
	packet[13] = 0;
	for (size_t k = 0; k < sizeof(types) / sizeof(types[0]); k++) {
		struct skep_prog prog = {.type = types[k], .ops = &skep_prog_types[types[k]]};

		for (uint32_t off = 0; off < prog.ops->ctx_size; off++) {
			for (uint32_t size = 1; size <= 8; size *= 2) {
				for (int kind = 0; kind < 4; kind++)
					one_access(skep, &prog, off, size, kind, &cases);
			}
		}
	}
	skep_close(skep);
	print_message("ran: rewrite_fields %u\n", cases);
}

/* ---- LD_ABS and LD_IND ---- */

static int32_t load_offset(uint64_t *seed)
{
	static const int32_t odd[] = {0,
				      -1,
				      95,
				      96,
				      97,
				      98,
				      99,
				      100,
				      101,
				      INT32_MAX,
				      INT32_MIN,
				      -0x100000,
				      -0x100000 + 5,
				      -0x100000 + 84,
				      -0x100000 + 90,
				      -0x100000 - 1,
				      -0x200000,
				      -0x200000 + 3,
				      -0x200000 + 96,
				      -0x200000 + 98,
				      -0x200000 - 1,
				      -0x1000};
	uint64_t r = test_random(seed);

	return r % 3 ? (int32_t)(r >> 8) % 90 : odd[(r >> 8) % (sizeof(odd) / sizeof(odd[0]))];
}

static void packet_load(uint64_t *seed)
{
	static const uint8_t sizes[] = {BPF_B, BPF_H, BPF_W};
	uint8_t size = sizes[test_random(seed) % 3];
	int32_t off = load_offset(seed);

	if (test_random(seed) % 2) {
		add(BPF_LD | BPF_ABS | size, 0, 0, 0, off);
	} else {
		uint8_t src = (uint8_t)(1 + test_random(seed) % 5);
		int32_t base = (int32_t)(test_random(seed) % 3) - 1;

		add(BPF_ALU64 | BPF_MOV | BPF_K, src, 0, 0, base * 7);
		if (test_random(seed) % 4 == 0)
			add(BPF_ALU64 | BPF_LSH | BPF_K, src, 0, 0, 33);
		add(BPF_LD | BPF_IND | size, 0, src, 0, off);
	}
	mix(0);
}

static void test_packet_loads(void **state)
{
	static const uint32_t types[] = {BPF_PROG_TYPE_SOCKET_FILTER, BPF_PROG_TYPE_SCHED_CLS,
					 BPF_PROG_TYPE_SCHED_ACT};
	struct skep *skep = twin_open(0);
	uint32_t cases = test_scale(600);
	uint64_t seed = 7;

	for (uint32_t i = 0; i < cases; i++) {
		uint32_t type = types[i % 3], n = (uint32_t)(test_random(&seed) % 4) + 1;
		struct twin_run r = {.data = packet, .size = 100, .out_size = 2000};
		char what[64];
		struct twin t;

		begin();
		for (uint32_t k = 0; k < n; k++)
			packet_load(&seed);
		end(type);
		snprintf(what, sizeof(what), "packet loads, program %u", i);
		assert_int_equal(twin_load(&t, skep, type, code, len), 0);
		twin_run(&t, &r, NULL, what);
		twin_unload(&t);
	}
	skep_close(skep);
	print_message("ran: rewrite_packet_loads %u\n", cases);
}

/* ---- Dead code, long jumps ---- */

/* What the program below computes. */
static uint32_t expected(int32_t count, int known)
{
	uint64_t r8 = known < 2 ? (uint64_t)known : packet[known == 2 ? 0 : 3], r7 = 0;

	do {
		if (r8 && count)
			r7 = r7 * 31 + packet[(count - 1) % 90];
		r7++;
		r8 += 1000;
	} while (r8 < 2000);
	return (uint32_t)r7;
}

/* Linux has no long jumps for programs that outgrow 16 bits; skep then runs alone. */
static void run_jumps(struct skep *skep, int32_t count, int known, const char *what)
{
	union bpf_attr load = {.prog_type = BPF_PROG_TYPE_SCHED_CLS,
			       .insns = (uintptr_t)code,
			       .insn_cnt = len,
			       .license = (uintptr_t) "GPL"};
	union bpf_attr run = {.test.data_in = (uintptr_t)packet, .test.data_size_in = 100};
	int fd;

	if (count <= 5461) {
		struct twin_run r = {.data = packet, .size = 100, .out_size = 2000};
		struct twin t;

		assert_int_equal(twin_load(&t, skep, BPF_PROG_TYPE_SCHED_CLS, code, len), 0);
		twin_run(&t, &r, NULL, what);
		twin_unload(&t);
	}
	fd = (int)skep_bpf(skep, BPF_PROG_LOAD, &load, sizeof(load));
	assert_true(fd >= 0);
	run.test.prog_fd = (uint32_t)fd;
	assert_int_equal(skep_bpf(skep, BPF_PROG_TEST_RUN, &run, sizeof(run)), 0);
	if (run.test.retval != expected(count, known))
		fail_msg("%s: %u, expected %u", what, run.test.retval, expected(count, known));
	close(fd);
}

/* Branches on what the verifier knows and on what it does not, some over much code that
 * grows when it is rewritten. */
static void test_jumps(void **state)
{
	static const int32_t counts[] = {0, 1, 10, 5000, 5460, 5462, 9000};
	struct skep *skep = twin_open(0);
	uint32_t cases = 0;

	for (size_t i = 0; i < sizeof(counts) / sizeof(counts[0]); i++) {
		for (int known = 0; known < 4; known++) {
			char what[64];
			uint32_t at, back;

			begin();
			/* R8: 1, 0, or a byte of the packet that happens to be so */
			if (known < 2)
				add(BPF_ALU64 | BPF_MOV | BPF_K, 8, 0, 0, known);
			else
				add(BPF_LD | BPF_ABS | BPF_B, 0, 0, 0, known == 2 ? 0 : 3);
			if (known >= 2)
				add(BPF_ALU64 | BPF_MOV | BPF_X, 8, 0, 0, 0);
			back = len;
			at = len;
			add(BPF_JMP | BPF_JEQ | BPF_K, 8, 0, 0, 0);
			for (int32_t k = 0; k < counts[i]; k++)
				add(BPF_LD | BPF_ABS | BPF_B, 0, 0, 0, k % 90);
			if (counts[i])
				mix(0);
			code[at].off = (int16_t)(len - at - 1);
			/* Once more, from the end to the beginning. */
			add(BPF_ALU64 | BPF_ADD | BPF_K, 7, 0, 0, 1);
			add(BPF_ALU64 | BPF_ADD | BPF_K, 8, 0, 0, 1000);
			add(BPF_JMP | BPF_JLT | BPF_K, 8, 0, (int16_t)(back - len - 1), 2000);
			end(BPF_PROG_TYPE_SCHED_CLS);
			snprintf(what, sizeof(what), "jump over %d loads, kind %d", counts[i],
				 known);
			run_jumps(skep, counts[i], known, what);
			cases++;
		}
	}
	skep_close(skep);
	print_message("ran: rewrite_jumps %u\n", cases);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_fields),
		cmocka_unit_test(test_packet_loads),
		cmocka_unit_test(test_jumps),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
