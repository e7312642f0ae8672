/* SPDX-License-Identifier: Apache-2.0 */
/* Between the files of the supervisor's side. */
#ifndef SKEP_TRACE_SESSION_H
#define SKEP_TRACE_SESSION_H

#include <signal.h>

#include "bpf/instance.h"
#include "trace/agent/abi.h"
#include "trace/elf.h"
#include "trace/remote.h"
#include "trace/trace.h"
#include "trace/x86.h"

/* A place in a file where programs are attached. */
struct point {
	struct trace_elf *elf;
	uint64_t offset; /* in the file */
	struct trace_func func; /* around it */
	uint32_t flags; /* AGENT_SITE_* */
	uint64_t semaphore; /* of a USDT probe, offset in the file; 0: none */
	uint32_t nentry, nreturn;
	uint32_t links[AGENT_SITE_LINKS]; /* entries first */
};

/*
 * What every traced process has at the same address (trace->dir): where the agent is, and what
 * was changed. So whoever finds a process, also one that was forked unseen, can undo it all.
 */
#define DIR_AGENT      (16ull << 20) /* the agent's image is so far behind the directory */
#define DIR_ARENAS     64
#define DIR_PATCHES    8192
#define DIR_SEMAPHORES 64
struct dir_patch {
	uint64_t addr, stub; /* stub: of its code */
	uint32_t len; /* bytes replaced; 0: none, threads are led to the trampoline */
	bool syscall; /* addr is a system call instruction */
	uint32_t moved; /* instructions */
	uint8_t orig[24], now[8];
	uint8_t at[12], to[12]; /* of the moved instructions: offsets there and behind the call */
};
struct dir {
	uint64_t magic;
	uint64_t agent, agent_size; /* image and the stack for remote calls */
	uint64_t stack; /* its upper end */
	uint32_t narenas, npatches;
	struct {
		uint64_t base, size, used;
	} arenas[DIR_ARENAS];
	uint32_t nsemaphores; /* raised there */
	uint64_t semaphores[DIR_SEMAPHORES];
	struct dir_patch patches[DIR_PATCHES];
};

/* A file whose system call instructions were met. */
struct known_file {
	uint64_t dev, ino; /* as maps shows them */
	struct trace_elf *elf; /* NULL: can't be read */
	struct x86_targets targets; /* of its branches, as file offsets */
	size_t nsites;
	uint64_t *sites; /* file offsets */
};

struct skep_trace {
	struct skep *skep;
	struct skep_trace_opts opts;
	struct skep_seg seg;
	struct agent_ctl *ctl;
	struct skep_map *maps[AGENT_MAX_MAPS];
	struct skep_prog *progs[AGENT_MAX_PROGS];
	struct skep_map *printk;
	struct trace_elf **elfs;
	size_t nelfs;
	struct point *points;
	size_t npoints;
	bool syscalls; /* programs are attached to system calls */
	struct known_file *files;
	size_t nfiles;
	bool unwinders; /* there are points at them */
	bool semaphores; /* of USDT probes */
	uint32_t nusdt; /* descriptions of arguments */
	uint64_t dir; /* address of struct dir in traced processes */
	pid_t supervisor; /* whose descriptors agents open */
	struct remote_late late;
	int listener; /* the started command's filter's, -1: none */
	/* keeper.c: on either side its end of the socket, 0: there is none. */
	int keeper;
	pid_t keeper_pid;
	bool left;
	sigset_t mask; /* the supervisor's, for the command */
	/* spawn.c */
	struct waiting *waiting;
	struct seccomp_notif *held; /* received, not yet handled */
	uint32_t nheld;
	pid_t pass_tid; /* what it asks next passes */
};

