/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Arithmetic: on numbers through the number domain, on pointers by the rules of
 * what may be added to which.
 */
#include "verifier/mem.h"

#include "isa/isa.h"

static const char *const op_text[16] = {
	[BPF_ADD >> 4] = "+=",    [BPF_SUB >> 4] = "-=",     [BPF_MUL >> 4] = "*=",
	[BPF_DIV >> 4] = "/=",    [BPF_OR >> 4] = "|=",      [BPF_AND >> 4] = "&=",
	[BPF_LSH >> 4] = "<<=",   [BPF_RSH >> 4] = ">>=",    [BPF_NEG >> 4] = "neg",
	[BPF_MOD >> 4] = "%=",    [BPF_XOR >> 4] = "^=",     [BPF_MOV >> 4] = "=",
	[BPF_ARSH >> 4] = "s>>=", [BPF_END >> 4] = "endian",
};

static int reserved(struct venv *env, const char *what)
{
	return skep_v_refuse(env, EINVAL, W_INSN, -1, "%s uses reserved fields\n", what);
}

static bool leaks(const struct venv *env, const struct vreg *r)
{
	return !env->priv && !v_is_scalar(r);
}

/* Checks that dst may be written; its old value stays for now. */
static int check_dst(struct venv *env, uint32_t r)
{
	if (r >= V_REGS)
		return skep_v_refuse(env, EINVAL, W_INSN, -1, "R%u is invalid\n", r);
	if (r == 10)
		return skep_v_refuse(env, EACCES, W_INSN, -1, "frame pointer is read only\n");
	env->scratched |= (uint16_t)(1u << r);
	return 0;
}

static void set_unknown(struct venv *env, struct vreg *d, bool is64)
{
	skep_v_reg_unknown(d);
	d->precise = !env->priv;
	d->origin = env->insn;
	d->def32 = is64 ? 0 : env->insn + 1;
}

/* Width in bits that the number needs. */
static unsigned width(const struct vreg *r)
{
	return r->s.umax ? 64 - (unsigned)__builtin_clzll(r->s.umax) : 0;
}

/* Before a number is copied, it gets an id, so that what is learnt of one copy
 * holds for the other. Constants need none. */
static void link_copy(struct venv *env, struct vreg *src)
{
	if (!v_is_scalar(src) || v_is_const(src))
		return;
	if (src->id & V_ADD_CONST) {
		src->id = 0;
		src->off = 0;
	}
	if (!src->id)
		src->id = ++env->next_id;
}

static int move_reg(struct venv *env, const struct bpf_insn *in, bool is64)
{
	struct vreg *src = skep_v_reg(env, in->src_reg), *dst = skep_v_reg(env, in->dst_reg);
	bool fits;

	if (!src || !dst)
		return -ENOMEM;
	if (is64 && !in->off) {
		link_copy(env, src);
		*dst = *src;
		dst->def32 = 0;
		return 0;
	}
	if (leaks(env, src))
		return skep_v_refuse(env, EACCES, W_LEAK, in->src_reg,
				     is64 ? "R%u sign-extension part of pointer\n"
					  : "R%u partial copy of pointer\n",
				     in->src_reg);
	if (!v_is_scalar(src)) {
		set_unknown(env, dst, is64);
		if (!is64)
			skep_scalar_zext(&dst->s, 4);
		return 0;
	}
	fits = in->off ? src->s.umax < 1ull << (in->off - 1) : width(src) <= 32;
	if (fits)
		link_copy(env, src);
	*dst = *src;
	if (!fits) {
		dst->id = 0;
		dst->off = 0;
	}
	dst->def32 = is64 ? 0 : env->insn + 1;
	if (in->off)
		skep_scalar_sext(&dst->s, (unsigned)in->off / 8, is64);
	if (!is64)
		skep_scalar_zext(&dst->s, 4);
	return 0;
}

static int alu_mov(struct venv *env, const struct bpf_insn *in, bool is64)
{
	int err;

	if (BPF_SRC(in->code) == BPF_X && is64 && in->off == 1) {
		if (in->imm != 1 && in->imm != 1 << 16)
			return skep_v_refuse(env, EINVAL, W_INSN, -1,
					     "addr_space_cast insn can only convert between "
					     "address space 1 and 0\n");
		return skep_v_refuse(
			env, EINVAL, W_INSN, -1,
			"addr_space_cast insn can only be used in a program that has an "
			"associated arena\n");
	}
	if (BPF_SRC(in->code) == BPF_X) {
		if (in->imm ||
		    (in->off && in->off != 8 && in->off != 16 && (in->off != 32 || !is64)))
			return reserved(env, "BPF_MOV");
		err = skep_v_read_reg(env, in->src_reg, is64 || (in->off && in->off > 32));
		if (err)
			return err;
	} else if (in->src_reg || in->off) {
		return reserved(env, "BPF_MOV");
	}
	err = check_dst(env, in->dst_reg);
	if (err)
		return err;
	if (BPF_SRC(in->code) == BPF_X) {
		err = move_reg(env, in, is64);
	} else {
		struct vreg *dst = skep_v_reg(env, in->dst_reg);

		if (!dst)
			return -ENOMEM;
		skep_v_reg_const(dst, is64 ? (uint64_t)(int64_t)in->imm : (uint32_t)in->imm);
		dst->origin = env->insn;
		dst->def32 = is64 ? 0 : env->insn + 1;
	}
	return err;
}

