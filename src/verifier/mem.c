/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Memory through pointers: alignment, bounds, and what a load yields. The stack
 * has a file of its own (stack.c).
 */
#include "verifier/mem.h"

#include <string.h>

#include "btf/btf.h"
#include "verifier/btfptr.h"
#include "verifier/kptr.h"

#define MIN_NEGATIVE                                                                               \
	"R%d min value is negative, either use unsigned index or do a if (index >=0) check.\n"

static int out_of_bounds(struct venv *env, const struct vreg *reg, int r, int64_t off, int size,
			 uint32_t mem_size)
{
	switch (reg->type) {
	case V_MAP_KEY:
		return skep_v_refuse(env, EACCES, W_BOUNDS_MAP, r,
				     "invalid access to map key, key_size=%d off=%d size=%d\n",
				     (int)mem_size, (int)off, size);
	case V_MAP_VALUE:
		return skep_v_refuse(env, EACCES, W_BOUNDS_MAP, r,
				     "invalid access to map value, value_size=%d off=%d size=%d\n",
				     (int)mem_size, (int)off, size);
	case V_PKT:
	case V_PKT_META:
	case V_PKT_END:
		return skep_v_refuse(
			env, EACCES, W_BOUNDS_PACKET, r,
			"invalid access to packet, off=%d size=%d, R%d(id=%d,off=%d,r=%d)\n",
			(int)off, size, r, (int)reg->id, (int)off, (int)mem_size);
	default:
		return skep_v_refuse(env, EACCES, W_BOUNDS_MEM, r,
				     "invalid access to memory, mem_size=%u off=%d size=%d\n",
				     mem_size, (int)off, size);
	}
}

static int check_region(struct venv *env, const struct vreg *reg, int r, int64_t off, int size,
			uint32_t mem_size, bool zero_ok)
{
	bool size_ok = size > 0 || (size == 0 && zero_ok);

	/* Offsets are compared as the kernel keeps them, in 32 bits. */
	if (off >= 0 && size_ok && (uint64_t)off + (uint64_t)size <= mem_size)
		return 0;
	return out_of_bounds(env, reg, r, off, size, mem_size);
}

int skep_v_region(struct venv *env, const struct vreg *reg, int r, int off, int size,
		  uint32_t mem_size, bool zero_ok)
{
	int err;

	if (reg->s.smin < 0 &&
	    (reg->s.smin == INT64_MIN || off + reg->s.smin != (int32_t)(off + reg->s.smin) ||
	     reg->s.smin + off < 0))
		return skep_v_refuse(env, EACCES, W_UNBOUNDED, r, MIN_NEGATIVE, r);
	err = check_region(env, reg, r, reg->s.smin + off, size, mem_size, zero_ok);
	if (err)
		return skep_v_refuse(env, -err, env->why, r,
				     "R%d min value is outside of the allowed memory range\n", r);
	if (reg->s.umax >= V_MAX_OFF)
		return skep_v_refuse(
			env, EACCES, W_UNBOUNDED, r,
			"R%d unbounded memory access, make sure to bounds check any such access\n",
			r);
	err = check_region(env, reg, r, (int64_t)(reg->s.umax + (uint64_t)(int64_t)off), size,
			   mem_size, zero_ok);
	if (err)
		return skep_v_refuse(env, -err, env->why, r,
				     "R%d max value is outside of the allowed memory range\n", r);
	return 0;
}

int skep_v_map_value(struct venv *env, const struct vreg *reg, int r, int off, int size,
		     bool zero_ok, bool helper)
{
	const struct skep_map *map = skep_v_map(env, reg);
	int err = skep_v_region(env, reg, r, off, size, map->value_size, zero_ok);

	for (uint32_t i = 0; i < map->fields.n && !err; i++) {
		const struct skep_field *f = &map->fields.f[i];

		if (reg->s.smin + off >= (int64_t)f->offset + f->size ||
		    (int64_t)f->offset >= (int64_t)reg->s.umax + off + size)
			continue;
		if (v_is_kptr(f))
			err = skep_v_kptr_exact(env, reg, off, size, f, helper);
		else
			err = skep_v_refuse(env, EACCES, W_LOCK, r,
					    "%s cannot be accessed directly by load/store\n",
					    skep_field_name(f->kind));
	}
	return err;
}

