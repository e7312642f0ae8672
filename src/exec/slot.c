/* SPDX-License-Identifier: Apache-2.0 */
/*
 * CPU slots: entering and leaving programs.
 *
 * A slot's word names the thread that holds it. The first free one that an
 * environment tries is the one it used last, so an undisturbed entry is one
 * atomic. Exclusive use of the slot is what makes per-CPU increments exact.
 */
#include <errno.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "bpf/instance.h"
#include "exec/exec.h"
#include "exec/slot.h"
#include "helper/helper.h"
#include "os/os.h"
#include "os/participant.h"

#define SPINS    50
#define WAIT_MIN 1000000ull /* ns */
#define WAIT_MAX 16000000ull

/* A variable that programs may read: one copy per slot (struct skep_percpu). */
struct var {
	uint64_t stride;
	_Atomic int32_t value;
	int32_t pad;
};
_Static_assert(offsetof(struct var, value) == offsetof(struct skep_percpu, data), "as helpers see");

struct slot {
	_Atomic uint64_t owner; /* skep_self() of the holder, 0: free */
	uint32_t extra; /* the holder's further environments in this slot */
	uint32_t pad;
	struct var var[SKEP_NVARS];
	uint32_t pad2[4];
};
_Static_assert(sizeof(struct slot) == 64, "a cache line");

/* In shared memory. */
struct slots_shared {
	_Atomic uint32_t seq; /* rises when a slot is freed for a waiter */
	_Atomic uint32_t waiting; /* somebody may be waiting for that */
	uint32_t pad[14];
	struct slot slot[];
};

const char *const skep_slots_vars[SKEP_NVARS] = {
	[SKEP_VAR_PROG_ACTIVE] = "bpf_prog_active",
	[SKEP_VAR_CPU_NUMBER] = "cpu_number",
};

struct skep_slots {
	struct skep_seg seg;
	struct slots_shared *shared;
	struct skep_parts *parts;
	uint32_t n;
};

int skep_slots_create(struct skep_slots **out, struct skep_parts *parts, uint32_t n)
{
	struct skep_slots *slots = calloc(1, sizeof(*slots));
	size_t size = sizeof(struct slots_shared) + (size_t)n * sizeof(struct slot);
	int err;

	if (!slots)
		return -ENOMEM;
	err = skep_seg_create(&slots->seg, "skep-slots", size);
	if (err) {
		free(slots);
		return err;
	}
	err = skep_seg_reserve(&slots->seg, 0, size);
	if (err) {
		skep_seg_close(&slots->seg);
		free(slots);
		return err;
	}
	slots->shared = slots->seg.base;
	slots->parts = parts;
	slots->n = n;
	for (uint32_t i = 0; i < n; i++) {
		struct slot *slot = &slots->shared->slot[i];

		for (int k = 0; k < SKEP_NVARS; k++)
			slot->var[k].stride = sizeof(*slot);
		atomic_store(&slot->var[SKEP_VAR_CPU_NUMBER].value, (int32_t)i);
	}
	*out = slots;
	return 0;
}

int skep_slots_open(struct skep_slots **out, struct skep_parts *parts, struct skep_seg *seg,
		    uint32_t n)
{
	struct skep_slots *slots;

	if (seg->size < sizeof(struct slots_shared) + (size_t)n * sizeof(struct slot))
		return -EINVAL;
	slots = calloc(1, sizeof(*slots));
	if (!slots)
		return -ENOMEM;
	slots->seg = *seg;
	slots->shared = seg->base;
	slots->parts = parts;
	slots->n = n;
	*out = slots;
	return 0;
}

const struct skep_seg *skep_slots_seg(const struct skep_slots *slots)
{
	return &slots->seg;
}

int skep_slots_find_var(const char *name)
{
	for (int i = 0; i < SKEP_NVARS; i++)
		if (!strcmp(skep_slots_vars[i], name))
			return i;
	return -ENOENT;
}

const void *skep_slots_var(const struct skep_slots *slots, uint32_t var)
{
	return var < SKEP_NVARS ? (const void *)&slots->shared->slot[0].var[var].value : NULL;
}

size_t skep_slots_var_offset(uint32_t var)
{
	return offsetof(struct slot, var[var].value);
}

uint64_t skep_slots_at(const struct skep_slots *slots, uint32_t cpu)
{
	return (uintptr_t)&slots->shared->slot[cpu];
}

bool skep_slots_contain(const struct skep_slots *slots, uint64_t addr, size_t size)
{
	uint64_t off = addr - (uintptr_t)slots->shared->slot;

	if (addr < (uintptr_t)slots->shared->slot || off / sizeof(struct slot) >= slots->n)
		return false;
	off %= sizeof(struct slot);
	for (int i = 0; i < SKEP_NVARS; i++) {
		uint64_t at = offsetof(struct slot, var[i].value);

		if (off >= at && off + size <= at + sizeof(int32_t))
			return true;
	}
	return false;
}

/* Says how many environments are inside; only who holds the slot may. */
static inline void set_active(struct slot *slot, uint32_t n)
{
	atomic_store_explicit(&slot->var[SKEP_VAR_PROG_ACTIVE].value, (int32_t)n,
			      memory_order_relaxed);
}

void skep_slots_close(struct skep_slots *slots)
{
	if (!slots)
		return;
	skep_seg_close(&slots->seg);
	free(slots);
}

void skep_slots_restore(struct skep_slots *slots)
{
	skep_seg_restore(&slots->seg);
}

uint64_t skep_slot_owner(const struct skep_slots *slots, uint32_t cpu)
{
	return cpu < slots->n ? atomic_load(&slots->shared->slot[cpu].owner) : 0;
}

