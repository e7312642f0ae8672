// SPDX-License-Identifier: Apache-2.0
/*
 * Stack traces by id. An id is the number of a bucket, which the trace's hash
 * chooses; a bucket holds one trace. Each has its own lock. A bucket whose owner
 * died while writing is emptied.
 */
#include <errno.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "map/jhash.h"
#include "map/map.h"
#include "map/types.h"

#define FLAGS     (BPF_F_NUMA_NODE | BPF_F_RDONLY | BPF_F_WRONLY | BPF_F_STACK_BUILD_ID)
#define MAX_DEPTH 127 /* kernel.perf_event_max_stack */
#define STACKID_FLAGS                                                                              \
	(BPF_F_SKIP_FIELD_MASK | BPF_F_USER_STACK | BPF_F_FAST_STACK_CMP | BPF_F_REUSE_STACKID)

struct bucket {
	struct skep_lock lock;
	uint32_t hash;
	uint32_t nr; /* addresses; 0: empty */
	uint64_t ips[]; /* as the value */
};

struct stackmap {
	uint8_t *buckets;
	size_t stride;
	uint32_t mask; /* number of buckets - 1 */
	_Atomic uint64_t *touched; /* private, bit per page: backed with memory */
};

static uint32_t entry_size(const union bpf_attr *attr)
{
	return attr->map_flags & BPF_F_STACK_BUILD_ID ? sizeof(struct bpf_stack_build_id) : 8;
}

static int stackmap_check(const union bpf_attr *attr)
{
	uint32_t size = entry_size(attr);

	if (attr->map_flags & ~FLAGS || !attr->max_entries || attr->key_size != 4 ||
	    attr->value_size < 8 || attr->value_size % 8 || attr->value_size % size ||
	    attr->value_size / size > MAX_DEPTH)
		return -EINVAL;
	return attr->max_entries > 1u << 31 ? -E2BIG : 0;
}

static int stackmap_create(struct skep_map *map, const union bpf_attr *attr)
{
	uint64_t n = map->max_entries == 1 ? 1 : 1ull << (32 - __builtin_clz(map->max_entries - 1));
	struct stackmap *s;
	uint64_t size;
	int err = -ENOMEM;

	s = calloc(1, sizeof(*s));
	if (!s)
		return -ENOMEM;
	s->stride = sizeof(struct bucket) + map->value_size;
	s->mask = (uint32_t)(n - 1);
	size = n * s->stride;
	if (size > 1ull << 36)
		goto fail;
	s->touched = calloc(size / 4096 / 64 + 1, 8);
	if (!s->touched)
		goto fail;
	err = skep_map_seg(map, &map->data, SKEP_MAP_HANDLE, size);
	if (err)
		goto fail;
	s->buckets = map->data.base;
	map->priv = s;
	return 0;
fail:
	free(s->touched);
	free(s);
	return err;
}

static void stackmap_destroy(struct skep_map *map)
{
	struct stackmap *s = map->priv;

	if (!s)
		return;
	free(s->touched);
	free(s);
}

/* Makes sure that the bucket has memory. */
static int back(struct skep_map *map, uint32_t id)
{
	struct stackmap *s = map->priv;
	size_t first = id * s->stride / 4096, last = (id * s->stride + s->stride - 1) / 4096;
	int err;

	for (size_t p = first; p <= last; p++) {
		if (atomic_load_explicit(&s->touched[p / 64], memory_order_relaxed) >> (p % 64) & 1)
			continue;
		err = skep_seg_reserve(&map->data, p * 4096, 4096);
		if (err)
			return -ENOMEM;
		atomic_fetch_or(&s->touched[p / 64], 1ull << (p % 64));
	}
	return 0;
}

static int lock_bucket(struct skep_map *map, uint32_t id, struct bucket **out)
{
	struct stackmap *s = map->priv;
	struct bucket *b = (struct bucket *)(s->buckets + id * s->stride);
	int err = back(map, id);

	if (err)
		return err;
	err = skep_lock(&b->lock, map->obj.skep->parts);
	if (err < 0)
		return err;
	if (err == SKEP_LOCK_DIED || (uint64_t)b->nr * 8 > map->value_size)
		b->nr = 0;
	*out = b;
	return 0;
}

