// SPDX-License-Identifier: Apache-2.0
/*
 * One row per opcode byte. Where the fields of an instruction decide what it is
 * (BPF_MOV with an offset, BPF_CALL by source register, atomics by immediate)
 * the row tells the commonest, and skep_decode() the rest.
 */
#include "isa/isa.h"

#define ROW(nm, o, k, sz, w, x, v)                                                                 \
	{                                                                                          \
		.name = nm, .op = SKEP_OP_##o, .kind = k, .size = sz, .is64 = w, .src_is_reg = x,  \
		.version = v                                                                       \
	}

/* The four encodings of a binary operation: 32 and 64 bit, immediate and register. */
#define ALU(nm, k)                                                                                 \
	[BPF_ALU | k | BPF_K] = ROW(nm "32", ALU, k, 4, false, false, 3),                          \
		       [BPF_ALU | k | BPF_X] = ROW(nm "32", ALU, k, 4, false, true, 3),            \
		       [BPF_ALU64 | k | BPF_K] = ROW(nm, ALU, k, 8, true, false, 1),               \
		       [BPF_ALU64 | k | BPF_X] = ROW(nm, ALU, k, 8, true, true, 1)

#define JCC(nm, k, v)                                                                              \
	[BPF_JMP32 | k | BPF_K] = ROW(nm "32", JCC, k, 4, false, false, 3),                        \
			 [BPF_JMP32 | k | BPF_X] = ROW(nm "32", JCC, k, 4, false, true, 3),        \
			 [BPF_JMP | k | BPF_K] = ROW(nm, JCC, k, 8, true, false, v),               \
			 [BPF_JMP | k | BPF_X] = ROW(nm, JCC, k, 8, true, true, v)

#define SIZES(m, nm, cls, mode, o, x, v)                                                           \
	[cls | mode | BPF_B] = ROW(nm "b", o, m, 1, false, x, v),                                  \
		      [cls | mode | BPF_H] = ROW(nm "h", o, m, 2, false, x, v),                    \
		      [cls | mode | BPF_W] = ROW(nm "w", o, m, 4, false, x, v)

const struct skep_isa_row skep_isa[256] = {
	ALU("add", BPF_ADD),
	ALU("sub", BPF_SUB),
	ALU("mul", BPF_MUL),
	ALU("div", BPF_DIV),
	ALU("or", BPF_OR),
	ALU("and", BPF_AND),
	ALU("lsh", BPF_LSH),
	ALU("rsh", BPF_RSH),
	ALU("mod", BPF_MOD),
	ALU("xor", BPF_XOR),
	ALU("mov", BPF_MOV),
	ALU("arsh", BPF_ARSH),
	[BPF_ALU | BPF_NEG] = ROW("neg32", ALU, BPF_NEG, 4, false, false, 3),
	[BPF_ALU64 | BPF_NEG] = ROW("neg", ALU, BPF_NEG, 8, true, false, 1),
	[BPF_ALU | BPF_END | BPF_TO_LE] = ROW("le", END, SKEP_SWAP_LE, 8, false, false, 1),
	[BPF_ALU | BPF_END | BPF_TO_BE] = ROW("be", END, SKEP_SWAP_BE, 8, false, false, 1),
	[BPF_ALU64 | BPF_END] = ROW("bswap", END, SKEP_SWAP_ALWAYS, 8, true, false, 4),

	[BPF_LD | BPF_IMM | BPF_DW] = ROW("lddw", LDIMM64, 0, 8, true, false, 1),
	SIZES(0, "ldabs", BPF_LD, BPF_ABS, LD_ABS, false, 1),
	SIZES(0, "ldind", BPF_LD, BPF_IND, LD_IND, true, 1),
	SIZES(0, "ldx", BPF_LDX, BPF_MEM, LOAD, true, 1),
	[BPF_LDX | BPF_MEM | BPF_DW] = ROW("ldxdw", LOAD, 0, 8, true, true, 1),
	SIZES(0, "ldxs", BPF_LDX, BPF_MEMSX, LOAD, true, 4),
	SIZES(0, "st", BPF_ST, BPF_MEM, STORE, false, 1),
	[BPF_ST | BPF_MEM | BPF_DW] = ROW("stdw", STORE, 0, 8, true, false, 1),
	SIZES(0, "stx", BPF_STX, BPF_MEM, STORE, true, 1),
	[BPF_STX | BPF_MEM | BPF_DW] = ROW("stxdw", STORE, 0, 8, true, true, 1),
	[BPF_STX | BPF_ATOMIC | BPF_B] = ROW("atomic8", ATOMIC, 0, 1, false, true, 4),
	[BPF_STX | BPF_ATOMIC | BPF_H] = ROW("atomic16", ATOMIC, 0, 2, false, true, 4),
	[BPF_STX | BPF_ATOMIC | BPF_W] = ROW("atomic32", ATOMIC, 0, 4, false, true, 1),
	[BPF_STX | BPF_ATOMIC | BPF_DW] = ROW("atomic", ATOMIC, 0, 8, true, true, 1),

	[BPF_JMP | BPF_JA] = ROW("ja", JA, BPF_JA, 8, true, false, 1),
	[BPF_JMP32 | BPF_JA] = ROW("jal", JA, BPF_JA, 4, false, false, 4),
	JCC("jeq", BPF_JEQ, 1),
	JCC("jgt", BPF_JGT, 1),
	JCC("jge", BPF_JGE, 1),
	JCC("jset", BPF_JSET, 1),
	JCC("jne", BPF_JNE, 1),
	JCC("jsgt", BPF_JSGT, 1),
	JCC("jsge", BPF_JSGE, 1),
	JCC("jlt", BPF_JLT, 2),
	JCC("jle", BPF_JLE, 2),
	JCC("jslt", BPF_JSLT, 2),
	JCC("jsle", BPF_JSLE, 2),
	[BPF_JMP | BPF_JCOND] = ROW("may_goto", MAY_GOTO, BPF_JCOND, 8, true, false, 4),
	[BPF_JMP | BPF_CALL] = ROW("call", CALL_HELPER, BPF_CALL, 8, true, false, 1),
	[BPF_JMP | BPF_EXIT] = ROW("exit", EXIT, BPF_EXIT, 8, true, false, 1),
};
