// SPDX-License-Identifier: Apache-2.0
/*
 * IR instructions to machine instructions. Where the result is another register
 * than the first operand, three-operand forms (lea, imul, BMI2) save the copy.
 */
#include "exec/jit/x86.h"

static const uint8_t alu_op[16] = {
	[BPF_ADD >> 4] = ALU_ADD, [BPF_SUB >> 4] = ALU_SUB, [BPF_AND >> 4] = ALU_AND,
	[BPF_OR >> 4] = ALU_OR,   [BPF_XOR >> 4] = ALU_XOR,
};

bool x86_live_after(const struct ir *i, uint8_t reg)
{
	return i->live & (uint32_t)1 << reg;
}

/* The native register of r; R10 is computed into TMP. */
static uint8_t reg(struct x86 *c, uint8_t r)
{
	if (r != IR_FP)
		return c->map[r];
	x86_lea(c, true, TMP, x86_at(RSP, c->fp));
	return TMP;
}

struct x86_mem x86_address(struct x86 *c, const struct ir *i)
{
	struct x86_mem m = {.scale = i->scale ? i->scale : 1, .disp = i->off};

	m.index = i->index == NO_REG ? NO_XREG : c->map[i->index];
	if (i->base == IR_FP) {
		m.base = RSP;
		m.disp += c->fp;
	} else {
		m.base = c->map[i->base];
	}
	/* Any register but RBP/R13 is a shorter base where there is no displacement. */
	if (m.index != NO_XREG && m.scale == 1 && !m.disp && (m.base & 7) == RBP &&
	    (m.index & 7) != RSP) {
		uint8_t t = m.base;

		m.base = m.index;
		m.index = t;
	}
	return m;
}

static void set_flags(struct x86 *c, const struct ir *i)
{
	c->flags_reg = i->dst;
	c->flags_w = i->w;
}

/* ---- Arithmetic ---- */

static void add_imm(struct x86 *c, const struct ir *i, uint8_t d, uint8_t a)
{
	int32_t imm = (int32_t)i->imm;

	if (d != a) {
		x86_lea(c, i->w, d, x86_at(a, imm));
		return;
	}
	if (imm == 1 || imm == -1)
		x86_op_rr(c, 0xff, i->w, imm < 0, d);
	else if (imm == 128)
		x86_alu_ri(c, ALU_SUB, i->w, d, -128);
	else
		x86_alu_ri(c, ALU_ADD, i->w, d, imm);
	set_flags(c, i);
}

static void mul_imm(struct x86 *c, const struct ir *i, uint8_t d, uint8_t a)
{
	int32_t imm = (int32_t)i->imm;

	if (imm == 3 || imm == 5 || imm == 9) {
		x86_lea(c, i->w, d, (struct x86_mem){.base = a, .index = a, .scale = imm - 1});
		return;
	}
	x86_op_rr(c, imm == (int8_t)imm ? 0x6b : 0x69, i->w, d, a);
	if (imm == (int8_t)imm)
		x86_byte(c, (uint8_t)imm);
	else
		x86_imm32(c, imm);
}

static uint8_t shift_op(uint8_t kind)
{
	return kind == BPF_LSH ? SH_SHL : kind == BPF_RSH ? SH_SHR : SH_SAR;
}

static void shift_imm(struct x86 *c, const struct ir *i, uint8_t d, uint8_t a)
{
	uint8_t n = i->imm & (i->w ? 63 : 31);

	if (i->kind == BPF_LSH && n == 1 && d != a) {
		x86_lea(c, i->w, d, (struct x86_mem){.base = a, .index = a, .scale = 1});
		return;
	}
	if (i->kind == BPF_LSH && n && n <= 3 && d != a) {
		x86_lea(c, i->w, d,
			(struct x86_mem){.base = NO_XREG, .index = a, .scale = 1u << n});
		return;
	}
	if (d != a || !n)
		x86_mov_rr(c, i->w, d, a);
	if (!n)
		return;
	x86_shift_ri(c, shift_op(i->kind), i->w, d, n);
	set_flags(c, i);
}

