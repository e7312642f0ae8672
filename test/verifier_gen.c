/* SPDX-License-Identifier: Apache-2.0 */
/*
 * In these programs R6 is the context, R7 points to memory, R8 and R9 are numbers
 * that survive calls; the others come and go. A statement leaves R0 to R5 as
 * numbers, so that statements go together in any order. What makes an index
 * bounded is chosen at random, sometimes wrongly.
 */
#include "verifier_gen.h"

#include <stddef.h>
#include <string.h>

static uint32_t rnd(struct gen *g, uint32_t n)
{
	g->rng ^= g->rng << 13;
	g->rng ^= g->rng >> 7;
	g->rng ^= g->rng << 17;
	return (uint32_t)((g->rng * 0x2545f4914f6cdd1dull) >> 33) % n;
}

static void emit(struct gen *g, int code, int dst, int src, int off, int32_t imm)
{
	if (g->n >= GEN_MAX - 64)
		return;
	g->insn[g->n++] = (struct bpf_insn){.code = (uint8_t)code,
					    .dst_reg = dst & 15,
					    .src_reg = src & 15,
					    .off = (int16_t)off,
					    .imm = imm};
}

#define MOVK(d, v) emit(g, BPF_ALU64 | BPF_MOV | BPF_K, d, 0, 0, v)
#define MOVX(d, s) emit(g, BPF_ALU64 | BPF_MOV | BPF_X, d, s, 0, 0)
#define ADDK(d, v) emit(g, BPF_ALU64 | BPF_ADD | BPF_K, d, 0, 0, v)
#define ADDX(d, s) emit(g, BPF_ALU64 | BPF_ADD | BPF_X, d, s, 0, 0)
#define CALL(f)    emit(g, BPF_JMP | BPF_CALL, 0, 0, 0, f)

static void map_ptr(struct gen *g, int dst, int fd)
{
	emit(g, BPF_LD | BPF_DW | BPF_IMM, dst, BPF_PSEUDO_MAP_FD, 0, fd);
	emit(g, 0, 0, 0, 0, 0);
}

static void map_value(struct gen *g, int dst, int fd, int32_t off)
{
	emit(g, BPF_LD | BPF_DW | BPF_IMM, dst, BPF_PSEUDO_MAP_VALUE, 0, fd);
	emit(g, 0, 0, 0, 0, off);
}

/* A jump over what is emitted until patch(). */
static uint32_t jump(struct gen *g, int code, int dst, int src, int32_t imm)
{
	emit(g, code, dst, src, 0, imm);
	return g->n - 1;
}

static void patch(struct gen *g, uint32_t at)
{
	g->insn[at].off = (int16_t)(g->n - at - 1);
}

static int num(struct gen *g)
{
	static const uint8_t regs[] = {0, 1, 2, 3, 4, 5, 8, 9, 8, 9};

	return regs[rnd(g, sizeof(regs))];
}

static int32_t value(struct gen *g)
{
	static const int32_t v[] = {0,
				    1,
				    -1,
				    7,
				    8,
				    15,
				    31,
				    32,
				    63,
				    64,
				    65,
				    127,
				    255,
				    256,
				    0xffff,
				    0x7fffffff,
				    (int32_t)0x80000000,
				    -2,
				    -8,
				    -64,
				    1000};

	return rnd(g, 3) ? v[rnd(g, sizeof(v) / sizeof(*v))] : (int32_t)rnd(g, 0xffffffffu);
}

static const uint8_t jccs[] = {BPF_JEQ,  BPF_JNE,  BPF_JGT,  BPF_JGE,  BPF_JLT, BPF_JLE,
			       BPF_JSGT, BPF_JSGE, BPF_JSLT, BPF_JSLE, BPF_JSET};

static uint32_t any_jump(struct gen *g, int dst)
{
	int cls = rnd(g, 3) ? BPF_JMP : BPF_JMP32;

	if (rnd(g, 3))
		return jump(g, cls | jccs[rnd(g, sizeof(jccs))] | BPF_K, dst, 0, value(g));
	return jump(g, cls | jccs[rnd(g, sizeof(jccs))] | BPF_X, dst, num(g), 0);
}

static void unknown(struct gen *g, int dst)
{
	static const int sizes[] = {BPF_B, BPF_H, BPF_W, BPF_DW};

	map_value(g, dst, g->array, 0);
	emit(g, BPF_LDX | sizes[rnd(g, 4)] | (rnd(g, 5) ? BPF_MEM : BPF_MEM), dst, dst,
	     8 * (int)rnd(g, GEN_VALUE / 8), 0);
}

