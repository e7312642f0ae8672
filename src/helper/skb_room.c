/* SPDX-License-Identifier: Apache-2.0 */
/* Socket buffers: longer, shorter, and with another header. */
#include <errno.h>
#include <stdlib.h>

#include "helper/packet.h"

#define IP4_HEADER 20u
#define IP6_HEADER 40u

static void moved(struct skep_env *env, const struct skep_skb *skb, const uint8_t *start)
{
	skep_packet_moved(env, start, skb->data_meta, skb->data_end);
}

HELPER(skb_pull_data)
{
	const struct skep_skb *skb = PTR(r1);

	/* All bytes lie linearly, so that there is nothing to pull, but they must be there. */
	return (uint32_t)r2 > skb->len ? ERR(ENOMEM) : 0;
}

HELPER(skb_change_tail)
{
	struct skep_skb *skb = PTR(r1);
	uint32_t len = (uint32_t)r2;
	int64_t min = skb->net - skb->data;

	if (r3 || len > MAX_PACKET || (int64_t)len < min)
		return ERR(EINVAL);
	if (len > skb->len) {
		if ((size_t)(skb->hard_end - skb->data) < len)
			return ERR(ENOMEM);
		memset(skb->data_end, 0, len - skb->len);
	}
	if (len != skb->len && skb->ip_summed == CHECKSUM_COMPLETE)
		skb->ip_summed = CHECKSUM_NONE;
	skb->len = len;
	skb->data_end = skb->data + len;
	skb->gso_segs = skb->gso_size = 0;
	moved(env, skb, skb->data_meta);
	return 0;
}

HELPER(skb_change_head)
{
	struct skep_skb *skb = PTR(r1);
	uint8_t *start = skb->data_meta, *net = skb->net;
	uint32_t room = (uint32_t)r2;
	uint64_t len = (uint64_t)skb->len + room;
	int err;

	if (r3 || (!skb->gso_size && len > MAX_PACKET) || len > UINT32_MAX)
		return ERR(EINVAL);
	err = skep_skb_open(skb, 0, room);
	if (err)
		return (uint64_t)(int64_t)err;
	skb->mac = skb->data;
	skb->net = net;
	skb->mac_len = (uint32_t)(net - skb->mac);
	moved(env, skb, start);
	return 0;
}

/* Length of the link layer header. */
static uint32_t mac_len(const struct skep_skb *skb)
{
	return (uint32_t)(skb->net - skb->mac);
}

HELPER(skb_change_proto)
{
	struct skep_skb *skb = PTR(r1);
	uint8_t *start = skb->data_meta;
	uint16_t to = (uint16_t)r2;
	uint32_t diff = IP6_HEADER - IP4_HEADER;
	int err = 0;

	if (r3)
		return ERR(EINVAL);
	if (skb->protocol == PROTO_IP && to == PROTO_IPV6) {
		err = skep_skb_open(skb, mac_len(skb), diff);
	} else if (skb->protocol == PROTO_IPV6 && to == PROTO_IP) {
		if (!skb_has(skb, mac_len(skb), diff))
			return ERR(ENOMEM);
		skep_skb_csum_pull(skb, skb->data + mac_len(skb), diff, mac_len(skb));
		skep_skb_close(skb, mac_len(skb), diff);
	} else {
		return ERR(SKEP_ENOTSUPP);
	}
	if (err)
		return (uint64_t)(int64_t)err;
	skb->protocol = to;
	skb->hash = 0;
	skb->l4_hash = skb->sw_hash = false;
	moved(env, skb, start);
	return 0;
}

/* ---- bpf_skb_adjust_room ---- */

#define ENCAP_L3        (BPF_F_ADJ_ROOM_ENCAP_L3_IPV4 | BPF_F_ADJ_ROOM_ENCAP_L3_IPV6)
#define ENCAP_L4        (BPF_F_ADJ_ROOM_ENCAP_L4_GRE | BPF_F_ADJ_ROOM_ENCAP_L4_UDP)
#define DECAP_L3        (BPF_F_ADJ_ROOM_DECAP_L3_IPV4 | BPF_F_ADJ_ROOM_DECAP_L3_IPV6)
#define ENCAP_L2(flags) (((flags) >> BPF_ADJ_ROOM_ENCAP_L2_SHIFT) & BPF_ADJ_ROOM_ENCAP_L2_MASK)
#define ALL_FLAGS                                                                                  \
	(BPF_F_ADJ_ROOM_FIXED_GSO | ENCAP_L3 | ENCAP_L4 | BPF_F_ADJ_ROOM_ENCAP_L2_ETH | DECAP_L3 | \
	 BPF_F_ADJ_ROOM_ENCAP_L2(BPF_ADJ_ROOM_ENCAP_L2_MASK) | BPF_F_ADJ_ROOM_NO_CSUM_RESET)
