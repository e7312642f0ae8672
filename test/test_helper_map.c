/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The helpers on maps, called by programs on both sides: random operations with
 * random keys, values and flags on every type of map. Each result is compared.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>

#include "kernel.h"
#include "side.h"

static struct side kernel, ours, checked;

static int setup(void **state)
{
	struct skep_opts opts = {.sz = sizeof(opts), .flags = SKEP_F_CHECKED};

	if (!kernel_there()) {
		print_message("skipped: no bpf(2) here\n");
		return 0;
	}
	assert_int_equal(skep_open(&checked.skep, &opts), 0);
	return skep_open(&ours.skep, NULL);
}

static int teardown(void **state)
{
	skep_close(ours.skep);
	skep_close(checked.skep);
	return 0;
}

struct kind {
	const char *name;
	uint32_t type, key, value, entries, flags;
	const char *ops; /* l lookup, u update, d delete, c lookup_percpu, > push, < pop, = peek */
};

static const struct kind kinds[] = {
	{"array", BPF_MAP_TYPE_ARRAY, 4, 16, 5, 0, "lud"},
	{"hash", BPF_MAP_TYPE_HASH, 4, 16, 5, 0, "lllud"},
	{"hash, no prealloc", BPF_MAP_TYPE_HASH, 8, 24, 5, BPF_F_NO_PREALLOC, "lllud"},
	{"percpu array", BPF_MAP_TYPE_PERCPU_ARRAY, 4, 16, 5, 0, "ludc"},
	{"percpu hash", BPF_MAP_TYPE_PERCPU_HASH, 4, 16, 5, 0, "lluudc"},
	{"lru hash", BPF_MAP_TYPE_LRU_HASH, 4, 16, 4096, 0, "llud"},
	{"lru percpu hash", BPF_MAP_TYPE_LRU_PERCPU_HASH, 4, 16, 4096, 0, "lludc"},
	{"lpm trie", BPF_MAP_TYPE_LPM_TRIE, 8, 16, 5, BPF_F_NO_PREALLOC, "lllud"},
	{"queue", BPF_MAP_TYPE_QUEUE, 0, 16, 3, 0, "><="},
	{"stack", BPF_MAP_TYPE_STACK, 0, 16, 3, 0, "><="},
	{"bloom filter", BPF_MAP_TYPE_BLOOM_FILTER, 0, 16, 100, 0, ">="},
};
#define NKINDS (sizeof(kinds) / sizeof(kinds[0]))

#define OPS 24

struct code {
	struct bpf_insn insns[2048];
	uint32_t n;
};

static void add(struct code *c, uint8_t code, uint8_t dst, uint8_t src, int16_t off, int32_t imm)
{
	assert_true(c->n < 2048);
	c->insns[c->n++] = (struct bpf_insn){
		.code = code, .dst_reg = dst, .src_reg = src, .off = off, .imm = imm};
}

static void stack_ptr(struct code *c, uint8_t reg, int32_t off)
{
	add(c, BPF_ALU64 | BPF_MOV | BPF_X, reg, 10, 0, 0);
	add(c, BPF_ALU64 | BPF_ADD | BPF_K, reg, 0, 0, off);
}

#define KEY   (-16)
#define VALUE (-48)

static void set_key(struct code *c, const struct kind *k, uint64_t *seed)
{
	uint64_t r = test_random(seed);

	if (k->type == BPF_MAP_TYPE_LPM_TRIE) {
		/* A prefix length, sometimes too long, and few different addresses. */
		add(c, BPF_ST | BPF_MEM | BPF_W, 10, 0, KEY, (int32_t)(r % 36));
		add(c, BPF_ST | BPF_MEM | BPF_W, 10, 0, KEY + 4,
		    (int32_t)(0x0a000000u | (uint32_t)(r >> 16 & 0x10103)));
		return;
	}
	add(c, BPF_ST | BPF_MEM | BPF_DW, 10, 0, KEY, (int32_t)(r % 8));
}

static void set_value(struct code *c, uint64_t *seed)
{
	for (int16_t off = VALUE; off < VALUE + 32; off += 8)
		add(c, BPF_ST | BPF_MEM | BPF_DW, 10, 0, off, (int32_t)(test_random(seed) % 5));
}

