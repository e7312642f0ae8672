/* SPDX-License-Identifier: Apache-2.0 */
/*
 * skep trace on programs linked in every way, beside the kernel's probes on the same functions:
 * arguments and results, counted by value, must be equal, and the programs go on as without.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/mount.h>
#include <sys/wait.h>
#include <unistd.h>

#include "client/mounts.h"
#include "cmd.h"

static int compared, ran;

static const char head[] =
	"#include <linux/bpf.h>\n#include <linux/ptrace.h>\n#include <bpf/bpf_helpers.h>\n"
	"#include <bpf/bpf_tracing.h>\n"
	"struct { __uint(type, BPF_MAP_TYPE_HASH); __uint(max_entries, 65536);\n"
	"	__type(key, __u64); __type(value, __u64); } seen SEC(\".maps\");\n"
	"static void see(__u64 what, __u64 value)\n"
	"{\n"
	"	__u64 key = what << 32 | (__u32)value, one = 1, *v;\n"
	"	v = bpf_map_lookup_elem(&seen, &key);\n"
	"	if (!v && !bpf_map_update_elem(&seen, &key, &one, BPF_NOEXIST))\n"
	"		return;\n"
	"	v = bpf_map_lookup_elem(&seen, &key);\n" /* another thread was faster */
	"	if (v)\n"
	"		__sync_fetch_and_add(v, 1);\n"
	"}\n"
	"char _license[] SEC(\"license\") = \"GPL\";\n"
	"#define P(n, f) SEC(\"uprobe/\" VICTIM \":victim_\" #f) int in_##f(struct pt_regs "
	"*ctx)\\\n"
	"{ see(n, PT_REGS_PARM1(ctx)); return 0; }\\\n"
	"SEC(\"uretprobe/\" VICTIM \":victim_\" #f) int out_##f(struct pt_regs *ctx)\\\n"
	"{ see(n + 100, PT_REGS_RC(ctx)); return 0; }\n";

static const char functions[] =
	"P(1, add) P(2, fact) P(3, tail) P(4, jump) P(6, short)\n"
	"SEC(\"uprobe/\" VICTIM \":victim_text\") int text(struct pt_regs *ctx)\n"
	"{\n"
	"	char s[4] = \"\";\n"
	"	bpf_probe_read_user_str(s, sizeof(s), (void *)PT_REGS_PARM1(ctx));\n"
	"	see(7, s[0] | s[1] << 8 | s[2] << 16);\n"
	"	return 0;\n"
	"}\n";

static const char *victim(const char *kind)
{
	static char path[4096];

	snprintf(path, sizeof(path), "%s/build/test/victims/%s", cmd_root(), kind);
	return path;
}

static const char *program(const char *kind, const char *body)
{
	char text[16384], name[64];

	snprintf(text, sizeof(text), "#define VICTIM \"%s\"\n%s%s", victim(kind), head, body);
	snprintf(name, sizeof(name), "%s.bpf.c", kind);
	return cmd_text(name, text);
}

/* The object behind what the traced command printed. */
static const struct json_value *result(const struct cmd_result *r)
{
	const char *json = strchr(r->out, '{');

	assert_non_null(json);
	return json_parse(json);
}

static int by_key(const void *a, const void *b)
{
	const uint64_t *x = a, *y = b;

	return x[0] < y[0] ? -1 : x[0] > y[0];
}

/* Keys and counts, in order. */
static size_t gather(const struct json_value *v, uint64_t (*out)[2], size_t max)
{
	size_t n = json_count(v, "maps.seen");

	assert_true(n <= max);
	for (size_t i = 0; i < n; i++) {
		char path[64];

		snprintf(path, sizeof(path), "maps.seen.%zu.key", i);
		out[i][0] = (uint64_t)json_number(v, path);
		snprintf(path, sizeof(path), "maps.seen.%zu.value", i);
		out[i][1] = (uint64_t)json_number(v, path);
	}
	qsort(out, n, sizeof(out[0]), by_key);
	return n;
}

static const char expected[] = "fact 3628800\ntail 1005\nafter 3\ntext yz\nloop 4 short 9\n"
			       "threads 4024000\nchild 42\nstatus 5\n";

