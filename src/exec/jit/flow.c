// SPDX-License-Identifier: Apache-2.0
/*
 * Two analyses over a function. Liveness runs backwards and keeps the upper halves
 * of registers apart: most results of 64-bit operations are only wanted in 32.
 * Significant bits run forwards: how many low bits of a register may be set.
 * Both meet at jump targets only; a branch not taken just goes on.
 */
#include <string.h>

#include "exec/jit/jit.h"
#include "helper/helper.h"

#define BIT(r)  ((uint32_t)1 << (r))
#define HI(r)   (BIT(r) << 16)
#define FULL(r) (BIT(r) | HI(r))

#define CALL_CLOBBERS (BIT(0) | BIT(1) | BIT(2) | BIT(3) | BIT(4) | BIT(5))

/* Rounds over a function before an analysis gives up; loops in loops take few. */
#define MAX_ROUNDS 40

/* ---- Reads and writes ---- */

static uint32_t read_reg(uint8_t r, bool hi)
{
	return r == NO_REG ? 0 : hi ? FULL(r) : BIT(r);
}

static uint32_t read_address(const struct ir *i)
{
	return read_reg(i->base, true) | read_reg(i->index, true);
}

/* Whether the low half of the result needs the upper half of the operands. */
static bool low_needs_high(uint8_t kind)
{
	return kind == BPF_DIV || kind == BPF_MOD || kind == BPF_RSH || kind == BPF_ARSH;
}

static uint32_t read_alu(const struct ir *i, bool want_hi)
{
	bool hi = i->w && (want_hi || low_needs_high(i->kind));
	bool shift = i->kind == BPF_LSH || i->kind == BPF_RSH || i->kind == BPF_ARSH;
	uint32_t reads = 0;

	if (i->kind == BPF_AND && i->operand == IR_IMM && i->imm >= 0)
		hi = false;
	reads |= read_reg(i->a, hi);
	if (i->operand == IR_REG)
		reads |= read_reg(i->b, hi && !shift);
	else if (i->operand == IR_MEM)
		reads |= read_address(i);
	return reads;
}

static uint32_t read_call(const struct ir *i)
{
	const struct skep_helper *row =
		(uint64_t)i->imm < SKEP_MAX_HELPERS ? &skep_helpers[i->imm] : NULL;
	uint32_t reads = 0;

	for (int k = 0; k < 5; k++)
		if (!row || !row->name || row->arg[k] != SKEP_ARG_NONE ||
		    i->imm == BPF_FUNC_trace_printk)
			reads |= FULL(k + 1);
	return reads;
}

uint32_t ir_reads(const struct jit *jit, const struct ir *i, uint32_t live)
{
	bool want_hi = i->dst != NO_REG && (live & HI(i->dst));
	uint32_t reads = 0;

	switch (i->op) {
	case IR_MOV:
		return read_reg(i->a, i->w && want_hi);
	case IR_ALU:
		return read_alu(i, want_hi);
	case IR_NEG:
		return read_reg(i->a, i->w && want_hi);
	case IR_SEXT:
	case IR_ZEXT:
		return read_reg(i->a, i->size == 8);
	case IR_SWAP:
		return i->flags & IR_MEM_A ? read_address(i) : read_reg(i->a, i->size == 8);
	case IR_ROL:
		return read_reg(i->a, i->w);
	case IR_LOAD:
	case IR_PROBE:
		return read_address(i);
	case IR_STORE:
		return read_address(i) | read_reg(i->a, i->size == 8);
	case IR_RMW:
		return read_address(i) | read_reg(i->b, i->size == 8);
	case IR_ATOMIC:
		if (i->imm == BPF_CMPXCHG)
			reads = read_reg(0, i->size == 8);
		return reads | read_address(i) |
		       (i->imm == BPF_LOAD_ACQ ? 0 : read_reg(i->a, i->size == 8));
	case IR_JCC:
		if (i->operand == IR_MEM || (i->flags & IR_MEM_A))
			reads = read_address(i);
		return reads | read_reg(i->a, i->w) |
		       (i->operand == IR_REG ? read_reg(i->b, i->w) : 0);
	case IR_CALL:
		return read_call(i);
	case IR_CALL_SUB:
		return FULL(1) | FULL(2) | FULL(3) | FULL(4) | FULL(5);
	case IR_TAIL_CALL:
		if (i->imm < 0)
			return FULL(1) | FULL(2) | FULL(3);
		return FULL(1) | (i->size ? 0 : FULL(3));
	case IR_LOOKUP:
		return read_address(i);
	case IR_EXIT:
		return FULL(0);
	default:
		return 0;
	}
}

