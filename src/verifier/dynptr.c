/* SPDX-License-Identifier: Apache-2.0 */
/* Dynptrs in stack slots: made, used, given back, overwritten. */
#include "verifier/dynptr.h"

#include <string.h>

#include "verifier/mem.h"

#define SLOTS 2

static const char *const kind_names[] = {
	[SKEP_DYNPTR_LOCAL] = "local", [SKEP_DYNPTR_RINGBUF] = "ringbuf", [SKEP_DYNPTR_SKB] = "skb",
	[SKEP_DYNPTR_XDP] = "xdp",     [SKEP_DYNPTR_META] = "skb_meta",
};

const char *skep_v_dynptr_name(uint32_t dyn)
{
	uint32_t kind = dyn & ~V_DYN_FIRST;

	return kind && kind < sizeof(kind_names) / sizeof(kind_names[0]) ? kind_names[kind]
									 : "unknown";
}

int skep_v_stack_object(struct venv *env, int r, const char *what, uint32_t nslots)
{
	const struct vreg *reg = v_reg(env, (uint32_t)r);
	const struct vframe *f = env->cur->frame[reg->frameno];
	int64_t off;
	uint32_t spi;

	if (!v_is_const(reg))
		return skep_v_refuse(env, EINVAL, W_ARG_TYPE, r,
				     "%s has to be at a constant offset\n", what);
	off = reg->off + (int64_t)reg->s.bits.value;
	/* The kernel counts the slots above the frame from 0, too: nothing was ever made there. */
	if (!off && nslots == 1)
		return -ERANGE;
	if (off % 8 || off >= 0 || (-off - 1) / 8 + 1 < nslots)
		return skep_v_refuse(env, EINVAL, W_ARG_TYPE, r,
				     "cannot pass in %s at an offset=%d\n", what, (int)off);
	spi = (uint32_t)((-off - 1) / 8);
	if (!f->stack || spi >= f->stack->n)
		return -ERANGE;
	return (int)spi;
}

static int slot_of(struct venv *env, int r)
{
	return skep_v_stack_object(env, r, "dynptr", SLOTS);
}

static struct vslot *slots_mut(struct venv *env, uint32_t frame)
{
	struct vstack *s = skep_v_stack_mut(env, env->cur, frame, 0);

	return s ? s->slot : NULL;
}

/* ---- Slices ---- */

struct slice_of {
	const struct venv *env;
	uint32_t id;
};

static bool is_slice(const struct vreg *r, const void *arg)
{
	return r->type == V_MEM && r->dynptr == ((const struct slice_of *)arg)->id;
}

static void forget_slice(struct vreg *r, const void *arg)
{
	if (((const struct slice_of *)arg)->env->priv)
		skep_v_reg_unknown(r);
	else
		skep_v_reg_invalid(r);
}

static int drop_slices(struct venv *env, uint32_t id)
{
	struct slice_of a = {env, id};

	return skep_v_each_reg(env, env->cur, is_slice, forget_slice, &a);
}

/* ---- Slots ---- */

static void mark_reg(struct vreg *r, uint32_t dyn, uint32_t id, uint32_t ref)
{
	skep_v_reg_zero_ptr(r, V_DYNPTR);
	r->dyn = dyn;
	r->id = id;
	r->ref = ref;
}

/* spi is the slot with the higher number: the dynptr's first eight bytes. */
static int clear_slots(struct venv *env, uint32_t frame, uint32_t spi)
{
	struct vslot *s = slots_mut(env, frame);

	if (!s)
		return -ENOMEM;
	for (uint32_t i = spi - 1; i <= spi; i++) {
		memset(s[i].kind, V_INVALID, 8);
		skep_v_reg_invalid(&s[i].reg);
		env->scratched_slots |= 1ull << i;
	}
	return skep_v_live_write(env, frame, 3ull << (spi - 1));
}

int skep_v_dynptr_overwrite(struct venv *env, uint32_t frame, uint32_t spi)
{
	const struct vstack *stack = env->cur->frame[frame]->stack;
	const struct vreg *reg;
	uint32_t id;
	int err;

	if (!stack || spi >= stack->n || stack->slot[spi].kind[0] != V_DYNPTR_SLOT)
		return 0;
	if (!(stack->slot[spi].reg.dyn & V_DYN_FIRST))
		spi++;
	reg = &stack->slot[spi].reg;
	if (reg->ref)
		return skep_v_refuse(env, EINVAL, W_REF, -1,
				     "cannot overwrite referenced dynptr\n");
	id = reg->id;
	err = clear_slots(env, frame, spi);
	return err ? err : drop_slices(env, id);
}

static int make(struct venv *env, int r, uint32_t kind, uint32_t clone)
{
	uint32_t frame = v_reg(env, (uint32_t)r)->frameno, id, ref = 0;
	int spi = slot_of(env, r), err;
	struct vslot *s;

	if (spi < 0)
		return spi;
	for (int i = spi; i >= spi - 1; i--) {
		err = skep_v_dynptr_overwrite(env, frame, (uint32_t)i);
		if (err)
			return err;
	}
	s = slots_mut(env, frame);
	if (!s)
		return -ENOMEM;
	id = ++env->next_id;
	if (kind == SKEP_DYNPTR_RINGBUF) {
		ref = clone;
		if (!ref) {
			ref = ++env->next_id;
			err = skep_v_ref_add(env, env->cur, ref, V_REF_PTR, NULL);
			if (err)
				return err;
		}
	}
	mark_reg(&s[spi].reg, kind | V_DYN_FIRST, id, ref);
	mark_reg(&s[spi - 1].reg, kind, id, ref);
	memset(s[spi].kind, V_DYNPTR_SLOT, 8);
	memset(s[spi - 1].kind, V_DYNPTR_SLOT, 8);
	return skep_v_live_write(env, frame, 3ull << (spi - 1));
}

