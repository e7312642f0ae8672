/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Per-CPU variables: bpf_this_cpu_ptr, bpf_per_cpu_ptr and the loads of addresses that they
 * take. Kernels that know no addresses of data (CONFIG_KALLSYMS_ALL=n) refuse each variable
 * with -ENOENT; what they say of anything else is compared.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "asm.h"
#include "btf/btf.h"
#include "exec/slot.h"
#include "helper/helper.h"
#include "kernel.h"
#include "side.h"

#define CPUS 4

static struct side kernel, ours;

/* The id of a variable in the BTF of a side, 0: it has none. */
static int32_t var_id(const struct side *s, const char *name)
{
	struct skep_btf *btf = NULL;
	char *data;
	int64_t id;
	size_t n;
	FILE *f;

	if (s->skep) {
		assert_int_equal(skep_btf_vmlinux(&btf), 0);
	} else {
		f = fopen("/sys/kernel/btf/vmlinux", "r");
		if (!f)
			return 0;
		data = malloc(16 << 20);
		assert_non_null(data);
		n = fread(data, 1, 16 << 20, f);
		fclose(f);
		assert_int_equal(skep_btf_parse(data, (uint32_t)n, NULL, &btf), 0);
		free(data);
	}
	id = skep_btf_find(btf, name, BTF_KIND_VAR);
	skep_btf_put(btf);
	return id > 0 ? (int32_t)id : 0;
}

/* r1 = address of variable id; then text. fd: as the second slot has it. */
static long load(struct side *s, int32_t id, int32_t fd, const char *text, const char *license,
		 int *out)
{
	struct bpf_insn insns[40] = {
		{.code = BPF_LD | BPF_DW | BPF_IMM, .dst_reg = 1, .src_reg = 3, .imm = id},
		{.imm = fd},
	};
	int n = asm_text(text, insns + 2, 38);

	assert_true(n > 0);
	return side_load(s, BPF_PROG_TYPE_XDP, insns, (uint32_t)n + 2, license, out);
}

static bool unknown_address(const struct side *s, long err)
{
	return err == -ENOENT && strstr(s->log, "failed to find the address");
}

static void open_instance(uint32_t flags)
{
	struct skep_opts opts = {.sz = sizeof(opts), .cpus = CPUS, .flags = flags};

	assert_int_equal(skep_open(&ours.skep, &opts), 0);
}

/* ---- Verdicts ---- */

#define THIS "call #154\n"
#define PER  "call #153\n"
#define END  "r0 = 0\nexit"

static const struct {
	const char *text, *license, *says; /* NULL: accepted */
	int err;
} verdicts[] = {
	{THIS "r0 = *(u32 *)(r0 +0)\nexit", "GPL", NULL, 0},
	{THIS "r0 = *(u8 *)(r0 +3)\nexit", "Apache-2.0", NULL, 0},
	{"r2 = 0\n" PER "if r0 != 0 goto yes\nexit\nyes:\nr0 = *(u32 *)(r0 +0)\nexit", "GPL", NULL,
	 0},
	{"*(u64 *)(r10 -8) = r1\nr1 = *(u64 *)(r10 -8)\n" THIS END, "GPL", NULL, 0},
	{THIS "r1 = r0\nr2 = 4\ncall #6\n" END, "GPL", NULL, 0},
	{THIS "r0 = *(u32 *)(r0 +4)\nexit", "GPL",
	 "invalid access to memory, mem_size=4 off=4 size=4\n", EACCES},
	{THIS "*(u32 *)(r0 +0) = r10\n" END, "GPL", "R0 cannot write into rdonly_mem\n", EACCES},
	{"r2 = 0\n" PER "r0 = *(u32 *)(r0 +0)\nexit", "GPL",
	 "R0 invalid mem access 'rdonly_mem_or_null'\n", EACCES},
	{"r0 = *(u32 *)(r1 +0)\nexit", "GPL", "R1 is ptr_int access percpu memory: off=0\n",
	 EACCES},
	{"r0 = *(u32 *)(r1 +0)\nexit", "Apache-2.0",
	 "Cannot access kernel 'struct int' from non-GPL compatible program\n", EINVAL},
	{"r0 = *(u32 *)(r1 -4)\nexit", "GPL", "R1 is ptr_int invalid negative access: off=-4\n",
	 EACCES},
	{"r1 += 4\n" THIS END, "GPL",
	 "dereference of modified percpu_ptr_ ptr R1 off=4 disallowed\n", EACCES},
	{"r2 = 4\ncall #6\n" END, "GPL",
	 "R1 type=percpu_ptr_ expected=fp, pkt, pkt_meta, map_key, map_value, mem, ringbuf_mem, "
	 "buf, trusted_ptr_\n",
	 EACCES},
};

static void test_verdicts(void **state)
{
	int32_t id, kernel_id = kernel_there() ? var_id(&kernel, "bpf_prog_active") : 0;
	uint32_t compared = 0;

	open_instance(0);
	id = var_id(&ours, "bpf_prog_active");
	assert_true(id > 0);
	for (size_t i = 0; i < sizeof(verdicts) / sizeof(verdicts[0]); i++) {
		long err = load(&ours, id, 0, verdicts[i].text, verdicts[i].license, NULL);

		if (err != -verdicts[i].err ||
		    (verdicts[i].says && !strstr(ours.log, verdicts[i].says)))
			fail_msg("%zu: %ld\n%s", i, err, ours.log);
		if (!kernel_id)
			continue;
		err = load(&kernel, kernel_id, 0, verdicts[i].text, verdicts[i].license, NULL);
		if (unknown_address(&kernel, err))
			continue;
		compared++;
		if (err != -verdicts[i].err ||
		    (verdicts[i].says && !strstr(kernel.log, verdicts[i].says)))
			fail_msg("%zu: kernel %ld\n%s", i, err, kernel.log);
	}
	print_message("ran: percpu_verdicts %zu, compared with the kernel %u\n",
		      sizeof(verdicts) / sizeof(verdicts[0]), compared);
	skep_close(ours.skep);
}

