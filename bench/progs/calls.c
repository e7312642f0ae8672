// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/* Calls of functions, three deep, 32 times. */
#include "bench.h"

static u64 outer(u64 x, u64 y);
static u64 middle(u64 x, u64 y);
static u64 inner(u64 x, u64 y);

BENCH(struct ctx *ctx)
{
	u64 x;

	PACKET_BYTES(p, 64);
	x = *(u64 *)p;
	for (int i = 0; i < 32; i++)
		x = outer(x, i);
	return (int)x;
}

NOINLINE static u64 outer(u64 x, u64 y)
{
	return middle(x + y, x ^ y) + 1;
}

NOINLINE static u64 middle(u64 x, u64 y)
{
	u64 a = inner(x, 3);

	return a ^ inner(y, 5);
}

NOINLINE static u64 inner(u64 x, u64 y)
{
	return x * y + (x >> 7);
}
