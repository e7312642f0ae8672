/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Pruning: a path ends where a state that was verified before covers it.
 * Loops: a state that comes back unchanged never ends.
 */
#include "verifier/iter.h"

#include <stdlib.h>
#include <string.h>

enum exactness {
	NOT_EXACT, /* imprecise numbers don't matter */
	EXACT, /* the same */
	WITHIN, /* all numbers lie within the old ones */
};

/* ---- Ids ---- */

static bool same_id(struct venv *env, uint32_t old, uint32_t cur)
{
	if (!old != !cur)
		return false;
	if (!old)
		return true;
	for (uint32_t i = 0; i < env->nidmap; i++) {
		if (env->idmap[i].old == old)
			return env->idmap[i].cur == cur;
		if (env->idmap[i].cur == cur)
			return false;
	}
	if (env->nidmap == sizeof(env->idmap) / sizeof(env->idmap[0]))
		return false;
	env->idmap[env->nidmap].old = old;
	env->idmap[env->nidmap++].cur = cur;
	return true;
}

/* Numbers that were linked in the old state must be linked in this one; not the
 * other way around. */
static bool same_scalar_id(struct venv *env, uint32_t old, uint32_t cur)
{
	if (!old)
		return true;
	return same_id(env, old, cur ? cur : ++env->tmp_id);
}

/* ---- Registers ---- */

static bool exact(struct venv *env, const struct vreg *o, const struct vreg *c)
{
	return o->type == c->type && o->flags == c->flags && o->off == c->off && o->aux == c->aux &&
	       o->inner == c->inner && o->map_uid == c->map_uid &&
	       skep_scalar_equal(&o->s, &c->s) && same_id(env, o->id, c->id) &&
	       same_id(env, o->ref, c->ref);
}

static bool reg_safe(struct venv *env, const struct vreg *o, const struct vreg *c, bool precise,
		     enum exactness ex)
{
	if (ex == EXACT)
		return exact(env, o, c) && (o->type != V_STACK || o->frameno == c->frameno);
	if (o->type == V_NOT_INIT)
		return ex == NOT_EXACT || c->type == V_NOT_INIT;
	if (o->type != c->type || o->flags != c->flags)
		return false;
	switch (o->type) {
	case V_SCALAR:
		if (env->priv && !precise && !o->precise && ex == NOT_EXACT &&
		    !(env->watch && env->watch->exact))
			return true;
		if (env->masks && !skep_scalar_equal(&o->s, &c->s))
			return false;
		if ((o->id ^ c->id) & V_ADD_CONST || (o->id & V_ADD_CONST && o->off != c->off))
			return false;
		return skep_scalar_within(&o->s, &c->s) &&
		       same_scalar_id(env, o->id & ~V_ADD_CONST, c->id & ~V_ADD_CONST);
	case V_MAP_VALUE:
	case V_MAP_KEY:
	case V_MEM:
		return o->off == c->off && o->aux == c->aux && o->inner == c->inner &&
		       o->dynptr == c->dynptr && o->map_uid == c->map_uid &&
		       skep_scalar_within(&o->s, &c->s) && same_id(env, o->id, c->id) &&
		       same_id(env, o->ref, c->ref);
	case V_PKT:
	case V_PKT_META:
		return o->range <= c->range && o->off == c->off && same_id(env, o->id, c->id) &&
		       skep_scalar_within(&o->s, &c->s);
	case V_STACK:
		return exact(env, o, c) && o->frameno == c->frameno;
	default:
		return exact(env, o, c);
	}
}

/* ---- Stack ---- */

#define KINDS(kind) (0x0101010101010101ull * (kind))

/* The kinds of a slot's bytes at once. */
static uint64_t kinds(const struct vslot *s)
{
	uint64_t k;

	memcpy(&k, s->kind, sizeof(k));
	return k;
}

static const struct vreg *slot_scalar(const struct venv *env, const struct vslot *s,
				      const struct vreg *unknown)
{
	uint64_t k = kinds(s);

	if (env->priv ? !(k & ~KINDS(V_MISC)) : k == KINDS(V_MISC))
		return unknown;
	if (s->kind[0] == V_SPILL && s->kind[7] == V_SPILL && v_is_scalar(&s->reg))
		return &s->reg;
	return NULL;
}

