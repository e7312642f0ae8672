/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The verifier's abstract machine: registers, stack slots, frames, states, and
 * the environment of one verification. Private to src/verifier.
 *
 * Frames, stacks and reference lists are shared between states and copied when
 * one of them writes (refs > 1): forking a path costs a few counters. What is
 * known to be needed precisely is kept in masks of the checkpoint, not in the
 * registers, so that sharing survives the backward pass (precise.c).
 */
#ifndef SKEP_VERIFIER_STATE_H
#define SKEP_VERIFIER_STATE_H

#include <errno.h>
#include <stdbool.h>
#include <stdint.h>

#include "helper/helper.h"
#include "map/map.h"
#include "verifier/rewrite.h"
#include "verifier/scalar.h"
#include "verifier/verifier.h"

struct venv;

#define V_REGS        11
#define V_FRAMES      SKEP_MAX_FRAMES
#define V_SLOTS       (SKEP_STACK_SIZE / 8)
#define V_MAIN        (-1) /* callsite of the outermost frame */
#define V_MAX_INSNS   1000000
#define V_MAX_JUMPS   8192
#define V_MAX_OFF     (1 << 29)
#define V_MAX_PKT_OFF 0xffff
#define V_MAX_REFS    64
#define V_ENOTSUPP    524

enum vtype {
	V_NOT_INIT,
	V_SCALAR,
	V_CTX,
	V_MAP_PTR,
	V_MAP_VALUE,
	V_MAP_KEY,
	V_STACK,
	V_PKT_META,
	V_PKT,
	V_PKT_END,
	V_FLOW_KEYS,
	V_SOCK,
	V_SOCK_COMMON,
	V_TCP_SOCK,
	V_XDP_SOCK,
	V_MEM,
	V_FUNC,
	V_PERCPU, /* a per-CPU variable: what bpf_per_cpu_ptr takes */
	V_BTF, /* a structure that BTF describes: btf, btf_id */
	V_DYNPTR, /* a dynptr that somebody else made; in a slot: the dynptr itself */
	V_ITER, /* in a slot: an iterator, of the type btf, btf_id */
	V_NTYPES,
};

/* Flags of a register's type. */
#define V_MAYBE_NULL 0x01u
#define V_RDONLY     0x02u
#define V_RINGBUF    0x04u
#define V_TRUSTED    0x08u /* BTF: valid, and no walk led there */
#define V_UNTRUSTED  0x10u /* BTF: may be anything; loads that fault give 0 */
#define V_RCU        0x20u /* valid until the read side ends */
#define V_ALLOC      0x40u /* BTF: an object that the program made (bpf_obj_new) */
#define V_NON_OWN    0x80u /* ALLOC: borrowed from a list or tree, while its lock is held */
#define V_PERCPU_MEM 0x100u /* BTF: one copy per CPU */
#define V_USER       0x200u /* BTF: memory of user space */
#define V_BUF        0x400u /* MEM: as much as is there when the program is attached */

/* Values of vreg.range beyond plain numbers. */
#define V_AT_PKT_END     (-1)
#define V_BEYOND_PKT_END (-2)

/* In vreg.id: the value is that of the id plus .off, in 64 bits, or in 32 with nothing above. */
#define V_ADD_CONST64 0x80000000u
#define V_ADD_CONST32 0x40000000u
#define V_ADD_CONST   (V_ADD_CONST64 | V_ADD_CONST32)

