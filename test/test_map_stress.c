/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Maps under threads, deaths and garbage: what was promised to readers holds while
 * others write, a killed process costs at most its own update and no element, and
 * nobody who scribbles over the segments can crash or hang the others.
 */
#include <errno.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
#include <cmocka.h>

#include "map/htab.h"
#include "os/os.h"
#include "scale.h"
#include "skep.h"

#define CPUS 8

static struct skep *skep;

static struct skep_map *map_new(uint32_t type, uint32_t ks, uint32_t vs, uint32_t n, uint32_t flags)
{
	union bpf_attr attr = {.map_type = type,
			       .key_size = ks,
			       .value_size = vs,
			       .max_entries = n,
			       .map_flags = flags};
	struct skep_map *map;

	assert_int_equal(skep_map_create(skep, &attr, NULL, NULL, &map), 0);
	return map;
}

static struct skep_env *env_new(void)
{
	struct skep_env *env;

	assert_int_equal(skep_env_open(&env, skep), 0);
	return env;
}

static uint64_t rnd(uint64_t *state)
{
	*state ^= *state << 13;
	*state ^= *state >> 7;
	*state ^= *state << 17;
	return *state >> 11;
}

/* ---- The books of a hash table at rest ---- */

/* Every element is linked once in its bucket, or free once, or fresh, or a spare. */
static uint32_t check_books(struct skep_map *map)
{
	struct skep_htab *h = htab_of(map);
	uint8_t *seen = calloc(h->nelems, 1);
	uint32_t live = 0, other = 0;

	for (uint32_t b = 0; b < h->nbuckets; b++) {
		uint32_t at;

		if (!htab_is_backed(h, b))
			continue;
		for (int i = 0; i < HTAB_SLOTS; i++) {
			uint32_t e = htab_slot_elem(h->buckets[b].slot[i]) - 1;

			if (e == UINT32_MAX)
				continue;
			assert_true(e < h->nelems && !seen[e]++);
			assert_int_equal(h->nodes[e].where, b + 1);
			assert_int_equal((uint32_t)htab_hash(h, htab_key(h, e)) & h->bmask, b);
			live++;
		}
		for (at = (uint32_t)h->buckets[b].chain; at; at = h->nodes[at - 1].next) {
			assert_true(at - 1 < h->nelems && !seen[at - 1]++);
			assert_int_equal(h->nodes[at - 1].where, b + 1);
			live++;
		}
	}
	for (uint32_t s = 0; s < h->nshards; s++) {
		uint32_t end = (s + 1) * h->per_shard;

		if (end > map->max_entries)
			end = map->max_entries;
		for (uint32_t at = h->shards[s].head; at; at = h->nodes[at - 1].next) {
			assert_true(at - 1 < h->nelems && !seen[at - 1]++);
			assert_int_equal(h->nodes[at - 1].where, 0);
			other++;
		}
		for (uint32_t e = h->shards[s].fresh; e < end; e++, other++) {
			assert_true(!seen[e]++);
			assert_int_equal(h->nodes[e].where, 0);
		}
	}
	for (uint32_t s = 0; s < h->nstripes; s++) {
		uint32_t e = h->stripes[s].spare - 1;

		assert_int_equal(h->stripes[s].hand[0], 0);
		assert_int_equal(h->stripes[s].hand[1], 0);
		assert_true(e < h->nelems && !seen[e]++);
		assert_int_equal(h->nodes[e].where, WHERE_SPARE | s);
		other++;
	}
	assert_int_equal(live + other, h->nelems);
	free(seen);
	return live;
}

/* Takes every lock once, so that what the dead left is repaired. */
static void touch_all(struct skep_map *map)
{
	struct skep_htab *h = htab_of(map);

	for (uint32_t s = 0; s < h->nstripes; s++) {
		struct htab_stripe *st;

		assert_int_equal(htab_lock(h, s, &st), 0);
		htab_unlock(st);
	}
}

