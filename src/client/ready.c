// SPDX-License-Identifier: Apache-2.0
/*
 * Ring buffers and perf readers of this process's instances in libc calls: waiting for them
 * (standin.c does it), and perf readers as perf_event_open, ioctl and mmap make them.
 */
#include "client/ready.h"

#include <errno.h>
#include <linux/perf_event.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <time.h>

#include "client/libbpf.h"
#include "client/standin.h"
#include "map/map.h"

int __real_epoll_ctl(int epfd, int op, int fd, struct epoll_event *ev);
int __wrap_epoll_ctl(int epfd, int op, int fd, struct epoll_event *ev);
int __wrap_epoll_wait(int epfd, struct epoll_event *ev, int max, int ms);
int __real_close(int fd);
int __wrap_close(int fd);
int __real_ioctl(int fd, unsigned long req, ...);
int __wrap_ioctl(int fd, unsigned long req, ...);
long __real_syscall(long nr, ...);

/* ---- For standin.c ---- */

static bool readable(const struct skep_source *src)
{
	struct skep_ready r = {.obj = src->own[0]};

	return skep_ready_now(&r);
}

static void release(struct skep_source *src)
{
	struct skep_ready r = {.obj = src->own[0]};

	skep_ready_close(&r);
}

int skep_source_open(int fd, struct skep_source *src)
{
	struct skep *skep = skep_client_current();
	struct skep_ready r;
	int err = skep ? skep_ready_open(skep, fd, &r) : -EPERM;

	if (!err)
		*src = (struct skep_source){r.seq, r.armed, readable, release, {r.obj}};
	return err;
}

int skep_real_epoll_ctl(int epfd, int op, int fd, struct epoll_event *ev)
{
	return __real_epoll_ctl(epfd, op, fd, ev);
}

int skep_real_epoll_pwait(int epfd, struct epoll_event *ev, int max, int ms, const sigset_t *mask)
{
	return epoll_pwait(epfd, ev, max, ms, mask);
}

int skep_real_close(int fd)
{
	return __real_close(fd);
}

long skep_real_futex(void *word, int op, uint32_t val)
{
	return __real_syscall(__NR_futex, word, op, val, (void *)NULL, (void *)NULL, 0);
}

long skep_real_futex_waitv(const struct futex_waitv *words, unsigned n, const struct timespec *at)
{
	return __real_syscall(__NR_futex_waitv, words, n, 0, at, CLOCK_MONOTONIC);
}

/* ---- The wrapped calls ---- */

int __wrap_epoll_ctl(int epfd, int op, int fd, struct epoll_event *ev)
{
	return skep_standin_epoll_ctl(epfd, op, fd, ev);
}

int __wrap_epoll_wait(int epfd, struct epoll_event *ev, int max, int ms)
{
	return skep_standin_epoll_pwait(epfd, ev, max, ms, NULL);
}

int __wrap_close(int fd)
{
	if (fd >= 0)
		skep_standin_closing((unsigned)fd, (unsigned)fd);
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
