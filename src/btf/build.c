/* SPDX-License-Identifier: Apache-2.0 */
#include "btf/build.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define BUCKETS 4096u

int skep_btf_build_init(struct skep_btf_build *b)
{
	memset(b, 0, sizeof(*b));
	b->buckets = calloc(BUCKETS, sizeof(*b->buckets));
	b->node_buckets = calloc(BUCKETS, sizeof(*b->node_buckets));
	b->nodes = calloc(256, sizeof(*b->nodes));
	b->strings = malloc(4096);
	if (!b->buckets || !b->node_buckets || !b->nodes || !b->strings) {
		skep_btf_build_free(b);
		return -ENOMEM;
	}
	b->cap = 256;
	b->n = 1;
	b->strings_cap = 4096;
	b->strings[0] = 0;
	b->strings_len = 1;
	return 0;
}

void skep_btf_build_free(struct skep_btf_build *b)
{
	for (uint32_t i = 0; b->nodes && i < b->n; i++)
		free(b->nodes[i].parts);
	free(b->nodes);
	free(b->strings);
	free(b->buckets);
	free(b->node_buckets);
	memset(b, 0, sizeof(*b));
}

static uint32_t mix(uint32_t h, uint32_t v)
{
	h ^= v;
	h *= 0x9e3779b1u;
	return h ^ h >> 15;
}

uint32_t skep_btf_build_str(struct skep_btf_build *b, const char *s, size_t len)
{
	uint32_t h = 0;

	if (!len)
		return 0;
	for (size_t i = 0; i < len; i++)
		h = mix(h, (uint8_t)s[i]);
	/* A bucket keeps the last string only: a duplicate costs bytes, no harm. */
	uint32_t at = b->buckets[h % BUCKETS];
	if (at && !strncmp(b->strings + at, s, len) && !b->strings[at + len])
		return at;
	if (b->strings_len + len + 1 > b->strings_cap) {
		uint32_t cap = (b->strings_cap + (uint32_t)len) * 2;
		char *p = realloc(b->strings, cap);
		if (!p) {
			b->failed = true;
			return 0;
		}
		b->strings = p;
		b->strings_cap = cap;
	}
	at = b->strings_len;
	memcpy(b->strings + at, s, len);
	b->strings[at + len] = 0;
	b->strings_len += (uint32_t)len + 1;
	b->buckets[h % BUCKETS] = at;
	return at;
}

static bool same_name(const struct skep_btf_build *b, uint32_t x, uint32_t y)
{
	return x == y || !strcmp(b->strings + x, b->strings + y);
}

static uint32_t node_hash(const struct skep_btf_build *b, uint32_t kind, uint32_t name,
			  uint32_t type, uint32_t nelems)
{
	uint32_t h = mix(mix(mix(kind, type), nelems), 7);

	for (const char *s = b->strings + name; *s; s++)
		h = mix(h, (uint8_t)*s);
	return h;
}

/* Open addressing; b->n never comes near BUCKETS. */
static uint32_t *slot(const struct skep_btf_build *b, uint32_t kind, uint32_t name, uint32_t type,
		      uint32_t nelems)
{
	/* Named structures and typedefs are found by their names alone. */
	if (name)
		type = nelems = 0;
	uint32_t h = node_hash(b, kind, name, type, nelems);
	for (uint32_t i = 0; i < BUCKETS; i++) {
		uint32_t *at = &b->node_buckets[(h + i) % BUCKETS];
		const struct skep_btf_node *n = &b->nodes[*at];
		if (!*at || (n->kind == kind && same_name(b, n->name, name) &&
			     (name || (n->type == type && n->nelems == nelems))))
			return at;
	}
	return NULL;
}

uint32_t skep_btf_build_find(const struct skep_btf_build *b, uint32_t kind, uint32_t name,
			     uint32_t type, uint32_t nelems)
{
	uint32_t *at = slot(b, kind, name, type, nelems);

	return at ? *at : 0;
}

uint32_t skep_btf_build_add(struct skep_btf_build *b, const struct skep_btf_node *node)
{
	if (b->n == b->cap) {
		struct skep_btf_node *p = realloc(b->nodes, b->cap * 2 * sizeof(*p));
		if (!p) {
			b->failed = true;
			free(node->parts);
			return 0;
		}
		b->nodes = p;
		b->cap *= 2;
	}
	bool by_content = node->kind == BTF_KIND_PTR || node->kind == BTF_KIND_ARRAY ||
			  node->kind == BTF_KIND_CONST || node->kind == BTF_KIND_VOLATILE;
	uint32_t id = b->n;
	b->nodes[id] = *node;
	if (node->name || by_content) {
		uint32_t *at = slot(b, node->kind, node->name, node->type, node->nelems);
		if (!at || b->n + BUCKETS / 4 > BUCKETS)
			b->failed = true;
		else if (!*at)
			*at = id;
	}
	b->n++;
	return id;
}

