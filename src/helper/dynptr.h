/* SPDX-License-Identifier: Apache-2.0 */
/* What a struct bpf_dynptr holds while a program runs. */
#ifndef SKEP_HELPER_DYNPTR_H
#define SKEP_HELPER_DYNPTR_H

#include <stdbool.h>
#include <stdint.h>

/* What the memory is. */
enum skep_dynptr_kind {
	SKEP_DYNPTR_NONE,
	SKEP_DYNPTR_LOCAL, /* bytes of a map value */
	SKEP_DYNPTR_RINGBUF, /* a reserved record */
	SKEP_DYNPTR_SKB, /* data: the context */
	SKEP_DYNPTR_XDP,
	SKEP_DYNPTR_META, /* an skb's metadata; data: the context */
};

#define SKEP_DYNPTR_MAX    0xffffffu /* bytes */
#define SKEP_DYNPTR_RDONLY (1u << 31)
#define SKEP_DYNPTR_SHIFT  28 /* of the kind in size */

struct skep_dynptr {
	void *data; /* NULL: nothing can be done with it */
	uint32_t size; /* bytes, kind, SKEP_DYNPTR_RDONLY */
	uint32_t offset; /* where it begins in data */
};

static inline uint32_t skep_dynptr_size(const struct skep_dynptr *d)
{
	return d->size & SKEP_DYNPTR_MAX;
}

static inline enum skep_dynptr_kind skep_dynptr_kind(const struct skep_dynptr *d)
{
	return (enum skep_dynptr_kind)((d->size & ~SKEP_DYNPTR_RDONLY) >> SKEP_DYNPTR_SHIFT);
}

void skep_dynptr_init(struct skep_dynptr *d, void *data, enum skep_dynptr_kind kind,
		      uint32_t offset, uint32_t size);
void skep_dynptr_clear(struct skep_dynptr *d);
/* 0, -E2BIG: the bytes are not there. */
int skep_dynptr_check(const struct skep_dynptr *d, uint64_t off, uint64_t len);

#endif
