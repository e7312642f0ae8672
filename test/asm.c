// SPDX-License-Identifier: Apache-2.0
#include "asm.h"

#include <ctype.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MAX_LABELS 256

struct label {
	char name[32];
	int at;
};

struct sym {
	const char *text;
	uint8_t code;
};

static const struct sym alu[] = {
	{"+=", BPF_ADD},  {"-=", BPF_SUB}, {"*=", BPF_MUL},  {"/=", BPF_DIV},    {"s/=", BPF_DIV},
	{"|=", BPF_OR},   {"&=", BPF_AND}, {"<<=", BPF_LSH}, {">>=", BPF_RSH},   {"%=", BPF_MOD},
	{"s%=", BPF_MOD}, {"^=", BPF_XOR}, {"=", BPF_MOV},   {"s>>=", BPF_ARSH}, {NULL, 0},
};
static const struct sym jcc[] = {
	{"==", BPF_JEQ}, {">", BPF_JGT},   {">=", BPF_JGE},   {"&", BPF_JSET},
	{"!=", BPF_JNE}, {"s>", BPF_JSGT}, {"s>=", BPF_JSGE}, {"<", BPF_JLT},
	{"<=", BPF_JLE}, {"s<", BPF_JSLT}, {"s<=", BPF_JSLE}, {NULL, 0},
};
static const struct sym fetch[] = {
	{"add", BPF_ADD}, {"and", BPF_AND}, {"or", BPF_OR}, {"xor", BPF_XOR}, {NULL, 0},
};

static int find(const struct sym *s, const char *text)
{
	for (; s->text; s++)
		if (!strcmp(s->text, text))
			return s->code;
	return -1;
}

static uint8_t size_code(unsigned bits)
{
	return bits == 8 ? BPF_B : bits == 16 ? BPF_H : bits == 32 ? BPF_W : BPF_DW;
}

static int put(struct bpf_insn *out, unsigned code, unsigned dst, unsigned src, int off,
	       int64_t imm)
{
	*out = (struct bpf_insn){
		.code = code, .dst_reg = dst, .src_reg = src, .off = off, .imm = (int32_t)imm};
	return 1;
}

/* True if the whole of s was matched: the format's last item is %n. */
#define MATCH(fmt, ...) (end = -1, sscanf(s, fmt "%n", __VA_ARGS__, &end), end >= 0 && !s[end])

static int atomic_line(const char *s, struct bpf_insn *out)
{
	unsigned d, a, src, bits;
	char sign[8];
	int off, end, k;

	if (MATCH("lock *(u%u *)(r%u %d) %4s r%u", &bits, &d, &off, sign, &src)) {
		k = find(alu, sign);
		return k < 0 ? 0 : put(out, BPF_STX | BPF_ATOMIC | size_code(bits), d, src, off, k);
	}
	if (MATCH("store_release((u%u *)(r%u %d), r%u)", &bits, &d, &off, &src))
		return put(out, BPF_STX | BPF_ATOMIC | size_code(bits), d, src, off, BPF_STORE_REL);
	if (MATCH("r%u = load_acquire((u%u *)(r%u %d))", &d, &bits, &src, &off))
		return put(out, BPF_STX | BPF_ATOMIC | size_code(bits), d, src, off, BPF_LOAD_ACQ);
	if (MATCH("r%u = atomic_fetch_%3[a-z]((u%u *)(r%u %d), r%u)", &a, sign, &bits, &d, &off,
		  &src) ||
	    MATCH("r%u = atomic64_fetch_%3[a-z]((u%u *)(r%u %d), r%u)", &a, sign, &bits, &d, &off,
		  &src)) {
		k = find(fetch, sign);
		return k < 0 ? 0
			     : put(out, BPF_STX | BPF_ATOMIC | size_code(bits), d, src, off,
				   k | BPF_FETCH);
	}
	if (MATCH("r%u = atomic_xchg((u%u *)(r%u %d), r%u)", &a, &bits, &d, &off, &src) ||
	    MATCH("r%u = atomic64_xchg((u%u *)(r%u %d), r%u)", &a, &bits, &d, &off, &src))
		return put(out, BPF_STX | BPF_ATOMIC | size_code(bits), d, src, off, BPF_XCHG);
	if (MATCH("r0 = atomic_cmpxchg((u%u *)(r%u %d), r0, r%u)", &bits, &d, &off, &src) ||
	    MATCH("r0 = atomic64_cmpxchg((u%u *)(r%u %d), r0, r%u)", &bits, &d, &off, &src))
		return put(out, BPF_STX | BPF_ATOMIC | size_code(bits), d, src, off, BPF_CMPXCHG);
	return 0;
}

