/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What runs in a stopped process runs with all signals blocked but SIGTRAP, which ends it: a
 * blocked SIGTRAP would be forced, and the kernel resets the host's handler then. If the host ignores
 * SIGTRAP, the kernel resets that as well; it is put back.
 */
#include "trace/remote.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/seccomp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "os/os.h"

#define STOP_LIMIT 2000000000ull /* ns */
#define RUN_LIMIT  10000000000ull
#define PARK_AFTER 3000000ull
#define EVENT(st)  ((unsigned)(st) >> 16)

/* ---- /proc ---- */

int remote_maps(pid_t pid, int (*fn)(void *arg, const struct remote_map *m), void *arg)
{
	char path[40], *line = NULL;
	size_t cap = 0;
	int err = 0;
	FILE *f;

	snprintf(path, sizeof(path), "/proc/%d/maps", (int)pid);
	f = fopen(path, "re");
	if (!f)
		return -errno;
	while (!err && getline(&line, &cap, f) > 0) {
		unsigned long long start, end, offset, ino;
		unsigned major, minor;
		struct remote_map m;
		int at = 0;

		if (sscanf(line, "%llx-%llx %4s %llx %x:%x %llu %n", &start, &end, m.perms, &offset,
			   &major, &minor, &ino, &at) < 7)
			continue;
		m.start = start;
		m.end = end;
		m.offset = offset;
		m.ino = ino;
		m.dev = makedev(major, minor);
		snprintf(m.path, sizeof(m.path), "%s", line + at);
		m.path[strcspn(m.path, "\n")] = 0;
		err = fn(arg, &m);
	}
	free(line);
	fclose(f);
	return err;
}

struct room {
	uint64_t lo, hi, size, last, best, distance;
};

#define REACH (0x7ff00000ull) /* a little less than 2 GiB */

static void consider(struct room *r, uint64_t from, uint64_t to)
{
	uint64_t at, min = r->hi > REACH ? r->hi - REACH : 0x10000, max = r->lo + REACH, away;

	if (from < 0x10000)
		from = 0x10000;
	if (to > max)
		to = max;
	if (from < min)
		from = min;
	if (to < from || to - from < r->size)
		return;
	/* Close to the code, above or below, a page away from what is there. */
	at = from >= r->hi ? from : to - r->size;
	if (to - from >= r->size + 8192)
		at = from >= r->hi ? from + 4096 : to - r->size - 4096;
	at &= ~4095ull;
	away = at > r->hi ? at - r->hi : r->lo - at;
	if (at >= from && (!r->best || away < r->distance)) {
		r->best = at;
		r->distance = away;
	}
}

static int gap(void *arg, const struct remote_map *m)
{
	struct room *r = arg;

	/* Below a growing stack the kernel keeps free what we must not take. */
	if (strcmp(m->path, "[stack]") != 0)
		consider(r, r->last, m->start);
	r->last = m->end;
	return 0;
}

uint64_t remote_room(pid_t pid, uint64_t lo, uint64_t hi, size_t size)
{
	struct room r = {.lo = lo, .hi = hi, .size = size};

	if (remote_maps(pid, gap, &r))
		return 0;
	consider(&r, r.last, 0x7ffffffff000);
	return r.best;
}

long long remote_status(pid_t pid, const char *field, int base)
{
	char path[40], line[512];
	size_t len = strlen(field);
	long long value = -1;
	FILE *f;

	snprintf(path, sizeof(path), "/proc/%d/status", (int)pid);
	f = fopen(path, "re");
	if (!f)
		return -1;
	while (fgets(line, sizeof(line), f))
		if (!strncmp(line, field, len) && line[len] == ':') {
			value = (long long)strtoull(line + len + 1, NULL, base);
			break;
		}
	fclose(f);
	return value;
}

/* ---- Stopping ---- */

bool remote_is_gone(struct remote_late *late, pid_t tid, int status)
{
	if (WIFSTOPPED(status))
		return false;
	if (late && tid == late->child) {
		late->child_gone = true;
		late->child_status = status;
	}
	return true;
}

static int wait_stop(pid_t tid, int *status, uint64_t limit, struct remote *r)
{
	uint64_t start = skep_clock_mono();

	for (unsigned round = 0;; round++) {
		pid_t got = waitpid(tid, status, __WALL | WNOHANG);

		if (got == tid)
			return remote_is_gone(r->late, tid, *status) ? -ESRCH : 0;
		if (got < 0 && errno != EINTR)
			return -ESRCH;
		if (skep_clock_mono() - start > limit)
			return -ETIMEDOUT;
		if (r->idle && limit > PARK_AFTER)
			r->idle(r->idle_arg, tid);
		if (round > 50)
			skep_sleep(round > 500 ? 200000 : 20000);
		else
			skep_cpu_yield();
	}
}

