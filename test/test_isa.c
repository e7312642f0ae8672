// SPDX-License-Identifier: Apache-2.0
/*
 * Decoding and disassembly. The kernel judges both: every opcode with many field
 * values is loaded, and its log says whether the fields are right and how the
 * instruction is written.
 */
#include <errno.h>
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
#include "isa/isa.h"
#include "kern.h"

#define INSN(c, d, s, o, i)                                                                        \
	(struct bpf_insn)                                                                          \
	{                                                                                          \
		.code = (c), .dst_reg = (d), .src_reg = (s), .off = (o), .imm = (i)                \
	}

static char log_buf[1 << 16];

/* What the kernel says about an instruction that is none. */
static bool log_refuses_fields(const char *log)
{
	static const char *const text[] = {
		"unknown opcode",
		"reserved fields",
		"invalid BPF_LD_IMM",
		"invalid bpf_ld_imm64",
		"uses invalid atomic opcode",
		"invalid BPF_ALU opcode",
		"unrecognized bpf_ld_imm64",
		"incorrect BPF_SRC",
		"unrecognized opcode",
		"invalid may_goto imm",
		"addr_space_cast insn can only convert",
		"is invalid",
		"invalid atomic operand size",
	};

	for (size_t i = 0; i < sizeof(text) / sizeof(text[0]); i++)
		if (strstr(log, text[i]))
			return true;
	return false;
}

/* The log's text of instruction `insn`, without what follows it; NULL if not there. */
static char *log_text(char *log, int insn)
{
	char want[16], *at = log, *end;

	snprintf(want, sizeof(want), "%d: (", insn);
	while (at && strncmp(at, want, strlen(want)) != 0) {
		at = strchr(at, '\n');
		if (at)
			at++;
	}
	if (!at)
		return NULL;
	at = strchr(at, '(');
	end = at + strcspn(at, "\n;");
	while (end > at && end[-1] == ' ')
		end--;
	*end = '\0';
	return at;
}

struct counts {
	unsigned loaded, refused, texts, masked;
};

#define PROLOGUE 11

static void compare_one(const struct bpf_insn *first, const struct bpf_insn *second,
			struct counts *c)
{
	struct bpf_insn prog[PROLOGUE + 6];
	struct skep_insn d;
	char mine[256], *text;
	bool ours, theirs;
	int n = 0, fd;

	prog[n++] = INSN(BPF_ALU64 | BPF_MOV | BPF_X, 6, 1, 0, 0);
	for (int r = 2; r < 10; r++)
		if (r != 6)
			prog[n++] = INSN(BPF_ALU64 | BPF_MOV | BPF_K, r, 0, 0, r);
	prog[n++] = INSN(BPF_ALU64 | BPF_MOV | BPF_X, 1, 10, 0, 0);
	prog[n++] = INSN(BPF_ST | BPF_MEM | BPF_DW, 10, 0, -8, 1);
	prog[n++] = INSN(BPF_ALU64 | BPF_MOV | BPF_K, 0, 0, 0, 0);
	assert_int_equal(n, PROLOGUE);
	prog[n++] = *first;
	if (second)
		prog[n++] = *second;
	for (int i = 0; i < 2; i++)
		prog[n++] = INSN(BPF_ALU64 | BPF_MOV | BPF_K, 0, 0, 0, 0);
	prog[n++] = INSN(BPF_JMP | BPF_EXIT, 0, 0, 0, 0);

