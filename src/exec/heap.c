/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The heap: a segment cut into slabs, each of blocks of one size. What a block's size is stands
 * in a table by slab, so any address finds its block. Free blocks of a size are a stack, linked
 * by offsets in their first word; its head carries a count that rises with every change.
 */
#include "exec/heap.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "bpf/instance.h"
#include "os/os.h"

#define SLAB    SKEP_HEAP_MAX
#define SLABS   (SKEP_HEAP_SIZE / SLAB)
#define SHIFT   4 /* smallest block: 16 bytes */
#define CLASSES 13 /* 16 bytes to 64 KiB */

struct control { /* in the first slab */
	_Atomic uint32_t slabs; /* handed out, this one too */
	_Atomic uint64_t used; /* objects */
	_Atomic uint64_t free[CLASSES]; /* count << 32 | offset */
	_Atomic uint64_t fresh[CLASSES]; /* the slab that is being cut up: offset of its rest */
	_Atomic uint8_t class[SLABS]; /* 1 + its class, 0: not handed out */
};
_Static_assert(sizeof(struct control) <= SLAB, "the control part is the first slab");

struct skep_heap {
	struct skep_seg seg;
	struct control *ctl;
};

/* Where bit 39 is 0, too: in the reverse order of bytes it would be a sign. */
static int place(struct skep_seg *seg)
{
	uint64_t at = skep_random();
	int err = -EEXIST;

	for (unsigned i = 0; i < 128 && err == -EEXIST; i++)
		err = skep_seg_move(seg, (0x7f00 + ((at + i) & 0x7f)) << 32);
	return err;
}

int skep_heap_open(struct skep *skep)
{
	struct skep_heap *heap, *none = NULL;
	int err;

	if (atomic_load(&skep->heap))
		return 0;
	heap = calloc(1, sizeof(*heap));
	if (!heap)
		return -ENOMEM;
	/* The last slab is never handed out: it is what may lie behind an offset. */
	err = skep_seg_create(&heap->seg, "bpf-heap", SKEP_HEAP_SIZE);
	if (!err)
		err = place(&heap->seg);
	if (err) {
		skep_seg_close(&heap->seg);
		free(heap);
		return err;
	}
	heap->ctl = heap->seg.base;
	atomic_store(&heap->ctl->slabs, 1);
	if (!atomic_compare_exchange_strong(&skep->heap, &none, heap)) {
		skep_seg_close(&heap->seg);
		free(heap);
	}
	return 0;
}

void skep_heap_close(struct skep *skep)
{
	struct skep_heap *heap = atomic_exchange(&skep->heap, NULL);

	if (!heap)
		return;
	skep_seg_close(&heap->seg);
	free(heap);
}

uint8_t *skep_heap_base(struct skep *skep)
{
	struct skep_heap *heap = atomic_load_explicit(&skep->heap, memory_order_acquire);

	return heap ? heap->seg.base : NULL;
}

static _Atomic uint64_t *link_of(const struct skep_heap *heap, uint64_t off)
{
	return (_Atomic uint64_t *)((uint8_t *)heap->seg.base + off);
}

/* Offsets read from the segment, made harmless. */
static uint64_t harmless(uint64_t off)
{
	return off & SKEP_HEAP_MASK;
}

static uint64_t pop(const struct skep_heap *heap, unsigned class)
{
	_Atomic uint64_t *head = &heap->ctl->free[class];
	uint64_t old = atomic_load(head), off, next;

	do {
		off = harmless((uint32_t)old);
		if (off < SLAB)
			return 0;
		next = harmless(atomic_load_explicit(link_of(heap, off), memory_order_relaxed));
		next |= ((old >> 32) + 1) << 32;
	} while (!atomic_compare_exchange_weak(head, &old, next));
	return off;
}

