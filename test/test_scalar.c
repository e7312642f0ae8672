/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The number domain against concrete arithmetic: exhaustively over small
 * intervals and bit patterns (around zero and around every boundary of 32 and
 * 64 bits), at random over 64 bits. SKEP_TEST_SCALE multiplies the random part.
 */
#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <cmocka.h>

#include "bpf/uapi.h"
#include "verifier/scalar.h"
#include "verifier/tnum.h"

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

static const uint8_t alu_ops[] = {BPF_ADD, BPF_SUB, BPF_MUL, BPF_DIV, BPF_OR,  BPF_AND, BPF_LSH,
				  BPF_RSH, BPF_NEG, BPF_MOD, BPF_XOR, BPF_MOV, BPF_ARSH};
static const uint8_t jmp_ops[] = {BPF_JEQ,  BPF_JNE,  BPF_JGT,  BPF_JGE,  BPF_JLT, BPF_JLE,
				  BPF_JSET, BPF_JSGT, BPF_JSGE, BPF_JSLT, BPF_JSLE};

/* RFC 9669, section 4.1: what an operation really does. */
static uint64_t concrete(uint8_t op, bool is64, uint64_t a, uint64_t b)
{
	unsigned n = b & (is64 ? 63 : 31);
	uint64_t r;

	if (!is64) {
		a = (uint32_t)a;
		b = (uint32_t)b;
	}
	r = op == BPF_ADD   ? a + b
	    : op == BPF_SUB ? a - b
	    : op == BPF_MUL ? a * b
	    : op == BPF_DIV ? (b ? a / b : 0)
	    : op == BPF_MOD ? (b ? a % b : a)
	    : op == BPF_OR  ? (a | b)
	    : op == BPF_AND ? (a & b)
	    : op == BPF_XOR ? (a ^ b)
	    : op == BPF_LSH ? a << n
	    : op == BPF_RSH ? a >> n
	    : op == BPF_NEG ? -a
	    : op == BPF_MOV ? b
	    : is64          ? (uint64_t)((int64_t)a >> n)
			    : (uint64_t)((int32_t)a >> n);
	return is64 ? r : (uint32_t)r;
}

static bool holds(uint8_t op, bool is64, uint64_t a, uint64_t b)
{
	int64_t sa = is64 ? (int64_t)a : (int32_t)a, sb = is64 ? (int64_t)b : (int32_t)b;

	if (!is64) {
		a = (uint32_t)a;
		b = (uint32_t)b;
	}
	return op == BPF_JEQ    ? a == b
	       : op == BPF_JNE  ? a != b
	       : op == BPF_JGT  ? a > b
	       : op == BPF_JGE  ? a >= b
	       : op == BPF_JLT  ? a < b
	       : op == BPF_JLE  ? a <= b
	       : op == BPF_JSET ? (a & b) != 0
	       : op == BPF_JSGT ? sa > sb
	       : op == BPF_JSGE ? sa >= sb
	       : op == BPF_JSLT ? sa < sb
				: sa <= sb;
}

static void show(const char *what, const struct skep_scalar *s)
{
	print_error("  %s bits (%#" PRIx64 ",%#" PRIx64 ") u [%#" PRIx64 ",%#" PRIx64
		    "] s [%" PRId64 ",%" PRId64 "] u32 [%#x,%#x] s32 [%d,%d]\n",
		    what, s->bits.value, s->bits.mask, s->umin, s->umax, s->smin, s->smax,
		    s->u32_min, s->u32_max, s->s32_min, s->s32_max);
}

/* An abstract number with concrete members that it must have. */
struct sample {
	struct skep_scalar s;
	uint64_t v[16];
	int n;
};

static uint64_t checks;

static void check_alu(const struct sample *a, const struct sample *b, uint8_t op, bool is64)
{
	struct skep_scalar r = a->s;

	skep_scalar_alu(&r, op, is64, false, &b->s);
	for (int k = 0; k < a->n * b->n; k++) {
		uint64_t x = a->v[k / b->n], y = b->v[k % b->n], v = concrete(op, is64, x, y);

		checks++;
		if (skep_scalar_has(&r, v))
			continue;
		print_error("op %#x %d-bit of %#" PRIx64 ", %#" PRIx64 " = %#" PRIx64 " lost\n", op,
			    is64 ? 64 : 32, x, y, v);
		show("dst", &a->s);
		show("src", &b->s);
		show("result", &r);
		fail();
	}
}

