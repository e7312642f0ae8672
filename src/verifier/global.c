/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Global functions: verified once, for any arguments that match their types in
 * BTF; a caller must pass such arguments, and learns nothing of the result.
 */
#include "verifier/state.h"

#include <string.h>

#include "btf/btf.h"
#include "isa/isa.h"

enum arg_kind { ARG_SCALAR, ARG_CTX, ARG_MEM };

/* The context's structure, as sources name it. */
static const char *const ctx_names[] = {
	[BPF_PROG_TYPE_SOCKET_FILTER] = "__sk_buff",
	[BPF_PROG_TYPE_SCHED_CLS] = "__sk_buff",
	[BPF_PROG_TYPE_SCHED_ACT] = "__sk_buff",
	[BPF_PROG_TYPE_XDP] = "xdp_md",
	[BPF_PROG_TYPE_CGROUP_SKB] = "__sk_buff",
	[BPF_PROG_TYPE_CGROUP_SOCK] = "bpf_sock",
	[BPF_PROG_TYPE_LWT_IN] = "__sk_buff",
	[BPF_PROG_TYPE_LWT_OUT] = "__sk_buff",
	[BPF_PROG_TYPE_LWT_XMIT] = "__sk_buff",
	[BPF_PROG_TYPE_LWT_SEG6LOCAL] = "__sk_buff",
	[BPF_PROG_TYPE_SOCK_OPS] = "bpf_sock_ops",
	[BPF_PROG_TYPE_SK_SKB] = "__sk_buff",
	[BPF_PROG_TYPE_CGROUP_DEVICE] = "bpf_cgroup_dev_ctx",
	[BPF_PROG_TYPE_SK_MSG] = "sk_msg_md",
	[BPF_PROG_TYPE_CGROUP_SOCK_ADDR] = "bpf_sock_addr",
	[BPF_PROG_TYPE_SK_REUSEPORT] = "sk_reuseport_md",
	[BPF_PROG_TYPE_FLOW_DISSECTOR] = "__sk_buff",
	[BPF_PROG_TYPE_CGROUP_SYSCTL] = "bpf_sysctl",
	[BPF_PROG_TYPE_CGROUP_SOCKOPT] = "bpf_sockopt",
	[BPF_PROG_TYPE_SK_LOOKUP] = "bpf_sk_lookup",
	[BPF_PROG_TYPE_NETFILTER] = "bpf_nf_ctx",
	[BPF_PROG_TYPE_KPROBE] = "bpf_user_pt_regs_t",
	[BPF_PROG_TYPE_PERF_EVENT] = "bpf_perf_event_data",
	[BPF_PROG_TYPE_RAW_TRACEPOINT] = "bpf_raw_tracepoint_args",
	[BPF_PROG_TYPE_RAW_TRACEPOINT_WRITABLE] = "bpf_raw_tracepoint_args",
};

static const struct btf_param *params(const struct btf_type *proto)
{
	return (const struct btf_param *)(proto + 1);
}

static bool is_number(const struct btf_type *t)
{
	unsigned k = BTF_INFO_KIND(t->info);

	return k == BTF_KIND_INT || k == BTF_KIND_ENUM || k == BTF_KIND_ENUM64;
}

static bool is_mod(const struct btf_type *t)
{
	unsigned k = BTF_INFO_KIND(t->info);

	return k == BTF_KIND_CONST || k == BTF_KIND_VOLATILE || k == BTF_KIND_RESTRICT ||
	       k == BTF_KIND_TYPE_TAG;
}

/* Whether the pointed-to type is this program type's context. */
bool skep_v_is_ctx_type(const struct venv *env, const struct skep_btf *btf, uint32_t type_id)
{
	const struct btf_type *t = skep_btf_type(btf, type_id);
	const char *want = env->prog->type < sizeof(ctx_names) / sizeof(ctx_names[0])
				   ? ctx_names[env->prog->type]
				   : NULL,
		   *name;

	while (t && is_mod(t)) {
		type_id = t->type;
		t = skep_btf_type(btf, type_id);
	}
	/* Typedefs count only by their own name. */
	while (t && BTF_INFO_KIND(t->info) == BTF_KIND_TYPEDEF) {
		name = skep_btf_name(btf, type_id);
		if (want && name && !strcmp(name, want))
			return true;
		type_id = t->type;
		t = skep_btf_type(btf, type_id);
		while (t && is_mod(t)) {
			type_id = t->type;
			t = skep_btf_type(btf, type_id);
		}
	}
	if (!t || !want || BTF_INFO_KIND(t->info) != BTF_KIND_STRUCT)
		return false;
	name = skep_btf_name(btf, type_id);
	return name && !strcmp(name, want);
}

