// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/*
 * Packets per source address in a map as it was defined before BTF: struct bpf_map_def in
 * a section "maps". libbpf 1.x dropped both; skep supplies the one and translates the
 * other.
 *
 *	skep run examples/legacy_map.bpf.c --capture traffic.pcap
 */
#include <stdint.h>
#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <linux/ip.h>
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_endian.h>

struct bpf_map_def SEC("maps") my_map = {
	.type = BPF_MAP_TYPE_HASH,
	.key_size = sizeof(uint32_t),
	.value_size = sizeof(uint64_t),
	.max_entries = 1024,
};

SEC("xdp_count")
int count_sources(struct xdp_md *ctx)
{
	void *data = (void *)(long)ctx->data;
	void *data_end = (void *)(long)ctx->data_end;
	struct ethhdr *eth = data;
	struct iphdr *ip = data + sizeof(*eth);
	uint64_t one = 1, *count;
	uint32_t source;

	if (data + sizeof(*eth) + sizeof(*ip) > data_end)
		return XDP_PASS;
	if (eth->h_proto != bpf_htons(ETH_P_IP))
		return XDP_PASS;
	source = ip->saddr;
	count = bpf_map_lookup_elem(&my_map, &source);
	if (count)
		__sync_fetch_and_add(count, 1);
	else
		bpf_map_update_elem(&my_map, &source, &one, BPF_ANY);
	return XDP_PASS;
}

char _license[] SEC("license") = "GPL";
