/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The log that a user's buffer receives (PROG_LOAD, BTF_LOAD), with the rules of
 * Linux 6.4 and newer: it keeps the end (rotating) unless BPF_LOG_FIXED asks for
 * the beginning, always ends with NUL, counts what a full log would have needed
 * (log_true_size), and answers -ENOSPC when that did not fit.
 */
#ifndef SKEP_LOG_H
#define SKEP_LOG_H

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define SKEP_LOG_LEVEL1 1u
#define SKEP_LOG_LEVEL2 2u
#define SKEP_LOG_STATS  4u
#define SKEP_LOG_FIXED  8u
#define SKEP_LOG_LEVEL  (SKEP_LOG_LEVEL1 | SKEP_LOG_LEVEL2)
#define SKEP_LOG_MASK   (SKEP_LOG_LEVEL | SKEP_LOG_STATS | SKEP_LOG_FIXED)

struct skep_log {
	uint32_t level;
	char *user; /* caller's buffer; NULL: only count */
	uint32_t user_size;
	uint64_t start, end; /* positions of what is kept in an endless text */
	uint64_t max; /* the size that would have sufficed, NUL included */
	char *ring; /* private copy, grows up to user_size bytes */
	uint32_t ring_size;
};

/* Checks the arguments as the kernel does (-EINVAL) and prepares the log. */
int skep_log_init(struct skep_log *log, uint32_t level, char *user, uint32_t size);
void skep_log_vprintf(struct skep_log *log, const char *fmt, va_list ap);
void skep_log_printf(struct skep_log *log, const char *fmt, ...)
	__attribute__((format(printf, 2, 3)));
static inline bool skep_log_on(const struct skep_log *log, uint32_t bits)
{
	return log && (log->level & bits);
}
/* Forgets what was written after pos (log->end at that time). */
void skep_log_reset(struct skep_log *log, uint64_t pos);
/* Writes out, terminates; *true_size gets the size that would have sufficed.
 * Returns 0 or -ENOSPC. Frees what init took. */
int skep_log_finish(struct skep_log *log, uint32_t *true_size);

#endif
