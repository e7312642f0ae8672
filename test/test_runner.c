/* SPDX-License-Identifier: Apache-2.0 */
/* Runners: packets in, verdicts and packets out. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>

#include "asm.h"
#include "bpf/instance.h"
#include "kernel.h"
#include "skep.h"

#define FRAME 64

struct fixture {
	struct skep *skep;
	struct skep_runner *runner;
	uint8_t buf[4][512];
	struct skep_packet p[4];
};

static void open_instance(struct fixture *f, uint32_t flags)
{
	struct skep_opts opts = {.sz = sizeof(opts), .flags = flags};

	memset(f, 0, sizeof(*f));
	assert_int_equal(skep_open(&f->skep, &opts), 0);
	for (int i = 0; i < 4; i++) {
		for (int k = 0; k < 512; k++)
			f->buf[i][k] = (uint8_t)(k + i);
		f->p[i] = (struct skep_packet){.buf = f->buf[i],
					       .cap = 512,
					       .off = 128,
					       .len = FRAME,
					       .ifindex = 7,
					       .queue = 3,
					       .verdict = 99,
					       .out_ifindex = 99};
		f->buf[i][128 + 12] = 0x08;
		f->buf[i][128 + 13] = 0x00;
	}
}

static int load_flags(struct fixture *f, uint32_t type, uint32_t flags, const char *text)
{
	static char log[4096];
	struct bpf_insn insns[256];
	int n = asm_text(text, insns, 256);
	union bpf_attr attr = {.prog_type = type,
			       .insns = (uintptr_t)insns,
			       .insn_cnt = (uint32_t)n,
			       .license = (uintptr_t) "GPL",
			       .prog_flags = flags,
			       .log_level = 1,
			       .log_buf = (uintptr_t)log,
			       .log_size = sizeof(log)};
	int fd;

	assert_true(n > 0);
	fd = (int)skep_bpf(f->skep, BPF_PROG_LOAD, &attr, sizeof(attr));
	if (fd < 0)
		fail_msg("%s", log);
	assert_int_equal(skep_runner_open(&f->runner, f->skep, fd), 0);
	return fd;
}

static int load(struct fixture *f, uint32_t type, const char *text)
{
	return load_flags(f, type, 0, text);
}

static void finish(struct fixture *f, int fd)
{
	skep_runner_close(f->runner);
	close(fd);
	skep_close(f->skep);
}

/* One program over four packets, in each way of running. */
static void each_way(uint32_t type, const char *text, void (*check)(struct fixture *f),
		     void (*prepare)(struct fixture *f))
{
	static const uint32_t ways[] = {0, SKEP_F_INTERPRET, SKEP_F_CHECKED};

	for (int i = 0; i < 3; i++) {
		struct fixture f;
		int fd;

		open_instance(&f, ways[i]);
		fd = load(&f, type, text);
		if (prepare)
			prepare(&f);
		assert_int_equal(skep_run_packets(f.runner, f.p, 4), 4);
		check(&f);
		finish(&f, fd);
	}
}

/* ---- XDP ---- */

static void check_drop(struct fixture *f)
{
	for (int i = 0; i < 4; i++) {
		assert_int_equal(f->p[i].verdict, XDP_DROP);
		assert_int_equal(f->p[i].off, 128);
		assert_int_equal(f->p[i].len, FRAME);
		assert_int_equal(f->p[i].out_ifindex, 0);
	}
}

static void test_xdp_drop(void **state)
{
	each_way(BPF_PROG_TYPE_XDP, "r0 = 1; exit", check_drop, NULL);
}

static void check_aborted(struct fixture *f)
{
	for (int i = 0; i < 4; i++)
		assert_int_equal(f->p[i].verdict, XDP_ABORTED);
}

static void test_xdp_unknown_verdict(void **state)
{
	each_way(BPF_PROG_TYPE_XDP, "r0 = 5; exit", check_aborted, NULL);
	each_way(BPF_PROG_TYPE_XDP, "r0 = -1; exit", check_aborted, NULL);
}

/* Returns the interface and the queue, as far as a verdict can. */
static void check_three(struct fixture *f)
{
	for (int i = 0; i < 4; i++)
		assert_int_equal(f->p[i].verdict, XDP_TX);
}

