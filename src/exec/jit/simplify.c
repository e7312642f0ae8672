// SPDX-License-Identifier: Apache-2.0
/*
 * One pass forward over a function, with what is known of each register since the
 * last jump target: which register it is a copy of, which constant it holds, how
 * many of its bits may be set. Operands are replaced by what they are copies of
 * (the copies become useless and go with the next liveness), operations by
 * cheaper ones that do the same.
 */
#include <string.h>

#include "exec/alu.h"
#include "exec/jit/jit.h"

struct known {
	uint8_t copy[IR_REGS]; /* the register that holds the same value; itself if none */
	bool copied[IR_REGS]; /* another one may be a copy of it */
	bool is_const[IR_REGS];
	int64_t value[IR_REGS];
	uint8_t bits[IR_REGS];
};

static bool fits32(int64_t v)
{
	return v == (int32_t)v;
}

static void forget_all(struct known *k)
{
	for (int r = 0; r < IR_REGS; r++) {
		k->copy[r] = r;
		k->copied[r] = false;
		k->is_const[r] = false;
	}
}

static void forget(struct known *k, uint32_t writes)
{
	for (; writes; writes &= writes - 1) {
		uint8_t r = (uint8_t)__builtin_ctz(writes);

		k->is_const[r] = false;
		k->copy[r] = r;
		if (!k->copied[r])
			continue;
		k->copied[r] = false;
		for (uint8_t o = 0; o < IR_REGS; o++)
			if (k->copy[o] == r)
				k->copy[o] = o;
	}
}

static uint8_t resolve(const struct known *k, uint8_t r, bool fp_ok)
{
	if (r == NO_REG)
		return r;
	return k->copy[r] == IR_FP && !fp_ok ? r : k->copy[r];
}

static bool is_imm(const struct known *k, uint8_t r, bool w, int64_t *imm)
{
	if (r == NO_REG || !k->is_const[r])
		return false;
	*imm = w ? k->value[r] : (int32_t)k->value[r];
	return fits32(*imm);
}

/* ---- Operands ---- */

static void replace_operands(struct ir *i, const struct known *k)
{
	int64_t imm;

	i->base = resolve(k, i->base, true);
	i->index = resolve(k, i->index, false);
	switch (i->op) {
	case IR_ALU:
		if (i->operand == IR_REG && is_imm(k, i->b, i->w, &imm)) {
			bool div = i->kind == BPF_DIV || i->kind == BPF_MOD;
			bool shift =
				i->kind == BPF_LSH || i->kind == BPF_RSH || i->kind == BPF_ARSH;

			if (!div || imm) {
				i->operand = IR_IMM;
				i->b = NO_REG;
				i->imm = shift ? imm & (i->w ? 63 : 31) : imm;
			}
		}
		if (i->operand == IR_REG)
			i->b = resolve(k, i->b, false);
		i->a = resolve(k, i->a, i->kind == BPF_ADD && i->operand == IR_IMM && i->w);
		break;
	case IR_JCC:
		if (i->operand == IR_REG && is_imm(k, i->b, i->w, &imm)) {
			i->operand = IR_IMM;
			i->b = NO_REG;
			i->imm = imm;
		}
		if (i->operand == IR_REG)
			i->b = resolve(k, i->b, false);
		i->a = resolve(k, i->a, false);
		break;
	case IR_MOV:
		i->a = resolve(k, i->a, i->w);
		break;
	case IR_STORE:
		if (i->a != NO_REG && is_imm(k, i->a, i->size == 8, &imm)) {
			i->a = NO_REG;
			i->imm = imm;
		}
		i->a = resolve(k, i->a, false);
		break;
	case IR_NEG:
	case IR_SEXT:
	case IR_ZEXT:
	case IR_SWAP:
	case IR_ROL:
		i->a = resolve(k, i->a, false);
		break;
	case IR_TAIL_CALL:
		if (k->is_const[3] && !i->size) {
			i->size = 4;
			i->off = (int32_t)k->value[3];
		}
		break;
	default:
		/* Atomics and calls have their operands where they must be. */
		break;
	}
}

/* ---- Operations ---- */

static void to_mov(struct ir *i, bool w)
{
	i->op = IR_MOV;
	i->operand = IR_IMM;
	i->b = NO_REG;
	i->w = w;
	i->flags &= ~IR_SIGNED;
	i->imm = 0;
}

static void to_const(struct ir *i, uint64_t v)
{
	to_mov(i, true);
	i->a = NO_REG;
	i->imm = (int64_t)v;
}

static void to_extend(struct ir *i, uint8_t op, uint8_t size, bool w)
{
	i->op = op;
	i->operand = IR_IMM;
	i->b = NO_REG;
	i->size = size;
	i->w = w;
}

static bool power_of_2(int64_t v, unsigned *log2)
{
	if (v <= 0 || (v & (v - 1)))
		return false;
	*log2 = (unsigned)__builtin_ctzll((uint64_t)v);
	return true;
}

/* The result has no more than 32 bits, whichever way it is computed. */
static void narrow(struct ir *i)
{
	i->flags |= IR_EXACT;
	i->w = false;
}

