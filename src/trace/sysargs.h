/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What is known of system calls and of arguments: names, kinds, and how values of a kind are written.
 */
#ifndef SKEP_TRACE_SYSARGS_H
#define SKEP_TRACE_SYSARGS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum arg_kind {
	ARG_INT, /* as int */
	ARG_LONG,
	ARG_UINT,
	ARG_ULONG,
	ARG_HEX,
	ARG_PTR,
	ARG_FD,
	ARG_AT, /* descriptor of a directory, or AT_FDCWD */
	ARG_SIGNAL,
	ARG_MODE, /* octal */
	ARG_OPEN, /* flags of open */
	ARG_ACCESS,
	ARG_MAP,
	ARG_PROT,
	ARG_CLONE,
	ARG_FUTEX,
	ARG_FAMILY,
	ARG_SOCKTYPE,
	ARG_WHENCE,
	/* From here on: read from memory while the call stands. */
	ARG_PATH,
	ARG_STR,
	ARG_DATA, /* as many bytes as the next argument says */
	ARG_ARGV, /* NULL-terminated vector of strings */
	ARG_NONE,
};

struct arg_desc {
	char name[24];
	enum arg_kind kind;
};

#define SYSARGS_MAX 6

/* The name of a number, NULL: none. */
const char *sysargs_name(uint32_t nr);
/* The arguments of a system call: how many, -ENOENT: not known. */
int sysargs_of(uint32_t nr, struct arg_desc out[SYSARGS_MAX]);
/* "name:kind name:kind ...", separated by spaces or commas; without a kind: long. How many, or -EINVAL. */
int sysargs_parse(const char *text, struct arg_desc out[SYSARGS_MAX]);
/* A kind by its name: ARG_NONE, there is none. */
enum arg_kind sysargs_kind(const char *name, size_t len);
bool sysargs_is_text(enum arg_kind kind);

/* Writes a value of a kind that is not read from memory, as snprintf does. */
int sysargs_write(char *buf, size_t size, enum arg_kind kind, uint64_t value);
/* Reads a number, or a name that the kind knows (O_CREAT|O_RDWR, SIGTERM, ENOENT): 0 or -EINVAL. */
int sysargs_read(const char *text, enum arg_kind kind, int64_t *out);
/* "ENOENT" of 2, NULL: none. */
const char *sysargs_errno(int e);

#endif
