/* SPDX-License-Identifier: Apache-2.0 */
/*
 * skep run on captures: every option, every kind of program and of map, as text and as JSON that is
 * parsed.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "cmd_cases.h"

/* ---- Options of run ---- */

static void test_run_json(void **state)
{
	const char *prog = cmd_text("pass.bpf.c", pass_source);

	EACH_RUNTIME(i)
	{
		const struct cmd_result *r =
			skep_cmd("run %s -c %s --runtime %s --json", prog, capture(), runtimes[i]);
		const struct json_value *v;
		double sum = 0;

		assert_int_equal(r->status, 0);
		v = json_parse(r->out);
		assert_string_equal(json_string(v, "program"), "all_pass");
		assert_string_equal(json_string(v, "type"), "xdp");
		assert_string_equal(json_string(v, "runtime"), runtimes[i]);
		assert_int_equal(json_number(v, "packets"), 10);
		assert_int_equal(json_number(v, "bytes"), 720);
		assert_int_equal(json_number(v, "verdicts.XDP_PASS"), 10);
		assert_true(json_number(v, "ns_per_packet") > 0);
		/* Per-CPU values are lists, one element for each possible CPU. */
		assert_int_equal(json_count(v, "maps.percpu"), 2);
		assert_int_equal(json_count(v, "maps.percpu.0.value"),
				 (size_t)sysconf(_SC_NPROCESSORS_CONF));
		for (size_t c = 0; c < json_count(v, "maps.percpu.0.value"); c++) {
			char at[64];

			snprintf(at, sizeof(at), "maps.percpu.0.value.%zu", c);
			sum += json_number(v, at);
		}
		assert_int_equal(sum, 10);
		/* Sorted by value. */
		assert_int_equal(json_number(v, "maps.sizes.0.key"), 60);
		assert_int_equal(json_number(v, "maps.sizes.0.value"), 7);
		assert_int_equal(json_number(v, "maps.sizes.1.key"), 100);
		assert_int_equal(json_number(v, "maps.sizes.1.value"), 3);
	}
}

static void test_run_options(void **state)
{
	const char *prog = cmd_text("pass.bpf.c", pass_source);

	EACH_RUNTIME(i)
	{
		const struct cmd_result *r;
		const struct json_value *v;

		r = skep_cmd("run %s --capture %s --prog all_drop --repeat 3 --runtime %s --json",
			     prog, capture(), runtimes[i]);
		assert_int_equal(r->status, 0);
		v = json_parse(r->out);
		assert_int_equal(json_number(v, "packets"), 30);
		assert_int_equal(json_number(v, "verdicts.XDP_DROP"), 30);
		assert_int_equal(json_count(v, "verdicts"), 1);

		r = skep_cmd("run %s -c %s --map sizes --runtime %s --json", prog, capture(),
			     runtimes[i]);
		v = json_parse(r->out);
		assert_int_equal(json_count(v, "maps"), 1);
		assert_int_equal(json_count(v, "maps.sizes"), 2);

		r = skep_cmd("run %s -c %s -m sizes -m percpu --runtime %s", prog, capture(),
			     runtimes[i]);
		assert_int_equal(r->status, 0);
		says(r->out, "XDP_PASS");
		says(r->out, "100.0 %");
		says(r->out, "packets/s");
		says(r->out, "ns/packet");
		says(r->out, "sizes (hash, 2 of 8)");
		says(r->out, "60   7");
		says(r->out, "100  3");
		/* No colours where there is no terminal. */
		assert_null(strchr(r->out, '\033'));
	}
}

/* What passes unchanged is written as it was read, once, whatever --repeat says. */
static void test_run_write(void **state)
{
	static const char *const all[] = {"all_pass", "filter", "cgroup"};
	const char *prog = cmd_text("pass.bpf.c", pass_source), *out = cmd_path("out.pcap");
	size_t len, out_len;
	uint8_t *in = slurp(capture(), &len), *got;

	EACH_RUNTIME(i)
	{
		for (size_t k = 0; k < sizeof(all) / sizeof(all[0]); k++) {
			unlink(out);
			assert_int_equal(skep_cmd("run %s -c %s -w %s -n 2 -p %s --runtime %s",
						  prog, capture(), out, all[k], runtimes[i])
						 ->status,
					 0);
			got = slurp(out, &out_len);
			assert_int_equal(out_len, len);
			assert_memory_equal(got + 24, in + 24, len - 24);
			free(got);
		}
		assert_int_equal(skep_cmd("run %s -c %s -w %s -p all_drop --runtime %s", prog,
					  capture(), out, runtimes[i])
					 ->status,
				 0);
		got = slurp(out, &out_len);
		assert_int_equal(out_len, 24);
		free(got);
	}
	free(in);
}

