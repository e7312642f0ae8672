/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Attaching without a link: the same calls to an instance and to the running kernel, each with
 * a port (A) in a network namespace of the test's own.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <fcntl.h>
#include <sched.h>
#include <net/if.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include "kernel.h"
#include "net/hook.h"
#include "skep.h"

enum { KERNEL, SKEP, WORLDS };
static const char *const world_names[] = {"kernel", "skep"};
static struct skep *skep;
static struct skep_net_hook *port;
static bool ready;
static char cgroup_dir[64];

static long call(int w, int cmd, union bpf_attr *attr, unsigned size)
{
	return w == KERNEL ? kernel_bpf(cmd, attr, size) : skep_bpf(skep, cmd, attr, size);
}

#define CALL(w, cmd, ...)                                                                          \
	({                                                                                         \
		union bpf_attr a_;                                                                 \
		memset(&a_, 0, sizeof(a_));                                                        \
		__VA_ARGS__;                                                                       \
		call(w, cmd, &a_, sizeof(a_));                                                     \
	})

static int load(int w, uint32_t type, uint32_t attach, int ret)
{
	const struct bpf_insn insns[] = {{.code = BPF_ALU64 | BPF_MOV | BPF_K, .imm = ret},
					 {.code = BPF_JMP | BPF_EXIT}};
	long fd =
		CALL(w, BPF_PROG_LOAD, a_.prog_type = type, a_.expected_attach_type = attach,
		     a_.insns = (uintptr_t)insns, a_.insn_cnt = 2, a_.license = (uintptr_t) "GPL");

	if (fd < 0)
		fail_msg("%s: program of type %u: %ld", world_names[w], type, fd);
	return (int)fd;
}

static uint32_t id_of(int w, int fd, bool link)
{
	union {
		struct bpf_prog_info prog;
		struct bpf_link_info link;
	} info = {0};

	assert_int_equal(CALL(w, BPF_OBJ_GET_INFO_BY_FD, a_.info.bpf_fd = (uint32_t)fd,
			      a_.info.info = (uintptr_t)&info,
			      a_.info.info_len = link ? sizeof(info.link) : sizeof(info.prog)),
			 0);
	return link ? info.link.id : info.prog.id;
}

static int setup(void **state)
{
	char why[256];

	if (!kernel_there() || unshare(CLONE_NEWNET))
		return 0;
	if (system("ip link add A type veth peer name far0 && ip link add B type veth peer name "
		   "far1 && "
		   "for i in A B far0 far1; do ip link set $i up || exit 1; done"))
		return 0;
	assert_int_equal(skep_open(&skep, NULL), 0);
	int err = skep_net_hook_open(&port, skep, "A", "B", why, sizeof(why));
	if (err)
		fail_msg("%s", why);
	snprintf(cgroup_dir, sizeof(cgroup_dir), "/sys/fs/cgroup/unified/skep-test-%d", getpid());
	if (mkdir(cgroup_dir, 0755)) {
		snprintf(cgroup_dir, sizeof(cgroup_dir), "/sys/fs/cgroup/skep-test-%d", getpid());
		if (mkdir(cgroup_dir, 0755))
			cgroup_dir[0] = 0;
	}
	ready = true;
	return 0;
}

static int teardown(void **state)
{
	if (cgroup_dir[0])
		rmdir(cgroup_dir);
	skep_net_hook_close(port);
	skep_close(skep);
	return 0;
}

static void need(void)
{
	if (ready)
		return;
	print_message("skipped: root, bpf(2), ip and veth are needed\n");
	skip();
}

/* ---- Targets of every kind ---- */

enum {
	CGROUP,
	CGROUP_FILE,
	FOLDER,
	NETNS,
	UTS,
	NUL,
	SOCKMAP,
	ARRAY,
	PROG,
	CLOSED,
	NEGATIVE,
	ZERO,
	PORT,
	OTHER_IF,
	NO_IF,
	TARGETS
};

static int targets[WORLDS][TARGETS];

static int map(int w, uint32_t type)
{
	return (int)CALL(w, BPF_MAP_CREATE, a_.map_type = type, a_.key_size = a_.value_size = 4,
			 a_.max_entries = 1);
}

