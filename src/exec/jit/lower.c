// SPDX-License-Identifier: Apache-2.0
/*
 * From the image to IR: references become addresses, calls that have an inline form
 * get it, jumps to jumps go where those go. Then stack slots that the program only
 * uses as registers become registers.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "exec/bind.h"
#include "exec/jit/jit.h"
#include "exec/slot.h"
#include "helper/helper.h"
#include "helper/kfunc.h"
#include "map/map.h"

static const struct ir ir_empty = {
	.op = IR_NOP, .dst = NO_REG, .a = NO_REG, .b = NO_REG, .base = NO_REG, .index = NO_REG};

/* ---- Instructions ---- */

static void lower_alu(const struct skep_insn *d, struct ir *i)
{
	i->w = d->is64;
	i->dst = d->dst;
	if (d->kind == BPF_NEG) {
		i->op = IR_NEG;
		i->a = d->dst;
		return;
	}
	if (d->kind == BPF_MOV) {
		i->op = IR_MOV;
		if (d->src_is_reg)
			i->a = d->src;
		else
			i->imm = d->is64 ? d->imm : (int64_t)(uint32_t)d->imm;
		return;
	}
	i->op = IR_ALU;
	i->kind = d->kind;
	i->a = d->dst;
	i->flags |= d->signed_ ? IR_SIGNED : 0;
	if (d->src_is_reg) {
		i->operand = IR_REG;
		i->b = d->src;
	} else {
		i->imm = d->imm;
	}
}

static void lower_end(const struct skep_insn *d, struct ir *i)
{
	i->dst = i->a = d->dst;
	i->size = d->size;
	i->w = d->size == 8;
	if (d->kind != SKEP_SWAP_LE)
		i->op = IR_SWAP;
	else if (d->size < 8)
		i->op = IR_ZEXT;
	else
		i->dst = i->a = NO_REG; /* nothing to do */
}

/* A lookup in an array whose place and sizes are known needs no call. */
static bool lower_lookup(struct jit *jit, const struct skep_fact *fact, struct ir *i)
{
	struct skep_map_inline in;

	if (fact->map < 0 || (uint32_t)fact->map >= jit->prog->nmaps ||
	    !skep_map_inline(jit->prog->maps[fact->map], &in) || !in.elem_size)
		return false;
	i->dst = 0;
	i->imm = fact->map;
	i->op = IR_LOOKUP;
	i->base = 2;
	i->size = 4;
	if (!(fact->flags & SKEP_FACT_CONST_KEY) || in.cpu_stride)
		return true;
	i->op = IR_MOV;
	i->base = NO_REG;
	i->w = true;
	i->imm = fact->key < in.max_entries
			 ? (int64_t)((uintptr_t)in.base + fact->key * in.elem_size)
			 : 0;
	return true;
}

/* The target of a tail call through a known array is looked up in place. */
static bool lower_tail_call(const struct jit *jit, const struct skep_fact *fact)
{
	struct skep_prog_array_inline in;

	return fact->map >= 0 && (uint32_t)fact->map < jit->prog->nmaps &&
	       skep_prog_array_inline(jit->prog->maps[fact->map], &in);
}

static int lower_call(struct jit *jit, uint32_t n, const struct skep_insn *d, struct ir *i)
{
	const struct skep_fact *fact = jit->image->facts ? &jit->image->facts[n] : NULL;

	i->imm = d->imm;
	if (d->imm == BPF_FUNC_tail_call) {
		i->op = IR_TAIL_CALL;
		i->imm = fact && lower_tail_call(jit, fact) ? fact->map : -1;
		return 0;
	}
	if (d->imm == BPF_FUNC_get_smp_processor_id) {
		i->op = IR_CPU;
		i->dst = 0;
		return 0;
	}
	if (d->imm == BPF_FUNC_map_lookup_elem && fact && lower_lookup(jit, fact, i))
		return 0;
	if ((uint32_t)d->imm >= SKEP_MAX_HELPERS || !skep_helpers[d->imm].fn)
		return -EINVAL;
	i->op = IR_CALL;
	if (fact && fact->map >= 0 && (uint32_t)fact->map < jit->prog->nmaps)
		i->target = (uint32_t)fact->map + 1;
	return 0;
}

