/* SPDX-License-Identifier: Apache-2.0 */
/*
 * BTF_LOAD's first phase: header, sections, and every type by itself. One row per
 * kind says what is checked and how the type is logged.
 */
#include <ctype.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "btf/internal.h"

#define INFO_MASK        0x9f00ffffu
#define INT_MASK         0x0fffffffu
#define MAX_NAME         512 /* KSYM_NAME_LEN */
#define NAME_VALID(c, o) ((o) < (c)->btf->strings_len)

/* ---- Names ---- */

/* The kernel's ctype is Latin-1. */
static bool is_alpha(unsigned char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
	       (c >= 0xc0 && c != 0xd7 && c != 0xf7);
}

static bool is_print(unsigned char c)
{
	return (c >= 0x20 && c < 0x7f) || c >= 0xa0;
}

static bool name_char(unsigned char c, bool first)
{
	return is_alpha(c) || c == '_' || c == '.' || (!first && c >= '0' && c <= '9');
}

bool skep_btf_name_ok(const char *name)
{
	if (!name_char((unsigned char)name[0], true))
		return false;
	for (unsigned i = 1; i < MAX_NAME; i++) {
		if (!name[i])
			return true;
		if (!name_char((unsigned char)name[i], false))
			return false;
	}
	return !name[MAX_NAME];
}

static bool section_name_ok(const char *name)
{
	unsigned i;

	if (!*name)
		return false;
	for (i = 0; i < MAX_NAME && name[i]; i++)
		if (!is_print((unsigned char)name[i]))
			return false;
	return !name[i];
}

static const char *str(const struct skep_btf_check *c, uint32_t off)
{
	return off < c->btf->strings_len ? c->btf->strings + off : "(invalid-name-offset)";
}

static const char *name_or_anon(const struct skep_btf_check *c, uint32_t off)
{
	return off ? str(c, off) : "(anon)";
}

static bool ident_at(const struct skep_btf_check *c, uint32_t off)
{
	return NAME_VALID(c, off) && skep_btf_name_ok(str(c, off));
}

static bool id_valid(uint32_t id)
{
	return id <= BTF_MAX_TYPE;
}

/* ---- Messages ---- */

static const char *int_encoding(uint32_t enc)
{
	switch (enc) {
	case 0:
		return "(none)";
	case BTF_INT_SIGNED:
		return "SIGNED";
	case BTF_INT_CHAR:
		return "CHAR";
	case BTF_INT_BOOL:
		return "BOOL";
	default:
		return "UNKN";
	}
}

static void log_ref(struct skep_btf_check *c, const struct btf_type *t)
{
	skep_log_printf(c->log, "type_id=%u", t->type);
}

static void log_size(struct skep_btf_check *c, const struct btf_type *t)
{
	skep_log_printf(c->log, "size=%u", t->size);
}

static void log_size_vlen(struct skep_btf_check *c, const struct btf_type *t)
{
	skep_log_printf(c->log, "size=%u vlen=%u", t->size, T_VLEN(t));
}

static void log_int(struct skep_btf_check *c, const struct btf_type *t)
{
	uint32_t data = skep_btf_int_data(t);
	skep_log_printf(c->log, "size=%u bits_offset=%u nr_bits=%u encoding=%s", t->size,
			BTF_INT_OFFSET(data), BTF_INT_BITS(data),
			int_encoding(BTF_INT_ENCODING(data)));
}

static void log_array(struct skep_btf_check *c, const struct btf_type *t)
{
	const struct btf_array *a = skep_btf_array(t);
	skep_log_printf(c->log, "type_id=%u index_type_id=%u nr_elems=%u", a->type, a->index_type,
			a->nelems);
}

static void log_fwd(struct skep_btf_check *c, const struct btf_type *t)
{
	skep_log_printf(c->log, "%s", T_KFLAG(t) ? "union" : "struct");
}