static void shift_reg(struct x86 *c, const struct ir *i, uint8_t d, uint8_t a, uint8_t b)
{
	/* shlx 66, sarx F3, shrx F2 */
	static const uint8_t pp[8] = {[SH_SHL] = 1, [SH_SAR] = 2, [SH_SHR] = 3};
	uint8_t op = shift_op(i->kind);

	if (c->bmi2) {
		x86_vex_rr(c, 2, pp[op], 0xf7, i->w, d, b, a);
		return;
	}
	x86_mov_rr(c, true, TMP, a);
	x86_mov_rr(c, true, TMP2, RCX);
	x86_mov_rr(c, true, RCX, b);
	x86_op_rr(c, 0xd3, i->w, op, TMP);
	x86_mov_rr(c, true, RCX, TMP2);
	x86_mov_rr(c, i->w, d, TMP);
}

static void alu_operand(struct x86 *c, const struct ir *i, uint8_t d, uint8_t a)
{
	bool commutes = i->kind != BPF_SUB;
	uint8_t b = NO_XREG, t;

	if (i->operand == IR_REG)
		b = reg(c, i->b);
	if (b == d && d != a) {
		if (commutes) {
			t = a;
			a = b;
			b = t;
		} else {
			x86_mov_rr(c, true, TMP, b);
			b = TMP;
		}
	}
	if (i->kind == BPF_ADD && i->operand == IR_REG && d != a) {
		x86_lea(c, i->w, d, (struct x86_mem){.base = a, .index = b, .scale = 1});
		return;
	}
	if (d != a)
		x86_mov_rr(c, i->w, d, a);
	if (i->kind == BPF_MUL) {
		if (i->operand == IR_MEM)
			x86_op_rm(c, X_0F | 0xaf, i->w, d, x86_address(c, i));
		else
			x86_op_rr(c, X_0F | 0xaf, i->w, d, b);
		return;
	}
	if (i->operand == IR_MEM)
		x86_op_rm(c, alu_op[i->kind >> 4] << 3 | 3, i->w, d, x86_address(c, i));
	else if (i->operand == IR_REG)
		x86_alu_rr(c, alu_op[i->kind >> 4], i->w, d, b);
	else
		x86_alu_ri(c, alu_op[i->kind >> 4], i->w, d, (int32_t)i->imm);
	set_flags(c, i);
}

static void select_alu(struct x86 *c, const struct ir *i)
{
	uint8_t d = c->map[i->dst], a;

	if (i->a == IR_FP && i->kind == BPF_ADD && i->operand == IR_IMM && i->w) {
		x86_lea(c, true, d, x86_at(RSP, c->fp + (int32_t)i->imm));
		return;
	}
	a = reg(c, i->a);
	switch (i->kind) {
	case BPF_DIV:
	case BPF_MOD:
		x86_div(c, i);
		return;
	case BPF_LSH:
	case BPF_RSH:
	case BPF_ARSH:
		if (i->operand == IR_IMM)
			shift_imm(c, i, d, a);
		else
			shift_reg(c, i, d, a, reg(c, i->b));
		return;
	default:
		break;
	}
	if (i->operand == IR_IMM && i->kind == BPF_ADD)
		add_imm(c, i, d, a);
	else if (i->operand == IR_IMM && i->kind == BPF_MUL)
		mul_imm(c, i, d, a);
	else
		alu_operand(c, i, d, a);
}

static void select_mov(struct x86 *c, const struct ir *i)
{
	uint8_t d = c->map[i->dst];

	if (i->a == IR_FP)
		x86_lea(c, true, d, x86_at(RSP, c->fp));
	else if (i->a != NO_REG)
		x86_mov_rr(c, i->w, d, c->map[i->a]);
	else
		x86_mov_ri(c, d, i->w ? (uint64_t)i->imm : (uint32_t)i->imm);
}

static void select_extend(struct x86 *c, const struct ir *i)
{
	uint8_t d = c->map[i->dst], a = reg(c, i->a);
	bool sign = i->op == IR_SEXT;

	if (i->size == 4 && sign && i->w)
		x86_op_rr(c, 0x63, true, d, a);
	else if (i->size == 4)
		x86_op_rr(c, 0x89, false, a, d);
	else if (i->size == 2)
		x86_op_rr(c, X_0F | (sign ? 0xbf : 0xb7), sign && i->w, d, a);
	else
		x86_op_rr(c, X_0F | X_RM8 | (sign ? 0xbe : 0xb6), sign && i->w, d, a);
}

