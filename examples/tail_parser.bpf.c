// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/*
 * A packet parser of four programs, one per protocol, which call each other through a
 * program array: a tail call does not return. The array is filled by the loader.
 *
 *	skep run examples/tail_parser.bpf.c --capture traffic.pcap --prog parse_ethernet
 */
#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <linux/in.h>
#include <linux/ip.h>
#include <linux/tcp.h>
#include <linux/udp.h>
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_endian.h>

enum layer { ETHERNET, IPV4, TCP, UDP, OTHER, LAYERS };

int parse_ipv4(struct xdp_md *ctx);
int parse_tcp(struct xdp_md *ctx);
int parse_udp(struct xdp_md *ctx);

struct {
	__uint(type, BPF_MAP_TYPE_PROG_ARRAY);
	__uint(key_size, sizeof(__u32));
	__uint(max_entries, LAYERS);
	__array(values, int(struct xdp_md *));
} parsers SEC(".maps") = {
	.values = {
		[IPV4] = (void *)&parse_ipv4,
		[TCP] = (void *)&parse_tcp,
		[UDP] = (void *)&parse_udp,
	},
};

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__type(key, __u32);
	__type(value, __u64);
	__uint(max_entries, LAYERS);
} seen SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__type(key, __be16);
	__type(value, __u64);
	__uint(max_entries, 1024);
} ports SEC(".maps");

static __always_inline void saw(__u32 layer)
{
	__u64 *n = bpf_map_lookup_elem(&seen, &layer);

	if (n)
		*n += 1;
}

static __always_inline void saw_port(__be16 port)
{
	__u64 one = 1, *n = bpf_map_lookup_elem(&ports, &port);

	if (n)
		__sync_fetch_and_add(n, 1);
	else
		bpf_map_update_elem(&ports, &port, &one, BPF_ANY);
}

/* Bounds are proved anew in each program: a tail call passes nothing but the context. */
static __always_inline struct iphdr *ipv4_of(struct xdp_md *ctx)
{
	void *data = (void *)(long)ctx->data;
	struct iphdr *ip = data + sizeof(struct ethhdr);

	return (void *)(ip + 1) > (void *)(long)ctx->data_end ? 0 : ip;
}

SEC("xdp")
int parse_ethernet(struct xdp_md *ctx)
{
	struct ethhdr *eth = (void *)(long)ctx->data;

	if ((void *)(eth + 1) > (void *)(long)ctx->data_end)
		return XDP_DROP;
	saw(ETHERNET);
	if (eth->h_proto == bpf_htons(ETH_P_IP))
		bpf_tail_call(ctx, &parsers, IPV4);
	/* Here: not IPv4, or the call failed. */
	saw(OTHER);
	return XDP_PASS;
}

SEC("xdp")
int parse_ipv4(struct xdp_md *ctx)
{
	struct iphdr *ip = ipv4_of(ctx);

	if (!ip || ip->ihl != 5)
		return XDP_DROP;
	saw(IPV4);
	if (ip->protocol == IPPROTO_TCP)
		bpf_tail_call(ctx, &parsers, TCP);
	else if (ip->protocol == IPPROTO_UDP)
		bpf_tail_call(ctx, &parsers, UDP);
	saw(OTHER);
	return XDP_PASS;
}

SEC("xdp")
int parse_tcp(struct xdp_md *ctx)
{
	struct iphdr *ip = ipv4_of(ctx);
	struct tcphdr *tcp = (void *)(ip + 1);

	if (!ip || (void *)(tcp + 1) > (void *)(long)ctx->data_end)
		return XDP_DROP;
	saw(TCP);
	saw_port(tcp->dest);
	return XDP_PASS;
}

SEC("xdp")
int parse_udp(struct xdp_md *ctx)
{
	struct iphdr *ip = ipv4_of(ctx);
	struct udphdr *udp = (void *)(ip + 1);

	if (!ip || (void *)(udp + 1) > (void *)(long)ctx->data_end)
		return XDP_DROP;
	saw(UDP);
	saw_port(udp->dest);
	return XDP_PASS;
}

char _license[] SEC("license") = "GPL";
