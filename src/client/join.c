/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The listener stays open here, too. As long as the server lives nobody else answers. When it has died,
 * a notification that it took and did not answer would never end: the page that it wrote tells which
 * ones these are. It may have died between taking one and writing that down. Ids rise by one, and they
 * are taken in that order, so that one is among the next behind the last that is written down.
 */
#include "client/join.h"

#include <errno.h>
#include <linux/seccomp.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include "client/filter.h"
#include "client/msg.h"
#include "client/name.h"

#define LOST_WITHIN 4096 /* callers who died before their notification was taken */

/* ---- Asking ---- */

static int ask(int sock, enum skep_serve_op op, const int *give, unsigned ngive,
	       struct skep_serve_reply *r, int *fds, unsigned *n)
{
	struct skep_serve_ask a = {SKEP_SERVE_MAGIC, op};
	int err = skep_msg_send(sock, &a, sizeof(a), give, ngive);
	ssize_t got;

	*n = 0;
	if (err)
		return err;
	got = skep_msg_recv(sock, r, sizeof(*r), fds, n, 0);
	if (got == sizeof(*r))
		return r->err;
	while (*n)
		close(fds[--*n]);
	return got == -EAGAIN ? -ETIMEDOUT : got < 0 ? (int)got : -ECONNRESET;
}

static void close_all(const int *fds, unsigned n)
{
	while (n)
		close(fds[--n]);
}

int skep_join_overview(int sock, struct skep_serve_reply *out)
{
	int fds[SKEP_MSG_FDS], err;
	unsigned n;

	err = ask(sock, SKEP_SERVE_OVERVIEW, NULL, 0, out, fds, &n);
	close_all(fds, n);
	return err;
}

static int failed(struct skep_error *err, int code, const char *name)
{
	return skep_fail(err, code, NULL, "the instance \"%s\" can't be joined: %s", name,
			 strerror(-code));
}

static int map_page(struct skep_join *j, int fd)
{
	void *page = mmap(NULL, sizeof(*j->serving), PROT_READ, MAP_SHARED, fd, 0);

	if (page == MAP_FAILED)
		return -errno;
	j->serving = page;
	return 0;
}

int skep_join_open(struct skep_join *j, const char *name, struct skep_error *err)
{
	struct skep_mounts theirs = SKEP_MOUNTS_NONE;
	int *const places[] = {&theirs.pins, &theirs.trace, &theirs.ns, &theirs.user};
	int fds[SKEP_MSG_FDS], code;
	struct skep_serve_reply r = {0};
	unsigned n, at = 0;

	*j = (struct skep_join){.sock = skep_name_connect(name, err), .mounts = SKEP_MOUNTS_NONE};
	if (j->sock < 0)
		return j->sock;
	code = ask(j->sock, SKEP_SERVE_JOIN, NULL, 0, &r, fds, &n);
	if (code) {
		close_all(fds, n);
		skep_join_close(j);
		return failed(err, code, name);
	}
	j->jit = r.jit;
	for (unsigned i = 0; i < 4; i++)
		if (r.has & 1u << i && at < n)
			*places[i] = fds[at++];
	code = at < n ? map_page(j, fds[at]) : -EPROTO;
	close_all(fds + at, n - at);
	if (!code && theirs.ns >= 0)
		code = skep_mounts_again(&j->mounts, &theirs);
	skep_mounts_close(&theirs);
	if (!code)
		return 0;
	skep_join_close(j);
	return failed(err, code, name);
}

int skep_join_give(struct skep_join *j, int listener, struct skep_error *err)
{
	int fds[SKEP_MSG_FDS], code;
	struct skep_serve_reply r = {0};
	unsigned n;

	code = ask(j->sock, SKEP_SERVE_LISTENER, &listener, 1, &r, fds, &n);
	close_all(fds, n);
	return code ? failed(err, code, "of that name") : 0;
}

void skep_join_close(struct skep_join *j)
{
	if (j->sock >= 0)
		close(j->sock);
	if (j->serving)
		munmap((void *)(uintptr_t)j->serving, sizeof(*j->serving));
	skep_mounts_close(&j->mounts);
}

/* ---- When the server has ended ---- */

static int refuse(int listener, uint64_t id, bool is_bpf)
{
	struct seccomp_notif_resp resp = {
		.id = id,
		.error = is_bpf ? -ENOTCONN : 0,
		.flags = is_bpf ? 0 : SECCOMP_USER_NOTIF_FLAG_CONTINUE,
	};

	return ioctl(listener, SECCOMP_IOCTL_NOTIF_SEND, &resp) ? -errno : 0;
}

/* What the server was at. */
static void refuse_taken(int listener, uint64_t first, const struct skep_serving *was)
{
	uint64_t last = atomic_load(&was->last);

	for (int i = 0; i < SKEP_NOTIFY_THREADS; i++) {
		uint64_t id = atomic_load(&was->ids[i]);

		if (id)
			refuse(listener, id, true);
	}
	if (!last)
		last = first;
	/* EINPROGRESS: not taken yet. */
	for (uint64_t id = last; id < last + LOST_WITHIN; id++)
		if (refuse(listener, id, true) == -EINPROGRESS)
			break;
}

static void refuse_next(int listener)
{
	struct seccomp_notif req = {0};

	if (!ioctl(listener, SECCOMP_IOCTL_NOTIF_RECV, &req))
		refuse(listener, req.id, skep_filter_call(&req.data) == SKEP_CALL_BPF);
}

void skep_join_wait(struct skep_join *j, int listener, uint64_t first, const char *name)
{
	struct pollfd p[] = {{.fd = listener}, {.fd = j->sock}};

	for (;;) {
		if (poll(p, 2, -1) < 0) {
			if (errno != EINTR)
				return;
			continue;
		}
		if (p[0].revents & POLLHUP)
			return;
		/* The server closes it too when nobody is left, which then shows in the other. */
		if (p[1].revents && poll(p, 1, 0) == 1 && p[0].revents & POLLHUP)
			return;
		if (p[1].revents) {
			fprintf(stderr,
				"skep: the instance \"%s\" has ended: bpf(2) answers ENOTCONN\n",
				name);
			refuse_taken(listener, first, j->serving);
			p[1].fd = -1;
			p[0].events = POLLIN;
			continue;
		}
		if (p[0].revents & POLLIN)
			refuse_next(listener);
		else if (p[0].revents)
			return;
	}
}
