/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The classic lesson: name the system call that a tracepoint sees. The right program, beside the kernel; and the one that
 * goes round in course slides, whose faults, together and one by one, are told with line and repair.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <sched.h>
#include <sys/mount.h>
#include <unistd.h>

#include "cmd.h"

static int ran;

enum { NO_HASH = 1, PT_REGS = 2, CTX_AS_KEY = 4, ADDRESSES = 8, CONSTRUCTOR = 16 };

/* Lines stay where they are, whatever is wrong. */
static const char *slide(int faults)
{
	char text[4096];

	snprintf(text, sizeof(text),
		 "#include <linux/bpf.h>\n"
		 "#include <linux/ptrace.h>\n"
		 "%sinclude <bpf/bpf_helpers.h>\n"
		 "#include <bpf/bpf_tracing.h>\n"
		 "struct record { __u64 common; long nr; const char *filename; };\n"
		 "struct name { char text[16]; };\n"
		 "struct { __uint(type, BPF_MAP_TYPE_HASH); __uint(max_entries, 64);\n"
		 "	__type(key, long); __type(value, %s); } names SEC(\".maps\");\n"
		 "%svoid fill(void)\n"
		 "{\n"
		 "	long nr = 59;\n"
		 "	%s\n"
		 "	bpf_map_update_elem(&names, &nr, &name, BPF_ANY);\n"
		 "}\n"
		 "SEC(\"tracepoint/syscalls/sys_enter_execve\")\n"
		 "int on_execve(%s *ctx)\n"
		 "{\n"
		 "	long nr = %s;\n"
		 "	void *name = bpf_map_lookup_elem(&names, %s);\n"
		 "	if (name)\n"
		 "		bpf_printk(\"%%s\", %s);\n"
		 "	return nr < 0;\n"
		 "}\n"
		 "char _license[] SEC(\"license\") = \"GPL\";\n",
		 faults & NO_HASH ? "" : "#", faults & ADDRESSES ? "char *" : "struct name",
		 faults & CONSTRUCTOR ? "__attribute__((constructor)) " : "",
		 faults & ADDRESSES ? "char *name = \"execve\";"
				    : "struct name name = {\"execve\"};",
		 faults & PT_REGS ? "struct pt_regs" : "struct record",
		 faults & PT_REGS ? "PT_REGS_PARM1(ctx)" : "ctx->nr",
		 faults & CTX_AS_KEY ? "ctx" : "&nr",
		 faults & ADDRESSES ? "*(char **)name" : "name");
	return cmd_text("slide.bpf.c", text);
}

/* The right one. */
static void right(void **state)
{
	char path[4096];

	snprintf(path, sizeof(path), "%s/examples/syscall_name.bpf.c", cmd_root());
	for (int k = 0; k < (cmd_kernel() ? 2 : 1); k++) {
		const char *script = cmd_text("two.sh", "/bin/true\n/bin/true\n");
		const struct cmd_result *r =
			skep_cmd("trace %s -m names --set names[59]=execve --runtime %s -- sh %s",
				 path, k ? "kernel" : "user", script);
		const char *p = r->out;
		int n = 0;

		if (r->status)
			print_error("%s", r->err);
		assert_int_equal(r->status, 0);
		for (; !strncmp(p, "execve\n", 7); p += 7)
			n++;
		/* The kernel sees the shell's own as well, and what else runs meanwhile. */
		assert_true(k ? n >= 2 : n == 2);
		ran++;
	}
}

/* Without its element the map has no name, and nothing is printed. */
static void unknown_elements(void **state)
{
	static const struct {
		const char *set, *says;
	} cases[] = {
		{"names[59", "MAP[KEY]=VALUE"},
		{"nomes[59]=execve", "there is no map \"nomes\""},
		{"names[fifty]=execve", "does not fit"},
		{"names[4294967296]=execve", "too large"},
		{"names[59]=0123456789012345678901234567890123", "does not fit"},
	};
	const struct cmd_result *r;
	char path[4096];

	snprintf(path, sizeof(path), "%s/examples/syscall_name.bpf.c", cmd_root());
	r = skep_cmd("trace %s -m names -- sh -c /bin/true", path);
	assert_int_equal(r->status, 0);
	assert_null(strstr(r->out, "execve"));
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		r = skep_cmd("trace %s --set %s -- true", path, cases[i].set);
		assert_int_equal(r->status, 1);
		assert_non_null(strstr(r->err, cases[i].says));
		ran++;
	}
}

