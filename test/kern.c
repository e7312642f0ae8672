// SPDX-License-Identifier: Apache-2.0
#include "kern.h"

#include <errno.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

long kern_bpf(int cmd, union bpf_attr *attr)
{
	long ret = syscall(SYS_bpf, cmd, attr, sizeof(*attr));

	return ret < 0 ? -errno : ret;
}

int kern_load(uint32_t type, const struct bpf_insn *insns, uint32_t n, uint32_t level, char *log,
	      uint32_t log_size)
{
	union bpf_attr attr = {
		.prog_type = type,
		.insns = (uintptr_t)insns,
		.insn_cnt = n,
		.license = (uintptr_t) "GPL",
		.log_level = log ? level : 0,
		.log_buf = log && level ? (uintptr_t)log : 0,
		.log_size = log && level ? log_size : 0,
		.prog_flags = type == BPF_PROG_TYPE_SYSCALL ? BPF_F_SLEEPABLE : 0,
	};

	if (log)
		log[0] = '\0';
	return kern_bpf(BPF_PROG_LOAD, &attr);
}

bool kern_available(void)
{
	static const struct bpf_insn insns[] = {
		{.code = BPF_ALU64 | BPF_MOV | BPF_K},
		{.code = BPF_JMP | BPF_EXIT},
	};
	int fd = kern_load(BPF_PROG_TYPE_SYSCALL, insns, 2, 0, NULL, 0);

	if (fd < 0)
		return false;
	close(fd);
	return true;
}

int kern_run_ctx(int fd, void *ctx, uint32_t ctx_size, uint32_t *retval)
{
	union bpf_attr attr = {
		.test.prog_fd = fd,
		.test.ctx_in = (uintptr_t)ctx,
		.test.ctx_size_in = ctx ? ctx_size : 0,
	};
	long err = kern_bpf(BPF_PROG_TEST_RUN, &attr);

	*retval = attr.test.retval;
	return err;
}

int kern_run_packet(int fd, const void *in, uint32_t len, void *out, uint32_t *out_len,
		    uint32_t repeat, uint32_t *retval, uint32_t *ns)
{
	union bpf_attr attr = {
		.test.prog_fd = fd,
		.test.data_in = (uintptr_t)in,
		.test.data_size_in = len,
		.test.data_out = (uintptr_t)out,
		.test.data_size_out = out ? *out_len : 0,
		.test.repeat = repeat,
	};
	long err = kern_bpf(BPF_PROG_TEST_RUN, &attr);

	*retval = attr.test.retval;
	if (out_len)
		*out_len = attr.test.data_size_out;
	if (ns)
		*ns = attr.test.duration;
	return err;
}
