/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Precision. A number is imprecise until the proof rests on it: then everything
 * it was computed from is marked, backwards along the path, in the checkpoints
 * that the path went through. Only marked numbers are compared when a later path
 * comes by, so that states that differ in unimportant numbers are the same.
 */
#include "verifier/state.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* What is still sought, per frame. */
struct want {
	uint32_t frame;
	uint16_t regs[V_FRAMES];
	uint64_t slots[V_FRAMES];
};

#define ARGS 0x3eu

/* Frames above the current one have ended: nothing of theirs is sought. */
static bool none(const struct want *w)
{
	for (unsigned i = 0; i <= w->frame; i++)
		if (w->regs[i] || w->slots[i])
			return false;
	return true;
}

/* ---- What steps back touch ---- */

#define ALWAYS 0x8000u /* whatever is sought */

/* The registers that, if one of them is sought, make a step back over the instruction do something; the
 * stack is a matter of the history. */
static uint16_t touches(const struct venv *env, uint32_t idx)
{
	const struct bpf_insn *in = &env->insns[idx];
	uint16_t dst = (uint16_t)(1u << in->dst_reg), src = (uint16_t)(1u << in->src_reg);
	uint8_t op = BPF_OP(in->code);

	if (env->aux[idx].flags & V_SECOND)
		return 0;
	switch (BPF_CLASS(in->code)) {
	case BPF_ALU:
	case BPF_ALU64:
		return op == BPF_END || op == BPF_NEG ? 0 : dst;
	case BPF_LDX:
		return dst;
	case BPF_ST:
		return dst;
	case BPF_STX:
		/* Atomic ones may fetch into the source, or into R0. */
		return BPF_MODE(in->code) == BPF_ATOMIC ? dst | src | 1 : dst;
	case BPF_LD:
		return BPF_MODE(in->code) == BPF_IMM ? dst : ALWAYS;
	default:
		if (op == BPF_CALL || op == BPF_EXIT)
			return ALWAYS;
		if (op == BPF_JA || op == BPF_JCOND || BPF_SRC(in->code) != BPF_X)
			return 0;
		return dst | src;
	}
}

int skep_v_precise_prepare(struct venv *env)
{
	env->touches = malloc(env->n * sizeof(*env->touches));
	if (!env->touches)
		return -ENOMEM;
	for (uint32_t i = 0; i < env->n; i++)
		env->touches[i] = touches(env, i);
	return 0;
}

static bool verbose(const struct venv *env)
{
	return skep_log_on(env->log, SKEP_LOG_LEVEL2);
}

static void print_masks(struct venv *env, uint16_t regs, uint64_t slots, const char *after)
{
	const char *sep = "";

	skep_v_log(env, "regs=");
	for (unsigned i = 0; i < V_REGS; i++)
		if (regs & 1u << i) {
			skep_v_log(env, "%sr%u", sep, i);
			sep = ",";
		}
	skep_v_log(env, " stack=");
	sep = "";
	for (unsigned i = 0; i < V_SLOTS; i++)
		if (slots & 1ull << i) {
			skep_v_log(env, "%s%d", sep, -8 * (int)(i + 1));
			sep = ",";
		}
	skep_v_log(env, "%s", after);
}

/* Numbers that an instruction tied together are sought together. */
static void add_linked(struct want *w, const struct vhist *h)
{
	bool any = false;

	if (!h || !h->nlinked)
		return;
	for (unsigned i = 0; i < h->nlinked; i++) {
		unsigned f = h->linked[i].frame, s = h->linked[i].spi;

		any |= h->linked[i].is_slot ? w->slots[f] >> s & 1 : w->regs[f] >> s & 1;
	}
	for (unsigned i = 0; any && i < h->nlinked; i++) {
		if (h->linked[i].is_slot)
			w->slots[h->linked[i].frame] |= 1ull << h->linked[i].spi;
		else
			w->regs[h->linked[i].frame] |= (uint16_t)(1u << h->linked[i].spi);
	}
}

static int lost(struct venv *env, const char *what)
{
	return skep_v_refuse(env, EFAULT, W_OTHER, -1, "verifier bug: %s\n", what);
}

static bool pseudo_call(const struct bpf_insn *in)
{
	return in->code == (BPF_JMP | BPF_CALL) && in->src_reg == BPF_PSEUDO_CALL;
}

