/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Participants, and locks that outlive their owners.
 *
 * A participant is one process image. It owns a byte of the participants file
 * through an OFD lock that a mapping keeps (MADV_DONTFORK): it ends with exec,
 * exit and SIGKILL, and needs no descriptor. Locks in shared segments name the
 * participant (a number never used twice) and the thread; a lock whose owner is
 * gone is taken over, and whoever takes it over repairs what it protects.
 */
#ifndef SKEP_PARTICIPANT_H
#define SKEP_PARTICIPANT_H

#include <stdbool.h>
#include <stdint.h>

struct skep_parts;

struct skep_self_cache {
	uint64_t base, self;
};
struct skep_self_cache *skep_agent_self_cache(void); /* of agents in traced processes only */

int skep_parts_create(struct skep_parts **out);
/* The same file in another process (or after fork: done by itself on first use). */
int skep_parts_open(struct skep_parts **out, int fd);
int skep_parts_fd(const struct skep_parts *parts);
void skep_parts_close(struct skep_parts *parts);

/* This thread's identity: participant and thread. Never 0. Cheap (cached per
 * thread, found out anew after fork). */
uint64_t skep_self(struct skep_parts *parts);
/* The process image alone: an identity without its thread, as skep_alive() takes it too. */
static inline uint64_t skep_self_image(uint64_t self)
{
	return self & ~((1ull << 22) - 1);
}
/* Whether the process image that an identity names still lives. Costs system calls. */
bool skep_alive(struct skep_parts *parts, uint64_t self);

/* A lock word in shared memory; all zero is unlocked. */
struct skep_lock {
	_Atomic uint64_t owner; /* skep_self() of the holder, or 0 */
};

/* 0: locked. SKEP_LOCK_DIED: locked, and the owner before died holding it: repair
 * first. -EBUSY: this very thread holds it (a signal or a nested program came
 * in between). -ETIMEDOUT: a live holder did not let go within the limit (a
 * hostile or stopped process); nothing was taken. */
#define SKEP_LOCK_DIED 1
int skep_lock(struct skep_lock *lock, struct skep_parts *parts);
void skep_unlock(struct skep_lock *lock);

#endif
