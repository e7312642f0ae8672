/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Holes that the kernel's verifier once had, as programs that would go through them.
 * In each, what the wrong proof believed makes the last access look fine.
 */
#include "verifier_cases.h"

#include <stddef.h>

#define XDP .type = BPF_PROG_TYPE_XDP
#define SF  .type = BPF_PROG_TYPE_SOCKET_FILTER
#define FD  .type = BPF_PROG_TYPE_FLOW_DISSECTOR

#define OUT "out: r0 = 1; exit"
/* r0: 48 bytes of a map. */
#define VALUE "r0 = value 2 +0 ll;"
/* r6: any number of 64 bits. */
#define ANY VALUE "r6 = *(u64 *)(r0 +0);"
/* Reads byte r3 of the map's value; the next one lies 48 further. */
#define READ     VALUE "r0 += r3; r0 = *(u8 *)(r0 +0);" OUT
#define RESERVE  "r1 = map 4 ll; r2 = 16; r3 = 0; call ringbuf_reserve;"
#define BTF(...) .funcs = {__VA_ARGS__}

const struct vhole vholes[] = {
	{"CVE-2017-16995",
	 "a 32-bit move of -1 was believed to be -1 in 64 bits",
	 {XDP, .text = "w2 = -1; if r2 != -1 goto bad; r0 = 0; exit; bad: r0 = r9; exit"},
	 "R9 !read_ok",
	 false},
	{"CVE-2017-16996",
	 "the carry out of a 32-bit sum was kept",
	 {XDP, .text = "r2 = 2147483648 ll; w2 += w2; r2 >>= 32; r3 = 1; r3 -= r2; r3 *= 48;" READ},
	 "R0 min value is outside of the allowed memory range",
	 false},
	{"CVE-2017-17852",
	 "a 32-bit difference below zero was believed to be a small negative one",
	 {XDP, .text = ANY "r6 &= 1; w6 -= 1; r3 = r6; r3 += 1;" READ},
	 "R0 unbounded memory access, make sure to bounds check any such access",
	 false},
	{"CVE-2017-17853",
	 "a logical shift kept the sign of the signed range",
	 {XDP, .text = ANY "if r6 s> -1 goto out; if r6 s< -8 goto out; r6 >>= 1; r3 = r6; r3 += "
			   "4;" READ},
	 "math between map_value pointer and register with unbounded min value is not allowed",
	 false},
	{"CVE-2017-17854",
	 "offsets of pointers overflowed",
	 {XDP, .text = VALUE "r0 += 1073741822; r0 += 1073741822; r0 += 1073741822;"
			     "r0 += 1073741830; r0 = *(u8 *)(r0 +0);" OUT},
	 "math between map_value pointer and 1073741822 is not allowed",
	 false},
	{"CVE-2017-17855",
	 "a path with a pointer was pruned by one with a number",
	 {XDP, .text = ANY "r2 = r6; if r6 == 7 goto p; goto m; p: r2 = r10; m: r3 = 0; r4 = 0;"
			   "r2 *= 2;" OUT},
	 "R2 pointer arithmetic with *= operator prohibited",
	 false},
	{"CVE-2017-17856",
	 "the stack was written at addresses that are no slot's",
	 {XDP, .text = "r2 = r10; r2 += -13; r3 = 0; *(u64 *)(r2 +0) = r3; r0 = 0; exit"},
	 "misaligned stack access off 0+-13+0 size 8",
	 false},
	{"CVE-2017-17857",
	 "a helper got stack at an offset that was not known",
	 {XDP, .text = ANY "r2 = r10; r6 &= 1016; r2 += r6; r1 = map 0 ll; call map_lookup_elem;"
			   "r0 = 0; exit"},
	 NULL,
	 true},
	{"CVE-2017-17863",
	 "the offset of a stack pointer wrapped around",
	 {XDP, .text = "r2 = r10; r2 += -1073741824; r2 += -1073741824; r2 += -1073741824;"
		       "r2 += -1073741832; *(u64 *)(r2 +0) = 0; r0 = 0; exit"},
	 "math between fp pointer and -1073741824 is not allowed",
	 false},
	{"CVE-2018-18445",
	 "a 32-bit shift took bits of the upper half",
	 {XDP, .text = "r2 = 8589934592 ll; w2 >>= 31; r3 = 4; r3 -= r2; r3 *= 48;" READ},
	 "R0 min value is outside of the allowed memory range",
	 false},
	{"CVE-2020-8835",
	 "a 32-bit comparison taught bits from bounds of 64",
	 {XDP, .text = ANY "if r6 < 1 goto out; r5 = 137438953473 ll; if r6 > r5 goto out;"
			   "if w6 == 5 goto out; r6 &= 2; r6 >>= 1; r6 *= 48; r3 = r6;" READ},
	 "R0 max value is outside of the allowed memory range",
	 false},
	{"CVE-2020-27194",
	 "OR took its 32-bit range from that of 64 bits",
	 {XDP, .text = ANY "if r6 < 1 goto out; r5 = 25769803778 ll; if r6 > r5 goto out; r6 |= 0;"
			   "w7 = w6; r7 >>= 2; r7 *= 48; r3 = r7;" READ},
	 "R0 unbounded memory access, make sure to bounds check any such access",
	 false},
	{"CVE-2021-3490",
	 "AND of known lower halves left a 32-bit range that was none",
	 {XDP, .text = ANY "r5 = -4294967296 ll; r8 = r6; r8 &= 1; r6 &= r5; r6 += 1;"
			   "r2 = 4294967298 ll; r6 &= r2; r6 += r8; w6 = w6; r3 = 1; r3 -= r6;"
			   "r3 *= 48;" READ},
	 "R0 max value is outside of the allowed memory range",
	 false},
	{"CVE-2021-4204",
	 "a record was given back by a pointer into it",
	 {XDP, .text = RESERVE "if r0 == 0 goto out; r1 = r0; r1 += 8; r2 = 0; call "
			       "ringbuf_submit;" OUT},
	 "R1 must have zero offset when passed to release func or trusted arg to kfunc",
	 false},
	{"CVE-2021-4204",
	 "something that is no record was given back",
	 {XDP, .text = "r1 = value 2 +0 ll; r2 = 0; call ringbuf_submit; r0 = 0; exit"},
	 "R1 type=map_value expected=ringbuf_mem",
	 false},
	{"CVE-2021-31440",
	 "a 64-bit lower bound was taken for one of the lower half",
	 {XDP, .text = ANY "if r6 s< 1 goto out; if w6 s> 1 goto out; w7 = w6; r3 = 1; r3 -= r7;"
			   "r3 *= 48;" READ},
	 "value -206158430112 makes map_value pointer be out of bounds",
	 false},
	{"CVE-2021-34866",
	 "a ring buffer's helper took another map",
	 {XDP, .text = "r1 = map 1 ll; r2 = r10; r2 += -8; *(u64 *)(r10 -8) = 0; r3 = 8; r4 = 0;"
		       "call ringbuf_output; r0 = 0; exit"},
	 "cannot pass map_type 1 into func bpf_ringbuf_output#130",
	 false},
	{"CVE-2021-34866",
	 "a record was reserved in an array",
	 {XDP, .text = "r1 = map 0 ll; r2 = 8; r3 = 0; call ringbuf_reserve; r0 = 0; exit"},
	 "cannot pass map_type 2 into func bpf_ringbuf_reserve#131",
	 false},
	{"CVE-2021-45402",
	 "a 32-bit move kept a signed bound of a negative number",
	 {XDP, .text = ANY "if w6 s> 5 goto out; w3 = w6;" READ},
	 "R0 unbounded memory access, make sure to bounds check any such access",
	 false},
	{"CVE-2022-0500",
	 "a helper wrote into memory that can only be read",
	 {.type = BPF_PROG_TYPE_RAW_TRACEPOINT,
	  .text = "r1 = map 1 ll; r2 = func f ll; r3 = 0; r4 = 0; call for_each_map_elem; r0 = 0;"
		  "exit; f: r1 = r2; r2 = 4; r3 = 0; call probe_read_kernel; r0 = 0; exit",
	  BTF(3, 4)},
	 "R1 cannot write into map_key",
	 false},
	{"CVE-2022-23222",
	 "a pointer that may be NULL was moved, then compared with NULL",
	 {XDP, .text = RESERVE "r6 = r0; r6 += 8; if r6 == 0 goto out; *(u64 *)(r6 +0) = 0;"
			       "r1 = r0; r2 = 0; call ringbuf_submit;" OUT},
	 "R6 pointer arithmetic on ringbuf_mem_or_null prohibited, null-check it first",
	 false},
	{"CVE-2023-2163",
	 "what a compared register was compared with was not precise",
	 {XDP, .text = "r6 = 1024; r7 = 0; r8 = 0; r9 = -2147483648; r6 %= 1025; goto +0;"
		       "if r6 <= r9 goto a; r6 %= 1; r9 = 0; a: if r6 <= r9 goto b; r6 = 0; b:"
		       "r6 >>= 10; r6 *= 8192; r3 = r6;" READ},
	 "math between map_value pointer and register with unbounded min value is not allowed",
	 false},
	{"CVE-2023-39191",
	 "a dynptr was made over a part of another",
	 {XDP, .text = "r1 = map 4 ll; r2 = 8; r3 = 0; r4 = r10; r4 += -16; call 198;"
		       "r1 = map 4 ll; r2 = 8; r3 = 0; r4 = r10; r4 += -24; call 198;"
		       "r1 = r10; r1 += -24; r2 = 0; call 200; r0 = 0; exit"},
	 "cannot overwrite referenced dynptr",
	 false},
	{"CVE-2024-45020",
	 "states whose stacks are of different size were compared",
	 {XDP, .text = "r6 = 0; l: may_goto e; *(u64 *)(r10 -8) = 0; if r6 == 3 goto s; r6 += 1;"
		       "goto l; s: *(u64 *)(r10 -480) = 7; goto l; e: r0 = 0; exit"},
	 NULL,
	 false},
	{"CVE-2024-26589",
	 "flow keys were read at an offset that was not known",
	 {FD, .text = "r7 = *(u64 *)(r1 +144);" ANY "r6 &= 8; r7 += r6;"
		      "r0 = *(u64 *)(r7 +0); exit"},
	 "R7 pointer arithmetic on flow_keys prohibited",
	 false},
	{"CVE-2024-49861",
	 "a helper's result was written into a map that can only be read",
	 {XDP, .text = "*(u64 *)(r10 -8) = 49; r1 = r10; r1 += -8; r2 = 8; r3 = 0;"
		       "r4 = value 5 +0 ll; call strtol; r0 = 0; exit"},
	 "write into map forbidden, value_size=32 off=0 size=8",
	 false},
	{"CVE-2024-58098",
	 "a global function changed the packet, its caller's pointers stayed",
	 {XDP,
	  .text = "r6 = *(u32 *)(r1 +0); r3 = *(u32 *)(r1 +4); r2 = r6; r2 += 14;"
		  "if r2 > r3 goto out; call :f; r0 = *(u8 *)(r6 +0); r0 = 0; exit;" OUT
		  "; f: r2 = 4; call xdp_adjust_head; r0 = 0; exit",
	  BTF(3, 13)},
	 "R6 invalid mem access 'scalar'",
	 false},
	{NULL, NULL, {.name = NULL}, NULL, false},
};
