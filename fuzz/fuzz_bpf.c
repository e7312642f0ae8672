/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Sequences of bpf(2): each command starts from attributes that are right, which the input
 * then changes byte by byte, word by word, descriptor by descriptor, as it does with their size and
 * with what they point to. After the last one, no object may be left.
 *
 * A command: its number, the number of changes, then the changes: kind, offset, value.
 */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <linux/btf.h>

#include "bpf/pin.h"
#include "bpf/uapi.h"
#include "fuzz.h"
#include "skep.h"

#define MAX_FDS 12

/* What attributes point to: memory of its own, so that a changed address hits nothing else. */
static struct arena {
	uint8_t key[256], value[65536], out[65536];
	struct bpf_insn insns[16];
	struct {
		struct btf_header h;
		uint32_t types[16];
		char strings[32];
	} btf;
	char license[8], path[64], name[16];
} * arena;

struct input {
	const uint8_t *p, *end;
};

static uint8_t byte(struct input *in)
{
	return in->p < in->end ? *in->p++ : 0;
}

static void fill(void)
{
	static const struct bpf_insn insns[] = {{.code = BPF_ALU64 | BPF_MOV | BPF_K, .imm = 1},
						{.code = BPF_JMP | BPF_EXIT}};
	static const uint32_t types[] = {1,
					 BTF_KIND_INT << 24,
					 4,
					 BTF_INT_SIGNED << 24 | 32,
					 0,
					 BTF_KIND_FUNC_PROTO << 24,
					 1,
					 5,
					 BTF_KIND_FUNC << 24,
					 2};

	if (!arena) {
		arena = mmap((void *)0x200000000000, 64 << 20, PROT_READ | PROT_WRITE,
			     MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE | MAP_NORESERVE, -1,
			     0);
		if (arena == MAP_FAILED)
			abort();
		arena = (void *)((uintptr_t)arena + (16 << 20));
	}
	memset(arena, 0, 4096);
	memset(arena->insns, 0, sizeof(*arena) - offsetof(struct arena, insns));
	memcpy(arena->insns, insns, sizeof(insns));
	arena->btf.h = (struct btf_header){.magic = BTF_MAGIC,
					   .version = 1,
					   .hdr_len = sizeof(struct btf_header),
					   .type_len = sizeof(types),
					   .str_off = sizeof(arena->btf.types),
					   .str_len = 7};
	arena->btf.h.str_off = arena->btf.h.type_len;
	memcpy(arena->btf.types, types, sizeof(types));
	memcpy((char *)arena->btf.types + sizeof(types), "\0int\0f", 7);
	strcpy(arena->license, "GPL");
	strcpy(arena->path, "/sys/fs/bpf/a");
	strcpy(arena->name, "sys_enter");
}

static void base(int cmd, union bpf_attr *a, uint32_t fd, uint32_t fd2)
{
	memset(a, 0, sizeof(*a));
	switch (cmd) {
	case BPF_MAP_CREATE:
		a->map_type = BPF_MAP_TYPE_HASH;
		a->key_size = 4;
		a->value_size = 8;
		a->max_entries = 4;
		a->inner_map_fd = fd;
		a->btf_fd = fd2;
		break;
	case BPF_MAP_LOOKUP_BATCH:
	case BPF_MAP_LOOKUP_AND_DELETE_BATCH:
	case BPF_MAP_UPDATE_BATCH:
	case BPF_MAP_DELETE_BATCH:
		a->batch.map_fd = fd;
		a->batch.keys = (uintptr_t)arena->key;
		a->batch.values = cmd == BPF_MAP_DELETE_BATCH ? 0 : (uintptr_t)arena->value;
		a->batch.out_batch = (uintptr_t)arena->out;
		a->batch.count = 3;
		break;
	case BPF_PROG_LOAD:
		a->prog_type = BPF_PROG_TYPE_XDP;
		a->insns = (uintptr_t)arena->insns;
		a->insn_cnt = 2;
		a->license = (uintptr_t)arena->license;
		break;
	case BPF_OBJ_PIN:
	case BPF_OBJ_GET:
		a->pathname = (uintptr_t)arena->path;
		a->bpf_fd = cmd == BPF_OBJ_PIN ? fd : 0;
		break;
	case BPF_PROG_TEST_RUN:
		a->test.prog_fd = fd;
		a->test.data_in = (uintptr_t)arena->value;
		a->test.data_size_in = 64;
		a->test.data_out = (uintptr_t)arena->out;
		a->test.data_size_out = 64;
		break;
	case BPF_OBJ_GET_INFO_BY_FD:
		a->info.bpf_fd = fd;
		a->info.info = (uintptr_t)arena->out;
		a->info.info_len = 256;
		break;
	case BPF_RAW_TRACEPOINT_OPEN:
		a->raw_tracepoint.name = (uintptr_t)arena->name;
		a->raw_tracepoint.prog_fd = fd;
		break;
	case BPF_BTF_LOAD:
		a->btf = (uintptr_t)&arena->btf;
		a->btf_size = (uint32_t)sizeof(arena->btf.h) + 40 + 7;
		break;
	case BPF_LINK_CREATE:
		a->link_create.prog_fd = fd;
		a->link_create.attach_type = BPF_XDP;
		break;
	case BPF_LINK_UPDATE:
		a->link_update.link_fd = fd;
		a->link_update.new_prog_fd = fd2;
		break;
	case BPF_PROG_BIND_MAP:
		a->prog_bind_map.prog_fd = fd;
		a->prog_bind_map.map_fd = fd2;
		break;
	case BPF_PROG_ATTACH:
	case BPF_PROG_DETACH:
		a->attach_bpf_fd = fd;
		break;
	default: /* elements of maps, and commands on one descriptor */
		a->map_fd = fd;
		a->key = (uintptr_t)arena->key;
		a->value = (uintptr_t)arena->value;
		if (cmd == BPF_MAP_DELETE_ELEM || cmd > BPF_MAP_LOOKUP_AND_DELETE_ELEM ||
		    (cmd > BPF_MAP_GET_NEXT_KEY && cmd < BPF_MAP_LOOKUP_AND_DELETE_ELEM))
			a->value = 0;
		if (!a->value && cmd != BPF_MAP_DELETE_ELEM)
			a->key = 0;
	}
}

