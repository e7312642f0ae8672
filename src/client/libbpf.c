/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The libc calls through which libbpf reaches the system. ld's --wrap sends those of
 * libbpf.a (and of everything else in the binary) here; outside of a scope, and for
 * whatever is not about BPF, they go on to libc.
 *
 * syscall	bpf(2) itself, and perf_event_open
 * mmap64	maps frozen by F_SEAL_WRITE, perf readers
 * epoll_ctl, epoll_wait, close, ioctl
 *		ring buffers and perf readers: see ready.c
 * fopen64, open64, faccessat
 *		files that describe the kernel: BTF, symbols, version
 * statfs64, mkdir, unlink
 *		pins, which lie below /sys/fs/bpf without anything being there
 * uname	the version that the instance presents
 */
#include "client/libbpf.h"

#include <bpf/libbpf.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/statfs.h>
#include <sys/syscall.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "bpf/instance.h"
#include "bpf/pin.h"
#include "client/ready.h"
#include "client/view.h"

#define BPF_FS_MAGIC 0xcafe4a11 /* of <linux/magic.h> */

/* The release that uname answers inside a scope; LINUX_KERNEL_VERSION follows from it. */
#define PRESENTED_RELEASE "6.18.0-skep"

static _Thread_local struct {
	struct skep *skep;
	skep_client_watch_fn watch;
	void *watch_arg;
	char text[4096];
	size_t len;
} scope;

struct skep *skep_client_enter(struct skep *skep)
{
	struct skep *was = scope.skep;

	scope.skep = skep;
	return was;
}

void skep_client_leave(struct skep *was)
{
	scope.skep = was;
}

struct skep *skep_client_current(void)
{
	return scope.skep;
}

void skep_client_watch(skep_client_watch_fn fn, void *arg)
{
	scope.watch = fn;
	scope.watch_arg = arg;
}

/* ---- Warnings ---- */

static int collect(enum libbpf_print_level level, const char *fmt, va_list ap)
{
	int n;

	if (level != LIBBPF_WARN || scope.len >= sizeof(scope.text) - 1)
		return 0;
	n = vsnprintf(scope.text + scope.len, sizeof(scope.text) - scope.len, fmt, ap);
	if (n > 0)
		scope.len += (size_t)n;
	if (scope.len >= sizeof(scope.text))
		scope.len = sizeof(scope.text) - 1;
	return n;
}

void skep_client_collect(void)
{
	libbpf_set_print(collect);
	skep_client_forget();
}

const char *skep_client_warnings(void)
{
	return scope.text;
}

void skep_client_forget(void)
{
	scope.len = 0;
	scope.text[0] = 0;
}

/* ---- System calls ---- */

long __real_syscall(long nr, ...);
long __wrap_syscall(long nr, long a0, long a1, long a2, long a3, long a4, long a5);
FILE *__real_fopen64(const char *path, const char *mode);
FILE *__wrap_fopen64(const char *path, const char *mode);
int __real_open64(const char *path, int flags, ...);
int __wrap_open64(const char *path, int flags, ...);
int __real_faccessat(int dir, const char *path, int mode, int flags);
int __wrap_faccessat(int dir, const char *path, int mode, int flags);
void *__real_mmap64(void *addr, size_t len, int prot, int flags, int fd, off64_t off);
void *__wrap_mmap64(void *addr, size_t len, int prot, int flags, int fd, off64_t off);
int __real_statfs64(const char *path, struct statfs64 *st);
int __wrap_statfs64(const char *path, struct statfs64 *st);
int __real_mkdir(const char *path, mode_t mode);
int __wrap_mkdir(const char *path, mode_t mode);
int __real_unlink(const char *path);
int __wrap_unlink(const char *path);
int __real_uname(struct utsname *name);
int __wrap_uname(struct utsname *name);

long skep_client_bpf(int cmd, union bpf_attr *attr, unsigned int size)
{
	long r;

	if (scope.skep)
		return skep_bpf(scope.skep, cmd, attr, size);
	r = __real_syscall(__NR_bpf, cmd, attr, size);
	return r < 0 ? -errno : r;
}

/* syscall() is variadic; on Linux such arguments lie where named ones would. Those that were not passed
 * are registers and a word of the caller's frame, and passed on unused. */
long __wrap_syscall(long nr, long a0, long a1, long a2, long a3, long a4, long a5)
{
	long r;

	if (nr == __NR_bpf && (scope.skep || scope.watch)) {
		union bpf_attr *attr = (union bpf_attr *)a1;

		r = scope.watch ? scope.watch(scope.watch_arg, (int)a0, attr, (unsigned)a2)
				: skep_client_bpf((int)a0, attr, (unsigned)a2);
	} else if (nr == __NR_perf_event_open && scope.skep) {
		r = skep_client_perf_open(scope.skep, (const struct perf_event_attr *)a0, (int)a1,
					  (int)a2, (int)a3, (unsigned long)a4);
	} else {
		return __real_syscall(nr, a0, a1, a2, a3, a4, a5);
	}
	if (r < 0) {
		errno = (int)-r;
		return -1;
	}
	return r;
}

