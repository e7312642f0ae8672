/* SPDX-License-Identifier: Apache-2.0 */
/* As vmlinux_types.h: iterators of bpf(2). A program is attached to one of the functions, whose
 * arguments are its context. */

struct seq_file {
	size_t size;
	size_t count;
};
struct bpf_iter_meta {
	struct seq_file *seq;
	u64 session_id;
	u64 seq_num;
};
struct bpf_iter__bpf_map {
	struct bpf_iter_meta *meta;
	struct bpf_map *map;
};
int bpf_iter_bpf_map(struct bpf_iter_meta *meta, struct bpf_map *map);
struct bpf_iter__bpf_prog {
	struct bpf_iter_meta *meta;
	struct bpf_prog *prog;
};
int bpf_iter_bpf_prog(struct bpf_iter_meta *meta, struct bpf_prog *prog);
struct bpf_iter__bpf_link {
	struct bpf_iter_meta *meta;
	struct bpf_link *link;
};
int bpf_iter_bpf_link(struct bpf_iter_meta *meta, struct bpf_link *link);
struct bpf_iter__bpf_map_elem {
	struct bpf_iter_meta *meta;
	struct bpf_map *map;
	void *key;
	void *value;
};
int bpf_iter_bpf_map_elem(struct bpf_iter_meta *meta, struct bpf_map *map, void *key, void *value);
struct bpf_iter__task {
	struct bpf_iter_meta *meta;
	struct task_struct *task;
};
int bpf_iter_task(struct bpf_iter_meta *meta, struct task_struct *task);
