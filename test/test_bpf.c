/* SPDX-License-Identifier: Apache-2.0 */
/*
 * bpf(2) with bad input, issued to an instance and to the running kernel: sizes, unused
 * fields, descriptors, flags, addresses, for every command; the same result or errno each time.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <fcntl.h>
#include <sys/mman.h>

#include <linux/btf.h>

#include "kernel.h"
#include "skep.h"

enum { KERNEL, SKEP, WORLDS };
static const char *const world_names[] = {"kernel", "skep"};

/* What each world has, at the same places. */
struct world {
	int hash, array, percpu, rdonly, wronly, frozen, queue, locked, outer, prog, xdp, btf;
};
static struct world worlds[WORLDS];
static struct skep *skep;
static int null_fd;
static unsigned compared;
static uint8_t *no_access, *read_only; /* pages */
static const char *what = "";

/* Answers go to memory of their own, far from everything: addresses with changed bits must not
 * hit anything else. */
static struct arena {
	uint32_t key[64], count, pad[31];
	uint64_t value[64], data[64];
	char text[4096];
	union {
		struct bpf_prog_info prog;
		struct bpf_map_info map;
		struct bpf_btf_info btf;
		uint8_t bytes[512];
	} info;
} * arena;

static long call(int w, int cmd, void *attr, unsigned size)
{
	return w == KERNEL ? kernel_bpf(cmd, attr, size) : skep_bpf(skep, cmd, attr, size);
}

#define CALL(w, cmd, ...)                                                                          \
	({                                                                                         \
		union bpf_attr attr_;                                                              \
		memset(&attr_, 0, sizeof(attr_));                                                  \
		__VA_ARGS__;                                                                       \
		call(w, cmd, &attr_, sizeof(attr_));                                               \
	})

static int create(int w, uint32_t type, uint32_t key, uint32_t value, uint32_t n, uint32_t flags)
{
	long fd = CALL(w, BPF_MAP_CREATE, attr_.map_type = type, attr_.key_size = key,
		       attr_.value_size = value, attr_.max_entries = n, attr_.map_flags = flags);
	if (fd < 0)
		fail_msg("%s: map of type %u: %ld", world_names[w], type, fd);
	return (int)fd;
}

static const struct bpf_insn ret0[] = {{.code = BPF_ALU64 | BPF_MOV | BPF_K},
				       {.code = BPF_JMP | BPF_EXIT}};

static int load(int w, uint32_t type)
{
	long fd = CALL(w, BPF_PROG_LOAD, attr_.prog_type = type, attr_.insn_cnt = 2,
		       attr_.insns = (uintptr_t)ret0, attr_.license = (uintptr_t) "GPL");
	if (fd < 0)
		fail_msg("%s: program of type %u: %ld", world_names[w], type, fd);
	return (int)fd;
}

static struct {
	struct btf_header h;
	uint32_t t[4 + 3 + 3 + 4 + 3 + 6 + 3];
	char s[48];
} btf_blob = {
	.h = {.magic = BTF_MAGIC, .version = 1, .hdr_len = sizeof(struct btf_header)},
	.t = {
		/* 1 */ 1,  BTF_KIND_INT << 24,        4, 32,
		/* 2 */ 0,  BTF_KIND_FUNC_PROTO << 24, 1,
		/* 3 */ 5,  BTF_KIND_FUNC << 24,       2,
		/* 4 */ 1,  BTF_KIND_INT << 24,        8, 64,
		/* 5 */ 7,  BTF_KIND_STRUCT << 24 | 1, 4, 1,  1, 0,
		/* 6 */ 21, BTF_KIND_STRUCT << 24 | 1, 8, 23, 5, 0,
	},
	.s = "\0int\0f\0bpf_spin_lock\0v\0lock",
};

static int load_btf(int w)
{
	btf_blob.h.type_len = btf_blob.h.str_off = 4 * (4 + 3 + 3 + 4 + 6 + 6);
	btf_blob.h.str_len = 28;
	uint8_t raw[512];
	memcpy(raw, &btf_blob.h, sizeof(btf_blob.h));
	memcpy(raw + sizeof(btf_blob.h), btf_blob.t, btf_blob.h.type_len);
	memcpy(raw + sizeof(btf_blob.h) + btf_blob.h.type_len, btf_blob.s, btf_blob.h.str_len);
	long fd = CALL(w, BPF_BTF_LOAD, attr_.btf = (uintptr_t)raw,
		       attr_.btf_size = (uint32_t)(sizeof(btf_blob.h) + btf_blob.h.type_len +
						   btf_blob.h.str_len));
	if (fd < 0)
		fail_msg("%s: BTF: %ld", world_names[w], fd);
	return (int)fd;
}