static int alu_unary(struct venv *env, const struct bpf_insn *in, bool is64)
{
	bool neg = BPF_OP(in->code) == BPF_NEG;
	struct vreg *dst;
	int err;

	if (neg) {
		if (BPF_SRC(in->code) != BPF_K || in->src_reg || in->off || in->imm)
			return reserved(env, "BPF_NEG");
	} else if (in->src_reg || in->off || (in->imm != 16 && in->imm != 32 && in->imm != 64) ||
		   (is64 && BPF_SRC(in->code) != BPF_TO_LE)) {
		return reserved(env, "BPF_END");
	}
	err = skep_v_read_reg(env, in->dst_reg, neg ? is64 : in->imm == 64);
	if (err)
		return err;
	if (leaks(env, v_reg(env, in->dst_reg)))
		return skep_v_refuse(env, EACCES, W_PTR_ARITH, in->dst_reg,
				     "R%u pointer arithmetic prohibited\n", in->dst_reg);
	err = check_dst(env, in->dst_reg);
	if (err)
		return err;
	dst = skep_v_reg(env, in->dst_reg);
	if (!dst)
		return -ENOMEM;
	if (!v_is_scalar(dst)) {
		set_unknown(env, dst, is64);
		return 0;
	}
	dst->id = 0;
	dst->off = 0;
	dst->origin = env->insn;
	dst->def32 = (neg && !is64) || (!neg && in->imm < 64 && !is64) ? env->insn + 1 : 0;
	if (neg) {
		struct skep_scalar zero = skep_scalar_const(0);

		skep_scalar_alu(&dst->s, BPF_NEG, is64, false, &zero);
	} else {
		bool swap = is64 || BPF_SRC(in->code) == BPF_TO_BE;

		skep_scalar_end(&dst->s, (unsigned)in->imm / 8, swap);
	}
	return 0;
}

/* ---- Pointers ---- */

static int sane_offset(struct venv *env, const struct vreg *reg, const struct vreg *named, int r)
{
	char name[64];
	int64_t val = (int64_t)reg->s.bits.value;

	/* The usual case first: names take time. */
	if (reg->s.smin < V_MAX_OFF && reg->s.smin > -V_MAX_OFF &&
	    (v_is_scalar(reg) || (reg->off < V_MAX_OFF && reg->off > -V_MAX_OFF)))
		return 0;
	skep_v_type_name(named, name);
	if (v_is_const(reg) && (val >= V_MAX_OFF || val <= -V_MAX_OFF))
		return skep_v_refuse(env, EINVAL, W_UNBOUNDED, r,
				     "math between %s pointer and %lld is not allowed\n", name,
				     (long long)val);
	if (!v_is_scalar(reg) && (reg->off >= V_MAX_OFF || reg->off <= -V_MAX_OFF))
		return skep_v_refuse(env, EINVAL, W_UNBOUNDED, r,
				     "%s pointer offset %d is not allowed\n", name, reg->off);
	if (reg->s.smin == INT64_MIN)
		return skep_v_refuse(
			env, EINVAL, W_UNBOUNDED, r,
			"math between %s pointer and register with unbounded min value is "
			"not allowed\n",
			name);
	if (reg->s.smin >= V_MAX_OFF || reg->s.smin <= -V_MAX_OFF)
		return skep_v_refuse(env, EINVAL, W_UNBOUNDED, r,
				     "value %lld makes %s pointer be out of bounds\n",
				     (long long)reg->s.smin, name);
	return 0;
}

static bool may_move(const struct vreg *ptr, const struct vreg *num, uint8_t op)
{
	switch (ptr->type) {
	case V_CTX:
	case V_MAP_VALUE:
	case V_MAP_KEY:
	case V_STACK:
	case V_PKT:
	case V_PKT_META:
	case V_MEM:
	case V_FUNC:
	case V_PERCPU:
	case V_BTF:
		return true;
	case V_FLOW_KEYS:
		if (v_is_const(num))
			return true;
		/* fallthrough */
	default:
		return v_is_const(num) && !num->s.bits.value && op == BPF_ADD;
	}
}

static bool fits32(int64_t v)
{
	return v == (int32_t)v;
}

