/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Text from a format and up to 12 numbers, by the rules of the kernel's BPF
 * helpers: which conversions there are, and that bad ones are -EINVAL.
 */
#ifndef SKEP_HELPER_FORMAT_H
#define SKEP_HELPER_FORMAT_H

#include <stddef.h>
#include <stdint.h>

#define SKEP_FORMAT_MAX_ARGS 12

/* Whether fmt (at most size bytes, a NUL among them) is right for nargs arguments: 0 or
 * -EINVAL. The verifier asks for constant formats. */
int skep_format_check(const char *fmt, size_t size, uint32_t nargs);

struct skep_prog;
/* Writes at most size bytes with the NUL. Returns the length that the whole text has,
 * without NUL, -EINVAL for a bad format, -ENOSPC when the strings are too long. prog is
 * running, so that its maps are mapped: strings in them are copied at once. */
long skep_format(const struct skep_prog *prog, char *buf, size_t size, const char *fmt,
		 size_t fmt_size, const uint64_t *args, uint32_t nargs);

#endif
