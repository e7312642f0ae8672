/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Running programs: the environment of a run, the interpreter, and what the
 * JIT compiler produces. Pointers in BPF registers are plain addresses.
 */
#ifndef SKEP_EXEC_H
#define SKEP_EXEC_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "bpf/uapi.h"

struct skep;
struct skep_prog;
struct skep_map;
struct skep_env;
struct skep_region;
struct skep_skb;

#define SKEP_MAX_TAIL_CALLS 33 /* as Linux: a program runs at most 33 others */
#define SKEP_STACK_SIZE     512 /* bytes of stack a frame may use */
#define SKEP_MAX_FRAMES     8

/*
 * A helper is called with R1..R5 and the environment as hidden sixth argument:
 * on x86-64 and arm64 that is the next argument register, so the JIT passes it
 * for one instruction and nothing needs thread-local storage.
 */
typedef uint64_t skep_helper_fn(uint64_t r1, uint64_t r2, uint64_t r3, uint64_t r4, uint64_t r5,
				struct skep_env *env);

/* Runs a program (JIT code or the interpreter's stub) on an internal context. */
typedef uint64_t skep_run_fn(void *ctx, struct skep_env *env);

/* State that bpf_redirect and bpf_redirect_map leave for the data path. */
struct skep_redirect {
	uint32_t kind; /* 0: none; SKEP_REDIRECT_* */
	uint32_t ifindex; /* by interface */
	uint32_t map_id; /* by map: its id, type and key */
	uint32_t map_type;
	uint32_t key;
	struct skep_map *map; /* by map; valid until skep_leave() */
	const struct skep_prog *egress; /* devmap: to run on what leaves, or NULL */
	uint64_t flags;
};
enum {
	SKEP_REDIRECT_NONE,
	SKEP_REDIRECT_IFINDEX,
	SKEP_REDIRECT_MAP,
	SKEP_REDIRECT_PEER,
	SKEP_REDIRECT_NEIGH
};

/*
 * One thread's ability to run programs. It is opened once per thread (or per
 * runner), belongs to one thread at a time, and is that thread's record for
 * epochs: what a program could see is not unmapped before skep_leave().
 */
/* A packet's tunnel, as bpf_skb_set_tunnel_key() left it. */
struct skep_tunnel {
	struct bpf_tunnel_key key;
	uint16_t flags;
	bool ipv6, has_opt;
	uint8_t opt_len, opt[255];
};

struct skep_env {
	struct skep *skep;
	const struct skep_prog *prog; /* running now; a tail call changes it */
	uint32_t cpu; /* CPU slot, valid between enter and leave */
	uint32_t tail_calls; /* done so far in this run */
	/* Calls a BPF function by the value that a PSEUDO_FUNC load gave, for
	 * callbacks of helpers. Set by whoever runs the program. */
	uint64_t (*call)(struct skep_env *env, uint64_t func, uint64_t r1, uint64_t r2, uint64_t r3,
			 uint64_t r4, uint64_t r5);
	/* bpf_clone_redirect: sends a copy of the packet. Set by a data path that has
	 * interfaces; NULL: there are none, which is -EINVAL. */
	int (*clone)(struct skep_env *env, const struct skep_skb *skb, uint32_t ifindex,
		     uint64_t flags);
	void *clone_arg;
	void *timer; /* whose callback runs; NULL: none does */
	void *ctx; /* the run's internal context */
	struct skep_redirect redirect;
	struct skep_checker *checker; /* checked mode, else NULL */
	_Atomic uint64_t epoch; /* of the instance when it entered; 0 outside */
	uint64_t self; /* the thread's identity while inside */
	_Atomic uint32_t open; /* 0: closed, may be opened again */
	bool no_reclaim; /* skep_leave() calls nothing that was deferred */
	uint64_t clock_ns; /* what the clock helpers show instead of the time; 0: the time */
	uint64_t prandom; /* state of get_prandom_u32 */
	uint32_t depth; /* nested runs on this env */
	struct skep_env *next; /* the instance's list */
	void *jit_stack; /* reserved for the JIT's entry code */
	struct skep_tunnel tunnel; /* of the packet that is under way */
	uint64_t cookie, func_ip; /* of the link and the function that a probe is at */
	const void *regs; /* of the traced thread, NULL: it is none */
	uint64_t task; /* in the heap: what bpf_get_current_task_btf gave last, 0 */
	void *scratch; /* buffers of helpers (src/helper): one malloc, freed with it */
	struct skep_reserved *reserved; /* ring buffer records not yet committed (map/ringbuf.c) */
	uint32_t nreserved, reserved_cap; /* skep_env_close() frees the array */
};

