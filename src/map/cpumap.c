/* SPDX-License-Identifier: Apache-2.0 */
/*
 * CPU maps: queues of the kernel's CPUs that XDP programs send packets to. Here a CPU is a
 * slot; an element keeps its queue's size and, with values of 8 bytes, a program.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "map/access.h"
#include "map/types.h"

#define FLAGS     BPF_F_NUMA_NODE
#define CPUS_MAX  8192u /* NR_CPUS of the presented kernel */
#define QUEUE_MAX 16384u

struct elem {
	_Atomic uint32_t qsize; /* 0: not there */
	_Atomic uint32_t prog_id;
};

static int cpumap_check(const union bpf_attr *attr)
{
	if (!attr->max_entries || attr->key_size != 4 ||
	    (attr->value_size != 4 && attr->value_size != 8) || attr->map_flags & ~FLAGS)
		return -EINVAL;
	return 0;
}

static int cpumap_create(struct skep_map *map, const union bpf_attr *attr)
{
	size_t size = (size_t)map->max_entries * sizeof(struct elem);
	int err;

	if (map->max_entries > CPUS_MAX)
		return -E2BIG;
	map->priv = calloc(map->max_entries, sizeof(struct skep_prog *));
	if (!map->priv)
		return -ENOMEM;
	err = skep_seg_create(&map->data, SKEP_MAP_HANDLE, size);
	return err ? err : skep_seg_reserve(&map->data, 0, size);
}

static struct elem *elem(const struct skep_map *map, uint32_t i)
{
	return (struct elem *)map->data.base + i;
}

static void cpumap_destroy(struct skep_map *map)
{
	struct skep_prog *_Atomic *progs = map->priv;

	for (uint32_t i = 0; progs && i < map->max_entries; i++)
		if (progs[i])
			skep_object_put(&atomic_load(&progs[i])->obj);
	free((void *)progs);
}

static void put_later(void *obj)
{
	skep_object_put(obj);
}

static void set(struct skep_map *map, uint32_t i, uint32_t qsize, struct skep_prog *prog)
{
	struct skep_prog *_Atomic *progs = map->priv;
	struct skep_prog *old = atomic_exchange(&progs[i], prog);

	atomic_store(&elem(map, i)->prog_id, prog ? prog->obj.id : 0);
	atomic_store(&elem(map, i)->qsize, qsize);
	if (old)
		skep_defer(map->obj.skep, put_later, &old->obj);
}

static uint32_t key_index(const void *key)
{
	uint32_t i;

	memcpy(&i, key, sizeof(i));
	return i;
}

static int cpumap_sys_lookup(struct skep_map *map, const void *key, void *value, uint64_t flags,
			     struct skep_env *env)
{
	uint32_t i = key_index(key), out[2];

	if (i >= map->max_entries || !(out[0] = atomic_load(&elem(map, i)->qsize)))
		return -ENOENT;
	out[1] = atomic_load(&elem(map, i)->prog_id);
	memcpy(value, out, map->value_size);
	return 0;
}

static int cpumap_sys_update(struct skep_map *map, const void *key, const void *value,
			     uint64_t flags, struct skep_env *env)
{
	struct skep_object *obj = NULL;
	uint32_t i = key_index(key);
	int in[2] = {0, 0};

	memcpy(in, value, map->value_size);
	if (flags > BPF_EXIST)
		return -EINVAL;
	if (i >= map->max_entries)
		return -E2BIG;
	if (flags == BPF_NOEXIST)
		return -EEXIST;
	if ((uint32_t)in[0] > QUEUE_MAX)
		return -EOVERFLOW;
	if (i >= map->cpus)
		return -ENODEV;
	if (!in[0]) {
		set(map, i, 0, NULL);
		return 0;
	}
	if (in[1] > 0) {
		const struct skep_prog *prog;

		/* As the kernel: an entry that can't have its program is one that can't be made. */
		if (skep_object_get(map->obj.skep, in[1], SKEP_KIND_PROG, &obj))
			return -ENOMEM;
		prog = (const struct skep_prog *)obj;
		if (prog->type != BPF_PROG_TYPE_XDP || prog->attach_type != BPF_XDP_CPUMAP ||
		    !skep_map_prog_compatible(map, prog)) {
			skep_object_put(obj);
			return -ENOMEM;
		}
	}
	set(map, i, (uint32_t)in[0], (struct skep_prog *)obj);
	return 0;
}

static int cpumap_sys_delete(struct skep_map *map, const void *key, struct skep_env *env)
{
	uint32_t i = key_index(key);

	if (i >= map->max_entries)
		return -EINVAL;
	set(map, i, 0, NULL);
	return 0;
}

static uint64_t cpumap_mem_usage(struct skep_map *map)
{
	return sizeof(*map) + map->data.size + (uint64_t)map->max_entries * sizeof(void *);
}

const struct skep_map_ops skep_map_cpumap = {
	.name = "cpumap",
	.check = cpumap_check,
	.create = cpumap_create,
	.destroy = cpumap_destroy,
	.lookup = skep_no_lookup,
	.sys_lookup = cpumap_sys_lookup,
	.sys_update = cpumap_sys_update,
	.sys_delete = cpumap_sys_delete,
	.next_key = skep_array_next_key,
	.contains = skep_contains_nothing,
	.mem_usage = cpumap_mem_usage,
	.is_inner_ok = true,
	.btf = SKEP_BTF_NONE,
	.flags_ok = FLAGS,
};
