// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/*
 * Counts packets and bytes per IP protocol, for IPv4 and IPv6, in a hash table; and
 * packet sizes in a histogram. Runs at the tc hook.
 *
 *	skep run examples/protocols.bpf.c --capture traffic.pcap
 */
#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <linux/in.h>
#include <linux/ip.h>
#include <linux/ipv6.h>
#include <linux/pkt_cls.h>
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_endian.h>

struct traffic {
	__u64 packets;
	__u64 bytes;
};

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__type(key, __u8);
	__type(value, struct traffic);
	__uint(max_entries, 256);
} protocols SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__type(key, __u32);
	__type(value, __u64);
	__uint(max_entries, 32);
} size_hist SEC(".maps");

static __always_inline __u32 log2_of(__u32 v)
{
	__u32 r = 0;

#pragma unroll
	for (int i = 16; i; i /= 2) {
		if (v >> i) {
			v >>= i;
			r += i;
		}
	}
	return r;
}

SEC("tc")
int count_protocols(struct __sk_buff *skb)
{
	void *data = (void *)(long)skb->data;
	void *data_end = (void *)(long)skb->data_end;
	struct ethhdr *eth = data;
	struct traffic first = {1, skb->len}, *t;
	__u32 slot = log2_of(skb->len) & 31;
	__u64 *hits = bpf_map_lookup_elem(&size_hist, &slot);
	__u8 proto;

	if (hits)
		__sync_fetch_and_add(hits, 1);
	if (data + sizeof(*eth) > data_end)
		return TC_ACT_OK;
	if (eth->h_proto == bpf_htons(ETH_P_IP)) {
		struct iphdr *ip = data + sizeof(*eth);

		if ((void *)(ip + 1) > data_end)
			return TC_ACT_OK;
		proto = ip->protocol;
	} else if (eth->h_proto == bpf_htons(ETH_P_IPV6)) {
		struct ipv6hdr *ip6 = data + sizeof(*eth);

		if ((void *)(ip6 + 1) > data_end)
			return TC_ACT_OK;
		proto = ip6->nexthdr;
	} else {
		return TC_ACT_OK;
	}
	t = bpf_map_lookup_elem(&protocols, &proto);
	if (t) {
		__sync_fetch_and_add(&t->packets, 1);
		__sync_fetch_and_add(&t->bytes, skb->len);
	} else {
		bpf_map_update_elem(&protocols, &proto, &first, BPF_NOEXIST);
	}
	return TC_ACT_OK;
}

char _license[] SEC("license") = "GPL";