static int memory_line(const char *s, struct bpf_insn *out)
{
	unsigned d, b, bits;
	char sign;
	long long imm;
	int off, end;

	if (MATCH("r%u = *(%c%u *)(r%u %d)", &d, &sign, &bits, &b, &off))
		return put(out, BPF_LDX | (sign == 's' ? BPF_MEMSX : BPF_MEM) | size_code(bits), d,
			   b, off, 0);
	if (MATCH("*(u%u *)(r%u %d) = r%u", &bits, &d, &off, &b))
		return put(out, BPF_STX | BPF_MEM | size_code(bits), d, b, off, 0);
	if (MATCH("*(u%u *)(r%u %d) = %lli", &bits, &d, &off, &imm))
		return put(out, BPF_ST | BPF_MEM | size_code(bits), d, 0, off, imm);
	return atomic_line(s, out);
}

static int alu_line(const char *s, struct bpf_insn *out)
{
	unsigned d, src, bits;
	unsigned long long wide;
	long long imm;
	char reg, reg2, sign[8];
	int end, k, class, off;

	if (MATCH("r%u = %lli ll", &d, &imm)) {
		/* %lli stops at the largest signed number. */
		wide = strtoull(strchr(s, '=') + 1, NULL, 0);
		put(out, BPF_LD | BPF_IMM | BPF_DW, d, 0, 0, (int32_t)wide);
		put(out + 1, 0, 0, 0, 0, (int32_t)(wide >> 32));
		return 2;
	}
	if (MATCH("r%u = be%u r%u", &d, &bits, &src))
		return put(out, BPF_ALU | BPF_END | BPF_TO_BE, d, 0, 0, bits);
	if (MATCH("r%u = le%u r%u", &d, &bits, &src))
		return put(out, BPF_ALU | BPF_END | BPF_TO_LE, d, 0, 0, bits);
	if (MATCH("r%u = bswap%u r%u", &d, &bits, &src))
		return put(out, BPF_ALU64 | BPF_END, d, 0, 0, bits);
	if (sscanf(s, "%c%u", &reg, &d) != 2 || (reg != 'r' && reg != 'w'))
		return 0;
	class = reg == 'r' ? BPF_ALU64 : BPF_ALU;
	if (MATCH("%c%u = -%c%u", &reg, &d, &reg2, &src) && (reg2 == 'r' || reg2 == 'w'))
		return put(out, class | BPF_NEG, d, 0, 0, 0);
	if (MATCH("%c%u = (s%u)%c%u", &reg, &d, &bits, &reg2, &src))
		return put(out, class | BPF_MOV | BPF_X, d, src, bits, 0);
	if (sscanf(s, "%c%u %5s", &reg, &d, sign) != 3)
		return 0;
	k = find(alu, sign);
	if (k < 0)
		return 0;
	off = sign[0] == 's' && k != BPF_ARSH;
	if (MATCH("%c%u %5s %c%u", &reg, &d, sign, &reg2, &src) && (reg2 == 'r' || reg2 == 'w'))
		return put(out, class | k | BPF_X, d, src, off, 0);
	if (MATCH("%c%u %5s %lli", &reg, &d, sign, &imm))
		return put(out, class | k | BPF_K, d, 0, off, imm);
	return 0;
}