/* Each type of program that takes packets, by section names new and old. */
static void test_sections(void **state)
{
	static const struct {
		const char *section, *ctx, *type;
		int ret;
		const char *verdict;
	} cases[] = {
		{"xdp", "xdp_md", "xdp", 1, "XDP_DROP"},
		{"xdp/named", "xdp_md", "xdp", 2, "XDP_PASS"},
		{"xdp_old_name", "xdp_md", "xdp", 2, "XDP_PASS"},
		{"tc", "__sk_buff", "sched_cls", 2, "TC_ACT_SHOT"},
		{"tc_ingress", "__sk_buff", "sched_cls", 0, "TC_ACT_OK"},
		{"classifier", "__sk_buff", "sched_cls", -1, "TC_ACT_UNSPEC"},
		{"classifier/x", "__sk_buff", "sched_cls", 3, "TC_ACT_PIPE"},
		{"action", "__sk_buff", "sched_act", 2, "TC_ACT_SHOT"},
		{"socket", "__sk_buff", "socket_filter", 0, "DROP"},
		{"socket1", "__sk_buff", "socket_filter", 1000, "PASS"},
		{"socket/any", "__sk_buff", "socket_filter", 1000, "PASS"},
		{"cgroup/skb", "__sk_buff", "cgroup_skb", 1, "PASS"},
		{"cgroup_skb/ingress", "__sk_buff", "cgroup_skb", 0, "DROP"},
	};
	char source[1024], at[64];

	for (size_t k = 0; k < sizeof(cases) / sizeof(cases[0]); k++) {
		const char *prog;

		snprintf(source, sizeof(source),
			 "#include <linux/bpf.h>\n#include <bpf/bpf_helpers.h>\n"
			 "SEC(\"%s\") int p(struct %s *ctx) { return %d; }\n"
			 "char _license[] SEC(\"license\") = \"GPL\";\n",
			 cases[k].section, cases[k].ctx, cases[k].ret);
		prog = cmd_text("section.bpf.c", source);
		EACH_RUNTIME(i)
		{
			const struct cmd_result *r = skep_cmd("run %s -c %s --runtime %s --json",
							      prog, capture(), runtimes[i]);
			const struct json_value *v;

			if (r->status)
				fail_msg("section %s: %s", cases[k].section, r->err);
			v = json_parse(r->out);
			assert_string_equal(json_string(v, "type"), cases[k].type);
			snprintf(at, sizeof(at), "verdicts.%s", cases[k].verdict);
			assert_int_equal(json_number(v, at), 10);
		}
	}
}

/* A function and variables in sections of their own names, all at once. */
static void test_own_sections(void **state)
{
	const char *prog = cmd_text(
		"own.bpf.c",
		"#include <linux/bpf.h>\n#include <bpf/bpf_helpers.h>\n"
		"SEC(\"xdp\") int xdp(struct xdp_md *ctx) { return XDP_DROP; }\n"
		"SEC(\"classifier\") int classifier(struct __sk_buff *ctx) { return 2; }\n"
		"SEC(\"socket2\") int socket2(struct __sk_buff *ctx) { return ctx->nonsense; }\n"
		"char license[] SEC(\"license\") = \"GPL\";\n");
	const struct cmd_result *r = skep_cmd("check %s", prog);
	const struct json_value *v;

	/* The compiler's own complaint comes through. */
	assert_int_equal(r->status, 1);
	says(r->err, "own.bpf.c:5");
	says(r->err, "nonsense");

	prog = cmd_text("own.bpf.c",
			"#include <linux/bpf.h>\n#include <bpf/bpf_helpers.h>\n"
			"SEC(\"xdp\") int xdp(struct xdp_md *ctx) { return XDP_DROP; }\n"
			"SEC(\"classifier\") int classifier(struct __sk_buff *ctx) { return 2; }\n"
			"SEC(\"socket2\") int socket2(struct __sk_buff *ctx) { return ctx->len; }\n"
			"char license[] SEC(\"license\") = \"GPL\";\n");
	r = skep_cmd("check %s --json", prog);
	assert_int_equal(r->status, 0);
	v = json_parse(r->out);
	assert_int_equal(json_count(v, "programs"), 3);
	assert_string_equal(json_string(v, "programs.0.name"), "xdp");
	assert_string_equal(json_string(v, "programs.0.section"), "xdp");
	assert_string_equal(json_string(v, "programs.1.section"), "classifier");
	assert_string_equal(json_string(v, "programs.1.type"), "sched_cls");
	assert_string_equal(json_string(v, "programs.2.section"), "socket2");
}

