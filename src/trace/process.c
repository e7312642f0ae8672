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
#define ARENA_SIZE (256u << 10)
#define MAX_CODE   (64u << 20) /* longest piece of code that is read */

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

static int read_dir(struct skep_trace *t, struct remote *r, struct dir *dir)
{
	size_t head = offsetof(struct dir, patches);
	int err = remote_read(r, t->dir, dir, head);

	if (err)
		return err;
	if (dir->magic != DIR_MAGIC || dir->npatches > DIR_PATCHES || dir->narenas > DIR_ARENAS)
		return -ENOENT;
	return remote_read(r, t->dir + head, dir->patches, dir->npatches * sizeof(dir->patches[0]));
}

static int write_head(struct skep_trace *t, struct remote *r, const struct dir *dir)
{
	return remote_write(r, t->dir, dir, offsetof(struct dir, patches));
}

/* ---- Patching ---- */

/* A file's executable mapping in the process. */
struct module {
	struct trace_elf *elf;
	uint64_t start, end, offset;
};

struct modules {
	struct skep_trace *t;
	pid_t pid;
	struct module *m;
	size_t n;
};

/* Some file systems show another device in maps than stat does: then the path decides. */
static bool is_file(const struct trace_elf *elf, pid_t pid, const struct remote_map *m)
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

	if (m->perms[2] != 'x' || !m->ino)
		return 0;
	for (size_t i = 0; i < all->t->nelfs; i++) {
		struct module *grown;

		if (!is_file(all->t->elfs[i], all->pid, m))
			continue;
		grown = realloc(all->m, (all->n + 1) * sizeof(*grown));
		if (!grown)
			return -ENOMEM;
		all->m = grown;
		grown[all->n++] = (struct module){all->t->elfs[i], m->start, m->end, m->offset};
	}
	return 0;
}

/* Room for size bytes in an arena within reach of the module. */
static uint64_t allocate(struct skep_trace *t, struct remote *r, struct dir *dir,
			 const struct module *m, size_t size)
{
	uint64_t at;
	long got;

	size = (size + 15) & ~15ul;
	for (uint32_t i = 0; i < dir->narenas; i++) {
		uint64_t base = dir->arenas[i].base, end = base + ARENA_SIZE;
		uint64_t lo = base < m->start ? base : m->start, hi = end > m->end ? end : m->end;

		if (hi - lo < 0x7ff00000ull && dir->arenas[i].size - dir->arenas[i].used >= size) {
			at = base + dir->arenas[i].used;
			dir->arenas[i].used += size;
			return at;
		}
	}
	if (dir->narenas == DIR_ARENAS)
		return 0;
	at = remote_room(r->pid, m->start, m->end, ARENA_SIZE);
	if (!at)
		return 0;
	got = remote_syscall(r, SYS_mmap, at, ARENA_SIZE, PROT_READ | PROT_EXEC,
			     MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, (uint64_t)-1, 0);
	if ((uint64_t)got != at)
		return 0;
	dir->arenas[dir->narenas].base = at;
	dir->arenas[dir->narenas].size = ARENA_SIZE;
	dir->arenas[dir->narenas++].used = size;
	return at;
}

static int refuse(struct skep_trace *t, const struct point *p, int err, const char *why)
{
	trace_notice(t, "%s: %s+0x%llx can't be patched: %s", trace_elf_path(p->elf),
		     p->func.name[0] ? p->func.name : "(no symbol)",
		     (unsigned long long)(p->offset - p->func.offset), why ? why : strerror(-err));
	return err;
}

static int move_point(struct remote *r, const struct point *p, uint64_t bias, uint64_t to,
		      struct x86_moved *m, const char **why)
{
	uint64_t addr = p->offset + bias, start = p->func.offset + bias;
	size_t len = p->func.size ? p->func.size : p->func.room;
	size_t room = p->func.room > len ? p->func.room : len;
	bool entry = p->offset == p->func.offset;
	struct x86_code code;
	uint8_t *bytes;
	int err;

	*why = NULL;
	if (room > MAX_CODE)
		return -E2BIG;
	bytes = malloc(room);
	if (!bytes)
		return -ENOMEM;
	err = remote_read(r, start, bytes, room);
	code = (struct x86_code){
		.bytes = bytes, .addr = start, .len = len, .room = room, .whole = true};
	if (!err && !entry && p->func.size && !x86_is_boundary(&code, addr)) {
		*why = "no instruction begins there";
		err = -EINVAL;
	}
	if (!err)
		err = x86_move(m, &code, addr, to, X86_JUMP, why);
	if (!err && !entry && m->n > 1 && x86_jumps_by_table(&code)) {
		*why = "the function jumps by a table, perhaps to among the bytes to move";
		err = -ENOTSUP;
	}
	free(bytes);
	return err;
}

static void shift_threads(struct remote *r, const struct x86_moved *m, uint64_t to)
{
	for (size_t i = 0; i < r->nthreads; i++) {
		uint64_t pc = x86_moved_pc(m, r->threads[i].regs.rip, to);

		if (pc) {
			r->threads[i].regs.rip = pc;
			r->threads[i].changed = true;
		}
	}
}

