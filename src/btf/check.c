/* SPDX-License-Identifier: Apache-2.0 */
/*
 * BTF_LOAD's second phase: what types say of each other. A type is resolved
 * depth-first with a stack of bounded depth; a type that is met again while it is on the
 * stack is a loop, unless a pointer lies between: pointers resolve modifiers and
 * pointers only, structs resolve modifiers, arrays and structs only.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "btf/internal.h"

enum { NOT_VISITED, ON_STACK, RESOLVED };
enum { MODE_OPEN, MODE_PTR, MODE_STRUCT };

static const struct btf_type *type_at(const struct skep_btf_check *c, uint32_t id)
{
	return id < c->btf->ntypes ? c->btf->types[id] : NULL;
}

/* ---- Classes of kinds ---- */

#define BIT(k) (1u << (k))
#define MODIFIERS                                                                                  \
	(BIT(BTF_KIND_TYPEDEF) | BIT(BTF_KIND_VOLATILE) | BIT(BTF_KIND_CONST) |                    \
	 BIT(BTF_KIND_RESTRICT) | BIT(BTF_KIND_TYPE_TAG))
#define STRUCTS (BIT(BTF_KIND_STRUCT) | BIT(BTF_KIND_UNION))
#define NO_SIZE                                                                                    \
	(BIT(BTF_KIND_UNKN) | BIT(BTF_KIND_FWD) | BIT(BTF_KIND_FUNC) | BIT(BTF_KIND_FUNC_PROTO) |  \
	 BIT(BTF_KIND_DECL_TAG))
#define HAS_SIZE                                                                                   \
	(STRUCTS | BIT(BTF_KIND_INT) | BIT(BTF_KIND_ENUM) | BIT(BTF_KIND_DATASEC) |                \
	 BIT(BTF_KIND_FLOAT) | BIT(BTF_KIND_ENUM64))
#define SOURCE_ONLY (BIT(BTF_KIND_VAR) | BIT(BTF_KIND_DECL_TAG) | BIT(BTF_KIND_DATASEC))
#define NEEDS_RESOLVE                                                                              \
	(MODIFIERS | STRUCTS | SOURCE_ONLY | BIT(BTF_KIND_PTR) | BIT(BTF_KIND_ARRAY) |             \
	 BIT(BTF_KIND_FUNC))
#define POINTEES_WITHOUT_SIZE (BIT(BTF_KIND_UNKN) | BIT(BTF_KIND_FWD) | BIT(BTF_KIND_FUNC_PROTO))

static bool is(const struct btf_type *t, uint32_t kinds)
{
	return t && (BIT(T_KIND(t)) & kinds);
}

static bool resolved(const struct skep_btf_check *c, uint32_t id)
{
	return c->state[id] == RESOLVED;
}

/* Whether the walk need not enter t in the current mode. */
static bool is_sink(const struct skep_btf_check *c, const struct btf_type *t)
{
	switch (c->mode) {
	case MODE_PTR:
		return !is(t, MODIFIERS | BIT(BTF_KIND_PTR));
	case MODE_STRUCT:
		return !is(t, MODIFIERS | BIT(BTF_KIND_ARRAY) | STRUCTS);
	default:
		return !is(t, NEEDS_RESOLVE);
	}
}

static int push(struct skep_btf_check *c, uint32_t id)
{
	if (c->depth == SKEP_BTF_MAX_DEPTH)
		return -E2BIG;
	if (c->state[id] != NOT_VISITED)
		return -EEXIST;
	c->state[id] = ON_STACK;
	c->stack[c->depth].id = id;
	c->stack[c->depth++].next = 0;
	if (c->mode == MODE_OPEN) {
		const struct btf_type *t = type_at(c, id);
		if (is(t, BIT(BTF_KIND_PTR)))
			c->mode = MODE_PTR;
		else if (is(t, STRUCTS | BIT(BTF_KIND_ARRAY)))
			c->mode = MODE_STRUCT;
	}
	return 0;
}

static void pop(struct skep_btf_check *c, uint32_t stands_for, uint32_t size)
{
	uint32_t id = c->stack[--c->depth].id;

	c->resolved[id] = stands_for;
	c->btf->resolved_size[id] = size;
	c->state[id] = RESOLVED;
}

