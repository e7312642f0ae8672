/* SPDX-License-Identifier: Apache-2.0 */
/* What the installed <linux/bpf.h> says, for test_uapi: it can't be included beside ours. */
#include <linux/bpf.h>
#include <stddef.h>

#include "installed_uapi.h"

#define V(name)                                                                                    \
	{                                                                                          \
#name, (long long)(name)                                                           \
	}
#define O(struct_, memb)                                                                           \
	{                                                                                          \
#struct_ "." #memb, (long long)offsetof(struct struct_, memb)                      \
	}
#define A(memb)                                                                                    \
	{                                                                                          \
		"bpf_attr." #memb, (long long)offsetof(union bpf_attr, memb)                       \
	}

const struct installed_fact installed_facts[] = {
	V(BPF_MAP_CREATE),
	V(BPF_PROG_BIND_MAP),
	V(BPF_MAP_TYPE_HASH),
	V(BPF_MAP_TYPE_RINGBUF),
	V(BPF_MAP_TYPE_BLOOM_FILTER),
	V(BPF_PROG_TYPE_XDP),
	V(BPF_PROG_TYPE_SYSCALL),
	V(BPF_XDP),
	V(BPF_PERF_EVENT),
	V(BPF_LINK_TYPE_XDP),
	V(BPF_FUNC_map_lookup_elem),
	V(BPF_FUNC_loop),
	V(BPF_FUNC_ktime_get_tai_ns),
	V(BPF_F_NO_PREALLOC),
	V(BPF_F_MMAPABLE),
	V(BPF_F_CURRENT_CPU),
	V(BPF_F_CTXLEN_MASK),
	V(XDP_REDIRECT),
	V(BPF_RB_FORCE_WAKEUP),
	O(__sk_buff, hwtstamp),
	O(__sk_buff, data_meta),
	O(xdp_md, egress_ifindex),
	O(bpf_prog_info, verified_insns),
	O(bpf_map_info, map_extra),
	O(bpf_btf_info, kernel_btf),
	O(bpf_sock, rx_queue_mapping),
	O(bpf_tunnel_key, tunnel_label),
	O(bpf_fib_lookup, dmac),
	A(map_extra),
	A(batch.flags),
	A(core_relo_rec_size),
	A(test.batch_size),
	A(info.info),
	A(query.prog_attach_flags),
	A(link_create.target_btf_id),
	A(link_create.kprobe_multi.cookies),
};
const unsigned installed_nfacts = sizeof(installed_facts) / sizeof(*installed_facts);
