/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One traced process: letting the agent in, patching, and leaving. All of it happens while every
 * thread of the process is stopped, so nobody runs the bytes that change; a thread that stands
 * among them goes on in the trampoline, or back.
 */
#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "os/os.h"
#include "trace/blob.h"
#include "trace/session.h"
#include "trace/x86.h"

#define DIR_MAGIC  0x736b65702d646972ull
#define DIR_SIZE   ((sizeof(struct dir) + 4095) & ~4095ull)
#define STACK_SIZE (64u << 10)

#ifndef MAP_FIXED_NOREPLACE
#define MAP_FIXED_NOREPLACE 0x100000
#endif

/* ---- What is in there already ---- */

static int is_dir(void *arg, const struct remote_map *m)
{
	return m->start <= *(uint64_t *)arg && *(uint64_t *)arg < m->end;
}

int process_has_agent(struct skep_trace *t, pid_t pid)
{
	return remote_maps(pid, is_dir, &t->dir);
}

int dir_read(struct skep_trace *t, struct remote *r, struct dir *dir)
{
	size_t head = offsetof(struct dir, patches);
	int err = remote_read(r, t->dir, dir, head);

	if (err)
		return err;
	if (dir->magic != DIR_MAGIC || dir->npatches > DIR_PATCHES || dir->narenas > DIR_ARENAS)
		return -ENOENT;
	return remote_read(r, t->dir + head, dir->patches, dir->npatches * sizeof(dir->patches[0]));
}

int dir_write_head(struct skep_trace *t, struct remote *r, const struct dir *dir)
{
	return remote_write(r, t->dir, dir, offsetof(struct dir, patches));
}

/* ---- Patching ---- */

struct modules {
	struct skep_trace *t;
	pid_t pid;
	struct module *m;
	size_t n;
};

/* Some file systems show another device in maps than stat does: then the path decides. */
bool process_is_file(const struct trace_elf *elf, pid_t pid, const struct remote_map *m)
{
	uint64_t dev, ino;
	char path[600];
	struct stat st;

	trace_elf_id(elf, &dev, &ino);
	if (ino != m->ino)
		return false;
	if (dev == m->dev)
		return true;
	snprintf(path, sizeof(path), "/proc/%d/root%s", (int)pid, m->path);
	return !stat(path, &st) && st.st_dev == dev && st.st_ino == ino;
}

static int add_module(void *arg, const struct remote_map *m)
{
	struct modules *all = arg;
	struct module mod = {NULL, syscalls_file(all->t, m->dev, m->ino), m->start, m->end,
			     m->offset};
	struct module *grown;

	if (m->perms[2] != 'x' || !m->ino)
		return 0;
	for (size_t i = 0; i < all->t->nelfs && !mod.elf; i++)
		if (process_is_file(all->t->elfs[i], all->pid, m))
			mod.elf = all->t->elfs[i];
	if (!mod.elf && !mod.known)
		return 0;
	grown = realloc(all->m, (all->n + 1) * sizeof(*grown));
	if (!grown)
		return -ENOMEM;
	all->m = grown;
	grown[all->n++] = mod;
	return 0;
}

static int update(struct skep_trace *t, struct remote *r, struct dir *dir)
{
	struct modules all = {.t = t, .pid = r->pid};
	int err = remote_maps(r->pid, add_module, &all), n = 0;

	for (size_t i = 0; i < all.n && !err; i++) {
		for (size_t k = 0; k < t->npoints; k++) {
			const struct point *p = &t->points[k];
			const struct module *m = &all.m[i];

			if (p->elf == m->elf && p->offset >= m->offset &&
			    p->offset - m->offset < m->end - m->start &&
			    patch_point(t, r, dir, m, p) > 0)
				n++;
		}
		if (all.m[i].known)
			syscalls_patch(t, r, dir, &all.m[i]);
	}
	free(all.m);
	semaphores_raise(t, r, dir);
	return err ? err : n;
}

