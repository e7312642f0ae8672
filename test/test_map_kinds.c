// SPDX-License-Identifier: Apache-2.0
/* Creation, queues, stacks, Bloom filters, stack traces, device maps as the kernel's; death of a
 * writer, garbage and punched holes in the maps with shapes of their own. */
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

/* ---- Creation ---- */

static void test_create(void **state)
{
	static const uint32_t types[] = {
		BPF_MAP_TYPE_LPM_TRIE,    BPF_MAP_TYPE_QUEUE,        BPF_MAP_TYPE_STACK,
		BPF_MAP_TYPE_STACK_TRACE, BPF_MAP_TYPE_DEVMAP,       BPF_MAP_TYPE_DEVMAP_HASH,
		BPF_MAP_TYPE_RINGBUF,     BPF_MAP_TYPE_BLOOM_FILTER, BPF_MAP_TYPE_PERF_EVENT_ARRAY};
	static const uint32_t keys[] = {0, 4, 5, 8, 260, 261};
	static const uint32_t values[] = {0, 1, 4, 8, 12, 32, 1016, 1024, 1u << 22, (1u << 22) + 1};
	static const uint32_t entries[] = {0, 1, 10, 4096, 12288};
	uint32_t flags[40], nflags = 0;

	flags[nflags++] = 0;
	for (uint32_t i = 0; i < 20; i++)
		if (1u << i != BPF_F_TOKEN_FD)
			flags[nflags++] = 1u << i;
	flags[nflags++] = BPF_F_RDONLY | BPF_F_WRONLY;
	flags[nflags++] = BPF_F_RDONLY_PROG | BPF_F_WRONLY_PROG;
	flags[nflags++] = BPF_F_NO_PREALLOC | BPF_F_RDONLY;
	flags[nflags++] = BPF_F_NO_PREALLOC | BPF_F_RDONLY_PROG;
	flags[nflags++] = BPF_F_NO_PREALLOC | BPF_F_NUMA_NODE;
	if (!pair_judge)
		skip();
	for (size_t t = 0; t < sizeof(types) / 4; t++) {
		for (size_t k = 0; k < sizeof(keys) / 4; k++) {
			for (size_t v = 0; v < sizeof(values) / 4; v++) {
				for (size_t e = 0; e < sizeof(entries) / 4; e++) {
					/* What is refused for its flags is so at any size. */
					uint32_t nf = k % 3 && v % 3 && e % 2 ? 1 : nflags;

					if ((uint64_t)values[v] * entries[e] > 64u << 20)
						continue;
					for (uint32_t f = 0; f < nf; f++) {
						int a = pair_create(0, types[t], keys[k], values[v],
								    entries[e], flags[f]);
						int b = pair_create(1, types[t], keys[k], values[v],
								    entries[e], flags[f]);

						if ((a < 0 || b < 0) && a != b)
							fail_msg("type %u key %u value %u entries "
								 "%u flags %#x: skep %d, kernel %d",
								 types[t], keys[k], values[v],
								 entries[e], flags[f], a, b);
						if (a >= 0)
							close(a);
						if (b >= 0)
							close(b);
						pair_compared++;
					}
				}
			}
		}
	}
	/* An accepted map_extra, and too large ones. */
	for (uint64_t x = 0; x <= 17; x++) {
		union bpf_attr attr = {.map_type = BPF_MAP_TYPE_BLOOM_FILTER,
				       .value_size = 4,
				       .max_entries = 10,
				       .map_extra = x};
		long a = pair_call(0, BPF_MAP_CREATE, &attr),
		     b = pair_call(1, BPF_MAP_CREATE, &attr);

		assert_int_equal(a < 0 ? a : 0, b < 0 ? b : 0);
		if (a >= 0)
			close((int)a);
		if (b >= 0)
			close((int)b);
	}
	assert_int_equal(pair_create(0, BPF_MAP_TYPE_STACK_TRACE, 4, 8, (1u << 31) + 1, 0), -E2BIG);
}

/* ---- Queue, stack, Bloom filter ---- */

