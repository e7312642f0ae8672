/* SPDX-License-Identifier: Apache-2.0 */
/*
 * In a client of skep exec: files by which the kernel describes itself and its handles, where no
 * mount can show what is the instance's, or there are no mounts.
 *
 * /sys/kernel/btf/vmlinux		the instance's BTF
 * /proc/self/fdinfo/N			a handle's
 * /proc/mounts, /proc/self/mountinfo	what stands for bpffs and tracefs is called so
 * /sys/fs/bpf/NAME			a pinned iterator reads as its text
 * readlink of /proc/self/fd/N		the name that the kernel's handle has
 *
 * A path costs a few comparisons; what is none of these goes on to libc.
 */
#include <ctype.h>
#include <errno.h>
#include <linux/memfd.h>
#include <mntent.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>

#include "bpf/instance.h"
#include "bpf/pin.h"
#include "client/ask.h"
#include "client/view.h"
#include "next.h"

enum file { FILE_OTHER, FILE_BTF, FILE_FDINFO, FILE_FD, FILE_MOUNTS, FILE_MOUNTINFO, FILE_PIN };

/* ---- Which file a path names ---- */

/* Of what lies in the folder of a process. Descriptors' numbers are left in *n. */
static enum file of_process(const char *at, int *n)
{
	static const struct {
		const char *name;
		enum file file;
	} names[] = {{"fdinfo/", FILE_FDINFO},
		     {"fd/", FILE_FD},
		     {"mounts", FILE_MOUNTS},
		     {"mountinfo", FILE_MOUNTINFO}};
	char *end;

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		size_t len = strlen(names[i].name);

		if (strncmp(at, names[i].name, len))
			continue;
		at += len;
		if (names[i].name[len - 1] != '/')
			return *at ? FILE_OTHER : names[i].file;
		if (!isdigit((unsigned char)*at))
			return FILE_OTHER;
		*n = (int)strtol(at, &end, 10);
		return *end ? FILE_OTHER : names[i].file;
	}
	return FILE_OTHER;
}

static enum file which_absolute(const char *path, int *n)
{
	static const char proc[] = "/proc/", pins[] = SKEP_BPFFS "/";
	const char *slash;
	char *end;

	if (!strcmp(path, SKEP_VIEW_BTF))
		return FILE_BTF;
	if (!strcmp(path, "/etc/mtab"))
		return FILE_MOUNTS;
	if (!strncmp(path, pins, sizeof(pins) - 1))
		return FILE_PIN;
	if (strncmp(path, proc, sizeof(proc) - 1))
		return FILE_OTHER;
	path += sizeof(proc) - 1;
	if (!strcmp(path, "mounts"))
		return FILE_MOUNTS;
	slash = strchr(path, '/');
	if (!slash)
		return FILE_OTHER;
	if (!strncmp(path, "self/", 5) || !strncmp(path, "thread-self/", 12) ||
	    (isdigit((unsigned char)*path) && strtol(path, &end, 10) == getpid() && end == slash))
		return of_process(slash + 1, n);
	return FILE_OTHER;
}

static enum file which(int dir, const char *path, int *n)
{
	char folder[64], link[64];
	ssize_t len;

	if (!path)
		return FILE_OTHER;
	if (*path == '/')
		return which_absolute(path, n);
	/* A descriptor's number in a folder that is open, as who lists the folder asks for it. */
	if (dir < 0 || !isdigit((unsigned char)*path) || strlen(path) > 10)
		return FILE_OTHER;
	snprintf(link, sizeof(link), "/proc/self/fd/%d", dir);
	len = syscall(SYS_readlinkat, AT_FDCWD, link, folder, sizeof(folder) - 16);
	if (len < 0 || (size_t)len == sizeof(folder) - 16)
		return FILE_OTHER;
	snprintf(folder + len, sizeof(folder) - (size_t)len, "/%s", path);
	return which_absolute(folder, n);
}

/* ---- Mounts ---- */

/* What stands for a file system is a tmpfs whose source is the type's name. */
static const char *real_type(const char *source, const char *type)
{
	static const char *const types[] = {"bpf", "tracefs", "debugfs"};

	if (strcmp(type, "tmpfs"))
		return type;
	for (size_t i = 0; i < sizeof(types) / sizeof(types[0]); i++)
		if (!strcmp(source, types[i]))
			return types[i];
	return type;
}