uint32_t ir_writes(const struct ir *i)
{
	switch (i->op) {
	case IR_CALL:
	case IR_CALL_SUB:
	case IR_TAIL_CALL:
		return CALL_CLOBBERS;
	case IR_ATOMIC:
		if (i->imm == BPF_CMPXCHG)
			return BIT(0);
		if (i->imm == BPF_LOAD_ACQ)
			return BIT(i->dst);
		return i->imm != BPF_STORE_REL && (i->imm & BPF_FETCH) ? BIT(i->a) : 0;
	default:
		return i->dst == NO_REG ? 0 : BIT(i->dst);
	}
}

bool ir_has_effect(const struct ir *i)
{
	switch (i->op) {
	case IR_NOP:
	case IR_MOV:
	case IR_ALU:
	case IR_NEG:
	case IR_SEXT:
	case IR_ZEXT:
	case IR_SWAP:
	case IR_ROL:
	case IR_LOAD:
	case IR_PROBE:
	case IR_LOOKUP:
	case IR_CPU:
	case IR_FUNC:
		return false;
	default:
		return true;
	}
}

/* ---- Liveness ---- */

static uint32_t before(const struct jit *jit, const struct ir *i, uint32_t live)
{
	uint32_t writes = ir_writes(i);

	if (!ir_has_effect(i) && !(writes & live))
		return live;
	return (live & ~(writes | writes << 16)) | ir_reads(jit, i, live);
}

/* Liveness after instruction n, given that before n + 1. */
static uint32_t after(const struct jit *jit, const struct ir *i, uint32_t next)
{
	switch (i->op) {
	case IR_JMP:
		return jit->live_in[i->target];
	case IR_JCC:
	case IR_MAY_GOTO:
		return next | jit->live_in[i->target];
	case IR_EXIT:
		return 0;
	default:
		return next;
	}
}

static bool liveness_round(struct jit *jit, const struct jit_func *f)
{
	bool changed = false;
	uint32_t live = 0;

	for (uint32_t n = f->end; n-- > f->start;) {
		struct ir *i = &jit->ir[n];

		i->live = after(jit, i, live);
		live = before(jit, i, i->live);
		if ((i->flags & IR_TARGET) && jit->live_in[n] != live) {
			jit->live_in[n] = live;
			changed = true;
		}
	}
	return changed;
}

/* 64-bit operations whose low half depends on low halves only. */
static bool can_narrow(const struct ir *i)
{
	if (i->op == IR_MOV)
		return i->a != NO_REG && i->a != IR_FP;
	if (i->op == IR_NEG)
		return true;
	if (i->op != IR_ALU || low_needs_high(i->kind))
		return false;
	if (i->operand == IR_MEM || i->a == IR_FP || (i->operand == IR_REG && i->b == IR_FP))
		return false;
	/* A shift by 32 or more leaves nothing in 32 bits, where counts are masked. */
	return i->kind != BPF_LSH || (i->operand == IR_IMM && i->imm < 32);
}

void jit_liveness(struct jit *jit, const struct jit_func *f)
{
	uint32_t size = (f->end - f->start) * sizeof(*jit->live_in);
	unsigned rounds = 0;

	memset(&jit->live_in[f->start], 0, size);
	/* Without a loop one round is all. */
	while (liveness_round(jit, f) && f->has_loop) {
		if (++rounds < MAX_ROUNDS)
			continue;
		/* Jumps back and forth without end: everything is live then. */
		memset(&jit->live_in[f->start], 0xff, size);
		liveness_round(jit, f);
		break;
	}
	for (uint32_t n = f->start; n < f->end; n++) {
		struct ir *i = &jit->ir[n];
		uint32_t writes = ir_writes(i);

		if (!ir_has_effect(i) && !(writes & i->live)) {
			i->op = IR_NOP;
			i->dst = NO_REG;
			continue;
		}
		if (i->w && i->dst != NO_REG && !(i->live & HI(i->dst)) && can_narrow(i))
			i->w = false;
	}
}

/* ---- Significant bits ---- */

/* Rounded up, so that counting loops settle at once. */
static uint8_t coarse(unsigned bits)
{
	if (bits > 32)
		return 64;
	if (bits > 16)
		return bits > 31 ? 32 : bits > 24 ? 31 : 24;
	if (bits > 8)
		return bits > 15 ? 16 : 15;
	return bits > 7 ? 8 : bits > 1 ? 7 : 1;
}

