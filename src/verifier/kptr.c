/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Kptrs: fields of map values, and of objects that programs make, which point to objects. What a
 * load gives is valid only as long as the read side says so; references move by bpf_kptr_xchg.
 */
#include "verifier/kptr.h"

#include <string.h>

#include "btf/internal.h"
#include "exec/heap.h"
#include "verifier/btfptr.h"

/* The types that a field's type is one of. */
static const struct skep_btf *field_btf(struct venv *env, const struct skep_field *f,
					const struct skep_btf *own)
{
	return f->kernel ? skep_v_vmlinux(env) : own;
}

int skep_v_kptr_exact(struct venv *env, const struct vreg *reg, int off, int size,
		      const struct skep_field *f, bool helper)
{
	const char *name = skep_field_name(f->kind);
	unsigned long long at = (uint64_t)off + reg->s.bits.value;

	if (helper)
		return skep_v_refuse(env, EACCES, W_LOCK, -1,
				     "%s cannot be accessed indirectly by helper\n", name);
	if (!v_is_const(reg))
		return skep_v_refuse(env, EACCES, W_LOCK, -1,
				     "%s access cannot have variable offset\n", name);
	if (at != f->offset)
		return skep_v_refuse(env, EACCES, W_LOCK, -1,
				     "%s access misaligned expected=%u off=%llu\n", name, f->offset,
				     at);
	if (size != 8)
		return skep_v_refuse(env, EACCES, W_LOCK, -1, "%s access size must be BPF_DW\n",
				     name);
	return 0;
}

const struct skep_field *skep_v_kptr_at(const struct skep_map *map, const struct vreg *reg, int off)
{
	for (uint32_t i = 0; i < map->fields.n && v_is_const(reg); i++)
		if (map->fields.f[i].offset == (uint64_t)off + reg->s.bits.value &&
		    v_is_kptr(&map->fields.f[i]))
			return &map->fields.f[i];
	return NULL;
}

/* Objects that stay while the read side is held though their references go. */
static bool rcu_safe(const struct skep_field *f, const struct skep_btf *btf)
{
	static const char *const kernel[] = {"prog_test_ref_kfunc", "cgroup", "bpf_cpumask",
					     "task_struct"};

	if (f->kind == SKEP_FIELD_KPTR_PERCPU)
		return true;
	if (f->kind != SKEP_FIELD_KPTR_REF)
		return false;
	for (unsigned i = 0; f->kernel && i < sizeof(kernel) / sizeof(kernel[0]); i++)
		if (!strcmp(skep_btf_name(btf, f->btf_id), kernel[i]))
			return true;
	return !f->kernel;
}

/* A node of a list or tree may be in one that others see. */
static bool is_node(struct venv *env, const struct skep_field *f, const struct skep_btf *btf)
{
	struct skep_fields in = {0};

	if (f->kernel || skep_btf_struct_fields(btf, env->prog->obj.skep, f->btf_id, &in))
		return false;
	return in.n != 0;
}

static uint32_t load_flags(struct venv *env, const struct skep_field *f, const struct skep_btf *btf)
{
	uint32_t flags = V_MAYBE_NULL;

	if (!rcu_safe(f, btf) || !skep_v_in_rcu(env))
		return flags | V_UNTRUSTED;
	flags |= V_RCU;
	if (f->kind == SKEP_FIELD_KPTR_PERCPU)
		flags |= V_PERCPU_MEM;
	else if (!f->kernel)
		flags |= V_ALLOC;
	return is_node(env, f, btf) ? flags | V_NON_OWN : flags;
}

/* Whether the register may be put in the field. */
static int match(struct venv *env, const struct skep_field *f, const struct skep_btf *own,
		 const struct vreg *reg, int r)
{
	const struct skep_btf *btf = field_btf(env, f, own);
	bool unref = f->kind == SKEP_FIELD_KPTR_UNREF;
	uint32_t ok = V_MAYBE_NULL;
	char name[64];

	if (reg->type == V_BTF && reg->btf->kernel)
		ok |= V_TRUSTED | V_RCU | (unref ? V_UNTRUSTED : 0);
	else
		ok |= V_ALLOC | (f->kind == SKEP_FIELD_KPTR_PERCPU ? V_PERCPU_MEM : 0);
	if (reg->type == V_BTF && !(reg->flags & ~ok)) {
		int err = skep_v_ptr_reg_off(env, reg, r, true);

		if (err)
			return err;
		if (skep_v_types_match(env, reg->btf, reg->btf_id, reg->off, btf, f->btf_id,
				       !unref))
			return 0;
	}
	skep_v_log(env, "invalid kptr access, R%d type=%s", r, skep_v_type_name(reg, name));
	if (reg->type == V_BTF)
		skep_v_log(env, "%s", skep_btf_name(reg->btf, reg->btf_id));
	if (unref)
		return skep_v_refuse(env, EACCES, W_TYPE, r,
				     " expected=ptr_%s or untrusted_ptr_%s\n",
				     skep_btf_name(btf, f->btf_id), skep_btf_name(btf, f->btf_id));
	return skep_v_refuse(env, EACCES, W_TYPE, r, " expected=ptr_%s\n",
			     skep_btf_name(btf, f->btf_id));
}

int skep_v_need_heap(struct venv *env)
{
	env->prog->heap = true;
	return skep_heap_open(env->prog->obj.skep);
}

int skep_v_note_kptr(struct venv *env, uint32_t insn, bool kptr)
{
	struct vinsn *a = &env->aux[insn];
	struct skep_aux *o = &env->out[insn];

	if (a->ptr_type && o->kptr != kptr)
		return skep_v_refuse(env, EINVAL, W_TYPE, -1,
				     "same insn cannot be used with different pointers\n");
	o->kptr = kptr;
	return kptr ? skep_v_need_heap(env) : 0;
}