/* ---- Per-CPU increments ---- */

struct counter {
	pthread_t thread;
	struct skep_map *map;
	unsigned long n;
};

static void *count_up(void *arg)
{
	struct counter *c = arg;
	struct skep_env *env = env_new();
	uint32_t key = 0;

	for (unsigned long i = 0; i < c->n; i++) {
		uint64_t *v;

		skep_enter(env);
		v = c->map->ops->lookup(c->map, &key, env);
		++*(volatile uint64_t *)v;
		skep_leave(env);
	}
	skep_env_close(env);
	return NULL;
}

static void increments(uint32_t type)
{
	enum { THREADS = 100 };
	struct skep_map *map = map_new(type, 4, 8, 1, 0);
	struct counter c[THREADS];
	uint64_t values[CPUS] = {0}, sum = 0;
	struct skep_env *env = env_new();
	unsigned long each = scaled(50000);
	uint32_t key = 0;

	assert_int_equal(map->ops->sys_update(map, &key, values, 0, env), 0);
	for (int i = 0; i < THREADS; i++) {
		c[i] = (struct counter){.map = map, .n = each};
		assert_int_equal(pthread_create(&c[i].thread, NULL, count_up, &c[i]), 0);
	}
	for (int i = 0; i < THREADS; i++)
		pthread_join(c[i].thread, NULL);
	assert_int_equal(map->ops->sys_lookup(map, &key, values, 0, env), 0);
	for (int i = 0; i < CPUS; i++)
		sum += values[i];
	assert_int_equal(sum, THREADS * each);
	print_message("ran: map_increments %lu\n", THREADS * each);
	skep_env_close(env);
	skep_object_put(&map->obj);
}

static void test_increments_array(void **state)
{
	increments(BPF_MAP_TYPE_PERCPU_ARRAY);
}

static void test_increments_hash(void **state)
{
	increments(BPF_MAP_TYPE_PERCPU_HASH);
}

/* ---- Readers and writers ---- */

/* Keys below PINNED are never deleted, only replaced: every lookup must find them. A value
 * repeats one word that belongs to its key, so that a torn copy shows. */
#define PINNED 64
#define SPACE  512
#define WORDS  8

struct worker {
	pthread_t thread;
	struct skep_map *map;
	uint64_t seed, found, missed;
	_Atomic bool *stop;
	const uint32_t *keys; /* the keys in use; the first PINNED stay */
	bool lru;
};

static uint32_t index_of(const struct worker *w, uint32_t key)
{
	uint32_t i = 0;

	while (i < SPACE && w->keys[i] != key)
		i++;
	return i;
}

static void make_value(uint64_t *v, uint32_t key, uint64_t salt)
{
	for (int i = 0; i < WORDS; i++)
		v[i] = (uint64_t)key << 32 | (uint32_t)salt;
}

static void *write_keys(void *arg)
{
	struct worker *w = arg;
	struct skep_env *env = env_new();
	struct skep_map *map = w->map;
	uint64_t v[WORDS];

	while (!*w->stop) {
		uint32_t i = (uint32_t)(rnd(&w->seed) % SPACE), key = w->keys[i];
		long err;

		skep_enter(env);
		if (i < PINNED || rnd(&w->seed) % 2) {
			make_value(v, key, rnd(&w->seed));
			err = map->ops->update(map, &key, v, BPF_ANY, env);
			if (err && !(err == -E2BIG && i >= PINNED))
				fail_msg("%s flags %#x update: %ld", map->ops->name, map->flags,
					 err);
		} else {
			err = map->ops->delete (map, &key, env);
			if (err && err != -ENOENT)
				fail_msg("delete: %ld", err);
		}
		skep_leave(env);
	}
	skep_env_close(env);
	return NULL;
}