static void arith(struct gen *g)
{
	static const uint8_t ops[] = {BPF_ADD, BPF_SUB, BPF_MUL, BPF_DIV, BPF_OR,  BPF_AND,
				      BPF_LSH, BPF_RSH, BPF_MOD, BPF_XOR, BPF_MOV, BPF_ARSH,
				      BPF_NEG, BPF_END, BPF_AND, BPF_ADD, BPF_MOV};
	uint8_t op = ops[rnd(g, sizeof(ops))];
	int cls = rnd(g, 3) ? BPF_ALU64 : BPF_ALU, dst = num(g), off = 0;
	int32_t imm = value(g);

	if (op == BPF_NEG) {
		emit(g, cls | op, dst, 0, 0, 0);
	} else if (op == BPF_END) {
		emit(g, BPF_ALU | op | (rnd(g, 2) ? BPF_TO_BE : BPF_TO_LE), dst, 0, 0,
		     16 << rnd(g, 3));
	} else if (op == BPF_LSH || op == BPF_RSH || op == BPF_ARSH) {
		emit(g, cls | op | BPF_K, dst, 0, 0, (int32_t)rnd(g, cls == BPF_ALU ? 32 : 64));
	} else if (rnd(g, 2)) {
		if (op == BPF_MOV && !rnd(g, 3))
			off = cls == BPF_ALU ? 8 << rnd(g, 2) : 8 << rnd(g, 3);
		emit(g, cls | op | BPF_X, dst, num(g),
		     op == BPF_DIV || op == BPF_MOD ? (int)rnd(g, 2) : off, 0);
	} else {
		if ((op == BPF_DIV || op == BPF_MOD) && !imm)
			imm = 3;
		emit(g, cls | op | BPF_K, dst, 0,
		     op == BPF_DIV || op == BPF_MOD ? (int)rnd(g, 2) : 0, imm);
	}
}

/* Tries to bring register r into [0, limit]. Returns a jump to patch, or -1. */
static int bound(struct gen *g, int r, int32_t limit)
{
	int32_t mask = 1;
	int other, jmp;

	while (mask * 2 + 1 <= limit)
		mask = mask * 2 + 1;
	/* Sometimes one too far: that must be found out. */
	limit += !rnd(g, 12) - !rnd(g, 4);
	switch (rnd(g, 12)) {
	case 0:
		emit(g, BPF_ALU64 | BPF_AND | BPF_K, r, 0, 0, mask);
		return -1;
	case 1:
		emit(g, BPF_ALU | BPF_AND | BPF_K, r, 0, 0, mask);
		return -1;
	case 2:
		return (int)jump(g, BPF_JMP | BPF_JGT | BPF_K, r, 0, limit);
	case 3:
		return (int)jump(g, BPF_JMP | BPF_JGE | BPF_K, r, 0, limit + 1);
	case 4: /* signed, both sides */
		emit(g, BPF_JMP | BPF_JSGE | BPF_K, r, 0, 1, 0);
		MOVK(r, rnd(g, 8) ? 0 : -1);
		return (int)jump(g, BPF_JMP | BPF_JSGT | BPF_K, r, 0, limit);
	case 5: /* 32 bits, then zero-extended */
		jmp = (int)jump(g, BPF_JMP32 | BPF_JGT | BPF_K, r, 0, limit);
		if (rnd(g, 6))
			emit(g, BPF_ALU | BPF_MOV | BPF_X, r, r, 0, 0);
		return jmp;
	case 6: /* through a copy */
		other = rnd(g, 5);
		MOVX(other, r);
		return (int)jump(g, BPF_JMP | BPF_JGT | BPF_K, other, 0, limit);
	case 7: /* through a sum */
		other = rnd(g, 5);
		MOVX(other, r);
		ADDK(other, (int32_t)rnd(g, 8));
		return (int)jump(g, BPF_JMP | BPF_JGT | BPF_K, other, 0, limit);
	case 8:
		emit(g, BPF_ALU64 | BPF_RSH | BPF_K, r, 0, 0,
		     64 - __builtin_popcount((unsigned)mask));
		return -1;
	case 9: /* against a register */
		other = rnd(g, 5);
		MOVK(other, limit);
		return (int)jump(g, BPF_JMP | BPF_JGT | BPF_X, r, other, 0);
	case 10: /* equality, through the stack */
		emit(g, BPF_STX | BPF_DW | BPF_MEM, 10, r, -32, 0);
		jmp = (int)jump(g, BPF_JMP | BPF_JGT | BPF_K, r, 0, limit);
		emit(g, BPF_LDX | BPF_DW | BPF_MEM, r, 10, -32, 0);
		return jmp;
	default: /* bits, then comparison with them */
		emit(g, BPF_ALU64 | BPF_AND | BPF_K, r, 0, 0, value(g));
		return (int)jump(g, BPF_JMP | BPF_JGT | BPF_K, r, 0, limit);
	}
}

/* Takes register r's value another way round: what is known of it must go the same way. */
static void detour(struct gen *g, int r)
{
	int other = (r + 1 + (int)rnd(g, 4)) % 6, off = -120 - 8 * (int)rnd(g, 3);
	int32_t k = (int32_t)rnd(g, 64);

	switch (rnd(g, 10)) {
	case 0:
		MOVX(other, r);
		MOVK(r, 1000);
		MOVX(r, other);
		break;
	case 1:
		emit(g, BPF_STX | BPF_DW | BPF_MEM, 10, r, off, 0);
		MOVK(r, 1000);
		emit(g, BPF_LDX | BPF_DW | BPF_MEM, r, 10, off, 0);
		break;
	case 2:
		emit(g, BPF_STX | BPF_W | BPF_MEM, 10, r, off, 0);
		emit(g, BPF_LDX | BPF_W | BPF_MEM, r, 10, off, 0);
		break;
	case 3: /* out of the sum of two */
		MOVK(other, k);
		ADDX(r, other);
		emit(g, BPF_ALU64 | BPF_SUB | BPF_X, r, other, 0, 0);
		break;
	case 4:
		ADDK(r, k);
		ADDK(r, -k);
		break;
	case 5:
		emit(g, BPF_ALU | BPF_MOV | BPF_X, r, r, 0, 0);
		break;
	case 6:
		MOVX(other, r);
		emit(g, BPF_ALU64 | BPF_NEG, r, 0, 0, 0);
		emit(g, BPF_ALU64 | BPF_NEG, r, 0, 0, 0);
		break;
	case 7: /* a part of what was stored is replaced */
		emit(g, BPF_STX | BPF_DW | BPF_MEM, 10, r, off, 0);
		emit(g, BPF_ST | (rnd(g, 2) ? BPF_B : BPF_H) | BPF_MEM, 10, 0,
		     off + 2 * (int)rnd(g, 4), value(g));
		emit(g, BPF_LDX | BPF_DW | BPF_MEM, r, 10, off, 0);
		break;
	case 8: /* equal to another number */
		MOVX(other, rnd(g, 2) ? 8 : 9);
		emit(g, BPF_JMP | BPF_JNE | BPF_X, other, r, 1, 0);
		MOVX(r, other);
		break;
	default:
		break;
	}
}

