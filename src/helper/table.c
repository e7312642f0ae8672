/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The rows of all helpers. Arguments and program types are those of Linux 6.18;
 * test/test_helper.c asks the running kernel about every pair of helper and
 * program type.
 */
#include "helper/dynptr.h"
#include "helper/helper.h"
#include "helper/fn.h"

#include <stddef.h>

/* ---- Sets of program types ---- */

#define T(type) (1ull << BPF_PROG_TYPE_##type)

#define ALL    (~0ull)
#define TC     (T(SCHED_CLS) | T(SCHED_ACT))
#define LWT    (T(LWT_IN) | T(LWT_OUT) | T(LWT_XMIT) | T(LWT_SEG6LOCAL))
#define SKB_RW (TC | T(LWT_XMIT)) /* may change packets */
#define TRACE                                                                                      \
	(T(KPROBE) | T(TRACEPOINT) | T(PERF_EVENT) | T(RAW_TRACEPOINT) |                           \
	 T(RAW_TRACEPOINT_WRITABLE) | T(TRACING))
#define LOAD_BYTES                                                                                 \
	(T(SOCKET_FILTER) | TC | T(CGROUP_SKB) | LWT | T(SK_SKB) | T(SK_REUSEPORT) |               \
	 T(FLOW_DISSECTOR))
#define COOKIE                                                                                     \
	(T(SOCKET_FILTER) | TC | T(CGROUP_SKB) | T(CGROUP_SOCK) | T(SOCK_OPS) | T(SK_SKB) |        \
	 T(CGROUP_SOCK_ADDR))

/* Types that look for sockets */
#define SK_FIND (TC | T(XDP) | T(CGROUP_SKB) | T(SK_SKB) | T(CGROUP_SOCK_ADDR))

/* Types with storage of their own on sockets */
#define SK_OWN                                                                                     \
	(TC | T(SK_MSG) | T(CGROUP_SKB) | T(CGROUP_SOCK_ADDR) | T(SOCK_OPS) | T(CGROUP_SOCKOPT))

/* Types that get the helpers of networking, coarse time among them. */
#define NETLIKE                                                                                    \
	(T(SOCKET_FILTER) | TC | T(XDP) | T(CGROUP_SKB) | T(CGROUP_SOCK) | LWT | T(SOCK_OPS) |     \
	 T(SK_SKB) | T(SK_MSG) | T(CGROUP_SOCK_ADDR) | T(SK_REUSEPORT) | T(FLOW_DISSECTOR) |       \
	 T(CGROUP_SYSCTL) | T(SK_LOOKUP))

/* Types that may take a socket for a structure of the kernel. */
#define SK_CAST                                                                                    \
	((NETLIKE & ~(T(CGROUP_SOCK) | T(SK_REUSEPORT) | T(CGROUP_SYSCTL))) | T(SYSCALL) |         \
	 T(TRACING))

/* ---- Arguments ---- */

#define NUM      SKEP_ARG_ANYTHING
#define MAP      SKEP_ARG_CONST_MAP_PTR
#define KEY      SKEP_ARG_MAP_KEY
#define VALUE    SKEP_ARG_MAP_VALUE
#define CTX      SKEP_ARG_CTX
#define RMEM     (SKEP_ARG_MEM | SKEP_ARG_RDONLY)
#define WMEM     (SKEP_ARG_MEM | SKEP_ARG_UNINIT | SKEP_ARG_WRITE)
#define DYN      (SKEP_ARG_DYNPTR | SKEP_ARG_RDONLY)
#define NEWDYN   (SKEP_ARG_DYNPTR | SKEP_ARG_UNINIT | SKEP_ARG_WRITE)
#define NULLABLE SKEP_ARG_MAYBE_NULL
#define SIZE     SKEP_ARG_SIZE
#define SIZE0    SKEP_ARG_SIZE_OR_ZERO
#define OUT8                                                                                       \
	(SKEP_ARG_MEM | SKEP_ARG_FIXED_SIZE | SKEP_ARG_UNINIT | SKEP_ARG_WRITE | SKEP_ARG_ALIGNED)

