// SPDX-License-Identifier: Apache-2.0
/* Frames with offload data: finishing and cutting them ends and stays inside the buffers. */
#include <stdlib.h>
#include <string.h>

#include "fuzz.h"
#include "net/frame.h"
#include "skep.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct skep_offload off = {
		.flags = (uint8_t)fuzz_take(&data, &size, 1),
		.gso_type = (uint8_t)fuzz_take(&data, &size, 1),
		.gso_size = (uint16_t)fuzz_take(&data, &size, 2),
		.csum_start = (uint16_t)fuzz_take(&data, &size, 2),
		.csum_offset = (uint16_t)fuzz_take(&data, &size, 2),
	};
	size_t cap = fuzz_take(&data, &size, 2), room = fuzz_take(&data, &size, 1), n = 0;
	struct skep_packet p = {.cap = (uint32_t)(room + size),
				.off = (uint32_t)room,
				.len = (uint32_t)size,
				.vlan_proto = off.csum_start};
	uint8_t *frame = malloc(size + 1), *out = malloc(cap + 1);
	struct skep_segmenter s;

	memcpy(frame, data, size);
	if (!skep_segment_start(&s, frame, size, &off))
		while (skep_segment_next(&s, out, cap) > 0)
			if (++n > size + 1)
				abort();
	skep_frame_checksum(frame, size, &off);
	p.buf = malloc(room + size + 1);
	memcpy(p.buf + room, data, size);
	skep_frame_put_tag(&p);
	if (p.off > p.cap || p.len > p.cap - p.off)
		abort();
	free(p.buf);
	free(frame);
	free(out);
	return 0;
}
