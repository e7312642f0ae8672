/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Calls between BPF functions, callbacks, and returning from them.
 */
#include "verifier/state.h"

#include <stdio.h>
#include <string.h>

#include "btf/btf.h"

static const char *sub_name(const struct venv *env, uint32_t sub)
{
	const struct vsubprog *s = &env->subs[sub];
	const char *name =
		env->prog->btf && s->type_id ? skep_btf_name(env->prog->btf, s->type_id) : "";

	return name ? name : "";
}

static bool level(const struct venv *env)
{
	return skep_log_on(env->log, SKEP_LOG_LEVEL);
}

/* A new frame on st for subprog, called from the current instruction. */
static struct vframe *push_frame(struct venv *env, struct vstate *st, uint32_t sub, int *err)
{
	struct vframe *f;

	if (st->curframe + 1 >= V_FRAMES) {
		*err = skep_v_refuse(env, E2BIG, W_STACK_DEPTH, -1,
				     "the call stack of %u frames is too deep\n", st->curframe + 2);
		return NULL;
	}
	f = skep_v_frame_new(env, (int32_t)env->insn, st->curframe + 1, sub);
	if (!f) {
		*err = -ENOMEM;
		return NULL;
	}
	st->frame[st->curframe + 1] = f;
	env->scratched = (1u << V_REGS) - 1;
	env->scratched_slots = ~0ull;
	return f;
}

static int clear_clobbered(struct venv *env, struct vstate *st, uint32_t frame)
{
	struct vframe *f = skep_v_frame_mut(env, st, frame);

	if (!f)
		return -ENOMEM;
	for (unsigned r = 0; r <= 5; r++)
		skep_v_reg_invalid(&f->reg[r]);
	return 0;
}

static int call_global(struct venv *env, uint32_t sub)
{
	struct vframe *f;
	int err;

	if (env->cur->nlocks)
		return skep_v_refuse(env, EINVAL, W_LOCK, -1,
				     "global function calls are not allowed while holding a lock,\n"
				     "use static function instead\n");
	err = skep_v_pass_args(env, sub);
	if (err == -ENOMEM || err == -EFAULT)
		return err;
	if (err) {
		skep_v_refuse(env, -err, W_CALL, -1,
			      "Caller passes invalid args into func#%u ('%s')\n", sub,
			      sub_name(env, sub));
		return err;
	}
	if (level(env))
		skep_v_log(env, "Func#%u ('%s') is global and assumed valid.\n", sub,
			   sub_name(env, sub));
	if (env->subs[sub].changes_pkt)
		skep_v_invalidate_pkts(env);
	env->subs[sub].called = true;
	err = clear_clobbered(env, env->cur, env->cur->curframe);
	if (err)
		return err;
	f = skep_v_frame_mut(env, env->cur, env->cur->curframe);
	if (!f)
		return -ENOMEM;
	skep_v_reg_unknown(&f->reg[0]);
	f->reg[0].origin = env->insn;
	env->scratched |= 0x3f;
	return env->err;
}

int skep_v_call(struct venv *env, const struct bpf_insn *in, uint32_t *next)
{
	int sub = skep_v_subprog_at(env, (uint32_t)((int64_t)env->insn + in->imm + 1));
	struct vstate *st = env->cur;
	struct vframe *f;
	int err = 0;

	if (sub < 0)
		return skep_v_refuse(env, EFAULT, W_CALL, -1,
				     "verifier bug: call to no subprogram\n");
	env->out[env->insn].subprog = (uint32_t)sub;
	if (env->subs[sub].global)
		return call_global(env, (uint32_t)sub);
	f = push_frame(env, st, (uint32_t)sub, &err);
	if (!f)
		return err;
	memcpy(&f->reg[1], &v_frame(st)->reg[1], 5 * sizeof(f->reg[0]));
	err = clear_clobbered(env, st, st->curframe);
	st->curframe++;
	if (err)
		return err;
	*next = env->subs[sub].start;
	if (level(env)) {
		skep_v_log(env, "caller:\n");
		skep_v_print_state(env, st, st->curframe - 1, true);
		skep_v_log(env, "callee:\n");
		skep_v_print_state(env, st, st->curframe, true);
	}
	return 0;
}

/* A helper calls sub back, perhaps: one path enters it, this one goes on as if
 * the helper was done with it. */
int skep_v_callback(struct venv *env, const struct bpf_insn *in, uint32_t sub, uint32_t *next,
		    int (*enter)(struct venv *env, const struct vframe *caller,
				 struct vframe *callee))
{
	struct vstate *st;
	struct vframe *f;
	int err = 0;

	(void)in;
	(void)next;
	env->subs[sub].is_cb = true;
	st = skep_v_push(env, env->subs[sub].start, env->insn);
	if (!st)
		return env->err ? env->err : -ENOMEM;
	f = push_frame(env, st, sub, &err);
	if (!f)
		return err;
	err = enter(env, v_frame(st), f);
	if (err) {
		st->frame[st->curframe + 1] = NULL;
		skep_v_frame_put(env, f);
		return err;
	}
	f = skep_v_frame_mut(env, st, st->curframe);
	if (!f)
		return -ENOMEM;
	/* The caller keeps R1 to R5: back from the callback, the call is looked at again. */
	f->cb_depth++;
	st->curframe++;
	st->cb_unroll++;
	f = skep_v_frame_mut(env, env->cur, env->cur->curframe);
	if (!f)
		return -ENOMEM;
	f->cb_depth = 0;
	return 0;
}

