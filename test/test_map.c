/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Maps against the running kernel's: the same calls go to bpf(2) and to skep_bpf(),
 * and results, errno, values and the sets of keys must be equal.
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

#include "kern.h"
#include "map/map.h"
#include "os/os.h"
#include "scale.h"
#include "skep.h"

static struct skep *skep;
static bool have_kernel;
static unsigned long compared;

static uint64_t rng_state = 88172645463325252ull;
static uint32_t rnd(uint32_t n)
{
	rng_state ^= rng_state << 13;
	rng_state ^= rng_state >> 7;
	rng_state ^= rng_state << 17;
	return n ? (uint32_t)((rng_state >> 11) % n) : (uint32_t)rng_state;
}

/* ---- Both sides ---- */

static long both_bpf(bool kern, int cmd, union bpf_attr *attr)
{
	return kern ? kern_bpf(cmd, attr) : skep_bpf(skep, cmd, attr, sizeof(*attr));
}

struct pair {
	int kfd, sfd;
	uint32_t type, key_size, value_size, max_entries, flags, sys_size;
};

static const char *err_name(long err)
{
	return err >= 0 ? "ok" : err == -524 ? "ENOTSUPP" : strerrorname_np((int)-err) ?: "?";
}

static void same(long k, long s, const char *fmt, ...) __attribute__((format(printf, 3, 4)));
static void same(long k, long s, const char *fmt, ...)
{
	char text[256];
	va_list ap;

	compared++;
	if (k == s || (k >= 0 && s >= 0))
		return;
	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	fail_msg("%s: kernel %s (%ld), skep %s (%ld)", text, err_name(k), k, err_name(s), s);
}

static long create(bool kern, union bpf_attr *attr)
{
	return both_bpf(kern, BPF_MAP_CREATE, attr);
}

static bool is_percpu(uint32_t type)
{
	return type == BPF_MAP_TYPE_PERCPU_HASH || type == BPF_MAP_TYPE_PERCPU_ARRAY ||
	       type == BPF_MAP_TYPE_LRU_PERCPU_HASH;
}

static bool is_array(uint32_t type)
{
	return type == BPF_MAP_TYPE_ARRAY || type == BPF_MAP_TYPE_PERCPU_ARRAY;
}

static struct pair pair_open(uint32_t type, uint32_t ks, uint32_t vs, uint32_t n, uint32_t flags)
{
	union bpf_attr attr = {.map_type = type,
			       .key_size = ks,
			       .value_size = vs,
			       .max_entries = n,
			       .map_flags = flags};
	struct pair p = {
		.type = type, .key_size = ks, .value_size = vs, .max_entries = n, .flags = flags};

	p.kfd = (int)create(true, &attr);
	p.sfd = (int)create(false, &attr);
	same(p.kfd, p.sfd, "create type %u key %u value %u n %u flags %#x", type, ks, vs, n, flags);
	assert_true(p.kfd >= 0);
	p.sys_size = is_percpu(type) ? ((vs + 7) & ~7u) * skep_possible_cpus() : vs;
	return p;
}

static void pair_close(struct pair *p)
{
	close(p->kfd);
	close(p->sfd);
}

static long elem(bool kern, const struct pair *p, int cmd, const void *key, void *value,
		 uint64_t flags)
{
	union bpf_attr attr = {.map_fd = (uint32_t)(kern ? p->kfd : p->sfd),
			       .key = (uintptr_t)key,
			       .value = (uintptr_t)value,
			       .flags = flags};

	return both_bpf(kern, cmd, &attr);
}

/* ---- Creation ---- */

static const uint32_t types[] = {
	BPF_MAP_TYPE_HASH,         BPF_MAP_TYPE_ARRAY,         BPF_MAP_TYPE_PERCPU_HASH,
	BPF_MAP_TYPE_PERCPU_ARRAY, BPF_MAP_TYPE_LRU_HASH,      BPF_MAP_TYPE_LRU_PERCPU_HASH,
	BPF_MAP_TYPE_PROG_ARRAY,   BPF_MAP_TYPE_ARRAY_OF_MAPS, BPF_MAP_TYPE_HASH_OF_MAPS};