/* ---- Parked threads ---- */

static int find_late(const struct remote_late *late, pid_t tid)
{
	for (unsigned i = 0; late && i < late->n; i++)
		if (late->tid[i] == tid)
			return (int)i;
	return -1;
}

static void add_late(struct remote_late *late, pid_t tid)
{
	if (late && find_late(late, tid) < 0 && late->n < REMOTE_LATE)
		late->tid[late->n++] = tid;
}

bool remote_is_late(const struct remote_late *late, pid_t tid)
{
	return find_late(late, tid) >= 0;
}

void remote_late_poll(struct remote_late *late)
{
	for (unsigned i = 0; i < late->n;) {
		pid_t tid = late->tid[i];
		int status;
		pid_t got = waitpid(tid, &status, __WALL | WNOHANG);

		if (!got) {
			i++;
			continue;
		}
		if (got == tid && !remote_is_gone(late, tid, status))
			ptrace(PTRACE_DETACH, tid, NULL,
			       (void *)(uintptr_t)(EVENT(status) ? 0 : WSTOPSIG(status)));
		late->tid[i] = late->tid[--late->n];
	}
}

/* Its program counter, of a thread that waits in the kernel: 0, not known. */
static uint64_t rip_of(pid_t pid, pid_t tid)
{
	unsigned long long rip = 0;
	char path[64], line[256];
	FILE *f;

	snprintf(path, sizeof(path), "/proc/%d/task/%d/syscall", (int)pid, (int)tid);
	f = fopen(path, "re");
	if (!f)
		return 0;
	if (fgets(line, sizeof(line), f)) {
		char *last = strrchr(line, ' ');

		rip = last ? strtoull(last + 1, NULL, 16) : 0;
	}
	fclose(f);
	return rip;
}

static bool uninterruptible(pid_t pid, pid_t tid)
{
	char path[64], line[512], *p;
	bool is = false;
	FILE *f;

	snprintf(path, sizeof(path), "/proc/%d/task/%d/stat", (int)pid, (int)tid);
	f = fopen(path, "re");
	if (!f)
		return false;
	if (fgets(line, sizeof(line), f)) {
		p = strrchr(line, ')');
		is = p && p[1] == ' ' && p[2] == 'D';
	}
	fclose(f);
	return is;
}

/* 0: it has stopped; 1: it is parked; -errno. */
static int wait_stop_or_park(struct remote *r, pid_t tid, int *status)
{
	uint64_t start = skep_clock_mono();
	int err;

	for (;;) {
		err = wait_stop(tid, status, PARK_AFTER, r);
		if (err != -ETIMEDOUT)
			return err;
		if (r->late && uninterruptible(r->pid, tid))
			return 1;
		if (skep_clock_mono() - start > STOP_LIMIT)
			return err;
	}
}

/* Asks a thread to stop: 1, 0 it is held already, -errno. */
static int hold(struct remote *r, pid_t tid)
{
	struct remote_thread *grown;

	for (size_t i = 0; i < r->nthreads; i++)
		if (r->threads[i].tid == tid)
			return 0;
	grown = realloc(r->threads, (r->nthreads + 1) * sizeof(*grown));
	if (!grown)
		return -ENOMEM;
	r->threads = grown;
	if (find_late(r->late, tid) < 0 && ptrace(PTRACE_SEIZE, tid, NULL, NULL))
		return errno == EPERM && remote_status(tid, "TracerPid", 10) > 0 ? -EBUSY : -errno;
	r->threads[r->nthreads++] = (struct remote_thread){.tid = tid, .pending = true};
	/* If it fails, it is about to end: waiting for it will tell. */
	ptrace(PTRACE_INTERRUPT, tid, NULL, NULL);
	return 1;
}

/* Waits until it has stopped: 0, -ESRCH it has ended, -errno. */
static int settle(struct remote *r, struct remote_thread *t)
{
	int status, err = wait_stop_or_park(r, t->tid, &status);

	if (err < 0)
		return err;
	t->pending = false;
	if (err) {
		t->parked = true;
		add_late(r->late, t->tid);
		t->regs.rip = rip_of(r->pid, t->tid);
		return 0;
	}
	err = find_late(r->late, t->tid);
	if (err >= 0)
		r->late->tid[err] = r->late->tid[--r->late->n];
	if (EVENT(status) != PTRACE_EVENT_STOP)
		t->signal = WSTOPSIG(status);
	return ptrace(PTRACE_GETREGS, t->tid, NULL, &t->regs) ? -errno : 0;
}

