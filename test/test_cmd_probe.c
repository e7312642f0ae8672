/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One-line probes (skep trace -e) and live events: system calls beside what strace says of the same commands, functions of a
 * program whose calls are known, conditions, counts, histograms, stacks; records by their types.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <glob.h>
#include <unistd.h>

#include "cmd.h"

static int ran, compared;

static const char *victim(void)
{
	static char path[4096];

	snprintf(path, sizeof(path), "%s/build/test/victims/pie", cmd_root());
	return path;
}

/* ---- Beside strace ---- */

#define CALLS                                                                                      \
	"openat,close,lseek,unlinkat,unlink,mkdir,rename,chdir,read,dup2,execve,exit_group,"       \
	"getpid,kill"

/* What a process did: the lines of one, in order; processes in the order of their first ones. */
struct seen {
	struct {
		long pid;
		char text[65536];
	} proc[16];
	int n;
};

static void note(struct seen *s, long pid, const char *line, size_t len)
{
	int i = 0;

	while (i < s->n && s->proc[i].pid != pid)
		i++;
	assert_true(i < 16);
	if (i == s->n) {
		s->proc[i].pid = pid;
		s->proc[i].text[0] = 0;
		s->n++;
	}
	assert_true(strlen(s->proc[i].text) + len + 2 < sizeof(s->proc[i].text));
	strncat(s->proc[i].text, line, len);
	strcat(s->proc[i].text, "\n");
}

/* Addresses, pids and what is told of errors in words differ; both write an execve's environment in their way. */
static size_t shorten(char *line)
{
	char *p = strstr(line, " (");

	if (p && strstr(line, " = -1 E"))
		*p = 0;
	p = strstr(line, " = ?");
	if (p)
		*p = 0;
	p = strstr(line, "], 0x");
	if (p)
		memmove(p + 1, strstr(p, ") ="), strlen(strstr(p, ") =")) + 1);
	/* A buffer's contents: strace shows them at the read's end. */
	if (!strncmp(line, "read(", 5)) {
		char *from = strchr(line, ','), *to = strrchr(line, ')');

		while (to > from && *to != ',')
			to--;
		memmove(from, to, strlen(to) + 1);
	}
	return strlen(line);
}

/* A file for each process; they are made one after the other. */
static void read_strace(struct seen *s, const char *prefix)
{
	char line[4096], pattern[4200];
	glob_t files;

	snprintf(pattern, sizeof(pattern), "%s.*", prefix);
	assert_int_equal(glob(pattern, 0, NULL, &files), 0);
	for (size_t i = 0; i < files.gl_pathc; i++) {
		long pid = strtol(files.gl_pathv[i] + strlen(prefix) + 1, NULL, 10);
		FILE *f = fopen(files.gl_pathv[i], "re");

		assert_non_null(f);
		while (fgets(line, sizeof(line), f)) {
			line[strcspn(line, "\n")] = 0;
			if (strncmp(line, "---", 3) != 0 && strncmp(line, "+++", 3) != 0)
				note(s, pid, line, shorten(line));
		}
		fclose(f);
	}
	globfree(&files);
}

static int by_pid(const void *a, const void *b)
{
	long x = *(const long *)a, y = *(const long *)b;

	return x < y ? -1 : x > y;
}

static void read_ours(struct seen *s, char *out)
{
	for (char *line = strtok(out, "\n"); line; line = strtok(NULL, "\n")) {
		char *p;
		long pid = strtol(line, &p, 10);

		if (p == line || p[0] != ' ' || strlen(line) < 24)
			continue; /* the command's own */
		p = line + 24;
		note(s, pid, p, shorten(p));
	}
}

static bool has_strace(void)
{
	return !access("/usr/bin/strace", X_OK) &&
	       !system("strace -o /dev/null true >/dev/null 2>&1");
}

