/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Arguments of helpers, checked against the helper's row.
 */
#include "verifier/call.h"

#include <stdio.h>
#include <string.h>

#include "helper/format.h"
#include "verifier/async.h"
#include "verifier/btfptr.h"
#include "verifier/dynptr.h"
#include "verifier/kptr.h"
#include "verifier/mem.h"

#define MAX_SIZE (1 << 29)

/* ---- Types ---- */

#define T(type)      (1u << V_##type)
#define MEMORY       (T(STACK) | T(PKT) | T(PKT_META) | T(MAP_KEY) | T(MAP_VALUE) | T(MEM))
#define MEMORY_NAMES "fp, pkt, pkt_meta, map_key, map_value, mem, ringbuf_mem, buf, trusted_ptr_"

/* Register types that an argument takes, and how the kernel lists them. */
static const struct {
	uint32_t types;
	const char *names;
	bool ringbuf_only;
} compatible[] = {
	[SKEP_ARG_CONST_MAP_PTR] = {T(MAP_PTR), "map_ptr", false},
	[SKEP_ARG_MAP_KEY] = {MEMORY, MEMORY_NAMES, false},
	[SKEP_ARG_MAP_VALUE] = {MEMORY, MEMORY_NAMES, false},
	[SKEP_ARG_MEM] = {MEMORY, MEMORY_NAMES, false},
	[SKEP_ARG_SIZE] = {T(SCALAR), "scalar", false},
	[SKEP_ARG_SIZE_OR_ZERO] = {T(SCALAR), "scalar", false},
	[SKEP_ARG_CTX] = {T(CTX), "ctx", false},
	[SKEP_ARG_SPIN_LOCK] = {T(MAP_VALUE), "map_value, ptr_", false},
	[SKEP_ARG_TIMER] = {T(MAP_VALUE), "map_value", false},
	[SKEP_ARG_ALLOC_MEM] = {T(MEM), "ringbuf_mem", true},
	[SKEP_ARG_ALLOC_SIZE_OR_ZERO] = {T(SCALAR), "scalar", false},
	[SKEP_ARG_FUNC] = {T(FUNC), "func", false},
	[SKEP_ARG_CONST_STR] = {T(MAP_VALUE), "map_value", false},
	[SKEP_ARG_STACK] = {T(STACK), "fp", false},
	[SKEP_ARG_SOCK_COMMON] = {T(SOCK) | T(SOCK_COMMON) | T(TCP_SOCK) | T(XDP_SOCK),
				  "sock_common, sock, tcp_sock, xdp_sock", false},
	[SKEP_ARG_BTF_SOCK_COMMON] = {T(SOCK) | T(SOCK_COMMON) | T(TCP_SOCK) | T(XDP_SOCK) | T(BTF),
				      "sock_common, sock, tcp_sock, xdp_sock, ptr_, trusted_ptr_",
				      false},
	[SKEP_ARG_SOCKET] = {T(SOCK), "sock", false},
	[SKEP_ARG_PERCPU_BTF_ID] = {T(PERCPU) | T(BTF),
				    "percpu_ptr_, percpu_rcu_ptr_, percpu_trusted_ptr_", false},
	[SKEP_ARG_DYNPTR] = {T(STACK) | T(DYNPTR), "fp, dynptr_ptr", false},
	[SKEP_ARG_BTF_ID] = {T(BTF), "ptr_, trusted_ptr_, rcu_ptr_", false},
	[SKEP_ARG_KPTR] = {T(MAP_VALUE) | T(BTF), "map_value, ptr_", false},
};

