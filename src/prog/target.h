/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What tracing programs name by attach_btf_id: a tracepoint's arguments, or an iterator's function.
 * It says what their context is: an array of the arguments.
 */
#ifndef SKEP_PROG_TARGET_H
#define SKEP_PROG_TARGET_H

#include <stdbool.h>
#include <stdint.h>

struct btf_type;
struct skep_btf;
struct skep_log;
struct skep_prog;

/* Types that need one. */
bool skep_target_needed(uint32_t prog_type);
/* Finds prog's target in the BTF that skep presents: 0, or -errno with the kernel's message. */
int skep_target_find(struct skep_prog *prog, struct skep_log *log);
/* The parameters that its context holds; *n of them. */
const struct btf_param *skep_target_params(const struct skep_prog *prog, uint32_t *n);

#endif
