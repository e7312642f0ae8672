/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Fields of struct __sk_buff. One row per field, with what each family of
 * program types may do with it, found by asking Linux 6.18 (test_prog.c).
 */
#include "prog/fields.h"

#define RN  (SKEP_CTX_R | SKEP_CTX_NARROW) /* may be loaded in parts */
#define R   SKEP_CTX_R /* only as a whole */
#define W   SKEP_CTX_W
#define RA  (SKEP_CTX_R | SKEP_CTX_ANYSIZE)
#define RWA (SKEP_CTX_R | SKEP_CTX_W | SKEP_CTX_ANYSIZE)
#define P   SKEP_CTX_PRIV
#define G   SKEP_CTX_GUARD16

/* clang-format off */
/* F(field, kind, SCHED_CLS and SCHED_ACT, SOCKET_FILTER, CGROUP_SKB, LWT_*, SK_SKB) */
#define FIELDS(F) \
	F(len, SCALAR, RN, RN, RN, RN, RN) \
	F(pkt_type, SCALAR, RN, RN, RN, RN, RN) \
	F(mark, SCALAR, RN | W, RN, RN | W, RN | W, 0) \
	F(queue_mapping, SCALAR, RN | W | G, RN, RN, RN, RN) \
	F(protocol, SCALAR, RN, RN, RN, RN, RN) \
	F(vlan_present, SCALAR, RN, RN, RN, RN, RN) \
	F(vlan_tci, SCALAR, RN, RN, RN, RN, RN) \
	F(vlan_proto, SCALAR, RN, RN, RN, RN, RN) \
	F(priority, SCALAR, RN | W, RN, RN | W, RN | W, RN | W) \
	F(ingress_ifindex, SCALAR, RN, RN, RN, RN, RN) \
	F(ifindex, SCALAR, RN, RN, RN, RN, RN) \
	F(tc_index, SCALAR, RN | W, RN, RN, RN, RN | W) \
	F(cb, SCALAR, RWA, RWA, RWA, RWA, RA) \
	F(hash, SCALAR, RN, RN, RN, RN, RN) \
	F(tc_classid, SCALAR, RN | W, 0, 0, 0, 0) \
	F(data, PKT, R, 0, R | P, R, R) \
	F(data_end, PKT_END, R, 0, R | P, R, R) \
	F(napi_id, SCALAR, RN, RN, RN, RN, RN) \
	F(family, SCALAR, 0, 0, RN, 0, RN) \
	F(remote_ip4, SCALAR, 0, 0, R, 0, R) \
	F(local_ip4, SCALAR, 0, 0, R, 0, R) \
	F(remote_ip6, SCALAR, 0, 0, R, 0, R) \
	F(local_ip6, SCALAR, 0, 0, R, 0, R) \
	F(remote_port, SCALAR, 0, 0, RN, 0, RN) \
	F(local_port, SCALAR, 0, 0, RN, 0, RN) \
	F(data_meta, PKT_META, R, 0, 0, 0, 0) \
	F(tstamp, SCALAR, R | W, 0, R | W | P, 0, 0) \
	F(wire_len, SCALAR, RN, 0, 0, 0, 0) \
	F(gso_segs, SCALAR, RN, RN, RN, RN, RN) \
	F(sk, SOCK_OR_NULL, R, R, R, R, R) \
	F(gso_size, SCALAR, RN, RN, RN, RN, RN) \
	F(tstamp_type, SCALAR, R, 0, 0, 0, 0) \
	F(hwtstamp, SCALAR, R, 0, R, 0, 0)

/* The addresses of IPv6 are arrays of four words. */
#define SKB_UNIT(field) (sizeof(((struct __sk_buff *)0)->field) == 16 ? 4 : 0)
#define ROW(field, fkind, fflags)                                                                  \
	{.name = #field,                                                                           \
	 .off = offsetof(struct __sk_buff, field),                                                 \
	 .size = sizeof(((struct __sk_buff *)0)->field),                                           \
	 .ioff = offsetof(struct skep_skb, field),                                                 \
	 .isize = sizeof(((struct skep_skb *)0)->field),                                           \
	 .unit = SKB_UNIT(field),                                                                  \
	 .kind = SKEP_CTX_##fkind,                                                                 \
	 .flags = (fflags)},

#define AS_TC(f, kind, tc, sf, cg, lwt, ss)	 ROW(f, kind, tc)
#define AS_SF(f, kind, tc, sf, cg, lwt, ss)	 ROW(f, kind, sf)
#define AS_CG(f, kind, tc, sf, cg, lwt, ss)	 ROW(f, kind, cg)
#define AS_LWT(f, kind, tc, sf, cg, lwt, ss) ROW(f, kind, lwt)
#define AS_SS(f, kind, tc, sf, cg, lwt, ss)	 ROW(f, kind, ss)

/* The size of a pointer is meant where a field is one: NOLINTBEGIN(bugprone-sizeof-expression) */
const struct skep_ctx_field skep_fields_tc[] = {FIELDS(AS_TC)};
const struct skep_ctx_field skep_fields_socket_filter[] = {FIELDS(AS_SF)};
const struct skep_ctx_field skep_fields_cgroup_skb[] = {FIELDS(AS_CG)};
const struct skep_ctx_field skep_fields_lwt[] = {FIELDS(AS_LWT)};
const struct skep_ctx_field skep_fields_sk_skb[] = {FIELDS(AS_SS)};
const struct skep_ctx_field skep_fields_flow_dissector[] = {
	ROW(data, PKT, R) ROW(data_end, PKT_END, R) ROW(flow_keys, FLOW_KEYS, R)
};
/* NOLINTEND(bugprone-sizeof-expression) */
/* clang-format on */
