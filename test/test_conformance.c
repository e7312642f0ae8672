// SPDX-License-Identifier: Apache-2.0
/*
 * Every instruction on the interpreter, the JIT compiler and the running kernel:
 * the cases of test/conformance/, and random programs. Results must be what the
 * case says and equal everywhere.
 *
 * A case file holds blocks. Memory is given and expected in hexadecimal; R1 is its
 * address.
 *
 *	op r3 += r4		one instruction on 64-bit operands, a line per case:
 *		1 2 = 3		dst, src, result
 *	jump if r1 s< r2	the same for a condition, result 0 or 1
 *	case NAME		a program
 *	mem 0102...		its memory, 64 bytes at most
 *		...		assembly, see asm.h
 *	= 7			R0
 *	mem= 0102...		memory afterwards, if it is to be tested
 */
#include <dirent.h>
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "asm.h"
#include "bpf/instance.h"
#include "exec/exec.h"
#include "exec/jit/jit.h"
#include "isa/isa.h"
#include "kern.h"
#include "rndprog.h"

#define MEM       128 /* bytes that a program may use ... */
#define CTX       (MEM + 8) /* ... and then its result */
#define MAX_INSNS 2048
#define MAX_TEXT  8192

static struct counts {
	unsigned cases, interp, jit, kernel, refused;
} counts;
static bool with_kernel;
static const char *plugin; /* its command, when the cases go to it, one in `every` */
static unsigned every, skipped;

/* A program on all three. */
struct unit {
	struct bpf_insn insns[MAX_INSNS];
	int n, prologue;
	struct skep_prog prog;
	struct skep_code baseline; /* for a CPU that has nothing special */
	int fd; /* in the kernel; -1: it does not take it */
	const char *where;
};

/* Calls the body as a function and stores all 64 bits of R0 behind the memory. */
static int wrap(struct bpf_insn *out, const struct bpf_insn *body, int n)
{
	int k = 0;

	out[k++] = INSN(BPF_STX | BPF_MEM | BPF_DW, 10, 1, -8, 0);
	out[k++] = INSN(BPF_JMP | BPF_CALL, 0, BPF_PSEUDO_CALL, 0, 4);
	out[k++] = INSN(BPF_LDX | BPF_MEM | BPF_DW, 1, 10, -8, 0);
	out[k++] = INSN(BPF_STX | BPF_MEM | BPF_DW, 1, 0, MEM, 0);
	out[k++] = INSN(BPF_ALU64 | BPF_MOV | BPF_K, 0, 0, 0, 0);
	out[k++] = INSN(BPF_JMP | BPF_EXIT, 0, 0, 0, 0);
	memcpy(out + k, body, n * sizeof(*body));
	return k + n;
}

static void unit_open(struct unit *u, const struct bpf_insn *body, int n, const char *where)
{
	static char log[1 << 18];
	int err;

	assert_true(n > 0 && n + 6 <= MAX_INSNS);
	u->n = wrap(u->insns, body, n);
	u->prologue = u->n - n;
	u->where = where;
	memset(&u->prog, 0, sizeof(u->prog));
	err = skep_image_raw(&u->prog.image, u->insns, u->n);
	if (err)
		fail_msg("%s: no image: %s", where, strerror(-err));
	err = skep_jit(&u->prog, &u->prog.code);
	if (err && err != -ENOTSUP)
		fail_msg("%s: not compiled: %s", where, strerror(-err));
	memset(&u->baseline, 0, sizeof(u->baseline));
	if (!err && skep_jit_with(&u->prog, JIT_BASELINE, &u->baseline))
		fail_msg("%s: not compiled for an older CPU", where);
	u->fd = -1;
	if (!with_kernel)
		return;
	u->fd = kern_load(BPF_PROG_TYPE_SYSCALL, u->insns, u->n, 1, log, sizeof(log));
	if (u->fd < 0) {
		counts.refused++;
		if (getenv("SKEP_TEST_VERBOSE"))
			print_message("%s: the kernel refuses: %s\n", where, log);
	}
}

static void unit_close(struct unit *u)
{
	if (u->fd >= 0)
		close(u->fd);
	skep_jit_free(&u->prog.code);
	skep_jit_free(&u->baseline);
	skep_image_free(&u->prog.image);
}

static void dump(const struct unit *u)
{
	char buf[128];

	for (int i = 0; i < u->n;) {
		int n = skep_disasm(&u->insns[i], NULL, buf, sizeof(buf));

		print_message("%3d: %s\n", i, buf);
		i += n;
	}
}

