/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What went wrong, for people: one or two sentences, and what to do next.
 */
#ifndef SKEP_ERROR_H
#define SKEP_ERROR_H

struct skep_error {
	char what[1536];
	char next[512]; /* "" if there is nothing to advise */
};

/* Fills e (may be NULL) and returns err, which is -errno. next may be NULL. */
int skep_fail(struct skep_error *e, int err, const char *next, const char *fmt, ...)
	__attribute__((format(printf, 4, 5)));

#endif