#define INT   SKEP_RET_INTEGER
#define VOID  SKEP_RET_VOID
#define GPL   SKEP_HELPER_GPL
#define PKT   SKEP_HELPER_PKT
#define CHG   SKEP_HELPER_CHANGES_PKT
#define SLEEP SKEP_HELPER_SLEEPS
#define BPF   SKEP_HELPER_PRIV
#define PERF  (SKEP_HELPER_PRIV | SKEP_HELPER_PERFMON)

/* A helper with its function, and one that the verifier or runtime does itself. */
#define H(nm, types, returns, flag, ...)                                                           \
	[BPF_FUNC_##nm] = {.name = #nm,                                                            \
			   .fn = skep_help_##nm,                                                   \
			   .progs = (types),                                                       \
			   .ret = (returns),                                                       \
			   .flags = (flag),                                                        \
			   .arg = {__VA_ARGS__}}
#define N(nm, types, returns, flag, ...)                                                           \
	[BPF_FUNC_##nm] = {.name = #nm,                                                            \
			   .progs = (types),                                                       \
			   .ret = (returns),                                                       \
			   .flags = SKEP_HELPER_NO_FN | (flag),                                    \
			   .arg = {__VA_ARGS__}}

/* A helper on sockets: an instance has none. */
#define S(nm, types, returns, flag, ...)                                                           \
	[BPF_FUNC_##nm] = {.name = #nm,                                                            \
			   .fn = skep_help_no_socket,                                              \
			   .progs = (types),                                                       \
			   .ret = (returns),                                                       \
			   .flags = (flag),                                                        \
			   .arg = {__VA_ARGS__}}

/* Of iterators: text for who reads. */
#define SEQ(nm, ...)                                                                               \
	[BPF_FUNC_##nm] = {.name = #nm,                                                            \
			   .fn = skep_help_##nm,                                                   \
			   .progs = T(TRACING),                                                    \
			   .ret = INT,                                                             \
			   .flags = GPL | PERF,                                                    \
			   .arg_type = "seq_file",                                                 \
			   .arg = {SKEP_ARG_BTF_ID, __VA_ARGS__}}

/* One that gives the socket as a structure of the kernel. */
#define CAST(nm, type, of)                                                                         \
	[BPF_FUNC_##nm] = {.name = #nm,                                                            \
			   .fn = skep_help_no_socket,                                              \
			   .progs = SK_CAST,                                                       \
			   .ret = SKEP_RET_BTF_ID_OR_NULL,                                         \
			   .ret_type = (type),                                                     \
			   .flags = PERF,                                                          \
			   .arg = {(of)}}

/* A helper of hooks that are the kernel's own: their programs are verified, and nothing here runs them. */
#define K(nm, types, returns, flag, ...)                                                           \
	[BPF_FUNC_##nm] = {.name = #nm,                                                            \
			   .fn = skep_help_no_hook,                                                \
			   .progs = (types),                                                       \
			   .ret = (returns),                                                       \
			   .flags = (flag),                                                        \
			   .arg = {__VA_ARGS__}}