static void compare(const char *kind)
{
	static uint64_t seen[2][16384][2];
	const char *prog = program(kind, functions);
	size_t n[2] = {0, 0};

	for (int k = 0; k < (cmd_kernel() ? 2 : 1); k++) {
		const struct cmd_result *r =
			skep_cmd("trace --json -m seen --runtime %s %s -- %s 50",
				 k ? "kernel" : "user", prog, victim(kind));

		if (r->status != 3)
			print_error("%s: %s", kind, r->err);
		assert_int_equal(r->status, 3);
		assert_memory_equal(r->out, expected, sizeof(expected) - 1);
		assert_string_equal(r->err, "");
		n[k] = gather(result(r), seen[k], 16384);
		assert_true(n[k] > 1000);
		ran++;
	}
	if (!n[1])
		return;
	for (size_t i = 0; i < n[0] && i < n[1]; i++) {
		if (seen[0][i][0] != seen[1][i][0] || seen[0][i][1] != seen[1][i][1])
			print_error("%s: %llx %llu here, %llx %llu in the kernel\n", kind,
				    (unsigned long long)seen[0][i][0],
				    (unsigned long long)seen[0][i][1],
				    (unsigned long long)seen[1][i][0],
				    (unsigned long long)seen[1][i][1]);
		assert_int_equal(seen[0][i][0], seen[1][i][0]);
		assert_int_equal(seen[0][i][1], seen[1][i][1]);
		compared++;
	}
	assert_int_equal(n[0], n[1]);
}

static void pie(void **state)
{
	compare("pie");
}

static void nopie(void **state)
{
	compare("nopie");
}

static void statics(void **state)
{
	compare("static");
	compare("staticpie");
}

static void cet(void **state)
{
	compare("cet");
}

/* A function that can't be patched soundly is refused, with its reason, and nothing else suffers. */
static void refused(void **state)
{
	const struct cmd_result *r =
		skep_cmd("trace --json -m seen %s -- %s 5", program("pie", "P(1, loop) P(2, fact)"),
			 victim("pie"));

	assert_int_equal(r->status, 3);
	assert_non_null(strstr(r->err, "victim_loop+0x0 can't be patched: the code jumps to"));
	assert_memory_equal(r->out, expected, sizeof(expected) - 1);
	assert_int_equal((int)json_count(result(r), "maps.seen"), 20);

	r = skep_cmd("trace %s -- %s", program("pie", "P(1, nothing)"), victim("pie"));
	assert_int_equal(r->status, 1);
	assert_non_null(strstr(r->err, "no function 'victim_nothing'"));
	ran++;
}

/* Unwinders find their way through frames whose returns are awaited. */
static void unwinding(void **state)
{
	static const char *const kinds[] = {"pie", "static"};
	const char *body = "P(1, leave) P(2, frames) P(3, add)";
	char plain[64], traced[64];

	for (int i = 0; i < 2; i++) {
		const char *prog = program(kinds[i], body);
		const struct cmd_result *r = skep_cmd("exec -- %s unwind", victim(kinds[i]));

		assert_int_equal(r->status, 4);
		snprintf(plain, sizeof(plain), "%.40s", r->out);
		r = skep_cmd("trace --json -m seen %s -- %s unwind", prog, victim(kinds[i]));
		assert_int_equal(r->status, 4);
		assert_string_equal(r->err, "");
		snprintf(traced, sizeof(traced), "%.*s", (int)strlen(plain), r->out);
		assert_string_equal(plain, traced);
		/* Entries of leave with six arguments; one of frames; add's of the clean-up. */
		assert_true(json_count(result(r), "maps.seen") >= 9);
		ran++;
	}
}

