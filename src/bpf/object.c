/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Objects and the tables that find them, by id and by inode. Both tables are written
 * under skep->lock, one word at a time and last, so that a child forked at any moment
 * finds them consistent and reads them without the lock (which might be held for ever in
 * its copy).
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <unistd.h>

#include "bpf/instance.h"
#include "os/caller.h"
#include "os/os.h"

/* Entries rise by id; obj NULL: retired. */
struct skep_ids {
	uint32_t cap;
	_Atomic uint32_t n;
	uint32_t live;
	struct {
		uint32_t id;
		struct skep_object *_Atomic obj;
	} e[];
};

/* Open addressing; GONE marks what was taken out. */
struct skep_inodes {
	uint32_t mask, used; /* used counts GONE too */
	uint32_t live;
	struct skep_object *_Atomic obj[];
};

#define GONE ((struct skep_object *)1)

static void read_lock(struct skep *skep)
{
	if (!skep_forked(skep))
		pthread_rwlock_rdlock(&skep->lock);
}

static void read_unlock(struct skep *skep)
{
	if (!skep_forked(skep))
		pthread_rwlock_unlock(&skep->lock);
}

/* ---- Ids ---- */

static int ids_room(struct skep_table *table)
{
	struct skep_ids *old = table->ids, *ids;
	uint32_t i, n, cap;

	if (old && old->n < old->cap)
		return 0;
	/* Either it is full of retired entries or it has to grow. */
	cap = old && old->live >= old->cap / 2 ? old->cap * 2 : old ? old->cap : 64;
	ids = malloc(sizeof(*ids) + (size_t)cap * sizeof(ids->e[0]));
	if (!ids)
		return -ENOMEM;
	for (i = n = 0; old && i < old->n; i++) {
		if (!old->e[i].obj)
			continue;
		ids->e[n].id = old->e[i].id;
		ids->e[n++].obj = old->e[i].obj;
	}
	ids->cap = cap;
	ids->n = n;
	ids->live = n;
	table->ids = ids;
	free(old);
	return 0;
}

/* Index of the first entry whose id is at least id. */
static uint32_t ids_find(struct skep_ids *ids, uint32_t id)
{
	uint32_t lo = 0, hi = ids ? ids->n : 0;

	while (lo < hi) {
		uint32_t mid = lo + (hi - lo) / 2;

		if (ids->e[mid].id < id)
			lo = mid + 1;
		else
			hi = mid;
	}
	return lo;
}

/* ---- Inodes ---- */

static uint32_t ino_hash(uint64_t dev, uint64_t ino)
{
	return (uint32_t)(((ino ^ (dev << 32)) * 0x9e3779b97f4a7c15u) >> 32);
}

static void ino_put(struct skep_inodes *t, struct skep_object *obj)
{
	uint32_t i = ino_hash(obj->dev, obj->ino) & t->mask;

	while (t->obj[i])
		i = (i + 1) & t->mask;
	t->obj[i] = obj;
	t->used++;
	t->live++;
}

static int ino_room(struct skep *skep)
{
	struct skep_inodes *old = skep->inodes, *t;
	uint32_t i, size;

	if (old && old->used < (old->mask + 1) / 4 * 3)
		return 0;
	size = old && old->live >= (old->mask + 1) / 4 ? (old->mask + 1) * 2
	       : old                                   ? old->mask + 1
						       : 128;
	t = calloc(1, sizeof(*t) + (size_t)size * sizeof(t->obj[0]));
	if (!t)
		return -ENOMEM;
	t->mask = size - 1;
	for (i = 0; old && i <= old->mask; i++)
		if (old->obj[i] && old->obj[i] != GONE)
			ino_put(t, old->obj[i]);
	skep->inodes = t;
	free(old);
	return 0;
}

static struct skep_object *_Atomic *ino_slot(struct skep_inodes *t, uint64_t dev, uint64_t ino)
{
	struct skep_object *obj;
	uint32_t i;

