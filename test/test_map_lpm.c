// SPDX-License-Identifier: Apache-2.0
/* Prefix tries: answers and order as the kernel's, readers without a lock. */
#include <errno.h>
#include <fcntl.h>
#include <linux/perf_event.h>
#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "bpf/instance.h"
#include "kern.h"
#include "map_pair.h"
#include "map/map.h"
#include "skep.h"

/* ---- LPM trie ---- */

/* All keys in order, from both. */
static unsigned walk_all(struct pair *p, uint32_t key_size)
{
	struct lpm_key key, next;
	unsigned n = 0;
	int err;

	memset(&next, 0, sizeof(next));
	err = pair_op(p, BPF_MAP_GET_NEXT_KEY, NULL, &next, key_size, 0);
	while (!err && n++ < 100000) {
		key = next;
		err = pair_op(p, BPF_MAP_GET_NEXT_KEY, &key, &next, key_size, 0);
	}
	assert_int_equal(err, -ENOENT);
	return n;
}

static void lpm_sequence(uint32_t bytes, uint32_t entries, unsigned steps)
{
	struct pair p = pair_new(BPF_MAP_TYPE_LPM_TRIE, 4 + bytes, 8, entries, BPF_F_NO_PREALLOC);
	uint32_t narrow = 0;

	for (unsigned i = 0; i < steps; i++) {
		struct lpm_key key, next;
		uint64_t value = pair_rnd(~0u);

		if (!(i & 255))
			narrow = pair_rnd(3);
		memset(&key, 0, sizeof(key));
		/* Few different bytes, so that prefixes nest and collide. */
		for (uint32_t b = 0; b < bytes; b++)
			key.data[b] = narrow == 0   ? (uint8_t)pair_rnd(256)
				      : narrow == 1 ? (uint8_t)(pair_rnd(2) << pair_rnd(8))
						    : (uint8_t)(b + 1 < bytes ? 7 : pair_rnd(256));
		key.plen = pair_rnd(20) ? pair_rnd(bytes * 8 + 1) : bytes * 8 + pair_rnd(3);
		if (narrow == 2 && pair_rnd(2))
			key.plen = bytes * 8 - pair_rnd(bytes > 1 ? 10 : 8);
		switch (pair_rnd(8)) {
		case 0:
		case 1:
		case 2:
			pair_op(&p, BPF_MAP_UPDATE_ELEM, &key, &value, 8,
				pair_rnd(6) ? BPF_ANY : pair_rnd(5));
			break;
		case 3:
		case 4:
			pair_op(&p, BPF_MAP_DELETE_ELEM, &key, NULL, 0, 0);
			break;
		case 5:
			memset(&next, 0, sizeof(next));
			pair_op(&p, BPF_MAP_GET_NEXT_KEY, &key, &next, 4 + bytes, 0);
			break;
		default:
			pair_op(&p, BPF_MAP_LOOKUP_ELEM, &key, &value, 8, 0);
		}
		if (i % 4096 == 4095)
			walk_all(&p, 4 + bytes);
	}
	walk_all(&p, 4 + bytes);
	pair_drop(&p);
}

static void test_lpm(void **state)
{
	lpm_sequence(1, 40, 20000 * pair_scale());
	lpm_sequence(2, 1000, 20000 * pair_scale());
	lpm_sequence(4, 200, 30000 * pair_scale());
	lpm_sequence(4, 100000, 30000 * pair_scale());
	lpm_sequence(7, 300, 10000 * pair_scale());
	lpm_sequence(16, 1000, 20000 * pair_scale());
	lpm_sequence(256, 500, 10000 * pair_scale());
}

