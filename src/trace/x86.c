/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What moving does to an instruction:
 *
 *	rip-relative operand	the displacement is computed anew
 *	jmp, jcc rel		the long form to the same target, or to its moved copy
 *	loop, jrcxz		the short form over two jumps
 *	call			the return address that it would have pushed is pushed, then jmp:
 *				unwinders, and who returns, see nothing of us
 *	anything else		as it is
 *
 * The return address of a call must not lie among the bytes that the jump replaces, so a call is the last to move.
 */
#include "trace/x86.h"

#include <Zydis/Zydis.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

static void decoder(ZydisDecoder *d)
{
	ZydisDecoderInit(d, ZYDIS_MACHINE_MODE_LONG_64, ZYDIS_STACK_WIDTH_64);
}

unsigned x86_length(const uint8_t *bytes, size_t len)
{
	ZydisDecodedInstruction insn;
	ZydisDecoder d;

	decoder(&d);
	if (ZYAN_FAILED(ZydisDecoderDecodeInstruction(&d, NULL, bytes, len, &insn)))
		return 0;
	return insn.length;
}

bool x86_is_boundary(const struct x86_code *code, uint64_t addr)
{
	ZydisDecodedInstruction insn;
	ZydisDecoder d;
	size_t at = 0;

	decoder(&d);
	while (at < code->len && code->addr + at < addr) {
		if (ZYAN_FAILED(ZydisDecoderDecodeInstruction(&d, NULL, code->bytes + at,
							      code->len - at, &insn)))
			return false;
		at += insn.length;
	}
	return at < code->len && code->addr + at == addr;
}

/* Target of a relative branch, at its original place; false: it is none. */
static bool branch_target(const ZydisDecodedInstruction *insn, uint64_t pc, uint64_t *target)
{
	for (int i = 0; i < 2; i++)
		if (insn->raw.imm[i].is_relative) {
			*target = pc + insn->length + (uint64_t)insn->raw.imm[i].value.s;
			return true;
		}
	return false;
}

/* Calls fn for each instruction until it answers true; a place that can't be decoded is passed
 * over byte by byte, which finds too many branches rather than too few. */
static bool each(const struct x86_code *code,
		 bool (*fn)(const ZydisDecodedInstruction *insn, uint64_t pc, void *arg), void *arg)
{
	ZydisDecodedInstruction insn;
	ZydisDecoder d;
	size_t at = 0;

	decoder(&d);
	while (at < code->len) {
		if (ZYAN_FAILED(ZydisDecoderDecodeInstruction(&d, NULL, code->bytes + at,
							      code->len - at, &insn))) {
			at++;
			continue;
		}
		if (fn(&insn, code->addr + at, arg))
			return true;
		at += insn.length;
	}
	return false;
}

struct range {
	uint64_t lo, hi;
};

static bool into(const ZydisDecodedInstruction *insn, uint64_t pc, void *arg)
{
	const struct range *r = arg;
	uint64_t target;

	return branch_target(insn, pc, &target) && target >= r->lo && target < r->hi;
}

bool x86_branches_into(const struct x86_code *code, uint64_t lo, uint64_t hi)
{
	struct range r = {lo, hi};

	return each(code, into, &r);
}

static bool by_table(const ZydisDecodedInstruction *insn, uint64_t pc, void *arg)
{
	return insn->mnemonic == ZYDIS_MNEMONIC_JMP && !insn->raw.imm[0].is_relative;
}

bool x86_jumps_by_table(const struct x86_code *code)
{
	return each(code, by_table, NULL);
}

bool x86_jump_to(uint8_t out[X86_JUMP], uint64_t addr, uint64_t to)
{
	int64_t rel = (int64_t)(to - (addr + X86_JUMP));
	int32_t rel32 = (int32_t)rel;

	out[0] = 0xe9;
	memcpy(out + 1, &rel32, 4);
	return rel == rel32;
}

/* ---- Moving ---- */

/* A place in out that refers to a target: a rel32, filled in at the end. */
struct fixup {
	uint32_t at, end; /* of the rel32; what it counts from */
	uint64_t target;
};

