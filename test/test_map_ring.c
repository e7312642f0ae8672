// SPDX-License-Identifier: Apache-2.0
/* Ring buffers and perf event arrays: bytes as the kernel's, waiting, dead producers. */
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
#include "map_pair.h"
#include "map/map.h"
#include "skep.h"

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

static void test_ringbuf(void **state)
{
	struct pair p = pair_new(BPF_MAP_TYPE_RINGBUF, 0, 0, RING, 0);
	struct skep_map *map = pair_map(p.fd[0]);
	int src = -1, prog = -1, query = -1;
	uint8_t bytes[8192], value[4] = {0};
	struct view v[2] = {0};
	unsigned records = 0;

	for (int cmd = BPF_MAP_LOOKUP_ELEM; cmd <= BPF_MAP_GET_NEXT_KEY; cmd++)
		for (uint64_t f = 0; f < 5; f++)
			pair_op(&p, cmd, NULL, NULL, 0, f);
	pair_op(&p, BPF_MAP_LOOKUP_AND_DELETE_ELEM, NULL, value, 0, 0);
	map_ring(&v[0], p.fd[0]);
	if (pair_judge) {
		src = pair_create(1, BPF_MAP_TYPE_ARRAY, 4, 8192, 1, 0);
		prog = output_prog(p.fd[1], src);
		query = query_prog(p.fd[1]);
		assert_true(src >= 0 && prog >= 0 && query >= 0);
		map_ring(&v[1], p.fd[1]);
	}
	for (unsigned i = 0; i < 3000 * pair_scale(); i++) {
		uint64_t size = pair_rnd(10) ? pair_rnd(1000) : pair_rnd(4200),
			 flags = pair_rnd(9) ? pair_rnd(3) : pair_rnd(9);
		uint32_t key = 0;
		long a;

		for (unsigned k = 0; k < size; k++)
			bytes[k] = (uint8_t)pair_rnd(256);
		a = skep_ringbuf_output(map, bytes, size, flags);
		if (pair_judge) {
			assert_int_equal(pair_elem(1, BPF_MAP_UPDATE_ELEM, src, &key, bytes, 0), 0);
			assert_int_equal(a, run_prog(prog, size, flags));
			for (uint64_t q = 0; q < 6; q++)
				assert_int_equal((int)skep_ringbuf_query(map, q),
						 run_prog(query, q, 0));
			pair_compared++;
		}
		while (*v[0].cons != *v[0].prod && (a || !pair_rnd(3))) {
			const uint8_t *r = v[0].data + (*v[0].cons & (RING - 1));
			uint32_t len = *(const uint32_t *)r;

			assert_int_equal(len & (BPF_RINGBUF_BUSY_BIT | BPF_RINGBUF_DISCARD_BIT), 0);
			if (pair_judge)
				assert_memory_equal(r, v[1].data + (*v[1].cons & (RING - 1)),
						    len + 8);
			*v[0].cons += (len + 15) & ~7u;
			if (pair_judge)
				*v[1].cons = *v[0].cons;
			records++;
		}
	}
	assert_true(records > 100);
	unmap_ring(&v[0]);
	if (pair_judge) {
		unmap_ring(&v[1]);
		close(src);
		close(prog);
		close(query);
	}
	skep_object_put(&map->obj);
	pair_drop(&p);
}