/* A large table against a plain search, and how long a lookup takes. */
static void test_lpm_large(void **state)
{
	enum { N = 100000 };
	int fd = pair_create(0, BPF_MAP_TYPE_LPM_TRIE, 8, 8, N, BPF_F_NO_PREALLOC);
	struct skep_object *obj;
	struct skep_map *map;
	struct timespec a, b;
	uint32_t keys[256];
	uint64_t sum = 0;
	double ns;

	assert_true(fd >= 0);
	assert_int_equal(skep_object_get(pair_skep, fd, SKEP_KIND_MAP, &obj), 0);
	map = (struct skep_map *)obj;
	skep_enter(pair_env);
	for (uint32_t i = 0; i < N; i++) {
		struct lpm_key key = {.plen = 16 + pair_rnd(17)};
		uint32_t addr = pair_rnd(~0u);
		uint64_t value = key.plen;

		memcpy(key.data, &addr, 4);
		assert_int_equal(map->ops->update(map, &key, &value, BPF_ANY, pair_env), 0);
		keys[i % 256] = addr;
	}
	clock_gettime(CLOCK_MONOTONIC, &a);
	for (uint32_t i = 0; i < 1000000; i++) {
		struct lpm_key key = {.plen = 32};
		uint32_t addr = i & 1 ? pair_rnd(~0u) : keys[i / 2 % 256];
		uint64_t *value;

		memcpy(key.data, &addr, 4);
		value = map->ops->lookup(map, &key, pair_env);
		sum += value ? *value : 0;
	}
	clock_gettime(CLOCK_MONOTONIC, &b);
	skep_leave(pair_env);
	ns = ((double)(b.tv_sec - a.tv_sec) * 1e9 + (double)(b.tv_nsec - a.tv_nsec)) / 1e6;
	print_message("LPM, %d prefixes: %.1f ns a lookup (sum %llu)\n", N, ns,
		      (unsigned long long)sum);
	assert_true(sum > 0);
	skep_object_put(obj);
	close(fd);
}

/* Readers without a lock against writers that reuse memory all the time. */
struct race {
	struct skep_map *map;
	_Atomic bool stop;
	_Atomic uint64_t lookups, wrong;
};

static void *race_reader(void *arg)
{
	struct race *r = arg;
	struct skep_env *own;
	uint64_t x = (uintptr_t)&own | 1, n = 0;

	if (skep_env_open(&own, pair_skep))
		return NULL;
	skep_enter(own);
	while (!r->stop) {
		struct lpm_key key = {.plen = 32};
		uint64_t value;

		x ^= x << 13;
		x ^= x >> 7;
		x ^= x << 17;
		/* 10.x.0.0/16 stay; more specific ones come and go and hold the same number. */
		key.data[0] = 10;
		key.data[1] = (uint8_t)(x >> 20) & 15;
		key.data[2] = (uint8_t)(x >> 30) & 3;
		key.data[3] = (uint8_t)(x >> 40) & 3;
		if (r->map->ops->sys_lookup(r->map, &key, &value, 0, own) ||
		    value % 256 != key.data[1])
			atomic_fetch_add(&r->wrong, 1);
		n++;
	}
	skep_leave(own);
	skep_env_close(own);
	atomic_fetch_add(&r->lookups, n);
	return NULL;
}

static void test_lpm_race(void **state)
{
	int fd = pair_create(0, BPF_MAP_TYPE_LPM_TRIE, 8, 8, 500, BPF_F_NO_PREALLOC);
	struct race r = {.map = pair_map(fd)};
	uint64_t end;
	pthread_t t[3];

	for (uint32_t i = 0; i < 16; i++) {
		struct lpm_key key = {.plen = 16, .data = {10, (uint8_t)i}};
		uint64_t value = i;

		assert_int_equal(r.map->ops->update(r.map, &key, &value, 0, pair_env), 0);
	}
	for (int i = 0; i < 3; i++)
		assert_int_equal(pthread_create(&t[i], NULL, race_reader, &r), 0);
	end = skep_clock_mono() + 1000000000ull * pair_scale();
	while (skep_clock_mono() < end) {
		struct lpm_key key = {.plen = 17 + pair_rnd(16),
				      .data = {10, (uint8_t)pair_rnd(16), (uint8_t)pair_rnd(4),
					       (uint8_t)pair_rnd(4)}};
		uint64_t value = key.data[1] + 256ull * pair_rnd(1000);

		if (pair_rnd(2))
			r.map->ops->update(r.map, &key, &value, 0, pair_env);
		else
			r.map->ops->delete (r.map, &key, pair_env);
	}
	r.stop = true;
	for (int i = 0; i < 3; i++)
		pthread_join(t[i], NULL);
	print_message("LPM race: %llu lookups\n", (unsigned long long)r.lookups);
	assert_true(r.lookups > 0);
	assert_int_equal(r.wrong, 0);
	skep_object_put(&r.map->obj);
	close(fd);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_lpm),
		cmocka_unit_test(test_lpm_large),
		cmocka_unit_test(test_lpm_race),
	};

	return cmocka_run_group_tests(tests, pair_setup, pair_teardown);
}
