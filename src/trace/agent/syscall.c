/* SPDX-License-Identifier: Apache-2.0 */
/*
 * System calls. The trampoline of a call site comes here instead of entering the kernel; the call is
 * made by the agent's gate, which a filter of the supervisor's lets pass by its address.
 *
 * Calls that give the child another stack, or the parent's own, need care, because what the gate
 * keeps on the stack must be there when either comes back:
 *
 *	fork, clone without CLONE_VM	the child has a copy
 *	clone, clone3 with a stack	the gate's part is copied to the child's stack
 *	vfork, CLONE_VM without a stack	the child runs over it; the parent's is kept in its block
 *
 * A child that shares memory and thread control block with its parent would be taken for it, so as
 * long as there may be one, threads ask the kernel who they are.
 */
#include <errno.h>
#include <linux/sched.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/prctl.h>

#include "os/os.h"
#include "trace/agent/agent.h"

#define NR_MAX 1024
#define KEEP   7 /* words from orig_ax to the trampoline's return address */
#define BELOW  (128 + KEEP * 8) /* of them and the red zone under the host's stack pointer */

static uint64_t wanted[2][NR_MAX / 64]; /* enter, exit */
static uint32_t links[2][AGENT_MAX_SYS], nlinks[2];

static bool want(int exit, uint64_t nr)
{
	return nr < NR_MAX && wanted[exit][nr / 64] >> (nr % 64) & 1;
}

void agent_syscalls_add(uint32_t n)
{
	const struct agent_link *l = &agent_ctl->links[n];
	int exit;

	switch (l->kind) {
	case AGENT_SYS_ENTER_TP:
	case AGENT_RAW_ENTER:
	case AGENT_KSYSCALL:
		exit = 0;
		break;
	case AGENT_SYS_EXIT_TP:
	case AGENT_RAW_EXIT:
	case AGENT_KRETSYSCALL:
		exit = 1;
		break;
	default:
		return;
	}
	if (nlinks[exit] == AGENT_MAX_SYS)
		return;
	links[exit][nlinks[exit]++] = n;
	if (l->nr < 0)
		memset(wanted[exit], 0xff, sizeof(wanted[exit]));
	else if (l->nr < NR_MAX)
		wanted[exit][l->nr / 64] |= 1ull << (l->nr % 64);
}

/* What programs at tracepoints see. */
struct record {
	uint64_t common;
	int64_t nr; /* syscalls: int, and 4 bytes of 0; raw_syscalls: long */
	uint64_t args[6]; /* at the exit: the result */
};

static __attribute__((noinline)) void run_record(struct skep_env *env, const struct agent_link *l,
						 struct agent_regs *regs, bool exit)
{
	struct record rec = {.nr = (int64_t)regs->orig_ax,
			     .args = {exit ? regs->ax : regs->di, regs->si, regs->dx, regs->r10,
				      regs->r8, regs->r9}};

	agent_run(env, l, &rec);
}

/* The entry point's only argument is the caller's registers. */
static __attribute__((noinline)) void run_function(struct skep_env *env, const struct agent_link *l,
						   struct agent_regs *regs)
{
	struct agent_regs outer = *regs;

	outer.di = (uint64_t)(uintptr_t)regs;
	agent_run(env, l, &outer);
}

static void run(struct skep_env *env, const struct agent_link *l, struct agent_regs *regs)
{
	bool exit = l->kind == AGENT_RAW_EXIT || l->kind == AGENT_SYS_EXIT_TP;
	uint64_t raw[2] = {(uint64_t)(uintptr_t)regs, exit ? regs->ax : regs->orig_ax};

	switch (l->kind) {
	case AGENT_SYS_ENTER_TP:
	case AGENT_SYS_EXIT_TP:
		run_record(env, l, regs, exit);
		break;
	case AGENT_RAW_ENTER:
	case AGENT_RAW_EXIT:
		agent_run(env, l, raw);
		break;
	default:
		run_function(env, l, regs);
	}
}

static void run_all(struct agent_regs *regs, int exit)
{
	struct agent_thread *t;
	struct skep_env *env;

	if (atomic_load_explicit(&agent_ctl->off, memory_order_relaxed))
		return;
	t = agent_thread();
	env = t ? agent_begin(t, regs->sp) : NULL;
	if (!env) {
		if (!t)
			atomic_fetch_add(&agent_ctl->missed, 1);
		return;
	}
	env->func_ip = 0;
	env->regs = regs;
	for (uint32_t i = 0; i < nlinks[exit]; i++) {
		const struct agent_link *l = &agent_ctl->links[links[exit][i]];

		if (l->nr < 0 || (uint64_t)l->nr == regs->orig_ax)
			run(env, l, regs);
	}
	agent_end(t);
}

/* ---- Children ---- */

/* The gate's part of the stack, for a child whose stack ends at top: its stack pointer. */
static uint64_t on_stack_of_child(const struct agent_regs *regs, uint64_t top)
{
	uint64_t part[KEEP];

	memcpy(part, &regs->orig_ax, sizeof(part));
	part[4] = top; /* sp */
	skep_probe_write((void *)(uintptr_t)(top - BELOW), part, sizeof(part));
	return top - BELOW;
}

