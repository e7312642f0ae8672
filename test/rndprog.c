// SPDX-License-Identifier: Apache-2.0
#include "rndprog.h"

#include <stdbool.h>

#include "isa/isa.h"

static _Thread_local uint64_t state;

void rnd_seed(uint64_t n)
{
	state = n * 0x9e3779b97f4a7c15ull + 1;
	for (int k = 0; k < 8; k++)
		rnd(2);
}

uint32_t rnd(uint32_t n)
{
	state ^= state << 13;
	state ^= state >> 7;
	state ^= state << 17;
	return (state >> 11) % n;
}

int64_t rnd_value(void)
{
	switch (rnd(6)) {
	case 0:
		return (int64_t)rnd(17) - 8;
	case 1:
		return (int64_t)(1ull << rnd(64));
	case 2:
		return (int64_t)((1ull << rnd(64)) - 1);
	case 3:
		return (int32_t)((uint64_t)rnd(1u << 16) << 16 | rnd(1u << 16));
	case 4:
		return -(int64_t)(1ull << rnd(63));
	default:
		return (int64_t)((uint64_t)rnd(1u << 31) << 33 ^ (uint64_t)rnd(1u << 31) << 10 ^
				 rnd(99));
	}
}

struct bpf_insn rnd_alu(void)
{
	static const uint8_t ops[] = {BPF_ADD, BPF_SUB, BPF_MUL,  BPF_DIV, BPF_OR,
				      BPF_AND, BPF_LSH, BPF_RSH,  BPF_NEG, BPF_MOD,
				      BPF_XOR, BPF_MOV, BPF_ARSH, BPF_END};
	struct bpf_insn in = {.code = ops[rnd(sizeof(ops))]};
	bool is64 = rnd(2), reg = rnd(2);

	in.dst_reg = rnd(10);
	if (in.code == BPF_END) {
		in.code |= rnd(3) == 0   ? BPF_ALU64
			   : rnd(2) == 0 ? (BPF_ALU | BPF_TO_BE)
					 : (BPF_ALU | BPF_TO_LE);
		in.imm = 16 << rnd(3);
		return in;
	}
	in.code |= is64 ? BPF_ALU64 : BPF_ALU;
	if (BPF_OP(in.code) == BPF_NEG)
		return in;
	if ((BPF_OP(in.code) == BPF_DIV || BPF_OP(in.code) == BPF_MOD) && rnd(3) == 0)
		in.off = 1;
	if (reg) {
		in.code |= BPF_X;
		in.src_reg = rnd(10);
		if (BPF_OP(in.code) == BPF_MOV && rnd(2))
			in.off = 8 << rnd(is64 ? 3 : 2);
		return in;
	}
	in.imm = (int32_t)rnd_value();
	if (BPF_OP(in.code) == BPF_LSH || BPF_OP(in.code) == BPF_RSH || BPF_OP(in.code) == BPF_ARSH)
		in.imm &= is64 ? 63 : 31;
	if ((BPF_OP(in.code) == BPF_DIV || BPF_OP(in.code) == BPF_MOD) && !in.imm)
		in.imm = 1 + rnd(100);
	return in;
}

static struct bpf_insn rnd_jump(int room)
{
	static const uint8_t ops[] = {BPF_JEQ,  BPF_JGT, BPF_JGE, BPF_JSET, BPF_JNE, BPF_JSGT,
				      BPF_JSGE, BPF_JLT, BPF_JLE, BPF_JSLT, BPF_JSLE};
	struct bpf_insn in = {.code = ops[rnd(sizeof(ops))] | (rnd(2) ? BPF_JMP : BPF_JMP32)};

	in.dst_reg = rnd(10);
	in.off = 1 + rnd(room);
	if (rnd(2)) {
		in.code |= BPF_X;
		in.src_reg = rnd(10);
	} else {
		in.imm = (int32_t)rnd_value();
	}
	return in;
}

#define SLOTS 4 /* 8-byte stack slots that random programs use */

static struct bpf_insn rnd_stack(void)
{
	static const uint8_t sizes[] = {BPF_B, BPF_H, BPF_W, BPF_DW};
	uint8_t size = sizes[rnd(4)], bytes = skep_isa[BPF_LDX | BPF_MEM | size].size;
	int off = -8 * (1 + (int)rnd(SLOTS)) + bytes * (int)rnd(8 / bytes);

