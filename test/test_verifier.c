/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The verifier against the running kernel's: the same small programs, the same
 * verdict, errno, last message and, for what is accepted, as many instructions
 * walked. Where bpf(2) is not permitted, only that nothing crashes is tested.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cmocka.h>
#include <linux/btf.h>

#include "bpf/instance.h"
#include "bpf/uapi.h"
#include "rawbtf.h"
#include "skep.h"
#include "vasm.h"
#include "verifier_cases.h"

#define LOG_SIZE  (8u << 20)
#define MAX_INSNS 70000

struct side {
	struct skep *skep; /* NULL: the kernel */
	int maps[N_MAPS];
	int btf;
	char *types; /* BTF that kfuncs are in, raw; NULL: none */
	char *log;
	char depth[64]; /* the last "stack depth" line */
	long ret;
	bool on;
};

static long call(const struct side *s, int cmd, union bpf_attr *attr)
{
	long r;

	if (s->skep)
		return skep_bpf(s->skep, cmd, attr, sizeof(*attr));
	r = syscall(SYS_bpf, cmd, attr, sizeof(*attr));
	return r < 0 ? -errno : r;
}

/* ---- Types ---- */

struct btf_blob {
	struct btf_header hdr;
	uint32_t types[256];
	char strings[512];
	uint32_t ntypes, nstr, next_id;
};

static uint32_t str(struct btf_blob *b, const char *s)
{
	uint32_t at = b->nstr;

	memcpy(b->strings + at, s, strlen(s) + 1);
	b->nstr += (uint32_t)strlen(s) + 1;
	return at;
}

static uint32_t type(struct btf_blob *b, const char *name, uint32_t kind, uint32_t vlen,
		     uint32_t size, const uint32_t *extra, unsigned n)
{
	b->types[b->ntypes++] = *name ? str(b, name) : 0;
	b->types[b->ntypes++] = kind << 24 | vlen;
	b->types[b->ntypes++] = size;
	while (n--)
		b->types[b->ntypes++] = *extra++;
	return b->next_id++;
}

static size_t make_btf(char *out)
{
	struct btf_blob *b = calloc(1, sizeof(*b));
	uint32_t e[6];
	size_t size;

	assert_non_null(b);
	b->nstr = 1;
	b->next_id = 1;
	e[0] = 1u << 24 | 32;
	type(b, "int", BTF_KIND_INT, 0, 4, e, 1); /* 1 */
	type(b, "", BTF_KIND_FUNC_PROTO, 0, 1, NULL, 0); /* 2: int (void) */
	type(b, "prog", BTF_KIND_FUNC, BTF_FUNC_GLOBAL, 2, NULL, 0); /* 3 */
	type(b, "sub", BTF_KIND_FUNC, BTF_FUNC_STATIC, 2, NULL, 0); /* 4 */
	e[0] = str(b, "a"), e[1] = 1;
	type(b, "", BTF_KIND_FUNC_PROTO, 1, 1, e, 2); /* 5: int (int) */
	type(b, "gnum", BTF_KIND_FUNC, BTF_FUNC_GLOBAL, 5, NULL, 0); /* 6 */
	type(b, "", BTF_KIND_PTR, 0, 1, NULL, 0); /* 7: int * */
	e[1] = 7;
	type(b, "", BTF_KIND_FUNC_PROTO, 1, 1, e, 2); /* 8: int (int *) */
	type(b, "gptr", BTF_KIND_FUNC, BTF_FUNC_GLOBAL, 8, NULL, 0); /* 9 */
	e[0] = str(b, "data"), e[1] = 1, e[2] = 0;
	type(b, "xdp_md", BTF_KIND_STRUCT, 1, 4, e, 3); /* 10 */
	type(b, "", BTF_KIND_PTR, 0, 10, NULL, 0); /* 11 */
	e[0] = str(b, "ctx"), e[1] = 11;
	type(b, "", BTF_KIND_FUNC_PROTO, 1, 1, e, 2); /* 12 */
	type(b, "gctx", BTF_KIND_FUNC, BTF_FUNC_GLOBAL, 12, NULL, 0); /* 13 */
	e[0] = str(b, "val"), e[1] = 1, e[2] = 0;
	type(b, "bpf_spin_lock", BTF_KIND_STRUCT, 1, 4, e, 3); /* 14 */
	e[0] = str(b, "cnt"), e[1] = 1, e[2] = 0;
	e[3] = str(b, "lock"), e[4] = 14, e[5] = 32;
	type(b, "val", BTF_KIND_STRUCT, 2, 8, e, 6); /* 15 */
	type(b, "gvoid", BTF_KIND_FUNC, BTF_FUNC_GLOBAL, 17, NULL, 0); /* 16 */
	type(b, "", BTF_KIND_FUNC_PROTO, 0, 0, NULL, 0); /* 17: void (void) */
	e[0] = str(b, "opaque"), e[1] = 1, e[2] = 0;
	type(b, "bpf_timer", BTF_KIND_STRUCT, 1, 16, e, 3); /* 18 */
	e[0] = str(b, "count"), e[1] = 1, e[2] = 0;
	e[3] = str(b, "timer"), e[4] = 18, e[5] = 64;
	type(b, "tval", BTF_KIND_STRUCT, 2, 24, e, 6); /* 19 */
	b->hdr = (struct btf_header){.magic = BTF_MAGIC, .version = 1, .hdr_len = sizeof(b->hdr)};
	b->hdr.type_len = b->ntypes * 4;
	b->hdr.str_off = b->hdr.type_len;
	b->hdr.str_len = b->nstr;
	memcpy(out, &b->hdr, sizeof(b->hdr));
	memcpy(out + sizeof(b->hdr), b->types, b->hdr.type_len);
	memcpy(out + sizeof(b->hdr) + b->hdr.type_len, b->strings, b->nstr);
	size = sizeof(b->hdr) + b->hdr.type_len + b->nstr;
	free(b);
	return size;
}

