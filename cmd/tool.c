/* SPDX-License-Identifier: Apache-2.0 */
#include "tool.h"

#include <fcntl.h>
#include <getopt.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "cmd.h"
#include "out.h"
#include "trace.h"

/* ---- Columns ---- */

static int find_arg(const struct probe_line *l, const char *name)
{
	for (int i = 0; i < l->spec->nargs; i++)
		if (!strcmp(l->spec->args[i].name, name))
			return i;
	return -1;
}

/* The first argument of a kind. */
static int find_kind(const struct probe_line *l, enum arg_kind kind)
{
	for (int i = 0; i < l->spec->nargs; i++)
		if (l->spec->args[i].kind == kind)
			return i;
	return -1;
}

static void put_pid(FILE *f, const struct probe_line *l)
{
	fprintf(f, "%-7u", l->e->pid);
}

static void put_tid(FILE *f, const struct probe_line *l)
{
	fprintf(f, "%-7u", l->e->tid);
}

static void put_uid(FILE *f, const struct probe_line *l)
{
	fprintf(f, "%-6u", l->e->uid);
}

static void put_comm(FILE *f, const struct probe_line *l)
{
	fprintf(f, "%-16.16s", l->e->comm);
}

static void put_time(FILE *f, const struct probe_line *l)
{
	time_t now = time(NULL);
	struct tm tm;
	char text[16];

	strftime(text, sizeof(text), "%H:%M:%S", localtime_r(&now, &tm));
	fprintf(f, "%-8s", text);
}

/* Who made whom, as far as it was seen. */
#define PARENTS 4096
static const char *const makers[] = {"clone", "clone3", "fork", "vfork"};

static bool note_child(const struct probe_line *l)
{
	for (size_t i = 0; i < sizeof(makers) / sizeof(makers[0]); i++)
		if (!strcmp(l->name, makers[i])) {
			if (l->e->ret > 0 && l->all->parents)
				l->all->parents[l->e->ret % PARENTS] =
					(struct probe_parent){(uint32_t)l->e->ret, l->e->pid};
			return true;
		}
	return false;
}

/* "-": nobody knows any more. */
static void put_ppid(FILE *f, const struct probe_line *l)
{
	const struct probe_parent *p =
		l->all->parents ? &l->all->parents[l->e->pid % PARENTS] : NULL;
	char path[48], line[256];
	long ppid = p && p->child == l->e->pid ? p->parent : 0;
	FILE *s;

	snprintf(path, sizeof(path), "/proc/%u/status", l->e->pid);
	s = ppid ? NULL : fopen(path, "re");
	while (s && fgets(line, sizeof(line), s))
		if (!strncmp(line, "PPid:", 5))
			ppid = strtol(line + 5, NULL, 10);
	if (s)
		fclose(s);
	if (ppid)
		fprintf(f, "%-7ld", ppid);
	else
		fprintf(f, "%-7s", "-");
}

static void put_fd(FILE *f, const struct probe_line *l)
{
	fprintf(f, "%3lld", l->e->ret < 0 ? -1 : l->e->ret);
}

static void put_err(FILE *f, const struct probe_line *l)
{
	fprintf(f, "%3d", probe_error(l));
}

static void put_ret(FILE *f, const struct probe_line *l)
{
	fprintf(f, "%4lld", l->no_return ? 0 : l->e->ret);
}

static void put_path(FILE *f, const struct probe_line *l)
{
	int i = find_kind(l, ARG_PATH);
	const struct probe_event *e = l->e;

	for (int k = 0; k < PROBE_TEXTS; k++)
		if (l->spec->set.text_kind[k] == TEXT_STRING && l->spec->set.text_field[k] == i &&
		    k < e->ntext)
			fprintf(f, "%.*s", (int)(e->len[k] ? e->len[k] - 1 : 0), e->text[k]);
}

static void put_flags(FILE *f, const struct probe_line *l)
{
	int i = find_kind(l, ARG_OPEN);

	fprintf(f, "%08o", i < 0 ? 0 : (unsigned)l->e->args[i]);
}

static void put_argv(FILE *f, const struct probe_line *l)
{
	const struct probe_event *e = l->e;

	for (int k = 0; k < e->ntext && k < PROBE_TEXTS; k++) {
		const char *p = e->text[k], *end = p + e->len[k];

		if (l->spec->set.text_kind[k] != TEXT_ARGV)
			continue;
		for (bool first = true; p < end; p += strnlen(p, (size_t)(end - p)) + 1) {
			fprintf(f, first ? "%.*s" : " %.*s", (int)strnlen(p, (size_t)(end - p)), p);
			first = false;
		}
	}
}

