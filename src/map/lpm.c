// SPDX-License-Identifier: Apache-2.0
/*
 * LPM trie: longest prefix match over keys of 1 to 256 bytes.
 *
 * A trie that takes four bits a step and skips steps at which nothing branches.
 * A node at depth d (in steps of four bits) stands for 4d bits that everything
 * below it shares. It has 16 children, by the next four bits, and holds the
 * prefixes of 4d to 4d+3 bits, numbered like a binary heap (1; 1x; 1xx; 1xxx).
 * A child is another node or, tagged, a single element. Two cache lines a node,
 * so a lookup among a million IPv4 routes touches about six nodes where a binary
 * trie touches twenty.
 *
 * Lookups take no lock. They do not look at what was skipped: they walk down by
 * the key's own bits, then compare the key with the candidate they found. If that
 * fails at bit m, no prefix longer than m can match, and a second walk limited to m
 * bits finds the answer, because all that lies on the path shares those bits.
 *
 * Writers hold the lock and publish each change with one store. What they unlink
 * is quarantined for two generations before it is used again; a reader that saw
 * the generation move by more than one starts anew. So a reader never believes
 * memory that changed its meaning under it.
 *
 * After a death under the lock, the trie is whole (single stores), but nodes and
 * elements may be lost and the count wrong: repair() marks what is reachable and
 * frees the rest.
 */
#include <errno.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "map/map.h"
#include "map/access.h"
#include "map/types.h"

#define KEY_MIN   (4 + 1)
#define KEY_MAX   (4 + 256)
#define VALUE_MAX ((1u << 22) - KEY_MAX - 40)
#define FLAGS     (BPF_F_NO_PREALLOC | BPF_F_NUMA_NODE | SKEP_MAP_ACCESS_FLAGS)

#define LEAF       0x80000000u /* a child that is an element */
#define MAX_ARENA  (1ull << 36) /* bytes of address space for an arena */
#define CHUNK      (256u << 10) /* memory is backed in such pieces */
#define QUARANTINE 128 /* prefer fresh memory until so many wait */
#define TRIES      16

struct node {
	_Atomic uint32_t child[16];
	union {
		_Atomic uint32_t meta; /* depth, and which prefixes there are << 16 */
		_Atomic uint32_t prefix[16]; /* [0] is meta */
	};
};

struct elem {
	_Atomic uint32_t link; /* free lists */
	_Atomic uint32_t plen;
	uint8_t data[]; /* rounded up to 8, then the value */
};

/* A free list and two generations of quarantine. Link 0 ends a list. */
struct arena_ctl {
	uint32_t bump; /* first index never used */
	uint32_t free, cur, prev;
	uint32_t cur_tail, prev_tail;
	uint32_t ncur;
};

struct ctl {
	struct skep_lock lock;
	_Atomic uint32_t gen;
	_Atomic uint32_t count;
	struct arena_ctl elems, nodes;
};

#define NODES_OFF 4096

struct lpm {
	struct ctl *ctl;
	struct node *nodes; /* [0] is the root */
	_Atomic uint32_t *links; /* free lists of nodes: readers may still be in a retired one */
	uint8_t *elems; /* index 0 is unused */
	size_t stride;
	uint32_t value_off, max_bits, data_size;
	uint32_t nelems, nnodes; /* limits */
	_Atomic size_t elems_backed, nodes_backed, links_backed;
};

static inline struct elem *elem_at(const struct lpm *t, uint32_t i)
{
	return (struct elem *)(t->elems + (size_t)(i < t->nelems ? i : 0) * t->stride);
}

static inline struct node *node_at(const struct lpm *t, uint32_t i)
{
	return &t->nodes[i < t->nnodes ? i : 0];
}

static inline uint32_t depth_of(uint32_t meta)
{
	return meta & 0x3ff;
}

static inline uint32_t nibble(const uint8_t *data, uint32_t depth)
{
	uint8_t b = data[depth / 2];

	return depth & 1 ? b & 15 : b >> 4;
}

static inline uint32_t prefix_index(const struct lpm *t, const uint8_t *data, uint32_t plen)
{
	uint32_t r = plen & 3, v = plen < t->max_bits ? nibble(data, plen / 4) : 0;

	return 1u << r | v >> (4 - r);
}