static int make(void **state)
{
	if (!kernel_there())
		return 0;
	assert_int_equal(skep_open(&skep, NULL), 0);
	null_fd = open("/dev/null", O_RDWR | O_CLOEXEC);
	no_access =
		mmap(NULL, 3 * 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	read_only = no_access + 2 * 4096;
	no_access += 4096;
	mprotect(no_access, 4096, PROT_NONE);
	mprotect(read_only, 4096, PROT_READ);
	arena = mmap((void *)0x200000000000, 32 << 20, PROT_READ | PROT_WRITE,
		     MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE | MAP_NORESERVE, -1, 0);
	assert_ptr_equal(arena, (void *)0x200000000000);
	arena = (void *)((uintptr_t)arena + 0x800000);
	for (int w = 0; w < WORLDS; w++) {
		struct world *o = &worlds[w];
		o->hash = create(w, BPF_MAP_TYPE_HASH, 4, 8, 16, 0);
		o->array = create(w, BPF_MAP_TYPE_ARRAY, 4, 8, 4, 0);
		o->percpu = create(w, BPF_MAP_TYPE_PERCPU_ARRAY, 4, 8, 4, 0);
		o->rdonly = create(w, BPF_MAP_TYPE_HASH, 4, 8, 4, BPF_F_RDONLY);
		o->wronly = create(w, BPF_MAP_TYPE_HASH, 4, 8, 4, BPF_F_WRONLY);
		o->frozen = create(w, BPF_MAP_TYPE_ARRAY, 4, 8, 4, 0);
		assert_int_equal(CALL(w, BPF_MAP_FREEZE, attr_.map_fd = (uint32_t)o->frozen), 0);
		o->queue = create(w, BPF_MAP_TYPE_QUEUE, 0, 8, 4, 0);
		o->prog = load(w, BPF_PROG_TYPE_SOCKET_FILTER);
		o->xdp = load(w, BPF_PROG_TYPE_XDP);
		o->btf = load_btf(w);
		long fd = CALL(w, BPF_MAP_CREATE, attr_.map_type = BPF_MAP_TYPE_ARRAY,
			       attr_.key_size = 4, attr_.value_size = 8, attr_.max_entries = 2,
			       attr_.btf_fd = (uint32_t)o->btf, attr_.btf_key_type_id = 1,
			       attr_.btf_value_type_id = 6);
		if (fd < 0)
			fail_msg("%s: map with a lock: %ld", world_names[w], fd);
		o->locked = (int)fd;
		fd = CALL(w, BPF_MAP_CREATE, attr_.map_type = BPF_MAP_TYPE_ARRAY_OF_MAPS,
			  attr_.key_size = 4, attr_.value_size = 4, attr_.max_entries = 2,
			  attr_.inner_map_fd = (uint32_t)o->array);
		if (fd < 0)
			fail_msg("%s: map of maps: %ld", world_names[w], fd);
		o->outer = (int)fd;
		/* The same low byte for the same object in both worlds, and no others around. */
		for (size_t i = 0; i < sizeof(*o) / sizeof(int); i++) {
			int *at = (int *)o + i;
			int to = dup2(*at, (w ? 512 : 256) + (int)i);
			assert_true(to >= 0);
			close(*at);
			*at = to;
		}
	}
	return 0;
}

static int unmake(void **state)
{
	for (int w = 0; skep && w < WORLDS; w++)
		for (size_t i = 0; i < sizeof(struct world) / sizeof(int); i++)
			close(((int *)&worlds[w])[i]);
	skep_close(skep);
	return 0;
}

#define NEED_KERNEL                                                                                \
	if (!skep) {                                                                               \
		print_message("skipped: bpf(2) is not permitted here\n");                          \
		skip();                                                                            \
	}

/* ---- One call of each command that is right, as a start ---- */

static void base(int cmd, int w, union bpf_attr *a)
{
	const struct world *o = &worlds[w];

	memset(a, 0, sizeof(*a));
	memset(arena->key, 0, sizeof(arena->key));
	memset(&arena->info, 0, sizeof(arena->info));
	switch (cmd) {
	case BPF_MAP_CREATE:
		a->map_type = BPF_MAP_TYPE_HASH;
		a->key_size = 4;
		a->value_size = 8;
		a->max_entries = 4;
		break;
	case BPF_MAP_LOOKUP_ELEM:
	case BPF_MAP_UPDATE_ELEM:
	case BPF_MAP_DELETE_ELEM:
	case BPF_MAP_GET_NEXT_KEY:
	case BPF_MAP_LOOKUP_AND_DELETE_ELEM:
		a->map_fd = (uint32_t)o->hash;
		a->key = (uintptr_t)arena->key;
		if (cmd != BPF_MAP_DELETE_ELEM)
			a->value = (uintptr_t)arena->value;
		break;
	case BPF_PROG_LOAD:
		a->prog_type = BPF_PROG_TYPE_SOCKET_FILTER;
		a->insns = (uintptr_t)ret0;
		a->insn_cnt = 2;
		a->license = (uintptr_t) "GPL";
		break;
	case BPF_OBJ_PIN:
		a->pathname = (uintptr_t) "/tmp/skep-no-such";
		a->bpf_fd = (uint32_t)o->hash;
		break;
	case BPF_OBJ_GET:
		a->pathname = (uintptr_t) "/tmp/skep-no-such";
		break;
	case BPF_PROG_ATTACH:
	case BPF_PROG_DETACH:
		a->attach_bpf_fd = (uint32_t)o->prog;
		a->target_fd = 999;
		a->attach_type = BPF_CGROUP_INET_INGRESS;
		break;
	case BPF_PROG_TEST_RUN:
		a->test.prog_fd = (uint32_t)o->prog;
		a->test.data_in = (uintptr_t)arena->data;
		a->test.data_size_in = 64;
		break;
	case BPF_PROG_GET_NEXT_ID:
	case BPF_MAP_GET_NEXT_ID:
	case BPF_BTF_GET_NEXT_ID:
	case BPF_LINK_GET_NEXT_ID:
	case BPF_PROG_GET_FD_BY_ID:
	case BPF_MAP_GET_FD_BY_ID:
	case BPF_BTF_GET_FD_BY_ID:
	case BPF_LINK_GET_FD_BY_ID:
		a->start_id = 0x7ffffff0;
		break;
	case BPF_OBJ_GET_INFO_BY_FD:
		a->info.bpf_fd = (uint32_t)o->hash;
		a->info.info = (uintptr_t)&arena->info;
		a->info.info_len = sizeof(arena->info.map);
		break;
	case BPF_PROG_QUERY:
		a->query.target_fd = 999;
		a->query.attach_type = BPF_CGROUP_INET_INGRESS;
		break;
	case BPF_RAW_TRACEPOINT_OPEN:
		a->raw_tracepoint.prog_fd = (uint32_t)o->prog;
		a->raw_tracepoint.name = (uintptr_t) "no_such_point";
		break;
	case BPF_BTF_LOAD:
		a->btf = (uintptr_t)&btf_blob;
		a->btf_size = sizeof(btf_blob.h);
		break;
	case BPF_TASK_FD_QUERY:
		a->task_fd_query.pid = (uint32_t)getpid();
		a->task_fd_query.fd = (uint32_t)null_fd;
		break;
	case BPF_MAP_FREEZE:
		a->map_fd = (uint32_t)o->frozen;
		break;
	case BPF_MAP_LOOKUP_BATCH:
	case BPF_MAP_LOOKUP_AND_DELETE_BATCH:
	case BPF_MAP_UPDATE_BATCH:
	case BPF_MAP_DELETE_BATCH:
		a->batch.map_fd = (uint32_t)o->array;
		a->batch.keys = (uintptr_t)arena->key;
		if (cmd != BPF_MAP_DELETE_BATCH)
			a->batch.values = (uintptr_t)arena->value;
		a->batch.out_batch = cmd == BPF_MAP_UPDATE_BATCH || cmd == BPF_MAP_DELETE_BATCH
					     ? 0
					     : (uintptr_t)&arena->count;
		a->batch.count = 2;
		break;
	case BPF_LINK_CREATE:
		a->link_create.prog_fd = (uint32_t)o->prog;
		a->link_create.target_fd = 999;
		a->link_create.attach_type = BPF_XDP;
		break;
	case BPF_LINK_UPDATE:
		a->link_update.link_fd = (uint32_t)o->prog;
		a->link_update.new_prog_fd = (uint32_t)o->prog;
		break;
	case BPF_LINK_DETACH:
		a->link_detach.link_fd = (uint32_t)o->prog;
		break;
	case BPF_ITER_CREATE:
		a->iter_create.link_fd = (uint32_t)o->prog;
		break;
	case BPF_PROG_BIND_MAP:
		a->prog_bind_map.prog_fd = (uint32_t)o->prog;
		a->prog_bind_map.map_fd = (uint32_t)o->hash;
		break;
	case BPF_TOKEN_CREATE:
		a->token_create.bpffs_fd = (uint32_t)null_fd;
		break;
	case BPF_PROG_STREAM_READ_BY_FD:
		a->prog_stream_read.prog_fd = (uint32_t)o->prog;
		a->prog_stream_read.stream_id = BPF_STDOUT;
		a->prog_stream_read.stream_buf = (uintptr_t)arena->text;
		a->prog_stream_read.stream_buf_len = 16;
		break;
	}
}

/* ---- Comparing ---- */

/* Commands that answer a descriptor on success. */
static bool gives_fd(int cmd)
{
	switch (cmd) {
	case BPF_MAP_CREATE:
	case BPF_PROG_LOAD:
	case BPF_OBJ_GET:
	case BPF_PROG_GET_FD_BY_ID:
	case BPF_MAP_GET_FD_BY_ID:
	case BPF_BTF_GET_FD_BY_ID:
	case BPF_LINK_GET_FD_BY_ID:
	case BPF_RAW_TRACEPOINT_OPEN:
	case BPF_BTF_LOAD:
	case BPF_LINK_CREATE:
	case BPF_ENABLE_STATS:
	case BPF_ITER_CREATE:
	case BPF_TOKEN_CREATE:
		return true;
	default:
		return false;
	}
}

static void same(int cmd, long k, long s, const char *how, long at, long v)
{
	compared++;
	if (gives_fd(cmd)) {
		if (k >= 0)
			close((int)k), k = 0;
		if (s >= 0)
			close((int)s), s = 0;
	}
	if (k == s)
		return;
	if (getenv("SKEP_TEST_KEEP_GOING"))
		print_message("%s: command %d, %s %ld = %#lx: kernel %ld, skep %ld\n", what, cmd,
			      how, at, v, k, s);
	else
		fail_msg("%s: command %d, %s %ld = %#lx: kernel %ld, skep %ld", what, cmd, how, at,
			 v, k, s);
}

#define LAST BPF_PROG_STREAM_READ_BY_FD

static void test_sizes(void **state)
{
	static struct {
		union bpf_attr a;
		uint8_t more[8192];
	} big;

	NEED_KERNEL
	what = "size";
	for (int cmd = 0; cmd <= LAST + 3; cmd++) {
		/* Parts of an id (of a process, too) would be one that may be there. */
		bool ids = cmd >= BPF_PROG_GET_NEXT_ID && cmd <= BPF_MAP_GET_FD_BY_ID;
		ids |= cmd == BPF_BTF_GET_FD_BY_ID || cmd == BPF_BTF_GET_NEXT_ID;
		ids |= cmd == BPF_TASK_FD_QUERY;
		for (unsigned size = ids ? 4 : 0; size < 4200; size += size < 250 ? 1 : 101) {
			long r[WORLDS];
			for (int w = 0; w < WORLDS; w++) {
				memset(&big, 0, sizeof(big));
				base(cmd, w, &big.a);
				r[w] = call(w, cmd, &big.a, size);
			}
			same(cmd, r[KERNEL], r[SKEP], "size", size, 0);
		}
		for (unsigned at = 0; at < 4096; at += 301) {
			long r[WORLDS];
			for (int w = 0; w < WORLDS; w++) {
				memset(&big, 0, sizeof(big));
				base(cmd, w, &big.a);
				big.more[at] = 1;
				r[w] = call(w, cmd, &big.a, sizeof(big.a) + 3000);
			}
			same(cmd, r[KERNEL], r[SKEP], "junk behind at", at, 0);
		}
	}
	for (int cmd = -2; cmd < 60; cmd += 1) {
		union bpf_attr *a = (void *)no_access;
		same(cmd, call(KERNEL, cmd, a, 40), call(SKEP, cmd, a, 40), "unreadable", 0, 0);
		a = (void *)(no_access - 40);
		memset(a, 0, 40);
		same(cmd, call(KERNEL, cmd, a, 80), call(SKEP, cmd, a, 80), "half readable", 0, 0);
		same(cmd, call(KERNEL, cmd, a, 400), call(SKEP, cmd, a, 400), "half readable", 0,
		     0);
		same(cmd, call(KERNEL, cmd, a, 5000), call(SKEP, cmd, a, 5000), "half", 0, 0);
	}
	same(INT32_MAX, call(KERNEL, INT32_MAX, &big, 8), call(SKEP, INT32_MAX, &big, 8), "cmd", 0,
	     0);
	print_message("%u calls compared\n", compared);
}

/* Where descriptors are. */
static const struct {
	int cmd;
	size_t at;
} fd_places[] = {
	{BPF_MAP_LOOKUP_ELEM, offsetof(union bpf_attr, map_fd)},
	{BPF_MAP_UPDATE_ELEM, offsetof(union bpf_attr, map_fd)},
	{BPF_MAP_DELETE_ELEM, offsetof(union bpf_attr, map_fd)},
	{BPF_MAP_GET_NEXT_KEY, offsetof(union bpf_attr, map_fd)},
	{BPF_MAP_LOOKUP_AND_DELETE_ELEM, offsetof(union bpf_attr, map_fd)},
	{BPF_MAP_LOOKUP_BATCH, offsetof(union bpf_attr, batch.map_fd)},
	{BPF_MAP_UPDATE_BATCH, offsetof(union bpf_attr, batch.map_fd)},
	{BPF_MAP_DELETE_BATCH, offsetof(union bpf_attr, batch.map_fd)},
	{BPF_MAP_LOOKUP_AND_DELETE_BATCH, offsetof(union bpf_attr, batch.map_fd)},
	{BPF_MAP_CREATE, offsetof(union bpf_attr, inner_map_fd)},
	{BPF_MAP_CREATE, offsetof(union bpf_attr, btf_fd)},
	{BPF_PROG_LOAD, offsetof(union bpf_attr, prog_btf_fd)},
	{BPF_PROG_LOAD, offsetof(union bpf_attr, attach_prog_fd)},
	{BPF_OBJ_PIN, offsetof(union bpf_attr, bpf_fd)},
	{BPF_OBJ_GET, offsetof(union bpf_attr, bpf_fd)},
	{BPF_PROG_ATTACH, offsetof(union bpf_attr, attach_bpf_fd)},
	{BPF_PROG_ATTACH, offsetof(union bpf_attr, target_fd)},
	{BPF_PROG_DETACH, offsetof(union bpf_attr, attach_bpf_fd)},
	{BPF_PROG_TEST_RUN, offsetof(union bpf_attr, test.prog_fd)},
	{BPF_OBJ_GET_INFO_BY_FD, offsetof(union bpf_attr, info.bpf_fd)},
	{BPF_PROG_QUERY, offsetof(union bpf_attr, query.target_fd)},
	{BPF_RAW_TRACEPOINT_OPEN, offsetof(union bpf_attr, raw_tracepoint.prog_fd)},
	{BPF_TASK_FD_QUERY, offsetof(union bpf_attr, task_fd_query.fd)},
	{BPF_LINK_CREATE, offsetof(union bpf_attr, link_create.prog_fd)},
	{BPF_LINK_UPDATE, offsetof(union bpf_attr, link_update.link_fd)},
	{BPF_LINK_DETACH, offsetof(union bpf_attr, link_detach.link_fd)},
	{BPF_ITER_CREATE, offsetof(union bpf_attr, iter_create.link_fd)},
	{BPF_PROG_BIND_MAP, offsetof(union bpf_attr, prog_bind_map.prog_fd)},
	{BPF_PROG_BIND_MAP, offsetof(union bpf_attr, prog_bind_map.map_fd)},
	{BPF_MAP_FREEZE, offsetof(union bpf_attr, map_fd)},
	{BPF_TOKEN_CREATE, offsetof(union bpf_attr, token_create.bpffs_fd)},
	{BPF_PROG_STREAM_READ_BY_FD, offsetof(union bpf_attr, prog_stream_read.prog_fd)},
};

/* Sizes of maps stay small: the kernel would really make them. */
static bool skip_byte(int cmd, unsigned at)
{
	/* High bytes of descriptors tell the worlds apart; interfaces are the machine's. */
	for (size_t p = 0; p < sizeof(fd_places) / sizeof(*fd_places); p++)
		if (fd_places[p].cmd == cmd && at > fd_places[p].at && at < fd_places[p].at + 4)
			return true;
	if (cmd == BPF_MAP_CREATE && at / 4 == offsetof(union bpf_attr, map_ifindex) / 4)
		return true;
	if (cmd == BPF_MAP_CREATE)
		return at / 4 >= 1 && at / 4 <= 3 && at % 4 >= 2;
	if (cmd == BPF_TASK_FD_QUERY && at < 4)
		return true; /* another process */
	if ((cmd == BPF_OBJ_PIN || cmd == BPF_OBJ_GET) && at < 8)
		return true; /* a path of whatever lies there: see test_pointers */
	if (cmd == BPF_PROG_LOAD && !at)
		return true; /* the type: see test_fields */
	return cmd == BPF_PROG_TEST_RUN && at >= offsetof(union bpf_attr, test.repeat) &&
	       at < offsetof(union bpf_attr, test.repeat) + 4;
}

static void test_bytes(void **state)
{
	static const uint8_t values[] = {1, 2, 4, 8, 0x10, 0x20, 0x40, 0x80, 0xff};
	unsigned before = compared;

	NEED_KERNEL
	what = "byte";
	for (int cmd = 0; cmd <= LAST; cmd++) {
		for (unsigned at = 0; at < sizeof(union bpf_attr); at++) {
			if (skip_byte(cmd, at))
				continue;
			for (unsigned v = 0; v < sizeof(values); v++) {
				long r[WORLDS];
				for (int w = 0; w < WORLDS; w++) {
					union bpf_attr a;
					base(cmd, w, &a);
					((uint8_t *)&a)[at] ^= values[v];
					r[w] = call(w, cmd, &a, sizeof(a));
				}
				same(cmd, r[KERNEL], r[SKEP], "byte at", at, values[v]);
			}
		}
	}
	print_message("%u calls compared\n", compared - before);
}

/* Every kind of descriptor at every place of a descriptor. */
static void test_fds(void **state)
{
	unsigned before = compared;

	NEED_KERNEL
	what = "fd";
	for (size_t p = 0; p < sizeof(fd_places) / sizeof(*fd_places); p++) {
		int cmd = fd_places[p].cmd;
		if (cmd == BPF_MAP_FREEZE)
			continue;
		for (int i = -2; i < (int)(sizeof(struct world) / sizeof(int)) + 3; i++) {
			long r[WORLDS];
			int fd = 0;
			/* Frozen for good in both worlds would be a different start for others. */
			for (int w = 0; w < WORLDS; w++) {
				union bpf_attr a;
				int n = (int)(sizeof(struct world) / sizeof(int));
				base(cmd, w, &a);
				if (cmd == BPF_MAP_CREATE &&
				    fd_places[p].at == offsetof(union bpf_attr, inner_map_fd))
					a.map_type = BPF_MAP_TYPE_ARRAY_OF_MAPS, a.value_size = 4;
				if (cmd == BPF_MAP_CREATE &&
				    fd_places[p].at == offsetof(union bpf_attr, btf_fd))
					a.btf_key_type_id = 1, a.btf_value_type_id = 4;
				if (cmd == BPF_PROG_LOAD &&
				    fd_places[p].at == offsetof(union bpf_attr, prog_btf_fd))
					a.line_info_cnt = 1, a.line_info_rec_size = 4;
				fd = i < 0        ? i
				     : i < n      ? ((int *)&worlds[w])[i]
				     : i == n     ? null_fd
				     : i == n + 1 ? 999
						  : 0;
				memcpy((uint8_t *)&a + fd_places[p].at, &fd, 4);
				r[w] = call(w, cmd, &a, sizeof(a));
			}
			same(cmd, r[KERNEL], r[SKEP], "descriptor of kind", i,
			     (long)fd_places[p].at);
		}
	}
	print_message("%u calls compared\n", compared - before);
}

/* Addresses that can't be used, or only in part. */
static void test_pointers(void **state)
{
	static const struct {
		int cmd;
		size_t at;
	} places[] = {
		{BPF_MAP_LOOKUP_ELEM, offsetof(union bpf_attr, key)},
		{BPF_MAP_LOOKUP_ELEM, offsetof(union bpf_attr, value)},
		{BPF_MAP_UPDATE_ELEM, offsetof(union bpf_attr, key)},
		{BPF_MAP_UPDATE_ELEM, offsetof(union bpf_attr, value)},
		{BPF_MAP_DELETE_ELEM, offsetof(union bpf_attr, key)},
		{BPF_MAP_GET_NEXT_KEY, offsetof(union bpf_attr, key)},
		{BPF_MAP_GET_NEXT_KEY, offsetof(union bpf_attr, next_key)},
		{BPF_MAP_LOOKUP_BATCH, offsetof(union bpf_attr, batch.in_batch)},
		{BPF_MAP_LOOKUP_BATCH, offsetof(union bpf_attr, batch.out_batch)},
		{BPF_MAP_LOOKUP_BATCH, offsetof(union bpf_attr, batch.keys)},
		{BPF_MAP_LOOKUP_BATCH, offsetof(union bpf_attr, batch.values)},
		{BPF_MAP_UPDATE_BATCH, offsetof(union bpf_attr, batch.keys)},
		{BPF_MAP_UPDATE_BATCH, offsetof(union bpf_attr, batch.values)},
		{BPF_MAP_DELETE_BATCH, offsetof(union bpf_attr, batch.keys)},
		{BPF_PROG_LOAD, offsetof(union bpf_attr, insns)},
		{BPF_PROG_LOAD, offsetof(union bpf_attr, license)},
		{BPF_PROG_LOAD, offsetof(union bpf_attr, log_buf)},
		{BPF_OBJ_PIN, offsetof(union bpf_attr, pathname)},
		{BPF_OBJ_GET, offsetof(union bpf_attr, pathname)},
		{BPF_PROG_TEST_RUN, offsetof(union bpf_attr, test.data_in)},
		{BPF_PROG_TEST_RUN, offsetof(union bpf_attr, test.data_out)},
		{BPF_PROG_TEST_RUN, offsetof(union bpf_attr, test.ctx_in)},
		{BPF_OBJ_GET_INFO_BY_FD, offsetof(union bpf_attr, info.info)},
		{BPF_RAW_TRACEPOINT_OPEN, offsetof(union bpf_attr, raw_tracepoint.name)},
		{BPF_BTF_LOAD, offsetof(union bpf_attr, btf)},
		{BPF_BTF_LOAD, offsetof(union bpf_attr, btf_log_buf)},
	};
	unsigned before = compared;

	NEED_KERNEL
	what = "pointer";
	for (size_t p = 0; p < sizeof(places) / sizeof(*places); p++) {
		uint64_t bad[] = {0,
				  1,
				  (uintptr_t)no_access,
				  (uintptr_t)no_access - 2,
				  (uintptr_t)no_access - 40,
				  (uintptr_t)read_only,
				  0xffff888000000000ull,
				  0x8000000000000000ull,
				  UINT64_MAX};
		for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
			long r[WORLDS];
			for (int w = 0; w < WORLDS; w++) {
				union bpf_attr a;
				base(places[p].cmd, w, &a);
				memset(no_access - 64, 0, 64);
				if (places[p].cmd <= BPF_MAP_GET_NEXT_KEY && places[p].cmd)
					a.map_fd = (uint32_t)worlds[w].array;
				memcpy((uint8_t *)&a + places[p].at, &bad[i], 8);
				r[w] = call(w, places[p].cmd, &a, sizeof(a));
			}
			same(places[p].cmd, r[KERNEL], r[SKEP], "pointer", (long)bad[i],
			     (long)places[p].at);
		}
	}
	print_message("%u calls compared\n", compared - before);
}

