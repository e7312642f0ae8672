/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Whoever takes a name holds a lock on the directory meanwhile, so that between finding out that nobody
 * listens any more and listening oneself there is nobody else.
 */
#include "client/name.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

static bool is_name(const char *name)
{
	size_t n =
		strspn(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.");

	return n && !name[n] && n <= SKEP_NAME_LEN && name[0] != '.' && name[0] != '-';
}

/* ---- The directory ---- */

static int find_dir(char *path, size_t size)
{
	const char *run = getenv("XDG_RUNTIME_DIR");
	unsigned uid = geteuid();
	char user[64];

	snprintf(user, sizeof(user), "/run/user/%u", uid);
	if (!run || run[0] != '/')
		run = access(user, F_OK) ? NULL : user;
	if (run)
		return snprintf(path, size, "%s/skep", run) < (int)size ? 0 : -ENAMETOOLONG;
	snprintf(path, size, "/tmp/skep-%u", uid);
	return 0;
}

static int open_dir(struct skep_error *err)
{
	char path[PATH_MAX];
	struct stat st;
	int fd, code = find_dir(path, sizeof(path));

	if (code)
		return skep_fail(err, code, NULL, "XDG_RUNTIME_DIR is too long");
	if (mkdir(path, 0700) && errno != EEXIST)
		return skep_fail(err, -errno, "Set XDG_RUNTIME_DIR to a directory of yours.",
				 "%s can't be made: %s", path, strerror(errno));
	fd = open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0 || fstat(fd, &st)) {
		code = -errno;
		if (fd >= 0)
			close(fd);
		return skep_fail(err, code, NULL, "%s: %s", path, strerror(-code));
	}
	if (st.st_uid == geteuid() && !(st.st_mode & 077))
		return fd;
	close(fd);
	if (st.st_uid != geteuid())
		return skep_fail(err, -EPERM, "Set XDG_RUNTIME_DIR to a directory of yours.",
				 "%s is user %u's, and its instances are not for others", path,
				 (unsigned)st.st_uid);
	return skep_fail(err, -EPERM, "Its mode should be 0700.", "%s is open to others", path);
}

/* By way of the directory's descriptor: no path is too long, and no other directory is met. */
static struct sockaddr_un address(int dir, const char *name)
{
	struct sockaddr_un a = {.sun_family = AF_UNIX};

	snprintf(a.sun_path, sizeof(a.sun_path), "/proc/self/fd/%d/%s", dir, name);
	return a;
}

/* ---- Connecting ---- */

static int try_connect(int dir, const char *name)
{
	struct sockaddr_un a = address(dir, name);
	struct timeval patience = {.tv_sec = 5};
	int sock = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0), err;

	if (sock < 0)
		return -errno;
	/* One that is stopped answers late or never. */
	setsockopt(sock, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
	setsockopt(sock, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof(patience));
	if (!connect(sock, (struct sockaddr *)&a, sizeof(a)))
		return sock;
	err = -errno;
	close(sock);
	return err;
}

static int by_name(const struct dirent **a, const struct dirent **b)
{
	return strcmp((*a)->d_name, (*b)->d_name);
}

static int each(int dir, void (*fn)(void *arg, const char *name, int sock), void *arg)
{
	struct dirent **list;
	int n = scandirat(dir, ".", &list, NULL, by_name), live = 0;

	if (n < 0)
		return -errno;
	for (int i = 0; i < n; i++) {
		int sock = is_name(list[i]->d_name) ? try_connect(dir, list[i]->d_name) : -1;

		if (sock >= 0) {
			fn(arg, list[i]->d_name, sock);
			close(sock);
			live++;
		}
		free(list[i]);
	}
	free(list);
	return live;
}

int skep_name_each(void (*fn)(void *arg, const char *name, int sock), void *arg,
		   struct skep_error *err)
{
	int dir = open_dir(err), n;

	if (dir < 0)
		return dir;
	n = each(dir, fn, arg);
	close(dir);
	return n < 0 ? skep_fail(err, n, NULL, "the instances can't be listed: %s", strerror(-n))
		     : n;
}

struct names {
	char text[256];
};

static void add_name(void *arg, const char *name, int sock)
{
	struct names *all = arg;
	size_t n = strlen(all->text);

	(void)sock;
	snprintf(all->text + n, sizeof(all->text) - n, "%s%s", n ? ", " : "", name);
}

static int bad_name(const char *name, struct skep_error *err)
{
	return skep_fail(
		err, -EINVAL,
		"Names are up to 48 letters, digits, '-', '_' and '.', which is not first.",
		"\"%s\" can't be an instance's name", name);
}

int skep_name_connect(const char *name, struct skep_error *err)
{
	struct names all = {""};
	char next[512];
	int dir, sock;

	if (!is_name(name))
		return bad_name(name, err);
	dir = open_dir(err);
	if (dir < 0)
		return dir;
	sock = try_connect(dir, name);
	if (sock == -ENOENT || sock == -ECONNREFUSED) {
		each(dir, add_name, &all);
		snprintf(next, sizeof(next),
			 all.text[0] ? "There are: %s." : "There is none: see `skep serve --help`.",
			 all.text);
		skep_fail(err, sock, next, "no instance is called \"%s\"", name);
	} else if (sock < 0) {
		skep_fail(err, sock, NULL, "the instance \"%s\" can't be reached: %s", name,
			  strerror(-sock));
	}
	close(dir);
	return sock;
}

/* ---- Taking a name ---- */

/* With the directory locked. */
static int listen_there(struct skep_name *n, struct skep_error *err)
{
	struct sockaddr_un a = address(n->dir, n->name);
	int other = try_connect(n->dir, n->name), code;
	struct stat st;

	if (other >= 0) {
		close(other);
		return skep_fail(err, -EADDRINUSE, "See `skep serve --list`.",
				 "there is an instance called \"%s\" already", n->name);
	}
	/* Its process is dead. */
	if (other == -ECONNREFUSED)
		unlinkat(n->dir, n->name, 0);
	n->sock = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (n->sock >= 0 && !bind(n->sock, (struct sockaddr *)&a, sizeof(a)) &&
	    !listen(n->sock, 64) && !fstatat(n->dir, n->name, &st, AT_SYMLINK_NOFOLLOW)) {
		n->ino = st.st_ino;
		return 0;
	}
	code = -errno;
	return skep_fail(err, code, NULL, "the name \"%s\" can't be taken: %s", n->name,
			 strerror(-code));
}

int skep_name_take(struct skep_name *out, const char *name, struct skep_error *err)
{
	int code;

	*out = SKEP_NAME_NONE;
	if (!is_name(name))
		return bad_name(name, err);
	snprintf(out->name, sizeof(out->name), "%s", name);
	out->dir = open_dir(err);
	if (out->dir < 0)
		return out->dir;
	flock(out->dir, LOCK_EX);
	code = listen_there(out, err);
	flock(out->dir, LOCK_UN);
	if (code)
		skep_name_end(out);
	return code;
}

void skep_name_end(struct skep_name *n)
{
	struct stat st;

	if (n->dir >= 0 && n->ino) {
		flock(n->dir, LOCK_EX);
		if (!fstatat(n->dir, n->name, &st, AT_SYMLINK_NOFOLLOW) && st.st_ino == n->ino)
			unlinkat(n->dir, n->name, 0);
		flock(n->dir, LOCK_UN);
	}
	if (n->sock >= 0)
		close(n->sock);
	if (n->dir >= 0)
		close(n->dir);
	*n = SKEP_NAME_NONE;
}
