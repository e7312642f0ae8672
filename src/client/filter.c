/* SPDX-License-Identifier: Apache-2.0 */
#include "client/filter.h"

#include <errno.h>
#include <linux/filter.h>
#include <linux/perf_event.h>
#include <linux/seccomp.h>
#include <seccomp.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#ifndef SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV
#define SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV (1ul << 5)
#endif

/* seccomp_load() knows no flag for this: a signal does not end a call that we are about to do, or
 * it would be done again when it is restarted. Kernels before 5.19 do not either. */
static int load_filter(scmp_filter_ctx ctx)
{
	unsigned long flags = SECCOMP_FILTER_FLAG_NEW_LISTENER;
	int fd = memfd_create("skep-filter", MFD_CLOEXEC), err;
	struct sock_fprog prog = {0};
	struct stat st;

	if (fd < 0)
		return -errno;
	err = seccomp_export_bpf(ctx, fd);
	if (!err && fstat(fd, &st))
		err = -errno;
	if (!err) {
		prog.len = (unsigned short)((size_t)st.st_size / sizeof(*prog.filter));
		prog.filter = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
		err = prog.filter == MAP_FAILED ? -errno : 0;
	}
	close(fd);
	if (!err && prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))
		err = -errno;
	if (err)
		return err;
	fd = (int)syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER,
			  flags | SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV, &prog);
	if (fd < 0 && errno == EINVAL)
		fd = (int)syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, flags, &prog);
	return fd < 0 ? -errno : fd;
}

/* Processes of the machine's other, 32-bit kind; their structures are the same. Whom the filter does
 * not know, it would kill. */
static int add_machines(scmp_filter_ctx ctx)
{
	uint32_t native = seccomp_arch_native();
	int err = 0;

	if (native == SCMP_ARCH_X86_64)
		err = seccomp_arch_add(ctx, SCMP_ARCH_X86);
	if (native == SCMP_ARCH_AARCH64)
		err = seccomp_arch_add(ctx, SCMP_ARCH_ARM);
	if (!err)
		err = seccomp_attr_set(ctx, SCMP_FLTATR_ACT_BADARCH, SCMP_ACT_ERRNO(ENOSYS));
	return err;
}

/* Of calls that do many things, those with these arguments: as ints, the upper half may be anything. */
static const struct {
	enum skep_syscall call;
	const char *name;
	unsigned nargs;
	struct scmp_arg_cmp args[2];
} calls[] = {
	{SKEP_CALL_BPF, "bpf", 0, {{0}}},
	{SKEP_CALL_PERF, "perf_event_open", 0, {{0}}},
	{SKEP_CALL_STATFS, "statfs", 0, {{0}}},
	{SKEP_CALL_FSTATFS, "fstatfs", 0, {{0}}},
	{SKEP_CALL_SOCKOPT,
	 "setsockopt",
	 2,
	 {{1, SCMP_CMP_MASKED_EQ, UINT32_MAX, SOL_SOCKET},
	  {2, SCMP_CMP_MASKED_EQ, UINT32_MAX, SO_ATTACH_BPF}}},
	{SKEP_CALL_SOCKOPT,
	 "setsockopt",
	 2,
	 {{1, SCMP_CMP_MASKED_EQ, UINT32_MAX, SOL_SOCKET},
	  {2, SCMP_CMP_MASKED_EQ, UINT32_MAX, SO_ATTACH_REUSEPORT_EBPF}}},
	{SKEP_CALL_SET_BPF,
	 "ioctl",
	 1,
	 {{1, SCMP_CMP_MASKED_EQ, UINT32_MAX, PERF_EVENT_IOC_SET_BPF}}},
};
#define CALLS (sizeof(calls) / sizeof(calls[0]))

/* Processes of the other kind have other structures of files: their statfs is the kernel's. */
static bool for_all(enum skep_syscall call)
{
	return call == SKEP_CALL_BPF || call == SKEP_CALL_PERF;
}

enum skep_syscall skep_filter_call(const struct seccomp_data *call)
{
	bool native = call->arch == seccomp_arch_native();

	for (size_t i = 0; i < CALLS; i++)
		if ((native || for_all(calls[i].call)) &&
		    call->nr == seccomp_syscall_resolve_name_arch(call->arch, calls[i].name))
			return calls[i].call;
	return SKEP_CALL_NONE;
}

int skep_filter_install(void)
{
	scmp_filter_ctx ctx = seccomp_init(SCMP_ACT_ALLOW);
	int err;

	if (!ctx)
		return -ENOMEM;
	err = add_machines(ctx);
	for (size_t i = 0; i < CALLS && !err; i++)
		err = seccomp_rule_add_array(ctx, SCMP_ACT_NOTIFY,
					     seccomp_syscall_resolve_name(calls[i].name),
					     calls[i].nargs, calls[i].args);
	if (!err)
		err = load_filter(ctx);
	seccomp_release(ctx);
	return err;
}
