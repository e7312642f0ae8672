/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Maps whose keys or values are descriptors of sockets, tasks, cgroups and files: the same random
 * calls of bpf(2), with sockets of every kind and state, to the running kernel and to skep.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <arpa/inet.h>
#include <fcntl.h>
#include <linux/btf.h>
#include <netinet/in.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "kernel.h"
#include "skep.h"

enum { KERNEL, SKEP, WORLDS };
static struct skep *skep;
static uint64_t seed = 7;

static uint32_t rnd(uint32_t n)
{
	return (uint32_t)(test_random(&seed) >> 32) % n;
}

static long call(int w, int cmd, union bpf_attr *attr)
{
	return w == KERNEL ? kernel_bpf(cmd, attr, sizeof(*attr))
			   : skep_bpf(skep, cmd, attr, sizeof(*attr));
}

/* ---- Descriptors: a set for each world, since maps change what they hold ---- */

#define NFDS 24
static int fds[WORLDS][NFDS];
static const char *names[NFDS];
static pid_t child;

static int bound(int family, int type, bool reuse, bool listens)
{
	int fd = socket(family, type, 0), one = 1;
	struct sockaddr_in6 in6 = {.sin6_family = AF_INET6, .sin6_addr = in6addr_loopback};
	struct sockaddr_in in = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};

	assert_true(fd >= 0);
	if (reuse)
		assert_int_equal(setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &one, sizeof(one)), 0);
	assert_int_equal(family == AF_INET ? bind(fd, (void *)&in, sizeof(in))
					   : bind(fd, (void *)&in6, sizeof(in6)),
			 0);
	if (listens)
		assert_int_equal(listen(fd, 4), 0);
	return fd;
}

static int connected(int type)
{
	int to = bound(AF_INET, type, false, type == SOCK_STREAM), fd = socket(AF_INET, type, 0);
	struct sockaddr_in in;
	socklen_t len = sizeof(in);

	assert_int_equal(getsockname(to, (void *)&in, &len), 0);
	assert_int_equal(connect(fd, (void *)&in, len), 0);
	/* The other end stays open, beyond the test's reach. */
	return fd;
}

static void open_all(int w)
{
	int pair[2], n = 0;

#define FD(name, expr) (names[n] = (name), fds[w][n++] = (expr))
	FD("tcp", socket(AF_INET, SOCK_STREAM, 0));
	FD("tcp bound", bound(AF_INET, SOCK_STREAM, false, false));
	FD("tcp listening", bound(AF_INET, SOCK_STREAM, false, true));
	FD("tcp reuseport", bound(AF_INET, SOCK_STREAM, true, true));
	FD("tcp6 reuseport", bound(AF_INET6, SOCK_STREAM, true, true));
	FD("tcp reuseport bound", bound(AF_INET, SOCK_STREAM, true, false));
	FD("tcp connected", connected(SOCK_STREAM));
	FD("udp", socket(AF_INET, SOCK_DGRAM, 0));
	FD("udp bound", bound(AF_INET, SOCK_DGRAM, false, false));
	FD("udp reuseport", bound(AF_INET, SOCK_DGRAM, true, false));
	FD("udp6 reuseport", bound(AF_INET6, SOCK_DGRAM, true, false));
	FD("udp connected", connected(SOCK_DGRAM));
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
	FD("unix stream", pair[0]);
	FD("unix stream other end", pair[1]);
	FD("unix stream alone", socket(AF_UNIX, SOCK_STREAM, 0));
	assert_int_equal(socketpair(AF_UNIX, SOCK_DGRAM, 0, pair), 0);
	FD("unix dgram", pair[0]);
	FD("unix dgram other end", pair[1]);
	FD("raw", socket(AF_INET, SOCK_RAW, IPPROTO_UDP));
	FD("packet", socket(AF_PACKET, SOCK_RAW, 0));
	FD("file", open("/dev/null", O_RDWR));
	FD("pidfd", (int)syscall(SYS_pidfd_open, getpid(), 0));
	FD("pidfd of a child", (int)syscall(SYS_pidfd_open, child, 0));
	FD("cgroup", open("/sys/fs/cgroup", O_RDONLY | O_DIRECTORY));
	FD("none", 999);
	assert_int_equal(n, NFDS);
#undef FD
}

/* ---- Maps ---- */

