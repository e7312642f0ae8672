/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Running programs at probes, and awaiting returns.
 *
 * A return is awaited by putting agent_return_here in the place of the return address.
 * What is awaited stands in the thread's list with the address of that place, and is found by it
 * when control comes: so frames that longjmp or an exception left, and stacks that are
 * switched, need no care. An entry whose place is used again is stale and goes then.
 */
#include <errno.h>
#include <stdatomic.h>
#include <string.h>

#include "bpf/uapi.h"
#include "os/os.h"
#include "trace/agent/agent.h"

#define SAME_STACK (64ull << 20)

struct skep agent_skep;
bool agent_quiet;
struct agent_ctl *agent_ctl;
struct skep_prog *agent_progs[AGENT_MAX_PROGS];
struct skep_map *agent_maps[AGENT_MAX_MAPS];

extern const uint8_t agent_return_here[];

#define HERE ((uint64_t)(uintptr_t)agent_return_here)

static void missed(void)
{
	atomic_fetch_add_explicit(&agent_ctl->missed, 1, memory_order_relaxed);
}

/* Programs that a signal handler interrupted and left by siglongjmp: the stack is above them. */
static __attribute__((noinline)) void abandon(struct agent_thread *t, uint64_t sp)
{
	while (t->depth) {
		uint64_t then = t->level[t->depth - 1].sp;

		if (sp <= then || sp - then > SAME_STACK)
			return;
		agent_end(t);
	}
}

struct skep_env *agent_begin(struct agent_thread *t, uint64_t sp)
{
	uint32_t d;

	if (__builtin_expect(t->depth != 0, 0))
		abandon(t, sp);
	d = t->depth;
	if (d >= AGENT_NEST) {
		missed();
		return NULL;
	}
	t->level[d].sp = sp;
	t->depth = d + 1;
	atomic_signal_fence(memory_order_seq_cst);
	skep_enter(t->level[d].env);
	return t->level[d].env;
}

void agent_end(struct agent_thread *t)
{
	uint32_t d = t->depth - 1;

	skep_leave(t->level[d].env);
	atomic_signal_fence(memory_order_seq_cst);
	t->depth = d;
}

uint64_t agent_run(struct skep_env *env, const struct agent_link *link, void *ctx)
{
	const struct skep_prog *prog = agent_progs[link->prog];

	if (!prog || !atomic_load_explicit(&link->on, memory_order_relaxed))
		return 0;
	env->prog = prog;
	env->ctx = ctx;
	env->tail_calls = 0;
	env->cookie = link->cookie;
	return prog->run(ctx, env);
}

static void run_site(struct agent_thread *t, struct agent_regs *regs, const struct agent_site *site,
		     uint32_t first, uint32_t n)
{
	struct skep_env *env = agent_begin(t, regs->sp);

	if (!env)
		return;
	env->func_ip = site->func;
	env->regs = regs;
	for (uint32_t i = first; i < first + n && i < AGENT_SITE_LINKS; i++)
		agent_run(env, &agent_ctl->links[site->links[i]], regs);
	agent_end(t);
}

/* ---- What is awaited ----
 *
 * A signal may come between any two instructions here, and its handler await and see returns as well
 * before it ends. So an entry is claimed before it is filled, and nothing moves while a thread is
 * at work here. */

#define FREE    0 /* slots of entries */
#define CLAIMED 1

static void trim(struct agent_thread *t)
{
	uint32_t n;

	while ((n = t->nret) && t->ret[n - 1].slot == FREE)
		t->nret = n - 1;
}

static void release(struct agent_thread *t, uint64_t slot)
{
	for (uint32_t i = t->nret; i--;)
		if (t->ret[i].slot == slot)
			t->ret[i].slot = FREE;
	trim(t);
}

/* Makes room: below the stack pointer of the same stack nothing is alive. */
static __attribute__((noinline)) void sweep(struct agent_thread *t, uint64_t sp)
{
	uint32_t n = 0;

	if (t->editing > 1) /* by a signal handler */
		return;
	for (uint32_t i = 0; i < t->nret; i++) {
		const struct agent_return *r = &t->ret[i];

		if (r->slot == FREE || (r->slot < sp && sp - r->slot < SAME_STACK))
			continue;
		t->ret[n++] = *r;
	}
	for (uint32_t i = n; i < t->nret; i++)
		t->ret[i].slot = FREE;
	t->nret = n;
}

static struct agent_return *claim(struct agent_thread *t)
{
	uint32_t n = t->nret;

	if (n == AGENT_RETURNS)
		return NULL;
	/* A handler that came before it counts has used it, and left it free. */
	do {
		t->ret[n].slot = CLAIMED;
		atomic_signal_fence(memory_order_seq_cst);
		t->nret = n + 1;
		atomic_signal_fence(memory_order_seq_cst);
	} while (t->ret[n].slot != CLAIMED);
	return &t->ret[n];
}

