/* SPDX-License-Identifier: Apache-2.0 */
/* CPU slots and epochs. */
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
#include <sys/mman.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
#include <cmocka.h>

#include "bpf/instance.h"
#include "exec/exec.h"
#include "exec/slot.h"
#include "scale.h"

#if defined(__SANITIZE_THREAD__) || defined(__SANITIZE_ADDRESS__)
#define SANITIZED 1
#else
#define SANITIZED 0
#endif

static struct skep *open_cpus(uint32_t cpus)
{
	struct skep_opts opts = {.sz = sizeof(opts), .cpus = cpus};
	struct skep *skep;

	assert_int_equal(skep_open(&skep, &opts), 0);
	return skep;
}

static struct skep_env *open_env(struct skep *skep)
{
	struct skep_env *env;

	assert_int_equal(skep_env_open(&env, skep), 0);
	return env;
}

static void reap(pid_t pid)
{
	int st;

	assert_int_equal(waitpid(pid, &st, 0), pid);
	assert_int_equal(st, 0);
}

/* ---- Slots ---- */

static void test_nest(void **state)
{
	struct skep *skep = open_cpus(4);
	struct skep_env *env = open_env(skep);

	skep_enter(env);
	assert_int_equal(env->cpu, 0);
	assert_true(env->epoch > 0);
	skep_enter(env);
	assert_int_equal(env->depth, 2);
	skep_leave(env);
	assert_true(env->epoch > 0);
	skep_leave(env);
	assert_int_equal(env->epoch, 0);
	assert_int_equal(env->depth, 0);
	skep_env_close(env);
	/* A closed one is used again. */
	assert_ptr_equal(open_env(skep), env);
	skep_env_close(env);
	skep_close(skep);
}

struct inside {
	struct skep *skep;
	uint32_t cpu;
	_Atomic int step;
};

static void *go_inside(void *arg)
{
	struct inside *in = arg;
	struct skep_env *env = open_env(in->skep);

	skep_enter(env);
	in->cpu = env->cpu;
	in->step = 1;
	while (in->step != 2)
		usleep(200);
	skep_leave(env);
	skep_env_close(env);
	in->step = 3;
	return NULL;
}

static void enter_thread(struct inside *in, struct skep *skep, pthread_t *t)
{
	in->skep = skep;
	in->step = 0;
	pthread_create(t, NULL, go_inside, in);
}

static void test_exclusive(void **state)
{
	enum { N = 3 };
	struct skep *skep = open_cpus(N);
	struct skep_env *env;
	struct inside in[N + 1];
	pthread_t t[N + 1];
	uint32_t seen = 0;

	for (int i = 0; i < N; i++) {
		enter_thread(&in[i], skep, &t[i]);
		while (in[i].step != 1)
			usleep(100);
		assert_false(seen & (1u << in[i].cpu));
		seen |= 1u << in[i].cpu;
	}
	assert_int_equal(seen, (1u << N) - 1);
	/* One too many waits, until somebody leaves. */
	enter_thread(&in[N], skep, &t[N]);
	usleep(20000);
	assert_int_equal(in[N].step, 0);
	in[1].step = 2;
	while (in[N].step != 1)
		usleep(100);
	assert_int_equal(in[N].cpu, in[1].cpu);
	for (int i = 0; i <= N; i++) {
		if (i != 1)
			in[i].step = 2;
		pthread_join(t[i], NULL);
	}
	/* The one used last is the one used next. */
	env = open_env(skep);
	enter_thread(&in[0], skep, &t[0]);
	while (in[0].step != 1)
		usleep(100);
	skep_enter(env);
	seen = env->cpu;
	assert_true(seen != in[0].cpu);
	skep_leave(env);
	in[0].step = 2;
	pthread_join(t[0], NULL);
	skep_enter(env);
	assert_int_equal(env->cpu, seen);
	skep_leave(env);
	skep_env_close(env);
	skep_close(skep);
}

/* A thread that enters again with another environment stays on its CPU: with one slot
 * it would otherwise wait for itself. The order of leaving does not matter. */
static void test_same_thread(void **state)
{
	struct skep *skep = open_cpus(1);
	struct skep_env *a = open_env(skep), *b = open_env(skep);
	struct inside in;
	pthread_t t;

	for (int order = 0; order < 2; order++) {
		skep_enter(a);
		skep_enter(b);
		assert_int_equal(a->cpu, b->cpu);
		skep_leave(order ? a : b);
		enter_thread(&in, skep, &t);
		usleep(10000);
		assert_int_equal(in.step, 0);
		skep_leave(order ? b : a);
		while (in.step != 1)
			usleep(100);
		in.step = 2;
		pthread_join(t, NULL);
	}
	skep_env_close(a);
	skep_env_close(b);
	skep_close(skep);
}

