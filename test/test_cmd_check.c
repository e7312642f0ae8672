/* SPDX-License-Identifier: Apache-2.0 */
/*
 * skep check on what is meant for elsewhere: objects that other kernels' types are needed for,
 * and maps that the program's own loader would complete.
 */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <cmocka.h>

#include "bpf/uapi.h"
#include "cmd.h"
#include "skep.h"

static int ran;

/* A kernel with one structure that no other has. */
static const char elsewhere[] = "struct comb { int cells; long honey; };\n"
				"int keep(struct comb *comb) { return comb->cells; }\n";

static const char program[] =
	"#include <linux/bpf.h>\n#include <linux/ptrace.h>\n#include <bpf/bpf_helpers.h>\n"
	"#include <bpf/bpf_core_read.h>\n"
	"struct comb { long honey; } __attribute__((preserve_access_index));\n"
	"SEC(\"kprobe/keep\") int taste(struct pt_regs *ctx)\n"
	"{ struct comb *comb = (void *)ctx->rdi; return BPF_CORE_READ(comb, honey) > 1; }\n"
	"char _license[] SEC(\"license\") = \"GPL\";\n";

static const char *kernel_types(void)
{
	const char *src = cmd_text("kernel.c", elsewhere), *obj = cmd_path("kernel.o"),
		   *out = cmd_path("kernel.btf");
	char command[1024];

	snprintf(command, sizeof(command),
		 "clang -target bpf -g -O2 -c %s -o %s && llvm-objcopy --dump-section .BTF=%s %s",
		 src, obj, out, obj);
	assert_int_equal(system(command), 0);
	return out;
}

static void types(void **state)
{
	const char *btf = kernel_types(), *prog = cmd_text("taste.bpf.c", program);
	const struct cmd_result *r = skep_cmd("check %s", prog);

	/* The structure is not there: the access was poisoned. */
	assert_int_equal(r->status, 1);
	r = skep_cmd("check --btf %s %s", btf, prog);
	assert_string_equal(r->err, "");
	assert_int_equal(r->status, 0);
	assert_non_null(strstr(r->out, "accepted"));
	ran++;

	r = skep_cmd("check --json --repeat 5 --btf %s %s", btf, prog);
	assert_int_equal(r->status, 0);
	assert_true(json_number(json_parse(r->out), "programs.0.ns") > 0);
	r = skep_cmd("check --repeat 0 %s", prog);
	assert_int_equal(r->status, 2);

	r = skep_cmd("check --btf %s %s", prog, prog);
	assert_int_equal(r->status, 1);
	assert_non_null(strstr(r->err, "can't be taken as a kernel's types"));
	r = skep_cmd("check --btf %s %s", "/nonesuch", prog);
	assert_int_equal(r->status, 1);
	assert_non_null(strstr(r->err, "/nonesuch"));
	r = skep_cmd("check --runtime kernel --btf %s %s", btf, prog);
	assert_int_equal(r->status, 2);
	ran++;
}

/* Verified against other types than those that lie in memory: not to be run. */
static void not_run(void **state)
{
	static const struct bpf_insn insns[] = {{.code = BPF_ALU64 | BPF_MOV | BPF_K},
						{.code = BPF_JMP | BPF_EXIT}};
	struct skep_opts opts = {.sz = sizeof(opts)};
	union bpf_attr a;
	struct skep_runner *runner;
	struct skep *skep;
	uint8_t packet[64] = {0};
	struct stat st;
	void *data;
	int fd = open(kernel_types(), O_RDONLY);
	long prog;

	assert_true(fd >= 0 && !fstat(fd, &st));
	data = malloc((size_t)st.st_size);
	assert_int_equal(read(fd, data, (size_t)st.st_size), st.st_size);
	close(fd);
	opts.kernel_btf = data;
	opts.kernel_btf_size = (size_t)st.st_size;
	assert_int_equal(skep_open(&skep, &opts), 0);
	free(data);
	memset(&a, 0, sizeof(a));
	a.prog_type = BPF_PROG_TYPE_XDP;
	a.insns = (uintptr_t)insns;
	a.insn_cnt = 2;
	a.license = (uintptr_t) "GPL";
	prog = skep_bpf(skep, BPF_PROG_LOAD, &a, sizeof(a));
	assert_true(prog >= 0);
	memset(&a, 0, sizeof(a));
	a.test.prog_fd = (uint32_t)prog;
	a.test.data_in = (uintptr_t)packet;
	a.test.data_size_in = sizeof(packet);
	assert_int_equal(skep_bpf(skep, BPF_PROG_TEST_RUN, &a, sizeof(a)), -EOPNOTSUPP);
	assert_int_equal(skep_runner_open(&runner, skep, (int)prog), -EOPNOTSUPP);
	close((int)prog);
	skep_close(skep);

	opts.kernel_btf = "no BTF";
	opts.kernel_btf_size = 6;
	assert_int_equal(skep_open(&skep, &opts), -EINVAL);
	ran++;
}

/* Sizes that loaders set, and names that only they may pin. */
static void maps(void **state)
{
	const char *prog = cmd_text(
		"maps.bpf.c",
		"#include <linux/bpf.h>\n#include <bpf/bpf_helpers.h>\n"
		"#define MAP(name, kind, ...) struct { __uint(type, BPF_MAP_TYPE_##kind); "
		"__VA_ARGS__ } name SEC(\".maps\")\n"
		"MAP(a, ARRAY, __type(key, __u32); __type(value, long););\n"
		"MAP(h, HASH, __type(key, __u32); __type(value, long);\n"
		"	__uint(pinning, LIBBPF_PIN_BY_NAME););\n"
		"MAP(r, RINGBUF,);\n"
		"MAP(t, STACK_TRACE, __type(key, __u32););\n"
		"SEC(\"xdp\") int all(struct xdp_md *ctx)\n"
		"{\n"
		"	__u32 key = 0;\n"
		"	bpf_ringbuf_output(&r, &key, 4, 0);\n"
		"	return bpf_map_lookup_elem(&a, &key) && bpf_map_lookup_elem(&h, &key) ?\n"
		"		XDP_PASS : XDP_DROP;\n"
		"}\n"
		"char _license[] SEC(\"license\") = \"GPL\";\n");

	for (int kernel = 0; kernel <= cmd_kernel(); kernel++) {
		const struct cmd_result *r =
			skep_cmd("check --runtime %s %s", kernel ? "kernel" : "user", prog);

		assert_string_equal(r->err, "");
		assert_int_equal(r->status, 0);
		ran++;
	}
}

static int teardown(void **state)
{
	printf("ran: cmd_check %d\n", ran);
	cmd_cleanup();
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(types),
		cmocka_unit_test(not_run),
		cmocka_unit_test(maps),
	};

	return cmocka_run_group_tests(tests, NULL, teardown);
}