/* R6 = the packet, of at least size bytes, or the program ends. */
static void begin(struct code *c, int32_t size)
{
	add(c, BPF_LDX | BPF_MEM | BPF_W, 6, 1, offsetof(struct xdp_md, data), 0);
	add(c, BPF_LDX | BPF_MEM | BPF_W, 7, 1, offsetof(struct xdp_md, data_end), 0);
	add(c, BPF_ALU64 | BPF_MOV | BPF_X, 8, 6, 0, 0);
	add(c, BPF_ALU64 | BPF_ADD | BPF_K, 8, 0, 0, size);
	add(c, BPF_ALU64 | BPF_MOV | BPF_K, 0, 0, 0, 77);
	add(c, BPF_JMP | BPF_JLE | BPF_X, 8, 7, 1, 0);
	add(c, BPF_JMP | BPF_EXIT, 0, 0, 0, 0);
}

/* Folds the value at R0 into R7 and changes it, unless R0 is NULL: that is 1. */
static void use_value(struct code *c)
{
	add(c, BPF_ALU64 | BPF_MOV | BPF_K, 7, 0, 0, 1);
	add(c, BPF_JMP | BPF_JEQ | BPF_K, 0, 0, 5, 0);
	add(c, BPF_LDX | BPF_MEM | BPF_DW, 7, 0, 0, 0);
	add(c, BPF_LDX | BPF_MEM | BPF_DW, 1, 0, 8, 0);
	add(c, BPF_ALU64 | BPF_MUL | BPF_K, 7, 0, 0, 1000);
	add(c, BPF_ALU64 | BPF_ADD | BPF_X, 7, 1, 0, 0);
	add(c, BPF_STX | BPF_MEM | BPF_DW, 0, 7, 8, 0);
}

static int32_t flags(uint64_t *seed)
{
	uint64_t r = test_random(seed);

	return r % 3 ? (int32_t)((r >> 8) % 3) : (int32_t)((r >> 8) % 10);
}

static void add_op(struct code *c, const struct side *s, const struct kind *k, int map, char op,
		   uint64_t *seed)
{
	static const struct {
		char op;
		int32_t id;
	} helpers[] = {{'l', BPF_FUNC_map_lookup_elem}, {'u', BPF_FUNC_map_update_elem},
		       {'d', BPF_FUNC_map_delete_elem}, {'c', BPF_FUNC_map_lookup_percpu_elem},
		       {'>', BPF_FUNC_map_push_elem},   {'<', BPF_FUNC_map_pop_elem},
		       {'=', BPF_FUNC_map_peek_elem}};
	int32_t id = 0, fl = flags(seed);

	for (size_t i = 0; i < sizeof(helpers) / sizeof(helpers[0]); i++)
		id = helpers[i].op == op ? helpers[i].id : id;
	set_key(c, k, seed);
	set_value(c, seed);
	add(c, BPF_LD | BPF_IMM | BPF_DW, 1, BPF_PSEUDO_MAP_FD, 0, map);
	add(c, 0, 0, 0, 0, 0);
	if (k->key) {
		stack_ptr(c, 2, KEY);
		stack_ptr(c, 3, VALUE);
		add(c, BPF_ALU64 | BPF_MOV | BPF_K, 4, 0, 0, fl);
	} else {
		stack_ptr(c, 2, VALUE);
		add(c, BPF_ALU64 | BPF_MOV | BPF_K, 3, 0, 0, fl);
	}
	if (op == 'c') /* the copies of CPUs beyond the last one: the others differ */
		add(c, BPF_ALU64 | BPF_MOV | BPF_K, 3, 0, 0, 100000);
	add(c, BPF_JMP | BPF_CALL, 0, 0, 0, id);
	if (op == 'l' || op == 'c') {
		use_value(c);
		return;
	}
	add(c, BPF_ALU64 | BPF_MOV | BPF_X, 7, 0, 0, 0);
	if (!k->key) {
		add(c, BPF_ALU64 | BPF_MUL | BPF_K, 7, 0, 0, 1000);
		add(c, BPF_LDX | BPF_MEM | BPF_DW, 1, 10, VALUE, 0);
		add(c, BPF_ALU64 | BPF_ADD | BPF_X, 7, 1, 0, 0);
		add(c, BPF_LDX | BPF_MEM | BPF_DW, 1, 10, VALUE + 8, 0);
		add(c, BPF_ALU64 | BPF_ADD | BPF_X, 7, 1, 0, 0);
	}
}

