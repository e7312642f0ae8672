/* SPDX-License-Identifier: Apache-2.0 */
#include "bpf/pin.h"

#include <fcntl.h>
#include <limits.h>
#include <linux/openat2.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "bpf/call.h"
#include "bpf/sys.h"
#include "os/caller.h"

struct skep_pin {
	struct skep_pin *next;
	struct skep_object *obj; /* referenced */
	uint64_t dev, ino; /* of the file, with a directory */
	int fd; /* the same: its number of links tells whether it is there, whatever its name is */
	char path[]; /* absolute: the name, without a directory */
};

/* ---- Names ---- */

/* Removes "//", "/./" and "/.." from an absolute path, in place. */
static void normalize(char *path)
{
	char *to = path, *from = path;

	while (*from) {
		while (*from == '/')
			from++;
		size_t n = strcspn(from, "/");
		if (!n)
			break;
		if (n == 2 && from[0] == '.' && from[1] == '.') {
			while (to > path && *--to != '/')
				;
		} else if (n != 1 || *from != '.') {
			*to++ = '/';
			memmove(to, from, n);
			to += n;
		}
		from += n;
	}
	if (to == path)
		*to++ = '/';
	*to = 0;
}

static bool below(const char *path, const char *dir)
{
	size_t n = strlen(dir);

	return !strncmp(path, dir, n) && path[n] == '/' && path[n + 1];
}

/* Where the caller is. 0, or -1 with errno. */
static int working_directory(char *out)
{
	const struct skep_caller *caller = skep_caller_current();
	char link[32];
	ssize_t n;

	if (!caller)
		return getcwd(out, PATH_MAX) ? 0 : -1;
	snprintf(link, sizeof(link), "/proc/%d/cwd", (int)caller->pid);
	n = readlink(link, out, PATH_MAX - 1);
	if (n < 0)
		return -1;
	out[n] = 0;
	return 0;
}

/* The absolute path that a call names, from the user's memory. */
static int read_path(struct skep_call *c, char *out)
{
	char given[PATH_MAX] = "", base[PATH_MAX] = "";
	long n = skep_caller_read_str(given, skep_user_ptr(c->attr.pathname), sizeof(given));

	if (n < 0)
		return -EFAULT;
	if (n >= PATH_MAX && given[PATH_MAX - 2])
		return -ENAMETOOLONG;
	if (!given[0])
		return -ENOENT;
	if (given[0] != '/') {
		if (c->attr.file_flags & BPF_F_PATH_FD) {
			char link[64];
			struct stat st;
			int fd = c->attr.path_fd == AT_FDCWD ? AT_FDCWD
							     : skep_caller_fd(c->attr.path_fd);
			snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
			if (fd != AT_FDCWD) {
				if (fd < 0 || fstat(fd, &st))
					return -EBADF;
				if (!S_ISDIR(st.st_mode))
					return -ENOTDIR;
			}
			ssize_t len = fd == AT_FDCWD ? -1 : readlink(link, base, sizeof(base) - 1);
			if (len >= 0)
				base[len] = 0;
		}
		if (!base[0] && working_directory(base))
			return -errno;
	}
	int len = snprintf(out, PATH_MAX, "%s/%s", base, given);
	if (len >= PATH_MAX)
		return -ENAMETOOLONG;
	normalize(out);
	return 0;
}

/* bpffs has no names with dots. */
static bool has_dot(const char *path)
{
	return strchr(strrchr(path, '/'), '.');
}

/* ---- With a directory ---- */

static int open_root(const struct skep *skep)
{
	int fd = open(skep->opts.pin_dir, O_PATH | O_DIRECTORY | O_CLOEXEC);

	return fd < 0 ? -errno : fd;
}

static int open_how(int at, const char *path, int flags, uint64_t resolve)
{
	struct open_how how = {.flags = (uint64_t)(O_PATH | O_CLOEXEC | flags), .resolve = resolve};
	int fd = (int)syscall(SYS_openat2, at, path, &how, sizeof(how));

	return fd < 0 ? -errno : fd;
}

