/* SPDX-License-Identifier: Apache-2.0 */
/* The program types. */
#include "prog/type.h"

#include <errno.h>

#include "prog/fields.h"
#include "prog/test_run.h"

#define FIELDS(table) .fields = (table), .nfields = sizeof(table) / sizeof((table)[0])

static int attach_any(uint32_t attach_type)
{
	return 0; /* the kernel doesn't even ask whether it exists */
}

static int attach_none(uint32_t attach_type)
{
	return attach_type ? -EINVAL : 0;
}

static int attach_cgroup_skb(uint32_t attach_type)
{
	return attach_type == BPF_CGROUP_INET_INGRESS || attach_type == BPF_CGROUP_INET_EGRESS
		       ? 0
		       : -EINVAL;
}

/* What the types on socket buffers have in common, and what those of lightweight tunnels. */
#define SKB                                                                                        \
	.ctx_size = sizeof(struct __sk_buff), .ictx_size = sizeof(struct skep_skb),                \
	.direct_packet = true, .test_run = skep_test_run_skb
#define LWT SKB, FIELDS(skep_fields_lwt), .ret_any = true, .check_attach = attach_any
#define TC                                                                                         \
	SKB, FIELDS(skep_fields_tc), .direct_write = true, .ld_abs = true, .ret_any = true,        \
				     .check_attach = attach_any
/* The context is passed as it is. */
#define SAME(size) .ctx_size = (size), .ictx_size = (size), .ret_any = true

const struct skep_prog_type skep_prog_types[] = {
	[BPF_PROG_TYPE_SOCKET_FILTER] = {.name = "socket_filter",
					 .ctx_size = sizeof(struct __sk_buff),
					 .ictx_size = sizeof(struct skep_skb),
					 FIELDS(skep_fields_socket_filter),
					 .ld_abs = true,
					 .unprivileged = true,
					 .ret_any = true,
					 .test_run = skep_test_run_skb,
					 .check_attach = attach_any},
	[BPF_PROG_TYPE_KPROBE] = {.name = "kprobe",
				  FIELDS(skep_fields_kprobe),
				  SAME(SKEP_REGS_SIZE),
				  .check_attach = attach_any},
	[BPF_PROG_TYPE_SCHED_CLS] = {.name = "sched_cls", TC},
	[BPF_PROG_TYPE_SCHED_ACT] = {.name = "sched_act", TC},
	[BPF_PROG_TYPE_TRACEPOINT] = {.name = "tracepoint",
				      FIELDS(skep_fields_tracepoint),
				      SAME(SKEP_CTX_SIZE_TRACEPOINT),
				      .check_attach = attach_any},
	[BPF_PROG_TYPE_XDP] = {.name = "xdp",
			       .ctx_size = sizeof(struct xdp_md),
			       .ictx_size = sizeof(struct skep_xdp),
			       FIELDS(skep_fields_xdp),
			       .direct_packet = true,
			       .direct_write = true,
			       .ret_any = true,
			       .test_run = skep_test_run_xdp,
			       .check_attach = attach_any},
	[BPF_PROG_TYPE_PERF_EVENT] = {.name = "perf_event",
				      FIELDS(skep_fields_perf_event),
				      SAME(SKEP_REGS_SIZE + 16),
				      .check_attach = attach_any},
	[BPF_PROG_TYPE_CGROUP_SKB] = {.name = "cgroup_skb",
				      SKB,
				      FIELDS(skep_fields_cgroup_skb),
				      .unprivileged = true,
				      .ret_min = 0,
				      .ret_max = 1,
				      .check_attach = attach_cgroup_skb},
	[BPF_PROG_TYPE_LWT_IN] = {.name = "lwt_in", LWT},
	[BPF_PROG_TYPE_LWT_OUT] = {.name = "lwt_out", LWT},
	[BPF_PROG_TYPE_LWT_XMIT] = {.name = "lwt_xmit", LWT, .direct_write = true},
	[BPF_PROG_TYPE_RAW_TRACEPOINT] = {.name = "raw_tracepoint",
					  FIELDS(skep_fields_raw_tp),
					  SAME(SKEP_CTX_SIZE_RAW_TP),
					  .test_run = skep_test_run_raw_tp,
					  .check_attach = attach_any},
	[BPF_PROG_TYPE_LWT_SEG6LOCAL] = {.name = "lwt_seg6local", LWT},
	[BPF_PROG_TYPE_RAW_TRACEPOINT_WRITABLE] = {.name = "raw_tracepoint_writable",
						   FIELDS(skep_fields_raw_tp_writable),
						   SAME(SKEP_CTX_SIZE_RAW_TP),
						   .check_attach = attach_any},
	[BPF_PROG_TYPE_SYSCALL] = {.name = "syscall",
				   FIELDS(skep_fields_syscall),
				   SAME(SKEP_CTX_SIZE_SYSCALL),
				   .test_run = skep_test_run_syscall,
				   .check_attach = attach_none},
};

const uint32_t skep_nprog_types = sizeof(skep_prog_types) / sizeof(skep_prog_types[0]);
