/* SPDX-License-Identifier: Apache-2.0 */
/*
 * C declarations to BTF, by recursive descent. Enough C for headers that describe
 * interfaces: structures, unions, enums, typedefs, bitfields, arrays, pointers, pointers to
 * functions. Layout is that of 64-bit Linux (LP64, System V).
 */
#include <ctype.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "btf/build.h"

enum { T_END, T_WORD, T_NUMBER, T_PUNCT };

struct parser {
	struct skep_btf_build *b;
	const char *p, *end;
	const char *tok; /* current token ... */
	size_t len; /* ... its length ... */
	int kind; /* ... T_* */
	unsigned line;
	uint32_t array_index; /* type of arrays' indexes */
	bool bad;
};

/* ---- Tokens ---- */

static void skip_space(struct parser *s)
{
	bool fresh = s->p == s->tok; /* at the beginning of a line */

	while (s->p < s->end) {
		if (*s->p == '\n') {
			s->line++;
			fresh = true;
			s->p++;
		} else if (isspace((unsigned char)*s->p)) {
			s->p++;
		} else if (*s->p == '#' && fresh) {
			/* A directive, with its continued lines. */
			for (; s->p < s->end && *s->p != '\n'; s->p++)
				if (*s->p == '\\' && s->p + 1 < s->end && s->p[1] == '\n')
					s->p++, s->line++;
		} else if (s->end - s->p > 1 && s->p[0] == '/' && s->p[1] == '*') {
			for (s->p += 2; s->end - s->p > 1 && (s->p[0] != '*' || s->p[1] != '/');
			     s->p++)
				s->line += *s->p == '\n';
			s->p += s->end - s->p > 1 ? 2 : 1;
		} else {
			break;
		}
	}
}

static bool word_char(char c)
{
	return isalnum((unsigned char)c) || c == '_';
}

static void next(struct parser *s)
{
	skip_space(s);
	s->tok = s->p;
	s->len = 0;
	if (s->p >= s->end) {
		s->kind = T_END;
		return;
	}
	if (!word_char(*s->p)) {
		s->kind = T_PUNCT;
		s->len = 1;
	} else {
		s->kind = isdigit((unsigned char)*s->p) ? T_NUMBER : T_WORD;
		while (s->p + s->len < s->end && word_char(s->p[s->len]))
			s->len++;
	}
	s->p += s->len;
}

static bool is(const struct parser *s, const char *text)
{
	return s->len == strlen(text) && !memcmp(s->tok, text, s->len);
}

static bool eat(struct parser *s, const char *text)
{
	if (!is(s, text))
		return false;
	next(s);
	return true;
}

static void want(struct parser *s, const char *text)
{
	if (!eat(s, text))
		s->bad = true;
}

/* Done, or there is no point in going on. */
static bool over(const struct parser *s)
{
	return s->bad || s->kind == T_END || s->b->failed;
}

static uint32_t take_name(struct parser *s)
{
	if (s->kind != T_WORD)
		return 0;
	uint32_t name = skep_btf_build_str(s->b, s->tok, s->len);
	next(s);
	return name;
}

/* [-] NUMBER { ("<<" | "|") NUMBER } */
static uint64_t number(struct parser *s)
{
	bool minus = eat(s, "-");
	char digits[32];

	if (s->kind != T_NUMBER || s->len >= sizeof(digits)) {
		s->bad = true;
		return 0;
	}
	memcpy(digits, s->tok, s->len);
	digits[s->len] = 0;
	next(s);
	uint64_t v = strtoull(digits, NULL, 0);
	if (minus)
		v = -v;
	if (is(s, "<")) {
		next(s);
		want(s, "<");
		return v << (number(s) & 63);
	}
	return v;
}

/* ---- Types ---- */

struct attrs {
	bool packed;
	uint32_t aligned;
};

/* __attribute__((packed)), __attribute__((aligned(8))), and others, which don't matter. */
static void attributes(struct parser *s, struct attrs *a)
{
	while (eat(s, "__attribute__")) {
		int depth = 0;
		do {
			if (is(s, "("))
				depth++;
			else if (is(s, ")"))
				depth--;
			else if (is(s, "packed") || is(s, "__packed__"))
				a->packed = true;
			else if (is(s, "aligned") || is(s, "__aligned__")) {
				next(s);
				want(s, "(");
				a->aligned = (uint32_t)number(s);
				want(s, ")");
				continue;
			}
			next(s);
		} while (depth && !over(s));
	}
}

