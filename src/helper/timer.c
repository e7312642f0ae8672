/* SPDX-License-Identifier: Apache-2.0 */
/* Timers in map values. */
#include "exec/timer.h"

#include "helper/call.h"

#define RESULT(call) ((uint64_t)(int64_t)(call))

HELPER(timer_init)
{
	return RESULT(skep_timer_init(PTR(r1), PTR(r2), r3, env));
}

HELPER(timer_set_callback)
{
	return RESULT(skep_timer_set(PTR(r1), r2, env));
}

HELPER(timer_start)
{
	return RESULT(skep_timer_start(PTR(r1), r2, r3, env));
}

HELPER(timer_cancel)
{
	return RESULT(skep_timer_cancel(PTR(r1), env));
}
