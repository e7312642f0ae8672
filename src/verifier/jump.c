/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Conditional jumps: which way they go, and what each way teaches: ranges of
 * numbers and of all numbers linked to them, packet bounds, pointers that are
 * not NULL.
 */
#include "verifier/state.h"

#include <string.h>

static uint8_t flipped(uint8_t op)
{
	switch (op) {
	case BPF_JGT:
		return BPF_JLT;
	case BPF_JLT:
		return BPF_JGT;
	case BPF_JGE:
		return BPF_JLE;
	case BPF_JLE:
		return BPF_JGE;
	case BPF_JSGT:
		return BPF_JSLT;
	case BPF_JSLT:
		return BPF_JSGT;
	case BPF_JSGE:
		return BPF_JSLE;
	case BPF_JSLE:
		return BPF_JSGE;
	default:
		return op;
	}
}

static bool pkt_any(const struct vreg *r)
{
	return v_is_pkt(r) || r->type == V_PKT_END;
}

static bool not_null(const struct vreg *r)
{
	if (r->flags & V_MAYBE_NULL)
		return false;
	return r->type == V_MAP_VALUE || r->type == V_MAP_KEY || r->type == V_MAP_PTR ||
	       r->type == V_MEM || r->type == V_SOCK || r->type == V_SOCK_COMMON ||
	       r->type == V_TCP_SOCK || r->type == V_XDP_SOCK;
}

/* ---- Deciding ---- */

static int pkt_taken(const struct vreg *dst, const struct vreg *src, uint8_t op)
{
	const struct vreg *pkt;

	if (src->type == V_PKT_END) {
		pkt = dst;
	} else if (dst->type == V_PKT_END) {
		pkt = src;
		op = flipped(op);
	} else {
		return -1;
	}
	if (pkt->type != V_PKT || pkt->range >= 0)
		return -1;
	switch (op) {
	case BPF_JLE:
	case BPF_JGT:
		return pkt->range == V_BEYOND_PKT_END ? op == BPF_JGT : -1;
	case BPF_JLT:
	case BPF_JGE:
		return op == BPF_JGE;
	default:
		return -1;
	}
}

static int taken(const struct vreg *dst, const struct vreg *src, uint8_t op, bool is64)
{
	const struct vreg *ptr = dst, *num = src;

	if (pkt_any(dst) && pkt_any(src) && is64)
		return pkt_taken(dst, src, op);
	if (v_is_scalar(dst) && v_is_scalar(src))
		return skep_scalar_branch(&dst->s, &src->s, op, is64);
	if (!v_is_null(num)) {
		ptr = src;
		num = dst;
	}
	/* The lower half of an address may be zero. */
	if (!v_is_null(num) || !not_null(ptr) || !is64)
		return -1;
	return op == BPF_JEQ ? 0 : op == BPF_JNE ? 1 : -1;
}

/* ---- Linked numbers ---- */

static void collect_one(struct vreg *reg, uint32_t id, struct vhist *l, uint32_t frame,
			uint32_t spi, bool is_slot)
{
	if (!v_is_scalar(reg) || (reg->id & ~V_ADD_CONST) != id)
		return;
	if (l->nlinked == 6) {
		reg->id = 0;
		reg->off = 0;
		return;
	}
	l->linked[l->nlinked].frame = (uint8_t)frame;
	l->linked[l->nlinked].spi = (uint8_t)spi;
	l->linked[l->nlinked++].is_slot = is_slot;
}

static bool has_id(const struct vreg *r, const void *arg)
{
	return v_is_scalar(r) && (r->id & ~V_ADD_CONST) == *(const uint32_t *)arg;
}

static int collect_linked(struct venv *env, struct vstate *st, uint32_t id, struct vhist *l)
{
	id &= ~V_ADD_CONST;
	for (uint32_t i = st->curframe + 1; i-- > 0;) {
		struct vframe *f = st->frame[i];
		uint32_t n = f->stack ? f->stack->n : 0;
		uint32_t at = i == st->curframe ? env->insn : (uint32_t)st->frame[i + 1]->callsite;
		uint16_t live = env->aux[at].live;

		for (uint32_t r = 0; r < V_REGS; r++) {
			if (!(live & 1u << r) || !has_id(&f->reg[r], &id))
				continue;
			if (l->nlinked == 6 && !(f = skep_v_frame_mut(env, st, i)))
				return -ENOMEM;
			collect_one(&f->reg[r], id, l, i, r, false);
		}
		for (uint32_t s = 0; s < n; s++) {
			struct vstack *stack = f->stack;

			if (stack->slot[s].kind[7] != V_SPILL || !has_id(&stack->slot[s].reg, &id))
				continue;
			if (l->nlinked == 6 && !(stack = skep_v_stack_mut(env, st, i, 0)))
				return -ENOMEM;
			f = st->frame[i];
			collect_one(&stack->slot[s].reg, id, l, i, s, true);
		}
	}
	return 0;
}

