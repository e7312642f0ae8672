/* SPDX-License-Identifier: Apache-2.0 */
/* Pointers to structures that BTF describes: loads through them, and which types fit where. */
#ifndef SKEP_VERIFIER_BTFPTR_H
#define SKEP_VERIFIER_BTFPTR_H

#include "btf/btf.h"
#include "verifier/state.h"

/* What one step into a structure finds. */
enum vwalk { W_SCALAR = 1, W_PTR, W_PTR_UNTRUSTED, W_STRUCT };

/* size bytes at off of structure id: an enum vwalk or -errno with the kernel's message; *next the
 * type found, *flags (V_*) collects what its tags and the walk say, *field may be NULL. */
int skep_v_struct_walk(struct venv *env, const struct skep_btf *btf, uint32_t id, int off, int size,
		       uint32_t *next, uint32_t *flags, const char **field);
/* Whether type id at off is, or begins with, the needed type (strict: is it, at 0). */
bool skep_v_types_match(struct venv *env, const struct skep_btf *btf, uint32_t id, int off,
			const struct skep_btf *need_btf, uint32_t need, bool strict);

/* A register that points to such a structure. */
void skep_v_reg_btf(struct venv *env, struct vreg *r, const struct skep_btf *btf, uint32_t id,
		    uint32_t flags);
bool skep_v_is_trusted(const struct vreg *r);
bool skep_v_is_rcu(const struct vreg *r);
/* Objects that are freed meanwhile stay until later. */
bool skep_v_in_rcu(const struct venv *env);
/* The structure of skep's BTF that a register of another type stands for (sockets, maps), or 0. */
uint32_t skep_v_btf_of(const struct venv *env, const struct vreg *r);
const struct skep_btf *skep_v_vmlinux(const struct venv *env);

int skep_v_access_btf(struct venv *env, const struct vreg *reg, int r, int off, int size,
		      enum vacc acc, int value);
/* The context of programs with a target: its arguments. */
int skep_v_access_args(struct venv *env, uint32_t insn, int r, int off, int size, enum vacc acc,
		       int value);
int skep_v_access_map_ptr(struct venv *env, const struct vreg *reg, int r, int off, int size,
			  enum vacc acc, int value);

#endif
