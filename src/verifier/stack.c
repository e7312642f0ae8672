/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The stack: eight-byte slots whose bytes are invalid, zero, some data, or part
 * of a spilled register.
 */
#include "verifier/dynptr.h"
#include "verifier/mem.h"

#include <string.h>

static bool spilled(const struct vslot *s)
{
	return s->kind[7] == V_SPILL;
}

/* A register or an iterator, which no write leaves whole. */
static bool holds(const struct vslot *s)
{
	return spilled(s) || s->kind[7] == V_ITER_SLOT;
}

static void scrub(uint8_t *kind)
{
	if (*kind != V_INVALID)
		*kind = V_MISC;
}

static unsigned width(const struct vreg *r)
{
	return r->s.umax ? 64 - (unsigned)__builtin_clzll(r->s.umax) : 0;
}

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

/* Slots of [off, off + size), as a mask. */
static uint64_t slots(int64_t off, int64_t size)
{
	uint64_t mask = 0;

	for (int64_t i = (-off - 1) / 8; i >= 0 && i >= (-(off + size)) / 8; i--)
		mask |= 1ull << i;
	return mask;
}

/* Where the access lies: offsets from the frame's R10, the end exclusive. */
struct range {
	int64_t min, max; /* of its first byte */
	bool fixed;
};

static int check_bounds(struct venv *env, const struct vreg *reg, int r, int off, int size,
			enum vacc acc, struct range *out)
{
	const char *what = acc == V_READ ? " read from" : " write to";
	const struct vframe *f = env->cur->frame[reg->frameno];
	int64_t min, end, lowest;
	struct vsubprog *sub = &env->subs[f->subprog];
	char buf[64];
	int err = 0;

	off += reg->off;
	out->fixed = v_is_const(reg);
	if (out->fixed) {
		min = off + (int64_t)reg->s.bits.value;
		end = min + size;
		out->max = min;
	} else {
		if (reg->s.smax >= V_MAX_OFF || reg->s.smin <= -V_MAX_OFF)
			return skep_v_refuse(env, EACCES, W_BOUNDS_STACK, r,
					     "invalid unbounded variable-offset%s stack R%d\n",
					     what, r);
		min = off + reg->s.smin;
		end = off + reg->s.smax + size;
		out->max = off + reg->s.smax;
	}
	out->min = min;
	lowest = acc == V_WRITE || env->priv ? -SKEP_STACK_SIZE
					     : -8 * (int64_t)(f->stack ? f->stack->n : 0);
	if (min < lowest || min > -1)
		err = EACCES;
	else if (end > 0)
		err = EINVAL;
	else if (size < 0)
		err = EFAULT;
	if (err && out->fixed)
		return skep_v_refuse(env, err, W_BOUNDS_STACK, r,
				     "invalid%s stack R%d off=%lld size=%d\n", what, r,
				     (long long)min, size);
	if (err)
		return skep_v_refuse(
			env, err, W_BOUNDS_STACK, r,
			"invalid variable-offset%s stack R%d var_off=%s off=%d size=%d\n", what, r,
			skep_v_tnum(reg->s.bits, buf), off, size);
	if (sub->stack < (uint32_t)((-min + 7) & ~7ll))
		sub->stack = (uint32_t)((-min + 7) & ~7ll);
	skep_v_fastcall_touch(env, reg->frameno, min);
	if (!skep_v_stack_mut(env, env->cur, reg->frameno, (uint32_t)((-min - 1) / 8)))
		return -ENOMEM;
	return 0;
}

static struct vslot *slot_at(struct venv *env, uint32_t frame, int64_t off)
{
	return &env->cur->frame[frame]->stack->slot[(-off - 1) / 8];
}

static uint8_t *kind_at(struct venv *env, uint32_t frame, int64_t off)
{
	return &slot_at(env, frame, off)->kind[(-off - 1) % 8];
}

static int bad_read(struct venv *env, int r, int64_t off, int i, int size)
{
	return skep_v_refuse(env, EACCES, W_UNINIT, r,
			     "invalid read from stack off %d+%d size %d\n", (int)off, i, size);
}

static int bad_read_var(struct venv *env, const struct vreg *reg, int r, int i, int size)
{
	char buf[64];

	return skep_v_refuse(env, EACCES, W_UNINIT, r,
			     "invalid read from stack R%d var_off %s+%d size %d\n", r,
			     skep_v_tnum(reg->s.bits, buf), i, size);
}

static bool unreadable(const struct venv *env, uint8_t kind)
{
	return (kind == V_INVALID && !env->priv) || kind == V_DYNPTR_SLOT || kind == V_ITER_SLOT;
}