/* A pointer to a structure: the one that is wanted, or one that begins with it. */
static int check_btf(struct venv *env, const struct vreg *reg, int r, uint16_t arg,
		     const char *need, bool strict)
{
	const struct skep_btf *btf = skep_v_vmlinux(env);
	int64_t id = btf ? skep_btf_find(btf, need, BTF_KIND_STRUCT) : -ENOENT;

	if (reg->flags & V_MAYBE_NULL && (!(arg & SKEP_ARG_MAYBE_NULL) || arg & SKEP_ARG_RELEASE))
		return skep_v_refuse(env, EACCES, W_NULL, r,
				     "Possibly NULL pointer passed to helper arg%d\n", r);
	if (id > 0 &&
	    skep_v_types_match(env, reg->btf, reg->btf_id, reg->off, btf, (uint32_t)id, strict))
		return 0;
	return skep_v_refuse(env, EACCES, W_ARG_TYPE, r, "R%d is of type %s but %s is expected\n",
			     r, skep_btf_name(reg->btf, reg->btf_id), need);
}

static int check_type(struct venv *env, const struct vcall *c, const struct vreg *reg, int r,
		      uint16_t arg)
{
	uint8_t kind = (uint8_t)arg;
	uint16_t flags = reg->flags;
	char name[64];
	bool ok;

	if (arg & SKEP_ARG_RDONLY)
		flags &= (uint16_t)~V_RDONLY;
	if (arg & SKEP_ARG_MAYBE_NULL)
		flags &= (uint16_t)~V_MAYBE_NULL;
	if (kind >= sizeof(compatible) / sizeof(compatible[0]) || !compatible[kind].names)
		return skep_v_refuse(env, EFAULT, W_ARG_TYPE, r, "unsupported arg_type %d\n", kind);
	ok = compatible[kind].types >> reg->type & 1 && !(flags & (V_MAYBE_NULL | V_RDONLY));
	if (compatible[kind].ringbuf_only)
		ok = ok && flags & V_RINGBUF;
	if (ok && kind == SKEP_ARG_BTF_SOCK_COMMON && reg->type == V_BTF) {
		ok = !(flags & ~V_TRUSTED);
		if (ok)
			return check_btf(env, reg, r, arg, "sock_common", false);
	} else if (ok && kind == SKEP_ARG_BTF_ID && c->row->arg_type) {
		ok = !(flags & ~V_TRUSTED);
		if (ok)
			return check_btf(env, reg, r, arg, c->row->arg_type, false);
	} else if (ok && kind == SKEP_ARG_BTF_ID) {
		/* Of objects that the program made, it is the field that says what is right. */
		ok = !(flags & ~(V_TRUSTED | V_RCU | V_ALLOC | V_PERCPU_MEM)) &&
		     (!(flags & V_RCU) || !(flags & ~V_RCU));
		if (ok && reg->flags & V_MAYBE_NULL && arg & SKEP_ARG_RELEASE)
			return skep_v_refuse(env, EACCES, W_NULL, r,
					     "Possibly NULL pointer passed to helper arg%d\n", r);
		if (ok)
			return skep_v_kptr_match(env, c, reg, r);
	} else if (ok && kind == SKEP_ARG_PERCPU_BTF_ID && reg->type == V_BTF) {
		ok = flags == V_PERCPU_MEM || flags == (V_PERCPU_MEM | V_RCU) ||
		     flags == (V_PERCPU_MEM | V_TRUSTED);
	} else if (ok && kind == SKEP_ARG_KPTR && reg->type == V_BTF) {
		ok = flags == V_ALLOC;
	}
	if (ok)
		return 0;
	return skep_v_refuse(env, EACCES,
			     reg->flags & V_MAYBE_NULL && compatible[kind].types >> reg->type & 1
				     ? W_NULL
				     : W_ARG_TYPE,
			     r, "R%d type=%s expected=%s\n", r, skep_v_type_name(reg, name),
			     compatible[kind].names);
}