static void test_queue(void **state)
{
	static const uint32_t types[] = {BPF_MAP_TYPE_QUEUE, BPF_MAP_TYPE_STACK};

	for (int t = 0; t < 2; t++) {
		struct pair p = pair_new(types[t], 0, 12, 7, 0);

		for (unsigned i = 0; i < 5000 * pair_scale(); i++) {
			uint32_t v[3] = {pair_rnd(~0u), i, 3};
			uint32_t flags = pair_rnd(4) ? pair_rnd(4) : 0;

			switch (pair_rnd(5)) {
			case 0:
			case 1:
				pair_op(&p, BPF_MAP_UPDATE_ELEM, NULL, v, 12,
					pair_rnd(2) ? 0 : flags);
				break;
			case 2:
				pair_op(&p, BPF_MAP_LOOKUP_ELEM, NULL, v, 12,
					pair_rnd(8) ? 0 : flags);
				break;
			case 3:
				pair_op(&p, BPF_MAP_LOOKUP_AND_DELETE_ELEM, NULL, v, 12,
					pair_rnd(8) ? 0 : flags);
				break;
			default:
				pair_op(&p, BPF_MAP_DELETE_ELEM, NULL, NULL, 0, 0);
				pair_op(&p, BPF_MAP_GET_NEXT_KEY, NULL, v, 0, 0);
			}
		}
		pair_drop(&p);
	}
}

static void test_bloom(void **state)
{
	struct pair p = pair_new(BPF_MAP_TYPE_BLOOM_FILTER, 0, 12, 1000, 0);
	unsigned false_positives = 0;

	for (uint32_t i = 0; i < 1000; i++) {
		uint32_t v[3] = {i, 1, 2};

		pair_op(&p, BPF_MAP_UPDATE_ELEM, NULL, v, 12, 0);
		assert_int_equal(pair_op(&p, BPF_MAP_LOOKUP_ELEM, NULL, v, 12, 0), 0);
	}
	for (uint32_t i = 1000; i < 11000; i++) {
		uint32_t v[3] = {i, 1, 2};

		false_positives += !pair_elem(0, BPF_MAP_LOOKUP_ELEM, p.fd[0], NULL, v, 0);
	}
	print_message("Bloom filter: %u of 10000 false positives\n", false_positives);
	assert_true(false_positives < 500);
	for (uint32_t f = 0; f < 6; f++) {
		uint32_t v[3] = {0, 1, 2};

		pair_op(&p, BPF_MAP_UPDATE_ELEM, NULL, v, 12, f);
		pair_op(&p, BPF_MAP_LOOKUP_ELEM, NULL, v, 12, f);
		pair_op(&p, BPF_MAP_LOOKUP_AND_DELETE_ELEM, NULL, v, 12, f);
		pair_op(&p, BPF_MAP_DELETE_ELEM, NULL, NULL, 0, 0);
		pair_op(&p, BPF_MAP_GET_NEXT_KEY, NULL, v, 0, 0);
	}
	pair_drop(&p);
}

/* ---- Stack traces ---- */

static void test_stackmap(void **state)
{
	struct pair p = pair_new(BPF_MAP_TYPE_STACK_TRACE, 4, 32, 5, 0);
	struct skep_object *obj;
	struct skep_map *map;
	uint64_t ips[8], value[4];
	uint32_t key, next;
	long id, other;

	for (key = 0; key < 12; key++) {
		for (uint64_t f = 0; f < 5; f++) {
			memset(value, 1, sizeof(value));
			pair_op(&p, BPF_MAP_LOOKUP_ELEM, &key, value, 32, f);
			pair_op(&p, BPF_MAP_UPDATE_ELEM, &key, value, 32, f);
			pair_op(&p, BPF_MAP_LOOKUP_AND_DELETE_ELEM, &key, value, 32, f);
		}
		pair_op(&p, BPF_MAP_DELETE_ELEM, &key, NULL, 0, 0);
		pair_op(&p, BPF_MAP_GET_NEXT_KEY, &key, &next, 4, 0);
	}
	pair_op(&p, BPF_MAP_GET_NEXT_KEY, NULL, &next, 4, 0);

	assert_int_equal(skep_object_get(pair_skep, p.fd[0], SKEP_KIND_MAP, &obj), 0);
	map = (struct skep_map *)obj;
	for (int i = 0; i < 8; i++)
		ips[i] = 0x1000u + (unsigned)i;
	assert_int_equal(skep_stackmap_put(map, ips, 3, 1ull << 20), -EINVAL);
	assert_int_equal(skep_stackmap_put(map, ips, 3, 3), -EFAULT);
	id = skep_stackmap_put(map, ips, 3, 0);
	assert_in_range(id, 0, 7);
	assert_int_equal(skep_stackmap_put(map, ips, 3, 0), id);
	assert_int_equal(skep_stackmap_put(map, ips, 3, BPF_F_FAST_STACK_CMP), id);
	key = (uint32_t)id;
	memset(value, 1, sizeof(value));
	assert_int_equal(pair_elem(0, BPF_MAP_LOOKUP_ELEM, p.fd[0], &key, value, 0), 0);
	assert_memory_equal(value, ips, 24);
	assert_int_equal(value[3], 0);
	/* Deeper than the map: the innermost four. */
	other = skep_stackmap_put(map, ips + 1, 7, 1 | BPF_F_REUSE_STACKID);
	key = (uint32_t)other;
	assert_int_equal(pair_elem(0, BPF_MAP_LOOKUP_ELEM, p.fd[0], &key, value, 0), 0);
	assert_memory_equal(value, ips + 2, 32);
	/* Another trace with the same id. */
	for (unsigned i = 0;; i++) {
		assert_true(i < 1000);
		ips[0] = 0x9000 + i;
		other = skep_stackmap_put(map, ips, 1, 0);
		if (other == -EEXIST)
			break;
	}
	assert_in_range(skep_stackmap_put(map, ips, 1, BPF_F_REUSE_STACKID), 0, 7);
	assert_int_equal(pair_elem(0, BPF_MAP_GET_NEXT_KEY, p.fd[0], NULL, &key, 0), 0);
	assert_int_equal(pair_elem(0, BPF_MAP_DELETE_ELEM, p.fd[0], &key, NULL, 0), 0);
	assert_int_equal(pair_elem(0, BPF_MAP_DELETE_ELEM, p.fd[0], &key, NULL, 0), -ENOENT);
	skep_object_put(obj);
	pair_drop(&p);
}

