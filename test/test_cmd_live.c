/* SPDX-License-Identifier: Apache-2.0 */
/*
 * skep run on interfaces, on both runtimes, in a network namespace of the test's own: two veth pairs, far0-A
 * and B-far1. Frames go in at the far ends and are counted there.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <arpa/inet.h>
#include <cmocka.h>
#include <fcntl.h>
#include <linux/if_packet.h>
#include <net/ethernet.h>
#include <net/if.h>
#include <sched.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "cmd_cases.h"

#define UDP  17
#define TCP  6
#define MARK 0xa5 /* of our frames: the namespace may make some of its own */

static bool have_net;
static int ran;

static const char program[] =
	"#include <linux/bpf.h>\n#include <bpf/bpf_helpers.h>\n"
	"struct { __uint(type, BPF_MAP_TYPE_ARRAY); __type(key, __u32); __type(value, __u64);\n"
	"	__uint(max_entries, 256); } protos SEC(\".maps\");\n"
	"SEC(\"xdp\") int no_udp(struct xdp_md *ctx)\n"
	"{\n"
	"	unsigned char *p = (void *)(long)ctx->data;\n"
	"	__u32 proto; __u64 *n;\n"
	"	if (p + 50 > (unsigned char *)(long)ctx->data_end || p[49] != 0xa5)\n"
	"		return XDP_PASS;\n"
	"	proto = p[23];\n"
	"	n = bpf_map_lookup_elem(&protos, &proto);\n"
	"	if (n)\n"
	"		__sync_fetch_and_add(n, 1);\n"
	"	return proto == 17 ? XDP_DROP : proto == 1 ? XDP_TX : XDP_PASS;\n"
	"}\n"
	"char _license[] SEC(\"license\") = \"GPL\";\n";

static void write_file(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY);

	if (fd < 0)
		return;
	if (write(fd, text, strlen(text)) < 0)
		perror(path);
	close(fd);
}

static int setup(void **state)
{
	char map[64];
	uid_t uid = getuid();

	if (unshare(CLONE_NEWNET)) {
		if (unshare(CLONE_NEWUSER | CLONE_NEWNET))
			return 0;
		write_file("/proc/self/setgroups", "deny");
		snprintf(map, sizeof(map), "0 %u 1", uid);
		write_file("/proc/self/uid_map", map);
	}
	write_file("/proc/sys/net/ipv6/conf/default/disable_ipv6", "1");
	have_net = !system("ip link add A type veth peer name far0 && "
			   "ip link add B type veth peer name far1 && "
			   "for i in A B far0 far1; do ip link set $i up || exit 1; done");
	return 0;
}

static int open_port(const char *name)
{
	struct sockaddr_ll a = {.sll_family = AF_PACKET,
				.sll_protocol = htons(ETH_P_ALL),
				.sll_ifindex = (int)if_nametoindex(name)};
	struct timeval wait = {.tv_usec = 200000};
	int fd = socket(AF_PACKET, SOCK_RAW, htons(ETH_P_ALL));

	assert_true(fd >= 0);
	assert_int_equal(setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &wait, sizeof(wait)), 0);
	assert_int_equal(bind(fd, (struct sockaddr *)&a, sizeof(a)), 0);
	return fd;
}

static void send_frames(int fd, uint8_t proto, int n)
{
	uint8_t p[80] = {2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2, 8, 0, 0x45};

	p[17] = sizeof(p) - 14;
	p[22] = 64;
	p[23] = proto;
	p[49] = MARK;
	for (int i = 0; i < n; i++)
		assert_int_equal(send(fd, p, sizeof(p), 0), sizeof(p));
}

/* Frames of ours that came in, by protocol. */
static void count(int fd, int *protos)
{
	uint8_t p[2048];
	struct sockaddr_ll from;
	socklen_t len = sizeof(from);
	ssize_t n;

	memset(protos, 0, 256 * sizeof(*protos));
	while ((n = recvfrom(fd, p, sizeof(p), 0, (struct sockaddr *)&from, &len)) > 0) {
		if (n >= 60 && p[49] == MARK && from.sll_pkttype != PACKET_OUTGOING)
			protos[p[23]]++;
		len = sizeof(from);
	}
}

/* Sends at both ends from another process, once the command has had time to start. */
static pid_t sender(int far0, int far1)
{
	pid_t pid = fork();

	assert_true(pid >= 0);
	if (pid)
		return pid;
	usleep(1200000);
	send_frames(far0, TCP, 30);
	send_frames(far0, UDP, 50);
	send_frames(far0, 1, 5);
	send_frames(far1, UDP, 10);
	_exit(0);
}

static const struct json_value *run(const char *prog, const char *options, const char *runtime)
{
	char words[256];
	const struct cmd_result *r;

	snprintf(words, sizeof(words), "run %%s --iface A %s --json --runtime %s", options,
		 runtime);
	r = skep_cmd(words, prog);
	if (r->status)
		fail_msg("%s: status %d: %s", words, r->status, r->err);
	return json_parse(r->out);
}

