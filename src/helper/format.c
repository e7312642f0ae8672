/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The format is read once by next_spec(), which knows the kernel's grammar;
 * checking is reading to the end, printing is printing each piece with the C
 * library. What a piece refers to (strings, addresses) is copied first, with
 * faults caught, into a limited space, as in the kernel.
 */
#include "helper/format.h"

#include <arpa/inet.h>
#include <ctype.h>
#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "bpf/instance.h"
#include "map/map.h"
#include "map/types.h"
#include "os/os.h"

#define ARGS_SPACE 512 /* bytes that the copied arguments of one text may take */

enum conv {
	CONV_END,
	CONV_TEXT,
	CONV_INT,
	CONV_CHAR,
	CONV_STR,
	CONV_PTR,
	CONV_HEX_PTR,
	CONV_SYMBOL,
	CONV_ADDR
};

struct spec {
	enum conv conv;
	const char *start; /* TEXT: what to copy */
	size_t len;
	char flags[8]; /* those of "0+- " that were there, each once */
	const char *width; /* digits */
	size_t width_len;
	uint8_t bytes; /* INT: 4 or 8; ADDR: 4 or 16 */
	char letter; /* d u x X; ADDR: i or I */
};

static bool ends_pointer(char c)
{
	return !c || isspace((unsigned char)c) || ispunct((unsigned char)c);
}

/* %p and its extensions; s is what follows the p. Returns what follows all, NULL if bad. */
static const char *pointer_spec(const char *s, struct spec *spec)
{
	spec->conv = CONV_PTR;
	if (ends_pointer(s[0]))
		return s;
	if ((s[0] == 'k' || s[0] == 'u') && s[1] == 's') {
		spec->conv = CONV_STR;
		return ends_pointer(s[2]) ? s + 2 : NULL;
	}
	if (s[0] == 'x' || s[0] == 'K') {
		spec->conv = s[0] == 'x' ? CONV_HEX_PTR : CONV_PTR;
		return s + 1;
	}
	if (s[0] == 's' || s[0] == 'S' || s[0] == 'B') {
		spec->conv = CONV_SYMBOL;
		return s + 1;
	}
	if ((s[0] != 'i' && s[0] != 'I') || (s[1] != '4' && s[1] != '6'))
		return NULL;
	spec->conv = CONV_ADDR;
	spec->letter = s[0];
	spec->bytes = s[1] == '4' ? 4 : 16;
	return s + 2;
}

static const char *integer_spec(const char *s, struct spec *spec)
{
	spec->conv = CONV_INT;
	spec->bytes = 4;
	if (*s == 'l') {
		spec->bytes = 8;
		s++;
		if (*s == 'l')
			s++;
	}
	if (!*s || !strchr("idux"
			   "X",
			   *s))
		return NULL;
	spec->letter = *s;
	return s + 1;
}

/* Reads the next piece at s. Returns what follows it, or NULL: bad. */
static const char *next_spec(const char *s, struct spec *spec)
{
	memset(spec, 0, sizeof(*spec));
	spec->start = s;
	if (!*s)
		return s;
	if (*s != '%' || s[1] == '%') {
		spec->conv = CONV_TEXT;
		if (*s == '%') {
			spec->len = 1;
			return s + 2;
		}
		for (; *s && *s != '%'; s++) {
			unsigned char c = (unsigned char)*s;

			if (c >= 0x80 || (!isprint(c) && !isspace(c)))
				return NULL;
		}
		spec->len = (size_t)(s - spec->start);
		return s;
	}
	s++;
	for (; *s && strchr("0+- ", *s); s++) {
		if (!strchr(spec->flags, *s))
			spec->flags[strlen(spec->flags)] = *s;
	}
	spec->width = s;
	if (*s >= '1' && *s <= '9') {
		while (isdigit((unsigned char)*s))
			s++;
	}
	spec->width_len = (size_t)(s - spec->width);
	if (*s == 'p')
		return pointer_spec(s + 1, spec);
	if (*s == 's') {
		spec->conv = CONV_STR;
		return ends_pointer(s[1]) ? s + 1 : NULL;
	}
	if (*s == 'c') {
		spec->conv = CONV_CHAR;
		return s + 1;
	}
	return integer_spec(s, spec);
}