static void simplify_and(struct ir *i, const struct known *k)
{
	uint64_t mask = i->w ? (uint64_t)i->imm : (uint32_t)i->imm;
	unsigned abits = k->bits[i->a] > 32 && !i->w ? 32 : k->bits[i->a];

	if (!(mask & (mask + 1)) && mask && abits <= 64 - (unsigned)__builtin_clzll(mask)) {
		to_mov(i, i->w);
		return;
	}
	if (mask == 0xff || mask == 0xffff)
		to_extend(i, IR_ZEXT, mask == 0xff ? 1 : 2, false);
	else if (i->imm >= 0)
		i->w = false;
}

/* With an immediate operand. */
static void simplify_imm(struct ir *i, const struct known *k)
{
	unsigned n, abits = k->bits[i->a];

	if (!i->w && abits > 32)
		abits = 32;
	switch (i->kind) {
	case BPF_MUL:
		if (!i->imm) {
			to_const(i, 0);
		} else if (power_of_2(i->w ? i->imm : (uint32_t)i->imm, &n)) {
			i->kind = BPF_LSH;
			i->imm = n;
			simplify_imm(i, k);
		}
		break;
	case BPF_DIV:
		if (i->flags & IR_SIGNED || !power_of_2(i->w ? i->imm : (uint32_t)i->imm, &n))
			break;
		i->kind = BPF_RSH;
		i->imm = n;
		simplify_imm(i, k);
		break;
	case BPF_MOD:
		if (i->flags & IR_SIGNED || !power_of_2(i->w ? i->imm : (uint32_t)i->imm, &n))
			break;
		i->kind = BPF_AND;
		i->imm = i->w ? i->imm - 1 : (int32_t)((uint32_t)i->imm - 1);
		simplify_imm(i, k);
		break;
	case BPF_AND:
		simplify_and(i, k);
		break;
	case BPF_ARSH:
		if (abits >= (i->w ? 64u : 32u))
			goto shift;
		i->kind = BPF_RSH;
		/* fallthrough */
	case BPF_RSH:
		if ((unsigned)i->imm >= abits) {
			to_const(i, 0);
			break;
		}
		if (k->bits[i->a] <= 32 && i->imm < 32)
			narrow(i);
		goto shift;
	case BPF_LSH:
		if (k->bits[i->a] + (unsigned)i->imm <= 32 && i->imm < 32)
			narrow(i);
		goto shift;
	case BPF_OR:
	case BPF_XOR:
	case BPF_ADD:
		if (abits <= 31 && i->imm >= 0 && i->kind != BPF_ADD)
			i->w = false;
		if (!i->imm)
			to_mov(i, i->w);
		break;
	case BPF_SUB:
		if (i->imm == INT32_MIN)
			break;
		i->kind = BPF_ADD;
		i->imm = -i->imm;
		if (!i->imm)
			to_mov(i, i->w);
		break;
	}
	return;
shift:
	if (!i->imm)
		to_mov(i, i->w);
}

static void simplify_alu(struct ir *i, const struct known *k)
{
	unsigned abits = k->bits[i->a], bbits;
	bool commutes = i->kind == BPF_ADD || i->kind == BPF_MUL || i->kind == BPF_AND ||
			i->kind == BPF_OR || i->kind == BPF_XOR;
	int64_t imm;

	i->flags &= ~IR_EXACT; /* found out anew */
	if (i->operand == IR_REG && commutes && is_imm(k, i->a, i->w, &imm)) {
		i->a = i->b;
		i->b = NO_REG;
		i->operand = IR_IMM;
		i->imm = imm;
		abits = k->bits[i->a];
	}
	if (i->operand == IR_IMM && k->is_const[i->a]) {
		bool sign = i->flags & IR_SIGNED;
		uint64_t a = (uint64_t)k->value[i->a], b = (uint64_t)i->imm;

		to_const(i, i->w ? skep_alu64(i->kind, sign, a, b)
				 : skep_alu32(i->kind, sign, (uint32_t)a, (uint32_t)b));
		return;
	}
	bbits = i->operand == IR_REG ? k->bits[i->b]
		: i->imm >= 0        ? (i->imm ? 64 - (unsigned)__builtin_clzll(i->imm) : 1)
				     : 64;
	if (i->kind == BPF_ADD && abits <= 31 && bbits <= 31)
		narrow(i);
	if (i->w && abits <= 32 && bbits <= 32) {
		switch (i->kind) {
		case BPF_DIV:
		case BPF_MOD:
			if (!(i->flags & IR_SIGNED))
				i->w = false;
			break;
		case BPF_AND:
		case BPF_OR:
		case BPF_XOR:
			/* An immediate is sign-extended: 31 bits of it are ours. */
			i->w = i->operand == IR_IMM && bbits > 31;
			break;
		}
	}
	if (i->operand == IR_IMM)
		simplify_imm(i, k);
	else if (i->operand == IR_REG && i->a == i->b && (i->kind == BPF_XOR || i->kind == BPF_SUB))
		to_const(i, 0);
}

static bool is_signed_jcc(uint8_t kind)
{
	return kind == BPF_JSGT || kind == BPF_JSGE || kind == BPF_JSLT || kind == BPF_JSLE;
}