static void beside_strace(void **state)
{
	static struct seen theirs, ours;
	const struct cmd_result *r;
	char command[8192], probes[2048] = "", calls[] = CALLS, *out;
	const char *script, *log = cmd_path("strace");

	if (!has_strace()) {
		printf("skipped: strace, which is not there or can't trace\n");
		return;
	}
	script = cmd_text("work.sh", "cd \"$1\"\n"
				     "mkdir -m 700 sub\n"
				     "echo text > sub/file\n"
				     "cat sub/file sub/none\n"
				     "mv sub/file \"sub/other \\\"name\\\"\"\n"
				     "rm sub/other*\n"
				     "rmdir sub none\n"
				     "tail -c 3 /etc/passwd\n"
				     "kill -0 $$\n"
				     "exit 5\n");
	snprintf(command, sizeof(command),
		 "cd / && strace -ff -a 1 -s 500 -e trace=%s -o %s bash %s %s >/dev/null 2>&1",
		 CALLS, log, script, cmd_dir());
	assert_int_equal(WEXITSTATUS(system(command)), 5);
	read_strace(&theirs, log);
	for (char *c = strtok(calls, ","); c; c = strtok(NULL, ","))
		snprintf(probes + strlen(probes), sizeof(probes) - strlen(probes), " -e syscall:%s",
			 c);
	snprintf(command, sizeof(command), "trace%s -- bash %s %s", probes, script, cmd_dir());
	assert_int_equal(chdir("/"), 0);
	r = skep_cmd(command, NULL);
	assert_int_equal(r->status, 5);
	out = strdup(r->out);
	read_ours(&ours, out);
	free(out);
	qsort(ours.proc, (size_t)ours.n, sizeof(ours.proc[0]), by_pid);
	qsort(theirs.proc, (size_t)theirs.n, sizeof(theirs.proc[0]), by_pid);
	/* The command's own execve is made before there is an agent. */
	assert_int_equal(ours.n, theirs.n);
	assert_true(ours.n >= 7);
	for (int i = 0; i < ours.n; i++) {
		char *a = theirs.proc[i].text, *b = ours.proc[i].text, *next;

		if (i == 0 && !strncmp(a, "execve(", 7))
			a = strchr(a, '\n') + 1;
		for (; *a || *b; compared++) {
			size_t na = strcspn(a, "\n"), nb = strcspn(b, "\n");

			/* Process ids are others each time. */
			if (strncmp(a, "kill(", 5) != 0 && strncmp(a, "getpid(", 7) != 0 &&
			    (na != nb || strncmp(a, b, na) != 0))
				fail_msg("process %d:\nstrace %.*s\nskep   %.*s", i, (int)na, a,
					 (int)nb, b);
			next = a + na + (a[na] == '\n');
			a = next;
			b += nb + (b[nb] == '\n');
		}
	}
	ran++;
}

/* ---- Functions ---- */

/* Objects of an output, one a line, the last one at the end. */
static const struct json_value *line_of(const char *out, int n)
{
	static char line[65536];

	for (; n && out; n--) {
		out = strchr(out, '\n');
		out = out ? out + 1 : NULL;
	}
	if (!out || *out != '{')
		return NULL;
	snprintf(line, sizeof(line), "%.*s", (int)strcspn(out, "\n"), out);
	return json_parse(line);
}

static const struct json_value *last_of(const char *out)
{
	const char *p = strstr(out, "{\"maps\"");

	assert_non_null(p);
	return json_parse(p);
}

/* n! of each, in the order of the returns, whatever was recursive. */
static void functions(void **state)
{
	const struct cmd_result *r;
	long want = 1, n = 0;
	char probe[4200];

	snprintf(probe, sizeof(probe), "uretprobe:%s:victim_fact(n:long)", victim());
	r = skep_cmd("trace --json -e %s -- %s 5", probe, victim());
	assert_int_equal(r->status, 3);
	assert_string_equal(r->err, "");
	for (int i = 0; i < 200; i++) {
		const struct json_value *v = line_of(r->out, i);

		if (!v || !json_at(v, "probe"))
			continue;
		n++;
		want *= n;
		assert_int_equal((long)json_number(v, "args.n"), n);
		assert_int_equal((long)json_number(v, "ret"), want);
		assert_string_equal(json_string(v, "comm"), "pie");
		assert_string_equal(json_string(v, "name"), "victim_fact");
		assert_true(json_number(v, "ns") > 0);
	}
	assert_int_equal(n, 10);

	/* Text of arguments and of results; an entry alone has no result. */
	snprintf(probe, sizeof(probe), "uretprobe:%s:victim_text(s:str):str", victim());
	r = skep_cmd("trace -e %s -- %s 5", probe, victim());
	assert_non_null(strstr(r->out, "victim_text(\"xyz\") = \"yz\"\n"));
	snprintf(probe, sizeof(probe), "uretprobe:%s:victim_text:str", victim());
	r = skep_cmd("trace -e %s -- %s 5", probe, victim());
	assert_non_null(strstr(r->out, "victim_text() = \"yz\"\n"));
	snprintf(probe, sizeof(probe), "uprobe:%s:victim_text(s:str)", victim());
	r = skep_cmd("trace -e %s -- %s 5", probe, victim());
	assert_non_null(strstr(r->out, "victim_text(\"xyz\")\n"));
	ran += 3;
}

