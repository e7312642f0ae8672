// SPDX-License-Identifier: Apache-2.0
/* Programs on the wire between two live interfaces. */
#include <arpa/inet.h>
#include <errno.h>
#include <net/if.h>
#include <netinet/in.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <unistd.h>

#include <cmocka.h>

#include "bpf/uapi.h"
#include "net_live.h"
#include "scale.h"

static int load_fd(uint32_t type, uint32_t attach, const struct bpf_insn *insns, uint32_t n)
{
	static char log[65536];
	union bpf_attr attr = {.prog_type = type,
			       .expected_attach_type = attach,
			       .insns = (uintptr_t)insns,
			       .insn_cnt = n,
			       .license = (uintptr_t) "GPL",
			       .log_level = 1,
			       .log_buf = (uintptr_t)log,
			       .log_size = sizeof(log)};
	long fd = skep_bpf(skep, BPF_PROG_LOAD, &attr, sizeof(attr));

	if (fd < 0)
		fail_msg("%ld: %s", fd, log);
	return (int)fd;
}

static struct skep_runner *load(uint32_t type, const struct bpf_insn *insns, uint32_t n)
{
	int fd = load_fd(type, 0, insns, n);
	struct skep_runner *runner;

	assert_int_equal(skep_runner_open(&runner, skep, fd), 0);
	close(fd);
	return runner;
}

/* IPv4 packets of a protocol get `verdict`, others pass. */
static struct skep_runner *by_protocol(uint8_t proto, int verdict)
{
	struct bpf_insn prog[] = {
		INSN(BPF_LDX | BPF_MEM | BPF_W, 2, 1, 0, 0),
		INSN(BPF_LDX | BPF_MEM | BPF_W, 3, 1, 4, 0),
		INSN(BPF_ALU64 | BPF_MOV | BPF_X, 4, 2, 0, 0),
		INSN(BPF_ALU64 | BPF_ADD | BPF_K, 4, 0, 0, 34),
		INSN(BPF_JMP | BPF_JGT | BPF_X, 4, 3, 5, 0),
		INSN(BPF_LDX | BPF_MEM | BPF_H, 5, 2, 12, 0),
		INSN(BPF_JMP | BPF_JNE | BPF_K, 5, 0, 3, htons(0x0800)),
		INSN(BPF_LDX | BPF_MEM | BPF_B, 5, 2, 23, 0),
		INSN(BPF_JMP | BPF_JNE | BPF_K, 5, 0, 1, proto),
		INSN(BPF_JMP | BPF_JA, 0, 0, 2, 0),
		RETURN(XDP_PASS),
		RETURN(verdict),
	};

	return load(BPF_PROG_TYPE_XDP, prog, sizeof(prog) / sizeof(prog[0]));
}
/* What is dropped is gone, and nothing else is. */
static void test_drop(void **state)
{
	struct order o = to_server(DO_PING, "10.9.0.2");
	struct skep_runner *runner;
	struct live l;

	NEED_NAMESPACES();
	runner = by_protocol(IPPROTO_ICMP, XDP_DROP);
	start_program(&l, runner, BPF_PROG_TYPE_XDP);
	o.size = 64;
	o.count = 2;
	assert_int_equal(do_now(&client, &o), 0);
	tcp_both_ways("10.9.0.2", 10000000);
	stop_wire(&l);
	assert_int_equal(l.stats.dropped, 2);
	assert_true(l.stats.passed > 1000);
	skep_runner_close(runner);
}

static void test_tx(void **state)
{
	struct order o = to_server(DO_PING, "10.9.0.2");
	struct skep_runner *runner;
	struct live l;

	NEED_NAMESPACES();
	runner = by_protocol(IPPROTO_ICMP, XDP_TX);
	start_program(&l, runner, BPF_PROG_TYPE_XDP);
	o.size = 64;
	o.count = 2;
	/* The requests come back as they are, which are no replies. */
	assert_int_equal(do_now(&client, &o), 0);
	stop_wire(&l);
	assert_int_equal(l.stats.returned, 2);
	assert_true(l.stats.a.tx_frames >= 2);
	skep_runner_close(runner);
}

