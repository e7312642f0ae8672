// SPDX-License-Identifier: Apache-2.0
/* The wire between two live interfaces: every frame, whole. */
#include <arpa/inet.h>
#include <errno.h>
#include <net/if.h>
#include <netinet/in.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "net/frame.h"
#include "net/port.h"
#include "net_live.h"
#include "scale.h"

static void test_nothing_without_wire(void **state)
{
	struct order o = to_server(DO_PING, "10.9.0.2");

	NEED_NAMESPACES();
	o.size = 64;
	o.count = 1;
	assert_int_equal(do_now(&client, &o), 0);
}

static void test_ping(void **state)
{
	struct order o = to_server(DO_PING, "10.9.0.2");
	uint64_t at;
	struct live l;

	NEED_NAMESPACES();
	start_wire(&l, true);
	o.size = 64;
	o.count = 20;
	assert_in_range(do_now(&client, &o), 19, 20); /* the first may wait for ARP */
	at = now_ns();
	assert_int_equal(do_now(&client, &o), 20);
	print_message("round trip: %.2f ms\n", (double)(now_ns() - at) / 20e6);
	o.size = 1480;
	assert_int_equal(do_now(&client, &o), 20);
	o.size = 20000; /* IP fragments */
	assert_int_equal(do_now(&client, &o), 20);
	stop_wire(&l);
	assert_true(l.stats.passed >= 59 + 20 * 14 && l.stats.backwards >= 59 + 20 * 14);
	assert_int_equal(l.stats.a.rx_bad + l.stats.b.rx_bad, 0);
}

static void test_tcp(void **state)
{
	struct order o = {.what = DO_OFFLOADS, .text = "c0"};
	struct live l;

	NEED_NAMESPACES();
	start_wire(&l, true);
	tcp_both_ways("10.9.0.2", scaled(100000000));
	stop_wire(&l);
	/* Segmentation was left to the hardware, and still is. */
	assert_int_equal(do_now(&client, &o), 1);
	assert_int_equal(offloads("wa"), 1);
	assert_true(l.stats.a.rx_cut > 0 && l.stats.b.rx_cut > 0);
	assert_int_equal(l.stats.a.rx_bad + l.stats.b.rx_bad, 0);
	print_message("frames %llu and %llu, cut %llu and %llu, lost %llu\n",
		      (unsigned long long)l.stats.a.rx_frames,
		      (unsigned long long)l.stats.b.rx_frames, (unsigned long long)l.stats.a.rx_cut,
		      (unsigned long long)l.stats.b.rx_cut,
		      (unsigned long long)(l.stats.a.rx_lost + l.stats.b.rx_lost));
}

static void test_tcp6(void **state)
{
	struct live l;

	NEED_NAMESPACES();
	if (config(&client, "ip addr add fd09::1/64 dev c0 nodad 2>/dev/null") ||
	    config(&server, "ip addr add fd09::2/64 dev s0 nodad")) {
		print_message("skipped: no IPv6 here\n");
		skip();
	}
	start_wire(&l, true);
	tcp_both_ways("fd09::2", scaled(50000000));
	stop_wire(&l);
	assert_true(l.stats.a.rx_cut > 0 && l.stats.b.rx_cut > 0);
	assert_int_equal(l.stats.a.rx_bad + l.stats.b.rx_bad, 0);
}

static void test_vlan(void **state)
{
	struct order o = to_server(DO_PING, "10.7.0.2");
	struct live l;

	NEED_NAMESPACES();
	if (config(&client, "ip link add link c0 name c0.7 type vlan id 7 2>/dev/null && "
			    "ip addr add 10.7.0.1/24 dev c0.7 && ip link set c0.7 up") ||
	    config(&server, "ip link add link s0 name s0.7 type vlan id 7 && "
			    "ip addr add 10.7.0.2/24 dev s0.7 && ip link set s0.7 up")) {
		print_message("skipped: this kernel has no VLAN interfaces\n");
		skip();
	}
	start_wire(&l, true);
	o.size = 1000;
	o.count = 10;
	assert_in_range(do_now(&client, &o), 9, 10);
	tcp_both_ways("10.7.0.2", scaled(20000000));
	stop_wire(&l);
	assert_int_equal(l.stats.a.rx_bad + l.stats.b.rx_bad, 0);
}

static void set_mtu(unsigned mtu)
{
	assert_int_equal(sh("ip link set wa mtu %u && ip link set wb mtu %u", mtu, mtu), 0);
	assert_int_equal(config(&client, "ip link set c0 mtu %u", mtu), 0);
	assert_int_equal(config(&server, "ip link set s0 mtu %u", mtu), 0);
}