void trace_notice(struct skep_trace *t, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* The link's number, or -errno. */
int trace_add_link(struct skep_trace *t, int prog_fd, enum agent_kind kind, uint64_t cookie, int nr,
		   struct skep_error *err);
/* Gives printed text to the instance's callback. */
void trace_drain(struct skep_trace *t);

/* process.c, leave.c: with all threads of the process stopped. */
/* Lets the agent in and patches what is mapped: 0 or -errno. */
int process_enter(struct skep_trace *t, struct remote *r, struct skep_error *err);
/* Patches what was mapped since. */
int process_update(struct skep_trace *t, struct remote *r);
/* Takes back what entering mapped: the agent's image and the directory. */
void process_unload(struct skep_trace *t, struct remote *r, const struct dir *dir);
/* Restores every byte: 0, or the agent has to stay mapped: -EAGAIN, a thread is in it; -EBUSY, somebody
 * else patched over a patch; -EACCES, a filter does not let it unmap anything.
 * last: it is not tried again. */
int process_leave(struct skep_trace *t, struct remote *r, bool last);
/* Whether an agent of this trace is in there: 1, 0, -errno. */
int process_has_agent(struct skep_trace *t, pid_t pid);
/* Whether a line of the process's maps is of the file. */
bool process_is_file(const struct trace_elf *elf, pid_t pid, const struct remote_map *m);
/* Whether anything is attached to the file behind a descriptor of the process. */
bool process_wants_file(struct skep_trace *t, pid_t pid, int fd);
/* Leaves every process that has the agent. */
void process_leave_all(struct skep_trace *t);

/* semaphore.c */
/* Those of USDT probes in what is mapped by now. */
void semaphores_raise(struct skep_trace *t, struct remote *r, struct dir *dir);
void semaphores_lower(struct remote *r, const struct dir *dir);

/* patch.c */
/* A file's executable mapping in the process. */
struct module {
	struct trace_elf *elf; /* with points in it, or NULL */
	struct known_file *known; /* or NULL */
	uint64_t start, end, offset;
};
/* Room for a trampoline of size bytes within reach of [start, end): 0, none. */
uint64_t patch_room(struct remote *r, struct dir *dir, uint64_t start, uint64_t end, size_t size);
/* Writes a trampoline and the jump to it (if d->len), notes both. */
int patch_write(struct skep_trace *t, struct remote *r, struct dir *dir, struct dir_patch *d,
		const struct agent_site *site, uint64_t entry, const struct x86_moved *moved);
/* Whether a parked thread, which can't be moved, stands among those bytes. */
bool patch_is_in_use(const struct remote *r, uint64_t addr, uint32_t len);
bool patch_overlaps(const struct dir *dir, uint64_t addr, uint32_t len);
/* Patches a point: 1, 0 it was done already, -errno with the notice given. */
int patch_point(struct skep_trace *t, struct remote *r, struct dir *dir, const struct module *m,
		const struct point *p);

/* context.c */
/* Bytes of the record of a system call's tracepoint; nr -1: raw_syscalls. */
uint32_t trace_record_size(int nr, enum agent_kind kind);
/* Whether a program reads no more of its context than that: 0, or -EACCES with the line. */
int trace_check_record(const struct skep_prog *prog, const char *name, uint32_t size,
		       struct skep_error *err);

/* syscalls.c */
/* The same for the tracepoint of a system call, -1: of all. */
int syscalls_check_record(struct skep *skep, int prog_fd, int nr, uint32_t kind,
			  struct skep_error *err);
/* The known file of a line of maps, or NULL. */
struct known_file *syscalls_file(struct skep_trace *t, uint64_t dev, uint64_t ino);
/* Patches the instructions of a known file that were met elsewhere. */
void syscalls_patch(struct skep_trace *t, struct remote *r, struct dir *dir,
		    const struct module *m);
/* A thread was stopped before a system call at addr: the address of its trampoline's code, 0: none. */
uint64_t syscalls_at(struct skep_trace *t, struct remote *r, struct dir *dir, uint64_t addr);
void syscalls_close(struct skep_trace *t);
int dir_read(struct skep_trace *t, struct remote *r, struct dir *dir);
int dir_write_head(struct skep_trace *t, struct remote *r, const struct dir *dir);

/* spawn.c, in the keeper. */
/* Starts a command in that process group, stopped by its filter at what we want to know. */
int spawn_start(struct skep_trace *t, char *const *argv, pid_t group, struct skep_error *err);
/* Does what there is to do: true, look again soon. */
bool spawn_serve(struct skep_trace *t);
/* Lets pass whatever waits for an answer. */
void spawn_pass(struct skep_trace *t);
/* Of a remote: what the worker does for us passes the filter. */
void spawn_let_pass(void *arg, pid_t tid);
/* Lets go whom it holds. */
void spawn_close(struct skep_trace *t);

#endif
