/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Records of ring and perf buffers, written as they come, by the type that the object tells for them:
 * the one that a tag of the map names, __attribute__((btf_decl_tag("event:NAME"))), else the structure whose name
 * is the map's, with or without an s at its end, or with _event behind it. The type must be in the object's BTF: a
 * global pointer to it does that.
 */
#ifndef SKEP_CMD_EVENTS_H
#define SKEP_CMD_EVENTS_H

#include <stdbool.h>
#include <stdint.h>

struct bpf_object;
struct bpf_map;

void event_write(struct bpf_object *obj, const struct bpf_map *map, const void *data, uint32_t len,
		 bool json);

#endif
