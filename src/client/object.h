/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Opening object files with libbpf, old ones included.
 */
#ifndef SKEP_CLIENT_OBJECT_H
#define SKEP_CLIENT_OBJECT_H

#include <stddef.h>

#include "bpf/uapi.h"
#include "client/error.h"

struct bpf_object;
struct bpf_program;

/* Checks and translates the image, opens it with libbpf (on this thread's runtime), and gives
 * programs their types by section name, older names included. Programs of unknown sections are
 * not loaded. name is for maps of global data and may be NULL. */
int skep_client_open(struct bpf_object **out, const void *image, size_t size, const char *name,
		     struct skep_error *err);

/* libbpf's warnings (skep_client_warnings) as one line of text; the text of err if there are none. */
void skep_client_reason(char *text, size_t size, int err);

/* Program and attach type that a section's name asks for by the rules before libbpf 1.0 (the
 * longest known prefix counts): 0 or -ENOENT. */
int skep_client_section(const char *section, enum bpf_prog_type *type,
			enum bpf_attach_type *attach);

/* Reads a whole file: 0 or -errno. *data is the caller's, free(). */
int skep_client_read(const char *path, void **data, size_t *size, struct skep_error *err);

#endif