/* Flags and values of single fields. */
static void test_fields(void **state)
{
#define F(field) offsetof(union bpf_attr, field), sizeof(((union bpf_attr *)0)->field)
	static const struct {
		int cmd;
		size_t at, size;
		uint64_t max; /* every value up to it, and each single bit */
	} fields[] = {
		{BPF_MAP_CREATE, F(map_type), 40},
		{BPF_MAP_CREATE, F(key_size), 16},
		{BPF_MAP_CREATE, F(value_size), 16},
		{BPF_MAP_CREATE, F(map_flags), 64},
		{BPF_MAP_CREATE, F(numa_node), 3},
		{BPF_MAP_CREATE, F(btf_value_type_id), 9},
		{BPF_MAP_LOOKUP_ELEM, F(flags), 16},
		{BPF_MAP_UPDATE_ELEM, F(flags), 16},
		{BPF_MAP_LOOKUP_AND_DELETE_ELEM, F(flags), 16},
		{BPF_MAP_LOOKUP_BATCH, F(batch.elem_flags), 16},
		{BPF_MAP_LOOKUP_BATCH, F(batch.flags), 4},
		{BPF_MAP_UPDATE_BATCH, F(batch.elem_flags), 16},
		{BPF_MAP_DELETE_BATCH, F(batch.elem_flags), 16},
		{BPF_PROG_LOAD, F(prog_type), 40},
		{BPF_PROG_LOAD, F(prog_flags), 256},
		{BPF_PROG_LOAD, F(insn_cnt), 3},
		{BPF_PROG_LOAD, F(log_level), 20},
		{BPF_PROG_LOAD, F(log_size), 20},
		{BPF_PROG_LOAD, F(expected_attach_type), 70},
		{BPF_PROG_LOAD, F(attach_btf_id), 3},
		{BPF_PROG_LOAD, F(func_info_cnt), 3},
		{BPF_PROG_LOAD, F(line_info_cnt), 3},
		{BPF_PROG_LOAD, F(kern_version), 3},
		{BPF_OBJ_PIN, F(file_flags), 32},
		{BPF_OBJ_PIN, F(path_fd), 3},
		{BPF_OBJ_GET, F(file_flags), 32},
		{BPF_OBJ_GET, F(path_fd), 3},
		{BPF_PROG_ATTACH, F(attach_type), 70},
		{BPF_PROG_ATTACH, F(attach_flags), 256},
		{BPF_PROG_DETACH, F(attach_type), 70},
		{BPF_PROG_DETACH, F(attach_flags), 256},
		{BPF_PROG_QUERY, F(query.attach_type), 70},
		{BPF_PROG_QUERY, F(query.query_flags), 16},
		{BPF_LINK_CREATE, F(link_create.attach_type), 70},
		{BPF_LINK_CREATE, F(link_create.flags), 32},
		{BPF_LINK_UPDATE, F(link_update.flags), 16},
		{BPF_ENABLE_STATS, F(enable_stats.type), 5},
		{BPF_ITER_CREATE, F(iter_create.flags), 3},
		{BPF_PROG_BIND_MAP, F(prog_bind_map.flags), 3},
		{BPF_TOKEN_CREATE, F(token_create.flags), 3},
		{BPF_BTF_LOAD, F(btf_flags), 3},
		{BPF_BTF_LOAD, F(btf_log_level), 20},
		{BPF_PROG_TEST_RUN, F(test.data_size_in), 80},
		{BPF_PROG_TEST_RUN, F(test.ctx_size_in), 8},
		{BPF_PROG_TEST_RUN, F(test.flags), 1}, /* no live frames */
		{BPF_PROG_TEST_RUN, F(test.cpu), 4},
		{BPF_PROG_TEST_RUN, F(test.batch_size), 4},
		{BPF_TASK_FD_QUERY, F(task_fd_query.flags), 3},
		{BPF_PROG_STREAM_READ_BY_FD, F(prog_stream_read.stream_id), 5},
		{BPF_OBJ_GET_INFO_BY_FD, F(info.info_len), 300},
	};
	unsigned before = compared, lacking = 0;

	NEED_KERNEL
	what = "field";
	for (size_t f = 0; f < sizeof(fields) / sizeof(*fields); f++) {
		uint64_t n = fields[f].max + 1 + fields[f].size * 8;
		for (uint64_t i = 0; i < n; i++) {
			bool flags = fields[f].at == offsetof(union bpf_attr, test.flags);
			if (flags && fields[f].cmd == BPF_PROG_TEST_RUN && i == 3) /* live frames */
				continue;
			uint64_t v = i <= fields[f].max ? i : 1ull << (i - fields[f].max - 1);
			int cmd = fields[f].cmd;
			/* For three kinds of programs and maps. */
			for (int kind = 0; kind < 3; kind++) {
				long r[WORLDS];
				if (cmd == BPF_MAP_CREATE && v > 1 << 20 && fields[f].at < 16 &&
				    fields[f].at)
					continue;
				for (int w = 0; w < WORLDS; w++) {
					const struct world *o = &worlds[w];
					union bpf_attr a;
					base(cmd, w, &a);
					if (cmd == BPF_MAP_CREATE) {
						a.map_type = (uint32_t[]){1, 2, 9}[kind];
						a.btf_fd = (uint32_t)o->btf;
						a.btf_key_type_id =
							fields[f].at ==
							offsetof(union bpf_attr, btf_value_type_id);
					} else if (cmd >= BPF_MAP_LOOKUP_ELEM &&
						   cmd <= BPF_MAP_GET_NEXT_KEY) {
						a.map_fd = (uint32_t)(kind == 0   ? o->array
								      : kind == 1 ? o->locked
										  : o->percpu);
					} else if (cmd >= BPF_MAP_LOOKUP_BATCH &&
						   cmd <= BPF_MAP_DELETE_BATCH) {
						a.batch.map_fd = (uint32_t)(kind == 0   ? o->array
									    : kind == 1 ? o->locked
											: o->hash);
					} else if (cmd == BPF_PROG_LOAD && kind) {
						a.prog_type = kind == 1 ? BPF_PROG_TYPE_XDP
									: BPF_PROG_TYPE_CGROUP_SKB;
					} else if (kind == 1) {
						if (cmd == BPF_PROG_ATTACH ||
						    cmd == BPF_PROG_DETACH)
							a.attach_bpf_fd = (uint32_t)o->xdp;
						if (cmd == BPF_LINK_CREATE)
							a.link_create.prog_fd = (uint32_t)o->xdp;
						if (cmd == BPF_PROG_TEST_RUN)
							a.test.prog_fd = (uint32_t)o->xdp;
						if (cmd == BPF_OBJ_GET_INFO_BY_FD)
							a.info.bpf_fd = (uint32_t)o->xdp;
					} else if (kind == 2) {
						if (cmd == BPF_OBJ_GET_INFO_BY_FD)
							a.info.bpf_fd = (uint32_t)o->btf;
						if (cmd == BPF_PROG_DETACH ||
						    cmd == BPF_PROG_ATTACH)
							a.attach_bpf_fd = 0;
					}
					memcpy((uint8_t *)&a + fields[f].at, &v, fields[f].size);
					r[w] = call(w, cmd, &a, sizeof(a));
				}
				/* Types that skep does not have are counted apart. */
				bool is_type = cmd == BPF_PROG_LOAD || cmd == BPF_MAP_CREATE;
				if (is_type && !fields[f].at && r[SKEP] == -EINVAL &&
				    r[KERNEL] != -EINVAL) {
					if (r[KERNEL] >= 0)
						close((int)r[KERNEL]);
					lacking += !kind;
					continue;
				}
				char how[64];
				snprintf(how, sizeof(how), "kind %d, field", kind);
				same(cmd, r[KERNEL], r[SKEP], how, (long)fields[f].at, (long)v);
			}
		}
	}
	print_message(
		"%u calls compared; %u types of programs and maps that the kernel has and skep "
		"has not\n",
		compared - before, lacking);
}

