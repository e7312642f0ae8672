// SPDX-License-Identifier: Apache-2.0
/*
 * An eventfd is entered in a handle's place, with the same events, and one thread sleeps
 * on the words that producers change (in any process) and writes to the eventfds. epoll
 * is level-triggered: before a wait each eventfd of the set is made to say whether there
 * is something to read now.
 *
 * The table belongs to the process, like the libc calls that it serves: a wait says
 * nothing but the epoll descriptor. Entries go when either descriptor is closed or
 * taken out of the set; the thread goes with the last. A forked child has the entries
 * and starts a thread of its own when it waits; a child of vfork, which has its parent's
 * memory but not its descriptors, changes nothing.
 */
#include "client/standin.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/futex.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

/* One handle in one epoll set. */
struct stand_in {
	int epfd; /* -1: in none, for poll and select */
	int fd, event;
	dev_t dev; /* of fd, whose number may come to mean another file */
	ino_t ino;
	uint32_t seen; /* value of *src.seq that the thread knows */
	uint32_t events;
	epoll_data_t data; /* the caller's; the kernel's set holds our address */
	struct skep_source src;
	struct stand_in *next;
};

#define READABLE      (EPOLLIN | EPOLLRDNORM)
#define MAX_STAND_INS 127 /* futex_waitv takes 128 words; one is ours */

static struct {
	pthread_mutex_t lock;
	struct stand_in *list;
	_Atomic uint32_t n;
	_Atomic uint32_t changed; /* the list; the thread sleeps on it too */
	bool running, hooked;
	pid_t pid; /* whose descriptors the list speaks of */
	sigset_t forking; /* the mask before fork() */
} table = {.lock = PTHREAD_MUTEX_INITIALIZER};

/* close() may be called by signal handlers, which must not find the lock held. */
static sigset_t enter(void)
{
	sigset_t all, old;

	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &old);
	pthread_mutex_lock(&table.lock);
	return old;
}

static void leave(const sigset_t *old)
{
	pthread_mutex_unlock(&table.lock);
	pthread_sigmask(SIG_SETMASK, old, NULL);
}

/* Whether there are entries, and they are this process's. */
static bool in_use(void)
{
	return atomic_load(&table.n) && table.pid == getpid();
}

bool skep_standin_any(void)
{
	return in_use();
}

/* ---- The thread ---- */

static void notify(const struct stand_in *s)
{
	uint64_t one = 1;

	/* Full or interrupted: it is readable, which is all that matters. */
	if (write(s->event, &one, sizeof(one)) < 0)
		return;
}

static void wait_for(const struct futex_waitv *words, unsigned n)
{
	/* A look now and then costs little, and a missed wakeup is no hang. */
	struct timespec at;

	clock_gettime(CLOCK_MONOTONIC, &at);
	at.tv_sec++;
	if (skep_real_futex_waitv(words, n, &at) < 0 && errno == ENOSYS) {
		/* Before Linux 5.16. */
		at = (struct timespec){.tv_nsec = 1000000};
		nanosleep(&at, NULL);
	}
}

static void *watch(void *arg)
{
	struct futex_waitv words[MAX_STAND_INS + 1];

	for (;;) {
		unsigned n = 1;

		pthread_mutex_lock(&table.lock);
		if (!table.list) {
			table.running = false;
			pthread_mutex_unlock(&table.lock);
			return NULL;
		}
		words[0] = (struct futex_waitv){.val = atomic_load(&table.changed),
						.uaddr = (uintptr_t)&table.changed,
						.flags = FUTEX_32};
		for (struct stand_in *s = table.list; s; s = s->next) {
			uint32_t seq;

			if (!s->src.seq)
				continue;
			seq = __atomic_load_n(s->src.seq, __ATOMIC_SEQ_CST);
			if (seq != s->seen)
				notify(s);
			s->seen = seq;
			words[n++] = (struct futex_waitv){
				.val = seq, .uaddr = (uintptr_t)s->src.seq, .flags = FUTEX_32};
		}
		pthread_mutex_unlock(&table.lock);
		/* Memory of an entry that goes now is unmapped: the wait answers EFAULT. */
		wait_for(words, n);
	}
}

/* Under the lock. */
static void list_changed(void)
{
	atomic_fetch_add(&table.changed, 1);
	skep_real_futex(&table.changed, FUTEX_WAKE, INT_MAX);
}

static void before_fork(void)
{
	table.forking = enter();
}

static void after_fork(void)
{
	sigset_t old = table.forking;

	leave(&old);
}

