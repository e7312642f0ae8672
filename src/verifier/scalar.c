/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The number domain: known bits with unsigned and signed ranges of 64 and of 32
 * bits. The five parts describe one number; skep_scalar_sync() lets each learn
 * from the others. An operation computes each part on its own where that is
 * exact enough, forgets it otherwise, and synchronises.
 */
#include "verifier/scalar.h"
#include "verifier/tnum.h"

#include <string.h>

#include "bpf/uapi.h"

#define MIN(a, b) ((a) < (b) ? (a) : (b))
#define MAX(a, b) ((a) > (b) ? (a) : (b))

/* ---- Making ---- */

static void forget64(struct skep_scalar *s)
{
	s->smin = INT64_MIN;
	s->smax = INT64_MAX;
	s->umin = 0;
	s->umax = UINT64_MAX;
}

static void forget32(struct skep_scalar *s)
{
	s->s32_min = INT32_MIN;
	s->s32_max = INT32_MAX;
	s->u32_min = 0;
	s->u32_max = UINT32_MAX;
}

struct skep_scalar skep_scalar_unknown(void)
{
	struct skep_scalar s = {.bits = {0, ~0ull}};

	forget64(&s);
	forget32(&s);
	return s;
}

struct skep_scalar skep_scalar_const(uint64_t v)
{
	return (struct skep_scalar){
		.bits = {v, 0},
		.smin = (int64_t)v,
		.smax = (int64_t)v,
		.umin = v,
		.umax = v,
		.s32_min = (int32_t)v,
		.s32_max = (int32_t)v,
		.u32_min = (uint32_t)v,
		.u32_max = (uint32_t)v,
	};
}

struct skep_scalar skep_scalar_sized(unsigned size)
{
	struct skep_scalar s = skep_scalar_unknown();

	skep_scalar_zext(&s, size);
	return s;
}

/* ---- Asking ---- */

bool skep_scalar_is_const32(const struct skep_scalar *s)
{
	return !(uint32_t)s->bits.mask;
}

bool skep_scalar_equal(const struct skep_scalar *a, const struct skep_scalar *b)
{
	return !memcmp(a, b, sizeof(*a));
}

bool skep_scalar_is_unknown(const struct skep_scalar *s)
{
	struct skep_scalar u = skep_scalar_unknown();

	return skep_scalar_equal(s, &u);
}

bool skep_scalar_within(const struct skep_scalar *o, const struct skep_scalar *i)
{
	return o->umin <= i->umin && i->umax <= o->umax && o->smin <= i->smin &&
	       i->smax <= o->smax && o->u32_min <= i->u32_min && i->u32_max <= o->u32_max &&
	       o->s32_min <= i->s32_min && i->s32_max <= o->s32_max &&
	       skep_tnum_in(o->bits, i->bits);
}

struct skep_scalar skep_scalar_join(const struct skep_scalar *a, const struct skep_scalar *b)
{
	return (struct skep_scalar){
		.bits = skep_tnum_join(a->bits, b->bits),
		.smin = MIN(a->smin, b->smin),
		.smax = MAX(a->smax, b->smax),
		.umin = MIN(a->umin, b->umin),
		.umax = MAX(a->umax, b->umax),
		.s32_min = MIN(a->s32_min, b->s32_min),
		.s32_max = MAX(a->s32_max, b->s32_max),
		.u32_min = MIN(a->u32_min, b->u32_min),
		.u32_max = MAX(a->u32_max, b->u32_max),
	};
}

bool skep_scalar_has(const struct skep_scalar *s, uint64_t v)
{
	return (v & ~s->bits.mask) == s->bits.value && s->umin <= v && v <= s->umax &&
	       s->smin <= (int64_t)v && (int64_t)v <= s->smax && s->u32_min <= (uint32_t)v &&
	       (uint32_t)v <= s->u32_max && s->s32_min <= (int32_t)v && (int32_t)v <= s->s32_max;
}

/* ---- Letting the parts learn from each other ---- */

