/* SPDX-License-Identifier: Apache-2.0 */
/* A trace from the command line: of a program, of one-line probes, of a tool. */
#ifndef SKEP_CMD_TRACE_H
#define SKEP_CMD_TRACE_H

#include <sys/types.h>

#include "cmd.h"
#include "probe.h"

#define MAX_PIDS  64
#define MAX_NAMED 32
#define MAX_SETS  512

struct trace_cmd {
	struct session s;
	pid_t pids[MAX_PIDS];
	uint32_t npids, nmaps, nsets;
	const char *maps[MAX_NAMED + 1], *sets[MAX_SETS];
	char **command;
	uint64_t duration_ns;
	bool json;
	struct probes probes;
	struct records *records;
	struct tracepipe *pipe; /* --runtime kernel */
	struct bpf_link **links;
	struct skep_trace *trace;
};

/* Does it all, and frees what belongs to it: the exit status. */
int trace_main(struct trace_cmd *c);

#endif
