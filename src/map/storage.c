/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Local storages: a value per task, socket, inode or cgroup. The kernel hangs values on
 * their owners; here they lie in a hash table of the map, whose key is the owner's name
 * (os/owner.h), so that other processes, deaths and races are the table's business. The
 * map has no limit of its own: the table has room for OWNERS values, and those of
 * tasks that have ended make room when it is full.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "map/storage.h"
#include "map/types.h"
#include "os/owner.h"

#define FLAGS  (BPF_F_NO_PREALLOC | BPF_F_CLONE)
#define OWNERS (1u << 16)
/* The kernel's: 16 bits of size, without the header of an element. */
#define VALUE_MAX (65535u - 128u)

static int storage_check(const union bpf_attr *attr)
{
	if (attr->map_flags & ~FLAGS || !(attr->map_flags & BPF_F_NO_PREALLOC) ||
	    attr->max_entries || attr->key_size != sizeof(int) || !attr->value_size ||
	    !attr->btf_key_type_id || !attr->btf_value_type_id)
		return -EINVAL;
	return attr->value_size > VALUE_MAX ? -E2BIG : 0;
}

/* The table: a hash map that has no handle and no id. */
static struct skep_map *table(const struct skep_map *map)
{
	return map->priv;
}

static int storage_create(struct skep_map *map, const union bpf_attr *attr)
{
	struct skep_map *t = calloc(1, sizeof(*t));

	if (!t)
		return -ENOMEM;
	t->ops = &skep_map_hash;
	t->obj.skep = map->obj.skep;
	t->obj.fd = t->data.fd = t->ctl.fd = -1;
	t->type = BPF_MAP_TYPE_HASH;
	t->key_size = sizeof(struct skep_owner);
	t->value_size = map->value_size;
	t->elem_size = map->elem_size;
	t->max_entries = OWNERS;
	t->cpus = map->cpus;
	t->fields = map->fields;
	map->priv = t;
	return t->ops->create(t, attr);
}

static void storage_destroy(struct skep_map *map)
{
	struct skep_map *t = table(map);

	if (!t)
		return;
	t->ops->destroy(t);
	skep_seg_close(&t->data);
	skep_seg_close(&t->ctl);
	free(t);
}

/* Forgets what ended tasks own: whether there was anything. */
static bool sweep(struct skep_map *map, struct skep_env *env)
{
	struct skep_map *t = table(map);
	struct skep_owner at, next;
	bool any = false;
	int err;

	if (map->type != BPF_MAP_TYPE_TASK_STORAGE)
		return false;
	err = t->ops->next_key(t, NULL, &next);
	for (uint32_t n = 0; !err && n < 2 * OWNERS; n++) {
		at = next;
		err = t->ops->next_key(t, &at, &next);
		if (skep_owner_task_gone(&at))
			any |= !t->ops->sys_delete(t, &at, env);
	}
	return any;
}

void *skep_storage_find(struct skep_map *map, const struct skep_owner *owner, struct skep_env *env)
{
	struct skep_map *t = table(map);

	return t->ops->lookup(t, owner, env);
}

long skep_storage_put(struct skep_map *map, const struct skep_owner *owner, const void *value,
		      uint64_t flags, struct skep_env *env)
{
	struct skep_map *t = table(map);
	long err = t->ops->update(t, owner, value, flags, env);

	if (err == -E2BIG && sweep(map, env))
		err = t->ops->update(t, owner, value, flags, env);
	return err == -E2BIG ? -ENOMEM : err;
}

long skep_storage_delete(struct skep_map *map, const struct skep_owner *owner, struct skep_env *env)
{
	struct skep_map *t = table(map);

	return t->ops->delete (t, owner, env);
}

/* ---- System calls: the key is a descriptor of the owner ---- */

static int owner_of(const struct skep_map *map, const void *key, struct skep_owner *out)
{
	int fd;

	memcpy(&fd, key, sizeof(fd));
	switch (map->type) {
	case BPF_MAP_TYPE_TASK_STORAGE:
		return skep_owner_pidfd(fd, out);
	case BPF_MAP_TYPE_CGRP_STORAGE:
		return skep_owner_cgroup(fd, out);
	case BPF_MAP_TYPE_INODE_STORAGE:
		return skep_owner_inode(fd, out);
	default:
		return skep_owner_socket(fd, out);
	}
}

static int storage_sys_lookup(struct skep_map *map, const void *key, void *value, uint64_t flags,
			      struct skep_env *env)
{
	struct skep_map *t = table(map);
	struct skep_owner owner;
	int err = owner_of(map, key, &owner);

	return err ? err : t->ops->sys_lookup(t, &owner, value, flags, env);
}

static int storage_sys_update(struct skep_map *map, const void *key, const void *value,
			      uint64_t flags, struct skep_env *env)
{
	struct skep_map *t = table(map);
	struct skep_owner owner;
	int err = owner_of(map, key, &owner);

	if (err)
		return err;
	err = t->ops->sys_update(t, &owner, value, flags, env);
	if (err == -E2BIG && sweep(map, env))
		err = t->ops->sys_update(t, &owner, value, flags, env);
	return err == -E2BIG ? -ENOMEM : err;
}

static int storage_sys_delete(struct skep_map *map, const void *key, struct skep_env *env)
{
	struct skep_map *t = table(map);
	struct skep_owner owner;
	int err = owner_of(map, key, &owner);

	return err ? err : t->ops->sys_delete(t, &owner, env);
}

static const struct skep_map *storage_backing(const struct skep_map *map)
{
	return table(map);
}

static uint64_t storage_mem_usage(struct skep_map *map)
{
	struct skep_map *t = table(map);

	return sizeof(*map) + t->ops->mem_usage(t);
}

#define STORAGE(text)                                                                              \
	{                                                                                          \
		.name = text, .check = storage_check, .create = storage_create,                    \
		.destroy = storage_destroy, .lookup = skep_no_lookup,                              \
		.sys_lookup = storage_sys_lookup, .sys_update = storage_sys_update,                \
		.sys_delete = storage_sys_delete, .next_key = skep_no_next_key,                    \
		.backing = storage_backing, .mem_usage = storage_mem_usage, .btf = SKEP_BTF_INDEX, \
		.flags_ok = FLAGS, .is_inner_ok = true                                             \
	}

const struct skep_map_ops skep_map_task_storage = STORAGE("task_storage");
const struct skep_map_ops skep_map_sk_storage = STORAGE("sk_storage");
const struct skep_map_ops skep_map_inode_storage = STORAGE("inode_storage");
const struct skep_map_ops skep_map_cgrp_storage = STORAGE("cgrp_storage");