static void conditions(void **state)
{
	static const struct {
		const char *cond;
		int n; /* of the 10 calls of victim_fact */
	} cases[] = {
		{"n == 7", 1},
		{"n != 7", 9},
		{"n > 7", 3},
		{"n >= 7 && n < 9", 2},
		{"arg0 <= 2", 2},
		{"ret == 5040", 1},
		{"ret > 100 && n != 9", 5},
		{"comm == pie", 10},
		{"comm != pie", 0},
		{"comm == p*", 10},
		{"latency < 10s", 10},
		{"latency > 10s", 0},
		{"pid == 1", 0},
		{"uid >= 0", 10},
	};
	const struct cmd_result *r;

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		char probe[4300];
		int n = 0;

		snprintf(probe, sizeof(probe), "uretprobe:%s:victim_fact(n:long) if %s", victim(),
			 cases[i].cond);
		r = skep_cmd("trace -e %s -- %s 5", probe, victim());
		assert_int_equal(r->status, 3);
		for (const char *p = r->out; (p = strstr(p, "victim_fact(")); p++)
			n++;
		if (n != cases[i].n)
			print_error("%s: %d\n%s", cases[i].cond, n, r->err);
		assert_int_equal(n, cases[i].n);
		ran++;
	}
	/* Names of values, and text. */
	r = skep_cmd("trace -e %s -- cat /etc/hostname /nonexistent",
		     "syscall:openat if filename == \"/nonexistent\" && ret == -ENOENT && flags == "
		     "O_RDONLY");
	assert_non_null(strstr(r->out, "openat(AT_FDCWD, \"/nonexistent\", O_RDONLY) = -1 ENOENT"));
	assert_null(strstr(r->out, "hostname\""));
	r = skep_cmd("trace -e %s -- cat /etc/hostname /nonexistent",
		     "syscall:open* if filename == '/etc/host*'");
	assert_null(strstr(r->out, "ENOENT"));
	assert_non_null(strstr(r->out, "openat(AT_FDCWD, \"/etc/hostname\", O_RDONLY) = 3"));
	ran += 2;
}

static void sums(void **state)
{
	const struct cmd_result *r;
	const struct json_value *v;
	char probe[4200];
	double total = 0;

	/* 50 rounds, a tail call, one more, a signal handler, 8 threads of 1000, a child. */
	snprintf(probe, sizeof(probe), "uprobe:%s:victim_add", victim());
	r = skep_cmd("trace --json --count -e %s -- %s 50", probe, victim());
	v = last_of(r->out);
	assert_int_equal((int)json_count(v, "counts"), 1);
	assert_int_equal((int)json_number(v, "counts.0.count"), 8054);
	r = skep_cmd("trace --json --count --by-pid -e %s -- %s 50", probe, victim());
	v = last_of(r->out);
	assert_int_equal((int)json_count(v, "counts"), 2);
	assert_int_equal((int)json_number(v, "counts.0.count"), 8053);
	assert_int_equal((int)json_number(v, "counts.1.count"), 1);

	/* Patterns count function by function. */
	snprintf(probe, sizeof(probe), "uprobe:%s:victim_[ft]a*", victim());
	r = skep_cmd("trace --json --count -e %s -- %s 50", probe, victim());
	v = last_of(r->out);
	assert_int_equal((int)json_count(v, "counts"), 2);
	assert_string_equal(json_string(v, "counts.0.name"), "victim_fact");
	assert_int_equal((int)json_number(v, "counts.0.count"), 10);
	assert_string_equal(json_string(v, "counts.1.name"), "victim_tail");

	/* Results 1, 2, 6, 24, 120, 720, 5040, 40320, 362880, 3628800. */
	snprintf(probe, sizeof(probe), "uretprobe:%s:victim_fact", victim());
	r = skep_cmd("trace --json --hist ret -e %s -- %s 50", probe, victim());
	v = last_of(r->out);
	assert_int_equal((int)json_count(v, "histograms.0.slots"), 10);
	assert_int_equal((int)json_number(v, "histograms.0.slots.1.from"), 2);
	assert_int_equal((int)json_number(v, "histograms.0.slots.2.from"), 4);
	assert_int_equal((int)json_number(v, "histograms.0.slots.9.from"), 1 << 21);
	r = skep_cmd("trace --json --hist latency -e %s -- %s 50", probe, victim());
	v = last_of(r->out);
	for (size_t i = 0; i < json_count(v, "histograms.0.slots"); i++) {
		char path[64];

		snprintf(path, sizeof(path), "histograms.0.slots.%zu.count", i);
		total += json_number(v, path);
	}
	assert_int_equal((int)total, 10);

	/* All system calls through one probe; dd reads and writes what it is told to. */
	r = skep_cmd("trace --json --count --latency -e syscall:* -- dd if=/dev/zero of=/dev/null "
		     "bs=1 count=1234");
	v = last_of(r->out);
	for (size_t i = 0, n = 0; i < 2; i++) {
		char path[64];

		snprintf(path, sizeof(path), "counts.%zu.count", i);
		n = (size_t)json_number(v, path);
		assert_true(n >= 1234 && n < 1300);
		snprintf(path, sizeof(path), "counts.%zu.ns", i);
		assert_true(json_number(v, path) > 1234 * 20);
		snprintf(path, sizeof(path), "counts.%zu.name", i);
		assert_true(!strcmp(json_string(v, path), "read") ||
			    !strcmp(json_string(v, path), "write"));
	}
	ran += 7;
}

