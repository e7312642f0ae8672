/* SPDX-License-Identifier: Apache-2.0 */
/* Numbers in text, and comparing text. */
#include <ctype.h>
#include <errno.h>
#include <stdbool.h>
#include <string.h>

#include "helper/call.h"

#define BASE_MASK  0x1full
#define MAX_DIGITS 63 /* bytes looked at after blanks and sign */

static bool is_blank(unsigned char c)
{
	/* The kernel's table, which has the no-break space of Latin 1 too. */
	return (c >= 9 && c <= 13) || c == ' ' || c == 0xa0;
}

static int digit(unsigned char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	c |= 0x20;
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : 99;
}

/* Finds the base that a prefix asks for; returns the bytes of the prefix. */
static size_t prefix(const unsigned char *s, unsigned *base)
{
	bool hex = s[0] == '0' && (s[1] | 0x20) == 'x';

	if (!*base)
		*base = s[0] != '0' ? 10 : hex && digit(s[2]) < 16 ? 16 : 8;
	return *base == 16 && hex ? 2 : 0;
}

/* The bytes used, or -errno; *value without the sign. */
static int64_t parse(const unsigned char *buf, uint32_t len, uint64_t flags, bool *negative,
		     uint64_t *value)
{
	unsigned char text[MAX_DIGITS + 1] = {0};
	unsigned base = flags & BASE_MASK;
	size_t used = 0, at, first, left;

	if (flags & ~BASE_MASK || (base && base != 8 && base != 10 && base != 16))
		return -EINVAL;
	while (used < len && is_blank(buf[used]))
		used++;
	*negative = used < len && buf[used] == '-';
	used += *negative;
	left = len - used;
	if (!left)
		return -EINVAL;
	memcpy(text, buf + used, left < MAX_DIGITS ? left : MAX_DIGITS);
	at = first = prefix(text, &base);
	*value = 0;
	for (; (unsigned)digit(text[at]) < base; at++) {
		if (__builtin_mul_overflow(*value, base, value) ||
		    __builtin_add_overflow(*value, (uint64_t)digit(text[at]), value))
			return -ERANGE;
	}
	return at == first ? -EINVAL : (int64_t)(used + at);
}

HELPER(strtol)
{
	int64_t *res = PTR(r4);
	uint64_t value = 0;
	bool negative;
	int64_t n;

	*res = 0;
	n = parse(PTR(r1), (uint32_t)r2, r3, &negative, &value);
	if (n < 0)
		return (uint64_t)n;
	if (negative ? (int64_t)-value > 0 : (int64_t)value < 0)
		return ERR(ERANGE);
	*res = negative ? (int64_t)-value : (int64_t)value;
	return (uint64_t)n;
}

HELPER(strtoul)
{
	uint64_t *res = PTR(r4), value = 0;
	bool negative;
	int64_t n;

	*res = 0;
	n = parse(PTR(r1), (uint32_t)r2, r3, &negative, &value);
	if (n < 0)
		return (uint64_t)n;
	if (negative)
		return ERR(EINVAL);
	*res = value;
	return (uint64_t)n;
}

HELPER(strncmp)
{
	const unsigned char *a = PTR(r1), *b = PTR(r3);

	for (uint32_t i = 0; i < (uint32_t)r2; i++) {
		if (a[i] != b[i])
			return a[i] < b[i] ? ERR(1) : 1;
		if (!a[i])
			break;
	}
	return 0;
}
