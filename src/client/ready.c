// SPDX-License-Identifier: Apache-2.0
/*
 * A handle is a memfd, which epoll refuses. So an eventfd is entered in its place, with
 * the same events, and one thread sleeps on the words that producers change
 * (in any process) and writes to the eventfds. epoll is level-triggered: before a wait
 * each eventfd of the set is made to say whether there is something to read now.
 *
 * The table belongs to the process, like the libc calls that it serves: a wait says
 * nothing but the epoll descriptor. Entries go when either descriptor is closed or
 * taken out of the set; the thread goes with the last.
 */
#include "client/ready.h"

#include <errno.h>
#include <limits.h>
#include <linux/futex.h>
#include <linux/perf_event.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "client/libbpf.h"
#include "map/map.h"

int __real_epoll_ctl(int epfd, int op, int fd, struct epoll_event *ev);
int __wrap_epoll_ctl(int epfd, int op, int fd, struct epoll_event *ev);
int __real_epoll_wait(int epfd, struct epoll_event *ev, int max, int ms);
int __wrap_epoll_wait(int epfd, struct epoll_event *ev, int max, int ms);
int __real_close(int fd);
int __wrap_close(int fd);
int __real_ioctl(int fd, unsigned long req, ...);
int __wrap_ioctl(int fd, unsigned long req, ...);
long __real_syscall(long nr, ...);

/* One handle in one epoll set. */
struct stand_in {
	int epfd, fd, event;
	uint32_t seen; /* value of *ready.seq that the thread knows */
	epoll_data_t data; /* the caller's; the kernel's set holds our address */
	struct skep_ready ready;
	struct stand_in *next;
};

#define MAX_STAND_INS 127 /* futex_waitv takes 128 words; one is ours */

static struct {
	pthread_mutex_t lock;
	struct stand_in *list;
	_Atomic uint32_t n;
	_Atomic uint32_t changed; /* the list; the thread sleeps on it too */
	bool running;
	pid_t pid; /* a fork has no thread */
} table = {.lock = PTHREAD_MUTEX_INITIALIZER};

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
	if (__real_syscall(__NR_futex_waitv, words, n, 0, &at, CLOCK_MONOTONIC) < 0 &&
	    errno == ENOSYS) {
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
			uint32_t seq = __atomic_load_n(s->ready.seq, __ATOMIC_SEQ_CST);

			if (seq != s->seen)
				notify(s);
			s->seen = seq;
			words[n++] = (struct futex_waitv){
				.val = seq, .uaddr = (uintptr_t)s->ready.seq, .flags = FUTEX_32};
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
	__real_syscall(__NR_futex, &table.changed, FUTEX_WAKE, INT_MAX, (void *)NULL, (void *)NULL,
		       0);
}

static int start_watching(void)
{
	sigset_t all, old;
	pthread_t t;
	int err;

	if (table.running && table.pid == getpid())
		return 0;
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &old);
	err = pthread_create(&t, NULL, watch, NULL);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	if (err)
		return -err;
	pthread_detach(t);
	table.running = true;
	table.pid = getpid();
	return 0;
}

/* Under the lock: takes out the entries of a set, of a handle, or of a handle in a set. */
static int remove_entries(int epfd, int fd)
{
	struct stand_in **at = &table.list, *s;
	int n = 0;

	while ((s = *at)) {
		if ((epfd >= 0 && s->epfd != epfd) || (fd >= 0 && s->fd != fd)) {
			at = &s->next;
			continue;
		}
		*at = s->next;
		atomic_fetch_sub(s->ready.armed, 1);
		skep_ready_close(&s->ready);
		__real_close(s->event);
		free(s);
		atomic_fetch_sub(&table.n, 1);
		n++;
	}
	if (n)
		list_changed();
	return n;
}

static struct stand_in *find(int epfd, int fd)
{
	for (struct stand_in *s = table.list; s; s = s->next)
		if (s->epfd == epfd && s->fd == fd)
			return s;
	return NULL;
}

/* epoll_ctl for an eventfd, with our own data. */
static int control(struct stand_in *s, int op, const struct epoll_event *ev)
{
	struct epoll_event own = {0};

	if (ev) {
		own.events = ev->events;
		own.data.ptr = s;
	}
	if (__real_epoll_ctl(s->epfd, op, s->event, ev ? &own : NULL))
		return -errno;
	if (ev)
		s->data = ev->data;
	return 0;
}

static int add_entry(struct skep *skep, int epfd, int fd, struct epoll_event *ev)
{
	struct stand_in *s = calloc(1, sizeof(*s));
	int err;

	if (!s)
		return -ENOMEM;
	s->epfd = epfd;
	s->fd = fd;
	s->event = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	if (s->event < 0) {
		err = -errno;
		goto fail;
	}
	err = skep_ready_open(skep, fd, &s->ready);
	if (err)
		goto fail_event;
	pthread_mutex_lock(&table.lock);
	if (find(epfd, fd))
		err = -EEXIST;
	else if (atomic_load(&table.n) >= MAX_STAND_INS)
		err = -ENOSPC;
	else
		err = control(s, EPOLL_CTL_ADD, ev);
	if (!err)
		err = start_watching();
	if (err) {
		pthread_mutex_unlock(&table.lock);
		skep_ready_close(&s->ready);
		goto fail_event;
	}
	s->seen = __atomic_load_n(s->ready.seq, __ATOMIC_SEQ_CST);
	atomic_fetch_add(s->ready.armed, 1);
	s->next = table.list;
	table.list = s;
	atomic_fetch_add(&table.n, 1);
	list_changed();
	pthread_mutex_unlock(&table.lock);
	return 0;
fail_event:
	__real_close(s->event);
fail:
	free(s);
	return err;
}