static long run_side(struct side *s, const struct kind *k, uint64_t seed, uint64_t *results,
		     char *ops)
{
	union bpf_attr attr = {.map_type = k->type,
			       .key_size = k->key,
			       .value_size = k->value,
			       .max_entries = k->entries,
			       .map_flags = k->flags};
	int map = (int)side_bpf(s, BPF_MAP_CREATE, &attr), fd;
	struct code c = {.n = 0};
	uint32_t retval;
	long err;

	if (map < 0)
		return map;
	begin(&c, OPS * 8);
	for (int i = 0; i < OPS; i++) {
		ops[i] = k->ops[test_random(&seed) % strlen(k->ops)];
		add_op(&c, s, k, map, ops[i], &seed);
		add(&c, BPF_STX | BPF_MEM | BPF_DW, 6, 7, (int16_t)(i * 8), 0);
	}
	ops[OPS] = 0;
	add(&c, BPF_ALU64 | BPF_MOV | BPF_K, 0, 0, 0, 0);
	add(&c, BPF_JMP | BPF_EXIT, 0, 0, 0, 0);
	err = side_load(s, BPF_PROG_TYPE_XDP, c.insns, c.n, "GPL", &fd);
	close(map);
	if (err)
		return err;
	/* Twice: on what the first run left. */
	for (int i = 0; i < 2 && !err; i++)
		err = side_run_packet(s, fd, results + (size_t)i * OPS, OPS * 8, &retval);
	close(fd);
	return err;
}

static void compare(struct side *s, const struct kind *k, uint64_t seed, const uint64_t *expected,
		    long err)
{
	uint64_t got[2 * OPS] = {0};
	char ops[OPS + 1];
	long our_err = run_side(s, k, seed, got, ops);

	if (err != our_err)
		fail_msg("%s, seed %#llx: kernel %ld (%.2000s), skep %ld (%.2000s)", k->name,
			 (unsigned long long)seed, err, kernel.log, our_err, s->log);
	for (int i = 0; i < 2 * OPS; i++) {
		/* Per-CPU values: the second run may be on another CPU. */
		if (i >= OPS && strstr(k->name, "percpu"))
			break;
		if (expected[i] != got[i])
			fail_msg("%s, seed %#llx, operation %d of %s: kernel %lld, skep %lld",
				 k->name, (unsigned long long)seed, i, ops, (long long)expected[i],
				 (long long)got[i]);
	}
}

static void test_operations(void **state)
{
	uint32_t n = 0;

	if (!ours.skep)
		skip();
	for (size_t k = 0; k < NKINDS; k++) {
		for (uint32_t i = 0; i < test_scale(60); i++, n++) {
			uint64_t seed = i * 0x10000ull + k, results[2 * OPS] = {0};
			char ops[OPS + 1];
			long err = run_side(&kernel, &kinds[k], seed, results, ops);

			compare(&ours, &kinds[k], seed, results, err);
			if (i % 4 == 0)
				compare(&checked, &kinds[k], seed, results, err);
		}
	}
	print_message("ran: helper_map %u\n", n);
}

/* ---- bpf_for_each_map_elem ---- */

