// SPDX-License-Identifier: Apache-2.0
/* Encoding of x86-64 instructions: the shortest form of what is asked for. */
#include <string.h>

#include "exec/jit/x86.h"

void x86_byte(struct x86 *c, uint8_t b)
{
	if (c->buf && c->len < c->cap)
		c->buf[c->len] = b;
	c->len++;
}

void x86_imm32(struct x86 *c, int32_t v)
{
	for (int i = 0; i < 4; i++)
		x86_byte(c, (uint8_t)((uint32_t)v >> (8 * i)));
}

void x86_imm64(struct x86 *c, uint64_t v)
{
	for (int i = 0; i < 8; i++)
		x86_byte(c, (uint8_t)(v >> (8 * i)));
}

static bool fits8(int32_t v)
{
	return v == (int8_t)v;
}

/* Prefixes, REX and opcode. b is the r/m or base register, x the index. */
static void opcode(struct x86 *c, uint32_t op, bool w, uint8_t reg, uint8_t x, uint8_t b,
		   bool rm_reg)
{
	uint8_t rex = (w ? 8 : 0) | (reg & 8 ? 4 : 0) | (x != NO_XREG && (x & 8) ? 2 : 0) |
		      (b & 8 ? 1 : 0);
	/* SPL, BPL, SIL and DIL need one to be told from AH..BH. */
	bool low8 = ((op & X_BYTE) && reg >= RSP && reg <= RDI) ||
		    ((op & (X_BYTE | X_RM8)) && rm_reg && b >= RSP && b <= RDI);

	if (op & X_LOCK)
		x86_byte(c, 0xf0);
	if (op & X_66)
		x86_byte(c, 0x66);
	if (rex || low8)
		x86_byte(c, 0x40 | rex);
	if (op & (X_0F | X_0F38))
		x86_byte(c, 0x0f);
	if (op & X_0F38)
		x86_byte(c, 0x38);
	x86_byte(c, op & 0xff);
}

void x86_op_rr(struct x86 *c, uint32_t op, bool w, uint8_t reg, uint8_t rm)
{
	opcode(c, op, w, reg, NO_XREG, rm, true);
	x86_byte(c, 0xc0 | (reg & 7) << 3 | (rm & 7));
}

static uint8_t scale_bits(uint8_t scale)
{
	return scale == 8 ? 3 : scale == 4 ? 2 : scale == 2 ? 1 : 0;
}

static void modrm_mem(struct x86 *c, uint8_t reg, struct x86_mem m)
{
	bool sib = m.index != NO_XREG || (m.base & 7) == RSP;
	uint8_t mod = !m.disp && (m.base & 7) != RBP ? 0x00 : fits8(m.disp) ? 0x40 : 0x80;
	uint8_t index = m.index == NO_XREG ? RSP : m.index & 7;

	if (m.base == NO_XREG) {
		/* No base: a displacement of 32 bits. */
		x86_byte(c, (reg & 7) << 3 | RSP);
		x86_byte(c, scale_bits(m.scale) << 6 | index << 3 | RBP);
		x86_imm32(c, m.disp);
		return;
	}
	x86_byte(c, mod | (reg & 7) << 3 | (sib ? RSP : m.base & 7));
	if (sib)
		x86_byte(c, scale_bits(m.scale) << 6 | index << 3 | (m.base & 7));
	if (mod == 0x40)
		x86_byte(c, (uint8_t)m.disp);
	else if (mod == 0x80)
		x86_imm32(c, m.disp);
}

void x86_op_rm(struct x86 *c, uint32_t op, bool w, uint8_t reg, struct x86_mem m)
{
	opcode(c, op, w, reg, m.index, m.base == NO_XREG ? 0 : m.base, false);
	modrm_mem(c, reg, m);
}

void x86_vex_rr(struct x86 *c, uint8_t map, uint8_t pp, uint8_t op, bool w, uint8_t reg, uint8_t v,
		uint8_t rm)
{
	x86_byte(c, 0xc4);
	x86_byte(c, (reg & 8 ? 0 : 0x80) | 0x40 | (rm & 8 ? 0 : 0x20) | map);
	x86_byte(c, (w ? 0x80 : 0) | (~v & 15) << 3 | pp);
	x86_byte(c, op);
	x86_byte(c, 0xc0 | (reg & 7) << 3 | (rm & 7));
}

void x86_mov_rr(struct x86 *c, bool w, uint8_t dst, uint8_t src)
{
	if (dst == src && w)
		return;
	x86_op_rr(c, 0x89, w, src, dst);
}

void x86_mov_ri(struct x86 *c, uint8_t dst, uint64_t v)
{
	if (!v) {
		x86_op_rr(c, 0x31, false, dst, dst);
	} else if (v <= UINT32_MAX) {
		opcode(c, 0xb8 | (dst & 7), false, 0, NO_XREG, dst, false);
		x86_imm32(c, (int32_t)v);
	} else if ((int64_t)v == (int32_t)v) {
		x86_op_rr(c, 0xc7, true, 0, dst);
		x86_imm32(c, (int32_t)v);
	} else {
		opcode(c, 0xb8 | (dst & 7), true, 0, NO_XREG, dst, false);
		x86_imm64(c, v);
	}
}

