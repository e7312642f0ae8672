/* SPDX-License-Identifier: Apache-2.0 */
/* Contexts that are the arguments of a tracepoint or an iterator: what each is, by BTF. */
#include "prog/target.h"

#include <string.h>

#include "btf/internal.h"
#include "prog/type.h"
#include "verifier/btfptr.h"

#define MAX_ARGS 12

static const struct skep_btf *btf_of(const struct venv *env)
{
	return env->prog->target.btf;
}

static bool is_number(const struct btf_type *t)
{
	uint32_t kind = t ? T_KIND(t) : BTF_KIND_UNKN;

	return kind == BTF_KIND_INT || kind == BTF_KIND_ENUM || kind == BTF_KIND_ENUM64;
}

/* Iterators' elements: NULL at the end. */
static bool is_element(const struct venv *env, uint32_t arg)
{
	const struct skep_ctx_field *f =
		env->prog->iter ? skep_ctx_find(env->prog, arg * 8, 8, false, true) : NULL;

	return f && f->kind == SKEP_CTX_BTF_OR_NULL;
}

static bool nullable(const struct venv *env, const struct btf_param *p)
{
	const char *name = skep_btf_str(btf_of(env), p->name_off);
	size_t n = name ? strlen(name) : 0;

	return n >= 10 && !strcmp(name + n - 10, "__nullable");
}

static uint32_t tag(const struct venv *env, const struct btf_type *t)
{
	const char *name = t && T_KIND(t) == BTF_KIND_TYPE_TAG && !T_KFLAG(t)
				   ? skep_btf_str(btf_of(env), t->name_off)
				   : NULL;

	if (!name)
		return 0;
	return !strcmp(name, "user") ? V_USER : !strcmp(name, "percpu") ? V_PERCPU_MEM : 0;
}

/* 0: a number; 1: a pointer, *id and *flags; -errno with a message. */
static int pointer(struct venv *env, uint32_t arg, int size, uint32_t type, uint32_t *id,
		   uint32_t *flags)
{
	const struct skep_btf *btf = btf_of(env);
	const char *func = env->prog->target.name;
	const struct btf_type *t = skep_btf_skip_mods(btf, type, NULL), *to;

	if (is_number(t))
		return 0;
	if (!t || T_KIND(t) != BTF_KIND_PTR)
		return skep_v_refuse(env, EACCES, W_CTX, -1,
				     "func '%s' arg%u '%s' has type %s. Only pointer access is "
				     "allowed\n",
				     func, arg, skep_btf_name(btf, type),
				     t ? skep_btf_kind_name(T_KIND(t)) : "UNKNOWN");
	if (size != 8)
		return skep_v_refuse(env, EACCES, W_CTX, -1, "func '%s' size %d must be 8\n", func,
				     size);
	to = skep_btf_skip_mods(btf, t->type, id);
	if (!*id || is_number(to))
		return 0;
	*flags |= tag(env, skep_btf_type(btf, t->type));
	if (!to || !skep_btf_is_struct(to))
		return skep_v_refuse(env, EACCES, W_CTX, -1,
				     "func '%s' arg%u type %s is not a struct\n", func, arg,
				     to ? skep_btf_kind_name(T_KIND(to)) : "UNKNOWN");
	return 1;
}

static int argument(struct venv *env, int off, int size, uint32_t *id, uint32_t *flags)
{
	const struct skep_btf *btf = btf_of(env);
	const char *func = env->prog->target.name;
	uint32_t n, arg = (uint32_t)off / 8;
	const struct btf_param *params = skep_target_params(env->prog, &n);
	int found;

	if (off % 8)
		return skep_v_refuse(env, EACCES, W_CTX, -1,
				     "func '%s' offset %d is not multiple of 8\n", func, off);
	*flags = 0;
	if (arg >= n)
		return skep_v_refuse(env, EACCES, W_CTX, -1,
				     "func '%s' doesn't have %u-th argument\n", func, arg + 1);
	found = pointer(env, arg, size, params[arg].type, id, flags);
	if (found <= 0)
		return found;
	*flags |= V_TRUSTED;
	if (is_element(env, arg) || nullable(env, &params[arg]))
		*flags |= V_MAYBE_NULL;
	if (!is_element(env, arg))
		skep_v_log(env, "func '%s' arg%u has btf_id %u type %s '%s'\n", func, arg, *id,
			   skep_btf_kind_name(T_KIND(skep_btf_type(btf, *id))),
			   skep_btf_name(btf, *id));
	return 1;
}

int skep_v_access_args(struct venv *env, uint32_t insn, int r, int off, int size, enum vacc acc,
		       int value)
{
	uint32_t id = 0, flags = 0;
	struct vreg *d;
	int found = -1;

	if (off >= 0 && off < 8 * MAX_ARGS && acc == V_READ && !(off % size))
		found = argument(env, off, size, &id, &flags);
	if (found < 0) {
		skep_v_print_line(env, insn);
		return skep_v_refuse(env, EACCES, W_CTX, r,
				     "invalid bpf_context access off=%d size=%d\n", off, size);
	}
	if (value < 0)
		return 0;
	d = skep_v_reg(env, (uint32_t)value);
	if (!d)
		return -ENOMEM;
	if (found) {
		skep_v_reg_btf(env, d, btf_of(env), id, flags);
	} else {
		skep_v_reg_unknown(d);
		d->precise = !env->priv;
	}
	d->origin = insn;
	return 0;
}