static void await(struct agent_thread *t, struct agent_regs *regs, const struct agent_site *site)
{
	uint64_t *slot = (uint64_t *)(uintptr_t)regs->sp, real = *slot;
	struct agent_return *r;

	t->editing++;
	/* A function that ends in a jump to another one leaves it its own return address, which
	 * is ours then: both are awaited at one place. Otherwise what is noted for it is stale. */
	if (real != HERE)
		release(t, regs->sp);
	if (t->nret == AGENT_RETURNS)
		sweep(t, regs->sp);
	r = claim(t);
	if (r) {
		r->real = real;
		r->site = site;
		r->shown = false;
		atomic_signal_fence(memory_order_seq_cst);
		r->slot = regs->sp;
		atomic_signal_fence(memory_order_seq_cst);
		*slot = HERE;
	} else {
		missed();
	}
	t->editing--;
}

static bool get(uint64_t slot, uint64_t *word)
{
	/* What a thread still awaits stands on its stack; when nobody may be asked, that must do. */
	if (agent_quiet)
		*word = *(volatile uint64_t *)(uintptr_t)slot;
	return agent_quiet || !skep_probe_read(word, (void *)(uintptr_t)slot, 8);
}

static bool set(uint64_t slot, uint64_t word)
{
	if (agent_quiet)
		*(volatile uint64_t *)(uintptr_t)slot = word;
	return agent_quiet || !skep_probe_write((void *)(uintptr_t)slot, &word, 8);
}

/* An unwinder (exceptions, thread cancellation, backtraces) reads return addresses: it finds the
 * true ones. They are replaced again when the exception is caught, or at the thread's next event,
 * where they still stand. */
static __attribute__((noinline)) void show_returns(struct agent_thread *t, uint64_t sp)
{
	for (uint32_t i = t->nret; i--;) {
		struct agent_return *r = &t->ret[i];
		uint64_t word = 0;

		if (r->slot <= CLAIMED || r->real == HERE || r->shown || r->slot < sp ||
		    !get(r->slot, &word) || word != HERE || !set(r->slot, r->real))
			continue;
		r->shown = true;
		t->shown = true;
	}
}

static __attribute__((noinline)) void hide_returns(struct agent_thread *t, uint64_t sp)
{
	t->shown = false;
	t->editing++;
	for (uint32_t i = 0; i < t->nret; i++) {
		struct agent_return *r = &t->ret[i];
		uint64_t word = 0;

		if (r->slot <= CLAIMED || !r->shown)
			continue;
		/* What lies below the stack pointer was left. */
		if ((r->slot < sp && sp - r->slot < SAME_STACK) || !get(r->slot, &word) ||
		    word != r->real || !set(r->slot, HERE))
			release(t, r->slot);
		else
			r->shown = false;
	}
	t->editing--;
}

void agent_on_probe(struct agent_regs *regs, const struct agent_site *site)
{
	bool off = atomic_load_explicit(&agent_ctl->off, memory_order_relaxed);
	struct agent_thread *t;

	/* Unwinders have to find true addresses until nobody awaits anything. */
	if (__builtin_expect(off, 0) && !(site->flags & AGENT_SITE_UNWIND))
		return;
	t = agent_thread();
	if (!t) {
		missed();
		return;
	}
	if (__builtin_expect(site->flags & AGENT_SITE_UNWIND, 0))
		show_returns(t, regs->sp);
	else if (__builtin_expect(t->shown, 0))
		hide_returns(t, regs->sp);
	if (__builtin_expect(off, 0))
		return;
	if (site->nentry)
		run_site(t, regs, site, 0, site->nentry);
	if (site->nreturn)
		await(t, regs, site);
}

/* The first one noted for this place, which knows the true address; or the last one. */
static struct agent_return *find(struct agent_thread *t, uint64_t slot, bool last)
{
	struct agent_return *found = NULL;

	for (uint32_t i = t->nret; i--;)
		if (t->ret[i].slot == slot) {
			found = &t->ret[i];
			if (last)
				break;
		}
	return found;
}

/* Whose it is, if not this thread's: a stack that another thread began to use (coroutines), or the parent
 * before fork. */
static __attribute__((noinline)) struct agent_thread *find_owner(uint64_t slot)
{
	for (struct agent_thread *t = atomic_load(&agent_blocks); t; t = t->all)
		if (find(t, slot, true))
			return t;
	__builtin_trap(); /* nobody knows where to go */
}

/* Needs little stack: it may be a signal handler's, and small. */
uint64_t agent_on_return(struct agent_regs *regs)
{
	struct agent_thread *t = agent_thread(), *owner = t;
	uint64_t slot = regs->sp - 8, real;
	struct agent_return *r;

	if (__builtin_expect(!t || !find(t, slot, true), 0))
		owner = find_owner(slot);
	r = find(owner, slot, false);
	regs->ip = r->real;
	do {
		const struct agent_site *site;

		owner->editing++;
		r = find(owner, slot, true);
		site = r ? r->site : NULL;
		real = r ? r->real : 0;
		if (r)
			r->slot = FREE;
		trim(owner);
		owner->editing--;
		if (site && t && !atomic_load_explicit(&agent_ctl->off, memory_order_relaxed))
			run_site(t, regs, site, site->nentry, site->nreturn);
	} while (real == HERE);
	return regs->ip;
}

/* ---- Called before a filter comes that may kill ---- */

long agent_be_quiet(void)
{
	if (agent_quiet)
		return 0;
	agent_thread(); /* where threads keep their ids is learnt with it, at the latest */
	agent_threads_stock();
	agent_note_ids();
	agent_quiet = true;
	return 0;
}
