// SPDX-License-Identifier: Apache-2.0
/*
 * Frames, calls and layout.
 *
 * Functions follow the C calling convention of the machine: R1 to R5 are its first
 * five arguments, the environment is the sixth, R0 is the result, R6 to R9 are
 * callee-saved. So helpers are called as they are, and a helper calls back as it
 * would call any C function. Only the program's own entry differs: (ctx, env).
 *
 *	saved registers
 *	may_goto budget, spill slot, R1 during a tail call (where needed)
 *	BPF stack, R10 its upper end
 *	(padding to 16 bytes)			<- RSP
 *
 * A function that calls nothing and needs at most 128 bytes has its frame below
 * RSP, in the red zone, and moves nothing.
 */
#include <errno.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "exec/jit/x86.h"
#include "exec/timed.h"
#include "helper/kfunc.h"
#include "map/map.h"
#include "os/os.h"

#ifdef __x86_64__

#include <cpuid.h>

#define RED_ZONE 128
#define ALIGN    16

static const uint8_t bpf_map[IR_FP] = {RAX, RDI, RSI, RDX, RCX, R8, RBX, RBP, R14, R15};

/* Where the environment is kept: where calls leave it alone, if there are any. */
static uint8_t env_reg(const struct jit_func *f)
{
	return f->has_call ? R12 : R9;
}

static bool is_callee_saved(uint8_t r)
{
	return r == RBX || r == RBP || r >= R12;
}

/* ---- Registers ---- */

/* Native registers for promoted slots, in order of preference. RAX, RDX and RCX are
 * used by instructions, R10 and R11 in between. */
static unsigned spare_regs(const struct jit_func *f, uint8_t *out)
{
	static const uint8_t scratch[] = {RSI, RDI, R8, R9};
	static const uint8_t kept[] = {RBX, RBP, R13, R12, R14, R15};
	uint32_t taken = 0;
	unsigned n = 0;

	for (int r = 0; r < IR_FP; r++)
		if (f->used & 1u << r)
			taken |= 1u << bpf_map[r];
	if (f->needs_env)
		taken |= 1u << env_reg(f);
	for (size_t k = 0; k < sizeof(scratch) && !f->has_call; k++)
		if (!(taken & 1u << scratch[k]))
			out[n++] = scratch[k];
	for (size_t k = 0; k < sizeof(kept); k++)
		if (!(taken & 1u << kept[k]))
			out[n++] = kept[k];
	return n;
}

unsigned jit_arch_spare(const struct jit_func *f)
{
	uint8_t regs[16];

	return spare_regs(f, regs);
}

static void map_registers(struct x86 *c, const struct jit_func *f)
{
	uint8_t spare[16];
	uint32_t used = 0;

	memset(c->map, NO_XREG, sizeof(c->map));
	memcpy(c->map, bpf_map, sizeof(bpf_map));
	spare_regs(f, spare);
	for (unsigned k = 0; k < f->nslots; k++)
		c->map[IR_SLOT0 + k] = spare[k];
	for (int r = 0; r < IR_REGS; r++)
		if (r != IR_FP && (f->used & 1u << r) && c->map[r] != NO_XREG)
			used |= 1u << c->map[r];
	c->env = env_reg(f);
	if (f->needs_env)
		used |= 1u << c->env;
	c->nsaved = 0;
	for (uint8_t r = 0; r < 16; r++)
		if (is_callee_saved(r) && (used & 1u << r))
			c->saved[c->nsaved++] = r;
}

/* ---- Frames ---- */

static void layout_frame(struct x86 *c, const struct jit_func *f)
{
	uint32_t extra = 0, size;
	bool tail = false, leaf = !f->has_call && !f->has_may_goto;

	for (uint32_t n = f->start; n < f->end; n++)
		tail |= c->jit->ir[n].op == IR_TAIL_CALL && c->jit->ir[n].imm < 0;
	extra += f->has_may_goto ? sizeof(struct skep_timed) : 0;
	extra += f->has_div ? 8 : 0;
	extra += tail ? 8 : 0;
	size = f->stack + extra;
	if (leaf && size <= RED_ZONE) {
		c->frame = 0;
		c->fp = -(int32_t)extra;
	} else {
		/* After the return address and the saved registers: aligned to 16. */
		c->frame = size;
		if ((8 + 8 * c->nsaved + c->frame) & 15)
			c->frame += 8;
		c->fp = (int32_t)(c->frame - extra);
	}
	c->budget = c->fp;
	c->spill = c->budget + (f->has_may_goto ? (int32_t)sizeof(struct skep_timed) : 0);
	c->ctx_slot = c->spill + (f->has_div ? 8 : 0);
}

