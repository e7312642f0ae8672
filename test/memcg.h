/* SPDX-License-Identifier: Apache-2.0 */
/* A memory cgroup of a test's own, below the one that the test runs in. */
#ifndef TEST_MEMCG_H
#define TEST_MEMCG_H

#include <stdbool.h>
#include <stddef.h>

struct memcg {
	char dir[1200]; /* empty: there is none */
	bool v1;
};

/* Makes one with a limit. False: not allowed here, and says why. */
bool memcg_make(struct memcg *cg, size_t limit);
/* The calling process joins. */
bool memcg_join(const struct memcg *cg);
bool memcg_limit(const struct memcg *cg, size_t limit);
/* Who finds no memory sleeps until there is some, instead of somebody being killed. Version 1 only. */
bool memcg_wait(const struct memcg *cg);
/* How many processes were killed for want of memory; -1: not told. */
long memcg_kills(const struct memcg *cg);
/* When all processes in it are gone. */
void memcg_drop(struct memcg *cg);

#endif