static void *read_keys(void *arg)
{
	struct worker *w = arg;
	struct skep_env *env = env_new();
	struct skep_map *map = w->map;
	uint64_t v[WORDS];

	while (!*w->stop) {
		uint32_t at = (uint32_t)(rnd(&w->seed) % SPACE), key = w->keys[at], next;
		int err = map->ops->sys_lookup(map, &key, v, 0, env);

		if (!err) {
			w->found++;
			for (int i = 0; i < WORDS; i++)
				if (v[i] != v[0] || v[i] >> 32 != key)
					fail_msg("key %u: torn or foreign value %#lx %#lx", key,
						 v[0], v[i]);
		} else if (at < PINNED && !w->lru) {
			fail_msg("key %u vanished", key);
		}
		skep_enter(env);
		if (!map->ops->lookup(map, &key, env) && at < PINNED && !w->lru)
			fail_msg("key %u vanished", key);
		skep_leave(env);
		if (!map->ops->next_key(map, &key, &next) && index_of(w, next) == SPACE)
			fail_msg("foreign key %u", next);
	}
	skep_env_close(env);
	return NULL;
}

/* Walks: every pinned key is met. */
static void *walk_keys(void *arg)
{
	struct worker *w = arg;

	while (!*w->stop) {
		uint8_t seen[PINNED] = {0};
		uint32_t key, next, n = 0, met = 0;
		bool first = true;

		while (n++ < 4 * SPACE &&
		       !w->map->ops->next_key(w->map, first ? NULL : &key, &next)) {
			first = false;
			key = next;
			if (index_of(w, key) < PINNED)
				seen[index_of(w, key)] = 1;
		}
		/* A key deleted under the walk sends it back to the start, as in the kernel;
		 * the step limit then cuts it short. */
		if (n >= 4 * SPACE)
			continue;
		for (int i = 0; i < PINNED; i++)
			met += seen[i];
		if (met != PINNED)
			fail_msg("a walk met %u of %u", met, PINNED);
		w->found++;
	}
	return NULL;
}

/* collide: all keys in two buckets, nearly all in chains. */
static void stress(uint32_t type, uint32_t max, uint32_t flags, bool collide)
{
	enum { WRITERS = 4, READERS = 3 };
	struct skep_map *map = map_new(type, 4, WORDS * 8, max, flags);
	bool lru = type == BPF_MAP_TYPE_LRU_HASH;
	struct worker w[WRITERS + READERS + 1] = {0};
	struct skep_env *env = env_new();
	_Atomic bool stop = false;
	uint32_t keys[SPACE];
	uint64_t v[WORDS], found = 0;
	struct timespec ts = {0, (long)(scaled(400) % 1000) * 1000000};
	uint32_t live;

	ts.tv_sec = (time_t)(scaled(400) / 1000);
	for (uint32_t i = 0, key = 0; i < SPACE; key++) {
		uint32_t bucket = (uint32_t)htab_hash(htab_of(map), &key) & htab_of(map)->bmask;

		if (!collide || bucket < 2)
			keys[i++] = key;
	}
	for (uint32_t i = 0; i < PINNED; i++) {
		make_value(v, keys[i], 0);
		assert_int_equal(map->ops->sys_update(map, &keys[i], v, 0, env), 0);
	}
	for (int i = 0; i < WRITERS + READERS + 1; i++) {
		w[i] = (struct worker){.map = map,
				       .seed = skep_random() | 1,
				       .stop = &stop,
				       .keys = keys,
				       .lru = lru};
		pthread_create(&w[i].thread, NULL,
			       i < WRITERS                    ? write_keys
			       : i < WRITERS + READERS || lru ? read_keys
							      : walk_keys,
			       &w[i]);
	}
	nanosleep(&ts, NULL);
	stop = true;
	for (int i = 0; i < WRITERS + READERS + 1; i++) {
		pthread_join(w[i].thread, NULL);
		found += w[i].found;
	}
	live = check_books(map);
	print_message("%s of %u%s: %lu values read whole, %u live at the end\n", map->ops->name,
		      max, collide ? ", chained" : "", found, live);
	assert_true(found > 0);
	skep_env_close(env);
	skep_object_put(&map->obj);
}

