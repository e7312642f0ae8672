/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/* What guard's program and its command say to each other. */
#ifndef GUARD_H
#define GUARD_H

/* Addresses are 16 bytes, IPv4 as ::ffff:a.b.c.d. */
struct guard_addr {
	__u8 b[16];
};

/* Key of the allow and deny lists: the longest prefix decides. */
struct guard_prefix {
	__u32 bits;
	struct guard_addr addr;
};

enum guard_proof {
	GUARD_UNKNOWN, /* never seen, or only without a connection */
	GUARD_CHALLENGED, /* a SYN was dropped: a real client sends the same one again */
	GUARD_PROVEN, /* did send it again, or is in the middle of a connection */
};

struct guard_source {
	__u64 packets, bytes, dropped;
	__u64 seen; /* ns, of the last packet */
	__u64 tokens; /* of the packet bucket, in millionths of a packet */
	__u64 syns; /* of the SYN bucket, in millionths of a SYN */
	__u64 challenge; /* ns, when a SYN was dropped, and which one: */
	__u32 seq; /* its sequence number */
	__u32 ports; /* its source and destination ports */
	__u32 proof;
	__u32 pad;
};

enum guard_reason {
	GUARD_PASSED,
	GUARD_ALLOWED, /* by the allow list */
	GUARD_NOT_IP, /* ARP and others: not guard's business */
	GUARD_DENIED, /* by the deny list */
	GUARD_RATE, /* over its packets per second */
	GUARD_SYN_RATE, /* over its SYNs per second */
	GUARD_SYN_FLOOD, /* unproven source while the flood rule is on */
	GUARD_MALFORMED, /* headers cut short or lying */
	GUARD_REASONS,
};

struct guard_count {
	__u64 packets, bytes;
};

/* Limits; packets and SYNs per second and source. 0: no limit. */
struct guard_limits {
	__u64 pps, burst;
	__u64 syn_pps, syn_burst;
	__u64 flood_pps; /* SYNs per second, all sources together, that switch the flood rule on */
	__u64 retry_ns; /* how soon the same SYN again counts as a retransmission */
};

/* All SYNs together: is there a flood? */
struct guard_flood {
	__u64 window; /* ns, start of the current tenth of a second */
	__u64 syns; /* in it */
	__u64 until; /* ns, the rule stays on until then */
};

#endif