/* The type with a size that *id stands for (*id changes), or NULL. */
static const struct btf_type *sized(const struct skep_btf_check *c, uint32_t *id, uint32_t *size)
{
	uint32_t at = *id, sz;
	const struct btf_type *t = type_at(c, at);

	if (!t || is(t, NO_SIZE))
		return NULL;
	if (is(t, MODIFIERS | BIT(BTF_KIND_VAR))) {
		at = c->resolved[at];
		t = type_at(c, at);
		if (!t || is(t, NO_SIZE))
			return NULL;
	}
	if (is(t, HAS_SIZE))
		sz = t->size;
	else if (is(t, BIT(BTF_KIND_ARRAY)))
		sz = c->btf->resolved_size[at];
	else if (is(t, BIT(BTF_KIND_PTR)))
		sz = 8;
	else
		return NULL;
	*id = at;
	if (size)
		*size = sz;
	return t;
}

static bool int_regular(const struct btf_type *t)
{
	uint32_t data = skep_btf_int_data(t), bits = BTF_INT_BITS(data), n = bits / 8;

	return !(bits % 8) && !BTF_INT_OFFSET(data) &&
	       (n == 1 || n == 2 || n == 4 || n == 8 || n == 16);
}

static int refuse(struct skep_btf_check *c, const struct btf_type *t, const char *what)
{
	skep_btf_log_type(c, t, "%s", what);
	return -EINVAL;
}

/* ---- Members ---- */

static int refuse_member(struct skep_btf_check *c, const struct btf_type *s,
			 const struct btf_member *m, const char *what)
{
	skep_btf_log_member(c, s, m, "%s", what);
	return -EINVAL;
}

static int int_member(struct skep_btf_check *c, const struct btf_type *s,
		      const struct btf_member *m, const struct btf_type *t)
{
	uint32_t data = skep_btf_int_data(t), off = m->offset;

	if (UINT32_MAX - off < BTF_INT_OFFSET(data))
		return refuse_member(c, s, m, "bits_offset exceeds U32_MAX");
	off += BTF_INT_OFFSET(data);
	uint32_t bytes = off / 8, copy = BTF_INT_BITS(data) + off % 8;
	if (copy > 128)
		return refuse_member(c, s, m, "nr_copy_bits exceeds 128");
	if (s->size < bytes || s->size - bytes < (copy + 7) / 8)
		return refuse_member(c, s, m, "Member exceeds struct_size");
	return 0;
}

static int int_bitfield(struct skep_btf_check *c, const struct btf_type *s,
			const struct btf_member *m, const struct btf_type *t)
{
	uint32_t data = skep_btf_int_data(t), int_bits = BTF_INT_BITS(data);
	uint32_t off = BTF_MEMBER_BIT_OFFSET(m->offset), bits = BTF_MEMBER_BITFIELD_SIZE(m->offset);

	if (!int_regular(t))
		return refuse_member(c, s, m, "Invalid member base type");
	if (!bits) {
		if (off % 8)
			return refuse_member(c, s, m, "Invalid member offset");
		bits = int_bits;
	} else if (bits > int_bits) {
		return refuse_member(c, s, m, "Invalid member bitfield_size");
	}
	uint32_t bytes = off / 8, copy = bits + off % 8;
	if (copy > 128)
		return refuse_member(c, s, m, "nr_copy_bits exceeds 128");
	if (s->size < bytes || s->size - bytes < (copy + 7) / 8)
		return refuse_member(c, s, m, "Member exceeds struct_size");
	return 0;
}

static int enum_bitfield(struct skep_btf_check *c, const struct btf_type *s,
			 const struct btf_member *m)
{
	uint32_t off = BTF_MEMBER_BIT_OFFSET(m->offset), bits = BTF_MEMBER_BITFIELD_SIZE(m->offset);

	if (!bits) {
		if (off % 8)
			return refuse_member(c, s, m, "Member is not byte aligned");
		bits = 32;
	} else if (bits > 32) {
		return refuse_member(c, s, m, "Invalid member bitfield_size");
	}
	if (s->size < (off + bits + 7) / 8)
		return refuse_member(c, s, m, "Member exceeds struct_size");
	return 0;
}

static int float_member(struct skep_btf_check *c, const struct btf_type *s,
			const struct btf_member *m, const struct btf_type *t)
{
	uint32_t off = skep_btf_member_bits(s, m), align = t->size < 8 ? t->size : 8;

	if (off % (align * 8))
		return refuse_member(c, s, m, "Member is not properly aligned");
	if (off / 8 + t->size > s->size)
		return refuse_member(c, s, m, "Member exceeds struct_size");
	return 0;
}