static void log_proto(struct skep_btf_check *c, const struct btf_type *t)
{
	const struct btf_param *p = skep_btf_params(t);
	uint32_t n = T_VLEN(t);

	skep_log_printf(c->log, "return=%u args=(", t->type);
	if (!n) {
		skep_log_printf(c->log, "void");
	} else if (n == 1 && !p->type) {
		skep_log_printf(c->log, "vararg");
	} else {
		skep_log_printf(c->log, "%u %s", p->type, name_or_anon(c, p->name_off));
		for (uint32_t i = 1; i + 1 < n; i++)
			skep_log_printf(c->log, ", %u %s", p[i].type,
					name_or_anon(c, p[i].name_off));
		if (n > 1) {
			const struct btf_param *last = &p[n - 1];
			if (last->type)
				skep_log_printf(c->log, ", %u %s", last->type,
						name_or_anon(c, last->name_off));
			else
				skep_log_printf(c->log, ", vararg");
		}
	}
	skep_log_printf(c->log, ")");
}

static void log_var(struct skep_btf_check *c, const struct btf_type *t)
{
	const struct btf_var *v = (const struct btf_var *)(t + 1);
	skep_log_printf(c->log, "type_id=%u linkage=%u", t->type, v->linkage);
}

static void log_tag(struct skep_btf_check *c, const struct btf_type *t)
{
	const struct btf_decl_tag *d = (const struct btf_decl_tag *)(t + 1);
	skep_log_printf(c->log, "type=%u component_idx=%d", t->type, d->component_idx);
}

struct kind_row {
	const char *name;
	bool kflag_ok, vlen_ok;
	uint8_t extra; /* bytes after struct btf_type ... */
	uint8_t per_member; /* ... and for each of vlen */
	int (*check)(struct skep_btf_check *c, const struct btf_type *t);
	void (*details)(struct skep_btf_check *c, const struct btf_type *t);
};
static const struct kind_row kinds[NR_BTF_KINDS];

const char *skep_btf_kind_name(uint32_t kind)
{
	return kind < NR_BTF_KINDS ? kinds[kind].name : "UNKNOWN";
}

void skep_btf_log_type(struct skep_btf_check *c, const struct btf_type *t, const char *fmt, ...)
{
	va_list ap;

	if (!c->log || !c->log->level)
		return;
	skep_log_printf(c->log, "[%u] %s %s ", c->log_id, skep_btf_kind_name(T_KIND(t)),
			name_or_anon(c, t->name_off));
	if (kinds[T_KIND(t)].details)
		kinds[T_KIND(t)].details(c, t);
	if (fmt && *fmt) {
		skep_log_printf(c->log, " ");
		va_start(ap, fmt);
		skep_log_vprintf(c->log, fmt, ap);
		va_end(ap);
	}
	skep_log_printf(c->log, "\n");
}

/* A type whose own contents can't be trusted yet is logged without details. */
static void log_basic(struct skep_btf_check *c, const struct btf_type *t, const char *fmt, ...)
{
	va_list ap;

	if (!c->log || !c->log->level)
		return;
	skep_log_printf(c->log, "[%u] %s %s", c->log_id, skep_btf_kind_name(T_KIND(t)),
			name_or_anon(c, t->name_off));
	skep_log_printf(c->log, " ");
	va_start(ap, fmt);
	skep_log_vprintf(c->log, fmt, ap);
	va_end(ap);
	skep_log_printf(c->log, "\n");
}

void skep_btf_log_member(struct skep_btf_check *c, const struct btf_type *t,
			 const struct btf_member *m, const char *fmt, ...)
{
	va_list ap;

	if (!c->log || !c->log->level)
		return;
	if (c->resolving)
		skep_btf_log_type(c, t, NULL);
	if (T_KFLAG(t))
		skep_log_printf(c->log, "\t%s type_id=%u bitfield_size=%u bits_offset=%u",
				name_or_anon(c, m->name_off), m->type,
				BTF_MEMBER_BITFIELD_SIZE(m->offset),
				BTF_MEMBER_BIT_OFFSET(m->offset));
	else
		skep_log_printf(c->log, "\t%s type_id=%u bits_offset=%u",
				name_or_anon(c, m->name_off), m->type, m->offset);
	if (fmt && *fmt) {
		skep_log_printf(c->log, " ");
		va_start(ap, fmt);
		skep_log_vprintf(c->log, fmt, ap);
		va_end(ap);
	}
	skep_log_printf(c->log, "\n");
}

