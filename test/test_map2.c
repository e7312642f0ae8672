// SPDX-License-Identifier: Apache-2.0
/*
 * Map types with shapes of their own: LPM trie, queue, stack, stack trace, Bloom
 * filter, device maps, ring buffer, perf event array. Where the kernel can be asked,
 * each sequence of operations runs on both and must answer alike.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/perf_event.h>
#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "bpf/instance.h"
#include "kern.h"
#include "map/map.h"
#include "skep.h"

#ifdef __SANITIZE_THREAD__
/* Forked workers and garbage are races on purpose, or need what the sanitizer forbids. */
#define NOT_UNDER_TSAN() skip()
#else
#define NOT_UNDER_TSAN() (void)0
#endif

static struct skep *skep;
static struct skep_env *env;
static bool judge;
static unsigned long compared;

static uint64_t rnd_state = 88172645463325252ull;
static uint32_t rnd(uint32_t n)
{
	rnd_state ^= rnd_state << 13;
	rnd_state ^= rnd_state >> 7;
	rnd_state ^= rnd_state << 17;
	return (uint32_t)(rnd_state >> 16) % n;
}

static unsigned scale(void)
{
	const char *s = getenv("SKEP_TEST_SCALE");

	return s && atoi(s) > 0 ? (unsigned)atoi(s) : 1;
}

/* Both runtimes: 0 is skep, 1 the kernel. */
static long call(int who, int cmd, union bpf_attr *attr)
{
	return who ? kern_bpf(cmd, attr) : skep_bpf(skep, cmd, attr, sizeof(*attr));
}

static int create(int who, uint32_t type, uint32_t key, uint32_t value, uint32_t n, uint32_t flags)
{
	union bpf_attr attr = {.map_type = type,
			       .key_size = key,
			       .value_size = value,
			       .max_entries = n,
			       .map_flags = flags};

	return (int)call(who, BPF_MAP_CREATE, &attr);
}

static int elem(int who, int cmd, int fd, const void *key, void *value, uint64_t flags)
{
	union bpf_attr attr = {.map_fd = (uint32_t)fd, .key = (uintptr_t)key, .flags = flags};

	attr.value = (uintptr_t)value; /* next_key for that command */
	return (int)call(who, cmd, &attr);
}

/* The same map in both, or in skep alone. */
struct pair {
	int fd[2];
};

static struct pair both(uint32_t type, uint32_t key, uint32_t value, uint32_t n, uint32_t flags)
{
	struct pair p = {{create(0, type, key, value, n, flags), -1}};

	assert_true(p.fd[0] >= 0);
	if (judge) {
		p.fd[1] = create(1, type, key, value, n, flags);
		assert_true(p.fd[1] >= 0);
	}
	return p;
}

static void drop(struct pair *p)
{
	close(p->fd[0]);
	if (p->fd[1] >= 0)
		close(p->fd[1]);
}

/* One operation on both, results and the value's bytes equal. Returns skep's result. */
static int op(struct pair *p, int cmd, const void *key, void *value, size_t size, uint64_t flags)
{
	uint8_t copy[1024];
	int a, b;

	assert_true(size <= sizeof(copy));
	memcpy(copy, value ? value : copy, value ? size : 0);
	a = elem(0, cmd, p->fd[0], key, value, flags);
	if (p->fd[1] < 0)
		return a;
	b = elem(1, cmd, p->fd[1], key, value ? copy : NULL, flags);
	if (a != b)
		fail_msg("command %d flags %llu: skep %d, kernel %d", cmd,
			 (unsigned long long)flags, a, b);
	if (value && memcmp(copy, value, size))
		fail_msg("command %d: other bytes than the kernel's", cmd);
	compared++;
	return a;
}

/* ---- Creation ---- */

static void test_create(void **state)
{
	static const uint32_t types[] = {
		BPF_MAP_TYPE_LPM_TRIE,    BPF_MAP_TYPE_QUEUE,        BPF_MAP_TYPE_STACK,
		BPF_MAP_TYPE_STACK_TRACE, BPF_MAP_TYPE_DEVMAP,       BPF_MAP_TYPE_DEVMAP_HASH,
		BPF_MAP_TYPE_RINGBUF,     BPF_MAP_TYPE_BLOOM_FILTER, BPF_MAP_TYPE_PERF_EVENT_ARRAY};
	static const uint32_t keys[] = {0, 4, 5, 8, 260, 261};
	static const uint32_t values[] = {0, 1, 4, 8, 12, 32, 1016, 1024, 1u << 22, (1u << 22) + 1};
	static const uint32_t entries[] = {0, 1, 10, 4096, 12288};
	uint32_t flags[40], nflags = 0;

	flags[nflags++] = 0;
	for (uint32_t i = 0; i < 20; i++)
		if (1u << i != BPF_F_TOKEN_FD)
			flags[nflags++] = 1u << i;
	flags[nflags++] = BPF_F_RDONLY | BPF_F_WRONLY;
	flags[nflags++] = BPF_F_RDONLY_PROG | BPF_F_WRONLY_PROG;
	flags[nflags++] = BPF_F_NO_PREALLOC | BPF_F_RDONLY;
	flags[nflags++] = BPF_F_NO_PREALLOC | BPF_F_RDONLY_PROG;
	flags[nflags++] = BPF_F_NO_PREALLOC | BPF_F_NUMA_NODE;
	if (!judge)
		skip();
	for (size_t t = 0; t < sizeof(types) / 4; t++) {
		for (size_t k = 0; k < sizeof(keys) / 4; k++) {
			for (size_t v = 0; v < sizeof(values) / 4; v++) {
				for (size_t e = 0; e < sizeof(entries) / 4; e++) {
					/* What is refused for its flags is so at any size. */
					uint32_t nf = k % 3 && v % 3 && e % 2 ? 1 : nflags;

					if ((uint64_t)values[v] * entries[e] > 64u << 20)
						continue;
					for (uint32_t f = 0; f < nf; f++) {
						int a = create(0, types[t], keys[k], values[v],
							       entries[e], flags[f]);
						int b = create(1, types[t], keys[k], values[v],
							       entries[e], flags[f]);

						if ((a < 0 || b < 0) && a != b)
							fail_msg("type %u key %u value %u entries "
								 "%u flags %#x: skep %d, kernel %d",
								 types[t], keys[k], values[v],
								 entries[e], flags[f], a, b);
						if (a >= 0)
							close(a);
						if (b >= 0)
							close(b);
						compared++;
					}
				}
			}
		}
	}
	/* An accepted map_extra, and too large ones. */
	for (uint64_t x = 0; x <= 17; x++) {
		union bpf_attr attr = {.map_type = BPF_MAP_TYPE_BLOOM_FILTER,
				       .value_size = 4,
				       .max_entries = 10,
				       .map_extra = x};
		long a = call(0, BPF_MAP_CREATE, &attr), b = call(1, BPF_MAP_CREATE, &attr);

		assert_int_equal(a < 0 ? a : 0, b < 0 ? b : 0);
		if (a >= 0)
			close((int)a);
		if (b >= 0)
			close((int)b);
	}
	assert_int_equal(create(0, BPF_MAP_TYPE_STACK_TRACE, 4, 8, (1u << 31) + 1, 0), -E2BIG);
}

