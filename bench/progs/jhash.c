// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/* jhash of 480 bytes. */
#include "bench.h"

BENCH(struct ctx *ctx)
{
	u32 a, b, c;

	PACKET_BYTES(p, 512);
	a = b = c = 0xdeadbeef + 480;
	for (int i = 0; i < 39; i++) {
		a += *(u32 *)(p + i * 12);
		b += *(u32 *)(p + i * 12 + 4);
		c += *(u32 *)(p + i * 12 + 8);
		JHASH_MIX(a, b, c);
	}
	a += *(u32 *)(p + 468);
	b += *(u32 *)(p + 472);
	c += *(u32 *)(p + 476);
	JHASH_FINAL(a, b, c);
	return (int)c;
}
