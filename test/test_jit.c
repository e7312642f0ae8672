// SPDX-License-Identifier: Apache-2.0
/*
 * What compiled programs do beyond arithmetic: maps, inlined lookups, helpers,
 * callbacks, loads that may fault. Images are made by hand, so that no verifier
 * stands in between; the interpreter says what is right.
 */
#include <errno.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "asm.h"
#include "bpf/instance.h"
#include "exec/exec.h"
#include "map/map.h"
#include "skep.h"

static struct skep *skep;
static struct skep_env *env;

static struct skep_map *new_map(uint32_t type, uint32_t value_size, uint32_t entries)
{
	union bpf_attr attr = {
		.map_type = type, .key_size = 4, .value_size = value_size, .max_entries = entries};
	struct skep_object *obj;
	long fd = skep_bpf(skep, BPF_MAP_CREATE, &attr, sizeof(attr));

	assert_true(fd >= 0);
	assert_int_equal(skep_object_get(skep, fd, SKEP_KIND_MAP, &obj), 0);
	close(fd);
	return (struct skep_map *)obj;
}

struct unit {
	struct skep_prog prog;
	struct skep_map *maps[1];
};

/* "r1 = 0x6d6170 ll" is the address of the map, "= 0x66756e63 + N" of function N. */
#define MAP_MARK  0x6d6170
#define FUNC_MARK 0x66756e63

static void open_unit(struct unit *u, const char *text, struct skep_map *map)
{
	struct bpf_insn insns[512];
	struct skep_image *image = &u->prog.image;
	int n = asm_text(text, insns, 512);

	assert_true(n > 0);
	memset(u, 0, sizeof(*u));
	for (int i = 0; i < n; i++) {
		/* A function is marked by the distance to it. */
		if (insns[i].code != 0x18 || insns[i].imm != FUNC_MARK)
			continue;
		insns[i].src_reg = BPF_PSEUDO_FUNC;
		insns[i].imm = insns[i + 1].imm - i - 1;
		insns[i + 1].imm = 0;
	}
	assert_int_equal(skep_image_raw(image, insns, n), 0);
	u->maps[0] = map;
	u->prog.maps = u->maps;
	u->prog.nmaps = map ? 1 : 0;
	u->prog.obj.skep = skep;
	for (int i = 0; i < n; i++) {
		if (insns[i].code == 0x18 && insns[i].imm == MAP_MARK) {
			image->relocs = realloc(image->relocs,
						(image->nrelocs + 1) * sizeof(*image->relocs));
			image->relocs[image->nrelocs++] =
				(struct skep_reloc){.insn = i, .kind = SKEP_RELOC_MAP, .target = 0};
		}
		if (insns[i].code == 0x85 && !insns[i].src_reg)
			image->facts[i].map = map ? 0 : -1;
	}
}

static void close_unit(struct unit *u)
{
	skep_jit_free(&u->prog.code);
	skep_unbind(&u->prog);
	skep_image_free(&u->prog.image);
}

static void build(struct unit *u)
{
	int err = skep_bind(&u->prog);

	assert_int_equal(err, 0);
	err = skep_jit(&u->prog, &u->prog.code);
	if (err == -ENOTSUP)
		skip();
	assert_int_equal(err, 0);
}

static uint64_t interpreted(struct unit *u, void *ctx)
{
	uint64_t r;

	skep_enter(env);
	env->prog = &u->prog;
	r = skep_interp(&u->prog, ctx, env);
	skep_leave(env);
	return r;
}

static uint64_t compiled(struct unit *u, void *ctx)
{
	uint64_t r;

	skep_enter(env);
	env->prog = &u->prog;
	r = u->prog.code.entry(ctx, env);
	skep_leave(env);
	return r;
}

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