static void test_xdp_fields(void **state)
{
	each_way(BPF_PROG_TYPE_XDP,
		 "r0 = *(u32 *)(r1 +12)\n" /* 7 */
		 "r2 = *(u32 *)(r1 +16)\n" /* 3 */
		 "r0 -= r2\nr0 -= 1\nexit",
		 check_three, NULL);
}

/* Pushes 8 bytes before the frame, writes there, takes 4 off the end. */
static void check_moved(struct fixture *f)
{
	for (int i = 0; i < 4; i++) {
		assert_int_equal(f->p[i].verdict, XDP_PASS);
		assert_int_equal(f->p[i].off, 120);
		assert_int_equal(f->p[i].len, FRAME + 8 - 4);
		assert_int_equal(f->buf[i][120], 0x55);
		assert_int_equal(f->buf[i][121], (uint8_t)(121 + i));
	}
}

static const char moves[] = "r6 = r1\n"
			    "r2 = -8\n"
			    "call #44\n"
			    "r1 = r6\n"
			    "r2 = -4\n"
			    "call #65\n"
			    "r2 = *(u32 *)(r6 +0)\n"
			    "r3 = *(u32 *)(r6 +4)\n"
			    "r4 = r2\n"
			    "r4 += 1\n"
			    "if r4 > r3 goto out\n"
			    "*(u8 *)(r2 +0) = 0x55\n"
			    "out:\n"
			    "r0 = 2\n"
			    "exit";

static void test_xdp_moves(void **state)
{
	each_way(BPF_PROG_TYPE_XDP, moves, check_moved, NULL);
}

#define JUMBO 9000u
#define FIRST 3520u /* bytes before the fragments */

/* Stores and cuts where the first fragment begins; returns the first part's bytes in units of
 * 1760, or more than a verdict can be if the frame's length is wrong. */
static const char fragments[] = "r6 = r1\n"
				"r7 = *(u32 *)(r6 +4)\n"
				"r2 = *(u32 *)(r6 +0)\n"
				"r7 -= r2\n"
				"r1 = r6\n"
				"call #188\n" /* get_buff_len */
				"if r0 != 9000 goto wrong\n"
				"*(u32 *)(r10 -4) = 0x55555555\n"
				"r1 = r6\nr2 = 3518\nr3 = r10\nr3 += -4\nr4 = 4\n"
				"call #190\n" /* store_bytes */
				"r1 = r6\nr2 = -1384\n"
				"call #65\n" /* adjust_tail */
				"if r0 != 0 goto wrong\n"
				"r1 = r6\nr2 = 1\n" /* the last fragment is full now */
				"call #65\n"
				"if r0 == 0 goto wrong\n"
				"r0 = r7\nr0 /= 1760\nexit\n"
				"wrong:\nr0 = 7\nexit";

/* Large frames: in fragments for who declared to know them, else in one piece. */
static void test_xdp_fragments(void **state)
{
	static const uint32_t ways[] = {0, SKEP_F_INTERPRET, SKEP_F_CHECKED};
	static uint8_t buf[JUMBO + 512];

	for (int i = 0; i < 6; i++) {
		bool frags = i % 2;
		struct skep_packet p = {.buf = buf, .cap = sizeof(buf), .off = 256, .len = JUMBO};
		struct fixture f;
		int fd;

		memset(buf, 0, sizeof(buf));
		open_instance(&f, ways[i / 2]);
		fd = load_flags(&f, BPF_PROG_TYPE_XDP, frags ? BPF_F_XDP_HAS_FRAGS : 0,
				frags ? fragments
				      : "r0 = *(u32 *)(r1 +4)\nr2 = *(u32 *)(r1 +0)\n"
					"r0 -= r2\nr0 /= 4500\nexit");
		assert_int_equal(skep_run_packets(f.runner, &p, 1), 1);
		assert_int_equal(p.verdict, 2);
		assert_int_equal(p.off, 256);
		assert_int_equal(p.len, frags ? FIRST + 4096 : JUMBO);
		for (uint32_t b = 0; b < sizeof(buf); b++)
			assert_int_equal(buf[b],
					 frags && b - 256 >= 3518 && b - 256 < 3522 ? 0x55 : 0);
		finish(&f, fd);
	}
}

/* As far as the memory goes, and no further. */
static void prepare_tight(struct fixture *f)
{
	for (int i = 0; i < 4; i++) {
		f->p[i].off = (uint32_t)i * 2;
		f->p[i].len = 512 - f->p[i].off;
	}
}