static void test_stress(void **state)
{
	stress(BPF_MAP_TYPE_HASH, SPACE, 0, false);
	/* Full most of the time. */
	stress(BPF_MAP_TYPE_HASH, SPACE / 2, BPF_F_NO_PREALLOC, false);
	stress(BPF_MAP_TYPE_LRU_HASH, SPACE / 4, 0, false);
	stress(BPF_MAP_TYPE_LRU_HASH, SPACE / 2, BPF_F_NO_COMMON_LRU, false);
	stress(BPF_MAP_TYPE_HASH, 2 * SPACE, 0, true);
	stress(BPF_MAP_TYPE_LRU_HASH, SPACE / 2, 0, true);
}

/* ---- Nothing but replacing ---- */

struct replacer {
	pthread_t thread;
	struct skep_map *map;
	uint64_t seed, done;
	_Atomic bool *stop;
	const uint32_t *keys;
	uint32_t n;
};

static void *replace_values(void *arg)
{
	struct replacer *r = arg;
	struct skep_env *env = env_new();
	uint64_t v[WORDS];

	while (!*r->stop) {
		uint32_t key = r->keys[rnd(&r->seed) % r->n];

		make_value(v, key, r->done++);
		skep_enter(env);
		assert_int_equal(r->map->ops->update(r->map, &key, v, BPF_EXIST, env), 0);
		skep_leave(env);
	}
	skep_env_close(env);
	return NULL;
}

static void *find_values(void *arg)
{
	struct replacer *r = arg;
	struct skep_env *env = env_new();

	skep_enter(env);
	while (!*r->stop) {
		uint32_t key = r->keys[rnd(&r->seed) % r->n];

		if (!r->map->ops->lookup(r->map, &key, env))
			fail_msg("key %u vanished after %lu lookups", key, r->done);
		r->done++;
	}
	skep_leave(env);
	skep_env_close(env);
	return NULL;
}

/* Every key stays; its element is reused for another at once, because all share one lock and
 * so one spare. A reader that was interrupted anywhere must not take that for a miss. */
static void replacing(uint32_t n)
{
	struct skep_map *map = map_new(BPF_MAP_TYPE_HASH, 4, WORDS * 8, n < 8 ? n : 4 * n, 0);
	struct replacer r[6] = {0};
	struct skep_env *env = env_new();
	_Atomic bool stop = false;
	uint64_t v[WORDS] = {0}, found = 0, end;
	uint32_t keys[64];

	for (uint32_t i = 0, key = 0; i < n; key++)
		if (!((uint32_t)htab_hash(htab_of(map), &key) & htab_of(map)->bmask))
			keys[i++] = key;
	for (uint32_t i = 0; i < n; i++)
		assert_int_equal(map->ops->sys_update(map, &keys[i], v, 0, env), 0);
	for (int i = 0; i < 6; i++) {
		r[i] = (struct replacer){
			.map = map, .seed = skep_random() | 1, .stop = &stop, .keys = keys, .n = n};
		pthread_create(&r[i].thread, NULL, i < 3 ? replace_values : find_values, &r[i]);
	}
	end = skep_clock_mono() + scaled(800) * 1000000;
	while (skep_clock_mono() < end)
		usleep(1000);
	stop = true;
	for (int i = 0; i < 6; i++) {
		pthread_join(r[i].thread, NULL);
		found += i < 3 ? 0 : r[i].done;
	}
	print_message("%u keys in a bucket: %lu lookups under replacing\n", n, found);
	assert_int_equal(check_books(map), n);
	skep_env_close(env);
	skep_object_put(&map->obj);
}

static void test_replacing(void **state)
{
	replacing(2);
	replacing(7);
	replacing(20);
}

