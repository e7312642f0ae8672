/* SPDX-License-Identifier: Apache-2.0 */
/* Linux: a task's name is its number and its start time, both from /proc. */
#include "os/owner.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "os/caller.h"

#define CGROUP_MAGIC  0x27e0eb
#define CGROUP2_MAGIC 0x63677270

#ifndef SO_COOKIE
#define SO_COOKIE 57
#endif

static long read_file(const char *path, char *buf, size_t size)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t n;

	if (fd < 0)
		return -errno;
	n = read(fd, buf, size - 1);
	close(fd);
	buf[n < 0 ? 0 : n] = 0;
	return n;
}

int skep_owner_task(uint32_t tid, struct skep_owner *out)
{
	char path[64], text[1024];
	const char *at;

	snprintf(path, sizeof(path), "/proc/%u/stat", tid);
	if (read_file(path, text, sizeof(text)) <= 0)
		return -ESRCH;
	/* The name, in parentheses, may hold anything; field 3 follows it, the start is 22. */
	at = strrchr(text, ')');
	for (int field = 2; at && field < 22; field++)
		at = strchr(at + 1, ' ');
	if (!at)
		return -ESRCH;
	*out = (struct skep_owner){tid, strtoull(at, NULL, 10)};
	return 0;
}

bool skep_owner_task_gone(const struct skep_owner *task)
{
	struct skep_owner now;

	/* Without /proc nobody is known to be gone. */
	if (access("/proc/self/stat", F_OK))
		return false;
	return skep_owner_task((uint32_t)task->id, &now) || now.more != task->more;
}

int skep_owner_pidfd(int fd, struct skep_owner *out)
{
	char path[64], text[1024];
	const char *at;
	long pid;

	fd = skep_caller_fd(fd);
	if (fd < 0)
		return -EBADF;
	snprintf(path, sizeof(path), "/proc/thread-self/fdinfo/%d", fd);
	if (read_file(path, text, sizeof(text)) <= 0)
		return -EBADF;
	at = strstr(text, "\nPid:");
	if (!at)
		return -EBADF;
	pid = strtol(at + 5, NULL, 10);
	return pid > 0 && !skep_owner_task((uint32_t)pid, out) ? 0 : -ENOENT;
}

static int owner_file(int fd, struct skep_owner *out, struct stat *st)
{
	fd = skep_caller_fd(fd);
	if (fd < 0 || fstat(fd, st))
		return -EBADF;
	*out = (struct skep_owner){st->st_ino, st->st_dev};
	return fd;
}

int skep_owner_inode(int fd, struct skep_owner *out)
{
	struct stat st;

	fd = owner_file(fd, out, &st);
	return fd < 0 ? fd : 0;
}

int skep_owner_cgroup(int fd, struct skep_owner *out)
{
	struct statfs fs;
	struct stat st;

	fd = owner_file(fd, out, &st);
	if (fd < 0)
		return fd;
	if (!S_ISDIR(st.st_mode) || fstatfs(fd, &fs) ||
	    (fs.f_type != CGROUP2_MAGIC && fs.f_type != CGROUP_MAGIC))
		return -EBADF;
	return 0;
}

int skep_owner_socket(int fd, struct skep_owner *out)
{
	uint64_t cookie;
	socklen_t len = sizeof(cookie);

	fd = skep_caller_fd(fd);
	if (fd < 0 || fcntl(fd, F_GETFD) < 0)
		return -EBADF;
	if (getsockopt(fd, SOL_SOCKET, SO_COOKIE, &cookie, &len))
		return errno == ENOTSOCK ? -ENOTSOCK : -EOPNOTSUPP;
	*out = (struct skep_owner){cookie, 0};
	return 0;
}

int skep_owner_in_cgroup(const struct skep_owner *cgroup)
{
	char text[4096], path[4096 + 32];
	const char *line;
	size_t root, len;
	struct stat st;

	if (read_file("/proc/thread-self/cgroup", text, sizeof(text)) <= 0)
		return 0;
	line = strncmp(text, "0::", 3) ? strstr(text, "\n0::") : text;
	if (!line)
		return 0;
	line = strchr(line, '/');
	len = line ? strcspn(line, "\n") : 0;
	/* The group itself, then those above it. */
	root = (size_t)snprintf(path, sizeof(path), "/sys/fs/cgroup");
	snprintf(path + root, sizeof(path) - root, "%.*s", (int)len, line ? line : "");
	for (;;) {
		if (!stat(path, &st) && st.st_ino == cgroup->id && st.st_dev == cgroup->more)
			return 1;
		char *slash = strrchr(path + root, '/');
		if (!slash)
			return 0;
		*slash = 0;
	}
}
