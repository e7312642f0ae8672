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

#define SYSTEM_KEY "r1 = 0; call kfunc bpf_lookup_system_key; "
#define USER_KEY   "r1 = -3; r2 = 0; call kfunc bpf_lookup_user_key; "
#define PUT        "r1 = r0; call kfunc bpf_key_put; "
/* A socket in R0, borrowed and taken: struct __sk_buff.sk is at 168. */
#define SK "r0 = *(u64 *)(r1 +168); if r0 == 0 goto e; "
#define LOOKUP                                                                                     \
	"r2 = 0; *(u64 *)(r10 -16) = r2; *(u64 *)(r10 -8) = r2; r2 = r10; r2 += -16; r3 = 12; "    \
	"r4 = 0; r5 = 0; call skc_lookup_tcp; if r0 == 0 goto e; "

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

	/* ---- References ---- */
	SYSCALL("key: of a user", USER_KEY "if r0 == 0 goto e; " PUT "e: " END),
	SYSCALL("key: of the system", SYSTEM_KEY "if r0 == 0 goto e; " PUT "e: " END),
	SYSCALL("key: not given back", SYSTEM_KEY END),
	SYSCALL("key: not given back on one way",
		SYSTEM_KEY "if r0 == 0 goto e; r0 = *(u8 *)(r0 +8); e: " END),
	SYSCALL("key: given back unchecked", SYSTEM_KEY PUT END),
	SYSCALL("key: given back twice",
		SYSTEM_KEY "if r0 == 0 goto e; r6 = r0; " PUT "r1 = r6; call kfunc bpf_key_put; "
			   "e: " END),
	SYSCALL("key: used when it is gone",
		SYSTEM_KEY "if r0 == 0 goto e; r6 = r0; " PUT "r0 = *(u64 *)(r6 +0); e: " END),
	SYSCALL("key: moved", SYSTEM_KEY "if r0 == 0 goto e; r6 = r0; r0 += 8; " PUT "e: " END),
	SYSCALL("key: put a number", "r1 = 1; call kfunc bpf_key_put; " END),
	SYSCALL("key: put NULL", "r1 = 0; call kfunc bpf_key_put; " END),
	SYSCALL("key: put the context", "call kfunc bpf_key_put; " END),
	SYSCALL("key: put the stack", "r1 = r10; r1 += -16; call kfunc bpf_key_put; " END),
	SYSCALL("key: written", SYSTEM_KEY "if r0 == 0 goto e; *(u64 *)(r0 +0) = 0; e: " END),
	SYSCALL("key: over its end",
		SYSTEM_KEY "if r0 == 0 goto e; r0 = *(u64 *)(r0 +16); e: " END),
	SYSCALL("key: part of a pointer",
		SYSTEM_KEY "if r0 == 0 goto e; r0 = *(u32 *)(r0 +0); e: " END),
	SYSCALL("key: a pointer in it",
		SYSTEM_KEY "if r0 == 0 goto e; r6 = *(u64 *)(r0 +0); " PUT "e: " END),
	SYSCALL("key: on the stack",
		SYSTEM_KEY "*(u64 *)(r10 -8) = r0; if r0 == 0 goto e; r1 = *(u64 *)(r10 -8); "
			   "call kfunc bpf_key_put; e: " END),
	SYSCALL("key: two",
		SYSTEM_KEY "r6 = r0; " SYSTEM_KEY "if r0 == 0 goto e; " PUT
			   "e: if r6 == 0 goto f; r1 = r6; call kfunc bpf_key_put; f: " END),
	SYSCALL("key: in a function",
		"call :f; if r0 == 0 goto e; " PUT "e: " END "; f: " SYSTEM_KEY "exit"),
	SYSCALL("key: in a read side, sleeping", LOCK USER_KEY END),
	TC("key: where it may not sleep", USER_KEY END),
	{.name = "key: for a type that may not",
	 .type = BPF_PROG_TYPE_SOCKET_FILTER,
	 .text = SYSTEM_KEY END},

	/* ---- Maps as structures ---- */
	TC("map: before it", "r1 = map 0 ll; r0 = *(u64 *)(r1 -8); " END),
	TC("map: beyond it", "r1 = map 0 ll; r0 = *(u64 *)(r1 +4000); " END),
	TC("map: written", "r1 = map 0 ll; *(u64 *)(r1 +0) = 1; " END),
	TC("map: written by a register", "r1 = map 0 ll; r2 = 1; *(u32 *)(r1 +64) = r2; " END),
	TC("map: added to", "r1 = map 0 ll; r2 = 1; lock *(u64 *)(r1 +0) += r2; " END),
	TC("map: address moved", "r1 = map 0 ll; r1 += 8; r0 = *(u64 *)(r1 +0); " END),
	TC("map: as memory", "r1 = map 0 ll; r2 = 4; r3 = r1; call trace_printk; " END),
	TC("map: of a hash, beyond", "r1 = map 1 ll; r0 = *(u64 *)(r1 +8000); " END),

	/* ---- Sockets as structures ---- */
	TC("sock: cast", SK "r1 = r0; call skc_to_tcp_sock; if r0 == 0 goto e; "
			    "r0 = *(u64 *)(r0 +0); e: " END),
	TC("sock: cast of the context", "call skc_to_tcp_sock; " END),
	TC("sock: cast unchecked",
	   SK "r1 = r0; call skc_to_tcp6_sock; r0 = *(u64 *)(r0 +0); e: " END),
	TC("sock: cast of a cast", SK "r1 = r0; call skc_to_tcp_sock; if r0 == 0 goto e; "
				      "r1 = r0; call skc_to_udp6_sock; e: " END),
	TC("sock: cast unchecked of a cast", SK "r1 = r0; call skc_to_tcp_sock; "
						"r1 = r0; call skc_to_unix_sock; e: " END),
	TC("sock: full of a cast", SK "r1 = r0; call skc_to_tcp_sock; if r0 == 0 goto e; "
				      "r1 = r0; call sk_fullsock; e: " END),
	TC("sock: a multipath one of a cast",
	   SK "r1 = r0; call skc_to_tcp_sock; if r0 == 0 goto e; "
	      "r1 = r0; call skc_to_mptcp_sock; e: " END),
	TC("sock: a cast written", SK "r1 = r0; call skc_to_tcp_sock; if r0 == 0 goto e; "
				      "*(u64 *)(r0 +0) = 0; e: " END),
	TC("sock: a cast given back", LOOKUP "r1 = r0; r6 = r0; call skc_to_tcp_sock; "
					     "if r0 == 0 goto f; r1 = r0; call sk_release; e: " END
					     "; f: r1 = r6; call sk_release; " END),
	TC("sock: a cast used when it is gone",
	   LOOKUP "r1 = r0; r6 = r0; call skc_to_tcp_sock; r7 = r0; "
		  "r1 = r6; call sk_release; if r7 == 0 goto e; r0 = *(u8 *)(r7 +0); e: " END),
	TC("sock: not GPL",
	   SK "r1 = r0; call skc_to_tcp_sock; if r0 == 0 goto e; "
	      "r0 = *(u64 *)(r0 +0); e: " END,
	   NOT_GPL),
	{.name = NULL},
};
