/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Helpers on memory and text against the kernel's: SYSCALL programs that call
 * one helper; compared are its result and the bytes it wrote.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>
#include <cmocka.h>

#include "kernel.h"
#include "side.h"

static struct side kernel, ours;

static int setup(void **state)
{
	if (!kernel_there()) {
		print_message("skipped: no bpf(2) here\n");
		return 0;
	}
	return skep_open(&ours.skep, NULL);
}

static int teardown(void **state)
{
	skep_close(ours.skep);
	return 0;
}

/* ---- Programs ---- */

struct code {
	struct bpf_insn insns[256];
	uint32_t n;
	int map; /* the constants that it uses, if not 0 */
	uint32_t callback; /* where a second function starts, 0: there is none */
};

static void add(struct code *c, uint8_t code, uint8_t dst, uint8_t src, int16_t off, int32_t imm)
{
	c->insns[c->n++] = (struct bpf_insn){
		.code = code, .dst_reg = dst, .src_reg = src, .off = off, .imm = imm};
}

static void number(struct code *c, uint8_t reg, uint64_t v)
{
	add(c, BPF_LD | BPF_IMM | BPF_DW, reg, 0, 0, (int32_t)v);
	add(c, 0, 0, 0, 0, (int32_t)(v >> 32));
}

static void ctx_ptr(struct code *c, uint8_t reg, int32_t off)
{
	add(c, BPF_ALU64 | BPF_MOV | BPF_X, reg, 6, 0, 0);
	add(c, BPF_ALU64 | BPF_ADD | BPF_K, reg, 0, 0, off);
}

static void map_ptr(struct code *c, uint8_t reg, int fd, int32_t off)
{
	add(c, BPF_LD | BPF_IMM | BPF_DW, reg, BPF_PSEUDO_MAP_VALUE, 0, fd);
	add(c, 0, 0, 0, 0, off);
}

static void call(struct code *c, int32_t id)
{
	add(c, BPF_JMP | BPF_CALL, 0, 0, 0, id);
	add(c, BPF_JMP | BPF_EXIT, 0, 0, 0, 0);
}

static int constants(struct code *c, struct side *s, const void *value, uint32_t size)
{
	c->map = side_const(s, value, size);
	assert_true(c->map > 0);
	return c->map;
}

#define CTX_SIZE 512

/* Runs `build` on both sides. What it wrote into ctx is compared, and the result. */
static uint32_t cases;

static void both(void (*build)(struct code *c, struct side *s, void *arg), void *arg,
		 const char *what)
{
	struct side *sides[] = {&kernel, &ours};
	uint8_t ctx[2][CTX_SIZE];
	uint32_t retval[2];
	long err[2];

	for (int i = 0; i < 2; i++) {
		struct code c = {0};
		int fd;

		memset(ctx[i], 0xa5, CTX_SIZE);
		add(&c, BPF_ALU64 | BPF_MOV | BPF_X, 6, 1, 0, 0);
		build(&c, sides[i], arg);
		err[i] = c.callback ? side_load_callback(sides[i], BPF_PROG_TYPE_SYSCALL, c.insns,
							 c.n, c.callback, &fd)
				    : side_load(sides[i], BPF_PROG_TYPE_SYSCALL, c.insns, c.n,
						"GPL", &fd);
		retval[i] = 0;
		if (c.map)
			close(c.map);
		if (err[i])
			continue;
		err[i] = side_run(sides[i], fd, ctx[i], CTX_SIZE, &retval[i]);
		close(fd);
	}
	cases++;
	if (err[0] != err[1])
		fail_msg("%s: kernel %ld (%.3000s), skep %ld (%.3000s)", what, err[0], kernel.log,
			 err[1], ours.log);
	if (retval[0] != retval[1])
		fail_msg("%s: result: kernel %d, skep %d\nkernel: %.200s\nskep:   %.200s", what,
			 (int)retval[0], (int)retval[1], ctx[0], ctx[1]);
	for (int i = 0; i < CTX_SIZE; i++) {
		if (ctx[0][i] != ctx[1][i])
			fail_msg(
				"%s: byte %d: kernel %#x, skep %#x\nkernel: %.200s\nskep:   %.200s",
				what, i, ctx[0][i], ctx[1][i], ctx[0], ctx[1]);
	}
}

static void done(const char *name)
{
	print_message("ran: %s %u\n", name, cases);
	cases = 0;
}