static void check_jump(const struct sample *a, const struct sample *b, uint8_t op, bool is64)
{
	/* [0]: after the outcome "no", [1]: after "yes". */
	struct skep_scalar sa[2] = {a->s, a->s}, sb[2] = {b->s, b->s};
	int taken = skep_scalar_branch(&a->s, &b->s, op, is64);
	bool possible[2];

	possible[1] = skep_scalar_assume(&sa[1], &sb[1], op, is64);
	possible[0] = skep_scalar_assume_not(&sa[0], &sb[0], op, is64);
	for (int k = 0; k < a->n * b->n; k++) {
		uint64_t x = a->v[k / b->n], y = b->v[k % b->n];
		bool real = holds(op, is64, x, y);

		checks++;
		if ((taken < 0 || taken == real) && possible[real] &&
		    skep_scalar_has(&sa[real], x) && skep_scalar_has(&sb[real], y))
			continue;
		print_error("jump %#x %d-bit of %#" PRIx64 ", %#" PRIx64 " is %d, decided %d\n", op,
			    is64 ? 64 : 32, x, y, real, taken);
		show("a", &a->s);
		show("b", &b->s);
		show("a after", &sa[real]);
		show("b after", &sb[real]);
		fail();
	}
}

static void check_sizes(const struct sample *a)
{
	for (unsigned size = 1; size <= 8; size *= 2) {
		struct skep_scalar z = a->s, x = a->s, x32 = a->s, sw = a->s;
		unsigned sh = 64 - size * 8;

		skep_scalar_zext(&z, size);
		skep_scalar_sext(&x, size, true);
		skep_scalar_sext(&x32, size < 4 ? size : 2, false);
		skep_scalar_end(&sw, size, true);
		for (int i = 0; i < a->n; i++) {
			uint64_t v = a->v[i], sx = (uint64_t)((int64_t)(v << sh) >> sh);
			unsigned sh32 = size < 4 ? sh : 48;
			uint32_t sx32 = (uint32_t)((int64_t)(v << sh32) >> sh32);

			checks++;
			if (skep_scalar_has(&z, v << sh >> sh) && skep_scalar_has(&x, sx) &&
			    skep_scalar_has(&x32, sx32) &&
			    skep_scalar_has(&sw, __builtin_bswap64(v) >> sh))
				continue;
			print_error("size %u of %#" PRIx64 " lost\n", size, v);
			show("before", &a->s);
			show("zext", &z);
			show("sext", &x);
			show("sext32", &x32);
			show("swapped", &sw);
			fail();
		}
	}
}

static void check_pair(const struct sample *a, const struct sample *b)
{
	struct skep_scalar j = skep_scalar_join(&a->s, &b->s);

	for (unsigned w = 0; w < 2; w++) {
		for (unsigned i = 0; i < COUNT(alu_ops); i++)
			check_alu(a, b, alu_ops[i], w);
		for (unsigned i = 0; i < COUNT(jmp_ops); i++)
			check_jump(a, b, jmp_ops[i], w);
	}
	assert_true(skep_scalar_within(&j, &a->s) && skep_scalar_within(&j, &b->s));
	for (int i = 0; skep_scalar_within(&a->s, &b->s) && i < b->n; i++)
		assert_true(skep_scalar_has(&a->s, b->v[i]));
}

static void finish(struct sample *s)
{
	assert_true(skep_scalar_sync(&s->s));
	for (int i = 0; i < s->n; i++)
		assert_true(skep_scalar_has(&s->s, s->v[i]));
}

