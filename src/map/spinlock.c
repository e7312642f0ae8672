/* SPDX-License-Identifier: Apache-2.0 */
/*
 * bpf_spin_lock: four bytes of a value. They name the CPU slot of the holder and a part of
 * its identity. A slot belongs to one thread from entry to exit of a program, so a waiter
 * finds out that the holder is gone: the slot is free, has another owner, or its owner is
 * dead. Then the waiter takes the lock over; the value may be half changed, as after any
 * death. Critical sections of verified programs are short and can't block; who is made to
 * wait longer than the limit waits for a stopped or hostile process, and takes over too.
 */
#include "map/access.h"

#include "exec/slot.h"
#include "os/os.h"
#include "os/participant.h"

#define HELD     0x80000000u
#define CPU_BITS 12u
#define CPU_MASK ((1u << CPU_BITS) - 1)
#define LIMIT_NS 1000000000ull
#define ASK_NS   100000ull
#define SPINS    256u

static uint32_t word_of(uint64_t owner, uint32_t cpu)
{
	uint64_t mixed = owner * 0x9e3779b97f4a7c15ull;

	return HELD | (uint32_t)(mixed >> 33) << CPU_BITS | (cpu & CPU_MASK);
}

static bool is_gone(const struct skep_env *env, uint32_t word)
{
	const struct skep *skep = env->skep;
	uint32_t cpu = word & CPU_MASK;
	uint64_t owner;

	if (skep->cpus > CPU_MASK) /* the slot is not told for sure */
		return false;
	owner = skep_slot_owner(skep->slots, cpu);
	return !owner || word_of(owner, cpu) != word || !skep_alive(skep->parts, owner);
}

static bool take(uint32_t *lock, uint32_t old, uint32_t mine)
{
	return __atomic_compare_exchange_n(lock, &old, mine, false, __ATOMIC_ACQUIRE,
					   __ATOMIC_RELAXED);
}

/* Whether a lock that was seen held for ns by the same word may be taken over. */
static bool may_take_over(const struct skep_env *env, uint32_t word, uint64_t ns)
{
	return ns > LIMIT_NS || is_gone(env, word);
}

static void __attribute__((noinline))
lock_slow(uint32_t *lock, uint32_t mine, const struct skep_env *env)
{
	uint64_t since = 0, asked = 0, now;
	uint32_t spins = 0, seen = 0, old;

	for (;;) {
		old = __atomic_load_n(lock, __ATOMIC_RELAXED);
		/* Our own: of a run that this one interrupted, which can't go on before we end. */
		if (!(old & HELD) || old == mine) {
			if (take(lock, old, mine))
				return;
			continue;
		}
		if (++spins % SPINS) {
			skep_cpu_relax();
			continue;
		}
		now = skep_clock_mono();
		if (old != seen) {
			seen = old;
			since = asked = now;
		} else if (now - asked > ASK_NS) {
			asked = now;
			if (may_take_over(env, old, now - since) && take(lock, old, mine))
				return;
			skep_cpu_yield();
		}
	}
}

void skep_spin_lock(void *lock, struct skep_env *env)
{
	uint32_t mine = word_of(env->self, env->cpu);

	if (!take(lock, 0, mine))
		lock_slow(lock, mine, env);
}

void skep_spin_unlock(void *lock, struct skep_env *env)
{
	uint32_t mine = word_of(env->self, env->cpu);

	/* Only if it is still ours: it may have been taken over. */
	__atomic_compare_exchange_n((uint32_t *)lock, &mine, 0, false, __ATOMIC_RELEASE,
				    __ATOMIC_RELAXED);
}
