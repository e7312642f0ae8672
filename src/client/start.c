/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The child gets its own view of the kernel's files, installs a filter that stops the calls which
 * are to be answered and lets everything else pass, hands the listener over, waits for
 * the word that somebody serves, and becomes the command.
 */
#include "client/start.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/seccomp.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "client/filter.h"
#include "client/msg.h"

/* What the child says, with as many descriptors as it has. */
struct hello {
	int err; /* no listener: why */
	int view_err;
	unsigned have; /* bits of enum place: which descriptors come, in that order */
};
enum place { LISTENER, PINS, TRACE, NS, USER, PLACES };

static int send_hello(int sock, struct hello *h, const int *places)
{
	int fds[PLACES];
	unsigned n = 0;

	for (int i = 0; i < PLACES; i++)
		if (places[i] >= 0) {
			fds[n++] = places[i];
			h->have |= 1u << i;
		}
	return skep_msg_send(sock, h, sizeof(*h), fds, n);
}

/* 0 or -errno. */
static int recv_hello(int sock, struct hello *h, int *places)
{
	int fds[SKEP_MSG_FDS];
	unsigned n, at = 0;
	ssize_t got = skep_msg_recv(sock, h, sizeof(*h), fds, &n, 0);

	for (int i = 0; i < PLACES; i++)
		places[i] = got == sizeof(*h) && h->have & 1u << i && at < n ? fds[at++] : -1;
	return got < 0 ? (int)got : got != sizeof(*h) ? -EPROTO : h->err;
}

/* In the child, between fork and exec. Without argv there is only a view to be made. */
static void become(int sock, const struct skep_start_opts *o, char *const *argv)
{
	struct skep_mounts m = SKEP_MOUNTS_NONE;
	struct hello hello = {0};
	sigset_t none;
	char go;

	if (o->view)
		hello.view_err = skep_mounts_enter(&m, o->jit, o->shared);
	int places[PLACES] = {-1, m.pins, m.trace, m.ns, m.user};
	if (argv) {
		places[LISTENER] = skep_filter_install();
		hello.err = places[LISTENER] < 0 ? places[LISTENER] : 0;
	}
	if (send_hello(sock, &hello, places) || hello.err || !argv)
		_exit(126);
	if (o->number)
		syscall(SYS_bpf, -1L, NULL, 0L);
	if (read(sock, &go, 1) != 1)
		_exit(126);
	for (int i = 0; i < PLACES; i++)
		if (places[i] >= 0)
			close(places[i]);
	close(sock);
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	execvp(argv[0], argv);
	fprintf(stderr, "skep: %s: %s\n", argv[0], strerror(errno));
	_exit(errno == ENOENT ? 127 : 126);
}

/* Of the call that the child makes for it. 0: it is gone. */
static uint64_t take_number(int listener)
{
	struct pollfd p = {.fd = listener, .events = POLLIN};
	struct seccomp_notif req = {0};
	struct seccomp_notif_resp resp = {.error = -EINVAL};

	while (poll(&p, 1, -1) < 0 && errno == EINTR)
		;
	if (!(p.revents & POLLIN) || ioctl(listener, SECCOMP_IOCTL_NOTIF_RECV, &req))
		return 0;
	resp.id = req.id;
	ioctl(listener, SECCOMP_IOCTL_NOTIF_SEND, &resp);
	return req.id;
}

/* 0 or -errno, with nothing left then. */
static int start(struct skep_start *s, const struct skep_start_opts *opts, char *const *argv)
{
	struct hello hello = {0};
	int sock[2], places[PLACES], err;

	*s = SKEP_START_NONE;
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, sock))
		return -errno;
	fflush(NULL);
	s->pid = fork();
	if (s->pid == 0) {
		close(sock[0]);
		become(sock[1], opts, argv);
	}
	err = s->pid < 0 ? -errno : 0;
	close(sock[1]);
	s->sock = sock[0];
	if (!err) {
		err = recv_hello(sock[0], &hello, places);
		s->listener = places[LISTENER];
		s->mounts =
			(struct skep_mounts){places[PINS], places[TRACE], places[NS], places[USER]};
	}
	if (!err && argv && s->listener < 0)
		err = -EPROTO;
	if (err) {
		skep_start_end(s);
		return err;
	}
	s->view_err = hello.view_err;
	if (opts->number)
		s->first = take_number(s->listener);
	snprintf(s->pin_dir, sizeof(s->pin_dir), "/proc/self/fd/%d", s->mounts.pins);
	return 0;
}

int skep_start(struct skep_start *s, const struct skep_start_opts *opts, char *const *argv,
	       struct skep_error *err)
{
	int code = start(s, opts, argv);

	if (!code)
		return 0;
	return skep_fail(err, code,
			 code == -EBUSY ? "Another user notification filter is in force here."
					: "It takes Linux 5.9 or newer with CONFIG_SECCOMP_FILTER.",
			 "the command's bpf(2) can't be led here: %s", strerror(-code));
}

int skep_start_view(struct skep_start *s, bool jit)
{
	const struct skep_start_opts opts = {.view = true, .jit = jit};
	int err = start(s, &opts, NULL);

	if (err)
		return err;
	close(s->sock);
	s->sock = -1;
	waitpid(s->pid, NULL, 0);
	s->pid = -1;
	return 0;
}

void skep_start_go(struct skep_start *s)
{
	char go = 1;

	/* Who is gone by now shows in the exit status. */
	send(s->sock, &go, 1, MSG_NOSIGNAL);
	close(s->sock);
	s->sock = -1;
}

void skep_start_end(struct skep_start *s)
{
	const int fds[] = {s->sock, s->listener};
	bool waiting = s->sock >= 0;

	for (size_t i = 0; i < sizeof(fds) / sizeof(fds[0]); i++)
		if (fds[i] >= 0)
			close(fds[i]);
	skep_mounts_close(&s->mounts);
	/* It never became the command. */
	if (waiting && s->pid > 0)
		waitpid(s->pid, NULL, 0);
}
