/* SPDX-License-Identifier: Apache-2.0 */
/* Operations on known bits that only the number domain itself needs. */
#ifndef SKEP_TNUM_H
#define SKEP_TNUM_H

#include "verifier/scalar.h"

struct skep_tnum skep_tnum_sub(struct skep_tnum a, struct skep_tnum b);
struct skep_tnum skep_tnum_and(struct skep_tnum a, struct skep_tnum b);
struct skep_tnum skep_tnum_or(struct skep_tnum a, struct skep_tnum b);
struct skep_tnum skep_tnum_xor(struct skep_tnum a, struct skep_tnum b);
struct skep_tnum skep_tnum_mul(struct skep_tnum a, struct skep_tnum b);
struct skep_tnum skep_tnum_lsh(struct skep_tnum a, unsigned n);
struct skep_tnum skep_tnum_rsh(struct skep_tnum a, unsigned n);
/* Arithmetic shift of a `width`-bit number (32 or 64). */
struct skep_tnum skep_tnum_arsh(struct skep_tnum a, unsigned n, unsigned width);
/* Keeps the low size bytes; what is above becomes known zero. */
struct skep_tnum skep_tnum_cast(struct skep_tnum a, unsigned size);
/* Lower half of low, upper half of high. */
struct skep_tnum skep_tnum_with_low32(struct skep_tnum high, struct skep_tnum low);
/* Numbers that are in both. False: there is none. */
bool skep_tnum_meet(struct skep_tnum *a, struct skep_tnum b);
/* The least number in it that is `min` or more. False: there is none. */
bool skep_tnum_from(struct skep_tnum a, uint64_t min, uint64_t *out);
/* Smallest that holds both. */
struct skep_tnum skep_tnum_join(struct skep_tnum a, struct skep_tnum b);

#endif
