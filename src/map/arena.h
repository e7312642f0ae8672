/* SPDX-License-Identifier: Apache-2.0 */
/* Arenas: up to 4 GiB of memory that programs and user space share. */
#ifndef SKEP_MAP_ARENA_H
#define SKEP_MAP_ARENA_H

#include "map/map.h"

/* Where the arena lies in user space (map_extra, or where it was mapped first): programs'
 * pointers are such addresses. 0: nowhere yet. */
uint64_t skep_arena_user_start(const struct skep_map *map);
/* User space maps size bytes at addr: 0, -EBUSY (it is elsewhere), -EINVAL, -ERANGE. */
int skep_arena_mapped(struct skep_map *map, uint64_t addr, uint64_t size);

/*
 * Pages. This process sees the arena at map->data.base; page i of user space is page i
 * there. Allocating answers the index of the first of n consecutive pages, at wanted if that
 * is not negative, or -ENOMEM, -EBUSY. Freed pages read as zero.
 */
int64_t skep_arena_alloc(struct skep_map *map, int64_t wanted, uint32_t n);
void skep_arena_free(struct skep_map *map, uint32_t page, uint32_t n);

#endif
