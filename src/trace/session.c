/* SPDX-License-Identifier: Apache-2.0 */
/* A trace's control segment: maps, programs and links, as agents find them. */
#include "trace/session.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "exec/slot.h"
#include "os/os.h"

#define PRINTK_SIZE (1u << 20)

void trace_notice(struct skep_trace *t, const char *fmt, ...)
{
	char text[512];
	va_list ap;

	if (!t->opts.notice)
		return;
	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	t->opts.notice(t->opts.notice_arg, text);
}

static struct agent_seg seg_of(const struct skep_seg *seg)
{
	return (struct agent_seg){seg->base ? seg->fd : -1, seg->dev, seg->ino};
}

/* ---- Maps ---- */

static int add_readers(struct skep_trace *t, struct skep_map *map, uint32_t number)
{
	for (uint32_t i = 0; i < map->max_entries; i++) {
		struct agent_perf *p = &t->ctl->perf[t->ctl->nperf];
		const struct skep_seg *seg;

		if (t->ctl->nperf == AGENT_MAX_PERF)
			return -E2BIG;
		if (!skep_perf_describe(map, i, &p->opts, &seg, &p->size))
			continue;
		p->map = number;
		p->index = i;
		p->seg = seg_of(seg);
		atomic_fetch_add(&t->ctl->nperf, 1);
	}
	return 0;
}

static int add_map(struct skep_trace *t, struct skep_map *map, struct skep_error *err)
{
	uint32_t n = t->ctl->nmaps;
	struct agent_map *m = &t->ctl->maps[n];
	int seals;

	for (uint32_t i = 0; i < n; i++)
		if (t->maps[i] == map)
			return (int)i;
	if (n == AGENT_MAX_MAPS)
		return skep_fail(err, -E2BIG, NULL, "more than %d maps", AGENT_MAX_MAPS);
	if (map->inner || map->type == BPF_MAP_TYPE_DEVMAP || map->type == BPF_MAP_TYPE_DEVMAP_HASH)
		return skep_fail(err, -EOPNOTSUPP, NULL,
				 "map '%s': maps of this type can't be shared with traced "
				 "processes yet",
				 map->name);
	for (uint32_t i = 0; i < map->fields.n; i++)
		if (map->fields.f[i].kind == SKEP_FIELD_KPTR_REF ||
		    map->fields.f[i].kind == SKEP_FIELD_KPTR_PERCPU)
			return skep_fail(err, -EOPNOTSUPP, NULL,
					 "map '%s' holds objects, which other processes can't "
					 "reach yet",
					 map->name);
	skep_map_describe(map, &m->desc);
	m->data = seg_of(&map->data);
	m->ctl = seg_of(&map->ctl);
	seals = fcntl(map->data.fd, F_GET_SEALS);
	m->read_only = seals >= 0 && (seals & (F_SEAL_WRITE | F_SEAL_FUTURE_WRITE));
	if (m->read_only && !(map->flags & BPF_F_RDONLY_PROG))
		return skep_fail(
			err, -EPERM, "Freeze it without letting programs write it.",
			"map '%s' is frozen, and programs write it: traced processes can't "
			"map it any more",
			map->name);
	skep_object_ref(&map->obj);
	t->maps[n] = map;
	atomic_store(&t->ctl->nmaps, n + 1);
	if (map->type == BPF_MAP_TYPE_PERF_EVENT_ARRAY) {
		int e = add_readers(t, map, n);

		if (e)
			return skep_fail(err, e, NULL, "map '%s': too many readers", map->name);
	}
	return (int)n;
}

/* ---- Programs ---- */

/* Copies something behind what is used: its offset, 0: full. */
static uint64_t put(struct skep_trace *t, const void *from, size_t size)
{
	uint64_t at = (t->ctl->heap + 63) & ~63ull;

	if (size > AGENT_CTL_SIZE - at || skep_seg_reserve(&t->seg, at, size ? size : 1))
		return 0;
	memcpy((uint8_t *)t->ctl + at, from, size);
	t->ctl->heap = at + size;
	return at;
}

static int add_prog(struct skep_trace *t, struct skep_prog *prog, struct skep_error *err)
{
	uint32_t n = t->ctl->nprogs;
	struct agent_prog *a = &t->ctl->progs[n];
	const struct skep_image *im = &prog->image;

	for (uint32_t i = 0; i < n; i++)
		if (t->progs[i] == prog)
			return (int)i;
	if (n == AGENT_MAX_PROGS || prog->nmaps > AGENT_PROG_MAPS)
		return skep_fail(err, -E2BIG, NULL, "program '%s': too many programs or maps",
				 prog->name);
	if (prog->heap)
		return skep_fail(
			err, -EOPNOTSUPP, NULL,
			"program '%s' makes objects, which other processes can't reach yet",
			prog->name);
	*a = (struct agent_prog){.type = prog->type,
				 .len = im->len,
				 .nrelocs = im->nrelocs,
				 .nsubprogs = im->nsubprogs,
				 .nmaps = prog->nmaps,
				 .jit = prog->code.entry != NULL};
	memcpy(a->name, prog->name, sizeof(a->name));
	for (uint32_t i = 0; i < prog->nmaps; i++) {
		int m = add_map(t, prog->maps[i], err);

		if (m < 0)
			return m;
		a->maps[i] = (uint32_t)m;
	}
	a->insns = put(t, im->insns, im->len * sizeof(*im->insns));
	a->facts = put(t, im->facts, im->len * sizeof(*im->facts));
	a->relocs = put(t, im->relocs, im->nrelocs * sizeof(*im->relocs));
	a->subprogs = put(t, im->subprogs, im->nsubprogs * sizeof(*im->subprogs));
	if (!a->insns || !a->facts || !a->relocs || !a->subprogs)
		return skep_fail(err, -ENOMEM, NULL, "program '%s': no memory", prog->name);
	skep_object_ref(&prog->obj);
	t->progs[n] = prog;
	atomic_store(&t->ctl->nprogs, n + 1);
	return (int)n;
}