/* The victim is built without frame pointers, so its own caller is certain only. */
static void stacks(void **state)
{
	char probe[4200];
	const struct cmd_result *r;

	snprintf(probe, sizeof(probe), "uprobe:%s:victim_tail", victim());
	r = skep_cmd("trace --stack -e %s -- %s 2000000", probe, victim());
	assert_non_null(
		strstr(r->out, "victim_tail()\n        victim_tail+0 (pie)\n        main+0x"));
	r = skep_cmd("trace --stack --json -e %s -- %s 2000000", probe, victim());
	for (int i = 0; i < 10; i++) {
		const struct json_value *v = line_of(r->out, i);

		if (!v || !json_at(v, "probe"))
			continue;
		assert_string_equal(json_string(v, "stack.0"), "victim_tail+0 (pie)");
		assert_int_equal(strncmp(json_string(v, "stack.1"), "main+0x", 7), 0);
		ran++;
	}
	ran++;
}

static void refused(void **state)
{
	static const struct {
		const char *words;
		int status;
		const char *says;
	} cases[] = {
		{"-e nothing -- true", 2, "'nothing' is no probe"},
		{"-e syscall:nothing -- true", 2, "no system call 'nothing'"},
		{"-e uprobe:/nonexistent:f -- true", 2, "no file '/nonexistent'"},
		{"-e uprobe:c:no_such_function -- true", 1, "no function 'no_such_function'"},
		{"-e uprobe:c:nosuch* -- true", 1, "no function that matches 'nosuch*'"},
		{"-e uprobe:c -- true", 2, "not PATH:FUNCTION"},
		{"-e uprobe:c:getenv(name:strange) -- true", 2, "arguments of"},
		{"-e syscall:read* --hist nothing -- true", 2, "no such number"},
		{"-e syscall:read", 2, "trace what?"},
		{"--count x.bpf.c -- true", 2, "are for -e PROBE"},
		{"-e syscall:read -p 1 -- true", 2, "not both"},
	};
	char text[128];

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		const struct cmd_result *r;

		snprintf(text, sizeof(text), "trace %s", cases[i].words);
		r = skep_cmd(text, NULL);
		if (r->status != cases[i].status || !strstr(r->err, cases[i].says))
			print_error("%s: %d %s\n", cases[i].words, r->status, r->err);
		assert_int_equal(r->status, cases[i].status);
		assert_non_null(strstr(r->err, cases[i].says));
		ran++;
	}
}

/* ---- Live events of a program ---- */

