// SPDX-License-Identifier: Apache-2.0
/* Decoding, with the rules on reserved fields that Linux 6.18 enforces. */
#include <errno.h>

#include "isa/isa.h"

#define ADDR_SPACE_CAST 1 /* off of a BPF_MOV that converts arena addresses */
#define MAY_GOTO        0 /* src_reg of BPF_JCOND */

static bool atomic_ok(uint8_t size, int32_t imm)
{
	switch (imm) {
	case BPF_LOAD_ACQ:
	case BPF_STORE_REL:
		return true;
	case BPF_ADD:
	case BPF_AND:
	case BPF_OR:
	case BPF_XOR:
	case BPF_ADD | BPF_FETCH:
	case BPF_AND | BPF_FETCH:
	case BPF_OR | BPF_FETCH:
	case BPF_XOR | BPF_FETCH:
	case BPF_XCHG:
	case BPF_CMPXCHG:
		return size >= 4;
	default:
		return false;
	}
}

static bool decode_mov(const struct bpf_insn *in, struct skep_insn *out)
{
	if (!out->src_is_reg)
		return !in->src_reg && !in->off;
	if (out->is64 && in->off == ADDR_SPACE_CAST) {
		out->op = SKEP_OP_ADDR_CAST;
		return in->imm == 1 || in->imm == 1 << 16;
	}
	if (in->imm)
		return false;
	if (!in->off)
		return true;
	if (out->is64 && in->off == SKEP_ADDR_PERCPU) {
		out->op = SKEP_OP_PERCPU;
		return true;
	}
	if (in->off != 8 && in->off != 16 && !(in->off == 32 && out->is64))
		return false;
	out->op = SKEP_OP_MOVSX;
	out->signed_ = true;
	out->size = in->off / 8;
	return true;
}

static bool decode_alu(const struct bpf_insn *in, struct skep_insn *out)
{
	switch (out->kind) {
	case BPF_MOV:
		return decode_mov(in, out);
	case BPF_NEG:
		return !in->src_reg && !in->off && !in->imm;
	case BPF_DIV:
	case BPF_MOD:
		if (in->off != 0 && in->off != 1)
			return false;
		out->signed_ = in->off == 1;
		break;
	default:
		if (in->off)
			return false;
	}
	return out->src_is_reg ? !in->imm : !in->src_reg;
}

static bool decode_call(const struct bpf_insn *in, struct skep_insn *out)
{
	static const uint8_t op[] = {
		[0] = SKEP_OP_CALL_HELPER,
		[BPF_PSEUDO_CALL] = SKEP_OP_CALL_PSEUDO,
		[BPF_PSEUDO_KFUNC_CALL] = SKEP_OP_CALL_KFUNC,
	};

	if (in->dst_reg || in->src_reg >= sizeof(op))
		return false;
	out->op = op[in->src_reg];
	return out->op == SKEP_OP_CALL_KFUNC || !in->off;
}

static bool decode_ldimm64(const struct bpf_insn *in, size_t left, struct skep_insn *out)
{
	if (left < 2 || in[1].code || in[1].dst_reg || in[1].src_reg || in[1].off || in->off ||
	    in->src_reg > BPF_PSEUDO_MAP_IDX_VALUE)
		return false;
	out->slots = 2;
	out->imm64 = (uint32_t)in->imm | (uint64_t)(uint32_t)in[1].imm << 32;
	return true;
}

/* The rules of each operation beyond its opcode. */
static bool decode_fields(const struct bpf_insn *in, size_t left, struct skep_insn *out)
{
	switch (out->op) {
	case SKEP_OP_ALU:
		return decode_alu(in, out);
	case SKEP_OP_END:
		out->size = in->imm / 8;
		return !in->src_reg && !in->off &&
		       (in->imm == 16 || in->imm == 32 || in->imm == 64);
	case SKEP_OP_LDIMM64:
		return decode_ldimm64(in, left, out);
	case SKEP_OP_LOAD:
		out->signed_ = BPF_MODE(in->code) == BPF_MEMSX;
		return !in->imm;
	case SKEP_OP_STORE:
		return out->src_is_reg ? !in->imm : !in->src_reg;
	case SKEP_OP_ATOMIC:
		return atomic_ok(out->size, in->imm);
	case SKEP_OP_LD_ABS:
		return !in->dst_reg && !in->off && !in->src_reg;
	case SKEP_OP_LD_IND:
		return !in->dst_reg && !in->off;
	case SKEP_OP_JA:
		if (in->src_reg || in->dst_reg)
			return false;
		if (out->is64)
			return !in->imm;
		out->off = in->imm;
		return !in->off;
	case SKEP_OP_JCC:
		return out->src_is_reg ? !in->imm : !in->src_reg;
	case SKEP_OP_MAY_GOTO:
		return in->src_reg == MAY_GOTO && !in->dst_reg && !in->imm;
	case SKEP_OP_CALL_HELPER:
		return decode_call(in, out);
	case SKEP_OP_EXIT:
		return !in->imm && !in->src_reg && !in->dst_reg;
	default:
		return false;
	}
}

int skep_decode(const struct bpf_insn *in, size_t left, struct skep_insn *out)
{
	const struct skep_isa_row *row;

	if (!left)
		return -EINVAL;
	row = &skep_isa[in->code];
	*out = (struct skep_insn){
		.op = row->op,
		.kind = row->kind,
		.size = row->size,
		.dst = in->dst_reg,
		.src = in->src_reg,
		.is64 = row->is64,
		.src_is_reg = row->src_is_reg,
		.slots = 1,
		.off = in->off,
		.imm = in->imm,
		.imm64 = (uint64_t)(int64_t)in->imm,
	};
	if (in->dst_reg > BPF_REG_10 || !decode_fields(in, left, out))
		return -EINVAL;
	/* Only a pseudo load or call uses src_reg as anything but a register. */
	if (in->src_reg > BPF_REG_10)
		return -EINVAL;
	return out->slots;
}
