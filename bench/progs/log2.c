// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/* Integer logarithms of 32 words, by halving. */
#include "bench.h"

INLINE u32 log2_of(u32 v)
{
	u32 r, shift;

	r = (v > 0xffff) << 4;
	v >>= r;
	shift = (v > 0xff) << 3;
	v >>= shift;
	r |= shift;
	shift = (v > 0xf) << 2;
	v >>= shift;
	r |= shift;
	shift = (v > 0x3) << 1;
	v >>= shift;
	r |= shift;
	return r | v >> 1;
}

BENCH(struct ctx *ctx)
{
	u32 sum = 0;

	PACKET_BYTES(p, 128);
	for (int i = 0; i < 32; i++)
		sum += log2_of(((u32 *)p)[i]);
	return sum;
}
