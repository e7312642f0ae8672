/* SPDX-License-Identifier: Apache-2.0 */
/* Room in a socket buffer, and the packet's region in checked mode. */
#include "helper/packet.h"

#include <errno.h>

int skep_skb_open(struct skep_skb *skb, uint32_t keep, uint32_t len)
{
	if ((size_t)(skb->data - skb->hard_start) < len)
		return -ENOMEM;
	skb->data -= len;
	memmove(skb->data, skb->data + len, keep);
	memset(skb->data + keep, 0, len);
	skb->data_meta = skb->data;
	skb->mac -= len;
	skb->net -= len;
	skb->len += len;
	return 0;
}

void skep_skb_close(struct skep_skb *skb, uint32_t keep, uint32_t len)
{
	memmove(skb->data + len, skb->data, keep);
	skb->data += len;
	skb->data_meta = skb->data;
	skb->mac += len;
	skb->net += len;
	skb->len -= len;
}

void skep_packet_moved(struct skep_env *env, const uint8_t *start, const uint8_t *new_start,
		       const uint8_t *new_end)
{
	if (!env->checker)
		return;
	skep_checker_remove(env->checker, start);
	/* Out of memory means later accesses are found fault with, which is the safe side. */
	skep_checker_add(env->checker, new_start, (size_t)(new_end - new_start),
			 SKEP_REGION_READ | SKEP_REGION_WRITE);
}