/* Loads or stores size bytes at base + idx + off, for either kind of memory. */
static void touch(struct gen *g, int base, int size, int off)
{
	static const int codes[] = {[1] = BPF_B, [2] = BPF_H, [4] = BPF_W, [8] = BPF_DW};

	switch (rnd(g, 5)) {
	case 0:
		emit(g, BPF_ST | codes[size] | BPF_MEM, base, 0, off, value(g));
		break;
	case 1:
		emit(g, BPF_STX | codes[size] | BPF_MEM, base, 8 + (int)rnd(g, 2), off, 0);
		break;
	case 2:
		if (size < 8) {
			emit(g, BPF_LDX | codes[size] | BPF_MEMSX, 8 + (int)rnd(g, 2), base, off,
			     0);
			break;
		}
		/* fallthrough */
	default:
		emit(g, BPF_LDX | codes[size] | BPF_MEM, 8 + (int)rnd(g, 2), base, off, 0);
		break;
	}
}

/* R0 to R5 are numbers again. */
static void refill(struct gen *g)
{
	for (int r = 0; r <= 5; r++)
		if (rnd(g, 3))
			MOVK(r, value(g));
		else
			unknown(g, r);
}

static void index_map(struct gen *g)
{
	int size = 1 << rnd(g, 4), off = rnd(g, 16) ? (int)rnd(g, 8) : -(int)rnd(g, 5), idx = 5, j;
	int32_t limit = GEN_VALUE - size - off;

	MOVX(idx, num(g));
	j = bound(g, idx, limit);
	map_value(g, 7, g->array, 0);
	if (rnd(g, 2)) {
		ADDX(7, idx);
		touch(g, 7, size, off);
	} else {
		/* The pointer is moved on and back. */
		ADDK(7, off);
		ADDX(7, idx);
		touch(g, 7, size, 0);
	}
	if (j >= 0)
		patch(g, (uint32_t)j);
	MOVK(7, 0);
}

/* Something that does nothing, so that states are remembered and compared. */
static void between(struct gen *g)
{
	for (int i = (int)rnd(g, 4); i > 0; i--) {
		uint32_t j = any_jump(g, 8 + (int)rnd(g, 2));

		emit(g, BPF_ST | BPF_W | BPF_MEM, 10, 0, -4, 1);
		patch(g, j);
	}
}

/* On one of two ways register r becomes v. */
static void or_else(struct gen *g, int r, int32_t v)
{
	uint32_t j = any_jump(g, 8);

	MOVK(r, v);
	patch(g, j);
	between(g);
}

static int32_t fine_or_not(struct gen *g, int size)
{
	return rnd(g, 2) ? (int32_t)rnd(g, (uint32_t)(GEN_VALUE - size + 1)) : value(g);
}

/* Touches the array at an index. */
static void at_index(struct gen *g, int idx, int size, int off)
{
	map_value(g, 7, g->array, 0);
	ADDX(7, idx);
	touch(g, 7, size, off);
	MOVK(7, 0);
}

static void sub_call(struct gen *g);

