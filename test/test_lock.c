/* SPDX-License-Identifier: Apache-2.0 */
/* Participants, and locks that outlive their owners. */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
#include <cmocka.h>

#include "os/os.h"
#include "os/participant.h"
#include "scale.h"

#if defined(__SANITIZE_THREAD__) || defined(__SANITIZE_ADDRESS__)
#define SANITIZED 1
#else
#define SANITIZED 0
#endif

/* In shared memory: a lock and what it protects. Both counters are equal whenever the
 * lock is free and its last owner did not die. */
struct shared {
	struct skep_lock lock;
	uint64_t a;
	uint64_t b;
	uint64_t died, round;
	_Atomic uint64_t word;
};

static struct shared *share(void)
{
	struct shared *s =
		mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);

	assert_true(s != MAP_FAILED);
	return s;
}

static void unshare_mem(struct shared *s)
{
	munmap(s, 4096);
}

static int open_parts(void **state)
{
	return skep_parts_create((struct skep_parts **)state);
}

static int close_parts(void **state)
{
	skep_parts_close(*state);
	return 0;
}

static void reap(pid_t pid)
{
	int st;

	assert_int_equal(waitpid(pid, &st, 0), pid);
	assert_int_equal(st, 0);
}

static void *self_of_thread(void *arg)
{
	return (void *)(uintptr_t)skep_self(arg);
}

static void test_identity(void **state)
{
	struct skep_parts *parts = *state, *second;
	uint64_t self = skep_self(parts), other;
	pthread_t t;
	void *ret;

	assert_true(self != 0);
	assert_true(skep_self(parts) == self);
	assert_int_equal(self & 0x3fffff, gettid());
	assert_true(skep_alive(parts, self));
	assert_true(skep_alive(parts, skep_self_image(self)));
	/* A thread is another identity of the same participant. */
	pthread_create(&t, NULL, self_of_thread, parts);
	pthread_join(t, &ret);
	other = (uint64_t)(uintptr_t)ret;
	assert_true(other != self);
	assert_true(skep_self_image(other) == skep_self_image(self));
	assert_true(skep_alive(parts, other));
	/* Two instances in one process don't mix. */
	assert_int_equal(skep_parts_create(&second), 0);
	other = skep_self(second);
	assert_true(skep_self_image(other) != skep_self_image(self));
	assert_true(skep_self(parts) == self);
	assert_true(skep_self(second) == other);
	assert_false(skep_alive(second, self));
	assert_false(skep_alive(parts, other));
	skep_parts_close(second);
	/* The same file opened again is another participant. */
	assert_int_equal(skep_parts_open(&second, skep_parts_fd(parts)), 0);
	other = skep_self(second);
	assert_true(skep_alive(parts, other));
	assert_true(skep_alive(second, self));
	skep_parts_close(second);
	assert_false(skep_alive(parts, other));
}

/* fork makes a new participant; exec and SIGKILL end it, whoever else has descriptors. */
static void test_ends(void **state)
{
	struct skep_parts *parts = *state;
	uint64_t self = skep_self(parts), child;
	int out[2], go[2];
	pid_t pid;

	for (int how = 0; how < 3; how++) {
		char c;

		assert_int_equal(pipe(out), 0);
		assert_int_equal(pipe(go), 0);
		pid = fork();
		if (!pid) {
			pid_t grandchild;

			child = skep_self(parts);
			if (skep_self_image(child) == skep_self_image(self) ||
			    !skep_alive(parts, self))
				_exit(1);
			/* Inherits every descriptor and lives on. */
			grandchild = fork();
			if (!grandchild) {
				close(go[1]);
				if (read(go[0], &c, 1))
					_exit(1);
				_exit(0);
			}
			if (write(out[1], &child, 8) != 8)
				_exit(2);
			if (how == 1) {
				dup2(go[0], STDIN_FILENO);
				close(go[1]);
				execlp("sleep", "sleep", "100", (char *)NULL);
			}
			if (how == 2) {
				close(go[1]);
				if (read(go[0], &c, 1))
					_exit(3);
				_exit(0);
			}
			pause();
		}
		close(go[0]);
		assert_int_equal(read(out[0], &child, 8), 8);
		if (how != 1) {
			assert_true(skep_alive(parts, child));
			assert_true(skep_alive(parts, skep_self_image(child)));
		}
		if (how == 0)
			kill(pid, SIGKILL);
		if (how == 2) {
			close(go[1]);
			reap(pid);
		}
		if (how == 0)
			waitpid(pid, NULL, 0);
		for (int i = 0; i < 2000 && skep_alive(parts, child); i++)
			usleep(1000);
		assert_false(skep_alive(parts, child));
		if (how == 1) {
			kill(pid, SIGKILL);
			waitpid(pid, NULL, 0);
		}
		if (how != 2)
			close(go[1]);
		close(out[0]);
		close(out[1]);
	}
}

