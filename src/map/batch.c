/* SPDX-License-Identifier: Apache-2.0 */
/* BPF_MAP_*_BATCH, made from the single operations; hash tables look up by bucket (walk.c). */
#include <errno.h>
#include <stdlib.h>

#include "map/access.h"
#include "map/types.h"
#include "os/os.h"

struct batch {
	struct skep_map *map;
	const union bpf_attr *attr;
	union bpf_attr *uattr;
	struct skep_env *env;
	uint32_t value_size;
	uint8_t *key, *next, *value;
};

static void *user(uint64_t base, uint32_t i, uint32_t size)
{
	return (void *)(uintptr_t)(base + (uint64_t)i * size);
}

static int lookups(struct batch *b, uint32_t *done)
{
	const union bpf_attr *attr = b->attr;
	struct skep_map *map = b->map;
	uint32_t ks = map->key_size;
	uint8_t *prev = NULL;
	int err = 0;

	if (attr->batch.in_batch) {
		if (skep_probe_read(b->key, user(attr->batch.in_batch, 0, 0), ks))
			return -EFAULT;
		prev = b->key;
	}
	while (*done < attr->batch.count) {
		uint8_t *other = b->next;

		err = map->ops->next_key(map, prev, other);
		if (err)
			break;
		err = map->ops->sys_lookup(map, other, b->value, attr->batch.elem_flags, b->env);
		if (err && err != -ENOENT)
			return err;
		if (!err) {
			if (skep_probe_write(user(attr->batch.keys, *done, ks), other, ks) ||
			    skep_probe_write(user(attr->batch.values, *done, b->value_size),
					     b->value, b->value_size))
				return -EFAULT;
			++*done;
		}
		b->next = b->key;
		prev = b->key = other;
		err = 0;
	}
	if (*done && skep_probe_write(user(attr->batch.out_batch, 0, 0), prev, ks))
		return -EFAULT;
	return err;
}

static int updates(struct batch *b, uint32_t *done)
{
	const union bpf_attr *attr = b->attr;
	struct skep_map *map = b->map;
	int err;

	for (; *done < attr->batch.count; ++*done) {
		if (skep_probe_read(b->key, user(attr->batch.keys, *done, map->key_size),
				    map->key_size) ||
		    skep_probe_read(b->value, user(attr->batch.values, *done, b->value_size),
				    b->value_size))
			return -EFAULT;
		err = map->ops->sys_update(map, b->key, b->value, attr->batch.elem_flags, b->env);
		if (err)
			return err;
	}
	return 0;
}

static int deletes(struct batch *b, uint32_t *done)
{
	const union bpf_attr *attr = b->attr;
	struct skep_map *map = b->map;
	int err;

	for (; *done < attr->batch.count; ++*done) {
		if (skep_probe_read(b->key, user(attr->batch.keys, *done, map->key_size),
				    map->key_size))
			return -EFAULT;
		err = map->ops->sys_delete(map, b->key, b->env);
		if (err)
			return err;
	}
	return 0;
}

static const struct {
	int cmd;
	uint8_t bit;
	int (*run)(struct batch *b, uint32_t *done);
	bool keeps_count; /* count is written after -EFAULT too */
} commands[] = {
	{BPF_MAP_LOOKUP_BATCH, SKEP_BATCH_LOOKUP, lookups, false},
	{BPF_MAP_LOOKUP_AND_DELETE_BATCH, SKEP_BATCH_LOOKUP_DELETE, NULL, false},
	{BPF_MAP_UPDATE_BATCH, SKEP_BATCH_UPDATE, updates, true},
	{BPF_MAP_DELETE_BATCH, SKEP_BATCH_DELETE, deletes, true},
};

static int run_generic(struct batch *b, uint32_t cmd)
{
	const union bpf_attr *attr = b->attr;
	uint32_t ks = (uint32_t)skep_round_up(b->map->key_size, 8), done = 0;
	uint8_t *mem;
	int err;

	if (attr->batch.elem_flags & ~(uint64_t)BPF_F_LOCK)
		return -EINVAL;
	if ((attr->batch.elem_flags & BPF_F_LOCK) && !skep_map_spin_lock(b->map))
		return -EINVAL;
	if (!attr->batch.count)
		return 0;
	if (skep_probe_write(&b->uattr->batch.count, &done, sizeof(done)))
		return -EFAULT;
	mem = calloc(1, 2 * (size_t)ks + b->value_size);
	if (!mem)
		return -ENOMEM;
	b->key = mem;
	b->next = mem + ks;
	b->value = mem + 2 * ks;
	err = commands[cmd].run(b, &done);
	free(mem);
	if (err == -EFAULT && !commands[cmd].keeps_count)
		return err;
	if (skep_probe_write(&b->uattr->batch.count, &done, sizeof(done)))
		return -EFAULT;
	return err;
}

int skep_map_batch(struct skep_map *map, int cmd, const union bpf_attr *attr, union bpf_attr *uattr,
		   struct skep_env *env)
{
	struct batch b = {.map = map,
			  .attr = attr,
			  .uattr = uattr,
			  .env = env,
			  .value_size = skep_map_sys_value_size(map)};
	uint32_t i;

	for (i = 0; i < sizeof(commands) / sizeof(commands[0]); i++)
		if (commands[i].cmd == cmd)
			break;
	if (i == sizeof(commands) / sizeof(commands[0]))
		return -EINVAL;
	if (!(map->ops->batch & commands[i].bit))
		return -SKEP_ENOTSUPP;
	if (cmd == BPF_MAP_LOOKUP_BATCH || cmd == BPF_MAP_LOOKUP_AND_DELETE_BATCH) {
		if (map->ops->lookup_batch)
			return map->ops->lookup_batch(map, attr, uattr,
						      cmd == BPF_MAP_LOOKUP_AND_DELETE_BATCH, env);
		if (!commands[i].run)
			return -SKEP_ENOTSUPP;
	}
	return run_generic(&b, i);
}