static const char syscalls_body[] =
	"struct enter { __u64 c; long nr; unsigned long args[6]; };\n"
	"struct exit { __u64 c; long nr; long ret; };\n"
	"static int ours(void)\n"
	"{\n"
	"	char comm[16], want[] = COMM;\n"
	"	bpf_get_current_comm(comm, sizeof(comm));\n"
	"	for (unsigned i = 0; i < sizeof(want); i++)\n"
	"		if (comm[i] != want[i])\n"
	"			return 0;\n"
	"	return 1;\n"
	"}\n"
	/* Those whose number does not depend on how threads happen to meet. */
	"static int steady(long nr)\n"
	"{\n"
	"	return nr == 0 || nr == 1 || nr == 3 || nr == 13 || nr == 14 || nr == 56 || nr == "
	"58 ||\n"
	"	       nr == 60 || nr == 61 || nr == 110 || nr == 131 || nr == 231 || nr == 234 "
	"||\n"
	"	       nr == 257 || nr == 262 || nr == 435;\n"
	"}\n"
	"SEC(\"tracepoint/raw_syscalls/sys_enter\") int enter(struct enter *ctx)\n"
	"{ if (ours() && steady(ctx->nr)) see(1, ctx->nr); return 0; }\n"
	"SEC(\"tracepoint/raw_syscalls/sys_exit\") int leave(struct exit *ctx)\n"
	"{ if (ours() && steady(ctx->nr)) see(2, ctx->nr); return 0; }\n"
	"SEC(\"tracepoint/syscalls/sys_enter_write\") int wr(struct enter *ctx)\n"
	"{ if (ours()) see(3, ctx->args[2]); return 0; }\n"
	"SEC(\"tracepoint/syscalls/sys_exit_write\") int wr2(struct exit *ctx)\n"
	"{ if (ours()) see(4, ctx->ret); return 0; }\n"
	"SEC(\"tracepoint/syscalls/sys_exit_close\") int cl(struct exit *ctx)\n"
	"{ if (ours()) see(5, ctx->ret); return 0; }\n"
	"SEC(\"raw_tp/sys_enter\") int raw(struct bpf_raw_tracepoint_args *ctx)\n"
	"{\n"
	"	struct pt_regs *regs = (void *)ctx->args[0];\n"
	"	long nr = 0, third = 0;\n"
	"	bpf_probe_read_kernel(&nr, 8, (char *)regs + 120);\n"
	"	bpf_probe_read_kernel(&third, 8, (char *)regs + 96);\n"
	"	if (ours() && nr == 1 && ctx->args[1] == 1) see(6, third);\n"
	"	return 0;\n"
	"}\n"
	"SEC(\"tracepoint/syscalls/sys_enter_openat\") int op(struct enter *ctx)\n"
	"{\n"
	"	char s[16] = \"\";\n"
	"	if (!ours()) return 0;\n"
	"	bpf_probe_read_user_str(s, sizeof(s), (void *)ctx->args[1]);\n"
	"	see(7, s[1] | s[5] << 8 | s[8] << 16);\n"
	"	return 0;\n"
	"}\n";

/* System calls as the kernel's tracepoints see them: from all kinds of places and children. */
static void syscalls(void **state)
{
	static const char *const kinds[] = {"pie", "static"};
	static uint64_t seen[2][1024][2];

	for (int i = 0; i < 2; i++) {
		size_t n[2] = {0, 0};
		char body[8192];
		const char *prog;

		snprintf(body, sizeof(body), "#define COMM \"%s\"\n%s", kinds[i], syscalls_body);
		prog = program(kinds[i], body);
		for (int k = 0; k < (cmd_kernel() ? 2 : 1); k++) {
			const struct cmd_result *r =
				skep_cmd("trace --json -m seen --runtime %s %s -- %s calls",
					 k ? "kernel" : "user", prog, victim(kinds[i]));

			if (r->status != 5 || r->err[0])
				print_error("%s\n", r->err);
			assert_int_equal(r->status, 5);
			assert_memory_equal(r->out, "calls 136\n", 10);
			assert_string_equal(r->err, "");
			n[k] = gather(result(r), seen[k], 1024);
			assert_true(n[k] > 20);
			ran++;
		}
		for (size_t k = 0; n[1] && (k < n[0] || k < n[1]); k++) {
			bool here = k < n[0], there = k < n[1];

			if (!here || !there || seen[0][k][0] != seen[1][k][0] ||
			    seen[0][k][1] != seen[1][k][1])
				print_error("%s: %llx %llu here, %llx %llu in the kernel\n",
					    kinds[i], here ? (unsigned long long)seen[0][k][0] : 0,
					    here ? (unsigned long long)seen[0][k][1] : 0,
					    there ? (unsigned long long)seen[1][k][0] : 0,
					    there ? (unsigned long long)seen[1][k][1] : 0);
			compared++;
		}
		if (n[1]) {
			assert_int_equal(n[0], n[1]);
			assert_memory_equal(seen[0], seen[1], n[0] * sizeof(seen[0][0]));
		}
	}
}