int skep_format_check(const char *fmt, size_t size, uint32_t nargs)
{
	uint32_t used = 0;
	struct spec spec;

	if (strnlen(fmt, size) == size)
		return -EINVAL;
	for (;;) {
		fmt = next_spec(fmt, &spec);
		if (!fmt)
			return -EINVAL;
		if (spec.conv == CONV_END)
			return 0;
		if (spec.conv != CONV_TEXT && used++ >= nargs)
			return -EINVAL;
	}
}

/* ---- Printing ---- */

struct out {
	const struct skep_prog *prog;
	char *buf;
	size_t size, len; /* len counts what did not fit, too */
	size_t space; /* what is left of ARGS_SPACE */
};

static void put(struct out *o, const char *text, size_t n)
{
	if (o->len < o->size)
		memcpy(o->buf + o->len, text, n < o->size - o->len ? n : o->size - o->len);
	o->len += n;
}

static bool has_flag(const struct spec *spec, char flag)
{
	return strchr(spec->flags, flag) != NULL;
}

/* The kernel keeps a field's width in 16 bits and stays below when it is cut off. */
static size_t width_of(const struct spec *spec)
{
	size_t width = 0;

	for (size_t i = 0; i < spec->width_len && width < INT16_MAX; i++)
		width = width * 10 + (size_t)(spec->width[i] - '0');
	return width < INT16_MAX ? width : INT16_MAX;
}

static void put_many(struct out *o, char c, size_t n)
{
	for (; n; n--)
		put(o, &c, 1);
}

/* Text padded with blanks to the width. */
static void put_padded(struct out *o, const struct spec *spec, const char *text, size_t n)
{
	size_t width = width_of(spec), pad = width > n ? width - n : 0;

	if (!has_flag(spec, '-'))
		put_many(o, ' ', pad);
	put(o, text, n);
	if (has_flag(spec, '-'))
		put_many(o, ' ', pad);
}

/* Sign and digits; zeros that pad go between them. */
static void put_int(struct out *o, const struct spec *spec, uint64_t v)
{
	bool is_signed = spec->letter == 'd' || spec->letter == 'i', negative;
	char text[32], *digits = text;
	size_t width = width_of(spec), n;

	if (spec->bytes == 4)
		v = is_signed ? (uint64_t)(int64_t)(int32_t)v : (uint32_t)v;
	negative = is_signed && (int64_t)v < 0;
	if (negative)
		*digits++ = '-';
	else if (is_signed && has_flag(spec, '+'))
		*digits++ = '+';
	else if (is_signed && has_flag(spec, ' '))
		*digits++ = ' ';
	n = (size_t)(digits - text);
	n += (size_t)snprintf(digits, sizeof(text) - n,
			      spec->letter == 'x'   ? "%llx"
			      : spec->letter == 'X' ? "%llX"
						    : "%llu",
			      (unsigned long long)(negative ? -v : v));
	if (!has_flag(spec, '0') || has_flag(spec, '-') || width <= n) {
		put_padded(o, spec, text, n);
		return;
	}
	put(o, text, (size_t)(digits - text));
	put_many(o, '0', width - n);
	put(o, digits, n - (size_t)(digits - text));
}

/* Bytes from addr on that lie in an array of the program, or a section of its variables, that got
 * its memory when it was made. Elsewhere there may be pages without, which only a system call
 * can try. */
static size_t in_maps(const struct skep_prog *prog, uint64_t addr)
{
	for (uint32_t i = 0; i < prog->nmaps; i++) {
		const struct skep_seg *data = &prog->maps[i]->data;
		uint64_t off = addr - (uintptr_t)data->base;

		if (prog->maps[i]->type == BPF_MAP_TYPE_ARRAY && data->size <= SKEP_SEG_EAGER &&
		    data->base && off < data->size)
			return data->size - off;
	}
	return 0;
}