/* Ids that name no variable, and arguments that are none: the same log on both sides. */
static void test_wrong(void **state)
{
	static const struct {
		int32_t id, fd;
		const char *text;
	} cases[] = {
		{0, 0, END},  {1, 0, END},  {99999999, 0, END},
		{-1, 0, END}, {1, 99, END}, {0, -1, END},
	};
	static const char *const args[] = {"r1 = 0\n" THIS END, THIS END, "r1 = r10\n" PER END};

	if (!kernel_there())
		skip();
	open_instance(0);
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		long theirs = load(&kernel, cases[i].id, cases[i].fd, cases[i].text, "GPL", NULL);

		assert_int_equal(load(&ours, cases[i].id, cases[i].fd, cases[i].text, "GPL", NULL),
				 theirs);
		assert_true(theirs < 0);
		assert_string_equal(ours.log, kernel.log);
	}
	for (size_t i = 0; i < sizeof(args) / sizeof(args[0]); i++) {
		struct bpf_insn insns[8];
		int n = asm_text(args[i], insns, 8);
		long theirs =
			side_load(&kernel, BPF_PROG_TYPE_XDP, insns, (uint32_t)n, "GPL", NULL);

		assert_int_equal(
			side_load(&ours, BPF_PROG_TYPE_XDP, insns, (uint32_t)n, "GPL", NULL),
			theirs);
		assert_int_equal(theirs, -EACCES);
		assert_non_null(strstr(kernel.log, "expected=percpu_ptr_"));
		assert_non_null(strstr(ours.log, strstr(kernel.log, "R1 type=")));
	}
	print_message("ran: percpu_wrong %zu\n",
		      sizeof(cases) / sizeof(cases[0]) + sizeof(args) / sizeof(args[0]));
	skep_close(ours.skep);
}

/* ---- Values ---- */

static uint32_t value(const char *var, const char *text)
{
	uint8_t packet[64] = {0};
	uint32_t retval;
	int fd;

	if (load(&ours, var_id(&ours, var), 0, text, "GPL", &fd))
		fail_msg("%s", ours.log);
	assert_int_equal(side_run_packet(&ours, fd, packet, sizeof(packet), &retval), 0);
	close(fd);
	return retval;
}

#define READ "if r0 != 0 goto yes\nr0 = 77\nexit\nyes:\nr0 = *(u32 *)(r0 +0)\nexit"

static int32_t active(uint32_t cpu)
{
	const struct skep_percpu *var =
		(const void *)((const char *)skep_slots_var(ours.skep->slots,
							    SKEP_VAR_PROG_ACTIVE) -
			       offsetof(struct skep_percpu, data));
	int32_t v;

	memcpy(&v, var->data + var->stride * cpu, sizeof(v));
	return v;
}

static void test_values(void **state)
{
	static const uint32_t ways[] = {0, SKEP_F_INTERPRET, SKEP_F_CHECKED};

	for (size_t w = 0; w < sizeof(ways) / sizeof(ways[0]); w++) {
		struct skep_env *env;
		uint32_t used;

		open_instance(ways[w]);
		assert_int_equal(value("bpf_prog_active", THIS "r0 = *(u32 *)(r0 +0)\nexit"), 1);
		/* The copy of the slot that runs, and only that one, says so. */
		assert_int_equal(
			value("bpf_prog_active", "r6 = r1\ncall #8\nr1 = r6\nr2 = r0\n" PER READ),
			1);
		assert_int_equal(
			value("bpf_prog_active",
			      "r6 = r1\ncall #8\nr1 = r6\nr2 = r0\nr2 += 1\nr2 &= 3\n" PER READ),
			0);
		assert_int_equal(
			value("cpu_number", THIS "r6 = *(u32 *)(r0 +0)\ncall #8\nr0 -= r6\nexit"),
			0);
		assert_int_equal(value("cpu_number", "r2 = 0\n" PER READ), 0);
		assert_int_equal(value("cpu_number", "r2 = 3\n" PER READ), CPUS - 1);
		assert_int_equal(value("cpu_number", "r2 = 4\n" PER READ), 77);
		assert_int_equal(value("cpu_number", "r2 = -1\n" PER READ), 77);
		for (uint32_t cpu = 0; cpu < CPUS; cpu++)
			assert_int_equal(active(cpu), 0);
		/* Another environment of this thread shares the slot. */
		assert_int_equal(skep_env_open(&env, ours.skep), 0);
		skep_enter(env);
		used = env->cpu;
		assert_int_equal(active(used), 1);
		assert_int_equal(value("bpf_prog_active", THIS "r0 = *(u32 *)(r0 +0)\nexit"), 2);
		assert_int_equal(active(used), 1);
		skep_leave(env);
		assert_int_equal(active(used), 0);
		skep_env_close(env);
		skep_close(ours.skep);
	}
	print_message("ran: percpu_values %zu\n", sizeof(ways) / sizeof(ways[0]));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_verdicts),
		cmocka_unit_test(test_wrong),
		cmocka_unit_test(test_values),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
