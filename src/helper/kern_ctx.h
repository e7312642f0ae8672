/* SPDX-License-Identifier: Apache-2.0 */
/* The structures of btf/vmlinux_types.h that programs get pointers to; a test holds them
 * against the BTF. */
#ifndef SKEP_HELPER_KERN_CTX_H
#define SKEP_HELPER_KERN_CTX_H

#include <stdbool.h>
#include <stdint.h>

struct skep_view_skb { /* struct sk_buff */
	void *dev, *sk;
	int64_t tstamp;
	char cb[48];
	uint32_t len, data_len;
	uint16_t mac_len, queue_mapping;
	uint8_t pkt_type : 3, ip_summed : 2, vlan_present : 1;
	uint32_t csum, priority;
	int32_t skb_iif;
	uint32_t hash;
	uint16_t vlan_proto, vlan_tci;
	uint32_t mark;
	uint16_t protocol, transport_header, network_header, mac_header;
	uint8_t *head, *data;
	uint32_t tail, end;
};

struct skep_view_rxq { /* struct xdp_rxq_info */
	void *dev;
	uint32_t queue_index;
};

struct skep_view_xdp { /* struct xdp_buff */
	void *data, *data_end, *data_meta, *data_hard_start;
	struct skep_view_rxq *rxq;
	void *txq;
	uint32_t frame_sz, flags;
};

struct skep_view_task { /* struct task_struct */
	uint64_t thread_flags, syscall_work;
	uint32_t thread_status, thread_cpu;
	uint32_t state;
	void *stack;
	uint32_t flags;
	int32_t on_cpu, prio, static_prio, normal_prio;
	uint32_t rt_priority, policy;
	int32_t nr_cpus_allowed;
	void *tasks[2];
	void *mm, *active_mm;
	int32_t exit_state, exit_code, exit_signal;
	int32_t pid, tgid;
	struct skep_view_task *real_parent, *parent, *group_leader;
	void *thread_pid;
	uint64_t utime, stime, nvcsw, nivcsw, start_time, start_boottime, min_flt, maj_flt;
	const void *real_cred, *cred;
	char comm[16];
	void *fs, *files, *nsproxy, *signal, *cgroups;
	uint32_t loginuid, sessionid;
};

struct skep_view_map { /* struct bpf_array; of it, struct bpf_map */
	const void *ops;
	uint32_t map_type, key_size, value_size, max_entries;
	uint64_t map_extra;
	uint32_t map_flags, id;
	const void *btf;
	uint32_t btf_key_type_id, btf_value_type_id;
	char name[16];
	uint32_t elem_size, index_mask;
};

struct skep_view_prog_aux { /* struct bpf_prog_aux */
	uint32_t id, used_map_cnt, func_cnt, stack_depth, verified_insns;
	uint64_t load_time;
	char name[16];
};

struct skep_view_prog { /* struct bpf_prog */
	uint16_t pages;
	uint32_t type, expected_attach_type, len, jited_len;
	uint8_t tag[8];
	struct skep_view_prog_aux *aux;
};

struct skep_view_link { /* struct bpf_link */
	uint32_t id, type;
	struct skep_view_prog *prog;
};

struct skep_view_seq { /* struct seq_file */
	uint64_t size, count;
};

struct skep_view_iter_meta { /* struct bpf_iter_meta */
	struct skep_view_seq *seq;
	uint64_t session_id, seq_num;
};

struct skep_view_key { /* struct key */
	int32_t serial;
};

struct skep_view_bpf_key { /* struct bpf_key */
	struct skep_view_key *key;
	bool has_ref;
};

#endif
