// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/* The 90th number, iteratively, from given starts. */
#include "bench.h"

BENCH(struct ctx *ctx)
{
	u64 a, b;

	PACKET_BYTES(p, 64);
	a = p[8];
	b = p[9];
	for (int i = 0; i < 90; i++) {
		u64 t = a + b;

		a = b;
		b = t ^ i;
	}
	return (int)b;
}
