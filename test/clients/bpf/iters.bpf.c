// SPDX-License-Identifier: Apache-2.0
/* Iterators: each writes a line per object of ours, whose names begin with skt_. */
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_tracing.h>

#pragma clang attribute push(__attribute__((preserve_access_index)), apply_to = record)
struct seq_file {
} __attribute__((preserve_access_index));
struct bpf_iter_meta {
	struct seq_file *seq;
	__u64 session_id, seq_num;
};
struct bpf_map {
	enum bpf_map_type map_type;
	__u32 key_size, value_size, max_entries, map_flags, id;
	char name[16];
};
struct bpf_prog_aux {
	__u32 id, used_map_cnt;
	char name[16];
};
struct bpf_prog {
	enum bpf_prog_type type;
	enum bpf_attach_type expected_attach_type;
	struct bpf_prog_aux *aux;
};
struct bpf_link {
	__u32 id;
	enum bpf_link_type type;
	struct bpf_prog *prog;
};
struct bpf_iter__bpf_map {
	struct bpf_iter_meta *meta;
	struct bpf_map *map;
};
struct bpf_iter__bpf_prog {
	struct bpf_iter_meta *meta;
	struct bpf_prog *prog;
};
struct bpf_iter__bpf_link {
	struct bpf_iter_meta *meta;
	struct bpf_link *link;
};
struct bpf_iter__bpf_map_elem {
	struct bpf_iter_meta *meta;
	struct bpf_map *map;
	void *key;
	void *value;
};
struct task_struct {
	int prio, static_prio, exit_signal, pid, tgid;
	unsigned flags, policy, rt_priority;
	struct task_struct *real_parent, *group_leader;
	char comm[16];
};
struct bpf_iter__task {
	struct bpf_iter_meta *meta;
	struct task_struct *task;
};
#pragma clang attribute pop

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 64);
	__type(key, __u32);
	__type(value, __u64);
} skt_hash SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 3000);
	__type(key, __u32);
	__type(value, __u64);
} skt_array SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_HASH);
	__uint(max_entries, 8);
	__type(key, __u32);
	__type(value, __u64);
} skt_percpu SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_QUEUE);
	__uint(max_entries, 8);
	__type(value, __u64);
} skt_queue SEC(".maps");

static int ours(const char *name)
{
	return name[0] == 's' && name[1] == 'k' && name[2] == 't' && name[3] == '_';
}

SEC("iter/bpf_map")
int skt_maps(struct bpf_iter__bpf_map *ctx)
{
	struct bpf_map *map = ctx->map;

	if (!map) {
		BPF_SEQ_PRINTF(ctx->meta->seq, "end %d\n", ctx->meta->seq_num > 0);
		return 0;
	}
	if (ours(map->name))
		BPF_SEQ_PRINTF(ctx->meta->seq,
			       "%s type %u key %u value %u entries %u flags %x id %d\n", map->name,
			       map->map_type, map->key_size, map->value_size, map->max_entries,
			       map->map_flags, map->id > 0);
	return 0;
}

SEC("iter/bpf_prog")
int skt_progs(struct bpf_iter__bpf_prog *ctx)
{
	struct bpf_prog *prog = ctx->prog;
	struct bpf_prog_aux *aux;

	if (!prog)
		return 0;
	aux = prog->aux;
	if (ours(aux->name))
		BPF_SEQ_PRINTF(ctx->meta->seq, "%s type %u attach %u maps %u id %d\n", aux->name,
			       prog->type, prog->expected_attach_type, aux->used_map_cnt,
			       aux->id > 0);
	return 0;
}

SEC("iter/bpf_link")
int skt_links(struct bpf_iter__bpf_link *ctx)
{
	struct bpf_link *link = ctx->link;

	if (!link || !ours(link->prog->aux->name))
		return 0;
	BPF_SEQ_PRINTF(ctx->meta->seq, "link of %s type %u id %d\n", link->prog->aux->name,
		       link->type, link->id > 0);
	return 0;
}

__u64 sum = 0;

/* Adds one to each value. */
SEC("iter/bpf_map_elem")
int skt_elems(struct bpf_iter__bpf_map_elem *ctx)
{
	__u32 *key = ctx->key;
	__u64 *value = ctx->value;

	if (!key || !value) {
		BPF_SEQ_PRINTF(ctx->meta->seq, "~ sum %llu of %s\n", sum, ctx->map->name);
		sum = 0;
		return 0;
	}
	sum += *value;
	BPF_SEQ_PRINTF(ctx->meta->seq, "%u: %llu\n", *key, *value);
	*value += 1;
	return 0;
}

SEC("iter/bpf_map_elem")
int skt_cpus(struct bpf_iter__bpf_map_elem *ctx)
{
	__u64 *value = ctx->value;

	if (ctx->key && value)
		bpf_seq_write(ctx->meta->seq, value, 8);
	return 0;
}

/* Touches more than a value has. */
SEC("iter/bpf_map_elem")
int skt_far(struct bpf_iter__bpf_map_elem *ctx)
{
	__u64 *value = ctx->value;

	if (value)
		BPF_SEQ_PRINTF(ctx->meta->seq, "%llu\n", value[64]);
	return 0;
}

int self SEC(".data.self") = 0;

#define PF_KTHREAD 0x200000

/* Ours, and one of the kernel's own. */
SEC("iter/task")
int skt_tasks(struct bpf_iter__task *ctx)
{
	struct task_struct *task = ctx->task;

	if (!task) {
		BPF_SEQ_PRINTF(ctx->meta->seq, "~\n");
		return 0;
	}
	if (task->tgid != self && task->pid != 2)
		return 0;
	BPF_SEQ_PRINTF(ctx->meta->seq, "%s leader %d prio %d %d policy %u %u exit %d kernel %d\n",
		       task->comm, task->pid == task->tgid, task->prio, task->static_prio,
		       task->policy, task->rt_priority, task->exit_signal,
		       !!(task->flags & PF_KTHREAD));
	BPF_SEQ_PRINTF(ctx->meta->seq, "%s: leader %s, parent's process %d\n", task->comm,
		       task->group_leader->comm, task->real_parent->tgid < task->tgid);
	return 0;
}

char LICENSE[] SEC("license") = "GPL";