/* ---- LPM trie ---- */

struct lpm_key {
	uint32_t plen;
	uint8_t data[256];
};

/* All keys in order, from both. */
static unsigned walk_all(struct pair *p, uint32_t key_size)
{
	struct lpm_key key, next;
	unsigned n = 0;
	int err;

	memset(&next, 0, sizeof(next));
	err = op(p, BPF_MAP_GET_NEXT_KEY, NULL, &next, key_size, 0);
	while (!err && n++ < 100000) {
		key = next;
		err = op(p, BPF_MAP_GET_NEXT_KEY, &key, &next, key_size, 0);
	}
	assert_int_equal(err, -ENOENT);
	return n;
}

static void lpm_sequence(uint32_t bytes, uint32_t entries, unsigned steps)
{
	struct pair p = both(BPF_MAP_TYPE_LPM_TRIE, 4 + bytes, 8, entries, BPF_F_NO_PREALLOC);
	uint32_t narrow = 0;

	for (unsigned i = 0; i < steps; i++) {
		struct lpm_key key, next;
		uint64_t value = rnd(~0u);

		if (!(i & 255))
			narrow = rnd(3);
		memset(&key, 0, sizeof(key));
		/* Few different bytes, so that prefixes nest and collide. */
		for (uint32_t b = 0; b < bytes; b++)
			key.data[b] = narrow == 0   ? (uint8_t)rnd(256)
				      : narrow == 1 ? (uint8_t)(rnd(2) << rnd(8))
						    : (uint8_t)(b + 1 < bytes ? 7 : rnd(256));
		key.plen = rnd(20) ? rnd(bytes * 8 + 1) : bytes * 8 + rnd(3);
		if (narrow == 2 && rnd(2))
			key.plen = bytes * 8 - rnd(bytes > 1 ? 10 : 8);
		switch (rnd(8)) {
		case 0:
		case 1:
		case 2:
			op(&p, BPF_MAP_UPDATE_ELEM, &key, &value, 8, rnd(6) ? BPF_ANY : rnd(5));
			break;
		case 3:
		case 4:
			op(&p, BPF_MAP_DELETE_ELEM, &key, NULL, 0, 0);
			break;
		case 5:
			memset(&next, 0, sizeof(next));
			op(&p, BPF_MAP_GET_NEXT_KEY, &key, &next, 4 + bytes, 0);
			break;
		default:
			op(&p, BPF_MAP_LOOKUP_ELEM, &key, &value, 8, 0);
		}
		if (i % 4096 == 4095)
			walk_all(&p, 4 + bytes);
	}
	walk_all(&p, 4 + bytes);
	drop(&p);
}

static void test_lpm(void **state)
{
	lpm_sequence(1, 40, 20000 * scale());
	lpm_sequence(2, 1000, 20000 * scale());
	lpm_sequence(4, 200, 30000 * scale());
	lpm_sequence(4, 100000, 30000 * scale());
	lpm_sequence(7, 300, 10000 * scale());
	lpm_sequence(16, 1000, 20000 * scale());
	lpm_sequence(256, 500, 10000 * scale());
}

/* A large table against a plain search, and how long a lookup takes. */
static void test_lpm_large(void **state)
{
	enum { N = 100000 };
	int fd = create(0, BPF_MAP_TYPE_LPM_TRIE, 8, 8, N, BPF_F_NO_PREALLOC);
	struct skep_object *obj;
	struct skep_map *map;
	struct timespec a, b;
	uint32_t keys[256];
	uint64_t sum = 0;
	double ns;

	assert_true(fd >= 0);
	assert_int_equal(skep_object_get(skep, fd, SKEP_KIND_MAP, &obj), 0);
	map = (struct skep_map *)obj;
	skep_enter(env);
	for (uint32_t i = 0; i < N; i++) {
		struct lpm_key key = {.plen = 16 + rnd(17)};
		uint32_t addr = rnd(~0u);
		uint64_t value = key.plen;

		memcpy(key.data, &addr, 4);
		assert_int_equal(map->ops->update(map, &key, &value, BPF_ANY, env), 0);
		keys[i % 256] = addr;
	}
	clock_gettime(CLOCK_MONOTONIC, &a);
	for (uint32_t i = 0; i < 1000000; i++) {
		struct lpm_key key = {.plen = 32};
		uint32_t addr = i & 1 ? rnd(~0u) : keys[i / 2 % 256];
		uint64_t *value;

		memcpy(key.data, &addr, 4);
		value = map->ops->lookup(map, &key, env);
		sum += value ? *value : 0;
	}
	clock_gettime(CLOCK_MONOTONIC, &b);
	skep_leave(env);
	ns = ((double)(b.tv_sec - a.tv_sec) * 1e9 + (double)(b.tv_nsec - a.tv_nsec)) / 1e6;
	print_message("LPM, %d prefixes: %.1f ns a lookup (sum %llu)\n", N, ns,
		      (unsigned long long)sum);
	assert_true(sum > 0);
	skep_object_put(obj);
	close(fd);
}

/* ---- Queue, stack, Bloom filter ---- */

static void test_queue(void **state)
{
	static const uint32_t types[] = {BPF_MAP_TYPE_QUEUE, BPF_MAP_TYPE_STACK};

	for (int t = 0; t < 2; t++) {
		struct pair p = both(types[t], 0, 12, 7, 0);

		for (unsigned i = 0; i < 5000 * scale(); i++) {
			uint32_t v[3] = {rnd(~0u), i, 3};
			uint32_t flags = rnd(4) ? rnd(4) : 0;

			switch (rnd(5)) {
			case 0:
			case 1:
				op(&p, BPF_MAP_UPDATE_ELEM, NULL, v, 12, rnd(2) ? 0 : flags);
				break;
			case 2:
				op(&p, BPF_MAP_LOOKUP_ELEM, NULL, v, 12, rnd(8) ? 0 : flags);
				break;
			case 3:
				op(&p, BPF_MAP_LOOKUP_AND_DELETE_ELEM, NULL, v, 12,
				   rnd(8) ? 0 : flags);
				break;
			default:
				op(&p, BPF_MAP_DELETE_ELEM, NULL, NULL, 0, 0);
				op(&p, BPF_MAP_GET_NEXT_KEY, NULL, v, 0, 0);
			}
		}
		drop(&p);
	}
}