/* Every interval of a few numbers around `base`, told in one of the four ranges only. */
static int intervals(struct sample *out, uint64_t base, int from, int to, int part)
{
	int n = 0;

	for (int lo = from; lo <= to; lo++) {
		for (int hi = lo; hi <= to; hi++) {
			struct sample *s = &out[n];
			uint64_t l = base + (uint64_t)(int64_t)lo, h = base + (uint64_t)(int64_t)hi;
			bool ordered[] = {l <= h, (int64_t)l <= (int64_t)h,
					  (uint32_t)l <= (uint32_t)h, (int32_t)l <= (int32_t)h};

			if (!ordered[part])
				continue;
			s->s = skep_scalar_unknown();
			if (part == 0)
				s->s.umin = l, s->s.umax = h;
			else if (part == 1)
				s->s.smin = (int64_t)l, s->s.smax = (int64_t)h;
			else if (part == 2)
				s->s.u32_min = (uint32_t)l, s->s.u32_max = (uint32_t)h;
			else
				s->s.s32_min = (int32_t)l, s->s.s32_max = (int32_t)h;
			s->n = 0;
			for (uint64_t v = l; v != h + 1; v++)
				s->v[s->n++] = v;
			finish(s);
			n++;
		}
	}
	return n;
}

/* Every pattern of three known or unknown bits at bit `at`, zeros or ones elsewhere. */
static int patterns(struct sample *out, unsigned at, bool ones)
{
	uint64_t rest = ones ? ~(7ull << at) : 0;
	int n = 0;

	for (unsigned both = 0; both < 64; both++) {
		unsigned mask = both / 8, value = both % 8;
		struct sample *s = &out[n];

		if (value & mask)
			continue;
		s->s = skep_scalar_unknown();
		s->s.bits = (struct skep_tnum){rest | (uint64_t)value << at, (uint64_t)mask << at};
		s->n = 0;
		for (unsigned v = 0; v < 8; v++)
			if ((v & ~mask) == value)
				s->v[s->n++] = rest | (uint64_t)v << at;
		finish(s);
		n++;
	}
	return n;
}

static void test_boundaries(void **state)
{
	static const uint64_t bases[] = {0,          1ull << 31,    1ull << 32,
					 1ull << 63, -(1ull << 31), 3ull << 31};
	static struct sample all[1024];
	int n = 0;

	checks = 0;
	for (unsigned b = 0; b < COUNT(bases); b++)
		for (int part = 0; part < 4; part++)
			n += intervals(&all[n], bases[b], -2, 2, part);
	n += patterns(&all[n], 0, false);
	n += patterns(&all[n], 30, false);
	n += patterns(&all[n], 61, false);
	n += patterns(&all[n], 0, true);
	n += patterns(&all[n], 30, true);
	assert_in_range(n, 300, COUNT(all));
	for (int i = 0; i < n; i++) {
		check_sizes(&all[i]);
		for (int j = 0; j < n; j++)
			check_pair(&all[i], &all[j]);
	}
	print_message("%d abstract numbers, %" PRIu64 " concrete checks\n", n, checks);
}

/* All intervals of a four-bit signed and unsigned world, each with each. */
static void test_narrow(void **state)
{
	static struct sample all[512];
	int n = intervals(all, 0, -8, 7, 1);

	n += intervals(&all[n], 8, -8, 7, 0);
	checks = 0;
	for (int i = 0; i < n; i++)
		for (int j = 0; j < n; j++)
			check_pair(&all[i], &all[j]);
	print_message("%d intervals, %" PRIu64 " concrete checks\n", n, checks);
}

static uint64_t rnd_state = 88172645463325252ull;

static uint64_t rnd(void)
{
	rnd_state ^= rnd_state << 13;
	rnd_state ^= rnd_state >> 7;
	return rnd_state ^= rnd_state << 17;
}

/* Numbers of all magnitudes and signs, boundaries often. */
static uint64_t rnd_value(void)
{
	static const uint64_t edges[] = {0,          1,         ~0ull,      1ull << 31, 1ull << 32,
					 1ull << 63, INT32_MAX, UINT32_MAX, INT64_MAX,  63,
					 64,         31,        32,         0xff};

	switch (rnd() % 4) {
	case 0:
		return edges[rnd() % COUNT(edges)] + rnd() % 5 - 2;
	case 1:
		return rnd() >> rnd() % 64;
	case 2:
		return (uint64_t)((int64_t)rnd() >> rnd() % 64);
	default:
		return rnd() % 70;
	}
}