static void select_swap(struct x86 *c, const struct ir *i)
{
	uint8_t d = c->map[i->dst];

	if ((i->flags & IR_MEM_A) && c->movbe) {
		x86_op_rm(c, X_0F38 | 0xf0, i->size == 8, d, x86_address(c, i));
		return;
	}
	if (i->flags & IR_MEM_A)
		x86_load(c, i->size, false, true, d, x86_address(c, i));
	else
		x86_mov_rr(c, true, d, reg(c, i->a));
	if (i->size == 2) {
		x86_op_rr(c, X_66 | 0xc1, false, SH_ROL, d);
		x86_byte(c, 8);
		x86_op_rr(c, X_0F | 0xb7, false, d, d);
		return;
	}
	if (i->size == 8 || (d & 8))
		x86_byte(c, 0x40 | (i->size == 8 ? 8 : 0) | (d & 8 ? 1 : 0));
	x86_byte(c, 0x0f);
	x86_byte(c, 0xc8 | (d & 7));
}

static void select_rotate(struct x86 *c, const struct ir *i)
{
	uint8_t d = c->map[i->dst], a = reg(c, i->a), bits = i->w ? 64 : 32;

	if (d != a && c->bmi2) {
		x86_vex_rr(c, 3, 3, 0xf0, i->w, d, 0, a); /* rorx */
		x86_byte(c, bits - (uint8_t)i->imm);
		return;
	}
	x86_mov_rr(c, true, d, a);
	x86_shift_ri(c, SH_ROL, i->w, d, (uint8_t)i->imm);
}

/* ---- Memory ---- */

static void select_store(struct x86 *c, const struct ir *i)
{
	struct x86_mem m = x86_address(c, i);

	if (i->a != NO_REG) {
		x86_store(c, i->size, reg(c, i->a), m);
		return;
	}
	switch (i->size) {
	case 1:
		x86_op_rm(c, 0xc6, false, 0, m);
		x86_byte(c, (uint8_t)i->imm);
		break;
	case 2:
		x86_op_rm(c, X_66 | 0xc7, false, 0, m);
		x86_byte(c, (uint8_t)i->imm);
		x86_byte(c, (uint8_t)(i->imm >> 8));
		break;
	default:
		x86_op_rm(c, 0xc7, i->size == 8, 0, m);
		x86_imm32(c, (int32_t)i->imm);
	}
}

static void select_rmw(struct x86 *c, const struct ir *i)
{
	struct x86_mem m = x86_address(c, i);
	int32_t imm = (int32_t)i->imm;

	if (i->operand == IR_REG)
		x86_op_rm(c, alu_op[i->kind >> 4] << 3 | 1, i->w, c->map[i->b], m);
	else if (i->kind == BPF_ADD && (imm == 1 || imm == -1))
		x86_op_rm(c, 0xff, i->w, imm < 0, m);
	else
		x86_alu_mi(c, alu_op[i->kind >> 4], i->w, m, imm);
}

/* ---- Jumps ---- */

static const uint8_t jcc_cc[16] = {
	[BPF_JEQ >> 4] = CC_E,   [BPF_JNE >> 4] = CC_NE,  [BPF_JGT >> 4] = CC_A,
	[BPF_JGE >> 4] = CC_AE,  [BPF_JLT >> 4] = CC_B,   [BPF_JLE >> 4] = CC_BE,
	[BPF_JSGT >> 4] = CC_G,  [BPF_JSGE >> 4] = CC_GE, [BPF_JSLT >> 4] = CC_L,
	[BPF_JSLE >> 4] = CC_LE, [BPF_JSET >> 4] = CC_NE,
};

static bool same_comparison(const struct ir *x, const struct ir *y)
{
	return x->a == y->a && x->operand == y->operand && x->b == y->b && x->imm == y->imm &&
	       x->w == y->w && !((x->flags | y->flags) & IR_MEM_A) && x->operand != IR_MEM &&
	       (x->kind == BPF_JSET) == (y->kind == BPF_JSET);
}