/* Sums the values; stops after as many elements as the context says. */
static long for_each(struct side *s, const struct kind *k, uint64_t *ctx, uint32_t *retval)
{
	union bpf_attr attr = {.map_type = k->type,
			       .key_size = k->key,
			       .value_size = k->value,
			       .max_entries = k->entries,
			       .map_flags = k->flags};
	int map = (int)side_bpf(s, BPF_MAP_CREATE, &attr), fd;
	struct code c = {.n = 0};
	uint64_t seed = 5;
	uint32_t at;
	long err;

	if (map < 0)
		return map;
	begin(&c, 24);
	for (int i = 0; i < 4; i++)
		add_op(&c, s, k, map, 'u', &seed);
	add(&c, BPF_LDX | BPF_MEM | BPF_DW, 1, 6, 0, 0);
	add(&c, BPF_STX | BPF_MEM | BPF_DW, 10, 1, -64, 0); /* elements to go */
	add(&c, BPF_ST | BPF_MEM | BPF_DW, 10, 0, -56, 0); /* sum */
	add(&c, BPF_LD | BPF_IMM | BPF_DW, 1, BPF_PSEUDO_MAP_FD, 0, map);
	add(&c, 0, 0, 0, 0, 0);
	at = c.n;
	add(&c, BPF_LD | BPF_IMM | BPF_DW, 2, BPF_PSEUDO_FUNC, 0, 0);
	add(&c, 0, 0, 0, 0, 0);
	stack_ptr(&c, 3, -64);
	add(&c, BPF_LDX | BPF_MEM | BPF_DW, 4, 6, 8, 0);
	add(&c, BPF_JMP | BPF_CALL, 0, 0, 0, BPF_FUNC_for_each_map_elem);
	add(&c, BPF_LDX | BPF_MEM | BPF_DW, 1, 10, -56, 0);
	add(&c, BPF_STX | BPF_MEM | BPF_DW, 6, 1, 16, 0);
	add(&c, BPF_JMP | BPF_EXIT, 0, 0, 0, 0);
	c.insns[at].imm = (int32_t)(c.n - at - 1);
	at = c.n;
	/* callback(map, key, value, ctx) */
	add(&c, BPF_LDX | BPF_MEM | BPF_DW, 1, 3, 0, 0);
	add(&c, BPF_LDX | BPF_MEM | BPF_DW, 2, 4, 8, 0);
	add(&c, BPF_ALU64 | BPF_ADD | BPF_X, 2, 1, 0, 0);
	add(&c, BPF_STX | BPF_MEM | BPF_DW, 4, 2, 8, 0);
	add(&c, BPF_LDX | BPF_MEM | BPF_DW, 2, 4, 0, 0);
	add(&c, BPF_ALU64 | BPF_SUB | BPF_K, 2, 0, 0, 1);
	add(&c, BPF_STX | BPF_MEM | BPF_DW, 4, 2, 0, 0);
	add(&c, BPF_ALU64 | BPF_MOV | BPF_K, 0, 0, 0, 0);
	add(&c, BPF_JMP | BPF_JNE | BPF_K, 2, 0, 1, 0);
	add(&c, BPF_ALU64 | BPF_MOV | BPF_K, 0, 0, 0, 1);
	add(&c, BPF_JMP | BPF_EXIT, 0, 0, 0, 0);
	err = side_load_callback(s, BPF_PROG_TYPE_XDP, c.insns, c.n, at, &fd);
	close(map);
	if (err)
		return err;
	err = side_run_packet(s, fd, ctx, 24, retval);
	close(fd);
	return err;
}

static void test_for_each(void **state)
{
	uint32_t n = 0;

	if (!ours.skep)
		skip();
	for (size_t k = 0; k < NKINDS; k++) {
		for (uint64_t stop = 0; stop < 4; stop++) {
			for (uint64_t fl = 0; fl < 2; fl++, n++) {
				uint64_t a[3] = {stop, fl}, b[3] = {stop, fl};
				uint32_t ra = 0, rb = 0;
				long ea = for_each(&kernel, &kinds[k], a, &ra);
				long eb = for_each(&ours, &kinds[k], b, &rb);

				if (ea != eb)
					fail_msg("%s: kernel %ld (%.1500s), skep %ld (%.1500s)",
						 kinds[k].name, ea, kernel.log, eb, ours.log);
				/* The order of a hash table is its own: no sums of parts. */
				if (stop && kinds[k].type != BPF_MAP_TYPE_ARRAY)
					a[2] = b[2] = 0;
				if (ra != rb || a[2] != b[2])
					fail_msg("%s, stop %llu, flags %llu: kernel %d, %llu; skep "
						 "%d, %llu",
						 kinds[k].name, (unsigned long long)stop,
						 (unsigned long long)fl, (int)ra,
						 (unsigned long long)a[2], (int)rb,
						 (unsigned long long)b[2]);
			}
		}
	}
	print_message("ran: helper_for_each %u\n", n);
}

/* ---- Redirects and events ---- */