struct move {
	struct x86_moved *m;
	uint64_t to;
	struct fixup fix[X86_MAX_MOVED * 2];
	uint32_t nfix;
	uint64_t literal[X86_MAX_MOVED]; /* constants behind the code */
	struct fixup lit[X86_MAX_MOVED];
	uint32_t nlit;
	const char *why;
};

static void bytes(struct move *v, const void *p, size_t n)
{
	memcpy(v->m->out + v->m->out_len, p, n);
	v->m->out_len += (uint32_t)n;
}

static void byte(struct move *v, uint8_t b)
{
	bytes(v, &b, 1);
}

static void rel32(struct move *v, uint64_t target)
{
	v->fix[v->nfix++] = (struct fixup){v->m->out_len, v->m->out_len + 4, target};
	bytes(v, &(uint32_t){0}, 4);
}

static void jump(struct move *v, uint64_t target)
{
	byte(v, 0xe9);
	rel32(v, target);
}

/* push of a constant of 64 bits, from behind the code */
static void push(struct move *v, uint64_t value)
{
	bytes(v, "\xff\x35", 2);
	v->literal[v->nlit] = value;
	v->lit[v->nlit++] = (struct fixup){v->m->out_len, v->m->out_len + 4, 0};
	bytes(v, &(uint32_t){0}, 4);
}

static bool uses_rsp(const ZydisDecodedInstruction *insn, const ZydisDecodedOperand *ops)
{
	for (int i = 0; i < insn->operand_count_visible; i++) {
		if (ops[i].type == ZYDIS_OPERAND_TYPE_MEMORY &&
		    (ops[i].mem.base == ZYDIS_REGISTER_RSP ||
		     ops[i].mem.index == ZYDIS_REGISTER_RSP))
			return true;
		if (ops[i].type == ZYDIS_OPERAND_TYPE_REGISTER &&
		    ops[i].reg.value == ZYDIS_REGISTER_RSP)
			return true;
	}
	return false;
}

/* The instruction as it is, its rip-relative displacement made anew. */
static int copy(struct move *v, const ZydisDecodedInstruction *insn, const uint8_t *at, uint64_t pc)
{
	uint32_t start = v->m->out_len;

	bytes(v, at, insn->length);
	if (insn->attributes & ZYDIS_ATTRIB_IS_RELATIVE && insn->raw.disp.size == 32 &&
	    insn->raw.modrm.mod == 0 && insn->raw.modrm.rm == 5)
		v->fix[v->nfix++] =
			(struct fixup){start + insn->raw.disp.offset, start + insn->length,
				       pc + insn->length + (uint64_t)insn->raw.disp.value};
	return 0;
}

static int call(struct move *v, const ZydisDecodedInstruction *insn, const ZydisDecodedOperand *ops,
		const uint8_t *at, uint64_t pc)
{
	uint64_t target;

	if (branch_target(insn, pc, &target)) {
		if (target == pc + insn->length) {
			/* "Where am I": it pops what it pushed. */
			push(v, pc + insn->length);
			return 0;
		}
		push(v, pc + insn->length);
		jump(v, target);
		return 0;
	}
	if (insn->meta.branch_type == ZYDIS_BRANCH_TYPE_FAR || uses_rsp(insn, ops)) {
		v->why = "a call that depends on the stack pointer";
		return -ENOTSUP;
	}
	push(v, pc + insn->length);
	/* jmp r/m is call r/m with 4 instead of 2 in the middle of its ModRM byte. */
	uint32_t start = v->m->out_len;
	int err = copy(v, insn, at, pc);

	v->m->out[start + insn->raw.modrm.offset] =
		(uint8_t)((v->m->out[start + insn->raw.modrm.offset] & ~0x38u) | 4u << 3);
	return err;
}

/* Whether control never goes on behind it. */
static bool ends(const ZydisDecodedInstruction *insn)
{
	switch (insn->mnemonic) {
	case ZYDIS_MNEMONIC_JMP:
	case ZYDIS_MNEMONIC_RET:
	case ZYDIS_MNEMONIC_UD2:
	case ZYDIS_MNEMONIC_HLT:
	case ZYDIS_MNEMONIC_INT3:
		return true;
	default:
		return false;
	}
}

