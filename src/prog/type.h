/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Program types: one row each, with a table of the context's fields. The
 * context that a program sees (uapi) is not the one it gets (internal): the
 * verifier checks accesses against the fields and rewrites them.
 */
#ifndef SKEP_PROG_TYPE_H
#define SKEP_PROG_TYPE_H

#include <stdbool.h>
#include <stdint.h>

#include "bpf/instance.h"

enum skep_ctx_kind { /* what a load of the field yields */
		     SKEP_CTX_SCALAR,
		     SKEP_CTX_PKT,
		     SKEP_CTX_PKT_END,
		     SKEP_CTX_PKT_META,
		     SKEP_CTX_SOCK_OR_NULL, /* may be a request or timewait socket */
		     SKEP_CTX_FULL_SOCK, /* a full socket */
		     SKEP_CTX_FULL_SOCK_OR_NULL,
		     SKEP_CTX_FLOW_KEYS,
		     SKEP_CTX_TP_BUFFER, /* raw_tracepoint_writable: the buffer behind argument 0 */
		     SKEP_CTX_BTF, /* a structure of skep's BTF: .type */
		     SKEP_CTX_BTF_OR_NULL,
		     SKEP_CTX_BUF_OR_NULL, /* memory whose size the link says */
		     SKEP_CTX_RDONLY_BUF_OR_NULL,
};

#define SKEP_CTX_R       0x01u
#define SKEP_CTX_W       0x02u
#define SKEP_CTX_NARROW  0x04u /* parts of the field may be loaded (bpf_ctx_narrow_access_ok) */
#define SKEP_CTX_ANYSIZE 0x08u /* scalars in an array: any aligned 1, 2, 4, 8 byte access */
#define SKEP_CTX_PRIV    0x10u /* to write it, if that is possible, else to read it */
#define SKEP_CTX_GUARD16 0x20u /* storing 65535 or more does nothing */

/* A field: bytes [off, off+size) of the uapi structure are loaded from
 * [ioff, ioff+isize) of the internal one (isize 0: the field reads as 0). */
struct skep_ctx_field {
	const char *name;
	uint16_t off, size;
	uint16_t ioff, isize;
	uint8_t kind, flags;
	uint8_t unit; /* an array: bytes of an element, else 0 */
	uint64_t attach; /* only for these expected_attach_types, a bit each, if not 0 */
	const char *type; /* BTF: what it points to */
};

struct skep_prog_type {
	const char *name; /* as bpftool prints it: "xdp", "sched_cls" */
	const struct skep_ctx_field *fields;
	/* BPF_PROG_TEST_RUN; NULL: -ENOTSUPP (524) as in the kernel. */
	int (*test_run)(struct skep_prog *prog, const union bpf_attr *attr, union bpf_attr *uattr);
	/* PROG_LOAD: is this expected_attach_type right? 0 or -EINVAL. */
	int (*check_attach)(uint32_t attach_type);
	int64_t ret_min, ret_max; /* allowed return values, unless ret_any */
	uint32_t nfields;
	uint32_t ctx_size; /* of the uapi context; limit of accesses */
	uint32_t ictx_size; /* of the internal context */
	bool ret_any; /* all values may be returned */
	bool direct_packet; /* programs may read packets through pointers ... */
	bool direct_write; /* ... and write them */
	bool packet_args; /* all helpers that take memory take packets, not only those with PKT */
	bool ld_abs; /* may use LD_ABS and LD_IND */
	bool unprivileged; /* may be loaded without capabilities */
};

/* Whether a set of attach types, a bit each, has this one. */
static inline bool skep_attach_in(uint64_t set, uint32_t attach_type)
{
	return attach_type < 64 && set >> attach_type & 1;
}

/* By BPF_PROG_TYPE_*; name NULL where skep has none. */
extern const struct skep_prog_type skep_prog_types[];
extern const uint32_t skep_nprog_types;

struct skep_prog;

/* The field that an access of size bytes at off reaches, if prog's type allows the access
 * as a whole (alignment, size, direction, privilege); else NULL. */
const struct skep_ctx_field *skep_ctx_find(const struct skep_prog *prog, uint32_t off,
					   uint32_t size, bool write, bool privileged);

/* Whether a program may load size bytes at off of a socket (struct bpf_sock), which may be a
 * request or timewait socket unless it is a full one. */
bool skep_sock_find(uint32_t off, uint32_t size, bool full);

/* Return values that prog may give; false: any. Depends on its attach type too. */
bool skep_prog_ret_range(const struct skep_prog *prog, int64_t *min, int64_t *max);

/* ---- Internal contexts ---- */

/*
 * XDP (struct xdp_buff's part). Headroom starts at hard_start. A frame's first bytes are
 * [data, data_end). The rest, if there is one, is in fragments of a page each, the last maybe
 * shorter, which programs reach through helpers only. Here the fragments lie right behind
 * data_end, in one piece: data_end can't move while there are any.
 */
struct skep_xdp {
	uint8_t *data, *data_end, *data_meta;
	uint8_t *hard_start; /* first byte that adjust_head may reach */
	uint8_t *hard_end; /* one past the last byte that adjust_tail may reach, no fragments */
	uint8_t *frags_end; /* the same, while there are fragments */
	uint32_t frags_size; /* bytes in fragments; 0: there are none */
	uint32_t ingress_ifindex, rx_queue_index, egress_ifindex;
};

#define SKEP_XDP_FRAG 4096u /* bytes of a fragment: the kernel's page */
/* What the kernel puts before the fragments: a page, less the room before a frame and a
 * structure behind it. */
#define SKEP_XDP_LINEAR (SKEP_XDP_FRAG - 256u - 320u)

/* Bytes of the frame, fragments included. */
static inline uint32_t skep_xdp_len(const struct skep_xdp *xdp)
{
	return (uint32_t)(xdp->data_end - xdp->data) + xdp->frags_size;
}

/* Programs on struct __sk_buff. The packet lies linearly in [data, data_end). */
struct skep_skb {
	uint8_t *data, *data_end, *data_meta;
	uint8_t *hard_start, *hard_end;
	uint8_t *mac; /* start of the link layer header (for LD_ABS with SKF_LL_OFF) */
	uint8_t *net; /* start of the network header (SKF_NET_OFF) */
	/* Sizes are the kernel's: they show in partial loads of the wider uapi fields. */
	uint32_t len, mark, priority, hash, napi_id, ingress_ifindex, ifindex, wire_len;
	uint32_t cb[5];
	uint32_t vlan_present;
	uint16_t vlan_tci, vlan_proto, protocol; /* the protocols in network order */
	uint16_t queue_mapping, tc_index, tc_classid;
	uint16_t gso_segs, gso_size;
	uint16_t family, remote_port, local_port;
	uint8_t pkt_type, tstamp_type;
	uint32_t remote_ip4, local_ip4, remote_ip6[4], local_ip6[4];
	uint64_t tstamp, hwtstamp;
	uint32_t mac_len; /* of the link layer header, as the device or a helper set it */
	bool encapsulation;
	uint32_t ip_summed; /* checksum state, CHECKSUM_* of the kernel */
	uint32_t csum;
	uint32_t csum_level;
	void *sk; /* none: NULL */
	struct bpf_flow_keys *flow_keys; /* of flow dissectors, else NULL */
	bool l4_hash, sw_hash;
	bool own; /* the caller of TEST_RUN made it */
	bool tunnel; /* has metadata of a tunnel, in the environment */
	struct skep_packet *pkt;
};

#endif
