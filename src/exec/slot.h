/* SPDX-License-Identifier: Apache-2.0 */
/* CPU slots and epochs, as the instance sees them. */
#ifndef SKEP_SLOT_H
#define SKEP_SLOT_H

#include <stdint.h>

struct skep;
struct skep_parts;
struct skep_slots;

/* n slots in a shared segment; parts tells whether a holder still lives. */
int skep_slots_create(struct skep_slots **out, struct skep_parts *parts, uint32_t n);
void skep_slots_close(struct skep_slots *slots);

/* Whose slot it is now (skep_self()), 0: nobody's. */
uint64_t skep_slot_owner(const struct skep_slots *slots, uint32_t cpu);

/* Calls what is due of skep_defer(). */
void skep_defer_poll(struct skep *skep);
/* Frees all environments; nobody is inside, nothing is deferred. */
void skep_envs_free(struct skep *skep);

#endif
