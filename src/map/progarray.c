/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Prog arrays. The data segment holds ids of programs; which program an id is, only
 * this process's private table says, and the program it names is held. An id that
 * does not match the table (written by somebody else) is an empty slot.
 */
#include <errno.h>
#include <stdlib.h>

#include "map/access.h"
#include "map/types.h"

struct prog_array {
	pthread_mutex_t lock; /* the order of updates */
	struct skep_prog *_Atomic slot[];
};

static int progarray_check(const union bpf_attr *attr)
{
	if (!attr->max_entries || attr->key_size != 4 || attr->value_size != 4)
		return -EINVAL;
	return 0;
}

static int progarray_create(struct skep_map *map, const union bpf_attr *attr)
{
	uint64_t size = (uint64_t)map->max_entries * sizeof(uint32_t);
	struct prog_array *pa;
	int err;

	(void)attr;
	map->index_mask = (uint32_t)(skep_pow2_up(map->max_entries) - 1);
	pa = calloc(1, sizeof(*pa) + (size_t)map->max_entries * sizeof(pa->slot[0]));
	if (!pa)
		return -ENOMEM;
	pthread_mutex_init(&pa->lock, NULL);
	map->priv = pa;
	err = skep_map_seg(map, &map->data, SKEP_MAP_HANDLE, size);
	return err ? err : skep_map_back(map, size);
}

static _Atomic uint32_t *id_of(struct skep_map *map, uint32_t index)
{
	return (_Atomic uint32_t *)map->data.base + index;
}

static void put_prog(void *arg)
{
	skep_object_put(arg);
}

/* Exchanges what slot index holds; the old one goes when no run can see it any more. */
static struct skep_prog *set_slot(struct skep_map *map, uint32_t index, struct skep_prog *prog)
{
	struct prog_array *pa = map->priv;
	struct skep_prog *old;

	pthread_mutex_lock(&pa->lock);
	old = atomic_exchange(&pa->slot[index], prog);
	atomic_store(id_of(map, index), prog ? prog->obj.id : 0);
	pthread_mutex_unlock(&pa->lock);
	if (old)
		skep_defer(map->obj.skep, put_prog, &old->obj);
	return old;
}

static void progarray_clear(struct skep_map *map)
{
	struct prog_array *pa = map->priv;

	for (uint32_t i = 0; i < map->max_entries; i++)
		if (atomic_load_explicit(&pa->slot[i], memory_order_relaxed))
			set_slot(map, i, NULL);
}

static void progarray_destroy(struct skep_map *map)
{
	struct prog_array *pa = map->priv;

	if (!pa)
		return;
	for (uint32_t i = 0; i < map->max_entries; i++) {
		struct skep_prog *prog = atomic_load_explicit(&pa->slot[i], memory_order_relaxed);

		if (prog)
			skep_object_put(&prog->obj);
	}
	pthread_mutex_destroy(&pa->lock);
	free(pa);
}

const struct skep_prog *skep_prog_array_get(struct skep_map *map, uint32_t index)
{
	struct prog_array *pa = map->priv;
	struct skep_prog *prog;

	if (index >= map->max_entries)
		return NULL;
	prog = atomic_load_explicit(&pa->slot[index], memory_order_acquire);
	if (!prog || atomic_load_explicit(id_of(map, index), memory_order_relaxed) != prog->obj.id)
		return NULL;
	return prog;
}

bool skep_prog_array_inline(const struct skep_map *map, struct skep_prog_array_inline *out)
{
	const struct prog_array *pa = map->priv;

	if (map->type != BPF_MAP_TYPE_PROG_ARRAY)
		return false;
	*out = (struct skep_prog_array_inline){
		.slot = (struct skep_prog *const _Atomic *)pa->slot,
		.ids = (const _Atomic uint32_t *)map->data.base,
		.max_entries = map->max_entries,
	};
	return true;
}

static uint32_t key_index(const void *key)
{
	uint32_t index;

	memcpy(&index, key, sizeof(index));
	return index;
}

static int progarray_sys_lookup(struct skep_map *map, const void *key, void *value, uint64_t flags,
				struct skep_env *env)
{
	uint32_t index = key_index(key), id;

	(void)flags;
	(void)env;
	if (index >= map->max_entries)
		return -ENOENT;
	id = atomic_load(id_of(map, index));
	if (!id)
		return -ENOENT;
	memcpy(value, &id, sizeof(id));
	return 0;
}

static int progarray_sys_update(struct skep_map *map, const void *key, const void *value,
				uint64_t flags, struct skep_env *env)
{
	uint32_t index = key_index(key);
	struct skep_object *obj;
	int fd, err;

	(void)env;
	if (flags != BPF_ANY)
		return -EINVAL;
	if (index >= map->max_entries)
		return -E2BIG;
	memcpy(&fd, value, sizeof(fd));
	err = skep_object_get(map->obj.skep, fd, SKEP_KIND_PROG, &obj);
	if (err)
		return err;
	if (!skep_map_prog_compatible(map, (struct skep_prog *)obj)) {
		skep_object_put(obj);
		return -EINVAL;
	}
	set_slot(map, index, (struct skep_prog *)obj);
	return 0;
}

static int progarray_sys_delete(struct skep_map *map, const void *key, struct skep_env *env)
{
	uint32_t index = key_index(key);

	(void)env;
	if (index >= map->max_entries)
		return -E2BIG;
	return set_slot(map, index, NULL) ? 0 : -ENOENT;
}

static bool contains_nothing(const struct skep_map *map, uint64_t off, size_t size)
{
	(void)map;
	(void)off;
	(void)size;
	return false;
}

static uint64_t progarray_mem_usage(struct skep_map *map)
{
	return sizeof(*map) + sizeof(struct prog_array) + map->data.size +
	       (uint64_t)map->max_entries * sizeof(void *);
}

const struct skep_map_ops skep_map_prog_array = {
	.name = "prog_array",
	.check = progarray_check,
	.create = progarray_create,
	.destroy = progarray_destroy,
	.sys_lookup = progarray_sys_lookup,
	.sys_update = progarray_sys_update,
	.sys_delete = progarray_sys_delete,
	.next_key = skep_array_next_key,
	.contains = contains_nothing,
	.mem_usage = progarray_mem_usage,
	.flags_ok = BPF_F_NUMA_NODE | BPF_F_RDONLY | BPF_F_WRONLY,
	.no_users = progarray_clear,
	.unprivileged = true,
};
