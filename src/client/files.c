/* SPDX-License-Identifier: Apache-2.0 */
#include "client/files.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "os/caller.h"

#define BPF_FS_MAGIC 0xcafe4a11 /* of <linux/magic.h> */
#define PASS         SKEP_FILES_PASS

/* The file that the caller names, opened with O_PATH: in its namespace, from its folder. */
static int open_for_caller(const char *path)
{
	struct open_how how = {.flags = O_PATH | O_CLOEXEC};
	char link[48];
	int at, fd;

	if (*path == '/')
		how.resolve = RESOLVE_IN_ROOT;
	snprintf(link, sizeof(link), "/proc/%d/%s", (int)skep_caller_current()->pid,
		 *path == '/' ? "root" : "cwd");
	at = open(link, O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (at < 0)
		return -errno;
	fd = skep_caller_files_enter();
	if (!fd) {
		fd = (int)syscall(SYS_openat2, at, path, &how, sizeof(how));
		if (fd < 0)
			fd = -errno;
		skep_caller_files_leave();
	}
	close(at);
	return fd;
}

long skep_files_statfs(dev_t bpffs, const uint64_t *args, bool by_fd)
{
	/* As the kernel's bpffs answers: it has no blocks to count. */
	const struct statfs answer = {
		.f_type = BPF_FS_MAGIC, .f_bsize = 4096, .f_frsize = 4096, .f_namelen = 255};
	char path[PATH_MAX];
	struct stat st;
	int fd;

	if (!bpffs)
		return PASS;
	if (by_fd) {
		fd = skep_caller_fd((int)args[0]);
		if (fd < 0 || fstat(fd, &st) || st.st_dev != bpffs)
			return PASS;
	} else {
		bool here;

		if (skep_caller_read_str(path, (const void *)(uintptr_t)args[0], sizeof(path)) < 0)
			return PASS;
		fd = open_for_caller(path);
		if (fd < 0)
			return PASS;
		here = !fstat(fd, &st) && st.st_dev == bpffs;
		close(fd);
		if (!here)
			return PASS;
	}
	return skep_caller_write((void *)(uintptr_t)args[1], &answer, sizeof(answer)) ? -EFAULT : 0;
}
