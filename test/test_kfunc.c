/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Kfuncs at work: the same program on skep, interpreted and compiled, and on the running
 * kernel, the same result. What skep presents is laid out as its BTF says.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>

#include <linux/btf.h>

#include "helper/kern_ctx.h"
#include "helper/kfunc.h"
#include "kern.h"
#include "rawbtf.h"
#include "side.h"
#include "vasm.h"

static const char *types; /* of the side that is assembled for */

static uint32_t find_kfunc(const char *name)
{
	return rawbtf_find(types, BTF_KIND_FUNC, name);
}

struct run {
	const char *name;
	uint32_t type;
	const char *text; /* %d: offset of the field */
	const char *in, *field;
};

#define KEY_PUT                                                                                    \
	"r6 = 5; if r0 == 0 goto e; r1 = r0; r6 = *(u8 *)(r0 +8); r6 += 10; "                      \
	"call kfunc bpf_key_put; e: r0 = r6; exit"
#define KEY(serial) "r1 = " serial "; r2 = 0; call kfunc bpf_lookup_user_key; " KEY_PUT

/* What the steps give, mixed with what making it gave; a step behind the last. */
#define STEPS(kind, at)                                                                            \
	"r7 = r0; r6 = 0; l: r1 = r10; r1 += " at "; call kfunc bpf_iter_" kind "_next; if r0 == " \
	"0 goto e; r0 = *(u32 *)(r0 +0); r6 *= 7; r6 += r0; r6 += 1; goto l; e: r1 = r10; r1 "     \
	"+= " at "; call kfunc bpf_iter_" kind                                                     \
	"_next; if r0 == 0 goto f; r6 += 1000; f: r1 = r10; r1 "                                   \
	"+= " at "; call kfunc bpf_iter_" kind "_destroy; r0 = r6; r0 += r7; exit"
#define NUMBERS(n, from, to)                                                                       \
	{                                                                                          \
		n, BPF_PROG_TYPE_SCHED_CLS,                                                        \
			"r1 = r10; r1 += -8; r2 = " from "; r3 = " to                              \
			"; call kfunc bpf_iter_num_new; " STEPS("num", "-8"),                      \
			NULL, NULL                                                                 \
	}
/* The words on the stack: the given one first and last, another between. */
#define BITS(n, words, word)                                                                       \
	{                                                                                          \
		n, BPF_PROG_TYPE_SCHED_CLS,                                                        \
			"r1 = " word " ll; *(u64 *)(r10 -48) = r1; *(u64 *)(r10 -32) = r1; *(u64 " \
			"*)(r10 -40) = 0x70; r1 = r10; r1 += -16; r2 = r10; r2 += -48; r3 "        \
			"= " words "; call kfunc bpf_iter_bits_new; " STEPS("bits", "-16"),        \
			NULL, NULL                                                                 \
	}

