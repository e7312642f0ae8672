/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the verifier knows of a number: known bits, and signed and unsigned
 * ranges of its 64 and its lower 32 bits. Every operation is a sound
 * over-approximation: the concrete result lies in the abstract one.
 * Pure functions on values; test/test_scalar.c checks them exhaustively on a
 * narrow width and at random on 64 bits.
 */
#ifndef SKEP_SCALAR_H
#define SKEP_SCALAR_H

#include <stdbool.h>
#include <stdint.h>

/* Known bits ("tristate number"): bit i is known to be value's unless mask's is set. */
struct skep_tnum {
	uint64_t value, mask; /* value & mask == 0 */
};

struct skep_scalar {
	struct skep_tnum bits;
	int64_t smin, smax;
	uint64_t umin, umax;
	int32_t s32_min, s32_max;
	uint32_t u32_min, u32_max;
};

struct skep_tnum skep_tnum_const(uint64_t v);
struct skep_tnum skep_tnum_range(uint64_t min, uint64_t max);
struct skep_tnum skep_tnum_add(struct skep_tnum a, struct skep_tnum b);
bool skep_tnum_aligned(struct skep_tnum a, uint64_t size);
bool skep_tnum_in(struct skep_tnum outer, struct skep_tnum inner);

struct skep_scalar skep_scalar_unknown(void);
struct skep_scalar skep_scalar_const(uint64_t v);
/* All values of an unsigned load of size bytes (1, 2, 4, 8). */
struct skep_scalar skep_scalar_sized(unsigned size);
static inline bool skep_scalar_is_const(const struct skep_scalar *s)
{
	return !s->bits.mask;
}
bool skep_scalar_is_const32(const struct skep_scalar *s);
bool skep_scalar_is_unknown(const struct skep_scalar *s);
bool skep_scalar_equal(const struct skep_scalar *a, const struct skep_scalar *b);

/* Tightens each part by the others. Returns false if no value is left (the path
 * is impossible); the contents are then unspecified. */
bool skep_scalar_sync(struct skep_scalar *s);

/* dst = dst OP src; op is BPF_ADD .. BPF_ARSH, BPF_MOV, BPF_NEG (src ignored); signed_ for
 * SDIV/SMOD. 32-bit operations leave the upper half zero. */
void skep_scalar_alu(struct skep_scalar *dst, uint8_t op, bool is64, bool signed_,
		     const struct skep_scalar *src);
/* Sign extension of the low size bytes (MOVSX, LDXS); is64 false: into 32 bits. */
void skep_scalar_sext(struct skep_scalar *s, unsigned size, bool is64);
/* Keeps the low size bytes, the rest zero. */
void skep_scalar_zext(struct skep_scalar *s, unsigned size);
/* Byte order conversion, result of size bytes (2, 4, 8); swap: bytes really change. */
void skep_scalar_end(struct skep_scalar *s, unsigned size, bool swap);

/* 1: the branch `a op b` is always taken, 0: never, -1: unknown. op is BPF_JEQ .. BPF_JSLE, JSET. */
int skep_scalar_branch(const struct skep_scalar *a, const struct skep_scalar *b, uint8_t op,
		       bool is64);
/* Refines both on the path where `a op b` holds. False: impossible. */
bool skep_scalar_assume(struct skep_scalar *a, struct skep_scalar *b, uint8_t op, bool is64);
/* The same on the path where it does not hold. */
bool skep_scalar_assume_not(struct skep_scalar *a, struct skep_scalar *b, uint8_t op, bool is64);

/* Every value of inner is one of outer (ranges and bits): for pruning. */
bool skep_scalar_within(const struct skep_scalar *outer, const struct skep_scalar *inner);
/* Smallest of ours that holds the values of both. */
struct skep_scalar skep_scalar_join(const struct skep_scalar *a, const struct skep_scalar *b);
/* Membership of a concrete value: for the harnesses. */
bool skep_scalar_has(const struct skep_scalar *s, uint64_t v);

#endif