/* Lines that may name a label, which is left in `label`. */
static int jump_line(const char *s, struct bpf_insn *out, char *label)
{
	unsigned d, src;
	long long imm;
	char reg, reg2, sign[8];
	int end, k, class;

	if (!strcmp(s, "exit"))
		return put(out, BPF_JMP | BPF_EXIT, 0, 0, 0, 0);
	if (MATCH("call #%lli", &imm))
		return put(out, BPF_JMP | BPF_CALL, 0, 0, 0, imm);
	if (MATCH("call %31s", label))
		return put(out, BPF_JMP | BPF_CALL, 0, BPF_PSEUDO_CALL, 0, 0);
	if (MATCH("goto %31s", label))
		return put(out, BPF_JMP | BPF_JA, 0, 0, 0, 0);
	if (MATCH("gotol %31s", label))
		return put(out, BPF_JMP32 | BPF_JA, 0, 0, 0, 0);
	if (MATCH("may_goto %31s", label))
		return put(out, BPF_JMP | BPF_JCOND, 0, 0, 0, 0);
	if (sscanf(s, "if %c%u %4s", &reg, &d, sign) != 3)
		return 0;
	class = reg == 'r' ? BPF_JMP : BPF_JMP32;
	k = find(jcc, sign);
	if (k < 0)
		return 0;
	if (MATCH("if %c%u %4s %c%u goto %31s", &reg, &d, sign, &reg2, &src, label) &&
	    (reg2 == 'r' || reg2 == 'w'))
		return put(out, class | k | BPF_X, d, src, 0, 0);
	if (MATCH("if %c%u %4s %lli goto %31s", &reg, &d, sign, &imm, label))
		return put(out, class | k | BPF_K, d, 0, 0, imm);
	return 0;
}

static int line(const char *s, struct bpf_insn *out, char *label)
{
	int n = jump_line(s, out, label);

	if (!n)
		n = memory_line(s, out);
	return n ? n : alu_line(s, out);
}

static int resolve(struct bpf_insn *insn, int at, const char *name, const struct label *labels,
		   int nlabels)
{
	int i, rel;

	if (name[0] == '+' || name[0] == '-') {
		rel = atoi(name);
	} else {
		for (i = 0; i < nlabels && strcmp(labels[i].name, name) != 0; i++)
			;
		if (i == nlabels) {
			fprintf(stderr, "no label %s\n", name);
			return -1;
		}
		rel = labels[i].at - at - 1;
	}
	if (insn->code == (BPF_JMP | BPF_CALL) || insn->code == (BPF_JMP32 | BPF_JA))
		insn->imm = rel;
	else
		insn->off = rel;
	return insn->imm == rel || insn->off == rel ? 0 : -1;
}

int asm_text(const char *text, struct bpf_insn *out, int max)
{
	static struct label labels[MAX_LABELS];
	static struct {
		int at;
		char name[32];
	} uses[BPF_MAXINSNS];
	char buf[256];
	int n = 0, nlabels = 0, nuses = 0;

	while (*text) {
		size_t len = strcspn(text, "\n;");
		char *s = buf;
		int slots;

		snprintf(buf, sizeof(buf), "%.*s", (int)len, text);
		text += len + !!text[len];
		while (isspace((unsigned char)*s))
			s++;
		for (len = strlen(s); len && isspace((unsigned char)s[len - 1]); len--)
			s[len - 1] = '\0';
		if (!*s || *s == '#')
			continue;
		len = strlen(s);
		if (s[len - 1] == ':') {
			if (nlabels == MAX_LABELS)
				return -1;
			snprintf(labels[nlabels].name, sizeof(labels[0].name), "%.*s", (int)len - 1,
				 s);
			labels[nlabels++].at = n;
			continue;
		}
		if (n + 2 > max)
			return -1;
		uses[nuses].name[0] = '\0';
		slots = line(s, out + n, uses[nuses].name);
		if (!slots) {
			fprintf(stderr, "cannot assemble: %s\n", s);
			return -1;
		}
		uses[nuses].at = n;
		nuses += uses[nuses].name[0] && BPF_CLASS(out[n].code) >= BPF_JMP &&
			 BPF_CLASS(out[n].code) <= BPF_JMP32 &&
			 out[n].code != (BPF_JMP | BPF_EXIT) &&
			 !(out[n].code == (BPF_JMP | BPF_CALL) && !out[n].src_reg);
		n += slots;
	}
	for (int i = 0; i < nuses; i++)
		if (resolve(&out[uses[i].at], uses[i].at, uses[i].name, labels, nlabels))
			return -1;
	return n;
}
