/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Arrays and per-CPU arrays. Data: element i at i * elem_size, as the kernel's
 * mmap shows it; per-CPU arrays hold one such array per CPU slot, cpu_stride
 * apart. No control segment: there is nothing to keep.
 */
#include <errno.h>
#include <unistd.h>

#include "map/access.h"
#include "map/types.h"

#define INDEX_MAX 0xffffffffu

/* CPUs write apart: no cache line, and no pair of lines fetched together, is shared. */
uint64_t skep_array_cpu_stride(const struct skep_map *map)
{
	return skep_round_up((uint64_t)map->elem_size * map->max_entries, 128);
}

static int array_check(const union bpf_attr *attr)
{
	bool percpu = attr->map_type == BPF_MAP_TYPE_PERCPU_ARRAY;

	if (!attr->max_entries || attr->key_size != 4 || !attr->value_size ||
	    !skep_map_access_ok(attr->map_flags))
		return -EINVAL;
	if (attr->value_size > 0x7fffffffu)
		return -E2BIG;
	if (percpu && skep_round_up(attr->value_size, 8) > SKEP_PERCPU_VALUE_MAX)
		return -E2BIG;
	return 0;
}

static int array_create(struct skep_map *map, const union bpf_attr *attr)
{
	bool percpu = map->type == BPF_MAP_TYPE_PERCPU_ARRAY;
	uint64_t size = (uint64_t)map->elem_size * map->max_entries;
	int err;

	(void)attr;
	map->index_mask = (uint32_t)(skep_pow2_up(map->max_entries) - 1);
	if (percpu && __builtin_mul_overflow(skep_array_cpu_stride(map), map->cpus, &size))
		return -ENOMEM;
	err = skep_map_seg(map, &map->data, SKEP_MAP_HANDLE, size);
	return err ? err : skep_map_back(map, size);
}

static void *elem(const struct skep_map *map, uint32_t index, uint32_t cpu)
{
	char *base = map->data.base;

	if (map->ops->percpu)
		base += skep_array_cpu_stride(map) * cpu;
	return base + (uint64_t)map->elem_size * index;
}

static uint32_t key_index(const void *key)
{
	uint32_t index;

	memcpy(&index, key, sizeof(index));
	return index;
}

static void *array_lookup(struct skep_map *map, const void *key, struct skep_env *env)
{
	uint32_t index = key_index(key);

	(void)env;
	if (index >= map->max_entries)
		return NULL;
	return (char *)map->data.base + (uint64_t)map->elem_size * index;
}

static void *percpu_lookup(struct skep_map *map, const void *key, struct skep_env *env)
{
	uint32_t index = key_index(key);

	if (index >= map->max_entries)
		return NULL;
	return elem(map, index, env->cpu);
}

static void *percpu_lookup_cpu(struct skep_map *map, const void *key, uint32_t cpu)
{
	uint32_t index = key_index(key);

	if (index >= map->max_entries || cpu >= map->cpus)
		return NULL;
	return elem(map, index, cpu);
}

static int update_check(const struct skep_map *map, uint32_t index, uint64_t flags)
{
	if ((flags & ~(uint64_t)BPF_F_LOCK) > BPF_EXIST)
		return -EINVAL;
	if (index >= map->max_entries)
		return -E2BIG;
	if (flags & BPF_NOEXIST)
		return -EEXIST;
	if ((flags & BPF_F_LOCK) && !skep_map_spin_lock(map))
		return -EINVAL;
	return 0;
}

static long array_update(struct skep_map *map, const void *key, const void *value, uint64_t flags,
			 struct skep_env *env)
{
	uint32_t index = key_index(key);
	int err = update_check(map, index, flags);

	if (err)
		return err;
	if (flags & BPF_F_LOCK)
		skep_map_copy_locked(map, elem(map, index, 0), (void *)value, true, env);
	else
		skep_map_copy_value(map, elem(map, index, map->ops->percpu ? env->cpu : 0), value);
	if (map->fields.n)
		skep_map_drop_fields(map, elem(map, index, map->ops->percpu ? env->cpu : 0));
	return 0;
}

static long array_delete(struct skep_map *map, const void *key, struct skep_env *env)
{
	(void)map;
	(void)key;
	(void)env;
	return -EINVAL;
}

static int array_sys_lookup(struct skep_map *map, const void *key, void *value, uint64_t flags,
			    struct skep_env *env)
{
	uint32_t index = key_index(key);

	if (index >= map->max_entries)
		return -ENOENT;
	if (flags & BPF_F_LOCK)
		skep_map_copy_locked(map, elem(map, index, 0), value, false, env);
	else
		skep_map_copy_out(map, value, elem(map, index, 0));
	return 0;
}

static int array_sys_update(struct skep_map *map, const void *key, const void *value,
			    uint64_t flags, struct skep_env *env)
{
	return (int)array_update(map, key, value, flags, env);
}

