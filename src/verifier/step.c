/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Walking: one path after the other, instruction by instruction, until all have
 * ended or one is refused.
 */
#include "verifier/state.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "isa/isa.h"

int skep_v_read_reg(struct venv *env, uint32_t r, bool is64)
{
	(void)is64;
	if (r >= V_REGS)
		return skep_v_refuse(env, EINVAL, W_INSN, -1, "R%u is invalid\n", r);
	env->scratched |= (uint16_t)(1u << r);
	if (v_reg(env, r)->type == V_NOT_INIT)
		return skep_v_refuse(env, EACCES, W_UNINIT, (int)r, "R%u !read_ok\n", r);
	return 0;
}

static int check_dst(struct venv *env, uint32_t r)
{
	if (r >= V_REGS)
		return skep_v_refuse(env, EINVAL, W_INSN, -1, "R%u is invalid\n", r);
	if (r == 10)
		return skep_v_refuse(env, EACCES, W_INSN, -1, "frame pointer is read only\n");
	env->scratched |= (uint16_t)(1u << r);
	return 0;
}

/* Remembers how the path came here; what one instruction tells is put together. */
int skep_v_hist_push(struct venv *env, struct vstate *st, uint32_t flags, int slot, int frame,
		     const struct vhist *linked)
{
	struct vhist *h;

	if (st == env->cur && env->hist_at >= 0) {
		h = &st->hist[env->hist_at];
	} else {
		if (st->nhist == st->cap_hist) {
			uint32_t cap = st->cap_hist ? st->cap_hist * 2 : 16;

			h = realloc(st->hist, cap * sizeof(*h));
			if (!h)
				return -ENOMEM;
			st->hist = h;
			st->cap_hist = cap;
		}
		h = &st->hist[st->nhist];
		memset(h, 0, sizeof(*h));
		h->idx = env->insn;
		h->prev = env->prev;
		if (st == env->cur)
			env->hist_at = (int32_t)st->nhist;
		st->nhist++;
	}
	if (flags) {
		h->flags |= flags;
		if (flags & V_HIST_STACK) {
			h->slot = (uint8_t)slot;
			h->frame = (uint8_t)frame;
		}
	}
	if (linked) {
		h->nlinked = linked->nlinked;
		memcpy(h->linked, linked->linked, sizeof(h->linked));
	}
	return 0;
}

struct vstate *skep_v_push_state(struct venv *env, struct vstate *st, uint32_t insn, uint32_t prev,
				 const char *too_many)
{
	struct vtodo *t = env->free_todo;

	if (t)
		env->free_todo = t->next;
	else
		t = malloc(sizeof(*t));
	if (!t) {
		skep_v_state_free(env, st);
		return NULL;
	}
	t->st = st;
	t->insn = insn;
	t->prev = prev;
	t->log_pos = env->log ? env->log->end : 0;
	t->next = env->todo;
	env->todo = t;
	env->ntodo++;
	if (env->ntodo > V_MAX_JUMPS) {
		skep_v_log(env, too_many, env->ntodo);
		snprintf(env->msg, sizeof(env->msg), too_many, env->ntodo);
		env->why = W_TOO_COMPLEX;
		env->err = -E2BIG;
		return NULL;
	}
	return st;
}

/* Puts a copy of the current state aside, to go on at insn later. */
struct vstate *skep_v_push(struct venv *env, uint32_t insn, uint32_t prev)
{
	struct vstate *st = skep_v_state_copy(env, env->cur, true);

	if (!st)
		return NULL;
	st = skep_v_push_state(env, st, insn, prev, "The sequence of %u jumps is too complex.\n");
	if (st && st->parent)
		st->parent->branches++;
	return st;
}

/* The next path; false if none is left. */
static bool pop(struct venv *env)
{
	struct vtodo *t = env->todo;

	if (env->cur) {
		skep_v_state_free(env, env->cur);
		env->cur = NULL;
	}
	if (!t)
		return false;
	env->todo = t->next;
	env->ntodo--;
	env->cur = t->st;
	env->insn = t->insn;
	env->prev = t->prev;
	if (env->log && !skep_log_on(env->log, SKEP_LOG_LEVEL2))
		skep_log_reset(env->log, t->log_pos);
	t->next = env->free_todo;
	env->free_todo = t;
	return true;
}

/* ---- One instruction ---- */

static int access_size(uint8_t code)
{
	switch (BPF_SIZE(code)) {
	case BPF_B:
		return 1;
	case BPF_H:
		return 2;
	case BPF_W:
		return 4;
	default:
		return 8;
	}
}

static int step_load(struct venv *env, const struct bpf_insn *in)
{
	int err = skep_v_read_reg(env, in->src_reg, true);

	if (!err)
		err = check_dst(env, in->dst_reg);
	if (err)
		return err;
	return skep_v_access(env, env->insn, in->src_reg, in->off, access_size(in->code), V_READ,
			     in->dst_reg, false, BPF_MODE(in->code) == BPF_MEMSX);
}

