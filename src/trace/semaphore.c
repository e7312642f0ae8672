/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Semaphores of USDT probes: a program asks them whether anybody listens. They stand in writable data, so each process
 * has its own; once its file is mapped, it is raised, and lowered again when the process is left. Children have a copy of
 * the memory and of the directory that notes it.
 */
#include <sys/stat.h>

#include "trace/session.h"

struct raising {
	struct skep_trace *t;
	struct remote *r;
	struct dir *dir;
};

static bool is_raised(const struct dir *dir, uint64_t addr)
{
	for (uint32_t i = 0; i < dir->nsemaphores; i++)
		if (dir->semaphores[i] == addr)
			return true;
	return false;
}

static void add(const struct remote *r, uint64_t addr, int by)
{
	uint16_t value;

	if (remote_read(r, addr, &value, sizeof(value)))
		return;
	value = (uint16_t)(value + by);
	remote_write(r, addr, &value, sizeof(value));
}

static int raise_in(void *arg, const struct remote_map *m)
{
	struct raising *w = arg;
	struct dir *dir = w->dir;

	if (m->perms[1] != 'w' || !m->ino)
		return 0;
	for (size_t i = 0; i < w->t->npoints; i++) {
		const struct point *p = &w->t->points[i];
		uint64_t addr = p->semaphore - m->offset + m->start;

		if (!p->semaphore || p->semaphore < m->offset || addr + 2 > m->end ||
		    !process_is_file(p->elf, w->r->pid, m) || is_raised(dir, addr) ||
		    dir->nsemaphores == DIR_SEMAPHORES)
			continue;
		add(w->r, addr, 1);
		dir->semaphores[dir->nsemaphores++] = addr;
	}
	return 0;
}

void semaphores_raise(struct skep_trace *t, struct remote *r, struct dir *dir)
{
	struct raising w = {t, r, dir};

	if (t->semaphores)
		remote_maps(r->pid, raise_in, &w);
}

void semaphores_lower(struct remote *r, const struct dir *dir)
{
	for (uint32_t i = 0; i < dir->nsemaphores && i < DIR_SEMAPHORES; i++)
		add(r, dir->semaphores[i], -1);
}
