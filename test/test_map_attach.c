/* SPDX-License-Identifier: Apache-2.0 */
/* Maps attached a second time, from their segments: both sides see one map. */
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

#include "map/map.h"
#include "os/os.h"
#include "skep.h"

static struct skep *skep;
static struct skep_env *env;

static struct skep_map *make(uint32_t type, uint32_t key, uint32_t value, uint32_t max,
			     uint32_t flags)
{
	union bpf_attr attr = {.map_type = type,
			       .key_size = key,
			       .value_size = value,
			       .max_entries = max,
			       .map_flags = flags};
	struct skep_map *map = NULL;

	assert_int_equal(skep_map_create(skep, &attr, NULL, NULL, &map), 0);
	return map;
}

static struct skep_map *again(struct skep_map *map)
{
	struct skep_seg data = {.fd = -1}, ctl = {.fd = -1};
	struct skep_map_desc desc;
	struct skep_map *second = NULL;

	skep_map_describe(map, &desc);
	assert_int_equal(skep_seg_open(&data, map->data.fd, true), 0);
	if (map->ctl.base)
		assert_int_equal(skep_seg_open(&ctl, map->ctl.fd, true), 0);
	assert_int_equal(skep_map_attach(skep, &desc, &data, &ctl, &second), 0);
	assert_ptr_not_equal(second->data.base, map->data.base);
	return second;
}

static void done(struct skep_map *a, struct skep_map *b)
{
	skep_map_detach(b);
	skep_object_put(&a->obj);
}

/* Keyed maps: each side updates half of the keys, the other one reads them. */
static void keyed(void **state)
{
	static const struct {
		uint32_t type, flags;
	} types[] = {{BPF_MAP_TYPE_HASH, 0},
		     {BPF_MAP_TYPE_ARRAY, 0},
		     {BPF_MAP_TYPE_PERCPU_HASH, 0},
		     {BPF_MAP_TYPE_PERCPU_ARRAY, 0},
		     {BPF_MAP_TYPE_LRU_HASH, 0},
		     {BPF_MAP_TYPE_HASH, BPF_F_ZERO_SEED},
		     {BPF_MAP_TYPE_LPM_TRIE, BPF_F_NO_PREALLOC}};

	for (size_t t = 0; t < sizeof(types) / sizeof(types[0]); t++) {
		bool lpm = types[t].type == BPF_MAP_TYPE_LPM_TRIE;
		struct skep_map *m[2];

		m[0] = make(types[t].type, lpm ? 8 : 4, 8, 1000, types[t].flags);
		/* Something is in it already when it is attached. */
		skep_enter(env);
		for (uint32_t i = 0; i < 500; i++) {
			uint32_t key[2] = {lpm ? 32 : i, i};
			uint64_t value = i * 3;

			assert_int_equal(m[0]->ops->update(m[0], key, &value, 0, env), 0);
		}
		m[1] = again(m[0]);
		for (uint32_t i = 500; i < 1000; i++) {
			uint32_t key[2] = {lpm ? 32 : i, i};
			uint64_t value = i * 3;

			assert_int_equal(m[1]->ops->update(m[1], key, &value, 0, env), 0);
		}
		for (uint32_t i = 0; i < 2000; i++) {
			struct skep_map *map = m[i & 1];
			uint32_t key[2] = {lpm ? 32 : i / 2, i / 2};
			uint64_t *value = map->ops->lookup(map, key, env);

			assert_non_null(value);
			assert_int_equal(*value, i / 2 * 3);
		}
		skep_leave(env);
		done(m[0], m[1]);
	}
}

static void plain(void **state)
{
	struct skep_map *a = make(BPF_MAP_TYPE_QUEUE, 0, 8, 10, 0), *b = again(a);
	uint64_t value = 7;

	assert_int_equal(b->ops->push(b, &value, 0), 0);
	value = 0;
	assert_int_equal(a->ops->pop(a, &value), 0);
	assert_int_equal(value, 7);
	done(a, b);

	a = make(BPF_MAP_TYPE_BLOOM_FILTER, 0, 8, 100, 0);
	b = again(a);
	value = 42;
	assert_int_equal(b->ops->push(b, &value, 0), 0);
	assert_int_equal(a->ops->peek(a, &value), 0);
	value = 43;
	assert_int_equal(a->ops->peek(a, &value), -ENOENT);
	done(a, b);
}

static int count(void *arg, const void *data, uint32_t size)
{
	uint32_t *sum = arg;

	assert_int_equal(size, 4);
	*sum += *(const uint32_t *)data;
	return 0;
}

static void ring(void **state)
{
	struct skep_map *a = make(BPF_MAP_TYPE_RINGBUF, 0, 0, 65536, 0), *b = again(a);
	uint32_t sum = 0;

	/* Several times around. */
	for (uint32_t i = 0; i < 20000; i++) {
		assert_int_equal(skep_ringbuf_output(b, &i, 4, 0), 0);
		if (i % 1000 == 999)
			assert_int_equal(skep_ringbuf_consume(a, count, &sum), 1000);
	}
	assert_int_equal(sum, 19999 * 10000);
	done(a, b);
}

static void refused(void **state)
{
	struct skep_map *a = make(BPF_MAP_TYPE_ARRAY, 4, 8, 1000, 0), *b = NULL;
	struct skep_seg data = {.fd = -1}, ctl = {.fd = -1};
	struct skep_map_desc desc;

	skep_map_describe(a, &desc);
	/* More elements than the segment has. */
	desc.max_entries = 100000;
	assert_int_equal(skep_seg_open(&data, a->data.fd, true), 0);
	assert_int_equal(skep_map_attach(skep, &desc, &data, &ctl, &b), -EINVAL);
	assert_null(data.base);
	desc.type = BPF_MAP_TYPE_ARRAY_OF_MAPS;
	assert_int_equal(skep_map_attach(skep, &desc, &data, &ctl, &b), -ENOTSUP);
	skep_object_put(&a->obj);
}

static int setup(void **state)
{
	struct skep_opts opts = {.sz = sizeof(opts), .cpus = 4};

	return skep_open(&skep, &opts) || skep_env_open(&env, skep);
}

static int teardown(void **state)
{
	skep_env_close(env);
	skep_close(skep);
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(keyed),
		cmocka_unit_test(plain),
		cmocka_unit_test(ring),
		cmocka_unit_test(refused),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