void skep_btf_log_var(struct skep_btf_check *c, const struct btf_type *t,
		      const struct btf_var_secinfo *v, const char *fmt, ...)
{
	va_list ap;

	if (!c->log || !c->log->level)
		return;
	if (c->resolving)
		skep_btf_log_type(c, t, NULL);
	skep_log_printf(c->log, "\t type_id=%u offset=%u size=%u", v->type, v->offset, v->size);
	if (fmt && *fmt) {
		skep_log_printf(c->log, " ");
		va_start(ap, fmt);
		skep_log_vprintf(c->log, fmt, ap);
		va_end(ap);
	}
	skep_log_printf(c->log, "\n");
}

static int refuse(struct skep_btf_check *c, const struct btf_type *t, const char *what)
{
	skep_btf_log_type(c, t, "%s", what);
	return -EINVAL;
}

/* ---- One type by itself ---- */

static int check_int(struct skep_btf_check *c, const struct btf_type *t)
{
	uint32_t data = skep_btf_int_data(t), enc = BTF_INT_ENCODING(data);

	if (data & ~INT_MASK) {
		log_basic(c, t, "Invalid int_data:%x", data);
		return -EINVAL;
	}
	uint32_t bits = BTF_INT_BITS(data) + BTF_INT_OFFSET(data);
	if (bits > 128) {
		skep_btf_log_type(c, t, "nr_bits exceeds %zu", (size_t)128);
		return -EINVAL;
	}
	if ((bits + 7) / 8 > t->size)
		return refuse(c, t, "nr_bits exceeds type_size");
	if (enc && enc != BTF_INT_SIGNED && enc != BTF_INT_CHAR && enc != BTF_INT_BOOL) {
		skep_btf_log_type(c, t, "Unsupported encoding");
		return -SKEP_ENOTSUPP;
	}
	skep_btf_log_type(c, t, NULL);
	return 0;
}

static int check_ref(struct skep_btf_check *c, const struct btf_type *t)
{
	if (!id_valid(t->type))
		return refuse(c, t, "Invalid type_id");
	if (T_KIND(t) == BTF_KIND_TYPEDEF) {
		if (!t->name_off || !ident_at(c, t->name_off))
			return refuse(c, t, "Invalid name");
	} else if (T_KIND(t) == BTF_KIND_TYPE_TAG) {
		if (!*str(c, t->name_off))
			return refuse(c, t, "Invalid name");
	} else if (t->name_off) {
		return refuse(c, t, "Invalid name");
	}
	skep_btf_log_type(c, t, NULL);
	return 0;
}

static int check_fwd(struct skep_btf_check *c, const struct btf_type *t)
{
	if (t->type)
		return refuse(c, t, "type != 0");
	if (!t->name_off || !ident_at(c, t->name_off))
		return refuse(c, t, "Invalid name");
	skep_btf_log_type(c, t, NULL);
	return 0;
}

static int check_array(struct skep_btf_check *c, const struct btf_type *t)
{
	const struct btf_array *a = skep_btf_array(t);

	if (t->name_off)
		return refuse(c, t, "Invalid name");
	if (T_VLEN(t))
		return refuse(c, t, "vlen != 0");
	if (T_KFLAG(t))
		return refuse(c, t, "Invalid btf_info kind_flag");
	if (t->size)
		return refuse(c, t, "size != 0");
	if (!a->type || !id_valid(a->type))
		return refuse(c, t, "Invalid elem");
	if (!a->index_type || !id_valid(a->index_type))
		return refuse(c, t, "Invalid index");
	skep_btf_log_type(c, t, NULL);
	return 0;
}

static int refuse_member(struct skep_btf_check *c, const struct btf_type *t,
			 const struct btf_member *m, const char *what)
{
	skep_btf_log_member(c, t, m, "%s", what);
	return -EINVAL;
}

static int check_struct(struct skep_btf_check *c, const struct btf_type *t)
{
	const struct btf_member *m = skep_btf_members(t);
	uint32_t last = 0;

	if (t->name_off && !ident_at(c, t->name_off))
		return refuse(c, t, "Invalid name");
	skep_btf_log_type(c, t, NULL);
	for (uint32_t i = 0; i < T_VLEN(t); i++, m++) {
		if (!NAME_VALID(c, m->name_off)) {
			skep_btf_log_member(c, t, m, "Invalid member name_offset:%u", m->name_off);
			return -EINVAL;
		}
		if (m->name_off && !ident_at(c, m->name_off))
			return refuse_member(c, t, m, "Invalid name");
		if (!m->type || !id_valid(m->type))
			return refuse_member(c, t, m, "Invalid type_id");
		uint32_t off = skep_btf_member_bits(t, m);
		if (T_KIND(t) == BTF_KIND_UNION && off)
			return refuse_member(c, t, m, "Invalid member bits_offset");
		if (last > off)
			return refuse_member(c, t, m, "Invalid member bits_offset");
		if (off / 8 + !!(off % 8) > t->size)
			return refuse_member(c, t, m, "Member bits_offset exceeds its struct size");
		skep_btf_log_member(c, t, m, NULL);
		last = off;
	}
	return 0;
}