/* With bytes behind, for sizes that are too large. */
struct command {
	union bpf_attr attr;
	uint8_t behind[8];
	unsigned size;
};

static void change(struct input *in, struct command *c, const int *fds, unsigned nfds)
{
	static const uint32_t words[] = {
		0, 1, 2, 4, 7, 8, 16, 64, 4096, 0x8000, 0xffff, 0x7fffffff, 0x80000000, UINT32_MAX};
	uint8_t kind = byte(in), where = byte(in), v = byte(in);
	uint8_t *at = (uint8_t *)c + where % offsetof(struct command, size);
	uint32_t *word = (uint32_t *)((uintptr_t)at & ~(uintptr_t)3);

	switch (kind % 6) {
	case 0:
		*at = v;
		break;
	case 1:
		*word = words[v % (sizeof(words) / sizeof(*words))];
		break;
	case 2:
		*word = nfds ? (uint32_t)fds[v % nfds] : v;
		break;
	case 3: {
		uint64_t ptr = v & 1 ? (uintptr_t)arena + v * 256u : v & 2 ? 0 : 4096;
		memcpy((uint8_t *)c + (size_t)((uint8_t *)word - (uint8_t *)c) / 8 * 8, &ptr, 8);
		break;
	}
	case 4:
		c->size = where % (unsigned)(offsetof(struct command, size) + 1);
		break;
	default: /* keys, values; programs, BTF, names */
		if (kind & 128)
			arena->value[where] = v;
		else
			((uint8_t *)arena->insns)[where] = v;
	}
}

/* Sizes that memory has, runs that end. */
static void clamp(int cmd, union bpf_attr *a)
{
	if (cmd == BPF_MAP_CREATE) {
		a->key_size &= 0xfff;
		a->value_size &= 0xfff;
		a->max_entries &= 0xfff;
	} else if (cmd == BPF_PROG_TEST_RUN) {
		a->test.repeat &= 15;
	} else if (cmd >= BPF_MAP_LOOKUP_BATCH && cmd <= BPF_MAP_DELETE_BATCH) {
		a->batch.count &= 0xfff;
	}
}

static bool gives_fd(int cmd)
{
	return cmd == BPF_MAP_CREATE || cmd == BPF_PROG_LOAD || cmd == BPF_OBJ_GET ||
	       cmd == BPF_PROG_GET_FD_BY_ID || cmd == BPF_MAP_GET_FD_BY_ID ||
	       cmd == BPF_BTF_GET_FD_BY_ID || cmd == BPF_LINK_GET_FD_BY_ID ||
	       cmd == BPF_RAW_TRACEPOINT_OPEN || cmd == BPF_BTF_LOAD || cmd == BPF_LINK_CREATE ||
	       cmd == BPF_ENABLE_STATS;
}

static void none_left(struct skep *skep)
{
	static const int next[] = {BPF_PROG_GET_NEXT_ID, BPF_MAP_GET_NEXT_ID, BPF_BTF_GET_NEXT_ID,
				   BPF_LINK_GET_NEXT_ID};

	for (int i = 0; i < 4; i++) {
		union bpf_attr attr;
		memset(&attr, 0, sizeof(attr));
		if (!skep_bpf(skep, next[i], &attr, sizeof(attr)))
			abort();
	}
}

static void quiet(void *arg, const char *text, size_t len) {}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const struct skep_opts opts = {.sz = sizeof(opts), .cpus = 2, .printk = quiet};
	struct input in = {data, data + size};
	static struct skep *skep;
	static unsigned runs;
	int fds[MAX_FDS];
	unsigned nfds = 0;

	fill();
	/* A new instance now and then: making one costs more than a run. */
	if (!(runs++ % 256)) {
		skep_close(skep);
		if (skep_open(&skep, &opts))
			abort();
	}
	for (int n = 0; in.p < in.end && n < 64; n++) {
		int cmd = byte(&in) % (BPF_PROG_STREAM_READ_BY_FD + 2);
		uint32_t fd = nfds ? (uint32_t)fds[nfds - 1] : 0;
		uint32_t fd2 = nfds > 1 ? (uint32_t)fds[nfds - 2] : 0;
		struct command c = {.size = sizeof(c.attr)};
		base(cmd, &c.attr, fd, fd2);
		for (int k = byte(&in) % 8; k; k--)
			change(&in, &c, fds, nfds);
		clamp(cmd, &c.attr);
		long r = skep_bpf(skep, cmd, &c.attr, c.size);
		if (r < 0 || !gives_fd(cmd))
			continue;
		if (nfds == MAX_FDS)
			close(fds[--nfds]);
		fds[nfds++] = (int)r;
	}
	while (nfds)
		close(fds[--nfds]);
	/* Names are as long as the input makes them: all begin there. */
	skep_unpin(skep, "/sys/fs/bpf/a");
	none_left(skep);
	return 0;
}
