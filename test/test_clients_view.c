/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The files that clients of skep exec see: their own view of the kernel's, by every path and for
 * every program, and nothing of it outside.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "cmd.h"

/* A shell script, run by skep exec with these options; it must succeed. */
static const struct cmd_result *script(const char *options, const char *name, const char *text)
{
	char words[256];
	const struct cmd_result *r;

	snprintf(words, sizeof(words), "exec %s -- sh -eu %%s %%s", options);
	r = skep_cmd(words, cmd_text(name, text), cmd_dir());
	if (r->status)
		print_error("%s: exit %d\n%s%s", name, r->status, r->out, r->err);
	assert_int_equal(r->status, 0);
	print_message("ran: clients_view 1\n");
	return r;
}

#define NEEDS_VIEW()                                                                               \
	do {                                                                                       \
		if (strstr(skep_cmd("exec -- true")->err, "no view")) {                            \
			print_message("skipped: no namespaces here\n");                            \
			skip();                                                                    \
		}                                                                                  \
	} while (0)

/* Settings, the BTF through links and relative paths, and that nothing can be written. */
static void test_files(void **state)
{
	static const char text[] =
		"cd /sys/kernel\n"
		"ln -s /sys/kernel/btf/vmlinux $1/link\n"
		"cmp btf/vmlinux /proc/self/root/sys/kernel/btf/vmlinux\n"
		"cmp btf/../btf/vmlinux $1/link\n"
		"ls /sys/kernel/btf | grep -qx vmlinux\n"
		"! (echo 1 2>/dev/null >/proc/sys/kernel/unprivileged_bpf_disabled)\n"
		"! (echo 1 2>/dev/null >/sys/kernel/btf/vmlinux)\n"
		"cd /proc/sys\n"
		"cat kernel/unprivileged_bpf_disabled kernel/bpf_stats_enabled "
		"net/core/bpf_jit_enable\n"
		"wc -c </sys/kernel/btf/vmlinux\n";
	unsigned size;

	NEEDS_VIEW();
	assert_int_equal(
		sscanf(script("--no-preload", "files.sh", text)->out, "0\n0\n1\n%u", &size), 1);
	assert_in_range(size, 1000, 1000000);
	unlink(cmd_path("link"));
	assert_memory_equal(script("--interpret", "files.sh", text)->out, "0\n0\n0\n", 6);
}

/* Pins as files: what is done to the file is done to the pin. The machine sees nothing. */
static void test_pins(void **state)
{
	static const char text[] =
		"cd /sys/fs/bpf\n"
		"bpftool map create /sys/fs/bpf/skt_a type array key 4 value 8 entries 4 name "
		"skt_a\n"
		"touch other\n"
		"bpftool map create skt_b type array key 4 value 8 entries 4 name skt_b\n"
		"test \"$(echo *)\" = 'other skt_a skt_b'\n"
		"test $(bpftool map list | grep -c skt_) = 2\n"
		"ln skt_a second\n"
		"rm skt_a\n"
		"bpftool map show pinned second | grep -q 'name skt_a'\n"
		"mkdir -p x/y && mv second x/y/third\n"
		"bpftool map update pinned x/y/third key 0 0 0 0 value 5 0 0 0 0 0 0 0\n"
		"bpftool map show pinned $PWD/x/../x/y/third >/dev/null\n"
		"cd x/y; ! bpftool map show pinned ../../other 2>$1/err; cd ../..\n"
		"! bpftool map show pinned skt_a 2>>$1/err\n"
		"rm -r x\n"
		"test $(bpftool map list | grep -c skt_) = 1\n"
		"rm other\n"
		"grep -c -e denied -e 'No such' $1/err\n";
	struct stat before, after;

	NEEDS_VIEW();
	if (system("command -v bpftool >/dev/null") || geteuid()) {
		print_message("skipped: bpftool and root are needed\n");
		skip();
	}
	assert_int_equal(stat("/sys/fs/bpf", &before), 0);
	assert_string_equal(script("", "pins.sh", text)->out, "2\n");
	script("--no-preload", "pins.sh", text);
	assert_int_equal(stat("/sys/fs/bpf", &after), 0);
	assert_true(before.st_dev == after.st_dev && before.st_ino == after.st_ino);
	assert_int_equal(access("/sys/fs/bpf/skt_b", F_OK), -1);
}

/* What programs print is in the pipe, in the kernel's form, and in order. */
static void test_trace_pipe(void **state)
{
	char text[2 * PATH_MAX];
	const struct cmd_result *r;
	int n = 0;

	NEEDS_VIEW();
	if (system("command -v bpftool >/dev/null") || geteuid()) {
		print_message("skipped: bpftool and root are needed\n");
		skip();
	}
	snprintf(text, sizeof(text),
		 "bpftool prog loadall %s/bpf/test/clients/bpf/client.bpf.o /sys/fs/bpf/all\n"
		 "cls=/sys/fs/bpf/all/skt_cls\n"
		 "head -c 64 /dev/zero >$1/in; head -c 90 /dev/zero >$1/in2\n"
		 "bpftool prog run pinned $cls data_in $1/in >/dev/null\n"
		 "timeout 20 head -n 3 /sys/kernel/debug/tracing/trace_pipe &\n"
		 "sleep 0.3\n"
		 "bpftool prog run pinned $cls data_in $1/in2 repeat 2 >/dev/null\n"
		 "wait $!\n",
		 cmd_build());
	r = script("", "trace.sh", text);
	for (const char *line = r->out; *line; line = strchr(line, '\n') + 1) {
		char comm[17], flags[8];
		int pid, cpu, bytes, end = 0;
		unsigned long s, us;

		assert_int_equal(sscanf(line,
					"%16[^-]-%d [%d] %5s %lu.%6lu: bpf_trace_printk: skt_cls "
					"%d bytes%n",
					comm, &pid, &cpu, flags, &s, &us, &bytes, &end),
				 7);
		assert_true(end && line[end] == '\n');
		assert_non_null(strstr(comm, "bpftool"));
		assert_int_equal(line[16], '-');
		assert_int_equal(bytes, n++ ? 90 : 64);
	}
	assert_int_equal(n, 3);
	/* Nobody had opened the pipe when the first was printed. */
	assert_string_equal(r->err, "skt_cls 64 bytes\n");
}