static void follow(struct vreg *reg, const struct vreg *known)
{
	uint32_t def32 = reg->def32, id = reg->id;
	int32_t off = reg->off;

	/* One wraps at 32 bits, the other does not. */
	if (((reg->id ^ known->id) & V_ADD_CONST) == V_ADD_CONST)
		return;

	if ((!(reg->id & V_ADD_CONST) && !(known->id & V_ADD_CONST)) || reg->off == known->off) {
		*reg = *known;
	} else {
		struct skep_scalar d = skep_scalar_const((uint64_t)((int64_t)off - known->off));

		*reg = *known;
		skep_scalar_alu(&reg->s, BPF_ADD, true, false, &d);
		if ((id | known->id) & V_ADD_CONST32)
			skep_scalar_zext(&reg->s, 4);
		reg->off = off;
		reg->id = id;
	}
	reg->def32 = def32;
}

/* Register r of the current frame was learnt of: so were those linked to it. */
static int sync_linked(struct venv *env, struct vstate *st, uint32_t r, const struct vhist *l)
{
	struct vreg known = st->frame[st->curframe]->reg[r];

	for (unsigned i = 0; i < l->nlinked; i++) {
		uint32_t fr = l->linked[i].frame, spi = l->linked[i].spi;
		struct vreg *reg;

		if (l->linked[i].is_slot) {
			if (!skep_v_stack_mut(env, st, fr, 0))
				return -ENOMEM;
			reg = &st->frame[fr]->stack->slot[spi].reg;
		} else {
			if (fr == st->curframe && spi == r)
				continue;
			if (!skep_v_frame_mut(env, st, fr))
				return -ENOMEM;
			reg = &st->frame[fr]->reg[spi];
		}
		if (v_is_scalar(reg) && (reg->id & ~V_ADD_CONST) == (known.id & ~V_ADD_CONST))
			follow(reg, &known);
	}
	return 0;
}

/* ---- Packets ---- */

struct good_pkt {
	uint8_t type;
	uint32_t id;
	int32_t range;
};

static bool is_pkt_of(const struct vreg *r, const void *arg)
{
	const struct good_pkt *g = arg;

	return r->type == g->type && r->id == g->id;
}

static void set_range(struct vreg *r, const void *arg)
{
	const struct good_pkt *g = arg;

	if (r->range < g->range)
		r->range = g->range;
}

/* In st the packet reaches to where reg points (open: one byte further). */
static int good_pkt(struct venv *env, struct vstate *st, const struct vreg *reg, bool open)
{
	struct good_pkt g = {reg->type, reg->id, reg->off + open};

	if (reg->off < 0 || (reg->off == 0 && open))
		return 0;
	if (reg->s.umax > V_MAX_PKT_OFF || reg->s.umax + (uint64_t)reg->off > V_MAX_PKT_OFF)
		return 0;
	return skep_v_each_reg(env, st, is_pkt_of, set_range, &g);
}

static int past_end(struct venv *env, struct vstate *st, uint32_t r, bool open)
{
	struct vframe *f = skep_v_frame_mut(env, st, st->curframe);

	if (!f)
		return -ENOMEM;
	if (f->reg[r].type == V_PKT)
		f->reg[r].range = open ? V_BEYOND_PKT_END : V_AT_PKT_END;
	return 0;
}

static bool is_end_for(const struct vreg *end, const struct vreg *pkt)
{
	if (pkt->type == V_PKT)
		return end->type == V_PKT_END;
	/* Metadata ends where the packet begins. */
	return pkt->type == V_PKT_META && end->type == V_PKT && !end->off && v_is_const(end) &&
	       !end->s.bits.value;
}

