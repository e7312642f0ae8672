/* SPDX-License-Identifier: Apache-2.0 */
/* Maps: each helper is an operation of the map's type. */
#include "helper/fn.h"

#include <errno.h>
#include <stddef.h>

#include "helper/call.h"
#include "map/map.h"

HELPER(map_lookup_elem)
{
	struct skep_map *map = PTR(r1);

	return ADDR(map->ops->lookup(map, PTR(r2), env));
}

HELPER(map_update_elem)
{
	struct skep_map *map = PTR(r1);

	return (uint64_t)map->ops->update(map, PTR(r2), PTR(r3), r4, env);
}

HELPER(map_delete_elem)
{
	struct skep_map *map = PTR(r1);

	return (uint64_t)map->ops->delete (map, PTR(r2), env);
}

HELPER(map_push_elem)
{
	struct skep_map *map = PTR(r1);

	return (uint64_t)map->ops->push(map, PTR(r2), r3);
}

HELPER(map_pop_elem)
{
	struct skep_map *map = PTR(r1);

	return (uint64_t)map->ops->pop(map, PTR(r2));
}

HELPER(map_peek_elem)
{
	struct skep_map *map = PTR(r1);

	return (uint64_t)map->ops->peek(map, PTR(r2));
}

HELPER(map_lookup_percpu_elem)
{
	struct skep_map *map = PTR(r1);

	if ((uint32_t)r3 >= map->cpus)
		return 0;
	return ADDR(map->ops->lookup_percpu(map, PTR(r2), (uint32_t)r3));
}

HELPER(for_each_map_elem)
{
	struct skep_map *map = PTR(r1);

	if (r4)
		return ERR(EINVAL);
	return (uint64_t)map->ops->for_each(map, r2, r3, env);
}