static int check_offset(struct venv *env, const struct vreg *reg, int r, uint16_t arg)
{
	if (arg & SKEP_ARG_RELEASE) {
		if ((arg & SKEP_ARG_KIND) == SKEP_ARG_DYNPTR && reg->type == V_STACK)
			return 0;
		if (reg->off)
			return skep_v_refuse(
				env, EINVAL, W_ARG_TYPE, r,
				"R%d must have zero offset when passed to release func or "
				"trusted arg to kfunc\n",
				r);
		return skep_v_ptr_reg_off(env, reg, r, false);
	}
	if ((MEMORY | T(SCALAR)) >> reg->type & 1)
		return 0;
	return skep_v_ptr_reg_off(env, reg, r, reg->type == V_BTF);
}

/* ---- Memory with a size ---- */

static int mem_of(struct venv *env, struct vcall *c, int r, int size, uint16_t arg, bool zero_ok,
		  bool fixed)
{
	enum vacc acc = arg & SKEP_ARG_WRITE ? V_WRITE : V_READ;
	const struct vreg *reg = v_reg(env, (uint32_t)r);
	bool uninit = c->raw && fixed && reg->type == V_STACK && v_is_const(reg);
	int err = skep_v_mem_arg(env, r, size, acc, zero_ok, uninit);

	if (!err && uninit) {
		c->raw_reg = r;
		c->raw_size = (uint32_t)size;
	}
	return err;
}

static int size_arg(struct venv *env, struct vcall *c, int r, bool zero_ok)
{
	const struct vreg *reg = v_reg(env, (uint32_t)r);
	uint16_t mem = c->row->arg[r - 2];
	int err;

	c->max_size = reg->s.umax;
	if (reg->s.smin < 0)
		return skep_v_refuse(
			env, EACCES, W_UNBOUNDED, r,
			"R%d min value is negative, either use unsigned or 'var &= const'\n", r);
	if (!reg->s.umin && !zero_ok)
		return skep_v_refuse(env, EACCES, W_BOUNDS_MEM, r,
				     "R%d invalid zero-sized read: u64=[%lld,%lld]\n", r,
				     (long long)reg->s.umin, (long long)reg->s.umax);
	if (reg->s.umax >= MAX_SIZE)
		return skep_v_refuse(
			env, EACCES, W_UNBOUNDED, r,
			"R%d unbounded memory access, use 'var &= const' or 'if (var < const)'\n",
			r);
	err = mem_of(env, c, r - 1, (int)reg->s.umax, mem, zero_ok, v_is_const(reg));
	return err ? err : skep_v_precise(env, r);
}

/* ---- Maps ---- */

static bool can_elide(uint32_t map_type)
{
	return map_type == BPF_MAP_TYPE_ARRAY || map_type == BPF_MAP_TYPE_PERCPU_ARRAY;
}

/* The key's value, if it is a constant on the stack. */
static int constant_key(struct venv *env, const struct vreg *key, uint32_t size, int64_t *val)
{
	const struct vstack *stack;
	const struct vslot *s;
	uint32_t zeros = 0, spills = 0, spi;
	int64_t off;

	*val = -1;
	if (key->type != V_STACK || !v_is_const(key))
		return 0;
	off = key->off + (int64_t)key->s.bits.value;
	stack = env->cur->frame[key->frameno]->stack;
	spi = (uint32_t)((-off - 1) / 8);
	if (off >= 0 || !stack || spi >= stack->n)
		return 0;
	s = &stack->slot[spi];
	for (int k = (int)((-off - 1) % 8); k >= 0 && s->kind[k] == V_ZERO; k--)
		zeros++;
	if (zeros >= size) {
		*val = 0;
		return 0;
	}
	if (s->kind[7] != V_SPILL || !v_is_scalar(&s->reg))
		return 0;
	for (int k = (int)((-off - 1) % 8); k >= 0 && s->kind[k] == V_SPILL; k--)
		spills++;
	if (spills != size || !v_is_const(&s->reg))
		return 0;
	*val = (int64_t)s->reg.s.bits.value;
	return skep_v_precise_stack(env, key->frameno, spi);
}

