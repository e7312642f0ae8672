/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Links: LINK_CREATE and RAW_TRACEPOINT_OPEN with every kind of program, attach type, target and flag, to an
 * instance without hooks and to the running kernel. What the kernel attaches is let go at once.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <fcntl.h>
#include <linux/perf_event.h>
#include <net/if.h>
#include <sched.h>
#include <sys/stat.h>

#include "kernel.h"
#include "side.h"

static struct side kernel, ours;
static struct side *const sides[] = {&kernel, &ours};
static bool ready;
static char cgroup_dir[64];

#define CALL(w, cmd, ...)                                                                          \
	({                                                                                         \
		union bpf_attr a_;                                                                 \
		memset(&a_, 0, sizeof(a_));                                                        \
		__VA_ARGS__;                                                                       \
		side_bpf(sides[w], cmd, &a_);                                                      \
	})

/* ---- Programs ---- */

static const struct kind {
	const char *name;
	uint32_t type, attach;
} kinds[] = {
	{"socket_filter", BPF_PROG_TYPE_SOCKET_FILTER, 0},
	{"kprobe", BPF_PROG_TYPE_KPROBE, 0},
	{"kprobe.multi", BPF_PROG_TYPE_KPROBE, BPF_TRACE_KPROBE_MULTI},
	{"kprobe.session", BPF_PROG_TYPE_KPROBE, BPF_TRACE_KPROBE_SESSION},
	{"uprobe.multi", BPF_PROG_TYPE_KPROBE, BPF_TRACE_UPROBE_MULTI},
	{"uprobe.session", BPF_PROG_TYPE_KPROBE, BPF_TRACE_UPROBE_SESSION},
	{"sched_cls", BPF_PROG_TYPE_SCHED_CLS, 0},
	{"sched_act", BPF_PROG_TYPE_SCHED_ACT, 0},
	{"tracepoint", BPF_PROG_TYPE_TRACEPOINT, 0},
	{"xdp", BPF_PROG_TYPE_XDP, 0},
	{"xdp", BPF_PROG_TYPE_XDP, BPF_XDP},
	{"xdp_devmap", BPF_PROG_TYPE_XDP, BPF_XDP_DEVMAP},
	{"perf_event", BPF_PROG_TYPE_PERF_EVENT, 0},
	{"cgroup_skb", BPF_PROG_TYPE_CGROUP_SKB, 0},
	{"cgroup_skb/egress", BPF_PROG_TYPE_CGROUP_SKB, BPF_CGROUP_INET_EGRESS},
	{"cgroup_sock", BPF_PROG_TYPE_CGROUP_SOCK, BPF_CGROUP_INET4_POST_BIND},
	{"lwt_in", BPF_PROG_TYPE_LWT_IN, 0},
	{"sock_ops", BPF_PROG_TYPE_SOCK_OPS, 0},
	{"sk_skb", BPF_PROG_TYPE_SK_SKB, 0},
	{"sk_skb/verdict", BPF_PROG_TYPE_SK_SKB, BPF_SK_SKB_VERDICT},
	{"cgroup_device", BPF_PROG_TYPE_CGROUP_DEVICE, 0},
	{"sk_msg", BPF_PROG_TYPE_SK_MSG, BPF_SK_MSG_VERDICT},
	{"raw_tracepoint", BPF_PROG_TYPE_RAW_TRACEPOINT, 0},
	{"raw_tracepoint.w", BPF_PROG_TYPE_RAW_TRACEPOINT_WRITABLE, 0},
	{"cgroup_sock_addr", BPF_PROG_TYPE_CGROUP_SOCK_ADDR, BPF_CGROUP_UDP4_SENDMSG},
	{"sk_reuseport", BPF_PROG_TYPE_SK_REUSEPORT, 0},
	{"flow_dissector", BPF_PROG_TYPE_FLOW_DISSECTOR, 0},
	{"cgroup_sysctl", BPF_PROG_TYPE_CGROUP_SYSCTL, 0},
	{"cgroup_sockopt", BPF_PROG_TYPE_CGROUP_SOCKOPT, BPF_CGROUP_GETSOCKOPT},
	{"sk_lookup", BPF_PROG_TYPE_SK_LOOKUP, BPF_SK_LOOKUP},
	{"syscall", BPF_PROG_TYPE_SYSCALL, 0},
	{"netfilter", BPF_PROG_TYPE_NETFILTER, BPF_NETFILTER},
	{"iter", BPF_PROG_TYPE_TRACING, BPF_TRACE_ITER},
};
#define KINDS (sizeof(kinds) / sizeof(*kinds))

