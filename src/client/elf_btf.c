/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Checks of the structure of .BTF and .BTF.ext as compilers write them. This comes before
 * linking: sizes of sections are still 0, so it is not what the kernel checks.
 */
#include <errno.h>
#include <linux/btf.h>
#include <stdlib.h>
#include <string.h>

#include "client/elf.h"

#define BAD(...)                                                                                   \
	(skep_fail(err, -EINVAL, "Compile the program again, with -g.", __VA_ARGS__), -EINVAL)

/* What follows a type's 12 bytes: bytes of its own and bytes per member. */
static const struct {
	uint8_t fixed, each;
	bool refers; /* .type names a type, rather than .size a number */
} kinds[] = {
	[BTF_KIND_INT] = {.fixed = 4},
	[BTF_KIND_PTR] = {.refers = true},
	[BTF_KIND_ARRAY] = {.fixed = sizeof(struct btf_array)},
	[BTF_KIND_STRUCT] = {.each = sizeof(struct btf_member)},
	[BTF_KIND_UNION] = {.each = sizeof(struct btf_member)},
	[BTF_KIND_ENUM] = {.each = sizeof(struct btf_enum)},
	[BTF_KIND_FWD] = {0},
	[BTF_KIND_TYPEDEF] = {.refers = true},
	[BTF_KIND_VOLATILE] = {.refers = true},
	[BTF_KIND_CONST] = {.refers = true},
	[BTF_KIND_RESTRICT] = {.refers = true},
	[BTF_KIND_FUNC] = {.refers = true},
	[BTF_KIND_FUNC_PROTO] = {.each = sizeof(struct btf_param), .refers = true},
	[BTF_KIND_VAR] = {.fixed = sizeof(struct btf_var), .refers = true},
	[BTF_KIND_DATASEC] = {.each = sizeof(struct btf_var_secinfo)},
	[BTF_KIND_FLOAT] = {0},
	[BTF_KIND_DECL_TAG] = {.fixed = sizeof(struct btf_decl_tag), .refers = true},
	[BTF_KIND_TYPE_TAG] = {.refers = true},
	[BTF_KIND_ENUM64] = {.each = sizeof(struct btf_enum64)},
};

struct btf_file {
	const struct btf_header *h;
	const uint8_t *types;
	const char *strings;
	uint32_t ntypes; /* ids below this are valid */
};

static bool inside(uint64_t off, uint64_t len, uint64_t size)
{
	return off <= size && len <= size - off;
}

static int open_btf(struct btf_file *f, const void *data, size_t size, struct skep_error *err)
{
	const struct btf_header *h = data;
	uint64_t left;

	if (size < sizeof(*h))
		return BAD("the BTF header is cut off");
	if (h->magic != BTF_MAGIC)
		return BAD("the BTF has the wrong magic number (0x%x)", h->magic);
	if (h->version != BTF_VERSION || h->hdr_len < sizeof(*h) || h->hdr_len > size ||
	    h->hdr_len % 4 || (uintptr_t)data % 4)
		return BAD("the BTF has an unknown header (version %u, %u bytes)", h->version,
			   h->hdr_len);
	left = size - h->hdr_len;
	if (!inside(h->type_off, h->type_len, left) || !inside(h->str_off, h->str_len, left) ||
	    h->type_off % 4 || h->type_len % 4)
		return BAD("the BTF's sections lie outside of it");
	if (h->str_off < (uint64_t)h->type_off + h->type_len)
		return BAD("the BTF's sections overlap");
	f->h = h;
	f->types = (const uint8_t *)data + h->hdr_len + h->type_off;
	f->strings = (const char *)data + h->hdr_len + h->str_off;
	if (!h->str_len || f->strings[0] || f->strings[h->str_len - 1])
		return BAD("the BTF's strings are malformed");
	return 0;
}

/* The type at off, or NULL if it does not fit; *next is where the one behind it starts. */
static const struct btf_type *type_at(const struct btf_file *f, uint32_t off, uint32_t *next)
{
	const struct btf_type *t = (const struct btf_type *)(f->types + off);
	uint64_t len;
	uint32_t kind;

	if (!inside(off, sizeof(*t), f->h->type_len))
		return NULL;
	kind = BTF_INFO_KIND(t->info);
	if (!kind || kind >= sizeof(kinds) / sizeof(kinds[0]))
		return NULL;
	len = sizeof(*t) + kinds[kind].fixed + (uint64_t)kinds[kind].each * BTF_INFO_VLEN(t->info);
	if (!inside(off, len, f->h->type_len))
		return NULL;
	*next = off + (uint32_t)len;
	return t;
}

