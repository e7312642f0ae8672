/* SPDX-License-Identifier: Apache-2.0 */
/* What the supervisor reads of the agent from outside when it leaves: memory, and the block per thread. */
#ifndef SKEP_AGENT_THREAD_H
#define SKEP_AGENT_THREAD_H

#include <stdbool.h>
#include <stdint.h>

#include "os/participant.h"
#include "trace/agent/abi.h"

struct skep_env;

#define AGENT_AREAS 2048
struct agent_area {
	uint64_t base, size;
};

#define AGENT_NEST    3 /* a program, one in a signal handler on top of it, one more */
#define AGENT_RETURNS 64 /* as in the kernel: calls whose return is awaited */

struct agent_return {
	volatile uint64_t
		slot; /* where the return address stands; 0: free, 1: about to be filled */
	uint64_t real; /* what it is */
	const struct agent_site *site;
	bool shown; /* the true one stands there for the moment */
};

/* What clone3 is given instead of the host's arguments. */
struct agent_clone {
	uint8_t args[128];
	uint64_t host;
};

struct agent_thread {
	struct agent_thread *next; /* in its hash chain */
	struct agent_thread *all; /* in the list of all */
	struct skep_self_cache self;
	uint32_t tid, pid;
	volatile uint32_t depth; /* programs under way */
	volatile uint32_t nret; /* entries of ret in use, free ones among them */
	uint32_t editing; /* how often a thread is at work on ret: more than once by handlers */
	struct {
		struct skep_env *env;
		uint64_t sp; /* the host's when it was entered */
	} level[AGENT_NEST];
	struct agent_return ret[AGENT_RETURNS];
	bool shown; /* some of ret are */
	uint32_t nvfork;
	uint64_t vfork[AGENT_NEST][7]; /* of the stack, while children run on it */
	struct agent_clone clone;
};

#endif
