/* SPDX-License-Identifier: Apache-2.0 */
/* The tasks of the machine, as it shows them to this process. */
#ifndef SKEP_TASK_H
#define SKEP_TASK_H

#include <stdint.h>

struct skep_task { /* fields are called as in the kernel's task_struct */
	uint32_t pid, tgid;
	uint32_t parent; /* its tgid, 0: none */
	char comm[16];
	uint32_t flags;
	uint64_t min_flt, maj_flt, nvcsw, nivcsw;
	int32_t prio, static_prio, exit_signal;
	uint32_t rt_priority, policy;
};

/* -ESRCH: it is gone. */
int skep_task_read(uint32_t tid, struct skep_task *out);
/* The numbers of all tasks, or of those of one process, rising; *tids is the caller's to free. */
int skep_task_list(uint32_t tgid, uint32_t **tids, uint32_t *n);

#endif