/* ---- bpf_snprintf ---- */

struct format {
	const char *fmt;
	int nargs;
	uint64_t args[12]; /* P(n): the address of data + n */
	uint32_t size; /* of the output; 0: 200 */
};

#define P(off) (0xabcd000000000000ull | (off))

static const char data[] = "\x01\x80\xff\x10 0123456789abcdef\0text\0\0a longer text, to be cut";
#define TEXT  21
#define EMPTY 26
#define LONG  27

static void build_snprintf(struct code *c, struct side *s, void *arg)
{
	const struct format *f = arg;
	uint8_t value[1024] = {0};
	int fd;

	strcpy((char *)value, f->fmt);
	memcpy(value + 512, data, sizeof(data));
	fd = constants(c, s, value, sizeof(value));
	for (int i = 0; i < f->nargs; i++) {
		if ((f->args[i] & P(0)) == P(0))
			map_ptr(c, 1, fd, 512 + (uint16_t)f->args[i]);
		else
			number(c, 1, f->args[i]);
		add(c, BPF_STX | BPF_MEM | BPF_DW, 10, 1, (int16_t)(-96 + i * 8), 0);
	}
	ctx_ptr(c, 1, 0);
	number(c, 2, f->size ? f->size : 200);
	map_ptr(c, 3, fd, 0);
	if (f->nargs) {
		add(c, BPF_ALU64 | BPF_MOV | BPF_X, 4, 10, 0, 0);
		add(c, BPF_ALU64 | BPF_ADD | BPF_K, 4, 0, 0, -96);
	} else {
		number(c, 4, 0);
	}
	number(c, 5, (uint64_t)f->nargs * 8);
	call(c, BPF_FUNC_snprintf);
}

