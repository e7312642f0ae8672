/* SPDX-License-Identifier: Apache-2.0 */
/* Commands on maps and single elements. */
#include <stdlib.h>
#include <string.h>

#include "bpf/call.h"
#include "bpf/map_cmd.h"
#include "btf/btf.h"

/* ---- MAP_CREATE ---- */

static bool is_map_in_map(uint32_t type)
{
	return type == BPF_MAP_TYPE_ARRAY_OF_MAPS || type == BPF_MAP_TYPE_HASH_OF_MAPS;
}

static int create_flags_ok(const union bpf_attr *a)
{
	if (a->btf_vmlinux_value_type_id) {
		if (a->map_type != BPF_MAP_TYPE_STRUCT_OPS || a->btf_key_type_id ||
		    a->btf_value_type_id)
			return -EINVAL;
	} else if (a->btf_key_type_id && !a->btf_value_type_id) {
		return -EINVAL;
	}
	if ((a->map_flags & BPF_F_RDONLY) && (a->map_flags & BPF_F_WRONLY))
		return -EINVAL;
	return 0;
}

static int file_flags(uint32_t map_flags)
{
	return (int)(map_flags & (BPF_F_RDONLY | BPF_F_WRONLY));
}

/* A program's digest, which only that program may use the map with. */
static int check_exclusive(const union bpf_attr *a)
{
	if (!a->excl_prog_hash)
		return a->excl_prog_hash_size ? -EINVAL : 0;
	return a->excl_prog_hash_size == 32 ? 0 : -EINVAL;
}

static bool may_create(const struct skep_call *c, uint32_t type)
{
	switch (type) {
	case BPF_MAP_TYPE_SOCKMAP:
	case BPF_MAP_TYPE_SOCKHASH:
	case BPF_MAP_TYPE_DEVMAP:
	case BPF_MAP_TYPE_DEVMAP_HASH:
	case BPF_MAP_TYPE_XSKMAP:
		return skep_capable(c->skep, SKEP_CAP_NET_ADMIN);
	default:
		return skep_map_types[type]->unprivileged || skep_capable(c->skep, SKEP_CAP_BPF);
	}
}

long skep_cmd_map_create(struct skep_call *c)
{
	union bpf_attr a = c->attr;
	struct skep_map *inner = NULL, *map = NULL;
	struct skep_btf *btf = NULL;
	bool token = a.map_flags & BPF_F_TOKEN_FD;
	int btf_err = 0, inner_err = 0, err;

	/* In the kernel's order. No type sees the flag. */
	a.map_flags &= ~(uint32_t)BPF_F_TOKEN_FD;
	err = create_flags_ok(&a);
	if (!err)
		err = skep_map_check(&a);
	if (err)
		return err;
	if (a.map_ifindex)
		return -EINVAL; /* no device here takes maps */
	if (token)
		return skep_wrong_fd((uint32_t)a.map_token_fd); /* there are no tokens */
	if (!may_create(c, a.map_type))
		return -EPERM;
	if (is_map_in_map(a.map_type))
		inner_err = skep_get_map(c->skep, a.inner_map_fd, &inner, NULL, NULL);
	if (a.btf_key_type_id || a.btf_value_type_id)
		btf_err = skep_get_btf(c->skep, a.btf_fd, &btf);
	/* Missing objects are met in the kernel's order, after the type's own checks: -EBADF
	 * stands for either of them there. */
	err = skep_map_create(c->skep, &a, btf, inner, &map);
	if (err == -EBADF)
		err = inner_err ? inner_err : btf_err ? btf_err : err;
	if (inner)
		skep_object_put(&inner->obj);
	skep_btf_put(btf);
	if (err)
		return err;
	err = map->btf ? skep_btf_check_map_type(map->btf, map) : 0;
	if (!err)
		err = check_exclusive(&a);
	if (!err && a.excl_prog_hash) {
		err = skep_user_read(map->excl_hash, a.excl_prog_hash, sizeof(map->excl_hash));
		map->exclusive = true;
	}
	if (err) {
		skep_object_put(&map->obj);
		return err;
	}
	return skep_give_fd(&map->obj, file_flags(a.map_flags));
}

