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
#include <sys/eventfd.h>
#include <unistd.h>

#include "bpf/call.h"
#include "bpf/link.h"
#include "bpf/mprog.h"
#include "net/wire.h"
#include "prog/run.h"

/* Where programs are. */
enum stage { XDP, IN, OUT, STAGES };

/* What runs at a stage: runners, and whose they are. */
struct chain {
	struct skep_runner *run[SKEP_MPROG_MAX];
	struct skep_prog *prog[SKEP_MPROG_MAX];
	uint32_t n;
};

struct skep_net_hook {
	struct skep *skep;
	struct skep_wire wire;
	pthread_t thread;
	volatile sig_atomic_t stop;
	struct chain chains[STAGES]; /* the thread's */
	struct skep_mprog in, out; /* tcx */
	pthread_mutex_t lock; /* everything below */
	pthread_cond_t changed;
	struct skep_prog *prog; /* XDP, referenced, or NULL */
	struct skep_link *link; /* whose it is; NULL: attached by netlink */
	enum stage stage; /* of the change that is wanted: */
	struct skep_prog *const *progs;
	uint32_t nprogs;
	unsigned wanted, running; /* its number, and that of the one that is done */
	int err; /* of the last change */
	bool ended; /* the thread has: an interface went away */
};

/* ---- The wire's thread ---- */

/* Takes prog's runner out of the chain; NULL: it has none. */
static struct skep_runner *take_runner(struct chain *c, const struct skep_prog *prog)
{
	for (uint32_t i = 0; i < c->n; i++)
		if (c->prog[i] == prog && c->run[i]) {
			struct skep_runner *r = c->run[i];
			c->run[i] = NULL;
			return r;
		}
	return NULL;
}

/* Programs that ran before keep their runners, so that taking one out can't fail. */
static int change_chain(struct skep_net_hook *h)
{
	struct chain *now = &h->chains[h->stage], was = *now, fresh = {.n = 0};
	int err = 0;

	for (uint32_t i = 0; i < h->nprogs && !err; i++) {
		bool old = false;
		for (uint32_t k = 0; k < was.n; k++)
			old |= was.prog[k] == h->progs[i];
		if (old)
			continue;
		err = skep_runner_open_prog(&fresh.run[fresh.n], h->progs[i]);
		if (!err)
			fresh.prog[fresh.n++] = h->progs[i];
	}
	if (err) {
		while (fresh.n)
			skep_runner_close(fresh.run[--fresh.n]);
		return err;
	}
	for (uint32_t i = 0; i < h->nprogs; i++) {
		struct skep_runner *r = take_runner(&was, h->progs[i]);
		now->run[i] = r ? r : take_runner(&fresh, h->progs[i]);
		now->prog[i] = h->progs[i];
	}
	now->n = h->nprogs;
	for (uint32_t i = 0; i < was.n; i++)
		skep_runner_close(was.run[i]);
	if (h->stage == XDP)
		skep_wire_use(&h->wire, now->n ? now->run[0] : NULL, BPF_PROG_TYPE_XDP);
	else
		skep_wire_chain(&h->wire, h->stage == IN ? &h->wire.in : &h->wire.out, now->run,
				now->n);
	return 0;
}