static int func_at(const struct jit *jit, uint32_t start)
{
	for (uint32_t f = 0; f < jit->nfuncs; f++)
		if (jit->funcs[f].start == start)
			return f;
	return -1;
}

static int lower_memory(struct jit *jit, uint32_t n, const struct skep_insn *d, struct ir *i)
{
	bool probe = jit->image->facts && jit->image->facts[n].mem == SKEP_MEM_PROBE;

	i->size = d->size;
	i->off = d->off;
	i->base = d->dst;
	switch (d->op) {
	case SKEP_OP_LOAD:
		i->op = probe ? IR_PROBE : IR_LOAD;
		i->w = true;
		i->dst = d->dst;
		i->base = d->src;
		i->flags |= d->signed_ ? IR_SIGNED : 0;
		return 0;
	case SKEP_OP_STORE:
		i->op = IR_STORE;
		if (d->src_is_reg)
			i->a = d->src;
		else
			i->imm = d->imm;
		return 0;
	default: /* SKEP_OP_ATOMIC */
		i->op = IR_ATOMIC;
		i->imm = d->imm;
		if (d->imm == BPF_LOAD_ACQ) {
			i->base = d->src;
			i->dst = d->dst;
		} else {
			i->a = d->src;
		}
		return 0;
	}
}

static int lower_one(struct jit *jit, uint32_t n, const struct skep_insn *d, struct ir *i)
{
	switch (d->op) {
	case SKEP_OP_ALU:
		lower_alu(d, i);
		return 0;
	case SKEP_OP_MOVSX:
		i->op = IR_SEXT;
		i->dst = d->dst;
		i->a = d->src;
		i->size = d->size;
		i->w = d->is64;
		return 0;
	case SKEP_OP_END:
		lower_end(d, i);
		return 0;
	case SKEP_OP_LDIMM64:
		i->op = IR_MOV;
		i->w = true;
		i->dst = d->dst;
		i->imm = (int64_t)d->imm64;
		return 0;
	case SKEP_OP_LOAD:
	case SKEP_OP_STORE:
	case SKEP_OP_ATOMIC:
		return lower_memory(jit, n, d, i);
	case SKEP_OP_JA:
		i->op = IR_JMP;
		i->target = n + 1 + d->off;
		return 0;
	case SKEP_OP_JCC:
		i->op = IR_JCC;
		i->kind = d->kind;
		i->w = d->is64;
		i->a = d->dst;
		i->target = n + 1 + d->off;
		if (d->src_is_reg) {
			i->operand = IR_REG;
			i->b = d->src;
		} else {
			i->imm = d->imm;
		}
		return 0;
	case SKEP_OP_MAY_GOTO:
		i->op = IR_MAY_GOTO;
		i->target = n + 1 + d->off;
		return 0;
	case SKEP_OP_CALL_HELPER:
		return lower_call(jit, n, d, i);
	case SKEP_OP_CALL_KFUNC:
		i->op = IR_CALL;
		i->imm = (int64_t)SKEP_CALL_KFUNC + d->imm;
		return skep_call_fn((uint32_t)i->imm) ? 0 : -EINVAL;
	case SKEP_OP_CALL_PSEUDO:
		i->op = IR_CALL_SUB;
		i->imm = func_at(jit, n + 1 + d->imm);
		/* The program's entry has other arguments than a function. */
		return i->imm > 0 ? 0 : -EINVAL;
	case SKEP_OP_EXIT:
		i->op = IR_EXIT;
		return 0;
	default:
		return -EINVAL;
	}
}

