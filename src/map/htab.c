/* SPDX-License-Identifier: Apache-2.0 */
/* Finding elements, and the changes that a dead updater can't break. See htab.h. */
#include "map/htab.h"

#if defined(__SSE2__)
#include <emmintrin.h>
#endif

#include "os/os.h"

#define LOOKUP_TRIES 16

#define load(p)             atomic_load_explicit(p, memory_order_acquire)
#define load_relaxed(p)     atomic_load_explicit(p, memory_order_relaxed)
#define store(p, v)         atomic_store_explicit(p, v, memory_order_release)
#define store_relaxed(p, v) atomic_store_explicit(p, v, memory_order_relaxed)

/* ---- Hashing ---- */

static inline uint64_t mix(uint64_t a, uint64_t b)
{
	unsigned __int128 r = (unsigned __int128)a * b;

	return (uint64_t)r ^ (uint64_t)(r >> 64);
}

static inline uint64_t load64(const void *p)
{
	uint64_t v;

	memcpy(&v, p, sizeof(v));
	return v;
}

static inline uint32_t load32(const void *p)
{
	uint32_t v;

	memcpy(&v, p, sizeof(v));
	return v;
}

#define HASH_A 0x9e3779b97f4a7c15ull
#define HASH_B 0xd1342543de82ef95ull

static uint64_t hash_long(const struct skep_htab *h, const uint8_t *p, uint32_t len)
{
	uint64_t x = h->seed[0] ^ (len * HASH_B), a = 0, b = 0;
	uint32_t left = len;

	for (; left > 16; p += 16, left -= 16)
		x = mix(load64(p) ^ h->seed[1], load64(p + 8) ^ x);
	/* 1 to 16 bytes are left: two words that overlap where there are fewer. */
	if (left >= 8) {
		a = load64(p);
		b = load64(p + left - 8);
	} else if (left >= 4) {
		a = load32(p);
		b = load32(p + left - 4);
	} else {
		a = (uint64_t)p[0] << 16 | (uint64_t)p[left >> 1] << 8 | p[left - 1];
	}
	x = mix(a ^ h->seed[1], b ^ x);
	return mix(x ^ HASH_A, h->seed[1] ^ HASH_B);
}

static inline uint64_t hash4(const struct skep_htab *h, const void *key)
{
	return mix(load32(key) ^ h->seed[0], h->seed[1]);
}

static inline uint64_t hash8(const struct skep_htab *h, const void *key)
{
	return mix(load64(key) ^ h->seed[0], h->seed[1]);
}

uint64_t htab_hash(const struct skep_htab *h, const void *key)
{
	if (h->key_size == 4)
		return hash4(h, key);
	if (h->key_size == 8)
		return hash8(h, key);
	return hash_long(h, key, h->key_size);
}

static inline uint32_t bucket_of(const struct skep_htab *h, uint64_t hash)
{
	return (uint32_t)hash & h->bmask;
}

/* ---- Finding ---- */

static inline void fence_acquire(void)
{
#ifdef SKEP_TSAN
	__asm__ volatile("" ::: "memory");
#else
	atomic_thread_fence(memory_order_acquire);
#endif
}

bool htab_still(const struct htab_ref *ref)
{
	fence_acquire();
	return !((load_relaxed(ref->word) ^ ref->seen) & ~HTAB_REF);
}

static inline bool key_equal(const struct skep_htab *h, uint32_t elem, const void *key,
			     uint32_t size)
{
	const char *k = h->elems + h->stride * elem;

	if (size == 4)
		return __atomic_load_n((const uint32_t *)k, __ATOMIC_RELAXED) == load32(key);
	if (size == 8)
		return __atomic_load_n((const uint64_t *)k, __ATOMIC_RELAXED) == load64(key);
	return skep_equal_racy(k, key, size);
}

