/* SPDX-License-Identifier: Apache-2.0 */
/*
 * skep trace: a program's probes in a command and its children, or in running processes.
 */
#include "trace.h"

#include <getopt.h>
#include <stdlib.h>
#include <string.h>

static const char usage[] = "usage: skep trace PROG.{bpf.c,o} [OPTIONS] -- COMMAND [ARGUMENTS]\n"
			    "       skep trace PROG.{bpf.c,o} [OPTIONS] -p PID\n"
			    "       skep trace -e PROBE [OPTIONS] {-- COMMAND | -p PID}\n";

static const char help[] =
	"\nAttaches a program's probes (uprobe, uretprobe, system calls: by its sections' names) "
	"to "
	"a\n"
	"command and its children, or to running processes. Shows what the program prints, its "
	"events\n"
	"as they come and, at the end, its maps. Or one-line probes, without a program:\n"
	"\n"
	"  syscall:openat        with wildcards: syscall:*at\n"
	"  uprobe:/bin/bash:readline, uprobe:c:malloc(size:ulong), "
	"uretprobe:c:getenv(name:str):str\n"
	"  ... if ret < 0 && comm == \"cat\"     fields: arguments, ret, latency, pid, tid, uid, "
	"comm\n"
	"\n"
	"Needs no root: the processes must be your own.\n"
	"\n"
	"  -e, --event PROBE     such a probe; may be repeated\n"
	"      --count           count calls instead of showing them\n"
	"      --hist FIELD      a histogram of latency, ret or an argument instead\n"
	"      --latency         with --count: the time they took\n"
	"      --by-pid          counts and histograms for each process\n"
	"      --stack           where each call comes from, by frame pointers\n"
	"  -p, --pid PID         trace this process; may be repeated\n"
	"  -t, --for TIME        stop after 10s, 500ms, 2m (a command runs on)\n"
	"  -m, --map NAME        show only this map, and all of it; may be repeated\n"
	"  -S, --set MAP[KEY]=VALUE  put an element into a map first; may be repeated\n"
	"      --json            JSON instead of text: an object a line, the last one with the "
	"maps\n"
	"      --runtime NAME    user (skep's own, the default) or kernel (Linux's, as root: "
	"probes\n"
	"                        fire in every process, so programs have to filter)\n"
	"      --cc NAME         compiler for C source: clang-16, bpf-gcc, a path\n"
	"  -h, --help\n"
	"\n"
	"Exit status: the command's; with -p 0; 1 refused or failed, 2 wrong usage.\n";

enum { O_JSON = 256, O_RUNTIME, O_CC, O_COUNT, O_HIST, O_STACK, O_BY_PID, O_LATENCY };

static const struct option options[] = {
	{"pid", required_argument, NULL, 'p'},
	{"for", required_argument, NULL, 't'},
	{"map", required_argument, NULL, 'm'},
	{"set", required_argument, NULL, 'S'},
	{"event", required_argument, NULL, 'e'},
	{"count", no_argument, NULL, O_COUNT},
	{"hist", required_argument, NULL, O_HIST},
	{"stack", no_argument, NULL, O_STACK},
	{"by-pid", no_argument, NULL, O_BY_PID},
	{"latency", no_argument, NULL, O_LATENCY},
	{"json", no_argument, NULL, O_JSON},
	{"runtime", required_argument, NULL, O_RUNTIME},
	{"cc", required_argument, NULL, O_CC},
	{"help", no_argument, NULL, 'h'},
	{NULL, 0, NULL, 0},
};

static int add_events(struct trace_cmd *c, const char *const *events, uint32_t n)
{
	struct skep_error err = {{0}, {0}};

	if (c->s.kernel)
		return misuse(usage, "-e PROBE works with skep's own runtime");
	for (uint32_t i = 0; i < n; i++)
		if (probes_add(&c->probes, events[i], &err)) {
			complain_error(&err);
			return EXIT_USAGE;
		}
	return -1;
}

/* -1: go on; otherwise the exit status. */
static int parse(struct trace_cmd *c, int argc, char **argv)
{
	static const char *events[PROBE_MAX];
	uint32_t nevents = 0;
	uint64_t n;
	int o;

	if (session_default(&c->s))
		return misuse(usage, "SKEP_RUNTIME is user or kernel, not \"%s\"",
			      getenv("SKEP_RUNTIME"));
	/* What follows "--" is the command's; before it, options and the program in any order. */
	while ((o = getopt_long(argc, argv, "p:t:m:S:e:h", options, NULL)) != -1) {
		switch (o) {
		case 'p':
			if (parse_number(optarg, 1, INT32_MAX, &n))
				return misuse(usage, "--pid wants a process id, not \"%s\"",
					      optarg);
			if (c->npids == MAX_PIDS)
				return misuse(usage, "--pid: at most %d processes", MAX_PIDS);
			c->pids[c->npids++] = (pid_t)n;
			break;
		case 't':
			if (parse_duration(optarg, &c->duration_ns))
				return misuse(usage, "--for wants a time such as 10s, not \"%s\"",
					      optarg);
			break;
		case 'm':
			if (c->nmaps == MAX_NAMED)
				return misuse(usage, "--map: at most %d maps", MAX_NAMED);
			c->maps[c->nmaps++] = optarg;
			break;
		case 'S':
			if (c->nsets == MAX_SETS)
				return misuse(usage, "--set: at most %d elements", MAX_SETS);
			c->sets[c->nsets++] = optarg;
			break;
		case 'e':
			if (nevents == PROBE_MAX)
				return misuse(usage, "--event: at most %d probes", PROBE_MAX);
			events[nevents++] = optarg;
			break;
		case O_COUNT:
			c->probes.count = true;
			break;
		case O_HIST:
			c->probes.hist = optarg;
			break;
		case O_STACK:
			c->probes.stack = true;
			break;
		case O_BY_PID:
			c->probes.by_pid = true;
			break;
		case O_LATENCY:
			c->probes.latency = true;
			break;
		case O_JSON:
			c->json = c->probes.json = true;
			break;
		case O_RUNTIME:
			if (session_runtime(&c->s, optarg))
				return misuse(usage, "--runtime is user or kernel, not \"%s\"",
					      optarg);
			break;
		case O_CC:
			c->s.cc = optarg;
			break;
		case 'h':
			fputs(usage, stdout);
			fputs(help, stdout);
			return EXIT_OK;
		default:
			fputs(usage, stderr);
			return EXIT_USAGE;
		}
	}
	if (nevents) {
		o = add_events(c, events, nevents);
		if (o >= 0)
			return o;
	} else if (optind == argc) {
		return misuse(usage, "which program? Pass C source, an object file, or -e PROBE.");
	} else {
		c->s.path = argv[optind++];
	}
	if (!nevents && (c->probes.count || c->probes.hist || c->probes.stack || c->probes.by_pid ||
			 c->probes.latency))
		return misuse(usage,
			      "--count, --hist, --latency, --by-pid and --stack are for -e PROBE");
	if (optind < argc)
		c->command = argv + optind;
	if (!c->command && !c->npids)
		return misuse(usage, "trace what? Pass -- COMMAND, or -p PID.");
	if (c->command && c->npids)
		return misuse(usage, "a command or -p PID, not both");
	return -1;
}

int cmd_trace(int argc, char **argv)
{
	struct trace_cmd *c = calloc(1, sizeof(*c));
	int status;

	if (!c)
		return EXIT_REFUSED;
	status = parse(c, argc, argv);
	if (status < 0)
		status = trace_main(c);
	else
		probes_free(&c->probes);
	free(c);
	return status;
}
