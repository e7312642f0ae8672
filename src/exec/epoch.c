/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Epochs. skep->epoch rises with every deferral; an environment inside remembers the
 * epoch in which it entered. What was deferred in epoch e may have been seen only by who
 * entered in e or before: it is due when no such environment is left.
 *
 * Why that holds: who defers has made the thing unreachable, then raises the epoch (a
 * full barrier), then reads the environments. Who enters writes its epoch, then claims
 * its slot (a full barrier), then looks for things. So either the one sees the other's
 * epoch, or the other no longer finds the thing.
 */
#include <stdatomic.h>
#include <stdlib.h>

#include "bpf/instance.h"
#include "exec/exec.h"
#include "exec/slot.h"
#include "os/participant.h"

struct skep_deferred {
	struct skep_deferred *next;
	void (*fn)(void *arg);
	void *arg;
	uint64_t epoch;
};

static void push(struct skep *skep, struct skep_deferred *d)
{
	uint64_t max = atomic_load(&skep->deferred_max);

	while (max < d->epoch && !atomic_compare_exchange_weak(&skep->deferred_max, &max, d->epoch))
		;
	d->next = atomic_load(&skep->deferred);
	while (!atomic_compare_exchange_weak(&skep->deferred, &d->next, d))
		;
}

/* The oldest epoch that somebody inside entered in. */
static uint64_t oldest(struct skep *skep)
{
	uint64_t min = UINT64_MAX;
	uint32_t image = skep_self_image(skep_self(skep->parts));
	struct skep_env *env;

	for (env = atomic_load(&skep->envs); env; env = env->next) {
		uint64_t epoch = atomic_load(&env->epoch);

		/* In a forked child, the parent's other threads don't run. */
		if (epoch && epoch < min &&
		    (!skep_forked(skep) || skep_self_image(env->self) == image))
			min = epoch;
	}
	return min;
}

void skep_defer_poll(struct skep *skep)
{
	struct skep_deferred *d, *next;
	uint64_t min;

	if (!atomic_load(&skep->deferred))
		return;
	d = atomic_exchange(&skep->deferred, NULL);
	min = oldest(skep);
	for (; d; d = next) {
		next = d->next;
		if (d->epoch < min) {
			d->fn(d->arg);
			free(d);
		} else {
			push(skep, d);
		}
	}
}

void skep_defer(struct skep *skep, void (*fn)(void *arg), void *arg)
{
	struct skep_deferred *d = malloc(sizeof(*d));
	uint64_t epoch = atomic_fetch_add(&skep->epoch, 1);

	if (!d) {
		/* Nobody inside: no need to remember. */
		if (epoch < oldest(skep))
			fn(arg);
		return;
	}
	*d = (struct skep_deferred){.fn = fn, .arg = arg, .epoch = epoch};
	push(skep, d);
	skep_defer_poll(skep);
}
