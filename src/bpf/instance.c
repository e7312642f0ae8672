/* SPDX-License-Identifier: Apache-2.0 */
/* Opening and closing instances. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "bpf/instance.h"
#include "bpf/sys.h"
#include "btf/btf.h"
#include "exec/timer.h"
#include "exec/slot.h"
#include "os/os.h"
#include "exec/heap.h"
#include "os/participant.h"

#define MAX_CPUS  4096
#define ALL_FLAGS (SKEP_F_INTERPRET | SKEP_F_CHECKED | SKEP_F_UNPRIVILEGED)

void skep_hold(struct skep *skep)
{
	atomic_fetch_add(&skep->holds, 1);
}

static void instance_free(struct skep *skep)
{
	skep_defer_poll(skep);
	skep_timers_free(skep);
	skep_envs_free(skep);
	if (skep->vmlinux)
		skep_btf_put(skep->vmlinux);
	skep_handles_close(skep);
	skep_objects_free(skep);
	skep_heap_close(skep);
	skep_slots_close(skep->slots);
	skep_seg_close(&skep->changes);
	skep_parts_close(skep->parts);
	skep_wipe_free(skep->mine, sizeof(*skep->mine));
	free((char *)skep->opts.pin_dir);
	pthread_mutex_destroy(&skep->printk_lock);
	pthread_rwlock_destroy(&skep->lock);
	free(skep);
}

void skep_release(struct skep *skep)
{
	if (atomic_fetch_sub(&skep->holds, 1) == 1)
		instance_free(skep);
}

/* Callers of other versions may pass a shorter or longer structure; what this version
 * does not know must be zero. */
static int copy_opts(struct skep_opts *to, const struct skep_opts *from)
{
	const unsigned char *bytes = (const unsigned char *)from;
	size_t i;

	if (!from)
		return 0;
	if (from->sz < sizeof(from->sz))
		return -EINVAL;
	for (i = sizeof(*to); i < from->sz; i++)
		if (bytes[i])
			return -E2BIG;
	memcpy(to, from, from->sz < sizeof(*to) ? from->sz : sizeof(*to));
	to->sz = sizeof(*to);
	if (to->flags & ~ALL_FLAGS || to->cpus > MAX_CPUS) {
		to->pin_dir = NULL;
		return -EINVAL;
	}
	if (to->kernel_btf_size > UINT32_MAX) {
		to->pin_dir = NULL;
		return -EINVAL;
	}
	if (to->pin_dir) {
		to->pin_dir = strdup(to->pin_dir);
		if (!to->pin_dir)
			return -ENOMEM;
	}
	return 0;
}

/* Somebody else's types instead of ours. */
static int take_types(struct skep *skep)
{
	struct skep_btf *btf;
	int err;

	if (!skep->opts.kernel_btf)
		return 0;
	err = skep_btf_parse_kernel(skep->opts.kernel_btf, (uint32_t)skep->opts.kernel_btf_size,
				    &btf);
	if (err)
		return err;
	skep->vmlinux = btf;
	skep->foreign = true;
	skep->opts.kernel_btf = NULL;
	return 0;
}

int skep_open(struct skep **out, const struct skep_opts *opts)
{
	struct skep *skep = calloc(1, sizeof(*skep));
	int err;

	if (!skep)
		return -ENOMEM;
	pthread_rwlock_init(&skep->lock, NULL);
	pthread_mutex_init(&skep->printk_lock, NULL);
	skep->holds = 1;
	skep->epoch = 1;
	skep->pid = getpid();
	skep->changes.fd = -1;
	err = copy_opts(&skep->opts, opts);
	if (err)
		goto fail;
	skep->cpus = skep->opts.cpus ? skep->opts.cpus : skep_possible_cpus();
	skep->mine = skep_wipe_alloc(sizeof(*skep->mine));
	if (!skep->mine) {
		err = -ENOMEM;
		goto fail;
	}
	*skep->mine = 1;
	err = skep_parts_create(&skep->parts);
	if (!err)
		err = skep_slots_create(&skep->slots, skep->parts, skep->cpus);
	if (!err)
		err = skep_handles_open(skep);
	if (!err)
		err = take_types(skep);
	if (err)
		goto fail;
	*out = skep;
	return 0;
fail:
	instance_free(skep);
	return err;
}

int skep_changes_fd(struct skep *skep)
{
	int err = 0;

	pthread_rwlock_wrlock(&skep->lock);
	if (!skep->changes.base)
		err = skep_seg_create(&skep->changes, "changes", 4096);
	pthread_rwlock_unlock(&skep->lock);
	return err ? err : skep_fd_reopen(skep->changes.fd, O_RDONLY, false);
}

void skep_changed(struct skep *skep)
{
	pthread_rwlock_rdlock(&skep->lock);
	if (skep->changes.base)
		atomic_fetch_add((_Atomic uint32_t *)skep->changes.base, 1);
	pthread_rwlock_unlock(&skep->lock);
}

int skep_check_owner(const struct skep *skep)
{
	return atomic_load_explicit(&skep->closed, memory_order_relaxed) || skep_forked(skep)
		       ? -ENOTCONN
		       : 0;
}

void skep_close(struct skep *skep)
{
	if (!skep || atomic_exchange(&skep->closed, true))
		return;
	/* A forked child has a copy, and locks in it may be held for ever. It goes with the
	 * process; what the copy names (pins, objects) is the parent's. */
	if (skep_forked(skep))
		return;
	skep_timers_stop(skep);
	skep_sys_close(skep);
	skep_handles_drop(skep);
	skep_defer_poll(skep);
	skep_release(skep);
}