/* Number of equal leading bits of a, an element's, and b, at most limit. */
static inline uint32_t common_bits(const uint8_t *a, const uint8_t *b, uint32_t bytes,
				   uint32_t limit)
{
	uint32_t i = 0, n = limit;

	for (; i + 8 <= bytes && i * 8 < limit; i += 8) {
		uint64_t x, y;

		skep_copy_racy(&x, a + i, 8);
		memcpy(&y, b + i, 8);
		if (x != y) {
			n = i * 8 + (uint32_t)__builtin_clzll(__builtin_bswap64(x ^ y));
			return n < limit ? n : limit;
		}
	}
	if (i + 4 <= bytes && i * 8 < limit) {
		uint32_t x, y;

		skep_copy_racy(&x, a + i, 4);
		memcpy(&y, b + i, 4);
		if (x != y) {
			n = i * 8 + (uint32_t)__builtin_clz(__builtin_bswap32(x ^ y));
			return n < limit ? n : limit;
		}
		i += 4;
	}
	for (; i < bytes && i * 8 < limit; i++) {
		uint8_t x;

		skep_copy_racy(&x, a + i, 1);
		if (x != b[i]) {
			n = i * 8 + (uint32_t)__builtin_clz((uint32_t)(x ^ b[i])) - 24;
			return n < limit ? n : limit;
		}
	}
	return limit;
}

/* ---- Lookup ---- */

/* Bits of the prefixes in a node that cover the four bits v: 1, 1v3, 1v3v2, 1v3v2v1. */
#define COVER(v)                                                                                   \
	(uint16_t)(1u << 1 | 1u << (2 | (v) >> 3) | 1u << (4 | (v) >> 2) | 1u << (8 | (v) >> 1))
static const uint16_t cover[16] = {COVER(0),  COVER(1),  COVER(2),  COVER(3), COVER(4),  COVER(5),
				   COVER(6),  COVER(7),  COVER(8),  COVER(9), COVER(10), COVER(11),
				   COVER(12), COVER(13), COVER(14), COVER(15)};
/* Prefixes that are at most so many bits longer than the node's depth. */
static const uint16_t at_most[4] = {0x0003, 0x000f, 0x00ff, 0xffff};

/* The longest element of at most plen bits on the key's path, unverified; or 0. */
static inline uint32_t walk(const struct lpm *t, const uint8_t *data, uint32_t plen)
{
	const struct node *n = &t->nodes[0];
	uint32_t depth = 0, best = 0;

	for (;;) {
		uint32_t meta = atomic_load_explicit(&n->meta, memory_order_acquire);
		uint32_t left = plen - depth * 4, v, m, c;

		v = depth * 4 < t->max_bits ? nibble(data, depth) : 0;
		m = meta >> 16 & cover[v];
		if (left < 4)
			m &= at_most[left];
		while (m) {
			uint32_t i = 31 - (uint32_t)__builtin_clz(m);
			uint32_t e = atomic_load_explicit(&n->prefix[i], memory_order_acquire);

			if (e) {
				best = e;
				break;
			}
			m &= ~(1u << i);
		}
		if (left < 4)
			return best;
		c = atomic_load_explicit(&n->child[v], memory_order_acquire);
		if (!c)
			return best;
		if (c & LEAF)
			return elem_at(t, c & ~LEAF)->plen <= plen ? c & ~LEAF : best;
		n = node_at(t, c);
		c = depth_of(atomic_load_explicit(&n->meta, memory_order_relaxed));
		if (c <= depth || c * 4 > plen) /* the first only if someone wrote garbage */
			return best;
		depth = c;
	}
}

static uint32_t find_longest(const struct lpm *t, const uint8_t *data, uint32_t plen)
{
	for (int i = 0; i < 8; i++) {
		uint32_t e = walk(t, data, plen), len, c;

		if (!e)
			return 0;
		len = elem_at(t, e)->plen;
		c = common_bits(elem_at(t, e)->data, data, t->data_size, len < plen ? len : plen);
		if (c >= len)
			return e;
		plen = c;
	}
	return 0;
}

/* ---- Memory ---- */

/* The control segment: struct ctl, the nodes, their links. */
static size_t links_off(uint32_t nnodes)
{
	return (NODES_OFF + (size_t)nnodes * sizeof(struct node) + 4095) & ~(size_t)4095;
}

