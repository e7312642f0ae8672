/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The wire: skep between two interfaces. A program sees what comes in at A and
 * decides; what comes in at B goes out of A. With A alone it watches:
 * verdicts are counted, nothing is held back or sent. Besides that program there may be those of
 * tcx: on what the program let in at A, and on what goes out of A.
 */
#ifndef SKEP_WIRE_H
#define SKEP_WIRE_H

#include <signal.h>
#include <stdint.h>

#include "net/port.h"

#define SKEP_WIRE_VERDICTS 16

struct skep_wire_stats {
	uint64_t ns; /* since the start */
	uint64_t verdicts[SKEP_WIRE_VERDICTS]; /* by row of skep_verdicts(prog_type) */
	uint64_t passed, dropped, returned /* XDP_TX */, redirected;
	uint64_t
		lost_redirects; /* to an interface that is not here, or not let out by a devmap's program */
	uint64_t backwards; /* from B to A */
	uint64_t run_ns; /* in the program and around it */
	struct skep_port_stats a, b;
};

/* Programs of tcx, in order: each may leave the frame to the next. */
struct skep_chain {
	struct skep_runner **run;
	uint32_t n;
};

struct skep_wire {
	struct skep_port *a, *b; /* b NULL: watch */
	struct skep_runner *runner; /* NULL: everything passes */
	uint32_t prog_type;
	struct skep_chain in, out; /* at A; `out` needs b */
	uint64_t duration_ns; /* 0: until *stop */
	const volatile sig_atomic_t *stop; /* NULL: never */
	/* Each second, on the wire's thread; may be NULL. */
	void (*tick)(void *arg, const struct skep_wire_stats *stats);
	void *tick_arg;
	/* Between batches, for consumers of ring buffers and the like; may be NULL. */
	void (*idle)(void *arg);
	void *idle_arg;
	int wake; /* an eventfd that ends the wait for frames, for idle to read; 0: none */
};

/* The program from now on; before a run, or on its thread by idle. The runner stays the caller's. */
void skep_wire_use(struct skep_wire *wire, struct skep_runner *runner, uint32_t prog_type);
/* The same for one of wire->in and wire->out; the array too stays the caller's. */
void skep_wire_chain(struct skep_wire *wire, struct skep_chain *chain, struct skep_runner **run,
		     uint32_t n);

/* Runs on the calling thread until told to stop. 0, or -errno (-ENETDOWN: an interface
 * went away). stats gets the totals in any case. */
int skep_wire_run(const struct skep_wire *wire, struct skep_wire_stats *stats);

#endif
