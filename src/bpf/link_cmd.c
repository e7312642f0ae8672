/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Commands on links. What has no hook in this instance is answered as the kernel answers for
 * a target that is not there.
 */
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "bpf/attach.h"
#include "bpf/iter.h"
#include "bpf/link_cmd.h"
#include "os/caller.h"

/* ---- LINK_CREATE ---- */

static int create_without_hook(const struct skep_prog *prog, const union bpf_attr *a)
{
	uint32_t flags = a->link_create.flags;

	switch (prog->type) {
	case BPF_PROG_TYPE_CGROUP_SKB:
		return flags & ~(uint32_t)(BPF_F_ID | BPF_F_AFTER | BPF_F_BEFORE | BPF_F_PREORDER |
					   BPF_F_LINK)
			       ? -EINVAL
			       : -EBADF;
	case BPF_PROG_TYPE_SCHED_CLS:
		return skep_attach_nowhere(a->link_create.attach_type);
	case BPF_PROG_TYPE_PERF_EVENT:
	case BPF_PROG_TYPE_TRACEPOINT:
		return flags ? -EINVAL : -EBADF;
	case BPF_PROG_TYPE_KPROBE:
		if (a->link_create.attach_type == BPF_PERF_EVENT)
			return flags ? -EINVAL : -EBADF;
		return -EOPNOTSUPP;
	default:
		return -EINVAL;
	}
}

long skep_cmd_link_create(struct skep_call *c)
{
	const union bpf_attr *a = &c->attr;
	uint32_t type = a->link_create.attach_type, ifindex = 0;
	const struct skep_hook *hook;
	struct skep_prog *prog;
	void *arg;
	long ret;

	if (type == BPF_STRUCT_OPS) {
		struct skep_map *map;
		ret = skep_get_map(c->skep, a->link_create.map_fd, &map, NULL, NULL);
		if (ret)
			return ret;
		skep_object_put(&map->obj);
		return -EINVAL; /* no map here holds functions */
	}
	ret = skep_get_prog(c->skep, a->link_create.prog_fd, &prog);
	if (ret)
		return ret;
	ret = skep_attach_check(prog, type);
	if (type == BPF_XDP || skep_attach_target(type) == SKEP_AT_NETDEV)
		ifindex = a->link_create.target_ifindex;
	if (!ret) {
		uint64_t cookie = type == BPF_PERF_EVENT ? a->link_create.perf_event.bpf_cookie : 0;
		if (prog->iter)
			ret = skep_iter_link(c, prog);
		else if (skep_link_hook(c->skep, type, ifindex, &hook, &arg))
			ret = skep_link_make(c, prog, type, ifindex, hook, arg, cookie);
		else
			ret = create_without_hook(prog, a);
	}
	skep_object_put(&prog->obj);
	return ret;
}

long skep_cmd_raw_tracepoint(struct skep_call *c)
{
	const union bpf_attr *a = &c->attr;
	const struct skep_hook *hook;
	struct skep_prog *prog;
	char name[128];
	void *arg;
	long ret = skep_get_prog(c->skep, a->raw_tracepoint.prog_fd, &prog);

	if (ret)
		return ret;
	if (prog->type != BPF_PROG_TYPE_RAW_TRACEPOINT &&
	    prog->type != BPF_PROG_TYPE_RAW_TRACEPOINT_WRITABLE)
		ret = -EINVAL;
	else if (skep_caller_read_str(name, skep_user_ptr(a->raw_tracepoint.name), sizeof(name)) <
		 0)
		ret = -EFAULT;
	else if (skep_link_hook(c->skep, BPF_TRACE_RAW_TP, 0, &hook, &arg))
		ret = skep_link_make(c, prog, BPF_TRACE_RAW_TP, 0, hook, arg,
				     a->raw_tracepoint.cookie);
	else
		ret = -ENOENT;
	skep_object_put(&prog->obj);
	return ret;
}

static int get_link(struct skep_call *c, uint32_t fd, struct skep_link **out)
{
	struct skep_object *obj;
	int err = skep_object_get(c->skep, (int)fd, SKEP_KIND_LINK, &obj);

	if (!err)
		*out = (struct skep_link *)obj;
	return err;
}

long skep_cmd_link_update(struct skep_call *c)
{
	const union bpf_attr *a = &c->attr;
	uint32_t flags = a->link_update.flags;
	struct skep_prog *next = NULL, *old = NULL;
	struct skep_link *link;

	if (flags & ~BPF_F_REPLACE)
		return -EINVAL;
	int err = get_link(c, a->link_update.link_fd, &link);
	if (err)
		return err;
	err = skep_get_prog(c->skep, a->link_update.new_prog_fd, &next);
	if (!err && (flags & BPF_F_REPLACE))
		err = skep_get_prog(c->skep, a->link_update.old_prog_fd, &old);
	else if (!err && a->link_update.old_prog_fd)
		err = -EINVAL;
	if (!err)
		err = skep_link_replace(link, next, old, flags);
	if (old)
		skep_object_put(&old->obj);
	if (next)
		skep_object_put(&next->obj);
	skep_object_put(&link->obj);
	return err;
}

long skep_cmd_link_detach(struct skep_call *c)
{
	struct skep_link *link;
	int err = get_link(c, c->attr.link_detach.link_fd, &link);

	if (err)
		return err;
	err = skep_link_stop(link);
	skep_object_put(&link->obj);
	return err;
}

long skep_cmd_iter_create(struct skep_call *c)
{
	struct skep_link *link;
	long ret;

	if (c->attr.iter_create.flags)
		return -EINVAL;
	int err = get_link(c, c->attr.iter_create.link_fd, &link);
	if (err)
		return err;
	ret = link->type == BPF_LINK_TYPE_ITER ? skep_iter_text(c, link) : -EINVAL;
	skep_object_put(&link->obj);
	return ret;
}

/* ---- TASK_FD_QUERY ---- */

long skep_cmd_task_fd_query(struct skep_call *c)
{
	const union bpf_attr *a = &c->attr;
	char path[64];

	if (!skep_capable(c->skep, SKEP_CAP_SYS_ADMIN))
		return -EPERM;
	if (a->task_fd_query.flags)
		return -EINVAL;
	if (!a->task_fd_query.pid || a->task_fd_query.pid > INT32_MAX ||
	    (kill((pid_t)a->task_fd_query.pid, 0) && errno == ESRCH))
		return -ENOENT;
	snprintf(path, sizeof(path), "/proc/%u/fd/%u", a->task_fd_query.pid, a->task_fd_query.fd);
	if (faccessat(AT_FDCWD, path, F_OK, AT_SYMLINK_NOFOLLOW))
		return -EBADF;
	return -SKEP_ENOTSUPP; /* no perf event, no tracepoint */
}