static const char *const lookup_text = "r6 = r1\n"
				       "r1 = *(u32 *)(r1 +0)\n"
				       "*(u32 *)(r10 -4) = r1\n"
				       "r7 = 77\n"
				       "r2 = r10\n"
				       "r2 += -4\n"
				       "r1 = 0x6d6170 ll\n"
				       "call #1\n"
				       "if r0 == 0 goto none\n"
				       "r1 = *(u32 *)(r0 +0)\n"
				       "r1 += 3\n"
				       "*(u32 *)(r0 +0) = r1\n"
				       "r0 = r1\n"
				       "r0 += r7\n"
				       "exit\n"
				       "none:\n"
				       "r0 = -1\n"
				       "exit\n";

/* Lookups in arrays of several element sizes, inlined and not, hit and miss. */
static void test_lookup(void **state)
{
	static const struct {
		uint32_t type, size, entries;
	} cases[] = {
		{BPF_MAP_TYPE_ARRAY, 4, 10},        {BPF_MAP_TYPE_ARRAY, 8, 1},
		{BPF_MAP_TYPE_ARRAY, 24, 100},      {BPF_MAP_TYPE_ARRAY, 100, 7},
		{BPF_MAP_TYPE_PERCPU_ARRAY, 4, 10}, {BPF_MAP_TYPE_PERCPU_ARRAY, 40, 3},
		{BPF_MAP_TYPE_HASH, 4, 10},
	};

	for (size_t k = 0; k < sizeof(cases) / sizeof(cases[0]); k++) {
		struct skep_map *map = new_map(cases[k].type, cases[k].size, cases[k].entries);
		struct unit u;

		open_unit(&u, lookup_text, map);
		build(&u);
		for (uint32_t key = 0; key < cases[k].entries + 3; key++) {
			uint32_t ctx[2] = {key, 0};
			uint64_t first = interpreted(&u, ctx), second = compiled(&u, ctx);

			if (first == (uint64_t)-1)
				assert_int_equal(second, -1);
			else
				assert_int_equal(second, first + 3);
			if (cases[k].type != BPF_MAP_TYPE_HASH)
				assert_int_equal(first == (uint64_t)-1, key >= cases[k].entries);
		}
		close_unit(&u);
		skep_object_put(&map->obj);
	}
}

/* A constant key: the address is known, and so is whether it is there. */
static void test_constant_key(void **state)
{
	struct skep_map *map = new_map(BPF_MAP_TYPE_ARRAY, 12, 5);

	for (uint32_t key = 0; key < 7; key++) {
		uint32_t ctx[2] = {key, 0};
		uint64_t first, second;
		struct unit u;

		open_unit(&u, lookup_text, map);
		for (uint32_t i = 0; i < u.prog.image.len; i++) {
			u.prog.image.facts[i].key = key;
			u.prog.image.facts[i].flags |= SKEP_FACT_CONST_KEY;
		}
		build(&u);
		first = interpreted(&u, ctx);
		second = compiled(&u, ctx);
		assert_int_equal(second, key < 5 ? first + 3 : (uint64_t)-1);
		close_unit(&u);
	}
	skep_object_put(&map->obj);
}

/* Helpers get their arguments and the environment; R6 to R9 survive. */
static void test_helpers(void **state)
{
	struct skep_map *map = new_map(BPF_MAP_TYPE_HASH, 8, 16);
	struct unit u;
	uint64_t key = 5;

	open_unit(&u,
		  "r6 = 1\n r7 = 2\n r8 = 4\n r9 = 8\n"
		  "r1 = 9\n *(u32 *)(r10 -4) = r1\n"
		  "r1 = 1234\n *(u64 *)(r10 -16) = r1\n"
		  "r1 = 0x6d6170 ll\n r2 = r10\n r2 += -4\n r3 = r10\n r3 += -16\n r4 = 0\n"
		  "call #2\n"
		  "r6 += r0\n"
		  "r1 = 0x6d6170 ll\n r2 = r10\n r2 += -4\n call #1\n"
		  "if r0 == 0 goto end\n"
		  "r0 = *(u64 *)(r0 +0)\n"
		  "end: \n"
		  "r0 += r6\n r0 += r7\n r0 += r8\n r0 += r9\n"
		  "*(u64 *)(r10 -24) = r0\n"
		  "r1 = 0x6d6170 ll\n r2 = r10\n r2 += -4\n call #3\n"
		  "r1 = r0\n r0 = *(u64 *)(r10 -24)\n r0 += r1\n"
		  "call #8\n r0 += 1\n exit\n",
		  map);
	build(&u);
	assert_int_equal(interpreted(&u, &key), compiled(&u, &key));
	close_unit(&u);
	skep_object_put(&map->obj);
}

