// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/*
 * The first XDP program of many courses: drops every packet. Its section is named like its
 * function, which compilers refuse to assemble and libbpf 1.x does not know; skep
 * takes it as it is.
 *
 *	skep run examples/xdp_drop_all.bpf.c --capture traffic.pcap
 */
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

SEC("xdp_drop_all") int xdp_drop_all(struct xdp_md *ctx) { return XDP_DROP; }
