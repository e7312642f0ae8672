// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/* Multiplication, division and modulo, by variables and constants. */
#include "bench.h"

BENCH(struct ctx *ctx)
{
	u64 x;

	PACKET_BYTES(p, 512);
	x = *(u64 *)p | 1;
	for (int i = 0; i < 32; i++) {
		u32 a = ((u32 *)p)[i], b = ((u32 *)p)[i + 32] | 1;

		x = x * 6364136223846793005ull + a;
		x ^= a / b;
		x += a % b;
		x ^= (u32)x / 10 + (u32)x % 1000;
		x += x / 7;
	}
	return (int)(x >> 16);
}
