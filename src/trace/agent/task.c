/* SPDX-License-Identifier: Apache-2.0 */
/* The helpers of helper/task.c for the agent: what the thread's block knows costs no system call. */
#include <errno.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>

#include "bpf/uapi.h"
#include "helper/call.h"
#include "trace/agent/agent.h"

#define COMM_LEN 16

HELPER(get_current_pid_tgid)
{
	struct agent_thread *t = agent_thread();

	if (!t) /* the program would not run */
		return 0;
	return (uint64_t)t->pid << 32 | t->tid;
}

static uint64_t noted_ids;

void agent_note_ids(void)
{
	noted_ids = (uint64_t)SYS1(SYS_getgid, 0) << 32 | (uint32_t)SYS1(SYS_getuid, 0);
}

HELPER(get_current_uid_gid)
{
	if (agent_quiet)
		return noted_ids;
	return (uint64_t)SYS1(SYS_getgid, 0) << 32 | (uint32_t)SYS1(SYS_getuid, 0);
}

HELPER(get_current_comm)
{
	char comm[COMM_LEN] = "";
	uint32_t size = (uint32_t)r2, len;
	char *dst = PTR(r1);

	if (SYS3(SYS_prctl, PR_GET_NAME, comm, 0)) {
		memset(dst, 0, size);
		return ERR(EPERM);
	}
	len = (uint32_t)strnlen(comm, sizeof(comm) - 1);
	if (len > size - 1)
		len = size - 1;
	memcpy(dst, comm, len);
	memset(dst + len, 0, size - len);
	return 0;
}

HELPER(get_ns_current_pid_tgid)
{
	struct bpf_pidns_info *info = PTR(r3);
	struct agent_thread *t = agent_thread();
	struct stat st = {0};

	if (!t || r4 != sizeof(*info) ||
	    SYS6(SYS_newfstatat, -100 /* AT_FDCWD */, "/proc/self/ns/pid", &st, 0, 0, 0) ||
	    st.st_dev != r1 || st.st_ino != r2) {
		memset(info, 0, (uint32_t)r4);
		return ERR(EINVAL);
	}
	info->pid = t->tid;
	info->tgid = t->pid;
	return 0;
}

HELPER(send_signal)
{
	return (uint64_t)SYS3(SYS_kill, SYS1(SYS_getpid, 0), (int)r1, 0);
}

HELPER(send_signal_thread)
{
	return (uint64_t)SYS3(SYS_tgkill, SYS1(SYS_getpid, 0), SYS1(SYS_gettid, 0), (int)r1);
}
