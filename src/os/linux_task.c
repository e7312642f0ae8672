/* SPDX-License-Identifier: Apache-2.0 */
/* Linux: tasks, by /proc. */
#include "os/task.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define WQ_WORKER 0x20u /* of flags: its name in /proc tells what it is doing, too */
#define STATIC    120 /* static_prio of nice 0 */
#define RT        100 /* prio of what /proc shows as 0 */

static int read_file(const char *path, char *buf, size_t size)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t n = fd < 0 ? -1 : read(fd, buf, size - 1);

	if (fd >= 0)
		close(fd);
	buf[n < 0 ? 0 : n] = 0;
	return n <= 0 ? -ESRCH : 0;
}

static void set_comm(struct skep_task *t, const char *name, size_t len)
{
	static const char rescuer[] = "kworker/R-"; /* that one is the name's own */
	size_t from = strncmp(name, rescuer, sizeof(rescuer) - 1) ? 0 : sizeof(rescuer) - 1;

	for (size_t i = from; t->flags & WQ_WORKER && i < len; i++)
		if (name[i] == '-' || name[i] == '+')
			len = i;
	if (len > sizeof(t->comm) - 1)
		len = sizeof(t->comm) - 1;
	memcpy(t->comm, name, len);
}

static uint64_t status_field(const char *status, const char *name)
{
	const char *at = strstr(status, name);

	return at ? strtoull(at + strlen(name), NULL, 10) : 0;
}

int skep_task_read(uint32_t tid, struct skep_task *out)
{
	char path[64], text[1024], status[4096];
	long long f[64] = {0};
	char *name, *at;

	memset(out, 0, sizeof(*out));
	snprintf(path, sizeof(path), "/proc/%u/stat", tid);
	if (read_file(path, text, sizeof(text)))
		return -ESRCH;
	snprintf(path, sizeof(path), "/proc/%u/status", tid);
	if (read_file(path, status, sizeof(status)))
		return -ESRCH;
	/* The name, in parentheses, may hold anything; field 3, a letter, follows it. */
	name = strchr(text, '(');
	at = strrchr(text, ')');
	if (!name || !at || at[1] != ' ' || !at[2])
		return -ESRCH;
	const char *end = at;
	at += 3;
	for (int i = 4; i < 64 && *at; i++)
		f[i] = strtoll(at, &at, 10);
	*out = (struct skep_task){
		.pid = tid,
		.tgid = (uint32_t)status_field(status, "\nTgid:"),
		.parent = (uint32_t)f[4],
		.flags = (uint32_t)f[9],
		.min_flt = (uint64_t)f[10],
		.maj_flt = (uint64_t)f[12],
		.nvcsw = status_field(status, "\nvoluntary_ctxt_switches:"),
		.nivcsw = status_field(status, "\nnonvoluntary_ctxt_switches:"),
		.prio = (int32_t)f[18] + RT,
		.static_prio = (int32_t)f[19] + STATIC,
		.exit_signal = (int32_t)f[38],
		.rt_priority = (uint32_t)f[40],
		.policy = (uint32_t)f[41],
	};
	set_comm(out, name + 1, (size_t)(end - name - 1));
	return 0;
}

/* ---- Lists ---- */

struct list {
	uint32_t *tids, n, cap;
};

static int add(struct list *l, uint32_t tid)
{
	if (l->n == l->cap) {
		uint32_t cap = l->cap ? 2 * l->cap : 256;
		uint32_t *grown = realloc(l->tids, cap * sizeof(*grown));
		if (!grown)
			return -ENOMEM;
		l->tids = grown;
		l->cap = cap;
	}
	l->tids[l->n++] = tid;
	return 0;
}

/* Calls fn for each entry of a directory that is a number. A directory that went has none. */
static int numbers(const char *path, int (*fn)(struct list *l, uint32_t number), struct list *l)
{
	DIR *d = opendir(path);
	struct dirent *e;
	int err = 0;

	while (d && !err && (e = readdir(d)))
		if (e->d_name[0] >= '1' && e->d_name[0] <= '9')
			err = fn(l, (uint32_t)strtoul(e->d_name, NULL, 10));
	if (d)
		closedir(d);
	return err;
}

static int add_process(struct list *l, uint32_t tgid)
{
	char path[64];

	snprintf(path, sizeof(path), "/proc/%u/task", tgid);
	return numbers(path, add, l);
}

static int compare(const void *a, const void *b)
{
	uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

	return x < y ? -1 : x > y;
}

int skep_task_list(uint32_t tgid, uint32_t **tids, uint32_t *n)
{
	struct list l = {NULL, 0, 0};
	int err = tgid ? add_process(&l, tgid) : numbers("/proc", add_process, &l);

	if (err) {
		free(l.tids);
		return err;
	}
	if (l.n)
		qsort(l.tids, l.n, sizeof(*l.tids), compare);
	*tids = l.tids;
	*n = l.n;
	return 0;
}
