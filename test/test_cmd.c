/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The command, driven as a user would: every option, every kind of bad input, exit statuses, and JSON
 * that is parsed.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "cmd.h"
#include "scale.h"

static const char *const runtimes[] = {"user", "kernel"};
static int ran, skipped;

static bool usable(int i)
{
	if (i == 0 || cmd_kernel()) {
		ran++;
		return true;
	}
	skipped++;
	return false;
}

#define EACH_RUNTIME(i)                                                                            \
	for (int i = 0; i < 2; i++)                                                                \
		if (usable(i))

static void says(const char *text, const char *what)
{
	if (!strstr(text, what))
		fail_msg("\"%s\" is missing in:\n%s", what, text);
}

static const char pass_source[] =
	"#include <linux/bpf.h>\n"
	"#include <bpf/bpf_helpers.h>\n"
	"struct { __uint(type, BPF_MAP_TYPE_PERCPU_ARRAY); __type(key, __u32); __type(value, "
	"__u64);\n"
	"	__uint(max_entries, 2); } percpu SEC(\".maps\");\n"
	"struct { __uint(type, BPF_MAP_TYPE_HASH); __type(key, __u32); __type(value, __u64);\n"
	"	__uint(max_entries, 8); } sizes SEC(\".maps\");\n"
	"SEC(\"xdp\") int all_pass(struct xdp_md *ctx)\n"
	"{\n"
	"	__u32 zero = 0, size = ctx->data_end - ctx->data;\n"
	"	__u64 one = 1, *n = bpf_map_lookup_elem(&percpu, &zero);\n"
	"	if (n) *n += 1;\n"
	"	n = bpf_map_lookup_elem(&sizes, &size);\n"
	"	if (n) *n += 1; else bpf_map_update_elem(&sizes, &size, &one, BPF_ANY);\n"
	"	return XDP_PASS;\n"
	"}\n"
	"SEC(\"xdp\") int all_drop(struct xdp_md *ctx) { return XDP_DROP; }\n"
	"SEC(\"socket\") int filter(struct __sk_buff *skb)\n"
	"{\n"
	"	__u8 first = 0;\n"
	"	bpf_skb_load_bytes(skb, 0, &first, 1);\n"
	"	return (skb->len == 60 || skb->len == 100) && first == 2 ? 0xffff : 0;\n"
	"}\n"
	"SEC(\"cgroup_skb/egress\") int cgroup(struct __sk_buff *skb) { return 1; }\n"
	"SEC(\"tracepoint/syscalls/sys_enter_write\") int on_write(void *ctx) { return 0; }\n"
	"char _license[] SEC(\"license\") = \"GPL\";\n";

static const char bad_source[] = "#include <linux/bpf.h>\n"
				 "#include <bpf/bpf_helpers.h>\n"
				 "SEC(\"xdp\") int fine(struct xdp_md *ctx) { return XDP_PASS; }\n"
				 "SEC(\"xdp\") int unchecked(struct xdp_md *ctx)\n"
				 "{\n"
				 "	char *data = (void *)(long)ctx->data;\n"
				 "	return data[5];\n"
				 "}\n"
				 "char _license[] SEC(\"license\") = \"GPL\";\n";

/* Ten frames: seven of 60 bytes, three of 100. */
static const char *capture(void)
{
	static const char *path;
	uint8_t big[100] = {2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2, 8, 0};
	struct frames *f;

	if (path)
		return path;
	f = frames_open("ten.pcap");
	for (int i = 0; i < 7; i++)
		frames_ipv4(f, 17, 0x0a000001, 0x0a000002, 1, 2, 0);
	for (int i = 0; i < 3; i++)
		frames_add(f, big, sizeof(big), 1800000000000000123ull);
	path = frames_close(f);
	return path;
}

static void *slurp(const char *path, size_t *len)
{
	FILE *f = fopen(path, "rb");
	void *p = malloc(1 << 20);

	assert_non_null(f);
	assert_non_null(p);
	*len = fread(p, 1, 1 << 20, f);
	fclose(f);
	return p;
}

/* Compiles with clang directly, for objects that the command has not made. */
static const char *object(const char *name, const char *source, const char *flags)
{
	const char *c = cmd_text("object.c", source), *o = cmd_path(name);
	char cmd[1024];

	snprintf(cmd, sizeof(cmd),
		 "clang -O2 -target bpf -idirafter /usr/include/$(uname -m)-linux-gnu %s -c %s -o "
		 "%s",
		 flags, c, o);
	assert_int_equal(system(cmd), 0);
	return o;
}

