/* SPDX-License-Identifier: Apache-2.0 */
/* Between the files on memory. Registers are numbers; sizes and offsets bytes. */
#ifndef SKEP_VERIFIER_MEM_H
#define SKEP_VERIFIER_MEM_H

#include "verifier/state.h"

/* A region of mem_size bytes is accessed at off (reg->off included) plus reg's variable part. */
int skep_v_region(struct venv *env, const struct vreg *reg, int r, int off, int size,
		  uint32_t mem_size, bool zero_ok);
/* The same of a map's value: neither beyond it nor where it has fields of special types. */
int skep_v_map_value(struct venv *env, const struct vreg *reg, int r, int off, int size,
		     bool zero_ok, bool helper);
int skep_v_arg_align(struct venv *env, const struct vreg *reg, int size);
/* off is the instruction's; value the register loaded or stored, -1 none. */
int skep_v_stack_read(struct venv *env, int r, int off, int size, int value);
int skep_v_stack_write(struct venv *env, int r, int off, int size, int value, uint32_t insn);
/* A helper reads or writes size bytes; uninit: it writes them, whatever they are. */
int skep_v_stack_helper(struct venv *env, int r, int size, enum vacc acc, bool zero_ok,
			bool uninit);

/* ---- sanitize.c: pointer arithmetic of unprivileged programs ---- */
struct vmask {
	bool left; /* the pointer moves down */
	uint32_t how, limit;
};
/* Around d = ptr op num; num_first: d was the number. */
int skep_v_mask_before(struct venv *env, const struct bpf_insn *in, const struct vreg *ptr,
		       const struct vreg *num, bool num_first, struct vmask *m);
int skep_v_mask_after(struct venv *env, const struct bpf_insn *in, const struct vreg *d,
		      const struct vmask *m);
int skep_v_mask_numbers(struct venv *env, const struct bpf_insn *in);

#endif
