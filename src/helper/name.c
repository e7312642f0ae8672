/* SPDX-License-Identifier: Apache-2.0 */
/* Names of all helpers of Linux 6.18, known here or not. */
#include "helper/helper.h"

#include <stddef.h>

#define NAME(name) [BPF_FUNC_##name] = #name

/* clang-format off */
static const char *const names[SKEP_MAX_HELPERS] = {
	[BPF_FUNC_unspec] = "unspec",
	NAME(map_lookup_elem), NAME(map_update_elem), NAME(map_delete_elem), NAME(probe_read),
	NAME(ktime_get_ns), NAME(trace_printk), NAME(get_prandom_u32), NAME(get_smp_processor_id),
	NAME(skb_store_bytes), NAME(l3_csum_replace), NAME(l4_csum_replace), NAME(tail_call),
	NAME(clone_redirect), NAME(get_current_pid_tgid), NAME(get_current_uid_gid),
	NAME(get_current_comm), NAME(get_cgroup_classid), NAME(skb_vlan_push), NAME(skb_vlan_pop),
	NAME(skb_get_tunnel_key), NAME(skb_set_tunnel_key), NAME(perf_event_read), NAME(redirect),
	NAME(get_route_realm), NAME(perf_event_output), NAME(skb_load_bytes), NAME(get_stackid),
	NAME(csum_diff), NAME(skb_get_tunnel_opt), NAME(skb_set_tunnel_opt),
	NAME(skb_change_proto), NAME(skb_change_type), NAME(skb_under_cgroup),
	NAME(get_hash_recalc), NAME(get_current_task), NAME(probe_write_user),
	NAME(current_task_under_cgroup), NAME(skb_change_tail), NAME(skb_pull_data),
	NAME(csum_update), NAME(set_hash_invalid), NAME(get_numa_node_id), NAME(skb_change_head),
	NAME(xdp_adjust_head), NAME(probe_read_str), NAME(get_socket_cookie), NAME(get_socket_uid),
	NAME(set_hash), NAME(setsockopt), NAME(skb_adjust_room), NAME(redirect_map),
	NAME(sk_redirect_map), NAME(sock_map_update), NAME(xdp_adjust_meta),
	NAME(perf_event_read_value), NAME(perf_prog_read_value), NAME(getsockopt),
	NAME(override_return), NAME(sock_ops_cb_flags_set), NAME(msg_redirect_map),
	NAME(msg_apply_bytes), NAME(msg_cork_bytes), NAME(msg_pull_data), NAME(bind),
	NAME(xdp_adjust_tail), NAME(skb_get_xfrm_state), NAME(get_stack),
	NAME(skb_load_bytes_relative), NAME(fib_lookup), NAME(sock_hash_update),
	NAME(msg_redirect_hash), NAME(sk_redirect_hash), NAME(lwt_push_encap),
	NAME(lwt_seg6_store_bytes), NAME(lwt_seg6_adjust_srh), NAME(lwt_seg6_action),
	NAME(rc_repeat), NAME(rc_keydown), NAME(skb_cgroup_id), NAME(get_current_cgroup_id),
	NAME(get_local_storage), NAME(sk_select_reuseport), NAME(skb_ancestor_cgroup_id),
	NAME(sk_lookup_tcp), NAME(sk_lookup_udp), NAME(sk_release), NAME(map_push_elem),
	NAME(map_pop_elem), NAME(map_peek_elem), NAME(msg_push_data), NAME(msg_pop_data),
	NAME(rc_pointer_rel), NAME(spin_lock), NAME(spin_unlock), NAME(sk_fullsock),
	NAME(tcp_sock), NAME(skb_ecn_set_ce), NAME(get_listener_sock), NAME(skc_lookup_tcp),
	NAME(tcp_check_syncookie), NAME(sysctl_get_name), NAME(sysctl_get_current_value),
	NAME(sysctl_get_new_value), NAME(sysctl_set_new_value), NAME(strtol), NAME(strtoul),
	NAME(sk_storage_get), NAME(sk_storage_delete), NAME(send_signal), NAME(tcp_gen_syncookie),
	NAME(skb_output), NAME(probe_read_user), NAME(probe_read_kernel),
	NAME(probe_read_user_str), NAME(probe_read_kernel_str), NAME(tcp_send_ack),
	NAME(send_signal_thread), NAME(jiffies64), NAME(read_branch_records),
	NAME(get_ns_current_pid_tgid), NAME(xdp_output), NAME(get_netns_cookie),
	NAME(get_current_ancestor_cgroup_id), NAME(sk_assign), NAME(ktime_get_boot_ns),
	NAME(seq_printf), NAME(seq_write), NAME(sk_cgroup_id), NAME(sk_ancestor_cgroup_id),
	NAME(ringbuf_output), NAME(ringbuf_reserve), NAME(ringbuf_submit), NAME(ringbuf_discard),
	NAME(ringbuf_query), NAME(csum_level), NAME(skc_to_tcp6_sock), NAME(skc_to_tcp_sock),
	NAME(skc_to_tcp_timewait_sock), NAME(skc_to_tcp_request_sock), NAME(skc_to_udp6_sock),
	NAME(get_task_stack), NAME(load_hdr_opt), NAME(store_hdr_opt), NAME(reserve_hdr_opt),
	NAME(inode_storage_get), NAME(inode_storage_delete), NAME(d_path), NAME(copy_from_user),
	NAME(snprintf_btf), NAME(seq_printf_btf), NAME(skb_cgroup_classid), NAME(redirect_neigh),
	NAME(per_cpu_ptr), NAME(this_cpu_ptr), NAME(redirect_peer), NAME(task_storage_get),
	NAME(task_storage_delete), NAME(get_current_task_btf), NAME(bprm_opts_set),
	NAME(ktime_get_coarse_ns), NAME(ima_inode_hash), NAME(sock_from_file), NAME(check_mtu),
	NAME(for_each_map_elem), NAME(snprintf), NAME(sys_bpf), NAME(btf_find_by_name_kind),
	NAME(sys_close), NAME(timer_init), NAME(timer_set_callback), NAME(timer_start),
	NAME(timer_cancel), NAME(get_func_ip), NAME(get_attach_cookie), NAME(task_pt_regs),
	NAME(get_branch_snapshot), NAME(trace_vprintk), NAME(skc_to_unix_sock),
	NAME(kallsyms_lookup_name), NAME(find_vma), NAME(loop), NAME(strncmp), NAME(get_func_arg),
	NAME(get_func_ret), NAME(get_func_arg_cnt), NAME(get_retval), NAME(set_retval),
	NAME(xdp_get_buff_len), NAME(xdp_load_bytes), NAME(xdp_store_bytes),
	NAME(copy_from_user_task), NAME(skb_set_tstamp), NAME(ima_file_hash), NAME(kptr_xchg),
	NAME(map_lookup_percpu_elem), NAME(skc_to_mptcp_sock), NAME(dynptr_from_mem),
	NAME(ringbuf_reserve_dynptr), NAME(ringbuf_submit_dynptr), NAME(ringbuf_discard_dynptr),
	NAME(dynptr_read), NAME(dynptr_write), NAME(dynptr_data), NAME(tcp_raw_gen_syncookie_ipv4),
	NAME(tcp_raw_gen_syncookie_ipv6), NAME(tcp_raw_check_syncookie_ipv4),
	NAME(tcp_raw_check_syncookie_ipv6), NAME(ktime_get_tai_ns), NAME(user_ringbuf_drain),
	NAME(cgrp_storage_get), NAME(cgrp_storage_delete),
};
/* clang-format on */

const char *skep_helper_name(uint32_t id)
{
	return id < SKEP_MAX_HELPERS ? names[id] : NULL;
}
