/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The text of registers, stack slots, instructions and source lines in the log.
 */
#include "verifier/state.h"

#include <stdio.h>
#include <string.h>

#include "btf/btf.h"
#include "isa/isa.h"
#include "verifier/dynptr.h"
#include "verifier/iter.h"

static const char *const type_names[V_NTYPES] = {
	[V_NOT_INIT] = "?",
	[V_SCALAR] = "scalar",
	[V_CTX] = "ctx",
	[V_MAP_PTR] = "map_ptr",
	[V_MAP_VALUE] = "map_value",
	[V_MAP_KEY] = "map_key",
	[V_STACK] = "fp",
	[V_PKT_META] = "pkt_meta",
	[V_PKT] = "pkt",
	[V_PKT_END] = "pkt_end",
	[V_FLOW_KEYS] = "flow_keys",
	[V_SOCK] = "sock",
	[V_SOCK_COMMON] = "sock_common",
	[V_TCP_SOCK] = "tcp_sock",
	[V_XDP_SOCK] = "xdp_sock",
	[V_MEM] = "mem",
	[V_FUNC] = "func",
	[V_PERCPU] = "percpu_ptr_",
	[V_BTF] = "ptr_",
	[V_DYNPTR] = "dynptr_ptr",
};

const char *skep_v_type_name(const struct vreg *r, char buf[64])
{
	static const struct {
		uint16_t flag;
		const char *text;
	} prefixes[] = {
		{V_RDONLY, "rdonly_"},     {V_RINGBUF, "ringbuf_"}, {V_USER, "user_"},
		{V_PERCPU_MEM, "percpu_"}, {V_RCU, "rcu_"},         {V_UNTRUSTED, "untrusted_"},
		{V_TRUSTED, "trusted_"},
	};
	int n = 0;

	buf[0] = 0;
	for (unsigned i = 0; i < sizeof(prefixes) / sizeof(prefixes[0]); i++)
		if (r->flags & prefixes[i].flag)
			n += snprintf(buf + n, (size_t)(64 - n), "%s", prefixes[i].text);
	/* A structure's name follows. */
	snprintf(buf + n, (size_t)(64 - n), "%s%s", r->flags & V_BUF ? "buf" : type_names[r->type],
		 !(r->flags & V_MAYBE_NULL)                ? ""
		 : r->type == V_BTF || r->type == V_PERCPU ? "or_null_"
							   : "_or_null");
	return buf;
}

const char *skep_v_tnum(struct skep_tnum t, char buf[64])
{
	if (!t.mask)
		snprintf(buf, 64, "%#llx", (unsigned long long)t.value);
	else
		snprintf(buf, 64, "(0x%llx; 0x%llx)", (unsigned long long)t.value,
			 (unsigned long long)t.mask);
	return buf;
}

/* Small numbers are printed in decimal, others in hexadecimal. */
static void put_unsigned(struct venv *env, uint64_t v)
{
	if (v <= UINT16_MAX)
		skep_v_log(env, "%llu", (unsigned long long)v);
	else
		skep_v_log(env, "%#llx", (unsigned long long)v);
}

static void put_signed(struct venv *env, int64_t v)
{
	if (v >= INT16_MIN && v <= INT16_MAX)
		skep_v_log(env, "%lld", (long long)v);
	else
		skep_v_log(env, "%#llx", (unsigned long long)v);
}

