/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Perf buffers are read by libbpf. Ring buffers, whose handle with skep's runtime would cost libbpf's
 * consumer a thread, are read here, as BPF_MAP_TYPE_RINGBUF lays them out: a page with the consumer's position,
 * a page with the producer's, then the data twice in a row. A record is a length
 * with two flag bits, four bytes of the kernel's, and the payload, in steps of eight.
 */
#include "bpf/uapi.h"

#include "records.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define MAX_RINGS  32
#define KEEP       4096 /* records per ring */
#define PERF_PAGES 64 /* per CPU */

struct ring {
	struct records *all;
	const struct bpf_map *map;
	struct perf_buffer *perf; /* or, for a ring buffer: */
	uint64_t *consumer;
	const uint8_t *producer; /* page, then data */
	size_t page, size;
	struct record *kept;
	size_t nkept;
	uint64_t total, lost;
};

struct records {
	struct ring rings[MAX_RINGS];
	uint32_t n;
	records_fn fn; /* or NULL: they are kept */
	void *arg;
};

static void keep(struct ring *r, const void *data, uint32_t len)
{
	struct record *k = &r->kept[r->nkept];

	r->total++;
	if (r->all->fn) {
		r->all->fn(r->all->arg, r->map, data, len);
		return;
	}
	if (r->nkept == KEEP)
		return;
	k->data = malloc(len ? len : 1);
	if (!k->data)
		return;
	memcpy(k->data, data, len);
	k->len = len;
	r->nkept++;
}

static void on_sample(void *arg, int cpu, void *data, uint32_t size)
{
	keep(arg, data, size);
}

static void on_lost(void *arg, int cpu, __u64 n)
{
	struct ring *r = arg;

	r->lost += n;
}

static int map_perf(struct ring *r, struct bpf_map *map)
{
	r->map = map;
	r->kept = calloc(KEEP, sizeof(*r->kept));
	if (!r->kept)
		return -ENOMEM;
	r->perf = perf_buffer__new(bpf_map__fd(map), PERF_PAGES, on_sample, on_lost, r, NULL);
	return r->perf ? 0 : -errno;
}

static int map_ring(struct ring *r, struct bpf_map *map)
{
	int fd = bpf_map__fd(map);
	void *p;

	r->map = map;
	r->page = (size_t)sysconf(_SC_PAGESIZE);
	r->size = bpf_map__max_entries(map);
	p = mmap(NULL, r->page, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (p == MAP_FAILED)
		return -errno;
	r->consumer = p;
	p = mmap(NULL, r->page + 2 * r->size, PROT_READ, MAP_SHARED, fd, (off_t)r->page);
	if (p == MAP_FAILED) {
		return -errno;
	}
	r->producer = p;
	r->kept = calloc(KEEP, sizeof(*r->kept));
	return r->kept ? 0 : -ENOMEM;
}

int records_open(struct records **out, struct bpf_object *obj)
{
	struct records *r = calloc(1, sizeof(*r));
	struct bpf_map *map;
	int err = 0;

	if (!r)
		return -ENOMEM;
	*out = r;
	bpf_object__for_each_map(map, obj)
	{
		enum bpf_map_type type = bpf_map__type(map);

		if (bpf_map__fd(map) < 0 ||
		    (type != BPF_MAP_TYPE_RINGBUF && type != BPF_MAP_TYPE_PERF_EVENT_ARRAY))
			continue;
		if (r->n == MAX_RINGS)
			return -E2BIG;
		r->rings[r->n].all = r;
		err = (type == BPF_MAP_TYPE_RINGBUF ? map_ring : map_perf)(&r->rings[r->n++], map);
		if (err)
			return err;
	}
	return 0;
}

void records_live(struct records *r, records_fn fn, void *arg)
{
	r->fn = fn;
	r->arg = arg;
}

static void take(struct ring *r)
{
	uint64_t at = *r->consumer;
	const uint8_t *data = r->producer + r->page;

	while (at < __atomic_load_n((const uint64_t *)r->producer, __ATOMIC_ACQUIRE)) {
		const uint8_t *rec = data + (at & (r->size - 1));
		uint32_t head = __atomic_load_n((const uint32_t *)rec, __ATOMIC_ACQUIRE);
		uint32_t len = head & ~(BPF_RINGBUF_BUSY_BIT | BPF_RINGBUF_DISCARD_BIT);

		if (head & BPF_RINGBUF_BUSY_BIT)
			break;
		if (len > r->size)
			break;
		if (!(head & BPF_RINGBUF_DISCARD_BIT))
			keep(r, rec + BPF_RINGBUF_HDR_SZ, len);
		at += (len + BPF_RINGBUF_HDR_SZ + 7) & ~7u;
		__atomic_store_n(r->consumer, at, __ATOMIC_RELEASE);
	}
}

void records_take(struct records *r)
{
	for (uint32_t i = 0; i < r->n; i++)
		if (r->rings[i].perf)
			perf_buffer__consume(r->rings[i].perf);
		else
			take(&r->rings[i]);
}

const struct record *records_of(const struct records *r, const struct bpf_map *map, size_t *kept,
				uint64_t *total, uint64_t *lost)
{
	for (uint32_t i = 0; r && i < r->n; i++) {
		if (r->rings[i].map != map)
			continue;
		*kept = r->rings[i].nkept;
		*total = r->rings[i].total;
		*lost = r->rings[i].lost;
		return r->rings[i].kept;
	}
	*kept = 0;
	*total = *lost = 0;
	return NULL;
}

void records_close(struct records *r)
{
	for (uint32_t i = 0; r && i < r->n; i++) {
		struct ring *g = &r->rings[i];

		for (size_t k = 0; k < g->nkept; k++)
			free(g->kept[k].data);
		free(g->kept);
		perf_buffer__free(g->perf);
		if (g->consumer)
			munmap(g->consumer, g->page);
		if (g->producer)
			munmap((void *)(uintptr_t)g->producer, g->page + 2 * g->size);
	}
	free(r);
}