/* Declaration tags "arg:..." of argument i: sets flags. */
static int read_tags(struct venv *env, uint32_t func, unsigned arg, bool *ctx, bool *nonnull)
{
	const struct skep_btf *btf = env->prog->btf;

	for (uint32_t id = 1; id < btf->ntypes; id++) {
		const struct btf_type *t = skep_btf_type(btf, id);
		const char *name;

		if (!t || BTF_INFO_KIND(t->info) != BTF_KIND_DECL_TAG || t->type != func ||
		    *(const int32_t *)(t + 1) != (int32_t)arg)
			continue;
		name = skep_btf_name(btf, id);
		if (!name || strncmp(name, "arg:", 4))
			continue;
		if (!strcmp(name, "arg:ctx"))
			*ctx = true;
		else if (!strcmp(name, "arg:nonnull"))
			*nonnull = true;
		else if (strcmp(name, "arg:nullable"))
			return skep_v_refuse(env, EOPNOTSUPP, W_CALL, -1,
					     "arg#%u has unsupported set of tags\n", arg);
	}
	return 0;
}

static int read_arg(struct venv *env, uint32_t sub, unsigned i, uint32_t type_id)
{
	const struct skep_btf *btf = env->prog->btf;
	struct vsubprog *s = &env->subs[sub];
	const struct btf_type *t;
	bool ctx = false, nonnull = false;
	const char *name = skep_btf_name(btf, s->type_id);
	uint32_t id;
	int64_t size;
	int err = read_tags(env, s->type_id, i, &ctx, &nonnull);

	if (err)
		return err;
	t = skep_btf_skip_mods(btf, type_id, &id);
	if (t && is_number(t)) {
		s->args[i].kind = ARG_SCALAR;
		return 0;
	}
	if (!t || BTF_INFO_KIND(t->info) != BTF_KIND_PTR)
		return skep_v_refuse(env, EINVAL, W_CALL, -1,
				     "Arg#%u type %s in %s() is not supported yet.\n", i,
				     t ? "STRUCT" : "UNKNOWN", name ? name : "");
	if (ctx || skep_v_is_ctx_type(env, btf, t->type)) {
		s->args[i].kind = ARG_CTX;
		return 0;
	}
	size = skep_btf_size(btf, t->type);
	if (size <= 0 || size > INT32_MAX) {
		const char *target = skep_btf_name(btf, t->type);

		return skep_v_refuse(
			env, EINVAL, W_CALL, -1,
			"arg#%u reference type('%s %s') size cannot be determined: %lld\n", i,
			t->type ? "FWD" : "UNKNOWN", target ? target : "",
			(long long)(size ? size : -EINVAL));
	}
	s->args[i].kind = ARG_MEM;
	s->args[i].nullable = !nonnull;
	s->args[i].size = (uint32_t)size;
	return 0;
}

static int read_args(struct venv *env, uint32_t sub)
{
	const struct skep_btf *btf = env->prog->btf;
	struct vsubprog *s = &env->subs[sub];
	const struct btf_type *func, *proto, *ret;
	const char *name;
	uint32_t n;
	int err = 0;

	if (!btf || !s->type_id)
		return -EINVAL;
	func = skep_btf_type(btf, s->type_id);
	proto = func ? skep_btf_type(btf, func->type) : NULL;
	name = skep_btf_name(btf, s->type_id);
	if (!proto || BTF_INFO_KIND(proto->info) != BTF_KIND_FUNC_PROTO)
		return skep_v_refuse(env, EFAULT, W_CALL, -1, "Invalid type of function %s()\n",
				     name);
	n = BTF_INFO_VLEN(proto->info);
	if (n > 5)
		return skep_v_refuse(env, EINVAL, W_CALL, -1,
				     "Global function %s() with %u > %u args. Buggy compiler.\n",
				     name, n, 5u);
	ret = skep_btf_skip_mods(btf, proto->type, NULL);
	if (!ret || !is_number(ret))
		return skep_v_refuse(
			env, EINVAL, W_CALL, -1,
			"Global function %s() doesn't return scalar. Only those are supported.\n",
			name);
	for (unsigned i = 0; i < n && !err; i++)
		err = read_arg(env, sub, i, params(proto)[i].type);
	s->nargs = n;
	return err;
}

int skep_v_sub_args(struct venv *env, uint32_t sub)
{
	struct vsubprog *s = &env->subs[sub];

	if (!s->args_done) {
		s->args_err = read_args(env, sub);
		s->args_done = true;
	}
	return s->args_err;
}

