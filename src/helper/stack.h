/* SPDX-License-Identifier: Apache-2.0 */
/* The stack of the traced thread that a program runs in. */
#ifndef SKEP_HELPER_STACK_H
#define SKEP_HELPER_STACK_H

#include <stdint.h>

#define SKEP_STACK_MAX 127 /* kernel.perf_event_max_stack */

struct skep_env;

/* Addresses from the innermost one on, by frame pointers: how many of at most max. */
uint32_t skep_user_stack(struct skep_env *env, uint64_t *ips, uint32_t max);

#endif
