// SPDX-License-Identifier: Apache-2.0
/*
 * Division, modulo and atomics: what needs fixed registers. RAX and RDX are R0 and
 * R3; they are kept only if someone reads them later.
 */
#include "exec/jit/x86.h"

/* ---- By a constant: multiplication by its reciprocal ---- */

/* TMP = a / d for a of 32 bits; uses TMP2. */
static void quotient32(struct x86 *c, uint8_t a, const struct jit_magic *m)
{
	x86_mov_rr(c, false, TMP, a);
	if (!m->add && m->mul <= INT32_MAX) {
		x86_op_rr(c, 0x69, true, TMP, TMP);
		x86_imm32(c, (int32_t)m->mul);
		x86_shift_ri(c, SH_SHR, true, TMP, 32 + m->shift);
		return;
	}
	x86_mov_ri(c, TMP2, (uint32_t)m->mul);
	x86_op_rr(c, X_0F | 0xaf, true, TMP2, TMP);
	if (!m->add) {
		x86_shift_ri(c, SH_SHR, true, TMP2, 32 + m->shift);
		x86_mov_rr(c, true, TMP, TMP2);
		return;
	}
	x86_shift_ri(c, SH_SHR, true, TMP2, 32);
	x86_alu_rr(c, ALU_SUB, false, TMP, TMP2);
	x86_shift_ri(c, SH_SHR, false, TMP, 1);
	x86_alu_rr(c, ALU_ADD, false, TMP, TMP2);
	if (m->shift)
		x86_shift_ri(c, SH_SHR, false, TMP, m->shift);
}

/* TMP = a / d for a of 64 bits. RDX is kept in TMP2 if `keep`. */
static void quotient64(struct x86 *c, uint8_t a, const struct jit_magic *m, bool keep)
{
	if (keep)
		x86_mov_rr(c, true, TMP2, RDX);
	x86_mov_rr(c, true, RDX, a);
	x86_mov_ri(c, TMP, m->mul);
	x86_vex_rr(c, 2, 3, 0xf6, true, TMP, TMP, TMP); /* mulx: high half */
	if (m->add) {
		x86_alu_rr(c, ALU_SUB, true, RDX, TMP);
		x86_shift_ri(c, SH_SHR, true, RDX, 1);
		x86_alu_rr(c, ALU_ADD, true, TMP, RDX);
	}
	if (m->shift)
		x86_shift_ri(c, SH_SHR, true, TMP, m->shift);
	if (keep)
		x86_mov_rr(c, true, RDX, TMP2);
}

static bool div_const(struct x86 *c, const struct ir *i)
{
	uint8_t d = c->map[i->dst], a = c->map[i->a];
	uint64_t by = i->w ? (uint64_t)i->imm : (uint32_t)i->imm;
	struct jit_magic m;

	/* Powers of two are gone; negative 64-bit ones are rare. */
	if ((i->flags & IR_SIGNED) || by < 2 || !(by & (by - 1)) || (i->w && i->imm < 0) ||
	    (i->w && !c->bmi2))
		return false;
	jit_magic(by, i->w ? 64 : 32, &m);
	if (i->w)
		quotient64(c, a, &m, (d != RDX && x86_live_after(i, 3)) || a == RDX);
	else
		quotient32(c, a, &m);
	if (i->kind == BPF_DIV) {
		x86_mov_rr(c, i->w, d, TMP);
		return true;
	}
	x86_op_rr(c, (int32_t)by == (int8_t)by ? 0x6b : 0x69, i->w, TMP, TMP);
	if ((int32_t)by == (int8_t)by)
		x86_byte(c, (uint8_t)by);
	else
		x86_imm32(c, (int32_t)by);
	if (d != a)
		x86_mov_rr(c, i->w, d, a);
	x86_alu_rr(c, ALU_SUB, i->w, d, TMP);
	return true;
}

/* ---- In general ---- */

/* By zero: 0, or the dividend (which is in RAX) for a remainder. */
static void by_zero(struct x86 *c, const struct ir *i)
{
	if (i->kind == BPF_DIV)
		x86_alu_rr(c, ALU_XOR, false, RAX, RAX);
	else
		x86_mov_rr(c, i->w, RDX, RAX);
}