int skep_v_access_kptr(struct venv *env, uint32_t insn, const struct skep_map *map,
		       const struct skep_field *f, int value)
{
	const struct bpf_insn *in = &env->insns[insn];
	const struct skep_btf *btf = field_btf(env, f, map->btf);
	uint8_t class = BPF_CLASS(in->code);
	struct vreg *d;

	if (BPF_MODE(in->code) != BPF_MEM)
		return skep_v_refuse(
			env, EACCES, W_LOCK, -1,
			"kptr in map can only be accessed using BPF_MEM instruction mode\n");
	if (class != BPF_LDX &&
	    (f->kind == SKEP_FIELD_KPTR_REF || f->kind == SKEP_FIELD_KPTR_PERCPU))
		return skep_v_refuse(env, EACCES, W_LOCK, -1,
				     "store to referenced kptr disallowed\n");
	if (class == BPF_ST)
		return !in->imm ? 0
				: skep_v_refuse(env, EACCES, W_LOCK, -1,
						"BPF_ST imm must be 0 when storing to kptr at "
						"off=%u\n",
						f->offset);
	if (class == BPF_STX) {
		const struct vreg reg = *v_reg(env, in->src_reg);

		return v_is_null(&reg) ? 0 : match(env, f, map->btf, &reg, in->src_reg);
	}
	if (value < 0)
		return 0;
	d = skep_v_reg(env, (uint32_t)value);
	if (!d)
		return -ENOMEM;
	skep_v_reg_btf(env, d, btf, f->btf_id, load_flags(env, f, btf));
	d->origin = insn;
	return 0;
}

/* ---- Exchanges ---- */

static int find_field(struct venv *env, struct vcall *c, const struct vreg *reg, int r,
		      const struct skep_fields *fields)
{
	int64_t at = reg->off + (int64_t)reg->s.bits.value;
	bool any = false;

	if (!v_is_const(reg))
		return skep_v_refuse(env, EINVAL, W_ARG_TYPE, r,
				     "R%d doesn't have constant offset. kptr has to be at the "
				     "constant offset\n",
				     r);
	for (uint32_t i = 0; i < fields->n; i++) {
		if (!v_is_kptr(&fields->f[i]))
			continue;
		any = true;
		if (fields->f[i].offset == at)
			c->kptr = fields->f[i];
	}
	if (!any)
		return skep_v_refuse(env, EINVAL, W_ARG_TYPE, r, "R%d has no valid kptr\n", r);
	if (!c->kptr.size)
		return skep_v_refuse(env, EACCES, W_ARG_TYPE, r, "off=%d doesn't point to kptr\n",
				     (int)at);
	if (c->kptr.kind == SKEP_FIELD_KPTR_UNREF)
		return skep_v_refuse(env, EACCES, W_ARG_TYPE, r,
				     "off=%d kptr isn't referenced kptr\n", (int)at);
	return 0;
}

int skep_v_kptr_dest(struct venv *env, struct vcall *c, int r)
{
	const struct vreg reg = *v_reg(env, (uint32_t)r);
	struct skep_fields fields = {0};

	int err = skep_v_need_heap(env);

	if (err)
		return err;
	if (reg.type == V_BTF) {
		skep_btf_struct_fields(reg.btf, env->prog->obj.skep, reg.btf_id, &fields);
		c->kptr_btf = reg.btf;
		return find_field(env, c, &reg, r, &fields);
	}
	c->map = skep_v_map(env, &reg);
	c->map_index = -1;
	c->kptr_btf = c->map->btf;
	if (!c->map->btf)
		return skep_v_refuse(env, EINVAL, W_MAP, r,
				     "map '%s' has to have BTF in order to use bpf_kptr_xchg\n",
				     c->map->name);
	return find_field(env, c, &reg, r, &c->map->fields);
}

int skep_v_kptr_match(struct venv *env, const struct vcall *c, const struct vreg *reg, int r)
{
	return match(env, &c->kptr, c->kptr_btf, reg, r);
}

/* What was put away stays readable while the read side is held, if it has a copy per CPU. */
static bool has_ref(const struct vreg *reg, const void *arg)
{
	return reg->ref == *(const uint32_t *)arg;
}

static void keep_percpu(struct vreg *reg, const void *arg)
{
	(void)arg;
	if (reg->flags & V_ALLOC && reg->flags & V_PERCPU_MEM) {
		reg->ref = 0;
		reg->flags = (uint16_t)((reg->flags & ~V_ALLOC) | V_RCU);
	} else {
		skep_v_reg_invalid(reg);
	}
}

int skep_v_kptr_release(struct venv *env, const struct vcall *c)
{
	if (!skep_v_in_rcu(env)) {
		skep_v_drop_ref_regs(env, c->ref);
		return env->err;
	}
	return skep_v_each_reg(env, env->cur, has_ref, keep_percpu, &c->ref);
}

void skep_v_kptr_result(struct venv *env, const struct vcall *c, struct vreg *r0)
{
	uint32_t flags = 0;

	if (!c->kptr.kernel)
		flags = V_ALLOC | (c->kptr.kind == SKEP_FIELD_KPTR_PERCPU ? V_PERCPU_MEM : 0);
	skep_v_reg_btf(env, r0, field_btf(env, &c->kptr, c->kptr_btf), c->kptr.btf_id, flags);
	r0->flags |= V_MAYBE_NULL;
}
