/* SPDX-License-Identifier: Apache-2.0 */
/* Pointers to objects in values and objects (kptrs): loads, stores, exchanges. */
#ifndef SKEP_VERIFIER_KPTR_H
#define SKEP_VERIFIER_KPTR_H

#include "btf/btf.h"
#include "verifier/call.h"
#include "verifier/state.h"

/* Kinds of fields that are pointers. */
static inline bool v_is_kptr(const struct skep_field *f)
{
	return f->kind == SKEP_FIELD_KPTR_UNREF || f->kind == SKEP_FIELD_KPTR_REF ||
	       f->kind == SKEP_FIELD_KPTR_PERCPU;
}

/* A load or store that reaches the field of a map's value: whether it is one of it as a whole. */
int skep_v_kptr_exact(struct venv *env, const struct vreg *reg, int off, int size,
		      const struct skep_field *f, bool helper);
/* The field that a load or store at that offset is of, or NULL. */
const struct skep_field *skep_v_kptr_at(const struct skep_map *map, const struct vreg *reg,
					int off);
int skep_v_access_kptr(struct venv *env, uint32_t insn, const struct skep_map *map,
		       const struct skep_field *f, int value);
/* The program works on objects: 0 or -errno. */
int skep_v_need_heap(struct venv *env);
/* Every instruction loads kptrs or none: they are kept in another form. */
int skep_v_note_kptr(struct venv *env, uint32_t insn, bool kptr);

/* bpf_kptr_xchg: its first argument, the type of its second one, its result. */
int skep_v_kptr_dest(struct venv *env, struct vcall *c, int r);
int skep_v_kptr_match(struct venv *env, const struct vcall *c, const struct vreg *reg, int r);
int skep_v_kptr_release(struct venv *env, const struct vcall *c);
void skep_v_kptr_result(struct venv *env, const struct vcall *c, struct vreg *r0);

#endif