static long load(int w, const struct kind *k)
{
	/* An iterator that returned 1 would be called again. */
	const struct bpf_insn insns[] = {
		{.code = BPF_ALU64 | BPF_MOV | BPF_K, .imm = k->type != BPF_PROG_TYPE_TRACING},
		{.code = BPF_JMP | BPF_EXIT}};

	return CALL(w, BPF_PROG_LOAD, a_.prog_type = k->type, a_.expected_attach_type = k->attach,
		    a_.insns = (uintptr_t)insns, a_.insn_cnt = 2, a_.license = (uintptr_t) "GPL",
		    a_.attach_btf_id = side_target(sides[w], k->type),
		    a_.prog_flags = k->type == BPF_PROG_TYPE_SYSCALL ? BPF_F_SLEEPABLE : 0);
}

/* ---- Targets ---- */

enum { ZERO, CLOSED, NEGATIVE, NUL, CGROUP, NETNS, SOCKMAP, ARRAY, PERF, LO, NO_IF, PROG, TARGETS };
static const char *const target_names[] = {"0",          "closed", "-1",           "/dev/null",
					   "cgroup",     "netns",  "sockmap",      "array",
					   "perf event", "lo",     "no interface", "program"};
static int targets[2][TARGETS];

static int open_perf(void)
{
	struct perf_event_attr attr = {.type = PERF_TYPE_SOFTWARE,
				       .size = sizeof(attr),
				       .config = PERF_COUNT_SW_CPU_CLOCK,
				       .disabled = 1};

	return (int)syscall(SYS_perf_event_open, &attr, 0, -1, -1, PERF_FLAG_FD_CLOEXEC);
}

static int setup(void **state)
{
	if (!kernel_there() || unshare(CLONE_NEWNET) || system("ip link set lo up"))
		return 0;
	assert_int_equal(skep_open(&ours.skep, NULL), 0);
	snprintf(cgroup_dir, sizeof(cgroup_dir), "/sys/fs/cgroup/unified/skep-link-%d", getpid());
	if (mkdir(cgroup_dir, 0755)) {
		snprintf(cgroup_dir, sizeof(cgroup_dir), "/sys/fs/cgroup/skep-link-%d", getpid());
		if (mkdir(cgroup_dir, 0755))
			cgroup_dir[0] = 0;
	}
	const int shared[TARGETS] = {
		[CLOSED] = 999,
		[NEGATIVE] = -1,
		[NUL] = open("/dev/null", O_RDONLY | O_CLOEXEC),
		[CGROUP] = open(cgroup_dir[0] ? cgroup_dir : "/", O_RDONLY | O_CLOEXEC),
		[NETNS] = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC),
		[PERF] = open_perf(),
		[LO] = (int)if_nametoindex("lo"),
		[NO_IF] = 9999,
	};
	static const struct kind xdp = {"xdp", BPF_PROG_TYPE_XDP, 0};
	for (int w = 0; w < 2; w++) {
		memcpy(targets[w], shared, sizeof(shared));
		targets[w][SOCKMAP] = side_map(sides[w], BPF_MAP_TYPE_SOCKMAP, 4, 4, 1);
		targets[w][ARRAY] = side_map(sides[w], BPF_MAP_TYPE_ARRAY, 4, 4, 1);
		targets[w][PROG] = (int)load(w, &xdp);
	}
	ready = true;
	return 0;
}

static int teardown(void **state)
{
	if (cgroup_dir[0])
		rmdir(cgroup_dir);
	skep_close(ours.skep);
	return 0;
}

static void need(void)
{
	if (ready)
		return;
	print_message("skipped: root, bpf(2) and ip are needed\n");
	skip();
}

/* ---- Creating ---- */

/* Where the kernel has a place (or would, but for the revision) and an instance has none, the answer
 * is that for a wrong target. */
static bool lacking(int t, long theirs, long answer)
{
	static const int errors[TARGETS] = {
		[CGROUP] = -EBADF, [PERF] = -EBADF,         [NETNS] = -EINVAL,
		[LO] = -EINVAL,    [SOCKMAP] = -EOPNOTSUPP,
	};

	if (t == LO || t == PERF ||
	    t == CGROUP) /* whatever the kernel finds wrong with what is there */
		return answer == errors[t] || (t == LO && answer == -ENODEV);
	return (!theirs || theirs == -ESTALE) && answer && answer == errors[t];
}

/* The fields behind the flags, filled with nothing or with something. */
static void more(union bpf_attr *a, int how)
{
	if (how == 1)
		a->link_create.perf_event.bpf_cookie = 77; /* or iter_info, target_btf_id ... */
	if (how == 2)
		a->link_create.tcx.expected_revision = 1;
}

