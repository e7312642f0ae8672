/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A program on live interfaces, on either runtime.
 */
#ifndef SKEP_CMD_LIVE_H
#define SKEP_CMD_LIVE_H

#include <stdbool.h>
#include <stdint.h>

#include "bpf/uapi.h"
#include "client/error.h"
#include "skep.h"

struct live_stats {
	uint64_t ns; /* since the start */
	uint64_t frames, bytes; /* in at A; the kernel runtime does not count bytes */
	uint64_t verdicts[16]; /* by row of skep_verdicts() */
	uint64_t passed, dropped, returned, redirected;
	uint64_t backwards; /* frames from B to A */
	uint64_t lost; /* by full rings and queues */
	uint64_t run_ns; /* in the program and around it, 0 if not measured */
};

struct live {
	struct skep *skep; /* NULL: the kernel */
	int prog_fd;
	enum bpf_prog_type type;
	const char *iface, *bridge; /* bridge NULL: see live_run */
	uint64_t duration_ns; /* 0: until SIGINT or SIGTERM */
	void (*tick)(void *arg, const struct live_stats *s); /* each second */
	void (*idle)(void *arg); /* often: read ring buffers and the like */
	void *arg;

	/* The kernel runtime: made by live_prepare_kernel(). */
	int counts_fd, out_fd, back_fd;
	unsigned int a, b; /* interface numbers */
};

/* Checks the interfaces. Before anything is loaded: 0 or -errno with err filled in. */
int live_check(struct live *l, struct skep_error *err);

/* The kernel runtime's program is the user's, called by a small one that counts verdicts and, with
 * a bridge, sends what passes to the other interface through a devmap. Makes the maps. */
int live_prepare_kernel(struct live *l, struct skep_error *err);
/* Puts the small program before the one that attr loads: *insns and *funcs are the caller's to free. */
int live_wrap(const struct live *l, union bpf_attr *attr, struct bpf_insn **insns,
	      struct bpf_func_info **funcs);

/* Runs until told to stop. With a bridge it stands in the wire: what is dropped is gone. Without one,
 * skep's runtime watches only; the kernel's attaches the program, whose verdicts then count. */
int live_run(struct live *l, struct live_stats *out, struct skep_error *err);
int live_run_kernel(struct live *l, const volatile int *stop, struct live_stats *out,
		    struct skep_error *err);
void live_close(struct live *l);

#endif
