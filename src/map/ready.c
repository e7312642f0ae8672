// SPDX-License-Identifier: Apache-2.0
#include <errno.h>

#include "map/types.h"

int skep_ready_open(struct skep *skep, int fd, struct skep_ready *out)
{
	struct skep_map *map;

	if (!skep_object_get(skep, fd, SKEP_KIND_PERF, &out->obj)) {
		skep_perf_ready(out->obj, out);
		return 0;
	}
	if (skep_object_get(skep, fd, SKEP_KIND_MAP, &out->obj))
		return -EPERM;
	map = (struct skep_map *)out->obj;
	if (map->type != BPF_MAP_TYPE_RINGBUF) {
		skep_object_put(out->obj);
		return -EPERM;
	}
	skep_ringbuf_ready(map, out);
	return 0;
}

void skep_ready_close(struct skep_ready *r)
{
	skep_object_put(r->obj);
	r->obj = NULL;
}

bool skep_ready_now(const struct skep_ready *r)
{
	if (r->obj->kind == SKEP_KIND_PERF)
		return skep_perf_readable(r->obj);
	return skep_ringbuf_readable((const struct skep_map *)r->obj);
}