/* A chain is as long as it is; its sequence says whether the walk saw all of it. */
static bool find_chained(const struct skep_htab *h, struct htab_bucket *b, uint64_t chain,
			 uint32_t tag, const void *key, bool ref_bit, uint64_t *budget,
			 struct htab_ref *ref)
{
	uint32_t at = (uint32_t)chain;

	for (; at && at - 1 < h->nelems && *budget; (*budget)--) {
		struct htab_node *node = &h->nodes[at - 1];

		if (load(&node->tag) == tag && key_equal(h, at - 1, key, h->key_size)) {
			*ref = (struct htab_ref){at, &b->chain, chain};
			if (!htab_still(ref))
				return false;
			if (ref_bit && !(load_relaxed(&node->lru) & HTAB_LRU_REF))
				atomic_fetch_or_explicit(&node->lru, HTAB_LRU_REF,
							 memory_order_relaxed);
			return true;
		}
		at = load(&node->next);
	}
	ref->elem = 0;
	return load(&b->chain) == chain;
}

/* Too much changed under the reader's eyes: ask for quiet. */
static struct htab_ref find_quiet(const struct skep_htab *ch, const void *key, uint64_t hash)
{
	struct skep_htab *h = (struct skep_htab *)ch;
	struct htab_ref ref = {0, NULL, 0};
	struct htab_stripe *st;
	struct htab_pos pos;
	uint32_t bucket = bucket_of(h, hash);

	if (htab_lock(h, bucket, &st) < 0)
		return ref;
	pos = htab_find_locked(h, bucket, key, hash);
	ref.elem = pos.elem;
	ref.word = pos.slot >= 0 ? &h->buckets[bucket].slot[pos.slot] : &h->buckets[bucket].chain;
	ref.seen = load_relaxed(ref.word);
	htab_unlock(st);
	return ref;
}

/* Slots whose hash bits are tag, and slots that are empty, a bit each: hints, every slot is
 * loaded again. All at once, because which slot it is can't be predicted. */
#if defined(__SSE2__) && !defined(SKEP_TSAN)
/* Upper (0xdd) or lower (0x88) halves of slots 0-3 and 4-7. */
#define HALVES(b, n, which)                                                                        \
	_mm_castps_si128(_mm_shuffle_ps(                                                           \
		_mm_castsi128_ps(_mm_load_si128((const __m128i *)(b) + 2 * (n))),                  \
		_mm_castsi128_ps(_mm_load_si128((const __m128i *)(b) + 2 * (n) + 1)), which))

static inline uint32_t bits_of(__m128i low, __m128i high)
{
	uint32_t bits = (uint32_t)_mm_movemask_ps(_mm_castsi128_ps(low)) |
			(uint32_t)_mm_movemask_ps(_mm_castsi128_ps(high)) << 4;

	return bits & ((1u << HTAB_SLOTS) - 1);
}

static inline uint32_t match(const struct htab_bucket *b, uint32_t tag)
{
	const __m128i mask = _mm_set1_epi32((int)HTAB_TAG_MASK), want = _mm_set1_epi32((int)tag);

	return bits_of(_mm_cmpeq_epi32(_mm_and_si128(HALVES(b, 0, 0xdd), mask), want),
		       _mm_cmpeq_epi32(_mm_and_si128(HALVES(b, 1, 0xdd), mask), want));
}

static inline uint32_t empty_slots(const struct htab_bucket *b)
{
	const __m128i mask = _mm_set1_epi32((int)HTAB_ELEM_MASK), zero = _mm_setzero_si128();

	return bits_of(_mm_cmpeq_epi32(_mm_and_si128(HALVES(b, 0, 0x88), mask), zero),
		       _mm_cmpeq_epi32(_mm_and_si128(HALVES(b, 1, 0x88), mask), zero));
}
#else
static inline uint32_t match(const struct htab_bucket *b, uint32_t tag)
{
	uint32_t found = 0;

	for (int i = 0; i < HTAB_SLOTS; i++)
		found |= (uint32_t)(((load_relaxed(&b->slot[i]) >> 32) & HTAB_TAG_MASK) == tag)
			 << i;
	return found;
}