/* What bytes [min, end) give when they are no register: zero or any number. */
static int load_bytes(struct venv *env, uint32_t frame, int64_t min, int64_t end, int value)
{
	struct vreg *d = skep_v_reg(env, (uint32_t)value);
	bool zero = true;

	if (!d)
		return -ENOMEM;
	for (int64_t i = min; i < end; i++)
		if (*kind_at(env, frame, i) != V_ZERO)
			zero = false;
	if (zero)
		skep_v_reg_const(d, 0);
	else
		skep_v_reg_unknown(d);
	d->precise = !env->priv;
	d->origin = env->insn;
	return 0;
}

static int read_spill(struct venv *env, uint32_t frame, int64_t off, int size, int value,
		      bool *filled)
{
	struct vslot *s = slot_at(env, frame, off);
	unsigned spill = 0, spills = 0, zeros = 0;
	struct vreg *d;

	while (spill < 8 && s->kind[7 - spill] == V_SPILL)
		spill++;
	*filled = true;
	if (size == 8 && spill == 8) {
		if (value >= 0) {
			link_copy(env, &s->reg);
			d = skep_v_reg(env, (uint32_t)value);
			if (!d)
				return -ENOMEM;
			*d = s->reg;
			return 0;
		}
		if (!env->priv && !v_is_scalar(&s->reg))
			return skep_v_refuse(env, EACCES, W_LEAK, -1,
					     "leaking pointer from stack off %d\n", (int)off);
		return 0;
	}
	if (!v_is_scalar(&s->reg)) {
		skep_v_print_line(env, env->insn);
		return skep_v_refuse(env, EACCES, W_TYPE, -1, "invalid size of register fill\n");
	}
	if (value < 0)
		return 0;
	if ((unsigned)size <= spill && off % 8 == 0) {
		if (env->priv && size == 4 && spill == 4 && width(&s->reg) <= 32)
			link_copy(env, &s->reg);
		d = skep_v_reg(env, (uint32_t)value);
		if (!d)
			return -ENOMEM;
		*d = s->reg;
		d->def32 = 0;
		if (width(&s->reg) > (unsigned)size * 8) {
			d->id = 0;
			d->off = 0;
		}
		return 0;
	}
	for (int i = 0; i < size; i++) {
		uint8_t k = *kind_at(env, frame, off + i);

		if (k == V_SPILL)
			spills++;
		else if (k == V_ZERO)
			zeros++;
		else if (k == V_INVALID && !env->priv)
			return bad_read(env, -1, off, i, size);
	}
	d = skep_v_reg(env, (uint32_t)value);
	if (!d)
		return -ENOMEM;
	if (spills == (unsigned)size && v_is_const(&s->reg) && !s->reg.s.bits.value) {
		skep_v_reg_const(d, 0);
	} else {
		*filled = false;
		if (zeros == (unsigned)size)
			skep_v_reg_const(d, 0);
		else
			skep_v_reg_unknown(d);
	}
	d->precise = !env->priv;
	d->origin = env->insn;
	return 0;
}

int skep_v_stack_read(struct venv *env, int r, int off, int size, int value)
{
	struct vreg reg = *v_reg(env, (uint32_t)r);
	uint32_t frame = reg.frameno;
	struct range at = {0};
	bool filled = false;
	char buf[64];
	int err = 0;

	err = check_bounds(env, &reg, r, off, size, V_READ, &at);
	if (err)
		return err;
	if (!at.fixed) {
		if (value < 0)
			return skep_v_refuse(
				env, EACCES, W_BOUNDS_STACK, r,
				"variable offset stack pointer cannot be passed into helper "
				"function; var_off=%s off=%d size=%d\n",
				skep_v_tnum(reg.s.bits, buf), off, size);
		if (!env->priv)
			return skep_v_refuse(
				env, EACCES, W_BOUNDS_STACK, r,
				"R%d variable offset stack access prohibited for !root, "
				"var_off=%s off=%d\n",
				r, skep_v_tnum(reg.s.bits, buf), off);
		for (int64_t i = at.min; i < at.max + size; i++) {
			const struct vslot *s = slot_at(env, frame, i);
			uint8_t k = *kind_at(env, frame, i);

			env->scratched_slots |= 1ull << ((-i - 1) / 8);
			if (k == V_SPILL && !v_is_scalar(&s->reg) && !env->priv)
				return bad_read(env, r, at.min, (int)(i - at.min), size);
			if (unreadable(env, k))
				return bad_read_var(env, &reg, r, (int)(i - at.min), size);
		}
		err = skep_v_live_read(env, frame, slots(at.min, at.max - at.min + size));
		return err ? err : load_bytes(env, frame, at.min, at.max + size, value);
	}
	env->scratched_slots |= 1ull << ((-at.min - 1) / 8);
	err = skep_v_live_read(env, frame, slots(at.min, size));
	if (err)
		return err;
	if (spilled(slot_at(env, frame, at.min))) {
		err = read_spill(env, frame, at.min, size, value, &filled);
		if (err)
			return err;
	} else {
		for (int i = 0; i < size; i++)
			if (unreadable(env, *kind_at(env, frame, at.min + i)))
				return bad_read(env, r, at.min, i, size);
		if (value >= 0)
			err = load_bytes(env, frame, at.min, at.min + size, value);
		if (err)
			return err;
	}
	if (filled)
		return skep_v_hist_push(env, env->cur, V_HIST_STACK, (int)((-at.min - 1) / 8),
					(int)frame, NULL);
	return 0;
}