/* ---- Maps ---- */

static void open_side(struct side *s)
{
	static const char values[] =
		"num %d\0\0\1\0\0\0\2\0\0\0\377\377\377\377\0\0\0\0\0\0\0\0\0\0\0\0";
	char blob[4096];
	uint32_t zero = 0;
	union bpf_attr a;

	memset(&a, 0, sizeof(a));
	a.btf = (uintptr_t)blob;
	a.btf_size = (uint32_t)make_btf(blob);
	s->btf = (int)call(s, BPF_BTF_LOAD, &a);
	s->on = s->btf >= 0;
	for (unsigned i = 0; i < N_MAPS && s->on; i++) {
		const struct map_spec *m = &map_specs[i];

		memset(&a, 0, sizeof(a));
		a.map_type = m->type;
		a.key_size = m->key;
		a.value_size = m->value;
		a.max_entries = m->max;
		a.map_flags = m->flags;
		snprintf(a.map_name, sizeof(a.map_name), "m%u", i);
		if (m->inner >= 0)
			a.inner_map_fd = (uint32_t)s->maps[m->inner];
		if (m->btf_value) {
			a.btf_fd = (uint32_t)s->btf;
			a.btf_key_type_id = 1;
			a.btf_value_type_id = m->btf_value;
		}
		s->maps[i] = (int)call(s, BPF_MAP_CREATE, &a);
		if (s->maps[i] < 0)
			fail_msg("map %u: %s on %s", i, strerror(-s->maps[i]),
				 s->skep ? "skep" : "kernel");
		if (!m->frozen)
			continue;
		memset(&a, 0, sizeof(a));
		a.map_fd = (uint32_t)s->maps[i];
		a.key = (uintptr_t)&zero;
		a.value = (uintptr_t)values;
		assert_int_equal(call(s, BPF_MAP_UPDATE_ELEM, &a), 0);
		memset(&a, 0, sizeof(a));
		a.map_fd = (uint32_t)s->maps[i];
		assert_int_equal(call(s, BPF_MAP_FREEZE, &a), 0);
	}
	s->types = rawbtf_open(s->skep);
	s->log = malloc(LOG_SIZE);
	assert_non_null(s->log);
}

static void close_side(struct side *s)
{
	if (s->on) {
		for (unsigned i = 0; i < N_MAPS; i++)
			close(s->maps[i]);
		close(s->btf);
	}
	free(s->log);
	free(s->types);
	skep_close(s->skep);
}

/* ---- One program ---- */

/* Takes the lines of level 4 that say how long it took and how deep the stack is out of the log. */
static void take_depth(struct side *s)
{
	char *from = NULL, *p, *to;

	s->depth[0] = 0;
	for (p = strstr(s->log, "verification time "); p; p = strstr(p + 1, "verification time "))
		from = p;
	p = from ? strstr(from, "stack depth ") : NULL;
	to = p ? strchr(p, '\n') : NULL;
	if (!to)
		return;
	snprintf(s->depth, sizeof(s->depth), "%.*s", (int)(to - p), p);
	memmove(from, to + 1, strlen(to + 1) + 1);
}

