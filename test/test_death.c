/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Maps that several processes use, of which some die, some write garbage, and some are
 * interrupted. Death: workers note what they are about to do in a journal of their own, so
 * that after a kill every key's value is known but that of the update under way.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/seccomp.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
#include <cmocka.h>

#include "map/map.h"
#include "scale.h"

static uint64_t rnd_state = 88172645463325252u;

static uint64_t rnd64(void)
{
	rnd_state ^= rnd_state << 13;
	rnd_state ^= rnd_state >> 7;
	rnd_state ^= rnd_state << 17;
	return rnd_state;
}

static uint32_t rnd(uint32_t n)
{
	return (uint32_t)(rnd64() >> 32) % n;
}

static void *share(size_t size)
{
	void *p = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);

	assert_true(p != MAP_FAILED);
	return p;
}

static struct skep_map *map_new_in(struct skep *skep, uint32_t type, uint32_t key, uint32_t value,
				   uint32_t max, uint32_t flags, struct skep_map *inner)
{
	union bpf_attr attr;
	struct skep_map *map;
	int err;

	memset(&attr, 0, sizeof(attr));
	attr.map_type = type;
	attr.key_size = key;
	attr.value_size = value;
	attr.max_entries = max;
	attr.map_flags = flags;
	err = skep_map_create(skep, &attr, NULL, inner, &map);
	if (err)
		fail_msg("map of type %u: %d", type, err);
	return map;
}

static struct skep_map *map_new(struct skep *skep, uint32_t type, uint32_t key, uint32_t value,
				uint32_t max, uint32_t flags)
{
	return map_new_in(skep, type, key, value, max, flags, NULL);
}

static void map_put(struct skep_map *map)
{
	skep_object_put(&map->obj);
}

static int open_instance(void **state)
{
	struct skep_opts opts = {.sz = sizeof(opts), .cpus = 3};

	return skep_open((struct skep **)state, &opts);
}

static int close_instance(void **state)
{
	skep_close(*state);
	return 0;
}

static struct skep_env *env_new(struct skep *skep)
{
	struct skep_env *env;

	assert_int_equal(skep_env_open(&env, skep), 0);
	return env;
}

/* ---- Death: exact books ---- */

enum { WORKERS = 3, KEYS = 40, WORDS = 5 };

/* In shared memory, written by one worker only. gen 0: not in the map. */
struct journal {
	volatile uint32_t gen[KEYS];
	volatile uint32_t now; /* key under way + 1 */
	volatile uint32_t before, after;
	volatile uint64_t done, refused;
	volatile uint64_t forks;
};

struct death {
	const char *name;
	uint32_t type, flags;
	bool lossy; /* LRU: a key may be gone at any time */
	bool fixed; /* arrays: elements are always there */
	bool torn; /* an update in place may be half done */
};

static const struct death deaths[] = {
	{"hash", BPF_MAP_TYPE_HASH, 0, false, false, false},
	{"hash, no prealloc", BPF_MAP_TYPE_HASH, BPF_F_NO_PREALLOC, false, false, false},
	{"percpu hash", BPF_MAP_TYPE_PERCPU_HASH, 0, false, false, true},
	{"lru hash", BPF_MAP_TYPE_LRU_HASH, 0, true, false, false},
	{"lru hash, per CPU", BPF_MAP_TYPE_LRU_HASH, BPF_F_NO_COMMON_LRU, true, false, false},
	{"lru percpu hash", BPF_MAP_TYPE_LRU_PERCPU_HASH, 0, true, false, true},
	{"array", BPF_MAP_TYPE_ARRAY, 0, false, true, true},
	{"percpu array", BPF_MAP_TYPE_PERCPU_ARRAY, 0, false, true, true},
};

/* Every word of a value says whose it is, so that a mixture is seen. */
static void make_value(const struct skep_map *map, uint64_t *value, uint32_t key, uint32_t gen)
{
	uint32_t n = skep_map_sys_value_size(map) / 8;

	for (uint32_t i = 0; i < n; i++)
		value[i] = gen ? ((uint64_t)gen << 32 | key) + ((uint64_t)(i % WORDS) << 24) : 0;
}

static struct {
	struct skep *skep;
	struct skep_map *map;
	struct skep_env *env;
	struct journal *j;
	uint32_t base;
} w;

