/* SPDX-License-Identifier: Apache-2.0 */
/* Open-coded iterators in stack slots. */
#ifndef SKEP_VERIFIER_ITER_H
#define SKEP_VERIFIER_ITER_H

#include "verifier/kfunc.h"

/* The call of a kfunc that steps an iterator, once its result is set: both ways go on. */
int skep_v_iter_next(struct venv *env, const struct vkfunc *k);
/* Whether the iterator that R1 points to, before a step, is not known to be at its end. */
bool skep_v_iter_active(const struct vstate *st);
/* Whether an iterator made more steps in one state than in the other. */
bool skep_v_iter_depths_differ(const struct vstate *old, const struct vstate *cur);
/* "num" of a struct bpf_iter_num. */
const char *skep_v_iter_name(const struct vreg *r);

#endif
