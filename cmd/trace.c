/* SPDX-License-Identifier: Apache-2.0 */
/*
 * skep trace: a program's probes in a command and its children, or in running processes.
 */
#include "cmd.h"

#include <bpf/libbpf.h>
#include <errno.h>
#include <getopt.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "maps.h"
#include "notes.h"
#include "out.h"
#include "set.h"
#include "tracepipe.h"
#include "trace/trace.h"

static const char usage[] = "usage: skep trace PROG.{bpf.c,o} [OPTIONS] -- COMMAND [ARGUMENTS]\n"
			    "       skep trace PROG.{bpf.c,o} [OPTIONS] -p PID\n";

static const char help[] =
	"\nAttaches a program's probes (uprobe, uretprobe: by its sections' names) to functions of "
	"a\n"
	"command and its children, or of running processes. Shows what the program prints and, at "
	"the\n"
	"end, its maps. Needs no root: the processes must be your own.\n"
	"\n"
	"  -p, --pid PID         trace this process; may be repeated\n"
	"  -t, --for TIME        stop after 10s, 500ms, 2m (a command runs on)\n"
	"  -m, --map NAME        show only this map, and all of it; may be repeated\n"
	"  -S, --set MAP[KEY]=VALUE  put an element into a map first; may be repeated\n"
	"      --json            one JSON object at the end instead of text\n"
	"      --runtime NAME    user (skep's own, the default) or kernel (Linux's, as root: "
	"probes\n"
	"                        fire in every process, so programs have to filter)\n"
	"      --cc NAME         compiler for C source: clang-16, bpf-gcc, a path\n"
	"  -h, --help\n"
	"\n"
	"Exit status: the command's; with -p 0; 1 refused or failed, 2 wrong usage.\n";

#define MAX_PIDS  64
#define MAX_NAMED 32
#define MAX_SETS  512
#define STEP_MS   20

struct trace_cmd {
	struct session s;
	pid_t pids[MAX_PIDS];
	uint32_t npids, nmaps, nsets;
	const char *maps[MAX_NAMED + 1], *sets[MAX_SETS];
	char **command;
	uint64_t duration_ns;
	bool json;
	struct records *records;
	struct tracepipe *pipe; /* --runtime kernel */
	struct bpf_link **links;
	struct skep_trace *trace;
};

static volatile sig_atomic_t stop;

static void on_signal(int sig)
{
	(void)sig;
	stop = 1;
}

enum { O_JSON = 256, O_RUNTIME, O_CC };

static const struct option options[] = {
	{"pid", required_argument, NULL, 'p'},
	{"for", required_argument, NULL, 't'},
	{"map", required_argument, NULL, 'm'},
	{"set", required_argument, NULL, 'S'},
	{"json", no_argument, NULL, O_JSON},
	{"runtime", required_argument, NULL, O_RUNTIME},
	{"cc", required_argument, NULL, O_CC},
	{"help", no_argument, NULL, 'h'},
	{NULL, 0, NULL, 0},
};

