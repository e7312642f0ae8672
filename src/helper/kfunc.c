/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The rows of all kfuncs. Prototypes, flags and program types are those of Linux 6.18.
 */
#include "helper/kfunc.h"
#include "helper/helper.h"
#include "helper/kfn.h"

#include <string.h>

#define T(type) (1ull << BPF_PROG_TYPE_##type)
#define ALL     (~0ull)

/* The kernel's sets: types that it registers functions for go with others of their kind. */
#define CGROUP                                                                                     \
	(T(CGROUP_SKB) | T(CGROUP_SOCK) | T(CGROUP_DEVICE) | T(CGROUP_SOCK_ADDR) |                 \
	 T(CGROUP_SOCKOPT) | T(CGROUP_SYSCTL) | T(SOCK_OPS))
#define TRACE   (T(TRACING) | T(TRACEPOINT) | T(PERF_EVENT) | T(LSM))
#define GENERIC (T(SCHED_CLS) | T(SCHED_ACT) | T(XDP) | T(STRUCT_OPS) | T(SYSCALL) | CGROUP | TRACE)

#define ACQUIRE  SKEP_KF_ACQUIRE
#define RELEASE  SKEP_KF_RELEASE
#define RET_NULL SKEP_KF_RET_NULL
#define FAST     SKEP_KF_FASTCALL
#define SLEEP    SKEP_KF_SLEEPABLE
#define HEAP     SKEP_KF_HEAP
#define NO_FN    SKEP_KF_NO_FN

/* A kfunc with its function, and one that the rewritten program does itself. */
#define K(nm, types, flag, text)                                                                   \
	[SKEP_KFUNC_##nm] = {                                                                      \
		.name = #nm, .proto = text, .fn = skep_k_##nm, .progs = (types), .flags = (flag)}
#define N(nm, types, flag, text)                                                                   \
	[SKEP_KFUNC_##nm] = {.name = #nm, .proto = text, .progs = (types), .flags = NO_FN | (flag)}

/* clang-format off */
const struct skep_kfunc skep_kfuncs[SKEP_NKFUNCS] = {
	K(bpf_cast_to_kern_ctx, ALL, FAST, "void *bpf_cast_to_kern_ctx(void *obj);"),
	N(bpf_rdonly_cast, ALL, FAST,
	  "void *bpf_rdonly_cast(const void *obj__ign, u32 btf_id__k);"),
	/* What a program can see stays until it leaves (exec.h, epochs). */
	N(bpf_rcu_read_lock, ALL, 0, "void bpf_rcu_read_lock(void);"),
	N(bpf_rcu_read_unlock, ALL, 0, "void bpf_rcu_read_unlock(void);"),

	/* Iterators */
	K(bpf_iter_num_new, ALL, SKEP_KF_ITER_NEW,
	  "int bpf_iter_num_new(struct bpf_iter_num *it, int start, int end);"),
	K(bpf_iter_num_next, ALL, SKEP_KF_ITER_NEXT | RET_NULL,
	  "int *bpf_iter_num_next(struct bpf_iter_num *it);"),
	K(bpf_iter_num_destroy, ALL, SKEP_KF_ITER_DESTROY,
	  "void bpf_iter_num_destroy(struct bpf_iter_num *it);"),
	K(bpf_iter_bits_new, ALL, SKEP_KF_ITER_NEW | HEAP,
	  "int bpf_iter_bits_new(struct bpf_iter_bits *it, const u64 *unsafe_ptr__ign, u32 nr_words);"),
	K(bpf_iter_bits_next, ALL, SKEP_KF_ITER_NEXT | RET_NULL,
	  "int *bpf_iter_bits_next(struct bpf_iter_bits *it);"),
	K(bpf_iter_bits_destroy, ALL, SKEP_KF_ITER_DESTROY,
	  "void bpf_iter_bits_destroy(struct bpf_iter_bits *it);"),

	/* Objects. What the program passes besides is put there when it is rewritten. */
	K(bpf_obj_new_impl, GENERIC, ACQUIRE | RET_NULL | HEAP,
	  "void *bpf_obj_new_impl(u64 local_type_id__k, void *meta__ign);"),
	K(bpf_obj_drop_impl, GENERIC, RELEASE | HEAP,
	  "void bpf_obj_drop_impl(void *p__alloc, void *meta__ign);"),
	K(bpf_percpu_obj_new_impl, GENERIC, ACQUIRE | RET_NULL | HEAP,
	  "void *bpf_percpu_obj_new_impl(u64 local_type_id__k, void *meta__ign);"),
	K(bpf_percpu_obj_drop_impl, GENERIC, RELEASE | HEAP,
	  "void bpf_percpu_obj_drop_impl(void *p__alloc, void *meta__ign);"),
	K(bpf_refcount_acquire_impl, GENERIC, ACQUIRE | RET_NULL | SKEP_KF_RCU | HEAP,
	  "void *bpf_refcount_acquire_impl(void *p__refcounted_kptr, void *meta__ign);"),

	/* Tasks */
	K(bpf_task_acquire, GENERIC, ACQUIRE | RET_NULL | SKEP_KF_RCU | HEAP,
	  "struct task_struct *bpf_task_acquire(struct task_struct *p);"),
	K(bpf_task_release, GENERIC, RELEASE | HEAP,
	  "void bpf_task_release(struct task_struct *p);"),
	K(bpf_task_from_pid, GENERIC, ACQUIRE | RET_NULL | HEAP,
	  "struct task_struct *bpf_task_from_pid(s32 pid);"),

	/* Keys */
	K(bpf_lookup_user_key, GENERIC, ACQUIRE | RET_NULL | SLEEP | HEAP,
	  "struct bpf_key *bpf_lookup_user_key(s32 serial, u64 flags);"),
	K(bpf_lookup_system_key, GENERIC, ACQUIRE | RET_NULL | HEAP,
	  "struct bpf_key *bpf_lookup_system_key(u64 id);"),
	K(bpf_key_put, GENERIC, RELEASE | HEAP, "void bpf_key_put(struct bpf_key *bkey);"),
};
/* clang-format on */

const uint32_t skep_nkfuncs = SKEP_NKFUNCS;

uint32_t skep_kfunc_find(const char *name)
{
	for (uint32_t i = 1; i < SKEP_NKFUNCS; i++)
		if (skep_kfuncs[i].name && !strcmp(skep_kfuncs[i].name, name))
			return i;
	return SKEP_KFUNC_NONE;
}

skep_helper_fn *skep_call_fn(uint32_t number)
{
	if (number < SKEP_MAX_HELPERS)
		return skep_helpers[number].fn;
	number -= SKEP_CALL_KFUNC;
	return number < SKEP_NKFUNCS ? skep_kfuncs[number].fn : NULL;
}