static int key_arg(struct venv *env, struct vcall *c, int r)
{
	struct vreg key = *v_reg(env, (uint32_t)r);
	int err;

	if (!c->map)
		return skep_v_refuse(env, EACCES, W_MAP, r, "invalid map_ptr to access map->key\n");
	err = skep_v_mem_arg(env, r, (int)c->map->key_size, V_READ, false, false);
	if (err || !can_elide(c->map->type))
		return err;
	return constant_key(env, &key, c->map->key_size, &c->const_key);
}

static int const_str(struct venv *env, struct vreg *reg, int r)
{
	const struct skep_map *map = skep_v_map(env, reg);
	void *base;
	uint64_t avail, at;
	int err;

	if (!(map->flags & BPF_F_RDONLY_PROG) || !map->frozen || map->writes)
		return skep_v_refuse(env, EACCES, W_RDONLY, r,
				     "R%d does not point to a readonly map'\n", r);
	if (!v_is_const(reg))
		return skep_v_refuse(env, EACCES, W_ARG_TYPE, r, "R%d is not a constant address'\n",
				     r);
	if (!map->ops->direct || reg->inner)
		return skep_v_refuse(env, EACCES, W_MAP, r,
				     "no direct value access support for this map type\n");
	at = (uint64_t)((int64_t)reg->s.bits.value + reg->off);
	err = skep_v_region(env, reg, r, reg->off, (int)(map->value_size - at), map->value_size,
			    false);
	if (err)
		return err;
	if (env->maps[reg->map]->ops->direct(env->maps[reg->map], &base, &avail) || at >= avail)
		return skep_v_refuse(env, EACCES, W_MAP, r,
				     "direct value access on string failed\n");
	if (!memchr((const char *)base + at, 0, map->value_size - at))
		return skep_v_refuse(env, EINVAL, W_ARG_TYPE, r, "string is not zero-terminated\n");
	return 0;
}

int skep_v_const_str(struct venv *env, int r, uint32_t arg)
{
	struct vreg reg = *v_reg(env, (uint32_t)r);

	if (reg.type != V_MAP_VALUE)
		return skep_v_refuse(env, EINVAL, W_ARG_TYPE, r,
				     "arg#%u doesn't point to a const string\n", arg);
	return const_str(env, &reg, r);
}

/* ---- Locks ---- */

static const struct skep_field *lock_field(const struct skep_map *map)
{
	for (uint32_t i = 0; i < map->fields.n; i++)
		if (map->fields.f[i].kind == SKEP_FIELD_SPIN_LOCK)
			return &map->fields.f[i];
	return NULL;
}

static int lock_arg(struct venv *env, const struct vcall *c, const struct vreg *reg, int r)
{
	const struct skep_map *map = skep_v_map(env, reg);
	const struct skep_field *f = lock_field(map);
	struct vstate *st = env->cur;
	int64_t at;
	int err;

	if (!v_is_const(reg))
		return skep_v_refuse(
			env, EINVAL, W_LOCK, r,
			"R%d doesn't have constant offset. bpf_spin_lock has to be at the "
			"constant offset\n",
			r);
	if (!map->btf)
		return skep_v_refuse(env, EINVAL, W_LOCK, r,
				     "map '%s' has to have BTF in order to use bpf_spin_lock\n",
				     map->name);
	if (!f)
		return skep_v_refuse(env, EINVAL, W_LOCK, r,
				     "map '%s' has no valid bpf_spin_lock\n", map->name);
	at = (int64_t)reg->s.bits.value + reg->off;
	if (at != f->offset)
		return skep_v_refuse(
			env, EINVAL, W_LOCK, r,
			"off %lld doesn't point to 'struct bpf_spin_lock' that is at %u\n",
			(long long)at, f->offset);
	if (c->id == BPF_FUNC_spin_lock) {
		if (st->nlocks)
			return skep_v_refuse(env, EINVAL, W_LOCK, r,
					     "Locking two bpf_spin_locks are not allowed\n");
		err = skep_v_ref_add(env, st, reg->id, V_REF_LOCK, map);
		if (err)
			return err;
		st->nlocks = 1;
		st->lock_id = reg->id;
		st->lock_ptr = map;
		return 0;
	}
	if (!st->nlocks)
		return skep_v_refuse(env, EINVAL, W_LOCK, r,
				     "bpf_spin_unlock without taking a lock\n");
	for (uint32_t i = 0; st->refs && i < st->refs->n; i++)
		if (st->refs->r[i].kind == V_REF_LOCK && st->refs->r[i].id == reg->id &&
		    st->refs->r[i].ptr == map) {
			err = skep_v_ref_del(env, st, i);
			st->nlocks = 0;
			st->lock_id = 0;
			st->lock_ptr = NULL;
			return err;
		}
	return skep_v_refuse(env, EINVAL, W_LOCK, r, "bpf_spin_unlock of different lock\n");
}