/* exec or fork at any instruction. */
static void on_usr1(int sig)
{
	execl("/bin/true", "true", (char *)NULL);
	_exit(127);
}

static void on_usr2(int sig)
{
	pid_t pid = fork();

	if (!pid)
		_exit(0);
	w.j->forks++;
	waitpid(pid, NULL, 0);
}

static __attribute__((noreturn)) void worker(uint32_t base, bool fixed)
{
	uint64_t value[WORDS * 8];
	struct sigaction sa = {.sa_handler = on_usr1};

	w.env = env_new(w.skep);
	w.base = base;
	rnd_state ^= (uint64_t)getpid() << 20;
	sigaction(SIGUSR1, &sa, NULL);
	sa.sa_handler = on_usr2;
	sigaction(SIGUSR2, &sa, NULL);
	for (;;) {
		uint32_t k = rnd(KEYS), key = base + k, old = w.j->gen[k], gen = 0;
		bool sys = rnd(2);
		int r;

		if (fixed || !old || rnd(3))
			gen = ((old + 1 + rnd(1000)) & 0x7fffffff) | 1;
		w.j->before = old;
		w.j->after = gen;
		w.j->now = k + 1;
		/* Two system calls in one: those of bpf(2) run inside as well. */
		skep_enter(w.env);
		if (gen) {
			make_value(w.map, value, key, gen);
			r = w.map->ops->percpu || sys
				    ? w.map->ops->sys_update(w.map, &key, value, BPF_ANY, w.env)
				    : (int)w.map->ops->update(w.map, &key, value, BPF_ANY, w.env);
		} else {
			r = (int)w.map->ops->delete (w.map, &key, w.env);
			if (r == -ENOENT && w.map->ops->percpu)
				r = 0;
		}
		skep_leave(w.env);
		if (!r || (!gen && r == -ENOENT))
			w.j->gen[k] = gen;
		else if (r == -ENOMEM || r == -E2BIG)
			w.j->refused++;
		else
			_exit(100 + (-r & 63));
		w.j->now = 0;
		w.j->done++;
	}
}

/* The generation that the map holds for key, or UINT32_MAX for a mixture. */
static uint32_t gen_of(struct skep_map *map, struct skep_env *env, uint32_t key)
{
	uint64_t value[WORDS * 8], want[WORDS * 8];
	int r;

	skep_enter(env);
	r = map->ops->sys_lookup(map, &key, value, 0, env);
	skep_leave(env);
	if (r)
		return r == -ENOENT ? 0 : UINT32_MAX;
	make_value(map, want, key, (uint32_t)(value[0] >> 32));
	return memcmp(value, want, skep_map_sys_value_size(map)) ? UINT32_MAX
								 : (uint32_t)(value[0] >> 32);
}

static void check_books(const struct death *d, struct skep_map *map, struct skep_env *env,
			struct journal *j, uint32_t base)
{
	for (uint32_t k = 0; k < KEYS; k++) {
		uint32_t gen = gen_of(map, env, base + k);
		bool ours = j->now == k + 1;

		if (gen == j->gen[k] || (d->lossy && !gen))
			;
		else if (ours && (gen == j->before || gen == j->after || d->torn))
			;
		else
			fail_msg("%s: key %u holds %u, but %u was written%s", d->name, base + k,
				 gen, j->gen[k], ours ? " (in progress)" : "");
		/* From here on, what there is counts. */
		j->gen[k] = gen;
	}
	j->now = 0;
}

/* All elements can still be had: nothing leaked with the dead. */
static void check_room(const struct death *d, struct skep_map *map, struct skep_env *env)
{
	uint64_t value[WORDS * 8];
	uint32_t key, n = 0, next, steps = 0;
	int r;

	skep_enter(env);
	if (!d->fixed) {
		while (!map->ops->next_key(map, NULL, &key)) {
			assert_int_equal(map->ops->sys_delete(map, &key, env), 0);
			assert_true(n++ <= map->max_entries);
		}
		for (key = 0; key < map->max_entries; key++) {
			make_value(map, value, key, 7);
			r = map->ops->sys_update(map, &key, value, BPF_ANY, env);
			if (r)
				fail_msg("%s: element %u of %u can't be made: %d", d->name, key,
					 map->max_entries, r);
		}
		make_value(map, value, key, 7);
		r = map->ops->sys_update(map, &key, value, BPF_ANY, env);
		assert_int_equal(r, d->lossy ? 0 : -E2BIG);
	}
	/* A walk meets every element once. */
	r = map->ops->next_key(map, NULL, &next);
	for (; !r && steps <= 2 * map->max_entries; steps++) {
		key = next;
		r = map->ops->next_key(map, &key, &next);
	}
	assert_int_equal(r, -ENOENT);
	if (d->lossy)
		assert_true(steps <= map->max_entries);
	else
		assert_int_equal(steps, map->max_entries);
	skep_leave(env);
}

