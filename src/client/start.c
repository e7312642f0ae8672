/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The child gets its own view of the kernel's files, installs a filter that stops the calls which
 * are to be answered and lets everything else pass, hands the listener over, waits for
 * the word that somebody serves, and becomes the command.
 */
#include "client/start.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "client/filter.h"

/* What the child says, with as many descriptors as it has. */
struct hello {
	int err; /* no listener: why */
	int view_err;
	bool pins, trace; /* descriptors behind the listener's */
};
#define FDS 3

static int send_hello(int sock, const struct hello *h, const int *fds, size_t n)
{
	struct iovec iov = {(void *)(uintptr_t)h, sizeof(*h)};
	union {
		struct cmsghdr h;
		char room[CMSG_SPACE(FDS * sizeof(int))];
	} u = {.h = {.cmsg_len = CMSG_LEN(n * sizeof(int)),
		     .cmsg_level = SOL_SOCKET,
		     .cmsg_type = SCM_RIGHTS}};
	struct msghdr m = {.msg_iov = &iov, .msg_iovlen = 1};

	if (n) {
		m.msg_control = &u;
		m.msg_controllen = CMSG_SPACE(n * sizeof(int));
		memcpy(CMSG_DATA(&u.h), fds, n * sizeof(int));
	}
	return sendmsg(sock, &m, MSG_NOSIGNAL) == sizeof(*h) ? 0 : -errno;
}

/* Number of descriptors, or -errno. */
static int recv_hello(int sock, struct hello *h, int *fds)
{
	struct iovec iov = {h, sizeof(*h)};
	union {
		struct cmsghdr h;
		char room[CMSG_SPACE(FDS * sizeof(int))];
	} u;
	struct msghdr m = {.msg_iov = &iov,
			   .msg_iovlen = 1,
			   .msg_control = &u,
			   .msg_controllen = sizeof(u.room)};
	ssize_t n;
	int got = 0;

	do {
		n = recvmsg(sock, &m, MSG_CMSG_CLOEXEC);
	} while (n < 0 && errno == EINTR);
	if (n != sizeof(*h))
		return n < 0 ? -errno : -EPROTO;
	for (struct cmsghdr *c = CMSG_FIRSTHDR(&m); c; c = CMSG_NXTHDR(&m, c))
		if (c->cmsg_level == SOL_SOCKET && c->cmsg_type == SCM_RIGHTS) {
			got = (int)((c->cmsg_len - CMSG_LEN(0)) / sizeof(int));
			memcpy(fds, CMSG_DATA(c), (size_t)got * sizeof(int));
		}
	return got;
}

/* In the child, between fork and exec. */
static void become(int sock, const struct skep_start_opts *o, char *const *argv)
{
	struct skep_mounts m = {-1, -1};
	struct hello hello = {.view_err = o->view ? skep_mounts_enter(&m, o->jit) : 0};
	int fds[FDS], n = 0;
	sigset_t none;
	char go;

	fds[n++] = skep_filter_install();
	if (fds[0] < 0) {
		hello.err = fds[0];
		send_hello(sock, &hello, NULL, 0);
		_exit(126);
	}
	hello.pins = m.pins >= 0;
	hello.trace = m.trace >= 0;
	if (hello.pins)
		fds[n++] = m.pins;
	if (hello.trace)
		fds[n++] = m.trace;
	if (send_hello(sock, &hello, fds, (size_t)n) || read(sock, &go, 1) != 1)
		_exit(126);
	for (int i = 0; i < n; i++)
		close(fds[i]);
	close(sock);
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	execvp(argv[0], argv);
	fprintf(stderr, "skep: %s: %s\n", argv[0], strerror(errno));
	_exit(errno == ENOENT ? 127 : 126);
}

int skep_start(struct skep_start *s, const struct skep_start_opts *opts, char *const *argv,
	       struct skep_error *err)
{
	int sock[2], fds[FDS] = {-1, -1, -1}, n, at = 0, code;
	struct hello hello = {0};

	*s = (struct skep_start){.sock = -1, .listener = -1, .mounts = {-1, -1}};
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, sock))
		return skep_fail(err, -errno, NULL, "no socket: %s", strerror(errno));
	fflush(NULL);
	s->pid = fork();
	if (s->pid == 0) {
		close(sock[0]);
		become(sock[1], opts, argv);
	}
	code = s->pid < 0 ? -errno : 0;
	close(sock[1]);
	s->sock = sock[0];
	n = code ? code : recv_hello(sock[0], &hello, fds);
	if (n > 0) {
		s->listener = fds[at++];
		s->view_err = hello.view_err;
		if (hello.pins && at < n)
			s->mounts.pins = fds[at++];
		if (hello.trace && at < n)
			s->mounts.trace = fds[at++];
		snprintf(s->pin_dir, sizeof(s->pin_dir), "/proc/self/fd/%d", s->mounts.pins);
		return 0;
	}
	code = code ? code : n < 0 ? n : hello.err ? hello.err : -EPROTO;
	skep_start_end(s);
	return skep_fail(err, code,
			 code == -EBUSY ? "Another user notification filter is in force here."
					: "It takes Linux 5.9 or newer with CONFIG_SECCOMP_FILTER.",
			 "the command's bpf(2) can't be led here: %s", strerror(-code));
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
	const int fds[] = {s->sock, s->listener, s->mounts.pins, s->mounts.trace};
	bool waiting = s->sock >= 0;

	for (size_t i = 0; i < sizeof(fds) / sizeof(fds[0]); i++)
		if (fds[i] >= 0)
			close(fds[i]);
	/* It never became the command. */
	if (waiting && s->pid > 0)
		waitpid(s->pid, NULL, 0);
}
