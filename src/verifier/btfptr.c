/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Loads through pointers to structures that BTF describes: what lies at an offset, and how
 * far a pointer found there may be trusted.
 */
#include "verifier/btfptr.h"

#include <string.h>

#include "btf/internal.h"

/* Flags that say how a pointer came to be valid. */
#define TRUST_FLAGS (V_TRUSTED | V_ALLOC | V_NON_OWN)

const struct skep_btf *skep_v_vmlinux(const struct venv *env)
{
	const struct skep_btf *btf = NULL;

	if (!env->prog->obj.skep || skep_btf_presented(env->prog->obj.skep, &btf))
		return NULL;
	return btf;
}

void skep_v_reg_btf(struct venv *env, struct vreg *r, const struct skep_btf *btf, uint32_t id,
		    uint32_t flags)
{
	skep_v_reg_zero_ptr(r, V_BTF);
	r->btf = btf;
	r->btf_id = id;
	r->flags = (uint16_t)flags;
	if (flags & V_MAYBE_NULL)
		r->id = ++env->next_id;
}

uint32_t skep_v_btf_of(const struct venv *env, const struct vreg *r)
{
	static const char *const names[V_NTYPES] = {
		[V_SOCK] = "sock",
		[V_SOCK_COMMON] = "sock_common",
		[V_TCP_SOCK] = "tcp_sock",
		[V_MAP_PTR] = "bpf_map",
	};
	const struct skep_btf *btf = names[r->type] ? skep_v_vmlinux(env) : NULL;
	int64_t id = btf ? skep_btf_find(btf, names[r->type], BTF_KIND_STRUCT) : 0;

	return id > 0 ? (uint32_t)id : 0;
}

bool skep_v_is_trusted(const struct vreg *r)
{
	if (r->ref)
		return true;
	if (r->flags & ~TRUST_FLAGS)
		return false;
	return r->flags || r->type == V_SOCK || r->type == V_SOCK_COMMON || r->type == V_TCP_SOCK ||
	       r->type == V_MAP_PTR;
}

bool skep_v_is_rcu(const struct vreg *r)
{
	return r->flags & V_RCU;
}

/* ---- One step ---- */

static const char *name_at(const struct skep_btf *btf, uint32_t off)
{
	const char *s = skep_btf_str(btf, off);

	return s ? s : "";
}

/* Elements of a flexible array at the end: 0 and *off within one, or a result. */
static int beyond(struct venv *env, const struct skep_btf *btf, const struct btf_type *t, int *off,
		  int size, uint32_t *elem)
{
	uint32_t n = BTF_INFO_VLEN(t->info);
	const struct btf_member *m = n ? &skep_btf_members(t)[n - 1] : NULL;
	const struct btf_type *a = m ? skep_btf_skip_mods(btf, m->type, NULL) : NULL;

	if (a && T_KIND(a) == BTF_KIND_ARRAY && !skep_btf_array(a)->nelems) {
		int at = (int)(skep_btf_member_bits(t, m) / 8);
		const struct btf_type *e = skep_btf_skip_mods(btf, skep_btf_array(a)->type, elem);

		if (*off >= at && e && T_KIND(e) == BTF_KIND_INT)
			return W_SCALAR;
		if (*off >= at && e && skep_btf_is_struct(e) && e->size) {
			*off = (*off - at) % (int)e->size;
			return 0;
		}
	}
	return skep_v_refuse(env, EACCES, W_BOUNDS_MEM, -1,
			     "access beyond struct %s at off %u size %u\n",
			     name_at(btf, t->name_off), (unsigned)*off, (unsigned)size);
}

/* Tags of what a pointer points to: __rcu, __percpu, __user. */
static uint32_t tag_flags(const struct skep_btf *btf, const struct btf_type *ptr)
{
	static const struct {
		const char *tag;
		uint32_t flag;
	} tags[] = {{"user", V_USER}, {"percpu", V_PERCPU_MEM}, {"rcu", V_RCU}};
	const struct btf_type *t = skep_btf_type(btf, ptr->type);

	if (t && T_KIND(t) == BTF_KIND_TYPE_TAG && !T_KFLAG(t))
		for (unsigned i = 0; i < 3; i++)
			if (!strcmp(name_at(btf, t->name_off), tags[i].tag))
				return tags[i].flag;
	return 0;
}