	ours = skep_decode(&prog[PROLOGUE], n - PROLOGUE, &d) < 0;
	fd = kern_load(BPF_PROG_TYPE_SOCKET_FILTER, prog, n, 2, log_buf, sizeof(log_buf));
	if (fd >= 0)
		close(fd);
	theirs = fd < 0 && log_refuses_fields(log_buf);
	c->loaded++;
	c->refused += theirs;
	/* Another complaint may come before the one about fields. */
	if (ours && !theirs && fd < 0) {
		c->masked++;
		return;
	}
	if (ours != theirs)
		fail_msg("%02x dst %u src %u off %d imm %d: we %s, the kernel says %s: %s",
			 first->code, first->dst_reg, first->src_reg, first->off, first->imm,
			 ours ? "refuse" : "take", strerror(fd < 0 ? -fd : 0), log_buf);
	if (ours || (first->code == 0x18 && first->src_reg))
		return;
	text = log_text(log_buf, PROLOGUE);
	if (!text)
		return;
	skep_disasm(&prog[PROLOGUE], NULL, mine, sizeof(mine));
	c->texts++;
	assert_string_equal(mine, text);
}

static void test_against_kernel(void **state)
{
	static const int regs[] = {0, 1, 2, 3, 9, 10, 11, 15};
	static const int offs[] = {0, 1, 8, 16, 32, -8, 2};
	static const int imms[] = {0,    1,       2,     16,   64,   32,   -1,
				   8,    0x10000, 85,    0x51, 0xa1, 0xe1, 0xf1,
				   0xe0, 0x100,   0x110, 0x40, 0x50, 0x120};
	const struct bpf_insn zero = {0};
	struct counts c = {0};

	if (!kern_available()) {
		print_message("skipped: bpf(2) not permitted here\n");
		skip();
	}
	for (int code = 0; code < 256; code++) {
		bool pair = code == 0x18;

		/* Each field over its values while the others take their usual ones. */
		for (size_t i = 0; i < sizeof(imms) / sizeof(imms[0]); i++)
			for (size_t s = 0; s < 3; s++)
				compare_one(&INSN(code, 1, regs[s], 0, imms[i]),
					    pair ? &zero : NULL, &c);
		for (size_t o = 0; o < sizeof(offs) / sizeof(offs[0]); o++)
			for (size_t s = 0; s < sizeof(regs) / sizeof(regs[0]); s++)
				compare_one(&INSN(code, 2, regs[s], offs[o], 0),
					    pair ? &zero : NULL, &c);
		for (size_t r = 0; r < sizeof(regs) / sizeof(regs[0]); r++)
			compare_one(&INSN(code, regs[r], 0, 0, 16), pair ? &zero : NULL, &c);
		for (size_t o = 0; o < sizeof(offs) / sizeof(offs[0]); o++)
			for (size_t i = 0; i < sizeof(imms) / sizeof(imms[0]); i++)
				compare_one(&INSN(code, 1, 2, offs[o], imms[i]),
					    pair ? &zero : NULL, &c);
	}
	/* The second slot of a 64-bit immediate. */
	compare_one(&INSN(0x18, 1, 0, 0, -1), &INSN(0, 0, 0, 0, 0x12345678), &c);
	compare_one(&INSN(0x18, 1, 0, 0, 1), &INSN(1, 0, 0, 0, 0), &c);
	compare_one(&INSN(0x18, 1, 0, 0, 1), &INSN(0, 1, 0, 0, 0), &c);
	compare_one(&INSN(0x18, 1, 0, 0, 1), &INSN(0, 0, 1, 0, 0), &c);
	compare_one(&INSN(0x18, 1, 0, 0, 1), &INSN(0, 0, 0, 1, 0), &c);
	print_message("%u instructions loaded, %u refused by both, %u texts equal to the "
		      "kernel's, %u refused for other reasons first\n",
		      c.loaded, c.refused, c.texts, c.masked);
	assert_true(c.texts > 1000);
}

