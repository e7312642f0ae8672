/* SPDX-License-Identifier: Apache-2.0 */
/* Kptrs: a field holds the offset of an object in the heap. */
#include <stdatomic.h>

#include "exec/heap.h"
#include "helper/call.h"

HELPER(kptr_xchg)
{
	_Atomic uint64_t *field = PTR(r1);

	return ADDR(skep_heap_at(env->skep,
				 atomic_exchange(field, skep_heap_offset(env->skep, PTR(r2)))));
}
