/* SPDX-License-Identifier: Apache-2.0 */
/* Leaving a process: return addresses, code, threads, memory, in this order, all threads stopped. */
#include <dirent.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "os/os.h"
#include "trace/agent/thread.h"
#include "trace/blob.h"
#include "trace/session.h"
#include "trace/x86.h"

#define LEAVE_ROUNDS 64
#define LEAVE_PAUSE  20000ull /* ns, doubled each time */
#define SCAN         (256u << 10) /* bytes of a stack that are looked through */
#define USER_CS      0x33
#define MAX_BLOCKS   1000000u /* of threads: more is a circle */

/* A thread that stands in a trampoline, or in a system call that the agent made for it, goes on where it came
 * from: false if it can't. */
static bool move_back(struct remote *r, struct remote_thread *th, const struct dir *dir)
{
	uint64_t pc = th->regs.rip, frame[7];

	if (pc == dir->agent + blob_get()->gate + 2) {
		/* orig_ax, ip, cs, flags, sp, ss, the trampoline's address */
		if (remote_read(r, th->regs.rsp, frame, sizeof(frame)))
			return false;
		th->regs.rip = frame[1];
		th->regs.rsp = frame[4];
		th->changed = true;
		return true;
	}
	for (uint32_t i = 0; i < dir->npatches; i++) {
		const struct dir_patch *d = &dir->patches[i];
		uint64_t to = d->stub + X86_STUB_CALL + (d->syscall ? X86_STUB_RAW : 0);

		if (pc < d->stub || pc >= to + X86_MAX_OUT)
			continue;
		if (pc < d->stub + X86_STUB_CALL) {
			/* Behind a system call's entry it has been made. */
			if (d->syscall && pc >= d->stub + X86_STUB_CALL - 8)
				th->regs.rip = d->addr + 2;
			else
				th->regs.rip = d->addr;
			/* Before or after the call, the stack pointer is 128 bytes lower. */
			if (pc != d->stub)
				th->regs.rsp += 128;
			th->changed = true;
			return true;
		}
		if (d->syscall && pc < to) {
			th->regs.rip = d->addr + (pc == to - 2 ? 0 : 2);
			th->changed = true;
			return true;
		}
		for (uint32_t k = 0; k < d->moved; k++)
			if (pc == to + d->to[k]) {
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

/* A thread in a signal handler goes back to where the signal found it, which may be inside: that
 * stands in the frame that the kernel made, above its stack pointer. It is known by its segments. */
static bool returns_inside(const struct remote *r, const struct remote_thread *th,
			   const struct dir *dir)
{
	enum {
		FLAGS = 1,
		SEGMENTS = 2
	}; /* words behind the program counter in struct sigcontext */
	static uint64_t words[SCAN / 8];
	size_t n = 0;

	/* Up to where the stack ends. */
	while (n < SCAN) {
		size_t part = 4096 - ((th->regs.rsp + n) & 4095);

		part = part < SCAN - n ? part : SCAN - n;
		if (remote_read(r, th->regs.rsp + n, (uint8_t *)words + n, part))
			break;
		n += part;
	}
	for (size_t i = 0; i + SEGMENTS < n / 8; i++)
		if (inside(dir, words[i]) && (words[i + SEGMENTS] & 0xffff) == USER_CS &&
		    (words[i + FLAGS] & 2) && words[i + FLAGS] < 1u << 22)
			return true;
	return false;
}

static void unmap_all(struct skep_trace *t, struct remote *r, const struct dir *dir)
{
	const struct blob *blob = blob_get();
	size_t size = AGENT_AREAS * sizeof(struct agent_area);
	struct agent_area *areas = malloc(size);

	r->scratch = 0;
	if (areas && !remote_read(r, dir->agent + blob->areas, areas, size))
		for (size_t i = 0; i < AGENT_AREAS; i++)
			if (areas[i].base && areas[i].size)
				remote_syscall(r, SYS_munmap, areas[i].base, areas[i].size, 0, 0, 0,
					       0);
	free(areas);
	for (uint32_t i = 0; i < dir->narenas; i++)
		remote_syscall(r, SYS_munmap, dir->arenas[i].base, dir->arenas[i].size, 0, 0, 0, 0);
	process_unload(t, r, dir);
}

static bool is_alive(const struct remote *r, uint32_t tid)
{
	for (size_t i = 0; i < r->nthreads; i++)
		if ((uint32_t)r->threads[i].tid == tid)
			return true;
	return false;
}

/* Puts the true return addresses back. What is noted stays noted: a thread may just be on its way to
 * agent_return_here, or be about to write the place. */
static void restore_returns(struct remote *r, const struct agent_thread *b, uint64_t here)
{
	uint32_t n = b->nret < AGENT_RETURNS ? b->nret : AGENT_RETURNS;

	/* Of several at one place only the first one knows the true one. */
	for (uint32_t i = 0; i < n; i++) {
		uint64_t word = 0, slot = b->ret[i].slot;

		if (slot > 1 && b->ret[i].real != here && !remote_read(r, slot, &word, 8) &&
		    word == here)
			remote_write(r, slot, &b->ret[i].real, 8);
	}
}

/* What waits for a return: false if programs are under way. All by reading and writing: whoever
 * lives under a filter need not do anything for it. */
static bool mend_threads(struct remote *r, const struct dir *dir)
{
	uint64_t at, here = dir->agent + blob_get()->return_here;
	struct agent_thread *b = malloc(sizeof(*b));
	bool idle = b && !remote_read(r, dir->agent + blob_get()->blocks, &at, sizeof(at));

	for (unsigned i = 0; idle && at && i < MAX_BLOCKS; i++) {
		if (remote_read(r, at, b, sizeof(*b))) {
			idle = false;
			break;
		}
		restore_returns(r, b, here);
		/* Blocks of threads that are gone may say anything. */
		if (b->depth && is_alive(r, b->tid)) {
			free(b);
			return false;
		}
		at = (uint64_t)(uintptr_t)b->all;
	}
	free(b);
	return idle;
}

/* Whether the agent has to show unwinders the true addresses there. */
static bool shows(const struct remote *r, const struct dir_patch *d)
{
	struct agent_site site;

	return !remote_read(r, d->stub - X86_STUB_HEAD - sizeof(site), &site, sizeof(site)) &&
	       (site.flags & AGENT_SITE_UNWIND);
}

/* Whether nobody is inside, or comes back. */
static bool empty(struct remote *r, const struct dir *dir)
{
	bool clear = mend_threads(r, dir);

	/* While one is parked, a child shares the memory, and may be inside. */
	for (size_t i = 0; i < r->nthreads; i++)
		if (r->threads[i].parked ||
		    (inside(dir, r->threads[i].regs.rip) && !move_back(r, &r->threads[i], dir)) ||
		    returns_inside(r, &r->threads[i], dir))
			clear = false;
	return clear;
}

int process_leave(struct skep_trace *t, struct remote *r, bool last)
{
	struct dir *dir = calloc(1, sizeof(*dir));
	int err = dir ? dir_read(t, r, dir) : -ENOMEM;
	bool clear, theirs = false;

	if (err) {
		free(dir);
		return err;
	}
	r->scratch = dir->agent + blob_get()->remote_syscall;
	clear = empty(r, dir);
	for (uint32_t i = 0; i < dir->npatches; i++) {
		const struct dir_patch *d = &dir->patches[i];
		uint8_t now[X86_JUMP];

		if (!d->len)
			continue;
		/* Who is inside may be about to await a return, and throw then. */
		if (!clear && !last && shows(r, d))
			continue;
		/* Somebody else's patch over ours leads through our trampoline: that stays. */
		if (remote_read(r, d->addr, now, sizeof(now)))
			theirs = true;
		else if (memcmp(now, d->now, sizeof(now)) == 0)
			theirs |= remote_write(r, d->addr, d->orig, X86_JUMP) != 0;
		else
			theirs |= memcmp(now, d->orig, sizeof(now)) != 0;
	}
	if (dir->nsemaphores) {
		semaphores_lower(r, dir);
		dir->nsemaphores = 0;
		dir_write_head(t, r, dir);
	}
	if (clear && !theirs && !r->bound)
		unmap_all(t, r, dir);
	free(dir);
	return theirs ? -EBUSY : !clear ? -EAGAIN : r->bound ? -EACCES : 0;
}

/* Nothing leads into the agent any more: whoever is still in there comes out soon. */
static int leave(struct skep_trace *t, pid_t pid)
{
	int err = -EAGAIN;

	for (unsigned i = 0; i < LEAVE_ROUNDS && err == -EAGAIN; i++) {
		struct remote r = {.idle = spawn_let_pass, .idle_arg = t, .late = &t->late};

		if (i)
			skep_sleep(LEAVE_PAUSE << (i < 8 ? i : 8));
		/* A parked thread may be the only one. */
		err = remote_stop(&r, pid, 0);
		if (err == -EBUSY) /* held by another tracer for the moment */
			err = -EAGAIN;
		if (err)
			continue;
		err = process_leave(t, &r, i + 1 == LEAVE_ROUNDS);
		remote_resume(&r);
	}
	return err;
}

void process_leave_all(struct skep_trace *t)
{
	DIR *proc = opendir("/proc");
	struct dirent *e;

	if (!proc)
		return;
	while ((e = readdir(proc))) {
		pid_t pid = (pid_t)atoi(e->d_name);
		int err;

		if (pid <= 0 || pid == getpid() || process_has_agent(t, pid) <= 0)
			continue;
		err = leave(t, pid);
		if (err == -EAGAIN || err == -EBUSY || err == -EACCES)
			trace_notice(t, "process %d keeps the agent's memory: %s", (int)pid,
				     err == -EBUSY    ? "its code was patched by others"
				     : err == -EACCES ? "it lives under a filter of its own"
						      : "a thread is in there");
		else if (err)
			trace_notice(t, "process %d can't be left: %s", (int)pid, strerror(-err));
	}
	closedir(proc);
}