#define NTYPES (sizeof(types) / sizeof(types[0]))

static void create_same(union bpf_attr *attr)
{
	long k = create(true, attr), s = create(false, attr);

	same(k, s, "create type %u key %u value %u n %u flags %#x numa %u extra %llu inner %d",
	     attr->map_type, attr->key_size, attr->value_size, attr->max_entries, attr->map_flags,
	     attr->numa_node, (unsigned long long)attr->map_extra, attr->inner_map_fd);
	if (k >= 0)
		close((int)k);
	if (s >= 0)
		close((int)s);
}

static void test_create(void **state)
{
	static const uint32_t keys[] = {0,   1,    3,       4,       8,       511,
					513, 4096, 1 << 20, 4194251, 4194252, 1u << 31};
	static const uint32_t values[] = {0,       1,        4,         8,       32760,
					  32761,   32768,    32769,     1 << 20, 4194251,
					  4194252, 1u << 31, 0xffffffff};
	static const uint32_t ns[] = {0, 1, 2, 7, 1000};

	if (!have_kernel)
		skip();
	for (uint32_t t = 0; t < NTYPES; t++) {
		for (uint32_t bit = 0; bit < 32; bit++) {
			union bpf_attr attr = {.map_type = types[t],
					       .key_size = 4,
					       .value_size = 4,
					       .max_entries = 4,
					       .map_flags = 1u << bit};

			if (attr.map_flags != BPF_F_TOKEN_FD)
				create_same(&attr);
		}
		for (uint32_t i = 0; i < sizeof(keys) / 4; i++) {
			union bpf_attr attr = {.map_type = types[t],
					       .key_size = keys[i],
					       .value_size = 4,
					       .max_entries = 4};

			create_same(&attr);
		}
		for (uint32_t i = 0; i < sizeof(values) / 4; i++) {
			union bpf_attr attr = {.map_type = types[t],
					       .key_size = 4,
					       .value_size = values[i],
					       .max_entries = 1};

			create_same(&attr);
		}
		for (uint32_t i = 0; i < sizeof(ns) / 4; i++) {
			union bpf_attr attr = {.map_type = types[t],
					       .key_size = 4,
					       .value_size = 4,
					       .max_entries = ns[i]};

			create_same(&attr);
		}
	}
	for (unsigned long i = 0; i < scaled(4000); i++) {
		union bpf_attr attr = {.map_type = types[rnd(NTYPES)],
				       .key_size = 4,
				       .value_size = rnd(4) ? 4 : rnd(20),
				       .max_entries = 1 + rnd(9)};

		for (uint32_t k = rnd(4); k; k--)
			attr.map_flags |= 1u << rnd(13);
		if (!rnd(8))
			attr.key_size = rnd(12);
		if (!rnd(8))
			attr.numa_node = rnd(3);
		if (!rnd(16))
			attr.map_extra = rnd(2);
		if (!rnd(16))
			memcpy(attr.map_name, "a.b_9-", 1 + rnd(6));
		create_same(&attr);
	}
}

static void test_names(void **state)
{
	static const char *const names[] = {"a",    "with space",      "under_score.dot", "dash-",
					    "\x80", "123456789012345", "1234567890123456"};

	if (!have_kernel)
		skip();
	for (uint32_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		union bpf_attr attr = {.map_type = BPF_MAP_TYPE_ARRAY,
				       .key_size = 4,
				       .value_size = 4,
				       .max_entries = 1};

		memcpy(attr.map_name, names[i], strlen(names[i]) > 16 ? 16 : strlen(names[i]));
		create_same(&attr);
	}
}

/* ---- Operations ---- */

