/* SPDX-License-Identifier: Apache-2.0 */
/* tracefs, as an instance has it: what programs print. */
#ifndef SKEP_CLIENT_TRACEFS_H
#define SKEP_CLIENT_TRACEFS_H

#include <stddef.h>

#define SKEP_TRACEFS "/sys/kernel/tracing"
#define SKEP_DEBUGFS "/sys/kernel/debug"

/* Makes the files in an empty directory: as far as it goes. */
void skep_tracefs_fill(int dir);

/* The writing end of trace_pipe. */
struct skep_tracefs;
int skep_tracefs_open(struct skep_tracefs **out, int dir);
void skep_tracefs_close(struct skep_tracefs *t);
/* skep_opts.printk, with a struct skep_tracefs: to the pipe, with who called, as the kernel writes it. To
 * standard error too, until somebody opens the pipe. */
void skep_tracefs_print(void *arg, const char *text, size_t len);

#endif
