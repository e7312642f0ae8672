// SPDX-License-Identifier: Apache-2.0
/*
 * Queue and stack. A ring of max_entries + 1 values, head (next free) and tail
 * (oldest) under the lock. Each change is one store of an index after the value
 * was copied, so a death leaves a whole map and nothing needs repair.
 */
#include <errno.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "map/map.h"
#include "map/types.h"

#define FLAGS     (BPF_F_NUMA_NODE | SKEP_MAP_ACCESS_FLAGS)
#define VALUE_MAX (1u << 22) /* the kernel's largest allocation */

struct ctl {
	struct skep_lock lock;
	_Atomic uint32_t head, tail;
};

struct ring {
	struct ctl *ctl;
	uint8_t *values;
	uint32_t size;
	_Atomic size_t backed;
};

static int queue_check(const union bpf_attr *attr)
{
	if (!attr->max_entries || attr->key_size || !attr->value_size || attr->map_flags & ~FLAGS ||
	    !skep_map_access_ok(attr->map_flags))
		return -EINVAL;
	return attr->value_size > VALUE_MAX ? -E2BIG : 0;
}

static int queue_create(struct skep_map *map, const union bpf_attr *attr)
{
	uint64_t size = (uint64_t)map->max_entries + 1;
	struct ring *r;
	int err;

	if (size > UINT32_MAX || size * map->elem_size > 1ull << 40)
		return -ENOMEM;
	r = calloc(1, sizeof(*r));
	if (!r)
		return -ENOMEM;
	r->size = (uint32_t)size;
	err = skep_map_seg(map, &map->data, SKEP_MAP_HANDLE, size * map->elem_size);
	if (err)
		goto fail;
	err = skep_map_seg(map, &map->ctl, "skep-queue-ctl", sizeof(struct ctl));
	if (err)
		goto fail_data;
	err = skep_seg_reserve(&map->ctl, 0, sizeof(struct ctl));
	if (err)
		goto fail_ctl;
	r->ctl = map->ctl.base;
	r->values = map->data.base;
	map->priv = r;
	return 0;
fail_ctl:
	skep_seg_close(&map->ctl);
fail_data:
	skep_seg_close(&map->data);
fail:
	free(r);
	return err;
}

static void queue_destroy(struct skep_map *map)
{
	free(map->priv);
}

/* Locks and gives head and tail, which others may have overwritten. */
static int lock(struct skep_map *map, uint32_t *head, uint32_t *tail)
{
	struct ring *r = map->priv;
	int err = skep_lock(&r->ctl->lock, map->obj.skep->parts);

	if (err < 0)
		return -EBUSY;
	*head = atomic_load_explicit(&r->ctl->head, memory_order_relaxed);
	*tail = atomic_load_explicit(&r->ctl->tail, memory_order_relaxed);
	if (*head >= r->size)
		*head = 0;
	if (*tail >= r->size)
		*tail = 0;
	return 0;
}

static void *value_at(const struct skep_map *map, uint32_t i)
{
	const struct ring *r = map->priv;

	return r->values + (size_t)i * map->elem_size;
}

static uint32_t after(const struct ring *r, uint32_t i)
{
	return i + 1 == r->size ? 0 : i + 1;
}

static long queue_push(struct skep_map *map, const void *value, uint64_t flags)
{
	struct ring *r = map->priv;
	uint32_t head, tail;
	size_t off, end;
	long err;

	if (flags & BPF_NOEXIST || flags > BPF_EXIST)
		return -EINVAL;
	err = lock(map, &head, &tail);
	if (err)
		return err;
	off = (size_t)head * map->elem_size;
	end = off + map->elem_size;
	if (end > atomic_load_explicit(&r->backed, memory_order_relaxed)) {
		size_t to = (end + 0xffff) & ~(size_t)0xffff;

		if (to > map->data.size)
			to = map->data.size;
		err = skep_seg_reserve(&map->data, off & ~(size_t)4095, to - (off & ~(size_t)4095));
		if (err) {
			err = -ENOMEM;
			goto out;
		}
		atomic_store_explicit(&r->backed, to, memory_order_relaxed);
	}
	if (after(r, head) == tail) {
		if (!(flags & BPF_EXIST)) {
			err = -E2BIG;
			goto out;
		}
		atomic_store_explicit(&r->ctl->tail, after(r, tail), memory_order_release);
	}
	memcpy(value_at(map, head), value, map->value_size);
	atomic_store_explicit(&r->ctl->head, after(r, head), memory_order_release);
out:
	skep_unlock(&r->ctl->lock);
	return err;
}