static void test_bloom(void **state)
{
	struct pair p = both(BPF_MAP_TYPE_BLOOM_FILTER, 0, 12, 1000, 0);
	unsigned false_positives = 0;

	for (uint32_t i = 0; i < 1000; i++) {
		uint32_t v[3] = {i, 1, 2};

		op(&p, BPF_MAP_UPDATE_ELEM, NULL, v, 12, 0);
		assert_int_equal(op(&p, BPF_MAP_LOOKUP_ELEM, NULL, v, 12, 0), 0);
	}
	for (uint32_t i = 1000; i < 11000; i++) {
		uint32_t v[3] = {i, 1, 2};

		false_positives += !elem(0, BPF_MAP_LOOKUP_ELEM, p.fd[0], NULL, v, 0);
	}
	print_message("Bloom filter: %u of 10000 false positives\n", false_positives);
	assert_true(false_positives < 500);
	for (uint32_t f = 0; f < 6; f++) {
		uint32_t v[3] = {0, 1, 2};

		op(&p, BPF_MAP_UPDATE_ELEM, NULL, v, 12, f);
		op(&p, BPF_MAP_LOOKUP_ELEM, NULL, v, 12, f);
		op(&p, BPF_MAP_LOOKUP_AND_DELETE_ELEM, NULL, v, 12, f);
		op(&p, BPF_MAP_DELETE_ELEM, NULL, NULL, 0, 0);
		op(&p, BPF_MAP_GET_NEXT_KEY, NULL, v, 0, 0);
	}
	drop(&p);
}

/* ---- Stack traces ---- */

static void test_stackmap(void **state)
{
	struct pair p = both(BPF_MAP_TYPE_STACK_TRACE, 4, 32, 5, 0);
	struct skep_object *obj;
	struct skep_map *map;
	uint64_t ips[8], value[4];
	uint32_t key, next;
	long id, other;

	for (key = 0; key < 12; key++) {
		for (uint64_t f = 0; f < 5; f++) {
			memset(value, 1, sizeof(value));
			op(&p, BPF_MAP_LOOKUP_ELEM, &key, value, 32, f);
			op(&p, BPF_MAP_UPDATE_ELEM, &key, value, 32, f);
			op(&p, BPF_MAP_LOOKUP_AND_DELETE_ELEM, &key, value, 32, f);
		}
		op(&p, BPF_MAP_DELETE_ELEM, &key, NULL, 0, 0);
		op(&p, BPF_MAP_GET_NEXT_KEY, &key, &next, 4, 0);
	}
	op(&p, BPF_MAP_GET_NEXT_KEY, NULL, &next, 4, 0);

	assert_int_equal(skep_object_get(skep, p.fd[0], SKEP_KIND_MAP, &obj), 0);
	map = (struct skep_map *)obj;
	for (int i = 0; i < 8; i++)
		ips[i] = 0x1000u + (unsigned)i;
	assert_int_equal(skep_stackmap_put(map, ips, 3, 1ull << 20), -EINVAL);
	assert_int_equal(skep_stackmap_put(map, ips, 3, 3), -EFAULT);
	id = skep_stackmap_put(map, ips, 3, 0);
	assert_in_range(id, 0, 7);
	assert_int_equal(skep_stackmap_put(map, ips, 3, 0), id);
	assert_int_equal(skep_stackmap_put(map, ips, 3, BPF_F_FAST_STACK_CMP), id);
	key = (uint32_t)id;
	memset(value, 1, sizeof(value));
	assert_int_equal(elem(0, BPF_MAP_LOOKUP_ELEM, p.fd[0], &key, value, 0), 0);
	assert_memory_equal(value, ips, 24);
	assert_int_equal(value[3], 0);
	/* Deeper than the map: the innermost four. */
	other = skep_stackmap_put(map, ips + 1, 7, 1 | BPF_F_REUSE_STACKID);
	key = (uint32_t)other;
	assert_int_equal(elem(0, BPF_MAP_LOOKUP_ELEM, p.fd[0], &key, value, 0), 0);
	assert_memory_equal(value, ips + 2, 32);
	/* Another trace with the same id. */
	for (unsigned i = 0;; i++) {
		assert_true(i < 1000);
		ips[0] = 0x9000 + i;
		other = skep_stackmap_put(map, ips, 1, 0);
		if (other == -EEXIST)
			break;
	}
	assert_in_range(skep_stackmap_put(map, ips, 1, BPF_F_REUSE_STACKID), 0, 7);
	assert_int_equal(elem(0, BPF_MAP_GET_NEXT_KEY, p.fd[0], NULL, &key, 0), 0);
	assert_int_equal(elem(0, BPF_MAP_DELETE_ELEM, p.fd[0], &key, NULL, 0), 0);
	assert_int_equal(elem(0, BPF_MAP_DELETE_ELEM, p.fd[0], &key, NULL, 0), -ENOENT);
	skep_object_put(obj);
	drop(&p);
}

/* ---- Device maps ---- */

static void test_devmap(void **state)
{
	static const uint32_t types[] = {BPF_MAP_TYPE_DEVMAP, BPF_MAP_TYPE_DEVMAP_HASH};

	for (int t = 0; t < 4; t++) {
		uint32_t size = t & 1 ? 8 : 4;
		struct pair p = both(types[t / 2], 4, size, 5, 0);

		for (unsigned i = 0; i < 4000 * scale(); i++) {
			uint32_t key = rnd(8) ? rnd(7) : rnd(64), next;
			uint32_t v[2] = {rnd(8) ? 1 : rnd(2) ? 0 : 99999, 0};

			if (!rnd(8))
				v[1] = rnd(2) ? (uint32_t)-1 : 100000;
			switch (rnd(5)) {
			case 0:
			case 1:
				op(&p, BPF_MAP_UPDATE_ELEM, &key, v, size, rnd(3) ? 0 : rnd(5));
				break;
			case 2:
				op(&p, BPF_MAP_LOOKUP_ELEM, &key, v, size, rnd(8) ? 0 : rnd(5));
				break;
			case 3:
				op(&p, BPF_MAP_DELETE_ELEM, &key, NULL, 0, 0);
				op(&p, BPF_MAP_LOOKUP_AND_DELETE_ELEM, &key, v, size, 0);
				break;
			default:
				next = 0;
				op(&p, BPF_MAP_GET_NEXT_KEY, rnd(5) ? &key : NULL, &next, 4, 0);
			}
		}
		drop(&p);
	}
}