/* ---- Usage ---- */

static void test_usage(void **state)
{
	static const char *const wrong[] = {
		"",
		"nonsense",
		"help nonsense",
		"version x",
		"run",
		"run x.o",
		"run --capture x",
		"run a.o b.o -c x",
		"run x.o --wrong",
		"run x.o -c",
		"run x.o -c y -n 0",
		"run x.o -c y --repeat many",
		"run x.o -c y -n -1",
		"run x.o -c y --runtime windows",
		"run x.o -c y -w y",
		"check",
		"check a.o b.o",
		"check --runtime x y.o",
		"check --wrong x.o",
		"dump",
		"dump a b",
		"dump --wrong a",
	};
	static const char *const right[] = {
		"help",       "--help",    "-h",         "version",  "--version",   "help run",
		"help check", "help dump", "run --help", "check -h", "dump --help", "help version"};

	for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
		const struct cmd_result *r = skep_cmd(wrong[i], "");

		if (r->status != 2 || !r->err[0] || r->out[0])
			fail_msg("skep %s: status %d, out \"%s\", err \"%s\"", wrong[i], r->status,
				 r->out, r->err);
	}
	for (size_t i = 0; i < sizeof(right) / sizeof(right[0]); i++) {
		const struct cmd_result *r = skep_cmd(right[i], "");

		if (r->status || !r->out[0] || r->err[0])
			fail_msg("skep %s: status %d", right[i], r->status);
	}
	/* The help names every option that there is. */
	says(skep_cmd("run --help")->out, "--repeat");
	says(skep_cmd("run --help")->out, "--map");
	says(skep_cmd("check --help")->out, "--log");
	says(skep_cmd("help exec")->out, "skep exec");
}

/* ---- Files ---- */

static void refuses(const struct cmd_result *r, const char *what)
{
	if (r->status != 1)
		fail_msg("status %d rather than 1; %s", r->status, r->err);
	says(r->err, what);
}

static void test_bad_files(void **state)
{
	const char *prog = cmd_text("pass.bpf.c", pass_source);
	const char *text =
		cmd_text("text.o", "this is no object file, but it is long enough for one\n");
	const char *empty = cmd_text("empty.o", "");
	const char *none = cmd_text("none.c", "int x;\n");

	refuses(skep_cmd("run /nonexistent.o -c %s", capture()), "/nonexistent.o");
	refuses(skep_cmd("run /nonexistent.c -c %s", capture()), "/nonexistent.c");
	refuses(skep_cmd("run %s -c %s", cmd_dir(), capture()), "is a directory");
	refuses(skep_cmd("run %s -c %s", text, capture()), "not an ELF file");
	refuses(skep_cmd("run %s -c %s", empty, capture()), "empty");
	refuses(skep_cmd("run /proc/self/exe -c %s", capture()), "not a BPF object");
	refuses(skep_cmd("run %s -c %s", none, capture()), "no program");
	refuses(skep_cmd("run %s -c /nonexistent.pcap", prog), "/nonexistent.pcap");
	refuses(skep_cmd("run %s -c %s", prog, cmd_dir()), "is a directory");
	refuses(skep_cmd("run %s -c %s", prog, prog), "not a capture");
	refuses(skep_cmd("run %s -c %s", prog, empty), "not a capture");
	refuses(skep_cmd("run %s -c %s -w /nonexistent/out.pcap", prog, capture()),
		"/nonexistent/out.pcap");
	refuses(skep_cmd("run %s -c %s --cc no-such-cc", prog, capture()), "no such compiler");
	refuses(skep_cmd("run %s -c %s -p nix", prog, capture()), "all_drop");
	refuses(skep_cmd("run %s -c %s -p on_write", prog, capture()), "takes no packets");
	refuses(skep_cmd("run %s -c %s -m nix", prog, capture()), "sizes");
	refuses(skep_cmd("check %s -p nix", prog), "all_drop");
	refuses(skep_cmd("dump %s -p nix", prog), "nix");
}