static bool size_pow2(uint32_t size)
{
	return size && size <= 8 && !(size & (size - 1));
}

/* Entries of both kinds begin with the name. */
static int enum_name(struct skep_btf_check *c, const struct btf_type *t, uint32_t name_off)
{
	if (!NAME_VALID(c, name_off)) {
		skep_log_printf(c->log, "\tInvalid name_offset:%u", name_off);
		return -EINVAL;
	}
	if (!name_off || !skep_btf_name_ok(str(c, name_off)))
		return refuse(c, t, "Invalid name");
	return 0;
}

static int check_enum(struct skep_btf_check *c, const struct btf_type *t)
{
	const struct btf_enum *e = (const struct btf_enum *)(t + 1);
	const struct btf_enum64 *e64 = (const struct btf_enum64 *)(t + 1);
	bool wide = T_KIND(t) == BTF_KIND_ENUM64;

	if (!size_pow2(t->size))
		return refuse(c, t, "Unexpected size");
	if (t->name_off && !ident_at(c, t->name_off))
		return refuse(c, t, "Invalid name");
	skep_btf_log_type(c, t, NULL);
	for (uint32_t i = 0; i < T_VLEN(t); i++) {
		uint32_t off = wide ? e64[i].name_off : e[i].name_off;
		int err = enum_name(c, t, off);
		if (err)
			return err;
		if (wide) {
			uint64_t v = (uint64_t)e64[i].val_hi32 << 32 | e64[i].val_lo32;
			skep_log_printf(c->log, T_KFLAG(t) ? "\t%s val=%lld\n" : "\t%s val=%llu\n",
					str(c, off), (unsigned long long)v);
		} else {
			skep_log_printf(c->log, T_KFLAG(t) ? "\t%s val=%d\n" : "\t%s val=%u\n",
					str(c, off), (uint32_t)e[i].val);
		}
	}
	return 0;
}

static int check_proto(struct skep_btf_check *c, const struct btf_type *t)
{
	if (t->name_off)
		return refuse(c, t, "Invalid name");
	if (T_KFLAG(t))
		return refuse(c, t, "Invalid btf_info kind_flag");
	skep_btf_log_type(c, t, NULL);
	return 0;
}

static int check_func(struct skep_btf_check *c, const struct btf_type *t)
{
	if (!t->name_off || !ident_at(c, t->name_off))
		return refuse(c, t, "Invalid name");
	if (T_VLEN(t) > BTF_FUNC_GLOBAL)
		return refuse(c, t, "Invalid func linkage");
	if (T_KFLAG(t))
		return refuse(c, t, "Invalid btf_info kind_flag");
	skep_btf_log_type(c, t, NULL);
	return 0;
}

static int check_var(struct skep_btf_check *c, const struct btf_type *t)
{
	const struct btf_var *v = (const struct btf_var *)(t + 1);

	if (!t->name_off || !ident_at(c, t->name_off))
		return refuse(c, t, "Invalid name");
	if (!t->type || !id_valid(t->type))
		return refuse(c, t, "Invalid type_id");
	if (v->linkage != BTF_VAR_STATIC && v->linkage != BTF_VAR_GLOBAL_ALLOCATED)
		return refuse(c, t, "Linkage not supported");
	skep_btf_log_type(c, t, NULL);
	return 0;
}

