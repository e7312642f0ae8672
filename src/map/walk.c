/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Walking a hash table: the next key, for_each, batches. Elements come in the
 * order bucket by bucket; an element never moves to another, nor to another slot,
 * so a walk meets every key that stays in the map from its beginning to its end.
 */
#include "map/htab.h"

#include <stdlib.h>

#include "os/caller.h"
#include "os/os.h"

#define load(p)         atomic_load_explicit(p, memory_order_acquire)
#define load_relaxed(p) atomic_load_explicit(p, memory_order_relaxed)

#define WALK_TRIES 64

/* The next bucket from bucket on that may hold elements (its memory was ever touched). */
static uint32_t skip_unbacked(const struct skep_htab *h, uint32_t bucket)
{
	while (bucket < h->nbuckets && !htab_is_backed(h, bucket))
		bucket = (bucket / BACKED_BUCKETS + 1) * BACKED_BUCKETS;
	return bucket;
}

/* The least key so far of those behind a given one. */
struct least {
	struct skep_htab *h;
	const void *after; /* key; NULL: from the start */
	uint32_t after_tag, tag;
	struct htab_ref ref;
};

static int compare(const struct least *l, uint32_t tag, const void *a, uint32_t other_tag,
		   const void *b)
{
	if (tag != other_tag)
		return tag < other_tag ? -1 : 1;
	return skep_compare_racy(a, b, l->h->map->key_size);
}

static int consider(struct least *l, uint32_t tag, const struct htab_ref *ref)
{
	const void *key = htab_key(l->h, ref->elem - 1);

	if (l->after && compare(l, tag, key, l->after_tag, l->after) <= 0)
		return htab_still(ref) ? 0 : -EAGAIN;
	if (l->ref.elem && compare(l, tag, key, l->tag, htab_key(l->h, l->ref.elem - 1)) >= 0)
		return htab_still(ref) ? 0 : -EAGAIN;
	l->ref = *ref;
	l->tag = tag;
	return 0;
}

/*
 * Copies the key that follows `after` in bucket. Inside a bucket keys are walked in the order
 * of their hash bits and bytes, not of their slots: a key that was deleted and came back in
 * another slot while a caller held it must not make the caller miss others. 1: copied, 0:
 * none left, -EAGAIN: it changed.
 */
static int key_after(struct skep_htab *h, uint32_t bucket, const void *after, void *out)
{
	struct least l = {.h = h, .after = after};
	struct htab_bucket *b = &h->buckets[bucket];
	uint64_t chain = load(&b->chain);
	uint32_t at = (uint32_t)chain, steps;
	struct htab_ref ref;
	int err = 0;

	if (after)
		l.after_tag = htab_tag(htab_hash(h, after));
	for (int i = 0; i < HTAB_SLOTS && !err; i++) {
		uint64_t w = load(&b->slot[i]);

		if (htab_slot_elem(w) - 1 >= h->nelems)
			continue;
		ref = (struct htab_ref){htab_slot_elem(w), &b->slot[i], w};
		err = consider(&l, (uint32_t)(w >> 32) & HTAB_TAG_MASK, &ref);
	}
	for (steps = 0; at && at - 1 < h->nelems && steps < h->nelems && !err; steps++) {
		ref = (struct htab_ref){at, &b->chain, chain};
		err = consider(&l, load(&h->nodes[at - 1].tag), &ref);
		at = load(&h->nodes[at - 1].next);
	}
	if (err)
		return err;
	if (l.ref.elem)
		skep_copy_racy(out, htab_key(h, l.ref.elem - 1), h->map->key_size);
	if ((l.ref.elem && !htab_still(&l.ref)) || load(&b->chain) != chain)
		return -EAGAIN;
	return l.ref.elem != 0;
}

/* The same of a bucket that others go on changing: in the end with its lock held. 0 then also
 * where somebody changes it without the lock. */
static int key_after_settled(struct skep_htab *h, uint32_t bucket, const void *after, void *out)
{
	struct htab_stripe *st;
	int got;

	for (int tries = 0; tries < WALK_TRIES; tries++) {
		got = key_after(h, bucket, after, out);
		if (got >= 0)
			return got;
	}
	if (htab_lock(h, bucket, &st) < 0)
		return 0;
	got = key_after(h, bucket, after, out);
	htab_unlock(st);
	return got > 0;
}

