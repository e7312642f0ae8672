/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Calls of kfuncs: found by their type in skep's BTF, arguments checked by the prototype.
 */
#include "verifier/kfunc.h"

#include <string.h>

#include "btf/internal.h"
#include "verifier/btfptr.h"
#include "verifier/call.h"
#include "verifier/iter.h"
#include "verifier/kptr.h"
#include "verifier/mem.h"

#define MAX_KFUNCS 256

/* ---- Finding ---- */

static const struct btf_type *proto_of(const struct skep_btf *btf, uint32_t func)
{
	const struct btf_type *t = skep_btf_type(btf, func);

	t = t && T_KIND(t) == BTF_KIND_FUNC ? skep_btf_type(btf, t->type) : NULL;
	return t && T_KIND(t) == BTF_KIND_FUNC_PROTO ? t : NULL;
}

static int refuse(struct venv *env, int err, const char *text)
{
	return skep_v_refuse(env, err, W_HELPER, -1, "%s\n", text);
}

/* There are no modules: an offset can only be wrong. */
static int refuse_module(struct venv *env, int16_t off)
{
	if (off < 0)
		refuse(env, EINVAL, "negative offset disallowed for kernel module function call");
	else if (!env->in->fd_array)
		refuse(env, EPROTO, "kfunc offset > 0 without fd_array is invalid");
	else
		refuse(env, EINVAL, "BTF fd for kfunc is not a module BTF");
	skep_v_log(env, "failed to find BTF for kernel function\n");
	return off >= 0 && !env->in->fd_array ? -EPROTO : -EINVAL;
}

static uint32_t count_kfuncs(const struct venv *env, uint32_t before, uint32_t func)
{
	uint32_t n = 0;

	for (uint32_t i = 0; i < before; i++) {
		const struct bpf_insn *in = &env->insns[i];
		bool again = false;

		if (in->code != (BPF_JMP | BPF_CALL) || in->src_reg != BPF_PSEUDO_KFUNC_CALL)
			continue;
		if ((uint32_t)in->imm == func)
			return 0;
		for (uint32_t j = 0; j < i && !again; j++)
			again = env->insns[j].code == in->code &&
				env->insns[j].src_reg == in->src_reg &&
				env->insns[j].imm == in->imm;
		n += !again;
	}
	return n;
}

int skep_v_resolve_kfunc(struct venv *env, uint32_t insn)
{
	const struct bpf_insn *in = &env->insns[insn];
	const struct skep_btf *btf = skep_v_vmlinux(env);
	const struct btf_type *t;
	const char *name;

	if (!btf)
		return -ENOMEM;
	if (!env->prog->gpl)
		return skep_v_refuse(
			env, EINVAL, W_GPL, -1,
			"cannot call kernel function from non-GPL compatible program\n");
	/* Refused only if the call stays. */
	if (!in->imm && !in->off)
		return 0;
	if (count_kfuncs(env, insn, (uint32_t)in->imm) >= MAX_KFUNCS)
		return refuse(env, E2BIG, "too many different kernel function calls");
	if (in->off)
		return refuse_module(env, in->off);
	t = skep_btf_type(btf, (uint32_t)in->imm);
	if (!t || T_KIND(t) != BTF_KIND_FUNC)
		return skep_v_refuse(env, EINVAL, W_HELPER, -1,
				     "kernel btf_id %u is not a function\n", (uint32_t)in->imm);
	name = skep_btf_name(btf, (uint32_t)in->imm);
	env->out[insn].kfunc = skep_kfunc_find(name);
	/* Functions that are only types: hooks that programs attach to. */
	if (!env->out[insn].kfunc)
		return skep_v_refuse(env, EINVAL, W_HELPER, -1,
				     "cannot find address for kernel function %s\n", name);
	if (!(skep_kfuncs[env->out[insn].kfunc].flags & SKEP_KF_HEAP))
		return 0;
	return skep_v_need_heap(env);
}

