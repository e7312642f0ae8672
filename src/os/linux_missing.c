/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Linux: memory that is not there any more.
 *
 * Memory behind a segment is reserved before it is used. But whoever has a descriptor of it
 * can punch holes, and the next access takes a new page. Where there is none (strict
 * accounting, vm.overcommit_memory 2), where a page can't be read back from swap, or is
 * broken, the system answers with SIGBUS, in whichever process reaches it.
 *
 * So there is a handler. What it puts in the place of a missing page needs no memory: another
 * mapping of the sink, which was made beforehand and is sealed so that nobody can punch holes
 * into it. The access is then repeated and hits bytes that mean nothing, the same in all
 * places where the sink is mapped, as if another process had written garbage there: that is
 * survived anyway (docs/architecture.md, Distrust). Nothing is unwound, no lock is left. The other
 * processes see the file and not the sink. Commands say ENOMEM when they met a missing page, and
 * map the file anew first, so all is as before when there is memory again.
 *
 * The list of segments can't hang off an instance: a signal's handler is the process's.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "os/linux.h"
#include "os/os.h"

#ifndef F_SEAL_FUTURE_WRITE
#define F_SEAL_FUTURE_WRITE 0x0010
#endif

#define PAGE 4096u
#define SINK (64u << 10)
/* So many missing pages of a segment are replaced one by one; then the sink's size around
 * each, present or not, because a process can have no more than some 65,000 mappings. */
#define ONE_BY_ONE 1024

struct skep_seg_guard {
	_Atomic uintptr_t base; /* 0: free */
	_Atomic size_t size; /* 0: being made */
	_Atomic uint32_t missing; /* replaced since the segment was mapped */
};

static struct guards {
	struct skep_seg_guard g[128];
	_Atomic(struct guards *) next;
} first;

static _Atomic(void *) sink;
static struct sigaction before; /* whose turn it is when a fault is not ours */
static __thread bool passing __attribute__((tls_model("initial-exec")));

/* ---- The handler: atomics and system calls only ---- */

struct place {
	struct skep_seg_guard *guard;
	uintptr_t base, off;
	size_t size;
};

static bool find(uintptr_t addr, struct place *at)
{
	for (struct guards *c = &first; c; c = atomic_load(&c->next))
		for (size_t i = 0; i < sizeof(c->g) / sizeof(*c->g); i++) {
			struct skep_seg_guard *g = &c->g[i];
			uintptr_t base = atomic_load(&g->base);
			size_t size = atomic_load(&g->size);

			*at = (struct place){g, base, addr - base, size};
			if (base && at->off < size && atomic_load(&g->base) == base)
				return true;
		}
	return false;
}

static bool replace(uintptr_t addr)
{
	size_t len = SINK;
	struct place at;
	uintptr_t off;

	if (!find(addr, &at))
		return false;
	if (atomic_load(&at.guard->missing) < ONE_BY_ONE ||
	    (at.off & ~(uintptr_t)(SINK - 1)) + SINK > at.size)
		len = PAGE;
	off = at.off & ~(uintptr_t)(len - 1);
	/* An old size of 0 makes one more mapping of the same memory. */
	if (mremap(atomic_load(&sink), 0, len, MREMAP_MAYMOVE | MREMAP_FIXED,
		   (void *)(at.base + off)) == MAP_FAILED)
		return false;
	/* After it: skep_seg_restore() first forgets, then maps. */
	atomic_fetch_add(&at.guard->missing, 1);
	return true;
}

/* As without us. */
static void pass_on(int sig, siginfo_t *info, void *context)
{
	/* Who set a handler after us may call ours out of it, which came before. */
	bool again = passing;

	passing = true;
	if (!again && before.sa_flags & SA_SIGINFO) {
		before.sa_sigaction(sig, info, context);
	} else if (!again && before.sa_handler != SIG_DFL && before.sa_handler != SIG_IGN) {
		before.sa_handler(sig);
	} else if (again || before.sa_handler == SIG_DFL || info->si_code > 0) {
		/* A fault happens again at once, a kill() is sent again. */
		signal(SIGBUS, SIG_DFL);
		if (info->si_code <= 0)
			raise(SIGBUS);
	}
	passing = again;
}

static void on_sigbus(int sig, siginfo_t *info, void *context)
{
	int err = errno;

	/* Codes above 0 are the system's own: a fault, not a kill(). */
	if (info->si_code <= 0 || !replace((uintptr_t)info->si_addr))
		pass_on(sig, info, context);
	errno = err;
}

static bool is_ours(const struct sigaction *sa)
{
	return sa->sa_flags & SA_SIGINFO && sa->sa_sigaction == on_sigbus;
}

