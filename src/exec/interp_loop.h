/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The interpreter's loop; included by interp.c with RUN, the name of the function,
 * and MODE, the tests it makes. Each instruction jumps to the next one's code by
 * itself, which processors predict much better than one common jump.
 */
#define DST       r[insn->dst_reg]
#define SRC       r[insn->src_reg]
#define IMM       ((uint64_t)(int64_t)insn->imm)
#define IS_SIGNED (insn->off == 1)
#define SIZES(X)  X(B, 1) X(H, 2) X(W, 4) X(DW, 8)
#define ALUS(X)   X(ADD) X(SUB) X(MUL) X(DIV) X(MOD) X(OR) X(AND) X(XOR) X(LSH) X(RSH) X(ARSH)
#define JCCS(X)   X(JEQ) X(JNE) X(JGT) X(JGE) X(JLT) X(JLE) X(JSGT) X(JSGE) X(JSLT) X(JSLE) X(JSET)

#define DISPATCH()                                                                                 \
	do {                                                                                       \
		insn = pc++;                                                                       \
		goto *code[insn->code];                                                            \
	} while (0)
#define NEXT()                                                                                     \
	do {                                                                                       \
		if (MODE != PLAIN)                                                                 \
			goto tests;                                                                \
		DISPATCH();                                                                        \
	} while (0)
#define ACCESS(base, size, write)                                                                  \
	do {                                                                                       \
		addr = (base) + (uint64_t)(int64_t)insn->off;                                      \
		if (!access_ok(vm, MODE, addr, size, write))                                       \
			goto out;                                                                  \
	} while (0)