/* All keys of one side by next_key, sorted. */
static int cmp_size;
static int cmp_keys(const void *a, const void *b)
{
	return memcmp(a, b, (size_t)cmp_size);
}

static uint32_t keys_of(bool kern, const struct pair *p, uint8_t *out)
{
	uint8_t *prev = NULL;
	uint32_t n = 0;

	for (; n < p->max_entries + 1; n++) {
		uint8_t *next = out + (size_t)n * p->key_size;
		long err = elem(kern, p, BPF_MAP_GET_NEXT_KEY, prev, next, 0);

		if (err) {
			assert_int_equal(err, -ENOENT);
			break;
		}
		prev = next;
	}
	assert_true(n <= p->max_entries);
	cmp_size = (int)p->key_size;
	qsort(out, n, p->key_size, cmp_keys);
	return n;
}

static void same_contents(const struct pair *p)
{
	uint8_t *a = calloc(p->max_entries + 2, p->key_size),
		*b = calloc(p->max_entries + 2, p->key_size);
	uint8_t *va = calloc(1, p->sys_size), *vb = calloc(1, p->sys_size);
	uint32_t na = keys_of(true, p, a), nb = keys_of(false, p, b);

	assert_int_equal(na, nb);
	assert_memory_equal(a, b, (size_t)na * p->key_size);
	for (uint32_t i = 0; i < na; i++) {
		long k = elem(true, p, BPF_MAP_LOOKUP_ELEM, a + (size_t)i * p->key_size, va, 0);
		long s = elem(false, p, BPF_MAP_LOOKUP_ELEM, a + (size_t)i * p->key_size, vb, 0);

		same(k, s, "lookup of a key that is there");
		assert_memory_equal(va, vb, p->sys_size);
	}
	free(a);
	free(b);
	free(va);
	free(vb);
}

struct ops_case {
	uint32_t type, key_size, value_size, max_entries, flags;
	uint32_t space; /* number of different keys */
};

static void make_key(const struct ops_case *c, uint8_t *key)
{
	uint32_t v = rnd(c->space);

	memset(key, 0x5a, c->key_size);
	if (!is_array(c->type))
		v *= 2654435761u;
	memcpy(key, &v, c->key_size < 4 ? c->key_size : 4);
	if (c->key_size > 8)
		memcpy(key + c->key_size - 4, &v, 4);
}

static uint64_t some_flags(void)
{
	static const uint64_t odd[] = {BPF_F_LOCK, BPF_F_LOCK | BPF_EXIST, 3, 8, 1ull << 33, 5};

	return rnd(20) ? rnd(3) : odd[rnd(6)];
}

static void batch_same(const struct pair *p, const struct ops_case *c)
{
	static const int cmds[] = {BPF_MAP_UPDATE_BATCH, BPF_MAP_DELETE_BATCH};
	uint32_t n = rnd(8);
	uint8_t *keys = calloc(n + 1, p->key_size), *values = calloc(n + 1, p->sys_size);
	int cmd = cmds[rnd(2)];
	uint64_t flags = some_flags();
	long r[2];
	uint32_t counts[2];

	for (uint32_t i = 0; i < n; i++)
		make_key(c, keys + (size_t)i * p->key_size);
	for (uint32_t i = 0; i < n * p->sys_size; i++)
		values[i] = (uint8_t)rnd(256);
	for (int side = 0; side < 2; side++) {
		union bpf_attr attr = {.batch = {.keys = (uintptr_t)keys,
						 .values = (uintptr_t)values,
						 .count = n,
						 .elem_flags = flags,
						 .map_fd = (uint32_t)(side ? p->sfd : p->kfd)}};

		r[side] = both_bpf(!side, cmd, &attr);
		counts[side] = attr.batch.count;
	}
	same(r[0], r[1], "type %u batch %d of %u flags %#llx", c->type, cmd, n,
	     (unsigned long long)flags);
	assert_int_equal(counts[0], counts[1]);
	free(keys);
	free(values);
}