/* As skep_probe_read_str(). Others may write the string meanwhile: each byte is read once. */
static long read_string(const struct skep_prog *prog, char *text, uint64_t addr, size_t space)
{
	const volatile char *from = (const volatile char *)(uintptr_t)addr;
	size_t n = in_maps(prog, addr);

	n = n < space ? n : space;
	for (size_t i = 0; i < n; i++) {
		text[i] = from[i];
		if (!text[i])
			return (long)i + 1;
	}
	return skep_probe_read_str(text, (void *)(uintptr_t)addr, space);
}

static int put_string(struct out *o, const struct spec *spec, uint64_t addr)
{
	char text[ARGS_SPACE];
	long n;

	if (o->space < 1)
		return -ENOSPC;
	n = read_string(o->prog, text, addr, o->space);
	if (n < 0) {
		text[0] = 0;
		n = 1;
	}
	o->space -= (size_t)n;
	put_padded(o, spec, text, (size_t)n - 1);
	return 0;
}

/* The eight groups of an IPv6 address with all their zeros, as %pI6 and %pi6 have it. */
static size_t full_ip6(char *text, size_t size, const uint8_t *a, bool colons)
{
	size_t n = 0;

	for (int i = 0; i < 16; i += 2)
		n += (size_t)snprintf(text + n, size - n, "%s%02x%02x", i && colons ? ":" : "",
				      a[i], a[i + 1]);
	return n;
}

static int put_address(struct out *o, const struct spec *spec, uint64_t addr)
{
	uint8_t a[16] = {0};
	char text[64];
	size_t n;

	if (o->space < spec->bytes)
		return -ENOSPC;
	if (skep_probe_read(a, (void *)(uintptr_t)addr, spec->bytes))
		memset(a, 0, sizeof(a));
	if (spec->bytes == 4)
		n = (size_t)snprintf(text, sizeof(text),
				     spec->letter == 'I' ? "%u.%u.%u.%u" : "%03u.%03u.%03u.%03u",
				     a[0], a[1], a[2], a[3]);
	else
		n = full_ip6(text, sizeof(text), a, spec->letter == 'I');
	if (n + 1 > o->space)
		n = o->space - 1;
	o->space -= n + 1;
	put_padded(o, spec, text, n);
	return 0;
}

/* Takes the space that a number needs among the copied arguments. */
static int take(struct out *o, size_t bytes)
{
	size_t space = o->space & ~(size_t)3;

	if (space < bytes)
		return -ENOSPC;
	o->space = space - bytes;
	return 0;
}

static int put_spec(struct out *o, const struct spec *spec, uint64_t arg)
{
	char text[32], c = (char)arg;
	int err;

	switch (spec->conv) {
	case CONV_CHAR:
		if (!o->space)
			return -ENOSPC;
		o->space--;
		put_padded(o, spec, &c, 1);
		return 0;
	case CONV_STR:
		return put_string(o, spec, arg);
	case CONV_ADDR:
		return put_address(o, spec, arg);
	case CONV_PTR:
	case CONV_HEX_PTR:
	case CONV_SYMBOL:
		err = take(o, 8);
		/* There are no kernel addresses here to hide or to name. */
		snprintf(text, sizeof(text), spec->conv == CONV_SYMBOL ? "0x%llx" : "%016llx",
			 (unsigned long long)arg);
		if (!err)
			put_padded(o, spec, text, strlen(text));
		return err;
	default:
		err = take(o, spec->bytes);
		if (!err)
			put_int(o, spec, arg);
		return err;
	}
}

long skep_format(const struct skep_prog *prog, char *buf, size_t size, const char *fmt,
		 size_t fmt_size, const uint64_t *args, uint32_t nargs)
{
	struct out o = {.prog = prog, .buf = buf, .size = size, .space = ARGS_SPACE};
	struct spec spec;
	uint32_t used = 0;
	int err = skep_format_check(fmt, fmt_size, nargs);

	while (!err) {
		fmt = next_spec(fmt, &spec);
		if (spec.conv == CONV_END)
			break;
		if (spec.conv == CONV_TEXT)
			put(&o, spec.start, spec.len);
		else
			err = put_spec(&o, &spec, args[used++]);
	}
	if (err)
		return err;
	if (size)
		buf[o.len < size ? o.len : size - 1] = 0;
	return (long)o.len;
}