static int check_map_type(struct venv *env, const struct vreg *reg, int r, int off, int size,
			  enum vacc acc)
{
	const struct skep_map *map = skep_v_map(env, reg);

	if (acc == V_WRITE && map->flags & BPF_F_RDONLY_PROG)
		return skep_v_refuse(env, EACCES, W_RDONLY, r,
				     "write into map forbidden, value_size=%u off=%d size=%d\n",
				     map->value_size, (int)(reg->s.smin + off), size);
	if (acc == V_READ && map->flags & BPF_F_WRONLY_PROG)
		return skep_v_refuse(env, EACCES, W_RDONLY, r,
				     "read from map forbidden, value_size=%u off=%d size=%d\n",
				     map->value_size, (int)(reg->s.smin + off), size);
	return 0;
}

static int check_packet(struct venv *env, const struct vreg *reg, int r, int off, int size,
			bool zero_ok)
{
	uint64_t end;
	int err;

	if (reg->s.smin < 0)
		return skep_v_refuse(env, EACCES, W_UNBOUNDED, r, MIN_NEGATIVE, r);
	err = reg->range < 0 ? -EINVAL
			     : check_region(env, reg, r, off, size, (uint32_t)reg->range, zero_ok);
	if (err)
		return skep_v_refuse(env, -err, W_BOUNDS_PACKET, r,
				     "R%d offset is outside of the packet\n", r);
	end = (uint64_t)off + reg->s.umax + (uint64_t)size;
	if (end > 0 && end - 1 > env->max_pkt_off)
		env->max_pkt_off = (uint32_t)(end - 1 > UINT32_MAX ? UINT32_MAX : end - 1);
	return 0;
}

/* Any constant offset is right now: who attaches the program knows the size. */
static int access_buf(struct venv *env, const struct vreg *reg, int r, int off, int size)
{
	bool rdonly = reg->flags & V_RDONLY;
	uint32_t *max = rdonly ? &env->prog->max_rdonly : &env->prog->max_rdwr;
	char buf[64];

	if (off < 0)
		return skep_v_refuse(env, EACCES, W_BOUNDS_MEM, r,
				     "R%d invalid %s buffer access: off=%d, size=%d\n", r,
				     rdonly ? "rdonly" : "rdwr", off, size);
	if (!v_is_const(reg) || reg->s.bits.value)
		return skep_v_refuse(env, EACCES, W_BOUNDS_MEM, r,
				     "R%d invalid variable buffer offset: off=%d, var_off=%s\n", r,
				     off, skep_v_tnum(reg->s.bits, buf));
	if ((uint32_t)off + (uint32_t)size > *max)
		*max = (uint32_t)off + (uint32_t)size;
	return 0;
}

/* ---- Alignment ---- */

static int check_align(struct venv *env, const struct vreg *reg, int off, int size, bool strict)
{
	static const char *const what[V_NTYPES] = {
		[V_CTX] = "context ",
		[V_MAP_VALUE] = "value ",
		[V_MAP_KEY] = "key ",
		[V_STACK] = "stack ",
		[V_FLOW_KEYS] = "flow keys ",
		[V_SOCK] = "sock ",
		[V_SOCK_COMMON] = "sock_common ",
		[V_TCP_SOCK] = "tcp_sock ",
		[V_XDP_SOCK] = "xdp_sock ",
	};
	struct skep_tnum t;
	char buf[64];

	strict |= env->in->strict_alignment;
	if (reg->type == V_STACK)
		strict = true; /* slots are tracked by aligned accesses */
	if (!strict || size == 1)
		return 0;
	if (v_is_pkt(reg)) {
		t = skep_tnum_add(reg->s.bits,
				  skep_tnum_const((uint64_t)(int64_t)(2 + reg->off + off)));
		if (skep_tnum_aligned(t, (uint64_t)size))
			return 0;
		return skep_v_refuse(env, EACCES, W_ALIGN, -1,
				     "misaligned packet access off %d+%s+%d+%d size %d\n", 2,
				     skep_v_tnum(reg->s.bits, buf), reg->off, off, size);
	}
	t = skep_tnum_add(reg->s.bits, skep_tnum_const((uint64_t)(int64_t)(reg->off + off)));
	if (skep_tnum_aligned(t, (uint64_t)size))
		return 0;
	return skep_v_refuse(env, EACCES, W_ALIGN, -1, "misaligned %saccess off %s+%d+%d size %d\n",
			     what[reg->type] ? what[reg->type] : "", skep_v_tnum(reg->s.bits, buf),
			     reg->off, off, size);
}

