/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Batches: commands on many elements in one call. Which of them a type has stands in its
 * row; a type with an order of its own (hash tables) looks up by itself.
 */
#include <stdlib.h>
#include <string.h>

#include "bpf/call.h"
#include "bpf/map_cmd.h"

struct batch {
	struct skep_map *map;
	uint32_t value_size;
	uint8_t *key, *prev, *value; /* one allocation, at prev */
};

static int alloc_room(struct batch *b)
{
	size_t key = (b->map->key_size + 7u) & ~7ull;

	b->prev = malloc(2 * key + b->value_size + 1);
	if (!b->prev)
		return -ENOMEM;
	b->key = b->prev + key;
	b->value = b->key + key;
	return 0;
}

static int flags_ok(const struct batch *b, const struct skep_call *c)
{
	if (c->attr.batch.elem_flags & ~(uint64_t)BPF_F_LOCK)
		return -EINVAL;
	return skep_map_lock_flag_ok(b->map, c->attr.batch.elem_flags);
}

/* The count answers how many were done, whatever ended the batch. */
static int put_count(struct skep_call *c, uint32_t n)
{
	return skep_call_put(c, batch.count, n);
}

static int lookup(struct batch *b, struct skep_call *c, uint32_t *done)
{
	const struct skep_map_ops *ops = b->map->ops;
	const uint32_t key_size = b->map->key_size;
	bool first = !c->attr.batch.in_batch;
	int err;

	if (put_count(c, 0))
		return -EFAULT;
	if (!first && skep_user_read(b->prev, c->attr.batch.in_batch, key_size))
		return -EFAULT;
	for (;;) {
		err = ops->next_key ? ops->next_key(b->map, first ? NULL : b->prev, b->key)
				    : -SKEP_ENOTSUPP;
		if (err)
			break;
		err = ops->sys_lookup(b->map, b->key, b->value, c->attr.batch.elem_flags, c->env);
		if (err && err != -ENOENT)
			return err;
		if (!err) {
			uint64_t at = *done;
			if (skep_user_write(c->attr.batch.keys + at * key_size, b->key, key_size) ||
			    skep_user_write(c->attr.batch.values + at * b->value_size, b->value,
					    b->value_size))
				return -EFAULT;
			++*done;
		}
		memcpy(b->prev, b->key, key_size);
		first = false;
		if (*done >= c->attr.batch.count)
			break;
	}
	if (put_count(c, *done) ||
	    (*done && skep_user_write(c->attr.batch.out_batch, b->prev, key_size)))
		return -EFAULT;
	return err;
}

static int update(struct batch *b, struct skep_call *c, uint32_t *done)
{
	uint32_t key_size = b->map->key_size;
	int err = 0;

	for (; *done < c->attr.batch.count && !err; *done += !err) {
		uint64_t at = *done;
		if (skep_user_read(b->key, c->attr.batch.keys + at * key_size, key_size) ||
		    skep_user_read(b->value, c->attr.batch.values + at * b->value_size,
				   b->value_size))
			err = -EFAULT;
		else
			err = b->map->ops->sys_update(b->map, b->key, b->value,
						      c->attr.batch.elem_flags, c->env);
	}
	return put_count(c, *done) ? -EFAULT : err;
}

static int delete (struct batch *b, struct skep_call *c, uint32_t *done)
{
	uint32_t key_size = b->map->key_size;
	int err = 0;

	for (; *done < c->attr.batch.count && !err; *done += !err) {
		uint64_t at = *done;
		if (skep_user_read(b->key, c->attr.batch.keys + at * key_size, key_size))
			err = -EFAULT;
		else
			err = b->map->ops->sys_delete(b->map, b->key, c->env);
	}
	return put_count(c, *done) ? -EFAULT : err;
}

static long batch(struct skep_call *c, uint32_t what)
{
	struct batch b = {0};
	bool readable, writable, reads = what & (SKEP_BATCH_LOOKUP | SKEP_BATCH_LOOKUP_DELETE);
	bool writes = what != SKEP_BATCH_LOOKUP;
	uint32_t done = 0;
	int err = skep_get_map(c->skep, c->attr.batch.map_fd, &b.map, &readable, &writable);

	if (err)
		return err;
	if (writes) {
		skep_map_write_begin(b.map);
		writable = writable && !atomic_load(&b.map->frozen);
	}
	const struct skep_map_ops *ops = b.map->ops;
	if ((reads && !readable) || (writes && !writable))
		err = -EPERM;
	else if (!(ops->batch & what))
		err = -SKEP_ENOTSUPP;
	else if (!skep_call_env(c))
		err = -ENOMEM;
	else if (reads && ops->lookup_batch)
		err = ops->lookup_batch(b.map, &c->attr, c->user, what == SKEP_BATCH_LOOKUP_DELETE,
					c->env);
	else if (!(err = flags_ok(&b, c)) && c->attr.batch.count) {
		b.value_size = skep_map_sys_value_size(b.map);
		err = alloc_room(&b);
		if (!err)
			err = what == SKEP_BATCH_LOOKUP   ? lookup(&b, c, &done)
			      : what == SKEP_BATCH_UPDATE ? update(&b, c, &done)
			      : what == SKEP_BATCH_DELETE ? delete (&b, c, &done)
							  : -SKEP_ENOTSUPP;
		free(b.prev);
	}
	err = skep_map_answer(b.map, err);
	if (writes)
		skep_map_write_end(b.map);
	skep_object_put(&b.map->obj);
	return err;
}

long skep_cmd_lookup_batch(struct skep_call *c)
{
	return batch(c, SKEP_BATCH_LOOKUP);
}

long skep_cmd_lookup_delete_batch(struct skep_call *c)
{
	return batch(c, SKEP_BATCH_LOOKUP_DELETE);
}

long skep_cmd_update_batch(struct skep_call *c)
{
	return batch(c, SKEP_BATCH_UPDATE);
}

long skep_cmd_delete_batch(struct skep_call *c)
{
	return batch(c, SKEP_BATCH_DELETE);
}
