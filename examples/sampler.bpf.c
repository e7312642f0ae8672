// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/*
 * Sends every hundredth packet's addresses and first bytes to user space through a ring buffer.
 * The record's struct is named like the map, so that skep can print it.
 *
 *	skep run examples/sampler.bpf.c --capture traffic.pcap
 */
#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <linux/ip.h>
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_endian.h>

struct sample {
	__u64 number;
	__be32 source;
	__be32 destination;
	__u32 length;
	__u8 protocol;
	__u8 start[3];
};
/* Keeps the type in the program's BTF, although only pointers to it are used. */
struct sample *unused __attribute__((unused));

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 64 * 1024);
} samples SEC(".maps");

const volatile __u64 every = 100;
__u64 packets;
__u64 lost;

SEC("xdp")
int sample_packets(struct xdp_md *ctx)
{
	void *data = (void *)(long)ctx->data;
	void *data_end = (void *)(long)ctx->data_end;
	struct ethhdr *eth = data;
	struct iphdr *ip = data + sizeof(*eth);
	__u64 number = __sync_fetch_and_add(&packets, 1);
	struct sample *s;

	if (number % every || (void *)(ip + 1) > data_end ||
	    eth->h_proto != bpf_htons(ETH_P_IP))
		return XDP_PASS;
	s = bpf_ringbuf_reserve(&samples, sizeof(*s), 0);
	if (!s) {
		__sync_fetch_and_add(&lost, 1);
		return XDP_PASS;
	}
	s->number = number;
	s->source = ip->saddr;
	s->destination = ip->daddr;
	s->length = data_end - data;
	s->protocol = ip->protocol;
	__builtin_memcpy(s->start, data, sizeof(s->start));
	bpf_ringbuf_submit(s, 0);
	return XDP_PASS;
}

char _license[] SEC("license") = "GPL";