static void make_targets(void)
{
	char file[96];

	snprintf(file, sizeof(file), "%s/cgroup.procs", cgroup_dir);
	const int shared[TARGETS] = {
		[CGROUP] = open(cgroup_dir, O_RDONLY | O_CLOEXEC),
		[CGROUP_FILE] = open(file, O_RDONLY | O_CLOEXEC),
		[FOLDER] = open("/tmp", O_RDONLY | O_CLOEXEC),
		[NETNS] = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC),
		[UTS] = open("/proc/self/ns/uts", O_RDONLY | O_CLOEXEC),
		[NUL] = open("/dev/null", O_RDONLY | O_CLOEXEC),
		[CLOSED] = 999,
		[NEGATIVE] = -1,
		[PORT] = (int)if_nametoindex("A"),
		[OTHER_IF] = (int)if_nametoindex("far1"),
		[NO_IF] = 9999,
	};
	for (int w = 0; w < WORLDS; w++) {
		memcpy(targets[w], shared, sizeof(shared));
		targets[w][SOCKMAP] = map(w, BPF_MAP_TYPE_SOCKMAP);
		targets[w][ARRAY] = map(w, BPF_MAP_TYPE_ARRAY);
		targets[w][PROG] = load(w, BPF_PROG_TYPE_XDP, 0, 1);
	}
}

static void close_targets(void)
{
	for (int w = 0; w < WORLDS; w++) {
		close(targets[w][SOCKMAP]);
		close(targets[w][ARRAY]);
		close(targets[w][PROG]);
	}
	for (int t = 0; t <= NUL; t++)
		close(targets[KERNEL][t]);
}

/* Every attach type, target and flag, with and without arrays, in attributes of every size. */
static void test_query(void **state)
{
	unsigned n = 0, fine = 0;
	uint32_t ids[4];
	char *page = mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	need();
	assert_int_equal(mprotect(page + 4096, 4096, PROT_NONE), 0);
	make_targets();
	for (uint32_t type = 0; type < 70; type++)
		for (int t = cgroup_dir[0] ? 0 : FOLDER; t < TARGETS; t++)
			for (uint32_t flags = 0; flags < 3; flags++)
				for (int how = 0; how < 6; how++) {
					/* The last is cut where an array of the kind would begin. */
					unsigned size = how == 5 ? 28 : sizeof(union bpf_attr);
					union bpf_attr a[WORLDS],
						*at = (void *)(page + 4096 - size);
					long r[WORLDS];
					for (int w = 0; w < WORLDS; w++) {
						memset(&a[w], 0, sizeof(a[w]));
						a[w].query.target_fd = (uint32_t)targets[w][t];
						a[w].query.attach_type = type;
						a[w].query.query_flags = flags;
						if (how == 1 || how == 2)
							a[w].query.prog_cnt = 4;
						if (how == 2)
							a[w].query.prog_ids = (uintptr_t)ids;
						if (how == 3)
							a[w].query.prog_attach_flags =
								(uintptr_t)ids;
						a[w].query.attach_flags = how == 4 ? 5 : 0;
						a[w].query.revision = how == 5 ? 0 : 77;
						memcpy(at, &a[w], size);
						r[w] = call(w, BPF_PROG_QUERY, at, size);
						memcpy(&a[w], at, size);
						a[w].query.target_fd = 0;
					}
					n++;
					fine += !r[SKEP];
					if (r[KERNEL] != r[SKEP] ||
					    memcmp(&a[KERNEL], &a[SKEP], sizeof(*a)))
						fail_msg("type %u, target %d, flags %u, %d: kernel "
							 "%ld (%u, %lx), skep %ld (%u, %lx)",
							 type, t, flags, how, r[KERNEL],
							 a[KERNEL].query.prog_cnt,
							 (long)a[KERNEL].query.revision, r[SKEP],
							 a[SKEP].query.prog_cnt,
							 (long)a[SKEP].query.revision);
				}
	close_targets();
	munmap(page, 8192);
	assert_true(fine > 100);
	print_message("%u queries, %u answered\nran: attach_query %u\n", n, fine, n);
}

