/* SPDX-License-Identifier: Apache-2.0 */
#include "bpf/sys.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>

#include "bpf/call.h"
#include "btf/btf.h"

#define NR_ENVS (sizeof(((struct skep_sys *)0)->envs) / sizeof(struct skep_env *))

struct skep_sys *skep_sys(struct skep *skep)
{
	struct skep_sys *sys = atomic_load(&skep->sys), *none = NULL;

	if (sys)
		return sys;
	sys = calloc(1, sizeof(*sys));
	if (!sys)
		return NULL;
	pthread_mutex_init(&sys->lock, NULL);
	if (atomic_compare_exchange_strong(&skep->sys, &none, sys))
		return sys;
	pthread_mutex_destroy(&sys->lock);
	free(sys);
	return none;
}

void skep_sys_close(struct skep *skep)
{
	struct skep_sys *sys = atomic_exchange(&skep->sys, NULL);

	if (!sys)
		return;
	skep_pins_drop(skep, sys);
	skep_hooks_drop(sys);
	while (sys->nenvs)
		skep_env_close(sys->envs[--sys->nenvs]);
	pthread_mutex_destroy(&sys->lock);
	free(sys);
}

struct skep_env *skep_call_env(struct skep_call *c)
{
	struct skep_sys *sys = skep_sys(c->skep);

	if (c->env || !sys)
		return c->env;
	/* A child's copy of the mutex may be held for ever. */
	if (!skep_forked(c->skep)) {
		pthread_mutex_lock(&sys->lock);
		if (sys->nenvs)
			c->env = sys->envs[--sys->nenvs];
		pthread_mutex_unlock(&sys->lock);
	}
	if (!c->env && skep_env_open(&c->env, c->skep))
		c->env = NULL;
	return c->env;
}

void skep_call_done(struct skep_call *c)
{
	struct skep_sys *sys;

	if (!c->env)
		return;
	sys = skep_sys(c->skep);
	if (!skep_forked(c->skep)) {
		pthread_mutex_lock(&sys->lock);
		if (sys->nenvs < NR_ENVS) {
			sys->envs[sys->nenvs++] = c->env;
			c->env = NULL;
		}
		pthread_mutex_unlock(&sys->lock);
	}
	if (c->env)
		skep_env_close(c->env);
	c->env = NULL;
}

/* ---- The caller's memory ---- */

int skep_user_tail_zero(uint64_t user, uint32_t known, uint32_t actual)
{
	uint8_t chunk[256];

	if (actual > 4096)
		return -E2BIG;
	for (uint32_t at = known; at < actual;) {
		uint32_t n = actual - at < sizeof(chunk) ? actual - at : sizeof(chunk);
		if (skep_user_read(chunk, user + at, n))
			return -EFAULT;
		for (uint32_t i = 0; i < n; i++)
			if (chunk[i])
				return -E2BIG;
		at += n;
	}
	return 0;
}

int skep_copy_name(char *dst, const char *src)
{
	memset(dst, 0, BPF_OBJ_NAME_LEN);
	for (unsigned i = 0; i < BPF_OBJ_NAME_LEN; i++) {
		uint8_t ch = (uint8_t)src[i];
		if (!ch)
			return 0;
		/* The kernel's letters are those of Latin-1. */
		bool ok = (ch >= 'a' && ch <= 'z') || (ch >= 'A' && ch <= 'Z') ||
			  (ch >= '0' && ch <= '9') || ch == '_' || ch == '.' ||
			  (ch >= 0xc0 && ch != 0xd7 && ch != 0xf7);
		if (!ok)
			return -EINVAL;
		dst[i] = src[i];
	}
	return -EINVAL;
}

/* ---- Objects behind descriptors ---- */

int skep_wrong_fd(uint32_t fd)
{
	int mine = skep_caller_fd((int)fd);

	return mine < 0 || fcntl(mine, F_GETFD) < 0 ? -EBADF : -EINVAL;
}

int skep_get_map(struct skep *skep, uint32_t fd, struct skep_map **out, bool *readable,
		 bool *writable)
{
	bool r, w;
	struct skep_object *obj;
	int err = skep_object_get_mode(skep, (int)fd, SKEP_KIND_MAP, &obj, &r, &w);

	if (err)
		return err;
	*out = (struct skep_map *)obj;
	skep_map_restore(*out);
	if (readable)
		*readable = r;
	if (writable)
		*writable = w && !atomic_load(&(*out)->frozen);
	return 0;
}

int skep_get_prog(struct skep *skep, uint32_t fd, struct skep_prog **out)
{
	struct skep_object *obj;
	int err = skep_object_get(skep, (int)fd, SKEP_KIND_PROG, &obj);

	if (!err)
		*out = (struct skep_prog *)obj;
	return err;
}

int skep_get_btf(struct skep *skep, uint32_t fd, struct skep_btf **out)
{
	struct skep_object *obj;
	int err = skep_object_get(skep, (int)fd, SKEP_KIND_BTF, &obj);

	if (!err)
		*out = (struct skep_btf *)obj;
	return err;
}

long skep_give_fd(struct skep_object *obj, int flags)
{
	struct skep_caller *caller = skep_caller_current();
	long fd = skep_object_fd(obj, flags);

	skep_object_put(obj);
	if (caller && fd >= 0)
		caller->gave = true;
	return fd;
}
