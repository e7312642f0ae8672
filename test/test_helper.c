/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The rows of the helper table against the running kernel: which program type may
 * call which helper, and what the verifier says of random arguments.
 */
#include <errno.h>
#include <linux/capability.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>
#include <cmocka.h>

#include "helper/helper.h"
#include "kernel.h"
#include "prog/type.h"
#include "side.h"

static struct side kernel, ours;

static int setup(void **state)
{
	if (!kernel_there()) {
		print_message("skipped: no bpf(2) here\n");
		return 0;
	}
	assert_int_equal(skep_open(&ours.skep, NULL), 0);
	struct side *sides[] = {&kernel, &ours};
	for (int i = 0; i < 2; i++) {
		sides[i]->array = side_map(sides[i], BPF_MAP_TYPE_ARRAY, 4, 64, 4);
		sides[i]->ringbuf = side_map(sides[i], BPF_MAP_TYPE_RINGBUF, 0, 0, 4096);
		assert_true(sides[i]->array >= 0 && sides[i]->ringbuf >= 0);
	}
	return 0;
}

static int teardown(void **state)
{
	skep_close(ours.skep);
	return 0;
}

/* ---- Who may call what ---- */

static const struct bpf_insn *call_of(uint32_t id)
{
	static struct bpf_insn insns[3];

	insns[0] = (struct bpf_insn){.code = BPF_JMP | BPF_CALL, .imm = (int32_t)id};
	insns[1] = (struct bpf_insn){.code = BPF_ALU64 | BPF_MOV | BPF_K};
	insns[2] = (struct bpf_insn){.code = BPF_JMP | BPF_EXIT};
	return insns;
}

static bool refused_helper(const struct side *s)
{
	return strstr(s->log, "cannot use helper") || strstr(s->log, "invalid func") ||
	       strstr(s->log, "helper call is not allowed in probe");
}

/*
 * Where skep's rows are narrower on purpose. The kernel has these helpers in two shapes,
 * with and without a packet (a socket) as their context; the row describes one of them.
 */
static bool two_shapes(uint32_t id, uint32_t type)
{
	uint64_t ours_too = skep_helpers[id].progs;

	return (id == BPF_FUNC_get_cgroup_classid || id == BPF_FUNC_xdp_get_buff_len ||
		id == BPF_FUNC_get_socket_cookie || id == BPF_FUNC_sk_storage_get ||
		id == BPF_FUNC_sk_storage_delete) &&
	       !(ours_too & 1ull << type);
}

static void test_program_types(void **state)
{
	uint32_t pairs = 0, missing = 0, narrower = 0;

	if (!ours.skep)
		skip();
	for (uint32_t id = 1; id < 220; id++) {
		bool known = id < SKEP_MAX_HELPERS && skep_helpers[id].name;

		for (uint32_t type = 0; type < skep_nprog_types; type++) {
			bool row;

			if (!skep_prog_types[type].name)
				continue;
			side_load(&kernel, type, call_of(id), 3, "GPL", NULL);
			row = known && skep_helper_row(id, type);
			pairs++;
			if (row == !refused_helper(&kernel))
				continue;
			if (!known)
				missing++;
			else if (!row && two_shapes(id, type))
				narrower++;
			else
				fail_msg("%s in %s: kernel %s", skep_helper_name(id),
					 skep_prog_types[type].name, row ? "refuses" : "takes it");
		}
	}
	print_message("ran: helper_types %u\n", pairs);
	print_message("helpers that skep lacks: %u pairs; rows narrower on purpose: %u\n", missing,
		      narrower);
}

