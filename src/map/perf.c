// SPDX-License-Identifier: Apache-2.0
/*
 * Perf event arrays and their readers.
 *
 * A reader is a segment as the kernel's mmap shows it: struct perf_event_mmap_page,
 * then the data area. The segment is as large as the largest area; how much of it is
 * used, the mapping of it decides (skep_perf_map). In the header page, behind what
 * the kernel defines, are the writers' lock, the word that the reader sleeps on and
 * the number of sleepers.
 *
 * The array's elements are references of this process, in private memory.
 */
#include <errno.h>
#include <limits.h>
#include <linux/perf_event.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "map/map.h"
#include "map/pages.h"
#include "map/types.h"

#define FLAGS     (BPF_F_NUMA_NODE | BPF_F_RDONLY | BPF_F_WRONLY | BPF_F_PRESERVE_ELEMS)
#define PAGE      SKEP_PAGE
#define MAX_DATA  (256u << 20)
#define SAMPLE_OK (PERF_SAMPLE_RAW | PERF_SAMPLE_TIME | PERF_SAMPLE_CPU | PERF_SAMPLE_PERIOD)

struct reader {
	struct skep_object obj;
	struct skep_seg seg;
	struct skep_perf_opts opts;
	struct perf_event_mmap_page *page;
	struct skep_perf_own *own;
	uint8_t *data;
	_Atomic uint64_t size; /* of the data area; 0: not mapped yet */
	_Atomic bool enabled;
};

struct perf_array {
	struct reader *_Atomic *slots;
};

/* ---- Readers ---- */

static void reader_destroy(struct skep_object *obj)
{
	struct reader *r = (struct reader *)obj;

	skep_seg_close(&r->seg);
	free(r);
}

int skep_perf_open(struct skep *skep, const struct skep_perf_opts *opts)
{
	struct reader *r;
	int err, fd;

	if (!(opts->sample_type & PERF_SAMPLE_RAW) || opts->sample_type & ~(uint64_t)SAMPLE_OK ||
	    opts->cpu < -1)
		return -EINVAL;
	if (opts->cpu >= (int)skep->cpus)
		return -ENODEV;
	r = calloc(1, sizeof(*r));
	if (!r)
		return -ENOMEM;
	err = skep_seg_create(&r->seg, "skep-perf", PAGE + (size_t)MAX_DATA);
	if (err)
		goto fail;
	err = skep_seg_reserve(&r->seg, 0, PAGE);
	if (err)
		goto fail_seg;
	r->opts = *opts;
	r->page = r->seg.base;
	r->own = (struct skep_perf_own *)((uint8_t *)r->seg.base + SKEP_PERF_OWN);
	r->data = (uint8_t *)r->seg.base + PAGE;
	r->enabled = !opts->disabled;
	r->obj.skep = skep;
	r->obj.destroy = reader_destroy;
	err = skep_object_add(skep, &r->obj, SKEP_KIND_PERF, r->seg.fd);
	if (err)
		goto fail_seg;
	fd = skep_object_fd(&r->obj, 0);
	skep_object_put(&r->obj);
	return fd;
fail_seg:
	skep_seg_close(&r->seg);
fail:
	free(r);
	return err;
}

static int get(struct skep *skep, int fd, struct reader **out)
{
	struct skep_object *obj;
	int err = skep_object_get(skep, fd, SKEP_KIND_PERF, &obj);

	if (!err)
		*out = (struct reader *)obj;
	return err;
}

int skep_perf_map(struct skep *skep, int fd, size_t bytes)
{
	uint64_t size = bytes - PAGE, none = 0;
	struct reader *r;
	int err;

	if (bytes < PAGE || bytes % PAGE || size & (size - 1) || size > MAX_DATA)
		return -EINVAL;
	err = get(skep, fd, &r);
	if (err)
		return err;
	if (size && !r->size) {
		err = skep_seg_reserve(&r->seg, PAGE, size) ? -ENOMEM : 0;
		if (!err) {
			r->page->data_offset = PAGE;
			r->page->data_size = size;
			atomic_compare_exchange_strong(&r->size, &none, size);
		}
	}
	/* The kernel's: all mappings are of the same size. */
	if (!err && r->size != size)
		err = -EINVAL;
	skep_object_put(&r->obj);
	return err;
}

