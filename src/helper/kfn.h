/* SPDX-License-Identifier: Apache-2.0 */
/* The kfuncs' functions. Arguments are what the verifier proved from the prototype. */
#ifndef SKEP_HELPER_KFN_H
#define SKEP_HELPER_KFN_H

#include "helper/call.h"

#define KFUNC(name)                                                                                \
	uint64_t skep_k_##name(uint64_t r1, uint64_t r2, uint64_t r3, uint64_t r4, uint64_t r5,    \
			       struct skep_env *env)

skep_helper_fn skep_k_bpf_cast_to_kern_ctx;
skep_helper_fn skep_k_bpf_iter_bits_destroy;
skep_helper_fn skep_k_bpf_iter_bits_new;
skep_helper_fn skep_k_bpf_iter_bits_next;
skep_helper_fn skep_k_bpf_iter_num_destroy;
skep_helper_fn skep_k_bpf_iter_num_new;
skep_helper_fn skep_k_bpf_iter_num_next;
skep_helper_fn skep_k_bpf_key_put;
skep_helper_fn skep_k_bpf_obj_drop_impl;
skep_helper_fn skep_k_bpf_obj_new_impl;
skep_helper_fn skep_k_bpf_percpu_obj_drop_impl;
skep_helper_fn skep_k_bpf_percpu_obj_new_impl;
skep_helper_fn skep_k_bpf_refcount_acquire_impl;
skep_helper_fn skep_k_bpf_task_acquire;
skep_helper_fn skep_k_bpf_task_from_pid;
skep_helper_fn skep_k_bpf_task_release;
skep_helper_fn skep_k_bpf_lookup_system_key;
skep_helper_fn skep_k_bpf_lookup_user_key;

#endif
