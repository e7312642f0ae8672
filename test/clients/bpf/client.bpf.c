// SPDX-License-Identifier: Apache-2.0
/* What the clients of test_clients load: names with skt_ are ours among a kernel's others. */
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

struct event {
	__u32 len, seq;
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 4);
	__type(key, __u32);
	__type(value, struct event);
} skt_seen SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 4096);
} skt_ring SEC(".maps");

const volatile __u32 step = 1;
__u32 packets = 0;

SEC("xdp")
int skt_xdp(struct xdp_md *ctx)
{
	__u32 key = ctx->data_end - ctx->data > 100 ? 1 : 0;
	struct event *seen = bpf_map_lookup_elem(&skt_seen, &key), *e;

	if (!seen)
		return XDP_ABORTED;
	packets += step;
	seen->len += ctx->data_end - ctx->data;
	seen->seq++;
	e = bpf_ringbuf_reserve(&skt_ring, sizeof(*e), 0);
	if (!e)
		return XDP_DROP;
	e->len = ctx->data_end - ctx->data;
	e->seq = packets;
	bpf_ringbuf_submit(e, 0);
	return XDP_PASS;
}

SEC("socket")
int skt_filter(struct __sk_buff *skb)
{
	return skb->len > 20 ? 20 : 0;
}

SEC("tc")
int skt_cls(struct __sk_buff *skb)
{
	bpf_printk("skt_cls %d bytes", skb->len);
	return skb->mark + 3;
}

char _license[] SEC("license") = "GPL";
