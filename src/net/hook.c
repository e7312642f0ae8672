/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The wire's thread changes its program itself, between two batches; who attaches or
 * detaches says which one and waits until it has: so no frame of a detached program is under way,
 * and a frame that comes after an attach is seen.
 */
#include "net/hook.h"

#include <errno.h>
#include <linux/if_link.h>
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bpf/call.h"
#include "bpf/link.h"
#include "net/wire.h"
#include "prog/run.h"

struct skep_net_hook {
	struct skep *skep;
	struct skep_wire wire;
	pthread_t thread;
	volatile sig_atomic_t stop;
	pthread_mutex_t lock; /* everything below */
	pthread_cond_t changed;
	struct skep_prog *prog; /* what shall run, referenced, or NULL */
	struct skep_link *link; /* whose it is; NULL: attached by netlink */
	unsigned wanted, running; /* the number of the change, and of the one that is done */
	int err; /* of the last change */
	bool ended; /* the thread has: an interface went away */
};

/* ---- The wire's thread ---- */

static void change(void *arg)
{
	struct skep_net_hook *h = arg;
	struct skep_runner *runner = NULL;

	pthread_mutex_lock(&h->lock);
	if (h->wanted != h->running) {
		h->err = h->prog ? skep_runner_open_prog(&runner, h->prog) : 0;
		if (!h->err) {
			skep_runner_close(h->wire.runner);
			skep_wire_use(&h->wire, runner, h->prog ? h->prog->type : 0);
		}
		h->running = h->wanted;
		pthread_cond_broadcast(&h->changed);
	}
	pthread_mutex_unlock(&h->lock);
}

static void *run(void *arg)
{
	struct skep_net_hook *h = arg;
	struct skep_wire_stats stats;
	int err = skep_wire_run(&h->wire, &stats);

	skep_runner_close(h->wire.runner);
	h->wire.runner = NULL;
	pthread_mutex_lock(&h->lock);
	h->ended = true;
	h->running = h->wanted;
	h->err = -ENODEV;
	pthread_cond_broadcast(&h->changed);
	pthread_mutex_unlock(&h->lock);
	if (err)
		fprintf(stderr, "skep: %s: %s\n", skep_port_name(h->wire.a), strerror(-err));
	return NULL;
}

/* ---- Changes; under h->lock ---- */

/* prog NULL: none. The reference is taken here. */
static int use(struct skep_net_hook *h, struct skep_prog *prog, struct skep_link *link)
{
	struct skep_prog *was = h->prog;
	struct skep_link *was_link = h->link;

	if (h->ended && prog)
		return -ENODEV;
	if (prog)
		skep_object_ref(&prog->obj);
	h->prog = prog;
	h->link = link;
	h->wanted++;
	while (!h->ended && h->running != h->wanted)
		pthread_cond_wait(&h->changed, &h->lock);
	if (h->ended && !prog)
		h->err = 0;
	if (h->err) {
		h->prog = was;
		h->link = was_link;
		was = prog;
	}
	if (was)
		skep_object_put(&was->obj);
	return h->err;
}

/* ---- Links ---- */

static int attach(struct skep_link *link, const union bpf_attr *attr)
{
	struct skep_net_hook *h = link->arg;
	uint32_t flags = attr->link_create.flags;
	int err;

	if (link->attach_type == BPF_XDP) {
		if (flags & ~(uint32_t)XDP_FLAGS_MODES || __builtin_popcount(flags) > 1)
			return -EINVAL;
		if (flags & (XDP_FLAGS_DRV_MODE | XDP_FLAGS_HW_MODE))
			return -EOPNOTSUPP;
	} else if (flags || attr->link_create.tcx.relative_fd ||
		   attr->link_create.tcx.expected_revision > 1) {
		/* There is no other program to be before or behind. */
		return flags & ~(uint32_t)(BPF_F_BEFORE | BPF_F_AFTER) ? -EINVAL : -ESTALE;
	}
	pthread_mutex_lock(&h->lock);
	/* The kernel would take more of tcx; a full list is what it has for this. */
	err = !h->prog ? use(h, link->prog, link) : link->attach_type == BPF_XDP ? -EBUSY : -ERANGE;
	pthread_mutex_unlock(&h->lock);
	return err;
}

static void detach(struct skep_link *link)
{
	struct skep_net_hook *h = link->arg;

	pthread_mutex_lock(&h->lock);
	if (h->link == link)
		use(h, NULL, NULL);
	pthread_mutex_unlock(&h->lock);
}

static int update(struct skep_link *link, struct skep_prog *next, uint32_t flags)
{
	struct skep_net_hook *h = link->arg;
	int err;

	pthread_mutex_lock(&h->lock);
	err = h->link == link ? use(h, next, link) : -ENOLINK;
	pthread_mutex_unlock(&h->lock);
	return err;
}