/* mounts: SOURCE PLACE TYPE OPTIONS...; mountinfo: ... - TYPE SOURCE OPTIONS. */
static void say_mount(FILE *out, char *line, bool info)
{
	char *at = line, *type, *source, *rest;

	if (info) {
		at = strstr(line, " - ");
		type = at ? at + 3 : NULL;
		source = type ? strchr(type, ' ') : NULL;
		rest = source ? strchr(source + 1, ' ') : NULL;
		if (!rest) {
			fputs(line, out);
			return;
		}
		*source++ = 0;
		*rest++ = 0;
		fprintf(out, "%.*s%s %s %s", (int)(type - line), line, real_type(source, type),
			source, rest);
		return;
	}
	source = line;
	at = strchr(line, ' ');
	type = at ? strchr(at + 1, ' ') : NULL;
	rest = type ? strchr(type + 1, ' ') : NULL;
	if (!rest) {
		fputs(line, out);
		return;
	}
	*at++ = 0;
	*type++ = 0;
	*rest++ = 0;
	fprintf(out, "%s %s %s %s", source, at, real_type(source, type), rest);
}

/* A descriptor at the text's start, or -1. */
static int open_mounts(bool info)
{
	int in = (int)syscall(SYS_openat, AT_FDCWD,
			      info ? "/proc/self/mountinfo" : "/proc/self/mounts",
			      O_RDONLY | O_CLOEXEC, 0);
	FILE *from = in < 0 ? NULL : fdopen(in, "r"), *to = NULL;
	int out = (int)syscall(SYS_memfd_create, "mounts", MFD_CLOEXEC), copy = -1;
	char *line = NULL;
	size_t room = 0;

	if (out >= 0)
		copy = fcntl(out, F_DUPFD_CLOEXEC, 0);
	if (copy >= 0)
		to = fdopen(copy, "w");
	while (from && to && getline(&line, &room, from) > 0)
		say_mount(to, line, info);
	free(line);
	if (from)
		fclose(from);
	else if (in >= 0)
		close(in);
	if (!from || !to || fclose(to) || lseek(out, 0, SEEK_SET)) {
		if (!to && copy >= 0)
			close(copy);
		if (out >= 0)
			close(out);
		return -1;
	}
	return out;
}

/* ---- Pins ---- */

/* A new reading of the iterator that is pinned there, or -1: it is something else. */
static int open_iterator(const char *path)
{
	struct bpf_link_info info = {0};
	union bpf_attr attr = {.pathname = (uintptr_t)path};
	long link = skep_ask(BPF_OBJ_GET, (uintptr_t)&attr, sizeof(attr)), iter = -1;

	if (link < 0)
		return -1;
	attr = (union bpf_attr){.info = {(uint32_t)link, sizeof(info), (uintptr_t)&info}};
	/* Of other kinds the first word is a type, too, or an address: only a link's is looked at. */
	if (skep_ask(SKEP_ASK_KIND, (unsigned long)link, 0) == SKEP_KIND_LINK &&
	    !skep_ask(BPF_OBJ_GET_INFO_BY_FD, (uintptr_t)&attr, sizeof(attr)) &&
	    info.type == BPF_LINK_TYPE_ITER) {
		attr = (union bpf_attr){.iter_create.link_fd = (uint32_t)link};
		iter = skep_ask(BPF_ITER_CREATE, (uintptr_t)&attr, sizeof(attr));
	}
	close((int)link);
	return (int)iter;
}

/* ---- Opening ---- */

/* A descriptor, or -1 where the call goes on to libc: it is another file, nobody answers, or it
 * asks for more than reading, which the kernel's file refuses as well. */