/* Everything by batches of `step`, perhaps deleting. Both must give the same set. */
static uint32_t drain(bool kern, const struct pair *p, int cmd, uint32_t step, uint8_t *out)
{
	uint8_t *keys = calloc(p->max_entries + step + 1, p->key_size);
	uint8_t *values = calloc(p->max_entries + step + 1, p->sys_size);
	uint8_t token[512];
	uint32_t n = 0, rec = p->key_size + p->sys_size;
	bool first = true;
	long err;

	do {
		union bpf_attr attr = {.batch = {.in_batch = first ? 0 : (uintptr_t)token,
						 .out_batch = (uintptr_t)token,
						 .keys = (uintptr_t)keys,
						 .values = (uintptr_t)values,
						 .count = step,
						 .map_fd = (uint32_t)(kern ? p->kfd : p->sfd)}};

		err = both_bpf(kern, cmd, &attr);
		if (err == -ENOSPC) {
			step *= 2;
			assert_true(step < 4 * p->max_entries + 64);
			free(keys);
			free(values);
			keys = calloc(p->max_entries + step + 1, p->key_size);
			values = calloc(p->max_entries + step + 1, p->sys_size);
			continue;
		}
		if (err && err != -ENOENT) {
			free(keys);
			free(values);
			return (uint32_t)err;
		}
		for (uint32_t i = 0; i < attr.batch.count; i++, n++) {
			assert_true(n < p->max_entries);
			memcpy(out + (size_t)n * rec, keys + (size_t)i * p->key_size, p->key_size);
			memcpy(out + (size_t)n * rec + p->key_size,
			       values + (size_t)i * p->sys_size, p->sys_size);
		}
		first = false;
	} while (!err || err == -ENOSPC);
	free(keys);
	free(values);
	cmp_size = (int)p->key_size;
	qsort(out, n, rec, cmp_keys);
	return n;
}

static void drain_same(const struct pair *p, int cmd)
{
	uint32_t rec = p->key_size + p->sys_size, step = 1 + rnd(p->max_entries), na, nb;
	uint8_t *a = calloc(p->max_entries + 1, rec), *b = calloc(p->max_entries + 1, rec);

	na = drain(true, p, cmd, step, a);
	nb = drain(false, p, cmd, step, b);
	assert_int_equal((int)na, (int)nb);
	compared++;
	if ((int)na > 0)
		assert_memory_equal(a, b, (size_t)na * rec);
	free(a);
	free(b);
}