static void divide(struct x86 *c, const struct ir *i, uint8_t by, bool is_const)
{
	bool sign = i->flags & IR_SIGNED;
	uint32_t zero = 0, minus = 0, end, end2 = 0;

	if (!is_const) {
		x86_op_rr(c, 0x85, i->w, by, by);
		zero = x86_skip(c, CC_E);
	}
	if (sign) {
		x86_alu_ri(c, ALU_CMP, i->w, by, -1);
		minus = x86_skip(c, CC_E);
		if (i->w)
			x86_byte(c, 0x48);
		x86_byte(c, 0x99); /* cdq, cqo */
	} else {
		x86_alu_rr(c, ALU_XOR, false, RDX, RDX);
	}
	x86_op_rr(c, 0xf7, i->w, sign ? 7 : 6, by);
	if (sign) {
		end2 = x86_skip(c, -1);
		x86_here(c, minus);
		/* By -1, which may not be divided by: the smallest number overflows. */
		if (i->kind == BPF_DIV)
			x86_op_rr(c, 0xf7, i->w, 3, RAX);
		else
			x86_alu_rr(c, ALU_XOR, false, RDX, RDX);
	}
	if (!is_const) {
		end = x86_skip(c, -1);
		x86_here(c, zero);
		by_zero(c, i);
		x86_here(c, end);
	}
	if (sign)
		x86_here(c, end2);
}

void x86_div(struct x86 *c, const struct ir *i)
{
	uint8_t d = c->map[i->dst], a = c->map[i->a], by;
	bool keep_rax = d != RAX && x86_live_after(i, 0);
	bool keep_rdx = d != RDX && x86_live_after(i, 3);
	struct x86_mem spill = x86_at(RSP, c->spill);

	if (i->operand == IR_IMM && div_const(c, i))
		return;
	if (i->operand == IR_IMM) {
		x86_mov_ri(c, TMP, i->w ? (uint64_t)i->imm : (uint32_t)i->imm);
		by = TMP;
	} else {
		by = c->map[i->b];
		if (by == RAX || by == RDX) {
			x86_mov_rr(c, true, TMP, by);
			by = TMP;
		}
	}
	if (keep_rax)
		x86_mov_rr(c, true, TMP2, RAX);
	if (keep_rdx)
		x86_store(c, 8, RDX, spill);
	if (a != RAX)
		x86_mov_rr(c, i->w, RAX, a);
	divide(c, i, by, i->operand == IR_IMM && i->imm);
	a = i->kind == BPF_DIV ? RAX : RDX;
	if (a != d)
		x86_mov_rr(c, i->w, d, a);
	if (keep_rax)
		x86_mov_rr(c, true, RAX, TMP2);
	if (keep_rdx)
		x86_load(c, 8, false, true, RDX, spill);
}

/* ---- Atomics ---- */

/* Fetch-and-or and the like: a loop that compares and exchanges. */
static void fetch_loop(struct x86 *c, const struct ir *i, uint8_t alu)
{
	bool w = i->size == 8;
	struct x86_mem m = x86_address(c, i);
	uint8_t src = c->map[i->a];
	uint32_t again;

	/* RAX is the instruction's own: what it held is in TMP2 meanwhile. */
	x86_mov_rr(c, true, TMP2, RAX);
	if (m.base == RAX)
		m.base = TMP2;
	if (m.index == RAX)
		m.index = TMP2;
	x86_load(c, i->size, false, w, RAX, m);
	again = c->len;
	x86_mov_rr(c, true, TMP, RAX);
	x86_alu_rr(c, alu, w, TMP, src == RAX ? TMP2 : src);
	x86_op_rm(c, X_LOCK | X_0F | 0xb1, w, TMP, m);
	x86_byte(c, 0x70 | CC_NE);
	x86_byte(c, (uint8_t)(again - (c->len + 1)));
	x86_mov_rr(c, w, src, RAX);
	if (src != RAX)
		x86_mov_rr(c, true, RAX, TMP2);
}

void x86_atomic(struct x86 *c, const struct ir *i)
{
	static const uint8_t alu[16] = {
		[BPF_ADD >> 4] = ALU_ADD,
		[BPF_AND >> 4] = ALU_AND,
		[BPF_OR >> 4] = ALU_OR,
		[BPF_XOR >> 4] = ALU_XOR,
	};
	bool w = i->size == 8;
	struct x86_mem m = x86_address(c, i);
	uint8_t kind = (uint8_t)(i->imm & 0xf0), src = i->a == NO_REG ? 0 : c->map[i->a];

	switch (i->imm) {
	case BPF_LOAD_ACQ:
		/* Every load of this machine is one, every store a release. */
		x86_load(c, i->size, false, true, c->map[i->dst], m);
		return;
	case BPF_STORE_REL:
		x86_store(c, i->size, src, m);
		return;
	case BPF_XCHG:
		x86_op_rm(c, 0x87, w, src, m);
		return;
	case BPF_CMPXCHG:
		x86_op_rm(c, X_LOCK | X_0F | 0xb1, w, src, m);
		if (!w) /* on success RAX is not written */
			x86_mov_rr(c, false, RAX, RAX);
		return;
	case BPF_ADD | BPF_FETCH:
		x86_op_rm(c, X_LOCK | X_0F | 0xc1, w, src, m);
		return;
	default:
		break;
	}
	if (i->imm & BPF_FETCH)
		fetch_loop(c, i, alu[kind >> 4]);
	else
		x86_op_rm(c, X_LOCK | alu[kind >> 4] << 3 | 1, w, src, m);
}
