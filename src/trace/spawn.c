/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Started commands. A seccomp filter, inherited by all children, stops two kinds of system calls
 * until the supervisor has answered: execve and execveat, because a new program has to be entered before its
 * first instruction, and mmap of files to be executed, because libraries have to be patched before
 * anybody runs them. Everything else passes the filter; nothing is traced permanently, so
 * debuggers find their place free.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/seccomp.h>
#include <poll.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "os/os.h"
#include "trace/blob.h"
#include "trace/filter.h"
#include "trace/session.h"

#define EXEC_STOP   (SIGTRAP | PTRACE_EVENT_EXEC << 8)
#define EXEC_LIMIT  200000000ull /* ns after which an exec that was let pass must have failed */
#define MAX_WAITING 256

/* A thread that was let into execve and is traced until it comes out. */
struct waiting {
	pid_t tid, pid; /* pid: whom execve makes of it */
	uint64_t since;
};

/* ---- Answering ---- */

static void pass(int listener, uint64_t id)
{
	struct seccomp_notif_resp resp = {.id = id, .flags = SECCOMP_USER_NOTIF_FLAG_CONTINUE};

	ioctl(listener, SECCOMP_IOCTL_NOTIF_SEND, &resp);
}

static bool receive(int listener, struct seccomp_notif *n)
{
	memset(n, 0, sizeof(*n));
	return !ioctl(listener, SECCOMP_IOCTL_NOTIF_RECV, n);
}

static bool readable(int listener, int timeout_ms)
{
	struct pollfd p = {.fd = listener, .events = POLLIN};

	return poll(&p, 1, timeout_ms) > 0 && p.revents & POLLIN;
}

/* What the worker does for us the filter may stop as well: it passes. A notification is handed out
 * once, so those of others are kept for later. */
void spawn_let_pass(void *arg, pid_t tid)
{
	struct skep_trace *t = arg;
	struct seccomp_notif n;

	while ((!t->held || t->nheld < MAX_WAITING) && t->listener >= 0 &&
	       readable(t->listener, 0) && receive(t->listener, &n)) {
		if ((pid_t)n.pid == tid || !t->held)
			pass(t->listener, n.id);
		else
			t->held[t->nheld++] = n;
	}
}

/* ---- New programs ---- */

static struct waiting *find_waiting(struct skep_trace *t, pid_t tid)
{
	for (size_t i = 0; t->waiting && i < MAX_WAITING; i++)
		if (t->waiting[i].tid == tid)
			return &t->waiting[i];
	return NULL;
}

static void on_exec(struct skep_trace *t, const struct seccomp_notif *n)
{
	pid_t tid = (pid_t)n->pid;
	struct waiting *w = find_waiting(t, tid);

	if (!w) {
		w = find_waiting(t, 0);
		if (w && !ptrace(PTRACE_SEIZE, tid, NULL, (void *)PTRACE_O_TRACEEXEC)) {
			w->tid = tid;
			w->pid = (pid_t)remote_status(tid, "Tgid", 10);
		} else {
			trace_notice(t, "process %d: what it executes is not traced: %s", (int)tid,
				     w ? strerror(errno) : "too many at once");
			w = NULL;
		}
	}
	if (w)
		w->since = skep_clock_mono();
	pass(t->listener, n->id);
}

static void entered(struct skep_trace *t, pid_t pid)
{
	struct remote r = {.idle = spawn_let_pass, .idle_arg = t, .late = &t->late};
	struct skep_error err;
	int e, status;

	/* It is inside execve still, whose end will set its result: out of there first. */
	if (ptrace(PTRACE_INTERRUPT, pid, NULL, NULL) || ptrace(PTRACE_CONT, pid, NULL, NULL) ||
	    waitpid(pid, &status, __WALL) != pid || remote_is_gone(&t->late, pid, status))
		return;
	e = remote_adopt(&r, pid);
	if (e) {
		trace_notice(t, "process %d can't be entered: %s", (int)pid, strerror(-e));
		ptrace(PTRACE_DETACH, pid, NULL, NULL);
		return;
	}
	e = process_enter(t, &r, &err);
	if (e < 0)
		trace_notice(t, "%s", err.what);
	remote_resume(&r);
}

