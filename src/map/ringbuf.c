// SPDX-License-Identifier: Apache-2.0
/*
 * Ring buffer. The data segment is what the kernel's mmap shows: the consumer's
 * page, the producer's page, then the data area twice.
 *
 * In the kernel the second copy is the same memory again, so that a record which
 * runs over the end can be read in one piece. A memfd can't do that, and need not:
 * a record is written in one piece too. Its header lies in the first copy, and
 * what runs over the end goes on into the second and stays there; the next record
 * starts where the ring says, behind it in the first copy. Reader and writer
 * find every record at data + (position & mask), in one piece, so libbpf's consumer
 * works on it with plain mmaps.
 *
 * Layout beyond the kernel's: the consumer page counts, at ARMED, who sleeps; the
 * producer page holds, at SEQ, the word that they sleep on, changed at each wakeup.
 *
 * pg_off counts pages from the kernel's own structure, one before the consumer's page.
 * While a record is busy, its upper 8 bits name the owner, a slot of the table in the
 * control segment. Records of owners that died are discarded by whoever finds them
 * in the way: a producer that needs space, or a consumer.
 */
#include <errno.h>
#include <limits.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "map/map.h"
#include "map/pages.h"
#include "map/types.h"

#define FLAGS       BPF_F_NUMA_NODE
#define PAGE        SKEP_PAGE
#define BUSY        BPF_RINGBUF_BUSY_BIT
#define DISCARD     BPF_RINGBUF_DISCARD_BIT
#define HDR         BPF_RINGBUF_HDR_SZ
#define MAX_RECORD  (UINT32_MAX / 4)
#define OWNERS      256
#define OWNER_SHIFT 24
#define CHUNK       65536u /* memory is backed in such pieces */
#define MAX_STEPS   65536 /* records that one walk looks at */

struct hdr {
	_Atomic uint32_t len;
	_Atomic uint32_t pg_off;
};

struct ctl {
	struct skep_lock lock;
	_Atomic uint64_t owners[OWNERS]; /* process images; [0] is unused */
};

struct ring {
	struct skep_cons_page *cons;
	struct skep_prod_page *prod;
	uint8_t *data;
	struct ctl *ctl;
	uint64_t mask;
	_Atomic uint64_t *backed; /* bit per chunk of both copies */
	_Atomic uint64_t image; /* this process, whose slot is: */
	_Atomic uint32_t slot;
};

struct skep_reserved {
	uint8_t *sample;
	struct skep_map *map;
	uint32_t size;
};

static int ringbuf_check(const union bpf_attr *attr)
{
	uint32_t n = attr->max_entries;

	if (attr->map_flags & ~FLAGS || attr->key_size || attr->value_size || !n || n & (n - 1) ||
	    n % PAGE)
		return -EINVAL;
	return 0;
}

static int ringbuf_create(struct skep_map *map, const union bpf_attr *attr)
{
	uint64_t size = map->max_entries;
	struct ring *r = calloc(1, sizeof(*r));
	int err = -ENOMEM;

	if (!r)
		return -ENOMEM;
	r->backed = calloc(2 * size / CHUNK / 64 + 1, 8);
	if (!r->backed)
		goto fail;
	err = skep_map_seg(map, &map->data, SKEP_MAP_HANDLE, 2 * PAGE + 2 * size);
	if (err)
		goto fail;
	err = skep_map_seg(map, &map->ctl, "skep-ringbuf-ctl", sizeof(struct ctl));
	if (err)
		goto fail_data;
	err = skep_seg_reserve(&map->data, 0, 2 * PAGE);
	if (!err)
		err = skep_seg_reserve(&map->ctl, 0, sizeof(struct ctl));
	if (err)
		goto fail_ctl;
	r->cons = map->data.base;
	r->prod = (struct skep_prod_page *)((uint8_t *)map->data.base + PAGE);
	r->data = (uint8_t *)map->data.base + 2 * PAGE;
	r->ctl = map->ctl.base;
	r->mask = size - 1;
	map->priv = r;
	return 0;
fail_ctl:
	skep_seg_close(&map->ctl);
fail_data:
	skep_seg_close(&map->data);
fail:
	free(r->backed);
	free(r);
	return err;
}

static void ringbuf_destroy(struct skep_map *map)
{
	struct ring *r = map->priv;

	if (!r)
		return;
	free(r->backed);
	free(r);
}

