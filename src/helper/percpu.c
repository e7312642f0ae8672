/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Typed variables that exist once per CPU slot. The program's reference is the
 * address of CPU 0's copy; how far the copies lie apart stands before it.
 */
#include "helper/helper.h"

#include <stddef.h>

#include "bpf/instance.h"
#include "exec/heap.h"
#include "helper/call.h"

static uint64_t copy_of(struct skep_env *env, uint64_t ref, uint32_t cpu)
{
	const struct skep_percpu *var = PTR(ref - offsetof(struct skep_percpu, data));
	uint64_t object = skep_heap_offset(env->skep, PTR(ref));

	/* In the heap nothing is believed that programs may have written over. */
	if (object)
		return ADDR(skep_heap_at(env->skep,
					 object + (var->stride & (SKEP_HEAP_MAX - 1)) * cpu));
	return ref + var->stride * cpu;
}

HELPER(per_cpu_ptr)
{
	return (uint32_t)r2 >= env->skep->cpus ? 0 : copy_of(env, r1, (uint32_t)r2);
}

HELPER(this_cpu_ptr)
{
	return copy_of(env, r1, env->cpu);
}