/* Reserved records: busy until committed, in order for the consumer, sizes from private memory. */
static void test_reserve(void **state)
{
	int fd = pair_create(0, BPF_MAP_TYPE_RINGBUF, 0, 0, RING, 0);
	struct skep_map *map = pair_map(fd);
	struct pair_seen s = {0};
	uint32_t *a, *b, *c;

	a = skep_ringbuf_reserve(map, 16, pair_env);
	b = skep_ringbuf_reserve(map, 16, pair_env);
	c = skep_ringbuf_reserve(map, 16, pair_env);
	assert_true(a && b && c);
	assert_null(skep_ringbuf_reserve(map, RING, pair_env));
	assert_null(skep_ringbuf_reserve(map, ~0ull, pair_env));
	assert_null(skep_ringbuf_reserve(map, UINT32_MAX / 4 + 1ull, pair_env));
	*a = 1;
	*b = 2;
	*c = 3;
	skep_ringbuf_commit(c, 0, false, pair_env);
	assert_int_equal(skep_ringbuf_consume(map, pair_see, &s), 0);
	/* A header that somebody overwrites does not lead the commit astray. */
	b[-2] = 0xffffffff;
	b[-1] = 0xffffffff;
	skep_ringbuf_commit(b, 0, true, pair_env);
	skep_ringbuf_commit(a, 0, false, pair_env);
	assert_int_equal(skep_ringbuf_consume(map, pair_see, &s), 2);
	assert_int_equal(s.last, 3);
	assert_int_equal(pair_env->nreserved, 0);
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
	int fd = pair_create(0, BPF_MAP_TYPE_RINGBUF, 0, 0, RING, 0);
	struct skep_map *map = pair_map(fd);
	struct pair_seen s = {0};
	pthread_t t[2];
	unsigned timeouts = 0;

	for (int i = 0; i < 2; i++)
		assert_int_equal(pthread_create(&t[i], NULL, produce, map), 0);
	while (s.n < 40000 && timeouts < 3) {
		timeouts += !skep_ringbuf_wait(map, 2000000000ull);
		assert_true(skep_ringbuf_consume(map, pair_see, &s) >= 0);
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
	int fd = pair_create(0, BPF_MAP_TYPE_RINGBUF, 0, 0, RING, 0);
	struct skep_map *map = pair_map(fd);
	struct pair_seen s = {0};
	uint32_t seven = 7;
	unsigned stored = 0;
	int status;
	pid_t pid;

	NOT_UNDER_TSAN();
	for (int round = 0; round < 5; round++) {
		pid = fork();
		if (!pid) {
			skep_ringbuf_reserve(map, 100, pair_env);
			skep_ringbuf_output(map, &seven, 4, 0);
			skep_ringbuf_reserve(map, 100, pair_env);
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
		skep_ringbuf_consume(map, pair_see, &s);
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
	struct pair p = pair_new(BPF_MAP_TYPE_PERF_EVENT_ARRAY, 4, 4, 3, 0);
	struct skep_perf_opts opts = {.sample_type = PERF_SAMPLE_RAW, .wakeup_events = 1};
	struct perf_event_attr pa = {.type = PERF_TYPE_SOFTWARE,
				     .size = sizeof(pa),
				     .config = PERF_COUNT_SW_BPF_OUTPUT,
				     .sample_period = 1,
				     .sample_type = PERF_SAMPLE_RAW,
				     .wakeup_events = 1};
	struct skep_map *map = pair_map(p.fd[0]);
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
	fd[0] = skep_perf_open(pair_skep, &opts);
	assert_true(fd[0] >= 0);
	if (pair_judge) {
		fd[1] = (int)syscall(SYS_perf_event_open, &pa, -1, 0, -1, PERF_FLAG_FD_CLOEXEC);
		assert_true(fd[1] >= 0);
		src = pair_create(1, BPF_MAP_TYPE_ARRAY, 4, 2048, 1, 0);
		prog = perf_prog(p.fd[1], src);
		assert_true(src >= 0 && prog >= 0);
	}
	for (key = 0; key < 5; key++) {
		for (uint64_t f = 0; f < 5; f++) {
			uint32_t v[2] = {(uint32_t)fd[0], (uint32_t)fd[1]};
			int a, b;

			next = 0;
			pair_op(&p, BPF_MAP_GET_NEXT_KEY, &key, &next, 4, f ? f : 0);
			pair_op(&p, BPF_MAP_LOOKUP_ELEM, &key, &next, 4, f);
			pair_op(&p, BPF_MAP_LOOKUP_AND_DELETE_ELEM, &key, &next, 4, f);
			a = pair_elem(0, BPF_MAP_UPDATE_ELEM, p.fd[0], &key, &v[0], f);
			if (!pair_judge)
				continue;
			b = pair_elem(1, BPF_MAP_UPDATE_ELEM, p.fd[1], &key, &v[1], f);
			assert_int_equal(a, b);
			v[0] = (uint32_t)p.fd[0];
			v[1] = (uint32_t)p.fd[1];
			a = pair_elem(0, BPF_MAP_UPDATE_ELEM, p.fd[0], &key, &v[0], f);
			b = pair_elem(1, BPF_MAP_UPDATE_ELEM, p.fd[1], &key, &v[1], f);
			assert_int_equal(a, b);
			pair_compared += 2;
		}
	}
	for (key = 1; key < 5; key++) {
		pair_op(&p, BPF_MAP_DELETE_ELEM, &key, NULL, 0, 0);
		pair_op(&p, BPF_MAP_DELETE_ELEM, &key, NULL, 0, 0);
	}
	skep_enter(pair_env);
	for (unsigned i = 0; i < 3000; i++) {
		uint64_t arg[256] = {0};
		uint64_t index = pair_rnd(6) ? 0 : pair_rnd(5), size = pair_rnd(1025),
			 len = pair_rnd(3) ? 0 : pair_rnd(65);
		uint32_t ret = 0;
		long a;

		if (i == 100) {
			/* From here on both have a buffer. */
			assert_int_equal(skep_perf_map(pair_skep, fd[0], 4096 * 4), -EINVAL);
			assert_int_equal(skep_perf_map(pair_skep, fd[0], 4096 * 3), 0);
			assert_int_equal(skep_perf_map(pair_skep, fd[0], 4096 * 5), -EINVAL);
			for (int w = 0; w <= pair_judge; w++) {
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
			arg[k] = (uint64_t)pair_rnd(~0u) << 32 | pair_rnd(~0u);
		a = skep_perf_output(map, arg[0], &arg[2], size, packet, len, pair_env);
		if (pair_judge) {
			key = 0;
			assert_int_equal(pair_elem(1, BPF_MAP_UPDATE_ELEM, src, &key, arg, 0), 0);
			assert_int_equal(
				kern_run_packet(prog, packet, 64, NULL, NULL, 1, &ret, NULL), 0);
			if (a != (int)ret)
				fail_msg("perf output %u: index %d size %d extra %d: skep %ld, "
					 "kernel %d",
					 i, (int)index, (int)size, (int)len, a, (int)ret);
			pair_compared++;
		}
		if (!page[0])
			continue;
		if (pair_judge)
			assert_int_equal(page[0]->data_head, page[1]->data_head);
		while (page[0]->data_tail != page[0]->data_head && (a || !pair_rnd(25))) {
			uint8_t rec[2][2048];
			struct perf_event_header h = {0};
			uint32_t raw;

			for (int w = 0; w <= pair_judge; w++) {
				take_record(page[w], rec[w]);
				memcpy(&h, rec[w], 8);
			}
			if (h.type == PERF_RECORD_LOST) {
				lost++;
				if (pair_judge) {
					assert_memory_equal(rec[0], rec[1], 8);
					assert_memory_equal(rec[0] + 16, rec[1] + 16, 8);
				}
				continue;
			}
			samples++;
			memcpy(&raw, rec[0] + 8, 4);
			assert_int_equal(raw + 12, h.size);
			/* The last up to 7 bytes may be padding. */
			if (pair_judge)
				assert_memory_equal(rec[0], rec[1], h.size - 7);
		}
	}
	assert_int_equal(skep_perf_wait(pair_skep, fd[0], 1000) >= 0, 1);
	assert_int_equal(skep_perf_enable(pair_skep, fd[0], false), 0);
	assert_int_equal(skep_perf_output(map, 0, packet, 8, NULL, 0, pair_env), -EOPNOTSUPP);
	skep_leave(pair_env);
	assert_true(lost > 10 && samples > 1000);
	for (int w = 0; w <= pair_judge; w++) {
		munmap(page[w], PERF_SIZE);
		close(fd[w]);
	}
	if (pair_judge) {
		close(src);
		close(prog);
	}
	sched_setaffinity(0, sizeof(old), &old);
	skep_object_put(&map->obj);
	pair_drop(&p);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_ringbuf), cmocka_unit_test(test_reserve),
		cmocka_unit_test(test_wakeup),  cmocka_unit_test(test_reserve_death),
		cmocka_unit_test(test_perf),
	};

	return cmocka_run_group_tests(tests, pair_setup, pair_teardown);
}
