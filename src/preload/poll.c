/* SPDX-License-Identifier: Apache-2.0 */
/*
 * poll and select. A handle is a regular file, which the kernel finds ready at once, always:
 * so libc's call comes first, and only if it tells of such a file is there anything to do.
 * Then the call is done again with eventfds in the handles' places.
 */
#include <errno.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "client/standin.h"
#include "next.h"

#define IN_EVENTS (POLLIN | POLLRDNORM)
#define ON_STACK  64

static int64_t now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

/* When a wait ends: INT64_MAX, never. Asked after libc's call, which had a handle to find and so
 * did not wait: who has none does not pay for a clock. */
static int64_t end_of(const struct timespec *limit)
{
	if (!limit || limit->tv_sec > INT64_MAX / 1000000000 / 4)
		return INT64_MAX;
	return now_ns() + (int64_t)limit->tv_sec * 1000000000 + limit->tv_nsec;
}

/* What is left of it, or NULL: for ever. */
static struct timespec *left_of(int64_t end, struct timespec *t)
{
	int64_t left = end - now_ns();

	if (end == INT64_MAX)
		return NULL;
	left = left < 0 ? 0 : left;
	*t = (struct timespec){left / 1000000000, left % 1000000000};
	return t;
}

/* An epoll set may be among them, with eventfds that say what was. */
static void refresh_sets(const struct pollfd *fds, nfds_t n)
{
	if (skep_standin_any())
		for (nfds_t i = 0; i < n; i++)
			skep_standin_refresh(fds[i].fd);
}

static bool any_source(const struct pollfd *fds, nfds_t n)
{
	for (nfds_t i = 0; i < n; i++)
		if (fds[i].fd >= 0 && fds[i].revents && skep_may_be_source(fds[i].fd))
			return true;
	return false;
}

/* Moves the results of `with`, in which eventfds stand for handles. Returns their number. */
static int translate(struct pollfd *fds, const struct pollfd *with, nfds_t n)
{
	int ready = 0;

	for (nfds_t i = 0; i < n; i++) {
		fds[i].revents = with[i].revents;
		if (with[i].fd != fds[i].fd && with[i].revents & POLLIN)
			fds[i].revents = fds[i].events & IN_EVENTS;
		ready += fds[i].revents != 0;
	}
	return ready;
}

/* Eventfds in the handles' places, saying what is now. */
static int stand_in(const struct pollfd *fds, struct pollfd *with, nfds_t n)
{
	int found = 0;

	for (nfds_t i = 0; i < n; i++) {
		int event = fds[i].fd >= 0 && skep_may_be_source(fds[i].fd)
				    ? skep_standin_event(fds[i].fd)
				    : -1;

		with[i] = fds[i];
		if (event < 0)
			continue;
		with[i].fd = event;
		with[i].events = fds[i].events & IN_EVENTS ? POLLIN : 0;
		found++;
	}
	return found;
}

static int poll_with(struct pollfd *fds, struct pollfd *with, nfds_t n, int64_t end,
		     const sigset_t *mask, bool *none)
{
	struct timespec t;
	int r;

	for (;;) {
		*none = !stand_in(fds, with, n);
		if (*none)
			return 0;
		refresh_sets(fds, n);
		r = NEXT(ppoll)(with, n, left_of(end, &t), mask);
		if (r < 0)
			return r;
		/* An eventfd that was readable may have been so for what is read by now. */
		if (r > 0) {
			stand_in(fds, with, n);
			r = NEXT(ppoll)(with, n, &(struct timespec){0}, NULL);
			if (r < 0)
				return r;
		}
		r = translate(fds, with, n);
		if (r || now_ns() >= end)
			return r;
	}
}

static int poll_handles(struct pollfd *fds, nfds_t n, int64_t end, const sigset_t *mask,
			int as_it_is)
{
	struct pollfd few[ON_STACK], *with = few;
	bool none;
	int r;

	if (n > ON_STACK) {
		with = calloc(n, sizeof(*with));
		if (!with) {
			errno = ENOMEM;
			return -1;
		}
	}
	r = poll_with(fds, with, n, end, mask, &none);
	if (with != few)
		free(with);
	return none ? as_it_is : r;
}

EXPORT int ppoll(struct pollfd *fds, nfds_t n, const struct timespec *limit, const sigset_t *mask)
{
	int r;

	refresh_sets(fds, n);
	r = NEXT(ppoll)(fds, n, limit, mask);
	return r > 0 && any_source(fds, n) ? poll_handles(fds, n, end_of(limit), mask, r) : r;
}

EXPORT int poll(struct pollfd *fds, nfds_t n, int ms)
{
	struct timespec limit = {ms / 1000, ms % 1000 * 1000000L};
	int r;

	refresh_sets(fds, n);
	r = NEXT(poll)(fds, n, ms);
	if (r <= 0 || !any_source(fds, n))
		return r;
	return poll_handles(fds, n, end_of(ms < 0 ? NULL : &limit), NULL, r);
}