/* 1: a comparison of a packet pointer with its end, both branches were told. */
static int match_pkt(struct venv *env, const struct bpf_insn *in, const struct vreg *dst,
		     const struct vreg *src, struct vstate *here, struct vstate *there)
{
	uint8_t op = BPF_OP(in->code);
	const struct vreg *pkt;
	uint32_t r;
	int err;

	if (BPF_SRC(in->code) != BPF_X || BPF_CLASS(in->code) != BPF_JMP)
		return 0;
	if (is_end_for(src, dst)) {
		pkt = dst;
		r = in->dst_reg;
	} else if (is_end_for(dst, src)) {
		pkt = src;
		r = in->src_reg;
		op = flipped(op);
	} else {
		return 0;
	}
	/* Now `pkt op end` leads there, its opposite here. */
	switch (op) {
	case BPF_JGT:
		err = good_pkt(env, here, pkt, false);
		err = err ? err : past_end(env, there, r, true);
		break;
	case BPF_JLT:
		err = good_pkt(env, there, pkt, true);
		err = err ? err : past_end(env, here, r, false);
		break;
	case BPF_JGE:
		err = good_pkt(env, here, pkt, true);
		err = err ? err : past_end(env, there, r, false);
		break;
	case BPF_JLE:
		err = good_pkt(env, there, pkt, false);
		err = err ? err : past_end(env, here, r, true);
		break;
	default:
		return 0;
	}
	return err ? err : 1;
}

struct null_arg {
	const struct venv *env;
	uint32_t id;
	bool is_null;
};

static bool is_pkt(const struct vreg *r, const void *arg)
{
	return pkt_any(r);
}

/* A pointer that is worth nothing is still some number, to those who may see numbers. */
static void forget(struct vreg *r, const void *arg)
{
	const struct venv *env = arg;

	if (env->priv)
		skep_v_reg_unknown(r);
	else
		skep_v_reg_invalid(r);
}

/* A helper moved the packet: pointers into it are worth nothing now. */
void skep_v_invalidate_pkts(struct venv *env)
{
	if (skep_v_each_reg(env, env->cur, is_pkt, forget, env))
		env->err = -ENOMEM;
}

static bool holds_ref(const struct vreg *r, const void *arg)
{
	return r->ref == ((const struct null_arg *)arg)->id;
}

static void forget_ref(struct vreg *r, const void *arg)
{
	forget(r, ((const struct null_arg *)arg)->env);
}

void skep_v_drop_ref_regs(struct venv *env, uint32_t ref)
{
	struct null_arg a = {env, ref, false};

	if (skep_v_each_reg(env, env->cur, holds_ref, forget_ref, &a))
		env->err = -ENOMEM;
}

/* ---- NULL ---- */

static bool maybe_null_of(const struct vreg *r, const void *arg)
{
	return r->flags & V_MAYBE_NULL && r->id == ((const struct null_arg *)arg)->id;
}

static bool has_lock(const struct skep_map *map)
{
	for (uint32_t i = 0; i < map->fields.n; i++)
		if (map->fields.f[i].kind == SKEP_FIELD_SPIN_LOCK)
			return true;
	return false;
}

static void set_not_null(const struct venv *env, struct vreg *r)
{
	const struct skep_map *map = r->type == V_MAP_VALUE ? skep_v_map(env, r) : NULL;

	r->flags &= (uint16_t)~V_MAYBE_NULL;
	if (map && map->inner) {
		r->type = V_MAP_PTR;
		r->inner = map->inner;
		r->map_uid = r->id;
		r->s = skep_scalar_const(0);
		r->off = 0;
	} else if (map && (skep_v_is_sockmap(map) || map->type == BPF_MAP_TYPE_XSKMAP)) {
		r->type = skep_v_is_sockmap(map) ? V_SOCK : V_XDP_SOCK;
		map = NULL;
	}
	if (!(r->type == V_MAP_VALUE && map && has_lock(map)))
		r->id = 0;
}

static void set_null_or_not(struct vreg *r, const void *arg)
{
	const struct null_arg *a = arg;
	uint32_t origin = r->origin;

	if (a->is_null) {
		skep_v_reg_const(r, 0);
		r->origin = origin;
	} else {
		set_not_null(a->env, r);
	}
}

static int mark_null(struct venv *env, struct vstate *st, uint32_t r, bool is_null)
{
	const struct vreg *reg = &st->frame[st->curframe]->reg[r];
	struct null_arg a = {env, reg->id, is_null};
	int err;

	if (reg->ref && reg->ref == reg->id && is_null)
		for (uint32_t i = 0; st->refs && i < st->refs->n; i++)
			if (st->refs->r[i].kind == V_REF_PTR && st->refs->r[i].id == reg->ref) {
				err = skep_v_ref_del(env, st, i);
				if (err)
					return err;
				break;
			}
	return skep_v_each_reg(env, st, maybe_null_of, set_null_or_not, &a);
}

/* ---- The jump ---- */