static void same(const struct unit *u, const char *who, const uint8_t *got, const uint8_t *want)
{
	if (!memcmp(got, want, CTX))
		return;
	dump(u);
	for (int i = 0; i < CTX; i += 8) {
		uint64_t g, w;

		memcpy(&g, got + i, 8);
		memcpy(&w, want + i, 8);
		if (g != w)
			print_message("  at %d: %s has 0x%llx, expected 0x%llx\n", i, who,
				      (unsigned long long)g, (unsigned long long)w);
	}
	fail_msg("%s: %s differs", u->where, who);
}

static void put_hex(FILE *f, const void *bytes, size_t n)
{
	for (size_t i = 0; i < n; i++)
		fprintf(f, "%02x", ((const uint8_t *)bytes)[i]);
}

/* Through the plugin, which gives nothing but R0. */
static void plugin_run(const struct unit *u, const uint8_t *mem, const uint8_t *want)
{
	char command[64 + 512 + 2 * MEM], out[] = "/tmp/skep-conformance-XXXXXX";
	int fd = mkstemp(out), n, status;
	unsigned long long r0;
	uint64_t expected;
	FILE *f;

	assert_true(fd >= 0);
	n = snprintf(command, sizeof(command), "%s ", plugin);
	for (int i = 0; i < MEM; i++)
		n += snprintf(command + n, sizeof(command) - n, "%02x", mem[i]);
	snprintf(command + n, sizeof(command) - n, " >%s", out);
	f = popen(command, "we");
	assert_non_null(f);
	put_hex(f, u->insns + u->prologue, (u->n - u->prologue) * sizeof(*u->insns));
	status = pclose(f);
	f = fdopen(fd, "r");
	unlink(out);
	n = fscanf(f, "%llx", &r0);
	fclose(f);
	if (status || n != 1)
		fail_msg("%s: %s: status %d", u->where, plugin, status);
	memcpy(&expected, want + MEM, 8);
	if (r0 != expected)
		fail_msg("%s: %s says 0x%llx, expected 0x%llx", u->where, plugin, r0,
			 (unsigned long long)expected);
}

/* Runs u on a copy of mem everywhere. want may be NULL: what the interpreter says. */
static void unit_run(struct unit *u, const uint8_t *mem, const uint8_t *want)
{
	_Alignas(8) uint8_t ctx[CTX], ref[CTX];
	struct skep_env env = {.prog = &u->prog};
	struct skep_region region = {
		.base = (uintptr_t)ref, .size = CTX, .flags = SKEP_REGION_READ | SKEP_REGION_WRITE};
	struct skep_raw raw = {.insns = u->insns,
			       .len = u->n,
			       .regions = &region,
			       .nregions = 1,
			       .max_steps = 1000000};
	uint64_t r0;
	uint32_t ret;
	int err;

	if (plugin) {
		/* A process for each. */
		if (every <= 1 || ++skipped % every == 0) {
			plugin_run(u, mem, want);
			counts.cases++;
		}
		return;
	}
	counts.cases++;
	memcpy(ref, mem, MEM);
	memset(ref + MEM, 0xee, 8);
	err = skep_interp_raw(&raw, (uintptr_t)ref, 0, &env, &r0);
	if (err) {
		dump(u);
		fail_msg("%s: interpreter: %s", u->where, strerror(-err));
	}
	if (want)
		same(u, "the interpreter", ref, want);
	counts.interp++;
	if (u->prog.code.entry) {
		memcpy(ctx, mem, MEM);
		memset(ctx + MEM, 0xee, 8);
		u->prog.code.entry(ctx, &env);
		same(u, "the compiled program", ctx, ref);
		memcpy(ctx, mem, MEM);
		memset(ctx + MEM, 0xee, 8);
		u->baseline.entry(ctx, &env);
		same(u, "the program compiled for an older CPU", ctx, ref);
		counts.jit++;
	}
	if (u->fd >= 0) {
		memcpy(ctx, mem, MEM);
		memset(ctx + MEM, 0xee, 8);
		err = kern_run_ctx(u->fd, ctx, CTX, &ret);
		if (err)
			fail_msg("%s: kernel: %s", u->where, strerror(-err));
		same(u, "the kernel", ctx, ref);
		counts.kernel++;
	}
}

/* ---- Case files ---- */

static int parse_hex(const char *s, uint8_t *out)
{
	int n = 0;
	unsigned b;

	for (; n < MEM && sscanf(s, "%2x", &b) == 1; s += 2)
		out[n++] = b;
	return n;
}