/* Pointers, arrays, structs, enums without bitfields: whole bytes, inside. */
static int plain_member(struct skep_btf_check *c, const struct btf_type *s,
			const struct btf_member *m, const struct btf_type *t)
{
	uint32_t off = skep_btf_member_bits(s, m), size = 0, id = m->type;

	if (off % 8)
		return refuse_member(c, s, m, "Member is not byte aligned");
	if (is(t, BIT(BTF_KIND_PTR)))
		size = 8;
	else if (is(t, BIT(BTF_KIND_ARRAY)))
		sized(c, &id, &size);
	else
		size = t->size;
	if (s->size - off / 8 < size)
		return refuse_member(c, s, m, "Member exceeds struct_size");
	return 0;
}

/* Member m of struct s has type t, which is resolved. */
static int check_member(struct skep_btf_check *c, const struct btf_type *s,
			const struct btf_member *member, const struct btf_type *t)
{
	struct btf_member m = *member;

	if (is(t, MODIFIERS)) {
		uint32_t id = m.type;
		t = sized(c, &id, NULL);
		if (!t)
			return refuse_member(c, s, member, "Invalid member");
		m.type = id;
	}
	if (is(t, BIT(BTF_KIND_INT)))
		return T_KFLAG(s) ? int_bitfield(c, s, &m, t) : int_member(c, s, &m, t);
	if (is(t, BIT(BTF_KIND_ENUM) | BIT(BTF_KIND_ENUM64)) && T_KFLAG(s))
		return enum_bitfield(c, s, &m);
	if (skep_btf_member_bitfield(s, &m))
		return refuse_member(c, s, &m, "Invalid member bitfield_size");
	if (is(t, BIT(BTF_KIND_FLOAT)))
		return float_member(c, s, &m, t);
	return plain_member(c, s, &m, t);
}

/* ---- One step of resolving the type on top of the stack ---- */

/* A type that stands for another one: PTR, modifiers, VAR. */
static int resolve_ref(struct skep_btf_check *c, uint32_t id, const struct btf_type *t)
{
	uint32_t next_id = t->type;
	const struct btf_type *next = type_at(c, next_id);
	bool modifier = is(t, MODIFIERS);

	if (!next || is(next, SOURCE_ONLY))
		return refuse(c, t, "Invalid type_id");
	if (!is_sink(c, next) && !resolved(c, next_id))
		return push(c, next_id);
	/* A pointer behind modifiers that an earlier walk did not follow to its end. */
	if (!modifier && is(next, MODIFIERS)) {
		uint32_t far_id = c->resolved[next_id];
		const struct btf_type *far = type_at(c, far_id);
		if (is(far, BIT(BTF_KIND_PTR)) && !is_sink(c, far) && !resolved(c, far_id))
			return push(c, far_id);
	}
	if (!sized(c, &next_id, NULL)) {
		if (is(t, BIT(BTF_KIND_VAR)))
			return refuse(c, t, "Invalid type_id");
		if (resolved(c, next_id)) {
			next_id = c->resolved[next_id];
			next = type_at(c, next_id);
		}
		if (!is(next, POINTEES_WITHOUT_SIZE))
			return refuse(c, t, "Invalid type_id");
	}
	pop(c, next_id, 0);
	return 0;
}

static int resolve_array(struct skep_btf_check *c, uint32_t id, const struct btf_type *t)
{
	const struct btf_array *a = skep_btf_array(t);
	uint32_t at = a->index_type, size = 0;
	const struct btf_type *x = type_at(c, at);

	if (!x || is(x, SOURCE_ONLY | NO_SIZE))
		return refuse(c, t, "Invalid index");
	if (!is_sink(c, x) && !resolved(c, at))
		return push(c, at);
	x = sized(c, &at, NULL);
	if (!x || !is(x, BIT(BTF_KIND_INT)) || !int_regular(x))
		return refuse(c, t, "Invalid index");

	at = a->type;
	x = type_at(c, at);
	if (!x || is(x, SOURCE_ONLY | NO_SIZE))
		return refuse(c, t, "Invalid elem");
	if (!is_sink(c, x) && !resolved(c, at))
		return push(c, at);
	x = sized(c, &at, &size);
	if (!x)
		return refuse(c, t, "Invalid elem");
	if (is(x, BIT(BTF_KIND_INT)) && !int_regular(x))
		return refuse(c, t, "Invalid array of int");
	if (a->nelems && size > UINT32_MAX / a->nelems)
		return refuse(c, t, "Array size overflows U32_MAX");
	pop(c, at, size * a->nelems);
	return 0;
}