/* What two ways leave differently, and what must not be forgotten where they meet. */
static void meeting(struct gen *g)
{
	int size = 1 << rnd(g, 4), slot = -120 - 8 * (int)rnd(g, 2), j, k;
	uint32_t out[3], n = 0, over;

	switch (rnd(g, 7)) {
	case 0: /* the limit of a comparison */
		MOVX(4, 9);
		MOVK(5, fine_or_not(g, size));
		or_else(g, 5, fine_or_not(g, size));
		out[n++] = jump(g, (rnd(g, 3) ? BPF_JMP : BPF_JMP32) | BPF_JGT | BPF_X, 4, 5, 0);
		at_index(g, 4, size, 0);
		break;
	case 1: /* how far a packet goes */
		k = size + (int)rnd(g, 8);
		emit(g, BPF_LDX | BPF_W | BPF_MEM, 7, 6, offsetof(struct xdp_md, data), 0);
		emit(g, BPF_LDX | BPF_W | BPF_MEM, 3, 6, offsetof(struct xdp_md, data_end), 0);
		for (int i = 0; i < 2; i++) {
			over = i ? any_jump(g, 8) : 0;
			MOVX(4, 7);
			ADDK(4, i || rnd(g, 2) ? k : size);
			out[n++] = jump(g, BPF_JMP | BPF_JGT | BPF_X, 4, 3, 0);
			if (i)
				patch(g, over);
		}
		between(g);
		touch(g, 7, size, k - size);
		break;
	case 2: /* whether a pointer was checked */
		emit(g, BPF_STX | BPF_W | BPF_MEM, 10, 8, -4, 0);
		MOVX(2, 10);
		ADDK(2, -4);
		map_ptr(g, 1, g->hash);
		CALL(BPF_FUNC_map_lookup_elem);
		MOVX(7, 0);
		over = any_jump(g, 8);
		out[n++] = jump(g, BPF_JMP | BPF_JEQ | BPF_K, 7, 0, 0);
		patch(g, over);
		MOVK(0, 0);
		between(g);
		if (!rnd(g, 3))
			out[n++] = jump(g, BPF_JMP | BPF_JEQ | BPF_K, 7, 0, 0);
		touch(g, 7, size, 0);
		break;
	case 3: /* which slot was written */
		emit(g, BPF_ST | BPF_DW | BPF_MEM, 10, 0, -120, (int32_t)rnd(g, 8));
		emit(g, BPF_ST | BPF_DW | BPF_MEM, 10, 0, -128, fine_or_not(g, size));
		over = any_jump(g, 8);
		emit(g, BPF_ST | BPF_DW | BPF_MEM, 10, 0, -128, fine_or_not(g, size));
		patch(g, over);
		between(g);
		MOVX(7, 10);
		ADDK(7, -120);
		over = any_jump(g, 8);
		MOVX(7, 10);
		ADDK(7, -128);
		patch(g, over);
		emit(g, BPF_ST | BPF_DW | BPF_MEM, 7, 0, 0, (int32_t)rnd(g, 8));
		between(g);
		emit(g, BPF_LDX | BPF_DW | BPF_MEM, 5, 10, slot, 0);
		at_index(g, 5, size, 0);
		break;
	case 4: /* zeros, over which something may be written */
		for (int i = 0; i < 8; i++)
			emit(g, BPF_ST | BPF_B | BPF_MEM, 10, 0, -128 + i, 0);
		MOVX(5, 9);
		emit(g, BPF_ALU64 | BPF_AND | BPF_K, 5, 0, 0, 7);
		MOVX(7, 10);
		ADDK(7, -128);
		ADDX(7, 5);
		emit(g, BPF_STX | BPF_B | BPF_MEM, 7, rnd(g, 3) ? 8 : 0, 0, 0);
		k = (int)rnd(g, 8);
		emit(g, BPF_LDX | BPF_B | BPF_MEM, 5, 10, -128 + k, 0);
		at_index(g, 5, size, 0);
		break;
	case 5: /* a helper writes somewhere on the stack */
		MOVX(5, 8);
		j = bound(g, 5, GEN_VALUE - size);
		emit(g, BPF_STX | BPF_DW | BPF_MEM, 10, 5, -120, 0);
		emit(g, BPF_STX | BPF_DW | BPF_MEM, 10, 5, -128, 0);
		MOVX(3, 9);
		emit(g, BPF_ALU64 | BPF_AND | BPF_K, 3, 0, 0, 8);
		ADDX(3, 10);
		ADDK(3, -128);
		MOVX(1, 6);
		MOVK(2, (int32_t)rnd(g, 8));
		MOVK(4, 1 + (int32_t)rnd(g, 8));
		CALL(BPF_FUNC_xdp_load_bytes);
		emit(g, BPF_LDX | BPF_DW | BPF_MEM, 5, 10, slot, 0);
		at_index(g, 5, size, 0);
		if (j >= 0)
			patch(g, (uint32_t)j);
		break;
	default: /* a number that rests in the caller, or comes out of a function */
		if (g->in_sub)
			break;
		MOVK(9, fine_or_not(g, size));
		or_else(g, 9, fine_or_not(g, size));
		emit(g, BPF_STX | BPF_DW | BPF_MEM, 10, 9, -112, 0);
		if (rnd(g, 2))
			MOVK(9, 0);
		between(g);
		sub_call(g);
		if (rnd(g, 2))
			MOVX(5, 0);
		else if (rnd(g, 2))
			MOVX(5, 9);
		else
			emit(g, BPF_LDX | BPF_DW | BPF_MEM, 5, 10, -112, 0);
		at_index(g, 5, size, 0);
		break;
	}
	while (n)
		patch(g, out[--n]);
	MOVK(7, 0);
	refill(g);
}

/* Atomic operations, and what they give back. */
static void atomic(struct gen *g)
{
	static const int ops[] = {BPF_ADD,
				  BPF_OR,
				  BPF_AND,
				  BPF_XOR,
				  BPF_ADD | BPF_FETCH,
				  BPF_OR | BPF_FETCH,
				  BPF_AND | BPF_FETCH,
				  BPF_XOR | BPF_FETCH,
				  BPF_XCHG,
				  BPF_CMPXCHG};
	int op = ops[rnd(g, 10)], w = rnd(g, 2) ? BPF_DW : BPF_W, size = 1 << rnd(g, 4);
	int got = op == BPF_CMPXCHG ? 0 : 5;

	MOVK(5, (int32_t)rnd(g, (uint32_t)(GEN_VALUE - size + 1)));
	MOVK(0, (int32_t)rnd(g, 8));
	if (rnd(g, 2)) {
		map_value(g, 7, g->array, 0);
		emit(g, BPF_STX | w | BPF_ATOMIC, 7, 5, 8 * (int)rnd(g, GEN_VALUE / 8), op);
	} else {
		emit(g, BPF_ST | BPF_DW | BPF_MEM, 10, 0, -120, fine_or_not(g, size));
		between(g);
		emit(g, BPF_STX | w | BPF_ATOMIC, 10, 5, -120, op);
		if (rnd(g, 2))
			emit(g, BPF_LDX | w | BPF_MEM, got, 10, -120, 0);
	}
	at_index(g, got, size, 0);
	refill(g);
}

