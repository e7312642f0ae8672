/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Programs that meet in a map are of one kind: those that a prog array holds and those that jump
 * through it, those that device and CPU maps run on what is sent there and those that send. What
 * the first one is, all others must be.
 */
#include "map/types.h"

/* The id of the first map of that type that the program uses; 0: none. */
static uint32_t map_of(const struct skep_prog *prog, uint32_t type)
{
	for (uint32_t i = 0; i < prog->nmaps; i++)
		if (prog->maps[i]->type == type)
			return prog->maps[i]->obj.id;
	return 0;
}

static struct skep_map_owner describe(const struct skep_prog *prog)
{
	return (struct skep_map_owner){
		.type = prog->type,
		.attach_type = prog->attach_type,
		.jited = prog->code.entry,
		.jumps = map_of(prog, BPF_MAP_TYPE_PROG_ARRAY),
		.xdp_frags = prog->xdp_frags,
		.storage = {map_of(prog, BPF_MAP_TYPE_CGROUP_STORAGE),
			    map_of(prog, BPF_MAP_TYPE_PERCPU_CGROUP_STORAGE)},
	};
}

/* A program that uses no storage and goes nowhere else may be jumped to by those that do. */
static bool agree(const struct skep_map *map, const struct skep_map_owner *first,
		  const struct skep_map_owner *p)
{
	for (int i = 0; i < 2; i++)
		if (p->storage[i] != first->storage[i] && (p->storage[i] || p->jumps))
			return false;
	return first->type == p->type && first->jited == p->jited &&
	       first->xdp_frags == p->xdp_frags &&
	       (map->type != BPF_MAP_TYPE_PROG_ARRAY || first->attach_type == p->attach_type);
}

bool skep_map_holds_progs(const struct skep_map *map)
{
	return map->type == BPF_MAP_TYPE_PROG_ARRAY || map->type == BPF_MAP_TYPE_DEVMAP ||
	       map->type == BPF_MAP_TYPE_CPUMAP;
}

bool skep_map_prog_compatible(struct skep_map *map, const struct skep_prog *prog)
{
	struct skep_map_owner p = describe(prog);
	bool ok;

	pthread_mutex_lock(&map->owner_lock);
	if (!map->owner.type)
		map->owner = p;
	ok = agree(map, &map->owner, &p);
	pthread_mutex_unlock(&map->owner_lock);
	return ok;
}
