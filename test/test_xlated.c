/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What becomes of instructions: programs loaded on skep, compiled and interpreted, and on the
 * running kernel, give the same result and, asked for their instructions, show the same.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>

#include "isa/isa.h"
#include "kern.h"
#include "side.h"
#include "vasm.h"

#define MAX 128

#define SAVE1    "*(u64 *)(r10 -8) = r1;"
#define RESTORE1 "r1 = *(u64 *)(r10 -8);"
#define CPU      "call get_smp_processor_id;"

/* What Linux 6.18 gets wrong: it leaves saves out although somebody reads them. */
#define WRONG(n, t)                                                                                \
	{                                                                                          \
		n, t, true                                                                         \
	}
#define CASE(n, t)                                                                                 \
	{                                                                                          \
		n, t, false                                                                        \
	}

static const struct {
	const char *name, *text;
	bool wrong;
} cases[] = {
	CASE("cpu alone", CPU "if r0 > 1000 goto e; r0 = 7; exit; e: r0 = 8; exit"),
	CASE("one register kept", "r1 = 11;" SAVE1 CPU RESTORE1 "r0 = r1; exit"),
	CASE("all registers kept",
	     "r1 = 1; r2 = 20; r3 = 300; r4 = 4000; r5 = 50000; *(u64 *)(r10 -16) = r1; *(u64 "
	     "*)(r10 "
	     "-24) = r2; *(u64 *)(r10 -32) = r3; *(u64 *)(r10 -40) = r4; *(u64 *)(r10 -48) = "
	     "r5;" CPU
	     "r5 = *(u64 *)(r10 -48); r4 = *(u64 *)(r10 -40); r3 = *(u64 *)(r10 -32); r2 = *(u64 "
	     "*)(r10 -24); r1 = *(u64 *)(r10 -16); r0 = r1; r0 += r2; r0 += r3; r0 += r4; r0 += "
	     "r5; "
	     "exit"),
	CASE("another register",
	     "r1 = 3; *(u64 *)(r10 -8) = r1;" CPU "r2 = *(u64 *)(r10 -8); r0 = r2; exit"),
	CASE("R6 needs no keeping",
	     "r6 = 3; *(u64 *)(r10 -8) = r6;" CPU "r6 = *(u64 *)(r10 -8); r0 = r6; exit"),
	CASE("not the lowest slot", "r1 = 3; *(u64 *)(r10 -16) = r1;" SAVE1 CPU RESTORE1
				    "r0 = *(u64 *)(r10 -16); r0 += r1; exit"),
	CASE("read after", "r1 = 3;" SAVE1 CPU RESTORE1 "r0 = *(u64 *)(r10 -8); exit"),
	CASE("read by a pointer",
	     "r1 = 3;" SAVE1 CPU RESTORE1 "r2 = r10; r2 += -8; r0 = *(u8 *)(r2 +0); exit"),
	WRONG("read by a helper",
	      "r1 = 3;" SAVE1 CPU RESTORE1
	      "r1 = r10; r1 += -8; r2 = 8; r3 = 0; r4 = 0; r5 = 0; call csum_diff; r0 = 5; exit"),
	CASE("written by a helper",
	     "r1 = 3;" SAVE1 CPU RESTORE1 "r1 = r10; r1 += -8; r2 = 8; r3 = 0; call "
	     "probe_read_kernel; r0 = *(u64 *)(r10 -8); exit"),
	WRONG("by the callee", "r1 = 3;" SAVE1 CPU RESTORE1
			       "r1 = r10; r1 += -8; call :f; exit; f: r0 = *(u64 *)(r1 +0); exit"),
	CASE("in the callee", "r1 = 9; call :f; exit; f:" SAVE1 CPU RESTORE1 "r0 = r1; exit"),
	CASE("around another helper",
	     "r1 = 4;" SAVE1 "call get_prandom_u32;" RESTORE1 "r0 = r1; exit"),
	CASE("two calls, one inlined",
	     "r1 = 4;" SAVE1 CPU RESTORE1 SAVE1 "call get_prandom_u32;" RESTORE1 "r0 = r1; exit"),
	CASE("two calls, both inlined",
	     "r1 = 4;" SAVE1 CPU RESTORE1 SAVE1 CPU RESTORE1 "r0 = r1; exit"),
	CASE("a full stack above it",
	     "*(u64 *)(r10 -512) = 1; r1 = 6; call :f; exit; f:" SAVE1 CPU RESTORE1
	     "r0 = r1; exit"),
	CASE("jump over a save",
	     "r1 = 6; if r1 == 6 goto l; r0 = 1; exit; l:" SAVE1 CPU RESTORE1 "r0 = r1; exit"),
	CASE("jump to a restore",
	     "r6 = *(u32 *)(r1 +0); r1 = 6; *(u64 *)(r10 -8) = r1; if r6 == 12345 goto m;" CPU
	     "m: r1 = *(u64 *)(r10 -8); r0 = r1; exit"),
	CASE("sdiv64 by -1", "r0 = 5; r0 s/= -1; exit"),
	CASE("sdiv32 by -1", "w0 = 0x80000000; w0 s/= -1; exit"),
	CASE("smod64 by -1", "r0 = 5; r0 s%= -1; exit"),
	CASE("smod32 by -1", "w0 = -5; w0 s%= -1; exit"),
	CASE("sdiv by -2", "r0 = 5; r0 s/= -2; exit"),
	CASE("div by -1", "r0 = 5; r0 /= -1; exit"),
};

