/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Every program of examples/, from C source, by the command, on both runtimes, on captures whose
 * contents are known.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "cmd_cases.h"
#include "scale.h"

#define VIP 0x0a000064 /* 10.0.0.100 */

static int compared;

/* 60 TCP (20 of them SYN, 5 of these to port 8080), 30 UDP, 10 ICMP, from 5 sources. */
static const char *traffic(void)
{
	static const char *path;
	struct frames *f;

	if (path)
		return path;
	f = frames_open("traffic.pcap");
	for (unsigned i = 0; i < 100; i++) {
		uint32_t src = 0x0a000001 + i % 5;

		if (i < 60)
			frames_ipv4(f, 6, src, VIP, (uint16_t)(1000 + i), i < 5 ? 8080 : 80,
				    i < 20 ? TCP_SYN : TCP_ACK);
		else
			frames_ipv4(f, i < 90 ? 17 : 1, src, VIP, (uint16_t)(2000 + i), 53, 0);
	}
	path = frames_close(f);
	return path;
}

static const struct json_value *run(const char *example, const char *runtime)
{
	char path[512];
	const struct cmd_result *r;

	snprintf(path, sizeof(path), "%s/examples/%s.bpf.c", cmd_root(), example);
	r = skep_cmd("run %s --capture %s --runtime %s --json", path, traffic(), runtime);
	if (r->status)
		fail_msg("%s on the %s runtime: status %d: %s", example, runtime, r->status,
			 r->err);
	compared++;
	return json_parse(r->out);
}

/* The value whose key is that number; fails if there is none. */
static const struct json_value *by_key(const struct json_value *v, const char *map, double key)
{
	char path[128];

	for (size_t i = 0; i < json_count(v, map); i++) {
		snprintf(path, sizeof(path), "%s.%zu.key", map, i);
		if (json_number(v, path) != key)
			continue;
		snprintf(path, sizeof(path), "%s.%zu.value", map, i);
		return json_at(v, path);
	}
	fail_msg("no key %g in %s", key, map);
	return NULL;
}

static double sum(const struct json_value *list)
{
	char at[32];
	double s = 0;

	for (size_t i = 0; i < json_count(list, ""); i++) {
		snprintf(at, sizeof(at), "%zu", i);
		s += json_number(list, at);
	}
	return s;
}

static void test_drop_all(void **state)
{
	EACH_RUNTIME(i)
	{
		const struct json_value *v;

		v = run("xdp_drop_all", runtimes[i]);
		assert_int_equal(json_number(v, "packets"), 100);
		assert_int_equal(json_number(v, "verdicts.XDP_DROP"), 100);
		assert_int_equal(json_count(v, "verdicts"), 1);
		assert_true(json_number(v, "ns_per_packet") > 0);
	}
}

static void test_legacy_map(void **state)
{
	EACH_RUNTIME(i)
	{
		const struct json_value *v;

		v = run("legacy_map", runtimes[i]);
		assert_int_equal(json_number(v, "verdicts.XDP_PASS"), 100);
		assert_int_equal(json_count(v, "maps.my_map"), 5);
		for (uint32_t k = 1; k <= 5; k++)
			assert_int_equal(json_number(by_key(v, "maps.my_map", k << 24 | 0x0a), ""),
					 20);
	}
}

static void test_hello(void **state)
{
	char path[512];

	snprintf(path, sizeof(path), "%s/examples/hello.bpf.c", cmd_root());
	EACH_RUNTIME(i)
	{
		const struct cmd_result *r;
		int lines = 0;

		r = skep_cmd("run %s --capture %s --runtime %s", path, traffic(), runtimes[i]);
		assert_int_equal(r->status, 0);
		for (const char *p = r->out;
		     (p = strstr(p, "Hello, world: a packet of 60 bytes\n")); p++)
			lines++;
		assert_int_equal(lines, 100);
		compared++;
	}
}

static void test_protocols(void **state)
{
	static const struct {
		int proto, packets;
	} want[] = {{6, 60}, {17, 30}, {1, 10}};

	EACH_RUNTIME(i)
	{
		const struct json_value *v;

		v = run("protocols", runtimes[i]);
		assert_int_equal(json_number(v, "verdicts.TC_ACT_OK"), 100);
		assert_int_equal(json_count(v, "maps.protocols"), 3);
		for (int k = 0; k < 3; k++) {
			const struct json_value *t = by_key(v, "maps.protocols", want[k].proto);

			assert_int_equal(json_number(t, "packets"), want[k].packets);
			assert_int_equal(json_number(t, "bytes"), want[k].packets * 60);
			/* Sorted by value. */
			char at[64];

			snprintf(at, sizeof(at), "maps.protocols.%d.key", k);
			assert_int_equal(json_number(v, at), want[k].proto);
		}
		assert_int_equal(json_number(by_key(v, "maps.size_hist", 5), ""), 100);
	}
}