/* Functions of libraries, from the first call on, in all processes of a tree. */
static void shell(void **state)
{
	static const char body[] = "SEC(\"uprobe//lib/x86_64-linux-gnu/libc.so.6:getenv\")\n"
				   "int env(struct pt_regs *ctx) { see(1, "
				   "bpf_get_current_pid_tgid() >> 32); return 0; }\n";
	const char *prog = program("pie", body), *script;
	const struct cmd_result *r;

	script = cmd_text("tree.sh",
			  "for i in 1 2 3; do ls / > /dev/null; done\n"
			  "ls /etc | sort | tail -1 > /dev/null\necho done $(date +%Y | wc -c)\n");
	r = skep_cmd("trace --json -m seen %s -- /bin/bash %s", prog, script);
	assert_int_equal(r->status, 0);
	assert_memory_equal(r->out, "done 5\n", 7);
	assert_string_equal(r->err, "");
	/* bash, four times ls, sort, date; tail and wc may call it, too. */
	assert_true(json_count(result(r), "maps.seen") >= 7);
	ran++;
}

static int mappings(pid_t pid)
{
	char path[40], line[512];
	int n = 0;
	FILE *f;

	snprintf(path, sizeof(path), "/proc/%d/maps", (int)pid);
	f = fopen(path, "re");
	assert_non_null(f);
	while (fgets(line, sizeof(line), f))
		n++;
	fclose(f);
	return n;
}

/* A running process is entered, left, and entered again, and goes on; nothing stays in it. */
static void running(void **state)
{
	static const char body[] = "SEC(\"uprobe/\" VICTIM \":victim_add\")\n"
				   "int add(struct pt_regs *ctx) { see(1, 1); return 0; }\n"
				   "SEC(\"uretprobe/\" VICTIM \":victim_add\")\n"
				   "int ret(struct pt_regs *ctx) { see(2, 1); return 0; }\n";
	const char *prog = program("pie", body);
	const struct cmd_result *r;
	int status, before;
	pid_t pid = fork();

	if (!pid) {
		int null = open("/dev/null", O_WRONLY);

		dup2(null, 1);
		execl(victim("pie"), "pie", "9000000000000", NULL);
		_exit(1);
	}
	usleep(100000);
	before = mappings(pid);
	for (int i = 0; i < 20; i++) {
		char number[16];

		snprintf(number, sizeof(number), "%d", pid);
		r = skep_cmd("trace --json -m seen %s -t 150ms -p %s", prog, number);
		assert_int_equal(r->status, 0);
		assert_string_equal(r->err, "");
		assert_int_equal((int)json_count(result(r), "maps.seen"), 2);
		assert_true(json_number(result(r), "maps.seen.0.value") > 100);
		assert_int_equal(mappings(pid), before);
		/* It would run for hours. */
		if (waitpid(pid, &status, WNOHANG))
			fail_msg("after %d traces the process ended: status %#x", i + 1, status);
		ran++;
	}
	kill(pid, SIGKILL);
	waitpid(pid, &status, 0);
}

/* libbpf looks tracepoints up in tracefs, which need not be mounted: here, for nobody else. */
static int setup(void **state)
{
	cmd_dir(); /* while the way to this program is known */
	if (cmd_kernel() && access("/sys/kernel/tracing/events", F_OK) && !skep_mounts_unshare())
		mount("tracefs", "/sys/kernel/tracing", "tracefs", 0, NULL);
	return 0;
}

static int done(void **state)
{
	printf("ran: trace-runs %d\n", ran);
	if (cmd_kernel())
		printf("ran: trace-compared %d\n", compared);
	else
		printf("skipped: the kernel's probes, which take root\n");
	cmd_cleanup();
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(pie),      cmocka_unit_test(nopie),   cmocka_unit_test(statics),
		cmocka_unit_test(cet),      cmocka_unit_test(refused), cmocka_unit_test(unwinding),
		cmocka_unit_test(syscalls), cmocka_unit_test(shell),   cmocka_unit_test(running),
	};

	return cmocka_run_group_tests(tests, setup, done);
}
