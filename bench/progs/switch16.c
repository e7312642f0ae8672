// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/* A 16-way switch on each of 64 bytes. */
#include "bench.h"

BENCH(struct ctx *ctx)
{
	u32 x = 1;

	PACKET_BYTES(p, 256);
	for (int i = 0; i < 64; i++) {
		u32 b = p[i + 192];

		switch (b & 15) {
		case 0:
			x += b;
			break;
		case 1:
			x ^= b << 3;
			break;
		case 2:
			x = rol32(x, 5);
			break;
		case 3:
			x -= 77;
			break;
		case 4:
			x *= 5;
			break;
		case 5:
			x |= b << 8;
			break;
		case 6:
			x &= ~b;
			break;
		case 7:
			x = ~x;
			break;
		case 8:
			x >>= 1;
			break;
		case 9:
			x += x << 4;
			break;
		case 10:
			x ^= x >> 7;
			break;
		case 11:
			x += 1234567;
			break;
		case 12:
			x -= b * 9;
			break;
		case 13:
			x ^= 0x5a5a5a5a;
			break;
		case 14:
			x = x << 1 | 1;
			break;
		default:
			x *= b;
		}
	}
	return (int)x;
}