/* Those that came out of execve, by a new program, by its failure, or dead. */
static void look_at_waiting(struct skep_trace *t)
{
	for (size_t i = 0; t->waiting && i < MAX_WAITING; i++) {
		struct waiting *w = &t->waiting[i];
		pid_t tid = w->tid, got;
		int status;

		if (!tid)
			continue;
		/* Of a thread that is not the leader, execve makes the leader. */
		got = waitpid(tid, &status, __WALL | WNOHANG);
		if (got < 0 && w->pid > 0 && w->pid != tid) {
			w->tid = tid = w->pid;
			got = waitpid(tid, &status, __WALL | WNOHANG);
		}
		if (got < 0 && errno == ECHILD) {
			w->tid = 0;
			continue;
		}
		if (got == tid && WIFSTOPPED(status) && status >> 8 == EXEC_STOP) {
			w->tid = 0;
			entered(t, tid);
		} else if (got == tid && WIFSTOPPED(status)) {
			int sig = status >> 16 ? 0 : WSTOPSIG(status);

			if (skep_clock_mono() - w->since > EXEC_LIMIT) {
				w->tid = 0;
				ptrace(PTRACE_DETACH, tid, NULL, (void *)(uintptr_t)sig);
			} else {
				ptrace(PTRACE_CONT, tid, NULL, (void *)(uintptr_t)sig);
			}
		} else if (got == tid) {
			w->tid = 0;
			remote_is_gone(&t->late, tid, status);
		} else if (skep_clock_mono() - w->since > EXEC_LIMIT) {
			ptrace(PTRACE_INTERRUPT, tid, NULL, NULL);
		}
	}
}

static bool any_waiting(const struct skep_trace *t)
{
	for (size_t i = 0; t->waiting && i < MAX_WAITING; i++)
		if (t->waiting[i].tid)
			return true;
	return false;
}

/* ---- New code ---- */

/* The process maps a file where something is attached: the call is done for it, what it mapped is
 * patched, and it goes on with the result. */
static void on_mmap(struct skep_trace *t, const struct seccomp_notif *n)
{
	struct remote r = {.idle = spawn_let_pass, .idle_arg = t, .late = &t->late};
	const uint64_t *a = (const uint64_t *)n->data.args;
	pid_t tid = (pid_t)n->pid, pid;
	struct remote_thread *th;
	long got;
	int e;

	pid = (pid_t)remote_status(tid, "Tgid", 10);
	if (pid <= 0 || !process_wants_file(t, tid, (int)a[4]) || process_has_agent(t, pid) <= 0) {
		pass(t->listener, n->id);
		return;
	}
	e = remote_stop(&r, pid, tid);
	if (e) {
		trace_notice(t, "process %d: a library is not traced: %s", (int)pid, strerror(-e));
		pass(t->listener, n->id);
		return;
	}
	th = &r.threads[r.worker];
	got = remote_syscall(&r, SYS_mmap, a[0], a[1], a[2], a[3], a[4], a[5]);
	if (th->tid == tid) {
		/* It is not to be done again. */
		th->regs.rax = (uint64_t)got;
		th->regs.orig_rax = (uint64_t)-1;
		th->regs.rcx = th->regs.rip;
		th->changed = true;
	}
	if (got > 0 || got < -4095)
		process_update(t, &r);
	remote_resume(&r);
}