int trace_add_link(struct skep_trace *t, int prog_fd, enum agent_kind kind, uint64_t cookie, int nr,
		   struct skep_error *err)
{
	uint32_t n = t->ctl->nlinks;
	struct skep_object *obj;
	int prog, e;

	if (n == AGENT_MAX_LINKS)
		return skep_fail(err, -E2BIG, NULL, "more than %d attachments", AGENT_MAX_LINKS);
	e = skep_object_get(t->skep, prog_fd, SKEP_KIND_PROG, &obj);
	if (e)
		return skep_fail(err, e, NULL, "descriptor %d is no program", prog_fd);
	prog = add_prog(t, (struct skep_prog *)obj, err);
	skep_object_put(obj);
	if (prog < 0)
		return prog;
	t->ctl->links[n] = (struct agent_link){
		.prog = (uint32_t)prog, .kind = kind, .cookie = cookie, .nr = nr, .on = 1};
	atomic_store(&t->ctl->nlinks, n + 1);
	return (int)n;
}

/* ---- Opening ---- */

static int printed(void *arg, const void *data, uint32_t size)
{
	struct skep *skep = arg;

	if (skep->opts.printk)
		skep->opts.printk(skep->opts.printk_arg, data, size);
	else
		fprintf(stderr, "%.*s\n", (int)size, (const char *)data);
	return 0;
}

void trace_drain(struct skep_trace *t)
{
	skep_ringbuf_consume(t->printk, printed, t->skep);
}

int skep_trace_open(struct skep_trace **out, struct skep *skep, const struct skep_trace_opts *opts,
		    struct skep_error *err)
{
	union bpf_attr attr = {.map_type = BPF_MAP_TYPE_RINGBUF, .max_entries = PRINTK_SIZE};
	struct skep_trace *t = calloc(1, sizeof(*t));
	struct skep_seg parts = {.fd = skep_parts_fd(skep->parts)};
	int e;

	if (!t)
		return skep_fail(err, -ENOMEM, NULL, "no memory");
	t->skep = skep;
	if (opts)
		t->opts = *opts;
	t->listener = -1;
	/* Where nothing else is: above programs, below what mmap hands out. With the agent behind
	 * it, no boundary of 4 GiB is crossed. */
	t->dir = 0x200000000000ull + ((skep_random() & 0x7ffff) << 25);
	e = skep_seg_create(&t->seg, "skep-trace", AGENT_CTL_SIZE);
	if (!e)
		e = skep_seg_reserve(&t->seg, 0, sizeof(*t->ctl));
	if (!e)
		e = skep_fd_stat(parts.fd, &parts.dev, &parts.ino);
	if (!e)
		e = skep_map_create(skep, &attr, NULL, NULL, &t->printk);
	if (e) {
		skep_seg_close(&t->seg);
		free(t);
		return skep_fail(err, e, NULL, "no memory for a trace: %s", strerror(-e));
	}
	e = (int)remote_status(getpid(), "Seccomp_filters", 10);
	t->late.filters = e > 0 ? e : 0;
	t->supervisor = getpid();
	t->listener = -1;
	t->ctl = t->seg.base;
	t->ctl->magic = AGENT_MAGIC;
	t->ctl->cpus = skep->cpus;
	t->ctl->slots = seg_of(skep_slots_seg(skep->slots));
	t->ctl->parts = (struct agent_seg){parts.fd, parts.dev, parts.ino};
	t->ctl->heap = sizeof(*t->ctl);
	t->ctl->printk_map = add_map(t, t->printk, err);
	*out = t;
	return 0;
}

void skep_trace_close(struct skep_trace *t)
{
	if (!t)
		return;
	skep_trace_detach(t);
	for (uint32_t i = 0; i < t->ctl->nprogs; i++)
		skep_object_put(&t->progs[i]->obj);
	for (uint32_t i = 0; i < t->ctl->nmaps; i++)
		if (t->maps[i])
			skep_object_put(&t->maps[i]->obj);
	skep_object_put(&t->printk->obj);
	for (size_t i = 0; i < t->nelfs; i++)
		trace_elf_close(t->elfs[i]);
	free(t->elfs);
	syscalls_close(t);
	free(t->points);
	skep_seg_close(&t->seg);
	free(t);
}

uint64_t skep_trace_missed(const struct skep_trace *t)
{
	return atomic_load(&t->ctl->missed);
}

unsigned skep_trace_entered(const struct skep_trace *t)
{
	return atomic_load(&t->ctl->entered);
}