/* "op r3 += r4" or "jump if r3 > 4": loads the operands around the instruction. */
static int build_op(const char *text, bool jump, struct bpf_insn *out)
{
	struct bpf_insn insn[2];
	char buf[128];
	int base, n = 0, src;

	snprintf(buf, sizeof(buf), jump ? "%s goto +1" : "%s", text);
	if (asm_text(buf, insn, 4) != 1)
		return -1;
	src = BPF_SRC(insn->code) == BPF_X && (jump || BPF_OP(insn->code) != BPF_END)
		      ? insn->src_reg
		      : insn->dst_reg;
	for (base = 9; base == insn->dst_reg || base == src; base--)
		;
	out[n++] = INSN(BPF_ALU64 | BPF_MOV | BPF_X, base, 1, 0, 0);
	out[n++] = INSN(BPF_LDX | BPF_MEM | BPF_DW, insn->dst_reg, base, 0, 0);
	if (src != insn->dst_reg)
		out[n++] = INSN(BPF_LDX | BPF_MEM | BPF_DW, src, base, 8, 0);
	if (jump) {
		out[n++] = *insn;
		out[n - 1].off = 2;
		out[n++] = INSN(BPF_ALU64 | BPF_MOV | BPF_K, 0, 0, 0, 0);
		out[n++] = INSN(BPF_JMP | BPF_EXIT, 0, 0, 0, 0);
		out[n++] = INSN(BPF_ALU64 | BPF_MOV | BPF_K, 0, 0, 0, 1);
	} else {
		out[n++] = *insn;
		/* The source must not change. */
		if (src != insn->dst_reg)
			out[n++] = INSN(BPF_STX | BPF_MEM | BPF_DW, base, src, 16, 0);
		out[n++] = INSN(BPF_ALU64 | BPF_MOV | BPF_X, 0, insn->dst_reg, 0, 0);
	}
	out[n++] = INSN(BPF_JMP | BPF_EXIT, 0, 0, 0, 0);
	return n;
}

static bool stores_source(const struct unit *u)
{
	return u->n > 8 && u->insns[u->n - 3].code == (BPF_STX | BPF_MEM | BPF_DW);
}

/* A line of an op block. */
static void run_line(struct unit *u, const char *line, bool jump)
{
	_Alignas(8) uint8_t mem[MEM] = {0}, want[CTX];
	unsigned long long a, b, r;

	if (sscanf(line, "%lli %lli = %lli", (long long *)&a, (long long *)&b, (long long *)&r) !=
	    3) {
		/* %lli stops at the largest signed number. */
		fail_msg("bad line: %s", line);
	}
	a = strtoull(line, NULL, 0);
	b = strtoull(line + 1 + strcspn(line, " "), NULL, 0);
	r = strtoull(strchr(line, '=') + 1, NULL, 0);
	memcpy(mem, &a, 8);
	memcpy(mem + 8, &b, 8);
	memcpy(want, mem, MEM);
	if (!jump && stores_source(u))
		memcpy(want + 16, &b, 8);
	memcpy(want + MEM, &r, 8);
	unit_run(u, mem, want);
}

struct program {
	char name[128], text[MAX_TEXT];
	uint8_t mem[MEM], mem_after[MEM];
	bool has_after, has_result;
	unsigned long long r0;
	bool open;
};

static void run_program(struct program *p)
{
	_Alignas(8) uint8_t want[CTX];
	static struct bpf_insn body[MAX_INSNS];
	static struct unit u;
	int n;

	if (!p->open)
		return;
	p->open = false;
	n = asm_text(p->text, body, MAX_INSNS - 8);
	if (n < 0 || !p->has_result)
		fail_msg("%s: cannot be read", p->name);
	unit_open(&u, body, n, p->name);
	memcpy(want, p->has_after ? p->mem_after : p->mem, MEM);
	memcpy(want + MEM, &p->r0, 8);
	unit_run(&u, p->mem, want);
	unit_close(&u);
}

