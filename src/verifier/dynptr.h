/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Dynptrs: two stack slots (or, read-only, what a register of type V_DYNPTR points
 * to) that stand for memory whose size is known only when the program runs.
 */
#ifndef SKEP_VERIFIER_DYNPTR_H
#define SKEP_VERIFIER_DYNPTR_H

#include "helper/dynptr.h"
#include "verifier/state.h"

#define V_DYN_FIRST                                                                                \
	0x100u /* in vreg.dyn, beside enum skep_dynptr_kind: the lower numbered slot's */

/* Argument r is a dynptr. flags: SKEP_ARG_UNINIT, it is made here, of that kind (clone: with
 * that reference, 0: with a new one if its kind has any); SKEP_ARG_RDONLY, a constant one will do.
 * kind 0: any. */
int skep_v_dynptr_arg(struct venv *env, int r, uint16_t flags, uint32_t kind, uint32_t clone);
/* The id that slices of the dynptr behind argument r carry, its reference, its kind. */
struct vdynptr {
	uint32_t id, ref, kind;
};
struct vdynptr skep_v_dynptr(struct venv *env, int r);
/* Whether the dynptr behind r can be given back: messages as for releasing helpers. */
int skep_v_dynptr_owned(struct venv *env, int r);
/* Gives it back: it, its clones and their slices are gone. */
int skep_v_dynptr_release(struct venv *env, int r);
/* The stack slot of frame is about to be overwritten: a dynptr in it is gone, and its slices. */
int skep_v_dynptr_overwrite(struct venv *env, uint32_t frame, uint32_t slot);
/* r becomes a pointer to a dynptr that somebody else made. */
void skep_v_dynptr_reg(struct venv *env, struct vreg *r, uint32_t kind);
/* Where an object of nslots slots at register r lies: its last slot's number, -ERANGE beyond the
 * stack used so far, else a refusal. */
int skep_v_stack_object(struct venv *env, int r, const char *what, uint32_t nslots);

#endif