static int one_call(struct side *s, uint32_t type, int map, const uint64_t *arg, int32_t id)
{
	struct code c = {.n = 0};
	uint8_t data[100] = {0};
	uint32_t retval = 0;
	int fd;

	/* redirect_map(map, arg, arg), perf_event_output(ctx, map, arg, stack, size) */
	if (id == BPF_FUNC_redirect_map) {
		add(&c, BPF_LD | BPF_IMM | BPF_DW, 1, BPF_PSEUDO_MAP_FD, 0, map);
		add(&c, 0, 0, 0, 0, 0);
		add(&c, BPF_LD | BPF_IMM | BPF_DW, 2, 0, 0, (int32_t)arg[0]);
		add(&c, 0, 0, 0, 0, (int32_t)(arg[0] >> 32));
	} else {
		add(&c, BPF_LD | BPF_IMM | BPF_DW, 2, BPF_PSEUDO_MAP_FD, 0, map);
		add(&c, 0, 0, 0, 0, 0);
		add(&c, BPF_ST | BPF_MEM | BPF_DW, 10, 0, -8, 1);
		stack_ptr(&c, 4, -8);
		add(&c, BPF_ALU64 | BPF_MOV | BPF_K, 5, 0, 0, (int32_t)arg[0]);
	}
	add(&c, BPF_LD | BPF_IMM | BPF_DW, 3, 0, 0, (int32_t)arg[1]);
	add(&c, 0, 0, 0, 0, (int32_t)(arg[1] >> 32));
	add(&c, BPF_JMP | BPF_CALL, 0, 0, 0, id);
	add(&c, BPF_JMP | BPF_EXIT, 0, 0, 0, 0);
	if (side_load(s, type, c.insns, c.n, "GPL", &fd))
		fail_msg("%.3000s", s->log);
	assert_int_equal(side_run_packet(s, fd, data, sizeof(data), &retval), 0);
	close(fd);
	return (int)retval;
}

static int target_map(struct side *s, uint32_t type)
{
	int fd = side_map(s, type, 4, 4, 4);
	uint32_t key = 1, ifindex = 1;
	union bpf_attr attr = {
		.map_fd = (uint32_t)fd, .key = (uintptr_t)&key, .value = (uintptr_t)&ifindex};

	assert_true(fd >= 0);
	if (type != BPF_MAP_TYPE_PERF_EVENT_ARRAY)
		assert_int_equal(side_bpf(s, BPF_MAP_UPDATE_ELEM, &attr), 0);
	return fd;
}

static void test_redirect_map(void **state)
{
	static const uint32_t types[] = {BPF_MAP_TYPE_DEVMAP, BPF_MAP_TYPE_DEVMAP_HASH};
	static const uint64_t keys[] = {0, 1, 3, 4, 1000, UINT32_MAX, 1ull << 32, (1ull << 32) + 1};
	static const uint64_t fl[] = {0, 1, 2, 3, 4, 7, 8, 16, 9, 24, 25, 1ull << 32, UINT64_MAX};
	uint32_t n = 0;

	if (!ours.skep)
		skip();
	for (int t = 0; t < 2; t++) {
		int maps[2] = {target_map(&kernel, types[t]), target_map(&ours, types[t])};

		for (size_t k = 0; k < sizeof(keys) / sizeof(keys[0]); k++) {
			for (size_t f = 0; f < sizeof(fl) / sizeof(fl[0]); f++, n++) {
				const uint64_t arg[] = {keys[k], fl[f]};
				int a = one_call(&kernel, BPF_PROG_TYPE_XDP, maps[0], arg,
						 BPF_FUNC_redirect_map);
				int b = one_call(&ours, BPF_PROG_TYPE_XDP, maps[1], arg,
						 BPF_FUNC_redirect_map);

				if (a != b)
					fail_msg("map type %u, key %#llx, flags %#llx: kernel %d, "
						 "skep %d",
						 types[t], (unsigned long long)keys[k],
						 (unsigned long long)fl[f], a, b);
			}
		}
		close(maps[0]);
		close(maps[1]);
	}
	print_message("ran: helper_redirect_map %u\n", n);
}

