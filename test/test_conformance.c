// SPDX-License-Identifier: Apache-2.0
/*
 * Every instruction on the interpreter, the JIT compiler and the running kernel:
 * the cases of test/conformance/, and random programs. Results must be what the
 * case says and equal everywhere.
 *
 * A case file holds blocks. Memory is given and expected in hexadecimal; R1 is its
 * address.
 *
 *	op r3 += r4		one instruction on 64-bit operands, a line per case:
 *		1 2 = 3		dst, src, result
 *	jump if r1 s< r2	the same for a condition, result 0 or 1
 *	case NAME		a program
 *	mem 0102...		its memory, 64 bytes at most
 *		...		assembly, see asm.h
 *	= 7			R0
 *	mem= 0102...		memory afterwards, if it is to be tested
 */
#include <dirent.h>
#include <errno.h>
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
#include "bpf/instance.h"
#include "exec/exec.h"
#include "isa/isa.h"
#include "kern.h"

#define MEM       128 /* bytes that a program may use ... */
#define CTX       (MEM + 8) /* ... and then its result */
#define MAX_INSNS 2048
#define MAX_TEXT  8192

#define INSN(c, d, s, o, i)                                                                        \
	(struct bpf_insn)                                                                          \
	{                                                                                          \
		.code = (c), .dst_reg = (d), .src_reg = (s), .off = (o), .imm = (i)                \
	}

static struct counts {
	unsigned cases, interp, jit, kernel, refused;
} counts;
static bool with_kernel;

/* A program on all three. */
struct unit {
	struct bpf_insn insns[MAX_INSNS];
	int n;
	struct skep_prog prog;
	int fd; /* in the kernel; -1: it does not take it */
	const char *where;
};

/* Calls the body as a function and stores all 64 bits of R0 behind the memory. */
static int wrap(struct bpf_insn *out, const struct bpf_insn *body, int n)
{
	int k = 0;

	out[k++] = INSN(BPF_STX | BPF_MEM | BPF_DW, 10, 1, -8, 0);
	out[k++] = INSN(BPF_JMP | BPF_CALL, 0, BPF_PSEUDO_CALL, 0, 4);
	out[k++] = INSN(BPF_LDX | BPF_MEM | BPF_DW, 1, 10, -8, 0);
	out[k++] = INSN(BPF_STX | BPF_MEM | BPF_DW, 1, 0, MEM, 0);
	out[k++] = INSN(BPF_ALU64 | BPF_MOV | BPF_K, 0, 0, 0, 0);
	out[k++] = INSN(BPF_JMP | BPF_EXIT, 0, 0, 0, 0);
	memcpy(out + k, body, n * sizeof(*body));
	return k + n;
}

static void unit_open(struct unit *u, const struct bpf_insn *body, int n, const char *where)
{
	static char log[1 << 18];
	int err;

	assert_true(n > 0 && n + 6 <= MAX_INSNS);
	u->n = wrap(u->insns, body, n);
	u->where = where;
	memset(&u->prog, 0, sizeof(u->prog));
	err = skep_image_raw(&u->prog.image, u->insns, u->n);
	if (err)
		fail_msg("%s: no image: %s", where, strerror(-err));
	err = skep_jit(&u->prog, &u->prog.code);
	if (err && err != -ENOTSUP)
		fail_msg("%s: not compiled: %s", where, strerror(-err));
	u->fd = -1;
	if (!with_kernel)
		return;
	u->fd = kern_load(BPF_PROG_TYPE_SYSCALL, u->insns, u->n, 1, log, sizeof(log));
	if (u->fd < 0) {
		counts.refused++;
		if (getenv("SKEP_TEST_VERBOSE"))
			print_message("%s: the kernel refuses: %s\n", where, log);
	}
}

static void unit_close(struct unit *u)
{
	if (u->fd >= 0)
		close(u->fd);
	skep_jit_free(&u->prog.code);
	skep_image_free(&u->prog.image);
}

static void dump(const struct unit *u)
{
	char buf[128];

	for (int i = 0; i < u->n;) {
		int n = skep_disasm(&u->insns[i], NULL, buf, sizeof(buf));

		print_message("%3d: %s\n", i, buf);
		i += n;
	}
}

