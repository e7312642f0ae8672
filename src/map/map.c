/* SPDX-License-Identifier: Apache-2.0 */
#include "exec/timer.h"
#include "map/map.h"

#include <errno.h>
#include <stdlib.h>

#include "bpf/call.h"
#include "btf/btf.h"
#include "helper/kern_ctx.h"
#include "map/access.h"
#include "map/kptr.h"
#include "map/types.h"

const struct skep_map_ops *const skep_map_types[] = {
	[BPF_MAP_TYPE_HASH] = &skep_map_hash,
	[BPF_MAP_TYPE_ARRAY] = &skep_map_array,
	[BPF_MAP_TYPE_PERCPU_HASH] = &skep_map_percpu_hash,
	[BPF_MAP_TYPE_PERCPU_ARRAY] = &skep_map_percpu_array,
	[BPF_MAP_TYPE_PERF_EVENT_ARRAY] = &skep_map_perf_event_array,
	[BPF_MAP_TYPE_STACK_TRACE] = &skep_map_stack_trace,
	[BPF_MAP_TYPE_LPM_TRIE] = &skep_map_lpm,
	[BPF_MAP_TYPE_DEVMAP] = &skep_map_devmap,
	[BPF_MAP_TYPE_QUEUE] = &skep_map_queue,
	[BPF_MAP_TYPE_STACK] = &skep_map_stack,
	[BPF_MAP_TYPE_DEVMAP_HASH] = &skep_map_devmap_hash,
	[BPF_MAP_TYPE_RINGBUF] = &skep_map_ringbuf,
	[BPF_MAP_TYPE_BLOOM_FILTER] = &skep_map_bloom,
	[BPF_MAP_TYPE_PROG_ARRAY] = &skep_map_prog_array,
	[BPF_MAP_TYPE_LRU_HASH] = &skep_map_lru_hash,
	[BPF_MAP_TYPE_LRU_PERCPU_HASH] = &skep_map_lru_percpu_hash,
	[BPF_MAP_TYPE_ARRAY_OF_MAPS] = &skep_map_array_of_maps,
	[BPF_MAP_TYPE_HASH_OF_MAPS] = &skep_map_hash_of_maps,
	[BPF_MAP_TYPE_CGROUP_ARRAY] = &skep_map_cgroup_array,
	[BPF_MAP_TYPE_SOCKMAP] = &skep_map_sockmap,
	[BPF_MAP_TYPE_CPUMAP] = &skep_map_cpumap,
	[BPF_MAP_TYPE_XSKMAP] = &skep_map_xskmap,
	[BPF_MAP_TYPE_SOCKHASH] = &skep_map_sockhash,
	[BPF_MAP_TYPE_CGROUP_STORAGE] = &skep_map_cgroup_storage,
	[BPF_MAP_TYPE_REUSEPORT_SOCKARRAY] = &skep_map_reuseport_sockarray,
	[BPF_MAP_TYPE_PERCPU_CGROUP_STORAGE] = &skep_map_percpu_cgroup_storage,
	[BPF_MAP_TYPE_SK_STORAGE] = &skep_map_sk_storage,
	[BPF_MAP_TYPE_STRUCT_OPS] = &skep_map_struct_ops,
	[BPF_MAP_TYPE_INODE_STORAGE] = &skep_map_inode_storage,
	[BPF_MAP_TYPE_TASK_STORAGE] = &skep_map_task_storage,
	[BPF_MAP_TYPE_USER_RINGBUF] = &skep_map_user_ringbuf,
	[BPF_MAP_TYPE_CGRP_STORAGE] = &skep_map_cgrp_storage,
	[BPF_MAP_TYPE_ARENA] = &skep_map_arena,
};
const uint32_t skep_nmap_types = sizeof(skep_map_types) / sizeof(skep_map_types[0]);