/* One bucket for all: chains. */
static void test_chains(void **state)
{
	struct skep_map *map = map_new(BPF_MAP_TYPE_HASH, 4, 8, 1000, 0);
	struct skep_htab *h = htab_of(map);
	struct skep_env *env = env_new();
	uint32_t keys[60], n = 0, next, prev, met = 0;
	uint64_t v;

	for (uint32_t key = 0; n < 60; key++)
		if (((uint32_t)htab_hash(h, &key) & h->bmask) == 3)
			keys[n++] = key;
	for (int round = 0; round < 50; round++) {
		for (uint32_t i = 0; i < 60; i++) {
			v = keys[i] + (uint32_t)round;
			assert_int_equal(map->ops->sys_update(map, &keys[i], &v, 0, env), 0);
		}
		for (uint32_t i = 0; i < 60; i++) {
			assert_int_equal(map->ops->sys_lookup(map, &keys[i], &v, 0, env), 0);
			assert_int_equal(v, keys[i] + (uint32_t)round);
		}
		met = 0;
		for (bool first = true; !map->ops->next_key(map, first ? NULL : &prev, &next);
		     first = false, prev = next)
			met++;
		assert_int_equal(met, 60);
		check_books(map);
		for (uint32_t i = (uint32_t)round % 3; i < 60; i += 1 + (uint32_t)round % 3)
			assert_int_equal(map->ops->sys_delete(map, &keys[i], env), 0);
		check_books(map);
	}
	skep_env_close(env);
	skep_object_put(&map->obj);
}

/* ---- Death ---- */

static void die_working(struct skep_map *map, uint64_t seed)
{
	struct skep_env *env = env_new();
	uint64_t v[CPUS];

	for (;;) {
		uint32_t key = (uint32_t)(rnd(&seed) % 96);

		memset(v, (int)key, sizeof(v));
		if (rnd(&seed) % 3)
			map->ops->sys_update(map, &key, v, 0, env);
		else
			map->ops->sys_delete(map, &key, env);
	}
}

static void kills(uint32_t type, uint32_t n, uint32_t flags)
{
	struct skep_map *map = map_new(type, 4, 8, n, flags);
	struct skep_env *env = env_new();
	unsigned long rounds = scaled(120);
	uint64_t v[CPUS], seed = skep_random() | 1;

	for (unsigned long i = 0; i < rounds; i++) {
		pid_t pid[2];
		struct timespec ts = {0, (long)(rnd(&seed) % 1500000)};

		for (int k = 0; k < 2; k++) {
			pid[k] = fork();
			assert_true(pid[k] >= 0);
			if (!pid[k])
				die_working(map, skep_random() | 1);
		}
		nanosleep(&ts, NULL);
		for (int k = 0; k < 2; k++) {
			kill(pid[k], SIGKILL);
			waitpid(pid[k], NULL, 0);
		}
		/* Every key can be used at once, whatever the dead held. */
		for (uint32_t key = 0; key < 96; key++) {
			int err = map->ops->sys_lookup(map, &key, v, 0, env);

			assert_true(!err || err == -ENOENT);
			if (!err && !map->ops->percpu)
				assert_int_equal(v[0], key * 0x0101010101010101ull);
			memset(v, (int)key, sizeof(v));
			err = map->ops->sys_update(map, &key, v, 0, env);
			assert_true(!err || (err == -E2BIG && !htab_of(map)->lru));
		}
		touch_all(map);
		check_books(map);
	}
	print_message("ran: map_kills %lu\n", 2 * rounds);
	skep_env_close(env);
	skep_object_put(&map->obj);
}

static void test_kills(void **state)
{
	kills(BPF_MAP_TYPE_HASH, 64, 0);
	kills(BPF_MAP_TYPE_LRU_HASH, 64, 0);
	kills(BPF_MAP_TYPE_PERCPU_HASH, 80, 0);
}