/* The index is one number or another, depending on what happened; both may be fine. */
static void joined(struct gen *g)
{
	int size = 1 << rnd(g, 4), idx = (int)rnd(g, 6), j = -1;
	int32_t fine = (int32_t)rnd(g, (uint32_t)(GEN_VALUE - size + 1));
	int32_t other = rnd(g, 2) ? (int32_t)rnd(g, (uint32_t)(GEN_VALUE - size + 1)) : value(g);
	uint32_t branch = 0, times = 1 + rnd(g, 2);

	if (rnd(g, 3))
		MOVK(idx, rnd(g, 2) ? fine : other);
	else
		MOVX(idx, num(g));
	while (times--) {
		branch = any_jump(g, 8 + (int)rnd(g, 2));
		if (rnd(g, 3))
			MOVK(idx, rnd(g, 2) ? fine : other);
		else
			MOVX(idx, num(g));
		patch(g, branch);
		detour(g, idx);
	}
	between(g);
	if (!rnd(g, 3))
		j = bound(g, idx, GEN_VALUE - size);
	detour(g, idx);
	map_value(g, 7, g->array, 0);
	ADDX(7, idx);
	touch(g, 7, size, 0);
	if (j >= 0)
		patch(g, (uint32_t)j);
	MOVK(7, 0);
	refill(g);
}

/* Two copies, one of them changed; what is learnt of one holds for the other only if not. */
static void linked(struct gen *g)
{
	static const uint8_t ops[] = {BPF_NEG, BPF_ADD, BPF_SUB, BPF_XOR, BPF_RSH,
				      BPF_MUL, BPF_END, BPF_OR,  BPF_AND};
	int a = (int)rnd(g, 3), b = 3 + (int)rnd(g, 3), size = 1 << rnd(g, 4), j, way;
	uint8_t op = ops[rnd(g, sizeof(ops))];
	int32_t k = 1 + (int32_t)rnd(g, 12);

	MOVX(a, 8);
	if (rnd(g, 2))
		emit(g, BPF_ALU64 | BPF_AND | BPF_K, a, 0, 0, value(g));
	switch (rnd(g, 6)) {
	case 0:
		emit(g, BPF_ALU | BPF_MOV | BPF_X, b, a, 0, 0);
		break;
	case 1:
		emit(g, BPF_ALU64 | BPF_MOV | BPF_X, b, a, 8 << rnd(g, 3), 0);
		op = BPF_MOV;
		break;
	case 2:
	case 3: /* on one way it is another number */
		unknown(g, b);
		way = (int)any_jump(g, 9);
		MOVX(b, a);
		patch(g, (uint32_t)way);
		between(g);
		between(g);
		if (rnd(g, 2)) {
			way = (int)jump(g, BPF_JMP | BPF_JGT | BPF_K, a, 0, GEN_VALUE - size);
			at_index(g, b, size, 0);
			patch(g, (uint32_t)way);
		}
		op = BPF_MOV;
		break;
	default:
		MOVX(b, a);
	}
	if (op == BPF_MOV)
		;
	else if (op == BPF_END)
		emit(g, BPF_ALU | op | BPF_TO_BE, b, 0, 0, 16 << rnd(g, 3));
	else
		emit(g, (rnd(g, 3) ? BPF_ALU64 : BPF_ALU) | op | BPF_K, b, 0, 0,
		     op == BPF_NEG ? 0 : k);
	if (rnd(g, 2))
		detour(g, b);
	j = bound(g, rnd(g, 4) ? a : b, GEN_VALUE - size);
	map_value(g, 7, g->array, 0);
	ADDX(7, rnd(g, 4) ? b : a);
	touch(g, 7, size, 0);
	if (j >= 0)
		patch(g, (uint32_t)j);
	MOVK(7, 0);
	refill(g);
}

/* Two lookups; only one is checked, or each by itself. */
static void lookups(struct gen *g)
{
	int size = 1 << rnd(g, 4), first = (int)rnd(g, 2);
	uint32_t j;

	for (int i = 0; i < 2; i++) {
		emit(g, BPF_STX | BPF_W | BPF_MEM, 10, 8, -4, 0);
		MOVX(2, 10);
		ADDK(2, -4);
		map_ptr(g, 1, rnd(g, 2) ? g->hash : g->array);
		CALL(BPF_FUNC_map_lookup_elem);
		emit(g, BPF_STX | BPF_DW | BPF_MEM, 10, 0, -80 - 8 * i, 0);
	}
	emit(g, BPF_LDX | BPF_DW | BPF_MEM, 1, 10, -80 - 8 * first, 0);
	j = jump(g, BPF_JMP | BPF_JEQ | BPF_K, 1, 0, 0);
	emit(g, BPF_LDX | BPF_DW | BPF_MEM, 7, 10, -80 - 8 * (rnd(g, 4) ? first : !first), 0);
	touch(g, 7, size, 0);
	patch(g, j);
	MOVK(7, 0);
	refill(g);
}

