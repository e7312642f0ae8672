/* SPDX-License-Identifier: Apache-2.0 */
/* Random programs that a verifier accepts, from a seed. */
#ifndef TEST_RNDPROG_H
#define TEST_RNDPROG_H

#include <stdint.h>

#include "bpf/uapi.h"

#define INSN(c, d, s, o, i)                                                                        \
	(struct bpf_insn)                                                                          \
	{                                                                                          \
		.code = (c), .dst_reg = (d), .src_reg = (s), .off = (o), .imm = (i)                \
	}

void rnd_seed(uint64_t n);
/* Below n. */
uint32_t rnd(uint32_t n);
/* Numbers that are likely to find something: small, powers of two, any. */
int64_t rnd_value(void);
struct bpf_insn rnd_alu(void);

/* Functions of R1, the address of 80 bytes, which are read and written: a soup of
 * instructions, and programs like those that compilers make. They fit 1,000 slots. */
int rnd_program(struct bpf_insn *out);
int rnd_compiled(struct bpf_insn *out);

#endif