static const struct {
	uint32_t type, key, value;
	bool storage;
} maps[] = {
	{BPF_MAP_TYPE_SOCKMAP, 4, 4, false},
	{BPF_MAP_TYPE_SOCKMAP, 4, 8, false},
	{BPF_MAP_TYPE_SOCKHASH, 4, 4, false},
	{BPF_MAP_TYPE_SOCKHASH, 4, 8, false},
	{BPF_MAP_TYPE_REUSEPORT_SOCKARRAY, 4, 8, false},
	{BPF_MAP_TYPE_REUSEPORT_SOCKARRAY, 4, 4, false},
	{BPF_MAP_TYPE_XSKMAP, 4, 4, false},
	{BPF_MAP_TYPE_CGROUP_ARRAY, 4, 4, false},
	{BPF_MAP_TYPE_TASK_STORAGE, 4, 8, true},
	{BPF_MAP_TYPE_SK_STORAGE, 4, 8, true},
	{BPF_MAP_TYPE_INODE_STORAGE, 4, 8, true},
	{BPF_MAP_TYPE_CGRP_STORAGE, 4, 8, true},
	{BPF_MAP_TYPE_CGROUP_STORAGE, 8, 8, false},
	{BPF_MAP_TYPE_CPUMAP, 4, 4, false},
};
#define NMAPS (sizeof(maps) / sizeof(*maps))

static long load_btf(int w)
{
	static struct {
		struct btf_header h;
		uint32_t t[8];
		char s[12];
	} b = {
		.h = {.magic = BTF_MAGIC,
		      .version = 1,
		      .hdr_len = sizeof(struct btf_header),
		      .type_len = 32,
		      .str_off = 32,
		      .str_len = 10},
		.t = {1, BTF_KIND_INT << 24, 4, 32, 5, BTF_KIND_INT << 24, 8, 64},
		.s = "\0int\0long",
	};
	union bpf_attr a;

	memset(&a, 0, sizeof(a));
	a.btf = (uintptr_t)&b;
	a.btf_size = sizeof(b.h) + 32 + 10;
	return call(w, BPF_BTF_LOAD, &a);
}

static int create(int w, unsigned m, int btf)
{
	union bpf_attr a;
	long fd;

	memset(&a, 0, sizeof(a));
	a.map_type = maps[m].type;
	a.key_size = maps[m].key;
	a.value_size = maps[m].value;
	a.max_entries = maps[m].storage || maps[m].type == BPF_MAP_TYPE_CGROUP_STORAGE ? 0 : 3;
	if (maps[m].storage) {
		a.map_flags = BPF_F_NO_PREALLOC;
		a.btf_fd = (uint32_t)btf;
		a.btf_key_type_id = 1;
		a.btf_value_type_id = 2;
	}
	fd = call(w, BPF_MAP_CREATE, &a);
	if (fd < 0)
		fail_msg("map %u: %ld", m, fd);
	return (int)fd;
}

