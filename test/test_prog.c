/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The tables of program types against the running kernel: which bytes of a
 * context may be read and written, which values returned, which attach types given.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>
#include <cmocka.h>

#include "bpf/instance.h"
#include "prog/type.h"
#include "bpf/iter.h"
#include "side.h"

static const uint8_t size_bits[] = {[1] = BPF_B, [2] = BPF_H, [4] = BPF_W, [8] = BPF_DW};

static struct side the_kernel;

/* Whether the kernel loads the program: 1, or 0, or -1 if bpf(2) is not permitted. */
static int loads(uint32_t type, uint32_t attach, const struct bpf_insn *insns, uint32_t n)
{
	union bpf_attr attr;
	long fd;

	memset(&attr, 0, sizeof(attr));
	attr.prog_type = type;
	attr.insns = (uintptr_t)insns;
	attr.insn_cnt = n;
	attr.license = (uintptr_t) "GPL";
	attr.expected_attach_type = attach;
	attr.attach_btf_id = side_target(&the_kernel, type);
	if (type == BPF_PROG_TYPE_SYSCALL)
		attr.prog_flags = BPF_F_SLEEPABLE;
	fd = syscall(SYS_bpf, BPF_PROG_LOAD, &attr, sizeof(attr));
	if (fd < 0)
		return errno == EPERM || errno == ENOSYS ? -1 : 0;
	close((int)fd);
	return 1;
}

static int returns(uint32_t type, uint32_t attach, int value)
{
	struct bpf_insn insns[] = {
		{.code = BPF_ALU64 | BPF_MOV | BPF_K, .imm = value},
		{.code = BPF_JMP | BPF_EXIT},
	};

	return loads(type, attach, insns, 2);
}

static int accesses(uint32_t type, uint32_t attach, uint32_t off, uint32_t size, bool write)
{
	struct bpf_insn insns[] = {
		{.code = BPF_ALU64 | BPF_MOV | BPF_K, .dst_reg = 2},
		{.code = (write ? BPF_STX : BPF_LDX) | BPF_MEM | size_bits[size],
		 .dst_reg = write ? 1 : 2,
		 .src_reg = write ? 2 : 1,
		 .off = (int16_t)off},
		{.code = BPF_ALU64 | BPF_MOV | BPF_K, .dst_reg = 0, .imm = 1},
		{.code = BPF_JMP | BPF_EXIT},
	};

	return loads(type, attach, insns, 4);
}

static void need_bpf(void)
{
	if (returns(BPF_PROG_TYPE_SOCKET_FILTER, 0, 0) != 1) {
		print_message("skipped: no bpf(2) here\n");
		skip();
	}
}

static uint32_t compare_range(struct skep_prog *prog, uint32_t from, uint32_t to)
{
	uint32_t cases = 0;

	for (uint32_t size = 1; size <= 8; size *= 2) {
		for (uint32_t off = from; off < to; off++) {
			for (int write = 0; write < 2; write++) {
				bool ours = skep_ctx_find(prog, off, size, write, true);
				int theirs =
					accesses(prog->type, prog->attach_type, off, size, write);

				if (ours != theirs)
					fail_msg("%s, attach type %u: %s of %u bytes at %u: kernel "
						 "%d, ours %d",
						 prog->ops->name, prog->attach_type,
						 write ? "write" : "read", size, off, theirs, ours);
				cases++;
			}
		}
	}
	return cases;
}

static void test_context_accesses(void **state)
{
	uint32_t cases = 0;

	need_bpf();
	for (uint32_t type = 0; type < skep_nprog_types; type++) {
		struct skep_prog prog = {.type = type, .ops = &skep_prog_types[type]};

		if (type == BPF_PROG_TYPE_TRACING)
			prog.iter = &skep_iter_maps; /* what loads() attaches it to */
		/* netfilter's fields lead to structures that an instance doesn't have. */
		if (!prog.ops->name || type == BPF_PROG_TYPE_NETFILTER)
			continue;
		if (prog.ops->ctx_size > 512) {
			cases += compare_range(&prog, 0, 48);
			if (prog.ops->ctx_size < 32768)
				cases += compare_range(&prog, prog.ops->ctx_size - 32,
						       prog.ops->ctx_size + 16);
			continue;
		}
		/* Where the attach type is asked for, it may decide; else one stands for all. */
		bool any = !prog.ops->check_attach(63);
		for (uint32_t attach = 0; attach < (any ? 1 : 63); attach++) {
			prog.attach_type = attach;
			/* Of tracepoints, each has arguments of its own. */
			if (type == BPF_PROG_TYPE_TRACING && attach != BPF_TRACE_ITER)
				continue;
			if (!prog.ops->check_attach(attach))
				cases += compare_range(&prog, 0, prog.ops->ctx_size + 16);
		}
	}
	struct skep_prog devmap = {.type = BPF_PROG_TYPE_XDP,
				   .attach_type = BPF_XDP_DEVMAP,
				   .ops = &skep_prog_types[BPF_PROG_TYPE_XDP]};
	cases += compare_range(&devmap, 0, 32);
	print_message("ran: prog_accesses %u\n", cases);
}