static inline uint32_t empty_slots(const struct htab_bucket *b)
{
	uint32_t found = 0;

	for (int i = 0; i < HTAB_SLOTS; i++)
		found |= (uint32_t)!htab_slot_elem(load_relaxed(&b->slot[i])) << i;
	return found;
}
#endif

static inline __attribute__((always_inline)) struct htab_ref
find(const struct skep_htab *h, const void *key, uint32_t key_size, uint64_t hash, bool ref_bit)
{
	uint32_t bucket = bucket_of(h, hash);
	struct htab_bucket *b = &h->buckets[bucket];
	uint64_t budget = (uint64_t)h->nelems * 2 + 1024;
	uint32_t tag = htab_tag(hash);
	struct htab_ref ref = {0, NULL, 0};

	if (__builtin_expect(!htab_is_backed(h, bucket), 0))
		return ref;
	for (int tries = 0; tries < LOOKUP_TRIES && budget; tries++) {
		uint64_t chain = load(&b->chain);
		bool again = false;

		for (uint32_t found = match(b, tag); found; found &= found - 1) {
			int i = __builtin_ctz(found);
			uint64_t w = load(&b->slot[i]);
			uint32_t elem = htab_slot_elem(w) - 1;

			if (((w >> 32) & HTAB_TAG_MASK) != tag || elem >= h->nelems)
				continue;
			ref = (struct htab_ref){elem + 1, &b->slot[i], w};
			/* Another key with these hash bits, or an element reused just now. Even a slot
			 * that is the same afterwards is no proof: it may have changed and come back. */
			if (!key_equal(h, elem, key, key_size) || !htab_still(&ref)) {
				again = true;
				continue;
			}
			if (ref_bit && !(w & HTAB_REF))
				atomic_compare_exchange_strong_explicit(
					&b->slot[i], &w, w | HTAB_REF, memory_order_relaxed,
					memory_order_relaxed);
			return ref;
		}
		ref.elem = 0;
		if (again && !(uint32_t)chain)
			continue;
		if (!(uint32_t)chain) {
			if (__builtin_expect(load(&b->chain) == chain, 1))
				return ref;
			continue;
		}
		if (find_chained(h, b, chain, tag, key, ref_bit, &budget, &ref) &&
		    (ref.elem || !again))
			return ref;
		ref.elem = 0;
	}
	return find_quiet(h, key, hash);
}

struct htab_ref htab_find(const struct skep_htab *h, const void *key, bool ref_bit)
{
	return find(h, key, h->key_size, htab_hash(h, key), ref_bit);
}

uint32_t htab_lookup(const struct skep_htab *h, const void *key)
{
	if (h->key_size == 4)
		return find(h, key, 4, hash4(h, key), false).elem;
	if (h->key_size == 8)
		return find(h, key, 8, hash8(h, key), false).elem;
	return find(h, key, h->key_size, hash_long(h, key, h->key_size), false).elem;
}

uint32_t htab_lookup_ref(const struct skep_htab *h, const void *key)
{
	if (h->key_size == 4)
		return find(h, key, 4, hash4(h, key), true).elem;
	if (h->key_size == 8)
		return find(h, key, 8, hash8(h, key), true).elem;
	return find(h, key, h->key_size, hash_long(h, key, h->key_size), true).elem;
}

/* ---- Locks and repair ---- */

static uint32_t shard_end(const struct skep_htab *h, uint32_t shard)
{
	uint64_t end = (uint64_t)h->per_shard * (shard + 1);
	uint32_t max = h->map->max_entries;

	return end < max ? (uint32_t)end : max;
}

/* The head of a dead holder's list: being popped (it stays) or pushed (it is there). The
 * same for the next fresh element. */
static void repair_shard(struct skep_htab *h, struct htab_shard *sh)
{
	uint32_t head = load(&sh->head), fresh = load(&sh->fresh);

	if (head && head - 1 < h->nelems)
		store(&h->nodes[head - 1].where, 0);
	if (fresh < shard_end(h, (uint32_t)(sh - h->shards)))
		store(&h->nodes[fresh].where, 0);
}