const char *skep_v_kfunc_name(const struct venv *env, const struct bpf_insn *in)
{
	const struct skep_btf *btf = in->off ? NULL : skep_v_vmlinux(env);
	const char *name = btf ? skep_btf_name(btf, (uint32_t)in->imm) : "";

	return *name ? name : "(anon)";
}

unsigned skep_v_kfunc_nargs(const struct venv *env, uint32_t insn)
{
	const struct skep_btf *btf = skep_v_vmlinux(env);
	const struct btf_type *p = btf ? proto_of(btf, (uint32_t)env->insns[insn].imm) : NULL;
	unsigned n = p ? T_VLEN(p) : 5;

	return n > 5 ? 5 : n;
}

bool skep_v_param_is(const struct vkfunc *k, uint32_t arg, const char *suffix)
{
	const char *name = skep_btf_str(k->btf, k->params[arg].name_off);
	size_t n = name ? strlen(name) : 0, m = strlen(suffix);

	return name && n >= m && !strcmp(name + n - m, suffix);
}

/* ---- Arguments ---- */

static const struct btf_type *pointed(const struct vkfunc *k, uint32_t arg, uint32_t *id)
{
	const struct btf_type *t = skep_btf_skip_mods(k->btf, k->params[arg].type, NULL);

	return skep_btf_skip_mods(k->btf, t->type, id);
}

static bool is_number(const struct btf_type *t)
{
	uint32_t kind = T_KIND(t);

	return kind == BTF_KIND_INT || kind == BTF_KIND_ENUM || kind == BTF_KIND_ENUM64;
}

static const char *kind_text(const struct btf_type *t)
{
	return t ? skep_btf_kind_name(T_KIND(t)) : "UNKNOWN";
}

static const char *type_text(const struct vkfunc *k, const struct btf_type *t)
{
	const char *name = t ? skep_btf_str(k->btf, t->name_off) : NULL;

	return name ? name : "";
}

/* Structures of numbers only, to any depth. */
static bool only_numbers(const struct skep_btf *btf, uint32_t id, unsigned depth)
{
	const struct btf_type *t = skep_btf_skip_mods(btf, id, &id);
	const struct btf_member *m;

	if (!t || !skep_btf_is_struct(t) || depth > 3)
		return false;
	m = skep_btf_members(t);
	for (uint32_t i = 0; i < T_VLEN(t); i++) {
		const struct btf_type *e = skep_btf_skip_mods(btf, m[i].type, &id);

		while (e && T_KIND(e) == BTF_KIND_ARRAY)
			e = skep_btf_skip_mods(btf, skep_btf_array(e)->type, &id);
		if (!e || !(is_number(e) || only_numbers(btf, id, depth + 1)))
			return false;
	}
	return true;
}

static int constant_arg(struct venv *env, struct vkfunc *k, int r)
{
	const struct vreg *reg = v_reg(env, (uint32_t)r);

	if (k->has_const)
		return refuse(env, EFAULT, "verifier bug: only one constant argument permitted");
	if (!v_is_const(reg))
		return skep_v_refuse(env, EINVAL, W_ARG_TYPE, r, "R%d must be a known constant\n",
				     r);
	k->has_const = true;
	k->constant = reg->s.bits.value;
	return skep_v_precise(env, r);
}