static int back(struct skep_seg *seg, _Atomic size_t *backed, size_t off, size_t len)
{
	size_t mark = atomic_load_explicit(backed, memory_order_relaxed);
	size_t end = off + len;
	int err;

	if (end <= mark)
		return 0;
	off = off & ~(size_t)4095;
	end = (end + CHUNK - 1) & ~(size_t)(CHUNK - 1);
	if (end > seg->size)
		end = seg->size;
	err = skep_seg_reserve(seg, off, end - off);
	if (!err)
		atomic_store_explicit(backed, end, memory_order_relaxed);
	return err;
}

typedef _Atomic uint32_t *link_fn(const struct lpm *t, uint32_t i);

static _Atomic uint32_t *elem_link(const struct lpm *t, uint32_t i)
{
	return &elem_at(t, i)->link;
}

static _Atomic uint32_t *node_link(const struct lpm *t, uint32_t i)
{
	return &t->links[i < t->nnodes ? i : 0];
}

static uint32_t pop(const struct lpm *t, uint32_t *list, link_fn *link, uint32_t limit)
{
	uint32_t i = *list;

	if (!i || i >= limit) {
		*list = 0;
		return 0;
	}
	*list = atomic_load_explicit(link(t, i), memory_order_relaxed);
	return i;
}

/* What waited for two generations may be used again. */
static void advance(struct lpm *t)
{
	struct arena_ctl *both[] = {&t->ctl->elems, &t->ctl->nodes};
	link_fn *const links[] = {elem_link, node_link};

	atomic_fetch_add(&t->ctl->gen, 1);
	for (int i = 0; i < 2; i++) {
		struct arena_ctl *a = both[i];

		if (a->prev) {
			atomic_store(links[i](t, a->prev_tail), a->free);
			a->free = a->prev;
		}
		a->prev = a->cur;
		a->prev_tail = a->cur_tail;
		a->cur = 0;
		a->ncur = 0;
	}
}

static int alloc_index(struct lpm *t, struct arena_ctl *a, link_fn *link, uint32_t limit,
		       uint32_t *out)
{
	for (int i = 0; i < 3; i++) {
		*out = pop(t, &a->free, link, limit);
		if (*out)
			return 0;
		if (a->bump < limit && a->ncur < QUARANTINE)
			break;
		if (!a->cur && !a->prev)
			break;
		advance(t);
	}
	if (a->bump >= limit)
		return -ENOMEM;
	*out = a->bump ? a->bump : 1;
	a->bump = *out + 1;
	return 1;
}

static int alloc_elem(struct lpm *t, struct skep_map *map, const uint8_t *key, const void *value,
		      uint32_t *out)
{
	int r = alloc_index(t, &t->ctl->elems, elem_link, t->nelems, out);
	struct elem *e;
	uint32_t plen;

	if (r < 0)
		return r;
	if (r > 0)
		r = back(&map->data, &t->elems_backed, (size_t)*out * t->stride, t->stride);
	if (r < 0) {
		t->ctl->elems.bump = *out;
		return -ENOMEM;
	}
	e = elem_at(t, *out);
	/* Readers that came by before it was retired may still look at it. */
	memcpy(&plen, key, 4);
	atomic_store_explicit(&e->plen, plen, memory_order_relaxed);
	skep_copy_racy(e->data, key + 4, t->data_size);
	skep_copy_racy((uint8_t *)e + t->value_off, value, map->value_size);
	return 0;
}

static int alloc_node(struct lpm *t, struct skep_map *map, uint32_t depth, uint32_t *out)
{
	int r = alloc_index(t, &t->ctl->nodes, node_link, t->nnodes, out);
	struct node *n;

	if (r < 0)
		return r;
	if (r > 0) {
		r = back(&map->ctl, &t->nodes_backed, NODES_OFF + (size_t)*out * sizeof(*n),
			 sizeof(*n));
		if (!r)
			r = back(&map->ctl, &t->links_backed,
				 links_off(t->nnodes) + (size_t)*out * 4, 4);
		if (r < 0) {
			t->ctl->nodes.bump = *out;
			return -ENOMEM;
		}
	}
	n = node_at(t, *out);
	for (uint32_t k = 0; k < 16; k++) {
		atomic_store_explicit(&n->child[k], 0, memory_order_relaxed);
		atomic_store_explicit(&n->prefix[k], k ? 0 : depth, memory_order_relaxed);
	}
	return 0;
}

