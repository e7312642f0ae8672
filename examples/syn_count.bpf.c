// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/*
 * Counts TCP connection requests (SYN without ACK) in global variables, and drops those to ports
 * above a limit.
 *
 *	skep run examples/syn_count.bpf.c --capture traffic.pcap
 */
#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <linux/in.h>
#include <linux/ip.h>
#include <linux/tcp.h>
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_endian.h>

/* Constants for the verifier; a loader may set them before loading. */
const volatile __u16 highest_port = 1023;

__u64 tcp_packets;
__u64 syn_packets;
__u64 dropped;
__u16 last_port;

SEC("xdp")
int count_syn(struct xdp_md *ctx)
{
	void *data = (void *)(long)ctx->data;
	void *data_end = (void *)(long)ctx->data_end;
	struct ethhdr *eth = data;
	struct iphdr *ip = data + sizeof(*eth);
	struct tcphdr *tcp;

	if ((void *)(ip + 1) > data_end || eth->h_proto != bpf_htons(ETH_P_IP))
		return XDP_PASS;
	if (ip->protocol != IPPROTO_TCP || ip->ihl < 5)
		return XDP_PASS;
	tcp = (void *)ip + ip->ihl * 4;
	if ((void *)(tcp + 1) > data_end)
		return XDP_PASS;
	__sync_fetch_and_add(&tcp_packets, 1);
	if (!tcp->syn || tcp->ack)
		return XDP_PASS;
	__sync_fetch_and_add(&syn_packets, 1);
	last_port = bpf_ntohs(tcp->dest);
	if (last_port <= highest_port)
		return XDP_PASS;
	__sync_fetch_and_add(&dropped, 1);
	return XDP_DROP;
}

char _license[] SEC("license") = "GPL";
