/* SPDX-License-Identifier: Apache-2.0 */
/*
 * An identity is one word:
 *
 *	bits 0..21	the thread's id
 *	bits 22..31	a tag of the pid namespace that this id belongs to
 *	bits 32..62	the participant
 *	bit 63		it is not registered: no lock was to be had, see below
 *
 * The participant's number is also the number of its byte in the participants file,
 * counted from 2^61. Since it is drawn at random for each process image, it is number
 * and generation in one, and whether it lives is known by the kernel's lock table
 * alone: there is no memory that others could spoil.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "os/os.h"
#include "os/participant.h"

#define TID_MASK     ((1ull << 22) - 1)
#define NS_SHIFT     22
#define NS_MASK      (1023ull << NS_SHIFT)
#define NUMBER_MASK  (((1ull << 31) - 1) << 32)
#define UNREGISTERED (1ull << 63)
#define FIRST_BYTE   (1ull << 61)
#define PAGE         4096

/* A forked child finds this zeroed. */
struct image {
	_Atomic uint64_t base; /* identity without the thread; 0: not registered yet */
	_Atomic uint32_t busy; /* somebody is registering */
	void *hold; /* mapping that keeps the lock */
};

struct skep_parts {
	int fd; /* asks; holds no lock */
	uint64_t dev, ino;
	struct image *image;
	int registering; /* descriptor that only registering uses, else -1 */
};

/* This thread's identity, as found out last; valid while base is the image's. */
#ifdef SKEP_AGENT
/* In a traced process thread-local storage is the host's; the agent has its own. */
#define cache (*skep_agent_self_cache())
#else
static __thread struct skep_self_cache cache __attribute__((tls_model("initial-exec")));
#endif

static int parts_init(struct skep_parts **out, int fd)
{
	struct skep_parts *parts = calloc(1, sizeof(*parts));

	if (!parts)
		goto nomem;
	parts->fd = fd;
	parts->registering = -1;
	parts->image = skep_wipe_alloc(sizeof(*parts->image));
	if (!parts->image || skep_fd_stat(fd, &parts->dev, &parts->ino))
		goto nomem;
	*out = parts;
	return 0;
nomem:
	if (parts)
		skep_wipe_free(parts->image, sizeof(*parts->image));
	free(parts);
	close(fd);
	return -ENOMEM;
}

int skep_parts_create(struct skep_parts **out)
{
	struct skep_seg seg;
	int err = skep_seg_create(&seg, "skep-participants", PAGE);

	if (err)
		return err;
	munmap(seg.base, seg.size);
	return parts_init(out, seg.fd);
}

int skep_parts_open(struct skep_parts **out, int fd)
{
	int own = skep_fd_reopen(fd, O_RDWR, true);

	/* A description shared with its sender asks as well, as long as nobody locks by it. */
	if (own < 0)
		own = fcntl(fd, F_DUPFD_CLOEXEC, 0);
	return own < 0 ? -EBADF : parts_init(out, own);
}

int skep_parts_fd(const struct skep_parts *parts)
{
	return parts->fd;
}

void skep_parts_close(struct skep_parts *parts)
{
	if (!parts)
		return;
	if (parts->image->hold)
		munmap(parts->image->hold, PAGE);
	skep_wipe_free(parts->image, sizeof(*parts->image));
	skep_fd_close(parts->fd, parts->dev, parts->ino);
	free(parts);
}

/* Locks a byte of our own by a description that only a mapping keeps; the mapping is
 * not inherited by children, and exec, exit and SIGKILL end it. */
static uint64_t take_byte(struct skep_parts *parts, uint64_t tag)
{
	uint64_t base = 0;
	void *hold;
	int fd, tries;

	/* A fork in the middle of this left us the parent's description. */
	skep_fd_close(parts->registering, parts->dev, parts->ino);
	parts->registering = -1;
	if (!skep_fd_is(parts->fd, parts->dev, parts->ino))
		return 0;
	fd = skep_fd_reopen(parts->fd, O_RDWR, true);
	if (fd < 0)
		return 0;
	parts->registering = fd;
	hold = mmap(NULL, PAGE, PROT_READ, MAP_SHARED, fd, 0);
	if (hold == MAP_FAILED)
		goto out;
	for (tries = 0; tries < 64 && !base; tries++) {
		uint64_t try = tag | (skep_random() & NUMBER_MASK);

		/* Somebody else's byte: draw another. */
		if ((try & NUMBER_MASK) && !skep_fd_held(fd, FIRST_BYTE + (try >> 32), 1, NULL) &&
		    !skep_fd_hold(fd, FIRST_BYTE + (try >> 32)))
			base = try;
	}
	if (!base || madvise(hold, PAGE, MADV_DONTFORK) < 0) {
		munmap(hold, PAGE);
		base = 0;
	} else {
		parts->image->hold = hold;
	}
out:
	close(fd);
	parts->registering = -1;
	return base;
}

