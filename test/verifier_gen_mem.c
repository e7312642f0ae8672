/* SPDX-License-Identifier: Apache-2.0 */
/* Memory, rightly and wrongly reached. What makes an index bounded is chosen at random. */
#include "verifier_gen_piece.h"

void index_map(struct gen *g)
{
	int size = 1 << pick(g, 4), off = pick(g, 16) ? (int)pick(g, 8) : -(int)pick(g, 5), idx = 5,
	    j;
	int32_t limit = GEN_VALUE - size - off;

	MOVX(idx, num(g));
	j = bound(g, idx, limit);
	map_value(g, 7, g->array, 0);
	if (pick(g, 2)) {
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

void meeting(struct gen *g)
{
	int size = 1 << pick(g, 4), slot = -120 - 8 * (int)pick(g, 2), j, k;
	uint32_t out[3], n = 0, over;

	switch (pick(g, 7)) {
	case 0: /* the limit of a comparison */
		MOVX(4, 9);
		MOVK(5, fine_or_not(g, size));
		or_else(g, 5, fine_or_not(g, size));
		out[n++] = jump(g, (pick(g, 3) ? BPF_JMP : BPF_JMP32) | BPF_JGT | BPF_X, 4, 5, 0);
		at_index(g, 4, size, 0);
		break;
	case 1: /* how far a packet goes */
		k = size + (int)pick(g, 8);
		emit(g, BPF_LDX | BPF_W | BPF_MEM, 7, 6, offsetof(struct xdp_md, data), 0);
		emit(g, BPF_LDX | BPF_W | BPF_MEM, 3, 6, offsetof(struct xdp_md, data_end), 0);
		for (int i = 0; i < 2; i++) {
			over = i ? any_jump(g, 8) : 0;
			MOVX(4, 7);
			ADDK(4, i || pick(g, 2) ? k : size);
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
		if (!pick(g, 3))
			out[n++] = jump(g, BPF_JMP | BPF_JEQ | BPF_K, 7, 0, 0);
		touch(g, 7, size, 0);
		break;
	case 3: /* which slot was written */
		emit(g, BPF_ST | BPF_DW | BPF_MEM, 10, 0, -120, (int32_t)pick(g, 8));
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
		emit(g, BPF_ST | BPF_DW | BPF_MEM, 7, 0, 0, (int32_t)pick(g, 8));
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
		emit(g, BPF_STX | BPF_B | BPF_MEM, 7, pick(g, 3) ? 8 : 0, 0, 0);
		k = (int)pick(g, 8);
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
		MOVK(2, (int32_t)pick(g, 8));
		MOVK(4, 1 + (int32_t)pick(g, 8));
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
		if (pick(g, 2))
			MOVK(9, 0);
		between(g);
		sub_call(g);
		if (pick(g, 2))
			MOVX(5, 0);
		else if (pick(g, 2))
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

void atomic(struct gen *g)
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
	int op = ops[pick(g, 10)], w = pick(g, 2) ? BPF_DW : BPF_W, size = 1 << pick(g, 4);
	int got = op == BPF_CMPXCHG ? 0 : 5;

	MOVK(5, (int32_t)pick(g, (uint32_t)(GEN_VALUE - size + 1)));
	MOVK(0, (int32_t)pick(g, 8));
	if (pick(g, 2)) {
		map_value(g, 7, g->array, 0);
		emit(g, BPF_STX | w | BPF_ATOMIC, 7, 5, 8 * (int)pick(g, GEN_VALUE / 8), op);
	} else {
		emit(g, BPF_ST | BPF_DW | BPF_MEM, 10, 0, -120, fine_or_not(g, size));
		between(g);
		emit(g, BPF_STX | w | BPF_ATOMIC, 10, 5, -120, op);
		if (pick(g, 2))
			emit(g, BPF_LDX | w | BPF_MEM, got, 10, -120, 0);
	}
	at_index(g, got, size, 0);
	refill(g);
}

void joined(struct gen *g)
{
	int size = 1 << pick(g, 4), idx = (int)pick(g, 6), j = -1;
	int32_t fine = (int32_t)pick(g, (uint32_t)(GEN_VALUE - size + 1));
	int32_t other = pick(g, 2) ? (int32_t)pick(g, (uint32_t)(GEN_VALUE - size + 1)) : value(g);
	uint32_t branch = 0, times = 1 + pick(g, 2);

	if (pick(g, 3))
		MOVK(idx, pick(g, 2) ? fine : other);
	else
		MOVX(idx, num(g));
	while (times--) {
		branch = any_jump(g, 8 + (int)pick(g, 2));
		if (pick(g, 3))
			MOVK(idx, pick(g, 2) ? fine : other);
		else
			MOVX(idx, num(g));
		patch(g, branch);
		detour(g, idx);
	}
	between(g);
	if (!pick(g, 3))
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

void linked(struct gen *g)
{
	static const uint8_t ops[] = {BPF_NEG, BPF_ADD, BPF_SUB, BPF_XOR, BPF_RSH,
				      BPF_MUL, BPF_END, BPF_OR,  BPF_AND};
	int a = (int)pick(g, 3), b = 3 + (int)pick(g, 3), size = 1 << pick(g, 4), j, way;
	uint8_t op = ops[pick(g, sizeof(ops))];
	int32_t k = 1 + (int32_t)pick(g, 12);

	MOVX(a, 8);
	if (pick(g, 2))
		emit(g, BPF_ALU64 | BPF_AND | BPF_K, a, 0, 0, value(g));
	switch (pick(g, 6)) {
	case 0:
		emit(g, BPF_ALU | BPF_MOV | BPF_X, b, a, 0, 0);
		break;
	case 1:
		emit(g, BPF_ALU64 | BPF_MOV | BPF_X, b, a, 8 << pick(g, 3), 0);
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
		if (pick(g, 2)) {
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
		emit(g, BPF_ALU | op | BPF_TO_BE, b, 0, 0, 16 << pick(g, 3));
	else
		emit(g, (pick(g, 3) ? BPF_ALU64 : BPF_ALU) | op | BPF_K, b, 0, 0,
		     op == BPF_NEG ? 0 : k);
	if (pick(g, 2))
		detour(g, b);
	j = bound(g, pick(g, 4) ? a : b, GEN_VALUE - size);
	map_value(g, 7, g->array, 0);
	ADDX(7, pick(g, 4) ? b : a);
	touch(g, 7, size, 0);
	if (j >= 0)
		patch(g, (uint32_t)j);
	MOVK(7, 0);
	refill(g);
}

void lookups(struct gen *g)
{
	int size = 1 << pick(g, 4), first = (int)pick(g, 2);
	uint32_t j;

	for (int i = 0; i < 2; i++) {
		emit(g, BPF_STX | BPF_W | BPF_MEM, 10, 8, -4, 0);
		MOVX(2, 10);
		ADDK(2, -4);
		map_ptr(g, 1, pick(g, 2) ? g->hash : g->array);
		CALL(BPF_FUNC_map_lookup_elem);
		emit(g, BPF_STX | BPF_DW | BPF_MEM, 10, 0, -80 - 8 * i, 0);
	}
	emit(g, BPF_LDX | BPF_DW | BPF_MEM, 1, 10, -80 - 8 * first, 0);
	j = jump(g, BPF_JMP | BPF_JEQ | BPF_K, 1, 0, 0);
	emit(g, BPF_LDX | BPF_DW | BPF_MEM, 7, 10, -80 - 8 * (pick(g, 4) ? first : !first), 0);
	touch(g, 7, size, 0);
	patch(g, j);
	MOVK(7, 0);
	refill(g);
}

void lookup(struct gen *g)
{
	int size = 1 << pick(g, 4);
	uint32_t j;

	if (pick(g, 2))
		emit(g, BPF_ST | BPF_W | BPF_MEM, 10, 0, -4, (int32_t)pick(g, 4));
	else
		emit(g, BPF_STX | BPF_W | BPF_MEM, 10, num(g), -4, 0);
	MOVX(2, 10);
	ADDK(2, -4);
	map_ptr(g, 1, pick(g, 2) ? g->hash : g->array);
	CALL(BPF_FUNC_map_lookup_elem);
	if (!pick(g, 10)) {
		touch(g, 0, size, 0);
		refill(g);
		return;
	}
	MOVX(7, 0);
	if (!pick(g, 10))
		ADDK(7, 4 * (int)pick(g, 4));
	if (pick(g, 4))
		j = jump(g, BPF_JMP | BPF_JEQ | BPF_K, pick(g, 2) ? 0 : 7, 0, 0);
	else {
		emit(g, BPF_JMP | BPF_JNE | BPF_K, 7, 0, 1, 0);
		j = jump(g, BPF_JMP | BPF_JA, 0, 0, 0);
	}
	touch(g, 7, size, (int)pick(g, 8));
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
		ADDK(7, (int32_t)pick(g, 5) - 2);
	}
}

void packet(struct gen *g)
{
	static const uint8_t ops[] = {BPF_JGT, BPF_JGE, BPF_JLT, BPF_JLE};
	int len = 1 + (int)pick(g, 24), size = 1 << pick(g, 4), j = -1, moved;
	uint8_t op = ops[pick(g, 4)];
	bool swap = pick(g, 2), flip;
	uint32_t over;

	emit(g, BPF_LDX | BPF_W | BPF_MEM, 7, 6, offsetof(struct xdp_md, data), 0);
	emit(g, BPF_LDX | BPF_W | BPF_MEM, 3, 6, offsetof(struct xdp_md, data_end), 0);
	if (pick(g, 2)) {
		MOVX(5, num(g));
		if (g->insn[g->n - 1].src_reg == 3 || g->insn[g->n - 1].src_reg == 5)
			MOVX(5, 8);
		j = bound(g, 5, 32);
		emit(g, BPF_LDX | BPF_W | BPF_MEM, 3, 6, offsetof(struct xdp_md, data_end), 0);
		ADDX(7, 5);
	}
	MOVX(4, 7);
	ADDK(4, len);
	moved = pick(g, 8) ? -1 : (int)pick(g, 3);
	/* Which way is it in the packet? pkt > end: fall through. */
	flip = (op == BPF_JLT || op == BPF_JLE) != swap;
	over = jump(g, BPF_JMP | op | BPF_X, swap ? 3 : 4, swap ? 4 : 3, 0);
	if (!pick(g, 12))
		flip = !flip;
	if (flip) {
		uint32_t end = jump(g, BPF_JMP | BPF_JA, 0, 0, 0);

		patch(g, over);
		move(g, moved);
		touch(g, 7, size, len - size + !pick(g, 8));
		patch(g, end);
	} else {
		move(g, moved);
		touch(g, 7, size, len - size + !pick(g, 8));
		if (pick(g, 2))
			touch(g, 4, size, -size);
		patch(g, over);
	}
	if (j >= 0)
		patch(g, (uint32_t)j);
	MOVK(7, 0);
	refill(g);
}

void stack(struct gen *g)
{
	int size = 1 << pick(g, 4), off = -40 - 8 * (int)pick(g, 8), j, k;

	switch (pick(g, 6)) {
	case 0: /* spill and fill, of equal or other size */
		emit(g, BPF_STX | BPF_DW | BPF_MEM, 10, num(g), off, 0);
		touch(g, 10, size, off);
		break;
	case 1:
		touch(g, 10, size, off + (size < 8 ? size * (int)pick(g, 8u / (unsigned)size) : 0));
		break;
	case 2: /* a pointer rests on the stack */
		map_value(g, 7, g->array, 0);
		emit(g, BPF_STX | BPF_DW | BPF_MEM, 10, 7, off, 0);
		if (!pick(g, 6))
			touch(g, 10, size, off);
		emit(g, BPF_LDX | BPF_DW | BPF_MEM, 5, 10, off, 0);
		touch(g, 5, size, (int)pick(g, GEN_VALUE - 7));
		MOVK(5, 1);
		MOVK(7, 0);
		break;
	case 3: /* an index rests there while something may be written over it */
		k = -120 - 8 * (int)pick(g, 3);
		MOVX(5, 8);
		j = bound(g, 5, GEN_VALUE - size);
		for (int i = 0; i < 3; i++)
			emit(g, BPF_STX | BPF_DW | BPF_MEM, 10, 5, -136 + 8 * i, 0);
		MOVX(4, 9);
		emit(g, BPF_ALU64 | BPF_AND | BPF_K, 4, 0, 0, 15);
		if (pick(g, 2)) {
			MOVX(3, 10);
			ADDK(3, -136);
			ADDX(3, 4);
			emit(g, BPF_STX | (pick(g, 2) ? BPF_B : BPF_H) | BPF_MEM, 3,
			     num(g) == 3 ? 8 : 9, 0, 0);
		} else {
			MOVX(1, 6);
			MOVK(2, (int32_t)pick(g, 8));
			MOVX(3, 10);
			ADDK(3, -136 + 8 * (int)pick(g, 2));
			MOVK(4, 1 + (int32_t)pick(g, 8));
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
		if (pick(g, 2))
			emit(g, BPF_ALU64 | BPF_AND | BPF_K, 5, 0, 0, value(g));
		emit(g, BPF_STX | (pick(g, 2) ? BPF_DW : BPF_W) | BPF_MEM, 10, 5, off, 0);
		k = 1 << pick(g, 4);
		emit(g,
		     BPF_LDX |
			     (k == 1   ? BPF_B
			      : k == 2 ? BPF_H
			      : k == 4 ? BPF_W
				       : BPF_DW) |
			     (k < 8 && !pick(g, 3) ? BPF_MEMSX : BPF_MEM),
		     4, 10, off + k * (pick(g, 3) ? 0 : (int)pick(g, 8u / (unsigned)k)), 0);
		j = bound(g, pick(g, 2) ? 4 : 5, GEN_VALUE - size);
		map_value(g, 7, g->array, 0);
		ADDX(7, pick(g, 2) ? 4 : 5);
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