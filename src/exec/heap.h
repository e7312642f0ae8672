/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Objects that programs make and keep (kptrs), and what kfuncs give references to. They lie in
 * one segment per instance, made when the first program that needs it is loaded; a forked child
 * shares it. What other memory stores of an object is its offset, never its address.
 *
 * It lies at a multiple of 2^32: see load_kptr() in verifier/rewrite.c.
 *
 * Everything here may be called from a running program, also in a signal handler: no locks.
 * Memory that was freed stays mapped, and is reused for objects of about the same size, so a
 * stale pointer is harmless; nothing that is read from the segment is believed.
 */
#ifndef SKEP_HEAP_H
#define SKEP_HEAP_H

#include <stddef.h>
#include <stdint.h>

struct skep;
struct skep_heap;

#define SKEP_HEAP_SIZE (1u << 28) /* bytes of the segment: sparse */
#define SKEP_HEAP_MAX  (1u << 16) /* largest object */
#define SKEP_HEAP_MASK (SKEP_HEAP_SIZE - 16) /* the bits of an offset that count */

/* Makes the instance's heap if it has none: 0 or -errno. */
int skep_heap_open(struct skep *skep);
void skep_heap_close(struct skep *skep);

/* Zeroed memory, aligned to 16; NULL: no more, or larger than the largest, or no heap. */
void *skep_heap_alloc(struct skep *skep, size_t size);
/* Takes any address, and does nothing unless it is inside an object. */
void skep_heap_free(struct skep *skep, void *p);

/* Offset of an object, not 0, and back: any number gives an address in the heap with
 * SKEP_HEAP_MAX bytes behind it. 0 is NULL. */
uint64_t skep_heap_offset(struct skep *skep, const void *p);
void *skep_heap_at(struct skep *skep, uint64_t offset);
/* p if it is where an object begins, else NULL. */
void *skep_heap_object(struct skep *skep, void *p);
/* Objects that there are: for tests. */
uint64_t skep_heap_used(struct skep *skep);
/* The heap's first byte, NULL: there is none. */
uint8_t *skep_heap_base(struct skep *skep);

#endif