/* ---- A hundred threads, a hundred million increments ---- */

struct counting {
	struct skep *skep;
	uint64_t *counters; /* by slot, a cache line each; not atomic */
	uint64_t n;
};

static void *increment(void *arg)
{
	struct counting *c = arg;
	struct skep_env *env = open_env(c->skep);

	for (uint64_t i = 0; i < c->n; i++) {
		volatile uint64_t *p;

		skep_enter(env);
		p = &c->counters[8 * env->cpu];
		*p = *p + 1;
		skep_leave(env);
	}
	skep_env_close(env);
	return NULL;
}

static void test_increments(void **state)
{
	enum { THREADS = 100 };
	static const uint32_t cpus[] = {1, 2, 3, 64};
	uint64_t total = SANITIZED ? 1000000 : 100000000, sum, t;
	pthread_t th[THREADS];

	for (size_t k = 0; k < sizeof(cpus) / sizeof(cpus[0]); k++) {
		/* The full number with the machine's CPUs, a twentieth with others. */
		uint64_t all = cpus[k] == 2 ? total : total / 20;
		struct counting c = {.skep = open_cpus(cpus[k]), .n = all / THREADS};

		c.counters = calloc(cpus[k], 64);
		t = skep_clock_mono();
		for (int i = 0; i < THREADS; i++)
			pthread_create(&th[i], NULL, increment, &c);
		for (int i = 0; i < THREADS; i++)
			pthread_join(th[i], NULL);
		t = skep_clock_mono() - t;
		sum = 0;
		for (uint32_t i = 0; i < cpus[k]; i++)
			sum += c.counters[8 * i];
		print_message("%u slots, %u threads: %lu increments, %.1f ns each\n", cpus[k],
			      THREADS, (unsigned long)sum, (double)t / (double)sum);
		assert_int_equal(sum, all);
		free(c.counters);
		skep_close(c.skep);
	}
	print_message("ran: percpu-increments %lu\n", (unsigned long)total);
}

/* ---- Death inside ---- */

static void test_holder_dies(void **state)
{
	enum { N = 3 };
	struct skep *skep = open_cpus(N);
	struct skep_env *env = open_env(skep);
	pid_t pids[N];
	int ready[2];
	char c;

	assert_int_equal(pipe(ready), 0);
	for (int i = 0; i < N; i++) {
		pids[i] = fork();
		if (!pids[i]) {
			struct skep_env *mine = open_env(skep);

			skep_enter(mine);
			if (write(ready[1], "x", 1) != 1)
				_exit(1);
			if (i == 1)
				execlp("sleep", "sleep", "100", (char *)NULL);
			pause();
		}
		assert_int_equal(read(ready[0], &c, 1), 1);
	}
	/* One was ended by exec; its slot comes back first. */
	skep_enter(env);
	assert_int_equal(env->cpu, 1);
	for (int i = 0; i < N; i++)
		kill(pids[i], SIGKILL);
	for (int i = 0; i < N; i++)
		waitpid(pids[i], NULL, 0);
	/* All three can be had again, by three threads at a time. */
	struct inside in[2];
	pthread_t t[2];

	for (int i = 0; i < 2; i++)
		enter_thread(&in[i], skep, &t[i]);
	for (int i = 0; i < 2; i++)
		while (in[i].step != 1)
			usleep(100);
	for (int i = 0; i < 2; i++) {
		in[i].step = 2;
		pthread_join(t[i], NULL);
	}
	skep_leave(env);
	skep_env_close(env);
	skep_close(skep);
	close(ready[0]);
	close(ready[1]);
}

static uint64_t rnd_state = 88172645463325252u;

static uint32_t rnd(uint32_t n)
{
	rnd_state ^= rnd_state << 13;
	rnd_state ^= rnd_state >> 7;
	rnd_state ^= rnd_state << 17;
	return (uint32_t)(rnd_state >> 32) % n;
}

struct tally {
	_Atomic uint32_t inside[2]; /* identities' low halves, to see two in one slot */
	_Atomic uint64_t runs;
	_Atomic uint32_t bad;
};

static void runner(struct skep *skep, struct tally *tally)
{
	struct skep_env *env = open_env(skep);

	for (;;) {
		uint32_t me;

		skep_enter(env);
		me = (uint32_t)getpid();
		tally->inside[env->cpu] = me;
		for (int i = 0; i < 50; i++)
			__asm__ volatile("" ::: "memory");
		if (tally->inside[env->cpu] != me)
			tally->bad++;
		tally->runs++;
		skep_leave(env);
	}
}