static int first_from(struct skep_htab *h, uint32_t bucket, const void *after, void *out)
{
	for (bucket = skip_unbacked(h, bucket); bucket < h->nbuckets;) {
		if (key_after_settled(h, bucket, after, out))
			return 0;
		after = NULL;
		bucket = skip_unbacked(h, bucket + 1);
	}
	return -ENOENT;
}

int htab_next_key(struct skep_map *map, const void *key, void *next)
{
	struct skep_htab *h = htab_of(map);

	/* A key that is not there (any more) begins anew, as in the kernel. */
	if (!key || !htab_find(h, key, false).elem)
		return first_from(h, 0, NULL, next);
	return first_from(h, (uint32_t)htab_hash(h, key) & h->bmask, key, next);
}

/* ---- for_each ---- */

#define CHAIN_PART 32

struct visit {
	struct skep_map *map;
	uint64_t func, ctx;
	struct skep_env *env;
	uint32_t n;
};

/* The callback may change the map, this element included. */
static bool call(struct visit *v, uint32_t elem)
{
	struct skep_htab *h = htab_of(v->map);
	void *value = h->inner    ? (void *)load(&h->inner[elem])
		      : h->percpu ? htab_percpu_value(h, elem, v->env->cpu)
				  : htab_value(h, elem);

	v->n++;
	return v->env->call(v->env, v->func, (uintptr_t)v->map, (uintptr_t)htab_key(h, elem),
			    (uintptr_t)value, v->ctx, 0);
}

/* Elements skip, skip + 1, ... of the chain, as many as fit. */
static uint32_t chain_part(struct skep_htab *h, struct htab_bucket *b, uint32_t skip,
			   uint32_t part[CHAIN_PART])
{
	uint32_t n = 0, at = (uint32_t)load(&b->chain);

	for (uint32_t i = 0; at && at - 1 < h->nelems && n < CHAIN_PART && i < h->nelems; i++) {
		if (i >= skip)
			part[n++] = at - 1;
		at = load(&h->nodes[at - 1].next);
	}
	return n;
}

static bool each_chained(struct visit *v, uint32_t bucket)
{
	struct skep_htab *h = htab_of(v->map);
	uint32_t part[CHAIN_PART], n, skip = 0;

	do {
		n = chain_part(h, &h->buckets[bucket], skip, part);
		for (uint32_t i = 0; i < n; i++)
			if (load(&h->nodes[part[i]].where) == bucket + 1 && call(v, part[i]))
				return true;
		skip += n;
	} while (n == CHAIN_PART && skip < h->nelems);
	return false;
}

long htab_for_each(struct skep_map *map, uint64_t func, uint64_t ctx, struct skep_env *env)
{
	struct visit v = {map, func, ctx, env, 0};
	struct skep_htab *h = htab_of(map);

	for (uint32_t bucket = skip_unbacked(h, 0); bucket < h->nbuckets;
	     bucket = skip_unbacked(h, bucket + 1)) {
		struct htab_bucket *b = &h->buckets[bucket];

		for (int i = 0; i < HTAB_SLOTS; i++) {
			uint32_t elem = htab_slot_elem(load(&b->slot[i])) - 1;

			if (elem < h->nelems && call(&v, elem))
				return v.n;
		}
		if ((uint32_t)load(&b->chain) && each_chained(&v, bucket))
			return v.n;
	}
	return v.n;
}

/* ---- Batches ---- */

/*
 * The token is a place: bucket * 8 + slot, 7 being the chain. Unlike the kernel's (a
 * bucket) it can stop inside a bucket, so a count of 1 will do unless there is a chain.
 */
#define PLACES 8

struct batch {
	struct skep_map *map;
	struct skep_env *env;
	uint64_t keys, values, flags;
	uint32_t value_size, total, max;
	bool delete;
	uint8_t *key, *value;
};

static int take(struct batch *bt, struct htab_stripe *st, uint32_t bucket, struct htab_pos *pos)
{
	struct skep_map *map = bt->map;
	struct skep_htab *h = htab_of(map);

	skep_copy_racy(bt->key, htab_key(h, pos->elem - 1), map->key_size);
	htab_copy_out(map, pos->elem - 1, bt->value, bt->flags, bt->env);
	if (skep_caller_write((void *)(uintptr_t)(bt->keys + (uint64_t)bt->total * map->key_size),
			      bt->key, map->key_size) ||
	    skep_caller_write(
		    (void *)(uintptr_t)(bt->values + (uint64_t)bt->total * bt->value_size),
		    bt->value, bt->value_size))
		return -EFAULT;
	bt->total++;
	if (bt->delete)
		htab_remove(h, st, bucket, pos, bt->env ? bt->env->cpu : 0);
	return 0;
}

