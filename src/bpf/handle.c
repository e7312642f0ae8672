/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Handles: giving them out, and finding out that nobody holds them any more.
 *
 * Each descriptor given out is an open file description of its own with a lock on a
 * byte of its own; as long as any is left anywhere, asking the inode for locks finds it.
 * A watch says when to ask. Its word comes a moment before the lock goes (and two
 * closings may be one event), so an object about which there was word is asked for a
 * while after it, and everything is asked now and then, to be on the safe side.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

#include "bpf/instance.h"
#include "exec/slot.h"
#include "os/os.h"

#define FIRST_BYTE (1ull << 61)
#define BYTES      (1ull << 61)
#define WD_BUCKETS 1024u
#define BATCH      64
#define FRESH_NS   10000000ull /* after word of a closing: ask at every occasion */
#define WINDOW_NS  1000000000ull /* then at every tick of the coarse clock, until here */
#define FULL_NS    10000000000ull
#define ALWAYS     UINT64_MAX /* closed_ns of what can't be watched */

struct skep_handles {
	pthread_mutex_t lock;
	int watch;
	uint64_t byte; /* the next handle's, counted from FIRST_BYTE */
	struct skep_object *pending;
	uint64_t full_ns; /* when everything was asked last */
	struct skep_object *by_wd[WD_BUCKETS];
};

int skep_handles_open(struct skep *skep)
{
	struct skep_handles *h = calloc(1, sizeof(*h));

	if (!h)
		return -ENOMEM;
	pthread_mutex_init(&h->lock, NULL);
	/* Without a watch (there is a limit per user) everything is asked each time. */
	h->watch = skep_watch_open();
	h->byte = skep_random() % BYTES;
	h->full_ns = skep_clock_coarse();
	skep->handles = h;
	return 0;
}

void skep_handles_close(struct skep *skep)
{
	struct skep_handles *h = skep->handles;

	if (!h)
		return;
	skep_watch_close(h->watch);
	pthread_mutex_destroy(&h->lock);
	free(h);
}

/* ---- Watches ---- */

static struct skep_object **wd_bucket(struct skep_handles *h, int wd)
{
	return &h->by_wd[(unsigned)wd % WD_BUCKETS];
}

static void wd_unlink(struct skep_handles *h, struct skep_object *obj)
{
	struct skep_object **p = wd_bucket(h, obj->wd);

	while (*p && *p != obj)
		p = &(*p)->next_wd;
	if (*p)
		*p = obj->next_wd;
	obj->wd = -1;
}

static void set_pending(struct skep_handles *h, struct skep_object *obj, uint64_t now)
{
	if (obj->closed_ns != ALWAYS)
		obj->closed_ns = now;
	obj->asked_ns = 0;
	if (obj->pending)
		return;
	obj->pending = true;
	obj->next_pending = h->pending;
	h->pending = obj;
}

static void watch(struct skep_handles *h, struct skep_object *obj)
{
	int wd = h->watch < 0 ? -1 : skep_watch_add(h->watch, obj->fd);

	if (wd < 0) {
		obj->closed_ns = ALWAYS;
		set_pending(h, obj, ALWAYS);
		return;
	}
	obj->wd = wd;
	obj->next_wd = *wd_bucket(h, wd);
	*wd_bucket(h, wd) = obj;
}

/* obj is retired. */
void skep_handle_forget(struct skep_object *obj)
{
	struct skep_handles *h = obj->skep->handles;
	struct skep_object **p;

	pthread_mutex_lock(&h->lock);
	if (obj->wd >= 0) {
		skep_watch_remove(h->watch, obj->wd);
		wd_unlink(h, obj);
	}
	for (p = &h->pending; *p && obj->pending; p = &(*p)->next_pending)
		if (*p == obj) {
			*p = obj->next_pending;
			break;
		}
	obj->pending = false;
	pthread_mutex_unlock(&h->lock);
}

/* ---- Giving out ---- */

/* The access mode of a handle's description is what the handle may do. Where the memory is
 * not to be mapped writable, all descriptions are read-only, and flags without meaning for
 * a memfd tell. */
#define MAY_WRITE    O_NONBLOCK
#define MAY_NOT_READ O_APPEND

