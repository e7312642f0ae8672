/* SPDX-License-Identifier: Apache-2.0 */
#include "symbols.h"

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "trace/elf.h"
#include "trace/remote.h"

#define MAX_PIDS 256

struct area {
	uint64_t start, end, offset;
	uint32_t file;
};

struct process {
	pid_t pid;
	struct area *areas;
	size_t n;
};

struct file {
	char path[512];
	struct trace_elf *elf; /* NULL: none that can be read */
};

struct symbols {
	struct process procs[MAX_PIDS];
	uint32_t nprocs, oldest;
	struct file *files;
	uint32_t nfiles;
	struct process *reading;
};

static int file_of(struct symbols *s, pid_t pid, const char *path)
{
	struct file *grown;
	char there[600];

	for (uint32_t i = 0; i < s->nfiles; i++)
		if (!strcmp(s->files[i].path, path))
			return (int)i;
	grown = realloc(s->files, (s->nfiles + 1) * sizeof(*grown));
	if (!grown)
		return -1;
	s->files = grown;
	snprintf(grown[s->nfiles].path, sizeof(grown->path), "%s", path);
	snprintf(there, sizeof(there), "/proc/%d/root%s", (int)pid, path);
	if (trace_elf_open(&grown[s->nfiles].elf, there) &&
	    trace_elf_open(&grown[s->nfiles].elf, path))
		grown[s->nfiles].elf = NULL;
	return (int)s->nfiles++;
}

static int add_area(void *arg, const struct remote_map *m)
{
	struct symbols *s = arg;
	struct process *p = s->reading;
	struct area *grown;
	int file;

	if (m->perms[2] != 'x' || m->path[0] != '/')
		return 0;
	file = file_of(s, p->pid, m->path);
	grown = file < 0 ? NULL : realloc(p->areas, (p->n + 1) * sizeof(*grown));
	if (!grown)
		return 0;
	p->areas = grown;
	grown[p->n++] = (struct area){m->start, m->end, m->offset, (uint32_t)file};
	return 0;
}

static const struct area *find(const struct process *p, uint64_t addr)
{
	for (size_t i = 0; i < p->n; i++)
		if (addr >= p->areas[i].start && addr < p->areas[i].end)
			return &p->areas[i];
	return NULL;
}

/* Reads what is mapped; if the process is gone, what was known of it stays. */
static void read_areas(struct symbols *s, struct process *p)
{
	struct process old = *p;

	p->areas = NULL;
	p->n = 0;
	s->reading = p;
	remote_maps(p->pid, add_area, s);
	if (p->n) {
		free(old.areas);
	} else {
		free(p->areas);
		*p = old;
	}
}

static struct process *process(struct symbols *s, pid_t pid)
{
	struct process *p;

	for (uint32_t i = 0; i < s->nprocs; i++)
		if (s->procs[i].pid == pid)
			return &s->procs[i];
	if (s->nprocs < MAX_PIDS) {
		p = &s->procs[s->nprocs++];
	} else {
		p = &s->procs[s->oldest++ % MAX_PIDS];
		free(p->areas);
	}
	*p = (struct process){.pid = pid};
	read_areas(s, p);
	return p;
}

void symbols_write(struct symbols **out, pid_t pid, uint64_t addr, char *buf, size_t size)
{
	struct trace_func f;
	const struct area *a;
	struct process *p;
	const char *base;
	uint64_t offset;

	if (!*out)
		*out = calloc(1, sizeof(**out));
	snprintf(buf, size, "[%#llx]", (unsigned long long)addr);
	if (!*out)
		return;
	p = process(*out, pid);
	a = find(p, addr);
	if (!a) { /* loaded since */
		read_areas(*out, p);
		a = find(p, addr);
	}
	if (!a)
		return;
	base = strrchr((*out)->files[a->file].path, '/') + 1;
	offset = addr - a->start + a->offset;
	if ((*out)->files[a->file].elf &&
	    !trace_elf_around((*out)->files[a->file].elf, offset, &f) && f.name && f.name[0])
		snprintf(buf, size, "%s+%#llx (%s)", f.name,
			 (unsigned long long)(offset - f.offset), base);
	else
		snprintf(buf, size, "[%#llx] (%s)", (unsigned long long)offset, base);
}

void symbols_close(struct symbols *s)
{
	if (!s)
		return;
	for (uint32_t i = 0; i < s->nprocs; i++)
		free(s->procs[i].areas);
	for (uint32_t i = 0; i < s->nfiles; i++)
		trace_elf_close(s->files[i].elf);
	free(s->files);
	free(s);
}