static int check_datasec(struct skep_btf_check *c, const struct btf_type *t)
{
	const struct btf_var_secinfo *v = skep_btf_vars(t);
	uint64_t last = 0, sum = 0;

	if (!t->size)
		return refuse(c, t, "size == 0");
	if (T_KFLAG(t))
		return refuse(c, t, "Invalid btf_info kind_flag");
	if (!t->name_off || !section_name_ok(str(c, t->name_off)))
		return refuse(c, t, "Invalid name");
	skep_btf_log_type(c, t, NULL);
	for (uint32_t i = 0; i < T_VLEN(t); i++, v++) {
		const char *bad = NULL;
		if (!v->type || !id_valid(v->type))
			bad = "Invalid type_id";
		else if (v->offset < last || v->offset >= t->size)
			bad = "Invalid offset";
		else if (!v->size || v->size > t->size)
			bad = "Invalid size";
		else if ((last = (uint64_t)v->offset + v->size) > t->size)
			bad = "Invalid offset+size";
		skep_btf_log_var(c, t, v, bad ? "%s" : NULL, bad);
		if (bad)
			return -EINVAL;
		sum += v->size;
	}
	if (t->size < sum)
		return refuse(c, t, "Invalid btf_info size");
	return 0;
}

static int check_float(struct skep_btf_check *c, const struct btf_type *t)
{
	if (t->size != 2 && t->size != 4 && t->size != 8 && t->size != 12 && t->size != 16)
		return refuse(c, t, "Invalid type_size");
	skep_btf_log_type(c, t, NULL);
	return 0;
}

static int check_decl_tag(struct skep_btf_check *c, const struct btf_type *t)
{
	const struct btf_decl_tag *d = (const struct btf_decl_tag *)(t + 1);

	if (!*str(c, t->name_off))
		return refuse(c, t, "Invalid value");
	if (T_VLEN(t))
		return refuse(c, t, "vlen != 0");
	if (d->component_idx < -1)
		return refuse(c, t, "Invalid component_idx");
	skep_btf_log_type(c, t, NULL);
	return 0;
}

static const struct kind_row kinds[NR_BTF_KINDS] = {
	[BTF_KIND_UNKN] = {"UNKNOWN", 0, 0, 0, 0, NULL, NULL},
	[BTF_KIND_INT] = {"INT", 0, 0, 4, 0, check_int, log_int},
	[BTF_KIND_PTR] = {"PTR", 0, 0, 0, 0, check_ref, log_ref},
	[BTF_KIND_ARRAY] = {"ARRAY", 1, 1, sizeof(struct btf_array), 0, check_array, log_array},
	[BTF_KIND_STRUCT] = {"STRUCT", 1, 1, 0, sizeof(struct btf_member), check_struct,
			     log_size_vlen},
	[BTF_KIND_UNION] = {"UNION", 1, 1, 0, sizeof(struct btf_member), check_struct,
			    log_size_vlen},
	[BTF_KIND_ENUM] = {"ENUM", 1, 1, 0, sizeof(struct btf_enum), check_enum, log_size_vlen},
	[BTF_KIND_FWD] = {"FWD", 1, 0, 0, 0, check_fwd, log_fwd},
	[BTF_KIND_TYPEDEF] = {"TYPEDEF", 0, 0, 0, 0, check_ref, log_ref},
	[BTF_KIND_VOLATILE] = {"VOLATILE", 0, 0, 0, 0, check_ref, log_ref},
	[BTF_KIND_CONST] = {"CONST", 0, 0, 0, 0, check_ref, log_ref},
	[BTF_KIND_RESTRICT] = {"RESTRICT", 0, 0, 0, 0, check_ref, log_ref},
	[BTF_KIND_FUNC] = {"FUNC", 1, 1, 0, 0, check_func, log_ref},
	[BTF_KIND_FUNC_PROTO] = {"FUNC_PROTO", 1, 1, 0, sizeof(struct btf_param), check_proto,
				 log_proto},
	[BTF_KIND_VAR] = {"VAR", 0, 0, sizeof(struct btf_var), 0, check_var, log_var},
	[BTF_KIND_DATASEC] = {"DATASEC", 1, 1, 0, sizeof(struct btf_var_secinfo), check_datasec,
			      log_size_vlen},
	[BTF_KIND_FLOAT] = {"FLOAT", 0, 0, 0, 0, check_float, log_size},
	[BTF_KIND_DECL_TAG] = {"DECL_TAG", 1, 1, sizeof(struct btf_decl_tag), 0, check_decl_tag,
			       log_tag},
	[BTF_KIND_TYPE_TAG] = {"TYPE_TAG", 1, 0, 0, 0, check_ref, log_ref},
	[BTF_KIND_ENUM64] = {"ENUM64", 1, 1, 0, sizeof(struct btf_enum64), check_enum,
			     log_size_vlen},
};