/* d = ptr op num, where ptr or num was d. */
static int alu_ptr(struct venv *env, const struct bpf_insn *in, const struct vreg *p,
		   const struct vreg *n, bool num_first)
{
	uint8_t op = BPF_OP(in->code);
	struct vreg ptr = *p, num = *n, *d = skep_v_reg(env, in->dst_reg), out;
	uint32_t r = in->dst_reg;
	bool known = v_is_const(&num);
	struct vmask mask;
	char name[64];
	int err;

	if (!d)
		return -ENOMEM;
	if ((known && (num.s.smin != num.s.smax || num.s.umin != num.s.umax)) ||
	    num.s.smin > num.s.smax || num.s.umin > num.s.umax) {
		set_unknown(env, d, true);
		return 0;
	}
	if (BPF_CLASS(in->code) != BPF_ALU64) {
		if (op == BPF_SUB && env->priv) {
			set_unknown(env, d, true);
			return 0;
		}
		return skep_v_refuse(env, EACCES, W_PTR_ARITH, (int)r,
				     "R%u 32-bit pointer arithmetic prohibited\n", r);
	}
	if (ptr.flags & V_MAYBE_NULL)
		return skep_v_refuse(
			env, EACCES, W_NULL, (int)r,
			"R%u pointer arithmetic on %s prohibited, null-check it first\n", r,
			skep_v_type_name(&ptr, name));
	/* Loads through it may fail: where it points does not matter. */
	if (ptr.type == V_MEM && ptr.flags & V_UNTRUSTED) {
		if (num_first)
			set_unknown(env, d, true);
		return 0;
	}
	if (!may_move(&ptr, &num, op))
		return skep_v_refuse(env, EACCES, W_PTR_ARITH, (int)r,
				     "R%u pointer arithmetic on %s prohibited\n", r,
				     skep_v_type_name(&ptr, name));
	err = sane_offset(env, &num, &ptr,
			  num_first || BPF_SRC(in->code) == BPF_K ? (int)r : in->src_reg);
	if (!err)
		err = sane_offset(env, &ptr, &ptr, (int)r);
	if (err)
		return err;
	err = skep_v_mask_before(env, in, &ptr, &num, num_first, &mask);
	if (err)
		return err;
	out = ptr;
	out.def32 = 0;
	out.origin = env->insn;
	switch (op) {
	case BPF_ADD:
		if (known && fits32(ptr.off + num.s.smin)) {
			out.off = (int32_t)(ptr.off + num.s.smin);
			break;
		}
		skep_scalar_alu(&out.s, BPF_ADD, true, false, &num.s);
		if (v_is_pkt(&ptr)) {
			out.id = ++env->next_id;
			out.range = 0;
		}
		break;
	case BPF_SUB:
		if (num_first)
			return skep_v_refuse(env, EACCES, W_PTR_ARITH, (int)r,
					     "R%u tried to subtract pointer from scalar\n", r);
		if (ptr.type == V_STACK)
			return skep_v_refuse(env, EACCES, W_PTR_ARITH, (int)r,
					     "R%u subtraction from stack pointer prohibited\n", r);
		if (known && fits32(ptr.off - num.s.smin)) {
			out.off = (int32_t)(ptr.off - num.s.smin);
			break;
		}
		skep_scalar_alu(&out.s, BPF_SUB, true, false, &num.s);
		if (v_is_pkt(&ptr)) {
			out.id = ++env->next_id;
			if (num.s.smin < 0)
				out.range = 0;
		}
		break;
	case BPF_AND:
	case BPF_OR:
	case BPF_XOR:
		return skep_v_refuse(env, EACCES, W_PTR_BITS, (int)r,
				     "R%u bitwise operator %s on pointer prohibited\n", r,
				     op_text[op >> 4]);
	default:
		return skep_v_refuse(env, EACCES, W_PTR_BITS, (int)r,
				     "R%u pointer arithmetic with %s operator prohibited\n", r,
				     op_text[op >> 4]);
	}
	*d = out;
	err = sane_offset(env, d, &ptr, (int)r);
	return err ? err : skep_v_mask_after(env, in, d, &mask);
}

/* ---- Numbers ---- */

/* Operations whose range the kernel computes; the others give any number. */
static bool computable(const struct bpf_insn *in, const struct skep_scalar *src, bool is64)
{
	switch (BPF_OP(in->code)) {
	case BPF_ADD:
	case BPF_SUB:
	case BPF_AND:
	case BPF_OR:
	case BPF_XOR:
	case BPF_MUL:
		return true;
	case BPF_LSH:
	case BPF_RSH:
	case BPF_ARSH:
		return is64 ? skep_scalar_is_const(src) && src->umax < 64
			    : skep_scalar_is_const32(src) && src->u32_max < 32;
	default:
		return false;
	}
}