static void same(const struct unit *u, const char *who, const uint8_t *got, const uint8_t *want)
{
	if (!memcmp(got, want, CTX))
		return;
	dump(u);
	for (int i = 0; i < CTX; i += 8) {
		uint64_t g, w;

		memcpy(&g, got + i, 8);
		memcpy(&w, want + i, 8);
		if (g != w)
			print_message("  at %d: %s has 0x%llx, expected 0x%llx\n", i, who,
				      (unsigned long long)g, (unsigned long long)w);
	}
	fail_msg("%s: %s differs", u->where, who);
}

/* Runs u on a copy of mem everywhere. want may be NULL: what the interpreter says. */
static void unit_run(struct unit *u, const uint8_t *mem, const uint8_t *want)
{
	_Alignas(8) uint8_t ctx[CTX], ref[CTX];
	struct skep_env env = {.prog = &u->prog};
	struct skep_region region = {
		.base = (uintptr_t)ref, .size = CTX, .flags = SKEP_REGION_READ | SKEP_REGION_WRITE};
	struct skep_raw raw = {.insns = u->insns,
			       .len = u->n,
			       .regions = &region,
			       .nregions = 1,
			       .max_steps = 1000000};
	uint64_t r0;
	uint32_t ret;
	int err;

	counts.cases++;
	memcpy(ref, mem, MEM);
	memset(ref + MEM, 0xee, 8);
	err = skep_interp_raw(&raw, (uintptr_t)ref, 0, &env, &r0);
	if (err) {
		dump(u);
		fail_msg("%s: interpreter: %s", u->where, strerror(-err));
	}
	if (want)
		same(u, "the interpreter", ref, want);
	counts.interp++;
	if (u->prog.code.entry) {
		memcpy(ctx, mem, MEM);
		memset(ctx + MEM, 0xee, 8);
		u->prog.code.entry(ctx, &env);
		same(u, "the compiled program", ctx, ref);
		counts.jit++;
	}
	if (u->fd >= 0) {
		memcpy(ctx, mem, MEM);
		memset(ctx + MEM, 0xee, 8);
		err = kern_run_ctx(u->fd, ctx, CTX, &ret);
		if (err)
			fail_msg("%s: kernel: %s", u->where, strerror(-err));
		same(u, "the kernel", ctx, ref);
		counts.kernel++;
	}
}

/* ---- Case files ---- */

static int parse_hex(const char *s, uint8_t *out)
{
	int n = 0;
	unsigned b;

	for (; n < MEM && sscanf(s, "%2x", &b) == 1; s += 2)
		out[n++] = b;
	return n;
}

/* "op r3 += r4" or "jump if r3 > 4": loads the operands around the instruction. */
static int build_op(const char *text, bool jump, struct bpf_insn *out)
{
	struct bpf_insn insn[2];
	char buf[128];
	int base, n = 0, src;

	snprintf(buf, sizeof(buf), jump ? "%s goto +1" : "%s", text);
	if (asm_text(buf, insn, 4) != 1)
		return -1;
	src = BPF_SRC(insn->code) == BPF_X && (jump || BPF_OP(insn->code) != BPF_END)
		      ? insn->src_reg
		      : insn->dst_reg;
	for (base = 9; base == insn->dst_reg || base == src; base--)
		;
	out[n++] = INSN(BPF_ALU64 | BPF_MOV | BPF_X, base, 1, 0, 0);
	out[n++] = INSN(BPF_LDX | BPF_MEM | BPF_DW, insn->dst_reg, base, 0, 0);
	if (src != insn->dst_reg)
		out[n++] = INSN(BPF_LDX | BPF_MEM | BPF_DW, src, base, 8, 0);
	if (jump) {
		out[n++] = *insn;
		out[n - 1].off = 2;
		out[n++] = INSN(BPF_ALU64 | BPF_MOV | BPF_K, 0, 0, 0, 0);
		out[n++] = INSN(BPF_JMP | BPF_EXIT, 0, 0, 0, 0);
		out[n++] = INSN(BPF_ALU64 | BPF_MOV | BPF_K, 0, 0, 0, 1);
	} else {
		out[n++] = *insn;
		/* The source must not change. */
		if (src != insn->dst_reg)
			out[n++] = INSN(BPF_STX | BPF_MEM | BPF_DW, base, src, 16, 0);
		out[n++] = INSN(BPF_ALU64 | BPF_MOV | BPF_X, 0, insn->dst_reg, 0, 0);
	}
	out[n++] = INSN(BPF_JMP | BPF_EXIT, 0, 0, 0, 0);
	return n;
}