int skep_perf_enable(struct skep *skep, int fd, bool on)
{
	struct reader *r;
	int err = get(skep, fd, &r);

	if (err)
		return err;
	r->enabled = on;
	skep_object_put(&r->obj);
	return 0;
}

static uint64_t head_of(const struct reader *r)
{
	return __atomic_load_n(&r->page->data_head, __ATOMIC_ACQUIRE);
}

void skep_perf_ready(struct skep_object *reader, struct skep_ready *out)
{
	struct reader *r = (struct reader *)reader;

	out->seq = (const uint32_t *)&r->own->seq;
	out->armed = &r->own->armed;
}

bool skep_perf_readable(const struct skep_object *reader)
{
	const struct reader *r = (const struct reader *)reader;

	return skep_perf_page_readable(r->page);
}

int skep_perf_wait(struct skep *skep, int fd, uint64_t ns)
{
	uint64_t start = skep_clock_mono(), gone;
	struct reader *r;
	int ret = get(skep, fd, &r);

	if (ret)
		return ret;
	atomic_fetch_add(&r->own->armed, 1);
	for (;;) {
		uint32_t seq = atomic_load(&r->own->seq);

		if (skep_perf_readable(&r->obj)) {
			ret = 1;
			break;
		}
		gone = skep_clock_mono() - start;
		if (gone >= ns)
			break;
		ret = skep_futex_wait((const uint32_t *)&r->own->seq, seq, ns - gone);
		if (ret == -EINTR)
			break;
		ret = 0;
	}
	atomic_fetch_sub(&r->own->armed, 1);
	skep_object_put(&r->obj);
	return ret;
}

/* ---- Output ---- */

/* Where the next byte of a record goes. */
struct out {
	uint8_t *data;
	uint64_t mask, pos;
};

static void put(struct out *o, const void *src, size_t len)
{
	size_t at = o->pos & o->mask, first = o->mask + 1 - at;

	if (first > len)
		first = len;
	memcpy(o->data + at, src, first);
	memcpy(o->data, (const uint8_t *)src + first, len - first);
	o->pos += len;
}

struct lost_record {
	struct perf_event_header h;
	uint64_t id, lost;
};

static long output(struct reader *r, const void *data, uint64_t size, const void *extra,
		   uint64_t extra_size, uint32_t cpu)
{
	uint64_t type = r->opts.sample_type, area = r->size, head, tail, need, lost;
	uint32_t raw = (uint32_t)((size + extra_size + 4 + 7) & ~7ull) - 4;
	struct perf_event_header h = {.type = PERF_RECORD_SAMPLE, .misc = PERF_RECORD_MISC_KERNEL};
	static const uint8_t zeros[8];
	struct out o;
	uint64_t word;
	long err = 0;

	need = sizeof(h) + 4 + raw;
	need += (type & PERF_SAMPLE_TIME ? 8 : 0) + (type & PERF_SAMPLE_CPU ? 8 : 0) +
		(type & PERF_SAMPLE_PERIOD ? 8 : 0);
	if (need > UINT16_MAX)
		return -E2BIG;
	if (!area)
		return -ENOSPC;
	h.size = (uint16_t)need;
	if (skep_lock(&r->own->lock, r->obj.skep->parts) < 0)
		return -EBUSY;
	lost = atomic_load(&r->own->lost);
	if (lost)
		need += sizeof(struct lost_record);
	head = head_of(r) & ~7ull;
	tail = __atomic_load_n(&r->page->data_tail, __ATOMIC_ACQUIRE);
	if (((tail - (head + 1)) & (area - 1)) < need) {
		atomic_fetch_add(&r->own->lost, 1);
		err = -ENOSPC;
		goto out;
	}
	o = (struct out){r->data, area - 1, head};
	if (lost) {
		struct lost_record l = {
			{.type = PERF_RECORD_LOST, .size = sizeof(l)}, r->obj.id, lost};

		put(&o, &l, sizeof(l));
		atomic_store(&r->own->lost, 0);
	}
	put(&o, &h, sizeof(h));
	if (type & PERF_SAMPLE_TIME) {
		word = skep_clock_mono();
		put(&o, &word, 8);
	}
	if (type & PERF_SAMPLE_CPU) {
		word = cpu;
		put(&o, &word, 8);
	}
	if (type & PERF_SAMPLE_PERIOD) {
		word = 1;
		put(&o, &word, 8);
	}
	put(&o, &raw, 4);
	put(&o, data, size);
	if (extra_size)
		put(&o, extra, extra_size);
	put(&o, zeros, raw - size - extra_size);
	__atomic_store_n(&r->page->data_head, o.pos, __ATOMIC_SEQ_CST);
	if (++r->own->events >= (r->opts.wakeup_events ? r->opts.wakeup_events : 1)) {
		r->own->events = 0;
		atomic_fetch_add(&r->own->seq, 1);
		if (atomic_load(&r->own->armed))
			skep_futex_wake((const uint32_t *)&r->own->seq, INT_MAX);
	}
out:
	skep_unlock(&r->own->lock);
	return err;
}

