// SPDX-License-Identifier: Apache-2.0
/*
 * Device maps: interface numbers (and programs to run on what is sent there) by
 * index or, hashed, by key. An element is {key, link, ifindex, program id}; the
 * last two are its value. The array's elements have only the value.
 *
 * Programs are held by a private table beside the elements: the id in the shared
 * value is for looking at.
 */
#include <errno.h>
#include <net/if.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "map/map.h"
#include "map/types.h"

#define FLAGS (BPF_F_NUMA_NODE | BPF_F_RDONLY | BPF_F_WRONLY)
#define TRIES 16

union value {
	struct {
		uint32_t ifindex, prog_id;
	};
	_Atomic uint64_t both;
};

struct elem {
	_Atomic uint32_t key;
	_Atomic uint32_t link; /* number + 1 of the next in the chain or free list */
	union value value;
};

struct ctl {
	struct skep_lock lock;
	_Atomic uint32_t seq; /* odd while chains change */
	uint32_t items, free, bump;
	_Atomic uint32_t heads[]; /* hash: number + 1 of a chain's first element */
};

struct devmap {
	struct ctl *ctl;
	union value *values; /* array */
	struct elem *elems; /* hash */
	struct skep_prog *_Atomic *progs; /* by element, referenced; NULL: 4-byte values */
	uint32_t mask; /* hash: chains - 1 */
	bool hash;
};

static int devmap_check(const union bpf_attr *attr)
{
	if (!attr->max_entries || attr->key_size != 4 ||
	    (attr->value_size != 4 && attr->value_size != 8) || attr->map_flags & ~FLAGS)
		return -EINVAL;
	if (attr->map_type == BPF_MAP_TYPE_DEVMAP_HASH && attr->max_entries > 1u << 31)
		return -EINVAL;
	return 0;
}

static int devmap_create(struct skep_map *map, const union bpf_attr *attr)
{
	struct devmap *d = calloc(1, sizeof(*d));
	size_t n = map->max_entries, size, ctl = sizeof(struct ctl);
	int err = -ENOMEM;

	if (!d)
		return -ENOMEM;
	d->hash = map->type == BPF_MAP_TYPE_DEVMAP_HASH;
	d->mask = n == 1 ? 0 : (uint32_t)((1ull << (32 - __builtin_clz((uint32_t)n - 1))) - 1);
	size = n * (d->hash ? sizeof(struct elem) : sizeof(union value));
	if (d->hash)
		ctl += ((size_t)d->mask + 1) * 4;
	if (map->value_size == 8) {
		d->progs = calloc(n, sizeof(*d->progs));
		if (!d->progs)
			goto fail;
	}
	/* Programs get pointers to the elements and must not redirect them. */
	map->flags |= BPF_F_RDONLY_PROG;
	err = skep_map_seg(map, &map->data, SKEP_MAP_HANDLE, size);
	if (err)
		goto fail;
	err = skep_map_seg(map, &map->ctl, "skep-devmap-ctl", ctl);
	if (err)
		goto fail_data;
	err = skep_seg_reserve(&map->data, 0, size);
	if (!err)
		err = skep_seg_reserve(&map->ctl, 0, ctl);
	if (err)
		goto fail_ctl;
	d->ctl = map->ctl.base;
	d->values = map->data.base;
	d->elems = map->data.base;
	map->priv = d;
	return 0;
fail_ctl:
	skep_seg_close(&map->ctl);
fail_data:
	skep_seg_close(&map->data);
fail:
	free(d->progs);
	free(d);
	return err;
}

static void devmap_destroy(struct skep_map *map)
{
	struct devmap *d = map->priv;

	if (!d)
		return;
	for (uint32_t i = 0; d->progs && i < map->max_entries; i++)
		if (d->progs[i])
			skep_object_put(&atomic_load(&d->progs[i])->obj);
	free(d->progs);
	free(d);
}

static void put_later(void *obj)
{
	skep_object_put(obj);
}

static void set_prog(struct skep_map *map, uint32_t i, struct skep_prog *prog)
{
	struct devmap *d = map->priv;
	struct skep_prog *old;

	if (!d->progs)
		return;
	old = atomic_exchange(&d->progs[i], prog);
	if (old)
		skep_defer(map->obj.skep, put_later, &old->obj);
}