static void run_file(const char *path)
{
	static struct program p;
	static struct unit u;
	static char line[1024], where[2048];
	bool op = false, jump = false;
	FILE *f = fopen(path, "re");

	assert_non_null(f);
	memset(&p, 0, sizeof(p));
	while (fgets(line, sizeof(line), f)) {
		char *s = line + strspn(line, " \t");

		s[strcspn(s, "\n")] = '\0';
		if (!*s || *s == '#')
			continue;
		if (!strncmp(line, "op ", 3) || !strncmp(line, "jump ", 5)) {
			struct bpf_insn body[16];
			int n;

			run_program(&p);
			if (op)
				unit_close(&u);
			op = true;
			jump = line[0] == 'j';
			snprintf(where, sizeof(where), "%s: %s", path, line);
			n = build_op(line + (jump ? 5 : 3), jump, body);
			if (n < 0)
				fail_msg("%s: cannot be read", where);
			unit_open(&u, body, n, where);
		} else if (!strncmp(line, "case ", 5)) {
			run_program(&p);
			if (op)
				unit_close(&u);
			op = false;
			memset(&p, 0, sizeof(p));
			snprintf(p.name, sizeof(p.name), "%.100s", line + 5);
			p.open = true;
		} else if (op) {
			run_line(&u, s, jump);
		} else if (!strncmp(line, "mem ", 4)) {
			parse_hex(line + 4, p.mem);
		} else if (!strncmp(line, "mem= ", 5)) {
			parse_hex(line + 5, p.mem_after);
			p.has_after = true;
		} else if (line[0] == '=') {
			p.r0 = strtoull(line + 1, NULL, 0);
			p.has_result = true;
		} else {
			strncat(p.text, s, sizeof(p.text) - strlen(p.text) - 1);
			strncat(p.text, "\n", sizeof(p.text) - strlen(p.text) - 1);
		}
	}
	run_program(&p);
	if (op)
		unit_close(&u);
	fclose(f);
}

static const char *case_dir(void)
{
	const char *dir = getenv("SKEP_CONFORMANCE");

	return dir ? dir : "test/conformance";
}

static void run_files(void)
{
	struct dirent **list;
	char path[512];
	int n = scandir(case_dir(), &list, NULL, alphasort);

	if (n < 0)
		fail_msg("%s: %s (run from the source folder or set SKEP_CONFORMANCE)", case_dir(),
			 strerror(errno));
	memset(&counts, 0, sizeof(counts));
	for (int i = 0; i < n; i++) {
		size_t len = strlen(list[i]->d_name);

		if (len > 4 && !strcmp(list[i]->d_name + len - 4, ".txt")) {
			snprintf(path, sizeof(path), "%s/%s", case_dir(), list[i]->d_name);
			run_file(path);
		}
		free(list[i]);
	}
	free(list);
}

static void test_cases(void **state)
{
	run_files();
	print_message("%u cases: interpreter %u, compiled %u, kernel %u; %u programs refused by "
		      "the kernel\n",
		      counts.cases, counts.interp, counts.jit, counts.kernel, counts.refused);
	assert_true(counts.cases > 400);
	assert_int_equal(counts.refused, 0);
}

static void plugin_path(char *out, size_t size)
{
	ssize_t len = readlink("/proc/self/exe", out, size - 1);

	assert_true(len > 0);
	out[len] = '\0';
	snprintf(strrchr(out, '/'), 32, "/conformance_plugin");
}

/* SKEP_PLUGIN: the command of another than ours, which gets all cases. */
static void test_plugin(void **state)
{
	static const char *const modes[] = {"--interpret", "--jit", "--bpf"};
	const char *given = getenv("SKEP_PLUGIN");
	char path[256], command[512];
	bool kernel = with_kernel;

	plugin_path(path, sizeof(path) - 32);
	with_kernel = false;
	for (int i = given ? 2 : 0; i < (kernel || given ? 3 : 2); i++) {
		snprintf(command, sizeof(command), "%s %s", path, modes[i]);
		plugin = given ? given : command;
		every = given ? 1 : 8;
		run_files();
		print_message("ran: conformance_plugin %u\n", counts.cases);
		plugin = NULL;
	}
	with_kernel = kernel;
}

/* What it says besides results: "echo IN | conformance_plugin ARGS" is STATUS, and OUT stands
 * in what it prints. */