static int lock_shard(struct skep_htab *h, struct htab_shard *sh)
{
	int err = skep_lock(&sh->lock, h->parts);

	if (err == SKEP_LOCK_DIED)
		repair_shard(h, sh);
	return err < 0 ? err : 0;
}

/* What a dead updater had in its hands: linked elements stay, one becomes the spare,
 * the others go back to the pool. May itself die at any point and be repeated. */
static void repair_stripe(struct skep_htab *h, struct htab_stripe *st)
{
	uint32_t bucket = load(&st->bucket) & h->bmask, shard = load(&st->shard);
	uint32_t number = (uint32_t)(st - h->stripes);
	uint32_t held[3] = {load(&st->spare), load(&st->hand[0]), load(&st->hand[1])};
	bool have_spare = false;

	if (shard && shard - 1 < h->nshards && !lock_shard(h, &h->shards[shard - 1]))
		skep_unlock(&h->shards[shard - 1].lock);
	if (htab_is_backed(h, bucket))
		atomic_fetch_add(&h->buckets[bucket].chain, 1ull << 32);
	for (int i = 0; i < 3; i++) {
		uint32_t elem = held[i] - 1, where;
		bool seen_before = (i > 0 && held[0] == held[i]) || (i > 1 && held[1] == held[i]);

		if (elem >= h->nelems || seen_before)
			continue;
		if (htab_is_backed(h, bucket) && htab_find_elem(h, bucket, elem).elem) {
			store(&h->nodes[elem].where, bucket + 1);
			if (!i)
				store(&st->spare, 0);
			continue;
		}
		where = load(&h->nodes[elem].where);
		if (where != bucket + 1 && where != (WHERE_SPARE | number))
			continue;
		if (!have_spare) {
			have_spare = true;
			store(&h->nodes[elem].where, WHERE_SPARE | number);
			store(&st->spare, elem + 1);
		} else {
			htab_push(h, st, elem, 0);
		}
	}
	store(&st->hand[0], 0);
	store(&st->hand[1], 0);
	store(&st->shard, 0);
}

int htab_lock(struct skep_htab *h, uint32_t bucket, struct htab_stripe **out)
{
	struct htab_stripe *st = &h->stripes[bucket & h->smask];
	int err = skep_lock(&st->lock, h->parts);

	if (err < 0)
		return err;
	if (__builtin_expect(err == SKEP_LOCK_DIED, 0))
		repair_stripe(h, st);
	store(&st->bucket, bucket);
	*out = st;
	return 0;
}

void htab_unlock(struct htab_stripe *st)
{
	skep_unlock(&st->lock);
}

struct htab_pos htab_find_locked(struct skep_htab *h, uint32_t bucket, const void *key,
				 uint64_t hash)
{
	struct htab_bucket *b = &h->buckets[bucket];
	struct htab_pos pos = {0, -1, 0};
	uint32_t at, tag = htab_tag(hash), steps;

	if (!htab_is_backed(h, bucket))
		return pos;
	for (uint32_t found = match(b, tag); found; found &= found - 1) {
		int i = __builtin_ctz(found);
		uint32_t elem = htab_slot_elem(load_relaxed(&b->slot[i])) - 1;

		if (elem < h->nelems && key_equal(h, elem, key, h->key_size))
			return (struct htab_pos){elem + 1, i, 0};
	}
	at = (uint32_t)load_relaxed(&b->chain);
	for (steps = 0; at && at - 1 < h->nelems && steps < h->nelems; steps++) {
		struct htab_node *node = &h->nodes[at - 1];

		if (load_relaxed(&node->tag) == tag && key_equal(h, at - 1, key, h->key_size)) {
			pos.elem = at;
			return pos;
		}
		pos.prev = at;
		at = load_relaxed(&node->next);
	}
	return pos;
}

