/* SPDX-License-Identifier: Apache-2.0 */
/* Socket buffers: reading and writing bytes, and what LD_ABS and LD_IND do. */
#include <errno.h>
#include <limits.h>

#include "helper/packet.h"

static uint64_t load(const uint8_t *from, const uint8_t *end, uint32_t off, void *to, uint32_t len)
{
	if (off <= INT_MAX && (uint64_t)off + len <= (uint64_t)(end - from)) {
		memcpy(to, from + off, len);
		return 0;
	}
	memset(to, 0, len);
	return ERR(EFAULT);
}

HELPER(skb_load_bytes)
{
	const struct skep_skb *skb = PTR(r1);

	return load(skb->data, skb->data_end, (uint32_t)r2, PTR(r3), (uint32_t)r4);
}

HELPER(skb_load_bytes_relative)
{
	const struct skep_skb *skb = PTR(r1);
	uint32_t off = (uint32_t)r2, len = (uint32_t)r4;
	const uint8_t *from = NULL;

	if (r5 == BPF_HDR_START_MAC)
		from = skb->mac;
	else if (r5 == BPF_HDR_START_NET)
		from = skb->net;
	if (from && off <= MAX_OFFSET)
		return load(from, skb->data_end, off, PTR(r3), len);
	memset(PTR(r3), 0, len);
	return ERR(EFAULT);
}

static void forget_hash(struct skep_skb *skb)
{
	skb->hash = 0;
	skb->l4_hash = skb->sw_hash = false;
}

HELPER(skb_store_bytes)
{
	struct skep_skb *skb = PTR(r1);
	uint32_t off = (uint32_t)r2, len = (uint32_t)r4;
	uint8_t *to = skb->data + off;

	if (r5 & ~(uint64_t)(BPF_F_RECOMPUTE_CSUM | BPF_F_INVALIDATE_HASH))
		return ERR(EINVAL);
	if (off > INT_MAX || !skb_has(skb, off, len))
		return ERR(EFAULT);
	if (r5 & BPF_F_RECOMPUTE_CSUM)
		skep_skb_csum_pull(skb, to, len, off);
	memmove(to, PTR(r3), len);
	if (r5 & BPF_F_RECOMPUTE_CSUM)
		skep_skb_csum_push(skb, to, len, off);
	if (r5 & BPF_F_INVALIDATE_HASH)
		forget_hash(skb);
	return 0;
}

/* ---- LD_ABS and LD_IND ---- */

#define NET_OFF (-0x100000) /* offsets from here: from the network header */
#define LL_OFF  (-0x200000) /* from here: from the link layer's */

/* The bytes at offset, or NULL. Negative offsets count from a header. */
static const uint8_t *bytes_at(const struct skep_skb *skb, int64_t off, uint32_t len)
{
	const uint8_t *from = skb->data, *low = skb->data;

	if (off < 0) {
		if (off < LL_OFF)
			return NULL;
		from = off >= NET_OFF ? skb->net : skb->mac;
		low = skb->hard_start;
		off -= off >= NET_OFF ? NET_OFF : LL_OFF;
		if (!from)
			return NULL;
	}
	if (off + len > skb->data_end - from || off < low - from)
		return NULL;
	return from + off;
}

HELPER(load_8)
{
	const uint8_t *p = bytes_at(PTR(r1), (int32_t)r2, 1);

	return p ? *p : ERR(EFAULT);
}

HELPER(load_16)
{
	const uint8_t *p = bytes_at(PTR(r1), (int32_t)r2, 2);

	return p ? (uint64_t)p[0] << 8 | p[1] : ERR(EFAULT);
}

HELPER(load_32)
{
	const uint8_t *p = bytes_at(PTR(r1), (int32_t)r2, 4);

	return p ? (uint64_t)p[0] << 24 | p[1] << 16 | p[2] << 8 | p[3] : ERR(EFAULT);
}
