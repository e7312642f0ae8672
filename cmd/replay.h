/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Packets of a capture through a program, on either runtime.
 */
#ifndef SKEP_CMD_REPLAY_H
#define SKEP_CMD_REPLAY_H

#include <stdbool.h>
#include <stdint.h>

#include "bpf/uapi.h"
#include "capture.h"
#include "skep.h"

/* Program types that take packets. */
struct packet_type {
	enum bpf_prog_type type;
	/* A verdict's name, by what the program returned for a frame of len bytes. */
	const char *(*name)(uint32_t verdict, uint32_t len);
	/* How many bytes of the frame go on; 0: none, it was dropped. */
	uint32_t (*passes)(uint32_t verdict, uint32_t len);
};

/* NULL if programs of the type take no packets. */
const struct packet_type *packet_type(enum bpf_prog_type type);

#define MAX_VERDICTS 24

struct replay {
	/* Set by the caller. */
	struct skep *skep; /* NULL: the kernel */
	int prog_fd;
	enum bpf_prog_type type;
	const struct capture *capture;
	uint64_t repeat; /* passes over the capture */
	struct capture_writer *writer; /* gets what passes in the first pass, or NULL */
	/* Called between batches with packets done, or NULL. */
	void (*tick)(void *arg, uint64_t done, uint64_t total);
	void *tick_arg;

	/* Results. */
	uint64_t packets, bytes; /* run */
	uint64_t passed;
	uint64_t skipped; /* the runtime took them not: too short or too long for it */
	int skip_err;
	uint64_t wall_ns; /* in the runtime, moving packets into place included */
	uint64_t prog_ns; /* in the program as the runtime measured it, 0 if it did not */
	struct {
		const char *name;
		uint64_t n;
	} verdicts[MAX_VERDICTS];
	uint32_t nverdicts;
};

/* 0 or -errno. */
int replay_run(struct replay *r);

#endif
