/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Open-coded iterators: objects in stack slots that kfuncs make, step and destroy.
 *
 * A step gives an element or NULL; both are walked: the element later, in a state whose numbers
 * that differ from the last round's and don't matter are forgotten, NULL at once. States are kept
 * at each step, and a path ends there when it lies within one that is still walked (prune.c).
 */
#include "verifier/iter.h"

#include <string.h>

#include "btf/internal.h"
#include "verifier/dynptr.h"

#define PREFIX "bpf_iter_"

static const char *kind(const struct skep_btf *btf, uint32_t id)
{
	const char *name = skep_btf_name(btf, id);

	return strncmp(name, PREFIX, strlen(PREFIX)) ? name : name + strlen(PREFIX);
}

const char *skep_v_iter_name(const struct vreg *r)
{
	return kind(r->btf, r->btf_id);
}

static bool is_slot(const struct vslot *s)
{
	return s->kind[7] == V_ITER_SLOT;
}

/* Whether all n slots from spi down hold one iterator of that type. */
static bool whole(const struct vstack *stack, uint32_t spi, uint32_t n, const struct skep_btf *btf,
		  uint32_t id)
{
	for (uint32_t i = 0; i < n; i++) {
		const struct vslot *s = &stack->slot[spi - i];

		for (unsigned k = 0; k < 8; k++)
			if (s->kind[k] != V_ITER_SLOT)
				return false;
		if (!s->reg.ref != (i != 0) || s->reg.btf != btf || s->reg.btf_id != id)
			return false;
	}
	return true;
}

static uint64_t mask(uint32_t spi, uint32_t n)
{
	return ((1ull << n) - 1) << (spi + 1 - n);
}

static int make(struct venv *env, int r, const struct skep_btf *btf, uint32_t id, uint32_t n)
{
	uint32_t frame = v_reg(env, (uint32_t)r)->frameno, spi, ref = ++env->next_id;
	struct vstack *stack;
	int err;

	for (uint32_t i = 0; i < n; i++) {
		err = skep_v_access(env, env->insn, r, (int)(8 * i), 8, V_WRITE, -1, false, false);
		if (err)
			return err;
	}
	err = skep_v_stack_object(env, r, "iter", n);
	if (err < 0)
		return err;
	spi = (uint32_t)err;
	err = skep_v_ref_add(env, env->cur, ref, V_REF_PTR, NULL);
	stack = err ? NULL : skep_v_stack_mut(env, env->cur, frame, spi);
	if (!stack)
		return err ? err : -ENOMEM;
	for (uint32_t i = 0; i < n; i++) {
		struct vslot *s = &stack->slot[spi - i];

		skep_v_reg_zero_ptr(&s->reg, V_ITER);
		s->reg.btf = btf;
		s->reg.btf_id = id;
		s->reg.ref = i ? 0 : ref;
		memset(s->kind, V_ITER_SLOT, 8);
		env->scratched_slots |= 1ull << (spi - i);
	}
	return skep_v_live_write(env, frame, mask(spi, n));
}

static int destroy(struct venv *env, uint32_t frame, uint32_t spi, uint32_t n)
{
	struct vstack *stack = skep_v_stack_mut(env, env->cur, frame, spi);
	uint32_t ref;

	if (!stack)
		return -ENOMEM;
	ref = stack->slot[spi].reg.ref;
	for (uint32_t i = 0; env->cur->refs && i < env->cur->refs->n; i++) {
		int err;

		if (env->cur->refs->r[i].kind != V_REF_PTR || env->cur->refs->r[i].id != ref)
			continue;
		err = skep_v_ref_del(env, env->cur, i);
		if (err)
			return err;
		break;
	}
	skep_v_drop_ref_regs(env, ref);
	if (env->err)
		return env->err;
	stack = skep_v_stack_mut(env, env->cur, frame, spi);
	if (!stack)
		return -ENOMEM;
	for (uint32_t i = 0; i < n; i++) {
		skep_v_reg_invalid(&stack->slot[spi - i].reg);
		memset(stack->slot[spi - i].kind, V_INVALID, 8);
		env->scratched_slots |= 1ull << (spi - i);
	}
	return skep_v_live_write(env, frame, mask(spi, n));
}

