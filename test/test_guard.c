/* SPDX-License-Identifier: Apache-2.0 */
/*
 * guard over captures that the test makes, with the captures' own clock: each
 * rule drops what it should and nothing else.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <arpa/inet.h>
#include <libgen.h>
#include <linux/if_ether.h>
#include <netinet/ip.h>
#include <netinet/ip6.h>
#include <netinet/tcp.h>
#include <pcap/pcap.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

static char dir[] = "/tmp/skep-guard-XXXXXX";
static char guard[512];

struct writer {
	pcap_t *p;
	pcap_dumper_t *d;
	char path[64];
};

static void begin(struct writer *w, const char *name)
{
	snprintf(w->path, sizeof(w->path), "%s/%s.pcap", dir, name);
	w->p = pcap_open_dead_with_tstamp_precision(DLT_EN10MB, 65535, PCAP_TSTAMP_PRECISION_NANO);
	w->d = pcap_dump_open(w->p, w->path);
	assert_non_null(w->d);
}

static void end(struct writer *w)
{
	pcap_dump_close(w->d);
	pcap_close(w->p);
}

static void put(struct writer *w, uint64_t ns, const void *frame, uint32_t len)
{
	struct pcap_pkthdr h = {.caplen = len, .len = len};

	h.ts.tv_sec = (time_t)(1000 + ns / 1000000000);
	h.ts.tv_usec = (suseconds_t)(ns % 1000000000);
	pcap_dump((u_char *)w->d, &h, frame);
}

enum { SYN = 2, ACK = 16 };

static void tcp4(struct writer *w, uint64_t ns, const char *from, int flags, int tags)
{
	uint8_t f[128] = {0};
	uint8_t *at = f + 12;
	struct iphdr ip = {.version = 4, .ihl = 5, .ttl = 64, .protocol = IPPROTO_TCP};
	struct tcphdr tcp = {.doff = 5, .syn = !!(flags & SYN), .ack = !!(flags & ACK)};

	for (int i = 0; i < tags; i++, at += 4)
		memcpy(at, "\x81\x00\x00\x05", 4);
	memcpy(at, "\x08\x00", 2);
	at += 2;
	ip.tot_len = htons(40);
	assert_int_equal(inet_pton(AF_INET, from, &ip.saddr), 1);
	memcpy(at, &ip, sizeof(ip));
	memcpy(at + sizeof(ip), &tcp, sizeof(tcp));
	put(w, ns, f, (uint32_t)(at - f) + 40);
}

static void tcp6(struct writer *w, uint64_t ns, const char *from, int flags)
{
	uint8_t f[128] = {0};
	struct ip6_hdr ip = {.ip6_nxt = IPPROTO_TCP};
	struct tcphdr tcp = {.doff = 5, .syn = !!(flags & SYN), .ack = !!(flags & ACK)};

	memcpy(f + 12, "\x86\xdd", 2);
	f[14] = 0x60;
	assert_int_equal(inet_pton(AF_INET6, from, &ip.ip6_src), 1);
	memcpy(f + 14, &ip, sizeof(ip));
	f[14] = 0x60;
	memcpy(f + 54, &tcp, sizeof(tcp));
	put(w, ns, f, 74);
}

/* Runs guard and keeps its standard output. */
static char *run(int expect, const char *fmt, ...)
{
	static char out[65536];
	char cmd[1024];
	va_list ap;
	size_t n;
	int at = snprintf(cmd, sizeof(cmd), "%s ", guard), status;
	FILE *f;

	va_start(ap, fmt);
	vsnprintf(cmd + at, sizeof(cmd) - (size_t)at, fmt, ap);
	va_end(ap);
	f = popen(cmd, "r");
	assert_non_null(f);
	n = fread(out, 1, sizeof(out) - 1, f);
	out[n] = 0;
	status = pclose(f);
	assert_true(WIFEXITED(status));
	if (WEXITSTATUS(status) != expect)
		print_error("%s: exit %d\n%s\n", cmd, WEXITSTATUS(status), out);
	assert_int_equal(WEXITSTATUS(status), expect);
	return out;
}

static long count(const char *json, const char *reason)
{
	char key[64];
	const char *at;

	snprintf(key, sizeof(key), "\"%s\": {\"packets\": ", reason);
	at = strstr(json, key);
	assert_non_null(at);
	return atol(at + strlen(key));
}

static void test_packet_rate(void **state)
{
	struct writer w;
	char *json;

	/* One source sends 1000 packets a second for two seconds, the other one tenth of it. */
	begin(&w, "rate");
	for (uint64_t i = 0; i < 2000; i++) {
		tcp4(&w, i * 1000000, "192.0.2.1", ACK, 0);
		if (i % 10 == 0)
			tcp4(&w, i * 1000000 + 1, "192.0.2.2", ACK, 0);
	}
	end(&w);
	json = run(0, "--json --packet-clock --pps 200 --burst 50 --capture %s", w.path);
	/* 50 at once and then 200 a second: 50 + 2 * 200 of the first pass, all of the second. */
	assert_in_range(count(json, "passed"), 200 + 448, 200 + 451);
	assert_int_equal(count(json, "passed") + count(json, "rate"), 2200);
	assert_non_null(strstr(json, "\"source\": \"192.0.2.1\", \"packets\": 2000"));
	/* Without a limit all pass. */
	json = run(0, "--json --packet-clock --pps 0 --capture %s", w.path);
	assert_int_equal(count(json, "passed"), 2200);
}