int skep_v_arg_align(struct venv *env, const struct vreg *reg, int size)
{
	return check_align(env, reg, 0, size, true);
}

/* ---- Context ---- */

/* Pointers that must not have been moved. */
int skep_v_ptr_reg_off(struct venv *env, const struct vreg *reg, int r, bool fixed_ok)
{
	char name[64], buf[64];

	skep_v_type_name(reg, name);
	if (reg->off < 0)
		return skep_v_refuse(env, EACCES, W_CTX, r,
				     "negative offset %s ptr R%d off=%d disallowed\n", name, r,
				     reg->off);
	if (!fixed_ok && reg->off)
		return skep_v_refuse(env, EACCES, W_CTX, r,
				     "dereference of modified %s ptr R%d off=%d disallowed\n", name,
				     r, reg->off);
	if (!v_is_const(reg) || reg->s.bits.value)
		return skep_v_refuse(env, EACCES, W_CTX, r,
				     "variable %s access var_off=%s disallowed\n", name,
				     skep_v_tnum(reg->s.bits, buf));
	return 0;
}

static int ctx_btf(struct venv *env, struct vreg *d, const struct skep_ctx_field *f)
{
	const struct skep_btf *btf = skep_v_vmlinux(env);
	int64_t id = btf ? skep_btf_find(btf, f->type, BTF_KIND_STRUCT) : -ENOENT;

	if (id < 0)
		return skep_v_refuse(env, EFAULT, W_CTX, -1, "no struct %s\n", f->type);
	skep_v_reg_btf(env, d, btf, (uint32_t)id,
		       V_TRUSTED | (f->kind == SKEP_CTX_BTF_OR_NULL ? V_MAYBE_NULL : 0));
	return 0;
}

static int access_ctx(struct venv *env, uint32_t insn, const struct vreg *reg, int r, int off,
		      int size, enum vacc acc, int value, bool sx)
{
	const struct skep_ctx_field *f;
	struct vreg *d;
	int err = skep_v_ptr_reg_off(env, reg, r, false);

	if (err)
		return err;
	f = off < 0 ? NULL
		    : skep_ctx_find(env->prog, (uint32_t)off, (uint32_t)size, acc == V_WRITE,
				    env->priv);
	if (env->prog->target.name &&
	    !(f && f->kind != SKEP_CTX_BTF && f->kind != SKEP_CTX_BTF_OR_NULL))
		return skep_v_access_args(env, insn, r, off, size, acc, value);
	if (f && sx && f->kind != SKEP_CTX_SCALAR)
		f = NULL;
	if (!f) {
		skep_v_print_line(env, insn);
		return skep_v_refuse(env, EACCES, W_CTX, r,
				     "invalid bpf_context access off=%d size=%d\n", off, size);
	}
	env->out[insn].field = f;
	if (acc != V_READ || value < 0)
		return 0;
	d = skep_v_reg(env, (uint32_t)value);
	if (!d)
		return -ENOMEM;
	switch (f->kind) {
	case SKEP_CTX_PKT:
		skep_v_reg_zero_ptr(d, V_PKT);
		break;
	case SKEP_CTX_PKT_META:
		skep_v_reg_zero_ptr(d, V_PKT_META);
		break;
	case SKEP_CTX_PKT_END:
		skep_v_reg_zero_ptr(d, V_PKT_END);
		break;
	case SKEP_CTX_SOCK_OR_NULL:
		skep_v_reg_zero_ptr(d, V_SOCK_COMMON);
		d->flags = V_MAYBE_NULL;
		d->id = ++env->next_id;
		break;
	case SKEP_CTX_FULL_SOCK:
		skep_v_reg_zero_ptr(d, V_SOCK);
		break;
	case SKEP_CTX_FULL_SOCK_OR_NULL:
		skep_v_reg_zero_ptr(d, V_SOCK);
		d->flags = V_MAYBE_NULL;
		d->id = ++env->next_id;
		break;
	case SKEP_CTX_FLOW_KEYS:
		skep_v_reg_zero_ptr(d, V_FLOW_KEYS);
		break;
	case SKEP_CTX_BTF:
	case SKEP_CTX_BTF_OR_NULL:
		err = ctx_btf(env, d, f);
		if (err)
			return err;
		break;
	case SKEP_CTX_BUF_OR_NULL:
	case SKEP_CTX_RDONLY_BUF_OR_NULL:
		skep_v_reg_zero_ptr(d, V_MEM);
		d->mem_size = V_MAX_OFF;
		d->flags = V_BUF | V_MAYBE_NULL | (f->kind == SKEP_CTX_BUF_OR_NULL ? 0 : V_RDONLY);
		d->id = ++env->next_id;
		break;
	default:
		skep_v_reg_unknown(d);
		d->precise = !env->priv;
		break;
	}
	d->origin = insn;
	return 0;
}