static void prologue(struct x86 *c, const struct jit_func *f)
{
	for (unsigned k = 0; k < c->nsaved; k++)
		x86_push(c, c->saved[k]);
	if (c->frame == 8)
		x86_push(c, RAX);
	else if (c->frame)
		x86_alu_ri(c, ALU_SUB, true, RSP, (int32_t)c->frame);
	if (f->needs_env)
		x86_mov_rr(c, true, c->env, f->start == c->jit->funcs[0].start ? RSI : R9);
	if (f->has_may_goto) {
		x86_op_rm(c, 0xc7, true, 0, x86_at(RSP, c->budget));
		x86_imm32(c, SKEP_TIMED_ROUNDS);
		x86_op_rm(c, 0xc7, true, 0,
			  x86_at(RSP, c->budget + (int32_t)offsetof(struct skep_timed, since)));
		x86_imm32(c, 0);
	}
}

void x86_epilogue(struct x86 *c)
{
	if (c->frame == 8)
		x86_pop(c, RCX);
	else if (c->frame)
		x86_alu_ri(c, ALU_ADD, true, RSP, (int32_t)c->frame);
	for (unsigned k = c->nsaved; k-- > 0;)
		x86_pop(c, c->saved[k]);
}

void x86_exit(struct x86 *c)
{
	x86_epilogue(c);
	x86_byte(c, 0xc3);
}

/* ---- Calls ---- */

/* The operation of a known map that a helper would only pass on to, or NULL. *env_arg
 * is the register of its last argument. */
static const void *map_operation(const struct x86 *c, const struct ir *i, uint8_t *env_arg)
{
	const struct skep_map_ops *ops;

	if (!i->target)
		return NULL;
	ops = c->jit->prog->maps[i->target - 1]->ops;
	*env_arg = i->imm == BPF_FUNC_map_update_elem ? R8 : RDX;
	switch (i->imm) {
	case BPF_FUNC_map_lookup_elem:
		return (const void *)ops->lookup;
	case BPF_FUNC_map_update_elem:
		return (const void *)ops->update;
	case BPF_FUNC_map_delete_elem:
		return (const void *)ops->delete;
	default:
		return NULL;
	}
}

void x86_call(struct x86 *c, const struct ir *i)
{
	uint8_t env_arg = R9;
	const void *fn = map_operation(c, i, &env_arg);

	if (!fn) {
		env_arg = R9;
		fn = (const void *)skep_call_fn((uint32_t)i->imm);
	}
	x86_mov_rr(c, true, env_arg, c->env);
	x86_call_abs(c, fn);
}

void x86_call_sub(struct x86 *c, const struct ir *i)
{
	const struct jit *jit = c->jit;

	if (jit->funcs[i->imm].needs_env)
		x86_mov_rr(c, true, R9, c->env);
	x86_byte(c, 0xe8);
	x86_imm32(c, (int32_t)(jit->entries[i->imm] - (c->len + 4)));
	if (!jit->image->subprogs[i->imm].has_tail_call)
		return;
	/* A tail call in there went to another program; here we are back. */
	x86_mov_ri(c, TMP, (uintptr_t)jit->prog);
	x86_store(c, 8, TMP, x86_at(c->env, offsetof(struct skep_env, prog)));
}

/* The entry of the tail call's target, or NULL: it fails, and the program goes on. */
static skep_run_fn *tail_target(struct skep_env *env, struct skep_map *map, uint32_t index)
{
	const struct skep_prog *target;

	if (env->tail_calls >= SKEP_MAX_TAIL_CALLS)
		return NULL;
	target = skep_prog_array_get(map, index);
	if (!target || !target->run)
		return NULL;
	env->tail_calls++;
	env->prog = target;
	return target->run;
}

/* The frame is given up before the jump: chains of programs use no stack. */
static void leave_for(struct x86 *c, uint8_t target)
{
	x86_mov_rr(c, true, RSI, c->env);
	if (c->frame)
		x86_alu_ri(c, ALU_ADD, true, RSP, (int32_t)c->frame);
	for (unsigned k = c->nsaved; k-- > 0;)
		x86_pop(c, c->saved[k]);
	x86_op_rr(c, 0xff, false, 4, target);
}

