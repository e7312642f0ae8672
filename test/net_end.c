// SPDX-License-Identifier: Apache-2.0
#include "net_end.h"

#include <arpa/inet.h>
#include <errno.h>
#include <linux/ethtool.h>
#include <linux/if_packet.h>
#include <linux/sockios.h>
#include <linux/virtio_net.h>
#include <net/if.h>
#include <netinet/ip_icmp.h>
#include <poll.h>
#include <sched.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "kern.h"
#include "net/frame.h"
#include "net/port.h"

uint64_t now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000ull + (uint64_t)t.tv_nsec;
}
void fill(uint8_t *buf, size_t len, uint64_t at, uint64_t seed)
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
int offloads(const char *ifname)
{
	struct ethtool_value v = {.cmd = ETHTOOL_GTSO};
	int fd = socket(AF_INET, SOCK_DGRAM, 0), r;
	struct ifreq ifr = {.ifr_data = (void *)&v};

	snprintf(ifr.ifr_name, sizeof(ifr.ifr_name), "%s", ifname);
	r = ioctl(fd, SIOCETHTOOL, &ifr);
	close(fd);
	return r ? -errno : (int)v.data;
}

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

int start_end(struct end *e)
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

void tell(struct end *e, const struct order *o)
{
	assert_int_equal(send(e->fd, o, sizeof(*o), 0), sizeof(*o));
}

int answer(struct end *e, unsigned seconds)
{
	struct pollfd p = {.fd = e->fd, .events = POLLIN};
	int r = -99;

	if (poll(&p, 1, (int)seconds * 1000) == 1)
		assert_int_equal(recv(e->fd, &r, sizeof(r), 0), sizeof(r));
	return r;
}

int do_now(struct end *e, const struct order *o)
{
	tell(e, o);
	return answer(e, 60);
}

int config(struct end *e, const char *fmt, ...)
{
	struct order o = {.what = DO_CONFIG};
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(o.text, sizeof(o.text), fmt, ap);
	va_end(ap);
	return do_now(e, &o);
}