/* ---- Map values ---- */

/* The bytes of a frozen, read-only array are constants. */
static bool fold(struct venv *env, const struct vreg *reg, int off, int size, bool sx, uint64_t *v)
{
	const struct skep_map *map = skep_v_map(env, reg);
	uint64_t avail, at = (uint64_t)off + reg->s.bits.value;
	void *base;

	if (!v_is_const(reg) || reg->inner || !(map->flags & BPF_F_RDONLY_PROG) || !map->frozen ||
	    map->writes || !map->ops->direct || map->type != BPF_MAP_TYPE_ARRAY)
		return false;
	if (env->maps[reg->map]->ops->direct(env->maps[reg->map], &base, &avail) ||
	    at + (uint64_t)size > avail || at + (uint64_t)size > map->value_size)
		return false;
	*v = 0;
	memcpy(v, (const char *)base + at, (size_t)size);
	if (sx && size < 8) {
		unsigned shift = 64 - 8 * (unsigned)size;

		*v = (uint64_t)((int64_t)(*v << shift) >> shift);
	}
	return true;
}

static int load_unknown(struct venv *env, int value)
{
	struct vreg *d;

	if (value < 0)
		return 0;
	d = skep_v_reg(env, (uint32_t)value);
	if (!d)
		return -ENOMEM;
	skep_v_reg_unknown(d);
	d->precise = !env->priv;
	d->origin = env->insn;
	return 0;
}

static int leak(struct venv *env, int value, const char *into)
{
	if (value < 0 || env->priv || v_is_scalar(v_reg(env, (uint32_t)value)))
		return 0;
	return skep_v_refuse(env, EACCES, W_LEAK, value, "R%d leaks addr into %s\n", value, into);
}

static int access_map_value(struct venv *env, uint32_t insn, const struct vreg *reg, int r, int off,
			    int size, enum vacc acc, int value, bool sx)
{
	const struct skep_map *map = skep_v_map(env, reg);
	const struct skep_field *kptr;
	uint64_t v;
	int err;

	err = acc == V_WRITE ? leak(env, value, "map") : 0;
	if (!err)
		err = check_map_type(env, reg, r, off, size, acc);
	if (!err)
		err = skep_v_map_value(env, reg, r, off, size, false, false);
	if (err)
		return err;
	kptr = skep_v_kptr_at(map, reg, off);
	err = skep_v_note_kptr(env, insn, kptr && kptr->kind != SKEP_FIELD_KPTR_UNREF);
	if (err)
		return err;
	if (kptr)
		return skep_v_access_kptr(env, insn, map, kptr, value);
	if (acc != V_READ || value < 0)
		return 0;
	if (fold(env, reg, off, size, sx, &v)) {
		struct vreg *d = skep_v_reg(env, (uint32_t)value);

		if (!d)
			return -ENOMEM;
		skep_v_reg_const(d, v);
		d->origin = insn;
		return 0;
	}
	return load_unknown(env, value);
}

static int cannot_write(struct venv *env, const struct vreg *reg, int r)
{
	char name[64];

	return skep_v_refuse(env, EACCES, W_RDONLY, r, "R%d cannot write into %s\n", r,
			     skep_v_type_name(reg, name));
}

/* Loads that may find nothing: they give 0 then. There are no atomic ones of that kind. */
static bool may_fault(const struct vreg *reg)
{
	return (reg->type == V_BTF && (!(reg->flags & V_ALLOC) || reg->flags & V_UNTRUSTED)) ||
	       (reg->type == V_MEM && reg->flags & V_UNTRUSTED);
}