static void put_name(FILE *f, const struct probe_line *l)
{
	fprintf(f, "%-16s", l->name);
}

static void put_signal(FILE *f, const struct probe_line *l)
{
	int i = find_kind(l, ARG_SIGNAL);

	fprintf(f, "%-3d", i < 0 ? 0 : (int)l->e->args[i]);
}

static void put_target(FILE *f, const struct probe_line *l)
{
	int i = find_arg(l, "pid");

	if (i < 0)
		i = find_arg(l, "tgid");
	fprintf(f, "%-6d", i < 0 ? 0 : (int)l->e->args[i]);
}

static void put_result(FILE *f, const struct probe_line *l)
{
	fprintf(f, "%d", -probe_error(l));
}

static void put_code(FILE *f, const struct probe_line *l)
{
	fprintf(f, "%d", (int)l->e->args[0] & 0xff);
}

static void put_ms(FILE *f, const struct probe_line *l)
{
	fprintf(f, "%10.3f", (double)l->e->took / 1e6);
}

static void put_text(FILE *f, const struct probe_line *l)
{
	/* With the NUL that ends it. */
	if (l->e->ntext && l->e->len[0] > 1)
		fprintf(f, "%.*s", (int)l->e->len[0] - 1, l->e->text[0]);
}

static void put_retval(FILE *f, const struct probe_line *l)
{
	fprintf(f, "%16lld", l->e->ret);
}

static void put_func(FILE *f, const struct probe_line *l)
{
	fputs(l->name, f);
}

static void put_bytes(FILE *f, const struct probe_line *l)
{
	fprintf(f, "%7lld", l->e->ret);
}

static void put_descriptor(FILE *f, const struct probe_line *l)
{
	fprintf(f, "%4d", (int)l->e->args[0]);
}

#define TIME_C                                                                                     \
	{                                                                                          \
		"TIME    ", put_time                                                               \
	}
#define PID_C                                                                                      \
	{                                                                                          \
		"PID    ", put_pid                                                                 \
	}
#define COMM_C                                                                                     \
	{                                                                                          \
		"COMM            ", put_comm                                                       \
	}

#define OPEN_C                                                                                     \
	PID_C, COMM_C, {" FD", put_fd},                                                            \
	{                                                                                          \
		"ERR", put_err                                                                     \
	}
static const struct probe_column open_columns[] = {OPEN_C, {"PATH", put_path}, {NULL, NULL}};
static const struct probe_column open_flags[] = {
	OPEN_C, {"FLAGS   ", put_flags}, {"PATH", put_path}, {NULL, NULL}};
static const struct probe_column exec_columns[] = {{"PCOMM           ", put_comm},
						   PID_C,
						   {"PPID   ", put_ppid},
						   {" RET", put_ret},
						   {"ARGS", put_argv},
						   {NULL, NULL}};
static const struct probe_column exit_columns[] = {
	{"PCOMM           ", put_comm}, PID_C,       {"PPID   ", put_ppid}, {"TID    ", put_tid},
	{"EXIT_CODE", put_code},        {NULL, NULL}};
static const struct probe_column sig_columns[] = {TIME_C,
						  PID_C,
						  COMM_C,
						  {"SIG", put_signal},
						  {"TPID  ", put_target},
						  {"RESULT", put_result},
						  {NULL, NULL}};
static const struct probe_column host_columns[] = {
	TIME_C, PID_C, COMM_C, {"    LATms ", put_ms}, {"HOST", put_text}, {NULL, NULL}};
static const struct probe_column line_columns[] = {
	TIME_C, PID_C, {"COMMAND", put_text}, {NULL, NULL}};
static const struct probe_column slower_columns[] = {COMM_C,
						     PID_C,
						     {"   LAT(ms)", put_ms},
						     {"            RVAL", put_retval},
						     {"FUNC", put_func},
						     {NULL, NULL}};
static const struct probe_column file_columns[] = {TIME_C,
						   COMM_C,
						   {"TID    ", put_tid},
						   {"CALL            ", put_name},
						   {"  FD", put_descriptor},
						   {"  BYTES", put_bytes},
						   {"   LAT(ms)", put_ms},
						   {NULL, NULL}};

/* ---- The tools ---- */

