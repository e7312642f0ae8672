/* SPDX-License-Identifier: Apache-2.0 */
/* What the calls of bpf(2) keep in an instance between them. Made on first use. */
#ifndef SKEP_SYS_H
#define SKEP_SYS_H

#include "bpf/instance.h"

struct skep_pin;
struct skep_hook_entry;

struct skep_sys {
	pthread_mutex_t lock; /* everything below */
	struct skep_env *envs[64]; /* idle environments */
	uint32_t nenvs;
	struct skep_pin *pins; /* a list (pin.c) */
	struct skep_hook_entry *hooks; /* a list (link.c) */
	uint64_t iter_sessions; /* readings so far (iter.c) */
};

struct skep_sys *skep_sys(struct skep *skep); /* NULL: no memory */
/* Drops pins and environments. Called while the instance is closed. */
void skep_sys_close(struct skep *skep);
/* Notices pins whose files were removed. */
void skep_pins_collect(struct skep *skep);
void skep_pins_drop(struct skep *skep, struct skep_sys *sys);
void skep_hooks_drop(struct skep_sys *sys);

#endif
