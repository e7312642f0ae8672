/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Contexts of programs at sockets, found by asking Linux 6.18 (test_prog.c).
 * There is no hook to run such programs at, so inside they look as outside.
 */
#include "prog/fields.h"

#define R  SKEP_CTX_R
#define W  SKEP_CTX_W
#define RN (SKEP_CTX_R | SKEP_CTX_NARROW)

/* clang-format off */
#define AS(type, field, bytes, ...)                                                                \
	{.name = #field, .off = offsetof(type, field), .size = (bytes),                            \
	 .ioff = offsetof(type, field), .isize = (bytes), __VA_ARGS__}
#define OPS(field, fflags, ...)                                                                    \
	AS(struct bpf_sock_ops, field, sizeof(((struct bpf_sock_ops *)0)->field),                  \
	   .flags = (fflags), __VA_ARGS__)
#define MSG(field, ...)                                                                            \
	AS(struct sk_msg_md, field, sizeof(((struct sk_msg_md *)0)->field), .flags = R, __VA_ARGS__)
#define REUSE(field, fflags, ...)                                                                  \
	AS(struct sk_reuseport_md, field, sizeof(((struct sk_reuseport_md *)0)->field),            \
	   .flags = (fflags), __VA_ARGS__)
#define LOOKUP(field, ...)                                                                         \
	AS(struct bpf_sk_lookup, field, sizeof(((struct bpf_sk_lookup *)0)->field),                \
	   .flags = RN, __VA_ARGS__)

/* The size of a pointer is meant where a field is one: NOLINTBEGIN(bugprone-sizeof-expression) */
const struct skep_ctx_field skep_fields_sock_ops[] = {
	OPS(op, R),
	OPS(reply, W), /* and the first of args */
	OPS(args, R, .unit = 4),
	OPS(family, R),
	OPS(remote_ip4, R),
	OPS(local_ip4, R),
	OPS(remote_ip6, R, .unit = 4),
	OPS(local_ip6, R, .unit = 4),
	OPS(remote_port, R),
	OPS(local_port, R),
	OPS(is_fullsock, R),
	OPS(snd_cwnd, R),
	OPS(srtt_us, R),
	OPS(bpf_sock_ops_cb_flags, R),
	OPS(state, R),
	OPS(rtt_min, R),
	OPS(snd_ssthresh, R),
	OPS(rcv_nxt, R),
	OPS(snd_nxt, R),
	OPS(snd_una, R),
	OPS(mss_cache, R),
	OPS(ecn_flags, R),
	OPS(rate_delivered, R),
	OPS(rate_interval_us, R),
	OPS(packets_out, R),
	OPS(retrans_out, R),
	OPS(total_retrans, R),
	OPS(segs_in, R),
	OPS(data_segs_in, R),
	OPS(segs_out, R),
	OPS(data_segs_out, R),
	OPS(lost_out, R),
	OPS(sacked_out, R),
	OPS(sk_txhash, R | W),
	OPS(bytes_received, R),
	OPS(bytes_acked, R),
	OPS(sk, R, .kind = SKEP_CTX_FULL_SOCK_OR_NULL),
	OPS(skb_data, R, .kind = SKEP_CTX_PKT),
	OPS(skb_data_end, R, .kind = SKEP_CTX_PKT_END),
	OPS(skb_len, R),
	/* Parts may be loaded, but only from the start. */
	OPS(skb_tcp_flags, R),
	AS(struct bpf_sock_ops, skb_tcp_flags, 2, .flags = R),
	AS(struct bpf_sock_ops, skb_tcp_flags, 1, .flags = R),
	OPS(skb_hwtstamp, R),
};

const struct skep_ctx_field skep_fields_sk_msg[] = {
	MSG(data, .kind = SKEP_CTX_PKT),
	MSG(data_end, .kind = SKEP_CTX_PKT_END),
	MSG(family),
	MSG(remote_ip4),
	MSG(local_ip4),
	MSG(remote_ip6, .unit = 4),
	MSG(local_ip6, .unit = 4),
	MSG(remote_port),
	MSG(local_port),
	MSG(size),
	MSG(sk, .kind = SKEP_CTX_FULL_SOCK),
};

const struct skep_ctx_field skep_fields_sk_reuseport[] = {
	REUSE(data, R, .kind = SKEP_CTX_PKT),
	REUSE(data_end, R, .kind = SKEP_CTX_PKT_END),
	REUSE(len, RN),
	REUSE(eth_protocol, R),
	REUSE(eth_protocol, R, .unit = 2), /* halves, no bytes */
	REUSE(ip_protocol, RN),
	REUSE(bind_inany, RN),
	REUSE(hash, R),
	REUSE(sk, R, .kind = SKEP_CTX_FULL_SOCK),
	REUSE(migrating_sk, R, .kind = SKEP_CTX_SOCK_OR_NULL),
};

const struct skep_ctx_field skep_fields_sk_lookup[] = {
	AS(struct bpf_sk_lookup, sk, 8, .flags = R, .kind = SKEP_CTX_FULL_SOCK_OR_NULL),
	LOOKUP(family),
	LOOKUP(protocol),
	LOOKUP(remote_ip4),
	LOOKUP(remote_ip6, .unit = 4),
	AS(struct bpf_sk_lookup, remote_port, 4, .flags = RN), /* two bytes and padding */
	LOOKUP(local_ip4),
	LOOKUP(local_ip6, .unit = 4),
	LOOKUP(local_port),
	LOOKUP(ingress_ifindex),
};
/* NOLINTEND(bugprone-sizeof-expression) */
/* clang-format on */