static void lookup(struct gen *g)
{
	int size = 1 << rnd(g, 4);
	uint32_t j;

	if (rnd(g, 2))
		emit(g, BPF_ST | BPF_W | BPF_MEM, 10, 0, -4, (int32_t)rnd(g, 4));
	else
		emit(g, BPF_STX | BPF_W | BPF_MEM, 10, num(g), -4, 0);
	MOVX(2, 10);
	ADDK(2, -4);
	map_ptr(g, 1, rnd(g, 2) ? g->hash : g->array);
	CALL(BPF_FUNC_map_lookup_elem);
	if (!rnd(g, 10)) {
		touch(g, 0, size, 0);
		refill(g);
		return;
	}
	MOVX(7, 0);
	if (!rnd(g, 10))
		ADDK(7, 4 * (int)rnd(g, 4));
	if (rnd(g, 4))
		j = jump(g, BPF_JMP | BPF_JEQ | BPF_K, rnd(g, 2) ? 0 : 7, 0, 0);
	else {
		emit(g, BPF_JMP | BPF_JNE | BPF_K, 7, 0, 1, 0);
		j = jump(g, BPF_JMP | BPF_JA, 0, 0, 0);
	}
	touch(g, 7, size, (int)rnd(g, 8));
	patch(g, j);
	MOVK(7, 0);
	refill(g);
}

/* Moves the packet pointer after it was compared with the end. */
static void move(struct gen *g, int how)
{
	if (how == 0) {
		MOVX(1, 8);
		emit(g, BPF_ALU64 | BPF_AND | BPF_K, 1, 0, 0, 7);
		ADDX(7, 1);
	} else if (how == 1) {
		MOVX(1, 8);
		emit(g, BPF_ALU64 | BPF_AND | BPF_K, 1, 0, 0, 3);
		emit(g, BPF_ALU64 | BPF_SUB | BPF_X, 7, 1, 0, 0);
	} else if (how == 2) {
		ADDK(7, (int32_t)rnd(g, 5) - 2);
	}
}

static void packet(struct gen *g)
{
	static const uint8_t ops[] = {BPF_JGT, BPF_JGE, BPF_JLT, BPF_JLE};
	int len = 1 + (int)rnd(g, 24), size = 1 << rnd(g, 4), j = -1, moved;
	uint8_t op = ops[rnd(g, 4)];
	bool swap = rnd(g, 2), flip;
	uint32_t over;

	emit(g, BPF_LDX | BPF_W | BPF_MEM, 7, 6, offsetof(struct xdp_md, data), 0);
	emit(g, BPF_LDX | BPF_W | BPF_MEM, 3, 6, offsetof(struct xdp_md, data_end), 0);
	if (rnd(g, 2)) {
		MOVX(5, num(g));
		if (g->insn[g->n - 1].src_reg == 3 || g->insn[g->n - 1].src_reg == 5)
			MOVX(5, 8);
		j = bound(g, 5, 32);
		emit(g, BPF_LDX | BPF_W | BPF_MEM, 3, 6, offsetof(struct xdp_md, data_end), 0);
		ADDX(7, 5);
	}
	MOVX(4, 7);
	ADDK(4, len);
	moved = rnd(g, 8) ? -1 : (int)rnd(g, 3);
	/* Which way is it in the packet? pkt > end: fall through. */
	flip = (op == BPF_JLT || op == BPF_JLE) != swap;
	over = jump(g, BPF_JMP | op | BPF_X, swap ? 3 : 4, swap ? 4 : 3, 0);
	if (!rnd(g, 12))
		flip = !flip;
	if (flip) {
		uint32_t end = jump(g, BPF_JMP | BPF_JA, 0, 0, 0);

		patch(g, over);
		move(g, moved);
		touch(g, 7, size, len - size + !rnd(g, 8));
		patch(g, end);
	} else {
		move(g, moved);
		touch(g, 7, size, len - size + !rnd(g, 8));
		if (rnd(g, 2))
			touch(g, 4, size, -size);
		patch(g, over);
	}
	if (j >= 0)
		patch(g, (uint32_t)j);
	MOVK(7, 0);
	refill(g);
}

