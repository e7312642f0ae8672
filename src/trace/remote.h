/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A process held by ptrace for a moment: all its threads stopped, its memory read and written,
 * system calls and functions run in it. Everything happens on the thread that stopped it.
 */
#ifndef SKEP_TRACE_REMOTE_H
#define SKEP_TRACE_REMOTE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>
#include <sys/user.h>

struct remote_thread {
	pid_t tid;
	struct user_regs_struct regs; /* as it stopped */
	bool pending; /* it was asked to stop, and has not yet */
	bool changed; /* regs are to be written back */
	int signal; /* it stopped on its way to this signal: 0 or the number */
	/* In the middle of a call that nothing interrupts (vfork): it will stop before it runs its
	 * own code again. Its registers are not known, but for rip. */
	bool parked;
};

/* Threads that were parked when their process was let go: they stop later, and go on then. And those
 * that were killed while they were held: who traces them has to wait for them. */
#define REMOTE_LATE 4096
struct remote_late {
	pid_t tid[REMOTE_LATE];
	unsigned n;
	int filters; /* seccomp filters that every traced process has at least: harmless ones */
	/* The command that the supervisor started and whose end it wants to know. */
	pid_t child;
	bool child_gone;
	int child_status;
};
void remote_late_poll(struct remote_late *late);
bool remote_is_late(const struct remote_late *late, pid_t tid);
/* What waitpid told of a thread that is held: whether it is gone. */
bool remote_is_gone(struct remote_late *late, pid_t tid, int status);

struct remote {
	pid_t pid; /* the thread group */
	int mem; /* its memory */
	struct remote_thread *threads;
	size_t nthreads;
	size_t worker; /* number of the thread that runs what is asked */
	uint64_t scratch; /* `syscall; int3` there, 0: to be written over the worker's code */
	struct remote_late *late;
	int filters; /* seccomp filters in force */
	bool suspended; /* not for the worker, as long as it is held */
	bool bound; /* by a filter that may kill: no system call can be run in it */
	/* While something runs in it: called now and then; a filter may have stopped the worker. */
	void (*idle)(void *arg, pid_t tid);
	void *idle_arg;
};

/* Stops all threads of a process, tid being the worker (0: the leader). 0, or -errno: -EPERM,
 * -ESRCH, -EBUSY (somebody else traces it), -ETIMEDOUT (a thread does not stop); nothing is held then. */
int remote_stop(struct remote *r, pid_t pid, pid_t tid);
/* The same of a thread that this one traces already and that is stopped, with no others beside it. */
int remote_adopt(struct remote *r, pid_t pid);
/* Lets everything go on where it was. Signals that came meanwhile are delivered. */
void remote_resume(struct remote *r);

int remote_read(const struct remote *r, uint64_t addr, void *to, size_t len);
/* Writes code and read-only memory, too. */
int remote_write(const struct remote *r, uint64_t addr, const void *from, size_t len);
/* Runs a system call on the worker; its result, or -errno of the attempt (-ESRCH: it died). */
long remote_syscall(struct remote *r, long nr, uint64_t a, uint64_t b, uint64_t c, uint64_t d,
		    uint64_t e, uint64_t f);
/* Calls fn(arg) on the worker with that stack (its upper end). call: `call *%rax; int3`. */
long remote_call(struct remote *r, uint64_t call, uint64_t fn, uint64_t arg, uint64_t stack);

/* One line of /proc/PID/maps. */
struct remote_map {
	uint64_t start, end, offset, dev, ino;
	char perms[5];
	char path[512];
};
/* All lines, in order: what fn answers if not 0. -ESRCH. */
int remote_maps(pid_t pid, int (*fn)(void *arg, const struct remote_map *m), void *arg);
/* Room for size bytes that lies within reach of [lo, hi), or anywhere if hi is 0: 0, none. */
uint64_t remote_room(pid_t pid, uint64_t lo, uint64_t hi, size_t size);
/* A field of /proc/PID/status as a number; -1: none. */
long long remote_status(pid_t pid, const char *field, int base);

#endif
