/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Linux: a client's memory by process_vm_readv(2), its descriptors by pidfd_getfd(2). Both
 * ask for the right to trace the client, which a server of the same user has.
 */
#include "os/caller.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/capability.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#include "os/linux.h"
#include "os/os.h"

static __thread struct skep_caller *current __attribute__((tls_model("initial-exec")));

struct skep_caller *skep_caller_enter(struct skep_caller *caller)
{
	struct skep_caller *was = current;

	current = caller;
	return was;
}

struct skep_caller *skep_caller_current(void)
{
	return current;
}

void skep_caller_done(struct skep_caller *caller)
{
	while (caller->ntaken)
		close(caller->taken[--caller->ntaken]);
}

/* The kernel copies page by page and stops at a hole: less than asked is a fault. */
static int remote(void *here, const void *there, size_t len, bool write)
{
	while (len) {
		struct iovec mine = {here, len}, theirs = {(void *)(uintptr_t)there, len};
		long n = syscall(write ? SYS_process_vm_writev : SYS_process_vm_readv,
				 (long)current->pid, &mine, 1UL, &theirs, 1UL, 0UL);

		if (n <= 0)
			return -EFAULT;
		here = (char *)here + n;
		there = (const char *)there + n;
		len -= (size_t)n;
	}
	return 0;
}

static int remote_read(void *dst, const void *src, size_t len)
{
	return remote(dst, src, len, false);
}

int skep_caller_read(void *dst, const void *src, size_t len)
{
	return current ? remote_read(dst, src, len) : skep_probe_read(dst, src, len);
}

long skep_caller_read_str(char *dst, const void *src, size_t len)
{
	if (!current)
		return skep_probe_read_str(dst, src, len);
	return skep_linux_read_str(remote_read, dst, src, len);
}

int skep_caller_write(void *dst, const void *src, size_t len)
{
	if (!current)
		return skep_probe_write(dst, src, len);
	return remote((void *)(uintptr_t)src, dst, len, true);
}

int skep_caller_fd(int fd)
{
	struct skep_caller *c = current;
	int mine;

	if (!c)
		return fd;
	mine = (int)syscall(SYS_pidfd_getfd, (long)c->pidfd, (long)fd, 0UL);
	if (mine < 0)
		return -EBADF;
	/* The oldest goes first: a call looks at its descriptors one after the other. */
	if (c->ntaken == sizeof(c->taken) / sizeof(c->taken[0])) {
		close(c->taken[0]);
		for (unsigned i = 1; i < c->ntaken; i++)
			c->taken[i - 1] = c->taken[i];
		c->ntaken--;
	}
	c->taken[c->ntaken++] = mine;
	return mine;
}

/* ---- Who it is ---- */

static bool same_user_namespace(pid_t pid)
{
	struct stat mine, theirs;
	char path[48];

	snprintf(path, sizeof(path), "/proc/%d/ns/user", (int)pid);
	return !stat("/proc/self/ns/user", &mine) && !stat(path, &theirs) &&
	       mine.st_ino == theirs.st_ino && mine.st_dev == theirs.st_dev;
}

bool skep_caller_find(struct skep_caller *caller, pid_t pid)
{
	char path[48], line[256];
	unsigned long long caps = 0;
	int tgid = 0;
	FILE *f;

	caller->pid = pid;
	snprintf(path, sizeof(path), "/proc/%d/status", (int)pid);
	f = fopen(path, "re");
	if (!f)
		return false;
	while (fgets(line, sizeof(line), f)) {
		/* Real, effective, saved, of files. */
		if (line[0] == 'T')
			sscanf(line, "Tgid: %d", &tgid);
		else if (line[0] == 'U')
			sscanf(line, "Uid: %u %*u %*u %u", &caller->uid, &caller->fsuid);
		else if (line[0] == 'G')
			sscanf(line, "Gid: %u %*u %*u %u", &caller->gid, &caller->fsgid);
		else if (line[0] == 'C' && sscanf(line, "CapEff: %llx", &caps) == 1)
			break;
	}
	fclose(f);
	caller->tgid = tgid;
	caller->caps = caps && same_user_namespace(pid) ? caps : 0;
	return tgid > 0;
}

