/* SPDX-License-Identifier: Apache-2.0 */
/* What commands on elements and on batches of them share. */
#ifndef SKEP_MAP_CMD_H
#define SKEP_MAP_CMD_H

#include "map/map.h"

/* Brackets every write of a system call: MAP_FREEZE answers EBUSY between them. */
void skep_map_write_begin(struct skep_map *map);
void skep_map_write_end(struct skep_map *map);
/* BPF_F_LOCK needs a lock: -EINVAL. */
int skep_map_lock_flag_ok(const struct skep_map *map, uint64_t flags);

#endif