static const struct format formats[] = {
	{"plain", 0, {0}, 0},
	{"", 0, {0}, 0},
	{"100%%", 0, {0}, 0},
	{"%%%d%%", 1, {5}, 0},
	{"%d %i %u %x %X", 5, {1, (uint64_t)-1, (uint64_t)-1, 0xabc, 0xabc}, 0},
	{"%d", 1, {0xffffffff80000000ull}, 0},
	{"%ld %li %lu %lx %lX", 5, {(uint64_t)-5, 5, (uint64_t)-5, (uint64_t)-5, 255}, 0},
	{"%lld %lli %llu %llx %llX", 5, {(uint64_t)-5, 5, (uint64_t)-5, (uint64_t)-5, 255}, 0},
	{"%5d|%-5d|%05d|%+d|% d", 5, {42, 42, 42, 42, 42}, 0},
	{"%5d|%-5d|%05d|%+d|% d", 5, {-42ull, -42ull, -42ull, -42ull, -42ull}, 0},
	{"%-05d|%0-5d|%+5d|%+05d|% 05d|%+ d", 6, {42, 42, 42, 42, 42, 42}, 0},
	{"%+u|% u|%+x|% x|%05x|%-5x|%5X", 7, {7, 7, 7, 7, 7, 7, 7}, 0},
	{"%0d|%-d|%00d|%--d", 4, {7, 7, 7, 7}, 0},
	{"%20lld|%-20llx|%020llu", 3, {-1ull, -1ull, -1ull}, 0},
	{"%64d", 1, {7}, 0},
	{"%064d", 1, {7}, 0},
	{"%100d", 1, {7}, 100},
	{"%s|%s", 2, {P(TEXT), P(EMPTY)}, 0},
	{"%10s|%-10s|%010s|%+s|% s", 5, {P(TEXT), P(TEXT), P(TEXT), P(TEXT), P(TEXT)}, 0},
	{"%2s|", 1, {P(TEXT)}, 0},
	{"%s", 1, {P(LONG)}, 10},
	{"%s", 1, {P(LONG)}, 1},
	{"%s", 1, {0}, 0},
	{"%s!", 1, {16}, 0},
	{"%s%s", 2, {P(TEXT), P(TEXT)}, 0},
	{"%c%c%c", 3, {'a', 0x141, 'z'}, 0},
	{"%5c|%-5c|%05c|", 3, {'a', 'b', 'c'}, 0},
	{"%c|", 1, {0}, 0},
	{"%pI4 %pi4", 2, {P(0), P(0)}, 0},
	{"%pI6 %pi6", 2, {P(0), P(4)}, 0},
	{"%20pI4|%-20pi4|%50pI6|%-40pi6|", 4, {P(0), P(0), P(0), P(0)}, 0},
	{"%pI4", 1, {16}, 0},
	{"%pI6", 1, {16}, 0},
	{"%px %px", 2, {0x1234, (uint64_t)-1}, 0},
	{"%20px|%-20px|%4px", 3, {0x1234, 0x1234, 0x1234}, 0},
	{"%px,%px.", 2, {1, 2}, 0},
	{"%pks %pus", 2, {P(TEXT), 16}, 0},
	{"%ps", 1, {0x1234}, 0},
	{"%pS", 1, {0x1234}, 0},
	{"%pB", 1, {0x1234}, 0},
	{"%ps|%20ps|%-20pS|", 3, {0, 7, 8}, 0},
	/* Refused */
	{"%", 0, {0}, 0},
	{"%", 1, {1}, 0},
	{"%d", 0, {0}, 0},
	{"%d %d", 1, {1}, 0},
	{"no need", 2, {1, 2}, 0},
	{"%f", 1, {1}, 0},
	{"%hd", 1, {1}, 0},
	{"%zd", 1, {1}, 0},
	{"%llld", 1, {1}, 0},
	{"%l", 1, {1}, 0},
	{"%ls", 1, {P(TEXT)}, 0},
	{"%#x", 1, {1}, 0},
	{"%.3d", 1, {1}, 0},
	{"%.3s", 1, {P(TEXT)}, 0},
	{"%*d", 2, {1, 2}, 0},
	{"%n", 1, {1}, 0},
	{"%o", 1, {1}, 0},
	{"%dx %sx", 2, {1, P(TEXT)}, 0},
	{"%s,%s.", 2, {P(TEXT), P(TEXT)}, 0},
	{"%s_%s-", 2, {P(TEXT), P(TEXT)}, 0},
	{"%s1", 1, {P(TEXT)}, 0},
	{"%p1", 1, {1}, 0},
	{"%pI", 1, {1}, 0},
	{"%pI5", 1, {1}, 0},
	{"%pI4x", 1, {P(0)}, 0},
	{"%pI4:%pI4", 2, {P(0), P(0)}, 0},
	{"%pi6 x", 1, {P(0)}, 0},
	{"%pkx", 1, {1}, 0},
	{"%pu", 1, {1}, 0},
	{"%pksx", 1, {P(TEXT)}, 0},
	{"%pM", 1, {P(0)}, 0},
	{"%pU", 1, {P(0)}, 0},
	{"%pxx", 1, {1}, 0},
	{"%cx", 1, {'a'}, 0},
	{"%dd", 1, {1}, 0},
	{"%uu%uu", 2, {1, 2}, 0},
	{"caf\xc3\xa9", 0, {0}, 0},
	{"\x01", 0, {0}, 0},
	{"tab\tnewline\n\r\v\f", 0, {0}, 0},
	{"\x1b[1m", 0, {0}, 0},
	{"\x7f", 0, {0}, 0},
	{"%1000000d", 1, {1}, 100},
	{"%99999999999d", 1, {1}, 100},
	/* Many, and long ones */
	{"%d %d %d %d %d %d %d %d %d %d %d %d", 12, {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12}, 0},
	{"%s %s %s %s %s %s %s %s %s %s %s %s",
	 12,
	 {P(LONG), P(LONG), P(LONG), P(LONG), P(LONG), P(LONG), P(LONG), P(LONG), P(LONG), P(LONG),
	  P(LONG), P(LONG)},
	 500},
	{"%d %lld %d %lld %s %lld %c %d", 8, {1, 2, 3, 4, P(TEXT), 5, 'c', 6}, 0},
};

static void test_snprintf(void **state)
{
	if (!ours.skep)
		skip();
	for (size_t i = 0; i < sizeof(formats) / sizeof(formats[0]); i++) {
		struct format f = formats[i];
		char what[200];

		for (int cut = 0; cut < 4; cut++) {
			snprintf(what, sizeof(what), "snprintf \"%s\", %d arguments, size %u",
				 f.fmt, f.nargs, f.size);
			both(build_snprintf, &f, what);
			f.size = (uint32_t)cut * 3 + 1;
		}
	}
	done("helper_snprintf");
}