static void retire(struct lpm *t, struct arena_ctl *a, link_fn *link, uint32_t i)
{
	if (!a->cur)
		a->cur_tail = i;
	atomic_store_explicit(link(t, i), a->cur, memory_order_relaxed);
	a->cur = i;
	a->ncur++;
}

/* ---- Repair ---- */

struct marks {
	uint8_t *elems, *nodes; /* bit per index */
	uint32_t count;
};

static bool mark(uint8_t *bits, uint32_t i)
{
	bool was = bits[i / 8] >> (i % 8) & 1;

	bits[i / 8] |= (uint8_t)(1u << (i % 8));
	return was;
}

/* Marks what is reachable from node i; cuts off what can't be right. The depth
 * rises at each level, so the recursion is at most 512 deep. */
static void mark_node(struct lpm *t, uint32_t i, struct marks *m)
{
	struct node *n = node_at(t, i);
	uint32_t depth = depth_of(n->meta), have = 0;

	for (uint32_t k = 1; k < 16; k++) {
		uint32_t e = atomic_load(&n->prefix[k]);

		if (e && (e >= t->ctl->elems.bump || mark(m->elems, e)))
			atomic_store(&n->prefix[k], 0);
		else if (e && ++m->count)
			have |= 1u << k;
	}
	atomic_store(&n->meta, have << 16 | depth);
	for (uint32_t k = 0; k < 16; k++) {
		uint32_t c = atomic_load(&n->child[k]), x = c & ~LEAF;

		if (!c)
			continue;
		if (c & LEAF) {
			if (!x || x >= t->ctl->elems.bump || mark(m->elems, x))
				atomic_store(&n->child[k], 0);
			else
				m->count++;
		} else if (c >= t->ctl->nodes.bump || depth_of(t->nodes[c].meta) <= depth ||
			   depth_of(t->nodes[c].meta) * 4 >= t->max_bits || mark(m->nodes, c)) {
			atomic_store(&n->child[k], 0);
		} else {
			mark_node(t, c, m);
		}
	}
}

static void repair(struct lpm *t)
{
	struct arena_ctl *ea = &t->ctl->elems, *na = &t->ctl->nodes;
	struct marks m = {0};

	if (ea->bump > t->nelems)
		ea->bump = t->nelems;
	if (na->bump > t->nnodes)
		na->bump = t->nnodes;
	*ea = (struct arena_ctl){.bump = ea->bump};
	*na = (struct arena_ctl){.bump = na->bump};
	atomic_store(&t->nodes[0].meta, atomic_load(&t->nodes[0].meta) & 0xffff0000);
	/* Lists are rebuilt below: no reader may go on across that. */
	atomic_fetch_add(&t->ctl->gen, 2);
	m.elems = calloc(1, ea->bump / 8 + 1);
	m.nodes = calloc(1, na->bump / 8 + 1);
	if (m.elems && m.nodes) {
		mark_node(t, 0, &m);
		atomic_store(&t->ctl->count, m.count);
		for (uint32_t i = 1; i < ea->bump; i++) {
			if (!(m.elems[i / 8] >> (i % 8) & 1)) {
				atomic_store(elem_link(t, i), ea->free);
				ea->free = i;
			}
		}
		for (uint32_t i = 1; i < na->bump; i++) {
			if (!(m.nodes[i / 8] >> (i % 8) & 1)) {
				atomic_store(node_link(t, i), na->free);
				na->free = i;
			}
		}
	} /* else: the lost ones stay lost */
	atomic_fetch_add(&t->ctl->gen, 2);
	free(m.elems);
	free(m.nodes);
}

static int lock(struct skep_map *map)
{
	struct lpm *t = map->priv;
	int err = skep_lock(&t->ctl->lock, map->obj.skep->parts);

	if (err == SKEP_LOCK_DIED)
		repair(t);
	return err < 0 ? err : 0;
}

static void unlock(struct skep_map *map)
{
	struct lpm *t = map->priv;

	skep_unlock(&t->ctl->lock);
}

