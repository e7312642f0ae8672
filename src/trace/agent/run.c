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

static void drop(struct agent_thread *t, uint32_t i)
{
	uint32_t n = t->nret - 1;

	for (; i < n; i++)
		t->ret[i] = t->ret[i + 1];
	atomic_signal_fence(memory_order_seq_cst);
	t->nret = n;
}

static void await(struct agent_thread *t, struct agent_regs *regs, const struct agent_site *site)
{
	uint64_t *slot = (uint64_t *)(uintptr_t)regs->sp, real = *slot;
	uint32_t n;

	/* A function that ends in a jump to another one leaves it its own return address, which
	 * is ours then: both are awaited at one place. Otherwise what is noted for it is stale. */
	if (real != HERE)
		for (uint32_t i = t->nret; i--;)
			if (t->ret[i].slot == regs->sp)
				drop(t, i);
	if (t->nret == AGENT_RETURNS)
		for (uint32_t i = t->nret; i--;)
			/* Below the stack pointer of the same stack nothing is alive. */
			if (t->ret[i].slot < regs->sp && regs->sp - t->ret[i].slot < SAME_STACK)
				drop(t, i);
	n = t->nret;
	if (n == AGENT_RETURNS) {
		missed();
		return;
	}
	t->ret[n] = (struct agent_return){regs->sp, real, site, false};
	atomic_signal_fence(memory_order_seq_cst);
	t->nret = n + 1;
	*slot = HERE;
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
 * where they still stand. Several at one place: the last one noted first, so the true one stays. */
static __attribute__((noinline)) void show_returns(struct agent_thread *t, uint64_t sp)
{
	for (uint32_t i = t->nret; i--;) {
		struct agent_return *r = &t->ret[i];
		uint64_t word = 0;

		if (r->shown || r->slot < sp || !get(r->slot, &word) || word != HERE ||
		    !set(r->slot, r->real))
			continue;
		r->shown = true;
		t->shown = true;
	}
}

static __attribute__((noinline)) void hide_returns(struct agent_thread *t, uint64_t sp)
{
	t->shown = false;
	for (uint32_t i = 0; i < t->nret;) {
		struct agent_return *r = &t->ret[i];
		uint64_t word = 0;

		/* What lies below the stack pointer was left. */
		if (r->shown && ((r->slot < sp && sp - r->slot < SAME_STACK) ||
				 !get(r->slot, &word) || word != r->real || !set(r->slot, HERE))) {
			drop(t, i);
			continue;
		}
		r->shown = false;
		i++;
	}
}

void agent_on_probe(struct agent_regs *regs, const struct agent_site *site)
{
	struct agent_thread *t;

	if (__builtin_expect(atomic_load_explicit(&agent_ctl->off, memory_order_relaxed), 0))
		return;
	t = agent_thread();
	if (!t) {
		missed();
		return;
	}
	if (__builtin_expect(t->shown, 0) && !(site->flags & AGENT_SITE_UNWIND))
		hide_returns(t, regs->sp);
	if (__builtin_expect(site->flags & AGENT_SITE_UNWIND, 0))
		show_returns(t, regs->sp);
	if (site->nentry)
		run_site(t, regs, site, 0, site->nentry);
	if (site->nreturn)
		await(t, regs, site);
}

/* The last one noted for this place, taken out. */
static bool find(struct agent_thread *t, uint64_t slot, struct agent_return *out)
{
	for (uint32_t i = t->nret; i--;)
		if (t->ret[i].slot == slot) {
			*out = t->ret[i];
			drop(t, i);
			return true;
		}
	return false;
}

/* A stack that another thread began to use (coroutines), or the parent before fork. */
static bool find_elsewhere(uint64_t slot, struct agent_return *out)
{
	for (struct agent_thread *t = atomic_load(&agent_blocks); t; t = t->all)
		if (find(t, slot, out))
			return true;
	return false;
}

uint64_t agent_on_return(struct agent_regs *regs)
{
	struct agent_thread *t = agent_thread();
	uint64_t slot = regs->sp - 8;
	struct agent_return r[AGENT_RETURNS];
	uint32_t n = 0;

	do {
		if (!(t && find(t, slot, &r[n])) && !find_elsewhere(slot, &r[n]))
			__builtin_trap(); /* nobody knows where to go */
	} while (r[n++].real == HERE && n < AGENT_RETURNS);
	regs->ip = r[n - 1].real;
	if (!t || atomic_load_explicit(&agent_ctl->off, memory_order_relaxed))
		return regs->ip;
	for (uint32_t i = 0; i < n; i++)
		run_site(t, regs, r[i].site, r[i].site->nentry, r[i].site->nreturn);
	return regs->ip;
}

/* ---- Called before a filter comes that may kill ---- */

long agent_be_quiet(void)
{
	if (agent_quiet)
		return 0;
	agent_threads_stock();
	agent_note_ids();
	agent_quiet = true;
	return 0;
}