static int walk_ptr(struct venv *env, const struct skep_btf *btf, const struct btf_type *outer,
		    const struct btf_member *m, const struct btf_type *ptr, int at, int msize,
		    int off, int size, uint32_t *next, uint32_t *flags, const char **field)
{
	const struct btf_type *to;
	uint32_t id;

	if (msize != size || off != at)
		return skep_v_refuse(env, EACCES, W_BOUNDS_MEM, -1,
				     "cannot access ptr member %s with moff %u in struct %s with "
				     "off %u size %u\n",
				     name_at(btf, m->name_off), (unsigned)at,
				     name_at(btf, outer->name_off), (unsigned)off, (unsigned)size);
	to = skep_btf_skip_mods(btf, ptr->type, &id);
	if (to && skep_btf_is_struct(to)) {
		*next = id;
		*flags |= tag_flags(btf, ptr);
		if (field)
			*field = name_at(btf, m->name_off);
		return W_PTR;
	}
	return W_PTR_UNTRUSTED;
}

int skep_v_struct_walk(struct venv *env, const struct skep_btf *btf, uint32_t id, int off, int size,
		       uint32_t *next, uint32_t *flags, const char **field)
{
	for (;;) {
		const struct btf_type *t = skep_btf_skip_mods(btf, id, &id);
		const struct btf_member *m;
		uint32_t n;
		bool deeper = false;

		if (!t || !skep_btf_is_struct(t))
			return skep_v_refuse(env, EINVAL, W_TYPE, -1, "Type '%s' is not a struct\n",
					     t ? name_at(btf, t->name_off) : "");
		n = T_VLEN(t);
		if (T_KIND(t) == BTF_KIND_UNION && n != 1)
			*flags |= V_UNTRUSTED;
		if ((uint32_t)off + (uint32_t)size > t->size) {
			int r = beyond(env, btf, t, &off, size, &id);

			if (r)
				return r;
			continue;
		}
		m = skep_btf_members(t);
		for (uint32_t i = 0; i < n; i++, m++) {
			uint32_t bits = skep_btf_member_bits(t, m), elem;
			uint32_t field_bits = skep_btf_member_bitfield(t, m);
			int at = (int)(bits / 8), end;
			const struct btf_type *mt;
			int64_t msize;

			if (off + size <= at)
				break;
			if (field_bits) {
				if (off <= at && (int)((bits + field_bits + 7) / 8) <= off + size)
					return W_SCALAR;
				continue;
			}
			if (off < at)
				break;
			mt = skep_btf_skip_mods(btf, m->type, &elem);
			msize = skep_btf_size(btf, m->type);
			if (!mt || msize < 0)
				return skep_v_refuse(env, EFAULT, W_TYPE, -1,
						     "field %s doesn't have size\n",
						     name_at(btf, m->name_off));
			end = at + (int)msize;
			if (off >= end)
				continue;
			while (T_KIND(mt) == BTF_KIND_ARRAY) {
				mt = skep_btf_skip_mods(btf, skep_btf_array(mt)->type, &elem);
				if (!mt)
					return -EFAULT;
			}
			if (skep_btf_size(btf, elem) > 0 && msize != skep_btf_size(btf, elem)) {
				msize = skep_btf_size(btf, elem);
				at += (off - at) / (int)msize * (int)msize;
			}
			if (skep_btf_is_struct(mt)) {
				if (off == at) {
					*next = elem;
					return W_STRUCT;
				}
				off -= at;
				id = elem;
				deeper = true;
				break;
			}
			if (T_KIND(mt) == BTF_KIND_PTR)
				return walk_ptr(env, btf, t, m, mt, at, (int)msize, off, size, next,
						flags, field);
			if (off + size > end)
				return skep_v_refuse(
					env, EACCES, W_BOUNDS_MEM, -1,
					"access beyond the end of member %s (mend:%u) in struct %s "
					"with off %u size %u\n",
					name_at(btf, m->name_off), (unsigned)end,
					name_at(btf, t->name_off), (unsigned)off, (unsigned)size);
			return W_SCALAR;
		}
		if (!deeper)
			return skep_v_refuse(env, EINVAL, W_TYPE, -1,
					     "struct %s doesn't have field at offset %d\n",
					     name_at(btf, t->name_off), off);
	}
}

