/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Arenas. The data segment is the memory itself, sparse: what user space maps, and what
 * programs use. Which pages are allocated a bitmap in the control segment says, under its
 * lock. As in the kernel a page is also allocated by being touched from user space; here nobody
 * sees that touch, so it is memory all the same, but programs may still allocate it.
 */
#include "map/arena.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "map/access.h"
#include "map/pages.h"
#include "map/types.h"

#define FLAGS     (BPF_F_SEGV_ON_FAULT | BPF_F_MMAPABLE | BPF_F_NO_USER_CONV)
#define PAGE      SKEP_PAGE
#define MAX_PAGES (1u << 20)

struct ctl {
	struct skep_lock lock;
	_Atomic uint64_t used[]; /* bit per page */
};

struct arena {
	_Atomic uint64_t user_start;
	uint32_t next; /* where the last search ended */
};

static int arena_check(const union bpf_attr *attr)
{
	uint64_t size = (uint64_t)attr->max_entries * PAGE;

	if (attr->key_size || attr->value_size || !attr->max_entries ||
	    !(attr->map_flags & BPF_F_MMAPABLE) || attr->map_flags & ~FLAGS ||
	    attr->map_extra % PAGE)
		return -EINVAL;
	if (attr->max_entries > MAX_PAGES)
		return -E2BIG;
	/* Pointers are told apart by their lower halves. */
	if (attr->map_extra >> 32 != (attr->map_extra + size - 1) >> 32)
		return -ERANGE;
	return 0;
}

static int arena_create(struct skep_map *map, const union bpf_attr *attr)
{
	size_t bits = sizeof(struct ctl) + ((size_t)map->max_entries + 63) / 64 * 8;
	struct arena *a = calloc(1, sizeof(*a));
	int err;

	if (!a)
		return -ENOMEM;
	map->priv = a;
	a->user_start = attr->map_extra;
	err = skep_seg_create(&map->data, SKEP_MAP_HANDLE, (size_t)map->max_entries * PAGE);
	if (!err)
		err = skep_seg_create(&map->ctl, "skep-arena-ctl", bits);
	if (!err)
		err = skep_seg_reserve(&map->ctl, 0, bits);
	return err;
}

static void arena_destroy(struct skep_map *map)
{
	free(map->priv);
}

uint64_t skep_arena_user_start(const struct skep_map *map)
{
	const struct arena *a = map->priv;

	return atomic_load(&a->user_start);
}

int skep_arena_mapped(struct skep_map *map, uint64_t addr, uint64_t size)
{
	struct arena *a = map->priv;
	uint64_t none = 0;

	if (size > 1ull << 32)
		return -E2BIG;
	if (addr >> 32 != (addr + (uint64_t)map->max_entries * PAGE - 1) >> 32)
		return -ERANGE;
	if (!atomic_compare_exchange_strong(&a->user_start, &none, addr) && none != addr)
		return -EBUSY;
	return 0;
}

static bool is_used(struct ctl *c, uint32_t page)
{
	return atomic_load(&c->used[page / 64]) >> page % 64 & 1;
}

static bool range_free(struct ctl *c, uint32_t page, uint32_t n)
{
	for (uint32_t i = 0; i < n; i++)
		if (is_used(c, page + i))
			return false;
	return true;
}

/* First of n free pages in [from, to), or to. */
static uint32_t search(struct ctl *c, uint32_t from, uint32_t to, uint32_t n)
{
	uint32_t run = 0;

	for (uint32_t i = from; i < to; i++) {
		if (!run && !(i % 64) && atomic_load(&c->used[i / 64]) == UINT64_MAX) {
			i += 63;
			continue;
		}
		run = is_used(c, i) ? 0 : run + 1;
		if (run == n)
			return i + 1 - n;
	}
	return to;
}

int64_t skep_arena_alloc(struct skep_map *map, int64_t wanted, uint32_t n)
{
	struct ctl *c = map->ctl.base;
	struct arena *a = map->priv;
	uint32_t max = map->max_entries, page;
	int64_t ret = -ENOMEM;
	int err;

	if (!n || n > max || wanted > (int64_t)(max - n))
		return -ENOMEM;
	/* Bits are single stores: nothing to repair after a dead holder but lost pages. */
	err = skep_lock(&c->lock, map->obj.skep->parts);
	if (err < 0)
		return err;
	if (wanted >= 0) {
		page = (uint32_t)wanted;
		if (!range_free(c, page, n)) {
			ret = -EBUSY;
			goto out;
		}
	} else {
		uint32_t from = a->next < max ? a->next : 0;

		page = search(c, from, max, n);
		if (page == max && from)
			page = search(c, 0, max, n);
		if (page == max)
			goto out;
	}
	if (skep_seg_reserve(&map->data, (size_t)page * PAGE, (size_t)n * PAGE))
		goto out;
	for (uint32_t i = page; i < page + n; i++)
		atomic_fetch_or(&c->used[i / 64], 1ull << i % 64);
	a->next = page + n;
	ret = page;
out:
	skep_unlock(&c->lock);
	return ret;
}

void skep_arena_free(struct skep_map *map, uint32_t page, uint32_t n)
{
	struct ctl *c = map->ctl.base;

	if (page >= map->max_entries)
		return;
	if (n > map->max_entries - page)
		n = map->max_entries - page;
	if (skep_lock(&c->lock, map->obj.skep->parts) < 0)
		return;
	for (uint32_t i = page; i < page + n; i++) {
		if (!is_used(c, i))
			continue;
		atomic_fetch_and(&c->used[i / 64], ~(1ull << i % 64));
		skep_seg_release(&map->data, (size_t)i * PAGE, PAGE);
	}
	skep_unlock(&c->lock);
}

static int arena_direct(struct skep_map *map, void **base, uint64_t *size)
{
	*base = map->data.base;
	*size = map->data.size;
	return 0;
}

static long arena_update(struct skep_map *map, const void *key, const void *value, uint64_t flags,
			 struct skep_env *env)
{
	return -EOPNOTSUPP;
}

static uint64_t arena_mmap_size(struct skep_map *map)
{
	return map->data.size;
}

static uint64_t arena_mem_usage(struct skep_map *map)
{
	return 0;
}

const struct skep_map_ops skep_map_arena = {
	.name = "arena",
	.check = arena_check,
	.create = arena_create,
	.destroy = arena_destroy,
	.lookup = skep_no_lookup,
	.update = arena_update,
	.direct = arena_direct,
	.mmap_size = arena_mmap_size,
	.mem_usage = arena_mem_usage,
	.is_inner_ok = true,
	.btf = SKEP_BTF_FREE,
	.flags_ok = FLAGS,
};
