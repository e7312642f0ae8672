/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Commands on links, and the older ones that attach without a link. What has no hook in
 * this instance is answered as the kernel answers for a target that is not there.
 */
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "bpf/link_cmd.h"
#include "os/caller.h"

/* ---- Attach types ---- */

/* Program type + 1 by attach type, 0: none; targets: what the attach type is attached to. */
enum target { NOWHERE, CGROUP, NETNS, SOCKMAP, NETDEV, NETKIT, LIRC };
#define ROW(type, where)                                                                           \
	{                                                                                          \
		BPF_PROG_TYPE_##type, where                                                        \
	}
static const struct {
	uint8_t prog_type, target;
} attach_types[] = {
	[BPF_CGROUP_INET_INGRESS] = ROW(CGROUP_SKB, CGROUP),
	[BPF_CGROUP_INET_EGRESS] = ROW(CGROUP_SKB, CGROUP),
	[BPF_CGROUP_INET_SOCK_CREATE] = ROW(CGROUP_SOCK, CGROUP),
	[BPF_CGROUP_SOCK_OPS] = ROW(SOCK_OPS, CGROUP),
	[BPF_SK_SKB_STREAM_PARSER] = ROW(SK_SKB, SOCKMAP),
	[BPF_SK_SKB_STREAM_VERDICT] = ROW(SK_SKB, SOCKMAP),
	[BPF_CGROUP_DEVICE] = ROW(CGROUP_DEVICE, CGROUP),
	[BPF_SK_MSG_VERDICT] = ROW(SK_MSG, SOCKMAP),
	[BPF_CGROUP_INET4_BIND] = ROW(CGROUP_SOCK_ADDR, CGROUP),
	[BPF_CGROUP_INET6_BIND] = ROW(CGROUP_SOCK_ADDR, CGROUP),
	[BPF_CGROUP_INET4_CONNECT] = ROW(CGROUP_SOCK_ADDR, CGROUP),
	[BPF_CGROUP_INET6_CONNECT] = ROW(CGROUP_SOCK_ADDR, CGROUP),
	[BPF_CGROUP_INET4_POST_BIND] = ROW(CGROUP_SOCK, CGROUP),
	[BPF_CGROUP_INET6_POST_BIND] = ROW(CGROUP_SOCK, CGROUP),
	[BPF_CGROUP_UDP4_SENDMSG] = ROW(CGROUP_SOCK_ADDR, CGROUP),
	[BPF_CGROUP_UDP6_SENDMSG] = ROW(CGROUP_SOCK_ADDR, CGROUP),
	[BPF_LIRC_MODE2] = ROW(LIRC_MODE2, LIRC),
	[BPF_FLOW_DISSECTOR] = ROW(FLOW_DISSECTOR, NETNS),
	[BPF_CGROUP_SYSCTL] = ROW(CGROUP_SYSCTL, CGROUP),
	[BPF_CGROUP_UDP4_RECVMSG] = ROW(CGROUP_SOCK_ADDR, CGROUP),
	[BPF_CGROUP_UDP6_RECVMSG] = ROW(CGROUP_SOCK_ADDR, CGROUP),
	[BPF_CGROUP_GETSOCKOPT] = ROW(CGROUP_SOCKOPT, CGROUP),
	[BPF_CGROUP_SETSOCKOPT] = ROW(CGROUP_SOCKOPT, CGROUP),
	[BPF_TRACE_RAW_TP] = ROW(TRACING, NOWHERE),
	[BPF_TRACE_FENTRY] = ROW(TRACING, NOWHERE),
	[BPF_TRACE_FEXIT] = ROW(TRACING, NOWHERE),
	[BPF_MODIFY_RETURN] = ROW(TRACING, NOWHERE),
	[BPF_LSM_MAC] = ROW(LSM, NOWHERE),
	[BPF_TRACE_ITER] = ROW(TRACING, NOWHERE),
	[BPF_CGROUP_INET4_GETPEERNAME] = ROW(CGROUP_SOCK_ADDR, CGROUP),
	[BPF_CGROUP_INET6_GETPEERNAME] = ROW(CGROUP_SOCK_ADDR, CGROUP),
	[BPF_CGROUP_INET4_GETSOCKNAME] = ROW(CGROUP_SOCK_ADDR, CGROUP),
	[BPF_CGROUP_INET6_GETSOCKNAME] = ROW(CGROUP_SOCK_ADDR, CGROUP),
	[BPF_CGROUP_INET_SOCK_RELEASE] = ROW(CGROUP_SOCK, CGROUP),
	[BPF_SK_LOOKUP] = ROW(SK_LOOKUP, NETNS),
	[BPF_XDP] = ROW(XDP, NOWHERE),
	[BPF_SK_SKB_VERDICT] = ROW(SK_SKB, SOCKMAP),
	[BPF_LSM_CGROUP] = ROW(LSM, CGROUP),
	[BPF_TCX_INGRESS] = ROW(SCHED_CLS, NETDEV),
	[BPF_TCX_EGRESS] = ROW(SCHED_CLS, NETDEV),
	[BPF_CGROUP_UNIX_CONNECT] = ROW(CGROUP_SOCK_ADDR, CGROUP),
	[BPF_CGROUP_UNIX_SENDMSG] = ROW(CGROUP_SOCK_ADDR, CGROUP),
	[BPF_CGROUP_UNIX_RECVMSG] = ROW(CGROUP_SOCK_ADDR, CGROUP),
	[BPF_CGROUP_UNIX_GETPEERNAME] = ROW(CGROUP_SOCK_ADDR, CGROUP),
	[BPF_CGROUP_UNIX_GETSOCKNAME] = ROW(CGROUP_SOCK_ADDR, CGROUP),
	[BPF_NETKIT_PRIMARY] = ROW(SCHED_CLS, NETKIT),
	[BPF_NETKIT_PEER] = ROW(SCHED_CLS, NETKIT),
};

