/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The keeper: a process of its own that does everything that is done to traced processes: it starts them,
 * enters them, answers their filter, leaves them. The supervisor, who asks it by messages, may be killed
 * at any instant: nobody is left half entered then, and the keeper switches programs off, restores every byte, and
 * from then on lets every call pass, until the last process with the filter has ended. (A closed
 * listener would answer ENOSYS for ever. So the supervisor holds it, too, and should the
 * keeper be killed, another one leaves in its place.)
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "os/os.h"
#include "trace/session.h"

#define ENTER_ROUNDS 40
#define ENTER_PAUSE  100000ull /* ns, doubled each time */

enum {
	ASK_ENTER, /* value: the process */
	ASK_LEAVE,
	TELL_DONE, /* value: the result; text, next: the error's; the listener after a start */
	TELL_NOTICE,
	TELL_ENDED, /* value: the command's status */
	TELL_LEAVING, /* value: a process; ctl->seen counts the answers */
};

struct message {
	int32_t what, value;
	char text[1536], next[512];
};

/* ---- Messages ---- */

static bool tell(int sock, int what, int value, const struct skep_error *err, int fd)
{
	struct message m = {.what = what, .value = value};
	struct iovec io = {&m, sizeof(m)};
	union {
		struct cmsghdr align;
		char buf[CMSG_SPACE(sizeof(int))];
	} control = {.buf = {0}};
	struct msghdr h = {.msg_iov = &io, .msg_iovlen = 1};
	struct cmsghdr *c;

	if (err) {
		memcpy(m.text, err->what, sizeof(m.text));
		memcpy(m.next, err->next, sizeof(m.next));
	}
	if (fd >= 0) {
		h.msg_control = control.buf;
		h.msg_controllen = sizeof(control.buf);
		c = CMSG_FIRSTHDR(&h);
		c->cmsg_level = SOL_SOCKET;
		c->cmsg_type = SCM_RIGHTS;
		c->cmsg_len = CMSG_LEN(sizeof(int));
		memcpy(CMSG_DATA(c), &fd, sizeof(fd));
	}
	return sendmsg(sock, &h, MSG_NOSIGNAL) == (ssize_t)sizeof(m);
}

/* False: the other one is gone. */
static bool hear(int sock, struct message *m, int *fd)
{
	struct iovec io = {m, sizeof(*m)};
	union {
		struct cmsghdr align;
		char buf[CMSG_SPACE(sizeof(int))];
	} control;
	struct msghdr h = {.msg_iov = &io,
			   .msg_iovlen = 1,
			   .msg_control = control.buf,
			   .msg_controllen = sizeof(control.buf)};
	struct cmsghdr *c;
	ssize_t got;

	do {
		got = recvmsg(sock, &h, MSG_CMSG_CLOEXEC);
	} while (got < 0 && errno == EINTR);
	if (got != (ssize_t)sizeof(*m))
		return false;
	c = CMSG_FIRSTHDR(&h);
	if (c && c->cmsg_type == SCM_RIGHTS && fd)
		memcpy(fd, CMSG_DATA(c), sizeof(*fd));
	m->text[sizeof(m->text) - 1] = m->next[sizeof(m->next) - 1] = 0;
	return true;
}

/* ---- The keeper's side ---- */

static void on_notice(void *arg, const char *text)
{
	struct skep_trace *t = arg;
	struct skep_error err = {{0}, {0}};

	snprintf(err.what, sizeof(err.what), "%s", text);
	tell(t->keeper, TELL_NOTICE, 0, &err, -1);
}

/* The process waits meanwhile, but not for a supervisor that is gone or busy. */
static void on_leaving(void *arg, pid_t pid)
{
	struct skep_trace *t = arg;
	uint32_t seen = atomic_load(&t->ctl->seen);

	if (!tell(t->keeper, TELL_LEAVING, pid, NULL, -1))
		return;
	for (int i = 0; i < 2500 && atomic_load(&t->ctl->seen) == seen; i++)
		skep_sleep(200000);
}

/* What the supervisor had open is its own: pipes have to end when it does. */
static void close_others(int a, int b)
{
	int lo = a < b ? a : b, hi = a < b ? b : a, null = open("/dev/null", O_RDWR | O_CLOEXEC);

	for (int i = 0; i < 3 && null >= 0; i++)
		dup2(null, i);
	syscall(SYS_close_range, 3, (lo < 3 ? 3 : lo) - 1, 0);
	syscall(SYS_close_range, (lo < 3 ? 2 : lo) + 1, hi - 1, 0);
	syscall(SYS_close_range, hi + 1, ~0u, 0);
}