/* Dies at chosen points inside the pool, with both locks held. */
enum { POP_BEGUN, POP_MARKED, POP_DONE, PUSH_LINKED, PUSH_DONE, UNLINKED, POINTS };

static void die_at(struct skep_map *map, int point, uint32_t key)
{
	struct skep_htab *h = htab_of(map);
	uint64_t hash = htab_hash(h, &key);
	uint32_t bucket = (uint32_t)hash & h->bmask;
	struct htab_shard *sh = &h->shards[0];
	struct htab_stripe *st;
	struct htab_pos pos;

	if (htab_lock(h, bucket, &st))
		_exit(1);
	pos = htab_find_locked(h, bucket, &key, hash);
	while (!sh->head && sh < h->shards + h->nshards - 1)
		sh++;
	if (!sh->head)
		_exit(1);
	st->shard = (uint32_t)(sh - h->shards) + 1;
	if (!pos.elem || skep_lock(&sh->lock, h->parts))
		_exit(1);
	if (point <= POP_DONE) {
		uint32_t head = sh->head;

		st->hand[0] = head;
		if (point >= POP_MARKED)
			h->nodes[head - 1].where = bucket + 1;
		if (point >= POP_DONE)
			sh->head = h->nodes[head - 1].next;
	} else {
		st->hand[1] = pos.elem;
		htab_unlink(h, bucket, &pos);
		if (point != UNLINKED) {
			h->nodes[pos.elem - 1].next = sh->head;
			sh->head = pos.elem;
		}
		if (point == PUSH_DONE)
			h->nodes[pos.elem - 1].where = 0;
	}
	kill(getpid(), SIGKILL);
}

static void test_death_in_pool(void **state)
{
	struct skep_env *env = env_new();

	for (int point = 0; point < POINTS; point++) {
		struct skep_map *map = map_new(BPF_MAP_TYPE_HASH, 4, 8, 64, 0);
		uint32_t live = 64;
		uint64_t v = 1;
		int status;
		pid_t pid;

		for (uint32_t key = 0; key < 64; key++)
			assert_int_equal(map->ops->sys_update(map, &key, &v, 0, env), 0);
		for (uint32_t key = 0; key < 3; key++, live--)
			assert_int_equal(map->ops->sys_delete(map, &key, env), 0);
		pid = fork();
		if (!pid)
			die_at(map, point, 5);
		waitpid(pid, &status, 0);
		assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
		live -= point >= PUSH_LINKED;
		touch_all(map);
		/* The shard's lock may be the dead one's still, if nobody needed it. */
		for (uint32_t key = 1000; key < 1000 + 64 - live; key++)
			assert_int_equal(map->ops->sys_update(map, &key, &v, 0, env), 0);
		assert_int_equal(check_books(map), 64);
		skep_object_put(&map->obj);
	}
	skep_env_close(env);
}

/* ---- A signal in the middle ---- */

static struct skep_map *signal_map;
static struct skep_env *signal_env;
static _Atomic uint64_t signal_busy, signal_done;

static void on_signal(int sig)
{
	static uint32_t key;
	uint64_t v = 7;
	long err;

	key = (key + 1) % 8;
	skep_enter(signal_env);
	err = signal_map->ops->update(signal_map, &key, &v, BPF_ANY, signal_env);
	if (err == -EBUSY)
		signal_busy++;
	else if (!err)
		signal_done++;
	signal_map->ops->lookup(signal_map, &key, signal_env);
	skep_leave(signal_env);
	(void)sig;
}

