// SPDX-License-Identifier: Apache-2.0
/*
 * Several instructions into one: shifts that make a rotation or an extension,
 * loads that can be the memory operand of what uses them, additions that can be
 * part of an address. One pass forward; definitions are remembered since the last
 * jump target.
 *
 * Moving a computation down to its only use is right if nothing between writes its
 * operands, reads its result or leaves the block; a load, besides, must not pass a
 * store, a call or an atomic. Each load is still done exactly once.
 */
#include <string.h>

#include "exec/jit/jit.h"

#define NONE   -1
#define WINDOW 12 /* how far a definition is looked for */

struct defs {
	int32_t at[IR_REGS]; /* the instruction that last wrote a register, or NONE */
};

/* For each instruction, what had written its operands then. */
struct sources {
	int32_t a, b;
};

struct fuse {
	struct jit *jit;
	struct ir *ir;
	struct defs defs;
	struct sources src[WINDOW * 2]; /* ring by instruction number */
};

static struct sources *sources(struct fuse *f, int32_t n)
{
	return &f->src[n % (WINDOW * 2)];
}

static int32_t def(const struct fuse *f, uint8_t reg, uint32_t n)
{
	int32_t at = reg == NO_REG || reg == IR_FP ? NONE : f->defs.at[reg];

	return at != NONE && n - (uint32_t)at <= WINDOW ? at : NONE;
}

static bool is_control(const struct ir *i)
{
	return i->op == IR_JMP || i->op == IR_JCC || i->op == IR_MAY_GOTO || i->op == IR_EXIT ||
	       i->op == IR_CALL || i->op == IR_CALL_SUB || i->op == IR_TAIL_CALL;
}

static bool is_memory_effect(const struct ir *i)
{
	return i->op == IR_STORE || i->op == IR_RMW || i->op == IR_ATOMIC || i->op == IR_PROBE;
}

static bool dead_after(const struct ir *i, uint8_t reg)
{
	return !(i->live & (uint32_t)1 << reg);
}

static uint32_t reads_of(const struct fuse *f, const struct ir *i)
{
	uint32_t r = ir_reads(f->jit, i, i->live);

	return (r | r >> 16) & 0xffff;
}

/*
 * May instruction `from` be done at `to` instead? Its result has no other reader
 * (the reader at `to` excepted) and what it reads stays.
 */
static bool can_sink(const struct fuse *f, int32_t from, int32_t to, bool dies)
{
	const struct ir *d = &f->ir[from];
	uint32_t operands = reads_of(f, d), result = ir_writes(d);
	bool load = d->op == IR_LOAD;

	if (dies && !dead_after(&f->ir[to], d->dst))
		return false;
	for (int32_t n = from + 1; n < to; n++) {
		const struct ir *i = &f->ir[n];

		if (i->op == IR_NOP)
			continue;
		if (is_control(i) || (load && is_memory_effect(i)))
			return false;
		if ((reads_of(f, i) & result) || (ir_writes(i) & (operands | result)))
			return false;
	}
	return true;
}

static void drop(struct ir *i)
{
	i->op = IR_NOP;
	i->dst = i->a = i->b = i->base = i->index = NO_REG;
}

/* Drops instruction `at`; what it computed from its own result is that again. */
static void drop_at(struct fuse *f, int32_t at)
{
	struct ir *i = &f->ir[at];

	if (i->dst != NO_REG && i->dst == i->a && f->defs.at[i->dst] == at)
		f->defs.at[i->dst] = sources(f, at)->a;
	drop(i);
}

static void take_address(struct ir *to, const struct ir *from)
{
	to->base = from->base;
	to->index = from->index;
	to->scale = from->scale;
	to->off = from->off;
}

/* ---- Shifts ---- */

static bool is_shift_imm(const struct ir *i, uint8_t kind)
{
	return i->op == IR_ALU && i->kind == kind && i->operand == IR_IMM;
}

/* Do two instructions have the same first operand, or the later one a copy of it? */
static bool same_value(struct fuse *f, int32_t first, int32_t last, int32_t n)
{
	const struct ir *x = &f->ir[first], *y = &f->ir[last], *copy;
	int32_t at = sources(f, last)->a;

	if (x->a == y->a && sources(f, first)->a == at)
		return x->dst != x->a;
	if (at == NONE || at >= first || n - at >= WINDOW * 2)
		return false;
	copy = &f->ir[at];
	return copy->op == IR_MOV && copy->a == x->a && copy->a != copy->dst &&
	       (copy->w || !x->w) && sources(f, at)->a == sources(f, first)->a;
}

