/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Iterators over numbers and over the bits of words. What is in the program's stack is as in Linux,
 * and nothing of it is believed but what the verifier keeps programs from writing.
 */
#include "exec/heap.h"
#include "helper/kfn.h"
#include "os/os.h"

#include <errno.h>

#include "bpf/instance.h"

#define MAX_LOOPS (8 * 1024 * 1024)
#define MAX_WORDS 511

/* ---- Numbers ---- */

struct num {
	int32_t cur, end; /* the last one given; the one behind the last */
};

KFUNC(bpf_iter_num_new)
{
	int32_t start = (int32_t)r2, end = (int32_t)r3;
	struct num *it = PTR(r1);

	*it = (struct num){0, 0};
	if (start > end)
		return ERR(EINVAL);
	if ((int64_t)end - start > MAX_LOOPS)
		return ERR(E2BIG);
	/* Of the smallest number there is none before: it wraps, and so back. */
	it->cur = (int32_t)((uint32_t)start - 1);
	it->end = end;
	return 0;
}

KFUNC(bpf_iter_num_next)
{
	struct num *it = PTR(r1);
	int32_t next = (int32_t)((uint32_t)it->cur + 1);

	if (next >= it->end) {
		*it = (struct num){0, 0};
		return 0;
	}
	it->cur = next;
	return ADDR(&it->cur);
}

KFUNC(bpf_iter_num_destroy)
{
	struct num *it = PTR(r1);

	*it = (struct num){0, 0};
	return 0;
}

/* ---- Bits ---- */

struct bits {
	union {
		uint64_t one; /* a single word */
		const uint64_t *words; /* more: a copy in the heap */
	};
	int32_t nbits;
	int32_t bit; /* the last one given */
};

KFUNC(bpf_iter_bits_new)
{
	uint32_t words = (uint32_t)r3;
	struct bits *it = PTR(r1);
	uint64_t *copy = &it->one;
	size_t size = words * sizeof(uint64_t);

	*it = (struct bits){.bit = -1};
	if (!r2 || !words)
		return ERR(EINVAL);
	if (words > MAX_WORDS)
		return ERR(E2BIG);
	if (words > 1)
		copy = skep_heap_alloc(env->skep, size);
	if (!copy)
		return ERR(ENOMEM);
	if (skep_probe_read(copy, PTR(r2), size)) {
		if (words > 1)
			skep_heap_free(env->skep, copy);
		it->one = 0;
		return ERR(EFAULT);
	}
	if (words > 1)
		it->words = copy;
	it->nbits = (int32_t)(words * 64);
	return 0;
}

KFUNC(bpf_iter_bits_next)
{
	struct bits *it = PTR(r1);
	const uint64_t *words = it->nbits == 64 ? &it->one : it->words;
	int32_t bit = it->bit + 1;

	if (!it->nbits || it->bit >= it->nbits)
		return 0;
	while (bit < it->nbits) {
		uint64_t left = words[bit / 64] >> bit % 64;

		if (left) {
			bit += __builtin_ctzll(left);
			break;
		}
		bit = (bit / 64 + 1) * 64;
	}
	it->bit = bit;
	return bit < it->nbits ? ADDR(&it->bit) : 0;
}

KFUNC(bpf_iter_bits_destroy)
{
	struct bits *it = PTR(r1);

	if (it->nbits > 64)
		skep_heap_free(env->skep, PTR(ADDR(it->words)));
	return 0;
}