static void simplify_jcc(struct ir *i, const struct known *k)
{
	static const uint8_t mirror[16] = {
		[BPF_JEQ >> 4] = BPF_JEQ,   [BPF_JNE >> 4] = BPF_JNE,   [BPF_JSET >> 4] = BPF_JSET,
		[BPF_JGT >> 4] = BPF_JLT,   [BPF_JLT >> 4] = BPF_JGT,   [BPF_JGE >> 4] = BPF_JLE,
		[BPF_JLE >> 4] = BPF_JGE,   [BPF_JSGT >> 4] = BPF_JSLT, [BPF_JSLT >> 4] = BPF_JSGT,
		[BPF_JSGE >> 4] = BPF_JSLE, [BPF_JSLE >> 4] = BPF_JSGE,
	};
	unsigned limit = is_signed_jcc(i->kind) ? 31 : 32;
	int64_t imm;

	if (i->operand == IR_REG && is_imm(k, i->a, i->w, &imm)) {
		i->a = i->b;
		i->b = NO_REG;
		i->operand = IR_IMM;
		i->imm = imm;
		i->kind = mirror[i->kind >> 4];
	}
	if (i->operand == IR_IMM && k->is_const[i->a]) {
		bool taken = skep_jcc(i->kind, i->w, (uint64_t)k->value[i->a], (uint64_t)i->imm) !=
			     !!(i->flags & IR_NOT);

		i->op = taken ? IR_JMP : IR_NOP;
		i->a = NO_REG;
		return;
	}
	if (i->w && k->bits[i->a] <= limit &&
	    (i->operand == IR_REG ? k->bits[i->b] <= limit : i->imm >= 0))
		i->w = false;
}

static void simplify(struct ir *i, const struct known *k)
{
	switch (i->op) {
	case IR_ALU:
		simplify_alu(i, k);
		break;
	case IR_JCC:
		simplify_jcc(i, k);
		break;
	case IR_SEXT:
		if (k->bits[i->a] < i->size * 8u)
			to_mov(i, true);
		break;
	case IR_ZEXT:
		if (i->size == 4 || k->bits[i->a] <= i->size * 8u)
			to_mov(i, k->bits[i->a] <= i->size * 8u);
		break;
	default:
		break;
	}
	if (i->op != IR_MOV)
		return;
	if (i->a != NO_REG && k->is_const[i->a]) {
		uint64_t v = (uint64_t)k->value[i->a];

		v = i->w ? v : (uint32_t)v;
		/* Longer ones are cheaper copied. */
		if (v <= UINT32_MAX || fits32((int64_t)v))
			to_const(i, v);
	}
	if (i->a != NO_REG && !i->w && k->bits[i->a] <= 32)
		i->w = true;
	if (i->a == i->dst && i->w) {
		i->op = IR_NOP;
		i->dst = i->a = NO_REG;
	}
}

/* What the instruction makes known. */
static void learn(const struct ir *i, struct known *k)
{
	bool low_only = i->dst != NO_REG && !(i->live & (uint32_t)1 << (16 + i->dst));

	forget(k, ir_writes(i));
	jit_bits_step(i, k->bits);
	if (i->op != IR_MOV)
		return;
	if (i->a == NO_REG) {
		k->is_const[i->dst] = true;
		k->value[i->dst] = i->w ? i->imm : (int64_t)(uint32_t)i->imm;
	} else if (i->a != i->dst && (i->w || low_only)) {
		/* Where only the low half is ever read, 32 bits are a full copy. */
		k->copy[i->dst] = i->a;
		k->copied[i->a] = true;
	}
}

void jit_simplify(struct jit *jit, const struct jit_func *f)
{
	struct known k;

	forget_all(&k);
	memset(k.bits, 64, sizeof(k.bits));
	for (uint32_t n = f->start; n < f->end; n++) {
		struct ir *i = &jit->ir[n];

		if (i->flags & IR_TARGET) {
			forget_all(&k);
			memcpy(k.bits, jit->bits_in[n], sizeof(k.bits));
		}
		if (i->op == IR_NOP)
			continue;
		replace_operands(i, &k);
		simplify(i, &k);
		learn(i, &k);
	}
}

/* ---- Division by constants ---- */

void jit_magic(uint64_t d, unsigned bits, struct jit_magic *out)
{
	unsigned up = 64 - (unsigned)__builtin_clzll(d - 1); /* ceil(log2 d) */
	unsigned __int128 one = 1, m;

	out->add = false;
	/* The smallest shift whose error stays below one unit of the quotient. */
	for (unsigned s = up ? up - 1 : 0; s <= up; s++) {
		unsigned __int128 p = one << (bits + s);

		m = p / d + 1;
		if (m >> bits)
			break;
		if (m * d - p <= one << s) {
			out->mul = (uint64_t)m;
			out->shift = s;
			return;
		}
	}
	/* One bit more: the top one is added apart. */
	m = ((one << bits) * ((one << up) - d)) / d + 1;
	out->mul = (uint64_t)m;
	out->shift = up - 1;
	out->add = true;
}
