/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Names of instances: sockets in a directory that is its user's alone ($XDG_RUNTIME_DIR/skep,
 * /run/user/UID/skep or /tmp/skep-UID).
 */
#ifndef SKEP_CLIENT_NAME_H
#define SKEP_CLIENT_NAME_H

#include <stdint.h>

#include "client/error.h"

#define SKEP_NAME_LEN 48 /* characters, at most: letters, digits, '-', '_', '.', not the first */

/* A name that is taken. */
struct skep_name {
	int sock; /* listens */
	int dir;
	uint64_t ino; /* of the socket's file */
	char name[SKEP_NAME_LEN + 1];
};
#define SKEP_NAME_NONE ((struct skep_name){.sock = -1, .dir = -1})

/* Takes a name: one that a dead process left is free. 0 or -errno. */
int skep_name_take(struct skep_name *out, const char *name, struct skep_error *err);
/* Gives it back. */
void skep_name_end(struct skep_name *n);
/* A socket to who has that name, who is of our user: -errno. */
int skep_name_connect(const char *name, struct skep_error *err);
/* Calls fn with a socket, which is closed then, to each instance of this user's, in alphabetical order:
 * their number, or -errno. */
int skep_name_each(void (*fn)(void *arg, const char *name, int sock), void *arg,
		   struct skep_error *err);

#endif