static void *lpm_lookup(struct skep_map *map, const void *key, struct skep_env *env)
{
	struct lpm *t = map->priv;
	const uint8_t *data = (const uint8_t *)key + 4;
	uint32_t plen, e;

	memcpy(&plen, key, 4);
	if (plen > t->max_bits)
		return NULL;
	for (int i = 0; i < TRIES; i++) {
		uint32_t gen = atomic_load_explicit(&t->ctl->gen, memory_order_acquire);

		e = find_longest(t, data, plen);
		atomic_thread_fence(memory_order_acquire);
		if (atomic_load_explicit(&t->ctl->gen, memory_order_relaxed) - gen <= 1)
			return e ? (uint8_t *)elem_at(t, e) + t->value_off : NULL;
	}
	/* Memory is being reused faster than we walk. */
	if (lock(map))
		return NULL;
	e = find_longest(t, data, plen);
	unlock(map);
	return e ? (uint8_t *)elem_at(t, e) + t->value_off : NULL;
}

/* The copy is good if the element's memory was not used again meanwhile. */
static int lpm_sys_lookup(struct skep_map *map, const void *key, void *value, uint64_t flags,
			  struct skep_env *env)
{
	struct lpm *t = map->priv;

	const void *from;

	for (int i = 0; i < TRIES; i++) {
		uint32_t gen = atomic_load_explicit(&t->ctl->gen, memory_order_acquire);

		from = lpm_lookup(map, key, env);
		if (!from)
			return -ENOENT;
		skep_copy_racy(value, from, map->value_size);
		atomic_thread_fence(memory_order_acquire);
		if (atomic_load_explicit(&t->ctl->gen, memory_order_relaxed) - gen <= 1)
			return 0;
	}
	if (lock(map))
		return -EBUSY;
	from = lpm_lookup(map, key, env);
	if (from)
		skep_copy_racy(value, from, map->value_size);
	unlock(map);
	return from ? 0 : -ENOENT;
}

/* ---- Changes ---- */

/* Some element below node i, or 0. */
static uint32_t any_elem(const struct lpm *t, uint32_t i)
{
	uint32_t depth = 0;

	for (;;) {
		const struct node *n = node_at(t, i);
		uint32_t next = 0;

		for (uint32_t k = 1; k < 16; k++)
			if (n->prefix[k])
				return n->prefix[k];
		for (uint32_t k = 0; k < 16 && !next; k++)
			next = n->child[k];
		if (!next || next & LEAF)
			return next & ~LEAF;
		if (depth_of(node_at(t, next)->meta) <= depth)
			return 0;
		i = next;
		depth = depth_of(node_at(t, next)->meta);
	}
}

/* The place of a key: a slot of a node, the node's parent slot, what is there. */
struct place {
	uint32_t node;
	_Atomic uint32_t *up; /* the slot that holds node; NULL: the root */
	bool is_prefix; /* slot is a prefix of the node, else a child */
	uint32_t k; /* its index */
	uint32_t now; /* the slot's value (tagged as there) */
	uint32_t elem; /* the element with just this key, or 0 */
	uint32_t common; /* bits shared with what is in the slot, if not elem */
	uint32_t rep; /* an element behind the slot */
};

static void find_place(struct lpm *t, const uint8_t *data, uint32_t plen, struct place *p)
{
	uint32_t i = 0, depth = 0, c, rep_len;

	/* Down by the key's bits, unverified, to an element to compare with. */
	*p = (struct place){0};
	for (;;) {
		c = plen >= depth * 4 + 4 ? node_at(t, i)->child[nibble(data, depth)] : 0;
		if (!c || c & LEAF || depth_of(node_at(t, c)->meta) <= depth ||
		    depth_of(node_at(t, c)->meta) * 4 >= t->max_bits)
			break;
		i = c;
		depth = depth_of(node_at(t, i)->meta);
	}
	p->rep = c & LEAF ? c & ~LEAF : any_elem(t, i);
	rep_len = elem_at(t, p->rep)->plen;
	if (rep_len > t->max_bits)
		rep_len = t->max_bits;
	p->common = p->rep ? common_bits(elem_at(t, p->rep)->data, data, t->data_size,
					 rep_len < plen ? rep_len : plen)
			   : 0;
	/* Down again, while all of a node's bits are the key's. */
	for (i = 0, depth = 0;;) {
		struct node *n = node_at(t, i);
		uint32_t d;

		p->node = i;
		p->is_prefix = plen < depth * 4 + 4;
		p->k = p->is_prefix ? prefix_index(t, data, plen) : nibble(data, depth);
		p->now = p->is_prefix ? n->prefix[p->k] : n->child[p->k];
		if (p->is_prefix) {
			p->elem = p->now;
			return;
		}
		if (!p->now)
			return;
		if (p->now & LEAF) {
			p->rep = p->now & ~LEAF;
			if (p->common == plen && elem_at(t, p->rep)->plen == plen)
				p->elem = p->rep;
			return;
		}
		d = depth_of(node_at(t, p->now)->meta);
		if (d * 4 > p->common || d <= depth)
			return;
		p->up = &n->child[p->k];
		i = p->now;
		depth = d;
	}
}