static void test_bad_captures(void **state)
{
	const char *prog = cmd_text("pass.bpf.c", pass_source);
	const uint32_t raw_ip[] = {0xa1b23c4d, 2 | 4 << 16, 0, 0, 65535, 101};
	const uint32_t no_packets[] = {0xa1b23c4d, 2 | 4 << 16, 0, 0, 65535, 1};
	size_t len;
	uint8_t *data = slurp(capture(), &len);
	const struct cmd_result *r;

	refuses(skep_cmd("run %s -c %s", prog, cmd_file("raw.pcap", raw_ip, sizeof(raw_ip))),
		"Ethernet");
	r = skep_cmd("run %s -c %s --json", prog,
		     cmd_file("no.pcap", no_packets, sizeof(no_packets)));
	assert_int_equal(r->status, 0);
	assert_int_equal(json_number(json_parse(r->out), "packets"), 0);
	/* Cut inside the tenth packet: nine run, and the damage is told. */
	r = skep_cmd("run %s -c %s --json", prog, cmd_file("cut.pcap", data, len - 3));
	assert_int_equal(r->status, 1);
	says(r->err, "damaged");
	assert_int_equal(json_number(json_parse(r->out), "packets"), 9);
	/* Cut anywhere: never a crash. */
	for (size_t n = 0; n < len; n += 7) {
		r = skep_cmd("run %s -c %s", prog, cmd_file("cut.pcap", data, n));
		if (r->status > 1)
			fail_msg("capture cut to %zu bytes: status %d", n, r->status);
		if (n > 200)
			break;
	}
	free(data);
}

/* pcapng: a section header, an interface, one enhanced packet. */
static void test_pcapng(void **state)
{
	const char *prog = cmd_text("pass.bpf.c", pass_source);
	uint32_t w[64] = {0x0a0d0d0a, 28, 0x1a2b3c4d, 1, 0xffffffff, 0xffffffff,
			  28,         1,  20,         1, 65535,      20};
	const struct cmd_result *r;
	int n = 12;

	w[n++] = 6;
	w[n++] = 32 + 60;
	w[n++] = 0;
	w[n++] = 0x0005a3b2;
	w[n++] = 0x12345678;
	w[n++] = 60;
	w[n++] = 60;
	n += 15;
	w[n++] = 32 + 60;
	r = skep_cmd("run %s -c %s --json", prog, cmd_file("one.pcapng", w, (size_t)n * 4));
	assert_int_equal(r->status, 0);
	assert_int_equal(json_number(json_parse(r->out), "packets"), 1);
}

/* ---- Hostile objects: cut and changed, never a crash ---- */

static uint32_t next(uint32_t *seed)
{
	*seed ^= *seed << 13;
	*seed ^= *seed >> 17;
	*seed ^= *seed << 5;
	return *seed;
}

static void survives(const uint8_t *data, size_t len, const char *what, uint32_t detail)
{
	const char *path = cmd_path("hostile.o");
	const struct cmd_result *r;
	FILE *f = fopen(path, "wb");

	assert_non_null(f);
	assert_int_equal(fwrite(data, 1, len, f), len);
	fclose(f);
	r = skep_cmd("check %s", path);
	if (r->status > 1)
		fail_msg("%s %u: status %d: %s", what, detail, r->status, r->err);
	if (r->status == 1 && !r->err[0] && !r->out[0])
		fail_msg("%s %u: no message", what, detail);
}

static void test_hostile_objects(void **state)
{
	static const char legacy[] = "#include <linux/bpf.h>\n#include <bpf/bpf_helpers.h>\n"
				     "struct bpf_map_def { unsigned type, key_size, value_size, "
				     "max_entries, map_flags; };\n"
				     "struct bpf_map_def SEC(\"maps\") m = {1, 4, 8, 16, 0};\n"
				     "SEC(\"xdp\") int p(struct xdp_md *c) { int k = 0; return "
				     "bpf_map_lookup_elem(&m, &k) ? 1 : 2; }\n";
	const char *objects[2];
	uint32_t seed = 12345;
	int rounds = (int)scaled(40);

	objects[0] = object("pass.o", pass_source, "-g");
	objects[1] = object("legacy.o", legacy, "-g");
	for (int o = 0; o < 2; o++) {
		size_t len;
		uint8_t *data = slurp(objects[o], &len), *copy = malloc(len);

		assert_non_null(copy);
		for (size_t n = 0; n < len; n += 1 + len / 25)
			survives(data, n, "cut to", (uint32_t)n);
		for (int k = 0; k < rounds; k++) {
			uint32_t was = seed;

			memcpy(copy, data, len);
			for (uint32_t c = 1 + next(&seed) % 4; c; c--) {
				uint32_t at = next(&seed) % (uint32_t)len;

				/* Headers of sections stand at the end. */
				if (next(&seed) % 2)
					at = (uint32_t)len - 1 - next(&seed) % 1600;
				copy[at] = next(&seed) % 3 ? (uint8_t)next(&seed) : 0xff;
			}
			survives(copy, len, "seed", was);
		}
		free(copy);
		free(data);
	}
}

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