/* A handler that updates the map its thread is updating gets EBUSY, or is done. */
static void test_signal(void **state)
{
	struct sigaction sa = {.sa_handler = on_signal, .sa_flags = SA_RESTART}, old;
	struct sigevent ev = {.sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGUSR1};
	struct itimerspec it = {{0, 50000}, {0, 50000}};
	struct skep_env *env = env_new();
	uint64_t v = 1, end;
	timer_t timer;

	signal_map = map_new(BPF_MAP_TYPE_HASH, 4, 8, 16, 0);
	signal_env = env_new();
	assert_int_equal(sigaction(SIGUSR1, &sa, &old), 0);
	assert_int_equal(timer_create(CLOCK_MONOTONIC, &ev, &timer), 0);
	assert_int_equal(timer_settime(timer, 0, &it, NULL), 0);
	end = skep_clock_mono() + scaled(500) * 1000000;
	for (uint32_t key = 0; skep_clock_mono() < end; key = (key + 1) % 8) {
		skep_enter(env);
		assert_int_equal(signal_map->ops->update(signal_map, &key, &v, BPF_ANY, env), 0);
		signal_map->ops->delete (signal_map, &key, env);
		skep_leave(env);
	}
	timer_delete(timer);
	sigaction(SIGUSR1, &old, NULL);
	check_books(signal_map);
	print_message("signals: %lu updates done, %lu found the bucket busy\n",
		      (unsigned long)signal_done, (unsigned long)signal_busy);
	assert_true(signal_done > 0);
	skep_env_close(env);
	skep_env_close(signal_env);
	skep_object_put(&signal_map->obj);
}

/* ---- Garbage ---- */

struct vandal {
	pthread_t thread;
	struct skep_map *map;
	_Atomic bool *stop;
};

static void *scribble(void *arg)
{
	struct vandal *v = arg;
	uint64_t seed = skep_random() | 1;
	struct skep_seg *segs[] = {&v->map->data, &v->map->ctl};

	while (!*v->stop) {
		struct skep_seg *seg = segs[rnd(&seed) % 2];
		uint64_t *p;

		if (!seg->size)
			continue;
		p = (uint64_t *)seg->base + rnd(&seed) % (seg->size / 8);
		/* Small numbers look like elements, and make cycles. */
		__atomic_store_n(p,
				 rnd(&seed) % 2 ? rnd(&seed) % 300 : rnd(&seed) << rnd(&seed) % 20,
				 __ATOMIC_RELAXED);
	}
	return NULL;
}

static uint64_t count_call(struct skep_env *env, uint64_t func, uint64_t r1, uint64_t r2,
			   uint64_t r3, uint64_t r4, uint64_t r5)
{
	++*(uint64_t *)(uintptr_t)r4;
	return 0;
}

static void garbage(uint32_t type, uint32_t max, uint32_t flags)
{
	uint32_t vs = type == BPF_MAP_TYPE_PROG_ARRAY ? 4 : 8;
	struct skep_map *map = map_new(type, 4, vs, max, flags);
	struct skep_env *env = env_new();
	_Atomic bool stop = false;
	struct vandal v = {.map = map, .stop = &stop};
	uint64_t value[CPUS] = {0}, seed = skep_random() | 1, worst = 0, ops = 0, count = 0;
	uint64_t end = skep_clock_mono() + scaled(400) * 1000000;

	env->call = count_call;
	pthread_create(&v.thread, NULL, scribble, &v);
	while (skep_clock_mono() < end) {
		uint32_t key = (uint32_t)(rnd(&seed) % max), next;
		uint64_t from = skep_clock_mono(), took;

		skep_enter(env);
		switch (rnd(&seed) % 7) {
		case 0:
			if (map->ops->update)
				map->ops->update(map, &key, value, 0, env);
			break;
		case 1:
			if (map->ops->delete)
				map->ops->delete (map, &key, env);
			break;
		case 2:
			if (map->ops->for_each && !(rnd(&seed) % 16))
				map->ops->for_each(map, 0, (uintptr_t)&count, env);
			break;
		case 3:
			map->ops->next_key(map, &key, &next);
			break;
		case 4:
			map->ops->sys_lookup(map, &key, value, 0, env);
			break;
		default:
			if (map->ops->lookup) {
				uint64_t *p = map->ops->lookup(map, &key, env);

				/* What a lookup gives lies in the map. */
				assert_true(!p || skep_map_contains(map, (uintptr_t)p, 8));
				if (p)
					__atomic_store_n(p, 1, __ATOMIC_RELAXED);
			} else {
				skep_prog_array_get(map, key);
			}
		}
		skep_leave(env);
		took = skep_clock_mono() - from;
		worst = took > worst ? took : worst;
		ops++;
	}
	stop = true;
	pthread_join(v.thread, NULL);
	print_message("garbage over %s: %lu operations, longest %lu us\n", map->ops->name, ops,
		      worst / 1000);
	assert_true(ops > 0);
	skep_env_close(env);
	skep_object_put(&map->obj);
}

