/* SPDX-License-Identifier: Apache-2.0 */
/*
 * bpf_spin_lock: four bytes of a value. They name the CPU slot of the holder: a slot
 * belongs to one thread from entry to exit of a program. Critical sections of verified
 * programs are short and can't block, so who waits longer than the limit waits for a
 * killed, stopped or hostile holder, and takes the lock over: that can spoil the value
 * and nothing else, and no one waits for ever.
 */
#include "map/access.h"

#include <sched.h>

#include "os/os.h"

#define LOCK_HELD     0x80000000u
#define LOCK_LIMIT_NS 200000000ull
#define SPINS         256u

static uint32_t lock_word(const struct skep_env *env)
{
	return LOCK_HELD | (env->cpu & 0xffffu);
}

void skep_spin_lock(void *lock, struct skep_env *env)
{
	uint32_t *word = lock, mine = lock_word(env), seen = 0;
	uint64_t since = 0, now;
	uint32_t spins = 0;

	for (;;) {
		uint32_t old = __atomic_load_n(word, __ATOMIC_RELAXED);

		/* Our own slot's: a dead holder's slot that came to us, or a run that this one
		 * interrupted and that can't go on before we end. Waiting would not help. */
		if (!(old & LOCK_HELD) || old == mine) {
			if (__atomic_compare_exchange_n(word, &old, mine, false, __ATOMIC_ACQUIRE,
							__ATOMIC_RELAXED))
				return;
			continue;
		}
		if (++spins < SPINS) {
			skep_cpu_relax();
			continue;
		}
		now = skep_clock_mono();
		if (old != seen) {
			seen = old;
			since = now;
		} else if (now - since > LOCK_LIMIT_NS) {
			if (__atomic_compare_exchange_n(word, &old, mine, false, __ATOMIC_ACQUIRE,
							__ATOMIC_RELAXED))
				return;
		}
		sched_yield();
	}
}

void skep_spin_unlock(void *lock, struct skep_env *env)
{
	uint32_t mine = lock_word(env);

	/* Only if it is still ours: it may have been taken over. */
	__atomic_compare_exchange_n((uint32_t *)lock, &mine, 0, false, __ATOMIC_RELEASE,
				    __ATOMIC_RELAXED);
}
