/* SPDX-License-Identifier: Apache-2.0 */
/* The x86-64 back end: encoder (x86_emit.c), instruction selection (x86_select.c,
 * x86_div.c), frames, calls and layout (x86_frame.c). */
#ifndef SKEP_JIT_X86_H
#define SKEP_JIT_X86_H

#include "exec/jit/jit.h"

enum x86_reg {
	RAX,
	RCX,
	RDX,
	RBX,
	RSP,
	RBP,
	RSI,
	RDI,
	R8,
	R9,
	R10,
	R11,
	R12,
	R13,
	R14,
	R15,
	NO_XREG = 0xff
};

/* Always free: for whatever an instruction needs in between. */
#define TMP  R11
#define TMP2 R10

enum x86_cc {
	CC_O,
	CC_NO,
	CC_B,
	CC_AE,
	CC_E,
	CC_NE,
	CC_BE,
	CC_A,
	CC_S,
	CC_NS,
	CC_P,
	CC_NP,
	CC_L,
	CC_GE,
	CC_LE,
	CC_G
};

/* A memory operand: [base + index * scale + disp]. index NO_XREG: none. */
struct x86_mem {
	uint8_t base, index, scale;
	int32_t disp;
};

/* Opcodes with their prefixes, see x86_op(). */
#define X_0F   0x00000100u
#define X_0F38 0x00000200u
#define X_66   0x00000400u
#define X_LOCK 0x00000800u
#define X_BYTE 0x00001000u /* the registers are 8 bits wide */
#define X_RM8  0x00002000u /* only the r/m register is */

struct x86 {
	struct jit *jit;
	const struct jit_func *f;
	uint8_t *buf; /* NULL: only counts */
	uint32_t cap, len;
	uint32_t pad; /* bytes before the code */
	uint8_t map[IR_REGS]; /* native register of each IR register */
	int32_t fp; /* RSP + fp is R10 */
	int32_t spill; /* RSP + spill is an 8-byte slot of ours */
	int32_t budget; /* RSP + budget is the struct skep_timed of may_goto */
	int32_t ctx_slot; /* RSP + ctx_slot keeps R1 over a tail call's lookup */
	uint32_t frame; /* bytes below the saved registers */
	uint8_t env; /* register of the environment */
	uint8_t saved[8]; /* callee-saved registers, in the order of pushing */
	unsigned nsaved;
	bool bmi2, movbe;
	bool decided; /* which jumps are short */
	int64_t shift; /* how far this instruction is from where it was */
	bool broken; /* a distance does not fit: a bug, nothing is compiled */
	bool moved; /* this round, something lay elsewhere than in the one before */
	/* What the flags say, for the instruction that follows: the result of the last
	 * operation, or a comparison. */
	uint8_t flags_reg; /* IR register, NO_REG: nothing */
	bool flags_w;
	const struct ir *last_jcc; /* its comparison still holds */
};

/* ---- Encoder ---- */
void x86_byte(struct x86 *c, uint8_t b);
void x86_imm32(struct x86 *c, int32_t v);
void x86_imm64(struct x86 *c, uint64_t v);
void x86_op_rr(struct x86 *c, uint32_t op, bool w, uint8_t reg, uint8_t rm);
void x86_op_rm(struct x86 *c, uint32_t op, bool w, uint8_t reg, struct x86_mem m);
/* VEX: map 2 is 0F38, 3 is 0F3A; pp 0 none, 1 66, 2 F3, 3 F2. */
void x86_vex_rr(struct x86 *c, uint8_t map, uint8_t pp, uint8_t op, bool w, uint8_t reg, uint8_t v,
		uint8_t rm);
void x86_mov_rr(struct x86 *c, bool w, uint8_t dst, uint8_t src);
void x86_mov_ri(struct x86 *c, uint8_t dst, uint64_t v);
void x86_alu_rr(struct x86 *c, uint8_t alu, bool w, uint8_t dst, uint8_t src);
void x86_alu_ri(struct x86 *c, uint8_t alu, bool w, uint8_t dst, int32_t imm);
void x86_alu_mi(struct x86 *c, uint8_t alu, bool w, struct x86_mem m, int32_t imm);
void x86_shift_ri(struct x86 *c, uint8_t shift, bool w, uint8_t dst, uint8_t n);
void x86_lea(struct x86 *c, bool w, uint8_t dst, struct x86_mem m);
void x86_load(struct x86 *c, uint8_t size, bool sign, bool w, uint8_t dst, struct x86_mem m);
void x86_store(struct x86 *c, uint8_t size, uint8_t src, struct x86_mem m);
void x86_push(struct x86 *c, uint8_t reg);
void x86_pop(struct x86 *c, uint8_t reg);
void x86_call_abs(struct x86 *c, const void *fn);
/* A short forward jump over code that follows; x86_here() fixes it. */
uint32_t x86_skip(struct x86 *c, int cc /* -1: always */);
void x86_here(struct x86 *c, uint32_t from);
void x86_align(struct x86 *c, unsigned to, unsigned max);

/* The /n of the eight classic operations, and of shifts. */
enum { ALU_ADD, ALU_OR, ALU_ADC, ALU_SBB, ALU_AND, ALU_SUB, ALU_XOR, ALU_CMP };
enum { SH_ROL = 0, SH_ROR = 1, SH_SHL = 4, SH_SHR = 5, SH_SAR = 7 };

static inline struct x86_mem x86_at(uint8_t base, int32_t disp)
{
	return (struct x86_mem){.base = base, .index = NO_XREG, .scale = 1, .disp = disp};
}

/* ---- Selection ---- */
/* Emits instruction n; returns how many instructions it covered. */
uint32_t x86_select(struct x86 *c, uint32_t n);
void x86_div(struct x86 *c, const struct ir *i);
void x86_atomic(struct x86 *c, const struct ir *i);
struct x86_mem x86_address(struct x86 *c, const struct ir *i);
bool x86_live_after(const struct ir *i, uint8_t reg);

/* ---- Frames and calls ---- */
void x86_epilogue(struct x86 *c);
void x86_exit(struct x86 *c);
void x86_call(struct x86 *c, const struct ir *i);
void x86_call_sub(struct x86 *c, const struct ir *i);
void x86_may_goto(struct x86 *c, struct ir *i);
void x86_tail_call(struct x86 *c, const struct ir *i);
void x86_lookup(struct x86 *c, const struct ir *i);
void x86_probe(struct x86 *c, const struct ir *i);
void x86_jump(struct x86 *c, struct ir *i, int cc /* -1: always */);

#endif