static int array_sys_delete(struct skep_map *map, const void *key, struct skep_env *env)
{
	return (int)array_delete(map, key, env);
}

static int percpu_sys_lookup(struct skep_map *map, const void *key, void *value, uint64_t flags,
			     struct skep_env *env)
{
	uint32_t index = key_index(key);

	(void)flags;
	(void)env;
	if (index >= map->max_entries)
		return -ENOENT;
	for (uint32_t cpu = 0; cpu < map->cpus; cpu++)
		skep_map_copy_cpu(map, (char *)value + (size_t)cpu * map->elem_size,
				  elem(map, index, cpu), true);
	return 0;
}

static int percpu_sys_update(struct skep_map *map, const void *key, const void *value,
			     uint64_t flags, struct skep_env *env)
{
	uint32_t index = key_index(key);

	(void)env;
	if (flags > BPF_EXIST)
		return -EINVAL;
	if (index >= map->max_entries)
		return -E2BIG;
	if (flags == BPF_NOEXIST)
		return -EEXIST;
	for (uint32_t cpu = 0; cpu < map->cpus; cpu++) {
		skep_map_copy_cpu(map, elem(map, index, cpu),
				  (const char *)value + (size_t)cpu * map->elem_size, false);
		if (map->fields.n)
			skep_map_drop_fields(map, elem(map, index, cpu));
	}
	return 0;
}

int skep_array_next_key(struct skep_map *map, const void *key, void *next)
{
	uint32_t index = key ? key_index(key) : INDEX_MAX;

	if (index >= map->max_entries)
		index = 0;
	else if (index == map->max_entries - 1)
		return -ENOENT;
	else
		index++;
	memcpy(next, &index, sizeof(index));
	return 0;
}

static long array_for_each(struct skep_map *map, uint64_t func, uint64_t ctx, struct skep_env *env)
{
	uint32_t cpu = map->ops->percpu ? env->cpu : 0, i;

	for (i = 0; i < map->max_entries; i++) {
		uint32_t key = i;

		if (env->call(env, func, (uintptr_t)map, (uintptr_t)&key,
			      (uintptr_t)elem(map, i, cpu), ctx, 0))
			return i + 1;
	}
	return i;
}

static bool array_contains(const struct skep_map *map, uint64_t off, size_t size)
{
	if (map->ops->percpu)
		off %= skep_array_cpu_stride(map);
	return off / map->elem_size < map->max_entries &&
	       off % map->elem_size + size <= map->value_size;
}

static int array_direct(struct skep_map *map, void **base, uint64_t *size)
{
	if (map->max_entries != 1)
		return -SKEP_ENOTSUPP;
	*base = map->data.base;
	*size = map->value_size;
	return 0;
}

static uint64_t array_mmap_size(struct skep_map *map)
{
	if (!(map->flags & BPF_F_MMAPABLE))
		return 0;
	return skep_round_up((uint64_t)map->elem_size * map->max_entries,
			     (uint64_t)sysconf(_SC_PAGESIZE));
}

static uint64_t array_mem_usage(struct skep_map *map)
{
	return sizeof(*map) + map->data.size;
}

const struct skep_map_ops skep_map_array = {
	.name = "array",
	.check = array_check,
	.create = array_create,
	.lookup = array_lookup,
	.update = array_update,
	.delete = array_delete,
	.for_each = array_for_each,
	.sys_lookup = array_sys_lookup,
	.sys_update = array_sys_update,
	.sys_delete = array_sys_delete,
	.next_key = skep_array_next_key,
	.contains = array_contains,
	.direct = array_direct,
	.mmap_size = array_mmap_size,
	.mem_usage = array_mem_usage,
	.batch = SKEP_BATCH_LOOKUP | SKEP_BATCH_UPDATE,
	.is_inner_ok = true,
	.anywhere = true,
	.flags_ok = BPF_F_NUMA_NODE | BPF_F_MMAPABLE | BPF_F_INNER_MAP | SKEP_MAP_ACCESS_FLAGS,
	.unprivileged = true,
	.btf = SKEP_BTF_ARRAY,
};

const struct skep_map_ops skep_map_percpu_array = {
	.name = "percpu_array",
	.check = array_check,
	.create = array_create,
	.lookup = percpu_lookup,
	.lookup_percpu = percpu_lookup_cpu,
	.update = array_update,
	.delete = array_delete,
	.for_each = array_for_each,
	.sys_lookup = percpu_sys_lookup,
	.sys_update = percpu_sys_update,
	.sys_delete = array_sys_delete,
	.next_key = skep_array_next_key,
	.contains = array_contains,
	.mem_usage = array_mem_usage,
	.percpu = true,
	.batch = SKEP_BATCH_LOOKUP | SKEP_BATCH_UPDATE,
	.is_inner_ok = true,
	.anywhere = true,
	.flags_ok = SKEP_MAP_ACCESS_FLAGS,
	.unprivileged = true,
	.btf = SKEP_BTF_INDEX,
};
