// SPDX-License-Identifier: Apache-2.0
/*
 * The wire between two live interfaces, in network namespaces of the test's own:
 *
 *	client namespace        wire namespace        server namespace
 *	10.9.0.1  c0 ---------- wa      wb ---------- s0  10.9.0.2
 *
 * All offloads are left as they are. Needs root or an unprivileged user namespace.
 * Capture files and frames are tested without either.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/ethtool.h>
#include <linux/if_packet.h>
#include <linux/sockios.h>
#include <linux/virtio_net.h>
#include <net/if.h>
#include <netinet/in.h>
#include <netinet/ip_icmp.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "bpf/uapi.h"
#include "kern.h"
#include "net/capture.h"
#include "net/frame.h"
#include "net/port.h"
#include "net/wire.h"

static struct skep *skep;
static char why_not[256]; /* why there are no namespaces here; "" if there are */

static unsigned scale(void)
{
	const char *s = getenv("SKEP_TEST_SCALE");

	return s && atoi(s) > 0 ? (unsigned)atoi(s) : 1;
}

static int __attribute__((format(printf, 1, 2))) sh(const char *fmt, ...)
{
	char cmd[512];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(cmd, sizeof(cmd), fmt, ap);
	va_end(ap);
	return system(cmd);
}

static uint64_t now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000ull + (uint64_t)t.tv_nsec;
}

/* ---- The ends: processes with a namespace each, that do what they are told ---- */

enum what {
	DO_CONFIG,
	DO_SERVE,
	DO_TALK,
	DO_PING,
	DO_UDP,
	DO_TAGGED,
	DO_SNIFF,
	DO_OFFLOADS,
	DO_TAG,
	DO_UNTAG,
	DO_QUIT
};

struct order {
	enum what what;
	char text[400]; /* CONFIG: commands */
	struct in_addr from, to;
	uint16_t port;
	uint32_t size; /* PING, UDP: bytes of a packet */
	uint32_t count;
	uint64_t bytes; /* SERVE, TALK: each way */
};

struct end {
	pid_t pid;
	int fd; /* orders and answers */
};

static void fill(uint8_t *buf, size_t len, uint64_t at, uint64_t seed)
{
	for (size_t i = 0; i < len; i += 8) {
		uint64_t x = (at + i + 1) * 0x9e3779b97f4a7c15ull ^ seed;

		x ^= x >> 29;
		memcpy(buf + i, &x, len - i < 8 ? len - i : 8);
	}
}

static int send_stream(int fd, uint64_t bytes, uint64_t seed)
{
	static uint8_t buf[1 << 18];

	for (uint64_t at = 0; at < bytes;) {
		size_t n = bytes - at < sizeof(buf) ? bytes - at : sizeof(buf), done = 0;

		fill(buf, n, at, seed);
		while (done < n) {
			ssize_t r = send(fd, buf + done, n - done, MSG_NOSIGNAL);

			if (r <= 0)
				return -1;
			done += (size_t)r;
		}
		at += n;
	}
	return 0;
}

/* Every byte is what the other side made. */
static int check_stream(int fd, uint64_t bytes, uint64_t seed)
{
	static uint8_t buf[1 << 18], want[1 << 18];

	for (uint64_t at = 0; at < bytes;) {
		size_t n = bytes - at < sizeof(buf) ? bytes - at : sizeof(buf);

		if (recv(fd, buf, n, MSG_WAITALL) != (ssize_t)n)
			return -2;
		fill(want, n, at, seed);
		if (memcmp(buf, want, n))
			return -3;
		at += n;
	}
	return 0;
}

static void limits(int fd)
{
	struct timeval t = {.tv_sec = 20};

	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &t, sizeof(t));
	setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &t, sizeof(t));
}

/* Address and port of the order; IPv6 if addr is not of IPv4. */
static socklen_t address(const struct order *o, const char *addr, struct sockaddr_storage *at)
{
	struct sockaddr_in *v4 = (struct sockaddr_in *)(void *)at;
	struct sockaddr_in6 *v6 = (struct sockaddr_in6 *)(void *)at;

	memset(at, 0, sizeof(*at));
	v4->sin_port = htons(o->port);
	if (inet_pton(AF_INET, addr, &v4->sin_addr) == 1) {
		at->ss_family = AF_INET;
		return sizeof(*v4);
	}
	at->ss_family = AF_INET6;
	inet_pton(AF_INET6, addr, &v6->sin6_addr);
	return sizeof(*v6);
}

static int serve(const struct order *o)
{
	struct sockaddr_storage at;
	socklen_t len = address(o, "::", &at);
	int fd = socket(AF_INET6, SOCK_STREAM, 0), one = 1, c, r;

	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
	limits(fd);
	if (bind(fd, (struct sockaddr *)&at, len) || listen(fd, 1))
		return -10;
	c = accept(fd, NULL, NULL);
	close(fd);
	if (c < 0)
		return -11;
	limits(c);
	r = check_stream(c, o->bytes, 1);
	if (!r)
		r = send_stream(c, o->bytes, 2);
	if (!r && recv(c, &one, 1, 0) != 0)
		r = -12;
	close(c);
	return r;
}

static int talk(const struct order *o)
{
	struct sockaddr_storage at;
	socklen_t len = address(o, o->text, &at);
	int fd = -1, r;

	for (int i = 0; i < 100; i++) {
		fd = socket(at.ss_family, SOCK_STREAM, 0);
		limits(fd);
		if (!connect(fd, (struct sockaddr *)&at, len))
			break;
		close(fd);
		fd = -1;
		usleep(20000);
	}
	if (fd < 0)
		return -20;
	r = send_stream(fd, o->bytes, 1);
	if (!r)
		r = check_stream(fd, o->bytes, 2);
	close(fd);
	return r;
}

/* How many of count echo requests of size bytes come back whole. */
static int ping(const struct order *o)
{
	struct sockaddr_in to = {.sin_family = AF_INET, .sin_addr = o->to};
	static uint8_t out[65536], in[65536];
	struct timeval t = {.tv_sec = 1};
	int fd = socket(AF_INET, SOCK_RAW, IPPROTO_ICMP), got = 0;

	if (fd < 0)
		return -30;
	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &t, sizeof(t));
	for (uint32_t i = 0; i < o->count; i++) {
		struct icmphdr h = {.type = ICMP_ECHO,
				    .un.echo = {.id = 7, .sequence = (uint16_t)i}};
		ssize_t n;

		fill(out, o->size, i, 3);
		memcpy(out, &h, sizeof(h));
		h.checksum = skep_csum_fold(skep_csum_add(0, out, o->size));
		memcpy(out, &h, sizeof(h));
		sendto(fd, out, o->size, 0, (struct sockaddr *)&to, sizeof(to));
		while ((n = recv(fd, in, sizeof(in), 0)) > 0) {
			if (in[20] != ICMP_ECHOREPLY || memcmp(in + 26, &h.un.echo.sequence, 2))
				continue;
			got += n == (ssize_t)o->size + 20 && !memcmp(in + 28, out + 8, o->size - 8);
			break;
		}
	}
	close(fd);
	return got;
}

