/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The number domain's view of comparisons: whether one can be decided, and what
 * each outcome teaches about both sides. 32-bit comparisons look at the lower
 * halves only.
 */
#include "bpf/uapi.h"
#include "verifier/scalar.h"
#include "verifier/tnum.h"

#define MIN(a, b) ((a) < (b) ? (a) : (b))
#define MAX(a, b) ((a) > (b) ? (a) : (b))

/* One side as 64-bit bounds, whichever width is compared. */
struct side {
	struct skep_tnum bits;
	uint64_t umin, umax;
	int64_t smin, smax;
};

static struct side side_of(const struct skep_scalar *s, bool is64)
{
	if (is64)
		return (struct side){s->bits, s->umin, s->umax, s->smin, s->smax};
	return (struct side){skep_tnum_cast(s->bits, 4), s->u32_min, s->u32_max, s->s32_min,
			     s->s32_max};
}

static int never(int taken)
{
	return taken < 0 ? -1 : !taken;
}

static int equal_taken(const struct side *a, const struct side *b)
{
	struct skep_tnum both = a->bits;

	if (!a->bits.mask && !b->bits.mask)
		return a->bits.value == b->bits.value;
	if (!skep_tnum_meet(&both, b->bits) || a->umax < b->umin || a->umin > b->umax ||
	    a->smax < b->smin || a->smin > b->smax)
		return 0;
	return -1;
}

static int set_taken(const struct side *a, const struct side *b)
{
	if (a->bits.value & b->bits.value)
		return 1;
	if (!((a->bits.value | a->bits.mask) & (b->bits.value | b->bits.mask)))
		return 0;
	return -1;
}

static int greater_taken(const struct side *a, const struct side *b)
{
	return a->umin > b->umax ? 1 : a->umax <= b->umin ? 0 : -1;
}

static int sgreater_taken(const struct side *a, const struct side *b)
{
	return a->smin > b->smax ? 1 : a->smax <= b->smin ? 0 : -1;
}

int skep_scalar_branch(const struct skep_scalar *sa, const struct skep_scalar *sb, uint8_t op,
		       bool is64)
{
	struct side a = side_of(sa, is64), b = side_of(sb, is64);

	switch (op) {
	case BPF_JEQ:
		return equal_taken(&a, &b);
	case BPF_JNE:
		return never(equal_taken(&a, &b));
	case BPF_JSET:
		return set_taken(&a, &b);
	case BPF_JGT:
		return greater_taken(&a, &b);
	case BPF_JLT:
		return greater_taken(&b, &a);
	case BPF_JLE:
		return never(greater_taken(&a, &b));
	case BPF_JGE:
		return never(greater_taken(&b, &a));
	case BPF_JSGT:
		return sgreater_taken(&a, &b);
	case BPF_JSLT:
		return sgreater_taken(&b, &a);
	case BPF_JSLE:
		return never(sgreater_taken(&a, &b));
	case BPF_JSGE:
		return never(sgreater_taken(&b, &a));
	}
	return -1;
}

/* ---- Learning ---- */

static bool assume_equal(struct skep_scalar *a, struct skep_scalar *b, bool is64)
{
	if (is64) {
		a->umin = b->umin = MAX(a->umin, b->umin);
		a->umax = b->umax = MIN(a->umax, b->umax);
		a->smin = b->smin = MAX(a->smin, b->smin);
		a->smax = b->smax = MIN(a->smax, b->smax);
		if (!skep_tnum_meet(&a->bits, b->bits))
			return false;
		b->bits = a->bits;
	} else {
		struct skep_tnum low = skep_tnum_cast(a->bits, 4);

		if (!skep_tnum_meet(&low, skep_tnum_cast(b->bits, 4)))
			return false;
		a->bits = skep_tnum_with_low32(a->bits, low);
		b->bits = skep_tnum_with_low32(b->bits, low);
	}
	a->u32_min = b->u32_min = MAX(a->u32_min, b->u32_min);
	a->u32_max = b->u32_max = MIN(a->u32_max, b->u32_max);
	a->s32_min = b->s32_min = MAX(a->s32_min, b->s32_min);
	a->s32_max = b->s32_max = MIN(a->s32_max, b->s32_max);
	return true;
}

/* a != v: an end of a range that is v moves by one. */
static bool exclude(struct skep_scalar *a, const struct skep_scalar *b, bool is64)
{
	uint64_t v = b->bits.value;

	if (is64 ? b->bits.mask != 0 : !skep_scalar_is_const32(b))
		return true;
	if (is64) {
		if (a->umin == v && a->umax == v)
			return false;
		a->umin += a->umin == v;
		a->umax -= a->umax == v;
		a->smin += a->smin == (int64_t)v;
		a->smax -= a->smax == (int64_t)v;
		return a->umin <= a->umax && a->smin <= a->smax;
	}
	if (a->u32_min == (uint32_t)v && a->u32_max == (uint32_t)v)
		return false;
	a->u32_min += a->u32_min == (uint32_t)v;
	a->u32_max -= a->u32_max == (uint32_t)v;
	a->s32_min += a->s32_min == (int32_t)v;
	a->s32_max -= a->s32_max == (int32_t)v;
	return a->u32_min <= a->u32_max && a->s32_min <= a->s32_max;
}