static void test_garbage(void **state)
{
	garbage(BPF_MAP_TYPE_ARRAY, 64, 0);
	garbage(BPF_MAP_TYPE_PERCPU_ARRAY, 64, 0);
	garbage(BPF_MAP_TYPE_HASH, 128, 0);
	garbage(BPF_MAP_TYPE_PERCPU_HASH, 128, 0);
	garbage(BPF_MAP_TYPE_LRU_HASH, 128, 0);
	garbage(BPF_MAP_TYPE_LRU_PERCPU_HASH, 128, BPF_F_NO_COMMON_LRU);
	garbage(BPF_MAP_TYPE_PROG_ARRAY, 64, 0);
}

/* ---- Large and empty costs nothing ---- */

static uint64_t memory_of(const struct skep_map *map)
{
	struct stat st[2];

	assert_int_equal(fstat(map->data.fd, &st[0]), 0);
	memset(&st[1], 0, sizeof(st[1]));
	if (map->ctl.fd >= 0)
		assert_int_equal(fstat(map->ctl.fd, &st[1]), 0);
	return (uint64_t)(st[0].st_blocks + st[1].st_blocks) * 512;
}

static void test_sparse(void **state)
{
	static const uint32_t types[] = {BPF_MAP_TYPE_HASH, BPF_MAP_TYPE_LRU_HASH,
					 BPF_MAP_TYPE_PERCPU_HASH, BPF_MAP_TYPE_ARRAY};
	struct skep_env *env = env_new();

	for (int i = 0; i < 4; i++) {
		struct skep_map *map = map_new(types[i], 4, 64, 1000000, 0);
		uint64_t empty = memory_of(map), some, v[8 * CPUS] = {0};
		uint32_t next;

		for (uint32_t key = 0; key < 1000; key++)
			map->ops->sys_lookup(map, &key, v, 0, env);
		if (types[i] != BPF_MAP_TYPE_ARRAY) {
			assert_int_equal(map->ops->next_key(map, NULL, &next), -ENOENT);
			assert_int_equal(memory_of(map), empty);
			assert_true(empty < 1 << 20);
		}
		for (uint32_t key = 0; key < 100; key++)
			assert_int_equal(map->ops->sys_update(map, &key, v, 0, env), 0);
		some = memory_of(map);
		print_message("%s of 1000000: %lu KiB empty, %lu KiB with 100 elements\n",
			      map->ops->name, empty >> 10, some >> 10);
		skep_object_put(&map->obj);
	}
	skep_env_close(env);
}

static int setup(void **state)
{
	struct skep_opts opts = {.sz = sizeof(opts), .cpus = CPUS};

	return skep_open(&skep, &opts);
}

static int teardown(void **state)
{
	skep_close(skep);
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_increments_array), cmocka_unit_test(test_increments_hash),
		cmocka_unit_test(test_stress),           cmocka_unit_test(test_replacing),
		cmocka_unit_test(test_chains),           cmocka_unit_test(test_kills),
		cmocka_unit_test(test_death_in_pool),    cmocka_unit_test(test_signal),
		cmocka_unit_test(test_garbage),          cmocka_unit_test(test_sparse),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