/* cmp or test with memory as the first operand. */
static void compare_memory(struct x86 *c, const struct ir *i)
{
	struct x86_mem m = x86_address(c, i);
	int32_t imm = (int32_t)i->imm;

	if (i->operand == IR_REG) {
		x86_op_rm(c, ALU_CMP << 3 | 1, i->w, reg(c, i->b), m);
	} else if (i->kind == BPF_JSET && (i->size <= 2 || (imm >= 0 && imm <= 0xff))) {
		/* Little endian: the low byte holds all that is asked for. */
		x86_op_rm(c, 0xf6, false, 0, m);
		x86_byte(c, (uint8_t)imm);
	} else if (i->kind == BPF_JSET) {
		x86_op_rm(c, 0xf7, i->w, 0, m);
		x86_imm32(c, imm);
	} else if (i->size == 1) {
		x86_op_rm(c, 0x80, false, ALU_CMP, m);
		x86_byte(c, (uint8_t)imm);
	} else if (i->size == 2) {
		x86_op_rm(c, X_66 | 0x83, false, ALU_CMP, m);
		x86_byte(c, (uint8_t)imm);
	} else {
		x86_alu_mi(c, ALU_CMP, i->w, m, imm);
	}
}

/* Sets the flags; returns the condition that makes the comparison true. */
static uint8_t compare_true(struct x86 *c, const struct ir *i)
{
	uint8_t cc = jcc_cc[i->kind >> 4], a, b;
	int32_t imm = (int32_t)i->imm;
	bool zero = i->operand == IR_IMM && !imm && !(i->flags & IR_MEM_A);

	if (c->last_jcc && same_comparison(c->last_jcc, i))
		return cc;
	if (i->flags & IR_MEM_A) {
		c->flags_reg = NO_REG;
		compare_memory(c, i);
		return cc;
	}
	/* Unsigned comparisons with 0 that are equalities. */
	if (zero && i->kind == BPF_JGT)
		cc = CC_NE;
	else if (zero && i->kind == BPF_JLE)
		cc = CC_E;
	if (zero && i->kind != BPF_JSET && c->flags_reg == i->a && c->flags_w == i->w) {
		/* The overflow flag is not ours to know: only zero and sign. */
		if (cc == CC_E || cc == CC_NE)
			return cc;
		if (i->kind == BPF_JSLT)
			return CC_S;
		if (i->kind == BPF_JSGE)
			return CC_NS;
	}
	c->flags_reg = NO_REG;
	a = reg(c, i->a);
	if (i->kind == BPF_JSET) {
		if (i->operand == IR_REG) {
			x86_op_rr(c, 0x85, i->w, reg(c, i->b), a);
		} else if (imm >= 0 && imm <= 0xff && (a <= RBX || imm > 0x7f || !i->w)) {
			x86_op_rr(c, X_RM8 | 0xf6, false, 0, a);
			x86_byte(c, (uint8_t)imm);
		} else {
			x86_op_rr(c, 0xf7, i->w && imm < 0, 0, a);
			x86_imm32(c, imm);
		}
		return cc;
	}
	if (i->operand == IR_REG) {
		b = reg(c, i->b);
		x86_alu_rr(c, ALU_CMP, i->w, a, b);
	} else if (!imm) {
		x86_op_rr(c, 0x85, i->w, a, a);
	} else {
		x86_alu_ri(c, ALU_CMP, i->w, a, imm);
	}
	return cc;
}

/* ... under which the jump is taken. */
static uint8_t compare(struct x86 *c, const struct ir *i)
{
	return compare_true(c, i) ^ !!(i->flags & IR_NOT);
}

static bool same_flags(const struct ir *i)
{
	return i->op == IR_NOP;
}

/* The next instruction that does something, if nothing jumps in between. */
static uint32_t next_real(const struct jit *jit, uint32_t n, uint32_t end)
{
	for (n++; n < end && same_flags(&jit->ir[n]) && !(jit->ir[n].flags & IR_TARGET); n++)
		;
	return n;
}

/*
 * A branch over a single move is a conditional move: what compilers for BPF make of
 * a select, having no such instruction.
 */
