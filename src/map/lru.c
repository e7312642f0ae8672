/* SPDX-License-Identifier: Apache-2.0 */
/*
 * LRU hash tables: the hash table, and a hand that goes round its elements and chooses
 * what makes room.
 *
 * A lookup sets the ref bit in the slot that it reads anyway. The hand takes the first
 * element without one. An element that had one loses it and is marked with the number of
 * the sweep: it has survived this sweep and is passed over until the next. So elements that
 * came in since are looked at sooner than those that have proved themselves, and what is
 * used once goes first; that is better than least recently used where use is skewed (the
 * idea is that of SIEVE). A new element takes the place of the one that made room, right
 * behind the hand, so the order round the clock is the order of insertion, and no list has
 * to be kept: lookups write nothing when the bit is set, and a dead updater breaks nothing.
 * A sweep ends when less than an eighth of the elements met in a turn was not marked yet.
 *
 * With BPF_F_NO_COMMON_LRU every CPU slot has its own elements, free list and hand;
 * node.lru says which CPU's an element is.
 */
#include "map/htab.h"

#define load(p) atomic_load_explicit(p, memory_order_acquire)

/* Elements looked at with regard to bits and marks, before any will do: a turn, or this many.
 * It bounds what one update can cost when everything was used since the last turn. */
#define RESPECT 1024u
/* Elements freed at once in large maps: locks are taken less often then. */
#define BATCH_MAX 8u

static bool take_ref_word(_Atomic uint64_t *word, uint64_t w)
{
	if (!(w & HTAB_REF))
		return false;
	atomic_compare_exchange_strong(word, &w, w & ~HTAB_REF);
	return true;
}

/* Clears elem's ref bit; true if it was set. Without lock: a wrong answer costs a turn. */
static bool take_ref(struct skep_htab *h, uint32_t bucket, uint32_t elem)
{
	struct htab_bucket *b = &h->buckets[bucket];

	for (int i = 0; i < HTAB_SLOTS; i++) {
		uint64_t w = load(&b->slot[i]);

		if (htab_slot_elem(w) == elem + 1)
			return take_ref_word(&b->slot[i], w);
	}
	return atomic_fetch_and(&h->nodes[elem].lru, ~HTAB_LRU_REF) & HTAB_LRU_REF;
}

static bool survived(struct htab_node *node, uint32_t sweep)
{
	return (load(&node->lru) & HTAB_SWEEP_MASK) == sweep;
}

static void mark(struct htab_node *node, uint32_t sweep)
{
	atomic_fetch_and(&node->lru, ~HTAB_SWEEP_MASK);
	atomic_fetch_or(&node->lru, sweep);
}

/* The end of a turn: is it the end of the sweep as well? 0 marks nobody. */
static uint32_t end_turn(struct htab_shard *sh, uint32_t sweep)
{
	uint32_t met = atomic_exchange(&sh->met, 0), unmarked = atomic_exchange(&sh->unmarked, 0);

	if (unmarked >= met / 8)
		return sweep;
	sweep = (sweep + HTAB_SWEEP_ONE) & HTAB_SWEEP_MASK;
	if (!sweep)
		sweep = HTAB_SWEEP_ONE;
	atomic_store(&sh->sweep, sweep);
	return sweep;
}

static bool evict_elem(struct skep_htab *h, uint32_t bucket, uint32_t elem, uint32_t hint)
{
	struct htab_stripe *st;
	struct htab_pos pos;

	if (!htab_is_backed(h, bucket) || htab_lock(h, bucket, &st))
		return false;
	pos = htab_find_elem(h, bucket, elem);
	if (pos.elem)
		htab_remove(h, st, bucket, &pos, hint);
	htab_unlock(st);
	return pos.elem;
}

bool htab_evict(struct skep_htab *h, uint32_t hint)
{
	uint32_t shard = h->partitioned ? hint : 0, turn = 2 * h->nelems + 1;
	uint32_t respect = h->nelems < RESPECT ? h->nelems : RESPECT;
	uint32_t batch = h->map->max_entries / 512 + 1, freed = 0, met = 0, unmarked = 0;
	struct htab_shard *sh = &h->shards[shard];
	uint32_t at = load(&sh->hand) % h->nelems, sweep = load(&sh->sweep) & HTAB_SWEEP_MASK;

	if (h->partitioned || batch > BATCH_MAX)
		batch = h->partitioned ? 1 : BATCH_MAX;
	for (uint32_t i = 0; i < turn && freed < batch; i++) {
		uint32_t elem = at, bucket;
		struct htab_node *node = &h->nodes[elem];

		if (++at == h->nelems) {
			at = 0;
			atomic_fetch_add(&sh->met, met);
			atomic_fetch_add(&sh->unmarked, unmarked);
			met = unmarked = 0;
			sweep = end_turn(sh, sweep);
		}
		bucket = load(&node->where) - 1;
		if (bucket >= h->nbuckets)
			continue;
		if (h->partitioned && (load(&node->lru) & HTAB_HOME_MASK) != shard)
			continue;
		met++;
		if (i < respect) {
			if (survived(node, sweep))
				continue;
			unmarked++;
			if (take_ref(h, bucket, elem)) {
				mark(node, sweep);
				continue;
			}
		}
		freed += evict_elem(h, bucket, elem, hint);
	}
	/* Others may have moved it meanwhile; then some elements are met twice. */
	atomic_store_explicit(&sh->hand, at, memory_order_relaxed);
	atomic_fetch_add_explicit(&sh->met, met, memory_order_relaxed);
	atomic_fetch_add_explicit(&sh->unmarked, unmarked, memory_order_relaxed);
	return freed;
}

static bool is_partitioned(const union bpf_attr *attr)
{
	return attr->map_flags & BPF_F_NO_COMMON_LRU;
}

static int lru_create(struct skep_map *map, const union bpf_attr *attr)
{
	return htab_create(map, true, is_partitioned(attr));
}

static void *lru_lookup(struct skep_map *map, const void *key, struct skep_env *env)
{
	uint32_t elem = htab_lookup_ref(htab_of(map), key);

	(void)env;
	return elem ? htab_value(htab_of(map), elem - 1) : NULL;
}

static void *percpu_lookup(struct skep_map *map, const void *key, struct skep_env *env)
{
	uint32_t elem = htab_lookup_ref(htab_of(map), key);

	return elem ? htab_percpu_value(htab_of(map), elem - 1, env->cpu) : NULL;
}

static void *percpu_lookup_cpu(struct skep_map *map, const void *key, uint32_t cpu)
{
	uint32_t elem;

	if (cpu >= map->cpus)
		return NULL;
	elem = htab_lookup_ref(htab_of(map), key);
	return elem ? htab_percpu_value(htab_of(map), elem - 1, cpu) : NULL;
}

const struct skep_map_ops skep_map_lru_hash = {
	HTAB_OPS,
	.name = "lru_hash",
	.create = lru_create,
	.lookup = lru_lookup,
};

const struct skep_map_ops skep_map_lru_percpu_hash = {
	HTAB_OPS,
	.name = "lru_percpu_hash",
	.create = lru_create,
	.lookup = percpu_lookup,
	.lookup_percpu = percpu_lookup_cpu,
	.percpu = true,
};
