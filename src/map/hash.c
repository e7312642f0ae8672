/* SPDX-License-Identifier: Apache-2.0 */
/* Hash and per-CPU hash: creation, and the operations of programs and system calls. */
#include "map/htab.h"

#include <stdlib.h>
#include <unistd.h>

#include "os/os.h"

/* The kernel's element header takes this much of its largest allocation. */
#define ELEM_MAX    ((4u << 20) - 48)
#define BUCKETS_MAX (1u << 27) /* kernel: 2^28 buckets of 16 bytes don't fit 32 bits */
#define CHUNK_BYTES (64u << 10)
#define STRIPES_MAX 1024u
#define SHARDS_MAX  16u

#define load(p)     atomic_load_explicit(p, memory_order_acquire)
#define store(p, v) atomic_store_explicit(p, v, memory_order_release)

/* ---- Creation ---- */

int htab_check(const union bpf_attr *attr)
{
	uint32_t type = attr->map_type, flags = attr->map_flags;
	bool percpu = type == BPF_MAP_TYPE_PERCPU_HASH || type == BPF_MAP_TYPE_LRU_PERCPU_HASH;
	bool lru = type == BPF_MAP_TYPE_LRU_HASH || type == BPF_MAP_TYPE_LRU_PERCPU_HASH;

	if (!skep_map_access_ok(flags))
		return -EINVAL;
	if (!lru && (flags & BPF_F_NO_COMMON_LRU))
		return -EINVAL;
	if (lru && (flags & BPF_F_NO_PREALLOC))
		return -SKEP_ENOTSUPP;
	if ((percpu || (flags & BPF_F_NO_COMMON_LRU)) && (flags & BPF_F_NUMA_NODE))
		return -EINVAL;
	if (!attr->max_entries || !attr->key_size || !attr->value_size)
		return -EINVAL;
	if ((uint64_t)attr->key_size + attr->value_size >= ELEM_MAX)
		return -E2BIG;
	if (percpu && skep_round_up(attr->value_size, 8) > SKEP_PERCPU_VALUE_MAX)
		return -E2BIG;
	return 0;
}

/* Sizes and places of the parts of both segments. */
struct layout {
	uint64_t stripes, shards, backed, nodes, buckets, ctl_size;
	uint64_t percpu, data_size;
};

static void plan(struct skep_htab *h, const struct skep_map *map, bool percpu, struct layout *l)
{
	uint64_t at = 0;

	l->stripes = at;
	at += (uint64_t)h->nstripes * sizeof(struct htab_stripe);
	l->shards = at = skep_round_up(at, 128);
	at += (uint64_t)h->nshards * sizeof(struct htab_shard);
	l->backed = at;
	h->backed_size = (h->nbuckets + BACKED_BUCKETS - 1) / BACKED_BUCKETS;
	at = skep_round_up(at + h->backed_size, 64);
	l->nodes = at;
	at += (uint64_t)h->nelems * sizeof(struct htab_node);
	l->buckets = at = skep_round_up(at, 4096);
	at += (uint64_t)h->nbuckets * sizeof(struct htab_bucket);
	l->ctl_size = at;

	l->percpu = l->data_size = skep_round_up(h->stride * h->nelems, 4096);
	if (percpu) {
		h->percpu_stride = skep_round_up((uint64_t)map->elem_size * h->nelems, 128);
		l->data_size += h->percpu_stride * map->cpus;
	}
}

/* Which elements are whose at the start: ranges of the shards, a spare for each stripe. */
static int init_shared(struct skep_htab *h, const struct layout *l)
{
	struct skep_map *map = h->map;
	uint64_t bytes = h->percpu && map->elem_size > h->stride ? map->elem_size : h->stride;
	uint64_t head = (uint64_t)((char *)(h->nodes + 0) - (char *)map->ctl.base);
	int err;

	h->lazy = l->ctl_size > SKEP_SEG_EAGER;
	err = skep_seg_reserve(&map->ctl, 0, h->lazy ? head : l->ctl_size);
	if (!err && h->lazy)
		err = skep_seg_reserve(&map->ctl,
				       head + map->max_entries * sizeof(struct htab_node),
				       (h->nelems - map->max_entries) * sizeof(struct htab_node));
	if (err)
		return err;
	h->chunk = 0;
	if (l->data_size <= SKEP_SEG_EAGER && !h->lazy)
		err = skep_seg_reserve(&map->data, 0, l->data_size);
	else
		h->chunk = bytes >= CHUNK_BYTES ? 1 : (uint32_t)(CHUNK_BYTES / bytes);
	if (err || map->attached)
		return err;
	for (uint32_t i = 0; i < h->nshards; i++) {
		store(&h->shards[i].fresh, i * h->per_shard);
		store(&h->shards[i].sweep, HTAB_SWEEP_ONE);
	}
	for (uint32_t i = 0; i < h->nstripes; i++) {
		uint32_t elem = map->max_entries + i;

		store(&h->nodes[elem].where, WHERE_SPARE | i);
		if (h->partitioned)
			store(&h->nodes[elem].lru, HTAB_NO_HOME);
		store(&h->stripes[i].spare, elem + 1);
		store(&h->stripes[i].spare_backed, !h->chunk);
	}
	return 0;
}