uint32_t skep_btf_build_ref(struct skep_btf_build *b, uint32_t kind, uint32_t type, uint32_t nelems,
			    uint32_t index)
{
	uint32_t id = skep_btf_build_find(b, kind, 0, type, nelems);

	if (id)
		return id;
	return skep_btf_build_add(
		b, &(struct skep_btf_node){
			   .kind = kind, .type = type, .nelems = nelems, .index = index});
}

int64_t skep_btf_build_size(const struct skep_btf_build *b, uint32_t id, uint32_t *align)
{
	const struct skep_btf_node *n = &b->nodes[id];
	int64_t size;

	switch (n->kind) {
	case BTF_KIND_TYPEDEF:
	case BTF_KIND_CONST:
	case BTF_KIND_VOLATILE:
		return skep_btf_build_size(b, n->type, align);
	case BTF_KIND_PTR:
		*align = 8;
		return 8;
	case BTF_KIND_ARRAY:
		size = skep_btf_build_size(b, n->type, align);
		return size < 0 ? size : size * n->nelems;
	case BTF_KIND_INT:
	case BTF_KIND_ENUM:
	case BTF_KIND_ENUM64:
	case BTF_KIND_STRUCT:
	case BTF_KIND_UNION:
		*align = n->align;
		return n->align ? (int64_t)n->size : -EINVAL;
	default:
		return -EINVAL;
	}
}

/* ---- Writing ---- */

struct out {
	uint8_t *p;
	uint32_t len, cap;
	bool failed;
};

static void put32(struct out *o, uint32_t v)
{
	if (o->len + 4 > o->cap) {
		uint32_t cap = o->cap ? o->cap * 2 : 65536;
		uint8_t *p = realloc(o->p, cap);
		if (!p) {
			o->failed = true;
			return;
		}
		o->p = p;
		o->cap = cap;
	}
	memcpy(o->p + o->len, &v, 4);
	o->len += 4;
}

static void put_node(struct out *o, const struct skep_btf_node *n)
{
	bool no_body = (n->kind == BTF_KIND_STRUCT || n->kind == BTF_KIND_UNION) && !n->align;
	uint32_t kind = no_body ? BTF_KIND_FWD : n->kind, third = n->type;
	bool kflag = no_body ? n->kind == BTF_KIND_UNION : n->kflag;

	if (kind == BTF_KIND_FWD || kind == BTF_KIND_ARRAY)
		third = 0;
	else if (kind == BTF_KIND_STRUCT || kind == BTF_KIND_UNION || kind == BTF_KIND_INT ||
		 kind == BTF_KIND_ENUM || kind == BTF_KIND_ENUM64 || kind == BTF_KIND_DATASEC)
		third = n->size;
	put32(o, n->name);
	put32(o, (uint32_t)kflag << 31 | kind << 24 | n->nparts);
	put32(o, third);
	if (kind == BTF_KIND_INT)
		put32(o, n->type); /* the encoding word */
	if (kind == BTF_KIND_VAR || kind == BTF_KIND_DECL_TAG)
		put32(o, n->index);
	if (kind == BTF_KIND_ARRAY) {
		put32(o, n->type);
		put32(o, n->index);
		put32(o, n->nelems);
	}
	for (uint32_t i = 0; i < n->nparts; i++) {
		const struct skep_btf_part *p = &n->parts[i];
		if (kind == BTF_KIND_DATASEC) {
			put32(o, p->type);
			put32(o, (uint32_t)p->off);
			put32(o, p->bits);
			continue;
		}
		put32(o, p->name);
		if (kind == BTF_KIND_ENUM) {
			put32(o, (uint32_t)p->off);
		} else if (kind == BTF_KIND_ENUM64) {
			put32(o, (uint32_t)p->off);
			put32(o, (uint32_t)(p->off >> 32));
		} else {
			put32(o, p->type);
			if (kind != BTF_KIND_FUNC_PROTO)
				put32(o, (uint32_t)p->off | p->bits << 24);
		}
	}
}

int skep_btf_build_write(struct skep_btf_build *b, void **data, uint32_t *size)
{
	struct btf_header h = {.magic = BTF_MAGIC, .version = BTF_VERSION, .hdr_len = sizeof(h)};
	struct out o = {0};

	for (size_t i = 0; i < sizeof(h) / 4; i++)
		put32(&o, 0);
	for (uint32_t i = 1; i < b->n; i++)
		put_node(&o, &b->nodes[i]);
	h.type_len = h.str_off = o.len - (uint32_t)sizeof(h);
	h.str_len = b->strings_len;
	uint8_t *p = o.failed || b->failed ? NULL : realloc(o.p, o.len + h.str_len);
	if (!p) {
		free(o.p);
		return -ENOMEM;
	}
	memcpy(p, &h, sizeof(h));
	memcpy(p + o.len, b->strings, h.str_len);
	*data = p;
	*size = o.len + h.str_len;
	return 0;
}
