/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The helpers' functions, one file per family. Arguments are what the verifier
 * proved from the helper's row; env is the run's environment.
 */
#ifndef SKEP_HELPER_FN_H
#define SKEP_HELPER_FN_H

#include "exec/exec.h"

skep_helper_fn skep_help_clone_redirect __attribute__((weak));
skep_helper_fn skep_help_copy_from_user __attribute__((weak));
skep_helper_fn skep_help_csum_diff __attribute__((weak));
skep_helper_fn skep_help_csum_level __attribute__((weak));
skep_helper_fn skep_help_csum_update __attribute__((weak));
skep_helper_fn skep_help_for_each_map_elem __attribute__((weak));
skep_helper_fn skep_help_get_cgroup_classid __attribute__((weak));
skep_helper_fn skep_help_get_current_comm __attribute__((weak));
skep_helper_fn skep_help_get_current_pid_tgid __attribute__((weak));
skep_helper_fn skep_help_get_current_uid_gid __attribute__((weak));
skep_helper_fn skep_help_get_hash_recalc __attribute__((weak));
skep_helper_fn skep_help_get_ns_current_pid_tgid __attribute__((weak));
skep_helper_fn skep_help_get_numa_node_id __attribute__((weak));
skep_helper_fn skep_help_get_prandom_u32 __attribute__((weak));
skep_helper_fn skep_help_get_route_realm __attribute__((weak));
skep_helper_fn skep_help_get_smp_processor_id __attribute__((weak));
skep_helper_fn skep_help_get_socket_cookie __attribute__((weak));
skep_helper_fn skep_help_get_socket_uid __attribute__((weak));
skep_helper_fn skep_help_jiffies64 __attribute__((weak));
skep_helper_fn skep_help_ktime_get_boot_ns __attribute__((weak));
skep_helper_fn skep_help_ktime_get_coarse_ns __attribute__((weak));
skep_helper_fn skep_help_ktime_get_ns __attribute__((weak));
skep_helper_fn skep_help_ktime_get_tai_ns __attribute__((weak));
skep_helper_fn skep_help_l3_csum_replace __attribute__((weak));
skep_helper_fn skep_help_l4_csum_replace __attribute__((weak));
skep_helper_fn skep_help_loop __attribute__((weak));
skep_helper_fn skep_help_map_delete_elem __attribute__((weak));
skep_helper_fn skep_help_map_lookup_elem __attribute__((weak));
skep_helper_fn skep_help_map_lookup_percpu_elem __attribute__((weak));
skep_helper_fn skep_help_map_peek_elem __attribute__((weak));
skep_helper_fn skep_help_map_pop_elem __attribute__((weak));
skep_helper_fn skep_help_map_push_elem __attribute__((weak));
skep_helper_fn skep_help_map_update_elem __attribute__((weak));
skep_helper_fn skep_help_per_cpu_ptr __attribute__((weak));
skep_helper_fn skep_help_perf_event_output __attribute__((weak));
skep_helper_fn skep_help_probe_read __attribute__((weak));
skep_helper_fn skep_help_probe_read_kernel __attribute__((weak));
skep_helper_fn skep_help_probe_read_kernel_str __attribute__((weak));
skep_helper_fn skep_help_probe_read_str __attribute__((weak));
skep_helper_fn skep_help_probe_read_user __attribute__((weak));
skep_helper_fn skep_help_probe_read_user_str __attribute__((weak));
skep_helper_fn skep_help_redirect __attribute__((weak));
skep_helper_fn skep_help_redirect_map __attribute__((weak));
skep_helper_fn skep_help_redirect_neigh __attribute__((weak));
skep_helper_fn skep_help_redirect_peer __attribute__((weak));
skep_helper_fn skep_help_ringbuf_discard __attribute__((weak));
skep_helper_fn skep_help_ringbuf_output __attribute__((weak));
skep_helper_fn skep_help_ringbuf_query __attribute__((weak));
skep_helper_fn skep_help_ringbuf_reserve __attribute__((weak));
skep_helper_fn skep_help_ringbuf_submit __attribute__((weak));
skep_helper_fn skep_help_set_hash __attribute__((weak));
skep_helper_fn skep_help_set_hash_invalid __attribute__((weak));
skep_helper_fn skep_help_skb_adjust_room __attribute__((weak));
skep_helper_fn skep_help_skb_change_head __attribute__((weak));
skep_helper_fn skep_help_skb_change_proto __attribute__((weak));
skep_helper_fn skep_help_skb_change_tail __attribute__((weak));
skep_helper_fn skep_help_skb_change_type __attribute__((weak));
skep_helper_fn skep_help_skb_ecn_set_ce __attribute__((weak));
skep_helper_fn skep_help_skb_load_bytes __attribute__((weak));
skep_helper_fn skep_help_skb_load_bytes_relative __attribute__((weak));
skep_helper_fn skep_help_skb_pull_data __attribute__((weak));
skep_helper_fn skep_help_skb_set_tstamp __attribute__((weak));
skep_helper_fn skep_help_skb_store_bytes __attribute__((weak));
skep_helper_fn skep_help_skb_vlan_pop __attribute__((weak));
skep_helper_fn skep_help_skb_vlan_push __attribute__((weak));
skep_helper_fn skep_help_snprintf __attribute__((weak));
skep_helper_fn skep_help_spin_lock __attribute__((weak));
skep_helper_fn skep_help_spin_unlock __attribute__((weak));
skep_helper_fn skep_help_strncmp __attribute__((weak));
skep_helper_fn skep_help_strtol __attribute__((weak));
skep_helper_fn skep_help_strtoul __attribute__((weak));
skep_helper_fn skep_help_this_cpu_ptr __attribute__((weak));
skep_helper_fn skep_help_trace_printk __attribute__((weak));
skep_helper_fn skep_help_trace_vprintk __attribute__((weak));
skep_helper_fn skep_help_xdp_adjust_head __attribute__((weak));
skep_helper_fn skep_help_xdp_adjust_meta __attribute__((weak));
skep_helper_fn skep_help_xdp_adjust_tail __attribute__((weak));
skep_helper_fn skep_help_xdp_get_buff_len __attribute__((weak));
skep_helper_fn skep_help_xdp_load_bytes __attribute__((weak));
skep_helper_fn skep_help_xdp_store_bytes __attribute__((weak));

/* What LD_ABS and LD_IND become. */
skep_helper_fn skep_help_load_8 __attribute__((weak));
skep_helper_fn skep_help_load_16 __attribute__((weak));
skep_helper_fn skep_help_load_32 __attribute__((weak));

#endif