/* A GPL-only helper is refused to others; names are the kernel's. */
static void test_licenses(void **state)
{
	uint32_t n = 0;

	if (!ours.skep)
		skip();
	for (uint32_t id = 1; id < __BPF_FUNC_MAX_ID; id++) {
		uint32_t type = 0;

		while (type < skep_nprog_types &&
		       !(skep_helpers[id].progs & 1ull << type && skep_prog_types[type].name))
			type++;
		if (!skep_helpers[id].name || type == skep_nprog_types)
			continue;
		side_load(&kernel, type, call_of(id), 3, "Apache-2.0", NULL);
		bool gpl_only = strstr(kernel.log, "GPL") != NULL;
		if (gpl_only != !!(skep_helpers[id].flags & SKEP_HELPER_GPL))
			fail_msg("%s: kernel says GPL-only: %d", skep_helper_name(id), gpl_only);
		side_load(&ours, type, call_of(id), 3, "Apache-2.0", NULL);
		if (gpl_only != (strstr(ours.log, "GPL") != NULL))
			fail_msg("%s: the verifier says:\n%s", skep_helper_name(id), ours.log);
		n++;
	}
	print_message("ran: helper_licenses %u\n", n);
}

/* ---- Capabilities ---- */

/* In a child that keeps CAP_BPF and CAP_NET_ADMIN alone: the first helper whose row disagrees
 * with the kernel about CAP_PERFMON, or 0. */
static uint32_t without_perfmon(uint32_t *tested)
{
	struct __user_cap_header_struct head = {.version = _LINUX_CAPABILITY_VERSION_3};
	struct __user_cap_data_struct caps[2] = {{0}};

	caps[CAP_TO_INDEX(CAP_NET_ADMIN)].permitted |= CAP_TO_MASK(CAP_NET_ADMIN);
	caps[CAP_TO_INDEX(CAP_BPF)].permitted |= CAP_TO_MASK(CAP_BPF);
	for (int i = 0; i < 2; i++)
		caps[i].effective = caps[i].permitted;
	if (syscall(SYS_capset, &head, caps))
		return 0;
	for (uint32_t id = 1; id < __BPF_FUNC_MAX_ID; id++) {
		const struct skep_helper *row = &skep_helpers[id];

		if (!row->name || !(row->progs & 1ull << BPF_PROG_TYPE_SCHED_CLS))
			continue;
		if (side_load(&kernel, BPF_PROG_TYPE_SCHED_CLS, call_of(id), 3, "GPL", NULL) ==
		    -EPERM)
			return 0;
		if (refused_helper(&kernel) != !!(row->flags & SKEP_HELPER_PERFMON))
			return id;
		++*tested;
	}
	return 0;
}

static void test_capabilities(void **state)
{
	uint32_t answer[2] = {0};
	int fds[2];
	pid_t pid;

	if (!ours.skep)
		skip();
	assert_int_equal(pipe(fds), 0);
	pid = fork();
	assert_true(pid >= 0);
	if (!pid) {
		answer[0] = without_perfmon(&answer[1]);
		_exit(write(fds[1], answer, sizeof(answer)) != sizeof(answer));
	}
	close(fds[1]);
	assert_int_equal(read(fds[0], answer, sizeof(answer)), sizeof(answer));
	close(fds[0]);
	waitpid(pid, NULL, 0);
	if (answer[0])
		fail_msg("%s: the kernel thinks otherwise about CAP_PERFMON",
			 skep_helper_name(answer[0]));
	print_message("ran: helper_capabilities %u\n", answer[1]);
}

/* ---- Random arguments ---- */

struct code {
	struct bpf_insn insns[128];
	uint32_t n;
};

static void add(struct code *c, uint8_t code, uint8_t dst, uint8_t src, int16_t off, int32_t imm)
{
	c->insns[c->n++] = (struct bpf_insn){
		.code = code, .dst_reg = dst, .src_reg = src, .off = off, .imm = imm};
}

enum {
	UNINIT,
	ZERO,
	SMALL,
	BIG,
	NEGATIVE,
	UNKNOWN,
	CTX,
	STACK,
	STACK_UNINIT,
	STACK_ODD,
	MAP,
	RINGBUF,
	VALUE,
	VALUE_END,
	FRAME_TOP,
	PACKET,
	KINDS
};
static const char *const kind_names[] = {
	"uninit", "0",       "4",     "100000",  "-1",    "unknown",  "ctx", "stack",
	"stack?", "stack+3", "array", "ringbuf", "value", "value+60", "r10", "packet"};

