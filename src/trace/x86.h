/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Patching x86-64 machine code: moving the instructions at a place elsewhere, so that a jump can
 * stand there. Pure functions on bytes; who writes them into a process, and when, is patch.h's.
 * docs/tracing.md says what is moved how, and what is refused.
 */
#ifndef SKEP_TRACE_X86_H
#define SKEP_TRACE_X86_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define X86_JUMP      5 /* bytes of jmp rel32 */
#define X86_MAX_MOVED 24 /* bytes that may have to make room: 4 and an instruction of 15, rounded */
#define X86_MAX_OUT   256

/* The function (or piece of code) around a place, as far as it is known. */
struct x86_code {
	const uint8_t *bytes;
	uint64_t addr; /* of bytes[0] */
	size_t len;
	size_t room; /* bytes up to the next function: beyond len it is padding */
	bool whole; /* bytes are a whole function, so its branches are all known */
};

/* Instructions moved from a place to another. */
struct x86_moved {
	uint64_t addr; /* where they were */
	uint32_t len; /* bytes there, whole instructions (and padding after the last) */
	uint32_t n; /* instructions */
	uint8_t at[X86_MAX_MOVED], to[X86_MAX_MOVED]; /* of each: offset there, offset in out */
	uint32_t out_len; /* with the jump back */
	uint8_t out[X86_MAX_OUT];
};

/*
 * Moves whole instructions of at least `min` bytes from addr (inside code) so that they run at
 * `to`, and adds the jump to what follows them. 0, or
 *   -EINVAL   no instruction there, or not in the code
 *   -ERANGE   something it refers to is too far from `to`
 *   -ENOTSUP  it can't be moved soundly; *why says what is in the way
 */
int x86_move(struct x86_moved *m, const struct x86_code *code, uint64_t addr, uint64_t to,
	     size_t min, const char **why);

/* Where a thread that stands at pc among the moved bytes goes on, moved to `to`; 0: at no
 * instruction's beginning (pc is not in there, or is m->addr itself, which stays valid). */
uint64_t x86_moved_pc(const struct x86_moved *m, uint64_t pc, uint64_t to);

/* The jump from addr to `to`: false if it is too far. */
bool x86_jump_to(uint8_t out[X86_JUMP], uint64_t addr, uint64_t to);

/*
 * A trampoline for a probe: the entry's call, then the moved instructions.
 *	site (8 bytes, address of the record), entry (8 bytes), then the code.
 * `entry` is agent_enter_func or agent_enter_probe. *start gets the offset of the code.
 */
#define X86_STUB_HEAD 16
#define X86_STUB_CALL 19 /* bytes of code before the moved instructions */
#define X86_STUB_RAW  4 /* of those for system calls, between the two */
int x86_stub(uint8_t *out, size_t size, uint64_t site, uint64_t entry, const struct x86_moved *m,
	     bool syscall, uint32_t *len);

/* Length of the instruction at the beginning of bytes, 0: none. */
unsigned x86_length(const uint8_t *bytes, size_t len);
/* Whether an instruction begins at addr, seen from the beginning of the code. */
bool x86_is_boundary(const struct x86_code *code, uint64_t addr);
/* Whether any branch of the code with a fixed target leads into [lo, hi). */
bool x86_branches_into(const struct x86_code *code, uint64_t lo, uint64_t hi);
/* Whether the code jumps to addresses that it computes or loads (a table of cases). */
bool x86_jumps_by_table(const struct x86_code *code);

/* All fixed targets of branches in the code, sorted. free() addr. */
struct x86_targets {
	uint64_t *addr;
	size_t n, cap;
};
int x86_targets(const struct x86_code *code, struct x86_targets *out);
bool x86_targets_in(const struct x86_targets *t, uint64_t lo, uint64_t hi);

#endif