/* Byte by byte: slots that hold pieces of several things. */
static bool bytes_safe(struct venv *env, const struct vslot *so, const struct vslot *sc,
		       bool precise, enum exactness ex)
{
	const struct vreg *ro, *rc;
	struct vreg unknown;

	skep_v_reg_unknown(&unknown);
	/* Data that is no register is any number. */
	ro = slot_scalar(env, so, &unknown);
	rc = slot_scalar(env, sc, &unknown);
	for (unsigned k = 0; k < 8; k++) {
		if (so->kind[k] == V_INVALID || (so->kind[k] == V_MISC && env->priv))
			continue;
		if (ro && rc)
			return reg_safe(env, ro, rc, precise, ex);
		if (so->kind[k] == V_MISC && sc->kind[k] == V_ZERO)
			continue;
		if (so->kind[k] != sc->kind[k])
			return false;
		/* How many steps were made says nothing of what can follow. */
		if (k == 7 && so->kind[k] == V_ITER_SLOT &&
		    (so->reg.btf != sc->reg.btf || so->reg.btf_id != sc->reg.btf_id ||
		     so->reg.iter_drained != sc->reg.iter_drained ||
		     !same_id(env, so->reg.ref, sc->reg.ref)))
			return false;
		if (k == 7 && so->kind[k] == V_DYNPTR_SLOT &&
		    (so->reg.dyn != sc->reg.dyn || !same_id(env, so->reg.ref, sc->reg.ref)))
			return false;
		if (k == 7 && so->kind[k] == V_SPILL &&
		    !reg_safe(env, &so->reg, &sc->reg, precise, ex))
			return false;
	}
	return true;
}

static bool stack_safe(struct venv *env, const struct vstate *old, const struct vframe *o,
		       const struct vframe *c, uint32_t frame, enum exactness ex)
{
	uint32_t n = o->stack ? o->stack->n : 0, cn = c->stack ? c->stack->n : 0;
	const uint64_t any =
		env->priv ? KINDS(V_MISC) : 0; /* bytes that nobody reads, or reads as any number */

	for (uint32_t i = 0; i < n; i++) {
		const struct vslot *so = &o->stack->slot[i],
				   *sc = i < cn ? &c->stack->slot[i] : NULL;
		bool precise = old->pslot[frame] >> i & 1;
		uint64_t ko = kinds(so);

		if (ex == EXACT && (!sc || ko != kinds(sc)))
			return false;
		if (!(ko & ~any))
			continue;
		if (!sc)
			return false;
		/* A register in both is the usual case. */
		if (ko == KINDS(V_SPILL) && kinds(sc) == KINDS(V_SPILL)
			    ? !reg_safe(env, &so->reg, &sc->reg, precise, ex)
			    : !bytes_safe(env, so, sc, precise, ex))
			return false;
	}
	return true;
}

/* ---- States ---- */

static uint32_t frame_insn(const struct vstate *st, uint32_t frame)
{
	return frame == st->curframe ? st->insn : (uint32_t)st->frame[frame + 1]->callsite;
}

static bool refs_safe(struct venv *env, const struct vstate *o, const struct vstate *c)
{
	uint32_t no = o->refs ? o->refs->n : 0, nc = c->refs ? c->refs->n : 0;

	if (no != nc || o->nlocks != c->nlocks || o->rcu != c->rcu ||
	    !same_id(env, o->lock_id, c->lock_id) || o->lock_ptr != c->lock_ptr)
		return false;
	for (uint32_t i = 0; i < no; i++) {
		const struct vref *ro = &o->refs->r[i], *rc = &c->refs->r[i];

		if (ro->kind != rc->kind || !same_id(env, ro->id, rc->id) ||
		    (ro->kind == V_REF_LOCK && ro->ptr != rc->ptr))
			return false;
	}
	return true;
}

static bool states_equal(struct venv *env, const struct vstate *o, const struct vstate *c,
			 enum exactness ex)
{
	if (o->curframe != c->curframe)
		return false;
	env->nidmap = 0;
	env->tmp_id = env->next_id;
	if (!refs_safe(env, o, c))
		return false;
	for (uint32_t i = 0; i <= o->curframe; i++)
		if (o->frame[i]->callsite != c->frame[i]->callsite)
			return false;
	for (uint32_t i = 0; i <= o->curframe; i++) {
		const struct vframe *fo = o->frame[i], *fc = c->frame[i];
		uint16_t live = env->aux[frame_insn(o, i)].live | 1u << 10;

		if (fo->cb_depth > fc->cb_depth)
			return false;
		for (; live; live &= live - 1) {
			unsigned r = (unsigned)__builtin_ctz(live);

			if (!reg_safe(env, &fo->reg[r], &fc->reg[r], o->preg[i] >> r & 1, ex))
				return false;
		}
		if (!stack_safe(env, o, fo, fc, i, ex))
			return false;
	}
	return true;
}

/* ---- Remembered states ---- */

