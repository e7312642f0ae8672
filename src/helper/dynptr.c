/* SPDX-License-Identifier: Apache-2.0 */
/* Dynptrs: made of map values and ring buffer records, read and written in bounds. */
#include "helper/dynptr.h"

#include <errno.h>
#include <string.h>

#include "helper/call.h"
#include "map/map.h"

void skep_dynptr_init(struct skep_dynptr *d, void *data, enum skep_dynptr_kind kind,
		      uint32_t offset, uint32_t size)
{
	d->data = data;
	d->offset = offset;
	d->size = size | (uint32_t)kind << SKEP_DYNPTR_SHIFT;
}

void skep_dynptr_clear(struct skep_dynptr *d)
{
	memset(d, 0, sizeof(*d));
}

int skep_dynptr_check(const struct skep_dynptr *d, uint64_t off, uint64_t len)
{
	uint64_t size = skep_dynptr_size(d);

	return len > size || off > size - len ? -E2BIG : 0;
}

static uint8_t *at(const struct skep_dynptr *d, uint32_t off)
{
	return (uint8_t *)d->data + d->offset + off;
}

HELPER(dynptr_from_mem)
{
	struct skep_dynptr *d = PTR(r4);

	skep_dynptr_clear(d);
	if ((uint32_t)r2 > SKEP_DYNPTR_MAX)
		return ERR(E2BIG);
	if (r3)
		return ERR(EINVAL);
	skep_dynptr_init(d, PTR(r1), SKEP_DYNPTR_LOCAL, 0, (uint32_t)r2);
	return 0;
}

HELPER(ringbuf_reserve_dynptr)
{
	struct skep_dynptr *d = PTR(r4);
	void *sample;

	skep_dynptr_clear(d);
	if (r3)
		return ERR(EINVAL);
	if ((uint32_t)r2 > SKEP_DYNPTR_MAX)
		return ERR(E2BIG);
	sample = skep_ringbuf_reserve(PTR(r1), (uint32_t)r2, env);
	if (!sample)
		return ERR(EINVAL);
	skep_dynptr_init(d, sample, SKEP_DYNPTR_RINGBUF, 0, (uint32_t)r2);
	return 0;
}

static uint64_t commit(struct skep_dynptr *d, uint64_t flags, bool discard, struct skep_env *env)
{
	if (d->data)
		skep_ringbuf_commit(d->data, flags, discard, env);
	skep_dynptr_clear(d);
	return 0;
}

HELPER(ringbuf_submit_dynptr)
{
	return commit(PTR(r1), r2, false, env);
}

HELPER(ringbuf_discard_dynptr)
{
	return commit(PTR(r1), r2, true, env);
}

HELPER(dynptr_read)
{
	const struct skep_dynptr *d = PTR(r3);
	uint32_t len = (uint32_t)r2, off = (uint32_t)r4;
	int err;

	if (!d->data || r5)
		return ERR(EINVAL);
	err = skep_dynptr_check(d, off, len);
	if (err)
		return (uint64_t)(int64_t)err;
	switch (skep_dynptr_kind(d)) {
	case SKEP_DYNPTR_LOCAL:
	case SKEP_DYNPTR_RINGBUF:
		memmove(PTR(r1), at(d, off), len);
		return 0;
	case SKEP_DYNPTR_SKB:
		return skep_help_skb_load_bytes(ADDR(d->data), d->offset + off, r1, len, 0, env);
	case SKEP_DYNPTR_XDP:
		return skep_help_xdp_load_bytes(ADDR(d->data), d->offset + off, r1, len, 0, env);
	default:
		return ERR(EFAULT);
	}
}

HELPER(dynptr_write)
{
	const struct skep_dynptr *d = PTR(r1);
	uint32_t len = (uint32_t)r4, off = (uint32_t)r2;
	int err;

	if (!d->data || d->size & SKEP_DYNPTR_RDONLY)
		return ERR(EINVAL);
	err = skep_dynptr_check(d, off, len);
	if (err)
		return (uint64_t)(int64_t)err;
	switch (skep_dynptr_kind(d)) {
	case SKEP_DYNPTR_LOCAL:
	case SKEP_DYNPTR_RINGBUF:
		if (r5)
			return ERR(EINVAL);
		memmove(at(d, off), PTR(r3), len);
		return 0;
	case SKEP_DYNPTR_SKB:
		return skep_help_skb_store_bytes(ADDR(d->data), d->offset + off, r3, len, r5, env);
	case SKEP_DYNPTR_XDP:
		if (r5)
			return ERR(EINVAL);
		return skep_help_xdp_store_bytes(ADDR(d->data), d->offset + off, r3, len, 0, env);
	default:
		return ERR(EFAULT);
	}
}

HELPER(dynptr_data)
{
	const struct skep_dynptr *d = PTR(r1);

	if (!d->data || skep_dynptr_check(d, (uint32_t)r2, (uint32_t)r3) ||
	    d->size & SKEP_DYNPTR_RDONLY)
		return 0;
	switch (skep_dynptr_kind(d)) {
	case SKEP_DYNPTR_LOCAL:
	case SKEP_DYNPTR_RINGBUF:
		return ADDR(at(d, (uint32_t)r2));
	default:
		return 0;
	}
}