struct htab_pos htab_find_elem(struct skep_htab *h, uint32_t bucket, uint32_t elem)
{
	struct htab_bucket *b = &h->buckets[bucket];
	struct htab_pos pos = {0, -1, 0};
	uint32_t at, steps;

	for (int i = 0; i < HTAB_SLOTS; i++)
		if (htab_slot_elem(load_relaxed(&b->slot[i])) == elem + 1)
			return (struct htab_pos){elem + 1, i, 0};
	at = (uint32_t)load_relaxed(&b->chain);
	for (steps = 0; at && at - 1 < h->nelems && steps < h->nelems; steps++) {
		if (at == elem + 1) {
			pos.elem = at;
			return pos;
		}
		pos.prev = at;
		at = load_relaxed(&h->nodes[at - 1].next);
	}
	return pos;
}

/* ---- Links ---- */

int htab_back_bucket(struct skep_htab *h, uint32_t bucket)
{
	uint32_t chunk = bucket / BACKED_BUCKETS;
	size_t off, len;
	int err;

	if (htab_is_backed(h, bucket))
		return 0;
	off = (size_t)((char *)&h->buckets[chunk * BACKED_BUCKETS] - (char *)h->map->ctl.base);
	len = BACKED_BUCKETS * sizeof(struct htab_bucket);
	if (off + len > h->map->ctl.size)
		len = h->map->ctl.size - off;
	err = skep_seg_reserve(&h->map->ctl, off, len);
	if (err)
		return err;
	store(&h->backed[chunk], 1);
	return 0;
}

static void set_chain(struct htab_bucket *b, uint32_t head)
{
	uint64_t seq = (load_relaxed(&b->chain) >> 32) + 1;

	store(&b->chain, seq << 32 | head);
}

void htab_link(struct skep_htab *h, uint32_t bucket, uint32_t elem, uint64_t hash)
{
	struct htab_bucket *b = &h->buckets[bucket];
	struct htab_node *node = &h->nodes[elem];
	uint32_t empty = empty_slots(b);

	if (empty) {
		_Atomic uint64_t *slot = &b->slot[__builtin_ctz(empty)];

		store(slot, htab_slot_next(load_relaxed(slot), htab_tag(hash), elem + 1));
		return;
	}
	store_relaxed(&node->tag, htab_tag(hash));
	atomic_fetch_and_explicit(&node->lru, ~HTAB_LRU_REF, memory_order_relaxed);
	store_relaxed(&node->next, (uint32_t)load_relaxed(&b->chain));
	set_chain(b, elem + 1);
}

/* A bucket whose line was lost to a reader's ref bit alone holds no element: such a word
 * counts as empty everywhere, because the element number decides. */
void htab_unlink(struct skep_htab *h, uint32_t bucket, const struct htab_pos *pos)
{
	struct htab_bucket *b = &h->buckets[bucket];
	uint32_t next;

	if (pos->slot >= 0) {
		store(&b->slot[pos->slot], htab_slot_next(load_relaxed(&b->slot[pos->slot]), 0, 0));
		return;
	}
	next = load_relaxed(&h->nodes[pos->elem - 1].next);
	if (pos->prev) {
		store(&h->nodes[pos->prev - 1].next, next);
		set_chain(b, (uint32_t)load_relaxed(&b->chain));
	} else {
		set_chain(b, next);
	}
}

/* ---- The pool ---- */

/* Memory for the elements from elem to the end of its chunk. */
static int back_elems(struct skep_htab *h, uint32_t elem, uint32_t n)
{
	struct skep_map *map = h->map;
	int err;

	if (n > h->nelems - elem)
		n = h->nelems - elem;
	err = skep_seg_reserve(&map->data, (size_t)(h->stride * elem), (size_t)(h->stride * n));
	if (!err)
		err = skep_seg_reserve(&map->ctl,
				       (size_t)((char *)&h->nodes[elem] - (char *)map->ctl.base),
				       n * sizeof(struct htab_node));
	for (uint32_t cpu = 0; !err && h->percpu && cpu < map->cpus; cpu++)
		err = skep_seg_reserve(
			&map->data,
			(size_t)((char *)htab_percpu_value(h, elem, cpu) - (char *)map->data.base),
			(size_t)map->elem_size * n);
	return err;
}