/* ---- Ring buffer ---- */

#define INSN(c, d, s, o, i)                                                                        \
	((struct bpf_insn){.code = (c), .dst_reg = (d), .src_reg = (s), .off = (o), .imm = (i)})
#define MOV(d, s)    INSN(BPF_ALU64 | BPF_MOV | BPF_X, d, s, 0, 0)
#define MOVI(d, i)   INSN(BPF_ALU64 | BPF_MOV | BPF_K, d, 0, 0, i)
#define LDX(d, s, o) INSN(BPF_LDX | BPF_MEM | BPF_DW, d, s, o, 0)
#define CALL(f)      INSN(BPF_JMP | BPF_CALL, 0, 0, 0, f)
#define MAPFD(d, fd)                                                                               \
	INSN(BPF_LD | BPF_DW | BPF_IMM, d, BPF_PSEUDO_MAP_FD, 0, fd), INSN(0, 0, 0, 0, 0)

#define MAPVAL(d, fd)                                                                              \
	INSN(BPF_LD | BPF_DW | BPF_IMM, d, BPF_PSEUDO_MAP_VALUE, 0, fd), INSN(0, 0, 0, 0, 0)
#define EXIT() INSN(BPF_JMP | BPF_EXIT, 0, 0, 0, 0)
#define RING   4096u

/* The kernel's helpers through a program; ctx is {size or what, flags}, bytes are in src. */
static int output_prog(int map, int src)
{
	struct bpf_insn prog[] = {
		MOV(6, 1),
		MAPFD(1, map),
		MAPVAL(2, src),
		LDX(3, 6, 0),
		INSN(BPF_JMP | BPF_JGT | BPF_K, 3, 0, 3, 8192),
		LDX(4, 6, 8),
		CALL(BPF_FUNC_ringbuf_output),
		EXIT(),
		MOVI(0, 0),
		EXIT(),
	};

	return kern_load(BPF_PROG_TYPE_SYSCALL, prog, sizeof(prog) / sizeof(prog[0]), 0, NULL, 0);
}

static int query_prog(int map)
{
	struct bpf_insn prog[] = {
		LDX(2, 1, 0),
		MAPFD(1, map),
		CALL(BPF_FUNC_ringbuf_query),
		EXIT(),
	};

	return kern_load(BPF_PROG_TYPE_SYSCALL, prog, sizeof(prog) / sizeof(prog[0]), 0, NULL, 0);
}

static int run_prog(int fd, uint64_t a, uint64_t b)
{
	uint64_t ctx[2] = {a, b};
	uint32_t ret = 0;

	assert_int_equal(kern_run_ctx(fd, ctx, sizeof(ctx), &ret), 0);
	return (int)ret;
}

struct view {
	uint64_t *cons;
	const uint64_t *prod;
	const uint8_t *data;
};

/* As libbpf maps it. */
static void map_ring(struct view *v, int fd)
{
	uint8_t *p = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);

	assert_ptr_not_equal(p, MAP_FAILED);
	v->cons = (uint64_t *)p;
	p = mmap(NULL, 4096 + 2 * RING, PROT_READ, MAP_SHARED, fd, 4096);
	assert_ptr_not_equal(p, MAP_FAILED);
	v->prod = (const uint64_t *)p;
	v->data = p + 4096;
}

static void unmap_ring(struct view *v)
{
	munmap(v->cons, 4096);
	munmap((void *)(uintptr_t)v->prod, 4096 + 2 * RING);
}

static struct skep_map *get_map(int fd)
{
	struct skep_object *obj;

	assert_int_equal(skep_object_get(skep, fd, SKEP_KIND_MAP, &obj), 0);
	return (struct skep_map *)obj;
}

static void test_ringbuf(void **state)
{
	struct pair p = both(BPF_MAP_TYPE_RINGBUF, 0, 0, RING, 0);
	struct skep_map *map = get_map(p.fd[0]);
	int src = -1, prog = -1, query = -1;
	uint8_t bytes[8192], value[4] = {0};
	struct view v[2] = {0};
	unsigned records = 0;

	for (int cmd = BPF_MAP_LOOKUP_ELEM; cmd <= BPF_MAP_GET_NEXT_KEY; cmd++)
		for (uint64_t f = 0; f < 5; f++)
			op(&p, cmd, NULL, NULL, 0, f);
	op(&p, BPF_MAP_LOOKUP_AND_DELETE_ELEM, NULL, value, 0, 0);
	map_ring(&v[0], p.fd[0]);
	if (judge) {
		src = create(1, BPF_MAP_TYPE_ARRAY, 4, 8192, 1, 0);
		prog = output_prog(p.fd[1], src);
		query = query_prog(p.fd[1]);
		assert_true(src >= 0 && prog >= 0 && query >= 0);
		map_ring(&v[1], p.fd[1]);
	}
	for (unsigned i = 0; i < 3000 * scale(); i++) {
		uint64_t size = rnd(10) ? rnd(1000) : rnd(4200), flags = rnd(9) ? rnd(3) : rnd(9);
		uint32_t key = 0;
		long a;

		for (unsigned k = 0; k < size; k++)
			bytes[k] = (uint8_t)rnd(256);
		a = skep_ringbuf_output(map, bytes, size, flags);
		if (judge) {
			assert_int_equal(elem(1, BPF_MAP_UPDATE_ELEM, src, &key, bytes, 0), 0);
			assert_int_equal(a, run_prog(prog, size, flags));
			for (uint64_t q = 0; q < 6; q++)
				assert_int_equal((int)skep_ringbuf_query(map, q),
						 run_prog(query, q, 0));
			compared++;
		}
		while (*v[0].cons != *v[0].prod && (a || !rnd(3))) {
			const uint8_t *r = v[0].data + (*v[0].cons & (RING - 1));
			uint32_t len = *(const uint32_t *)r;

			assert_int_equal(len & (BPF_RINGBUF_BUSY_BIT | BPF_RINGBUF_DISCARD_BIT), 0);
			if (judge)
				assert_memory_equal(r, v[1].data + (*v[1].cons & (RING - 1)),
						    len + 8);
			*v[0].cons += (len + 15) & ~7u;
			if (judge)
				*v[1].cons = *v[0].cons;
			records++;
		}
	}
	assert_true(records > 100);
	unmap_ring(&v[0]);
	if (judge) {
		unmap_ring(&v[1]);
		close(src);
		close(prog);
		close(query);
	}
	skep_object_put(&map->obj);
	drop(&p);
}

