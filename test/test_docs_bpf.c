/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The table of commands in docs/bpf.md: every command of Linux 6.18 has a row, in order; its bytes are those
 * of the code and of the running kernel, and who may call it is tried.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <linux/btf.h>

#include "bpf/call.h"
#include "btf/btf.h"
#include "kernel.h"
#include "skep.h"

static struct skep *skep, *poor;

static int setup(void **state)
{
	struct skep_opts opts = {.sz = sizeof(opts), .flags = SKEP_F_UNPRIVILEGED};

	return skep_open(&skep, NULL) || skep_open(&poor, &opts);
}

static int teardown(void **state)
{
	skep_close(skep);
	skep_close(poor);
	return 0;
}

static char *page(void)
{
	static char text[1 << 16];
	FILE *f = fopen("docs/bpf.md", "r");

	assert_non_null(f);
	text[fread(text, 1, sizeof(text) - 1, f)] = 0;
	fclose(f);
	return text;
}

/* Behind its bytes nothing may be set, on either side. */
static void check_bytes(const char *name, int cmd, uint32_t bytes)
{
	assert_int_equal(skep_cmd_bytes(cmd), bytes);
	for (uint32_t at = bytes; at < sizeof(union bpf_attr); at++) {
		union bpf_attr a;
		memset(&a, 0, sizeof(a));
		((uint8_t *)&a)[at] = 1;
		if (skep_bpf(skep, cmd, &a, sizeof(a)) != -EINVAL)
			fail_msg("%s: byte %u is used", name, at);
		if (kernel_there() && kernel_bpf(cmd, &a, sizeof(a)) != -EINVAL)
			fail_msg("%s: the kernel uses byte %u", name, at);
	}
}

static void check_who(const char *name, int cmd, const char *who)
{
	union bpf_attr a;

	memset(&a, 0, sizeof(a));
	long r = skep_bpf(poor, cmd, &a, sizeof(a));
	if (!strcmp(who, "privileged"))
		assert_int_equal(r, -EPERM);
	else if (!strcmp(who, "all") ? r == -EPERM : strcmp(who, "by type"))
		fail_msg("%s: %s, but the answer is %ld", name, who, r);
}

static void test_table(void **state)
{
	const struct skep_btf *btf;
	char *at = page();
	uint32_t n = 0;

	assert_int_equal(skep_btf_presented(skep, &btf), 0);
	int64_t id = skep_btf_find(btf, "bpf_cmd", BTF_KIND_ENUM);
	assert_true(id > 0);
	const struct btf_type *t = skep_btf_type(btf, (uint32_t)id);
	const struct btf_enum *e = (const void *)(t + 1);
	for (uint32_t i = 0; i < BTF_INFO_VLEN(t->info); i++) {
		const char *name = skep_btf_str(btf, e[i].name_off);
		char row[64], who[32];
		uint32_t bytes = 0;
		/* BPF_PROG_RUN is another name, __MAX_BPF_CMD none. */
		if (strncmp(name, "BPF_", 4) || (i && e[i].val == e[i - 1].val))
			continue;
		snprintf(row, sizeof(row), "\n| %s |", name + 4);
		at = strstr(at, row);
		if (!at || sscanf(at + strlen(row), " %u | %31[^|]", &bytes, who) != 2)
			fail_msg("no row for %s in its place", name);
		who[strlen(who) - 1] = 0;
		check_bytes(name, e[i].val, bytes);
		check_who(name, e[i].val, who);
		n++;
	}
	assert_int_equal(n, BPF_PROG_STREAM_READ_BY_FD + 1);
	print_message("ran: docs_commands %u\n", n);
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(test_table)};

	return cmocka_run_group_tests(tests, setup, teardown);
}