static void test_jumbo(void **state)
{
	struct order o = to_server(DO_PING, "10.9.0.2");
	struct live l;

	NEED_NAMESPACES();
	set_mtu(9000);
	start_wire(&l, true);
	o.size = 8980;
	o.count = 10;
	assert_in_range(do_now(&client, &o), 9, 10);
	tcp_both_ways("10.9.0.2", scaled(50000000));
	stop_wire(&l);
	assert_int_equal(l.stats.a.rx_bad + l.stats.b.rx_bad, 0);
	set_mtu(1500);
}

/* A send of many datagrams arrives as many, each with its bytes. */
static void test_udp_segments(void **state)
{
	struct order o = to_server(DO_UDP, "10.9.0.2");
	struct skep_packet p[SKEP_PORT_BATCH];
	struct skep_port *port;
	char why[256];
	uint32_t seen = 0;

	NEED_NAMESPACES();
	assert_int_equal(skep_port_open(&port, "wa", why, sizeof(why)), 0);
	assert_int_equal(
		config(&client, "ip neigh replace 10.9.0.2 lladdr 02:00:00:00:00:02 dev c0"), 0);
	o.size = 1000;
	o.count = 40;
	assert_int_equal(do_now(&client, &o), 0);
	for (int i = 0; i < 100 && seen < 40; i++) {
		int n = skep_port_recv(port, p, SKEP_PORT_BATCH);

		for (int k = 0; k < n; k++) {
			const uint8_t *f = p[k].buf + p[k].off;
			uint8_t want[1000];
			uint64_t sum;

			if (p[k].len != 14 + 20 + 8 + 1000 || f[12] != 8 || f[13] || f[23] != 17)
				continue;
			for (size_t j = 0; j < 1000; j += 8) {
				uint8_t piece[8];

				fill(piece, 8, seen * 1000 + j, 4);
				memcpy(want + j, piece, 8);
			}
			assert_memory_equal(f + 42, want, 1000);
			assert_int_equal(skep_csum_fold(skep_csum_add(0, f + 14, 20)), 0);
			sum = skep_csum_add(htons(17) + htons(1008), f + 26, 8);
			assert_int_equal(skep_csum_fold(skep_csum_add(sum, f + 34, 1008)), 0);
			seen++;
		}
		if (!n)
			usleep(10000);
	}
	assert_int_equal(seen, 40);
	skep_port_close(port);
	assert_int_equal(config(&client, "ip neigh del 10.9.0.2 dev c0"), 0);
}

/* Tags, which the kernel takes out of a frame, are back; of each segment too. */
static void test_tags(void **state)
{
	struct order o = {.what = DO_TAGGED};
	struct skep_packet p[SKEP_PORT_BATCH];
	struct skep_port *port;
	char why[256];
	uint32_t small = 0, segments = 0;

	NEED_NAMESPACES();
	assert_int_equal(skep_port_open(&port, "wa", why, sizeof(why)), 0);
	o.size = 300;
	assert_int_equal(do_now(&client, &o), 0);
	o.size = 1400;
	o.count = 20;
	assert_int_equal(do_now(&client, &o), 0);
	for (int i = 0; i < 100 && segments < 20; i++) {
		int n = skep_port_recv(port, p, SKEP_PORT_BATCH);

		for (int k = 0; k < n; k++) {
			static const uint8_t tag[] = {0x81, 0, 0x60, 7, 8, 0};
			const uint8_t *f = p[k].buf + p[k].off;
			uint8_t want[1400];
			uint32_t seq;
			uint64_t sum;

			if (memcmp(f + 12, tag, sizeof(tag)))
				continue;
			fill(want, sizeof(want), segments * 1400, 5);
			if (p[k].len == 358) {
				assert_memory_equal(f + 58, want, 300);
				small++;
				continue;
			}
			assert_int_equal(p[k].len, 1458);
			assert_memory_equal(f + 58, want, 1400);
			memcpy(&seq, f + 42, 4);
			assert_int_equal(ntohl(seq), 256 + segments * 1400);
			/* PSH only on the last. */
			assert_int_equal(f[51], segments == 19 ? 0x18 : 0x10);
			assert_int_equal(skep_csum_fold(skep_csum_add(0, f + 18, 20)), 0);
			sum = skep_csum_add(htons(6) + htons(1420), f + 30, 8);
			assert_int_equal(skep_csum_fold(skep_csum_add(sum, f + 38, 1420)), 0);
			segments++;
		}
		if (!n)
			usleep(10000);
	}
	assert_int_equal(small, 1);
	assert_int_equal(segments, 20);
	skep_port_close(port);
}