static void check_tight(struct fixture *f)
{
	for (int i = 0; i < 4; i++) {
		assert_int_equal(f->p[i].off, i * 2);
		assert_int_equal(f->p[i].verdict, XDP_DROP);
	}
}

static void test_xdp_bounds(void **state)
{
	each_way(BPF_PROG_TYPE_XDP,
		 "r6 = r1\nr2 = -8\ncall #44\n"
		 "if r0 == 0 goto out\n"
		 "r1 = r6\nr2 = 1\ncall #65\n"
		 "if r0 == 0 goto out\n"
		 "r0 = 1\nexit\n"
		 "out:\nr0 = 2\nexit",
		 check_tight, prepare_tight);
}

static void check_redirect(struct fixture *f)
{
	for (int i = 0; i < 4; i++) {
		assert_int_equal(f->p[i].verdict, XDP_REDIRECT);
		assert_int_equal(f->p[i].out_ifindex, 42);
	}
}

static void test_xdp_redirect(void **state)
{
	each_way(BPF_PROG_TYPE_XDP, "r1 = 42; r2 = 0; call #23; exit", check_redirect, NULL);
}

/* A redirect that was noted but not returned is none. */
static void test_xdp_no_redirect(void **state)
{
	each_way(BPF_PROG_TYPE_XDP, "r1 = 42; r2 = 0; call #23; r0 = 1; exit", check_drop, NULL);
}

/* ---- Socket buffers ---- */

static void prepare_skb(struct fixture *f)
{
	for (int i = 0; i < 4; i++) {
		f->p[i].mark = 1000 + (uint32_t)i;
		f->p[i].hash = 77;
		f->p[i].tstamp = 1ull << 40;
		f->p[i].vlan_proto = __builtin_bswap16(0x8100);
		f->p[i].vlan_tci = 5;
	}
}

/* mark += tstamp >> 40 + vlan_tci + hash; returns the mark as it was. */
static void check_skb(struct fixture *f)
{
	for (int i = 0; i < 4; i++) {
		assert_int_equal(f->p[i].verdict, 1000 + i);
		assert_int_equal(f->p[i].mark, 1000 + i + 1 + 5 + 77);
		assert_int_equal(f->p[i].vlan_tci, 5);
		assert_int_equal(f->p[i].hash, 77);
		assert_int_equal(f->p[i].tstamp, 1ull << 40);
		assert_int_equal(f->p[i].len, FRAME);
	}
}

static void test_skb_fields(void **state)
{
	each_way(BPF_PROG_TYPE_SCHED_CLS,
		 "r0 = *(u32 *)(r1 +8)\n"
		 "r2 = *(u64 *)(r1 +152)\n"
		 "r2 >>= 40\n"
		 "r3 = *(u32 *)(r1 +24)\n"
		 "r2 += r3\n"
		 "r3 = *(u32 *)(r1 +68)\n"
		 "r2 += r3\n"
		 "r2 += r0\n"
		 "*(u32 *)(r1 +8) = r2\n"
		 "exit",
		 check_skb, prepare_skb);
}

/* The tag goes into the packet, another one stands beside it. */
static void check_vlan(struct fixture *f)
{
	for (int i = 0; i < 4; i++) {
		const uint8_t *p = f->buf[i] + 124;

		assert_int_equal(f->p[i].verdict, 0);
		assert_int_equal(f->p[i].off, 124);
		assert_int_equal(f->p[i].len, FRAME + 4);
		assert_int_equal(p[12], 0x81);
		assert_int_equal(p[13], 0x00);
		assert_int_equal(p[15], 5);
		assert_int_equal(p[16], 0x08);
		assert_int_equal(f->p[i].vlan_proto, __builtin_bswap16(0x88a8));
		assert_int_equal(f->p[i].vlan_tci, 9);
	}
}

static void test_skb_vlan(void **state)
{
	each_way(BPF_PROG_TYPE_SCHED_CLS, "r2 = 0xa888; r3 = 9; call #18; exit", check_vlan,
		 prepare_skb);
}

/* CGROUP_SKB programs see the network header first; the frame comes back whole. */
static void check_l3(struct fixture *f)
{
	for (int i = 0; i < 4; i++) {
		assert_int_equal(f->p[i].verdict, 1);
		assert_int_equal(f->p[i].off, 128);
		assert_int_equal(f->p[i].len, FRAME);
	}
}