static bool stores_source(const struct unit *u)
{
	return u->n > 8 && u->insns[u->n - 3].code == (BPF_STX | BPF_MEM | BPF_DW);
}

/* A line of an op block. */
static void run_line(struct unit *u, const char *line, bool jump)
{
	_Alignas(8) uint8_t mem[MEM] = {0}, want[CTX];
	unsigned long long a, b, r;

	if (sscanf(line, "%lli %lli = %lli", (long long *)&a, (long long *)&b, (long long *)&r) !=
	    3) {
		/* %lli stops at the largest signed number. */
		fail_msg("bad line: %s", line);
	}
	a = strtoull(line, NULL, 0);
	b = strtoull(line + 1 + strcspn(line, " "), NULL, 0);
	r = strtoull(strchr(line, '=') + 1, NULL, 0);
	memcpy(mem, &a, 8);
	memcpy(mem + 8, &b, 8);
	memcpy(want, mem, MEM);
	if (!jump && stores_source(u))
		memcpy(want + 16, &b, 8);
	memcpy(want + MEM, &r, 8);
	unit_run(u, mem, want);
}

struct program {
	char name[128], text[MAX_TEXT];
	uint8_t mem[MEM], mem_after[MEM];
	bool has_after, has_result;
	unsigned long long r0;
	bool open;
};

static void run_program(struct program *p)
{
	_Alignas(8) uint8_t want[CTX];
	static struct bpf_insn body[MAX_INSNS];
	static struct unit u;
	int n;

	if (!p->open)
		return;
	p->open = false;
	n = asm_text(p->text, body, MAX_INSNS - 8);
	if (n < 0 || !p->has_result)
		fail_msg("%s: cannot be read", p->name);
	unit_open(&u, body, n, p->name);
	memcpy(want, p->has_after ? p->mem_after : p->mem, MEM);
	memcpy(want + MEM, &p->r0, 8);
	unit_run(&u, p->mem, want);
	unit_close(&u);
}

static void run_file(const char *path)
{
	static struct program p;
	static struct unit u;
	static char line[1024], where[2048];
	bool op = false, jump = false;
	FILE *f = fopen(path, "re");

	assert_non_null(f);
	memset(&p, 0, sizeof(p));
	while (fgets(line, sizeof(line), f)) {
		char *s = line + strspn(line, " \t");

		s[strcspn(s, "\n")] = '\0';
		if (!*s || *s == '#')
			continue;
		if (!strncmp(line, "op ", 3) || !strncmp(line, "jump ", 5)) {
			struct bpf_insn body[16];
			int n;

			run_program(&p);
			if (op)
				unit_close(&u);
			op = true;
			jump = line[0] == 'j';
			snprintf(where, sizeof(where), "%s: %s", path, line);
			n = build_op(line + (jump ? 5 : 3), jump, body);
			if (n < 0)
				fail_msg("%s: cannot be read", where);
			unit_open(&u, body, n, where);
		} else if (!strncmp(line, "case ", 5)) {
			run_program(&p);
			if (op)
				unit_close(&u);
			op = false;
			memset(&p, 0, sizeof(p));
			snprintf(p.name, sizeof(p.name), "%.100s", line + 5);
			p.open = true;
		} else if (op) {
			run_line(&u, s, jump);
		} else if (!strncmp(line, "mem ", 4)) {
			parse_hex(line + 4, p.mem);
		} else if (!strncmp(line, "mem= ", 5)) {
			parse_hex(line + 5, p.mem_after);
			p.has_after = true;
		} else if (line[0] == '=') {
			p.r0 = strtoull(line + 1, NULL, 0);
			p.has_result = true;
		} else {
			strncat(p.text, s, sizeof(p.text) - strlen(p.text) - 1);
			strncat(p.text, "\n", sizeof(p.text) - strlen(p.text) - 1);
		}
	}
	run_program(&p);
	if (op)
		unit_close(&u);
	fclose(f);
}