/* ---- Dynptrs ---- */

static int dynptr_arg(struct venv *env, struct vcall *c, int r, uint16_t arg)
{
	struct vdynptr d;
	int err = skep_v_dynptr_arg(env, r, arg, c->row->size[r - 1], 0);

	if (err || arg & (SKEP_ARG_UNINIT | SKEP_ARG_RELEASE))
		return err;
	d = skep_v_dynptr(env, r);
	c->moves_pkt = c->id == BPF_FUNC_dynptr_write &&
		       (d.kind == SKEP_DYNPTR_SKB || d.kind == SKEP_DYNPTR_META);
	if (c->row->ret == SKEP_RET_DYNPTR_MEM_OR_NULL) {
		c->dynptr = d.id;
		c->ref = d.ref;
	}
	return 0;
}

/* ---- One argument ---- */

static int by_kind(struct venv *env, struct vcall *c, int r, uint16_t arg)
{
	struct vreg reg = *v_reg(env, (uint32_t)r);
	bool is_null = v_is_null(&reg);

	switch (arg & SKEP_ARG_KIND) {
	case SKEP_ARG_TIMER:
		c->map = skep_v_map(env, &reg);
		c->map_index = -1;
		c->map_uid = reg.map_uid;
		c->map_of_field = true;
		return skep_v_field_arg(env, r, SKEP_FIELD_TIMER);
	case SKEP_ARG_CONST_MAP_PTR:
		if (c->map_of_field &&
		    (c->map != skep_v_map(env, &reg) || c->map_uid != reg.map_uid))
			return skep_v_refuse(env, EINVAL, W_MAP, r,
					     "timer pointer in R1 map_uid=%u doesn't match map "
					     "pointer in R2 map_uid=%u\n",
					     c->map_uid, reg.map_uid);
		c->map = skep_v_map(env, &reg);
		c->map_index = reg.inner ? -1 : reg.map;
		c->map_inner = reg.inner;
		c->map_uid = reg.map_uid;
		return 0;
	case SKEP_ARG_MAP_KEY:
		return key_arg(env, c, r);
	case SKEP_ARG_MAP_VALUE:
		if (arg & SKEP_ARG_MAYBE_NULL && is_null)
			return 0;
		if (!c->map)
			return skep_v_refuse(env, EACCES, W_MAP, r,
					     "invalid map_ptr to access map->value\n");
		c->raw = arg & SKEP_ARG_UNINIT;
		return mem_of(env, c, r, (int)c->map->value_size, arg, false, true);
	case SKEP_ARG_MEM:
		c->raw = arg & SKEP_ARG_UNINIT;
		if (!(arg & SKEP_ARG_FIXED_SIZE))
			return 0; /* checked with its size */
		{
			int size = c->row->size[r - 1];
			int err = mem_of(env, c, r, size, arg, false, true);

			if (!err && arg & SKEP_ARG_ALIGNED && reg.type != V_SCALAR)
				err = skep_v_arg_align(env, &reg, size);
			return err;
		}
	case SKEP_ARG_SIZE:
		return size_arg(env, c, r, false);
	case SKEP_ARG_SIZE_OR_ZERO:
		return size_arg(env, c, r, true);
	case SKEP_ARG_DYNPTR:
		return dynptr_arg(env, c, r, arg);
	case SKEP_ARG_ALLOC_SIZE_OR_ZERO:
		if (!v_is_const(&reg))
			return skep_v_refuse(env, EACCES, W_ARG_TYPE, r,
					     "R%d is not a known constant'\n", r);
		c->mem_size = reg.s.bits.value;
		return skep_v_precise(env, r);
	case SKEP_ARG_SPIN_LOCK:
		return lock_arg(env, c, &reg, r);
	case SKEP_ARG_KPTR:
		return skep_v_kptr_dest(env, c, r);
	case SKEP_ARG_PERCPU_BTF_ID:
		c->btf_id = reg.btf_id;
		c->percpu_btf = reg.type == V_BTF ? reg.btf : NULL;
		c->percpu_rcu = reg.flags & V_RCU;
		return 0;
	case SKEP_ARG_FUNC:
		c->subprog = reg.subprog;
		return 0;
	case SKEP_ARG_CONST_STR:
		return const_str(env, &reg, r);
	default:
		return 0;
	}
}

