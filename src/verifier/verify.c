/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The phases of a verification, and the messages of one that fails.
 */
#include "verifier/state.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "btf/btf.h"
#include "os/os.h"

void skep_v_log(struct venv *env, const char *fmt, ...)
{
	va_list ap;

	if (!env->log || !env->log->level)
		return;
	va_start(ap, fmt);
	skep_log_vprintf(env->log, fmt, ap);
	va_end(ap);
}

/* Writes the message, keeps it for the explanation, and gives -err. The last
 * class but the first register of a fault are kept. */
int skep_v_refuse(struct venv *env, int err, enum vwhy why, int reg, const char *fmt, ...)
{
	va_list ap, copy;

	va_start(ap, fmt);
	va_copy(copy, ap);
	if (env->log && env->log->level)
		skep_log_vprintf(env->log, fmt, ap);
	vsnprintf(env->msg, sizeof(env->msg), fmt, copy);
	va_end(copy);
	va_end(ap);
	env->why = why;
	env->why_reg = reg;
	return -err;
}

/* ---- Functions, from BTF ---- */

static void read_funcs(struct venv *env)
{
	const struct skep_prog *p = env->prog;

	for (uint32_t i = 0; p->btf && i < env->nsubs && i < p->nfunc_info; i++) {
		const struct btf_type *t = skep_btf_type(p->btf, p->func_info[i].type_id);

		env->subs[i].type_id = p->func_info[i].type_id;
		if (t)
			env->subs[i].name_off = t->name_off;
		env->subs[i].global = i && t && BTF_INFO_VLEN(t->info) == BTF_FUNC_GLOBAL;
	}
}

/* ---- One function and all it calls ---- */

static bool returns_int(const struct skep_prog *p, uint32_t func)
{
	const struct btf_type *t = skep_btf_type(p->btf, func);
	unsigned kind;

	t = t ? skep_btf_type(p->btf, t->type) : NULL;
	t = t ? skep_btf_skip_mods(p->btf, t->type, NULL) : NULL;
	kind = t ? BTF_INFO_KIND(t->info) : BTF_KIND_UNKN;
	return kind == BTF_KIND_INT || kind == BTF_KIND_ENUM || kind == BTF_KIND_ENUM64;
}

/* A packet load or tail call that fails returns from its function, with a number. */
static int check_early_returns(struct venv *env)
{
	const struct skep_prog *p = env->prog;

	for (uint32_t i = 1; i < env->nsubs; i++) {
		const struct vsubprog *s = &env->subs[i];
		const char *what = s->has_ld_abs ? "LD_ABS" : "tail_call";

		if (!s->has_ld_abs && !s->has_tail_call)
			continue;
		env->why_insn = s->start;
		if (!p->btf || !p->nfunc_info)
			return skep_v_refuse(env, EINVAL, W_CALL, -1,
					     "%s is not allowed in subprogs without BTF\n", what);
		if (!returns_int(p, s->type_id))
			return skep_v_refuse(env, EINVAL, W_CALL, -1,
					     "%s is only allowed in functions that return 'int'.\n",
					     what);
	}
	return 0;
}

static void free_list(struct venv *env, struct vstate **list)
{
	struct vstate *st;

	while ((st = *list)) {
		struct vback *b;

		*list = st->next;
		while ((b = st->backs)) {
			st->backs = b->next;
			skep_v_state_free(env, b->cur);
			free(b);
		}
		skep_v_state_free(env, st);
	}
}

static void free_explored(struct venv *env)
{
	for (uint32_t i = 0; env->explored && i < env->n; i++)
		free_list(env, &env->explored[i]);
	free_list(env, &env->evicted);
}

static void free_todo(struct venv *env)
{
	struct vtodo *t;

	while ((t = env->todo)) {
		env->todo = t->next;
		skep_v_state_free(env, t->st);
		free(t);
	}
	while ((t = env->free_todo)) {
		env->free_todo = t->next;
		free(t);
	}
	env->ntodo = 0;
}

