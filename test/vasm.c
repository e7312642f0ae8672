/* SPDX-License-Identifier: Apache-2.0 */
#include "vasm.h"

#include <ctype.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "helper/helper.h"

struct label {
	char name[32];
	int at;
};
uint32_t (*vasm_kfunc)(const char *name);

struct fixup {
	char name[32];
	int at;
	enum { FIX_OFF, FIX_IMM } kind;
};
struct vasm {
	const char *p;
	struct bpf_insn *out;
	int n, max;
	const int *fds;
	int nfds;
	struct label labels[128];
	int nlabels;
	struct fixup fixups[256];
	int nfixups;
};

static void skip(struct vasm *a)
{
	while (*a->p == ' ' || *a->p == '\t')
		a->p++;
}

static bool eat(struct vasm *a, const char *tok)
{
	size_t n = strlen(tok);

	skip(a);
	if (strncmp(a->p, tok, n))
		return false;
	if (isalnum((unsigned char)tok[n - 1]) &&
	    (isalnum((unsigned char)a->p[n]) || a->p[n] == '_'))
		return false;
	a->p += n;
	return true;
}

static bool number(struct vasm *a, int64_t *v)
{
	const char *q;
	char *end;
	bool neg = false;

	skip(a);
	q = a->p;
	if (*q == '+' || *q == '-') {
		neg = *q == '-';
		q++;
		while (*q == ' ')
			q++;
	}
	if (!isdigit((unsigned char)*q))
		return false;
	*v = (int64_t)strtoull(q, &end, 0);
	if (neg)
		*v = (int64_t)(0 - (uint64_t)*v);
	a->p = end;
	return true;
}

static bool ident(struct vasm *a, char *buf, size_t len)
{
	size_t n = 0;

	skip(a);
	if (!isalpha((unsigned char)*a->p) && *a->p != '_')
		return false;
	while (isalnum((unsigned char)*a->p) || *a->p == '_') {
		if (n + 1 < len)
			buf[n++] = *a->p;
		a->p++;
	}
	buf[n] = 0;
	return true;
}

/* rN or wN; *is64 tells which. */
static bool reg(struct vasm *a, int *r, bool *is64)
{
	int64_t v;

	skip(a);
	if ((*a->p != 'r' && *a->p != 'w') || !isdigit((unsigned char)a->p[1]))
		return false;
	*is64 = *a->p++ == 'r';
	if (!number(a, &v))
		return false;
	*r = (int)v;
	return true;
}

static struct bpf_insn *emit(struct vasm *a, int code, int dst, int src, int off, int32_t imm)
{
	struct bpf_insn *in = &a->out[a->n];

	if (a->n >= a->max)
		return NULL;
	memset(in, 0, sizeof(*in));
	in->code = (uint8_t)code;
	in->dst_reg = dst & 15;
	in->src_reg = src & 15;
	in->off = (int16_t)off;
	in->imm = imm;
	a->n++;
	return in;
}

static void want(struct vasm *a, const char *name, int kind)
{
	struct fixup *f = &a->fixups[a->nfixups++];

	snprintf(f->name, sizeof(f->name), "%s", name);
	f->at = a->n;
	f->kind = kind;
}

/* (u32 *)(r1 +4): size code, register, offset, sign extension. */
static bool mem(struct vasm *a, int *size, int *r, int *off, bool *sx)
{
	static const struct {
		const char *name;
		int size;
		bool sx;
	} sizes[] = {
		{"u8", BPF_B, false},   {"u16", BPF_H, false}, {"u32", BPF_W, false},
		{"u64", BPF_DW, false}, {"s8", BPF_B, true},   {"s16", BPF_H, true},
		{"s32", BPF_W, true},
	};
	int64_t v = 0;
	bool is64;

	if (!eat(a, "("))
		return false;
	*size = -1;
	for (size_t i = 0; i < sizeof(sizes) / sizeof(*sizes); i++)
		if (eat(a, sizes[i].name)) {
			*size = sizes[i].size;
			*sx = sizes[i].sx;
			break;
		}
	if (*size < 0 || !eat(a, "*") || !eat(a, ")") || !eat(a, "(") || !reg(a, r, &is64))
		return false;
	if (!number(a, &v))
		v = 0;
	*off = (int)v;
	return eat(a, ")");
}

