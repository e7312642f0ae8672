/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Tracing: programs of an instance at functions and system calls of processes. A trace (the
 * supervisor's side) holds what is attached and lets an agent into each traced process; programs run
 * there. docs/tracing.md tells how.
 *
 * One thread at a time uses a trace. What is done to traced processes another process does, the keeper,
 * which outlives the supervisor to leave them. Programs are attached before processes are entered.
 */
#ifndef SKEP_TRACE_H
#define SKEP_TRACE_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "client/error.h"
#include "skep.h"

struct skep_trace;

struct skep_trace_opts {
	/* Something that people should know: a process that can't be entered, a place that can't be
	 * patched. NULL: nobody is told. */
	void (*notice)(void *arg, const char *text);
	/* A process of the started command is about to end or to execute another program: what happened in it has
	 * been told, and its memory is still there. Costs a stop each time. NULL: nobody asks. */
	void (*leaving)(void *arg, pid_t pid);
	void *notice_arg; /* of both */
};

int skep_trace_open(struct skep_trace **out, struct skep *skep, const struct skep_trace_opts *opts,
		    struct skep_error *err);
/* No more programs are run, all processes are left, every byte is restored; may be repeated. */
void skep_trace_detach(struct skep_trace *trace);
/* Detaches and frees. */
void skep_trace_close(struct skep_trace *trace);

struct skep_uprobe {
	const char *path; /* of the program or library; a name without '/' is looked for */
	const char *func; /* NULL: offset counts from the file's beginning */
	bool pattern; /* func has wildcards: every function that matches */
	bool ret; /* at the return */
	uint64_t offset;
	uint64_t cookie;
	uint64_t semaphore; /* file offset of one that is to be above zero, 0: none */
};
/* Attaches the program behind a descriptor (type KPROBE): the number of places, or -errno. */
int skep_trace_uprobe(struct skep_trace *trace, int prog_fd, const struct skep_uprobe *u,
		      struct skep_error *err);
/* Attaches to a USDT probe, "PATH:PROVIDER:NAME", at all its places. specs_fd: the map __bpf_usdt_specs of the
 * program's object, for usdt.bpf.h; -1: it has none. The number of places, or -errno. */
int skep_trace_usdt(struct skep_trace *trace, int prog_fd, int specs_fd, const char *probe,
		    struct skep_error *err);
/* Attaches to a system call (name NULL: to all); kind is an AGENT_* of agent/abi.h. The records of tracepoints
 * have room for six arguments. */
int skep_trace_syscall(struct skep_trace *trace, int prog_fd, const char *name, uint32_t kind,
		       uint64_t cookie, struct skep_error *err);
int skep_trace_syscall_nr(const char *name); /* -ENOENT */
/* Attaches by a section's name, as libbpf does: "uprobe/PATH:FUNC+OFF", "uretprobe/...",
 * "uprobe.multi/PATH:PATTERN": the number of places, or -errno (-EOPNOTSUPP: no such hook). */
int skep_trace_section(struct skep_trace *trace, int prog_fd, const char *section,
		       struct skep_error *err);
/* Whether a program of that section could be attached, as far as that can be told without a trace:
 * 0, or -EACCES if it reads what is not in the event's record. */
int skep_trace_section_check(struct skep *skep, int prog_fd, const char *section,
			     struct skep_error *err);
/* The file that a name means: the command found along PATH, the library where the loader finds
 * it. 0 or -ENOENT. */
int skep_trace_find_file(const char *name, char *path, size_t size);

/* Starts a command, traced from its first instruction on, with its children; at most one, before any
 * process is entered. It is no child of the caller's: skep_trace_serve() tells its end. */
int skep_trace_start(struct skep_trace *trace, char *const *argv, pid_t *pid,
		     struct skep_error *err);
/* Enters a running process. */
int skep_trace_enter(struct skep_trace *trace, pid_t pid, struct skep_error *err);
/* Does what there is to do (letting agents into new programs), waiting for it at most that long.
 * 0, or -ECHILD when the started command has ended: *status as waitpid gives it. */
int skep_trace_serve(struct skep_trace *trace, int timeout_ms, int *status);
/* Events that programs did not see, for lack of memory, nesting or room. */
uint64_t skep_trace_missed(const struct skep_trace *trace);
/* Processes entered so far. */
unsigned skep_trace_entered(const struct skep_trace *trace);

#endif
