// SPDX-License-Identifier: Apache-2.0
/*
 * The interpreter where programs do wrong: raw mode's errors, and checked mode,
 * which must see each access outside live memory (programs here are not verified,
 * so they can make one).
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

#include "asm.h"
#include "bpf/instance.h"
#include "exec/exec.h"
#include "map/map.h"
#include "skep.h"

#define RW (SKEP_REGION_READ | SKEP_REGION_WRITE)

static struct skep *skep;
static struct skep_env *env;

static int setup(void **state)
{
	if (skep_open(&skep, NULL) || skep_env_open(&env, skep))
		return -1;
	env->call = skep_call;
	return 0;
}

static int teardown(void **state)
{
	skep_env_close(env);
	skep_close(skep);
	return 0;
}

/* ---- Raw ---- */

static int raw(const char *text, const struct skep_region *regions, uint32_t n, uint64_t r1,
	       uint64_t *r0)
{
	struct bpf_insn insns[64];
	int len = asm_text(text, insns, 64);
	struct skep_raw r = {
		.insns = insns, .len = len, .regions = regions, .nregions = n, .max_steps = 10000};

	assert_true(len > 0);
	return skep_interp_raw(&r, r1, 7, env, r0);
}

static void test_raw(void **state)
{
	uint8_t mem[16] = {1, 2, 3, 4, 5, 6, 7, 8, 9};
	const struct skep_region rw = {.base = (uintptr_t)mem, .size = sizeof(mem), .flags = RW};
	const struct skep_region ro = {
		.base = (uintptr_t)mem, .size = sizeof(mem), .flags = SKEP_REGION_READ};
	const uint64_t at = (uintptr_t)mem;
	uint64_t r0;

	assert_int_equal(raw("r0 = *(u8 *)(r1 +8)\n exit", &rw, 1, at, &r0), 0);
	assert_int_equal(r0, 9);
	assert_int_equal(raw("r0 = r2\n exit", &rw, 1, at, &r0), 0);
	assert_int_equal(r0, 7);
	assert_int_equal(raw("r0 = *(u8 *)(r1 +16)\n exit", &rw, 1, at, &r0), -EFAULT);
	assert_int_equal(raw("r0 = *(u64 *)(r1 +9)\n exit", &rw, 1, at, &r0), -EFAULT);
	assert_int_equal(raw("r0 = *(u8 *)(r1 -1)\n exit", &rw, 1, at, &r0), -EFAULT);
	assert_int_equal(raw("*(u8 *)(r1 +0) = 1\n r0 = 0\n exit", &ro, 1, at, &r0), -EFAULT);
	assert_int_equal(raw("*(u8 *)(r1 +0) = 1\n r0 = 0\n exit", &rw, 1, at, &r0), 0);
	assert_int_equal(
		raw("r2 = 1\n lock *(u64 *)(r1 +12) += r2\n r0 = 0\n exit", &rw, 1, at, &r0),
		-EFAULT);
	assert_int_equal(raw("*(u64 *)(r10 -512) = 1\n r0 = 0\n exit", &rw, 1, at, &r0), 0);
	assert_int_equal(raw("*(u64 *)(r10 -513) = 1\n r0 = 0\n exit", &rw, 1, at, &r0), -EFAULT);
	assert_int_equal(raw("*(u64 *)(r10 -4) = 1\n r0 = 0\n exit", &rw, 1, at, &r0), -EFAULT);
	assert_int_equal(raw("again:\n goto again\n exit", &rw, 1, at, &r0), -ELOOP);
	assert_int_equal(raw("f:\n call f\n exit", &rw, 1, at, &r0), -ELOOP);
	assert_int_equal(raw("call #1\n exit", &rw, 1, at, &r0), -EINVAL);
	assert_int_equal(raw("r0 = 1", &rw, 1, at, &r0), -EINVAL);
	/* A function sees its caller's stack, but not one that is gone. */
	assert_int_equal(raw("*(u64 *)(r10 -8) = 5\n r1 = r10\n call f\n exit\n"
			     "f:\n r0 = *(u64 *)(r1 -8)\n exit",
			     &rw, 1, at, &r0),
			 0);
	assert_int_equal(r0, 5);
	assert_int_equal(
		raw("call f\n r0 = *(u64 *)(r0 -8)\n exit\nf:\n r0 = r10\n exit", &rw, 1, at, &r0),
		-EFAULT);
}

/* ---- Checked ---- */

static struct skep_map *map;

static uint64_t checked(const char *text, void *ctx, size_t size, uint32_t flags, char *fault)
{
	struct skep_prog prog = {.obj.skep = skep, .maps = &map, .nmaps = 1};
	struct skep_checker checker = {0};
	struct bpf_insn insns[64];
	int n = asm_text(text, insns, 64);
	uint64_t r0;

	assert_true(n > 0);
	assert_int_equal(skep_image_raw(&prog.image, insns, n), 0);
	for (int i = 0; i < n; i++) {
		/* "r1 = 99 ll" is the address of the map. */
		if (insns[i].code != 0x18 || insns[i].imm != 99)
			continue;
		prog.image.relocs = calloc(1, sizeof(*prog.image.relocs));
		prog.image.relocs[0].insn = i;
		prog.image.nrelocs = 1;
	}
	assert_int_equal(skep_bind(&prog), 0);
	assert_int_equal(skep_checker_add(&checker, ctx, size, flags), 0);
	skep_enter(env);
	env->prog = &prog;
	env->checker = &checker;
	r0 = skep_interp(&prog, ctx, env);
	env->checker = NULL;
	skep_leave(env);
	snprintf(fault, 256, "%s", checker.fault);
	/* Frames are gone, the context is left. */
	assert_int_equal(checker.nregions, 1);
	free(checker.regions);
	skep_unbind(&prog);
	skep_image_free(&prog.image);
	return r0;
}