static int move_one(struct move *v, const ZydisDecodedInstruction *insn,
		    const ZydisDecodedOperand *ops, const uint8_t *at, uint64_t pc)
{
	uint64_t target;

	if (insn->meta.category == ZYDIS_CATEGORY_CALL)
		return call(v, insn, ops, at, pc);
	if (insn->mnemonic == ZYDIS_MNEMONIC_XBEGIN) {
		v->why = "a transaction begins there";
		return -ENOTSUP;
	}
	if (!branch_target(insn, pc, &target))
		return copy(v, insn, at, pc);
	if (insn->mnemonic == ZYDIS_MNEMONIC_JMP) {
		jump(v, target);
		return 0;
	}
	switch (insn->mnemonic) {
	case ZYDIS_MNEMONIC_LOOP:
	case ZYDIS_MNEMONIC_LOOPE:
	case ZYDIS_MNEMONIC_LOOPNE:
	case ZYDIS_MNEMONIC_JCXZ:
	case ZYDIS_MNEMONIC_JECXZ:
	case ZYDIS_MNEMONIC_JRCXZ:
		/* With its prefixes, over the jump that is not taken. */
		bytes(v, at, insn->length - 1u);
		byte(v, 2);
		bytes(v, "\xeb\x05", 2);
		jump(v, target);
		return 0;
	default:
		break;
	}
	/* jcc: its condition is the low half of the opcode, short or long. */
	byte(v, 0x0f);
	byte(v, (uint8_t)(0x80 | (insn->opcode & 0x0f)));
	rel32(v, target);
	return 0;
}

/* Fills in what refers to targets; those among the moved instructions are their copies. */
static int resolve(struct move *v)
{
	struct x86_moved *m = v->m;

	for (uint32_t i = 0; i < v->nfix; i++) {
		uint64_t target = v->fix[i].target, moved = x86_moved_pc(m, target, v->to);
		int64_t rel = (int64_t)((moved ? moved : target) - (v->to + v->fix[i].end));
		int32_t word = (int32_t)rel;

		if (rel != word)
			return -ERANGE;
		if (!moved && target > m->addr && target < m->addr + m->len) {
			v->why = "a branch into the middle of a moved instruction";
			return -ENOTSUP;
		}
		memcpy(m->out + v->fix[i].at, &word, 4);
	}
	for (uint32_t i = 0; i < v->nlit; i++) {
		int32_t word = (int32_t)(m->out_len - v->lit[i].end);

		memcpy(m->out + v->lit[i].at, &word, 4);
		bytes(v, &v->literal[i], 8);
	}
	return 0;
}

/* Padding that compilers and linkers put between functions. */
static size_t padding(const uint8_t *p, size_t len)
{
	ZydisDecodedInstruction insn;
	ZydisDecoder d;
	size_t n = 0;

	decoder(&d);
	while (n < len) {
		if (p[n] == 0xcc) {
			n++;
			continue;
		}
		if (ZYAN_FAILED(ZydisDecoderDecodeInstruction(&d, NULL, p + n, len - n, &insn)) ||
		    insn.mnemonic != ZYDIS_MNEMONIC_NOP)
			break;
		n += insn.length;
	}
	return n;
}

int x86_move(struct x86_moved *m, const struct x86_code *code, uint64_t addr, uint64_t to,
	     size_t min, const char **why)
{
	struct move v = {.m = m, .to = to, .why = NULL};
	size_t off = addr - code->addr, len = 0;
	ZydisDecodedOperand ops[ZYDIS_MAX_OPERAND_COUNT];
	ZydisDecodedInstruction insn;
	bool ended = false;
	ZydisDecoder d;
	int err;

	*why = NULL;
	*m = (struct x86_moved){.addr = addr};
	if (addr < code->addr || off >= code->len || min > X86_MAX_MOVED)
		return -EINVAL;
	decoder(&d);
	while (len < min) {
		const uint8_t *at = code->bytes + off + len;
		size_t left = code->len - off - len;

		if (ended || !left) {
			/* The function is over; what is missing must be padding. */
			size_t limit = code->room > off + len ? code->room - off - len : 0;

			if (!ended || padding(at, limit) < min - len) {
				*why = "the function is too short, and other code follows";
				return -ENOTSUP;
			}
			len = min;
			break;
		}
		if (ZYAN_FAILED(ZydisDecoderDecodeFull(&d, at, left, &insn, ops)))
			return -EINVAL;
		if (m->n == X86_MAX_MOVED || m->out_len > X86_MAX_OUT - 64)
			return -EINVAL;
		m->at[m->n] = (uint8_t)len;
		m->to[m->n++] = (uint8_t)m->out_len;
		err = move_one(&v, &insn, ops, at, addr + len);
		if (err) {
			*why = v.why;
			return err;
		}
		len += insn.length;
		ended = ends(&insn);
		if (insn.meta.category == ZYDIS_CATEGORY_CALL && len < min) {
			*why = "a call returns to among the first bytes";
			return -ENOTSUP;
		}
	}
	m->len = (uint32_t)len;
	/* A copied int3 or ud2 traps at another address; signal handlers look at it. */
	if (!ended)
		jump(&v, addr + len);
	if (!code->whole && m->n > 1) {
		*why = "how the code around branches is not known";
		return -ENOTSUP;
	}
	if (m->n > 1 && x86_branches_into(code, addr + 1, addr + len)) {
		*why = "the code jumps to among the first bytes";
		return -ENOTSUP;
	}
	err = resolve(&v);
	*why = v.why;
	return err;
}

