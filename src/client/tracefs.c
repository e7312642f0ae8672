/* SPDX-License-Identifier: Apache-2.0 */
#include "client/tracefs.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "os/caller.h"

#define PIPE       "trace_pipe"
#define PIPE_BYTES (1 << 20)

struct skep_tracefs {
	int pipe; /* both ends, so that it lasts from reader to reader */
	int watch; /* for the first who opens it; -1 then */
	unsigned long lost;
};

void skep_tracefs_fill(int dir)
{
	mkfifoat(dir, PIPE, 0600);
}

int skep_tracefs_open(struct skep_tracefs **out, int dir)
{
	struct skep_tracefs *t = calloc(1, sizeof(*t));
	char path[64];
	int err;

	if (!t)
		return -ENOMEM;
	t->pipe = openat(dir, PIPE, O_RDWR | O_NONBLOCK | O_CLOEXEC);
	err = t->pipe < 0 ? -errno : 0;
	if (err) {
		free(t);
		return err;
	}
	fcntl(t->pipe, F_SETPIPE_SZ, PIPE_BYTES);
	t->watch = inotify_init1(IN_CLOEXEC | IN_NONBLOCK);
	snprintf(path, sizeof(path), "/proc/self/fd/%d", t->pipe);
	if (t->watch >= 0 && inotify_add_watch(t->watch, path, IN_OPEN) < 0) {
		close(t->watch);
		t->watch = -1;
	}
	*out = t;
	return 0;
}

void skep_tracefs_close(struct skep_tracefs *t)
{
	if (!t)
		return;
	if (t->watch >= 0)
		close(t->watch);
	close(t->pipe);
	free(t);
}

/* Nobody has opened the pipe yet. */
static bool unread(struct skep_tracefs *t)
{
	char event[sizeof(struct inotify_event) + 256];

	if (t->watch < 0)
		return false;
	if (read(t->watch, event, sizeof(event)) < 0)
		return true;
	close(t->watch);
	t->watch = -1;
	return false;
}

static pid_t task(char comm[16])
{
	const struct skep_caller *caller = skep_caller_current();
	pid_t pid = caller ? caller->pid : gettid();
	char path[48];
	FILE *f;

	strcpy(comm, "<...>");
	snprintf(path, sizeof(path), "/proc/%d/comm", (int)pid);
	f = fopen(path, "re");
	if (f) {
		if (fscanf(f, "%15[^\n]", comm) != 1)
			strcpy(comm, "<...>");
		fclose(f);
	}
	return pid;
}

void skep_tracefs_print(void *arg, const char *text, size_t len)
{
	struct skep_tracefs *t = arg;
	struct timespec now;
	char line[1200], comm[16];
	pid_t pid = task(comm);
	int n;

	if (len && text[len - 1] == '\n')
		len--;
	if (unread(t))
		fprintf(stderr, "%.*s\n", (int)len, text);
	clock_gettime(CLOCK_BOOTTIME, &now);
	n = snprintf(line, sizeof(line),
		     "%16s-%-7d [%03d] ....1 %5lu.%06lu: bpf_trace_printk: %.*s\n", comm, (int)pid,
		     sched_getcpu(), (unsigned long)now.tv_sec, (unsigned long)now.tv_nsec / 1000,
		     (int)len, text);
	/* All or nothing, for what is no longer than PIPE_BUF. A full pipe loses what comes, where the
	 * kernel's buffer loses what is oldest. */
	if (n > 0 && write(t->pipe, line, (size_t)n) != n)
		t->lost++;
}
