/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which registers an instruction and what may follow it can still read, and
 * which instructions lie on cycles. Both by control flow alone.
 */
#include "verifier/state.h"

#include <stdlib.h>

#define R(n)     (1u << (n))
#define ARGS     (R(1) | R(2) | R(3) | R(4) | R(5))
#define CLOBBERS (R(0) | ARGS)

struct usedef {
	uint16_t use, def;
};

static uint16_t first_args(unsigned n)
{
	return (uint16_t)(ARGS & (R(n + 1) - 1));
}

static uint16_t helper_args(const struct venv *env, int32_t id)
{
	const struct skep_helper *row = skep_helper_row((uint32_t)id, env->prog->type);
	unsigned n = 0;

	if (!row)
		return ARGS;
	while (n < 5 && row->arg[n] != SKEP_ARG_NONE)
		n++;
	return first_args(n);
}

static struct usedef usedef_jump(const struct venv *env, const struct bpf_insn *in)
{
	uint16_t dst = R(in->dst_reg), src = R(in->src_reg);

	switch (BPF_OP(in->code)) {
	case BPF_JA:
	case BPF_JCOND:
		return (struct usedef){0, 0};
	case BPF_EXIT:
		return (struct usedef){R(0), 0};
	case BPF_CALL:
		if (in->src_reg == BPF_PSEUDO_KFUNC_CALL)
			return (struct usedef){
				first_args(skep_v_kfunc_nargs(env, (uint32_t)(in - env->insns))),
				CLOBBERS};
		return (struct usedef){in->src_reg ? ARGS : helper_args(env, in->imm), CLOBBERS};
	default:
		return (struct usedef){BPF_SRC(in->code) == BPF_X ? dst | src : dst, 0};
	}
}

static struct usedef usedef(const struct venv *env, const struct bpf_insn *in)
{
	uint16_t dst = R(in->dst_reg), src = R(in->src_reg);

	switch (BPF_CLASS(in->code)) {
	case BPF_LD:
		if (BPF_MODE(in->code) == BPF_IMM)
			return (struct usedef){0, dst};
		return (struct usedef){0xffff, 0};
	case BPF_LDX:
		return (struct usedef){src, dst};
	case BPF_ST:
		return (struct usedef){dst, 0};
	case BPF_STX:
		if (BPF_MODE(in->code) != BPF_ATOMIC)
			return (struct usedef){dst | src, 0};
		switch (in->imm) {
		case BPF_CMPXCHG:
			return (struct usedef){R(0) | dst | src, R(0)};
		case BPF_LOAD_ACQ:
			return (struct usedef){src, dst};
		case BPF_STORE_REL:
			return (struct usedef){dst | src, 0};
		default:
			return (struct usedef){dst | src, in->imm & BPF_FETCH ? src : 0};
		}
	case BPF_ALU:
	case BPF_ALU64:
		if (BPF_OP(in->code) == BPF_END)
			return (struct usedef){dst, dst};
		if (BPF_OP(in->code) == BPF_MOV)
			return (struct usedef){BPF_SRC(in->code) == BPF_X ? src : 0, dst};
		return (struct usedef){BPF_SRC(in->code) == BPF_X ? dst | src : dst, dst};
	default:
		return usedef_jump(env, in);
	}
}

int skep_v_live_regs(struct venv *env)
{
	bool changed = true;

	/* Backwards through the text converges in few rounds: most edges lead down. */
	while (changed) {
		changed = false;
		for (uint32_t i = env->n; i-- > 0;) {
			uint32_t succ[2];
			unsigned n;
			uint16_t out = 0, in;
			struct usedef ud;

			if (env->aux[i].flags & V_SECOND)
				continue;
			n = skep_v_succ(env, i, succ);
			for (unsigned k = 0; k < n; k++)
				out |= env->aux[succ[k]].live;
			ud = usedef(env, &env->insns[i]);
			in = (uint16_t)((out & ~ud.def) | ud.use);
			if (in != env->aux[i].live) {
				env->aux[i].live = in;
				changed = true;
			}
		}
	}
	if (!skep_log_on(env->log, SKEP_LOG_LEVEL2))
		return 0;
	skep_v_log(env, "Live regs before insn:\n");
	for (uint32_t i = 0; i < env->n; i++) {
		if (env->aux[i].flags & V_SECOND)
			continue;
		if (env->aux[i].scc && !(env->aux[i].scc & V_OWN_CYCLE))
			skep_v_log(env, "%3u ", env->aux[i].scc);
		else
			skep_v_log(env, "    ");
		skep_v_log(env, "%3u: ", i);
		for (unsigned r = 0; r < 10; r++)
			skep_v_log(env, "%c", env->aux[i].live & R(r) ? (char)('0' + r) : '.');
		skep_v_log(env, " ");
		skep_v_print_insn(env, i);
	}
	return 0;
}

/* Tarjan's algorithm without recursion. */
int skep_v_sccs(struct venv *env)
{
	uint32_t n = env->n, clock = 1, nscc = 0, nopen = 0;
	uint32_t *pre = calloc(n, sizeof(*pre)), *low = calloc(n, sizeof(*low));
	uint32_t *open = calloc(n, sizeof(*open)), *path = calloc(n, sizeof(*path));
	uint8_t *at = calloc(n, 1), *closed = calloc(n, 1);
	int err = -ENOMEM;

	if (!pre || !low || !open || !path || !at || !closed)
		goto out;
	for (uint32_t root = 0; root < n; root++) {
		uint32_t depth = 0;

		if (pre[root] || env->aux[root].flags & V_SECOND)
			continue;
		path[depth++] = root;
		while (depth) {
			uint32_t v = path[depth - 1], succ[2];
			unsigned ns = skep_v_succ(env, v, succ);

			if (!pre[v]) {
				pre[v] = low[v] = clock++;
				open[nopen++] = v;
			}
			if (at[v] < ns) {
				uint32_t w = succ[at[v]++];

				if (!pre[w])
					path[depth++] = w;
				else if (!closed[w] && pre[w] < low[v])
					low[v] = pre[w];
				continue;
			}
			depth--;
			if (depth && low[v] < low[path[depth - 1]])
				low[path[depth - 1]] = low[v];
			if (low[v] != pre[v])
				continue;
			{
				bool cycle = open[nopen - 1] != v;
				uint32_t w;

				for (unsigned k = 0; k < ns; k++)
					cycle |= succ[k] == v;
				if (cycle)
					nscc++;
				do {
					w = open[--nopen];
					closed[w] = 1;
					env->aux[w].scc = cycle ? nscc
							  : env->aux[w].flags & V_CALLBACKS
								  ? V_OWN_CYCLE | w
								  : 0;
				} while (w != v);
			}
		}
	}
	err = 0;
out:
	free(pre);
	free(low);
	free(open);
	free(path);
	free(at);
	free(closed);
	return err;
}