void x86_alu_rr(struct x86 *c, uint8_t alu, bool w, uint8_t dst, uint8_t src)
{
	x86_op_rr(c, alu << 3 | 1, w, src, dst);
}

void x86_alu_ri(struct x86 *c, uint8_t alu, bool w, uint8_t dst, int32_t imm)
{
	if (fits8(imm)) {
		x86_op_rr(c, 0x83, w, alu, dst);
		x86_byte(c, (uint8_t)imm);
		return;
	}
	if (dst == RAX)
		opcode(c, alu << 3 | 5, w, 0, NO_XREG, 0, false);
	else
		x86_op_rr(c, 0x81, w, alu, dst);
	x86_imm32(c, imm);
}

void x86_alu_mi(struct x86 *c, uint8_t alu, bool w, struct x86_mem m, int32_t imm)
{
	if (fits8(imm)) {
		x86_op_rm(c, 0x83, w, alu, m);
		x86_byte(c, (uint8_t)imm);
		return;
	}
	x86_op_rm(c, 0x81, w, alu, m);
	x86_imm32(c, imm);
}

void x86_shift_ri(struct x86 *c, uint8_t shift, bool w, uint8_t dst, uint8_t n)
{
	x86_op_rr(c, n == 1 ? 0xd1 : 0xc1, w, shift, dst);
	if (n != 1)
		x86_byte(c, n);
}

void x86_lea(struct x86 *c, bool w, uint8_t dst, struct x86_mem m)
{
	if (m.index == NO_XREG && !m.disp && m.base != NO_XREG) {
		x86_mov_rr(c, w, dst, m.base);
		return;
	}
	/* RBP and R13 as base cost a displacement that RAX.. do not. */
	if (m.index != NO_XREG && m.scale == 1 && !m.disp && (m.base & 7) == RBP) {
		uint8_t t = m.base;

		m.base = m.index;
		m.index = t;
	}
	x86_op_rm(c, 0x8d, w, dst, m);
}

void x86_load(struct x86 *c, uint8_t size, bool sign, bool w, uint8_t dst, struct x86_mem m)
{
	switch (size) {
	case 1:
		x86_op_rm(c, X_0F | (sign ? 0xbe : 0xb6), sign && w, dst, m);
		break;
	case 2:
		x86_op_rm(c, X_0F | (sign ? 0xbf : 0xb7), sign && w, dst, m);
		break;
	case 4:
		x86_op_rm(c, sign ? 0x63 : 0x8b, sign, dst, m);
		break;
	default:
		x86_op_rm(c, 0x8b, true, dst, m);
	}
}

void x86_store(struct x86 *c, uint8_t size, uint8_t src, struct x86_mem m)
{
	switch (size) {
	case 1:
		x86_op_rm(c, X_BYTE | 0x88, false, src, m);
		break;
	case 2:
		x86_op_rm(c, X_66 | 0x89, false, src, m);
		break;
	default:
		x86_op_rm(c, 0x89, size == 8, src, m);
	}
}

void x86_push(struct x86 *c, uint8_t reg)
{
	opcode(c, 0x50 | (reg & 7), false, 0, NO_XREG, reg, false);
}

void x86_pop(struct x86 *c, uint8_t reg)
{
	opcode(c, 0x58 | (reg & 7), false, 0, NO_XREG, reg, false);
}

void x86_call_abs(struct x86 *c, const void *fn)
{
	x86_mov_ri(c, RAX, (uintptr_t)fn);
	x86_op_rr(c, 0xff, false, 2, RAX);
}

uint32_t x86_skip(struct x86 *c, int cc)
{
	x86_byte(c, cc < 0 ? 0xeb : 0x70 | cc);
	x86_byte(c, 0);
	return c->len;
}

void x86_here(struct x86 *c, uint32_t from)
{
	if (c->len - from > INT8_MAX)
		c->broken = true;
	if (c->buf && c->len <= c->cap)
		c->buf[from - 1] = (uint8_t)(c->len - from);
}

void x86_align(struct x86 *c, unsigned to, unsigned max)
{
	static const char *const nops[] = {
		"",
		"\x90",
		"\x66\x90",
		"\x0f\x1f\x00",
		"\x0f\x1f\x40\x00",
		"\x0f\x1f\x44\x00\x00",
		"\x66\x0f\x1f\x44\x00\x00",
		"\x0f\x1f\x80\x00\x00\x00\x00",
		"\x0f\x1f\x84\x00\x00\x00\x00\x00",
	};
	unsigned n = -c->len & (to - 1);

	if (n > max)
		return;
	while (n) {
		unsigned k = n > 8 ? 8 : n;

		for (unsigned i = 0; i < k; i++)
			x86_byte(c, (uint8_t)nops[k][i]);
		n -= k;
	}
}
