// SPDX-License-Identifier: Apache-2.0
/*
 * The socket of a served instance: connections that come and go, messages of every length with
 * descriptors of every kind, listeners among them.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "client/filter.h"
#include "client/msg.h"
#include "client/serve.h"
#include "fuzz.h"

#define CONNECTIONS 6

static struct skep_serve *server;
static int kinds[8]; /* of descriptors */
static unsigned nkinds;

static void quiet(void *arg, const char *text, size_t len) {}

/* Of a process that has ended, so that serving it ends at once. */
static int make_listener(void)
{
	int sock[2], fds[SKEP_MSG_FDS];
	unsigned n = 0;
	char c = 0;
	pid_t pid;

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, sock))
		abort();
	pid = fork();
	if (!pid) {
		int fd = skep_filter_install();

		_exit(fd < 0 || skep_msg_send(sock[1], &c, 1, &fd, 1));
	}
	if (skep_msg_recv(sock[0], &c, 1, fds, &n, 0) != 1 || n != 1)
		fds[0] = -1;
	waitpid(pid, NULL, 0);
	close(sock[0]);
	close(sock[1]);
	return fds[0];
}

static void prepare(void)
{
	static struct skep_mounts mounts = SKEP_MOUNTS_NONE;
	struct skep_opts opts = {.sz = sizeof(opts), .cpus = 2, .printk = quiet};
	struct skep_serve_opts serve = {.listen = -1, .mounts = &mounts, .jit = true};
	struct skep *skep;
	int pipes[2];

	if (skep_open(&skep, &opts) || pipe2(pipes, O_CLOEXEC))
		abort();
	kinds[nkinds++] = make_listener();
	kinds[nkinds++] = open("/dev/null", O_RDWR | O_CLOEXEC);
	kinds[nkinds++] = memfd_create("serving", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	kinds[nkinds++] = pipes[0];
	kinds[nkinds++] = open("/proc/self/ns/mnt", O_RDONLY | O_CLOEXEC);
	/* The files that a server hands out. */
	mounts.pins = open("/", O_PATH | O_CLOEXEC);
	mounts.ns = kinds[4];
	if (skep_serve_open(&server, skep, &serve))
		abort();
}

static int lowest_free(void)
{
	int fd = open("/dev/null", O_RDONLY | O_CLOEXEC);

	close(fd);
	return fd;
}

static void say(int sock, const uint8_t **data, size_t *size)
{
	uint8_t how = (uint8_t)fuzz_take(data, size, 1), bytes[64] = {0};
	struct skep_serve_ask ask = {SKEP_SERVE_MAGIC, (uint32_t)fuzz_take(data, size, 1) % 6};
	size_t len = sizeof(ask);
	int fds[SKEP_MSG_FDS];
	unsigned n = how >> 4 & 7;

	memcpy(bytes, &ask, sizeof(ask));
	if (how & 1)
		len = fuzz_take(data, size, 1) % sizeof(bytes);
	if (how & 2)
		for (size_t i = 0; i < 8; i++)
			bytes[i] ^= (uint8_t)fuzz_take(data, size, 1);
	for (unsigned i = 0; i < n; i++)
		fds[i] = kinds[fuzz_take(data, size, 1) % nkinds];
	skep_msg_send(sock, bytes, len, fds, n);
}

/* Replies are whole, and never of success together with nothing. */
static void listen_to(int sock)
{
	struct skep_serve_reply r;
	int fds[SKEP_MSG_FDS];
	unsigned n;
	ssize_t got = skep_msg_recv(sock, &r, sizeof(r), fds, &n, MSG_DONTWAIT);

	if (got > 0 && (got != sizeof(r) || r.err > 0 || (r.err && n)))
		abort();
	if (got > 0 && n != (unsigned)__builtin_popcount(r.has))
		abort();
	while (n)
		close(fds[--n]);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	int socks[CONNECTIONS], sock[2], first;

	if (!server)
		prepare();
	memset(socks, -1, sizeof(socks));
	first = lowest_free();
	for (int n = 0; size && n < 64; n++) {
		uint8_t op = (uint8_t)fuzz_take(&data, &size, 1);
		int *at = &socks[op % CONNECTIONS];

		if (*at < 0) {
			if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, sock))
				abort();
			fcntl(sock[0], F_SETFL, O_NONBLOCK);
			*at = sock[0];
			skep_serve_accept(server, sock[1]);
		} else if (op >> 5 == 0) {
			close(*at);
			*at = -1;
		} else if (op >> 5 < 3) {
			listen_to(*at);
		} else {
			say(*at, &data, &size);
		}
		if (op & 16)
			skep_serve_step(server, -1, 0);
	}
	for (int i = 0; i < CONNECTIONS; i++)
		if (socks[i] >= 0)
			close(socks[i]);
	/* All that was held goes with them. */
	for (int i = 0; i < 2000; i++) {
		skep_serve_step(server, -1, 0);
		if (!skep_serve_clients(server) && lowest_free() == first)
			return 0;
		usleep(500);
	}
	abort();
}