static void test_redirect(void **state)
{
	union bpf_attr attr = {
		.map_type = BPF_MAP_TYPE_DEVMAP, .key_size = 4, .value_size = 4, .max_entries = 4};
	struct order o = to_server(DO_PING, "10.9.0.2");
	uint32_t key = 2, ifindex;
	struct skep_runner *runner;
	struct live l;
	long map;

	NEED_NAMESPACES();
	map = skep_bpf(skep, BPF_MAP_CREATE, &attr, sizeof(attr));
	assert_true(map >= 0);
	struct bpf_insn prog[] = {
		INSN(BPF_LD | BPF_DW | BPF_IMM, 1, BPF_PSEUDO_MAP_FD, 0, (int)map),
		INSN(0, 0, 0, 0, 0),
		INSN(BPF_ALU64 | BPF_MOV | BPF_K, 2, 0, 0, 2),
		INSN(BPF_ALU64 | BPF_MOV | BPF_K, 3, 0, 0, 0),
		INSN(BPF_JMP | BPF_CALL, 0, 0, 0, BPF_FUNC_redirect_map),
		INSN(BPF_JMP | BPF_EXIT, 0, 0, 0, 0),
	};

	ifindex = if_nametoindex("wb");
	attr = (union bpf_attr){
		.map_fd = (uint32_t)map, .key = (uintptr_t)&key, .value = (uintptr_t)&ifindex};
	assert_int_equal(skep_bpf(skep, BPF_MAP_UPDATE_ELEM, &attr, sizeof(attr)), 0);
	runner = load(BPF_PROG_TYPE_XDP, prog, sizeof(prog) / sizeof(prog[0]));
	start_program(&l, runner, BPF_PROG_TYPE_XDP);
	o.size = 64;
	o.count = 5;
	assert_in_range(do_now(&client, &o), 4, 5);
	stop_wire(&l);
	assert_true(l.stats.redirected >= 5);
	assert_int_equal(l.stats.passed + l.stats.lost_redirects, 0);
	skep_runner_close(runner);
	close((int)map);
}

/* To all that the map holds but where it came from. */
static void test_broadcast(void **state)
{
	union bpf_attr attr = {
		.map_type = BPF_MAP_TYPE_DEVMAP, .key_size = 4, .value_size = 4, .max_entries = 4};
	struct bpf_insn prog[] = {
		INSN(BPF_LD | BPF_DW | BPF_IMM, 1, BPF_PSEUDO_MAP_FD, 0, 0),
		INSN(0, 0, 0, 0, 0),
		INSN(BPF_ALU64 | BPF_MOV | BPF_K, 2, 0, 0, 0),
		INSN(BPF_ALU64 | BPF_MOV | BPF_K, 3, 0, 0, BPF_F_BROADCAST),
		INSN(BPF_JMP | BPF_CALL, 0, 0, 0, BPF_FUNC_redirect_map),
		INSN(BPF_JMP | BPF_EXIT, 0, 0, 0, 0),
	};
	struct order o = to_server(DO_PING, "10.9.0.2");
	uint32_t ifindex[] = {if_nametoindex("wa"), if_nametoindex("wb")};
	struct skep_runner *runner;
	struct live l;
	long map;

	NEED_NAMESPACES();
	map = skep_bpf(skep, BPF_MAP_CREATE, &attr, sizeof(attr));
	assert_true(map >= 0);
	prog[0].imm = (int)map;
	for (uint32_t key = 0; key < 2; key++) {
		attr = (union bpf_attr){.map_fd = (uint32_t)map,
					.key = (uintptr_t)&key,
					.value = (uintptr_t)&ifindex[key]};
		assert_int_equal(skep_bpf(skep, BPF_MAP_UPDATE_ELEM, &attr, sizeof(attr)), 0);
	}
	for (int exclude = 0; exclude < 2; exclude++) {
		prog[3].imm = BPF_F_BROADCAST | (exclude ? BPF_F_EXCLUDE_INGRESS : 0);
		runner = load(BPF_PROG_TYPE_XDP, prog, sizeof(prog) / sizeof(prog[0]));
		start_program(&l, runner, BPF_PROG_TYPE_XDP);
		o.size = 64;
		o.count = 5;
		assert_in_range(do_now(&client, &o), 4, 5);
		stop_wire(&l);
		assert_true(l.stats.redirected >= 5);
		/* What the server answers goes out of A; so do the copies, unless excluded. */
		if (exclude)
			assert_int_equal(l.stats.a.tx_frames, l.stats.backwards);
		else
			assert_true(l.stats.a.tx_frames >= l.stats.backwards + 5);
		skep_runner_close(runner);
	}
	close((int)map);
}