static int open_flags(const struct skep_object *obj, int flags)
{
	if (flags == SKEP_FD_AGAIN)
		return O_RDWR | (obj->kind == SKEP_KIND_LINK ? O_APPEND : 0);
	if (obj->read_only_mem)
		return O_RDONLY | (flags == BPF_F_RDONLY ? 0 : MAY_WRITE) |
		       (flags == BPF_F_WRONLY ? MAY_NOT_READ : 0);
	return flags == BPF_F_RDONLY ? O_RDONLY : flags == BPF_F_WRONLY ? O_WRONLY : O_RDWR;
}

int skep_handle_mode(const struct skep_object *obj, int fd, bool *readable, bool *writable)
{
	int fl = skep_fd_flags(fd);

	if (fl < 0)
		return -EBADF;
	*readable = (fl & O_ACCMODE) != O_WRONLY;
	*writable = (fl & O_ACCMODE) != O_RDONLY;
	if (obj->read_only_mem && (fl & O_ACCMODE) == O_RDONLY) {
		*readable = !(fl & MAY_NOT_READ);
		*writable = fl & MAY_WRITE;
	}
	return 0;
}

/* An open file description of its own, or, where that can't be had, our own once more:
 * then nothing tells whether a user still holds it. */
static int give(struct skep_object *obj, int flags)
{
	struct skep_handles *h = obj->skep->handles;
	int fd = skep_fd_reopen(obj->fd, open_flags(obj, flags), false), tries, err;

	if (fd == -EBADF || fd == -EMFILE || fd == -ENFILE || fd == -ENOMEM)
		return fd;
	if (fd < 0) {
		if (flags && flags != SKEP_FD_AGAIN)
			return -EOPNOTSUPP;
		fd = fcntl(obj->fd, F_DUPFD_CLOEXEC, 0);
		if (fd < 0)
			return -errno;
		obj->keep = true;
		return fd;
	}
	/* Only a user's own locks can be in the way. */
	for (tries = 0; tries < 8; tries++) {
		err = skep_fd_hold(fd, FIRST_BYTE + h->byte);
		h->byte = (h->byte + 1) % BYTES;
		if (err != -EAGAIN)
			break;
	}
	if (err == -ENOMEM || err == -ENOLCK) {
		close(fd);
		return err;
	}
	if (err)
		obj->keep = true;
	return fd;
}

int skep_object_fd(struct skep_object *obj, int flags)
{
	struct skep_handles *h = obj->skep->handles;
	int err = skep_check_owner(obj->skep), fd;

	if (err)
		return err;
	if ((flags & ~(int)(BPF_F_RDONLY | BPF_F_WRONLY) && flags != SKEP_FD_AGAIN) ||
	    flags == (int)(BPF_F_RDONLY | BPF_F_WRONLY))
		return -EINVAL;

	/* The mutex also keeps a collection from asking before the lock is there. */
	pthread_mutex_lock(&h->lock);
	if (!skep_fd_is(obj->fd, obj->dev, obj->ino)) {
		obj->lost = true;
		fd = -EBADF;
		goto out;
	}
	if (flags && flags != SKEP_FD_AGAIN)
		obj->modes = true;
	fd = give(obj, flags);
	if (fd < 0)
		goto out;
	if (!obj->user) {
		obj->user = true;
		skep_object_user_ref(obj);
		if (obj->wd < 0 && obj->closed_ns != ALWAYS)
			watch(h, obj);
		else if (obj->closed_ns == ALWAYS)
			set_pending(h, obj, ALWAYS);
	}
out:
	pthread_mutex_unlock(&h->lock);
	return fd;
}

/* A user's handle helps to get back what was closed under us. */
void skep_handle_adopt(struct skep_object *obj, int fd)
{
	struct skep_handles *h = obj->skep->handles;
	int own;

	if (skep_forked(obj->skep))
		return;
	pthread_mutex_lock(&h->lock);
	if (obj->lost) {
		own = skep_fd_reopen(fd, O_RDWR, true);
		if (own >= 0 && skep_fd_is(own, obj->dev, obj->ino)) {
			obj->fd = own;
			obj->own_fd = true;
			obj->lost = false;
		} else if (own >= 0) {
			close(own);
		}
	}
	pthread_mutex_unlock(&h->lock);
}

/* ---- Collecting ---- */

static bool held(struct skep_object *obj)
{
	if (obj->keep)
		return true;
	/* Who can't ask must believe that it is. */
	if (!skep_fd_is(obj->fd, obj->dev, obj->ino)) {
		obj->lost = true;
		return true;
	}
	return skep_fd_held(obj->fd, FIRST_BYTE, 0, NULL) != 0;
}