static int walk_from(struct venv *env, uint32_t sub)
{
	struct vframe *f;
	int err;

	env->prev_line = NULL;
	env->print_state = false;
	env->insn = env->subs[sub].start;
	env->cur = skep_v_state_new(env);
	f = skep_v_frame_new(env, V_MAIN, 0, sub);
	if (!env->cur || !f) {
		free(f);
		return -ENOMEM;
	}
	env->cur->frame[0] = f;
	env->cur->first_insn = env->insn;
	env->cur->last_insn = UINT32_MAX;
	env->scratched = (1u << V_REGS) - 1;
	env->scratched_slots = ~0ull;
	if (sub) {
		err = skep_v_take_args(env, sub);
		if (err)
			return err;
	} else {
		skep_v_reg_zero_ptr(&f->reg[1], V_CTX);
	}
	err = skep_v_walk(env);
	if (!err && env->log && !skep_log_on(env->log, SKEP_LOG_LEVEL2))
		skep_log_reset(env->log, 0);
	if (err)
		return err; /* env->cur stays for the explanation */
	free_explored(env);
	return 0;
}

static const char *name_of(const struct venv *env, uint32_t sub)
{
	const char *n = env->prog->btf && env->subs[sub].type_id
				? skep_btf_name(env->prog->btf, env->subs[sub].type_id)
				: "";

	return n ? n : "";
}

/* Global functions are verified on their own, once something calls them. */
static int walk_globals(struct venv *env)
{
	bool again = true;

	while (again) {
		again = false;
		for (uint32_t i = 1; i < env->nsubs; i++) {
			struct vsubprog *s = &env->subs[i];
			int err;

			if (!s->global || !s->called || s->verified)
				continue;
			again = true;
			s->verified = true;
			if (skep_log_on(env->log, SKEP_LOG_LEVEL))
				skep_v_log(env, "Validating %s() func#%u...\n", name_of(env, i), i);
			err = walk_from(env, i);
			if (err)
				return err;
			if (skep_log_on(env->log, SKEP_LOG_LEVEL))
				skep_v_log(env,
					   "Func#%u ('%s') is safe for any args that match its "
					   "prototype\n",
					   i, name_of(env, i));
		}
	}
	return 0;
}

/* Of an unprivileged program, a tail call goes through one array, with a checked index. */
static int guard_tail_calls(struct venv *env)
{
	for (uint32_t i = 0; i < env->n && !env->priv; i++) {
		const struct bpf_insn *in = &env->insns[i];

		if (in->code != (BPF_JMP | BPF_CALL) || in->src_reg ||
		    in->imm != BPF_FUNC_tail_call || !env->out[i].seen)
			continue;
		env->why_insn = i;
		if (env->out[i].map < 0)
			return skep_v_refuse(env, EINVAL, W_MAP, -1, "tail_call abusing map_ptr\n");
		env->out[i].guard_index = true;
	}
	return 0;
}

/* ---- Results ---- */

static int keep_maps(struct venv *env)
{
	struct skep_prog *p = env->prog;

	if (!env->nmaps)
		return 0;
	p->maps = malloc(env->nmaps * sizeof(struct skep_map *));
	if (!p->maps)
		return -ENOMEM;
	memcpy(p->maps, env->maps, env->nmaps * sizeof(struct skep_map *));
	p->nmaps = env->nmaps;
	env->nmaps = 0;
	return 0;
}

static int finish(struct venv *env)
{
	struct skep_subprog *subs = calloc(env->nsubs, sizeof(*subs));
	int err;

	if (!subs)
		return -ENOMEM;
	for (uint32_t i = 0; i < env->nsubs; i++) {
		const struct vsubprog *s = &env->subs[i];

		subs[i] = (struct skep_subprog){
			.start = s->start,
			.len = s->end - s->start,
			.stack = s->stack,
			.has_tail_call = s->tail_call_reachable,
			.is_cb = s->is_cb,
			.name_off = s->name_off,
		};
	}
	/* The result of 32-bit operations is zero-extended in any case. */
	for (uint32_t i = 0; i < env->n; i++)
		if (BPF_CLASS(env->insns[i].code) == BPF_ALU)
			env->out[i].zext = true;
	err = keep_maps(env);
	if (!err)
		err = skep_rewrite(env->prog, env->insns, env->n, env->out, subs, env->nsubs);
	free(subs);
	env->prog->stack_depth = env->depth;
	env->prog->verified_insns = env->processed;
	env->prog->max_pkt_offset = env->max_pkt_off;
	return err;
}

static int loading(struct venv *env, enum skep_load_phase phase)
{
	return env->in->phase ? env->in->phase(env->in->arg, phase) : 0;
}