static void test_syn_rate(void **state)
{
	struct writer w;
	char *json;

	begin(&w, "syn");
	for (uint64_t i = 0; i < 300; i++)
		tcp6(&w, i * 10000000, "2001:db8::7", SYN);
	end(&w);
	/* 100 a second for three seconds against 20 a second and 10 at once. */
	json = run(0, "--json --packet-clock --syn 20 --syn-burst 10 --flood 0 --capture %s",
		   w.path);
	assert_in_range(count(json, "passed"), 68, 71);
	assert_int_equal(count(json, "passed") + count(json, "syn_rate"), 300);
	assert_non_null(strstr(json, "\"source\": \"2001:db8::7\""));
}

static void test_flood_rule(void **state)
{
	struct writer w;
	char ip[32];
	char *json;

	/* 5000 forged SYNs a second, and one client that tries, and tries again after a second. */
	begin(&w, "flood");
	for (uint64_t i = 0; i < 10000; i++) {
		snprintf(ip, sizeof(ip), "198.18.%u.%u", (unsigned)(i >> 8 & 255),
			 (unsigned)(i & 255));
		tcp4(&w, i * 200000, ip, SYN, 0);
		if (i == 1000 || i == 6000 || i == 7000)
			tcp4(&w, i * 200000 + 1, "192.0.2.9", SYN, 1);
		if (i == 7001)
			tcp4(&w, i * 200000 + 1, "192.0.2.9", ACK, 2);
	}
	end(&w);
	run(2, "--top 100000 --capture %s 2>/dev/null", w.path);
	json = run(0, "--json --packet-clock --flood 1000 --top 3 --capture %s", w.path);
	/* The first hundred come before the rule is on; the client loses only its first SYN. */
	assert_in_range(count(json, "passed"), 100 + 3, 110 + 3);
	assert_int_equal(count(json, "passed") + count(json, "syn_flood"), 10004);
	assert_non_null(strstr(json, "\"source\": \"192.0.2.9\", \"packets\": 4, \"bytes\": 236, "
				     "\"dropped\": 1"));
}

static void test_lists(void **state)
{
	struct writer w;
	char out[96];
	char *json;

	begin(&w, "lists");
	for (uint64_t i = 0; i < 10; i++) {
		tcp4(&w, i, "10.1.2.3", ACK, 0);
		tcp4(&w, i, "10.1.9.9", ACK, 0);
		tcp6(&w, i, "2001:db8:1::1", ACK);
		tcp6(&w, i, "2001:db8:2::1", ACK);
	}
	put(&w, 11, "\0\0\0\0\0\1\0\0\0\0\0\2\x08\x06zzzzzzzzzzzzzzzzzzzzzzzzzzzz", 42);
	put(&w, 12, "\0\0\0\0\0\1\0\0\0\0\0\2\x08\x00\x45zz", 17);
	end(&w);
	snprintf(out, sizeof(out), "%s/out.pcap", dir);
	json = run(
		0,
		"--json --deny 10.1.0.0/16 --allow 10.1.9.0/24 --deny 2001:db8:1::/48 --write %s "
		"--capture %s",
		out, w.path);
	assert_int_equal(count(json, "denied"), 20);
	assert_int_equal(count(json, "allowed"), 10);
	assert_int_equal(count(json, "passed"), 10);
	assert_int_equal(count(json, "not_ip"), 1);
	assert_int_equal(count(json, "malformed"), 1);
	/* What passed is what was written: judged again it all passes. */
	json = run(0, "--json --capture %s", out);
	assert_int_equal(count(json, "passed") + count(json, "not_ip"), 21);
}

static void test_wrong_usage(void **state)
{
	run(2, "2>/dev/null");
	run(2, "--capture x --iface a --bridge b 2>/dev/null");
	run(2, "--iface a 2>/dev/null");
	run(2, "--capture x --deny 10.0.0.0/33 2>/dev/null");
	run(2, "--capture x --pps -1 2>/dev/null");
	run(1, "--capture /nonexistent 2>/dev/null");
	run(1, "--iface skep-none0 --bridge skep-none1 2>/dev/null");
	assert_non_null(strstr(run(0, "--help"), "--syn-burst"));
}

static int setup(void **state)
{
	return mkdtemp(dir) ? 0 : -1;
}

static int teardown(void **state)
{
	static const char *const names[] = {"rate", "syn", "flood", "lists", "out"};
	char path[96];

	for (unsigned i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		snprintf(path, sizeof(path), "%s/%s.pcap", dir, names[i]);
		unlink(path);
	}
	return rmdir(dir);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_packet_rate), cmocka_unit_test(test_syn_rate),
		cmocka_unit_test(test_flood_rule),  cmocka_unit_test(test_lists),
		cmocka_unit_test(test_wrong_usage),
	};

	/* The command lies beside the folder of the tests. */
	snprintf(guard, sizeof(guard), "%s/../guard", dirname(argv[0]));
	return cmocka_run_group_tests(tests, setup, teardown);
}