static void test_syn_count(void **state)
{
	EACH_RUNTIME(i)
	{
		const struct json_value *v;

		v = run("syn_count", runtimes[i]);
		assert_int_equal(json_number(v, "verdicts.XDP_DROP"), 5);
		assert_int_equal(json_number(v, "verdicts.XDP_PASS"), 95);
		assert_int_equal(json_number(v, "maps.\\.bss.0.value.tcp_packets"), 60);
		assert_int_equal(json_number(v, "maps.\\.bss.0.value.syn_packets"), 20);
		assert_int_equal(json_number(v, "maps.\\.bss.0.value.dropped"), 5);
		assert_int_equal(json_number(v, "maps.\\.bss.0.value.last_port"), 80);
	}
}

static void test_tail_parser(void **state)
{
	/* ETHERNET, IPV4, TCP, UDP, OTHER */
	static const int want[] = {100, 100, 60, 30, 10};

	EACH_RUNTIME(i)
	{
		const struct json_value *v;

		v = run("tail_parser", runtimes[i]);
		assert_int_equal(json_number(v, "verdicts.XDP_PASS"), 100);
		for (int k = 0; k < 5; k++)
			assert_int_equal(sum(by_key(v, "maps.seen", k)), want[k]);
		assert_int_equal(json_number(by_key(v, "maps.ports", 80 << 8), ""), 55);
		assert_int_equal(json_number(by_key(v, "maps.ports", 53 << 8), ""), 30);
		assert_int_equal(json_number(by_key(v, "maps.ports", 0x901f), ""), 5);
	}
}

static void test_sampler(void **state)
{
	EACH_RUNTIME(i)
	{
		const struct json_value *v;

		v = run("sampler", runtimes[i]);
		assert_int_equal(json_count(v, "maps.samples"), 1);
		assert_int_equal(json_number(v, "maps.samples.0.value.number"), 0);
		assert_int_equal(json_number(v, "maps.samples.0.value.source"), 0x0100000a);
		assert_int_equal(json_number(v, "maps.samples.0.value.length"), 60);
		assert_int_equal(json_number(v, "maps.samples.0.value.protocol"), 6);
		assert_int_equal(json_number(v, "maps.\\.bss.0.value.packets"), 100);
	}
}

static uint16_t sum16(const uint8_t *p, size_t n, uint32_t s)
{
	for (size_t i = 0; i + 1 < n; i += 2)
		s += (uint32_t)p[i] << 8 | p[i + 1];
	while (s >> 16)
		s = (s & 0xffff) + (s >> 16);
	return (uint16_t)s;
}

/* What the balancer wrote: right checksums, stamps kept, each backend as often as counted. */
static void test_lb_percpu(void **state)
{
	const char *out = cmd_path("balanced.pcap");
	char path[512];

	snprintf(path, sizeof(path), "%s/examples/lb_percpu.bpf.c", cmd_root());
	EACH_RUNTIME(i)
	{
		const struct cmd_result *r;
		const struct json_value *v;
		unsigned to[4] = {0}, others = 0, n = 0;
		double all = 0, syn = 0;
		uint8_t buf[24 + 100 * 76];
		uint64_t ns = 1700000000000000000ull;
		size_t len;
		FILE *f;

		r = skep_cmd("run %s --capture %s --write %s --runtime %s --json", path, traffic(),
			     out, runtimes[i]);
		assert_int_equal(r->status, 0);
		v = json_parse(r->out);
		assert_int_equal(json_number(v, "verdicts.XDP_TX"), 90);
		assert_int_equal(json_number(v, "verdicts.XDP_PASS"), 10);
		f = fopen(out, "rb");
		assert_non_null(f);
		len = fread(buf, 1, sizeof(buf), f);
		fclose(f);
		assert_int_equal(len, sizeof(buf));
		for (const uint8_t *p = buf + 24; p < buf + len; p += 76, n++) {
			const uint8_t *ip = p + 16 + 14;
			uint32_t sec, nsec, l4len = (uint32_t)(ip[2] << 8 | ip[3]) - 20;

			memcpy(&sec, p, 4);
			memcpy(&nsec, p + 4, 4);
			ns += 1234567;
			assert_true(sec * 1000000000ull + nsec == ns);
			assert_int_equal(sum16(ip, 20, 0), 0xffff);
			if (ip[9] != 1)
				assert_int_equal(
					sum16(ip + 20, l4len, sum16(ip + 12, 8, 0) + ip[9] + l4len),
					0xffff);
			if (ip[18] == 1 && ip[19] >= 1 && ip[19] <= 4)
				to[ip[19] - 1]++;
			else
				others++;
		}
		assert_int_equal(others, 10);
		for (int k = 0; k < 4; k++) {
			assert_int_equal(sum(by_key(v, "maps.packets", k)), to[k]);
			assert_true(to[k] > 5);
			all += to[k];
			syn += sum(by_key(v, "maps.requests", k));
		}
		assert_int_equal(all, 90);
		assert_int_equal(syn, 20 + 30);
		compared++;
	}
}

