/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Packets of a capture through a program, on either runtime.
 */
#ifndef SKEP_CMD_REPLAY_H
#define SKEP_CMD_REPLAY_H

#include <stdbool.h>
#include <stdint.h>

#include "bpf/uapi.h"
#include "net/capture.h"
#include "skep.h"

/* Rows of skep_verdicts() of any program type, at most. */
#define MAX_VERDICTS 16

/* Whether programs of the type take packets. */
bool takes_packets(enum bpf_prog_type type);

struct skep_verdict;

struct replay {
	/* Set by the caller. */
	struct skep *skep; /* NULL: the kernel */
	int prog_fd;
	enum bpf_prog_type type;
	const struct skep_capture *capture;
	uint64_t repeat; /* passes over the capture */
	struct skep_capture_writer *writer; /* gets what passes in the first pass, or NULL */
	/* Called between batches with packets done, or NULL. */
	void (*tick)(void *arg, uint64_t done, uint64_t total);
	void *tick_arg;

	/* Results. */
	const struct skep_verdict *rows;
	uint32_t nrows;
	uint64_t packets, bytes; /* run */
	uint64_t passed;
	uint64_t skipped; /* the runtime took them not: too short or too long for it */
	int skip_err;
	uint64_t wall_ns; /* in the runtime, moving packets into place included */
	uint64_t prog_ns; /* in the program as the runtime measured it, 0 if it did not */
	uint64_t verdicts[MAX_VERDICTS]; /* by row of skep_verdicts() */
};

/* 0 or -errno. */
int replay_run(struct replay *r);

#endif
