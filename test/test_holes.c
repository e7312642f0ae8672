/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Holes that the kernel once had and that show only when a program runs, or in a map
 * operation: each tried on the JIT compiler, the interpreter and the running kernel. Those
 * that the verifier must refuse are in verifier_cve.c.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "bpf/uapi.h"
#include "kernel.h"
#include "side.h"
#include "skep.h"
#include "vasm.h"

#define MAX_INSNS 8192

enum { JIT, INTERPRETER, KERNEL, N_SIDES };
static const char *const side_names[N_SIDES] = {"JIT", "interpreter", "kernel"};

struct world {
	struct side side[N_SIDES];
	unsigned n; /* sides that are there */
};

static int setup(void **state)
{
	struct world *w = calloc(1, sizeof(*w));

	assert_non_null(w);
	w->n = kernel_there() ? N_SIDES : KERNEL;
	for (unsigned i = 0; i < KERNEL; i++) {
		struct skep_opts opts = {.sz = sizeof(opts),
					 .flags = i == INTERPRETER ? SKEP_F_INTERPRET : 0};

		assert_int_equal(skep_open(&w->side[i].skep, &opts), 0);
	}
	*state = w;
	return 0;
}

static int teardown(void **state)
{
	struct world *w = *state;

	for (unsigned i = 0; i < KERNEL; i++)
		skep_close(w->side[i].skep);
	free(w);
	return 0;
}

/* Runs an XDP program with map 0 on one side and expects a result. */
static void expect_on(struct side *s, const char *name, const char *text, int map, uint32_t want)
{
	static struct bpf_insn insns[MAX_INSNS];
	uint8_t packet[64] = {0};
	uint32_t got = ~want;
	int fd, n = vasm(text, &map, 1, insns, MAX_INSNS);
	long err;

	assert_true(n > 0);
	err = side_load(s, BPF_PROG_TYPE_XDP, insns, (uint32_t)n, "GPL", &fd);
	if (err)
		fail_msg("%s refuses: %ld\n%s\n%s", name, err, text, s->log);
	assert_int_equal(side_run_packet(s, fd, packet, sizeof(packet), &got), 0);
	close(fd);
	if (got != want)
		fail_msg("%s: %u instead of %u:\n%s", name, got, want, text);
}

static void expect(struct world *w, uint32_t map_type, const char *text, uint32_t want)
{
	for (unsigned i = 0; i < w->n; i++) {
		struct side *s = &w->side[i];
		int map = map_type == BPF_MAP_TYPE_RINGBUF
				  ? side_map(s, BPF_MAP_TYPE_RINGBUF, 0, 0, 4096)
				  : side_map(s, map_type, 4, 8, 1);

		assert_true(map >= 0);
		expect_on(s, side_names[i], text, map, want);
		close(map);
	}
}

/* CVE-2017-17862: code that no path reaches was compiled all the same, and could be jumped to. */
static void test_unreached_code(void **state)
{
	struct world *w = *state;
	struct bpf_insn insns[64], left[64];
	const char *text = "r0 = 2; if r0 == 2 goto +3; r1 = 0; r0 = *(u64 *)(r1 +0); r0 = *(u64 "
			   "*)(r0 +0); exit";
	int n = vasm(text, NULL, 0, insns, 64);

	expect(w, BPF_MAP_TYPE_ARRAY, text, 2);
	for (unsigned i = 0; i < w->n; i++) {
		struct bpf_prog_info info = {.xlated_prog_len = sizeof(left),
					     .xlated_prog_insns = (uintptr_t)left};
		union bpf_attr a;
		int fd;

		assert_int_equal(
			side_load(&w->side[i], BPF_PROG_TYPE_XDP, insns, (uint32_t)n, "GPL", &fd),
			0);
		memset(&a, 0, sizeof(a));
		a.info.bpf_fd = (uint32_t)fd;
		a.info.info_len = sizeof(info);
		a.info.info = (uintptr_t)&info;
		assert_int_equal(side_bpf(&w->side[i], BPF_OBJ_GET_INFO_BY_FD, &a), 0);
		for (uint32_t k = 0; k < info.xlated_prog_len / sizeof(*left); k++)
			assert_int_not_equal(BPF_CLASS(left[k].code), BPF_LDX);
		close(fd);
	}
}

/* CVE-2021-3444: where the divisor's lower half is zero, the dividend's upper half stayed though
 * the verifier believed it to be zero. */