/* Reads the CPU's number from its variable: the environment knows it. */
static bool lower_cpu_number(struct jit *jit, uint32_t n, const struct skep_insn *d)
{
	struct ir *offset = n ? &jit->ir[n - 1] : NULL, *load = &jit->ir[n + 1];
	const struct bpf_insn *in = &jit->image->insns[n + 1];

	if (n + 1 >= jit->len || !offset || offset->op != IR_MOV || offset->dst != d->src ||
	    offset->a != NO_REG || d->dst != d->src ||
	    offset->imm != (int64_t)skep_slots_var_offset(SKEP_VAR_CPU_NUMBER) ||
	    in->code != (BPF_LDX | BPF_MEM | BPF_W) || in->src_reg != d->dst ||
	    in->dst_reg != d->dst || in->off)
		return false;
	*offset = *load = ir_empty;
	jit->ir[n].op = IR_CPU;
	jit->ir[n].dst = d->dst;
	return true;
}

static int lower_relocs(struct jit *jit)
{
	for (uint32_t k = 0; k < jit->image->nrelocs; k++) {
		const struct skep_reloc *reloc = &jit->image->relocs[k];
		uint64_t value;
		int err;

		if (reloc->insn >= jit->len || jit->ir[reloc->insn].op != IR_MOV)
			return -EINVAL;
		if (reloc->kind == SKEP_RELOC_FUNC) {
			if (!reloc->target || reloc->target >= jit->nfuncs)
				return -EINVAL;
			jit->ir[reloc->insn].op = IR_FUNC;
			jit->ir[reloc->insn].imm = reloc->target;
			continue;
		}
		err = skep_reloc_value(jit->prog, reloc, &value);
		if (err)
			return err;
		jit->ir[reloc->insn].imm = (int64_t)value;
	}
	return 0;
}

/* ---- Functions ---- */

static bool is_jump(const struct ir *i)
{
	return i->op == IR_JMP || i->op == IR_JCC || i->op == IR_MAY_GOTO;
}

/* Where a jump to n gets in the end. */
static uint32_t follow(const struct jit *jit, uint32_t n)
{
	for (int k = 0; k < 8 && jit->ir[n].op == IR_JMP; k++)
		n = jit->ir[n].target;
	return n;
}

/* A branch over a jump is the opposite branch to where that goes. */
static void invert_branches(struct jit *jit, const struct jit_func *f)
{
	for (uint32_t n = f->start; n + 2 < f->end; n++) {
		struct ir *i = &jit->ir[n], *jump = &jit->ir[n + 1];

		if (i->op != IR_JCC || jump->op != IR_JMP || i->target != n + 2 ||
		    (jump->flags & IR_TARGET))
			continue;
		i->flags ^= IR_NOT;
		i->target = jump->target;
		jump->op = IR_NOP;
		if (i->target <= n)
			jit->ir[i->target].flags |= IR_LOOP;
	}
}

static int mark_jumps(struct jit *jit, const struct jit_func *f)
{
	for (uint32_t n = f->start; n < f->end; n++) {
		struct ir *i = &jit->ir[n];

		if (is_jump(i) && (i->target < f->start || i->target >= f->end))
			return -EINVAL;
	}
	for (uint32_t n = f->start; n < f->end; n++) {
		struct ir *i = &jit->ir[n];

		if (!is_jump(i))
			continue;
		i->target = follow(jit, i->target);
		jit->ir[i->target].flags |= IR_TARGET | (i->target <= n ? IR_LOOP : 0);
	}
	invert_branches(jit, f);
	return 0;
}

/* How many loops (backward jumps over it) are around each instruction. */
static void count_depth(struct jit *jit, const struct jit_func *f, int32_t *delta)
{
	int32_t depth = 0;

	memset(&delta[f->start], 0, (f->end - f->start + 1) * sizeof(*delta));
	for (uint32_t n = f->start; n < f->end; n++) {
		const struct ir *i = &jit->ir[n];

		if (is_jump(i) && i->target <= n) {
			delta[i->target]++;
			delta[n + 1]--;
		}
	}
	for (uint32_t n = f->start; n < f->end; n++) {
		depth += delta[n];
		jit->depth[n] = depth > 5 ? 5 : depth;
	}
}