static void save(struct vslot *s, const struct vreg *reg, unsigned size)
{
	s->reg = *reg;
	for (unsigned i = 8; i > 8 - size; i--)
		s->kind[i - 1] = V_SPILL;
	for (unsigned i = 8 - size; i; i--)
		if (s->kind[i - 1] != V_ZERO && s->kind[i - 1] != V_INVALID)
			s->kind[i - 1] = V_MISC;
}

static int write_var(struct venv *env, const struct vreg *ptr, int r, int off,
		     const struct range *at, int size, int value, bool zero)
{
	uint32_t frame = ptr->frameno;
	bool used = false;
	char buf[64];

	if (!env->priv)
		return skep_v_refuse(
			env, EACCES, W_BOUNDS_STACK, r,
			"R%d variable offset stack access prohibited for !root, var_off=%s "
			"off=%d\n",
			r, skep_v_tnum(ptr->s.bits, buf), off);
	for (int64_t i = at->min; i < at->max + size; i++) {
		int err = skep_v_dynptr_overwrite(env, frame, (uint32_t)((-i - 1) / 8));

		if (err)
			return err;
	}
	for (int64_t i = at->min; i < at->max + size; i++) {
		struct vslot *s = slot_at(env, frame, i);
		uint8_t *k = kind_at(env, frame, i);

		env->scratched_slots |= 1ull << ((-i - 1) / 8);
		if (zero && *k == V_SPILL && v_is_null(&s->reg)) {
			used = true;
			continue;
		}
		if (zero && *k == V_ZERO) {
			used = true;
			continue;
		}
		/* Any of these bytes may have changed: no register is left in the slot. */
		if (holds(s))
			for (unsigned j = 0; j < 8; j++)
				if (s->kind[j] == s->kind[7])
					s->kind[j] = V_MISC;
		skep_v_reg_invalid(&s->reg);
		*k = V_MISC;
	}
	if (used && value >= 0)
		return skep_v_precise(env, value);
	return 0;
}