static long take(struct skep_map *map, void *value, bool newest, bool remove)
{
	struct ring *r = map->priv;
	uint32_t head, tail, i;
	long err = lock(map, &head, &tail);

	if (err)
		return err;
	if (head == tail) {
		memset(value, 0, map->value_size);
		skep_unlock(&r->ctl->lock);
		return -ENOENT;
	}
	i = !newest ? tail : head ? head - 1 : r->size - 1;
	memcpy(value, value_at(map, i), map->value_size);
	if (remove && newest)
		atomic_store_explicit(&r->ctl->head, i, memory_order_release);
	else if (remove)
		atomic_store_explicit(&r->ctl->tail, after(r, tail), memory_order_release);
	skep_unlock(&r->ctl->lock);
	return 0;
}

static long queue_pop(struct skep_map *map, void *value)
{
	return take(map, value, false, true);
}

static long queue_peek(struct skep_map *map, void *value)
{
	return take(map, value, false, false);
}

static long stack_pop(struct skep_map *map, void *value)
{
	return take(map, value, true, true);
}

static long stack_peek(struct skep_map *map, void *value)
{
	return take(map, value, true, false);
}

static void *no_lookup(struct skep_map *map, const void *key, struct skep_env *env)
{
	return NULL;
}

static long no_update(struct skep_map *map, const void *key, const void *value, uint64_t flags,
		      struct skep_env *env)
{
	return -EINVAL;
}

static long no_delete(struct skep_map *map, const void *key, struct skep_env *env)
{
	return -EINVAL;
}

static int no_next_key(struct skep_map *map, const void *key, void *next)
{
	return -EINVAL;
}

/* bpf(2) pushes, peeks and pops through the element commands. */
static int sys_peek(struct skep_map *map, const void *key, void *value, uint64_t flags,
		    struct skep_env *env)
{
	return (int)map->ops->peek(map, value);
}

static int sys_push(struct skep_map *map, const void *key, const void *value, uint64_t flags,
		    struct skep_env *env)
{
	return (int)map->ops->push(map, value, flags);
}

static int sys_pop(struct skep_map *map, const void *key, void *value, uint64_t flags,
		   struct skep_env *env)
{
	return (int)map->ops->pop(map, value);
}

static uint64_t queue_mem_usage(struct skep_map *map)
{
	return map->data.size + map->ctl.size;
}

const struct skep_map_ops skep_map_queue = {
	.name = "queue",
	.check = queue_check,
	.create = queue_create,
	.destroy = queue_destroy,
	.lookup = no_lookup,
	.update = no_update,
	.delete = no_delete,
	.push = queue_push,
	.pop = queue_pop,
	.peek = queue_peek,
	.sys_lookup = sys_peek,
	.sys_update = sys_push,
	.sys_lookup_delete = sys_pop,
	.sys_delete = skep_plain_sys_delete,
	.next_key = no_next_key,
	.mem_usage = queue_mem_usage,
	.is_inner_ok = true,
	.anywhere = true,
	.flags_ok = FLAGS,
};

const struct skep_map_ops skep_map_stack = {
	.name = "stack",
	.check = queue_check,
	.create = queue_create,
	.destroy = queue_destroy,
	.lookup = no_lookup,
	.update = no_update,
	.delete = no_delete,
	.push = queue_push,
	.pop = stack_pop,
	.peek = stack_peek,
	.sys_lookup = sys_peek,
	.sys_update = sys_push,
	.sys_lookup_delete = sys_pop,
	.sys_delete = skep_plain_sys_delete,
	.next_key = no_next_key,
	.mem_usage = queue_mem_usage,
	.is_inner_ok = true,
	.anywhere = true,
	.flags_ok = FLAGS,
};
