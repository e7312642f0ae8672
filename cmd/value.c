/* SPDX-License-Identifier: Apache-2.0 */
#include "bpf/uapi.h"

#include "value.h"

#include <arpa/inet.h>
#include <bpf/btf.h>
#include <ctype.h>
#include <inttypes.h>
#include <string.h>

#define DEEPEST    16 /* nesting that is followed */
#define LONG_ARRAY 64 /* elements shown to people */

uint32_t value_skip(const struct btf *btf, uint32_t type)
{
	for (int i = 0; i < 32 && btf && type; i++) {
		const struct btf_type *t = btf__type_by_id(btf, type);

		if (!t || !(btf_is_mod(t) || btf_is_typedef(t) || btf_is_type_tag(t)))
			break;
		type = t->type;
	}
	return type;
}

/* The bits [off, off + bits) of data, with bits <= 64; the caller checked the size. */
static uint64_t get_bits(const uint8_t *data, uint32_t off, uint32_t bits)
{
	uint64_t v = 0;

	for (uint32_t i = 0; i < bits; i++)
		v |= (uint64_t)(data[(off + i) / 8] >> (off + i) % 8 & 1) << i;
	return v;
}

static int64_t sign_extend(uint64_t v, uint32_t bits)
{
	return !bits || bits >= 64 ? (int64_t)v : (int64_t)(v << (64 - bits)) >> (64 - bits);
}

/* ---- Output to one of two places ---- */

struct sink {
	FILE *f; /* people, or ... */
	struct json *j; /* ... programs */
	const struct btf *btf;
	int depth;
};

static void put_u64(struct sink *s, uint64_t v)
{
	if (s->j)
		json_u64(s->j, v);
	else
		fprintf(s->f, "%" PRIu64, v);
}

static void put_i64(struct sink *s, int64_t v)
{
	if (s->j)
		json_i64(s->j, v);
	else
		fprintf(s->f, "%" PRId64, v);
}

static void put_word(struct sink *s, const char *w)
{
	if (s->j)
		json_str(s->j, w);
	else
		fputs(w, s->f);
}

static void put_value(struct sink *s, uint32_t type, const uint8_t *data, size_t size, uint32_t bit,
		      uint32_t bits);

static void put_bytes(struct sink *s, const uint8_t *data, size_t size)
{
	if (s->j) {
		json_open(s->j, '[');
		for (size_t i = 0; i < size; i++)
			json_u64(s->j, data[i]);
		json_close(s->j, ']');
		return;
	}
	for (size_t i = 0; i < size; i++)
		fprintf(s->f, i ? " %02x" : "%02x", data[i]);
}

static void put_unknown(struct sink *s, const uint8_t *data, size_t size)
{
	if (size == 1 || size == 2 || size == 4 || size == 8)
		put_u64(s, get_bits(data, 0, (uint32_t)size * 8));
	else
		put_bytes(s, data, size);
}

static void put_int(struct sink *s, const struct btf_type *t, const uint8_t *data, size_t size,
		    uint32_t bit, uint32_t bits)
{
	uint8_t enc = btf_int_encoding(t);
	uint64_t v;

	if (!bits) {
		bit = btf_int_offset(t);
		bits = btf_int_bits(t);
	}
	if (bits > 64 || bit + bits > size * 8) {
		put_bytes(s, data, size < t->size ? size : t->size);
		return;
	}
	v = get_bits(data, bit, bits);
	if (enc & BTF_INT_BOOL) {
		if (s->j)
			json_bool(s->j, v);
		else
			fputs(v ? "true" : "false", s->f);
	} else if (enc & BTF_INT_SIGNED) {
		put_i64(s, sign_extend(v, bits));
	} else {
		put_u64(s, v);
	}
}