static void test_create(void **state)
{
	static const uint32_t flags[] = {0, 1, 2, 1u << 3, 1u << 5, 1u << 13, 1u << 31};
	unsigned n = 0, made = 0, none = 0, wrong = 0;

	need();
	for (size_t k = 0; k < KINDS; k++) {
		long prog[2] = {load(0, &kinds[k]), load(1, &kinds[k])};

		if (prog[0] < 0 || prog[1] < 0)
			fail_msg("%s: kernel %ld, skep %ld", kinds[k].name, prog[0], prog[1]);
		for (uint32_t type = 0; type < 62; type++)
			for (int t = 0; t < TARGETS; t++)
				for (size_t f = 0; f < 7; f++)
					for (int how = 0; how < 3; how++) {
						long r[2];
						for (int w = 0; w < 2; w++) {
							union bpf_attr a;
							memset(&a, 0, sizeof(a));
							a.link_create.prog_fd = (uint32_t)prog[w];
							a.link_create.target_fd =
								(uint32_t)targets[w][t];
							a.link_create.attach_type = type;
							a.link_create.flags = flags[f];
							more(&a, how);
							r[w] = side_bpf(sides[w], BPF_LINK_CREATE,
									&a);
							if (r[w] >= 0) {
								close((int)r[w]);
								r[w] = 0;
							}
						}
						n++;
						made += !r[1];
						if (r[0] == r[1])
							continue;
						if (lacking(t, r[0], r[1])) {
							none++;
							continue;
						}
						if (wrong++ < 40)
							print_error("%s, type %u, %s, flags %x, "
								    "%d: kernel %ld, skep %ld\n",
								    kinds[k].name, type,
								    target_names[t], flags[f], how,
								    r[0], r[1]);
					}
		close((int)prog[0]);
		close((int)prog[1]);
	}
	print_message(
		"%u calls, %u made by both, %u by the kernel alone or otherwise refused there\n", n,
		made, none);
	assert_int_equal(wrong, 0);
	print_message("ran: link_create %u\n", n);
}

/* ---- What belongs to one kind of link ---- */

static unsigned compared, without;

static void same(const char *what, long theirs, long answer, long instead)
{
	compared++;
	if (theirs == answer)
		return;
	if (instead && answer == instead) {
		without++;
		return;
	}
	fail_msg("%s: kernel %ld, skep %ld", what, theirs, answer);
}

static long create(int w, long prog, uint32_t type, const union bpf_attr *like)
{
	union bpf_attr a = *like;

	a.link_create.prog_fd = (uint32_t)prog;
	a.link_create.attach_type = type;
	long r = side_bpf(sides[w], BPF_LINK_CREATE, &a);
	if (r < 0)
		return r;
	close((int)r);
	return 0;
}

static long load_named(int w, const char *name)
{
	for (size_t k = 0; k < KINDS; k++)
		if (!strcmp(kinds[k].name, name))
			return load(w, &kinds[k]);
	return -ENOENT;
}

static void test_arguments(void **state)
{
	static const uint32_t pf[] = {0, 1, 2, 7, 10, 12}, hooks[] = {0, 4, 5, 1u << 31};
	static const char *const paths[] = {NULL, (const char *)8, "/no/such/file"};
	static const uint32_t counts[] = {0, 1, 1u << 20, (1u << 20) + 1};
	static const int pids[] = {0, -1};
	uint64_t offsets[2] = {0};
	char what[96];

	need();
	compared = without = 0;
	long nf[2] = {load_named(0, "netfilter"), load_named(1, "netfilter")};
	long up[2] = {load_named(0, "uprobe.multi"), load_named(1, "uprobe.multi")};
	for (unsigned i = 0; i < 6 * 4 * 3; i++) {
		union bpf_attr a = {0};
		a.link_create.netfilter.pf = pf[i % 6];
		a.link_create.netfilter.hooknum = hooks[i / 6 % 4];
		a.link_create.netfilter.flags = i / 24;
		a.link_create.netfilter.priority = 5;
		snprintf(what, sizeof(what), "netfilter %u", i);
		/* A family and a hook that are there are the kernel's. */
		same(what, create(0, nf[0], BPF_NETFILTER, &a), create(1, nf[1], BPF_NETFILTER, &a),
		     -EAFNOSUPPORT);
	}
	for (unsigned i = 0; i < 3 * 2 * 4 * 2 * 3; i++) {
		union bpf_attr a = {0};
		a.link_create.uprobe_multi.path = (uintptr_t)paths[i % 3];
		a.link_create.uprobe_multi.offsets = i / 3 % 2 ? (uintptr_t)offsets : 0;
		a.link_create.uprobe_multi.cnt = counts[i / 6 % 4];
		a.link_create.uprobe_multi.pid = (uint32_t)pids[i / 24 % 2];
		a.link_create.uprobe_multi.flags = i / 48;
		snprintf(what, sizeof(what), "uprobe %u", i);
		same(what, create(0, up[0], BPF_TRACE_UPROBE_MULTI, &a),
		     create(1, up[1], BPF_TRACE_UPROBE_MULTI, &a), -EOPNOTSUPP);
	}
	for (int w = 0; w < 2; w++) {
		close((int)nf[w]);
		close((int)up[w]);
	}
	/* Structures of functions: a map of another kind. */
	for (int t = 0; t < TARGETS; t++)
		for (uint32_t flags = 0; flags < 3; flags++) {
			long r[2];
			for (int w = 0; w < 2; w++)
				r[w] = CALL(w, BPF_LINK_CREATE,
					    a_.link_create.map_fd = (uint32_t)targets[w][t],
					    a_.link_create.attach_type = BPF_STRUCT_OPS,
					    a_.link_create.flags = flags);
			same("struct_ops", r[0], r[1], 0);
		}
	print_message("%u calls, %u that only the kernel can do\nran: link_arguments %u\n",
		      compared, without, compared);
}