/* (x << k) | (x >> (bits - k)): the later of the two shifts becomes the rotation. */
static bool fuse_rotate(struct fuse *f, int32_t n)
{
	struct ir *i = &f->ir[n], *left, *right, *last;
	int32_t da = def(f, i->a, n), db = def(f, i->b, n), first;
	unsigned bits = i->w ? 64 : 32;

	if (i->kind != BPF_OR && i->kind != BPF_ADD && i->kind != BPF_XOR)
		return false;
	if (i->operand != IR_REG || da == NONE || db == NONE || da == db)
		return false;
	left = &f->ir[da];
	right = &f->ir[db];
	if (is_shift_imm(left, BPF_RSH)) {
		struct ir *t = left;

		left = right;
		right = t;
	}
	if (!is_shift_imm(left, BPF_LSH) || !is_shift_imm(right, BPF_RSH) || right->w != i->w ||
	    left->w != i->w || left->imm + right->imm != bits)
		return false;
	first = da < db ? da : db;
	last = &f->ir[da < db ? db : da];
	if (!same_value(f, first, da < db ? db : da, n) || last->a == f->ir[first].dst)
		return false;
	/* The shifted values are for this instruction alone. */
	if ((i->a != i->dst && !dead_after(i, i->a)) || (i->b != i->dst && !dead_after(i, i->b)))
		return false;
	for (int32_t k = first + 1; k < n; k++) {
		const struct ir *j = &f->ir[k];

		if (j == last || j->op == IR_NOP)
			continue;
		if (is_control(j) ||
		    ((reads_of(f, j) | ir_writes(j)) & (1u << f->ir[da].dst | 1u << f->ir[db].dst)))
			return false;
	}
	last->op = IR_ROL;
	last->imm = left->imm;
	last->kind = 0;
	i->op = IR_MOV;
	i->a = last->dst;
	i->b = NO_REG;
	i->operand = IR_IMM;
	i->imm = 0;
	i->w = true;
	/* 32-bit rotations clear the upper half, so the copy is whole. */
	drop(&f->ir[first]);
	return true;
}

/* (x << k) >> k is an extension of the low bits. */
static bool fuse_extend(struct fuse *f, int32_t n)
{
	struct ir *i = &f->ir[n], *d;
	int32_t at = def(f, i->a, n);
	unsigned keep;

	if (i->operand != IR_IMM || (i->kind != BPF_RSH && i->kind != BPF_ARSH) || at == NONE)
		return false;
	d = &f->ir[at];
	keep = (i->w ? 64 : 32) - (unsigned)i->imm;
	if (!is_shift_imm(d, BPF_LSH) || d->imm != i->imm || d->w != i->w ||
	    (keep != 8 && keep != 16 && keep != 32))
		return false;
	if ((i->dst != i->a && !dead_after(i, i->a)) || !can_sink(f, at, n, false))
		return false;
	i->a = d->a;
	i->size = keep / 8;
	i->operand = IR_IMM;
	if (i->kind == BPF_ARSH) {
		i->op = IR_SEXT;
	} else {
		i->op = IR_ZEXT;
		i->w = false;
	}
	drop(d);
	return true;
}

/* ---- Addresses ---- */

/* Gives what 64 bits give. */
static bool is_wide(const struct ir *i)
{
	return i->w || (i->flags & IR_EXACT);
}

static bool still(const struct fuse *f, uint8_t reg, int32_t def_then)
{
	return reg == IR_FP || f->defs.at[reg] == def_then;
}

/* base = x + imm, x + y: into the address itself. */
static void fuse_address(struct fuse *f, int32_t n)
{
	struct ir *i = &f->ir[n], *d;

	for (int round = 0; round < 3; round++) {
		int32_t at = def(f, i->base, n);

		if (at == NONE)
			return;
		d = &f->ir[at];
		if (d->op == IR_MOV && d->w && d->a != NO_REG && d->a != d->dst &&
		    still(f, d->a, sources(f, at)->a)) {
			i->base = d->a;
			continue;
		}
		if (d->op != IR_ALU || d->kind != BPF_ADD || !is_wide(d) || d->operand == IR_MEM)
			return;
		if (d->operand == IR_IMM) {
			int64_t off = i->off + d->imm;

			if (off != (int32_t)off)
				return;
			if (d->a != d->dst &&
			    (d->a == IR_FP || still(f, d->a, sources(f, at)->a))) {
				i->base = d->a;
				i->off = (int32_t)off;
				continue;
			}
			return;
		}
		if (i->index != NO_REG || d->a == d->dst || d->b == d->dst || d->a == IR_FP ||
		    d->b == IR_FP)
			return;
		if (!still(f, d->a, sources(f, at)->a) || !still(f, d->b, sources(f, at)->b))
			return;
		i->base = d->a;
		i->index = d->b;
		i->scale = 1;
	}
}