static struct hdr *hdr_at(const struct ring *r, uint64_t pos)
{
	return (struct hdr *)(r->data + (pos & r->mask & ~7ull));
}

static uint64_t record_size(uint32_t len)
{
	return ((uint64_t)(len & ~(BUSY | DISCARD)) + HDR + 7) & ~7ull;
}

/* Whether a busy record's owner is gone; if so the record is discarded. */
static bool bury(struct skep_map *map, struct hdr *h)
{
	struct ring *r = map->priv;
	uint32_t len = atomic_load_explicit(&h->len, memory_order_acquire), slot;
	uint64_t owner;

	if (!(len & BUSY))
		return true;
	slot = atomic_load(&h->pg_off) >> OWNER_SHIFT;
	if (!slot)
		return false;
	owner = atomic_load(&r->ctl->owners[slot]);
	if (!owner || skep_alive(map->obj.skep->parts, owner))
		return false;
	atomic_compare_exchange_strong(&h->len, &len, (len & ~BUSY) | DISCARD);
	return true;
}

/* Moves the pending position over what is committed. Under the lock. */
static uint64_t advance_pending(struct skep_map *map, uint64_t prod, bool look_for_dead)
{
	struct ring *r = map->priv;
	uint64_t pos = atomic_load_explicit(&r->prod->pending, memory_order_relaxed);

	if (prod - pos > r->mask + 1) /* only if someone wrote garbage */
		pos = prod;
	for (int i = 0; pos != prod && prod - pos <= r->mask + 1 && i < MAX_STEPS; i++) {
		struct hdr *h = hdr_at(r, pos);
		uint32_t len = atomic_load_explicit(&h->len, memory_order_acquire);

		if (len & BUSY && !(look_for_dead && bury(map, h)))
			break;
		pos += record_size(len);
	}
	if (prod - pos > r->mask + 1)
		pos = prod;
	atomic_store_explicit(&r->prod->pending, pos, memory_order_relaxed);
	return pos;
}

/* This process's slot in the owner table. Under the lock. 0: the table is full. */
static uint32_t own_slot(struct skep_map *map, uint64_t prod)
{
	struct ring *r = map->priv;
	struct skep_parts *parts = map->obj.skep->parts;
	uint64_t me = skep_self_image(skep_self(parts)), pos;
	uint32_t i, dead = 0;

	if (atomic_load_explicit(&r->image, memory_order_relaxed) == me)
		return atomic_load_explicit(&r->slot, memory_order_relaxed);
	for (i = 1; i < OWNERS; i++)
		if (atomic_load(&r->ctl->owners[i]) == me)
			goto found;
	for (i = 1; i < OWNERS; i++)
		if (!atomic_load(&r->ctl->owners[i]))
			goto found;
	for (i = 1; i < OWNERS && !dead; i++)
		if (!skep_alive(parts, atomic_load(&r->ctl->owners[i])))
			dead = i;
	i = dead;
	if (dead) {
		/* No record may still name the slot's old owner. */
		pos = advance_pending(map, prod, true);
		for (int n = 0; pos != prod && prod - pos <= r->mask && n < MAX_STEPS; n++) {
			struct hdr *h = hdr_at(r, pos);

			bury(map, h);
			pos += record_size(atomic_load(&h->len));
		}
	}
found:
	if (i)
		atomic_store(&r->ctl->owners[i], me);
	atomic_store(&r->slot, i);
	atomic_store(&r->image, me);
	return i;
}

static int back(struct skep_map *map, uint64_t off, uint64_t len)
{
	struct ring *r = map->priv;

	for (uint64_t c = off / CHUNK; c <= (off + len - 1) / CHUNK; c++) {
		uint64_t at = 2 * PAGE + c * CHUNK, n = CHUNK;

		if (atomic_load_explicit(&r->backed[c / 64], memory_order_relaxed) >> (c % 64) & 1)
			continue;
		if (n > map->data.size - at)
			n = map->data.size - at;
		if (skep_seg_reserve(&map->data, at, n))
			return -ENOMEM;
		atomic_fetch_or(&r->backed[c / 64], 1ull << (c % 64));
	}
	return 0;
}

