/* SPDX-License-Identifier: Apache-2.0 */
/* Binding an image to this process, and what bound instructions mean besides. */
#ifndef SKEP_BIND_H
#define SKEP_BIND_H

#include "exec/exec.h"

/* Modes of BPF_LDX in bound instructions: loads of memory that may not be there. */
#define SKEP_PROBE_MEM   0x20
#define SKEP_PROBE_MEMSX 0x40

/* Mark in the value of a function that the interpreter runs, see skep_call(). */
#define SKEP_FUNC_INTERP 1u

/* The value that a reloc stands for in this process; functions are not resolved here.
 * -ENOENT: names nothing. */
int skep_reloc_value(const struct skep_prog *prog, const struct skep_reloc *reloc, uint64_t *value);

#endif