/* base = base + y, needed for this access only: done by the address instead. */
static void fuse_address_sink(struct fuse *f, int32_t n)
{
	struct ir *i = &f->ir[n], *d;
	int32_t at = def(f, i->base, n);
	bool redefined = i->dst == i->base;

	if (at == NONE || i->base == i->a || i->base == i->b || i->base == i->index)
		return;
	d = &f->ir[at];
	if (d->op != IR_ALU || d->kind != BPF_ADD || !is_wide(d) || d->operand == IR_MEM ||
	    d->a == IR_FP || (d->operand == IR_REG && (i->index != NO_REG || d->b == IR_FP)))
		return;
	if (!can_sink(f, at, n, !redefined))
		return;
	if (d->operand == IR_IMM) {
		if ((int64_t)i->off + d->imm != (int32_t)(i->off + d->imm))
			return;
		i->off += (int32_t)d->imm;
		i->base = d->a;
	} else {
		i->base = d->a;
		i->index = d->b;
		i->scale = 1;
	}
	drop_at(f, at);
}

/* index = x << 1, 2, 3: scaled by the address. */
static void fuse_scale(struct fuse *f, int32_t n)
{
	struct ir *i = &f->ir[n];

	for (int side = 0; side < 2 && i->index != NO_REG && i->scale == 1; side++) {
		uint8_t reg = side ? i->base : i->index;
		int32_t at = def(f, reg, n);
		struct ir *d;
		bool keep, sink;

		if (at == NONE || i->base == i->index)
			continue;
		d = &f->ir[at];
		if (!is_shift_imm(d, BPF_LSH) || !is_wide(d) || d->imm > 3)
			continue;
		keep = d->a != d->dst && still(f, d->a, sources(f, at)->a);
		sink = !keep && reg != i->a && reg != i->b && can_sink(f, at, n, i->dst != reg);
		if (!keep && !sink)
			continue;
		if (side)
			i->base = i->index;
		i->index = d->a;
		i->scale = 1u << d->imm;
		if (sink)
			drop_at(f, at);
	}
}

/* ---- Memory operands ---- */

/* The load that made reg, if it may be done at n. */
static struct ir *sinkable_load(struct fuse *f, uint8_t reg, int32_t n, bool dies)
{
	int32_t at = def(f, reg, n);

	if (at == NONE || f->ir[at].op != IR_LOAD || f->ir[at].dst != reg ||
	    !can_sink(f, at, n, dies))
		return NULL;
	return &f->ir[at];
}

static bool takes_memory(uint8_t kind)
{
	return kind == BPF_ADD || kind == BPF_SUB || kind == BPF_AND || kind == BPF_OR ||
	       kind == BPF_XOR || kind == BPF_MUL;
}

static bool fits_operand(const struct ir *i, const struct ir *load)
{
	/* The first operand is moved to the result before memory is read. */
	return load && !(load->flags & IR_SIGNED) && load->size == (i->w ? 8 : 4) &&
	       load->base != i->dst && load->index != i->dst;
}

static void fuse_operand(struct fuse *f, int32_t n)
{
	struct ir *i = &f->ir[n], *d = NULL;

	if (!takes_memory(i->kind) || i->operand != IR_REG || i->a == i->b)
		return;
	if (i->b != i->dst)
		d = sinkable_load(f, i->b, n, true);
	if (!fits_operand(i, d)) {
		d = i->kind != BPF_SUB && i->a != i->dst ? sinkable_load(f, i->a, n, true) : NULL;
		if (!fits_operand(i, d))
			return;
		i->a = i->b;
	}
	i->operand = IR_MEM;
	i->b = NO_REG;
	i->size = d->size;
	take_address(i, d);
	drop(d);
}

static bool is_unsigned_jcc(uint8_t kind)
{
	return kind == BPF_JEQ || kind == BPF_JNE || kind == BPF_JGT || kind == BPF_JGE ||
	       kind == BPF_JLT || kind == BPF_JLE;
}