/* Their names in programs compiled with _FORTIFY_SOURCE. */
int __poll_chk(struct pollfd *fds, nfds_t n, int ms, size_t len);
int __ppoll_chk(struct pollfd *fds, nfds_t n, const struct timespec *limit, const sigset_t *mask,
		size_t len);

EXPORT int __poll_chk(struct pollfd *fds, nfds_t n, int ms, size_t len)
{
	if (len / sizeof(*fds) < n)
		abort();
	return poll(fds, n, ms);
}

EXPORT int __ppoll_chk(struct pollfd *fds, nfds_t n, const struct timespec *limit,
		       const sigset_t *mask, size_t len)
{
	if (len / sizeof(*fds) < n)
		abort();
	return ppoll(fds, n, limit, mask);
}

/* ---- select ---- */

struct sets {
	fd_set *given[3]; /* read, write, except */
	fd_set before[3];
};

static const short set_events[] = {POLLIN, POLLOUT, POLLPRI};

static void keep(struct sets *s, int n)
{
	size_t bytes = ((size_t)n + NFDBITS - 1) / NFDBITS * sizeof(fd_mask);

	for (int i = 0; i < 3; i++)
		if (s->given[i])
			memcpy(&s->before[i], s->given[i], bytes);
}

/* Of what select found, a handle. */
static bool found_source(const struct sets *s, int n)
{
	for (int fd = 0; fd < n; fd++)
		for (int i = 0; i < 3; i++)
			if (s->given[i] && FD_ISSET(fd, s->given[i])) {
				if (skep_may_be_source(fd))
					return true;
				break;
			}
	return false;
}

static int select_handles(struct sets *s, int n, int64_t end, const sigset_t *mask, int as_it_is)
{
	struct pollfd *fds = calloc(2 * (size_t)n, sizeof(*fds));
	nfds_t used = 0;
	bool none;
	int r;

	if (!fds) {
		errno = ENOMEM;
		return -1;
	}
	for (int fd = 0; fd < n; fd++) {
		fds[used] = (struct pollfd){.fd = fd};
		for (int i = 0; i < 3; i++)
			if (s->given[i] && FD_ISSET(fd, &s->before[i]))
				fds[used].events |= set_events[i];
		used += fds[used].events != 0;
	}
	r = poll_with(fds, fds + n, used, end, mask, &none);
	if (none || r < 0) {
		free(fds);
		return none ? as_it_is : r;
	}
	for (int i = 0; i < 3; i++)
		for (int fd = 0; s->given[i] && fd < n; fd++)
			FD_CLR(fd, s->given[i]);
	r = 0;
	for (nfds_t k = 0; k < used; k++)
		for (int i = 0; i < 3; i++) {
			/* As select counts ends and errors. */
			short more = i == 0 ? POLLHUP | POLLERR : i == 1 ? POLLERR : 0;

			if (fds[k].events & set_events[i] &&
			    fds[k].revents & (set_events[i] | more)) {
				FD_SET(fds[k].fd, s->given[i]);
				r++;
			}
		}
	free(fds);
	return r;
}

static void refresh_in(const struct sets *s, int n)
{
	if (skep_standin_any())
		for (int fd = 0; fd < n; fd++)
			if (s->given[0] && FD_ISSET(fd, s->given[0]))
				skep_standin_refresh(fd);
}

EXPORT int pselect(int n, fd_set *in, fd_set *out, fd_set *ex, const struct timespec *limit,
		   const sigset_t *mask)
{
	struct sets s = {.given = {in, out, ex}};
	int r;

	/* Larger sets than libc's are no sets of ours. */
	if (n < 0 || n > FD_SETSIZE)
		return NEXT(pselect)(n, in, out, ex, limit, mask);
	keep(&s, n);
	refresh_in(&s, n);
	r = NEXT(pselect)(n, in, out, ex, limit, mask);
	return r > 0 && found_source(&s, n) ? select_handles(&s, n, end_of(limit), mask, r) : r;
}

EXPORT int select(int n, fd_set *in, fd_set *out, fd_set *ex, struct timeval *limit)
{
	struct sets s = {.given = {in, out, ex}};
	struct timespec t = {0}, *left = NULL;
	int64_t end;
	int r;

	if (n < 0 || n > FD_SETSIZE)
		return NEXT(select)(n, in, out, ex, limit);
	if (limit)
		t = (struct timespec){limit->tv_sec, limit->tv_usec * 1000};
	keep(&s, n);
	refresh_in(&s, n);
	r = NEXT(select)(n, in, out, ex, limit);
	if (r <= 0 || !found_source(&s, n))
		return r;
	end = end_of(limit ? &t : NULL);
	r = select_handles(&s, n, end, NULL, r);
	/* Linux writes what is left. */
	left = limit ? left_of(end, &t) : NULL;
	if (left)
		*limit = (struct timeval){left->tv_sec, left->tv_nsec / 1000};
	return r;
}
