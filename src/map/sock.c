/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Maps of sockets: sockmap and sockhash (streams that programs parse, judge and redirect),
 * reuseport arrays (which socket of a group gets a packet) and AF_XDP sockets.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "map/access.h"
#include "map/types.h"

#define FLAGS    (BPF_F_NUMA_NODE | BPF_F_RDONLY | BPF_F_WRONLY)
#define KEY_MAX  512u /* a program's stack */
#define SOCK_MAX 8u

/* Values of 8 bytes hold cookies for who reads them, values of 4 only go in. */
static int sockmap_check(const union bpf_attr *attr)
{
	bool hash = attr->map_type == BPF_MAP_TYPE_SOCKHASH;

	if (!attr->max_entries || (hash ? !attr->key_size : attr->key_size != 4) ||
	    (attr->value_size != 4 && attr->value_size != 8) || attr->map_flags & ~FLAGS)
		return -EINVAL;
	return hash && attr->key_size > KEY_MAX ? -E2BIG : 0;
}

static int reuseport_check(const union bpf_attr *attr)
{
	if ((attr->value_size != 4 && attr->value_size != 8) || !attr->max_entries ||
	    attr->key_size != 4 || !skep_map_access_ok(attr->map_flags))
		return -EINVAL;
	return 0;
}

static int xskmap_check(const union bpf_attr *attr)
{
	if (!attr->max_entries || attr->key_size != 4 || attr->value_size != 4 ||
	    attr->map_flags & ~FLAGS)
		return -EINVAL;
	return 0;
}

static int sock_create(struct skep_map *map, const union bpf_attr *attr)
{
	size_t size = (size_t)map->max_entries * SOCK_MAX;
	int err = skep_seg_create(&map->data, SKEP_MAP_HANDLE, size);

	if (!err && size <= SKEP_SEG_EAGER)
		err = skep_seg_reserve(&map->data, 0, size);
	return err;
}

static uint64_t mem_usage(struct skep_map *map)
{
	return sizeof(*map) + map->data.size + map->ctl.size;
}

#define SOCKS(text, checks, btf_rule, flags)                                                       \
	{                                                                                          \
		.name = text, .check = checks, .create = sock_create, .lookup = skep_no_lookup,    \
		.update = skep_no_update, .delete = skep_no_delete,                                \
		.contains = skep_contains_nothing, .mem_usage = mem_usage, .is_inner_ok = true,    \
		.btf = btf_rule, .flags_ok = flags                                                 \
	}

const struct skep_map_ops skep_map_sockmap = SOCKS("sockmap", sockmap_check, SKEP_BTF_NONE, FLAGS);
const struct skep_map_ops skep_map_sockhash =
	SOCKS("sockhash", sockmap_check, SKEP_BTF_NONE, FLAGS);
const struct skep_map_ops skep_map_xskmap = SOCKS("xskmap", xskmap_check, SKEP_BTF_NONE, FLAGS);
const struct skep_map_ops skep_map_reuseport_sockarray =
	SOCKS("reuseport_sockarray", reuseport_check, SKEP_BTF_ANY,
	      BPF_F_NUMA_NODE | SKEP_MAP_ACCESS_FLAGS);