static uint32_t pop_shard(struct skep_htab *h, struct htab_stripe *st, uint32_t bucket,
			  struct htab_shard *sh, int *err)
{
	uint32_t end = shard_end(h, (uint32_t)(sh - h->shards)), mine = bucket + 1;
	uint32_t head = load_relaxed(&sh->head), fresh;

	if (head && head - 1 < h->nelems) {
		store(&st->hand[0], head);
		store(&h->nodes[head - 1].where, mine);
		store(&sh->head, load_relaxed(&h->nodes[head - 1].next));
		return head;
	}
	if (head) /* garbage */
		store(&sh->head, 0);
	fresh = load_relaxed(&sh->fresh);
	if (fresh >= end)
		return 0;
	if (h->chunk && (fresh % h->chunk == 0 || fresh == (sh - h->shards) * h->per_shard)) {
		*err = back_elems(h, fresh, h->chunk - fresh % h->chunk);
		if (*err)
			return 0;
	}
	store(&st->hand[0], fresh + 1);
	store(&h->nodes[fresh].where, mine);
	store(&sh->fresh, fresh + 1);
	return fresh + 1;
}

uint32_t htab_pop(struct skep_htab *h, struct htab_stripe *st, uint32_t bucket, uint32_t hint,
		  int *err)
{
	uint32_t tries = h->partitioned ? 1 : h->nshards;

	*err = 0;
	for (uint32_t i = 0; i < tries; i++) {
		uint32_t n = (hint + i) % h->nshards, elem;
		struct htab_shard *sh = &h->shards[n];

		if (!load_relaxed(&sh->head) && load_relaxed(&sh->fresh) >= shard_end(h, n))
			continue;
		store(&st->shard, n + 1);
		/* Busy: this thread was interrupted in it. Others will do. */
		if (lock_shard(h, sh))
			continue;
		elem = pop_shard(h, st, bucket, sh, err);
		skep_unlock(&sh->lock);
		if (elem && h->partitioned)
			atomic_store(&h->nodes[elem - 1].lru, n);
		if (elem || *err)
			return elem;
	}
	return 0;
}

void htab_push(struct skep_htab *h, struct htab_stripe *st, uint32_t elem, uint32_t hint)
{
	if (h->partitioned && (load(&h->nodes[elem].lru) & HTAB_HOME_MASK) != HTAB_NO_HOME)
		hint = load(&h->nodes[elem].lru) & HTAB_HOME_MASK;
	for (uint32_t i = 0; i < h->nshards; i++) {
		uint32_t n = (hint + i) % h->nshards;
		struct htab_shard *sh = &h->shards[n];

		store(&st->shard, n + 1);
		if (lock_shard(h, sh))
			continue;
		store(&h->nodes[elem].next, load_relaxed(&sh->head));
		store(&sh->head, elem + 1);
		store(&h->nodes[elem].where, 0);
		skep_unlock(&sh->lock);
		return;
	}
	/* No list can be locked: a hostile holder. The stripe may keep it. */
	if (!load(&st->spare)) {
		store(&h->nodes[elem].where, WHERE_SPARE | (uint32_t)(st - h->stripes));
		store(&st->spare, elem + 1);
	}
}

void htab_drop_fields(struct skep_htab *h, uint32_t elem)
{
	if (!h->percpu) {
		skep_map_drop_fields(h->map, htab_value(h, elem));
		return;
	}
	for (uint32_t cpu = 0; cpu < h->map->cpus; cpu++)
		skep_map_drop_fields(h->map, htab_percpu_value(h, elem, cpu));
}