static void test_cgroup_skb(void **state)
{
	each_way(BPF_PROG_TYPE_CGROUP_SKB,
		 "r2 = *(u32 *)(r1 +0)\n"
		 "r0 = 0\n"
		 "if r2 != 50 goto out\n"
		 "r0 = 1\n"
		 "out:\nexit",
		 check_l3, NULL);
}

static void check_filter(struct fixture *f)
{
	for (int i = 0; i < 4; i++)
		assert_int_equal(f->p[i].verdict, FRAME + 0x08);
}

static void test_socket_filter(void **state)
{
	each_way(BPF_PROG_TYPE_SOCKET_FILTER,
		 "r6 = r1\n"
		 "r2 = 12\nr3 = r10\nr3 += -8\nr4 = 1\n"
		 "call #26\n"
		 "r0 = *(u8 *)(r10 -8)\n"
		 "r1 = *(u32 *)(r6 +0)\n"
		 "r0 += r1\n"
		 "exit",
		 check_filter, NULL);
}

/* ---- The rest ---- */

static void prepare_clock(struct fixture *f)
{
	for (int i = 0; i < 4; i++) {
		f->p[i].flags = SKEP_PACKET_CLOCK;
		f->p[i].tstamp = (uint64_t)i + 1;
	}
}

static void check_clock(struct fixture *f)
{
	for (int i = 0; i < 3; i++)
		assert_int_equal(f->p[i].verdict, i + 1);
}

static void test_clock(void **state)
{
	each_way(BPF_PROG_TYPE_XDP, "call #5; exit", check_clock, prepare_clock);
}

static void test_bad(void **state)
{
	struct fixture f;
	int fd, pipe_fd[2];

	open_instance(&f, 0);
	fd = load(&f, BPF_PROG_TYPE_XDP, "r0 = 1; exit");
	f.p[2].len = 385; /* past the end of its memory */
	assert_int_equal(skep_run_packets(f.runner, f.p, 4), -EINVAL);
	assert_int_equal(f.p[0].verdict, 99);
	f.p[2].len = 384;
	f.p[3].off = 513;
	assert_int_equal(skep_run_packets(f.runner, f.p, 4), -EINVAL);
	assert_int_equal(skep_run_packets(f.runner, f.p, 0), 0);
	finish(&f, fd);
	open_instance(&f, 0);
	fd = load(&f, BPF_PROG_TYPE_KPROBE, "r0 = 1; exit");
	assert_int_equal(skep_run_packets(f.runner, f.p, 1), -EINVAL);
	skep_runner_close(f.runner);
	assert_int_equal(pipe(pipe_fd), 0);
	assert_int_equal(skep_runner_open(&f.runner, f.skep, pipe_fd[0]), -EINVAL);
	assert_int_equal(skep_runner_open(&f.runner, f.skep, -1), -EBADF);
	close(pipe_fd[0]);
	close(pipe_fd[1]);
	close(fd);
	skep_close(f.skep);
}

static void test_statistics(void **state)
{
	struct bpf_prog_info info = {0};
	union bpf_attr attr = {.enable_stats.type = BPF_STATS_RUN_TIME};
	struct fixture f;
	int fd, stats;

	open_instance(&f, 0);
	fd = load(&f, BPF_PROG_TYPE_XDP, "r0 = 1; exit");
	skep_run_packets(f.runner, f.p, 4);
	stats = (int)skep_bpf(f.skep, BPF_ENABLE_STATS, &attr, sizeof(attr));
	assert_true(stats >= 0);
	skep_run_packets(f.runner, f.p, 3);
	attr = (union bpf_attr){.info.bpf_fd = (uint32_t)fd,
				.info.info_len = sizeof(info),
				.info.info = (uintptr_t)&info};
	assert_int_equal(skep_bpf(f.skep, BPF_OBJ_GET_INFO_BY_FD, &attr, sizeof(attr)), 0);
	assert_int_equal(info.run_cnt, 3);
	assert_true(info.run_time_ns > 0);
	close(stats);
	finish(&f, fd);
}

/* The runner holds the program when nobody else does. */
static void test_holds(void **state)
{
	struct fixture f;
	int fd;

	open_instance(&f, 0);
	fd = load(&f, BPF_PROG_TYPE_XDP, "r0 = 1; exit");
	close(fd);
	skep_collect(f.skep);
	assert_int_equal(skep_run_packets(f.runner, f.p, 4), 4);
	check_drop(&f);
	skep_runner_close(f.runner);
	skep_close(f.skep);
}

