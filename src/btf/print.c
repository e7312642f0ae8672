/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Values as text. C-like: {.pid = 7, .comm = "sh", .addr = {10, 0, 0, 1}}; JSON: the
 * same as objects, lists, strings, numbers. Every kind of type prints in one function.
 */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "btf/internal.h"

#define MAX_DEPTH 32

struct printer {
	const struct skep_btf *btf;
	const struct skep_btf_sink *sink;
	const uint8_t *data;
	size_t size;
	bool json, compact;
	unsigned depth;
	int err;
};

static void text(struct printer *p, const char *s)
{
	p->sink->write(p->sink->arg, s, strlen(s));
}

static void textf(struct printer *p, const char *fmt, ...)
{
	char buf[128];
	va_list ap;

	va_start(ap, fmt);
	int n = vsnprintf(buf, sizeof(buf), fmt, ap);
	va_end(ap);
	if (n > 0)
		p->sink->write(p->sink->arg, buf,
			       (size_t)n < sizeof(buf) ? (size_t)n : sizeof(buf) - 1);
}

/* A new line at the current depth, where the text has lines. */
static void newline(struct printer *p)
{
	if (p->compact)
		return;
	text(p, "\n");
	for (unsigned i = 0; i < p->depth; i++)
		text(p, p->json ? "  " : "\t");
}

/* ---- Numbers ---- */

/* bits bits from bit offset off of the data, little-endian; at most 128. */
static void load_bits(const struct printer *p, uint64_t off, uint32_t bits, uint64_t out[2])
{
	out[0] = out[1] = 0;
	for (uint32_t i = 0; i < bits; i++) {
		uint64_t at = off + i;
		if (p->data[at / 8] >> at % 8 & 1)
			out[i / 64] |= 1ull << i % 64;
	}
}

static uint64_t load(const struct printer *p, uint64_t off, uint32_t bits, bool sign)
{
	uint64_t v[2];

	if (!(off % 8) && (bits == 8 || bits == 16 || bits == 32 || bits == 64)) {
		v[0] = 0;
		memcpy(v, p->data + off / 8, bits / 8);
	} else {
		load_bits(p, off, bits, v);
	}
	if (sign && bits && bits < 64 && v[0] >> (bits - 1) & 1)
		v[0] |= ~0ull << bits;
	return v[0];
}

static void wide(struct printer *p, uint64_t off, uint32_t bits)
{
	uint64_t v[2];

	load_bits(p, off, bits, v);
	const char *quote = p->json ? "\"" : "";
	if (v[1])
		textf(p, "%s0x%llx%016llx%s", quote, (unsigned long long)v[1],
		      (unsigned long long)v[0], quote);
	else
		textf(p, "%s0x%llx%s", quote, (unsigned long long)v[0], quote);
}

static bool is_char(const struct printer *p, const struct btf_type *t)
{
	if (T_KIND(t) != BTF_KIND_INT || t->size != 1)
		return false;
	return (BTF_INT_ENCODING(skep_btf_int_data(t)) & BTF_INT_CHAR) ||
	       !strcmp(skep_btf_str(p->btf, t->name_off), "char");
}

static void print_int(struct printer *p, const struct btf_type *t, uint64_t off, uint32_t bits)
{
	uint32_t data = skep_btf_int_data(t), enc = BTF_INT_ENCODING(data);

	if (!bits) {
		bits = BTF_INT_BITS(data);
		off += BTF_INT_OFFSET(data);
	}
	if (bits > 64) {
		wide(p, off, bits);
	} else if (enc & BTF_INT_BOOL) {
		text(p, load(p, off, bits, false) ? "true" : "false");
	} else if (is_char(p, t) && !p->json && bits == 8) {
		char c = (char)load(p, off, 8, false);
		if (c >= ' ' && c <= '~' && c != '\'' && c != '\\')
			textf(p, "'%c'", c);
		else
			textf(p, "%d", c);
	} else if (enc & BTF_INT_SIGNED) {
		textf(p, "%lld", (long long)load(p, off, bits, true));
	} else {
		textf(p, "%llu", (unsigned long long)load(p, off, bits, false));
	}
}

