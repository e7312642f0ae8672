// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/* Primes below 100, by modulo. */
#include "bench.h"

BENCH(struct ctx *ctx)
{
	u32 n = 0, limit;

	PACKET_BYTES(p, 64);
	limit = p[60] | 100;
	if (limit > 100)
		limit = 100;
	for (u32 i = 2; i < limit; i++) {
		u32 j;

		for (j = 2; j * j <= i; j++)
			if (i % j == 0)
				break;
		n += j * j > i;
	}
	return n;
}
