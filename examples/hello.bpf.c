// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/*
 * Hello, world: says so for every packet.
 *
 *	skep run examples/hello.bpf.c --capture traffic.pcap
 */
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

SEC("xdp")
int hello(struct xdp_md *ctx)
{
	bpf_printk("Hello, world: a packet of %d bytes", ctx->data_end - ctx->data);
	return XDP_PASS;
}

char _license[] SEC("license") = "GPL";