/* What both ways teach of two numbers; false if a way is impossible. */
static bool learn(struct vreg *a, struct vreg *b, uint8_t op, bool is64, bool holds)
{
	if (!v_is_scalar(a) || !v_is_scalar(b))
		return true;
	return holds ? skep_scalar_assume(&a->s, &b->s, op, is64)
		     : skep_scalar_assume_not(&a->s, &b->s, op, is64);
}

static void note_branch(struct venv *env, bool there, bool here)
{
	uint8_t *ways = &env->aux[env->insn].ways;

	*ways |= (uint8_t)((there ? 2 : 0) | (here ? 1 : 0));
	env->out[env->insn].branch_taken_only = *ways == 2;
	env->out[env->insn].fallthrough_only = *ways == 1;
}

static void print_way(struct venv *env)
{
	if (skep_log_on(env->log, SKEP_LOG_LEVEL))
		skep_v_print_insn_state(env, env->cur, env->cur->curframe);
}

static int decided(struct venv *env, const struct bpf_insn *in, bool away, uint32_t *next)
{
	int err = 0;

	if (v_is_scalar(v_reg(env, in->dst_reg)))
		err = skep_v_precise(env, in->dst_reg);
	if (!err && BPF_SRC(in->code) == BPF_X && v_is_scalar(v_reg(env, in->src_reg)))
		err = skep_v_precise(env, in->src_reg);
	if (err)
		return err;
	note_branch(env, away, !away);
	print_way(env);
	if (away)
		*next = (uint32_t)((int64_t)env->insn + in->off + 1);
	return 0;
}

static int check_operands(struct venv *env, const struct bpf_insn *in)
{
	int err = skep_v_read_reg(env, in->dst_reg, BPF_CLASS(in->code) == BPF_JMP);

	if (err)
		return err;
	if (BPF_SRC(in->code) != BPF_X)
		return in->src_reg ? skep_v_refuse(env, EINVAL, W_INSN, -1,
						   "BPF_JMP/JMP32 uses reserved fields\n")
				   : 0;
	if (in->imm)
		return skep_v_refuse(env, EINVAL, W_INSN, -1,
				     "BPF_JMP/JMP32 uses reserved fields\n");
	err = skep_v_read_reg(env, in->src_reg, BPF_CLASS(in->code) == BPF_JMP);
	if (err)
		return err;
	if (!(pkt_any(v_reg(env, in->dst_reg)) && pkt_any(v_reg(env, in->src_reg))) && !env->priv &&
	    !v_is_scalar(v_reg(env, in->src_reg)))
		return skep_v_refuse(env, EACCES, W_LEAK, in->src_reg,
				     "R%u pointer comparison prohibited\n", in->src_reg);
	return 0;
}

static int learn_pointers(struct venv *env, const struct bpf_insn *in, const struct vreg *dst,
			  const struct vreg *src, struct vstate *there)
{
	uint8_t op = BPF_OP(in->code);
	bool x = BPF_SRC(in->code) == BPF_X, is64 = BPF_CLASS(in->code) == BPF_JMP;
	struct vstate *here = env->cur;
	int err;

	if (is64 && x && !v_is_scalar(src) && !v_is_scalar(dst) &&
	    (src->flags ^ dst->flags) & V_MAYBE_NULL && (op == BPF_JEQ || op == BPF_JNE)) {
		struct vstate *eq = op == BPF_JEQ ? there : here;
		struct vframe *f = skep_v_frame_mut(env, eq, eq->curframe);

		if (!f)
			return -ENOMEM;
		set_not_null(env, &f->reg[src->flags & V_MAYBE_NULL ? in->src_reg : in->dst_reg]);
	}
	if (is64 && !x && !in->imm && (op == BPF_JEQ || op == BPF_JNE) &&
	    dst->flags & V_MAYBE_NULL) {
		err = mark_null(env, here, in->dst_reg, op == BPF_JNE);
		return err ? err : mark_null(env, there, in->dst_reg, op == BPF_JEQ);
	}
	err = match_pkt(env, in, dst, src, here, there);
	if (err)
		return err < 0 ? err : 0;
	if (!env->priv && !v_is_scalar(dst))
		return skep_v_refuse(env, EACCES, W_LEAK, in->dst_reg,
				     "R%u pointer comparison prohibited\n", in->dst_reg);
	return 0;
}

/* It jumps when its budget is used up, at any time: both ways are walked, the one that
 * stays in the loop with what differs from round to round forgotten. */
