// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/*
 * A small load balancer: TCP and UDP to one virtual address is spread over backends by a hash of
 * the flow, so that a connection stays with its backend. The destination is rewritten
 * and the packet goes back out. Requests and packets are counted per backend in per-CPU
 * arrays, without locks; the command shows their sums.
 *
 *	skep run examples/lb_percpu.bpf.c --capture traffic.pcap --write balanced.pcap
 */
#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <linux/in.h>
#include <linux/ip.h>
#include <linux/tcp.h>
#include <linux/udp.h>
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_endian.h>

#define BACKENDS 4
#define IP(a, b, c, d) bpf_htonl((a) << 24 | (b) << 16 | (c) << 8 | (d))

struct backend {
	__be32 address;
	__u8 mac[ETH_ALEN];
	__u16 pad;
};

const volatile __be32 virtual_address = IP(10, 0, 0, 100);
const volatile struct backend backends[BACKENDS] = {
	{IP(10, 0, 1, 1), {2, 0, 0, 0, 1, 1}, 0},
	{IP(10, 0, 1, 2), {2, 0, 0, 0, 1, 2}, 0},
	{IP(10, 0, 1, 3), {2, 0, 0, 0, 1, 3}, 0},
	{IP(10, 0, 1, 4), {2, 0, 0, 0, 1, 4}, 0},
};

struct counters {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__type(key, __u32);
	__type(value, __u64);
	__uint(max_entries, BACKENDS);
};
struct counters requests SEC(".maps");
struct counters packets SEC(".maps");

static __always_inline void count(void *map, __u32 backend)
{
	__u64 *n = bpf_map_lookup_elem(map, &backend);

	if (n)
		*n += 1;	/* no one else runs on this CPU meanwhile */
}

static __always_inline __u32 mix(__u32 h, __u32 v)
{
	h ^= v;
	h *= 0x9e3779b1;
	return h ^ h >> 15;
}

/* RFC 1624: a checksum after a 32-bit word under it changed. */
static __always_inline __u16 adjust(__u16 check, __u32 from, __u32 to)
{
	__u32 sum = (__u16)~check + (__u16)~(from >> 16) + (__u16)~from + (to >> 16) + (__u16)to;

	sum = (sum & 0xffff) + (sum >> 16);
	sum = (sum & 0xffff) + (sum >> 16);
	return ~sum;
}

SEC("xdp")
int balance(struct xdp_md *ctx)
{
	void *data = (void *)(long)ctx->data;
	void *data_end = (void *)(long)ctx->data_end;
	struct ethhdr *eth = data;
	struct iphdr *ip = data + sizeof(*eth);
	const volatile struct backend *to;
	__u32 hash, backend, address;
	struct tcphdr *tcp = (void *)(ip + 1);
	struct udphdr *udp = (void *)(ip + 1);

	if ((void *)(udp + 1) > data_end || eth->h_proto != bpf_htons(ETH_P_IP) || ip->ihl != 5 ||
	    ip->daddr != virtual_address || ip->frag_off & bpf_htons(0x3fff))
		return XDP_PASS;
	if (ip->protocol != IPPROTO_TCP && ip->protocol != IPPROTO_UDP)
		return XDP_PASS;

	/* Both protocols begin with their ports. */
	hash = mix(0, ip->saddr);
	hash = mix(hash, (__u32)udp->source << 16 | udp->dest);
	hash = mix(hash, ip->protocol);
	backend = hash % BACKENDS;
	to = &backends[backend];
	address = to->address;

	if (ip->protocol == IPPROTO_TCP) {
		if ((void *)(tcp + 1) > data_end)
			return XDP_PASS;
		tcp->check = adjust(tcp->check, ip->daddr, address);
		if (tcp->syn && !tcp->ack)
			count(&requests, backend);
	} else {
		if (udp->check)
			udp->check = adjust(udp->check, ip->daddr, address);
		count(&requests, backend);
	}
	ip->check = adjust(ip->check, ip->daddr, address);
	ip->daddr = address;
	__builtin_memcpy(eth->h_source, eth->h_dest, ETH_ALEN);
	for (int i = 0; i < ETH_ALEN; i++)
		eth->h_dest[i] = to->mac[i];
	count(&packets, backend);
	return XDP_TX;
}

char _license[] SEC("license") = "GPL";