/* Checks a value as bpf(2) gives it; takes a reference to the program. */
static int resolve(struct skep_map *map, const void *value, union value *out,
		   struct skep_prog **prog)
{
	struct skep_object *obj;
	struct skep_prog *p;
	char name[IF_NAMESIZE];
	int32_t fd = -1;

	memset(out, 0, sizeof(*out));
	*prog = NULL;
	memcpy(&out->ifindex, value, 4);
	if (map->value_size == 8)
		memcpy(&fd, (const uint8_t *)value + 4, 4);
	if (!out->ifindex)
		return fd > 0 ? -EINVAL : 0;
	if (!if_indextoname(out->ifindex, name))
		return -EINVAL;
	if (fd <= 0)
		return 0;
	if (skep_object_get(map->obj.skep, fd, SKEP_KIND_PROG, &obj))
		return -EINVAL;
	p = (struct skep_prog *)obj;
	if (p->type != BPF_PROG_TYPE_XDP || p->attach_type != BPF_XDP_DEVMAP ||
	    !skep_map_prog_compatible(map, p)) {
		skep_object_put(obj);
		return -EINVAL;
	}
	*prog = p;
	out->prog_id = obj->id;
	return 0;
}

static int lock(struct skep_map *map);

static void unlock(struct skep_map *map)
{
	struct devmap *d = map->priv;

	skep_unlock(&d->ctl->lock);
}

/* ---- By index ---- */

static void *array_lookup(struct skep_map *map, const void *key, struct skep_env *env)
{
	struct devmap *d = map->priv;
	uint32_t i;

	memcpy(&i, key, 4);
	return i < map->max_entries && d->values[i].ifindex ? &d->values[i] : NULL;
}

static long array_update(struct skep_map *map, const void *key, const void *value, uint64_t flags,
			 struct skep_env *env)
{
	struct devmap *d = map->priv;
	struct skep_prog *prog;
	union value v;
	uint32_t i;
	int err;

	memcpy(&i, key, 4);
	if (flags > BPF_EXIST)
		return -EINVAL;
	if (i >= map->max_entries)
		return -E2BIG;
	if (flags == BPF_NOEXIST)
		return -EEXIST;
	err = resolve(map, value, &v, &prog);
	if (err)
		return err;
	err = lock(map);
	if (err) {
		if (prog)
			skep_object_put(&prog->obj);
		return err;
	}
	set_prog(map, i, prog);
	atomic_store(&d->values[i].both, v.both);
	unlock(map);
	return 0;
}

static long array_delete(struct skep_map *map, const void *key, struct skep_env *env)
{
	struct devmap *d = map->priv;
	uint32_t i;
	int err;

	memcpy(&i, key, 4);
	if (i >= map->max_entries)
		return -EINVAL;
	err = lock(map);
	if (err)
		return err;
	atomic_store(&d->values[i].both, 0);
	set_prog(map, i, NULL);
	unlock(map);
	return 0;
}

static int array_next_key(struct skep_map *map, const void *key, void *next)
{
	uint32_t i = 0;

	if (key) {
		memcpy(&i, key, 4);
		if (i == map->max_entries - 1)
			return -ENOENT;
		i = i >= map->max_entries ? 0 : i + 1;
	}
	memcpy(next, &i, 4);
	return 0;
}

/* ---- By key ---- */

/* The element of a number + 1 out of a segment; 0 and what can't be give NULL. */
static struct elem *elem_at(const struct skep_map *map, uint32_t n)
{
	const struct devmap *d = map->priv;

	return n && n <= map->max_entries ? &d->elems[n - 1] : NULL;
}

static struct elem *find(const struct skep_map *map, uint32_t key)
{
	const struct devmap *d = map->priv;
	struct elem *e = elem_at(map, d->ctl->heads[key & d->mask]);

	for (uint32_t n = 0; e && n < map->max_entries; n++) {
		if (atomic_load_explicit(&e->key, memory_order_relaxed) == key)
			return e;
		e = elem_at(map, atomic_load_explicit(&e->link, memory_order_acquire));
	}
	return NULL;
}