static struct vstate **bucket(struct venv *env, const struct vstate *st, uint32_t insn)
{
	return &env->explored[(insn ^ (uint32_t)v_frame(st)->callsite) % env->n];
}

static bool same_callsites(const struct vstate *a, const struct vstate *b)
{
	if (a->curframe != b->curframe)
		return false;
	for (uint32_t i = a->curframe + 1; i-- > 0;)
		if (a->frame[i]->callsite != b->frame[i]->callsite)
			return false;
	return true;
}

/* Whether marks may still be missing because ways back into the loop wait. */
static bool incomplete(const struct vstate *st)
{
	return st->loop && st->loop->backs;
}

/* Forgets what nobody reads later, so that more states are covered. */
static int clean(struct venv *env, struct vstate *st)
{
	st->cleaned = true;
	for (uint32_t i = 0; i <= st->curframe; i++) {
		uint16_t live = env->aux[frame_insn(st, i)].live;
		uint64_t slots = skep_v_live_slots(env, st, i);
		struct vframe *f = st->frame[i];

		st->preg[i] &= live;
		st->pslot[i] &= slots;
		for (uint32_t r = 0; r < 10; r++) {
			if (live & 1u << r || f->reg[r].type == V_NOT_INIT)
				continue;
			f = skep_v_frame_mut(env, st, i);
			if (!f)
				return -ENOMEM;
			skep_v_reg_invalid(&f->reg[r]);
		}
		for (uint32_t s = 0; f->stack && s < f->stack->n; s++) {
			struct vstack *stack;

			if (slots & 1ull << s)
				continue;
			stack = skep_v_stack_mut(env, st, i, 0);
			if (!stack)
				return -ENOMEM;
			f = st->frame[i];
			skep_v_reg_invalid(&stack->slot[s].reg);
			memset(stack->slot[s].kind, V_INVALID, 8);
		}
	}
	return 0;
}

static int clean_all(struct venv *env, struct vstate *list, uint32_t insn)
{
	if (env->watch && env->watch->exact)
		return 0;
	for (struct vstate *st = list; st; st = st->next) {
		int err;

		if (st->branches || st->insn != insn || st->cleaned ||
		    !same_callsites(st, env->cur) || incomplete(st))
			continue;
		err = skep_v_live_update(env);
		if (!err)
			err = clean(env, st);
		if (err)
			return err;
	}
	return 0;
}

static bool maybe_looping(const struct vstate *o, const struct vstate *c)
{
	const struct vframe *fo, *fc;

	if (o->curframe != c->curframe)
		return false;
	fo = v_frame(o);
	fc = v_frame(c);
	for (uint32_t r = 0; r < V_REGS; r++) {
		const struct vreg *a = &fo->reg[r], *b = &fc->reg[r];

		if (a->type != b->type || a->flags != b->flags || a->off != b->off ||
		    a->aux != b->aux || a->id != b->id || a->ref != b->ref ||
		    !skep_scalar_equal(&a->s, &b->s))
			return false;
	}
	return true;
}

static int infinite(struct venv *env, const struct vstate *old, uint32_t insn)
{
	skep_v_print_line(env, insn);
	skep_v_refuse(env, EINVAL, W_LOOP, -1, "infinite loop detected at insn %u\n", insn);
	skep_v_log(env, "cur state:");
	skep_v_print_state(env, env->cur, env->cur->curframe, true);
	skep_v_log(env, "old state:");
	skep_v_print_state(env, old, env->cur->curframe, true);
	return -EINVAL;
}

static void peak(struct venv *env)
{
	uint32_t n = env->explored_states + env->free_states + env->nbacks;

	if (n > env->peak_states)
		env->peak_states = n;
}

/* The path comes to a state that is still walked, in a loop: what that will turn
 * out to need, this path needs too. Kept until the loop is left. */
static int add_back(struct venv *env, struct vstate *old)
{
	struct vback *b = malloc(sizeof(*b));

	if (!b)
		return -ENOMEM;
	b->old = old;
	b->cur = skep_v_state_copy(env, env->cur, true);
	if (!b->cur) {
		free(b);
		return -ENOMEM;
	}
	b->cur->insn = env->insn;
	b->next = old->loop->backs;
	old->loop->backs = b;
	env->nbacks++;
	peak(env);
	return 0;
}

static void drop_backs(struct venv *env, struct vstate *loop)
{
	struct vback *b;

	while ((b = loop->backs)) {
		loop->backs = b->next;
		skep_v_state_free(env, b->cur);
		free(b);
		env->nbacks--;
	}
}