static void in_child(void)
{
	table.running = false;
	table.pid = getpid();
	for (struct stand_in *s = table.list; s; s = s->next)
		if (s->src.seq)
			atomic_fetch_add(s->src.armed, 1);
	after_fork();
}

/* Under the lock, with signals blocked (so they are in the thread). */
static int start_watching(void)
{
	pthread_t t;
	int err;

	if (table.running)
		return 0;
	if (!table.hooked) {
		err = pthread_atfork(before_fork, after_fork, in_child);
		if (err)
			return -err;
		table.hooked = true;
	}
	err = pthread_create(&t, NULL, watch, NULL);
	if (err)
		return -err;
	pthread_detach(t);
	table.running = true;
	return 0;
}

/* ---- The table, under the lock ---- */

static void release(struct stand_in *s)
{
	if (s->src.seq)
		s->src.release(&s->src);
	skep_real_close(s->event);
	free(s);
}

static bool within(int fd, unsigned first, unsigned last)
{
	return fd >= 0 && (unsigned)fd >= first && (unsigned)fd <= last;
}

/* Takes out a handle's entry in a set, or all entries that touch one of the descriptors. */
static void remove_entries(const struct stand_in *one, unsigned first, unsigned last)
{
	struct stand_in **at = &table.list, *s;
	int n = 0;

	while ((s = *at)) {
		if (one ? s != one
			: !within(s->fd, first, last) && !within(s->epfd, first, last) &&
				    !within(s->event, first, last)) {
			at = &s->next;
			continue;
		}
		*at = s->next;
		if (s->src.seq)
			atomic_fetch_sub(s->src.armed, 1);
		release(s);
		atomic_fetch_sub(&table.n, 1);
		n++;
	}
	if (n)
		list_changed();
}

/* The entry, if fd is still the file that it was. */
static struct stand_in *find(int epfd, int fd)
{
	struct stand_in *s = table.list;
	struct stat st;

	while (s && (s->epfd != epfd || s->fd != fd))
		s = s->next;
	if (!s || (!fstat(fd, &st) && st.st_dev == s->dev && st.st_ino == s->ino))
		return s;
	remove_entries(NULL, (unsigned)fd, (unsigned)fd);
	return NULL;
}

/* epoll_ctl for an eventfd, with our own data. */
static int control(struct stand_in *s, int op, const struct epoll_event *ev)
{
	struct epoll_event own = {0};

	/* An eventfd knows one kind of readable, and is writable, which handles are not. */
	if (ev) {
		own.events = ev->events & ~(uint32_t)(READABLE | EPOLLOUT | EPOLLWRNORM);
		own.events |= ev->events & READABLE ? EPOLLIN : 0;
		own.data.ptr = s;
	}
	if (skep_real_epoll_ctl(s->epfd, op, s->event, ev ? &own : NULL))
		return -errno;
	if (ev) {
		s->data = ev->data;
		s->events = ev->events;
	}
	return 0;
}

/* Makes an eventfd say what is. */
static void refresh(const struct stand_in *s)
{
	uint64_t n;

	/* What was told of an edge is told once: by the thread. */
	if (!s->src.seq || (s->events & EPOLLET && s->src.readable(&s->src)))
		return;
	/* Emptied before the look, so that what comes after it is told. */
	if (read(s->event, &n, sizeof(n)) < 0 && errno != EAGAIN)
		return;
	if (s->src.readable(&s->src))
		notify(s);
}

/* Clients see the numbers that they expect. */
static int out_of_the_way(int fd)
{
	int up = fd < 0 ? fd : fcntl(fd, F_DUPFD_CLOEXEC, 512);

	if (up < 0)
		return fd;
	skep_real_close(fd);
	return up;
}

/* A descriptor that is in error: a pipe that nobody reads. */
static int broken(void)
{
	int fds[2];

	if (pipe2(fds, O_CLOEXEC | O_NONBLOCK))
		return -1;
	skep_real_close(fds[0]);
	return fds[1];
}