static void one_death(struct skep *skep, const struct death *d, unsigned long kills)
{
	struct journal *j = share(WORKERS * sizeof(*j));
	uint32_t max = d->fixed ? WORKERS * KEYS : d->lossy ? 64 : WORKERS * KEYS + 8;
	struct skep_map *map = map_new(skep, d->type, 4, WORDS * 8, max, d->flags);
	struct skep_env *env = env_new(skep);
	uint64_t done = 0, refused = 0, forks = 0;
	unsigned long in_progress = 0;
	pid_t pid[WORKERS];
	int k, st;

	w.skep = skep;
	w.map = map;
	for (k = 0; k < WORKERS; k++) {
		pid[k] = fork();
		w.j = &j[k];
		if (!pid[k])
			worker((uint32_t)k * KEYS, d->fixed);
	}
	for (unsigned long i = 0; i < kills; i++) {
		uint32_t how = rnd(8);

		nanosleep(&(struct timespec){0, 30000 + rnd(600000)}, NULL);
		k = (int)rnd(WORKERS);
		if (how == 1) {
			kill(pid[k], SIGUSR2);
			nanosleep(&(struct timespec){0, 1000 * rnd(600)}, NULL);
		}
		kill(pid[k], how ? SIGKILL : SIGUSR1);
		assert_int_equal(waitpid(pid[k], &st, 0), pid[k]);
		if (how ? !WIFSIGNALED(st) : st && !(WIFSIGNALED(st) && WTERMSIG(st) == SIGUSR1))
			fail_msg("%s: kill %lu: worker ended by itself, status %#x", d->name, i,
				 st);
		in_progress += !!j[k].now;
		check_books(d, map, env, &j[k], (uint32_t)k * KEYS);
		pid[k] = fork();
		w.j = &j[k];
		if (!pid[k])
			worker((uint32_t)k * KEYS, d->fixed);
	}
	for (k = 0; k < WORKERS; k++) {
		kill(pid[k], SIGKILL);
		waitpid(pid[k], &st, 0);
		check_books(d, map, env, &j[k], (uint32_t)k * KEYS);
		done += j[k].done;
		refused += j[k].refused;
		forks += j[k].forks;
	}
	check_room(d, map, env);
	print_message(
		"%-20s %lu deaths, %lu in an update; %lu updates, %lu refused, %lu forks inside\n",
		d->name, kills, in_progress, (unsigned long)done, (unsigned long)refused,
		(unsigned long)forks);
	assert_true(done > kills);
	skep_env_close(env);
	map_put(map);
	munmap(j, WORKERS * sizeof(*j));
}

static void test_death(void **state)
{
	enum { N = sizeof(deaths) / sizeof(deaths[0]) };
	unsigned long kills = scaled(1000) / N + 1;

	for (size_t i = 0; i < N; i++)
		one_death(*state, &deaths[i], kills);
	print_message("ran: kill-map %lu\n", kills * N);
}

/* ---- Garbage ---- */