static const char *case_dir(void)
{
	const char *dir = getenv("SKEP_CONFORMANCE");

	return dir ? dir : "test/conformance";
}

static void test_cases(void **state)
{
	struct dirent **list;
	char path[512];
	int n = scandir(case_dir(), &list, NULL, alphasort);

	if (n < 0)
		fail_msg("%s: %s (run from the source folder or set SKEP_CONFORMANCE)", case_dir(),
			 strerror(errno));
	memset(&counts, 0, sizeof(counts));
	for (int i = 0; i < n; i++) {
		size_t len = strlen(list[i]->d_name);

		if (len > 4 && !strcmp(list[i]->d_name + len - 4, ".txt")) {
			snprintf(path, sizeof(path), "%s/%s", case_dir(), list[i]->d_name);
			run_file(path);
		}
		free(list[i]);
	}
	free(list);
	print_message("%u cases: interpreter %u, compiled %u, kernel %u; %u programs refused by "
		      "the kernel\n",
		      counts.cases, counts.interp, counts.jit, counts.kernel, counts.refused);
	assert_true(counts.cases > 400);
	assert_int_equal(counts.refused, 0);
}

/* ---- Random programs ---- */

static uint64_t seed;

static uint32_t rnd(uint32_t n)
{
	seed ^= seed << 13;
	seed ^= seed >> 7;
	seed ^= seed << 17;
	return (seed >> 11) % n;
}

static int64_t rnd_value(void)
{
	switch (rnd(6)) {
	case 0:
		return (int64_t)rnd(17) - 8;
	case 1:
		return (int64_t)(1ull << rnd(64));
	case 2:
		return (int64_t)((1ull << rnd(64)) - 1);
	case 3:
		return (int32_t)((uint64_t)rnd(1u << 16) << 16 | rnd(1u << 16));
	case 4:
		return -(int64_t)(1ull << rnd(63));
	default:
		return (int64_t)((uint64_t)rnd(1u << 31) << 33 ^ (uint64_t)rnd(1u << 31) << 10 ^
				 rnd(99));
	}
}

static struct bpf_insn rnd_alu(void)
{
	static const uint8_t ops[] = {BPF_ADD, BPF_SUB, BPF_MUL,  BPF_DIV, BPF_OR,
				      BPF_AND, BPF_LSH, BPF_RSH,  BPF_NEG, BPF_MOD,
				      BPF_XOR, BPF_MOV, BPF_ARSH, BPF_END};
	struct bpf_insn in = {.code = ops[rnd(sizeof(ops))]};
	bool is64 = rnd(2), reg = rnd(2);

	in.dst_reg = rnd(10);
	if (in.code == BPF_END) {
		in.code |= rnd(3) == 0   ? BPF_ALU64
			   : rnd(2) == 0 ? (BPF_ALU | BPF_TO_BE)
					 : (BPF_ALU | BPF_TO_LE);
		in.imm = 16 << rnd(3);
		return in;
	}
	in.code |= is64 ? BPF_ALU64 : BPF_ALU;
	if (BPF_OP(in.code) == BPF_NEG)
		return in;
	if ((BPF_OP(in.code) == BPF_DIV || BPF_OP(in.code) == BPF_MOD) && rnd(3) == 0)
		in.off = 1;
	if (reg) {
		in.code |= BPF_X;
		in.src_reg = rnd(10);
		if (BPF_OP(in.code) == BPF_MOV && rnd(2))
			in.off = 8 << rnd(is64 ? 3 : 2);
		return in;
	}
	in.imm = (int32_t)rnd_value();
	if (BPF_OP(in.code) == BPF_LSH || BPF_OP(in.code) == BPF_RSH || BPF_OP(in.code) == BPF_ARSH)
		in.imm &= is64 ? 63 : 31;
	if ((BPF_OP(in.code) == BPF_DIV || BPF_OP(in.code) == BPF_MOD) && !in.imm)
		in.imm = 1 + rnd(100);
	return in;
}