/* Numbers of kfuncs are those of the side's own BTF. */
static const char *types;

static uint32_t find_kfunc(const char *name)
{
	return rawbtf_find(types, BTF_KIND_FUNC, name);
}

/* In one pass, from "#" to "#": logs of loops are long, and sanitizers make strstr look to the end. */
static void hide_numbers(char *log)
{
	char *to = log, *from = log;

	for (char *hash = log; (hash = strchr(hash, '#')); hash++) {
		char *name = hash, *end;

		while (name > from && name[-1] != ' ' && name[-1] != '\n')
			name--;
		if (strncmp(name, "bpf_", 4) != 0 || strtoul(hash + 1, &end, 10) < 300)
			continue;
		memmove(to, from, (size_t)(hash + 1 - from));
		to += hash + 1 - from;
		from = end;
	}
	memmove(to, from, strlen(from) + 1);
}

static void load(struct side *s, const struct vcase *c)
{
	static struct bpf_insn insns[MAX_INSNS];
	struct bpf_func_info info[4] = {0};
	union bpf_attr a;
	char *big = NULL;
	int n;

	if (c->repeat) {
		size_t len = strlen(c->text);

		big = malloc(len * c->repeat + 16);
		assert_non_null(big);
		for (unsigned i = 0; i < c->repeat; i++)
			memcpy(big + i * len, c->text, len);
		strcpy(big + c->repeat * len, "exit");
	}
	types = s->types;
	vasm_kfunc = find_kfunc;
	n = vasm(big ? big : c->text, s->maps, N_MAPS, insns, MAX_INSNS);
	free(big);
	if (n < 0)
		fail_msg("%s does not assemble", c->name);
	memset(&a, 0, sizeof(a));
	a.prog_type = c->type;
	a.expected_attach_type = c->type == BPF_PROG_TYPE_CGROUP_SKB ? BPF_CGROUP_INET_INGRESS : 0;
	a.insns = (uintptr_t)insns;
	a.insn_cnt = (uint32_t)n;
	a.license = (uintptr_t)(c->flags & NOT_GPL ? "MIT" : "GPL");
	a.log_level = (c->flags & LONG ? 1 : 2) | 4;
	a.log_buf = (uintptr_t)s->log;
	a.log_size = LOG_SIZE;
	a.prog_flags = c->flags & STRICT ? BPF_F_STRICT_ALIGNMENT : 0;
	if (c->type == BPF_PROG_TYPE_SYSCALL)
		a.prog_flags |= BPF_F_SLEEPABLE;
	if (c->funcs[0]) {
		unsigned k = 0;

		/* Functions begin where calls and loads of functions say. */
		info[k].type_id = c->funcs[k];
		for (int at = 1; at < n && k + 1 < 4 && c->funcs[k + 1]; at++)
			for (int i = 0; i < n; i++) {
				bool f = (insns[i].code == (BPF_JMP | BPF_CALL) &&
					  insns[i].src_reg == 1) ||
					 (insns[i].code == (BPF_LD | BPF_DW) &&
					  insns[i].src_reg == BPF_PSEUDO_FUNC);

				if (!f || i + insns[i].imm + 1 != at)
					continue;
				k++;
				info[k].insn_off = (uint32_t)at;
				info[k].type_id = c->funcs[k];
				break;
			}
		a.prog_btf_fd = (uint32_t)s->btf;
		a.func_info = (uintptr_t)info;
		a.func_info_cnt = k + 1;
		a.func_info_rec_size = sizeof(info[0]);
	}
	s->log[0] = 0;
	s->ret = call(s, BPF_PROG_LOAD, &a);
	if (s->ret >= 0) {
		close((int)s->ret);
		s->ret = 0;
	}
	take_depth(s);
	hide_numbers(s->log);
}

/* The line before the statistics, and the instructions that those count. */
static long last_line(const char *log, char *buf, size_t size)
{
	const char *p = log, *end = NULL, *line;
	size_t n;

	for (p = strstr(log, "processed "); p; p = strstr(p + 1, "processed "))
		end = p;
	if (!end) {
		*buf = 0;
		return -1;
	}
	line = end;
	while (line > log && line[-1] == '\n')
		line--;
	n = (size_t)(line - log);
	while (line > log && line[-1] != '\n')
		line--;
	n -= (size_t)(line - log);
	if (n >= size)
		n = size - 1;
	memcpy(buf, line, n);
	buf[n] = 0;
	return atol(end + 10);
}

