/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Bob Jenkins' lookup3 hash of bytes (public domain, 2006), written for unaligned
 * input. Good enough against accidents; against attackers give it a secret seed.
 */
#ifndef SKEP_JHASH_H
#define SKEP_JHASH_H

#include <stdint.h>
#include <string.h>

static inline uint32_t skep_rol32(uint32_t x, unsigned k)
{
	return x << k | x >> (32 - k);
}

static inline uint32_t skep_jhash(const void *data, uint32_t len, uint32_t seed)
{
	const uint8_t *p = data;
	uint32_t a, b, c, w[3];

	a = b = c = 0xdeadbeef + len + seed;
	for (; len > 12; p += 12, len -= 12) {
		memcpy(w, p, 12);
		a += w[0];
		b += w[1];
		c += w[2];
		a = (a - c) ^ skep_rol32(c, 4);
		c += b;
		b = (b - a) ^ skep_rol32(a, 6);
		a += c;
		c = (c - b) ^ skep_rol32(b, 8);
		b += a;
		a = (a - c) ^ skep_rol32(c, 16);
		c += b;
		b = (b - a) ^ skep_rol32(a, 19);
		a += c;
		c = (c - b) ^ skep_rol32(b, 4);
		b += a;
	}
	if (!len)
		return c;
	memset(w, 0, sizeof(w));
	memcpy(w, p, len);
	a += w[0];
	b += w[1];
	c += w[2];
	c = (c ^ b) - skep_rol32(b, 14);
	a = (a ^ c) - skep_rol32(c, 11);
	b = (b ^ a) - skep_rol32(a, 25);
	c = (c ^ b) - skep_rol32(b, 16);
	a = (a ^ c) - skep_rol32(c, 4);
	b = (b ^ a) - skep_rol32(a, 14);
	return (c ^ b) - skep_rol32(b, 24);
}

#endif