static int step_store(struct venv *env, const struct bpf_insn *in)
{
	bool reg = BPF_CLASS(in->code) == BPF_STX;
	int err = 0;

	if (BPF_MODE(in->code) != BPF_MEM || (reg ? in->imm : in->src_reg))
		return skep_v_refuse(env, EINVAL, W_INSN, -1, "%s uses reserved fields\n",
				     reg ? "BPF_STX" : "BPF_ST");
	if (reg)
		err = skep_v_read_reg(env, in->src_reg, true);
	if (!err)
		err = skep_v_read_reg(env, in->dst_reg, true);
	if (err)
		return err;
	return skep_v_access(env, env->insn, in->dst_reg, in->off, access_size(in->code), V_WRITE,
			     reg ? in->src_reg : -1, false, false);
}

static int step_ldimm64(struct venv *env, const struct bpf_insn *in)
{
	const struct skep_aux *o = &env->out[env->insn];
	struct vreg *d;
	int err;

	if (BPF_SIZE(in->code) != BPF_DW)
		return skep_v_refuse(env, EINVAL, W_INSN, -1, "invalid BPF_LD_IMM insn\n");
	if (in->off)
		return skep_v_refuse(env, EINVAL, W_INSN, -1,
				     "BPF_LD_IMM64 uses reserved fields\n");
	err = check_dst(env, in->dst_reg);
	if (err)
		return err;
	d = skep_v_reg(env, in->dst_reg);
	if (!d)
		return -ENOMEM;
	switch (in->src_reg) {
	case 0:
		skep_v_reg_const(d, (uint64_t)(uint32_t)in[1].imm << 32 | (uint32_t)in->imm);
		break;
	case BPF_PSEUDO_FUNC: {
		int sub = skep_v_subprog_at(env, (uint32_t)((int64_t)env->insn + in->imm + 1));

		if (!env->prog->nfunc_info)
			return skep_v_refuse(env, EINVAL, W_CALL, -1, "missing btf func_info\n");
		if (sub < 0 || env->subs[sub].global)
			return skep_v_refuse(env, EINVAL, W_CALL, -1,
					     "callback function not static\n");
		skep_v_reg_zero_ptr(d, V_FUNC);
		d->subprog = (uint32_t)sub;
		env->out[env->insn].subprog = (uint32_t)sub;
		break;
	}
	case BPF_PSEUDO_BTF_ID:
		skep_v_reg_zero_ptr(d, V_PERCPU);
		d->btf_id = o->btf_id;
		break;
	case BPF_PSEUDO_MAP_VALUE:
	case BPF_PSEUDO_MAP_IDX_VALUE:
		skep_v_reg_zero_ptr(d, V_MAP_VALUE);
		d->map = o->map;
		d->off = (int32_t)o->map_off;
		break;
	default:
		skep_v_reg_zero_ptr(d, V_MAP_PTR);
		d->map = o->map;
		break;
	}
	d->origin = env->insn;
	return 0;
}

/* Only some instructions may run while a lock is held; others are refused where they stand. */
static int step_jmp(struct venv *env, const struct bpf_insn *in, uint32_t *next, bool *done)
{
	uint8_t op = BPF_OP(in->code);
	bool wide = BPF_CLASS(in->code) == BPF_JMP;

	env->jmps++;
	switch (op) {
	case BPF_CALL:
		if (BPF_SRC(in->code) != BPF_K ||
		    (in->src_reg != BPF_PSEUDO_KFUNC_CALL && in->off) ||
		    (in->src_reg && in->src_reg != BPF_PSEUDO_CALL &&
		     in->src_reg != BPF_PSEUDO_KFUNC_CALL) ||
		    in->dst_reg || !wide)
			return skep_v_refuse(env, EINVAL, W_INSN, -1,
					     "BPF_CALL uses reserved fields\n");
		if (env->cur->nlocks && (in->src_reg || in->imm != BPF_FUNC_spin_unlock))
			if (in->src_reg != BPF_PSEUDO_CALL)
				return skep_v_refuse(
					env, EINVAL, W_LOCK, -1,
					"function calls are not allowed while holding a lock\n");
		if (in->src_reg == BPF_PSEUDO_CALL)
			return skep_v_call(env, in, next);
		if (in->src_reg == BPF_PSEUDO_KFUNC_CALL)
			return skep_v_kfunc(env, in, next);
		env->scratched |= 1;
		return skep_v_helper(env, in, next);
	case BPF_JA:
		if (BPF_SRC(in->code) != BPF_K || in->src_reg || in->dst_reg ||
		    (wide ? in->imm : in->off))
			return skep_v_refuse(env, EINVAL, W_INSN, -1,
					     "BPF_JA uses reserved fields\n");
		*next = (uint32_t)((int64_t)env->insn + (wide ? in->off : in->imm) + 1);
		return 0;
	case BPF_EXIT:
		if (BPF_SRC(in->code) != BPF_K || in->imm || in->src_reg || in->dst_reg || !wide)
			return skep_v_refuse(env, EINVAL, W_INSN, -1,
					     "BPF_EXIT uses reserved fields\n");
		return skep_v_exit(env, next, done);
	default:
		return skep_v_jump(env, in, next);
	}
}

