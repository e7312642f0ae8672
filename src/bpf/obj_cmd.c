/* SPDX-License-Identifier: Apache-2.0 */
/* Ids of objects, and descriptors from ids. */
#include <limits.h>

#include "bpf/call.h"

static long next_id(struct skep_call *c, enum skep_kind kind)
{
	if (c->attr.start_id >= INT_MAX)
		return -EINVAL;
	if (!skep_capable(c->skep, SKEP_CAP_SYS_ADMIN))
		return -EPERM;
	uint32_t id = skep_object_next_id(c->skep, kind, c->attr.start_id);
	if (!id)
		return -ENOENT;
	return skep_call_put(c, next_id, id);
}

static long by_id(struct skep_call *c, enum skep_kind kind, uint32_t id, int flags)
{
	if (!skep_capable(c->skep, SKEP_CAP_SYS_ADMIN))
		return -EPERM;
	struct skep_object *obj = skep_object_by_id(c->skep, kind, id);
	return obj ? skep_give_fd(obj, flags) : -ENOENT;
}

long skep_cmd_prog_next_id(struct skep_call *c)
{
	return next_id(c, SKEP_KIND_PROG);
}

long skep_cmd_map_next_id(struct skep_call *c)
{
	return next_id(c, SKEP_KIND_MAP);
}

long skep_cmd_btf_next_id(struct skep_call *c)
{
	return next_id(c, SKEP_KIND_BTF);
}

long skep_cmd_link_next_id(struct skep_call *c)
{
	return next_id(c, SKEP_KIND_LINK);
}

long skep_cmd_prog_by_id(struct skep_call *c)
{
	return by_id(c, SKEP_KIND_PROG, c->attr.prog_id, 0);
}

long skep_cmd_map_by_id(struct skep_call *c)
{
	uint32_t flags = c->attr.open_flags, both = BPF_F_RDONLY | BPF_F_WRONLY;

	if (flags & ~both)
		return -EINVAL;
	if (!skep_capable(c->skep, SKEP_CAP_SYS_ADMIN))
		return -EPERM;
	if (flags == both)
		return -EINVAL;
	return by_id(c, SKEP_KIND_MAP, c->attr.map_id, (int)flags);
}

long skep_cmd_btf_by_id(struct skep_call *c)
{
	if (c->attr.open_flags & ~(uint32_t)BPF_F_TOKEN_FD)
		return -EINVAL;
	if (c->attr.open_flags)
		return skep_wrong_fd((uint32_t)c->attr.fd_by_id_token_fd); /* no tokens */
	return by_id(c, SKEP_KIND_BTF, c->attr.btf_id, 0);
}

long skep_cmd_link_by_id(struct skep_call *c)
{
	return by_id(c, SKEP_KIND_LINK, c->attr.link_id, SKEP_FD_AGAIN);
}
