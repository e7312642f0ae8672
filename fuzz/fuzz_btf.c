/* SPDX-License-Identifier: Apache-2.0 */
/* BTF_LOAD with any bytes, and the descriptions that come back. */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "bpf/uapi.h"
#include "skep.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static char log[65536], back[65536];
	struct bpf_btf_info info = {.btf = (uintptr_t)back, .btf_size = sizeof(back)};
	union bpf_attr attr;
	static struct skep *skep;
	long fd;

	if (!skep && skep_open(&skep, NULL))
		abort();
	memset(&attr, 0, sizeof(attr));
	attr.btf = (uintptr_t)data;
	attr.btf_size = (uint32_t)size;
	attr.btf_log_buf = (uintptr_t)log;
	attr.btf_log_size = sizeof(log);
	attr.btf_log_level = 1;
	fd = skep_bpf(skep, BPF_BTF_LOAD, &attr, sizeof(attr));
	if (fd >= 0) {
		memset(&attr, 0, sizeof(attr));
		attr.info.bpf_fd = (uint32_t)fd;
		attr.info.info_len = sizeof(info);
		attr.info.info = (uintptr_t)&info;
		skep_bpf(skep, BPF_OBJ_GET_INFO_BY_FD, &attr, sizeof(attr));
		close((int)fd);
	}
	return 0;
}
