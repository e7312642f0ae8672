/* SPDX-License-Identifier: Apache-2.0 */
#include "net/frame.h"

#include <arpa/inet.h>
#include <errno.h>
#include <linux/if_ether.h>
#include <linux/virtio_net.h>
#include <netinet/in.h>
#include <netinet/ip.h>
#include <netinet/ip6.h>
#include <netinet/tcp.h>
#include <netinet/udp.h>
#include <stdbool.h>
#include <string.h>

#include "skep.h"

#ifndef VIRTIO_NET_HDR_GSO_UDP_L4
#define VIRTIO_NET_HDR_GSO_UDP_L4 5
#endif

#define VLAN_HLEN 4

/* ---- Checksums ---- */

uint64_t skep_csum_add(uint64_t sum, const void *data, size_t len)
{
	const uint8_t *p = data;
	uint32_t w;
	uint16_t h;

	/* 32-bit words into 64 bits: no carry is lost below 2^32 words. */
	for (; len >= 4; len -= 4, p += 4) {
		memcpy(&w, p, 4);
		sum += w;
	}
	if (len >= 2) {
		memcpy(&h, p, 2);
		sum += h;
		p += 2;
		len -= 2;
	}
	if (len)
		sum += ntohs((uint16_t)(*p << 8));
	return sum;
}

uint16_t skep_csum_fold(uint64_t sum)
{
	sum = (sum & 0xffffffff) + (sum >> 32);
	sum = (sum & 0xffffffff) + (sum >> 32);
	sum = (sum & 0xffff) + (sum >> 16);
	sum = (sum & 0xffff) + (sum >> 16);
	return (uint16_t)~sum;
}

int skep_frame_checksum(uint8_t *frame, size_t len, const struct skep_offload *off)
{
	size_t at = (size_t)off->csum_start + off->csum_offset;
	uint16_t sum;

	if (off->csum_start >= len || at + 2 > len)
		return -EINVAL;
	/* The field already holds the pseudo header's sum. */
	sum = skep_csum_fold(skep_csum_add(0, frame + off->csum_start, len - off->csum_start));
	/* UDP reserves 0 for "no checksum"; in ones' complement ~0 is the same number. */
	if (!sum && off->csum_offset == offsetof(struct udphdr, check))
		sum = 0xffff;
	memcpy(frame + at, &sum, 2);
	return 0;
}

/* ---- VLAN ---- */

uint8_t *skep_frame_vlan_push(uint8_t *frame, uint16_t tpid, uint16_t tci)
{
	uint8_t *start = frame - VLAN_HLEN;
	uint16_t tag[2] = {htons(tpid), htons(tci)};

	memmove(start, frame, 2 * ETH_ALEN);
	memcpy(start + 2 * ETH_ALEN, tag, sizeof(tag));
	return start;
}

bool skep_frame_put_tag(struct skep_packet *p)
{
	if (!p->vlan_proto)
		return true;
	if (p->off < VLAN_HLEN || p->len < 2 * ETH_ALEN)
		return false;
	skep_frame_vlan_push(p->buf + p->off, ntohs(p->vlan_proto), p->vlan_tci);
	p->off -= VLAN_HLEN;
	p->len += VLAN_HLEN;
	p->vlan_proto = 0;
	return true;
}

/* ---- Segmentation ---- */

static uint16_t get16(const uint8_t *p)
{
	return (uint16_t)(p[0] << 8 | p[1]);
}

static void put16(uint8_t *p, size_t v)
{
	p[0] = (uint8_t)(v >> 8);
	p[1] = (uint8_t)v;
}

/* Finds the IP header behind Ethernet and VLAN tags, and the transport header behind it. */
static int find_headers(struct skep_segmenter *s)
{
	size_t at = ETH_HLEN;
	uint16_t proto;

	if (s->len < ETH_HLEN)
		return -EINVAL;
	proto = get16(s->frame + 12);
	while (proto == ETH_P_8021Q || proto == ETH_P_8021AD) {
		if (at + VLAN_HLEN > s->len)
			return -EINVAL;
		proto = get16(s->frame + at + 2);
		at += VLAN_HLEN;
	}
	s->l3 = at;
	if (proto == ETH_P_IP) {
		size_t ihl;

		if (at + sizeof(struct iphdr) > s->len)
			return -EINVAL;
		ihl = (s->frame[at] & 15) * 4u;
		if (s->frame[at] >> 4 != 4 || ihl < sizeof(struct iphdr) || at + ihl > s->len)
			return -EINVAL;
		s->ip_version = 4;
		s->proto = s->frame[at + 9];
		s->l4 = at + ihl;
		return 0;
	}
	if (proto != ETH_P_IPV6 || at + sizeof(struct ip6_hdr) > s->len || s->frame[at] >> 4 != 6)
		return -EINVAL;
	s->ip_version = 6;
	s->proto = s->frame[at + 6];
	at += sizeof(struct ip6_hdr);
	/* Options that may stand before TCP and UDP. */
	while (s->proto == IPPROTO_HOPOPTS || s->proto == IPPROTO_ROUTING ||
	       s->proto == IPPROTO_DSTOPTS) {
		if (at + 8 > s->len)
			return -EINVAL;
		s->proto = s->frame[at];
		at += (s->frame[at + 1] + 1u) * 8;
	}
	s->l4 = at;
	return 0;
}

