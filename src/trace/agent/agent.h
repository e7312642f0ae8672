/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The agent: the part of skep inside a traced process. It is linked with nothing: no libc,
 * no thread-local storage, no signal handlers; memory comes from mmap. It is
 * compiled without vector registers, so entering it saves the general ones only.
 */
#ifndef SKEP_AGENT_H
#define SKEP_AGENT_H

#include <asm/ptrace.h>
#include <errno.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/syscall.h>

#include "bpf/instance.h"
#include "os/participant.h"
#include "trace/agent/abi.h"
#include "trace/agent/thread.h"

#define AGENT_EXPORT __attribute__((visibility("default"), used))

/* The kernel's, bpf programs see it. */
struct agent_regs {
	uint64_t r15, r14, r13, r12, bp, bx, r11, r10, r9, r8, ax, cx, dx, si, di, orig_ax;
	uint64_t ip, cs, flags, sp, ss;
};

/* ---- System calls, results as the kernel gives them ---- */

/* Set when the host lives under a filter that may kill: then the agent asks the kernel nothing. What can't be
 * done without fails, with -EPERM. */
extern bool agent_quiet;

static inline long agent_sys(long nr, long a, long b, long c, long d, long e, long f)
{
	register long r10 __asm__("r10") = d;
	register long r8 __asm__("r8") = e;
	register long r9 __asm__("r9") = f;
	long ret;

	if (__builtin_expect(agent_quiet, 0))
		return -EPERM;
	__asm__ volatile("syscall"
			 : "=a"(ret)
			 : "0"(nr), "D"(a), "S"(b), "d"(c), "r"(r10), "r"(r8), "r"(r9)
			 : "rcx", "r11", "memory");
	return ret;
}
#define SYS6(nr, a, b, c, d, e, f)                                                                 \
	agent_sys(nr, (long)(a), (long)(b), (long)(c), (long)(d), (long)(e), (long)(f))
#define SYS3(nr, a, b, c) SYS6(nr, a, b, c, 0, 0, 0)
#define SYS1(nr, a)       SYS6(nr, a, 0, 0, 0, 0, 0)

/* ---- Memory (os.c): all that the agent maps, so that it can be unmapped from outside ---- */
extern __attribute__((visibility("default"))) struct agent_area agent_areas[AGENT_AREAS];
/* As mmap and munmap; NULL: no memory. */
void *agent_map(size_t size, int prot, int flags, int fd);
void agent_unmap(void *at, size_t size);

/* ---- Threads (thread.c) ---- */

/* The calling thread's; NULL: no memory. */
struct agent_thread *agent_thread(void);
/* Notes the user's ids, for when they can't be asked for (task.c). */
void agent_note_ids(void);
/* Called by agent_init() only. */
int agent_threads_init(void);
/* The list of all blocks, the dead ones' too. */
extern __attribute__((visibility("default"))) struct agent_thread *_Atomic agent_blocks;
/* Makes blocks for threads to come: none can be made any more. */
void agent_threads_stock(void);

/* ---- Running (run.c) ---- */

extern struct skep agent_skep;
extern struct agent_ctl *agent_ctl;
extern struct skep_prog *agent_progs[AGENT_MAX_PROGS];
extern struct skep_map *agent_maps[AGENT_MAX_MAPS];
extern uint64_t agent_vdso_clock;
extern struct agent_range agent_fixed;

/* Claims an environment for a run: NULL, and the event counts as missed. */
struct skep_env *agent_begin(struct agent_thread *t, uint64_t sp);
void agent_end(struct agent_thread *t);
uint64_t agent_run(struct skep_env *env, const struct agent_link *link, void *ctx);

/* ---- Called by the entry code (entry.c) ---- */
void agent_on_probe(struct agent_regs *regs, const struct agent_site *site);
uint64_t agent_on_return(struct agent_regs *regs);

/* ---- Called by the supervisor in a stopped thread; 0 or more, or -errno ---- */
AGENT_EXPORT long agent_init(const struct agent_boot *boot);
AGENT_EXPORT long agent_sync(void); /* takes in what is new in the control segment */
/* Makes no system call from now on, but the host's own: a filter may kill. Before it is in force. */
AGENT_EXPORT long agent_be_quiet(void);

/* ---- System calls (syscall.c) ---- */
#define AGENT_MAX_SYS 1024
/* Threads that may be taken for others, because they share their control block. */
extern _Atomic uint32_t agent_lookalikes;
void agent_syscalls_add(uint32_t link);
/* Before the call: 1, the child will run on this stack. */
int agent_on_enter(struct agent_regs *regs, const struct agent_site *site);
void agent_on_exit(struct agent_regs *regs, int vforked);
/* Whether this is some thread's. */
bool agent_is_clone(const struct agent_clone *c);

/* ---- Loading (load.c) ---- */
/* Takes in what is new in the control segment: 0 or -errno. */
int agent_load(void);

#endif
