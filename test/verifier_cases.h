/* SPDX-License-Identifier: Apache-2.0 */
/* The programs that test_verifier.c loads on skep and on the kernel. */
#ifndef SKEP_TEST_VERIFIER_CASES_H
#define SKEP_TEST_VERIFIER_CASES_H

#include <stdbool.h>
#include <stdint.h>

#include "bpf/uapi.h"

#define NOT_GPL 1u
#define STRICT  2u
#define LONG    4u /* walked for long: no log of every step */

/* Maps, by the numbers that programs use. */
struct map_spec {
	uint32_t type, key, value, max, flags;
	int inner; /* another map's number, -1 */
	uint32_t btf_value; /* type of the value, 0 */
	bool frozen;
};
#define N_MAPS 16
extern const struct map_spec map_specs[N_MAPS];

struct vcase {
	const char *name;
	uint32_t type; /* BPF_PROG_TYPE_* */
	const char *text; /* see vasm.h */
	uint32_t flags;
	uint8_t funcs[4]; /* BTF types of the functions, see make_btf() */
	const char *differs; /* why another verdict is known and right */
	uint32_t repeat; /* text that many times, then "exit" */
};
/* They end with a NULL name. */
extern const struct vcase vcases[];
extern const struct vcase vcases_dyn[]; /* may_goto, dynptrs, timers */
extern const struct vcase vcases_iter[]; /* iterators */
extern const struct vcase vcases_btf[]; /* kfuncs, pointers to typed structures */

/* A hole that the kernel's verifier once had. */
struct vhole {
	const char *cve, *what;
	struct vcase c;
	const char *message; /* the last one, of the refusal; NULL: it is accepted, or */
	bool refused; /* it is refused with a text that says what differs between runs */
};
extern const struct vhole vholes[]; /* ends with a NULL name */

#endif