static void print_enum(struct printer *p, const struct btf_type *t, uint64_t off, uint32_t bits)
{
	const struct btf_enum *e = (const struct btf_enum *)(t + 1);
	const struct btf_enum64 *w = (const struct btf_enum64 *)(t + 1);
	bool is64 = T_KIND(t) == BTF_KIND_ENUM64, sign = T_KFLAG(t);
	uint32_t width = bits ? bits : t->size * 8;
	uint64_t mask = width >= 64 ? ~0ull : (1ull << width) - 1;
	uint64_t v = load(p, off, width, false) & mask;

	for (uint32_t i = 0; i < T_VLEN(t); i++) {
		uint64_t its = is64 ? (uint64_t)w[i].val_hi32 << 32 | w[i].val_lo32
				    : (uint64_t)(int64_t)e[i].val;
		if ((its & mask) != v)
			continue;
		const char *name = skep_btf_str(p->btf, is64 ? w[i].name_off : e[i].name_off);
		textf(p, p->json ? "\"%s\"" : "%s", name);
		return;
	}
	if (sign)
		textf(p, "%lld", (long long)load(p, off, width, true));
	else
		textf(p, "%llu", (unsigned long long)v);
}

static void print_float(struct printer *p, const struct btf_type *t, uint64_t off)
{
	const uint8_t *at = p->data + off / 8;
	double v = 0;

	if (t->size == 4) {
		float f;
		memcpy(&f, at, 4);
		v = (double)f;
	} else if (t->size == 8) {
		memcpy(&v, at, 8);
	} else if (t->size == 16 && sizeof(long double) == 16) {
		long double l = 0;
		memcpy(&l, at, 10);
		v = (double)l;
	} else {
		wide(p, off, t->size * 8);
		return;
	}
	/* JSON has no infinities. */
	if (p->json && (v != v || v - v != 0))
		text(p, "null");
	else
		textf(p, "%.17g", v);
}

/* ---- Strings ---- */

/* Length of the text in a char array, or -1 if it is none: printable (UTF-8 included), and
 * zeros after the end. */
static int64_t text_len(const uint8_t *s, uint32_t n)
{
	uint32_t len = 0;

	for (; len < n && s[len]; len++)
		if ((s[len] < ' ' && s[len] != '\n' && s[len] != '\t' && s[len] != '\r') ||
		    s[len] == 0x7f)
			return -1;
	for (uint32_t i = len; i < n; i++)
		if (s[i])
			return -1;
	return len;
}

/* Bytes of one well-formed UTF-8 character at s, or 0. */
static unsigned utf8(const uint8_t *s, size_t n)
{
	unsigned len = s[0] < 0x80                   ? 1
		       : s[0] >= 0xc2 && s[0] < 0xe0 ? 2
		       : s[0] >= 0xe0 && s[0] < 0xf0 ? 3
		       : s[0] >= 0xf0 && s[0] < 0xf5 ? 4
						     : 0;
	if (len > n)
		return 0;
	for (unsigned i = 1; i < len; i++)
		if ((s[i] & 0xc0) != 0x80)
			return 0;
	if (len == 3 && ((s[0] == 0xe0 && s[1] < 0xa0) || (s[0] == 0xed && s[1] >= 0xa0)))
		return 0;
	if (len == 4 && ((s[0] == 0xf0 && s[1] < 0x90) || (s[0] == 0xf4 && s[1] >= 0x90)))
		return 0;
	return len;
}

static void print_string(struct printer *p, const uint8_t *s, size_t n)
{
	text(p, "\"");
	for (size_t i = 0; i < n;) {
		unsigned len = utf8(s + i, n - i);
		if (s[i] == '"' || s[i] == '\\')
			textf(p, "\\%c", s[i]);
		else if (s[i] == '\n')
			text(p, "\\n");
		else if (s[i] == '\t')
			text(p, "\\t");
		else if (s[i] == '\r')
			text(p, "\\r");
		else if (!len)
			textf(p, p->json ? "\\u%04x" : "\\x%02x", s[i]);
		else
			p->sink->write(p->sink->arg, (const char *)s + i, len);
		i += len ? len : 1;
	}
	text(p, "\"");
}

/* ---- Types ---- */

static void print_type(struct printer *p, uint32_t id, uint64_t off, uint32_t bits);

static void open_list(struct printer *p, const char *what)
{
	text(p, what);
	p->depth++;
}

static void close_list(struct printer *p, const char *what, bool any)
{
	p->depth--;
	if (any)
		newline(p);
	text(p, what);
}

static void separate(struct printer *p, bool *any)
{
	if (*any)
		text(p, p->compact ? ", " : ",");
	*any = true;
}

static bool is_aggregate(const struct printer *p, uint32_t id)
{
	const struct btf_type *t = skep_btf_skip_mods(p->btf, id, NULL);

	return skep_btf_is_struct(t) || T_KIND(t) == BTF_KIND_ARRAY;
}

