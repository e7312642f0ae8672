/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Several programs on one hook, in an order that those who attach choose (tcx): the list, the rules
 * of BPF_F_BEFORE, AFTER, REPLACE, ID and LINK, and its revision. Links and programs without
 * a link share it.
 */
#ifndef SKEP_MPROG_H
#define SKEP_MPROG_H

#include "bpf/call.h"
#include "bpf/link.h"

#define SKEP_MPROG_MAX 64u

struct skep_mprog_entry {
	struct skep_prog *prog; /* referenced */
	struct skep_link *link; /* whose it is; NULL: attached by PROG_ATTACH */
};

struct skep_mprog {
	struct skep *skep;
	/* Makes these the programs that run, in order; none of the others is under way when it
	 * returns. 0 or -errno, with what ran before unchanged. */
	int (*run)(void *arg, struct skep_prog *const *progs, uint32_t n);
	void *arg;
	pthread_mutex_t lock; /* everything below */
	uint64_t revision;
	uint32_t n;
	struct skep_mprog_entry e[SKEP_MPROG_MAX];
};

/* To be registered for an attach type with a struct skep_mprog as argument. */
extern const struct skep_hook skep_mprog_tcx;

void skep_mprog_init(struct skep_mprog *m, struct skep *skep,
		     int (*run)(void *arg, struct skep_prog *const *progs, uint32_t n), void *arg);
/* After unregistering: lets go of what PROG_ATTACH left. */
void skep_mprog_clear(struct skep_mprog *m);

/* PROG_ATTACH, PROG_DETACH (prog NULL: whichever lies there) and PROG_QUERY. */
int skep_mprog_attach(struct skep_mprog *m, struct skep_prog *prog, const union bpf_attr *attr);
int skep_mprog_detach(struct skep_mprog *m, struct skep_prog *prog, const union bpf_attr *attr);
/* m NULL: a place where nothing can be attached, which has an empty list. */
int skep_mprog_query(struct skep_mprog *m, struct skep_call *c);

#endif
