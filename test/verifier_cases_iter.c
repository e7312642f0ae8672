/* SPDX-License-Identifier: Apache-2.0 */
/* Open-coded iterators: loops that converge, and the objects on the stack. */
#include "verifier_cases.h"

#include <stddef.h>

#define XDP(n, t, ...)                                                                             \
	{                                                                                          \
		.name = n, .type = BPF_PROG_TYPE_XDP, .text = t, __VA_ARGS__                       \
	}

#define ANY           "call get_prandom_u32;"
#define AT(fp)        "r1 = r10; r1 += " fp ";"
#define NEW(from, to) AT("-8") "r2 = " from "; r3 = " to "; call kfunc bpf_iter_num_new;"
#define NEXT          AT("-8") "call kfunc bpf_iter_num_next;"
#define DESTROY       AT("-8") "call kfunc bpf_iter_num_destroy;"
/* A loop with that body; the number is in R0's memory. */
#define LOOP(body) "l: " NEXT "if r0 == 0 goto e;" body "goto l; e:"
#define END        DESTROY "r0 = 0; exit"
/* R1 = byte R0 of map 2's value of 48 bytes. */
#define BYTE "r1 = value 2 +0 ll; r1 += r0; r1 = *(u8 *)(r1 +0);"

#define BITS(at, words) AT(at) "r2 = value 2 +0 ll; r3 = " words "; call kfunc bpf_iter_bits_new;"
#define BITS_NEXT       AT("-16") "call kfunc bpf_iter_bits_next;"
#define BITS_DESTROY    AT("-16") "call kfunc bpf_iter_bits_destroy;"

