/* SPDX-License-Identifier: Apache-2.0 */
/*
 * From the original instructions to the image, in one walk that writes for each
 * live instruction what takes its place. Jumps are patched at the end, when
 * every instruction's new place is known. A conditional jump whose distance grew
 * beyond 16 bits becomes a jump over a long one; as that moves what follows, the
 * walk is then made again.
 */
#include "verifier/rewrite.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "bpf/instance.h"
#include "exec/heap.h"
#include "exec/slot.h"
#include "helper/helper.h"
#include "helper/kfunc.h"
#include "isa/isa.h"
#include "map/map.h"

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__,
	       "a part of a field is loaded from its lower addresses");

#define NO_TARGET UINT32_MAX

struct rewriter {
	struct skep_prog *prog;
	const struct bpf_insn *insns;
	uint32_t ninsns;
	const struct skep_aux *aux;
	const struct skep_subprog *subprogs;
	uint32_t nsubprogs;

	uint32_t *place; /* [ninsns + 1] by original number: index in the image */
	uint8_t *is_long; /* [ninsns] the jump needs more than 16 bits */
	uint32_t *subprog_num; /* [nsubprogs] number in the image */

	struct skep_image img;
	uint32_t *target; /* [cap] original number a jump or call goes to, or NO_TARGET */
	uint32_t cap, relocs_cap;
	uint32_t at; /* original instruction being written */
	bool oom;
};

/* ---- Writing ---- */

static bool grow(struct rewriter *r)
{
	uint32_t cap = r->cap ? r->cap * 2 : r->ninsns + r->ninsns / 4 + 16;
	struct bpf_insn *insns = realloc(r->img.insns, cap * sizeof(*insns));
	struct skep_fact *facts;
	uint32_t *orig, *target;

	if (insns)
		r->img.insns = insns;
	facts = realloc(r->img.facts, cap * sizeof(*facts));
	if (facts)
		r->img.facts = facts;
	orig = realloc(r->img.orig, cap * sizeof(*orig));
	if (orig)
		r->img.orig = orig;
	target = realloc(r->target, cap * sizeof(*target));
	if (target)
		r->target = target;
	if (!insns || !facts || !orig || !target) {
		r->oom = true;
		return false;
	}
	r->cap = cap;
	return true;
}

static struct skep_fact plain_fact(const struct rewriter *r)
{
	return (struct skep_fact){
		.map = -1, .flags = SKEP_FACT_LIVE | (r->aux[r->at].zext ? SKEP_FACT_ZEXT : 0)};
}

static struct skep_fact full_fact(const struct rewriter *r)
{
	const struct skep_aux *aux = &r->aux[r->at];
	struct skep_fact fact = plain_fact(r);

	fact.mem = aux->mem;
	fact.map = aux->map_poisoned ? -1 : aux->map;
	if (aux->stack_const) {
		fact.flags |= SKEP_FACT_STACK_CONST;
		fact.frame_off = aux->frame_off;
	}
	if (aux->key_const && !aux->map_poisoned) {
		fact.flags |= SKEP_FACT_CONST_KEY;
		fact.key = aux->key;
	}
	return fact;
}

static void emit_with(struct rewriter *r, struct bpf_insn insn, struct skep_fact fact,
		      uint32_t target)
{
	uint32_t i = r->img.len;

	if (r->oom || (i == r->cap && !grow(r)))
		return;
	r->img.insns[i] = insn;
	r->img.facts[i] = fact;
	r->img.orig[i] = r->at;
	r->target[i] = target;
	r->img.len++;
}

static void emit(struct rewriter *r, struct bpf_insn insn)
{
	emit_with(r, insn, plain_fact(r), NO_TARGET);
}

static void emit_mem(struct rewriter *r, struct bpf_insn insn)
{
	emit_with(r, insn, full_fact(r), NO_TARGET);
}

static void add_reloc(struct rewriter *r, uint32_t kind, uint32_t target, uint32_t offset)
{
	struct skep_image *img = &r->img;

	if (img->nrelocs == r->relocs_cap) {
		uint32_t cap = r->relocs_cap ? r->relocs_cap * 2 : 16;
		struct skep_reloc *relocs = realloc(img->relocs, cap * sizeof(*relocs));

		if (!relocs) {
			r->oom = true;
			return;
		}
		img->relocs = relocs;
		r->relocs_cap = cap;
	}
	img->relocs[img->nrelocs++] = (struct skep_reloc){
		.insn = img->len, .kind = kind, .target = target, .offset = offset};
}

