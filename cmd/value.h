/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Values of maps, printed through the object's BTF. A type id of 0 means that the
 * type is not known: sizes of integers print as unsigned numbers, others as bytes.
 */
#ifndef SKEP_CMD_VALUE_H
#define SKEP_CMD_VALUE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "out.h"

struct btf;

/* For people, on one line: C-like, with names of enumerators, text of char arrays, and addresses and
 * ports in network order (__be32, __be16, in6_addr) as they are written. */
void value_text(FILE *f, const struct btf *btf, uint32_t type, const void *data, size_t size);

/* For programs: integers as they are stored, structs as objects, arrays as lists. */
void value_json(struct json *j, const struct btf *btf, uint32_t type, const void *data,
		size_t size);

/* The integer that a value is, or that its first member is: false if there is none. Negative
 * values count as signed ones. */
bool value_number(const struct btf *btf, uint32_t type, const void *data, size_t size,
		  int64_t *out);

/* Whether the value itself is an integer. */
bool value_is_number(const struct btf *btf, uint32_t type, size_t size);

/* Follows typedefs and qualifiers. */
uint32_t value_skip(const struct btf *btf, uint32_t type);

#endif