static int number_arg(struct venv *env, struct vkfunc *k, uint32_t i)
{
	const struct vreg *reg = v_reg(env, i + 1);
	bool rdonly = skep_v_param_is(k, i, "rdonly_buf_size");

	if (!v_is_scalar(reg))
		return skep_v_refuse(env, EINVAL, W_ARG_TYPE, (int)i + 1, "R%u is not a scalar\n",
				     i + 1);
	if (skep_v_param_is(k, i, "__k"))
		return constant_arg(env, k, (int)i + 1);
	if (!rdonly && !skep_v_param_is(k, i, "rdwr_buf_size"))
		return 0;
	if (k->r0_size)
		return skep_v_refuse(env, EINVAL, W_ARG_TYPE, (int)i + 1,
				     "2 or more rdonly/rdwr_buf_size parameters for kfunc");
	if (!v_is_const(reg))
		return skep_v_refuse(env, EINVAL, W_ARG_TYPE, (int)i + 1, "R%u is not a const\n",
				     i + 1);
	k->r0_rdonly = rdonly;
	k->r0_size = reg->s.bits.value;
	return skep_v_precise(env, (int)i + 1);
}

/* The pointed-to structure decides, or the parameter's suffix. */
static const struct {
	const char *type; /* of the structure ... */
	const char *suffix; /* ... or of the name */
	v_karg_fn *check;
} special_args[] = {
	{"bpf_iter_num", NULL, skep_v_karg_iter},
	{"bpf_iter_bits", NULL, skep_v_karg_iter},
	{NULL, "__alloc", skep_v_karg_alloc},
	{NULL, "__refcounted_kptr", skep_v_karg_refcounted},
};

static v_karg_fn *find_special(const struct vkfunc *k, uint32_t i, const struct btf_type *to)
{
	const char *type = to && skep_btf_is_struct(to) ? type_text(k, to) : NULL;

	for (unsigned n = 0; n < sizeof(special_args) / sizeof(special_args[0]); n++)
		if (special_args[n].suffix ? skep_v_param_is(k, i, special_args[n].suffix)
					   : type && !strcmp(type, special_args[n].type))
			return special_args[n].check;
	return NULL;
}

/* The register may be given up, or must be trusted: it points to the object's begin. */
static int check_offset(struct venv *env, const struct vkfunc *k, const struct vreg *reg, int r)
{
	bool release = k->row->flags & SKEP_KF_RELEASE && reg->ref;

	if (release && reg->off)
		return skep_v_refuse(env, EINVAL, W_ARG_TYPE, r,
				     "R%d must have zero offset when passed to release func or "
				     "trusted arg to kfunc\n",
				     r);
	if (release)
		return skep_v_ptr_reg_off(env, reg, r, false);
	switch (reg->type) {
	case V_SCALAR:
	case V_STACK:
	case V_PKT:
	case V_PKT_META:
	case V_MAP_KEY:
	case V_MAP_VALUE:
	case V_MEM:
		return 0;
	default:
		return skep_v_ptr_reg_off(env, reg, r, reg->type == V_BTF);
	}
}

static int ctx_arg(struct venv *env, const struct vkfunc *k, uint32_t i, const struct vreg *reg)
{
	char name[64];
	int err = check_offset(env, k, reg, (int)i + 1);

	if (err)
		return err;
	if (reg->type != V_CTX)
		return skep_v_refuse(env, EINVAL, W_ARG_TYPE, (int)i + 1,
				     "arg#%u expected pointer to ctx, but got %s\n", i,
				     skep_v_type_name(reg, name));
	return 0;
}

/* What is given up is trusted, too. */
static bool wants_trusted(const struct vkfunc *k)
{
	return k->row->flags & (SKEP_KF_TRUSTED_ARGS | SKEP_KF_RELEASE);
}

static int check_trust(struct venv *env, const struct vkfunc *k, const struct vreg *reg, int r)
{
	bool rcu = k->row->flags & SKEP_KF_RCU;

	if ((!wants_trusted(k) && !rcu) || skep_v_is_trusted(reg))
		return 0;
	if (!rcu)
		return skep_v_refuse(env, EINVAL, W_ARG_TYPE, r,
				     "R%d must be referenced or trusted\n", r);
	return skep_v_is_rcu(reg) ? 0
				  : skep_v_refuse(env, EINVAL, W_ARG_TYPE, r,
						  "R%d must be a rcu pointer\n", r);
}

