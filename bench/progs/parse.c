// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/* Parses Ethernet, IPv4, TCP and hashes the flow with jhash. */
#include "bench.h"

BENCH(struct ctx *ctx)
{
	u8 *p = DATA(ctx), *end = DATA_END(ctx), *ip, *tcp;
	u32 a, b, c, ports;

	if (p + 14 + 20 > end)
		return -1;
	if (*(u16 *)(p + 12) != 0x0008)
		return -2;
	ip = p + 14;
	if (ip[0] >> 4 != 4 || (ip[0] & 15) < 5)
		return -3;
	if (*(u16 *)(ip + 6) & 0xff3f)
		return -4;
	if (ip[9] != 6 && ip[9] != 17)
		return -5;
	tcp = ip + (ip[0] & 15) * 4;
	if (tcp + 20 > end)
		return -6;
	ports = *(u32 *)tcp;
	a = *(u32 *)(ip + 12) + 0xdeadbeef + 12;
	b = *(u32 *)(ip + 16) + 0xdeadbeef + 12;
	c = ports + 0xdeadbeef + 12 + ip[9];
	JHASH_FINAL(a, b, c);
	return (int)c;
}
