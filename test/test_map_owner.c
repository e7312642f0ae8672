/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which programs go together in one map, against the running kernel: those that prog arrays, device
 * maps and CPU maps hold and those that use them, of every kind, in any order. The first one decides.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "map_pair.h"
#include "scale.h"

#define N(a) (sizeof(a) / sizeof((a)[0]))

static const struct {
	uint32_t type, value_size;
} maps[] = {
	{BPF_MAP_TYPE_PROG_ARRAY, 4},  {BPF_MAP_TYPE_DEVMAP, 4}, {BPF_MAP_TYPE_DEVMAP, 8},
	{BPF_MAP_TYPE_DEVMAP_HASH, 8}, {BPF_MAP_TYPE_CPUMAP, 4}, {BPF_MAP_TYPE_CPUMAP, 8},
};

/* storage: which of two cgroup storages it uses, or 0; jumps: by an array of its own. */
static const struct kind {
	uint32_t type, attach, flags;
	int storage, ret;
	bool jumps;
} kinds[] = {
	{BPF_PROG_TYPE_XDP, 0, 0, 0, 2, false},
	{BPF_PROG_TYPE_XDP, 0, BPF_F_XDP_HAS_FRAGS, 0, 2, false},
	{BPF_PROG_TYPE_XDP, BPF_XDP, 0, 0, 2, false},
	{BPF_PROG_TYPE_XDP, BPF_XDP_DEVMAP, 0, 0, 2, false},
	{BPF_PROG_TYPE_XDP, BPF_XDP_DEVMAP, BPF_F_XDP_HAS_FRAGS, 0, 2, false},
	{BPF_PROG_TYPE_XDP, BPF_XDP_CPUMAP, 0, 0, 2, false},
	{BPF_PROG_TYPE_XDP, BPF_XDP_CPUMAP, BPF_F_XDP_HAS_FRAGS, 0, 2, false},
	{BPF_PROG_TYPE_SCHED_CLS, 0, 0, 0, 0, false},
	{BPF_PROG_TYPE_SCHED_CLS, BPF_TCX_INGRESS, 0, 0, 0, false},
	{BPF_PROG_TYPE_SCHED_ACT, 0, 0, 0, 0, false},
	{BPF_PROG_TYPE_SOCKET_FILTER, 0, 0, 0, 0, false},
	{BPF_PROG_TYPE_CGROUP_SKB, BPF_CGROUP_INET_INGRESS, 0, 0, 1, false},
	{BPF_PROG_TYPE_CGROUP_SKB, BPF_CGROUP_INET_EGRESS, 0, 0, 1, false},
	{BPF_PROG_TYPE_CGROUP_SKB, BPF_CGROUP_INET_EGRESS, 0, 1, 1, false},
	{BPF_PROG_TYPE_CGROUP_SKB, BPF_CGROUP_INET_EGRESS, 0, 2, 1, false},
	{BPF_PROG_TYPE_CGROUP_SKB, BPF_CGROUP_INET_EGRESS, 0, 0, 1, true},
	{BPF_PROG_TYPE_CGROUP_SKB, BPF_CGROUP_INET_EGRESS, 0, 1, 1, true},
	{BPF_PROG_TYPE_CGROUP_SOCK, BPF_CGROUP_INET_SOCK_CREATE, 0, 0, 1, false},
	{BPF_PROG_TYPE_CGROUP_SOCK, BPF_CGROUP_INET4_POST_BIND, 0, 0, 1, false},
	{BPF_PROG_TYPE_CGROUP_SOCK_ADDR, BPF_CGROUP_INET4_BIND, 0, 0, 1, false},
	{BPF_PROG_TYPE_CGROUP_SOCK_ADDR, BPF_CGROUP_INET4_CONNECT, 0, 0, 1, false},
	{BPF_PROG_TYPE_CGROUP_SYSCTL, BPF_CGROUP_SYSCTL, 0, 0, 1, false},
	{BPF_PROG_TYPE_RAW_TRACEPOINT, 0, 0, 0, 0, false},
	{BPF_PROG_TYPE_TRACEPOINT, 0, 0, 0, 0, false},
	{BPF_PROG_TYPE_KPROBE, 0, 0, 0, 0, false},
	{BPF_PROG_TYPE_KPROBE, 0, BPF_F_SLEEPABLE, 0, 0, false},
	{BPF_PROG_TYPE_SYSCALL, 0, BPF_F_SLEEPABLE, 0, 0, false},
};

static int storages[2][3]; /* descriptors, by who and number; 0 none */
static int progs[2][N(kinds)];

#define INSN(c, d, s, o, i)                                                                        \
	((struct bpf_insn){.code = (c), .dst_reg = (d), .src_reg = (s), .off = (o), .imm = (i)})

static uint32_t use(struct bpf_insn *p, uint32_t map_type, int map)
{
	bool jump = map_type == BPF_MAP_TYPE_PROG_ARRAY;
	uint8_t reg = jump ? 2 : 1;

	p[0] = INSN(BPF_ALU64 | BPF_MOV | BPF_X, 1, 6, 0, 0);
	p[1] = INSN(BPF_LD | BPF_DW | BPF_IMM, reg, BPF_PSEUDO_MAP_FD, 0, map);
	p[2] = INSN(0, 0, 0, 0, 0);
	p[3] = INSN(BPF_ALU64 | BPF_MOV | BPF_K, 2, 0, 0, 0);
	p[4] = INSN(BPF_ALU64 | BPF_MOV | BPF_K, 3, 0, 0, 0);
	if (jump)
		p[3] = p[4];
	p[5] = INSN(BPF_JMP | BPF_CALL, 0, 0, 0, jump ? BPF_FUNC_tail_call : BPF_FUNC_redirect_map);
	return 6;
}