static const struct run runs[] = {
#define SKB(f, size)                                                                               \
	{                                                                                          \
		"sk_buff." #f, BPF_PROG_TYPE_SCHED_CLS,                                            \
			"call kfunc bpf_cast_to_kern_ctx; r0 = *(" size " *)(r0 +%d); exit",       \
			"sk_buff", #f                                                              \
	}
#define MAP(f, size)                                                                               \
	{                                                                                          \
		"bpf_map." f, BPF_PROG_TYPE_SCHED_CLS,                                             \
			"r1 = map 0 ll; r0 = *(" size " *)(r1 +%d); exit", "bpf_map", f            \
	}
#define TASK(f, size)                                                                              \
	{                                                                                          \
		"task_struct." f, BPF_PROG_TYPE_SYSCALL,                                           \
			"call get_current_task_btf; r0 = *(" size " *)(r0 +%d); exit",             \
			"task_struct", f                                                           \
	}
	SKB(len, "u32"),
	SKB(mark, "u32"),
	SKB(protocol, "u16"),
	SKB(queue_mapping, "u16"),
	SKB(priority, "u32"),
	{"rcu", BPF_PROG_TYPE_SCHED_CLS,
	 "call kfunc bpf_rcu_read_lock; call kfunc bpf_rcu_read_unlock; r0 = 7; exit", NULL, NULL},
	{"numbers", BPF_PROG_TYPE_SCHED_CLS,
	 "r6 = 0; r1 = r10; r1 += -8; r2 = 3; r3 = 20; call kfunc bpf_iter_num_new; r7 = r0; l: r1 "
	 "= r10; r1 += -8; call kfunc bpf_iter_num_next; if r0 == 0 goto e; r0 = *(u32 *)(r0 +0); "
	 "r6 *= 3; r6 += r0; goto l; e: r1 = r10; r1 += -8; call kfunc bpf_iter_num_destroy; r0 = "
	 "r6; r0 += r7; exit",
	 NULL, NULL},
	NUMBERS("negative numbers", "-5", "3"),
	NUMBERS("no number", "7", "7"),
	NUMBERS("numbers the wrong way", "8", "7"),
	NUMBERS("the smallest number", "-2147483648", "-2147483646"),
	NUMBERS("the largest number", "2147483646", "2147483647"),
	NUMBERS("numbers too many", "0", "8388609"),
	NUMBERS("numbers too far", "-2147483648", "2147483647"),
	BITS("bits of a word", "1", "0x5"),
	BITS("the last bit of a word", "1", "0x8000000000000000"),
	BITS("no bit", "1", "0"),
	BITS("bits of three words", "3", "0x8000000000000001"),
	BITS("bits of no word", "0", "7"),
	BITS("too many words", "512", "7"),
	{"bits of nothing", BPF_PROG_TYPE_SCHED_CLS,
	 "r1 = r10; r1 += -16; r2 = 0; r3 = 1; call kfunc bpf_iter_bits_new; r6 = r0; r1 = r10; r1 "
	 "+= -16; call kfunc bpf_iter_bits_destroy; r0 = r6; exit",
	 NULL, NULL},
	{"bits of nowhere", BPF_PROG_TYPE_SCHED_CLS,
	 "r1 = r10; r1 += -16; r2 = 0xffff800000000000 ll; r3 = 3; call kfunc bpf_iter_bits_new; "
	 "r6 = r0; r1 = r10; "
	 "r1 "
	 "+= -16; call kfunc bpf_iter_bits_destroy; r0 = r6; exit",
	 NULL, NULL},
	{"rdonly_cast", BPF_PROG_TYPE_SCHED_CLS,
	 "r1 = 64; r2 = 0; call kfunc bpf_rdonly_cast; r0 = *(u32 *)(r0 +0); r0 += 3; exit", NULL,
	 NULL},
	{"key of the session", BPF_PROG_TYPE_SYSCALL, KEY("-3"), NULL, NULL},
	{"key that is none", BPF_PROG_TYPE_SYSCALL, KEY("0x7ffffff0"), NULL, NULL},
	{"key of number 0", BPF_PROG_TYPE_SYSCALL, KEY("0"), NULL, NULL},
	{"key with wrong flags", BPF_PROG_TYPE_SYSCALL,
	 "r1 = -3; r2 = 4; call kfunc bpf_lookup_user_key; " KEY_PUT, NULL, NULL},
	{"key: the serial number is one", BPF_PROG_TYPE_SYSCALL,
	 "r1 = -3; r2 = 0; call kfunc bpf_lookup_user_key; r6 = 5; if r0 == 0 goto e; "
	 "r1 = *(u64 *)(r0 +0); r6 = *(u32 *)(r1 +%d); r6 >>= 31; "
	 "r1 = r0; call kfunc bpf_key_put; e: r0 = r6; exit",
	 "key", "serial"},
	{"platform keys", BPF_PROG_TYPE_SYSCALL,
	 "r1 = 2; call kfunc bpf_lookup_system_key; " KEY_PUT, NULL, NULL},
	{"system keys beyond", BPF_PROG_TYPE_SYSCALL,
	 "r1 = 3; call kfunc bpf_lookup_system_key; " KEY_PUT, NULL, NULL},
	TASK("pid", "u32"),
	TASK("tgid", "u32"),
	TASK("comm", "u32"),
	TASK("policy", "u32"),
	TASK("static_prio", "u32"),
	{"task of the own pid", BPF_PROG_TYPE_SYSCALL,
	 "call get_current_pid_tgid; r1 = r0; call kfunc bpf_task_from_pid; r6 = 0; "
	 "if r0 == 0 goto e; r6 = *(u32 *)(r0 +%d); r1 = r0; call kfunc bpf_task_release; "
	 "e: r0 = r6; exit",
	 "task_struct", "pid"},
	{"task of no pid", BPF_PROG_TYPE_SYSCALL,
	 "r1 = -5; call kfunc bpf_task_from_pid; r6 = 0; if r0 == 0 goto e; "
	 "r6 = *(u32 *)(r0 +%d); r1 = r0; call kfunc bpf_task_release; e: r0 = r6; exit",
	 "task_struct", "pid"},
	{"task acquired", BPF_PROG_TYPE_SYSCALL,
	 "call get_current_task_btf; r7 = r0; r1 = r0; call kfunc bpf_task_acquire; r6 = 0; "
	 "if r0 == 0 goto e; r6 = *(u32 *)(r0 +%d); r1 = r0; call kfunc bpf_task_release; "
	 "e: r0 = r6; exit",
	 "task_struct", "tgid"},
	MAP("key_size", "u32"),
	MAP("value_size", "u32"),
	MAP("max_entries", "u32"),
	MAP("map_type", "u32"),
	MAP("map_flags", "u32"),
	MAP("btf_value_type_id", "u32"),
	{"bpf_array.elem_size", BPF_PROG_TYPE_SCHED_CLS,
	 "r1 = map 0 ll; r0 = *(u32 *)(r1 +%d); exit", "bpf_array", "elem_size"},
	{"bpf_array.index_mask", BPF_PROG_TYPE_SCHED_CLS,
	 "r1 = map 0 ll; r0 = *(u32 *)(r1 +%d); exit", "bpf_array", "index_mask"},
	{"xdp_buff length", BPF_PROG_TYPE_XDP,
	 "call kfunc bpf_cast_to_kern_ctx; r1 = *(u64 *)(r0 +%d); r2 = *(u64 *)(r0 +8); r2 -= r1; "
	 "r0 = r2; exit",
	 "xdp_buff", "data"},
};