static void fuse_compare(struct fuse *f, int32_t n)
{
	struct ir *i = &f->ir[n], *d;
	bool whole;

	if (i->a == NO_REG || (i->live & 1u << i->a) || (i->operand == IR_REG && i->a == i->b))
		return;
	d = sinkable_load(f, i->a, n, true);
	if (!d)
		return;
	whole = d->size == (i->w ? 8 : 4);
	if (d->flags & IR_SIGNED)
		return;
	if (i->operand == IR_REG) {
		if (!whole || i->kind == BPF_JSET)
			return;
	} else if (!whole) {
		int64_t max = d->size == 1 ? 0xff : d->size == 2 ? 0x7f : 0x7fffffff;

		/* Zero-extended by the load: narrow unsigned comparisons say the same. */
		if (!(is_unsigned_jcc(i->kind) || i->kind == BPF_JSET) || i->imm < 0 ||
		    i->imm > max || d->size == 8)
			return;
	}
	i->flags |= IR_MEM_A;
	i->size = d->size;
	i->w = d->size == 8;
	i->a = NO_REG;
	take_address(i, d);
	drop(d);
}

static void fuse_swap(struct fuse *f, int32_t n)
{
	struct ir *i = &f->ir[n], *d;

	if (i->size < 4 || (i->flags & IR_MEM_A))
		return;
	d = sinkable_load(f, i->a, n, i->a != i->dst);
	if (!d || d->size != i->size || (d->flags & IR_SIGNED))
		return;
	i->flags |= IR_MEM_A;
	i->a = NO_REG;
	take_address(i, d);
	drop(d);
}

/* memory = memory op x: one instruction (two accesses, as before). */
static void fuse_rmw(struct fuse *f, int32_t n)
{
	struct ir *i = &f->ir[n], *alu, *load;
	int32_t at = def(f, i->a, n), from;

	if (at == NONE || i->size < 4 || !dead_after(i, i->a) || i->a == i->base ||
	    i->a == i->index)
		return;
	alu = &f->ir[at];
	if (alu->op != IR_ALU || alu->operand == IR_MEM || !takes_memory(alu->kind) ||
	    alu->kind == BPF_MUL || (i->size == 8 && !alu->w) || alu->a == alu->b)
		return;
	from = sources(f, at)->a;
	if (from == NONE || at - from > WINDOW)
		return;
	load = &f->ir[from];
	if (load->op != IR_LOAD || load->dst != alu->a || load->size != i->size ||
	    load->base != i->base || load->index != i->index || load->off != i->off ||
	    (i->index != NO_REG && load->scale != i->scale))
		return;
	if (!can_sink(f, at, n, true) || !can_sink(f, from, at, alu->a != alu->dst))
		return;
	/* The load passes what is between the operation and the store, too. */
	for (int32_t k = at + 1; k < n; k++)
		if (is_memory_effect(&f->ir[k]) || (ir_writes(&f->ir[k]) & reads_of(f, load)))
			return;
	i->op = IR_RMW;
	i->kind = alu->kind;
	i->operand = alu->operand;
	i->b = alu->operand == IR_REG ? alu->b : NO_REG;
	i->imm = alu->imm;
	i->a = NO_REG;
	i->w = i->size == 8;
	drop(alu);
	drop(load);
}

/* ---- The pass ---- */

static bool has_address(const struct ir *i)
{
	return i->base != NO_REG && i->base != IR_FP && i->op != IR_NOP;
}

static void fuse_one(struct fuse *f, int32_t n)
{
	struct ir *i = &f->ir[n];

	if (has_address(i)) {
		fuse_address(f, n);
		if (i->op == IR_LOAD || i->op == IR_STORE) {
			fuse_address_sink(f, n);
			fuse_address(f, n);
			fuse_scale(f, n);
		}
	}
	switch (i->op) {
	case IR_ALU:
		if (!fuse_rotate(f, n) && !fuse_extend(f, n))
			fuse_operand(f, n);
		break;
	case IR_JCC:
		fuse_compare(f, n);
		break;
	case IR_SWAP:
		fuse_swap(f, n);
		break;
	case IR_STORE:
		if (i->a != NO_REG)
			fuse_rmw(f, n);
		break;
	default:
		break;
	}
}

void jit_fuse(struct jit *jit, const struct jit_func *func)
{
	struct fuse f = {.jit = jit, .ir = jit->ir};

	for (uint32_t n = func->start; n < func->end; n++) {
		struct ir *i = &jit->ir[n];
		uint32_t writes;

		if (n == func->start || (i->flags & IR_TARGET))
			for (int r = 0; r < IR_REGS; r++)
				f.defs.at[r] = NONE;
		fuse_one(&f, n);
		*sources(&f, n) = (struct sources){
			.a = i->a == NO_REG ? NONE : f.defs.at[i->a],
			.b = i->b == NO_REG ? NONE : f.defs.at[i->b],
		};
		writes = ir_writes(i);
		for (int r = 0; r < IR_REGS; r++)
			if (writes & 1u << r)
				f.defs.at[r] = (int32_t)n;
	}
}
