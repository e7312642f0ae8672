/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Programs of those who may not print pointers: an instance without privileges, and the running
 * kernel asked by a process that has CAP_BPF and nothing else, give the same verdict and message.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>
#include <cmocka.h>

#include <linux/capability.h>

#include "bpf/instance.h"
#include "kern.h"
#include "side.h"
#include "vasm.h"

/* R6 = the value of map 0, 48 bytes; R7 = a number from it. */
#define VALUE                                                                                      \
	"*(u32 *)(r10 -4) = 0; r2 = r10; r2 += -4; r1 = map 0 ll; call map_lookup_elem; if r0 == " \
	"0 goto e; r6 = r0; r7 = *(u32 *)(r6 +0);"
#define END "e: r0 = 0; exit"
/* Either number, known on both ways. */
#define EITHER(a, b) "if r7 == 9 goto x; r8 = " a "; goto y; x: r8 = " b "; y:"

static const char *const cases[] = {
	"r0 = 0; exit",
	"r0 = r1; exit",
	"r1 = r10; r1 += 0; r0 = 0; exit",
	"r1 = r10; r1 += -1; r0 = 0; exit",
	"r1 = r10; r1 += -512; r0 = 0; exit",
	"r1 = r10; r1 += -513; r0 = 0; exit",
	"r1 = r10; r1 += -8; r1 += 8; r0 = 0; exit",
	"r1 = r10; r1 += 536870911; r1 += 536870911; r0 = 0; exit",
	"r2 = -8; r1 = r10; r1 += r2; *(u64 *)(r1 +0) = 0; r0 = 0; exit",
	"r2 = -513; r1 = r10; r1 += r2; r0 = 0; exit",
	"r2 = -8; r1 = r10; r1 -= r2; r0 = 0; exit",
	"r2 = *(u32 *)(r1 +0); r2 &= 7; r3 = r10; r3 += r2; r0 = 0; exit",
	"r2 = *(u32 *)(r1 +0); r2 &= 7; r2 -= 16; r3 = r10; r3 += r2; r0 = 0; exit",
	"r2 = *(u32 *)(r1 +0); r2 &= 7; r2 -= 3; r3 = r10; r3 += r2; r0 = 0; exit",
	"r2 = 0; r3 = map 0 ll; r3 += r2; r0 = 0; exit",
	"r2 = 0; r3 = map 0 ll; r2 += r3; r0 = 0; exit",
	"r3 = map 0 ll; r3 += 0; r0 = 0; exit",
	"r2 = 0; r1 += r2; r0 = 0; exit",
	"r1 += 8; r0 = 0; exit",
	"r2 = 0; r2 -= r1; r0 = 0; exit",
	"r2 = r10; r2 -= r1; r0 = 0; exit",
	"r2 = r10; if r1 == r2 goto +0; r0 = 0; exit",
	"if r1 == 0 goto +0; r0 = 0; exit",
	"r3 = map 0 ll; if r3 == 0 goto +0; r0 = 0; exit",
	"w1 += 4; r0 = 0; exit",
	VALUE "r6 += 0;" END,
	VALUE "r6 += 47;" END,
	VALUE "r6 += 48;" END,
	VALUE "r6 += -1;" END,
	VALUE "r6 += 1073741822;" END,
	VALUE "r7 &= 15; r6 += r7; r0 = *(u8 *)(r6 +0);" END,
	VALUE "r7 &= 63; r6 += r7;" END,
	VALUE "r6 += r7;" END,
	VALUE "r7 &= 15; r7 -= 8; r6 += r7;" END,
	VALUE "r6 += 8; r7 &= 7; r6 -= r7; r0 = *(u8 *)(r6 +0);" END,
	VALUE "r6 += 8; r7 &= 15; r6 -= r7; r0 = *(u8 *)(r6 +0);" END,
	VALUE "r7 &= 15; r7 += r6; r0 = *(u8 *)(r7 +0);" END,
	VALUE "r7 &= 15; r7 -= r6;" END,
	VALUE EITHER("4", "4") "r6 += r8; r0 = *(u8 *)(r6 +0);" END,
	VALUE EITHER("4", "5") "r6 += r8; r0 = *(u8 *)(r6 +0);" END,
	VALUE EITHER("4", "5") "r8 += r6; r0 = *(u8 *)(r8 +0);" END,
	VALUE EITHER("4", "r7; r8 &= 7") "r6 += r8; r0 = *(u8 *)(r6 +0);" END,
	VALUE EITHER("r7; r8 &= 3", "r7; r8 &= 7") "r6 += r8; r0 = *(u8 *)(r6 +0);" END,
	VALUE EITHER("r7; r8 &= 7", "r7; r8 &= 3") "r6 += r8; r0 = *(u8 *)(r6 +0);" END,
	VALUE EITHER("r7; r8 &= 7", "r7; r8 &= 7") "r6 += r8; r0 = *(u8 *)(r6 +0);" END,
	VALUE EITHER("r7; r8 &= 7", "5") "r8 += r8;" END,
	VALUE EITHER("r6", "5") "r9 = 2; r8 += r9;" END,
	VALUE EITHER("r6", "5") "r8 += 2;" END,
	VALUE EITHER("-4", "4") "r6 += 8; r6 += r8;" END,
	VALUE "*(u64 *)(r6 +0) = r10;" END,
	VALUE "r8 = 1; r8 += r7; r8 -= r7;" END,
};

