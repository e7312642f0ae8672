/* SPDX-License-Identifier: Apache-2.0 */
/* Linux: descriptors, their locks, and word of their closing. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "os/linux.h"
#include "os/os.h"

#ifndef MFD_NOEXEC_SEAL
#define MFD_NOEXEC_SEAL 8u
#endif

/* Private descriptors lie in the upper half of the numbers, but not so high that the
 * kernel's table of them would grow large. */
#define HIGH_MAX 4096

int skep_linux_high(int fd)
{
	struct rlimit lim;
	int min, up;

	if (fd < 0)
		return -errno;
	if (getrlimit(RLIMIT_NOFILE, &lim) < 0)
		return fd;
	min = lim.rlim_cur / 2 > HIGH_MAX ? HIGH_MAX : (int)(lim.rlim_cur / 2);
	if (fd >= min)
		return fd;
	up = fcntl(fd, F_DUPFD_CLOEXEC, min);
	if (up < 0)
		return fd; /* none free up there: any will do */
	close(fd);
	return up;
}

int skep_linux_memfd(const char *name)
{
	int fd = memfd_create(name, MFD_CLOEXEC | MFD_ALLOW_SEALING | MFD_NOEXEC_SEAL), err;

	if (fd < 0 && errno == EINVAL) /* before Linux 6.3 */
		fd = memfd_create(name, MFD_CLOEXEC | MFD_ALLOW_SEALING);
	fd = skep_linux_high(fd);
	if (fd >= 0 && fchmod(fd, 0600) < 0) {
		err = -errno;
		close(fd);
		return err;
	}
	return fd;
}

int skep_fd_make(const char *name)
{
	int fd = skep_linux_memfd(name), err;

	if (fd < 0)
		return fd;
	if (fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE | F_SEAL_SEAL) < 0) {
		err = -errno;
		close(fd);
		return err;
	}
	return fd;
}

int skep_fd_text(const char *name, const void *data, size_t len)
{
	int fd = skep_linux_memfd(name), ret = fd;
	const char *at = data;

	while (ret >= 0 && len) {
		ssize_t n = write(fd, at, len);
		if (n < 0) {
			ret = -errno;
			break;
		}
		at += n;
		len -= (size_t)n;
	}
	if (ret >= 0 &&
	    fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE | F_SEAL_SEAL) < 0)
		ret = -errno;
	/* The reader's own description begins at the start. */
	if (ret >= 0)
		ret = skep_fd_reopen(fd, O_RDONLY, false);
	if (fd >= 0)
		close(fd);
	return ret;
}

int skep_fd_stat(int fd, uint64_t *dev, uint64_t *ino)
{
	struct stat st;

	if (fd < 0 || fstat(fd, &st) < 0)
		return -EBADF;
	*dev = st.st_dev;
	*ino = st.st_ino;
	return 0;
}

bool skep_fd_is(int fd, uint64_t dev, uint64_t ino)
{
	uint64_t d, i;

	return !skep_fd_stat(fd, &d, &i) && d == dev && i == ino;
}

void skep_fd_close(int fd, uint64_t dev, uint64_t ino)
{
	if (skep_fd_is(fd, dev, ino))
		close(fd);
}

int skep_fd_flags(int fd)
{
	int fl = fcntl(fd, F_GETFL);

	return fl < 0 ? -errno : fl;
}

int skep_fd_access(int fd)
{
	int fl = skep_fd_flags(fd);

	return fl < 0 ? fl : fl & O_ACCMODE;
}

/* Without /proc, a file handle opens the inode again for who may do that. */
static int reopen_by_handle(int fd, int access)
{
	union {
		struct file_handle h;
		char room[sizeof(struct file_handle) + MAX_HANDLE_SZ];
	} u;
	int mount, r;

	u.h.handle_bytes = MAX_HANDLE_SZ;
	if (name_to_handle_at(fd, "", &u.h, &mount, AT_EMPTY_PATH) < 0)
		return -ENOSYS;
	r = open_by_handle_at(fd, &u.h, access | O_CLOEXEC);
	return r < 0 ? -ENOSYS : r;
}

