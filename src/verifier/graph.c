/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Objects that programs make, and what only special kfuncs take and give.
 */
#include "verifier/kfunc.h"

#include <string.h>

#include "btf/internal.h"
#include "verifier/btfptr.h"

int skep_v_karg_alloc(struct venv *env, struct vkfunc *k, uint32_t arg, const struct vreg *reg)
{
	bool percpu = reg->flags & V_PERCPU_MEM;

	if (reg->type != V_BTF || !(reg->flags & V_ALLOC) || reg->flags & ~(V_ALLOC | V_PERCPU_MEM))
		return skep_v_refuse(env, EINVAL, W_ARG_TYPE, (int)arg + 1,
				     "arg#%u expected pointer to allocated object\n", arg);
	if (percpu != (k->id == SKEP_KFUNC_bpf_percpu_obj_drop_impl))
		return skep_v_refuse(env, EINVAL, W_ARG_TYPE, (int)arg + 1,
				     "arg#%u expected for %s()\n", arg,
				     percpu ? "bpf_percpu_obj_drop_impl" : "bpf_obj_drop_impl");
	if (!reg->ref)
		return skep_v_refuse(env, EINVAL, W_REF, (int)arg + 1,
				     "allocated object must be referenced\n");
	k->arg_btf = reg->btf;
	k->arg_btf_id = reg->btf_id;
	return 0;
}

int skep_v_karg_refcounted(struct venv *env, struct vkfunc *k, uint32_t arg, const struct vreg *reg)
{
	struct skep_fields fields = {0};
	bool counted = false;

	if (reg->type != V_BTF || !(reg->flags & V_ALLOC))
		return skep_v_refuse(env, EINVAL, W_ARG_TYPE, (int)arg + 1,
				     "arg#%u is neither owning or non-owning ref\n", arg);
	k->owning = !(reg->flags & V_NON_OWN);
	if (!skep_btf_struct_fields(reg->btf, env->prog->obj.skep, reg->btf_id, &fields))
		for (uint32_t i = 0; i < fields.n; i++)
			counted |= fields.f[i].kind == SKEP_FIELD_REFCOUNT;
	if (!counted)
		return skep_v_refuse(env, EINVAL, W_ARG_TYPE, (int)arg + 1,
				     "arg#%u doesn't point to a type with bpf_refcount field\n",
				     arg);
	k->arg_btf = reg->btf;
	k->arg_btf_id = reg->btf_id;
	return 0;
}

static int rdonly_cast(struct venv *env, struct vkfunc *k, struct vreg *r0)
{
	uint32_t id;
	const struct btf_type *t = skep_btf_skip_mods(k->btf, (uint32_t)k->constant, &id);

	if (!k->constant) {
		skep_v_reg_zero_ptr(r0, V_MEM);
		r0->flags = V_RDONLY | V_UNTRUSTED;
		return 1;
	}
	if (!t || T_KIND(t) != BTF_KIND_STRUCT)
		return skep_v_refuse(
			env, EINVAL, W_TYPE, -1,
			"kfunc bpf_rdonly_cast type ID argument must be of a struct%s\n",
			" or void");
	skep_v_reg_btf(env, r0, k->btf, (uint32_t)k->constant, V_UNTRUSTED);
	return 1;
}

int skep_v_kret_special(struct venv *env, struct vkfunc *k, struct vreg *r0)
{
	switch (k->id) {
	case SKEP_KFUNC_bpf_cast_to_kern_ctx:
		skep_v_reg_btf(env, r0, k->btf, k->ret_btf_id, V_TRUSTED);
		return 1;
	case SKEP_KFUNC_bpf_rdonly_cast:
		return rdonly_cast(env, k, r0);
	default:
		return 0;
	}
}

/* The kernel's own structures behind contexts: those that skep's BTF describes. */
int skep_v_kern_ctx(struct venv *env)
{
	static const struct {
		uint8_t type;
		const char *name;
	} names[] = {
		{BPF_PROG_TYPE_XDP, "xdp_buff"},       {BPF_PROG_TYPE_SCHED_CLS, "sk_buff"},
		{BPF_PROG_TYPE_SCHED_ACT, "sk_buff"},  {BPF_PROG_TYPE_SOCKET_FILTER, "sk_buff"},
		{BPF_PROG_TYPE_CGROUP_SKB, "sk_buff"}, {BPF_PROG_TYPE_SK_SKB, "sk_buff"},
	};
	const struct skep_btf *btf = skep_v_vmlinux(env);

	for (unsigned i = 0; btf && i < sizeof(names) / sizeof(names[0]); i++)
		if (names[i].type == env->prog->type) {
			int64_t id = skep_btf_find(btf, names[i].name, BTF_KIND_STRUCT);

			return (int)id;
		}
	return skep_v_refuse(env, EINVAL, W_TYPE, -1,
			     "kernel context of prog type %u is not described\n", env->prog->type);
}