static int btf_arg(struct venv *env, struct vkfunc *k, uint32_t i, const struct vreg *reg,
		   const struct btf_type *to, uint32_t to_id)
{
	uint32_t have = reg->type == V_BTF ? reg->btf_id : skep_v_btf_of(env, reg);
	const struct skep_btf *btf = reg->type == V_BTF ? reg->btf : k->btf;
	int r = (int)i + 1, err;
	const struct btf_type *t;
	char name[64];
	bool strict;

	if (!to || !skep_btf_is_struct(to))
		return skep_v_refuse(
			env, EINVAL, W_ARG_TYPE, r,
			"kernel function %s args#%u pointer type %s %s is not supported\n", k->name,
			i, kind_text(to), type_text(k, to));
	err = check_trust(env, k, reg, r);
	if (err)
		return err;
	err = check_offset(env, k, reg, r);
	if (err)
		return err;
	if (reg->type == V_BTF && reg->flags & ~(V_TRUSTED | V_ALLOC | V_NON_OWN) &&
	    !skep_v_is_rcu(reg)) {
		struct vreg plain = *reg;

		skep_v_log(env, "arg#%u is %s ", i, skep_v_type_name(reg, name));
		plain.flags &= V_TRUSTED | V_ALLOC | V_NON_OWN;
		return skep_v_refuse(env, EINVAL, W_ARG_TYPE, r, "expected %s or socket\n",
				     skep_v_type_name(&plain, name));
	}
	strict = k->row->flags & SKEP_KF_ACQUIRE || (k->row->flags & SKEP_KF_RELEASE && reg->ref);
	t = skep_btf_skip_mods(btf, have, &have);
	if (skep_v_types_match(env, btf, have, reg->off, k->btf, to_id, strict))
		return 0;
	return skep_v_refuse(env, EINVAL, W_ARG_TYPE, r,
			     "kernel function %s args#%u expected pointer to %s %s but R%d has a "
			     "pointer to %s %s\n",
			     k->name, i, kind_text(to), type_text(k, to), r, kind_text(t),
			     skep_btf_name(btf, have));
}

/* A size in the next argument: __sz, __szk. */
static bool has_size(const struct vkfunc *k, uint32_t i, const struct venv *env)
{
	const struct btf_type *t =
		i + 1 < k->nargs ? skep_btf_skip_mods(k->btf, k->params[i + 1].type, NULL) : NULL;

	return t && is_number(t) && v_is_scalar(v_reg(env, i + 2)) &&
	       (skep_v_param_is(k, i + 1, "__sz") || skep_v_param_is(k, i + 1, "__szk"));
}

static int both_ways(struct venv *env, int r, int size)
{
	int err = skep_v_mem_arg(env, r, size, V_READ, true, false);

	return err ? err : skep_v_mem_arg(env, r, size, V_WRITE, true, false);
}

static int sized_arg(struct venv *env, struct vkfunc *k, uint32_t i)
{
	const struct vreg *size = v_reg(env, i + 2), *buf = v_reg(env, i + 1);
	int r = (int)i + 2, err = 0;

	if (!(v_is_null(buf) &&
	      (skep_v_param_is(k, i, "__opt") || skep_v_param_is(k, i, "__nullable")))) {
		if (size->s.smin < 0)
			err = skep_v_refuse(env, EACCES, W_UNBOUNDED, r,
					    "R%d min value is negative, either use unsigned or "
					    "'var &= const'\n",
					    r);
		else if (size->s.umax >= V_MAX_OFF)
			err = skep_v_refuse(env, EACCES, W_UNBOUNDED, r,
					    "R%d unbounded memory access, use 'var &= const' or "
					    "'if (var < const)'\n",
					    r);
		else
			err = both_ways(env, r - 1, (int)size->s.umax);
		if (!err)
			err = skep_v_precise(env, r);
		if (err && err != -ENOMEM) {
			skep_v_log(
				env,
				"arg#%u arg#%u memory, len pair leads to invalid memory access\n",
				i, i + 1);
			return err;
		}
	}
	return !err && skep_v_param_is(k, i + 1, "__szk") ? constant_arg(env, k, r) : err;
}

