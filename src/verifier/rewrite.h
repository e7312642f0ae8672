/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The rewriting of a verified program into an image (exec/exec.h): context
 * accesses become accesses of the internal context, LD_ABS/LD_IND loads,
 * division by zero stays defined, dead code goes, callbacks and map references
 * become relocations. Instruction numbers of func_info and line_info follow.
 */
#ifndef SKEP_REWRITE_H
#define SKEP_REWRITE_H

#include <stdbool.h>
#include <stdint.h>

#include "exec/exec.h"
#include "prog/type.h"

/* What the verifier found out about one original instruction. */
struct skep_aux {
	bool seen; /* reached on some path */
	bool removed; /* saves or restores a register that the call around it leaves alone */
	bool branch_taken_only; /* conditional jump: only the jump was ever reached ... */
	bool fallthrough_only; /* ... only the next instruction was */
	uint8_t mem; /* enum skep_mem of its address operand */
	bool zext; /* a reader needs the upper half of its 32-bit result */
	bool guard_index; /* tail call of an unprivileged program: the index counts with 64 bits */
	const struct skep_ctx_field *field; /* CTX access: the field */
	int16_t frame_off; /* STACK access: constant offset, if stack_const */
	bool stack_const;
	int32_t map; /* LDIMM64 of a map, map value access, map helper: index in maps, or -1 */
	bool map_poisoned; /* reached with different maps */
	bool key_const;
	uint64_t key;
	uint32_t map_off; /* LDIMM64 of a map value: offset */
	uint32_t var; /* LDIMM64 of a per-CPU variable: enum skep_var ... */
	uint32_t btf_id; /* ... and its type */
	uint32_t subprog; /* pseudo call, PSEUDO_FUNC: number of the target */
	uint32_t kfunc; /* kernel function call: enum skep_kfunc_id */
	const void *obj_btf; /* of an object that it makes or gives up: type ... */
	uint32_t obj_id, obj_size; /* ... and size */
	uint32_t obj_count; /* 1 + offset of the count of references, 0: none */
	bool kptr; /* load of a kptr: what is there is an object's place in the heap */
	uint32_t loop_inline; /* bpf_loop: callback is constant; subprogram number + 1 */
};

/* Whether the call of a helper is replaced by instructions that change R0 only. */
bool skep_rewrite_inlines(const struct bpf_insn *call);

/* Fills prog->image (and moves prog->line_info, func_info offsets) from the original
 * instructions and aux. subprogs: start, len, stack of the original. 0 or -ENOMEM. */
int skep_rewrite(struct skep_prog *prog, const struct bpf_insn *insns, uint32_t ninsns,
		 const struct skep_aux *aux, const struct skep_subprog *subprogs,
		 uint32_t nsubprogs);

#endif