/* What the operation adds to its operand, if that is a constant that a link can hold. */
static bool adds(uint8_t op, const struct skep_scalar *src, bool is64, int32_t *out)
{
	int64_t v = is64 ? (int64_t)src->bits.value : (int32_t)src->bits.value;

	if ((op != BPF_ADD && op != BPF_SUB) ||
	    !(is64 ? skep_scalar_is_const(src) : skep_scalar_is_const32(src)))
		return false;
	if (v != (int32_t)v || (op == BPF_SUB && v == INT32_MIN))
		return false;
	*out = (int32_t)(op == BPF_SUB ? -v : v);
	return true;
}

static int alu_num(struct venv *env, const struct bpf_insn *in, const struct skep_scalar *src,
		   bool is64)
{
	struct vreg *d = skep_v_reg(env, in->dst_reg);
	uint8_t op = BPF_OP(in->code);
	bool fits;
	int32_t add;
	int err;

	if (!d)
		return -ENOMEM;
	err = skep_v_mask_numbers(env, in);
	if (err)
		return err;
	d->origin = env->insn;
	d->def32 = is64 ? 0 : env->insn + 1;
	if (!computable(in, src, is64)) {
		set_unknown(env, d, is64);
		return 0;
	}
	fits = is64 || width(d) <= 32;
	skep_scalar_alu(&d->s, op, is64, in->off == 1, src);
	if (env->priv && d->id && !(d->id & V_ADD_CONST) && fits && adds(op, src, is64, &add)) {
		d->id |= is64 ? V_ADD_CONST64 : V_ADD_CONST32;
		d->off = add;
	} else {
		d->id = 0;
		d->off = 0;
	}
	return 0;
}

static int alu_binary(struct venv *env, const struct bpf_insn *in, bool is64)
{
	uint8_t op = BPF_OP(in->code);
	bool x = BPF_SRC(in->code) == BPF_X;
	bool divides = op == BPF_DIV || op == BPF_MOD;
	const struct vreg *src, *dst;
	struct vreg imm;
	int err;

	if ((x ? in->imm : in->src_reg) || (in->off && !(in->off == 1 && divides)))
		return reserved(env, "BPF_ALU");
	if (x) {
		err = skep_v_read_reg(env, in->src_reg, is64);
		if (err)
			return err;
	}
	err = skep_v_read_reg(env, in->dst_reg, is64);
	if (err)
		return err;
	if (divides && !x && !in->imm)
		return skep_v_refuse(env, EINVAL, W_INSN, -1, "div by zero\n");
	if ((op == BPF_LSH || op == BPF_RSH || op == BPF_ARSH) && !x &&
	    (in->imm < 0 || in->imm >= (is64 ? 64 : 32)))
		return skep_v_refuse(env, EINVAL, W_INSN, -1, "invalid shift %d\n", in->imm);
	err = check_dst(env, in->dst_reg);
	if (err)
		return err;
	dst = v_reg(env, in->dst_reg);
	if (!x) {
		skep_v_reg_const(&imm, (uint64_t)(int64_t)in->imm);
		if (!v_is_scalar(dst))
			return alu_ptr(env, in, dst, &imm, false);
		return alu_num(env, in, &imm.s, is64);
	}
	src = v_reg(env, in->src_reg);
	if (!v_is_scalar(src)) {
		if (!v_is_scalar(dst)) {
			struct vreg *d;

			if (op != BPF_SUB || !env->priv)
				return skep_v_refuse(env, EACCES, W_PTR_ARITH, in->dst_reg,
						     "R%u pointer %s pointer prohibited\n",
						     in->dst_reg, op_text[op >> 4]);
			d = skep_v_reg(env, in->dst_reg);
			if (!d)
				return -ENOMEM;
			set_unknown(env, d, is64);
			return 0;
		}
		err = skep_v_precise(env, in->dst_reg);
		return err ? err
			   : alu_ptr(env, in, v_reg(env, in->src_reg), v_reg(env, in->dst_reg),
				     true);
	}
	if (!v_is_scalar(dst)) {
		err = skep_v_precise(env, in->src_reg);
		return err ? err
			   : alu_ptr(env, in, v_reg(env, in->dst_reg), v_reg(env, in->src_reg),
				     false);
	}
	{
		struct skep_scalar s = src->s;

		return alu_num(env, in, &s, is64);
	}
}

int skep_v_alu(struct venv *env, const struct bpf_insn *in)
{
	bool is64 = BPF_CLASS(in->code) == BPF_ALU64;

	switch (BPF_OP(in->code)) {
	case BPF_NEG:
	case BPF_END:
		return alu_unary(env, in, is64);
	case BPF_MOV:
		return alu_mov(env, in, is64);
	default:
		return alu_binary(env, in, is64);
	}
}
