/* SPDX-License-Identifier: Apache-2.0 */
/* Kfuncs, and pointers to structures that BTF describes. */
#include "verifier_cases.h"

#include <stddef.h>

#define TC(n, t, ...)                                                                              \
	{                                                                                          \
		.name = n, .type = BPF_PROG_TYPE_SCHED_CLS, .text = t, __VA_ARGS__                 \
	}
#define SYSCALL(n, t, ...)                                                                         \
	{                                                                                          \
		.name = n, .type = BPF_PROG_TYPE_SYSCALL, .text = t, __VA_ARGS__                   \
	}
#define LOCK   "call kfunc bpf_rcu_read_lock;"
#define UNLOCK "call kfunc bpf_rcu_read_unlock;"
#define END    "r0 = 0; exit"

const struct vcase vcases_btf[] = {
	/* ---- Calls ---- */
	TC("kfunc: not GPL", LOCK UNLOCK END, NOT_GPL),
	TC("kfunc: number that is no function", "raw 0x85 0 2 0 1;" END),
	TC("kfunc: number beyond all", "raw 0x85 0 2 0 100000000;" END),
	TC("kfunc: negative number", "raw 0x85 0 2 0 -1;" END),
	TC("kfunc: none, reached", "raw 0x85 0 2 0 0;" END),
	TC("kfunc: none, not reached", "r0 = 0; if r0 == 0 goto e; raw 0x85 0 2 0 0; e: " END),
	TC("kfunc: of a module, negative", "raw 0x85 0 2 -1 1;" END),
	TC("kfunc: of a module, no array", "raw 0x85 0 2 1 1;" END),
	TC("kfunc: result of void", LOCK UNLOCK "exit"),

	/* ---- Read sides ---- */
	TC("rcu: locked", LOCK UNLOCK END),
	TC("rcu: not unlocked", LOCK END),
	TC("rcu: unlocked twice", LOCK UNLOCK UNLOCK END),
	TC("rcu: nested", LOCK LOCK UNLOCK END),
	TC("rcu: in one branch",
	   "r6 = r1; " LOCK "r0 = *(u32 *)(r6 +0); if r0 == 0 goto e; " UNLOCK "e: " END),
	TC("rcu: in a function", LOCK "call :f; " UNLOCK END "; f: r0 = 0; exit"),
	TC("rcu: by a function", "call :f; " UNLOCK END "; f: " LOCK "r0 = 0; exit"),
	SYSCALL("rcu: sleeping",
		LOCK "r1 = r10; r1 += -8; r2 = 8; r3 = 0; call copy_from_user; " UNLOCK END),

	/* ---- Casts ---- */
	TC("cast: context", "call kfunc bpf_cast_to_kern_ctx; r0 = 0; exit"),
	TC("cast: no context", "r1 = r10; call kfunc bpf_cast_to_kern_ctx; r0 = 0; exit"),
	TC("cast: a number", "r1 = 1; call kfunc bpf_cast_to_kern_ctx; r0 = 0; exit"),
	TC("cast: context moved", "r1 += 8; call kfunc bpf_cast_to_kern_ctx; r0 = 0; exit"),
	TC("cast: result is not written",
	   "call kfunc bpf_cast_to_kern_ctx; *(u32 *)(r0 +0) = 1; " END),
	TC("cast: result in a number", "call kfunc bpf_cast_to_kern_ctx; r0 &= 1; exit"),
	TC("rdonly: to void", "r2 = 0; call kfunc bpf_rdonly_cast; r0 = *(u32 *)(r0 +0); exit"),
	TC("rdonly: to void, far",
	   "r2 = 0; call kfunc bpf_rdonly_cast; r0 = *(u8 *)(r0 +9999); exit"),
	TC("rdonly: to void, written",
	   "r2 = 0; call kfunc bpf_rdonly_cast; *(u32 *)(r0 +0) = 1; " END),
	TC("rdonly: not constant",
	   "r2 = *(u32 *)(r1 +0); call kfunc bpf_rdonly_cast; r0 = 0; exit"),
	TC("rdonly: to no structure", "r2 = 1; call kfunc bpf_rdonly_cast; r0 = 0; exit"),
	TC("rdonly: no type", "call kfunc bpf_rdonly_cast; r0 = 0; exit"),
	TC("rdonly: a pointer as type", "r2 = r1; call kfunc bpf_rdonly_cast; r0 = 0; exit"),
	TC("rdonly: of a number", "r1 = 1; r2 = 0; call kfunc bpf_rdonly_cast; r0 = 0; exit"),
	TC("rdonly: to void, atomic",
	   "r2 = 0; call kfunc bpf_rdonly_cast; r1 = 1; lock *(u32 *)(r0 +0) += r1; " END),
	{.name = NULL},
};
