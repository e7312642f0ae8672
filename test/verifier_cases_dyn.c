/* SPDX-License-Identifier: Apache-2.0 */
/* Loops that end by themselves, and objects that live in the stack or in map values. */
#include "verifier_cases.h"

#include <stddef.h>

#define XDP(n, t, ...)                                                                             \
	{                                                                                          \
		.name = n, .type = BPF_PROG_TYPE_XDP, .text = t, __VA_ARGS__                       \
	}
#define ANY   "call get_prandom_u32;"
#define ANY64 "r0 = value 2 +0 ll; r0 = *(u64 *)(r0 +0);"

const struct vcase vcases_dyn[] = {
	/* ---- may_goto ---- */
	XDP("may_goto: endless", "r0 = 0; l: may_goto e; goto l; e: exit"),
	XDP("may_goto: counts", "r0 = 0; l: may_goto e; r0 += 1; goto l; e: exit"),
	XDP("may_goto: counts in r6", "r6 = 0; l: may_goto e; r6 += 1; goto l; e: r0 = r6; exit"),
	XDP("may_goto: counter is an index", "r6 = 0; l: may_goto e; if r6 > 7 goto e; r1 = value "
					     "2 +0 ll; r1 += r6; r0 = *(u8 *)(r1 "
					     "+0); r6 += 1; goto l; e: r0 = 0; exit"),
	XDP("may_goto: counter is an index, unchecked",
	    "r6 = 0; l: may_goto e; r1 = value 2 +0 ll; r1 += r6; r0 = *(u8 *)(r1 +0); r6 += 1; "
	    "goto "
	    "l; e: r0 = 0; exit"),
	XDP("may_goto: 47 bytes and one too many", "r6 = 0; l: may_goto e; if r6 > 48 goto e; r1 = "
						   "value 2 +0 ll; r1 += r6; r0 = *(u8 *)(r1 "
						   "+0); r6 += 1; goto l; e: r0 = 0; exit"),
	XDP("may_goto: nowhere", "r0 = 0; may_goto +0; exit"),
	XDP("may_goto: over one", "r0 = 0; may_goto +1; r0 = 1; exit"),
	XDP("may_goto: to itself", "r0 = 0; l: may_goto l; exit"),
	XDP("may_goto: backwards", "r0 = 0; l: r0 += 1; may_goto l; exit"),
	XDP("may_goto: the body is wrong", "r0 = 0; l: may_goto e; r0 = *(u8 *)(r5 +0); e: exit"),
	XDP("may_goto: what follows is wrong", "r6 = 0; l: may_goto e; r6 = 1; goto l; e: exit"),
	XDP("may_goto: counter on the stack", "*(u64 *)(r10 -8) = 0; l: may_goto e; r1 = *(u64 "
					      "*)(r10 -8); r1 += 1; *(u64 *)(r10 -8) = "
					      "r1; goto l; e: r0 = *(u64 *)(r10 -8); exit"),
	XDP("may_goto: two, one in the other", "r6 = 0; l: may_goto e; r7 = 0; m: may_goto f; r7 "
					       "+= 1; r6 += 1; goto m; f: r6 += r7; goto "
					       "l; e: r0 = r6; exit"),
	XDP("may_goto: in a function",
	    "call :f; exit; f: r0 = 0; l: may_goto e; r0 += 1; goto l; e: exit"),
	XDP("may_goto: pointer moves",
	    "r6 = r10; l: may_goto e; r6 += -1; goto l; e: r0 = 0; exit"),
	XDP("may_goto: reads what moved", "*(u64 *)(r10 -8) = 0; r6 = r10; l: may_goto e; r6 += "
					  "-1; r0 = *(u8 *)(r6 +0); goto l; e: "
					  "r0 = 0; exit"),
	XDP("may_goto: reference in a loop",
	    "l: may_goto e; r1 = map 4 ll; r2 = 16; r3 = 0; call ringbuf_reserve; if r0 == 0 goto "
	    "e; "
	    "r1 = r0; r2 = 0; call ringbuf_submit; goto l; e: r0 = 0; exit"),
	XDP("may_goto: reference kept in a loop", "l: may_goto e; r1 = map 4 ll; r2 = 16; r3 = 0; "
						  "call ringbuf_reserve; if r0 == 0 goto e; "
						  "goto l; e: r0 = 0; exit"),
	XDP("may_goto: reserved field imm", "raw 0xe5 0 0 0 1; r0 = 0; exit"),
	XDP("may_goto: reserved field src", "raw 0xe5 0 1 0 0; r0 = 0; exit"),
	XDP("may_goto: 32 bits", "raw 0xe6 0 0 0 0; r0 = 0; exit"),
	XDP("may_goto: by register", "raw 0xed 0 0 0 0; r0 = 0; exit"),
	{0},
};