/* What tail_target() does, in place. RAX, RSI and RDX are free after the call. */
static void tail_call_inline(struct x86 *c, const struct ir *i,
			     const struct skep_prog_array_inline *in)
{
	struct x86_mem count = x86_at(c->env, offsetof(struct skep_env, tail_calls));
	struct x86_mem slot = x86_at(TMP, 0), id = x86_at(TMP, 0);
	uint32_t fails[5], n = 0, known = i->size ? (uint32_t)i->off : 0;

	if (known >= in->max_entries)
		return;
	if (!i->size) {
		x86_mov_rr(c, false, RDX, RDX); /* the index has 32 bits */
		x86_alu_ri(c, ALU_CMP, false, RDX, (int32_t)in->max_entries);
		fails[n++] = x86_skip(c, CC_AE);
		slot.index = id.index = RDX;
		slot.scale = 8;
		id.scale = 4;
	}
	x86_alu_mi(c, ALU_CMP, false, count, SKEP_MAX_TAIL_CALLS);
	fails[n++] = x86_skip(c, CC_AE);
	x86_mov_ri(c, TMP, (uintptr_t)(in->slot + known));
	x86_load(c, 8, false, true, RAX, slot);
	x86_op_rr(c, 0x85, true, RAX, RAX);
	fails[n++] = x86_skip(c, CC_E);
	/* An id that somebody else wrote is an empty slot. */
	x86_mov_ri(c, TMP, (uintptr_t)(in->ids + known));
	x86_load(c, 4, false, true, RDX, id);
	x86_op_rm(c, ALU_CMP << 3 | 3, false, RDX, x86_at(RAX, offsetof(struct skep_prog, obj.id)));
	fails[n++] = x86_skip(c, CC_NE);
	x86_load(c, 8, false, true, TMP, x86_at(RAX, offsetof(struct skep_prog, run)));
	x86_op_rr(c, 0x85, true, TMP, TMP);
	fails[n++] = x86_skip(c, CC_E);
	x86_op_rm(c, 0xff, false, 0, count);
	x86_store(c, 8, RAX, x86_at(c->env, offsetof(struct skep_env, prog)));
	leave_for(c, TMP);
	while (n)
		x86_here(c, fails[--n]);
}

/* Once in many rounds the clock is asked; all registers stay as they are. */
void x86_may_goto(struct x86 *c, struct ir *i)
{
	static const uint8_t clobbered[] = {RAX, RCX, RDX, RSI, RDI, R8, R9, R10, R11};
	const int32_t pushed = sizeof(clobbered) * 8;
	struct x86_mem count = x86_at(RSP, c->budget);
	uint32_t left;

	x86_alu_mi(c, ALU_CMP, true, count, 0);
	x86_jump(c, i, CC_E);
	x86_op_rm(c, 0xff, true, 1, count);
	left = x86_skip(c, CC_NE);
	for (unsigned k = 0; k < sizeof(clobbered); k++)
		x86_push(c, clobbered[k]);
	x86_lea(c, true, RDI, x86_at(RSP, c->budget + pushed));
	/* An odd number was pushed onto an aligned frame. */
	x86_push(c, RAX);
	x86_call_abs(c, (const void *)skep_timed_refill);
	x86_pop(c, RAX);
	for (unsigned k = sizeof(clobbered); k-- > 0;)
		x86_pop(c, clobbered[k]);
	x86_here(c, left);
}

void x86_tail_call(struct x86 *c, const struct ir *i)
{
	struct x86_mem slot = x86_at(RSP, c->ctx_slot);
	struct skep_prog_array_inline in;
	uint32_t fails;

	if (i->imm >= 0 && skep_prog_array_inline(c->jit->prog->maps[i->imm], &in)) {
		tail_call_inline(c, i, &in);
		return;
	}
	x86_store(c, 8, RDI, slot);
	x86_mov_rr(c, true, RDI, c->env);
	x86_call_abs(c, (const void *)tail_target);
	x86_op_rr(c, 0x85, true, RAX, RAX);
	fails = x86_skip(c, CC_E);
	x86_load(c, 8, false, true, RDI, slot);
	leave_for(c, RAX);
	x86_here(c, fails);
}

