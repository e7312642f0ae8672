/* SPDX-License-Identifier: Apache-2.0 */
/*
 * System call instructions. The filter of a started command stops a call that does not come from the agent's
 * gate before it is made; so an instruction becomes known by being met, and is then certainly one. It
 * is patched with what follows it, if that can be moved; otherwise each thread that comes there is led
 * to its trampoline. What was met in one process is patched in the others as soon as they map the file.
 */
#include <errno.h>
#include <seccomp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "trace/blob.h"
#include "trace/session.h"
#include "trace/sysargs.h"

#define WINDOW 48 /* bytes behind the instruction that are looked at */

struct known_file *syscalls_file(struct skep_trace *t, uint64_t dev, uint64_t ino)
{
	for (size_t i = 0; i < t->nfiles; i++)
		if (t->files[i].dev == dev && t->files[i].ino == ino)
			return &t->files[i];
	return NULL;
}

/* All branches of the file's code. */
static void find_targets(struct known_file *f)
{
	size_t size;
	const uint8_t *image = trace_elf_image(f->elf, &size);
	struct trace_func text;
	uint64_t start = 0;

	/* The section that its sites are in: they are found one by one, the targets at once. */
	if (trace_elf_text(f->elf, &text))
		return;
	start = text.offset;
	struct x86_code code = {
		.bytes = image + start, .addr = start, .len = text.room, .room = text.room};

	if (x86_targets(&code, &f->targets)) {
		trace_elf_close(f->elf);
		f->elf = NULL;
	}
}

static struct known_file *add_file(struct skep_trace *t, pid_t pid, const struct remote_map *m)
{
	struct known_file *grown, *f = syscalls_file(t, m->dev, m->ino);
	char path[600];

	if (f)
		return f;
	grown = realloc(t->files, (t->nfiles + 1) * sizeof(*grown));
	if (!grown)
		return NULL;
	t->files = grown;
	f = &grown[t->nfiles++];
	*f = (struct known_file){.dev = m->dev, .ino = m->ino};
	snprintf(path, sizeof(path), "/proc/%d/root%s", (int)pid, m->path);
	if (!trace_elf_open(&f->elf, path))
		find_targets(f);
	return f;
}

static bool add_site(struct known_file *f, uint64_t offset)
{
	uint64_t *grown;

	for (size_t i = 0; i < f->nsites; i++)
		if (f->sites[i] == offset)
			return true;
	grown = realloc(f->sites, (f->nsites + 1) * sizeof(*grown));
	if (!grown)
		return false;
	f->sites = grown;
	grown[f->nsites++] = offset;
	return true;
}

/* Moves what follows the instruction: false if it has to stay as it is. */
static bool move_rest(struct remote *r, const struct known_file *f, const struct dir *dir,
		      uint64_t addr, uint64_t offset, uint64_t to, struct x86_moved *m)
{
	uint8_t bytes[WINDOW];
	struct x86_code code = {.bytes = bytes,
				.addr = addr + 2,
				.len = sizeof(bytes) - 2,
				.room = sizeof(bytes) - 2,
				.whole = true};
	const char *why;

	if (!f || !f->elf || remote_read(r, addr, bytes, sizeof(bytes)) ||
	    memcmp(bytes, "\x0f\x05", 2) != 0)
		return false;
	memmove(bytes, bytes + 2, sizeof(bytes) - 2);
	return !x86_move(m, &code, addr + 2, to, X86_JUMP - 2, &why) &&
	       m->n <= sizeof(dir->patches[0].at) &&
	       !x86_targets_in(&f->targets, offset + 1, offset + 2 + m->len) &&
	       !patch_overlaps(dir, addr, 2 + m->len) && !patch_is_in_use(r, addr, 2 + m->len);
}

/* The way back of a trampoline that moved nothing. */
static void back_to(struct x86_moved *m, uint64_t addr)
{
	static const uint8_t jmp[6] = {0xff, 0x25, 0, 0, 0, 0};

	*m = (struct x86_moved){.addr = addr, .out_len = sizeof(jmp) + 8};
	memcpy(m->out, jmp, sizeof(jmp));
	memcpy(m->out + sizeof(jmp), &addr, 8);
}

static uint64_t make(struct skep_trace *t, struct remote *r, struct dir *dir, uint64_t addr,
		     const struct known_file *f, uint64_t offset, uint64_t start, uint64_t end)
{
	struct dir_patch *d = &dir->patches[dir->npatches];
	struct agent_site site = {.ip = addr, .func = addr};
	struct x86_moved m;
	uint64_t at, to;

	if (dir->npatches == DIR_PATCHES)
		return 0;
	at = patch_room(r, dir, start, end,
			sizeof(site) + X86_STUB_HEAD + X86_STUB_CALL + X86_STUB_RAW + 128);
	if (!at)
		return 0;
	*d = (struct dir_patch){
		.addr = addr, .stub = at + sizeof(site) + X86_STUB_HEAD, .syscall = true};
	to = d->stub + X86_STUB_CALL + X86_STUB_RAW;
	site.resume = to;
	if (move_rest(r, f, dir, addr, offset, to, &m)) {
		d->len = 2 + m.len;
		d->moved = m.n;
		for (uint32_t i = 0; i < m.n; i++) {
			d->at[i] = (uint8_t)(2 + m.at[i]);
			d->to[i] = m.to[i];
		}
	} else {
		back_to(&m, addr + 2);
	}
	if (patch_write(t, r, dir, d, &site, dir->agent + blob_get()->enter_syscall, &m))
		return 0;
	return d->stub;
}