static int mem_arg(struct venv *env, struct vkfunc *k, uint32_t i, const struct vreg *reg,
		   const struct btf_type *to, uint32_t to_id)
{
	bool sized = has_size(k, i, env);
	int64_t size;
	int err;

	if (!(to && is_number(to)) && !only_numbers(k->btf, to_id, 0) && !(sized && !to_id))
		return skep_v_refuse(
			env, EINVAL, W_ARG_TYPE, (int)i + 1,
			"arg#%u pointer type %s %s must point to %sscalar, or struct with scalar\n",
			i, kind_text(to), type_text(k, to), sized ? "void, " : "");
	err = check_offset(env, k, reg, (int)i + 1);
	if (err)
		return err;
	if (sized)
		return sized_arg(env, k, i);
	size = skep_btf_size(k->btf, to_id);
	if (size < 0)
		return skep_v_refuse(
			env, EINVAL, W_ARG_TYPE, (int)i + 1,
			"arg#%u reference type('%s %s') size cannot be determined: %lld\n", i,
			kind_text(to), type_text(k, to), (long long)size);
	if (v_is_null(reg))
		return 0;
	if (reg->flags & V_MAYBE_NULL) {
		struct vreg keep = *reg, *w = skep_v_reg(env, i + 1);

		if (!w)
			return -ENOMEM;
		w->flags &= (uint16_t)~V_MAYBE_NULL;
		err = both_ways(env, (int)i + 1, (int)size);
		w = skep_v_reg(env, i + 1);
		if (!w)
			return -ENOMEM;
		w->flags = keep.flags;
		return err;
	}
	return both_ways(env, (int)i + 1, (int)size);
}

static int map_arg(struct venv *env, struct vkfunc *k, uint32_t i, const struct vreg *reg)
{
	int64_t map = skep_btf_find(k->btf, "bpf_map", BTF_KIND_STRUCT);

	if (reg->type != V_MAP_PTR)
		return skep_v_refuse(env, EINVAL, W_ARG_TYPE, (int)i + 1,
				     "pointer in R%u isn't map pointer\n", i + 1);
	k->map = skep_v_map(env, reg);
	k->map_index = reg->inner ? -1 : reg->map;
	k->map_uid = reg->map_uid;
	return btf_arg(env, k, i, reg, skep_btf_type(k->btf, (uint32_t)map), (uint32_t)map);
}

static int callback_arg(struct venv *env, struct vkfunc *k, uint32_t i, const struct vreg *reg)
{
	if (reg->type != V_FUNC)
		return skep_v_refuse(env, EINVAL, W_ARG_TYPE, (int)i + 1,
				     "arg%u expected pointer to func\n", i);
	k->subprog = reg->subprog;
	return 0;
}