/* A block that nobody had yet, from the slab that is being cut up or a new one. */
static uint64_t cut(struct skep_heap *heap, unsigned class)
{
	_Atomic uint64_t *fresh = &heap->ctl->fresh[class];
	uint64_t size = 1ull << (class + SHIFT), old = atomic_load(fresh), off, rest;
	uint32_t slab;

	while (old) {
		off = harmless(old);
		rest = (off + size) % SLAB ? off + size : 0;
		if (atomic_compare_exchange_weak(fresh, &old, rest))
			return off;
	}
	slab = atomic_fetch_add(&heap->ctl->slabs, 1);
	if (slab >= SLABS - 1) {
		atomic_fetch_sub(&heap->ctl->slabs, 1);
		return 0;
	}
	off = (uint64_t)slab * SLAB;
	if (skep_seg_reserve(&heap->seg, off, SLAB))
		return 0;
	atomic_store(&heap->ctl->class[slab], (uint8_t)(class + 1));
	/* If another thread made one meanwhile, the rest of this one is lost to its class only
	 * until the heap goes: rare, and at most a slab per race. */
	old = 0;
	if (size < SLAB)
		atomic_compare_exchange_strong(fresh, &old, off + size);
	return off;
}

void *skep_heap_alloc(struct skep *skep, size_t size)
{
	struct skep_heap *heap = atomic_load_explicit(&skep->heap, memory_order_acquire);
	unsigned class = 0;
	uint64_t off;
	void *p;

	if (!heap || size > SLAB)
		return NULL;
	while (size > 1ull << (class + SHIFT))
		class ++;
	off = pop(heap, class);
	if (!off)
		off = cut(heap, class);
	if (!off)
		return NULL;
	p = (uint8_t *)heap->seg.base + off;
	atomic_fetch_add_explicit(&heap->ctl->used, 1, memory_order_relaxed);
	memset(p, 0, size);
	return p;
}

void skep_heap_free(struct skep *skep, void *p)
{
	struct skep_heap *heap = atomic_load_explicit(&skep->heap, memory_order_acquire);
	uint64_t off = heap ? (uint64_t)((uint8_t *)p - (uint8_t *)heap->seg.base) : 0, old;
	_Atomic uint64_t *head;
	unsigned class;

	if (off < SLAB || off >= SKEP_HEAP_SIZE)
		return;
	class = atomic_load(&heap->ctl->class[off / SLAB]);
	if (!class || class > CLASSES)
		return;
	class --;
	off &= ~((1ull << (class + SHIFT)) - 1);
	atomic_fetch_sub_explicit(&heap->ctl->used, 1, memory_order_relaxed);
	head = &heap->ctl->free[class];
	old = atomic_load(head);
	do {
		atomic_store_explicit(link_of(heap, off), (uint32_t)old, memory_order_relaxed);
	} while (!atomic_compare_exchange_weak(head, &old, ((old >> 32) + 1) << 32 | off));
}

uint64_t skep_heap_offset(struct skep *skep, const void *p)
{
	uint8_t *base = skep_heap_base(skep);
	uint64_t off = base && p ? (uint64_t)((const uint8_t *)p - base) : 0;

	return off < SKEP_HEAP_SIZE ? off : 0;
}

void *skep_heap_at(struct skep *skep, uint64_t offset)
{
	uint8_t *base = skep_heap_base(skep);

	offset = harmless(offset);
	if (!base || offset < SLAB)
		return NULL;
	return base + offset;
}

uint64_t skep_heap_used(struct skep *skep)
{
	struct skep_heap *heap = atomic_load(&skep->heap);

	return heap ? atomic_load(&heap->ctl->used) : 0;
}

void *skep_heap_object(struct skep *skep, void *p)
{
	struct skep_heap *heap = atomic_load(&skep->heap);
	uint64_t off = skep_heap_offset(skep, p);
	unsigned class = off ? atomic_load(&heap->ctl->class[off / SLAB]) : 0;

	return class && class <= CLASSES && !(off % (1ull << (class - 1 + SHIFT))) ? p : NULL;
}
