/* SPDX-License-Identifier: Apache-2.0 */
/* Joining an instance that another process serves (serve.h). */
#ifndef SKEP_CLIENT_JOIN_H
#define SKEP_CLIENT_JOIN_H

#include <stdbool.h>

#include "client/error.h"
#include "client/mounts.h"
#include "client/notify.h"
#include "client/serve.h"

struct skep_join {
	int sock;
	bool jit; /* the instance compiles programs */
	struct skep_mounts mounts; /* its clients' directories, to be entered; -1: there are none */
	const struct skep_serving *serving;
};

/* What the server at the other end of a socket says of itself: 0 or -errno. */
int skep_join_overview(int sock, struct skep_serve_reply *out);
/* Connects to the instance of that name. 0 or -errno. */
int skep_join_open(struct skep_join *j, const char *name, struct skep_error *err);
/* From now on the server answers who is stopped by the filter of that listener. */
int skep_join_give(struct skep_join *j, int listener, struct skep_error *err);
/* Waits until nobody is left behind the filter. If the server ends first, its clients' calls of
 * bpf(2) are answered here, with ENOTCONN; `first` is a notification's number from before it began. */
void skep_join_wait(struct skep_join *j, int listener, uint64_t first, const char *name);
void skep_join_close(struct skep_join *j);

#endif
