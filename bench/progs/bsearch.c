// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/* 16 binary searches among 128 sorted words. */
#include "bench.h"

BENCH(struct ctx *ctx)
{
	u32 found = 0;

	PACKET_BYTES(p, 1024);
	for (int i = 0; i < 16; i++) {
		u32 key = *(u32 *)(p + 896 + 4 * i), lo = 0;

		for (u32 step = 64; step; step >>= 1) {
			u32 at = (lo + step) & 127;

			if (*(u32 *)(p + 256 + at * 4) <= key)
				lo = at;
		}
		found += lo;
	}
	return (int)found;
}
