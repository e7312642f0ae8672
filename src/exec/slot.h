/* SPDX-License-Identifier: Apache-2.0 */
/* CPU slots and epochs, as the instance sees them. */
#ifndef SKEP_SLOT_H
#define SKEP_SLOT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct skep;
struct skep_parts;
struct skep_seg;
struct skep_slots;

/* n slots in a shared segment; parts tells whether a holder still lives. */
int skep_slots_create(struct skep_slots **out, struct skep_parts *parts, uint32_t n);
/* The same slots in another process; *seg is theirs from now on. -EINVAL: too small. */
int skep_slots_open(struct skep_slots **out, struct skep_parts *parts, struct skep_seg *seg,
		    uint32_t n);
/* The segment, to be handed to another process. */
const struct skep_seg *skep_slots_seg(const struct skep_slots *slots);
void skep_slots_close(struct skep_slots *slots);
/* Takes memory again that was gone. */
void skep_slots_restore(struct skep_slots *slots);

/* Whose slot it is now (skep_self()), 0: nobody's. */
uint64_t skep_slot_owner(const struct skep_slots *slots, uint32_t cpu);

/* Variables that each slot has a copy of and programs may read: int, found by name in the BTF
 * that skep presents. */
enum skep_var {
	SKEP_VAR_PROG_ACTIVE, /* environments that are inside, in this slot */
	SKEP_VAR_CPU_NUMBER,
	SKEP_NVARS
};
extern const char *const skep_slots_vars[SKEP_NVARS];
/* The variable of that name, or -ENOENT. */
int skep_slots_find_var(const char *name);
/* Slot 0's copy, as struct skep_percpu has it; NULL: no such variable. */
const void *skep_slots_var(const struct skep_slots *slots, uint32_t var);
/* Where it lies from the begin of its slot, and where slot cpu begins: as the kernel has it,
 * offset plus begin is that CPU's copy. */
size_t skep_slots_var_offset(uint32_t var);
uint64_t skep_slots_at(const struct skep_slots *slots, uint32_t cpu);
/* Whether these bytes are of some slot's copy. */
bool skep_slots_contain(const struct skep_slots *slots, uint64_t addr, size_t size);

/* Calls what is due of skep_defer(). */
void skep_defer_poll(struct skep *skep);
/* Frees all environments; nobody is inside, nothing is deferred. */
void skep_envs_free(struct skep *skep);

#endif
