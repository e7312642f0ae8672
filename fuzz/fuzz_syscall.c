// SPDX-License-Identifier: Apache-2.0
/*
 * bpf(2): a sequence of commands with arguments of which nothing is known but where pointers
 * and descriptors stand, so that some of them are good.
 */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "bpf/uapi.h"
#include "fuzz.h"
#include "skep.h"

#define FDS 16

static struct skep *skep;
static uint8_t memory[1 << 16];

static void quiet(void *arg, const char *text, size_t len) {}

/* Words of union bpf_attr that are pointers (bit per 8 bytes) or descriptors (bit per 4 bytes), by
 * command. */
static const struct {
	uint16_t pointers;
	uint32_t fds;
} shape[] = {
	[BPF_MAP_CREATE] = {0, 1u << 5},
	[BPF_MAP_LOOKUP_ELEM] = {1 << 1 | 1 << 2, 1},
	[BPF_MAP_UPDATE_ELEM] = {1 << 1 | 1 << 2, 1},
	[BPF_MAP_DELETE_ELEM] = {1 << 1, 1},
	[BPF_MAP_GET_NEXT_KEY] = {1 << 1 | 1 << 2, 1},
	[BPF_PROG_LOAD] = {1 << 1 | 1 << 2 | 1 << 4, 0},
	[BPF_OBJ_PIN] = {1, 1u << 2},
	[BPF_OBJ_GET] = {1, 0},
	[BPF_PROG_ATTACH] = {0, 3},
	[BPF_PROG_DETACH] = {0, 3},
	[BPF_PROG_TEST_RUN] = {1 << 2 | 1 << 3 | 1 << 6 | 1 << 7, 1},
	[BPF_OBJ_GET_INFO_BY_FD] = {1 << 1, 1},
	[BPF_BTF_LOAD] = {1 | 1 << 1, 0},
	[BPF_MAP_LOOKUP_AND_DELETE_ELEM] = {1 << 1 | 1 << 2, 1},
	[BPF_MAP_FREEZE] = {0, 1},
	[BPF_MAP_LOOKUP_BATCH] = {15, 1u << 9},
	[BPF_MAP_LOOKUP_AND_DELETE_BATCH] = {15, 1u << 9},
	[BPF_MAP_UPDATE_BATCH] = {15, 1u << 9},
	[BPF_MAP_DELETE_BATCH] = {15, 1u << 9},
	[BPF_LINK_CREATE] = {0, 3},
	[BPF_LINK_UPDATE] = {0, 3},
	[BPF_LINK_DETACH] = {0, 1},
	[BPF_PROG_BIND_MAP] = {0, 3},
};

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	int fds[FDS];

	if (!skep) {
		struct skep_opts opts = {.sz = sizeof(opts), .cpus = 2, .printk = quiet};

		if (skep_open(&skep, &opts))
			abort();
	}
	for (int i = 0; i < FDS; i++)
		fds[i] = -1;
	for (int n = 0; size && n < 32; n++) {
		int cmd = (int)(fuzz_take(&data, &size, 1) % 40);
		size_t len = fuzz_take(&data, &size, 1) % (sizeof(union bpf_attr) + 9);
		uint8_t bytes[sizeof(union bpf_attr) + 8] = {0};
		long r;

		for (size_t i = 0; i < len && size; i++)
			bytes[i] = (uint8_t)fuzz_take(&data, &size, 1);
		if ((size_t)cmd < sizeof(shape) / sizeof(shape[0])) {
			for (unsigned i = 0; i < 16; i++) {
				uint64_t v;

				memcpy(&v, bytes + i * 8, 8);
				if (!(shape[cmd].pointers >> i & 1) || !v)
					continue;
				/* Inside of the memory, with what follows of it. */
				v = (uintptr_t)memory + v % (sizeof(memory) / 2);
				memcpy(bytes + i * 8, &v, 8);
			}
			for (unsigned i = 0; i < 32; i++) {
				if (shape[cmd].fds >> i & 1)
					memcpy(bytes + i * 4, &fds[bytes[i * 4] % FDS], 4);
			}
		}
		/* Sizes that the machine would have to pay for. */
		if (cmd == BPF_MAP_CREATE) {
			union bpf_attr *a = (union bpf_attr *)(void *)bytes;

			a->value_size &= 0xfffff;
			a->max_entries &= 0xffff;
		}
		if (cmd == BPF_PROG_TEST_RUN)
			((union bpf_attr *)(void *)bytes)->test.repeat &= 0xff;
		for (size_t i = 0; i < 64 && size; i++)
			memory[i * 64 + n] = (uint8_t)fuzz_take(&data, &size, 1);
		r = skep_bpf(skep, cmd, (union bpf_attr *)(void *)bytes, (unsigned)len);
		if (r > 2 && r < 1 << 20) {
			int slot = n % FDS;

			if (fds[slot] >= 0)
				close(fds[slot]);
			fds[slot] = (int)r;
		}
	}
	for (int i = 0; i < FDS; i++)
		if (fds[i] >= 0)
			close(fds[i]);
	return 0;
}