static void test_kill(void **state)
{
	enum { WORKERS = 4 };
	struct skep *skep = open_cpus(2);
	struct tally *tally =
		mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	unsigned long kills = scaled(400), i;
	struct skep_env *env;
	uint64_t before;
	pid_t pids[WORKERS];
	int k, st;

	for (k = 0; k < WORKERS; k++) {
		pids[k] = fork();
		if (!pids[k])
			runner(skep, tally);
	}
	for (i = 0; i < kills; i++) {
		nanosleep(&(struct timespec){0, 200000 + rnd(1500000)}, NULL);
		k = (int)rnd(WORKERS);
		kill(pids[k], SIGKILL);
		assert_int_equal(waitpid(pids[k], &st, 0), pids[k]);
		assert_true(WIFSIGNALED(st) && WTERMSIG(st) == SIGKILL);
		pids[k] = fork();
		if (!pids[k])
			runner(skep, tally);
	}
	/* The rest still run. */
	before = tally->runs;
	for (i = 0; i < 2000 && tally->runs < before + 1000; i++)
		usleep(1000);
	assert_true(tally->runs >= before + 1000);
	for (k = 0; k < WORKERS; k++) {
		kill(pids[k], SIGKILL);
		waitpid(pids[k], NULL, 0);
	}
	assert_int_equal(tally->bad, 0);
	env = open_env(skep);
	skep_enter(env);
	skep_leave(env);
	skep_env_close(env);
	print_message("%lu kills, %lu runs\n", kills, (unsigned long)tally->runs);
	print_message("ran: kill-slot %lu\n", kills);
	skep_close(skep);
	munmap(tally, 4096);
}

/* fork in the middle of a run: the child leaves without harming its parent. */
static void test_fork_inside(void **state)
{
	struct skep *skep = open_cpus(1);
	struct skep_env *env = open_env(skep);
	struct inside in;
	pthread_t t;
	pid_t pid;

	skep_enter(env);
	pid = fork();
	if (!pid) {
		skep_leave(env);
		_exit(0);
	}
	reap(pid);
	enter_thread(&in, skep, &t);
	usleep(10000);
	assert_int_equal(in.step, 0); /* the slot is still ours */
	skep_leave(env);
	while (in.step != 1)
		usleep(100);
	/* A child of this moment runs programs too; its parent's threads are not in it. */
	pid = fork();
	if (!pid) {
		struct skep_env *mine;

		alarm(10);
		if (skep_env_open(&mine, skep))
			_exit(1);
		_exit(0);
	}
	reap(pid);
	in.step = 2;
	pthread_join(t, NULL);
	skep_env_close(env);
	skep_close(skep);
}

/* ---- Epochs ---- */

static void note(void *arg)
{
	++*(_Atomic int *)arg;
}

static void test_defer(void **state)
{
	struct skep *skep = open_cpus(8);
	struct skep_env *a = open_env(skep), *b = open_env(skep);
	_Atomic int n = 0, m = 0;

	/* Nobody inside: at once. */
	skep_defer(skep, note, &n);
	assert_int_equal(n, 1);
	/* Somebody inside: when that one leaves, not when a nested run ends. */
	skep_enter(a);
	skep_enter(a);
	skep_defer(skep, note, &n);
	assert_int_equal(n, 1);
	skep_leave(a);
	skep_defer_poll(skep);
	assert_int_equal(n, 1);
	/* Whoever came later is not waited for. */
	skep_enter(b);
	skep_leave(a);
	assert_int_equal(n, 2);
	skep_defer(skep, note, &m);
	skep_enter(a);
	skep_leave(a);
	assert_int_equal(m, 0);
	skep_leave(b);
	assert_int_equal(m, 1);
	/* Many, and some by others' hands. */
	skep_enter(a);
	for (int i = 0; i < 1000; i++)
		skep_defer(skep, note, &m);
	skep_enter(b);
	assert_int_equal(m, 1);
	skep_leave(a);
	assert_int_equal(m, 1001);
	skep_leave(b);
	skep_env_close(a);
	skep_env_close(b);
	skep_close(skep);
}

static void test_defer_forked(void **state)
{
	struct skep *skep = open_cpus(4);
	struct inside in;
	pthread_t t;
	pid_t pid;

	enter_thread(&in, skep, &t);
	while (in.step != 1)
		usleep(100);
	pid = fork();
	if (!pid) {
		_Atomic int n = 0;

		/* The thread inside is the parent's: here nobody is. */
		skep_defer(skep, note, &n);
		_exit(n == 1 ? 0 : 1);
	}
	reap(pid);
	in.step = 2;
	pthread_join(t, NULL);
	skep_close(skep);
}

/* What readers hold between enter and leave is never freed under them. */
struct rcu {
	struct skep *skep;
	struct box *_Atomic box;
	_Atomic bool stop;
	_Atomic uint64_t reads, freed;
};