static void learn_from_bits(struct skep_scalar *s)
{
	const uint64_t sign64 = 1ull << 63;
	const uint32_t sign32 = 1u << 31;
	uint32_t v32 = (uint32_t)s->bits.value, m32 = (uint32_t)s->bits.mask;

	s->smin = MAX(s->smin, (int64_t)(s->bits.value | (s->bits.mask & sign64)));
	s->smax = MIN(s->smax, (int64_t)(s->bits.value | (s->bits.mask & ~sign64)));
	s->umin = MAX(s->umin, s->bits.value);
	s->umax = MIN(s->umax, s->bits.value | s->bits.mask);
	s->s32_min = MAX(s->s32_min, (int32_t)(v32 | (m32 & sign32)));
	s->s32_max = MIN(s->s32_max, (int32_t)(v32 | (m32 & ~sign32)));
	s->u32_min = MAX(s->u32_min, v32);
	s->u32_max = MIN(s->u32_max, v32 | m32);
}

static void narrow_u32(struct skep_scalar *s, uint32_t min, uint32_t max)
{
	s->u32_min = MAX(s->u32_min, min);
	s->u32_max = MIN(s->u32_max, max);
}

static void narrow_s32(struct skep_scalar *s, int32_t min, int32_t max)
{
	s->s32_min = MAX(s->s32_min, min);
	s->s32_max = MIN(s->s32_max, max);
}

/* Lower halves of [min, max], seen as 64-bit patterns with max - min < 2^32. */
static void learn_low_halves(struct skep_scalar *s, uint64_t min, uint64_t max)
{
	uint32_t lo = (uint32_t)min, hi = (uint32_t)max;

	if (min >> 32 == max >> 32)
		narrow_u32(s, lo, hi);
	else if (max - min > UINT32_MAX)
		return;
	/* The pattern may also run through zero of the lower half without passing 2^31. */
	if ((int32_t)lo <= (int32_t)hi)
		narrow_s32(s, (int32_t)lo, (int32_t)hi);
}

static void learn_32_from_64(struct skep_scalar *s)
{
	learn_low_halves(s, s->umin, s->umax);
	learn_low_halves(s, (uint64_t)s->smin, (uint64_t)s->smax);
}

static void learn_32_from_32(struct skep_scalar *s)
{
	if ((int32_t)s->u32_min <= (int32_t)s->u32_max)
		narrow_s32(s, (int32_t)s->u32_min, (int32_t)s->u32_max);
	if ((uint32_t)s->s32_min <= (uint32_t)s->s32_max) {
		narrow_u32(s, (uint32_t)s->s32_min, (uint32_t)s->s32_max);
	} else if (s->u32_max < (uint32_t)s->s32_min) {
		/* Signed range crosses zero: of its two unsigned halves only the low one meets. */
		narrow_u32(s, 0, (uint32_t)s->s32_max);
		s->s32_min = MAX(s->s32_min, (int32_t)s->u32_min);
	} else if (s->u32_min > (uint32_t)s->s32_max) {
		narrow_u32(s, (uint32_t)s->s32_min, UINT32_MAX);
		s->s32_max = MIN(s->s32_max, (int32_t)s->u32_max);
	}
}

static void learn_64_from_64(struct skep_scalar *s)
{
	if ((int64_t)s->umin <= (int64_t)s->umax) {
		s->smin = MAX(s->smin, (int64_t)s->umin);
		s->smax = MIN(s->smax, (int64_t)s->umax);
	}
	if ((uint64_t)s->smin <= (uint64_t)s->smax) {
		s->umin = MAX(s->umin, (uint64_t)s->smin);
		s->umax = MIN(s->umax, (uint64_t)s->smax);
	} else if (s->umax < (uint64_t)s->smin) {
		s->umax = MIN(s->umax, (uint64_t)s->smax);
		s->smin = MAX(s->smin, (int64_t)s->umin);
	} else if (s->umin > (uint64_t)s->smax) {
		s->umin = MAX(s->umin, (uint64_t)s->smin);
		s->smax = MIN(s->smax, (int64_t)s->umax);
	}
}

