/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Capture files (pcap and pcapng, through libpcap): read as a whole, written packet by packet.
 */
#ifndef SKEP_CAPTURE_H
#define SKEP_CAPTURE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "client/error.h"
#include "skep.h"

struct skep_capture_packet {
	uint64_t off; /* of its bytes in data */
	uint64_t ns; /* time stamp, since 1970 */
	uint32_t len; /* bytes that were captured */
	uint32_t wire_len; /* bytes that there were */
};

struct skep_capture {
	uint8_t *data;
	uint64_t size;
	struct skep_capture_packet *packets;
	uint64_t n;
	uint32_t longest; /* captured */
	uint64_t read_ns; /* what reading took */
	bool damaged; /* ends in the middle of a packet: n holds those before */
};

/* Ethernet only. 0 or -errno with err filled in; a damaged file is also told in err. */
int skep_capture_read(struct skep_capture *c, const char *path, struct skep_error *err);
void skep_capture_free(struct skep_capture *c);

/*
 * A capture's packets on their way through a program, a batch at a time: in slots of memory with
 * the room around a frame that drivers leave.
 */
#define SKEP_CAPTURE_BATCH 64
struct skep_capture_slots {
	const struct skep_capture *capture;
	uint8_t *mem;
	size_t size; /* of a slot */
	struct skep_packet packets[SKEP_CAPTURE_BATCH];
};
/* 0 or -ENOMEM. */
int skep_capture_slots_open(struct skep_capture_slots *s, const struct skep_capture *c);
void skep_capture_slots_close(struct skep_capture_slots *s);
/* Puts packets from number `at` on into their slots, with SKEP_PACKET_* flags. How many; 0: the end. */
uint32_t skep_capture_slots_fill(struct skep_capture_slots *s, uint64_t at, uint32_t flags);

struct skep_capture_writer;
int skep_capture_create(struct skep_capture_writer **out, const char *path, struct skep_error *err);
void skep_capture_write(struct skep_capture_writer *w, const uint8_t *data, uint32_t len,
			uint32_t wire_len, uint64_t ns);
/* 0, or -EIO if anything could not be written. w may be NULL. */
int skep_capture_close(struct skep_capture_writer *w);

#endif