static int add_type(struct skep_btf_check *c, const struct btf_type *t)
{
	struct skep_btf *btf = c->btf;

	if (btf->ntypes > BTF_MAX_TYPE) {
		skep_log_printf(c->log, "Exceeded max num of types");
		return -E2BIG;
	}
	if (btf->ntypes == c->max_types) {
		uint32_t n = c->max_types ? c->max_types * 2 : 64;
		void *p = realloc(btf->types, n * sizeof(void *));
		if (!p)
			return -ENOMEM;
		btf->types = p;
		c->max_types = n;
	}
	btf->types[btf->ntypes++] = t;
	return 0;
}

/* Checks one type; returns its length in bytes. */
static int64_t check_meta(struct skep_btf_check *c, const struct btf_type *t, uint32_t left)
{
	if (left < sizeof(*t)) {
		skep_log_printf(c->log, "[%u] meta_left:%u meta_needed:%zu", c->log_id, left,
				sizeof(*t));
		return -EINVAL;
	}
	left -= sizeof(*t);
	if (t->info & ~INFO_MASK) {
		skep_log_printf(c->log, "[%u] Invalid btf_info:%x", c->log_id, t->info);
		return -EINVAL;
	}
	uint32_t kind = T_KIND(t);
	if (kind >= NR_BTF_KINDS || kind == BTF_KIND_UNKN) {
		skep_log_printf(c->log, "[%u] Invalid kind:%u", c->log_id, kind);
		return -EINVAL;
	}
	if (!NAME_VALID(c, t->name_off)) {
		skep_log_printf(c->log, "[%u] Invalid name_offset:%u", c->log_id, t->name_off);
		return -EINVAL;
	}
	const struct kind_row *row = &kinds[kind];
	uint32_t need = row->extra + row->per_member * T_VLEN(t);
	if (left < need) {
		log_basic(c, t, "meta_left:%u meta_needed:%u", left, need);
		return -EINVAL;
	}
	if (!row->vlen_ok && T_VLEN(t))
		return refuse(c, t, "vlen != 0");
	if (!row->kflag_ok && T_KFLAG(t))
		return refuse(c, t, "Invalid btf_info kind_flag");
	int err = row->check(c, t);
	return err ? err : (int64_t)(sizeof(*t) + need);
}

int skep_btf_check_metas(struct skep_btf_check *c)
{
	static const struct btf_type void_type;
	uint32_t off = 0;
	int err = add_type(c, &void_type);

	for (c->log_id = 1; !err && off < c->type_len; c->log_id++) {
		const struct btf_type *t = (const struct btf_type *)(c->type_sec + off);
		int64_t len = check_meta(c, t, c->type_len - off);
		if (len < 0)
			return (int)len;
		err = add_type(c, t);
		off += (uint32_t)len;
	}
	return err;
}

/* ---- The blob ---- */

static int bad(struct skep_log *log, const char *what, int err)
{
	skep_log_printf(log, "%s", what); /* the kernel ends these without a newline */
	return err;
}

struct section {
	uint32_t off, len;
};

static int check_sections(struct skep_log *log, const struct btf_header *h, uint32_t size)
{
	struct section s[2] = {{h->type_off, h->type_len}, {h->str_off, h->str_len}};
	uint32_t total = 0, expected = size - h->hdr_len;

	/* The kernel sorts by the signed difference, then by length. */
	int32_t diff = (int32_t)(s[0].off - s[1].off);
	if (diff > 0 || (!diff && (int32_t)(s[0].len - s[1].len) > 0)) {
		struct section t = s[0];
		s[0] = s[1];
		s[1] = t;
	}
	for (int i = 0; i < 2; i++) {
		if (expected < s[i].off)
			return bad(log, "Invalid section offset", -EINVAL);
		if (total < s[i].off)
			return bad(log, "Unsupported section found", -EINVAL);
		if (total > s[i].off)
			return bad(log, "Section overlap found", -EINVAL);
		if (expected - total < s[i].len)
			return bad(log, "Total section length too long", -EINVAL);
		total += s[i].len;
	}
	if (expected != total)
		return bad(log, "Unsupported section found", -EINVAL);
	return 0;
}

static int parse_header(struct skep_log *log, const uint8_t *data, uint32_t size,
			struct btf_header *h)
{
	uint32_t hdr_len;

