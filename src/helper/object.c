/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Objects that programs make. Rewriting (verifier/rewrite.c) says what they are:
 * new: R1 size, R2 1 + offset of the count of references, 0: none; drop: R2 BTF, R3 type;
 * acquire: R2 offset of the count.
 */
#include <stdatomic.h>

#include "bpf/instance.h"
#include "exec/heap.h"
#include "helper/helper.h"
#include "helper/kfn.h"
#include "map/kptr.h"

KFUNC(bpf_obj_new_impl)
{
	uint8_t *p = skep_heap_alloc(env->skep, r1);

	if (p && r2)
		atomic_store((_Atomic uint32_t *)(p + r2 - 1), 1);
	return ADDR(p);
}

KFUNC(bpf_obj_drop_impl)
{
	skep_object_drop(env->skep, PTR(r2), (uint32_t)r3, PTR(r1));
	return 0;
}

KFUNC(bpf_refcount_acquire_impl)
{
	_Atomic uint32_t *count = PTR(r1 + r2);
	uint32_t old = atomic_load(count);

	/* One that is 0 belongs to an object that is being freed. */
	do {
		if (!old)
			return 0;
	} while (!atomic_compare_exchange_weak(count, &old, old + 1));
	return r1;
}

/* One copy per CPU; how far they lie apart stands before them, as with variables. */
struct percpu_object {
	uint64_t unused;
	struct skep_percpu var;
};

KFUNC(bpf_percpu_obj_new_impl)
{
	uint64_t stride = (r1 + 7) & ~7ull;
	struct percpu_object *p = skep_heap_alloc(env->skep, sizeof(*p) + stride * env->skep->cpus);

	if (!p)
		return 0;
	p->var.stride = stride;
	return ADDR(p->var.data);
}

KFUNC(bpf_percpu_obj_drop_impl)
{
	skep_heap_free(env->skep, PTR(r1));
	return 0;
}