static int count_types(struct btf_file *f, struct skep_error *err)
{
	uint32_t off = 0;

	f->ntypes = 1;
	while (off < f->h->type_len) {
		if (!type_at(f, off, &off))
			return BAD("BTF type %u is malformed or cut off", f->ntypes);
		f->ntypes++;
	}
	return 0;
}

/* Names and types of one type's members: all of these records start with a name or a type. */
static bool members_ok(const struct btf_file *f, const struct btf_type *t)
{
	uint32_t kind = BTF_INFO_KIND(t->info), n = BTF_INFO_VLEN(t->info);
	const uint8_t *at = (const uint8_t *)(t + 1);

	/* A function's vlen is its linkage. */
	for (uint32_t i = 0; kinds[kind].each && i < n; i++, at += kinds[kind].each) {
		const uint32_t *w = (const uint32_t *)at;

		if (kind != BTF_KIND_DATASEC && w[0] >= f->h->str_len)
			return false;
		if (kind == BTF_KIND_DATASEC && (!w[0] || w[0] >= f->ntypes))
			return false;
		if ((kind == BTF_KIND_STRUCT || kind == BTF_KIND_UNION ||
		     kind == BTF_KIND_FUNC_PROTO) &&
		    w[1] >= f->ntypes)
			return false;
	}
	return true;
}

static int check_type(const struct btf_file *f, uint32_t id, const struct btf_type *t,
		      struct skep_error *err)
{
	uint32_t kind = BTF_INFO_KIND(t->info);
	const struct btf_array *a = (const struct btf_array *)(t + 1);

	if (t->name_off >= f->h->str_len)
		return BAD("BTF type %u has no valid name", id);
	if (kinds[kind].refers && t->type >= f->ntypes)
		return BAD("BTF type %u refers to type %u, which is not there", id, t->type);
	if (kind == BTF_KIND_ARRAY && (a->type >= f->ntypes || a->index_type >= f->ntypes))
		return BAD("BTF type %u refers to a type that is not there", id);
	if (!members_ok(f, t))
		return BAD("BTF type %u has a malformed member", id);
	return 0;
}

/* The kind that id must have for these references; a datasec holds variables, and so on. */
static int check_kinds(const struct btf_file *f, const struct btf_type **at, struct skep_error *err)
{
	for (uint32_t id = 1; id < f->ntypes; id++) {
		const struct btf_type *t = at[id];
		uint32_t kind = BTF_INFO_KIND(t->info), n = BTF_INFO_VLEN(t->info);
		const struct btf_var_secinfo *v = (const struct btf_var_secinfo *)(t + 1);

		if (kind == BTF_KIND_FUNC &&
		    (!t->type || BTF_INFO_KIND(at[t->type]->info) != BTF_KIND_FUNC_PROTO))
			return BAD("BTF function %u has no prototype", id);
		for (uint32_t i = 0; kind == BTF_KIND_DATASEC && i < n; i++) {
			uint32_t k = BTF_INFO_KIND(at[v[i].type]->info);

			/* Sections hold variables; those of kfuncs and ksyms, functions too. */
			if (k != BTF_KIND_VAR && k != BTF_KIND_FUNC)
				return BAD("BTF section %u holds something other than variables",
					   id);
		}
	}
	return 0;
}

/* No chain of modifiers, pointers aside, may lead back to itself: readers follow them. */
static int check_chains(const struct btf_file *f, const struct btf_type **at,
			struct skep_error *err)
{
	for (uint32_t id = 1; id < f->ntypes; id++) {
		uint32_t steps = 0, i = id;

		while (i) {
			uint32_t kind = BTF_INFO_KIND(at[i]->info);

			if (kind == BTF_KIND_ARRAY)
				i = ((const struct btf_array *)(at[i] + 1))->type;
			else if (kinds[kind].refers && kind != BTF_KIND_PTR &&
				 kind != BTF_KIND_FUNC_PROTO && kind != BTF_KIND_FUNC)
				i = at[i]->type;
			else
				break;
			if (++steps > 32)
				return BAD("BTF type %u refers to itself", id);
		}
	}
	return 0;
}