static bool text_lines_skipped(const char *line)
{
	/* How far liveness got is told in an order of its own; addresses differ. */
	return !strncmp(line, "(0)", 3) || !strncmp(line, "(1)", 3) || *line == '(' ||
	       strstr(line, "(18) r");
}

static bool same_log(const char *a, const char *b)
{
	for (;;) {
		size_t na = strcspn(a, "\n"), nb = strcspn(b, "\n");
		char la[160], lb[160];

		snprintf(la, sizeof(la), "%.*s", (int)na, a);
		snprintf(lb, sizeof(lb), "%.*s", (int)nb, b);
		if (*a && text_lines_skipped(la)) {
			a += na + (a[na] != 0);
			continue;
		}
		if (*b && text_lines_skipped(lb)) {
			b += nb + (b[nb] != 0);
			continue;
		}
		if (na != nb || memcmp(a, b, na))
			return false;
		if (!a[na] || !b[nb])
			return a[na] == b[nb];
		a += na + 1;
		b += nb + 1;
	}
}

static void test_against_kernel(void **state)
{
	struct side k = {0}, s = {0};
	unsigned n = 0, verdicts = 0, errnos = 0, texts = 0, counts = 0, logs = 0, depths = 0,
		 accepted = 0, known = 0;
	char mk[256], ms[256];
	const struct vcase *const tables[] = {vcases, vcases_dyn, vcases_iter, vcases_btf, NULL};
	unsigned table = 0;

	(void)state;
	assert_int_equal(skep_open(&s.skep, NULL), 0);
	open_side(&s);
	assert_true(s.on);
	open_side(&k);
	if (!k.on)
		print_message("bpf(2) is not permitted: nothing to compare with\n");
	for (const struct vcase *c = tables[0]; c; c = c[1].name ? c + 1 : tables[++table]) {
		long pk, ps;
		bool same;

		load(&s, c);
		ps = last_line(s.log, ms, sizeof(ms));
		if (!k.on)
			continue;
		load(&k, c);
		pk = last_line(k.log, mk, sizeof(mk));
		n++;
		same = !k.ret == !s.ret;
		verdicts += same;
		errnos += k.ret == s.ret;
		texts += !strcmp(mk, ms) || (!k.ret && same);
		accepted += !k.ret;
		counts += !k.ret && same && pk == ps;
		logs += same_log(k.log, s.log);
		depths += !k.ret && same && !strcmp(k.depth, s.depth);
		if (!k.ret && same && strcmp(k.depth, s.depth))
			print_message("%s:\n  kernel %s, skep %s\n", c->name, k.depth, s.depth);
		if (!same && c->differs) {
			known++;
			continue;
		}
		if (k.ret != s.ret || (k.ret && strcmp(mk, ms)) || (!k.ret && pk != ps))
			print_message(
				"%s:\n  kernel %s, %ld insns: %s\n  skep   %s, %ld insns: %s\n",
				c->name, k.ret ? strerror((int)-k.ret) : "ok", pk, k.ret ? mk : "",
				s.ret ? strerror((int)-s.ret) : "ok", ps, s.ret ? ms : "");
		if (getenv("SKEP_TEST_LOGS") && !same_log(k.log, s.log))
			printf("---- %s ----\n%s---- skep ----\n%s", c->name, k.log, s.log);
	}
	close_side(&k);
	close_side(&s);
	if (!n)
		skip();
	print_message("%u programs: %u verdicts agree (%u known differences), %u errnos, %u last "
		      "messages; "
		      "of %u accepted, %u walk as many instructions, %u use as much stack; %u logs "
		      "equal line by line\n",
		      n, verdicts, known, errnos, texts, accepted, counts, depths, logs);
	assert_int_equal(verdicts + known, n);
	assert_int_equal(errnos + known, n);
	assert_true(texts >= n * 95 / 100);
	assert_true(counts >= accepted * 95 / 100);
	assert_true(depths >= accepted * 95 / 100);
}