/* What a pointer in the context leads to: sockets and flow keys. */
static uint32_t compare_pointee(struct skep *skep, uint32_t type, uint32_t field)
{
	static struct side kernel, ours;
	uint32_t cases = 0;

	ours.skep = skep;
	for (uint32_t size = 1; size <= 8; size *= 2) {
		for (int16_t off = -2; off < 100; off++) {
			for (int write = 0; write < 2; write++) {
				struct bpf_insn insns[] = {
					{.code = BPF_ALU64 | BPF_MOV | BPF_K, .imm = 1},
					{.code = BPF_LDX | BPF_MEM | BPF_DW,
					 .dst_reg = 1,
					 .src_reg = 1,
					 .off = (int16_t)field},
					{.code = BPF_JMP | BPF_JNE | BPF_K, .dst_reg = 1, .off = 1},
					{.code = BPF_JMP | BPF_EXIT},
					{.code = BPF_ALU64 | BPF_MOV | BPF_K, .dst_reg = 2},
					{.code = (write ? BPF_STX : BPF_LDX) | BPF_MEM |
						 size_bits[size],
					 .dst_reg = write ? 1 : 2,
					 .src_reg = write ? 2 : 1,
					 .off = off},
					{.code = BPF_JMP | BPF_EXIT},
				};
				long theirs = side_load(&kernel, type, insns, 7, "GPL", NULL);
				long answer = side_load(&ours, type, insns, 7, "GPL", NULL);

				if (theirs != answer || strcmp(kernel.log, ours.log))
					fail_msg("%s, field at %u: %s of %u bytes at %d:\n"
						 "kernel %ld %s\nours %ld %s",
						 skep_prog_types[type].name, field,
						 write ? "write" : "read", size, off, theirs,
						 kernel.log, answer, ours.log);
				cases++;
			}
		}
	}
	return cases;
}

static void test_pointees(void **state)
{
	struct skep *skep;
	uint32_t cases = 0;

	need_bpf();
	assert_int_equal(skep_open(&skep, NULL), 0);
	for (uint32_t type = 0; type < skep_nprog_types; type++) {
		for (uint32_t i = 0; i < skep_prog_types[type].nfields; i++) {
			const struct skep_ctx_field *f = &skep_prog_types[type].fields[i];

			if (f->flags &&
			    (f->kind == SKEP_CTX_SOCK_OR_NULL || f->kind == SKEP_CTX_FULL_SOCK ||
			     f->kind == SKEP_CTX_FULL_SOCK_OR_NULL ||
			     f->kind == SKEP_CTX_FLOW_KEYS))
				cases += compare_pointee(skep, type, f->off);
		}
	}
	skep_close(skep);
	print_message("ran: prog_pointees %u\n", cases);
}

static void test_returns(void **state)
{
	uint32_t cases = 0;

	need_bpf();
	for (uint32_t type = 0; type < skep_nprog_types; type++) {
		for (uint32_t attach = 0; attach < 60; attach++) {
			struct skep_prog prog = {
				.type = type, .ops = &skep_prog_types[type], .attach_type = attach};
			int64_t min, max;

			if (!prog.ops->name || prog.ops->check_attach(attach) ||
			    (type == BPF_PROG_TYPE_TRACING && attach != BPF_TRACE_ITER))
				continue;
			if (!skep_prog_ret_range(&prog, &min, &max)) {
				min = INT64_MIN;
				max = INT64_MAX;
			}
			for (int v = -2; v < 8; v++) {
				if (returns(type, attach, v) != (v >= min && v <= max))
					fail_msg("%s, attach type %u: returning %d", prog.ops->name,
						 attach, v);
				cases++;
			}
		}
	}
	print_message("ran: prog_return_values %u\n", cases);
}

static void test_attach_types(void **state)
{
	uint32_t cases = 0;

	need_bpf();
	for (uint32_t type = 0; type < skep_nprog_types; type++) {
		const struct skep_prog_type *ops = &skep_prog_types[type];

		for (uint32_t attach = 0; ops->name && attach < 2000;
		     attach += attach < 80 ? 1 : 960) {
			/* The others of tracing take functions of a kernel, which skep has not. */
			if (type == BPF_PROG_TYPE_TRACING && attach != BPF_TRACE_ITER)
				continue;
			if (returns(type, attach, 1) != !ops->check_attach(attach))
				fail_msg("%s: expected attach type %u", ops->name, attach);
			cases++;
		}
	}
	print_message("ran: prog_attach_types %u\n", cases);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_context_accesses),
		cmocka_unit_test(test_pointees),
		cmocka_unit_test(test_returns),
		cmocka_unit_test(test_attach_types),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
