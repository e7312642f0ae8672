/* SPDX-License-Identifier: Apache-2.0 */
/* Local storages (task, socket, inode, cgroup), for helpers: a value per owner. */
#ifndef SKEP_MAP_STORAGE_H
#define SKEP_MAP_STORAGE_H

#include "map/map.h"
#include "os/owner.h"

/* The owner's value, or NULL. Between skep_enter and skep_leave, as map lookups. */
void *skep_storage_find(struct skep_map *map, const struct skep_owner *owner, struct skep_env *env);
long skep_storage_put(struct skep_map *map, const struct skep_owner *owner, const void *value,
		      uint64_t flags, struct skep_env *env);
long skep_storage_delete(struct skep_map *map, const struct skep_owner *owner,
			 struct skep_env *env);

#endif
