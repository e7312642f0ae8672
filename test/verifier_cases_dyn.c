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

/* fp-16: a dynptr over the 48 bytes of map 2; a reserved record of 16 bytes. */
#define FROM_MEM "r1 = value 2 +0 ll; r2 = 48; r3 = 0; r4 = r10; r4 += -16; call dynptr_from_mem;"
#define RESERVE_AT(fp)                                                                             \
	"r1 = map 4 ll; r2 = 16; r3 = 0; r4 = r10; r4 += " fp "; call ringbuf_reserve_dynptr;"
#define RESERVE       RESERVE_AT("-16")
#define SUBMIT_AT(fp) "r1 = r10; r1 += " fp "; r2 = 0; call ringbuf_submit_dynptr;"
#define SUBMIT        SUBMIT_AT("-16")
#define DISCARD       "r1 = r10; r1 += -16; r2 = 0; call ringbuf_discard_dynptr;"
#define DATA(off, n)  "r1 = r10; r1 += -16; r2 = " off "; r3 = " n "; call dynptr_data;"
#define READ(n)                                                                                    \
	"r1 = r10; r1 += -40; r2 = " n "; r3 = r10; r3 += -16; r4 = 0; r5 = 0; call dynptr_read;"
#define WRITE(n)                                                                                   \
	"r1 = r10; r1 += -16; r2 = 0; r3 = r10; r3 += -40; r4 = " n "; r5 = 0; call dynptr_write;"
#define END "r0 = 0; exit"
/* r6: the timer of map 14's first value. */
#define FIND                                                                                       \
	"*(u32 *)(r10 -4) = 0; r2 = r10; r2 += -4; r1 = map 14 ll; call map_lookup_elem; if r0 "   \
	"!= 0 goto "                                                                               \
	"f1; r0 = 0; exit; f1: r6 = r0; r6 += 8;"