void skep_v_dynptr_reg(struct venv *env, struct vreg *r, uint32_t kind)
{
	mark_reg(r, kind | V_DYN_FIRST, ++env->next_id, 0);
}

/* Whether both slots hold one dynptr. */
static bool whole(const struct venv *env, uint32_t frame, int spi)
{
	const struct vslot *s = env->cur->frame[frame]->stack->slot;

	return s[spi].reg.type == V_DYNPTR && s[spi].reg.dyn & V_DYN_FIRST &&
	       s[spi].kind[0] == V_DYNPTR_SLOT && s[spi - 1].kind[0] == V_DYNPTR_SLOT;
}

struct vdynptr skep_v_dynptr(struct venv *env, int r)
{
	const struct vreg *reg = v_reg(env, (uint32_t)r);

	if (reg->type == V_STACK) {
		int64_t off = reg->off + (int64_t)reg->s.bits.value;

		reg = &env->cur->frame[reg->frameno]->stack->slot[(-off - 1) / 8].reg;
	}
	return (struct vdynptr){reg->id, reg->ref, reg->dyn & ~V_DYN_FIRST};
}

/* ---- Arguments ---- */

static int init_arg(struct venv *env, int r, uint32_t kind, uint32_t clone)
{
	const struct vreg *reg = v_reg(env, (uint32_t)r);
	int spi = reg->type == V_DYNPTR ? -EINVAL : slot_of(env, r), err;

	if (spi < 0 && spi != -ERANGE)
		return skep_v_refuse(env, EINVAL, W_ARG_TYPE, r,
				     "Dynptr has to be an uninitialized dynptr\n");
	for (int i = 0; i < 8 * SLOTS; i += 8) {
		err = skep_v_access(env, env->insn, r, i, 8, V_WRITE, -1, false, false);
		if (err)
			return err;
	}
	return make(env, r, kind, clone);
}

int skep_v_dynptr_arg(struct venv *env, int r, uint16_t flags, uint32_t kind, uint32_t clone)
{
	struct vreg reg = *v_reg(env, (uint32_t)r);
	int spi = 0;

	if (reg.type != V_STACK && reg.type != V_DYNPTR)
		return skep_v_refuse(
			env, EINVAL, W_ARG_TYPE, r,
			"arg#%d expected pointer to stack or const struct bpf_dynptr\n", r - 1);
	if (flags & SKEP_ARG_UNINIT)
		return init_arg(env, r, kind, clone);
	if (reg.type == V_DYNPTR && !(flags & SKEP_ARG_RDONLY))
		return skep_v_refuse(
			env, EINVAL, W_ARG_TYPE, r,
			"cannot pass pointer to const bpf_dynptr, the helper mutates it\n");
	if (reg.type == V_STACK)
		spi = slot_of(env, r);
	if (spi < 0 || (reg.type == V_STACK && !whole(env, reg.frameno, spi)))
		return skep_v_refuse(env, EINVAL, W_UNINIT, r,
				     "Expected an initialized dynptr as arg #%d\n", r - 1);
	if (kind && skep_v_dynptr(env, r).kind != kind)
		return skep_v_refuse(env, EINVAL, W_ARG_TYPE, r,
				     "Expected a dynptr of type %s as arg #%d\n",
				     skep_v_dynptr_name(kind), r - 1);
	if (reg.type != V_STACK)
		return 0;
	env->scratched_slots |= 3ull << (spi - 1);
	return skep_v_live_read(env, reg.frameno, 3ull << (spi - 1));
}

/* ---- Giving back ---- */

int skep_v_dynptr_owned(struct venv *env, int r)
{
	const struct vreg *reg = v_reg(env, (uint32_t)r);
	int spi;

	if (reg->type != V_STACK)
		return skep_v_refuse(env, EINVAL, W_REF, r,
				     "cannot release unowned const bpf_dynptr\n");
	spi = slot_of(env, r);
	if (spi < 0 || !env->cur->frame[reg->frameno]->stack->slot[spi].reg.ref)
		return skep_v_refuse(env, EINVAL, W_REF, r, "arg %d is an unacquired reference\n",
				     r);
	return 0;
}

int skep_v_dynptr_release(struct venv *env, int r)
{
	uint32_t frame = v_reg(env, (uint32_t)r)->frameno;
	int spi = slot_of(env, r), err;
	const struct vstack *stack;
	uint32_t ref;

	if (spi < 0)
		return -EINVAL;
	ref = env->cur->frame[frame]->stack->slot[spi].reg.ref;
	for (uint32_t i = 0; env->cur->refs && i < env->cur->refs->n; i++)
		if (env->cur->refs->r[i].kind == V_REF_PTR && env->cur->refs->r[i].id == ref) {
			err = skep_v_ref_del(env, env->cur, i);
			if (err)
				return err;
			break;
		}
	/* Slices carry the reference too. */
	skep_v_drop_ref_regs(env, ref);
	if (env->err)
		return env->err;
	stack = env->cur->frame[frame]->stack;
	for (uint32_t i = 1; i < stack->n; i++) {
		if (stack->slot[i].kind[0] != V_DYNPTR_SLOT || stack->slot[i].reg.ref != ref ||
		    !(stack->slot[i].reg.dyn & V_DYN_FIRST))
			continue;
		err = clear_slots(env, frame, i);
		if (err)
			return err;
		stack = env->cur->frame[frame]->stack;
	}
	return 0;
}