/* Bounds that say something; equal ones of a kind are written together. */
static void put_ranges(struct venv *env, const struct skep_scalar *s, const char **sep)
{
	struct {
		const char *name;
		uint64_t val;
		bool omit;
	} m[] = {
		{"smin", (uint64_t)s->smin, s->smin == INT64_MIN},
		{"smax", (uint64_t)s->smax, s->smax == INT64_MAX},
		{"umin", s->umin, s->umin == 0},
		{"umax", s->umax, s->umax == UINT64_MAX},
		{"smin32", (uint64_t)(int64_t)s->s32_min, s->s32_min == INT32_MIN},
		{"smax32", (uint64_t)(int64_t)s->s32_max, s->s32_max == INT32_MAX},
		{"umin32", s->u32_min, s->u32_min == 0},
		{"umax32", s->u32_max, s->u32_max == UINT32_MAX},
	};
	const unsigned n = sizeof(m) / sizeof(*m);

	for (unsigned i = 0; i < n; i++) {
		bool neg = m[i].name[0] == 's' && (int64_t)m[i].val < 0;

		if (m[i].omit)
			continue;
		skep_v_log(env, "%s%s=", *sep, m[i].name);
		*sep = ",";
		for (unsigned j = i + 1; j < n; j++) {
			if (m[j].omit || m[j].val != m[i].val || m[j].name[2] != m[i].name[2] ||
			    neg != (m[j].name[0] == 's' && (int64_t)m[j].val < 0))
				continue;
			/* Hexadecimal negative numbers of two widths look different. */
			if (neg && (int64_t)m[i].val < INT16_MIN &&
			    strlen(m[i].name) != strlen(m[j].name))
				continue;
			m[j].omit = true;
			skep_v_log(env, "%s=", m[j].name);
		}
		if (m[i].name[0] != 's')
			put_unsigned(env, m[i].val);
		else if (neg && (int64_t)m[i].val < INT16_MIN && m[i].name[4])
			skep_v_log(env, "%#x", (uint32_t)m[i].val);
		else
			put_signed(env, (int64_t)m[i].val);
	}
}

static void put_reg(struct venv *env, const struct vframe *f, const struct vreg *r, bool precise)
{
	char buf[64];
	const char *sep = "";

	if (v_is_scalar(r) && (precise || r->precise))
		skep_v_log(env, "P");
	if (v_is_scalar(r) && v_is_const(r)) {
		put_signed(env, (int64_t)r->s.bits.value);
		return;
	}
	skep_v_log(env, "%s", skep_v_type_name(r, buf));
	if (r->type == V_PERCPU)
		skep_v_log(env, "%s", skep_btf_name(env->prog->obj.skep->vmlinux, r->btf_id));
	if (r->type == V_BTF)
		skep_v_log(env, "%s", skep_btf_name(r->btf, r->btf_id));
	if (r->type == V_STACK) {
		if (r->frameno != f->frameno)
			skep_v_log(env, "[%u]", r->frameno);
		if (v_is_const(r)) {
			put_signed(env, (int64_t)r->s.bits.value + r->off);
			return;
		}
	}
	skep_v_log(env, "(");
	if (r->id) {
		skep_v_log(env, "id=%u", r->id & ~V_ADD_CONST);
		sep = ",";
	}
	if (r->id & V_ADD_CONST)
		skep_v_log(env, "%+d", r->off);
	if (r->ref) {
		skep_v_log(env, "%sref_obj_id=%u", sep, r->ref);
		sep = ",";
	}
	if (r->flags & V_NON_OWN) {
		skep_v_log(env, "%snon_own_ref", sep);
		sep = ",";
	}
	if (r->type == V_MAP_PTR || r->type == V_MAP_VALUE || r->type == V_MAP_KEY) {
		const struct skep_map *map = skep_v_map(env, r);

		if (map->name[0]) {
			skep_v_log(env, "%smap=%s", sep, map->name);
			sep = ",";
		}
		skep_v_log(env, "%sks=%u,vs=%u", sep, map->key_size, map->value_size);
		sep = ",";
	}
	if (!v_is_scalar(r) && r->off) {
		skep_v_log(env, "%soff=", sep);
		put_signed(env, r->off);
		sep = ",";
	}
	if (v_is_pkt(r)) {
		skep_v_log(env, "%sr=", sep);
		put_unsigned(env, (uint64_t)(int64_t)r->range);
		sep = ",";
	}
	if (r->type == V_MEM && !(r->flags & V_BUF)) {
		skep_v_log(env, "%ssz=", sep);
		put_unsigned(env, r->mem_size);
		sep = ",";
	}
	if (v_is_const(r)) {
		if (r->s.bits.value) {
			skep_v_log(env, "%simm=", sep);
			put_signed(env, (int64_t)r->s.bits.value);
		}
	} else {
		put_ranges(env, &r->s, &sep);
		if (~r->s.bits.mask)
			skep_v_log(env, "%svar_off=%s", sep, skep_v_tnum(r->s.bits, buf));
	}
	skep_v_log(env, ")");
}

