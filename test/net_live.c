// SPDX-License-Identifier: Apache-2.0
#include "net_live.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "net/port.h"

struct skep *skep;
struct end client, server;
char why_not[256];

int sh(const char *fmt, ...)
{
	char cmd[512];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(cmd, sizeof(cmd), fmt, ap);
	va_end(ap);
	return system(cmd);
}

static int enter_namespace(void)
{
	char map[64];
	uid_t uid = getuid();
	gid_t gid = getgid();
	int fd;

	if (!unshare(CLONE_NEWNET))
		return 0;
	if (unshare(CLONE_NEWUSER | CLONE_NEWNET))
		return -errno;
	fd = open("/proc/self/setgroups", O_WRONLY);
	if (fd < 0 || write(fd, "deny", 4) != 4)
		return -errno;
	close(fd);
	snprintf(map, sizeof(map), "0 %u 1", uid);
	fd = open("/proc/self/uid_map", O_WRONLY);
	if (fd < 0 || write(fd, map, strlen(map)) < 0)
		return -errno;
	close(fd);
	snprintf(map, sizeof(map), "0 %u 1", gid);
	fd = open("/proc/self/gid_map", O_WRONLY);
	if (fd < 0 || write(fd, map, strlen(map)) < 0)
		return -errno;
	close(fd);
	return 0;
}

int net_setup(void **state)
{
	int err;

	signal(SIGPIPE, SIG_IGN);
	err = skep_open(&skep, NULL);
	if (err)
		return err;
	if (sh("ip link show >/dev/null 2>&1")) {
		snprintf(why_not, sizeof(why_not), "no ip command (iproute2)");
		return 0;
	}
	err = enter_namespace();
	if (err) {
		snprintf(why_not, sizeof(why_not), "no network namespaces: %s", strerror(-err));
		return 0;
	}
	if (start_end(&client) || start_end(&server) ||
	    sh("ip link set lo up && ip link add wa type veth peer name c0 && "
	       "ip link add wb type veth peer name s0 && ip link set c0 netns %d && "
	       "ip link set s0 netns %d && ip link set wa up && ip link set wb up",
	       client.pid, server.pid) ||
	    config(&client,
		   "ip link set lo up; ip addr add 10.9.0.1/24 dev c0; ip link set c0 up") ||
	    config(&server, "ip link set lo up; ip addr add 10.9.0.2/24 dev s0; ip link set s0 up"))
		snprintf(why_not, sizeof(why_not), "veth pairs can't be made here");
	return 0;
}

int net_teardown(void **state)
{
	struct end *ends[] = {&client, &server};

	skep_close(skep);
	for (int i = 0; i < 2; i++) {
		if (ends[i]->pid <= 0)
			continue;
		kill(ends[i]->pid, SIGKILL);
		waitpid(ends[i]->pid, NULL, 0);
		close(ends[i]->fd);
	}
	return 0;
}
static void *run_wire(void *arg)
{
	struct live *l = arg;

	l->result = skep_wire_run(&l->wire, &l->stats);
	return NULL;
}

void start_wire(struct live *l, bool two)
{
	char why[256] = "";

	memset(l, 0, sizeof(*l));
	if (skep_port_open(&l->wire.a, "wa", why, sizeof(why)) ||
	    (two && skep_port_open(&l->wire.b, "wb", why, sizeof(why))))
		fail_msg("%s", why);
	l->wire.stop = &l->stop;
	assert_int_equal(pthread_create(&l->thread, NULL, run_wire, l), 0);
}

void start_program(struct live *l, struct skep_runner *runner, uint32_t type)
{
	char why[256] = "";

	memset(l, 0, sizeof(*l));
	if (skep_port_open(&l->wire.a, "wa", why, sizeof(why)) ||
	    skep_port_open(&l->wire.b, "wb", why, sizeof(why)))
		fail_msg("%s", why);
	l->wire.stop = &l->stop;
	l->wire.runner = runner;
	l->wire.prog_type = type;
	assert_int_equal(pthread_create(&l->thread, NULL, run_wire, l), 0);
}

void stop_wire(struct live *l)
{
	uint64_t at = now_ns();

	__atomic_store_n(&l->stop, 1, __ATOMIC_RELAXED);
	pthread_join(l->thread, NULL);
	assert_true(now_ns() - at < 2000000000ull);
	assert_int_equal(l->result, 0);
	skep_port_close(l->wire.a);
	skep_port_close(l->wire.b);
}

struct order to_server(enum what what, const char *addr)
{
	struct order o = {.what = what, .port = 7000};

	inet_aton(addr, &o.to);
	snprintf(o.text, sizeof(o.text), "%s", addr);
	return o;
}

/* bytes of TCP each way through the wire. */
void tcp_both_ways(const char *addr, uint64_t bytes)
{
	struct order s = to_server(DO_SERVE, addr), c = to_server(DO_TALK, addr);
	uint64_t at = now_ns();
	double ms;
	int rs, rc;

	s.bytes = c.bytes = bytes;
	tell(&server, &s);
	tell(&client, &c);
	rc = answer(&client, 60);
	rs = answer(&server, 60);
	assert_int_equal(rc, 0);
	assert_int_equal(rs, 0);
	ms = (double)(now_ns() - at) / 1e6;
	print_message("%s: %.0f MB each way in %.0f ms (%.2f Gbit/s)\n", addr, (double)bytes / 1e6,
		      ms, (double)bytes * 16 / ms / 1e6);
}