/* -u is a user, but for tools with -m, where it is microseconds. */
struct tool {
	const char *name, *what;
	const char *probes[8]; /* %s: what stands on the command line */
	const struct probe_column *columns, *wide; /* wide: with -e */
	const char *letters; /* getopt's */
	const char *arg; /* what has to stand on the command line, NULL: nothing */
	enum { EVENTS, COUNTS, HIST } mode;
	const char *title; /* of counts */
	bool parents; /* who made whom is wanted */
	const char *help; /* of its own options */
};

static const struct tool tools[] = {
	{.name = "execsnoop",
	 .what = "programs that are executed",
	 .probes = {"syscall:execve", "syscall:execveat", "syscall:clone", "syscall:clone3",
		    "syscall:fork", "syscall:vfork"},
	 .parents = true,
	 .columns = exec_columns,
	 .letters = "hp:t:u:n:TUxd:",
	 .help = "  -x               those that failed as well\n"},
	{.name = "opensnoop",
	 .what = "files that are opened",
	 .probes = {"syscall:openat", "syscall:open", "syscall:openat2", "syscall:creat"},
	 .columns = open_columns,
	 .wide = open_flags,
	 .letters = "hp:t:u:n:TUxd:e",
	 .help = "  -x               only those that failed\n  -e               the flags, too\n"},
	{.name = "statsnoop",
	 .what = "files that are asked about",
	 .probes = {"syscall:newfstatat", "syscall:statx", "syscall:stat", "syscall:lstat",
		    "syscall:statfs"},
	 .columns = open_columns,
	 .letters = "hp:t:u:n:TUxd:",
	 .help = "  -x               only those that failed\n"},
	{.name = "exitsnoop",
	 .what = "processes that end by themselves",
	 .probes = {"syscall:exit_group", "syscall:clone", "syscall:clone3", "syscall:fork",
		    "syscall:vfork"},
	 .parents = true,
	 .columns = exit_columns,
	 .letters = "hp:t:u:n:TUxd:",
	 .help = "  -x               only those with a status that is not 0\n"},
	{.name = "sigsnoop",
	 .what = "signals that are sent by system calls",
	 .probes = {"syscall:kill", "syscall:tkill", "syscall:tgkill"},
	 .columns = sig_columns,
	 .letters = "hp:t:u:n:Uxd:s:",
	 .help = "  -x               only those that failed\n  -s SIGNAL        only this one\n"},
	{.name = "syscount",
	 .what = "system calls, counted",
	 .probes = {"syscall:*"},
	 .letters = "hp:u:n:xd:LPT:e:",
	 .mode = COUNTS,
	 .title = "SYSCALL",
	 .help = "  -x               only those that failed\n"
		 "  -e ERRNO         only those that failed so\n"
		 "  -L               the time that they took\n"
		 "  -P               each process for itself\n"
		 "  -T TOP           so many rows\n"},
	{.name = "funccount",
	 .what = "calls of functions, counted",
	 .probes = {"uprobe:%s"},
	 .letters = "hp:u:n:d:P",
	 .arg = "PATH:PATTERN",
	 .mode = COUNTS,
	 .title = "FUNC",
	 .help = "  -P               each process for itself\n"},
	{.name = "funclatency",
	 .what = "the time that functions take, as histograms",
	 .probes = {"uretprobe:%s"},
	 .letters = "hp:n:d:mu",
	 .arg = "PATH:PATTERN",
	 .mode = HIST,
	 .help = "  -u, -m           microseconds, milliseconds\n"},
	{.name = "funcslower",
	 .what = "slow calls of functions",
	 .probes = {"uretprobe:%s"},
	 .columns = slower_columns,
	 .letters = "hp:n:TUd:m:u:",
	 .arg = "PATH:PATTERN",
	 .help = "  -m MS, -u US     those that took at least so long (1 ms)\n"},
	{.name = "gethostlatency",
	 .what = "the time that names take to be resolved",
	 .probes = {"uretprobe:c:getaddrinfo(host:str)", "uretprobe:c:gethostbyname(host:str)",
		    "uretprobe:c:gethostbyname2(host:str)"},
	 .columns = host_columns,
	 .letters = "hp:n:Ud:"},
	{.name = "bashreadline",
	 .what = "lines that are typed into bash",
	 .probes = {"uretprobe:/bin/bash:readline:str"},
	 .columns = line_columns,
	 .letters = "hp:Ud:"},
	{.name = "fileslower",
	 .what = "slow reads and writes",
	 .probes = {"syscall:read", "syscall:write", "syscall:pread64", "syscall:pwrite64"},
	 .columns = file_columns,
	 .letters = "hp:t:n:Ud:m:",
	 .help = "  -m MS            those that took at least so long (10 ms)\n"},
};
#define NTOOLS (sizeof(tools) / sizeof(tools[0]))