static void one_op(const struct pair *p, const struct ops_case *c, uint8_t *key, uint8_t *vk,
		   uint8_t *vs)
{
	uint32_t what = rnd(100);
	uint64_t flags = some_flags();
	long k, s;

	make_key(c, key);
	if (what < 45) {
		for (uint32_t i = 0; i < p->sys_size; i++)
			vk[i] = (uint8_t)rnd(256);
		k = elem(true, p, BPF_MAP_UPDATE_ELEM, key, vk, flags);
		s = elem(false, p, BPF_MAP_UPDATE_ELEM, key, vk, flags);
		same(k, s, "type %u update flags %#llx", c->type, (unsigned long long)flags);
	} else if (what < 65) {
		flags = rnd(10) ? 0 : flags;
		memset(vk, 0, p->sys_size);
		memset(vs, 0, p->sys_size);
		k = elem(true, p, BPF_MAP_LOOKUP_ELEM, key, vk, flags);
		s = elem(false, p, BPF_MAP_LOOKUP_ELEM, key, vs, flags);
		same(k, s, "type %u lookup flags %#llx", c->type, (unsigned long long)flags);
		assert_memory_equal(vk, vs, p->sys_size);
	} else if (what < 85) {
		k = elem(true, p, BPF_MAP_DELETE_ELEM, key, NULL, 0);
		s = elem(false, p, BPF_MAP_DELETE_ELEM, key, NULL, 0);
		same(k, s, "type %u delete", c->type);
	} else if (what < 90) {
		memset(vk, 0, p->sys_size);
		memset(vs, 0, p->sys_size);
		flags = rnd(10) ? 0 : flags;
		k = elem(true, p, BPF_MAP_LOOKUP_AND_DELETE_ELEM, key, vk, flags);
		s = elem(false, p, BPF_MAP_LOOKUP_AND_DELETE_ELEM, key, vs, flags);
		same(k, s, "type %u lookup and delete flags %#llx", c->type,
		     (unsigned long long)flags);
		assert_memory_equal(vk, vs, p->sys_size);
	} else if (what < 94) {
		/* A key that is not there begins anew. The order is each one's own, so only
		 * whether there is a next one can be compared, at the ends. */
		uint8_t next[2][64];

		k = elem(true, p, BPF_MAP_LOOKUP_ELEM, key, vk, 0);
		if (k == -ENOENT || !rnd(2)) {
			uint8_t *from = k == -ENOENT ? key : NULL;

			k = elem(true, p, BPF_MAP_GET_NEXT_KEY, from, next[0], 0);
			s = elem(false, p, BPF_MAP_GET_NEXT_KEY, from, next[1], 0);
			same(k, s, "type %u next key of none", c->type);
			if (is_array(c->type))
				assert_memory_equal(next[0], next[1], p->key_size);
		}
	} else if (what < 98) {
		batch_same(p, c);
	} else if (what < 99) {
		drain_same(p, rnd(8) ? BPF_MAP_LOOKUP_BATCH : BPF_MAP_LOOKUP_AND_DELETE_BATCH);
	} else {
		same_contents(p);
	}
}

static const struct ops_case ops_cases[] = {
	{BPF_MAP_TYPE_HASH, 4, 8, 16, 0, 24},
	{BPF_MAP_TYPE_HASH, 4, 8, 16, BPF_F_NO_PREALLOC, 24},
	{BPF_MAP_TYPE_HASH, 8, 4, 1, 0, 3},
	{BPF_MAP_TYPE_HASH, 1, 1, 200, 0, 256},
	{BPF_MAP_TYPE_HASH, 3, 5, 30, BPF_F_ZERO_SEED, 40},
	{BPF_MAP_TYPE_HASH, 13, 33, 50, BPF_F_NO_PREALLOC, 70},
	{BPF_MAP_TYPE_HASH, 48, 200, 100, BPF_F_NUMA_NODE, 130},
	{BPF_MAP_TYPE_HASH, 16, 8, 1000, 0, 1300},
	{BPF_MAP_TYPE_HASH, 4, 100000, 5, 0, 8},
	{BPF_MAP_TYPE_PERCPU_HASH, 4, 8, 16, 0, 24},
	{BPF_MAP_TYPE_PERCPU_HASH, 4, 5, 16, BPF_F_NO_PREALLOC, 24},
	{BPF_MAP_TYPE_PERCPU_HASH, 20, 100, 60, 0, 70},
	/* Fewer keys than entries: nothing is evicted. */
	{BPF_MAP_TYPE_LRU_HASH, 4, 8, 2000, 0, 60},
	{BPF_MAP_TYPE_LRU_HASH, 16, 24, 4000, BPF_F_NO_COMMON_LRU, 60},
	{BPF_MAP_TYPE_LRU_PERCPU_HASH, 8, 8, 2000, 0, 60},
	{BPF_MAP_TYPE_ARRAY, 4, 8, 16, 0, 20},
	{BPF_MAP_TYPE_ARRAY, 4, 5, 16, BPF_F_MMAPABLE, 20},
	{BPF_MAP_TYPE_ARRAY, 4, 5000, 3, 0, 5},
	{BPF_MAP_TYPE_PERCPU_ARRAY, 4, 8, 16, 0, 20},
	{BPF_MAP_TYPE_PERCPU_ARRAY, 4, 13, 16, 0, 20},
};

