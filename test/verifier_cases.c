/* SPDX-License-Identifier: Apache-2.0 */
#include "verifier_cases.h"

#include <stddef.h>

const struct map_spec map_specs[N_MAPS] = {
	[0] = {BPF_MAP_TYPE_ARRAY, 4, 8, 4, 0, -1, 0, false},
	[1] = {BPF_MAP_TYPE_HASH, 4, 8, 16, 0, -1, 0, false},
	[2] = {BPF_MAP_TYPE_ARRAY, 4, 48, 1, 0, -1, 0, false},
	[3] = {BPF_MAP_TYPE_PROG_ARRAY, 4, 4, 4, 0, -1, 0, false},
	[4] = {BPF_MAP_TYPE_RINGBUF, 0, 0, 4096, 0, -1, 0, false},
	[5] = {BPF_MAP_TYPE_ARRAY, 4, 32, 1, BPF_F_RDONLY_PROG, -1, 0, true},
	[6] = {BPF_MAP_TYPE_ARRAY_OF_MAPS, 4, 4, 2, 0, 0, 0, false},
	[7] = {BPF_MAP_TYPE_HASH, 4, 8, 4, 0, -1, 15, false},
	[8] = {BPF_MAP_TYPE_ARRAY, 4, 8, 1, BPF_F_WRONLY_PROG, -1, 0, false},
	[9] = {BPF_MAP_TYPE_QUEUE, 0, 8, 4, 0, -1, 0, false},
	[10] = {BPF_MAP_TYPE_PERCPU_ARRAY, 4, 8, 4, 0, -1, 0, false},
	[11] = {BPF_MAP_TYPE_DEVMAP, 4, 4, 4, 0, -1, 0, false},
	[12] = {BPF_MAP_TYPE_PERF_EVENT_ARRAY, 4, 4, 2, 0, -1, 0, false},
	[13] = {BPF_MAP_TYPE_ARRAY, 4, 8, 1, BPF_F_RDONLY_PROG, -1, 0, false},
	[14] = {BPF_MAP_TYPE_ARRAY, 4, 24, 2, 0, -1, 19, false},
	[15] = {BPF_MAP_TYPE_HASH, 4, 24, 4, 0, -1, 19, false},
};

#define XDP(n, t, ...)                                                                             \
	{                                                                                          \
		.name = n, .type = BPF_PROG_TYPE_XDP, .text = t, __VA_ARGS__                       \
	}
#define TC(n, t, ...)                                                                              \
	{                                                                                          \
		.name = n, .type = BPF_PROG_TYPE_SCHED_CLS, .text = t, __VA_ARGS__                 \
	}
#define SF(n, t, ...)                                                                              \
	{                                                                                          \
		.name = n, .type = BPF_PROG_TYPE_SOCKET_FILTER, .text = t, __VA_ARGS__             \
	}
#define CG(n, t, ...)                                                                              \
	{                                                                                          \
		.name = n, .type = BPF_PROG_TYPE_CGROUP_SKB, .text = t, __VA_ARGS__                \
	}
#define TP(n, t, ...)                                                                              \
	{                                                                                          \
		.name = n, .type = BPF_PROG_TYPE_TRACEPOINT, .text = t, __VA_ARGS__                \
	}
#define RTP(n, t, ...)                                                                             \
	{                                                                                          \
		.name = n, .type = BPF_PROG_TYPE_RAW_TRACEPOINT, .text = t, __VA_ARGS__            \
	}

/* r2: packet of at least 14 bytes, r3: its end; else to out. */
#define PKT "r2 = *(u32 *)(r1 +0); r3 = *(u32 *)(r1 +4); r4 = r2; r4 += 14; if r4 > r3 goto out;"
#define OUT "out: r0 = 1; exit"
/* r0: value of map N for key 0 (checked), else to out. */
#define LOOKUP(n)                                                                                  \
	"*(u32 *)(r10 -4) = 0; r2 = r10; r2 += -4; r1 = map " n " ll; call map_lookup_elem;"       \
	"if r0 == 0 goto out;"
/* r0: a number that nothing is known of. */
#define ANY      "call get_prandom_u32;"
#define ANY64    "r0 = value 2 +0 ll; r0 = *(u64 *)(r0 +0);"
#define RESERVE  "r1 = map 4 ll; r2 = 16; r3 = 0; call ringbuf_reserve;"
#define SUBMIT   "r2 = 0; call ringbuf_submit;"
#define BTF(...) .funcs = {__VA_ARGS__}