static void stack(struct gen *g)
{
	int size = 1 << rnd(g, 4), off = -40 - 8 * (int)rnd(g, 8), j, k;

	switch (rnd(g, 6)) {
	case 0: /* spill and fill, of equal or other size */
		emit(g, BPF_STX | BPF_DW | BPF_MEM, 10, num(g), off, 0);
		touch(g, 10, size, off);
		break;
	case 1:
		touch(g, 10, size, off + (size < 8 ? size * (int)rnd(g, 8u / (unsigned)size) : 0));
		break;
	case 2: /* a pointer rests on the stack */
		map_value(g, 7, g->array, 0);
		emit(g, BPF_STX | BPF_DW | BPF_MEM, 10, 7, off, 0);
		if (!rnd(g, 6))
			touch(g, 10, size, off);
		emit(g, BPF_LDX | BPF_DW | BPF_MEM, 5, 10, off, 0);
		touch(g, 5, size, (int)rnd(g, GEN_VALUE - 7));
		MOVK(5, 1);
		MOVK(7, 0);
		break;
	case 3: /* an index rests there while something may be written over it */
		k = -120 - 8 * (int)rnd(g, 3);
		MOVX(5, 8);
		j = bound(g, 5, GEN_VALUE - size);
		for (int i = 0; i < 3; i++)
			emit(g, BPF_STX | BPF_DW | BPF_MEM, 10, 5, -136 + 8 * i, 0);
		MOVX(4, 9);
		emit(g, BPF_ALU64 | BPF_AND | BPF_K, 4, 0, 0, 15);
		if (rnd(g, 2)) {
			MOVX(3, 10);
			ADDK(3, -136);
			ADDX(3, 4);
			emit(g, BPF_STX | (rnd(g, 2) ? BPF_B : BPF_H) | BPF_MEM, 3,
			     num(g) == 3 ? 8 : 9, 0, 0);
		} else {
			MOVX(1, 6);
			MOVK(2, (int32_t)rnd(g, 8));
			MOVX(3, 10);
			ADDK(3, -136 + 8 * (int)rnd(g, 2));
			MOVK(4, 1 + (int32_t)rnd(g, 8));
			CALL(BPF_FUNC_xdp_load_bytes);
		}
		emit(g, BPF_LDX | BPF_DW | BPF_MEM, 5, 10, k, 0);
		map_value(g, 7, g->array, 0);
		ADDX(7, 5);
		touch(g, 7, size, 0);
		if (j >= 0)
			patch(g, (uint32_t)j);
		MOVK(7, 0);
		refill(g);
		break;
	case 4: /* a number is narrowed on its way through the stack */
		MOVX(5, num(g));
		if (rnd(g, 2))
			emit(g, BPF_ALU64 | BPF_AND | BPF_K, 5, 0, 0, value(g));
		emit(g, BPF_STX | (rnd(g, 2) ? BPF_DW : BPF_W) | BPF_MEM, 10, 5, off, 0);
		k = 1 << rnd(g, 4);
		emit(g,
		     BPF_LDX |
			     (k == 1   ? BPF_B
			      : k == 2 ? BPF_H
			      : k == 4 ? BPF_W
				       : BPF_DW) |
			     (k < 8 && !rnd(g, 3) ? BPF_MEMSX : BPF_MEM),
		     4, 10, off + k * (rnd(g, 3) ? 0 : (int)rnd(g, 8u / (unsigned)k)), 0);
		j = bound(g, rnd(g, 2) ? 4 : 5, GEN_VALUE - size);
		map_value(g, 7, g->array, 0);
		ADDX(7, rnd(g, 2) ? 4 : 5);
		touch(g, 7, size, 0);
		if (j >= 0)
			patch(g, (uint32_t)j);
		MOVK(7, 0);
		refill(g);
		break;
	default: /* variable offset */
		for (int i = 0; i < 4; i++)
			emit(g, BPF_ST | BPF_DW | BPF_MEM, 10, 0, -72 + 8 * i, value(g));
		MOVX(5, num(g));
		j = bound(g, 5, 32 - size);
		MOVX(7, 10);
		ADDK(7, -72);
		ADDX(7, 5);
		touch(g, 7, 1, 0);
		if (j >= 0)
			patch(g, (uint32_t)j);
		MOVK(7, 0);
		MOVK(5, 0);
		break;
	}
}

static void statements(struct gen *g, int n);

static void branch(struct gen *g)
{
	uint32_t j = any_jump(g, num(g));

	statements(g, 1 + (int)rnd(g, 3));
	if (rnd(g, 2)) {
		uint32_t end = jump(g, BPF_JMP | BPF_JA, 0, 0, 0);

		patch(g, j);
		statements(g, 1 + (int)rnd(g, 2));
		patch(g, end);
	} else {
		patch(g, j);
	}
}

static void loop(struct gen *g)
{
	int step = 1 + (int)rnd(g, 3), times = 1 + (int)rnd(g, 12);
	uint32_t top;

	if (g->depth > 2)
		return;
	/* The counter is on the stack, so that the body may use all registers. */
	emit(g, BPF_ST | BPF_DW | BPF_MEM, 10, 0, -16 - 8 * (g->depth & 1), 0);
	top = g->n;
	statements(g, 1 + (int)rnd(g, 2));
	emit(g, BPF_LDX | BPF_DW | BPF_MEM, 4, 10, -16 - 8 * (g->depth & 1), 0);
	if (rnd(g, 2)) {
		map_value(g, 7, g->array, 0);
		ADDX(7, 4);
		touch(g, 7, 1, 0);
		MOVK(7, 0);
	}
	ADDK(4, step);
	emit(g, BPF_STX | BPF_DW | BPF_MEM, 10, 4, -16 - 8 * (g->depth & 1), 0);
	emit(g, BPF_JMP | (rnd(g, 4) ? BPF_JLT : BPF_JSLE) | BPF_K, 4, 0, (int)top - (int)g->n - 1,
	     times * step);
}