/* Arguments that are the same on both sides: small numbers, which %s takes for bad addresses. */
static void build_numbers(struct code *c, struct side *s, void *arg)
{
	struct format f = *(struct format *)arg;

	for (int i = 0; i < f.nargs; i++)
		f.args[i] = (f.args[i] & 0xff) * (i & 1 ? -7ull : 3);
	build_snprintf(c, s, &f);
}

/* Any pieces after each other: most are good, and all that follows them may not be. */
static void test_random_formats(void **state)
{
	static const char *const pieces[] = {
		"%",   "0",    "-",  "+",   " ",  "1",  "7",   "12",    "d",      "i",   "u",
		"x",   "X",    "ld", "llu", "lx", "s",  "c",   "p",     "px",     "pI4", "pi6",
		"pks", "text", ",",  "%%",  "%d", "%s", "%5d", "%-7lx", "%020llu"};
	uint64_t seed = 11;

	if (!ours.skep)
		skip();
	for (uint32_t i = 0; i < test_scale(600); i++) {
		struct format f = {.nargs = (int)(test_random(&seed) % 5)};
		char fmt[128] = "", what[200];

		for (uint64_t n = test_random(&seed) % 8; n; n--) {
			uint64_t r = test_random(&seed);

			/* Conversions are what is looked for: every other piece starts one. */
			if (r & 1)
				strcat(fmt, "%");
			strcat(fmt, pieces[(r >> 8) % (sizeof(pieces) / sizeof(pieces[0]))]);
		}
		/* A plain %p prints another number on each side. */
		for (char *p = strstr(fmt, "%p"); p; p = strstr(p + 1, "%p")) {
			if (!strchr("xIi", p[2]) || !p[2])
				p[1] = 'd';
		}
		f.fmt = fmt;
		for (int k = 0; k < f.nargs; k++)
			f.args[k] = P(test_random(&seed) % 2 ? TEXT : LONG);
		f.size = (uint32_t)(test_random(&seed) % 120) + 1;
		snprintf(what, sizeof(what), "snprintf \"%s\", %d arguments", fmt, f.nargs);
		both(build_numbers, &f, what);
	}
	done("helper_random_formats");
}

/* ---- Numbers and text ---- */

struct text {
	const char *text;
	uint32_t len;
	uint64_t flags;
	int32_t id;
};

static void build_strto(struct code *c, struct side *s, void *arg)
{
	const struct text *t = arg;
	char value[128] = "";
	int fd;

	memcpy(value, t->text, t->len);
	fd = constants(c, s, value, sizeof(value));
	map_ptr(c, 1, fd, 0);
	number(c, 2, t->len);
	number(c, 3, t->flags);
	add(c, BPF_ALU64 | BPF_MOV | BPF_X, 4, 10, 0, 0);
	add(c, BPF_ALU64 | BPF_ADD | BPF_K, 4, 0, 0, -8);
	add(c, BPF_ST | BPF_MEM | BPF_DW, 10, 0, -8, -1);
	add(c, BPF_JMP | BPF_CALL, 0, 0, 0, t->id);
	add(c, BPF_LDX | BPF_MEM | BPF_DW, 1, 10, -8, 0);
	add(c, BPF_STX | BPF_MEM | BPF_DW, 6, 1, 0, 0);
	add(c, BPF_JMP | BPF_EXIT, 0, 0, 0, 0);
}

static void test_strto(void **state)
{
	static const char *const texts[] = {
		"1",
		"0",
		"42x",
		" 42",
		"\t\n\v\f\r 7",
		"\xa0\x35",
		"-1",
		"- 1",
		"--1",
		"+1",
		"-",
		" ",
		"x",
		"0x",
		"0x1f",
		"0X1F",
		"0xg",
		"08",
		"017",
		"0777",
		"9223372036854775807",
		"9223372036854775808",
		"-9223372036854775808",
		"-9223372036854775809",
		"18446744073709551615",
		"18446744073709551616",
		"99999999999999999999999",
		"ff",
		"FF",
		"-0x10",
		"-0",
		"0b1",
		"1 2",
		"12-",
		"000000000000000000000000000000000000000000000000001",
		"0000000000000000000000000000000000000000000000000000000000000000000000000009",
		"         1234567890123456789012345678901234567890123456789012345678901234567890",
		"0x00000000000000000000000000000000000000000000000000000000000000001",
		"1777777777777777777777",
		"0x7fffffffffffffff",
		"0x8000000000000000",
		"0xffffffffffffffff",
		"0x10000000000000000",
	};
	static const uint64_t flags[] = {0,  8,  10, 16, 2,          1,
					 36, 31, 32, 40, 1ull << 32, (uint64_t)-1};

	if (!ours.skep)
		skip();
	for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
		for (size_t f = 0; f < sizeof(flags) / sizeof(flags[0]); f++) {
			for (int k = 0; k < 6; k++) {
				struct text t = {texts[i], (uint32_t)strlen(texts[i]), flags[f],
						 k & 1 ? BPF_FUNC_strtol : BPF_FUNC_strtoul};
				char what[200];

				if (k / 2 == 1)
					t.len++;
				else if (k / 2 == 2 && t.len > 1)
					t.len--;
				snprintf(what, sizeof(what), "%s \"%s\", %u bytes, flags %#llx",
					 k & 1 ? "strtol" : "strtoul", t.text, t.len,
					 (unsigned long long)t.flags);
				both(build_strto, &t, what);
			}
		}
	}
	done("helper_strto");
}

