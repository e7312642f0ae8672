/* SPDX-License-Identifier: Apache-2.0 */
/*
 * struct_ops: one value of a kernel type bpf_struct_ops_NAME, whose members are programs. It
 * needs a subsystem of the kernel that calls them. skep presents no such type, so creation ends
 * where the kernel finds that a type is none.
 */
#include <errno.h>
#include <string.h>

#include "btf/btf.h"
#include "map/types.h"

#define FLAGS (BPF_F_LINK | BPF_F_VTYPE_BTF_OBJ_FD)

static int structops_check(const union bpf_attr *attr)
{
	if (attr->key_size != 4 || attr->max_entries != 1 || attr->map_flags & ~FLAGS ||
	    !attr->btf_vmlinux_value_type_id)
		return -EINVAL;
	return 0;
}

static int structops_create(struct skep_map *map, const union bpf_attr *attr)
{
	struct skep_object *obj;
	int err;

	(void)map;
	if (attr->map_flags & BPF_F_VTYPE_BTF_OBJ_FD) {
		/* The BTF of a module: there are no modules, so every other one is a user's. */
		err = skep_object_get(map->obj.skep, attr->value_type_btf_obj_fd, SKEP_KIND_BTF,
				      &obj);
		if (err)
			return err;
		skep_object_put(obj);
		return -EINVAL;
	}
	return -SKEP_ENOTSUPP;
}

const struct skep_map_ops skep_map_struct_ops = {
	.name = "struct_ops",
	.check = structops_check,
	.create = structops_create,
	.lookup = skep_no_lookup,
	.flags_ok = FLAGS,
};