static int step_insn(struct venv *env, const struct bpf_insn *in, uint32_t *next, bool *done)
{
	switch (BPF_CLASS(in->code)) {
	case BPF_ALU:
	case BPF_ALU64:
		return skep_v_alu(env, in);
	case BPF_LDX:
		return step_load(env, in);
	case BPF_STX:
		if (BPF_MODE(in->code) == BPF_ATOMIC)
			return skep_v_atomic(env, in);
		return step_store(env, in);
	case BPF_ST:
		return step_store(env, in);
	case BPF_LD:
		if (BPF_MODE(in->code) == BPF_ABS || BPF_MODE(in->code) == BPF_IND)
			return skep_v_ld_abs(env, in, next);
		if (BPF_MODE(in->code) == BPF_IMM) {
			*next = env->insn + 2;
			return step_ldimm64(env, in);
		}
		return skep_v_refuse(env, EINVAL, W_INSN, -1, "invalid BPF_LD mode\n");
	default:
		return step_jmp(env, in, next, done);
	}
}

static void print_before(struct venv *env)
{
	uint32_t frame = env->cur->curframe;

	if (skep_log_on(env->log, SKEP_LOG_LEVEL2) && env->print_state) {
		skep_v_log(env, "\nfrom %u to %u%s:", env->prev, env->insn,
			   env->cur->speculative ? " (speculative execution)" : "");
		skep_v_print_state(env, env->cur, frame, true);
		env->print_state = false;
	}
	if (!skep_log_on(env->log, SKEP_LOG_LEVEL))
		return;
	if (env->scratched || env->scratched_slots)
		skep_v_print_insn_state(env, env->cur, frame);
	skep_v_print_line(env, env->insn);
	env->prev_log_pos = env->log->end;
	skep_v_log(env, "%u: ", env->insn);
	skep_v_print_insn(env, env->insn);
	env->prev_insn_pos = env->log->end - env->prev_log_pos;
	env->prev_log_pos = env->log->end;
}

/* Ends the current path and takes up the next. */
static bool next_path(struct venv *env)
{
	env->scratched = (1u << V_REGS) - 1;
	env->scratched_slots = ~0ull;
	skep_v_branch_done(env, env->cur);
	env->print_state = true;
	return pop(env);
}

int skep_v_walk(struct venv *env)
{
	uint32_t prev = UINT32_MAX;

	for (;;) {
		const struct bpf_insn *in;
		uint32_t next;
		bool done = false, touches;
		uint32_t depth;
		int err;

		env->hist_at = -1;
		env->prev = prev;
		if (env->insn >= env->n)
			return skep_v_refuse(env, EFAULT, W_CFG, -1,
					     "invalid insn idx %u insn_cnt %u\n", env->insn,
					     env->n);
		in = &env->insns[env->insn];
		env->why_insn = env->insn;
		if (++env->processed > V_MAX_INSNS)
			return skep_v_refuse(env, E2BIG, W_TOO_LARGE, -1,
					     "BPF program is too large. Processed %u insn\n",
					     env->processed);
		env->cur->last_insn = env->prev;
		env->cur->insn = env->insn;
		if (env->aux[env->insn].flags & V_PRUNE) {
			err = skep_v_visited(env, env->insn);
			if (err < 0)
				return err;
			if (err == 1) {
				if (skep_log_on(env->log, SKEP_LOG_LEVEL)) {
					if (env->print_state)
						skep_v_log(env, "\nfrom %u to %u%s: safe\n",
							   env->prev, env->insn,
							   env->cur->speculative
								   ? " (speculative execution)"
								   : "");
					else
						skep_v_log(env, "%u: safe\n", env->insn);
				}
				if (!next_path(env))
					return 0;
				prev = env->prev;
				continue;
			}
		}
		if (env->aux[env->insn].flags & V_JUMP) {
			err = skep_v_hist_push(env, env->cur, 0, 0, 0, NULL);
			if (err)
				return err;
		}
		print_before(env);
		if (env->watch)
			env->watch->state(env->watch->arg, env, env->cur, env->insn);
		env->out[env->insn].seen = true;
		next = env->insn + 1;
		prev = env->insn;
		touches = BPF_CLASS(in->code) == BPF_STX || BPF_CLASS(in->code) == BPF_ST ||
			  in->code == (BPF_JMP | BPF_CALL);
		if (touches)
			skep_v_live_begin(env);
		depth = env->cur->curframe;
		err = step_insn(env, in, &next, &done);
		if (!err && touches && env->cur->curframe == depth)
			err = skep_v_live_commit(env, env->cur, env->insn);
		if (err)
			return err;
		if (done) {
			if (!next_path(env))
				return 0;
			prev = env->prev;
			continue;
		}
		env->insn = next;
	}
}
