/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What tests of the command share beyond driving it: programs and a capture whose contents are
 * known, both runtimes in turn, what it should say.
 */
#ifndef TEST_CMD_CASES_H
#define TEST_CMD_CASES_H

#include <stdbool.h>
#include <stddef.h>

#include "cmd.h"

extern const char *const runtimes[2]; /* "user", "kernel" */
/* Whether runtime i is there; counted. */
bool cmd_usable(int i);
#define EACH_RUNTIME(i)                                                                            \
	for (int i = 0; i < 2; i++)                                                                \
		if (cmd_usable(i))

/* Ends a group: prints "ran: NAME COUNT", with the count of usable runtimes unless it is given, and
 * removes the folder. */
int cmd_finish(const char *name, int count);

/* Fails unless it is in the text. */
void says(const char *text, const char *what);
/* Fails unless that run ended with 1 and said so. */
void refuses(const struct cmd_result *r, const char *what);

/* all_pass, all_drop (xdp), filter (socket), cgroup, on_write (tracepoint); maps percpu, sizes. */
extern const char pass_source[];
/* fine, and unchecked, which reads data[5] in line 7. */
extern const char bad_source[];
/* Ten frames: seven of 60 bytes, three of 100. */
const char *capture(void);
/* The whole file with a NUL behind it, to be freed. */
void *slurp(const char *path, size_t *len);
/* Compiles with clang directly, for objects that the command has not made. */
const char *object(const char *name, const char *source, const char *flags);

#endif