#define INIT     "r1 = r6; r2 = map 14 ll; r3 = 1; call timer_init;"
#define SET      "r1 = r6; r2 = func f ll; call timer_set_callback;"
#define START    "r1 = r6; r2 = 1000; r3 = 0; call timer_start;"
#define CB(text) "; f:" text
#define FN       .funcs = {3, 4}

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

	/* ---- Dynptrs ---- */
	XDP("dynptr: of a map value", FROM_MEM END),
	XDP("dynptr: submit", RESERVE SUBMIT END),
	XDP("dynptr: discard", RESERVE DISCARD END),
	XDP("dynptr: leaked", RESERVE END),
	XDP("dynptr: submitted twice", RESERVE SUBMIT SUBMIT END),
	XDP("dynptr: submit local", FROM_MEM SUBMIT END),
	XDP("dynptr: submit nothing", SUBMIT END),
	XDP("dynptr: submit second half", RESERVE SUBMIT_AT("-8") END),
	XDP("dynptr: submit next to it", RESERVE SUBMIT_AT("-24") END),
	XDP("dynptr: at an odd offset", RESERVE_AT("-20") END),
	XDP("dynptr: over the top", RESERVE_AT("-8") END),
	XDP("dynptr: above the frame", RESERVE_AT("0") END),
	XDP("dynptr: below the stack", RESERVE_AT("-520") END),
	XDP("dynptr: at the bottom", RESERVE_AT("-512") SUBMIT_AT("-512") END),
	XDP("dynptr: variable offset",
	    ANY "r0 &= 8; r4 = r10; r4 += -32; r4 += r0; r1 = map 4 ll; r2 = 16; r3 = 0; call "
		"ringbuf_reserve_dynptr;" END),
	XDP("dynptr: in a map value",
	    "r1 = map 4 ll; r2 = 16; r3 = 0; r4 = value 2 +0 ll; call ringbuf_reserve_dynptr;" END),
	XDP("dynptr: wrong map", "r1 = map 0 ll; r2 = 16; r3 = 0; r4 = r10; r4 += -16; call "
				 "ringbuf_reserve_dynptr;" SUBMIT END),
	XDP("dynptr: of unknown size",
	    ANY "r2 = r0; r1 = map 4 ll; r3 = 0; r4 = r10; r4 += -16; call "
		"ringbuf_reserve_dynptr;" SUBMIT END),
	XDP("dynptr: of the stack",
	    "*(u64 *)(r10 -40) = 0; r1 = r10; r1 += -40; r2 = 8; r3 = 0; r4 = r10; r4 += -16; call "
	    "dynptr_from_mem;" END),
	XDP("dynptr: of a packet",
	    "r2 = *(u32 *)(r1 +0); r3 = *(u32 *)(r1 +4); r4 = r2; r4 += 14; if r4 > r3 goto e; r1 "
	    "= "
	    "r2; r2 = 14; r3 = 0; r4 = r10; r4 += -16; call dynptr_from_mem; e:" END),
	XDP("dynptr: beyond the map value",
	    "r1 = value 2 +0 ll; r2 = 49; r3 = 0; r4 = r10; r4 += -16; call dynptr_from_mem;" END),
	XDP("dynptr: of a read-only map",
	    "r1 = value 5 +0 ll; r2 = 8; r3 = 0; r4 = r10; r4 += -16; call dynptr_from_mem;" END),
	XDP("dynptr: overwritten, local", FROM_MEM "*(u64 *)(r10 -16) = 0;" END),
	XDP("dynptr: overwritten, used", FROM_MEM "*(u64 *)(r10 -16) = 0;" READ("8") END),
	XDP("dynptr: second half overwritten", FROM_MEM "*(u8 *)(r10 -1) = 0;" READ("8") END),
	XDP("dynptr: overwritten, ringbuf", RESERVE "*(u64 *)(r10 -8) = 0;" SUBMIT END),
	XDP("dynptr: overwritten by register",
	    RESERVE "r1 = 0; *(u64 *)(r10 -16) = r1;" SUBMIT END),
	XDP("dynptr: overwritten at a variable offset",
	    RESERVE ANY "r0 &= 8; r1 = r10; r1 += -24; r1 += r0; *(u8 *)(r1 +0) = 0;" SUBMIT END),
	XDP("dynptr: overwritten at a variable offset, local",
	    FROM_MEM ANY "r0 &= 8; r1 = r10; r1 += -24; r1 += r0; *(u8 *)(r1 +0) = 0;" END),
	XDP("dynptr: overwritten by a helper",
	    FROM_MEM "r1 = r10; r1 += -16; r2 = 16; call get_current_comm;" END),
	XDP("dynptr: overwritten by a second", FROM_MEM FROM_MEM READ("8") END),
	XDP("dynptr: ringbuf overwritten by a second", RESERVE FROM_MEM END),
	XDP("dynptr: two overlap",
	    FROM_MEM "r1 = value 2 +0 ll; r2 = 8; r3 = 0; r4 = r10; r4 += -24; call "
		     "dynptr_from_mem;" READ("8") END),
	XDP("dynptr: read directly", FROM_MEM "r0 = *(u64 *)(r10 -16); exit"),
	XDP("dynptr: read directly, a byte", FROM_MEM "r0 = *(u8 *)(r10 -1); exit"),
	XDP("dynptr: read directly, variable offset",
	    "*(u64 *)(r10 -24) = 0;" FROM_MEM ANY
	    "r0 &= 8; r1 = r10; r1 += -24; r1 += r0; r0 = *(u8 *)(r1 +0); exit"),
	XDP("dynptr: read by a helper",
	    FROM_MEM "r1 = map 9 ll; r2 = r10; r2 += -8; r3 = 0; call map_push_elem;" END),
	XDP("dynptr: slice",
	    FROM_MEM DATA("0", "8") "if r0 == 0 goto e; *(u64 *)(r0 +0) = 1; e:" END),
	XDP("dynptr: slice, end",
	    FROM_MEM DATA("0", "8") "if r0 == 0 goto e; *(u8 *)(r0 +7) = 1; e:" END),
	XDP("dynptr: slice, beyond",
	    FROM_MEM DATA("0", "8") "if r0 == 0 goto e; *(u8 *)(r0 +8) = 1; e:" END),
	XDP("dynptr: slice, before",
	    FROM_MEM DATA("0", "8") "if r0 == 0 goto e; *(u8 *)(r0 -1) = 1; e:" END),
	XDP("dynptr: slice, unchecked", FROM_MEM DATA("0", "8") "*(u64 *)(r0 +0) = 1;" END),
	XDP("dynptr: slice of no size",
	    FROM_MEM DATA("0", "0") "if r0 == 0 goto e; r0 = *(u8 *)(r0 +0); e:" END),
	XDP("dynptr: slice of unknown size",
	    FROM_MEM ANY "r1 = r10; r1 += -16; r2 = 0; r3 = r0; call dynptr_data;" END),
	XDP("dynptr: slice at unknown offset", FROM_MEM ANY
	    "r1 = r10; r1 += -16; r2 = r0; r3 = 4; call dynptr_data; if r0 == 0 goto e; "
	    "r0 = *(u32 *)(r0 +0); e:" END),
	XDP("dynptr: slice after the dynptr is gone",
	    FROM_MEM DATA("0",
			  "8") "if r0 == 0 goto e; *(u64 *)(r10 -16) = 0; r0 = *(u8 *)(r0 +0); "
			       "e:" END),
	XDP("dynptr: slice in a slot, after the dynptr is gone",
	    FROM_MEM DATA("0",
			  "8") "if r0 == 0 goto e; *(u64 *)(r10 -24) = r0; *(u64 *)(r10 -16) = 0; "
			       "r1 = *(u64 *)(r10 -24); r0 = *(u8 *)(r1 +0); e:" END),
	XDP("dynptr: slice of a record",
	    RESERVE DATA("0", "8") "if r0 == 0 goto e; *(u64 *)(r0 +0) = 1; e:" SUBMIT END),
	XDP("dynptr: slice after submit",
	    RESERVE DATA("0", "8") "r6 = r0; if r0 == 0 goto e; e:" SUBMIT
				   "if r6 == 0 goto f; r0 = *(u8 *)(r6 +0); f:" END),
	XDP("dynptr: slice after submit, checked before",
	    RESERVE DATA("0", "8") "if r0 != 0 goto g;" SUBMIT "goto e; g: r6 = r0;" SUBMIT
				   "r0 = *(u8 *)(r6 +0); e:" END),
	XDP("dynptr: slice given to submit",
	    RESERVE DATA("0", "8") "if r0 == 0 goto e; r1 = r0; r2 = 0; call ringbuf_submit; "
				   "e:" SUBMIT END),
	XDP("dynptr: data of nothing", DATA("0", "8") END),
	XDP("dynptr: read", FROM_MEM READ("8") "r0 = *(u64 *)(r10 -40); exit"),
	XDP("dynptr: read into itself",
	    FROM_MEM "r1 = r10; r1 += -24; r2 = 16; r3 = r10; r3 += -16; r4 = 0; r5 = 0; call "
		     "dynptr_read;" END),
	XDP("dynptr: read of nothing", READ("8") END),
	XDP("dynptr: read of the second half",
	    FROM_MEM "r1 = r10; r1 += -40; r2 = 8; r3 = r10; r3 += -8; r4 = 0; r5 = 0; call "
		     "dynptr_read;" END),
	XDP("dynptr: read of a number",
	    "r1 = r10; r1 += -40; r2 = 8; r3 = 1; r4 = 0; r5 = 0; call dynptr_read;" END),
	XDP("dynptr: write", "*(u64 *)(r10 -40) = 7;" FROM_MEM WRITE("8") END),
	XDP("dynptr: write after submit", "*(u64 *)(r10 -40) = 7;" RESERVE SUBMIT WRITE("8") END),
	XDP("dynptr: write a record", "*(u64 *)(r10 -40) = 7;" RESERVE WRITE("8") SUBMIT END),
	XDP("dynptr: writes from a dynptr",
	    FROM_MEM "r1 = r10; r1 += -16; r2 = 0; r3 = r10; r3 += -8; r4 = "
		     "8; r5 = 0; call dynptr_write;" END),
	XDP("dynptr: in a function",
	    RESERVE "r1 = r10; r1 += -16; call :f;" END
		    "; f: r2 = 0; call ringbuf_submit_dynptr; r0 = 0; exit"),
	XDP("dynptr: made in a function",
	    "*(u64 *)(r10 -8) = 0; *(u64 *)(r10 -16) = 0; r1 = r10; r1 += -16; call :f;" SUBMIT END
	    "; f: r4 = r1; r1 = map 4 ll; r2 = 16; r3 = 0; call ringbuf_reserve_dynptr; r0 = 0; "
	    "exit"),
	XDP("dynptr: kept by a function that returns",
	    "call :f;" END "; f:" RESERVE "r0 = 0; exit"),
	XDP("dynptr: on one of two paths", ANY "if r0 == 0 goto l;" FROM_MEM "l:" READ("8") END),
	XDP("dynptr: of two kinds",
	    ANY "if r0 == 0 goto l;" FROM_MEM "goto m; l:" RESERVE "m:" DISCARD END),
	XDP("dynptr: two paths join",
	    ANY "r6 = r0;" FROM_MEM
		"if r6 == 0 goto l; r7 = 1; l: if r6 == 1 goto m; r7 = 2; m: if r6 == 2 "
		"goto n; r7 = 3; n:" READ("8") END),
	XDP("dynptr: reserved in a loop",
	    "r6 = 0; l:" RESERVE SUBMIT "r6 += 1; if r6 < 5 goto l;" END),
	XDP("dynptr: kept in a loop", "r6 = 0; l:" RESERVE "r6 += 1; if r6 < 5 goto l;" SUBMIT END),

	/* ---- Timers: of maps 14 (array) and 15 (hash), at offset 8 of the value ---- */
	XDP("timer: init, set, start, cancel",
	    FIND INIT SET START "r1 = r6; call timer_cancel;" END CB("r0 = 0; exit"), FN),
	XDP("timer: callback uses what it gets",
	    FIND SET END CB(
		    "r4 = *(u32 *)(r2 +0); *(u32 *)(r3 +0) = r4; r1 = r3; r1 += 8; r2 = 1000; r3 = "
		    "0; call timer_start; r0 = 0; exit"),
	    FN),
	XDP("timer: callback looks up",
	    FIND SET END CB(
		    "r2 = r10; r2 += -4; *(u32 *)(r10 -4) = 0; call map_lookup_elem; r0 = 0; exit"),
	    FN),
	XDP("timer: callback sets itself",
	    FIND SET END CB(
		    "r1 = r3; r1 += 8; r2 = func f ll; call timer_set_callback; r0 = 0; exit"),
	    FN),
	XDP("timer: callback returns 1", FIND SET END CB("r0 = 1; exit"), FN),
	XDP("timer: callback returns a number", FIND SET END CB(ANY "exit"), FN),
	XDP("timer: callback returns a pointer", FIND SET END CB("r0 = r3; exit"), FN),
	XDP("timer: callback returns nothing", FIND SET END CB("exit"), FN),
	XDP("timer: callback reads the caller's registers", FIND SET END CB("r0 = r6; exit"), FN),
	XDP("timer: callback reads R4", FIND SET END CB("r0 = r4; exit"), FN),
	XDP("timer: callback writes the key", FIND SET END CB("*(u32 *)(r2 +0) = 1; r0 = 0; exit"),
	    FN),
	XDP("timer: callback writes the timer",
	    FIND SET END CB("*(u32 *)(r3 +8) = 1; r0 = 0; exit"), FN),
	XDP("timer: callback leaks", FIND SET END CB(RESERVE "r0 = 0; exit"), FN),
	XDP("timer: callback loops",
	    FIND SET END CB("r0 = 0; l: r0 += 1; if r0 < 10 goto l; r0 = 0; exit"), FN),
	XDP("timer: callback loops for ever", FIND SET END CB("r0 = 0; l: goto l; exit"), FN),
	XDP("timer: callback with a deep stack",
	    "*(u64 *)(r10 -400) = 0;" FIND SET END CB("*(u64 *)(r10 -400) = 0; r0 = 0; exit"), FN),
	XDP("timer: set in a loop",
	    FIND "r7 = 0; l:" SET "r7 += 1; if r7 < 5 goto l;" END CB("r0 = 0; exit"), FN),
	XDP("timer: wrong offset",
	    FIND "r1 = r6; r1 += 4; r2 = map 14 ll; r3 = 1; call timer_init;" END),
	XDP("timer: start of the value",
	    FIND "r1 = r6; r1 += -8; r2 = map 14 ll; r3 = 1; call timer_init;" END),
	XDP("timer: variable offset",
	    FIND "r1 = r6;" ANY
		 "r0 &= 8; r1 = r6; r1 += r0; r2 = map 14 ll; r3 = 1; call timer_init;" END),
	XDP("timer: another map", FIND "r1 = r6; r2 = map 15 ll; r3 = 1; call timer_init;" END),
	XDP("timer: no map", FIND "r1 = r6; r2 = r6; r3 = 1; call timer_init;" END),
	XDP("timer: map without",
	    "r1 = value 2 +0 ll; r2 = map 2 ll; r3 = 1; call timer_init;" END),
	XDP("timer: map with BTF without",
	    "*(u32 *)(r10 -4) = 0; r2 = r10; r2 += -4; r1 = map 7 ll; call map_lookup_elem; if r0 "
	    "== 0 goto "
	    "e; r1 = r0; r2 = map 7 ll; r3 = 1; call timer_init; e:" END),
	XDP("timer: on the stack",
	    "*(u64 *)(r10 -8) = 0; *(u64 *)(r10 -16) = 0; r1 = r10; r1 += -16; r2 = "
	    "map 14 ll; r3 = 1; call timer_init;" END),
	XDP("timer: unchecked", "*(u32 *)(r10 -4) = 0; r2 = r10; r2 += -4; r1 = map 15 ll; call "
				"map_lookup_elem; r1 = r0; r1 += 8; "
				"r2 = map 15 ll; r3 = 1; call timer_init;" END),
	XDP("timer: no callback", FIND "r1 = r6; r2 = 1; call timer_set_callback;" END),
	XDP("timer: read directly", FIND "r0 = *(u64 *)(r6 +0); exit"),
	XDP("timer: written directly", FIND "*(u64 *)(r6 +8) = 0; r0 = 0; exit"),
	XDP("timer: not GPL", FIND INIT END, .flags = NOT_GPL),
	{.name = "timer: tracing", .type = BPF_PROG_TYPE_TRACEPOINT, .text = FIND INIT END},
	{.name = "timer: socket filter",
	 .type = BPF_PROG_TYPE_SOCKET_FILTER,
	 .text = FIND INIT END},
	{0},
};