uint64_t x86_moved_pc(const struct x86_moved *m, uint64_t pc, uint64_t to)
{
	for (uint32_t i = 1; i < m->n; i++)
		if (pc == m->addr + m->at[i])
			return to + m->to[i];
	return 0;
}

int x86_stub(uint8_t *out, size_t size, uint64_t site, uint64_t entry, const struct x86_moved *m,
	     bool syscall, uint32_t *len)
{
	/* lea -128(%rsp), %rsp; call *entry(%rip), which stands 8 bytes before; lea 128(%rsp), %rsp */
	static const uint8_t code[X86_STUB_CALL] = {0x48, 0x8d, 0x64, 0x24, 0x80, 0xff, 0x15,
						    0xed, 0xff, 0xff, 0xff, 0x48, 0x8d, 0xa4,
						    0x24, 0x80, 0,    0,    0};
	/* jmp over a syscall instruction: for the kernel, which restarts calls two bytes earlier */
	static const uint8_t raw[X86_STUB_RAW] = {0xeb, 0x02, 0x0f, 0x05};
	uint8_t *p = out + X86_STUB_HEAD + X86_STUB_CALL;

	*len = X86_STUB_HEAD + X86_STUB_CALL + (syscall ? X86_STUB_RAW : 0) + m->out_len;
	if (*len > size)
		return -ENOSPC;
	memcpy(out, &site, 8);
	memcpy(out + 8, &entry, 8);
	memcpy(out + X86_STUB_HEAD, code, sizeof(code));
	if (syscall) {
		memcpy(p, raw, sizeof(raw));
		p += X86_STUB_RAW;
	}
	memcpy(p, m->out, m->out_len);
	return 0;
}

static bool add_target(const ZydisDecodedInstruction *insn, uint64_t pc, void *arg)
{
	struct x86_targets *t = arg;
	uint64_t target, *grown;

	if (!branch_target(insn, pc, &target))
		return false;
	if (t->n == t->cap) {
		t->cap = t->cap ? 2 * t->cap : 4096;
		grown = realloc(t->addr, t->cap * sizeof(*grown));
		if (!grown)
			return true;
		t->addr = grown;
	}
	t->addr[t->n++] = target;
	return false;
}

static int by_address(const void *a, const void *b)
{
	const uint64_t *x = a, *y = b;

	return *x < *y ? -1 : *x > *y;
}

int x86_targets(const struct x86_code *code, struct x86_targets *out)
{
	*out = (struct x86_targets){0};
	if (each(code, add_target, out)) {
		free(out->addr);
		*out = (struct x86_targets){0};
		return -ENOMEM;
	}
	if (out->n)
		qsort(out->addr, out->n, sizeof(*out->addr), by_address);
	return 0;
}

bool x86_targets_in(const struct x86_targets *t, uint64_t lo, uint64_t hi)
{
	size_t a = 0, b = t->n;

	while (a < b) {
		size_t mid = (a + b) / 2;

		if (t->addr[mid] < lo)
			a = mid + 1;
		else
			b = mid;
	}
	return a < t->n && t->addr[a] < hi;
}