/* Which pointer the instruction works on, for the JIT. */
static void note_mem(struct venv *env, uint32_t insn, const struct vreg *reg, int off)
{
	static const uint8_t kinds[V_NTYPES] = {
		[V_CTX] = SKEP_MEM_CTX,           [V_MAP_VALUE] = SKEP_MEM_MAP_VALUE,
		[V_MAP_KEY] = SKEP_MEM_MAP_VALUE, [V_STACK] = SKEP_MEM_STACK,
		[V_PKT] = SKEP_MEM_PACKET,        [V_PKT_META] = SKEP_MEM_PACKET,
		[V_MEM] = SKEP_MEM_ALLOC,         [V_BTF] = SKEP_MEM_ALLOC,
	};
	struct skep_aux *o = &env->out[insn];
	uint8_t kind = may_fault(reg) ? SKEP_MEM_PROBE : kinds[reg->type];
	bool first = !(env->aux[insn].ptr_type);
	bool here = reg->type == V_STACK && v_is_const(reg) && reg->frameno == env->cur->curframe;
	int32_t map = reg->type == V_MAP_VALUE && !reg->inner ? reg->map : -1;

	if (first) {
		o->mem = kind;
		o->map = map;
		o->stack_const = here;
		o->frame_off = here ? (int16_t)(reg->off + off + (int64_t)reg->s.bits.value) : 0;
		return;
	}
	if (o->mem != kind)
		o->mem = kind == SKEP_MEM_PROBE || o->mem == SKEP_MEM_PROBE ? SKEP_MEM_PROBE
									    : SKEP_MEM_UNKNOWN;
	if (o->map != map)
		o->map = -1;
	if (!here || o->frame_off != reg->off + off + (int64_t)reg->s.bits.value)
		o->stack_const = false;
}

/* Whole fields of struct bpf_tcp_sock: two counters of bytes, else words. */
static bool tcp_field(uint32_t off, uint32_t size)
{
	bool wide = off >= offsetof(struct bpf_tcp_sock, bytes_received) &&
		    off < offsetof(struct bpf_tcp_sock, dsack_dups);

	return off < sizeof(struct bpf_tcp_sock) && off % size == 0 && size == (wide ? 8 : 4);
}

static bool sock_field(const struct vreg *reg, uint32_t off, uint32_t size)
{
	switch (reg->type) {
	case V_TCP_SOCK:
		return tcp_field(off, size);
	case V_XDP_SOCK:
		return off < sizeof(struct bpf_xdp_sock) && size == 4 && off % size == 0;
	default:
		return skep_sock_find(off, size, reg->type == V_SOCK);
	}
}

/* Fields are where struct bpf_sock has them: sockets have no other form inside. */
static int access_sock(struct venv *env, const struct vreg *reg, int r, int off, int size,
		       enum vacc acc, int value)
{
	char name[64];

	if (acc == V_WRITE)
		return cannot_write(env, reg, r);
	if (off < 0 || !sock_field(reg, (uint32_t)off, (uint32_t)size))
		return skep_v_refuse(env, EACCES, W_CTX, r,
				     "R%d invalid %s access off=%d size=%d\n", r,
				     skep_v_type_name(reg, name), off, size);
	return load_unknown(env, value);
}

static int access_flow_keys(struct venv *env, int r, int off, int size, enum vacc acc, int value)
{
	int err = acc == V_WRITE ? leak(env, value, "flow keys") : 0;

	if (err)
		return err;
	if (off < 0 || (size_t)off + (size_t)size > sizeof(struct bpf_flow_keys))
		return skep_v_refuse(env, EACCES, W_CTX, r,
				     "invalid access to flow keys off=%d size=%d\n", off, size);
	return acc == V_WRITE ? 0 : load_unknown(env, value);
}

static bool may_mix(uint8_t type)
{
	return type != V_CTX && type != V_SOCK && type != V_SOCK_COMMON && type != V_TCP_SOCK &&
	       type != V_XDP_SOCK && type != V_BTF;
}

