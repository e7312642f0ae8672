/* SPDX-License-Identifier: Apache-2.0 */
/*
 * VLAN tags. The outermost one stands beside the packet, as a device leaves
 * it; pushing another moves it into the packet, popping fetches the next one.
 */
#include <errno.h>
#include <stddef.h>

#include "helper/packet.h"

#define TAG          4u
#define ADDRESSES    12u
#define VLAN_HEADER  18u
#define MIN_PROTOCOL 0x0600

static bool is_vlan(uint16_t proto)
{
	return proto == PROTO_8021Q || proto == PROTO_8021AD;
}

static void set_tag(struct skep_skb *skb, uint16_t proto, uint16_t tci)
{
	skb->vlan_present = 1;
	skb->vlan_proto = proto;
	skb->vlan_tci = tci;
}

/* Puts the tag beside the packet into it. */
static int insert(struct skep_skb *skb)
{
	int err = skb->len < ADDRESSES ? -ENOMEM : skep_skb_open(skb, ADDRESSES, TAG);

	if (err)
		return err;
	skb->mac_len += TAG;
	store16(skb->data + ADDRESSES, skb->vlan_proto);
	store16(skb->data + ADDRESSES + 2, __builtin_bswap16(skb->vlan_tci));
	skep_skb_csum_push(skb, skb->data + ADDRESSES, TAG, ADDRESSES);
	skb->protocol = skb->vlan_proto;
	return 0;
}

/* Takes the tag out of the packet that stands in it. */
static int extract(struct skep_skb *skb, uint16_t *tci)
{
	uint8_t *net = skb->net;
	uint16_t proto;

	if (skb->len < VLAN_HEADER)
		return -ENOMEM;
	*tci = __builtin_bswap16(load16(skb->data + ADDRESSES + 2));
	skep_skb_csum_pull(skb, skb->data + ADDRESSES, TAG, ADDRESSES);
	skep_skb_close(skb, ADDRESSES, TAG);
	/* The tag was the network header, or lay before it. */
	skb->net = net - skb->data < (ptrdiff_t)ETH_HEADER ? skb->data + ETH_HEADER : net;
	skb->mac_len = (uint32_t)(skb->net - skb->mac);
	proto = load16(skb->data + ADDRESSES);
	if (__builtin_bswap16(proto) < MIN_PROTOCOL)
		proto = skb->len >= ETH_HEADER + 2 && load16(skb->data + ETH_HEADER) == UINT16_MAX
				? PROTO(0x0001)
				: PROTO(0x0004);
	skb->protocol = proto;
	return 0;
}

HELPER(skb_vlan_push)
{
	struct skep_skb *skb = PTR(r1);
	uint8_t *start = skb->data_meta;
	uint16_t proto = (uint16_t)r2;
	int err = 0;

	if (!is_vlan(proto))
		proto = PROTO_8021Q;
	if (skb->vlan_present)
		err = insert(skb);
	if (err)
		return (uint64_t)(int64_t)err;
	set_tag(skb, proto, (uint16_t)r3);
	skep_packet_moved(env, start, skb->data_meta, skb->data_end);
	return 0;
}

HELPER(skb_vlan_pop)
{
	struct skep_skb *skb = PTR(r1);
	uint8_t *start = skb->data_meta;
	uint16_t proto, tci;
	int err = 0;

	if (skb->vlan_present) {
		skb->vlan_present = skb->vlan_proto = skb->vlan_tci = 0;
	} else {
		if (!is_vlan(skb->protocol))
			return 0;
		err = extract(skb, &tci);
	}
	/* Another tag comes out to stand beside the packet. */
	if (!err && is_vlan(skb->protocol)) {
		proto = skb->protocol;
		err = extract(skb, &tci);
		if (!err)
			set_tag(skb, proto, tci);
	}
	skep_packet_moved(env, start, skb->data_meta, skb->data_end);
	return (uint64_t)(int64_t)err;
}