static const struct {
	uint32_t type, attach;
} kinds[] = {
	{BPF_PROG_TYPE_SCHED_CLS, 0},      {BPF_PROG_TYPE_CGROUP_SKB, 0},
	{BPF_PROG_TYPE_CGROUP_SOCK, 0},    {BPF_PROG_TYPE_CGROUP_SOCK_ADDR, BPF_CGROUP_INET4_BIND},
	{BPF_PROG_TYPE_SOCK_OPS, 0},       {BPF_PROG_TYPE_SK_SKB, 0},
	{BPF_PROG_TYPE_SK_MSG, 0},         {BPF_PROG_TYPE_SK_LOOKUP, BPF_SK_LOOKUP},
	{BPF_PROG_TYPE_FLOW_DISSECTOR, 0}, {BPF_PROG_TYPE_XDP, 0},
};
#define KINDS (sizeof(kinds) / sizeof(*kinds))

static long change(int w, int cmd, uint32_t type, int target, int prog, uint32_t flags)
{
	return CALL(w, cmd, a_.target_fd = (uint32_t)target, a_.attach_type = type,
		    a_.attach_bpf_fd = (uint32_t)prog, a_.attach_flags = flags);
}

/* What the kernel has and an instance has not: a place to attach to. */
static long without(int t, uint32_t kind)
{
	return t == CGROUP                                                    ? -EBADF
	       : t == OTHER_IF                                                ? -ENODEV
	       : kind == BPF_PROG_TYPE_SK_SKB || kind == BPF_PROG_TYPE_SK_MSG ? -EOPNOTSUPP
									      : -EINVAL;
}

static void test_types(void **state)
{
	static const uint32_t flags[] = {0, BPF_F_ALLOW_MULTI, BPF_F_BEFORE, BPF_F_LINK, 1u << 9};
	unsigned n = 0, lacking = 0;

	need();
	make_targets();
	for (size_t k = 0; k < KINDS; k++) {
		int prog[WORLDS];
		for (int w = 0; w < WORLDS; w++)
			prog[w] = load(w, kinds[k].type, kinds[k].attach,
				       kinds[k].type == BPF_PROG_TYPE_SCHED_CLS ? -1 : 1);
		for (uint32_t type = 0; type < 62; type++)
			for (int t = cgroup_dir[0] ? 0 : FOLDER; t < TARGETS; t++)
				for (size_t f = 0; f < sizeof(flags) / sizeof(*flags); f++) {
					long in[WORLDS], out[WORLDS], none[WORLDS];
					for (int w = 0; w < WORLDS; w++) {
						in[w] = change(w, BPF_PROG_ATTACH, type,
							       targets[w][t], prog[w], flags[f]);
						out[w] = change(w, BPF_PROG_DETACH, type,
								targets[w][t], prog[w], 0);
						none[w] = change(w, BPF_PROG_DETACH, type,
								 targets[w][t], 0, flags[f]);
					}
					n += 3;
					if (in[SKEP] &&
					    (!in[KERNEL] || t == OTHER_IF || t == CGROUP) &&
					    in[SKEP] == without(t, kinds[k].type)) {
						lacking++;
						continue;
					}
					if (in[KERNEL] != in[SKEP] || out[KERNEL] != out[SKEP] ||
					    none[KERNEL] != none[SKEP])
						fail_msg("program %u, type %u, target %d, flags "
							 "%x: kernel %ld %ld %ld, skep %ld %ld %ld",
							 kinds[k].type, type, t, flags[f],
							 in[KERNEL], out[KERNEL], none[KERNEL],
							 in[SKEP], out[SKEP], none[SKEP]);
				}
		close(prog[KERNEL]);
		close(prog[SKEP]);
	}
	close_targets();
	print_message("%u calls, %u attached by the kernel alone\nran: attach_types %u\n", n,
		      lacking, n);
}

/* ---- Lists of programs ---- */

#define PROGS 5
#define LINKS 3

static struct {
	int prog[PROGS + 1], link[LINKS]; /* the last program is of another type; links -1: none */
	uint32_t ids[PROGS + 1];
} objs[WORLDS];

/* The kernel's numbers and ours, as indexes. */
static int index_of(int w, uint32_t id)
{
	for (int i = 0; i <= PROGS; i++)
		if (objs[w].ids[i] == id)
			return i;
	return -1;
}