/* The client closed every descriptor there is: living ones are still living, and whoever
 * certainly is dead is dead. */
static void test_descriptors_closed(void **state)
{
	struct skep_parts *parts = *state;
	uint64_t self = skep_self(parts);
	pid_t pid = fork();

	if (!pid) {
		int out[2];
		uint64_t child;
		pid_t dead;

		if (pipe(out))
			_exit(1);
		skep_self(parts);
		dead = fork();
		if (!dead) {
			child = skep_self(parts);
			_exit(write(out[1], &child, 8) == 8 ? 0 : 1);
		}
		if (read(out[0], &child, 8) != 8)
			_exit(2);
		waitpid(dead, NULL, 0);
		syscall(SYS_close_range, 3u, ~0u, 0u);
		if (!skep_alive(parts, self) || !skep_alive(parts, skep_self(parts)))
			_exit(3);
		if (skep_alive(parts, child))
			_exit(4);
		/* Another file at the number of ours must not be asked. */
		for (int fd = 3; fd < 5000; fd++)
			dup2(STDERR_FILENO, fd);
		if (!skep_alive(parts, self) || skep_alive(parts, child) ||
		    !skep_alive(parts, skep_self_image(self)))
			_exit(5);
		/* A child of this one can't register, and is told from the dead all the same. */
		dead = fork();
		if (!dead)
			_exit(skep_self(parts) && skep_alive(parts, self) &&
					      skep_alive(parts, skep_self(parts)) &&
					      !skep_alive(parts, child)
				      ? 0
				      : 1);
		int st;

		waitpid(dead, &st, 0);
		_exit(st ? 6 : 0);
	}
	reap(pid);
	/* Its lock was held by a mapping alone. */
	assert_true(skep_alive(parts, self));
}

static void test_basic(void **state)
{
	struct skep_parts *parts = *state;
	struct skep_lock lock = {0};

	assert_int_equal(skep_lock(&lock, parts), 0);
	assert_int_equal(skep_lock(&lock, parts), -EBUSY);
	skep_unlock(&lock);
	assert_int_equal(lock.owner, 0);
	assert_int_equal(skep_lock(&lock, parts), 0);
	skep_unlock(&lock);
	/* Garbage in the word names nobody: taken over, to be repaired. */
	for (int i = 0; i < 50; i++) {
		lock.owner = skep_random() | 1;
		if (lock.owner >> 63)
			continue; /* see test_unregistered */
		assert_int_equal(skep_lock(&lock, parts), SKEP_LOCK_DIED);
		skep_unlock(&lock);
	}
}

static void *hold(void *arg)
{
	struct skep_parts *parts = ((void **)arg)[0];
	struct skep_lock *lock = ((void **)arg)[1];
	_Atomic int *step = ((void **)arg)[2];

	assert_int_equal(skep_lock(lock, parts), 0);
	*step = 1;
	while (*step != 2)
		usleep(1000);
	skep_unlock(lock);
	return NULL;
}

/* A live owner that does not let go: within the limit, and nothing is taken. */
static void test_timeout(void **state)
{
	struct skep_parts *parts = *state;
	struct skep_lock lock = {0};
	_Atomic int step = 0;
	void *args[] = {parts, &lock, &step};
	uint64_t t, owner;
	pthread_t th;

	pthread_create(&th, NULL, hold, args);
	while (!step)
		usleep(100);
	owner = lock.owner;
	t = skep_clock_mono();
	assert_int_equal(skep_lock(&lock, parts), -ETIMEDOUT);
	t = skep_clock_mono() - t;
	assert_true(t > 500000000 && t < 5000000000);
	assert_true(lock.owner == owner);
	step = 2;
	pthread_join(th, NULL);
	assert_int_equal(skep_lock(&lock, parts), 0);
	skep_unlock(&lock);
}