/* One step back over a call or return. */
static int back_call(struct venv *env, uint32_t idx, int64_t after, struct want *w)
{
	const struct bpf_insn *in = &env->insns[idx];
	uint16_t *regs = &w->regs[w->frame];

	if (pseudo_call(in)) {
		int sub = skep_v_subprog_at(env, (uint32_t)((int64_t)idx + in->imm + 1));

		if (sub < 0)
			return lost(env, "call to no subprogram");
		if (env->subs[sub].global) {
			if (*regs & ARGS)
				return lost(env, "arguments needed after a global call");
			*regs &= (uint16_t)~1u;
			return 0;
		}
		if (*regs & ~ARGS || w->slots[w->frame])
			return lost(env, "callee needs more than arguments");
		if (!w->frame)
			return lost(env, "call out of the outermost frame");
		w->regs[w->frame - 1] |= *regs;
		*regs = 0;
		w->frame--;
		return 0;
	}
	if (env->aux[idx].flags & V_CALLBACKS && (int64_t)idx != after - 1) {
		/* Out of a callback into the helper that called it. */
		if (*regs & ~ARGS || w->slots[w->frame])
			return lost(env, "callback needs more than arguments");
		if (!w->frame)
			return lost(env, "callback in the outermost frame");
		*regs = 0;
		w->frame--;
		return 0;
	}
	/* A tail call that failed returned from its function: registers are others'. */
	if (after >= 0 && env->aux[after].subprog != env->aux[idx].subprog)
		return -V_ENOTSUPP;
	*regs &= (uint16_t)~1u;
	if (*regs & ARGS)
		return lost(env, "arguments needed after a helper call");
	return 0;
}

static int back_exit(struct venv *env, int64_t after, struct want *w)
{
	uint16_t *regs = &w->regs[w->frame];
	bool r0;

	if (after >= 0 && env->aux[after].flags & V_CALLBACKS)
		*regs &= (uint16_t)~ARGS;
	if (*regs & ARGS)
		return lost(env, "arguments needed after a return");
	r0 = after - 1 >= 0 && pseudo_call(&env->insns[after - 1]) && *regs & 1;
	*regs &= (uint16_t)~1u;
	if (w->frame + 1 >= V_FRAMES)
		return lost(env, "too many frames");
	w->frame++;
	if (r0)
		w->regs[w->frame] |= 1;
	return 0;
}

/* One step back: what must be known before the instruction for what is sought
 * after it. -V_ENOTSUPP: that can't be told. */
static int back(struct venv *env, uint32_t idx, int64_t after, const struct vhist *h,
		struct want *w)
{
	const struct bpf_insn *in = &env->insns[idx];
	uint16_t *regs = &w->regs[w->frame], dst = (uint16_t)(1u << in->dst_reg);
	uint16_t src = (uint16_t)(1u << in->src_reg);
	bool x = BPF_SRC(in->code) == BPF_X;
	int err = 0;

	if (env->aux[idx].flags & V_SECOND)
		return 0;
	if (verbose(env)) {
		skep_v_log(env, "mark_precise: frame%u: ", w->frame);
		print_masks(env, *regs, w->slots[w->frame], " before ");
		skep_v_log(env, "%u: ", idx);
		skep_v_print_insn(env, idx);
	}
	add_linked(w, h);
	switch (BPF_CLASS(in->code)) {
	case BPF_ALU:
	case BPF_ALU64:
		if (!(*regs & dst) || BPF_OP(in->code) == BPF_END || BPF_OP(in->code) == BPF_NEG)
			break;
		if (BPF_OP(in->code) == BPF_MOV)
			*regs &= (uint16_t)~dst;
		if (x && in->src_reg != 10)
			*regs |= src;
		break;
	case BPF_LDX:
	load:
		if (!(*regs & dst))
			break;
		*regs &= (uint16_t)~dst;
		if (h && h->flags & V_HIST_STACK)
			w->slots[h->frame] |= 1ull << h->slot;
		break;
	case BPF_ST:
	case BPF_STX:
		if (BPF_CLASS(in->code) == BPF_STX && BPF_MODE(in->code) == BPF_ATOMIC &&
		    in->imm == BPF_LOAD_ACQ)
			goto load;
		if (BPF_CLASS(in->code) == BPF_STX && BPF_MODE(in->code) == BPF_ATOMIC &&
		    in->imm & BPF_FETCH && in->imm != BPF_STORE_REL && in->imm != BPF_LOAD_ACQ) {
			uint16_t got = in->imm == BPF_CMPXCHG ? 1 : src;

			if (*regs & got) {
				*regs &= (uint16_t)~got;
				if (h && h->flags & V_HIST_STACK)
					w->slots[h->frame] |= 1ull << h->slot;
			}
		}
		if (*regs & dst)
			return -V_ENOTSUPP;
		if (!h || !(h->flags & V_HIST_STACK) || !(w->slots[h->frame] >> h->slot & 1))
			break;
		w->slots[h->frame] &= ~(1ull << h->slot);
		if (BPF_CLASS(in->code) == BPF_STX)
			*regs |= src;
		break;
	case BPF_LD:
		if (BPF_MODE(in->code) != BPF_IMM && after >= 0 &&
		    env->aux[after].subprog != env->aux[idx].subprog)
			return -V_ENOTSUPP;
		if (!(*regs & dst))
			break;
		*regs &= (uint16_t)~dst;
		if (BPF_MODE(in->code) != BPF_IMM)
			return -V_ENOTSUPP;
		break;
	default:
		if (BPF_OP(in->code) == BPF_CALL) {
			err = back_call(env, idx, after, w);
		} else if (BPF_OP(in->code) == BPF_EXIT) {
			err = back_exit(env, after, w);
		} else if (BPF_OP(in->code) != BPF_JA && BPF_OP(in->code) != BPF_JCOND && x &&
			   *regs & (dst | src)) {
			if (!h || !(h->flags & V_HIST_SRC_PTR))
				*regs |= src;
			if (!h || !(h->flags & V_HIST_DST_PTR))
				*regs |= dst;
		}
		break;
	}
	add_linked(w, h);
	return err;
}