int skep_map_check(const union bpf_attr *attr)
{
	uint32_t type = attr->map_type;

	if (attr->map_type != BPF_MAP_TYPE_BLOOM_FILTER && attr->map_type != BPF_MAP_TYPE_ARENA &&
	    attr->map_extra)
		return -EINVAL;
	if ((attr->map_flags & BPF_F_RDONLY) && (attr->map_flags & BPF_F_WRONLY))
		return -EINVAL;
	/* Node 0 is every machine's; placing memory is the system's business. */
	if ((attr->map_flags & BPF_F_NUMA_NODE) && attr->numa_node != 0 &&
	    attr->numa_node != (uint32_t)-1)
		return -EINVAL;
	if (type >= skep_nmap_types || !skep_map_types[type])
		return -EINVAL;
	if (skep_map_types[type]->flags_ok && (attr->map_flags & ~skep_map_types[type]->flags_ok))
		return -EINVAL;
	return skep_map_types[type]->check ? skep_map_types[type]->check(attr) : 0;
}

int skep_map_back(struct skep_map *map, size_t size)
{
	if (size > SKEP_SEG_EAGER && !skep_memory_strict())
		return 0;
	return skep_seg_reserve(&map->data, 0, size);
}

void skep_map_restore(struct skep_map *map)
{
	skep_seg_restore(&map->data);
	skep_seg_restore(&map->ctl);
}

int skep_map_answer(const struct skep_map *map, int answer)
{
	return skep_seg_missing(&map->data) || skep_seg_missing(&map->ctl) ? -ENOMEM : answer;
}

static void map_free(struct skep_map *map)
{
	skep_timers_forget_map(map);
	skep_map_clear_kptrs(map);
	if (map->ops->destroy)
		map->ops->destroy(map);
	skep_seg_close(&map->data);
	skep_seg_close(&map->ctl);
	if (map->btf)
		skep_btf_put(map->btf);
	if (map->inner && map->inner->btf)
		skep_btf_put(map->inner->btf);
	free(map->inner);
	free(map);
}

static void map_no_users(struct skep_object *obj)
{
	struct skep_map *map = (struct skep_map *)obj;

	skep_timers_forget_map(map);
	if (map->ops->no_users)
		map->ops->no_users(map);
}

static void map_destroy(struct skep_object *obj)
{
	map_free((struct skep_map *)obj);
}

/* Key and value types, and what special fields they bring. */
static int attach_btf(struct skep_map *map, const union bpf_attr *attr, struct skep_btf *btf)
{
	int err;

	if (!attr->btf_key_type_id && !attr->btf_value_type_id)
		return 0;
	if (!btf)
		return -EBADF;
	if (btf->kernel)
		return -EACCES;
	if (attr->btf_value_type_id) {
		err = skep_btf_check_map(btf, attr->map_type, attr->btf_key_type_id,
					 attr->btf_value_type_id, attr->key_size, attr->value_size);
		if (err)
			return err;
		err = skep_btf_fields(btf, map->obj.skep, attr->btf_value_type_id, &map->fields);
		if (!err && map->fields.n && !skep_capable(map->obj.skep, SKEP_CAP_BPF))
			err = -EPERM;
		if (!err)
			err = skep_map_check_fields(map);
		if (!err)
			err = skep_btf_check_fields(btf, &map->fields);
		if (err)
			return err;
	}
	skep_btf_ref(btf);
	map->btf = btf;
	map->btf_key_id = attr->btf_key_type_id;
	map->btf_value_id = attr->btf_value_type_id;
	return 0;
}

/* The sizes of an inner map, which every map stored later must have. */
static int attach_inner(struct skep_map *map, const struct skep_map *inner)
{
	struct skep_map *t;

	if (inner->inner)
		return -EINVAL; /* one level only */
	if (!inner->ops->is_inner_ok)
		return -SKEP_ENOTSUPP;
	t = calloc(1, sizeof(*t));
	if (!t)
		return -ENOMEM;
	t->ops = inner->ops;
	t->type = inner->type;
	t->key_size = inner->key_size;
	t->value_size = inner->value_size;
	t->max_entries = inner->max_entries;
	t->flags = inner->flags;
	t->elem_size = inner->elem_size;
	t->index_mask = inner->index_mask;
	t->cpus = inner->cpus;
	t->fields = inner->fields;
	t->btf_key_id = inner->btf_key_id;
	t->btf_value_id = inner->btf_value_id;
	t->btf = inner->btf;
	if (t->btf)
		skep_btf_ref(t->btf);
	t->data.fd = t->ctl.fd = -1;
	map->inner = t;
	return 0;
}

int skep_map_create(struct skep *skep, const union bpf_attr *attr, struct skep_btf *btf,
		    struct skep_map *inner, struct skep_map **out)
{
	struct skep_map *map;
	int err;

