// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/* Compares two strings of 60 characters. */
#include "bench.h"

BENCH(struct ctx *ctx)
{
	PACKET_BYTES(p, 256);
	for (int i = 0; i < 64; i++) {
		u8 a = p[i + 64], b = p[i + 128];

		if (a != b)
			return a < b ? -1 : 1;
		if (!a)
			return i;
	}
	return 0;
}