static int overlaps(const struct dir *dir, uint64_t addr, uint32_t len)
{
	for (uint32_t i = 0; i < dir->npatches; i++)
		if (addr < dir->patches[i].addr + dir->patches[i].len &&
		    dir->patches[i].addr < addr + len)
			return 1;
	return 0;
}

static int patch(struct skep_trace *t, struct remote *r, struct dir *dir, const struct module *m,
		 const struct point *p)
{
	uint64_t bias = m->start - m->offset, addr = p->offset + bias, at, code, to;
	const struct blob *blob = blob_get();
	struct agent_site site = {.ip = addr,
				  .func = p->func.name[0] ? p->func.offset + bias : addr,
				  .nentry = p->nentry,
				  .nreturn = p->nreturn,
				  .flags = p->flags};
	uint8_t stub[sizeof(site) + X86_STUB_HEAD + X86_STUB_CALL + X86_MAX_OUT];
	bool entry = p->offset == p->func.offset && p->func.name[0];
	struct dir_patch *d = &dir->patches[dir->npatches];
	struct x86_moved moved;
	const char *why = NULL;
	uint32_t len;
	int err;

	for (uint32_t i = 0; i < dir->npatches; i++)
		if (dir->patches[i].addr == addr)
			return 0;
	if (dir->npatches == DIR_PATCHES)
		return refuse(t, p, -ENOSPC, "too many places");
	at = allocate(t, r, dir, m, sizeof(stub));
	if (!at)
		return refuse(t, p, -ENOMEM, "no room within 2 GiB of it");
	code = at + sizeof(site) + X86_STUB_HEAD;
	to = code + X86_STUB_CALL;
	err = move_point(r, p, bias, to, &moved, &why);
	if (!err && overlaps(dir, addr, moved.len)) {
		why = "another probe is among the bytes to move";
		err = -EBUSY;
	}
	if (!err && moved.n > sizeof(d->at))
		err = -E2BIG;
	if (err)
		return refuse(t, p, err, why);
	site.resume = to;
	memcpy(site.links, p->links, sizeof(site.links));
	memcpy(stub, &site, sizeof(site));
	err = x86_stub(stub + sizeof(site), sizeof(stub) - sizeof(site), at,
		       dir->agent + (entry ? blob->enter_func : blob->enter_probe), &moved, &len);
	if (err)
		return refuse(t, p, err, NULL);
	*d = (struct dir_patch){.addr = addr, .stub = code, .len = moved.len, .moved = moved.n};
	memcpy(d->at, moved.at, sizeof(d->at));
	memcpy(d->to, moved.to, sizeof(d->to));
	x86_jump_to(d->now, addr, code);
	err = remote_read(r, addr, d->orig, moved.len);
	if (!err)
		err = remote_write(r, at, stub, sizeof(site) + len);
	/* Noted before it is done: whoever finds it undone restores what was there. */
	if (!err)
		err = remote_write(r, t->dir + ((uint8_t *)d - (uint8_t *)dir), d, sizeof(*d));
	if (!err) {
		dir->npatches++;
		err = write_head(t, r, dir);
	}
	if (!err)
		err = remote_write(r, addr, d->now, X86_JUMP);
	if (err)
		return refuse(t, p, err, NULL);
	shift_threads(r, &moved, to);
	return 1;
}

static int update(struct skep_trace *t, struct remote *r, struct dir *dir)
{
	struct modules all = {.t = t, .pid = r->pid};
	int err = remote_maps(r->pid, add_module, &all), n = 0;

	for (size_t i = 0; i < all.n && !err; i++)
		for (size_t k = 0; k < t->npoints; k++) {
			const struct point *p = &t->points[k];
			const struct module *m = &all.m[i];

			if (p->elf == m->elf && p->offset >= m->offset &&
			    p->offset - m->offset < m->end - m->start && patch(t, r, dir, m, p) > 0)
				n++;
		}
	free(all.m);
	return err ? err : n;
}