/* R0 = element *R2 of an array whose address and size are known. */
void x86_lookup(struct x86 *c, const struct ir *i)
{
	const struct skep_map *map = c->jit->prog->maps[i->imm];
	struct skep_map_inline in;
	uint32_t miss, end;

	skep_map_inline(map, &in);
	x86_load(c, 4, false, true, RAX, x86_address(c, i));
	x86_alu_ri(c, ALU_CMP, false, RAX, (int32_t)in.max_entries);
	miss = x86_skip(c, CC_AE);
	if (in.elem_size & (in.elem_size - 1)) {
		x86_op_rr(c, 0x69, true, RAX, RAX);
		x86_imm32(c, (int32_t)in.elem_size);
	} else if (in.elem_size > 1) {
		x86_shift_ri(c, SH_SHL, true, RAX, (uint8_t)__builtin_ctz(in.elem_size));
	}
	if (in.cpu_stride) {
		x86_load(c, 4, false, true, TMP, x86_at(c->env, offsetof(struct skep_env, cpu)));
		if (!(in.cpu_stride & (in.cpu_stride - 1))) {
			x86_shift_ri(c, SH_SHL, true, TMP, (uint8_t)__builtin_ctzll(in.cpu_stride));
		} else if (in.cpu_stride <= INT32_MAX) {
			x86_op_rr(c, 0x69, true, TMP, TMP);
			x86_imm32(c, (int32_t)in.cpu_stride);
		} else {
			x86_mov_ri(c, TMP2, in.cpu_stride);
			x86_op_rr(c, X_0F | 0xaf, true, TMP, TMP2);
		}
		x86_alu_rr(c, ALU_ADD, true, RAX, TMP);
	}
	x86_mov_ri(c, TMP, (uintptr_t)in.base);
	x86_alu_rr(c, ALU_ADD, true, RAX, TMP);
	end = x86_skip(c, -1);
	x86_here(c, miss);
	x86_alu_rr(c, ALU_XOR, false, RAX, RAX);
	x86_here(c, end);
}

/* ---- Loads that may fault ---- */

static uint64_t probe(const void *addr, uint32_t size, uint32_t sign)
{
	uint64_t v = 0;

	if (skep_probe_read(&v, addr, size))
		return 0;
	if (sign)
		v = (uint64_t)((int64_t)(v << (64 - 8 * size)) >> (64 - 8 * size));
	return v;
}

void x86_probe(struct x86 *c, const struct ir *i)
{
	static const uint8_t keep[] = {RAX, RDI, RSI, RDX, RCX, R8};
	uint8_t dst = c->map[i->dst];

	/* has_call keeps RSP aligned; six registers leave it so. */
	for (size_t k = 0; k < sizeof(keep); k++)
		x86_push(c, keep[k]);
	x86_lea(c, true, RDI, x86_address(c, i));
	x86_mov_ri(c, RSI, i->size);
	x86_mov_ri(c, RDX, !!(i->flags & IR_SIGNED));
	x86_call_abs(c, (const void *)probe);
	x86_mov_rr(c, true, TMP, RAX);
	for (size_t k = sizeof(keep); k-- > 0;)
		x86_pop(c, keep[k]);
	x86_mov_rr(c, true, dst, TMP);
}

/* ---- Layout ---- */

/*
 * Code is emitted repeatedly: first without a buffer, to learn how far jumps go.
 * Forward distances are those of the round before, corrected by how much the code
 * has moved up to here. The last of these rounds decides which jumps are short; one
 * that turns out not to fit after all (alignment can push things apart) is long from
 * then on, so it ends.
 */
void x86_jump(struct x86 *c, struct ir *i, int cc)
{
	struct jit *jit = c->jit;
	int64_t target = jit->offsets[i->target], near;

	if (i->target > (uint32_t)(i - jit->ir))
		target += c->shift;
	near = target - ((int64_t)c->len + 2);
	if (!(i->flags & IR_LONG) && near >= -128 && near <= 127) {
		x86_byte(c, cc < 0 ? 0xeb : 0x70 | cc);
		x86_byte(c, (uint8_t)near);
		return;
	}
	if (c->decided)
		i->flags |= IR_LONG;
	if (cc >= 0)
		x86_byte(c, 0x0f);
	x86_byte(c, cc < 0 ? 0xe9 : 0x80 | cc);
	x86_imm32(c, (int32_t)(target - ((int64_t)c->len + 4)));
}