static int resolve_struct(struct skep_btf_check *c, uint32_t id, const struct btf_type *t)
{
	const struct btf_member *m = skep_btf_members(t);
	uint32_t *next = &c->stack[c->depth - 1].next;

	/* The member that we went away for comes first: its type is known now. */
	if (*next) {
		int err = check_member(c, t, &m[*next - 1], type_at(c, m[*next - 1].type));
		if (err)
			return err;
	}
	for (uint32_t i = *next; i < T_VLEN(t); i++) {
		const struct btf_type *mt = type_at(c, m[i].type);
		if (!mt || is(mt, SOURCE_ONLY | NO_SIZE))
			return refuse_member(c, t, &m[i], "Invalid member");
		if (!is_sink(c, mt) && !resolved(c, m[i].type)) {
			*next = i + 1;
			return push(c, m[i].type);
		}
		int err = check_member(c, t, &m[i], mt);
		if (err)
			return err;
	}
	pop(c, 0, 0);
	return 0;
}

static int resolve_func(struct skep_btf_check *c, uint32_t id, const struct btf_type *t)
{
	const struct btf_type *proto = type_at(c, t->type);

	if (!is(proto, BIT(BTF_KIND_FUNC_PROTO)))
		return refuse(c, t, "Invalid type_id");
	const struct btf_param *p = skep_btf_params(proto);
	for (uint32_t i = 0; i < T_VLEN(proto); i++) {
		if (!p[i].name_off && p[i].type) {
			skep_btf_log_type(c, t, "Invalid arg#%u", i + 1);
			return -EINVAL;
		}
	}
	pop(c, t->type, 0);
	return 0;
}

static int resolve_decl_tag(struct skep_btf_check *c, uint32_t id, const struct btf_type *t)
{
	const struct btf_decl_tag *d = (const struct btf_decl_tag *)(t + 1);
	const struct btf_type *x = type_at(c, t->type);

	if (!is(x, STRUCTS | BIT(BTF_KIND_FUNC) | BIT(BTF_KIND_VAR) | BIT(BTF_KIND_TYPEDEF)))
		return refuse(c, t, "Invalid type_id");
	if (!is_sink(c, x) && !resolved(c, t->type))
		return push(c, t->type);
	if (d->component_idx != -1) {
		uint32_t n;
		if (is(x, BIT(BTF_KIND_VAR) | BIT(BTF_KIND_TYPEDEF)))
			return refuse(c, t, "Invalid component_idx");
		n = is(x, STRUCTS) ? T_VLEN(x) : T_VLEN(type_at(c, x->type));
		if ((uint32_t)d->component_idx >= n)
			return refuse(c, t, "Invalid component_idx");
	}
	pop(c, t->type, 0);
	return 0;
}

static int resolve_datasec(struct skep_btf_check *c, uint32_t id, const struct btf_type *t)
{
	const struct btf_var_secinfo *v = skep_btf_vars(t);
	uint32_t *next = &c->stack[c->depth - 1].next;

	/* Variables are independent of each other: each opens a walk of its own. */
	c->mode = MODE_OPEN;
	for (uint32_t i = *next; i < T_VLEN(t); i++) {
		const struct btf_type *var = type_at(c, v[i].type);
		if (!is(var, BIT(BTF_KIND_VAR))) {
			skep_btf_log_var(c, t, &v[i], "Not a VAR kind member");
			return -EINVAL;
		}
		if (!is_sink(c, var) && !resolved(c, v[i].type)) {
			*next = i + 1;
			return push(c, v[i].type);
		}
		uint32_t at = var->type, size;
		if (!sized(c, &at, &size)) {
			skep_btf_log_var(c, t, &v[i], "Invalid type");
			return -EINVAL;
		}
		if (v[i].size < size) {
			skep_btf_log_var(c, t, &v[i], "Invalid size");
			return -EINVAL;
		}
	}
	pop(c, 0, 0);
	return 0;
}

