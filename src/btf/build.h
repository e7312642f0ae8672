/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Making BTF: types are collected as nodes, which may refer to each other in any order,
 * and written out at the end. Ids are those of the BTF: the first node is 1, 0 is void.
 */
#ifndef SKEP_BTF_BUILD_H
#define SKEP_BTF_BUILD_H

#include <linux/btf.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* A member, parameter or enumerator. */
struct skep_btf_part {
	uint32_t name, type;
	uint64_t off; /* member: bit offset; enumerator: value; variable: bytes */
	uint32_t bits; /* bitfield, or 0; variable in a section: bytes */
};

struct skep_btf_node {
	uint32_t kind, name;
	uint32_t type; /* referred to; array: element */
	uint32_t size, align; /* bytes; of what has them */
	uint32_t index, nelems; /* array; VAR: index is the linkage, DECL_TAG: of what, -1 all */
	bool kflag;
	uint32_t nparts;
	struct skep_btf_part *parts; /* owned */
};

struct skep_btf_build {
	struct skep_btf_node *nodes; /* [0] is void */
	uint32_t n, cap;
	char *strings;
	uint32_t strings_len, strings_cap;
	uint32_t *buckets; /* hash of strings by offset, of nodes by name, kind and type */
	uint32_t *node_buckets;
	bool failed; /* out of memory */
};

int skep_btf_build_init(struct skep_btf_build *b);
void skep_btf_build_free(struct skep_btf_build *b);
/* Offset of a string, entered once. */
uint32_t skep_btf_build_str(struct skep_btf_build *b, const char *s, size_t len);
/* A new node; parts are taken over. */
uint32_t skep_btf_build_add(struct skep_btf_build *b, const struct skep_btf_node *node);
/* The named (or anonymous, equal) node of that kind, or 0. */
uint32_t skep_btf_build_find(const struct skep_btf_build *b, uint32_t kind, uint32_t name,
			     uint32_t type, uint32_t nelems);
/* A pointer, array, const ... of type: made once. */
uint32_t skep_btf_build_ref(struct skep_btf_build *b, uint32_t kind, uint32_t type, uint32_t nelems,
			    uint32_t index);
/* Size and alignment in bytes, typedefs and modifiers followed; -EINVAL if incomplete. */
int64_t skep_btf_build_size(const struct skep_btf_build *b, uint32_t id, uint32_t *align);
/* The raw BTF, to be freed. */
int skep_btf_build_write(struct skep_btf_build *b, void **data, uint32_t *size);

/* Adds what C declarations define (structures, unions, enums, typedefs, functions; directives
 * of the preprocessor and comments are skipped). -EINVAL: *line is where it was not understood. */
int skep_btf_build_c(struct skep_btf_build *b, const char *text, size_t len, unsigned *line);

#endif