static int open_ours(int dir, const char *path, int flags)
{
	int code = errno, n = -1, fd = -1;
	enum file file = which(dir, path, &n);

	if (file == FILE_OTHER || file == FILE_FD || (flags & O_ACCMODE) != O_RDONLY ||
	    flags & (O_DIRECTORY | O_PATH | O_TRUNC | O_EXCL))
		return -1;
	if (file == FILE_BTF)
		fd = (int)skep_ask(SKEP_ASK_BTF, 0, 0);
	else if (file == FILE_FDINFO && skep_may_be_source(n))
		fd = (int)skep_ask(SKEP_ASK_FDINFO, (unsigned)n, 0);
	else if (file == FILE_PIN)
		fd = open_iterator(path);
	else if (file == FILE_MOUNTS || file == FILE_MOUNTINFO)
		fd = open_mounts(file == FILE_MOUNTINFO);
	if (fd >= 0 && !(flags & O_CLOEXEC))
		fcntl(fd, F_SETFD, 0);
	errno = code;
	return fd < 0 ? -1 : fd;
}

/* The mode, if the flags say that there is one. */
#define MODE(flags)                                                                                \
	({                                                                                         \
		mode_t mode_ = 0;                                                                  \
		if ((flags) & (O_CREAT | __O_TMPFILE)) {                                           \
			va_list ap_;                                                               \
			va_start(ap_, flags);                                                      \
			mode_ = va_arg(ap_, mode_t);                                               \
			va_end(ap_);                                                               \
		}                                                                                  \
		mode_;                                                                             \
	})

EXPORT int open(const char *path, int flags, ...)
{
	mode_t mode = MODE(flags);
	int fd = open_ours(AT_FDCWD, path, flags);

	return fd >= 0 ? fd : NEXT(open)(path, flags, mode);
}

EXPORT int open64(const char *path, int flags, ...)
{
	mode_t mode = MODE(flags);
	int fd = open_ours(AT_FDCWD, path, flags);

	return fd >= 0 ? fd : NEXT(open64)(path, flags, mode);
}

EXPORT int openat(int dir, const char *path, int flags, ...)
{
	mode_t mode = MODE(flags);
	int fd = open_ours(dir, path, flags);

	return fd >= 0 ? fd : NEXT(openat)(dir, path, flags, mode);
}

EXPORT int openat64(int dir, const char *path, int flags, ...)
{
	mode_t mode = MODE(flags);
	int fd = open_ours(dir, path, flags);

	return fd >= 0 ? fd : NEXT(openat64)(dir, path, flags, mode);
}

/* The names of open() in programs compiled with _FORTIFY_SOURCE. */
int __open_2(const char *path, int flags);
int __open64_2(const char *path, int flags);
int __openat_2(int dir, const char *path, int flags);
int __openat64_2(int dir, const char *path, int flags);

EXPORT int __open_2(const char *path, int flags)
{
	return open(path, flags, 0);
}

EXPORT int __open64_2(const char *path, int flags)
{
	return open64(path, flags, 0);
}

EXPORT int __openat_2(int dir, const char *path, int flags)
{
	return openat(dir, path, flags, 0);
}

EXPORT int __openat64_2(int dir, const char *path, int flags)
{
	return openat64(dir, path, flags, 0);
}

static FILE *fopen_ours(const char *path, const char *mode)
{
	bool plain = mode && mode[0] == 'r' && !strchr(mode, '+');
	int fd = plain ? open_ours(AT_FDCWD, path, strchr(mode, 'e') ? O_CLOEXEC : 0) : -1;
	FILE *f;

	if (fd < 0)
		return NULL;
	f = fdopen(fd, "r");
	if (!f)
		close(fd);
	return f;
}

EXPORT FILE *fopen(const char *path, const char *mode)
{
	FILE *f = fopen_ours(path, mode);

	return f ? f : NEXT(fopen)(path, mode);
}

EXPORT FILE *fopen64(const char *path, const char *mode)
{
	FILE *f = fopen_ours(path, mode);

	return f ? f : NEXT(fopen64)(path, mode);
}

EXPORT FILE *setmntent(const char *path, const char *mode)
{
	FILE *f = fopen_ours(path, mode);

	return f ? f : NEXT(setmntent)(path, mode);
}

/* ---- Asking about them ---- */

static int open_btf(const char *path, int flags)
{
	return path && !strcmp(path, SKEP_VIEW_BTF) ? open_ours(AT_FDCWD, path, flags) : -1;
}

/* The kernel's own file may not be there. */
static bool btf_can(const char *path, int mode)
{
	int fd = mode & (W_OK | X_OK) ? -1 : open_btf(path, O_CLOEXEC);

	if (fd < 0)
		return false;
	close(fd);
	return true;
}