static void print_array(struct printer *p, const struct btf_type *t, uint64_t off)
{
	const struct btf_array *a = skep_btf_array(t);
	const struct btf_type *elem = skep_btf_skip_mods(p->btf, a->type, NULL);
	int64_t each = skep_btf_size(p->btf, a->type);
	bool any = false, lines = is_aggregate(p, a->type);

	if (elem && is_char(p, elem)) {
		int64_t len = text_len(p->data + off / 8, a->nelems);
		if (len >= 0) {
			print_string(p, p->data + off / 8, (size_t)len);
			return;
		}
	}
	open_list(p, p->json ? "[" : "{");
	for (uint32_t i = 0; i < a->nelems; i++) {
		if (any)
			text(p, lines && !p->compact ? "," : ", ");
		any = true;
		if (lines)
			newline(p);
		print_type(p, a->type, off + (uint64_t)i * (uint64_t)each * 8, 0);
	}
	close_list(p, p->json ? "]" : "}", any && lines);
}

static void print_name(struct printer *p, const char *name)
{
	textf(p, p->json ? "\"%s\": " : ".%s = ", name);
}

static void print_members(struct printer *p, const struct btf_type *t, uint64_t off, bool *any)
{
	const struct btf_member *m = skep_btf_members(t);

	for (uint32_t i = 0; i < T_VLEN(t); i++) {
		const char *name = skep_btf_str(p->btf, m[i].name_off);
		uint64_t at = off + skep_btf_member_bits(t, &m[i]);
		const struct btf_type *in = skep_btf_skip_mods(p->btf, m[i].type, NULL);
		/* Members of members without a name read like members. */
		if (!*name && skep_btf_is_struct(in) && p->depth < MAX_DEPTH) {
			p->depth++;
			print_members(p, in, at, any);
			p->depth--;
			continue;
		}
		if (!*name)
			continue;
		separate(p, any);
		newline(p);
		print_name(p, name);
		print_type(p, m[i].type, at, skep_btf_member_bitfield(t, &m[i]));
	}
}

static void print_struct(struct printer *p, const struct btf_type *t, uint64_t off)
{
	bool any = false;

	open_list(p, "{");
	print_members(p, t, off, &any);
	close_list(p, "}", any);
}

static void print_datasec(struct printer *p, const struct btf_type *t, uint64_t off)
{
	const struct btf_var_secinfo *v = skep_btf_vars(t);
	bool any = false;

	open_list(p, "{");
	for (uint32_t i = 0; i < T_VLEN(t); i++) {
		separate(p, &any);
		newline(p);
		print_name(p, skep_btf_name(p->btf, v[i].type));
		print_type(p, skep_btf_type(p->btf, v[i].type)->type, off + v[i].offset * 8ull, 0);
	}
	close_list(p, "}", any);
}

static void print_type(struct printer *p, uint32_t id, uint64_t off, uint32_t bits)
{
	const struct btf_type *t = skep_btf_skip_mods(p->btf, id, &id);
	int64_t size = skep_btf_size(p->btf, id);

	/* Members lie inside their structures, and the whole inside the data: BTF says so, but
	 * the data's size does not come from BTF. */
	if (size < 0 || p->depth > MAX_DEPTH ||
	    (bits ? (off + bits + 7) / 8 : off / 8 + (uint64_t)size) > p->size) {
		p->err = p->err ? p->err : -EINVAL;
		text(p, p->json ? "null" : "?");
		return;
	}
	switch (T_KIND(t)) {
	case BTF_KIND_INT:
		print_int(p, t, off, bits);
		break;
	case BTF_KIND_ENUM:
	case BTF_KIND_ENUM64:
		print_enum(p, t, off, bits);
		break;
	case BTF_KIND_FLOAT:
		print_float(p, t, off);
		break;
	case BTF_KIND_PTR:
		textf(p, p->json ? "\"0x%llx\"" : "0x%llx",
		      (unsigned long long)load(p, off, 64, false));
		break;
	case BTF_KIND_ARRAY:
		print_array(p, t, off);
		break;
	case BTF_KIND_STRUCT:
	case BTF_KIND_UNION:
		print_struct(p, t, off);
		break;
	case BTF_KIND_DATASEC:
		print_datasec(p, t, off);
		break;
	case BTF_KIND_VAR:
		print_type(p, t->type, off, bits);
		break;
	}
}

int skep_btf_print(const struct skep_btf *btf, uint32_t id, const void *data, size_t size,
		   uint32_t flags, const struct skep_btf_sink *sink)
{
	struct printer p = {.btf = btf,
			    .sink = sink,
			    .data = data,
			    .size = size,
			    .json = flags & SKEP_BTF_JSON,
			    .compact = flags & SKEP_BTF_COMPACT};
	int64_t need = skep_btf_size(btf, id);

	if (need < 0 || (flags & ~(SKEP_BTF_JSON | SKEP_BTF_COMPACT)) || size < (uint64_t)need)
		return -EINVAL;
	print_type(&p, id, 0, 0);
	return p.err;
}