static int may_goto(struct venv *env, const struct bpf_insn *in, uint32_t *next)
{
	struct vstate *stay;
	uint32_t depth = env->cur->parent ? env->cur->parent->depth : 0;
	int err;

	if (BPF_SRC(in->code) != BPF_K || in->src_reg || in->dst_reg || in->imm)
		return skep_v_refuse(env, EINVAL, W_INSN, -1, "invalid may_goto imm %d\n", in->imm);
	stay = skep_v_push(env, env->insn + 1, env->insn);
	if (!stay)
		return -ENOMEM; /* also of too many paths: the kernel's answer here */
	stay->may_goto++;
	err = skep_v_widen(env, stay, env->insn, depth);
	if (err)
		return err;
	*next = (uint32_t)((int64_t)env->insn + in->off + 1);
	return 0;
}

int skep_v_jump(struct venv *env, const struct bpf_insn *in, uint32_t *next)
{
	bool x = BPF_SRC(in->code) == BPF_X, is64 = BPF_CLASS(in->code) == BPF_JMP;
	uint8_t op = BPF_OP(in->code);
	struct vreg dst, src, tdst, tsrc, *d;
	struct vhist linked = {0};
	struct vstate *there;
	struct vframe *f;
	uint32_t flags;
	int err, way;
	bool can_here, can_there;

	if (op == BPF_JCOND && is64)
		return may_goto(env, in, next);
	if (op >= BPF_JCOND)
		return skep_v_refuse(env, EINVAL, W_INSN, -1, "invalid BPF_JMP/JMP32 opcode %x\n",
				     op);
	err = check_operands(env, in);
	if (err)
		return err;
	if (x)
		src = *v_reg(env, in->src_reg);
	else
		skep_v_reg_const(&src, (uint64_t)(int64_t)in->imm);
	dst = *v_reg(env, in->dst_reg);
	way = taken(&dst, &src, op, is64);
	if (way >= 0)
		return decided(env, in, way == 1, next);

	tdst = dst;
	tsrc = src;
	if (x && in->src_reg == in->dst_reg) {
		/* One number compared with itself: nothing to be learnt by halves. */
		can_here = can_there = true;
	} else {
		can_there = learn(&tdst, &tsrc, op, is64, true);
		can_here = learn(&dst, &src, op, is64, false);
	}
	if (!can_here && !can_there)
		return skep_v_refuse(env, EFAULT, W_OTHER, in->dst_reg,
				     "verifier bug: no way out of a jump\n");
	if (!can_here || !can_there)
		return decided(env, in, can_there, next);

	if (x && v_is_scalar(&src) && src.id)
		err = collect_linked(env, env->cur, src.id, &linked);
	if (!err && v_is_scalar(&dst) && dst.id)
		err = collect_linked(env, env->cur, dst.id, &linked);
	flags = (dst.type == V_STACK ? V_HIST_DST_PTR : 0) |
		(x && src.type == V_STACK ? V_HIST_SRC_PTR : 0);
	if (!err && (linked.nlinked > 1 || flags))
		err = skep_v_hist_push(env, env->cur, flags, 0, 0,
				       linked.nlinked > 1 ? &linked : NULL);
	if (err)
		return err;
	there = skep_v_push(env, (uint32_t)((int64_t)env->insn + in->off + 1), env->insn);
	if (!there)
		return env->err ? env->err : -ENOMEM;
	note_branch(env, true, true);
	if (v_is_scalar(&dst) && v_is_scalar(&src)) {
		/* Ids may have been dropped above: take only the numbers over. */
		d = skep_v_reg(env, in->dst_reg);
		f = skep_v_frame_mut(env, there, there->curframe);
		if (!d || !f)
			return -ENOMEM;
		d->s = dst.s;
		f->reg[in->dst_reg].s = tdst.s;
		if (x) {
			skep_v_reg(env, in->src_reg)->s = src.s;
			f->reg[in->src_reg].s = tsrc.s;
		}
		if (x && v_reg(env, in->src_reg)->id) {
			err = sync_linked(env, env->cur, in->src_reg, &linked);
			err = err ? err : sync_linked(env, there, in->src_reg, &linked);
		}
		if (!err && v_reg(env, in->dst_reg)->id) {
			err = sync_linked(env, env->cur, in->dst_reg, &linked);
			err = err ? err : sync_linked(env, there, in->dst_reg, &linked);
		}
		if (err)
			return err;
	}
	{
		struct vreg d0 = dst, s0 = src;

		if (!x)
			skep_v_reg_const(&s0, (uint64_t)(int64_t)in->imm);
		err = learn_pointers(env, in, &d0, &s0, there);
	}
	if (err)
		return err;
	print_way(env);
	return 0;
}