int process_update(struct skep_trace *t, struct remote *r)
{
	struct dir *dir = calloc(1, sizeof(*dir));
	int err = dir ? dir_read(t, r, dir) : -ENOMEM;

	if (!err) {
		r->scratch = dir->agent + blob_get()->remote_syscall;
		err = update(t, r, dir);
	}
	free(dir);
	return err;
}

bool process_wants_file(struct skep_trace *t, pid_t pid, int fd)
{
	uint64_t dev, ino;
	char path[64];
	struct stat st;

	snprintf(path, sizeof(path), "/proc/%d/fd/%d", (int)pid, fd);
	if (stat(path, &st))
		return false;
	for (size_t i = 0; i < t->nelfs; i++) {
		trace_elf_id(t->elfs[i], &dev, &ino);
		if (ino == st.st_ino && dev == st.st_dev)
			return true;
	}
	for (size_t i = 0; i < t->nfiles; i++)
		if (t->files[i].ino == st.st_ino)
			return true;
	/* The data of what was mapped before is there by now. */
	return t->semaphores;
}

/* ---- Entering ---- */

/* The vDSO is one image in all processes: where its clock is, counted from its beginning. */
static uint64_t clock_in_vdso(void)
{
	void *lib = dlopen("linux-vdso.so.1", RTLD_LAZY | RTLD_NOLOAD);
	void *sym = lib ? dlsym(lib, "__vdso_clock_gettime") : NULL;
	uint64_t base = getauxval(AT_SYSINFO_EHDR);

	return sym && base ? (uint64_t)(uintptr_t)sym - base : 0;
}

static int is_vdso(void *arg, const struct remote_map *m)
{
	if (strcmp(m->path, "[vdso]") != 0)
		return 0;
	*(uint64_t *)arg = m->start;
	return 1;
}

static long map_at(struct remote *r, uint64_t at, uint64_t size, int flags)
{
	return remote_syscall(r, SYS_mmap, at, size, PROT_READ | PROT_WRITE,
			      (uint64_t)(MAP_PRIVATE | MAP_ANONYMOUS | flags), (uint64_t)-1, 0);
}

static int load_agent(struct skep_trace *t, struct remote *r, const struct blob *blob,
		      struct dir *dir)
{
	long base = map_at(r, t->dir + DIR_AGENT, blob->size + STACK_SIZE, MAP_FIXED_NOREPLACE);
	uint8_t *image;
	int err;

	if (base < 0 && base > -4096)
		return (int)base;
	if ((uint64_t)base != t->dir + DIR_AGENT)
		return -EEXIST;
	dir->agent = (uint64_t)base;
	dir->agent_size = blob->size + STACK_SIZE;
	dir->stack = dir->agent + dir->agent_size;
	image = malloc(blob->size);
	err = image ? blob_make(image, dir->agent) : -ENOMEM;
	if (!err)
		err = remote_write(r, dir->agent, image, blob->size);
	free(image);
	for (int i = 0; i < blob->nparts && !err; i++)
		err = (int)remote_syscall(r, SYS_mprotect, dir->agent + blob->parts[i].start,
					  blob->parts[i].size, (uint64_t)blob->parts[i].prot, 0, 0,
					  0);
	return err;
}

struct fixed {
	uint64_t phdr; /* somewhere in it */
	struct agent_range run;
	char exe[512];
};

/* The mappings of the program's file that the kernel made, side by side, with the zeroed memory behind
 * its data. (The program may map its file once more, and unmap that.) */
static int find_run(void *arg, const struct remote_map *m)
{
	struct fixed *f = arg;
	bool joins = f->run.end == m->start;

	if (m->perms[0] == 'r' && (!strcmp(m->path, f->exe) || (!m->path[0] && joins))) {
		if (!joins)
			f->run.start = m->start;
		f->run.end = m->end;
		return 0;
	}
	return f->run.start <= f->phdr && f->phdr < f->run.end;
}

