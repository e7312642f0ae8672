/* SPDX-License-Identifier: Apache-2.0 */
/*
 * C source to BPF object, by clang (14 or newer, the newest that is found) or gcc. Objects are
 * cached by content: of the preprocessed source, the compiler and its flags.
 */
#ifndef SKEP_CLIENT_COMPILE_H
#define SKEP_CLIENT_COMPILE_H

#include <stdbool.h>
#include <stddef.h>

#include "client/error.h"

struct skep_compile_opts {
	const char *cc; /* compiler, name or path; NULL: the newest clang */
	const char *const *flags; /* further flags, NULL-terminated, or NULL */
	const char *types; /* vmlinux.h from this BTF file; NULL: from skep's own */
	bool color; /* diagnostics in colour */
	bool no_cache;
};

struct skep_compiled {
	void *image;
	size_t size;
	char *diagnostics; /* as the compiler wrote them, "" if none */
	bool cached;
};

/* Whether the name is that of C source: .c */
bool skep_compile_is_source(const char *path);

/* Compiles. On failure *out holds the diagnostics too, and err says what failed. Free with
 * skep_compiled_free() in any case. */
int skep_compile(const char *source, const struct skep_compile_opts *opts,
		 struct skep_compiled *out, struct skep_error *err);
void skep_compiled_free(struct skep_compiled *out);

#endif