/* Gives up finding out: all numbers in all checkpoints of the path are needed. */
static void all_precise(struct venv *env, struct vstate *st, bool *changed)
{
	if (verbose(env))
		skep_v_log(env,
			   "mark_precise: frame%u: falling back to forcing all scalars precise\n",
			   st->curframe);
	for (st = st->parent; st; st = st->parent) {
		for (uint32_t i = 0; i <= st->curframe; i++) {
			const struct vframe *f = st->frame[i];

			for (uint32_t r = 0; r < 10; r++) {
				if (!v_is_scalar(&f->reg[r]) || st->preg[i] & 1u << r)
					continue;
				st->preg[i] |= (uint16_t)(1u << r);
				*changed = true;
				if (verbose(env))
					skep_v_log(env,
						   "force_precise: frame%u: forcing r%u to be "
						   "precise\n",
						   i, r);
			}
			for (uint32_t s = 0; f->stack && s < f->stack->n; s++) {
				if (f->stack->slot[s].kind[7] != V_SPILL ||
				    !v_is_scalar(&f->stack->slot[s].reg) ||
				    st->pslot[i] & 1ull << s)
					continue;
				st->pslot[i] |= 1ull << s;
				*changed = true;
				if (verbose(env))
					skep_v_log(env,
						   "force_precise: frame%u: forcing fp%d to be "
						   "precise\n",
						   i, -8 * (int)(s + 1));
			}
		}
	}
}

/* Marks what is sought in a checkpoint; what was marked before needs no more search. */
static int mark_state(struct venv *env, struct vstate *st, struct want *w, bool *changed)
{
	for (uint32_t i = w->frame + 1; i-- > 0;) {
		const struct vframe *f = st->frame[i];

		for (uint32_t r = 0; r < V_REGS; r++) {
			if (!(w->regs[i] & 1u << r))
				continue;
			if (!v_is_scalar(&f->reg[r]) || st->preg[i] & 1u << r) {
				w->regs[i] &= (uint16_t) ~(1u << r);
				continue;
			}
			st->preg[i] |= (uint16_t)(1u << r);
			*changed = true;
		}
		for (uint32_t s = 0; s < V_SLOTS; s++) {
			if (!(w->slots[i] & 1ull << s))
				continue;
			if (!f->stack || s >= f->stack->n)
				return lost(env, "slot beyond the stack");
			if (f->stack->slot[s].kind[7] != V_SPILL ||
			    !v_is_scalar(&f->stack->slot[s].reg) || st->pslot[i] & 1ull << s) {
				w->slots[i] &= ~(1ull << s);
				continue;
			}
			st->pslot[i] |= 1ull << s;
			*changed = true;
		}
		if (verbose(env)) {
			skep_v_log(env, "mark_precise: frame%u: parent state ", i);
			print_masks(env, w->regs[i], w->slots[i], ": ");
			skep_v_print_state(env, st, i, true);
		}
	}
	return 0;
}

/* Whether what was noted of the instruction says something of what is sought. */
static bool concerns(const struct vhist *h, const struct want *w)
{
	return h->nlinked || (h->flags & V_HIST_STACK && w->slots[h->frame] >> h->slot & 1);
}

