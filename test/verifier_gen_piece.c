/* SPDX-License-Identifier: Apache-2.0 */
#include "verifier_gen_piece.h"

uint32_t pick(struct gen *g, uint32_t n)
{
	g->rng ^= g->rng << 13;
	g->rng ^= g->rng >> 7;
	g->rng ^= g->rng << 17;
	return (uint32_t)((g->rng * 0x2545f4914f6cdd1dull) >> 33) % n;
}

void emit(struct gen *g, int code, int dst, int src, int off, int32_t imm)
{
	if (g->n >= GEN_MAX - 64)
		return;
	g->insn[g->n++] = (struct bpf_insn){.code = (uint8_t)code,
					    .dst_reg = dst & 15,
					    .src_reg = src & 15,
					    .off = (int16_t)off,
					    .imm = imm};
}

void map_ptr(struct gen *g, int dst, int fd)
{
	emit(g, BPF_LD | BPF_DW | BPF_IMM, dst, BPF_PSEUDO_MAP_FD, 0, fd);
	emit(g, 0, 0, 0, 0, 0);
}

void map_value(struct gen *g, int dst, int fd, int32_t off)
{
	emit(g, BPF_LD | BPF_DW | BPF_IMM, dst, BPF_PSEUDO_MAP_VALUE, 0, fd);
	emit(g, 0, 0, 0, 0, off);
}

uint32_t jump(struct gen *g, int code, int dst, int src, int32_t imm)
{
	emit(g, code, dst, src, 0, imm);
	return g->n - 1;
}

void patch(struct gen *g, uint32_t at)
{
	g->insn[at].off = (int16_t)(g->n - at - 1);
}

int num(struct gen *g)
{
	static const uint8_t regs[] = {0, 1, 2, 3, 4, 5, 8, 9, 8, 9};

	return regs[pick(g, sizeof(regs))];
}

int32_t value(struct gen *g)
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

	return pick(g, 3) ? v[pick(g, sizeof(v) / sizeof(*v))] : (int32_t)pick(g, 0xffffffffu);
}

static const uint8_t jccs[] = {BPF_JEQ,  BPF_JNE,  BPF_JGT,  BPF_JGE,  BPF_JLT, BPF_JLE,
			       BPF_JSGT, BPF_JSGE, BPF_JSLT, BPF_JSLE, BPF_JSET};

uint32_t any_jump(struct gen *g, int dst)
{
	int cls = pick(g, 3) ? BPF_JMP : BPF_JMP32;

	if (pick(g, 3))
		return jump(g, cls | jccs[pick(g, sizeof(jccs))] | BPF_K, dst, 0, value(g));
	return jump(g, cls | jccs[pick(g, sizeof(jccs))] | BPF_X, dst, num(g), 0);
}

void unknown(struct gen *g, int dst)
{
	static const int sizes[] = {BPF_B, BPF_H, BPF_W, BPF_DW};

	map_value(g, dst, g->array, 0);
	emit(g, BPF_LDX | sizes[pick(g, 4)] | (pick(g, 5) ? BPF_MEM : BPF_MEM), dst, dst,
	     8 * (int)pick(g, GEN_VALUE / 8), 0);
}

void arith(struct gen *g)
{
	static const uint8_t ops[] = {BPF_ADD, BPF_SUB, BPF_MUL, BPF_DIV, BPF_OR,  BPF_AND,
				      BPF_LSH, BPF_RSH, BPF_MOD, BPF_XOR, BPF_MOV, BPF_ARSH,
				      BPF_NEG, BPF_END, BPF_AND, BPF_ADD, BPF_MOV};
	uint8_t op = ops[pick(g, sizeof(ops))];
	int cls = pick(g, 3) ? BPF_ALU64 : BPF_ALU, dst = num(g), off = 0;
	int32_t imm = value(g);

	if (op == BPF_NEG) {
		emit(g, cls | op, dst, 0, 0, 0);
	} else if (op == BPF_END) {
		emit(g, BPF_ALU | op | (pick(g, 2) ? BPF_TO_BE : BPF_TO_LE), dst, 0, 0,
		     16 << pick(g, 3));
	} else if (op == BPF_LSH || op == BPF_RSH || op == BPF_ARSH) {
		emit(g, cls | op | BPF_K, dst, 0, 0, (int32_t)pick(g, cls == BPF_ALU ? 32 : 64));
	} else if (pick(g, 2)) {
		if (op == BPF_MOV && !pick(g, 3))
			off = cls == BPF_ALU ? 8 << pick(g, 2) : 8 << pick(g, 3);
		emit(g, cls | op | BPF_X, dst, num(g),
		     op == BPF_DIV || op == BPF_MOD ? (int)pick(g, 2) : off, 0);
	} else {
		if ((op == BPF_DIV || op == BPF_MOD) && !imm)
			imm = 3;
		emit(g, cls | op | BPF_K, dst, 0,
		     op == BPF_DIV || op == BPF_MOD ? (int)pick(g, 2) : 0, imm);
	}
}

