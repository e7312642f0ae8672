// SPDX-License-Identifier: Apache-2.0
/*
 * Bloom filter: bits that are only ever set, so there is no lock and nothing to
 * repair. max_entries and the number of hash functions (map_extra) decide how
 * many bits there are, as in the kernel.
 */
#include <errno.h>
#include <stdatomic.h>
#include <stdlib.h>

#include "map/jhash.h"
#include "map/map.h"
#include "map/types.h"

#define FLAGS     (BPF_F_NUMA_NODE | BPF_F_ZERO_SEED | SKEP_MAP_ACCESS_FLAGS)
#define VALUE_MAX (1u << 22)

struct bloom {
	_Atomic uint64_t *bits;
	uint32_t mask, seed, nhash;
};

static int bloom_check(const union bpf_attr *attr)
{
	if (attr->value_size > VALUE_MAX)
		return -E2BIG;
	if (attr->key_size || !attr->value_size || !attr->max_entries || attr->map_flags & ~FLAGS ||
	    !skep_map_access_ok(attr->map_flags) || attr->map_extra & ~0xfull)
		return -EINVAL;
	return 0;
}

/* The last bit's number: about 7/5 bits per entry and function, a power of two. */
static uint32_t bit_mask(uint32_t entries, uint32_t nhash)
{
	uint64_t bits = (uint64_t)entries * nhash;

	if (bits > UINT32_MAX)
		return UINT32_MAX;
	bits = bits / 5 * 7;
	if (bits > 1u << 31)
		return UINT32_MAX;
	if (bits <= 64)
		return 63;
	return (uint32_t)((1ull << (64 - __builtin_clzll(bits - 1))) - 1);
}

static int bloom_create(struct skep_map *map, const union bpf_attr *attr)
{
	struct bloom *b = calloc(1, sizeof(*b));
	size_t size;
	int err;

	if (!b)
		return -ENOMEM;
	b->nhash = map->extra & 0xf ? map->extra & 0xf : 5;
	b->mask = bit_mask(map->max_entries, b->nhash);
	if (!map->attached && !(map->flags & BPF_F_ZERO_SEED))
		map->seed[0] = skep_random();
	b->seed = (uint32_t)map->seed[0];
	size = ((size_t)b->mask + 1) / 8;
	err = skep_map_seg(map, &map->data, SKEP_MAP_HANDLE, size);
	if (err)
		goto fail;
	err = skep_seg_reserve(&map->data, 0, size);
	if (err)
		goto fail_data;
	b->bits = map->data.base;
	map->priv = b;
	return 0;
fail_data:
	skep_seg_close(&map->data);
fail:
	free(b);
	return err;
}

static void bloom_destroy(struct skep_map *map)
{
	free(map->priv);
}

static uint32_t bit(const struct skep_map *map, const void *value, uint32_t i)
{
	const struct bloom *b = map->priv;

	return skep_jhash(value, map->value_size, b->seed + i) & b->mask;
}

static long bloom_peek(struct skep_map *map, void *value)
{
	const struct bloom *b = map->priv;

	for (uint32_t i = 0; i < b->nhash; i++) {
		uint32_t n = bit(map, value, i);

		if (!(atomic_load_explicit(&b->bits[n / 64], memory_order_acquire) >> (n % 64) & 1))
			return -ENOENT;
	}
	return 0;
}

static long bloom_push(struct skep_map *map, const void *value, uint64_t flags)
{
	const struct bloom *b = map->priv;

	if (flags != BPF_ANY)
		return -EINVAL;
	for (uint32_t i = 0; i < b->nhash; i++) {
		uint32_t n = bit(map, value, i);

		atomic_fetch_or(&b->bits[n / 64], 1ull << (n % 64));
	}
	return 0;
}

static long no_pop(struct skep_map *map, void *value)
{
	return -EOPNOTSUPP;
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
	return -EOPNOTSUPP;
}

static int no_next_key(struct skep_map *map, const void *key, void *next)
{
	return -EOPNOTSUPP;
}

static int sys_peek(struct skep_map *map, const void *key, void *value, uint64_t flags,
		    struct skep_env *env)
{
	return (int)bloom_peek(map, value);
}

static int sys_push(struct skep_map *map, const void *key, const void *value, uint64_t flags,
		    struct skep_env *env)
{
	return (int)bloom_push(map, value, flags);
}

static uint64_t bloom_mem_usage(struct skep_map *map)
{
	return map->data.size;
}

const struct skep_map_ops skep_map_bloom = {
	.name = "bloom_filter",
	.check = bloom_check,
	.create = bloom_create,
	.destroy = bloom_destroy,
	.lookup = no_lookup,
	.update = no_update,
	.delete = no_delete,
	.push = bloom_push,
	.pop = no_pop,
	.peek = bloom_peek,
	.sys_lookup = sys_peek,
	.sys_update = sys_push,
	.sys_delete = skep_plain_sys_delete,
	.next_key = no_next_key,
	.mem_usage = bloom_mem_usage,
	.is_inner_ok = true,
	/* Not .flags_ok: the size is judged first. */
	.btf = SKEP_BTF_NO_KEY,
};