/* ---- Device maps ---- */

static void test_devmap(void **state)
{
	static const uint32_t types[] = {BPF_MAP_TYPE_DEVMAP, BPF_MAP_TYPE_DEVMAP_HASH};

	for (int t = 0; t < 4; t++) {
		uint32_t size = t & 1 ? 8 : 4;
		struct pair p = pair_new(types[t / 2], 4, size, 5, 0);

		for (unsigned i = 0; i < 4000 * pair_scale(); i++) {
			uint32_t key = pair_rnd(8) ? pair_rnd(7) : pair_rnd(64), next;
			uint32_t v[2] = {pair_rnd(8) ? 1 : pair_rnd(2) ? 0 : 99999, 0};

			if (!pair_rnd(8))
				v[1] = pair_rnd(2) ? (uint32_t)-1 : 100000;
			switch (pair_rnd(5)) {
			case 0:
			case 1:
				pair_op(&p, BPF_MAP_UPDATE_ELEM, &key, v, size,
					pair_rnd(3) ? 0 : pair_rnd(5));
				break;
			case 2:
				pair_op(&p, BPF_MAP_LOOKUP_ELEM, &key, v, size,
					pair_rnd(8) ? 0 : pair_rnd(5));
				break;
			case 3:
				pair_op(&p, BPF_MAP_DELETE_ELEM, &key, NULL, 0, 0);
				pair_op(&p, BPF_MAP_LOOKUP_AND_DELETE_ELEM, &key, v, size, 0);
				break;
			default:
				next = 0;
				pair_op(&p, BPF_MAP_GET_NEXT_KEY, pair_rnd(5) ? &key : NULL, &next,
					4, 0);
			}
		}
		pair_drop(&p);
	}
}

/* ---- Death and garbage ---- */

/* Changes that a worker makes until it is killed. */
static void churn(struct skep_map **maps, unsigned seed)
{
	pair_seed((uint64_t)seed * 0x9e3779b97f4a7c15ull);
	for (;;) {
		struct lpm_key key = {.plen = pair_rnd(33)};
		uint32_t addr = pair_rnd(256) << 24 | pair_rnd(4), v[2] = {1, 0}, k = pair_rnd(16);
		uint64_t value = addr, ips[4] = {pair_rnd(64), 2, 3, 4};

		memcpy(key.data, &addr, 4);
		if (pair_rnd(2))
			maps[0]->ops->update(maps[0], &key, &value, 0, pair_env);
		else
			maps[0]->ops->delete (maps[0], &key, pair_env);
		maps[0]->ops->lookup(maps[0], &key, pair_env);
		if (pair_rnd(2))
			maps[1]->ops->push(maps[1], &value, BPF_EXIST);
		else
			maps[1]->ops->pop(maps[1], &value);
		if (pair_rnd(2))
			maps[2]->ops->update(maps[2], &k, v, 0, pair_env);
		else
			maps[2]->ops->delete (maps[2], &k, pair_env);
		maps[2]->ops->lookup(maps[2], &k, pair_env);
		skep_ringbuf_output(maps[3], &value, 8, BPF_RB_NO_WAKEUP);
		skep_ringbuf_commit(skep_ringbuf_reserve(maps[3], 8, pair_env), BPF_RB_NO_WAKEUP,
				    false, pair_env);
		skep_stackmap_put(maps[4], ips, 4, BPF_F_REUSE_STACKID);
	}
}

