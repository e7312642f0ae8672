// SPDX-License-Identifier: Apache-2.0
/*
 * The interpreter: the reference that the JIT and the verifier are held
 * against. The loop (interp_loop.h) is compiled three times: plain, for verified
 * programs; checked, where each access is tested; and raw, for instructions
 * that nobody verified.
 *
 * A frame is a C frame of the loop: registers and 512 bytes of stack. Callbacks of
 * helpers come back through skep_call().
 */
#include <errno.h>
#include <string.h>

#include "bpf/instance.h"
#include "exec/alu.h"
#include "exec/bind.h"
#include "exec/exec.h"
#include "exec/slot.h"
#include "exec/timed.h"
#include "helper/helper.h"
#include "helper/kfunc.h"
#include "map/map.h"
#include "os/os.h"

enum mode { PLAIN, CHECKED, RAW };

struct frame {
	const struct frame *up;
	uint64_t stack[SKEP_STACK_SIZE / 8];
};

struct vm {
	struct skep_env *env;
	const struct skep_prog *prog; /* PLAIN, CHECKED */
	const struct bpf_insn *insns;
	const struct skep_raw *raw; /* RAW */
	const struct frame *top;
	uint64_t steps;
	unsigned depth;
	int err; /* why the run stopped early */
};

struct regs {
	uint64_t r[MAX_BPF_REG];
};

/* ---- Access tests ---- */

static bool within(const void *base, size_t len, uint64_t addr, size_t size)
{
	return addr >= (uintptr_t)base && size <= len && addr - (uintptr_t)base <= len - size;
}

static bool raw_ok(const struct vm *vm, uint64_t addr, size_t size, bool write)
{
	const struct skep_raw *raw = vm->raw;
	uint32_t need = write ? SKEP_REGION_WRITE : SKEP_REGION_READ;

	if (!raw->regions)
		return true;
	for (const struct frame *f = vm->top; f; f = f->up)
		if (within(f->stack, sizeof(f->stack), addr, size))
			return true;
	for (uint32_t i = 0; i < raw->nregions; i++) {
		const struct skep_region *g = &raw->regions[i];

		if ((g->flags & need) && within((void *)g->base, g->size, addr, size))
			return true;
	}
	return false;
}

static SKEP_ALWAYS_INLINE bool access_ok(struct vm *vm, enum mode mode, uint64_t addr, size_t size,
					 bool write)
{
	bool ok = true;

	if (mode == CHECKED)
		ok = skep_checker_ok(vm->env->checker, vm->env, addr, size, write);
	else if (mode == RAW)
		ok = raw_ok(vm, addr, size, write);
	if (!ok)
		vm->err = -EFAULT;
	return ok;
}

/* ---- Memory ---- */

struct unaligned16 {
	uint16_t v;
} __attribute__((packed, may_alias));
struct unaligned32 {
	uint32_t v;
} __attribute__((packed, may_alias));
struct unaligned64 {
	uint64_t v;
} __attribute__((packed, may_alias));

static SKEP_ALWAYS_INLINE uint64_t load(uint64_t addr, uint8_t size)
{
	const void *p = (const void *)addr;

	switch (size) {
	case 1:
		return *(const uint8_t *)p;
	case 2:
		return ((const struct unaligned16 *)p)->v;
	case 4:
		return ((const struct unaligned32 *)p)->v;
	default:
		return ((const struct unaligned64 *)p)->v;
	}
}

static SKEP_ALWAYS_INLINE void store(uint64_t addr, uint8_t size, uint64_t v)
{
	void *p = (void *)addr;

	switch (size) {
	case 1:
		*(uint8_t *)p = v;
		break;
	case 2:
		((struct unaligned16 *)p)->v = v;
		break;
	case 4:
		((struct unaligned32 *)p)->v = v;
		break;
	default:
		((struct unaligned64 *)p)->v = v;
	}
}

/* A load that the verifier could not prove: memory that is not there reads as 0. */
static uint64_t load_probe(uint64_t addr, uint8_t size)
{
	union {
		uint8_t b;
		uint16_t h;
		uint32_t w;
		uint64_t d;
	} v = {0};

	if (skep_probe_read(&v, (const void *)addr, size))
		return 0;
	return size == 1 ? v.b : size == 2 ? v.h : size == 4 ? v.w : v.d;
}