/* clang-format off */
const struct skep_helper skep_helpers[SKEP_MAX_HELPERS] = {
	/* Maps */
	H(map_lookup_elem, ALL, SKEP_RET_MAP_VALUE_OR_NULL, PKT, MAP, KEY),
	H(map_update_elem, ALL, INT, PKT, MAP, KEY, VALUE, NUM),
	H(map_delete_elem, ALL, INT, PKT, MAP, KEY),
	H(map_push_elem, ALL, INT, PKT, MAP, VALUE, NUM),
	H(map_pop_elem, ALL, INT, 0, MAP, VALUE | SKEP_ARG_UNINIT | SKEP_ARG_WRITE),
	H(map_peek_elem, ALL, INT, 0, MAP, VALUE | SKEP_ARG_UNINIT | SKEP_ARG_WRITE),
	H(map_lookup_percpu_elem, ALL, SKEP_RET_MAP_VALUE_OR_NULL, PKT, MAP, KEY, NUM),
	H(for_each_map_elem, ALL, INT, BPF, MAP, SKEP_ARG_FUNC, SKEP_ARG_STACK | NULLABLE, NUM),
	N(tail_call, ALL, VOID, CHG, CTX, MAP, NUM),
	H(spin_lock, ALL, VOID, BPF, SKEP_ARG_SPIN_LOCK),
	H(spin_unlock, ALL, VOID, BPF, SKEP_ARG_SPIN_LOCK),
	H(loop, ALL, INT, BPF, NUM, SKEP_ARG_FUNC, SKEP_ARG_STACK | NULLABLE, NUM),
	H(per_cpu_ptr, ALL, SKEP_RET_MEM_OR_BTF_ID_OR_NULL, BPF, SKEP_ARG_PERCPU_BTF_ID, NUM),
	H(this_cpu_ptr, ALL, SKEP_RET_MEM_OR_BTF_ID, BPF, SKEP_ARG_PERCPU_BTF_ID),

	H(kptr_xchg, ALL, SKEP_RET_BTF_ID_OR_NULL, BPF, SKEP_ARG_KPTR,
	  SKEP_ARG_BTF_ID | NULLABLE | SKEP_ARG_RELEASE),

	/* Ring buffers and perf event arrays */
	H(ringbuf_output, ALL, INT, 0, MAP, RMEM, SIZE0, NUM),
	H(ringbuf_reserve, ALL, SKEP_RET_ALLOC_MEM_OR_NULL, 0, MAP, SKEP_ARG_ALLOC_SIZE_OR_ZERO, NUM),
	H(ringbuf_submit, ALL, VOID, 0, SKEP_ARG_ALLOC_MEM | SKEP_ARG_RELEASE, NUM),
	H(ringbuf_discard, ALL, VOID, 0, SKEP_ARG_ALLOC_MEM | SKEP_ARG_RELEASE, NUM),
	H(ringbuf_query, ALL, INT, 0, MAP, NUM),
	H(perf_event_output, ALL & ~(T(SK_REUSEPORT) | T(FLOW_DISSECTOR) | T(NETFILTER)), INT,
	  GPL, CTX, MAP, NUM, RMEM, SIZE0),

	K(perf_prog_read_value, T(PERF_EVENT), INT, GPL, CTX, WMEM, SIZE),
	K(read_branch_records, T(PERF_EVENT), INT, GPL, CTX, WMEM | NULLABLE, SIZE0, NUM),

	/* Timers */
	H(timer_init, ALL, INT, BPF | GPL, SKEP_ARG_TIMER, MAP, NUM),
	H(timer_set_callback, ALL, INT, BPF | GPL, SKEP_ARG_TIMER, SKEP_ARG_FUNC),
	H(timer_start, ALL, INT, BPF | GPL, SKEP_ARG_TIMER, NUM, NUM),
	H(timer_cancel, ALL, INT, BPF | GPL, SKEP_ARG_TIMER),

	/* Dynptrs */
	[BPF_FUNC_dynptr_from_mem] = {.name = "dynptr_from_mem", .fn = skep_help_dynptr_from_mem,
		.progs = ALL, .ret = INT, .flags = BPF, .arg = {WMEM, SIZE0, NUM, NEWDYN},
		.size = {[3] = SKEP_DYNPTR_LOCAL}},
	[BPF_FUNC_ringbuf_reserve_dynptr] = {.name = "ringbuf_reserve_dynptr",
		.fn = skep_help_ringbuf_reserve_dynptr, .progs = ALL, .ret = INT, .flags = BPF,
		.arg = {MAP, NUM, NUM, NEWDYN}, .size = {[3] = SKEP_DYNPTR_RINGBUF}},
	[BPF_FUNC_ringbuf_submit_dynptr] = {.name = "ringbuf_submit_dynptr",
		.fn = skep_help_ringbuf_submit_dynptr, .progs = ALL, .ret = VOID, .flags = BPF,
		.arg = {SKEP_ARG_DYNPTR | SKEP_ARG_RELEASE, NUM}, .size = {SKEP_DYNPTR_RINGBUF}},
	[BPF_FUNC_ringbuf_discard_dynptr] = {.name = "ringbuf_discard_dynptr",
		.fn = skep_help_ringbuf_discard_dynptr, .progs = ALL, .ret = VOID, .flags = BPF,
		.arg = {SKEP_ARG_DYNPTR | SKEP_ARG_RELEASE, NUM}, .size = {SKEP_DYNPTR_RINGBUF}},
	H(dynptr_read, ALL, INT, BPF, WMEM, SIZE0, DYN, NUM, NUM),
	H(dynptr_write, ALL, INT, BPF, DYN, NUM, RMEM, SIZE0, NUM),
	H(dynptr_data, ALL, SKEP_RET_DYNPTR_MEM_OR_NULL, BPF, DYN, NUM, SKEP_ARG_ALLOC_SIZE_OR_ZERO),

	/* Time, chance, where we are */
	H(ktime_get_ns, ALL, INT, 0),
	H(ktime_get_boot_ns, ALL, INT, 0),
	H(ktime_get_coarse_ns, NETLIKE, INT, 0),
	H(ktime_get_tai_ns, ALL, INT, BPF),
	H(jiffies64, ALL, INT, BPF),
	H(get_prandom_u32, ALL, INT, 0),
	H(get_smp_processor_id, ALL, INT, 0),
	H(get_numa_node_id, ALL, INT, 0),

	/* The calling task */
	H(get_current_pid_tgid, ALL, INT, 0),
	H(get_current_uid_gid, ALL, INT, 0),
	H(get_current_comm, ALL, INT, PERF, WMEM, SIZE),
	H(get_ns_current_pid_tgid, ALL, INT, 0, NUM, NUM, WMEM, SIZE),

	H(send_signal, ALL, INT, PERF, NUM),
	H(send_signal_thread, ALL, INT, PERF, NUM),

	/* The probe that the program runs at */
	H(get_attach_cookie, TRACE & ~T(TRACING), INT, 0, CTX),
	H(get_func_ip, TRACE | T(SYSCALL), INT, GPL, CTX),
	H(get_stackid, TRACE | T(SYSCALL), INT, GPL | PERF, CTX, MAP, NUM),
	H(get_stack, TRACE | T(SYSCALL), INT, GPL | PERF, CTX, WMEM, SIZE0, NUM),

	[BPF_FUNC_get_current_task] = {.name = "get_current_task",
		.fn = skep_help_get_current_task_btf, .progs = ALL, .ret = INT, .flags = GPL | PERF},
	[BPF_FUNC_get_current_task_btf] = {.name = "get_current_task_btf",
		.fn = skep_help_get_current_task_btf, .progs = ALL, .ret = SKEP_RET_BTF_ID,
		.ret_type = "task_struct", .flags = GPL | PERF},

	/* Memory of this process */
	H(probe_read, TRACE | T(SYSCALL), INT, GPL | PERF, WMEM, SIZE0, NUM),
	H(probe_read_str, TRACE | T(SYSCALL), INT, GPL | PERF, WMEM, SIZE0, NUM),
	H(probe_read_user, ALL, INT, GPL | PERF, WMEM, SIZE0, NUM),
	H(probe_read_kernel, ALL, INT, GPL | PERF, WMEM, SIZE0, NUM),
	H(probe_read_user_str, ALL, INT, GPL | PERF, WMEM, SIZE0, NUM),
	H(probe_read_kernel_str, ALL, INT, GPL | PERF, WMEM, SIZE0, NUM),
	H(copy_from_user, ALL, INT, SLEEP | PERF, WMEM, SIZE0, NUM),

	/* Text */
	H(trace_printk, ALL, INT, GPL | PERF, RMEM, SIZE),
	H(trace_vprintk, ALL, INT, GPL | PERF, RMEM, SIZE, RMEM | NULLABLE, SIZE0),
	SEQ(seq_printf, RMEM, SIZE, RMEM | NULLABLE, SIZE0),
	SEQ(seq_write, RMEM, SIZE0),
	H(snprintf, ALL, INT, GPL | PERF, WMEM | NULLABLE, SIZE0, SKEP_ARG_CONST_STR,
	  RMEM | NULLABLE, SIZE0),
	[BPF_FUNC_strtol] = {.name = "strtol", .fn = skep_help_strtol, .progs = ALL, .ret = INT,
			     .arg = {RMEM, SIZE, NUM, OUT8}, .size = {[3] = 8}},
	[BPF_FUNC_strtoul] = {.name = "strtoul", .fn = skep_help_strtoul, .progs = ALL, .ret = INT,
			      .arg = {RMEM, SIZE, NUM, OUT8}, .size = {[3] = 8}},
	H(strncmp, ALL, INT, 0, RMEM, SIZE, SKEP_ARG_CONST_STR),

	/* Checksums */
	H(csum_diff, SKB_RW | T(XDP) | LWT, INT, PKT, RMEM | NULLABLE, SIZE0, RMEM | NULLABLE,
	  SIZE0, NUM),
	H(csum_update, SKB_RW, INT, 0, CTX, NUM),
	H(csum_level, SKB_RW, INT, 0, CTX, NUM),
	H(l3_csum_replace, SKB_RW, INT, CHG, CTX, NUM, NUM, NUM, NUM),
	H(l4_csum_replace, SKB_RW, INT, CHG, CTX, NUM, NUM, NUM, NUM),

	/* XDP */
	H(xdp_adjust_head, T(XDP), INT, CHG, CTX, NUM),
	H(xdp_adjust_tail, T(XDP), INT, CHG, CTX, NUM),
	H(xdp_adjust_meta, T(XDP), INT, CHG, CTX, NUM),
	H(xdp_load_bytes, T(XDP), INT, 0, CTX, NUM, WMEM, SIZE),
	H(xdp_store_bytes, T(XDP), INT, 0, CTX, NUM, RMEM, SIZE),
	H(xdp_get_buff_len, T(XDP), INT, 0, CTX),

	/* Socket buffers */
	H(skb_load_bytes, LOAD_BYTES, INT, 0, CTX, NUM, WMEM, SIZE),
	H(skb_load_bytes_relative, T(SOCKET_FILTER) | TC | T(CGROUP_SKB) | T(SK_REUSEPORT), INT, 0,
	  CTX, NUM, WMEM, SIZE, NUM),
	H(skb_store_bytes, SKB_RW | T(SK_SKB), INT, CHG, CTX, NUM, RMEM, SIZE, NUM),
	H(skb_change_head, SKB_RW | T(SK_SKB), INT, CHG, CTX, NUM, NUM),
	H(skb_change_tail, SKB_RW | T(SK_SKB), INT, CHG, CTX, NUM, NUM),
	H(skb_change_proto, TC, INT, CHG, CTX, NUM, NUM),
	H(skb_change_type, TC, INT, 0, CTX, NUM),
	H(skb_adjust_room, TC | T(SK_SKB), INT, CHG, CTX, NUM, NUM, NUM),
	H(skb_pull_data, TC | LWT | T(SK_SKB), INT, CHG, CTX, NUM),
	H(skb_vlan_push, TC, INT, CHG, CTX, NUM, NUM),
	H(skb_vlan_pop, TC, INT, CHG, CTX),
	H(skb_set_tstamp, TC, INT, 0, CTX, NUM, NUM),
	H(skb_ecn_set_ce, TC | T(CGROUP_SKB), INT, 0, CTX),
	H(get_hash_recalc, TC | LWT, INT, 0, CTX),
	H(set_hash, TC, INT, 0, CTX, NUM),
	H(set_hash_invalid, SKB_RW, INT, 0, CTX),
	H(get_cgroup_classid, TC | LWT, INT, 0, CTX),
	H(get_route_realm, TC | LWT, INT, 0, CTX),
	H(get_socket_cookie, COOKIE, INT, 0, CTX),
	H(get_socket_uid, T(SOCKET_FILTER) | TC | T(CGROUP_SKB) | T(SK_SKB), INT, 0, CTX),

	/* Sockets */
	H(get_netns_cookie, T(SOCKET_FILTER) | TC | T(CGROUP_SKB) | T(CGROUP_SOCK) | T(SOCK_OPS) |
	  T(SK_MSG) | T(CGROUP_SOCK_ADDR) | T(CGROUP_SOCKOPT), INT, 0, CTX | NULLABLE),
	S(sk_lookup_tcp, SK_FIND, SKEP_RET_SOCKET_OR_NULL, PKT, CTX, RMEM, SIZE0, NUM, NUM),
	S(sk_lookup_udp, SK_FIND, SKEP_RET_SOCKET_OR_NULL, PKT, CTX, RMEM, SIZE0, NUM, NUM),
	S(skc_lookup_tcp, SK_FIND, SKEP_RET_SOCK_COMMON_OR_NULL, PKT, CTX, RMEM, SIZE0, NUM, NUM),
	S(sk_release, SK_FIND | T(SK_LOOKUP), INT, 0, SKEP_ARG_BTF_SOCK_COMMON | SKEP_ARG_RELEASE),
	S(sk_fullsock, TC | T(CGROUP_SKB), SKEP_RET_SOCKET_OR_NULL, 0, SKEP_ARG_SOCK_COMMON),
	S(tcp_sock, TC | T(CGROUP_SKB) | T(SOCK_OPS) | T(CGROUP_SOCKOPT),
	  SKEP_RET_TCP_SOCK_OR_NULL, 0, SKEP_ARG_SOCK_COMMON),
	S(get_listener_sock, TC | T(CGROUP_SKB), SKEP_RET_SOCKET_OR_NULL, 0, SKEP_ARG_SOCK_COMMON),

	/* Sockets as the kernel's own structures */
	CAST(skc_to_tcp_sock, "tcp_sock", SKEP_ARG_BTF_SOCK_COMMON),
	CAST(skc_to_tcp6_sock, "tcp6_sock", SKEP_ARG_BTF_SOCK_COMMON),
	CAST(skc_to_tcp_timewait_sock, "tcp_timewait_sock", SKEP_ARG_BTF_SOCK_COMMON),
	CAST(skc_to_tcp_request_sock, "tcp_request_sock", SKEP_ARG_BTF_SOCK_COMMON),
	CAST(skc_to_udp6_sock, "udp6_sock", SKEP_ARG_BTF_SOCK_COMMON),
	CAST(skc_to_unix_sock, "unix_sock", SKEP_ARG_BTF_SOCK_COMMON),
	CAST(skc_to_mptcp_sock, "mptcp_sock", SKEP_ARG_SOCK_COMMON),

	[BPF_FUNC_sk_assign] = {.name = "sk_assign", .fn = skep_help_no_socket, .progs = TC, .ret = INT,
		.arg = {CTX, SKEP_ARG_BTF_SOCK_COMMON, NUM}},
	S(sk_cgroup_id, T(CGROUP_SKB), INT, 0, SKEP_ARG_BTF_SOCK_COMMON),
	S(sk_ancestor_cgroup_id, T(CGROUP_SKB), INT, 0, SKEP_ARG_BTF_SOCK_COMMON, NUM),
	S(tcp_check_syncookie, TC | T(XDP), INT, GPL | PKT, SKEP_ARG_BTF_SOCK_COMMON, RMEM, SIZE, RMEM, SIZE),
	S(tcp_gen_syncookie, TC | T(XDP), INT, GPL | PKT, SKEP_ARG_BTF_SOCK_COMMON, RMEM, SIZE, RMEM, SIZE),
	K(setsockopt, T(SOCK_OPS) | T(CGROUP_SOCK_ADDR), INT, 0, CTX, NUM, NUM, RMEM, SIZE),
	K(getsockopt, T(SOCK_OPS) | T(CGROUP_SOCK_ADDR), INT, 0, CTX, NUM, NUM, WMEM, SIZE),
	K(sock_ops_cb_flags_set, T(SOCK_OPS), INT, 0, CTX, NUM),
	K(load_hdr_opt, T(SOCK_OPS), INT, 0, CTX, SKEP_ARG_MEM | SKEP_ARG_WRITE, SIZE, NUM),
	K(store_hdr_opt, T(SOCK_OPS), INT, 0, CTX, RMEM, SIZE, NUM),
	K(reserve_hdr_opt, T(SOCK_OPS), INT, 0, CTX, NUM, NUM),
	K(msg_apply_bytes, T(SK_MSG), INT, 0, CTX, NUM),
	K(msg_cork_bytes, T(SK_MSG), INT, 0, CTX, NUM),
	K(msg_pull_data, T(SK_MSG), INT, CHG, CTX, NUM, NUM, NUM),
	K(msg_push_data, T(SK_MSG), INT, CHG, CTX, NUM, NUM, NUM),
	K(msg_pop_data, T(SK_MSG), INT, CHG, CTX, NUM, NUM, NUM),

	/* Maps of sockets, local storages */
	S(sk_select_reuseport, T(SK_REUSEPORT), INT, 0, CTX, MAP, KEY, NUM),
	S(sock_map_update, T(SOCK_OPS), INT, PKT, CTX, MAP, KEY, NUM),
	S(sock_hash_update, T(SOCK_OPS), INT, PKT, CTX, MAP, KEY, NUM),
	S(sk_redirect_map, T(SK_SKB), INT, 0, CTX, MAP, NUM, NUM),
	S(sk_redirect_hash, T(SK_SKB), INT, 0, CTX, MAP, KEY, NUM),
	S(msg_redirect_map, T(SK_MSG), INT, 0, CTX, MAP, NUM, NUM),
	S(msg_redirect_hash, T(SK_MSG), INT, 0, CTX, MAP, KEY, NUM),
	S(sk_storage_get, SK_OWN, SKEP_RET_MAP_VALUE_OR_NULL, 0, MAP, SKEP_ARG_BTF_SOCK_COMMON,
	  VALUE | NULLABLE, NUM),
	S(sk_storage_delete, SK_OWN, INT, 0, MAP, SKEP_ARG_BTF_SOCK_COMMON),

	/* Cgroups */
	H(get_local_storage, T(CGROUP_SKB) | T(CGROUP_SOCK) | T(CGROUP_DEVICE) | T(SOCK_OPS) |
	  T(CGROUP_SOCK_ADDR) | T(CGROUP_SYSCTL) | T(CGROUP_SOCKOPT), SKEP_RET_MAP_VALUE, 0, MAP, NUM),
	H(skb_under_cgroup, TC | LWT, INT, 0, CTX, MAP, NUM),
	H(current_task_under_cgroup, ALL, INT, BPF, MAP, NUM),

	H(skb_cgroup_id, TC | T(CGROUP_SKB), INT, 0, CTX),
	H(skb_ancestor_cgroup_id, TC | T(CGROUP_SKB), INT, 0, CTX, NUM),
	H(skb_cgroup_classid, TC, INT, 0, CTX),
	H(get_current_cgroup_id, ALL, INT, 0),
	H(get_current_ancestor_cgroup_id, ALL, INT, 0, NUM),
	K(sysctl_get_name, T(CGROUP_SYSCTL), INT, 0, CTX, WMEM, SIZE, NUM),
	K(sysctl_get_current_value, T(CGROUP_SYSCTL), INT, 0, CTX, WMEM, SIZE),
	K(sysctl_get_new_value, T(CGROUP_SYSCTL), INT, 0, CTX, WMEM, SIZE),
	K(sysctl_set_new_value, T(CGROUP_SYSCTL), INT, 0, CTX, RMEM, SIZE),
	K(get_retval, T(CGROUP_SOCK) | T(CGROUP_SOCK_ADDR) | T(CGROUP_SOCKOPT), INT, 0),
	K(set_retval, T(CGROUP_SOCK) | T(CGROUP_SOCK_ADDR) | T(CGROUP_SOCKOPT), INT, 0, NUM),

	/* Tunnels and routes */
	H(skb_get_tunnel_key, TC | T(LWT_XMIT), INT, 0, CTX, WMEM, SIZE, NUM),
	H(skb_set_tunnel_key, TC | T(LWT_XMIT), INT, 0, CTX, RMEM, SIZE, NUM),
	H(skb_get_tunnel_opt, TC | T(LWT_XMIT), INT, 0, CTX, WMEM, SIZE),
	H(skb_set_tunnel_opt, TC | T(LWT_XMIT), INT, 0, CTX, RMEM, SIZE),
	H(skb_get_xfrm_state, TC, INT, 0, CTX, NUM, WMEM, SIZE, NUM),
	H(fib_lookup, TC | T(XDP), INT, GPL, CTX, SKEP_ARG_MEM | SKEP_ARG_WRITE, SIZE, NUM),
	[BPF_FUNC_check_mtu] = {.name = "check_mtu", .fn = skep_help_check_mtu, .progs = TC | T(XDP),
		.ret = INT, .flags = GPL, .arg = {CTX, NUM, SKEP_ARG_MEM | SKEP_ARG_FIXED_SIZE |
		SKEP_ARG_WRITE | SKEP_ARG_ALIGNED, NUM, NUM}, .size = {[2] = 4}},
	H(lwt_push_encap, T(LWT_IN) | T(LWT_XMIT), INT, CHG, CTX, NUM, RMEM, SIZE),
	H(lwt_seg6_store_bytes, T(LWT_SEG6LOCAL), INT, CHG, CTX, NUM, RMEM, SIZE),
	H(lwt_seg6_adjust_srh, T(LWT_SEG6LOCAL), INT, CHG, CTX, NUM, NUM),
	H(lwt_seg6_action, T(LWT_SEG6LOCAL), INT, CHG, CTX, NUM, RMEM, SIZE),

	/* SYN cookies without a socket */
	[BPF_FUNC_tcp_raw_gen_syncookie_ipv4] = {.name = "tcp_raw_gen_syncookie_ipv4",
		.fn = skep_help_tcp_raw_gen_syncookie_ipv4, .progs = TC | T(XDP), .ret = INT, .flags = GPL | PKT,
		.arg = {RMEM | SKEP_ARG_FIXED_SIZE, RMEM, SIZE0}, .size = {20}},
	[BPF_FUNC_tcp_raw_gen_syncookie_ipv6] = {.name = "tcp_raw_gen_syncookie_ipv6",
		.fn = skep_help_tcp_raw_gen_syncookie_ipv6, .progs = TC | T(XDP), .ret = INT, .flags = GPL | PKT,
		.arg = {RMEM | SKEP_ARG_FIXED_SIZE, RMEM, SIZE0}, .size = {40}},
	[BPF_FUNC_tcp_raw_check_syncookie_ipv4] = {.name = "tcp_raw_check_syncookie_ipv4",
		.fn = skep_help_tcp_raw_check_syncookie_ipv4, .progs = TC | T(XDP), .ret = INT, .flags = GPL | PKT,
		.arg = {RMEM | SKEP_ARG_FIXED_SIZE, RMEM | SKEP_ARG_FIXED_SIZE}, .size = {20, 20}},
	[BPF_FUNC_tcp_raw_check_syncookie_ipv6] = {.name = "tcp_raw_check_syncookie_ipv6",
		.fn = skep_help_tcp_raw_check_syncookie_ipv6, .progs = TC | T(XDP), .ret = INT, .flags = GPL | PKT,
		.arg = {RMEM | SKEP_ARG_FIXED_SIZE, RMEM | SKEP_ARG_FIXED_SIZE}, .size = {40, 20}},

	/* Where a packet goes */
	H(redirect, SKB_RW | T(XDP), INT, 0, NUM, NUM),
	H(redirect_map, T(XDP), INT, 0, MAP, NUM, NUM),
	H(clone_redirect, SKB_RW, INT, CHG, CTX, NUM, NUM),
	H(redirect_peer, TC, INT, 0, NUM, NUM),
	H(redirect_neigh, TC, INT, 0, NUM, RMEM | NULLABLE, SIZE0, NUM),

	/* Not for programs: what LD_ABS and LD_IND become */
	[SKEP_HELPER_LOAD_8] = {.fn = skep_help_load_8},
	[SKEP_HELPER_LOAD_16] = {.fn = skep_help_load_16},
	[SKEP_HELPER_LOAD_32] = {.fn = skep_help_load_32},
};
/* clang-format on */

/* ---- Helpers that take something else in some types of programs ---- */

/* clang-format off */
static const struct {
	uint32_t id;
	struct skep_helper row;
} shapes[] = {
	{BPF_FUNC_sk_assign, {.name = "sk_assign", .fn = skep_help_no_hook, .progs = T(SK_LOOKUP), .ret = INT,
		.arg = {CTX, SKEP_ARG_SOCKET | NULLABLE, NUM}}},
};
/* clang-format on */

const struct skep_helper *skep_helper_row(uint32_t id, uint32_t prog_type)
{
	if (id >= SKEP_MAX_HELPERS || !skep_helpers[id].name)
		return NULL;
	if (skep_helpers[id].progs >> prog_type & 1)
		return &skep_helpers[id];
	for (size_t i = 0; i < sizeof(shapes) / sizeof(shapes[0]); i++)
		if (shapes[i].id == id && shapes[i].row.progs >> prog_type & 1)
			return &shapes[i].row;
	return NULL;
}