static struct bpf_insn alu(uint8_t code, uint8_t dst, uint8_t src, int32_t imm)
{
	return (struct bpf_insn){.code = code, .dst_reg = dst, .src_reg = src, .imm = imm};
}

#define MOV_IMM (BPF_ALU64 | BPF_MOV | BPF_K)
#define MOV_REG (BPF_ALU64 | BPF_MOV | BPF_X)

/* ---- Context accesses ---- */

static uint32_t access_size(const struct bpf_insn *insn)
{
	switch (BPF_SIZE(insn->code)) {
	case BPF_B:
		return 1;
	case BPF_H:
		return 2;
	case BPF_W:
		return 4;
	default:
		return 8;
	}
}

static uint8_t size_code(uint32_t size)
{
	return size == 1 ? BPF_B : size == 2 ? BPF_H : size == 4 ? BPF_W : BPF_DW;
}

/* Bytes that one access takes at most in the internal context. */
static uint32_t internal_unit(const struct skep_ctx_field *f)
{
	return f->unit ? f->unit : f->isize;
}

/*
 * A field that is smaller inside than outside: what lies above it reads as zeros.
 * A load that is as wide as the inner field gives the field, wherever in the
 * outer one it is made; that is how Linux has it.
 */
static void load_field(struct rewriter *r, struct bpf_insn insn, const struct skep_ctx_field *f)
{
	uint32_t size = access_size(&insn), unit = internal_unit(f), rel = insn.off - f->off;
	uint8_t mode = BPF_MODE(insn.code);

	if (f->flags & SKEP_CTX_ANYSIZE || f->unit) {
		insn.off = (int16_t)(insn.off - f->off + f->ioff);
		emit_mem(r, insn);
		return;
	}
	if (size >= unit || f->kind != SKEP_CTX_SCALAR) {
		mode = size > unit ? BPF_MEM : mode;
		size = unit;
		rel = 0;
	}
	if (rel >= unit) {
		emit(r, alu(MOV_IMM, insn.dst_reg, 0, 0));
		return;
	}
	insn.code = BPF_LDX | mode | size_code(size);
	insn.off = (int16_t)(f->ioff + rel);
	emit_mem(r, insn);
}

static void store_field(struct rewriter *r, struct bpf_insn insn, const struct skep_ctx_field *f)
{
	uint32_t size = access_size(&insn);

	if (f->flags & SKEP_CTX_GUARD16) {
		if (BPF_CLASS(insn.code) == BPF_STX)
			emit(r, (struct bpf_insn){.code = BPF_JMP | BPF_JGE | BPF_K,
						  .dst_reg = insn.src_reg,
						  .off = 1,
						  .imm = UINT16_MAX});
		else if (insn.imm >= UINT16_MAX)
			return;
	}
	if (!(f->flags & SKEP_CTX_ANYSIZE) && size > internal_unit(f))
		size = internal_unit(f);
	insn.code = (insn.code & ~BPF_SIZE(0xff)) | size_code(size);
	insn.off = (int16_t)(insn.off - f->off + f->ioff);
	emit_mem(r, insn);
}

/* ---- Kptrs ---- */

/*
 * What a field holds is the offset of an object in the heap, and anybody might have written it:
 * some bits of it count. The heap begins at a multiple of 2^32, so that in the reverse order
 * of bytes, its address and an offset are bits of their own, the address among the lower ones.
 */
static void load_kptr(struct rewriter *r, struct bpf_insn insn)
{
	uint8_t dst = insn.dst_reg;
	uint64_t base = (uintptr_t)skep_heap_base(r->prog->obj.skep);

	emit_mem(r, insn);
	emit(r, alu(BPF_ALU64 | BPF_AND | BPF_K, dst, 0, SKEP_HEAP_MASK));
	emit(r, (struct bpf_insn){.code = BPF_JMP | BPF_JEQ | BPF_K, .dst_reg = dst, .off = 3});
	emit(r, alu(BPF_ALU64 | BPF_END, dst, 0, 64));
	emit(r, alu(BPF_ALU64 | BPF_OR | BPF_K, dst, 0, (int32_t)__builtin_bswap64(base)));
	emit(r, alu(BPF_ALU64 | BPF_END, dst, 0, 64));
}

