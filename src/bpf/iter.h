/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Iterators: a program is called for each object of a kind, and what it writes is what is read from
 * the descriptor that ITER_CREATE makes. Here it runs when that is made, and the descriptor
 * is a file of memory that holds the text.
 */
#ifndef SKEP_ITER_H
#define SKEP_ITER_H

#include "bpf/call.h"
#include "bpf/link.h"
#include "helper/kern_ctx.h"
#include "prog/run.h"

#define SKEP_ITER_ARGS 4
#define SKEP_ITER_CTX  (SKEP_ITER_ARGS * 8) /* bytes of the largest context */

struct skep_ctx_field;

/* What an iterator's link was asked for. */
struct skep_iter_link {
	const struct skep_iter_target *target;
	struct skep_map *map; /* whose elements; referenced, or NULL */
	uint32_t tid, tgid; /* which tasks; 0, 0: all */
};

/* The file that a program writes to; view is what it sees of it. */
struct skep_seq {
	struct skep_view_seq view;
	bool overflow;
	char *buf; /* view.size bytes, view.count of them used */
};

/* One reading. */
struct skep_iter {
	struct skep *skep;
	const struct skep_iter_link *of;
	struct skep_session session;
	struct skep_view_iter_meta meta;
	uint64_t ctx[SKEP_ITER_ARGS]; /* meta, then what the target has */
	struct skep_seq seq;
	char *text; /* so far, without what is in seq */
	size_t len;
};

struct skep_iter_target {
	const char *name; /* "bpf_map": programs are attached to bpf_iter_bpf_map */
	const struct skep_ctx_field *fields;
	uint32_t nfields;
	uint32_t args; /* in ctx, meta among them */
	bool sleepable; /* takes programs that may sleep */
	/* Reads LINK_CREATE's iter_info; NULL: there is nothing to choose. */
	int (*attach)(struct skep *skep, const struct skep_prog *prog,
		      const union bpf_iter_link_info *info, struct skep_iter_link *out);
	/* The target's part of struct bpf_link_info. */
	void (*info)(const struct skep_iter_link *link, struct bpf_link_info *info);
	/* Calls skep_iter_show() for each object. */
	int (*each)(struct skep_iter *it);
};

/* By the name of the function that a program is attached to; NULL: none. */
const struct skep_iter_target *skep_iter_find(const char *func);
/* Makes an iterator's link, and a descriptor with its text: a descriptor or -errno. */
long skep_iter_link(struct skep_call *c, struct skep_prog *prog);
long skep_iter_text(struct skep_call *c, struct skep_link *link);
/* Of a link with BPF_LINK_TYPE_ITER. */
const struct skep_iter_link *skep_iter_of(const struct skep_link *link);

/* Runs the program on it->ctx as it is. 0, or what ends the reading. */
int skep_iter_show(struct skep_iter *it);

extern const struct skep_iter_target skep_iter_maps, skep_iter_progs, skep_iter_links,
	skep_iter_map_elems, skep_iter_tasks;

#endif
