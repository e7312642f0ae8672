/* SPDX-License-Identifier: Apache-2.0 */
/* The program types. */
#include "prog/type.h"

#include <errno.h>

#include "bpf/iter.h"
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

#define A(type) (1ull << BPF_##type)

static int attach_one_of(uint64_t set, uint32_t attach_type)
{
	return skep_attach_in(set, attach_type) ? 0 : -EINVAL;
}

/* 0 stands for creation, as programs of before there were more. */
static int attach_cgroup_sock(uint32_t attach_type)
{
	return attach_one_of(1 | A(CGROUP_INET_SOCK_CREATE) | A(CGROUP_INET_SOCK_RELEASE) |
				     A(CGROUP_INET4_POST_BIND) | A(CGROUP_INET6_POST_BIND),
			     attach_type);
}

static int attach_cgroup_sock_addr(uint32_t attach_type)
{
	return attach_one_of(A(CGROUP_INET4_BIND) | A(CGROUP_INET6_BIND) | A(CGROUP_INET4_CONNECT) |
				     A(CGROUP_INET6_CONNECT) | A(CGROUP_UNIX_CONNECT) |
				     A(CGROUP_UDP4_SENDMSG) | A(CGROUP_UDP6_SENDMSG) |
				     A(CGROUP_UNIX_SENDMSG) | A(CGROUP_UDP4_RECVMSG) |
				     A(CGROUP_UDP6_RECVMSG) | A(CGROUP_UNIX_RECVMSG) |
				     A(CGROUP_INET4_GETPEERNAME) | A(CGROUP_INET6_GETPEERNAME) |
				     A(CGROUP_UNIX_GETPEERNAME) | A(CGROUP_INET4_GETSOCKNAME) |
				     A(CGROUP_INET6_GETSOCKNAME) | A(CGROUP_UNIX_GETSOCKNAME),
			     attach_type);
}

static int attach_cgroup_sockopt(uint32_t attach_type)
{
	return attach_one_of(A(CGROUP_GETSOCKOPT) | A(CGROUP_SETSOCKOPT), attach_type);
}

static int attach_sk_reuseport(uint32_t attach_type)
{
	return attach_one_of(1 | A(SK_REUSEPORT_SELECT) | A(SK_REUSEPORT_SELECT_OR_MIGRATE),
			     attach_type);
}

static int attach_sk_lookup(uint32_t attach_type)
{
	return attach_one_of(A(SK_LOOKUP), attach_type);
}

static int attach_tracing(uint32_t attach_type)
{
	return attach_one_of(A(TRACE_ITER) | A(TRACE_RAW_TP), attach_type);
}

static int attach_netfilter(uint32_t attach_type)
{
	return attach_one_of(A(NETFILTER), attach_type);
}

/* What the types on socket buffers have in common, and what those of lightweight tunnels. */
#define SKB_CTX                                                                                    \
	.ctx_size = sizeof(struct __sk_buff), .ictx_size = sizeof(struct skep_skb),                \
	.direct_packet = true
#define SKB SKB_CTX, .test_run = skep_test_run_skb
/* Linux has no TEST_RUN for the last of these. */
#define SEG6LOCAL SKB_CTX, FIELDS(skep_fields_lwt), .ret_any = true, .check_attach = attach_any
#define LWT       SEG6LOCAL, .test_run = skep_test_run_skb
#define TC                                                                                         \
	SKB, FIELDS(skep_fields_tc), .direct_write = true, .ld_abs = true, .ret_any = true,        \
				     .check_attach = attach_any
/* The context is passed as it is. */
#define SAME(size) .ctx_size = (size), .ictx_size = (size), .ret_any = true