static uint64_t with_low(uint64_t high, uint32_t low)
{
	return (high & ~0xffffffffull) | low;
}

static void learn_64_from_32(struct skep_scalar *s)
{
	/* Whoever shares the bound's upper half has its lower half in the 32-bit range. */
	s->umin = MAX(s->umin, with_low(s->umin, s->u32_min));
	s->umax = MIN(s->umax, with_low(s->umax, s->u32_max));
	s->smin = MAX(s->smin, (int64_t)with_low((uint64_t)s->smin, s->u32_min));
	s->smax = MIN(s->smax, (int64_t)with_low((uint64_t)s->smax, s->u32_max));
	/* A number that fits 32 signed bits is its own lower half, sign-extended. */
	if (s->smin >= INT32_MIN && s->smax <= INT32_MAX) {
		s->smin = MAX(s->smin, s->s32_min);
		s->smax = MIN(s->smax, s->s32_max);
	}
}

static void learn(struct skep_scalar *s)
{
	learn_32_from_64(s);
	learn_32_from_32(s);
	learn_64_from_64(s);
	learn_64_from_32(s);
}

static bool empty(const struct skep_scalar *s)
{
	return s->umin > s->umax || s->smin > s->smax || s->u32_min > s->u32_max ||
	       s->s32_min > s->s32_max;
}

static bool learn_bits(struct skep_scalar *s)
{
	struct skep_tnum low;

	if (!skep_tnum_meet(&s->bits, skep_tnum_range(s->umin, s->umax)))
		return false;
	low = skep_tnum_cast(s->bits, 4);
	if (!skep_tnum_meet(&low, skep_tnum_range(s->u32_min, s->u32_max)))
		return false;
	s->bits = skep_tnum_with_low32(s->bits, low);
	return true;
}

static bool same_ranges(const struct skep_scalar *a, const struct skep_scalar *b)
{
	return a->umin == b->umin && a->umax == b->umax && a->smin == b->smin &&
	       a->smax == b->smax && a->u32_min == b->u32_min && a->u32_max == b->u32_max &&
	       a->s32_min == b->s32_min && a->s32_max == b->s32_max;
}

/* Range and bits may have one number in common, though neither says which. */
static void learn_only_one(struct skep_scalar *s)
{
	uint64_t first, second;

	/* The bits alone made this range. */
	if (s->umin == s->umax ||
	    (s->umin == s->bits.value && s->umax == (s->bits.value | s->bits.mask)))
		return;
	if (!skep_tnum_from(s->bits, s->umin, &first) || first > s->umax)
		return;
	if (first < s->umax && skep_tnum_from(s->bits, first + 1, &second) && second <= s->umax)
		return;
	s->umin = s->umax = first;
	s->bits = (struct skep_tnum){.value = first};
	learn_from_bits(s);
}

bool skep_scalar_sync(struct skep_scalar *s)
{
	/* Three rounds carry a fact from any part to any other; most often one says it all. */
	learn_from_bits(s);
	for (int i = 0; i < 3; i++) {
		const struct skep_scalar before = *s;

		learn(s);
		if (empty(s))
			return false;
		if (same_ranges(s, &before))
			break;
	}
	if (!learn_bits(s))
		return false;
	learn_from_bits(s);
	learn_only_one(s);
	return !empty(s);
}

/* The upper half is zero: what is known of the lower half is all there is. */
static void assign_32_into_64(struct skep_scalar *s)
{
	s->bits = skep_tnum_cast(s->bits, 4);
	s->umin = s->u32_min;
	s->umax = s->u32_max;
	s->smin = s->u32_min;
	s->smax = s->u32_max;
	skep_scalar_sync(s);
}

/* ---- Sizes ---- */

