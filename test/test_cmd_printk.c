/* SPDX-License-Identifier: Apache-2.0 */
/* bpf_printk with the kernel runtime: each run gets its own lines, and all of them. */
#include <sched.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>
#include <cmocka.h>

#include "cmd.h"

#define LINES 200u

static const char source[] =
	"#include <linux/bpf.h>\n"
	"#include <bpf/bpf_helpers.h>\n"
	"int n;\n"
	"SEC(\"tc\") int says(struct __sk_buff *skb) { bpf_printk(\"line %d\", n++); return 0; }\n"
	"char _license[] SEC(\"license\") = \"GPL\";\n";

static const char *program, *capture;

static int setup(void **state)
{
	struct frames *f = frames_open("many.pcap");

	for (uint32_t i = 0; i < LINES; i++)
		frames_ipv4(f, 6, 1, 2, 3, 4, TCP_SYN);
	capture = frames_close(f);
	program = cmd_text("says.bpf.c", source);
	return 0;
}

/* All lines, in their order, once each. */
static bool says_all(const struct cmd_result *r)
{
	const char *at = r->out;
	char line[32];

	if (r->status)
		return false;
	for (uint32_t i = 0; i < LINES; i++) {
		snprintf(line, sizeof(line), "line %u\n", i);
		at = strstr(at, line);
		if (!at)
			return false;
		at += strlen(line);
	}
	return !strstr(at, "line ");
}

static int wait_for(pid_t pid)
{
	int status;

	assert_int_equal(waitpid(pid, &status, 0), pid);
	return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

static bool run_once(void)
{
	return says_all(skep_cmd("run %s --runtime kernel --capture %s", program, capture));
}

static void test_alone(void **state)
{
	assert_true(run_once());
}

static void test_together(void **state)
{
	pid_t pids[4];

	for (int i = 0; i < 4; i++) {
		pids[i] = fork();
		assert_true(pids[i] >= 0);
		if (!pids[i])
			_exit(run_once() ? 0 : 1);
	}
	for (int i = 0; i < 4; i++)
		assert_int_equal(wait_for(pids[i]), 0);
	print_message("ran: printk_together 4\n");
}

/* The trace names tasks by their number outside. */
static void test_pid_namespace(void **state)
{
	pid_t pid = fork();

	assert_true(pid >= 0);
	if (!pid) {
		if (unshare(CLONE_NEWPID))
			_exit(77);
		pid = fork();
		if (!pid)
			_exit(run_once() ? 0 : 1);
		_exit(pid < 0 ? 1 : wait_for(pid));
	}
	switch (wait_for(pid)) {
	case 0:
		print_message("ran: printk_pid_namespace 1\n");
		break;
	case 77:
		print_message("skipped: no PID namespaces here\n");
		skip();
	default:
		fail_msg("lines are missing");
	}
}

/* Lines of tracefs' list of instances; a mount that only its shell sees. */
static bool have_instance(pid_t pid)
{
	char command[256], line[64], name[64];
	bool found = false;
	FILE *f;

	snprintf(command, sizeof(command),
		 "unshare -m sh -c 'mount -t tracefs none %s && ls %s/instances'", cmd_dir(),
		 cmd_dir());
	snprintf(name, sizeof(name), "skep-%d\n", (int)pid);
	f = popen(command, "r");
	assert_non_null(f);
	while (fgets(line, sizeof(line), f))
		found |= !strcmp(line, name);
	assert_int_equal(pclose(f), 0);
	return found;
}

/* What a killed run leaves in tracefs, the next one takes away. */
static void test_killed(void **state)
{
	pid_t pid = skep_start("run %s --runtime kernel --repeat 1000000 --capture %s", program,
			       capture);

	for (int i = 0; i < 200 && !have_instance(pid); i++)
		usleep(50000);
	assert_true(have_instance(pid));
	assert_int_equal(kill(pid, SIGKILL), 0);
	assert_int_equal(wait_for(pid), 128 + SIGKILL);
	assert_true(run_once());
	assert_false(have_instance(pid));
	print_message("ran: printk_killed 1\n");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_alone),
		cmocka_unit_test(test_together),
		cmocka_unit_test(test_pid_namespace),
		cmocka_unit_test(test_killed),
	};

	if (!cmd_kernel()) {
		print_message("skipped: no bpf(2) here\n");
		return 0;
	}
	return cmocka_run_group_tests_name("cmd_printk", tests, setup, cmd_teardown);
}
