/* SPDX-License-Identifier: Apache-2.0 */
/* Rows of the map type table, and what the types' files share. */
#ifndef SKEP_MAP_TYPES_H
#define SKEP_MAP_TYPES_H

#include "map/map.h"

extern const struct skep_map_ops skep_map_array, skep_map_percpu_array;
extern const struct skep_map_ops skep_map_hash, skep_map_percpu_hash;
extern const struct skep_map_ops skep_map_lru_hash, skep_map_lru_percpu_hash;
extern const struct skep_map_ops skep_map_array_of_maps, skep_map_hash_of_maps;
extern const struct skep_map_ops skep_map_prog_array;
extern const struct skep_map_ops skep_map_lpm, skep_map_ringbuf, skep_map_queue, skep_map_stack;
extern const struct skep_map_ops skep_map_stack_trace, skep_map_perf_event_array, skep_map_bloom;
extern const struct skep_map_ops skep_map_devmap, skep_map_devmap_hash;
extern const struct skep_map_ops skep_map_user_ringbuf, skep_map_arena, skep_map_struct_ops;
extern const struct skep_map_ops skep_map_task_storage, skep_map_sk_storage;
extern const struct skep_map_ops skep_map_inode_storage, skep_map_cgrp_storage;
extern const struct skep_map_ops skep_map_cgroup_array, skep_map_cgroup_storage;
extern const struct skep_map_ops skep_map_percpu_cgroup_storage;
extern const struct skep_map_ops skep_map_sockmap, skep_map_sockhash, skep_map_xskmap;
extern const struct skep_map_ops skep_map_reuseport_sockarray, skep_map_cpumap;

/* The words of struct skep_ready, without a reference. */
void skep_ringbuf_ready(struct skep_map *map, struct skep_ready *out);
void skep_perf_ready(struct skep_object *reader, struct skep_ready *out);
bool skep_perf_readable(const struct skep_object *reader);

/* Special fields of map->fields: does the type take them? 0 or the kernel's errno. */
int skep_map_check_fields(const struct skep_map *map);

/* System calls through the operations for programs (plain.c). */
int skep_plain_sys_lookup(struct skep_map *map, const void *key, void *value, uint64_t flags,
			  struct skep_env *env);
int skep_plain_sys_update(struct skep_map *map, const void *key, const void *value, uint64_t flags,
			  struct skep_env *env);
int skep_plain_sys_delete(struct skep_map *map, const void *key, struct skep_env *env);

/* What a type has not. */
void *skep_no_lookup(struct skep_map *map, const void *key, struct skep_env *env);
long skep_no_update(struct skep_map *map, const void *key, const void *value, uint64_t flags,
		    struct skep_env *env);
long skep_no_delete(struct skep_map *map, const void *key, struct skep_env *env);
int skep_no_next_key(struct skep_map *map, const void *key, void *next);
int skep_no_sys_lookup(struct skep_map *map, const void *key, void *value, uint64_t flags,
		       struct skep_env *env);
bool skep_contains_nothing(const struct skep_map *map, uint64_t off, size_t size);

uint64_t skep_array_cpu_stride(const struct skep_map *map);
int skep_array_next_key(struct skep_map *map, const void *key, void *next);

/* Access flags that every data map takes; the kernel refuses both _PROG ones at once. */
#define SKEP_MAP_ACCESS_FLAGS (BPF_F_RDONLY | BPF_F_WRONLY | BPF_F_RDONLY_PROG | BPF_F_WRONLY_PROG)
static inline bool skep_map_access_ok(uint32_t flags)
{
	return (flags & (BPF_F_RDONLY_PROG | BPF_F_WRONLY_PROG)) !=
	       (BPF_F_RDONLY_PROG | BPF_F_WRONLY_PROG);
}

/* Largest value of a per-CPU map (the kernel's smallest per-CPU unit). */
#define SKEP_PERCPU_VALUE_MAX 32768u

#define SKEP_ENOTSUPP 524 /* the kernel's ENOTSUPP, which has no name in user space */

/* Segments this small are backed with memory when they are made; larger ones as they fill. */
#define SKEP_SEG_EAGER (1u << 20)
/* Gives arrays, whose elements are touched without being reserved, the memory that they can't do
 * without. */
int skep_map_back(struct skep_map *map, size_t size);

#endif