static int add_entry(int epfd, int fd, const struct epoll_event *ev, struct stand_in **out)
{
	struct stand_in *s;
	struct stat st;
	int err;

	if (atomic_load(&table.n) >= MAX_STAND_INS)
		return -ENOSPC;
	if (fstat(fd, &st))
		return -errno;
	s = calloc(1, sizeof(*s));
	if (!s)
		return -ENOMEM;
	s->epfd = epfd;
	s->fd = fd;
	s->dev = st.st_dev;
	s->ino = st.st_ino;
	err = skep_source_open(fd, &s->src);
	if (err) {
		free(s);
		return err;
	}
	s->event = out_of_the_way(s->src.seq ? eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC) : broken());
	err = s->event < 0 ? -errno : 0;
	if (!err && epfd >= 0)
		err = control(s, EPOLL_CTL_ADD, ev);
	if (!err)
		err = start_watching();
	if (err) {
		release(s);
		return err;
	}
	if (s->src.seq) {
		s->seen = __atomic_load_n(s->src.seq, __ATOMIC_SEQ_CST);
		atomic_fetch_add(s->src.armed, 1);
		if (s->src.readable(&s->src))
			notify(s);
	}
	s->next = table.list;
	table.list = s;
	table.pid = getpid();
	atomic_fetch_add(&table.n, 1);
	list_changed();
	*out = s;
	return 0;
}

/* ---- The calls ---- */

static int epoll_ctl_standin(int epfd, int op, int fd, const struct epoll_event *ev)
{
	struct stand_in *s = find(epfd, fd);
	struct skep_source src;
	int r;

	if (op == EPOLL_CTL_ADD)
		return s ? -EEXIST : add_entry(epfd, fd, ev, &s);
	if (!s) {
		r = skep_source_open(fd, &src);
		if (r)
			return r;
		if (src.seq)
			src.release(&src);
		return -ENOENT;
	}
	r = control(s, op, ev);
	if (!r && op == EPOLL_CTL_DEL)
		remove_entries(s, 0, 0);
	return r;
}

int skep_standin_epoll_ctl(int epfd, int op, int fd, struct epoll_event *ev)
{
	int r = skep_real_epoll_ctl(epfd, op, fd, ev);
	sigset_t old;

	/* Whatever the operation, this is what it says of a file that can't be polled. */
	if (!r || errno != EPERM)
		return r;
	old = enter();
	r = epoll_ctl_standin(epfd, op, fd, ev);
	leave(&old);
	if (!r)
		return 0;
	errno = -r;
	return -1;
}

void skep_standin_refresh(int epfd)
{
	sigset_t old;

	if (!in_use())
		return;
	old = enter();
	start_watching(); /* a child's; without it a wait with a time limit still ends */
	for (struct stand_in *s = table.list; s; s = s->next)
		if (s->epfd == epfd)
			refresh(s);
	leave(&old);
}

/* Gives events their callers' data, without those that are over. Returns their number. */
static int translate(int epfd, struct epoll_event *ev, int n)
{
	sigset_t old = enter();
	int kept = 0;

	for (int i = 0; i < n; i++) {
		struct stand_in *s = table.list;

		while (s && (s->epfd != epfd || (void *)s != ev[i].data.ptr))
			s = s->next;
		ev[kept] = ev[i];
		if (s) {
			struct epoll_event again = {s->events, s->data};

			ev[kept].data = s->data;
			ev[kept].events = s->src.seq ? s->events & READABLE : EPOLLERR;
			if (s->src.seq && !s->src.readable(&s->src)) {
				if (s->events & EPOLLONESHOT)
					control(s, EPOLL_CTL_MOD, &again);
				continue;
			}
		}
		kept++;
	}
	leave(&old);
	return kept;
}

static int64_t now_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

int skep_standin_epoll_pwait(int epfd, struct epoll_event *ev, int max, int ms,
			     const sigset_t *mask)
{
	int64_t end, left = ms;
	int n, kept;

	if (!in_use())
		return skep_real_epoll_pwait(epfd, ev, max, ms, mask);
	end = now_ms() + ms;
	for (;;) {
		skep_standin_refresh(epfd);
		n = skep_real_epoll_pwait(epfd, ev, max, (int)left, mask);
		if (n <= 0)
			return n;
		kept = translate(epfd, ev, n);
		left = ms < 0 ? ms : end - now_ms();
		if (kept || (ms >= 0 && left <= 0))
			return kept;
	}
}

void skep_standin_closing(unsigned first, unsigned last)
{
	int code = errno;
	sigset_t old;

	if (!in_use())
		return;
	old = enter();
	remove_entries(NULL, first, last);
	leave(&old);
	errno = code;
}

int skep_standin_event(int fd)
{
	sigset_t old = enter();
	struct stand_in *s = find(-1, fd);
	int err = s ? start_watching() : add_entry(-1, fd, NULL, &s);

	if (!err && s) {
		refresh(s);
		err = s->event;
	}
	leave(&old);
	return err;
}