static bool target(struct vasm *a, int16_t *off, int32_t *imm)
{
	char name[32];
	int64_t v;

	if (number(a, &v)) {
		*off = (int16_t)v;
		if (imm)
			*imm = (int32_t)v;
		return true;
	}
	if (!ident(a, name, sizeof(name)))
		return false;
	want(a, name, imm ? FIX_IMM : FIX_OFF);
	return true;
}

static bool ldimm(struct vasm *a, int dst, int src, uint64_t imm, uint32_t hi)
{
	struct bpf_insn *in = emit(a, BPF_LD | BPF_DW | BPF_IMM, dst, src, 0, (int32_t)imm);

	return in && emit(a, 0, 0, 0, 0, (int32_t)hi);
}

static const struct {
	const char *tok;
	int op;
	bool sgn;
} alu_ops[] = {
	{"s>>=", BPF_ARSH, false}, {"<<=", BPF_LSH, false}, {">>=", BPF_RSH, false},
	{"s/=", BPF_DIV, true},    {"s%=", BPF_MOD, true},  {"+=", BPF_ADD, false},
	{"-=", BPF_SUB, false},    {"*=", BPF_MUL, false},  {"/=", BPF_DIV, false},
	{"%=", BPF_MOD, false},    {"|=", BPF_OR, false},   {"&=", BPF_AND, false},
	{"^=", BPF_XOR, false},
};
static const struct {
	const char *tok;
	int op;
} jmp_ops[] = {
	{"s>=", BPF_JSGE}, {"s<=", BPF_JSLE}, {"s>", BPF_JSGT}, {"s<", BPF_JSLT},
	{"==", BPF_JEQ},   {"!=", BPF_JNE},   {">=", BPF_JGE},  {"<=", BPF_JLE},
	{">", BPF_JGT},    {"<", BPF_JLT},    {"&", BPF_JSET},
};
static const struct {
	const char *tok;
	int op;
} atomics[] = {
	{"+=", BPF_ADD},
	{"|=", BPF_OR},
	{"&=", BPF_AND},
	{"^=", BPF_XOR},
};