void htab_remove(struct skep_htab *h, struct htab_stripe *st, uint32_t bucket,
		 const struct htab_pos *pos, uint32_t hint)
{
	store(&st->hand[1], pos->elem);
	htab_unlink(h, bucket, pos);
	if (h->map->fields.n)
		htab_drop_fields(h, pos->elem - 1);
	if (h->inner)
		htab_set_inner(h, pos->elem - 1, NULL);
	htab_push(h, st, pos->elem - 1, hint);
	store(&st->hand[1], 0);
}

/* ---- Updates ---- */

/* The values of all CPUs: of the one that runs and 0 elsewhere, or as the caller gives them. */
static void fill_percpu(struct skep_htab *h, uint32_t elem, const void *value, enum htab_mode mode,
			bool fresh, uint32_t self)
{
	struct skep_map *map = h->map;

	for (uint32_t cpu = 0; cpu < map->cpus; cpu++) {
		void *v = htab_percpu_value(h, elem, cpu);

		if (mode == HTAB_SYS)
			skep_map_copy_cpu(
				map, v, (const char *)value + (size_t)map->elem_size * cpu, false);
		else if (cpu == self)
			skep_map_copy_value(map, v, value);
		else if (fresh)
			skep_zero_racy(v, map->elem_size);
	}
}

static void fill(struct skep_htab *h, uint32_t elem, const void *key, const void *value,
		 enum htab_mode mode, uint32_t self)
{
	skep_copy_racy(htab_key(h, elem), key, h->key_size);
	if (h->percpu)
		fill_percpu(h, elem, value, mode, true, self);
	else
		skep_map_copy_value(h->map, htab_value(h, elem), value);
	if (h->inner)
		htab_set_inner(h, elem, ((const struct htab_inner *)value)->map);
}

static void set_ref(struct skep_htab *h, uint32_t bucket, const struct htab_pos *pos)
{
	if (pos->slot >= 0)
		atomic_fetch_or(&h->buckets[bucket].slot[pos->slot], HTAB_REF);
	else
		atomic_fetch_or(&h->nodes[pos->elem - 1].lru, HTAB_LRU_REF);
}

/* Puts a new element in the old one's place: a reader sees one or the other. */
static int replace(struct skep_htab *h, struct htab_stripe *st, uint32_t bucket,
		   const struct htab_pos *pos, const void *key, const void *value, uint64_t hash,
		   enum htab_mode mode, uint32_t hint, struct skep_env *env)
{
	uint32_t number = (uint32_t)(st - h->stripes);
	struct htab_bucket *b = &h->buckets[bucket];
	uint32_t fresh = load_relaxed(&st->spare), old = pos->elem;
	int err = 0;

	if (fresh && fresh - 1 < h->nelems) {
		if (!load_relaxed(&st->spare_backed)) {
			err = back_elems(h, fresh - 1, 1);
			if (err)
				return err;
			store(&st->spare_backed, 1);
		}
	} else {
		fresh = htab_pop(h, st, bucket, hint, &err);
		if (!fresh)
			return err ? err : -ENOMEM;
	}
	store(&st->hand[0], fresh);
	store(&st->hand[1], old);
	store(&h->nodes[fresh - 1].where, bucket + 1);
	fill(h, fresh - 1, key, value, mode, hint);
	if (h->lru)
		store(&h->nodes[fresh - 1].lru, load_relaxed(&h->nodes[old - 1].lru));
	if (h->partitioned)
		store(&h->nodes[old - 1].lru, HTAB_NO_HOME);
	if (pos->slot >= 0) {
		store(&b->slot[pos->slot],
		      (h->lru ? HTAB_REF : 0) | htab_slot_next(load_relaxed(&b->slot[pos->slot]),
							       htab_tag(hash), fresh));
	} else {
		struct htab_node *node = &h->nodes[fresh - 1];

		store_relaxed(&node->tag, htab_tag(hash));
		store_relaxed(&node->next, load_relaxed(&h->nodes[old - 1].next));
		if (h->lru)
			atomic_fetch_or(&node->lru, HTAB_LRU_REF);
		if (pos->prev) {
			store(&h->nodes[pos->prev - 1].next, fresh);
			set_chain(b, (uint32_t)load_relaxed(&b->chain));
		} else {
			set_chain(b, fresh);
		}
	}
	if (h->inner)
		htab_set_inner(h, old - 1, NULL);
	if (h->map->fields.n)
		htab_drop_fields(h, old - 1);
	store(&h->nodes[old - 1].where, WHERE_SPARE | number);
	store(&st->spare, old);
	store(&st->hand[0], 0);
	store(&st->hand[1], 0);
	return 0;
}

