/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Giving up objects. What an object owns is given up with it, down to any depth: a list of what
 * is still to do takes the place of recursion. One that is too wide for the list is not freed
 * before the instance ends.
 */
#include "map/kptr.h"

#include <stdatomic.h>
#include <string.h>

#include "btf/btf.h"
#include "exec/heap.h"
#include "map/access.h"
#include "map/htab.h"
#include "map/types.h"

#define MAX_TODO 128

struct todo {
	struct skep *skep;
	uint32_t n;
	struct {
		const struct skep_btf *btf; /* NULL: one of skep's types, without fields */
		uint32_t id;
		void *object;
	} of[MAX_TODO];
};

static void add(struct todo *t, const struct skep_btf *btf, uint32_t id, void *object)
{
	if (!object || t->n == MAX_TODO)
		return;
	t->of[t->n].btf = btf;
	t->of[t->n].id = id;
	t->of[t->n].object = object;
	t->n++;
}

static void take(struct todo *t, const struct skep_btf *btf, const struct skep_field *f, void *at)
{
	_Atomic uint64_t *field = at;

	if (f->kind == SKEP_FIELD_KPTR_UNREF)
		atomic_store_explicit(field, 0, memory_order_relaxed);
	else if (f->kind == SKEP_FIELD_KPTR_REF || f->kind == SKEP_FIELD_KPTR_PERCPU)
		add(t, f->kernel ? NULL : btf, f->btf_id,
		    skep_heap_at(t->skep, atomic_exchange(field, 0)));
}

/* The count that the object has, or NULL. Kernel's types that are shared have it first. */
static _Atomic uint32_t *count_of(const struct skep_fields *fields, void *object)
{
	for (uint32_t i = 0; i < fields->n; i++)
		if (fields->f[i].kind == SKEP_FIELD_REFCOUNT)
			return (_Atomic uint32_t *)((char *)object + fields->f[i].offset);
	return NULL;
}

static void finish(struct todo *t)
{
	while (t->n--) {
		const struct skep_btf *btf = t->of[t->n].btf;
		void *object = t->of[t->n].object;
		uint32_t id = t->of[t->n].id;
		struct skep_fields fields = {0};
		_Atomic uint32_t *count;

		if (btf && skep_btf_struct_fields(btf, t->skep, id, &fields))
			fields.n = 0;
		count = count_of(&fields, object);
		if (count && atomic_fetch_sub(count, 1) > 1)
			continue;
		for (uint32_t i = 0; i < fields.n; i++)
			take(t, btf, &fields.f[i], (char *)object + fields.f[i].offset);
		skep_heap_free(t->skep, object);
	}
}

void skep_kptr_clear(struct skep *skep, const struct skep_btf *btf, const struct skep_field *f,
		     void *at)
{
	struct todo t;

	t.skep = skep;
	t.n = 0;
	take(&t, btf, f, at);
	finish(&t);
}

void skep_object_drop(struct skep *skep, const struct skep_btf *btf, uint32_t id, void *object)
{
	struct todo t;

	t.skep = skep;
	t.n = 0;
	add(&t, btf, id, object);
	finish(&t);
}

/* ---- Maps ---- */

static bool owns(const struct skep_map *map)
{
	for (uint32_t i = 0; i < map->fields.n; i++)
		if (map->fields.f[i].kind == SKEP_FIELD_KPTR_REF ||
		    map->fields.f[i].kind == SKEP_FIELD_KPTR_PERCPU)
			return true;
	return false;
}

static void clear_array(struct skep_map *map)
{
	uint64_t stride = map->ops->percpu ? skep_array_cpu_stride(map) : 0;

	for (uint32_t cpu = 0; cpu < (map->ops->percpu ? map->cpus : 1); cpu++)
		for (uint32_t i = 0; i < map->max_entries; i++)
			skep_map_drop_fields(map, (char *)map->data.base + stride * cpu +
							  (uint64_t)map->elem_size * i);
}

static void clear_hash(struct skep_map *map)
{
	struct skep_htab *h = htab_of(map);

	for (uint32_t i = 0; i < h->nelems; i++)
		if (atomic_load_explicit(&h->nodes[i].where, memory_order_relaxed))
			htab_drop_fields(h, i);
}

void skep_map_clear_kptrs(struct skep_map *map)
{
	if (map->attached || !map->data.base || !owns(map) || !skep_heap_base(map->obj.skep))
		return;
	switch (map->type) {
	case BPF_MAP_TYPE_ARRAY:
	case BPF_MAP_TYPE_PERCPU_ARRAY:
		clear_array(map);
		break;
	case BPF_MAP_TYPE_HASH:
	case BPF_MAP_TYPE_LRU_HASH:
	case BPF_MAP_TYPE_PERCPU_HASH:
	case BPF_MAP_TYPE_LRU_PERCPU_HASH:
		clear_hash(map);
		break;
	default: /* local storages: nothing gives programs their values yet */
		break;
	}
}