static int note_type(struct venv *env, uint32_t insn, const struct vreg *reg)
{
	struct vinsn *a = &env->aux[insn];

	if (a->ptr_type && (a->ptr_type != reg->type || a->ptr_flags != reg->flags) &&
	    (!may_mix(a->ptr_type) || !may_mix(reg->type)))
		return skep_v_refuse(env, EINVAL, W_TYPE, -1,
				     "same insn cannot be used with different pointers\n");
	if (env->out[insn].kptr && reg->type != V_MAP_VALUE)
		return skep_v_note_kptr(env, insn, false);
	a->ptr_type = reg->type;
	a->ptr_flags = reg->flags;
	return 0;
}

/* Only helpers reach a per-CPU variable; what is wrong first is told as in the kernel. */
static int refuse_percpu(struct venv *env, const struct vreg *reg, int r, int off)
{
	const char *type = skep_btf_name(env->prog->obj.skep->vmlinux, reg->btf_id);
	char buf[64];

	if (!env->priv)
		return skep_v_refuse(
			env, EPERM, W_TYPE, r,
			"'struct %s' access is allowed only to CAP_PERFMON and CAP_SYS_ADMIN\n",
			type);
	if (!env->prog->gpl)
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
	return skep_v_refuse(env, EACCES, W_TYPE, r, "R%d is ptr_%s access percpu memory: off=%d\n",
			     r, type, off);
}

static int access_typed(struct venv *env, uint32_t insn, const struct vreg *reg, int r, int off,
			int size, enum vacc acc, int value, bool sx)
{
	char name[64];
	int err;

	if (reg->flags & V_MAYBE_NULL)
		goto invalid;
	switch (reg->type) {
	case V_MAP_VALUE:
		return access_map_value(env, insn, reg, r, off, size, acc, value, sx);
	case V_MAP_KEY:
		if (acc == V_WRITE)
			return skep_v_refuse(env, EACCES, W_RDONLY, r,
					     "write to change key R%d not allowed\n", r);
		err = skep_v_region(env, reg, r, off, size, skep_v_map(env, reg)->key_size, false);
		return err ? err : load_unknown(env, value);
	case V_MEM:
		if (acc == V_WRITE && reg->flags & V_RDONLY)
			return cannot_write(env, reg, r);
		if (reg->flags & V_BUF) {
			err = access_buf(env, reg, r, off, size);
			return err || acc == V_WRITE ? err : load_unknown(env, value);
		}
		err = acc == V_WRITE ? leak(env, value, "mem") : 0;
		/* Loads that fault give 0: any address will do. */
		if (!err && !(reg->flags & V_RDONLY && reg->flags & V_UNTRUSTED))
			err = skep_v_region(env, reg, r, off, size, reg->mem_size, false);
		return err || acc == V_WRITE ? err : load_unknown(env, value);
	case V_CTX:
		err = acc == V_WRITE ? leak(env, value, "ctx") : 0;
		return err ? err : access_ctx(env, insn, reg, r, off, size, acc, value, sx);
	case V_STACK:
		return acc == V_READ ? skep_v_stack_read(env, r, off, size, value)
				     : skep_v_stack_write(env, r, off, size, value, insn);
	case V_PKT:
	case V_PKT_META:
		if (acc == V_WRITE) {
			if (!env->prog->ops->direct_write)
				return skep_v_refuse(env, EACCES, W_RDONLY, r,
						     "cannot write into packet\n");
			env->seen_direct_write = true;
			err = leak(env, value, "packet");
			if (err)
				return err;
		}
		err = check_packet(env, reg, r, off, size, false);
		return err || acc == V_WRITE ? err : load_unknown(env, value);
	case V_MAP_PTR:
		return skep_v_access_map_ptr(env, reg, r, off, size, acc, value);
	case V_PERCPU:
		return refuse_percpu(env, reg, r, off);
	case V_BTF:
		return skep_v_access_btf(env, reg, r, off, size, acc, value);
	case V_SOCK:
	case V_SOCK_COMMON:
	case V_TCP_SOCK:
	case V_XDP_SOCK:
		return access_sock(env, reg, r, off, size, acc, value);
	case V_FLOW_KEYS:
		return access_flow_keys(env, r, off, size, acc, value);
	default:
		break;
	}
invalid:
	return skep_v_refuse(env, EACCES, reg->flags & V_MAYBE_NULL ? W_NULL : W_TYPE, r,
			     "R%d invalid mem access '%s'\n", r, skep_v_type_name(reg, name));
}