/* Nobody reads: which of the errors comes first is what can be compared. */
static void test_perf_output(void **state)
{
	static const uint32_t types[] = {BPF_PROG_TYPE_XDP, BPF_PROG_TYPE_SCHED_CLS,
					 BPF_PROG_TYPE_SOCKET_FILTER};
	static const uint64_t fl[] = {0,
				      1,
				      3,
				      4,
				      100,
				      UINT32_MAX,
				      1ull << 32,
				      86ull << 32,
				      100ull << 32,
				      101ull << 32,
				      (101ull << 32) + 9,
				      (100ull << 32) + UINT32_MAX,
				      0xfffffull << 32,
				      1ull << 52,
				      UINT64_MAX};
	int maps[2];
	uint32_t n = 0;

	if (!ours.skep)
		skip();
	maps[0] = target_map(&kernel, BPF_MAP_TYPE_PERF_EVENT_ARRAY);
	maps[1] = target_map(&ours, BPF_MAP_TYPE_PERF_EVENT_ARRAY);
	for (size_t t = 0; t < 3; t++) {
		for (size_t f = 0; f < sizeof(fl) / sizeof(fl[0]); f++) {
			for (uint64_t size = 0; size <= 8; size += 4, n++) {
				const uint64_t arg[] = {size, fl[f]};
				int a = one_call(&kernel, types[t], maps[0], arg,
						 BPF_FUNC_perf_event_output);
				int b = one_call(&ours, types[t], maps[1], arg,
						 BPF_FUNC_perf_event_output);

				if (a != b)
					fail_msg("program type %u, flags %#llx, size %d: kernel "
						 "%d, skep %d",
						 types[t], (unsigned long long)fl[f], (int)size, a,
						 b);
			}
		}
	}
	close(maps[0]);
	close(maps[1]);
	print_message("ran: helper_perf_output %u\n", n);
}

/* ---- Which maps sleepable programs may use ---- */

static void test_sleepable(void **state)
{
	uint32_t n = 0;

	if (!ours.skep)
		skip();
	for (uint32_t type = 1; type <= BPF_MAP_TYPE_BLOOM_FILTER; type++) {
		bool ring = type == BPF_MAP_TYPE_RINGBUF, lpm = type == BPF_MAP_TYPE_LPM_TRIE;
		bool keyless = type == BPF_MAP_TYPE_QUEUE || type == BPF_MAP_TYPE_STACK ||
			       type == BPF_MAP_TYPE_BLOOM_FILTER || ring;
		struct side *sides[] = {&kernel, &ours};
		long err[2];

		for (int i = 0; i < 2; i++) {
			union bpf_attr attr = {.map_type = type,
					       .key_size = keyless ? 0
							   : lpm   ? 8
								   : 4,
					       .value_size = ring                               ? 0
							     : type == BPF_MAP_TYPE_STACK_TRACE ? 8
												: 4,
					       .max_entries = ring ? 4096 : 1,
					       .map_flags = lpm ? BPF_F_NO_PREALLOC : 0};
			int map = (int)side_bpf(sides[i], BPF_MAP_CREATE, &attr);
			struct code c = {.n = 0};

			err[i] = map;
			if (map < 0)
				continue;
			add(&c, BPF_LD | BPF_IMM | BPF_DW, 1, BPF_PSEUDO_MAP_FD, 0, map);
			add(&c, 0, 0, 0, 0, 0);
			add(&c, BPF_ALU64 | BPF_MOV | BPF_K, 0, 0, 0, 0);
			add(&c, BPF_JMP | BPF_EXIT, 0, 0, 0, 0);
			err[i] = side_load(sides[i], BPF_PROG_TYPE_SYSCALL, c.insns, c.n, "GPL",
					   NULL);
			close(map);
		}
		/* Maps that skep does not have, or that want more to be made, say nothing. */
		if (err[0] == err[1])
			n++;
		else if (strstr(kernel.log, "Sleepable") || strstr(ours.log, "Sleepable"))
			fail_msg("map type %u: kernel %ld, skep %ld", type, err[0], err[1]);
	}
	print_message("ran: helper_sleepable %u\n", n);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_operations),   cmocka_unit_test(test_for_each),
		cmocka_unit_test(test_redirect_map), cmocka_unit_test(test_perf_output),
		cmocka_unit_test(test_sleepable),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
