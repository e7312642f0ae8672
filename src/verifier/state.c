/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Pools of states, frames and stacks, shared and copied on writing.
 */
#include "verifier/state.h"

#include <stdlib.h>
#include <string.h>

static const uint32_t stack_caps[4] = {4, 16, 32, V_SLOTS};

#define SLAB_BYTES (256u << 10)

/* The next object of a list of slabs; what it holds is anything. */
static void *slab_take(struct vslab **list, size_t size)
{
	struct vslab *s = *list;

	if (!s || s->used == s->cap) {
		/* Small programs stay small; large ones ask rarely. */
		uint32_t cap = s ? (s->cap * size < SLAB_BYTES ? s->cap * 2 : s->cap) : 8;

		s = malloc(sizeof(*s) + cap * size);
		if (!s)
			return NULL;
		s->used = 0;
		s->cap = cap;
		s->size = (uint32_t)size;
		s->next = *list;
		*list = s;
	}
	return s->data + s->used++ * size;
}

static void slab_free(struct vslab *s)
{
	while (s) {
		struct vslab *next = s->next;

		free(s);
		s = next;
	}
}

static struct vstack *stack_new(struct venv *env, uint32_t slots)
{
	unsigned c = 0;
	struct vstack *s;

	while (stack_caps[c] < slots)
		c++;
	s = env->pool.stacks[c];
	if (s)
		env->pool.stacks[c] = s->next;
	else
		s = slab_take(&env->pool.stack_slabs[c],
			      sizeof(*s) + stack_caps[c] * sizeof(struct vslot));
	if (!s)
		return NULL;
	s->refs = 1;
	s->n = 0;
	s->cap = stack_caps[c];
	return s;
}

static void stack_put(struct venv *env, struct vstack *s)
{
	unsigned c = 0;

	if (!s || --s->refs)
		return;
	while (stack_caps[c] < s->cap)
		c++;
	s->next = env->pool.stacks[c];
	env->pool.stacks[c] = s;
}

static struct vframe *frame_alloc(struct venv *env)
{
	struct vframe *f = env->pool.frames;

	if (f)
		env->pool.frames = f->next;
	else
		f = slab_take(&env->pool.frame_slabs, sizeof(*f));
	return f;
}

struct vframe *skep_v_frame_new(struct venv *env, int32_t callsite, uint32_t frameno,
				uint32_t subprog)
{
	struct vframe *f = frame_alloc(env);

	if (!f)
		return NULL;
	memset(f, 0, sizeof(*f));
	f->refs = 1;
	f->callsite = callsite;
	f->frameno = frameno;
	f->subprog = subprog;
	for (unsigned i = 0; i < V_REGS; i++)
		skep_v_reg_invalid(&f->reg[i]);
	skep_v_reg_zero_ptr(&f->reg[10], V_STACK);
	f->reg[10].frameno = (uint8_t)frameno;
	return f;
}

void skep_v_frame_put(struct venv *env, struct vframe *f)
{
	if (!f || --f->refs)
		return;
	stack_put(env, f->stack);
	f->next = env->pool.frames;
	env->pool.frames = f;
}

struct vframe *skep_v_frame_mut(struct venv *env, struct vstate *st, uint32_t i)
{
	struct vframe *f = st->frame[i], *copy;

	if (f->refs == 1)
		return f;
	copy = frame_alloc(env);
	if (!copy)
		return NULL;
	memcpy(copy, f, sizeof(*f));
	copy->refs = 1;
	if (copy->stack)
		copy->stack->refs++;
	f->refs--;
	st->frame[i] = copy;
	return copy;
}

struct vstack *skep_v_stack_mut(struct venv *env, struct vstate *st, uint32_t frame, uint32_t slot)
{
	struct vframe *f = skep_v_frame_mut(env, st, frame);
	struct vstack *s, *copy;

	if (!f)
		return NULL;
	s = f->stack;
	if (!s || s->refs > 1 || slot >= s->cap) {
		uint32_t n = s ? s->n : 0;

		copy = stack_new(env, slot + 1 > n ? slot + 1 : n);
		if (!copy)
			return NULL;
		if (s) {
			memcpy(copy->slot, s->slot, n * sizeof(*s->slot));
			copy->n = n;
			stack_put(env, s);
		}
		f->stack = s = copy;
	}
	while (s->n <= slot) {
		memset(&s->slot[s->n], 0, sizeof(s->slot[0]));
		skep_v_reg_invalid(&s->slot[s->n].reg);
		s->n++;
	}
	return s;
}

struct vstate *skep_v_state_new(struct venv *env)
{
	struct vstate *st = env->pool.states;
	struct vhist *hist = NULL;
	uint32_t cap = 0;

	if (st) {
		env->pool.states = st->next;
		hist = st->hist;
		cap = st->cap_hist;
	} else {
		st = slab_take(&env->pool.state_slabs, sizeof(*st));
		if (!st)
			return NULL;
	}
	memset(st, 0, sizeof(*st));
	st->hist = hist;
	st->cap_hist = cap;
	st->branches = 1;
	return st;
}

/* hist: the copy goes on from the same checkpoint, so it needs the way there. */
struct vstate *skep_v_state_copy(struct venv *env, const struct vstate *src, bool hist)
{
	struct vstate *st = skep_v_state_new(env);
	struct vhist *h;
	uint32_t cap;

