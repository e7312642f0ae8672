/* SPDX-License-Identifier: Apache-2.0 */
#include "prog/skb.h"

#include <string.h>

#define MIN_PROTOCOL 0x0600 /* smaller values are lengths */
#define ETH_P_802_3  0x0001
#define ETH_P_802_2  0x0004

uint16_t skep_eth_protocol(const uint8_t *frame, uint32_t len)
{
	uint16_t proto;

	memcpy(&proto, frame + 12, sizeof(proto));
	if (__builtin_bswap16(proto) >= MIN_PROTOCOL)
		return proto;
	if (len >= SKEP_ETH_HEADER + 2 && frame[14] == 0xff && frame[15] == 0xff)
		return __builtin_bswap16(ETH_P_802_3);
	return __builtin_bswap16(ETH_P_802_2);
}

void skep_skb_init(struct skep_skb *skb, uint8_t *buf, uint32_t cap, uint8_t *frame, uint32_t len,
		   bool l2)
{
	uint32_t link = len < SKEP_ETH_HEADER ? len : SKEP_ETH_HEADER;
	size_t size = sizeof(*skb);

	/* A size that the compiler doesn't know makes it call memset(), which is ten times
	 * as fast as the string instruction that it would put here. */
	__asm__("" : "+r"(size));
	memset(skb, 0, size);
	skb->hard_start = buf;
	skb->hard_end = buf + cap;
	skb->mac = frame;
	skb->net = frame + link;
	skb->data = l2 ? frame : skb->net;
	skb->data_meta = skb->data;
	skb->data_end = frame + len;
	skb->len = (uint32_t)(skb->data_end - skb->data);
	skb->wire_len = skb->len;
	if (link == SKEP_ETH_HEADER)
		skb->protocol = skep_eth_protocol(frame, len);
}
