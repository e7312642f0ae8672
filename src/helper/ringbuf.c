/* SPDX-License-Identifier: Apache-2.0 */
/* Ring buffers. */
#include "helper/call.h"
#include "map/map.h"

HELPER(ringbuf_output)
{
	return (uint64_t)skep_ringbuf_output(PTR(r1), PTR(r2), r3, r4);
}

HELPER(ringbuf_reserve)
{
	return r3 ? 0 : ADDR(skep_ringbuf_reserve(PTR(r1), r2, env));
}

HELPER(ringbuf_submit)
{
	skep_ringbuf_commit(PTR(r1), r2, false, env);
	return 0;
}

HELPER(ringbuf_discard)
{
	skep_ringbuf_commit(PTR(r1), r2, true, env);
	return 0;
}

HELPER(ringbuf_query)
{
	return skep_ringbuf_query(PTR(r1), r2);
}