/* ---- check ---- */

static void test_check(void **state)
{
	const char *good = cmd_text("pass.bpf.c", pass_source);
	const char *bad = cmd_text("bad.bpf.c", bad_source);

	EACH_RUNTIME(i)
	{
		const struct cmd_result *r;
		const struct json_value *v;

		r = skep_cmd("check %s --prog all_drop --runtime %s", good, runtimes[i]);
		assert_int_equal(r->status, 0);
		says(r->out, "all_drop (xdp): accepted: 2 instructions");
		assert_null(strstr(r->out, "all_pass"));

		r = skep_cmd("check %s --runtime %s", bad, runtimes[i]);
		assert_int_equal(r->status, 1);
		says(r->out, "fine (xdp): accepted");
		says(r->out, "unchecked (xdp): refused");
		says(r->out, "bad.bpf.c:7");
		says(r->out, "return data[5];");

		r = skep_cmd("check %s --log --prog unchecked --runtime %s", bad, runtimes[i]);
		says(r->out, "R1 offset is outside of the packet");

		assert_int_equal(
			skep_cmd("check %s -p fine --runtime %s", bad, runtimes[i])->status, 0);

		r = skep_cmd("check %s --json --runtime %s", bad, runtimes[i]);
		assert_int_equal(r->status, 1);
		v = json_parse(r->out);
		assert_false(json_true(v, "accepted"));
		assert_int_equal(json_count(v, "programs"), 2);
		assert_true(json_true(v, "programs.0.accepted"));
		assert_int_equal(json_number(v, "programs.0.instructions"), 2);
		assert_int_equal(json_number(v, "programs.0.processed"), 2);
		assert_false(json_true(v, "programs.1.accepted"));
		assert_string_equal(json_string(v, "programs.1.error"), "Permission denied");
		assert_string_equal(json_string(v, "programs.1.text"), "return data[5];");
		assert_int_equal(json_number(v, "programs.1.line"), 7);
		says(json_string(v, "programs.1.file"), "bad.bpf.c");
		says(json_string(v, "programs.1.log"), "invalid access to packet");

		r = skep_cmd("run %s -c %s -p unchecked --runtime %s", bad, capture(), runtimes[i]);
		refuses(r, "bad.bpf.c:7");
	}
}

/* What libbpf does not even try to load is refused; the others are checked. */
static void test_check_unprepared(void **state)
{
	const char *prog =
		cmd_text("targets.bpf.c",
			 "#include <linux/bpf.h>\n#include <bpf/bpf_helpers.h>\n"
			 "SEC(\"tp_btf/no_such_event\") int lost(void *ctx) { return 0; }\n"
			 "SEC(\"xdp\") int fine(struct xdp_md *ctx) { return XDP_PASS; }\n"
			 "SEC(\"fentry/no_such_function\") int lost2(void *ctx) { return 0; }\n"
			 "char _license[] SEC(\"license\") = \"GPL\";\n");

	EACH_RUNTIME(i)
	{
		const struct cmd_result *r =
			skep_cmd("check %s --json --runtime %s", prog, runtimes[i]);
		const struct json_value *v = json_parse(r->out);

		assert_int_equal(r->status, 1);
		assert_false(json_true(v, "programs.0.accepted"));
		says(json_string(v, "programs.0.what"), "no_such_event");
		assert_true(json_true(v, "programs.1.accepted"));
		assert_false(json_true(v, "programs.2.accepted"));
		says(json_string(v, "programs.2.what"), "no_such_function");
	}
}

static void test_unknown_section(void **state)
{
	const char *prog =
		cmd_text("unknown.bpf.c", "#include <linux/bpf.h>\n#include <bpf/bpf_helpers.h>\n"
					  "SEC(\"nonsense\") int p(void *ctx) { return 0; }\n");
	const struct cmd_result *r = skep_cmd("check %s", prog);

	assert_int_equal(r->status, 1);
	says(r->out, "nonsense");
	refuses(skep_cmd("run %s -c %s", prog, capture()), "none of its programs takes packets");
}

