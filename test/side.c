/* SPDX-License-Identifier: Apache-2.0 */
#include "prog/type.h"
#include "side.h"

#include <fcntl.h>
#include <linux/btf.h>
#include <unistd.h>

#include "btf/btf.h"
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

static long load(struct side *s, union bpf_attr *attr, int *out)
{
	long fd;

	attr->log_level = 1;
	attr->log_buf = (uintptr_t)s->log;
	attr->log_size = SIDE_LOG;
	if (attr->prog_type == BPF_PROG_TYPE_SYSCALL)
		attr->prog_flags = BPF_F_SLEEPABLE;
	s->log[0] = 0;
	fd = side_bpf(s, BPF_PROG_LOAD, attr);
	if (fd < 0)
		return fd;
	if (out)
		*out = (int)fd;
	else
		close((int)fd);
	return 0;
}

/* A function of the running kernel, by its BTF. */
static uint32_t kernel_func(const char *name)
{
	static struct skep_btf *btf;
	static uint8_t raw[16 << 20];
	int fd = btf ? -1 : open("/sys/kernel/btf/vmlinux", O_RDONLY | O_CLOEXEC);
	size_t len = 0;
	ssize_t n;

	while (fd >= 0 && (n = read(fd, raw + len, sizeof(raw) - len)) > 0)
		len += (size_t)n;
	if (fd >= 0)
		close(fd);
	if (!btf && skep_btf_parse(raw, (uint32_t)len, NULL, &btf))
		return 0;
	int64_t id = skep_btf_find(btf, name, BTF_KIND_FUNC);
	return id > 0 ? (uint32_t)id : 0;
}

uint32_t side_target(struct side *s, uint32_t type)
{
	static const char func[] = "bpf_iter_bpf_map";
	const struct skep_btf *btf;

	if (type != BPF_PROG_TYPE_TRACING)
		return 0;
	if (!s->skep)
		return kernel_func(func);
	if (skep_btf_presented(s->skep, &btf))
		return 0;
	int64_t id = skep_btf_find(btf, func, BTF_KIND_FUNC);
	return id > 0 ? (uint32_t)id : 0;
}

/* The first attach type that fits. */
static uint32_t side_attach(uint32_t type)
{
	uint32_t attach = type == BPF_PROG_TYPE_TRACING ? BPF_TRACE_ITER : 0;

	while (type < skep_nprog_types && skep_prog_types[type].name && attach < 63 &&
	       skep_prog_types[type].check_attach(attach))
		attach++;
	return attach;
}

long side_load(struct side *s, uint32_t type, const struct bpf_insn *insns, uint32_t n,
	       const char *license, int *fd)
{
	union bpf_attr attr = {.prog_type = type,
			       .insns = (uintptr_t)insns,
			       .insn_cnt = n,
			       .license = (uintptr_t)license,
			       .expected_attach_type = side_attach(type),
			       .attach_btf_id = side_target(s, type)};

	return load(s, &attr, fd);
}

/* int; int (*)(void); two static functions of that type. */
static const struct {
	struct btf_header hdr;
	struct btf_type int_type;
	uint32_t int_bits;
	struct btf_type proto, main_fn, callback;
	char strings[16];
} two_functions = {
	.hdr = {.magic = BTF_MAGIC,
		.version = 1,
		.hdr_len = sizeof(struct btf_header),
		.type_len = 4 * sizeof(struct btf_type) + 4,
		.str_off = 4 * sizeof(struct btf_type) + 4,
		.str_len = 13},
	.int_type = {.name_off = 1, .info = BTF_KIND_INT << 24, .size = 4},
	.int_bits = BTF_INT_SIGNED << 24 | 32,
	.proto = {.info = BTF_KIND_FUNC_PROTO << 24, .type = 1},
	.main_fn = {.name_off = 5, .info = BTF_KIND_FUNC << 24, .type = 2},
	.callback = {.name_off = 10, .info = BTF_KIND_FUNC << 24, .type = 2},
	.strings = "\0int\0main\0cb",
};

long side_load_callback(struct side *s, uint32_t type, const struct bpf_insn *insns, uint32_t n,
			uint32_t start, int *fd)
{
	const struct bpf_func_info info[] = {{0, 3}, {start, 4}};
	union bpf_attr attr = {.btf = (uintptr_t)&two_functions,
			       .btf_size = sizeof(struct btf_header) + two_functions.hdr.type_len +
					   two_functions.hdr.str_len};
	long btf = side_bpf(s, BPF_BTF_LOAD, &attr), err;

	if (btf < 0)
		return btf;
	attr = (union bpf_attr){.prog_type = type,
				.insns = (uintptr_t)insns,
				.insn_cnt = n,
				.license = (uintptr_t) "GPL",
				.prog_btf_fd = (uint32_t)btf,
				.func_info = (uintptr_t)info,
				.func_info_cnt = 2,
				.func_info_rec_size = sizeof(info[0])};
	err = load(s, &attr, fd);
	close((int)btf);
	return err;
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

long side_run_packet(struct side *s, int fd, void *data, uint32_t size, uint32_t *retval)
{
	union bpf_attr attr = {
		.test.prog_fd = (uint32_t)fd,
		.test.data_in = (uintptr_t)data,
		.test.data_out = (uintptr_t)data,
		.test.data_size_in = size,
		.test.data_size_out = size,
	};
	long err = side_bpf(s, BPF_PROG_TEST_RUN, &attr);

	*retval = attr.test.retval;
	return err;
}