static uint32_t prog_type_of(uint32_t attach_type)
{
	return attach_type < sizeof(attach_types) / sizeof(*attach_types)
		       ? attach_types[attach_type].prog_type
		       : BPF_PROG_TYPE_UNSPEC;
}

static enum target target_of(uint32_t attach_type)
{
	return attach_type < sizeof(attach_types) / sizeof(*attach_types)
		       ? attach_types[attach_type].target
		       : NOWHERE;
}

static int check_attach_type(const struct skep_prog *prog, uint32_t type)
{
	uint32_t owner = prog_type_of(type);

	switch (prog->type) {
	case BPF_PROG_TYPE_CGROUP_SKB:
		return 0;
	case BPF_PROG_TYPE_PERF_EVENT:
	case BPF_PROG_TYPE_TRACEPOINT:
		return type == BPF_PERF_EVENT ? 0 : -EINVAL;
	case BPF_PROG_TYPE_KPROBE: {
		/* The kind of probe that it was loaded for, and no other. */
		static const uint32_t kinds[] = {BPF_TRACE_KPROBE_MULTI, BPF_TRACE_KPROBE_SESSION,
						 BPF_TRACE_UPROBE_MULTI, BPF_TRACE_UPROBE_SESSION};
		bool known = type == BPF_PERF_EVENT;
		for (int i = 0; i < 4; i++) {
			if (prog->attach_type == kinds[i] && type != kinds[i])
				return -EINVAL;
			known |= type == kinds[i];
		}
		return known ? 0 : -EINVAL;
	}
	case BPF_PROG_TYPE_SCHED_CLS:
		return target_of(type) == NETDEV || target_of(type) == NETKIT ? 0 : -EINVAL;
	default:
		return owner != BPF_PROG_TYPE_UNSPEC && owner == prog->type ? 0 : -EINVAL;
	}
}

/* The errno for a target that can't be there, because skep has no such places. */
static int no_target(uint32_t attach_type)
{
	switch (target_of(attach_type)) {
	case CGROUP:
	case NETNS:
	case SOCKMAP:
		return -EBADF;
	case NETDEV:
		return -ENODEV;
	default:
		return -EINVAL;
	}
}

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
		return no_target(a->link_create.attach_type);
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
	ret = check_attach_type(prog, type);
	if (type == BPF_XDP || target_of(type) == NETDEV)
		ifindex = a->link_create.target_ifindex;
	if (!ret) {
		uint64_t cookie = type == BPF_PERF_EVENT ? a->link_create.perf_event.bpf_cookie : 0;
		if (skep_link_hook(c->skep, type, ifindex, &hook, &arg))
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

	if (c->attr.iter_create.flags)
		return -EINVAL;
	int err = get_link(c, c->attr.iter_create.link_fd, &link);
	if (err)
		return err;
	skep_object_put(&link->obj);
	return -EINVAL; /* no link here is an iterator */
}