/* dst = ... */
static bool assign(struct vasm *a, int dst, bool is64)
{
	int cls = is64 ? BPF_ALU64 : BPF_ALU, src, size, off, src2, bits;
	int64_t v, w;
	bool s64, sx;
	char name[32];

	if (eat(a, "map")) {
		if (!number(a, &v) || !eat(a, "ll") || v >= a->nfds)
			return false;
		return ldimm(a, dst, BPF_PSEUDO_MAP_FD, (uint32_t)a->fds[v], 0);
	}
	if (eat(a, "value")) {
		if (!number(a, &v) || !number(a, &w) || !eat(a, "ll") || v >= a->nfds)
			return false;
		return ldimm(a, dst, BPF_PSEUDO_MAP_VALUE, (uint32_t)a->fds[v], (uint32_t)w);
	}
	if (eat(a, "func")) {
		if (!ident(a, name, sizeof(name)) || !eat(a, "ll"))
			return false;
		want(a, name, FIX_IMM);
		return ldimm(a, dst, BPF_PSEUDO_FUNC, 0, 0);
	}
	for (bits = 16; bits <= 64; bits *= 2) {
		snprintf(name, sizeof(name), "be%d", bits);
		if (eat(a, name))
			return reg(a, &src, &s64) &&
			       emit(a, BPF_ALU | BPF_END | BPF_TO_BE, dst, 0, 0, bits);
		snprintf(name, sizeof(name), "le%d", bits);
		if (eat(a, name))
			return reg(a, &src, &s64) &&
			       emit(a, BPF_ALU | BPF_END | BPF_TO_LE, dst, 0, 0, bits);
		snprintf(name, sizeof(name), "bswap%d", bits);
		if (eat(a, name))
			return reg(a, &src, &s64) && emit(a, BPF_ALU64 | BPF_END, dst, 0, 0, bits);
	}
	for (bits = 8; bits <= 32; bits *= 2) {
		snprintf(name, sizeof(name), "(s%d)", bits);
		if (eat(a, name))
			return reg(a, &src, &s64) &&
			       emit(a, cls | BPF_MOV | BPF_X, dst, src, bits, 0);
	}
	for (bits = 32; bits <= 64; bits += 32) {
		static const struct {
			const char *n;
			int op;
		} f[] = {
			{"fetch_add", BPF_ADD}, {"fetch_or", BPF_OR}, {"fetch_and", BPF_AND},
			{"fetch_xor", BPF_XOR}, {"xchg", 0xe0},       {"cmpxchg", 0xf0},
		};
		const char *pre = bits == 64 ? "atomic64" : "atomic";

		for (size_t i = 0; i < sizeof(f) / sizeof(*f); i++) {
			snprintf(name, sizeof(name), "%s_%s", pre, f[i].n);
			if (!eat(a, name))
				continue;
			if (!eat(a, "(") || !mem(a, &size, &src, &off, &sx) || !eat(a, ","))
				return false;
			if (!reg(a, &src2, &s64))
				return false;
			if (f[i].op == 0xf0 && (!eat(a, ",") || !reg(a, &src2, &s64)))
				return false;
			return eat(a, ")") && emit(a, BPF_STX | size | BPF_ATOMIC, src, src2, off,
						   f[i].op | BPF_FETCH);
		}
	}
	if (eat(a, "load_acquire")) {
		if (!eat(a, "(") || !mem(a, &size, &src, &off, &sx) || !eat(a, ")"))
			return false;
		return emit(a, BPF_STX | size | BPF_ATOMIC, dst, src, off, BPF_LOAD_ACQ);
	}
	if (eat(a, "*")) {
		static const struct {
			const char *n;
			int size;
		} abs[] = {
			{"(u8 *)skb[", BPF_B},
			{"(u16 *)skb[", BPF_H},
			{"(u32 *)skb[", BPF_W},
		};

		for (size_t i = 0; i < 3; i++)
			if (eat(a, abs[i].n)) {
				if (reg(a, &src, &s64))
					return (number(a, &v) || (v = 0, 1)) && eat(a, "]") &&
					       emit(a, BPF_LD | abs[i].size | BPF_IND, 0, src, 0,
						    (int32_t)v);
				return number(a, &v) && eat(a, "]") &&
				       emit(a, BPF_LD | abs[i].size | BPF_ABS, 0, 0, 0, (int32_t)v);
			}
		return mem(a, &size, &src, &off, &sx) &&
		       emit(a, BPF_LDX | size | (sx ? BPF_MEMSX : BPF_MEM), dst, src, off, 0);
	}
	skip(a);
	if (*a->p == '-' && (a->p[1] == 'r' || a->p[1] == 'w')) {
		a->p++;
		return reg(a, &src, &s64) && emit(a, cls | BPF_NEG, dst, 0, 0, 0);
	}
	if (reg(a, &src, &s64))
		return emit(a, cls | BPF_MOV | BPF_X, dst, src, 0, 0);
	if (!number(a, &v))
		return false;
	if (eat(a, "ll"))
		return ldimm(a, dst, 0, (uint64_t)v, (uint32_t)((uint64_t)v >> 32));
	return emit(a, cls | BPF_MOV | BPF_K, dst, 0, 0, (int32_t)v);
}

