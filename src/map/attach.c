/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Maps in a second process. The types' create functions lay a map out from its sizes alone,
 * so attaching is creating with segments that are there already: skep_map_seg() hands
 * those out instead of new ones, and what create would write into them is left.
 */
#include "map/map.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "bpf/call.h"
#include "map/access.h"

/* What skep_map_seg() finds while a map is being attached. */
struct given {
	struct skep_seg *data, *ctl;
};

int skep_map_seg(struct skep_map *map, struct skep_seg *seg, const char *name, size_t size)
{
	struct given *given = map->given;
	struct skep_seg *from;

	if (!given)
		return skep_seg_create(seg, name, size);
	from = seg == &map->data ? given->data : given->ctl;
	if (!from->base || from->size < size)
		return -EINVAL;
	*seg = *from;
	*from = (struct skep_seg){.fd = -1};
	return 0;
}

void skep_map_describe(const struct skep_map *map, struct skep_map_desc *out)
{
	*out = (struct skep_map_desc){.type = map->type,
				      .key_size = map->key_size,
				      .value_size = map->value_size,
				      .max_entries = map->max_entries,
				      .flags = map->flags,
				      .id = map->obj.id,
				      .cpus = map->cpus,
				      .ifindex = map->ifindex,
				      .extra = map->extra,
				      .seed = {map->seed[0], map->seed[1]},
				      .fields = map->fields,
				      .frozen = map->frozen};
	memcpy(out->name, map->name, sizeof(out->name));
}

void skep_map_detach(struct skep_map *map)
{
	if (map->ops->destroy)
		map->ops->destroy(map);
	skep_seg_close(&map->data);
	skep_seg_close(&map->ctl);
	free(map);
}

int skep_map_attach(struct skep *skep, const struct skep_map_desc *desc, struct skep_seg *data,
		    struct skep_seg *ctl, struct skep_map **out)
{
	union bpf_attr attr = {.map_type = desc->type,
			       .key_size = desc->key_size,
			       .value_size = desc->value_size,
			       .max_entries = desc->max_entries,
			       .map_flags = desc->flags,
			       .map_extra = desc->extra};
	struct given given = {data, ctl};
	struct skep_map *map;
	int err = -ENOTSUP;

	/* These hold objects of one process. */
	if (desc->type >= skep_nmap_types || !skep_map_types[desc->type] ||
	    desc->type == BPF_MAP_TYPE_ARRAY_OF_MAPS || desc->type == BPF_MAP_TYPE_HASH_OF_MAPS ||
	    desc->type == BPF_MAP_TYPE_DEVMAP || desc->type == BPF_MAP_TYPE_DEVMAP_HASH)
		goto fail;
	err = -ENOMEM;
	map = calloc(1, sizeof(*map));
	if (!map)
		goto fail;
	*map = (struct skep_map){
		.ops = skep_map_types[desc->type],
		.obj = {.skep = skep, .kind = SKEP_KIND_MAP, .id = desc->id, .fd = -1, .refs = 1},
		.type = desc->type,
		.key_size = desc->key_size,
		.value_size = desc->value_size,
		.max_entries = desc->max_entries,
		.flags = desc->flags,
		.extra = desc->extra,
		.fields = desc->fields,
		.seed = {desc->seed[0], desc->seed[1]},
		.attached = true,
		.given = &given,
		.frozen = desc->frozen,
		.cpus = desc->cpus,
		.elem_size = (uint32_t)skep_round_up(desc->value_size, 8)};
	memcpy(map->name, desc->name, sizeof(map->name));
	map->data.fd = map->ctl.fd = -1;
	err = map->ops->create(map, &attr);
	map->given = NULL;
	if (err) {
		skep_map_detach(map);
		goto fail;
	}
	skep_map_show(map);
	*out = map;
	return 0;
fail:
	skep_seg_close(data);
	skep_seg_close(ctl);
	return err;
}