/* As seen by somebody with CAP_BPF alone: a process of its own. */
static long ask_kernel(const struct bpf_insn *insns, uint32_t n, char *log, size_t size)
{
	struct __user_cap_header_struct h = {.version = _LINUX_CAPABILITY_VERSION_3};
	struct __user_cap_data_struct d[2] = {0};
	uint32_t bpf = 1u << (CAP_BPF - 32);
	int fds[2], status;
	ssize_t got;
	long ret;
	pid_t pid;

	assert_int_equal(pipe(fds), 0);
	pid = fork();
	assert_true(pid >= 0);
	if (!pid) {
		d[1].effective = d[1].permitted = bpf;
		ret = syscall(SYS_capset, &h, d) ? -EPERM : 0;
		if (!ret)
			ret = kern_load(BPF_PROG_TYPE_SOCKET_FILTER, insns, n, 1, log,
					(uint32_t)size);
		if (ret > 0)
			ret = 0;
		if (write(fds[1], &ret, sizeof(ret)) < 0 ||
		    write(fds[1], log, strnlen(log, size - 1) + 1) < 0)
			_exit(1);
		_exit(0);
	}
	close(fds[1]);
	assert_int_equal(read(fds[0], &ret, sizeof(ret)), sizeof(ret));
	for (size_t at = 0; (got = read(fds[0], log + at, size - at)) > 0; at += (size_t)got)
		;
	close(fds[0]);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
	return ret;
}

/* The message before the statistics. */
static const char *message(char *log)
{
	char *end = strstr(log, "\nprocessed "), *line;

	if (!end)
		return "";
	*end = '\0';
	line = strrchr(log, '\n');
	return line ? line + 1 : log;
}

static void test_as_kernel(void **state)
{
	static char klog[SIDE_LOG];
	static struct side skep, kernel;
	unsigned done = 0, bad = 0;
	int kmap, smap;

	(void)state;
	if (!kern_available())
		skip();
	assert_int_equal(skep_open(&skep.skep, NULL), 0);
	kmap = side_map(&kernel, BPF_MAP_TYPE_ARRAY, 4, 48, 1);
	smap = side_map(&skep, BPF_MAP_TYPE_ARRAY, 4, 48, 1);
	assert_true(kmap >= 0 && smap >= 0);
	skep.skep->opts.flags |= SKEP_F_UNPRIVILEGED;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct bpf_insn insns[128];
		const char *km, *sm;
		long k, s;
		int n = vasm(cases[i], &kmap, 1, insns, 128);

		assert_true(n > 0);
		klog[0] = '\0';
		k = ask_kernel(insns, (uint32_t)n, klog, sizeof(klog));
		n = vasm(cases[i], &smap, 1, insns, 128);
		s = side_load(&skep, BPF_PROG_TYPE_SOCKET_FILTER, insns, (uint32_t)n, "GPL", NULL);
		km = k ? message(klog) : "";
		sm = s ? message(skep.log) : "";
		done++;
		if (k == s && !strcmp(km, sm))
			continue;
		bad++;
		print_message("%s\n  kernel: %ld %s\n  skep:   %ld %s\n", cases[i], k, km, s, sm);
	}
	print_message("ran: unpriv %u\n", done);
	assert_int_equal(bad, 0);
	close(kmap);
	close(smap);
	skep_close(skep.skep);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_as_kernel),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