static void test_operations(void **state)
{
	if (!have_kernel)
		skip();
	for (size_t i = 0; i < sizeof(ops_cases) / sizeof(ops_cases[0]); i++) {
		const struct ops_case *c = &ops_cases[i];
		struct pair p =
			pair_open(c->type, c->key_size, c->value_size, c->max_entries, c->flags);
		uint8_t *vk = calloc(1, p.sys_size), *vs = calloc(1, p.sys_size), key[64];

		for (unsigned long n = 0; n < scaled(c->value_size > 4096 ? 1000 : 5000); n++)
			one_op(&p, c, key, vk, vs);
		same_contents(&p);
		free(vk);
		free(vs);
		pair_close(&p);
	}
}

/* Full means full: exactly max_entries keys go in, an update of one that is there goes on. */
static void test_full(void **state)
{
	static const uint32_t sizes[] = {1, 2, 3, 7, 64, 500, 3000};

	if (!have_kernel)
		skip();
	for (uint32_t i = 0; i < sizeof(sizes) / 4; i++) {
		for (int pre = 0; pre < 2; pre++) {
			struct pair p = pair_open(BPF_MAP_TYPE_HASH, 4, 8, sizes[i],
						  pre ? BPF_F_NO_PREALLOC : 0);
			uint64_t v = 1;

			for (uint32_t key = 0; key < sizes[i] + 3; key++)
				same(elem(true, &p, BPF_MAP_UPDATE_ELEM, &key, &v, 0),
				     elem(false, &p, BPF_MAP_UPDATE_ELEM, &key, &v, 0),
				     "key %u of %u", key, sizes[i]);
			for (uint32_t n = 0; n < 100; n++) {
				uint32_t key = rnd(sizes[i]);

				v = n;
				same(elem(true, &p, BPF_MAP_UPDATE_ELEM, &key, &v, BPF_EXIST),
				     elem(false, &p, BPF_MAP_UPDATE_ELEM, &key, &v, BPF_EXIST),
				     "update when full");
				if (rnd(2))
					continue;
				same(elem(true, &p, BPF_MAP_DELETE_ELEM, &key, NULL, 0),
				     elem(false, &p, BPF_MAP_DELETE_ELEM, &key, NULL, 0), "delete");
				same(elem(true, &p, BPF_MAP_UPDATE_ELEM, &key, &v, 0),
				     elem(false, &p, BPF_MAP_UPDATE_ELEM, &key, &v, 0), "insert");
			}
			same_contents(&p);
			pair_close(&p);
		}
	}
}

/* ---- Maps of maps ---- */

struct inner_case {
	uint32_t type, key_size, value_size, max_entries, flags;
};

