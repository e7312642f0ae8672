/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The text is kept in a private ring (grown as needed) and copied out once at the end:
 * the caller's memory is touched by one checked copy, however long the log is.
 */
#include "bpf/log.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "os/caller.h"
#include "os/os.h"

#define MESSAGE_MAX 1024 /* one message is cut after that, NUL included */

int skep_log_init(struct skep_log *log, uint32_t level, char *user, uint32_t size)
{
	memset(log, 0, sizeof(*log));
	if (!!user != !!size || (user && !level) || (level & ~SKEP_LOG_MASK) ||
	    size > UINT32_MAX >> 2)
		return -EINVAL;
	log->level = level;
	log->user = user;
	log->user_size = size;
	return 0;
}

/* Makes room for `want` bytes of text, up to the user's size. */
static bool grow(struct skep_log *log, uint64_t want)
{
	if (want > log->user_size)
		want = log->user_size;
	if (want <= log->ring_size)
		return true;
	uint64_t size = log->ring_size ? log->ring_size : 4096;
	while (size < want)
		size *= 2;
	if (size > log->user_size)
		size = log->user_size;
	char *ring = realloc(log->ring, size);
	if (!ring)
		return false;
	log->ring = ring;
	log->ring_size = (uint32_t)size;
	return true;
}

static void put(struct skep_log *log, const char *text, size_t len)
{
	if (log->end + len + 1 > log->max)
		log->max = log->end + len + 1;
	if (!log->user || !grow(log, log->end + len + 1)) {
		log->end += len;
		return;
	}
	if (log->level & SKEP_LOG_FIXED) {
		if (log->end + 1 < log->user_size) {
			uint64_t room = log->user_size - 1 - log->end;
			memcpy(log->ring + log->end, text, len < room ? len : room);
		}
		log->end += len;
		return;
	}
	/* The ring wraps at the user's size, and it has that size before it wraps. */
	for (size_t done = 0; done < len;) {
		uint32_t at = log->end % log->user_size;
		size_t n = log->user_size - at;
		if (n > len - done)
			n = len - done;
		memcpy(log->ring + at, text + done, n);
		done += n;
		log->end += n;
	}
	if (log->end - log->start >= log->user_size)
		log->start = log->end - log->user_size + 1;
}

void skep_log_vprintf(struct skep_log *log, const char *fmt, va_list ap)
{
	char text[MESSAGE_MAX];

	if (!log || !log->level)
		return;
	int n = vsnprintf(text, sizeof(text), fmt, ap);
	if (n < 0)
		return;
	put(log, text, n < MESSAGE_MAX ? (size_t)n : MESSAGE_MAX - 1);
}

void skep_log_printf(struct skep_log *log, const char *fmt, ...)
{
	va_list ap;

	if (!log || !log->level)
		return;
	va_start(ap, fmt);
	skep_log_vprintf(log, fmt, ap);
	va_end(ap);
}

void skep_log_reset(struct skep_log *log, uint64_t pos)
{
	if (!log || !log->level || pos >= log->end)
		return;
	log->end = pos;
	/* What the ring lost by then is lost: an older text can't come back. */
	if (log->end < log->start)
		log->start = log->end;
}

static int copy_out(struct skep_log *log)
{
	static const char nul;
	uint64_t len = log->end - log->start;
	int err = 0;

	if (log->level & SKEP_LOG_FIXED) {
		if (len > log->user_size - 1)
			len = log->user_size - 1;
		if (len)
			err = skep_caller_write(log->user, log->ring, len);
	} else if (len) {
		uint32_t from = log->start % log->user_size;
		uint64_t first = log->user_size - from < len ? log->user_size - from : len;
		err = skep_caller_write(log->user, log->ring + from, first);
		if (!err && first < len)
			err = skep_caller_write(log->user + first, log->ring, len - first);
	}
	return err ? err : skep_caller_write(log->user + len, &nul, 1);
}

int skep_log_finish(struct skep_log *log, uint32_t *true_size)
{
	int err = 0;

	if (true_size)
		*true_size = 0;
	if (!log->level)
		goto out;
	if (log->user && log->max && (log->ring || log->end == log->start))
		err = copy_out(log) ? -EFAULT : 0;
	else if (log->user && log->max)
		err = -ENOMEM;
	if (true_size)
		*true_size = log->max < UINT32_MAX ? (uint32_t)log->max : UINT32_MAX;
	if (!err && log->user && log->max > log->user_size)
		err = -ENOSPC;
out:
	free(log->ring);
	log->ring = NULL;
	log->ring_size = 0;
	log->level = 0;
	return err;
}