int skep_fd_reopen(int fd, int access, bool high)
{
	uint64_t dev, ino;
	char path[64];
	int r;

	if (skep_fd_stat(fd, &dev, &ino))
		return -EBADF;
	/* Not /proc/self: threads may have descriptor tables of their own. */
	snprintf(path, sizeof(path), "/proc/thread-self/fd/%d", fd);
	do {
		r = open(path, access | O_CLOEXEC);
	} while (r < 0 && errno == EINTR);
	if (r < 0 && (errno == EMFILE || errno == ENFILE || errno == ENOMEM))
		return -errno;
	if (r < 0)
		r = reopen_by_handle(fd, access);
	/* Somebody may have put another file at this number meanwhile. */
	if (r >= 0 && !skep_fd_is(r, dev, ino)) {
		close(r);
		return -EBADF;
	}
	return r >= 0 && high ? skep_linux_high(r) : r;
}

int skep_fd_hold(int fd, uint64_t byte)
{
	struct flock l = {.l_whence = SEEK_SET, .l_start = (off_t)byte, .l_len = 1};
	int access = skep_fd_access(fd);

	if (access < 0)
		return access;
	/* A shared lock wherever the access mode allows it: it disturbs the fewest. */
	l.l_type = access == O_WRONLY ? F_WRLCK : F_RDLCK;
	if (fcntl(fd, F_OFD_SETLK, &l) < 0)
		return errno == EACCES ? -EAGAIN : -errno;
	return 0;
}

int skep_fd_held(int fd, uint64_t byte, uint64_t len, uint64_t *next)
{
	struct flock l = {.l_type = F_WRLCK,
			  .l_whence = SEEK_SET,
			  .l_start = (off_t)byte,
			  .l_len = (off_t)len};

	if (fcntl(fd, F_OFD_GETLK, &l) < 0)
		return -errno;
	if (l.l_type == F_UNLCK)
		return 0;
	if (next)
		*next = (uint64_t)l.l_start;
	return 1;
}

int skep_watch_open(void)
{
	return skep_linux_high(inotify_init1(IN_NONBLOCK | IN_CLOEXEC));
}

int skep_watch_add(int watch, int fd)
{
	char path[64];
	int wd;

	snprintf(path, sizeof(path), "/proc/thread-self/fd/%d", fd);
	wd = inotify_add_watch(watch, path, IN_CLOSE);
	return wd < 0 ? -errno : wd;
}

void skep_watch_remove(int watch, int wd)
{
	inotify_rm_watch(watch, wd);
}

/* All anonymous inodes are one, so only the name tells a watch from others. */
static bool is_watch(int fd)
{
	static const char name[] = "anon_inode:inotify";
	char path[64], link[64];
	ssize_t n;

	snprintf(path, sizeof(path), "/proc/thread-self/fd/%d", fd);
	n = readlink(path, link, sizeof(link));
	if (n < 0)
		return errno != ENOENT && fcntl(fd, F_GETFD) >= 0;
	return (size_t)n >= strlen(name) && !memcmp(link, name, strlen(name));
}

int skep_watch_pending(int watch)
{
	int bytes;

	if (ioctl(watch, FIONREAD, &bytes) < 0)
		return -EBADF;
	if (!bytes)
		return 0;
	return is_watch(watch) ? 1 : -EBADF;
}

void skep_watch_close(int watch)
{
	if (watch >= 0 && is_watch(watch))
		close(watch);
}

int skep_watch_read(int watch, int *wds, int n)
{
	/* Events on an inode itself carry no name. */
	struct inotify_event ev[64];
	int i, got = 0;
	ssize_t r;

	if (n > 64)
		n = 64;
	/* Events of no interest alone must not look like the end. */
	while (!got) {
		r = read(watch, ev, (size_t)n * sizeof(ev[0]));
		if (r < 0 && errno != EINTR)
			return errno == EAGAIN ? 0 : -errno;
		for (i = 0; (ssize_t)((size_t)(i + 1) * sizeof(ev[0])) <= r; i++) {
			if (ev[i].mask & IN_Q_OVERFLOW)
				return -EOVERFLOW;
			if (ev[i].mask & IN_CLOSE)
				wds[got++] = ev[i].wd;
		}
	}
	return got;
}
