// SPDX-License-Identifier: Apache-2.0
/* Instructions as text, in the syntax of the kernel's verifier log and bpftool. */
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>

#include "helper/helper.h"
#include "isa/isa.h"

struct text {
	char *buf;
	size_t len, used;
};

__attribute__((format(printf, 2, 3))) static void put(struct text *t, const char *fmt, ...)
{
	va_list ap;
	int n;

	va_start(ap, fmt);
	n = vsnprintf(t->used < t->len ? t->buf + t->used : NULL,
		      t->used < t->len ? t->len - t->used : 0, fmt, ap);
	va_end(ap);
	if (n > 0)
		t->used += n;
}

static const char *const alu_sign[16] = {
	[BPF_ADD >> 4] = "+=",  [BPF_SUB >> 4] = "-=",  [BPF_MUL >> 4] = "*=",
	[BPF_DIV >> 4] = "/=",  [BPF_OR >> 4] = "|=",   [BPF_AND >> 4] = "&=",
	[BPF_LSH >> 4] = "<<=", [BPF_RSH >> 4] = ">>=", [BPF_MOD >> 4] = "%=",
	[BPF_XOR >> 4] = "^=",  [BPF_MOV >> 4] = "=",   [BPF_ARSH >> 4] = "s>>=",
};
static const char *const signed_alu_sign[16] = {
	[BPF_DIV >> 4] = "s/=",
	[BPF_MOD >> 4] = "s%=",
};
static const char *const jcc_sign[16] = {
	[BPF_JEQ >> 4] = "==",   [BPF_JGT >> 4] = ">",    [BPF_JGE >> 4] = ">=",
	[BPF_JSET >> 4] = "&",   [BPF_JNE >> 4] = "!=",   [BPF_JSGT >> 4] = "s>",
	[BPF_JSGE >> 4] = "s>=", [BPF_JLT >> 4] = "<",    [BPF_JLE >> 4] = "<=",
	[BPF_JSLT >> 4] = "s<",  [BPF_JSLE >> 4] = "s<=",
};
static const char *const unsigned_type[] = {[1] = "u8", [2] = "u16", [4] = "u32", [8] = "u64"};
static const char *const signed_type[] = {[1] = "s8", [2] = "s16", [4] = "s32"};
static const char *const swap_name[] = {
	[SKEP_SWAP_LE] = "le",
	[SKEP_SWAP_BE] = "be",
	[SKEP_SWAP_ALWAYS] = "bswap",
};
static const char *const fetch_name[16] = {
	[BPF_ADD >> 4] = "add",
	[BPF_AND >> 4] = "and",
	[BPF_OR >> 4] = "or",
	[BPF_XOR >> 4] = "xor",
};

static void put_alu(struct text *t, const struct skep_insn *d)
{
	char reg = d->is64 ? 'r' : 'w';

	if (d->kind == BPF_NEG) {
		put(t, "%c%u = -%c%u", reg, d->dst, reg, d->dst);
		return;
	}
	put(t, "%c%u %s ", reg, d->dst, (d->signed_ ? signed_alu_sign : alu_sign)[d->kind >> 4]);
	if (d->src_is_reg)
		put(t, "%c%u", reg, d->src);
	else
		put(t, "%d", d->imm);
}

static void put_atomic(struct text *t, const struct skep_insn *d)
{
	const char *type = unsigned_type[d->size], *w = d->size == 8 ? "64" : "";
	unsigned op = (d->imm & 0xf0) >> 4;

	if (d->imm == BPF_LOAD_ACQ)
		put(t, "r%u = load_acquire((%s *)(r%u %+d))", d->dst, type, d->src, d->off);
	else if (d->imm == BPF_STORE_REL)
		put(t, "store_release((%s *)(r%u %+d), r%u)", type, d->dst, d->off, d->src);
	else if (d->imm == BPF_CMPXCHG)
		put(t, "r0 = atomic%s_cmpxchg((%s *)(r%u %+d), r0, r%u)", w, type, d->dst, d->off,
		    d->src);
	else if (d->imm == BPF_XCHG)
		put(t, "r%u = atomic%s_xchg((%s *)(r%u %+d), r%u)", d->src, w, type, d->dst, d->off,
		    d->src);
	else if (d->imm & BPF_FETCH)
		put(t, "r%u = atomic%s_fetch_%s((%s *)(r%u %+d), r%u)", d->src, w, fetch_name[op],
		    type, d->dst, d->off, d->src);
	else
		put(t, "lock *(%s *)(r%u %+d) %s r%u", type, d->dst, d->off, alu_sign[op], d->src);
}