/* The map's element holds a program, which drops what is addressed to the server. */
static void test_devmap_program(void **state)
{
	struct bpf_insn drop[] = {
		INSN(BPF_LDX | BPF_MEM | BPF_W, 0, 1, 20, 0), /* egress_ifindex */
		INSN(BPF_JMP | BPF_JEQ | BPF_K, 0, 0, 2, (int)if_nametoindex("wb")),
		RETURN(XDP_PASS),
		RETURN(XDP_DROP),
	};
	union bpf_attr attr = {.map_type = BPF_MAP_TYPE_DEVMAP_HASH,
			       .key_size = 4,
			       .value_size = 8,
			       .max_entries = 4};
	uint32_t key = 77, value[2];
	struct bpf_insn prog[] = {
		INSN(BPF_LD | BPF_DW | BPF_IMM, 1, BPF_PSEUDO_MAP_FD, 0, 0),
		INSN(0, 0, 0, 0, 0),
		INSN(BPF_ALU64 | BPF_MOV | BPF_K, 2, 0, 0, 77),
		INSN(BPF_ALU64 | BPF_MOV | BPF_K, 3, 0, 0, 0),
		INSN(BPF_JMP | BPF_CALL, 0, 0, 0, BPF_FUNC_redirect_map),
		INSN(BPF_JMP | BPF_EXIT, 0, 0, 0, 0),
	};
	struct order o = to_server(DO_PING, "10.9.0.2");
	struct skep_runner *runner;
	struct live l;
	int plain;
	long map;

	NEED_NAMESPACES();
	map = skep_bpf(skep, BPF_MAP_CREATE, &attr, sizeof(attr));
	assert_true(map >= 0);
	prog[0].imm = (int)map;
	value[0] = if_nametoindex("wb");
	/* Only programs made for it. */
	plain = load_fd(BPF_PROG_TYPE_XDP, 0, drop + 2, 2);
	value[1] = (uint32_t)plain;
	attr = (union bpf_attr){
		.map_fd = (uint32_t)map, .key = (uintptr_t)&key, .value = (uintptr_t)value};
	assert_int_equal(skep_bpf(skep, BPF_MAP_UPDATE_ELEM, &attr, sizeof(attr)), -EINVAL);
	close(plain);
	value[1] = (uint32_t)load_fd(BPF_PROG_TYPE_XDP, BPF_XDP_DEVMAP, drop, 6);
	assert_int_equal(skep_bpf(skep, BPF_MAP_UPDATE_ELEM, &attr, sizeof(attr)), 0);
	close((int)value[1]);
	runner = load(BPF_PROG_TYPE_XDP, prog, sizeof(prog) / sizeof(prog[0]));
	start_program(&l, runner, BPF_PROG_TYPE_XDP);
	o.size = 64;
	o.count = 2;
	assert_int_equal(do_now(&client, &o), 0);
	stop_wire(&l);
	assert_true(l.stats.lost_redirects > 0);
	assert_int_equal(l.stats.redirected, 0);
	skep_runner_close(runner);
	close((int)map);
}