/* Reserved records: busy until committed, in order for the consumer, sizes from private memory. */
struct seen {
	uint32_t n, last;
};

static int see(void *arg, const void *data, uint32_t size)
{
	struct seen *s = arg;

	s->n++;
	memcpy(&s->last, data, 4);
	return 0;
}

static void test_reserve(void **state)
{
	int fd = create(0, BPF_MAP_TYPE_RINGBUF, 0, 0, RING, 0);
	struct skep_map *map = get_map(fd);
	struct seen s = {0};
	uint32_t *a, *b, *c;

	a = skep_ringbuf_reserve(map, 16, env);
	b = skep_ringbuf_reserve(map, 16, env);
	c = skep_ringbuf_reserve(map, 16, env);
	assert_true(a && b && c);
	assert_null(skep_ringbuf_reserve(map, RING, env));
	assert_null(skep_ringbuf_reserve(map, ~0ull, env));
	assert_null(skep_ringbuf_reserve(map, UINT32_MAX / 4 + 1ull, env));
	*a = 1;
	*b = 2;
	*c = 3;
	skep_ringbuf_commit(c, 0, false, env);
	assert_int_equal(skep_ringbuf_consume(map, see, &s), 0);
	/* A header that somebody overwrites does not lead the commit astray. */
	b[-2] = 0xffffffff;
	b[-1] = 0xffffffff;
	skep_ringbuf_commit(b, 0, true, env);
	skep_ringbuf_commit(a, 0, false, env);
	assert_int_equal(skep_ringbuf_consume(map, see, &s), 2);
	assert_int_equal(s.last, 3);
	assert_int_equal(env->nreserved, 0);
	assert_false(skep_ringbuf_readable(map));
	assert_int_equal(skep_ringbuf_wait(map, 1000000), 0);
	skep_object_put(&map->obj);
	close(fd);
}

static void *produce(void *arg)
{
	struct skep_map *map = arg;

	for (uint32_t i = 1; i <= 20000; i++) {
		while (skep_ringbuf_output(map, &i, 4, 0))
			sched_yield();
		if (!(i % 4096))
			usleep(1000);
	}
	return NULL;
}

/* Two producers and a sleeping consumer lose nothing and miss no wakeup. */
static void test_wakeup(void **state)
{
	int fd = create(0, BPF_MAP_TYPE_RINGBUF, 0, 0, RING, 0);
	struct skep_map *map = get_map(fd);
	struct seen s = {0};
	pthread_t t[2];
	unsigned timeouts = 0;

	for (int i = 0; i < 2; i++)
		assert_int_equal(pthread_create(&t[i], NULL, produce, map), 0);
	while (s.n < 40000 && timeouts < 3) {
		timeouts += !skep_ringbuf_wait(map, 2000000000ull);
		assert_true(skep_ringbuf_consume(map, see, &s) >= 0);
	}
	for (int i = 0; i < 2; i++)
		pthread_join(t[i], NULL);
	assert_int_equal(s.n, 40000);
	assert_int_equal(timeouts, 0);
	skep_object_put(&map->obj);
	close(fd);
}

/* A process dies with records reserved: they are discarded, the others arrive. */
static void test_reserve_death(void **state)
{
	int fd = create(0, BPF_MAP_TYPE_RINGBUF, 0, 0, RING, 0);
	struct skep_map *map = get_map(fd);
	struct seen s = {0};
	uint32_t seven = 7;
	unsigned stored = 0;
	int status;
	pid_t pid;

	NOT_UNDER_TSAN();
	for (int round = 0; round < 5; round++) {
		pid = fork();
		if (!pid) {
			skep_ringbuf_reserve(map, 100, env);
			skep_ringbuf_output(map, &seven, 4, 0);
			skep_ringbuf_reserve(map, 100, env);
			raise(SIGKILL);
		}
		assert_int_equal(waitpid(pid, &status, 0), pid);
		assert_true(WIFSIGNALED(status));
		if (round == 2) {
			/* In the way of a producer only: nobody reads. */
			while (!skep_ringbuf_output(map, &seven, 4, 0))
				stored++;
			assert_true(stored > 100);
		}
		assert_int_equal(skep_ringbuf_wait(map, 1000000), 1);
		skep_ringbuf_consume(map, see, &s);
	}
	assert_int_equal(s.n, 5 + stored);
	skep_object_put(&map->obj);
	close(fd);
}

/* ---- Perf event array ---- */

static int perf_prog(int map, int src)
{
	/* XDP: the program's arguments are in the source map's last words. */
	struct bpf_insn prog[] = {
		MOV(6, 1),     MAPVAL(7, src),
		MAPFD(2, map), LDX(3, 7, 0),
		MOV(4, 7),     INSN(BPF_ALU64 | BPF_ADD | BPF_K, 4, 0, 0, 16),
		LDX(5, 7, 8),  INSN(BPF_JMP | BPF_JGT | BPF_K, 5, 0, 3, 1024),
		MOV(1, 6),     CALL(BPF_FUNC_perf_event_output),
		EXIT(),        MOVI(0, 0),
		EXIT(),
	};

	return kern_load(BPF_PROG_TYPE_XDP, prog, sizeof(prog) / sizeof(prog[0]), 0, NULL, 0);
}

#define PERF_SIZE (4096 * 3)

static void take_record(struct perf_event_mmap_page *page, uint8_t *out)
{
	const uint8_t *data = (const uint8_t *)page + 4096;
	uint64_t tail = page->data_tail;
	struct perf_event_header h = {.size = 8};

	for (uint32_t i = 0; i < h.size; i++) {
		out[i] = data[(tail + i) & 8191];
		if (i == 7)
			memcpy(&h, out, 8);
	}
	page->data_tail = tail + h.size;
}