struct pair {
	const char *a, *b;
	uint32_t len;
};

static void build_strncmp(struct code *c, struct side *s, void *arg)
{
	const struct pair *p = arg;
	char value[128] = "";
	int fd;

	strcpy(value, p->a);
	strcpy(value + 64, p->b);
	fd = constants(c, s, value, sizeof(value));
	map_ptr(c, 1, fd, 0);
	number(c, 2, p->len);
	map_ptr(c, 3, fd, 64);
	call(c, BPF_FUNC_strncmp);
}

static void test_strncmp(void **state)
{
	static const struct pair pairs[] = {
		{"", "", 1},         {"a", "a", 1},       {"a", "b", 1},     {"b", "a", 1},
		{"abc", "abd", 2},   {"abc", "abd", 3},   {"abd", "abc", 3}, {"ab", "abc", 3},
		{"abc", "ab", 3},    {"abc", "ab", 2},    {"\xff", "a", 1},  {"a", "\xff", 2},
		{"same", "same", 9}, {"same", "same", 5}, {"", "x", 4},      {"x", "", 4},
	};

	if (!ours.skep)
		skip();
	for (size_t i = 0; i < sizeof(pairs) / sizeof(pairs[0]); i++)
		both(build_strncmp, (void *)&pairs[i], pairs[i].a);
	done("helper_strncmp");
}

/* ---- Memory ---- */

struct probe {
	int32_t id;
	uint32_t len;
	bool fault;
	int32_t off;
};

/* To the context's beginning, from the constant or from an address that is nobody's. */
static void build_probe(struct code *c, struct side *s, void *arg)
{
	const struct probe *p = arg;
	char value[128];
	int fd;

	for (int i = 0; i < 128; i++)
		value[i] = i % 23 == 22 ? 0 : (char)('a' + i % 23);
	fd = constants(c, s, value, sizeof(value));
	ctx_ptr(c, 1, 0);
	number(c, 2, p->len);
	if (p->fault)
		number(c, 3, 16);
	else
		map_ptr(c, 3, fd, p->off);
	call(c, p->id);
}

static void test_probe(void **state)
{
	static const int32_t ids[] = {BPF_FUNC_probe_read, BPF_FUNC_probe_read_kernel,
				      BPF_FUNC_probe_read_str, BPF_FUNC_probe_read_kernel_str};
	static const int32_t user_ids[] = {BPF_FUNC_probe_read_user, BPF_FUNC_probe_read_user_str,
					   BPF_FUNC_copy_from_user};
	static const uint32_t lens[] = {0, 1, 2, 7, 8, 22, 23, 24, 64};

	if (!ours.skep)
		skip();
	for (size_t i = 0; i < 4; i++) {
		for (size_t k = 0; k < sizeof(lens) / sizeof(lens[0]); k++) {
			for (int32_t off = 0; off < 40; off += 11) {
				struct probe p = {ids[i], lens[k], false, off};

				both(build_probe, &p, "probe");
				p.fault = true;
				both(build_probe, &p, "probe, fault");
			}
		}
	}
	for (size_t i = 0; i < 3; i++) {
		for (size_t k = 0; k < sizeof(lens) / sizeof(lens[0]); k++) {
			struct probe p = {user_ids[i], lens[k], true, 0};

			both(build_probe, &p, "probe of user memory, fault");
		}
	}
	done("helper_probe");
}

/* ---- The task ---- */