/* Chains as far as they are sound stay; everything else is free. */
static void rebuild(struct skep_map *map)
{
	struct devmap *d = map->priv;
	struct ctl *c = d->ctl;
	uint8_t *seen = calloc(1, map->max_entries / 8 + 1);

	if (!seen)
		return;
	if (!(c->seq & 1))
		atomic_fetch_add(&c->seq, 1);
	c->items = 0;
	for (uint64_t b = 0; b <= d->mask; b++) {
		_Atomic uint32_t *at = &c->heads[b];

		for (;;) {
			struct elem *e = elem_at(map, *at);
			uint32_t i;

			if (!e)
				break;
			i = (uint32_t)(e - d->elems);

			if (seen[i / 8] >> (i % 8) & 1 || (e->key & d->mask) != b)
				break;
			seen[i / 8] |= (uint8_t)(1u << (i % 8));
			c->items++;
			at = &e->link;
		}
		*at = 0;
	}
	c->free = 0;
	if (c->bump > map->max_entries)
		c->bump = map->max_entries;
	for (uint32_t i = 0; i < c->bump; i++) {
		struct elem *e = elem_at(map, i + 1);

		if (!e || seen[i / 8] >> (i % 8) & 1)
			continue;
		e->link = c->free;
		c->free = i + 1;
		set_prog(map, i, NULL);
	}
	atomic_fetch_add(&c->seq, 1);
	free(seen);
}

static int lock(struct skep_map *map)
{
	struct devmap *d = map->priv;
	int err = skep_lock(&d->ctl->lock, map->obj.skep->parts);

	if (err == SKEP_LOCK_DIED && d->hash)
		rebuild(map);
	return err < 0 ? err : 0;
}

static void *hash_lookup(struct skep_map *map, const void *key, struct skep_env *env)
{
	struct devmap *d = map->priv;
	struct elem *e;
	uint32_t k;

	memcpy(&k, key, 4);
	for (int i = 0; i < TRIES; i++) {
		uint32_t seq = atomic_load_explicit(&d->ctl->seq, memory_order_acquire);

		e = find(map, k);
		if (e)
			return &e->value;
		atomic_thread_fence(memory_order_acquire);
		if (!(seq & 1) && atomic_load_explicit(&d->ctl->seq, memory_order_relaxed) == seq)
			return NULL;
	}
	if (lock(map))
		return NULL;
	e = find(map, k);
	unlock(map);
	return e ? &e->value : NULL;
}

static void unlink_elem(struct skep_map *map, struct elem *e)
{
	struct devmap *d = map->priv;
	_Atomic uint32_t *at = &d->ctl->heads[e->key & d->mask];
	uint32_t me = (uint32_t)(e - d->elems) + 1;

	for (uint32_t n = 0; *at != me && n < map->max_entries; n++) {
		struct elem *next = elem_at(map, *at);

		if (!next)
			return;
		at = &next->link;
	}
	if (*at == me)
		atomic_store(at, e->link);
}

static struct elem *take_free(struct skep_map *map)
{
	struct devmap *d = map->priv;
	struct ctl *c = d->ctl;
	struct elem *e = elem_at(map, c->free);

	if (e)
		c->free = e->link;
	else if (c->bump < map->max_entries)
		e = &d->elems[c->bump++];
	return e;
}

static long hash_update(struct skep_map *map, const void *key, const void *value, uint64_t flags,
			struct skep_env *env)
{
	struct devmap *d = map->priv;
	struct skep_prog *prog = NULL;
	struct elem *e;
	union value v;
	uint32_t k;
	int err;

	memcpy(&k, key, 4);
	memcpy(&v.ifindex, value, 4);
	if (flags > BPF_EXIST || !v.ifindex)
		return -EINVAL;
	err = lock(map);
	if (err)
		return err;
	e = find(map, k);
	err = e && flags & BPF_NOEXIST ? -EEXIST : resolve(map, value, &v, &prog);
	if (err)
		goto out;
	atomic_fetch_add(&d->ctl->seq, 1);
	if (e) {
		unlink_elem(map, e);
	} else {
		e = d->ctl->items < map->max_entries ? take_free(map) : NULL;
		if (e)
			d->ctl->items++;
		else
			err = -E2BIG;
	}
	if (e) {
		set_prog(map, (uint32_t)(e - d->elems), prog);
		prog = NULL;
		e->key = k;
		e->link = d->ctl->heads[k & d->mask];
		atomic_store(&e->value.both, v.both);
		atomic_store(&d->ctl->heads[k & d->mask], (uint32_t)(e - d->elems) + 1);
	}
	atomic_fetch_add(&d->ctl->seq, 1);
out:
	unlock(map);
	if (prog)
		skep_object_put(&prog->obj);
	return err;
}