/* ALWAYS ones stay in the list of pending ones as long as users hold them. */
static bool ask_again(struct skep_object *obj, uint64_t now)
{
	return obj->closed_ns == ALWAYS || now - obj->closed_ns < WINDOW_NS;
}

/* Objects that no user holds, at most BATCH; the users' reference is the caller's to put. */
static uint32_t sweep(struct skep_handles *h, uint64_t now, struct skep_object **dead)
{
	struct skep_object **p = &h->pending, *obj;
	uint32_t n = 0;
	bool yes;

	while ((obj = *p) && n < BATCH) {
		bool fresh = obj->closed_ns != ALWAYS && now - obj->closed_ns < FRESH_NS;

		if (obj->user && obj->asked_ns == now && !fresh) {
			p = &obj->next_pending;
			continue;
		}
		obj->asked_ns = now;
		yes = obj->user && held(obj);
		if (yes && ask_again(obj, now)) {
			p = &obj->next_pending;
			continue;
		}
		*p = obj->next_pending;
		obj->pending = false;
		if (obj->user && !yes) {
			obj->user = false;
			dead[n++] = obj;
		}
	}
	return n;
}

struct walk {
	struct skep_handles *h;
	uint64_t now;
	bool rewatch;
};

static void walk_one(struct skep_object *obj, void *arg)
{
	struct walk *w = arg;

	if (!obj->user)
		return;
	if (w->rewatch && obj->wd >= 0) {
		wd_unlink(w->h, obj);
		watch(w->h, obj);
	}
	set_pending(w->h, obj, w->now);
}

static void read_events(struct skep *skep, uint64_t now)
{
	struct skep_handles *h = skep->handles;
	struct walk all = {.h = h, .now = now};
	int wds[64], n = 0, i;

	while (h->watch >= 0 && (n = skep_watch_pending(h->watch)) > 0) {
		n = skep_watch_read(h->watch, wds, 64);
		if (n <= 0)
			break;
		for (i = 0; i < n; i++) {
			struct skep_object *obj = *wd_bucket(h, wds[i]);

			while (obj && obj->wd != wds[i])
				obj = obj->next_wd;
			if (obj)
				set_pending(h, obj, now);
		}
	}
	if (n == -EBADF) { /* closed under us */
		h->watch = skep_watch_open();
		all.rewatch = true;
	}
	if (n < 0 || now - h->full_ns > FULL_NS) {
		h->full_ns = now;
		skep_objects_walk(skep, walk_one, &all);
	}
}

void skep_collect(struct skep *skep)
{
	struct skep_handles *h = skep->handles;
	struct skep_object *dead[BATCH];
	uint32_t n, i;

	if (skep_check_owner(skep))
		return;
	skep_seg_restore(&skep->changes);
	skep_slots_restore(skep->slots);
	do {
		uint64_t now = skep_clock_coarse();

		pthread_mutex_lock(&h->lock);
		read_events(skep, now);
		n = sweep(h, now, dead);
		pthread_mutex_unlock(&h->lock);
		/* Without the mutex: destroying one object may put others. */
		for (i = 0; i < n; i++)
			skep_object_user_put(dead[i]);
	} while (n == BATCH);
	skep_defer_poll(skep);
}

struct drop {
	struct skep_object *dead[BATCH];
	uint32_t n;
};

static void drop_one(struct skep_object *obj, void *arg)
{
	struct drop *d = arg;

	if (!obj->user || d->n == BATCH)
		return;
	obj->user = false;
	d->dead[d->n++] = obj;
}

void skep_handles_drop(struct skep *skep)
{
	struct skep_handles *h = skep->handles;
	struct skep_object *obj;
	struct drop d;
	uint32_t i;

	if (skep_forked(skep))
		return;
	pthread_mutex_lock(&h->lock);
	for (obj = h->pending; obj; obj = obj->next_pending)
		obj->pending = false;
	h->pending = NULL;
	pthread_mutex_unlock(&h->lock);
	do {
		d.n = 0;
		pthread_mutex_lock(&h->lock);
		skep_objects_walk(skep, drop_one, &d);
		pthread_mutex_unlock(&h->lock);
		for (i = 0; i < d.n; i++)
			skep_object_user_put(d.dead[i]);
	} while (d.n == BATCH);
}