	if (!t)
		return NULL;
	for (i = ino_hash(dev, ino) & t->mask; (obj = t->obj[i]); i = (i + 1) & t->mask)
		if (obj != GONE && obj->ino == ino && obj->dev == dev)
			return &t->obj[i];
	return NULL;
}

/* ---- Objects ---- */

static const char *const memfd_names[SKEP_KIND_MAX] = {
	[SKEP_KIND_MAP] = "bpf-map", [SKEP_KIND_PROG] = "bpf-prog", [SKEP_KIND_LINK] = "bpf_link",
	[SKEP_KIND_BTF] = "btf",     [SKEP_KIND_PERF] = "bpf-perf", [SKEP_KIND_STATS] = "bpf-stats",
};

/* Who makes the object owns it, and its inode, so that nobody else can open that again. */
static uid_t own(int fd)
{
	const struct skep_caller *caller = skep_caller_current();

	if (!caller)
		return getuid();
	if (caller->uid != geteuid())
		(void)!fchown(fd, caller->uid, caller->gid);
	return caller->uid;
}

int skep_object_add(struct skep *skep, struct skep_object *obj, enum skep_kind kind, int fd)
{
	struct skep_table *table = &skep->tables[kind];
	int err = skep_check_owner(skep);

	if (err)
		return err;
	obj->own_fd = fd < 0;
	obj->fd = fd < 0 ? skep_fd_make(memfd_names[kind]) : fd;
	if (obj->fd < 0)
		return obj->fd;
	err = skep_fd_stat(obj->fd, &obj->dev, &obj->ino);
	if (err)
		goto fail;
	obj->skep = skep;
	obj->kind = kind;
	obj->refs = 1;
	obj->users = 0;
	obj->user = obj->keep = obj->pending = false;
	obj->modes = obj->lost = false;
	obj->wd = -1;
	obj->closed_ns = obj->asked_ns = 0;
	obj->next_wd = obj->next_pending = NULL;
	obj->uid = own(obj->fd);
	obj->created_ns = skep_clock_boot();

	pthread_rwlock_wrlock(&skep->lock);
	err = ids_room(table);
	if (!err)
		err = ino_room(skep);
	if (!err && table->last == INT_MAX)
		err = -ENOSPC;
	if (!err) {
		struct skep_ids *ids = table->ids;
		uint32_t n = ids->n;

		obj->id = ++table->last;
		ids->e[n].id = obj->id;
		ids->e[n].obj = obj;
		ids->live++;
		ids->n = n + 1;
		ino_put(skep->inodes, obj);
	}
	pthread_rwlock_unlock(&skep->lock);
	if (err)
		goto fail;
	skep_hold(skep);
	return 0;
fail:
	if (obj->own_fd)
		close(obj->fd);
	obj->fd = -1;
	return err;
}

/* Takes a reference unless the last one is gone already. */
static bool ref_alive(struct skep_object *obj)
{
	uint32_t refs = obj->refs;

	while (refs)
		if (atomic_compare_exchange_weak(&obj->refs, &refs, refs + 1))
			return true;
	return false;
}

void skep_object_ref(struct skep_object *obj)
{
	atomic_fetch_add(&obj->refs, 1);
}

static void object_destroy(void *arg)
{
	struct skep_object *obj = arg;
	struct skep *skep = obj->skep;

	if (obj->own_fd)
		skep_fd_close(obj->fd, obj->dev, obj->ino);
	obj->destroy(obj);
	skep_release(skep);
}

static void object_retire(struct skep_object *obj)
{
	struct skep *skep = obj->skep;
	struct skep_ids *ids;
	struct skep_object *_Atomic *slot;

	pthread_rwlock_wrlock(&skep->lock);
	ids = skep->tables[obj->kind].ids;
	ids->e[ids_find(ids, obj->id)].obj = NULL;
	ids->live--;
	slot = ino_slot(skep->inodes, obj->dev, obj->ino);
	if (slot) {
		*slot = GONE;
		skep->inodes->live--;
	}
	pthread_rwlock_unlock(&skep->lock);
	skep_handle_forget(obj);
	obj->id = 0;
	skep_defer(skep, object_destroy, obj);
}