/* Old maps in all their forms: with and without BTF, one and several, with inner maps. */
static void test_legacy_maps(void **state)
{
	static const char source[] =
		"#include <linux/bpf.h>\n#include <bpf/bpf_helpers.h>\n"
		"struct bpf_map_def { unsigned type, key_size, value_size, max_entries, "
		"map_flags,\n"
		"	inner_map_idx, numa_node; };\n"
		"struct bpf_map_def SEC(\"maps\") alpha = {BPF_MAP_TYPE_ARRAY, 4, 8, 2, 0, 0, 0};\n"
		"static struct bpf_map_def SEC(\"maps\") beta = {BPF_MAP_TYPE_HASH, 4, 8, 16,\n"
		"	BPF_F_NO_PREALLOC, 0, 0};\n"
		"struct bpf_map_def SEC(\"maps\") outer = {BPF_MAP_TYPE_ARRAY_OF_MAPS, 4, 4, 1, 0, "
		"0, 0};\n"
		"SEC(\"xdp\") int p(struct xdp_md *ctx)\n"
		"{\n"
		"	__u32 k = 1; __u64 v = 7, *n = bpf_map_lookup_elem(&alpha, &k);\n"
		"	if (n) *n += 1;\n"
		"	bpf_map_update_elem(&beta, &k, &v, BPF_ANY);\n"
		"	return bpf_map_lookup_elem(&outer, &k) ? XDP_DROP : XDP_PASS;\n"
		"}\n"
		"char _license[] SEC(\"license\") = \"GPL\";\n";
	static const char *const flags[] = {"-g", "-g0"};

	for (int f = 0; f < 2; f++) {
		const char *o = object("legacy.o", source, flags[f]);

		EACH_RUNTIME(i)
		{
			const struct cmd_result *r = skep_cmd("run %s -c %s --runtime %s --json", o,
							      capture(), runtimes[i]);
			const struct json_value *v;

			if (r->status)
				fail_msg("%s, %s: %s", flags[f], runtimes[i], r->err);
			v = json_parse(r->out);
			assert_int_equal(json_number(v, "verdicts.XDP_PASS"), 10);
			assert_int_equal(json_number(v, "maps.alpha.1.value"), 10);
			assert_int_equal(json_number(v, "maps.beta.0.key"), 1);
			assert_int_equal(json_number(v, "maps.beta.0.value"), 7);
		}
		says(skep_cmd("dump %s --maps", o)->out, "beta: hash, key 4 bytes, value 8 bytes");
	}
}
/* ---- Maps ---- */

