// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/* One ChaCha20 block. */
#include "bench.h"

#define QR(a, b, c, d)                                                                             \
	do {                                                                                       \
		a += b, d ^= a, d = rol32(d, 16);                                                  \
		c += d, b ^= c, b = rol32(b, 12);                                                  \
		a += b, d ^= a, d = rol32(d, 8);                                                   \
		c += d, b ^= c, b = rol32(b, 7);                                                   \
	} while (0)

BENCH(struct ctx *ctx)
{
	u32 x0, x1, x2, x3, x4, x5, x6, x7, x8, x9, x10, x11, x12, x13, x14, x15, *k;

	PACKET_BYTES(p, 64);
	k = (u32 *)p;
	x0 = 0x61707865, x1 = 0x3320646e, x2 = 0x79622d32, x3 = 0x6b206574;
	x4 = k[0], x5 = k[1], x6 = k[2], x7 = k[3], x8 = k[4], x9 = k[5], x10 = k[6], x11 = k[7];
	x12 = k[8], x13 = k[9], x14 = k[10], x15 = k[11];
	for (int i = 0; i < 10; i++) {
		QR(x0, x4, x8, x12);
		QR(x1, x5, x9, x13);
		QR(x2, x6, x10, x14);
		QR(x3, x7, x11, x15);
		QR(x0, x5, x10, x15);
		QR(x1, x6, x11, x12);
		QR(x2, x7, x8, x13);
		QR(x3, x4, x9, x14);
	}
	x0 += 0x61707865, x1 += 0x3320646e, x2 += 0x79622d32, x3 += 0x6b206574;
	x4 += k[0], x5 += k[1], x6 += k[2], x7 += k[3], x8 += k[4], x9 += k[5], x10 += k[6];
	x11 += k[7], x12 += k[8], x13 += k[9], x14 += k[10], x15 += k[11];
	return (int)(x0 ^ x1 ^ x2 ^ x3 ^ x4 ^ x5 ^ x6 ^ x7 ^ x8 ^ x9 ^ x10 ^ x11 ^ x12 ^ x13 ^ x14 ^
		     x15);
}
