/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Running a program (a compiler) and keeping what it writes.
 */
#ifndef SKEP_CLIENT_TOOL_H
#define SKEP_CLIENT_TOOL_H

#include <stddef.h>
#include <stdint.h>

struct skep_args {
	const char *v[96];
	int n;
};

/* Runs args to its end, without a shell. Standard output and error go to *out and *errs if these are
 * not NULL (NUL-terminated, the caller's, set also on failure). The exit status (128 + signal if it
 * was killed), or -errno if it could not be started. */
int skep_tool_run(const struct skep_args *args, char **out, size_t *out_len, char **errs);

/* Where a name is found in PATH, as the shell would: 0 or -ENOENT. */
int skep_tool_find(const char *name, char *path, size_t size);

/* A 128-bit digest as 32 hex digits, fed in parts. For telling contents apart, not against
 * attackers: whoever can write the cache can write the object. */
struct skep_digest {
	uint64_t a, b;
};
void skep_digest_init(struct skep_digest *d);
void skep_digest_add(struct skep_digest *d, const void *data, size_t len);
void skep_digest_text(const struct skep_digest *d, char text[33]);

#endif
