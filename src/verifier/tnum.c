/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Known bits. A pair (value, mask) stands for all numbers that agree with value
 * in the bits that mask leaves out. Addition and multiplication follow Vishwanathan
 * et al., "Sound, Precise, and Fast Abstract Interpretation with Tristate Numbers"
 * (CGO 2022).
 */
#include "verifier/tnum.h"

#define T(v, m) ((struct skep_tnum){(v), (m)})

struct skep_tnum skep_tnum_const(uint64_t v)
{
	return T(v, 0);
}

struct skep_tnum skep_tnum_range(uint64_t min, uint64_t max)
{
	uint64_t differ = min ^ max, unknown;

	if (!differ)
		return T(min, 0);
	/* All bits from the highest that differs downwards. */
	unknown = ~0ull >> __builtin_clzll(differ);
	return T(min & ~unknown, unknown);
}

struct skep_tnum skep_tnum_add(struct skep_tnum a, struct skep_tnum b)
{
	uint64_t low = a.value + b.value;
	uint64_t high = low + a.mask + b.mask;
	/* A carry that depends on an unknown bit shows where the two sums differ. */
	uint64_t unknown = (low ^ high) | a.mask | b.mask;

	return T(low & ~unknown, unknown);
}

struct skep_tnum skep_tnum_sub(struct skep_tnum a, struct skep_tnum b)
{
	uint64_t diff = a.value - b.value;
	uint64_t unknown = ((diff + a.mask) ^ (diff - b.mask)) | a.mask | b.mask;

	return T(diff & ~unknown, unknown);
}

struct skep_tnum skep_tnum_and(struct skep_tnum a, struct skep_tnum b)
{
	uint64_t ones = a.value & b.value;
	uint64_t maybe = (a.value | a.mask) & (b.value | b.mask);

	return T(ones, maybe & ~ones);
}

struct skep_tnum skep_tnum_or(struct skep_tnum a, struct skep_tnum b)
{
	uint64_t ones = a.value | b.value;

	return T(ones, (a.mask | b.mask) & ~ones);
}

struct skep_tnum skep_tnum_xor(struct skep_tnum a, struct skep_tnum b)
{
	uint64_t unknown = a.mask | b.mask;

	return T((a.value ^ b.value) & ~unknown, unknown);
}

struct skep_tnum skep_tnum_lsh(struct skep_tnum a, unsigned n)
{
	return T(a.value << n, a.mask << n);
}

struct skep_tnum skep_tnum_rsh(struct skep_tnum a, unsigned n)
{
	return T(a.value >> n, a.mask >> n);
}

struct skep_tnum skep_tnum_arsh(struct skep_tnum a, unsigned n, unsigned width)
{
	if (width == 32)
		return T((uint32_t)((int32_t)a.value >> n), (uint32_t)((int32_t)a.mask >> n));
	return T((uint64_t)((int64_t)a.value >> n), (uint64_t)((int64_t)a.mask >> n));
}

struct skep_tnum skep_tnum_join(struct skep_tnum a, struct skep_tnum b)
{
	uint64_t unknown = a.mask | b.mask | (a.value ^ b.value);

	return T(a.value & b.value & ~unknown, unknown);
}

/* Schoolbook multiplication: an unknown bit of a may add b or not. */
struct skep_tnum skep_tnum_mul(struct skep_tnum a, struct skep_tnum b)
{
	struct skep_tnum sum = T(0, 0);

	while (a.value || a.mask) {
		struct skep_tnum more = skep_tnum_add(sum, b);

		if (a.value & 1)
			sum = more;
		else if (a.mask & 1)
			sum = skep_tnum_join(sum, more);
		a = skep_tnum_rsh(a, 1);
		b = skep_tnum_lsh(b, 1);
	}
	return sum;
}

struct skep_tnum skep_tnum_cast(struct skep_tnum a, unsigned size)
{
	uint64_t keep = size >= 8 ? ~0ull : (1ull << size * 8) - 1;

	return T(a.value & keep, a.mask & keep);
}

struct skep_tnum skep_tnum_with_low32(struct skep_tnum high, struct skep_tnum low)
{
	return T((high.value & ~0xffffffffull) | (uint32_t)low.value,
		 (high.mask & ~0xffffffffull) | (uint32_t)low.mask);
}

bool skep_tnum_meet(struct skep_tnum *a, struct skep_tnum b)
{
	uint64_t unknown = a->mask & b.mask;

	if ((a->value ^ b.value) & ~(a->mask | b.mask))
		return false;
	*a = T((a->value | b.value) & ~unknown, unknown);
	return true;
}

bool skep_tnum_in(struct skep_tnum outer, struct skep_tnum inner)
{
	return !(inner.mask & ~outer.mask) && outer.value == (inner.value & ~outer.mask);
}

bool skep_tnum_aligned(struct skep_tnum a, uint64_t size)
{
	return !size || !((a.value | a.mask) & (size - 1));
}

bool skep_tnum_from(struct skep_tnum a, uint64_t min, uint64_t *out)
{
	uint64_t wrong = (min & ~a.mask) ^ a.value, above, next;
	unsigned top;

	if (!wrong) {
		*out = min;
		return true;
	}
	/* The uppermost known bit that min has otherwise: what lies above is right. */
	top = 63 - (unsigned)__builtin_clzll(wrong);
	above = top == 63 ? 0 : ~0ull << (top + 1);
	if (a.value >> top & 1) {
		*out = (min & above) | (a.value & ~above);
		return true;
	}
	/* Too large already: the unknown bits above count one up. */
	next = ((min | ~(a.mask & above)) + 1) & a.mask & above;
	*out = next | a.value;
	return next > (min & a.mask & above);
}