static void test_bridge(void **state)
{
	const char *prog = cmd_text("live.bpf.c", program);
	int at0[256], at1[256];

	if (!have_net)
		skip();
	for (int i = 0; i < 2; i++) {
		const struct json_value *v;
		int far0, far1;
		pid_t pid;

		if (i && !cmd_kernel())
			continue;
		/* In the cache already when time counts. */
		assert_int_equal(skep_cmd("check %s", prog)->status, 0);
		far0 = open_port("far0");
		far1 = open_port("far1");
		pid = sender(far0, far1);
		v = run(prog, "--bridge B --for 2500ms", runtimes[i]);
		assert_int_equal(waitpid(pid, NULL, 0), pid);
		count(far0, at0);
		count(far1, at1);
		assert_int_equal(at1[TCP], 30);
		assert_int_equal(at1[UDP], 0);
		assert_int_equal(at1[1], 0);
		/* XDP_TX goes back, and the way back is open to all. */
		assert_int_equal(at0[1], 5);
		assert_int_equal(at0[UDP], 10);
		assert_int_equal(json_number(v, "verdicts.XDP_DROP"), 50);
		assert_int_equal(json_number(v, "verdicts.XDP_TX"), 5);
		assert_true(json_number(v, "verdicts.XDP_PASS") >= 30);
		assert_int_equal(json_number(v, "dropped"), 50);
		assert_int_equal(json_number(v, "sent_back"), 5);
		assert_int_equal(json_number(v, "maps.protos.6.value"), 30);
		assert_int_equal(json_number(v, "maps.protos.17.value"), 50);
		close(far0);
		close(far1);
		ran++;
	}
}

/* Watching holds nothing back and sends nothing. */
static void test_watch(void **state)
{
	const char *prog = cmd_text("live.bpf.c", program);
	const struct json_value *v;
	int at0[256], far0, far1;
	pid_t pid;

	if (!have_net)
		skip();
	assert_int_equal(skep_cmd("check %s", prog)->status, 0);
	far0 = open_port("far0");
	far1 = open_port("far1");
	pid = sender(far0, far1);
	v = run(prog, "--for 2s", "user");
	assert_int_equal(waitpid(pid, NULL, 0), pid);
	count(far0, at0);
	assert_int_equal(at0[1], 0);
	assert_int_equal(json_number(v, "verdicts.XDP_DROP"), 50);
	assert_int_equal(json_number(v, "verdicts.XDP_TX"), 5);
	close(far0);
	close(far1);
	ran++;
}

/* Ctrl-C ends a run in order: the results are shown. */
static void test_interrupt(void **state)
{
	const char *prog = cmd_text("live.bpf.c", program);
	pid_t parent = getpid(), pid;
	const struct cmd_result *r;

	if (!have_net)
		skip();
	for (int i = 0; i < 2; i++) {
		char find[64];

		if (i && !cmd_kernel())
			continue;
		pid = fork();
		assert_true(pid >= 0);
		if (!pid) {
			FILE *f;
			int child = 0;

			usleep(2500000);
			/* The test's children but this one: the command. */
			snprintf(find, sizeof(find), "/proc/%d/task/%d/children", parent, parent);
			f = fopen(find, "r");
			while (f && fscanf(f, "%d", &child) == 1)
				if (child != getpid())
					kill(child, SIGINT);
			_exit(0);
		}
		r = skep_cmd("run %s --iface A --bridge B --runtime %s", prog, runtimes[i]);
		assert_int_equal(r->status, 0);
		assert_non_null(strstr(r->out, "no_udp (xdp) on"));
		assert_non_null(strstr(r->err, "In the wire between A and B"));
		assert_non_null(strstr(r->err, "packets/s in"));
		assert_int_equal(waitpid(pid, NULL, 0), pid);
		ran++;
	}
}

static void test_refusals(void **state)
{
	const char *prog = cmd_text("live.bpf.c", program);
	static const struct {
		const char *words;
		int status;
		const char *says;
	} cases[] = {
		{"run %s --iface nix", 1, "nix"},
		{"run %s --iface A --bridge nix", 1, "nix"},
		{"run %s --iface A --bridge A", 1, "same interface"},
		{"run %s --iface A --capture x", 2, "not both"},
		{"run %s --capture x --bridge A", 2, "--bridge goes with --iface"},
		{"run %s --capture x --for 1s", 2, "--for goes with --iface"},
		{"run %s --iface A --write x", 2, "--write goes with --capture"},
		{"run %s --iface A --repeat 2", 2, "--repeat goes with --capture"},
		{"run %s --iface A --for soon", 2, "--for wants a time"},
		{"run %s --iface A --for 0s", 2, "--for wants a time"},
	};

	if (!have_net)
		skip();
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		const struct cmd_result *r = skep_cmd(cases[i].words, prog);

		if (r->status != cases[i].status || !strstr(r->err, cases[i].says))
			fail_msg("%s: status %d: %s", cases[i].words, r->status, r->err);
	}
	assert_int_equal(system("ip addr add 10.99.0.1/24 dev A"), 0);
	for (int i = 0; i < 2; i++) {
		const struct cmd_result *r;

		if (i && !cmd_kernel())
			continue;
		r = skep_cmd("run %s --iface A --bridge B --for 1s --runtime %s", prog,
			     runtimes[i]);
		assert_int_equal(r->status, 1);
		assert_non_null(strstr(r->err, "10.99.0.1"));
	}
	assert_int_equal(system("ip addr flush dev A"), 0);
}

static int finish(void **state)
{
	if (!have_net)
		printf("skipped: no network namespace can be made here\n");
	return cmd_finish("cmd_live", ran);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_bridge),
		cmocka_unit_test(test_watch),
		cmocka_unit_test(test_interrupt),
		cmocka_unit_test(test_refusals),
	};

	return cmocka_run_group_tests_name("cmd_live", tests, setup, finish);
}