static int pointer_arg(struct venv *env, struct vkfunc *k, uint32_t i)
{
	const struct vreg reg = *v_reg(env, i + 1);
	bool nullable = skep_v_param_is(k, i, "__nullable");
	uint32_t to_id;
	const struct btf_type *to = pointed(k, i, &to_id);
	v_karg_fn *special;
	int err;

	if ((wants_trusted(k) || k->row->flags & SKEP_KF_RCU) && !nullable &&
	    (v_is_null(&reg) || reg.flags & V_MAYBE_NULL))
		return skep_v_refuse(env, EACCES, W_NULL, (int)i + 1,
				     "Possibly NULL pointer passed to trusted arg%u\n", i);
	if (reg.ref) {
		k->ref = reg.ref;
		if (k->row->flags & SKEP_KF_RELEASE)
			k->release = (int)i + 1;
	}
	if (k->id == SKEP_KFUNC_bpf_cast_to_kern_ctx) {
		err = ctx_arg(env, k, i, &reg);
		if (err)
			return err;
		err = skep_v_kern_ctx(env);
		k->ret_btf_id = err > 0 ? (uint32_t)err : 0;
		return err < 0 ? err : 0;
	}
	if (skep_v_is_ctx_type(env, k->btf, to_id))
		return ctx_arg(env, k, i, &reg);
	if (nullable && v_is_null(&reg))
		return 0;
	special = find_special(k, i, to);
	if (special) {
		err = special == skep_v_karg_alloc ? check_trust(env, k, &reg, (int)i + 1) : 0;
		if (!err)
			err = check_offset(env, k, &reg, (int)i + 1);
		return err ? err : special(env, k, i, &reg);
	}
	if (skep_v_param_is(k, i, "__str"))
		return skep_v_const_str(env, (int)i + 1, i);
	if (skep_v_param_is(k, i, "__map"))
		return map_arg(env, k, i, &reg);
	if (reg.type == V_BTF || skep_v_btf_of(env, &reg))
		return btf_arg(env, k, i, &reg, to, to_id);
	if (to && T_KIND(to) == BTF_KIND_FUNC_PROTO)
		return callback_arg(env, k, i, &reg);
	return mem_arg(env, k, i, &reg, to, to_id);
}

static int check_args(struct venv *env, struct vkfunc *k)
{
	if (k->nargs > 5)
		return skep_v_refuse(env, EINVAL, W_HELPER, -1, "Function %s has %u > %u args\n",
				     k->name, k->nargs, 5u);
	for (uint32_t i = 0; i < k->nargs; i++) {
		const struct btf_type *t = skep_btf_skip_mods(k->btf, k->params[i].type, NULL);
		bool sized;
		int err;

		if (skep_v_param_is(k, i, "__ign"))
			continue;
		env->scratched |= (uint16_t)(1u << (i + 1));
		if (is_number(t)) {
			err = number_arg(env, k, i);
		} else if (T_KIND(t) == BTF_KIND_PTR) {
			sized = has_size(k, i, env) && !find_special(k, i, pointed(k, i, NULL));
			err = pointer_arg(env, k, i);
			i += sized && !err;
		} else {
			err = skep_v_refuse(env, EINVAL, W_HELPER, -1,
					    "Unrecognized arg#%u type %s\n", i, kind_text(t));
		}
		if (err)
			return err;
	}
	if (k->row->flags & SKEP_KF_RELEASE && !k->release)
		return skep_v_refuse(
			env, EINVAL, W_REF, -1,
			"release kernel function %s expects refcounted PTR_TO_BTF_ID\n", k->name);
	return 0;
}

/* ---- Read sides ---- */

static bool is_rcu_reg(const struct vreg *r, const void *arg)
{
	(void)arg;
	return r->flags & V_RCU;
}

static void end_rcu(struct vreg *r, const void *arg)
{
	(void)arg;
	r->flags &= (uint16_t) ~(V_RCU | V_MAYBE_NULL);
	r->flags |= V_UNTRUSTED;
}

static int regions(struct venv *env, const struct vkfunc *k)
{
	bool lock = k->id == SKEP_KFUNC_bpf_rcu_read_lock;
	bool unlock = k->id == SKEP_KFUNC_bpf_rcu_read_unlock;
	struct vstate *st = env->cur;

	if (st->rcu) {
		if (lock)
			return skep_v_refuse(env, EINVAL, W_LOCK, -1,
					     "nested rcu read lock (kernel function %s)\n",
					     k->name);
		if (unlock) {
			st->rcu = false;
			return skep_v_each_reg(env, st, is_rcu_reg, end_rcu, NULL);
		}
		if (k->row->flags & SKEP_KF_SLEEPABLE)
			return skep_v_refuse(
				env, EACCES, W_LOCK, -1,
				"kernel func %s is sleepable within rcu_read_lock region\n",
				k->name);
	} else if (lock) {
		st->rcu = true;
	} else if (unlock) {
		return skep_v_refuse(env, EINVAL, W_LOCK, -1,
				     "unmatched rcu read unlock (kernel function %s)\n", k->name);
	}
	return 0;
}