/* Commands, keys, descriptors and flags by chance. */
static void test_random_calls(void **state)
{
	static const int cmds[] = {BPF_MAP_UPDATE_ELEM,           BPF_MAP_UPDATE_ELEM,
				   BPF_MAP_UPDATE_ELEM,           BPF_MAP_LOOKUP_ELEM,
				   BPF_MAP_DELETE_ELEM,           BPF_MAP_GET_NEXT_KEY,
				   BPF_MAP_LOOKUP_AND_DELETE_ELEM};
	unsigned compared = 0, good = 0, per_map[NMAPS] = {0};
	int map[WORLDS][NMAPS];

	if (!kernel_there()) {
		print_message("skipped: bpf(2) is not permitted here\n");
		skip();
	}
	assert_int_equal(skep_open(&skep, NULL), 0);
	child = fork();
	if (!child) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		pause();
		_exit(0);
	}
	for (int w = 0; w < WORLDS; w++) {
		long btf = load_btf(w);
		assert_true(btf >= 0);
		open_all(w);
		for (unsigned m = 0; m < NMAPS; m++)
			map[w][m] = create(w, m, (int)btf);
		close((int)btf);
	}
	for (unsigned i = 0; i < test_scale(30000); i++) {
		unsigned m = rnd(NMAPS), f = rnd(NFDS), key = rnd(5), flags = rnd(12);
		int cmd = cmds[rnd(7)];
		bool wide = rnd(30) == 0, no_key = rnd(4) == 0;
		uint64_t keys[WORLDS], values[WORLDS];
		/* The kernel lets go of a socket that left its last sockmap a little later, and
		 * until then a reuseport array may not have it. */
		if (m < 4 && strstr(names[f], "reuseport"))
			continue;
		long r[WORLDS];
		for (int w = 0; w < WORLDS; w++) {
			union bpf_attr a;
			memset(&a, 0, sizeof(a));
			keys[w] = maps[m].storage ? (uint32_t)fds[w][f] : key;
			values[w] = maps[m].type == BPF_MAP_TYPE_CPUMAP
					    ? (f % 3 ? f * 64 : f * 10000)
					    : (uint32_t)fds[w][f];
			if (maps[m].storage)
				values[w] = i;
			if (wide)
				values[w] |= 1ull << 33;
			a.map_fd = (uint32_t)map[w][m];
			a.key = cmd == BPF_MAP_GET_NEXT_KEY && no_key ? 0 : (uintptr_t)&keys[w];
			if (cmd != BPF_MAP_DELETE_ELEM)
				a.value = (uintptr_t)&values[w];
			if (cmd == BPF_MAP_UPDATE_ELEM)
				a.flags = flags < 9 ? flags % 3 : flags - 6;
			r[w] = call(w, cmd, &a);
		}
		/* The order of a hash's keys is each side's own. */
		bool order = maps[m].type == BPF_MAP_TYPE_SOCKHASH && cmd == BPF_MAP_GET_NEXT_KEY;
		if (r[KERNEL] != r[SKEP] && !(order && !no_key))
			fail_msg("call %u: map %u (type %u, value %u), command %d, key %u, %s, "
				 "flags %u: kernel %ld, skep %ld",
				 i, m, maps[m].type, maps[m].value, cmd, key, names[f], flags,
				 r[KERNEL], r[SKEP]);
		if (!r[KERNEL] && cmd == BPF_MAP_LOOKUP_ELEM && maps[m].storage)
			assert_int_equal(values[KERNEL], values[SKEP]);
		compared++;
		good += !r[KERNEL];
		per_map[m] += !r[KERNEL];
	}
	print_message("%u calls compared, %u successful\n", compared, good);
	for (unsigned m = 0; m < NMAPS; m++) {
		if (per_map[m])
			continue;
		/* No cgroup of version 2 may be mounted where the test looks. */
		if (maps[m].type == BPF_MAP_TYPE_CGRP_STORAGE)
			print_message("no call on cgroup storage could succeed here\n");
		else
			assert_int_equal(maps[m].type, BPF_MAP_TYPE_CGROUP_STORAGE);
	}
	kill(child, SIGKILL);
	waitpid(child, NULL, 0);
	for (int w = 0; w < WORLDS; w++) {
		for (unsigned m = 0; m < NMAPS; m++)
			close(map[w][m]);
		for (unsigned i = 0; i < NFDS - 1; i++)
			close(fds[w][i]);
	}
	print_message("ran: map_sock %u\n", compared);
}

/* A socket that its owner closes leaves the maps, and the map does not keep it open. */
static void test_closed(void **state)
{
	union bpf_attr a;
	uint32_t key = 1;
	int type[] = {BPF_MAP_TYPE_SOCKHASH, BPF_MAP_TYPE_SOCKMAP,
		      BPF_MAP_TYPE_REUSEPORT_SOCKARRAY};

	if (!skep)
		skip();
	for (int t = 0; t < 3; t++) {
		uint64_t value, cookie = 0;
		socklen_t len = sizeof(cookie);
		int fd = bound(AF_INET, SOCK_STREAM, true, true);
		memset(&a, 0, sizeof(a));
		a.map_type = (uint32_t)type[t];
		a.key_size = 4;
		a.value_size = 8;
		a.max_entries = 4;
		long map = call(SKEP, BPF_MAP_CREATE, &a);
		assert_true(map >= 0);
		memset(&a, 0, sizeof(a));
		a.map_fd = (uint32_t)map;
		a.key = (uintptr_t)&key;
		value = (uint64_t)fd;
		a.value = (uintptr_t)&value;
		assert_int_equal(call(SKEP, BPF_MAP_UPDATE_ELEM, &a), 0);
		assert_int_equal(call(SKEP, BPF_MAP_LOOKUP_ELEM, &a), 0);
		assert_int_equal(getsockopt(fd, SOL_SOCKET, 57 /* SO_COOKIE */, &cookie, &len), 0);
		assert_int_equal(value, cookie);
		close(fd);
		assert_int_equal(call(SKEP, BPF_MAP_LOOKUP_ELEM, &a), -ENOENT);
		close((int)map);
	}
	skep_close(skep);
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(test_random_calls),
					   cmocka_unit_test(test_closed)};

	return cmocka_run_group_tests_name("map_sock", tests, NULL, NULL);
}
