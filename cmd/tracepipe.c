/* SPDX-License-Identifier: Apache-2.0 */
#include "bpf/uapi.h"

#include "tracepipe.h"

#include <bpf/libbpf.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#define FSCONFIG_CREATE 6 /* FSCONFIG_CMD_CREATE of <linux/mount.h> */

struct tracepipe {
	int fd;
	void (*line)(void *arg, const char *text, size_t len);
	void *arg;
	char mark[32]; /* "-PID " as a line of the trace names its task */
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

/* The trace's pipe through a mount that no one else sees, where tracefs is not mounted. */
static int open_pipe(void)
{
	static const char *const places[] = {"/sys/kernel/tracing/trace_pipe",
					     "/sys/kernel/debug/tracing/trace_pipe"};
	int fs, mnt, fd;

	for (size_t i = 0; i < sizeof(places) / sizeof(places[0]); i++) {
		fd = open(places[i], O_RDONLY | O_NONBLOCK | O_CLOEXEC);
		if (fd >= 0)
			return fd;
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
	fd = mnt < 0 ? -errno : openat(mnt, "trace_pipe", O_RDONLY | O_NONBLOCK | O_CLOEXEC);
	if (mnt >= 0 && fd < 0)
		fd = -errno;
	if (mnt >= 0)
		close(mnt);
	close(fs);
	return fd;
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

int tracepipe_open(struct tracepipe **out, void (*line)(void *arg, const char *text, size_t len),
		   void *arg)
{
	struct tracepipe *t = calloc(1, sizeof(*t));

	if (!t)
		return -ENOMEM;
	t->fd = open_pipe();
	if (t->fd < 0) {
		int err = t->fd;

		free(t);
		return err;
	}
	t->line = line;
	t->arg = arg;
	snprintf(t->mark, sizeof(t->mark), "-%d ", (int)getpid());
	*out = t;
	return 0;
}

void tracepipe_close(struct tracepipe *t)
{
	if (!t)
		return;
	close(t->fd);
	free(t);
}