/* Every type that can be made without other objects. */
static const struct shape {
	uint32_t type, key, value, max, flags;
} shapes[] = {
	{BPF_MAP_TYPE_HASH, 4, 16, 200, 0},
	{BPF_MAP_TYPE_HASH, 20, 40, 200, BPF_F_NO_PREALLOC},
	{BPF_MAP_TYPE_PERCPU_HASH, 8, 8, 100, 0},
	{BPF_MAP_TYPE_LRU_HASH, 4, 16, 100, 0},
	{BPF_MAP_TYPE_LRU_HASH, 4, 16, 100, BPF_F_NO_COMMON_LRU},
	{BPF_MAP_TYPE_LRU_PERCPU_HASH, 4, 16, 100, 0},
	{BPF_MAP_TYPE_ARRAY, 4, 16, 100, 0},
	{BPF_MAP_TYPE_PERCPU_ARRAY, 4, 16, 100, 0},
	{BPF_MAP_TYPE_LPM_TRIE, 8, 16, 100, BPF_F_NO_PREALLOC},
	{BPF_MAP_TYPE_QUEUE, 0, 16, 50, 0},
	{BPF_MAP_TYPE_STACK, 0, 16, 50, 0},
	{BPF_MAP_TYPE_BLOOM_FILTER, 0, 8, 100, 0},
	{BPF_MAP_TYPE_RINGBUF, 0, 0, 4096, 0},
	{BPF_MAP_TYPE_STACK_TRACE, 4, 80, 64, 0},
	{BPF_MAP_TYPE_DEVMAP, 4, 4, 32, 0},
	{BPF_MAP_TYPE_DEVMAP_HASH, 4, 4, 32, 0},
	{BPF_MAP_TYPE_PROG_ARRAY, 4, 4, 32, 0},
	{BPF_MAP_TYPE_ARRAY_OF_MAPS, 4, 4, 32, 0},
	{BPF_MAP_TYPE_HASH_OF_MAPS, 4, 4, 32, 0},
};
enum { SHAPES = sizeof(shapes) / sizeof(shapes[0]) };

/* Writes what hurts most: random words, small numbers, living identities, all ones. */
static void spoil(struct skep_seg *seg, uint64_t self)
{
	uint64_t word = rnd64();
	size_t at;

	if (!seg->base)
		return;
	at = (size_t)(rnd64() % (seg->size / 8)) * 8;
	if (rnd(2) && seg->size > 8192)
		at %= 8192;
	switch (rnd(6)) {
	case 0:
		word = rnd(300);
		break;
	case 1:
		word = rnd(300) | (uint64_t)rnd(300) << 32;
		break;
	case 2:
		word = ~0ull >> rnd(64);
		break;
	case 3:
		if (!rnd(2000))
			word = self;
		break;
	}
	__atomic_store_n((uint64_t *)((char *)seg->base + at), word, __ATOMIC_RELAXED);
}

static __attribute__((noreturn)) void hostile(struct skep *skep, struct skep_map **maps)
{
	rnd_state ^= (uint64_t)getpid() << 30;
	for (;;) {
		uint64_t self = skep_self(skep->parts);

		for (int i = 0; i < 64; i++) {
			struct skep_map *map = maps[rnd(SHAPES)];

			spoil(&map->data, self);
			spoil(&map->ctl, self);
		}
		if (!rnd(50)) {
			struct skep_map *map = maps[rnd(SHAPES)];
			struct skep_seg *seg = map->ctl.base && rnd(2) ? &map->ctl : &map->data;

			fallocate(seg->fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0,
				  (off_t)seg->size);
			if (!ftruncate(seg->fd, 0) || !ftruncate(seg->fd, 1 << 30))
				_exit(1);
		}
		usleep(rnd(50));
	}
}

/* Inner maps: whatever ids stand in a segment, what comes out is a map that was put in. */
static struct skep_map *inner[2];
static int inner_fd[2];

static void nested_op(struct skep_map *map, struct skep_env *env)
{
	uint32_t key = rnd(40), what = rnd(8), id;
	struct skep_map *got;

	skep_enter(env);
	if (what < 4) {
		got = map->ops->lookup(map, &key, env);
		if (got && got != inner[0] && got != inner[1])
			abort();
	} else if (what < 6) {
		map->ops->sys_update(map, &key, &inner_fd[what & 1], BPF_ANY, env);
	} else if (what == 6) {
		map->ops->sys_delete(map, &key, env);
	} else {
		map->ops->sys_lookup(map, &key, &id, 0, env);
		map->ops->next_key(map, &key, &id);
	}
	skep_leave(env);
}