/* Opens and closes an environment (registered with the instance). A signal handler that
 * runs programs needs an environment of its own, with no_reclaim set. */
int skep_env_open(struct skep_env **out, struct skep *skep);
void skep_env_close(struct skep_env *env);

/* Claims a CPU slot and an epoch; every run lies between enter and leave. Nests.
 * Blocks while all slots are taken; a thread that is inside with another environment
 * shares that one's slot, as an interrupt shares the CPU. skep_leave() gives both back. */
void skep_enter(struct skep_env *env);
void skep_leave(struct skep_env *env);
/* The same with that CPU slot (one of the instance's) and no other: 0, or -ETIMEDOUT when a live
 * holder keeps it for ten seconds. For environments that are not inside. */
int skep_enter_on(struct skep_env *env, uint32_t cpu);

/* Calls fn(arg) once no thread is inside that was there when this was called: at once, or
 * in somebody's skep_leave(), skep_defer() or skep_collect(). Without memory to remember
 * it, it is never called. */
void skep_defer(struct skep *skep, void (*fn)(void *arg), void *arg);

/* ---- Images ---- */

enum skep_reloc_kind {
	SKEP_RELOC_MAP, /* LDIMM64 of a struct skep_map * */
	SKEP_RELOC_MAP_VALUE, /* LDIMM64 of an address in a map's data */
	SKEP_RELOC_FUNC, /* LDIMM64 of a BPF function, for callbacks; target is its number */
	SKEP_RELOC_BTF, /* LDIMM64 of a per-CPU variable; target is its enum skep_var */
};

/* Where an image refers to what only a process knows. */
struct skep_reloc {
	uint32_t insn; /* index of the LDIMM64's first slot */
	uint32_t kind; /* enum skep_reloc_kind */
	uint32_t target; /* index in used_maps, number of a subprogram or variable */
	uint32_t offset; /* MAP_VALUE: offset from the map's value 0 */
};

/* What the verifier knows of an instruction and the JIT may use. */
struct skep_fact {
	uint8_t mem; /* enum skep_mem of the address operand of a load, store, atomic */
	uint8_t flags; /* SKEP_FACT_* */
	int16_t frame_off; /* STACK: constant offset from the frame's R10, if known */
	int32_t map; /* helper call or map value: index in used_maps, -1 if not one map */
	uint64_t key; /* map helper with a constant key: see SKEP_FACT_CONST_KEY */
};
enum skep_mem {
	SKEP_MEM_UNKNOWN,
	SKEP_MEM_STACK,
	SKEP_MEM_CTX,
	SKEP_MEM_MAP_VALUE,
	SKEP_MEM_PACKET,
	SKEP_MEM_ALLOC,
	SKEP_MEM_ARENA,
	SKEP_MEM_PROBE /* may fault: reads 0 */,
	SKEP_MEM_RDONLY
};
#define SKEP_FACT_CONST_KEY   0x01 /* the key of a map helper is constant (array index) */
#define SKEP_FACT_ZEXT        0x02 /* the 32-bit result's upper half is read later */
#define SKEP_FACT_STACK_CONST 0x04 /* frame_off is valid */
#define SKEP_FACT_LIVE        0x08 /* the verifier reached it */

struct skep_subprog {
	uint32_t start; /* first instruction */
	uint32_t len; /* instructions */
	uint32_t stack; /* bytes of stack it uses, rounded up to 8 */
	bool has_tail_call; /* reachable from it */
	bool is_cb; /* called back by a helper */
	uint32_t name_off; /* name in the program's BTF strings, 0: none */
};

/*
 * A verified program, rewritten ("xlated"): context accesses are accesses of
 * the internal context, helpers are calls with the helper's id in imm, LD_ABS
 * is gone, dead code too. Position-independent: relocs name what to bind.
 */
