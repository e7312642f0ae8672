/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * guard: DDoS mitigation in XDP.
 *
 * Each source address has a token bucket for packets and one for SYNs. When all
 * SYNs together pass a limit, the flood rule is on: an address that has not yet
 * proven itself loses its first SYN. A real client sends the same one again after a
 * second and is let in from then on; a forger never repeats itself.
 */
#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <linux/in.h>
#include <linux/ip.h>
#include <linux/ipv6.h>
#include <linux/tcp.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

#include "guard.h"

#define MICRO       1000000ull
#define SECOND_NS   1000000000ull
#define MAX_TAGS    2
#define IP_FRAGMENT 0x1fff

const volatile struct guard_limits limits = {
	.pps = 10000,
	.burst = 20000,
	.syn_pps = 50,
	.syn_burst = 100,
	.flood_pps = 1000,
	.retry_ns = 500000000,
};

struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 65536);
	__type(key, struct guard_addr);
	__type(value, struct guard_source);
} sources SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_LPM_TRIE);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, 4096);
	__type(key, struct guard_prefix);
	__type(value, __u64);
} allow SEC(".maps"), deny SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, GUARD_REASONS);
	__type(key, __u32);
	__type(value, struct guard_count);
} counts SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct guard_flood);
} flood SEC(".maps");

struct vlan_tag {
	__be16 tci, proto;
};

/* What a packet tells about itself. */
struct packet {
	struct guard_prefix from; /* bits is 128: one address */
	__u64 len;
	__u32 seq, ports; /* of TCP */
	__u8 syn; /* opens a connection */
};

static __always_inline int verdict(enum guard_reason why, __u64 len)
{
	__u32 key = why;
	struct guard_count *c = bpf_map_lookup_elem(&counts, &key);

	if (c) {
		c->packets++;
		c->bytes += len;
	}
	return why < GUARD_DENIED ? XDP_PASS : XDP_DROP;
}

static __always_inline int parse_tcp(void *at, void *end, struct packet *p)
{
	struct tcphdr *tcp = at;

	if ((void *)(tcp + 1) > end)
		return GUARD_MALFORMED;
	p->syn = tcp->syn && !tcp->ack;
	p->seq = tcp->seq;
	p->ports = (__u32)tcp->source << 16 | tcp->dest;
	return GUARD_PASSED;
}

static __always_inline int parse_ipv4(void *at, void *end, struct packet *p)
{
	struct iphdr *ip = at;

	if ((void *)(ip + 1) > end || ip->ihl < 5)
		return GUARD_MALFORMED;
	p->from.addr.b[10] = 0xff;
	p->from.addr.b[11] = 0xff;
	__builtin_memcpy(&p->from.addr.b[12], &ip->saddr, 4);
	/* Only a datagram's first fragment has the TCP header. */
	if (ip->protocol != IPPROTO_TCP || (ip->frag_off & bpf_htons(IP_FRAGMENT)))
		return GUARD_PASSED;
	return parse_tcp(at + ip->ihl * 4, end, p);
}

static __always_inline int parse_ipv6(void *at, void *end, struct packet *p)
{
	struct ipv6hdr *ip = at;

	if ((void *)(ip + 1) > end)
		return GUARD_MALFORMED;
	__builtin_memcpy(p->from.addr.b, &ip->saddr, 16);
	if (ip->nexthdr != IPPROTO_TCP)
		return GUARD_PASSED;
	return parse_tcp(ip + 1, end, p);
}

static __always_inline int parse(struct xdp_md *ctx, struct packet *p)
{
	void *at = (void *)(long)ctx->data, *end = (void *)(long)ctx->data_end;
	struct ethhdr *eth = at;
	__be16 proto;

	p->len = end - at;
	if ((void *)(eth + 1) > end)
		return GUARD_MALFORMED;
	proto = eth->h_proto;
	at = eth + 1;
#pragma unroll
	for (int i = 0; i < MAX_TAGS; i++) {
		struct vlan_tag *tag = at;

		if (proto != bpf_htons(ETH_P_8021Q) && proto != bpf_htons(ETH_P_8021AD))
			break;
		if ((void *)(tag + 1) > end)
			return GUARD_MALFORMED;
		proto = tag->proto;
		at = tag + 1;
	}
	if (proto == bpf_htons(ETH_P_IP))
		return parse_ipv4(at, end, p);
	if (proto == bpf_htons(ETH_P_IPV6))
		return parse_ipv6(at, end, p);
	return GUARD_NOT_IP;
}