void syscalls_patch(struct skep_trace *t, struct remote *r, struct dir *dir, const struct module *m)
{
	for (size_t i = 0; i < m->known->nsites; i++) {
		uint64_t offset = m->known->sites[i], addr = offset - m->offset + m->start;
		bool done = false;

		if (offset < m->offset || addr >= m->end)
			continue;
		for (uint32_t k = 0; k < dir->npatches && !done; k++)
			done = dir->patches[k].addr == addr;
		if (!done)
			make(t, r, dir, addr, m->known, offset, m->start, m->end);
	}
}

struct around {
	uint64_t addr;
	struct remote_map map;
};

static int around(void *arg, const struct remote_map *m)
{
	struct around *a = arg;

	if (a->addr < m->start || a->addr >= m->end)
		return 0;
	a->map = *m;
	return 1;
}

uint64_t syscalls_at(struct skep_trace *t, struct remote *r, struct dir *dir, uint64_t addr)
{
	struct around a = {.addr = addr};
	struct known_file *f = NULL;
	uint64_t offset;

	for (uint32_t i = 0; i < dir->npatches; i++) {
		const struct dir_patch *d = &dir->patches[i];

		/* Or at its copy, where the kernel restarts a call. */
		if (d->syscall && (d->addr == addr || d->stub + X86_STUB_CALL + 2 == addr))
			return d->stub;
	}
	if (remote_maps(r->pid, around, &a) <= 0)
		return 0;
	offset = addr - a.map.start + a.map.offset;
	if (a.map.ino && a.map.path[0] == '/')
		f = add_file(t, r->pid, &a.map);
	if (f)
		add_site(f, offset);
	return make(t, r, dir, addr, f, offset, a.map.start, a.map.end);
}

void syscalls_close(struct skep_trace *t)
{
	for (size_t i = 0; i < t->nfiles; i++) {
		trace_elf_close(t->files[i].elf);
		free(t->files[i].targets.addr);
		free(t->files[i].sites);
	}
	free(t->files);
}

/* ---- Attaching ---- */

/* Tracepoints and entry points are named after functions of the kernel's, which differ for some. */
static const struct {
	const char *kernel, *name;
} renamed[] = {
	{"newstat", "stat"},
	{"newfstat", "fstat"},
	{"newlstat", "lstat"},
	{"newuname", "uname"},
	{"sendfile64", "sendfile"},
	{"umount", "umount2"},
	{"rt_sigreturn", "rt_sigreturn"},
};

int skep_trace_syscall_nr(const char *name)
{
	int nr;

	for (size_t i = 0; i < sizeof(renamed) / sizeof(renamed[0]); i++)
		if (!strcmp(name, renamed[i].kernel))
			name = renamed[i].name;
	nr = seccomp_syscall_resolve_name_arch(SCMP_ARCH_X86_64, name);
	return nr < 0 ? -ENOENT : nr;
}

int syscalls_check_record(struct skep *skep, int prog_fd, int nr, uint32_t kind,
			  struct skep_error *err)
{
	struct skep_object *obj;
	const char *call = nr < 0 ? "" : sysargs_name((uint32_t)nr);
	char name[64];
	int e;

	if (kind != AGENT_SYS_ENTER_TP && kind != AGENT_SYS_EXIT_TP)
		return 0;
	e = skep_object_get(skep, prog_fd, SKEP_KIND_PROG, &obj);
	if (e)
		return skep_fail(err, e, NULL, "descriptor %d is no program", prog_fd);
	snprintf(name, sizeof(name), "%s:sys_%s%s%s", nr < 0 ? "raw_syscalls" : "syscalls",
		 kind == AGENT_SYS_ENTER_TP ? "enter" : "exit", nr < 0 ? "" : "_",
		 call ? call : "");
	e = trace_check_record((struct skep_prog *)obj, name,
			       trace_record_size(nr, (enum agent_kind)kind), err);
	skep_object_put(obj);
	return e;
}

int skep_trace_syscall(struct skep_trace *t, int prog_fd, const char *name, uint32_t kind,
		       uint64_t cookie, struct skep_error *err)
{
	int nr = name ? skep_trace_syscall_nr(name) : -1, link;

	if (name && nr < 0)
		return skep_fail(err, -ENOENT, NULL, "there is no system call '%s'", name);
	link = trace_add_link(t, prog_fd, (enum agent_kind)kind, cookie, nr, err);
	if (link < 0)
		return link;
	t->syscalls = true;
	return 1;
}