static void test_perf(void **state)
{
	struct pair p = both(BPF_MAP_TYPE_PERF_EVENT_ARRAY, 4, 4, 3, 0);
	struct skep_perf_opts opts = {.sample_type = PERF_SAMPLE_RAW, .wakeup_events = 1};
	struct perf_event_attr pa = {.type = PERF_TYPE_SOFTWARE,
				     .size = sizeof(pa),
				     .config = PERF_COUNT_SW_BPF_OUTPUT,
				     .sample_period = 1,
				     .sample_type = PERF_SAMPLE_RAW,
				     .wakeup_events = 1};
	struct skep_map *map = get_map(p.fd[0]);
	struct perf_event_mmap_page *page[2] = {0};
	uint32_t key, next;
	int fd[2] = {-1, -1}, src = -1, prog = -1;
	uint8_t packet[64] = {1, 2, 3};
	unsigned lost = 0, samples = 0;
	cpu_set_t set, old;

	sched_getaffinity(0, sizeof(old), &old);
	CPU_ZERO(&set);
	CPU_SET(0, &set);
	sched_setaffinity(0, sizeof(set), &set);
	opts.cpu = -1;
	fd[0] = skep_perf_open(skep, &opts);
	assert_true(fd[0] >= 0);
	if (judge) {
		fd[1] = (int)syscall(SYS_perf_event_open, &pa, -1, 0, -1, PERF_FLAG_FD_CLOEXEC);
		assert_true(fd[1] >= 0);
		src = create(1, BPF_MAP_TYPE_ARRAY, 4, 2048, 1, 0);
		prog = perf_prog(p.fd[1], src);
		assert_true(src >= 0 && prog >= 0);
	}
	for (key = 0; key < 5; key++) {
		for (uint64_t f = 0; f < 5; f++) {
			uint32_t v[2] = {(uint32_t)fd[0], (uint32_t)fd[1]};
			int a, b;

			next = 0;
			op(&p, BPF_MAP_GET_NEXT_KEY, &key, &next, 4, f ? f : 0);
			op(&p, BPF_MAP_LOOKUP_ELEM, &key, &next, 4, f);
			op(&p, BPF_MAP_LOOKUP_AND_DELETE_ELEM, &key, &next, 4, f);
			a = elem(0, BPF_MAP_UPDATE_ELEM, p.fd[0], &key, &v[0], f);
			if (!judge)
				continue;
			b = elem(1, BPF_MAP_UPDATE_ELEM, p.fd[1], &key, &v[1], f);
			assert_int_equal(a, b);
			v[0] = (uint32_t)p.fd[0];
			v[1] = (uint32_t)p.fd[1];
			a = elem(0, BPF_MAP_UPDATE_ELEM, p.fd[0], &key, &v[0], f);
			b = elem(1, BPF_MAP_UPDATE_ELEM, p.fd[1], &key, &v[1], f);
			assert_int_equal(a, b);
			compared += 2;
		}
	}
	for (key = 1; key < 5; key++) {
		op(&p, BPF_MAP_DELETE_ELEM, &key, NULL, 0, 0);
		op(&p, BPF_MAP_DELETE_ELEM, &key, NULL, 0, 0);
	}
	skep_enter(env);
	for (unsigned i = 0; i < 3000; i++) {
		uint64_t arg[256] = {0};
		uint64_t index = rnd(6) ? 0 : rnd(5), size = rnd(1025), len = rnd(3) ? 0 : rnd(65);
		uint32_t ret = 0;
		long a;

		if (i == 100) {
			/* From here on both have a buffer. */
			assert_int_equal(skep_perf_map(skep, fd[0], 4096 * 4), -EINVAL);
			assert_int_equal(skep_perf_map(skep, fd[0], 4096 * 3), 0);
			assert_int_equal(skep_perf_map(skep, fd[0], 4096 * 5), -EINVAL);
			for (int w = 0; w <= judge; w++) {
				page[w] = mmap(NULL, PERF_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED,
					       fd[w], 0);
				assert_ptr_not_equal(page[w], MAP_FAILED);
			}
			assert_int_equal(page[0]->data_offset, 4096);
			assert_int_equal(page[0]->data_size, 8192);
		}
		arg[0] = index | len << 32;
		arg[1] = size;
		for (size_t k = 2; k < 2 + 1024 / 8; k++)
			arg[k] = (uint64_t)rnd(~0u) << 32 | rnd(~0u);
		a = skep_perf_output(map, arg[0], &arg[2], size, packet, len, env);
		if (judge) {
			key = 0;
			assert_int_equal(elem(1, BPF_MAP_UPDATE_ELEM, src, &key, arg, 0), 0);
			assert_int_equal(
				kern_run_packet(prog, packet, 64, NULL, NULL, 1, &ret, NULL), 0);
			if (a != (int)ret)
				fail_msg("perf output %u: index %d size %d extra %d: skep %ld, "
					 "kernel %d",
					 i, (int)index, (int)size, (int)len, a, (int)ret);
			compared++;
		}
		if (!page[0])
			continue;
		if (judge)
			assert_int_equal(page[0]->data_head, page[1]->data_head);
		while (page[0]->data_tail != page[0]->data_head && (a || !rnd(25))) {
			uint8_t rec[2][2048];
			struct perf_event_header h = {0};
			uint32_t raw;

			for (int w = 0; w <= judge; w++) {
				take_record(page[w], rec[w]);
				memcpy(&h, rec[w], 8);
			}
			if (h.type == PERF_RECORD_LOST) {
				lost++;
				if (judge) {
					assert_memory_equal(rec[0], rec[1], 8);
					assert_memory_equal(rec[0] + 16, rec[1] + 16, 8);
				}
				continue;
			}
			samples++;
			memcpy(&raw, rec[0] + 8, 4);
			assert_int_equal(raw + 12, h.size);
			/* The last up to 7 bytes may be padding. */
			if (judge)
				assert_memory_equal(rec[0], rec[1], h.size - 7);
		}
	}
	assert_int_equal(skep_perf_wait(skep, fd[0], 1000) >= 0, 1);
	assert_int_equal(skep_perf_enable(skep, fd[0], false), 0);
	assert_int_equal(skep_perf_output(map, 0, packet, 8, NULL, 0, env), -EOPNOTSUPP);
	skep_leave(env);
	assert_true(lost > 10 && samples > 1000);
	for (int w = 0; w <= judge; w++) {
		munmap(page[w], PERF_SIZE);
		close(fd[w]);
	}
	if (judge) {
		close(src);
		close(prog);
	}
	sched_setaffinity(0, sizeof(old), &old);
	skep_object_put(&map->obj);
	drop(&p);
}

/* ---- Death and garbage ---- */

