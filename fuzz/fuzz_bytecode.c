/* SPDX-License-Identifier: Apache-2.0 */
/*
 * PROG_LOAD with any instructions; what is accepted runs twice over a packet: compiled, and in
 * the checked interpreter, which stops the process at an access that the verifier should
 * have refused. The first byte chooses the program type, the rest are instructions. Map
 * descriptors 1 and 2 in them stand for an array and a hash.
 */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "bpf/uapi.h"
#include "skep.h"

#define MAX_INSNS 512

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static int make_map(struct skep *skep, uint32_t type)
{
	union bpf_attr attr;

	memset(&attr, 0, sizeof(attr));
	attr.map_type = type;
	attr.key_size = 4;
	attr.value_size = 16;
	attr.max_entries = 4;
	return (int)skep_bpf(skep, BPF_MAP_CREATE, &attr, sizeof(attr));
}

static void run(struct skep *skep, const uint8_t *data, size_t size)
{
	static const uint32_t types[] = {BPF_PROG_TYPE_SOCKET_FILTER, BPF_PROG_TYPE_XDP,
					 BPF_PROG_TYPE_SCHED_CLS, BPF_PROG_TYPE_SYSCALL};
	static struct bpf_insn insns[MAX_INSNS];
	uint32_t n = (uint32_t)((size - 1) / sizeof(insns[0]));
	uint8_t packet[64] = {0};
	union bpf_attr attr;
	int maps[2];
	long fd;

	if (n > MAX_INSNS)
		n = MAX_INSNS;
	maps[0] = make_map(skep, BPF_MAP_TYPE_ARRAY);
	maps[1] = make_map(skep, BPF_MAP_TYPE_HASH);
	memcpy(insns, data + 1, n * sizeof(insns[0]));
	for (uint32_t i = 0; i < n; i++)
		if (insns[i].code == (BPF_LD | BPF_IMM | BPF_DW) &&
		    (insns[i].src_reg == BPF_PSEUDO_MAP_FD ||
		     insns[i].src_reg == BPF_PSEUDO_MAP_VALUE))
			insns[i].imm = maps[insns[i].imm & 1];
	memset(&attr, 0, sizeof(attr));
	attr.prog_type = types[data[0] % 4];
	attr.prog_flags = attr.prog_type == BPF_PROG_TYPE_SYSCALL ? BPF_F_SLEEPABLE : 0;
	attr.insns = (uintptr_t)insns;
	attr.insn_cnt = n;
	attr.license = (uintptr_t) "GPL";
	fd = skep_bpf(skep, BPF_PROG_LOAD, &attr, sizeof(attr));
	if (fd >= 0) {
		memset(&attr, 0, sizeof(attr));
		attr.test.prog_fd = (uint32_t)fd;
		if (data[0] % 4 != 3) {
			attr.test.data_in = (uintptr_t)packet;
			attr.test.data_size_in = sizeof(packet);
		}
		skep_bpf(skep, BPF_PROG_TEST_RUN, &attr, sizeof(attr));
		close((int)fd);
	}
	close(maps[0]);
	close(maps[1]);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct skep *compiled, *checked;
	struct skep_opts opts = {.sz = sizeof(opts), .flags = SKEP_F_CHECKED};

	if (!checked && (skep_open(&compiled, NULL) || skep_open(&checked, &opts)))
		abort();
	if (size < 1 + sizeof(struct bpf_insn))
		return 0;
	run(compiled, data, size);
	run(checked, data, size);
	return 0;
}