static void put_prefix(struct node *n, uint32_t k, uint32_t e)
{
	atomic_store_explicit(&n->prefix[k], e, memory_order_release);
	if (e)
		atomic_fetch_or_explicit(&n->meta, 1u << (16 + k), memory_order_release);
}

/* A node at depth between p's node and what is in the slot, holding that and e. */
static int split(struct skep_map *map, const struct place *p, const uint8_t *data, uint32_t plen,
		 uint32_t e)
{
	struct lpm *t = map->priv;
	const struct elem *rep = elem_at(t, p->rep);
	uint32_t depth = p->common / 4, i;
	struct node *n;
	int err;

	if (depth <= depth_of(node_at(t, p->node)->meta) || depth * 4 >= t->max_bits)
		return -EINVAL; /* only if someone wrote garbage */
	err = alloc_node(t, map, depth, &i);
	if (err)
		return err;
	n = node_at(t, i);
	if (p->now & LEAF && rep->plen < depth * 4 + 4)
		put_prefix(n, prefix_index(t, rep->data, rep->plen), p->rep);
	else
		n->child[nibble(rep->data, depth)] = p->now;
	if (plen < depth * 4 + 4)
		put_prefix(n, prefix_index(t, data, plen), e);
	else
		n->child[nibble(data, depth)] = e | LEAF;
	atomic_store_explicit(&node_at(t, p->node)->child[p->k], i, memory_order_release);
	return 0;
}

static int check_add(struct skep_map *map, uint64_t flags)
{
	struct lpm *t = map->priv;

	if (flags == BPF_EXIST)
		return -ENOENT;
	if (atomic_load(&t->ctl->count) >= map->max_entries)
		return -ENOSPC;
	return 0;
}

static long lpm_update(struct skep_map *map, const void *key, const void *value, uint64_t flags,
		       struct skep_env *env)
{
	struct lpm *t = map->priv;
	const uint8_t *data = (const uint8_t *)key + 4;
	struct place p;
	uint32_t plen, e;
	int err;

	memcpy(&plen, key, 4);
	if (flags > BPF_EXIST || plen > t->max_bits)
		return -EINVAL;
	err = lock(map);
	if (err)
		return err;
	find_place(t, data, plen, &p);
	if (p.elem)
		err = flags == BPF_NOEXIST ? -EEXIST : 0;
	else
		err = check_add(map, flags);
	if (!err)
		err = alloc_elem(t, map, key, value, &e);
	if (err)
		goto out;
	if (p.is_prefix)
		put_prefix(node_at(t, p.node), p.k, e);
	else if (!p.now || p.elem)
		atomic_store_explicit(&node_at(t, p.node)->child[p.k], e | LEAF,
				      memory_order_release);
	else
		err = split(map, &p, data, plen, e);
	if (err) {
		retire(t, &t->ctl->elems, elem_link, e);
		goto out;
	}
	if (p.elem)
		retire(t, &t->ctl->elems, elem_link, p.elem);
	else
		atomic_fetch_add(&t->ctl->count, 1);
out:
	unlock(map);
	return err;
}