/* UDP with segmentation offload: count datagrams of size bytes by one send. */
static int udp(const struct order *o)
{
	struct sockaddr_in to = {
		.sin_family = AF_INET, .sin_port = htons(o->port), .sin_addr = o->to};
	static uint8_t out[65536];
	int fd = socket(AF_INET, SOCK_DGRAM, 0), size = (int)o->size, r;

	fill(out, o->size * o->count, 0, 4);
	setsockopt(fd, IPPROTO_UDP, 103 /* UDP_SEGMENT */, &size, sizeof(size));
	r = sendto(fd, out, o->size * o->count, 0, (struct sockaddr *)&to, sizeof(to)) ==
			    (ssize_t)(o->size * o->count)
		    ? 0
		    : -errno;
	close(fd);
	return r;
}

/* One TCP packet of count * size payload bytes with tag 7 (priority 3), to be segmented and
 * summed by the hardware; or, count 0, a small tagged UDP-like frame of size bytes. */
static int tagged(const struct order *o)
{
	static uint8_t f[sizeof(struct virtio_net_hdr) + 65536];
	struct virtio_net_hdr v = {0};
	struct sockaddr_ll to = {.sll_family = AF_PACKET, .sll_halen = 6};
	static const uint8_t head[58] = {2,    0,    0,    0,    0,    2, 2,  0, 0,  0,
					 0,    1,    0x81, 0,    0x60, 7, 8,  0, /* Ethernet, tag */
					 0x45, 0,    0,    0,    0,    1, 0,  0, 64, 6,
					 0,    0,    10,   9,    0,    1, 10, 9, 0,  2, /* IPv4 */
					 0x1b, 0x58, 0x1b, 0x59, 0,    0, 1,  0, 0,  0,
					 0,    0,    0x50, 0x18, 1,    0, 0,  0};
	int fd = socket(AF_PACKET, SOCK_RAW, 0), one = 1, r;
	size_t payload = o->count ? (size_t)o->count * o->size : o->size;
	uint8_t *frame = f + sizeof(v);
	uint16_t len = htons((uint16_t)(payload + 40)), sum;
	uint64_t pseudo;

	memcpy(frame, head, sizeof(head));
	memcpy(frame + 20, &len, 2);
	sum = skep_csum_fold(skep_csum_add(0, frame + 18, 20));
	memcpy(frame + 28, &sum, 2);
	fill(frame + 58, payload, 0, 5);
	if (o->count) {
		v.flags = VIRTIO_NET_HDR_F_NEEDS_CSUM;
		v.gso_type = VIRTIO_NET_HDR_GSO_TCPV4;
		v.gso_size = (uint16_t)o->size;
		v.hdr_len = 58;
		v.csum_start = 38;
		v.csum_offset = 16;
		pseudo = skep_csum_add(htons(6) + htons((uint16_t)(payload + 20)), frame + 30, 8);
		sum = (uint16_t)~skep_csum_fold(pseudo);
		memcpy(frame + 54, &sum, 2);
	}
	memcpy(f, &v, sizeof(v));
	to.sll_ifindex = (int)if_nametoindex("c0");
	if (setsockopt(fd, SOL_PACKET, PACKET_VNET_HDR, &one, sizeof(one)))
		return -errno;
	r = sendto(fd, f, sizeof(v) + 58 + payload, 0, (struct sockaddr *)&to, sizeof(to)) < 0
		    ? -errno
		    : 0;
	close(fd);
	return r;
}

/* How many UDP frames with tag 5 come in at s0 within a second. */
static int sniff(void)
{
	static const uint8_t tag[] = {0x81, 0, 0, 5, 8, 0};
	struct skep_packet p[SKEP_PORT_BATCH];
	uint64_t end = now_ns() + 1000000000ull;
	struct skep_port *port;
	char why[256];
	int n = 0;

	if (skep_port_open(&port, "s0", why, sizeof(why)))
		return -40;
	while (now_ns() < end) {
		int got = skep_port_recv(port, p, SKEP_PORT_BATCH);

		for (int i = 0; i < got; i++) {
			const uint8_t *f = p[i].buf + p[i].off;

			n += !memcmp(f + 12, tag, sizeof(tag)) && f[27] == IPPROTO_UDP;
		}
		if (!got)
			usleep(1000);
	}
	skep_port_close(port);
	return n;
}

/* Whether segmentation offload is on for an interface. */
static int offloads(const char *ifname)
{
	struct ethtool_value v = {.cmd = ETHTOOL_GTSO};
	int fd = socket(AF_INET, SOCK_DGRAM, 0), r;
	struct ifreq ifr = {.ifr_data = (void *)&v};

	snprintf(ifr.ifr_name, sizeof(ifr.ifr_name), "%s", ifname);
	r = ioctl(fd, SIOCETHTOOL, &ifr);
	close(fd);
	return r ? -errno : (int)v.data;
}

#define INSN(c, d, s, o, i)                                                                        \
	((struct bpf_insn){.code = (c), .dst_reg = (d), .src_reg = (s), .off = (o), .imm = (i)})
#define RETURN(v)                                                                                  \
	INSN(BPF_ALU64 | BPF_MOV | BPF_K, 0, 0, 0, v), INSN(BPF_JMP | BPF_EXIT, 0, 0, 0, 0)

#define TAG 7

/* The kernel's programs that tag what this end sends, and take the tag of what comes in: what has
 * none is dropped. Real stacks with their offloads then speak through tags, without VLAN devices. */
static int tag_links[2] = {-1, -1};

static int tag_none(void)
{
	for (int i = 0; i < 2; i++) {
		if (tag_links[i] >= 0)
			close(tag_links[i]);
		tag_links[i] = -1;
	}
	return 0;
}