	err = skep_map_check(attr);
	if (err)
		return err;
	map = calloc(1, sizeof(*map));
	if (!map)
		return -ENOMEM;
	pthread_mutex_init(&map->owner_lock, NULL);
	map->ops = skep_map_types[attr->map_type];
	map->obj.skep = skep;
	map->obj.destroy = map_destroy;
	map->obj.no_users = map_no_users;
	map->obj.fd = -1;
	map->data.fd = map->ctl.fd = -1;
	map->type = attr->map_type;
	map->key_size = attr->key_size;
	map->value_size = attr->value_size;
	map->max_entries = attr->max_entries;
	map->flags = attr->map_flags;
	map->extra = attr->map_extra;
	map->ifindex = attr->map_ifindex;
	map->cpus = skep->cpus;
	map->elem_size = (uint32_t)skep_round_up(attr->value_size, 8);

	/* In the kernel's order, which decides between errors. */
	if (attr->map_type == BPF_MAP_TYPE_ARRAY_OF_MAPS ||
	    attr->map_type == BPF_MAP_TYPE_HASH_OF_MAPS)
		err = inner ? attach_inner(map, inner) : -EBADF;
	if (!err)
		err = skep_copy_name(map->name, attr->map_name);
	if (!err)
		err = attach_btf(map, attr, btf);
	if (!err)
		err = map->ops->create(map, attr);
	/* What programs may not write shall be constant one day: as in the kernel, it can't be
	 * mapped writable even before. */
	map->obj.read_only_mem = (map->flags & BPF_F_RDONLY_PROG) && map->ops->mmap_size;
	if (!err)
		err = skep_object_add(skep, &map->obj, SKEP_KIND_MAP, map->data.fd);
	if (err) {
		map_free(map);
		return err;
	}
	skep_map_show(map);
	*out = map;
	return 0;
}

void skep_map_show(struct skep_map *map)
{
	struct skep_view_map view = {
		.ops = map->ops,
		.map_type = map->type,
		.key_size = map->key_size,
		.value_size = map->value_size,
		.max_entries = map->max_entries,
		.map_extra = map->extra,
		.map_flags = map->flags,
		.id = map->obj.id,
		.btf = map->btf,
		.btf_key_type_id = map->btf_key_id,
		.btf_value_type_id = map->btf_value_id,
		.elem_size = map->elem_size,
		.index_mask = map->index_mask,
	};

	_Static_assert(sizeof(view) <= sizeof(map->obj.view), "a map's view fits");
	memcpy(view.name, map->name, sizeof(view.name));
	memcpy(map->obj.view, &view, sizeof(view));
}

uint32_t skep_map_sys_value_size(const struct skep_map *map)
{
	if (map->ops->percpu)
		return map->elem_size * map->cpus;
	/* What these hold is named by descriptors and ids. */
	if (map->type == BPF_MAP_TYPE_ARRAY_OF_MAPS || map->type == BPF_MAP_TYPE_HASH_OF_MAPS ||
	    map->type == BPF_MAP_TYPE_PROG_ARRAY || map->type == BPF_MAP_TYPE_PERF_EVENT_ARRAY)
		return sizeof(uint32_t);
	return map->value_size;
}

bool skep_map_contains(const struct skep_map *map, uint64_t addr, size_t size)
{
	uint64_t base;

	if (map->ops->backing)
		map = map->ops->backing(map);
	base = (uint64_t)(uintptr_t)map->data.base;
	if (!map->data.base || addr < base || addr - base >= map->data.size ||
	    size > map->data.size - (addr - base))
		return false;
	return map->ops->contains ? map->ops->contains(map, addr - base, size) : true;
}

bool skep_map_inline(const struct skep_map *map, struct skep_map_inline *out)
{
	if (map->type != BPF_MAP_TYPE_ARRAY && map->type != BPF_MAP_TYPE_PERCPU_ARRAY)
		return false;
	out->base = map->data.base;
	out->elem_size = map->elem_size;
	out->max_entries = map->max_entries;
	out->cpu_stride = map->type == BPF_MAP_TYPE_PERCPU_ARRAY ? skep_array_cpu_stride(map) : 0;
	return true;
}