/* ---- Copies ---- */

static struct skep_packet copies[8];
static uint32_t ncopies;

static int take_copy(void *arg, struct skep_packet *copy)
{
	assert_ptr_equal(arg, &ncopies);
	if (copy->out_ifindex == 6)
		return -ENETDOWN;
	copies[ncopies++] = *copy;
	/* Its headroom is there to be used. */
	memset(copy->buf, 0xee, copy->off);
	assert_int_equal(copy->buf[copy->off], copy->vlan_tci ? 128 + copy->mark : 0);
	return 0;
}

static void test_clone(void **state)
{
	struct fixture f;
	int fd;

	open_instance(&f, 0);
	fd = load(&f, BPF_PROG_TYPE_SCHED_CLS, "r2 = 5; r3 = 0; call #13; exit");
	assert_int_equal(skep_run_packets(f.runner, f.p, 1), 1);
	assert_int_equal((int)f.p[0].verdict, -EINVAL);
	skep_runner_on_clone(f.runner, take_copy, &ncopies);
	for (uint32_t i = 0; i < 4; i++) {
		f.p[i].mark = i;
		f.p[i].vlan_proto = 0x0081;
		f.p[i].vlan_tci = 7;
	}
	assert_int_equal(skep_run_packets(f.runner, f.p, 4), 4);
	assert_int_equal(ncopies, 4);
	for (uint32_t i = 0; i < 4; i++) {
		assert_int_equal(f.p[i].verdict, 0);
		assert_int_equal(copies[i].len, FRAME);
		assert_int_equal(copies[i].out_ifindex, 5);
		assert_int_equal(copies[i].vlan_tci, 7);
		assert_int_equal(f.buf[i][0], (uint8_t)i);
	}
	skep_runner_on_clone(f.runner, NULL, NULL);
	assert_int_equal(skep_run_packets(f.runner, f.p, 1), 1);
	assert_int_equal((int)f.p[0].verdict, -EINVAL);
	finish(&f, fd);
	open_instance(&f, 0);
	fd = load(&f, BPF_PROG_TYPE_SCHED_CLS, "r2 = 6; r3 = 0; call #13; exit");
	skep_runner_on_clone(f.runner, take_copy, &ncopies);
	assert_int_equal(skep_run_packets(f.runner, f.p, 1), 1);
	assert_int_equal((int)f.p[0].verdict, -ENETDOWN);
	finish(&f, fd);
}

/* ---- Frames of any length in memory of any size ---- */

struct tight {
	const char *args; /* c: context, m: stack, o: a number, s: a size */
	uint32_t id;
	uint32_t type;
};

static const struct tight tight[] = {
	{"co", BPF_FUNC_xdp_adjust_head, BPF_PROG_TYPE_XDP},
	{"co", BPF_FUNC_xdp_adjust_tail, BPF_PROG_TYPE_XDP},
	{"co", BPF_FUNC_xdp_adjust_meta, BPF_PROG_TYPE_XDP},
	{"coms", BPF_FUNC_xdp_load_bytes, BPF_PROG_TYPE_XDP},
	{"coms", BPF_FUNC_xdp_store_bytes, BPF_PROG_TYPE_XDP},
	{"coms0", BPF_FUNC_skb_store_bytes, BPF_PROG_TYPE_SCHED_CLS},
	{"coms1", BPF_FUNC_skb_load_bytes_relative, BPF_PROG_TYPE_SCHED_CLS},
	{"co0", BPF_FUNC_skb_change_head, BPF_PROG_TYPE_SCHED_CLS},
	{"co0", BPF_FUNC_skb_change_tail, BPF_PROG_TYPE_SCHED_CLS},
	{"cp0", BPF_FUNC_skb_change_proto, BPF_PROG_TYPE_SCHED_CLS},
	{"co00", BPF_FUNC_skb_adjust_room, BPF_PROG_TYPE_SCHED_CLS},
	{"co10", BPF_FUNC_skb_adjust_room, BPF_PROG_TYPE_SCHED_CLS},
	{"cpo", BPF_FUNC_skb_vlan_push, BPF_PROG_TYPE_SCHED_CLS},
	{"c", BPF_FUNC_skb_vlan_pop, BPF_PROG_TYPE_SCHED_CLS},
	{"c", BPF_FUNC_skb_ecn_set_ce, BPF_PROG_TYPE_SCHED_CLS},
	{"c", BPF_FUNC_get_hash_recalc, BPF_PROG_TYPE_SCHED_CLS},
	{"co0o2", BPF_FUNC_l3_csum_replace, BPF_PROG_TYPE_SCHED_CLS},
};
#define NTIGHT (sizeof(tight) / sizeof(tight[0]))