/* Changes that a worker makes until it is killed. */
static void churn(struct skep_map **maps, unsigned seed)
{
	rnd_state ^= (uint64_t)seed * 0x9e3779b97f4a7c15ull;
	for (;;) {
		struct lpm_key key = {.plen = rnd(33)};
		uint32_t addr = rnd(256) << 24 | rnd(4), v[2] = {1, 0}, k = rnd(16);
		uint64_t value = addr, ips[4] = {rnd(64), 2, 3, 4};

		memcpy(key.data, &addr, 4);
		if (rnd(2))
			maps[0]->ops->update(maps[0], &key, &value, 0, env);
		else
			maps[0]->ops->delete (maps[0], &key, env);
		maps[0]->ops->lookup(maps[0], &key, env);
		if (rnd(2))
			maps[1]->ops->push(maps[1], &value, BPF_EXIST);
		else
			maps[1]->ops->pop(maps[1], &value);
		if (rnd(2))
			maps[2]->ops->update(maps[2], &k, v, 0, env);
		else
			maps[2]->ops->delete (maps[2], &k, env);
		maps[2]->ops->lookup(maps[2], &k, env);
		skep_ringbuf_output(maps[3], &value, 8, BPF_RB_NO_WAKEUP);
		skep_ringbuf_commit(skep_ringbuf_reserve(maps[3], 8, env), BPF_RB_NO_WAKEUP, false,
				    env);
		skep_stackmap_put(maps[4], ips, 4, BPF_F_REUSE_STACKID);
	}
}

static void make_maps(struct skep_map **maps)
{
	static const uint32_t shape[5][5] = {{BPF_MAP_TYPE_LPM_TRIE, 8, 8, 300, BPF_F_NO_PREALLOC},
					     {BPF_MAP_TYPE_QUEUE, 0, 8, 5, 0},
					     {BPF_MAP_TYPE_DEVMAP_HASH, 4, 8, 10, 0},
					     {BPF_MAP_TYPE_RINGBUF, 0, 0, 4096, 0},
					     {BPF_MAP_TYPE_STACK_TRACE, 4, 32, 16, 0}};

	for (int i = 0; i < 5; i++) {
		int fd = create(0, shape[i][0], shape[i][1], shape[i][2], shape[i][3], shape[i][4]);

		assert_true(fd >= 0);
		maps[i] = get_map(fd);
		close(fd);
	}
}

static unsigned count_keys(struct skep_map *map)
{
	struct lpm_key key;
	unsigned n = 0;

	if (map->ops->next_key(map, NULL, &key))
		return 0;
	do {
		n++;
		/* Each key that the walk shows is there, and the walk ends. */
		assert_non_null(map->ops->lookup(map, &key, env));
		assert_true(n <= map->max_entries);
	} while (!map->ops->next_key(map, &key, &key));
	return n;
}

static void test_death(void **state)
{
	unsigned rounds = 100 * scale();
	struct skep_map *maps[5];
	struct seen s = {0};

	NOT_UNDER_TSAN();
	make_maps(maps);
	skep_enter(env);
	for (unsigned i = 0; i < rounds; i++) {
		pid_t pid[2];
		uint64_t value;

		for (int k = 0; k < 2; k++) {
			pid[k] = fork();
			if (!pid[k])
				churn(maps, i * 2 + (unsigned)k);
		}
		usleep(500 + rnd(3000));
		for (int k = 0; k < 2; k++) {
			kill(pid[k], SIGKILL);
			waitpid(pid[k], NULL, 0);
		}
		value = i;
		assert_int_equal(maps[1]->ops->push(maps[1], &value, BPF_EXIST), 0);
		assert_int_equal(maps[1]->ops->pop(maps[1], &value), 0);
		count_keys(maps[2]);
		while (skep_ringbuf_readable(maps[3]))
			assert_true(skep_ringbuf_consume(maps[3], see, &s) >= 0);
		assert_int_equal(skep_ringbuf_output(maps[3], &value, 8, 0), 0);
		count_keys(maps[0]);
	}
	/* Nothing is lost: after emptying it, the trie takes all that it may hold. */
	for (struct lpm_key key; !maps[0]->ops->next_key(maps[0], NULL, &key);)
		assert_int_equal(maps[0]->ops->delete (maps[0], &key, env), 0);
	for (uint32_t i = 0; i <= 300; i++) {
		struct lpm_key key = {.plen = 32};
		uint64_t value = i;

		memcpy(key.data, &i, 4);
		assert_int_equal(maps[0]->ops->update(maps[0], &key, &value, 0, env),
				 i < 300 ? 0 : -ENOSPC);
	}
	assert_int_equal(count_keys(maps[0]), 300);
	skep_leave(env);
	print_message("%u times two workers killed; %u records\n", rounds, s.n);
	for (int i = 0; i < 5; i++)
		skep_object_put(&maps[i]->obj);
}

struct garbage {
	struct skep_map **maps;
	_Atomic bool stop;
};

static void *write_garbage(void *arg)
{
	struct garbage *g = arg;
	uint64_t x = 1;

	while (!g->stop) {
		struct skep_map *map;
		struct skep_seg *seg;
		size_t at, limit = 3 * 4096;

		x ^= x << 13;
		x ^= x >> 7;
		x ^= x << 17;
		map = g->maps[x % 5];
		seg = x & 64 && map->ctl.base ? &map->ctl : &map->data;
		at = (x >> 20) % (seg->size < limit ? seg->size : limit) & ~7ull;
		/* In lock words only who is dead: one that seems alive costs the time limit. */
		*(volatile uint64_t *)((uint8_t *)seg->base + at) =
			x & 0x3000 || !at || map->type == BPF_MAP_TYPE_STACK_TRACE ? x % 64
			: x & 0x4000                                               ? ~0ull
										   : x;
		if (!(x & 0xff0000))
			usleep(10);
	}
	return NULL;
}

static void test_garbage(void **state)
{
	struct skep_map *maps[5];
	struct garbage g = {.maps = maps};
	uint64_t end, start = skep_clock_mono(), rounds = 0;
	struct seen s = {0};
	pthread_t t;

	NOT_UNDER_TSAN();
	make_maps(maps);
	skep_enter(env);
	assert_int_equal(pthread_create(&t, NULL, write_garbage, &g), 0);
	end = start + 1500000000ull * scale();
	while (skep_clock_mono() < end) {
		for (int i = 0; i < 200; i++) {
			struct lpm_key key = {.plen = rnd(33)};
			uint32_t addr = rnd(256) << 24 | rnd(4), v[2] = {1, 0}, k = rnd(16);
			uint64_t value = addr, ips[4] = {rnd(64), 2, 3, 4};

			memcpy(key.data, &addr, 4);
			maps[0]->ops->update(maps[0], &key, &value, 0, env);
			maps[0]->ops->lookup(maps[0], &key, env);
			maps[0]->ops->delete (maps[0], &key, env);
			maps[0]->ops->next_key(maps[0], &key, &key);
			maps[1]->ops->push(maps[1], &value, BPF_EXIST);
			maps[1]->ops->peek(maps[1], &value);
			maps[1]->ops->pop(maps[1], &value);
			maps[2]->ops->update(maps[2], &k, v, 0, env);
			maps[2]->ops->lookup(maps[2], &k, env);
			maps[2]->ops->next_key(maps[2], &k, &k);
			maps[2]->ops->delete (maps[2], &k, env);
			skep_ringbuf_output(maps[3], &value, 8, 0);
			skep_ringbuf_consume(maps[3], see, &s);
			skep_stackmap_put(maps[4], ips, 4, BPF_F_REUSE_STACKID);
			maps[4]->ops->next_key(maps[4], &k, &k);
		}
		rounds++;
	}
	g.stop = true;
	pthread_join(t, NULL);
	skep_leave(env);
	print_message("%llu rounds under garbage\n", (unsigned long long)rounds);
	assert_true(rounds > 0);
	for (int i = 0; i < 5; i++)
		skep_object_put(&maps[i]->obj);
}