/* A node that is left with one thing gives its place to it. */
static void collapse(struct lpm *t, const struct place *p)
{
	struct node *n = node_at(t, p->node);
	uint32_t left = 0, found = 0;

	if (!p->up)
		return;
	for (uint32_t k = 1; k < 16; k++) {
		if (n->prefix[k]) {
			left++;
			found = n->prefix[k] | LEAF;
		}
	}
	for (uint32_t k = 0; k < 16; k++) {
		if (n->child[k]) {
			left++;
			found = n->child[k];
		}
	}
	if (left > 1)
		return;
	atomic_store_explicit(p->up, found, memory_order_release);
	retire(t, &t->ctl->nodes, node_link, p->node);
}

static long lpm_delete(struct skep_map *map, const void *key, struct skep_env *env)
{
	struct lpm *t = map->priv;
	struct place p;
	struct node *n;
	uint32_t plen;
	int err;

	memcpy(&plen, key, 4);
	if (plen > t->max_bits)
		return -EINVAL;
	err = lock(map);
	if (err)
		return err;
	find_place(t, (const uint8_t *)key + 4, plen, &p);
	if (p.elem) {
		n = node_at(t, p.node);
		if (p.is_prefix) {
			atomic_fetch_and(&n->meta, ~(1u << (16 + p.k)));
			atomic_store_explicit(&n->prefix[p.k], 0, memory_order_release);
		} else {
			atomic_store_explicit(&n->child[p.k], 0, memory_order_release);
		}
		collapse(t, &p);
		retire(t, &t->ctl->elems, elem_link, p.elem);
		atomic_fetch_sub(&t->ctl->count, 1);
	}
	unlock(map);
	return p.elem ? 0 : -ENOENT;
}

/* ---- Iteration: the kernel's order, what is more specific before what covers it ---- */

/* The slots of a node in this order: child c is c, prefix k is 16 + k. */
static const uint8_t order[31] = {0, 1,  24, 2,  3,  25, 20, 4,  5,  26, 6,  7,  27, 21, 18, 8,
				  9, 28, 10, 11, 29, 22, 12, 13, 30, 14, 15, 31, 23, 19, 17};

static int position(uint32_t slot)
{
	for (int i = 0; i < 31; i++)
		if (order[i] == slot)
			return i;
	return 31;
}

static uint32_t slot_value(const struct node *n, uint32_t slot)
{
	if (slot < 16)
		return n->child[slot];
	return n->prefix[slot - 16] ? n->prefix[slot - 16] | LEAF : 0;
}

/* First element of node i from position pos on. */
static uint32_t first_from(const struct lpm *t, uint32_t i, int pos)
{
	uint32_t depth = depth_of(node_at(t, i)->meta);

	while (pos < 31) {
		uint32_t v = slot_value(node_at(t, i), order[pos++]);

		if (v & LEAF)
			return v & ~LEAF;
		if (v && depth_of(node_at(t, v)->meta) > depth) {
			i = v;
			depth = depth_of(node_at(t, v)->meta);
			pos = 0;
		}
	}
	return 0;
}

static uint32_t next_elem(struct lpm *t, const uint8_t *key)
{
	uint32_t plen, i = 0, depth = 0, n = 0, e;
	struct {
		uint32_t node;
		int pos;
	} path[513];
	struct place p;

	memcpy(&plen, key, 4);
	if (plen > t->max_bits)
		return first_from(t, 0, 0);
	find_place(t, key + 4, plen, &p);
	if (!p.elem)
		return first_from(t, 0, 0);
	for (; n < 513; n++) {
		uint32_t slot = plen < depth * 4 + 4 ? 16 + prefix_index(t, key + 4, plen)
						     : nibble(key + 4, depth);

		path[n].node = i;
		path[n].pos = position(slot);
		if (i == p.node)
			break;
		i = slot < 16 ? node_at(t, i)->child[slot] : 0;
		if (!i || i & LEAF || depth_of(node_at(t, i)->meta) <= depth)
			return 0;
		depth = depth_of(node_at(t, i)->meta);
	}
	for (n = n < 513 ? n : 512;; n--) {
		e = first_from(t, path[n].node, path[n].pos + 1);
		if (e || !n)
			return e;
	}
}

