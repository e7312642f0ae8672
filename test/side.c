/* SPDX-License-Identifier: Apache-2.0 */
#include "side.h"

#include <unistd.h>

#include "kernel.h"

long side_bpf(struct side *s, int cmd, union bpf_attr *attr)
{
	return s->skep ? skep_bpf(s->skep, cmd, attr, sizeof(*attr))
		       : kernel_bpf(cmd, attr, sizeof(*attr));
}

int side_map(struct side *s, uint32_t type, uint32_t key, uint32_t value, uint32_t n)
{
	union bpf_attr attr = {
		.map_type = type, .key_size = key, .value_size = value, .max_entries = n};

	return (int)side_bpf(s, BPF_MAP_CREATE, &attr);
}

int side_const(struct side *s, const void *value, uint32_t size)
{
	union bpf_attr attr = {.map_type = BPF_MAP_TYPE_ARRAY,
			       .key_size = 4,
			       .value_size = size,
			       .max_entries = 1,
			       .map_flags = BPF_F_RDONLY_PROG};
	uint32_t key = 0;
	long fd = side_bpf(s, BPF_MAP_CREATE, &attr), err;

	if (fd < 0)
		return (int)fd;
	attr = (union bpf_attr){
		.map_fd = (uint32_t)fd, .key = (uintptr_t)&key, .value = (uintptr_t)value};
	err = side_bpf(s, BPF_MAP_UPDATE_ELEM, &attr);
	if (!err) {
		attr = (union bpf_attr){.map_fd = (uint32_t)fd};
		err = side_bpf(s, BPF_MAP_FREEZE, &attr);
	}
	if (!err)
		return (int)fd;
	close((int)fd);
	return (int)err;
}

long side_load(struct side *s, uint32_t type, const struct bpf_insn *insns, uint32_t n,
	       const char *license, int *out)
{
	union bpf_attr attr = {
		.prog_type = type,
		.insns = (uintptr_t)insns,
		.insn_cnt = n,
		.license = (uintptr_t)license,
		.log_level = 1,
		.log_buf = (uintptr_t)s->log,
		.log_size = SIDE_LOG,
		.prog_flags = type == BPF_PROG_TYPE_SYSCALL ? BPF_F_SLEEPABLE : 0,
	};
	long fd;

	s->log[0] = 0;
	fd = side_bpf(s, BPF_PROG_LOAD, &attr);
	if (fd < 0)
		return fd;
	if (out)
		*out = (int)fd;
	else
		close((int)fd);
	return 0;
}

long side_run(struct side *s, int fd, void *ctx, uint32_t size, uint32_t *retval)
{
	union bpf_attr attr = {
		.test.prog_fd = (uint32_t)fd,
		.test.ctx_in = (uintptr_t)ctx,
		.test.ctx_size_in = size,
	};
	long err = side_bpf(s, BPF_PROG_TEST_RUN, &attr);

	*retval = attr.test.retval;
	return err;
}