/* The result, or -errno of the load. */
static long run(struct side *s, const char *raw, const struct run *r)
{
	struct bpf_insn insns[64];
	uint8_t packet[100] = {[12] = 8};
	uint32_t ret = 0;
	char text[512];
	long err;
	int fd, n;

	types = raw;
	vasm_kfunc = find_kfunc;
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
	snprintf(text, sizeof(text), r->text, r->in ? rawbtf_member(raw, r->in, r->field) : 0);
#pragma GCC diagnostic pop
	if (!s->array)
		s->array = side_map(s, BPF_MAP_TYPE_ARRAY, 4, 12, 5);
	n = vasm(text, &s->array, 1, insns, 64);
	assert_true(n > 0);
	err = side_load(s, r->type, insns, (uint32_t)n, "GPL", &fd);
	if (err) {
		print_message("%s: %s\n%s\n", r->name, strerror((int)-err), s->log);
		return err;
	}
	err = r->type == BPF_PROG_TYPE_SYSCALL
		      ? side_run(s, fd, packet, sizeof(packet), &ret)
		      : side_run_packet(s, fd, packet, sizeof(packet), &ret);
	close(fd);
	assert_int_equal(err, 0);
	return (long)ret;
}

static void test_runs(void **state)
{
	static struct side jit, interp, kernel;
	struct skep_opts opts = {.sz = sizeof(opts), .flags = SKEP_F_INTERPRET};
	char *raw, *kraw = kern_available() ? rawbtf_open(NULL) : NULL;
	unsigned n = 0;

	(void)state;
	assert_int_equal(skep_open(&jit.skep, NULL), 0);
	assert_int_equal(skep_open(&interp.skep, &opts), 0);
	raw = rawbtf_open(jit.skep);
	assert_non_null(raw);
	for (size_t i = 0; i < sizeof(runs) / sizeof(runs[0]); i++) {
		long a = run(&jit, raw, &runs[i]), b = run(&interp, raw, &runs[i]);

		assert_true(a >= 0);
		if (a != b)
			fail_msg("%s: %ld compiled, %ld interpreted", runs[i].name, a, b);
		if (!kraw)
			continue;
		b = run(&kernel, kraw, &runs[i]);
		if (a != b)
			fail_msg("%s: %ld here, %ld on the kernel", runs[i].name, a, b);
		n++;
	}
	print_message("ran: kfunc_runs %u\n", n);
	free(raw);
	free(kraw);
	skep_close(jit.skep);
	skep_close(interp.skep);
}

/* ---- Layout ---- */

#define FIELD(type, view, f)                                                                       \
	{                                                                                          \
		type, #f, offsetof(struct view, f)                                                 \
	}