static void put_enum(struct sink *s, const struct btf_type *t, const uint8_t *data, size_t size,
		     uint32_t bit, uint32_t bits)
{
	bool wide = btf_kind(t) == BTF_KIND_ENUM64;
	uint64_t v;

	if (!bits)
		bits = t->size * 8;
	if (bits > 64 || bit + bits > size * 8)
		return put_bytes(s, data, size);
	v = get_bits(data, bit, bits);
	for (uint32_t i = 0; i < btf_vlen(t); i++) {
		const struct btf_enum *e = btf_enum(t) + i;
		const struct btf_enum64 *w = btf_enum64(t) + i;
		uint64_t is = wide ? btf_enum64_value(w) : (uint32_t)e->val;

		if (bits < 64)
			is &= (1ull << bits) - 1;
		if (is != v)
			continue;
		put_word(s, btf__name_by_offset(s->btf, wide ? w->name_off : e->name_off));
		return;
	}
	if (btf_kflag(t))
		put_i64(s, sign_extend(v, bits));
	else
		put_u64(s, v);
}

/* Text if it looks like one: printable up to the first NUL, and NULs from there. */
static bool put_chars(struct sink *s, const uint8_t *data, size_t n)
{
	size_t len = strnlen((const char *)data, n);

	for (size_t i = 0; i < n; i++)
		if (i < len ? !isprint(data[i]) : data[i])
			return false;
	if (s->j)
		json_strn(s->j, (const char *)data, len);
	else
		fprintf(s->f, "\"%.*s\"", (int)len, data);
	return true;
}

static void put_array(struct sink *s, const struct btf_type *t, const uint8_t *data, size_t size)
{
	const struct btf_array *a = btf_array(t);
	uint32_t elem = value_skip(s->btf, a->type), n = a->nelems;
	const struct btf_type *et = btf__type_by_id(s->btf, elem);
	int64_t each = btf__resolve_size(s->btf, a->type);

	if (each <= 0 || (uint64_t)each * n > size) {
		put_bytes(s, data, size);
		return;
	}
	/* BTF of compilers tells char from u8 by the name only. */
	if (et && btf_is_int(et) && each == 1 && n &&
	    !strcmp(btf__name_by_offset(s->btf, et->name_off), "char") && put_chars(s, data, n))
		return;
	if (s->j)
		json_open(s->j, '[');
	else
		fputc('[', s->f);
	for (uint32_t i = 0; i < n; i++) {
		if (!s->j && i)
			fputs(", ", s->f);
		if (!s->j && i == LONG_ARRAY) {
			fprintf(s->f, "and %u more", n - i);
			break;
		}
		put_value(s, a->type, data + (size_t)each * i, (size_t)each, 0, 0);
	}
	if (s->j)
		json_close(s->j, ']');
	else
		fputc(']', s->f);
}

static void put_struct(struct sink *s, const struct btf_type *t, const uint8_t *data, size_t size)
{
	bool first = true;

	if (!s->j && !strcmp(btf__name_by_offset(s->btf, t->name_off), "in6_addr") && size >= 16) {
		char text[INET6_ADDRSTRLEN];

		fputs(inet_ntop(AF_INET6, data, text, sizeof(text)), s->f);
		return;
	}
	if (s->j)
		json_open(s->j, '{');
	else
		fputc('{', s->f);
	for (uint32_t i = 0; i < btf_vlen(t); i++) {
		const struct btf_member *m = btf_members(t) + i;
		const char *name = btf__name_by_offset(s->btf, m->name_off);
		uint32_t off = btf_member_bit_offset(t, i), bits = btf_member_bitfield_size(t, i);
		size_t at = off / 8;

		if (at > size)
			break;
		if (s->j) {
			json_key(s->j, name[0] ? name : "(anonymous)");
		} else {
			fputs(first ? "" : ", ", s->f);
			if (name[0])
				fprintf(s->f, "%s: ", name);
		}
		first = false;
		put_value(s, m->type, data + at, size - at, off % 8, bits);
	}
	if (s->j)
		json_close(s->j, '}');
	else
		fputc('}', s->f);
}