/* All that are pending: they stop side by side. */
static int settle_all(struct remote *r)
{
	for (size_t i = 0; i < r->nthreads;) {
		struct remote_thread *t = &r->threads[i];
		int err = t->pending ? settle(r, t) : 0;

		if (err && (err != -ESRCH || t->tid == r->pid))
			return err;
		if (!err)
			i++;
		else if (t->pending)
			*t = r->threads[--r->nthreads]; /* it ended meanwhile */
		else
			return err;
	}
	return 0;
}

static int open_mem(struct remote *r)
{
	char path[40];

	snprintf(path, sizeof(path), "/proc/%d/mem", (int)r->pid);
	r->mem = open(path, O_RDWR | O_CLOEXEC);
	return r->mem < 0 ? -errno : 0;
}

/* Filters of its own: as root they can be suspended for what the worker does for us. */
static void look_at_filters(struct remote *r)
{
	long long mode = remote_status(r->pid, "Seccomp", 10);
	int known = r->late ? r->late->filters : 0;

	r->filters = (int)remote_status(r->pid, "Seccomp_filters", 10);
	if (r->filters < 0 || mode == SECCOMP_MODE_STRICT)
		r->filters = mode > 0 ? INT_MAX : 0;
	r->suspended = r->filters > 0 && !ptrace(PTRACE_SETOPTIONS, r->threads[r->worker].tid, NULL,
						 (void *)PTRACE_O_SUSPEND_SECCOMP);
	r->bound = !r->suspended && r->filters > known;
}

int remote_stop(struct remote *r, pid_t pid, pid_t tid)
{
	void (*idle)(void *arg, pid_t t) = r->idle;
	struct remote_late *late = r->late;
	void *idle_arg = r->idle_arg;
	bool more = true;
	char path[40];
	int err = 0;

	*r = (struct remote){
		.pid = pid, .mem = -1, .idle = idle, .idle_arg = idle_arg, .late = late};
	snprintf(path, sizeof(path), "/proc/%d/task", (int)pid);
	/* Until a look at all threads finds no new one: running ones may make more. */
	while (more && !err) {
		DIR *dir = opendir(path);
		struct dirent *e;

		if (!dir) {
			err = -ESRCH;
			break;
		}
		more = false;
		while ((e = readdir(dir)) && !err) {
			pid_t t = (pid_t)atoi(e->d_name);
			int got;

			if (t <= 0)
				continue;
			got = hold(r, t);
			if (got == -ESRCH && t != pid)
				continue; /* it ended meanwhile */
			if (got < 0)
				err = got;
			more |= got > 0;
		}
		closedir(dir);
		if (!err)
			err = settle_all(r);
	}
	if (!err && !r->nthreads)
		err = -ESRCH;
	if (!err)
		err = open_mem(r);
	for (size_t i = 0; i < r->nthreads; i++)
		if (!r->threads[i].parked &&
		    (r->threads[i].tid == (tid ? tid : pid) || r->threads[r->worker].parked))
			r->worker = i;
	/* Nobody is there to do what is asked. */
	if (!err && r->threads[r->worker].parked)
		err = -EAGAIN;
	if (!err)
		look_at_filters(r);
	if (err)
		remote_resume(r);
	return err;
}

int remote_adopt(struct remote *r, pid_t pid)
{
	void (*idle)(void *arg, pid_t t) = r->idle;
	struct remote_late *late = r->late;
	void *idle_arg = r->idle_arg;
	int err;

	*r = (struct remote){
		.pid = pid, .mem = -1, .idle = idle, .idle_arg = idle_arg, .late = late};
	r->threads = calloc(1, sizeof(*r->threads));
	if (!r->threads)
		return -ENOMEM;
	r->nthreads = 1;
	r->threads[0].tid = pid;
	err = ptrace(PTRACE_GETREGS, pid, NULL, &r->threads[0].regs) ? -errno : open_mem(r);
	if (!err)
		look_at_filters(r);
	if (err)
		remote_resume(r);
	return err;
}

void remote_resume(struct remote *r)
{
	for (size_t i = 0; i < r->nthreads; i++) {
		struct remote_thread *t = &r->threads[i];

		if (t->parked)
			continue;
		if (t->changed)
			ptrace(PTRACE_SETREGS, t->tid, NULL, &t->regs);
		if (!ptrace(PTRACE_DETACH, t->tid, NULL, (void *)(uintptr_t)t->signal))
			continue;
		/* It is about to end, killed; nobody else is told before we were. */
		add_late(r->late, t->tid);
	}
	if (r->late)
		remote_late_poll(r->late);
	free(r->threads);
	if (r->mem >= 0)
		close(r->mem);
	r->threads = NULL;
	r->nthreads = 0;
	r->mem = -1;
}