void skep_object_put(struct skep_object *obj)
{
	if (!obj || atomic_fetch_sub(&obj->refs, 1) != 1)
		return;
	/* A forked child leaves its copies of objects alone: they go with it. */
	if (!skep_forked(obj->skep))
		object_retire(obj);
}

void skep_object_user_ref(struct skep_object *obj)
{
	skep_object_ref(obj);
	atomic_fetch_add(&obj->users, 1);
}

void skep_object_user_put(struct skep_object *obj)
{
	if (atomic_fetch_sub(&obj->users, 1) == 1 && obj->no_users && !skep_forked(obj->skep))
		obj->no_users(obj);
	skep_object_put(obj);
}

int skep_object_get_mode(struct skep *skep, int fd, enum skep_kind kind, struct skep_object **out,
			 bool *readable, bool *writable)
{
	struct skep_object *_Atomic *slot;
	struct skep_object *obj = NULL;
	uint64_t dev, ino;
	bool r = true, w = true;
	int err;

	if (atomic_load_explicit(&skep->closed, memory_order_relaxed))
		return -ENOTCONN;
	fd = skep_caller_fd(fd);
	err = fd < 0 ? -EBADF : skep_fd_stat(fd, &dev, &ino);
	if (err)
		return err;
	read_lock(skep);
	slot = ino_slot(skep->inodes, dev, ino);
	if (slot) {
		obj = *slot;
		if (kind && obj->kind != kind)
			obj = NULL;
		else if (!ref_alive(obj))
			obj = NULL;
	}
	read_unlock(skep);
	if (!obj)
		return -EINVAL;
	/* The mode costs a system call, which is saved while all handles are alike; a child
	 * can't know what its parent gave out later. */
	if ((readable || writable) && (obj->modes || skep_forked(skep))) {
		err = skep_handle_mode(obj, fd, &r, &w);
		if (err) {
			skep_object_put(obj);
			return err;
		}
	}
	if (obj->lost)
		skep_handle_adopt(obj, fd);
	if (readable)
		*readable = r;
	if (writable)
		*writable = w;
	*out = obj;
	return 0;
}

int skep_object_get(struct skep *skep, int fd, enum skep_kind kind, struct skep_object **out)
{
	return skep_object_get_mode(skep, fd, kind, out, NULL, NULL);
}

struct skep_object *skep_object_by_id(struct skep *skep, enum skep_kind kind, uint32_t id)
{
	struct skep_object *obj = NULL;
	struct skep_ids *ids;
	uint32_t i;

	read_lock(skep);
	ids = skep->tables[kind].ids;
	i = ids_find(ids, id);
	if (ids && i < ids->n && ids->e[i].id == id) {
		obj = ids->e[i].obj;
		if (obj && !ref_alive(obj))
			obj = NULL;
	}
	read_unlock(skep);
	return obj;
}

uint32_t skep_object_next_id(struct skep *skep, enum skep_kind kind, uint32_t after)
{
	uint32_t id = 0, i;
	struct skep_ids *ids;

	if (after == UINT32_MAX)
		return 0;
	read_lock(skep);
	ids = skep->tables[kind].ids;
	for (i = ids_find(ids, after + 1); ids && i < ids->n && !id; i++)
		if (ids->e[i].obj)
			id = ids->e[i].id;
	read_unlock(skep);
	return id;
}

void skep_objects_walk(struct skep *skep, void (*fn)(struct skep_object *obj, void *arg), void *arg)
{
	int kind;
	uint32_t i;

	read_lock(skep);
	for (kind = 0; kind < SKEP_KIND_MAX; kind++) {
		struct skep_ids *ids = skep->tables[kind].ids;

		for (i = 0; ids && i < ids->n; i++)
			if (ids->e[i].obj)
				fn(ids->e[i].obj, arg);
	}
	read_unlock(skep);
}

void skep_objects_free(struct skep *skep)
{
	int kind;

	for (kind = 0; kind < SKEP_KIND_MAX; kind++)
		free(skep->tables[kind].ids);
	free(skep->inodes);
}