static bool is_entry_of_global(const struct vstate *st, const struct want *w)
{
	return st->curframe == 0 && st->frame[0]->subprog > 0 && st->frame[0]->callsite == V_MAIN &&
	       !w->slots[0] && !(w->regs[0] & ~ARGS);
}

static int walk_back(struct venv *env, struct vstate *start, struct want *w, bool *changed)
{
	struct vstate *st = start;
	int64_t after = -1, last = st->insn, first = st->first_insn;
	bool skip = true, tell = verbose(env);
	int err;

	if (none(w))
		return 0;
	for (;;) {
		uint32_t nh = st->nhist;

		if (verbose(env))
			skep_v_log(
				env,
				"mark_precise: frame%u: last_idx %d first_idx %d subseq_idx %d \n",
				w->frame, (int)last, (int)first, (int)after);
		if (last < 0) {
			if (!is_entry_of_global(st, w))
				return lost(env, "backtracking went beyond the entry");
			st->preg[0] |= w->regs[0];
			return 0;
		}
		for (int64_t i = last;;) {
			const int64_t stop = nh ? (int64_t)st->hist[nh - 1].idx : first;
			const uint16_t sought = w->regs[w->frame] | ALWAYS;
			const struct vhist *h;

			/* What has nothing to do with it: most instructions. */
			for (; !skip && !tell && i > stop && !(env->touches[i] & sought); i--)
				after = i;
			h = nh && st->hist[nh - 1].idx == i ? &st->hist[nh - 1] : NULL;

			if (!skip && (tell || env->touches[i] & sought || (h && concerns(h, w)))) {
				err = back(env, (uint32_t)i, after, h, w);
				if (err == -V_ENOTSUPP) {
					all_precise(env, start, changed);
					return 0;
				}
				if (err)
					return err;
				if (none(w))
					return 0;
			}
			skip = false;
			after = i;
			if (i == first && (!nh || (nh == 1 && st->hist[0].idx == i)))
				break;
			if (h) {
				i = h->prev == UINT32_MAX ? -1 : (int64_t)h->prev;
				nh--;
			} else {
				i--;
			}
			if (i < 0)
				return lost(env, "backtracking missed a definition");
		}
		st = st->parent;
		if (!st)
			break;
		err = mark_state(env, st, w, changed);
		if (err || none(w))
			return err;
		after = first;
		last = st->last_insn == UINT32_MAX ? -1 : (int64_t)st->last_insn;
		first = st->first_insn;
	}
	all_precise(env, start, changed);
	return 0;
}

int skep_v_precise(struct venv *env, int reg)
{
	struct want w = {.frame = env->cur->curframe};
	bool changed;

	if (!env->priv)
		return 0;
	if (!v_is_scalar(v_reg(env, (uint32_t)reg)))
		return 0;
	w.regs[w.frame] = (uint16_t)(1u << reg);
	return walk_back(env, env->cur, &w, &changed);
}

int skep_v_precise_stack(struct venv *env, uint32_t frame, uint32_t spi)
{
	struct want w = {.frame = env->cur->curframe};
	bool changed;

	if (!env->priv)
		return 0;
	w.slots[frame] = 1ull << spi;
	return walk_back(env, env->cur, &w, &changed);
}

int skep_v_precise_from(struct venv *env, const struct vstate *old, struct vstate *st,
			bool *changed)
{
	struct want w = {.frame = st->curframe};
	bool ignored;

	if (!env->priv)
		return 0;
	for (uint32_t i = old->curframe + 1; i-- > 0;) {
		bool first = true;

		w.regs[i] = old->preg[i];
		w.slots[i] = old->pslot[i];
		if (!verbose(env))
			continue;
		for (uint32_t r = 0; r < V_REGS; r++)
			if (w.regs[i] & 1u << r) {
				if (first)
					skep_v_log(env, "frame %u: propagating r%u", i, r);
				else
					skep_v_log(env, ",r%u", r);
				first = false;
			}
		for (uint32_t s = 0; s < V_SLOTS; s++)
			if (w.slots[i] & 1ull << s) {
				if (first)
					skep_v_log(env, "frame %u: propagating fp%d", i,
						   -8 * (int)(s + 1));
				else
					skep_v_log(env, ",fp%d", -8 * (int)(s + 1));
				first = false;
			}
		if (!first)
			skep_v_log(env, "\n");
	}
	return walk_back(env, st, &w, changed ? changed : &ignored);
}
