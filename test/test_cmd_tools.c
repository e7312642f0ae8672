/* SPDX-License-Identifier: Apache-2.0 */
/* The ready tools, on commands of which it is known what they do. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include "cmd.h"

static int ran;

static const char *victim(void)
{
	static char path[4096];

	snprintf(path, sizeof(path), "%s/build/test/victims/pie", cmd_root());
	return path;
}

/* Lines of the output that hold the text. */
static int lines(const char *out, const char *text)
{
	int n = 0;

	for (const char *p = out; (p = strstr(p, text)); p++)
		n++;
	return n;
}

static void says(const struct cmd_result *r, const char *text)
{
	if (!strstr(r->out, text))
		print_error("no \"%s\" in:\n%s%s", text, r->out, r->err);
	assert_non_null(strstr(r->out, text));
	ran++;
}

static void execsnoop(void **state)
{
	const char *script = cmd_text("e.sh", "/bin/true one 'two words'\n/bin/false\n"
					      "/nonexistent/x 2>/dev/null\n(exec sleep 0)\n:\n");
	const struct cmd_result *r = skep_cmd("execsnoop -- bash %s", script);

	says(r, "PCOMM            PID     PPID     RET ARGS\n");
	says(r, "   0 /bin/true one two words\n");
	says(r, "   0 /bin/false\n");
	says(r, "   0 sleep 0\n");
	assert_null(strstr(r->out, "nonexistent"));
	assert_int_equal(lines(r->out, "\n"), 4);
	/* Bash asks first whether it is there; env does not. */
	r = skep_cmd("execsnoop -x -- sh -c %s", "env /nonexistent/x; true");
	says(r, "  -2 /nonexistent/x\n");
	r = skep_cmd("execsnoop -n nobody -- bash %s", script);
	assert_int_equal(lines(r->out, "\n"), 0);
}

static void opensnoop(void **state)
{
	const struct cmd_result *r = skep_cmd("opensnoop -- cat /etc/hostname /nonexistent");

	says(r, "PID     COMM              FD ERR PATH\n");
	says(r, "cat                3   0 /etc/hostname\n");
	says(r, "cat               -1   2 /nonexistent\n");
	r = skep_cmd("opensnoop -x -- cat /etc/hostname /nonexistent");
	says(r, " 2 /nonexistent\n");
	assert_null(strstr(r->out, "/etc/hostname"));
	r = skep_cmd("opensnoop -e -U -T -- sh -c %s", ": > /dev/null");
	says(r, "TIME     UID    PID     COMM              FD ERR FLAGS    PATH\n");
	says(r, " 00001101 /dev/null\n"); /* O_WRONLY|O_CREAT|O_TRUNC */
	r = skep_cmd("opensnoop --json -n cat -- cat /etc/hostname");
	assert_true(lines(r->out, "\"filename\": \"/etc/hostname\"") == 1);
	r = skep_cmd("opensnoop -n dog -- cat /etc/hostname");
	assert_int_equal(lines(r->out, "PATH"), 0);
	ran += 2;
}

static void others(void **state)
{
	const struct cmd_result *r = skep_cmd("statsnoop -- stat -c %%n /etc/passwd /nonexistent");

	says(r, "stat               0   0 /etc/passwd\n");
	says(r, "stat              -1   2 /nonexistent\n");
	r = skep_cmd("exitsnoop -- sh -c %s", "(exit 3); /bin/true; exit 7");
	assert_int_equal(r->status, 7);
	says(r, " 3\n");
	says(r, " 0\n");
	says(r, " 7\n");
	/* Whoever was made while it was traced has a parent. */
	assert_true(lines(r->out, " -  ") <= 1);
	r = skep_cmd("exitsnoop -x -- sh -c %s", "(exit 3); /bin/true; exit 7");
	assert_int_equal(lines(r->out, "\n"), 3);
	r = skep_cmd("sigsnoop -- bash -c %s",
		     "trap : USR1; kill -USR1 $$; kill -0 1999999999; true");
	says(r, "SIG TPID   RESULT\n");
	assert_int_equal(lines(r->out, " 10  "), 1);
	says(r, " 0   1999999999 -3");
	r = skep_cmd("sigsnoop -s SIGUSR1 -- bash -c %s", "trap : USR1; kill -USR1 $$; kill -0 $$");
	assert_int_equal(lines(r->out, "\n"), 2);
	r = skep_cmd("gethostlatency -- getent ahosts localhost");
	says(r, " localhost\n");
	ran += 3;
}