static void build_task(struct code *c, struct side *s, void *arg)
{
	static const int32_t ids[] = {BPF_FUNC_get_current_pid_tgid, BPF_FUNC_get_current_uid_gid};

	for (int i = 0; i < 2; i++) {
		add(c, BPF_JMP | BPF_CALL, 0, 0, 0, ids[i]);
		add(c, BPF_STX | BPF_MEM | BPF_DW, 6, 0, (int16_t)(i * 8), 0);
	}
	for (int i = 0; i < 3; i++) {
		ctx_ptr(c, 1, 16 + 32 * i);
		number(c, 2, (uint64_t[]){16, 5, 30}[i]);
		add(c, BPF_JMP | BPF_CALL, 0, 0, 0, BPF_FUNC_get_current_comm);
	}
	number(c, 1, *(uint64_t *)arg);
	number(c, 2, ((uint64_t *)arg)[1]);
	ctx_ptr(c, 3, 256);
	number(c, 4, ((uint64_t *)arg)[2]);
	call(c, BPF_FUNC_get_ns_current_pid_tgid);
}

static void test_task(void **state)
{
	uint64_t args[][3] = {{0, 0, 8},          {0, 0, 4}, {4, 4026531836, 8},
			      {3, 4026531836, 8}, {4, 1, 8}, {1ull << 40, 4026531836, 8},
			      {4, 4026531836, 12}};

	if (!ours.skep)
		skip();
	for (size_t i = 0; i < sizeof(args) / sizeof(args[0]); i++)
		both(build_task, args[i], "task");
	done("helper_task");
}

/* ---- Loops ---- */

static void build_loop(struct code *c, struct side *s, void *arg)
{
	const uint64_t *a = arg; /* loops, flags, returning 1 at */

	number(c, 1, a[0]);
	add(c, BPF_LD | BPF_IMM | BPF_DW, 2, BPF_PSEUDO_FUNC, 0, 11);
	add(c, 0, 0, 0, 0, 0);
	number(c, 3, a[2]);
	add(c, BPF_STX | BPF_MEM | BPF_DW, 10, 3, -8, 0);
	add(c, BPF_ALU64 | BPF_MOV | BPF_X, 3, 10, 0, 0);
	add(c, BPF_ALU64 | BPF_ADD | BPF_K, 3, 0, 0, -8);
	number(c, 4, a[1]);
	add(c, BPF_JMP | BPF_CALL, 0, 0, 0, BPF_FUNC_loop);
	add(c, BPF_JMP | BPF_EXIT, 0, 0, 0, 0);
	/* callback(i, ctx): i == *ctx */
	add(c, BPF_LDX | BPF_MEM | BPF_DW, 2, 2, 0, 0);
	add(c, BPF_ALU64 | BPF_MOV | BPF_K, 0, 0, 0, 0);
	add(c, BPF_JMP | BPF_JNE | BPF_X, 1, 2, 1, 0);
	add(c, BPF_ALU64 | BPF_MOV | BPF_K, 0, 0, 0, 1);
	add(c, BPF_JMP | BPF_EXIT, 0, 0, 0, 0);
	/* The function's distance, from where its address is loaded. */
	c->callback = c->n - 5;
	c->insns[3].imm = (int32_t)c->callback - 4;
}

static void test_loop(void **state)
{
	uint64_t args[][3] = {{0, 0, 9},   {1, 0, 9},       {10, 0, 9},      {10, 0, 4},
			      {10, 1, 4},  {8388608, 0, 5}, {8388609, 0, 5}, {1ull << 32 | 3, 0, 9},
			      {1000, 0, 0}};

	if (!ours.skep)
		skip();
	for (size_t i = 0; i < sizeof(args) / sizeof(args[0]); i++)
		both(build_loop, args[i], "loop");
	done("helper_loop");
}

/* ---- What people read ---- */

static char heard[2048];
static uint32_t lines;

static void hear(void *arg, const char *text, size_t len)
{
	memcpy(heard, text, len);
	heard[len] = 0;
	lines++;
}

struct print {
	const char *fmt;
	uint64_t args[3];
	const char *text;
	int result;
};

