/* SPDX-License-Identifier: Apache-2.0 */
#include "exec/timer.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "bpf/instance.h"
#include "map/map.h"
#include "os/os.h"

#define MAX_TIMERS (1u << 20)
#define NOWHERE    UINT32_MAX

struct timer {
	uint32_t gen; /* rises whenever the entry is given up */
	uint32_t clock;
	struct skep_map *map; /* NULL: free. Not referenced: it forgets its timers first */
	void *value; /* the struct bpf_timer */
	struct skep_prog *prog; /* whose callback it is, referenced; NULL: none set */
	uint64_t func;
	uint64_t when; /* CLOCK_MONOTONIC */
	uint32_t at; /* in the heap, NOWHERE */
	bool running;
};

struct skep_timers {
	struct skep *skep;
	pthread_mutex_t lock;
	pthread_cond_t wake; /* the thread: something earlier, or the end */
	pthread_cond_t done; /* a callback returned */
	pthread_t thread;
	bool has_thread, stop;
	struct timer *t;
	uint32_t n, cap, free_n;
	uint32_t *heap; /* armed ones, the first is the next */
	uint32_t nheap;
	struct skep_prog **drop; /* references that the thread gives back */
	uint32_t ndrop, cap_drop;
};

/* Signals stay out: a handler that runs programs would wait for its own thread. */
static uint64_t lock(struct skep_timers *ts)
{
	uint64_t signals = skep_signals_block();

	pthread_mutex_lock(&ts->lock);
	return signals;
}

static void unlock(struct skep_timers *ts, uint64_t signals)
{
	pthread_mutex_unlock(&ts->lock);
	skep_signals_restore(signals);
}

static struct skep_timers *timers_of(struct skep *skep)
{
	struct skep_timers *ts = atomic_load(&skep->timers), *other = NULL;
	pthread_condattr_t attr;

	if (ts)
		return ts;
	ts = calloc(1, sizeof(*ts));
	if (!ts)
		return NULL;
	ts->skep = skep;
	pthread_mutex_init(&ts->lock, NULL);
	pthread_condattr_init(&attr);
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	pthread_cond_init(&ts->wake, &attr);
	pthread_cond_init(&ts->done, NULL);
	pthread_condattr_destroy(&attr);
	if (atomic_compare_exchange_strong(&skep->timers, &other, ts))
		return ts;
	free(ts);
	return other;
}

/* ---- The heap ---- */

static bool earlier(const struct skep_timers *ts, uint32_t a, uint32_t b)
{
	return ts->t[ts->heap[a]].when < ts->t[ts->heap[b]].when;
}

static void swap(struct skep_timers *ts, uint32_t a, uint32_t b)
{
	uint32_t x = ts->heap[a];

	ts->heap[a] = ts->heap[b];
	ts->heap[b] = x;
	ts->t[ts->heap[a]].at = a;
	ts->t[ts->heap[b]].at = b;
}

static void sift(struct skep_timers *ts, uint32_t i)
{
	while (i && earlier(ts, i, (i - 1) / 2)) {
		swap(ts, i, (i - 1) / 2);
		i = (i - 1) / 2;
	}
	for (;;) {
		uint32_t least = i;

		for (uint32_t c = 2 * i + 1; c <= 2 * i + 2; c++)
			if (c < ts->nheap && earlier(ts, c, least))
				least = c;
		if (least == i)
			return;
		swap(ts, i, least);
		i = least;
	}
}

static void disarm(struct skep_timers *ts, struct timer *t)
{
	uint32_t at = t->at;

	if (at == NOWHERE)
		return;
	ts->nheap--;
	if (at != ts->nheap) {
		swap(ts, at, ts->nheap);
		sift(ts, at);
	}
	t->at = NOWHERE;
}

static void arm(struct skep_timers *ts, struct timer *t, uint64_t when)
{
	disarm(ts, t);
	t->when = when;
	t->at = ts->nheap;
	ts->heap[ts->nheap++] = (uint32_t)(t - ts->t);
	sift(ts, t->at);
	if (ts->t[ts->heap[0]].when == when)
		pthread_cond_signal(&ts->wake);
}