/* ---- Packet loads ---- */

/*
 * LD_ABS and LD_IND: R0 = bytes of the packet in host order, or the function
 * returns 0. The loader answers a negative value when it can't.
 */
static void packet_load(struct rewriter *r, const struct bpf_insn *insn)
{
	uint32_t size = access_size(insn);
	uint32_t loader = size == 1   ? SKEP_HELPER_LOAD_8
			  : size == 2 ? SKEP_HELPER_LOAD_16
				      : SKEP_HELPER_LOAD_32;

	if (BPF_MODE(insn->code) == BPF_IND) {
		/* R1 may be the source, so R2 comes first. */
		emit(r, alu(MOV_REG, BPF_REG_2, insn->src_reg, 0));
		if (insn->imm)
			emit(r, alu(BPF_ALU | BPF_ADD | BPF_K, BPF_REG_2, 0, insn->imm));
	} else {
		emit(r, alu(MOV_IMM, BPF_REG_2, 0, insn->imm));
	}
	emit(r, alu(MOV_REG, BPF_REG_1, BPF_REG_6, 0));
	emit(r, alu(BPF_JMP | BPF_CALL, 0, 0, (int32_t)loader));
	emit(r,
	     (struct bpf_insn){.code = BPF_JMP | BPF_JSGE | BPF_K, .dst_reg = BPF_REG_0, .off = 2});
	emit(r, alu(MOV_IMM, BPF_REG_0, 0, 0));
	emit(r, alu(BPF_JMP | BPF_EXIT, 0, 0, 0));
}

/* ---- Loads of addresses ---- */

static void load_imm64(struct rewriter *r, const struct bpf_insn *insn)
{
	const struct skep_aux *aux = &r->aux[r->at];
	struct bpf_insn lo = insn[0], hi = insn[1];

	switch (insn->src_reg) {
	case BPF_PSEUDO_MAP_FD:
	case BPF_PSEUDO_MAP_IDX:
		add_reloc(r, SKEP_RELOC_MAP, (uint32_t)aux->map, 0);
		lo.src_reg = BPF_PSEUDO_MAP_FD;
		lo.imm = aux->map;
		hi.imm = 0;
		break;
	case BPF_PSEUDO_MAP_VALUE:
	case BPF_PSEUDO_MAP_IDX_VALUE:
		add_reloc(r, SKEP_RELOC_MAP_VALUE, (uint32_t)aux->map, aux->map_off);
		lo.src_reg = BPF_PSEUDO_MAP_VALUE;
		lo.imm = aux->map;
		hi.imm = (int32_t)aux->map_off;
		break;
	case BPF_PSEUDO_FUNC:
		hi.imm = 0;
		if (r->subprog_num[aux->subprog] == NO_TARGET) {
			/* A callback for zero rounds: never called, so it is gone. */
			lo.src_reg = 0;
			lo.imm = 0;
			break;
		}
		lo.imm = (int32_t)r->subprog_num[aux->subprog];
		add_reloc(r, SKEP_RELOC_FUNC, (uint32_t)lo.imm, 0);
		break;
	case BPF_PSEUDO_BTF_ID:
		add_reloc(r, SKEP_RELOC_BTF, aux->var, 0);
		break;
	}
	emit_mem(r, lo);
	emit(r, hi);
}

/* ---- Jumps ---- */

static bool is_jump(const struct bpf_insn *insn)
{
	uint8_t class = BPF_CLASS(insn->code), op = BPF_OP(insn->code);

	return (class == BPF_JMP || class == BPF_JMP32) && op != BPF_CALL && op != BPF_EXIT;
}

static uint32_t jump_target(const struct rewriter *r, uint32_t i)
{
	const struct bpf_insn *insn = &r->insns[i];

	if (insn->code == (BPF_JMP32 | BPF_JA))
		return i + 1 + (uint32_t)insn->imm;
	return i + 1 + (uint32_t)(int32_t)insn->off;
}