/* The beginners' two programs with every compiler that is here. */
static void test_compilers(void **state)
{
	static const char *const cc[] = {"clang-14", "clang-15", "clang-16", "clang-17",
					 "clang-18", "clang-19", "clang",    "bpf-gcc"};
	static const char *const names[] = {"xdp_drop_all", "legacy_map", "syn_count"};
	char path[512];
	int tried = 0;

	for (size_t k = 0; k < sizeof(cc) / sizeof(cc[0]); k++) {
		snprintf(path, sizeof(path), "command -v %s >/dev/null", cc[k]);
		if (system(path))
			continue;
		for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
			const struct cmd_result *r;

			snprintf(path, sizeof(path), "%s/examples/%s.bpf.c", cmd_root(), names[i]);
			r = skep_cmd("run %s --capture %s --cc %s --json", path, traffic(), cc[k]);
			if (r->status)
				fail_msg("%s with %s: %s", names[i], cc[k], r->err);
			assert_int_equal(json_number(json_parse(r->out), "packets"), 100);
			tried++;
		}
	}
	assert_true(tried >= 3);
	compared += tried;
}

static uint32_t next(uint32_t *seed)
{
	*seed ^= *seed << 13;
	*seed ^= *seed >> 17;
	*seed ^= *seed << 5;
	return *seed;
}

/* Frames of many lengths (the kernel wants whole headers in test runs): half of them random from some byte on, all with an IPv4 or other header. */
static const char *noise(int frames)
{
	struct frames *f = frames_open("noise.pcap");
	uint32_t seed = 4711;
	uint8_t p[1500];

	for (int i = 0; i < frames; i++) {
		uint32_t len = next(&seed) % 3 ? 60 + next(&seed) % 80 : 60 + next(&seed) % 1440;
		uint32_t from = next(&seed) % 64;
		static const uint8_t protos[] = {6, 17, 1, 47};

		memset(p, 0, sizeof(p));
		p[12] = next(&seed) % 8 ? 0x08 : 0x86;
		p[13] = p[12] == 0x08 ? 0 : 0xdd;
		p[14] = 0x45;
		p[23] = protos[next(&seed) % 4];
		p[26] = p[30] = 10;
		p[29] = (uint8_t)(next(&seed) % 7);
		p[33] = 100;
		for (uint32_t k = next(&seed) % 2 ? from : 34; k < len; k++)
			p[k] = (uint8_t)next(&seed);
		frames_add(f, p, len, 1700000000000000000ull + (uint64_t)i * 1000);
	}
	return frames_close(f);
}

/* The text from "packets" to the end of the maps: all that must not differ. */
static char *essence(const char *out)
{
	const char *from = strstr(out, "\"packets\""), *to = strstr(out, "\"ns_per_packet\"");

	assert_true(from && to && from < to);
	return strndup(from, (size_t)(to - from));
}

/* Both runtimes come to the same verdicts, maps and packets on frames of any content. */
static void test_same_on_both(void **state)
{
	static const struct {
		const char *name;
		bool per_cpu; /* whose parts differ by where they were counted */
	} cases[] = {{"legacy_map", false}, {"protocols", false}, {"syn_count", false},
		     {"sampler", false},    {"lb_percpu", true},  {"tail_parser", true},
		     {"hello", false}};
	const char *in, *out = cmd_path("same.pcap");
	char path[512];

	if (!cmd_usable(1))
		skip();
	in = noise((int)scaled(3000));
	for (size_t k = 0; k < sizeof(cases) / sizeof(cases[0]); k++) {
		char *text[2], *packets[2];
		size_t len[2];

		snprintf(path, sizeof(path), "%s/examples/%s.bpf.c", cmd_root(), cases[k].name);
		for (int i = 0; i < 2; i++) {
			const struct cmd_result *r =
				skep_cmd("run %s -c %s -w %s --json --runtime %s", path, in, out,
					 runtimes[i]);

			assert_int_equal(r->status, 0);
			text[i] = essence(r->out);
			if (cases[k].per_cpu)
				*strstr(text[i], "\"maps\"") = 0;
			packets[i] = slurp(out, &len[i]);
		}
		if (strcmp(text[0], text[1]) != 0)
			fail_msg("%s differs:\n%s\n%s", cases[k].name, text[0], text[1]);
		assert_int_equal(len[0], len[1]);
		assert_memory_equal(packets[0], packets[1], len[0]);
		for (int i = 0; i < 2; i++) {
			free(text[i]);
			free(packets[i]);
		}
		compared++;
	}
}

static int finish(void **state)
{
	return cmd_finish("cmd_examples", compared);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_drop_all),  cmocka_unit_test(test_legacy_map),
		cmocka_unit_test(test_hello),     cmocka_unit_test(test_protocols),
		cmocka_unit_test(test_syn_count), cmocka_unit_test(test_tail_parser),
		cmocka_unit_test(test_sampler),   cmocka_unit_test(test_lb_percpu),
		cmocka_unit_test(test_compilers), cmocka_unit_test(test_same_on_both),
	};

	return cmocka_run_group_tests_name("cmd_examples", tests, NULL, finish);
}
