/* SPDX-License-Identifier: Apache-2.0 */
#include "client/mounts.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <sched.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "bpf/pin.h"
#include "btf/btf.h"
#include "client/msg.h"
#include "client/tracefs.h"
#include "client/view.h"

#define SCRATCH "/tmp" /* covered while files are made, in our namespace only */
#define USER_NS "/proc/self/ns/user"
#define QUIET   (MS_NOSUID | MS_NODEV | MS_NOEXEC)

/* ---- Namespaces ---- */

static int write_file(const char *path, const void *data, size_t len, int flags)
{
	int fd = open(path, O_WRONLY | O_CLOEXEC | flags, 0444), err = 0;

	if (fd < 0)
		return -errno;
	for (size_t done = 0; done < len && !err;) {
		ssize_t n = write(fd, (const char *)data + done, len - done);

		if (n < 0)
			err = -errno;
		else
			done += (size_t)n;
	}
	close(fd);
	return err;
}

static int write_text(const char *path, const char *text, int flags)
{
	return write_file(path, text, strlen(text), flags);
}

/* Everybody keeps their own number; all others are strangers to each other. */
static int enter_user(void)
{
	unsigned uid = geteuid(), gid = getegid();
	char map[64];
	int err;

	/* Root without the right to mount would get more rights in there than it has. */
	if (!uid)
		return -EPERM;
	if (unshare(CLONE_NEWUSER | CLONE_NEWNS))
		return -errno;
	err = write_text("/proc/self/setgroups", "deny", 0);
	snprintf(map, sizeof(map), "%u %u 1", uid, uid);
	if (!err)
		err = write_text("/proc/self/uid_map", map, 0);
	snprintf(map, sizeof(map), "%u %u 1", gid, gid);
	return err ? err : write_text("/proc/self/gid_map", map, 0);
}

/* To fd, a mount, as "/": of the namespace, so that nothing remains of what was around it. Where that
 * can't be (on the kernel's first file system), of the process alone. */
static int change_root(int fd)
{
	if (fchdir(fd))
		return -errno;
	if (!syscall(SYS_pivot_root, ".", "."))
		return umount2(".", MNT_DETACH) ? -errno : 0;
	return chroot(".") ? -errno : 0;
}

/* In a chroot "/" is no mount, so that nothing can be said of it: a mount is made there. The way leads
 * through the namespace's own root, and back also when it fails. */
static int mount_root(void)
{
	int ns = open("/proc/self/ns/mnt", O_RDONLY | O_CLOEXEC);
	int root = open("/", O_PATH | O_DIRECTORY | O_CLOEXEC), tree = -1, err = 0;
	char cwd[PATH_MAX];

	if (ns < 0 || root < 0 || !getcwd(cwd, sizeof(cwd)) || setns(ns, CLONE_NEWNS)) {
		err = -errno;
	} else {
		if (!mount(NULL, "/", NULL, MS_REC | MS_SLAVE, NULL))
			tree = open_tree(root, "",
					 AT_EMPTY_PATH | AT_RECURSIVE | OPEN_TREE_CLONE |
						 OPEN_TREE_CLOEXEC);
		if (tree < 0 || move_mount(tree, "", root, "",
					   MOVE_MOUNT_F_EMPTY_PATH | MOVE_MOUNT_T_EMPTY_PATH))
			err = -errno;
		if (!err)
			err = change_root(tree);
		if (err && (fchdir(root) || chroot(".")))
			_exit(127); /* never outside */
		if (chdir(cwd))
			err = -errno;
	}
	close(tree);
	close(root);
	close(ns);
	return err;
}

int skep_mounts_unshare(void)
{
	int err = unshare(CLONE_NEWNS) ? -errno : 0;

	if (err == -EPERM)
		err = enter_user();
	/* What others mount is still to be seen here; ours is not to be seen there. */
	if (!err && mount(NULL, "/", NULL, MS_REC | MS_SLAVE, NULL))
		err = errno == EINVAL ? mount_root() : -errno;
	return err;
}

/* ---- Files ---- */

/* Text, or NULL: the BTF. */
struct file {
	const char *path, *text;
};

static const struct file files[] = {
	{SKEP_VIEW_BTF, NULL},
	/* Whether a client may do what is for privileged ones is judged by its capabilities. */
	{"/proc/sys/kernel/unprivileged_bpf_disabled", "0\n"},
	{"/proc/sys/kernel/bpf_stats_enabled", "0\n"},
	{"/proc/sys/net/core/bpf_jit_enable", "1\n"},
	{"/proc/sys/net/core/bpf_jit_harden", "0\n"},
	{"/proc/sys/net/core/bpf_jit_kallsyms", "0\n"},
	{"/proc/sys/net/core/bpf_jit_limit", "9223372036854775807\n"}, /* there is none */
};

/* Mounted read-only: what is written there would change nothing. */
static int put_file(const struct file *f, const char *text)
{
	static const char made[] = SCRATCH "/file";
	struct skep_btf *btf;
	struct stat st;
	int err;

	if (stat(f->path, &st))
		return -errno;
	if (text) {
		err = write_text(made, text, O_CREAT | O_EXCL);
	} else {
		err = skep_btf_vmlinux(&btf);
		if (!err) {
			err = write_file(made, btf->data, btf->data_size, O_CREAT | O_EXCL);
			skep_btf_put(btf);
		}
	}
	if (!err && mount(made, f->path, NULL, MS_BIND, NULL))
		err = -errno;
	if (!err && mount(NULL, f->path, NULL, MS_BIND | MS_REMOUNT | MS_RDONLY | QUIET, NULL))
		err = -errno;
	unlink(made);
	return err;
}

