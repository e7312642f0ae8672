/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * A bench program is one function, prog(), on a packet. The same source is compiled
 * for the machine, for BPF on skep's internal context, and for BPF on the kernel's
 * (KERNEL), which turns loads of data and data_end into what the others have.
 */
#ifndef BENCH_PROGS_H
#define BENCH_PROGS_H

typedef unsigned char u8;
typedef unsigned short u16;
typedef unsigned int u32;
typedef unsigned long long u64;

#define PACKET 1400 /* bytes that the harness gives */

#ifdef KERNEL
struct ctx {
	u32 other[19];
	u32 data_, data_end_;
};
#define DATA(c)     ((u8 *)(long)(c)->data_)
#define DATA_END(c) ((u8 *)(long)(c)->data_end_)
#else
struct ctx {
	u8 *data_, *data_end_;
};
#define DATA(c)     ((c)->data_)
#define DATA_END(c) ((c)->data_end_)
#endif

#ifdef __bpf__
#define SECTION __attribute__((section("bpf"), used))
#define BENCH   SECTION int prog
#else
#define SECTION
#define BENCH int prog
int prog(struct ctx *ctx);
#endif
#define NOINLINE __attribute__((noinline)) SECTION
#define INLINE   static inline __attribute__((always_inline))

/* The first n bytes of the packet, or 0 is returned. */
#define PACKET_BYTES(p, n)                                                                         \
	u8 *p = DATA(ctx);                                                                         \
	if (p + (n) > DATA_END(ctx))                                                               \
	return 0

INLINE u32 rol32(u32 x, int n)
{
	return x << n | x >> (32 - n);
}

INLINE u64 rol64(u64 x, int n)
{
	return x << n | x >> (64 - n);
}

#define JHASH_MIX(a, b, c)                                                                         \
	do {                                                                                       \
		a -= c, a ^= rol32(c, 4), c += b;                                                  \
		b -= a, b ^= rol32(a, 6), a += c;                                                  \
		c -= b, c ^= rol32(b, 8), b += a;                                                  \
		a -= c, a ^= rol32(c, 16), c += b;                                                 \
		b -= a, b ^= rol32(a, 19), a += c;                                                 \
		c -= b, c ^= rol32(b, 4), b += a;                                                  \
	} while (0)
#define JHASH_FINAL(a, b, c)                                                                       \
	do {                                                                                       \
		c ^= b, c -= rol32(b, 14);                                                         \
		a ^= c, a -= rol32(c, 11);                                                         \
		b ^= a, b -= rol32(a, 25);                                                         \
		c ^= b, c -= rol32(b, 16);                                                         \
		a ^= c, a -= rol32(c, 4);                                                          \
		b ^= a, b -= rol32(a, 14);                                                         \
		c ^= b, c -= rol32(b, 24);                                                         \
	} while (0)

#endif