static int enter(struct skep_trace *t, pid_t pid, struct skep_error *err)
{
	struct remote r = {.late = &t->late};
	int e = -EAGAIN;

	/* Its only thread may wait for a vfork child; another tracer may hold it for the moment. */
	for (unsigned i = 0; i < ENTER_ROUNDS && (e == -EAGAIN || e == -EBUSY); i++) {
		if (i)
			skep_sleep(ENTER_PAUSE << (i < 8 ? i : 8));
		e = remote_stop(&r, pid, 0);
		remote_late_poll(&t->late);
	}
	if (e)
		return skep_fail(err, e,
				 e == -EPERM   ? "It takes the same user, or root."
				 : e == -EBUSY ? "Detach the debugger first."
					       : NULL,
				 "process %d can't be entered: %s", (int)pid,
				 e == -EBUSY    ? "somebody else traces it"
				 : e == -EAGAIN ? "all its threads wait for children that share "
						  "their memory"
						: strerror(-e));
	e = process_enter(t, &r, err);
	remote_resume(&r);
	return e < 0 ? e : 0;
}

static void leave(struct skep_trace *t)
{
	atomic_store(&t->ctl->off, 1);
	process_leave_all(t);
	spawn_close(t);
}

/* One message of the supervisor's: false, it wants us to leave, or is gone. */
static bool obey(struct skep_trace *t)
{
	struct skep_error err = {{0}, {0}};
	struct message m = {0};

	if (!hear(t->keeper, &m, NULL) || m.what != ASK_ENTER)
		return false;
	m.value = enter(t, m.value, &err);
	return tell(t->keeper, TELL_DONE, m.value, &err, -1);
}

static void serve(struct skep_trace *t)
{
	int ended = t->late.child > 0 ? (int)syscall(SYS_pidfd_open, t->late.child, 0) : -1;
	bool busy = false;

	for (;;) {
		struct pollfd p[3] = {{.fd = t->keeper, .events = POLLIN},
				      {.fd = t->listener, .events = POLLIN},
				      {.fd = ended, .events = POLLIN}};

		poll(p, 3, busy ? 1 : ended < 0 && t->late.child > 0 ? 20 : -1);
		if (p[0].revents && !obey(t))
			break;
		busy = spawn_serve(t);
		if (t->late.child_gone && t->late.child) {
			tell(t->keeper, TELL_ENDED, t->late.child_status, NULL, -1);
			t->late.child = 0;
			close(ended);
			ended = -1;
		} else if (p[2].revents) {
			busy = true; /* its end is about to be told to us */
		}
		/* Nobody is left who has the filter. */
		if (p[1].revents & (POLLHUP | POLLERR)) {
			close(t->listener);
			t->listener = -1;
		}
	}
	if (ended >= 0)
		close(ended);
}

static void pass_all(struct skep_trace *t)
{
	struct pollfd p = {.fd = t->listener, .events = POLLIN};

	while (poll(&p, 1, -1) >= 0 || errno == EINTR) {
		if (p.revents & (POLLHUP | POLLERR))
			break;
		spawn_pass(t);
		while (waitpid(-1, NULL, WNOHANG) > 0)
			;
	}
}

/* argv: the command to start, or NULL. */
static void keep(struct skep_trace *t, char *const *argv, pid_t group, bool lost)
{
	struct skep_error err = {{0}, {0}};
	sigset_t all;
	int e = 0;

	sigfillset(&all);
	sigprocmask(SIG_SETMASK, &all, &t->mask);
	setpgid(0, 0); /* what a terminal sends to the supervisor's group is not meant */
	prctl(PR_SET_NAME, "skep-keeper");
	t->opts.notice = on_notice;
	t->opts.leaving = t->opts.leaving ? on_leaving : NULL;
	t->opts.notice_arg = t;
	if (argv)
		e = spawn_start(t, argv, group, &err);
	if (argv)
		tell(t->keeper, TELL_DONE, e ? e : t->late.child, &err, t->listener);
	if (e)
		_exit(1);
	close_others(t->keeper, t->listener);
	if (!lost)
		serve(t);
	leave(t);
	tell(t->keeper, TELL_DONE, 0, NULL, -1);
	close(t->keeper);
	if (t->listener >= 0)
		pass_all(t);
	_exit(0);
}

/* ---- The supervisor's side ---- */