int skep_v_access(struct venv *env, uint32_t insn, int r, int off, int size, enum vacc acc,
		  int value, bool strict, bool sx)
{
	struct vreg reg = *v_reg(env, (uint32_t)r); /* value may be the same register */
	bool folded;
	int err;

	err = check_align(env, &reg, off, size, strict);
	if (err)
		return err;
	note_mem(env, insn, &reg, off);
	off += reg.type == V_STACK ? 0 : reg.off;
	err = access_typed(env, insn, &reg, r, off, size, acc, value, sx);
	if (err)
		return err;
	if (size < 8 && value >= 0 && acc == V_READ) {
		struct vreg *d = skep_v_reg(env, (uint32_t)value);

		if (!d)
			return -ENOMEM;
		folded = v_is_const(d) && v_is_scalar(d) && reg.type == V_MAP_VALUE;
		if (v_is_scalar(d) && !(folded && sx)) {
			if (sx) {
				/* A negative number is not the one that was spilled. */
				if (d->s.umax >= 1ull << (8 * size - 1)) {
					d->id = 0;
					d->off = 0;
				}
				skep_scalar_sext(&d->s, (unsigned)size, true);
			} else {
				skep_scalar_zext(&d->s, (unsigned)size);
			}
		}
	}
	return note_type(env, insn, &reg);
}

/* ---- Memory for helpers ---- */

int skep_v_mem_arg(struct venv *env, int r, int size, enum vacc acc, bool zero_ok, bool uninit)
{
	const struct vreg *reg = v_reg(env, (uint32_t)r);
	char name[64];
	int err;

	if (reg->flags & V_MAYBE_NULL)
		goto invalid;
	switch (reg->type) {
	case V_PKT:
	case V_PKT_META:
		return check_packet(env, reg, r, reg->off, size, zero_ok);
	case V_MAP_KEY:
		if (acc == V_WRITE)
			return cannot_write(env, reg, r);
		return skep_v_region(env, reg, r, reg->off, size, skep_v_map(env, reg)->key_size,
				     false);
	case V_MAP_VALUE:
		err = check_map_type(env, reg, r, reg->off, size, acc);
		return err ? err : skep_v_map_value(env, reg, r, reg->off, size, zero_ok, true);
	case V_MEM:
		if (acc == V_WRITE && reg->flags & V_RDONLY)
			return cannot_write(env, reg, r);
		if (reg->flags & V_BUF)
			return access_buf(env, reg, r, reg->off, size);
		return skep_v_region(env, reg, r, reg->off, size, reg->mem_size, zero_ok);
	case V_STACK:
		return skep_v_stack_helper(env, r, size, acc, zero_ok, uninit);
	default:
		break;
	}
invalid:
	if (zero_ok && !size && v_is_null(reg))
		return 0;
	return skep_v_refuse(env, EACCES, reg->flags & V_MAYBE_NULL ? W_NULL : W_ARG_TYPE, r,
			     "R%d type=%s expected=fp\n", r, skep_v_type_name(reg, name));
}

/* ---- Atomic operations ---- */

static bool known_atomic(int32_t op)
{
	switch (op) {
	case BPF_ADD:
	case BPF_ADD | BPF_FETCH:
	case BPF_AND:
	case BPF_AND | BPF_FETCH:
	case BPF_OR:
	case BPF_OR | BPF_FETCH:
	case BPF_XOR:
	case BPF_XOR | BPF_FETCH:
	case BPF_XCHG:
	case BPF_CMPXCHG:
		return true;
	default:
		return false;
	}
}

static int no_atomics(struct venv *env, const struct bpf_insn *in, uint32_t r, bool rmw)
{
	const struct vreg *reg = v_reg(env, r);
	char name[64];

	if (reg->type == V_CTX || v_is_pkt(reg) || reg->type == V_FLOW_KEYS ||
	    reg->type == V_SOCK || reg->type == V_SOCK_COMMON || reg->type == V_TCP_SOCK ||
	    reg->type == V_XDP_SOCK || (!rmw && may_fault(reg)))
		return skep_v_refuse(env, EACCES, W_TYPE, (int)r,
				     "BPF_ATOMIC %s R%u %s is not allowed\n",
				     rmw || in->imm == BPF_STORE_REL ? "stores into" : "loads from",
				     r, skep_v_type_name(reg, name));
	return 0;
}