static const struct {
	int fault;
	int status; /* of skep check */
	bool error; /* on standard error */
	const char *where, *what, *repair;
} faults[] = {
	{NO_HASH, 1, true, "slide.bpf.c:3:", "does not compile",
	 "Line 3: directives of the preprocessor begin with #: write #include."},
	{PT_REGS, 0, false, "slide.bpf.c:18:",
	 "reads byte 112 of its context, but the record of syscalls:sys_enter_execve has 40 bytes",
	 "not struct pt_regs"},
	{CTX_AS_KEY, 1, false, "slide.bpf.c:19:", "R2 type=ctx",
	 "pass its address: __u32 key = ctx->id"},
	{ADDRESSES, 0, false, "slide.bpf.c:19:", "the values of map \"names\" hold addresses",
	 "char name[32] as the value, not char *"},
	{CONSTRUCTOR, 0, false, "slide.bpf.c:9:", "fill() is a constructor, and nobody calls it",
	 "fill maps from user space"},
};
#define NFAULTS (sizeof(faults) / sizeof(faults[0]))

static void broken(void **state)
{
	const struct cmd_result *r = skep_cmd("check %s", slide(0));

	assert_int_equal(r->status, 0);
	for (size_t i = 0; i < NFAULTS; i++) {
		assert_null(strstr(r->out, faults[i].repair));
		assert_null(strstr(r->err, faults[i].repair));
	}
	for (size_t i = 0; i < NFAULTS; i++) {
		const char *text;

		r = skep_cmd("check %s", slide(faults[i].fault));
		text = faults[i].error ? r->err : r->out;
		if (!strstr(text, faults[i].where) || !strstr(text, faults[i].what))
			print_error("%s\n%s\n", r->out, r->err);
		assert_int_equal(r->status, faults[i].status);
		assert_non_null(strstr(text, faults[i].where));
		assert_non_null(strstr(text, faults[i].what));
		assert_non_null(strstr(text, faults[i].repair));
		for (size_t k = 0; k < NFAULTS; k++)
			if (k != i)
				assert_null(strstr(text, faults[k].repair));
		ran++;
	}
	/* As it goes round; then with its first line repaired. */
	r = skep_cmd("check %s", slide(NO_HASH | PT_REGS | CTX_AS_KEY | ADDRESSES | CONSTRUCTOR));
	assert_int_equal(r->status, 1);
	assert_non_null(strstr(r->err, faults[0].repair));
	r = skep_cmd("check --json %s", slide(PT_REGS | CTX_AS_KEY | ADDRESSES | CONSTRUCTOR));
	assert_int_equal(r->status, 1);
	assert_non_null(strstr(json_string(json_parse(r->out), "programs.0.hint"), "ctx->id"));
	assert_int_equal((int)json_count(json_parse(r->out), "notes"), 2);
	ran += 2;
}

/* Registers are read where the record ends: refused on both runtimes, when attached. */
static void attached(void **state)
{
	for (int k = 0; k < (cmd_kernel() ? 2 : 1); k++) {
		const struct cmd_result *r = skep_cmd("trace %s --runtime %s -- true",
						      slide(PT_REGS), k ? "kernel" : "user");

		assert_int_equal(r->status, 1);
		assert_non_null(strstr(r->err, k ? "Permission denied" : faults[1].what));
		ran++;
	}
}

/* libbpf looks tracepoints up in tracefs, which need not be mounted: here, for nobody else. */
static int setup(void **state)
{
	if (cmd_kernel() && access("/sys/kernel/tracing/events", F_OK) && !unshare(CLONE_NEWNS) &&
	    !mount("", "/", NULL, MS_REC | MS_PRIVATE, NULL))
		mount("tracefs", "/sys/kernel/tracing", "tracefs", 0, NULL);
	return 0;
}

static int done(void **state)
{
	printf("ran: lesson %d\n", ran);
	if (!cmd_kernel())
		printf("skipped: the kernel's tracepoints, which take root\n");
	cmd_cleanup();
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(right),
		cmocka_unit_test(unknown_elements),
		cmocka_unit_test(broken),
		cmocka_unit_test(attached),
	};

	return cmocka_run_group_tests(tests, setup, done);
}