int skep_elf_check_btf(const void *data, size_t size, struct skep_error *err)
{
	struct btf_file f = {0};
	const struct btf_type **at;
	uint32_t off = 0;
	int r;

	r = open_btf(&f, data, size, err);
	if (!r)
		r = count_types(&f, err);
	if (r)
		return r;
	at = calloc(f.ntypes, sizeof(void *));
	if (!at)
		return -ENOMEM;
	for (uint32_t id = 1; !r && id < f.ntypes; id++) {
		at[id] = type_at(&f, off, &off);
		r = check_type(&f, id, at[id], err);
	}
	if (!r)
		r = check_kinds(&f, at, err);
	if (!r)
		r = check_chains(&f, at, err);
	free(at);
	return r;
}

/* ---- BTF.ext ---- */

/* The header as of CO-RE; the last two fields may be missing. */
struct ext_header {
	uint16_t magic;
	uint8_t version, flags;
	uint32_t hdr_len, func_off, func_len, line_off, line_len, core_off, core_len;
};

struct ext_table {
	const char *name;
	uint32_t off, len, min_rec;
	uint32_t str[2], nstr; /* words of a record that are strings */
	int type; /* word that is a type, -1: none */
};

static int check_table(const struct ext_table *x, const uint8_t *base, size_t left,
		       const struct btf_file *f, struct skep_error *err)
{
	uint64_t at = x->off, end = (uint64_t)x->off + x->len;
	uint32_t rec;

	if (!x->len)
		return 0;
	if (!inside(x->off, x->len, left) || x->off % 4 || x->len % 4 || x->len < 4)
		return BAD("the %s table of BTF.ext lies outside of it", x->name);
	rec = *(const uint32_t *)(base + at);
	if (rec < x->min_rec || rec % 4 || rec > 4096)
		return BAD("the %s records of BTF.ext have %u bytes", x->name, rec);
	for (at += 4; at < end;) {
		const uint32_t *sec = (const uint32_t *)(base + at);

		if (end - at < 8 || sec[0] >= f->h->str_len || !sec[1] ||
		    !inside(at + 8, (uint64_t)sec[1] * rec, end))
			return BAD("the %s table of BTF.ext is malformed", x->name);
		at += 8;
		for (uint32_t i = 0; i < sec[1]; i++, at += rec) {
			const uint32_t *w = (const uint32_t *)(base + at);

			if (w[0] % 8)
				return BAD("a %s record of BTF.ext points into an instruction",
					   x->name);
			for (uint32_t k = 0; k < x->nstr; k++)
				if (w[x->str[k]] >= f->h->str_len)
					return BAD("a %s record of BTF.ext has no valid name",
						   x->name);
			if (x->type >= 0 && (w[x->type] >= f->ntypes))
				return BAD("a %s record of BTF.ext refers to type %u, which is not "
					   "there",
					   x->name, w[x->type]);
		}
	}
	return 0;
}

int skep_elf_check_btf_ext(const void *data, size_t size, const void *btf, size_t btf_size,
			   struct skep_error *err)
{
	const struct ext_header *h = data;
	struct btf_file f = {0};
	const uint8_t *base;
	size_t left;
	int r;

	r = open_btf(&f, btf, btf_size, err);
	if (!r)
		r = count_types(&f, err);
	if (r)
		return r;
	if (size < 24 || h->magic != BTF_MAGIC || h->version != BTF_VERSION || h->hdr_len < 24 ||
	    h->hdr_len > size || h->hdr_len % 4 || (uintptr_t)data % 4)
		return BAD("BTF.ext has an unknown header");
	base = (const uint8_t *)data + h->hdr_len;
	left = size - h->hdr_len;

	struct ext_table tables[] = {
		{"func_info", h->func_off, h->func_len, 8, {0}, 0, 1},
		{"line_info", h->line_off, h->line_len, 16, {1, 2}, 2, -1},
		{"CO-RE", 0, 0, 16, {2}, 1, 1},
	};

	if (h->hdr_len >= sizeof(*h)) {
		tables[2].off = h->core_off;
		tables[2].len = h->core_len;
	}
	for (size_t i = 0; !r && i < sizeof(tables) / sizeof(tables[0]); i++)
		r = check_table(&tables[i], base, left, &f, err);
	return r;
}
