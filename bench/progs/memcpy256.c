// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/* Copies 256 bytes and compares them. */
#include "bench.h"

BENCH(struct ctx *ctx)
{
	u64 copy[32], *from;
	u64 diff = 0;

	PACKET_BYTES(p, 520);
	from = (u64 *)(p + 8);
	for (int i = 0; i < 32; i++)
		copy[i] = from[i];
#ifdef __bpf__
	asm volatile("" ::"r"(&copy) : "memory");
#else
	__asm__ volatile("" ::"r"(&copy) : "memory");
#endif
	for (int i = 0; i < 32; i++)
		if (copy[i] != from[i + 32])
			diff++;
	return (int)diff;
}