/* ---- Its rights ---- */

#define FILE_CAPS                                                                                  \
	(1u << CAP_CHOWN | 1u << CAP_DAC_OVERRIDE | 1u << CAP_DAC_READ_SEARCH | 1u << CAP_FOWNER | \
	 1u << CAP_FSETID)

/* Before: of this thread. */
static __thread struct {
	bool on;
	struct __user_cap_data_struct caps[2];
	gid_t *groups;
	int ngroups;
} before __attribute__((tls_model("initial-exec")));

static int capabilities(long call, struct __user_cap_data_struct *data)
{
	struct __user_cap_header_struct head = {.version = _LINUX_CAPABILITY_VERSION_3};

	return syscall(call, &head, data) ? -errno : 0;
}

/* The caller's further groups, and their number. */
static int read_groups(gid_t *groups, int max)
{
	char path[48], line[4096], *at, *end;
	int n = 0;
	FILE *f;

	snprintf(path, sizeof(path), "/proc/%d/status", (int)current->pid);
	f = fopen(path, "re");
	while (f && fgets(line, sizeof(line), f)) {
		if (strncmp(line, "Groups:", 7) != 0)
			continue;
		for (at = line + 7; n < max; at = end) {
			unsigned long id = strtoul(at, &end, 10);

			if (end == at)
				break;
			groups[n++] = (gid_t)id;
		}
	}
	if (f)
		fclose(f);
	return n;
}

/* Only root has rights that a caller may lack: of another's processes it answers none. */
static bool may_more(void)
{
	return current && !geteuid() &&
	       (current->fsuid || current->fsgid != getegid() ||
		(current->caps & FILE_CAPS) != FILE_CAPS);
}

/* System calls, because libc's functions change all threads. */
int skep_caller_files_enter(void)
{
	struct __user_cap_data_struct caps[2];
	gid_t groups[256];
	int n, err;

	before.on = false;
	if (!may_more())
		return 0;
	before.ngroups = getgroups(0, NULL);
	before.groups = calloc((size_t)before.ngroups + 1, sizeof(gid_t));
	if (!before.groups)
		return -ENOMEM;
	before.ngroups = getgroups(before.ngroups, before.groups);
	err = capabilities(SYS_capget, before.caps);
	n = read_groups(groups, sizeof(groups) / sizeof(groups[0]));
	if (err || before.ngroups < 0) {
		free(before.groups);
		return -EACCES;
	}
	before.on = true;
	if (syscall(SYS_setgroups, (long)n, groups))
		err = -EACCES;
	syscall(SYS_setfsgid, (long)current->fsgid);
	syscall(SYS_setfsuid, (long)current->fsuid);
	if (syscall(SYS_setfsuid, -1L) != (long)current->fsuid ||
	    syscall(SYS_setfsgid, -1L) != (long)current->fsgid)
		err = -EACCES;
	memcpy(caps, before.caps, sizeof(caps));
	caps[0].effective &= ~FILE_CAPS | (uint32_t)current->caps;
	if (capabilities(SYS_capset, caps))
		err = -EACCES;
	if (err)
		skep_caller_files_leave();
	return err;
}

void skep_caller_files_leave(void)
{
	if (!before.on)
		return;
	syscall(SYS_setfsuid, (long)geteuid());
	syscall(SYS_setfsgid, (long)getegid());
	/* Had it gone wrong, this thread could do less than it should, not more. */
	capabilities(SYS_capset, before.caps);
	syscall(SYS_setgroups, (long)before.ngroups, before.groups);
	free(before.groups);
	before.on = false;
}