static void test_printk(void **state)
{
	static const struct print prints[] = {
		{"hello", {0}, "hello", 5},
		{"hello\n", {0}, "hello\n", 6},
		{"%d %u %llx\n", {(uint64_t)-1, 7, 0xabcdef}, "-1 7 abcdef\n", 12},
		{"%f", {0}, NULL, -EINVAL},
		{"%d %d %d %d", {1, 2, 3}, NULL, -EINVAL},
	};
	struct skep_opts opts = {.sz = sizeof(opts), .printk = hear};
	struct side s = {.skep = NULL};

	assert_int_equal(skep_open(&s.skep, &opts), 0);
	for (size_t i = 0; i < sizeof(prints) / sizeof(prints[0]); i++) {
		const struct print *p = &prints[i];
		uint32_t before = lines, retval;
		struct code c = {.n = 0};
		char value[64] = "";
		uint64_t ctx = 0;
		int fd, map;

		strcpy(value, p->fmt);
		map = side_const(&s, value, sizeof(value));
		map_ptr(&c, 1, map, 0);
		number(&c, 2, strlen(p->fmt) + 1);
		for (uint8_t k = 0; k < 3; k++)
			number(&c, k + 3, p->args[k]);
		call(&c, BPF_FUNC_trace_printk);
		assert_int_equal(side_load(&s, BPF_PROG_TYPE_SYSCALL, c.insns, c.n, "GPL", &fd), 0);
		assert_int_equal(side_run(&s, fd, &ctx, sizeof(ctx), &retval), 0);
		assert_int_equal((int)retval, p->result);
		assert_int_equal(lines - before, p->text != NULL);
		if (p->text)
			assert_string_equal(heard, p->text);
		close(fd);
		close(map);
	}
	skep_close(s.skep);
}

/* Clocks agree with the system's; random numbers differ. */
static void test_clocks(void **state)
{
	static const struct {
		int32_t id;
		clockid_t clock;
	} clocks[] = {{BPF_FUNC_ktime_get_ns, CLOCK_MONOTONIC},
		      {BPF_FUNC_ktime_get_boot_ns, CLOCK_BOOTTIME},
		      {BPF_FUNC_ktime_get_tai_ns, CLOCK_TAI},
		      {BPF_FUNC_get_prandom_u32, -1},
		      {BPF_FUNC_jiffies64, -1}};
	struct side s = {.skep = NULL};

	assert_int_equal(skep_open(&s.skep, NULL), 0);
	for (size_t i = 0; i < sizeof(clocks) / sizeof(clocks[0]); i++) {
		uint64_t ctx[2] = {0}, before, after;
		struct timespec ts = {0};
		struct code c = {.n = 0};
		uint32_t retval;
		int fd;

		add(&c, BPF_ALU64 | BPF_MOV | BPF_X, 6, 1, 0, 0);
		for (int k = 0; k < 2; k++) {
			add(&c, BPF_JMP | BPF_CALL, 0, 0, 0, clocks[i].id);
			add(&c, BPF_STX | BPF_MEM | BPF_DW, 6, 0, (int16_t)(k * 8), 0);
		}
		add(&c, BPF_ALU64 | BPF_MOV | BPF_K, 0, 0, 0, 0);
		add(&c, BPF_JMP | BPF_EXIT, 0, 0, 0, 0);
		assert_int_equal(side_load(&s, BPF_PROG_TYPE_SYSCALL, c.insns, c.n, "GPL", &fd), 0);
		clock_gettime(clocks[i].clock, &ts);
		before = (uint64_t)ts.tv_sec * 1000000000 + (uint64_t)ts.tv_nsec;
		assert_int_equal(side_run(&s, fd, ctx, sizeof(ctx), &retval), 0);
		clock_gettime(clocks[i].clock, &ts);
		after = (uint64_t)ts.tv_sec * 1000000000 + (uint64_t)ts.tv_nsec;
		close(fd);
		if (clocks[i].id == BPF_FUNC_get_prandom_u32) {
			assert_true(ctx[0] != ctx[1] && ctx[0] <= UINT32_MAX);
		} else if (clocks[i].id == BPF_FUNC_jiffies64) {
			assert_true(ctx[0] && ctx[1] >= ctx[0]);
		} else {
			assert_true(before <= ctx[0] && ctx[0] <= ctx[1] && ctx[1] <= after);
		}
	}
	skep_close(s.skep);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_snprintf), cmocka_unit_test(test_random_formats),
		cmocka_unit_test(test_strto),    cmocka_unit_test(test_strncmp),
		cmocka_unit_test(test_probe),    cmocka_unit_test(test_task),
		cmocka_unit_test(test_loop),     cmocka_unit_test(test_printk),
		cmocka_unit_test(test_clocks),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
