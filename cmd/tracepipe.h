/* SPDX-License-Identifier: Apache-2.0 */
/*
 * bpf_printk with the kernel runtime: the kernel writes it to one trace of the whole
 * machine, from which the lines of this process are picked.
 */
#ifndef SKEP_CMD_TRACEPIPE_H
#define SKEP_CMD_TRACEPIPE_H

#include <stdbool.h>
#include <stddef.h>

struct bpf_object;

/* Whether a program of the object calls bpf_trace_printk or bpf_trace_vprintk. */
bool tracepipe_wanted(struct bpf_object *obj);

struct tracepipe;
/* Lines of all tasks, or of this thread. Needs root. Tracefs need not be mounted. 0 or -errno. */
int tracepipe_open(struct tracepipe **out, bool all,
		   void (*line)(void *arg, const char *text, size_t len), void *arg);
/* Passes on what came since. */
void tracepipe_take(struct tracepipe *t);
void tracepipe_close(struct tracepipe *t);

#endif
