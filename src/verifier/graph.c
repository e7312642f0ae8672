/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Objects that programs make, and what only special kfuncs take and give.
 */
#include "verifier/kfunc.h"

#include <string.h>

#include "btf/internal.h"
#include "verifier/btfptr.h"

/* What rewriting puts in: one call, one type. */
static int note_object(struct venv *env, const struct skep_btf *btf, uint32_t id,
		       const struct skep_fields *fields)
{
	struct skep_aux *o = &env->out[env->insn];

	if (o->obj_btf && (o->obj_btf != btf || o->obj_id != id))
		return skep_v_refuse(env, EINVAL, W_TYPE, -1,
				     "same insn cannot be used with different pointers\n");
	o->obj_btf = btf;
	o->obj_id = id;
	o->obj_size = (uint32_t)skep_btf_size(btf, id);
	for (uint32_t i = 0; fields && i < fields->n; i++)
		if (fields->f[i].kind == SKEP_FIELD_REFCOUNT)
			o->obj_count = 1 + fields->f[i].offset;
	return 0;
}

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
	return note_object(env, reg->btf, reg->btf_id, NULL);
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
	if (!fields.n)
		return skep_v_refuse(env, EFAULT, W_ARG_TYPE, (int)arg + 1,
				     "verifier bug: Couldn't find btf_record\n");
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

/* Structures of numbers only. */
static bool only_scalars(const struct skep_btf *btf, uint32_t id, unsigned depth)
{
	const struct btf_type *t = skep_btf_skip_mods(btf, id, &id);
	const struct btf_member *m;

	if (!t || !skep_btf_is_struct(t) || depth > 3)
		return false;
	m = skep_btf_members(t);
	for (uint32_t i = 0; i < T_VLEN(t); i++) {
		uint32_t to;
		const struct btf_type *e = skep_btf_skip_mods(btf, m[i].type, &to);

		while (e && T_KIND(e) == BTF_KIND_ARRAY)
			e = skep_btf_skip_mods(btf, skep_btf_array(e)->type, &to);
		if (!e)
			return false;
		if (T_KIND(e) != BTF_KIND_INT && T_KIND(e) != BTF_KIND_ENUM &&
		    T_KIND(e) != BTF_KIND_ENUM64 && !only_scalars(btf, to, depth + 1))
			return false;
	}
	return true;
}

#define MAX_PERCPU_OBJECT 512

static int new_object(struct venv *env, struct vkfunc *k, struct vreg *r0, bool percpu)
{
	const struct skep_btf *btf = env->prog->btf;
	uint32_t id = (uint32_t)k->constant;
	struct skep_fields fields = {0};
	const struct btf_type *t;

	if (k->constant != id)
		return skep_v_refuse(env, EINVAL, W_TYPE, -1,
				     "local type ID argument must be in range [0, U32_MAX]\n");
	if (!btf)
		return skep_v_refuse(env, EINVAL, W_TYPE, -1,
				     "bpf_obj_new/bpf_percpu_obj_new requires prog BTF\n");
	t = skep_btf_type(btf, id);
	if (!t || T_KIND(t) != BTF_KIND_STRUCT)
		return skep_v_refuse(env, EINVAL, W_TYPE, -1,
				     "bpf_obj_new/bpf_percpu_obj_new type ID argument must be of a "
				     "struct\n");
	skep_btf_struct_fields(btf, env->prog->obj.skep, id, &fields);
	if (percpu && t->size > MAX_PERCPU_OBJECT)
		return skep_v_refuse(env, EINVAL, W_TYPE, -1,
				     "bpf_percpu_obj_new type size (%u) is greater than %d\n",
				     t->size, MAX_PERCPU_OBJECT);
	if (percpu && !only_scalars(btf, id, 0))
		return skep_v_refuse(env, EINVAL, W_TYPE, -1,
				     "bpf_percpu_obj_new type ID argument must be of a struct of "
				     "scalars\n");
	if (percpu && fields.n)
		return skep_v_refuse(env, EINVAL, W_TYPE, -1,
				     "bpf_percpu_obj_new type ID argument must not contain special "
				     "fields\n");
	skep_v_reg_btf(env, r0, btf, id, V_ALLOC | (percpu ? V_PERCPU_MEM : 0));
	return note_object(env, btf, id, &fields) ? -EINVAL : 1;
}

static int share_object(struct venv *env, struct vkfunc *k, struct vreg *r0)
{
	struct skep_fields fields = {0};

	skep_btf_struct_fields(k->arg_btf, env->prog->obj.skep, k->arg_btf_id, &fields);
	skep_v_reg_btf(env, r0, k->arg_btf, k->arg_btf_id, V_ALLOC);
	return note_object(env, k->arg_btf, k->arg_btf_id, &fields) ? -EINVAL : 1;
}

int skep_v_kret_special(struct venv *env, struct vkfunc *k, struct vreg *r0)
{
	switch (k->id) {
	case SKEP_KFUNC_bpf_cast_to_kern_ctx:
		skep_v_reg_btf(env, r0, k->btf, k->ret_btf_id, V_TRUSTED);
		return 1;
	case SKEP_KFUNC_bpf_rdonly_cast:
		return rdonly_cast(env, k, r0);
	case SKEP_KFUNC_bpf_obj_new_impl:
	case SKEP_KFUNC_bpf_percpu_obj_new_impl:
		return new_object(env, k, r0, k->id == SKEP_KFUNC_bpf_percpu_obj_new_impl);
	case SKEP_KFUNC_bpf_refcount_acquire_impl:
		return share_object(env, k, r0);
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