struct vreg {
	uint8_t type; /* enum vtype */
	uint8_t frameno; /* V_STACK: whose stack */
	uint16_t flags; /* V_MAYBE_NULL ... */
	union {
		int32_t off; /* constant part of a pointer; of a linked scalar */
		int32_t iter_depth; /* ITER: steps made */
	};
	union {
		int32_t map; /* MAP_PTR, MAP_VALUE, MAP_KEY: index in venv.maps */
		int32_t range; /* packet pointers: bytes known to be there */
		uint32_t mem_size; /* MEM */
		uint32_t subprog; /* FUNC */
		uint32_t dyn; /* DYNPTR: its kind, V_DYN_FIRST (dynptr.h) */
		uint32_t btf_id; /* PERCPU: type, in skep's BTF; BTF: in btf */
		uint32_t aux; /* all of them, for comparing */
	};
	uint32_t dynptr; /* MEM: id of the dynptr that it is a slice of */
	union {
		const struct skep_map *inner; /* map found in map `map`, when not that map itself */
		const struct skep_btf *btf; /* BTF: skep's or the program's */
	};
	union {
		uint32_t map_uid; /* which lookup of an inner map it came from */
		uint32_t iter_drained; /* ITER: it is at its end */
	};
	uint32_t id; /* equal ids: same value (scalars), same lookup (or null) */
	uint32_t ref; /* reference that must be given back */
	uint32_t def32; /* 1 + instruction that wrote only 32 bits of it, else 0 */
	uint32_t origin; /* instruction that made the value: for explanations */
	bool precise; /* only in states without precision tracking */
	struct skep_scalar s; /* the number; of pointers: the variable part */
};

/* What a byte of the stack holds. */
enum vkind { V_INVALID, V_SPILL, V_MISC, V_ZERO, V_DYNPTR_SLOT, V_ITER_SLOT };

/* Eight bytes; kind[k] is the byte at fp - 8 * slot - k - 1. */
struct vslot {
	struct vreg reg; /* valid if kind[7] is V_SPILL, or an object of the stack */
	uint8_t kind[8];
};

struct vstack {
	uint32_t refs;
	uint32_t n, cap;
	struct vstack *next; /* free list */
	struct vslot slot[];
};

struct vframe {
	uint32_t refs;
	int32_t callsite; /* instruction of the call, V_MAIN */
	uint32_t subprog;
	uint32_t frameno;
	bool callback; /* a helper calls it */
	bool async; /* it runs later, called by nobody in this state */
	uint32_t async_round; /* how many of those were entered on the way here */
	bool cb_ret_any; /* callback: the range of its result is not checked */
	int32_t cb_min, cb_max;
	uint32_t cb_depth;
	struct vstack *stack;
	struct vframe *next; /* free list */
	struct vreg reg[V_REGS];
};

enum vref_kind { V_REF_PTR = 1, V_REF_LOCK };
struct vref {
	uint32_t id;
	uint32_t insn;
	uint32_t kind;
	const void *ptr; /* lock: what object it lies in */
};
struct vrefs {
	uint32_t refs; /* sharing */
	uint32_t n; /* entries, locks included */
	uint32_t nrefs; /* references to objects */
	struct vref r[];
};

#define V_HIST_STACK   0x1u /* instruction touched the stack: slot and frame below */
#define V_HIST_DST_PTR 0x2u /* jump: its operands point to the stack */
#define V_HIST_SRC_PTR 0x4u

struct vhist {
	uint32_t idx, prev;
	uint32_t flags;
	uint8_t slot, frame;
	uint8_t nlinked; /* registers and slots whose values moved together */
	struct {
		uint8_t frame, spi; /* spi: register, or slot with is_slot */
		bool is_slot;
	} linked[6];
};

struct vstate {
	struct vframe *frame[V_FRAMES];
	uint32_t curframe;
	struct vrefs *refs; /* NULL: none */
	uint32_t nlocks;
	uint32_t lock_id;
	const void *lock_ptr;
	bool rcu; /* inside bpf_rcu_read_lock */
	struct vstate *parent;
	uint32_t branches; /* paths that start here and are still open */
	uint32_t insn, first_insn, last_insn;
	uint32_t depth;
	uint32_t cb_unroll, may_goto;
	bool speculative, cleaned, evicted;
	/* Where the path entered the cycle it is in; that state collects the ways back. */
	struct vstate *loop;
	struct vback *backs;
	struct vhist *hist;
	uint32_t nhist, cap_hist;
	uint16_t preg[V_FRAMES]; /* registers that must be known precisely ... */
	uint64_t pslot[V_FRAMES]; /* ... and spilled ones */
	uint32_t hit, miss;
	struct vstate *next; /* explored list; evicted list; free list */
	struct vstate **link; /* evicted: what points to it */
};