static const struct skep_hook hooks[] = {
	{.name = "xdp",
	 .link_type = BPF_LINK_TYPE_XDP,
	 .attach = attach,
	 .detach = detach,
	 .update = update,
	 .can_detach = true},
	{.name = "tcx",
	 .link_type = BPF_LINK_TYPE_TCX,
	 .attach = attach,
	 .detach = detach,
	 .update = update,
	 .can_detach = true},
};
static const uint32_t types[] = {BPF_XDP, BPF_TCX_INGRESS};
#define HOOKS (sizeof(hooks) / sizeof(hooks[0]))

/* ---- Netlink ---- */

static int replace(struct skep_net_hook *h, struct skep_prog *prog, uint32_t flags,
		   const struct skep_prog *expected)
{
	if (h->link && h->link->attach_type == BPF_XDP)
		return -EBUSY;
	if (h->prog && h->prog->type != BPF_PROG_TYPE_XDP)
		return prog ? -EBUSY : 0;
	if (flags & XDP_FLAGS_REPLACE && h->prog != expected)
		return -EEXIST;
	if (prog && flags & XDP_FLAGS_UPDATE_IF_NOEXIST && h->prog)
		return -EBUSY;
	return prog == h->prog ? 0 : use(h, prog, NULL);
}

int skep_net_hook_xdp(struct skep_net_hook *h, int fd, uint32_t flags, int expected)
{
	struct skep_prog *prog = NULL, *old = NULL;
	int err = 0;

	if (flags & ~(uint32_t)XDP_FLAGS_MASK ||
	    __builtin_popcount(flags & (uint32_t)XDP_FLAGS_MODES) > 1 ||
	    ((flags & XDP_FLAGS_REPLACE) && (flags & XDP_FLAGS_UPDATE_IF_NOEXIST)))
		return -EINVAL;
	if (flags & (XDP_FLAGS_DRV_MODE | XDP_FLAGS_HW_MODE))
		return -EOPNOTSUPP;
	if (fd >= 0)
		err = skep_get_prog(h->skep, (uint32_t)fd, &prog);
	if (!err && flags & XDP_FLAGS_REPLACE && expected >= 0)
		err = skep_get_prog(h->skep, (uint32_t)expected, &old);
	if (!err && prog && prog->type != BPF_PROG_TYPE_XDP)
		err = -EINVAL;
	if (!err) {
		pthread_mutex_lock(&h->lock);
		err = replace(h, prog, flags, old);
		pthread_mutex_unlock(&h->lock);
	}
	if (prog)
		skep_object_put(&prog->obj);
	if (old)
		skep_object_put(&old->obj);
	return err;
}

uint32_t skep_net_hook_ifindex(const struct skep_net_hook *h)
{
	return skep_port_ifindex(h->wire.a);
}

/* ---- Opening and closing ---- */

static void release(struct skep_net_hook *h)
{
	if (h->wire.b)
		skep_port_close(h->wire.b);
	if (h->wire.a)
		skep_port_close(h->wire.a);
	pthread_cond_destroy(&h->changed);
	pthread_mutex_destroy(&h->lock);
	free(h);
}

static void unregister(struct skep_net_hook *h, size_t n)
{
	while (n--)
		skep_hook_unregister(h->skep, types[n], skep_net_hook_ifindex(h));
}

int skep_net_hook_open(struct skep_net_hook **out, struct skep *skep, const char *a, const char *b,
		       char *why, size_t len)
{
	struct skep_net_hook *h = calloc(1, sizeof(*h));
	size_t n = 0;
	int err = 0;

	if (!h) {
		snprintf(why, len, "no memory");
		return -ENOMEM;
	}
	h->skep = skep;
	pthread_mutex_init(&h->lock, NULL);
	pthread_cond_init(&h->changed, NULL);
	h->wire.stop = &h->stop;
	h->wire.idle = change;
	h->wire.idle_arg = h;
	if (b && !strcmp(a, b)) {
		snprintf(why, len, "%s is not its own other side", a);
		err = -EINVAL;
	} else if (b) {
		err = skep_port_check_free(a, why, len);
		if (!err)
			err = skep_port_check_free(b, why, len);
	}
	if (!err)
		err = skep_port_open(&h->wire.a, a, why, len);
	if (!err && b)
		err = skep_port_open(&h->wire.b, b, why, len);
	for (; !err && n < HOOKS; n++) {
		err = skep_hook_register(skep, types[n], skep_net_hook_ifindex(h), &hooks[n], h);
		if (err) {
			snprintf(why, len, "%s can't be a port: %s", a, strerror(-err));
			break;
		}
	}
	if (!err) {
		err = -pthread_create(&h->thread, NULL, run, h);
		if (err)
			snprintf(why, len, "no thread: %s", strerror(-err));
	}
	if (err) {
		unregister(h, n);
		release(h);
		return err;
	}
	*out = h;
	return 0;
}

void skep_net_hook_close(struct skep_net_hook *h)
{
	if (!h)
		return;
	unregister(h, HOOKS);
	pthread_mutex_lock(&h->lock);
	if (h->prog)
		use(h, NULL, NULL);
	pthread_mutex_unlock(&h->lock);
	h->stop = 1;
	pthread_join(h->thread, NULL);
	release(h);
}
