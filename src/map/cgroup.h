/* SPDX-License-Identifier: Apache-2.0 */
/* Maps of cgroups, for helpers. */
#ifndef SKEP_MAP_CGROUP_H
#define SKEP_MAP_CGROUP_H

#include "map/map.h"

/* The value that a program finds, between skep_enter and skep_leave. Since none is attached to a
 * cgroup, there is one for each CPU slot, which a test run begins with zeros. */
void *skep_cgroup_storage(struct skep_map *map, struct skep_env *env);
/* Zeros for all of the program's storages, on the slot that env holds. */
void skep_cgroup_storage_reset(const struct skep_prog *prog, struct skep_env *env);
/* Whether the calling task is in the cgroup of element i or below it: 0, 1, -E2BIG, -EAGAIN. */
long skep_cgroup_array_has_current(struct skep_map *map, uint32_t i);

#endif