/* What a type wants besides key and value. */
static void fitting(uint32_t type, union bpf_attr *a)
{
	bool storage = type == BPF_MAP_TYPE_TASK_STORAGE || type == BPF_MAP_TYPE_SK_STORAGE ||
		       type == BPF_MAP_TYPE_INODE_STORAGE || type == BPF_MAP_TYPE_CGRP_STORAGE;

	a->map_type = type;
	a->max_entries = 1;
	if (type == BPF_MAP_TYPE_RINGBUF || type == BPF_MAP_TYPE_USER_RINGBUF)
		a->max_entries = 4096;
	if (storage || type == BPF_MAP_TYPE_CGROUP_STORAGE ||
	    type == BPF_MAP_TYPE_PERCPU_CGROUP_STORAGE)
		a->max_entries = 0;
	if (storage || type == BPF_MAP_TYPE_LPM_TRIE)
		a->map_flags = BPF_F_NO_PREALLOC;
	if (type == BPF_MAP_TYPE_ARENA)
		a->map_flags = BPF_F_MMAPABLE;
}

/* Every type of map with every pair of key and value types. */
static void test_map_types(void **state)
{
	static const uint32_t key_sizes[] = {0, 4, 8, 16}, value_sizes[] = {0, 4, 8, 16};
	unsigned before = compared;

	NEED_KERNEL
	what = "map types";
	for (uint32_t type = 0; type < 36; type++) {
		for (uint32_t ids = 0; ids < 49; ids++) {
			for (uint32_t sizes = 0; sizes < 16; sizes++) {
				long r[WORLDS];
				for (int w = 0; w < WORLDS; w++) {
					const struct world *o = &worlds[w];
					r[w] = CALL(w, BPF_MAP_CREATE, fitting(type, &attr_),
						    attr_.key_size = key_sizes[sizes % 4],
						    attr_.value_size = value_sizes[sizes / 4],
						    attr_.inner_map_fd = (uint32_t)o->array,
						    attr_.btf_fd = (uint32_t)o->btf,
						    attr_.btf_key_type_id = ids % 7,
						    attr_.btf_value_type_id = ids / 7);
				}
				char how[64];
				snprintf(how, sizeof(how), "type %u, ids %u %u, sizes", type,
					 ids % 7, ids / 7);
				same(BPF_MAP_CREATE, r[KERNEL], r[SKEP], how, sizes, 0);
			}
		}
	}
	print_message("%u maps compared\n", compared - before);
}

