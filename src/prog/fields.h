/* SPDX-License-Identifier: Apache-2.0 */
/* Context field tables of the program types, for table.c. */
#ifndef SKEP_PROG_FIELDS_H
#define SKEP_PROG_FIELDS_H

#include <stddef.h>

#include "prog/type.h"

#define SKEP_NFIELDS_SKB 33
extern const struct skep_ctx_field skep_fields_tc[SKEP_NFIELDS_SKB];
extern const struct skep_ctx_field skep_fields_socket_filter[SKEP_NFIELDS_SKB];
extern const struct skep_ctx_field skep_fields_cgroup_skb[SKEP_NFIELDS_SKB];
extern const struct skep_ctx_field skep_fields_lwt[SKEP_NFIELDS_SKB];
extern const struct skep_ctx_field skep_fields_sk_skb[SKEP_NFIELDS_SKB];
#define SKEP_NFIELDS_FLOW_DISSECTOR 3
extern const struct skep_ctx_field skep_fields_flow_dissector[SKEP_NFIELDS_FLOW_DISSECTOR];
#define SKEP_NFIELDS_CGROUP_DEVICE 3
extern const struct skep_ctx_field skep_fields_cgroup_device[SKEP_NFIELDS_CGROUP_DEVICE];
#define SKEP_NFIELDS_CGROUP_SYSCTL 2
extern const struct skep_ctx_field skep_fields_cgroup_sysctl[SKEP_NFIELDS_CGROUP_SYSCTL];
#define SKEP_NFIELDS_CGROUP_SOCKOPT 9
extern const struct skep_ctx_field skep_fields_cgroup_sockopt[SKEP_NFIELDS_CGROUP_SOCKOPT];
#define SKEP_NFIELDS_CGROUP_SOCK 27
extern const struct skep_ctx_field skep_fields_cgroup_sock[SKEP_NFIELDS_CGROUP_SOCK];
#define SKEP_NFIELDS_CGROUP_SOCK_ADDR 12
extern const struct skep_ctx_field skep_fields_cgroup_sock_addr[SKEP_NFIELDS_CGROUP_SOCK_ADDR];
#define SKEP_NFIELDS_SOCK_OPS 44
extern const struct skep_ctx_field skep_fields_sock_ops[SKEP_NFIELDS_SOCK_OPS];
#define SKEP_NFIELDS_SK_MSG 11
extern const struct skep_ctx_field skep_fields_sk_msg[SKEP_NFIELDS_SK_MSG];
#define SKEP_NFIELDS_SK_REUSEPORT 10
extern const struct skep_ctx_field skep_fields_sk_reuseport[SKEP_NFIELDS_SK_REUSEPORT];
#define SKEP_NFIELDS_SK_LOOKUP 10
extern const struct skep_ctx_field skep_fields_sk_lookup[SKEP_NFIELDS_SK_LOOKUP];
#define SKEP_NFIELDS_XDP 6
extern const struct skep_ctx_field skep_fields_xdp[SKEP_NFIELDS_XDP];
#define SKEP_NFIELDS_PERF_EVENT 3
extern const struct skep_ctx_field skep_fields_perf_event[SKEP_NFIELDS_PERF_EVENT];
extern const struct skep_ctx_field skep_fields_kprobe[1];
extern const struct skep_ctx_field skep_fields_tracepoint[1];
extern const struct skep_ctx_field skep_fields_raw_tp[1];
extern const struct skep_ctx_field skep_fields_raw_tp_writable[2];
extern const struct skep_ctx_field skep_fields_syscall[1];

/* The registers that kprobe and perf_event programs see: bpf_user_pt_regs_t. */
#ifdef __x86_64__
#define SKEP_REGS_SIZE ((uint32_t)sizeof(struct pt_regs))
#else
#define SKEP_REGS_SIZE 272u /* struct user_pt_regs of arm64 */
#endif

/* Sizes of contexts that have no structure of their own. */
#define SKEP_CTX_SIZE_TRACEPOINT 8192 /* largest record */
#define SKEP_CTX_SIZE_RAW_TP     (12 * 8)
#define SKEP_CTX_SIZE_SYSCALL    65535

#endif
