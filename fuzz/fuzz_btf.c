/* SPDX-License-Identifier: Apache-2.0 */
/* BTF_LOAD with any bytes; the descriptions that come back; values printed through every type. */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "bpf/uapi.h"
#include "btf/btf.h"
#include "map/map.h"
#include "skep.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void nowhere(void *arg, const char *text, size_t len) {}

static void print_all(const uint8_t *data, size_t size)
{
	struct skep_btf_sink sink = {nowhere, NULL};
	struct skep_fields fields;
	struct skep_btf *btf;

	if (skep_btf_parse(data, (uint32_t)size, NULL, &btf))
		return;
	for (uint32_t id = 0; id < btf->ntypes; id++) {
		int64_t need = skep_btf_size(btf, id);
		skep_btf_fields(btf, NULL, id, &fields);
		if (need < 0 || need > 4096)
			continue;
		void *value = calloc(1, (size_t)need + !need);
		memcpy(value, data, size < (size_t)need ? size : (size_t)need);
		skep_btf_print(btf, id, value, (size_t)need, id % 4, &sink);
		free(value);
	}
	skep_btf_put(btf);
}

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
		print_all(data, size);
	}
	return 0;
}