/* Another user than root has all of it. */
static void test_user(void **state)
{
	char line[6 * PATH_MAX], dir[] = "/tmp/skep-user-XXXXXX";
	int status;

	NEEDS_VIEW();
	if (geteuid() || system("command -v setpriv bpftool >/dev/null")) {
		print_message("skipped: root, setpriv and bpftool are needed\n");
		skip();
	}
	/* Where that user can read it. */
	assert_non_null(mkdtemp(dir));
	snprintf(
		line, sizeof(line),
		"chmod 755 %s && cp %s/skep %s/libskep-preload.so %s && cd / && "
		"setpriv --reuid=65534 --regid=65534 --clear-groups %s/skep exec -- sh -euc '"
		"test $(id -u):$(id -g) = 65534:65534;"
		"bpftool map create /sys/fs/bpf/m type array key 4 value 8 entries 4 name skt_m;"
		"bpftool map update pinned /sys/fs/bpf/m key 1 0 0 0 value 9 0 0 0 0 0 0 0;"
		"bpftool map lookup pinned /sys/fs/bpf/m key 1 0 0 0;"
		"test $(stat -c %%u /sys/fs/bpf/m) = 65534;"
		"! bpftool map create /sys/fs/bpf/n type lpm_trie key 8 value 4 entries 4 name n "
		"flags 1; rm /sys/fs/bpf/m; ls /sys/fs/bpf; cat /proc/sys/net/core/bpf_jit_enable' "
		">%s/out 2>&1; r=$?; grep -v '^Error.*not permitted' %s/out; exit $r",
		dir, cmd_build(), cmd_build(), dir, dir, dir, dir);
	fflush(NULL);
	status = system(line);
	snprintf(line, sizeof(line), "rm -r %s", dir);
	(void)!system(line);
	assert_int_equal(status, 0);
	print_message("ran: clients_view 1\n");
}

/* What /proc says of handles is the kernel's, letter by letter. */
static void test_handles(void **state)
{
	const char *theirs = cmd_path("handles");
	char line[2 * PATH_MAX];
	const struct cmd_result *r;

	snprintf(line, sizeof(line), "%s/test/clients/handles", cmd_build());
	r = skep_cmd("exec -- %s", line);
	assert_int_equal(r->status, 0);
	assert_non_null(strstr(r->out, "== dup"));
	if (geteuid() || !cmd_kernel()) {
		print_message("skipped: no comparison with the kernel\n");
		skip();
	}
	snprintf(line, sizeof(line), "%s/test/clients/handles >%s && diff %s -", cmd_build(),
		 theirs, theirs);
	FILE *diff = popen(line, "w");

	assert_non_null(diff);
	fputs(r->out, diff);
	assert_int_equal(pclose(diff), 0);
	print_message("ran: clients_handles 1\n");
}

/* Sockets and perf events are the machine's: never pretended, and the reason is said. */
static void test_attach(void **state)
{
	const struct cmd_result *r;
	char line[2 * PATH_MAX];

	snprintf(line, sizeof(line), "%s/test/clients/attach", cmd_build());
	r = skep_cmd("exec -- %s refused", line);
	if (r->status)
		print_error("exit %d\n%s%s", r->status, r->out, r->err);
	assert_int_equal(r->status, 0);
	assert_non_null(strstr(r->err, "sockets are the machine's"));
	assert_non_null(strstr(r->err, "this perf event is the machine's"));
	assert_int_equal(skep_cmd("exec -- %s works", line)->status, 1);
	print_message("ran: clients_attach 1\n");
	if (!geteuid() && cmd_kernel()) {
		strcat(line, " works");
		assert_int_equal(system(line), 0);
		print_message("ran: clients_attach 1\n");
	}
}

static void test_none(void **state)
{
	const struct cmd_result *r;

	r = skep_cmd("exec --no-view -- readlink /proc/self/ns/mnt");
	char own[64] = "";
	ssize_t n = readlink("/proc/self/ns/mnt", own, sizeof(own) - 2);

	assert_true(n > 0);
	own[n] = '\n';
	assert_int_equal(r->status, 0);
	assert_string_equal(r->out, own);
	NEEDS_VIEW();
	assert_string_not_equal(skep_cmd("exec -- readlink /proc/self/ns/mnt")->out, own);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_files),      cmocka_unit_test(test_pins),
		cmocka_unit_test(test_trace_pipe), cmocka_unit_test(test_user),
		cmocka_unit_test(test_handles),    cmocka_unit_test(test_attach),
		cmocka_unit_test(test_none),
	};

	return cmocka_run_group_tests(tests, cmd_setup, cmd_teardown);
}