static void put_files(bool jit)
{
	if (mount("skep", SCRATCH, "tmpfs", QUIET, "mode=0755"))
		return;
	/* One that is not there for a client is missing, no more. */
	for (size_t i = 0; i < sizeof(files) / sizeof(files[0]); i++) {
		bool is_jit = strstr(files[i].path, "jit_enable");

		put_file(&files[i], is_jit && !jit ? "0\n" : files[i].text);
	}
	umount2(SCRATCH, MNT_DETACH);
}

/* ---- Directories ---- */

static int open_dir(const char *path)
{
	int fd = open(path, O_PATH | O_DIRECTORY | O_CLOEXEC);

	return fd < 0 ? -errno : fd;
}

/* An empty one, or the one that others have (a mount that is nowhere yet). */
static int put_dir(const char *source, const char *path, int shared)
{
	char options[96];

	if (shared >= 0)
		return move_mount(shared, "", AT_FDCWD, path, MOVE_MOUNT_F_EMPTY_PATH)
			       ? -errno
			       : open_dir(path);
	snprintf(options, sizeof(options), "mode=0700,uid=%u,gid=%u", geteuid(), getegid());
	if (mount(source, path, "tmpfs", QUIET | MS_RELATIME, options))
		return -errno;
	return open_dir(path);
}

/* debugfs is not mounted by itself; its place is a directory of sysfs. */
static void put_debugfs(void)
{
	struct stat st;

	if (!stat(SKEP_DEBUGFS "/tracing", &st) ||
	    (!mount("debugfs", SKEP_DEBUGFS, "tmpfs", QUIET | MS_RELATIME, "mode=0700") &&
	     !mkdir(SKEP_DEBUGFS "/tracing", 0700)))
		mount(SKEP_TRACEFS, SKEP_DEBUGFS "/tracing", NULL, MS_BIND, NULL);
}

void skep_mounts_close(struct skep_mounts *m)
{
	const int fds[] = {m->pins, m->trace, m->ns, m->user};

	for (size_t i = 0; i < sizeof(fds) / sizeof(fds[0]); i++)
		if (fds[i] >= 0)
			close(fds[i]);
	*m = SKEP_MOUNTS_NONE;
}

int skep_mounts_enter(struct skep_mounts *m, bool jit, const struct skep_mounts *shared)
{
	struct stat before, now;
	int err;

	*m = SKEP_MOUNTS_NONE;
	err = stat(USER_NS, &before) ? -errno : skep_mounts_unshare();
	if (err)
		return err;
	put_files(jit);
	m->pins = put_dir("bpf", SKEP_BPFFS, shared ? shared->pins : -1);
	m->trace = put_dir("tracefs", SKEP_TRACEFS, shared ? shared->trace : -1);
	if (m->trace >= 0) {
		if (!shared)
			skep_tracefs_fill(m->trace);
		put_debugfs();
	}
	if (m->pins < 0 && m->trace < 0)
		return m->pins;
	m->ns = open("/proc/self/ns/mnt", O_RDONLY | O_CLOEXEC);
	if (!stat(USER_NS, &now) && now.st_ino != before.st_ino)
		m->user = open(USER_NS, O_RDONLY | O_CLOEXEC);
	return 0;
}

/* ---- The same directories in another namespace ---- */

struct given {
	int err;
	bool pins, trace; /* descriptors that come with it */
};

/* In a child, which is in that namespace from now on: only who is in it may copy its mounts. */
static void give_again(int sock, const struct skep_mounts *of)
{
	const unsigned how = OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | AT_EMPTY_PATH;
	struct given g = {0, of->pins >= 0, of->trace >= 0};
	const int dirs[] = {of->pins, of->trace};
	int fds[2];
	unsigned n = 0;

	if ((of->user >= 0 && setns(of->user, CLONE_NEWUSER)) || setns(of->ns, CLONE_NEWNS))
		g.err = -errno;
	for (int i = 0; i < 2 && !g.err; i++) {
		if (dirs[i] < 0)
			continue;
		fds[n] = open_tree(dirs[i], "", how);
		if (fds[n++] < 0)
			g.err = -errno;
	}
	skep_msg_send(sock, &g, sizeof(g), fds, g.err ? 0 : n);
	_exit(0);
}

int skep_mounts_again(struct skep_mounts *out, const struct skep_mounts *of)
{
	int sock[2], fds[SKEP_MSG_FDS];
	unsigned n = 0, at = 0;
	struct given g = {0};
	ssize_t got;
	pid_t pid;

	*out = SKEP_MOUNTS_NONE;
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, sock))
		return -errno;
	pid = fork();
	if (pid == 0)
		give_again(sock[1], of);
	close(sock[1]);
	got = pid < 0 ? -errno : skep_msg_recv(sock[0], &g, sizeof(g), fds, &n, 0);
	close(sock[0]);
	if (pid > 0)
		waitpid(pid, NULL, 0);
	if (got != sizeof(g))
		return got < 0 ? (int)got : -EPROTO;
	if (g.pins && at < n)
		out->pins = fds[at++];
	if (g.trace && at < n)
		out->trace = fds[at++];
	return g.err;
}
