/* SPDX-License-Identifier: Apache-2.0 */
/* Callbacks of timers and work, which run later. */
#ifndef SKEP_VERIFIER_ASYNC_H
#define SKEP_VERIFIER_ASYNC_H

#include "verifier/state.h"

/* The current instruction names sub as a callback that runs later: puts a path aside that
 * begins there. enter sets its arguments. */
int skep_v_async_callback(struct venv *env, uint32_t sub,
			  void (*enter)(const struct vframe *caller, struct vframe *callee));
void skep_v_enter_element(const struct vframe *caller, struct vframe *callee);
/* R r, a map value, points to the value's field of that kind (enum skep_field_kind). */
int skep_v_field_arg(struct venv *env, int r, uint32_t kind);

#endif