static void counts(void **state)
{
	const struct cmd_result *r;
	char func[4200];

	r = skep_cmd("syscount -T 2 -- dd if=/dev/zero of=/dev/null bs=1 count=2000 status=none");
	says(r, "SYSCALL ");
	assert_int_equal(lines(r->out, "\n"), 3);
	says(r, "read  ");
	says(r, "write  ");
	r = skep_cmd("syscount -L -x -- cat /nonexistent");
	says(r, "TIME");
	says(r, "openat  ");
	assert_null(strstr(r->out, "read  "));
	r = skep_cmd("syscount -e ENOENT --json -- cat /nonexistent/file");
	says(r, "\"name\": \"openat\"");
	assert_null(strstr(r->out, "\"read\""));

	snprintf(func, sizeof(func), "%s:victim_fact", victim());
	r = skep_cmd("funccount %s -- %s 5", func, victim());
	says(r, "FUNC                                  COUNT\n");
	says(r, "victim_fact                              10\n");
	r = skep_cmd("funclatency -u %s -- %s 5", func, victim());
	says(r, "usecs : count");
	r = skep_cmd("funclatency %s -- %s 5", func, victim());
	says(r, "nsecs : count");
	snprintf(func, sizeof(func), "c:usleep");
	r = skep_cmd("funcslower -m 20 c:clock_nanosleep -- sleep 0.03");
	says(r, "clock_nanosleep\n");
	r = skep_cmd("funcslower -m 500 c:clock_nanosleep -- sleep 0.03");
	assert_null(strstr(r->out, "clock_nanosleep\n"));
	r = skep_cmd("fileslower -m 20 -- bash -c %s", "{ sleep 0.05; echo x; } | cat > /dev/null");
	says(r, "read ");
	assert_null(strstr(r->out, "write "));
	ran += 5;
}

/* A running process, and a link of a tool's name. */
static void running(void **state)
{
	const struct cmd_result *r;
	char number[16], func[4200];
	pid_t pid = fork();
	int status;

	if (!pid) {
		fclose(stdout);
		execl(victim(), "pie", "9000000000000", NULL);
		_exit(1);
	}
	usleep(100000);
	snprintf(number, sizeof(number), "%d", pid);
	snprintf(func, sizeof(func), "%s:victim_add", victim());
	r = skep_cmd("funccount -d 0.1 -p %s %s", number, func);
	says(r, "victim_add ");
	assert_int_equal(r->status, 0);
	r = skep_cmd("opensnoop -d 0.1 -p %s", number);
	assert_int_equal(r->status, 1); /* says why */
	assert_non_null(strstr(r->err, "system calls of a running process"));
	kill(pid, SIGKILL);
	waitpid(pid, &status, 0);

	r = skep_cmd("opensnoop");
	assert_int_equal(r->status, 2);
	r = skep_cmd("funccount -- true");
	assert_int_equal(r->status, 2);
	r = skep_cmd("execsnoop -q -- true");
	assert_int_equal(r->status, 2);
	r = skep_cmd("execsnoop --help");
	assert_int_equal(r->status, 0);
	says(r, "usage: skep execsnoop");
	ran += 5;
}

static int done(void **state)
{
	printf("ran: tools %d\n", ran);
	cmd_cleanup();
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(execsnoop), cmocka_unit_test(opensnoop), cmocka_unit_test(others),
		cmocka_unit_test(counts),    cmocka_unit_test(running),
	};

	return cmocka_run_group_tests(tests, NULL, done);
}
