/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Functions of ELF files: by name, by pattern, by address; and USDT probes. Offsets are of the
 * file, as uprobes count them. An opened file is a private copy: it may change afterwards.
 */
#ifndef SKEP_TRACE_ELF_H
#define SKEP_TRACE_ELF_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct trace_elf;

struct trace_func {
	const char *name; /* as the file has it, "" for what has none */
	uint64_t offset; /* in the file */
	uint64_t addr; /* as linked */
	uint64_t size; /* 0: not known */
	uint64_t room; /* bytes up to the next function or the section's end */
};

/* 0, -ENOENT, -ENOEXEC: not an ELF file for this machine, -errno. */
int trace_elf_open(struct trace_elf **out, const char *path);
void trace_elf_close(struct trace_elf *elf);
const char *trace_elf_path(const struct trace_elf *elf);
/* The file's bytes. */
const uint8_t *trace_elf_image(const struct trace_elf *elf, size_t *size);
/* Device and inode of what was opened. */
void trace_elf_id(const struct trace_elf *elf, uint64_t *dev, uint64_t *ino);
/* A Go program: its runtime moves stacks, so returns can't be awaited on them. */
bool trace_elf_is_go(const struct trace_elf *elf);
/* File offset of an address as linked, 0: none; and back. */
uint64_t trace_elf_offset(const struct trace_elf *elf, uint64_t addr);
uint64_t trace_elf_addr(const struct trace_elf *elf, uint64_t offset);

/* Each function with code in the file, by offset, one name each: what fn answers if not 0. */
int trace_elf_each(const struct trace_elf *elf, int (*fn)(void *arg, const struct trace_func *f),
		   void *arg);
/* By name: the symbol's, with or without its version, or demangled (C++: with or without the
 * arguments). -ENOENT; -EEXIST: several functions have that name. */
int trace_elf_find(const struct trace_elf *elf, const char *name, struct trace_func *out);
/* By pattern: '*' and '?'. The number of functions that fn got, or what it answered below 0. */
int trace_elf_match(const struct trace_elf *elf, const char *pattern,
		    int (*fn)(void *arg, const struct trace_func *f), void *arg);
/* The function around a file offset; without symbols the executable section around it (size 0). */
int trace_elf_around(const struct trace_elf *elf, uint64_t offset, struct trace_func *out);
/* The section .text, or the executable segment: offset, addr and room. */
int trace_elf_text(const struct trace_elf *elf, struct trace_func *out);
/* Value of a symbol of any kind, 0: none. */
uint64_t trace_elf_symbol(const struct trace_elf *elf, const char *name);

#endif