/* Passes what is tagged, and nothing else. */
static struct skep_runner *only_tagged(void)
{
	const struct bpf_insn insns[] = {
		INSN(BPF_LDX | BPF_MEM | BPF_W, 2, 1, 0, 0),
		INSN(BPF_LDX | BPF_MEM | BPF_W, 3, 1, 4, 0),
		INSN(BPF_ALU64 | BPF_MOV | BPF_X, 4, 2, 0, 0),
		INSN(BPF_ALU64 | BPF_ADD | BPF_K, 4, 0, 0, 16),
		INSN(BPF_JMP | BPF_JGT | BPF_X, 4, 3, 6, 0),
		INSN(BPF_LDX | BPF_MEM | BPF_H, 5, 2, 12, 0),
		INSN(BPF_JMP | BPF_JNE | BPF_K, 5, 0, 4, htons(0x8100)),
		INSN(BPF_LDX | BPF_MEM | BPF_H, 5, 2, 14, 0),
		INSN(BPF_JMP | BPF_JNE | BPF_K, 5, 0, 2, htons(TAG)),
		RETURN(XDP_PASS),
		RETURN(XDP_DROP),
	};

	return load(BPF_PROG_TYPE_XDP, insns, sizeof(insns) / sizeof(insns[0]));
}

/* TCP in tags, both ways: large frames are cut with their tag, their content stays. */
static void test_tagged_tcp(void **state)
{
	struct order c = {.what = DO_TAG, .text = "c0"}, s = {.what = DO_TAG, .text = "s0"};
	struct skep_runner *runner;
	struct live l;

	NEED_NAMESPACES();
	if (do_now(&client, &c) || do_now(&server, &s)) {
		c.what = s.what = DO_UNTAG;
		do_now(&client, &c);
		do_now(&server, &s);
		print_message("skipped: no bpf(2) with tcx here\n");
		skip();
	}
	runner = only_tagged();
	start_program(&l, runner, BPF_PROG_TYPE_XDP);
	tcp_both_ways("10.9.0.2", scaled(30000000));
	stop_wire(&l);
	skep_runner_close(runner);
	c.what = s.what = DO_UNTAG;
	assert_int_equal(do_now(&client, &c), 0);
	assert_int_equal(do_now(&server, &s), 0);
	assert_true(l.stats.a.rx_cut > 0 && l.stats.b.rx_cut > 0);
	assert_int_equal(l.stats.a.rx_bad + l.stats.b.rx_bad, 0);
	print_message("ran: net_tagged_tcp 1\n");
}

/* A tag that a tc program sets is in the frames that go out. */
static void test_push_tag(void **state)
{
	struct bpf_insn prog[] = {
		INSN(BPF_ALU64 | BPF_MOV | BPF_K, 2, 0, 0, htons(0x8100)),
		INSN(BPF_ALU64 | BPF_MOV | BPF_K, 3, 0, 0, 5),
		INSN(BPF_JMP | BPF_CALL, 0, 0, 0, BPF_FUNC_skb_vlan_push),
		RETURN(0),
	};
	struct order o = to_server(DO_UDP, "10.9.0.2"), sniffing = {.what = DO_SNIFF};
	struct skep_runner *runner;
	struct live l;

	NEED_NAMESPACES();
	assert_int_equal(
		config(&client, "ip neigh replace 10.9.0.2 lladdr 02:00:00:00:00:02 dev c0"), 0);
	runner = load(BPF_PROG_TYPE_SCHED_CLS, prog, sizeof(prog) / sizeof(prog[0]));
	start_program(&l, runner, BPF_PROG_TYPE_SCHED_CLS);
	tell(&server, &sniffing);
	usleep(200000);
	o.size = 1000;
	o.count = 10;
	assert_int_equal(do_now(&client, &o), 0);
	assert_int_equal(answer(&server, 10), 10);
	stop_wire(&l);
	skep_runner_close(runner);
	assert_int_equal(config(&client, "ip neigh del 10.9.0.2 dev c0"), 0);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_drop),           cmocka_unit_test(test_tx),
		cmocka_unit_test(test_redirect),       cmocka_unit_test(test_push_tag),
		cmocka_unit_test(test_devmap_program), cmocka_unit_test(test_broadcast),
		cmocka_unit_test(test_tagged_tcp),
	};

	return cmocka_run_group_tests(tests, net_setup, net_teardown);
}