void skep_scalar_zext(struct skep_scalar *s, unsigned size)
{
	uint64_t mask;

	if (size >= 8)
		return;
	if (size == 4) {
		assign_32_into_64(s);
		return;
	}
	mask = (1ull << size * 8) - 1;
	if ((s->umin & ~mask) == (s->umax & ~mask)) {
		s->umin &= mask;
		s->umax &= mask;
	} else {
		s->umin = 0;
		s->umax = mask;
	}
	s->bits = skep_tnum_cast(s->bits, size);
	s->smin = (int64_t)s->umin;
	s->smax = (int64_t)s->umax;
	forget32(s);
	skep_scalar_sync(s);
}

static int64_t sext(uint64_t v, unsigned size)
{
	unsigned shift = 64 - size * 8;

	return (int64_t)(v << shift) >> shift;
}

void skep_scalar_sext(struct skep_scalar *s, unsigned size, bool is64)
{
	struct skep_scalar old = *s;
	unsigned shift = 64 - size * 8;

	if (skep_scalar_is_const(s)) {
		uint64_t v = (uint64_t)sext(s->bits.value, size);

		*s = skep_scalar_const(is64 ? v : (uint32_t)v);
		return;
	}
	if (size >= 8)
		return;
	*s = skep_scalar_unknown();
	/* An unknown sign bit is copied upwards as unknown. */
	s->bits = skep_tnum_arsh(skep_tnum_lsh(old.bits, shift), shift, 64);
	if (size == 4) {
		s->smin = old.s32_min;
		s->smax = old.s32_max;
	} else {
		int64_t lo = sext((uint64_t)old.smin, size), hi = sext((uint64_t)old.smax, size);

		s->smin = sext(1ull << (size * 8 - 1), size);
		s->smax = -(s->smin + 1);
		/* An interval shorter than the type that does not wrap keeps its ends. */
		if ((uint64_t)old.smax - (uint64_t)old.smin < 1ull << size * 8 && lo <= hi) {
			s->smin = lo;
			s->smax = hi;
		}
	}
	skep_scalar_sync(s);
	if (!is64)
		assign_32_into_64(s);
}

void skep_scalar_end(struct skep_scalar *s, unsigned size, bool swap)
{
	struct skep_tnum b = skep_tnum_cast(s->bits, size);
	unsigned shift = 64 - size * 8;

	if (!swap) {
		skep_scalar_zext(s, size);
		return;
	}
	*s = skep_scalar_unknown();
	s->bits.value = __builtin_bswap64(b.value) >> shift;
	s->bits.mask = __builtin_bswap64(b.mask) >> shift;
	skep_scalar_sync(s);
}

/* ---- Arithmetic: the 64-bit and the 32-bit ranges, each on its own ---- */

/*
 * One family of range functions for each width, from one text. Results that may
 * wrap for some values and not for others are forgotten; if all wrap, the range holds.
 */
