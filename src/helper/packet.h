/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the helpers on packets share: room in the packet's memory, checksum
 * arithmetic, and telling the checked mode that the packet moved.
 */
#ifndef SKEP_HELPER_PACKET_H
#define SKEP_HELPER_PACKET_H

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#include "helper/call.h"
#include "prog/type.h"

#define ETH_HEADER 14u
#define MAX_PACKET 16064u /* what a packet may grow to: four pages less a structure */
#define MAX_OFFSET 0xffffu

/* skb->ip_summed, as in the kernel. */
enum { CHECKSUM_NONE, CHECKSUM_UNNECESSARY, CHECKSUM_COMPLETE, CHECKSUM_PARTIAL };

/* skb->protocol, in network order. */
#define PROTO(host)  __builtin_bswap16(host)
#define PROTO_IP     PROTO(0x0800)
#define PROTO_IPV6   PROTO(0x86dd)
#define PROTO_8021Q  PROTO(0x8100)
#define PROTO_8021AD PROTO(0x88a8)

static inline uint16_t load16(const void *p)
{
	uint16_t v;

	memcpy(&v, p, sizeof(v));
	return v;
}

static inline void store16(void *p, uint16_t v)
{
	memcpy(p, &v, sizeof(v));
}

/* ---- Ones' complement sums ---- */

static inline uint32_t csum_add(uint32_t a, uint32_t b)
{
	a += b;
	return a + (a < b);
}

static inline uint32_t csum_sub(uint32_t a, uint32_t b)
{
	return csum_add(a, ~b);
}

/* 32 bits folded into 16, not complemented. */
static inline uint16_t csum_fold16(uint32_t sum)
{
	sum = (sum & 0xffff) + (sum >> 16);
	return (uint16_t)(sum + (sum >> 16));
}

/* The sum of len bytes and a sum so far. */
uint32_t skep_csum(const void *data, uint32_t len, uint32_t sum);

/* Bytes at off left or came: what a complete checksum must know. */
void skep_skb_csum_pull(struct skep_skb *skb, const void *data, uint32_t len, uint32_t off);
void skep_skb_csum_push(struct skep_skb *skb, const void *data, uint32_t len, uint32_t off);

/* ---- Room ---- */

/* Opens len zero bytes after the first keep bytes, moving those (and the headers) down;
 * -ENOMEM where the memory ends. */
int skep_skb_open(struct skep_skb *skb, uint32_t keep, uint32_t len);
/* Takes len bytes away after the first keep bytes. */
void skep_skb_close(struct skep_skb *skb, uint32_t keep, uint32_t len);

static inline bool skb_has(const struct skep_skb *skb, uint64_t off, uint64_t len)
{
	return off + len <= skb->len;
}

/* In checked mode the packet's region follows it. start: where it began before. */
void skep_packet_moved(struct skep_env *env, const uint8_t *start, const uint8_t *new_start,
		       const uint8_t *new_end);

#endif