/* An identity without a lock byte (none was to be had) whose thread is gone. */
static void test_unregistered(void **state)
{
	struct skep_parts *parts = *state;
	uint64_t self = skep_self(parts), who;
	pid_t pid = fork();

	if (!pid)
		_exit(0);
	reap(pid);
	who = (1ull << 63) | (self & (1023ull << 22)) | (5ull << 32);
	assert_false(skep_alive(parts, who | (uint64_t)pid));
	assert_true(skep_alive(parts, who | (uint64_t)getppid()));
	/* Of another pid namespace nothing can be said. */
	who ^= 1ull << 22;
	assert_true(skep_alive(parts, who | (uint64_t)pid));
}

/* ---- A signal that comes while the lock is held ---- */

static struct skep_parts *sig_parts;
static struct skep_lock *sig_lock;
static volatile int sig_result, sig_count[2];

static void on_signal(int sig)
{
	int r = skep_lock(sig_lock, sig_parts);

	sig_result = r;
	if (r == 0)
		skep_unlock(sig_lock);
	sig_count[r == 0 ? 0 : r == -EBUSY ? 1 : 0]++;
	if (r != 0 && r != -EBUSY)
		_exit(9);
}

static void test_signal(void **state)
{
	struct skep_lock lock = {0};
	struct sigaction sa = {.sa_handler = on_signal}, old;
	struct itimerval it = {{0, 300}, {0, 300}}, off = {0};
	uint64_t end;

	sig_parts = *state;
	sig_lock = &lock;
	sigaction(SIGALRM, &sa, &old);
	assert_int_equal(skep_lock(&lock, sig_parts), 0);
	raise(SIGALRM);
	assert_int_equal(sig_result, -EBUSY);
	skep_unlock(&lock);
	raise(SIGALRM);
	assert_int_equal(sig_result, 0);

	/* At any instruction: never stuck, never two owners. */
	sig_count[0] = sig_count[1] = 0;
	setitimer(ITIMER_REAL, &it, NULL);
	end = skep_clock_mono() + 500000000;
	while (skep_clock_mono() < end)
		for (int i = 0; i < 1000; i++) {
			assert_int_equal(skep_lock(&lock, sig_parts), 0);
			skep_unlock(&lock);
		}
	setitimer(ITIMER_REAL, &off, NULL);
	sigaction(SIGALRM, &old, NULL);
	assert_int_equal(lock.owner, 0);
	print_message("signals: %d found it free, %d busy\n", sig_count[0], sig_count[1]);
}

/* ---- Threads ---- */

enum { THREADS = 16 };
static uint64_t plain;

static void *count(void *arg)
{
	struct skep_parts *parts = ((void **)arg)[0];
	struct skep_lock *lock = ((void **)arg)[1];

	for (int i = 0; i < 20000; i++) {
		int r = skep_lock(lock, parts);

		assert_int_equal(r, 0);
		plain++; /* a data race, were it not for the lock */
		skep_unlock(lock);
	}
	return NULL;
}

static void test_threads(void **state)
{
	struct skep_lock lock = {0};
	void *args[] = {*state, &lock};
	pthread_t t[THREADS];

	plain = 0;
	for (int i = 0; i < THREADS; i++)
		pthread_create(&t[i], NULL, count, args);
	for (int i = 0; i < THREADS; i++)
		pthread_join(t[i], NULL);
	assert_int_equal(plain, THREADS * 20000);
}

/* ---- Killing ---- */

static uint64_t rnd_state = 88172645463325252u;

static uint32_t rnd(uint32_t n)
{
	rnd_state ^= rnd_state << 13;
	rnd_state ^= rnd_state >> 7;
	rnd_state ^= rnd_state << 17;
	return (uint32_t)(rnd_state >> 32) % n;
}

static void slowly(volatile uint64_t *word)
{
	uint64_t v = *word;

	for (int i = 0; i < 20; i++)
		__asm__ volatile("" ::: "memory");
	*word = v + 1;
}

static void worker(struct shared *s, struct skep_parts *parts)
{
	for (;;) {
		int r = skep_lock(&s->lock, parts);

		if (r != 0 && r != SKEP_LOCK_DIED)
			_exit(10 - r);
		if (r == SKEP_LOCK_DIED) {
			s->died++;
			/* The repair: the update that was under way is undone or done. */
			if (s->a != s->b && s->a != s->b + 1)
				_exit(2);
			s->b = s->a;
		} else if (s->a != s->b) {
			_exit(3); /* a death that nobody was told of */
		}
		slowly(&s->a);
		slowly(&s->b);
		skep_unlock(&s->lock);
	}
}

