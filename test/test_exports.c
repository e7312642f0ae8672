/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the libraries offer to those who link them: the functions of skep.h, and no other name.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "skep.h"

static const char *const api[] = {
	"skep_open",
	"skep_close",
	"skep_bpf",
	"skep_runner_open",
	"skep_runner_close",
	"skep_run_packets",
	"skep_runner_on_clone",
};

#define N_API (sizeof(api) / sizeof(api[0]))

static void offers(const char *options, const char *library)
{
	char exe[512], cmd[1024], line[512], name[256], kind;
	bool seen[N_API] = {false};
	ssize_t n = readlink("/proc/self/exe", exe, sizeof(exe) - 1);
	FILE *p;

	assert_true(n > 0);
	exe[n] = 0;
	*strrchr(exe, '/') = 0;
	snprintf(cmd, sizeof(cmd), "nm %s --defined-only %s/../%s", options, exe, library);
	p = popen(cmd, "r");
	assert_non_null(p);
	while (fgets(line, sizeof(line), p)) {
		size_t k = 0;

		if (sscanf(line, "%*s %c %255s", &kind, name) != 2)
			continue;
		while (k < N_API && strcmp(api[k], name) != 0)
			k++;
		/* Sanitizers leave names of their own. */
		if (k == N_API && strncmp(name, "__", 2) != 0)
			fail_msg("%s offers %s", library, name);
		if (k < N_API)
			seen[k] = true;
	}
	assert_int_equal(pclose(p), 0);
	for (size_t k = 0; k < N_API; k++)
		if (!seen[k])
			fail_msg("%s lacks %s", library, api[k]);
}

static void test_archive(void **state)
{
	offers("-g", "libskep.a");
}

static void test_shared(void **state)
{
	offers("-D", "libskep.so");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_archive),
		cmocka_unit_test(test_shared),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
