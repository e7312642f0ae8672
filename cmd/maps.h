/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The maps of an object, shown after a run.
 */
#ifndef SKEP_CMD_MAPS_H
#define SKEP_CMD_MAPS_H

#include "out.h"

struct bpf_object;
struct bpf_map;
struct session;

/* What came out of ring buffers, gathered while programs run. */
struct records;
int records_open(struct records **out, struct bpf_object *obj);
/* From here on records are given to fn instead of being kept. */
typedef void (*records_fn)(void *arg, const struct bpf_map *map, const void *data, uint32_t len);
void records_live(struct records *r, records_fn fn, void *arg);
/* Takes what waits. Cheap if nothing does. */
void records_take(struct records *r);
void records_close(struct records *r);

struct maps_opts {
	const char *const *names; /* only these; NULL-terminated, or NULL for all */
	struct records *records; /* or NULL */
	bool color;
};

/* A map's name for people: maps of global data are named "object.bss" by libbpf, ".bss" here. */
const char *map_name(const struct bpf_map *map);
/* Whether the object has a map of that name (".bss" and so on count). */
bool maps_has(struct bpf_object *obj, const char *name);
void maps_text(FILE *f, struct bpf_object *obj, const struct maps_opts *opts);
/* As an object from name to list of {"key", "value"}. */
void maps_json(struct json *j, struct bpf_object *obj, const struct maps_opts *opts);

#endif