/* A path that ended because it came to a state that is still being walked. */
struct vback {
	struct vstate *old, *cur;
	struct vback *next;
};

/* A path still to walk. */
struct vtodo {
	struct vstate *st;
	uint32_t insn, prev;
	uint64_t log_pos;
	struct vtodo *next;
};

/* Facts about an instruction that walking does not change. */
#define V_PRUNE     0x01u /* states are compared here */
#define V_JUMP      0x02u /* reached not only from the instruction before */
#define V_FORCE     0x04u /* always remember a state here */
#define V_CALLBACKS 0x08u /* calls a helper that calls back */
#define V_OWN_CYCLE 0x80000000u /* in vinsn.scc: a call that calls back, on no other cycle */
#define V_SECOND    0x10u /* second slot of a 64-bit load */
#define V_ITER_NEXT 0x40u /* steps an iterator */
#define V_FAST_PAIR 0x20u /* saves or restores a register around a call (fastcall.c) */

struct vinsn {
	uint8_t flags;
	uint8_t ptr_type; /* type of the address operand seen so far, for mixing */
	uint16_t ptr_flags;
	uint16_t live; /* registers live before it */
	uint32_t scc; /* its cycle, 0: none */
	uint32_t subprog;
	uint8_t ways; /* jump: 1 went on below, 2 jumped */
	bool loop_seen; /* bpf_loop: loop_inline says something */
	uint8_t mask; /* addition by an unprivileged program: how it is masked, and ... */
	uint32_t mask_limit; /* ... how far (sanitize.c) */
	uint8_t fast_pairs; /* call: saves before it and restores behind that may go */
};

struct vsubprog {
	uint32_t start, end;
	uint32_t stack; /* bytes used */
	uint32_t name_off;
	uint32_t type_id; /* of its BTF function, 0 */
	int32_t fast_off; /* slots from here on down are only for saves around calls */
	bool keep_fast_stack; /* some of those saves stay */
	bool has_tail_call, has_ld_abs, is_cb, is_async, tail_call_reachable;
	bool global;
	bool called; /* global: called by verified code */
	bool verified;
	bool changes_pkt;
	bool args_done;
	int args_err;
	uint32_t nargs;
	struct {
		uint8_t kind;
		bool nullable;
		uint32_t size;
	} args[5];
};

enum vwhy { /* classes of faults, for the explanation (explain.c) */
	    W_OTHER,
	    W_UNINIT,
	    W_NULL,
	    W_BOUNDS_MAP,
	    W_BOUNDS_STACK,
	    W_BOUNDS_PACKET,
	    W_BOUNDS_MEM,
	    W_CTX,
	    W_RDONLY,
	    W_ALIGN,
	    W_PTR_ARITH,
	    W_PTR_BITS,
	    W_UNBOUNDED,
	    W_LEAK,
	    W_REF,
	    W_LOCK,
	    W_RETURN,
	    W_HELPER,
	    W_GPL,
	    W_ARG_TYPE,
	    W_LOOP,
	    W_TOO_LARGE,
	    W_TOO_COMPLEX,
	    W_STACK_DEPTH,
	    W_CFG,
	    W_INSN,
	    W_CALL,
	    W_MAP,
	    W_MEMORY,
	    W_TYPE,
	    W_NWHY,
};

/* For tests, which set it in struct skep: sees each state before its instruction is
 * walked. exact: all numbers and slots count when states are compared, so that every
 * state that a run can be in lies in one that was walked. */
struct skep_verify_watch {
	void (*state)(void *arg, const struct venv *env, const struct vstate *st, uint32_t insn);
	void *arg;
	bool exact;
};

/* Memory that is given back all at once, at the end. */
struct vslab {
	struct vslab *next;
	uint32_t used, cap, size;
	_Alignas(16) char data[];
};

struct vpool {
	struct vframe *frames;
	struct vstate *states;
	struct vstack *stacks[4]; /* by capacity class */
	struct vslab *frame_slabs, *state_slabs, *stack_slabs[4];
};

struct vlive;