static int start_keeper(struct skep_trace *t, char *const *argv, bool lost)
{
	pid_t group = getpgrp();
	int ends[2];

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends))
		return -errno;
	fflush(NULL);
	t->keeper_pid = fork();
	if (!t->keeper_pid) {
		close(ends[0]);
		t->keeper = ends[1];
		keep(t, argv, group, lost);
	}
	close(ends[1]);
	if (t->keeper_pid < 0) {
		close(ends[0]);
		return -errno;
	}
	t->keeper = ends[0];
	return 0;
}

/* Reads until what was asked for is done: its result. */
static int await_done(struct skep_trace *t, struct skep_error *err)
{
	struct message m = {0};

	while (hear(t->keeper, &m, &t->listener)) {
		switch (m.what) {
		case TELL_NOTICE:
			trace_notice(t, "%s", m.text);
			break;
		case TELL_LEAVING:
			atomic_fetch_add(&t->ctl->seen, 1);
			break;
		case TELL_ENDED:
			t->late.child_gone = true;
			t->late.child_status = m.value;
			break;
		default:
			if (m.value < 0)
				skep_fail(err, m.value, m.next[0] ? m.next : NULL, "%s", m.text);
			return m.value;
		}
	}
	return skep_fail(err, -EPIPE, NULL, "the process that enters others was killed");
}

/* Someone killed it. What it held goes on by itself, but is to be left. */
static void keeper_lost(struct skep_trace *t)
{
	waitpid(t->keeper_pid, NULL, 0);
	close(t->keeper);
	t->keeper = 0;
	atomic_store(&t->ctl->off, 1);
	trace_notice(t, "the keeper was killed: tracing ends");
	if (!start_keeper(t, NULL, true))
		await_done(t, NULL);
}

int skep_trace_start(struct skep_trace *t, char *const *argv, pid_t *pid, struct skep_error *err)
{
	int e;

	if (t->keeper)
		return skep_fail(err, -EBUSY, "Start it first.",
				 "a command can't be started by a trace that is under way");
	e = start_keeper(t, argv, false);
	if (e)
		return skep_fail(err, e, NULL, "no process to trace from: %s", strerror(-e));
	e = await_done(t, err);
	if (e < 0)
		return e;
	t->late.child = *pid = e;
	return 0;
}

int skep_trace_enter(struct skep_trace *t, pid_t pid, struct skep_error *err)
{
	int e;

	if (t->syscalls)
		return skep_fail(
			err, -EOPNOTSUPP, "Start the command under skep trace instead.",
			"system calls of a running process can't be traced: it has no filter "
			"that would stop those from unknown places");
	e = t->keeper ? 0 : start_keeper(t, NULL, false);
	if (e)
		return skep_fail(err, e, NULL, "no process to trace from: %s", strerror(-e));
	if (!tell(t->keeper, ASK_ENTER, pid, NULL, -1))
		return skep_fail(err, -EPIPE, NULL, "the process that enters others was killed");
	return await_done(t, err);
}

int skep_trace_serve(struct skep_trace *t, int timeout_ms, int *status)
{
	struct pollfd p = {.fd = t->keeper > 0 ? t->keeper : -1, .events = POLLIN};
	struct message m = {0};

	for (; poll(&p, 1, t->late.child_gone ? 0 : timeout_ms) > 0; timeout_ms = 0) {
		if (!hear(t->keeper, &m, NULL)) {
			keeper_lost(t);
			break;
		}
		if (m.what == TELL_NOTICE) {
			trace_notice(t, "%s", m.text);
		} else if (m.what == TELL_LEAVING) {
			if (t->opts.leaving)
				t->opts.leaving(t->opts.notice_arg, m.value);
			atomic_fetch_add(&t->ctl->seen, 1);
		} else if (m.what == TELL_ENDED) {
			t->late.child_gone = true;
			t->late.child_status = m.value;
		}
	}
	trace_drain(t);
	if (!t->late.child_gone)
		return 0;
	if (status)
		*status = t->late.child_status;
	return -ECHILD;
}

void skep_trace_detach(struct skep_trace *t)
{
	if (!t || t->left)
		return;
	t->left = true;
	atomic_store(&t->ctl->off, 1);
	if (t->keeper > 0) {
		if (tell(t->keeper, ASK_LEAVE, 0, NULL, -1))
			await_done(t, NULL);
		close(t->keeper);
		t->keeper = 0;
		/* It goes on answering for those who live on with the filter; mostly there are none. */
		if (t->listener >= 0)
			close(t->listener);
		t->listener = -1;
		for (int i = 0; i < 100 && !waitpid(t->keeper_pid, NULL, WNOHANG); i++)
			skep_sleep(1000000);
	}
	trace_drain(t);
}
