/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What arithmetic and comparisons mean, for whoever computes them at run time
 * (interpreter) or ahead of it (constant folding). Division by zero gives 0,
 * modulo by zero leaves the dividend, shifts use the low 5 or 6 bits, 32-bit
 * operations clear the upper half.
 */
#ifndef SKEP_ALU_H
#define SKEP_ALU_H

#include <stdbool.h>
#include <stdint.h>

#include "bpf/uapi.h"
#include "isa/isa.h"

#define SKEP_ALWAYS_INLINE inline __attribute__((always_inline))

static SKEP_ALWAYS_INLINE uint64_t skep_sdiv64(int64_t a, int64_t b)
{
	if (!b)
		return 0;
	return b == -1 ? -(uint64_t)a : (uint64_t)(a / b);
}

static SKEP_ALWAYS_INLINE uint64_t skep_smod64(int64_t a, int64_t b)
{
	if (!b)
		return (uint64_t)a;
	return b == -1 ? 0 : (uint64_t)(a % b);
}

static SKEP_ALWAYS_INLINE uint64_t skep_alu64(uint8_t kind, bool sign, uint64_t a, uint64_t b)
{
	switch (kind) {
	case BPF_ADD:
		return a + b;
	case BPF_SUB:
		return a - b;
	case BPF_MUL:
		return a * b;
	case BPF_DIV:
		return sign ? skep_sdiv64((int64_t)a, (int64_t)b) : b ? a / b : 0;
	case BPF_MOD:
		return sign ? skep_smod64((int64_t)a, (int64_t)b) : b ? a % b : a;
	case BPF_OR:
		return a | b;
	case BPF_AND:
		return a & b;
	case BPF_LSH:
		return a << (b & 63);
	case BPF_RSH:
		return a >> (b & 63);
	case BPF_NEG:
		return -a;
	case BPF_XOR:
		return a ^ b;
	case BPF_ARSH:
		return (uint64_t)((int64_t)a >> (b & 63));
	default: /* BPF_MOV */
		return b;
	}
}

static SKEP_ALWAYS_INLINE uint64_t skep_alu32(uint8_t kind, bool sign, uint32_t a, uint32_t b)
{
	switch (kind) {
	case BPF_DIV:
		/* In 64 bits INT_MIN / -1 has a result. */
		return (uint32_t)(sign ? skep_sdiv64((int32_t)a, (int32_t)b) : b ? a / b : 0);
	case BPF_MOD:
		return (uint32_t)(sign ? skep_smod64((int32_t)a, (int32_t)b) : b ? a % b : a);
	case BPF_LSH:
		return a << (b & 31);
	case BPF_RSH:
		return a >> (b & 31);
	case BPF_ARSH:
		return (uint32_t)((int32_t)a >> (b & 31));
	default:
		return (uint32_t)skep_alu64(kind, false, a, b);
	}
}

/* The low `size` bytes of v, sign-extended. */
static SKEP_ALWAYS_INLINE uint64_t skep_sext(uint64_t v, uint8_t size)
{
	switch (size) {
	case 1:
		return (uint64_t)(int8_t)v;
	case 2:
		return (uint64_t)(int16_t)v;
	case 4:
		return (uint64_t)(int32_t)v;
	default:
		return v;
	}
}

/* BPF_END: the low `size` bytes, the rest cleared. */
static SKEP_ALWAYS_INLINE uint64_t skep_swap(enum skep_swap swap, uint8_t size, uint64_t v)
{
	bool little = __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__;
	bool turn = swap == SKEP_SWAP_ALWAYS || (swap == SKEP_SWAP_BE) == little;

	switch (size) {
	case 2:
		return turn ? __builtin_bswap16((uint16_t)v) : (uint16_t)v;
	case 4:
		return turn ? __builtin_bswap32((uint32_t)v) : (uint32_t)v;
	default:
		return turn ? __builtin_bswap64(v) : v;
	}
}

static SKEP_ALWAYS_INLINE bool skep_jcc(uint8_t kind, bool is64, uint64_t a, uint64_t b)
{
	int64_t sa = is64 ? (int64_t)a : (int32_t)a, sb = is64 ? (int64_t)b : (int32_t)b;

	if (!is64) {
		a = (uint32_t)a;
		b = (uint32_t)b;
	}
	switch (kind) {
	case BPF_JEQ:
		return a == b;
	case BPF_JGT:
		return a > b;
	case BPF_JGE:
		return a >= b;
	case BPF_JSET:
		return a & b;
	case BPF_JNE:
		return a != b;
	case BPF_JSGT:
		return sa > sb;
	case BPF_JSGE:
		return sa >= sb;
	case BPF_JLT:
		return a < b;
	case BPF_JLE:
		return a <= b;
	case BPF_JSLT:
		return sa < sb;
	default: /* BPF_JSLE */
		return sa <= sb;
	}
}

#endif