static uint32_t chain_length(struct skep_htab *h, struct htab_bucket *b)
{
	uint32_t n = 0, at = (uint32_t)load_relaxed(&b->chain);

	for (; at && at - 1 < h->nelems && n < h->nelems; n++)
		at = load_relaxed(&h->nodes[at - 1].next);
	return n;
}

/* The whole chain or nothing: it has no places to stop at. */
static int take_chain(struct batch *bt, struct htab_stripe *st, uint32_t bucket)
{
	struct skep_htab *h = htab_of(bt->map);
	struct htab_bucket *b = &h->buckets[bucket];
	uint32_t n = chain_length(h, b), at = (uint32_t)load_relaxed(&b->chain);
	int err = 0;

	if (n > bt->max - bt->total)
		return bt->total ? 1 : -ENOSPC;
	while (n-- && !err) {
		struct htab_pos pos = {at, -1, 0};

		if (!at || at - 1 >= h->nelems)
			break;
		at = load_relaxed(&h->nodes[at - 1].next);
		err = take(bt, st, bucket, &pos);
	}
	return err;
}

/* From place on; advances it over what was taken. 0: the bucket is done, 1: full, -errno. */
static int take_bucket(struct batch *bt, uint32_t *place)
{
	struct skep_htab *h = htab_of(bt->map);
	uint32_t bucket = *place / PLACES;
	struct htab_stripe *st;
	int err = htab_lock(h, bucket, &st);

	if (err)
		return err;
	for (; !err && *place % PLACES < HTAB_SLOTS; ++*place) {
		uint64_t w = load_relaxed(&h->buckets[bucket].slot[*place % PLACES]);
		struct htab_pos pos = {htab_slot_elem(w), (int)(*place % PLACES), 0};

		if (pos.elem - 1 >= h->nelems)
			continue;
		if (bt->total == bt->max) {
			err = 1;
			break;
		}
		err = take(bt, st, bucket, &pos);
	}
	if (!err)
		err = take_chain(bt, st, bucket);
	if (!err)
		++*place;
	htab_unlock(st);
	return err;
}

static int run_batch(struct batch *bt, uint32_t *place)
{
	struct skep_htab *h = htab_of(bt->map);
	int err;

	while (*place / PLACES < h->nbuckets) {
		if (!htab_is_backed(h, *place / PLACES)) {
			*place = skip_unbacked(h, *place / PLACES) * PLACES;
			continue;
		}
		err = take_bucket(bt, place);
		if (err)
			return err < 0 ? err : 0;
	}
	return -ENOENT;
}

int htab_lookup_batch(struct skep_map *map, const union bpf_attr *attr, union bpf_attr *uattr,
		      bool and_delete, struct skep_env *env)
{
	struct skep_htab *h = htab_of(map);
	struct batch bt = {.map = map,
			   .env = env,
			   .keys = attr->batch.keys,
			   .values = attr->batch.values,
			   .flags = attr->batch.elem_flags,
			   .value_size = skep_map_sys_value_size(map),
			   .max = attr->batch.count,
			   .delete = and_delete};
	uint32_t place = 0, zero = 0;
	int err;

	if ((bt.flags & ~(uint64_t)BPF_F_LOCK) || attr->batch.flags ||
	    ((bt.flags & BPF_F_LOCK) && !skep_map_spin_lock(map)))
		return -EINVAL;
	if (!bt.max)
		return 0;
	if (skep_caller_write(&uattr->batch.count, &zero, sizeof(zero)))
		return -EFAULT;
	if (attr->batch.in_batch &&
	    skep_caller_read(&place, (void *)(uintptr_t)attr->batch.in_batch, sizeof(place)))
		return -EFAULT;
	if (place / PLACES >= h->nbuckets)
		return -ENOENT;
	bt.key = malloc((size_t)map->key_size + 8 + bt.value_size);
	if (!bt.key)
		return -ENOMEM;
	bt.value = bt.key + skep_round_up(map->key_size, 8);
	err = run_batch(&bt, &place);
	free(bt.key);
	if (err == -EFAULT)
		return err;
	if (skep_caller_write((void *)(uintptr_t)attr->batch.out_batch, &place, sizeof(place)) ||
	    skep_caller_write(&uattr->batch.count, &bt.total, sizeof(bt.total)))
		return -EFAULT;
	return err;
}
