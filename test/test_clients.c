/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Clients from the distribution, and small ones of the kinds that people write, run by skep exec
 * and, for the same transcript, by the running kernel: what a client says on an instance
 * must be what it says on the kernel, word for word, once numbers of objects and times are replaced.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <glob.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "cmd.h"

#define HERE "test/clients"

/* sh -c, with a time limit. The exit status; its output is put in `out`, errors in `out`.err. */
static int sh(const char *out, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
static int sh(const char *out, const char *fmt, ...)
{
	char what[3 * PATH_MAX], line[6 * PATH_MAX];
	va_list ap;
	int r;

	va_start(ap, fmt);
	vsnprintf(what, sizeof(what), fmt, ap);
	va_end(ap);
	snprintf(line, sizeof(line), "timeout -k 5 120 %s >%s 2>%s.err </dev/null", what, out, out);
	fflush(NULL);
	r = system(line);
	return WIFEXITED(r) ? WEXITSTATUS(r) : 1000;
}

static bool have(const char *command)
{
	char line[PATH_MAX];

	snprintf(line, sizeof(line), "command -v %s >/dev/null 2>&1", command);
	return !system(line);
}

static void show(const char *path)
{
	char line[2 * PATH_MAX + 16];

	fflush(NULL);
	snprintf(line, sizeof(line), "tail -n 40 %s %s.err", path, path);
	(void)!system(line);
}

/* Skips, out loud, without what a client needs. */
#define NEEDS(cond, what)                                                                          \
	do {                                                                                       \
		if (!(cond)) {                                                                     \
			print_message("skipped: needs %s\n", what);                                \
			skip();                                                                    \
		}                                                                                  \
	} while (0)

/* The command must succeed. */
static const char *must(const char *name, int status, const char *out)
{
	if (status) {
		print_error("%s: exit %d\n", name, status);
		show(out);
	}
	assert_int_equal(status, 0);
	return out;
}

/* Runs `client` on an instance, and on the kernel where that may be asked; the outputs must agree and
 * have at least `lines` lines. `pre` goes before the command on the kernel. */
static void twin(const char *name, int lines, const char *pre, const char *client)
{
	char skep[128], kernel[128];
	const char *ours = cmd_path((snprintf(skep, sizeof(skep), "%s.skep", name), skep));
	const char *theirs =
		cmd_path((snprintf(kernel, sizeof(kernel), "%s.kernel", name), kernel));
	const char *diff = cmd_path("diff"), *count = cmd_path("count");
	FILE *f;
	int n = 0;

	must(name, sh(ours, "%s/skep exec -- %s", cmd_build(), client), ours);
	assert_int_equal(sh(count, "sh -c 'wc -l <%s'", ours), 0);
	f = fopen(count, "r");
	assert_non_null(f);
	assert_int_equal(fscanf(f, "%d", &n), 1);
	fclose(f);
	assert_in_range(n, lines, 1000000);
	print_message("ran: clients 1\n");
	print_message("ran: clients_lines %d\n", n);
	if (geteuid() || !cmd_kernel()) {
		print_message("skipped: no comparison of %s with the kernel\n", name);
		return;
	}
	must(name, sh(theirs, "%s %s", pre, client), theirs);
	if (sh(diff, "diff -u %s %s", theirs, ours)) {
		print_error("%s: on the kernel (-) and on an instance (+)\n", name);
		show(diff);
		fail();
	}
	print_message("ran: clients_kernel 1\n");
}

static const char *object(void)
{
	static char path[PATH_MAX + 64];

	snprintf(path, sizeof(path), "%s/bpf/" HERE "/bpf/client.bpf.o", cmd_build());
	return path;
}

/* ---- The clients ---- */

static void test_bpftool(void **state)
{
	char line[3 * PATH_MAX];

	NEEDS(have("bpftool") && !geteuid(), "bpftool and root");
	snprintf(line, sizeof(line), "sh %s/" HERE "/bpftool.sh %s %s", cmd_root(), object(),
		 cmd_dir());
	/* On the kernel it mounts a bpffs: not where others could see it. */
	twin("bpftool", 1000, "unshare -m", line);
}

/* Answers that differ from the running kernel's are listed, each with its reason. */
static void test_probe(void **state)
{
	const char *ours = cmd_path("probe.skep"), *theirs = cmd_path("probe.kernel");
	const char *diff = cmd_path("probe.diff");

	NEEDS(have("bpftool") && !geteuid() && cmd_kernel(), "bpftool, root and bpf(2)");
	sh(theirs, "unshare -m bpftool feature probe");
	sh(ours, "%s/skep exec -- bpftool feature probe", cmd_build());
	if (sh(diff, "sh %s/" HERE "/probe.sh %s %s %s/" HERE "/probe.known", cmd_root(), theirs,
	       ours, cmd_root())) {
		show(diff);
		fail();
	}
	show(diff);
	print_message("ran: clients_probe 1\n");
}

static void test_iters(void **state)
{
	char line[3 * PATH_MAX];

	NEEDS(!geteuid(), "root");
	snprintf(line, sizeof(line), "%s/" HERE "/iters %s/bpf/" HERE "/bpf/iters.bpf.o",
		 cmd_build(), cmd_build());
	twin("iters", 3100, "", line);
	if (!have("bpftool"))
		return;
	snprintf(line, sizeof(line), "sh %s/" HERE "/iters.sh %s/bpf/" HERE "/bpf/iters.bpf.o",
		 cmd_root(), cmd_build());
	twin("iters_pinned", 3, "unshare -m", line);
}

/* A skeleton made by bpftool on an instance, and a program built from it. */
static void test_skeleton(void **state)
{
	const char *out = cmd_path("skel.out"), *dir = cmd_dir();
	char line[PATH_MAX];

	NEEDS(have("bpftool"), "bpftool");
	must("gen skeleton",
	     sh(out,
		"sh -c '%s/skep exec -- bpftool gen skeleton %s name client >%s/client.skel.h'",
		cmd_build(), object(), dir),
	     out);
	must("cc",
	     sh(out, "cc -O2 -I%s %s/" HERE "/skel/ringbuf.c -o %s/ringbuf -lbpf", dir, cmd_root(),
		dir),
	     out);
	snprintf(line, sizeof(line), "%s/ringbuf", dir);
	twin("ringbuf", 2, "", line);
}

static void test_static(void **state)
{
	const char *out = cmd_path("static.out"), *dir = cmd_dir();
	char line[PATH_MAX];

	must("cc",
	     sh(out, "cc -O2 -D_GNU_SOURCE -static %s/" HERE "/static/static.c -o %s/static",
		cmd_root(), dir),
	     out);
	snprintf(line, sizeof(line), "%s/static", dir);
	twin("static", 18, "", line);
}

static void test_go(void **state)
{
	const char *out = cmd_path("go.out"), *dir = cmd_dir();
	char line[3 * PATH_MAX];

	NEEDS(have("go") && !access("/usr/share/gocode/src/github.com/cilium/ebpf", X_OK),
	      "go and golang-github-cilium-ebpf-dev");
	must("go build",
	     sh(out,
		"env GO111MODULE=off GOFLAGS=-mod=mod GOPROXY=off GOPATH=/usr/share/gocode "
		"GOCACHE=%s/gocache CGO_ENABLED=0 go build -o %s/go %s/" HERE "/go/main.go",
		dir, dir, cmd_root()),
	     out);
	snprintf(line, sizeof(line), "%s/go %s /sys/fs/bpf/skt_go", dir, object());
	/* An instance needs no mount. */
	twin("go", 8, "unshare -m sh -c 'mount -t bpf bpf /sys/fs/bpf && exec \"$@\"' _", line);
}

/* bcc compiles with the kernel's headers, which the distribution keeps in two folders. */
static void test_bcc(void **state)
{
	const char *out = cmd_path("bcc.out"), *dir = cmd_dir();
	char line[3 * PATH_MAX];
	glob_t own, common;

	if (system("/usr/bin/python3 -c 'import bcc' 2>/dev/null") ||
	    glob("/usr/src/linux-headers-*-common", 0, NULL, &common) ||
	    glob("/usr/src/linux-headers-*-amd64", 0, NULL, &own))
		NEEDS(false, "python3-bpfcc and linux-headers-amd64");
	NEEDS(!geteuid(), "root");
	must("headers",
	     sh(out,
		"sh -c 'mkdir %s/headers && cd %s/headers && cp -rs %s/include %s/arch . && "
		"cp -rsf %s/include %s/arch .'",
		dir, dir, common.gl_pathv[0], common.gl_pathv[0], own.gl_pathv[0], own.gl_pathv[0]),
	     out);
	globfree(&own);
	globfree(&common);
	snprintf(line, sizeof(line), "/usr/bin/python3 %s/" HERE "/bcc_tables.py", cmd_root());
	setenv("BCC_KERNEL_SOURCE", cmd_path("headers"), 1);
	twin("bcc", 7, "", line);
	unsetenv("BCC_KERNEL_SOURCE");
}

/* As far as there are hooks: docs/client.md says which probes have none. */
static void test_bpftrace(void **state)
{
	const char *const scripts[] = {
		"BEGIN { @x[1] = count(); @x[1] = count(); @h = hist(7); @l = lhist(5, 0, 10, 1); "
		"@s = sum(4); @m = max(3); @a = avg(8); printf(\"%s %s %d\\n\", comm, probe, "
		"pid == tid); print(@x); clear(@h); exit(); } END { clear(@a); }",
		"BEGIN { $i = 0; while ($i < 5) { @[$i] = $i * $i; $i++; } @t = (1, \"two\"); "
		"if (@[4] == 16) { printf(\"%d %x\\n\", @[3], 255); } delete(@[0]); "
		"printf(\"%s\\n\", strftime(\"%Y\", 0)); exit(); }",
	};

	NEEDS(have("bpftrace") && !geteuid(), "bpftrace and root");
	for (size_t i = 0; i < sizeof(scripts) / sizeof(scripts[0]); i++) {
		char line[2 * PATH_MAX];

		snprintf(line, sizeof(line), "bpftrace %s", cmd_text("script.bt", scripts[i]));
		twin("bpftrace", 4, "", line);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_bpftool), cmocka_unit_test(test_probe),
		cmocka_unit_test(test_iters),   cmocka_unit_test(test_skeleton),
		cmocka_unit_test(test_static),  cmocka_unit_test(test_go),
		cmocka_unit_test(test_bcc),     cmocka_unit_test(test_bpftrace),
	};

	return cmocka_run_group_tests(tests, cmd_setup, cmd_teardown);
}
