/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The instruction set (RFC 9669) as one table. The decoder, the disassembler,
 * the interpreter, the verifier and the JIT read the same rows.
 */
#ifndef SKEP_ISA_H
#define SKEP_ISA_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "bpf/uapi.h"

/* What an instruction does, after decoding. Widths and operands are apart. */
enum skep_op {
	SKEP_OP_INVALID,
	SKEP_OP_ALU, /* dst = dst OP src; kind is BPF_ADD .. BPF_ARSH, MOV and NEG included */
	SKEP_OP_MOVSX, /* dst = sign-extended low `size` bytes of src */
	SKEP_OP_ADDR_CAST, /* dst = arena address space cast of src */
	SKEP_OP_PERCPU, /* dst = this CPU's copy of the variable at offset src; only in images */
	SKEP_OP_END, /* dst = byte order conversion, size 2, 4 or 8; see skep_insn.swap */
	SKEP_OP_LDIMM64, /* dst = 64-bit immediate or pseudo value; two slots */
	SKEP_OP_LOAD, /* dst = *(size *)(src + off), signed_ says which extension */
	SKEP_OP_STORE, /* *(size *)(dst + off) = src or imm */
	SKEP_OP_ATOMIC, /* atomic operation of kind imm on *(size *)(dst + off) */
	SKEP_OP_LD_ABS, /* r0 = packet[imm], big-endian */
	SKEP_OP_LD_IND, /* r0 = packet[src + imm], big-endian */
	SKEP_OP_JA, /* unconditional jump */
	SKEP_OP_JCC, /* conditional jump; kind is BPF_JEQ .. BPF_JSLE */
	SKEP_OP_MAY_GOTO, /* BPF_JCOND */
	SKEP_OP_CALL_HELPER,
	SKEP_OP_CALL_PSEUDO, /* bpf-to-bpf */
	SKEP_OP_CALL_KFUNC,
	SKEP_OP_EXIT,
};

#define SKEP_ADDR_PERCPU (-1) /* off of a BPF_MOV that is SKEP_OP_PERCPU */

enum skep_swap { SKEP_SWAP_LE, SKEP_SWAP_BE, SKEP_SWAP_ALWAYS };

/* One row per opcode byte (256 rows, SKEP_OP_INVALID where nothing is defined). */
struct skep_isa_row {
	const char *name; /* mnemonic, for messages and tables */
	uint8_t op; /* enum skep_op; several share a byte only through fields (off, imm, src_reg) */
	uint8_t kind; /* BPF_ADD.., BPF_JEQ.. */
	uint8_t size; /* access or operand size in bytes: 1, 2, 4, 8 */
	bool is64; /* ALU64/JMP rather than ALU/JMP32 */
	bool src_is_reg; /* BPF_X */
	uint8_t version; /* first ISA version (-mcpu=vN) that has it */
};
extern const struct skep_isa_row skep_isa[256];

/* A decoded instruction. */
struct skep_insn {
	uint8_t op; /* enum skep_op */
	uint8_t kind; /* ALU/JCC operation; enum skep_swap for SKEP_OP_END */
	uint8_t size; /* bytes */
	uint8_t dst, src;
	bool is64, src_is_reg;
	bool signed_; /* signed division/modulo, sign-extending load */
	uint8_t slots; /* 1, or 2 for LDIMM64 */
	int32_t off; /* jump or memory offset (long jumps: taken from imm) */
	int32_t imm;
	uint64_t imm64; /* LDIMM64: both halves; else the sign-extended imm */
};

/* Decodes insns[0] (and insns[1] if left > 1). Returns the number of slots, or
 * -EINVAL if it is no instruction: unknown opcode, reserved field not zero,
 * truncated LDIMM64. Register numbers over 10 are -EINVAL too. */
int skep_decode(const struct bpf_insn *insns, size_t left, struct skep_insn *out);

/* Names for helper, kfunc, map and subprogram operands while disassembling. A
 * callback may be NULL or write nothing (return false) for the default text. */
struct skep_disasm_names {
	bool (*call)(void *arg, const struct bpf_insn *insn, char *buf, size_t len);
	bool (*imm)(void *arg, const struct bpf_insn *insn, uint64_t full, char *buf, size_t len);
	void *arg;
};

/* Writes the text of one instruction in the kernel's syntax, e.g.
 * "(b7) r0 = 1", without newline. Returns the slots it takes. names may be NULL. */
int skep_disasm(const struct bpf_insn *insn, const struct skep_disasm_names *names, char *buf,
		size_t len);

#endif