/* A program of that kind that uses the map (-1: none). */
static int load(int who, const struct kind *k, uint32_t map_type, int map)
{
	struct bpf_insn p[24];
	int own = -1, fd;
	union bpf_attr attr = {.prog_type = k->type,
			       .expected_attach_type = k->attach,
			       .prog_flags = k->flags,
			       .insns = (uintptr_t)p,
			       .license = (uintptr_t) "GPL"};
	uint32_t n = 0;

	p[n++] = INSN(BPF_ALU64 | BPF_MOV | BPF_X, 6, 1, 0, 0);
	if (k->storage) {
		p[n++] = INSN(BPF_LD | BPF_DW | BPF_IMM, 1, BPF_PSEUDO_MAP_FD, 0,
			      storages[who][k->storage]);
		p[n++] = INSN(0, 0, 0, 0, 0);
		p[n++] = INSN(BPF_ALU64 | BPF_MOV | BPF_K, 2, 0, 0, 0);
		p[n++] = INSN(BPF_JMP | BPF_CALL, 0, 0, 0, BPF_FUNC_get_local_storage);
	}
	if (map >= 0)
		n += use(p + n, map_type, map);
	if (k->jumps) {
		own = pair_create(who, BPF_MAP_TYPE_PROG_ARRAY, 4, 4, 1, 0);
		n += use(p + n, BPF_MAP_TYPE_PROG_ARRAY, own);
	}
	p[n++] = INSN(BPF_ALU64 | BPF_MOV | BPF_K, 0, 0, 0, k->ret);
	p[n++] = INSN(BPF_JMP | BPF_EXIT, 0, 0, 0, 0);
	attr.insn_cnt = n;
	fd = (int)pair_call(who, BPF_PROG_LOAD, &attr);
	if (own >= 0)
		close(own);
	return fd;
}

static int store(int who, uint32_t map, int fd, int prog)
{
	/* The loopback interface; a queue of one packet. */
	uint32_t key = 0, value[2] = {1, (uint32_t)prog};

	if (maps[map].type == BPF_MAP_TYPE_PROG_ARRAY)
		value[0] = (uint32_t)prog;
	return pair_elem(who, BPF_MAP_UPDATE_ELEM, fd, &key, value, 0);
}

static void same(const int r[2], uint32_t map, const char *what, size_t kind, const char *before)
{
	pair_compared++;
	if (r[0] != r[1] && (r[0] < 0 || r[1] < 0))
		fail_msg("map %u (type %u): %s of kind %zu: skep %d, kernel %d, after%s", map,
			 maps[map].type, what, kind, r[0], r[1], before);
}

static void step(struct pair *m, uint32_t map, size_t kind, bool user, char *before, size_t size)
{
	size_t at = strlen(before);
	int r[2];

	for (int who = 0; who < 2; who++)
		if (user) {
			r[who] = load(who, &kinds[kind], maps[map].type, m->fd[who]);
			if (r[who] >= 0)
				close(r[who]);
		} else {
			r[who] = store(who, map, m->fd[who], progs[who][kind]);
		}
	same(r, map, user ? "use" : "storing", kind, before);
	snprintf(before + at, size - at, " %s %zu: %d", user ? "use" : "store", kind, r[0]);
}

/* All pairs of first and second, used or stored. */
static void test_pairs(void **state)
{
	if (!pair_judge)
		skip();
	for (uint32_t map = 0; map < N(maps); map++) {
		for (size_t i = 0; i < N(kinds) * N(kinds) * 4; i++) {
			size_t a = i / 4 / N(kinds), b = i / 4 % N(kinds);
			struct pair m;
			char before[256] = "";

			/* Only XDP programs may use the others. */
			if (map && (kinds[a].type != BPF_PROG_TYPE_XDP ||
				    kinds[b].type != BPF_PROG_TYPE_XDP))
				continue;
			m = pair_new(maps[map].type, 4, maps[map].value_size, 2, 0);
			step(&m, map, a, i & 1, before, sizeof(before));
			step(&m, map, b, i & 2, before, sizeof(before));
			pair_drop(&m);
		}
	}
}

static void test_sequences(void **state)
{
	if (!pair_judge)
		skip();
	for (unsigned long round = 0; round < scaled(300); round++) {
		uint32_t map = pair_rnd(N(maps));
		struct pair m = pair_new(maps[map].type, 4, maps[map].value_size, 2, 0);
		char before[1024] = "";

		for (int i = 0; i < 12; i++)
			step(&m, map, pair_rnd(map ? 7 : N(kinds)), pair_rnd(2), before,
			     sizeof(before));
		pair_drop(&m);
	}
}

static int setup(void **state)
{
	int err = pair_setup(state);

	for (int who = 0; !err && who < (pair_judge ? 2 : 1); who++) {
		for (int i = 1; i < 3; i++)
			storages[who][i] =
				pair_create(who, BPF_MAP_TYPE_CGROUP_STORAGE, 8, 8, 0, 0);
		for (size_t i = 0; i < N(kinds); i++) {
			progs[who][i] = load(who, &kinds[i], 0, -1);
			if (progs[who][i] < 0) {
				print_error("kind %zu can't be loaded by %s: %d\n", i,
					    who ? "the kernel" : "skep", progs[who][i]);
				return -1;
			}
		}
	}
	return err;
}

static int teardown(void **state)
{
	print_message("ran: map_owner %lu\n", pair_compared);
	return pair_teardown(state);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_pairs),
		cmocka_unit_test(test_sequences),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
