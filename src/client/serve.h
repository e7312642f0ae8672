/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Many clients on one instance. Who wants to join (join.h) speaks to the server over a socket, in
 * messages of a fixed size, and hands it the listener of a seccomp filter; whoever is stopped by
 * that filter is served by threads of its own from then on, so that nobody waits for another's calls.
 */
#ifndef SKEP_CLIENT_SERVE_H
#define SKEP_CLIENT_SERVE_H

#include <stdbool.h>
#include <stdint.h>

#include "client/mounts.h"
#include "skep.h"

/* ---- The messages: an ask, and its reply ---- */

enum skep_serve_op {
	SKEP_SERVE_OVERVIEW = 1,
	SKEP_SERVE_JOIN, /* the reply comes with SKEP_SERVE_HAS_* descriptors */
	/* With a listener. Answered when it is served. From then on the socket only tells each side
	 * that the other one lives. */
	SKEP_SERVE_LISTENER,
};

#define SKEP_SERVE_MAGIC 0x736b6570u

struct skep_serve_ask {
	uint32_t magic, op;
};

/* Which descriptors come, in this order: those of struct skep_mounts, and the page that tells what is
 * being answered (struct skep_serving), for reading. */
enum {
	SKEP_SERVE_HAS_PINS = 1,
	SKEP_SERVE_HAS_TRACE = 2,
	SKEP_SERVE_HAS_NS = 4,
	SKEP_SERVE_HAS_USER = 8,
	SKEP_SERVE_HAS_SERVING = 16,
};

struct skep_serve_reply {
	int32_t err; /* 0 or -errno; with one there is nothing else */
	uint32_t has;
	uint32_t jit;
	int32_t pid;
	uint32_t clients, progs, maps, links;
};

/* ---- The server ---- */

struct skep_serve;
struct skep_net_hook;

struct skep_serve_opts {
	int listen; /* a socket that doesn't block, or -1; the caller's */
	const struct skep_mounts *mounts; /* the clients' directories; the caller's */
	bool jit;
	unsigned own; /* clients that are served otherwise, but counted */
	struct skep_net_hook *const *ports;
	unsigned nports;
};

/* 0 or -errno. */
int skep_serve_open(struct skep_serve **out, struct skep *skep, const struct skep_serve_opts *opts);
/* Until it is told to stop, or `until`, a descriptor or -1, is readable. */
void skep_serve_run(struct skep_serve *s, int until);
/* One round of it, waiting for at most so long: false when it is to stop. */
bool skep_serve_step(struct skep_serve *s, int until, int ms);
/* From any thread: at once, or when no client is left. */
void skep_serve_stop(struct skep_serve *s, bool at_once);
/* A connection, which becomes the server's. */
void skep_serve_accept(struct skep_serve *s, int sock);
/* Clients that are being served. */
unsigned skep_serve_clients(struct skep_serve *s);
/* Ends all connections. Calls under way are finished; false if one takes longer than some seconds: then
 * a thread still uses the instance. */
bool skep_serve_close(struct skep_serve *s);

#endif