static void change(void *arg)
{
	struct skep_net_hook *h = arg;
	eventfd_t n;

	pthread_mutex_lock(&h->lock);
	if (h->wanted != h->running) {
		eventfd_read(h->wire.wake, &n);
		h->err = change_chain(h);
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

	for (int s = 0; s < STAGES; s++)
		while (h->chains[s].n)
			skep_runner_close(h->chains[s].run[--h->chains[s].n]);
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

/* Has the thread run these programs. Where it has ended, fewer are fine and more are -ENODEV. */
static int set_stage(struct skep_net_hook *h, enum stage stage, struct skep_prog *const *progs,
		     uint32_t n, bool more)
{
	if (h->ended)
		return more ? -ENODEV : 0;
	while (!h->ended && h->running != h->wanted) /* another stage's */
		pthread_cond_wait(&h->changed, &h->lock);
	h->stage = stage;
	h->progs = progs;
	h->nprogs = n;
	unsigned mine = ++h->wanted;
	eventfd_write(h->wire.wake, 1);
	while (!h->ended && h->running != mine)
		pthread_cond_wait(&h->changed, &h->lock);
	return h->ended && !more ? 0 : h->err;
}

/* XDP; prog NULL: none. The reference is taken here. */
static int use(struct skep_net_hook *h, struct skep_prog *prog, struct skep_link *link)
{
	struct skep_prog *was = h->prog;
	int err = set_stage(h, XDP, &prog, prog ? 1 : 0, prog);

	if (err)
		return err;
	if (prog)
		skep_object_ref(&prog->obj);
	h->prog = prog;
	h->link = link;
	if (was)
		skep_object_put(&was->obj);
	return 0;
}

static int run_list(struct skep_net_hook *h, enum stage stage, struct skep_prog *const *progs,
		    uint32_t n)
{
	const struct skep_mprog *m = stage == IN ? &h->in : &h->out;
	bool more = n > m->n;
	int err;

	for (uint32_t i = 0; i < n && !more; i++) { /* one in another's place */
		bool there = false;
		for (uint32_t k = 0; k < m->n; k++)
			there |= m->e[k].prog == progs[i];
		more = !there;
	}
	pthread_mutex_lock(&h->lock);
	err = set_stage(h, stage, progs, n, more);
	pthread_mutex_unlock(&h->lock);
	return err;
}

static int run_in(void *arg, struct skep_prog *const *progs, uint32_t n)
{
	return run_list(arg, IN, progs, n);
}

static int run_out(void *arg, struct skep_prog *const *progs, uint32_t n)
{
	return run_list(arg, OUT, progs, n);
}

/* ---- XDP links ---- */

static int attach(struct skep_link *link, const union bpf_attr *attr)
{
	struct skep_net_hook *h = link->arg;
	uint32_t flags = attr->link_create.flags;
	int err;

	if (flags & ~(uint32_t)XDP_FLAGS_MODES || __builtin_popcount(flags) > 1)
		return -EINVAL;
	if (flags & (XDP_FLAGS_DRV_MODE | XDP_FLAGS_HW_MODE))
		return -EOPNOTSUPP;
	pthread_mutex_lock(&h->lock);
	err = h->prog ? -EBUSY : use(h, link->prog, link);
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

static const struct skep_hook xdp = {.name = "xdp",
				     .link_type = BPF_LINK_TYPE_XDP,
				     .attach = attach,
				     .detach = detach,
				     .update = update,
				     .can_detach = true};

static const uint32_t types[STAGES] = {
	[XDP] = BPF_XDP, [IN] = BPF_TCX_INGRESS, [OUT] = BPF_TCX_EGRESS};

/* ---- Netlink ---- */

static int replace(struct skep_net_hook *h, struct skep_prog *prog, uint32_t flags,
		   const struct skep_prog *expected)
{
	if (h->link)
		return -EBUSY;
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
	if (h->wire.wake > 0)
		close(h->wire.wake);
	skep_mprog_clear(&h->in);
	skep_mprog_clear(&h->out);
	if (h->wire.b)
		skep_port_close(h->wire.b);
	if (h->wire.a)
		skep_port_close(h->wire.a);
	pthread_cond_destroy(&h->changed);
	pthread_mutex_destroy(&h->lock);
	free(h);
}

static int enter(struct skep_net_hook *h, enum stage stage)
{
	const struct skep_hook *hook = stage == XDP ? &xdp : &skep_mprog_tcx;
	void *arg = stage == XDP ? (void *)h : stage == IN ? &h->in : &h->out;

	/* Nothing goes out of a port that is only watched. */
	if (stage == OUT && !h->wire.b)
		return 0;
	return skep_hook_register(h->skep, types[stage], skep_net_hook_ifindex(h), hook, arg);
}

static void leave(struct skep_net_hook *h, int n)
{
	while (n--)
		skep_hook_unregister(h->skep, types[n], skep_net_hook_ifindex(h));
}

int skep_net_hook_open(struct skep_net_hook **out, struct skep *skep, const char *a, const char *b,
		       char *why, size_t len)
{
	struct skep_net_hook *h = calloc(1, sizeof(*h));
	int n = 0, err = 0;

	if (!h) {
		snprintf(why, len, "no memory");
		return -ENOMEM;
	}
	h->skep = skep;
	skep_mprog_init(&h->in, skep, run_in, h);
	skep_mprog_init(&h->out, skep, run_out, h);
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
	h->wire.wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (!err && h->wire.wake < 0) {
		err = -errno;
		snprintf(why, len, "eventfd: %s", strerror(-err));
	}
	if (!err)
		err = skep_port_open(&h->wire.a, a, why, len);
	if (!err && b)
		err = skep_port_open(&h->wire.b, b, why, len);
	for (; !err && n < STAGES; n++) {
		err = enter(h, n);
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
		leave(h, n);
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
	leave(h, STAGES);
	pthread_mutex_lock(&h->lock);
	if (h->prog)
		use(h, NULL, NULL);
	pthread_mutex_unlock(&h->lock);
	h->stop = 1;
	pthread_join(h->thread, NULL);
	release(h);
}