/* ---- Memory ---- */

int remote_read(const struct remote *r, uint64_t addr, void *to, size_t len)
{
	while (len) {
		ssize_t n = pread(r->mem, to, len, (off_t)addr);

		if (n <= 0)
			return n < 0 ? -errno : -EFAULT;
		to = (char *)to + n;
		addr += (uint64_t)n;
		len -= (size_t)n;
	}
	return 0;
}

int remote_write(const struct remote *r, uint64_t addr, const void *from, size_t len)
{
	while (len) {
		ssize_t n = pwrite(r->mem, from, len, (off_t)addr);

		if (n <= 0)
			return n < 0 ? -errno : -EFAULT;
		from = (const char *)from + n;
		addr += (uint64_t)n;
		len -= (size_t)n;
	}
	return 0;
}

/* ---- Running something ---- */

/* Runs the worker from these registers on until the int3 that ends what it does. */
static int run(struct remote *r, struct user_regs_struct *regs)
{
	struct remote_thread *t = &r->threads[r->worker];
	uint64_t mask = ~(1ull << (SIGTRAP - 1)), old;
	int status, err = 0, again = 0;

	if (ptrace(PTRACE_GETSIGMASK, t->tid, (void *)8, &old) ||
	    ptrace(PTRACE_SETSIGMASK, t->tid, (void *)8, &mask) ||
	    ptrace(PTRACE_SETREGS, t->tid, NULL, regs))
		return -errno;
	for (;;) {
		if (ptrace(PTRACE_CONT, t->tid, NULL, NULL)) {
			err = -errno;
			break;
		}
		err = wait_stop(t->tid, &status, RUN_LIMIT, r);
		if (err)
			return err;
		if (WSTOPSIG(status) == SIGTRAP && !EVENT(status))
			break;
		/* SIGSTOP can't be blocked: later. A fault would be ours. */
		if (WSTOPSIG(status) == SIGSEGV || WSTOPSIG(status) == SIGBUS ||
		    WSTOPSIG(status) == SIGILL || WSTOPSIG(status) == SIGSYS) {
			err = -EFAULT;
			break;
		}
		if (!EVENT(status))
			again = WSTOPSIG(status);
	}
	if (!err && ptrace(PTRACE_GETREGS, t->tid, NULL, regs))
		err = -errno;
	ptrace(PTRACE_SETSIGMASK, t->tid, (void *)8, &old);
	/* What it stopped with comes back when it is let go. */
	t->changed = true;
	if (again)
		syscall(SYS_tgkill, r->pid, t->tid, again);
	return err;
}

long remote_syscall(struct remote *r, long nr, uint64_t a, uint64_t b, uint64_t c, uint64_t d,
		    uint64_t e, uint64_t f)
{
	static const uint8_t code[3] = {0x0f, 0x05, 0xcc};
	struct remote_thread *t = &r->threads[r->worker];
	struct user_regs_struct regs = t->regs;
	uint8_t saved[3];
	int err = 0;

	if (r->bound)
		return -EACCES;
	regs.rip = r->scratch ? r->scratch : t->regs.rip;
	if (!r->scratch) {
		err = remote_read(r, regs.rip, saved, sizeof(saved));
		if (!err)
			err = remote_write(r, regs.rip, code, sizeof(code));
		if (err)
			return err;
	}
	regs.rax = (uint64_t)nr;
	regs.orig_rax = (uint64_t)-1;
	regs.rdi = a;
	regs.rsi = b;
	regs.rdx = c;
	regs.r10 = d;
	regs.r8 = e;
	regs.r9 = f;
	err = run(r, &regs);
	if (!r->scratch)
		remote_write(r, t->regs.rip, saved, sizeof(saved));
	return err ? err : (long)regs.rax;
}

long remote_call(struct remote *r, uint64_t call, uint64_t fn, uint64_t arg, uint64_t stack)
{
	struct user_regs_struct regs = r->threads[r->worker].regs;
	int err;

	regs.rip = call;
	regs.rax = fn;
	regs.rdi = arg;
	regs.rsp = stack & ~15ull;
	regs.orig_rax = (uint64_t)-1;
	regs.eflags &= ~0x400ull;
	err = run(r, &regs);
	return err ? err : (long)regs.rax;
}