static void put_dynptr(struct venv *env, unsigned spi, const struct vreg *r)
{
	skep_v_log(env, " fp%d=dynptr_%s(", -8 * (int)(spi + 1), skep_v_dynptr_name(r->dyn));
	if (r->id)
		skep_v_log(env, "id=%u", r->id);
	if (r->ref)
		skep_v_log(env, "%sref_id=%u", r->id ? "," : "", r->ref);
	/* The kernel prints the mark of the first slot under this name. */
	if (r->dyn & V_DYN_FIRST)
		skep_v_log(env, "%sdynptr_id=1", r->id || r->ref ? "," : "");
	skep_v_log(env, ")");
}

void skep_v_print_state(struct venv *env, const struct vstate *st, uint32_t frame, bool all)
{
	static const char kinds[] = {[V_INVALID] = '?', [V_SPILL] = 'r',       [V_MISC] = 'm',
				     [V_ZERO] = '0',    [V_DYNPTR_SLOT] = 'd', [V_ITER_SLOT] = 'i'};
	const struct vframe *f = st->frame[frame];
	const char *sep = " refs=";

	if (!env->log || !env->log->level)
		goto clean;
	if (f->frameno)
		skep_v_log(env, " frame%u:", f->frameno);
	for (unsigned i = 0; i < V_REGS; i++) {
		if (f->reg[i].type == V_NOT_INIT || (!all && !(env->scratched & 1u << i)))
			continue;
		skep_v_log(env, " R%u=", i);
		put_reg(env, f, &f->reg[i], st->preg[frame] & 1u << i);
	}
	for (unsigned i = 0; f->stack && i < f->stack->n; i++) {
		const struct vslot *s = &f->stack->slot[i];
		char text[9];
		bool valid = false;

		for (unsigned k = 0; k < 8; k++) {
			valid |= s->kind[k] != V_INVALID;
			text[k] = kinds[s->kind[k]];
		}
		text[8] = 0;
		if (!valid || (!all && !(env->scratched_slots & 1ull << i)))
			continue;
		if (s->kind[7] == V_ITER_SLOT) {
			/* Printed once, where it begins. */
			if (s->reg.ref)
				skep_v_log(env, " fp%d=iter_%s(ref_id=%u,state=%s,depth=%u)",
					   -8 * (int)(i + 1), skep_v_iter_name(&s->reg), s->reg.ref,
					   s->reg.iter_drained ? "drained" : "active",
					   (unsigned)s->reg.iter_depth);
			continue;
		}
		if (s->kind[7] == V_DYNPTR_SLOT) {
			/* Printed once, where it begins. */
			if (i + 1 < f->stack->n)
				put_dynptr(env, i + 1, &f->stack->slot[i + 1].reg);
			i++;
		} else if (s->kind[7] == V_SPILL) {
			text[strcspn(text, "r")] = 0;
			skep_v_log(env, " fp%d=%s", -8 * (int)(i + 1), text);
			put_reg(env, f, &s->reg, st->pslot[frame] & 1ull << i);
		} else {
			skep_v_log(env, " fp%d=%s", -8 * (int)(i + 1), text);
		}
	}
	for (uint32_t i = 0; st->refs && i < st->refs->n; i++)
		if (st->refs->r[i].id) {
			skep_v_log(env, "%s%u", sep, st->refs->r[i].id);
			sep = ",";
		}
	if (f->callback)
		skep_v_log(env, " cb");
	if (f->async)
		skep_v_log(env, " async_cb");
	skep_v_log(env, "\n");
clean:
	if (!all) {
		env->scratched = 0;
		env->scratched_slots = 0;
	}
}

/* What the last instruction changed stands behind it, from column 40 on. */
void skep_v_print_insn_state(struct venv *env, const struct vstate *st, uint32_t frame)
{
	if (env->prev_log_pos && env->prev_log_pos == env->log->end) {
		uint64_t pos = env->prev_insn_pos + 4 > 40 ? env->prev_insn_pos + 4 : 40;

		pos = (pos + 7) / 8 * 8 - env->prev_insn_pos - 1;
		skep_log_reset(env->log, env->prev_log_pos - 1);
		skep_v_log(env, "%*c;", (int)pos, ' ');
	} else {
		skep_v_log(env, "%u:", env->insn);
	}
	skep_v_print_state(env, st, frame, false);
}