static const struct {
	const char *type, *field;
	size_t off;
} fields[] = {
	FIELD("sk_buff", skep_view_skb, dev),
	FIELD("sk_buff", skep_view_skb, tstamp),
	FIELD("sk_buff", skep_view_skb, cb),
	FIELD("sk_buff", skep_view_skb, len),
	FIELD("sk_buff", skep_view_skb, mac_len),
	FIELD("sk_buff", skep_view_skb, queue_mapping),
	FIELD("sk_buff", skep_view_skb, csum),
	FIELD("sk_buff", skep_view_skb, skb_iif),
	FIELD("sk_buff", skep_view_skb, hash),
	FIELD("sk_buff", skep_view_skb, vlan_proto),
	FIELD("sk_buff", skep_view_skb, mark),
	FIELD("sk_buff", skep_view_skb, protocol),
	FIELD("sk_buff", skep_view_skb, mac_header),
	FIELD("sk_buff", skep_view_skb, head),
	FIELD("sk_buff", skep_view_skb, data),
	FIELD("sk_buff", skep_view_skb, end),
	FIELD("xdp_buff", skep_view_xdp, data_end),
	FIELD("xdp_buff", skep_view_xdp, rxq),
	FIELD("xdp_buff", skep_view_xdp, frame_sz),
	FIELD("bpf_map", skep_view_map, map_type),
	FIELD("bpf_map", skep_view_map, map_extra),
	FIELD("bpf_map", skep_view_map, id),
	FIELD("bpf_map", skep_view_map, btf),
	FIELD("bpf_map", skep_view_map, name),
	FIELD("bpf_array", skep_view_map, elem_size),
	FIELD("bpf_array", skep_view_map, index_mask),
	FIELD("bpf_prog", skep_view_prog, pages),
	FIELD("bpf_prog", skep_view_prog, type),
	FIELD("bpf_prog", skep_view_prog, expected_attach_type),
	FIELD("bpf_prog", skep_view_prog, len),
	FIELD("bpf_prog", skep_view_prog, jited_len),
	FIELD("bpf_prog", skep_view_prog, tag),
	FIELD("bpf_prog", skep_view_prog, aux),
	FIELD("bpf_prog_aux", skep_view_prog_aux, id),
	FIELD("bpf_prog_aux", skep_view_prog_aux, used_map_cnt),
	FIELD("bpf_prog_aux", skep_view_prog_aux, func_cnt),
	FIELD("bpf_prog_aux", skep_view_prog_aux, stack_depth),
	FIELD("bpf_prog_aux", skep_view_prog_aux, verified_insns),
	FIELD("bpf_prog_aux", skep_view_prog_aux, load_time),
	FIELD("bpf_prog_aux", skep_view_prog_aux, name),
	FIELD("bpf_link", skep_view_link, id),
	FIELD("bpf_link", skep_view_link, type),
	FIELD("bpf_link", skep_view_link, prog),
	FIELD("seq_file", skep_view_seq, size),
	FIELD("seq_file", skep_view_seq, count),
	FIELD("bpf_iter_meta", skep_view_iter_meta, seq),
	FIELD("bpf_iter_meta", skep_view_iter_meta, session_id),
	FIELD("bpf_iter_meta", skep_view_iter_meta, seq_num),
	FIELD("key", skep_view_key, serial),
	FIELD("bpf_key", skep_view_bpf_key, key),
	FIELD("bpf_key", skep_view_bpf_key, has_ref),
	FIELD("task_struct", skep_view_task, flags),
	FIELD("task_struct", skep_view_task, nr_cpus_allowed),
	FIELD("task_struct", skep_view_task, pid),
	FIELD("task_struct", skep_view_task, tgid),
	FIELD("task_struct", skep_view_task, real_parent),
	FIELD("task_struct", skep_view_task, group_leader),
	FIELD("task_struct", skep_view_task, utime),
	FIELD("task_struct", skep_view_task, maj_flt),
	FIELD("task_struct", skep_view_task, cred),
	FIELD("task_struct", skep_view_task, comm),
	FIELD("task_struct", skep_view_task, cgroups),
	FIELD("task_struct", skep_view_task, sessionid),
	FIELD("xdp_rxq_info", skep_view_rxq, queue_index),
};

static void test_layout(void **state)
{
	struct skep *skep;
	char *raw;

	(void)state;
	assert_int_equal(skep_open(&skep, NULL), 0);
	raw = rawbtf_open(skep);
	assert_non_null(raw);
	for (size_t i = 0; i < sizeof(fields) / sizeof(fields[0]); i++)
		if (rawbtf_member(raw, fields[i].type, fields[i].field) != (int)fields[i].off)
			fail_msg("%s.%s lies elsewhere", fields[i].type, fields[i].field);
	for (uint32_t i = 1; i < skep_nkfuncs; i++)
		if (skep_kfuncs[i].name)
			assert_int_not_equal(rawbtf_find(raw, BTF_KIND_FUNC, skep_kfuncs[i].name),
					     0);
	free(raw);
	skep_close(skep);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_runs),
		cmocka_unit_test(test_layout),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