static uint8_t *reserve(struct skep_map *map, uint64_t size)
{
	struct ring *r = map->priv;
	uint64_t len = (size + HDR + 7) & ~7ull, cons, prod, next, pending, off;
	struct hdr *h = NULL;
	uint32_t slot;

	if (size > MAX_RECORD || len > r->mask + 1)
		return NULL;
	cons = atomic_load_explicit(&r->cons->pos, memory_order_acquire);
	if (skep_lock(&r->ctl->lock, map->obj.skep->parts) < 0)
		return NULL;
	/* A holder that died before it moved the position changed nothing. */
	prod = atomic_load_explicit(&r->prod->pos, memory_order_relaxed) & ~7ull;
	next = prod + len;
	slot = own_slot(map, prod);
	pending = advance_pending(map, prod, false);
	if (next - pending > r->mask)
		pending = advance_pending(map, prod, true);
	off = prod & r->mask;
	if (next - cons > r->mask || next - pending > r->mask || back(map, off, len))
		goto out;
	h = hdr_at(r, prod);
	atomic_store_explicit(&h->pg_off, (uint32_t)(off / PAGE + 3) | slot << OWNER_SHIFT,
			      memory_order_relaxed);
	atomic_store_explicit(&h->len, (uint32_t)size | BUSY, memory_order_relaxed);
	atomic_store_explicit(&r->prod->pos, next, memory_order_release);
out:
	skep_unlock(&r->ctl->lock);
	return h ? (uint8_t *)(h + 1) : NULL;
}

static void wake(struct ring *r)
{
	atomic_fetch_add(&r->prod->seq, 1);
	if (atomic_load(&r->cons->armed))
		skep_futex_wake((const uint32_t *)&r->prod->seq, INT_MAX);
}

static void commit(struct skep_map *map, uint8_t *sample, uint32_t size, uint64_t flags,
		   bool discard)
{
	struct ring *r = map->priv;
	struct hdr *h = (struct hdr *)(sample - HDR);
	uint64_t off = (uint64_t)(sample - HDR - r->data);

	atomic_store_explicit(&h->pg_off, (uint32_t)(off / PAGE + 3), memory_order_relaxed);
	/* Ordered before the look at the consumer's position, as its look at the header
	 * is after it moved: one of both sees the other. */
	atomic_exchange(&h->len, size | (discard ? DISCARD : 0));
	if (flags & BPF_RB_FORCE_WAKEUP)
		wake(r);
	else if (!(flags & BPF_RB_NO_WAKEUP) && (atomic_load(&r->cons->pos) & r->mask) == off)
		wake(r);
}

void *skep_ringbuf_reserve(struct skep_map *map, uint64_t size, struct skep_env *env)
{
	uint8_t *sample;

	if (env->nreserved == env->reserved_cap) {
		uint32_t cap = env->reserved_cap ? env->reserved_cap * 2 : 16;
		void *p = realloc(env->reserved, cap * sizeof(*env->reserved));

		if (!p)
			return NULL;
		env->reserved = p;
		env->reserved_cap = cap;
	}
	sample = reserve(map, size);
	if (sample)
		env->reserved[env->nreserved++] =
			(struct skep_reserved){sample, map, (uint32_t)size};
	return sample;
}

void skep_ringbuf_commit(void *sample, uint64_t flags, bool discard, struct skep_env *env)
{
	for (uint32_t i = env->nreserved; i-- > 0;) {
		struct skep_reserved rec = env->reserved[i];

		if (rec.sample != sample)
			continue;
		env->reserved[i] = env->reserved[--env->nreserved];
		commit(rec.map, rec.sample, rec.size, flags, discard);
		return;
	}
}

long skep_ringbuf_output(struct skep_map *map, const void *data, uint64_t size, uint64_t flags)
{
	uint8_t *sample;

	if (flags & ~(uint64_t)(BPF_RB_NO_WAKEUP | BPF_RB_FORCE_WAKEUP))
		return -EINVAL;
	sample = reserve(map, size);
	if (!sample)
		return -EAGAIN;
	memcpy(sample, data, size);
	commit(map, sample, (uint32_t)size, flags, false);
	return 0;
}

uint64_t skep_ringbuf_query(struct skep_map *map, uint64_t flags)
{
	struct ring *r = map->priv;
	uint64_t cons = atomic_load(&r->cons->pos), prod = atomic_load(&r->prod->pos);

	switch (flags) {
	case BPF_RB_AVAIL_DATA:
		return prod - cons;
	case BPF_RB_RING_SIZE:
		return r->mask + 1;
	case BPF_RB_CONS_POS:
		return cons;
	case BPF_RB_PROD_POS:
		return prod;
	default:
		return 0;
	}
}