static void argument(struct code *c, const struct side *s, uint8_t reg, int kind)
{
	static const int32_t numbers[] = {[ZERO] = 0, [SMALL] = 4, [BIG] = 100000, [NEGATIVE] = -1};

	switch (kind) {
	case UNINIT:
		break;
	case ZERO:
	case SMALL:
	case BIG:
	case NEGATIVE:
		add(c, BPF_ALU64 | BPF_MOV | BPF_K, reg, 0, 0, numbers[kind]);
		break;
	case UNKNOWN:
		add(c, BPF_ALU64 | BPF_MOV | BPF_X, reg, 7, 0, 0);
		break;
	case CTX:
		add(c, BPF_ALU64 | BPF_MOV | BPF_X, reg, 6, 0, 0);
		break;
	case STACK:
	case STACK_UNINIT:
	case STACK_ODD:
	case FRAME_TOP:
		add(c, BPF_ALU64 | BPF_MOV | BPF_X, reg, 10, 0, 0);
		if (kind != FRAME_TOP)
			add(c, BPF_ALU64 | BPF_ADD | BPF_K, reg, 0, 0,
			    kind == STACK       ? -64
			    : kind == STACK_ODD ? -61
						: -128);
		break;
	case PACKET:
		add(c, BPF_ALU64 | BPF_MOV | BPF_X, reg, 8, 0, 0);
		break;
	case MAP:
	case RINGBUF:
		add(c, BPF_LD | BPF_IMM | BPF_DW, reg, BPF_PSEUDO_MAP_FD, 0,
		    kind == MAP ? s->array : s->ringbuf);
		add(c, 0, 0, 0, 0, 0);
		break;
	default:
		add(c, BPF_LD | BPF_IMM | BPF_DW, reg, BPF_PSEUDO_MAP_VALUE, 0, s->array);
		add(c, 0, 0, 0, 0, kind == VALUE ? 0 : 60);
		break;
	}
}

static void load_field(struct code *c, uint8_t dst, uint32_t type, uint8_t kind)
{
	const struct skep_ctx_field *f = skep_prog_types[type].fields;

	while (f->kind != kind)
		f++;
	add(c, BPF_LDX | BPF_MEM | (f->size == 8 ? BPF_DW : BPF_W), dst, 6, (int16_t)f->off, 0);
}

/* R8: a packet of 64 bytes at least where the type can have one, else the stack. */
static void packet_pointer(struct code *c, uint32_t type)
{
	if (!skep_prog_types[type].direct_packet) {
		add(c, BPF_ALU64 | BPF_MOV | BPF_X, 8, 10, 0, 0);
		add(c, BPF_ALU64 | BPF_ADD | BPF_K, 8, 0, 0, -64);
		return;
	}
	load_field(c, 8, type, SKEP_CTX_PKT);
	load_field(c, 9, type, SKEP_CTX_PKT_END);
	add(c, BPF_ALU64 | BPF_MOV | BPF_X, 1, 8, 0, 0);
	add(c, BPF_ALU64 | BPF_ADD | BPF_K, 1, 0, 0, 64);
	add(c, BPF_JMP | BPF_JLE | BPF_X, 1, 9, 2, 0);
	add(c, BPF_ALU64 | BPF_MOV | BPF_K, 0, 0, 0, 0);
	add(c, BPF_JMP | BPF_EXIT, 0, 0, 0, 0);
}

/* touch: looks into the packet after the call, which the helper may have moved. */
static void build(struct code *c, const struct side *s, uint32_t id, uint32_t type,
		  const int *kinds, bool touch)
{
	c->n = 0;
	add(c, BPF_ALU64 | BPF_MOV | BPF_X, 6, 1, 0, 0);
	add(c, BPF_JMP | BPF_CALL, 0, 0, 0, BPF_FUNC_get_prandom_u32);
	add(c, BPF_ALU64 | BPF_MOV | BPF_X, 7, 0, 0, 0);
	packet_pointer(c, type);
	add(c, BPF_ALU64 | BPF_MOV | BPF_K, 1, 0, 0, 0);
	for (int16_t at = -64; at < 0; at += 8)
		add(c, BPF_ST | BPF_MEM | BPF_DW, 10, 0, at, 1);
	for (uint8_t i = 0; i < 5; i++)
		argument(c, s, i + 1, kinds[i]);
	add(c, BPF_JMP | BPF_CALL, 0, 0, 0, (int32_t)id);
	if (touch)
		add(c, BPF_LDX | BPF_MEM | BPF_B, 0, 8, 0, 0);
	add(c, BPF_ALU64 | BPF_MOV | BPF_K, 0, 0, 0, 0);
	add(c, BPF_JMP | BPF_EXIT, 0, 0, 0, 0);
}

