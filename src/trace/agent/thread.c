/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A block per thread, found by the thread's id. Asking the kernel for the id costs a system call,
 * so it is read where C libraries keep it: in the thread's own control block, at an offset
 * that is tried out (glibc's, musl's) and believed only where it agrees with a block that
 * the kernel's answer made. A runtime that keeps no id there pays for the system call.
 *
 * After fork the child finds the table empty: blocks that are there belong to threads of the
 * parent. They stay in the list of all, because a return that is awaited may stand in one.
 */
#include <errno.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/mman.h>

#include "os/os.h"
#include "trace/agent/agent.h"

#define BUCKETS 1024
#define CHUNK   16 /* blocks from one mmap */
#define STOCK   64 /* of threads that may come when none can be made any more */

static struct agent_thread *_Atomic table[BUCKETS];
struct agent_thread *_Atomic agent_blocks;
static struct agent_thread *_Atomic spare;
static _Atomic uint32_t nblocks, sweep_at = 64;
static _Atomic uint32_t *image; /* a forked child reads 0 */
static _Atomic uint32_t tid_offset; /* 0: not known */
static _Atomic uint32_t making; /* lock: the thread's id */

_Atomic uint32_t agent_lookalikes;

static const uint16_t offsets[] = {0x2d0 /* glibc */, 0x30 /* musl */};

static inline uint64_t fs_base(void)
{
	uint64_t base;

	__asm__("rdfsbase %0" : "=r"(base));
	return base;
}

static inline uint32_t word_at(uint64_t base, uint32_t offset)
{
	return *(volatile uint32_t *)(base + offset);
}

static struct agent_thread *lookup(uint32_t tid)
{
	struct agent_thread *t = atomic_load_explicit(&table[tid % BUCKETS], memory_order_acquire);

	while (t && t->tid != tid)
		t = t->next;
	return t;
}

/* Blocks of threads that are gone become spare. Under the lock. */
static void sweep(uint32_t pid)
{
	for (uint32_t i = 0; i < BUCKETS; i++) {
		struct agent_thread *_Atomic *at = &table[i];
		struct agent_thread *t;

		while ((t = atomic_load(at))) {
			if (SYS3(SYS_tgkill, pid, t->tid, 0) != -ESRCH) {
				at = (struct agent_thread * _Atomic *)&t->next;
				continue;
			}
			atomic_store(at, t->next);
			t->tid = 0;
			t->next = atomic_load(&spare);
			atomic_store(&spare, t);
		}
	}
}

static bool chunk(void)
{
	struct agent_thread *t = agent_map(CHUNK * sizeof(*t), PROT_READ | PROT_WRITE,
					   MAP_PRIVATE | MAP_ANONYMOUS, -1);

	if (!t)
		return false;
	nblocks += CHUNK;
	for (int i = CHUNK - 1; i >= 0; i--) {
		t[i].all = atomic_load(&agent_blocks);
		atomic_store(&agent_blocks, &t[i]);
		t[i].next = atomic_load(&spare);
		atomic_store(&spare, &t[i]);
	}
	return true;
}

static struct agent_thread *take(uint32_t pid)
{
	struct agent_thread *t;

	if (!atomic_load(&spare) && nblocks >= sweep_at) {
		sweep(pid);
		if (!atomic_load(&spare))
			sweep_at *= 2;
	}
	if (!atomic_load(&spare) && !chunk())
		return NULL;
	t = atomic_load(&spare);
	atomic_store(&spare, t->next);
	return t;
}

static bool equip(struct agent_thread *t)
{
	for (int i = 0; i < AGENT_NEST; i++) {
		if (!t->level[i].env && skep_env_open(&t->level[i].env, &agent_skep))
			return false;
		t->level[i].env->no_reclaim = true;
		t->level[i].env->call = skep_call;
	}
	return true;
}

/* With all signals blocked and the lock held. */
static struct agent_thread *make(uint32_t tid, uint32_t pid)
{
	struct agent_thread *t = take(pid);

