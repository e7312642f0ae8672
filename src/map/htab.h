/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The hash table under hash, per-CPU hash, LRU hash and hash of maps.
 *
 * Elements are numbered. Element i has its key and value in the data segment and a
 * node in the control segment; it is never anything but an element of this map.
 *
 *   bucket   one cache line: seven slots {ref bit, 15 bits that count the slot's changes,
 *            20 hash bits, element + 1} and the
 *            head of a chain of nodes for what did not fit: {sequence, element + 1}.
 *            A lookup reads this line and the element, nothing else.
 *   stripe   lock of the buckets whose number it matches, the intent of the update
 *            under way (which elements it has in hand), and a spare element, with
 *            which an update replaces another without asking the pool.
 *   shard    lock and list of free elements, and the range never used so far.
 *
 * Readers take no lock. An element found in a slot is the key's if its key is equal
 * and the slot still names it afterwards; a slot or chain that changed meanwhile
 * starts the lookup again.
 *
 * node.where says whose an element is: 0 the pool's; bucket + 1 that bucket's, or of
 * an update in it; WHERE_SPARE + stripe that stripe's spare. The order of stores makes
 * it exact at every instant but two, both at the head of a free list whose lock's
 * holder died, and repair_shard() undoes those. So whoever gets the lock of a dead
 * updater knows of each element in its hand whether it is linked, to be freed, or
 * somebody else's.
 */
#ifndef SKEP_MAP_HTAB_H
#define SKEP_MAP_HTAB_H

#include <errno.h>
#include <stdatomic.h>

#include "map/access.h"
#include "map/types.h"
#include "os/participant.h"

#define HTAB_SLOTS     7
#define HTAB_REF       (1ull << 63)
#define HTAB_TAG_MASK  0xfffffull
#define HTAB_ELEM_MASK 0x0fffffffu
#define WHERE_SPARE    0x80000000u

struct htab_bucket {
	_Atomic uint64_t slot[HTAB_SLOTS];
	_Atomic uint64_t chain;
} __attribute__((aligned(64)));

struct htab_node {
	_Atomic uint32_t next; /* element + 1: in a chain or a free list */
	_Atomic uint32_t where;
	_Atomic uint32_t tag; /* chained elements: hash bits */
	_Atomic uint32_t lru; /* chained elements: ref bit; last sweep survived; home */
};
#define HTAB_LRU_REF    0x80000000u
#define HTAB_SWEEP_MASK 0x7fff0000u
#define HTAB_SWEEP_ONE  0x00010000u
#define HTAB_HOME_MASK  0x0000ffffu
#define HTAB_NO_HOME    0x0000ffffu

struct htab_stripe {
	struct skep_lock lock;
	_Atomic uint32_t bucket; /* being changed */
	_Atomic uint32_t hand[2]; /* elements + 1 in the updater's hand */
	_Atomic uint32_t shard; /* + 1: whose lock it may hold */
	_Atomic uint32_t spare; /* element + 1 */
	_Atomic uint32_t spare_backed; /* its memory was reserved */
} __attribute__((aligned(64)));

struct htab_shard {
	struct skep_lock lock;
	_Atomic uint32_t head; /* element + 1 */
	_Atomic uint32_t fresh; /* first element of the range never used */
	/* LRU (lru.c): the hand, the number of the sweep, and what the hand met this turn. */
	_Atomic uint32_t hand, sweep, met, unmarked;
} __attribute__((aligned(128)));

struct skep_htab {
	struct skep_map *map;
	struct skep_parts *parts;
	struct htab_bucket *buckets;
	struct htab_node *nodes;
	struct htab_stripe *stripes;
	struct htab_shard *shards;
	_Atomic uint8_t *backed; /* per BACKED_BUCKETS buckets: memory was reserved */
	char *elems;
	char *percpu; /* per-CPU values: percpu + cpu * percpu_stride + ... */
	uint64_t stride, percpu_stride;
	uint64_t seed[2];
	uint32_t key_size, value_off;
	uint32_t nelems, nbuckets, nstripes, nshards, per_shard;
	uint32_t bmask, smask;
	uint32_t chunk; /* elements backed at once; 0: all are */
	uint32_t backed_size;
	bool lazy; /* buckets are backed as they are used */
	bool lru, partitioned; /* partitioned: BPF_F_NO_COMMON_LRU */
	/* Hash of maps: what the element's id stands for in this process. */
	struct skep_map *_Atomic *inner;
};