#define SHRINK_FLAGS (BPF_F_ADJ_ROOM_FIXED_GSO | DECAP_L3 | BPF_F_ADJ_ROOM_NO_CSUM_RESET)
#define MAX_DIFF     0xfffu

static int grow(struct skep_skb *skb, uint32_t off, uint32_t diff, uint64_t flags)
{
	uint32_t link = mac_len(skb);
	int err;

	if (off > skb->len)
		return -ENOMEM;
	if (skb->gso_size && flags & ENCAP_L4 & BPF_F_ADJ_ROOM_ENCAP_L4_UDP &&
	    flags & BPF_F_ADJ_ROOM_FIXED_GSO)
		return -EINVAL;
	if (flags & ENCAP_L3) {
		if ((flags & ENCAP_L3) == ENCAP_L3 || (flags & ENCAP_L4) == ENCAP_L4)
			return -EINVAL;
		if (flags & BPF_F_ADJ_ROOM_ENCAP_L2_ETH && ENCAP_L2(flags) < ETH_HEADER)
			return -EINVAL;
		if (skb->encapsulation)
			return -EALREADY;
		if (ENCAP_L2(flags) > diff)
			return -EINVAL;
	}
	err = skep_skb_open(skb, off, diff);
	if (err || !(flags & ENCAP_L3))
		return err;
	skb->encapsulation = true;
	skb->net = skb->data + link;
	skb->protocol = flags & BPF_F_ADJ_ROOM_ENCAP_L3_IPV6 ? PROTO_IPV6 : PROTO_IP;
	return 0;
}

static int shrink(struct skep_skb *skb, uint32_t off, uint32_t diff, uint64_t flags)
{
	if (flags & ~(uint64_t)SHRINK_FLAGS)
		return -EINVAL;
	if (!skb_has(skb, off, diff))
		return -ENOMEM;
	skep_skb_csum_pull(skb, skb->data + off, diff, off);
	skep_skb_close(skb, off, diff);
	if (flags & BPF_F_ADJ_ROOM_DECAP_L3_IPV4)
		skb->protocol = PROTO_IP;
	if (flags & BPF_F_ADJ_ROOM_DECAP_L3_IPV6)
		skb->protocol = PROTO_IPV6;
	return 0;
}

/* The shortest packet that shrinking may leave, network header and up; 0: not allowed. */
static uint32_t shortest(const struct skep_skb *skb, uint64_t flags)
{
	switch (flags & DECAP_L3) {
	case 0:
		return skb->protocol == PROTO_IP ? IP4_HEADER : IP6_HEADER;
	case BPF_F_ADJ_ROOM_DECAP_L3_IPV4:
		return IP4_HEADER;
	case BPF_F_ADJ_ROOM_DECAP_L3_IPV6:
		return IP6_HEADER;
	default:
		return 0;
	}
}

HELPER(skb_adjust_room)
{
	struct skep_skb *skb = PTR(r1);
	uint8_t *start = skb->data_meta;
	int32_t len_diff = (int32_t)r2;
	uint32_t diff = (uint32_t)(len_diff < 0 ? -(int64_t)len_diff : len_diff);
	uint32_t mode = (uint32_t)r3, off = mac_len(skb);
	uint32_t len = (uint32_t)(skb->data_end - skb->net), min;
	int err;

	if (r4 & ~(uint64_t)ALL_FLAGS)
		return ERR(EINVAL);
	if (diff > MAX_DIFF)
		return ERR(EFAULT);
	if (skb->protocol != PROTO_IP && skb->protocol != PROTO_IPV6)
		return ERR(SKEP_ENOTSUPP);
	if (mode == BPF_ADJ_ROOM_NET)
		off += skb->protocol == PROTO_IP ? IP4_HEADER : IP6_HEADER;
	else if (mode != BPF_ADJ_ROOM_MAC)
		return ERR(SKEP_ENOTSUPP);
	min = shortest(skb, r4);
	if (r4 & DECAP_L3 && (len_diff >= 0 || !min))
		return ERR(EINVAL);
	if (len_diff < 0 ? diff >= len || len - diff < min
			 : skb->len + diff > MAX_PACKET && !skb->gso_size)
		return ERR(SKEP_ENOTSUPP);
	err = len_diff < 0 ? shrink(skb, off, diff, r4) : grow(skb, off, diff, r4);
	if (!err && !(r4 & BPF_F_ADJ_ROOM_NO_CSUM_RESET) && skb->ip_summed == CHECKSUM_UNNECESSARY)
		skb->ip_summed = CHECKSUM_NONE;
	if (!err)
		moved(env, skb, start);
	return (uint64_t)(int64_t)err;
}