const struct vcase vcases_iter[] = {
	/* ---- The object ---- */
	XDP("iter: made and destroyed", NEW("0", "10") END),
	XDP("iter: not destroyed", NEW("0", "10") "r0 = 0; exit"),
	XDP("iter: destroyed twice", NEW("0", "10") DESTROY END),
	XDP("iter: never made, next", NEXT "r0 = 0; exit"),
	XDP("iter: never made, destroy", END),
	XDP("iter: next after destroy", NEW("0", "10") DESTROY NEXT "r0 = 0; exit"),
	XDP("iter: made twice", NEW("0", "10") NEW("0", "10") END),
	XDP("iter: made again", NEW("0", "10") DESTROY NEW("0", "10") END),
	XDP("iter: at an odd offset",
	    AT("-12") "r2 = 0; r3 = 1; call kfunc bpf_iter_num_new; r0 = 0; exit"),
	XDP("iter: above the frame",
	    AT("0") "r2 = 0; r3 = 1; call kfunc bpf_iter_num_new; r0 = 0; exit"),
	XDP("iter: destroyed above the frame",
	    NEW("0", "10") AT("0") "call kfunc bpf_iter_num_destroy; r0 = 0; exit",
	    .differs = "Linux 6.18 takes the eight bytes above the frame for the slot below"),
	XDP("iter: below the stack",
	    AT("-520") "r2 = 0; r3 = 1; call kfunc bpf_iter_num_new; r0 = 0; exit"),
	XDP("iter: variable offset",
	    ANY "r0 &= 8; r1 = r10; r1 += -16; r1 += r0; r2 = 0; r3 = 1; call "
		"kfunc bpf_iter_num_new; r0 = 0; exit"),
	XDP("iter: in a map value",
	    "r1 = value 2 +0 ll; r2 = 0; r3 = 1; call kfunc bpf_iter_num_new; r0 = 0; exit"),
	XDP("iter: a number", "r1 = 0; r2 = 0; r3 = 1; call kfunc bpf_iter_num_new; r0 = 0; exit"),
	XDP("iter: bounds are pointers",
	    AT("-8") "r2 = r10; r3 = 1; call kfunc bpf_iter_num_new;" END),
	XDP("iter: bounds are not set", AT("-8") "call kfunc bpf_iter_num_new;" END),
	XDP("iter: next elsewhere", NEW("0", "10") AT("-16") "call kfunc bpf_iter_num_next;" END),
	XDP("iter: overwritten", NEW("0", "10") "*(u64 *)(r10 -8) = 0; r0 = 0; exit"),
	XDP("iter: overwritten, destroyed", NEW("0", "10") "*(u64 *)(r10 -8) = 0;" END),
	XDP("iter: a byte overwritten", NEW("0", "10") "*(u8 *)(r10 -1) = 0;" END),
	XDP("iter: overwritten by a register", NEW("0", "10") "*(u64 *)(r10 -8) = r10;" END),
	XDP("iter: overwritten at a variable offset",
	    NEW("0", "10") ANY "r0 &= 8; r1 = r10; r1 += -16; r1 += r0; *(u8 *)(r1 +0) = 0;" END),
	XDP("iter: overwritten by a helper",
	    NEW("0", "10") AT("-8") "r2 = 8; call get_current_comm;" END),
	XDP("iter: read directly", NEW("0", "10") "r6 = *(u64 *)(r10 -8);" END),
	XDP("iter: a byte read directly", NEW("0", "10") "r6 = *(u8 *)(r10 -8);" END),
	XDP("iter: read at a variable offset",
	    NEW("0", "10") ANY "r0 &= 8; r1 = r10; r1 += -16; r1 += r0; r6 = *(u8 *)(r1 +0);" END),
	XDP("iter: read by a helper",
	    NEW("0", "10") "r1 = r10; r1 += -8; r2 = 8; r3 = 0; r4 = 0; r5 = "
			   "0; call csum_diff;" END),
	XDP("iter: over a spilled register", "r6 = 1; *(u64 *)(r10 -8) = r6;" NEW("0", "10") END),
	XDP("iter: slot used afterwards",
	    NEW("0", "10") DESTROY "r0 = *(u64 *)(r10 -8); r0 = 0; exit"),
	XDP("iter: element written",
	    NEW("0", "10") NEXT "if r0 == 0 goto e; *(u32 *)(r0 +0) = 1; e:" END),
	XDP("iter: element read, unchecked", NEW("0", "10") NEXT "r0 = *(u32 *)(r0 +0);" END),
	XDP("iter: element too long",
	    NEW("0", "10") NEXT "if r0 == 0 goto e; r6 = *(u64 *)(r0 +0); e:" END),
	XDP("iter: element after destroy", NEW("0", "10") NEXT
	    "r6 = r0; if r6 == 0 goto e; " DESTROY "r0 = *(u32 *)(r6 +0); r0 = 0; exit; e:" END),
	XDP("iter: element after next",
	    NEW("0", "10") NEXT "r6 = r0; " NEXT "if r6 == 0 goto e; r0 = *(u32 *)(r6 +0); e:" END),
	XDP("iter: other kind", NEW("0", "10") BITS_NEXT END),
	XDP("iter: destroyed as another kind", NEW("0", "10") BITS_DESTROY "r0 = 0; exit"),

	/* ---- Loops ---- */
	XDP("iter: loop", NEW("0", "10") LOOP("") END),
	XDP("iter: loop without end condition", NEW("0", "10") "l: " NEXT "goto l;"),
	XDP("iter: loop on the other side", NEW("0", "10") "l: " NEXT "if r0 != 0 goto l;" END),
	XDP("iter: counts", "r6 = 0;" NEW("0", "10") LOOP("r6 += 1;") DESTROY "r0 = r6; exit"),
	XDP("iter: sums", "r6 = 0;" NEW("0", "10") LOOP("r1 = *(u32 *)(r0 +0); r6 += r1;") DESTROY
	    "r0 = r6; exit"),
	XDP("iter: counter on the stack",
	    "*(u64 *)(r10 -16) = 0;" NEW("0", "10")
		    LOOP("r1 = *(u64 *)(r10 -16); r1 += 1; *(u64 *)(r10 -16) = r1;") END),
	XDP("iter: number is an index",
	    NEW("0", "48") LOOP("r0 = *(u32 *)(r0 +0); if r0 > 47 goto e;" BYTE) END),
	XDP("iter: number is an index, unchecked",
	    NEW("0", "48") LOOP("r0 = *(u32 *)(r0 +0);" BYTE) END),
	XDP("iter: counter is an index",
	    "r6 = 0;" NEW("0", "10") LOOP("if r6 > 47 goto e; r0 = r6;" BYTE "r6 += 1;") END),
	XDP("iter: counter is an index, unchecked",
	    "r6 = 0;" NEW("0", "10") LOOP("r0 = r6;" BYTE "r6 += 1;") END),
	XDP("iter: counter is an index behind the loop",
	    "r6 = 0;" NEW("0", "10") LOOP("r6 += 1;") "r0 = r6;" BYTE END),
	XDP("iter: counter is checked behind the loop",
	    "r6 = 0;" NEW("0", "10") LOOP("r6 += 1;") "if r6 > 47 goto x; r0 = r6;" BYTE "x:" END),
	XDP("iter: index set in the loop",
	    "r6 = 0;" NEW("0", "10") LOOP("r0 = r6;" BYTE "r6 = 47;") END),
	XDP("iter: index set in the loop, too large",
	    "r6 = 0;" NEW("0", "10") LOOP("r0 = r6;" BYTE "r6 = 48;") END),
	XDP("iter: index set in the second round, too large",
	    "r6 = 0; r7 = 0;" NEW("0", "10") LOOP("r0 = r6;" BYTE "r6 = r7; r7 = 48;") END),
	XDP("iter: pointer moves", "r6 = r10;" NEW("0", "10") LOOP("r6 += -1;") END),
	XDP("iter: pointer set in the loop",
	    "r6 = 0;" NEW("0", "10")
		    LOOP("if r6 == 0 goto s; r1 = *(u8 *)(r6 +0); s: r6 = value 2 +0 ll;") END),
	XDP("iter: register not set at first",
	    NEW("0", "10") LOOP("r1 = *(u64 *)(r10 -16); r6 = 1;") "r0 = r6;" END),
	XDP("iter: reference kept in the loop",
	    NEW("0", "10")
		    LOOP("r1 = map 4 ll; r2 = 16; r3 = 0; call ringbuf_reserve; if r0 == 0 goto e;")
			    END),
	XDP("iter: reference given back in the loop",
	    NEW("0", "10") LOOP("r1 = map 4 ll; r2 = 16; r3 = 0; call ringbuf_reserve; if r0 == 0 "
				"goto e; r1 = r0; r2 = 0; call ringbuf_submit;") END),
	XDP("iter: left early",
	    NEW("0", "10") LOOP("r0 = *(u32 *)(r0 +0); if r0 == 5 goto e;") END),
	XDP("iter: left early, not destroyed",
	    NEW("0", "10") LOOP("r0 = *(u32 *)(r0 +0); if r0 == 5 goto x;") END
	    "; x: r0 = 0; exit"),
	XDP("iter: two, one in the other",
	    NEW("0", "10") LOOP(AT("-16") "r2 = 0; r3 = 5; call kfunc bpf_iter_num_new; m: " AT(
		    "-16") "call kfunc bpf_iter_num_next; if r0 == 0 goto n; r6 = *(u32 *)(r0 +0); "
			   "goto m; n: " AT("-16") "call kfunc bpf_iter_num_destroy;") END),
	XDP("iter: made in the loop of another, not destroyed",
	    NEW("0", "10") LOOP(AT("-16") "r2 = 0; r3 = 5; call kfunc bpf_iter_num_new;") END),
	XDP("iter: an endless loop within", NEW("0", "10") LOOP("m: r0 += 0; goto m;") END),
	XDP("iter: a counted loop within",
	    NEW("0", "10") LOOP("r7 = 0; m: r7 += 1; if r7 < 5 goto m;") END),
	XDP("iter: steps in a function",
	    NEW("0", "10") "l: r1 = r10; r1 += -8; call :f; if r0 != 0 goto l;" END
			   "; f: call kfunc bpf_iter_num_next; if r0 == 0 goto g; r0 = 1; g: exit"),
	XDP("iter: made by a function", "r1 = r10; r1 += -8; call :f;" LOOP("") END
	    "; f: r2 = 0; r3 = 10; call kfunc bpf_iter_num_new; r0 = 0; exit"),
	XDP("iter: in a function's frame",
	    "call :f; r0 = 0; exit; f:" NEW("0", "10") LOOP("r6 = *(u32 *)(r0 +0);") END),
	XDP("iter: left in a function's frame",
	    "call :f; r0 = 0; exit; f:" NEW("0", "10") "r0 = 0; exit"),
	XDP("iter: may_goto within",
	    NEW("0", "10") LOOP("r6 = 0; m: may_goto n; r6 += 1; goto m; n: r0 = 0;") END),

	/* ---- Bits ---- */
	XDP("bits: loop",
	    BITS("-16", "6") "l: " BITS_NEXT
			     "if r0 == 0 goto e; r6 = *(u32 *)(r0 +0); goto l; e: " BITS_DESTROY
			     "r0 = 0; exit"),
	XDP("bits: not destroyed", BITS("-16", "6") "r0 = 0; exit"),
	XDP("bits: over the top", BITS("-8", "6") "r0 = 0; exit"),
	XDP("bits: second half",
	    BITS("-16", "6") AT("-8") "call kfunc bpf_iter_bits_destroy; r0 = 0; exit"),
	XDP("bits: half overwritten",
	    BITS("-16", "6") "*(u64 *)(r10 -8) = 0;" BITS_DESTROY "r0 = 0; exit"),
	XDP("bits: overlaps another",
	    BITS("-16", "6") BITS("-24", "6") BITS_DESTROY "r0 = 0; exit"),
	XDP("bits: from anywhere",
	    AT("-16") "r2 = 123; r3 = 1; call kfunc bpf_iter_bits_new;" BITS_DESTROY
		      "r0 = 0; exit"),
	{.name = NULL},
};
