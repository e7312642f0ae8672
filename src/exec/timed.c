// SPDX-License-Identifier: Apache-2.0
/* may_goto: how long a loop may go on. As in Linux 6.18, a quarter of a second per call. */
#include "exec/timed.h"

#include "os/os.h"

#define LIMIT_NS 250000000u

void skep_timed_refill(struct skep_timed *t)
{
	uint64_t now = skep_clock_mono();

	if (!t->since)
		t->since = now;
	else if (now - t->since >= LIMIT_NS)
		return; /* the count stays 0: the next may_goto jumps */
	t->count = SKEP_TIMED_ROUNDS;
}