static uint32_t shards_for(const struct skep_map *map, bool partitioned)
{
	uint32_t n = map->cpus < SHARDS_MAX || partitioned ? map->cpus : SHARDS_MAX;

	if (!partitioned && n > map->max_entries)
		n = map->max_entries;
	return n ? n : 1;
}

int htab_create(struct skep_map *map, bool lru, bool partitioned)
{
	bool percpu = map->ops->percpu;
	struct skep_htab *h;
	struct layout l;
	uint64_t want;
	int err;

	if (skep_pow2_up(map->max_entries) > BUCKETS_MAX)
		return -E2BIG;
	h = calloc(1, sizeof(*h));
	if (!h)
		return -ENOMEM;
	map->priv = h;
	h->map = map;
	h->parts = map->obj.skep->parts;
	h->key_size = map->key_size;
	h->lru = lru;
	h->partitioned = partitioned;
	if (partitioned) { /* the kernel's rounding */
		uint32_t n = map->max_entries, up = (n + map->cpus - 1) / map->cpus * map->cpus;

		map->max_entries = up < n ? n / map->cpus * map->cpus : up;
	}
	h->value_off = (uint32_t)skep_round_up(map->key_size, 8);
	h->stride = h->value_off + (percpu ? 0 : map->elem_size);
	/* At the fullest three to four and a half of seven slots are taken, on average less. */
	h->nbuckets = (uint32_t)skep_pow2_up((map->max_entries + 3) / 4);
	want = skep_pow2_up(map->cpus) * 16;
	h->nstripes = h->nbuckets < want ? h->nbuckets : (uint32_t)want;
	if (h->nstripes > STRIPES_MAX)
		h->nstripes = STRIPES_MAX;
	h->nshards = shards_for(map, partitioned);
	h->per_shard = (map->max_entries + h->nshards - 1) / h->nshards;
	h->bmask = h->nbuckets - 1;
	h->smask = h->nstripes - 1;
	h->nelems = map->max_entries + h->nstripes;
	plan(h, map, percpu, &l);
	err = skep_map_seg(map, &map->data, SKEP_MAP_HANDLE, l.data_size);
	if (!err)
		err = skep_map_seg(map, &map->ctl, "control", l.ctl_size);
	if (err)
		return err;
	h->stripes = (void *)((char *)map->ctl.base + l.stripes);
	h->shards = (void *)((char *)map->ctl.base + l.shards);
	h->backed = (void *)((char *)map->ctl.base + l.backed);
	h->nodes = (void *)((char *)map->ctl.base + l.nodes);
	h->buckets = (void *)((char *)map->ctl.base + l.buckets);
	h->elems = map->data.base;
	if (percpu)
		h->percpu = (char *)map->data.base + l.percpu;
	if (map->flags & BPF_F_ZERO_SEED) {
		map->seed[0] = 0;
		map->seed[1] = 0x9e3779b97f4a7c15ull;
	} else if (!map->attached) {
		map->seed[0] = skep_random();
		map->seed[1] = skep_random() | 1;
	}
	h->seed[0] = map->seed[0];
	h->seed[1] = map->seed[1];
	return init_shared(h, &l);
}

void htab_destroy(struct skep_map *map)
{
	free(map->priv);
	map->priv = NULL;
}

static int hash_create(struct skep_map *map, const union bpf_attr *attr)
{
	(void)attr;
	return htab_create(map, false, false);
}

/* ---- For programs ---- */

void *htab_prog_lookup(struct skep_map *map, const void *key, struct skep_env *env)
{
	uint32_t elem = htab_lookup(htab_of(map), key);

	(void)env;
	return elem ? htab_value(htab_of(map), elem - 1) : NULL;
}

static void *percpu_lookup(struct skep_map *map, const void *key, struct skep_env *env)
{
	uint32_t elem = htab_lookup(htab_of(map), key);

	return elem ? htab_percpu_value(htab_of(map), elem - 1, env->cpu) : NULL;
}

static void *percpu_lookup_cpu(struct skep_map *map, const void *key, uint32_t cpu)
{
	uint32_t elem;

	if (cpu >= map->cpus)
		return NULL;
	elem = htab_lookup(htab_of(map), key);
	return elem ? htab_percpu_value(htab_of(map), elem - 1, cpu) : NULL;
}