	if (!st)
		return NULL;
	h = st->hist;
	cap = st->cap_hist;
	*st = *src;
	st->hist = h;
	st->cap_hist = cap;
	st->nhist = 0;
	st->branches = 1;
	st->hit = st->miss = 0;
	st->next = NULL;
	st->backs = NULL;
	for (uint32_t i = 0; i <= src->curframe; i++)
		st->frame[i]->refs++;
	if (st->refs)
		st->refs->refs++;
	if (hist && src->nhist) {
		if (cap < src->nhist) {
			h = realloc(h, src->nhist * sizeof(*h));
			if (!h) {
				skep_v_state_free(env, st);
				return NULL;
			}
			st->hist = h;
			st->cap_hist = src->nhist;
		}
		memcpy(st->hist, src->hist, src->nhist * sizeof(*h));
		st->nhist = src->nhist;
	}
	return st;
}

static void refs_put(struct vrefs *r)
{
	if (r && !--r->refs)
		free(r);
}

void skep_v_state_free(struct venv *env, struct vstate *st)
{
	if (!st)
		return;
	for (uint32_t i = 0; i <= st->curframe && st->frame[i]; i++)
		skep_v_frame_put(env, st->frame[i]);
	refs_put(st->refs);
	memset(st->frame, 0, sizeof(st->frame));
	st->refs = NULL;
	st->next = env->pool.states;
	env->pool.states = st;
}

/* The reference list for writing, with room for one more. */
static struct vrefs *refs_mut(struct vstate *st)
{
	uint32_t n = st->refs ? st->refs->n : 0;
	struct vrefs *r = malloc(sizeof(*r) + (n + 1) * sizeof(r->r[0]));

	if (!r)
		return NULL;
	r->refs = 1;
	r->n = n;
	r->nrefs = st->refs ? st->refs->nrefs : 0;
	if (st->refs)
		memcpy(r->r, st->refs->r, n * sizeof(r->r[0]));
	refs_put(st->refs);
	st->refs = r;
	return r;
}

int skep_v_ref_add(struct venv *env, struct vstate *st, uint32_t id, enum vref_kind kind,
		   const void *ptr)
{
	struct vrefs *r = refs_mut(st);

	if (!r)
		return -ENOMEM;
	r->r[r->n++] = (struct vref){.id = id, .insn = env->insn, .kind = kind, .ptr = ptr};
	if (kind == V_REF_PTR)
		r->nrefs++;
	return 0;
}

int skep_v_ref_del(struct venv *env, struct vstate *st, uint32_t i)
{
	struct vrefs *r;

	(void)env;
	if (!st->refs || i >= st->refs->n)
		return -EINVAL;
	r = refs_mut(st);
	if (!r)
		return -ENOMEM;
	if (r->r[i].kind == V_REF_PTR)
		r->nrefs--;
	r->n--;
	memmove(&r->r[i], &r->r[i + 1], (r->n - i) * sizeof(r->r[0]));
	return 0;
}

void skep_v_pool_free(struct venv *env)
{
	for (struct vslab *s = env->pool.state_slabs; s; s = s->next)
		for (uint32_t i = 0; i < s->used; i++) {
			struct vstate *st = (struct vstate *)(s->data + (size_t)i * s->size);

			free(st->hist);
			refs_put(st->refs);
			while (st->backs) {
				struct vback *b = st->backs;

				st->backs = b->next;
				free(b);
			}
		}
	slab_free(env->pool.state_slabs);
	slab_free(env->pool.frame_slabs);
	for (unsigned c = 0; c < 4; c++)
		slab_free(env->pool.stack_slabs[c]);
}

struct vreg *skep_v_reg(struct venv *env, uint32_t r)
{
	struct vframe *f = skep_v_frame_mut(env, env->cur, env->cur->curframe);

	if (!f)
		return NULL;
	env->scratched |= (uint16_t)(1u << r);
	return &f->reg[r];
}

static void reg_clear(struct vreg *r, enum vtype type)
{
	memset(r, 0, sizeof(*r));
	r->type = (uint8_t)type;
}

void skep_v_reg_unknown(struct vreg *r)
{
	reg_clear(r, V_SCALAR);
	r->s = skep_scalar_unknown();
}

void skep_v_reg_const(struct vreg *r, uint64_t v)
{
	reg_clear(r, V_SCALAR);
	r->s = skep_scalar_const(v);
}

void skep_v_reg_invalid(struct vreg *r)
{
	reg_clear(r, V_NOT_INIT);
	r->s = skep_scalar_unknown();
}

void skep_v_reg_zero_ptr(struct vreg *r, enum vtype type)
{
	reg_clear(r, type);
	r->s = skep_scalar_const(0);
}

const struct skep_map *skep_v_map(const struct venv *env, const struct vreg *r)
{
	return r->inner ? r->inner : env->maps[r->map];
}

int skep_v_each_reg(struct venv *env, struct vstate *st,
		    bool (*match)(const struct vreg *, const void *),
		    void (*apply)(struct vreg *, const void *), const void *arg)
{
	for (uint32_t i = 0; i <= st->curframe; i++) {
		struct vframe *f = st->frame[i];
		uint64_t slots = 0;
		uint32_t regs = 0;

		for (uint32_t r = 0; r < V_REGS; r++)
			if (match(&f->reg[r], arg))
				regs |= 1u << r;
		for (uint32_t s = 0; f->stack && s < f->stack->n; s++)
			if (f->stack->slot[s].kind[7] == V_SPILL &&
			    match(&f->stack->slot[s].reg, arg))
				slots |= 1ull << s;
		if (slots && !skep_v_stack_mut(env, st, i, 0))
			return -ENOMEM;
		if (regs && !skep_v_frame_mut(env, st, i))
			return -ENOMEM;
		f = st->frame[i];
		for (uint32_t r = 0; r < V_REGS; r++)
			if (regs & 1u << r)
				apply(&f->reg[r], arg);
		for (uint32_t s = 0; slots >> s; s++)
			if (slots & 1ull << s)
				apply(&f->stack->slot[s].reg, arg);
	}
	return 0;
}
