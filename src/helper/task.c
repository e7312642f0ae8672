/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The task that runs the program: the calling thread or, where a server runs it for a client
 * (BPF_PROG_TEST_RUN), the client's.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "bpf/uapi.h"
#include "helper/call.h"
#include "helper/stack.h"
#include "os/caller.h"

#define COMM_LEN 16

HELPER(get_current_pid_tgid)
{
	const struct skep_caller *caller = skep_caller_current();

	if (caller)
		return (uint64_t)(uint32_t)caller->tgid << 32 | (uint32_t)caller->pid;
	return (uint64_t)(uint32_t)getpid() << 32 | (uint32_t)syscall(SYS_gettid);
}

HELPER(get_current_uid_gid)
{
	const struct skep_caller *caller = skep_caller_current();

	if (caller)
		return (uint64_t)caller->gid << 32 | caller->uid;
	return (uint64_t)getgid() << 32 | getuid();
}

static void read_comm(char comm[COMM_LEN])
{
	const struct skep_caller *caller = skep_caller_current();
	char path[48];
	ssize_t n = -1;
	int fd;

	if (!caller) {
		prctl(PR_GET_NAME, comm);
		return;
	}
	snprintf(path, sizeof(path), "/proc/%d/comm", (int)caller->pid);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd >= 0) {
		n = read(fd, comm, COMM_LEN - 1);
		close(fd);
	}
	comm[n > 0 && comm[n - 1] == '\n' ? n - 1 : n > 0 ? n : 0] = 0;
}

HELPER(get_current_comm)
{
	char comm[COMM_LEN] = "";
	uint32_t size = (uint32_t)r2, len;
	char *dst = PTR(r1);

	read_comm(comm);
	len = (uint32_t)strnlen(comm, sizeof(comm) - 1);
	if (len > size - 1)
		len = size - 1;
	memcpy(dst, comm, len);
	memset(dst + len, 0, size - len);
	return 0;
}

/* A namespace is named by device and inode of its file. */
HELPER(get_ns_current_pid_tgid)
{
	struct bpf_pidns_info *info = PTR(r3);
	const struct skep_caller *caller = skep_caller_current();
	char path[48] = "/proc/self/ns/pid";
	struct stat st;

	if (caller)
		snprintf(path, sizeof(path), "/proc/%d/ns/pid", (int)caller->pid);
	if (r4 != sizeof(*info) || stat(path, &st) || st.st_dev != r1 || st.st_ino != r2) {
		memset(info, 0, (uint32_t)r4);
		return ERR(EINVAL);
	}
	info->pid = caller ? (uint32_t)caller->pid : (uint32_t)syscall(SYS_gettid);
	info->tgid = caller ? (uint32_t)caller->tgid : (uint32_t)getpid();
	return 0;
}

/* ---- Signals, to the process and to the thread ---- */

HELPER(send_signal)
{
	const struct skep_caller *caller = skep_caller_current();
	long pid = caller ? caller->tgid : getpid();

	return syscall(SYS_kill, pid, (int)r1) ? ERR(errno) : 0;
}

HELPER(send_signal_thread)
{
	const struct skep_caller *caller = skep_caller_current();
	long pid = caller ? caller->tgid : getpid();
	long tid = caller ? caller->pid : syscall(SYS_gettid);

	return syscall(SYS_tgkill, pid, tid, (int)r1) ? ERR(errno) : 0;
}

/* Nobody is traced in this process: env->regs is never set. */
uint32_t skep_user_stack(struct skep_env *env, uint64_t *ips, uint32_t max)
{
	return 0;
}
