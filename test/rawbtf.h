/* SPDX-License-Identifier: Apache-2.0 */
/* The BTF of a side of a test, read without skep's reader. */
#ifndef SKEP_TEST_RAWBTF_H
#define SKEP_TEST_RAWBTF_H

#include <stdint.h>

struct skep;

/* The bytes of the BTF that skep presents, or the kernel's (NULL), to be freed. NULL: none. */
char *rawbtf_open(struct skep *skep);
/* The id of the type of that kind and name, 0: none. */
uint32_t rawbtf_find(const char *raw, uint32_t kind, const char *name);
/* Offset in bytes of a named member of a structure, also in anonymous ones; -1. */
int rawbtf_member(const char *raw, const char *type, const char *member);

#endif
