/* SPDX-License-Identifier: Apache-2.0 */
/* Checksums: sums of bytes, and changing those that packets carry. */
#include <errno.h>

#include "helper/packet.h"

uint32_t skep_csum(const void *data, uint32_t len, uint32_t sum)
{
	const uint8_t *p = data;
	uint64_t acc = sum;
	uint32_t word;
	uint16_t half;

	for (; len >= 4; len -= 4, p += 4) {
		memcpy(&word, p, 4);
		acc += word;
	}
	if (len & 2) {
		memcpy(&half, p, 2);
		acc += half;
		p += 2;
	}
	if (len & 1)
		acc += *p; /* the byte is the lower half of a word in memory order */
	acc = (acc & UINT32_MAX) + (acc >> 32);
	return (uint32_t)(acc + (acc >> 32));
}

/* At an odd offset a byte is the other half of its word. */
static uint32_t shifted(uint32_t sum, uint32_t off)
{
	return off & 1 ? sum << 24 | sum >> 8 : sum;
}

void skep_skb_csum_pull(struct skep_skb *skb, const void *data, uint32_t len, uint32_t off)
{
	if (skb->ip_summed == CHECKSUM_COMPLETE)
		skb->csum = csum_sub(skb->csum, shifted(skep_csum(data, len, 0), off));
}

void skep_skb_csum_push(struct skep_skb *skb, const void *data, uint32_t len, uint32_t off)
{
	if (skb->ip_summed == CHECKSUM_COMPLETE)
		skb->csum = csum_add(skb->csum, shifted(skep_csum(data, len, 0), off));
}

HELPER(csum_diff)
{
	uint32_t from_size = (uint32_t)r2, to_size = (uint32_t)r4, sum = (uint32_t)r5;

	if (from_size && to_size)
		sum = csum_sub(skep_csum(PTR(r3), to_size, sum), skep_csum(PTR(r1), from_size, 0));
	else if (to_size)
		sum = skep_csum(PTR(r3), to_size, sum);
	else if (from_size)
		sum = ~skep_csum(PTR(r1), from_size, ~sum);
	return csum_fold16(sum);
}

HELPER(csum_update)
{
	struct skep_skb *skb = PTR(r1);

	if (skb->ip_summed != CHECKSUM_COMPLETE)
		return ERR(SKEP_ENOTSUPP);
	return skb->csum = csum_add(skb->csum, (uint32_t)r2);
}

#define MAX_CSUM_LEVEL 3

HELPER(csum_level)
{
	struct skep_skb *skb = PTR(r1);
	bool unnecessary = skb->ip_summed == CHECKSUM_UNNECESSARY;

	switch (r2) {
	case BPF_CSUM_LEVEL_QUERY:
		return unnecessary ? skb->csum_level : ERR(EACCES);
	case BPF_CSUM_LEVEL_INC:
		if (unnecessary && skb->csum_level < MAX_CSUM_LEVEL) {
			skb->csum_level++;
		} else if (skb->ip_summed == CHECKSUM_NONE) {
			skb->ip_summed = CHECKSUM_UNNECESSARY;
			skb->csum_level = 0;
		}
		return 0;
	case BPF_CSUM_LEVEL_DEC:
		if (unnecessary && skb->csum_level)
			skb->csum_level--;
		else if (unnecessary)
			skb->ip_summed = CHECKSUM_NONE;
		return 0;
	case BPF_CSUM_LEVEL_RESET:
		if (unnecessary)
			skb->ip_summed = CHECKSUM_NONE;
		return 0;
	default:
		return ERR(EINVAL);
	}
}

/* ---- The checksums in headers ---- */

/* The field then covers to where it covered from. */
static void replace(uint8_t *field, uint32_t from, uint32_t to)
{
	uint32_t sum = csum_add(csum_sub((uint16_t)~load16(field), from), to);

	store16(field, (uint16_t)~csum_fold16(sum));
}