static const char program[] =
	"#include <linux/bpf.h>\n#include <linux/ptrace.h>\n#include <bpf/bpf_helpers.h>\n"
	"#include <bpf/bpf_tracing.h>\n"
	"enum mood { CALM = 1, ANGRY };\n"
	"struct event { long n; enum mood mood; char text[4]; };\n"
	"struct odd { unsigned short a, b; };\n"
	"const struct event *event_type; const struct odd *odd_type;\n"
	"struct { __uint(type, BPF_MAP_TYPE_RINGBUF); __uint(max_entries, 65536); } events "
	"SEC(\".maps\");\n"
	"struct { __uint(type, BPF_MAP_TYPE_RINGBUF); __uint(max_entries, 65536); } bytes "
	"SEC(\".maps\");\n"
	"struct { __uint(type, BPF_MAP_TYPE_RINGBUF); __uint(max_entries, 65536); } named "
	"SEC(\".maps\") __attribute__((btf_decl_tag(\"event:odd\")));\n"
	"struct { __uint(type, BPF_MAP_TYPE_PERF_EVENT_ARRAY); __uint(key_size, 4); "
	"__uint(value_size, 4); } perf_events SEC(\".maps\");\n"
	"struct perf_event_ { int x; };\n"
	"SEC(\"uprobe/\" VICTIM \":victim_fact\") int fact(struct pt_regs *ctx)\n"
	"{\n"
	"	struct event e = {PT_REGS_PARM1(ctx), PT_REGS_PARM1(ctx) > 5 ? ANGRY : CALM, "
	"\"abc\"};\n"
	"	struct odd o = {1, 2};\n"
	"	bpf_ringbuf_output(&events, &e, sizeof(e), 0);\n"
	"	if (e.n > 1) return 0;\n"
	"	bpf_ringbuf_output(&bytes, &o, sizeof(o), 0);\n"
	"	bpf_ringbuf_output(&named, &o, sizeof(o), 0);\n"
	"	bpf_perf_event_output(ctx, &perf_events, BPF_F_CURRENT_CPU, &o, sizeof(o));\n"
	"	return 0;\n"
	"}\n"
	"char _license[] SEC(\"license\") = \"GPL\";\n";

static void live(void **state)
{
	char text[8192];
	const struct cmd_result *r;
	const char *path;
	int n = 0, others = 0;

	snprintf(text, sizeof(text), "#define VICTIM \"%s\"\n%s", victim(), program);
	path = cmd_text("live.bpf.c", text);
	for (int k = 0; k < (cmd_kernel() ? 2 : 1); k++) {
		r = skep_cmd("trace %s --json --runtime %s -- %s 5", path, k ? "kernel" : "user",
			     victim());
		if (r->status != 3)
			print_error("%s", r->err);
		assert_int_equal(r->status, 3);
		n = others = 0;
		for (int i = 0; i < 100; i++) {
			const struct json_value *v = line_of(r->out, i);

			if (!v || !json_at(v, "map"))
				continue;
			if (!strcmp(json_string(v, "map"), "events")) {
				assert_int_equal((int)json_number(v, "event.n"), 10 - n++);
				assert_string_equal(json_string(v, "event.mood"),
						    n <= 5 ? "ANGRY" : "CALM");
				assert_string_equal(json_string(v, "event.text"), "abc");
			} else if (!strcmp(json_string(v, "map"), "named")) {
				assert_int_equal((int)json_number(v, "event.b"), 2);
				others++;
			} else {
				assert_int_equal((int)json_number(v, "bytes.2"), 2);
				others++;
			}
		}
		assert_int_equal(n, 10);
		assert_int_equal(others, 3);
		assert_true(json_at(last_of(r->out), "maps.events") != NULL);
		ran++;
	}
	r = skep_cmd("trace %s -- %s 5", path, victim());
	assert_non_null(strstr(r->out, "events: {n: 10, mood: ANGRY, text: \"abc\"}\n"));
	assert_non_null(strstr(r->out, "bytes: 01 00 02 00\n"));
	assert_non_null(strstr(r->out, "named: {a: 1, b: 2}\n"));
	ran++;
}

static int done(void **state)
{
	printf("ran: probe-runs %d\n", ran);
	if (compared)
		printf("ran: probe-strace %d\n", compared);
	cmd_cleanup();
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(beside_strace), cmocka_unit_test(functions),
		cmocka_unit_test(conditions),    cmocka_unit_test(sums),
		cmocka_unit_test(stacks),        cmocka_unit_test(refused),
		cmocka_unit_test(live),
	};

	return cmocka_run_group_tests(tests, NULL, done);
}
