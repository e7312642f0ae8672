/* SPDX-License-Identifier: Apache-2.0 */
/* Between the files on kfunc calls. Arguments are counted from 0, registers from 1. */
#ifndef SKEP_VERIFIER_KFUNC_H
#define SKEP_VERIFIER_KFUNC_H

#include "btf/btf.h"
#include "helper/kfunc.h"
#include "verifier/state.h"

/* One call, and what its arguments told. */
struct vkfunc {
	uint32_t id; /* enum skep_kfunc_id */
	uint32_t func; /* its FUNC in skep's BTF */
	const struct skep_kfunc *row;
	const char *name;
	const struct skep_btf *btf; /* that its prototype is in */
	const struct btf_param *params;
	uint32_t nargs, ret; /* ret: type id */
	uint32_t ref; /* of the argument that has one */
	int release; /* register that gives a reference back, 0 */
	bool owning; /* refcounted object: the argument owns it */
	bool has_const;
	uint64_t constant; /* of the parameter __k or __szk */
	uint64_t r0_size; /* memory that the result points to */
	bool r0_rdonly;
	const struct skep_btf *arg_btf; /* type of the object that is dropped, shared, put in */
	uint32_t arg_btf_id;
	uint32_t ret_btf_id; /* what a cast makes of it */
	uint32_t subprog; /* callback */
	uint32_t iter_frame, iter_slot; /* the iterator that it works on */
	const struct skep_map *map;
	int32_t map_index;
	uint32_t map_uid;
	const struct skep_field *field; /* list or tree: what it contains ... */
	const struct skep_btf *field_btf; /* ... in this BTF's types */
};

/* Whether a parameter's name ends so. */
bool skep_v_param_is(const struct vkfunc *k, uint32_t arg, const char *suffix);

#define V_KARG_NOT_MINE 1
/*
 * Arguments of special types, by the name of the structure that the parameter points to. 0: it is
 * right; -errno with a message. A new kind of argument is a row in kfunc.c and a function.
 */
typedef int v_karg_fn(struct venv *env, struct vkfunc *k, uint32_t arg, const struct vreg *reg);

v_karg_fn skep_v_karg_iter; /* iter.c */
/* graph.c: objects, lists, trees */
v_karg_fn skep_v_karg_alloc, skep_v_karg_refcounted;
/* Results that the prototype does not say. 1: done. */
int skep_v_kret_special(struct venv *env, struct vkfunc *k, struct vreg *r0);

#endif