static uint64_t program_headers(pid_t pid)
{
	uint64_t pair[2], at = 0;
	char path[40];
	FILE *f;

	snprintf(path, sizeof(path), "/proc/%d/auxv", (int)pid);
	f = fopen(path, "re");
	while (f && fread(pair, sizeof(pair), 1, f) == 1)
		if (pair[0] == AT_PHDR)
			at = pair[1];
	if (f)
		fclose(f);
	return at;
}

static struct agent_range fixed_memory(pid_t pid)
{
	struct fixed f = {.phdr = program_headers(pid)};
	char link[40];
	ssize_t n;

	snprintf(link, sizeof(link), "/proc/%d/exe", (int)pid);
	n = readlink(link, f.exe, sizeof(f.exe) - 1);
	if (n > 0 && remote_maps(pid, find_run, &f) == 1)
		return f.run;
	return (struct agent_range){0, 0};
}

static int start_agent(struct skep_trace *t, struct remote *r, const struct blob *blob,
		       const struct dir *dir)
{
	struct agent_boot boot = {.supervisor = t->supervisor,
				  .ctl = {t->seg.fd, t->seg.dev, t->seg.ino}};
	uint64_t vdso = 0, at = dir->stack - STACK_SIZE;
	int err;

	if (remote_maps(r->pid, is_vdso, &vdso) == 1 && clock_in_vdso())
		boot.vdso_clock = vdso + clock_in_vdso();
	boot.fixed = fixed_memory(r->pid);
	err = remote_write(r, at, &boot, sizeof(boot));
	if (err)
		return err;
	r->scratch = dir->agent + blob->remote_syscall;
	return (int)remote_call(r, dir->agent + blob->remote_call, dir->agent + blob->init, at,
				dir->stack);
}

void process_unload(struct skep_trace *t, struct remote *r, const struct dir *dir)
{
	r->scratch = 0;
	if (dir->agent)
		remote_syscall(r, SYS_munmap, dir->agent, dir->agent_size, 0, 0, 0, 0);
	remote_syscall(r, SYS_munmap, t->dir, DIR_SIZE, 0, 0, 0, 0);
}

int process_enter(struct skep_trace *t, struct remote *r, struct skep_error *err)
{
	const struct blob *blob = blob_get();
	struct dir *dir;
	long got;
	int e;

	if (!blob)
		return skep_fail(err, -EOPNOTSUPP, NULL, "there is no agent for this machine");
	if (process_has_agent(t, r->pid) > 0)
		return process_update(t, r);
	if (r->bound)
		return skep_fail(
			err, -EACCES,
			"As root it can be entered: the filter is suspended meanwhile.",
			"process %d lives under a seccomp filter of its own, which may end "
			"it for a system call that it doesn't know",
			(int)r->pid);
	dir = calloc(1, sizeof(*dir));
	if (!dir)
		return skep_fail(err, -ENOMEM, NULL, "no memory");
	got = map_at(r, t->dir, DIR_SIZE, MAP_FIXED_NOREPLACE | MAP_NORESERVE);
	if ((uint64_t)got != t->dir) {
		free(dir);
		return skep_fail(err, got < 0 ? (int)got : -EEXIST, NULL,
				 "process %d: no memory where the agent's directory has to be: %s",
				 (int)r->pid, got < 0 ? strerror((int)-got) : "taken");
	}
	dir->magic = DIR_MAGIC;
	e = load_agent(t, r, blob, dir);
	if (!e)
		e = start_agent(t, r, blob, dir);
	if (!e && r->suspended && r->filters > t->late.filters)
		e = (int)remote_call(r, dir->agent + blob->remote_call, dir->agent + blob->be_quiet,
				     0, dir->stack);
	if (!e)
		e = dir_write_head(t, r, dir);
	if (e) {
		process_unload(t, r, dir);
		free(dir);
		return skep_fail(err, e, NULL, "process %d: the agent can't start: %s", (int)r->pid,
				 strerror(-e));
	}
	atomic_fetch_add(&t->ctl->entered, 1);
	e = update(t, r, dir);
	dir_write_head(t, r, dir);
	free(dir);
	return e < 0 ? skep_fail(err, e, NULL, "process %d: %s", (int)r->pid, strerror(-e)) : e;
}