/* The file that the caller means, whatever is mounted where in its namespace. */
static int open_as_caller(const char *path, int flags)
{
	const struct skep_caller *caller = skep_caller_current();
	char link[48];
	int root, fd;

	if (!caller)
		return open_how(AT_FDCWD, path, flags, 0);
	snprintf(link, sizeof(link), "/proc/%d/root", (int)caller->pid);
	root = open(link, O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (root < 0)
		return -errno;
	fd = open_how(root, path, flags, RESOLVE_IN_ROOT);
	close(root);
	return fd;
}

/* The path of an open file, as its namespace has it. */
static bool path_of(int fd, char *out)
{
	char link[48];
	ssize_t n;

	snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
	n = readlink(link, out, PATH_MAX - 1);
	if (n < 0)
		return false;
	out[n] = 0;
	return true;
}

static bool inside(int root, int fd)
{
	char top[PATH_MAX], path[PATH_MAX];
	struct stat a, b;

	if (fstat(root, &a) || fstat(fd, &b) || a.st_dev != b.st_dev || !path_of(root, top) ||
	    !path_of(fd, path))
		return false;
	return !strcmp(top, "/") || !strcmp(top, path) || below(path, top);
}

/* What path names in the instance's directory, where paths below SKEP_BPFFS lead too:
 * opened with O_PATH, or -errno. -EPERM: it is there, but elsewhere. */
static int open_inside(struct skep *skep, const char *path, int flags)
{
	int root = open_root(skep), fd;

	if (root < 0)
		return root;
	fd = open_as_caller(path, flags);
	if (fd >= 0 && !inside(root, fd)) {
		close(fd);
		fd = -EPERM;
	}
	if (fd < 0 && (below(path, SKEP_BPFFS) || !strcmp(path, SKEP_BPFFS))) {
		const char *rest = path + strlen(SKEP_BPFFS);

		fd = open_how(root, *rest ? rest + 1 : ".", flags, RESOLVE_BENEATH);
	}
	close(root);
	return fd;
}

/* The directory that a new name is to be in; *name is its last part. */
static int open_parent(struct skep *skep, const char *path, const char **name)
{
	char dir[PATH_MAX];
	char *slash;

	snprintf(dir, sizeof(dir), "%s", path);
	slash = strrchr(dir, '/');
	*name = path + (slash - dir) + 1;
	slash[slash == dir] = 0;
	return open_inside(skep, dir, O_DIRECTORY);
}

/* Whether the caller may open a file with that access: 0 or -errno. */
static int check_access(int file, uint32_t flags)
{
	int access = flags == BPF_F_RDONLY ? O_RDONLY : flags == BPF_F_WRONLY ? O_WRONLY : O_RDWR;
	struct stat st;
	char link[48];
	int fd;

	/* Others do something when they are opened. */
	if (fstat(file, &st) || !S_ISREG(st.st_mode))
		return -EACCES;
	snprintf(link, sizeof(link), "/proc/self/fd/%d", file);
	fd = open(link, access | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	close(fd);
	return 0;
}

/* ---- The table ---- */

static struct skep_pin **find(struct skep_sys *sys, const char *path)
{
	struct skep_pin **at = &sys->pins;

	while (*at && strcmp((*at)->path, path))
		at = &(*at)->next;
	return at;
}

static struct skep_pin **find_file(struct skep_sys *sys, int fd)
{
	struct skep_pin **at = &sys->pins;
	struct stat st;

	if (fstat(fd, &st))
		memset(&st, 0, sizeof(st));
	while (*at && ((*at)->ino != st.st_ino || (*at)->dev != st.st_dev))
		at = &(*at)->next;
	return at;
}

static bool is_file(const struct skep_pin *pin, const struct stat *st)
{
	return st->st_ino == pin->ino && st->st_dev == pin->dev;
}

static void drop(struct skep_pin **at)
{
	struct skep_pin *pin = *at;
	struct stat st;

	*at = pin->next;
	/* The number may be somebody else's by now. */
	if (pin->fd >= 0 && !fstat(pin->fd, &st) && is_file(pin, &st))
		close(pin->fd);
	skep_object_user_put(pin->obj);
	free(pin);
}

static bool file_there(const struct skep_pin *pin)
{
	struct stat st;

	if (pin->fd >= 0 && !fstat(pin->fd, &st) && is_file(pin, &st))
		return st.st_nlink > 0;
	return !lstat(pin->path, &st) && is_file(pin, &st);
}

/* Files may have been removed behind our back: that is how pins end. */
void skep_pins_collect(struct skep *skep)
{
	struct skep_sys *sys = atomic_load(&skep->sys);

	if (!sys || !skep->opts.pin_dir || skep_forked(skep))
		return;
	pthread_mutex_lock(&sys->lock);
	for (struct skep_pin **at = &sys->pins; *at;) {
		if (file_there(*at))
			at = &(*at)->next;
		else
			drop(at);
	}
	pthread_mutex_unlock(&sys->lock);
}

/* A file that was renamed is removed where it is now. */
static void remove_file(const struct skep_pin *pin)
{
	char path[PATH_MAX];
	struct stat st;

	if ((path_of(pin->fd, path) && !lstat(path, &st) && is_file(pin, &st)) ||
	    (snprintf(path, sizeof(path), "%s", pin->path) && !lstat(path, &st) &&
	     is_file(pin, &st)))
		unlink(path);
}

void skep_pins_drop(struct skep *skep, struct skep_sys *sys)
{
	while (sys->pins) {
		if (skep->opts.pin_dir && file_there(sys->pins))
			remove_file(sys->pins);
		drop(&sys->pins);
	}
}

/* Out of the way of the numbers that this process expects. */
static int move_up(int fd)
{
	int high = fcntl(fd, F_DUPFD_CLOEXEC, 512);

	if (high < 0)
		return fd;
	close(fd);
	return high;
}

/* The file is its caller's. */
static int make_file(struct skep *skep, struct skep_pin *pin)
{
	int err = skep_caller_files_enter(), dir;
	const char *name;
	char self[PATH_MAX];
	struct stat st;

	if (err)
		return err;
	dir = open_parent(skep, pin->path, &name);
	if (dir < 0)
		err = dir;
	else if (faccessat(dir, ".", X_OK, AT_EACCESS))
		err = -errno;
	else if (has_dot(name - 1))
		err = -EPERM;
	if (!err) {
		pin->fd = openat(dir, name, O_CREAT | O_EXCL | O_WRONLY | O_CLOEXEC | O_NOFOLLOW,
				 0600);
		err = pin->fd < 0 ? -errno : 0;
	}
	if (dir >= 0)
		close(dir);
	skep_caller_files_leave();
	if (err)
		return err;
	pin->fd = move_up(pin->fd);
	err = fstat(pin->fd, &st) ? -errno : 0;
	pin->dev = st.st_dev;
	pin->ino = st.st_ino;
	if (err && path_of(pin->fd, self))
		unlink(self);
	return err;
}

static int add(struct skep *skep, struct skep_object *obj, const char *path)
{
	struct skep_sys *sys = skep_sys(skep);
	struct skep_pin *pin = calloc(1, sizeof(*pin) + strlen(path) + 1);
	int err = 0;

	if (!sys || !pin) {
		free(pin);
		return -ENOMEM;
	}
	strcpy(pin->path, path);
	pin->fd = -1;
	pthread_mutex_lock(&sys->lock);
	if (skep->opts.pin_dir)
		err = make_file(skep, pin);
	else if (*find(sys, path))
		err = -EEXIST;
	if (!err) {
		pin->obj = obj;
		skep_object_user_ref(obj);
		pin->next = sys->pins;
		sys->pins = pin;
	}
	pthread_mutex_unlock(&sys->lock);
	if (err) {
		if (pin->fd >= 0)
			close(pin->fd);
		free(pin);
	}
	return err;
}

/* Without a directory: what a path is that need not be below SKEP_BPFFS. */
static int check_name(const char *path, bool create)
{
	struct stat st;
	char dir[PATH_MAX];

	if (below(path, SKEP_BPFFS))
		return has_dot(path) ? -EPERM : 0;
	if (!strcmp(path, SKEP_BPFFS))
		return create ? -EEXIST : -EACCES;
	/* Some other file system: as the kernel finds out. */
	if (!stat(path, &st))
		return create ? -EEXIST : -EACCES;
	if (!create)
		return -errno;
	snprintf(dir, sizeof(dir), "%s", path);
	*strrchr(dir, '/') = 0;
	return stat(*dir ? dir : "/", &st) ? -errno : S_ISDIR(st.st_mode) ? -EPERM : -ENOTDIR;
}

static int unlink_file(struct skep *skep, const char *path)
{
	const char *name;
	int dir = open_parent(skep, path, &name), err;

	if (dir < 0)
		return dir;
	err = unlinkat(dir, name, 0) ? -errno : 0;
	close(dir);
	skep_pins_collect(skep);
	return err;
}

int skep_unpin(struct skep *skep, const char *path)
{
	struct skep_sys *sys = skep_sys(skep);
	char copy[PATH_MAX];

	if (!sys)
		return -ENOMEM;
	if (path[0] != '/' || strlen(path) >= sizeof(copy))
		return -ENOENT;
	strcpy(copy, path);
	normalize(copy);
	if (skep->opts.pin_dir)
		return unlink_file(skep, copy);
	int err = check_name(copy, false);
	if (err)
		return err;
	pthread_mutex_lock(&sys->lock);
	struct skep_pin **at = find(sys, copy);
	if (*at)
		drop(at);
	else
		err = -ENOENT;
	pthread_mutex_unlock(&sys->lock);
	return err;
}

/* ---- Commands ---- */

long skep_cmd_pin(struct skep_call *c)
{
	char path[PATH_MAX] = "";
	struct skep_object *obj;

	if (c->attr.file_flags & ~(uint32_t)BPF_F_PATH_FD)
		return -EINVAL;
	if (!(c->attr.file_flags & BPF_F_PATH_FD) && c->attr.path_fd)
		return -EINVAL;
	int err = skep_check_owner(c->skep);
	if (err)
		return err;
	if (skep_object_get(c->skep, (int)c->attr.bpf_fd, SKEP_KIND_NONE, &obj))
		return -EINVAL;
	if (obj->kind != SKEP_KIND_MAP && obj->kind != SKEP_KIND_PROG &&
	    obj->kind != SKEP_KIND_LINK)
		err = -EINVAL;
	if (!err)
		err = read_path(c, path);
	if (!err && !c->skep->opts.pin_dir)
		err = check_name(path, true);
	if (!err)
		err = add(c->skep, obj, path);
	skep_object_put(obj);
	return err;
}

/* A file that may be one, and the caller's to use: 0 or -errno. */
static int open_pin(struct skep *skep, const char *path, uint32_t flags, int *file)
{
	int err = skep_caller_files_enter();

	if (err)
		return err;
	*file = open_inside(skep, path, 0);
	/* EPERM: of another file system. */
	err = *file == -EPERM ? -EACCES : *file < 0 ? *file : check_access(*file, flags);
	skep_caller_files_leave();
	return err == -ENOENT && has_dot(path) ? -EPERM : err;
}

long skep_cmd_get(struct skep_call *c)
{
	uint32_t both = BPF_F_RDONLY | BPF_F_WRONLY, flags = c->attr.file_flags;
	struct skep_sys *sys = skep_sys(c->skep);
	char path[PATH_MAX] = "";
	struct skep_object *obj = NULL;
	int file = -1;

	if (!sys)
		return -ENOMEM;
	if (c->attr.bpf_fd || (flags & ~(both | BPF_F_PATH_FD)))
		return -EINVAL;
	if (!(flags & BPF_F_PATH_FD) && c->attr.path_fd)
		return -EINVAL;
	if ((flags & both) == both)
		return -EINVAL;
	int err = skep_check_owner(c->skep);
	if (!err)
		err = read_path(c, path);
	if (!err && !c->skep->opts.pin_dir)
		err = check_name(path, false);
	if (!err && c->skep->opts.pin_dir)
		err = open_pin(c->skep, path, flags & both, &file);
	if (err) {
		if (file >= 0)
			close(file);
		return err;
	}
	pthread_mutex_lock(&sys->lock);
	struct skep_pin *pin = file >= 0 ? *find_file(sys, file) : *find(sys, path);
	if (pin) {
		obj = pin->obj;
		skep_object_ref(obj);
	}
	pthread_mutex_unlock(&sys->lock);
	if (file >= 0)
		close(file);
	if (!obj)
		return file >= 0 ? -EACCES : -ENOENT;
	/* Programs and links have no read-only handles. */
	if (obj->kind == SKEP_KIND_LINK && (flags & both)) {
		skep_object_put(obj);
		return -EINVAL;
	}
	return skep_give_fd(obj, obj->kind == SKEP_KIND_MAP ? (int)(flags & both) : SKEP_FD_AGAIN);
}