static void test_plugin_says(void **state)
{
#define EXIT "9500000000000000"
#define R0_0 "b700000000000000"
	static const struct {
		const char *args, *in;
		int status;
		const char *out;
	} rows[] = {
		{"", R0_0 EXIT, 0, "0\n"},
		{"", "b7 00 00 00 ff ff ff ff\n 95 00 00 00 00 00 00 00", 0, "ffffffffffffffff\n"},
		{"--interpret", "bf20000000000000" EXIT, 0, "0\n"}, /* r0 = r2 */
		{"'01 02 03'", "bf20000000000000" EXIT, 0, "3\n"},
		{"--interpret 010203", "7110020000000000" EXIT, 0, "3\n"}, /* r0 = *(u8 *)(r1 +2) */
		{"--interpret", "7110020000000000" EXIT, 1, "Bad address"},
		{"--jit", "7110020000000000" EXIT, 1, "not its own"},
		{"--interpret", "0500ffff00000000" EXIT, 1, "symbolic links"}, /* goto -1 */
		{"", "ff00000000000000" EXIT, 1, "Invalid argument"},
		{"", "b7", 1, "whole instructions"},
		{"", "", 1, "no program"},
		{"", "xy", 1, "no program"},
		{"0", R0_0 EXIT, 1, "hexadecimal"},
		{"--what", R0_0 EXIT, 1, "usage"},
		{"00 00", R0_0 EXIT, 1, "usage"},
		{"--elf", R0_0 EXIT, 1, "object file"},
	};
	char path[256], command[1024], said[512];

	plugin_path(path, sizeof(path) - 32);
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		size_t n;
		FILE *f;

		snprintf(command, sizeof(command), "echo '%s' | %s %s 2>&1", rows[i].in, path,
			 rows[i].args);
		f = popen(command, "re");
		assert_non_null(f);
		n = fread(said, 1, sizeof(said) - 1, f);
		said[n] = '\0';
		assert_int_equal(WEXITSTATUS(pclose(f)), rows[i].status);
		if (!strstr(said, rows[i].out))
			fail_msg("%s says: %s", command, said);
	}
	/* The first function of the section is the program; the other is called through a relocation. */
	snprintf(command, sizeof(command),
		 "printf '%%s' 'long f(long); long g(long *m) { return f(m[0]) + f(m[1]); }"
		 "__attribute__((noinline)) long f(long a) { return a * 7; }' |"
		 "clang -O2 -target bpf -x c -c - -o - | od -An -v -tx1 |"
		 "%s --elf 01000000000000000500000000000000",
		 path);
	if (system("clang --version >/dev/null 2>&1"))
		return;
	FILE *f = popen(command, "re");

	assert_non_null(f);
	assert_int_equal(fscanf(f, "%511s", said), 1);
	assert_int_equal(pclose(f), 0);
	assert_string_equal(said, "2a");
}

/* ---- Random programs ---- */

static double now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec + ts.tv_nsec / 1e9;
}

static void test_random(void **state)
{
	static struct bpf_insn body[MAX_INSNS];
	static struct unit u;
	const char *scale = getenv("SKEP_TEST_SCALE"), *from = getenv("SKEP_TEST_SEED");
	uint64_t first = from ? strtoull(from, NULL, 0) : 1, i;
	bool kernel = with_kernel;
	double until = now() + 2 * (scale ? atof(scale) : 1);
	char where[64];

	memset(&counts, 0, sizeof(counts));
	for (i = first; now() < until; i++) {
		_Alignas(8) uint8_t mem[MEM] = {0};

		/* Loading into the kernel takes most of the time. */
		with_kernel = kernel && (from || i % 16 < 2);

		rnd_seed(i);
		snprintf(where, sizeof(where), "random program SKEP_TEST_SEED=%llu",
			 (unsigned long long)i);
		unit_open(&u, body, i % 2 ? rnd_program(body) : rnd_compiled(body), where);
		for (int k = 0; k < 4; k++) {
			for (int r = 0; r < 10; r++) {
				int64_t v = rnd_value();

				memcpy(mem + 8 * r, &v, 8);
			}
			unit_run(&u, mem, NULL);
		}
		unit_close(&u);
	}
	with_kernel = kernel;
	assert_true(counts.refused * 10 <= i - first);
	print_message("%llu programs from seed %llu: runs: interpreter %u, compiled %u, kernel %u; "
		      "%u refused by the kernel\n",
		      (unsigned long long)(i - first), (unsigned long long)first, counts.interp,
		      counts.jit, counts.kernel, counts.refused);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_cases),
		cmocka_unit_test(test_plugin),
		cmocka_unit_test(test_plugin_says),
		cmocka_unit_test(test_random),
	};

	with_kernel = !getenv("SKEP_TEST_NO_KERNEL") && kern_available();
	if (!with_kernel)
		print_message("no kernel to compare with: bpf(2) is not permitted here\n");
	if (getenv("SKEP_PLUGIN")) {
		const struct CMUnitTest one[] = {cmocka_unit_test(test_plugin)};

		return cmocka_run_group_tests(one, NULL, NULL);
	}
	return cmocka_run_group_tests(tests, NULL, NULL);
}
