/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Records of ring buffers and perf buffers, kept for showing.
 */
#ifndef SKEP_CMD_RECORDS_H
#define SKEP_CMD_RECORDS_H

#include <stddef.h>
#include <stdint.h>

#include "maps.h"

struct bpf_map;

struct record {
	uint8_t *data;
	uint32_t len;
};

/* Those kept of one map, the oldest first; *total counts all that came (those that were
 * lost because a buffer was full: *lost). */
const struct record *records_of(const struct records *r, const struct bpf_map *map, size_t *kept,
				uint64_t *total, uint64_t *lost);

#endif