static void one_op(struct skep_map *map, struct skep_env *env)
{
	const struct skep_map_ops *ops = map->ops;
	uint64_t key[8] = {rnd(120)}, value[64], next[8];
	uint32_t what = rnd(12);
	void *p;

	if (map->inner) {
		nested_op(map, env);
		return;
	}
	for (size_t i = 0; i < 64; i++)
		value[i] = rnd(8);
	if (map->type == BPF_MAP_TYPE_LPM_TRIE)
		((uint32_t *)key)[0] = rnd(33);
	skep_enter(env);
	if (map->type == BPF_MAP_TYPE_RINGBUF) {
		if (what < 4) {
			skep_ringbuf_output(map, value, rnd(200), 0);
		} else if (what < 8) {
			p = skep_ringbuf_reserve(map, rnd(300), env);
			if (p)
				skep_ringbuf_commit(p, 0, what & 1, env);
		} else {
			skep_ringbuf_query(map, rnd(4));
		}
		goto out;
	}
	if (map->type == BPF_MAP_TYPE_PROG_ARRAY && skep_prog_array_get(map, rnd(40)))
		abort(); /* there is no program */
	if (map->type == BPF_MAP_TYPE_STACK_TRACE && what < 6) {
		skep_stackmap_put(map, value, 10, 0);
		goto out;
	}
	/* Objects can't be stored here: the operations that take them must refuse numbers. */
	if (what == 0 && ops->lookup) {
		p = ops->lookup(map, key, env);
		if (p && map->type != BPF_MAP_TYPE_PROG_ARRAY)
			*(volatile uint64_t *)value = *(volatile uint32_t *)p;
	} else if (what <= 3 && ops->update && map->type < BPF_MAP_TYPE_STACK_TRACE &&
		   map->type != BPF_MAP_TYPE_PROG_ARRAY) {
		ops->update(map, key, value, BPF_ANY, env);
	} else if (what == 4 && ops->delete) {
		ops->delete (map, key, env);
	} else if (what == 5 && ops->sys_lookup) {
		ops->sys_lookup(map, key, value, 0, env);
	} else if (what == 6 && ops->sys_update) {
		ops->sys_update(map, key, value, rnd(3), env);
	} else if (what == 7 && ops->next_key) {
		ops->next_key(map, rnd(4) ? key : NULL, next);
	} else if (what == 8 && ops->sys_lookup_delete) {
		ops->sys_lookup_delete(map, key, value, 0, env);
	} else if (what == 9 && ops->push) {
		ops->push(map, value, BPF_ANY);
	} else if (what == 10 && ops->pop) {
		ops->pop(map, value);
	} else if (what == 11 && ops->peek) {
		ops->peek(map, value);
	}
out:
	skep_leave(env);
}

static _Atomic uint64_t ops_done;
static _Atomic bool stop;

struct busy {
	struct skep *skep;
	struct skep_map **maps;
};

static void *busy(void *arg)
{
	struct busy *b = arg;
	struct skep_env *env = env_new(b->skep);

	while (!stop) {
		one_op(b->maps[rnd(SHAPES)], env);
		ops_done++;
	}
	skep_env_close(env);
	return NULL;
}

static void test_garbage(void **state)
{
	struct skep *skep = *state;
	struct skep_map *maps[SHAPES];
	struct busy b = {skep, maps};
	uint64_t before = 0, end, longest = 0;
	pthread_t t[2];
	pid_t pid[2];
	int st;

	for (int i = 0; i < 2; i++) {
		inner[i] = map_new(skep, BPF_MAP_TYPE_HASH, 4, 8, 10, 0);
		inner_fd[i] = skep_object_fd(&inner[i]->obj, 0);
		assert_true(inner_fd[i] >= 0);
	}
	for (size_t i = 0; i < SHAPES; i++) {
		bool nested = shapes[i].type == BPF_MAP_TYPE_ARRAY_OF_MAPS ||
			      shapes[i].type == BPF_MAP_TYPE_HASH_OF_MAPS;

		maps[i] = map_new_in(skep, shapes[i].type, shapes[i].key, shapes[i].value,
				     shapes[i].max, shapes[i].flags, nested ? inner[0] : NULL);
	}
	for (int i = 0; i < 2; i++) {
		pid[i] = fork();
		if (!pid[i])
			hostile(skep, maps);
	}
	stop = false;
	for (int i = 0; i < 2; i++)
		pthread_create(&t[i], NULL, busy, &b);
	end = skep_clock_mono() + scaled(2000) * 1000000;
	/* No hang: something must be done in every stretch of time. */
	for (uint64_t since = skep_clock_mono(); skep_clock_mono() < end; usleep(1000)) {
		if (ops_done != before) {
			before = ops_done;
			since = skep_clock_mono();
		}
		if (skep_clock_mono() - since > longest)
			longest = skep_clock_mono() - since;
		if (longest > 30000000000ull)
			fail_msg("stuck after %lu operations", (unsigned long)before);
	}
	stop = true;
	for (int i = 0; i < 2; i++)
		pthread_join(t[i], NULL);
	for (int i = 0; i < 2; i++) {
		kill(pid[i], SIGKILL);
		waitpid(pid[i], &st, 0);
		assert_true(WIFSIGNALED(st) && WTERMSIG(st) == SIGKILL);
	}
	for (size_t i = 0; i < SHAPES; i++)
		map_put(maps[i]);
	for (int i = 0; i < 2; i++) {
		close(inner_fd[i]);
		map_put(inner[i]);
	}
	print_message("%lu operations under garbage, longest pause %lu ms\n",
		      (unsigned long)ops_done, (unsigned long)(longest / 1000000));
	print_message("ran: garbage %lu\n", (unsigned long)SHAPES);
}