static void tight_text(char *text, size_t size, uint32_t type, uint64_t *seed)
{
	int at = snprintf(text, size, "r6 = r1\n*(u64 *)(r10 -8) = 5\n");

	for (int calls = (int)(test_random(seed) % 5) + 1; calls; calls--) {
		const struct tight *t;

		do {
			t = &tight[test_random(seed) % NTIGHT];
		} while (t->type != type);
		for (int i = 0; t->args[i]; i++) {
			uint64_t r = test_random(seed);

			if (t->args[i] == 'c')
				at += snprintf(text + at, size - (size_t)at, "r1 = r6\n");
			else if (t->args[i] == 'm')
				at += snprintf(text + at, size - (size_t)at,
					       "r%d = r10\nr%d += -8\n", i + 1, i + 1);
			else
				at += snprintf(text + at, size - (size_t)at, "r%d = %d\n", i + 1,
					       t->args[i] == 'o'   ? (int)(r % 100) - 50
					       : t->args[i] == 's' ? (int)(r % 8) + 1
					       : t->args[i] == 'p' ? (r & 1 ? 0x0008 : 0xdd86)
								   : t->args[i] - '0');
		}
		at += snprintf(text + at, size - (size_t)at, "call #%u\n", t->id);
	}
	snprintf(text + at, size - (size_t)at, "r0 = 2\nexit");
}

static void test_any_length(void **state)
{
	static const uint16_t protos[] = {0x0008, 0xdd86, 0x0081, 0xa888, 0x0500};
	uint64_t seed = 3;
	uint32_t runs = 0;

	for (uint32_t k = 0; k < test_scale(300); k++) {
		uint32_t type = k & 1 ? BPF_PROG_TYPE_XDP : BPF_PROG_TYPE_SCHED_CLS;
		struct fixture f;
		char text[4096];
		int fd;

		open_instance(&f, k % 3 == 0 ? SKEP_F_CHECKED : 0);
		tight_text(text, sizeof(text), type, &seed);
		fd = load(&f, type, text);
		for (int i = 0; i < 60; i++, runs++) {
			uint32_t off = (uint32_t)(test_random(&seed) % 30);
			uint32_t len = (uint32_t)(test_random(&seed) % 70);
			uint32_t cap = off + len + (uint32_t)(test_random(&seed) % 20);
			/* Its own memory, so that a sanitizer sees every step beyond. */
			uint8_t *buf = malloc(cap ? cap : 1);
			struct skep_packet p = {.buf = buf, .cap = cap, .off = off, .len = len};

			assert_non_null(buf);
			memset(buf, 0, cap);
			if (len >= 14)
				memcpy(buf + off + 12, &protos[i % 5], 2);
			if (i & 1)
				p.vlan_proto = 0x0081;
			assert_int_equal(skep_run_packets(f.runner, &p, 1), 1);
			if (p.off > cap || p.len > cap - p.off)
				fail_msg("%s\nframe of %u bytes at %u in %u: %u at %u", text, len,
					 off, cap, p.len, p.off);
			free(buf);
		}
		finish(&f, fd);
	}
	print_message("ran: runner_any_length %u\n", runs);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_xdp_drop),      cmocka_unit_test(test_xdp_unknown_verdict),
		cmocka_unit_test(test_xdp_fields),    cmocka_unit_test(test_xdp_moves),
		cmocka_unit_test(test_xdp_fragments), cmocka_unit_test(test_xdp_bounds),
		cmocka_unit_test(test_xdp_redirect),  cmocka_unit_test(test_xdp_no_redirect),
		cmocka_unit_test(test_skb_fields),    cmocka_unit_test(test_skb_vlan),
		cmocka_unit_test(test_cgroup_skb),    cmocka_unit_test(test_socket_filter),
		cmocka_unit_test(test_clock),         cmocka_unit_test(test_bad),
		cmocka_unit_test(test_statistics),    cmocka_unit_test(test_holds),
		cmocka_unit_test(test_clone),         cmocka_unit_test(test_any_length),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