/* ---- Elements ---- */

/* Keys and values of one call: on the stack where they are small. */
struct elem {
	struct skep_map *map;
	bool readable, writable, writing;
	uint8_t *key, *value;
	uint32_t value_size;
	uint8_t *heap;
	uint64_t small[64];
};

/* A writer is counted before it asks whether the map is frozen, so that freezing sees either
 * the writer or none. */
void skep_map_write_begin(struct skep_map *map)
{
	atomic_fetch_add(&map->writes, 1);
}

void skep_map_write_end(struct skep_map *map)
{
	atomic_fetch_sub(&map->writes, 1);
}

static int elem_end(struct elem *e, int err)
{
	err = skep_map_answer(e->map, err);
	if (e->writing)
		skep_map_write_end(e->map);
	skep_object_put(&e->map->obj);
	free(e->heap);
	return err;
}

static int elem_begin(struct elem *e, struct skep_call *c, uint32_t fd, bool reads, bool writes)
{
	e->heap = NULL;
	e->writing = false;
	e->key = e->value = NULL;
	int err = skep_get_map(c->skep, fd, &e->map, &e->readable, &e->writable);
	if (err)
		return err;
	if (writes) {
		skep_map_write_begin(e->map);
		e->writing = true;
		if (atomic_load(&e->map->frozen))
			e->writable = false;
	}
	if ((reads && !e->readable) || (writes && !e->writable)) {
		elem_end(e, 0);
		return -EPERM;
	}
	e->value_size = skep_map_sys_value_size(e->map);
	return 0;
}

static bool has_spin_lock(const struct skep_map *map)
{
	for (uint32_t i = 0; i < map->fields.n; i++)
		if (map->fields.f[i].kind == SKEP_FIELD_SPIN_LOCK)
			return true;
	return false;
}

int skep_map_lock_flag_ok(const struct skep_map *map, uint64_t flags)
{
	return (flags & BPF_F_LOCK) && !has_spin_lock(map) ? -EINVAL : 0;
}

static int elem_room(struct elem *e)
{
	size_t key = (e->map->key_size + 7u) & ~7ull, total = key + e->value_size;
	uint8_t *mem = (uint8_t *)e->small;

	if (total > sizeof(e->small)) {
		mem = e->heap = malloc(total);
		if (!mem)
			return -ENOMEM;
	}
	e->key = mem;
	e->value = mem + key;
	return 0;
}

static int elem_key(struct elem *e, uint64_t user)
{
	int err = elem_room(e);

	if (err)
		return err;
	if (!e->map->key_size) {
		e->key = NULL;
		return user ? -EINVAL : 0;
	}
	return skep_user_read(e->key, user, e->map->key_size);
}

long skep_cmd_map_lookup(struct skep_call *c)
{
	const union bpf_attr *a = &c->attr;
	struct elem e;
	int err;

	if (a->flags & ~(uint64_t)BPF_F_LOCK)
		return -EINVAL;
	err = elem_begin(&e, c, a->map_fd, true, false);
	if (err)
		return err;
	err = skep_map_lock_flag_ok(e.map, a->flags);
	if (!err)
		err = elem_key(&e, a->key);
	/* A Bloom filter is asked about the value. */
	if (!err && e.map->type == BPF_MAP_TYPE_BLOOM_FILTER)
		err = skep_user_read(e.value, a->value, e.value_size);
	if (!err && !skep_call_env(c))
		err = -ENOMEM;
	if (!err)
		err = e.map->ops->sys_lookup
			      ? e.map->ops->sys_lookup(e.map, e.key, e.value, a->flags, c->env)
			      : -SKEP_ENOTSUPP;
	if (!err)
		err = skep_user_write(a->value, e.value, e.value_size);
	return elem_end(&e, err);
}