const struct vcase vcases[] = {
	/* ---- What is no program ---- */
	XDP("falls off the end", "r0 = 0"),
	XDP("r0 is not set", "exit"),
	XDP("jump out of range", "r0 = 0; goto +1; exit"),
	XDP("jump before the beginning", "r0 = 0; goto -3; exit"),
	XDP("unreachable", "r0 = 0; exit; r0 = 1; exit"),
	XDP("jump into a wide load", "r0 = 0; if r0 == 0 goto +1; r1 = 5 ll; exit"),
	XDP("unknown opcode", "raw 0xff 0 0 0 0; exit"),
	XDP("half a wide load", "raw 0x18 0 0 0 0"),
	XDP("bad second half", "raw 0x18 0 0 0 0; raw 1 0 0 0 0; exit"),
	XDP("register 11", "r0 = 0; raw 0xb7 11 0 0 0; exit"),
	XDP("source register 12", "r0 = 0; raw 0xbf 0 12 0 0; exit"),
	XDP("frame pointer written", "r0 = 0; r10 = 0; exit"),
	XDP("frame pointer moved", "r0 = 0; r10 += 8; exit"),
	XDP("ALU offset", "r0 = 0; raw 0x07 0 0 1 0; exit"),
	XDP("ALU immediate with register", "r0 = 0; raw 0x0f 0 0 0 1; exit"),
	XDP("MOV offset 4", "r0 = 0; raw 0xbf 0 0 4 0; exit"),
	XDP("NEG source", "r0 = 0; raw 0x87 0 1 0 0; exit"),
	XDP("END of 8 bits", "r0 = 0; raw 0xdc 0 0 0 8; exit"),
	XDP("JA with immediate", "r0 = 0; raw 0x05 0 0 0 1; exit"),
	XDP("EXIT with immediate", "r0 = 0; raw 0x95 0 0 0 1"),
	XDP("CALL with offset", "r0 = 0; raw 0x85 0 0 1 7; exit"),
	XDP("JEQ with source and immediate", "r0 = 0; raw 0x1d 0 0 0 7; exit"),
	XDP("LDX with immediate", "raw 0x61 0 1 0 1; exit"),
	XDP("ST with source", "r0 = 0; raw 0x62 10 1 -8 1; exit"),
	XDP("STX with immediate", "r0 = 0; raw 0x63 10 1 -8 1; exit"),
	XDP("invalid jump operation", "r0 = 0; raw 0xf5 0 0 0 0; exit"),
	XDP("shift by 64", "r0 = 1; r0 <<= 64; exit"),
	XDP("shift by 32 of 32", "r0 = 1; w0 >>= 32; exit"),
	XDP("division by zero", "r0 = 1; r0 /= 0; exit"),
	XDP("modulo zero, 32 bits", "r0 = 1; w0 %= 0; exit"),
	XDP("signed division", "r0 = -7; r0 s/= 2; w0 s%= 3; exit"),
	XDP("unknown helper", "call 999; exit"),
	XDP("helper 0", "call 0; exit"),
	XDP("helper of another type", "call 26; exit"),
	XDP("wide load of a bad kind", "raw 0x18 1 9 0 0; raw 0 0 0 0 0; r0 = 0; exit"),
	XDP("map that is none", "raw 0x18 1 1 0 9999; raw 0 0 0 0 0; r0 = 0; exit"),
	XDP("map index without array", "raw 0x18 1 5 0 0; raw 0 0 0 0 0; r0 = 0; exit"),
	XDP("value behind the map", "r1 = value 0 +4096 ll; r0 = 0; exit"),
	XDP("value of a hash", "r1 = value 1 +0 ll; r0 = 0; exit"),

	/* ---- Numbers ---- */
	XDP("arithmetic",
	    ANY "r6 = r0; r0 += 5; r0 *= 3; r0 -= r6; r0 |= 1; r0 ^= r6; r0 = -r0;"
		"r0 s>>= 3; w0 <<= 2; r0 = be32 r0; r0 = bswap64 r0; r0 = le16 r0; exit"),
	XDP("sign extension",
	    ANY "r1 = (s8)r0; w2 = (s16)r0; r3 = (s32)r0; r0 = r1; r0 += r2; r0 += r3; exit"),
	XDP("uninitialised operand", "r0 += r5; exit"),
	XDP("uninitialised after a call", "r1 = 0;" ANY "r0 = r1; exit"),
	XDP("callee-saved after a call", "r6 = 0;" ANY "r0 = r6; exit"),
	XDP("decided by known bits", ANY "r0 &= 8; if r0 == 4 goto +1; exit; r0 = r9; exit"),
	XDP("decided by ranges", ANY "r0 &= 15; if r0 > 15 goto +1; exit; r0 = r9; exit"),
	XDP("signed range",
	    ANY "if w0 s> 5 goto out; if w0 s< 3 goto out; if w0 s> 5 goto +1; exit; r0 = r9;" OUT),
	XDP("32-bit comparison",
	    ANY64 "if w0 > 7 goto out; w1 = w0; if w1 > 7 goto +1; exit; r0 = r9;" OUT),
	XDP("linked by copy", LOOKUP("2") "r1 = *(u32 *)(r0 +0); r2 = r1; if r2 > 40 goto out; r0 "
					  "+= r1; r0 = *(u8 *)(r0 +0);" OUT),
	XDP("linked by sum", LOOKUP("2") "r1 = *(u32 *)(r0 +0); r2 = r1; r2 += 4; if r1 > 40 goto "
					 "out; r0 += r2; r0 = *(u8 *)(r0 +0);" OUT),
	XDP("not linked after a change",
	    LOOKUP("2") "r1 = *(u32 *)(r0 +0); r2 = r1; r2 *= 2; if r1 > 10 goto out; r0 += r2; r0 "
			"= *(u8 *)(r0 +0);" OUT),
	XDP("linked through the stack",
	    LOOKUP("2") "r1 = *(u32 *)(r0 +0); *(u64 *)(r10 -16) = r1; if r1 > 40 goto out; r2 = "
			"*(u64 *)(r10 -16); r0 += r2; r0 = *(u8 *)(r0 +0);" OUT),
	XDP("equal registers", LOOKUP("2") "r1 = *(u32 *)(r0 +0); r3 = 9; if r1 != r3 goto out; r0 "
					   "+= r1; r0 = *(u8 *)(r0 +0);" OUT),
	XDP("JSET", LOOKUP("2") "r1 = *(u32 *)(r0 +0); if r1 & -32 goto out; r0 += r1; r0 = *(u8 "
				"*)(r0 +0);" OUT),
	XDP("div gives anything",
	    LOOKUP("2") "r1 = *(u8 *)(r0 +0); r1 /= 100; r0 += r1; r0 = *(u8 *)(r0 +0);" OUT),
	XDP("variable shift", LOOKUP("2") "r1 = *(u8 *)(r0 +0); r1 &= 3; r2 = 1; r2 <<= r1; r0 += "
					  "r2; r0 = *(u8 *)(r0 +0);" OUT),

	/* ---- Pointers ---- */
	XDP("pointer times two", "r1 *= 2; r0 = 0; exit"),
	XDP("pointer and", "r2 = r10; r2 &= 8; r0 = 0; exit"),
	XDP("pointer shifted", "r2 = r10; r2 <<= 1; r0 = 0; exit"),
	XDP("pointer plus pointer", "r1 += r10; r0 = 0; exit"),
	XDP("pointer minus pointer", "r2 = r10; r2 -= r1; r0 = 0; exit"),
	XDP("number minus pointer", "r2 = 5; r2 -= r1; r0 = 0; exit"),
	XDP("stack pointer minus number", "r2 = r10; r3 = 8; r2 -= r3; r0 = 0; exit"),
	XDP("stack pointer minus constant", "r2 = r10; r2 -= 8; *(u64 *)(r2 +0) = 0; r0 = 0; exit"),
	XDP("32-bit pointer arithmetic", "w1 += 4; r0 = 0; exit"),
	XDP("pointer in 32 bits", "w0 = w1; exit"),
	XDP("negated pointer", "r1 = -r1; r0 = 0; exit"),
	XDP("map pointer moved", "r1 = map 0 ll; r1 += 8; r0 = 0; exit"),
	XDP("map pointer plus zero", "r1 = map 0 ll; r1 += 0; r0 = 0; exit"),
	XDP("packet end moved", "r3 = *(u32 *)(r1 +4); r3 += 4; r0 = 0; exit"),
	XDP("maybe NULL moved", "*(u32 *)(r10 -4) = 0; r2 = r10; r2 += -4; r1 = map 1 ll; call "
				"map_lookup_elem; r0 += 4; exit"),
	XDP("unbounded offset", LOOKUP("2") "r1 = *(u64 *)(r0 +0); r0 += r1;" OUT),
	XDP("huge constant offset", LOOKUP("2") "r1 = 0x40000000; r0 += r1;" OUT),
	XDP("pointer from memory", LOOKUP("2") "r1 = *(u64 *)(r0 +0); r0 = *(u8 *)(r1 +0);" OUT),
	XDP("number dereferenced", "r1 = 5; r0 = *(u8 *)(r1 +0); exit"),
	XDP("code dereferenced", "r2 = map 0 ll; r0 = *(u32 *)(r2 +500); exit"),

	/* ---- Context ---- */
	XDP("fields", "r2 = *(u32 *)(r1 +12); r3 = *(u32 *)(r1 +16); r0 = r2; r0 += r3; exit"),
	XDP("field behind the context", "r0 = *(u32 *)(r1 +24); exit"),
	XDP("field before the context", "r0 = *(u32 *)(r1 -4); exit"),
	XDP("part of a field", "r0 = *(u8 *)(r1 +12); exit"),
	XDP("64 bits of a field", "r0 = *(u64 *)(r1 +0); exit"),
	XDP("misaligned field", "r0 = *(u32 *)(r1 +2); exit"),
	XDP("moved context", "r1 += 4; r0 = *(u32 *)(r1 +0); exit"),
	XDP("variable context", ANY "r0 = 0; exit; r1 += r0; r0 = *(u32 *)(r1 +0); exit"),
	XDP("variable context 2",
	    "r2 = *(u32 *)(r1 +12); r2 &= 4; r1 += r2; r0 = *(u32 *)(r1 +12); exit"),
	XDP("context written", "*(u32 *)(r1 +12) = 0; r0 = 0; exit"),
	XDP("atomic on the context", "r0 = 1; lock *(u32 *)(r1 +12) += r0; exit"),
	XDP("egress only in devmaps", "r0 = *(u32 *)(r1 +20); exit"),
	TC("mark written", "*(u32 *)(r1 +8) = 5; r0 = *(u32 *)(r1 +8); exit"),
	TC("len written", "*(u32 *)(r1 +0) = 5; r0 = 0; exit"),
	TC("narrow load", "r0 = *(u8 *)(r1 +0); r2 = *(u16 *)(r1 +8); r0 += r2; exit"),
	TC("cb by bytes", "*(u8 *)(r1 +48) = 1; *(u64 *)(r1 +56) = 0; r0 = *(u16 *)(r1 +50); exit"),
	TC("tstamp", "r0 = *(u64 *)(r1 +152); r0 = *(u32 *)(r1 +152); exit"),
	SF("data in a filter", "r0 = *(u32 *)(r1 +76); exit"),
	SF("mark in a filter", "*(u32 *)(r1 +8) = 5; r0 = 0; exit"),
	CG("mark in cgroup", "*(u32 *)(r1 +8) = 5; r0 = 1; exit"),
	TP("tracepoint record", "r0 = *(u64 *)(r1 +8); r2 = *(u8 *)(r1 +17); exit"),
	TP("tracepoint record, misaligned", "r0 = *(u64 *)(r1 +9); exit"),
	TP("tracepoint record, far", "r0 = *(u64 *)(r1 +8192); exit"),
	TP("tracepoint record written", "*(u64 *)(r1 +8) = 0; r0 = 0; exit"),
	RTP("raw arguments", "r0 = *(u64 *)(r1 +8); exit"),
	RTP("raw arguments by halves", "r0 = *(u32 *)(r1 +8); exit"),
	RTP("thirteenth argument", "r0 = *(u64 *)(r1 +96); exit"),

	/* ---- Stack ---- */
	XDP("spill and fill",
	    "*(u64 *)(r10 -8) = r1; r2 = *(u64 *)(r10 -8); r0 = *(u32 *)(r2 +12); exit"),
	XDP("512 bytes", "*(u64 *)(r10 -512) = 0; r0 = *(u64 *)(r10 -512); exit"),
	XDP("520 bytes", "*(u64 *)(r10 -520) = 0; r0 = 0; exit"),
	XDP("above the frame", "*(u64 *)(r10 +0) = 0; r0 = 0; exit"),
	XDP("across the frame's top", "*(u32 *)(r10 -2) = 0; r0 = 0; exit"),
	XDP("misaligned", "*(u64 *)(r10 -12) = 0; r0 = 0; exit"),
	XDP("uninitialised bytes", "r0 = *(u64 *)(r10 -8); exit"),
	XDP("half a pointer", "*(u64 *)(r10 -8) = r1; r0 = *(u32 *)(r10 -8); exit"),
	XDP("pointer spilled by halves", "*(u32 *)(r10 -8) = r1; r0 = 0; exit"),
	XDP("overwritten pointer", "*(u64 *)(r10 -8) = r1; *(u8 *)(r10 -5) = 1; r2 = *(u64 *)(r10 "
				   "-8); r0 = *(u32 *)(r2 +0); exit"),
	XDP("zero by bytes",
	    "*(u8 *)(r10 -8) = 0; *(u8 *)(r10 -7) = 0; r0 = *(u16 *)(r10 -8); exit"),
	XDP("spilled constant", LOOKUP("2") "*(u64 *)(r10 -16) = 40; r1 = *(u64 *)(r10 -16); r0 += "
					    "r1; r0 = *(u64 *)(r0 +0);" OUT),
	XDP("spilled 32 bits",
	    LOOKUP("2") "r1 = *(u32 *)(r0 +0); r1 &= 31; *(u32 *)(r10 -16) = r1; r2 = *(u32 *)(r10 "
			"-16); r0 += r2; r0 = *(u8 *)(r0 +0);" OUT),
	XDP("low half of 64 bits",
	    LOOKUP("2") "r1 = *(u32 *)(r0 +0); r1 &= 31; *(u64 *)(r10 -16) = r1; r2 = *(u32 *)(r10 "
			"-16); r0 += r2; r0 = *(u8 *)(r0 +0);" OUT),
	XDP("variable read", "*(u64 *)(r10 -8) = 0; *(u64 *)(r10 -16) = 0;" ANY
			     "r0 &= 7; r2 = r10; r2 += -16; r2 += r0; r0 = *(u8 *)(r2 +0); exit"),
	XDP("variable write",
	    "*(u64 *)(r10 -8) = r1;" ANY "r0 &= 7; r2 = r10; r2 += -16; r2 += r0; *(u8 *)(r2 +0) = "
	    "1; r3 = *(u64 *)(r10 -8); r0 = *(u32 *)(r3 +12); exit"),
	XDP("variable write over a pointer",
	    "*(u64 *)(r10 -8) = r1;" ANY "r0 &= 15; r2 = r10; r2 += -16; r2 += r0; *(u8 *)(r2 +0) "
	    "= 1; r3 = *(u64 *)(r10 -8); r0 = *(u32 *)(r3 +12); exit"),
	XDP("variable write of zero",
	    ANY "r0 &= 7; *(u64 *)(r10 -8) = 0; r2 = r10; r2 += -8; r2 += r0; r3 = 0; *(u8 *)(r2 "
		"+0) = r3; r0 = *(u64 *)(r10 -8); exit"),
	XDP("variable out of the frame",
	    ANY "r0 &= 31; r2 = r10; r2 += -16; r2 += r0; *(u8 *)(r2 +0) = 1; r0 = 0; exit"),
	XDP("variable without limit", ANY64 "r2 = r10; r2 += r0; r0 = 0; exit"),
	XDP("variable, limits too far", ANY "r2 = r10; r2 += r0; *(u8 *)(r2 +0) = 1; r0 = 0; exit"),

	/* ---- Map values ---- */
	XDP("lookup, checked", LOOKUP("1") "r0 = *(u64 *)(r0 +0);" OUT),
	XDP("lookup, not checked", "*(u32 *)(r10 -4) = 0; r2 = r10; r2 += -4; r1 = map 1 ll; call "
				   "map_lookup_elem; r0 = *(u64 *)(r0 +0); exit"),
	XDP("array with a constant key", "*(u32 *)(r10 -4) = 3; r2 = r10; r2 += -4; r1 = map 0 ll; "
					 "call map_lookup_elem; r0 = *(u64 *)(r0 +0); exit"),
	XDP("array with a key too large", "*(u32 *)(r10 -4) = 4; r2 = r10; r2 += -4; r1 = map 0 "
					  "ll; call map_lookup_elem; r0 = *(u64 *)(r0 +0); exit"),
	XDP("per-CPU array, zeroed key",
	    "r1 = 0; *(u32 *)(r10 -4) = r1; r2 = r10; r2 += -4; r1 = map 10 ll; call "
	    "map_lookup_elem; r0 = *(u64 *)(r0 +0); exit"),
	XDP("behind the value", LOOKUP("1") "r0 = *(u64 *)(r0 +4);" OUT),
	XDP("before the value", LOOKUP("1") "r0 = *(u64 *)(r0 -8);" OUT),
	XDP("index in range",
	    LOOKUP("2") "r6 = r0;" ANY "if r0 > 47 goto out; r6 += r0; r0 = *(u8 *)(r6 +0);" OUT),
	XDP("index one too far",
	    LOOKUP("2") "r6 = r0;" ANY "if r0 > 48 goto out; r6 += r0; r0 = *(u8 *)(r6 +0);" OUT),
	XDP("index maybe negative", LOOKUP("2") "r1 = *(u64 *)(r0 +0); if r1 s> 40 goto out; r0 += "
						"r1; r0 = *(u8 *)(r0 +0);" OUT),
	XDP("index signed, both limits",
	    LOOKUP("2") "r1 = *(u64 *)(r0 +0); if r1 s> 40 goto out; if r1 s< 0 goto out; r0 += "
			"r1; r0 = *(u8 *)(r0 +0);" OUT),
	XDP("index masked", LOOKUP("2") "r1 = *(u64 *)(r0 +0); r1 &= 31; r1 <<= 3; r0 += r1; r0 = "
					"*(u64 *)(r0 +0);" OUT),
	XDP("direct value", "r1 = value 2 +40 ll; *(u64 *)(r1 +0) = 7; r0 = *(u64 *)(r1 +0); exit"),
	XDP("direct value, behind", "r1 = value 2 +44 ll; *(u64 *)(r1 +0) = 7; r0 = 0; exit"),
	XDP("read-only map written", "r1 = value 13 +0 ll; *(u64 *)(r1 +0) = 7; r0 = 0; exit"),
	XDP("write-only map read", LOOKUP("8") "r0 = *(u64 *)(r0 +0);" OUT),
	XDP("write-only map written", LOOKUP("8") "*(u64 *)(r0 +0) = 1;" OUT),
	XDP("read-only map updated",
	    "*(u32 *)(r10 -4) = 0; *(u64 *)(r10 -16) = 0; r2 = r10; r2 += -4; r3 = r10; r3 += -16; "
	    "r4 = 0; r1 = map 13 ll; call map_update_elem; exit"),
	XDP("frozen bytes are constants",
	    "r1 = value 5 +8 ll; r2 = *(u32 *)(r1 +0); r3 = *(u32 *)(r1 +4); r2 += r3; if r2 != 3 "
	    "goto +1; r0 = 0; exit; r0 = r9; exit"),
	XDP("frozen bytes, sign-extended",
	    "r1 = value 5 +16 ll; r0 = *(s32 *)(r1 +0); if r0 == -1 goto +1; r0 = r9; exit"),
	XDP("map of maps",
	    LOOKUP("6") "r1 = r0; *(u32 *)(r10 -4) = 0; r2 = r10; r2 += -4; call map_lookup_elem; "
			"if r0 == 0 goto out; r0 = *(u64 *)(r0 +0);" OUT),
	XDP("map of maps, not checked",
	    "*(u32 *)(r10 -4) = 0; r2 = r10; r2 += -4; r1 = map 6 ll; call map_lookup_elem; r1 = "
	    "r0; r2 = r10; r2 += -4; call map_lookup_elem; r0 = 0; exit"),
	XDP("inner map dereferenced", LOOKUP("6") "r0 = *(u64 *)(r0 +500);" OUT),
	XDP("NULL known by another copy",
	    "*(u32 *)(r10 -4) = 0; r2 = r10; r2 += -4; r1 = map 1 ll; call map_lookup_elem; r6 = "
	    "r0; if r0 == 0 goto out; r0 = *(u64 *)(r6 +0);" OUT),
	XDP("NULL known by the spilled copy",
	    "*(u32 *)(r10 -4) = 0; r2 = r10; r2 += -4; r1 = map 1 ll; call map_lookup_elem; *(u64 "
	    "*)(r10 -16) = r0; if r0 == 0 goto out; r6 = *(u64 *)(r10 -16); r0 = *(u64 *)(r6 "
	    "+0);" OUT),
	XDP("two lookups, one checked",
	    "*(u32 *)(r10 -4) = 0; r2 = r10; r2 += -4; r1 = map 1 ll; call map_lookup_elem; r6 = "
	    "r0; r2 = r10; r2 += -4; r1 = map 1 ll; call map_lookup_elem; if r0 == 0 goto out; r0 "
	    "= *(u64 *)(r6 +0);" OUT),
	XDP("atomics on a value",
	    LOOKUP("1") "r1 = 1; lock *(u64 *)(r0 +0) += r1; r1 = atomic64_fetch_or((u64 *)(r0 "
			"+0), r1); r2 = atomic64_xchg((u64 *)(r0 +0), r1); lock *(u32 *)(r0 +4) ^= "
			"r1;" OUT),
	XDP("compare and exchange", LOOKUP("1") "r6 = r0; r0 = 5; r1 = 1; r0 = "
						"atomic64_cmpxchg((u64 *)(r6 +0), r0, r1);" OUT),
	XDP("atomic on bytes", LOOKUP("1") "r1 = 1; raw 0xd3 0 1 0 0;" OUT),
	XDP("atomic of an unknown kind", LOOKUP("1") "r1 = 1; raw 0xdb 0 1 0 0x20;" OUT),
	XDP("atomic, misaligned", LOOKUP("1") "r1 = 1; lock *(u32 *)(r0 +2) += r1;" OUT),
	XDP("load-acquire", LOOKUP("1") "r1 = load_acquire((u32 *)(r0 +0)); r0 = r1; exit;" OUT),
	XDP("store-release", LOOKUP("1") "r1 = 7; store_release((u64 *)(r0 +0), r1);" OUT),

	/* ---- Packets ---- */
	XDP("read in range", PKT "r0 = *(u8 *)(r2 +13);" OUT),
	XDP("read behind the range", PKT "r0 = *(u16 *)(r2 +13);" OUT),
	XDP("read without comparison", "r2 = *(u32 *)(r1 +0); r0 = *(u8 *)(r2 +0); exit"),
	XDP("wrong branch", "r2 = *(u32 *)(r1 +0); r3 = *(u32 *)(r1 +4); r4 = r2; r4 += 14; if r4 "
			    "> r3 goto +2; r0 = 0; exit; r0 = *(u8 *)(r2 +0); exit"),
	XDP("end first", "r2 = *(u32 *)(r1 +0); r3 = *(u32 *)(r1 +4); r4 = r2; r4 += 14; if r3 >= "
			 "r4 goto +2; r0 = 0; exit; r0 = *(u8 *)(r2 +13); exit"),
	XDP("end greater", "r2 = *(u32 *)(r1 +0); r3 = *(u32 *)(r1 +4); r4 = r2; r4 += 14; if r3 > "
			   "r4 goto +2; r0 = 0; exit; r0 = *(u8 *)(r2 +14); exit"),
	XDP("less", "r2 = *(u32 *)(r1 +0); r3 = *(u32 *)(r1 +4); r4 = r2; r4 += 14; if r4 < r3 "
		    "goto +2; r0 = 0; exit; r0 = *(u8 *)(r2 +14); exit"),
	XDP("less or equal, one too far",
	    "r2 = *(u32 *)(r1 +0); r3 = *(u32 *)(r1 +4); r4 = r2; r4 += 14; if r4 <= r3 goto +2; "
	    "r0 = 0; exit; r0 = *(u8 *)(r2 +14); exit"),
	XDP("end less", "r2 = *(u32 *)(r1 +0); r3 = *(u32 *)(r1 +4); r4 = r2; r4 += 14; if r3 < r4 "
			"goto +2; r0 = *(u8 *)(r2 +13); exit; r0 = 0; exit"),
	XDP("equal says nothing", "r2 = *(u32 *)(r1 +0); r3 = *(u32 *)(r1 +4); r4 = r2; r4 += 14; "
				  "if r4 == r3 goto +2; r0 = 0; exit; r0 = *(u8 *)(r2 +0); exit"),
	XDP("variable header", PKT "r5 = *(u8 *)(r2 +0); r5 &= 15; r5 <<= 2; r2 += r5; r4 = r2; r4 "
				   "+= 20; if r4 > r3 goto out; r0 = *(u32 *)(r2 +16);" OUT),
	XDP("variable header, not compared again",
	    PKT "r5 = *(u8 *)(r2 +0); r5 &= 15; r2 += r5; r0 = *(u8 *)(r2 +0);" OUT),
	XDP("variable, too large", PKT "r5 = *(u32 *)(r2 +0); r2 += r5; r4 = r2; r4 += 20; if r4 > "
				       "r3 goto out; r0 = *(u32 *)(r2 +16);" OUT),
	XDP("write", PKT "*(u8 *)(r2 +0) = 1;" OUT),
	XDP("metadata", "r2 = *(u32 *)(r1 +8); r3 = *(u32 *)(r1 +0); r4 = r2; r4 += 4; if r4 > r3 "
			"goto out; r0 = *(u32 *)(r2 +0);" OUT),
	XDP("metadata against end", "r2 = *(u32 *)(r1 +8); r3 = *(u32 *)(r1 +4); r4 = r2; r4 += 4; "
				    "if r4 > r3 goto out; r0 = *(u32 *)(r2 +0);" OUT),
	XDP("after adjust_head",
	    "r6 = r1;" PKT
	    "r1 = r6; r7 = r2; r2 = 4; call xdp_adjust_head; r0 = *(u8 *)(r7 +0);" OUT),
	XDP("reloaded after adjust_head",
	    "r6 = r1; r2 = 4; call xdp_adjust_head; r1 = r6;" PKT "r0 = *(u8 *)(r2 +0);" OUT),
	XDP("packet as key", PKT "r1 = map 1 ll; call map_lookup_elem;" OUT),
	XDP("packet as key, too short",
	    "r2 = *(u32 *)(r1 +0); r1 = map 1 ll; call map_lookup_elem; r0 = 0; exit"),
	XDP("packet stored in a map", PKT "r6 = r2;" LOOKUP("1") "*(u64 *)(r0 +0) = r6;" OUT),
	XDP("minimum size known twice", PKT "r5 = r2; r5 += 34; if r5 > r3 goto out; r0 = *(u8 "
					    "*)(r2 +33); r0 = *(u8 *)(r4 +19);" OUT),
	XDP("past the end decided", PKT "if r4 > r3 goto +1; goto out; r0 = r9; exit;" OUT),
	TC("packet written", "r2 = *(u32 *)(r1 +76); r3 = *(u32 *)(r1 +80); r4 = r2; r4 += 14; if "
			     "r4 > r3 goto out; *(u16 *)(r2 +12) = 8;" OUT),
	CG("packet of a cgroup written",
	   "r2 = *(u32 *)(r1 +76); r3 = *(u32 *)(r1 +80); r4 = r2; r4 += 14; if r4 > r3 goto out; "
	   "*(u16 *)(r2 +12) = 8;" OUT),
	TC("packet after pull",
	   "r6 = r1; r2 = 0; call skb_pull_data; r2 = *(u32 *)(r6 +76); r3 = *(u32 *)(r6 +80); r4 "
	   "= r2; r4 += 4; if r4 > r3 goto out; r0 = *(u32 *)(r2 +0);" OUT),
	XDP("strict alignment", PKT "r0 = *(u32 *)(r2 +0);" OUT, .flags = STRICT),
	XDP("strict alignment kept", PKT "r0 = *(u32 *)(r2 +2);" OUT, .flags = STRICT),

	/* ---- LD_ABS ---- */
	SF("absolute and indirect",
	   "r6 = r1; r0 = *(u8 *)skb[23]; r7 = r0; r0 = *(u16 *)skb[r7 +14]; exit"),
	SF("context not in r6", "r6 = 1; r0 = *(u8 *)skb[0]; exit"),
	SF("r6 not set", "r0 = *(u8 *)skb[0]; exit"),
	SF("arguments after a load", "r6 = r1; r0 = *(u8 *)skb[0]; r0 = r1; exit"),
	XDP("load in XDP", "r6 = r1; r0 = *(u8 *)skb[0]; exit"),
	SF("load in a function",
	   "r6 = r1; call :f; r0 = 0; exit; f: r6 = r1; r0 = *(u8 *)skb[0]; exit"),

	/* ---- Helpers ---- */
	XDP("key is a number", "r1 = map 1 ll; r2 = 5; call map_lookup_elem; exit"),
	XDP("map is a number", "r1 = 5; r2 = r10; call map_lookup_elem; exit"),
	XDP("argument not set", "r1 = map 1 ll; call map_lookup_elem; exit"),
	XDP("key at the stack's top", "r1 = map 1 ll; r2 = r10; call map_lookup_elem; exit"),
	XDP("key below the stack",
	    "r1 = map 1 ll; r2 = r10; r2 += -516; call map_lookup_elem; exit"),
	XDP("uninitialised key",
	    "r1 = map 1 ll; r2 = r10; r2 += -4; call map_lookup_elem; r0 = 0; exit"),
	XDP("value too short", "*(u32 *)(r10 -4) = 0; r2 = r10; r2 += -4; r3 = r2; r4 = 0; r1 = "
			       "map 1 ll; call map_update_elem; exit"),
	XDP("value from a map", LOOKUP("1") "r3 = r0; r2 = r10; r2 += -4; r4 = 0; r1 = map 1 ll; "
					    "call map_update_elem;" OUT),
	XDP("wrong map for lookup",
	    "r1 = map 4 ll; r2 = r10; r2 += -4; call map_lookup_elem; exit"),
	XDP("lookup in a prog array",
	    "*(u32 *)(r10 -4) = 0; r1 = map 3 ll; r2 = r10; r2 += -4; call map_lookup_elem; exit"),
	XDP("queue",
	    "*(u64 *)(r10 -8) = 7; r2 = r10; r2 += -8; r3 = 0; r1 = map 9 ll; call map_push_elem; "
	    "r2 = r10; r2 += -16; r1 = map 9 ll; call map_pop_elem; r0 = *(u64 *)(r10 -16); exit"),
	XDP("pop clears what was known",
	    "*(u64 *)(r10 -8) = r1; r2 = r10; r2 += -8; r1 = map 9 ll; call map_pop_elem; r1 = "
	    "*(u64 *)(r10 -8); r0 = *(u32 *)(r1 +0); exit"),
	TC("memory and size", "r2 = 0; r3 = r10; r3 += -16; r4 = 16; call skb_load_bytes; r0 = "
			      "*(u64 *)(r10 -16); exit"),
	TC("size too large", "r2 = 0; r3 = r10; r3 += -16; r4 = 17; call skb_load_bytes; exit"),
	TC("size zero", "r2 = 0; r3 = r10; r3 += -16; r4 = 0; call skb_load_bytes; exit"),
	TC("size unbounded",
	   "r6 = r1;" ANY64
	   "r1 = r6; r2 = 0; r3 = r10; r3 += -16; r4 = r0; call skb_load_bytes; exit"),
	TC("size maybe negative",
	   "r6 = r1;" ANY64 "if r0 s> 8 goto out; r1 = r6; r2 = 0; r3 = r10; r3 += -16; r4 = r0; "
	   "call skb_load_bytes;" OUT),
	TC("size bounded",
	   "r6 = r1;" ANY "r0 &= 15; r0 += 1; r1 = r6; r2 = 0; r3 = r10; r3 += -16; r4 = r0; call "
	   "skb_load_bytes; r0 = *(u64 *)(r10 -16); exit"),
	TC("size is a pointer", "r2 = 0; r3 = r10; r3 += -16; r4 = r1; call skb_load_bytes; exit"),
	TC("memory is NULL", "r2 = 0; r3 = 0; r4 = 4; call skb_load_bytes; exit"),
	TC("checksum of nothing", "r1 = 0; r2 = 0; r3 = 0; r4 = 0; r5 = 0; call csum_diff; exit"),
	TC("checksum of NULL", "r1 = 0; r2 = 4; r3 = 0; r4 = 0; r5 = 0; call csum_diff; exit"),
	TC("helper that takes no packets",
	   "r2 = *(u32 *)(r1 +76); r3 = *(u32 *)(r1 +80); r4 = r2; r4 += 14; if r4 > r3 goto out; "
	   "r3 = r2; r2 = 0; r4 = 4; call skb_load_bytes;" OUT),
	TC("context argument is the stack", "r1 = r10; r2 = 0; call skb_pull_data; exit"),
	TC("context argument moved", "r1 += 8; r2 = 0; call skb_pull_data; exit"),
	XDP("print", "*(u64 *)(r10 -8) = 0; r1 = r10; r1 += -8; r2 = 8; call trace_printk; exit"),
	XDP("print without a license",
	    "*(u64 *)(r10 -8) = 0; r1 = r10; r1 += -8; r2 = 8; call trace_printk; exit",
	    .flags = NOT_GPL),
	XDP("snprintf", "r1 = r10; r1 += -16; r2 = 16; r3 = value 5 +0 ll; *(u64 *)(r10 -24) = 5; "
			"r4 = r10; r4 += -24; r5 = 8; call snprintf; exit"),
	XDP("snprintf, format elsewhere", "r1 = r10; r1 += -16; r2 = 16; r3 = value 2 +0 ll; r4 = "
					  "0; r5 = 0; call snprintf; exit"),
	XDP("snprintf, arguments missing", "r1 = r10; r1 += -16; r2 = 16; r3 = value 5 +0 ll; r4 = "
					   "0; r5 = 0; call snprintf; exit"),
	XDP("string not terminated", "r1 = r10; r1 += -16; *(u64 *)(r1 +0) = 0; r2 = 8; r3 = value "
				     "5 +16 ll; call strncmp; exit"),
	XDP("strncmp", "r1 = r10; r1 += -16; *(u64 *)(r1 +0) = 0; r2 = 8; r3 = value 5 +0 ll; call "
		       "strncmp; exit"),
	XDP("strtol writes an aligned number", "*(u64 *)(r10 -8) = 0; r1 = r10; r1 += -8; r2 = 8; "
					       "r3 = 0; r4 = r10; r4 += -12; call strtol; exit"),
	TP("probe_read", "r3 = *(u64 *)(r1 +8); r1 = r10; r1 += -8; r2 = 8; call "
			 "probe_read_kernel; r0 = *(u64 *)(r10 -8); exit"),
	TP("length of a string",
	   "r6 = value 2 +0 ll; r3 = *(u64 *)(r1 +8); r1 = r10; r1 += -16; r2 = 16; call "
	   "probe_read_str; if r0 s< 0 goto out; r6 += r0; r0 = *(u8 *)(r6 +0);" OUT),
	XDP("CPU number as index",
	    "call get_smp_processor_id; r1 = value 2 +0 ll; r1 += r0; r0 = *(u8 *)(r1 +0); exit"),
	XDP("perf output", "*(u64 *)(r10 -8) = 0; r2 = map 12 ll; r3 = 0xffffffff ll; r4 = r10; r4 "
			   "+= -8; r5 = 8; call perf_event_output; exit"),
	XDP("redirect_map", "r1 = map 11 ll; r2 = 0; r3 = 0; call redirect_map; exit"),
	XDP("redirect_map, wrong map", "r1 = map 0 ll; r2 = 0; r3 = 0; call redirect_map; exit"),
	XDP("callback without types",
	    "r1 = 5; r2 = func f ll; r3 = 0; r4 = 0; call loop; r0 = 0; exit; f: r0 = 0; exit"),
	XDP("callback is a number", "r1 = 5; r2 = 7; r3 = 0; r4 = 0; call loop; exit"),

	/* ---- Ring buffer records ---- */
	XDP("reserve and submit",
	    RESERVE "if r0 == 0 goto out; *(u64 *)(r0 +8) = 5; r1 = r0;" SUBMIT OUT),
	XDP("not checked", RESERVE "r1 = r0;" SUBMIT OUT),
	XDP("not given back", RESERVE "r0 = 0; exit"),
	XDP("not given back on one path", RESERVE
	    "if r0 == 0 goto out; r6 = *(u64 *)(r0 +0); if r6 == 1 goto out; r1 = r0;" SUBMIT OUT),
	XDP("given back twice",
	    RESERVE "if r0 == 0 goto out; r6 = r0; r1 = r0;" SUBMIT "r1 = r6;" SUBMIT OUT),
	XDP("used afterwards",
	    RESERVE "if r0 == 0 goto out; r6 = r0; r1 = r0;" SUBMIT "r0 = *(u64 *)(r6 +0);" OUT),
	XDP("behind the record",
	    RESERVE "if r0 == 0 goto out; *(u64 *)(r0 +16) = 5; r1 = r0;" SUBMIT OUT),
	XDP("moved record submitted", RESERVE "if r0 == 0 goto out; r1 = r0; r1 += 8;" SUBMIT OUT),
	XDP("stack submitted", "r1 = r10;" SUBMIT OUT),
	XDP("variable size reserved",
	    ANY "r2 = r0; r2 &= 15; r1 = map 4 ll; r3 = 0; call ringbuf_reserve;" OUT),
	XDP("tail call with a record",
	    "r6 = r1;" RESERVE "if r0 == 0 goto out; r7 = r0; r1 = r6; r2 = map 3 ll; r3 = 0; call "
	    "tail_call; r1 = r7;" SUBMIT OUT),
	XDP("record spilled", RESERVE
	    "*(u64 *)(r10 -8) = r0; if r0 == 0 goto out; r1 = *(u64 *)(r10 -8);" SUBMIT OUT),
	XDP("record given back by a function",
	    RESERVE "if r0 == 0 goto out; r1 = r0; call :f; r0 = 0; exit; f: r2 = 0; call "
		    "ringbuf_discard; r0 = 0; exit; out: r0 = 1; exit"),
	XDP("ringbuf output", "*(u64 *)(r10 -8) = 1; r1 = map 4 ll; r2 = r10; r2 += -8; r3 = 8; r4 "
			      "= 0; call ringbuf_output; exit"),

	/* ---- Locks ---- */
	XDP("lock and unlock",
	    "*(u32 *)(r10 -4) = 0; r2 = r10; r2 += -4; r1 = map 7 ll; call map_lookup_elem; if r0 "
	    "== 0 goto out; r6 = r0; r1 = r0; r1 += 4; call spin_lock; *(u32 *)(r6 +0) = 1; r1 = "
	    "r6; r1 += 4; call spin_unlock;" OUT),
	XDP("not unlocked", LOOKUP("7") "r1 = r0; r1 += 4; call spin_lock;" OUT),
	XDP("locked twice", LOOKUP("7") "r6 = r0; r1 = r0; r1 += 4; call spin_lock; r1 = r6; r1 += "
					"4; call spin_lock;" OUT),
	XDP("unlocked without lock", LOOKUP("7") "r1 = r0; r1 += 4; call spin_unlock;" OUT),
	XDP("another one unlocked",
	    LOOKUP("7") "r6 = r0;" LOOKUP("7") "r7 = r0; r1 = r6; r1 += 4; call spin_lock; r1 = "
					       "r7; r1 += 4; call spin_unlock;" OUT),
	XDP("helper while locked", LOOKUP("7") "r6 = r0; r1 = r0; r1 += 4; call spin_lock;" ANY
					       "r1 = r6; r1 += 4; call spin_unlock;" OUT),
	XDP("wrong offset", LOOKUP("7") "r1 = r0; call spin_lock;" OUT),
	XDP("lock read", LOOKUP("7") "r0 = *(u32 *)(r0 +4);" OUT),
	XDP("lock in a map without", LOOKUP("2") "r1 = r0; call spin_lock;" OUT),
	XDP("lock on the stack", "r1 = r10; r1 += -4; call spin_lock; r0 = 0; exit"),
	SF("lock in a filter", LOOKUP("7") OUT),
	TP("lock in a tracepoint", LOOKUP("7") OUT),

	/* ---- Functions ---- */
	XDP("call and return", "r1 = 5; call :f; exit; f: r0 = r1; r0 += 1; exit"),
	XDP("caller's registers", "r6 = 1; call :f; r0 = r6; exit; f: r0 = r6; exit"),
	XDP("arguments after a call", "r1 = 1; call :f; r0 = r1; exit; f: r0 = 0; exit"),
	XDP("pointer to the caller's stack",
	    "*(u64 *)(r10 -8) = 0; r1 = r10; r1 += -8; call :f; r0 = *(u64 *)(r10 -8); exit; f: "
	    "*(u64 *)(r1 +0) = 7; r0 = 0; exit"),
	XDP("stack pointer returned", "call :f; exit; f: r0 = r10; exit"),
	XDP("own stack spilled into the caller's",
	    "r1 = r10; r1 += -8; call :f; r0 = 0; exit; f: *(u64 *)(r1 +0) = r10; r0 = 0; exit"),
	XDP("result's range",
	    LOOKUP("2") "r6 = r0;" ANY "r1 = r0; call :f; r6 += r0; r0 = *(u8 *)(r6 +0); exit; "
			"out: r0 = 0; exit; f: r0 = r1; r0 &= 15; exit"),
	XDP("jump into another function", "call :f; goto in; exit; f: r0 = 0; in: exit"),
	XDP("runs into another function", "call :f; r0 = 1; f: r0 = 0; exit"),
	XDP("too much stack", "*(u64 *)(r10 -256) = 0; call :f; r0 = 0; exit; f: *(u64 *)(r10 "
			      "-264) = 0; r0 = 0; exit"),
	XDP("just enough stack", "*(u64 *)(r10 -256) = 0; call :f; r0 = 0; exit; f: *(u64 *)(r10 "
				 "-256) = 0; r0 = 0; exit"),
	XDP("nine frames",
	    "call :a; exit; a: call :b; exit; b: call :c; exit; c: call :d; exit; d: call :e; "
	    "exit; e: call :f; exit; f: call :g; exit; g: call :h; exit; h: r0 = 0; exit"),
	XDP("eight frames",
	    "call :a; exit; a: call :b; exit; b: call :c; exit; c: call :d; exit; d: call :e; "
	    "exit; e: call :f; exit; f: call :g; exit; g: r0 = 0; exit"),
	XDP("recursion", "call :f; exit; f: call :f; exit"),
	XDP("packet lost in a function",
	    "r6 = r1;" PKT "r7 = r2; r1 = r6; call :f; r0 = *(u8 *)(r7 +0); out: r0 = 0; exit; f: "
	    "r2 = 4; call xdp_adjust_head; r0 = 0; exit"),
	XDP("global function", "r1 = 5; call :f; exit; f: r0 = r1; exit", BTF(3, 6)),
	XDP("global function gives anything",
	    "r1 = 5; call :f; r1 = value 2 +0 ll; r1 += r0; r0 = *(u8 *)(r1 +0); exit; f: r0 = 1; "
	    "exit",
	    BTF(3, 6)),
	XDP("pointer to a number", "r1 = r10; r1 += -8; call :f; exit; f: r0 = 1; exit", BTF(3, 6)),
	XDP("global with memory",
	    "*(u32 *)(r10 -4) = 1; r1 = r10; r1 += -4; call :f; exit; f: r0 = 0; if r1 == 0 goto "
	    "+1; r0 = *(u32 *)(r1 +0); exit",
	    BTF(3, 9)),
	XDP("global with memory, not checked",
	    "*(u32 *)(r10 -4) = 1; r1 = r10; r1 += -4; call :f; exit; f: r0 = *(u32 *)(r1 +0); "
	    "exit",
	    BTF(3, 9)),
	XDP("global with memory, too far",
	    "*(u32 *)(r10 -4) = 1; r1 = r10; r1 += -4; call :f; exit; f: r0 = 0; if r1 == 0 goto "
	    "+1; r0 = *(u64 *)(r1 +0); exit",
	    BTF(3, 9)),
	XDP("global with too little memory", "r1 = value 2 +46 ll; call :f; exit; f: r0 = 0; exit",
	    BTF(3, 9)),
	XDP("global with the context", "call :f; exit; f: r0 = *(u32 *)(r1 +12); exit", BTF(3, 13)),
	XDP("global without the context", "r1 = 0; call :f; exit; f: r0 = *(u32 *)(r1 +12); exit",
	    BTF(3, 13)),
	XDP("global returns nothing", "call :f; r0 = 0; exit; f: r0 = 0; exit", BTF(3, 16)),
	XDP("global returns a pointer", "r1 = 0; call :f; exit; f: r0 = r10; exit", BTF(3, 6)),
	XDP("packet lost in a global function",
	    "r6 = r1;" PKT "r7 = r2; r1 = r6; call :f; r0 = *(u8 *)(r7 +0); out: r0 = 0; exit; f: "
	    "r2 = 4; call xdp_adjust_head; r0 = 0; exit",
	    BTF(3, 13)),

	/* ---- Callbacks ---- */
	XDP("loop",
	    "r1 = 5; r2 = func f ll; r3 = 0; r4 = 0; call loop; r0 = 0; exit; f: r0 = 0; exit",
	    BTF(3, 4)),
	XDP("loop, unknown count",
	    ANY "r1 = r0; r2 = func f ll; r3 = 0; r4 = 0; call loop; r0 = 0; exit; f: r0 = 0; exit",
	    BTF(3, 4)),
	XDP("callback returns 2",
	    "r1 = 5; r2 = func f ll; r3 = 0; r4 = 0; call loop; r0 = 0; exit; f: r0 = 2; exit",
	    BTF(3, 4)),
	XDP("callback returns nothing",
	    "r1 = 5; r2 = func f ll; r3 = 0; r4 = 0; call loop; r0 = 0; exit; f: exit", BTF(3, 4)),
	XDP("callback changes the stack",
	    "*(u64 *)(r10 -8) = 0; r1 = 500; r2 = func f ll; r3 = r10; r3 += -8; r4 = 0; call "
	    "loop; r1 = *(u64 *)(r10 -8); r2 = value 2 +0 ll; r2 += r1; r0 = *(u8 *)(r2 +0); exit; "
	    "f: r3 = *(u64 *)(r2 +0); r3 += 1; *(u64 *)(r2 +0) = r3; r0 = 0; exit",
	    BTF(3, 4)),
	XDP("callback, bounded by itself",
	    "*(u64 *)(r10 -8) = 0; r1 = 500; r2 = func f ll; r3 = r10; r3 += -8; r4 = 0; call "
	    "loop; r1 = *(u64 *)(r10 -8); if r1 > 40 goto out; r2 = value 2 +0 ll; r2 += r1; r0 = "
	    "*(u8 *)(r2 +0); out: r0 = 0; exit; f: r3 = *(u64 *)(r2 +0); r3 += 1; *(u64 *)(r2 +0) "
	    "= r3; r0 = 0; exit",
	    BTF(3, 4)),
	XDP("callback uses its context",
	    "r1 = 5; r2 = func f ll; r3 = 0; r4 = 0; call loop; r0 = 0; exit; f: r0 = *(u64 *)(r2 "
	    "+0); exit",
	    BTF(3, 4)),
	XDP("callback's number",
	    "r1 = 5; r2 = func f ll; r3 = 0; r4 = 0; call loop; r0 = 0; exit; f: r3 = value 2 +0 "
	    "ll; r3 += r1; r0 = *(u8 *)(r3 +0); r0 = 0; exit",
	    BTF(3, 4)),
	XDP("for each element",
	    "r1 = map 1 ll; r2 = func f ll; r3 = 0; r4 = 0; call for_each_map_elem; r0 = 0; exit; "
	    "f: r0 = *(u32 *)(r2 +0); r1 = *(u64 *)(r3 +0); r0 = 0; exit",
	    BTF(3, 4)),
	XDP("key changed",
	    "r1 = map 1 ll; r2 = func f ll; r3 = 0; r4 = 0; call for_each_map_elem; r0 = 0; exit; "
	    "f: *(u32 *)(r2 +0) = 0; r0 = 0; exit",
	    BTF(3, 4)),
	XDP("element behind its value",
	    "r1 = map 1 ll; r2 = func f ll; r3 = 0; r4 = 0; call for_each_map_elem; r0 = 0; exit; "
	    "f: *(u64 *)(r3 +8) = 0; r0 = 0; exit",
	    BTF(3, 4)),
	XDP("for each in a queue",
	    "r1 = map 9 ll; r2 = func f ll; r3 = 0; r4 = 0; call for_each_map_elem; r0 = 0; exit; "
	    "f: r0 = 0; exit",
	    BTF(3, 4)),
	XDP("record leaked by a callback",
	    "r1 = 5; r2 = func f ll; r3 = 0; r4 = 0; call loop; r0 = 0; exit; f:" RESERVE
	    "r0 = 0; exit",
	    BTF(3, 4)),
	XDP("record submitted in a callback",
	    RESERVE "if r0 == 0 goto out; *(u64 *)(r10 -8) = r0; r1 = 5; r2 = func f ll; r3 = r10; "
		    "r3 += -8; r4 = 0; call loop; out: r0 = 0; exit; f: r1 = *(u64 *)(r2 +0); r2 = "
		    "0; call ringbuf_submit; r0 = 0; exit",
	    BTF(3, 4)),
	XDP("nested loops",
	    "r1 = 9; r2 = func f ll; r3 = 0; r4 = 0; call loop; r0 = 0; exit; f: r1 = 9; r2 = func "
	    "g ll; r3 = 0; r4 = 0; call loop; r0 = 0; exit; g: r0 = 0; exit",
	    BTF(3, 4, 4)),

	/* ---- Tail calls ---- */
	XDP("tail call", "r2 = map 3 ll; r3 = 1; call tail_call; r0 = 0; exit"),
	XDP("tail call, r0 afterwards", "r2 = map 3 ll; r3 = 1; call tail_call; exit"),
	XDP("tail call without a prog array",
	    "r2 = map 0 ll; r3 = 1; call tail_call; r0 = 0; exit"),
	XDP("tail call without a map", "r2 = 5; r3 = 1; call tail_call; r0 = 0; exit"),
	XDP("tail call in a function",
	    "call :f; r0 = 0; exit; f: r2 = map 3 ll; r3 = 1; call tail_call; r0 = 0; exit"),
	XDP("tail call in a function with types",
	    "call :f; r0 = 0; exit; f: r2 = map 3 ll; r3 = 1; call tail_call; r0 = 0; exit",
	    BTF(3, 4)),
	XDP("tail call under much stack, with types",
	    "*(u64 *)(r10 -256) = 0; call :f; r0 = 0; exit; f: r2 = map 3 ll; r3 = 1; call "
	    "tail_call; r0 = 0; exit",
	    BTF(3, 4)),
	SF("load in a function with types",
	   "r6 = r1; call :f; r0 = 0; exit; f: r6 = r1; r0 = *(u8 *)skb[0]; exit", BTF(3, 4)),
	XDP("tail call under much stack", "*(u64 *)(r10 -256) = 0; call :f; r0 = 0; exit; f: r2 = "
					  "map 3 ll; r3 = 1; call tail_call; r0 = 0; exit"),

	/* ---- Loops ---- */
	XDP("bounded", "r1 = 0; l: r1 += 1; if r1 < 100 goto l; r0 = 0; exit"),
	XDP("bounded by an unknown",
	    ANY "r0 &= 31; r1 = 0; l: r1 += 1; if r1 < r0 goto l; r0 = 0; exit"),
	XDP("endless", "r0 = 0; l: goto l; exit"),
	XDP("endless with a branch", "l:" ANY "if r0 != 5 goto l; r0 = 0; exit", .flags = LONG),
	XDP("counting in steps of two", "r1 = 0; l: r1 += 2; if r1 != 101 goto l; r0 = 0; exit",
	    .flags = LONG),
	XDP("index of a loop", "r1 = 0; r2 = value 2 +0 ll; r0 = 0; l: r3 = r2; r3 += r1; r4 = "
			       "*(u8 *)(r3 +0); r0 += r4; r1 += 1; if r1 < 48 goto l; exit"),
	XDP("index of a loop, one too far",
	    "r1 = 0; r2 = value 2 +0 ll; r0 = 0; l: r3 = r2; r3 += r1; r4 = *(u8 *)(r3 +0); r0 += "
	    "r4; r1 += 1; if r1 < 49 goto l; exit"),
	XDP("nested", "r1 = 0; o: r2 = 0; i: r2 += 1; if r2 < 10 goto i; r1 += 1; if r1 < 10 goto "
		      "o; r0 = 0; exit"),
	XDP("packet walk",
	    PKT "r5 = 0; r0 = 0; l: r6 = r2; r6 += r5; r7 = r6; r7 += 1; if r7 > r3 goto out; r8 = "
		"*(u8 *)(r6 +0); r0 += r8; r5 += 1; if r5 < 64 goto l;" OUT),
	XDP("counter on the stack", "*(u64 *)(r10 -8) = 0; l: r1 = *(u64 *)(r10 -8); r1 += 1; "
				    "*(u64 *)(r10 -8) = r1; if r1 < 50 goto l; r0 = 0; exit"),
	XDP("too many steps", "r0 = 0; l: r0 += 1; if r0 < 0x100000 goto l; exit", .flags = LONG),

	/* ---- Joining paths ---- */
	XDP("diamonds",
	    ANY "r6 = r0; r0 = 0; if r6 & 1 goto +1; r0 += 1; if r6 & 2 goto +1; r0 += 1; if r6 & "
		"4 goto +1; r0 += 1; if r6 & 8 goto +1; r0 += 1; if r6 & 16 goto +1; r0 += 1; if "
		"r6 & 32 goto +1; r0 += 1; if r6 & 64 goto +1; r0 += 1; exit"),
	XDP("diamonds, sum as index",
	    ANY "r6 = r0; r7 = 0; if r6 & 1 goto +1; r7 += 7; if r6 & 2 goto +1; r7 += 13; if r6 & "
		"4 goto +1; r7 += 5; if r6 & 8 goto +1; r7 += 11; if r6 & 16 goto +1; r7 += 3; r1 "
		"= value 2 +0 ll; r1 += r7; r0 = *(u8 *)(r1 +0); exit"),
	XDP("diamonds, sum too large",
	    ANY "r6 = r0; r7 = 0; if r6 & 1 goto +1; r7 += 17; if r6 & 2 goto +1; r7 += 13; if r6 "
		"& 4 goto +1; r7 += 15; if r6 & 8 goto +1; r7 += 11; if r6 & 16 goto +1; r7 += 3; "
		"r1 = value 2 +0 ll; r1 += r7; r0 = *(u8 *)(r1 +0); exit"),
	XDP("one path leaves a register", ANY "if r0 == 0 goto +1; r6 = 1; r0 = r6; exit"),
	XDP("different pointers at one load",
	    ANY "r1 = r10; r1 += -8; *(u64 *)(r1 +0) = 0; if r0 == 0 goto +2; r1 = value 2 +0 ll; "
		"r0 = *(u64 *)(r1 +0); exit"),
	XDP("context or stack at one load",
	    "r6 = r1; *(u64 *)(r10 -24) = 0; r2 = r10; r2 += -24;" ANY
	    "if r0 == 0 goto +1; r2 = r6; r0 = *(u32 *)(r2 +12); exit"),
	XDP("dead slots", ANY "r6 = r0; *(u64 *)(r10 -8) = 1; if r6 & 1 goto +1; *(u64 *)(r10 -8) "
			      "= 2; if r6 & 2 goto +1; *(u64 *)(r10 -16) = 2; if r6 & 4 goto +1; "
			      "*(u64 *)(r10 -16) = 3; if r6 & 8 goto +0; r0 = 0; exit"),
	XDP("straight for long", "r0 = 0;", .repeat = 60000, .flags = LONG),

	/* ---- Results ---- */
	CG("result too large", "r0 = 2; exit"),
	CG("result unknown", ANY "exit"),
	CG("result bounded", ANY "r0 &= 1; exit"),
	CG("result is a pointer", "r0 = r1; exit"),
	XDP("any result", ANY64 "exit"),
	TC("result is a pointer, elsewhere", "r0 = r10; exit"),
	{0},
};