/* ---- Attaching without a link ---- */

#define MPROG_FLAGS (BPF_F_REPLACE | BPF_F_BEFORE | BPF_F_AFTER | BPF_F_ID | BPF_F_LINK)
#define CGROUP_FLAGS                                                                               \
	(BPF_F_ALLOW_OVERRIDE | BPF_F_ALLOW_MULTI | BPF_F_REPLACE | BPF_F_PREORDER |               \
	 BPF_F_BEFORE | BPF_F_AFTER | BPF_F_ID | BPF_F_LINK)
#define BASE_FLAGS (BPF_F_ALLOW_OVERRIDE | BPF_F_ALLOW_MULTI | BPF_F_REPLACE | BPF_F_PREORDER)

static int attach_flags_ok(const union bpf_attr *a, uint32_t ptype)
{
	uint32_t flags = a->attach_flags, ok;

	if (ptype == BPF_PROG_TYPE_UNSPEC)
		return -EINVAL;
	if (ptype == BPF_PROG_TYPE_SCHED_CLS)
		return flags & ~MPROG_FLAGS ? -EINVAL : 0;
	ok = target_of(a->attach_type) == CGROUP ? CGROUP_FLAGS : BASE_FLAGS;
	if (flags & ~ok)
		return -EINVAL;
	if (ok == BASE_FLAGS && (a->relative_fd || a->expected_revision))
		return -EINVAL;
	return 0;
}

long skep_cmd_prog_attach(struct skep_call *c)
{
	const union bpf_attr *a = &c->attr;
	uint32_t ptype = prog_type_of(a->attach_type);
	struct skep_prog *prog;
	int err = attach_flags_ok(a, ptype);

	if (!err)
		err = skep_get_prog(c->skep, a->attach_bpf_fd, &prog);
	if (err)
		return err;
	if (prog->type != ptype)
		err = -EINVAL;
	if (!err)
		err = check_attach_type(prog, a->attach_type);
	if (!err)
		err = no_target(a->attach_type);
	skep_object_put(&prog->obj);
	return err;
}

long skep_cmd_prog_detach(struct skep_call *c)
{
	const union bpf_attr *a = &c->attr;
	uint32_t ptype = prog_type_of(a->attach_type);
	enum target where = target_of(a->attach_type);
	struct skep_prog *prog;

	if (ptype == BPF_PROG_TYPE_UNSPEC)
		return -EINVAL;
	if (where == NETDEV && (a->attach_flags & ~MPROG_FLAGS))
		return -EINVAL;
	if (where != NETDEV && (a->attach_flags || a->relative_fd))
		return -EINVAL;
	if (where != NETDEV && where != CGROUP && a->expected_revision)
		return -EINVAL;
	if (a->attach_type == BPF_LSM_MAC)
		return -EBADF; /* taken for a cgroup's */
	if (where == NETNS)
		return -EINVAL; /* nothing is attached there */
	if (where == NETDEV && a->attach_bpf_fd) {
		int err = skep_get_prog(c->skep, a->attach_bpf_fd, &prog);
		if (err)
			return err;
		bool right = prog->type == ptype;
		skep_object_put(&prog->obj);
		if (!right)
			return -EINVAL;
	}
	return no_target(a->attach_type);
}

long skep_cmd_prog_query(struct skep_call *c)
{
	const union bpf_attr *a = &c->attr;

	if (!skep_privileged(c->skep))
		return -EPERM;
	if (a->query.query_flags & ~BPF_F_QUERY_EFFECTIVE)
		return -EINVAL;
	return no_target(a->query.attach_type);
}

/* ---- TASK_FD_QUERY ---- */

long skep_cmd_task_fd_query(struct skep_call *c)
{
	const union bpf_attr *a = &c->attr;
	char path[64];

	if (!skep_privileged(c->skep))
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
