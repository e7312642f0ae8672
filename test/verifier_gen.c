/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Random programs, statement by statement. What makes an index bounded is chosen at random,
 * sometimes wrongly.
 */
#include "verifier_gen_piece.h"

static void statements(struct gen *g, int n);

static void branch(struct gen *g)
{
	uint32_t j = any_jump(g, num(g));

	statements(g, 1 + (int)pick(g, 3));
	if (pick(g, 2)) {
		uint32_t end = jump(g, BPF_JMP | BPF_JA, 0, 0, 0);

		patch(g, j);
		statements(g, 1 + (int)pick(g, 2));
		patch(g, end);
	} else {
		patch(g, j);
	}
}

static void loop(struct gen *g)
{
	int step = 1 + (int)pick(g, 3), times = 1 + (int)pick(g, 12);
	uint32_t top;

	if (g->depth > 2)
		return;
	/* The counter is on the stack, so that the body may use all registers. */
	emit(g, BPF_ST | BPF_DW | BPF_MEM, 10, 0, -16 - 8 * (g->depth & 1), 0);
	top = g->n;
	statements(g, 1 + (int)pick(g, 2));
	emit(g, BPF_LDX | BPF_DW | BPF_MEM, 4, 10, -16 - 8 * (g->depth & 1), 0);
	if (pick(g, 2)) {
		map_value(g, 7, g->array, 0);
		ADDX(7, 4);
		touch(g, 7, 1, 0);
		MOVK(7, 0);
	}
	ADDK(4, step);
	emit(g, BPF_STX | BPF_DW | BPF_MEM, 10, 4, -16 - 8 * (g->depth & 1), 0);
	emit(g, BPF_JMP | (pick(g, 4) ? BPF_JLT : BPF_JSLE) | BPF_K, 4, 0, (int)top - (int)g->n - 1,
	     times * step);
}

static void helper(struct gen *g)
{
	uint32_t j;

	switch (pick(g, 5)) {
	case 0:
		CALL(BPF_FUNC_get_prandom_u32);
		MOVX(8, 0);
		break;
	case 1:
		MOVX(1, 6);
		MOVK(2, (int32_t)pick(g, 9) - 4);
		CALL(BPF_FUNC_xdp_adjust_head);
		break;
	case 2:
		map_ptr(g, 1, g->ringbuf);
		MOVK(2, 16);
		MOVK(3, 0);
		CALL(BPF_FUNC_ringbuf_reserve);
		j = jump(g, BPF_JMP | BPF_JEQ | BPF_K, 0, 0, 0);
		MOVX(7, 0);
		touch(g, 7, 1 << pick(g, 4), (int)pick(g, 10));
		if (!pick(g, 12)) {
			patch(g, any_jump(g, 8)); /* nothing depends on it */
		} else if (!pick(g, 6)) {
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
		emit(g, BPF_ST | BPF_W | BPF_MEM, 10, 0, -4, (int32_t)pick(g, 8));
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

void sub_call(struct gen *g)
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
		switch (pick(g, g->depth > 3 ? 16 : 23)) {
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
			pick(g, 2) ? linked(g) : sums(g);
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
		case 21:
			if (pick(g, 3))
				arith(g);
			else if (pick(g, 3))
				iterate(g);
			else
				budget(g);
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
	g->depth = g->in_sub = g->iters = 0;
	g->body = statements;
	for (int i = 0; i < 8; i++)
		pick(g, 2);
	MOVX(6, 1);
	MOVK(7, 0);
	unknown(g, 8);
	unknown(g, 9);
	refill(g);
	statements(g, 2 + (int)pick(g, 7));
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
		if (pick(g, 2))
			touch(g, 3, 8, 0);
		if (!pick(g, 3))
			at_index(g, 9, 1, 0);
		refill(g);
		statements(g, (int)pick(g, 4));
		if (!pick(g, 3)) {
			MOVK(8, fine_or_not(g, 1));
			or_else(g, 8, fine_or_not(g, 1));
		}
		MOVX(0, 8 + (int)pick(g, 2));
		if (pick(g, 2))
			emit(g, BPF_ALU64 | BPF_AND | BPF_K, 0, 0, 0, 31);
		emit(g, BPF_JMP | BPF_EXIT, 0, 0, 0, 0);
		for (uint32_t i = 0; i < g->ncalls; i++)
			g->insn[g->calls[i]].imm = (int32_t)(sub - g->calls[i] - 1);
	}
	return g->n;
}