static void test_inner(void **state)
{
	static const struct inner_case inners[] = {
		{BPF_MAP_TYPE_ARRAY, 4, 8, 4, 0},
		{BPF_MAP_TYPE_ARRAY, 4, 8, 5, 0},
		{BPF_MAP_TYPE_ARRAY, 4, 4, 4, 0},
		{BPF_MAP_TYPE_ARRAY, 4, 8, 4, BPF_F_INNER_MAP},
		{BPF_MAP_TYPE_ARRAY, 4, 8, 9, BPF_F_INNER_MAP},
		{BPF_MAP_TYPE_ARRAY, 4, 8, 4, BPF_F_MMAPABLE},
		{BPF_MAP_TYPE_PERCPU_ARRAY, 4, 8, 4, 0},
		{BPF_MAP_TYPE_PERCPU_ARRAY, 4, 8, 7, 0},
		{BPF_MAP_TYPE_HASH, 4, 8, 4, 0},
		{BPF_MAP_TYPE_HASH, 4, 8, 40, 0},
		{BPF_MAP_TYPE_HASH, 8, 8, 4, 0},
		{BPF_MAP_TYPE_HASH, 4, 8, 4, BPF_F_NO_PREALLOC},
		{BPF_MAP_TYPE_LRU_HASH, 4, 8, 4, 0},
		{BPF_MAP_TYPE_PROG_ARRAY, 4, 4, 4, 0},
		{BPF_MAP_TYPE_QUEUE, 0, 4, 4, 0},
		{BPF_MAP_TYPE_LPM_TRIE, 8, 4, 4, BPF_F_NO_PREALLOC},
	};
	enum { N = sizeof(inners) / sizeof(inners[0]) };
	int kfd[N + 1], sfd[N + 1];

	if (!have_kernel)
		skip();
	for (int i = 0; i < N; i++) {
		union bpf_attr attr = {.map_type = inners[i].type,
				       .key_size = inners[i].key_size,
				       .value_size = inners[i].value_size,
				       .max_entries = inners[i].max_entries,
				       .map_flags = inners[i].flags};

		kfd[i] = (int)create(true, &attr);
		sfd[i] = (int)create(false, &attr);
		same(kfd[i], sfd[i], "inner map %d", i);
	}
	kfd[N] = sfd[N] = 0; /* not a map */
	for (int hash = 0; hash < 2; hash++) {
		uint32_t type = hash ? BPF_MAP_TYPE_HASH_OF_MAPS : BPF_MAP_TYPE_ARRAY_OF_MAPS;

		for (int i = 0; i <= N; i++) {
			union bpf_attr attr = {
				.map_type = type, .key_size = 4, .value_size = 4, .max_entries = 4};
			struct pair p = {.type = type,
					 .key_size = 4,
					 .value_size = 4,
					 .sys_size = 4,
					 .max_entries = 4};

			attr.inner_map_fd = (uint32_t)kfd[i];
			p.kfd = (int)create(true, &attr);
			attr.inner_map_fd = (uint32_t)sfd[i];
			p.sfd = (int)create(false, &attr);
			same(p.kfd, p.sfd, "outer %u of inner %d", type, i);
			if (p.kfd < 0)
				continue;
			for (unsigned long n = 0; n < scaled(40); n++) {
				uint32_t key = rnd(6), kv = 0, sv = 0, which = rnd(N + 1);
				uint64_t flags = rnd(5) ? 0 : some_flags();

				if (rnd(2))
					which = (uint32_t)i;
				kv = (uint32_t)kfd[which];
				sv = (uint32_t)sfd[which];
				switch (rnd(4)) {
				case 0:
				case 1:
					same(elem(true, &p, BPF_MAP_UPDATE_ELEM, &key, &kv, flags),
					     elem(false, &p, BPF_MAP_UPDATE_ELEM, &key, &sv, flags),
					     "outer %u template %d store %u flags %#llx", type, i,
					     which, (unsigned long long)flags);
					break;
				case 2:
					same(elem(true, &p, BPF_MAP_DELETE_ELEM, &key, NULL, 0),
					     elem(false, &p, BPF_MAP_DELETE_ELEM, &key, NULL, 0),
					     "outer %u delete", type);
					break;
				case 3:
					same(elem(true, &p, BPF_MAP_LOOKUP_ELEM, &key, &kv, 0),
					     elem(false, &p, BPF_MAP_LOOKUP_ELEM, &key, &sv, 0),
					     "outer %u lookup", type);
					break;
				}
			}
			pair_close(&p);
		}
	}
	for (int i = 0; i < N; i++) {
		close(kfd[i]);
		close(sfd[i]);
	}
}

static int setup(void **state)
{
	struct skep_opts opts = {.sz = sizeof(opts), .cpus = skep_possible_cpus()};

	have_kernel = kern_available();
	if (!have_kernel)
		print_message("no bpf(2) here: comparisons are skipped\n");
	return skep_open(&skep, &opts);
}

static int teardown(void **state)
{
	skep_close(skep);
	print_message("ran: map_compared %lu\n", compared);
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_create),     cmocka_unit_test(test_names),
		cmocka_unit_test(test_operations), cmocka_unit_test(test_full),
		cmocka_unit_test(test_inner),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
