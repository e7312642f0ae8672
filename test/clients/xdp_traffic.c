// SPDX-License-Identifier: Apache-2.0
/* Attaches programs to the port A, whose other side is B, sends frames into the far end of A and
 * counts them at the far end of B: after each change, what goes through must be what the program says. */
#include <arpa/inet.h>
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <linux/if_link.h>
#include <linux/if_packet.h>
#include <net/ethernet.h>
#include <net/if.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define UDP  17
#define TCP  6
#define MARK 0xa5 /* of our frames: the namespace may make some of its own */
#define EACH 20
/* Newer than the header. */
#define TCX_INGRESS  46
#define TCX_EGRESS   47
#define TCX_NEXT     (-1)
#define TCX_PASS     0
#define TCX_DROP     2
#define BPF_F_BEFORE 8

static int in, out, failed;

/* Drops IPv4 of this protocol; the verdicts are the type's. */
static int load(enum bpf_prog_type type, int proto, int drop, int pass)
{
	/* Both contexts begin with lengths or addresses; those of packets stand elsewhere. */
	const short data = type == BPF_PROG_TYPE_XDP ? 0 : 76, end = data + 4;
	const struct bpf_insn insns[] = {
		{.code = BPF_LDX | BPF_MEM | BPF_W, .dst_reg = 2, .src_reg = 1, .off = data},
		{.code = BPF_LDX | BPF_MEM | BPF_W, .dst_reg = 3, .src_reg = 1, .off = end},
		{.code = BPF_ALU64 | BPF_MOV | BPF_X, .dst_reg = 4, .src_reg = 2},
		{.code = BPF_ALU64 | BPF_ADD | BPF_K, .dst_reg = 4, .imm = 50},
		{.code = BPF_ALU64 | BPF_MOV | BPF_K, .dst_reg = 0, .imm = pass},
		{.code = BPF_JMP | BPF_JGT | BPF_X, .dst_reg = 4, .src_reg = 3, .off = 3},
		{.code = BPF_LDX | BPF_MEM | BPF_B, .dst_reg = 5, .src_reg = 2, .off = 23},
		{.code = BPF_JMP | BPF_JNE | BPF_K, .dst_reg = 5, .off = 1, .imm = proto},
		{.code = BPF_ALU64 | BPF_MOV | BPF_K, .dst_reg = 0, .imm = drop},
		{.code = BPF_JMP | BPF_EXIT},
	};

	return bpf_prog_load(type, "drop", "GPL", insns, sizeof(insns) / sizeof(insns[0]), NULL);
}

static int open_end(const char *name)
{
	struct sockaddr_ll a = {.sll_family = AF_PACKET,
				.sll_protocol = htons(ETH_P_ALL),
				.sll_ifindex = (int)if_nametoindex(name)};
	struct timeval wait = {.tv_usec = 300000};
	int fd = socket(AF_PACKET, SOCK_RAW, htons(ETH_P_ALL));

	if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &wait, sizeof(wait)) ||
	    bind(fd, (struct sockaddr *)&a, sizeof(a)))
		return -1;
	return fd;
}

static void expect(const char *when, int udp, int tcp)
{
	unsigned char p[2048] = {2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2, 8, 0, 0x45};
	struct sockaddr_ll from;
	socklen_t len = sizeof(from);
	int got[256] = {0};
	ssize_t n;

	p[17] = 66;
	p[22] = 64;
	p[49] = MARK;
	for (int i = 0; i < 2 * EACH; i++) {
		p[23] = i % 2 ? UDP : TCP;
		if (send(in, p, 80, 0) != 80)
			failed = 1;
	}
	while ((n = recvfrom(out, p, sizeof(p), 0, (struct sockaddr *)&from, &len)) > 0) {
		if (n >= 60 && p[49] == MARK && from.sll_pkttype != PACKET_OUTGOING)
			got[p[23]]++;
		len = sizeof(from);
	}
	printf("%s: UDP %d TCP %d\n", when, got[UDP], got[TCP]);
	failed |= got[UDP] != udp || got[TCP] != tcp;
}

static void turn(void)
{
	int was = in;

	in = out;
	out = was;
}

/* Several programs of tcx, with XDP before them, and at the way out. */
static void lists(int a, int no_udp)
{
	int no_tcp = load(BPF_PROG_TYPE_SCHED_CLS, TCP, TCX_DROP, TCX_NEXT);
	int only_udp = load(BPF_PROG_TYPE_SCHED_CLS, UDP, TCX_PASS, TCX_DROP);
	int link = bpf_link_create(no_tcp, a, TCX_INGRESS, NULL);

	failed |= link < 0;
	expect("tcx leaves it to the next", EACH, 0);
	failed |= bpf_prog_attach(only_udp, a, TCX_INGRESS, BPF_F_BEFORE) != 0;
	close(link);
	usleep(1100000);
	expect("tcx without a link", EACH, 0);
	link = bpf_link_create(no_udp, a, BPF_XDP, NULL);
	failed |= link < 0;
	expect("XDP before tcx", 0, 0);
	turn();
	expect("backwards", EACH, EACH);
	failed |= bpf_prog_attach(no_tcp, a, TCX_EGRESS, 0) != 0;
	expect("tcx at the way out", EACH, 0);
	failed |= bpf_prog_detach2(no_tcp, a, TCX_EGRESS) != 0;
	turn();
	close(link);
	failed |= bpf_prog_detach2(only_udp, a, TCX_INGRESS) != 0;
}

int main(void)
{
	int a = (int)if_nametoindex("A"), link;
	int no_udp = load(BPF_PROG_TYPE_XDP, UDP, XDP_DROP, XDP_PASS);
	int no_tcp = load(BPF_PROG_TYPE_XDP, TCP, XDP_DROP, XDP_PASS);
	int cls = load(BPF_PROG_TYPE_SCHED_CLS, TCP, 2 /* TC_ACT_SHOT */, 0);
	LIBBPF_OPTS(bpf_link_create_opts, opts);

	in = open_end("far0");
	out = open_end("far1");
	if (!a || no_udp < 0 || no_tcp < 0 || cls < 0 || in < 0 || out < 0) {
		printf("errno %d\n", errno);
		return 2;
	}
	expect("nothing attached", EACH, EACH);
	link = bpf_link_create(no_udp, a, BPF_XDP, &opts);
	failed |= link < 0;
	expect("link", 0, EACH);
	failed |= bpf_link_update(link, no_tcp, NULL) != 0;
	expect("updated", EACH, 0);
	failed |= bpf_link_detach(link) != 0;
	expect("detached", EACH, EACH);
	close(link);
	failed |= bpf_xdp_attach(a, no_tcp, XDP_FLAGS_SKB_MODE, NULL) != 0;
	expect("netlink", EACH, 0);
	failed |= bpf_xdp_attach(a, no_udp, XDP_FLAGS_SKB_MODE, NULL) != 0;
	expect("netlink, replaced", 0, EACH);
	failed |= bpf_xdp_detach(a, XDP_FLAGS_SKB_MODE, NULL) != 0;
	expect("netlink, detached", EACH, EACH);
	link = bpf_link_create(cls, a, TCX_INGRESS, NULL);
	failed |= link < 0;
	expect("tcx", EACH, 0);
	close(link);
	usleep(1100000);
	lists(a, no_udp);
	usleep(1100000);
	link = bpf_link_create(no_udp, a, BPF_XDP, &opts);
	failed |= link < 0;
	expect("after a close", 0, EACH);
	return failed;
}
