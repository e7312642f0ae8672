/* SPDX-License-Identifier: Apache-2.0 */
/* Iterators over a map's elements. Values are the map's own, which the program may change; those of
 * per-CPU maps are copies, all CPUs' behind each other. */
#include <stdlib.h>

#include "bpf/iter.h"
#include "prog/type.h"

#define ARG(i) .off = (i)*8, .size = 8, .ioff = (i)*8, .isize = 8, .flags = SKEP_CTX_R

static const struct skep_ctx_field fields[] = {
	{.name = "meta", ARG(0), .kind = SKEP_CTX_BTF, .type = "bpf_iter_meta"},
	{.name = "map", ARG(1), .kind = SKEP_CTX_BTF, .type = "bpf_map"},
	{.name = "key", ARG(2), .kind = SKEP_CTX_RDONLY_BUF_OR_NULL},
	{.name = "value", ARG(3), .kind = SKEP_CTX_BUF_OR_NULL},
};

static uint32_t value_bytes(const struct skep_map *map)
{
	return map->ops->percpu ? map->elem_size * map->cpus : map->value_size;
}

static int attach(struct skep *skep, const struct skep_prog *prog,
		  const union bpf_iter_link_info *info, struct skep_iter_link *out)
{
	struct skep_map *map;

	if (!info->map.map_fd)
		return -EBADF;
	int err = skep_get_map(skep, info->map.map_fd, &map, NULL, NULL);
	if (err)
		return err;
	switch (map->type) {
	case BPF_MAP_TYPE_HASH:
	case BPF_MAP_TYPE_LRU_HASH:
	case BPF_MAP_TYPE_ARRAY:
	case BPF_MAP_TYPE_PERCPU_HASH:
	case BPF_MAP_TYPE_LRU_PERCPU_HASH:
	case BPF_MAP_TYPE_PERCPU_ARRAY:
		if (prog->max_rdonly > map->key_size || prog->max_rdwr > value_bytes(map))
			err = -EACCES;
		break;
	default:
		err = -EINVAL;
	}
	if (err)
		skep_object_put(&map->obj);
	else
		out->map = map;
	return err;
}

static void fill_info(const struct skep_iter_link *link, struct bpf_link_info *info)
{
	info->iter.map.map_id = link->map->obj.id;
}

/* What the program may touch besides its context. */
static void show_memory(struct skep_iter *it, const void *key, const void *value)
{
	const struct skep_map *map = it->of->map;
	struct skep_session *s = &it->session;

	skep_session_hide_all(s);
	skep_session_show(s, it->ctx, sizeof(it->ctx), SKEP_REGION_READ);
	skep_session_show(s, key, map->key_size, SKEP_REGION_READ);
	skep_session_show(s, value, value_bytes(map), SKEP_REGION_READ | SKEP_REGION_WRITE);
}

static int show(struct skep_iter *it, const void *key, void *copy)
{
	struct skep_map *map = it->of->map;
	struct skep_env *env = it->session.env;
	void *value = copy;

	if (copy) {
		if (map->ops->sys_lookup(map, key, copy, 0, env))
			return 0; /* it went in between */
	} else {
		skep_enter(env);
		value = map->ops->lookup(map, key, env);
		skep_leave(env);
		if (!value)
			return 0;
	}
	it->ctx[2] = (uintptr_t)key;
	it->ctx[3] = (uintptr_t)value;
	show_memory(it, key, value);
	return skep_iter_show(it);
}

static int each(struct skep_iter *it)
{
	struct skep_map *map = it->of->map;
	void *keys[2] = {malloc(map->key_size), malloc(map->key_size)};
	void *copy = map->ops->percpu ? malloc(value_bytes(map)) : NULL;
	const void *key = NULL; /* the last one's: keys[at] */
	int err = 0, at = 0;

	it->ctx[1] = (uintptr_t)map->obj.view;
	if (!keys[0] || !keys[1] || (map->ops->percpu && !copy))
		err = -ENOMEM;
	while (!err && !map->ops->next_key(map, key, keys[!at])) {
		at = !at;
		key = keys[at];
		err = show(it, key, copy);
	}
	free(keys[0]);
	free(keys[1]);
	free(copy);
	return err;
}

const struct skep_iter_target skep_iter_map_elems = {
	.name = "bpf_map_elem",
	.fields = fields,
	.nfields = sizeof(fields) / sizeof(fields[0]),
	.args = 4,
	.attach = attach,
	.info = fill_info,
	.each = each,
};
