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

#define CGROUP_LINK_FLAGS                                                                          \
	((uint32_t)(BPF_F_ID | BPF_F_AFTER | BPF_F_BEFORE | BPF_F_PREORDER | BPF_F_LINK))
#define MAX_UPROBES (1u << 20)
/* Of <linux/netfilter.h>, which clashes with libc's. */
#define NFPROTO_IPV4              2
#define NFPROTO_IPV6              10
#define NF_INET_NUMHOOKS          5
#define BPF_F_NETFILTER_IP_DEFRAG 1u

/* Checks of a netfilter link's own arguments; there is no family whose packets pass here. */
static int netfilter_without_hook(const union bpf_attr *a)
{
	uint32_t pf = a->link_create.netfilter.pf;
	bool known = pf == NFPROTO_IPV4 || pf == NFPROTO_IPV6;

	if (a->link_create.flags)
		return -EINVAL;
	if (known && a->link_create.netfilter.hooknum >= NF_INET_NUMHOOKS)
		return -EPROTO;
	if (known && a->link_create.netfilter.flags & ~BPF_F_NETFILTER_IP_DEFRAG)
		return -EOPNOTSUPP;
	return -EAFNOSUPPORT;
}

/* The same of uprobes; those of an instance's clients can't be had. */
static int uprobe_multi_without_hook(const struct skep_prog *prog, const union bpf_attr *a)
{
	uint32_t type = a->link_create.attach_type;
	char path;

	if (a->link_create.flags || prog->attach_type != type ||
	    a->link_create.uprobe_multi.flags & ~BPF_F_UPROBE_MULTI_RETURN)
		return -EINVAL;
	if (!a->link_create.uprobe_multi.path || !a->link_create.uprobe_multi.offsets ||
	    !a->link_create.uprobe_multi.cnt || (int)a->link_create.uprobe_multi.pid < 0)
		return -EINVAL;
	if (a->link_create.uprobe_multi.cnt > MAX_UPROBES)
		return -E2BIG;
	if (skep_caller_read_str(&path, skep_user_ptr(a->link_create.uprobe_multi.path), 1) < 0)
		return -EFAULT;
	return -EOPNOTSUPP;
}

static int create_without_hook(struct skep *skep, const struct skep_prog *prog,
			       const union bpf_attr *a)
{
	uint32_t flags = a->link_create.flags, type = a->link_create.attach_type;
	int err;

	if (prog->type == BPF_PROG_TYPE_NETFILTER)
		return netfilter_without_hook(a);
	if (type == BPF_PERF_EVENT && prog->type != BPF_PROG_TYPE_CGROUP_SKB)
		return flags ? -EINVAL : -EBADF;
	if (prog->type == BPF_PROG_TYPE_KPROBE)
		return type == BPF_TRACE_UPROBE_MULTI || type == BPF_TRACE_UPROBE_SESSION
			       ? uprobe_multi_without_hook(prog, a)
			       : -EOPNOTSUPP;
	if (prog->type != skep_attach_prog_type(type))
		return -EINVAL;
	switch (skep_attach_target(type)) {
	case SKEP_AT_CGROUP:
		return flags & ~CGROUP_LINK_FLAGS ? -EINVAL : -EBADF;
	case SKEP_AT_SOCKMAP:
		err = flags ? -EINVAL : skep_attach_sockmap(skep, a->link_create.target_fd);
		return !err ? -EOPNOTSUPP : err == -EOPNOTSUPP ? -EINVAL : err;
	case SKEP_AT_NETNS:
		return flags ? -EINVAL : skep_wrong_fd(a->link_create.target_fd);
	default:
		return skep_attach_nowhere(type);
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
			ret = create_without_hook(c->skep, prog, a);
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