/* The loop that st entered is left: passes marks around it until none is new. */
static void leave_loop(struct venv *env, struct vstate *st)
{
	bool changed = true;

	for (unsigned round = 0; changed && round < 64; round++) {
		changed = false;
		for (struct vback *b = st->backs; b; b = b->next)
			if (skep_v_precise_from(env, b->old, b->cur, &changed)) {
				env->err = env->err ? env->err : -EFAULT;
				changed = false;
				break;
			}
	}
	/* Not settled: then everything matters. */
	if (changed)
		for (struct vback *b = st->backs; b; b = b->next)
			for (struct vstate *p = b->cur->parent; p; p = p->parent)
				for (uint32_t i = 0; i <= p->curframe; i++) {
					p->preg[i] = 0x3ff;
					p->pslot[i] = ~0ull;
				}
	drop_backs(env, st);
}

static void print_cycle(struct venv *env, const struct vstate *st, const char *what);

/* Frees an evicted state that nothing builds on: no path starts there, and no way back around
 * its loop leads through it. */
static void release(struct venv *env, struct vstate *st)
{
	if (st->branches || incomplete(st))
		return;
	env->free_states--;
	st->evicted = false;
	/* The others in the loop name the state that it was entered through. */
	if (st->loop == st)
		return;
	*st->link = st->next;
	if (st->next)
		st->next->link = st->link;
	skep_v_state_free(env, st);
}

static void evict(struct venv *env, struct vstate *st)
{
	st->evicted = true;
	st->next = env->evicted;
	st->link = &env->evicted;
	if (st->next)
		st->next->link = &st->next;
	env->evicted = st;
	env->explored_states--;
	env->free_states++;
	release(env, st);
}

void skep_v_branch_done(struct venv *env, struct vstate *st)
{
	/* st is the path itself; its checkpoints are its parents. */
	struct vstate *up;

	for (st = st->parent; st && !--st->branches; st = up) {
		up = st->parent;
		if (st->loop == st) {
			print_cycle(env, st, "exit");
			leave_loop(env, st);
		}
		if (st->evicted)
			release(env, st);
	}
}

/* The cycle that a state is in: of its outermost frame that is in one. */
static uint32_t cycle(const struct venv *env, const struct vstate *st, uint32_t *frame)
{
	for (uint32_t i = 0; i <= st->curframe; i++) {
		uint32_t scc = env->aux[frame_insn(st, i)].scc;

		*frame = i;
		if (scc)
			return scc;
	}
	return 0;
}

static void print_cycle(struct venv *env, const struct vstate *st, const char *what)
{
	uint32_t frame, scc = cycle(env, st, &frame);

	if (scc & V_OWN_CYCLE || !skep_log_on(env->log, SKEP_LOG_LEVEL2))
		return;
	skep_v_log(env, "SCC %s (", what);
	for (uint32_t i = 0; i < frame; i++)
		skep_v_log(env, "%u,", frame_insn(st, i));
	skep_v_log(env, "%u)\n", scc);
}

/* Finds the state through which the path came into the cycle that st is in. */
static void enter_loop(struct venv *env, struct vstate *st)
{
	const struct vstate *up = st->parent ? st->parent->loop : NULL;
	uint32_t frame, scc = cycle(env, st, &frame), uframe;

	st->loop = NULL;
	if (!scc)
		return;
	if (up && cycle(env, up, &uframe) == scc && uframe == frame) {
		bool same = true;

		for (uint32_t i = 1; i <= frame; i++)
			same &= up->frame[i]->callsite == st->frame[i]->callsite;
		if (same) {
			st->loop = st->parent->loop;
			return;
		}
	}
	st->loop = st;
	print_cycle(env, st, "enter");
}

static int remember(struct venv *env, uint32_t insn)
{
	struct vstate *st, **head = bucket(env, env->cur, insn);

	env->total_states++;
	env->explored_states++;
	peak(env);
	env->prev_jmps = env->jmps;
	env->prev_processed = env->processed;
	memset(env->cur->preg, 0, sizeof(env->cur->preg));
	memset(env->cur->pslot, 0, sizeof(env->cur->pslot));
	st = skep_v_state_copy(env, env->cur, true);
	if (!st)
		return -ENOMEM;
	st->insn = insn;
	enter_loop(env, st);
	st->next = *head;
	*head = st;
	env->cur->parent = st;
	env->cur->first_insn = insn;
	env->cur->depth = st->depth + 1;
	env->cur->nhist = 0;
	return 0;
}

static bool is_may_goto(const struct venv *env, uint32_t insn)
{
	return env->insns[insn].code == (BPF_JMP | BPF_JCOND);
}