static void helper(struct gen *g)
{
	uint32_t j;

	switch (rnd(g, 5)) {
	case 0:
		CALL(BPF_FUNC_get_prandom_u32);
		MOVX(8, 0);
		break;
	case 1:
		MOVX(1, 6);
		MOVK(2, (int32_t)rnd(g, 9) - 4);
		CALL(BPF_FUNC_xdp_adjust_head);
		break;
	case 2:
		map_ptr(g, 1, g->ringbuf);
		MOVK(2, 16);
		MOVK(3, 0);
		CALL(BPF_FUNC_ringbuf_reserve);
		j = jump(g, BPF_JMP | BPF_JEQ | BPF_K, 0, 0, 0);
		MOVX(7, 0);
		touch(g, 7, 1 << rnd(g, 4), (int)rnd(g, 10));
		if (!rnd(g, 12)) {
			patch(g, any_jump(g, 8)); /* nothing depends on it */
		} else if (!rnd(g, 6)) {
			uint32_t over = any_jump(g, 8);

			MOVX(1, 7);
			MOVK(2, 1);
			CALL(BPF_FUNC_ringbuf_discard);
			patch(g, over);
		} else {
			MOVX(1, 7);
			MOVK(2, 1);
			CALL(BPF_FUNC_ringbuf_discard);
		}
		patch(g, j);
		break;
	case 3:
		emit(g, BPF_ST | BPF_W | BPF_MEM, 10, 0, -4, (int32_t)rnd(g, 8));
		emit(g, BPF_ST | BPF_DW | BPF_MEM, 10, 0, -104, value(g));
		map_ptr(g, 1, g->hash);
		MOVX(2, 10);
		ADDK(2, -4);
		MOVX(3, 10);
		ADDK(3, -104);
		MOVK(4, 0);
		CALL(BPF_FUNC_map_delete_elem);
		break;
	default:
		CALL(BPF_FUNC_get_smp_processor_id);
		MOVX(9, 0);
		break;
	}
	MOVK(7, 0);
	refill(g);
}

/* Calls the function with a number, and memory at fp-112. */
static void sub_call(struct gen *g)
{
	MOVX(1, 6);
	MOVX(2, 8);
	MOVX(3, 10);
	ADDK(3, -112);
	if (g->ncalls == 16 || g->n >= GEN_MAX - 300) {
		MOVK(0, 0);
		return;
	}
	g->calls[g->ncalls++] = g->n;
	emit(g, BPF_JMP | BPF_CALL, 0, BPF_PSEUDO_CALL, 0, 0);
}

static void call_sub(struct gen *g)
{
	if (g->in_sub || g->ncalls == 16)
		return;
	emit(g, BPF_ST | BPF_DW | BPF_MEM, 10, 0, -112, value(g));
	sub_call(g);
	MOVX(9, 0);
	emit(g, BPF_LDX | BPF_DW | BPF_MEM, 8, 10, -112, 0);
	MOVK(7, 0);
	refill(g);
}

static void statements(struct gen *g, int n)
{
	g->depth++;
	while (n-- > 0 && g->n < GEN_MAX - 256)
		switch (rnd(g, g->depth > 3 ? 16 : 22)) {
		case 0:
		case 1:
		case 2:
			arith(g);
			break;
		case 3:
			unknown(g, num(g));
			break;
		case 4:
			index_map(g);
			break;
		case 5:
			lookup(g);
			break;
		case 6:
			packet(g);
			break;
		case 7:
		case 8:
			stack(g);
			break;
		case 9:
			helper(g);
			break;
		case 10:
			joined(g);
			break;
		case 11:
			linked(g);
			break;
		case 12:
			lookups(g);
			break;
		case 13:
		case 14:
			meeting(g);
			break;
		case 15:
			atomic(g);
			break;
		case 16:
		case 17:
		case 18:
			branch(g);
			break;
		case 19:
			loop(g);
			break;
		case 20:
			call_sub(g);
			break;
		default:
			arith(g);
			arith(g);
			break;
		}
	g->depth--;
}

uint32_t gen_program(struct gen *g, uint64_t seed)
{
	g->rng = seed * 0x9e3779b97f4a7c15ull + 0x1234567;
	g->rng |= 1;
	g->n = g->ncalls = 0;
	g->depth = g->in_sub = 0;
	for (int i = 0; i < 8; i++)
		rnd(g, 2);
	MOVX(6, 1);
	MOVK(7, 0);
	unknown(g, 8);
	unknown(g, 9);
	refill(g);
	statements(g, 2 + (int)rnd(g, 7));
	MOVX(0, 8);
	emit(g, BPF_JMP | BPF_EXIT, 0, 0, 0, 0);
	if (g->ncalls) {
		uint32_t sub = g->n;

		g->in_sub = 1;
		MOVX(6, 1);
		MOVX(8, 2);
		MOVK(7, 0);
		/* What the caller's stack holds. */
		emit(g, BPF_LDX | BPF_DW | BPF_MEM, 9, 3, 0, 0);
		if (rnd(g, 2))
			touch(g, 3, 8, 0);
		if (!rnd(g, 3))
			at_index(g, 9, 1, 0);
		refill(g);
		statements(g, (int)rnd(g, 4));
		if (!rnd(g, 3)) {
			MOVK(8, fine_or_not(g, 1));
			or_else(g, 8, fine_or_not(g, 1));
		}
		MOVX(0, 8 + (int)rnd(g, 2));
		if (rnd(g, 2))
			emit(g, BPF_ALU64 | BPF_AND | BPF_K, 0, 0, 0, 31);
		emit(g, BPF_JMP | BPF_EXIT, 0, 0, 0, 0);
		for (uint32_t i = 0; i < g->ncalls; i++)
			g->insn[g->calls[i]].imm = (int32_t)(sub - g->calls[i] - 1);
	}
	return g->n;
}