/* What callers without capabilities may not do; the messages are the kernel's. */
static void test_unprivileged(void **state)
{
	static const struct {
		const char *text, *message;
	} cases[] = {
		{"r0 = 0; exit", NULL},
		{"r0 = *(u32 *)(r1 +0); exit", NULL},
		{"r0 = r1; exit", "R0 leaks addr as return value"},
		{"*(u64 *)(r10 -8) = r1; r0 = *(u64 *)(r10 -8); exit",
		 "R0 leaks addr as return value"},
		{"r0 = value 2 +0 ll; *(u64 *)(r0 +0) = r1; r0 = 0; exit",
		 "R1 leaks addr into map"},
		{"r0 = r10; r0 -= r1; exit", "R0 pointer -= pointer prohibited"},
		{"r0 = 0; if r1 == r10 goto +0; exit", "R10 pointer comparison prohibited"},
		{"r0 = 0; if r1 == 5 goto +0; exit", "R1 pointer comparison prohibited"},
		{"r0 = *(u64 *)(r10 -8); exit", "invalid read from stack R10 off=-8 size=8"},
		{"*(u32 *)(r10 -8) = 0; r0 = *(u64 *)(r10 -8); exit",
		 "invalid read from stack off -8+4 size 8"},
		{"*(u64 *)(r10 -8) = r1; *(u32 *)(r10 -8) = 0; r0 = 0; exit",
		 "attempt to corrupt spilled pointer on stack"},
		{"r0 = 0; l: r0 += 1; if r0 < 10 goto l; exit", "back-edge from insn 2 to 1"},
		{"call :f; exit; f: r0 = 0; exit", "loading/calling other bpf or kernel functions "
						   "are allowed for CAP_BPF and CAP_SYS_ADMIN"},
		{"r2 = map 0 ll; r0 = 0; r1 = r2; r1 += 0; w0 = w2; exit",
		 "R2 partial copy of pointer"},
		{"*(u64 *)(r10 -8) = 0; r1 = r10; r1 += -8; r2 = 8; call trace_printk; r0 = 0; "
		 "exit",
		 "program of this type cannot use helper bpf_trace_printk#6"},
		/* Two paths with different numbers: both count. */
		{"r6 = *(u32 *)(r1 +0); r7 = 0; if r6 == 1 goto +1; r7 = 56; r0 = 0; if r6 == 2 "
		 "goto +0; "
		 "r0 = 0; if r6 == 3 goto +0; r2 = value 2 +0 ll; r2 += r7; r0 = *(u8 *)(r2 +0); "
		 "exit",
		 "R2 pointer arithmetic of map value goes out of range, prohibited for !root"},
	};
	struct skep_opts opts = {.sz = sizeof(opts), .flags = SKEP_F_UNPRIVILEGED};
	struct side s = {0};
	char message[256];

	(void)state;
	assert_int_equal(skep_open(&s.skep, NULL), 0);
	open_side(&s);
	assert_true(s.on);
	/* Maps are made by one with privileges; the instance loses them afterwards. */
	s.skep->opts.flags |= opts.flags;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct vcase c = {.name = cases[i].text,
				  .type = BPF_PROG_TYPE_SOCKET_FILTER,
				  .text = cases[i].text};

		load(&s, &c);
		last_line(s.log, message, sizeof(message));
		if (!s.ret != !cases[i].message || (s.ret && strcmp(message, cases[i].message)))
			fail_msg("%s: %ld, %s", cases[i].text, s.ret, message);
	}
	close_side(&s);
}

/* Every hole is closed, and closed as the running kernel closed it. */
static void test_holes(void **state)
{
	struct side k = {0}, s = {0};
	char mk[256], ms[256];
	unsigned n = 0, compared = 0, open = 0;

	(void)state;
	assert_int_equal(skep_open(&s.skep, NULL), 0);
	open_side(&s);
	open_side(&k);
	for (const struct vhole *h = vholes; h->cve; h++, n++) {
		struct vcase c = h->c;
		bool refused = h->message || h->refused;

		c.name = h->cve;
		load(&s, &c);
		last_line(s.log, ms, sizeof(ms));
		if (!s.ret == refused || (h->message && strcmp(ms, h->message))) {
			print_message("%s (%s): %s: %s\n", h->cve, h->what, strerror((int)-s.ret),
				      ms);
			open++;
		}
		if (!k.on)
			continue;
		load(&k, &c);
		last_line(k.log, mk, sizeof(mk));
		compared++;
		if (k.ret != s.ret || (k.ret && strcmp(mk, ms))) {
			print_message("%s: kernel %s: %s, skep %s: %s\n", h->cve,
				      strerror((int)-k.ret), mk, strerror((int)-s.ret), ms);
			open++;
		}
	}
	close_side(&k);
	close_side(&s);
	print_message("%u holes, %u compared with the kernel\nran: holes %u\n", n, compared, n);
	assert_int_equal(open, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_holes),
		cmocka_unit_test(test_unprivileged),
		cmocka_unit_test(test_against_kernel),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