/* bpf_loop calls back; the callback changes the caller's stack. */
static void test_callback(void **state)
{
	static const char text[] = "*(u64 *)(r10 -8) = 0\n"
				   "r6 = 1000\n"
				   "r1 = 10\n"
				   "r2 = 0x%x66756e63 ll\n"
				   "r3 = r10\n r3 += -8\n r4 = 0\n"
				   "call #181\n"
				   "r1 = *(u64 *)(r10 -8)\n"
				   "r0 *= r1\n"
				   "r0 += r6\n"
				   "exit\n"
				   "r6 = r1\n"
				   "r3 = *(u64 *)(r2 +0)\n"
				   "r3 += r6\n"
				   "*(u64 *)(r2 +0) = r3\n"
				   "r7 = r2\n"
				   "call #8\n"
				   "r0 = 0\n"
				   "if r6 < 6 goto +1\n"
				   "r0 = 1\n"
				   "exit\n";
	char buf[sizeof(text) + 16];
	struct unit u;
	uint64_t zero = 0;

	/* The callback begins after 13 instructions. */
	snprintf(buf, sizeof(buf), text, 13);
	open_unit(&u, buf, NULL);
	assert_int_equal(u.prog.image.nsubprogs, 2);
	build(&u);
	assert_int_equal(interpreted(&u, &zero), 1000 + 7 * 21);
	assert_int_equal(compiled(&u, &zero), 1000 + 7 * 21);
	close_unit(&u);
}