/* Whether anything that stays lies between the next instruction and the target. */
static bool jumps_over_nothing(const struct rewriter *r, uint32_t target)
{
	if (target <= r->at)
		return false;
	for (uint32_t i = r->at + 1; i < target; i++) {
		if (r->aux[i].seen && !r->aux[i].removed)
			return false;
	}
	return true;
}

static void goto_target(struct rewriter *r, uint32_t target)
{
	struct bpf_insn insn = {.code = BPF_JMP | BPF_JA};

	if (jumps_over_nothing(r, target))
		return;
	if (r->is_long[r->at])
		insn.code = BPF_JMP32 | BPF_JA;
	emit_with(r, insn, plain_fact(r), target);
}

static void jump(struct rewriter *r, struct bpf_insn insn)
{
	const struct skep_aux *aux = &r->aux[r->at];
	uint32_t target = jump_target(r, r->at);
	bool may_goto = insn.code == (BPF_JMP | BPF_JCOND);

	if (BPF_OP(insn.code) == BPF_JA ||
	    (!may_goto && (aux->branch_taken_only || !r->aux[r->at + 1].seen))) {
		goto_target(r, target);
		return;
	}
	if (!may_goto && (aux->fallthrough_only || !r->aux[target].seen))
		return;
	if (may_goto && jumps_over_nothing(r, target))
		return;
	if (!r->is_long[r->at]) {
		emit_with(r, insn, plain_fact(r), target);
		return;
	}
	insn.off = 1;
	emit(r, insn);
	emit(r, (struct bpf_insn){.code = BPF_JMP | BPF_JA, .off = 1});
	emit_with(r, (struct bpf_insn){.code = BPF_JMP32 | BPF_JA}, plain_fact(r), target);
}

/* ---- Calls ---- */

bool skep_rewrite_inlines(const struct bpf_insn *call)
{
	return call->code == (BPF_JMP | BPF_CALL) && !call->src_reg &&
	       call->imm == BPF_FUNC_get_smp_processor_id;
}

/* The number of the CPU is a variable of this CPU, found by its offset. */
static void cpu_number(struct rewriter *r)
{
	emit(r, alu(MOV_IMM, BPF_REG_0, 0, (int32_t)skep_slots_var_offset(SKEP_VAR_CPU_NUMBER)));
	emit(r, (struct bpf_insn){.code = MOV_REG, .off = SKEP_ADDR_PERCPU});
	emit(r, (struct bpf_insn){.code = BPF_LDX | BPF_MEM | BPF_W});
}

/* What the function can't know: the type of the object. */
static void object_args(struct rewriter *r)
{
	const struct skep_aux *aux = &r->aux[r->at];
	uint64_t btf = (uintptr_t)aux->obj_btf;

	switch (aux->kfunc) {
	case SKEP_KFUNC_bpf_obj_new_impl:
	case SKEP_KFUNC_bpf_percpu_obj_new_impl:
		emit(r, alu(MOV_IMM, BPF_REG_1, 0, (int32_t)aux->obj_size));
		emit(r, alu(MOV_IMM, BPF_REG_2, 0, (int32_t)aux->obj_count));
		break;
	case SKEP_KFUNC_bpf_refcount_acquire_impl:
		emit(r, alu(MOV_IMM, BPF_REG_2, 0, (int32_t)aux->obj_count - 1));
		break;
	case SKEP_KFUNC_bpf_obj_drop_impl:
		emit(r, alu(BPF_LD | BPF_IMM | BPF_DW, BPF_REG_2, 0, (int32_t)btf));
		emit(r, alu(0, 0, 0, (int32_t)(btf >> 32)));
		emit(r, alu(MOV_IMM, BPF_REG_3, 0, (int32_t)aux->obj_id));
		break;
	default:
		break;
	}
}

