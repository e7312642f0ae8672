/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The command, driven as a user would: usage, every kind of bad input, exit statuses, check,
 * compiling, dump.
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
#include "scale.h"

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

/* Values of all shapes, as text and as JSON. */ static int finish(void **state)
{
	return cmd_finish("cmd", -1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_usage),
		cmocka_unit_test(test_bad_files),
		cmocka_unit_test(test_bad_captures),
		cmocka_unit_test(test_pcapng),
		cmocka_unit_test(test_check),
		cmocka_unit_test(test_unknown_section),
		cmocka_unit_test(test_check_unprepared),
		cmocka_unit_test(test_diagnostics),
		cmocka_unit_test(test_cache),
		cmocka_unit_test(test_vmlinux_h),
		cmocka_unit_test(test_ksym_variables),
		cmocka_unit_test(test_dump),
		cmocka_unit_test(test_hostile_objects),
	};

	return cmocka_run_group_tests_name("cmd", tests, NULL, finish);
}