int skep_v_arg(struct venv *env, struct vcall *c, unsigned i)
{
	uint16_t arg = c->row->arg[i];
	int r = (int)i + 1, err;
	const struct vreg *reg;
	uint32_t ref;

	if ((arg & SKEP_ARG_KIND) == SKEP_ARG_NONE)
		return 0;
	err = skep_v_read_reg(env, (uint32_t)r, true);
	if (err)
		return err;
	reg = v_reg(env, (uint32_t)r);
	/* What such a map holds is a socket. */
	if ((arg & SKEP_ARG_KIND) == SKEP_ARG_MAP_VALUE && c->map && skep_v_is_sockmap(c->map))
		arg = SKEP_ARG_BTF_SOCK_COMMON;
	if ((arg & SKEP_ARG_KIND) == SKEP_ARG_ANYTHING) {
		if (!env->priv && !v_is_scalar(reg))
			return skep_v_refuse(env, EACCES, W_LEAK, r,
					     "R%d leaks addr into helper function\n", r);
		return 0;
	}
	if (v_is_pkt(reg) && !(c->row->flags & SKEP_HELPER_PKT && env->prog->ops->direct_packet) &&
	    !env->prog->ops->packet_args)
		return skep_v_refuse(env, EACCES, W_HELPER, r,
				     "helper access to the packet is not allowed\n");
	if (!(v_is_null(reg) && arg & SKEP_ARG_MAYBE_NULL)) {
		err = check_type(env, c, reg, r, arg);
		if (!err)
			err = check_offset(env, reg, r, arg);
		if (err)
			return err;
	}
	ref = reg->ref;
	if (arg & SKEP_ARG_RELEASE) {
		if ((arg & SKEP_ARG_KIND) == SKEP_ARG_DYNPTR) {
			err = skep_v_dynptr_owned(env, r);
			if (err)
				return err;
			c->dynptr_release = true;
		} else if (!ref && !v_is_null(reg))
			return skep_v_refuse(
				env, EINVAL, W_ARG_TYPE, r,
				"R%d must be referenced when passed to release function\n", r);
		c->release = r;
	}
	if (ref && (arg & SKEP_ARG_KIND) != SKEP_ARG_KPTR) {
		if (c->ref)
			return skep_v_refuse(env, EFAULT, W_ARG_TYPE, r,
					     "more than one arg with ref_obj_id R%d %u %u\n", r,
					     ref, c->ref);
		c->ref = ref;
	}
	return by_kind(env, c, r, arg);
}

/* ---- Which helpers go with which maps ---- */

#define F(name) BPF_FUNC_##name
#define M(name) BPF_MAP_TYPE_##name

