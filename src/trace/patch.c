/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Patching a process all of whose threads are stopped: trampolines in arenas near the code, jumps to
 * them, and what was replaced, written down in the process's directory.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>

#include "trace/blob.h"
#include "trace/session.h"

#define ARENA_SIZE (256u << 10)
#define MAX_CODE   (64u << 20) /* longest piece of code that is read */
#define PATCH_ROOM (sizeof(struct agent_site) + X86_STUB_HEAD + X86_STUB_CALL + X86_STUB_RAW + 128)

#ifndef MAP_FIXED_NOREPLACE
#define MAP_FIXED_NOREPLACE 0x100000
#endif

uint64_t patch_room(struct remote *r, struct dir *dir, uint64_t start, uint64_t end, size_t size)
{
	uint64_t at;
	long got;

	size = (size + 15) & ~15ul;
	for (uint32_t i = 0; i < dir->narenas; i++) {
		uint64_t base = dir->arenas[i].base, top = base + ARENA_SIZE;
		uint64_t lo = base < start ? base : start, hi = top > end ? top : end;

		if (hi - lo < 0x7ff00000ull && dir->arenas[i].size - dir->arenas[i].used >= size) {
			at = base + dir->arenas[i].used;
			dir->arenas[i].used += size;
			return at;
		}
	}
	if (dir->narenas == DIR_ARENAS)
		return 0;
	at = remote_room(r->pid, start, end, ARENA_SIZE);
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

/* The function as it was: what is patched in it already would be taken for instructions. */
static void see_through(const struct dir *dir, uint64_t start, uint8_t *bytes, size_t len)
{
	for (uint32_t i = 0; i < dir->npatches; i++) {
		const struct dir_patch *d = &dir->patches[i];

		for (uint32_t k = 0; k < d->len && k < X86_JUMP; k++)
			if (d->addr + k >= start && d->addr + k - start < len)
				bytes[d->addr + k - start] = d->orig[k];
	}
}

static int move_point(struct remote *r, const struct dir *dir, const struct point *p, uint64_t bias,
		      uint64_t to, struct x86_moved *m, const char **why)
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
	see_through(dir, start, bytes, room);
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

/* Threads that stand among the moved bytes go on in the trampoline. */
static void shift_threads(struct remote *r, const struct dir_patch *d, const struct x86_moved *m)
{
	uint64_t to = d->stub + X86_STUB_CALL + (d->syscall ? X86_STUB_RAW : 0);

	for (size_t i = 0; i < r->nthreads; i++) {
		uint64_t rip = r->threads[i].regs.rip, pc = x86_moved_pc(m, rip, to);

		/* Behind the system call stands the first one moved. */
		if (d->syscall && rip == m->addr)
			pc = to;
		if (pc && !r->threads[i].parked) {
			r->threads[i].regs.rip = pc;
			r->threads[i].changed = true;
		}
	}
}

bool patch_is_in_use(const struct remote *r, uint64_t addr, uint32_t len)
{
	for (size_t i = 0; i < r->nthreads; i++)
		if (r->threads[i].parked && r->threads[i].regs.rip - addr - 1 < len - 1)
			return true;
	return false;
}

bool patch_overlaps(const struct dir *dir, uint64_t addr, uint32_t len)
{
	for (uint32_t i = 0; i < dir->npatches; i++)
		if (addr < dir->patches[i].addr + dir->patches[i].len &&
		    dir->patches[i].addr < addr + len)
			return true;
	return false;
}

int patch_write(struct skep_trace *t, struct remote *r, struct dir *dir, struct dir_patch *d,
		const struct agent_site *site, uint64_t entry, const struct x86_moved *moved)
{
	uint8_t stub[PATCH_ROOM];
	uint64_t at = d->stub - X86_STUB_HEAD - sizeof(*site);
	uint32_t len;
	int err;

	memcpy(stub, site, sizeof(*site));
	err = x86_stub(stub + sizeof(*site), sizeof(stub) - sizeof(*site), at, entry, moved,
		       d->syscall, &len);
	if (!err && d->len) {
		x86_jump_to(d->now, d->addr, d->stub);
		err = remote_read(r, d->addr, d->orig,
				  d->len < sizeof(d->orig) ? d->len : sizeof(d->orig));
	}
	if (!err)
		err = remote_write(r, at, stub, sizeof(*site) + len);
	/* Noted before it is done: whoever finds it undone restores what was there. */
	if (!err)
		err = remote_write(r, t->dir + (uint64_t)((uint8_t *)d - (uint8_t *)dir), d,
				   sizeof(*d));
	if (err)
		return err;
	dir->npatches++;
	err = dir_write_head(t, r, dir);
	if (!err && d->len) {
		err = remote_write(r, d->addr, d->now, X86_JUMP);
		shift_threads(r, d, moved);
	}
	return err;
}

int patch_point(struct skep_trace *t, struct remote *r, struct dir *dir, const struct module *m,
		const struct point *p)
{
	uint64_t bias = m->start - m->offset, addr = p->offset + bias, at;
	const struct blob *blob = blob_get();
	struct agent_site site = {.ip = addr,
				  .func = p->func.name[0] ? p->func.offset + bias : addr,
				  .nentry = p->nentry,
				  .nreturn = p->nreturn,
				  .flags = p->flags};
	bool entry = p->offset == p->func.offset && p->func.name[0];
	struct dir_patch *d = &dir->patches[dir->npatches];
	struct x86_moved moved;
	const char *why = NULL;
	int err;

	for (uint32_t i = 0; i < dir->npatches; i++)
		if (dir->patches[i].addr == addr)
			return 0;
	if (dir->npatches == DIR_PATCHES)
		return refuse(t, p, -ENOSPC, "too many places");
	at = patch_room(r, dir, m->start, m->end, PATCH_ROOM);
	if (!at)
		return refuse(t, p, -ENOMEM, "no room within 2 GiB of it");
	*d = (struct dir_patch){.addr = addr, .stub = at + sizeof(site) + X86_STUB_HEAD};
	site.resume = d->stub + X86_STUB_CALL;
	memcpy(site.links, p->links, sizeof(site.links));
	err = move_point(r, dir, p, bias, site.resume, &moved, &why);
	if (!err && patch_overlaps(dir, addr, moved.len)) {
		why = "another probe is among the bytes to move";
		err = -EBUSY;
	}
	if (!err && patch_is_in_use(r, addr, moved.len)) {
		why = "a thread stands there in a call that can't be interrupted";
		err = -EBUSY;
	}
	if (!err && moved.n > sizeof(d->at))
		err = -E2BIG;
	if (err)
		return refuse(t, p, err, why);
	d->len = moved.len;
	d->moved = moved.n;
	memcpy(d->at, moved.at, sizeof(d->at));
	memcpy(d->to, moved.to, sizeof(d->to));
	err = patch_write(t, r, dir, d, &site,
			  dir->agent + (entry ? blob->enter_func : blob->enter_probe), &moved);
	return err ? refuse(t, p, err, NULL) : 1;
}
