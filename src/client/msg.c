/* SPDX-License-Identifier: Apache-2.0 */
#include "client/msg.h"

#include <errno.h>
#include <stdint.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

union room {
	struct cmsghdr h;
	char bytes[CMSG_SPACE(SKEP_MSG_FDS * sizeof(int))];
};

int skep_msg_send(int sock, const void *data, size_t len, const int *fds, unsigned n)
{
	struct iovec iov = {(void *)(uintptr_t)data, len};
	struct msghdr m = {.msg_iov = &iov, .msg_iovlen = 1};
	union room u = {.h = {.cmsg_len = CMSG_LEN(n * sizeof(int)),
			      .cmsg_level = SOL_SOCKET,
			      .cmsg_type = SCM_RIGHTS}};
	ssize_t sent;

	if (n > SKEP_MSG_FDS)
		return -E2BIG;
	if (n) {
		m.msg_control = &u;
		m.msg_controllen = CMSG_SPACE(n * sizeof(int));
		memcpy(CMSG_DATA(&u.h), fds, n * sizeof(int));
	}
	do {
		sent = sendmsg(sock, &m, MSG_NOSIGNAL);
	} while (sent < 0 && errno == EINTR);
	return sent == (ssize_t)len ? 0 : sent < 0 ? -errno : -EPROTO;
}

static unsigned take_fds(struct msghdr *m, int *fds)
{
	unsigned n = 0;

	for (struct cmsghdr *c = CMSG_FIRSTHDR(m); c; c = CMSG_NXTHDR(m, c)) {
		size_t more = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int);

		if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS)
			continue;
		for (size_t i = 0; i < more && n < SKEP_MSG_FDS; i++, n++)
			memcpy(&fds[n], CMSG_DATA(c) + i * sizeof(int), sizeof(int));
	}
	return n;
}

ssize_t skep_msg_recv(int sock, void *data, size_t len, int *fds, unsigned *n, int flags)
{
	struct iovec iov = {data, len};
	union room u;
	struct msghdr m = {.msg_iov = &iov,
			   .msg_iovlen = 1,
			   .msg_control = &u,
			   .msg_controllen = sizeof(u.bytes)};
	ssize_t got;

	*n = 0;
	do {
		got = recvmsg(sock, &m, MSG_CMSG_CLOEXEC | flags);
	} while (got < 0 && errno == EINTR);
	if (got < 0)
		return -errno;
	*n = take_fds(&m, fds);
	if (!(m.msg_flags & (MSG_TRUNC | MSG_CTRUNC)))
		return got;
	while (*n)
		close(fds[--*n]);
	return -EPROTO;
}