/* Maps that only some helpers take. */
static const struct {
	uint8_t map;
	uint8_t funcs[6];
} restricted_maps[] = {
	{M(PROG_ARRAY), {F(tail_call)}},
	{M(PERF_EVENT_ARRAY),
	 {F(perf_event_read), F(perf_event_output), F(skb_output), F(perf_event_read_value),
	  F(xdp_output)}},
	{M(RINGBUF),
	 {F(ringbuf_output), F(ringbuf_reserve), F(ringbuf_query), F(ringbuf_reserve_dynptr)}},
	{M(STACK_TRACE), {F(get_stackid)}},
	{M(DEVMAP), {F(redirect_map), F(map_lookup_elem)}},
	{M(DEVMAP_HASH), {F(redirect_map), F(map_lookup_elem)}},
	{M(CPUMAP), {F(redirect_map)}},
	{M(XSKMAP), {F(redirect_map), F(map_lookup_elem)}},
	{M(ARRAY_OF_MAPS), {F(map_lookup_elem)}},
	{M(HASH_OF_MAPS), {F(map_lookup_elem)}},
	{M(QUEUE), {F(map_peek_elem), F(map_pop_elem), F(map_push_elem)}},
	{M(STACK), {F(map_peek_elem), F(map_pop_elem), F(map_push_elem)}},
	{M(BLOOM_FILTER), {F(map_peek_elem), F(map_push_elem)}},
	{M(CGROUP_ARRAY), {F(skb_under_cgroup), F(current_task_under_cgroup)}},
	{M(CGROUP_STORAGE), {F(get_local_storage)}},
	{M(PERCPU_CGROUP_STORAGE), {F(get_local_storage)}},
	{M(REUSEPORT_SOCKARRAY), {F(sk_select_reuseport)}},
	{M(SOCKMAP),
	 {F(sk_redirect_map), F(sock_map_update), F(msg_redirect_map), F(sk_select_reuseport),
	  F(map_lookup_elem)}},
	{M(SOCKHASH),
	 {F(sk_redirect_hash), F(sock_hash_update), F(msg_redirect_hash), F(sk_select_reuseport),
	  F(map_lookup_elem)}},
	{M(SK_STORAGE), {F(sk_storage_get), F(sk_storage_delete), F(kptr_xchg)}},
	{M(INODE_STORAGE), {F(inode_storage_get), F(inode_storage_delete), F(kptr_xchg)}},
	{M(TASK_STORAGE), {F(task_storage_get), F(task_storage_delete), F(kptr_xchg)}},
	{M(CGRP_STORAGE), {F(cgrp_storage_get), F(cgrp_storage_delete), F(kptr_xchg)}},
	{M(USER_RINGBUF), {F(user_ringbuf_drain)}},
};