int process_update(struct skep_trace *t, struct remote *r)
{
	struct dir *dir = calloc(1, sizeof(*dir));
	int err = dir ? read_dir(t, r, dir) : -ENOMEM;

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
	return false;
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

static int load_agent(struct remote *r, const struct blob *blob, struct dir *dir)
{
	long base = map_at(r, 0, blob->size + STACK_SIZE, 0);
	uint8_t *image;
	int err;

	if (base < 0 && base > -4096)
		return (int)base;
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

static int start_agent(struct skep_trace *t, struct remote *r, const struct blob *blob,
		       const struct dir *dir)
{
	struct agent_boot boot = {.supervisor = getpid(),
				  .ctl = {t->seg.fd, t->seg.dev, t->seg.ino}};
	uint64_t vdso = 0, at = dir->stack - STACK_SIZE;
	int err;

	if (remote_maps(r->pid, is_vdso, &vdso) == 1 && clock_in_vdso())
		boot.vdso_clock = vdso + clock_in_vdso();
	err = remote_write(r, at, &boot, sizeof(boot));
	if (err)
		return err;
	r->scratch = dir->agent + blob->remote_syscall;
	return (int)remote_call(r, dir->agent + blob->remote_call, dir->agent + blob->init, at,
				dir->stack);
}

/* Takes back what entering mapped, after it failed. */
static void unload(struct skep_trace *t, struct remote *r, const struct dir *dir)
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
	e = load_agent(r, blob, dir);
	if (!e)
		e = start_agent(t, r, blob, dir);
	if (!e)
		e = write_head(t, r, dir);
	if (e) {
		unload(t, r, dir);
		free(dir);
		return skep_fail(err, e, NULL, "process %d: the agent can't start: %s", (int)r->pid,
				 strerror(-e));
	}
	t->entered++;
	e = update(t, r, dir);
	write_head(t, r, dir);
	free(dir);
	return e < 0 ? skep_fail(err, e, NULL, "process %d: %s", (int)r->pid, strerror(-e)) : e;
}

/* ---- Leaving ---- */

/* A thread that stands in a trampoline goes on where it came from: false if it can't. */
static bool move_back(struct remote_thread *th, const struct dir *dir)
{
	uint64_t pc = th->regs.rip;

	for (uint32_t i = 0; i < dir->npatches; i++) {
		const struct dir_patch *d = &dir->patches[i];

		if (pc < d->stub || pc >= d->stub + X86_STUB_CALL + X86_MAX_OUT)
			continue;
		if (pc < d->stub + X86_STUB_CALL) {
			/* Before or after the call, the stack pointer is 128 bytes lower. */
			if (pc != d->stub)
				th->regs.rsp += 128;
			th->regs.rip = d->addr;
			th->changed = true;
			return true;
		}
		for (uint32_t k = 0; k < d->moved; k++)
			if (pc == d->stub + X86_STUB_CALL + d->to[k]) {
				th->regs.rip = d->addr + d->at[k];
				th->changed = true;
				return true;
			}
	}
	return false;
}

static bool inside(const struct dir *dir, uint64_t pc)
{
	if (pc - dir->agent < dir->agent_size)
		return true;
	for (uint32_t i = 0; i < dir->narenas; i++)
		if (pc - dir->arenas[i].base < dir->arenas[i].size)
			return true;
	return false;
}

static void unmap_all(struct skep_trace *t, struct remote *r, const struct dir *dir)
{
	const struct blob *blob = blob_get();
	struct agent_areas {
		struct {
			uint64_t base, size;
		} a[2048];
	} *areas = calloc(1, sizeof(*areas));

	r->scratch = 0;
	if (areas && !remote_read(r, dir->agent + blob->areas, areas, sizeof(*areas)))
		for (size_t i = 0; i < 2048; i++)
			if (areas->a[i].base && areas->a[i].size)
				remote_syscall(r, SYS_munmap, areas->a[i].base, areas->a[i].size, 0,
					       0, 0, 0);
	free(areas);
	for (uint32_t i = 0; i < dir->narenas; i++)
		remote_syscall(r, SYS_munmap, dir->arenas[i].base, dir->arenas[i].size, 0, 0, 0, 0);
	unload(t, r, dir);
}

void process_leave(struct skep_trace *t, struct remote *r)
{
	const struct blob *blob = blob_get();
	struct dir *dir = calloc(1, sizeof(*dir));
	bool clear = true;

	if (!dir || read_dir(t, r, dir)) {
		free(dir);
		return;
	}
	r->scratch = dir->agent + blob->remote_syscall;
	/* What waits for a return, then the code. */
	if (remote_call(r, dir->agent + blob->remote_call, dir->agent + blob->restore_returns, 0,
			dir->stack) < 0 ||
	    remote_call(r, dir->agent + blob->remote_call, dir->agent + blob->busy, 0, dir->stack))
		clear = false;
	for (uint32_t i = 0; i < dir->npatches; i++) {
		const struct dir_patch *d = &dir->patches[i];
		uint8_t now[X86_JUMP];

		/* Somebody else's patch over ours leads through our trampoline: that stays. */
		if (remote_read(r, d->addr, now, sizeof(now)) ||
		    memcmp(now, d->now, sizeof(now)) != 0 ||
		    remote_write(r, d->addr, d->orig, X86_JUMP))
			clear = false;
	}
	for (size_t i = 0; i < r->nthreads; i++)
		if (inside(dir, r->threads[i].regs.rip) && !move_back(&r->threads[i], dir))
			clear = false;
	if (clear)
		unmap_all(t, r, dir);
	free(dir);
}

void process_leave_all(struct skep_trace *t)
{
	DIR *proc = opendir("/proc");
	struct dirent *e;

	if (!proc)
		return;
	while ((e = readdir(proc))) {
		pid_t pid = (pid_t)atoi(e->d_name);
		struct remote r = {0};
		int err;

		if (pid <= 0 || pid == getpid() || process_has_agent(t, pid) <= 0)
			continue;
		err = remote_stop(&r, pid, 0);
		if (err) {
			trace_notice(t, "process %d can't be left: %s", (int)pid, strerror(-err));
			continue;
		}
		process_leave(t, &r);
		remote_resume(&r);
	}
	closedir(proc);
}