/* A kind that has a chance to be right for the argument. */
static int likely(uint16_t arg, uint64_t *seed)
{
	static const int mem[] = {STACK,     VALUE, STACK_UNINIT, ZERO,
				  VALUE_END, CTX,   STACK_ODD,    PACKET};
	uint64_t r = test_random(seed);

	switch (arg & SKEP_ARG_KIND) {
	case SKEP_ARG_NONE:
		return r % 4 ? UNINIT : ZERO;
	case SKEP_ARG_ANYTHING:
		return (int)(ZERO + r % 5);
	case SKEP_ARG_CONST_MAP_PTR:
		return r % 3 ? MAP : RINGBUF;
	case SKEP_ARG_CTX:
		return CTX;
	case SKEP_ARG_SIZE:
	case SKEP_ARG_SIZE_OR_ZERO:
	case SKEP_ARG_ALLOC_SIZE_OR_ZERO:
		return r % 2 ? SMALL : (int)(ZERO + r / 2 % 5);
	default:
		return mem[r % 8];
	}
}

/* The last line but those of statistics. */
static const char *verdict(char *log)
{
	char *end = strstr(log, "processed "), *line;

	if (end)
		*end = 0;
	end = log + strlen(log);
	while (end > log && end[-1] == '\n')
		*--end = 0;
	line = strrchr(log, '\n');
	return line ? line + 1 : log;
}

static bool same(long theirs, long answer)
{
	if (theirs != answer)
		return false;
	return !theirs || !strcmp(verdict(kernel.log), verdict(ours.log));
}

static void one_call(uint32_t id, uint32_t type, uint64_t *seed, uint32_t *accepted,
		     uint32_t *differ)
{
	bool touch = test_random(seed) & 1;
	int kinds[5];
	struct code c;
	long theirs, answer;
	char text[200] = "";

	for (int i = 0; i < 5; i++) {
		kinds[i] = test_random(seed) % 5 ? likely(skep_helpers[id].arg[i], seed)
						 : (int)(test_random(seed) % KINDS);
		snprintf(text + strlen(text), sizeof(text) - strlen(text), " %s",
			 kind_names[kinds[i]]);
	}
	build(&c, &kernel, id, type, kinds, touch);
	theirs = side_load(&kernel, type, c.insns, c.n, "GPL", NULL);
	build(&c, &ours, id, type, kinds, touch);
	answer = side_load(&ours, type, c.insns, c.n, "GPL", NULL);
	*accepted += !theirs;
	if (same(theirs, answer))
		return;
	if (++*differ <= 20)
		print_message("%s in %s:%s\n  kernel %ld: %s\n  skep   %ld: %s\n",
			      skep_helper_name(id), skep_prog_types[type].name, text, theirs,
			      verdict(kernel.log), answer, verdict(ours.log));
}

static void test_arguments(void **state)
{
	uint32_t n = 0, accepted = 0, differ = 0;
	uint64_t seed = 1;

	if (!ours.skep)
		skip();
	for (uint32_t id = 1; id < __BPF_FUNC_MAX_ID; id++) {
		if (!skep_helpers[id].name)
			continue;
		for (uint32_t k = 0; k < test_scale(60); k++, n++) {
			uint32_t type;

			do {
				type = (uint32_t)(test_random(&seed) % skep_nprog_types);
			} while (!skep_prog_types[type].name ||
				 !(skep_helpers[id].progs & 1ull << type));
			one_call(id, type, &seed, &accepted, &differ);
		}
	}
	print_message("ran: helper_arguments %u\n", n);
	print_message("of these %u were accepted\n", accepted);
	assert_int_equal(differ, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_program_types),
		cmocka_unit_test(test_licenses),
		cmocka_unit_test(test_capabilities),
		cmocka_unit_test(test_arguments),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