static int lpm_next_key(struct skep_map *map, const void *key, void *next)
{
	struct lpm *t = map->priv;
	uint32_t e;
	int err = lock(map);

	if (err)
		return err;
	e = key ? next_elem(t, key) : first_from(t, 0, 0);
	if (e) {
		memcpy(next, &elem_at(t, e)->plen, 4);
		memcpy((uint8_t *)next + 4, elem_at(t, e)->data, t->data_size);
	}
	unlock(map);
	return e ? 0 : -ENOENT;
}

/* ---- The map ---- */

static int lpm_check(const union bpf_attr *attr)
{
	if (!attr->max_entries || !(attr->map_flags & BPF_F_NO_PREALLOC) ||
	    attr->map_flags & ~FLAGS || !skep_map_access_ok(attr->map_flags) ||
	    attr->key_size < KEY_MIN || attr->key_size > KEY_MAX || !attr->value_size ||
	    attr->value_size > VALUE_MAX)
		return -EINVAL;
	return 0;
}

static int lpm_create(struct skep_map *map, const union bpf_attr *attr)
{
	uint64_t slack = map->max_entries < 240 ? map->max_entries + 16 : 256;
	uint64_t nelems = map->max_entries + slack, nnodes;
	struct lpm *t = calloc(1, sizeof(*t));
	int err;

	if (!t)
		return -ENOMEM;
	t->data_size = map->key_size - 4;
	t->max_bits = t->data_size * 8;
	t->value_off = 8 + ((t->data_size + 7) & ~7u);
	t->stride = t->value_off + map->elem_size;
	if (nelems > MAX_ARENA / t->stride)
		nelems = MAX_ARENA / t->stride;
	nnodes = nelems + 1;
	if (nnodes > MAX_ARENA / sizeof(struct node))
		nnodes = MAX_ARENA / sizeof(struct node);
	t->nelems = (uint32_t)nelems;
	t->nnodes = (uint32_t)nnodes;
	err = skep_map_seg(map, &map->data, SKEP_MAP_HANDLE, t->nelems * t->stride);
	if (err)
		goto fail;
	err = skep_map_seg(map, &map->ctl, "skep-lpm-ctl",
			   links_off(t->nnodes) + (size_t)t->nnodes * 4);
	if (err)
		goto fail_data;
	err = skep_seg_reserve(&map->ctl, 0, NODES_OFF + sizeof(struct node));
	if (!err)
		err = skep_seg_reserve(&map->data, 0, t->stride);
	if (err)
		goto fail_ctl;
	t->elems = map->data.base;
	t->ctl = map->ctl.base;
	t->nodes = (struct node *)((uint8_t *)map->ctl.base + NODES_OFF);
	t->links = (_Atomic uint32_t *)((uint8_t *)map->ctl.base + links_off(t->nnodes));
	if (!map->attached)
		t->ctl->elems.bump = t->ctl->nodes.bump = 1;
	map->priv = t;
	return 0;
fail_ctl:
	skep_seg_close(&map->ctl);
fail_data:
	skep_seg_close(&map->data);
fail:
	free(t);
	return err;
}

static void lpm_destroy(struct skep_map *map)
{
	free(map->priv);
}

static bool lpm_contains(const struct skep_map *map, uint64_t off, size_t size)
{
	const struct lpm *t = map->priv;
	uint64_t in = off % t->stride;

	return size <= t->stride && in >= 4 && in + size <= t->stride;
}

static uint64_t lpm_mem_usage(struct skep_map *map)
{
	struct lpm *t = map->priv;

	return (uint64_t)atomic_load(&t->ctl->count) * (t->stride + sizeof(struct node));
}

const struct skep_map_ops skep_map_lpm = {
	.name = "lpm_trie",
	.check = lpm_check,
	.create = lpm_create,
	.destroy = lpm_destroy,
	.lookup = lpm_lookup,
	.update = lpm_update,
	.delete = lpm_delete,
	.sys_lookup = lpm_sys_lookup,
	.sys_update = skep_plain_sys_update,
	.sys_delete = skep_plain_sys_delete,
	.next_key = lpm_next_key,
	.contains = lpm_contains,
	.mem_usage = lpm_mem_usage,
	.batch = SKEP_BATCH_LOOKUP | SKEP_BATCH_UPDATE | SKEP_BATCH_DELETE,
	.is_inner_ok = true,
	.anywhere = true,
	.flags_ok = FLAGS,
	.btf = SKEP_BTF_STRUCT,
};
