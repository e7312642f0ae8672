/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Helpers: one row each. The verifier checks calls against the row, the
 * interpreter and the JIT call its function, feature probes list it.
 * A new helper is one row and one function.
 */
#ifndef SKEP_HELPER_H
#define SKEP_HELPER_H

#include <stdbool.h>
#include <stdint.h>

#include "exec/exec.h"

/* What an argument must be. Names follow the kernel's enum bpf_arg_type. */
enum skep_arg {
	SKEP_ARG_NONE, /* not there */
	SKEP_ARG_ANYTHING, /* any initialised value */
	SKEP_ARG_CONST_MAP_PTR,
	SKEP_ARG_MAP_KEY, /* memory of the map's key_size */
	SKEP_ARG_MAP_VALUE, /* memory of the map's value_size */
	SKEP_ARG_MEM, /* memory, size in the next argument or in .size */
	SKEP_ARG_SIZE, /* size of the memory before it, > 0 */
	SKEP_ARG_SIZE_OR_ZERO,
	SKEP_ARG_CTX,
	SKEP_ARG_SPIN_LOCK,
	SKEP_ARG_TIMER,
	SKEP_ARG_ALLOC_MEM, /* a ring buffer record (reserved) */
	SKEP_ARG_ALLOC_SIZE_OR_ZERO, /* constant size of the record to reserve */
	SKEP_ARG_FUNC, /* a callback */
	SKEP_ARG_CONST_STR, /* NUL-terminated string in frozen, read-only map data */
	SKEP_ARG_STACK, /* pointer to the stack */
	SKEP_ARG_LONG, /* pointer to 8 aligned bytes, output */
	SKEP_ARG_INT, /* pointer to 4 aligned bytes, output */
	SKEP_ARG_SOCK_COMMON,
	SKEP_ARG_BTF_SOCK_COMMON, /* the same or one that the kernel's BTF describes */
	SKEP_ARG_SOCKET,
	SKEP_ARG_PERCPU_BTF_ID,
	SKEP_ARG_BTF_ID,
	SKEP_ARG_DYNPTR,
	SKEP_ARG_KPTR,
	SKEP_ARG_KIND = 0xff,
	/* Flags */
	SKEP_ARG_MAYBE_NULL = 0x100,
	SKEP_ARG_UNINIT = 0x200, /* written by the helper; need not be initialised */
	SKEP_ARG_RDONLY = 0x400, /* the helper only reads it: read-only memory will do */
	SKEP_ARG_RELEASE = 0x800, /* gives a reference back */
	SKEP_ARG_FIXED_SIZE = 0x1000, /* memory of .size bytes */
	SKEP_ARG_ALIGNED = 0x2000,
	SKEP_ARG_WRITE = 0x4000, /* MEM that the helper writes but that must be initialised */
};

enum skep_ret {
	SKEP_RET_INTEGER,
	SKEP_RET_VOID,
	SKEP_RET_MAP_VALUE, /* pointer to a value of the map argument */
	SKEP_RET_MAP_VALUE_OR_NULL,
	SKEP_RET_ALLOC_MEM_OR_NULL,
	SKEP_RET_SOCKET_OR_NULL,
	SKEP_RET_TCP_SOCK_OR_NULL,
	SKEP_RET_SOCK_COMMON_OR_NULL,
	SKEP_RET_MEM_OR_BTF_ID, /* per_cpu_ptr, this_cpu_ptr */
	SKEP_RET_MEM_OR_BTF_ID_OR_NULL,
	SKEP_RET_BTF_ID,
	SKEP_RET_BTF_ID_OR_NULL,
	SKEP_RET_DYNPTR_MEM_OR_NULL,
};

#define SKEP_HELPER_GPL         0x01u /* only for GPL-compatible programs */
#define SKEP_HELPER_PKT         0x02u /* packet pointers may be arguments (pkt_access) */
#define SKEP_HELPER_CHANGES_PKT 0x04u /* invalidates packet pointers */
#define SKEP_HELPER_SLEEPS      0x08u
#define SKEP_HELPER_PRIV        0x10u /* needs CAP_BPF (not for unprivileged programs) */
#define SKEP_HELPER_PERFMON     0x20u /* needs CAP_PERFMON */
#define SKEP_HELPER_NO_FN       0x40u /* the verifier or interpreter does it (tail_call ...) */

struct skep_helper {
	const char *name; /* without bpf_ */
	skep_helper_fn *fn;
	uint64_t progs; /* bit per program type that may call it */
	uint16_t arg[5];
	uint16_t size[5]; /* of FIXED_SIZE arguments, bytes; of DYNPTR, enum skep_dynptr_kind */
	uint8_t ret;
	uint8_t flags;
	const char *ret_type; /* RET_BTF_ID: the structure, in skep's BTF */
	const char *arg_type; /* ARG_BTF_ID: the same */
};

/* Functions that only rewritten programs call (verifier/rewrite.c): rows without a name, so
 * that no program can ask for them. Arguments: skb, offset; result < 0: no such bytes. */
#define SKEP_HELPER_LOAD_8  212
#define SKEP_HELPER_LOAD_16 213
#define SKEP_HELPER_LOAD_32 214

/* A variable with a copy per CPU slot, as references to typed variables name it. */
struct skep_percpu {
	uint64_t stride; /* bytes from one CPU's copy to the next one's */
	uint8_t data[]; /* CPU 0's copy; references point here */
};

#define SKEP_MAX_HELPERS 215
/* By BPF_FUNC_ id; rows without a name are not there. */
extern const struct skep_helper skep_helpers[SKEP_MAX_HELPERS];

/* The row that holds for a type of program: some helpers have another shape for some types. NULL: it may
 * not call it. */
const struct skep_helper *skep_helper_row(uint32_t id, uint32_t prog_type);

/* Names of all helpers that the kernel defines, by id, known here or not: for
 * disassembly and messages ("map_lookup_elem"); NULL if out of range. */
const char *skep_helper_name(uint32_t id);

#endif