	memset(h, 0, sizeof(*h));
	if (size < offsetof(struct btf_header, hdr_len) + sizeof(hdr_len))
		return bad(log, "hdr_len not found", -EINVAL);
	memcpy(&hdr_len, data + offsetof(struct btf_header, hdr_len), sizeof(hdr_len));
	if (size < hdr_len)
		return bad(log, "btf_header not found", -EINVAL);
	for (uint32_t i = sizeof(*h); i < hdr_len; i++)
		if (data[i])
			return bad(log, "Unsupported btf_header", -E2BIG);
	memcpy(h, data, hdr_len < sizeof(*h) ? hdr_len : sizeof(*h));

	skep_log_printf(log, "magic: 0x%x\n", h->magic);
	skep_log_printf(log, "version: %u\n", h->version);
	skep_log_printf(log, "flags: 0x%x\n", h->flags);
	skep_log_printf(log, "hdr_len: %u\n", h->hdr_len);
	skep_log_printf(log, "type_off: %u\n", h->type_off);
	skep_log_printf(log, "type_len: %u\n", h->type_len);
	skep_log_printf(log, "str_off: %u\n", h->str_off);
	skep_log_printf(log, "str_len: %u\n", h->str_len);
	skep_log_printf(log, "btf_total_size: %u\n", size);

	if (h->magic != BTF_MAGIC)
		return bad(log, "Invalid magic", -EINVAL);
	if (h->version != BTF_VERSION)
		return bad(log, "Unsupported version", -SKEP_ENOTSUPP);
	if (h->flags)
		return bad(log, "Unsupported flags", -SKEP_ENOTSUPP);
	if (size == h->hdr_len)
		return bad(log, "No data", -EINVAL);
	return check_sections(log, h, size);
}

static int parse(struct skep_btf_check *c, uint32_t size)
{
	struct skep_btf *btf = c->btf;
	struct btf_header h;
	int err = parse_header(c->log, btf->data, size, &h);

	if (err)
		return err;
	const uint8_t *body = (const uint8_t *)btf->data + h.hdr_len;
	if (h.str_off + h.str_len != size - h.hdr_len)
		return bad(c->log, "String section is not at the end", -EINVAL);
	btf->strings = (const char *)body + h.str_off;
	btf->strings_len = h.str_len;
	if (!h.str_len || h.str_len - 1 > BTF_MAX_NAME_OFFSET || btf->strings[0] ||
	    btf->strings[h.str_len - 1])
		return bad(c->log, "Invalid string section", -EINVAL);
	if (h.type_off & 3)
		return bad(c->log, "Unaligned type_off", -EINVAL);
	if (!h.type_len)
		return bad(c->log, "No type found", -EINVAL);
	c->type_sec = body + h.type_off;
	c->type_len = h.type_len;
	err = skep_btf_check_metas(c);
	if (!err)
		err = skep_btf_check_types(c);
	return err ? err : skep_btf_check_structs(c->btf, c->skep);
}

int skep_btf_parse(const void *data, uint32_t size, struct skep_log *log, struct skep_btf **out)
{
	return skep_btf_parse_for(NULL, data, size, log, out);
}

int skep_btf_parse_for(struct skep *skep, const void *data, uint32_t size, struct skep_log *log,
		       struct skep_btf **out)
{
	struct skep_btf_check *c = calloc(1, sizeof(*c));
	struct skep_btf *btf = calloc(1, sizeof(*btf));
	uint32_t hdr_len = 0;
	int err = -ENOMEM;

	if (!c || !btf)
		goto fail;
	/* Types shall be aligned in memory, whatever the header's length. */
	if (size >= 8)
		memcpy(&hdr_len, (const uint8_t *)data + 4, 4);
	btf->mem = malloc((size_t)size + 4);
	if (!btf->mem)
		goto fail;
	btf->data = (uint8_t *)btf->mem + (-hdr_len & 3);
	memcpy(btf->data, data, size);
	btf->data_size = size;
	atomic_init(&btf->obj.refs, 1);
	c->btf = btf;
	c->log = log;
	c->skep = skep;
	err = parse(c, size);
	if (err)
		goto fail;
	free(c->state);
	free(c->resolved);
	free(c);
	*out = btf;
	return 0;
fail:
	if (c) {
		free(c->state);
		free(c->resolved);
	}
	free(c);
	skep_btf_free(btf);
	return err;
}