/* Rows of the table of labels. */
#define ALU_ROW(k)                                                                                 \
	[BPF_ALU64 | BPF_##k | BPF_X] = &&alu64x_##k,                                              \
			       [BPF_ALU64 | BPF_##k | BPF_K] = &&alu64k_##k,                       \
			       [BPF_ALU | BPF_##k | BPF_X] = &&alu32x_##k,                         \
			       [BPF_ALU | BPF_##k | BPF_K] = &&alu32k_##k,
#define JCC_ROW(k)                                                                                 \
	[BPF_JMP | BPF_##k | BPF_X] = &&jmp64x_##k, [BPF_JMP | BPF_##k | BPF_K] = &&jmp64k_##k,    \
			     [BPF_JMP32 | BPF_##k | BPF_X] = &&jmp32x_##k,                         \
			     [BPF_JMP32 | BPF_##k | BPF_K] = &&jmp32k_##k,
#define MEM_ROW(sz, n)                                                                             \
	[BPF_LDX | BPF_MEM | BPF_##sz] = &&ldx_##sz,                                               \
			     [BPF_LDX | BPF_MEMSX | BPF_##sz] = &&ldxs_##sz,                       \
			     [BPF_LDX | SKEP_PROBE_MEM | BPF_##sz] = &&probe_##sz,                 \
			     [BPF_LDX | SKEP_PROBE_MEMSX | BPF_##sz] = &&probes_##sz,              \
			     [BPF_STX | BPF_MEM | BPF_##sz] = &&stx_##sz,                          \
			     [BPF_ST | BPF_MEM | BPF_##sz] = &&st_##sz,                            \
			     [BPF_STX | BPF_ATOMIC | BPF_##sz] = &&atomics,

/* Code. */
#define ALU_CODE(k)                                                                                \
	alu64x_##k : DST = skep_alu64(BPF_##k, IS_SIGNED, DST, SRC);                               \
	NEXT();                                                                                    \
	alu64k_##k : DST = skep_alu64(BPF_##k, IS_SIGNED, DST, IMM);                               \
	NEXT();                                                                                    \
	alu32x_##k : DST = skep_alu32(BPF_##k, IS_SIGNED, DST, SRC);                               \
	NEXT();                                                                                    \
	alu32k_##k : DST = skep_alu32(BPF_##k, IS_SIGNED, DST, IMM);                               \
	NEXT();
#define JUMP_IF(label, k, is64, b)                                                                 \
	label:                                                                                     \
	if (skep_jcc(BPF_##k, is64, DST, b))                                                       \
		pc += insn->off;                                                                   \
	NEXT();
#define JCC_CODE(k)                                                                                \
	JUMP_IF(jmp64x_##k, k, true, SRC)                                                          \
	JUMP_IF(jmp64k_##k, k, true, IMM)                                                          \
	JUMP_IF(jmp32x_##k, k, false, SRC)                                                         \
	JUMP_IF(jmp32k_##k, k, false, IMM)
#define MEM_CODE(sz, n)                                                                            \
	ldx_##sz : ACCESS(SRC, n, false);                                                          \
	DST = load(addr, n);                                                                       \
	NEXT();                                                                                    \
	ldxs_##sz : ACCESS(SRC, n, false);                                                         \
	DST = skep_sext(load(addr, n), n);                                                         \
	NEXT();                                                                                    \
	probe_##sz : DST = load_probe(SRC + (uint64_t)(int64_t)insn->off, n);                      \
	NEXT();                                                                                    \
	probes_##sz : DST = skep_sext(load_probe(SRC + (uint64_t)(int64_t)insn->off, n), n);       \
	NEXT();                                                                                    \
	stx_##sz : ACCESS(DST, n, true);                                                           \
	store(addr, n, SRC);                                                                       \
	NEXT();                                                                                    \
	st_##sz : ACCESS(DST, n, true);                                                            \
	store(addr, n, IMM);                                                                       \
	NEXT();

static uint64_t RUN(struct vm *vm, const struct bpf_insn *pc, struct regs regs)
{
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Woverride-init"
	static const void *const code[256] = {[0 ... 255] = &&bad,
					      [BPF_ALU64 | BPF_NEG] = &&neg64,
					      [BPF_ALU | BPF_NEG] = &&neg32,
					      [BPF_ALU64 | BPF_MOV | BPF_X] = &&mov64x,
					      [BPF_ALU | BPF_MOV | BPF_X] = &&mov32x,
					      [BPF_ALU64 | BPF_MOV | BPF_K] = &&mov64k,
					      [BPF_ALU | BPF_MOV | BPF_K] = &&mov32k,
					      [BPF_ALU | BPF_END | BPF_TO_LE] = &&to_le,
					      [BPF_ALU | BPF_END | BPF_TO_BE] = &&to_be,
					      [BPF_ALU64 | BPF_END] = &&bswap,
					      [BPF_LD | BPF_IMM | BPF_DW] = &&ldimm64,
					      [BPF_JMP | BPF_JA] = &&ja,
					      [BPF_JMP32 | BPF_JA] = &&jal,
					      [BPF_JMP | BPF_JCOND] = &&may_goto,
					      [BPF_JMP | BPF_CALL] = &&call,
					      [BPF_JMP | BPF_EXIT] = &&out,
					      ALUS(ALU_ROW) JCCS(JCC_ROW) SIZES(MEM_ROW)};
#pragma GCC diagnostic pop
	uint64_t *r = regs.r, addr;
	struct skep_timed timed = {.count = SKEP_TIMED_ROUNDS};
	const struct bpf_insn *insn, *target;
	struct frame frame;

	if (MODE != PLAIN)
		memset(frame.stack, 0, sizeof(frame.stack));
	frame.up = vm->top;
	vm->top = &frame;
	r[BPF_REG_10] = (uintptr_t)(frame.stack + SKEP_STACK_SIZE / 8);
	if (MODE == CHECKED) {
		vm->err = skep_checker_add(vm->env->checker, frame.stack, sizeof(frame.stack),
					   SKEP_REGION_READ | SKEP_REGION_WRITE);
		if (vm->err)
			goto out;
	}
	NEXT();
tests:
	if (MODE == RAW) {
		if (vm->raw->max_steps && vm->steps++ >= vm->raw->max_steps) {
			vm->err = -ELOOP;
			goto out;
		}
		if ((size_t)(pc - vm->insns) >= vm->raw->len)
			goto bad;
	}
	if (MODE == CHECKED && vm->env->checker->step) {
		uint32_t at = pc - vm->insns;

		vm->env->checker->step(vm->env->checker->step_arg, vm->env,
				       vm->prog->image.orig ? vm->prog->image.orig[at] : at, r);
	}
	DISPATCH();

	ALUS(ALU_CODE)
	JCCS(JCC_CODE)
	SIZES(MEM_CODE)
neg64:
	DST = -DST;
	NEXT();
neg32:
	DST = (uint32_t)-DST;
	NEXT();
mov64x:
	if (insn->off == SKEP_ADDR_PERCPU) {
		if (MODE == RAW)
			goto bad;
		DST = skep_slots_at(vm->env->skep->slots, vm->env->cpu) + SRC;
	} else {
		DST = insn->off ? skep_sext(SRC, insn->off / 8) : SRC;
	}
	NEXT();
mov32x:
	DST = (uint32_t)(insn->off ? skep_sext(SRC, insn->off / 8) : SRC);
	NEXT();
mov64k:
	DST = IMM;
	NEXT();
mov32k:
	DST = (uint32_t)insn->imm;
	NEXT();
to_le:
	DST = skep_swap(SKEP_SWAP_LE, insn->imm / 8, DST);
	NEXT();
to_be:
	DST = skep_swap(SKEP_SWAP_BE, insn->imm / 8, DST);
	NEXT();
bswap:
	DST = skep_swap(SKEP_SWAP_ALWAYS, insn->imm / 8, DST);
	NEXT();
ldimm64:
	DST = (uint32_t)insn->imm | (uint64_t)(uint32_t)pc->imm << 32;
	pc++;
	NEXT();
atomics:
	if (!atomic(vm, MODE, insn, r))
		goto out;
	NEXT();
ja:
	pc += insn->off;
	NEXT();
jal:
	pc += insn->imm;
	NEXT();
may_goto:
	if (!skep_timed_round(&timed))
		pc += insn->off;
	NEXT();
call:
	if (insn->src_reg == BPF_PSEUDO_CALL) {
		r[0] = call_subprog(vm, MODE, pc + insn->imm, &regs);
		if (MODE != PLAIN && vm->err)
			goto out;
	} else if (MODE != RAW && call_number(insn) == BPF_FUNC_tail_call) {
		target = tail_call(vm, r);
		if (target)
			pc = target;
	} else if (!call_helper(vm, MODE, call_number(insn), r)) {
		goto out;
	}
	NEXT();
bad:
	vm->err = -EINVAL;
out:
	vm->top = frame.up;
	if (MODE == CHECKED)
		skep_checker_remove(vm->env->checker, frame.stack);
	return vm->err ? 0 : r[0];
}

#undef DST
#undef SRC
#undef IMM
#undef IS_SIGNED
#undef SIZES
#undef ALUS
#undef JCCS
#undef DISPATCH
#undef NEXT
#undef ACCESS
#undef ALU_ROW
#undef JCC_ROW
#undef MEM_ROW
#undef ALU_CODE
#undef JUMP_IF
#undef JCC_CODE
#undef MEM_CODE