void tools_list(FILE *f)
{
	for (size_t i = 0; i < NTOOLS; i++)
		fprintf(f, "  %-15s %s\n", tools[i].name, tools[i].what);
}

/* ---- Running one ---- */

struct running {
	const struct tool *tool;
	struct trace_cmd *c;
	const char *conds[PROBE_CONDS];
	uint32_t nconds;
	char texts[PROBE_CONDS][96];
	const char *signal;
	bool all, wide, time, uid;
	struct probe_column columns[16];
};

static bool takes(const struct tool *t, char letter)
{
	return strchr(t->letters, letter) != NULL;
}

static void usage_of(const struct tool *t, FILE *f)
{
	fprintf(f, "usage: skep %s [OPTIONS]%s%s {-p PID | -- COMMAND [ARGUMENTS]}\n", t->name,
		t->arg ? " " : "", t->arg ? t->arg : "");
}

static void help_of(const struct tool *t)
{
	usage_of(t, stdout);
	printf("\nShows %s: of a command and its children, or of running processes.\n\n", t->what);
	fputs("  -p PID           this process; may be repeated\n", stdout);
	if (takes(t, 't'))
		fputs("  -t TID           only this thread\n", stdout);
	if (takes(t, 'u') && !takes(t, 'm'))
		fputs("  -u UID           only this user\n", stdout);
	if (takes(t, 'n'))
		fputs("  -n NAME          only processes of that name; a * at the end leaves the "
		      "rest "
		      "open\n",
		      stdout);
	if (t->mode == EVENTS && takes(t, 'T'))
		fputs("  -T               the time, too\n", stdout);
	if (takes(t, 'U'))
		fputs("  -U               the user, too\n", stdout);
	fputs(t->help ? t->help : "", stdout);
	fputs("  -d SECONDS       stop after that\n"
	      "      --json       JSON: an object a line\n"
	      "  -h, --help\n",
	      stdout);
}

static int add_cond(struct running *r, const char *fmt, const char *arg)
{
	char *text;

	if (r->nconds == PROBE_CONDS)
		return misuse("", "too many conditions");
	text = r->texts[r->nconds];
	/* The formats are this file's own. */
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
	snprintf(text, sizeof(r->texts[0]), fmt, arg);
#pragma GCC diagnostic pop
	r->conds[r->nconds++] = text;
	return -1;
}

/* What a letter says to this tool: the exit status, -1 to go on. */
static int on_option(struct running *r, int o)
{
	const struct tool *t = r->tool;
	struct probes *p = &r->c->probes;
	uint64_t n;

	switch (o) {
	case 'p':
		if (parse_number(optarg, 1, INT32_MAX, &n) || r->c->npids == MAX_PIDS)
			return misuse("", "-p wants a process id, not \"%s\"", optarg);
		r->c->pids[r->c->npids++] = (pid_t)n;
		return -1;
	case 't':
		return add_cond(r, "tid == %s", optarg);
	case 'u':
		if (t->mode == HIST) {
			p->unit = "usecs";
			p->unit_ns = 1000;
			return -1;
		}
		return add_cond(r, takes(t, 'm') ? "latency >= %sus" : "uid == %s", optarg);
	case 'm':
		if (t->mode == HIST) {
			p->unit = "msecs";
			p->unit_ns = 1000000;
			return -1;
		}
		return add_cond(r, "latency >= %sms", optarg);
	case 'n':
		return add_cond(r, "comm == \"%s\"", optarg);
	case 'e':
		if (t->mode == COUNTS)
			return add_cond(r, "ret == -%s", optarg);
		r->wide = true;
		return -1;
	case 's':
		return add_cond(r, "sig == %s", optarg);
	case 'x':
		r->all = true;
		return -1;
	case 'T':
		if (t->mode == EVENTS) {
			r->time = true;
			return -1;
		}
		if (parse_number(optarg, 1, 100000, &n))
			return misuse("", "-T wants a number of rows, not \"%s\"", optarg);
		p->top = (uint32_t)n;
		return -1;
	case 'U':
		r->uid = true;
		return -1;
	case 'L':
		p->latency = true;
		return -1;
	case 'P':
		p->by_pid = true;
		return -1;
	case 'd':
		if (parse_duration(optarg, &r->c->duration_ns))
			return misuse("", "-d wants seconds, not \"%s\"", optarg);
		return -1;
	case 'j':
		r->c->json = p->json = true;
		return -1;
	case 'h':
		help_of(t);
		return EXIT_OK;
	default:
		usage_of(t, stderr);
		return EXIT_USAGE;
	}
}

