/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The iterator over tasks. What a program finds in a task is in the table; other fields of skep's
 * struct task_struct are 0.
 */
#include <stdlib.h>
#include <string.h>

#include "bpf/iter.h"
#include "btf/btf.h"
#include "btf/internal.h"
#include "os/owner.h"
#include "os/task.h"
#include "prog/type.h"

#define ARG(i) .off = (i)*8, .size = 8, .ioff = (i)*8, .isize = 8, .flags = SKEP_CTX_R

static const struct skep_ctx_field fields[] = {
	{.name = "meta", ARG(0), .kind = SKEP_CTX_BTF, .type = "bpf_iter_meta"},
	{.name = "task", ARG(1), .kind = SKEP_CTX_BTF_OR_NULL, .type = "task_struct"},
};

#define SERVED(field)                                                                              \
	{                                                                                          \
#field, offsetof(struct skep_task, field), sizeof(((struct skep_task *)0)->field)  \
	}
static const struct {
	const char *name;
	size_t from, size;
} served[] = {
	SERVED(pid),         SERVED(tgid),    SERVED(comm),        SERVED(flags),
	SERVED(min_flt),     SERVED(maj_flt), SERVED(nvcsw),       SERVED(nivcsw),
	SERVED(prio),        SERVED(policy),  SERVED(static_prio), SERVED(exit_signal),
	SERVED(rt_priority),
};
#define NSERVED (sizeof(served) / sizeof(served[0]))

/* Where things are in skep's struct task_struct. */
struct layout {
	size_t size, at[NSERVED], parent, real_parent, group_leader;
};

/* *at gets the offset; false: skep's types have no such field. */
static bool find(const struct skep_btf *btf, const struct btf_type *t, const char *name, size_t *at)
{
	const struct btf_member *m = skep_btf_members(t);

	for (uint32_t i = 0; i < BTF_INFO_VLEN(t->info); i++)
		if (!strcmp(skep_btf_str(btf, m[i].name_off), name)) {
			*at = skep_btf_member_bits(t, &m[i]) / 8;
			return true;
		}
	return false;
}

static int learn(struct skep *skep, struct layout *l)
{
	const struct skep_btf *btf;
	int err = skep_btf_presented(skep, &btf);
	int64_t id = err ? err : skep_btf_find(btf, "task_struct", BTF_KIND_STRUCT);

	if (id < 0)
		return (int)id;
	const struct btf_type *t = skep_btf_type(btf, (uint32_t)id);
	bool all = find(btf, t, "parent", &l->parent) &&
		   find(btf, t, "real_parent", &l->real_parent) &&
		   find(btf, t, "group_leader", &l->group_leader);

	l->size = t->size;
	for (size_t i = 0; i < NSERVED; i++)
		all &= find(btf, t, served[i].name, &l->at[i]);
	return all ? 0 : -ENOENT;
}

/* ---- Views ---- */

static void view(const struct layout *l, uint8_t *out, const struct skep_task *task)
{
	memset(out, 0, l->size);
	for (size_t i = 0; i < NSERVED; i++)
		memcpy(out + l->at[i], (const uint8_t *)task + served[i].from, served[i].size);
}

static void point(uint8_t *out, size_t at, const uint8_t *to)
{
	memcpy(out + at, &to, sizeof(to));
}

/* The views of a task, its group's leader and its parent, the leader of another group. */
struct views {
	struct layout l;
	uint8_t *task, *leader, *parent;
};

static int show(struct skep_iter *it, struct views *v, uint32_t tid)
{
	struct skep_task t, other;
	const struct layout *l = &v->l;
	uint8_t *leader = v->task;

	if (skep_task_read(tid, &t))
		return 0; /* it ended in between */
	view(l, v->task, &t);
	if (t.tgid != t.pid && !skep_task_read(t.tgid, &other)) {
		leader = v->leader;
		view(l, leader, &other);
	}
	point(v->task, l->group_leader, leader);
	if (t.parent && !skep_task_read(t.parent, &other)) {
		view(l, v->parent, &other);
		point(v->parent, l->group_leader, v->parent);
		point(v->task, l->parent, v->parent);
		point(v->task, l->real_parent, v->parent);
	}
	it->ctx[1] = (uintptr_t)v->task;
	return skep_iter_show(it);
}

static int each(struct skep_iter *it)
{
	struct views v = {.task = NULL};
	uint32_t *tids = NULL, n = 1, i;
	int err = learn(it->skep, &v.l);

	if (err)
		return err;
	v.task = calloc(3, v.l.size);
	if (!v.task)
		return -ENOMEM;
	v.leader = v.task + v.l.size;
	v.parent = v.leader + v.l.size;
	if (it->of->tid)
		err = show(it, &v, it->of->tid);
	else
		err = skep_task_list(it->of->tgid, &tids, &n);
	for (i = 0; tids && !err && i < n; i++)
		err = show(it, &v, tids[i]);
	free(tids);
	free(v.task);
	return err;
}

/* ---- Links ---- */

static int attach(struct skep *skep, const struct skep_prog *prog,
		  const union bpf_iter_link_info *info, struct skep_iter_link *out)
{
	struct skep_owner owner;

	if (!!info->task.tid + !!info->task.pid + !!info->task.pid_fd > 1)
		return -EINVAL;
	out->tid = info->task.tid;
	out->tgid = info->task.pid;
	if (!info->task.pid_fd)
		return 0;
	int err = skep_owner_pidfd((int)info->task.pid_fd, &owner);
	if (!err)
		out->tgid = (uint32_t)owner.id;
	return err;
}

static void fill_info(const struct skep_iter_link *link, struct bpf_link_info *info)
{
	info->iter.task.tid = link->tid;
	info->iter.task.pid = link->tgid;
}

const struct skep_iter_target skep_iter_tasks = {
	.name = "task",
	.fields = fields,
	.nfields = sizeof(fields) / sizeof(fields[0]),
	.args = 2,
	.sleepable = true,
	.attach = attach,
	.info = fill_info,
	.each = each,
};
