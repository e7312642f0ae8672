/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The host's stack by frame pointers, as the kernel's perf callchains have it: the place of the event, at a
 * function's first instruction the caller by the stack pointer, then frame by frame. Return addresses that
 * are ours for the moment are shown as what they stand for.
 */
#include "helper/stack.h"

#include "os/os.h"
#include "trace/agent/agent.h"

extern const uint8_t agent_return_here[];

static uint64_t true_return(uint64_t slot, uint64_t word)
{
	struct agent_thread *t;

	if (word != (uint64_t)(uintptr_t)agent_return_here)
		return word;
	t = agent_thread();
	/* Several at one place: the first one noted is the true one. */
	for (uint32_t i = 0; t && i < t->nret; i++)
		if (t->ret[i].slot == slot)
			return t->ret[i].real;
	return 0;
}

uint32_t skep_user_stack(struct skep_env *env, uint64_t *ips, uint32_t max)
{
	const struct agent_regs *regs = env->regs;
	uint64_t fp = regs->bp, lowest = regs->sp, frame[2];
	uint32_t n = 0;

	if (n < max)
		ips[n++] = regs->ip;
	if (n < max && env->func_ip && regs->ip == env->func_ip &&
	    !skep_probe_read(frame, (const void *)(uintptr_t)regs->sp, 8))
		ips[n++] = true_return(regs->sp, frame[0]);
	while (n < max && fp >= lowest && !(fp & 7) &&
	       !skep_probe_read(frame, (const void *)(uintptr_t)fp, sizeof(frame))) {
		uint64_t ret = true_return(fp + 8, frame[1]);

		if (!ret)
			break;
		ips[n++] = ret;
		lowest = fp + 16;
		fp = frame[0];
	}
	return n;
}
