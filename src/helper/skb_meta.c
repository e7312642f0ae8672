/* SPDX-License-Identifier: Apache-2.0 */
/* Socket buffers: what is known of a packet beside its bytes. */
#include <errno.h>

#include "helper/packet.h"

#define OVERFLOW_UID 65534
#define MAX_TAGS     7

HELPER(skb_change_type)
{
	struct skep_skb *skb = PTR(r1);

	if (skb->pkt_type > 3 || (uint32_t)r2 > 3)
		return ERR(EINVAL);
	skb->pkt_type = (uint8_t)r2;
	return 0;
}

HELPER(skb_set_tstamp)
{
	struct skep_skb *skb = PTR(r1);
	uint32_t type = (uint32_t)r3;

	if (skb->protocol != PROTO_IP && skb->protocol != PROTO_IPV6)
		return ERR(EOPNOTSUPP);
	if (type > BPF_SKB_CLOCK_TAI || (type != BPF_SKB_CLOCK_REALTIME && !r2))
		return ERR(EINVAL);
	skb->tstamp = r2;
	skb->tstamp_type = (uint8_t)type;
	return 0;
}

/* ---- Congestion marks ---- */

/* 1 if the packet now says that it met congestion, 0 if it can't. */
static int mark_ip4(uint8_t *ip)
{
	uint8_t ecn = ip[1] & 3;
	uint32_t sum;

	if (!ecn)
		return 0;
	if (ecn == 3)
		return 1;
	/* Only this byte changes: the checksum does by the difference. */
	sum = csum_add(csum_sub((uint16_t)~load16(ip + 10), (uint32_t)__builtin_bswap16(ip[1])),
		       (uint32_t)__builtin_bswap16(ip[1] | 3));
	ip[1] |= 3;
	store16(ip + 10, (uint16_t)~csum_fold16(sum));
	return 1;
}

static int mark_ip6(struct skep_skb *skb, uint8_t *ip)
{
	uint8_t ecn = (ip[1] >> 4) & 3;
	uint8_t old[2] = {ip[0], ip[1]};

	if (!ecn)
		return 0;
	ip[1] |= 0x30;
	if (skb->ip_summed == CHECKSUM_COMPLETE)
		skb->csum = csum_add(csum_sub(skb->csum, load16(old)), load16(ip));
	return 1;
}

/* The protocol behind VLAN tags in the packet; 0: cut off, or more tags than are looked at. */
static uint16_t inner_protocol(const struct skep_skb *skb)
{
	uint16_t proto = skb->protocol;
	uint32_t at = skb->mac_len ? skb->mac_len - 4 : ETH_HEADER;

	for (int tags = 0; proto == PROTO_8021Q || proto == PROTO_8021AD; tags++, at += 4) {
		if (tags == MAX_TAGS || !skb_has(skb, at, 4))
			return 0;
		proto = load16(skb->data + at + 2);
	}
	return proto;
}

HELPER(skb_ecn_set_ce)
{
	struct skep_skb *skb = PTR(r1);
	uint16_t proto = inner_protocol(skb);

	if (proto == PROTO_IP && skb->data_end - skb->net >= 20)
		return (uint64_t)mark_ip4(skb->net);
	if (proto == PROTO_IPV6 && skb->data_end - skb->net >= 40)
		return (uint64_t)mark_ip6(skb, skb->net);
	return 0;
}

/* ---- The flow's hash ---- */

static uint32_t mix(uint32_t h, uint32_t v)
{
	h ^= v;
	h *= 0x9e3779b1u;
	return h ^ h >> 15;
}

static uint32_t hash_words(uint32_t h, const uint8_t *p, uint32_t n)
{
	uint32_t word;

	for (; n; n--, p += 4) {
		memcpy(&word, p, 4);
		h = mix(h, word);
	}
	return h;
}

static bool has_ports(uint8_t proto)
{
	return proto == 6 || proto == 17 || proto == 132 || proto == 33 || proto == 136;
}

/* Addresses, protocol and ports, as far as the packet has them. */
static uint32_t flow_hash(const struct skep_skb *skb)
{
	const uint8_t *ip = skb->net;
	size_t left = (size_t)(skb->data_end - ip);
	uint32_t h = mix(0x5bd1e995u, skb->protocol);

	if (skb->protocol == PROTO_IP && left >= 20) {
		uint32_t len = (uint32_t)(ip[0] & 15) * 4;
		bool fragment = load16(ip + 6) & __builtin_bswap16(0x3fff);

		h = mix(hash_words(h, ip + 12, 2), ip[9]);
		if (has_ports(ip[9]) && !fragment && len >= 20 && left >= len + 4)
			h = hash_words(h, ip + len, 1);
	} else if (skb->protocol == PROTO_IPV6 && left >= 40) {
		h = mix(hash_words(h, ip + 8, 8), ip[6]);
		if (has_ports(ip[6]) && left >= 44)
			h = hash_words(h, ip + 40, 1);
	}
	return h ? h : 1;
}

HELPER(get_hash_recalc)
{
	struct skep_skb *skb = PTR(r1);

	if (!skb->l4_hash && !skb->sw_hash) {
		skb->hash = flow_hash(skb);
		skb->sw_hash = true;
	}
	return skb->hash;
}

HELPER(set_hash)
{
	struct skep_skb *skb = PTR(r1);

	skb->hash = (uint32_t)r2;
	skb->sw_hash = skb->l4_hash = true;
	return 0;
}

HELPER(set_hash_invalid)
{
	struct skep_skb *skb = PTR(r1);

	skb->hash = 0;
	skb->sw_hash = skb->l4_hash = false;
	return 0;
}

/*
 * Sockets, control groups and routes: packets here have none. These are the
 * kernel's answers for a packet without.
 */
HELPER(get_cgroup_classid)
{
	return 0;
}

HELPER(get_route_realm)
{
	return 0;
}

HELPER(get_socket_cookie)
{
	return 0;
}

HELPER(get_socket_uid)
{
	return OVERFLOW_UID;
}
