/* SPDX-License-Identifier: Apache-2.0 */
/* The filter of started commands: what the supervisor is asked about (spawn.c). */
#include <errno.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "trace/filter.h"

#define DATA(f)  ((uint32_t)offsetof(struct seccomp_data, f))
#define LOAD(f)  BPF_STMT(BPF_LD | BPF_W | BPF_ABS, DATA(f))
#define IF_EQ(k) BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (k), 0, 1)
#define RET(k)   BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_##k)

int trace_filter_install(uint64_t agent, uint32_t size, bool exits)
{
	struct sock_filter code[] = {
		LOAD(arch),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, AUDIT_ARCH_X86_64, 1, 0),
		RET(ALLOW),
		LOAD(nr),
		IF_EQ(SYS_execve),
		RET(USER_NOTIF),
		IF_EQ(SYS_execveat),
		RET(USER_NOTIF),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, exits ? SYS_exit_group : UINT32_MAX, 0, 1),
		RET(USER_NOTIF),
		/* Others' filters. */
		IF_EQ(SYS_seccomp),
		RET(USER_NOTIF),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_prctl, 0, 3),
		LOAD(args[0]),
		IF_EQ(PR_SET_SECCOMP),
		RET(USER_NOTIF),
		LOAD(nr),
		/* Unwinders know its code by its bytes: it stays as it is, see docs/tracing.md. */
		IF_EQ(SYS_rt_sigreturn),
		RET(ALLOW),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_mmap, 0, 5),
		LOAD(args[2]),
		BPF_JUMP(BPF_JMP | BPF_JSET | BPF_K, PROT_EXEC, 0, 3),
		LOAD(args[3]),
		BPF_JUMP(BPF_JMP | BPF_JSET | BPF_K, MAP_ANONYMOUS, 1, 0),
		RET(USER_NOTIF),
		/* Without programs at system calls it ends here: the kernel then knows of each
		 * number that it always passes, and doesn't run the filter for it. */
		{size ? BPF_JMP | BPF_JA : BPF_RET | BPF_K, 0, 0, size ? 0 : SECCOMP_RET_ALLOW},
		/* The agent does not cross a boundary of 4 GiB. */
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, DATA(instruction_pointer) + 4),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (uint32_t)(agent >> 32), 0, 4),
		LOAD(instruction_pointer),
		BPF_JUMP(BPF_JMP | BPF_JGE | BPF_K, (uint32_t)agent, 0, 2),
		BPF_JUMP(BPF_JMP | BPF_JGE | BPF_K, (uint32_t)agent + size, 1, 0),
		RET(ALLOW),
		RET(USER_NOTIF),
	};
	struct sock_fprog prog = {sizeof(code) / sizeof(code[0]), code};
	long fd;

	/* With the privilege, programs with set-user-ID bits keep theirs (and are not entered). */
	fd = syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_NEW_LISTENER, &prog);
	if (fd < 0 && errno == EACCES) {
		prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
		fd = syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_NEW_LISTENER,
			     &prog);
	}
	return fd < 0 ? -errno : (int)fd;
}