/* ---- Entries ---- */

static uint64_t load_name(const void *timer)
{
	return __atomic_load_n((const uint64_t *)timer, __ATOMIC_ACQUIRE);
}

/* What the value names, if that was made for it: others can write the value too. */
static struct timer *find(struct skep_timers *ts, void *timer)
{
	uint64_t name = load_name(timer);
	uint32_t i = (uint32_t)name - 1;

	if (!(uint32_t)name || i >= ts->n || ts->t[i].gen != (uint32_t)(name >> 32) ||
	    ts->t[i].value != timer || !ts->t[i].map)
		return NULL;
	return &ts->t[i];
}

/* Room for n entries, in the table and in the heap. */
static int grow(struct skep_timers *ts)
{
	uint32_t cap = ts->cap ? ts->cap * 2 : 64;
	struct timer *t;
	uint32_t *heap;

	if (ts->n < ts->cap)
		return 0;
	if (cap > MAX_TIMERS)
		return -ENOMEM;
	t = realloc(ts->t, cap * sizeof(*t));
	if (t)
		ts->t = t;
	heap = realloc(ts->heap, cap * sizeof(*heap));
	if (heap)
		ts->heap = heap;
	if (!t || !heap)
		return -ENOMEM;
	ts->cap = cap;
	return 0;
}

static struct timer *take(struct skep_timers *ts)
{
	/* Freed ones are found again by a walk: they are few beside those in use. */
	for (uint32_t i = 0; ts->free_n && i < ts->n; i++)
		if (!ts->t[i].map && !ts->t[i].running) {
			ts->free_n--;
			return &ts->t[i];
		}
	if (grow(ts))
		return NULL;
	ts->t[ts->n] = (struct timer){.at = NOWHERE};
	return &ts->t[ts->n++];
}

static void drop_prog(struct skep_timers *ts, struct skep_prog *prog)
{
	if (!prog)
		return;
	if (ts->ndrop == ts->cap_drop) {
		uint32_t cap = ts->cap_drop ? ts->cap_drop * 2 : 16;
		struct skep_prog **d = realloc(ts->drop, cap * sizeof(struct skep_prog *));

		if (!d)
			return; /* the program stays until the instance ends */
		ts->drop = d;
		ts->cap_drop = cap;
	}
	ts->drop[ts->ndrop++] = prog;
	pthread_cond_signal(&ts->wake);
}

static void give_up(struct skep_timers *ts, struct timer *t)
{
	disarm(ts, t);
	drop_prog(ts, t->prog);
	t->prog = NULL;
	t->map = NULL;
	t->value = NULL;
	t->gen++;
	ts->free_n++;
}

/* ---- The thread ---- */

static void run(struct skep_timers *ts, struct skep_env *env, uint64_t *signals)
{
	uint32_t i, index = 0;
	struct timer t;
	char *value;

	/* The slot first: who waits for a callback may hold the only one. */
	unlock(ts, *signals);
	skep_enter(env);
	*signals = lock(ts);
	if (!ts->nheap || ts->t[ts->heap[0]].when > skep_clock_mono() || ts->stop) {
		unlock(ts, *signals);
		skep_leave(env);
		*signals = lock(ts);
		return;
	}
	i = ts->heap[0];
	disarm(ts, &ts->t[i]);
	t = ts->t[i];
	ts->t[i].running = true;
	skep_object_ref(&t.prog->obj);
	unlock(ts, *signals);

	env->prog = t.prog;
	env->tail_calls = 0;
	env->timer = t.value;
	value = (char *)t.value - skep_map_field(t.map, SKEP_FIELD_TIMER)->offset;
	env->call(env, t.func, (uintptr_t)t.map, (uintptr_t)skep_map_key_of(t.map, value, &index),
		  (uintptr_t)value, 0, 0);
	env->timer = NULL;
	env->prog = NULL;
	skep_leave(env);
	skep_object_put(&t.prog->obj);

	*signals = lock(ts);
	ts->t[i].running = false;
	pthread_cond_broadcast(&ts->done);
}

