/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Objects in the heap (exec/heap.h) by their types: what a new one begins as, and what goes with
 * one. Types are those of the program's or map's BTF, or of skep's.
 */
#ifndef SKEP_KPTR_H
#define SKEP_KPTR_H

#include <stdint.h>

#include "map/map.h"

struct skep_btf;

/* Takes what the pointer of that field at `at` owns, and gives it up. btf: of the field's type. */
void skep_kptr_clear(struct skep *skep, const struct skep_btf *btf, const struct skep_field *f,
		     void *at);
/* Gives up an object that nobody refers to any more, but for the caller, with all that its
 * fields own. One that counts its references stays while it has others. */
void skep_object_drop(struct skep *skep, const struct skep_btf *btf, uint32_t id, void *object);
/* Gives up what the values of a map own, once nobody sees them any more. */
void skep_map_clear_kptrs(struct skep_map *map);

#endif
