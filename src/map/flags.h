/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Small facts about map flags that several types share, and the rows of the
 * types that map.c lists.
 */
#ifndef SKEP_MAP_FLAGS_H
#define SKEP_MAP_FLAGS_H

#include <stdbool.h>
#include <stdint.h>

#include "bpf/uapi.h"

struct skep_map_ops;

#define SKEP_MAP_ACCESS (BPF_F_RDONLY | BPF_F_WRONLY | BPF_F_RDONLY_PROG | BPF_F_WRONLY_PROG)

/* A map can't be hidden from programs altogether. */
static inline bool skep_map_access_ok(uint32_t flags)
{
	return (flags & (BPF_F_RDONLY_PROG | BPF_F_WRONLY_PROG)) !=
	       (BPF_F_RDONLY_PROG | BPF_F_WRONLY_PROG);
}

#define SKEP_ENOTSUPP 524	/* the kernel's, not in errno.h */

extern const struct skep_map_ops skep_map_lpm, skep_map_ringbuf, skep_map_queue, skep_map_stack,
	skep_map_stack_trace, skep_map_devmap, skep_map_devmap_hash, skep_map_perf_event_array,
	skep_map_bloom;

#endif