/* -1: go on; otherwise the exit status. */
static int parse(struct trace_cmd *c, int argc, char **argv)
{
	uint64_t n;
	int o;

	if (session_default(&c->s))
		return misuse(usage, "SKEP_RUNTIME is user or kernel, not \"%s\"",
			      getenv("SKEP_RUNTIME"));
	/* What follows "--" is the command's; before it, options and the program in any order. */
	while ((o = getopt_long(argc, argv, "p:t:m:S:h", options, NULL)) != -1) {
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
		case O_JSON:
			c->json = true;
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
	if (optind == argc)
		return misuse(usage, "which program? Pass C source or an object file.");
	c->s.path = argv[optind++];
	if (optind < argc)
		c->command = argv + optind;
	if (!c->command && !c->npids)
		return misuse(usage, "trace what? Pass -- COMMAND, or -p PID.");
	if (c->command && c->npids)
		return misuse(usage, "a command or -p PID, not both");
	return -1;
}

/* bpf_printk goes where it does not mix with JSON. */
static void on_printk(void *arg, const char *text, size_t len)
{
	struct trace_cmd *c = arg;
	FILE *f = c->json ? stderr : stdout;

	fwrite(text, 1, len, f);
	if (!len || text[len - 1] != '\n')
		fputc('\n', f);
}

static void on_notice(void *arg, const char *text)
{
	(void)arg;
	complain("%s", text);
}

static int set_elements(struct trace_cmd *c)
{
	struct skep_error why = {{0}, {0}};
	int err = 0;

	for (uint32_t i = 0; i < c->nsets && !err; i++)
		err = set_element(c->s.obj, c->sets[i], &why);
	if (err)
		complain_error(&why);
	return err;
}

static int load(struct trace_cmd *c)
{
	bool told = false;
	char why[1024];
	int err;

	c->s.keep = true;
	err = session_load(&c->s);
	if (!err)
		return set_elements(c);
	for (uint32_t i = 0; i < c->s.nverdicts; i++) {
		const struct verdict *v = &c->s.verdicts[i];

		if (!v->tried || v->accepted)
			continue;
		complain("program %s is refused:", v->name);
		print_refusal(stderr, &c->s, v, color_on(stderr));
		told = true;
	}
	if (!told) {
		session_warnings(why, sizeof(why), err);
		complain("%s can't be loaded: %s", c->s.path, why);
	}
	return err;
}

/* ---- The kernel's runtime: libbpf attaches, to all processes ---- */

static int attach_kernel(struct trace_cmd *c)
{
	char why[1024];

	c->links = calloc(c->s.nverdicts, sizeof(struct bpf_link *));
	if (!c->links)
		return -ENOMEM;
	for (uint32_t i = 0; i < c->s.nverdicts; i++) {
		c->links[i] = bpf_program__attach(session_program(&c->s, i));
		if (!c->links[i]) {
			int e = -errno;

			session_warnings(why, sizeof(why), e);
			complain("program %s can't be attached: %s", c->s.verdicts[i].name, why);
			return e;
		}
	}
	if (tracepipe_wanted(c->s.obj) && tracepipe_open(&c->pipe, true, on_printk, c))
		complain("bpf_printk is not shown: the kernel's trace can't be read");
	return 0;
}

static int start_kernel(struct trace_cmd *c, pid_t *pid)
{
	*pid = fork();
	if (!*pid) {
		execvp(c->command[0], c->command);
		complain("%s: %s", c->command[0], strerror(errno));
		_exit(errno == ENOENT ? 127 : 126);
	}
	return *pid < 0 ? -errno : 0;
}

static int serve_kernel(struct trace_cmd *c, pid_t pid, int *status)
{
	struct timespec ts = {0, STEP_MS * 1000000L};

	tracepipe_take(c->pipe);
	if (pid > 0 && waitpid(pid, status, WNOHANG) == pid)
		return -ECHILD;
	nanosleep(&ts, NULL);
	return 0;
}

static void detach_kernel(struct trace_cmd *c)
{
	for (uint32_t i = 0; c->links && i < c->s.nverdicts; i++)
		bpf_link__destroy(c->links[i]);
	free(c->links);
	c->links = NULL;
	tracepipe_take(c->pipe);
}

/* ---- skep's own ---- */

static int attach(struct trace_cmd *c)
{
	struct skep_trace_opts opts = {.notice = on_notice, .notice_arg = c};
	struct skep_error err = {{0}, {0}};
	int e = skep_trace_open(&c->trace, c->s.skep, &opts, &err);

	for (uint32_t i = 0; i < c->s.nverdicts && !e; i++) {
		struct bpf_program *prog = session_program(&c->s, i);
		int n = skep_trace_section(c->trace, bpf_program__fd(prog),
					   c->s.verdicts[i].section, &err);

		e = n < 0 ? n : 0;
	}
	if (e)
		complain_error(&err);
	return e;
}

static void show(struct trace_cmd *c)
{
	struct maps_opts m = {.names = c->nmaps ? c->maps : NULL,
			      .records = c->records,
			      .color = !c->json && color_on(stdout)};
	uint64_t missed = c->trace ? skep_trace_missed(c->trace) : 0;
	struct json j;

	if (!c->json) {
		maps_text(stdout, c->s.obj, &m);
	} else {
		json_begin(&j, stdout);
		json_open(&j, '{');
		json_key(&j, "maps");
		maps_json(&j, c->s.obj, &m);
		json_key(&j, "missed");
		json_u64(&j, missed);
		json_close(&j, '}');
		json_end(&j);
	}
	if (missed)
		complain("%llu events were missed", (unsigned long long)missed);
}

static uint64_t now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
}

static bool any_alive(const struct trace_cmd *c)
{
	for (uint32_t i = 0; i < c->npids; i++)
		if (!kill(c->pids[i], 0) || errno == EPERM)
			return true;
	return false;
}

static int run(struct trace_cmd *c)
{
	struct sigaction sa = {.sa_handler = on_signal};
	struct skep_error err = {{0}, {0}};
	uint64_t start = now_ns();
	int e = 0, status = 0;
	pid_t pid = 0;

	sigaction(SIGINT, &sa, NULL);
	sigaction(SIGTERM, &sa, NULL);
	if (c->command)
		e = c->s.kernel ? start_kernel(c, &pid)
				: skep_trace_start(c->trace, c->command, &pid, &err);
	for (uint32_t i = 0; i < c->npids && !e && !c->s.kernel; i++)
		e = skep_trace_enter(c->trace, c->pids[i], &err);
	if (e) {
		complain_error(&err);
		return EXIT_REFUSED;
	}
	/* The terminal's Ctrl-C reaches the command as well: its end is the end. */
	while (!e && (c->command || !stop)) {
		e = c->s.kernel ? serve_kernel(c, pid, &status)
				: skep_trace_serve(c->trace, STEP_MS, &status);
		records_take(c->records);
		fflush(stdout);
		if (c->duration_ns && now_ns() - start > c->duration_ns)
			break;
		if (c->npids && !any_alive(c))
			break;
	}
	if (c->s.kernel)
		detach_kernel(c);
	else
		skep_trace_detach(c->trace);
	records_take(c->records);
	show(c);
	if (!c->command || e != -ECHILD)
		return EXIT_OK;
	return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

int cmd_trace(int argc, char **argv)
{
	struct trace_cmd c = {0};
	int status = parse(&c, argc, argv), e;

	if (status >= 0)
		return status;
	c.s.printk = on_printk;
	c.s.printk_arg = &c;
	status = EXIT_REFUSED;
	if (!session_open(&c.s) && !load(&c)) {
		e = records_open(&c.records, c.s.obj);
		if (e)
			complain("the ring buffers can't be mapped: %s", strerror(-e));
		else if (!(c.s.kernel ? attach_kernel(&c) : attach(&c)))
			status = run(&c);
	}
	skep_trace_close(c.trace);
	detach_kernel(&c);
	tracepipe_close(c.pipe);
	records_close(c.records);
	session_close(&c.s);
	return status;
}