static uint32_t specifiers(struct parser *s);
static uint32_t declarator(struct parser *s, uint32_t type, uint32_t *name);

static uint32_t int_type(struct parser *s, const char *name, uint32_t size, uint32_t encoding)
{
	uint32_t str = skep_btf_build_str(s->b, name, strlen(name));
	uint32_t id = skep_btf_build_find(s->b, BTF_KIND_INT, str, 0, 0);

	if (id)
		return id;
	/* type holds the word that follows an INT. */
	return skep_btf_build_add(s->b, &(struct skep_btf_node){.kind = BTF_KIND_INT,
								.name = str,
								.size = size,
								.align = size,
								.type = encoding << 24 | size * 8});
}

struct parts {
	struct skep_btf_part *p;
	uint32_t n, cap;
};

static struct skep_btf_part *add_part(struct parser *s, struct parts *v)
{
	if (v->n == v->cap) {
		uint32_t cap = v->cap ? v->cap * 2 : 8;
		void *p = realloc(v->p, cap * sizeof(*v->p));
		if (!p) {
			s->b->failed = true;
			return NULL;
		}
		v->p = p;
		v->cap = cap;
	}
	memset(&v->p[v->n], 0, sizeof(*v->p));
	return &v->p[v->n++];
}

/* Where the next member goes. */
struct layout {
	uint64_t bits, max;
	uint32_t align;
	bool is_union, packed, bitfields;
};

static void place(struct parser *s, struct layout *l, struct parts *v, uint32_t name, uint32_t type,
		  int64_t bits)
{
	uint32_t align = 1;
	int64_t size = skep_btf_build_size(s->b, type, &align);

	if (size < 0) {
		s->bad = true;
		return;
	}
	if (l->packed)
		align = 1;
	if (l->is_union)
		l->bits = 0;
	if (bits < 0) {
		l->bits = (l->bits + align * 8 - 1) / (align * 8) * (align * 8);
	} else if (bits == 0) {
		l->bits = (l->bits + (uint64_t)size * 8 - 1) / ((uint64_t)size * 8) *
			  ((uint64_t)size * 8);
		return;
	} else if (!l->packed && l->bits / ((uint64_t)size * 8) !=
					 (l->bits + (uint64_t)bits - 1) / ((uint64_t)size * 8)) {
		/* A bitfield does not straddle a unit of its type. */
		l->bits = (l->bits + (uint64_t)size * 8 - 1) / ((uint64_t)size * 8) *
			  ((uint64_t)size * 8);
	}
	/* Unnamed bitfields are only room. */
	if (bits < 0 || name) {
		struct skep_btf_part *p = add_part(s, v);
		if (!p)
			return;
		p->name = name;
		p->type = type;
		p->off = l->bits;
		p->bits = bits > 0 ? (uint32_t)bits : 0;
		if (align > l->align)
			l->align = align;
	}
	l->bitfields |= bits > 0;
	l->bits += bits < 0 ? (uint64_t)size * 8 : (uint64_t)bits;
	if (l->bits > l->max)
		l->max = l->bits;
}

static void members(struct parser *s, struct layout *l, struct parts *v)
{
	while (!is(s, "}") && !over(s)) {
		uint32_t base = specifiers(s);
		bool more = true;
		while (more && !over(s)) {
			uint32_t name = 0, type = declarator(s, base, &name);
			struct attrs a = {0};
			int64_t bits = eat(s, ":") ? (int64_t)number(s) : -1;
			attributes(s, &a);
			if (a.aligned > 1 && bits < 0)
				l->bits = (l->bits + a.aligned * 8 - 1) / (a.aligned * 8) *
					  (a.aligned * 8);
			if (a.aligned > l->align)
				l->align = a.aligned;
			place(s, l, v, name, type, bits);
			more = eat(s, ",");
		}
		want(s, ";");
	}
}

static uint32_t tagged(struct parser *s, uint32_t kind, uint32_t name)
{
	uint32_t id = name ? skep_btf_build_find(s->b, kind, name, 0, 0) : 0;

	return id ? id
		  : skep_btf_build_add(s->b, &(struct skep_btf_node){.kind = kind, .name = name});
}