int skep_v_karg_iter(struct venv *env, struct vkfunc *k, uint32_t arg, const struct vreg *reg)
{
	const struct btf_type *t = skep_btf_skip_mods(k->btf, k->params[arg].type, NULL);
	const struct vframe *f;
	int r = (int)arg + 1, spi, err;
	uint32_t id, n;

	if (reg->type != V_STACK)
		return skep_v_refuse(env, EINVAL, W_ARG_TYPE, r,
				     "arg#%u expected pointer to an iterator on stack\n", arg);
	t = skep_btf_skip_mods(k->btf, t->type, &id);
	n = t->size / 8;
	f = env->cur->frame[reg->frameno];
	spi = skep_v_stack_object(env, r, "iter", n);
	if (k->row->flags & SKEP_KF_ITER_NEW) {
		bool fresh = spi >= 0 || spi == -ERANGE;

		for (uint32_t i = 0; i < n && spi >= 0; i++)
			fresh &= !is_slot(&f->stack->slot[(uint32_t)spi - i]);
		if (!fresh)
			return skep_v_refuse(env, EINVAL, W_ARG_TYPE, r,
					     "expected uninitialized iter_%s as arg #%u\n",
					     kind(k->btf, id), arg);
		return make(env, r, k->btf, id, n);
	}
	if (spi < 0 || !whole(f->stack, (uint32_t)spi, n, k->btf, id))
		return skep_v_refuse(env, EINVAL, W_UNINIT, r,
				     "expected an initialized iter_%s as arg #%u\n",
				     kind(k->btf, id), arg);
	k->iter_frame = reg->frameno;
	k->iter_slot = (uint32_t)spi;
	k->ref = f->stack->slot[spi].reg.ref;
	env->scratched_slots |= mask((uint32_t)spi, n);
	err = skep_v_live_read(env, reg->frameno, mask((uint32_t)spi, n));
	if (err || !(k->row->flags & SKEP_KF_ITER_DESTROY))
		return err;
	return destroy(env, reg->frameno, (uint32_t)spi, n);
}

int skep_v_iter_next(struct venv *env, const struct vkfunc *k)
{
	struct vreg *r0, *it;
	struct vstack *stack = skep_v_stack_mut(env, env->cur, k->iter_frame, k->iter_slot);
	uint32_t depth = env->cur->parent ? env->cur->parent->depth : 0;

	if (!stack)
		return -ENOMEM;
	it = &stack->slot[k->iter_slot].reg;
	if (!it->iter_drained) {
		struct vstate *more = skep_v_push(env, env->insn + 1, env->insn);
		struct vframe *f;
		int err;

		if (!more)
			return env->err ? env->err : -ENOMEM;
		stack = skep_v_stack_mut(env, more, k->iter_frame, k->iter_slot);
		if (!stack)
			return -ENOMEM;
		stack->slot[k->iter_slot].reg.iter_depth++;
		err = skep_v_widen(env, more, env->insn, depth);
		f = err ? NULL : skep_v_frame_mut(env, more, more->curframe);
		if (!f)
			return err ? err : -ENOMEM;
		f->reg[0].flags &= (uint16_t)~V_MAYBE_NULL;
		stack = skep_v_stack_mut(env, env->cur, k->iter_frame, k->iter_slot);
		if (!stack)
			return -ENOMEM;
		stack->slot[k->iter_slot].reg.iter_drained = 1;
	}
	r0 = skep_v_reg(env, 0);
	if (!r0)
		return -ENOMEM;
	skep_v_reg_const(r0, 0);
	r0->origin = env->insn;
	return 0;
}

bool skep_v_iter_active(const struct vstate *st)
{
	const struct vreg *r = &v_frame(st)->reg[1];
	const struct vstack *stack;
	int64_t off;

	if (r->type != V_STACK)
		return false;
	off = r->off + (int64_t)r->s.bits.value;
	stack = st->frame[r->frameno]->stack;
	if (off >= 0 || !stack || (-off - 1) / 8 >= stack->n)
		return false;
	return is_slot(&stack->slot[(-off - 1) / 8]) &&
	       !stack->slot[(-off - 1) / 8].reg.iter_drained;
}

bool skep_v_iter_depths_differ(const struct vstate *o, const struct vstate *c)
{
	for (uint32_t i = 0; i <= o->curframe; i++) {
		const struct vstack *so = o->frame[i]->stack, *sc = c->frame[i]->stack;

		for (uint32_t s = 0; so && sc && s < so->n && s < sc->n; s++)
			if (is_slot(&so->slot[s]) && is_slot(&sc->slot[s]) &&
			    !so->slot[s].reg.iter_drained &&
			    so->slot[s].reg.iter_depth != sc->slot[s].reg.iter_depth)
				return true;
	}
	return false;
}
