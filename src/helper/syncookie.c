/* SPDX-License-Identifier: Apache-2.0 */
/*
 * SYN cookies of programs that answer for a server: the connection, the minute and the segment
 * size, authenticated with a secret of this process. As in Linux (bpf_tcp_raw_*, documented in
 * <linux/bpf.h>) a cookie holds for two minutes and knows four sizes; the secret, and so
 * the cookies, are this process's own.
 */
#include <errno.h>
#include <pthread.h>
#include <string.h>
#include <sys/random.h>

#include "helper/packet.h"
#include "os/os.h"

#define MINUTES  2
#define MSS_BITS 24
#define MSS_MASK ((1u << MSS_BITS) - 1)
#define MINUTE   60000000000ull /* ns */

#define TCP_HEADER  20u
#define TCP_ACK     0x10
#define OPT_END     0
#define OPT_NOP     1
#define OPT_MSS     2
#define DEFAULT_MSS 536u
#define MIN_IP6_MSS 1220u /* of the smallest packet that IPv6 lets through */

static const uint16_t sizes4[] = {536, 1300, 1440, 1460}, sizes6[] = {1220, 1420, 1440, 8940};

/* ---- SipHash-2-4 (J.-P. Aumasson, D. J. Bernstein) of whole words ---- */

static uint64_t key[2];
static pthread_once_t once = PTHREAD_ONCE_INIT;

static void make_key(void)
{
	/* Early at boot the system may have nothing yet; then it waits. */
	while (getrandom(key, sizeof(key), 0) != sizeof(key))
		;
}

static uint64_t rotate(uint64_t x, unsigned n)
{
	return x << n | x >> (64 - n);
}

static void rounds(uint64_t v[4], unsigned n)
{
	while (n--) {
		v[0] += v[1];
		v[2] += v[3];
		v[1] = rotate(v[1], 13) ^ v[0];
		v[3] = rotate(v[3], 16) ^ v[2];
		v[0] = rotate(v[0], 32);
		v[2] += v[1];
		v[0] += v[3];
		v[1] = rotate(v[1], 17) ^ v[2];
		v[3] = rotate(v[3], 21) ^ v[0];
		v[2] = rotate(v[2], 32);
	}
}

static uint32_t siphash(const uint64_t *words, unsigned n)
{
	uint64_t v[4];

	pthread_once(&once, make_key);
	v[0] = key[0] ^ 0x736f6d6570736575ull;
	v[1] = key[1] ^ 0x646f72616e646f6dull;
	v[2] = key[0] ^ 0x6c7967656e657261ull;
	v[3] = key[1] ^ 0x7465646279746573ull;
	for (unsigned i = 0; i <= n; i++) {
		uint64_t w = i < n ? words[i] : (uint64_t)n << 59;

		v[3] ^= w;
		rounds(v, 2);
		v[0] ^= w;
	}
	v[2] ^= 0xff;
	rounds(v, 4);
	return (uint32_t)(v[0] ^ v[1] ^ v[2] ^ v[3]);
}

/* ---- Cookies ---- */

struct flow {
	uint64_t words[6]; /* addresses, ports, time, use */
};

static struct flow flow(const uint8_t *addresses, unsigned len, const uint8_t *th)
{
	struct flow f = {{0}};

	memcpy(f.words, addresses, len);
	memcpy(&f.words[4], th, 4);
	return f;
}

static uint32_t hash(struct flow *f, uint32_t time, uint32_t use)
{
	f->words[5] = (uint64_t)use << 32 | time;
	return siphash(f->words, 6);
}

static uint32_t word(const uint8_t *p)
{
	uint32_t v;

	memcpy(&v, p, 4);
	return __builtin_bswap32(v);
}

/* The client's sequence number goes in, the minute in the upper byte, the size in the rest. */
static uint32_t make(struct flow *f, uint32_t seq, uint32_t size)
{
	uint32_t now = (uint32_t)(skep_clock_mono() / MINUTE);

	return hash(f, 0, 0) + seq + (now << MSS_BITS) + ((hash(f, now, 1) + size) & MSS_MASK);
}

static bool is_ours(struct flow *f, const uint8_t *th)
{
	uint32_t now = (uint32_t)(skep_clock_mono() / MINUTE);
	uint32_t cookie = word(th + 8) - 1 - hash(f, 0, 0) - (word(th + 4) - 1);
	uint32_t age = (now - (cookie >> MSS_BITS)) & (0xffffffffu >> MSS_BITS);

	return age < MINUTES && ((cookie - hash(f, now - age, 1)) & MSS_MASK) < 4;
}

/* The size that a SYN asks for; 0: it does not say. */
static uint32_t asked_size(const uint8_t *th, uint32_t len)
{
	for (uint32_t at = TCP_HEADER; at < len && th[at] != OPT_END;) {
		if (th[at] == OPT_NOP) {
			at++;
			continue;
		}
		if (at + 1 >= len || th[at + 1] < 2 || at + th[at + 1] > len)
			break;
		if (th[at] == OPT_MSS && th[at + 1] == 4)
			return __builtin_bswap16(load16(th + at + 2));
		at += th[at + 1];
	}
	return 0;
}

static uint64_t gen(struct flow f, const uint8_t *th, uint32_t len, const uint16_t sizes[4],
		    uint32_t otherwise)
{
	uint32_t size, i = 3;

	size = asked_size(th, len);
	if (!size)
		size = otherwise;
	while (i && sizes[i] > size)
		i--;
	return (uint64_t)sizes[i] << 32 | make(&f, word(th + 4), i);
}

static bool bad_length(const uint8_t *th, uint32_t len)
{
	return len < TCP_HEADER || len != (uint32_t)(th[12] >> 4) * 4;
}

HELPER(tcp_raw_gen_syncookie_ipv4)
{
	const uint8_t *ip = PTR(r1), *th = PTR(r2);

	if (bad_length(th, (uint32_t)r3))
		return ERR(EINVAL);
	return gen(flow(ip + 12, 8, th), th, (uint32_t)r3, sizes4, DEFAULT_MSS);
}

HELPER(tcp_raw_gen_syncookie_ipv6)
{
	const uint8_t *ip = PTR(r1), *th = PTR(r2);

	if (bad_length(th, (uint32_t)r3))
		return ERR(EINVAL);
	return gen(flow(ip + 8, 32, th), th, (uint32_t)r3, sizes6, MIN_IP6_MSS);
}

HELPER(tcp_raw_check_syncookie_ipv4)
{
	struct flow f = flow((uint8_t *)PTR(r1) + 12, 8, PTR(r2));

	return is_ours(&f, PTR(r2)) ? 0 : ERR(EACCES);
}

HELPER(tcp_raw_check_syncookie_ipv6)
{
	struct flow f = flow((uint8_t *)PTR(r1) + 8, 32, PTR(r2));

	return is_ours(&f, PTR(r2)) ? 0 : ERR(EACCES);
}