static bool statement(struct vasm *a)
{
	int dst, src, size, off;
	bool is64, s64, sx;
	int64_t v, w[5];
	char name[40];
	struct bpf_insn *in;
	int16_t o = 0;
	int32_t imm = 0;

	if (eat(a, "exit"))
		return emit(a, BPF_JMP | BPF_EXIT, 0, 0, 0, 0);
	if (eat(a, "raw")) {
		for (int i = 0; i < 5; i++)
			if (!number(a, &w[i]))
				return false;
		return emit(a, (int)w[0], (int)w[1], (int)w[2], (int)w[3], (int32_t)w[4]);
	}
	if (eat(a, "gotol"))
		return target(a, &o, &imm) && emit(a, BPF_JMP32 | BPF_JA, 0, 0, 0, imm);
	if (eat(a, "goto"))
		return target(a, &o, NULL) && emit(a, BPF_JMP | BPF_JA, 0, 0, o, 0);
	if (eat(a, "may_goto"))
		return target(a, &o, NULL) && emit(a, BPF_JMP | BPF_JCOND, 0, 0, o, 0);
	if (eat(a, "call")) {
		if (eat(a, ":"))
			return target(a, &o, &imm) &&
			       emit(a, BPF_JMP | BPF_CALL, 0, BPF_PSEUDO_CALL, 0, imm);
		if (eat(a, "kfunc"))
			return ident(a, name, sizeof(name)) && vasm_kfunc &&
			       emit(a, BPF_JMP | BPF_CALL, 0, BPF_PSEUDO_KFUNC_CALL, 0,
				    (int32_t)vasm_kfunc(name));
		if (number(a, &v))
			return emit(a, BPF_JMP | BPF_CALL, 0, 0, 0, (int32_t)v);
		if (!ident(a, name, sizeof(name)))
			return false;
		for (uint32_t i = 0; i < SKEP_MAX_HELPERS; i++)
			if (skep_helper_name(i) && !strcmp(skep_helper_name(i), name))
				return emit(a, BPF_JMP | BPF_CALL, 0, 0, 0, (int32_t)i);
		return false;
	}
	if (eat(a, "if")) {
		int op = -1;

		if (!reg(a, &dst, &is64))
			return false;
		for (size_t i = 0; i < sizeof(jmp_ops) / sizeof(*jmp_ops) && op < 0; i++)
			if (eat(a, jmp_ops[i].tok))
				op = jmp_ops[i].op;
		if (op < 0)
			return false;
		op |= is64 ? BPF_JMP : BPF_JMP32;
		if (reg(a, &src, &s64))
			op |= BPF_X;
		else if (number(a, &v))
			imm = (int32_t)v, src = 0;
		else
			return false;
		return eat(a, "goto") && target(a, &o, NULL) && emit(a, op, dst, src, o, imm);
	}
	if (eat(a, "lock")) {
		if (!eat(a, "*") || !mem(a, &size, &dst, &off, &sx))
			return false;
		for (size_t i = 0; i < sizeof(atomics) / sizeof(*atomics); i++)
			if (eat(a, atomics[i].tok))
				return reg(a, &src, &s64) && emit(a, BPF_STX | size | BPF_ATOMIC,
								  dst, src, off, atomics[i].op);
		return false;
	}
	if (eat(a, "store_release"))
		return eat(a, "(") && mem(a, &size, &dst, &off, &sx) && eat(a, ",") &&
		       reg(a, &src, &s64) && eat(a, ")") &&
		       emit(a, BPF_STX | size | BPF_ATOMIC, dst, src, off, BPF_STORE_REL);
	if (eat(a, "*")) {
		if (!mem(a, &size, &dst, &off, &sx) || !eat(a, "="))
			return false;
		if (reg(a, &src, &s64))
			return emit(a, BPF_STX | size | BPF_MEM, dst, src, off, 0);
		return number(a, &v) && emit(a, BPF_ST | size | BPF_MEM, dst, 0, off, (int32_t)v);
	}
	if (!reg(a, &dst, &is64))
		return false;
	for (size_t i = 0; i < sizeof(alu_ops) / sizeof(*alu_ops); i++)
		if (eat(a, alu_ops[i].tok)) {
			int op = alu_ops[i].op | (is64 ? BPF_ALU64 : BPF_ALU);

			off = alu_ops[i].sgn;
			if (reg(a, &src, &s64))
				in = emit(a, op | BPF_X, dst, src, off, 0);
			else
				in = number(a, &v) ? emit(a, op, dst, 0, off, (int32_t)v) : NULL;
			return in;
		}
	return eat(a, "=") && assign(a, dst, is64);
}

int vasm(const char *text, const int *map_fds, int nmaps, struct bpf_insn *insns, int max)
{
	struct vasm a = {.p = text, .out = insns, .max = max, .fds = map_fds, .nfds = nmaps};

	for (;;) {
		const char *line;
		char name[32];

		while (*a.p && (isspace((unsigned char)*a.p) || *a.p == ';'))
			a.p++;
		if (!*a.p)
			break;
		line = a.p;
		if (ident(&a, name, sizeof(name)) && *a.p == ':') {
			a.p++;
			snprintf(a.labels[a.nlabels].name, sizeof(name), "%s", name);
			a.labels[a.nlabels++].at = a.n;
			continue;
		}
		a.p = line;
		if (!statement(&a)) {
			fprintf(stderr, "vasm: cannot parse '%.60s'\n", line);
			return -1;
		}
		skip(&a);
		if (*a.p && *a.p != ';' && *a.p != '\n') {
			fprintf(stderr, "vasm: junk after '%.60s'\n", line);
			return -1;
		}
	}
	for (int i = 0; i < a.nfixups; i++) {
		const struct fixup *f = &a.fixups[i];
		int at = -1;

		for (int j = 0; j < a.nlabels; j++)
			if (!strcmp(a.labels[j].name, f->name))
				at = a.labels[j].at;
		if (at < 0) {
			fprintf(stderr, "vasm: no label '%s'\n", f->name);
			return -1;
		}
		if (f->kind == FIX_OFF)
			insns[f->at].off = (int16_t)(at - f->at - 1);
		else
			insns[f->at].imm = at - f->at - 1;
	}
	return a.n;
}