/* One atomic, which is also the barrier between env->epoch and what follows. */
static inline uint64_t take(struct slot *slot, uint64_t old, uint64_t self)
{
	atomic_compare_exchange_strong(&slot->owner, &old, self);
	return old;
}

/* One pass over all slots: the number of the one that is ours now, or -1. */
static int64_t scan(struct skep_slots *slots, uint32_t first, uint64_t self, bool dead)
{
	uint32_t k;

	for (k = 0; k < slots->n; k++) {
		uint32_t i = (first + k) % slots->n;
		struct slot *slot = &slots->shared->slot[i];
		uint64_t owner = atomic_load_explicit(&slot->owner, memory_order_relaxed);

		/* Ours alone decides over extra, so no atomic is needed. */
		if (owner == self) {
			set_active(slot, ++slot->extra + 1);
			return i;
		}
		if (!owner && !take(slot, 0, self)) {
			set_active(slot, 1);
			return i;
		}
		if (dead && owner && !skep_alive(slots->parts, owner) &&
		    take(slot, owner, self) == owner) {
			slot->extra = 0;
			set_active(slot, 1);
			return i;
		}
	}
	return -1;
}

static __attribute__((noinline)) void claim_slow(struct skep_slots *slots, struct skep_env *env,
						 uint64_t self)
{
	struct slots_shared *sh = slots->shared;
	uint64_t wait = WAIT_MIN;
	bool dead = false, waited = false;
	uint32_t round = 0;
	int64_t got;

	while ((got = scan(slots, env->cpu, self, dead)) < 0) {
		uint32_t seq;

		if (round++ < SPINS) {
			skep_cpu_relax();
			continue;
		}
		seq = atomic_load(&sh->seq);
		atomic_store(&sh->waiting, 1);
		got = scan(slots, env->cpu, self, false);
		if (got >= 0)
			break;
		/* Whoever frees a slot reads `waiting` without a barrier after it, which
		 * keeps leaving cheap; should it just miss us, the time limit helps. */
		dead = skep_futex_wait((const uint32_t *)&sh->seq, seq, wait) == -ETIMEDOUT;
		waited = true;
		/* Where memory is missing, what looks like holders is none. */
		skep_seg_restore(&slots->seg);
		if (dead && wait < WAIT_MAX)
			wait *= 2;
	}
	/* We took one wake-up; others may be waiting still. */
	if (waited)
		atomic_store(&sh->waiting, 1);
	env->cpu = (uint32_t)got;
}

void skep_enter(struct skep_env *env)
{
	struct skep *skep = env->skep;
	struct skep_slots *slots = skep->slots;
	struct slot *slot;
	uint64_t self;

	if (env->depth++)
		return;
	self = skep_self(slots->parts);
	env->self = self;
	/* Released, because leaving the epoch before happens before whoever sees this one. */
	atomic_store_explicit(&env->epoch, atomic_load_explicit(&skep->epoch, memory_order_acquire),
			      memory_order_release);
	slot = &slots->shared->slot[env->cpu];
	if (__builtin_expect(take(slot, 0, self) != 0, 0))
		claim_slow(slots, env, self);
	else
		set_active(slot, 1);
#if !defined(__x86_64__)
	atomic_thread_fence(memory_order_seq_cst);
#endif
}

static __attribute__((noinline)) void wake(struct slots_shared *sh)
{
	atomic_store(&sh->waiting, 0);
	atomic_fetch_add(&sh->seq, 1);
	skep_futex_wake((const uint32_t *)&sh->seq, 1);
}

void skep_leave(struct skep_env *env)
{
	struct skep *skep = env->skep;
	struct skep_slots *slots = skep->slots;
	struct slot *slot;
	uint64_t epoch, self;

	if (--env->depth)
		return;
	epoch = atomic_load_explicit(&env->epoch, memory_order_relaxed);
	slot = &slots->shared->slot[env->cpu];
	/* A child that was forked inside holds nothing: the slot is its parent's. */
	self = skep_self(slots->parts);
	if (atomic_load_explicit(&slot->owner, memory_order_relaxed) == self) {
		set_active(slot, slot->extra);
		if (slot->extra)
			slot->extra--;
		else
			atomic_store_explicit(&slot->owner, 0, memory_order_release);
	}
	atomic_store_explicit(&env->epoch, 0, memory_order_release);
	if (__builtin_expect(atomic_load_explicit(&slots->shared->waiting, memory_order_relaxed),
			     0))
		wake(slots->shared);
	/* Only who was in there early enough can have been in the way. */
	if (__builtin_expect(
		    epoch <= atomic_load_explicit(&skep->deferred_max, memory_order_relaxed), 0) &&
	    !env->no_reclaim)
		skep_defer_poll(skep);
}

#define ENTER_ON_LIMIT 10000000000ull /* ns */

/* Frees a slot whose holder died. */
static void bury(struct skep_slots *slots, struct slot *slot, uint64_t self)
{
	uint64_t owner = atomic_load(&slot->owner);

	if (!owner || owner == self || skep_alive(slots->parts, owner) ||
	    take(slot, owner, self) != owner)
		return;
	slot->extra = 0;
	set_active(slot, 0);
	atomic_store(&slot->owner, 0);
}

int skep_enter_on(struct skep_env *env, uint32_t cpu)
{
	struct skep_slots *slots = env->skep->slots;
	uint64_t start = skep_clock_mono();

	for (;;) {
		env->cpu = cpu;
		skep_enter(env);
		if (env->cpu == cpu)
			return 0;
		skep_leave(env);
		bury(slots, &slots->shared->slot[cpu], skep_self(slots->parts));
		if (skep_clock_mono() - start > ENTER_ON_LIMIT)
			return -ETIMEDOUT;
		sched_yield();
	}
}
