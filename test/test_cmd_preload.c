/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What skep exec gives dynamically linked clients beyond bpf(2). test/clients/waiter must hold on
 * the kernel, on an instance, and must not on an instance without the library.
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
#include <sys/wait.h>
#include <unistd.h>

#include "cmd.h"

static void waiter(const char *mode)
{
	const struct cmd_result *r;
	char client[PATH_MAX + 64], line[PATH_MAX + 128];

	snprintf(client, sizeof(client), "%s/test/clients/waiter", cmd_build());
	snprintf(line, sizeof(line), "%s %s", client, mode);
	r = skep_cmd("exec -- %s %s", client, mode);
	if (r->status)
		print_error("%s: exit %d\n%s%s", mode, r->status, r->out, r->err);
	assert_int_equal(r->status, 0);
	assert_int_equal(skep_cmd("exec --no-preload -- %s %s", client, mode)->status, 1);
	print_message("ran: preload_clients 1\n");
	if (cmd_kernel()) {
		assert_int_equal(system(line), 0);
		print_message("ran: preload_clients_kernel 1\n");
	}
}

static void test_ring(void **state)
{
	waiter("ring");
}

static void test_poll(void **state)
{
	waiter("poll");
}

static void test_epoll(void **state)
{
	waiter("epoll");
}

/* Elements are worked on in the client, as on the kernel; numbers of descriptors get other
 * meanings, told and untold. direct_quiet has no code that could do so without libc. */
static void test_direct(void **state)
{
	static const char *const clients[] = {"direct", "direct_quiet"};
	static const char *const modes[] = {"ops", "reuse"};
	char client[PATH_MAX + 64], line[PATH_MAX + 128];
	const struct cmd_result *r;
	unsigned long calls = 0;
	const char *said;

	for (int c = 0; c < 2; c++) {
		snprintf(client, sizeof(client), "%s/test/clients/%s", cmd_build(), clients[c]);
		for (int m = 0; m < 2; m++) {
			snprintf(line, sizeof(line), "%s %s", client, modes[m]);
			for (int no = 0; no < 2; no++) {
				r = skep_cmd("exec %s -- %s %s", no ? "--no-preload" : "--stats",
					     client, modes[m]);
				if (r->status)
					print_error("%s: exit %d\n%s%s", line, r->status, r->out,
						    r->err);
				assert_int_equal(r->status, 0);
			}
			if (cmd_kernel())
				assert_int_equal(system(line), 0);
			print_message("ran: preload_direct 1\n");
		}
		/* The instance has seen none of the operations. */
		r = skep_cmd("exec --stats -- %s bench 50000", client);
		said = strstr(r->err, "skep: ");
		assert_true(said && sscanf(said, "skep: %lu calls", &calls) == 1);
		assert_in_range(calls, 1, 50);
	}
}

static void test_perf(void **state)
{
	waiter("perf");
}

static void test_sets(void **state)
{
	waiter("sets");
}

static void test_children(void **state)
{
	waiter("children");
}

static void test_event(void **state)
{
	const struct cmd_result *r;
	char client[PATH_MAX + 64];

	if (geteuid())
		skip();
	snprintf(client, sizeof(client), "%s/test/clients/waiter", cmd_build());
	r = skep_cmd("exec -- %s event", client);
	assert_string_equal(r->out, "");
	assert_int_equal(r->status, 0);
}

/* Each way to read the file finds the same, and it is not the kernel's. */
static void test_btf(void **state)
{
	static const char script[] =
		"import os, sys, mmap\n"
		"p = '/sys/kernel/btf/vmlinux'\n"
		"a = open(p, 'rb').read()\n"
		"fd = os.open(p, os.O_RDONLY)\n"
		"b = mmap.mmap(fd, os.fstat(fd).st_size, prot=mmap.PROT_READ, "
		"flags=mmap.MAP_PRIVATE)[:]\n"
		"assert a == b and len(a) == os.stat(p).st_size and os.access(p, os.R_OK)\n"
		"assert not os.access(p, os.W_OK) or os.geteuid() == 0\n"
		"r, w = os.pipe()\n"
		"if os.fork() == 0:\n"
		"    os.close(r)\n"
		"    os.execvp('python3', ['python3', '-c', "
		"\"import os,sys; os.write(%d, str(len(open('%s','rb').read())).encode())\" % (1, "
		"p)])\n"
		"os.wait()\n"
		"try:\n"
		"    open(p, 'wb')\n"
		"    sys.exit(3)\n"
		"except OSError:\n"
		"    pass\n"
		"sys.stdout.write(' %d' % len(a))\n";
	const struct cmd_result *r;
	unsigned long child = 0, own = 0;

	r = skep_cmd("exec -- python3 %s", cmd_text("btf.py", script));
	if (r->status)
		print_error("%s%s", r->out, r->err);
	assert_int_equal(r->status, 0);
	assert_int_equal(sscanf(r->out, "%lu %lu", &child, &own), 2);
	assert_true(own > 1000 && child == own);
	if (!system("command -v bpftool >/dev/null")) {
		size_t len;

		r = skep_cmd("exec -- bpftool btf dump file /sys/kernel/btf/vmlinux");
		assert_int_equal(r->status, 0);
		assert_non_null(strstr(r->out, "] STRUCT 'task_struct'"));
		len = r->out_len;
		if (!access("/sys/kernel/btf/vmlinux", R_OK)) {
			r = skep_cmd("exec --no-preload -- bpftool btf dump file "
				     "/sys/kernel/../kernel/btf/vmlinux");
			assert_true(r->status == 0 && r->out_len == len);
			r = skep_cmd("exec --no-view -- bpftool btf dump file "
				     "/sys/kernel/btf/vmlinux");
			assert_true(r->status == 0 && r->out_len == len);
			r = skep_cmd("exec --no-preload --no-view -- bpftool btf dump file "
				     "/sys/kernel/btf/vmlinux");
			assert_true(r->status == 0 && r->out_len > 10 * len);
		}
		print_message("ran: preload_bpftool 1\n");
	}
}

