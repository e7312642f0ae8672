/* SPDX-License-Identifier: Apache-2.0 */
/* Random XDP programs that stand at the border of what a verifier accepts. */
#ifndef SKEP_TEST_VERIFIER_GEN_H
#define SKEP_TEST_VERIFIER_GEN_H

#include <stdbool.h>
#include <stdint.h>

#include "bpf/uapi.h"

#define GEN_MAX   1024
#define GEN_VALUE 64 /* bytes of the array's value */

struct gen {
	struct bpf_insn insn[GEN_MAX];
	uint32_t n;
	uint64_t rng;
	int array, hash, ringbuf; /* descriptors of the maps */
	uint32_t kfunc[6]; /* bpf_iter_num_new, _next, _destroy, the same of bits; 0: not there */
	int iters; /* iterators around here */
	void (*body)(struct gen *g, int n); /* n statements */
	int depth;
	uint32_t calls[16], ncalls; /* pseudo calls to patch */
	int in_sub;
};

/* Fills g->insn from a seed; maps and kfuncs are set by the caller. Returns the number of slots. */
uint32_t gen_program(struct gen *g, uint64_t seed);

#endif