static bool succeeded(const struct probe_line *l)
{
	if (note_child(l))
		return false;
	return !l->e->returned || l->e->ret >= 0;
}

static bool not_a_child(const struct probe_line *l)
{
	return !note_child(l);
}

static bool status_not_zero(const struct probe_line *l)
{
	return !note_child(l) && l->e->args[0] & 0xff;
}

static void choose_columns(struct running *r)
{
	const struct probe_column *c = r->wide ? r->tool->wide : r->tool->columns;
	uint32_t n = 0;

	if (!c)
		return;
	if (r->time)
		r->columns[n++] = (struct probe_column)TIME_C;
	if (r->uid)
		r->columns[n++] = (struct probe_column){"UID   ", put_uid};
	for (; c->title && n < 15; c++)
		r->columns[n++] = *c;
	r->c->probes.columns = r->columns;
}

static int add_probes(struct running *r, const char *arg)
{
	struct probes *p = &r->c->probes;
	struct skep_error err = {{0}, {0}};
	char text[400];
	int e = 0;

	for (int i = 0; i < 8 && r->tool->probes[i] && !e; i++) {
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
		snprintf(text, sizeof(text), r->tool->probes[i], arg);
#pragma GCC diagnostic pop
		e = probes_add(p, text, &err);
	}
	for (uint32_t i = 0; i < r->nconds && !e; i++)
		e = probes_condition(p, r->conds[i], &err);
	if (!e)
		return -1;
	complain_error(&err);
	return EXIT_USAGE;
}

/* Options that depend on each other, before the probes are made. */
static void settle(struct running *r)
{
	struct probes *p = &r->c->probes;
	bool slow = takes(r->tool, 'm') && r->tool->mode == EVENTS;

	p->count = r->tool->mode == COUNTS;
	p->hist = r->tool->mode == HIST ? "latency" : NULL;
	p->title = r->tool->title;
	for (uint32_t i = 0; i < r->nconds; i++)
		slow &= !strstr(r->texts[i], "latency");
	if (slow)
		add_cond(r, "latency >= %sms", strcmp(r->tool->name, "fileslower") ? "1" : "10");
	if (!strcmp(r->tool->name, "execsnoop"))
		p->show = r->all ? not_a_child : succeeded;
	else if (!strcmp(r->tool->name, "exitsnoop"))
		p->show = r->all ? status_not_zero : not_a_child;
	else if (r->all)
		add_cond(r, "ret < %s", "0");
	if (r->tool->parents) {
		p->parents = calloc(PARENTS, sizeof(*p->parents));
		p->delay = true;
	}
	choose_columns(r);
}

static int parse(struct running *r, int argc, char **argv)
{
	static const struct option longs[] = {
		{"pid", required_argument, NULL, 'p'}, {"json", no_argument, NULL, 'j'},
		{"help", no_argument, NULL, 'h'},      {"duration", required_argument, NULL, 'd'},
		{"failed", no_argument, NULL, 'x'},    {"name", required_argument, NULL, 'n'},
		{"timestamp", no_argument, NULL, 'T'}, {NULL, 0, NULL, 0},
	};
	const char *arg = "";
	int o, status = -1;

	while (status < 0 && (o = getopt_long(argc, argv, r->tool->letters, longs, NULL)) != -1)
		status = on_option(r, o == 'j' || takes(r->tool, (char)o) ? o : '?');
	if (status >= 0)
		return status;
	if (r->tool->arg) {
		if (optind == argc) {
			usage_of(r->tool, stderr);
			return EXIT_USAGE;
		}
		arg = argv[optind++];
	}
	if (optind < argc)
		r->c->command = argv + optind;
	if (!r->c->command == !r->c->npids) {
		usage_of(r->tool, stderr);
		return EXIT_USAGE;
	}
	settle(r);
	return add_probes(r, arg);
}

int tool_run(const char *name, int argc, char **argv)
{
	struct running r = {.tool = NULL};
	int status;

	for (size_t i = 0; i < NTOOLS; i++)
		if (!strcmp(tools[i].name, name))
			r.tool = &tools[i];
	if (!r.tool)
		return -1;
	r.c = calloc(1, sizeof(*r.c));
	if (!r.c)
		return EXIT_REFUSED;
	status = parse(&r, argc, argv);
	if (status < 0)
		status = trace_main(r.c);
	else
		probes_free(&r.c->probes);
	free(r.c);
	return status;
}