int skep_v_visited(struct venv *env, uint32_t insn)
{
	struct vstate *cur = env->cur, **p = bucket(env, cur, insn);
	bool force = env->in->test_state_freq || env->aux[insn].flags & V_FORCE || cur->nhist > 40;
	bool add = force;
	uint32_t states = 0;
	int err;

	if (env->jmps - env->prev_jmps >= 2 && env->processed - env->prev_processed >= 8)
		add = true;
	err = clean_all(env, *p, insn);
	if (err)
		return err;
	while (*p) {
		struct vstate *old = *p;
		bool loop = false, hit = false;

		states++;
		if (old->insn != insn) {
			p = &old->next;
			continue;
		}
		if (old->branches) {
			if (v_frame(old)->async &&
			    v_frame(old)->async_round != v_frame(cur)->async_round) {
				/* Another run of the callback: no loop, and nothing is known of the
				 * first yet. */
			} else if (env->aux[insn].flags & V_ITER_NEXT) {
				hit = loop = states_equal(env, old, cur, WITHIN) &&
					     skep_v_iter_active(cur);
			} else if (is_may_goto(env, insn) && old->may_goto != cur->may_goto &&
				   states_equal(env, old, cur, WITHIN)) {
				hit = loop = true;
			} else if (env->aux[insn].flags & V_CALLBACKS) {
				hit = states_equal(env, old, cur, WITHIN);
				loop = true;
			} else if (maybe_looping(old, cur) && states_equal(env, old, cur, EXACT) &&
				   !skep_v_iter_depths_differ(old, cur) &&
				   old->cb_unroll == cur->cb_unroll &&
				   old->may_goto == cur->may_goto) {
				return infinite(env, old, insn);
			}
			if (!hit && !force && env->jmps - env->prev_jmps < 20 &&
			    env->processed - env->prev_processed < 100)
				add = false;
		} else {
			loop = incomplete(old);
			hit = states_equal(env, old, cur, loop ? WITHIN : NOT_EXACT);
		}
		if (hit) {
			old->hit++;
			if (env->aux[insn].flags & V_JUMP)
				err = skep_v_hist_push(env, cur, 0, 0, 0, NULL);
			if (!err)
				err = skep_v_precise_from(env, old, cur, NULL);
			if (!err && loop && old->loop)
				err = add_back(env, old);
			return err ? err : 1;
		}
		if (add)
			old->miss++;
		if (old->miss >
		    old->hit * (env->aux[insn].flags & V_FORCE && old->branches ? 64u : 3u) +
			    (env->aux[insn].flags & V_FORCE && old->branches ? 64u : 3u)) {
			*p = old->next;
			evict(env, old);
			continue;
		}
		p = &old->next;
	}
	if (states > env->max_per_insn)
		env->max_per_insn = states;
	return add ? remember(env, insn) : 0;
}

/* ---- Widening, for loops that converge ---- */

static bool widens(const struct vreg *o, const struct vreg *c, bool precise)
{
	return v_is_scalar(o) && v_is_scalar(c) && !precise && !o->precise && !c->precise &&
	       !(skep_scalar_equal(&o->s, &c->s));
}

int skep_v_widen(struct venv *env, struct vstate *cur, uint32_t insn, uint32_t depth)
{
	struct vstate *old = *bucket(env, cur, insn);

	while (old && !(old->insn == insn && old->branches && same_callsites(old, cur) &&
			old->depth < depth))
		old = old->next;
	if (!old)
		return 0;
	for (uint32_t i = 0; i <= cur->curframe; i++) {
		const struct vframe *fo = old->frame[i];

		for (uint32_t r = 0; r < V_REGS; r++) {
			struct vframe *f;

			if (!widens(&fo->reg[r], &cur->frame[i]->reg[r], old->preg[i] >> r & 1))
				continue;
			f = skep_v_frame_mut(env, cur, i);
			if (!f)
				return -ENOMEM;
			skep_v_reg_unknown(&f->reg[r]);
		}
		for (uint32_t s = 0; fo->stack && s < fo->stack->n; s++) {
			const struct vstack *sc = cur->frame[i]->stack;
			struct vstack *w;

			if (!sc || s >= sc->n || fo->stack->slot[s].kind[7] != V_SPILL ||
			    sc->slot[s].kind[7] != V_SPILL ||
			    !widens(&fo->stack->slot[s].reg, &sc->slot[s].reg,
				    old->pslot[i] >> s & 1))
				continue;
			w = skep_v_stack_mut(env, cur, i, 0);
			if (!w)
				return -ENOMEM;
			skep_v_reg_unknown(&w->slot[s].reg);
		}
	}
	return 0;
}