/* Every type of map with sizes, flags and places around its limits. */
static void test_map_limits(void **state)
{
	static const uint32_t keys[] = {0, 1, 3, 4, 5, 8, 12, 16, 511, 512, 513},
			      values[] = {0,     1,     4,     5,     8,     12,   16,
					  32760, 32768, 32769, 65407, 65408, 65536},
			      /* Nowhere near what takes memory on one side only. */
		entries[] = {0, 1, 2, 3, 64, 4096, 4097, 8192, 12288, 8193};
	static const uint64_t places[] = {1, 4096, 1ull << 32, UINT64_MAX - 4095, 0x7fff00000000};
	unsigned before = compared;

	NEED_KERNEL
	what = "map limits";
	for (uint32_t type = 0; type < 36; type++) {
		unsigned n = sizeof(keys) / 4 * (sizeof(values) / 4);
		bool cpus = type == BPF_MAP_TYPE_CPUMAP;
		for (unsigned i = 0; i < n + sizeof(entries) / 4 + 32 * 33 / 2 + 64; i++) {
			long r[WORLDS];
			union bpf_attr a;
			memset(&a, 0, sizeof(a));
			fitting(type, &a);
			bool none = type == BPF_MAP_TYPE_ARENA || type == BPF_MAP_TYPE_RINGBUF ||
				    type == BPF_MAP_TYPE_USER_RINGBUF;
			bool cgroup = type == BPF_MAP_TYPE_CGROUP_STORAGE ||
				      type == BPF_MAP_TYPE_PERCPU_CGROUP_STORAGE;
			a.key_size = none || type == BPF_MAP_TYPE_QUEUE ||
						     type == BPF_MAP_TYPE_STACK ||
						     type == BPF_MAP_TYPE_BLOOM_FILTER
					     ? 0
				     : cgroup || type == BPF_MAP_TYPE_LPM_TRIE ? 8
									       : 4;
			a.value_size = none ? 0 : type == BPF_MAP_TYPE_STACK_TRACE ? 8 : 4;
			a.btf_vmlinux_value_type_id = type == BPF_MAP_TYPE_STRUCT_OPS;
			unsigned k = i;
			if (k < n) {
				a.key_size = keys[k % (sizeof(keys) / 4)];
				a.value_size = values[k / (sizeof(keys) / 4)];
			} else if ((k -= n) < sizeof(entries) / 4) {
				a.max_entries = entries[k];
				/* The number of CPUs is the build's. */
				if (cpus && a.max_entries > 64 && a.max_entries <= 8192)
					continue;
			} else if ((k -= sizeof(entries) / 4) < 32 * 33 / 2) {
				unsigned hi = 0;
				while (k > hi)
					k -= ++hi;
				uint32_t f = 1u << hi | 1u << k;
				/* Per-CPU LRU lists round the size; the NUMA node is 0. */
				a.map_flags ^= f;
			} else if ((k -= 32 * 33 / 2) < 4 * sizeof(places) / 8) {
				a.map_extra = places[k / 4];
				a.max_entries =
					(uint32_t[]){1, 4096, 1u << 20, (1u << 20) + 1}[k % 4];
				if (type != BPF_MAP_TYPE_ARENA && a.max_entries > 4096)
					continue;
			} else {
				continue;
			}
			for (int w = 0; w < WORLDS; w++) {
				a.inner_map_fd = (uint32_t)worlds[w].array;
				r[w] = call(w, BPF_MAP_CREATE, &a, sizeof(a));
			}
			char how[96];
			snprintf(how, sizeof(how),
				 "type %u, key %u, value %u, entries %u, extra %llx, flags", type,
				 a.key_size, a.value_size, a.max_entries,
				 (unsigned long long)a.map_extra);
			same(BPF_MAP_CREATE, r[KERNEL], r[SKEP], how, a.map_flags, i);
		}
	}
	print_message("%u maps compared\n", compared - before);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_sizes),      cmocka_unit_test(test_bytes),
		cmocka_unit_test(test_fds),        cmocka_unit_test(test_pointers),
		cmocka_unit_test(test_fields),     cmocka_unit_test(test_map_types),
		cmocka_unit_test(test_map_limits),
	};
	return cmocka_run_group_tests_name("bpf", tests, make, unmake);
}
