// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/* Bit counts, reversals and byte swaps of 32 words. */
#include "bench.h"

BENCH(struct ctx *ctx)
{
	u64 sum = 0;

	PACKET_BYTES(p, 256);
	for (int i = 0; i < 32; i++) {
		u64 v = ((u64 *)p)[i], c;

		c = v - ((v >> 1) & 0x5555555555555555ull);
		c = (c & 0x3333333333333333ull) + ((c >> 2) & 0x3333333333333333ull);
		c = (c + (c >> 4)) & 0x0f0f0f0f0f0f0f0full;
		c = c * 0x0101010101010101ull >> 56;
		sum ^= __builtin_bswap64(v) + c;
		sum += __builtin_bswap32((u32)v);
		sum = rol64(sum, 13);
		sum ^= v & (0 - v);
	}
	return (int)(sum ^ sum >> 32);
}