long skep_perf_output(struct skep_map *map, uint64_t flags, const void *data, uint64_t size,
		      const void *extra, uint64_t extra_size, struct skep_env *env)
{
	struct perf_array *a = map->priv;
	uint64_t index = flags & BPF_F_INDEX_MASK;
	struct reader *r;

	if (index == BPF_F_CURRENT_CPU)
		index = env->cpu;
	if (index >= map->max_entries)
		return -E2BIG;
	r = atomic_load(&a->slots[index]);
	if (!r)
		return -ENOENT;
	if (!r->enabled || (r->opts.cpu >= 0 && (uint32_t)r->opts.cpu != env->cpu))
		return -EOPNOTSUPP;
	if (size > UINT16_MAX || extra_size > UINT16_MAX)
		return -E2BIG;
	return output(r, data, size, extra, extra_size, env->cpu);
}

int skep_perf_attach(struct skep_map *map, uint32_t index, const struct skep_perf_opts *opts,
		     struct skep_seg *seg, uint64_t size)
{
	struct perf_array *a = map->priv;
	struct reader *r;

	if (index >= map->max_entries || seg->size < PAGE + size || (size & (size - 1))) {
		skep_seg_close(seg);
		return -EINVAL;
	}
	r = calloc(1, sizeof(*r));
	if (!r) {
		skep_seg_close(seg);
		return -ENOMEM;
	}
	r->seg = *seg;
	r->opts = *opts;
	r->page = r->seg.base;
	r->own = (struct skep_perf_own *)((uint8_t *)r->seg.base + SKEP_PERF_OWN);
	r->data = (uint8_t *)r->seg.base + PAGE;
	r->size = size;
	r->enabled = true;
	r->obj = (struct skep_object){.skep = map->obj.skep,
				      .kind = SKEP_KIND_PERF,
				      .refs = 1,
				      .destroy = reader_destroy};
	atomic_store(&a->slots[index], r);
	return 0;
}

bool skep_perf_describe(const struct skep_map *map, uint32_t index, struct skep_perf_opts *opts,
			const struct skep_seg **seg, uint64_t *size)
{
	const struct perf_array *a = map->priv;
	const struct reader *r = index < map->max_entries ? atomic_load(&a->slots[index]) : NULL;

	if (!r || !r->size || !r->enabled)
		return false;
	*opts = r->opts;
	*seg = &r->seg;
	*size = r->size;
	return true;
}

/* ---- The map ---- */