/* Pages of the segments taken away under use read as zeros: wrong answers, no fault, no hang. */
static void test_punched(void **state)
{
	struct skep_map *maps[5];
	struct seen s = {0};

	make_maps(maps);
	skep_enter(env);
	for (unsigned i = 0; i < 300; i++) {
		struct skep_map *map = maps[rnd(5)];
		struct skep_seg *seg = rnd(2) && map->ctl.base ? &map->ctl : &map->data;

		for (int k = 0; k < 50; k++) {
			struct lpm_key key = {.plen = rnd(33)};
			uint32_t addr = rnd(256) << 24 | rnd(4), v[2] = {1, 0}, n = rnd(16);
			uint64_t value = addr, ips[4] = {rnd(64), 2, 3, 4};

			memcpy(key.data, &addr, 4);
			maps[0]->ops->update(maps[0], &key, &value, 0, env);
			maps[0]->ops->lookup(maps[0], &key, env);
			maps[0]->ops->next_key(maps[0], &key, &key);
			maps[0]->ops->delete (maps[0], &key, env);
			maps[1]->ops->push(maps[1], &value, BPF_EXIST);
			maps[1]->ops->pop(maps[1], &value);
			maps[2]->ops->update(maps[2], &n, v, 0, env);
			maps[2]->ops->lookup(maps[2], &n, env);
			skep_ringbuf_output(maps[3], &value, 8, 0);
			skep_ringbuf_consume(maps[3], see, &s);
			skep_stackmap_put(maps[4], ips, 4, BPF_F_REUSE_STACKID);
		}
		assert_int_equal(fallocate(seg->fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
					   (off_t)rnd((uint32_t)(seg->size / 4096)) * 4096, 4096),
				 0);
		assert_int_equal(ftruncate(seg->fd, 0), -1);
	}
	skep_leave(env);
	for (int i = 0; i < 5; i++)
		skep_object_put(&maps[i]->obj);
}

/* Readers without a lock against writers that reuse memory all the time. */
struct race {
	struct skep_map *map;
	_Atomic bool stop;
	_Atomic uint64_t lookups, wrong;
};

static void *race_reader(void *arg)
{
	struct race *r = arg;
	struct skep_env *own;
	uint64_t x = (uintptr_t)&own | 1, n = 0;

	if (skep_env_open(&own, skep))
		return NULL;
	skep_enter(own);
	while (!r->stop) {
		struct lpm_key key = {.plen = 32};
		uint64_t value;

		x ^= x << 13;
		x ^= x >> 7;
		x ^= x << 17;
		/* 10.x.0.0/16 stay; more specific ones come and go and hold the same number. */
		key.data[0] = 10;
		key.data[1] = (uint8_t)(x >> 20) & 15;
		key.data[2] = (uint8_t)(x >> 30) & 3;
		key.data[3] = (uint8_t)(x >> 40) & 3;
		if (r->map->ops->sys_lookup(r->map, &key, &value, 0, own) ||
		    value % 256 != key.data[1])
			atomic_fetch_add(&r->wrong, 1);
		n++;
	}
	skep_leave(own);
	skep_env_close(own);
	atomic_fetch_add(&r->lookups, n);
	return NULL;
}

static void test_lpm_race(void **state)
{
	int fd = create(0, BPF_MAP_TYPE_LPM_TRIE, 8, 8, 500, BPF_F_NO_PREALLOC);
	struct race r = {.map = get_map(fd)};
	uint64_t end;
	pthread_t t[3];

	for (uint32_t i = 0; i < 16; i++) {
		struct lpm_key key = {.plen = 16, .data = {10, (uint8_t)i}};
		uint64_t value = i;

		assert_int_equal(r.map->ops->update(r.map, &key, &value, 0, env), 0);
	}
	for (int i = 0; i < 3; i++)
		assert_int_equal(pthread_create(&t[i], NULL, race_reader, &r), 0);
	end = skep_clock_mono() + 1000000000ull * scale();
	while (skep_clock_mono() < end) {
		struct lpm_key key = {
			.plen = 17 + rnd(16),
			.data = {10, (uint8_t)rnd(16), (uint8_t)rnd(4), (uint8_t)rnd(4)}};
		uint64_t value = key.data[1] + 256ull * rnd(1000);

		if (rnd(2))
			r.map->ops->update(r.map, &key, &value, 0, env);
		else
			r.map->ops->delete (r.map, &key, env);
	}
	r.stop = true;
	for (int i = 0; i < 3; i++)
		pthread_join(t[i], NULL);
	print_message("LPM race: %llu lookups\n", (unsigned long long)r.lookups);
	assert_true(r.lookups > 0);
	assert_int_equal(r.wrong, 0);
	skep_object_put(&r.map->obj);
	close(fd);
}

static int setup(void **state)
{
	judge = kern_available();
	if (!judge)
		print_message("bpf(2) is not allowed here: nothing is compared with the kernel\n");
	return skep_open(&skep, NULL) || skep_env_open(&env, skep);
}

static int teardown(void **state)
{
	skep_env_close(env);
	skep_close(skep);
	print_message("compared with the kernel: %lu operations\n", compared);
	return 0;
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_create),    cmocka_unit_test(test_lpm),
		cmocka_unit_test(test_lpm_large), cmocka_unit_test(test_lpm_race),
		cmocka_unit_test(test_queue),     cmocka_unit_test(test_bloom),
		cmocka_unit_test(test_stackmap),  cmocka_unit_test(test_devmap),
		cmocka_unit_test(test_ringbuf),   cmocka_unit_test(test_reserve),
		cmocka_unit_test(test_wakeup),    cmocka_unit_test(test_reserve_death),
		cmocka_unit_test(test_perf),      cmocka_unit_test(test_death),
		cmocka_unit_test(test_garbage),   cmocka_unit_test(test_punched),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