	if (!t || !equip(t))
		return NULL;
	t->depth = t->nret = 0;
	t->nvfork = 0;
	t->editing = 0;
	memset(t->ret, 0, sizeof(t->ret));
	t->self = (struct skep_self_cache){0};
	t->pid = pid;
	t->tid = tid;
	t->next = atomic_load(&table[tid % BUCKETS]);
	atomic_store(&table[tid % BUCKETS], t);
	return t;
}

/* Where the control block has the thread's id. A command is entered before it has any. */
static void learn(uint64_t base, uint32_t tid)
{
	/* Their control block begins with its own address. */
	if (!base || atomic_load(&tid_offset) || *(volatile uint64_t *)base != base)
		return;
	for (size_t i = 0; i < sizeof(offsets) / sizeof(offsets[0]); i++)
		if (word_at(base, offsets[i]) == tid) {
			atomic_store(&tid_offset, offsets[i]);
			break;
		}
}

/* 0: not known. When nobody may be asked, the control block is believed. */
static uint32_t who(uint64_t base)
{
	uint32_t offset = atomic_load(&tid_offset);

	if (!agent_quiet)
		return (uint32_t)SYS1(SYS_gettid, 0);
	return offset && base && *(volatile uint64_t *)base == base ? word_at(base, offset) : 0;
}

static __attribute__((noinline)) struct agent_thread *slow(uint64_t base)
{
	uint32_t tid = who(base), pid, none = 0;
	struct agent_thread *t;
	uint64_t signals;

	if (!tid)
		return NULL;
	if (atomic_load(image)) {
		t = lookup(tid);
		if (t) {
			learn(base, tid);
			return t;
		}
	}
	signals = skep_signals_block();
	/* A forked child's only thread bears its id. */
	pid = !agent_quiet         ? (uint32_t)SYS1(SYS_getpid, 0)
	      : atomic_load(image) ? (uint32_t)agent_skep.pid
				   : tid;
	while (!atomic_compare_exchange_strong(&making, &none, tid)) {
		/* Held by a thread that a fork left behind. */
		if (none == tid || !atomic_load(image))
			break;
		none = 0;
		skep_cpu_yield();
	}
	if (!atomic_load(image)) {
		for (uint32_t i = 0; i < BUCKETS; i++)
			atomic_store(&table[i], NULL);
		agent_skep.pid = (pid_t)pid;
		atomic_store(image, 1);
	}
	t = make(tid, pid);
	learn(base, tid);
	atomic_store(&making, 0);
	skep_signals_restore(signals);
	return t;
}

struct agent_thread *agent_thread(void)
{
	uint32_t offset = atomic_load_explicit(&tid_offset, memory_order_relaxed), tid;
	uint64_t base = fs_base();
	struct agent_thread *t;

	if (__builtin_expect(offset && base && atomic_load_explicit(image, memory_order_relaxed) &&
				     !atomic_load_explicit(&agent_lookalikes, memory_order_relaxed),
			     1)) {
		tid = word_at(base, offset);
		t = tid ? lookup(tid) : NULL;
		if (__builtin_expect(t != NULL, 1))
			return t;
	}
	return slow(base);
}

void agent_threads_stock(void)
{
	struct agent_thread *t;
	uint32_t n = 0;

	for (t = atomic_load(&spare); t && equip(t); t = t->next)
		n++;
	for (; n < STOCK && chunk(); n += CHUNK)
		for (t = atomic_load(&spare); t && !t->level[AGENT_NEST - 1].env && equip(t);
		     t = t->next)
			;
}

bool agent_is_clone(const struct agent_clone *c)
{
	for (struct agent_thread *t = atomic_load(&agent_blocks); t; t = t->all)
		if (c == &t->clone)
			return true;
	return false;
}

struct skep_self_cache *skep_agent_self_cache(void)
{
	static struct skep_self_cache none;
	struct agent_thread *t = agent_thread();

	return t ? &t->self : &none;
}

int agent_threads_init(void)
{
	image = skep_wipe_alloc(sizeof(*image));
	if (!image)
		return -ENOMEM;
	atomic_store(image, 1);
	return 0;
}