static void test_kill(void **state)
{
	struct skep_parts *parts = *state;
	struct shared *s = share();
	unsigned long kills = scaled(500), i;
	pid_t pids[3];
	int k, st;

	for (k = 0; k < 3; k++) {
		pids[k] = fork();
		if (!pids[k])
			worker(s, parts);
	}
	for (i = 0; i < kills; i++) {
		nanosleep(&(struct timespec){0, 200000 + rnd(1500000)}, NULL);
		k = (int)rnd(3);
		kill(pids[k], SIGKILL);
		assert_int_equal(waitpid(pids[k], &st, 0), pids[k]);
		if (!WIFSIGNALED(st))
			fail_msg("kill %lu: worker ended by itself with %d", i, WEXITSTATUS(st));
		pids[k] = fork();
		if (!pids[k])
			worker(s, parts);
	}
	for (k = 0; k < 3; k++) {
		kill(pids[k], SIGKILL);
		waitpid(pids[k], &st, 0);
		assert_true(WIFSIGNALED(st));
	}
	/* And the survivor gets it, whoever had it. */
	st = skep_lock(&s->lock, parts);
	assert_true(st == 0 || st == SKEP_LOCK_DIED);
	skep_unlock(&s->lock);
	print_message("%lu kills, %lu of them with the lock held, %lu updates\n", kills,
		      (unsigned long)s->died, (unsigned long)s->a);
	print_message("ran: kill-lock %lu\n", kills);
	assert_true(s->died > 0 && s->a > 0);
	unshare_mem(s);
}

/* exec while holding: as good as dead, though the process lives. */
static void test_exec_holding(void **state)
{
	struct skep_parts *parts = *state;
	struct shared *s = share();
	int ready[2];
	pid_t pid;
	char c;

	assert_int_equal(pipe(ready), 0);
	pid = fork();
	if (!pid) {
		if (skep_lock(&s->lock, parts))
			_exit(1);
		dup2(ready[1], STDOUT_FILENO);
		execlp("sh", "sh", "-c", "echo x; exec sleep 100", (char *)NULL);
		_exit(127);
	}
	assert_int_equal(read(ready[0], &c, 1), 1);
	assert_int_equal(kill(pid, 0), 0);
	assert_int_equal(skep_lock(&s->lock, parts), SKEP_LOCK_DIED);
	skep_unlock(&s->lock);
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
	close(ready[0]);
	close(ready[1]);
	unshare_mem(s);
}

/* fork while holding: the parent's lock stays the parent's. */
static void test_fork_holding(void **state)
{
	struct skep_parts *parts = *state;
	struct shared *s = share();
	pid_t pid;

	assert_int_equal(skep_lock(&s->lock, parts), 0);
	pid = fork();
	if (!pid) {
		if (s->lock.owner == skep_self(parts))
			_exit(1);
		_exit(skep_lock(&s->lock, parts) == -ETIMEDOUT ? 0 : 2);
	}
	reap(pid);
	assert_int_equal(skep_lock(&s->lock, parts), -EBUSY);
	skep_unlock(&s->lock);
	unshare_mem(s);
}

static void test_cost(void **state)
{
	struct skep_parts *parts = *state;
	struct skep_lock lock = {0};
	uint64_t best = UINT64_MAX;

	for (int r = 0; r < 10; r++) {
		uint64_t t = skep_clock_mono();

		for (int i = 0; i < 100000; i++) {
			skep_lock(&lock, parts);
			skep_unlock(&lock);
		}
		t = skep_clock_mono() - t;
		best = t < best ? t : best;
	}
	print_message("lock and unlock: %.1f ns\n", (double)best / 100000);
	if (!SANITIZED)
		assert_true(best / 100000 < 100);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, open_parts, close_parts)
	const struct CMUnitTest tests[] = {
		T(test_identity),     T(test_ends),         T(test_descriptors_closed),
		T(test_basic),        T(test_timeout),      T(test_unregistered),
		T(test_signal),       T(test_threads),      T(test_kill),
		T(test_exec_holding), T(test_fork_holding), T(test_cost),
	};

	return cmocka_run_group_tests_name("lock", tests, NULL, NULL);
}