static uint32_t struct_type(struct parser *s, bool is_union)
{
	struct attrs a = {0};
	attributes(s, &a);
	uint32_t name = take_name(s);
	uint32_t id = tagged(s, is_union ? BTF_KIND_UNION : BTF_KIND_STRUCT, name);

	if (!is(s, "{"))
		return id;
	/* Packing is written behind the body, and matters inside: look ahead. */
	struct parser ahead = *s;
	int depth = 0;
	do {
		depth += is(&ahead, "{") - is(&ahead, "}");
		next(&ahead);
	} while (depth && ahead.kind != T_END);
	attributes(&ahead, &a);

	next(s);
	struct layout l = {.align = 1, .is_union = is_union, .packed = a.packed};
	struct parts v = {0};
	members(s, &l, &v);
	want(s, "}");
	attributes(s, &a);
	if (a.aligned > l.align)
		l.align = a.aligned;
	struct skep_btf_node *n = &s->b->nodes[id];
	if (n->align) {
		s->bad = true; /* defined twice */
		free(v.p);
		return id;
	}
	n->parts = v.p;
	n->nparts = v.n;
	n->kflag = l.bitfields;
	n->align = l.align;
	n->size = (uint32_t)(((l.max + 7) / 8 + l.align - 1) / l.align * l.align);
	return id;
}

static uint32_t enum_type(struct parser *s)
{
	uint32_t name = take_name(s);

	if (!is(s, "{")) {
		uint32_t id = skep_btf_build_find(s->b, BTF_KIND_ENUM, name, 0, 0);
		return id ? id : skep_btf_build_find(s->b, BTF_KIND_ENUM64, name, 0, 0);
	}
	next(s);
	struct parts v = {0};
	uint64_t value = 0;
	bool negative = false, wide = false;
	while (!is(s, "}") && !over(s)) {
		struct skep_btf_part *p = add_part(s, &v);
		if (!p)
			break;
		p->name = take_name(s);
		if (eat(s, "="))
			value = number(s);
		p->off = value;
		negative |= (int64_t)value < 0 && (int64_t)value >= INT32_MIN;
		wide |= value > UINT32_MAX && !((int64_t)value < 0 && (int64_t)value >= INT32_MIN);
		value++;
		if (!eat(s, ","))
			break;
	}
	want(s, "}");
	struct attrs a = {0};
	attributes(s, &a);
	uint32_t size = wide ? 8 : a.packed ? 1 : 4;
	return skep_btf_build_add(
		s->b, &(struct skep_btf_node){.kind = wide ? BTF_KIND_ENUM64 : BTF_KIND_ENUM,
					      .name = name,
					      .size = size,
					      .align = size,
					      .kflag = negative,
					      .parts = v.p,
					      .nparts = v.n});
}

/* The arithmetic types are spelled by several words in any order. */
static uint32_t arithmetic(struct parser *s)
{
	int longs = 0, shorts = 0, chars = 0, uns = 0, sig = 0, wide = 0, words = 0;

	for (; s->kind == T_WORD; words++) {
		if (is(s, "long"))
			longs++;
		else if (is(s, "short"))
			shorts++;
		else if (is(s, "char"))
			chars++;
		else if (is(s, "unsigned"))
			uns++;
		else if (is(s, "signed"))
			sig++;
		else if (is(s, "__int128"))
			wide++;
		else if (!is(s, "int"))
			break;
		next(s);
	}
	if (!words)
		return 0;
	if (chars)
		return uns   ? int_type(s, "unsigned char", 1, 0)
		       : sig ? int_type(s, "signed char", 1, BTF_INT_SIGNED)
			     : int_type(s, "char", 1, BTF_INT_SIGNED);
	if (wide)
		return uns ? int_type(s, "__int128 unsigned", 16, 0)
			   : int_type(s, "__int128", 16, BTF_INT_SIGNED);
	if (shorts)
		return uns ? int_type(s, "short unsigned int", 2, 0)
			   : int_type(s, "short int", 2, BTF_INT_SIGNED);
	if (longs > 1)
		return uns ? int_type(s, "long long unsigned int", 8, 0)
			   : int_type(s, "long long int", 8, BTF_INT_SIGNED);
	if (longs)
		return uns ? int_type(s, "long unsigned int", 8, 0)
			   : int_type(s, "long int", 8, BTF_INT_SIGNED);
	return uns ? int_type(s, "unsigned int", 4, 0) : int_type(s, "int", 4, BTF_INT_SIGNED);
}

