// SPDX-License-Identifier: Apache-2.0
/*
 * libbpf's ring_buffer and perf_buffer, unmodified, on maps of an instance: they map
 * the handles, wait in epoll and read records that producers write meanwhile.
 */
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "bpf/instance.h"
#include "client/libbpf.h"
#include "map/map.h"

static struct skep *skep;

static int setup(void **state)
{
	return skep_open(&skep, NULL);
}

static int teardown(void **state)
{
	skep_close(skep);
	return 0;
}

static uint64_t now_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
}

static struct skep_map *get_map(int fd)
{
	struct skep_object *obj;

	assert_int_equal(skep_object_get(skep, fd, SKEP_KIND_MAP, &obj), 0);
	return (struct skep_map *)obj;
}

struct sums {
	uint64_t n, sum;
};

static int on_record(void *ctx, void *data, size_t size)
{
	struct sums *s = ctx;
	uint32_t v;

	assert_int_equal(size, 100);
	memcpy(&v, data, 4);
	s->n++;
	s->sum += v;
	return 0;
}

static void *produce(void *arg)
{
	struct skep_map *map = arg;
	uint8_t record[100] = {0};

	for (uint32_t i = 1; i <= 5000; i++) {
		memcpy(record, &i, 4);
		while (skep_ringbuf_output(map, record, sizeof(record), 0))
			usleep(50);
		if (!(i % 1000))
			usleep(20000);
	}
	return NULL;
}

static void test_ring_buffer(void **state)
{
	struct skep *was = skep_client_enter(skep);
	int fd = bpf_map_create(BPF_MAP_TYPE_RINGBUF, NULL, 0, 0, 8192, NULL);
	int fd2 = bpf_map_create(BPF_MAP_TYPE_RINGBUF, NULL, 0, 0, 4096, NULL);
	struct sums s[2] = {{0}};
	struct ring_buffer *rb;
	pthread_t t[2];
	uint64_t at;
	int r;

	assert_true(fd >= 0 && fd2 >= 0);
	rb = ring_buffer__new(fd, on_record, &s[0], NULL);
	assert_non_null(rb);
	assert_int_equal(ring_buffer__add(rb, fd2, on_record, &s[1]), 0);
	/* The waits need no scope. */
	skep_client_leave(was);

	at = now_ms();
	assert_int_equal(ring_buffer__poll(rb, 60), 0);
	assert_true(now_ms() - at >= 55);
	assert_int_equal(pthread_create(&t[0], NULL, produce, get_map(fd)), 0);
	assert_int_equal(pthread_create(&t[1], NULL, produce, get_map(fd2)), 0);
	at = now_ms();
	while (s[0].n + s[1].n < 10000 && now_ms() - at < 15000) {
		r = ring_buffer__poll(rb, 5000);
		assert_true(r >= 0); /* 0: the record at the head is still being written */
	}
	pthread_join(t[0], NULL);
	pthread_join(t[1], NULL);
	for (int i = 0; i < 2; i++) {
		assert_int_equal(s[i].n, 5000);
		assert_int_equal(s[i].sum, 5000 * 5001 / 2);
	}
	assert_int_equal(ring_buffer__poll(rb, 0), 0);
	ring_buffer__free(rb);
	skep_object_put(&get_map(fd)->obj);
	close(fd);
	close(fd2);
}

/* A record without a wakeup is found by the next wait, as in the kernel. */
static void test_no_wakeup(void **state)
{
	struct skep *was = skep_client_enter(skep);
	int fd = bpf_map_create(BPF_MAP_TYPE_RINGBUF, NULL, 0, 0, 4096, NULL);
	struct skep_map *map = get_map(fd);
	struct epoll_event ev = {.events = EPOLLIN, .data.u64 = 77}, out = {0};
	int ep = epoll_create1(EPOLL_CLOEXEC);
	uint8_t record[100] = {0};

	assert_int_equal(epoll_ctl(ep, EPOLL_CTL_ADD, fd, &ev), 0);
	assert_int_equal(epoll_ctl(ep, EPOLL_CTL_ADD, fd, &ev), -1);
	assert_int_equal(errno, EEXIST);
	skep_client_leave(was);
	assert_int_equal(epoll_wait(ep, &out, 1, 0), 0);
	assert_int_equal(skep_ringbuf_output(map, record, 100, BPF_RB_NO_WAKEUP), 0);
	/* Level-triggered: as long as nobody reads it. */
	for (int i = 0; i < 3; i++) {
		assert_int_equal(epoll_wait(ep, &out, 1, 1000), 1);
		assert_int_equal(out.data.u64, 77);
	}
	ev.data.u64 = 78;
	assert_int_equal(epoll_ctl(ep, EPOLL_CTL_MOD, fd, &ev), 0);
	assert_int_equal(epoll_wait(ep, &out, 1, 1000), 1);
	assert_int_equal(out.data.u64, 78);
	assert_int_equal(epoll_ctl(ep, EPOLL_CTL_DEL, fd, NULL), 0);
	assert_int_equal(epoll_wait(ep, &out, 1, 0), 0);
	assert_int_equal(epoll_ctl(ep, EPOLL_CTL_DEL, fd, NULL), -1);
	skep_object_put(&map->obj);
	close(fd);
	close(ep);
}

