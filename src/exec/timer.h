/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Timers of programs. A struct bpf_timer in a map value names an entry of the
 * instance's private table, which is believed only if it was made for that value. One thread per
 * instance, made when the first callback is set, calls them; it takes a CPU slot
 * as every run does. It is not there in a forked child, where no timer fires.
 */
#ifndef SKEP_EXEC_TIMER_H
#define SKEP_EXEC_TIMER_H

#include <stdbool.h>
#include <stdint.h>

struct skep;
struct skep_env;
struct skep_map;

/* All answer as the helpers do: 0 or -errno. timer lies in a value of a map. */
int skep_timer_init(void *timer, struct skep_map *map, uint64_t flags, struct skep_env *env);
int skep_timer_set(void *timer, uint64_t func, struct skep_env *env);
int skep_timer_start(void *timer, uint64_t ns, uint64_t flags, struct skep_env *env);
/* 1: it was going to fire. Waits for a callback that runs, unless called by it. */
int skep_timer_cancel(void *timer, struct skep_env *env);

/* The value is gone, or is another from now on: its timer is stopped. Waits for nothing. */
void skep_timer_forget(const struct skep_map *map, void *timer);
/* All of a map. */
void skep_timers_forget_map(const struct skep_map *map);
/* The instance ends: stops the thread, waiting for a callback that runs. */
void skep_timers_stop(struct skep *skep);
void skep_timers_free(struct skep *skep);

#endif
