/* SPDX-License-Identifier: Apache-2.0 */
/* As vmlinux_types.h: objects of bpf(2), which use the enums of bpf/uapi.h. */

struct btf;
struct bpf_map_ops {
};
struct bpf_map {
	const struct bpf_map_ops *ops;
	enum bpf_map_type map_type;
	u32 key_size;
	u32 value_size;
	u32 max_entries;
	u64 map_extra;
	u32 map_flags;
	u32 id;
	struct btf *btf;
	u32 btf_key_type_id;
	u32 btf_value_type_id;
	char name[16];
};
/* What a map of each type is, for programs that read their own maps. */
struct bpf_array {
	struct bpf_map map;
	u32 elem_size;
	u32 index_mask;
};
struct bpf_htab {
	struct bpf_map map;
};
struct lpm_trie {
	struct bpf_map map;
};
struct bpf_queue_stack {
	struct bpf_map map;
};
struct bpf_ringbuf_map {
	struct bpf_map map;
};
struct bpf_stack_map {
	struct bpf_map map;
};
struct bpf_dtab {
	struct bpf_map map;
};
struct bpf_cpu_map {
	struct bpf_map map;
};
struct xsk_map {
	struct bpf_map map;
};
struct bpf_stab {
	struct bpf_map map;
};
struct bpf_shtab {
	struct bpf_map map;
};
struct reuseport_array {
	struct bpf_map map;
};
struct bpf_local_storage_map {
	struct bpf_map map;
};
struct bpf_bloom_filter {
	struct bpf_map map;
};
struct bpf_cgroup_storage_map {
	struct bpf_map map;
};
struct bpf_struct_ops_map {
	struct bpf_map map;
};
struct bpf_arena {
	struct bpf_map map;
};
struct bpf_prog_aux {
	u32 id;
	u32 used_map_cnt;
	u32 func_cnt;
	u32 stack_depth;
	u32 verified_insns;
	u64 load_time;
	char name[16];
};
struct bpf_prog {
	u16 pages;
	enum bpf_prog_type type;
	enum bpf_attach_type expected_attach_type;
	u32 len;
	u32 jited_len;
	u8 tag[8];
	struct bpf_prog_aux *aux;
};
struct bpf_link {
	u32 id;
	enum bpf_link_type type;
	struct bpf_prog *prog;
};

/* ---- Iterators that programs keep on their stacks ---- */

struct bpf_iter_bits {
	__u64 __opaque[2];
};

/* ---- struct_ops ---- */

enum bpf_struct_ops_state {
	BPF_STRUCT_OPS_STATE_INIT,
	BPF_STRUCT_OPS_STATE_INUSE,
	BPF_STRUCT_OPS_STATE_TOBEFREE,
	BPF_STRUCT_OPS_STATE_READY,
};
struct bpf_struct_ops_common {
	refcount_t refcnt;
	enum bpf_struct_ops_state state;
};
struct bpf_dummy_ops_state {
	int val;
};
struct bpf_dummy_ops {
	int (*test_1)(struct bpf_dummy_ops_state *cb);
	int (*test_2)(struct bpf_dummy_ops_state *cb, int a1, unsigned short a2, char a3,
		      unsigned long a4);
	int (*test_sleepable)(struct bpf_dummy_ops_state *cb);
};
struct bpf_struct_ops_bpf_dummy_ops {
	struct bpf_struct_ops_common common;
	struct bpf_dummy_ops data __attribute__((aligned(64)));
};