static bool name_call(void *arg, const struct bpf_insn *in, char *buf, size_t len)
{
	const char *name;

	if (in->src_reg == BPF_PSEUDO_KFUNC_CALL) {
		name = skep_v_kfunc_name(arg, in);
		snprintf(buf, len, "%s#%d", name, in->imm);
		return true;
	}
	if (in->src_reg)
		return false;
	name = skep_helper_name((uint32_t)in->imm);
	if (name)
		snprintf(buf, len, "bpf_%s#%d", name, in->imm);
	else
		snprintf(buf, len, "unknown#%d", in->imm);
	return true;
}

/* Instructions with reserved fields set are refused where they are walked; until
 * then they are printed as if those were zero. */
static struct bpf_insn tidy(struct bpf_insn in)
{
	bool x = BPF_SRC(in.code) == BPF_X;
	uint8_t op = BPF_OP(in.code);

	switch (BPF_CLASS(in.code)) {
	case BPF_ALU:
	case BPF_ALU64:
		if (op == BPF_END || op == BPF_NEG) {
			in.src_reg = 0;
			in.off = 0;
			in.imm = op == BPF_NEG ? 0 : in.imm;
			break;
		}
		if (x)
			in.imm = 0;
		else
			in.src_reg = 0;
		in.off = op == BPF_DIV || op == BPF_MOD ? in.off == 1 : 0;
		break;
	case BPF_JMP:
	case BPF_JMP32:
		if (op == BPF_CALL) {
			in.off = 0;
			in.dst_reg = 0;
		} else if (op == BPF_JA) {
			in.dst_reg = in.src_reg = 0;
			in.imm = BPF_CLASS(in.code) == BPF_JMP32 ? in.imm : 0;
			in.off = BPF_CLASS(in.code) == BPF_JMP32 ? 0 : in.off;
		} else if (op == BPF_EXIT) {
			in.imm = 0;
			in.off = 0;
			in.dst_reg = in.src_reg = 0;
		} else if (x) {
			in.imm = 0;
		} else {
			in.src_reg = 0;
		}
		break;
	case BPF_ST:
		in.src_reg = 0;
		break;
	case BPF_STX:
		in.imm = BPF_MODE(in.code) == BPF_ATOMIC ? in.imm : 0;
		break;
	default:
		break;
	}
	return in;
}

void skep_v_print_insn(struct venv *env, uint32_t insn)
{
	const struct skep_disasm_names names = {.call = name_call, .arg = env};
	const struct bpf_insn *in = &env->insns[insn];
	struct bpf_insn clean[2] = {0};
	struct skep_insn decoded;
	char buf[160];

	if (skep_decode(&env->insns[insn], env->n - insn, &decoded) < 0) {
		clean[0] = tidy(env->insns[insn]);
		if (insn + 1 < env->n)
			clean[1] = env->insns[insn + 1];
		in = clean;
	}
	skep_disasm(in, &names, buf, sizeof(buf));
	skep_v_log(env, "%s\n", buf);
}

/* The source line of insn, when it is another than the last one printed. */
void skep_v_print_line(struct venv *env, uint32_t insn)
{
	const struct skep_prog *p = env->prog;
	const struct bpf_line_info *li, *last = env->prev_line;
	uint32_t lo = 0, hi = p->nline_info;
	const char *text, *file;

	while (lo < hi) {
		uint32_t mid = (lo + hi) / 2;

		if (p->line_info[mid].insn_off <= insn)
			lo = mid + 1;
		else
			hi = mid;
	}
	if (!lo || !p->btf)
		return;
	li = &p->line_info[lo - 1];
	/* Several entries may be of one line. */
	if (li == last ||
	    (last && last->file_name_off == li->file_name_off &&
	     BPF_LINE_INFO_LINE_NUM(last->line_col) == BPF_LINE_INFO_LINE_NUM(li->line_col)))
		return;
	text = skep_btf_str(p->btf, li->line_off);
	file = skep_btf_str(p->btf, li->file_name_off);
	if (!text || !file)
		return;
	while (*text == ' ' || *text == '\t')
		text++;
	if (strrchr(file, '/'))
		file = strrchr(file, '/') + 1;
	skep_v_log(env, "; %s @ %s:%u\n", text, file, BPF_LINE_INFO_LINE_NUM(li->line_col));
	env->prev_line = li;
}