static void make_maps(struct skep_map **maps)
{
	static const uint32_t shape[5][5] = {{BPF_MAP_TYPE_LPM_TRIE, 8, 8, 300, BPF_F_NO_PREALLOC},
					     {BPF_MAP_TYPE_QUEUE, 0, 8, 5, 0},
					     {BPF_MAP_TYPE_DEVMAP_HASH, 4, 8, 10, 0},
					     {BPF_MAP_TYPE_RINGBUF, 0, 0, 4096, 0},
					     {BPF_MAP_TYPE_STACK_TRACE, 4, 32, 16, 0}};

	for (int i = 0; i < 5; i++) {
		int fd = pair_create(0, shape[i][0], shape[i][1], shape[i][2], shape[i][3],
				     shape[i][4]);

		assert_true(fd >= 0);
		maps[i] = pair_map(fd);
		close(fd);
	}
}

static unsigned count_keys(struct skep_map *map)
{
	struct lpm_key key;
	unsigned n = 0;

	if (map->ops->next_key(map, NULL, &key))
		return 0;
	do {
		n++;
		/* Each key that the walk shows is there, and the walk ends. */
		assert_non_null(map->ops->lookup(map, &key, pair_env));
		assert_true(n <= map->max_entries);
	} while (!map->ops->next_key(map, &key, &key));
	return n;
}

static void test_death(void **state)
{
	unsigned rounds = 100 * pair_scale();
	struct skep_map *maps[5];
	struct pair_seen s = {0};

	NOT_UNDER_TSAN();
	make_maps(maps);
	skep_enter(pair_env);
	for (unsigned i = 0; i < rounds; i++) {
		pid_t pid[2];
		uint64_t value;

		for (int k = 0; k < 2; k++) {
			pid[k] = fork();
			if (!pid[k])
				churn(maps, i * 2 + (unsigned)k);
		}
		usleep(500 + pair_rnd(3000));
		for (int k = 0; k < 2; k++) {
			kill(pid[k], SIGKILL);
			waitpid(pid[k], NULL, 0);
		}
		value = i;
		assert_int_equal(maps[1]->ops->push(maps[1], &value, BPF_EXIST), 0);
		assert_int_equal(maps[1]->ops->pop(maps[1], &value), 0);
		count_keys(maps[2]);
		while (skep_ringbuf_readable(maps[3]))
			assert_true(skep_ringbuf_consume(maps[3], pair_see, &s) >= 0);
		assert_int_equal(skep_ringbuf_output(maps[3], &value, 8, 0), 0);
		count_keys(maps[0]);
	}
	/* Nothing is lost: after emptying it, the trie takes all that it may hold. */
	for (struct lpm_key key; !maps[0]->ops->next_key(maps[0], NULL, &key);)
		assert_int_equal(maps[0]->ops->delete (maps[0], &key, pair_env), 0);
	for (uint32_t i = 0; i <= 300; i++) {
		struct lpm_key key = {.plen = 32};
		uint64_t value = i;

		memcpy(key.data, &i, 4);
		assert_int_equal(maps[0]->ops->update(maps[0], &key, &value, 0, pair_env),
				 i < 300 ? 0 : -ENOSPC);
	}
	assert_int_equal(count_keys(maps[0]), 300);
	skep_leave(pair_env);
	print_message("%u times two workers killed; %u records\n", rounds, s.n);
	for (int i = 0; i < 5; i++)
		skep_object_put(&maps[i]->obj);
}

struct garbage {
	struct skep_map **maps;
	_Atomic bool stop;
};

static void *write_garbage(void *arg)
{
	struct garbage *g = arg;
	uint64_t x = 1;

	while (!g->stop) {
		struct skep_map *map;
		struct skep_seg *seg;
		size_t at, limit = 3 * 4096;

		x ^= x << 13;
		x ^= x >> 7;
		x ^= x << 17;
		map = g->maps[x % 5];
		seg = x & 64 && map->ctl.base ? &map->ctl : &map->data;
		at = (x >> 20) % (seg->size < limit ? seg->size : limit) & ~7ull;
		/* In lock words only who is dead: one that seems alive costs the time limit. */
		*(volatile uint64_t *)((uint8_t *)seg->base + at) =
			x & 0x3000 || !at || map->type == BPF_MAP_TYPE_STACK_TRACE ? x % 64
			: x & 0x4000                                               ? ~0ull
										   : x;
		if (!(x & 0xff0000))
			usleep(10);
	}
	return NULL;
}