/* a & v != 0 with only one bit in v: that bit is set. */
static bool assume_set(struct skep_scalar *a, const struct skep_scalar *b, bool is64)
{
	uint64_t v = is64 ? b->bits.value : (uint32_t)b->bits.value;

	if ((is64 ? b->bits.mask : (uint32_t)b->bits.mask) || !v || (v & (v - 1)))
		return true;
	return skep_tnum_meet(&a->bits, (struct skep_tnum){v, ~v});
}

static bool assume_clear(struct skep_scalar *a, const struct skep_scalar *b, bool is64)
{
	uint64_t v = is64 ? b->bits.value : (uint32_t)b->bits.value;

	if (is64 ? b->bits.mask : (uint32_t)b->bits.mask)
		return true;
	return skep_tnum_meet(&a->bits, (struct skep_tnum){0, ~v});
}

/* a <= b, or a < b; unsigned and signed, 64 and 32 bits: one text. */
#define ASSUME_LESS(name, T, LOWEST, HIGHEST, min, max)                                            \
	static bool name(struct skep_scalar *a, struct skep_scalar *b, bool strict)                \
	{                                                                                          \
		if (strict && (b->max == LOWEST || a->min == HIGHEST))                             \
			return false;                                                              \
		a->max = MIN(a->max, (T)(b->max - strict));                                        \
		b->min = MAX(b->min, (T)(a->min + strict));                                        \
		return a->min <= a->max && b->min <= b->max;                                       \
	}
ASSUME_LESS(less_u64, uint64_t, 0, UINT64_MAX, umin, umax)
ASSUME_LESS(less_u32, uint32_t, 0, UINT32_MAX, u32_min, u32_max)
ASSUME_LESS(less_s64, int64_t, INT64_MIN, INT64_MAX, smin, smax)
ASSUME_LESS(less_s32, int32_t, INT32_MIN, INT32_MAX, s32_min, s32_max)

static bool less(struct skep_scalar *a, struct skep_scalar *b, bool strict, bool is_signed,
		 bool is64)
{
	if (is_signed)
		return is64 ? less_s64(a, b, strict) : less_s32(a, b, strict);
	return is64 ? less_u64(a, b, strict) : less_u32(a, b, strict);
}

static bool refine(struct skep_scalar *a, struct skep_scalar *b, uint8_t op, bool is64)
{
	switch (op) {
	case BPF_JEQ:
		return assume_equal(a, b, is64);
	case BPF_JNE:
		return exclude(a, b, is64) && exclude(b, a, is64);
	case BPF_JSET:
		return assume_set(a, b, is64) && assume_set(b, a, is64);
	case BPF_JLE:
	case BPF_JLT:
		return less(a, b, op == BPF_JLT, false, is64);
	case BPF_JGE:
	case BPF_JGT:
		return less(b, a, op == BPF_JGT, false, is64);
	case BPF_JSLE:
	case BPF_JSLT:
		return less(a, b, op == BPF_JSLT, true, is64);
	case BPF_JSGE:
	case BPF_JSGT:
		return less(b, a, op == BPF_JSGT, true, is64);
	}
	return true;
}

bool skep_scalar_assume(struct skep_scalar *a, struct skep_scalar *b, uint8_t op, bool is64)
{
	return refine(a, b, op, is64) && skep_scalar_sync(a) && skep_scalar_sync(b);
}

static uint8_t negate(uint8_t op)
{
	static const uint8_t opposite[16] = {
		[BPF_JEQ >> 4] = BPF_JNE,   [BPF_JNE >> 4] = BPF_JEQ,   [BPF_JGT >> 4] = BPF_JLE,
		[BPF_JLE >> 4] = BPF_JGT,   [BPF_JGE >> 4] = BPF_JLT,   [BPF_JLT >> 4] = BPF_JGE,
		[BPF_JSGT >> 4] = BPF_JSLE, [BPF_JSLE >> 4] = BPF_JSGT, [BPF_JSGE >> 4] = BPF_JSLT,
		[BPF_JSLT >> 4] = BPF_JSGE,
	};

	return opposite[op >> 4];
}

bool skep_scalar_assume_not(struct skep_scalar *a, struct skep_scalar *b, uint8_t op, bool is64)
{
	if (op == BPF_JSET)
		return assume_clear(a, b, is64) && assume_clear(b, a, is64) &&
		       skep_scalar_sync(a) && skep_scalar_sync(b);
	return skep_scalar_assume(a, b, negate(op), is64);
}
