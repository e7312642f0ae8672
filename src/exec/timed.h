/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The budget of may_goto, one per call of a function: rounds, and from the first
 * time that they are used up on, a quarter of a second. The clock is read once in
 * SKEP_TIMED_ROUNDS rounds.
 */
#ifndef SKEP_EXEC_TIMED_H
#define SKEP_EXEC_TIMED_H

#include <stdbool.h>
#include <stdint.h>

#define SKEP_TIMED_ROUNDS 0xffffu

/* The JIT keeps one in its frame: count first. */
struct skep_timed {
	uint64_t count; /* rounds left; 0: may_goto jumps */
	uint64_t since; /* when the rounds were used up first, 0: not yet */
};

/* Called when a round took the last: gives new ones, or leaves the count at 0. */
void skep_timed_refill(struct skep_timed *t);

/* Whether the loop may go on. */
static inline bool skep_timed_round(struct skep_timed *t)
{
	if (!t->count)
		return false;
	if (!--t->count)
		skep_timed_refill(t);
	return true;
}

#endif