struct skep_image {
	struct bpf_insn *insns; /* unbound */
	struct skep_fact *facts; /* one per instruction */
	uint32_t *orig; /* number of the original instruction, one per instruction */
	uint32_t len;
	struct skep_reloc *relocs;
	uint32_t nrelocs;
	struct skep_subprog *subprogs; /* [0] is the program itself */
	uint32_t nsubprogs;
};

void skep_image_free(struct skep_image *image);
/* An image of instructions that nobody verified and nothing refers to but itself
 * (tests, benches): copies them, finds subprograms and their stacks, knows no facts. */
int skep_image_raw(struct skep_image *image, const struct bpf_insn *insns, uint32_t len);

/* ---- Interpreter: the reference ---- */

/* insns bound for this process: relocs applied, helper imm left as id. */
struct skep_bound {
	struct bpf_insn *insns;
	uint32_t len;
};

/* Runs prog's bound image; R1 = ctx. Stops after no number of steps: termination
 * is the verifier's promise. In checked mode (env->checker) each access is tested. */
uint64_t skep_interp(const struct skep_prog *prog, void *ctx, struct skep_env *env);
/* The same as a skep_run_fn, for prog->run: runs env->prog. */
uint64_t skep_interp_run(void *ctx, struct skep_env *env);

/* What env->call is: calls a BPF function, compiled or not, by its PSEUDO_FUNC value. */
uint64_t skep_call(struct skep_env *env, uint64_t func, uint64_t r1, uint64_t r2, uint64_t r3,
		   uint64_t r4, uint64_t r5);

/* Makes prog->bound from prog->image: 0, or -errno (a reloc names nothing, no memory). */
int skep_bind(struct skep_prog *prog);
void skep_unbind(struct skep_prog *prog);

/* Runs raw, unverified instructions (conformance tests; no maps, helpers as
 * given). max_steps bounds it; 0: no bound. Returns 0 and *r0, or -errno:
 * -EFAULT bad access (when regions are given), -ELOOP steps used up, -EINVAL. */
struct skep_raw {
	const struct bpf_insn *insns;
	uint32_t len;
	skep_helper_fn *const *helpers; /* by id; NULL entries refuse */
	uint32_t nhelpers;
	const struct skep_region *regions; /* NULL: unchecked */
	uint32_t nregions;
	uint64_t max_steps;
};
int skep_interp_raw(const struct skep_raw *raw, uint64_t r1, uint64_t r2, struct skep_env *env,
		    uint64_t *r0);

/* ---- Checked mode ---- */

#define SKEP_REGION_READ  1u
#define SKEP_REGION_WRITE 2u
struct skep_region {
	uintptr_t base;
	size_t size;
	uint32_t flags;
};

/* Live memory regions while a program runs checked, and what it tripped over. */
struct skep_checker {
	struct skep_region *regions; /* stack frames, context, packet, records; maps are asked */
	uint32_t nregions, cap;
	char fault[256]; /* first bad access, "" if none */
	/* Called before each instruction with the original number and R0..R10. */
	void (*step)(void *arg, struct skep_env *env, uint32_t insn, const uint64_t *regs);
	void *step_arg;
};
int skep_checker_add(struct skep_checker *c, const void *base, size_t size, uint32_t flags);
void skep_checker_remove(struct skep_checker *c, const void *base);
bool skep_checker_ok(struct skep_checker *c, struct skep_env *env, uint64_t addr, size_t size,
		     bool write);
/* Tests the memory that a helper call's arguments (r[1..5]) give away. */
bool skep_checker_call(struct skep_checker *c, struct skep_env *env, uint32_t id,
		       const uint64_t *r);

/* ---- JIT ---- */

struct skep_code {
	skep_run_fn *entry;
	void *mem; /* mapping, execute and read only */
	size_t size; /* bytes of code */
	size_t map_size; /* bytes mapped */
	uint32_t *offsets; /* code offset per instruction, for line info; len + 1 entries */
	void *priv; /* the back end's */
};

/* Compiles prog's image for this machine and binds it. -ENOTSUP where there is
 * no back end or no executable memory; the interpreter is used then. */
int skep_jit(struct skep_prog *prog, struct skep_code *out);
void skep_jit_free(struct skep_code *code);

#endif
