/* SPDX-License-Identifier: Apache-2.0 */
/* The task that runs the program: the calling thread. */
#include <errno.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "bpf/uapi.h"
#include "helper/call.h"

#define COMM_LEN 16

HELPER(get_current_pid_tgid)
{
	return (uint64_t)(uint32_t)getpid() << 32 | (uint32_t)syscall(SYS_gettid);
}

HELPER(get_current_uid_gid)
{
	return (uint64_t)getgid() << 32 | getuid();
}

HELPER(get_current_comm)
{
	char comm[COMM_LEN] = "";
	uint32_t size = (uint32_t)r2, len;
	char *dst = PTR(r1);

	prctl(PR_GET_NAME, comm);
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
	struct stat st;

	if (r4 != sizeof(*info) || stat("/proc/self/ns/pid", &st) || st.st_dev != r1 ||
	    st.st_ino != r2) {
		memset(info, 0, (uint32_t)r4);
		return ERR(EINVAL);
	}
	info->pid = (uint32_t)syscall(SYS_gettid);
	info->tgid = (uint32_t)getpid();
	return 0;
}