struct venv {
	struct skep_prog *prog;
	const struct skep_verify_in *in;
	struct skep_log *log;
	const struct bpf_insn *insns;
	uint32_t n;
	bool priv; /* pointers may be printed, loops, uninitialised stack */
	struct vinsn *aux;
	uint16_t *touches; /* by instruction: for precise.c */
	struct skep_aux *out;
	struct vsubprog *subs;
	uint32_t nsubs, cap_subs;
	struct skep_map **maps;
	uint32_t nmaps, cap_maps;

	struct vstate *cur;
	struct vtodo *todo;
	uint32_t ntodo;
	struct vtodo *free_todo;
	struct vstate **explored; /* by hash of instruction and call site */
	struct vstate *evicted; /* no more compared with, but paths or loops build on them */
	struct vpool pool;
	uint32_t insn, prev;
	uint32_t next_id;
	uint32_t tmp_id;
	bool print_state; /* the next instruction begins a path */
	uint16_t scratched;
	uint64_t scratched_slots;
	uint64_t prev_log_pos, prev_insn_pos;
	const void *prev_line;
	int32_t hist_at; /* entry of the current instruction, -1 */
	bool seen_direct_write;
	bool masks; /* numbers are masked: equal ones only are the same */
	uint32_t max_pkt_off;
	struct vlive *live;
	uint32_t *order; /* instructions in post-order */
	uint32_t norder;
	uint32_t *sub_order; /* index in order where a subprogram's part begins */

	/* statistics */
	uint32_t processed, jmps, prev_processed, prev_jmps;
	uint32_t total_states, peak_states, explored_states, free_states, max_per_insn, nbacks;
	uint32_t depth; /* deepest chain of stack frames */

	/* the fault */
	enum vwhy why;
	uint32_t why_insn;
	int why_reg;
	uint32_t leak_insn;
	char msg[256];
	int err;

	/* Pairs of ids while two states are compared. */
	struct {
		uint32_t old, cur;
	} idmap[600];
	uint32_t nidmap;

	const struct skep_verify_watch *watch;
};

/* ---- state.c ---- */
struct vstate *skep_v_state_new(struct venv *env);
struct vstate *skep_v_state_copy(struct venv *env, const struct vstate *src, bool hist);
void skep_v_state_free(struct venv *env, struct vstate *st);
struct vframe *skep_v_frame_new(struct venv *env, int32_t callsite, uint32_t frameno,
				uint32_t subprog);
void skep_v_frame_put(struct venv *env, struct vframe *f);
/* The frame for writing: copied first if it is shared. NULL: out of memory. */
struct vframe *skep_v_frame_mut(struct venv *env, struct vstate *st, uint32_t i);
/* The same for a frame's stack, grown to hold slot (0-based). */
struct vstack *skep_v_stack_mut(struct venv *env, struct vstate *st, uint32_t frame, uint32_t slot);
int skep_v_ref_add(struct venv *env, struct vstate *st, uint32_t id, enum vref_kind kind,
		   const void *ptr);
int skep_v_ref_del(struct venv *env, struct vstate *st, uint32_t i);
void skep_v_pool_free(struct venv *env);

/* Applies apply to all registers and spilled registers of st that match. */
int skep_v_each_reg(struct venv *env, struct vstate *st,
		    bool (*match)(const struct vreg *, const void *),
		    void (*apply)(struct vreg *, const void *), const void *arg);

static inline const struct vframe *v_frame(const struct vstate *st)
{
	return st->frame[st->curframe];
}
static inline const struct vreg *v_reg(const struct venv *env, uint32_t r)
{
	return &env->cur->frame[env->cur->curframe]->reg[r];
}
/* A register of the current frame for writing. */
struct vreg *skep_v_reg(struct venv *env, uint32_t r);
void skep_v_reg_unknown(struct vreg *r);
void skep_v_reg_const(struct vreg *r, uint64_t v);
void skep_v_reg_invalid(struct vreg *r);
void skep_v_reg_zero_ptr(struct vreg *r, enum vtype type);
static inline bool v_is_const(const struct vreg *r)
{
	return skep_scalar_is_const(&r->s);
}
static inline bool v_is_scalar(const struct vreg *r)
{
	return r->type == V_SCALAR;
}
/* Known NULL: a scalar that is 0. */
static inline bool v_is_null(const struct vreg *r)
{
	return r->type == V_SCALAR && v_is_const(r) && r->s.bits.value == 0;
}
static inline bool v_is_pkt(const struct vreg *r)
{
	return r->type == V_PKT || r->type == V_PKT_META;
}
const struct skep_map *skep_v_map(const struct venv *env, const struct vreg *r);

