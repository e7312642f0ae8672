/* SPDX-License-Identifier: Apache-2.0 */
/* Values with special fields, which belong to the map and never leave it. */
#include <errno.h>

#include "exec/timer.h"
#include "map/htab.h"
#include "map/access.h"
#include "map/kptr.h"
#include "map/types.h"

const struct skep_field *skep_map_spin_lock(const struct skep_map *map)
{
	return skep_map_field(map, SKEP_FIELD_SPIN_LOCK);
}

#define IN(type)       (1ull << BPF_MAP_TYPE_##type)
#define LOCAL_STORAGES (IN(SK_STORAGE) | IN(INODE_STORAGE) | IN(TASK_STORAGE) | IN(CGRP_STORAGE))

#define HASHES (IN(HASH) | IN(LRU_HASH))
#define KPTRS                                                                                      \
	(HASHES | IN(PERCPU_HASH) | IN(LRU_PERCPU_HASH) | IN(ARRAY) | IN(PERCPU_ARRAY) |           \
	 LOCAL_STORAGES)

/* Each kind's name in messages, and the types whose values may hold it. */
static const struct {
	const char *name;
	uint64_t maps;
} kinds[SKEP_FIELD_KINDS] = {
	[SKEP_FIELD_SPIN_LOCK] = {"bpf_spin_lock",
				  IN(HASH) | IN(ARRAY) | IN(CGROUP_STORAGE) | LOCAL_STORAGES},
	[SKEP_FIELD_RES_SPIN_LOCK] = {"bpf_res_spin_lock",
				      IN(HASH) | IN(ARRAY) | IN(CGROUP_STORAGE) | LOCAL_STORAGES},
	[SKEP_FIELD_TIMER] = {"bpf_timer", HASHES | IN(ARRAY)},
	[SKEP_FIELD_WQ] = {"bpf_wq", HASHES | IN(ARRAY)},
	[SKEP_FIELD_TASK_WORK] = {"bpf_task_work", HASHES | IN(ARRAY)},
	[SKEP_FIELD_LIST_HEAD] = {"bpf_list_head", HASHES | IN(ARRAY)},
	[SKEP_FIELD_LIST_NODE] = {"bpf_list_node", 0},
	[SKEP_FIELD_RB_ROOT] = {"bpf_rb_root", HASHES | IN(ARRAY)},
	[SKEP_FIELD_RB_NODE] = {"bpf_rb_node", 0},
	[SKEP_FIELD_REFCOUNT] = {"bpf_refcount", KPTRS},
	[SKEP_FIELD_KPTR_UNREF] = {"kptr", KPTRS},
	[SKEP_FIELD_KPTR_REF] = {"kptr", KPTRS},
	[SKEP_FIELD_KPTR_PERCPU] = {"percpu_kptr", KPTRS},
	[SKEP_FIELD_UPTR] = {"uptr", IN(TASK_STORAGE)},
};

const char *skep_field_name(uint32_t kind)
{
	return kind < SKEP_FIELD_KINDS ? kinds[kind].name : "unknown";
}

const struct skep_field *skep_map_field(const struct skep_map *map, uint32_t kind)
{
	for (uint32_t i = 0; i < map->fields.n; i++)
		if (map->fields.f[i].kind == kind)
			return &map->fields.f[i];
	return NULL;
}

/* Before the type's own word on key and value. */
int skep_map_check_fields(const struct skep_map *map)
{
	/* Programs could not take the lock of a value they may not write, and so on: never in
	 * device maps. */
	bool devmap = map->type == BPF_MAP_TYPE_DEVMAP || map->type == BPF_MAP_TYPE_DEVMAP_HASH;

	if (map->fields.n && (devmap || (map->flags & (BPF_F_RDONLY_PROG | BPF_F_WRONLY_PROG))))
		return -EACCES;
	for (uint32_t i = 0; i < map->fields.n; i++)
		if (!(kinds[map->fields.f[i].kind].maps >> map->type & 1))
			return -EOPNOTSUPP;
	return 0;
}

void skep_map_copy_value(const struct skep_map *map, void *dst, const void *src)
{
	uint32_t at = 0;

	/* Fields are sorted by offset. */
	for (uint32_t i = 0; i < map->fields.n; i++) {
		const struct skep_field *f = &map->fields.f[i];

		skep_copy_racy((char *)dst + at, (const char *)src + at, f->offset - at);
		at = f->offset + f->size;
	}
	skep_copy_racy((char *)dst + at, (const char *)src + at, map->value_size - at);
}

void skep_map_copy_out(const struct skep_map *map, void *dst, const void *src)
{
	skep_map_copy_value(map, dst, src);
	for (uint32_t i = 0; i < map->fields.n; i++)
		memset((char *)dst + map->fields.f[i].offset, 0, map->fields.f[i].size);
}

void skep_map_copy_locked(const struct skep_map *map, void *value, void *other, bool to_value,
			  struct skep_env *env)
{
	void *lock = (char *)value + skep_map_spin_lock(map)->offset;

	skep_enter(env);
	skep_spin_lock(lock, env);
	if (to_value)
		skep_map_copy_value(map, value, other);
	else
		skep_map_copy_out(map, other, value);
	skep_spin_unlock(lock, env);
	skep_leave(env);
}

void *skep_map_key_of(const struct skep_map *map, void *value, uint32_t *index)
{
	if (map->type != BPF_MAP_TYPE_ARRAY)
		return (char *)value - htab_of(map)->value_off;
	*index = (uint32_t)((uint64_t)((char *)value - (char *)map->data.base) / map->elem_size);
	return index;
}

void skep_map_drop_fields(const struct skep_map *map, void *value)
{
	for (uint32_t i = 0; i < map->fields.n; i++) {
		const struct skep_field *f = &map->fields.f[i];

		if (f->kind == SKEP_FIELD_TIMER)
			skep_timer_forget(map, (char *)value + f->offset);
		else
			skep_kptr_clear(map->obj.skep, map->btf, f, (char *)value + f->offset);
	}
}

void skep_map_copy_cpu(const struct skep_map *map, void *dst, const void *src, bool out)
{
	if (!map->fields.n)
		skep_copy_racy(dst, src, map->elem_size);
	else if (out)
		skep_map_copy_out(map, dst, src);
	else
		skep_map_copy_value(map, dst, src);
}