static void test_garbage(void **state)
{
	struct skep_map *maps[5];
	struct garbage g = {.maps = maps};
	uint64_t end, start = skep_clock_mono(), rounds = 0;
	struct pair_seen s = {0};
	pthread_t t;

	NOT_UNDER_TSAN();
	make_maps(maps);
	skep_enter(pair_env);
	assert_int_equal(pthread_create(&t, NULL, write_garbage, &g), 0);
	end = start + 1500000000ull * pair_scale();
	while (skep_clock_mono() < end) {
		for (int i = 0; i < 200; i++) {
			struct lpm_key key = {.plen = pair_rnd(33)};
			uint32_t addr = pair_rnd(256) << 24 | pair_rnd(4), v[2] = {1, 0},
				 k = pair_rnd(16);
			uint64_t value = addr, ips[4] = {pair_rnd(64), 2, 3, 4};

			memcpy(key.data, &addr, 4);
			maps[0]->ops->update(maps[0], &key, &value, 0, pair_env);
			maps[0]->ops->lookup(maps[0], &key, pair_env);
			maps[0]->ops->delete (maps[0], &key, pair_env);
			maps[0]->ops->next_key(maps[0], &key, &key);
			maps[1]->ops->push(maps[1], &value, BPF_EXIST);
			maps[1]->ops->peek(maps[1], &value);
			maps[1]->ops->pop(maps[1], &value);
			maps[2]->ops->update(maps[2], &k, v, 0, pair_env);
			maps[2]->ops->lookup(maps[2], &k, pair_env);
			maps[2]->ops->next_key(maps[2], &k, &k);
			maps[2]->ops->delete (maps[2], &k, pair_env);
			skep_ringbuf_output(maps[3], &value, 8, 0);
			skep_ringbuf_consume(maps[3], pair_see, &s);
			skep_stackmap_put(maps[4], ips, 4, BPF_F_REUSE_STACKID);
			maps[4]->ops->next_key(maps[4], &k, &k);
		}
		rounds++;
	}
	g.stop = true;
	pthread_join(t, NULL);
	skep_leave(pair_env);
	print_message("%llu rounds under garbage\n", (unsigned long long)rounds);
	assert_true(rounds > 0);
	for (int i = 0; i < 5; i++)
		skep_object_put(&maps[i]->obj);
}

/* Pages of the segments taken away under use read as zeros: wrong answers, no fault, no hang. */
static void test_punched(void **state)
{
	struct skep_map *maps[5];
	struct pair_seen s = {0};

	make_maps(maps);
	skep_enter(pair_env);
	for (unsigned i = 0; i < 300; i++) {
		struct skep_map *map = maps[pair_rnd(5)];
		struct skep_seg *seg = pair_rnd(2) && map->ctl.base ? &map->ctl : &map->data;

		for (int k = 0; k < 50; k++) {
			struct lpm_key key = {.plen = pair_rnd(33)};
			uint32_t addr = pair_rnd(256) << 24 | pair_rnd(4), v[2] = {1, 0},
				 n = pair_rnd(16);
			uint64_t value = addr, ips[4] = {pair_rnd(64), 2, 3, 4};

			memcpy(key.data, &addr, 4);
			maps[0]->ops->update(maps[0], &key, &value, 0, pair_env);
			maps[0]->ops->lookup(maps[0], &key, pair_env);
			maps[0]->ops->next_key(maps[0], &key, &key);
			maps[0]->ops->delete (maps[0], &key, pair_env);
			maps[1]->ops->push(maps[1], &value, BPF_EXIST);
			maps[1]->ops->pop(maps[1], &value);
			maps[2]->ops->update(maps[2], &n, v, 0, pair_env);
			maps[2]->ops->lookup(maps[2], &n, pair_env);
			skep_ringbuf_output(maps[3], &value, 8, 0);
			skep_ringbuf_consume(maps[3], pair_see, &s);
			skep_stackmap_put(maps[4], ips, 4, BPF_F_REUSE_STACKID);
		}
		assert_int_equal(fallocate(seg->fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
					   (off_t)pair_rnd((uint32_t)(seg->size / 4096)) * 4096,
					   4096),
				 0);
		assert_int_equal(ftruncate(seg->fd, 0), -1);
	}
	skep_leave(pair_env);
	for (int i = 0; i < 5; i++)
		skep_object_put(&maps[i]->obj);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_create),  cmocka_unit_test(test_queue),
		cmocka_unit_test(test_bloom),   cmocka_unit_test(test_stackmap),
		cmocka_unit_test(test_devmap),  cmocka_unit_test(test_death),
		cmocka_unit_test(test_garbage), cmocka_unit_test(test_punched),
	};

	return cmocka_run_group_tests(tests, pair_setup, pair_teardown);
}