static int pass_mem(struct venv *env, int r, const struct vreg *reg, uint32_t size)
{
	struct vreg *w;
	int err;

	if (v_is_null(reg))
		return 0;
	w = skep_v_reg(env, (uint32_t)r);
	if (!w)
		return -ENOMEM;
	w->flags &= (uint16_t)~V_MAYBE_NULL;
	err = skep_v_mem_arg(env, r, (int)size, V_READ, true, false);
	if (!err)
		err = skep_v_mem_arg(env, r, (int)size, V_WRITE, true, false);
	w = skep_v_reg(env, (uint32_t)r);
	if (!w)
		return -ENOMEM;
	w->flags = reg->flags;
	return err;
}

int skep_v_pass_args(struct venv *env, uint32_t sub)
{
	const struct vsubprog *s = &env->subs[sub];
	int err = skep_v_sub_args(env, sub);

	for (unsigned i = 0; i < s->nargs && !err; i++) {
		int r = (int)i + 1;
		struct vreg reg = *v_reg(env, (uint32_t)r);

		if (s->args[i].kind == ARG_SCALAR) {
			if (!v_is_scalar(&reg))
				err = skep_v_refuse(env, EINVAL, W_CALL, r, "R%d is not a scalar\n",
						    r);
		} else if (s->args[i].kind == ARG_CTX) {
			err = reg.type == V_CTX ? skep_v_ptr_reg_off(env, &reg, r, false) : 0;
			if (!err && reg.type != V_CTX)
				err = skep_v_refuse(env, EINVAL, W_CALL, r,
						    "arg#%u expects pointer to ctx\n", i);
		} else {
			err = pass_mem(env, r, &reg, s->args[i].size);
			if (err && err != -ENOMEM)
				err = -EINVAL;
			if (!err && !s->args[i].nullable &&
			    (reg.flags & V_MAYBE_NULL || v_is_null(&reg)))
				err = skep_v_refuse(env, EINVAL, W_CALL, r,
						    "arg#%u is expected to be non-NULL\n", i);
		}
	}
	return err;
}

int skep_v_take_args(struct venv *env, uint32_t sub)
{
	const struct vsubprog *s = &env->subs[sub];
	int err = skep_v_sub_args(env, sub);

	if (err)
		return err;
	for (unsigned i = 0; i < s->nargs; i++) {
		struct vreg *r = skep_v_reg(env, i + 1);

		if (!r)
			return -ENOMEM;
		switch (s->args[i].kind) {
		case ARG_CTX:
			skep_v_reg_zero_ptr(r, V_CTX);
			break;
		case ARG_MEM:
			skep_v_reg_zero_ptr(r, V_MEM);
			r->mem_size = s->args[i].size;
			if (s->args[i].nullable) {
				r->flags = V_MAYBE_NULL;
				r->id = ++env->next_id;
			}
			break;
		default:
			skep_v_reg_unknown(r);
			break;
		}
		r->origin = env->subs[sub].start;
	}
	return 0;
}

/* Which functions move the packet, themselves or by calls. */
void skep_v_find_pkt_changes(struct venv *env)
{
	bool again = true;

	while (again) {
		again = false;
		for (uint32_t i = 0; i < env->nsubs; i++) {
			struct vsubprog *s = &env->subs[i];

			for (uint32_t k = s->start; k < s->end && !s->changes_pkt; k++) {
				const struct bpf_insn *in = &env->insns[k];
				int callee = -1;

				if (env->aux[k].flags & V_SECOND)
					continue;
				if (in->code == (BPF_LD | BPF_IMM | BPF_DW) &&
				    in->src_reg == BPF_PSEUDO_FUNC)
					callee = skep_v_subprog_at(
						env, (uint32_t)((int64_t)k + in->imm + 1));
				if (in->code == (BPF_JMP | BPF_CALL) &&
				    in->src_reg == BPF_PSEUDO_CALL)
					callee = skep_v_subprog_at(
						env, (uint32_t)((int64_t)k + in->imm + 1));
				if (in->code == (BPF_JMP | BPF_CALL) && !in->src_reg &&
				    in->imm >= 0 && in->imm < SKEP_MAX_HELPERS)
					s->changes_pkt = skep_helpers[in->imm].flags &
							 SKEP_HELPER_CHANGES_PKT;
				if (callee >= 0 && env->subs[callee].changes_pkt)
					s->changes_pkt = true;
				again |= s->changes_pkt;
			}
		}
	}
}
