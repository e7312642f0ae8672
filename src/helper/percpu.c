/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Typed variables that exist once per CPU slot. The program's reference is the
 * address of CPU 0's copy; how far the copies lie apart stands before it.
 */
#include "helper/helper.h"

#include <stddef.h>

#include "bpf/instance.h"
#include "helper/call.h"

static uint64_t copy_of(uint64_t ref, uint32_t cpu)
{
	const struct skep_percpu *var = PTR(ref - offsetof(struct skep_percpu, data));

	return ref + var->stride * cpu;
}

HELPER(per_cpu_ptr)
{
	return (uint32_t)r2 >= env->skep->cpus ? 0 : copy_of(r1, (uint32_t)r2);
}

HELPER(this_cpu_ptr)
{
	return copy_of(r1, env->cpu);
}