static int perf_check(const union bpf_attr *attr)
{
	if (!attr->max_entries || attr->key_size != 4 || attr->value_size != 4 ||
	    attr->map_flags & ~FLAGS)
		return -EINVAL;
	return 0;
}

static int perf_create(struct skep_map *map, const union bpf_attr *attr)
{
	struct perf_array *a = calloc(1, sizeof(*a));
	int err = -ENOMEM;

	if (!a)
		return -ENOMEM;
	a->slots = calloc(map->max_entries, sizeof(*a->slots));
	if (!a->slots)
		goto fail;
	/* Nothing is shared but the handle. */
	err = skep_map_seg(map, &map->data, SKEP_MAP_HANDLE, PAGE);
	if (err)
		goto fail;
	map->priv = a;
	return 0;
fail:
	free(a->slots);
	free(a);
	return err;
}

static void put_later(void *obj)
{
	skep_object_put(obj);
}

static bool set_slot(struct skep_map *map, uint32_t i, struct reader *r)
{
	struct perf_array *a = map->priv;
	struct reader *old = atomic_exchange(&a->slots[i], r);

	if (old)
		skep_defer(map->obj.skep, put_later, &old->obj);
	return old;
}

static void perf_no_users(struct skep_map *map)
{
	if (map->flags & BPF_F_PRESERVE_ELEMS)
		return;
	for (uint32_t i = 0; i < map->max_entries; i++)
		set_slot(map, i, NULL);
}

static void perf_destroy(struct skep_map *map)
{
	struct perf_array *a = map->priv;

	if (!a)
		return;
	for (uint32_t i = 0; i < map->max_entries; i++)
		if (a->slots[i])
			skep_object_put(&atomic_load(&a->slots[i])->obj);
	free(a->slots);
	free(a);
}

static void *no_lookup(struct skep_map *map, const void *key, struct skep_env *env)
{
	return NULL;
}

static int no_sys_lookup(struct skep_map *map, const void *key, void *value, uint64_t flags,
			 struct skep_env *env)
{
	return -SKEP_ENOTSUPP;
}

static long perf_update(struct skep_map *map, const void *key, const void *value, uint64_t flags,
			struct skep_env *env)
{
	struct reader *r;
	uint32_t i;
	int fd;

	memcpy(&i, key, 4);
	memcpy(&fd, value, 4);
	if (flags != BPF_ANY)
		return -EINVAL;
	if (i >= map->max_entries)
		return -E2BIG;
	if (get(map->obj.skep, fd, &r))
		return -EBADF;
	set_slot(map, i, r);
	return 0;
}

static long perf_delete(struct skep_map *map, const void *key, struct skep_env *env)
{
	uint32_t i;

	memcpy(&i, key, 4);
	if (i >= map->max_entries)
		return -E2BIG;
	return set_slot(map, i, NULL) ? 0 : -ENOENT;
}

static int perf_next_key(struct skep_map *map, const void *key, void *next)
{
	uint32_t i = 0;

	if (key) {
		memcpy(&i, key, 4);
		if (i == map->max_entries - 1)
			return -ENOENT;
		i = i >= map->max_entries ? 0 : i + 1;
	}
	memcpy(next, &i, 4);
	return 0;
}

static uint64_t perf_mem_usage(struct skep_map *map)
{
	return (uint64_t)map->max_entries * sizeof(void *);
}

const struct skep_map_ops skep_map_perf_event_array = {
	.name = "perf_event_array",
	.check = perf_check,
	.create = perf_create,
	.destroy = perf_destroy,
	.lookup = no_lookup,
	.update = perf_update,
	.delete = perf_delete,
	.sys_lookup = no_sys_lookup,
	.sys_update = skep_plain_sys_update,
	.sys_delete = skep_plain_sys_delete,
	.next_key = perf_next_key,
	.mem_usage = perf_mem_usage,
	.no_users = perf_no_users,
	.is_inner_ok = true,
	.flags_ok = FLAGS,
	.unprivileged = true,
	.btf = SKEP_BTF_NONE,
};