static long hash_delete(struct skep_map *map, const void *key, struct skep_env *env)
{
	struct devmap *d = map->priv;
	struct elem *e;
	uint32_t k;
	int err = lock(map);

	if (err)
		return err;
	memcpy(&k, key, 4);
	e = find(map, k);
	if (e) {
		atomic_fetch_add(&d->ctl->seq, 1);
		unlink_elem(map, e);
		e->link = d->ctl->free;
		d->ctl->free = (uint32_t)(e - d->elems) + 1;
		d->ctl->items--;
		atomic_fetch_add(&d->ctl->seq, 1);
		set_prog(map, (uint32_t)(e - d->elems), NULL);
	}
	unlock(map);
	return e ? 0 : -ENOENT;
}

static int hash_next_key(struct skep_map *map, const void *key, void *next)
{
	struct devmap *d = map->priv;
	struct elem *e = NULL;
	uint64_t b = 0;
	uint32_t k;
	int err = lock(map);

	if (err)
		return err;
	if (key) {
		memcpy(&k, key, 4);
		e = find(map, k);
		if (e) {
			b = (k & d->mask) + 1ull;
			e = elem_at(map, e->link);
		}
	}
	for (; !e && b <= d->mask; b++)
		e = elem_at(map, d->ctl->heads[b]);
	k = e ? e->key : 0;
	unlock(map);
	if (!e)
		return -ENOENT;
	memcpy(next, &k, 4);
	return 0;
}

/* ---- Both ---- */

static int devmap_redirect(struct skep_map *map, uint32_t key, uint32_t *ifindex)
{
	const union value *v = map->ops->lookup(map, &key, NULL);

	if (!v || !v->ifindex)
		return -ENOENT;
	*ifindex = v->ifindex;
	return 0;
}

const struct skep_prog *skep_devmap_prog(struct skep_map *map, uint32_t key)
{
	struct devmap *d = map->priv;
	const uint8_t *v;
	size_t i = key;

	if (map->ops != &skep_map_devmap && map->ops != &skep_map_devmap_hash)
		return NULL;
	v = d->progs ? map->ops->lookup(map, &key, NULL) : NULL;
	if (!v)
		return NULL;
	if (d->hash)
		i = (size_t)(v - (const uint8_t *)d->elems) / sizeof(struct elem);
	return atomic_load(&d->progs[i]);
}

static uint64_t devmap_mem_usage(struct skep_map *map)
{
	return map->data.size + map->ctl.size;
}

const struct skep_map_ops skep_map_devmap = {
	.name = "devmap",
	.check = devmap_check,
	.create = devmap_create,
	.destroy = devmap_destroy,
	.lookup = array_lookup,
	.update = array_update,
	.delete = array_delete,
	.redirect = devmap_redirect,
	.sys_lookup = skep_plain_sys_lookup,
	.sys_update = skep_plain_sys_update,
	.sys_delete = skep_plain_sys_delete,
	.next_key = array_next_key,
	.mem_usage = devmap_mem_usage,
	.is_inner_ok = true,
	.flags_ok = FLAGS,
	.btf = SKEP_BTF_NONE,
};

const struct skep_map_ops skep_map_devmap_hash = {
	.name = "devmap_hash",
	.check = devmap_check,
	.create = devmap_create,
	.destroy = devmap_destroy,
	.lookup = hash_lookup,
	.update = hash_update,
	.delete = hash_delete,
	.redirect = devmap_redirect,
	.sys_lookup = skep_plain_sys_lookup,
	.sys_update = skep_plain_sys_update,
	.sys_delete = skep_plain_sys_delete,
	.next_key = hash_next_key,
	.mem_usage = devmap_mem_usage,
	.is_inner_ok = true,
	.flags_ok = FLAGS,
	.btf = SKEP_BTF_NONE,
};