static uint32_t base_type(struct parser *s)
{
	uint32_t id;

	if (eat(s, "void"))
		return 0;
	if (eat(s, "_Bool"))
		return int_type(s, "_Bool", 1, BTF_INT_BOOL);
	if (eat(s, "struct"))
		return struct_type(s, false);
	if (eat(s, "union"))
		return struct_type(s, true);
	if (eat(s, "enum"))
		return enum_type(s);
	id = arithmetic(s);
	if (id)
		return id;
	uint32_t name = take_name(s);
	id = name ? skep_btf_build_find(s->b, BTF_KIND_TYPEDEF, name, 0, 0) : 0;
	s->bad |= !id;
	return id;
}

static uint32_t specifiers(struct parser *s)
{
	bool is_const = false, is_volatile = false;
	struct attrs a = {0};

	attributes(s, &a);
	for (bool more = true; more;) {
		more = eat(s, "const");
		is_const |= more;
		if (eat(s, "volatile"))
			is_volatile = more = true;
	}
	uint32_t type = base_type(s);
	if (eat(s, "const"))
		is_const = true;
	if (is_volatile)
		type = skep_btf_build_ref(s->b, BTF_KIND_VOLATILE, type, 0, 0);
	if (is_const)
		type = skep_btf_build_ref(s->b, BTF_KIND_CONST, type, 0, 0);
	return type;
}

static uint32_t prototype(struct parser *s, uint32_t ret)
{
	struct parts v = {0};

	want(s, "(");
	while (!is(s, ")") && !over(s)) {
		struct skep_btf_part part = {0};
		if (eat(s, ".")) {
			want(s, ".");
			want(s, ".");
		} else {
			uint32_t base = specifiers(s);
			part.type = declarator(s, base, &part.name);
			if (!part.type && !part.name)
				break; /* (void) */
		}
		struct skep_btf_part *p = add_part(s, &v);
		if (p)
			*p = part;
		if (!eat(s, ","))
			break;
	}
	want(s, ")");
	return skep_btf_build_add(s->b, &(struct skep_btf_node){.kind = BTF_KIND_FUNC_PROTO,
								.type = ret,
								.parts = v.p,
								.nparts = v.n});
}

static uint32_t arrays(struct parser *s, uint32_t type)
{
	if (!eat(s, "["))
		return type;
	uint32_t n = is(s, "]") ? 0 : (uint32_t)number(s);
	want(s, "]");
	type = arrays(s, type); /* the last dimension is the innermost */
	return skep_btf_build_ref(s->b, BTF_KIND_ARRAY, type, n, s->array_index);
}

static uint32_t declarator(struct parser *s, uint32_t type, uint32_t *name)
{
	while (eat(s, "*")) {
		type = skep_btf_build_ref(s->b, BTF_KIND_PTR, type, 0, 0);
		if (eat(s, "const"))
			type = skep_btf_build_ref(s->b, BTF_KIND_CONST, type, 0, 0);
	}
	if (eat(s, "(")) { /* only pointers to functions are written so */
		want(s, "*");
		*name = take_name(s);
		want(s, ")");
		return skep_btf_build_ref(s->b, BTF_KIND_PTR, prototype(s, type), 0, 0);
	}
	*name = take_name(s);
	return arrays(s, type);
}

static void declaration(struct parser *s)
{
	bool is_typedef = eat(s, "typedef");
	uint32_t type = specifiers(s), name = 0;

	if (is_typedef) {
		type = declarator(s, type, &name);
		s->bad |= !name;
		if (!skep_btf_build_find(s->b, BTF_KIND_TYPEDEF, name, 0, 0))
			skep_btf_build_add(s->b, &(struct skep_btf_node){.kind = BTF_KIND_TYPEDEF,
									 .name = name,
									 .type = type});
	} else if (!is(s, ";")) {
		type = declarator(s, type, &name);
		s->bad |= !name || !is(s, "(");
		if (!s->bad) {
			type = prototype(s, type);
			skep_btf_build_add(s->b, &(struct skep_btf_node){.kind = BTF_KIND_FUNC,
									 .name = name,
									 .type = type});
		}
	}
	want(s, ";");
}

int skep_btf_build_c(struct skep_btf_build *b, const char *text, size_t len, unsigned *line)
{
	struct parser s = {.b = b, .p = text, .tok = text, .end = text + len, .line = 1};

	s.array_index = int_type(&s, "unsigned int", 4, 0);
	next(&s);
	while (!over(&s))
		declaration(&s);
	if (line)
		*line = s.line;
	return b->failed ? -ENOMEM : s.bad ? -EINVAL : 0;
}