static bool is_fallthrough(const struct jit *jit, const struct ir *i, uint32_t n)
{
	if (i->op != IR_JMP || i->target <= n)
		return false;
	for (n++; n < i->target; n++)
		if (jit->ir[n].op != IR_NOP)
			return false;
	return true;
}

static void emit_func(struct x86 *c, uint32_t k)
{
	struct jit *jit = c->jit;
	const struct jit_func *f = &jit->funcs[k];

	c->f = f;
	map_registers(c, f);
	layout_frame(c, f);
	x86_align(c, ALIGN, ALIGN);
	c->moved |= jit->entries[k] != c->len;
	jit->entries[k] = c->len;
	prologue(c, f);
	c->flags_reg = NO_REG;
	c->last_jcc = NULL;
	for (uint32_t n = f->start; n < f->end;) {
		struct ir *i = &jit->ir[n];

		if ((i->flags & IR_LOOP) && n != f->start)
			x86_align(c, ALIGN, 10);
		c->shift = (int64_t)c->len - jit->offsets[n];
		c->moved |= c->shift != 0;
		jit->offsets[n] = c->len;
		if (is_fallthrough(jit, i, n)) {
			n++;
			continue;
		}
		n += x86_select(c, n);
	}
}

static void emit_all(struct x86 *c)
{
	c->len = 0;
	c->moved = false;
	while (c->len < c->pad)
		x86_byte(c, 0xcc);
	for (uint32_t k = 0; k < c->jit->nfuncs; k++)
		emit_func(c, k);
	c->jit->offsets[c->jit->len] = c->len;
}

/*
 * Every program has pages of its own. If all began at the start of a page, they
 * would share a few sets of the instruction cache and drive each other out.
 */
static uint32_t colour(const struct skep_prog *prog)
{
	return ((uint32_t)((uintptr_t)prog >> 5) * 2654435761u >> 27) * 64;
}

enum { HAS_BMI2 = 1, HAS_MOVBE = 2 };

/* What the processor has. Asked once: in a virtual machine each cpuid is a trap. */
static unsigned features(void)
{
	enum { ASKED = 4 };
	static _Atomic unsigned known;
	unsigned f = atomic_load_explicit(&known, memory_order_relaxed), a, b, cx, d;

	if (f)
		return f;
	f = ASKED;
	if (__get_cpuid_count(7, 0, &a, &b, &cx, &d) && (b & bit_BMI2))
		f |= HAS_BMI2;
	if (__get_cpuid(1, &a, &b, &cx, &d) && (cx & bit_MOVBE))
		f |= HAS_MOVBE;
	atomic_store_explicit(&known, f, memory_order_relaxed);
	return f;
}

static void detect(struct x86 *c)
{
	if (c->jit->flags & JIT_BASELINE)
		return;
	c->bmi2 = features() & HAS_BMI2;
	c->movbe = features() & HAS_MOVBE;
}

/* Rounds without a buffer, then with it, until one comes out as the one before. */
static int settle(struct x86 *c)
{
	uint32_t size;

	emit_all(c);
	c->decided = true;
	emit_all(c);
	size = c->len + c->len / 8 + 64;
	c->buf = malloc(size);
	if (!c->buf)
		return -ENOMEM;
	c->cap = size;
	for (int round = 0; round < 64; round++) {
		emit_all(c);
		if (c->len > c->cap || c->broken)
			break;
		if (!c->moved)
			return 0;
	}
	return -E2BIG;
}

int jit_arch_emit(struct jit *jit, struct skep_code *code)
{
	struct x86 c = {.jit = jit};
	struct skep_exec_mem *mem = calloc(1, sizeof(*mem));
	int err;

	if (!mem)
		return -ENOMEM;
	detect(&c);
	c.pad = colour(jit->prog);
	for (uint32_t n = 0; n <= jit->len; n++)
		jit->offsets[n] = 4 * n; /* a guess, to begin with */
	err = settle(&c);
	if (!err)
		err = skep_exec_make(mem, c.buf, c.len);
	free(c.buf);
	if (err) {
		free(mem);
		return err;
	}
	code->entry = (skep_run_fn *)((uintptr_t)mem->rx + jit->entries[0]);
	code->mem = (uint8_t *)mem->rx + c.pad;
	code->size = c.len - c.pad;
	for (uint32_t n = 0; n <= jit->len; n++)
		jit->offsets[n] -= c.pad;
	code->map_size = mem->size;
	code->priv = mem;
	return 0;
}

#endif