static void test_divide_by_zero(void **state)
{
#define DIVIDE(op, shift)                                                                          \
	"r1 = value 0 +0 ll; r1 = *(u64 *)(r1 +0); r0 = 8589934599 ll;" op " r0 >>= " shift "; "   \
	"exit"
	expect(*state, BPF_MAP_TYPE_ARRAY, DIVIDE("w0 %= w1;", "32"), 0);
	expect(*state, BPF_MAP_TYPE_ARRAY, DIVIDE("w0 %= w1;", "0"), 7);
	expect(*state, BPF_MAP_TYPE_ARRAY, DIVIDE("r0 %= r1;", "32"), 2);
	expect(*state, BPF_MAP_TYPE_ARRAY, DIVIDE("w0 /= w1;", "0"), 0);
	expect(*state, BPF_MAP_TYPE_ARRAY, DIVIDE("r0 /= r1;", "32"), 0);
	expect(*state, BPF_MAP_TYPE_ARRAY, DIVIDE("w0 s%= w1;", "32"), 0);
	expect(*state, BPF_MAP_TYPE_ARRAY, DIVIDE("r0 s%= r1;", "32"), 2);
#undef DIVIDE
}

/* CVE-2021-3489: a record larger than the ring was given out. */
static void test_large_record(void **state)
{
	static const char *const sizes[] = {"4096", "4089", "65536", "1073741816"};
	char text[512];

	for (unsigned i = 0; i < 4; i++) {
		snprintf(text, sizeof(text),
			 "r1 = map 0 ll; r2 = %s; r3 = 0; call ringbuf_reserve; if r0 != 0 goto s;"
			 "r0 = 1; exit; s: *(u8 *)(r0 +%s) = 1; r1 = r0; r2 = 0;"
			 "call ringbuf_submit; r0 = 2; exit",
			 sizes[i], i == 1 ? "4088" : "4000");
		expect(*state, BPF_MAP_TYPE_RINGBUF, text, 1);
	}
}

/*
 * CVE-2021-29154: displacements of jumps were computed of another pass's layout. Bodies whose
 * length passes the limits of short jumps, jumped over forwards and, in a loop, backwards.
 */
static void test_displacements(void **state)
{
	struct world *w = *state;
	char *text = malloc(1 << 17);

	assert_non_null(text);
	for (unsigned n = 20; n < 48; n++) {
		/* x86-64: 3, 4 and 7 bytes each. */
		static const char *const bodies[] = {"r6 += r7;", "r6 += 1;", "r6 += 1000;"};
		static const uint32_t adds[] = {3, 1, 1000};

		for (unsigned b = 0; b < 3; b++) {
			size_t at = 0;

#define ADD(...) at += (size_t)snprintf(text + at, (1 << 17) - at, __VA_ARGS__)
			ADD("r8 = *(u32 *)(r1 +4); r9 = *(u32 *)(r1 +0); r8 -= r9;"
			    "r6 = 0; r7 = 3; r1 = 0; l: if r8 == 1 goto over;");
			for (unsigned k = 0; k < n; k++)
				ADD("%s", bodies[b]);
			ADD("over: r6 += 1; if r8 s< 0 goto over2;");
			for (unsigned k = 0; k < n; k++)
				ADD("%s if r8 == 2 goto over2;", bodies[b]);
			ADD("over2: r1 += 1; if r1 < 3 goto l; r0 = r6; exit");
#undef ADD
			for (unsigned i = 0; i < w->n; i++)
				expect_on(&w->side[i], side_names[i], text, -1,
					  3 * (2 * n * adds[b] + 1));
		}
	}
	free(text);
}

/* CVE-2024-56615: a key with the highest bit set was taken for a negative index. */
static void test_devmap_index(void **state)
{
	struct world *w = *state;
	static const uint32_t types[] = {BPF_MAP_TYPE_DEVMAP, BPF_MAP_TYPE_DEVMAP_HASH};
	static const uint32_t keys[] = {4, 0x7fffffff, 0x80000000, 0xffffffff};

	for (unsigned i = 0; i < w->n; i++)
		for (unsigned t = 0; t < 2; t++) {
			int map = side_map(&w->side[i], types[t], 4, 4, 4);

			assert_true(map >= 0);
			for (unsigned k = 0; k < 4; k++) {
				union bpf_attr a = {.map_fd = (uint32_t)map,
						    .key = (uintptr_t)&keys[k]};

				assert_int_equal(side_bpf(&w->side[i], BPF_MAP_DELETE_ELEM, &a),
						 t ? -ENOENT : -EINVAL);
			}
			close(map);
		}
	print_message("ran: holes_run %u\n", w->n);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_unreached_code), cmocka_unit_test(test_divide_by_zero),
		cmocka_unit_test(test_large_record),   cmocka_unit_test(test_displacements),
		cmocka_unit_test(test_devmap_index),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
