/* SPDX-License-Identifier: Apache-2.0 */
#include "bpf/uapi.h"

#include "tracepipe.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#define PREFIX          "skep-" /* of our instances' names */
#define FSCONFIG_CREATE 6 /* FSCONFIG_CMD_CREATE of <linux/mount.h> */

struct tracepipe {
	int fd;
	void (*line)(void *arg, const char *text, size_t len);
	void *arg;
	char mark[32]; /* "-PID " as a line of the trace names its task; "": any */
	int instances; /* directory of tracefs, if the pipe is of an instance of our own */
	char name[32]; /* of that instance */
	char buf[65536];
	size_t len;
};

bool tracepipe_wanted(struct bpf_object *obj)
{
	struct bpf_program *prog;

	bpf_object__for_each_program(prog, obj)
	{
		const struct bpf_insn *in = bpf_program__insns(prog);
		size_t n = bpf_program__insn_cnt(prog);

		for (size_t i = 0; i < n; i++)
			if (in[i].code == (BPF_JMP | BPF_CALL) && !in[i].src_reg &&
			    (in[i].imm == BPF_FUNC_trace_printk ||
			     in[i].imm == BPF_FUNC_trace_vprintk))
				return true;
	}
	return false;
}

/* tracefs, through a mount that no one else sees where it is not mounted: a directory. */
static int open_tracefs(void)
{
	static const char *const places[] = {"/sys/kernel/tracing", "/sys/kernel/debug/tracing"};
	int fs, mnt, fd;

	for (size_t i = 0; i < sizeof(places) / sizeof(places[0]); i++) {
		fd = open(places[i], O_RDONLY | O_DIRECTORY | O_CLOEXEC);
		if (fd >= 0 && !faccessat(fd, "trace_pipe", R_OK, 0))
			return fd;
		if (fd >= 0)
			close(fd);
	}
	fs = (int)syscall(SYS_fsopen, "tracefs", 1 /* FSOPEN_CLOEXEC */);
	if (fs < 0)
		return -errno;
	if (syscall(SYS_fsconfig, fs, FSCONFIG_CREATE, NULL, NULL, 0) < 0) {
		fd = -errno;
		close(fs);
		return fd;
	}
	mnt = (int)syscall(SYS_fsmount, fs, 1 /* FSMOUNT_CLOEXEC */, 0);
	fd = mnt < 0 ? -errno : mnt;
	close(fs);
	return fd;
}

static bool put(int dir, const char *path, const char *text)
{
	int fd = openat(dir, path, O_WRONLY | O_TRUNC | O_CLOEXEC);
	bool ok = fd >= 0 && write(fd, text, strlen(text)) == (ssize_t)strlen(text);

	if (fd >= 0)
		close(fd);
	return ok;
}

/* Instances that killed runs left; the kernel keeps those that someone reads. */
static void remove_left(int instances)
{
	int fd = openat(instances, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *dir = fd < 0 ? NULL : fdopendir(fd);
	struct dirent *e;

	if (!dir) {
		if (fd >= 0)
			close(fd);
		return;
	}
	while ((e = readdir(dir)))
		if (!strncmp(e->d_name, PREFIX, strlen(PREFIX)))
			unlinkat(instances, e->d_name, AT_REMOVEDIR);
	closedir(dir);
}

/*
 * A pipe of our own, which takes no lines from other readers, and of which they take none: an
 * instance with this one event. A descriptor, or -1.
 */
static int open_instance(struct tracepipe *t, int tracefs)
{
	int dir = -1, fd = -1;

	t->instances = openat(tracefs, "instances", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (t->instances < 0)
		return -1;
	remove_left(t->instances);
	if (!mkdirat(t->instances, t->name, 0700)) {
		dir = openat(t->instances, t->name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
		if (dir >= 0 && put(dir, "events/bpf_trace/bpf_trace_printk/enable", "1"))
			fd = openat(dir, "trace_pipe", O_RDONLY | O_NONBLOCK | O_CLOEXEC);
		if (dir >= 0)
			close(dir);
		if (fd >= 0)
			return fd;
		unlinkat(t->instances, t->name, AT_REMOVEDIR);
	}
	close(t->instances);
	t->instances = -1;
	return -1;
}

static int open_pipe(struct tracepipe *t)
{
	int tracefs = open_tracefs(), fd;

	if (tracefs < 0)
		return tracefs;
	fd = open_instance(t, tracefs);
	if (fd < 0) { /* the one that all share */
		fd = openat(tracefs, "trace_pipe", O_RDONLY | O_NONBLOCK | O_CLOEXEC);
		fd = fd < 0 ? -errno : fd;
	}
	close(tracefs);
	return fd;
}

/* This thread as the trace names it, which is another number in a PID namespace: asked by a
 * program. */
static int traced_pid(void)
{
	const struct bpf_insn insns[] = {
		{.code = BPF_JMP | BPF_CALL, .imm = BPF_FUNC_get_current_pid_tgid},
		{.code = BPF_JMP | BPF_EXIT},
	};
	LIBBPF_OPTS(bpf_test_run_opts, run);
	int fd = bpf_prog_load(BPF_PROG_TYPE_RAW_TRACEPOINT, "skep_pid", "GPL", insns, 2, NULL),
	    err;

	if (fd < 0)
		return (int)getpid();
	err = bpf_prog_test_run_opts(fd, &run);
	close(fd);
	return err ? (int)getpid() : (int)run.retval;
}

/* "    skep-1234    [001] b.s21  56.789012: bpf_trace_printk: text" */
static void pass_on(struct tracepipe *t, const char *line, size_t len)
{
	static const char call[] = ": bpf_trace_printk: ";
	const char *who = memmem(line, len, t->mark, strlen(t->mark));
	const char *text = memmem(line, len, call, sizeof(call) - 1);

	if (!who || !text || who > text)
		return;
	text += sizeof(call) - 1;
	t->line(t->arg, text, len - (size_t)(text - line));
}

void tracepipe_take(struct tracepipe *t)
{
	ssize_t n;

	if (!t)
		return;
	while ((n = read(t->fd, t->buf + t->len, sizeof(t->buf) - t->len)) > 0) {
		char *at = t->buf, *nl;

		t->len += (size_t)n;
		while ((nl = memchr(at, '\n', t->len - (size_t)(at - t->buf)))) {
			pass_on(t, at, (size_t)(nl - at));
			at = nl + 1;
		}
		t->len -= (size_t)(at - t->buf);
		memmove(t->buf, at, t->len);
		if (t->len == sizeof(t->buf))
			t->len = 0;
	}
}

int tracepipe_open(struct tracepipe **out, bool all,
		   void (*line)(void *arg, const char *text, size_t len), void *arg)
{
	struct tracepipe *t = calloc(1, sizeof(*t));
	int pid;

	if (!t)
		return -ENOMEM;
	t->instances = -1;
	pid = traced_pid();
	if (!all)
		snprintf(t->mark, sizeof(t->mark), "-%d ", pid);
	snprintf(t->name, sizeof(t->name), PREFIX "%d", pid);
	t->fd = open_pipe(t);
	if (t->fd < 0) {
		int err = t->fd;

		free(t);
		return err;
	}
	t->line = line;
	t->arg = arg;
	*out = t;
	return 0;
}

void tracepipe_close(struct tracepipe *t)
{
	if (!t)
		return;
	close(t->fd);
	if (t->instances >= 0) {
		unlinkat(t->instances, t->name, AT_REMOVEDIR);
		close(t->instances);
	}
	free(t);
}