/* Helpers that take only some maps. */
static const struct {
	uint8_t func;
	uint8_t maps[4];
} restricted_funcs[] = {
	{F(tail_call), {M(PROG_ARRAY)}},
	{F(perf_event_output), {M(PERF_EVENT_ARRAY)}},
	{F(ringbuf_output), {M(RINGBUF)}},
	{F(ringbuf_reserve), {M(RINGBUF)}},
	{F(ringbuf_query), {M(RINGBUF)}},
	{F(ringbuf_reserve_dynptr), {M(RINGBUF)}},
	{F(get_stackid), {M(STACK_TRACE)}},
	{F(redirect_map), {M(DEVMAP), M(DEVMAP_HASH), M(CPUMAP), M(XSKMAP)}},
	{F(map_peek_elem), {M(QUEUE), M(STACK), M(BLOOM_FILTER)}},
	{F(map_push_elem), {M(QUEUE), M(STACK), M(BLOOM_FILTER)}},
	{F(map_pop_elem), {M(QUEUE), M(STACK)}},
	{F(skb_under_cgroup), {M(CGROUP_ARRAY)}},
	{F(current_task_under_cgroup), {M(CGROUP_ARRAY)}},
	{F(get_local_storage), {M(CGROUP_STORAGE), M(PERCPU_CGROUP_STORAGE)}},
	{F(sk_select_reuseport), {M(REUSEPORT_SOCKARRAY), M(SOCKMAP), M(SOCKHASH)}},
	{F(sk_redirect_map), {M(SOCKMAP)}},
	{F(msg_redirect_map), {M(SOCKMAP)}},
	{F(sock_map_update), {M(SOCKMAP)}},
	{F(sk_redirect_hash), {M(SOCKHASH)}},
	{F(msg_redirect_hash), {M(SOCKHASH)}},
	{F(sock_hash_update), {M(SOCKHASH)}},
	{F(sk_storage_get), {M(SK_STORAGE)}},
	{F(sk_storage_delete), {M(SK_STORAGE)}},
	{F(inode_storage_get), {M(INODE_STORAGE)}},
	{F(inode_storage_delete), {M(INODE_STORAGE)}},
	{F(task_storage_get), {M(TASK_STORAGE)}},
	{F(task_storage_delete), {M(TASK_STORAGE)}},
	{F(cgrp_storage_get), {M(CGRP_STORAGE)}},
	{F(cgrp_storage_delete), {M(CGRP_STORAGE)}},
	{F(user_ringbuf_drain), {M(USER_RINGBUF)}},
	{F(map_lookup_percpu_elem), {M(PERCPU_ARRAY), M(PERCPU_HASH), M(LRU_PERCPU_HASH)}},
};

static bool among(uint32_t x, const uint8_t *list, unsigned n)
{
	for (unsigned i = 0; i < n && list[i]; i++)
		if (list[i] == x)
			return true;
	return false;
}

/* Programs that run where no socket is locked, so that changing a map of sockets is safe. */
static int may_change_sockmap(struct venv *env, const struct vcall *c)
{
	switch (env->prog->type) {
	case BPF_PROG_TYPE_SOCKET_FILTER:
	case BPF_PROG_TYPE_SCHED_CLS:
	case BPF_PROG_TYPE_SCHED_ACT:
	case BPF_PROG_TYPE_XDP:
	case BPF_PROG_TYPE_SK_REUSEPORT:
	case BPF_PROG_TYPE_FLOW_DISSECTOR:
	case BPF_PROG_TYPE_SK_LOOKUP:
		return 0;
	case BPF_PROG_TYPE_TRACING:
		if (env->prog->attach_type == BPF_TRACE_ITER)
			return 0;
		break;
	case BPF_PROG_TYPE_SOCK_OPS: /* updates through helpers of their own */
		if (c->id == BPF_FUNC_map_delete_elem)
			return 0;
		break;
	default:
		break;
	}
	skep_v_log(env, "cannot update sockmap in this context\n");
	return -EACCES;
}

int skep_v_map_for_helper(struct venv *env, const struct vcall *c)
{
	bool ok = true;

	if (!c->map)
		return 0;
	if (skep_v_is_sockmap(c->map) &&
	    (c->id == BPF_FUNC_map_update_elem || c->id == BPF_FUNC_map_delete_elem) &&
	    !may_change_sockmap(env, c))
		return 0;
	for (unsigned i = 0; i < sizeof(restricted_maps) / sizeof(restricted_maps[0]); i++)
		if (restricted_maps[i].map == c->map->type)
			ok &= among(c->id, restricted_maps[i].funcs, 6);
	for (unsigned i = 0; i < sizeof(restricted_funcs) / sizeof(restricted_funcs[0]); i++)
		if (restricted_funcs[i].func == c->id)
			ok &= among(c->map->type, restricted_funcs[i].maps, 4);
	if (ok)
		return 0;
	return skep_v_refuse(env, EINVAL, W_MAP, -1,
			     "cannot pass map_type %u into func bpf_%s#%u\n", c->map->type, c->name,
			     c->id);
}