/* ---- Attacks on the segment itself ---- */

static void test_truncate(void **state)
{
	struct skep *skep = *state;
	struct skep_map *map = map_new(skep, BPF_MAP_TYPE_HASH, 4, 8, 100, 0);
	struct skep_env *env = env_new(skep);
	int fd = skep_object_fd(&map->obj, 0);
	uint64_t value = 1;

	assert_true(fd >= 0);
	assert_int_equal(ftruncate(fd, 0), -1);
	assert_int_equal(errno, EPERM);
	assert_int_equal(ftruncate(fd, 1 << 30), -1);
	for (uint32_t k = 0; k < 100; k++)
		assert_int_equal(map->ops->sys_update(map, &k, &value, BPF_ANY, env), 0);
	/* All keys and values become zero: the keys are no longer found, that is all. */
	assert_int_equal(
		fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, (off_t)map->data.size),
		0);
	for (uint32_t k = 1; k < 100; k++)
		assert_int_equal(map->ops->sys_lookup(map, &k, &value, 0, env), -ENOENT);
	for (uint32_t k = 0; k < 200; k++) {
		int r = map->ops->sys_update(map, &k, &value, BPF_ANY, env);

		assert_true(r == 0 || r == -E2BIG);
	}
	close(fd);
	skep_env_close(env);
	map_put(map);
}

/* Stands for a machine without memory: fallocate answers ENOMEM in this process. */
static int forbid_fallocate(void)
{
	struct {
		uint16_t code;
		uint8_t yes, no;
		uint32_t k;
	} f[] = {
		{BPF_LD | BPF_W | BPF_ABS, 0, 0, 0},
		{BPF_JMP | BPF_JEQ | BPF_K, 0, 1, SYS_fallocate},
		{BPF_RET | BPF_K, 0, 0, SECCOMP_RET_ERRNO | ENOMEM},
		{BPF_RET | BPF_K, 0, 0, SECCOMP_RET_ALLOW},
	};
	struct {
		uint16_t len;
		void *filter;
	} prog = {sizeof(f) / sizeof(f[0]), f};

	return prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) ||
	       prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &prog);
}

static void test_no_memory(void **state)
{
	static const uint32_t types[] = {BPF_MAP_TYPE_HASH, BPF_MAP_TYPE_LRU_HASH,
					 BPF_MAP_TYPE_PERCPU_HASH};
	struct skep *skep = *state;
	int st;

	for (size_t i = 0; i < sizeof(types) / sizeof(types[0]); i++) {
		/* Too large to be backed at once. */
		struct skep_map *map = map_new(skep, types[i], 4, 1024, 200000, 0);
		struct skep_env *env = env_new(skep);
		uint64_t value[128 * 3] = {0};
		pid_t pid;

		for (uint32_t k = 0; k < 10; k++) {
			value[0] = k;
			assert_int_equal(map->ops->sys_update(map, &k, value, BPF_ANY, env), 0);
		}
		pid = fork();
		if (!pid) {
			union bpf_attr attr;
			unsigned refused = 0;

			if (forbid_fallocate())
				_exit(77);
			for (uint32_t k = 10; k < 20000; k++) {
				int r = map->ops->sys_update(map, &k, value, BPF_ANY, env);

				if (r && r != -ENOMEM)
					_exit(2);
				refused += !!r;
			}
			if (!refused)
				_exit(3);
			for (uint32_t k = 0; k < 10; k++)
				if (map->ops->sys_lookup(map, &k, value, 0, env) || value[0] != k)
					_exit(4);
			/* And no new map comes into being half. */
			memset(&attr, 0, sizeof(attr));
			attr.map_type = types[i];
			attr.key_size = 4;
			attr.value_size = 8;
			attr.max_entries = 100;
			if (skep_map_create(skep, &attr, NULL, NULL, &map) >= 0)
				_exit(5);
			_exit(0);
		}
		assert_int_equal(waitpid(pid, &st, 0), pid);
		if (WIFEXITED(st) && WEXITSTATUS(st) == 77) {
			print_message("seccomp filters are not allowed here\n");
			skip();
		}
		assert_int_equal(st, 0);
		/* The others go on. */
		for (uint32_t k = 30000; k < 31000; k++)
			assert_int_equal(map->ops->sys_update(map, &k, value, BPF_ANY, env), 0);
		skep_env_close(env);
		map_put(map);
	}
}