long skep_stackmap_put(struct skep_map *map, const uint64_t *ips, uint32_t n, uint64_t flags)
{
	struct stackmap *s = map->priv;
	uint32_t skip = flags & BPF_F_SKIP_FIELD_MASK, max = map->value_size / 8, hash, id;
	struct bucket *b;
	bool same;
	long ret;

	if (flags & ~(uint64_t)STACKID_FLAGS)
		return -EINVAL;
	if (map->flags & BPF_F_STACK_BUILD_ID)
		return -EOPNOTSUPP;
	if (n <= skip)
		return -EFAULT;
	ips += skip;
	n -= skip;
	if (n > max)
		n = max;
	hash = skep_jhash(ips, n * 8, 0);
	id = hash & s->mask;
	ret = lock_bucket(map, id, &b);
	if (ret)
		return ret;
	same = b->nr && b->hash == hash;
	if (same && !(flags & BPF_F_FAST_STACK_CMP))
		same = b->nr == n && !memcmp(b->ips, ips, n * 8);
	ret = id;
	if (same) {
		;
	} else if (b->nr && !(flags & BPF_F_REUSE_STACKID)) {
		ret = -EEXIST;
	} else {
		b->nr = 0;
		memcpy(b->ips, ips, n * 8);
		b->hash = hash;
		b->nr = n;
	}
	skep_unlock(&b->lock);
	return ret;
}

static int fetch(struct skep_map *map, const void *key, void *value, bool remove)
{
	struct stackmap *s = map->priv;
	struct bucket *b;
	uint32_t id;
	int err;

	memcpy(&id, key, 4);
	if (id > s->mask)
		return -ENOENT;
	err = lock_bucket(map, id, &b);
	if (err)
		return err;
	if (!b->nr) {
		err = -ENOENT;
	} else {
		uint32_t n = b->nr, max = map->value_size / 8;

		n = n > max ? max : n;
		memcpy(value, b->ips, n * 8);
		memset((uint8_t *)value + n * 8, 0, map->value_size - n * 8);
		if (remove)
			b->nr = 0;
	}
	skep_unlock(&b->lock);
	return err;
}

static int sys_lookup(struct skep_map *map, const void *key, void *value, uint64_t flags,
		      struct skep_env *env)
{
	return fetch(map, key, value, false);
}

static int sys_lookup_delete(struct skep_map *map, const void *key, void *value, uint64_t flags,
			     struct skep_env *env)
{
	return fetch(map, key, value, true);
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

static long stackmap_delete(struct skep_map *map, const void *key, struct skep_env *env)
{
	struct stackmap *s = map->priv;
	struct bucket *b;
	uint32_t id;
	int err;

	memcpy(&id, key, 4);
	if (id > s->mask)
		return -E2BIG;
	err = lock_bucket(map, id, &b);
	if (err)
		return err;
	if (!b->nr)
		err = -ENOENT;
	b->nr = 0;
	skep_unlock(&b->lock);
	return err;
}

static int stackmap_next_key(struct skep_map *map, const void *key, void *next)
{
	struct stackmap *s = map->priv;
	uint64_t id = 0;

	if (key) {
		uint32_t k;

		memcpy(&k, key, 4);
		id = k > s->mask ? 0 : (uint64_t)k + 1;
	}
	for (; id <= s->mask; id++) {
		const struct bucket *b = (struct bucket *)(s->buckets + id * s->stride);

		if (b->nr) {
			uint32_t k = (uint32_t)id;

			memcpy(next, &k, 4);
			return 0;
		}
	}
	return -ENOENT;
}

static uint64_t stackmap_mem_usage(struct skep_map *map)
{
	return map->data.size;
}

const struct skep_map_ops skep_map_stack_trace = {
	.name = "stack_trace",
	.check = stackmap_check,
	.create = stackmap_create,
	.destroy = stackmap_destroy,
	.lookup = no_lookup,
	.update = no_update,
	.delete = stackmap_delete,
	.sys_lookup = sys_lookup,
	.sys_lookup_delete = sys_lookup_delete,
	.sys_update = skep_plain_sys_update,
	.sys_delete = skep_plain_sys_delete,
	.next_key = stackmap_next_key,
	.mem_usage = stackmap_mem_usage,
	.is_inner_ok = true,
	.flags_ok = FLAGS,
	.btf = SKEP_BTF_NONE,
};
