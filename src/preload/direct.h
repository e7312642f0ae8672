/* SPDX-License-Identifier: Apache-2.0 */
/*
 * In a client of skep exec: operations on single elements are done here, in the map's segments,
 * which this process maps too; nothing else is told. What can't be done here (other types, other
 * commands, memory of which it is not certain that it is mapped) goes to the instance.
 */
#ifndef SKEP_PRELOAD_DIRECT_H
#define SKEP_PRELOAD_DIRECT_H

#include <stdbool.h>

union bpf_attr;

/* bpf(2): true if it was done, with the result (-errno) in *ret. */
bool skep_direct(int cmd, union bpf_attr *attr, unsigned size, long *ret);

/* Descriptors [first, last] end, or may name something else from now on. */
void skep_direct_closing(unsigned first, unsigned last);
/* Code came into the process that may close descriptors without telling anybody. */
void skep_direct_new_code(void);

#endif
