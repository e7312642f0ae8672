/* SPDX-License-Identifier: Apache-2.0 */
/*
 * BPF object files, before libbpf sees them: checked, so that no reader behind can be
 * led out of the file, and translated from the forms that libbpf 1.x dropped.
 */
#ifndef SKEP_CLIENT_ELF_H
#define SKEP_CLIENT_ELF_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "client/error.h"

/* Checks that the image is a well-formed relocatable BPF object: every offset, size, index and
 * string in its headers, symbols, relocations, BTF and BTF.ext. 0 or -errno. */
int skep_elf_check(const void *image, size_t size, struct skep_error *err);

/* Whether the (checked) object has maps in the form `struct bpf_map_def SEC("maps")`. */
bool skep_elf_has_legacy_maps(const void *image, size_t size);

/* A function's place in the source, by its first line number (from BTF.ext) where the (checked)
 * object tells it, by its place in the object otherwise: rising numbers. UINT64_MAX if there is
 * no such function. Compilers do not keep the order of the source. */
uint64_t skep_elf_position(const void *image, size_t size, const char *function);

/* The line that the function begins in, 0 if that is not known. */
uint32_t skep_elf_line(const void *image, size_t size, const char *function);

/* The first function that the (checked) object wants called when a program starts, which nothing does in
 * BPF: NULL, there is none. */
const char *skep_elf_constructor(const void *image, size_t size);

/* Makes a new image in which the maps of the section "maps" are BTF-defined ones in ".maps". BTF is
 * extended, or made where the object has none. The image must have been checked.
 * *out is the caller's, free(). */
int skep_elf_translate_maps(const void *image, size_t size, void **out, size_t *out_size,
			    struct skep_error *err);

/* Undoes, in a checked image, what the GNU assembler does differently from clang in references to
 * variables. Does nothing to clang's objects. */
void skep_elf_fix_gnu(void *image);

/* BTF and BTF.ext data alone: 0, or -EINVAL with what is wrong. Used by skep_elf_check. */
int skep_elf_check_btf(const void *data, size_t size, struct skep_error *err);
int skep_elf_check_btf_ext(const void *data, size_t size, const void *btf, size_t btf_size,
			   struct skep_error *err);

#endif
