/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Handles in epoll, poll and select: a handle is a memfd, which epoll refuses and poll
 * finds always ready, so an eventfd stands in for it. This is the half that needs no
 * instance; our own command (ready.c) and the preloaded library (preload/) both use it and
 * say how libc itself is reached and where a handle's words are.
 */
#ifndef SKEP_CLIENT_STANDIN_H
#define SKEP_CLIENT_STANDIN_H

#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/epoll.h>

/* ---- Given by who uses it ---- */

/* What a handle's producers change and its consumer looks at. */
struct skep_source {
	/* A futex that producers change and wake. NULL: there is nothing to wait for, epoll and
	 * poll report an error; the rest is NULL then too. */
	const uint32_t *seq;
	_Atomic uint32_t *armed; /* plus 1 while somebody sleeps on seq */
	bool (*readable)(const struct skep_source *src);
	void (*release)(struct skep_source *src);
	void *own[2]; /* the user's */
};
/* -EPERM (epoll_ctl's for what can't be polled) if fd is no such handle. */
int skep_source_open(int fd, struct skep_source *src);

/* libc's own, results as libc gives them. */
int skep_real_epoll_ctl(int epfd, int op, int fd, struct epoll_event *ev);
int skep_real_epoll_pwait(int epfd, struct epoll_event *ev, int max, int ms, const sigset_t *mask);
int skep_real_close(int fd);
long skep_real_futex(void *word, int op, uint32_t val);
/* futex_waitv; an absolute time of CLOCK_MONOTONIC. */
struct futex_waitv;
struct timespec;
long skep_real_futex_waitv(const struct futex_waitv *words, unsigned n, const struct timespec *at);

/* ---- For the calls that stand before libc's ---- */

int skep_standin_epoll_ctl(int epfd, int op, int fd, struct epoll_event *ev);
int skep_standin_epoll_pwait(int epfd, struct epoll_event *ev, int max, int ms,
			     const sigset_t *mask);
/* Before descriptors are closed, or another file is put at their number. */
void skep_standin_closing(unsigned first, unsigned last);
/* Whether there are any in this process. */
bool skep_standin_any(void);
/* For poll and select: an eventfd that is readable while the handle is (it stays ours, until fd
 * is closed), or -errno. Brought up to date by each call. */
int skep_standin_event(int fd);
/* Brings the eventfds of an epoll set up to date, whose descriptor is about to be polled. */
void skep_standin_refresh(int epfd);

#endif