/* The same without a kernel: what the texts are. */
static void test_text(void **state)
{
	static const struct {
		struct bpf_insn insn[2];
		const char *text;
	} cases[] = {
		{{{0xb7, 0, 0, 0, 1}}, "(b7) r0 = 1"},
		{{{0xb4, 3, 0, 0, -1}}, "(b4) w3 = -1"},
		{{{0xbf, 1, 2, 8, 0}}, "(bf) r1 = (s8)r2"},
		{{{0xbf, 1, 2, 32, 0}}, "(bf) r1 = (s32)r2"},
		{{{0xbf, 1, 2, 1, 1}}, "(bf) r1 = addr_space_cast(r2, 0, 1)"},
		{{{0x3f, 1, 2, 1, 0}}, "(3f) r1 s/= r2"},
		{{{0xc7, 1, 0, 0, 3}}, "(c7) r1 s>>= 3"},
		{{{0x87, 1, 0, 0, 0}}, "(87) r1 = -r1"},
		{{{0xdc, 1, 0, 0, 16}}, "(dc) r1 = be16 r1"},
		{{{0xd7, 1, 0, 0, 64}}, "(d7) r1 = bswap64 r1"},
		{{{0x85, 0, 0, 0, 1}}, "(85) call bpf_map_lookup_elem#1"},
		{{{0x85, 0, 1, 0, 7}}, "(85) call pc+7"},
		{{{0x18, 1, 0, 0, 1}, {0, 0, 0, 0, 2}}, "(18) r1 = 0x200000001"},
		{{{0x79, 1, 2, -8, 0}}, "(79) r1 = *(u64 *)(r2 -8)"},
		{{{0x99 - 8, 1, 2, 4, 0}}, "(91) r1 = *(s8 *)(r2 +4)"},
		{{{0x62, 10, 0, -4, 7}}, "(62) *(u32 *)(r10 -4) = 7"},
		{{{0xdb, 10, 1, -8, 0}}, "(db) lock *(u64 *)(r10 -8) += r1"},
		{{{0xc3, 10, 1, -8, 0xa1}}, "(c3) r1 = atomic_fetch_xor((u32 *)(r10 -8), r1)"},
		{{{0xdb, 10, 1, -8, 0xf1}}, "(db) r0 = atomic64_cmpxchg((u64 *)(r10 -8), r0, r1)"},
		{{{0xd3, 1, 10, -8, 0x100}}, "(d3) r1 = load_acquire((u8 *)(r10 -8))"},
		{{{0xdb, 10, 1, -8, 0x110}}, "(db) store_release((u64 *)(r10 -8), r1)"},
		{{{0x20, 0, 0, 0, 12}}, "(20) r0 = *(u32 *)skb[12]"},
		{{{0x50, 0, 3, 0, 12}}, "(50) r0 = *(u8 *)skb[r3 + 12]"},
		{{{0x05, 0, 0, -3, 0}}, "(05) goto pc-3"},
		{{{0x06, 0, 0, 0, 70000}}, "(06) gotol pc+70000"},
		{{{0xe5, 0, 0, 2, 0}}, "(e5) may_goto pc+2"},
		{{{0x65, 1, 0, 2, -1}}, "(65) if r1 s> 0xffffffff goto pc+2"},
		{{{0x1e, 1, 2, 2, 0}}, "(1e) if w1 == w2 goto pc+2"},
		{{{0x95, 0, 0, 0, 0}}, "(95) exit"},
	};
	char buf[128];

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		skep_disasm(cases[i].insn, NULL, buf, sizeof(buf));
		assert_string_equal(buf, cases[i].text);
		/* A short buffer is cut, not overrun. */
		memset(buf, 'x', sizeof(buf));
		skep_disasm(cases[i].insn, NULL, buf, 4);
		assert_int_equal(buf[3], 0);
		assert_int_equal(buf[4], 'x');
	}
}