static int tag_all(const struct order *o)
{
	const struct bpf_insn push[] = {
		INSN(BPF_ALU64 | BPF_MOV | BPF_K, 2, 0, 0, htons(0x8100)),
		INSN(BPF_ALU64 | BPF_MOV | BPF_K, 3, 0, 0, TAG),
		INSN(BPF_JMP | BPF_CALL, 0, 0, 0, BPF_FUNC_skb_vlan_push),
		RETURN(TCX_PASS),
	};
	const struct bpf_insn pop[] = {
		INSN(BPF_LDX | BPF_MEM | BPF_W, 2, 1, offsetof(struct __sk_buff, vlan_present), 0),
		INSN(BPF_JMP | BPF_JNE | BPF_K, 2, 0, 2, 0),
		RETURN(TCX_DROP),
		INSN(BPF_JMP | BPF_CALL, 0, 0, 0, BPF_FUNC_skb_vlan_pop),
		RETURN(TCX_PASS),
	};

	for (int i = 0; i < 2; i++) {
		int fd =
			kern_load(BPF_PROG_TYPE_SCHED_CLS, i ? pop : push,
				  i ? sizeof(pop) / sizeof(pop[0]) : sizeof(push) / sizeof(push[0]),
				  0, NULL, 0);
		union bpf_attr attr = {
			.link_create = {.prog_fd = (uint32_t)fd,
					.target_fd = if_nametoindex(o->text),
					.attach_type = i ? BPF_TCX_INGRESS : BPF_TCX_EGRESS}};

		if (fd < 0)
			return fd;
		tag_links[i] = (int)kern_bpf(BPF_LINK_CREATE, &attr);
		close(fd);
		if (tag_links[i] < 0)
			return tag_links[i];
	}
	return 0;
}

static int obey(const struct order *o)
{
	switch (o->what) {
	case DO_CONFIG:
		return system(o->text);
	case DO_SERVE:
		return serve(o);
	case DO_TALK:
		return talk(o);
	case DO_PING:
		return ping(o);
	case DO_UDP:
		return udp(o);
	case DO_TAGGED:
		return tagged(o);
	case DO_SNIFF:
		return sniff();
	case DO_OFFLOADS:
		return offloads(o->text);
	case DO_TAG:
		return tag_all(o);
	case DO_UNTAG:
		return tag_none();
	case DO_QUIT:
		_exit(0);
	}
	return -1;
}

static int start_end(struct end *e)
{
	int fds[2];
	char c;

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, fds))
		return -1;
	e->pid = fork();
	if (!e->pid) {
		struct order o;
		int r;

		close(fds[0]);
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		r = unshare(CLONE_NEWNET);
		c = r ? 'e' : 'k';
		if (write(fds[1], &c, 1) != 1)
			_exit(1);
		while (recv(fds[1], &o, sizeof(o), 0) == sizeof(o)) {
			r = obey(&o);
			if (send(fds[1], &r, sizeof(r), 0) != sizeof(r))
				break;
		}
		_exit(0);
	}
	close(fds[1]);
	e->fd = fds[0];
	return e->pid > 0 && read(e->fd, &c, 1) == 1 && c == 'k' ? 0 : -1;
}

static void tell(struct end *e, const struct order *o)
{
	assert_int_equal(send(e->fd, o, sizeof(*o), 0), sizeof(*o));
}

static int answer(struct end *e, unsigned seconds)
{
	struct pollfd p = {.fd = e->fd, .events = POLLIN};
	int r = -99;

	if (poll(&p, 1, (int)seconds * 1000) == 1)
		assert_int_equal(recv(e->fd, &r, sizeof(r), 0), sizeof(r));
	return r;
}

static int do_now(struct end *e, const struct order *o)
{
	tell(e, o);
	return answer(e, 60);
}

/* ---- The topology ---- */

static struct end client, server;

