/* SPDX-License-Identifier: Apache-2.0 */
/* What a program's return value means for its packet, by program type. */
#ifndef SKEP_VERDICT_H
#define SKEP_VERDICT_H

#include <stdint.h>

enum skep_fate { SKEP_FATE_PASS, SKEP_FATE_DROP, SKEP_FATE_TX, SKEP_FATE_REDIRECT };

struct skep_verdict {
	const char *name; /* "XDP_DROP"; "BYTES" for a socket filter's lengths */
	enum skep_fate fate;
	int64_t value; /* the return value, as the table lists it */
};

/* What returning `value` means for a program of BPF_PROG_TYPE_* `type`. Values that
 * a type does not define get the row that the kernel treats them as. */
const struct skep_verdict *skep_verdict(uint32_t type, uint32_t value);
/* The rows of a type in order, for tables of counts; *n gets their number. */
const struct skep_verdict *skep_verdicts(uint32_t type, uint32_t *n);

#endif