static void test_checked(void **state)
{
	static const struct {
		const char *text;
		const char *fault; /* how it begins; "" for none */
	} cases[] = {
		{"r0 = *(u64 *)(r1 +8)\n exit", ""},
		{"r0 = *(u64 *)(r1 +9)\n exit", "load of 8 bytes"},
		{"r0 = *(s8 *)(r1 +16)\n exit", "load of 1 bytes"},
		{"*(u32 *)(r1 -2) = 1\n r0 = 0\n exit", "store of 4 bytes"},
		{"*(u64 *)(r10 -8) = 1\n r0 = 0\n exit", ""},
		{"*(u64 *)(r10 +0) = 1\n r0 = 0\n exit", "store of 8 bytes"},
		{"r2 = 1\n r0 = 0\n r2 = atomic64_xchg((u64 *)(r1 +12), r2)\n exit",
		 "store of 8 bytes"},
		{"r0 = load_acquire((u64 *)(r1 +16))\n exit", "load of 8 bytes"},
		/* Values of the program's maps are live, their neighbours are not. */
		{"*(u32 *)(r10 -4) = 3\n r1 = 99 ll\n r2 = r10\n r2 += -4\n call #1\n"
		 "*(u64 *)(r0 +0) = 1\n *(u64 *)(r0 +8) = 1\n r0 = 0\n exit",
		 ""},
		{"*(u32 *)(r10 -4) = 3\n r1 = 99 ll\n r2 = r10\n r2 += -4\n call #1\n"
		 "r0 = *(u64 *)(r0 +9)\n exit",
		 "load of 8 bytes"},
		/* What helpers are given. */
		{"r1 = 99 ll\n r2 = r10\n r2 += -2\n call #1\n r0 = 0\n exit", "load of 4 bytes"},
		{"*(u32 *)(r10 -4) = 3\n r1 = 99 ll\n r2 = r10\n r2 += -4\n r3 = r10\n r3 += -8\n"
		 "r4 = 0\n call #2\n exit",
		 "load of 16 bytes"},
		/* In functions, too; and after the first fault nothing goes on. */
		{"call f\n *(u64 *)(r10 -8) = 1\n exit\nf:\n r0 = *(u64 *)(r10 +8)\n exit",
		 "load of 8 bytes"},
		{"r6 = r1\n r0 = *(u64 *)(r1 +16)\n *(u64 *)(r6 +0) = 1\n exit", "load of 8 bytes"},
	};
	uint64_t ctx[2];
	char fault[256];

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		memset(ctx, 0, sizeof(ctx));
		checked(cases[i].text, ctx, sizeof(ctx), RW, fault);
		if (strncmp(fault, cases[i].fault, strlen(cases[i].fault)) != 0 ||
		    !!fault[0] != !!cases[i].fault[0])
			fail_msg("case %zu: \"%s\", expected \"%s\"", i, fault, cases[i].fault);
		if (fault[0])
			assert_int_equal(ctx[0], 0);
	}
	checked("*(u64 *)(r1 +0) = 1\n r0 = 0\n exit", ctx, sizeof(ctx), SKEP_REGION_READ, fault);
	assert_memory_equal(fault, "store of 8 bytes", 16);
	assert_int_equal(ctx[0], 0);
}

static void count_step(void *arg, struct skep_env *e, uint32_t insn, const uint64_t *regs)
{
	uint32_t *steps = arg;

	steps[insn]++;
	if (insn == 2)
		assert_int_equal(regs[0], 5);
}

/* The step callback sees every instruction with the registers before it. */
static void test_step(void **state)
{
	struct skep_prog prog = {.obj.skep = skep};
	uint32_t steps[8] = {0};
	struct skep_checker checker = {.step = count_step, .step_arg = steps};
	struct bpf_insn insns[16];
	int n = asm_text(
		"r0 = 5\n r1 = 3\n again:\n r2 = r0\n r1 += -1\n if r1 != 0 goto again\n exit",
		insns, 16);

	assert_int_equal(skep_image_raw(&prog.image, insns, n), 0);
	assert_int_equal(skep_bind(&prog), 0);
	env->prog = &prog;
	env->checker = &checker;
	assert_int_equal(skep_interp(&prog, NULL, env), 5);
	env->checker = NULL;
	assert_int_equal(steps[0], 1);
	assert_int_equal(steps[2], 3);
	assert_int_equal(steps[5], 1);
	free(checker.regions);
	skep_unbind(&prog);
	skep_image_free(&prog.image);
}

static int make_map(void **state)
{
	union bpf_attr attr = {
		.map_type = BPF_MAP_TYPE_ARRAY, .key_size = 4, .value_size = 16, .max_entries = 4};
	struct skep_object *obj;
	long fd = skep_bpf(skep, BPF_MAP_CREATE, &attr, sizeof(attr));

	if (fd < 0 || skep_object_get(skep, fd, SKEP_KIND_MAP, &obj))
		return -1;
	close(fd);
	map = (struct skep_map *)obj;
	return 0;
}

static int drop_map(void **state)
{
	skep_object_put(&map->obj);
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_raw),
		cmocka_unit_test_setup_teardown(test_checked, make_map, drop_map),
		cmocka_unit_test(test_step),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