static void random_sample(struct sample *s)
{
	struct skep_scalar u = skep_scalar_unknown(), c;
	uint64_t near = rnd_value(), forget = rnd();

	s->n = 1 + (int)(rnd() % 4);
	for (int i = 0; i < s->n; i++) {
		s->v[i] = rnd() % 3 ? near + rnd() % 100 : rnd_value();
		c = skep_scalar_const(s->v[i]);
		s->s = i ? skep_scalar_join(&s->s, &c) : c;
	}
	/* Forget some parts, so that the others must do. */
	if (forget & 1)
		s->s.bits = u.bits;
	if (forget & 2)
		s->s.umin = u.umin, s->s.umax = u.umax;
	if (forget & 4)
		s->s.smin = u.smin, s->s.smax = u.smax;
	if (forget & 8)
		s->s.u32_min = u.u32_min, s->s.u32_max = u.u32_max;
	if (forget & 16)
		s->s.s32_min = u.s32_min, s->s.s32_max = u.s32_max;
	finish(s);
}

static void test_random(void **state)
{
	const char *scale = getenv("SKEP_TEST_SCALE");
	long rounds = 100000 * (scale ? atol(scale) : 1);
	struct sample a, b;

	checks = 0;
	for (long i = 0; i < rounds; i++) {
		random_sample(&a);
		random_sample(&b);
		check_sizes(&a);
		check_pair(&a, &b);
	}
	print_message("%ld random pairs, %" PRIu64 " concrete checks\n", rounds, checks);
}

/* Sound is not enough: what programs rely on must be known afterwards. */
static void test_precision(void **state)
{
	struct skep_scalar a = skep_scalar_unknown(), b = skep_scalar_const(0xff);

	skep_scalar_alu(&a, BPF_AND, true, false, &b);
	assert_int_equal(a.umax, 0xff);
	assert_int_equal(a.smin, 0);
	b = skep_scalar_const(2);
	skep_scalar_alu(&a, BPF_LSH, true, false, &b);
	assert_int_equal(a.umax, 0xff << 2);
	assert_true(skep_tnum_aligned(a.bits, 4));

	/* A comparison of 32 bits bounds a zero-extended index; two signed ones any index. */
	a = skep_scalar_sized(4);
	b = skep_scalar_const(63);
	assert_true(skep_scalar_assume(&a, &b, BPF_JLE, false));
	assert_int_equal(a.umax, 63);
	a = skep_scalar_unknown();
	b = skep_scalar_const(10);
	assert_true(skep_scalar_assume(&a, &b, BPF_JSLT, true));
	b = skep_scalar_const(0);
	assert_true(skep_scalar_assume_not(&a, &b, BPF_JSLT, true));
	assert_int_equal(a.umax, 9);
	assert_int_equal(a.smin, 0);

	/* Sign extension by shifts keeps 32-bit bounds. */
	a = skep_scalar_unknown();
	a.s32_min = -5;
	a.s32_max = 5;
	assert_true(skep_scalar_sync(&a));
	b = skep_scalar_const(32);
	skep_scalar_alu(&a, BPF_LSH, true, false, &b);
	skep_scalar_alu(&a, BPF_ARSH, true, false, &b);
	assert_int_equal(a.smin, -5);
	assert_int_equal(a.smax, 5);

	a = skep_scalar_sized(2);
	b = skep_scalar_const(0);
	assert_true(skep_scalar_assume(&a, &b, BPF_JNE, true));
	assert_int_equal(a.umin, 1);

	a = skep_scalar_const(4);
	b = skep_scalar_const(5);
	assert_int_equal(skep_scalar_branch(&a, &b, BPF_JEQ, true), 0);
	assert_int_equal(skep_scalar_branch(&a, &b, BPF_JLT, true), 1);
	assert_false(skep_scalar_assume(&a, &b, BPF_JEQ, true));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_precision),
		cmocka_unit_test(test_boundaries),
		cmocka_unit_test(test_narrow),
		cmocka_unit_test(test_random),
	};

	cmocka_set_test_filter(getenv("SKEP_TEST_ONLY"));
	return cmocka_run_group_tests(tests, NULL, NULL);
}