/* ---- Results ---- */

static int release(struct venv *env, uint32_t ref, const struct vkfunc *k)
{
	struct vstate *st = env->cur;

	for (uint32_t i = 0; ref && st->refs && i < st->refs->n; i++) {
		int err;

		if (st->refs->r[i].kind != V_REF_PTR || st->refs->r[i].id != ref)
			continue;
		err = skep_v_ref_del(env, st, i);
		if (!err)
			skep_v_drop_ref_regs(env, ref);
		return err ? err : env->err;
	}
	return skep_v_refuse(env, EINVAL, W_REF, -1,
			     "kfunc %s#%u reference has not been acquired before\n", k->name,
			     k->func);
}

/* A pointer to something that is no structure: memory of its size. */
static int mem_result(struct venv *env, struct vkfunc *k, struct vreg *r0,
		      const struct btf_type *to, uint32_t to_id)
{
	int64_t size = skep_btf_size(k->btf, to_id);

	if (!k->r0_size && size > 0) {
		k->r0_size = (uint64_t)size;
		k->r0_rdonly = true;
	}
	if (!k->r0_size)
		return skep_v_refuse(
			env, EINVAL, W_HELPER, -1,
			"kernel function %s returns pointer type %s %s is not supported\n", k->name,
			kind_text(to), type_text(k, to));
	skep_v_reg_zero_ptr(r0, V_MEM);
	r0->mem_size = (uint32_t)k->r0_size;
	r0->flags = k->r0_rdonly ? V_RDONLY : 0;
	r0->ref = k->ref;
	if (k->row->flags & SKEP_KF_RCU_PROTECTED)
		r0->flags |= V_RCU;
	return 0;
}

/* Who owns a reference can have another. */
static bool may_be_null(const struct vkfunc *k)
{
	return k->row->flags & SKEP_KF_RET_NULL &&
	       !(k->id == SKEP_KFUNC_bpf_refcount_acquire_impl && k->owning);
}

static int pointer_result(struct venv *env, struct vkfunc *k, struct vreg *r0,
			  const struct btf_type *ret)
{
	uint32_t to_id;
	const struct btf_type *to = skep_btf_skip_mods(k->btf, ret->type, &to_id);
	int done = skep_v_kret_special(env, k, r0);

	if (done < 0)
		return done;
	if (!done && !to_id) {
		skep_v_reg_unknown(r0);
	} else if (!done && !(to && skep_btf_is_struct(to))) {
		int err = mem_result(env, k, r0, to, to_id);

		if (err)
			return err;
	} else if (!done) {
		skep_v_reg_btf(env, r0, k->btf, to_id,
			       k->row->flags & SKEP_KF_RCU_PROTECTED ? V_RCU : 0);
	}
	if (may_be_null(k)) {
		r0->flags |= V_MAYBE_NULL;
		r0->id = ++env->next_id;
	}
	if (k->row->flags & SKEP_KF_ACQUIRE) {
		uint32_t id = ++env->next_id;
		int err = skep_v_ref_add(env, env->cur, id, V_REF_PTR, NULL);

		if (err)
			return err;
		if (may_be_null(k))
			r0->id = id;
		r0->ref = id;
	}
	return 0;
}