static void put_dropped(struct skep_timers *ts, uint64_t *signals)
{
	while (ts->ndrop) {
		struct skep_prog *prog = ts->drop[--ts->ndrop];

		unlock(ts, *signals);
		skep_object_put(&prog->obj);
		*signals = lock(ts);
	}
}

static void *thread(void *arg)
{
	struct skep_timers *ts = arg;
	struct skep_env *env = NULL;
	uint64_t signals;

	if (skep_env_open(&env, ts->skep))
		return NULL;
	env->call = skep_call;
	signals = lock(ts);
	while (!ts->stop) {
		uint64_t now = skep_clock_mono();

		if (ts->ndrop) {
			put_dropped(ts, &signals);
		} else if (!ts->nheap) {
			pthread_cond_wait(&ts->wake, &ts->lock);
		} else if (ts->t[ts->heap[0]].when > now) {
			uint64_t when = ts->t[ts->heap[0]].when;
			struct timespec until = {.tv_sec = (time_t)(when / 1000000000u),
						 .tv_nsec = (long)(when % 1000000000u)};

			pthread_cond_timedwait(&ts->wake, &ts->lock, &until);
		} else {
			run(ts, env, &signals);
		}
	}
	unlock(ts, signals);
	skep_env_close(env);
	return NULL;
}

static int start_thread(struct skep_timers *ts)
{
	int err;

	if (ts->has_thread)
		return 0;
	if (ts->stop || skep_forked(ts->skep))
		return -EPERM;
	err = pthread_create(&ts->thread, NULL, thread, ts);
	ts->has_thread = !err;
	return -err;
}

/* ---- What programs do ---- */

static bool clock_ok(uint64_t clock)
{
	return clock == CLOCK_MONOTONIC || clock == CLOCK_REALTIME || clock == CLOCK_BOOTTIME;
}

int skep_timer_init(void *timer, struct skep_map *map, uint64_t flags, struct skep_env *env)
{
	struct skep_timers *ts;
	struct timer *t;
	uint64_t signals;
	int err = 0;

	if (!clock_ok(flags))
		return -EINVAL;
	if (env->no_reclaim) /* in a signal handler: nothing can be allocated */
		return -EOPNOTSUPP;
	ts = timers_of(env->skep);
	if (!ts)
		return -ENOMEM;
	signals = lock(ts);
	if (find(ts, timer)) {
		err = -EBUSY;
	} else if (!atomic_load(&map->obj.users)) {
		err = -EPERM; /* nobody would ever stop it */
	} else if (!(t = take(ts))) {
		err = -ENOMEM;
	} else {
		t->map = map;
		t->value = timer;
		t->clock = (uint32_t)flags;
		__atomic_store_n((uint64_t *)timer,
				 (uint64_t)t->gen << 32 | (uint32_t)(t - ts->t + 1),
				 __ATOMIC_RELEASE);
	}
	unlock(ts, signals);
	return err;
}

int skep_timer_set(void *timer, uint64_t func, struct skep_env *env)
{
	struct skep_timers *ts = atomic_load(&env->skep->timers);
	struct skep_prog *prog = (struct skep_prog *)env->prog;
	uint64_t signals;
	struct timer *t;
	int err = 0;

	if (!ts)
		return -EINVAL;
	if (env->no_reclaim)
		return -EOPNOTSUPP;
	signals = lock(ts);
	t = find(ts, timer);
	if (!t)
		err = -EINVAL;
	else if (!atomic_load(&t->map->obj.users))
		err = -EPERM;
	else
		err = start_thread(ts);
	if (!err) {
		if (t->prog != prog) {
			skep_object_ref(&prog->obj);
			drop_prog(ts, t->prog);
			t->prog = prog;
		}
		t->func = func;
	}
	unlock(ts, signals);
	return err;
}

static uint64_t clock_now(uint32_t clock)
{
	return clock == CLOCK_REALTIME   ? skep_clock_real()
	       : clock == CLOCK_BOOTTIME ? skep_clock_boot()
					 : skep_clock_mono();
}