/* Values of all shapes, as text and as JSON. */
static void test_values(void **state)
{
	const char *prog = cmd_text(
		"values.bpf.c",
		"#include <linux/bpf.h>\n#include <linux/types.h>\n#include <bpf/bpf_helpers.h>\n"
		"#include <stdbool.h>\n#include <bpf/bpf_endian.h>\n"
		"enum color { RED, GREEN = 5 };\n"
		"struct inner { __s16 a; __u8 b[3]; };\n"
		"struct all { __s32 minus; __u64 big; enum color c; bool yes; char name[8]; __be32 "
		"ip;\n"
		"	__be16 port; unsigned low : 3; int high : 5; struct inner in; union { "
		"__u32 u; }; };\n"
		"struct all value = {-7, 0xffffffffffffffffull, GREEN, true, \"skep\", 0, 0, 5, "
		"-3,\n"
		"	{-2, {1, 2, 3}}, {9}};\n"
		"const volatile int fixed = 4;\n"
		"struct { __uint(type, BPF_MAP_TYPE_ARRAY); __type(key, __u32); __type(value, "
		"__u64);\n"
		"	__uint(max_entries, 64); } size_hist SEC(\".maps\");\n"
		"struct { __uint(type, BPF_MAP_TYPE_QUEUE); __uint(value_size, 4);\n"
		"	__uint(max_entries, 4); } queue SEC(\".maps\");\n"
		"struct key { __u32 len; __u8 addr[4]; };\n"
		"struct { __uint(type, BPF_MAP_TYPE_LPM_TRIE); __type(key, struct key); "
		"__type(value, __u32);\n"
		"	__uint(max_entries, 4); __uint(map_flags, BPF_F_NO_PREALLOC); } routes "
		"SEC(\".maps\");\n"
		"SEC(\"xdp\") int p(struct xdp_md *ctx)\n"
		"{\n"
		"	__u32 slot = 6, seven = 7; __u64 *n = bpf_map_lookup_elem(&size_hist, "
		"&slot);\n"
		"	struct key k = {24, {10, 1, 2, 0}};\n"
		"	if (n) *n += 1;\n"
		"	value.ip = bpf_htonl(0x0a000001); value.port = bpf_htons(80);\n"
		"	bpf_map_push_elem(&queue, &seven, BPF_EXIST);\n"
		"	bpf_map_update_elem(&routes, &k, &seven, BPF_ANY);\n"
		"	return fixed == 4 ? XDP_PASS : XDP_DROP;\n"
		"}\n"
		"char _license[] SEC(\"license\") = \"GPL\";\n");

	EACH_RUNTIME(i)
	{
		const struct cmd_result *r;
		const struct json_value *v;
		const struct json_value *a;

		r = skep_cmd("run %s -c %s --runtime %s", prog, capture(), runtimes[i]);
		if (r->status)
			fail_msg("%s", r->err);
		says(r->out, "value = {minus: -7, big: 18446744073709551615, c: GREEN, yes: true, "
			     "name: \"skep\", ip: 10.0.0.1, port: 80, low: 5, high: -3, "
			     "in: {a: -2, b: [1, 2, 3]}, {u: 9}}");
		says(r->out, "64 .. 127                    10 |****");
		says(r->out, "10.1.2.0/24  7");
		assert_null(strstr(r->out, "fixed"));
		r = skep_cmd("run %s -c %s -m .rodata --runtime %s", prog, capture(), runtimes[i]);
		says(r->out, "fixed = 4");
		r = skep_cmd("run %s -c %s --json --runtime %s", prog, capture(), runtimes[i]);
		v = json_parse(r->out);
		a = json_at(v, "maps.\\.data.0.value.value");
		assert_non_null(a);
		assert_int_equal(json_number(a, "minus"), -7);
		assert_string_equal(json_string(a, "c"), "GREEN");
		assert_true(json_true(a, "yes"));
		assert_string_equal(json_string(a, "name"), "skep");
		assert_int_equal(json_number(a, "high"), -3);
		assert_int_equal(json_number(a, "in.b.2"), 3);
		assert_int_equal(json_number(v, "maps.queue.0.value"), 7);
		assert_int_equal(json_count(v, "maps.size_hist"), 64);
	}
}

/* Records of perf buffers come through libbpf, on both runtimes. */
static void test_perf_records(void **state)
{
	const char *prog = cmd_text(
		"perf.bpf.c",
		"#include <linux/bpf.h>\n#include <bpf/bpf_helpers.h>\n"
		"struct event { __u32 len; __u32 number; __u32 third; };\n"
		"struct event *unused __attribute__((unused));\n"
		"struct { __uint(type, BPF_MAP_TYPE_PERF_EVENT_ARRAY); __uint(key_size, 4);\n"
		"	__uint(value_size, 4); } events SEC(\".maps\");\n"
		"__u32 number;\n"
		"SEC(\"tc\") int p(struct __sk_buff *skb)\n"
		"{\n"
		"	struct event e = { skb->len, number++, 3 };\n"
		"	bpf_perf_event_output(skb, &events, BPF_F_CURRENT_CPU, &e, sizeof(e));\n"
		"	return 0;\n"
		"}\n"
		"char _license[] SEC(\"license\") = \"GPL\";\n");

	EACH_RUNTIME(i)
	{
		const struct cmd_result *r =
			skep_cmd("run %s -c %s --json --runtime %s", prog, capture(), runtimes[i]);
		const struct json_value *v;

		assert_int_equal(r->status, 0);
		v = json_parse(r->out);
		assert_int_equal(json_count(v, "maps.events"), 10);
		assert_int_equal(json_number(v, "maps.events.0.value.len"), 60);
		assert_int_equal(json_number(v, "maps.events.9.value.len"), 100);
		assert_int_equal(json_number(v, "maps.events.9.value.number"), 9);
		assert_int_equal(json_number(v, "maps.events.9.value.third"), 3);
	}
}

