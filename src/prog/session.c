/* SPDX-License-Identifier: Apache-2.0 */
/* Sessions: what is not needed for every run. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "os/os.h"
#include "prog/run.h"

int skep_session_open(struct skep_session *s, struct skep_prog *prog)
{
	int err;

	memset(s, 0, sizeof(*s));
	/* Another kernel's types say where things lie; here they lie elsewhere. */
	if (prog->obj.skep->foreign)
		return -EOPNOTSUPP;
	err = skep_env_open(&s->env, prog->obj.skep);
	if (err)
		return err;
	s->prog = prog;
	s->checked = prog->obj.skep->opts.flags & SKEP_F_CHECKED;
	s->env->call = skep_call;
	if (s->checked)
		s->env->checker = &s->checker;
	return 0;
}

void skep_session_close(struct skep_session *s)
{
	skep_env_close(s->env);
	free(s->checker.regions);
	memset(s, 0, sizeof(*s));
}

/* A verified program that touched what it must not is a bug of ours: say so loudly. */
static void report(struct skep_session *s)
{
	struct skep *skep = s->env->skep;
	char text[sizeof(s->checker.fault) + 96];
	int len = snprintf(text, sizeof(text), "skep: checked mode: program '%s': %s\n",
			   s->prog->name, s->checker.fault);

	pthread_mutex_lock(&skep->printk_lock);
	if (skep->opts.printk)
		skep->opts.printk(skep->opts.printk_arg, text, (size_t)len);
	else
		fputs(text, stderr);
	pthread_mutex_unlock(&skep->printk_lock);
	s->checker.fault[0] = 0;
}

uint64_t skep_session_run_slow(struct skep_session *s, void *ctx)
{
	struct skep_env *env = s->env;
	bool timed = atomic_load_explicit(&env->skep->stats_enabled, memory_order_relaxed);
	uint64_t start = timed ? skep_clock_mono() : 0, ret;
	struct skep_prog_stats *stats;

	ret = s->prog->run(ctx, env);
	if (timed && s->prog->stats) {
		/* The slot is ours alone; others only read. */
		stats = &s->prog->stats[env->cpu];
		atomic_fetch_add_explicit(&stats->cnt, 1, memory_order_relaxed);
		atomic_fetch_add_explicit(&stats->nsecs, skep_clock_mono() - start,
					  memory_order_relaxed);
	}
	if (s->checked && s->checker.fault[0])
		report(s);
	return ret;
}