/* bpftool writes instructions as we do, and our test assembler reads what we write. */
static void test_bpftool(void **state)
{
	static const char text[] =
		"r6 = r1\nr2 = 7\nr3 = (s8)r2\nw4 = (s16)w2\n"
		"r2 = be16 r2\nr2 = bswap64 r2\nr2 = -r2\nw3 s>>= 4\nr5 = -1 ll\n"
		"*(u64 *)(r10 -8) = r5\n*(u32 *)(r10 -16) = -7\n"
		"r3 = *(s16 *)(r10 -8)\nr2 = 3\n"
		"lock *(u64 *)(r10 -8) |= r2\nr2 = atomic64_fetch_add((u64 *)(r10 -8), r2)\n"
		"r2 = atomic_xchg((u32 *)(r10 -8), r2)\nr0 = 0\n"
		"r0 = atomic64_cmpxchg((u64 *)(r10 -8), r0, r2)\n"
		"r4 = load_acquire((u32 *)(r10 -8))\nstore_release((u8 *)(r10 -8), r4)\n"
		"r7 = *(u32 *)(r6 +0)\nif r7 s> 5 goto +1\nr0 ^= r7\n"
		"if w7 & 8 goto +1\nw0 |= w7\nif r7 >= r0 goto +1\nr0 *= 3\n"
		"r0 = 1\nexit\n";
	static const char *const new_text[] = {"(s",           "s/=",           "s%=",  "bswap",
					       "load_acquire", "store_release", "gotol"};
	struct bpf_insn insns[64], again[2];
	int n = asm_text(text, insns, 64), fd, compared = 0;
	char cmd[128], line[256], want[256], mine[128];
	struct bpf_prog_info info = {0};
	union bpf_attr attr = {0};
	FILE *f;

	assert_true(n > 0);
	for (int i = 0; i < n;) {
		int slots = skep_disasm(&insns[i], NULL, mine, sizeof(mine));

		/* 64-bit immediates and jumps are read in another form. */
		if (slots == 1 && !strstr(mine, "goto")) {
			assert_int_equal(asm_text(strchr(mine, ' '), again, 2), 1);
			assert_memory_equal(again, &insns[i], sizeof(again[0]));
		}
		i += slots;
	}
	fd = kern_load(BPF_PROG_TYPE_SOCKET_FILTER, insns, n, 1, log_buf, sizeof(log_buf));
	if (fd < 0) {
		print_message("skipped: not loaded: %s %s\n", strerror(-fd), log_buf);
		skip();
	}
	attr.info.bpf_fd = fd;
	attr.info.info = (uintptr_t)&info;
	attr.info.info_len = sizeof(info);
	assert_int_equal(kern_bpf(BPF_OBJ_GET_INFO_BY_FD, &attr), 0);
	snprintf(cmd, sizeof(cmd), "bpftool prog dump xlated id %u 2>/dev/null", info.id);
	f = popen(cmd, "re");
	assert_non_null(f);
	for (int i = 0; i < n && fgets(line, sizeof(line), f);) {
		int slots = skep_disasm(&insns[i], NULL, mine, sizeof(mine));

		line[strcspn(line, "\n")] = '\0';
		/* The kernel rewrites accesses of the context; old ones know no version 4. */
		snprintf(want, sizeof(want), "%4d: %s", i, mine);
		bool skipped = strstr(mine, "(r6 +0)");
		for (size_t k = 0; k < sizeof(new_text) / sizeof(new_text[0]); k++)
			skipped |= strstr(mine, new_text[k]) != NULL;
		if (!skipped) {
			assert_string_equal(line, want);
			compared++;
		}
		i += slots;
	}
	pclose(f);
	close(fd);
	if (!compared) {
		print_message("skipped: no bpftool\n");
		skip();
	}
	print_message("%d lines equal to bpftool's\n", compared);
}

static void test_truncated(void **state)
{
	const struct bpf_insn wide = {.code = 0x18};
	struct skep_insn d;

	assert_int_equal(skep_decode(&wide, 1, &d), -EINVAL);
	assert_int_equal(skep_decode(&wide, 0, &d), -EINVAL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_text),
		cmocka_unit_test(test_truncated),
		cmocka_unit_test(test_bpftool),
		cmocka_unit_test(test_against_kernel),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