/* The producer is another process. */
static void test_other_process(void **state)
{
	struct skep *was = skep_client_enter(skep);
	int fd = bpf_map_create(BPF_MAP_TYPE_RINGBUF, NULL, 0, 0, 4096, NULL);
	struct skep_map *map = get_map(fd);
	struct sums s = {0};
	struct ring_buffer *rb = ring_buffer__new(fd, on_record, &s, NULL);
	uint64_t at = now_ms();
	pid_t pid;

	assert_non_null(rb);
	skep_client_leave(was);
	pid = fork();
	if (!pid) {
		uint8_t record[100] = {5};

		usleep(100000);
		_exit(skep_ringbuf_output(map, record, sizeof(record), 0) ? 1 : 0);
	}
	assert_int_equal(ring_buffer__poll(rb, 10000), 1);
	assert_true(now_ms() - at < 5000);
	waitpid(pid, NULL, 0);
	ring_buffer__free(rb);
	skep_object_put(&map->obj);
	close(fd);
}

struct perf_sums {
	uint64_t n[64], sum, lost;
};

static void on_sample(void *ctx, int cpu, void *data, __u32 size)
{
	struct perf_sums *s = ctx;
	uint32_t v;

	assert_true(size >= 100);
	memcpy(&v, data, 4);
	s->n[cpu]++;
	s->sum += v;
}

static void on_lost(void *ctx, int cpu, __u64 n)
{
	((struct perf_sums *)ctx)->lost += n;
}

struct feeder {
	struct skep_map *map;
	uint32_t count;
	uint64_t full;
};

static void *feed(void *arg)
{
	struct feeder *f = arg;
	uint8_t record[100] = {0};
	struct skep_env *env;

	if (skep_env_open(&env, skep))
		return NULL;
	for (uint32_t i = 1; i <= f->count; i++) {
		long r;

		memcpy(record, &i, 4);
		skep_enter(env);
		r = skep_perf_output(f->map, BPF_F_CURRENT_CPU, record, sizeof(record), NULL, 0,
				     env);
		skep_leave(env);
		if (r == -ENOSPC)
			f->full++;
		else if (r)
			return NULL;
		if (!(i % 500))
			usleep(2000);
	}
	skep_env_close(env);
	return arg;
}

static void test_perf_buffer(void **state)
{
	struct skep *was = skep_client_enter(skep);
	int cpus = libbpf_num_possible_cpus();
	int fd = bpf_map_create(BPF_MAP_TYPE_PERF_EVENT_ARRAY, NULL, 4, 4, (__u32)cpus, NULL);
	struct skep_map *map = get_map(fd);
	struct perf_sums s = {.sum = 0};
	struct feeder f = {.map = map, .count = 20000};
	struct perf_buffer *pb = perf_buffer__new(fd, 16, on_sample, on_lost, &s, NULL);
	uint64_t at = now_ms(), n = 0;
	pthread_t t;
	void *ok;

	assert_non_null(pb);
	skep_client_leave(was);
	assert_int_equal(perf_buffer__poll(pb, 10), 0);
	assert_int_equal(pthread_create(&t, NULL, feed, &f), 0);
	while (n < 20000 && now_ms() - at < 15000) {
		assert_true(perf_buffer__poll(pb, 200) >= 0);
		n = s.lost;
		for (int c = 0; c < 64; c++)
			n += s.n[c];
		/* What is lost at the end is told by the next record that fits. */
		if (s.sum && n + f.full - s.lost >= 20000)
			break;
	}
	pthread_join(t, &ok);
	assert_ptr_equal(ok, &f);
	perf_buffer__poll(pb, 0);
	n = 0;
	for (int c = 0; c < 64; c++)
		n += s.n[c];
	assert_int_equal(n + f.full, 20000);
	assert_true(n > 1000 && s.lost <= f.full);
	was = skep_client_enter(skep);
	perf_buffer__free(pb);
	skep_client_leave(was);
	skep_object_put(&map->obj);
	close(fd);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_ring_buffer),
		cmocka_unit_test(test_no_wakeup),
		cmocka_unit_test(test_other_process),
		cmocka_unit_test(test_perf_buffer),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