/* The same type: ids of one BTF. */
bool skep_v_types_match(struct venv *env, const struct skep_btf *btf, uint32_t id, int off,
			const struct skep_btf *need_btf, uint32_t need, bool strict)
{
	uint32_t flags = 0;

	if (!off && btf == need_btf && id == need)
		return true;
	if (strict)
		return false;
	do {
		if (skep_v_struct_walk(env, btf, id, off, 1, &id, &flags, NULL) != W_STRUCT)
			return false;
		off = 0;
	} while (btf != need_btf || id != need);
	return true;
}

/* ---- Fields that keep their parent's trust ---- */

struct trust {
	const char *type, *field;
};

/* Valid while the read side is held, if the structure is. */
static const struct trust rcu[] = {
	{"task_struct", "cpus_ptr"},
	{"task_struct", "cgroups"},
	{"task_struct", "real_parent"},
	{"task_struct", "group_leader"},
	{"cgroup", "kn"},
	{"css_set", "dfl_cgrp"},
	{"cgroup_subsys_state", "cgroup"},
};
/* The same, and may be NULL. */
static const struct trust rcu_or_null[] = {
	{"mm_struct", "exe_file"},
	{"sk_buff", "sk"},
	{"request_sock", "sk"},
};
static const struct trust trusted[] = {
	{"bpf_iter_meta", "seq"}, {"bpf_iter__task", "meta"}, {"bpf_iter__task", "task"},
	{"linux_binprm", "file"}, {"file", "f_inode"},
};
static const struct trust trusted_or_null[] = {
	{"socket", "sk"},
	{"dentry", "d_inode"},
	{"vm_area_struct", "vm_mm"},
	{"vm_area_struct", "vm_file"},
};

static bool listed(const struct trust *list, size_t n, const struct skep_btf *btf, uint32_t id,
		   const char *field)
{
	const char *type = skep_btf_name(btf, id);

	for (size_t i = 0; i < n; i++)
		if (!strcmp(list[i].type, type) && !strcmp(list[i].field, field))
			return true;
	return false;
}

#define LISTED(list) listed(list, sizeof(list) / sizeof((list)[0]), reg->btf, reg->btf_id, field)

bool skep_v_in_rcu(const struct venv *env)
{
	return env->cur->rcu || env->cur->nlocks || !env->prog->sleepable;
}

static uint32_t trust_of(const struct venv *env, const struct vreg *reg, uint32_t flags,
			 const char *field)
{
	if (reg->flags & V_UNTRUSTED)
		return V_UNTRUSTED;
	if (!skep_v_is_trusted(reg) && !skep_v_is_rcu(reg))
		return flags & ~(TRUST_FLAGS | V_RCU);
	if (LISTED(trusted))
		return flags | V_TRUSTED;
	if (LISTED(trusted_or_null))
		return flags | V_TRUSTED | V_MAYBE_NULL;
	if (!skep_v_in_rcu(env) || reg->flags & V_MAYBE_NULL)
		return V_UNTRUSTED;
	if (LISTED(rcu))
		return flags | V_RCU;
	if (LISTED(rcu_or_null))
		return (flags | V_RCU | V_MAYBE_NULL) & ~V_UNTRUSTED;
	if (flags & V_RCU)
		return flags | V_MAYBE_NULL;
	if (flags & (V_PERCPU_MEM | V_USER))
		return flags;
	return flags & ~(TRUST_FLAGS | V_RCU);
}

/* ---- Accesses ---- */

static int set_loaded(struct venv *env, int value, int found, const struct skep_btf *btf,
		      uint32_t id, uint32_t flags)
{
	struct vreg *d;

	if (value < 0)
		return 0;
	d = skep_v_reg(env, (uint32_t)value);
	if (!d)
		return -ENOMEM;
	if (found == W_PTR) {
		skep_v_reg_btf(env, d, btf, id, flags);
	} else if (found == W_PTR_UNTRUSTED) {
		skep_v_reg_zero_ptr(d, V_MEM);
		d->flags = V_RDONLY | V_UNTRUSTED;
	} else {
		skep_v_reg_unknown(d);
		d->precise = !env->priv;
	}
	d->origin = env->insn;
	return 0;
}

