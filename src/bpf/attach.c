/* SPDX-License-Identifier: Apache-2.0 */
/* Attaching without a link, and asking what is attached. */
#include "bpf/attach.h"

#include "bpf/link_cmd.h"
#include "bpf/mprog.h"
#include "os/owner.h"

/* ---- Attach types ---- */

#define ROW(type, where)                                                                           \
	{                                                                                          \
		BPF_PROG_TYPE_##type, SKEP_AT_##where                                              \
	}
static const struct {
	uint8_t prog_type, target; /* enum skep_attach_target */
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

uint32_t skep_attach_prog_type(uint32_t type)
{
	return type < sizeof(attach_types) / sizeof(*attach_types) ? attach_types[type].prog_type
								   : BPF_PROG_TYPE_UNSPEC;
}

enum skep_attach_target skep_attach_target(uint32_t type)
{
	return type < sizeof(attach_types) / sizeof(*attach_types) ? attach_types[type].target
								   : SKEP_AT_NOWHERE;
}

int skep_attach_check(const struct skep_prog *prog, uint32_t type)
{
	uint32_t owner = skep_attach_prog_type(type);

	switch (prog->type) {
	case BPF_PROG_TYPE_CGROUP_SKB:
		/* Everybody may load one, but not attach it. */
		return skep_capable(prog->obj.skep, SKEP_CAP_NET_ADMIN) ? 0 : -EPERM;
	case BPF_PROG_TYPE_CGROUP_SOCK:
		/* Loaded without one, it is for this. */
		return type == (prog->attach_type ? prog->attach_type : BPF_CGROUP_INET_SOCK_CREATE)
			       ? 0
			       : -EINVAL;
	case BPF_PROG_TYPE_CGROUP_SOCK_ADDR:
	case BPF_PROG_TYPE_CGROUP_SOCKOPT:
	case BPF_PROG_TYPE_SK_LOOKUP:
	case BPF_PROG_TYPE_TRACING:
		return type == prog->attach_type ? 0 : -EINVAL;
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
	case BPF_PROG_TYPE_NETFILTER:
		return type == BPF_NETFILTER ? 0 : -EINVAL;
	case BPF_PROG_TYPE_SCHED_CLS:
		return owner == BPF_PROG_TYPE_SCHED_CLS ? 0 : -EINVAL;
	default:
		return owner != BPF_PROG_TYPE_UNSPEC && owner == prog->type ? 0 : -EINVAL;
	}
}

int skep_attach_nowhere(uint32_t attach_type)
{
	switch (skep_attach_target(attach_type)) {
	case SKEP_AT_CGROUP:
	case SKEP_AT_SOCKMAP:
		return -EBADF;
	case SKEP_AT_NETDEV:
		return -ENODEV;
	default:
		return -EINVAL;
	}
}

const char *skep_attach_reason(uint32_t attach_type, int err)
{
	switch (skep_attach_target(attach_type)) {
	case SKEP_AT_CGROUP:
		return err == -EBADF ? "cgroups are the machine's" : NULL;
	case SKEP_AT_NETNS:
		return err == -EINVAL ? "network namespaces are the machine's" : NULL;
	case SKEP_AT_SOCKMAP:
		return err == -EOPNOTSUPP ? "no traffic goes through maps of sockets" : NULL;
	case SKEP_AT_NETDEV:
		return err == -ENODEV ? "an interface is the instance's by --port" : NULL;
	default:
		return NULL;
	}
}

/* ---- Targets ---- */

/* The list of programs of a port, NULL: no port. */
static struct skep_mprog *list_at(struct skep *skep, uint32_t attach_type, uint32_t ifindex)
{
	const struct skep_hook *hook;
	void *arg;

	return ifindex <= INT32_MAX && skep_link_hook(skep, attach_type, ifindex, &hook, &arg) &&
			       hook == &skep_mprog_tcx
		       ? arg
		       : NULL;
}

int skep_attach_sockmap(struct skep *skep, uint32_t fd)
{
	struct skep_map *map;
	int err = skep_get_map(skep, fd, &map, NULL, NULL);

	if (err)
		return err;
	if (map->type != BPF_MAP_TYPE_SOCKMAP && map->type != BPF_MAP_TYPE_SOCKHASH)
		err = -EOPNOTSUPP;
	skep_object_put(&map->obj);
	return err;
}

/* ---- Commands ---- */

#define MPROG_FLAGS  (BPF_F_REPLACE | BPF_F_BEFORE | BPF_F_AFTER | BPF_F_ID | BPF_F_LINK)
#define BASE_FLAGS   (BPF_F_ALLOW_OVERRIDE | BPF_F_ALLOW_MULTI | BPF_F_REPLACE | BPF_F_PREORDER)
#define CGROUP_FLAGS (BASE_FLAGS | MPROG_FLAGS)

static int attach_flags_ok(const union bpf_attr *a, uint32_t ptype)
{
	uint32_t flags = a->attach_flags, ok;

	if (ptype == BPF_PROG_TYPE_UNSPEC)
		return -EINVAL;
	if (ptype == BPF_PROG_TYPE_SCHED_CLS)
		return flags & ~MPROG_FLAGS ? -EINVAL : 0;
	ok = skep_attach_target(a->attach_type) == SKEP_AT_CGROUP ? CGROUP_FLAGS : BASE_FLAGS;
	if (flags & ~ok)
		return -EINVAL;
	if (ok == BASE_FLAGS && (a->relative_fd || a->expected_revision))
		return -EINVAL;
	return 0;
}

/* Of an instance's own there are ports and maps of sockets; these have no traffic. */
static int attach(struct skep *skep, struct skep_prog *prog, const union bpf_attr *a)
{
	enum skep_attach_target where = skep_attach_target(a->attach_type);
	struct skep_mprog *list;

	if (where == SKEP_AT_SOCKMAP) {
		if (a->attach_flags || a->replace_bpf_fd)
			return -EINVAL;
		int err = skep_attach_sockmap(skep, a->target_fd);
		return err ? err : -EOPNOTSUPP;
	}
	list = where == SKEP_AT_NETDEV ? list_at(skep, a->attach_type, a->target_ifindex) : NULL;
	return list ? skep_mprog_attach(list, prog, a) : skep_attach_nowhere(a->attach_type);
}

long skep_cmd_prog_attach(struct skep_call *c)
{
	const union bpf_attr *a = &c->attr;
	uint32_t ptype = skep_attach_prog_type(a->attach_type);
	struct skep_prog *prog;
	int err = attach_flags_ok(a, ptype);

	if (!err)
		err = skep_get_prog(c->skep, a->attach_bpf_fd, &prog);
	if (err)
		return err;
	if (prog->type != ptype)
		err = -EINVAL;
	if (!err)
		err = skep_attach_check(prog, a->attach_type);
	if (!err)
		err = attach(c->skep, prog, a);
	skep_object_put(&prog->obj);
	return err;
}

/* The program that PROG_DETACH names. */
static int named_prog(struct skep *skep, uint32_t fd, uint32_t type, struct skep_prog **out)
{
	int err = skep_get_prog(skep, fd, out);

	if (err || (*out)->type == type)
		return err;
	skep_object_put(&(*out)->obj);
	return -EINVAL;
}

static int detach_netdev(struct skep *skep, const union bpf_attr *a, uint32_t ptype)
{
	struct skep_mprog *list = list_at(skep, a->attach_type, a->target_ifindex);
	struct skep_prog *prog = NULL;
	int err = 0;

	if (a->attach_bpf_fd)
		err = named_prog(skep, a->attach_bpf_fd, ptype, &prog);
	if (err)
		return err;
	if (list)
		err = skep_mprog_detach(list, prog, a);
	else
		err = skep_owner_ifindex_there(a->target_ifindex) ? -ENOENT : -ENODEV;
	if (prog)
		skep_object_put(&prog->obj);
	return err;
}

static int detach_sockmap(struct skep *skep, const union bpf_attr *a, uint32_t ptype)
{
	struct skep_prog *prog;
	int err;

	if (a->replace_bpf_fd)
		return -EINVAL;
	err = skep_attach_sockmap(skep, a->target_fd);
	if (err == -EOPNOTSUPP)
		err = 0; /* looked at only later */
	if (!err)
		err = named_prog(skep, a->attach_bpf_fd, ptype, &prog);
	if (err)
		return err;
	skep_object_put(&prog->obj);
	err = skep_attach_sockmap(skep, a->target_fd);
	return err ? err : -ENOENT;
}

/* Of the caller's own namespace, which is the only one that can be meant; nothing is attached there. */
static int detach_netns(struct skep *skep, const union bpf_attr *a, uint32_t ptype)
{
	struct skep_prog *prog;
	int err = a->target_fd ? -EINVAL : named_prog(skep, a->attach_bpf_fd, ptype, &prog);

	if (err)
		return err;
	skep_object_put(&prog->obj);
	return -ENOENT;
}

long skep_cmd_prog_detach(struct skep_call *c)
{
	const union bpf_attr *a = &c->attr;
	uint32_t ptype = skep_attach_prog_type(a->attach_type);
	enum skep_attach_target where = skep_attach_target(a->attach_type);
	int err;

	if (ptype == BPF_PROG_TYPE_UNSPEC)
		return -EINVAL;
	if (ptype == BPF_PROG_TYPE_SCHED_CLS && (a->attach_flags & ~MPROG_FLAGS))
		return -EINVAL;
	if (ptype != BPF_PROG_TYPE_SCHED_CLS && (a->attach_flags || a->relative_fd))
		return -EINVAL;
	if (ptype != BPF_PROG_TYPE_SCHED_CLS && where != SKEP_AT_CGROUP && a->expected_revision)
		return -EINVAL;
	switch (where) {
	case SKEP_AT_NETDEV:
		return detach_netdev(c->skep, a, ptype);
	case SKEP_AT_SOCKMAP:
		return detach_sockmap(c->skep, a, ptype);
	case SKEP_AT_NETNS: /* lookups of sockets have links only */
		return ptype == BPF_PROG_TYPE_SK_LOOKUP ? -EINVAL : detach_netns(c->skep, a, ptype);
	case SKEP_AT_CGROUP:
		err = skep_owner_cgroup2((int)a->target_fd);
		return err ? err : -ENOENT;
	default:
		/* The kernel takes the older kind of LSM for a cgroup's. */
		return a->attach_type == BPF_LSM_MAC && skep_owner_cgroup2((int)a->target_fd)
			       ? -EBADF
			       : -EINVAL;
	}
}

/* An empty list of the older kind: no flags, no programs. */
static int empty(struct skep_call *c)
{
	return skep_call_put(c, query.attach_flags, 0) || skep_call_put(c, query.prog_cnt, 0)
		       ? -EFAULT
		       : 0;
}

static int query_cgroup(struct skep_call *c)
{
	const union bpf_attr *a = &c->attr;
	bool effective = a->query.query_flags & BPF_F_QUERY_EFFECTIVE;
	bool lsm = a->query.attach_type == BPF_LSM_CGROUP;
	int err = skep_owner_cgroup2((int)a->query.target_fd);

	if (err)
		return err;
	/* Flags belong to what is attached here, and LSM programs have them one by one. */
	if (effective && a->query.prog_attach_flags)
		return -EINVAL;
	if (lsm && !effective && a->query.prog_cnt && a->query.prog_ids &&
	    !a->query.prog_attach_flags)
		return -EINVAL;
	err = empty(c);
	if (!err && c->size >= offsetof(union bpf_attr, query.revision) + sizeof(uint64_t))
		err = skep_call_put(c, query.revision, effective || lsm ? 0 : 1);
	return err;
}

long skep_cmd_prog_query(struct skep_call *c)
{
	const union bpf_attr *a = &c->attr;
	uint32_t flags = a->query.query_flags;
	struct skep_mprog *list;
	int err;

	if (!skep_capable(c->skep, SKEP_CAP_NET_ADMIN))
		return -EPERM;
	if (flags & ~BPF_F_QUERY_EFFECTIVE)
		return -EINVAL;
	switch (skep_attach_target(a->query.attach_type)) {
	case SKEP_AT_CGROUP:
		return query_cgroup(c);
	case SKEP_AT_NETNS:
		err = flags ? -EINVAL : skep_owner_netns((int)a->query.target_fd);
		return err ? err : empty(c);
	case SKEP_AT_SOCKMAP:
		err = flags ? -EINVAL : skep_attach_sockmap(c->skep, a->query.target_fd);
		/* The kernel asks another kind of map only when it has answered. */
		if ((!err || err == -EOPNOTSUPP) && empty(c))
			err = -EFAULT;
		return err;
	case SKEP_AT_NETDEV:
		list = list_at(c->skep, a->query.attach_type, a->query.target_ifindex);
		if (!list && !skep_owner_ifindex_there(a->query.target_ifindex))
			return -ENODEV;
		return skep_mprog_query(list, c);
	default:
		return -EINVAL;
	}
}
