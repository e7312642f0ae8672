/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Pointer arithmetic of programs that may not print pointers. Linux masks each addition so that a
 * processor that guesses wrong stays inside the object; what it can't mask, it refuses. The masks
 * need one limit per instruction, whichever path comes there. What would go wrong only on a wrongly
 * guessed path refuses nothing: Linux puts a barrier there.
 */
#include "verifier/mem.h"

#include <stdlib.h>

#define PROHIBITED "pointer arithmetic with it prohibited for !root"

/* How an instruction is masked, kept in struct vinsn. */
#define MASK_SRC     0x01u
#define MASK_DST     0x02u
#define MASK_NEG     0x04u
#define MASK_NUMBERS 0x08u /* both operands are numbers */
#define MASK_CONST   0x10u

static bool needed(const struct venv *env, const struct bpf_insn *in)
{
	uint8_t op = BPF_OP(in->code);

	return !env->priv && BPF_SRC(in->code) == BPF_X && (op == BPF_ADD || op == BPF_SUB);
}

static const char *verb(const struct bpf_insn *in)
{
	return BPF_OP(in->code) == BPF_ADD ? "add" : "sub";
}

/* Remembers how this instruction is masked, or refuses a second way. */
static int keep(struct venv *env, const struct bpf_insn *in, uint32_t how, uint32_t limit)
{
	struct vinsn *aux = &env->aux[env->insn];

	if (aux->mask && (aux->mask != how || aux->mask_limit != limit))
		return skep_v_refuse(env, EACCES, W_PTR_ARITH, in->dst_reg,
				     "R%u tried to %s from different maps, paths or scalars, %s\n",
				     in->dst_reg, verb(in), PROHIBITED);
	aux->mask = (uint8_t)how;
	aux->mask_limit = limit;
	return 0;
}

/* Bytes that the pointer may move, to the left or right. */
static int limit_of(struct venv *env, const struct bpf_insn *in, const struct vreg *ptr,
		    bool num_first, bool left, uint32_t *limit)
{
	uint32_t max;

	if (ptr->type == V_STACK) {
		max = SKEP_STACK_SIZE + left;
		*limit = -(uint32_t)((int64_t)ptr->s.bits.value + ptr->off);
	} else if (ptr->type == V_MAP_VALUE) {
		max = skep_v_map(env, ptr)->value_size;
		*limit =
			(uint32_t)(left ? (uint64_t)ptr->s.smin : ptr->s.umax) + (uint32_t)ptr->off;
	} else {
		uint32_t r = num_first ? in->src_reg : in->dst_reg;

		return skep_v_refuse(env, EACCES, W_PTR_ARITH, (int)r,
				     "R%u has pointer with unsupported alu operation, %s\n", r,
				     PROHIBITED);
	}
	if (*limit >= max)
		return skep_v_refuse(env, EACCES, W_PTR_ARITH, in->dst_reg,
				     "R%u tried to %s beyond pointer bounds, %s\n", in->dst_reg,
				     verb(in), PROHIBITED);
	return 0;
}

int skep_v_mask_before(struct venv *env, const struct bpf_insn *in, const struct vreg *ptr,
		       const struct vreg *num, bool num_first, struct vmask *m)
{
	bool negative = num->s.smin < 0;

	*m = (struct vmask){0};
	if (!needed(env, in))
		return 0;
	if (!v_is_const(num) && negative != (num->s.smax < 0)) {
		uint32_t r = num_first ? in->dst_reg : in->src_reg;

		return skep_v_refuse(env, EACCES, W_UNBOUNDED, (int)r,
				     "R%u has unknown scalar with mixed signed bounds, %s\n", r,
				     PROHIBITED);
	}
	m->left = negative == (BPF_OP(in->code) == BPF_ADD);
	m->how = (negative ? MASK_NEG : 0) | (v_is_const(num) ? MASK_CONST : 0) |
		 (num_first ? MASK_DST : MASK_SRC);
	if (!v_is_const(num))
		env->masks = true;
	return limit_of(env, in, ptr, num_first, m->left, &m->limit);
}

/* Where the pointer now is must be inside, whether it is used or not. */
static int inside(struct venv *env, const struct vreg *d, int r)
{
	int64_t off = (int64_t)d->s.bits.value + d->off;
	char buf[64];

	if (d->type == V_MAP_VALUE && skep_v_map_value(env, d, r, d->off, 1, false, true))
		return skep_v_refuse(
			env, EACCES, W_PTR_ARITH, r,
			"R%d pointer arithmetic of map value goes out of range, prohibited for "
			"!root\n",
			r);
	if (d->type != V_STACK)
		return 0;
	if (!v_is_const(d))
		return skep_v_refuse(
			env, EACCES, W_PTR_ARITH, r,
			"R%d variable stack access prohibited for !root, var_off=%s off=%lld\n", r,
			skep_v_tnum(d->s.bits, buf), (long long)off);
	if (off >= 0 || off < -SKEP_STACK_SIZE)
		return skep_v_refuse(env, EACCES, W_PTR_ARITH, r,
				     "R%d stack pointer arithmetic goes out of range, prohibited "
				     "for !root; off=%lld\n",
				     r, (long long)off);
	return 0;
}

int skep_v_mask_after(struct venv *env, const struct bpf_insn *in, const struct vreg *d,
		      const struct vmask *m)
{
	int err = env->priv ? 0 : inside(env, d, in->dst_reg);
	uint32_t limit = 0;

	if (err || !needed(env, in))
		return err;
	err = limit_of(env, in, d, false, m->left, &limit);
	return err ? err : keep(env, in, m->how, (uint32_t)abs((int32_t)(m->limit - limit)));
}

int skep_v_mask_numbers(struct venv *env, const struct bpf_insn *in)
{
	return needed(env, in) ? keep(env, in, MASK_NUMBERS, 0) : 0;
}