	switch (rnd(4)) {
	case 0:
		return INSN(BPF_STX | BPF_MEM | size, 10, rnd(10), off, 0);
	case 1:
		return INSN(BPF_ST | BPF_MEM | size, 10, 0, off, (int32_t)rnd_value());
	case 2:
		if (size != BPF_DW)
			return INSN(BPF_LDX | BPF_MEMSX | size, rnd(10), 10, off, 0);
		/* fallthrough */
	default:
		return INSN(BPF_LDX | BPF_MEM | size, rnd(10), 10, off, 0);
	}
}

/* Random instructions on all registers, which come from memory and go back there. */
int rnd_program(struct bpf_insn *out)
{
	int n = 0, len = 5 + rnd(40), branches = rnd(2) ? 0 : 6, end;
	uint32_t live = rnd(1024) | rnd(1024);

	for (int i = 0; i < SLOTS; i++)
		out[n++] =
			INSN(BPF_ST | BPF_MEM | BPF_DW, 10, 0, -8 * (i + 1), (int32_t)rnd_value());
	out[n++] = INSN(BPF_STX | BPF_MEM | BPF_DW, 10, 1, -8 * (SLOTS + 1), 0);
	for (int r = 0; r < 10; r++)
		if (r != 1)
			out[n++] = INSN(BPF_LDX | BPF_MEM | BPF_DW, r, 1, 8 * r, 0);
	out[n++] = INSN(BPF_LDX | BPF_MEM | BPF_DW, 1, 1, 8, 0);
	for (end = n + len; n < end; n++) {
		uint32_t kind = rnd(10);

		if (kind == 0 && branches && n + 2 < end) {
			int room = end - n - 1;

			out[n] = rnd_jump(room < 8 ? room : 8);
			branches--;
		} else if (kind < 3) {
			out[n] = rnd_stack();
		} else {
			out[n] = rnd_alu();
		}
	}
	/* Store the registers that are to be looked at; the rest is dead. */
	out[n++] = INSN(BPF_STX | BPF_MEM | BPF_DW, 10, 0, -8 * (SLOTS + 2), 0);
	out[n++] = INSN(BPF_LDX | BPF_MEM | BPF_DW, 0, 10, -8 * (SLOTS + 1), 0);
	for (int r = 1; r < 10; r++)
		if (live & 1u << r)
			out[n++] = INSN(BPF_STX | BPF_MEM | BPF_DW, 0, r, 8 * r, 0);
	out[n++] = INSN(BPF_ALU64 | BPF_MOV | BPF_X, 1, 0, 0, 0);
	out[n++] = INSN(BPF_LDX | BPF_MEM | BPF_DW, 0, 10, -8 * (SLOTS + 2), 0);
	out[n++] = INSN(BPF_STX | BPF_MEM | BPF_DW, 1, 0, 0, 0);
	out[n++] = INSN(BPF_JMP | BPF_EXIT, 0, 0, 0, 0);
	return n;
}

/*
 * Programs like those that compilers make: memory through pointers and indexes,
 * rotations, read-modify-write, constant loops, calls. R9 is the memory, R8 counts
 * loops, the rest is free.
 */
#define ARRAY 64 /* bytes of stack used as an array, below the slots */

static uint8_t reg07(void)
{
	return rnd(8);
}

static int alu(struct bpf_insn *out, bool is64, uint8_t op, uint8_t dst, int src, int32_t imm)
{
	out->code = (is64 ? BPF_ALU64 : BPF_ALU) | op | (src >= 0 ? BPF_X : BPF_K);
	out->dst_reg = dst;
	out->src_reg = src >= 0 ? src : 0;
	out->off = 0;
	out->imm = src >= 0 ? 0 : imm;
	return 1;
}

static int chunk_rotate(struct bpf_insn *out)
{
	uint8_t x = reg07(), t = reg07();
	bool w = rnd(2), swap = rnd(2);
	int bits = w ? 64 : 32, k = 1 + rnd(bits - 1), n = 0;
	static const uint8_t joins[] = {BPF_OR, BPF_ADD, BPF_XOR};

	n += alu(out + n, w, BPF_MOV, t, x, 0);
	n += alu(out + n, w, swap ? BPF_RSH : BPF_LSH, rnd(2) ? t : x, -1, k);
	if (rnd(4) == 0)
		n += alu(out + n, rnd(2), BPF_ADD, reg07(), reg07(), 0);
	n += alu(out + n, w, swap ? BPF_LSH : BPF_RSH, out[1].dst_reg == t ? x : t, -1, bits - k);
	n += alu(out + n, rnd(8) ? w : !w, joins[rnd(3)], rnd(2) ? t : x, rnd(2) ? x : t, 0);
	return n;
}