#define HTAB_FLAGS                                                                                 \
	(BPF_F_NO_PREALLOC | BPF_F_NO_COMMON_LRU | BPF_F_NUMA_NODE | BPF_F_ZERO_SEED |             \
	 SKEP_MAP_ACCESS_FLAGS)

/* What is alike in the rows of all four kinds. */
#define HTAB_OPS                                                                                   \
	.check = htab_check, .destroy = htab_destroy, .update = htab_prog_update,                  \
	.delete = htab_prog_delete, .for_each = htab_for_each, .sys_lookup = htab_sys_lookup,      \
	.sys_update = htab_sys_update, .sys_delete = htab_sys_delete,                              \
	.sys_lookup_delete = htab_sys_lookup_delete, .next_key = htab_next_key,                    \
	.lookup_batch = htab_lookup_batch, .contains = htab_contains, .mem_usage = htab_mem_usage, \
	.batch = SKEP_BATCH_ALL, .is_inner_ok = true, .anywhere = true, .flags_ok = HTAB_FLAGS

#define BACKED_BUCKETS 64u /* a page */

/* A slot: bit 63 ref, 62-52 changes, 51-32 hash bits, 31-28 changes, 27-0 element + 1. */
static inline uint32_t htab_slot_elem(uint64_t slot)
{
	return (uint32_t)slot & HTAB_ELEM_MASK;
}

static inline uint32_t htab_tag(uint64_t hash)
{
	return (uint32_t)(hash >> 44);
}

/* What a slot becomes; counting lets a reader see that it was something else meanwhile. */
static inline uint64_t htab_slot_next(uint64_t old, uint32_t tag, uint32_t elem)
{
	uint64_t changes = ((old >> 52 & 0x7ff) << 4 | (old >> 28 & 0xf)) + 1;

	return (changes >> 4 & 0x7ff) << 52 | (uint64_t)tag << 32 | (changes & 0xf) << 28 | elem;
}

/* An element as a reader found it, and the word that names it. */
struct htab_ref {
	uint32_t elem; /* + 1; 0: none */
	_Atomic uint64_t *word;
	uint64_t seen;
};

/* An element as the holder of the stripe's lock finds it. */
struct htab_pos {
	uint32_t elem; /* + 1; 0: none */
	int slot; /* or -1: chained ... */
	uint32_t prev; /* ... behind this element + 1; 0: the head */
};

/* How a value is given: by a program, or for all CPUs by a system call. */
enum htab_mode { HTAB_PROG, HTAB_SYS };

static inline struct skep_htab *htab_of(const struct skep_map *map)
{
	return map->priv;
}

static inline void *htab_key(const struct skep_htab *h, uint32_t elem)
{
	return h->elems + h->stride * elem;
}

static inline void *htab_value(const struct skep_htab *h, uint32_t elem)
{
	return h->elems + h->stride * elem + h->value_off;
}

static inline void *htab_percpu_value(const struct skep_htab *h, uint32_t elem, uint32_t cpu)
{
	return h->percpu + h->percpu_stride * cpu + (uint64_t)h->map->elem_size * elem;
}

static inline bool htab_is_backed(const struct skep_htab *h, uint32_t bucket)
{
	return !h->lazy ||
	       atomic_load_explicit(&h->backed[bucket / BACKED_BUCKETS], memory_order_acquire);
}

/* Whether the word still names what ref found. Orders earlier reads of the element. */
bool htab_still(const struct htab_ref *ref);

