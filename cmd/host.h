/* SPDX-License-Identifier: Apache-2.0 */
/* An instance for clients of bpf(2), as exec and serve make it: its options, ports, trace_pipe. */
#ifndef SKEP_CMD_HOST_H
#define SKEP_CMD_HOST_H

#include <stdbool.h>

#include "client/start.h"
#include "skep.h"

#define HOST_PORTS 8

struct skep_net_hook;
struct skep_tracefs;

struct host {
	struct skep_opts opts;
	const char *ports[HOST_PORTS]; /* "A" or "A,B" */
	unsigned nports;

	struct skep *skep;
	struct skep_tracefs *trace;
	struct skep_net_hook *hooks[HOST_PORTS];
	unsigned nhooks;
};

/* Rows for a table of long options, and what --help says of them. */
enum { HOST_O_INTERPRET = 1000, HOST_O_UNPRIVILEGED, HOST_O_PORT };
#define HOST_OPTIONS                                                                               \
	{"interpret", no_argument, NULL, HOST_O_INTERPRET},                                        \
		{"unprivileged", no_argument, NULL, HOST_O_UNPRIVILEGED},                          \
	{                                                                                          \
		"port", required_argument, NULL, HOST_O_PORT                                       \
	}
#define HOST_HELP                                                                                  \
	"      --interpret       run programs in the interpreter\n"                                \
	"      --unprivileged    give clients what an unprivileged user gets, whoever they are\n"  \
	"                        (default: by their own capabilities)\n"                           \
	"      --port A[,B]      clients may attach XDP and tcx ingress programs to interface "    \
	"A:\n"                                                                                     \
	"                        what comes in there goes through the program and out of B, and\n" \
	"                        what comes in at B out of A; without B it is watched only\n"

/* One of these options: 0, -EINVAL if it is none, -E2BIG if there are too many. */
int host_option(struct host *h, int option, const char *arg);
/* Says on standard error what is wrong: 0 or -errno. */
int host_open(struct host *h, const struct skep_start *view);
void host_close(struct host *h);
/* Why clients have no view of their own. */
void host_no_view(int err);

#endif
