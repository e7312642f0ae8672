/* SPDX-License-Identifier: Apache-2.0 */
/* Socket buffers made for a run. */
#ifndef SKEP_PROG_SKB_H
#define SKEP_PROG_SKB_H

#include <stdint.h>

#include "prog/type.h"

#define SKEP_ETH_HEADER 14u

/* The protocol of an Ethernet frame of at least 14 bytes, as eth_type_trans() finds it
 * (network order). */
uint16_t skep_eth_protocol(const uint8_t *frame, uint32_t len);

/*
 * Makes *skb of the Ethernet frame at frame: protocol and headers found, the rest 0.
 * l2: the program sees the frame from the link layer header on, else from the
 * network header. A frame shorter than that header is all of it.
 */
void skep_skb_init(struct skep_skb *skb, uint8_t *buf, uint32_t cap, uint8_t *frame, uint32_t len,
		   bool l2);

#endif
