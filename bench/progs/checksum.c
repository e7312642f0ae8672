// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/* The Internet checksum of 1 KB. */
#include "bench.h"

BENCH(struct ctx *ctx)
{
	u64 sum = 0;

	PACKET_BYTES(p, 1024);
	for (int i = 0; i < 256; i++)
		sum += ((u32 *)p)[i];
	sum = (sum & 0xffffffff) + (sum >> 32);
	sum = (sum & 0xffff) + (sum >> 16);
	sum = (sum & 0xffff) + (sum >> 16);
	sum = (sum & 0xffff) + (sum >> 16);
	return (u16)~sum;
}
