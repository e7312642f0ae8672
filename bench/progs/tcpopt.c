// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/* Walks the options of a TCP header. */
#include "bench.h"

BENCH(struct ctx *ctx)
{
	u8 *p = DATA(ctx), *end = DATA_END(ctx);
	u32 off = 54, stop, found = 0;

	if (p + 14 + 20 + 60 > end)
		return -1;
	stop = 34 + (p[46] >> 4) * 4;
	for (int i = 0; i < 20; i++) {
		u8 *o, kind, len;

		if (off >= stop || off > 100)
			break;
		o = p + off;
		if (o + 10 > end)
			return -2;
		kind = o[0];
		if (kind == 0)
			break;
		if (kind == 1) {
			off++;
			continue;
		}
		len = o[1];
		if (len < 2)
			return -3;
		if (kind == 2)
			found += o[2] << 8 | o[3];
		else if (kind == 3)
			found ^= o[2] << 16;
		else if (kind == 8)
			found += *(u32 *)(o + 2) ^ *(u32 *)(o + 6);
		off += len;
	}
	return (int)found;
}