static void note_use(struct jit_func *f, const struct ir *i)
{
	const uint8_t regs[] = {i->dst, i->a, i->b, i->base, i->index};

	for (size_t k = 0; k < sizeof(regs); k++)
		if (regs[k] != NO_REG)
			f->used |= 1u << regs[k];
	switch (i->op) {
	case IR_CALL:
	case IR_CALL_SUB:
	case IR_TAIL_CALL:
		f->has_call |= i->op != IR_TAIL_CALL || i->imm < 0;
		f->used |= 0x3f;
		break;
	case IR_PROBE:
		f->has_call = true;
		break;
	case IR_ATOMIC:
	case IR_EXIT:
		f->used |= 1u;
		break;
	case IR_MAY_GOTO:
		f->has_may_goto = true;
		break;
	case IR_ALU:
		if (i->kind == BPF_DIV || i->kind == BPF_MOD)
			f->has_div = true;
		break;
	}
	if (i->flags & IR_LOOP)
		f->has_loop = true;
	if (i->op == IR_CALL || i->op == IR_TAIL_CALL || i->op == IR_CPU || i->op == IR_LOOKUP)
		f->needs_env = true;
	if (i->a == IR_FP || i->b == IR_FP || i->dst == IR_FP || i->index == IR_FP)
		f->fp_escapes = true;
}

/* A caller must have the environment for whom it calls. */
static void spread_env(struct jit *jit)
{
	bool changed = true;

	while (changed) {
		changed = false;
		for (uint32_t k = 0; k < jit->nfuncs; k++) {
			struct jit_func *f = &jit->funcs[k];

			for (uint32_t n = f->start; n < f->end && !f->needs_env; n++) {
				const struct ir *i = &jit->ir[n];

				if (i->op != IR_CALL_SUB || !jit->funcs[i->imm].needs_env)
					continue;
				f->needs_env = true;
				changed = true;
			}
		}
	}
}

int jit_lower(struct jit *jit)
{
	const struct skep_image *image = jit->image;
	int32_t *delta;
	int err = 0, slots;

	for (uint32_t k = 0; k < jit->nfuncs; k++) {
		jit->funcs[k].start = image->subprogs[k].start;
		jit->funcs[k].end = image->subprogs[k].start + image->subprogs[k].len;
		jit->funcs[k].stack = (image->subprogs[k].stack + 7) & ~7u;
		if (jit->funcs[k].end > jit->len || jit->funcs[k].stack > 8 * SKEP_STACK_SIZE)
			return -EINVAL;
	}
	for (uint32_t n = 0; n < jit->len; n += slots) {
		struct skep_insn d;

		jit->ir[n] = ir_empty;
		slots = skep_decode(&image->insns[n], jit->len - n, &d);
		if (slots < 0)
			return slots;
		if (slots == 2)
			jit->ir[n + 1] = ir_empty;
		if (d.op == SKEP_OP_PERCPU) {
			if (!lower_cpu_number(jit, n, &d))
				return -EINVAL;
			slots = 2;
			continue;
		}
		err = lower_one(jit, n, &d, &jit->ir[n]);
		if (err)
			return err;
	}
	err = lower_relocs(jit);
	if (err)
		return err;
	delta = malloc((jit->len + 1) * sizeof(*delta));
	if (!delta)
		return -ENOMEM;
	for (uint32_t k = 0; k < jit->nfuncs && !err; k++) {
		struct jit_func *f = &jit->funcs[k];

		err = mark_jumps(jit, f);
		if (err)
			break;
		count_depth(jit, f, delta);
		for (uint32_t n = f->start; n < f->end; n++)
			note_use(f, &jit->ir[n]);
	}
	free(delta);
	if (!err)
		spread_env(jit);
	return err;
}

