// SPDX-License-Identifier: Apache-2.0
/* bpf(2) on maps whose element operations do for programs and system calls alike. */
#include <errno.h>

#include "map/access.h"
#include "map/types.h"

int skep_plain_sys_lookup(struct skep_map *map, const void *key, void *value, uint64_t flags,
			  struct skep_env *env)
{
	const void *from = map->ops->lookup(map, key, env);

	if (!from)
		return -ENOENT;
	skep_copy_racy(value, from, map->value_size);
	return 0;
}

int skep_plain_sys_update(struct skep_map *map, const void *key, const void *value, uint64_t flags,
			  struct skep_env *env)
{
	return (int)map->ops->update(map, key, value, flags, env);
}

int skep_plain_sys_delete(struct skep_map *map, const void *key, struct skep_env *env)
{
	return (int)map->ops->delete (map, key, env);
}

/* ---- Operations that a type has not ---- */

void *skep_no_lookup(struct skep_map *map, const void *key, struct skep_env *env)
{
	return NULL;
}

long skep_no_update(struct skep_map *map, const void *key, const void *value, uint64_t flags,
		    struct skep_env *env)
{
	return -SKEP_ENOTSUPP;
}

long skep_no_delete(struct skep_map *map, const void *key, struct skep_env *env)
{
	return -SKEP_ENOTSUPP;
}

int skep_no_next_key(struct skep_map *map, const void *key, void *next)
{
	return -SKEP_ENOTSUPP;
}

int skep_no_sys_lookup(struct skep_map *map, const void *key, void *value, uint64_t flags,
		       struct skep_env *env)
{
	return -SKEP_ENOTSUPP;
}

bool skep_contains_nothing(const struct skep_map *map, uint64_t off, size_t size)
{
	return false;
}
