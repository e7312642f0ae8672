/* SPDX-License-Identifier: Apache-2.0 */
/*
 * struct_ops: one value of a kernel type bpf_struct_ops_NAME, whose members are programs that a
 * subsystem of the kernel calls. The one type that skep presents is bpf_dummy_ops, which is there
 * to be tested: as in Linux no such value can be put to use.
 */
#include <errno.h>
#include <string.h>

#include "btf/btf.h"
#include "map/types.h"

#define FLAGS (BPF_F_LINK | BPF_F_VTYPE_BTF_OBJ_FD)

/* Of every value. */
struct common {
	uint32_t refcnt, state;
};

static int structops_check(const union bpf_attr *attr)
{
	if (attr->key_size != 4 || attr->max_entries != 1 || attr->map_flags & ~FLAGS ||
	    !attr->btf_vmlinux_value_type_id)
		return -EINVAL;
	return 0;
}

static int structops_create(struct skep_map *map, const union bpf_attr *attr)
{
	const struct skep_btf *btf;
	struct skep_object *obj;
	int err;

	if (attr->map_flags & BPF_F_VTYPE_BTF_OBJ_FD) {
		/* The BTF of a module: there are no modules, so every other one is a user's. */
		err = skep_object_get(map->obj.skep, attr->value_type_btf_obj_fd, SKEP_KIND_BTF,
				      &obj);
		if (err)
			return err;
		skep_object_put(obj);
		return -EINVAL;
	}
	err = skep_btf_presented(map->obj.skep, &btf);
	if (err)
		return err;
	if (strcmp(skep_btf_name(btf, attr->btf_vmlinux_value_type_id),
		   "bpf_struct_ops_bpf_dummy_ops") != 0)
		return -SKEP_ENOTSUPP;
	if (attr->value_size != (uint32_t)skep_btf_size(btf, attr->btf_vmlinux_value_type_id))
		return -EINVAL;
	return skep_seg_create(&map->data, SKEP_MAP_HANDLE, attr->value_size);
}

/* Nothing was ever put to use. */
static int structops_lookup(struct skep_map *map, const void *key, void *value, uint64_t flags,
			    struct skep_env *env)
{
	uint32_t index;

	(void)flags;
	(void)env;
	memcpy(&index, key, sizeof(index));
	if (index)
		return -ENOENT;
	memset(value, 0, map->value_size);
	return 0;
}

static int structops_update(struct skep_map *map, const void *key, const void *value,
			    uint64_t flags, struct skep_env *env)
{
	struct common c;
	uint32_t index;

	(void)map;
	(void)env;
	memcpy(&index, key, sizeof(index));
	memcpy(&c, value, sizeof(c));
	if (flags)
		return -EINVAL;
	if (index)
		return -E2BIG;
	if (c.state || c.refcnt)
		return -EINVAL;
	return -EOPNOTSUPP;
}

static int structops_delete(struct skep_map *map, const void *key, struct skep_env *env)
{
	(void)map;
	(void)key;
	(void)env;
	return -EINVAL;
}

static int structops_next_key(struct skep_map *map, const void *key, void *next)
{
	uint32_t index = 1;

	(void)map;
	if (key)
		memcpy(&index, key, sizeof(index));
	if (key && !index)
		return -ENOENT;
	memset(next, 0, sizeof(index));
	return 0;
}

const struct skep_map_ops skep_map_struct_ops = {
	.name = "struct_ops",
	.check = structops_check,
	.create = structops_create,
	.lookup = skep_no_lookup,
	.sys_lookup = structops_lookup,
	.sys_update = structops_update,
	.sys_delete = structops_delete,
	.next_key = structops_next_key,
	.flags_ok = FLAGS,
};