/* The instructions as bpf(2) shows them, -1: the load failed. */
static int get(struct side *s, const char *text, struct bpf_insn *out, uint32_t *ret)
{
	struct bpf_insn insns[MAX];
	struct bpf_prog_info info = {.xlated_prog_len = MAX * sizeof(*out),
				     .xlated_prog_insns = (uintptr_t)out};
	union bpf_attr attr = {0};
	uint8_t packet[64] = {0};
	int n = vasm(text, NULL, 0, insns, MAX), fd;
	long err;

	assert_true(n > 0);
	err = side_load(s, BPF_PROG_TYPE_SCHED_CLS, insns, (uint32_t)n, "GPL", &fd);
	if (err) {
		print_message("%s\n", s->log);
		return -1;
	}
	attr.info.bpf_fd = (uint32_t)fd;
	attr.info.info_len = sizeof(info);
	attr.info.info = (uintptr_t)&info;
	assert_int_equal(side_bpf(s, BPF_OBJ_GET_INFO_BY_FD, &attr), 0);
	assert_int_equal(side_run_packet(s, fd, packet, sizeof(packet), ret), 0);
	close(fd);
	return (int)(info.xlated_prog_len / sizeof(*out));
}

/* Where a variable lies, and helpers' places, are each kernel's own. */
static void blank(struct bpf_insn *insns, int n)
{
	for (int i = 0; i < n; i++) {
		if (insns[i].code == (BPF_ALU64 | BPF_MOV | BPF_X) &&
		    insns[i].off == SKEP_ADDR_PERCPU)
			insns[i - 1].imm = 0;
		if (insns[i].code == (BPF_JMP | BPF_CALL) && !insns[i].src_reg)
			insns[i].imm = 0;
		/* Context accesses are of each one's own context. */
		if (BPF_CLASS(insns[i].code) == BPF_LDX && insns[i].src_reg == 1) {
			insns[i].off = 0;
			insns[i].code = BPF_LDX | BPF_MEM | BPF_W;
		}
	}
}

static void show(const char *who, const struct bpf_insn *insns, int n)
{
	char buf[256];

	print_message("%s:\n", who);
	for (int i = 0; i < n; i++) {
		skep_disasm(&insns[i], NULL, buf, sizeof(buf));
		print_message("  %d: %s\n", i, buf);
	}
}

static void test_cases(void **state)
{
	static struct side jit, interp, kernel;
	struct skep_opts opts = {.sz = sizeof(opts), .flags = SKEP_F_INTERPRET};
	unsigned done = 0;

	(void)state;
	assert_int_equal(skep_open(&jit.skep, NULL), 0);
	assert_int_equal(skep_open(&interp.skep, &opts), 0);
	for (size_t c = 0; c < sizeof(cases) / sizeof(cases[0]); c++) {
		struct bpf_insn a[MAX], b[MAX];
		uint32_t ra = 0, rb = 0;
		int na = get(&jit, cases[c].text, a, &ra), nb = get(&interp, cases[c].text, b, &rb);

		if (na < 0 || na != nb || ra != rb)
			fail_msg("%s: compiled %d instructions, %u; interpreted %d, %u",
				 cases[c].name, na, ra, nb, rb);
		if (!kern_available())
			continue;
		nb = get(&kernel, cases[c].text, b, &rb);
		assert_true(nb > 0);
		blank(a, na);
		blank(b, nb);
		if (cases[c].wrong != (na != nb || memcmp(a, b, (size_t)na * sizeof(*a)))) {
			show("skep", a, na);
			show("kernel", b, nb);
			fail_msg("%s: other instructions", cases[c].name);
		}
		if (ra != rb && !cases[c].wrong)
			fail_msg("%s: %u here, %u on the kernel", cases[c].name, ra, rb);
		done++;
	}
	print_message("ran: xlated %u\n", done);
	skep_close(jit.skep);
	skep_close(interp.skep);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_cases),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
