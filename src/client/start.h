/* SPDX-License-Identifier: Apache-2.0 */
/* Starting a command whose calls are to be answered here. */
#ifndef SKEP_CLIENT_START_H
#define SKEP_CLIENT_START_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "client/error.h"
#include "client/mounts.h"

struct skep_start_opts {
	bool view; /* its own view of the kernel's files (mounts.h) */
	bool jit; /* what that says of the instance */
	const struct skep_mounts *shared; /* directories of its instance's, or NULL: new ones */
	bool number; /* find out skep_start.first */
};

struct skep_start {
	pid_t pid; /* the command's, which the caller waits for */
	int listener; /* of its notifications */
	uint64_t first; /* a notification's number, which later ones are counted from */
	int view_err; /* why there is no view, or 0 */
	struct skep_mounts mounts; /* this process's descriptors, or -1 */
	char pin_dir[32]; /* for skep_opts, if mounts.pins is there */
	int sock; /* the command waits at its other end */
};
#define SKEP_START_NONE                                                                            \
	((struct skep_start){.sock = -1, .listener = -1, .mounts = SKEP_MOUNTS_NONE})

/* Starts argv (found in PATH), which waits. 0 or -errno. Its own failure to start
 * shows in its exit status, 127 or 126 as shells have it. */
int skep_start(struct skep_start *s, const struct skep_start_opts *opts, char *const *argv,
	       struct skep_error *err);
/* A view alone, for clients that are to come. */
int skep_start_view(struct skep_start *s, bool jit);
/* Lets it run. */
void skep_start_go(struct skep_start *s);
/* Closes what is open; what still waits ends. */
void skep_start_end(struct skep_start *s);

#endif