/* Every kind of map can be shown; what is not there is not. */
static void test_map_kinds(void **state)
{
	const char *prog = cmd_text(
		"kinds.bpf.c",
		"#include <linux/bpf.h>\n"
		"#include <bpf/bpf_helpers.h>\n"
		"struct inner { __uint(type, BPF_MAP_TYPE_ARRAY); __type(key, __u32); "
		"__type(value, __u64); __uint(max_entries, 2); };\n"
		"struct inner in1 SEC(\".maps\");\n"
		"struct { __uint(type, BPF_MAP_TYPE_ARRAY_OF_MAPS); __uint(key_size,4); "
		"__uint(max_entries, 4); __array(values, struct inner); } outer SEC(\".maps\") = "
		"{ .values = { [1] = &in1 } };\n"
		"struct { __uint(type, BPF_MAP_TYPE_DEVMAP); "
		"__uint(key_size,4);__uint(value_size,4); __uint(max_entries, 4);} dev "
		"SEC(\".maps\");\n"
		"struct { __uint(type, BPF_MAP_TYPE_STACK); __uint(value_size,4); "
		"__uint(max_entries, 4);} st SEC(\".maps\");\n"
		"struct { __uint(type, BPF_MAP_TYPE_BLOOM_FILTER); __uint(value_size,4); "
		"__uint(max_entries, 4);} bl SEC(\".maps\");\n"
		"struct { __uint(type, BPF_MAP_TYPE_LRU_HASH); "
		"__type(key,__u32);__type(value,__u64); __uint(max_entries, 400);} lru "
		"SEC(\".maps\");\n"
		"struct { __uint(type, BPF_MAP_TYPE_STACK_TRACE); "
		"__uint(key_size,4);__uint(value_size,80); __uint(max_entries, 4);} trc "
		"SEC(\".maps\");\n"
		"SEC(\"xdp\") int p(struct xdp_md *ctx) { int one=1; __u64 v = 1; "
		"bpf_map_push_elem(&st, &one, BPF_EXIST);bpf_map_push_elem(&bl, &one, 0); "
		"bpf_map_update_elem(&lru,&one,&v,0); void *i = bpf_map_lookup_elem(&outer, "
		"&one); if (i) { __u64 *n = bpf_map_lookup_elem(i, &one); if (n) (*n)++; } "
		"return bpf_redirect_map(&dev, 0, XDP_PASS); }\n"
		"char _license[] SEC(\"license\") = \"GPL\";\n");

	EACH_RUNTIME(i)
	{
		const struct cmd_result *r;
		const struct json_value *v;

		r = skep_cmd("run %s -c %s --runtime %s", prog, capture(), runtimes[i]);
		assert_int_equal(r->status, 0);
		says(r->out, "dev (devmap, 0 of 4)");
		says(r->out, "bl (bloom_filter)\n    can't be listed");
		says(r->out, "outer (array_of_maps, 1 of 4)");
		r = skep_cmd("run %s -c %s --json --runtime %s", prog, capture(), runtimes[i]);
		v = json_parse(r->out);
		assert_int_equal(json_count(v, "maps.outer"), 1);
		assert_int_equal(json_number(v, "maps.outer.0.key"), 1);
		assert_int_equal(json_number(v, "maps.in1.1.value"), 10);
		assert_int_equal(json_number(v, "maps.st.0.value"), 1);
		assert_int_equal(json_number(v, "maps.lru.0.value"), 1);
		assert_int_equal(json_count(v, "maps.dev"), 0);
		assert_int_equal(json_count(v, "maps.bl"), 0);
		assert_int_equal(json_count(v, "maps.trc"), 0);
	}
}
static int finish(void **state)
{
	return cmd_finish("cmd", -1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_run_json),     cmocka_unit_test(test_run_options),
		cmocka_unit_test(test_run_write),    cmocka_unit_test(test_sections),
		cmocka_unit_test(test_own_sections), cmocka_unit_test(test_legacy_maps),
		cmocka_unit_test(test_values),       cmocka_unit_test(test_map_kinds),
		cmocka_unit_test(test_perf_records),
	};

	return cmocka_run_group_tests_name("cmd_run", tests, NULL, finish);
}