static int atomic_load_store(struct venv *env, const struct bpf_insn *in)
{
	static const int sizes[] = {
		[BPF_W >> 3] = 4, [BPF_H >> 3] = 2, [BPF_B >> 3] = 1, [BPF_DW >> 3] = 8};
	int size = sizes[BPF_SIZE(in->code) >> 3], err;
	bool load = in->imm == BPF_LOAD_ACQ;
	uint32_t ptr = load ? in->src_reg : in->dst_reg;

	err = skep_v_read_reg(env, in->src_reg, true);
	if (!err && !load)
		err = skep_v_read_reg(env, in->dst_reg, true);
	if (!err && load && in->dst_reg == 10)
		err = skep_v_refuse(env, EACCES, W_INSN, -1, "frame pointer is read only\n");
	if (!err)
		err = no_atomics(env, in, ptr, false);
	if (err)
		return err;
	return skep_v_access(env, env->insn, (int)ptr, in->off, size, load ? V_READ : V_WRITE,
			     load ? in->dst_reg : in->src_reg, true, false);
}

/* What the memory held, as register load would have it. The register itself stays:
 * the address of the store that follows may be in it. */
static int fetch(struct venv *env, const struct bpf_insn *in, int size, int load, struct vreg *old)
{
	struct vreg keep = *v_reg(env, (uint32_t)load), *d;
	int err = skep_v_access(env, env->insn, in->dst_reg, in->off, size, V_READ, load, true,
				false);

	d = skep_v_reg(env, (uint32_t)load);
	if (err || !d)
		return err ? err : -ENOMEM;
	*old = *d;
	*d = keep;
	return 0;
}

int skep_v_atomic(struct venv *env, const struct bpf_insn *in)
{
	static const int sizes[] = {
		[BPF_W >> 3] = 4, [BPF_H >> 3] = 2, [BPF_B >> 3] = 1, [BPF_DW >> 3] = 8};
	int size = sizes[BPF_SIZE(in->code) >> 3], err, load;
	struct vreg old, *d;

	if (in->imm == BPF_LOAD_ACQ || in->imm == BPF_STORE_REL)
		return atomic_load_store(env, in);
	if (!known_atomic(in->imm))
		return skep_v_refuse(env, EINVAL, W_INSN, -1,
				     "BPF_ATOMIC uses invalid atomic opcode %02x\n",
				     (unsigned)in->imm);
	if (size < 4)
		return skep_v_refuse(env, EINVAL, W_INSN, -1, "invalid atomic operand size\n");
	err = skep_v_read_reg(env, in->src_reg, size == 8);
	if (!err)
		err = skep_v_read_reg(env, in->dst_reg, true);
	if (!err && in->imm == BPF_CMPXCHG) {
		err = skep_v_read_reg(env, 0, size == 8);
		if (!err && !env->priv && !v_is_scalar(v_reg(env, 0)))
			err = skep_v_refuse(env, EACCES, W_LEAK, 0, "R0 leaks addr into mem\n");
	}
	if (err)
		return err;
	if (!env->priv && !v_is_scalar(v_reg(env, in->src_reg)))
		return skep_v_refuse(env, EACCES, W_LEAK, in->src_reg, "R%u leaks addr into mem\n",
				     in->src_reg);
	err = no_atomics(env, in, in->dst_reg, true);
	if (err)
		return err;
	load = in->imm & BPF_FETCH ? (in->imm == BPF_CMPXCHG ? 0 : in->src_reg) : -1;
	if (load == 10)
		return skep_v_refuse(env, EACCES, W_INSN, -1, "frame pointer is read only\n");
	err = skep_v_access(env, env->insn, in->dst_reg, in->off, size, V_READ, -1, true, false);
	if (!err && load >= 0)
		err = fetch(env, in, size, load, &old);
	if (!err)
		err = skep_v_access(env, env->insn, in->dst_reg, in->off, size, V_WRITE, -1, true,
				    false);
	if (err || load < 0)
		return err;
	d = skep_v_reg(env, (uint32_t)load);
	if (!d)
		return -ENOMEM;
	*d = old;
	return 0;
}