int skep_v_stack_write(struct venv *env, int r, int off, int size, int value, uint32_t insn)
{
	struct vreg ptr = *v_reg(env, (uint32_t)r), imm;
	const struct bpf_insn *in = &env->insns[insn];
	bool st = BPF_CLASS(in->code) == BPF_ST && BPF_MODE(in->code) == BPF_MEM;
	uint32_t frame = ptr.frameno;
	const struct vreg *reg = NULL;
	bool aligned, zero;
	struct range at = {0};
	struct vslot *s;
	int err;

	err = check_bounds(env, &ptr, r, off, size, V_WRITE, &at);
	if (err)
		return err;
	if (value >= 0)
		reg = v_reg(env, (uint32_t)value);
	zero = reg ? v_is_null(reg) : st && !in->imm;
	if (!at.fixed)
		return write_var(env, &ptr, r, off, &at, size, value, zero);
	s = slot_at(env, frame, at.min);
	aligned = at.min % 8 == 0;
	env->scratched_slots |= 1ull << ((-at.min - 1) / 8);
	if (!env->priv && spilled(s) && !v_is_scalar(&s->reg) && size != 8)
		return skep_v_refuse(env, EACCES, W_LEAK, -1,
				     "attempt to corrupt spilled pointer on stack\n");
	err = skep_v_dynptr_overwrite(env, frame, (uint32_t)((-at.min - 1) / 8));
	if (err)
		return err;
	s = slot_at(env, frame, at.min);
	if (size == 8 || (aligned && size == 8)) {
		err = skep_v_live_write(env, frame, 1ull << ((-at.min - 1) / 8));
		if (err)
			return err;
	}
	if (reg && aligned && v_is_scalar(reg) && env->priv) {
		bool fits = width(reg) <= 8 * (unsigned)size;

		if (fits) {
			struct vreg *src =
				skep_v_frame_mut(env, env->cur, env->cur->curframe)
					? &env->cur->frame[env->cur->curframe]->reg[value]
					: NULL;

			if (!src)
				return -ENOMEM;
			link_copy(env, src);
			reg = src;
		}
		s = slot_at(env, frame, at.min);
		save(s, reg, (unsigned)size);
		if (!fits) {
			s->reg.id = 0;
			s->reg.off = 0;
		}
	} else if (!reg && aligned && st && env->priv) {
		skep_v_reg_const(&imm, (uint64_t)(int64_t)in->imm);
		imm.origin = insn;
		save(s, &imm, (unsigned)size);
	} else if (reg && !v_is_scalar(reg)) {
		if (size != 8) {
			skep_v_print_line(env, insn);
			return skep_v_refuse(env, EACCES, W_TYPE, value,
					     "invalid size of register spill\n");
		}
		if (frame != env->cur->curframe && reg->type == V_STACK)
			return skep_v_refuse(
				env, EINVAL, W_TYPE, value,
				"cannot spill pointers to stack into stack frame of the caller\n");
		save(s, reg, 8);
	} else {
		if (holds(s))
			for (unsigned j = 0; j < 8; j++)
				scrub(&s->kind[j]);
		skep_v_reg_invalid(&s->reg);
		if (zero && value >= 0) {
			err = skep_v_precise(env, value);
			if (err)
				return err;
			s = slot_at(env, frame, at.min);
		}
		for (int i = 0; i < size; i++)
			s->kind[(-at.min - 1 - i) % 8] = zero ? V_ZERO : V_MISC;
		return 0;
	}
	return skep_v_hist_push(env, env->cur, V_HIST_STACK, (int)((-at.min - 1) / 8), (int)frame,
				NULL);
}

int skep_v_stack_helper(struct venv *env, int r, int size, enum vacc acc, bool zero_ok, bool uninit)
{
	struct vreg reg = *v_reg(env, (uint32_t)r);
	uint32_t frame = reg.frameno;
	bool clobber = acc == V_WRITE;
	struct range at = {0};
	char buf[64];
	int err;

	if (!size && !zero_ok)
		return skep_v_refuse(env, EACCES, W_BOUNDS_STACK, r, "invalid zero-sized read\n");
	err = check_bounds(env, &reg, r, 0, size, acc, &at);
	if (err)
		return err;
	if (!at.fixed) {
		if (!env->priv)
			return skep_v_refuse(
				env, EACCES, W_BOUNDS_STACK, r,
				"R%d variable offset stack access prohibited for !root, "
				"var_off=%s\n",
				r, skep_v_tnum(reg.s.bits, buf));
		/* Which bytes will be written is not known: they must all be initialised before. */
		uninit = false;
	}
	if (uninit) {
		for (int64_t i = at.min; i < at.max + size; i++)
			if (*kind_at(env, frame, i) == V_DYNPTR_SLOT)
				return skep_v_refuse(env, EACCES, W_TYPE, r,
						     "potential write to dynptr at off=%d "
						     "disallowed\n",
						     (int)i);
		return 0; /* the caller stores into it afterwards */
	}
	for (int64_t i = at.min; i < at.max + size; i++) {
		struct vslot *s = slot_at(env, frame, i);
		uint8_t *k = kind_at(env, frame, i);

		if (*k == V_MISC)
			continue;
		if (*k == V_ZERO || (*k == V_INVALID && env->priv)) {
			if (clobber)
				*k = V_MISC;
			continue;
		}
		if (spilled(s) && (v_is_scalar(&s->reg) || env->priv)) {
			if (clobber) {
				skep_v_reg_unknown(&s->reg);
				for (unsigned j = 0; j < 8; j++)
					scrub(&s->kind[j]);
			}
			continue;
		}
		if (at.fixed)
			return skep_v_refuse(env, EACCES, W_UNINIT, r,
					     "invalid read from stack R%d off %d+%d size %d\n", r,
					     (int)at.min, (int)(i - at.min), size);
		return skep_v_refuse(env, EACCES, W_UNINIT, r,
				     "invalid read from stack R%d var_off %s+%d size %d\n", r,
				     skep_v_tnum(reg.s.bits, buf), (int)(i - at.min), size);
	}
	return skep_v_live_read(env, frame, slots(at.min, at.max - at.min + size));
}