/* ---- The list ---- */

static void *sink_make(void)
{
	int fd = skep_linux_memfd("skep-sink");
	void *p = MAP_FAILED;

	if (fd < 0)
		return NULL;
	/* Kernels before 5.1 don't know the last seal, and nobody else ever has the descriptor. */
	if (!fallocate(fd, 0, 0, SINK))
		p = mmap(NULL, SINK, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_NORESERVE, fd, 0);
	if (p != MAP_FAILED &&
	    fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_FUTURE_WRITE) < 0)
		fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW);
	close(fd);
	return p == MAP_FAILED ? NULL : p;
}

static int install(void)
{
	struct sigaction sa = {.sa_sigaction = on_sigbus,
			       .sa_flags = SA_SIGINFO | SA_ONSTACK | SA_RESTART};
	struct sigaction now;
	void *none = NULL, *mine;

	if (!atomic_load(&sink)) {
		mine = sink_make();
		if (!mine)
			return -ENOMEM;
		if (!atomic_compare_exchange_strong(&sink, &none, mine))
			munmap(mine, SINK); /* another thread was first */
	}
	/* Each time: others set handlers as well, and ours must come first. */
	if (sigaction(SIGBUS, NULL, &now) < 0)
		return -errno;
	if (is_ours(&now))
		return 0;
	before = now;
	return sigaction(SIGBUS, &sa, NULL) < 0 ? -errno : 0;
}

/* A library that is unloaded takes its handler along. */
static __attribute__((destructor)) void uninstall(void)
{
	struct sigaction now;

	if (atomic_load(&sink) && !sigaction(SIGBUS, NULL, &now) && is_ours(&now))
		sigaction(SIGBUS, &before, NULL);
}

static struct skep_seg_guard *take(struct guards *c, uintptr_t base)
{
	for (size_t i = 0; i < sizeof(c->g) / sizeof(*c->g); i++) {
		uintptr_t none = 0;

		if (!atomic_load_explicit(&c->g[i].base, memory_order_relaxed) &&
		    atomic_compare_exchange_strong(&c->g[i].base, &none, base))
			return &c->g[i];
	}
	return NULL;
}

int skep_linux_guard(struct skep_seg *seg)
{
	struct skep_seg_guard *g = NULL;
	int err = install();

	if (err)
		return err;
	for (struct guards *c = &first;; c = atomic_load(&c->next)) {
		struct guards *none = NULL, *more;

		g = take(c, (uintptr_t)seg->base);
		if (g)
			break;
		if (atomic_load(&c->next))
			continue;
		more = mmap(NULL, sizeof(*more), PROT_READ | PROT_WRITE,
			    MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
		if (more == MAP_FAILED)
			return -ENOMEM;
		if (!atomic_compare_exchange_strong(&c->next, &none, more))
			munmap(more, sizeof(*more));
	}
	atomic_store(&g->missing, 0);
	atomic_store(&g->size, seg->size);
	seg->guard = g;
	return 0;
}

void skep_linux_unguard(struct skep_seg *seg)
{
	if (!seg->guard)
		return;
	atomic_store(&seg->guard->size, 0);
	atomic_store(&seg->guard->base, 0);
	seg->guard = NULL;
}

/* ---- Segments ---- */

bool skep_seg_missing(const struct skep_seg *seg)
{
	return seg->guard && atomic_load_explicit(&seg->guard->missing, memory_order_relaxed);
}

bool skep_seg_missing_at(const void *p)
{
	struct place at;

	return find((uintptr_t)p, &at) && atomic_load(&at.guard->missing);
}

void skep_seg_restore(struct skep_seg *seg)
{
	if (!skep_seg_missing(seg) || !skep_fd_is(seg->fd, seg->dev, seg->ino))
		return;
	/* A lock that was taken in the sink is released in the segment's own memory: none must stay. */
	memset(atomic_load(&sink), 0, SINK);
	atomic_store(&seg->guard->missing, 0);
	if (mmap(seg->base, seg->size, PROT_READ | PROT_WRITE,
		 MAP_SHARED | MAP_NORESERVE | MAP_FIXED, seg->fd, 0) == MAP_FAILED)
		atomic_fetch_add(&seg->guard->missing, 1);
}

bool skep_memory_strict(void)
{
	int fd = open("/proc/sys/vm/overcommit_memory", O_RDONLY | O_CLOEXEC);
	char c = 0;

	if (fd < 0)
		return false;
	if (read(fd, &c, 1) != 1)
		c = 0;
	close(fd);
	return c == '2';
}