EXPORT int access(const char *path, int mode)
{
	return btf_can(path, mode) ? 0 : NEXT(access)(path, mode);
}

EXPORT int faccessat(int dir, const char *path, int mode, int flags)
{
	return btf_can(path, mode) ? 0 : NEXT(faccessat)(dir, path, mode, flags);
}

EXPORT int euidaccess(const char *path, int mode)
{
	return btf_can(path, mode) ? 0 : NEXT(euidaccess)(path, mode);
}

EXPORT int eaccess(const char *path, int mode)
{
	return btf_can(path, mode) ? 0 : NEXT(eaccess)(path, mode);
}

/* Its size is what clients want to know. */
EXPORT int stat(const char *path, struct stat *st)
{
	int fd = open_btf(path, O_CLOEXEC), r;

	if (fd < 0)
		return NEXT(stat)(path, st);
	r = fstat(fd, st);
	close(fd);
	return r;
}

EXPORT int stat64(const char *path, struct stat64 *st)
{
	int fd = open_btf(path, O_CLOEXEC), r;

	if (fd < 0)
		return NEXT(stat64)(path, st);
	r = fstat64(fd, st);
	close(fd);
	return r;
}

/* A handle's link names its memory file, "/memfd:bpf-map (deleted)"; more than the answer is not to be
 * written. -1: it is no handle's. */
static ssize_t handle_link(int dir, const char *path, char *buf, size_t size)
{
	static const char memfd[] = "/memfd:", perf[] = "skep-perf", made[] = "bpf_link";
	static const char iter[] = "/memfd:bpf_iter (deleted)";
	const size_t skip = sizeof(memfd) - 1;
	char link[64], name[64];
	int code = errno, n = -1;
	ssize_t len = -1;
	size_t end;

	if (!size || which(dir, path, &n) != FILE_FD)
		return -1;
	snprintf(link, sizeof(link), "/proc/self/fd/%d", n);
	if (skep_may_be_source(n))
		len = syscall(SYS_readlinkat, AT_FDCWD, link, link, sizeof(link) - 1);
	/* What an iterator wrote is no object. */
	if (len > 0 && (len != sizeof(iter) - 1 || memcmp(link, iter, sizeof(iter) - 1)) &&
	    skep_ask(SKEP_ASK_KIND, (unsigned)n, 0) < 0)
		len = -1;
	errno = code;
	if (len <= (ssize_t)skip || strncmp(link, memfd, skip))
		return -1;
	link[len] = 0;
	end = strcspn(link + skip, " ");
	if (end == sizeof(perf) - 1 && !strncmp(link + skip, perf, end))
		snprintf(name, sizeof(name), "anon_inode:[perf_event]");
	else if (end == sizeof(made) - 1 && !strncmp(link + skip, made, end) &&
		 fcntl(n, F_GETFL) & O_APPEND)
		snprintf(name, sizeof(name),
			 "anon_inode:bpf-link"); /* it was not made by this call */
	else
		snprintf(name, sizeof(name), "anon_inode:%.*s", (int)end, link + skip);
	end = strlen(name);
	end = end < size ? end : size;
	memcpy(buf, name, end);
	return (ssize_t)end;
}

EXPORT ssize_t readlink(const char *path, char *buf, size_t size)
{
	ssize_t n = handle_link(AT_FDCWD, path, buf, size);

	return n >= 0 ? n : NEXT(readlink)(path, buf, size);
}

EXPORT ssize_t readlinkat(int dir, const char *path, char *buf, size_t size)
{
	ssize_t n = handle_link(dir, path, buf, size);

	return n >= 0 ? n : NEXT(readlinkat)(dir, path, buf, size);
}

/* Their names in programs compiled with _FORTIFY_SOURCE. */
ssize_t __readlink_chk(const char *path, char *buf, size_t size, size_t room);
ssize_t __readlinkat_chk(int dir, const char *path, char *buf, size_t size, size_t room);

EXPORT ssize_t __readlink_chk(const char *path, char *buf, size_t size, size_t room)
{
	if (size > room)
		abort();
	return readlink(path, buf, size);
}

EXPORT ssize_t __readlinkat_chk(int dir, const char *path, char *buf, size_t size, size_t room)
{
	if (size > room)
		abort();
	return readlinkat(dir, path, buf, size);
}
