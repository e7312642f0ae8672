// SPDX-License-Identifier: Apache-2.0
/*
 * Checked mode: the list of live memory, and the tests of accesses and helper
 * arguments against it. The first access that fails is written down and ends
 * the run; it means that the verifier accepted what it should not have.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "bpf/instance.h"
#include "exec/exec.h"
#include "exec/heap.h"
#include "exec/slot.h"
#include "helper/helper.h"
#include "map/map.h"

int skep_checker_add(struct skep_checker *c, const void *base, size_t size, uint32_t flags)
{
	if (c->nregions == c->cap) {
		uint32_t cap = c->cap ? c->cap * 2 : 16;
		struct skep_region *grown = realloc(c->regions, cap * sizeof(*grown));

		if (!grown)
			return -ENOMEM;
		c->regions = grown;
		c->cap = cap;
	}
	c->regions[c->nregions++] =
		(struct skep_region){.base = (uintptr_t)base, .size = size, .flags = flags};
	return 0;
}

void skep_checker_remove(struct skep_checker *c, const void *base)
{
	/* Frames go in the reverse order of their coming, so look from the end. */
	for (uint32_t i = c->nregions; i-- > 0;) {
		if (c->regions[i].base != (uintptr_t)base)
			continue;
		for (; i + 1 < c->nregions; i++)
			c->regions[i] = c->regions[i + 1];
		c->nregions--;
		return;
	}
}

static bool in_regions(const struct skep_checker *c, uint64_t addr, size_t size, bool write)
{
	uint32_t need = write ? SKEP_REGION_WRITE : SKEP_REGION_READ;

	for (uint32_t i = c->nregions; i-- > 0;) {
		const struct skep_region *g = &c->regions[i];

		if ((g->flags & need) && addr >= g->base && size <= g->size &&
		    addr - g->base <= g->size - size)
			return true;
	}
	return false;
}

static bool in_map(const struct skep_map *map, uint64_t addr, size_t size, bool write)
{
	if (map->flags & (write ? BPF_F_RDONLY_PROG : BPF_F_WRONLY_PROG))
		return false;
	return skep_map_contains(map, addr, size);
}

/* What a program reads of a map itself. */
static bool in_view(const struct skep_object *obj, uint64_t addr, size_t size)
{
	uint64_t base = (uint64_t)(uintptr_t)obj->view;

	return addr >= base && size <= sizeof(obj->view) && addr - base <= sizeof(obj->view) - size;
}

/* An access that may be of a value in an inner map. */
struct inner_access {
	const struct skep_map *shape;
	uint64_t addr;
	size_t size;
	bool write, ok;
};

static void in_inner_map(struct skep_object *obj, void *arg)
{
	const struct skep_map *map = (const struct skep_map *)obj;
	struct inner_access *a = arg;

	if (obj->kind == SKEP_KIND_MAP && map->type == a->shape->type &&
	    map->value_size == a->shape->value_size)
		a->ok |= in_map(map, a->addr, a->size, a->write) ||
			 (!a->write && in_view(obj, a->addr, a->size));
}

static bool in_maps(const struct skep_env *env, uint64_t addr, size_t size, bool write)
{
	const struct skep_prog *prog = env->prog;

	for (uint32_t i = 0; i < prog->nmaps; i++)
		if (in_map(prog->maps[i], addr, size, write) ||
		    (!write && in_view(&prog->maps[i]->obj, addr, size)))
			return true;
	/* Which inner maps the program has found is not known: any of that shape. */
	for (uint32_t i = 0; i < prog->nmaps; i++) {
		struct inner_access a = {prog->maps[i]->inner, addr, size, write, false};

		if (a.shape)
			skep_objects_walk(env->skep, in_inner_map, &a);
		if (a.ok)
			return true;
	}
	return false;
}

static bool in_heap(struct skep *skep, uint64_t addr, size_t size)
{
	uint64_t base = (uintptr_t)skep_heap_base(skep);

	return base && addr >= base && addr - base < SKEP_HEAP_SIZE &&
	       size <= SKEP_HEAP_SIZE - (addr - base);
}

bool skep_checker_ok(struct skep_checker *c, struct skep_env *env, uint64_t addr, size_t size,
		     bool write)
{
	if (!size || in_regions(c, addr, size, write) || in_maps(env, addr, size, write) ||
	    in_heap(env->skep, addr, size) ||
	    (!write && skep_slots_contain(env->skep->slots, addr, size)))
		return true;
	if (!c->fault[0])
		snprintf(c->fault, sizeof(c->fault), "%s of %zu bytes at 0x%" PRIx64,
			 write ? "store" : "load", size, addr);
	return false;
}

/* The map that a helper works on: its CONST_MAP_PTR argument. */
static const struct skep_map *map_argument(const struct skep_helper *row, const uint64_t *r)
{
	for (int i = 0; i < 5; i++)
		if ((row->arg[i] & SKEP_ARG_KIND) == SKEP_ARG_CONST_MAP_PTR)
			return (const struct skep_map *)r[i + 1];
	return NULL;
}

/* Bytes that the helper may touch through argument i; 0: it is no memory. */
static uint64_t argument_size(const struct skep_helper *row, int i, const struct skep_map *map,
			      const uint64_t *r)
{
	uint8_t next = i < 4 ? row->arg[i + 1] & SKEP_ARG_KIND : SKEP_ARG_NONE;

	switch (row->arg[i] & SKEP_ARG_KIND) {
	case SKEP_ARG_MAP_KEY:
		return map ? map->key_size : 0;
	case SKEP_ARG_MAP_VALUE:
		return map ? map->value_size : 0;
	case SKEP_ARG_MEM:
		if (row->arg[i] & SKEP_ARG_FIXED_SIZE)
			return row->size[i];
		return next == SKEP_ARG_SIZE || next == SKEP_ARG_SIZE_OR_ZERO ? r[i + 2] : 0;
	case SKEP_ARG_DYNPTR:
		return 16;
	case SKEP_ARG_LONG:
		return 8;
	case SKEP_ARG_INT:
		return 4;
	default:
		return 0;
	}
}

bool skep_checker_call(struct skep_checker *c, struct skep_env *env, uint32_t id, const uint64_t *r)
{
	const struct skep_helper *row = &skep_helpers[id];
	const struct skep_map *map = map_argument(row, r);
	size_t len;

	for (int i = 0; i < 5; i++) {
		uint8_t kind = row->arg[i] & SKEP_ARG_KIND;
		uint64_t size = argument_size(row, i, map, r);
		bool write = (row->arg[i] & (SKEP_ARG_UNINIT | SKEP_ARG_WRITE)) ||
			     kind == SKEP_ARG_LONG || kind == SKEP_ARG_INT;

		if (!r[i + 1] && (row->arg[i] & SKEP_ARG_MAYBE_NULL))
			continue;
		if (skep_checker_ok(c, env, r[i + 1], size, write))
			continue;
		len = 0;
		while (c->fault[len])
			len++;
		snprintf(c->fault + len, sizeof(c->fault) - len, " by bpf_%s, argument %d",
			 row->name, i + 1);
		return false;
	}
	return true;
}
