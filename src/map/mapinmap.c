/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Arrays and hash tables of maps. The shared value is the inner map's id; which map
 * an id is, only this process's private table says (one entry per element), and
 * what it names is held and has the template's shape. A lookup whose shared id and
 * private entry don't agree finds nothing.
 */
#include <stdlib.h>

#include "map/htab.h"

static void put_all(struct skep_map *_Atomic *slot, uint32_t n)
{
	for (uint32_t i = 0; i < n; i++) {
		struct skep_map *inner = atomic_load_explicit(&slot[i], memory_order_relaxed);

		if (inner)
			skep_object_put(&inner->obj);
	}
}

static void put_map(void *arg)
{
	skep_object_put(arg);
}

/* Running programs may still use it. */
static void drop(struct skep_map *outer, struct skep_map *inner)
{
	if (inner)
		skep_defer(outer->obj.skep, put_map, &inner->obj);
}

void htab_set_inner(struct skep_htab *h, uint32_t elem, struct skep_map *inner)
{
	drop(h->map, atomic_exchange(&h->inner[elem], inner));
}

static struct skep_map *entry(struct skep_map *_Atomic *slot, _Atomic uint32_t *id)
{
	struct skep_map *inner = atomic_load_explicit(slot, memory_order_acquire);

	if (!inner || inner->obj.id != atomic_load_explicit(id, memory_order_relaxed))
		return NULL;
	return inner;
}

/* Programs were verified against the template. */
static bool same_shape(const struct skep_map *t, const struct skep_map *m)
{
	if (t->type != m->type || t->key_size != m->key_size || t->value_size != m->value_size ||
	    t->flags != m->flags || t->fields.n != m->fields.n)
		return false;
	if (t->fields.n &&
	    memcmp(t->fields.f, m->fields.f, t->fields.n * sizeof(t->fields.f[0])) != 0)
		return false;
	/* Bounds of arrays are built into programs, unless the array says otherwise. */
	if (t->type == BPF_MAP_TYPE_ARRAY && !(t->flags & BPF_F_INNER_MAP))
		return t->max_entries == m->max_entries;
	return true;
}

static int get_inner(struct skep_map *outer, const void *value, struct skep_map **out)
{
	struct skep_object *obj;
	int fd, err;

	memcpy(&fd, value, sizeof(fd));
	err = skep_object_get(outer->obj.skep, fd, SKEP_KIND_MAP, &obj);
	if (err)
		return err;
	if (!same_shape(outer->inner, (struct skep_map *)obj)) {
		skep_object_put(obj);
		return -EINVAL;
	}
	*out = (struct skep_map *)obj;
	return 0;
}

static bool contains_nothing(const struct skep_map *map, uint64_t off, size_t size)
{
	(void)map;
	(void)off;
	(void)size;
	return false;
}

/* ---- Array of maps ---- */

struct inner_array {
	pthread_mutex_t lock; /* keeps ids and entries in step between updates */
	struct skep_map *_Atomic slot[];
};

static struct inner_array *array_of(struct skep_map *map)
{
	return map->priv;
}

static int array_check(const union bpf_attr *attr)
{
	if (!attr->max_entries || attr->key_size != 4 || attr->value_size != 4)
		return -EINVAL;
	return 0;
}

static int array_create(struct skep_map *map, const union bpf_attr *attr)
{
	uint64_t size = (uint64_t)map->max_entries * sizeof(uint32_t);
	struct inner_array *t;
	int err;

	(void)attr;
	map->index_mask = (uint32_t)(skep_pow2_up(map->max_entries) - 1);
	t = calloc(1, sizeof(*t) + (size_t)map->max_entries * sizeof(t->slot[0]));
	if (!t)
		return -ENOMEM;
	pthread_mutex_init(&t->lock, NULL);
	map->priv = t;
	err = skep_map_seg(map, &map->data, SKEP_MAP_HANDLE, size);
	return err ? err : skep_map_back(map, size);
}

static void array_destroy(struct skep_map *map)
{
	struct inner_array *t = array_of(map);

	if (!t)
		return;
	put_all(t->slot, map->max_entries);
	pthread_mutex_destroy(&t->lock);
	free(t);
}

static uint32_t key_index(const void *key)
{
	uint32_t index;

	memcpy(&index, key, sizeof(index));
	return index;
}

static _Atomic uint32_t *array_id(struct skep_map *map, uint32_t index)
{
	return (_Atomic uint32_t *)map->data.base + index;
}

static void *array_lookup(struct skep_map *map, const void *key, struct skep_env *env)
{
	uint32_t index = key_index(key);

	(void)env;
	if (index >= map->max_entries)
		return NULL;
	return entry(&array_of(map)->slot[index], array_id(map, index));
}

static int array_sys_lookup(struct skep_map *map, const void *key, void *value, uint64_t flags,
			    struct skep_env *env)
{
	uint32_t index = key_index(key), id;