/* A system call from somewhere that is not patched yet: the thread is led to a trampoline for it. */
static void on_syscall(struct skep_trace *t, const struct seccomp_notif *n)
{
	struct remote r = {.idle = spawn_let_pass, .idle_arg = t, .late = &t->late};
	pid_t tid = (pid_t)n->pid, pid = (pid_t)remote_status(tid, "Tgid", 10);
	struct dir *dir = NULL;
	struct remote_thread *th;
	uint64_t stub = 0;
	int e;

	/* Not entered yet: between the filter and the command's first instruction. */
	if (pid <= 0 || process_has_agent(t, pid) <= 0) {
		pass(t->listener, n->id);
		return;
	}
	e = remote_stop(&r, pid, tid);
	if (e) {
		trace_notice(t, "process %d: a system call is not seen: %s", (int)pid,
			     strerror(-e));
		atomic_fetch_add(&t->ctl->missed, 1);
		pass(t->listener, n->id);
		return;
	}
	th = &r.threads[r.worker];
	dir = calloc(1, sizeof(*dir));
	/* It waits at the call that the notification is about, and would begin it anew. */
	if (dir && th->tid == tid && (long long)th->regs.orig_rax == n->data.nr &&
	    th->regs.rip == n->data.instruction_pointer && !dir_read(t, &r, dir)) {
		struct user_regs_struct regs = th->regs;

		r.scratch = dir->agent + blob_get()->remote_syscall;
		stub = syscalls_at(t, &r, dir, n->data.instruction_pointer - 2);
		if (stub) {
			th->regs = regs;
			th->regs.rip = stub;
			th->regs.rax = regs.orig_rax;
			th->regs.orig_rax = (uint64_t)-1;
			th->changed = true;
		}
		dir_write_head(t, &r, dir);
	}
	free(dir);
	remote_resume(&r);
	if (stub)
		return;
	/* It asks again; then it has to pass. */
	t->pass_tid = tid;
}

/* The process installs a filter: from then on the agent keeps quiet. */
static void on_filter(struct skep_trace *t, const struct seccomp_notif *n)
{
	struct remote r = {.idle = spawn_let_pass, .idle_arg = t, .late = &t->late};
	pid_t tid = (pid_t)n->pid, pid = (pid_t)remote_status(tid, "Tgid", 10);
	const struct blob *blob = blob_get();
	struct dir *dir = NULL;

	if (pid <= 0 || process_has_agent(t, pid) <= 0 || remote_stop(&r, pid, tid)) {
		pass(t->listener, n->id);
		return;
	}
	dir = calloc(1, sizeof(*dir));
	if (dir && !dir_read(t, &r, dir))
		remote_call(&r, dir->agent + blob->remote_call, dir->agent + blob->be_quiet, 0,
			    dir->stack);
	free(dir);
	remote_resume(&r);
	t->pass_tid = tid; /* it asks again */
}

static void handle(struct skep_trace *t, const struct seccomp_notif *n)
{
	uint64_t id = n->id;

	/* It may have been interrupted, and asks again. */
	if (ioctl(t->listener, SECCOMP_IOCTL_NOTIF_ID_VALID, &id))
		return;
	if (t->opts.leaving && (n->data.nr == SYS_exit_group || n->data.nr == SYS_execve ||
				n->data.nr == SYS_execveat))
		t->opts.leaving(t->opts.notice_arg, (pid_t)n->pid);
	if (t->pass_tid == (pid_t)n->pid) {
		t->pass_tid = 0;
		pass(t->listener, n->id);
	} else if (t->syscalls &&
		   n->data.instruction_pointer - t->dir - DIR_AGENT >= blob_get()->size &&
		   process_has_agent(t, (pid_t)n->pid) > 0) {
		/* Whatever it is, it is made by the gate, and perhaps asked about once more. */
		on_syscall(t, n);
	} else if (n->data.nr == SYS_exit_group && t->opts.leaving) {
		pass(t->listener, n->id);
	} else if (n->data.nr == SYS_execve || n->data.nr == SYS_execveat) {
		on_exec(t, n);
	} else if (n->data.nr == SYS_seccomp || n->data.nr == SYS_prctl) {
		on_filter(t, n);
	} else if (n->data.nr == SYS_mmap && (n->data.args[2] & PROT_EXEC) &&
		   !(n->data.args[3] & MAP_ANONYMOUS)) {
		on_mmap(t, n);
	} else {
		on_syscall(t, n);
	}
}

bool spawn_serve(struct skep_trace *t)
{
	struct seccomp_notif n;
	int status;

	remote_late_poll(&t->late);
	if (t->listener >= 0 && readable(t->listener, 0) && receive(t->listener, &n))
		handle(t, &n);
	/* Handling one may hold more. */
	while (t->held && t->nheld) {
		n = t->held[0];
		memmove(t->held, t->held + 1, --t->nheld * sizeof(n));
		handle(t, &n);
	}
	look_at_waiting(t);
	if (t->late.child > 0 && !t->late.child_gone && !find_waiting(t, t->late.child) &&
	    !remote_is_late(&t->late, t->late.child) &&
	    waitpid(t->late.child, &status, WNOHANG) == t->late.child)
		remote_is_gone(&t->late, t->late.child, status);
	return t->late.n || any_waiting(t);
}