static struct bpf_insn rnd_jump(int room)
{
	static const uint8_t ops[] = {BPF_JEQ,  BPF_JGT, BPF_JGE, BPF_JSET, BPF_JNE, BPF_JSGT,
				      BPF_JSGE, BPF_JLT, BPF_JLE, BPF_JSLT, BPF_JSLE};
	struct bpf_insn in = {.code = ops[rnd(sizeof(ops))] | (rnd(2) ? BPF_JMP : BPF_JMP32)};

	in.dst_reg = rnd(10);
	in.off = 1 + rnd(room);
	if (rnd(2)) {
		in.code |= BPF_X;
		in.src_reg = rnd(10);
	} else {
		in.imm = (int32_t)rnd_value();
	}
	return in;
}

#define SLOTS 4 /* 8-byte stack slots that random programs use */

static struct bpf_insn rnd_stack(void)
{
	static const uint8_t sizes[] = {BPF_B, BPF_H, BPF_W, BPF_DW};
	uint8_t size = sizes[rnd(4)], bytes = skep_isa[BPF_LDX | BPF_MEM | size].size;
	int off = -8 * (1 + (int)rnd(SLOTS)) + bytes * (int)rnd(8 / bytes);

	switch (rnd(4)) {
	case 0:
		return INSN(BPF_STX | BPF_MEM | size, 10, rnd(10), off, 0);
	case 1:
		return INSN(BPF_ST | BPF_MEM | size, 10, 0, off, (int32_t)rnd_value());
	case 2:
		if (size != BPF_DW)
			return INSN(BPF_LDX | BPF_MEMSX | size, rnd(10), 10, off, 0);
		/* fallthrough */
	default:
		return INSN(BPF_LDX | BPF_MEM | size, rnd(10), 10, off, 0);
	}
}

/* Random instructions on all registers, which come from memory and go back there. */
static int rnd_program(struct bpf_insn *out)
{
	int n = 0, len = 5 + rnd(40), branches = rnd(2) ? 0 : 6, end;
	uint32_t live = rnd(1024) | rnd(1024);

	for (int i = 0; i < SLOTS; i++)
		out[n++] =
			INSN(BPF_ST | BPF_MEM | BPF_DW, 10, 0, -8 * (i + 1), (int32_t)rnd_value());
	out[n++] = INSN(BPF_STX | BPF_MEM | BPF_DW, 10, 1, -8 * (SLOTS + 1), 0);
	for (int r = 0; r < 10; r++)
		if (r != 1)
			out[n++] = INSN(BPF_LDX | BPF_MEM | BPF_DW, r, 1, 8 * r, 0);
	out[n++] = INSN(BPF_LDX | BPF_MEM | BPF_DW, 1, 1, 8, 0);
	for (end = n + len; n < end; n++) {
		uint32_t kind = rnd(10);

		if (kind == 0 && branches && n + 2 < end) {
			int room = end - n - 1;

			out[n] = rnd_jump(room < 8 ? room : 8);
			branches--;
		} else if (kind < 3) {
			out[n] = rnd_stack();
		} else {
			out[n] = rnd_alu();
		}
	}
	/* Store the registers that are to be looked at; the rest is dead. */
	out[n++] = INSN(BPF_STX | BPF_MEM | BPF_DW, 10, 0, -8 * (SLOTS + 2), 0);
	out[n++] = INSN(BPF_LDX | BPF_MEM | BPF_DW, 0, 10, -8 * (SLOTS + 1), 0);
	for (int r = 1; r < 10; r++)
		if (live & 1u << r)
			out[n++] = INSN(BPF_STX | BPF_MEM | BPF_DW, 0, r, 8 * r, 0);
	out[n++] = INSN(BPF_ALU64 | BPF_MOV | BPF_X, 1, 0, 0, 0);
	out[n++] = INSN(BPF_LDX | BPF_MEM | BPF_DW, 0, 10, -8 * (SLOTS + 2), 0);
	out[n++] = INSN(BPF_STX | BPF_MEM | BPF_DW, 1, 0, 0, 0);
	out[n++] = INSN(BPF_JMP | BPF_EXIT, 0, 0, 0, 0);
	return n;
}