/* ---- Compiling ---- */

static void test_diagnostics(void **state)
{
	const char *wrong = cmd_text("wrong.bpf.c", "int f( { }\n");
	const char *warns =
		cmd_text("warns.bpf.c", "#include <linux/bpf.h>\n"
					"#include <bpf/bpf_helpers.h>\n"
					"#warning once and again\n"
					"SEC(\"xdp\") int p(void *ctx) { return 2; }\n");
	const struct cmd_result *r = skep_cmd("check %s", wrong);

	assert_int_equal(r->status, 1);
	says(r->err, "wrong.bpf.c:1:");
	says(r->err, "error:");
	says(r->err, "does not compile");
	/* A warning is shown again when the object comes from the cache. */
	for (int i = 0; i < 2; i++) {
		r = skep_cmd("check %s", warns);
		assert_int_equal(r->status, 0);
		says(r->err, "once and again");
	}
}

static int lines_with(const char *path, const char *what)
{
	char line[4096];
	int n = 0;
	FILE *f = fopen(path, "r");

	while (f && fgets(line, sizeof(line), f))
		n += strstr(line, what) != NULL;
	if (f)
		fclose(f);
	return n;
}

/* The compiler compiles once for each content, and again when an include changes. */
static void test_cache(void **state)
{
	const char *log = cmd_path("cc.log"), *cc, *prog;
	char script[512];

	snprintf(script, sizeof(script), "#!/bin/sh\necho \"$@\" >>%s\nexec clang \"$@\"\n", log);
	cc = cmd_text("cc", script);
	assert_int_equal(chmod(cc, 0755), 0);
	cmd_text("value.h", "#define VALUE 1\n");
	prog = cmd_text("cached.bpf.c", "#include <linux/bpf.h>\n#include <bpf/bpf_helpers.h>\n"
					"#include \"value.h\"\n"
					"SEC(\"xdp\") int p(void *ctx) { return VALUE; }\n");
	for (int i = 0; i < 3; i++)
		assert_int_equal(skep_cmd("check %s --cc %s", prog, cc)->status, 0);
	assert_int_equal(lines_with(log, " -c "), 1);
	cmd_text("value.h", "#define VALUE 2\n");
	assert_int_equal(skep_cmd("check %s --cc %s", prog, cc)->status, 0);
	assert_int_equal(lines_with(log, " -c "), 2);
	/* Without a cache everything works, only slower. */
	setenv("XDG_CACHE_HOME", "/proc/nonexistent", 1);
	for (int i = 0; i < 2; i++)
		assert_int_equal(skep_cmd("check %s --cc %s", prog, cc)->status, 0);
	assert_int_equal(lines_with(log, " -c "), 4);
	snprintf(script, sizeof(script), "%s/cache", cmd_dir());
	setenv("XDG_CACHE_HOME", script, 1);
}

static void test_vmlinux_h(void **state)
{
	const char *prog = cmd_text(
		"types.bpf.c",
		"#include \"vmlinux.h\"\n#include <bpf/bpf_helpers.h>\n"
		"#include <bpf/bpf_core_read.h>\n"
		"SEC(\"xdp\") int p(struct xdp_md *ctx)\n"
		"{\n"
		"	return bpf_core_type_exists(struct task_struct) ? XDP_DROP : XDP_PASS;\n"
		"}\n"
		"char _license[] SEC(\"license\") = \"GPL\";\n");

	EACH_RUNTIME(i)
	{
		const struct cmd_result *r =
			skep_cmd("run %s -c %s --runtime %s --json", prog, capture(), runtimes[i]);

		if (r->status)
			fail_msg("%s: %s", runtimes[i], r->err);
		assert_int_equal(json_number(json_parse(r->out), "verdicts.XDP_DROP"), 10);
	}
}

/* libbpf finds variables of the kernel in the BTF that skep presents. Kernels that know no
 * addresses of data refuse them. */
