/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The compiler's parts. A program is lowered to an array of IR instructions, one
 * per instruction of the image (so numbers, jump targets and line information stay
 * what they are; what is optimised away becomes IR_NOP), goes through a few linear
 * passes, and is emitted by a back end. docs/jit.md tells the whole story.
 */
#ifndef SKEP_JIT_H
#define SKEP_JIT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "bpf/instance.h"
#include "exec/exec.h"
#include "isa/isa.h"

/*
 * Registers of the IR: R0 to R10 as in BPF, then stack slots that were promoted to
 * registers. NO_REG where an instruction has no such operand.
 */
#define IR_REGS  16
#define IR_FP    10
#define IR_SLOT0 11
#define NO_REG   0xff

enum ir_op {
	IR_NOP,
	IR_MOV, /* dst = a | imm (any 64 bits) */
	IR_ALU, /* dst = a kind operand */
	IR_NEG, /* dst = -a */
	IR_SEXT, /* dst = low `size` bytes of a, sign-extended to 64 or 32 bits */
	IR_ZEXT, /* dst = low `size` bytes of a */
	IR_SWAP, /* dst = low `size` bytes of a (or of memory), reversed */
	IR_ROL, /* dst = a rotated left by imm */
	IR_LOAD, /* dst = memory */
	IR_PROBE, /* dst = memory that may fault */
	IR_STORE, /* memory = a | imm */
	IR_RMW, /* memory = memory kind (b | imm), not atomic */
	IR_ATOMIC, /* imm: the kind, a: operand and result */
	IR_JMP,
	IR_JCC, /* if a kind operand goto target */
	IR_MAY_GOTO,
	IR_CALL, /* helper imm */
	IR_CALL_SUB, /* subprogram imm */
	/* imm: index in used_maps of the array, -1 if not known; off: slot, if size is not 0 */
	IR_TAIL_CALL,
	IR_LOOKUP, /* R0 = array element of the key in memory; imm: index in used_maps */
	IR_CPU, /* dst = number of the CPU slot */
	IR_FUNC, /* dst = address of function imm */
	IR_EXIT,
};

enum ir_operand { IR_IMM, IR_REG, IR_MEM };

#define IR_TARGET 0x01 /* something jumps here */
#define IR_LOOP   0x02 /* ... backwards */
#define IR_SIGNED 0x04 /* signed division, sign-extending load */
#define IR_LONG   0x08 /* back end: this jump is not short */
#define IR_MEM_A  0x10 /* JCC, SWAP: operand a is the memory */
#define IR_EXACT  0x20 /* 32 bits, and 64 would have given the same */
#define IR_NOT    0x40 /* JCC: jumps if the condition does not hold */

struct ir {
	uint8_t op; /* enum ir_op */
	uint8_t kind; /* BPF_ADD.. or BPF_JEQ.. */
	uint8_t size; /* bytes of memory, of an extension, of a swap */
	bool w; /* 64 bits; otherwise 32 and the upper half is cleared */
	uint8_t dst, a, b;
	uint8_t operand; /* enum ir_operand: what the second operand is */
	uint8_t base, index, scale; /* memory: base + index * scale + off */
	uint8_t flags;
	int32_t off;
	uint32_t target; /* of jumps: instruction number */
	int64_t imm; /* operand IR_IMM: fits 32 bits signed, but for MOV */
	uint32_t live; /* afterwards: registers, and << 16 their upper halves */
};

/* A function: the program itself or a subprogram. */
struct jit_func {
	uint32_t start, end; /* instructions */
	uint32_t stack; /* bytes */
	bool has_call; /* calls anything: the native stack must be aligned */
	bool needs_env; /* calls helpers, or functions that do */
	bool has_may_goto;
	bool has_loop; /* something jumps backwards */
	bool has_div; /* divisions that need fixed registers */
	bool fp_escapes; /* R10 is used for more than accesses at constant offsets */
	uint16_t used; /* IR registers that occur */
	uint8_t nslots; /* promoted stack slots: registers IR_SLOT0 and up */
	uint8_t map[IR_REGS]; /* native register of each, filled in by the back end */
};

struct jit {
	uint32_t flags; /* JIT_* */
	const struct skep_prog *prog;
	const struct skep_image *image;
	struct ir *ir; /* [len] */
	uint32_t len;
	struct jit_func *funcs; /* [image->nsubprogs] */
	uint32_t nfuncs;
	uint32_t *offsets; /* [len + 1] code offset of each instruction */
	uint32_t *entries; /* [nfuncs] code offset of each function's entry */
	uint8_t *depth; /* [len] how many loops are around */
	uint32_t *live_in; /* [len] liveness at jump targets */
	uint8_t (*bits_in)[IR_REGS]; /* [len] significant bits at jump targets */
};

/* skep_jit() with flags, for tests. */
#define JIT_BASELINE 1u /* use no more of the CPU than every machine has */
int skep_jit_with(struct skep_prog *prog, uint32_t flags, struct skep_code *out);

/* ---- lower.c: image to IR ---- */
int jit_lower(struct jit *jit);
/* Promotes the hottest stack slots of f to `n` more registers, at most. */
void jit_promote(struct jit *jit, struct jit_func *f, unsigned n);

/* ---- flow.c: what is known at each instruction ---- */
/* Registers read (with upper halves << 16, as far as `live` after it asks for them),
 * written, and whether it does anything else. */
uint32_t ir_reads(const struct jit *jit, const struct ir *i, uint32_t live);
uint32_t ir_writes(const struct ir *i);
bool ir_has_effect(const struct ir *i);
/* Liveness; removes what has no effect and narrows what needs 32 bits only. */
void jit_liveness(struct jit *jit, const struct jit_func *f);
/* Significant bits of each register, forwards; state is IR_REGS bytes. */
void jit_bits(struct jit *jit, const struct jit_func *f);
void jit_bits_step(const struct ir *i, uint8_t *bits);

/* ---- simplify.c: copies, constants, cheaper forms ---- */
void jit_simplify(struct jit *jit, const struct jit_func *f);
/* ---- fuse.c: several instructions into one ---- */
void jit_fuse(struct jit *jit, const struct jit_func *f);

/* ---- Magic numbers for division by a constant ---- */
struct jit_magic {
	uint64_t mul;
	uint8_t shift;
	bool add; /* the multiplier has one bit more than fits */
};
/* floor(n / d) for all n of `bits` (32 or 64) bits; d > 1 and no power of two. */
void jit_magic(uint64_t d, unsigned bits, struct jit_magic *out);

/* ---- The back end ---- */

/* Native registers beyond those of R0 to R9 that f may promote slots to. */
unsigned jit_arch_spare(const struct jit_func *f);
/* Emits everything into exec memory: code->entry, mem, size, map_size. -ENOTSUP
 * where there is no back end for this machine. */
int jit_arch_emit(struct jit *jit, struct skep_code *code);

#endif