static void test_raw_tracepoints(void **state)
{
	static const char *const names[] = {NULL, "", "no_such_point", (const char *)8};

	need();
	compared = without = 0;
	for (size_t k = 0; k < KINDS; k++) {
		/* This kernel refuses all of tracing here (EPERM), whatever the arguments. */
		if (kinds[k].type == BPF_PROG_TYPE_TRACING)
			continue;
		long prog[2] = {load(0, &kinds[k]), load(1, &kinds[k])};
		for (int i = 0; i < 8; i++) {
			long r[2];
			for (int w = 0; w < 2; w++)
				r[w] = CALL(w, BPF_RAW_TRACEPOINT_OPEN,
					    a_.raw_tracepoint.prog_fd = (uint32_t)prog[w],
					    a_.raw_tracepoint.name = (uintptr_t)names[i % 4],
					    a_.raw_tracepoint.cookie = i / 4 ? 7 : 0);
			same(kinds[k].name, r[0], r[1], 0);
		}
		close((int)prog[0]);
		close((int)prog[1]);
	}
	print_message("ran: link_raw_tracepoints %u\n", compared);
}

/* An iterator's link, which both have. */
static void test_update(void **state)
{
	enum { LINK, GONE, ITER, XDP, MAP, FDS };
	int fds[2][FDS];

	need();
	compared = without = 0;
	for (int w = 0; w < 2; w++) {
		long iter = load_named(w, "iter");
		fds[w][GONE] = 999;
		fds[w][ITER] = (int)iter;
		fds[w][XDP] = targets[w][PROG];
		fds[w][MAP] = targets[w][ARRAY];
		fds[w][LINK] =
			(int)CALL(w, BPF_LINK_CREATE, a_.link_create.prog_fd = (uint32_t)iter,
				  a_.link_create.attach_type = BPF_TRACE_ITER);
		assert_true(fds[w][LINK] >= 0);
	}
	for (unsigned i = 0; i < FDS * FDS * (FDS + 1) * 4; i++) {
		unsigned link = i % FDS, next = i / FDS % FDS, old = i / FDS / FDS % (FDS + 1);
		long r[2];
		char what[64];
		for (int w = 0; w < 2; w++)
			r[w] = CALL(
				w, BPF_LINK_UPDATE, a_.link_update.link_fd = (uint32_t)fds[w][link],
				a_.link_update.new_prog_fd = (uint32_t)fds[w][next],
				a_.link_update.old_prog_fd = old == FDS ? 0 : (uint32_t)fds[w][old],
				a_.link_update.flags = i / FDS / FDS / (FDS + 1) * 2);
		snprintf(what, sizeof(what), "update %u", i);
		same(what, r[0], r[1], 0);
	}
	for (int f = 0; f < FDS; f++)
		for (uint32_t flags = 0; flags < 2; flags++) {
			long r[2];
			same("detach",
			     CALL(0, BPF_LINK_DETACH, a_.link_detach.link_fd = (uint32_t)fds[0][f]),
			     CALL(1, BPF_LINK_DETACH, a_.link_detach.link_fd = (uint32_t)fds[1][f]),
			     0);
			for (int w = 0; w < 2; w++) {
				r[w] = CALL(w, BPF_ITER_CREATE,
					    a_.iter_create.link_fd = (uint32_t)fds[w][f],
					    a_.iter_create.flags = flags);
				if (r[w] >= 0) {
					close((int)r[w]);
					r[w] = 0;
				}
			}
			same("iterator", r[0], r[1], 0);
		}
	for (int w = 0; w < 2; w++) {
		close(fds[w][LINK]);
		close(fds[w][ITER]);
	}
	print_message("ran: link_update %u\n", compared);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_create),
		cmocka_unit_test(test_arguments),
		cmocka_unit_test(test_raw_tracepoints),
		cmocka_unit_test(test_update),
	};
	return cmocka_run_group_tests(tests, setup, teardown);
}