/* ---- Signals ---- */

static struct {
	struct skep_map *map;
	struct skep_env *env;
	volatile unsigned ok, busy, other;
} sig;

static void on_signal(int signo)
{
	uint64_t key = 1, value = 2;
	long r;

	skep_enter(sig.env);
	r = sig.map->ops->update(sig.map, &key, &value, BPF_ANY, sig.env);
	sig.map->ops->lookup(sig.map, &key, sig.env);
	if (!r)
		r = sig.map->ops->delete (sig.map, &key, sig.env);
	skep_leave(sig.env);
	if (!r)
		sig.ok++;
	else if (r == -EBUSY)
		sig.busy++;
	else
		sig.other++;
}

/* A handler updates the very bucket whose lock the interrupted update holds. */
static void test_signal(void **state)
{
	static const uint32_t types[] = {BPF_MAP_TYPE_HASH, BPF_MAP_TYPE_LRU_HASH,
					 BPF_MAP_TYPE_LPM_TRIE};
	struct skep *skep = *state;
	struct sigaction sa = {.sa_handler = on_signal}, old;
	struct itimerval it = {{0, 100}, {0, 100}}, off = {0};
	struct skep_env *env = env_new(skep);

	sigaction(SIGALRM, &sa, &old);
	for (size_t i = 0; i < sizeof(types) / sizeof(types[0]); i++) {
		bool lpm = types[i] == BPF_MAP_TYPE_LPM_TRIE;
		struct skep_map *map =
			map_new(skep, types[i], lpm ? 8 : 4, 8, 4, lpm ? BPF_F_NO_PREALLOC : 0);
		uint64_t end = skep_clock_mono() + 400000000, key = 1, value = 1, refused = 0;

		sig.map = map;
		sig.env = env_new(skep);
		sig.env->no_reclaim = true;
		sig.ok = sig.busy = sig.other = 0;
		setitimer(ITIMER_REAL, &it, NULL);
		while (skep_clock_mono() < end)
			for (int n = 0; n < 1000; n++) {
				long r;

				skep_enter(env);
				r = map->ops->update(map, &key, &value, BPF_ANY, env);
				if (r && r != -EBUSY && r != -ENOMEM && r != -E2BIG)
					fail_msg("update: %ld", r);
				refused += !!r;
				r = map->ops->delete (map, &key, env);
				if (r && r != -EBUSY && r != -ENOENT)
					fail_msg("delete: %ld", r);
				skep_leave(env);
			}
		setitimer(ITIMER_REAL, &off, NULL);
		print_message("%s: handlers: %u done, %u busy, %u other; %lu refused outside\n",
			      map->ops->name, sig.ok, sig.busy, sig.other, (unsigned long)refused);
		assert_true(sig.ok > 0 && sig.busy > 0 && sig.other == 0);
		skep_env_close(sig.env);
		map_put(map);
	}
	sigaction(SIGALRM, &old, NULL);
	skep_env_close(env);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, open_instance, close_instance)
	const struct CMUnitTest tests[] = {
		T(test_death), T(test_garbage), T(test_truncate), T(test_no_memory), T(test_signal),
	};

	return cmocka_run_group_tests_name("death", tests, NULL, NULL);
}