/* ---- verify.c ---- */
int skep_v_refuse(struct venv *env, int err, enum vwhy why, int reg, const char *fmt, ...)
	__attribute__((format(printf, 5, 6)));
void skep_v_log(struct venv *env, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* ---- cfg.c, live.c ---- */
int skep_v_find_subprogs(struct venv *env);
int skep_v_check_subprogs(struct venv *env);
int skep_v_resolve_loads(struct venv *env);
int skep_v_check_cfg(struct venv *env);
int skep_v_check_stack_depth(struct venv *env);
int skep_v_subprog_at(const struct venv *env, uint32_t insn);
int skep_v_live_regs(struct venv *env);
int skep_v_sccs(struct venv *env);
/* Instructions that may run after insn: 0 to 2. */
unsigned skep_v_succ(const struct venv *env, uint32_t insn, uint32_t succ[2]);

/* ---- print.c ---- */
void skep_v_print_state(struct venv *env, const struct vstate *st, uint32_t frame, bool all);
void skep_v_print_insn_state(struct venv *env, const struct vstate *st, uint32_t frame);
void skep_v_print_insn(struct venv *env, uint32_t insn);
void skep_v_print_line(struct venv *env, uint32_t insn);
const char *skep_v_type_name(const struct vreg *r, char buf[64]);
const char *skep_v_dynptr_name(uint32_t dyn);
const char *skep_v_tnum(struct skep_tnum t, char buf[64]);

/* ---- step.c ---- */
int skep_v_walk(struct venv *env);
struct vstate *skep_v_push(struct venv *env, uint32_t insn, uint32_t prev);
/* The same for a state made by the caller, which owns it no more; too_many has a %u. */
struct vstate *skep_v_push_state(struct venv *env, struct vstate *st, uint32_t insn, uint32_t prev,
				 const char *too_many);
int skep_v_read_reg(struct venv *env, uint32_t r, bool is64);
int skep_v_check_ids(struct venv *env);
int skep_v_hist_push(struct venv *env, struct vstate *st, uint32_t flags, int slot, int frame,
		     const struct vhist *linked);

/* ---- alu.c ---- */
int skep_v_alu(struct venv *env, const struct bpf_insn *in);

/* ---- mem.c ---- */
enum vacc { V_READ = 1, V_WRITE = 2 };
/* insn accesses size bytes at reg r + off. value: register stored or loaded to, -1. */
int skep_v_access(struct venv *env, uint32_t insn, int r, int off, int size, enum vacc acc,
		  int value, bool strict, bool sx);
/* Helper argument: size bytes at register r are read (acc), or written. */
int skep_v_mem_arg(struct venv *env, int r, int size, enum vacc acc, bool zero_ok, bool uninit);
int skep_v_stack_range(struct venv *env, int r, int off, int size, enum vacc acc, bool uninit,
		       bool helper);
int skep_v_atomic(struct venv *env, const struct bpf_insn *in);
int skep_v_ptr_reg_off(struct venv *env, const struct vreg *reg, int r, bool fixed_ok);

/* ---- jump.c ---- */
int skep_v_jump(struct venv *env, const struct bpf_insn *in, uint32_t *next);
void skep_v_invalidate_pkts(struct venv *env);
/* Forgets all registers and slots that hold what reference ref gave. */
void skep_v_drop_ref_regs(struct venv *env, uint32_t ref);

/* ---- call.c, subprog.c ---- */
int skep_v_helper(struct venv *env, const struct bpf_insn *in, uint32_t *next);
int skep_v_call(struct venv *env, const struct bpf_insn *in, uint32_t *next);
/* kfunc.c: the function that a call names, before walking; the call itself. */
int skep_v_resolve_kfunc(struct venv *env, uint32_t insn);
int skep_v_kfunc(struct venv *env, const struct bpf_insn *in, uint32_t *next);
int skep_v_check_kfuncs(struct venv *env);
const char *skep_v_kfunc_name(const struct venv *env, const struct bpf_insn *in);
/* Parameters that the kfunc called at insn has. */
unsigned skep_v_kfunc_nargs(const struct venv *env, uint32_t insn);
int skep_v_callback(struct venv *env, const struct bpf_insn *in, uint32_t subprog, uint32_t *next,
		    int (*enter)(struct venv *env, const struct vframe *caller,
				 struct vframe *callee));
int skep_v_exit(struct venv *env, uint32_t *next, bool *done);
int skep_v_ld_abs(struct venv *env, const struct bpf_insn *in, uint32_t *next);
int skep_v_check_leaks(struct venv *env, bool check_lock, const char *what);
/* Global functions: their arguments by BTF, what a caller passes, what they may rely on. */
int skep_v_sub_args(struct venv *env, uint32_t subprog);
int skep_v_pass_args(struct venv *env, uint32_t subprog);
int skep_v_take_args(struct venv *env, uint32_t subprog);
/* Whether type id of btf is the context of the program's type, as sources name it. */
bool skep_v_is_ctx_type(const struct venv *env, const struct skep_btf *btf, uint32_t id);
/* The structure of skep's BTF that stands for the kernel's own context, or -errno. */
int skep_v_kern_ctx(struct venv *env);
void skep_v_find_pkt_changes(struct venv *env);
/* Leaves the current frame as if its function returned here; *next: where to. */
int skep_v_leave_frame(struct venv *env, uint32_t *next);
int skep_v_check_return(struct venv *env);

/* ---- prune.c ---- */
/* 1: a state like the current one was verified before; 0: go on; -errno. */
int skep_v_visited(struct venv *env, uint32_t insn);
void skep_v_branch_done(struct venv *env, struct vstate *st);

/* ---- precise.c ---- */
/* Once all instructions are resolved, before the first of those below: 0 or -ENOMEM. */
int skep_v_precise_prepare(struct venv *env);
int skep_v_precise(struct venv *env, int reg);
int skep_v_precise_stack(struct venv *env, uint32_t frame, uint32_t spi);
/* What must be precise in old must be so in st, which old stands for. *changed may be NULL. */
int skep_v_precise_from(struct venv *env, const struct vstate *old, struct vstate *st,
			bool *changed);
/* Forgets numbers of st that differ from those of the last round of the loop through insn:
 * those of the newest state there that is still walked and was made before depth. */
int skep_v_widen(struct venv *env, struct vstate *st, uint32_t insn, uint32_t depth);

/* ---- stacklive.c ---- */
int skep_v_live_init(struct venv *env);
void skep_v_live_free(struct venv *env);
int skep_v_live_read(struct venv *env, uint32_t frame, uint64_t slots);
int skep_v_live_write(struct venv *env, uint32_t frame, uint64_t slots);
/* Around each instruction that may touch memory. */
void skep_v_live_begin(struct venv *env);
int skep_v_live_commit(struct venv *env, const struct vstate *st, uint32_t insn);
int skep_v_live_update(struct venv *env);
/* Slots of frame that may be read from here on, in a state stored earlier. */
uint64_t skep_v_live_slots(struct venv *env, const struct vstate *st, uint32_t frame);

/* ---- fastcall.c ---- */
void skep_v_fastcall_find(struct venv *env);
/* The current instruction touches the stack of frame, at off and above. */
void skep_v_fastcall_touch(struct venv *env, uint32_t frame, int64_t off);
/* Leaves out what nobody touched, once everything was walked. */
void skep_v_fastcall_remove(struct venv *env);

/* ---- explain.c ---- */
void skep_v_explain(struct venv *env, int err);

/* Maps whose elements are sockets, with references, for programs. */
static inline bool skep_v_is_sockmap(const struct skep_map *map)
{
	return map->type == BPF_MAP_TYPE_SOCKMAP || map->type == BPF_MAP_TYPE_SOCKHASH;
}

#endif
