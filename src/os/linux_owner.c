/* SPDX-License-Identifier: Apache-2.0 */
/* Linux: a task's name is its number and its start time, both from /proc. */
#include "os/owner.h"

#include <errno.h>
#include <inttypes.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <fcntl.h>
#include <linux/nsfs.h>
#include <net/if.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "os/caller.h"

#define CGROUP_MAGIC  0x27e0eb
#define CGROUP2_MAGIC 0x63677270
#define NSFS_MAGIC    0x6e736673

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

int skep_owner_cgroup2(int fd)
{
	struct skep_owner out;
	struct statfs fs;
	struct stat st;

	fd = owner_file(fd, &out, &st);
	return fd >= 0 && S_ISDIR(st.st_mode) && !fstatfs(fd, &fs) && fs.f_type == CGROUP2_MAGIC
		       ? 0
		       : -EBADF;
}

int skep_owner_netns(int fd)
{
	struct skep_owner out;
	struct statfs fs;
	struct stat st;

	fd = owner_file(fd, &out, &st);
	if (fd < 0)
		return fd;
	return !fstatfs(fd, &fs) && fs.f_type == NSFS_MAGIC &&
			       ioctl(fd, NS_GET_NSTYPE) == CLONE_NEWNET
		       ? 0
		       : -EINVAL;
}

bool skep_owner_ifindex_there(uint32_t ifindex)
{
	char name[IF_NAMESIZE];

	return ifindex && if_indextoname(ifindex, name);
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

#define CGROUPS     "/sys/fs/cgroup"
#define CGROUP_ROOT 1 /* the id of the uppermost */

/* The directory of the calling task's cgroup: its length beyond CGROUPS, or -1. */
static int own_cgroup(char *path, size_t size)
{
	const struct skep_caller *caller = skep_caller_current();
	char text[4096], file[48] = "/proc/thread-self/cgroup";
	const char *line;
	int len;

	if (caller)
		snprintf(file, sizeof(file), "/proc/%d/cgroup", (int)caller->pid);
	if (read_file(file, text, sizeof(text)) <= 0)
		return -1;
	line = strncmp(text, "0::", 3) ? strstr(text, "\n0::") : text;
	line = line ? strchr(line, '/') : NULL;
	if (!line)
		return -1;
	len = (int)strcspn(line, "\n");
	/* The root alone ends with a slash. */
	if (len == 1)
		len = 0;
	snprintf(path, size, CGROUPS "%.*s", len, line);
	return len;
}

/* That of a directory; the root's is known also where version 2 is not mounted. */
static uint64_t cgroup_id(const char *path)
{
	struct statfs fs;
	struct stat st;

	if (!statfs(path, &fs) && fs.f_type == CGROUP2_MAGIC)
		return stat(path, &st) ? 0 : st.st_ino;
	return strcmp(path, CGROUPS) ? 0 : CGROUP_ROOT;
}

uint64_t skep_owner_cgroup_id(int level)
{
	char path[4096 + 32], *p;
	int depth = 0;

	if (own_cgroup(path, sizeof(path)) < 0)
		return 0;
	p = path + strlen(CGROUPS);
	while (level >= 0 && *p) {
		if (depth++ == level)
			*p = 0;
		else
			p += 1 + strcspn(p + 1, "/");
	}
	/* Deeper than the task's own. */
	if (level > depth)
		return 0;
	return cgroup_id(path);
}

int skep_owner_in_cgroup(const struct skep_owner *cgroup)
{
	const size_t root = strlen(CGROUPS);
	char path[4096 + 32];
	struct stat st;

	if (own_cgroup(path, sizeof(path)) < 0)
		return 0;
	/* The group itself, then those above it. */
	for (;;) {
		if (!stat(path, &st) && st.st_ino == cgroup->id && st.st_dev == cgroup->more)
			return 1;
		char *slash = strrchr(path + root, '/');
		if (!slash)
			return 0;
		*slash = 0;
	}
}

/* ---- Sockets ---- */

/* The table of all sockets of that kind in our network namespace names it by its inode; one
 * that was closed has none any more. The inode is column `column` of a line. */
static bool in_table(const char *path, uint64_t inode, int column)
{
	FILE *f = fopen(path, "re");
	char line[512];
	bool found = false;

	while (f && !found && fgets(line, sizeof(line), f)) {
		const char *at = line;

		for (int i = 0; at && i <= column; i++) {
			at += strspn(at, " ");
			if (i < column)
				at = strchr(at, ' ');
		}
		found = at && strtoull(at, NULL, 10) == inode;
	}
	if (f)
		fclose(f);
	return found;
}

static bool is_listed(const struct skep_sock *s)
{
	if (s->family == AF_UNIX)
		return in_table("/proc/thread-self/net/unix", s->inode, 6);
	if (s->family != AF_INET && s->family != AF_INET6)
		return false;
	if (s->protocol == IPPROTO_TCP)
		return in_table("/proc/thread-self/net/tcp", s->inode, 9) ||
		       in_table("/proc/thread-self/net/tcp6", s->inode, 9);
	return in_table("/proc/thread-self/net/udp", s->inode, 9) ||
	       in_table("/proc/thread-self/net/udp6", s->inode, 9);
}

bool skep_sock_gone(const struct skep_sock *s)
{
	return s->listed && !is_listed(s);
}

static int option(int fd, int name)
{
	int value = 0;
	socklen_t len = sizeof(value);

	return getsockopt(fd, SOL_SOCKET, name, &value, &len) ? -errno : value;
}

int skep_sock_get(int fd, struct skep_sock *out)
{
	union {
		struct sockaddr sa;
		struct sockaddr_in in;
		struct sockaddr_in6 in6;
		struct sockaddr_un un;
	} name, peer;
	socklen_t len = sizeof(name), peer_len = sizeof(peer);
	struct skep_owner owner;
	struct stat st;
	int err = skep_owner_socket(fd, &owner);

	if (err)
		return err;
	fd = skep_caller_fd(fd);
	if (fd < 0 || fstat(fd, &st))
		return -EBADF;
	memset(out, 0, sizeof(*out));
	memset(&name, 0, sizeof(name));
	out->cookie = owner.id;
	out->inode = st.st_ino;
	out->family = option(fd, SO_DOMAIN);
	out->type = option(fd, SO_TYPE);
	out->protocol = option(fd, SO_PROTOCOL);
	out->reuseport = option(fd, SO_REUSEPORT) == 1;
	if (!getsockname(fd, &name.sa, &len))
		out->bound = out->family == AF_INET    ? name.in.sin_port != 0
			     : out->family == AF_INET6 ? name.in6.sin6_port != 0
						       : false;
	if (option(fd, SO_ACCEPTCONN) == 1)
		out->state = TCP_LISTEN;
	else if (!getpeername(fd, &peer.sa, &peer_len))
		out->state = TCP_ESTABLISHED;
	if (out->protocol == IPPROTO_TCP && out->state == TCP_ESTABLISHED) {
		struct tcp_info info;

		len = sizeof(info);
		if (!getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info, &len))
			out->state = info.tcpi_state;
	}
	out->listed = is_listed(out);
	return 0;
}