#define ATOMIC_RMW(type, fn)                                                                       \
	((uint64_t)__atomic_fetch_##fn((type *)addr, (type)src, __ATOMIC_SEQ_CST))

/* Performs a read-modify-write; the result is the old value. */
#define DEFINE_RMW(name, type)                                                                     \
	static uint64_t name(int32_t op, uint64_t addr, uint64_t src, uint64_t expect)             \
	{                                                                                          \
		type old = (type)expect;                                                           \
                                                                                                   \
		switch (op & ~BPF_FETCH) {                                                         \
		case BPF_ADD:                                                                      \
			return ATOMIC_RMW(type, add);                                              \
		case BPF_AND:                                                                      \
			return ATOMIC_RMW(type, and);                                              \
		case BPF_OR:                                                                       \
			return ATOMIC_RMW(type, or);                                               \
		case BPF_XOR:                                                                      \
			return ATOMIC_RMW(type, xor);                                              \
		case BPF_XCHG & ~BPF_FETCH:                                                        \
			return __atomic_exchange_n((type *)addr, (type)src, __ATOMIC_SEQ_CST);     \
		default:                                                                           \
			__atomic_compare_exchange_n((type *)addr, &old, (type)src, false,          \
						    __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST);           \
			return old;                                                                \
		}                                                                                  \
	}
DEFINE_RMW(rmw32, uint32_t)
DEFINE_RMW(rmw64, uint64_t)

static uint64_t load_acquire(uint64_t addr, uint8_t size)
{
	switch (size) {
	case 1:
		return __atomic_load_n((uint8_t *)addr, __ATOMIC_ACQUIRE);
	case 2:
		return __atomic_load_n((uint16_t *)addr, __ATOMIC_ACQUIRE);
	case 4:
		return __atomic_load_n((uint32_t *)addr, __ATOMIC_ACQUIRE);
	default:
		return __atomic_load_n((uint64_t *)addr, __ATOMIC_ACQUIRE);
	}
}

static void store_release(uint64_t addr, uint8_t size, uint64_t v)
{
	switch (size) {
	case 1:
		__atomic_store_n((uint8_t *)addr, (uint8_t)v, __ATOMIC_RELEASE);
		break;
	case 2:
		__atomic_store_n((uint16_t *)addr, (uint16_t)v, __ATOMIC_RELEASE);
		break;
	case 4:
		__atomic_store_n((uint32_t *)addr, (uint32_t)v, __ATOMIC_RELEASE);
		break;
	default:
		__atomic_store_n((uint64_t *)addr, v, __ATOMIC_RELEASE);
	}
}

/* Returns false if the access is refused or the instruction is none. */
static bool atomic(struct vm *vm, enum mode mode, const struct bpf_insn *insn, uint64_t *r)
{
	uint8_t size = skep_isa[insn->code].size;
	uint64_t base = insn->imm == BPF_LOAD_ACQ ? r[insn->src_reg] : r[insn->dst_reg];
	uint64_t addr = base + (int64_t)insn->off, old;

	if (!access_ok(vm, mode, addr, size, insn->imm != BPF_LOAD_ACQ))
		return false;
	if (insn->imm == BPF_LOAD_ACQ) {
		r[insn->dst_reg] = load_acquire(addr, size);
		return true;
	}
	if (insn->imm == BPF_STORE_REL) {
		store_release(addr, size, r[insn->src_reg]);
		return true;
	}
	old = (size == 8 ? rmw64 : rmw32)(insn->imm, addr, r[insn->src_reg], r[BPF_REG_0]);
	if (insn->imm == BPF_CMPXCHG)
		r[BPF_REG_0] = old;
	else if (insn->imm & BPF_FETCH)
		r[insn->src_reg] = old;
	return true;
}

/* ---- Calls ---- */

static uint64_t run_plain(struct vm *vm, const struct bpf_insn *pc, struct regs regs);
static uint64_t run_checked(struct vm *vm, const struct bpf_insn *pc, struct regs regs);
static uint64_t run_raw(struct vm *vm, const struct bpf_insn *pc, struct regs regs);

static uint64_t call_subprog(struct vm *vm, enum mode mode, const struct bpf_insn *pc,
			     const struct regs *regs)
{
	const struct skep_prog *prog = vm->prog;
	const struct bpf_insn *insns = vm->insns;
	uint64_t ret;

	if (vm->depth + 1 >= SKEP_MAX_FRAMES && mode != PLAIN) {
		vm->err = -ELOOP;
		return 0;
	}
	vm->depth++;
	ret = mode == PLAIN     ? run_plain(vm, pc, *regs)
	      : mode == CHECKED ? run_checked(vm, pc, *regs)
				: run_raw(vm, pc, *regs);
	vm->depth--;
	/* A tail call in there went to another program; here we are back. */
	vm->prog = prog;
	vm->insns = insns;
	if (mode != RAW)
		vm->env->prog = prog;
	return ret;
}

static int32_t call_number(const struct bpf_insn *insn)
{
	return insn->imm + (insn->src_reg == BPF_PSEUDO_KFUNC_CALL ? (int32_t)SKEP_CALL_KFUNC : 0);
}

static bool call_helper(struct vm *vm, enum mode mode, int32_t id, uint64_t *r)
{
	skep_helper_fn *fn = NULL;

	if (mode == RAW) {
		if ((uint32_t)id < vm->raw->nhelpers)
			fn = vm->raw->helpers[id];
	} else {
		fn = skep_call_fn((uint32_t)id);
	}
	if (!fn) {
		vm->err = -EINVAL;
		return false;
	}
	if (mode == CHECKED && (uint32_t)id < SKEP_MAX_HELPERS &&
	    !skep_checker_call(vm->env->checker, vm->env, id, r)) {
		vm->err = -EFAULT;
		return false;
	}
	r[0] = fn(r[1], r[2], r[3], r[4], r[5], vm->env);
	if (mode == CHECKED && vm->env->checker->fault[0])
		vm->err = -EFAULT; /* in a callback */
	return !vm->err;
}

/* The first instruction of the target, or NULL if the call fails and falls through. */
static const struct bpf_insn *tail_call(struct vm *vm, const uint64_t *r)
{
	struct skep_map *map = (struct skep_map *)r[2];
	struct skep_env *env = vm->env;
	const struct skep_prog *target;

	if (env->tail_calls >= SKEP_MAX_TAIL_CALLS)
		return NULL;
	target = skep_prog_array_get(map, (uint32_t)r[3]);
	if (!target)
		return NULL;
	env->tail_calls++;
	env->prog = target;
	vm->prog = target;
	vm->insns = target->bound.insns;
	return vm->insns;
}

/* ---- The loop, three times ---- */

#define RUN  run_plain
#define MODE PLAIN
#include "exec/interp_loop.h"
#undef RUN
#undef MODE

#define RUN  run_checked
#define MODE CHECKED
#include "exec/interp_loop.h"
#undef RUN
#undef MODE

#define RUN  run_raw
#define MODE RAW
#include "exec/interp_loop.h"
#undef RUN
#undef MODE

/* ---- Entries ---- */

uint64_t skep_interp(const struct skep_prog *prog, void *ctx, struct skep_env *env)
{
	struct vm vm = {.env = env, .prog = prog, .insns = prog->bound.insns};
	struct regs regs = {.r[BPF_REG_1] = (uintptr_t)ctx};

	return (env->checker ? run_checked : run_plain)(&vm, vm.insns, regs);
}

uint64_t skep_interp_run(void *ctx, struct skep_env *env)
{
	return skep_interp(env->prog, ctx, env);
}

static uint64_t call_interpreted(struct skep_env *env, uint64_t func, struct regs regs)
{
	struct vm vm = {.env = env, .prog = env->prog, .insns = env->prog->bound.insns};

	return (env->checker ? run_checked : run_plain)(
		&vm, (const struct bpf_insn *)(func - SKEP_FUNC_INTERP), regs);
}

/*
 * The value of a PSEUDO_FUNC load names a function of either kind: machine code
 * (aligned, so even), called as a helper is, or a bound instruction plus 1.
 */
uint64_t skep_call(struct skep_env *env, uint64_t func, uint64_t r1, uint64_t r2, uint64_t r3,
		   uint64_t r4, uint64_t r5)
{
	if (!(func & SKEP_FUNC_INTERP))
		return ((skep_helper_fn *)func)(r1, r2, r3, r4, r5, env);
	return call_interpreted(env, func, (struct regs){.r = {0, r1, r2, r3, r4, r5}});
}

int skep_interp_raw(const struct skep_raw *raw, uint64_t r1, uint64_t r2, struct skep_env *env,
		    uint64_t *r0)
{
	struct vm vm = {.env = env, .insns = raw->insns, .raw = raw};
	struct regs regs = {.r = {0, r1, r2}};

	*r0 = run_raw(&vm, raw->insns, regs);
	return vm.err;
}