struct box {
	struct rcu *rcu;
	volatile uint64_t magic;
};

static void box_free(void *arg)
{
	struct box *box = arg;

	box->magic = 0;
	box->rcu->freed++;
	free(box);
}

static void *reader(void *arg)
{
	struct rcu *r = arg;
	struct skep_env *env = open_env(r->skep);
	uint64_t n = 0;

	while (!r->stop) {
		struct box *box;

		skep_enter(env);
		box = atomic_load_explicit(&r->box, memory_order_acquire);
		for (int i = 0; i < 10; i++)
			assert_int_equal(box->magic, 0x600d);
		skep_leave(env);
		n++;
	}
	r->reads += n;
	skep_env_close(env);
	return NULL;
}

static struct box *box_new(struct rcu *r)
{
	struct box *box = malloc(sizeof(*box));

	box->rcu = r;
	box->magic = 0x600d;
	return box;
}

static void test_reclaim(void **state)
{
	enum { READERS = 4 };
	struct rcu r = {.skep = open_cpus(3)};
	uint64_t end = skep_clock_mono() + scaled(700) * 1000000, made = 0;
	pthread_t t[READERS];

	r.box = box_new(&r);
	for (int i = 0; i < READERS; i++)
		pthread_create(&t[i], NULL, reader, &r);
	while (skep_clock_mono() < end) {
		struct box *old = atomic_exchange(&r.box, box_new(&r));

		skep_defer(r.skep, box_free, old);
		made++;
	}
	r.stop = true;
	for (int i = 0; i < READERS; i++)
		pthread_join(t[i], NULL);
	skep_collect(r.skep);
	assert_int_equal(r.freed, made);
	free(r.box);
	print_message("%lu reads, %lu freed\n", (unsigned long)r.reads, (unsigned long)r.freed);
	skep_close(r.skep);
}

/* A signal handler that runs programs, with an environment of its own. */
static struct skep_env *sig_env;
static uint64_t *sig_counters;
static volatile uint64_t sig_runs;

static void on_signal(int sig)
{
	skep_enter(sig_env);
	sig_counters[8 * sig_env->cpu]++;
	sig_runs++;
	skep_leave(sig_env);
}

static void test_signal(void **state)
{
	struct skep *skep = open_cpus(1);
	struct skep_env *env = open_env(skep);
	struct sigaction sa = {.sa_handler = on_signal}, old;
	struct itimerval it = {{0, 200}, {0, 200}}, off = {0};
	uint64_t counters[8] = {0}, end, runs = 0;

	sig_env = open_env(skep);
	sig_env->no_reclaim = true;
	sig_counters = calloc(1, 64);
	sigaction(SIGALRM, &sa, &old);
	setitimer(ITIMER_REAL, &it, NULL);
	end = skep_clock_mono() + 400000000;
	while (skep_clock_mono() < end)
		for (int i = 0; i < 1000; i++, runs++) {
			skep_enter(env);
			counters[env->cpu]++;
			skep_leave(env);
		}
	setitimer(ITIMER_REAL, &off, NULL);
	sigaction(SIGALRM, &old, NULL);
	assert_int_equal(counters[0], runs);
	assert_int_equal(sig_counters[0], sig_runs);
	assert_true(sig_runs > 0);
	free(sig_counters);
	skep_env_close(sig_env);
	skep_env_close(env);
	skep_close(skep);
}

static void test_cost(void **state)
{
	struct skep *skep = open_cpus(2);
	struct skep_env *env = open_env(skep);
	uint64_t best = UINT64_MAX;

	for (int r = 0; r < 10; r++) {
		uint64_t t = skep_clock_mono();

		for (int i = 0; i < 100000; i++) {
			skep_enter(env);
			skep_leave(env);
		}
		t = skep_clock_mono() - t;
		best = t < best ? t : best;
	}
	print_message("enter and leave: %.1f ns\n", (double)best / 100000);
	if (!SANITIZED)
		assert_true(best / 100000 < 100);
	skep_env_close(env);
	skep_close(skep);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_nest),         cmocka_unit_test(test_exclusive),
		cmocka_unit_test(test_same_thread),  cmocka_unit_test(test_increments),
		cmocka_unit_test(test_holder_dies),  cmocka_unit_test(test_kill),
		cmocka_unit_test(test_fork_inside),  cmocka_unit_test(test_defer),
		cmocka_unit_test(test_defer_forked), cmocka_unit_test(test_reclaim),
		cmocka_unit_test(test_signal),       cmocka_unit_test(test_cost),
	};

	return cmocka_run_group_tests_name("slot", tests, NULL, NULL);
}