/* The same for types whose programs are only verified: there is no hook to run them at. */
#define VERDICT(type) .ctx_size = sizeof(type), .ictx_size = sizeof(type), .ret_max = 1
#define ANSWER(type)  SAME(sizeof(type))

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
	[BPF_PROG_TYPE_CGROUP_SOCK] = {.name = "cgroup_sock",
				       FIELDS(skep_fields_cgroup_sock),
				       VERDICT(struct bpf_sock),
				       .check_attach = attach_cgroup_sock},
	[BPF_PROG_TYPE_LWT_IN] = {.name = "lwt_in", LWT},
	[BPF_PROG_TYPE_LWT_OUT] = {.name = "lwt_out", LWT},
	[BPF_PROG_TYPE_LWT_XMIT] = {.name = "lwt_xmit", LWT, .direct_write = true},
	[BPF_PROG_TYPE_SOCK_OPS] = {.name = "sock_ops",
				    FIELDS(skep_fields_sock_ops),
				    VERDICT(struct bpf_sock_ops),
				    .check_attach = attach_any},
	[BPF_PROG_TYPE_SK_SKB] = {.name = "sk_skb",
				  FIELDS(skep_fields_sk_skb),
				  .ctx_size = sizeof(struct __sk_buff),
				  .ictx_size = sizeof(struct skep_skb),
				  .direct_packet = true,
				  .direct_write = true,
				  .ret_any = true,
				  .check_attach = attach_any},
	[BPF_PROG_TYPE_CGROUP_DEVICE] = {.name = "cgroup_device",
					 FIELDS(skep_fields_cgroup_device),
					 VERDICT(struct bpf_cgroup_dev_ctx),
					 .check_attach = attach_any},
	[BPF_PROG_TYPE_SK_MSG] = {.name = "sk_msg",
				  FIELDS(skep_fields_sk_msg),
				  ANSWER(struct sk_msg_md),
				  .direct_packet = true,
				  .direct_write = true,
				  .check_attach = attach_any},
	[BPF_PROG_TYPE_RAW_TRACEPOINT] = {.name = "raw_tracepoint",
					  FIELDS(skep_fields_raw_tp),
					  SAME(SKEP_CTX_SIZE_RAW_TP),
					  .test_run = skep_test_run_raw_tp,
					  .check_attach = attach_any},
	[BPF_PROG_TYPE_CGROUP_SOCK_ADDR] = {.name = "cgroup_sock_addr",
					    FIELDS(skep_fields_cgroup_sock_addr),
					    VERDICT(struct bpf_sock_addr),
					    .check_attach = attach_cgroup_sock_addr},
	[BPF_PROG_TYPE_LWT_SEG6LOCAL] = {.name = "lwt_seg6local", SEG6LOCAL},
	[BPF_PROG_TYPE_SK_REUSEPORT] = {.name = "sk_reuseport",
					FIELDS(skep_fields_sk_reuseport),
					ANSWER(struct sk_reuseport_md),
					.direct_packet = true,
					.check_attach = attach_sk_reuseport},
	[BPF_PROG_TYPE_FLOW_DISSECTOR] = {.name = "flow_dissector",
					  FIELDS(skep_fields_flow_dissector),
					  .ctx_size = sizeof(struct __sk_buff),
					  .ictx_size = sizeof(struct skep_skb),
					  .direct_packet = true,
					  .ret_any = true,
					  .check_attach = attach_any},
	[BPF_PROG_TYPE_CGROUP_SYSCTL] = {.name = "cgroup_sysctl",
					 FIELDS(skep_fields_cgroup_sysctl),
					 VERDICT(struct bpf_sysctl),
					 .check_attach = attach_any},
	[BPF_PROG_TYPE_RAW_TRACEPOINT_WRITABLE] = {.name = "raw_tracepoint_writable",
						   FIELDS(skep_fields_raw_tp_writable),
						   SAME(SKEP_CTX_SIZE_RAW_TP),
						   .check_attach = attach_any},
	[BPF_PROG_TYPE_CGROUP_SOCKOPT] = {.name = "cgroup_sockopt",
					  FIELDS(skep_fields_cgroup_sockopt),
					  VERDICT(struct bpf_sockopt),
					  .direct_packet = true,
					  .direct_write = true,
					  .packet_args = true,
					  .check_attach = attach_cgroup_sockopt},
	[BPF_PROG_TYPE_SK_LOOKUP] = {.name = "sk_lookup",
				     FIELDS(skep_fields_sk_lookup),
				     VERDICT(struct bpf_sk_lookup),
				     .check_attach = attach_sk_lookup},
	[BPF_PROG_TYPE_SYSCALL] = {.name = "syscall",
				   FIELDS(skep_fields_syscall),
				   SAME(SKEP_CTX_SIZE_SYSCALL),
				   .test_run = skep_test_run_syscall,
				   .check_attach = attach_none},
	/* Iterators only: what each has in its context stands in bpf/iter.c. */
	[BPF_PROG_TYPE_TRACING] = {.name = "tracing",
				   .test_run = skep_test_run_tracing,
				   .ctx_size = SKEP_ITER_CTX,
				   .ictx_size = SKEP_ITER_CTX,
				   .ret_any = true,
				   .check_attach = attach_tracing},
	/* Both fields lead to structures of the kernel, which an instance doesn't have. */
	[BPF_PROG_TYPE_NETFILTER] = {.name = "netfilter",
				     .ctx_size = 2 * sizeof(void *),
				     .ictx_size = 2 * sizeof(void *),
				     .ret_max = 1,
				     .check_attach = attach_netfilter},
};

const uint32_t skep_nprog_types = sizeof(skep_prog_types) / sizeof(skep_prog_types[0]);