static int run_phases(struct venv *env)
{
	int err = loading(env, SKEP_LOAD_BEGIN);

	if (!err)
		err = skep_v_find_subprogs(env);
	if (!err)
		err = skep_v_check_subprogs(env);
	if (!err)
		err = loading(env, SKEP_LOAD_SUBPROGS);
	if (err)
		return err;
	read_funcs(env);
	err = check_early_returns(env);
	if (err)
		return err;
	err = skep_v_resolve_loads(env);
	if (!err)
		err = skep_v_check_cfg(env);
	if (!err)
		err = loading(env, SKEP_LOAD_CFG);
	if (!err)
		err = skep_v_sccs(env);
	if (!err)
		err = skep_v_live_init(env);
	if (!err)
		err = skep_v_live_regs(env);
	if (!err)
		skep_v_find_pkt_changes(env);
	/* Whoever watches compares the stack with the states. */
	if (!err && !env->watch)
		skep_v_fastcall_find(env);
	if (!err)
		err = skep_v_precise_prepare(env);
	if (!err)
		err = walk_from(env, 0);
	if (!err)
		err = walk_globals(env);
	if (!err) {
		skep_v_fastcall_remove(env);
		err = skep_v_check_stack_depth(env);
	}
	if (!err)
		err = skep_v_check_kfuncs(env);
	if (!err)
		err = guard_tail_calls(env);
	return err;
}

/* The kernel keeps in the stack what an inlined bpf_loop and may_goto count with; it is
 * counted once the program is accepted. */
static uint32_t counted_stack(const struct venv *env, uint32_t sub)
{
	const struct vsubprog *s = &env->subs[sub];
	bool loop = false, timed = false;

	for (uint32_t i = s->start; i < s->end; i++) {
		if (!env->out[i].seen)
			continue;
		loop |= env->out[i].loop_inline != 0;
		timed |= env->insns[i].code == (BPF_JMP | BPF_JCOND) && env->insns[i].off;
	}
	return s->stack + (loop ? 24 : 0) + (timed ? 16 : 0);
}

static void print_stats(struct venv *env, uint64_t ns, bool accepted)
{
	if (skep_log_on(env->log, SKEP_LOG_STATS)) {
		skep_v_log(env, "verification time %llu usec\n", (unsigned long long)(ns / 1000));
		skep_v_log(env, "stack depth ");
		for (uint32_t i = 0; i < env->nsubs; i++)
			skep_v_log(env, "%s%u", i ? "+" : "",
				   accepted ? counted_stack(env, i) : env->subs[i].stack);
		skep_v_log(env, "\n");
	}
	skep_v_log(env,
		   "processed %u insns (limit %d) max_states_per_insn %u total_states %u "
		   "peak_states %u "
		   "mark_read %u\n",
		   env->processed, V_MAX_INSNS, env->max_per_insn, env->total_states,
		   env->peak_states, 0u);
}

int skep_verify(struct skep_prog *prog, const struct skep_verify_in *in,
		struct skep_verify_stats *stats)
{
	struct venv *env = calloc(1, sizeof(*env));
	uint64_t start = skep_clock_mono();
	int err = -ENOMEM;

	if (!env)
		return -ENOMEM;
	env->prog = prog;
	env->in = in;
	env->log = in->log;
	env->insns = in->insns;
	env->n = in->ninsns;
	env->priv = in->privileged;
	env->why_reg = -1;
	env->watch = prog->obj.skep ? prog->obj.skep->watch : NULL;
	env->aux = calloc(env->n, sizeof(*env->aux));
	env->out = calloc(env->n, sizeof(*env->out));
	env->explored = calloc(env->n, sizeof(struct vstate *));
	if (env->aux && env->out && env->explored)
		err = run_phases(env);
	if (err)
		skep_v_explain(env, err);
	print_stats(env, skep_clock_mono() - start, !err);
	if (!err)
		err = finish(env);
	if (stats)
		*stats = (struct skep_verify_stats){
			.insns_processed = env->processed,
			.total_states = env->total_states,
			.peak_states = env->peak_states,
			.max_states_per_insn = env->max_per_insn,
			.ns = skep_clock_mono() - start,
			.stack_depth = env->depth,
		};
	skep_v_state_free(env, env->cur);
	free_todo(env);
	free_explored(env);
	skep_v_live_free(env);
	skep_v_pool_free(env);
	for (uint32_t i = 0; i < env->nmaps; i++)
		skep_object_put(&env->maps[i]->obj);
	free(env->maps);
	free(env->subs);
	free(env->explored);
	free(env->touches);
	free(env->out);
	free(env->aux);
	free(env);
	return err;
}