int __wrap_epoll_ctl(int epfd, int op, int fd, struct epoll_event *ev)
{
	struct skep *skep = skep_client_current();
	struct stand_in *s;
	int r;

	if (op == EPOLL_CTL_ADD && skep) {
		r = add_entry(skep, epfd, fd, ev);
		if (r == -EPERM) /* not one of ours */
			return __real_epoll_ctl(epfd, op, fd, ev);
		if (!r)
			return 0;
		errno = -r;
		return -1;
	}
	if (op != EPOLL_CTL_ADD && atomic_load(&table.n)) {
		pthread_mutex_lock(&table.lock);
		s = find(epfd, fd);
		if (s) {
			r = control(s, op, ev);
			if (op == EPOLL_CTL_DEL)
				remove_entries(epfd, fd);
			pthread_mutex_unlock(&table.lock);
			errno = -r;
			return r ? -1 : 0;
		}
		pthread_mutex_unlock(&table.lock);
	}
	return __real_epoll_ctl(epfd, op, fd, ev);
}

/* Makes the eventfds of a set say what is. */
static void refresh(int epfd)
{
	uint64_t n;

	pthread_mutex_lock(&table.lock);
	for (struct stand_in *s = table.list; s; s = s->next) {
		if (s->epfd != epfd)
			continue;
		/* Emptied before the look, so that what comes after it is told. */
		if (read(s->event, &n, sizeof(n)) < 0 && errno != EAGAIN)
			continue;
		if (skep_ready_now(&s->ready))
			notify(s);
	}
	pthread_mutex_unlock(&table.lock);
}

/* Gives events their callers' data, without those that are over. Returns their number. */
static int translate(int epfd, struct epoll_event *ev, int n)
{
	int kept = 0;

	pthread_mutex_lock(&table.lock);
	for (int i = 0; i < n; i++) {
		struct stand_in *s = table.list;

		while (s && (s->epfd != epfd || (void *)s != ev[i].data.ptr))
			s = s->next;
		if (s && !skep_ready_now(&s->ready))
			continue;
		ev[kept] = ev[i];
		if (s)
			ev[kept].data = s->data;
		kept++;
	}
	pthread_mutex_unlock(&table.lock);
	return kept;
}

static int64_t now_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

int __wrap_epoll_wait(int epfd, struct epoll_event *ev, int max, int ms)
{
	int64_t end, left = ms;
	int n, kept;

	if (!atomic_load(&table.n))
		return __real_epoll_wait(epfd, ev, max, ms);
	end = now_ms() + ms;
	for (;;) {
		refresh(epfd);
		n = __real_epoll_wait(epfd, ev, max, (int)left);
		if (n <= 0)
			return n;
		kept = translate(epfd, ev, n);
		left = ms < 0 ? ms : end - now_ms();
		if (kept || (ms >= 0 && left <= 0))
			return kept;
	}
}

int __wrap_close(int fd)
{
	if (fd >= 0 && atomic_load(&table.n)) {
		pthread_mutex_lock(&table.lock);
		remove_entries(fd, -1);
		remove_entries(-1, fd);
		pthread_mutex_unlock(&table.lock);
	}
	return __real_close(fd);
}

/* ---- Perf readers ---- */

int skep_client_perf_open(struct skep *skep, const struct perf_event_attr *attr, int pid, int cpu,
			  int group, unsigned long flags)
{
	struct skep_perf_opts opts = {
		.cpu = cpu,
		.sample_type = attr->sample_type,
		.wakeup_events = attr->wakeup_events,
		.disabled = attr->disabled,
	};

	/* Other events are those of a machine, which an instance is not. */
	if (attr->type != PERF_TYPE_SOFTWARE || attr->config != PERF_COUNT_SW_BPF_OUTPUT)
		return -EOPNOTSUPP;
	if ((pid == -1 && cpu == -1) || group != -1 ||
	    flags & ~(unsigned long)PERF_FLAG_FD_CLOEXEC || attr->watermark)
		return -EINVAL;
	return skep_perf_open(skep, &opts);
}

int skep_client_perf_mmap(struct skep *skep, int fd, size_t len)
{
	struct skep_object *obj;

	if (skep_object_get(skep, fd, SKEP_KIND_PERF, &obj))
		return 0;
	skep_object_put(obj);
	return skep_perf_map(skep, fd, len);
}

int __wrap_ioctl(int fd, unsigned long req, ...)
{
	struct skep *skep = skep_client_current();
	va_list ap;
	void *arg;
	int r;

	va_start(ap, req);
	arg = va_arg(ap, void *);
	va_end(ap);
	if (skep && (req == PERF_EVENT_IOC_ENABLE || req == PERF_EVENT_IOC_DISABLE)) {
		r = skep_perf_enable(skep, fd, req == PERF_EVENT_IOC_ENABLE);
		if (!r)
			return 0;
	}
	return __real_ioctl(fd, req, arg);
}
