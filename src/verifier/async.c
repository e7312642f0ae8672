/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Callbacks that run later, when the program that named them is done: walked from
 * a state of their own, with nothing of the one that names them but the arguments.
 */
#include "verifier/async.h"

#include <string.h>

int skep_v_async_callback(struct venv *env, uint32_t sub,
			  void (*enter)(const struct vframe *caller, struct vframe *callee))
{
	const struct vframe *caller = v_frame(env->cur);
	struct vstate *st;
	struct vframe *f;

	env->subs[sub].is_cb = true;
	env->subs[sub].is_async = true;
	st = skep_v_state_new(env);
	f = skep_v_frame_new(env, V_MAIN, 0, sub);
	if (!st || !f) {
		if (f)
			skep_v_frame_put(env, f);
		skep_v_state_free(env, st);
		return -ENOMEM;
	}
	st->frame[0] = f;
	st->first_insn = env->subs[sub].start;
	st->last_insn = UINT32_MAX;
	f->async = true;
	f->async_round = caller->async_round + 1;
	enter(caller, f);
	for (unsigned r = 0; r <= 5; r++)
		f->reg[r].origin = env->insn;
	return skep_v_push_state(env, st, env->subs[sub].start, env->insn,
				 "The sequence of %u jumps is too complex for async cb.\n")
		       ? 0
		       : -EFAULT;
}

static void like(struct vreg *r, enum vtype type, const struct vreg *map)
{
	skep_v_reg_zero_ptr(r, type);
	r->map = map->map;
	r->inner = map->inner;
}

/* callback(map, key, value) of the element that the first argument lies in. */
void skep_v_enter_element(const struct vframe *caller, struct vframe *callee)
{
	like(&callee->reg[1], V_MAP_PTR, &caller->reg[1]);
	like(&callee->reg[2], V_MAP_KEY, &caller->reg[1]);
	like(&callee->reg[3], V_MAP_VALUE, &caller->reg[1]);
}

int skep_v_field_arg(struct venv *env, int r, uint32_t kind)
{
	const struct vreg *reg = v_reg(env, (uint32_t)r);
	const struct skep_map *map = skep_v_map(env, reg);
	const struct skep_field *f = skep_map_field(map, kind);
	const char *name = skep_field_name(kind);
	int64_t at;

	if (!v_is_const(reg))
		return skep_v_refuse(
			env, EINVAL, W_ARG_TYPE, r,
			"R%d doesn't have constant offset. %s has to be at the constant "
			"offset\n",
			r, name);
	if (!map->btf)
		return skep_v_refuse(env, EINVAL, W_ARG_TYPE, r,
				     "map '%s' has to have BTF in order to use %s\n", map->name,
				     name);
	if (!f)
		return skep_v_refuse(env, EINVAL, W_ARG_TYPE, r, "map '%s' has no valid %s\n",
				     map->name, name);
	at = (int64_t)reg->s.bits.value + reg->off;
	if (at != f->offset)
		return skep_v_refuse(env, EINVAL, W_ARG_TYPE, r,
				     "off %lld doesn't point to 'struct %s' that is at %u\n",
				     (long long)at, name, f->offset);
	return 0;
}