static int config(struct end *e, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
static int config(struct end *e, const char *fmt, ...)
{
	struct order o = {.what = DO_CONFIG};
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(o.text, sizeof(o.text), fmt, ap);
	va_end(ap);
	return do_now(e, &o);
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

static int setup(void **state)
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

static int teardown(void **state)
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

#define NEED_NAMESPACES()                                                                          \
	do {                                                                                       \
		if (why_not[0]) {                                                                  \
			print_message("skipped: %s\n", why_not);                                   \
			skip();                                                                    \
		}                                                                                  \
	} while (0)

/* A wire on a thread of its own. */
struct live {
	struct skep_wire wire;
	struct skep_wire_stats stats;
	volatile sig_atomic_t stop;
	pthread_t thread;
	int result;
};

static void *run_wire(void *arg)
{
	struct live *l = arg;

	l->result = skep_wire_run(&l->wire, &l->stats);
	return NULL;
}

static void start_wire(struct live *l, bool two)
{
	char why[256] = "";

	memset(l, 0, sizeof(*l));
	if (skep_port_open(&l->wire.a, "wa", why, sizeof(why)) ||
	    (two && skep_port_open(&l->wire.b, "wb", why, sizeof(why))))
		fail_msg("%s", why);
	l->wire.stop = &l->stop;
	assert_int_equal(pthread_create(&l->thread, NULL, run_wire, l), 0);
}

static void stop_wire(struct live *l)
{
	uint64_t at = now_ns();

	__atomic_store_n(&l->stop, 1, __ATOMIC_RELAXED);
	pthread_join(l->thread, NULL);
	assert_true(now_ns() - at < 2000000000ull);
	assert_int_equal(l->result, 0);
	skep_port_close(l->wire.a);
	skep_port_close(l->wire.b);
}

static struct order to_server(enum what what, const char *addr)
{
	struct order o = {.what = what, .port = 7000};

	inet_aton(addr, &o.to);
	snprintf(o.text, sizeof(o.text), "%s", addr);
	return o;
}

/* bytes of TCP each way through the wire. */
static void tcp_both_ways(const char *addr, uint64_t bytes)
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

/* ---- Tests with namespaces ---- */

static void test_nothing_without_wire(void **state)
{
	struct order o = to_server(DO_PING, "10.9.0.2");

	NEED_NAMESPACES();
	o.size = 64;
	o.count = 1;
	assert_int_equal(do_now(&client, &o), 0);
}

static void test_ping(void **state)
{
	struct order o = to_server(DO_PING, "10.9.0.2");
	uint64_t at;
	struct live l;

	NEED_NAMESPACES();
	start_wire(&l, true);
	o.size = 64;
	o.count = 20;
	assert_in_range(do_now(&client, &o), 19, 20); /* the first may wait for ARP */
	at = now_ns();
	assert_int_equal(do_now(&client, &o), 20);
	print_message("round trip: %.2f ms\n", (double)(now_ns() - at) / 20e6);
	o.size = 1480;
	assert_int_equal(do_now(&client, &o), 20);
	o.size = 20000; /* IP fragments */
	assert_int_equal(do_now(&client, &o), 20);
	stop_wire(&l);
	assert_true(l.stats.passed >= 59 + 20 * 14 && l.stats.backwards >= 59 + 20 * 14);
	assert_int_equal(l.stats.a.rx_bad + l.stats.b.rx_bad, 0);
}

static void test_tcp(void **state)
{
	struct order o = {.what = DO_OFFLOADS, .text = "c0"};
	struct live l;

	NEED_NAMESPACES();
	start_wire(&l, true);
	tcp_both_ways("10.9.0.2", 100000000ull * scale());
	stop_wire(&l);
	/* Segmentation was left to the hardware, and still is. */
	assert_int_equal(do_now(&client, &o), 1);
	assert_int_equal(offloads("wa"), 1);
	assert_true(l.stats.a.rx_cut > 0 && l.stats.b.rx_cut > 0);
	assert_int_equal(l.stats.a.rx_bad + l.stats.b.rx_bad, 0);
	print_message("frames %llu and %llu, cut %llu and %llu, lost %llu\n",
		      (unsigned long long)l.stats.a.rx_frames,
		      (unsigned long long)l.stats.b.rx_frames, (unsigned long long)l.stats.a.rx_cut,
		      (unsigned long long)l.stats.b.rx_cut,
		      (unsigned long long)(l.stats.a.rx_lost + l.stats.b.rx_lost));
}

static void test_tcp6(void **state)
{
	struct live l;

	NEED_NAMESPACES();
	if (config(&client, "ip addr add fd09::1/64 dev c0 nodad 2>/dev/null") ||
	    config(&server, "ip addr add fd09::2/64 dev s0 nodad")) {
		print_message("skipped: no IPv6 here\n");
		skip();
	}
	start_wire(&l, true);
	tcp_both_ways("fd09::2", 50000000ull * scale());
	stop_wire(&l);
	assert_true(l.stats.a.rx_cut > 0 && l.stats.b.rx_cut > 0);
	assert_int_equal(l.stats.a.rx_bad + l.stats.b.rx_bad, 0);
}

static void test_vlan(void **state)
{
	struct order o = to_server(DO_PING, "10.7.0.2");
	struct live l;

	NEED_NAMESPACES();
	if (config(&client, "ip link add link c0 name c0.7 type vlan id 7 2>/dev/null && "
			    "ip addr add 10.7.0.1/24 dev c0.7 && ip link set c0.7 up") ||
	    config(&server, "ip link add link s0 name s0.7 type vlan id 7 && "
			    "ip addr add 10.7.0.2/24 dev s0.7 && ip link set s0.7 up")) {
		print_message("skipped: this kernel has no VLAN interfaces\n");
		skip();
	}
	start_wire(&l, true);
	o.size = 1000;
	o.count = 10;
	assert_in_range(do_now(&client, &o), 9, 10);
	tcp_both_ways("10.7.0.2", 20000000ull * scale());
	stop_wire(&l);
	assert_int_equal(l.stats.a.rx_bad + l.stats.b.rx_bad, 0);
}

static void set_mtu(unsigned mtu)
{
	assert_int_equal(sh("ip link set wa mtu %u && ip link set wb mtu %u", mtu, mtu), 0);
	assert_int_equal(config(&client, "ip link set c0 mtu %u", mtu), 0);
	assert_int_equal(config(&server, "ip link set s0 mtu %u", mtu), 0);
}

static void test_jumbo(void **state)
{
	struct order o = to_server(DO_PING, "10.9.0.2");
	struct live l;

	NEED_NAMESPACES();
	set_mtu(9000);
	start_wire(&l, true);
	o.size = 8980;
	o.count = 10;
	assert_in_range(do_now(&client, &o), 9, 10);
	tcp_both_ways("10.9.0.2", 50000000ull * scale());
	stop_wire(&l);
	assert_int_equal(l.stats.a.rx_bad + l.stats.b.rx_bad, 0);
	set_mtu(1500);
}

/* A send of many datagrams arrives as many, each with its bytes. */
static void test_udp_segments(void **state)
{
	struct order o = to_server(DO_UDP, "10.9.0.2");
	struct skep_packet p[SKEP_PORT_BATCH];
	struct skep_port *port;
	char why[256];
	uint32_t seen = 0;

	NEED_NAMESPACES();
	assert_int_equal(skep_port_open(&port, "wa", why, sizeof(why)), 0);
	assert_int_equal(
		config(&client, "ip neigh replace 10.9.0.2 lladdr 02:00:00:00:00:02 dev c0"), 0);
	o.size = 1000;
	o.count = 40;
	assert_int_equal(do_now(&client, &o), 0);
	for (int i = 0; i < 100 && seen < 40; i++) {
		int n = skep_port_recv(port, p, SKEP_PORT_BATCH);

		for (int k = 0; k < n; k++) {
			const uint8_t *f = p[k].buf + p[k].off;
			uint8_t want[1000];
			uint64_t sum;

			if (p[k].len != 14 + 20 + 8 + 1000 || f[12] != 8 || f[13] || f[23] != 17)
				continue;
			for (size_t j = 0; j < 1000; j += 8) {
				uint8_t piece[8];

				fill(piece, 8, seen * 1000 + j, 4);
				memcpy(want + j, piece, 8);
			}
			assert_memory_equal(f + 42, want, 1000);
			assert_int_equal(skep_csum_fold(skep_csum_add(0, f + 14, 20)), 0);
			sum = skep_csum_add(htons(17) + htons(1008), f + 26, 8);
			assert_int_equal(skep_csum_fold(skep_csum_add(sum, f + 34, 1008)), 0);
			seen++;
		}
		if (!n)
			usleep(10000);
	}
	assert_int_equal(seen, 40);
	skep_port_close(port);
	assert_int_equal(config(&client, "ip neigh del 10.9.0.2 dev c0"), 0);
}

/* Tags, which the kernel takes out of a frame, are back; of each segment too. */
static void test_tags(void **state)
{
	struct order o = {.what = DO_TAGGED};
	struct skep_packet p[SKEP_PORT_BATCH];
	struct skep_port *port;
	char why[256];
	uint32_t small = 0, segments = 0;

	NEED_NAMESPACES();
	assert_int_equal(skep_port_open(&port, "wa", why, sizeof(why)), 0);
	o.size = 300;
	assert_int_equal(do_now(&client, &o), 0);
	o.size = 1400;
	o.count = 20;
	assert_int_equal(do_now(&client, &o), 0);
	for (int i = 0; i < 100 && segments < 20; i++) {
		int n = skep_port_recv(port, p, SKEP_PORT_BATCH);

		for (int k = 0; k < n; k++) {
			static const uint8_t tag[] = {0x81, 0, 0x60, 7, 8, 0};
			const uint8_t *f = p[k].buf + p[k].off;
			uint8_t want[1400];
			uint32_t seq;
			uint64_t sum;

			if (memcmp(f + 12, tag, sizeof(tag)))
				continue;
			fill(want, sizeof(want), segments * 1400, 5);
			if (p[k].len == 358) {
				assert_memory_equal(f + 58, want, 300);
				small++;
				continue;
			}
			assert_int_equal(p[k].len, 1458);
			assert_memory_equal(f + 58, want, 1400);
			memcpy(&seq, f + 42, 4);
			assert_int_equal(ntohl(seq), 256 + segments * 1400);
			/* PSH only on the last. */
			assert_int_equal(f[51], segments == 19 ? 0x18 : 0x10);
			assert_int_equal(skep_csum_fold(skep_csum_add(0, f + 18, 20)), 0);
			sum = skep_csum_add(htons(6) + htons(1420), f + 30, 8);
			assert_int_equal(skep_csum_fold(skep_csum_add(sum, f + 38, 1420)), 0);
			segments++;
		}
		if (!n)
			usleep(10000);
	}
	assert_int_equal(small, 1);
	assert_int_equal(segments, 20);
	skep_port_close(port);
}

/* An interface that takes next to nothing does not hold up the other direction or the end. */
static void test_full_interface(void **state)
{
	struct order o = to_server(DO_UDP, "10.9.0.2"), p = to_server(DO_PING, "10.9.0.1");
	struct live l;

	NEED_NAMESPACES();
	if (sh("tc qdisc add dev wb root tbf rate 64kbit burst 3000 limit 20000000 2>/dev/null")) {
		print_message("skipped: no tbf queueing discipline\n");
		skip();
	}
	assert_int_equal(
		config(&client, "ip neigh replace 10.9.0.2 lladdr 02:00:00:00:00:02 dev c0"), 0);
	start_wire(&l, true);
	o.size = 1400;
	o.count = 40;
	for (int i = 0; i < 150; i++)
		assert_int_equal(do_now(&client, &o), 0);
	/* Backwards: requests of the server reach the client. */
	p.size = 64;
	p.count = 1;
	tell(&server, &p);
	usleep(300000);
	stop_wire(&l);
	answer(&server, 10);
	print_message("to a slow interface: %llu sent, %llu lost\n",
		      (unsigned long long)l.stats.b.tx_frames,
		      (unsigned long long)l.stats.b.tx_lost);
	sh("tc qdisc del dev wb root");
	assert_int_equal(config(&client, "ip neigh del 10.9.0.2 dev c0"), 0);
	assert_true(l.stats.b.tx_lost > 0);
	assert_true(l.stats.backwards > 0);
}

static void test_watch(void **state)
{
	struct order o = to_server(DO_PING, "10.9.0.2");
	struct live l;

	NEED_NAMESPACES();
	start_wire(&l, false);
	o.size = 64;
	o.count = 2;
	assert_int_equal(do_now(&client, &o), 0);
	stop_wire(&l);
	assert_true(l.stats.passed > 0);
	assert_int_equal(l.stats.a.tx_frames, 0);
}

static void test_link_gone(void **state)
{
	struct live l;

	NEED_NAMESPACES();
	start_wire(&l, true);
	usleep(100000);
	assert_int_equal(sh("ip link set wb down"), 0);
	usleep(300000);
	__atomic_store_n(&l.stop, 1, __ATOMIC_RELAXED);
	pthread_join(l.thread, NULL);
	assert_int_equal(l.result, -ENETDOWN);
	skep_port_close(l.wire.a);
	skep_port_close(l.wire.b);
	assert_int_equal(sh("ip link set wb up"), 0);
}

static void test_refused(void **state)
{
	struct skep_port *port;
	char why[256];

	NEED_NAMESPACES();
	assert_int_equal(skep_port_check_free("wa", why, sizeof(why)), 0);
	assert_int_equal(skep_port_check_free("nosuch", why, sizeof(why)), -ENODEV);
	assert_int_equal(skep_port_open(&port, "nosuch", why, sizeof(why)), -ENODEV);
	assert_non_null(strstr(why, "nosuch"));
	assert_int_equal(sh("ip addr add 10.1.1.1/24 dev wa"), 0);
	assert_int_equal(skep_port_check_free("wa", why, sizeof(why)), -EBUSY);
	assert_non_null(strstr(why, "10.1.1.1"));
	assert_int_equal(sh("ip addr flush dev wa"), 0);
	if (!sh("ip link add br0 type bridge && ip link set wa master br0")) {
		assert_int_equal(skep_port_check_free("wa", why, sizeof(why)), -EBUSY);
		assert_non_null(strstr(why, "br0"));
		assert_int_equal(sh("ip link del br0"), 0);
	}
	if (!sh("sysctl -qw net.ipv4.conf.wa.forwarding=1 2>/dev/null")) {
		assert_int_equal(skep_port_check_free("wa", why, sizeof(why)), -EBUSY);
		assert_non_null(strstr(why, "forwards"));
		assert_int_equal(sh("sysctl -qw net.ipv4.conf.wa.forwarding=0"), 0);
	}
	assert_int_equal(skep_port_check_free("wa", why, sizeof(why)), 0);
}

/* ---- Programs on the wire ---- */

static int load_fd(uint32_t type, uint32_t attach, const struct bpf_insn *insns, uint32_t n)
{
	static char log[65536];
	union bpf_attr attr = {.prog_type = type,
			       .expected_attach_type = attach,
			       .insns = (uintptr_t)insns,
			       .insn_cnt = n,
			       .license = (uintptr_t) "GPL",
			       .log_level = 1,
			       .log_buf = (uintptr_t)log,
			       .log_size = sizeof(log)};
	long fd = skep_bpf(skep, BPF_PROG_LOAD, &attr, sizeof(attr));

	if (fd < 0)
		fail_msg("%ld: %s", fd, log);
	return (int)fd;
}

static struct skep_runner *load(uint32_t type, const struct bpf_insn *insns, uint32_t n)
{
	int fd = load_fd(type, 0, insns, n);
	struct skep_runner *runner;

	assert_int_equal(skep_runner_open(&runner, skep, fd), 0);
	close(fd);
	return runner;
}

/* IPv4 packets of a protocol get `verdict`, others pass. */
static struct skep_runner *by_protocol(uint8_t proto, int verdict)
{
	struct bpf_insn prog[] = {
		INSN(BPF_LDX | BPF_MEM | BPF_W, 2, 1, 0, 0),
		INSN(BPF_LDX | BPF_MEM | BPF_W, 3, 1, 4, 0),
		INSN(BPF_ALU64 | BPF_MOV | BPF_X, 4, 2, 0, 0),
		INSN(BPF_ALU64 | BPF_ADD | BPF_K, 4, 0, 0, 34),
		INSN(BPF_JMP | BPF_JGT | BPF_X, 4, 3, 5, 0),
		INSN(BPF_LDX | BPF_MEM | BPF_H, 5, 2, 12, 0),
		INSN(BPF_JMP | BPF_JNE | BPF_K, 5, 0, 3, htons(0x0800)),
		INSN(BPF_LDX | BPF_MEM | BPF_B, 5, 2, 23, 0),
		INSN(BPF_JMP | BPF_JNE | BPF_K, 5, 0, 1, proto),
		INSN(BPF_JMP | BPF_JA, 0, 0, 2, 0),
		RETURN(XDP_PASS),
		RETURN(verdict),
	};

	return load(BPF_PROG_TYPE_XDP, prog, sizeof(prog) / sizeof(prog[0]));
}

static void start_program(struct live *l, struct skep_runner *runner, uint32_t type)
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

/* What is dropped is gone, and nothing else is. */
static void test_drop(void **state)
{
	struct order o = to_server(DO_PING, "10.9.0.2");
	struct skep_runner *runner;
	struct live l;

	NEED_NAMESPACES();
	runner = by_protocol(IPPROTO_ICMP, XDP_DROP);
	start_program(&l, runner, BPF_PROG_TYPE_XDP);
	o.size = 64;
	o.count = 2;
	assert_int_equal(do_now(&client, &o), 0);
	tcp_both_ways("10.9.0.2", 10000000);
	stop_wire(&l);
	assert_int_equal(l.stats.dropped, 2);
	assert_true(l.stats.passed > 1000);
	skep_runner_close(runner);
}

static void test_tx(void **state)
{
	struct order o = to_server(DO_PING, "10.9.0.2");
	struct skep_runner *runner;
	struct live l;

	NEED_NAMESPACES();
	runner = by_protocol(IPPROTO_ICMP, XDP_TX);
	start_program(&l, runner, BPF_PROG_TYPE_XDP);
	o.size = 64;
	o.count = 2;
	/* The requests come back as they are, which are no replies. */
	assert_int_equal(do_now(&client, &o), 0);
	stop_wire(&l);
	assert_int_equal(l.stats.returned, 2);
	assert_true(l.stats.a.tx_frames >= 2);
	skep_runner_close(runner);
}

static void test_redirect(void **state)
{
	union bpf_attr attr = {
		.map_type = BPF_MAP_TYPE_DEVMAP, .key_size = 4, .value_size = 4, .max_entries = 4};
	struct order o = to_server(DO_PING, "10.9.0.2");
	uint32_t key = 2, ifindex;
	struct skep_runner *runner;
	struct live l;
	long map;

	NEED_NAMESPACES();
	map = skep_bpf(skep, BPF_MAP_CREATE, &attr, sizeof(attr));
	assert_true(map >= 0);
	struct bpf_insn prog[] = {
		INSN(BPF_LD | BPF_DW | BPF_IMM, 1, BPF_PSEUDO_MAP_FD, 0, (int)map),
		INSN(0, 0, 0, 0, 0),
		INSN(BPF_ALU64 | BPF_MOV | BPF_K, 2, 0, 0, 2),
		INSN(BPF_ALU64 | BPF_MOV | BPF_K, 3, 0, 0, 0),
		INSN(BPF_JMP | BPF_CALL, 0, 0, 0, BPF_FUNC_redirect_map),
		INSN(BPF_JMP | BPF_EXIT, 0, 0, 0, 0),
	};

	ifindex = if_nametoindex("wb");
	attr = (union bpf_attr){
		.map_fd = (uint32_t)map, .key = (uintptr_t)&key, .value = (uintptr_t)&ifindex};
	assert_int_equal(skep_bpf(skep, BPF_MAP_UPDATE_ELEM, &attr, sizeof(attr)), 0);
	runner = load(BPF_PROG_TYPE_XDP, prog, sizeof(prog) / sizeof(prog[0]));
	start_program(&l, runner, BPF_PROG_TYPE_XDP);
	o.size = 64;
	o.count = 5;
	assert_in_range(do_now(&client, &o), 4, 5);
	stop_wire(&l);
	assert_true(l.stats.redirected >= 5);
	assert_int_equal(l.stats.passed + l.stats.lost_redirects, 0);
	skep_runner_close(runner);
	close((int)map);
}

/* To all that the map holds but where it came from. */
static void test_broadcast(void **state)
{
	union bpf_attr attr = {
		.map_type = BPF_MAP_TYPE_DEVMAP, .key_size = 4, .value_size = 4, .max_entries = 4};
	struct bpf_insn prog[] = {
		INSN(BPF_LD | BPF_DW | BPF_IMM, 1, BPF_PSEUDO_MAP_FD, 0, 0),
		INSN(0, 0, 0, 0, 0),
		INSN(BPF_ALU64 | BPF_MOV | BPF_K, 2, 0, 0, 0),
		INSN(BPF_ALU64 | BPF_MOV | BPF_K, 3, 0, 0, BPF_F_BROADCAST),
		INSN(BPF_JMP | BPF_CALL, 0, 0, 0, BPF_FUNC_redirect_map),
		INSN(BPF_JMP | BPF_EXIT, 0, 0, 0, 0),
	};
	struct order o = to_server(DO_PING, "10.9.0.2");
	uint32_t ifindex[] = {if_nametoindex("wa"), if_nametoindex("wb")};
	struct skep_runner *runner;
	struct live l;
	long map;

	NEED_NAMESPACES();
	map = skep_bpf(skep, BPF_MAP_CREATE, &attr, sizeof(attr));
	assert_true(map >= 0);
	prog[0].imm = (int)map;
	for (uint32_t key = 0; key < 2; key++) {
		attr = (union bpf_attr){.map_fd = (uint32_t)map,
					.key = (uintptr_t)&key,
					.value = (uintptr_t)&ifindex[key]};
		assert_int_equal(skep_bpf(skep, BPF_MAP_UPDATE_ELEM, &attr, sizeof(attr)), 0);
	}
	for (int exclude = 0; exclude < 2; exclude++) {
		prog[3].imm = BPF_F_BROADCAST | (exclude ? BPF_F_EXCLUDE_INGRESS : 0);
		runner = load(BPF_PROG_TYPE_XDP, prog, sizeof(prog) / sizeof(prog[0]));
		start_program(&l, runner, BPF_PROG_TYPE_XDP);
		o.size = 64;
		o.count = 5;
		assert_in_range(do_now(&client, &o), 4, 5);
		stop_wire(&l);
		assert_true(l.stats.redirected >= 5);
		/* What the server answers goes out of A; so do the copies, unless excluded. */
		if (exclude)
			assert_int_equal(l.stats.a.tx_frames, l.stats.backwards);
		else
			assert_true(l.stats.a.tx_frames >= l.stats.backwards + 5);
		skep_runner_close(runner);
	}
	close((int)map);
}

/* The map's element holds a program, which drops what is addressed to the server. */
static void test_devmap_program(void **state)
{
	struct bpf_insn drop[] = {
		INSN(BPF_LDX | BPF_MEM | BPF_W, 0, 1, 20, 0), /* egress_ifindex */
		INSN(BPF_JMP | BPF_JEQ | BPF_K, 0, 0, 2, (int)if_nametoindex("wb")),
		RETURN(XDP_PASS),
		RETURN(XDP_DROP),
	};
	union bpf_attr attr = {.map_type = BPF_MAP_TYPE_DEVMAP_HASH,
			       .key_size = 4,
			       .value_size = 8,
			       .max_entries = 4};
	uint32_t key = 77, value[2];
	struct bpf_insn prog[] = {
		INSN(BPF_LD | BPF_DW | BPF_IMM, 1, BPF_PSEUDO_MAP_FD, 0, 0),
		INSN(0, 0, 0, 0, 0),
		INSN(BPF_ALU64 | BPF_MOV | BPF_K, 2, 0, 0, 77),
		INSN(BPF_ALU64 | BPF_MOV | BPF_K, 3, 0, 0, 0),
		INSN(BPF_JMP | BPF_CALL, 0, 0, 0, BPF_FUNC_redirect_map),
		INSN(BPF_JMP | BPF_EXIT, 0, 0, 0, 0),
	};
	struct order o = to_server(DO_PING, "10.9.0.2");
	struct skep_runner *runner;
	struct live l;
	int plain;
	long map;

	NEED_NAMESPACES();
	map = skep_bpf(skep, BPF_MAP_CREATE, &attr, sizeof(attr));
	assert_true(map >= 0);
	prog[0].imm = (int)map;
	value[0] = if_nametoindex("wb");
	/* Only programs made for it. */
	plain = load_fd(BPF_PROG_TYPE_XDP, 0, drop + 2, 2);
	value[1] = (uint32_t)plain;
	attr = (union bpf_attr){
		.map_fd = (uint32_t)map, .key = (uintptr_t)&key, .value = (uintptr_t)value};
	assert_int_equal(skep_bpf(skep, BPF_MAP_UPDATE_ELEM, &attr, sizeof(attr)), -EINVAL);
	close(plain);
	value[1] = (uint32_t)load_fd(BPF_PROG_TYPE_XDP, BPF_XDP_DEVMAP, drop, 6);
	assert_int_equal(skep_bpf(skep, BPF_MAP_UPDATE_ELEM, &attr, sizeof(attr)), 0);
	close((int)value[1]);
	runner = load(BPF_PROG_TYPE_XDP, prog, sizeof(prog) / sizeof(prog[0]));
	start_program(&l, runner, BPF_PROG_TYPE_XDP);
	o.size = 64;
	o.count = 2;
	assert_int_equal(do_now(&client, &o), 0);
	stop_wire(&l);
	assert_true(l.stats.lost_redirects > 0);
	assert_int_equal(l.stats.redirected, 0);
	skep_runner_close(runner);
	close((int)map);
}

/* A tag that a tc program sets is in the frames that go out. */
/* Passes what is tagged, and nothing else. */
static struct skep_runner *only_tagged(void)
{
	const struct bpf_insn insns[] = {
		INSN(BPF_LDX | BPF_MEM | BPF_W, 2, 1, 0, 0),
		INSN(BPF_LDX | BPF_MEM | BPF_W, 3, 1, 4, 0),
		INSN(BPF_ALU64 | BPF_MOV | BPF_X, 4, 2, 0, 0),
		INSN(BPF_ALU64 | BPF_ADD | BPF_K, 4, 0, 0, 16),
		INSN(BPF_JMP | BPF_JGT | BPF_X, 4, 3, 6, 0),
		INSN(BPF_LDX | BPF_MEM | BPF_H, 5, 2, 12, 0),
		INSN(BPF_JMP | BPF_JNE | BPF_K, 5, 0, 4, htons(0x8100)),
		INSN(BPF_LDX | BPF_MEM | BPF_H, 5, 2, 14, 0),
		INSN(BPF_JMP | BPF_JNE | BPF_K, 5, 0, 2, htons(TAG)),
		RETURN(XDP_PASS),
		RETURN(XDP_DROP),
	};

	return load(BPF_PROG_TYPE_XDP, insns, sizeof(insns) / sizeof(insns[0]));
}

/* TCP in tags, both ways: large frames are cut with their tag, their content stays. */
static void test_tagged_tcp(void **state)
{
	struct order c = {.what = DO_TAG, .text = "c0"}, s = {.what = DO_TAG, .text = "s0"};
	struct skep_runner *runner;
	struct live l;

	NEED_NAMESPACES();
	if (do_now(&client, &c) || do_now(&server, &s)) {
		c.what = s.what = DO_UNTAG;
		do_now(&client, &c);
		do_now(&server, &s);
		print_message("skipped: no bpf(2) with tcx here\n");
		skip();
	}
	runner = only_tagged();
	start_program(&l, runner, BPF_PROG_TYPE_XDP);
	tcp_both_ways("10.9.0.2", 30000000ull * scale());
	stop_wire(&l);
	skep_runner_close(runner);
	c.what = s.what = DO_UNTAG;
	assert_int_equal(do_now(&client, &c), 0);
	assert_int_equal(do_now(&server, &s), 0);
	assert_true(l.stats.a.rx_cut > 0 && l.stats.b.rx_cut > 0);
	assert_int_equal(l.stats.a.rx_bad + l.stats.b.rx_bad, 0);
	print_message("ran: net_tagged_tcp 1\n");
}

static void test_push_tag(void **state)
{
	struct bpf_insn prog[] = {
		INSN(BPF_ALU64 | BPF_MOV | BPF_K, 2, 0, 0, htons(0x8100)),
		INSN(BPF_ALU64 | BPF_MOV | BPF_K, 3, 0, 0, 5),
		INSN(BPF_JMP | BPF_CALL, 0, 0, 0, BPF_FUNC_skb_vlan_push),
		RETURN(0),
	};
	struct order o = to_server(DO_UDP, "10.9.0.2"), sniffing = {.what = DO_SNIFF};
	struct skep_runner *runner;
	struct live l;

	NEED_NAMESPACES();
	assert_int_equal(
		config(&client, "ip neigh replace 10.9.0.2 lladdr 02:00:00:00:00:02 dev c0"), 0);
	runner = load(BPF_PROG_TYPE_SCHED_CLS, prog, sizeof(prog) / sizeof(prog[0]));
	start_program(&l, runner, BPF_PROG_TYPE_SCHED_CLS);
	tell(&server, &sniffing);
	usleep(200000);
	o.size = 1000;
	o.count = 10;
	assert_int_equal(do_now(&client, &o), 0);
	assert_int_equal(answer(&server, 10), 10);
	stop_wire(&l);
	skep_runner_close(runner);
	assert_int_equal(config(&client, "ip neigh del 10.9.0.2 dev c0"), 0);
}

/* ---- Frames and capture files: anywhere ---- */

static uint64_t rnd_state = 0x123456789abcdefull;
static uint32_t rnd(uint32_t n)
{
	rnd_state ^= rnd_state << 13;
	rnd_state ^= rnd_state >> 7;
	rnd_state ^= rnd_state << 17;
	return (uint32_t)(rnd_state >> 16) % n;
}

/* Garbage for the segmenter: it ends, and stays inside its buffers (sanitizers watch). */
static void test_hostile_frames(void **state)
{
	static const uint8_t types[] = {VIRTIO_NET_HDR_GSO_TCPV4,
					VIRTIO_NET_HDR_GSO_TCPV6,
					5,
					3,
					0,
					VIRTIO_NET_HDR_GSO_TCPV4 | VIRTIO_NET_HDR_GSO_ECN};
	unsigned segments = 0;

	for (unsigned i = 0; i < 200000 * scale(); i++) {
		size_t len = rnd(300), cap = rnd(400);
		uint8_t *frame = malloc(len ? len : 1), *out = malloc(cap ? cap : 1);
		struct skep_offload off = {.gso_type = types[rnd(sizeof(types))],
					   .gso_size = (uint16_t)(rnd(4) ? rnd(100) : rnd(65536)),
					   .csum_start = (uint16_t)rnd(320),
					   .csum_offset = (uint16_t)(rnd(4) ? rnd(32) : 65535)};
		struct skep_segmenter s;
		unsigned n = 0;
		long r = 0;

		for (size_t k = 0; k < len; k++)
			frame[k] = (uint8_t)rnd(256);
		if (len > 60 && rnd(8)) {
			bool v6 = rnd(2);

			frame[12] = v6 ? 0x86 : 8;
			frame[13] = v6 ? 0xdd : 0;
			frame[14] = v6 ? 0x60 : (uint8_t)(0x45 + rnd(2));
			frame[v6 ? 20 : 23] = rnd(4) ? (rnd(2) ? 6 : 17) : (uint8_t)(rnd(3) * 43);
		}
		if (!skep_segment_start(&s, frame, len, &off))
			while ((r = skep_segment_next(&s, out, cap)) > 0)
				assert_true(++n <= len + 1);
		segments += n;
		skep_frame_checksum(frame, len, &off);
		free(frame);
		free(out);
	}
	assert_true(segments > 1000);
}

static char dir[64];

static const char *path(const char *name)
{
	static char p[128];

	snprintf(p, sizeof(p), "%s/%s", dir, name);
	return p;
}

static void test_capture(void **state)
{
	static const uint32_t lens[] = {14, 60, 1514, 0, 9014, 65535};
	struct skep_capture_writer *w;
	struct skep_error err = {0};
	struct skep_capture c;
	uint8_t data[65536];

	assert_int_equal(skep_capture_create(&w, path("t.pcap"), &err), 0);
	for (uint32_t i = 0; i < 6; i++) {
		memset(data, (int)i, sizeof(data));
		skep_capture_write(w, data, lens[i], lens[i] + i,
				   1700000000123456789ull + i * 1000000007ull);
	}
	assert_int_equal(skep_capture_close(w), 0);
	assert_int_equal(skep_capture_read(&c, path("t.pcap"), &err), 0);
	assert_int_equal(c.n, 6);
	assert_false(c.damaged);
	for (uint32_t i = 0; i < 6; i++) {
		assert_int_equal(c.packets[i].len, lens[i]);
		assert_int_equal(c.packets[i].wire_len, lens[i] + i);
		assert_int_equal(c.packets[i].ns, 1700000000123456789ull + i * 1000000007ull);
		memset(data, (int)i, sizeof(data));
		assert_memory_equal(c.data + c.packets[i].off, data, lens[i]);
	}
	skep_capture_free(&c);
}

/* Each way to cut and to spoil a file: an answer, never a crash or a wrong packet before
 * the damage. */
static void test_hostile_captures(void **state)
{
	uint8_t good[4096], bad[4096];
	struct skep_capture_writer *w;
	struct skep_error err = {0};
	struct skep_capture c;
	unsigned whole = 0, refused = 0, damaged = 0;
	size_t size;
	FILE *f;

	assert_int_equal(skep_capture_create(&w, path("good.pcap"), &err), 0);
	for (uint32_t i = 0; i < 5; i++) {
		uint8_t data[100];

		memset(data, (int)i, sizeof(data));
		skep_capture_write(w, data, 60 + i, 60 + i, i);
	}
	assert_int_equal(skep_capture_close(w), 0);
	f = fopen(path("good.pcap"), "rb");
	assert_non_null(f);
	size = fread(good, 1, sizeof(good), f);
	fclose(f);
	for (unsigned i = 0; i < size + 800 * scale(); i++) {
		size_t len = i < size ? i : size;
		int r;

		memcpy(bad, good, size);
		if (i >= size)
			for (unsigned k = 0; k <= rnd(4); k++)
				bad[rnd((uint32_t)size)] = (uint8_t)(rnd(3) ? rnd(256) : 255);
		f = fopen(path("bad.pcap"), "wb");
		assert_non_null(f);
		fwrite(bad, 1, len, f);
		fclose(f);
		r = skep_capture_read(&c, path("bad.pcap"), &err);
		if (r) {
			refused++;
		} else {
			damaged += c.damaged;
			whole += !c.damaged;
			if (i < size)
				assert_int_equal(c.n, len < 24 ? 0 : (len - 24) / 76 > 5 ? 5 : c.n);
		}
		if (!r)
			skep_capture_free(&c);
	}
	print_message("captures: %u refused, %u used up to the damage, %u whole\n", refused,
		      damaged, whole);
	assert_true(refused > 20 && damaged > 20);
	assert_true(skep_capture_read(&c, path("nosuch"), &err) == -ENOENT);
	assert_true(skep_capture_read(&c, dir, &err) == -EISDIR);
	assert_true(skep_capture_create(&w, path("no/such"), &err) < 0);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_drop),
		cmocka_unit_test(test_tx),
		cmocka_unit_test(test_redirect),
		cmocka_unit_test(test_push_tag),
		cmocka_unit_test(test_devmap_program),
		cmocka_unit_test(test_broadcast),
		cmocka_unit_test(test_tags),
		cmocka_unit_test(test_capture),
		cmocka_unit_test(test_hostile_captures),
		cmocka_unit_test(test_hostile_frames),
		cmocka_unit_test(test_nothing_without_wire),
		cmocka_unit_test(test_ping),
		cmocka_unit_test(test_tcp),
		cmocka_unit_test(test_tcp6),
		cmocka_unit_test(test_vlan),
		cmocka_unit_test(test_tagged_tcp),
		cmocka_unit_test(test_jumbo),
		cmocka_unit_test(test_udp_segments),
		cmocka_unit_test(test_full_interface),
		cmocka_unit_test(test_watch),
		cmocka_unit_test(test_link_gone),
		cmocka_unit_test(test_refused),
	};
	int r;

	snprintf(dir, sizeof(dir), "/tmp/skep-test-net-XXXXXX");
	if (!mkdtemp(dir))
		return 1;
	r = cmocka_run_group_tests(tests, setup, teardown);
	sh("rm -rf %s", dir);
	return r;
}