static int insert(struct skep_htab *h, struct htab_stripe *st, uint32_t bucket, const void *key,
		  const void *value, uint64_t hash, enum htab_mode mode, uint32_t hint,
		  struct skep_env *env)
{
	uint32_t elem;
	int err = htab_back_bucket(h, bucket);

	if (err)
		return err;
	elem = htab_pop(h, st, bucket, hint, &err);
	if (!elem)
		return err ? err : -E2BIG;
	fill(h, elem - 1, key, value, mode, hint);
	if (h->lru)
		atomic_fetch_and(&h->nodes[elem - 1].lru, HTAB_HOME_MASK);
	htab_link(h, bucket, elem - 1, hash);
	store(&st->hand[0], 0);
	return 0;
}

static int update_locked(struct skep_htab *h, struct htab_stripe *st, uint32_t bucket,
			 const void *key, const void *value, uint64_t flags, uint64_t hash,
			 enum htab_mode mode, uint32_t hint, struct skep_env *env)
{
	struct htab_pos pos = htab_find_locked(h, bucket, key, hash);

	if (pos.elem && (flags & ~(uint64_t)BPF_F_LOCK) == BPF_NOEXIST)
		return -EEXIST;
	if (!pos.elem && (flags & ~(uint64_t)BPF_F_LOCK) == BPF_EXIST)
		return -ENOENT;
	if (!pos.elem)
		return insert(h, st, bucket, key, value, hash, mode, hint, env);
	if (flags & BPF_F_LOCK) {
		skep_map_copy_locked(h->map, htab_value(h, pos.elem - 1), (void *)value, true, env);
		return 0;
	}
	if (h->percpu) {
		fill_percpu(h, pos.elem - 1, value, mode, false, hint);
		if (h->lru)
			set_ref(h, bucket, &pos);
		return 0;
	}
	return replace(h, st, bucket, &pos, key, value, hash, mode, hint, env);
}

#define EVICT_TRIES 64

long htab_update(struct skep_map *map, const void *key, const void *value, uint64_t flags,
		 enum htab_mode mode, struct skep_env *env)
{
	struct skep_htab *h = htab_of(map);
	bool may_lock = !h->lru && !h->percpu;
	uint32_t hint = env ? env->cpu : 0, bucket;
	struct htab_stripe *st;
	uint64_t hash;
	int err;

	if ((flags & ~(uint64_t)(may_lock ? BPF_F_LOCK : 0)) > BPF_EXIST)
		return -EINVAL;
	if ((flags & BPF_F_LOCK) && !skep_map_spin_lock(map))
		return -EINVAL;
	if (h->partitioned && hint >= map->cpus)
		hint = 0;
	hash = htab_hash(h, key);
	bucket = bucket_of(h, hash);
	for (int tries = 0; tries < EVICT_TRIES; tries++) {
		err = htab_lock(h, bucket, &st);
		if (err)
			return err;
		err = update_locked(h, st, bucket, key, value, flags, hash, mode, hint, env);
		htab_unlock(st);
		if (!h->lru || err != -E2BIG)
			return err;
		/* Nothing to evict: others have it in their hands, and will be done. */
		if (!htab_evict(h, hint))
			skep_cpu_relax();
	}
	return -ENOMEM;
}