static int chunk_extend(struct bpf_insn *out)
{
	uint8_t x = reg07();
	bool w = rnd(2);
	int k = w ? (rnd(2) ? 32 : 48 + 8 * rnd(2)) : 16 + 8 * rnd(2), n = 0;

	n += alu(out + n, w, BPF_LSH, x, -1, k);
	if (rnd(4) == 0)
		n += alu(out + n, rnd(2), BPF_ADD, reg07(), reg07(), 0);
	n += alu(out + n, w, rnd(2) ? BPF_RSH : BPF_ARSH, x, -1, k);
	return n;
}

static const uint8_t mem_sizes[] = {BPF_B, BPF_H, BPF_W, BPF_DW};

static int chunk_memory(struct bpf_insn *out)
{
	static const uint8_t ops[] = {BPF_ADD, BPF_SUB, BPF_AND, BPF_OR, BPF_XOR, BPF_MUL};
	uint8_t size = mem_sizes[rnd(4)], bytes = 1 << (size == BPF_B   ? 0
							: size == BPF_H ? 1
							: size == BPF_W ? 2
									: 3);
	int off = bytes * (int)rnd(80 / bytes), n = 0;
	uint8_t t = reg07(), op = ops[rnd(sizeof(ops))];
	bool w = rnd(3) ? size == BPF_DW : rnd(2);

	out[n++] = INSN(BPF_LDX | (size != BPF_DW && rnd(4) == 0 ? BPF_MEMSX : BPF_MEM) | size, t,
			9, off, 0);
	if (rnd(4) == 0)
		n += alu(out + n, rnd(2), BPF_ADD, reg07(), reg07(), 0);
	if (rnd(6) == 0)
		out[n++] =
			INSN(BPF_STX | BPF_MEM | size, 9, reg07(), bytes * (int)rnd(80 / bytes), 0);
	switch (rnd(5)) {
	case 0: /* the loaded value as an operand */
		n += alu(out + n, w, op, reg07(), t, 0);
		break;
	case 1: /* read, modify, write */
		n += alu(out + n, w, op, t, rnd(2) ? (int)reg07() : -1, (int32_t)rnd_value());
		out[n++] = INSN(BPF_STX | BPF_MEM | size, 9, t, off, 0);
		break;
	case 2:
		out[n++] = INSN((rnd(2) ? BPF_ALU64 | BPF_END : BPF_ALU | BPF_END | BPF_TO_BE), t,
				0, 0, 16 << rnd(3));
		break;
	case 3: { /* a comparison */
		static const uint8_t j[] = {BPF_JEQ,  BPF_JNE,  BPF_JGT, BPF_JLE,
					    BPF_JSGT, BPF_JSLE, BPF_JSET};

		out[n] = INSN((rnd(2) ? BPF_JMP : BPF_JMP32) | j[rnd(sizeof(j))], t, 0, 2,
			      (int32_t)rnd_value());
		if (rnd(2)) {
			out[n].code |= BPF_X;
			out[n].src_reg = reg07();
			out[n].imm = 0;
		}
		n++;
		n += alu(out + n, rnd(2), BPF_MOV, reg07(), rnd(2) ? (int)reg07() : -1,
			 (int32_t)rnd_value());
		n += alu(out + n, rnd(2), BPF_ADD, reg07(), reg07(), 0);
		break;
	}
	default:
		break;
	}
	if (rnd(2))
		n += alu(out + n, rnd(2), BPF_MOV, t, -1, (int32_t)rnd_value()); /* dead now */
	return n;
}

/* An element of the array on the stack, by a variable index. */
static int chunk_index(struct bpf_insn *out)
{
	uint8_t x = reg07(), p = (x + 1 + rnd(7)) % 8, shift = rnd(4);
	uint8_t size = shift == 0 ? BPF_B : shift == 1 ? BPF_H : shift == 2 ? BPF_W : BPF_DW;
	int base = -8 * (SLOTS + 2) - ARRAY, n = 0;

	n += alu(out + n, true, BPF_AND, x, -1, ARRAY / (1 << shift) - 1);
	if (rnd(2))
		n += alu(out + n, true, BPF_LSH, x, -1, shift);
	else
		size = BPF_B;
	n += alu(out + n, true, BPF_MOV, p, 10, 0);
	if (rnd(2)) {
		n += alu(out + n, true, BPF_ADD, p, -1, base);
		base = 0;
	}
	n += alu(out + n, true, BPF_ADD, p, x, 0);
	out[n++] = INSN(BPF_LDX | BPF_MEM | size, rnd(2) ? p : reg07(), p, base, 0);
	/* Pointers must not be computed with or stored. */
	if (out[n - 1].dst_reg != p)
		n += alu(out + n, true, BPF_MOV, p, -1, (int32_t)rnd_value());
	return n;
}