/* Refills a bucket for the time passed and takes one out. False: it was empty. */
static __always_inline int take(__u64 *bucket, __u64 elapsed, __u64 rate, __u64 burst)
{
	__u64 level;

	if (!rate)
		return 1;
	/* A minute fills any bucket; longer could overflow. */
	if (elapsed > 60 * SECOND_NS)
		elapsed = 60 * SECOND_NS;
	level = *bucket + elapsed / 1000 * rate;
	if (level > burst * MICRO)
		level = burst * MICRO;
	if (level < MICRO) {
		*bucket = level;
		return 0;
	}
	*bucket = level - MICRO;
	return 1;
}

/* Counts a SYN among all and tells whether the flood rule is on. */
static __always_inline int flooded(__u64 now)
{
	__u32 zero = 0;
	struct guard_flood *f = bpf_map_lookup_elem(&flood, &zero);

	if (!f || !limits.flood_pps)
		return 0;
	if (now - f->window > SECOND_NS / 10) {
		f->window = now;
		f->syns = 0;
	}
	__sync_fetch_and_add(&f->syns, 1);
	if (f->syns * 10 > limits.flood_pps)
		f->until = now + SECOND_NS;
	return now < f->until;
}

static __always_inline enum guard_reason judge_syn(const struct packet *p, struct guard_source *src,
						   __u64 elapsed, __u64 now)
{
	int on = flooded(now);

	if (!take(&src->syns, elapsed, limits.syn_pps, limits.syn_burst))
		return GUARD_SYN_RATE;
	if (src->proof == GUARD_PROVEN)
		return GUARD_PASSED;
	if (!on)
		return GUARD_PASSED;
	if (src->proof == GUARD_UNKNOWN || src->seq != p->seq || src->ports != p->ports) {
		src->proof = GUARD_CHALLENGED;
		src->challenge = now;
		src->seq = p->seq;
		src->ports = p->ports;
	} else if (now - src->challenge >= limits.retry_ns) {
		src->proof = GUARD_PROVEN;
		return GUARD_PASSED;
	}
	return GUARD_SYN_FLOOD;
}

static __always_inline enum guard_reason judge(const struct packet *p, struct guard_source *src,
					       __u64 now)
{
	__u64 elapsed = now - src->seen;

	src->seen = now;
	if (!take(&src->tokens, elapsed, limits.pps, limits.burst))
		return GUARD_RATE;
	if (p->syn)
		return judge_syn(p, src, elapsed, now);
	return GUARD_PASSED;
}

SEC("xdp")
int guard(struct xdp_md *ctx)
{
	struct packet p = {.from.bits = 128};
	enum guard_reason why = parse(ctx, &p);
	struct guard_source *src;
	__u64 now;

	if (why != GUARD_PASSED)
		return verdict(why, p.len);
	if (bpf_map_lookup_elem(&allow, &p.from))
		return verdict(GUARD_ALLOWED, p.len);
	now = bpf_ktime_get_ns();
	src = bpf_map_lookup_elem(&sources, &p.from.addr);
	if (!src) {
		struct guard_source fresh = {
			.seen = now,
			.tokens = limits.burst * MICRO,
			.syns = limits.syn_burst * MICRO,
		};

		bpf_map_update_elem(&sources, &p.from.addr, &fresh, BPF_NOEXIST);
		src = bpf_map_lookup_elem(&sources, &p.from.addr);
		if (!src)
			return verdict(GUARD_PASSED, p.len);
	}
	__sync_fetch_and_add(&src->packets, 1);
	__sync_fetch_and_add(&src->bytes, p.len);
	why = bpf_map_lookup_elem(&deny, &p.from) ? GUARD_DENIED : judge(&p, src, now);
	if (why >= GUARD_DENIED)
		__sync_fetch_and_add(&src->dropped, 1);
	return verdict(why, p.len);
}

char LICENSE[] SEC("license") = "Dual BSD/GPL";