uint64_t htab_hash(const struct skep_htab *h, const void *key);
/* Without lock. ref_bit: note the use for LRU. */
/* Element + 1, or 0; _ref notes the use for LRU. For programs: specialised by key size. */
uint32_t htab_lookup(const struct skep_htab *h, const void *key);
uint32_t htab_lookup_ref(const struct skep_htab *h, const void *key);
struct htab_ref htab_find(const struct skep_htab *h, const void *key, bool ref_bit);

/* 0 or -errno; on 0 the stripe of bucket is locked, repaired and says bucket. */
int htab_lock(struct skep_htab *h, uint32_t bucket, struct htab_stripe **out);
void htab_unlock(struct htab_stripe *st);
/* All these hold the lock of the bucket's stripe. The bucket's number is passed, never read
 * back from the stripe: others may have written there. */
struct htab_pos htab_find_locked(struct skep_htab *h, uint32_t bucket, const void *key,
				 uint64_t hash);
struct htab_pos htab_find_elem(struct skep_htab *h, uint32_t bucket, uint32_t elem);
int htab_back_bucket(struct skep_htab *h, uint32_t bucket);
void htab_link(struct skep_htab *h, uint32_t bucket, uint32_t elem, uint64_t hash);
void htab_unlink(struct skep_htab *h, uint32_t bucket, const struct htab_pos *pos);
/* Takes an element from the pool into the stripe's hand[0]; element + 1, 0: none left,
 * or -errno in *err. hint chooses the shard. */
uint32_t htab_pop(struct skep_htab *h, struct htab_stripe *st, uint32_t bucket, uint32_t hint,
		  int *err);
void htab_push(struct skep_htab *h, struct htab_stripe *st, uint32_t elem, uint32_t hint);
/* Unlinks what pos names and gives it back. */
/* What an element's special fields stand for goes. */
void htab_drop_fields(struct skep_htab *h, uint32_t elem);
void htab_remove(struct skep_htab *h, struct htab_stripe *st, uint32_t bucket,
		 const struct htab_pos *pos, uint32_t hint);

int htab_create(struct skep_map *map, bool lru, bool partitioned);
void htab_destroy(struct skep_map *map);

/* LRU: frees at least one element of hint's partition; false if none could be. */
bool htab_evict(struct skep_htab *h, uint32_t hint);

long htab_update(struct skep_map *map, const void *key, const void *value, uint64_t flags,
		 enum htab_mode mode, struct skep_env *env);

/* Hash of maps: what htab_update takes as value, and setting what an element holds in this
 * process (the one before is given back). */
struct htab_inner {
	uint32_t id;
	struct skep_map *map;
};
void htab_set_inner(struct skep_htab *h, uint32_t elem, struct skep_map *inner);

/* The operations that all types on this table share (hash.c, walk.c). */
int htab_check(const union bpf_attr *attr);
int htab_next_key(struct skep_map *map, const void *key, void *next);
long htab_for_each(struct skep_map *map, uint64_t func, uint64_t ctx, struct skep_env *env);
int htab_lookup_batch(struct skep_map *map, const union bpf_attr *attr, union bpf_attr *uattr,
		      bool and_delete, struct skep_env *env);
bool htab_contains(const struct skep_map *map, uint64_t off, size_t size);
uint64_t htab_mem_usage(struct skep_map *map);
void *htab_prog_lookup(struct skep_map *map, const void *key, struct skep_env *env);
long htab_prog_update(struct skep_map *map, const void *key, const void *value, uint64_t flags,
		      struct skep_env *env);
long htab_prog_delete(struct skep_map *map, const void *key, struct skep_env *env);
int htab_sys_lookup(struct skep_map *map, const void *key, void *value, uint64_t flags,
		    struct skep_env *env);
int htab_sys_update(struct skep_map *map, const void *key, const void *value, uint64_t flags,
		    struct skep_env *env);
int htab_sys_delete(struct skep_map *map, const void *key, struct skep_env *env);
int htab_sys_lookup_delete(struct skep_map *map, const void *key, void *value, uint64_t flags,
			   struct skep_env *env);
/* Copies element's value as a system call sees it. */
void htab_copy_out(struct skep_map *map, uint32_t elem, void *value, uint64_t flags,
		   struct skep_env *env);

#endif
