/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Letting the agent in: maps from the supervisor's descriptors, programs from their images.
 * Descriptors are opened through /proc, mapped and closed again, so the host's table stays as it was
 * and the host may close what it likes.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>

#include "exec/slot.h"
#include "os/os.h"
#include "prog/type.h"
#include "trace/agent/agent.h"

uint64_t agent_vdso_clock;
struct agent_range agent_fixed;
static int32_t supervisor;
static uint32_t nmaps, nprogs, nperf, nlinks;

static int open_fd(const struct agent_seg *seg, int access)
{
	char path[64] = "/proc/", *p = path + 6;
	const int32_t numbers[] = {supervisor, seg->fd};

	for (int i = 0; i < 2; i++) {
		char digits[12];
		int n = 0;

		for (uint32_t v = (uint32_t)numbers[i]; n == 0 || v; v /= 10)
			digits[n++] = (char)('0' + v % 10);
		while (n)
			*p++ = digits[--n];
		if (i == 0) {
			memcpy(p, "/fd/", 4);
			p += 4;
		}
	}
	*p = 0;
	return (int)SYS6(SYS_openat, AT_FDCWD, path, access | O_CLOEXEC, 0, 0, 0);
}

static int open_seg(struct skep_seg *out, const struct agent_seg *seg, bool writable)
{
	int fd, err;

	*out = (struct skep_seg){.fd = -1};
	if (seg->fd < 0)
		return 0;
	fd = open_fd(seg, writable ? O_RDWR : O_RDONLY);
	if (fd < 0)
		return fd;
	err = skep_fd_is(fd, seg->dev, seg->ino) ? skep_seg_open(out, fd, writable) : -ESTALE;
	SYS1(SYS_close, fd);
	return err;
}

static int load_map(uint32_t n)
{
	const struct agent_map *m = &agent_ctl->maps[n];
	struct skep_map_desc desc = m->desc;
	struct skep_seg data, ctl;
	int err = open_seg(&data, &m->data, !m->read_only);

	if (err)
		return err;
	err = open_seg(&ctl, &m->ctl, true);
	if (err) {
		skep_seg_close(&data);
		return err;
	}
	return skep_map_attach(&agent_skep, &desc, &data, &ctl, &agent_maps[n]);
}

static int load_perf(uint32_t n)
{
	const struct agent_perf *p = &agent_ctl->perf[n];
	struct skep_perf_opts opts = p->opts;
	struct skep_seg seg;
	int err;

	if (p->map >= nmaps || !agent_maps[p->map])
		return -EINVAL;
	err = open_seg(&seg, &p->seg, true);
	return err ? err : skep_perf_attach(agent_maps[p->map], p->index, &opts, &seg, p->size);
}

static const void *part(uint64_t offset, uint64_t size)
{
	return offset <= AGENT_CTL_SIZE && size <= AGENT_CTL_SIZE - offset
		       ? (const uint8_t *)agent_ctl + offset
		       : NULL;
}

static void *copy_part(uint64_t offset, uint64_t count, size_t size)
{
	const void *from = part(offset, count * size);
	void *to = from && count ? malloc(count * size) : NULL;

	if (to)
		memcpy(to, from, count * size);
	return to;
}

/* Contexts have one size, as far as helpers ask. */
static const struct skep_prog_type type_row = {.name = "agent", .ctx_size = 168, .ictx_size = 168};