static void same_lists(uint32_t type, uint32_t ifindex, uint32_t room, const char *after)
{
	struct {
		long ret;
		uint32_t count, flags;
		uint64_t revision;
		int prog[8], link[8];
		uint32_t f[2][8];
	} got[WORLDS];

	memset(got, 0, sizeof(got));
	for (int w = 0; w < WORLDS; w++) {
		uint32_t progs[8] = {0}, links[8] = {0};
		union bpf_attr a;
		memset(&a, 0, sizeof(a));
		a.query.target_ifindex = ifindex;
		a.query.attach_type = type;
		a.query.count = room;
		a.query.prog_ids = (uintptr_t)progs;
		a.query.link_ids = (uintptr_t)links;
		a.query.prog_attach_flags = (uintptr_t)got[w].f[0];
		a.query.link_attach_flags = (uintptr_t)got[w].f[1];
		got[w].ret = call(w, BPF_PROG_QUERY, &a, sizeof(a));
		got[w].count = a.query.count;
		got[w].revision = a.query.revision;
		got[w].flags = a.query.attach_flags;
		for (int i = 0; i < 8; i++) {
			got[w].prog[i] = progs[i] ? index_of(w, progs[i]) : -2;
			got[w].link[i] = -2;
			for (int l = 0; l < LINKS; l++)
				if (links[i] && objs[w].link[l] >= 0 &&
				    id_of(w, objs[w].link[l], true) == links[i])
					got[w].link[i] = l;
		}
	}
	if (!memcmp(&got[0], &got[1], sizeof(got[0])))
		return;
	for (int w = 0; w < WORLDS; w++) {
		print_error("%s: %ld, %u, revision %lu:", world_names[w], got[w].ret, got[w].count,
			    (long)got[w].revision);
		for (int i = 0; i < 8; i++)
			print_error(" %d/%d", got[w].prog[i], got[w].link[i]);
		print_error("\n");
	}
	fail_msg("lists differ after %s", after);
}

static void close_link(int l)
{
	for (int w = 0; w < WORLDS; w++) {
		close(objs[w].link[l]);
		objs[w].link[l] = -1;
	}
	/* Our collector asks when an object is next made or listed. */
	CALL(SKEP, BPF_LINK_GET_NEXT_ID, (void)0);
}

