/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Running a program many times on one thread: an environment, the checked mode
 * if the instance asks for it, statistics while they are enabled.
 */
#ifndef SKEP_PROG_RUN_H
#define SKEP_PROG_RUN_H

#include <stdbool.h>
#include <stdint.h>

#include "bpf/instance.h"
#include "exec/exec.h"

struct skep_session {
	struct skep_env *env;
	struct skep_prog *prog;
	bool checked;
	struct skep_checker checker;
};

/* Takes no reference of prog. */
int skep_session_open(struct skep_session *s, struct skep_prog *prog);
void skep_session_close(struct skep_session *s);

/* As skep_runner_open(), of a program; takes a reference. */
int skep_runner_open_prog(struct skep_runner **out, struct skep_prog *prog);

/* The rare parts of skep_session_run(). */
uint64_t skep_session_run_slow(struct skep_session *s, void *ctx);

/* Runs the program on an internal context; between skep_enter() and skep_leave(). */
static inline uint64_t skep_session_run(struct skep_session *s, void *ctx)
{
	struct skep_env *env = s->env;

	env->prog = s->prog;
	env->ctx = ctx;
	env->tail_calls = 0;
	env->redirect.kind = SKEP_REDIRECT_NONE;
	if (__builtin_expect(s->checked || atomic_load_explicit(&env->skep->stats_enabled,
								memory_order_relaxed),
			     0))
		return skep_session_run_slow(s, ctx);
	return s->prog->run(ctx, env);
}

/* Checked mode: the program may touch these bytes from now on, or no longer. */
static inline void skep_session_show(struct skep_session *s, const void *base, size_t size,
				     uint32_t flags)
{
	if (__builtin_expect(s->checked, 0))
		skep_checker_add(&s->checker, base, size, flags);
}

static inline void skep_session_hide_all(struct skep_session *s)
{
	s->checker.nregions = 0;
}

#endif