static int result(struct venv *env, struct vkfunc *k)
{
	const struct btf_type *ret = skep_btf_skip_mods(k->btf, k->ret, NULL);
	struct vframe *f = skep_v_frame_mut(env, env->cur, env->cur->curframe);
	uint32_t to;

	if (!f)
		return -ENOMEM;
	for (unsigned r = 0; r <= 5; r++) {
		skep_v_reg_invalid(&f->reg[r]);
		env->scratched |= (uint16_t)(1u << r);
	}
	f->reg[0].origin = env->insn;
	if (!k->ret)
		return 0;
	if (k->row->flags & SKEP_KF_ACQUIRE &&
	    !(T_KIND(ret) == BTF_KIND_PTR && skep_btf_skip_mods(k->btf, ret->type, &to) && to) &&
	    k->id != SKEP_KFUNC_bpf_obj_new_impl && k->id != SKEP_KFUNC_bpf_percpu_obj_new_impl &&
	    k->id != SKEP_KFUNC_bpf_refcount_acquire_impl)
		return skep_v_refuse(env, EINVAL, W_HELPER, -1,
				     "acquire kernel function does not return PTR_TO_BTF_ID\n");
	if (T_KIND(ret) == BTF_KIND_PTR) {
		int err = pointer_result(env, k, &f->reg[0], ret);

		f->reg[0].origin = env->insn;
		return err;
	}
	skep_v_reg_unknown(&f->reg[0]);
	f->reg[0].precise = !env->priv;
	f->reg[0].origin = env->insn;
	return 0;
}

/* ---- The call ---- */

static int describe(struct venv *env, const struct bpf_insn *in, struct vkfunc *k)
{
	const struct btf_type *p;

	k->map_index = -1;
	k->func = (uint32_t)in->imm;
	k->id = env->out[env->insn].kfunc;
	k->row = &skep_kfuncs[k->id];
	k->btf = skep_v_vmlinux(env);
	k->name = skep_btf_name(k->btf, k->func);
	p = proto_of(k->btf, k->func);
	if (!p)
		return skep_v_refuse(env, EINVAL, W_HELPER, -1,
				     "kernel function btf_id %u does not have a valid func_proto\n",
				     k->func);
	k->params = skep_btf_params(p);
	k->nargs = T_VLEN(p);
	k->ret = p->type;
	if (!(k->row->progs >> env->prog->type & 1))
		return skep_v_refuse(env, EACCES, W_HELPER, -1,
				     "calling kernel function %s is not allowed\n", k->name);
	if (k->row->flags & SKEP_KF_SLEEPABLE && !env->prog->sleepable)
		return skep_v_refuse(env, EACCES, W_HELPER, -1,
				     "program must be sleepable to call sleepable kfunc %s\n",
				     k->name);
	return 0;
}

int skep_v_kfunc(struct venv *env, const struct bpf_insn *in, uint32_t *next)
{
	struct vkfunc k = {0};
	int err;

	(void)next;
	/* Refused at the end: dead code may name nothing. */
	if (!in->imm)
		return 0;
	err = describe(env, in, &k);
	if (!err)
		err = check_args(env, &k);
	if (!err)
		err = regions(env, &k);
	if (!err && k.release)
		err = release(env, v_reg(env, (uint32_t)k.release)->ref, &k);
	if (!err)
		err = result(env, &k);
	if (!err && k.row->flags & SKEP_KF_ITER_NEXT)
		err = skep_v_iter_next(env, &k);
	if (!err && k.row->flags & SKEP_KF_PKT) {
		skep_v_invalidate_pkts(env);
		err = env->err;
	}
	return err;
}

int skep_v_check_kfuncs(struct venv *env)
{
	for (uint32_t i = 0; i < env->n; i++) {
		const struct bpf_insn *in = &env->insns[i];

		if (in->code != (BPF_JMP | BPF_CALL) || in->src_reg != BPF_PSEUDO_KFUNC_CALL ||
		    in->imm || !env->out[i].seen)
			continue;
		env->why_insn = i;
		return skep_v_refuse(
			env, EINVAL, W_HELPER, -1,
			"invalid kernel function call not eliminated in verifier pass\n");
	}
	return 0;
}