static int resolve(struct skep_btf_check *c, uint32_t start)
{
	const struct btf_type *t = type_at(c, start);
	uint32_t log_id = c->log_id;
	int err;

	c->mode = MODE_OPEN;
	err = push(c, start);
	while (!err && c->depth) {
		uint32_t id = c->stack[c->depth - 1].id;
		const struct btf_type *top = type_at(c, id);
		c->log_id = id;
		switch (T_KIND(top)) {
		case BTF_KIND_ARRAY:
			err = resolve_array(c, id, top);
			break;
		case BTF_KIND_STRUCT:
		case BTF_KIND_UNION:
			err = resolve_struct(c, id, top);
			break;
		case BTF_KIND_FUNC:
			err = resolve_func(c, id, top);
			break;
		case BTF_KIND_DECL_TAG:
			err = resolve_decl_tag(c, id, top);
			break;
		case BTF_KIND_DATASEC:
			err = resolve_datasec(c, id, top);
			break;
		default:
			err = resolve_ref(c, id, top);
		}
	}
	c->log_id = start;
	if (err == -E2BIG)
		skep_btf_log_type(c, t, "Exceeded max resolving depth:%u", SKEP_BTF_MAX_DEPTH);
	else if (err == -EEXIST)
		skep_btf_log_type(c, t, "Loop detected");
	c->log_id = log_id;
	return err;
}

/* ---- Prototypes ---- */

static int refuse_arg(struct skep_btf_check *c, const struct btf_type *t, uint32_t i)
{
	skep_btf_log_type(c, t, "Invalid arg#%u", i + 1);
	return -EINVAL;
}

static int check_proto(struct skep_btf_check *c, const struct btf_type *t)
{
	const struct btf_param *p = skep_btf_params(t);
	uint32_t n = T_VLEN(t), id = t->type;
	int err;

	if (id) {
		const struct btf_type *ret = type_at(c, id);
		if (!ret || is(ret, SOURCE_ONLY))
			return refuse(c, t, "Invalid return type");
		if (is(ret, NEEDS_RESOLVE) && !resolved(c, id)) {
			err = resolve(c, id);
			if (err)
				return err;
		}
		if (!sized(c, &id, NULL))
			return refuse(c, t, "Invalid return type");
	}
	/* The last one may be the dots of a variable argument list. */
	if (n && !p[n - 1].type) {
		if (p[n - 1].name_off)
			return refuse_arg(c, t, n - 1);
		n--;
	}
	for (uint32_t i = 0; i < n; i++) {
		const struct btf_type *arg = type_at(c, id = p[i].type);
		if (!id || !arg || is(arg, SOURCE_ONLY))
			return refuse_arg(c, t, i);
		if (p[i].name_off && (p[i].name_off >= c->btf->strings_len ||
				      !skep_btf_name_ok(c->btf->strings + p[i].name_off)))
			return refuse_arg(c, t, i);
		if (is(arg, NEEDS_RESOLVE) && !resolved(c, id)) {
			err = resolve(c, id);
			if (err)
				return err;
		}
		if (!sized(c, &id, NULL))
			return refuse_arg(c, t, i);
	}
	return 0;
}

/* Type tags come before all other modifiers of a chain. */
static int check_type_tags(struct skep_btf_check *c)
{
	for (uint32_t id = 1; id < c->btf->ntypes; id++) {
		const struct btf_type *t = type_at(c, id);
		bool in_tags = is(t, BIT(BTF_KIND_TYPE_TAG));
		for (; is(t, MODIFIERS); t = type_at(c, t->type)) {
			if (!is(t, BIT(BTF_KIND_TYPE_TAG))) {
				in_tags = false;
			} else if (!in_tags) {
				skep_log_printf(c->log, "Type tags don't precede modifiers");
				return -EINVAL;
			}
		}
	}
	return 0;
}

int skep_btf_check_types(struct skep_btf_check *c)
{
	uint32_t n = c->btf->ntypes;

	c->state = calloc(n, 1);
	c->resolved = calloc(n, sizeof(*c->resolved));
	c->btf->resolved_size = calloc(n, sizeof(*c->btf->resolved_size));
	if (!c->state || !c->resolved || !c->btf->resolved_size)
		return -ENOMEM;
	c->resolving = true;
	for (uint32_t id = 1; id < n; id++) {
		const struct btf_type *t = type_at(c, id);
		int err = 0;

		c->log_id = id;
		if (is(t, NEEDS_RESOLVE) && !resolved(c, id))
			err = resolve(c, id);
		if (!err && is(t, BIT(BTF_KIND_FUNC_PROTO)))
			err = check_proto(c, t);
		if (err)
			return err;
	}
	return check_type_tags(c);
}
