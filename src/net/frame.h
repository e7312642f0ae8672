/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Frames as a program should see them: checksums finished, VLAN tags in place,
 * large offloaded packets cut to size. Pure functions on bytes; nothing here
 * trusts a length that a frame states.
 */
#ifndef SKEP_FRAME_H
#define SKEP_FRAME_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* What the kernel left undone (virtio-net header), offsets from the frame's start. */
struct skep_offload {
	uint8_t flags; /* VIRTIO_NET_HDR_F_* */
	uint8_t gso_type; /* VIRTIO_NET_HDR_GSO_* */
	uint16_t gso_size; /* payload bytes of a segment */
	uint16_t csum_start, csum_offset;
};

/* Internet checksum (RFC 1071) of len bytes added to sum; fold with skep_csum_fold. */
uint64_t skep_csum_add(uint64_t sum, const void *data, size_t len);
uint16_t skep_csum_fold(uint64_t sum);

/* Finishes a partial checksum in place. -EINVAL if its place lies outside. */
int skep_frame_checksum(uint8_t *frame, size_t len, const struct skep_offload *off);

/* Puts a VLAN tag after the addresses: needs 4 bytes of room before `frame`; returns the new
 * start, len grows by 4. NULL if the frame is shorter than an Ethernet header. */
uint8_t *skep_frame_vlan_push(uint8_t *frame, uint16_t tpid, uint16_t tci);

struct skep_packet;
/* Puts a packet's accelerated tag (vlan_proto, which a program may have set) into the frame, where
 * a wire has it. False if there is no room in front. */
bool skep_frame_put_tag(struct skep_packet *p);

/* Cutting one large packet: set up once, then next until it returns 0. */
struct skep_segmenter {
	const uint8_t *frame;
	size_t len, hdr_len; /* headers that every segment repeats */
	size_t l3, l4; /* offsets of the IP and TCP/UDP headers */
	size_t pos; /* payload bytes done */
	uint32_t mss, index;
	uint8_t ip_version, proto;
};

/* 0, or -EINVAL when the headers aren't what gso_type says, -EPROTONOSUPPORT for other types. */
int skep_segment_start(struct skep_segmenter *s, const uint8_t *frame, size_t len,
		       const struct skep_offload *off);
/* Writes the next segment (complete, all checksums right) to out: its length, 0 when
 * done, -EMSGSIZE if cap is too small. */
long skep_segment_next(struct skep_segmenter *s, uint8_t *out, size_t cap);

#endif