int skep_timer_start(void *timer, uint64_t ns, uint64_t flags, struct skep_env *env)
{
	struct skep_timers *ts = atomic_load(&env->skep->timers);
	uint64_t now = skep_clock_mono(), signals;
	struct timer *t;
	int err = 0;

	if (flags & ~(uint64_t)(BPF_F_TIMER_ABS | BPF_F_TIMER_CPU_PIN))
		return -EINVAL;
	if (env->no_reclaim)
		return -EOPNOTSUPP;
	if (!ts)
		return -EINVAL;
	signals = lock(ts);
	t = find(ts, timer);
	if (!t || !t->prog) {
		err = -EINVAL;
	} else {
		if (flags & BPF_F_TIMER_ABS) {
			uint64_t there = clock_now(t->clock);

			ns = ns > there ? ns - there : 0;
		}
		arm(ts, t, ns > INT64_MAX - now ? INT64_MAX : now + ns);
	}
	unlock(ts, signals);
	return err;
}

int skep_timer_cancel(void *timer, struct skep_env *env)
{
	struct skep_timers *ts = atomic_load(&env->skep->timers);
	struct timer *t;
	uint64_t signals;
	uint32_t i, gen;
	int ret;

	if (env->no_reclaim)
		return -EOPNOTSUPP;
	if (!ts)
		return -EINVAL;
	signals = lock(ts);
	t = find(ts, timer);
	if (!t) {
		ret = -EINVAL;
	} else if (env->timer == timer) {
		ret = -EDEADLK;
	} else {
		ret = t->at != NOWHERE;
		disarm(ts, t);
		drop_prog(ts, t->prog);
		t->prog = NULL;
		i = (uint32_t)(t - ts->t);
		gen = t->gen;
		if (ts->t[i].running)
			ret = 1;
		while (ts->t[i].running && ts->t[i].gen == gen)
			pthread_cond_wait(&ts->done, &ts->lock);
	}
	unlock(ts, signals);
	return ret;
}

/* ---- Ends ---- */

void skep_timer_forget(const struct skep_map *map, void *timer)
{
	struct skep_timers *ts = map->obj.skep ? atomic_load(&map->obj.skep->timers) : NULL;
	uint64_t signals;
	struct timer *t;

	if (!ts || !load_name(timer))
		return;
	signals = lock(ts);
	t = find(ts, timer);
	if (t)
		give_up(ts, t);
	__atomic_store_n((uint64_t *)timer, 0, __ATOMIC_RELEASE);
	unlock(ts, signals);
}

void skep_timers_forget_map(const struct skep_map *map)
{
	struct skep_timers *ts = map->obj.skep ? atomic_load(&map->obj.skep->timers) : NULL;
	uint64_t signals;

	if (!ts || !skep_map_field(map, SKEP_FIELD_TIMER))
		return;
	signals = lock(ts);
	for (uint32_t i = 0; i < ts->n; i++)
		if (ts->t[i].map == map)
			give_up(ts, &ts->t[i]);
	unlock(ts, signals);
}

void skep_timers_stop(struct skep *skep)
{
	struct skep_timers *ts = atomic_load(&skep->timers);
	uint64_t signals;
	bool has_thread;

	if (!ts)
		return;
	signals = lock(ts);
	ts->stop = true;
	has_thread = ts->has_thread;
	ts->has_thread = false;
	pthread_cond_signal(&ts->wake);
	unlock(ts, signals);
	if (has_thread)
		pthread_join(ts->thread, NULL);
	signals = lock(ts);
	for (uint32_t i = 0; i < ts->n; i++)
		if (ts->t[i].map)
			give_up(ts, &ts->t[i]);
	put_dropped(ts, &signals);
	unlock(ts, signals);
}

void skep_timers_free(struct skep *skep)
{
	struct skep_timers *ts = atomic_load(&skep->timers);

	if (!ts)
		return;
	free(ts->t);
	free(ts->heap);
	free(ts->drop);
	free(ts);
}