static void put_call(struct text *t, const struct bpf_insn *insn, const struct skep_insn *d,
		     const struct skep_disasm_names *names)
{
	const char *name = d->op == SKEP_OP_CALL_HELPER ? skep_helper_name(d->imm) : NULL;
	char buf[128];

	if (names && names->call && names->call(names->arg, insn, buf, sizeof(buf)))
		put(t, "call %s", buf);
	else if (d->op == SKEP_OP_CALL_PSEUDO)
		put(t, "call pc%+d", d->imm);
	else if (d->op == SKEP_OP_CALL_KFUNC)
		put(t, "call kernel-function#%d", d->imm);
	else
		put(t, "call %s%s#%d", name ? "bpf_" : "", name ? name : "unknown", d->imm);
}

static void put_imm64(struct text *t, const struct bpf_insn *insn, const struct skep_insn *d,
		      const struct skep_disasm_names *names)
{
	char buf[128];

	if (names && names->imm && names->imm(names->arg, insn, d->imm64, buf, sizeof(buf)))
		put(t, "r%u = %s", d->dst, buf);
	else
		put(t, "r%u = 0x%" PRIx64, d->dst, d->imm64);
}

static void put_jcc(struct text *t, const struct skep_insn *d)
{
	char reg = d->is64 ? 'r' : 'w';

	put(t, "if %c%u %s ", reg, d->dst, jcc_sign[d->kind >> 4]);
	if (d->src_is_reg)
		put(t, "%c%u", reg, d->src);
	else
		put(t, "0x%x", d->imm);
	put(t, " goto pc%+d", d->off);
}

int skep_disasm(const struct bpf_insn *insn, const struct skep_disasm_names *names, char *buf,
		size_t len)
{
	struct text t = {.buf = buf, .len = len};
	struct skep_insn d;
	bool ldimm64 = insn->code == (BPF_LD | BPF_IMM | BPF_DW);
	char reg;

	if (len)
		buf[0] = '\0';
	put(&t, "(%02x) ", insn->code);
	if (skep_decode(insn, ldimm64 ? 2 : 1, &d) < 0) {
		put(&t, "BUG_%02x", insn->code);
		return ldimm64 ? 2 : 1;
	}
	reg = d.is64 ? 'r' : 'w';
	switch (d.op) {
	case SKEP_OP_ALU:
		put_alu(&t, &d);
		break;
	case SKEP_OP_MOVSX:
		put(&t, "%c%u = (%s)%c%u", reg, d.dst, signed_type[d.size], reg, d.src);
		break;
	case SKEP_OP_ADDR_CAST:
		put(&t, "r%u = addr_space_cast(r%u, %u, %u)", d.dst, d.src, (uint32_t)d.imm >> 16,
		    d.imm & 0xffff);
		break;
	case SKEP_OP_PERCPU:
		put(&t, "r%u = &(void __percpu *)(r%u)", d.dst, d.src);
		break;
	case SKEP_OP_END:
		put(&t, "r%u = %s%u r%u", d.dst, swap_name[d.kind], d.size * 8, d.dst);
		break;
	case SKEP_OP_LDIMM64:
		put_imm64(&t, insn, &d, names);
		break;
	case SKEP_OP_LOAD:
		put(&t, "r%u = *(%s *)(r%u %+d)", d.dst,
		    (d.signed_ ? signed_type : unsigned_type)[d.size], d.src, d.off);
		break;
	case SKEP_OP_STORE:
		put(&t, "*(%s *)(r%u %+d) = ", unsigned_type[d.size], d.dst, d.off);
		if (d.src_is_reg)
			put(&t, "r%u", d.src);
		else
			put(&t, "%d", d.imm);
		break;
	case SKEP_OP_ATOMIC:
		put_atomic(&t, &d);
		break;
	case SKEP_OP_LD_ABS:
		put(&t, "r0 = *(%s *)skb[%d]", unsigned_type[d.size], d.imm);
		break;
	case SKEP_OP_LD_IND:
		put(&t, "r0 = *(%s *)skb[r%u + %d]", unsigned_type[d.size], d.src, d.imm);
		break;
	case SKEP_OP_JA:
		put(&t, "%s pc%+d", d.is64 ? "goto" : "gotol", d.off);
		break;
	case SKEP_OP_JCC:
		put_jcc(&t, &d);
		break;
	case SKEP_OP_MAY_GOTO:
		put(&t, "may_goto pc%+d", d.off);
		break;
	case SKEP_OP_EXIT:
		put(&t, "exit");
		break;
	default:
		put_call(&t, insn, &d, names);
	}
	return d.slots;
}