/* Numbers in network order, for people. */
static bool put_network(struct sink *s, uint32_t type, const uint8_t *data, size_t size)
{
	for (int i = 0; i < 32 && type; i++) {
		const struct btf_type *t = btf__type_by_id(s->btf, type);
		const char *name;

		if (!t || !(btf_is_mod(t) || btf_is_typedef(t) || btf_is_type_tag(t)))
			return false;
		name = btf__name_by_offset(s->btf, t->name_off);
		if (btf_is_typedef(t) && !strcmp(name, "__be32") && size >= 4) {
			fprintf(s->f, "%u.%u.%u.%u", data[0], data[1], data[2], data[3]);
			return true;
		}
		if (btf_is_typedef(t) && !strcmp(name, "__be16") && size >= 2) {
			fprintf(s->f, "%u", (unsigned)data[0] << 8 | data[1]);
			return true;
		}
		type = t->type;
	}
	return false;
}

/* bits: width of a bit field that starts at bit, 0 if it is not one. */
static void put_value(struct sink *s, uint32_t type, const uint8_t *data, size_t size, uint32_t bit,
		      uint32_t bits)
{
	const struct btf_type *t;
	int64_t real;

	if (!s->j && !bits && put_network(s, type, data, size))
		return;
	type = value_skip(s->btf, type);
	t = type ? btf__type_by_id(s->btf, type) : NULL;
	if (!t || s->depth >= DEEPEST) {
		put_unknown(s, data, size);
		return;
	}
	real = btf__resolve_size(s->btf, type);
	if (!bits && (real < 0 || (uint64_t)real > size)) {
		put_bytes(s, data, size);
		return;
	}
	s->depth++;
	switch (btf_kind(t)) {
	case BTF_KIND_INT:
		put_int(s, t, data, bits ? size : (size_t)real, bit, bits);
		break;
	case BTF_KIND_ENUM:
	case BTF_KIND_ENUM64:
		put_enum(s, t, data, bits ? size : (size_t)real, bit, bits);
		break;
	case BTF_KIND_ARRAY:
		put_array(s, t, data, (size_t)real);
		break;
	case BTF_KIND_STRUCT:
	case BTF_KIND_UNION:
		put_struct(s, t, data, (size_t)real);
		break;
	case BTF_KIND_PTR:
		if (s->j)
			json_u64(s->j, get_bits(data, 0, 64));
		else
			fprintf(s->f, "0x%" PRIx64, get_bits(data, 0, 64));
		break;
	default:
		put_unknown(s, data, (size_t)real);
	}
	s->depth--;
}

void value_text(FILE *f, const struct btf *btf, uint32_t type, const void *data, size_t size)
{
	struct sink s = {.f = f, .btf = btf};

	put_value(&s, btf ? type : 0, data, size, 0, 0);
}

void value_json(struct json *j, const struct btf *btf, uint32_t type, const void *data, size_t size)
{
	struct sink s = {.j = j, .btf = btf};

	put_value(&s, btf ? type : 0, data, size, 0, 0);
}

/* ---- Numbers ---- */

bool value_is_number(const struct btf *btf, uint32_t type, size_t size)
{
	const struct btf_type *t;

	if (!btf || !type)
		return size == 1 || size == 2 || size == 4 || size == 8;
	t = btf__type_by_id(btf, value_skip(btf, type));
	return t && btf_is_int(t) && t->size <= 8;
}

bool value_number(const struct btf *btf, uint32_t type, const void *data, size_t size, int64_t *out)
{
	const struct btf_type *t = NULL;

	for (int i = 0; i < DEEPEST && btf && type; i++) {
		type = value_skip(btf, type);
		t = btf__type_by_id(btf, type);
		if (!t || !btf_is_composite(t) || !btf_vlen(t) || btf_member_bit_offset(t, 0) ||
		    btf_member_bitfield_size(t, 0))
			break;
		type = btf_members(t)->type;
	}
	if (t) {
		if (!btf_is_int(t) || t->size > 8 || t->size > size)
			return false;
		size = t->size;
	} else if (size != 1 && size != 2 && size != 4 && size != 8) {
		return false;
	}
	*out = (int64_t)get_bits(data, 0, (uint32_t)size * 8);
	if (t && (btf_int_encoding(t) & BTF_INT_SIGNED))
		*out = sign_extend((uint64_t)*out, (uint32_t)size * 8);
	return true;
}