long htab_prog_update(struct skep_map *map, const void *key, const void *value, uint64_t flags,
		      struct skep_env *env)
{
	return htab_update(map, key, value, flags, HTAB_PROG, env);
}

/* Deletes key; with value, hands the value out first. */
static int remove_key(struct skep_map *map, const void *key, void *value, uint64_t flags,
		      struct skep_env *env)
{
	struct skep_htab *h = htab_of(map);
	uint64_t hash = htab_hash(h, key);
	uint32_t bucket = (uint32_t)hash & h->bmask;
	struct htab_stripe *st;
	struct htab_pos pos;
	int err = htab_lock(h, bucket, &st);

	if (err)
		return err;
	pos = htab_find_locked(h, bucket, key, hash);
	if (pos.elem) {
		if (value)
			htab_copy_out(map, pos.elem - 1, value, flags, env);
		htab_remove(h, st, bucket, &pos, env ? env->cpu : 0);
	} else {
		err = -ENOENT;
	}
	htab_unlock(st);
	return err;
}

long htab_prog_delete(struct skep_map *map, const void *key, struct skep_env *env)
{
	return remove_key(map, key, NULL, 0, env);
}

/* ---- For system calls ---- */

void htab_copy_out(struct skep_map *map, uint32_t elem, void *value, uint64_t flags,
		   struct skep_env *env)
{
	struct skep_htab *h = htab_of(map);

	if (h->percpu) {
		for (uint32_t cpu = 0; cpu < map->cpus; cpu++)
			skep_map_copy_cpu(map, (char *)value + (size_t)map->elem_size * cpu,
					  htab_percpu_value(h, elem, cpu), true);
	} else if (flags & BPF_F_LOCK) {
		skep_map_copy_locked(map, htab_value(h, elem), value, false, env);
	} else {
		skep_map_copy_out(map, value, htab_value(h, elem));
	}
}

#define COPY_TRIES 16

int htab_sys_lookup(struct skep_map *map, const void *key, void *value, uint64_t flags,
		    struct skep_env *env)
{
	struct skep_htab *h = htab_of(map);
	struct htab_ref ref;

	/* A value that was replaced while it was copied may be torn: copy the new one. After
	 * some tries be content with what the kernel gives. */
	for (int i = 0; i < COPY_TRIES; i++) {
		ref = htab_find(h, key, false);
		if (!ref.elem)
			return -ENOENT;
		htab_copy_out(map, ref.elem - 1, value, flags, env);
		if (htab_still(&ref))
			break;
	}
	return 0;
}

int htab_sys_update(struct skep_map *map, const void *key, const void *value, uint64_t flags,
		    struct skep_env *env)
{
	return (int)htab_update(map, key, value, flags, HTAB_SYS, env);
}

int htab_sys_delete(struct skep_map *map, const void *key, struct skep_env *env)
{
	return remove_key(map, key, NULL, 0, env);
}

int htab_sys_lookup_delete(struct skep_map *map, const void *key, void *value, uint64_t flags,
			   struct skep_env *env)
{
	if ((flags & ~(uint64_t)BPF_F_LOCK) || ((flags & BPF_F_LOCK) && !skep_map_spin_lock(map)))
		return -EINVAL;
	return remove_key(map, key, value, flags, env);
}

bool htab_contains(const struct skep_map *map, uint64_t off, size_t size)
{
	const struct skep_htab *h = htab_of(map);

	if (off < h->stride * h->nelems) {
		off %= h->stride;
		if (off < h->value_off)
			return off + size <= map->key_size;
		return !h->percpu && off - h->value_off + size <= map->value_size;
	}
	if (!h->percpu || off < (uint64_t)(h->percpu - h->elems))
		return false;
	off = (off - (uint64_t)(h->percpu - h->elems)) % h->percpu_stride;
	return off / map->elem_size < h->nelems && off % map->elem_size + size <= map->value_size;
}

uint64_t htab_mem_usage(struct skep_map *map)
{
	return sizeof(*map) + sizeof(struct skep_htab) + map->data.size + map->ctl.size;
}

const struct skep_map_ops skep_map_hash = {
	HTAB_OPS,
	.name = "hash",
	.create = hash_create,
	.lookup = htab_prog_lookup,
	.unprivileged = true,
};

const struct skep_map_ops skep_map_percpu_hash = {
	HTAB_OPS,
	.name = "percpu_hash",
	.create = hash_create,
	.lookup = percpu_lookup,
	.lookup_percpu = percpu_lookup_cpu,
	.percpu = true,
	.unprivileged = true,
};