long skep_cmd_map_update(struct skep_call *c)
{
	const union bpf_attr *a = &c->attr;
	struct elem e;
	int err = elem_begin(&e, c, a->map_fd, false, true);

	if (err)
		return err;
	err = skep_map_lock_flag_ok(e.map, a->flags);
	if (!err)
		err = elem_key(&e, a->key);
	if (!err)
		err = skep_user_read(e.value, a->value, e.value_size);
	if (!err && !skep_call_env(c))
		err = -ENOMEM;
	if (!err)
		err = e.map->ops->sys_update
			      ? e.map->ops->sys_update(e.map, e.key, e.value, a->flags, c->env)
			      : -SKEP_ENOTSUPP;
	return elem_end(&e, err);
}

long skep_cmd_map_delete(struct skep_call *c)
{
	const union bpf_attr *a = &c->attr;
	struct elem e;
	int err = elem_begin(&e, c, a->map_fd, false, true);

	if (err)
		return err;
	err = elem_key(&e, a->key);
	if (!err && !skep_call_env(c))
		err = -ENOMEM;
	if (!err)
		err = e.map->ops->sys_delete ? e.map->ops->sys_delete(e.map, e.key, c->env)
					     : -EINVAL;
	return elem_end(&e, err);
}

long skep_cmd_map_next_key(struct skep_call *c)
{
	const union bpf_attr *a = &c->attr;
	struct elem e;
	int err = elem_begin(&e, c, a->map_fd, true, false);

	if (err)
		return err;
	err = a->key ? elem_key(&e, a->key) : elem_room(&e);
	if (!err) {
		uint8_t *next = malloc(e.map->key_size ? e.map->key_size : 1);
		if (!next)
			err = -ENOMEM;
		else if (!e.map->ops->next_key)
			err = -SKEP_ENOTSUPP;
		else
			err = e.map->ops->next_key(e.map, a->key ? e.key : NULL, next);
		if (!err)
			err = skep_user_write(a->next_key, next, e.map->key_size);
		free(next);
	}
	return elem_end(&e, err);
}

long skep_cmd_map_lookup_delete(struct skep_call *c)
{
	const union bpf_attr *a = &c->attr;
	struct elem e;
	int err;

	if (a->flags & ~(uint64_t)BPF_F_LOCK)
		return -EINVAL;
	err = elem_begin(&e, c, a->map_fd, true, true);
	if (err)
		return err;
	if (a->flags && (e.map->type == BPF_MAP_TYPE_QUEUE || e.map->type == BPF_MAP_TYPE_STACK))
		err = -EINVAL;
	if (!err)
		err = skep_map_lock_flag_ok(e.map, a->flags);
	if (!err)
		err = elem_key(&e, a->key);
	if (!err && !skep_call_env(c))
		err = -ENOMEM;
	if (!err)
		err = e.map->ops->sys_lookup_delete
			      ? e.map->ops->sys_lookup_delete(e.map, e.key, e.value, a->flags,
							      c->env)
			      : -SKEP_ENOTSUPP;
	if (!err)
		err = skep_user_write(a->value, e.value, e.value_size);
	return elem_end(&e, err);
}

/* ---- MAP_FREEZE ---- */

long skep_cmd_map_freeze(struct skep_call *c)
{
	struct skep_map *map;
	bool readable, writable, no = false;
	struct skep_object *obj;
	int err = skep_object_get_mode(c->skep, (int)c->attr.map_fd, SKEP_KIND_MAP, &obj, &readable,
				       &writable);

	if (err)
		return err;
	map = (struct skep_map *)obj;
	if (map->fields.n)
		err = -SKEP_ENOTSUPP;
	else if (!writable || atomic_load(&map->frozen))
		err = -EPERM;
	else if (!atomic_compare_exchange_strong(&map->frozen, &no, true))
		err = -EBUSY;
	if (err)
		goto out;
	skep_changed(c->skep);
	if (atomic_load(&map->writes))
		err = -EBUSY;
	/* What programs can't write either becomes constant: nobody can. */
	else if ((map->flags & BPF_F_RDONLY_PROG) && map->data.base)
		err = skep_seg_freeze(&map->data);
	else if (map->ops->mmap_size && map->ops->mmap_size(map))
		err = skep_seg_freeze_users(&map->data);
	if (err)
		atomic_store(&map->frozen, false);
out:
	skep_object_put(obj);
	return err;
}
