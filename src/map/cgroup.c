/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Maps of cgroups: arrays of cgroups to test membership in, and storage of a value per
 * cgroup that a program is attached to (the older kind; the newer is storage.c).
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "map/access.h"
#include "map/cgroup.h"
#include "map/types.h"
#include "os/owner.h"

/* ---- Arrays: the element is the cgroup's id, 0 for none ---- */

#define ARRAY_FLAGS (BPF_F_NUMA_NODE | BPF_F_RDONLY | BPF_F_WRONLY)

static int cgarray_check(const union bpf_attr *attr)
{
	if (!attr->max_entries || attr->key_size != 4 || attr->value_size != 4)
		return -EINVAL;
	return 0;
}

static int cgarray_create(struct skep_map *map, const union bpf_attr *attr)
{
	size_t size = (size_t)map->max_entries * sizeof(struct skep_owner);
	int err;

	err = skep_seg_create(&map->data, SKEP_MAP_HANDLE, size);
	return err ? err : skep_seg_reserve(&map->data, 0, size);
}

static uint32_t key_index(const void *key)
{
	uint32_t i;

	memcpy(&i, key, sizeof(i));
	return i;
}

static _Atomic uint64_t *id_of(const struct skep_map *map, uint32_t i)
{
	return (_Atomic uint64_t *)map->data.base + 2 * (size_t)i;
}

static int cgarray_sys_update(struct skep_map *map, const void *key, const void *value,
			      uint64_t flags, struct skep_env *env)
{
	uint32_t i = key_index(key);
	struct skep_owner cgroup;
	int fd, err;

	if (flags != BPF_ANY)
		return -EINVAL;
	if (i >= map->max_entries)
		return -E2BIG;
	memcpy(&fd, value, sizeof(fd));
	err = skep_owner_cgroup(fd, &cgroup);
	if (err)
		return err;
	atomic_store(id_of(map, i) + 1, cgroup.more);
	atomic_store(id_of(map, i), cgroup.id);
	return 0;
}

static int cgarray_sys_delete(struct skep_map *map, const void *key, struct skep_env *env)
{
	uint32_t i = key_index(key);

	if (i >= map->max_entries)
		return -E2BIG;
	return atomic_exchange(id_of(map, i), 0) ? 0 : -ENOENT;
}

long skep_cgroup_array_has_current(struct skep_map *map, uint32_t i)
{
	struct skep_owner cgroup;

	if (i >= map->max_entries)
		return -E2BIG;
	cgroup.id = atomic_load(id_of(map, i));
	cgroup.more = atomic_load(id_of(map, i) + 1);
	return cgroup.id ? skep_owner_in_cgroup(&cgroup) : -EAGAIN;
}

static uint64_t mem_usage(struct skep_map *map)
{
	return sizeof(*map) + map->data.size + map->ctl.size;
}

const struct skep_map_ops skep_map_cgroup_array = {
	.name = "cgroup_array",
	.check = cgarray_check,
	.create = cgarray_create,
	.lookup = skep_no_lookup,
	.sys_lookup = skep_no_sys_lookup,
	.sys_update = cgarray_sys_update,
	.sys_delete = cgarray_sys_delete,
	.next_key = skep_array_next_key,
	.contains = skep_contains_nothing,
	.mem_usage = mem_usage,
	.is_inner_ok = true,
	.unprivileged = true,
	.btf = SKEP_BTF_NONE,
	.flags_ok = ARRAY_FLAGS,
};

/* ---- Storage: elements come with the attachment of a program, and go with it ---- */

#define STORAGE_FLAGS (BPF_F_NUMA_NODE | SKEP_MAP_ACCESS_FLAGS)
/* The kernel's: 16 bits of size, without the header of an element. */
#define VALUE_MAX (65535u - 128u)

static int cgstorage_check(const union bpf_attr *attr)
{
	bool percpu = attr->map_type == BPF_MAP_TYPE_PERCPU_CGROUP_STORAGE;

	if ((attr->key_size != sizeof(struct bpf_cgroup_storage_key) &&
	     attr->key_size != sizeof(uint64_t)) ||
	    !attr->value_size || !skep_map_access_ok(attr->map_flags))
		return -EINVAL;
	if (attr->value_size > (percpu ? SKEP_PERCPU_VALUE_MAX : VALUE_MAX))
		return -E2BIG;
	return attr->max_entries ? -EINVAL : 0;
}

static uint64_t slot_stride(const struct skep_map *map)
{
	return skep_round_up(map->value_size, 128);
}

static int cgstorage_create(struct skep_map *map, const union bpf_attr *attr)
{
	size_t size = slot_stride(map) * map->cpus;
	int err = skep_seg_create(&map->data, SKEP_MAP_HANDLE, size);

	return err ? err : skep_seg_reserve(&map->data, 0, size);
}

void *skep_cgroup_storage(struct skep_map *map, struct skep_env *env)
{
	return (char *)map->data.base + slot_stride(map) * env->cpu;
}

void skep_cgroup_storage_reset(const struct skep_prog *prog, struct skep_env *env)
{
	for (uint32_t i = 0; i < prog->nmaps; i++)
		if (prog->maps[i]->type == BPF_MAP_TYPE_CGROUP_STORAGE ||
		    prog->maps[i]->type == BPF_MAP_TYPE_PERCPU_CGROUP_STORAGE)
			skep_zero_racy(skep_cgroup_storage(prog->maps[i], env),
				       prog->maps[i]->value_size);
}

/* No program can be attached to a cgroup, so there are no elements. */
static int cgstorage_sys_lookup(struct skep_map *map, const void *key, void *value, uint64_t flags,
				struct skep_env *env)
{
	return -ENOENT;
}

static int cgstorage_sys_update(struct skep_map *map, const void *key, const void *value,
				uint64_t flags, struct skep_env *env)
{
	if (flags & ~(uint64_t)(BPF_F_LOCK | BPF_EXIST))
		return -EINVAL;
	if ((flags & BPF_F_LOCK) && !skep_map_spin_lock(map))
		return -EINVAL;
	return -ENOENT;
}

static int cgstorage_sys_delete(struct skep_map *map, const void *key, struct skep_env *env)
{
	return -EINVAL;
}

static int cgstorage_next_key(struct skep_map *map, const void *key, void *next)
{
	return -ENOENT;
}

#define STORAGE(text, each_cpu)                                                                    \
	{                                                                                          \
		.name = text, .check = cgstorage_check, .create = cgstorage_create,                \
		.lookup = skep_no_lookup, .sys_lookup = cgstorage_sys_lookup,                      \
		.sys_update = cgstorage_sys_update, .sys_delete = cgstorage_sys_delete,            \
		.next_key = cgstorage_next_key, .mem_usage = mem_usage, .percpu = each_cpu,        \
		.unprivileged = true, .btf = SKEP_BTF_CGROUP, .flags_ok = STORAGE_FLAGS            \
	}

const struct skep_map_ops skep_map_cgroup_storage = STORAGE("cgroup_storage", false);
const struct skep_map_ops skep_map_percpu_cgroup_storage = STORAGE("percpu_cgroup_storage", true);
