/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the supervisor and the agent in a traced process share: the session's control
 * segment, mapped by all of them, and the records that the supervisor writes into a traced process.
 * Both sides come from one build, so there is no version but the magic number.
 *
 * The control segment holds no pointers. Records are only ever added: first written, then
 * counted (nprogs, nlinks), so that a reader sees whole ones.
 */
#ifndef SKEP_AGENT_ABI_H
#define SKEP_AGENT_ABI_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "map/map.h"

#define AGENT_MAGIC     0x736b657061670003ull
#define AGENT_MAX_MAPS  256
#define AGENT_MAX_PROGS 256
#define AGENT_MAX_LINKS 8192
#define AGENT_MAX_PERF  1024 /* readers of perf event arrays */
#define AGENT_PROG_MAPS 64
#define AGENT_CTL_SIZE  (64u << 20) /* sparse */

/* Descriptors are the supervisor's: an agent opens them through /proc while it is let in. */
struct agent_seg {
	int32_t fd; /* -1: none */
	uint64_t dev, ino;
};

struct agent_map {
	struct skep_map_desc desc;
	struct agent_seg data, ctl;
	bool read_only;
};

struct agent_perf {
	uint32_t map, index; /* the array, by number here, and the element */
	struct skep_perf_opts opts;
	uint64_t size; /* of the data area */
	struct agent_seg seg;
};

/* A program's image, its parts at offsets in the segment. */
struct agent_prog {
	uint32_t type, len, nrelocs, nsubprogs, nmaps;
	uint64_t insns, facts, orig, relocs, subprogs;
	uint32_t maps[AGENT_PROG_MAPS];
	bool jit;
	char name[BPF_OBJ_NAME_LEN];
};

/* A program at a hook. */
struct agent_link {
	uint32_t prog;
	uint32_t kind; /* enum agent_kind: the context that it gets */
	uint64_t cookie;
	int32_t nr; /* system calls: only this one; -1: all */
	_Atomic uint32_t on;
};
enum agent_kind {
	AGENT_ENTRY, /* uprobe: pt_regs */
	AGENT_RETURN, /* uretprobe: pt_regs */
	AGENT_SYS_ENTER_TP, /* syscalls:sys_enter_*, raw_syscalls:sys_enter: the record */
	AGENT_SYS_EXIT_TP,
	AGENT_RAW_ENTER, /* raw tracepoints: arguments */
	AGENT_RAW_EXIT,
	AGENT_KSYSCALL, /* kprobe at __x64_sys_*: a pt_regs that points to the caller's */
	AGENT_KRETSYSCALL,
};

struct agent_ctl {
	uint64_t magic;
	_Atomic uint32_t
		off; /* no more programs are run: the supervisor has ended or is about to */
	uint32_t cpus;
	int32_t printk_map; /* ring buffer for bpf_trace_printk, number of the map; -1: none */
	struct agent_seg slots, parts;
	_Atomic uint32_t nmaps, nprogs, nlinks, nperf;
	_Atomic uint64_t missed; /* events that no program saw */
	_Atomic uint32_t seen; /* processes that were about to end, of which the supervisor knows */
	_Atomic uint32_t entered; /* processes so far */
	_Atomic uint64_t heap; /* end of what is used of the segment */
	struct agent_map maps[AGENT_MAX_MAPS];
	struct agent_prog progs[AGENT_MAX_PROGS];
	struct agent_link links[AGENT_MAX_LINKS];
	struct agent_perf perf[AGENT_MAX_PERF];
};

struct agent_range {
	uint64_t start, end;
};

/* What agent_init() is told; in the traced process, for the call only. */
struct agent_boot {
	int32_t supervisor; /* process id, as the traced process sees it */
	struct agent_seg ctl;
	uint64_t vdso_clock; /* __vdso_clock_gettime there, 0: none */
	struct agent_range fixed; /* of the program's file: readable as long as it runs */
};

/* An unwinder begins here, and has to find true return addresses; it has ended. */
#define AGENT_SITE_UNWIND 1u
#define AGENT_SITE_CAUGHT 2u

/* A patched place, beside its trampoline; the supervisor writes it, the agent reads it. */
#define AGENT_SITE_LINKS 24
struct agent_site {
	uint64_t ip; /* where the probe is */
	uint64_t func; /* start of the function, for bpf_get_func_ip */
	uint64_t resume; /* where the moved instructions are */
	uint32_t nentry, nreturn; /* links of either kind, entries first */
	uint32_t links[AGENT_SITE_LINKS];
	uint32_t flags; /* AGENT_SITE_* */
	uint32_t pad;
};

#endif