static int load_prog(uint32_t n)
{
	const struct agent_prog *a = &agent_ctl->progs[n];
	struct skep_prog *p = calloc(1, sizeof(*p));
	struct skep_image *im;
	int err = 0;

	if (!p || a->nmaps > AGENT_PROG_MAPS) {
		free(p);
		return -ENOMEM;
	}
	im = &p->image;
	p->obj = (struct skep_object){.skep = &agent_skep, .kind = SKEP_KIND_PROG, .refs = 1};
	p->type = a->type;
	p->ops = &type_row;
	memcpy(p->name, a->name, sizeof(p->name));
	im->len = a->len;
	im->nrelocs = a->nrelocs;
	im->nsubprogs = a->nsubprogs;
	im->insns = copy_part(a->insns, a->len, sizeof(*im->insns));
	im->facts = copy_part(a->facts, a->len, sizeof(*im->facts));
	im->relocs = copy_part(a->relocs, a->nrelocs, sizeof(*im->relocs));
	im->subprogs = copy_part(a->subprogs, a->nsubprogs, sizeof(*im->subprogs));
	p->nmaps = a->nmaps;
	p->maps = calloc(a->nmaps ? a->nmaps : 1, sizeof(*p->maps));
	if (!im->insns || !im->facts || !im->subprogs || (im->nrelocs && !im->relocs) || !p->maps)
		err = -ENOMEM;
	for (uint32_t i = 0; i < a->nmaps && !err; i++) {
		if (a->maps[i] < nmaps)
			p->maps[i] = agent_maps[a->maps[i]];
		else
			err = -EINVAL;
	}
	if (!err)
		err = skep_bind(p);
	if (err) {
		skep_image_free(im);
		free(p->maps);
		free(p);
		return err;
	}
	p->run = skep_interp_run;
	if (a->jit && !skep_jit(p, &p->code))
		p->run = p->code.entry;
	agent_progs[n] = p;
	return 0;
}

int agent_load(void)
{
	int err;

	for (; nmaps < agent_ctl->nmaps; nmaps++) {
		err = load_map(nmaps);
		if (err)
			return err;
	}
	for (; nperf < agent_ctl->nperf; nperf++) {
		err = load_perf(nperf);
		if (err)
			return err;
	}
	for (; nprogs < agent_ctl->nprogs; nprogs++) {
		err = load_prog(nprogs);
		if (err)
			return err;
	}
	for (; nlinks < agent_ctl->nlinks; nlinks++)
		agent_syscalls_add(nlinks);
	return 0;
}

static void print(void *arg, const char *text, size_t len)
{
	int32_t n = agent_ctl->printk_map;

	if (n >= 0 && agent_maps[n] && skep_ringbuf_output(agent_maps[n], text, len, 0))
		atomic_fetch_add(&agent_ctl->missed, 1);
}

/* ---- Called by the supervisor ---- */

long agent_init(const struct agent_boot *boot)
{
	struct skep_seg ctl, slots;
	int err, fd;

	supervisor = boot->supervisor;
	agent_vdso_clock = boot->vdso_clock;
	agent_fixed = boot->fixed;
	err = open_seg(&ctl, &boot->ctl, true);
	if (err)
		return err;
	agent_ctl = ctl.base;
	if (ctl.size < sizeof(*agent_ctl) || agent_ctl->magic != AGENT_MAGIC)
		return -EPROTO;
	fd = open_fd(&agent_ctl->parts, O_RDWR);
	if (fd < 0)
		return fd;
	agent_skep.cpus = agent_ctl->cpus;
	agent_skep.pid = (pid_t)SYS1(SYS_getpid, 0);
	agent_skep.epoch = 1;
	agent_skep.holds = 1;
	agent_skep.opts.printk = print;
	agent_skep.mine = skep_wipe_alloc(sizeof(uint32_t));
	if (!agent_skep.mine)
		err = -ENOMEM;
	else
		*agent_skep.mine = 1;
	if (!err)
		err = agent_threads_init();
	if (!err)
		err = skep_parts_open(&agent_skep.parts, fd);
	/* Registers this image, while its descriptor is there. */
	if (!err && !skep_self(agent_skep.parts))
		err = -ENOMEM;
	SYS1(SYS_close, fd);
	if (!err)
		SYS1(SYS_close, skep_parts_fd(agent_skep.parts));
	if (!err)
		err = open_seg(&slots, &agent_ctl->slots, true);
	if (!err)
		err = skep_slots_open(&agent_skep.slots, agent_skep.parts, &slots, agent_skep.cpus);
	return err ? err : agent_load();
}

long agent_sync(void)
{
	return agent_load();
}