static int chunk_atomic(struct bpf_insn *out)
{
	static const int kinds[] = {BPF_ADD,
				    BPF_AND,
				    BPF_OR,
				    BPF_XOR,
				    BPF_ADD | BPF_FETCH,
				    BPF_AND | BPF_FETCH,
				    BPF_OR | BPF_FETCH,
				    BPF_XOR | BPF_FETCH,
				    BPF_XCHG,
				    BPF_CMPXCHG};
	bool w = rnd(2);

	*out = INSN(BPF_STX | BPF_ATOMIC | (w ? BPF_DW : BPF_W), 10, reg07(),
		    -8 * (1 + (int)rnd(SLOTS)), kinds[rnd(10)]);
	return 1;
}

static int chunk(struct bpf_insn *out)
{
	switch (rnd(9)) {
	case 0:
		return chunk_rotate(out);
	case 1:
		return chunk_extend(out);
	case 2:
	case 3:
	case 4:
		return chunk_memory(out);
	case 5:
		return chunk_index(out);
	case 6:
		return chunk_atomic(out);
	default:
		do {
			*out = rnd_alu();
		} while (out->dst_reg > 7 || (BPF_SRC(out->code) == BPF_X && out->src_reg > 7));
		return 1;
	}
}

static int load_all(struct bpf_insn *out, int from, int to)
{
	int n = 0;

	for (int r = from; r <= to; r++)
		out[n++] = INSN(BPF_LDX | BPF_MEM | BPF_DW, r, 9, 8 * r, 0);
	return n;
}

/* Its stack: slots that atomics use, and the array. */
static int fill_stack(struct bpf_insn *out)
{
	int n = 0;

	for (int i = 0; i < SLOTS + 2 + ARRAY / 8; i++)
		out[n++] =
			INSN(BPF_ST | BPF_MEM | BPF_DW, 10, 0, -8 * (i + 1), (int32_t)rnd_value());
	return n;
}

int rnd_compiled(struct bpf_insn *out)
{
	int n = 0, loop = -1, call = -1, chunks = 2 + rnd(10);
	uint32_t live = rnd(256) | rnd(256);

	n += alu(out + n, true, BPF_MOV, 9, 1, 0);
	n += fill_stack(out + n);
	n += load_all(out + n, 0, 7);
	if (rnd(2)) {
		n += alu(out + n, true, BPF_MOV, 8, -1, 0);
		loop = n;
	}
	for (int i = 0; i < chunks; i++)
		n += chunk(out + n);
	if (loop >= 0) {
		n += alu(out + n, true, BPF_ADD, 8, -1, 1);
		out[n] = INSN(BPF_JMP | BPF_JLT, 8, 0, loop - n - 1, 3);
		n++;
	}
	if (rnd(2)) {
		call = n++;
		out[call] = INSN(BPF_JMP | BPF_CALL, 0, BPF_PSEUDO_CALL, 0, 0);
		n += load_all(out + n, 1, 5);
		for (int i = 0; i < 2; i++)
			n += chunk(out + n);
	}
	for (int r = 0; r < 8; r++)
		if (live & 1u << r)
			out[n++] = INSN(BPF_STX | BPF_MEM | BPF_DW, 9, r, 8 * r, 0);
	out[n++] = INSN(BPF_JMP | BPF_EXIT, 0, 0, 0, 0);
	if (call < 0)
		return n;
	out[call].imm = n - call - 1;
	n += alu(out + n, true, BPF_MOV, 0, 1, 0);
	for (int r = 6; r < 8; r++)
		n += alu(out + n, rnd(2), BPF_MOV, r, r - 3, 0);
	for (int i = 0; i < 8; i++) {
		int k = chunk_rotate(out + n);

		n += rnd(2) ? k : chunk_extend(out + n);
	}
	out[n++] = INSN(BPF_JMP | BPF_EXIT, 0, 0, 0, 0);
	return n;
}