void spawn_pass(struct skep_trace *t)
{
	struct seccomp_notif n;

	while (readable(t->listener, 0) && receive(t->listener, &n))
		pass(t->listener, n.id);
}

/* ---- Starting ---- */

struct started {
	_Atomic int listener; /* in the child's table; 0: not yet, below 0: -errno */
	_Atomic int go;
	_Atomic int exec_errno;
};

static void become(struct skep_trace *t, struct started *s, char *const *argv)
{
	uint32_t size = t->syscalls && blob_get() ? (uint32_t)blob_get()->size : 0;
	int fd = trace_filter_install(t->dir + DIR_AGENT, size, t->opts.leaving != NULL);

	atomic_store(&s->listener, fd < 0 ? fd : fd + 1);
	while (!atomic_load(&s->go))
		skep_sleep(100000);
	if (fd >= 0)
		close(fd);
	sigprocmask(SIG_SETMASK, &t->mask, NULL);
	if (fd >= 0)
		execvp(argv[0], argv);
	atomic_store(&s->exec_errno, errno);
	fprintf(stderr, "skep: %s: %s\n", argv[0], strerror(errno));
	_exit(errno == ENOENT ? 127 : 126);
}

static int take_listener(pid_t pid, const struct started *s)
{
	int pidfd, fd, got;

	while (!(got = atomic_load(&s->listener)))
		skep_sleep(50000);
	if (got < 0)
		return got;
	pidfd = (int)syscall(SYS_pidfd_open, pid, 0);
	if (pidfd < 0)
		return -errno;
	fd = (int)syscall(SYS_pidfd_getfd, pidfd, got - 1, 0);
	got = errno;
	close(pidfd);
	return fd < 0 ? -got : fd;
}

int spawn_start(struct skep_trace *t, char *const *argv, pid_t group, struct skep_error *err)
{
	struct started *s =
		mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	int e = 0;

	if (s == MAP_FAILED)
		return skep_fail(err, -ENOMEM, NULL, "no memory");
	t->waiting = calloc(MAX_WAITING, sizeof(*t->waiting));
	t->held = calloc(MAX_WAITING, sizeof(*t->held));
	if (!t->waiting || !t->held) {
		munmap(s, 4096);
		return skep_fail(err, -ENOMEM, NULL, "no memory");
	}
	t->late.child = fork();
	if (!t->late.child) {
		setpgid(0, group);
		become(t, s, argv);
	}
	if (t->late.child < 0)
		e = -errno;
	if (!e) {
		t->listener = take_listener(t->late.child, s);
		e = t->listener < 0 ? t->listener : 0;
		t->late.filters++;
		if (e)
			kill(t->late.child, SIGKILL);
		atomic_store(&s->go, 1);
	}
	munmap(s, 4096);
	if (!e)
		return 0;
	t->listener = -1;
	return skep_fail(err, e,
			 e == -EBUSY ? "Another user notification filter is in force here." : NULL,
			 "%s can't be started for tracing: %s", argv[0], strerror(-e));
}

void spawn_close(struct skep_trace *t)
{
	for (size_t i = 0; t->waiting && i < MAX_WAITING; i++) {
		int status;

		if (!t->waiting[i].tid)
			continue;
		if (!ptrace(PTRACE_INTERRUPT, t->waiting[i].tid, NULL, NULL) &&
		    waitpid(t->waiting[i].tid, &status, __WALL) > 0 && WIFSTOPPED(status))
			ptrace(PTRACE_DETACH, t->waiting[i].tid, NULL, NULL);
	}
	for (uint32_t i = 0; i < t->nheld; i++)
		pass(t->listener, t->held[i].id);
	for (int i = 0; i < 100 && t->late.n; i++) {
		remote_late_poll(&t->late);
		if (t->late.n)
			skep_sleep(1000000);
	}
	free(t->waiting);
	free(t->held);
	t->waiting = NULL;
	t->held = NULL;
	t->nheld = 0;
}