/* ---- Consumers ---- */

bool skep_ringbuf_readable(const struct skep_map *map)
{
	const struct ring *r = map->priv;

	return skep_ring_readable(r->cons, r->prod);
}

void skep_ringbuf_ready(struct skep_map *map, struct skep_ready *out)
{
	struct ring *r = map->priv;

	out->seq = (const uint32_t *)&r->prod->seq;
	out->armed = &r->cons->armed;
}

int skep_ringbuf_wait(struct skep_map *map, uint64_t ns)
{
	struct ring *r = map->priv;
	uint64_t start = skep_clock_mono(), gone;
	int ret = 0;

	atomic_fetch_add(&r->cons->armed, 1);
	for (;;) {
		uint32_t seq = atomic_load(&r->prod->seq);

		if (skep_ringbuf_readable(map)) {
			bury(map, hdr_at(r, atomic_load(&r->cons->pos)));
			ret = 1;
			break;
		}
		gone = skep_clock_mono() - start;
		if (gone >= ns)
			break;
		ret = skep_futex_wait((const uint32_t *)&r->prod->seq, seq, ns - gone);
		if (ret == -EINTR)
			break;
		ret = 0;
	}
	atomic_fetch_sub(&r->cons->armed, 1);
	return ret;
}

long skep_ringbuf_consume(struct skep_map *map,
			  int (*fn)(void *arg, const void *data, uint32_t size), void *arg)
{
	struct ring *r = map->priv;
	uint64_t cons = atomic_load(&r->cons->pos) & ~7ull, prod;
	long n = 0;
	int err;

	while (cons != (prod = atomic_load(&r->prod->pos))) {
		struct hdr *h = hdr_at(r, cons);
		uint32_t len = atomic_load_explicit(&h->len, memory_order_acquire);

		if (len & BUSY) {
			if (!bury(map, h))
				break;
			len = atomic_load_explicit(&h->len, memory_order_acquire);
		}
		/* Positions or a length that can't be: go on from where producers are. */
		if (prod - cons > r->mask + 1 || record_size(len) > prod - cons) {
			atomic_store(&r->cons->pos, prod & ~7ull);
			return -EILSEQ;
		}
		err = len & DISCARD ? 0 : fn(arg, h + 1, len);
		n += !(len & DISCARD);
		cons += record_size(len);
		atomic_store(&r->cons->pos, cons);
		if (err < 0)
			return err;
	}
	return n;
}

/* ---- The map ---- */

static uint64_t ringbuf_mmap_size(struct skep_map *map)
{
	return map->data.size;
}

static uint64_t ringbuf_mem_usage(struct skep_map *map)
{
	return 2 * PAGE + (uint64_t)map->max_entries + map->ctl.size;
}

const struct skep_map_ops skep_map_ringbuf = {
	.name = "ringbuf",
	.check = ringbuf_check,
	.create = ringbuf_create,
	.destroy = ringbuf_destroy,
	.lookup = skep_no_lookup,
	.update = skep_no_update,
	.delete = skep_no_delete,
	.sys_lookup = skep_no_sys_lookup,
	.sys_update = skep_plain_sys_update,
	.sys_delete = skep_plain_sys_delete,
	.next_key = skep_no_next_key,
	.mmap_size = ringbuf_mmap_size,
	.mem_usage = ringbuf_mem_usage,
	.is_inner_ok = true,
	.flags_ok = FLAGS,
	.unprivileged = true,
};

/* User space produces, programs consume; the segments are the same. */
const struct skep_map_ops skep_map_user_ringbuf = {
	.name = "user_ringbuf",
	.check = ringbuf_check,
	.create = ringbuf_create,
	.destroy = ringbuf_destroy,
	.lookup = skep_no_lookup,
	.update = skep_no_update,
	.delete = skep_no_delete,
	.sys_lookup = skep_no_sys_lookup,
	.sys_update = skep_plain_sys_update,
	.sys_delete = skep_plain_sys_delete,
	.next_key = skep_no_next_key,
	.mmap_size = ringbuf_mmap_size,
	.mem_usage = ringbuf_mem_usage,
	.is_inner_ok = true,
	.unprivileged = true,
	.flags_ok = FLAGS,
};
