/* SPDX-License-Identifier: Apache-2.0 */
/* USDT probes beside the kernel's: arguments of every kind and size, semaphores, children, running processes. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <sys/wait.h>
#include <unistd.h>

#include "cmd.h"

static int ran;

static const char *victim(void)
{
	static char path[4096];

	snprintf(path, sizeof(path), "%s/build/test/victims/usdt", cmd_root());
	return path;
}

static const char source[] =
	"#include <linux/bpf.h>\n#include <linux/ptrace.h>\n#include <stdbool.h>\n"
	"#include <bpf/bpf_helpers.h>\n#include <bpf/bpf_tracing.h>\n#include <bpf/usdt.bpf.h>\n"
	"struct { __uint(type, BPF_MAP_TYPE_ARRAY); __uint(max_entries, 10); __type(key, __u32);\n"
	"	__type(value, __s64); } sums SEC(\".maps\");\n"
	"static void add(__u32 key, __s64 n)\n"
	"{ __s64 *v = bpf_map_lookup_elem(&sums, &key); if (v) __sync_fetch_and_add(v, n); }\n"
	"SEC(\"usdt/\" VICTIM \":victim:step\")\n"
	"int BPF_USDT(step, int i, const char *text, long small, long wide, long large, long "
	"seven)\n"
	"{\n"
	"	char s[4] = \"\";\n"
	"	add(0, 1); add(1, i); add(2, small); add(3, wide); add(4, large); add(5, seven);\n"
	"	bpf_probe_read_user_str(s, sizeof(s), text);\n"
	"	add(6, s[0]);\n"
	"	add(7, bpf_usdt_arg_cnt(ctx));\n"
	"	return 0;\n"
	"}\n"
	"SEC(\"usdt/\" VICTIM \":victim:gated\") int BPF_USDT(gated, long i) { add(8, i); add(9, "
	"1); "
	"return 0; }\n"
	"char _license[] SEC(\"license\") = \"GPL\";\n";

static const char *program(void)
{
	char text[8192];

	snprintf(text, sizeof(text), "#define VICTIM \"%s\"\n%s", victim(), source);
	return cmd_text("usdt.bpf.c", text);
}

static void read_sums(const struct cmd_result *r, long long sums[10])
{
	const char *json = strstr(r->out, "{\"maps\"");
	const struct json_value *v;

	assert_non_null(json);
	v = json_parse(json);
	for (int i = 0; i < 10; i++) {
		char path[64];

		snprintf(path, sizeof(path), "maps.sums.%d.value", i);
		sums[i] = (long long)json_number(v, path);
	}
}

static void arguments(void **state)
{
	long long want[10] = {0}, got[10];

	for (long i = 0; i < 1000; i++) {
		want[1] -= i;
		want[2] -= i % 100;
		want[3] += 60000 + i % 1000;
		want[4] += i << 33;
		want[6] += i % 2 ? 'o' : 'e';
		want[8] += i;
	}
	want[0] = 1001; /* and the child's */
	want[1] += 1;
	want[5] = 77 * 1001;
	want[6] += 'e';
	want[7] = 6 * 1001;
	want[9] = 1000;
	for (int k = 0; k < (cmd_kernel() ? 2 : 1); k++) {
		const struct cmd_result *r =
			skep_cmd("trace %s --json -m sums --runtime %s -- %s 1000", program(),
				 k ? "kernel" : "user", victim());

		if (r->status || r->err[0])
			print_error("%s\n", r->err);
		assert_int_equal(r->status, 0);
		assert_string_equal(r->err, "");
		assert_non_null(strstr(r->out, "gated 1\nchild 1\n"));
		read_sums(r, got);
		for (int i = 0; i < 10; i++) {
			assert_true(got[i] == want[i]);
			ran++;
		}
	}
}

/* Variables by their names, which libbpf does not read. */
static void variables(void **state)
{
	char text[8192];
	const struct cmd_result *r;
	long long sums[10];

	snprintf(text, sizeof(text),
		 "%.*sSEC(\"usdt/%s:victim:global\") int BPF_USDT(g, long wide, long large)\n"
		 "{ add(0, wide); add(1, large); return 0; }\n"
		 "char _license[] SEC(\"license\") = \"GPL\";\n",
		 (int)(strstr(source, "SEC(\"usdt/") - source), source, victim());
	r = skep_cmd("trace %s --json -m sums -- %s 10", cmd_text("vars.bpf.c", text), victim());
	assert_int_equal(r->status, 0);
	assert_string_equal(r->err, "");
	read_sums(r, sums);
	assert_int_equal((int)sums[0], 600045);
	assert_int_equal((int)sums[1], 0);
	ran++;
}

static void refused(void **state)
{
	const char *path = cmd_text(
		"none.bpf.c", "#include <linux/bpf.h>\n#include <bpf/bpf_helpers.h>\n"
			      "SEC(\"usdt//bin/ls:victim:none\") int p(void *ctx) { return 0; }\n"
			      "char _license[] SEC(\"license\") = \"GPL\";\n");
	const struct cmd_result *r = skep_cmd("trace %s -- true", path);

	assert_int_equal(r->status, 1);
	assert_non_null(strstr(r->err, "has no USDT probe victim:none"));
	ran++;
}

/* Its semaphore is lowered when it is left. */
static void running(void **state)
{
	int in[2], out[2], status;
	char text[256] = "", number[16];
	const struct cmd_result *r;
	ssize_t n;
	pid_t pid;

	assert_int_equal(pipe(in) | pipe(out), 0);
	pid = fork();
	if (!pid) {
		dup2(in[0], 0);
		dup2(out[1], 1);
		close(in[1]);
		close(out[0]);
		execl(victim(), "usdt", "5", "wait", NULL);
		_exit(1);
	}
	close(in[0]);
	close(out[1]);
	assert_true(read(out[0], text, sizeof(text) - 1) > 0);
	assert_int_equal(strncmp(text, "gated 0\n", 8), 0);
	usleep(50000);
	snprintf(number, sizeof(number), "%d", pid);
	for (int i = 0; i < 3; i++) {
		r = skep_cmd("trace %s --json -m sums -t 50ms -p %s", program(), number);
		assert_int_equal(r->status, 0);
		assert_string_equal(r->err, "");
	}
	close(in[1]);
	memset(text, 0, sizeof(text));
	for (size_t at = 0; (n = read(out[0], text + at, sizeof(text) - 1 - at)) > 0;
	     at += (size_t)n)
		;
	close(out[0]);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
	assert_non_null(strstr(text, "at the end 0\n"));
	ran++;
}

static int done(void **state)
{
	printf("ran: usdt %d\n", ran);
	if (!cmd_kernel())
		printf("skipped: the kernel's probes, which take root\n");
	cmd_cleanup();
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(arguments),
		cmocka_unit_test(variables),
		cmocka_unit_test(refused),
		cmocka_unit_test(running),
	};

	return cmocka_run_group_tests(tests, NULL, done);
}