/* Programs that use nothing of it. */
static void test_others(void **state)
{
	static const char script[] =
		"import os, select, socket, subprocess, mmap, tempfile, threading, fcntl\n"
		"a, b = socket.socketpair()\n"
		"e = select.epoll(); e.register(a, select.EPOLLIN)\n"
		"p = select.poll(); p.register(a, select.POLLIN)\n"
		"print(e.poll(0.02), p.poll(20), select.select([a], [], [], 0.02))\n"
		"threading.Timer(0.02, lambda: b.send(b'x')).start()\n"
		"print(len(e.poll(5)), len(p.poll(5000)), len(select.select([a], [b], [], 5)[1]))\n"
		"f = tempfile.TemporaryFile(); f.write(b'y' * 8192); f.flush()\n"
		"m = mmap.mmap(f.fileno(), 8192); m[5000] = 65; print(m[4999:5002])\n"
		"q = select.poll(); q.register(f, select.POLLIN); print(len(q.poll(1000)))\n"
		"try:\n"
		"    e.register(f)\n"
		"except OSError as err:\n"
		"    print(err)\n"
		"d = os.memfd_create('mine', os.MFD_ALLOW_SEALING); os.ftruncate(d, 4096)\n"
		"fcntl.fcntl(d, fcntl.F_ADD_SEALS, fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW)\n"
		"s = mmap.mmap(d, 4096); s[0] = 66; print(os.pread(d, 1, 0))\n"
		"q.register(d, select.POLLIN); print(len(q.poll(1000)))\n"
		"print(len(select.select([d], [], [], 1)[0]))\n"
		"print(subprocess.run(['sh', '-c', 'echo out; exit 3'], capture_output=True, "
		"close_fds=True).stdout)\n"
		"os.closerange(3, 200)\n";
	const char *py = cmd_text("others.py", script);
	const char *const commands[][3] = {
		{"sh", "-c",
		 "for i in 1 2 3; do echo $i | cat; done; cd / && ls -d etc >&2; exit 4"},
		{"python3", py, ""},
		{"git", "--version", "--no-pager"},
		{"ls", "/nowhere", "/etc/passwd"},
	};

	for (size_t i = 0; i < sizeof(commands) / sizeof(commands[0]); i++) {
		const char *const *c = commands[i];
		const struct cmd_result *r;
		char *out, *err;
		int status;

		r = skep_cmd("exec --no-preload -- %s %s %s", c[0], c[1], c[2]);
		status = r->status;
		out = strdup(r->out);
		err = strdup(r->err);
		assert_non_null(out);
		assert_non_null(err);
		r = skep_cmd("exec -- %s %s %s", c[0], c[1], c[2]);
		assert_string_equal(r->out, out);
		assert_string_equal(r->err, err);
		assert_int_equal(r->status, status);
		free(out);
		free(err);
	}
}

static int sh(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
static int sh(const char *fmt, ...)
{
	char line[4 * PATH_MAX];
	va_list ap;
	int r;

	va_start(ap, fmt);
	vsnprintf(line, sizeof(line), fmt, ap);
	va_end(ap);
	r = system(line);
	return WIFEXITED(r) ? WEXITSTATUS(r) : 1000;
}

/* Where the library is found, and what is said when it is not. */
static void test_places(void **state)
{
	const char *dir = cmd_dir();

#ifdef __SANITIZE_ADDRESS__
	print_message("skipped: the address sanitizer wants to be the first library\n");
	skip();
#endif

	assert_null(strstr(skep_cmd("exec --no-preload -- env")->out, "libskep-preload"));
	assert_non_null(strstr(skep_cmd("exec -- env")->out, "LD_PRELOAD="));
	assert_int_equal(sh("LD_PRELOAD=libm.so.6 %s/skep exec -- env | "
			    "grep -q '^LD_PRELOAD=.*libskep-preload.so:libm.so.6$'",
			    cmd_build()),
			 0);
	assert_int_equal(sh("cd %s && mkdir -p bin lib/skep 'a b' && cp %s/skep bin && "
			    "cp %s/skep 'a b'",
			    dir, cmd_build(), cmd_build()),
			 0);
	assert_int_equal(sh("%s/bin/skep exec -- true 2>&1 | grep -q 'going on without'", dir), 0);
	assert_int_equal(sh("%s/bin/skep exec -- sh -c 'exit 5' 2>/dev/null", dir), 5);
	assert_int_equal(sh("cp %s/libskep-preload.so %s/lib/skep && "
			    "%s/bin/skep exec -- env | grep -q '^LD_PRELOAD=.*/lib/skep/libskep'",
			    cmd_build(), dir, dir),
			 0);
	assert_int_equal(
		sh("cp %s/libskep-preload.so '%s/a b' && '%s/a b/skep' exec -- true 2>&1 | "
		   "grep -q 'spaces or colons'",
		   cmd_build(), dir, dir),
		0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_ring),     cmocka_unit_test(test_poll),
		cmocka_unit_test(test_epoll),    cmocka_unit_test(test_perf),
		cmocka_unit_test(test_direct),   cmocka_unit_test(test_sets),
		cmocka_unit_test(test_children), cmocka_unit_test(test_event),
		cmocka_unit_test(test_btf),      cmocka_unit_test(test_others),
		cmocka_unit_test(test_places),
	};

	return cmocka_run_group_tests(tests, cmd_setup, cmd_teardown);
}