static uint64_t self_slow(struct skep_parts *parts)
{
	struct image *image = parts->image;
	uint64_t signals = skep_signals_block(), base, tag;
	uint32_t idle = 0;

	while (!atomic_compare_exchange_strong(&image->busy, &idle, 1)) {
		idle = 0;
		skep_cpu_yield();
	}
	base = atomic_load(&image->base);
	if (!base) {
		tag = ((uint64_t)skep_pidns() << NS_SHIFT) & NS_MASK;
		base = take_byte(parts, tag);
		if (!base)
			base = UNREGISTERED | tag | (skep_random() & NUMBER_MASK);
		atomic_store(&image->base, base);
	}
	cache.self = base | (skep_tid() & TID_MASK);
	cache.base = base;
	atomic_store(&image->busy, 0);
	skep_signals_restore(signals);
	return base | (skep_tid() & TID_MASK);
}

static inline uint64_t self_fast(struct skep_parts *parts)
{
	uint64_t base = atomic_load_explicit(&parts->image->base, memory_order_relaxed);
	const struct skep_self_cache *c = &cache;

	if (__builtin_expect(base && c->base == base, 1))
		return c->self;
	return self_slow(parts);
}

uint64_t skep_self(struct skep_parts *parts)
{
	return self_fast(parts);
}

bool skep_alive(struct skep_parts *parts, uint64_t who)
{
	uint64_t self = self_fast(parts);

	if (skep_self_image(who) == skep_self_image(self))
		return true;
	if (!(who & UNREGISTERED) && skep_fd_is(parts->fd, parts->dev, parts->ino)) {
		int r = skep_fd_held(parts->fd, FIRST_BYTE + (who >> 32), 1, NULL);

		if (r >= 0)
			return r;
	}
	/* The lock can't be asked: the client closed our descriptor, or there never was a
	 * lock. Then dead is only who certainly is: same pid namespace, no such thread. */
	return ((who ^ self) & NS_MASK) || !(self & NS_MASK) || !skep_tid_gone(who & TID_MASK);
}

/* ---- Locks ---- */

#define SPINS   200 /* a few µs: longer than what the locks protect */
#define YIELDS  20
#define NAP_MIN 50000ull /* ns */
#define NAP_MAX 1000000ull
#define LIMIT   1000000000ull

static int lock_slow(struct skep_lock *lock, struct skep_parts *parts, uint64_t self)
{
	uint64_t cur, start = 0, nap = NAP_MIN, now;
	uint32_t round;

	for (round = 0;; round++) {
		cur = 0;
		if (!atomic_load_explicit(&lock->owner, memory_order_relaxed) &&
		    atomic_compare_exchange_strong_explicit(
			    &lock->owner, &cur, self, memory_order_acquire, memory_order_relaxed))
			return 0;
		if (!cur)
			cur = atomic_load_explicit(&lock->owner, memory_order_relaxed);
		if (cur == self)
			return -EBUSY;
		if (round < SPINS) {
			skep_cpu_relax();
			continue;
		}
		if (cur && (round == SPINS || round >= SPINS + YIELDS) && !skep_alive(parts, cur) &&
		    atomic_compare_exchange_strong_explicit(
			    &lock->owner, &cur, self, memory_order_acquire, memory_order_relaxed))
			return SKEP_LOCK_DIED;
		/* Where memory is missing a word means nothing, and nobody will change it. */
		if ((round == SPINS || round >= SPINS + YIELDS) && skep_seg_missing_at(lock))
			return -ETIMEDOUT;
		if (round < SPINS + YIELDS) {
			skep_cpu_yield();
			continue;
		}
		now = skep_clock_mono();
		if (!start)
			start = now;
		if (now - start > LIMIT)
			return -ETIMEDOUT;
		skep_sleep(nap);
		nap = nap * 2 > NAP_MAX ? NAP_MAX : nap * 2;
	}
}

int skep_lock(struct skep_lock *lock, struct skep_parts *parts)
{
	uint64_t self = self_fast(parts), none = 0;

	if (__builtin_expect(atomic_compare_exchange_strong_explicit(&lock->owner, &none, self,
								     memory_order_acquire,
								     memory_order_relaxed),
			     1))
		return 0;
	return none == self ? -EBUSY : lock_slow(lock, parts, self);
}

void skep_unlock(struct skep_lock *lock)
{
	atomic_store_explicit(&lock->owner, 0, memory_order_release);
}
