/* SPDX-License-Identifier: Apache-2.0 */
/* Between the files on helper calls. */
#ifndef SKEP_VERIFIER_CALL_H
#define SKEP_VERIFIER_CALL_H

#include "verifier/state.h"

/* What the arguments of one helper call told. */
struct vcall {
	uint32_t id;
	const struct skep_helper *row;
	const char *name; /* without bpf_ */
	const struct skep_map *map;
	int32_t map_index; /* in env->maps, -1 none */
	const struct skep_map *map_inner;
	uint32_t map_uid;
	bool map_of_field; /* map is the one whose value the first argument lies in */
	bool raw; /* the memory argument need not be initialised */
	uint32_t raw_size; /* bytes of stack that the helper writes ... */
	int raw_reg; /* ... at this register */
	int release; /* register that gives a reference back, 0 none */
	uint32_t ref;
	uint64_t mem_size; /* ALLOC_SIZE */
	uint64_t max_size; /* largest value of the last size argument */
	uint32_t subprog; /* callback */
	uint32_t dynptr; /* id of the dynptr that memory comes from */
	bool dynptr_release; /* what is given back is a dynptr */
	bool moves_pkt; /* this call changes the packet */
	uint32_t btf_id; /* type of the per-CPU variable ... */
	const struct skep_btf *percpu_btf; /* ... or object: one of this BTF's */
	bool percpu_rcu; /* the object stays while the read side is held */
	struct skep_field kptr; /* kptr_xchg: the field ... */
	const struct skep_btf *kptr_btf; /* ... of a type here */
	int64_t const_key; /* constant key of an array, -1 */
};

int skep_v_arg(struct venv *env, struct vcall *c, unsigned i);
/* A constant string in a frozen map. */
int skep_v_const_str(struct venv *env, int r, uint32_t arg);
/* The map and the helper go together; else the kernel's refusal. */
int skep_v_map_for_helper(struct venv *env, const struct vcall *c);

#endif