static void replace_by_diff(uint8_t *field, uint32_t diff)
{
	store16(field, (uint16_t)~csum_fold16(csum_add(diff, (uint16_t)~load16(field))));
}

/* The field that holds the checksum, or NULL if it can't be written. */
static uint8_t *field_at(struct skep_skb *skb, uint64_t off)
{
	uint32_t offset = (uint32_t)off;

	if (offset > MAX_OFFSET || offset & 1 || !skb_has(skb, offset, 2))
		return NULL;
	return skb->data + offset;
}

HELPER(l3_csum_replace)
{
	uint8_t *field;

	if (r5 & ~(uint64_t)BPF_F_HDR_FIELD_MASK)
		return ERR(EINVAL);
	field = field_at(PTR(r1), r2);
	if (!field)
		return ERR(EFAULT);
	switch (r5) {
	case 0:
		if (r3)
			return ERR(EINVAL);
		replace_by_diff(field, (uint32_t)r4);
		return 0;
	case 2:
		replace(field, (uint16_t)r3, (uint16_t)r4);
		return 0;
	case 4:
		replace(field, (uint32_t)r3, (uint32_t)r4);
		return 0;
	default:
		return ERR(EINVAL);
	}
}

/*
 * A checksum of the transport layer. When the device is still to sum the packet
 * (PARTIAL) the field holds the pseudo header's sum alone; when it has summed
 * it (COMPLETE) a changed pseudo header changes that sum.
 */
static void l4_replace(struct skep_skb *skb, uint8_t *field, uint32_t from, uint32_t to,
		       bool pseudo)
{
	if (skb->ip_summed != CHECKSUM_PARTIAL) {
		replace(field, from, to);
		if (skb->ip_summed == CHECKSUM_COMPLETE && pseudo)
			skb->csum = ~csum_add(csum_sub(~skb->csum, from), to);
	} else if (pseudo) {
		store16(field, csum_fold16(csum_add(csum_sub(load16(field), from), to)));
	}
}

static void l4_replace_by_diff(struct skep_skb *skb, uint8_t *field, uint32_t diff, bool pseudo,
			       bool ipv6)
{
	if (skb->ip_summed != CHECKSUM_PARTIAL) {
		replace_by_diff(field, diff);
		if (skb->ip_summed == CHECKSUM_COMPLETE && pseudo && !ipv6)
			skb->csum = ~csum_sub(diff, skb->csum);
	} else if (pseudo) {
		store16(field, csum_fold16(csum_add(diff, load16(field))));
	}
}

HELPER(l4_csum_replace)
{
	const uint64_t known = BPF_F_MARK_MANGLED_0 | BPF_F_MARK_ENFORCE | BPF_F_PSEUDO_HDR |
			       BPF_F_HDR_FIELD_MASK | BPF_F_IPV6;
	bool pseudo = r5 & BPF_F_PSEUDO_HDR, mangled0 = r5 & BPF_F_MARK_MANGLED_0;
	struct skep_skb *skb = PTR(r1);
	uint8_t *field;

	if (r5 & ~known)
		return ERR(EINVAL);
	field = field_at(skb, r2);
	if (!field)
		return ERR(EFAULT);
	/* UDP over IPv4 without a checksum stays without. */
	if (mangled0 && !(r5 & BPF_F_MARK_ENFORCE) && !load16(field))
		return 0;
	switch (r5 & BPF_F_HDR_FIELD_MASK) {
	case 0:
		if (r3)
			return ERR(EINVAL);
		l4_replace_by_diff(skb, field, (uint32_t)r4, pseudo, r5 & BPF_F_IPV6);
		break;
	case 2:
		l4_replace(skb, field, (uint16_t)r3, (uint16_t)r4, pseudo);
		break;
	case 4:
		l4_replace(skb, field, (uint32_t)r3, (uint32_t)r4, pseudo);
		break;
	default:
		return ERR(EINVAL);
	}
	if (mangled0 && !load16(field))
		store16(field, UINT16_MAX);
	return 0;
}