/*
 * Programs like those that compilers make: memory through pointers and indexes,
 * rotations, read-modify-write, constant loops, calls. R9 is the memory, R8 counts
 * loops, the rest is free.
 */
#define ARRAY 64 /* bytes of stack used as an array, below the slots */

static uint8_t reg07(void)
{
	return rnd(8);
}

static int alu(struct bpf_insn *out, bool is64, uint8_t op, uint8_t dst, int src, int32_t imm)
{
	out->code = (is64 ? BPF_ALU64 : BPF_ALU) | op | (src >= 0 ? BPF_X : BPF_K);
	out->dst_reg = dst;
	out->src_reg = src >= 0 ? src : 0;
	out->off = 0;
	out->imm = src >= 0 ? 0 : imm;
	return 1;
}

static int chunk_rotate(struct bpf_insn *out)
{
	uint8_t x = reg07(), t = reg07();
	bool w = rnd(2), swap = rnd(2);
	int bits = w ? 64 : 32, k = 1 + rnd(bits - 1), n = 0;
	static const uint8_t joins[] = {BPF_OR, BPF_ADD, BPF_XOR};

	n += alu(out + n, w, BPF_MOV, t, x, 0);
	n += alu(out + n, w, swap ? BPF_RSH : BPF_LSH, rnd(2) ? t : x, -1, k);
	if (rnd(4) == 0)
		n += alu(out + n, rnd(2), BPF_ADD, reg07(), reg07(), 0);
	n += alu(out + n, w, swap ? BPF_LSH : BPF_RSH, out[1].dst_reg == t ? x : t, -1, bits - k);
	n += alu(out + n, rnd(8) ? w : !w, joins[rnd(3)], rnd(2) ? t : x, rnd(2) ? x : t, 0);
	return n;
}

static int chunk_extend(struct bpf_insn *out)
{
	uint8_t x = reg07();
	bool w = rnd(2);
	int k = w ? (rnd(2) ? 32 : 48 + 8 * rnd(2)) : 16 + 8 * rnd(2), n = 0;

	n += alu(out + n, w, BPF_LSH, x, -1, k);
	if (rnd(4) == 0)
		n += alu(out + n, rnd(2), BPF_ADD, reg07(), reg07(), 0);
	n += alu(out + n, w, rnd(2) ? BPF_RSH : BPF_ARSH, x, -1, k);
	return n;
}

static const uint8_t mem_sizes[] = {BPF_B, BPF_H, BPF_W, BPF_DW};

static int chunk_memory(struct bpf_insn *out)
{
	static const uint8_t ops[] = {BPF_ADD, BPF_SUB, BPF_AND, BPF_OR, BPF_XOR, BPF_MUL};
	uint8_t size = mem_sizes[rnd(4)], bytes = 1 << (size == BPF_B   ? 0
							: size == BPF_H ? 1
							: size == BPF_W ? 2
									: 3);
	int off = bytes * (int)rnd(80 / bytes), n = 0;
	uint8_t t = reg07(), op = ops[rnd(sizeof(ops))];
	bool w = rnd(3) ? size == BPF_DW : rnd(2);

	out[n++] = INSN(BPF_LDX | (size != BPF_DW && rnd(4) == 0 ? BPF_MEMSX : BPF_MEM) | size, t,
			9, off, 0);
	if (rnd(4) == 0)
		n += alu(out + n, rnd(2), BPF_ADD, reg07(), reg07(), 0);
	if (rnd(6) == 0)
		out[n++] =
			INSN(BPF_STX | BPF_MEM | size, 9, reg07(), bytes * (int)rnd(80 / bytes), 0);
	switch (rnd(5)) {
	case 0: /* the loaded value as an operand */
		n += alu(out + n, w, op, reg07(), t, 0);
		break;
	case 1: /* read, modify, write */
		n += alu(out + n, w, op, t, rnd(2) ? (int)reg07() : -1, (int32_t)rnd_value());
		out[n++] = INSN(BPF_STX | BPF_MEM | size, 9, t, off, 0);
		break;
	case 2:
		out[n++] = INSN((rnd(2) ? BPF_ALU64 | BPF_END : BPF_ALU | BPF_END | BPF_TO_BE), t,
				0, 0, 16 << rnd(3));
		break;
	case 3: { /* a comparison */
		static const uint8_t j[] = {BPF_JEQ,  BPF_JNE,  BPF_JGT, BPF_JLE,
					    BPF_JSGT, BPF_JSLE, BPF_JSET};

		out[n] = INSN((rnd(2) ? BPF_JMP : BPF_JMP32) | j[rnd(sizeof(j))], t, 0, 2,
			      (int32_t)rnd_value());
		if (rnd(2)) {
			out[n].code |= BPF_X;
			out[n].src_reg = reg07();
			out[n].imm = 0;
		}
		n++;
		n += alu(out + n, rnd(2), BPF_MOV, reg07(), rnd(2) ? (int)reg07() : -1,
			 (int32_t)rnd_value());
		n += alu(out + n, rnd(2), BPF_ADD, reg07(), reg07(), 0);
		break;
	}
	default:
		break;
	}
	if (rnd(2))
		n += alu(out + n, rnd(2), BPF_MOV, t, -1, (int32_t)rnd_value()); /* dead now */
	return n;
}

