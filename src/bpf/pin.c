/* SPDX-License-Identifier: Apache-2.0 */
#include "bpf/pin.h"

#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "bpf/call.h"
#include "bpf/sys.h"
#include "os/caller.h"

struct skep_pin {
	struct skep_pin *next;
	struct skep_object *obj; /* referenced */
	uint64_t dev, ino; /* of the file, with a directory */
	char path[]; /* absolute */
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

/* The file that stands for path in the instance's directory; -EPERM outside. */
static int to_file(struct skep *skep, const char *path, char *file)
{
	char root[PATH_MAX], dir[PATH_MAX], real[PATH_MAX];
	int n;

	if (!realpath(skep->opts.pin_dir, root))
		return -errno;
	if (below(path, SKEP_BPFFS))
		n = snprintf(file, PATH_MAX, "%s%s", root, path + strlen(SKEP_BPFFS));
	else
		n = snprintf(file, PATH_MAX, "%s", path);
	if (n >= PATH_MAX)
		return -ENAMETOOLONG;
	/* The directory must exist and lie inside, wherever links lead. */
	snprintf(dir, sizeof(dir), "%s", file);
	char *name = strrchr(dir, '/');
	*name++ = 0;
	if (!realpath(*dir ? dir : "/", real))
		return -errno;
	if (strcmp(real, root) && !below(real, root))
		return -EPERM;
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

static void drop(struct skep_pin **at)
{
	struct skep_pin *pin = *at;

	*at = pin->next;
	skep_object_user_put(pin->obj);
	free(pin);
}

static bool file_there(const struct skep_pin *pin)
{
	struct stat st;

	return !lstat(pin->path, &st) && st.st_ino == pin->ino && st.st_dev == pin->dev;
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

void skep_pins_drop(struct skep *skep, struct skep_sys *sys)
{
	while (sys->pins) {
		if (skep->opts.pin_dir && file_there(sys->pins))
			unlink(sys->pins->path);
		drop(&sys->pins);
	}
}

static int make_file(struct skep_pin *pin)
{
	struct stat st;
	int fd = open(pin->path, O_CREAT | O_EXCL | O_WRONLY | O_CLOEXEC | O_NOFOLLOW, 0600);

	if (fd < 0)
		return -errno;
	int err = fstat(fd, &st) ? -errno : 0;
	pin->dev = st.st_dev;
	pin->ino = st.st_ino;
	close(fd);
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
	pthread_mutex_lock(&sys->lock);
	if (skep->opts.pin_dir)
		err = make_file(pin);
	else if (*find(sys, path))
		err = -EEXIST;
	if (!err) {
		pin->obj = obj;
		skep_object_user_ref(obj);
		pin->next = sys->pins;
		sys->pins = pin;
	}
	pthread_mutex_unlock(&sys->lock);
	if (err)
		free(pin);
	return err;
}

/* Where a path leads: a name for the table. */
static int resolve(struct skep *skep, const char *path, char *name, bool create)
{
	struct stat st;
	char dir[PATH_MAX];

	if (skep->opts.pin_dir)
		return to_file(skep, path, name);
	snprintf(name, PATH_MAX, "%s", path);
	if (below(path, SKEP_BPFFS))
		return 0;
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

int skep_unpin(struct skep *skep, const char *path)
{
	struct skep_sys *sys = skep_sys(skep);
	char copy[PATH_MAX], name[PATH_MAX];

	if (!sys)
		return -ENOMEM;
	if (path[0] != '/' || strlen(path) >= sizeof(copy))
		return -ENOENT;
	strcpy(copy, path);
	normalize(copy);
	int err = resolve(skep, copy, name, false);
	if (err)
		return err;
	if (skep->opts.pin_dir && unlink(name))
		return -errno;
	pthread_mutex_lock(&sys->lock);
	struct skep_pin **at = find(sys, name);
	if (*at)
		drop(at);
	else if (!skep->opts.pin_dir)
		err = -ENOENT;
	pthread_mutex_unlock(&sys->lock);
	return err;
}

/* ---- Commands ---- */

long skep_cmd_pin(struct skep_call *c)
{
	char path[PATH_MAX] = "", name[PATH_MAX] = "";
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
	if (!err)
		err = resolve(c->skep, path, name, true);
	if (!err)
		err = add(c->skep, obj, name);
	skep_object_put(obj);
	return err;
}

long skep_cmd_get(struct skep_call *c)
{
	uint32_t both = BPF_F_RDONLY | BPF_F_WRONLY, flags = c->attr.file_flags;
	struct skep_sys *sys = skep_sys(c->skep);
	char path[PATH_MAX] = "", name[PATH_MAX] = "";
	struct skep_object *obj = NULL;

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
	if (!err)
		err = resolve(c->skep, path, name, false);
	if (err)
		return err;
	pthread_mutex_lock(&sys->lock);
	struct skep_pin *pin = *find(sys, name);
	if (pin) {
		obj = pin->obj;
		skep_object_ref(obj);
	}
	pthread_mutex_unlock(&sys->lock);
	if (!obj)
		return c->skep->opts.pin_dir && !access(name, F_OK) ? -EACCES : -ENOENT;
	/* Programs and links have no read-only handles. */
	if (obj->kind == SKEP_KIND_LINK && (flags & both)) {
		skep_object_put(obj);
		return -EINVAL;
	}
	return skep_give_fd(obj, obj->kind == SKEP_KIND_MAP ? (int)(flags & both) : 0);
}