/* Loads that the verifier could not prove read 0 where nothing is. */
static void test_probe(void **state)
{
	static const char text[] =
		"r6 = r1\n"
		"r2 = *(u64 *)(r1 +0)\n"
		"r3 = 3\n r4 = 4\n r5 = 5\n r0 = 100\n"
		"r7 = *(u64 *)(r2 +8)\n"
		"r8 = *(s16 *)(r2 +16)\n"
		"r2 = *(u32 *)(r2 +20)\n"
		"r0 += r2\n r0 += r3\n r0 += r4\n r0 += r5\n r0 += r7\n r0 += r8\n"
		"exit\n";
	struct unit u;
	uint64_t there[4] = {0, 7, 0x1234567880ff8001, 0}, ctx[1];
	void *gone = mmap(NULL, 4096, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	open_unit(&u, text, NULL);
	for (uint32_t i = 6; i <= 8; i++)
		u.prog.image.facts[i].mem = SKEP_MEM_PROBE;
	build(&u);
	ctx[0] = (uintptr_t)there;
	assert_int_equal(compiled(&u, ctx), interpreted(&u, ctx));
	assert_int_equal(compiled(&u, ctx), 100 + 12 + 7 + 0x12345678 - 0x7fff);
	ctx[0] = (uintptr_t)gone;
	assert_int_equal(interpreted(&u, ctx), 112);
	assert_int_equal(compiled(&u, ctx), 112);
	ctx[0] = 0;
	assert_int_equal(compiled(&u, ctx), 112);
	ctx[0] = 0xdeadbeefdeadbeef;
	assert_int_equal(compiled(&u, ctx), 112);
	close_unit(&u);
	munmap(gone, 4096);
}

static int load_target(const char *text)
{
	struct bpf_insn insns[16];
	int n = asm_text(text, insns, 16);
	union bpf_attr attr = {.prog_type = BPF_PROG_TYPE_SCHED_CLS,
			       .insns = (uintptr_t)insns,
			       .insn_cnt = n,
			       .license = (uintptr_t) "GPL"};

	return skep_bpf(skep, BPF_PROG_LOAD, &attr, sizeof(attr));
}

/* A tail call from a subprogram ends that one only; its caller goes on, as itself. */
static void test_tail_call_in_subprogram(void **state)
{
	struct skep_map *map = new_map(BPF_MAP_TYPE_PROG_ARRAY, 4, 4);
	int target = load_target("r0 = 500\n exit\n"), fd = skep_object_fd(&map->obj, 0);
	uint32_t key = 2;
	union bpf_attr up = {.map_fd = fd, .key = (uintptr_t)&key, .value = (uintptr_t)&target};
	struct unit u;
	uint64_t ctx[1];

	assert_true(target >= 0 && fd >= 0);
	assert_int_equal(skep_bpf(skep, BPF_MAP_UPDATE_ELEM, &up, sizeof(up)), 0);
	open_unit(&u,
		  "r6 = 30\n r7 = r1\n"
		  "call sub\n"
		  "r0 += r6\n"
		  "r6 = r0\n"
		  "r1 = r7\n"
		  "call sub\n"
		  "r0 += r6\n"
		  "exit\n"
		  "sub:\n"
		  /* All that a frame can have, so that the way out is as long as it gets. */
		  "r6 = 7\n r7 = r1\n r8 = 8\n r9 = 9\n"
		  "*(u64 *)(r10 -16) = r7\n r7 = *(u64 *)(r10 -16)\n *(u64 *)(r10 -16) = r6\n"
		  "*(u64 *)(r10 -24) = r7\n r7 = *(u64 *)(r10 -24)\n *(u64 *)(r10 -24) = r6\n"
		  "*(u64 *)(r10 -32) = r7\n r7 = *(u64 *)(r10 -32)\n *(u64 *)(r10 -32) = r6\n"
		  "*(u8 *)(r10 -400) = 1\n"
		  "*(u64 *)(r10 -8) = 1\n"
		  "r3 = *(u32 *)(r1 +0)\n"
		  "r2 = 0x6d6170 ll\n"
		  "call #12\n"
		  "r0 = *(u64 *)(r10 -8)\n"
		  "exit\n",
		  map);
	build(&u);
	for (ctx[0] = 0; ctx[0] < 6; ctx[0]++) {
		uint64_t want = ctx[0] == 2 ? 1030 : 32;

		env->tail_calls = 0;
		assert_int_equal(interpreted(&u, ctx), want);
		assert_ptr_equal(env->prog, &u.prog);
		assert_int_equal(env->tail_calls, ctx[0] == 2 ? 2 : 0);
		env->tail_calls = 0;
		assert_int_equal(compiled(&u, ctx), want);
		assert_ptr_equal(env->prog, &u.prog);
		assert_int_equal(env->tail_calls, ctx[0] == 2 ? 2 : 0);
		/* No more than 33. */
		env->tail_calls = 32;
		assert_int_equal(compiled(&u, ctx), ctx[0] == 2 ? 531 : 32);
	}
	close_unit(&u);
	close(fd);
	close(target);
	skep_object_put(&map->obj);
}

static void *flip(void *arg)
{
	_Atomic uint32_t *word = arg;

	while (atomic_load(word + 1) == 0) {
		atomic_store_explicit(word, 3, memory_order_relaxed);
		atomic_store_explicit(word, 1000000, memory_order_relaxed);
	}
	return NULL;
}

/*
 * A value that others write is loaded once: what was checked is what is used, in
 * whatever form the compiler puts the load, the comparison and the use.
 */
static void test_single_load(void **state)
{
	static const char *const texts[] = {
		/* compared, then returned */
		"r2 = *(u32 *)(r1 +0)\n r0 = 1\n if r2 > 7 goto out\n r0 = r2\n out:\n exit\n",
		"r2 = *(u32 *)(r1 +0)\n r0 = 1\n if w2 > 7 goto out\n w0 = w2\n out:\n exit\n",
		/* an operand and a comparison */
		"r0 = 0\n r2 = *(u32 *)(r1 +0)\n r0 += r2\n if r2 > 7 goto out\n exit\n"
		"out:\n r0 = 1\n exit\n",
		/* copied before it is compared */
		"r2 = *(u32 *)(r1 +0)\n r3 = r2\n r0 = 1\n if r3 > 7 goto out\n r0 = r2\n out:\n "
		"exit\n",
		"r2 = *(u16 *)(r1 +0)\n r3 = r2\n r3 &= 0xff8\n r0 = 1\n if r3 != 0 goto out\n"
		"r2 &= 0xfff\n r0 = r2\n out:\n exit\n",
		/* used twice, once through memory operands */
		"r2 = *(u32 *)(r1 +0)\n r3 = 5\n r3 ^= r2\n r4 = r2\n r4 ^= 5\n r0 = 1\n"
		"if r3 != r4 goto bad\n exit\n bad:\n r0 = 99\n exit\n",
	};
	_Alignas(8) _Atomic uint32_t words[2] = {3, 0};
	pthread_t thread;

	assert_int_equal(pthread_create(&thread, NULL, flip, words), 0);
	for (size_t t = 0; t < sizeof(texts) / sizeof(texts[0]); t++) {
		struct unit u;

		open_unit(&u, texts[t], NULL);
		build(&u);
		for (int i = 0; i < 5000000; i++)
			if (u.prog.code.entry((void *)words, env) > 7)
				fail_msg("text %zu: a value was used that was not checked", t);
		close_unit(&u);
	}
	atomic_store(words + 1, 1);
	pthread_join(thread, NULL);
}

/* Code is never writable and executable at once. */
static void test_w_xor_x(void **state)
{
	struct unit u;
	unsigned long from, to;
	char line[512], prot[8];
	FILE *f;
	bool found = false;

	open_unit(&u, "r0 = 1\n exit\n", NULL);
	build(&u);
	f = fopen("/proc/self/maps", "re");
	assert_non_null(f);
	while (fgets(line, sizeof(line), f)) {
		if (sscanf(line, "%lx-%lx %7s", &from, &to, prot) != 3)
			continue;
		if ((uintptr_t)u.prog.code.mem >= from && (uintptr_t)u.prog.code.mem < to) {
			found = true;
			assert_null(strchr(prot, 'w'));
			assert_non_null(strchr(prot, 'x'));
		}
		assert_true(!strchr(prot, 'w') || !strchr(prot, 'x'));
	}
	fclose(f);
	assert_true(found);
	close_unit(&u);
}

/* Images that are none are refused, not compiled. */
static void test_refusals(void **state)
{
	struct bpf_insn bad[] = {{.code = 0xb7, .dst_reg = 0}, {.code = 0x95}};
	struct unit u;

	open_unit(&u, "r0 = 1\n exit\n", NULL);
	u.prog.image.insns[0].code = 0xff;
	assert_int_equal(skep_jit(&u.prog, &u.prog.code), -EINVAL);
	u.prog.image.insns[0] = (struct bpf_insn){.code = 0x05, .off = 7};
	assert_int_equal(skep_jit(&u.prog, &u.prog.code), -EINVAL);
	u.prog.image.insns[0] = (struct bpf_insn){.code = 0x85, .imm = 100000};
	assert_int_equal(skep_jit(&u.prog, &u.prog.code), -EINVAL);
	u.prog.image.insns[0] = bad[0];
	assert_int_equal(skep_jit(&u.prog, &u.prog.code), 0);
	close_unit(&u);
}

/* A program of a million instructions: jumps of all distances, in linear time. */
static void test_large(void **state)
{
	const uint32_t n = 200000;
	struct bpf_insn *insns = calloc(n, sizeof(*insns));
	struct skep_prog prog = {.obj.skep = skep};
	uint64_t ctx[1] = {3};

	assert_non_null(insns);
	insns[0] = (struct bpf_insn){.code = 0x79, .dst_reg = 2, .src_reg = 1};
	insns[1] = (struct bpf_insn){.code = 0xb7, .dst_reg = 0};
	for (uint32_t i = 2; i < n - 1; i++) {
		/* if r2 == i % 7 goto +(i % 100): over instructions that add */
		if (i % 3 == 0 && i + 102 < n)
			insns[i] = (struct bpf_insn){
				.code = 0x15, .dst_reg = 2, .off = i % 100, .imm = i % 7};
		else
			insns[i] = (struct bpf_insn){.code = 0x07, .imm = i & 0xff};
	}
	insns[n - 1] = (struct bpf_insn){.code = 0x95};
	assert_int_equal(skep_image_raw(&prog.image, insns, n), 0);
	assert_int_equal(skep_bind(&prog), 0);
	assert_int_equal(skep_jit(&prog, &prog.code), 0);
	env->prog = &prog;
	assert_int_equal(skep_interp(&prog, ctx, env), prog.code.entry(ctx, env));
	skep_jit_free(&prog.code);
	skep_unbind(&prog);
	skep_image_free(&prog.image);
	free(insns);
}

/* Ten thousand jumps back, each to the one before: no analysis may take them one by one. */
static void test_backward_jumps(void **state)
{
	const uint32_t blocks = 10000, n = 3 + 3 * blocks;
	struct bpf_insn *insns = calloc(n, sizeof(*insns));
	struct skep_prog prog = {.obj.skep = skep};
	uint64_t ctx[1] = {3};
	struct timespec from, to;

	assert_non_null(insns);
	/* r0 = 0; goto the last block. Block k: r0 += r1; if r0 == -1 goto end; goto k - 1 */
	insns[0] = (struct bpf_insn){.code = 0xb7};
	insns[1] = (struct bpf_insn){.code = 0x06, .imm = (int)(n - 3 - 2)};
	insns[2] = (struct bpf_insn){.code = 0x95};
	for (uint32_t k = 0; k < blocks; k++) {
		uint32_t at = 3 + 3 * k;

		insns[at] = (struct bpf_insn){.code = 0x07, .imm = (int)k};
		insns[at + 1] = (struct bpf_insn){.code = 0x0f, .dst_reg = 0, .src_reg = 6};
		insns[at + 2] = (struct bpf_insn){.code = 0x06, .imm = k ? -6 : -4};
	}
	insns[1].imm = (int)(3 + 3 * (blocks - 1) - 2);
	for (uint32_t k = 0; k < blocks; k++)
		insns[3 + 3 * k + 1] = (struct bpf_insn){.code = 0x67, .imm = 1};
	assert_int_equal(skep_image_raw(&prog.image, insns, n), 0);
	assert_int_equal(skep_bind(&prog), 0);
	clock_gettime(CLOCK_MONOTONIC, &from);
	assert_int_equal(skep_jit(&prog, &prog.code), 0);
	clock_gettime(CLOCK_MONOTONIC, &to);
	assert_true(to.tv_sec - from.tv_sec < 5);
	env->prog = &prog;
	assert_int_equal(skep_interp(&prog, ctx, env), prog.code.entry(ctx, env));
	skep_jit_free(&prog.code);
	skep_unbind(&prog);
	skep_image_free(&prog.image);
	free(insns);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_lookup),
		cmocka_unit_test(test_constant_key),
		cmocka_unit_test(test_helpers),
		cmocka_unit_test(test_callback),
		cmocka_unit_test(test_probe),
		cmocka_unit_test(test_tail_call_in_subprogram),
		cmocka_unit_test(test_single_load),
		cmocka_unit_test(test_w_xor_x),
		cmocka_unit_test(test_refusals),
		cmocka_unit_test(test_large),
		cmocka_unit_test(test_backward_jumps),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
