/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Kfuncs: functions of the kernel that programs call by their BTF. One row each: the
 * prototype, as C, goes into the BTF that skep presents; the verifier checks arguments by its
 * types and its parameters' suffixes (__k, __sz, __nullable, __ign ...), as the kernel does.
 * A new kfunc is an id, one row and one function.
 */
#ifndef SKEP_KFUNC_H
#define SKEP_KFUNC_H

#include <stdint.h>

#include "exec/exec.h"

enum skep_kfunc_id {
	SKEP_KFUNC_NONE,
	/* For all program types */
	SKEP_KFUNC_bpf_cast_to_kern_ctx,
	SKEP_KFUNC_bpf_rdonly_cast,
	SKEP_KFUNC_bpf_rcu_read_lock,
	SKEP_KFUNC_bpf_rcu_read_unlock,
	/* Iterators */
	SKEP_KFUNC_bpf_iter_num_new,
	SKEP_KFUNC_bpf_iter_num_next,
	SKEP_KFUNC_bpf_iter_num_destroy,
	SKEP_KFUNC_bpf_iter_bits_new,
	SKEP_KFUNC_bpf_iter_bits_next,
	SKEP_KFUNC_bpf_iter_bits_destroy,
	/* Objects that programs make */
	SKEP_KFUNC_bpf_obj_new_impl,
	SKEP_KFUNC_bpf_obj_drop_impl,
	SKEP_KFUNC_bpf_percpu_obj_new_impl,
	SKEP_KFUNC_bpf_percpu_obj_drop_impl,
	SKEP_KFUNC_bpf_refcount_acquire_impl,
	/* Tasks */
	SKEP_KFUNC_bpf_task_acquire,
	SKEP_KFUNC_bpf_task_release,
	SKEP_KFUNC_bpf_task_from_pid,
	/* Keys */
	SKEP_KFUNC_bpf_lookup_user_key,
	SKEP_KFUNC_bpf_lookup_system_key,
	SKEP_KFUNC_bpf_key_put,
	SKEP_NKFUNCS
};

/* The kernel's flags of a kfunc, by the kernel's names. */
#define SKEP_KF_ACQUIRE       0x0001u /* gives a reference */
#define SKEP_KF_RELEASE       0x0002u /* takes one back */
#define SKEP_KF_RET_NULL      0x0004u /* may give NULL */
#define SKEP_KF_TRUSTED_ARGS  0x0008u
#define SKEP_KF_SLEEPABLE     0x0010u
#define SKEP_KF_DESTRUCTIVE   0x0020u
#define SKEP_KF_RCU           0x0040u /* arguments are trusted or RCU protected */
#define SKEP_KF_ITER_NEW      0x0080u
#define SKEP_KF_ITER_NEXT     0x0100u
#define SKEP_KF_ITER_DESTROY  0x0200u
#define SKEP_KF_RCU_PROTECTED 0x0400u /* the result is valid while the read side is held */
#define SKEP_KF_FASTCALL      0x0800u
#define SKEP_KF_PKT           0x1000u /* invalidates packet pointers */
#define SKEP_KF_NO_FN         0x2000u /* the rewritten program does it without a call */
#define SKEP_KF_HEAP          0x4000u /* works on objects of the heap (exec/heap.h) */

struct skep_kfunc {
	const char *name;
	const char *proto; /* C: "void bpf_x(struct y *p);" */
	skep_helper_fn *fn;
	uint64_t progs; /* bit per program type that may call it */
	uint32_t flags; /* SKEP_KF_* */
};

/* By id; rows without a name are not there. */
extern const struct skep_kfunc skep_kfuncs[SKEP_NKFUNCS];
extern const uint32_t skep_nkfuncs;

/* The function of that name, or SKEP_KFUNC_NONE. */
uint32_t skep_kfunc_find(const char *name);

/* Calls in images and in the JIT's IR: kfuncs have the numbers behind the helpers'. */
#define SKEP_CALL_KFUNC 0x10000u
/* What such a number calls: a helper or a kfunc; NULL if there is none. */
skep_helper_fn *skep_call_fn(uint32_t number);

#endif