/* ---- Returning ---- */

static int bad_range(struct venv *env, const struct vreg *r, int64_t min, int64_t max,
		     const char *when)
{
	char text[96];
	int n = 0;

	text[0] = 0;
	if (r->s.smin > INT64_MIN)
		n += snprintf(text, sizeof(text), " smin=%lld", (long long)r->s.smin);
	if (r->s.smax < INT64_MAX)
		n += snprintf(text + n, sizeof(text) - (size_t)n, " smax=%lld",
			      (long long)r->s.smax);
	if (!n)
		snprintf(text, sizeof(text), " unknown scalar value");
	return skep_v_refuse(env, EINVAL, W_RETURN, 0,
			     "%s the register R0 has%s should have been in [%lld, %lld]\n", when,
			     text, (long long)min, (long long)max);
}

static int leave_callback(struct venv *env)
{
	const struct vframe *f = v_frame(env->cur);
	const struct vreg *r0 = &f->reg[0];
	int err;

	if (!v_is_scalar(r0))
		return skep_v_refuse(env, EACCES, W_RETURN, 0, "R0 not a scalar value\n");
	err = skep_v_read_reg(env, 0, true);
	if (!err)
		err = skep_v_precise(env, 0);
	if (err)
		return err;
	r0 = v_reg(env, 0);
	if (r0->s.smin < f->cb_min || r0->s.smax > f->cb_max)
		return bad_range(env, r0, f->cb_min, f->cb_max, "At callback return");
	return 0;
}

int skep_v_leave_frame(struct venv *env, uint32_t *next)
{
	struct vstate *st = env->cur;
	struct vframe *callee = st->frame[st->curframe], *caller;
	bool cb = callee->callback;
	int err;

	if (callee->reg[0].type == V_STACK)
		return skep_v_refuse(env, EINVAL, W_RETURN, 0,
				     "cannot return stack pointer to the caller\n");
	if (cb) {
		err = leave_callback(env);
		if (err)
			return err;
		callee = st->frame[st->curframe];
	} else {
		caller = skep_v_frame_mut(env, st, st->curframe - 1);
		if (!caller)
			return -ENOMEM;
		caller->reg[0] = callee->reg[0];
	}
	*next = (uint32_t)callee->callsite + (cb ? 0 : 1);
	if (level(env)) {
		skep_v_log(env, "returning from callee:\n");
		skep_v_print_state(env, st, st->curframe, true);
		skep_v_log(env, "to caller at %u:\n", *next);
		skep_v_print_state(env, st, st->curframe - 1, true);
	}
	skep_v_frame_put(env, callee);
	st->frame[st->curframe--] = NULL;
	return cb ? skep_v_widen(env, st, *next, st->depth) : 0;
}

int skep_v_check_return(struct venv *env)
{
	const struct vframe *f = v_frame(env->cur);
	const struct vreg *r0;
	int64_t min, max;
	char name[64];
	int err = skep_v_read_reg(env, 0, true);

	if (err)
		return err;
	r0 = &f->reg[0];
	if (!env->priv && !v_is_scalar(r0))
		return skep_v_refuse(env, EACCES, W_LEAK, 0, "R0 leaks addr as return value\n");
	if (f->async) {
		if (!v_is_scalar(r0))
			return skep_v_refuse(env, EINVAL, W_RETURN, 0,
					     "At async callback return the register R0 is not a "
					     "known value (%s)\n",
					     skep_v_type_name(r0, name));
		err = skep_v_precise(env, 0);
		if (err)
			return err;
		r0 = v_reg(env, 0);
		if (r0->s.smin < f->cb_min || r0->s.smax > f->cb_max)
			return bad_range(env, r0, f->cb_min, f->cb_max, "At async callback return");
		return 0;
	}
	if (f->subprog) {
		if (!v_is_scalar(r0))
			return skep_v_refuse(
				env, EINVAL, W_RETURN, 0,
				"At subprogram exit the register R0 is not a scalar value (%s)\n",
				skep_v_type_name(r0, name));
		return 0;
	}
	if (!skep_prog_ret_range(env->prog, &min, &max))
		return 0;
	if (!v_is_scalar(r0))
		return skep_v_refuse(env, EINVAL, W_RETURN, 0,
				     "At program exit the register R0 is not a known value (%s)\n",
				     skep_v_type_name(r0, name));
	err = skep_v_precise(env, 0);
	if (err)
		return err;
	r0 = v_reg(env, 0);
	if (r0->s.smin < min || r0->s.smax > max)
		return bad_range(env, r0, min, max, "At program exit");
	return 0;
}

int skep_v_exit(struct venv *env, uint32_t *next, bool *done)
{
	int err = skep_v_check_leaks(env, !env->cur->curframe, "BPF_EXIT instruction in main prog");

	if (err)
		return err;
	if (env->cur->curframe) {
		err = skep_v_leave_frame(env, next);
		env->print_state = true;
		return err;
	}
	*done = true;
	return skep_v_check_return(env);
}