/* A frozen map's handle carries F_SEAL_WRITE. Before Linux 6.7 such a file can't be mapped shared
 * through a descriptor that may write, not even for reading; a read-only descriptor can. */
void *__wrap_mmap64(void *addr, size_t len, int prot, int flags, int fd, off64_t off)
{
	void *p;
	int ro;

	if (scope.skep && fd >= 0 && !off) {
		int err = skep_client_perf_mmap(scope.skep, fd, len);

		if (err) {
			errno = -err;
			return MAP_FAILED;
		}
	}
	p = __real_mmap64(addr, len, prot, flags, fd, off);
	if (p != MAP_FAILED || !scope.skep || errno != EPERM || (prot & PROT_WRITE))
		return p;
	ro = skep_view_again(fd);
	if (ro < 0) {
		errno = EPERM;
		return MAP_FAILED;
	}
	p = __real_mmap64(addr, len, prot, flags, ro, off);
	close(ro);
	return p;
}

/* ---- Files ---- */

enum view { VIEW_REAL, VIEW_BTF, VIEW_CPUS, VIEW_EMPTY, VIEW_NONE };

/* What an instance shows instead of the kernel's own files. */
static const struct {
	const char *path;
	enum view view;
} views[] = {
	{SKEP_VIEW_BTF, VIEW_BTF},
	{"/sys/devices/system/cpu/possible", VIEW_CPUS},
	{"/proc/kallsyms", VIEW_EMPTY},
	{"/proc/version_signature", VIEW_NONE},
	{"/sys/bus/event_source/devices/kprobe/type", VIEW_NONE},
	{"/sys/bus/event_source/devices/uprobe/type", VIEW_NONE},
	{"/sys/kernel/tracing", VIEW_NONE},
	{"/sys/kernel/debug/tracing", VIEW_NONE},
};

static enum view find_view(const char *path)
{
	if (!scope.skep || !path)
		return VIEW_REAL;
	for (size_t i = 0; i < sizeof(views) / sizeof(views[0]); i++) {
		size_t n = strlen(views[i].path);

		if (!strncmp(path, views[i].path, n) && (!path[n] || path[n] == '/'))
			return views[i].view;
	}
	return VIEW_REAL;
}

/* A descriptor that reads as the view; -errno. */
static int open_view(enum view view)
{
	char cpus[32];

	switch (view) {
	case VIEW_NONE:
		return -ENOENT;
	case VIEW_CPUS:
		return skep_view_text(
			cpus, (size_t)snprintf(cpus, sizeof(cpus), "0-%u\n", scope.skep->cpus - 1));
	default:
		return skep_view_open(view == VIEW_BTF ? scope.skep : NULL);
	}
}

FILE *__wrap_fopen64(const char *path, const char *mode)
{
	enum view view = find_view(path);
	FILE *f;
	int fd;

	if (view == VIEW_REAL)
		return __real_fopen64(path, mode);
	fd = open_view(view);
	if (fd < 0) {
		errno = -fd;
		return NULL;
	}
	f = fdopen(fd, "r");
	if (!f)
		close(fd);
	return f;
}

int __wrap_open64(const char *path, int flags, ...)
{
	enum view view = find_view(path);
	va_list ap;
	int mode, fd;

	va_start(ap, flags);
	mode = va_arg(ap, int);
	va_end(ap);
	if (view == VIEW_REAL)
		return __real_open64(path, flags, mode);
	fd = open_view(view);
	if (fd < 0) {
		errno = -fd;
		return -1;
	}
	return fd;
}

int __wrap_faccessat(int dir, const char *path, int mode, int flags)
{
	enum view view = find_view(path);

	if (view == VIEW_REAL)
		return __real_faccessat(dir, path, mode, flags);
	if (view != VIEW_NONE && !(mode & (W_OK | X_OK)))
		return 0;
	errno = view == VIEW_NONE ? ENOENT : EACCES;
	return -1;
}

static bool is_pin(const char *path)
{
	size_t n = strlen(SKEP_BPFFS);

	return scope.skep && path && !strncmp(path, SKEP_BPFFS, n) && (!path[n] || path[n] == '/');
}

int __wrap_statfs64(const char *path, struct statfs64 *st)
{
	if (!is_pin(path))
		return __real_statfs64(path, st);
	memset(st, 0, sizeof(*st));
	st->f_type = BPF_FS_MAGIC;
	return 0;
}

/* Names of pins have no folders to be made. */
int __wrap_mkdir(const char *path, mode_t mode)
{
	return is_pin(path) ? 0 : __real_mkdir(path, mode);
}

int __wrap_unlink(const char *path)
{
	int r;

	if (!is_pin(path))
		return __real_unlink(path);
	r = skep_unpin(scope.skep, path);
	if (!r)
		return 0;
	errno = -r;
	return -1;
}

int __wrap_uname(struct utsname *name)
{
	int err = __real_uname(name);

	if (!err && scope.skep)
		snprintf(name->release, sizeof(name->release), "%s", PRESENTED_RELEASE);
	return err;
}
