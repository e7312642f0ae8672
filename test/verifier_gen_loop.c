/* SPDX-License-Identifier: Apache-2.0 */
/* Statements of random programs: loops that end because something else does. */
#include "verifier_gen_piece.h"

#define MAX_ITERS 2

/* Where the iterator of this depth lies. */
static void arg1(struct gen *g, int at)
{
	MOVX(1, 10);
	ADDK(1, at);
}

static void kfunc(struct gen *g, int which)
{
	emit(g, BPF_JMP | BPF_CALL, 0, BPF_PSEUDO_KFUNC_CALL, 0, (int32_t)g->kfunc[which]);
}

static void make(struct gen *g, int at, int kind)
{
	arg1(g, at);
	if (kind) {
		map_value(g, 2, g->array, 0);
		MOVK(3, (int32_t)pick(g, GEN_VALUE / 8 + 1));
	} else {
		MOVK(2, (int32_t)pick(g, 4) - 1);
		MOVK(3, (int32_t)pick(g, 12) - 1);
	}
	kfunc(g, kind);
}

/* What one round does to the numbers that survive it. */
static void round_of(struct gen *g)
{
	int r = 8 + (int)pick(g, 2), j;

	switch (pick(g, 6)) {
	case 0:
		/* Few numbers: whoever compares them wants to see each. */
		ADDK(r, 1 + (int32_t)pick(g, 3));
		emit(g, BPF_ALU64 | BPF_AND | BPF_K, r, 0, 0, 7);
		break;
	case 1:
		MOVX(r, 17 - r);
		break;
	case 2:
		j = bound(g, r, GEN_VALUE - 1);
		at_index(g, r, 1, 0);
		if (j >= 0)
			patch(g, (uint32_t)j);
		break;
	case 3:
		/* Counted in a slot that nothing else uses. */
		emit(g, BPF_LDX | BPF_DW | BPF_MEM, 4, 10, -216, 0);
		ADDK(4, 1);
		emit(g, BPF_STX | BPF_DW | BPF_MEM, 10, 4, -216, 0);
		break;
	case 4:
		or_else(g, r, fine_or_not(g, 1));
		at_index(g, r, 1, 0);
		break;
	default:
		break;
	}
	MOVK(7, 0);
	refill(g);
	/* Little, as all its ways are walked again and again. */
	if (pick(g, 2)) {
		g->depth += 2;
		g->body(g, 1);
		g->depth -= 2;
	}
}

/* The loop is left, and on the way out a number is used as an index; for the next round it is
 * another. Returns a jump to patch. */
static uint32_t leave(struct gen *g)
{
	int r = 8 + (int)pick(g, 2);
	uint32_t to, over, out;

	if (!pick(g, 3))
		return any_jump(g, r);
	to = any_jump(g, 17 - r);
	over = jump(g, BPF_JMP | BPF_JA, 0, 0, 0);
	patch(g, to);
	at_index(g, r, 1, 0);
	out = jump(g, BPF_JMP | BPF_JA, 0, 0, 0);
	patch(g, over);
	MOVK(r, fine_or_not(g, 1));
	return out;
}

void iterate(struct gen *g)
{
	int kind = pick(g, 3) ? 0 : 3, at = -160 - 16 * g->iters;
	uint32_t top, end, early = 0;
	bool leaves = pick(g, 2);

	if (!g->kfunc[0] || g->iters == MAX_ITERS || g->depth > 3)
		return;
	g->iters++;
	emit(g, BPF_ST | BPF_DW | BPF_MEM, 10, 0, -216, (int32_t)pick(g, 4));
	if (pick(g, 2))
		MOVK(8 + (int)pick(g, 2), (int32_t)pick(g, GEN_VALUE));
	make(g, at, kind);
	top = g->n;
	arg1(g, at);
	kfunc(g, kind + 1);
	end = jump(g, BPF_JMP | BPF_JEQ | BPF_K, 0, 0, 0);
	if (pick(g, 3))
		emit(g, BPF_LDX | BPF_MEM | (pick(g, 16) ? BPF_W : BPF_DW), 8 + (int)pick(g, 2), 0,
		     0, 0);
	MOVK(7, 0);
	refill(g);
	round_of(g);
	if (leaves)
		early = leave(g);
	emit(g, BPF_JMP | BPF_JA, 0, 0, (int)top - (int)g->n - 1, 0);
	patch(g, end);
	if (leaves)
		patch(g, early);
	if (pick(g, 24)) {
		arg1(g, at);
		kfunc(g, kind + 2);
	}
	MOVK(7, 0);
	refill(g);
	/* What is left of the loop's numbers is used as an index. */
	if (!pick(g, 3)) {
		int r = 8 + (int)pick(g, 2), j = bound(g, r, GEN_VALUE - 1);

		at_index(g, r, 1, 0);
		if (j >= 0)
			patch(g, (uint32_t)j);
		MOVK(7, 0);
		refill(g);
	}
	g->iters--;
}

void budget(struct gen *g)
{
	uint32_t top = g->n, over, left;

	if (g->depth > 2)
		return;
	over = jump(g, BPF_JMP | BPF_JCOND, 0, 0, 0);
	round_of(g);
	/* Not for as long as the budget lasts. */
	CALL(BPF_FUNC_get_prandom_u32);
	emit(g, BPF_ALU64 | BPF_AND | BPF_K, 0, 0, 0, 3);
	left = jump(g, BPF_JMP | BPF_JEQ | BPF_K, 0, 0, 0);
	refill(g);
	emit(g, BPF_JMP | BPF_JA, 0, 0, (int)top - (int)g->n - 1, 0);
	patch(g, left);
	refill(g);
	patch(g, over);
}