static void test_ksym_variables(void **state)
{
	const char *prog = cmd_text(
		"ksyms.bpf.c",
		"#include <linux/bpf.h>\n#include <bpf/bpf_helpers.h>\n"
		"extern const int bpf_prog_active __ksym;\n"
		"extern const int cpu_number __ksym;\n"
		"extern const int no_such_variable __ksym __weak;\n"
		"SEC(\"xdp\") int p(struct xdp_md *ctx)\n"
		"{\n"
		"	__u32 cpu = bpf_get_smp_processor_id();\n"
		"	const int *mine = bpf_this_cpu_ptr(&bpf_prog_active);\n"
		"	const int *number = bpf_per_cpu_ptr(&cpu_number, cpu);\n"
		"	const int *none = bpf_per_cpu_ptr(&cpu_number, 1 << 20);\n"
		"	if (none)\n"
		"		return XDP_ABORTED;\n"
		"	asm volatile(\"\"); /* clang 14 would combine the pointers of both */\n"
		"	if (&no_such_variable || !number || *number != cpu)\n"
		"		return XDP_ABORTED;\n"
		"	return *mine >= 0 && *mine < 100 ? XDP_DROP : XDP_PASS;\n"
		"}\n"
		"char _license[] SEC(\"license\") = \"GPL\";\n");

	EACH_RUNTIME(i)
	{
		const struct cmd_result *r =
			skep_cmd("run %s -c %s --runtime %s --json", prog, capture(), runtimes[i]);

		if (i && r->status && strstr(r->err, "failed to find the address")) {
			print_message("skipped: the running kernel has no addresses of data\n");
			continue;
		}
		if (r->status)
			fail_msg("%s: %s", runtimes[i], r->err);
		assert_int_equal(json_number(json_parse(r->out), "verdicts.XDP_DROP"), 10);
	}
}

/* ---- dump ---- */

static void test_dump(void **state)
{
	const char *prog = cmd_text("pass.bpf.c", pass_source);
	const char *bad = cmd_text("bad.bpf.c", bad_source);
	const struct cmd_result *r;

	EACH_RUNTIME(i)
	{
		r = skep_cmd("dump %s --runtime %s", prog, runtimes[i]);
		assert_int_equal(r->status, 0);
		says(r->out, "all_pass (xdp)");
		says(r->out, "map[percpu]");
		says(r->out, "bpf_map_lookup_elem#1");
		says(r->out, "; return XDP_PASS;");
		says(r->out, "(95) exit");
		r = skep_cmd("dump %s --jit --prog all_drop --runtime %s", prog, runtimes[i]);
		assert_int_equal(r->status, 0);
		says(r->out, "all_drop (xdp)");
		says(r->out, "bytes of machine code");
		/* Refused programs have bytecode, and no machine code. */
		assert_int_equal(
			skep_cmd("dump %s --bytecode -p unchecked --runtime %s", bad, runtimes[i])
				->status,
			0);
		refuses(skep_cmd("dump %s --jit -p unchecked --runtime %s", bad, runtimes[i]),
			"refused");
	}
	r = skep_cmd("dump %s --maps --btf", prog);
	assert_int_equal(r->status, 0);
	says(r->out, "sizes: hash, key __u32 (4 bytes), value __u64 (8 bytes), 8 entries");
	says(r->out, "struct xdp_md {");
	refuses(skep_cmd("dump %s --btf", object("nobtf.o", pass_source + 0, "-g0 -DX")), "BTF");
}

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
	printf("ran: cmd %d\n", ran);
	if (skipped)
		printf("skipped %d runs on the kernel: no bpf(2) here\n", skipped);
	cmd_cleanup();
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_usage),
		cmocka_unit_test(test_bad_files),
		cmocka_unit_test(test_bad_captures),
		cmocka_unit_test(test_pcapng),
		cmocka_unit_test(test_run_json),
		cmocka_unit_test(test_run_options),
		cmocka_unit_test(test_run_write),
		cmocka_unit_test(test_sections),
		cmocka_unit_test(test_own_sections),
		cmocka_unit_test(test_legacy_maps),
		cmocka_unit_test(test_check),
		cmocka_unit_test(test_unknown_section),
		cmocka_unit_test(test_check_unprepared),
		cmocka_unit_test(test_diagnostics),
		cmocka_unit_test(test_cache),
		cmocka_unit_test(test_vmlinux_h),
		cmocka_unit_test(test_ksym_variables),
		cmocka_unit_test(test_dump),
		cmocka_unit_test(test_values),
		cmocka_unit_test(test_map_kinds),
		cmocka_unit_test(test_perf_records),
		cmocka_unit_test(test_hostile_objects),
	};

	return cmocka_run_group_tests_name("cmd", tests, NULL, finish);
}