/* An element of the array on the stack, by a variable index. */
static int chunk_index(struct bpf_insn *out)
{
	uint8_t x = reg07(), p = (x + 1 + rnd(7)) % 8, shift = rnd(4);
	uint8_t size = shift == 0 ? BPF_B : shift == 1 ? BPF_H : shift == 2 ? BPF_W : BPF_DW;
	int base = -8 * (SLOTS + 2) - ARRAY, n = 0;

	n += alu(out + n, true, BPF_AND, x, -1, ARRAY / (1 << shift) - 1);
	if (rnd(2))
		n += alu(out + n, true, BPF_LSH, x, -1, shift);
	else
		size = BPF_B;
	n += alu(out + n, true, BPF_MOV, p, 10, 0);
	if (rnd(2)) {
		n += alu(out + n, true, BPF_ADD, p, -1, base);
		base = 0;
	}
	n += alu(out + n, true, BPF_ADD, p, x, 0);
	out[n++] = INSN(BPF_LDX | BPF_MEM | size, rnd(2) ? p : reg07(), p, base, 0);
	/* Pointers must not be computed with or stored. */
	if (out[n - 1].dst_reg != p)
		n += alu(out + n, true, BPF_MOV, p, -1, (int32_t)rnd_value());
	return n;
}

static int chunk_atomic(struct bpf_insn *out)
{
	static const int kinds[] = {BPF_ADD,
				    BPF_AND,
				    BPF_OR,
				    BPF_XOR,
				    BPF_ADD | BPF_FETCH,
				    BPF_AND | BPF_FETCH,
				    BPF_OR | BPF_FETCH,
				    BPF_XOR | BPF_FETCH,
				    BPF_XCHG,
				    BPF_CMPXCHG};
	bool w = rnd(2);

	*out = INSN(BPF_STX | BPF_ATOMIC | (w ? BPF_DW : BPF_W), 10, reg07(),
		    -8 * (1 + (int)rnd(SLOTS)), kinds[rnd(10)]);
	return 1;
}

static int chunk(struct bpf_insn *out)
{
	switch (rnd(9)) {
	case 0:
		return chunk_rotate(out);
	case 1:
		return chunk_extend(out);
	case 2:
	case 3:
	case 4:
		return chunk_memory(out);
	case 5:
		return chunk_index(out);
	case 6:
		return chunk_atomic(out);
	default:
		do {
			*out = rnd_alu();
		} while (out->dst_reg > 7 || (BPF_SRC(out->code) == BPF_X && out->src_reg > 7));
		return 1;
	}
}

static int load_all(struct bpf_insn *out, int from, int to)
{
	int n = 0;

	for (int r = from; r <= to; r++)
		out[n++] = INSN(BPF_LDX | BPF_MEM | BPF_DW, r, 9, 8 * r, 0);
	return n;
}

/* Its stack: slots that atomics use, and the array. */
static int fill_stack(struct bpf_insn *out)
{
	int n = 0;

	for (int i = 0; i < SLOTS + 2 + ARRAY / 8; i++)
		out[n++] =
			INSN(BPF_ST | BPF_MEM | BPF_DW, 10, 0, -8 * (i + 1), (int32_t)rnd_value());
	return n;
}