/* An interface that takes next to nothing does not hold up the other direction or the end. */
static void test_full_interface(void **state)
{
	struct order o = to_server(DO_UDP, "10.9.0.2"), p = to_server(DO_PING, "10.9.0.1");
	struct live l;

	NEED_NAMESPACES();
	if (sh("tc qdisc add dev wb root tbf rate 64kbit burst 3000 limit 20000000 2>/dev/null")) {
		print_message("skipped: no tbf queueing discipline\n");
		skip();
	}
	assert_int_equal(
		config(&client, "ip neigh replace 10.9.0.2 lladdr 02:00:00:00:00:02 dev c0"), 0);
	start_wire(&l, true);
	o.size = 1400;
	o.count = 40;
	for (int i = 0; i < 150; i++)
		assert_int_equal(do_now(&client, &o), 0);
	/* Backwards: requests of the server reach the client. */
	p.size = 64;
	p.count = 1;
	tell(&server, &p);
	usleep(300000);
	stop_wire(&l);
	answer(&server, 10);
	print_message("to a slow interface: %llu sent, %llu lost\n",
		      (unsigned long long)l.stats.b.tx_frames,
		      (unsigned long long)l.stats.b.tx_lost);
	sh("tc qdisc del dev wb root");
	assert_int_equal(config(&client, "ip neigh del 10.9.0.2 dev c0"), 0);
	assert_true(l.stats.b.tx_lost > 0);
	assert_true(l.stats.backwards > 0);
}

static void test_watch(void **state)
{
	struct order o = to_server(DO_PING, "10.9.0.2");
	struct live l;

	NEED_NAMESPACES();
	start_wire(&l, false);
	o.size = 64;
	o.count = 2;
	assert_int_equal(do_now(&client, &o), 0);
	stop_wire(&l);
	assert_true(l.stats.passed > 0);
	assert_int_equal(l.stats.a.tx_frames, 0);
}

static void test_link_gone(void **state)
{
	struct live l;

	NEED_NAMESPACES();
	start_wire(&l, true);
	usleep(100000);
	assert_int_equal(sh("ip link set wb down"), 0);
	usleep(300000);
	__atomic_store_n(&l.stop, 1, __ATOMIC_RELAXED);
	pthread_join(l.thread, NULL);
	assert_int_equal(l.result, -ENETDOWN);
	skep_port_close(l.wire.a);
	skep_port_close(l.wire.b);
	assert_int_equal(sh("ip link set wb up"), 0);
}

static void test_refused(void **state)
{
	struct skep_port *port;
	char why[256];

	NEED_NAMESPACES();
	assert_int_equal(skep_port_check_free("wa", why, sizeof(why)), 0);
	assert_int_equal(skep_port_check_free("nosuch", why, sizeof(why)), -ENODEV);
	assert_int_equal(skep_port_open(&port, "nosuch", why, sizeof(why)), -ENODEV);
	assert_non_null(strstr(why, "nosuch"));
	assert_int_equal(sh("ip addr add 10.1.1.1/24 dev wa"), 0);
	assert_int_equal(skep_port_check_free("wa", why, sizeof(why)), -EBUSY);
	assert_non_null(strstr(why, "10.1.1.1"));
	assert_int_equal(sh("ip addr flush dev wa"), 0);
	if (!sh("ip link add br0 type bridge && ip link set wa master br0")) {
		assert_int_equal(skep_port_check_free("wa", why, sizeof(why)), -EBUSY);
		assert_non_null(strstr(why, "br0"));
		assert_int_equal(sh("ip link del br0"), 0);
	}
	if (!sh("sysctl -qw net.ipv4.conf.wa.forwarding=1 2>/dev/null")) {
		assert_int_equal(skep_port_check_free("wa", why, sizeof(why)), -EBUSY);
		assert_non_null(strstr(why, "forwards"));
		assert_int_equal(sh("sysctl -qw net.ipv4.conf.wa.forwarding=0"), 0);
	}
	assert_int_equal(skep_port_check_free("wa", why, sizeof(why)), 0);
}
int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_tags),           cmocka_unit_test(test_nothing_without_wire),
		cmocka_unit_test(test_ping),           cmocka_unit_test(test_tcp),
		cmocka_unit_test(test_tcp6),           cmocka_unit_test(test_vlan),
		cmocka_unit_test(test_jumbo),          cmocka_unit_test(test_udp_segments),
		cmocka_unit_test(test_full_interface), cmocka_unit_test(test_watch),
		cmocka_unit_test(test_link_gone),      cmocka_unit_test(test_refused),
	};

	return cmocka_run_group_tests(tests, net_setup, net_teardown);
}