static uint32_t select_cmov(struct x86 *c, uint32_t n)
{
	const struct jit *jit = c->jit;
	const struct ir *i = &jit->ir[n], *m;
	uint32_t at = next_real(jit, n, c->f->end), after;
	uint8_t cc, src, d;

	if (at >= c->f->end)
		return 0;
	m = &jit->ir[at];
	if (m->op != IR_MOV || (m->flags & IR_TARGET) || m->a == IR_FP || m->dst == IR_FP)
		return 0;
	if (!m->w && m->a != NO_REG)
		return 0;
	for (after = at + 1; after < i->target && jit->ir[after].op == IR_NOP; after++)
		;
	if (i->target <= n || after != i->target)
		return 0;
	if (m->a == NO_REG && m->imm != (int32_t)m->imm && (uint64_t)m->imm > UINT32_MAX)
		return 0;
	d = c->map[m->dst];
	if (m->a != NO_REG) {
		src = c->map[m->a];
	} else {
		/* TMP is also where an operand R10 would go. */
		if (i->a == IR_FP || i->b == IR_FP)
			return 0;
		c->flags_reg = NO_REG;
		c->last_jcc = NULL;
		src = TMP;
		x86_mov_ri(c, TMP, m->w ? (uint64_t)m->imm : (uint32_t)m->imm);
	}
	cc = compare(c, i);
	x86_op_rr(c, X_0F | 0x40 | (cc ^ 1), true, d, src);
	c->flags_reg = NO_REG;
	c->last_jcc = NULL;
	for (uint32_t k = n + 1; k <= at; k++)
		jit->offsets[k] = c->len;
	return at - n + 1;
}

static uint32_t select_jcc(struct x86 *c, uint32_t n)
{
	struct ir *i = &c->jit->ir[n];
	uint32_t covered = select_cmov(c, n);
	uint8_t cc;

	if (covered)
		return covered;
	cc = compare(c, i);
	x86_jump(c, i, cc);
	c->last_jcc = i;
	return 1;
}

uint32_t x86_select(struct x86 *c, uint32_t n)
{
	struct ir *i = &c->jit->ir[n];
	uint8_t flags_before = c->flags_reg;

	if (i->flags & IR_TARGET) {
		flags_before = c->flags_reg = NO_REG;
		c->last_jcc = NULL;
	}
	if (i->op == IR_NOP)
		return 1;
	if (i->op == IR_JCC)
		return select_jcc(c, n);
	/* What does not say otherwise leaves nothing in the flags. */
	c->flags_reg = NO_REG;
	c->last_jcc = NULL;
	switch (i->op) {
	case IR_MOV:
		select_mov(c, i);
		/* Moves leave the flags, but for the one that zeroes. */
		if (i->a != NO_REG && i->a != IR_FP && flags_before != i->dst)
			c->flags_reg = flags_before;
		break;
	case IR_ALU:
		select_alu(c, i);
		break;
	case IR_NEG:
		x86_mov_rr(c, true, c->map[i->dst], reg(c, i->a));
		x86_op_rr(c, 0xf7, i->w, 3, c->map[i->dst]);
		break;
	case IR_SEXT:
	case IR_ZEXT:
		select_extend(c, i);
		break;
	case IR_SWAP:
		select_swap(c, i);
		break;
	case IR_ROL:
		select_rotate(c, i);
		break;
	case IR_LOAD:
		x86_load(c, i->size, i->flags & IR_SIGNED, i->w, c->map[i->dst], x86_address(c, i));
		break;
	case IR_PROBE:
		x86_probe(c, i);
		break;
	case IR_STORE:
		select_store(c, i);
		break;
	case IR_RMW:
		select_rmw(c, i);
		break;
	case IR_ATOMIC:
		x86_atomic(c, i);
		break;
	case IR_JMP:
		x86_jump(c, i, -1);
		break;
	case IR_MAY_GOTO:
		x86_may_goto(c, i);
		break;
	case IR_CALL:
		x86_call(c, i);
		break;
	case IR_CALL_SUB:
		x86_call_sub(c, i);
		break;
	case IR_TAIL_CALL:
		x86_tail_call(c, i);
		break;
	case IR_LOOKUP:
		x86_lookup(c, i);
		break;
	case IR_CPU:
		x86_load(c, 4, false, true, c->map[i->dst],
			 x86_at(c->env, offsetof(struct skep_env, cpu)));
		break;
	case IR_FUNC:
		/* lea dst, [rip + distance] */
		x86_byte(c, c->map[i->dst] & 8 ? 0x4c : 0x48);
		x86_byte(c, 0x8d);
		x86_byte(c, (c->map[i->dst] & 7) << 3 | 5);
		x86_imm32(c, (int32_t)(c->jit->entries[i->imm] - (c->len + 4)));
		break;
	case IR_EXIT:
		x86_exit(c);
		break;
	}
	return 1;
}