static void shares(uint64_t flags)
{
	if ((flags & CLONE_VM) && !(flags & CLONE_SETTLS))
		atomic_fetch_add(&agent_lookalikes, 1);
}

static void no_longer_shares(uint64_t flags)
{
	/* A parent that waited for its child's execve or end has come back. */
	if ((flags & CLONE_VM) && !(flags & CLONE_SETTLS) && (flags & CLONE_VFORK))
		atomic_fetch_sub(&agent_lookalikes, 1);
}

static int before_vfork(struct agent_thread *t, const struct agent_regs *regs)
{
	if (t && t->nvfork < AGENT_NEST)
		memcpy(t->vfork[t->nvfork++], &regs->orig_ax, KEEP * 8);
	return 1;
}

static int before_clone3(struct agent_thread *t, struct agent_regs *regs)
{
	const struct clone_args *args = (const void *)(uintptr_t)regs->di;
	struct agent_clone *c = t ? &t->clone : NULL;
	uint64_t size = regs->si;

	if (!c || size < CLONE_ARGS_SIZE_VER0 || size > sizeof(c->args) ||
	    skep_probe_read(c->args, args, size))
		return 0; /* the kernel will say what is wrong with it */
	args = (const struct clone_args *)c->args;
	shares(args->flags);
	if ((args->flags & CLONE_VM) && !args->stack)
		return before_vfork(t, regs);
	if (!args->stack)
		return 0;
	((struct clone_args *)c->args)->stack_size -= BELOW;
	on_stack_of_child(regs, args->stack + args->stack_size + BELOW);
	c->host = regs->di;
	regs->di = (uint64_t)(uintptr_t)c;
	return 0;
}

/* 1: the child will run on this stack. */
static int before(struct agent_regs *regs)
{
	struct agent_thread *t;

	switch (regs->orig_ax) {
	case SYS_vfork:
		t = agent_thread();
		shares(CLONE_VM | CLONE_VFORK);
		return before_vfork(t, regs);
	case SYS_clone:
		shares(regs->di);
		if (!(regs->di & CLONE_VM))
			return 0;
		if (!regs->si)
			return before_vfork(agent_thread(), regs);
		regs->si = on_stack_of_child(regs, regs->si);
		return 0;
	case SYS_clone3:
		return before_clone3(agent_thread(), regs);
	default:
		return 0;
	}
}

static void after(struct agent_regs *regs, int vforked)
{
	struct agent_thread *t;

	if (vforked && regs->ax) {
		t = agent_thread();
		if (t && t->nvfork)
			memcpy(&regs->orig_ax, t->vfork[--t->nvfork], KEEP * 8);
	}
	switch (regs->orig_ax) {
	case SYS_vfork:
		if (regs->ax)
			no_longer_shares(CLONE_VM | CLONE_VFORK);
		break;
	case SYS_clone:
		if (regs->ax)
			no_longer_shares(regs->di);
		if ((regs->di & CLONE_VM) && regs->si)
			regs->si += BELOW;
		break;
	case SYS_clone3: {
		const struct agent_clone *c = (const void *)(uintptr_t)regs->di;
		const struct clone_args *args = (const struct clone_args *)c->args;
		uint64_t flags = 0;

		t = agent_thread();
		if (vforked || !t)
			skep_probe_read(&flags, c, sizeof(flags));
		else if (agent_is_clone(c)) {
			flags = args->flags;
			regs->di = c->host;
		}
		if (regs->ax)
			no_longer_shares(flags);
		break;
	}
	default:
		break;
	}
}

/* ---- Entries ---- */

/* A filter is about to be installed. */
static bool filters(const struct agent_regs *regs)
{
	return regs->orig_ax == SYS_seccomp || regs->di == PR_SET_SECCOMP;
}

int agent_on_enter(struct agent_regs *regs, const struct agent_site *site)
{
	uint64_t nr = regs->ax;

	regs->orig_ax = nr;
	regs->ip = site->ip + 2;
	regs->cx = regs->ip; /* as the instruction does */
	regs->r11 = regs->flags;
	if (want(0, nr)) {
		regs->ax = (uint64_t)-ENOSYS;
		run_all(regs, 0);
		regs->ax = nr;
	}
	if (__builtin_expect(nr == SYS_seccomp || nr == SYS_prctl, 0) && filters(regs))
		agent_be_quiet();
	return nr == SYS_vfork || nr == SYS_clone || nr == SYS_clone3 ? before(regs) : 0;
}

void agent_on_exit(struct agent_regs *regs, int vforked)
{
	uint64_t nr;

	if (vforked || regs->orig_ax == SYS_clone || regs->orig_ax == SYS_clone3)
		after(regs, vforked);
	nr = regs->orig_ax;
	regs->cx = regs->ip; /* as the instruction leaves them */
	regs->r11 = regs->flags;
	if (want(1, nr))
		run_all(regs, 1);
}