static void kfunc_call(struct rewriter *r, struct bpf_insn insn)
{
	const struct skep_kfunc *k = &skep_kfuncs[r->aux[r->at].kfunc];

	if (!(k->flags & SKEP_KF_NO_FN)) {
		object_args(r);
		insn.imm = (int32_t)r->aux[r->at].kfunc;
		insn.off = 0;
		emit_mem(r, insn);
		return;
	}
	/* This cast gives what it got. */
	if (r->aux[r->at].kfunc == SKEP_KFUNC_bpf_rdonly_cast)
		emit(r, alu(MOV_REG, BPF_REG_0, BPF_REG_1, 0));
}

/* An index beyond the array jumps over the call; without this only its lower half counts. */
static void guarded_tail_call(struct rewriter *r, struct bpf_insn insn)
{
	emit(r, (struct bpf_insn){.code = BPF_JMP | BPF_JGE | BPF_K,
				  .dst_reg = BPF_REG_3,
				  .off = 1,
				  .imm = (int32_t)r->prog->maps[r->aux[r->at].map]->max_entries});
	emit_mem(r, insn);
}

/* ---- Arithmetic ---- */

/* Signed division by -1, of which one case overflows. */
static bool divides_by_minus_one(const struct bpf_insn *insn)
{
	uint8_t op = BPF_OP(insn->code);

	return insn->off == 1 && insn->imm == -1 && BPF_SRC(insn->code) == BPF_K &&
	       (op == BPF_DIV || op == BPF_MOD);
}

static void negate(struct rewriter *r, struct bpf_insn insn)
{
	if (BPF_OP(insn.code) == BPF_MOD)
		emit(r, alu(BPF_ALU | BPF_MOV | BPF_K, insn.dst_reg, 0, 0));
	else
		emit(r, alu(BPF_CLASS(insn.code) | BPF_NEG, insn.dst_reg, 0, 0));
}

/* ---- The walk ---- */

static void rewrite_one(struct rewriter *r)
{
	const struct bpf_insn *insn = &r->insns[r->at];
	const struct skep_aux *aux = &r->aux[r->at];
	uint8_t class = BPF_CLASS(insn->code), mode = BPF_MODE(insn->code);

	if (insn->code == (BPF_LD | BPF_IMM | BPF_DW)) {
		load_imm64(r, insn);
	} else if (class == BPF_LD && (mode == BPF_ABS || mode == BPF_IND)) {
		packet_load(r, insn);
	} else if (class == BPF_LDX && aux->field) {
		load_field(r, *insn, aux->field);
	} else if ((class == BPF_ST || class == BPF_STX) && mode == BPF_MEM && aux->field) {
		store_field(r, *insn, aux->field);
	} else if ((class == BPF_ALU || class == BPF_ALU64) && divides_by_minus_one(insn)) {
		negate(r, *insn);
	} else if (class == BPF_LDX && aux->kptr) {
		load_kptr(r, *insn);
	} else if (is_jump(insn)) {
		jump(r, *insn);
	} else if (insn->code == (BPF_JMP | BPF_CALL) && insn->src_reg == BPF_PSEUDO_KFUNC_CALL) {
		kfunc_call(r, *insn);
	} else if (aux->guard_index) {
		guarded_tail_call(r, *insn);
	} else if (skep_rewrite_inlines(insn)) {
		cpu_number(r);
	} else if (insn->code == (BPF_JMP | BPF_CALL) && insn->src_reg == BPF_PSEUDO_CALL) {
		emit_with(r, *insn, full_fact(r), r->subprogs[aux->subprog].start);
	} else {
		emit_mem(r, *insn);
	}
}

static void walk(struct rewriter *r)
{
	r->img.len = 0;
	r->img.nrelocs = 0;
	for (uint32_t i = 0; i < r->ninsns; i++) {
		bool wide = r->insns[i].code == (BPF_LD | BPF_IMM | BPF_DW);

		r->place[i] = r->img.len;
		r->at = i;
		if (r->aux[i].seen && !r->aux[i].removed)
			rewrite_one(r);
		if (wide && i + 1 < r->ninsns)
			r->place[++i] = r->img.len;
	}
	r->place[r->ninsns] = r->img.len;
}

