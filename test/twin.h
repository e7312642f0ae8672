/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One program, loaded twice: by the running kernel and by skep, run with the
 * same arguments of BPF_PROG_TEST_RUN, and everything that comes back compared.
 */
#ifndef TEST_TWIN_H
#define TEST_TWIN_H

#include <stdbool.h>
#include <stdint.h>

#include "bpf/uapi.h"
#include "skep.h"

struct twin {
	struct skep *skep;
	int kernel_fd, skep_fd;
	const char *name; /* of the program type */
};

/* What a run is given; sizes of 0: none. */
struct twin_run {
	const void *data;
	uint32_t size;
	const void *ctx;
	uint32_t ctx_size;
	uint32_t out_size; /* as the caller says: may be too small */
	uint32_t ctx_out_size;
	uint32_t flags, cpu, repeat, batch_size, duration;
	bool no_data_out, no_ctx_out;
};

/* Opens an instance with SKEP_F_* flags (or with those of SKEP_TEST_FLAGS), or skips the test
 * where the kernel can't be asked. */
struct skep *twin_open(uint32_t flags);
/* 0, or the kernel's -errno (with its log printed). Fails when skep answers otherwise. */
int twin_load(struct twin *t, struct skep *skep, uint32_t type, const struct bpf_insn *insns,
	      uint32_t n);
/* The same with flags of PROG_LOAD. */
int twin_load_flags(struct twin *t, struct skep *skep, uint32_t type, uint32_t flags,
		    const struct bpf_insn *insns, uint32_t n);
/* Runs both and fails, with `what` and the difference, unless all is equal. Returns what the
 * kernel answered; *retval (may be NULL) is the program's result. */
int twin_run(struct twin *t, const struct twin_run *run, uint32_t *retval, const char *what);
void twin_unload(struct twin *t);

#endif