#define RANGE_OPS(w, S, U, smin, smax, umin, umax, SMIN_, SMAX_, UMAX_)                            \
	static void add_##w(struct skep_scalar *d, const struct skep_scalar *s)                    \
	{                                                                                          \
		bool o1, o2;                                                                       \
		U ulo, uhi;                                                                        \
		S slo, shi;                                                                        \
                                                                                                   \
		o1 = __builtin_add_overflow(d->smin, s->smin, &slo);                               \
		o2 = __builtin_add_overflow(d->smax, s->smax, &shi);                               \
		d->smin = o1 || o2 ? SMIN_ : slo;                                                  \
		d->smax = o1 || o2 ? SMAX_ : shi;                                                  \
		o1 = __builtin_add_overflow(d->umin, s->umin, &ulo);                               \
		o2 = __builtin_add_overflow(d->umax, s->umax, &uhi);                               \
		d->umin = o1 != o2 ? 0 : ulo;                                                      \
		d->umax = o1 != o2 ? UMAX_ : uhi;                                                  \
	}                                                                                          \
	static void sub_##w(struct skep_scalar *d, const struct skep_scalar *s)                    \
	{                                                                                          \
		bool o1, o2;                                                                       \
		U ulo, uhi;                                                                        \
		S slo, shi;                                                                        \
                                                                                                   \
		o1 = __builtin_sub_overflow(d->smin, s->smax, &slo);                               \
		o2 = __builtin_sub_overflow(d->smax, s->smin, &shi);                               \
		d->smin = o1 || o2 ? SMIN_ : slo;                                                  \
		d->smax = o1 || o2 ? SMAX_ : shi;                                                  \
		o1 = __builtin_sub_overflow(d->umin, s->umax, &ulo);                               \
		o2 = __builtin_sub_overflow(d->umax, s->umin, &uhi);                               \
		d->umin = o1 != o2 ? 0 : ulo;                                                      \
		d->umax = o1 != o2 ? UMAX_ : uhi;                                                  \
	}                                                                                          \
	static void mul_##w(struct skep_scalar *d, const struct skep_scalar *s)                    \
	{                                                                                          \
		U hi;                                                                              \
		S p[4], lo = SMAX_, up = SMIN_;                                                    \
		bool o;                                                                            \
                                                                                                   \
		o = __builtin_mul_overflow(d->smin, s->smin, &p[0]);                               \
		o |= __builtin_mul_overflow(d->smin, s->smax, &p[1]);                              \
		o |= __builtin_mul_overflow(d->smax, s->smin, &p[2]);                              \
		o |= __builtin_mul_overflow(d->smax, s->smax, &p[3]);                              \
		for (int i = 0; i < 4; i++) {                                                      \
			lo = MIN(lo, p[i]);                                                        \
			up = MAX(up, p[i]);                                                        \
		}                                                                                  \
		d->smin = o ? SMIN_ : lo;                                                          \
		d->smax = o ? SMAX_ : up;                                                          \
		if (__builtin_mul_overflow(d->umax, s->umax, &hi)) {                               \
			d->umin = 0;                                                               \
			d->umax = UMAX_;                                                           \
		} else {                                                                           \
			d->umin *= s->umin;                                                        \
			d->umax = hi;                                                              \
		}                                                                                  \
	}                                                                                          \
	/* The bits of the result are known already; and, or, xor bound it by them. */             \
	static void bitwise_##w(struct skep_scalar *d, U lo, U hi)                                 \
	{                                                                                          \
		d->umin = lo;                                                                      \
		d->umax = hi;                                                                      \
		d->smin = (S)lo <= (S)hi ? (S)lo : SMIN_;                                          \
		d->smax = (S)lo <= (S)hi ? (S)hi : SMAX_;                                          \
	}                                                                                          \
	static void lsh_##w(struct skep_scalar *d, unsigned n)                                     \
	{                                                                                          \
		bool fits = n == 0 || d->umax <= (UMAX_ >> n);                                     \
                                                                                                   \
		d->smin = SMIN_;                                                                   \
		d->smax = SMAX_;                                                                   \
		d->umin = fits ? d->umin << n : 0;                                                 \
		d->umax = fits ? d->umax << n : UMAX_;                                             \
	}                                                                                          \
	static void rsh_##w(struct skep_scalar *d, unsigned n)                                     \
	{                                                                                          \
		d->smin = SMIN_;                                                                   \
		d->smax = SMAX_;                                                                   \
		d->umin >>= n;                                                                     \
		d->umax >>= n;                                                                     \
	}                                                                                          \
	static void arsh_##w(struct skep_scalar *d, unsigned n)                                    \
	{                                                                                          \
		d->smin >>= n;                                                                     \
		d->smax >>= n;                                                                     \
		d->umin = 0;                                                                       \
		d->umax = UMAX_;                                                                   \
	}

RANGE_OPS(64, int64_t, uint64_t, smin, smax, umin, umax, INT64_MIN, INT64_MAX, UINT64_MAX)
RANGE_OPS(32, int32_t, uint32_t, s32_min, s32_max, u32_min, u32_max, INT32_MIN, INT32_MAX,
	  UINT32_MAX)