	(void)flags;
	(void)env;
	id = index < map->max_entries ? atomic_load(array_id(map, index)) : 0;
	if (!id)
		return -ENOENT;
	memcpy(value, &id, sizeof(id));
	return 0;
}

static struct skep_map *array_set(struct skep_map *map, uint32_t index, struct skep_map *inner)
{
	struct inner_array *t = array_of(map);
	struct skep_map *old;

	pthread_mutex_lock(&t->lock);
	old = atomic_exchange(&t->slot[index], inner);
	atomic_store(array_id(map, index), inner ? inner->obj.id : 0);
	pthread_mutex_unlock(&t->lock);
	drop(map, old);
	return old;
}

static int array_sys_update(struct skep_map *map, const void *key, const void *value,
			    uint64_t flags, struct skep_env *env)
{
	uint32_t index = key_index(key);
	struct skep_map *inner;
	int err;

	(void)env;
	if (flags != BPF_ANY)
		return -EINVAL;
	if (index >= map->max_entries)
		return -E2BIG;
	err = get_inner(map, value, &inner);
	if (!err)
		array_set(map, index, inner);
	return err;
}

static int array_sys_delete(struct skep_map *map, const void *key, struct skep_env *env)
{
	uint32_t index = key_index(key);

	(void)env;
	if (index >= map->max_entries)
		return -E2BIG;
	return array_set(map, index, NULL) ? 0 : -ENOENT;
}

static uint64_t array_mem_usage(struct skep_map *map)
{
	return sizeof(*map) + sizeof(struct inner_array) + map->data.size +
	       (uint64_t)map->max_entries * sizeof(void *);
}

/* ---- Hash of maps ---- */

static int hash_check(const union bpf_attr *attr)
{
	if (attr->value_size != 4)
		return -EINVAL;
	return htab_check(attr);
}

static int hash_create(struct skep_map *map, const union bpf_attr *attr)
{
	int err = htab_create(map, false, false);

	(void)attr;
	if (err)
		return err;
	htab_of(map)->inner = calloc(htab_of(map)->nelems, sizeof(*htab_of(map)->inner));
	return htab_of(map)->inner ? 0 : -ENOMEM;
}

static void hash_destroy(struct skep_map *map)
{
	struct skep_htab *h = htab_of(map);

	if (h && h->inner)
		put_all(h->inner, h->nelems);
	if (h)
		free(h->inner);
	htab_destroy(map);
}

static void *hash_lookup(struct skep_map *map, const void *key, struct skep_env *env)
{
	struct skep_htab *h = htab_of(map);
	struct htab_ref ref = htab_find(h, key, false);
	struct skep_map *inner;

	(void)env;
	if (!ref.elem)
		return NULL;
	inner = entry(&h->inner[ref.elem - 1], htab_value(h, ref.elem - 1));
	return inner && htab_still(&ref) ? inner : NULL;
}

static int hash_sys_update(struct skep_map *map, const void *key, const void *value, uint64_t flags,
			   struct skep_env *env)
{
	struct htab_inner in;
	int err;

	if (flags & BPF_F_LOCK)
		return -EINVAL;
	err = get_inner(map, value, &in.map);
	if (err)
		return err;
	in.id = in.map->obj.id;
	err = (int)htab_update(map, key, &in, flags, HTAB_SYS, env);
	if (err)
		skep_object_put(&in.map->obj);
	return err;
}

static uint64_t hash_mem_usage(struct skep_map *map)
{
	return htab_mem_usage(map) + (uint64_t)htab_of(map)->nelems * sizeof(void *);
}

const struct skep_map_ops skep_map_array_of_maps = {
	.name = "array_of_maps",
	.check = array_check,
	.create = array_create,
	.destroy = array_destroy,
	.lookup = array_lookup,
	.sys_lookup = array_sys_lookup,
	.sys_update = array_sys_update,
	.sys_delete = array_sys_delete,
	.next_key = skep_array_next_key,
	.contains = contains_nothing,
	.mem_usage = array_mem_usage,
	.batch = SKEP_BATCH_LOOKUP | SKEP_BATCH_UPDATE,
	.flags_ok = BPF_F_NUMA_NODE | BPF_F_RDONLY | BPF_F_WRONLY,
	.unprivileged = true,
	.btf = SKEP_BTF_NONE,
};

const struct skep_map_ops skep_map_hash_of_maps = {
	.name = "hash_of_maps",
	.check = hash_check,
	.create = hash_create,
	.destroy = hash_destroy,
	.lookup = hash_lookup,
	.sys_lookup = htab_sys_lookup,
	.sys_update = hash_sys_update,
	.sys_delete = htab_sys_delete,
	.next_key = htab_next_key,
	.lookup_batch = htab_lookup_batch,
	.contains = contains_nothing,
	.mem_usage = hash_mem_usage,
	.batch = SKEP_BATCH_ALL,
	.flags_ok = HTAB_FLAGS,
	.unprivileged = true,
	.btf = SKEP_BTF_NONE,
};