static int special_field(struct venv *env, const struct vreg *reg, int off, int size)
{
	struct skep_fields fields = {0};

	if (skep_btf_struct_fields(reg->btf, env->prog->obj.skep, reg->btf_id, &fields))
		return 0;
	for (uint32_t i = 0; i < fields.n; i++) {
		const struct skep_field *f = &fields.f[i];

		if (off < (int)(f->offset + f->size) && (int)f->offset < off + size)
			return skep_v_refuse(env, EACCES, W_LOCK, -1,
					     "direct access to %s is disallowed\n",
					     skep_field_name(f->kind));
	}
	return 0;
}

static int walk(struct venv *env, const struct vreg *reg, int off, int size, uint32_t *id,
		uint32_t *flags, const char **field)
{
	int found;

	*id = reg->btf_id;
	do {
		*flags = 0;
		found = skep_v_struct_walk(env, reg->btf, *id, off, size, id, flags, field);
		off = 0;
	} while (found == W_STRUCT);
	return found == W_PTR && reg->flags & V_ALLOC ? W_SCALAR : found;
}

int skep_v_access_btf(struct venv *env, const struct vreg *reg, int r, int off, int size,
		      enum vacc acc, int value)
{
	const char *type = skep_btf_name(reg->btf, reg->btf_id), *field = "";
	uint32_t id = 0, flags = 0;
	char buf[64];
	int found;

	if (!env->priv)
		return skep_v_refuse(
			env, EPERM, W_TYPE, r,
			"'struct %s' access is allowed only to CAP_PERFMON and CAP_SYS_ADMIN\n",
			type);
	if (!env->prog->gpl && reg->btf->kernel)
		return skep_v_refuse(
			env, EINVAL, W_GPL, r,
			"Cannot access kernel 'struct %s' from non-GPL compatible program\n", type);
	if (off < 0)
		return skep_v_refuse(env, EACCES, W_TYPE, r,
				     "R%d is ptr_%s invalid negative access: off=%d\n", r, type,
				     off);
	if (!v_is_const(reg) || reg->s.bits.value)
		return skep_v_refuse(env, EACCES, W_TYPE, r,
				     "R%d is ptr_%s invalid variable offset: off=%d, var_off=%s\n",
				     r, type, off, skep_v_tnum(reg->s.bits, buf));
	if (reg->flags & V_USER)
		return skep_v_refuse(env, EACCES, W_TYPE, r,
				     "R%d is ptr_%s access user memory: off=%d\n", r, type, off);
	if (reg->flags & V_PERCPU_MEM)
		return skep_v_refuse(env, EACCES, W_TYPE, r,
				     "R%d is ptr_%s access percpu memory: off=%d\n", r, type, off);
	if (acc == V_WRITE && !(reg->flags & V_ALLOC && !(reg->flags & V_UNTRUSTED)))
		return skep_v_refuse(env, EACCES, W_RDONLY, r, "only read is supported\n");
	if (reg->flags & V_ALLOC) {
		found = special_field(env, reg, off, size);
		if (found)
			return found;
	}
	found = walk(env, reg, off, size, &id, &flags, &field);
	if (found < 0 || acc == V_WRITE)
		return found < 0 ? found : 0;
	if (found == W_PTR)
		flags = trust_of(env, reg, flags, field);
	return set_loaded(env, value, found, reg->btf, id, flags);
}

/* ---- Maps themselves ---- */

