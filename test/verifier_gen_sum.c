/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Random programs: a number and a sum of it, in 64 bits or in 32. What is learnt of one holds for the
 * other by the difference, and only as long as neither wraps where the other does not.
 */
#include "verifier_gen_piece.h"

/* A number with few possible values, small or at an end of its range. */
static void narrow(struct gen *g, int a)
{
	MOVX(a, 8 + (int)pick(g, 2));
	emit(g, BPF_ALU64 | BPF_AND | BPF_K, a, 0, 0, 15);
	switch (pick(g, 5)) {
	case 0: /* what lies above 32 bits is not seen in them */
		MOVX(7, 9);
		emit(g, BPF_ALU64 | BPF_LSH | BPF_K, 7, 0, 0, 32);
		emit(g, BPF_ALU64 | BPF_OR | BPF_X, a, 7, 0, 0);
		MOVK(7, 0);
		break;
	case 1: /* the last ones of 32 bits */
		emit(g, BPF_ALU | BPF_OR | BPF_K, a, 0, 0, -16);
		break;
	case 2: /* the last ones of 64 bits */
		emit(g, BPF_ALU64 | BPF_OR | BPF_K, a, 0, 0, -16);
		break;
	}
}

static int width(struct gen *g)
{
	return pick(g, 2) ? BPF_ALU64 : BPF_ALU;
}

void sums(struct gen *g)
{
	int a = (int)pick(g, 3), b = 3 + (int)pick(g, 3), known = pick(g, 2) ? a : b;
	int32_t k = 1 + (int32_t)pick(g, 16), low = pick(g, 2) ? k : 0;
	int compare = pick(g, 3) ? BPF_JMP : BPF_JMP32;
	uint32_t below, above;

	narrow(g, a);
	emit(g, width(g) | BPF_MOV | BPF_X, b, a, 0, 0);
	emit(g, width(g) | (pick(g, 2) ? BPF_ADD : BPF_SUB) | BPF_K, b, 0, 0, pick(g, 4) ? k : -k);
	below = jump(g, compare | BPF_JLT | BPF_K, known, 0, low);
	above = jump(g, compare | BPF_JGT | BPF_K, known, 0, low + (int32_t)pick(g, 24));
	if (pick(g, 3))
		known = known == a ? b : a;
	ADDK(known, ((int32_t)pick(g, 5) - 2) * k);
	at_index(g, known, 1 << pick(g, 4), 0);
	patch(g, below);
	patch(g, above);
	refill(g);
}