/* ---- Promotion of stack slots ---- */

#define MAX_UNITS 96

/* Bytes of the stack that are always accessed as a whole. */
struct unit {
	int32_t off;
	uint8_t size;
	uint8_t reg;
	bool spoiled; /* overlaps another, or is used in other ways */
	uint32_t weight;
};

static struct unit *find_unit(struct unit *units, unsigned n, int32_t off, uint8_t size)
{
	for (unsigned k = 0; k < n; k++)
		if (units[k].off == off && units[k].size == size)
			return &units[k];
	return NULL;
}

static bool touches_stack(const struct ir *i)
{
	return i->base == IR_FP && i->op != IR_NOP;
}

/* The units of f, with weights; 0 if there are too many to tell apart. */
static unsigned collect_units(const struct jit *jit, const struct jit_func *f, struct unit *units)
{
	unsigned n = 0;

	for (uint32_t k = f->start; k < f->end; k++) {
		const struct ir *i = &jit->ir[k];
		struct unit *u;

		if (!touches_stack(i))
			continue;
		u = find_unit(units, n, i->off, i->size);
		if (!u) {
			if (n == MAX_UNITS)
				return 0;
			u = &units[n++];
			*u = (struct unit){.off = i->off, .size = i->size, .reg = NO_REG};
		}
		u->weight += 1u << (3 * jit->depth[k]);
		if (i->op != IR_LOAD && i->op != IR_STORE)
			u->spoiled = true;
	}
	for (unsigned a = 0; a < n; a++)
		for (unsigned b = 0; b < n; b++)
			if (a != b && units[a].off < units[b].off + units[b].size &&
			    units[b].off < units[a].off + units[a].size)
				units[a].spoiled = true;
	return n;
}

static void replace_access(struct ir *i, uint8_t reg)
{
	bool load = i->op == IR_LOAD;

	i->base = NO_REG;
	i->off = 0;
	if (!load) {
		i->op = IR_MOV;
		i->dst = reg;
		i->w = i->size == 8;
		if (i->a == NO_REG && !i->w)
			i->imm = (uint32_t)i->imm;
		return;
	}
	i->a = reg;
	if (i->flags & IR_SIGNED)
		i->op = IR_SEXT;
	else if (i->size < 4)
		i->op = IR_ZEXT;
	else
		i->op = IR_MOV;
	i->w = i->flags & IR_SIGNED || i->size == 8;
	i->flags &= ~IR_SIGNED;
}

void jit_promote(struct jit *jit, struct jit_func *f, unsigned spare)
{
	struct unit units[MAX_UNITS], *best;
	unsigned n;
	int32_t deepest = 0;

	if (f->fp_escapes)
		return;
	n = collect_units(jit, f, units);
	if (!n)
		return;
	if (spare > IR_REGS - IR_SLOT0)
		spare = IR_REGS - IR_SLOT0;
	while (f->nslots < spare) {
		best = NULL;
		for (unsigned k = 0; k < n; k++)
			if (!units[k].spoiled && units[k].reg == NO_REG && units[k].weight > 2 &&
			    (!best || units[k].weight > best->weight))
				best = &units[k];
		if (!best)
			break;
		best->reg = IR_SLOT0 + f->nslots++;
		f->used |= 1u << best->reg;
	}
	for (uint32_t k = f->start; k < f->end; k++) {
		struct ir *i = &jit->ir[k];
		struct unit *u;

		if (!touches_stack(i))
			continue;
		u = find_unit(units, n, i->off, i->size);
		if (u->reg != NO_REG)
			replace_access(i, u->reg);
		else if (i->off < deepest)
			deepest = i->off;
	}
	/* Nothing else refers to the stack. */
	f->stack = (uint32_t)(-deepest + 7) & ~7u;
}