static void alu_and(struct skep_scalar *d, const struct skep_scalar *s)
{
	d->bits = skep_tnum_and(d->bits, s->bits);
	bitwise_64(d, d->bits.value, MIN(d->umax, s->umax));
	bitwise_32(d, (uint32_t)d->bits.value, MIN(d->u32_max, s->u32_max));
}

static void alu_or(struct skep_scalar *d, const struct skep_scalar *s)
{
	d->bits = skep_tnum_or(d->bits, s->bits);
	bitwise_64(d, MAX(d->umin, s->umin), d->bits.value | d->bits.mask);
	bitwise_32(d, MAX(d->u32_min, s->u32_min), (uint32_t)(d->bits.value | d->bits.mask));
}

static void alu_xor(struct skep_scalar *d, const struct skep_scalar *s)
{
	d->bits = skep_tnum_xor(d->bits, s->bits);
	bitwise_64(d, d->bits.value, d->bits.value | d->bits.mask);
	bitwise_32(d, (uint32_t)d->bits.value, (uint32_t)(d->bits.value | d->bits.mask));
}

/* Shifts by a known amount below the width; everything else is the caller's "unknown". */
static void shift(struct skep_scalar *d, uint8_t op, bool is64, unsigned n)
{
	int32_t lo = d->s32_min, hi = d->s32_max;

	switch (op) {
	case BPF_LSH:
		d->bits = skep_tnum_lsh(d->bits, n);
		lsh_64(d, n);
		if (n < 32)
			lsh_32(d, n);
		else
			forget32(d);
		/* The way to sign-extend 32 bits: << 32, then s>> 32. */
		if (is64 && n == 32) {
			d->smin = (int64_t)((uint64_t)lo << 32);
			d->smax = (int64_t)((uint64_t)hi << 32);
		}
		break;
	case BPF_RSH:
		d->bits = skep_tnum_rsh(is64 ? d->bits : skep_tnum_cast(d->bits, 4), n);
		if (is64) {
			rsh_64(d, n);
			forget32(d);
		} else {
			rsh_32(d, n);
			forget64(d);
		}
		break;
	default:
		d->bits = skep_tnum_arsh(d->bits, n, is64 ? 64 : 32);
		if (is64) {
			arsh_64(d, n);
			forget32(d);
		} else {
			arsh_32(d, n);
			forget64(d);
		}
	}
}

void skep_scalar_alu(struct skep_scalar *dst, uint8_t op, bool is64, bool signed_,
		     const struct skep_scalar *src)
{
	struct skep_scalar zero = skep_scalar_const(0), s = src ? *src : zero;
	struct skep_tnum amount = is64 ? s.bits : skep_tnum_cast(s.bits, 4);

	(void)signed_;
	switch (op) {
	case BPF_ADD:
		add_64(dst, &s);
		add_32(dst, &s);
		dst->bits = skep_tnum_add(dst->bits, s.bits);
		break;
	case BPF_NEG:
		s = *dst;
		*dst = zero;
		/* fall through */
	case BPF_SUB:
		sub_64(dst, &s);
		sub_32(dst, &s);
		dst->bits = skep_tnum_sub(dst->bits, s.bits);
		break;
	case BPF_MUL:
		dst->bits = skep_tnum_mul(dst->bits, s.bits);
		mul_64(dst, &s);
		mul_32(dst, &s);
		break;
	case BPF_AND:
		alu_and(dst, &s);
		break;
	case BPF_OR:
		alu_or(dst, &s);
		break;
	case BPF_XOR:
		alu_xor(dst, &s);
		break;
	case BPF_MOV:
		*dst = s;
		break;
	case BPF_LSH:
	case BPF_RSH:
	case BPF_ARSH:
		if (amount.mask || amount.value >= (is64 ? 64 : 32))
			*dst = skep_scalar_unknown();
		else
			shift(dst, op, is64, (unsigned)amount.value);
		break;
	default:
		/* Division and modulo: Linux 6.18 keeps nothing of them either. */
		*dst = skep_scalar_unknown();
	}
	if (!is64)
		assign_32_into_64(dst);
	else
		skep_scalar_sync(dst);
}