static void test_lists(void **state)
{
	static const uint32_t some[] = {0,
					0,
					0,
					BPF_F_BEFORE,
					BPF_F_BEFORE,
					BPF_F_AFTER,
					BPF_F_AFTER,
					BPF_F_REPLACE,
					BPF_F_REPLACE,
					BPF_F_BEFORE | BPF_F_AFTER,
					BPF_F_REPLACE | BPF_F_BEFORE,
					BPF_F_REPLACE | BPF_F_AFTER,
					1u << 7};
	static const uint32_t ways[] = {0, 0, 0, 0,        0,          0,
					0, 0, 0, BPF_F_ID, BPF_F_LINK, BPF_F_LINK | BPF_F_ID};
	unsigned rounds = test_scale(4000), good = 0, longest = 0;
	uint64_t seed = 20261127;
	uint32_t a = if_nametoindex("A");

	need();
	for (int w = 0; w < WORLDS; w++) {
		for (int i = 0; i <= PROGS; i++) {
			objs[w].prog[i] =
				load(w, i == PROGS ? BPF_PROG_TYPE_XDP : BPF_PROG_TYPE_SCHED_CLS, 0,
				     i == PROGS ? 2 : -1);
			objs[w].ids[i] = id_of(w, objs[w].prog[i], false);
		}
		for (int l = 0; l < LINKS; l++)
			objs[w].link[l] = -1;
	}
	for (unsigned i = 0; i < rounds; i++) {
		uint64_t x = test_random(&seed);
		uint32_t type = x & 1 ? BPF_TCX_INGRESS : BPF_TCX_EGRESS;
		unsigned op = (x >> 1) % 12, p = (x >> 8) % (PROGS + ((x >> 50) % 16 == 0)),
			 l = (x >> 16) % LINKS;
		uint32_t flags =
			some[(x >> 24) % (sizeof(some) / sizeof(*some))] | ways[(x >> 32) % 12];
		unsigned rel = (x >> 40) % (PROGS + 6), old = (x >> 44) % PROGS,
			 rev = (x >> 48) % 16;
		int cmd = op < 5     ? BPF_PROG_ATTACH
			  : op < 8   ? BPF_PROG_DETACH
			  : op < 10  ? BPF_LINK_CREATE
			  : op == 10 ? BPF_LINK_UPDATE
				     : BPF_LINK_DETACH;
		bool no_prog = (x >> 52) % 4 == 0, close_it = (x >> 56) % 2;
		long r[WORLDS];
		char what[160];

		if (cmd == BPF_LINK_CREATE && objs[0].link[l] >= 0) {
			close_link((int)l);
			same_lists(type, a, 8, "closing a link");
		}
		if (cmd >= BPF_LINK_UPDATE && cmd != BPF_LINK_CREATE && objs[0].link[l] < 0)
			continue;
		for (int w = 0; w < WORLDS; w++) {
			uint32_t relative = 0;
			if (rel < PROGS + 1 && flags & BPF_F_LINK)
				relative = objs[w].link[rel % LINKS] < 0 ? 999
					   : flags & BPF_F_ID
						   ? id_of(w, objs[w].link[rel % LINKS], true)
						   : (uint32_t)objs[w].link[rel % LINKS];
			else if (rel < PROGS + 1)
				relative = flags & BPF_F_ID ? objs[w].ids[rel]
							    : (uint32_t)objs[w].prog[rel];
			else if (rel == PROGS + 1)
				relative = 998;
			/* A revision that is right now, or never. */
			uint64_t revision = 0;
			if (rev == 1)
				revision = 1;
			else if (rev == 2)
				revision = 7777;
			int prog = objs[w].prog[p];
			if (cmd == BPF_PROG_ATTACH || cmd == BPF_PROG_DETACH)
				r[w] = CALL(w, cmd, a_.target_ifindex = a, a_.attach_type = type,
					    a_.attach_bpf_fd = cmd == BPF_PROG_DETACH && no_prog
								       ? 0
								       : (uint32_t)prog,
					    a_.attach_flags = flags, a_.relative_fd = relative,
					    a_.replace_bpf_fd =
						    flags & BPF_F_REPLACE
							    ? (uint32_t)objs[w].prog[old]
							    : 0,
					    a_.expected_revision = revision);
			else if (cmd == BPF_LINK_CREATE)
				r[w] = CALL(w, cmd, a_.link_create.prog_fd = (uint32_t)prog,
					    a_.link_create.target_ifindex = a,
					    a_.link_create.attach_type = type,
					    a_.link_create.flags = flags,
					    a_.link_create.tcx.relative_fd = relative,
					    a_.link_create.tcx.expected_revision = revision);
			else if (cmd == BPF_LINK_UPDATE)
				r[w] = CALL(w, cmd,
					    a_.link_update.link_fd = (uint32_t)objs[w].link[l],
					    a_.link_update.new_prog_fd = (uint32_t)prog);
			else
				r[w] = CALL(w, cmd,
					    a_.link_detach.link_fd = (uint32_t)objs[w].link[l]);
			if (cmd == BPF_LINK_CREATE && r[w] >= 0) {
				objs[w].link[l] = (int)r[w];
				r[w] = 0;
			}
		}
		snprintf(what, sizeof(what),
			 "%u: command %d, type %u, program %u, link %u, flags %x, relative %u, "
			 "replace %u, revision %u",
			 i, cmd, type, p, l, flags, rel, old, rev);
		if (r[KERNEL] != r[SKEP])
			fail_msg("%s: kernel %ld, skep %ld", what, r[KERNEL], r[SKEP]);
		good += !r[SKEP];
		same_lists(type, a, i % 5 ? 8 : i / 5 % 4, what);
		if (cmd == BPF_LINK_DETACH && close_it)
			close_link((int)l);
		for (uint32_t n = 0; n < 8; n++)
			longest =
				n > longest && CALL(SKEP, BPF_PROG_QUERY,
						    a_.query.target_ifindex = a,
						    a_.query.attach_type = type, a_.query.count = n,
						    a_.query.prog_ids = (uintptr_t) &
									(uint32_t[8]){0}) == -ENOSPC
					? n + 1
					: longest;
	}
	for (int l = 0; l < LINKS; l++)
		if (objs[0].link[l] >= 0)
			close_link(l);
	for (int w = 0; w < WORLDS; w++)
		for (int i = 0; i <= PROGS; i++)
			close(objs[w].prog[i]);
	assert_true(good > rounds / 20);
	assert_true(longest >= 4);
	print_message("%u calls, %u done, up to %u programs\nran: attach_lists %u\n", rounds, good,
		      longest, rounds);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_query),
		cmocka_unit_test(test_types),
		cmocka_unit_test(test_lists),
	};
	return cmocka_run_group_tests(tests, setup, teardown);
}