int bound(struct gen *g, int r, int32_t limit)
{
	int32_t mask = 1;
	int other, jmp;

	while (mask * 2 + 1 <= limit)
		mask = mask * 2 + 1;
	/* Sometimes one too far: that must be found out. */
	limit += !pick(g, 12) - !pick(g, 4);
	switch (pick(g, 12)) {
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
		MOVK(r, pick(g, 8) ? 0 : -1);
		return (int)jump(g, BPF_JMP | BPF_JSGT | BPF_K, r, 0, limit);
	case 5: /* 32 bits, then zero-extended */
		jmp = (int)jump(g, BPF_JMP32 | BPF_JGT | BPF_K, r, 0, limit);
		if (pick(g, 6))
			emit(g, BPF_ALU | BPF_MOV | BPF_X, r, r, 0, 0);
		return jmp;
	case 6: /* through a copy */
		other = pick(g, 5);
		MOVX(other, r);
		return (int)jump(g, BPF_JMP | BPF_JGT | BPF_K, other, 0, limit);
	case 7: /* through a sum */
		other = pick(g, 5);
		MOVX(other, r);
		ADDK(other, (int32_t)pick(g, 8));
		return (int)jump(g, BPF_JMP | BPF_JGT | BPF_K, other, 0, limit);
	case 8:
		emit(g, BPF_ALU64 | BPF_RSH | BPF_K, r, 0, 0,
		     64 - __builtin_popcount((unsigned)mask));
		return -1;
	case 9: /* against a register */
		other = pick(g, 5);
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

void detour(struct gen *g, int r)
{
	int other = (r + 1 + (int)pick(g, 4)) % 6, off = -120 - 8 * (int)pick(g, 3);
	int32_t k = (int32_t)pick(g, 64);

	switch (pick(g, 10)) {
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
		emit(g, BPF_ST | (pick(g, 2) ? BPF_B : BPF_H) | BPF_MEM, 10, 0,
		     off + 2 * (int)pick(g, 4), value(g));
		emit(g, BPF_LDX | BPF_DW | BPF_MEM, r, 10, off, 0);
		break;
	case 8: /* equal to another number */
		MOVX(other, pick(g, 2) ? 8 : 9);
		emit(g, BPF_JMP | BPF_JNE | BPF_X, other, r, 1, 0);
		MOVX(r, other);
		break;
	default:
		break;
	}
}

void touch(struct gen *g, int base, int size, int off)
{
	static const int codes[] = {[1] = BPF_B, [2] = BPF_H, [4] = BPF_W, [8] = BPF_DW};

	switch (pick(g, 5)) {
	case 0:
		emit(g, BPF_ST | codes[size] | BPF_MEM, base, 0, off, value(g));
		break;
	case 1:
		emit(g, BPF_STX | codes[size] | BPF_MEM, base, 8 + (int)pick(g, 2), off, 0);
		break;
	case 2:
		if (size < 8) {
			emit(g, BPF_LDX | codes[size] | BPF_MEMSX, 8 + (int)pick(g, 2), base, off,
			     0);
			break;
		}
		/* fallthrough */
	default:
		emit(g, BPF_LDX | codes[size] | BPF_MEM, 8 + (int)pick(g, 2), base, off, 0);
		break;
	}
}

void refill(struct gen *g)
{
	for (int r = 0; r <= 5; r++)
		if (pick(g, 3))
			MOVK(r, value(g));
		else
			unknown(g, r);
}

void between(struct gen *g)
{
	for (int i = (int)pick(g, 4); i > 0; i--) {
		uint32_t j = any_jump(g, 8 + (int)pick(g, 2));

		emit(g, BPF_ST | BPF_W | BPF_MEM, 10, 0, -4, 1);
		patch(g, j);
	}
}

void or_else(struct gen *g, int r, int32_t v)
{
	uint32_t j = any_jump(g, 8);

	MOVK(r, v);
	patch(g, j);
	between(g);
}

int32_t fine_or_not(struct gen *g, int size)
{
	return pick(g, 2) ? (int32_t)pick(g, (uint32_t)(GEN_VALUE - size + 1)) : value(g);
}

void at_index(struct gen *g, int idx, int size, int off)
{
	map_value(g, 7, g->array, 0);
	ADDX(7, idx);
	touch(g, 7, size, off);
	MOVK(7, 0);
}