static int rnd_compiled(struct bpf_insn *out)
{
	int n = 0, loop = -1, call = -1, chunks = 2 + rnd(10);
	uint32_t live = rnd(256) | rnd(256);

	n += alu(out + n, true, BPF_MOV, 9, 1, 0);
	n += fill_stack(out + n);
	n += load_all(out + n, 0, 7);
	if (rnd(2)) {
		n += alu(out + n, true, BPF_MOV, 8, -1, 0);
		loop = n;
	}
	for (int i = 0; i < chunks; i++)
		n += chunk(out + n);
	if (loop >= 0) {
		n += alu(out + n, true, BPF_ADD, 8, -1, 1);
		out[n] = INSN(BPF_JMP | BPF_JLT, 8, 0, loop - n - 1, 3);
		n++;
	}
	if (rnd(2)) {
		call = n++;
		out[call] = INSN(BPF_JMP | BPF_CALL, 0, BPF_PSEUDO_CALL, 0, 0);
		n += load_all(out + n, 1, 5);
		for (int i = 0; i < 2; i++)
			n += chunk(out + n);
	}
	for (int r = 0; r < 8; r++)
		if (live & 1u << r)
			out[n++] = INSN(BPF_STX | BPF_MEM | BPF_DW, 9, r, 8 * r, 0);
	out[n++] = INSN(BPF_JMP | BPF_EXIT, 0, 0, 0, 0);
	if (call < 0)
		return n;
	out[call].imm = n - call - 1;
	n += alu(out + n, true, BPF_MOV, 0, 1, 0);
	for (int r = 6; r < 8; r++)
		n += alu(out + n, rnd(2), BPF_MOV, r, r - 3, 0);
	for (int i = 0; i < 8; i++) {
		int k = chunk_rotate(out + n);

		n += rnd(2) ? k : chunk_extend(out + n);
	}
	out[n++] = INSN(BPF_JMP | BPF_EXIT, 0, 0, 0, 0);
	return n;
}

static double now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec + ts.tv_nsec / 1e9;
}

static void test_random(void **state)
{
	static struct bpf_insn body[MAX_INSNS];
	static struct unit u;
	const char *scale = getenv("SKEP_TEST_SCALE"), *from = getenv("SKEP_TEST_SEED");
	uint64_t first = from ? strtoull(from, NULL, 0) : 1, i;
	bool kernel = with_kernel;
	double until = now() + 2 * (scale ? atof(scale) : 1);
	char where[64];

	memset(&counts, 0, sizeof(counts));
	for (i = first; now() < until; i++) {
		_Alignas(8) uint8_t mem[MEM] = {0};

		/* Loading into the kernel takes most of the time. */
		with_kernel = kernel && (from || i % 16 < 2);

		seed = i * 0x9e3779b97f4a7c15ull + 1;
		for (int k = 0; k < 8; k++)
			rnd(2);
		snprintf(where, sizeof(where), "random program SKEP_TEST_SEED=%llu",
			 (unsigned long long)i);
		unit_open(&u, body, i % 2 ? rnd_program(body) : rnd_compiled(body), where);
		for (int k = 0; k < 4; k++) {
			for (int r = 0; r < 10; r++) {
				int64_t v = rnd_value();

				memcpy(mem + 8 * r, &v, 8);
			}
			unit_run(&u, mem, NULL);
		}
		unit_close(&u);
	}
	with_kernel = kernel;
	assert_true(counts.refused * 10 <= i - first);
	print_message("%llu programs from seed %llu: runs: interpreter %u, compiled %u, kernel %u; "
		      "%u refused by the kernel\n",
		      (unsigned long long)(i - first), (unsigned long long)first, counts.interp,
		      counts.jit, counts.kernel, counts.refused);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_cases),
		cmocka_unit_test(test_random),
	};

	with_kernel = !getenv("SKEP_TEST_NO_KERNEL") && kern_available();
	if (!with_kernel)
		print_message("no kernel to compare with: bpf(2) is not permitted here\n");
	return cmocka_run_group_tests(tests, NULL, NULL);
}
