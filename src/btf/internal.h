/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Inside BTF: what the passes of the checker share. parse.c takes the blob apart
 * and checks each type by itself, check.c checks what types say of each other.
 */
#ifndef SKEP_BTF_INTERNAL_H
#define SKEP_BTF_INTERNAL_H

#include "btf/btf.h"

#define SKEP_BTF_MAX_SIZE  (16u << 20) /* of a whole BTF */
#define SKEP_BTF_MAX_DEPTH 32 /* of types that wait for another to be resolved */
#define SKEP_ENOTSUPP      524 /* the kernel's internal number, which leaks out */

struct skep_btf_check {
	struct skep_btf *btf;
	struct skep_log *log;
	struct skep *skep; /* or NULL */
	const uint8_t *type_sec;
	uint32_t type_len;
	uint32_t log_id; /* id of the type that messages are about */
	bool resolving; /* second phase: members are logged with their struct */
	uint32_t max_types; /* room in btf->types */
	/* The walk of check.c */
	uint8_t *state; /* by id: 0 not visited, 1 on the stack, 2 resolved */
	uint32_t *resolved; /* by id: what a resolved modifier, pointer, ... stands for */
	struct {
		uint32_t id;
		uint32_t next; /* next member of a struct or section */
	} stack[SKEP_BTF_MAX_DEPTH];
	uint32_t depth;
	int mode;
};

#define T_KIND(t)  BTF_INFO_KIND((t)->info)
#define T_VLEN(t)  BTF_INFO_VLEN((t)->info)
#define T_KFLAG(t) BTF_INFO_KFLAG((t)->info)

static inline const struct btf_member *skep_btf_members(const struct btf_type *t)
{
	return (const struct btf_member *)(t + 1);
}
static inline const struct btf_array *skep_btf_array(const struct btf_type *t)
{
	return (const struct btf_array *)(t + 1);
}
static inline const struct btf_param *skep_btf_params(const struct btf_type *t)
{
	return (const struct btf_param *)(t + 1);
}
static inline const struct btf_var_secinfo *skep_btf_vars(const struct btf_type *t)
{
	return (const struct btf_var_secinfo *)(t + 1);
}
static inline uint32_t skep_btf_int_data(const struct btf_type *t)
{
	return *(const uint32_t *)(t + 1);
}
static inline uint32_t skep_btf_member_bits(const struct btf_type *t, const struct btf_member *m)
{
	return T_KFLAG(t) ? BTF_MEMBER_BIT_OFFSET(m->offset) : m->offset;
}
static inline uint32_t skep_btf_member_bitfield(const struct btf_type *t,
						const struct btf_member *m)
{
	return T_KFLAG(t) ? BTF_MEMBER_BITFIELD_SIZE(m->offset) : 0;
}
static inline bool skep_btf_is_mod(const struct btf_type *t)
{
	uint32_t k = T_KIND(t);
	return k == BTF_KIND_TYPEDEF || k == BTF_KIND_VOLATILE || k == BTF_KIND_CONST ||
	       k == BTF_KIND_RESTRICT || k == BTF_KIND_TYPE_TAG;
}
static inline bool skep_btf_is_struct(const struct btf_type *t)
{
	return T_KIND(t) == BTF_KIND_STRUCT || T_KIND(t) == BTF_KIND_UNION;
}

const char *skep_btf_kind_name(uint32_t kind);
bool skep_btf_name_ok(const char *name); /* an identifier (dots allowed) */
void skep_btf_log_type(struct skep_btf_check *c, const struct btf_type *t, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));
void skep_btf_log_member(struct skep_btf_check *c, const struct btf_type *t,
			 const struct btf_member *m, const char *fmt, ...)
	__attribute__((format(printf, 4, 5)));
void skep_btf_log_var(struct skep_btf_check *c, const struct btf_type *t,
		      const struct btf_var_secinfo *v, const char *fmt, ...)
	__attribute__((format(printf, 4, 5)));
/* Each type by itself: names, sizes, reserved bits; fills btf->types. */
int skep_btf_check_metas(struct skep_btf_check *c);
/* What types refer to: kinds, loops, sizes, members inside their struct. */
int skep_btf_check_types(struct skep_btf_check *c);
/* Fields with a meaning of their own in structures that programs may allocate. */
int skep_btf_check_structs(const struct skep_btf *btf, struct skep *skep);

#endif