int skep_segment_start(struct skep_segmenter *s, const uint8_t *frame, size_t len,
		       const struct skep_offload *off)
{
	static const struct {
		uint8_t gso_type, ip_version, proto;
	} types[] = {
		{VIRTIO_NET_HDR_GSO_TCPV4, 4, IPPROTO_TCP},
		{VIRTIO_NET_HDR_GSO_TCPV6, 6, IPPROTO_TCP},
		{VIRTIO_NET_HDR_GSO_UDP_L4, 0, IPPROTO_UDP},
	};
	uint8_t type = off->gso_type & (uint8_t)~VIRTIO_NET_HDR_GSO_ECN;
	int err;

	*s = (struct skep_segmenter){.frame = frame, .len = len, .mss = off->gso_size};
	err = find_headers(s);
	if (err)
		return err;
	for (size_t i = 0; i < sizeof(types) / sizeof(types[0]); i++) {
		if (types[i].gso_type != type)
			continue;
		if (!s->mss || s->proto != types[i].proto ||
		    (types[i].ip_version && types[i].ip_version != s->ip_version))
			return -EINVAL;
		if (s->proto == IPPROTO_UDP) {
			s->hdr_len = s->l4 + sizeof(struct udphdr);
		} else {
			if (s->l4 + sizeof(struct tcphdr) > len)
				return -EINVAL;
			s->hdr_len = s->l4 + (size_t)(frame[s->l4 + 12] >> 4) * 4;
			if (s->hdr_len < s->l4 + sizeof(struct tcphdr))
				return -EINVAL;
		}
		return s->hdr_len <= len ? 0 : -EINVAL;
	}
	return -EPROTONOSUPPORT;
}

static uint64_t pseudo_header(const struct skep_segmenter *s, const uint8_t *out, size_t l4_len)
{
	uint64_t sum = htons(s->proto) + (uint64_t)htonl((uint32_t)l4_len);

	if (s->ip_version == 4)
		return skep_csum_add(sum, out + s->l3 + 12, 8);
	return skep_csum_add(sum, out + s->l3 + 8, 32);
}

static void fix_ip(const struct skep_segmenter *s, uint8_t *out, size_t len)
{
	uint8_t *ip = out + s->l3;
	uint16_t sum;

	if (s->ip_version == 6) {
		put16(ip + 4, len - s->l3 - sizeof(struct ip6_hdr));
		return;
	}
	put16(ip + 2, len - s->l3);
	put16(ip + 4, get16(ip + 4) + s->index);
	put16(ip + 10, 0);
	sum = skep_csum_fold(skep_csum_add(0, ip, s->l4 - s->l3));
	memcpy(ip + 10, &sum, 2);
}

static void fix_tcp(const struct skep_segmenter *s, uint8_t *out, size_t len, bool last)
{
	uint8_t *tcp = out + s->l4;
	uint32_t seq;
	uint16_t sum;

	memcpy(&seq, tcp + 4, 4);
	seq = htonl(ntohl(seq) + (uint32_t)s->pos);
	memcpy(tcp + 4, &seq, 4);
	if (!last)
		tcp[13] &= (uint8_t) ~(TH_FIN | TH_PUSH);
	if (s->index)
		tcp[13] &= 0x7f; /* CWR is said once */
	put16(tcp + 16, 0);
	sum = skep_csum_fold(skep_csum_add(pseudo_header(s, out, len - s->l4), tcp, len - s->l4));
	memcpy(tcp + 16, &sum, 2);
}

static void fix_udp(const struct skep_segmenter *s, uint8_t *out, size_t len)
{
	uint8_t *udp = out + s->l4;
	uint16_t sum;

	put16(udp + 4, len - s->l4);
	put16(udp + 6, 0);
	sum = skep_csum_fold(skep_csum_add(pseudo_header(s, out, len - s->l4), udp, len - s->l4));
	if (!sum)
		sum = 0xffff;
	memcpy(udp + 6, &sum, 2);
}

long skep_segment_next(struct skep_segmenter *s, uint8_t *out, size_t cap)
{
	size_t left = s->len - s->hdr_len - s->pos, part = left < s->mss ? left : s->mss;
	size_t len = s->hdr_len + part;

	if (!left && s->index)
		return 0;
	if (len > cap)
		return -EMSGSIZE;
	memcpy(out, s->frame, s->hdr_len);
	memcpy(out + s->hdr_len, s->frame + s->hdr_len + s->pos, part);
	fix_ip(s, out, len);
	if (s->proto == IPPROTO_TCP)
		fix_tcp(s, out, len, part == left);
	else
		fix_udp(s, out, len);
	s->pos += part;
	s->index++;
	return (long)len;
}