/* Sets the distances of jumps and calls. False: some don't fit, now marked long. */
static bool patch(struct rewriter *r)
{
	bool fits = true;

	for (uint32_t i = 0; i < r->img.len; i++) {
		struct bpf_insn *insn = &r->img.insns[i];
		int64_t dist;

		if (r->target[i] == NO_TARGET)
			continue;
		dist = (int64_t)r->place[r->target[i]] - (i + 1);
		if (insn->code == (BPF_JMP | BPF_CALL) || insn->code == (BPF_JMP32 | BPF_JA)) {
			insn->imm = (int32_t)dist;
		} else if (dist == (int16_t)dist) {
			insn->off = (int16_t)dist;
		} else {
			r->is_long[r->img.orig[i]] = 1;
			fits = false;
		}
	}
	return fits;
}

/* ---- Subprograms and debug information ---- */

/* Numbers the subprograms that stay: those of which something was reached. */
static uint32_t number_subprogs(struct rewriter *r)
{
	uint32_t n = 0;

	for (uint32_t s = 0; s < r->nsubprogs; s++)
		r->subprog_num[s] = r->aux[r->subprogs[s].start].seen ? n++ : NO_TARGET;
	return n;
}

static int place_subprogs(struct rewriter *r, uint32_t n)
{
	r->img.subprogs = calloc(n ? n : 1, sizeof(*r->img.subprogs));
	if (!r->img.subprogs)
		return -ENOMEM;
	for (uint32_t s = 0; s < r->nsubprogs; s++) {
		const struct skep_subprog *from = &r->subprogs[s];
		struct skep_subprog *to;

		if (r->subprog_num[s] == NO_TARGET)
			continue;
		to = &r->img.subprogs[r->subprog_num[s]];
		*to = *from;
		to->start = r->place[from->start];
		to->len = r->place[from->start + from->len] - to->start;
	}
	r->img.nsubprogs = n;
	return 0;
}

/* An entry goes where its instruction went. Of several that meet at one place the
 * last one describes what is there. */
static void move_line_info(struct rewriter *r)
{
	struct bpf_line_info *info = r->prog->line_info;
	uint32_t n = 0;

	for (uint32_t i = 0; i < r->prog->nline_info; i++) {
		struct bpf_line_info entry = info[i];

		if (entry.insn_off >= r->ninsns)
			continue;
		entry.insn_off = r->place[entry.insn_off];
		if (entry.insn_off == r->img.len)
			continue;
		if (n && info[n - 1].insn_off == entry.insn_off)
			n--;
		info[n++] = entry;
	}
	r->prog->nline_info = n;
}

static void move_func_info(struct rewriter *r)
{
	struct bpf_func_info *info = r->prog->func_info;
	uint32_t n = 0;

	for (uint32_t i = 0; i < r->prog->nfunc_info; i++) {
		struct bpf_func_info entry = info[i];

		if (entry.insn_off >= r->ninsns || !r->aux[entry.insn_off].seen)
			continue;
		entry.insn_off = r->place[entry.insn_off];
		info[n++] = entry;
	}
	r->prog->nfunc_info = n;
}

int skep_rewrite(struct skep_prog *prog, const struct bpf_insn *insns, uint32_t ninsns,
		 const struct skep_aux *aux, const struct skep_subprog *subprogs,
		 uint32_t nsubprogs)
{
	struct rewriter r = {.prog = prog,
			     .insns = insns,
			     .ninsns = ninsns,
			     .aux = aux,
			     .subprogs = subprogs,
			     .nsubprogs = nsubprogs};
	uint32_t live_subprogs;
	int err = -ENOMEM;

	r.place = calloc((size_t)ninsns + 1, sizeof(*r.place));
	r.is_long = calloc(ninsns, 1);
	r.subprog_num = calloc(nsubprogs ? nsubprogs : 1, sizeof(*r.subprog_num));
	if (!r.place || !r.is_long || !r.subprog_num)
		goto out;
	live_subprogs = number_subprogs(&r);
	do {
		walk(&r);
		if (r.oom)
			goto out;
	} while (!patch(&r));
	err = place_subprogs(&r, live_subprogs);
	if (err)
		goto out;
	move_line_info(&r);
	move_func_info(&r);
	prog->image = r.img;
	memset(&r.img, 0, sizeof(r.img));
out:
	skep_image_free(&r.img);
	free(r.target);
	free(r.place);
	free(r.is_long);
	free(r.subprog_num);
	return err;
}
