/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Environments. They form a list that only grows at its head; a closed one stays in it
 * and is opened again. So the list can be walked at any time without a lock, also by a
 * child that was forked while somebody changed it.
 */
#include <errno.h>
#include <stdatomic.h>
#include <stdlib.h>

#include "bpf/instance.h"
#include "exec/exec.h"
#include "exec/slot.h"
#include "os/os.h"

static struct skep_env *reopen(struct skep *skep)
{
	struct skep_env *env;

	for (env = atomic_load(&skep->envs); env; env = env->next) {
		uint32_t closed = 0;

		if (!atomic_load_explicit(&env->open, memory_order_relaxed) &&
		    atomic_compare_exchange_strong(&env->open, &closed, 1))
			return env;
	}
	return NULL;
}

int skep_env_open(struct skep_env **out, struct skep *skep)
{
	struct skep_env *env;

	if (atomic_load(&skep->closed))
		return -ENOTCONN;
	skep_thread_prepare();
	env = reopen(skep);
	if (!env) {
		/* In cache lines of its own: others read the epoch in there. */
		if (posix_memalign((void **)&env, 64, (sizeof(*env) + 63) & ~(size_t)63))
			return -ENOMEM;
		*env = (struct skep_env){.skep = skep, .open = 1};
		env->next = atomic_load(&skep->envs);
		while (!atomic_compare_exchange_weak(&skep->envs, &env->next, env))
			;
	}
	env->prandom = skep_random() | 1;
	skep_hold(skep);
	*out = env;
	return 0;
}

void skep_env_close(struct skep_env *env)
{
	struct skep *skep;

	if (!env)
		return;
	skep = env->skep;
	free(env->scratch);
	env->scratch = NULL;
	env->prog = NULL;
	env->call = NULL;
	env->clone = NULL;
	env->clone_arg = NULL;
	env->ctx = NULL;
	env->checker = NULL;
	env->jit_stack = NULL;
	env->nreserved = 0;
	env->tail_calls = 0;
	env->no_reclaim = false;
	env->redirect = (struct skep_redirect){0};
	atomic_store(&env->open, 0);
	skep_defer_poll(skep);
	skep_release(skep);
}

void skep_envs_free(struct skep *skep)
{
	struct skep_env *env = atomic_exchange(&skep->envs, NULL), *next;

	for (; env; env = next) {
		next = env->next;
		free(env->scratch);
		free(env->reserved);
		free(env);
	}
}