/* The structure behind a pointer to a map of each type; it begins with a struct bpf_map. */
static const char *const map_structs[] = {
	[BPF_MAP_TYPE_HASH] = "bpf_htab",
	[BPF_MAP_TYPE_ARRAY] = "bpf_array",
	[BPF_MAP_TYPE_PROG_ARRAY] = "bpf_array",
	[BPF_MAP_TYPE_PERF_EVENT_ARRAY] = "bpf_array",
	[BPF_MAP_TYPE_PERCPU_HASH] = "bpf_htab",
	[BPF_MAP_TYPE_PERCPU_ARRAY] = "bpf_array",
	[BPF_MAP_TYPE_STACK_TRACE] = "bpf_stack_map",
	[BPF_MAP_TYPE_CGROUP_ARRAY] = "bpf_array",
	[BPF_MAP_TYPE_LRU_HASH] = "bpf_htab",
	[BPF_MAP_TYPE_LRU_PERCPU_HASH] = "bpf_htab",
	[BPF_MAP_TYPE_LPM_TRIE] = "lpm_trie",
	[BPF_MAP_TYPE_ARRAY_OF_MAPS] = "bpf_array",
	[BPF_MAP_TYPE_HASH_OF_MAPS] = "bpf_htab",
	[BPF_MAP_TYPE_DEVMAP] = "bpf_dtab",
	[BPF_MAP_TYPE_SOCKMAP] = "bpf_stab",
	[BPF_MAP_TYPE_CPUMAP] = "bpf_cpu_map",
	[BPF_MAP_TYPE_XSKMAP] = "xsk_map",
	[BPF_MAP_TYPE_SOCKHASH] = "bpf_shtab",
	[BPF_MAP_TYPE_CGROUP_STORAGE] = "bpf_cgroup_storage_map",
	[BPF_MAP_TYPE_REUSEPORT_SOCKARRAY] = "reuseport_array",
	[BPF_MAP_TYPE_PERCPU_CGROUP_STORAGE] = "bpf_cgroup_storage_map",
	[BPF_MAP_TYPE_QUEUE] = "bpf_queue_stack",
	[BPF_MAP_TYPE_STACK] = "bpf_queue_stack",
	[BPF_MAP_TYPE_SK_STORAGE] = "bpf_local_storage_map",
	[BPF_MAP_TYPE_DEVMAP_HASH] = "bpf_dtab",
	[BPF_MAP_TYPE_STRUCT_OPS] = "bpf_struct_ops_map",
	[BPF_MAP_TYPE_RINGBUF] = "bpf_ringbuf_map",
	[BPF_MAP_TYPE_INODE_STORAGE] = "bpf_local_storage_map",
	[BPF_MAP_TYPE_TASK_STORAGE] = "bpf_local_storage_map",
	[BPF_MAP_TYPE_BLOOM_FILTER] = "bpf_bloom_filter",
	[BPF_MAP_TYPE_USER_RINGBUF] = "bpf_ringbuf_map",
	[BPF_MAP_TYPE_CGRP_STORAGE] = "bpf_local_storage_map",
	[BPF_MAP_TYPE_ARENA] = "bpf_arena",
};

int skep_v_access_map_ptr(struct venv *env, const struct vreg *reg, int r, int off, int size,
			  enum vacc acc, int value)
{
	const struct skep_map *map = skep_v_map(env, reg);
	const char *type = map->type < sizeof(map_structs) / sizeof(map_structs[0])
				   ? map_structs[map->type]
				   : NULL;
	const struct skep_btf *btf = type ? skep_v_vmlinux(env) : NULL;
	int64_t found = btf ? skep_btf_find(btf, type, BTF_KIND_STRUCT) : -ENOENT;
	uint32_t id = 0, flags = 0;
	struct vreg plain;

	if (found < 0)
		return skep_v_refuse(env, V_ENOTSUPP, W_MAP, r,
				     "map_ptr access not supported for map type %u\n", map->type);
	if (!env->priv)
		return skep_v_refuse(
			env, EPERM, W_TYPE, r,
			"'struct %s' access is allowed only to CAP_PERFMON and CAP_SYS_ADMIN\n",
			type);
	if (off < 0)
		return skep_v_refuse(env, EACCES, W_TYPE, r,
				     "R%d is %s invalid negative access: off=%d\n", r, type, off);
	if (acc == V_WRITE)
		return skep_v_refuse(env, EACCES, W_RDONLY, r, "only read from %s is supported\n",
				     type);
	skep_v_reg_btf(env, &plain, btf, (uint32_t)found, 0);
	found = walk(env, &plain, off, size, &id, &flags, NULL);
	return found < 0 ? (int)found : set_loaded(env, value, (int)found, btf, id, flags);
}
