/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Who may what: the client "rights" asks as many users, with and without capabilities, on the running
 * kernel and on an instance, and both say the same.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cmd.h"

/* A kernel may have been built or set up without these, and then refuses root too. */
static bool is_machines(const char *line)
{
	static const char *const types[] = {" prog 26:", " prog 28:", " prog 29:"};

	for (size_t i = 0; i < sizeof(types) / sizeof(types[0]); i++)
		if (strstr(line, types[i]))
			return true;
	return false;
}

static unsigned compare(FILE *kernel, FILE *skep)
{
	char k[256], s[256];
	unsigned n = 0, wrong = 0;

	while (fgets(k, sizeof(k), kernel)) {
		if (!fgets(s, sizeof(s), skep))
			fail_msg("the instance says nothing after: %s", k);
		if (is_machines(k))
			continue;
		n++;
		if (strcmp(k, s) != 0) {
			print_error("kernel: %sskep:   %s", k, s);
			wrong++;
		}
	}
	assert_null(fgets(s, sizeof(s), skep));
	assert_int_equal(wrong, 0);
	return n;
}

static void test_rights(void **state)
{
	char rights[4200], line[9000];
	const struct cmd_result *r;
	FILE *kernel, *skep;
	unsigned n;

	if (geteuid() || !cmd_kernel()) {
		print_message("skipped: root and bpf(2) are needed\n");
		skip();
	}
	if (readlink("/proc/self/exe", line, sizeof(line)) <= 0)
		fail();
	*strrchr(line, '/') = 0;
	snprintf(rights, sizeof(rights), "%.4000s/clients/rights", line);
	snprintf(line, sizeof(line),
		 "unshare -m sh -c 'mount -t bpf bpf /sys/fs/bpf && exec \"$0\"' %s >%s", rights,
		 cmd_path("kernel"));
	assert_int_equal(system(line), 0);
	r = skep_cmd("exec -- %s", rights);
	if (r->status)
		print_error("%s%s", r->out, r->err);
	assert_int_equal(r->status, 0);
	kernel = fopen(cmd_path("kernel"), "re");
	skep = fmemopen(r->out, r->out_len, "r");
	assert_true(kernel && skep);
	n = compare(kernel, skep);
	fclose(kernel);
	fclose(skep);
	print_message("ran: clients_rights %u\n", n);
}

static int teardown(void **state)
{
	cmd_cleanup();
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(test_rights)};

	return cmocka_run_group_tests(tests, NULL, teardown);
}