static unsigned bits_of(uint64_t v)
{
	return v ? 64 - (unsigned)__builtin_clzll(v) : 0;
}

static unsigned bits_alu(const struct ir *i, const uint8_t *bits)
{
	unsigned a = bits[i->a];
	unsigned b = i->operand == IR_REG   ? bits[i->b]
		     : i->operand == IR_IMM ? bits_of(i->w ? (uint64_t)i->imm : (uint32_t)i->imm)
					    : i->size * 8u;
	unsigned max = a > b ? a : b;

	if (!i->w) {
		/* A wider operand is cut first. */
		a = a > 32 ? 32 : a;
		b = b > 32 ? 32 : b;
		max = a > b ? a : b;
	}
	switch (i->kind) {
	case BPF_ADD:
		return max + 1;
	case BPF_MUL:
		return a + b;
	case BPF_AND:
		return a < b ? a : b;
	case BPF_OR:
	case BPF_XOR:
		return max;
	case BPF_LSH:
		return i->operand == IR_IMM ? a + (unsigned)i->imm : 64;
	case BPF_RSH:
		if (i->operand != IR_IMM)
			return a;
		return a > (unsigned)i->imm ? a - (unsigned)i->imm : 0;
	case BPF_DIV:
		return i->flags & IR_SIGNED ? 64 : a;
	case BPF_MOD:
		return i->flags & IR_SIGNED || !b ? 64 : a;
	default:
		return 64;
	}
}

void jit_bits_step(const struct ir *i, uint8_t *bits)
{
	uint32_t writes = ir_writes(i);
	unsigned n = 64;

	switch (i->op) {
	case IR_NOP:
		return;
	case IR_MOV:
		n = i->a != NO_REG ? bits[i->a]
				   : bits_of(i->w ? (uint64_t)i->imm : (uint32_t)i->imm);
		break;
	case IR_ALU:
		n = bits_alu(i, bits);
		break;
	case IR_ZEXT:
		n = bits[i->a] < i->size * 8u ? bits[i->a] : i->size * 8u;
		break;
	case IR_SWAP:
		n = i->size * 8;
		break;
	case IR_LOAD:
	case IR_PROBE:
		n = i->flags & IR_SIGNED ? 64 : i->size * 8;
		break;
	case IR_CPU:
		n = 32;
		break;
	case IR_ATOMIC:
		n = i->size * 8;
		break;
	case IR_CALL:
	case IR_CALL_SUB:
	case IR_TAIL_CALL:
		memset(bits, 64, 6);
		return;
	}
	if (!i->w && n > 32 &&
	    (i->op == IR_MOV || i->op == IR_ALU || i->op == IR_NEG || i->op == IR_SEXT ||
	     i->op == IR_ROL || i->op == IR_LOAD))
		n = i->op == IR_LOAD && !(i->flags & IR_SIGNED) ? n : 32;
	if (writes)
		n = coarse(n);
	for (; writes; writes &= writes - 1)
		bits[__builtin_ctz(writes)] = (uint8_t)n;
}

static bool meet(uint8_t *into, const uint8_t *from)
{
	bool changed = false;

	for (int r = 0; r < IR_REGS; r++) {
		if (from[r] > into[r]) {
			into[r] = from[r];
			changed = true;
		}
	}
	return changed;
}

void jit_bits(struct jit *jit, const struct jit_func *f)
{
	uint32_t size = (f->end - f->start) * sizeof(*jit->bits_in);
	unsigned rounds = 0;
	bool changed = true;

	/* Nothing is reached at first; 0 bits stand for that. */
	memset(jit->bits_in[f->start], 0, size);
	while (changed && (f->has_loop || !rounds)) {
		uint8_t bits[IR_REGS];

		if (++rounds > MAX_ROUNDS) {
			memset(jit->bits_in[f->start], 64, size);
			return;
		}

		changed = false;
		memset(bits, 64, sizeof(bits));
		for (uint32_t n = f->start; n < f->end; n++) {
			const struct ir *i = &jit->ir[n];

			if (i->flags & IR_TARGET) {
				changed |= meet(jit->bits_in[n], bits);
				memcpy(bits, jit->bits_in[n], sizeof(bits));
			}
			jit_bits_step(i, bits);
			if (i->op == IR_JMP || i->op == IR_JCC || i->op == IR_MAY_GOTO)
				changed |= meet(jit->bits_in[i->target], bits);
			/* What follows is reached from elsewhere, or not at all. */
			if (i->op == IR_JMP || i->op == IR_EXIT)
				memset(bits, 0, sizeof(bits));
		}
	}
}
