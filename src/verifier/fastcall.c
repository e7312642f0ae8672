/* SPDX-License-Identifier: Apache-2.0 */
/*
 * bpf_fastcall: around calls that the rewritten program does without a call, compilers save and
 * restore registers that such a call leaves alone, in the lowest slots of the stack:
 *
 *     *(u64 *)(r10 - 16) = r1;  call F;  r1 = *(u64 *)(r10 - 16)
 *
 * Programs are walked as they are; the saves and restores are left out afterwards, if nothing else
 * touches those slots.
 */
#include "verifier/state.h"

#include "helper/kfunc.h"
#include "isa/isa.h"

#define SAVE    (BPF_STX | BPF_MEM | BPF_DW)
#define RESTORE (BPF_LDX | BPF_MEM | BPF_DW)

/* What a call leaves alone: registers of R1 to R5, as a mask; whether the rewriting inlines it. */
static uint32_t untouched(struct venv *env, uint32_t insn, bool *inlined)
{
	const struct bpf_insn *in = &env->insns[insn];
	bool gives = true;
	unsigned nargs = 0;

	*inlined = false;
	if (in->src_reg == BPF_PSEUDO_KFUNC_CALL) {
		const struct skep_kfunc *k = &skep_kfuncs[env->out[insn].kfunc];

		if (!env->out[insn].kfunc)
			return 0;
		nargs = skep_v_kfunc_nargs(env, insn);
		*inlined = k->flags & SKEP_KF_FASTCALL && k->flags & SKEP_KF_NO_FN;
	} else if (!in->src_reg && in->imm > 0 && in->imm < SKEP_MAX_HELPERS &&
		   skep_helpers[in->imm].name) {
		const struct skep_helper *h = &skep_helpers[in->imm];

		while (nargs < 5 && h->arg[nargs] != SKEP_ARG_NONE)
			nargs++;
		gives = h->ret != SKEP_RET_VOID;
		*inlined = skep_rewrite_inlines(in);
	} else {
		return 0;
	}
	return 0x3f & ~(((2u << nargs) - 1) & ~(gives ? 0u : 1u));
}

/* Pairs around the call at insn, the innermost at the lowest offset. */
static void find_pairs(struct venv *env, struct vsubprog *sub, uint32_t insn, int32_t lowest)
{
	bool inlined;
	uint32_t regs = untouched(env, insn, &inlined), n = 0;
	int32_t off = lowest;

	for (uint32_t i = 1; i <= 6 && i <= insn && insn + i < env->n; i++, off += 8) {
		const struct bpf_insn *save = &env->insns[insn - i],
				      *restore = &env->insns[insn + i];

		if (save->code != SAVE || restore->code != RESTORE || save->dst_reg != 10 ||
		    restore->src_reg != 10 || save->src_reg != restore->dst_reg ||
		    save->off != off || restore->off != off || !(regs & 1u << save->src_reg))
			break;
		regs &= ~(1u << save->src_reg);
		env->aux[insn - i].flags |= V_FAST_PAIR;
		env->aux[insn + i].flags |= V_FAST_PAIR;
		n++;
	}
	if (!n)
		return;
	if (inlined)
		env->aux[insn].fast_pairs = (uint8_t)n;
	else
		sub->keep_fast_stack = true;
	if (off < sub->fast_off)
		sub->fast_off = off;
}

void skep_v_fastcall_find(struct venv *env)
{
	for (uint32_t s = 0; s < env->nsubs; s++) {
		struct vsubprog *sub = &env->subs[s];
		int32_t lowest = 0;

		for (uint32_t i = sub->start; i < sub->end; i++)
			if (env->insns[i].code == SAVE && env->insns[i].dst_reg == 10 &&
			    env->insns[i].off < lowest)
				lowest = env->insns[i].off;
		for (uint32_t i = sub->start; lowest && i < sub->end; i++)
			if (env->insns[i].code == (BPF_JMP | BPF_CALL))
				find_pairs(env, sub, i, lowest);
	}
}

void skep_v_fastcall_touch(struct venv *env, uint32_t frame, int64_t off)
{
	struct vsubprog *sub = &env->subs[env->cur->frame[frame]->subprog];

	if (sub->fast_off <= off || env->aux[env->insn].flags & V_FAST_PAIR)
		return;
	/* Somebody looks: all of this function's saves stay. */
	sub->fast_off = INT32_MIN;
	for (uint32_t i = sub->start; i < sub->end; i++) {
		env->aux[i].fast_pairs = 0;
		env->aux[i].flags &= (uint8_t)~V_FAST_PAIR;
	}
}

void skep_v_fastcall_remove(struct venv *env)
{
	for (uint32_t s = 0; s < env->nsubs; s++) {
		struct vsubprog *sub = &env->subs[s];
		bool removed = false;

		for (uint32_t i = sub->start; i < sub->end; i++) {
			uint32_t n = env->aux[i].fast_pairs;

			for (uint32_t k = 1; k <= n; k++)
				env->out[i - k].removed = env->out[i + k].removed = true;
			removed |= n != 0;
		}
		if (removed && !sub->keep_fast_stack)
			sub->stack = (uint32_t)-sub->fast_off;
	}
}
