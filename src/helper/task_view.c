/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Tasks as programs see them through struct task_struct: what the machine says of one when it is
 * asked for; other fields are 0. Objects of the heap, counted. What the calling thread got last
 * is kept with its environment.
 */
#include <stdatomic.h>
#include <string.h>

#include "bpf/instance.h"
#include "exec/heap.h"
#include "helper/call.h"
#include "helper/kern_ctx.h"
#include "helper/kfn.h"
#include "os/caller.h"
#include "os/os.h"
#include "os/task.h"

struct task {
	struct skep_view_task view;
	struct skep_view_task leader, parent; /* where they are others */
	_Atomic uint32_t refs;
};

static bool fill(struct skep_view_task *v, uint32_t pid, uint32_t *parent)
{
	struct skep_task t;

	if (skep_task_read(pid, &t))
		return false;
	*v = (struct skep_view_task){
		.flags = t.flags,
		.prio = t.prio,
		.static_prio = t.static_prio,
		.rt_priority = t.rt_priority,
		.policy = t.policy,
		.exit_signal = t.exit_signal,
		.pid = (int32_t)t.pid,
		.tgid = (int32_t)t.tgid,
		.nvcsw = t.nvcsw,
		.nivcsw = t.nivcsw,
		.min_flt = t.min_flt,
		.maj_flt = t.maj_flt,
	};
	memcpy(v->comm, t.comm, sizeof(v->comm));
	v->group_leader = v;
	*parent = t.parent;
	return true;
}

static struct task *make(struct skep_env *env, uint32_t pid)
{
	struct task *t = skep_heap_alloc(env->skep, sizeof(*t));
	uint32_t parent, other;

	if (!t)
		return NULL;
	t->refs = 1;
	if (!fill(&t->view, pid, &parent)) {
		skep_heap_free(env->skep, t);
		return NULL;
	}
	if (t->view.tgid != t->view.pid && fill(&t->leader, (uint32_t)t->view.tgid, &other))
		t->view.group_leader = &t->leader;
	if (parent && fill(&t->parent, parent, &other))
		t->view.parent = t->view.real_parent = &t->parent;
	return t;
}

static void put(struct skep *skep, struct task *t)
{
	if (t && atomic_fetch_sub(&t->refs, 1) == 1)
		skep_heap_free(skep, t);
}

/* Made anew with every call, so that it says how things are; the last one stays until then. */
HELPER(get_current_task_btf)
{
	const struct skep_caller *caller = skep_caller_current();
	struct task *t = make(env, caller ? (uint32_t)caller->pid : skep_tid());

	put(env->skep, skep_heap_at(env->skep, env->task));
	env->task = skep_heap_offset(env->skep, t);
	return ADDR(t);
}

/* One that is no object of the heap by itself (a parent, an iterator's) is made one. */
KFUNC(bpf_task_acquire)
{
	struct task *t = skep_heap_object(env->skep, PTR(r1));
	uint32_t old;

	if (!t)
		return ADDR(make(env, (uint32_t)((struct skep_view_task *)PTR(r1))->pid));
	old = atomic_load(&t->refs);
	do {
		if (!old)
			return 0;
	} while (!atomic_compare_exchange_weak(&t->refs, &old, old + 1));
	return r1;
}

KFUNC(bpf_task_release)
{
	put(env->skep, PTR(r1));
	return 0;
}

KFUNC(bpf_task_from_pid)
{
	return (int32_t)r1 > 0 ? ADDR(make(env, (uint32_t)r1)) : 0;
}
