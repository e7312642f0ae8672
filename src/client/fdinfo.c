/* SPDX-License-Identifier: Apache-2.0 */
#include "client/fdinfo.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "bpf/instance.h"
#include "bpf/iter.h"
#include "bpf/link.h"
#include "bpf/uapi.h"
#include "btf/btf.h"
#include "client/view.h"
#include "map/map.h"
#include "os/caller.h"

int skep_fdinfo_kind(struct skep *skep, int fd)
{
	struct skep_object *obj;
	int kind, err = skep_object_get(skep, fd, SKEP_KIND_NONE, &obj);

	if (err)
		return err;
	kind = obj->kind;
	skep_object_put(obj);
	return kind;
}

/* ---- By kind ---- */

static void say_map(FILE *f, const struct skep_object *obj)
{
	struct skep_map *map = (struct skep_map *)(uintptr_t)obj;
	uint64_t bytes =
		map->ops->mem_usage ? map->ops->mem_usage(map) : map->data.size + map->ctl.size;

	fprintf(f,
		"map_type:\t%u\nkey_size:\t%u\nvalue_size:\t%u\nmax_entries:\t%u\n"
		"map_flags:\t0x%x\nmap_extra:\t0x%" PRIx64 "\nmemlock:\t%" PRIu64
		"\nmap_id:\t%u\nfrozen:\t%u\n",
		map->type, map->key_size, map->value_size, map->max_entries,
		map->flags & ~(uint32_t)(BPF_F_RDONLY | BPF_F_WRONLY), map->extra, bytes,
		map->obj.id, (unsigned)atomic_load(&map->frozen));
	if (map->owner.type)
		fprintf(f, "owner_prog_type:\t%u\nowner_jited:\t%u\n", map->owner.type,
			(unsigned)map->owner.jited);
}

static void say_tag(FILE *f, const struct skep_prog *prog)
{
	fputs("prog_tag:\t", f);
	for (size_t i = 0; i < sizeof(prog->tag); i++)
		fprintf(f, "%02x", prog->tag[i]);
	fputc('\n', f);
}

static void say_prog(FILE *f, const struct skep_object *obj)
{
	const struct skep_prog *prog = (const struct skep_prog *)obj;
	uint64_t cnt = 0, nsecs = 0, misses = 0;
	uint64_t bytes = sizeof(*prog) + prog->image.len * sizeof(struct bpf_insn);

	for (uint32_t i = 0; i < obj->skep->cpus; i++) {
		cnt += atomic_load(&prog->stats[i].cnt);
		nsecs += atomic_load(&prog->stats[i].nsecs);
		misses += atomic_load(&prog->stats[i].misses);
	}
	fprintf(f, "prog_type:\t%u\nprog_jited:\t%u\n", prog->type, (unsigned)!!prog->code.entry);
	say_tag(f, prog);
	fprintf(f,
		"memlock:\t%" PRIu64 "\nprog_id:\t%u\nrun_time_ns:\t%" PRIu64 "\nrun_cnt:\t%" PRIu64
		"\nrecursion_misses:\t%" PRIu64 "\nverified_insns:\t%u\n",
		(bytes + 4095) / 4096 * 4096, obj->id, nsecs, cnt, misses, prog->verified_insns);
}

static const char *const link_names[] = {
	[BPF_LINK_TYPE_RAW_TRACEPOINT] = "raw_tracepoint",
	[BPF_LINK_TYPE_TRACING] = "tracing",
	[BPF_LINK_TYPE_CGROUP] = "cgroup",
	[BPF_LINK_TYPE_ITER] = "iter",
	[BPF_LINK_TYPE_NETNS] = "netns",
	[BPF_LINK_TYPE_XDP] = "xdp",
	[BPF_LINK_TYPE_PERF_EVENT] = "perf",
	[BPF_LINK_TYPE_KPROBE_MULTI] = "kprobe_multi",
	[BPF_LINK_TYPE_STRUCT_OPS] = "struct_ops",
	[BPF_LINK_TYPE_NETFILTER] = "netfilter",
	[BPF_LINK_TYPE_TCX] = "tcx",
	[BPF_LINK_TYPE_UPROBE_MULTI] = "uprobe_multi",
	[BPF_LINK_TYPE_NETKIT] = "netkit",
	[BPF_LINK_TYPE_SOCKMAP] = "sockmap",
};

static void say_iter(FILE *f, const struct skep_iter_link *iter)
{
	fprintf(f, "target_name:\t%s\n", iter->target->name);
	if (iter->map)
		fprintf(f, "map_id:\t%u\n", iter->map->obj.id);
}

static void say_link(FILE *f, const struct skep_object *obj)
{
	struct skep_link *link = (struct skep_link *)(uintptr_t)obj;
	const char *name = link->type < sizeof(link_names) / sizeof(link_names[0])
				   ? link_names[link->type]
				   : NULL;
	struct skep_prog *prog = skep_link_prog(link);

	if (name)
		fprintf(f, "link_type:\t%s\n", name);
	else
		fprintf(f, "link_type:\t<%u>\n", link->type);
	fprintf(f, "link_id:\t%u\n", obj->id);
	if (prog) {
		say_tag(f, prog);
		fprintf(f, "prog_id:\t%u\n", prog->obj.id);
		skep_object_put(&prog->obj);
	}
	if (link->type == BPF_LINK_TYPE_ITER)
		say_iter(f, skep_iter_of(link));
	else if (link->type == BPF_LINK_TYPE_XDP)
		fprintf(f, "ifindex:\t%u\n", link->ifindex);
	else if (link->type == BPF_LINK_TYPE_TCX || link->type == BPF_LINK_TYPE_NETKIT)
		fprintf(f, "ifindex:\t%u\nattach_type:\t%u (%s)\n", link->ifindex,
			link->attach_type,
			link->attach_type == BPF_TCX_INGRESS   ? "ingress"
			: link->attach_type == BPF_TCX_EGRESS  ? "egress"
			: link->attach_type == BPF_NETKIT_PEER ? "peer"
							       : "primary");
}

static void say_btf(FILE *f, const struct skep_object *obj)
{
	fprintf(f, "btf_id:\t%u\n", obj->id);
}

/* Which flags of open(2) the kernel's handle has; those of maps say what it may do. */
static const struct {
	const char *name;
	void (*say)(FILE *f, const struct skep_object *obj);
	unsigned flags;
} kinds[SKEP_KIND_MAX] = {
	[SKEP_KIND_MAP] = {"anon_inode:bpf-map", say_map, O_RDWR | O_CLOEXEC},
	[SKEP_KIND_PROG] = {"anon_inode:bpf-prog", say_prog, O_RDWR | O_CLOEXEC},
	[SKEP_KIND_LINK] = {"anon_inode:bpf_link", say_link, O_CLOEXEC},
	[SKEP_KIND_BTF] = {"anon_inode:btf", say_btf, O_CLOEXEC},
	[SKEP_KIND_PERF] = {"anon_inode:[perf_event]", NULL, O_RDWR},
	[SKEP_KIND_STATS] = {"anon_inode:bpf-stats", NULL, O_CLOEXEC},
};

const char *skep_fdinfo_name(int kind)
{
	return kind >= 0 && kind < SKEP_KIND_MAX ? kinds[kind].name : NULL;
}

/* ---- The file ---- */

/* What every file has: where it stands, how it was opened, its mount and inode. */
static void say_common(FILE *f, int fd, const struct skep_object *obj)
{
	unsigned long long flags = kinds[obj->kind].flags, ino = 0, mnt = 0;
	const struct skep_caller *caller = skep_caller_current();
	bool readable, writable;
	char path[64], line[128];
	FILE *real;

	snprintf(path, sizeof(path), "/proc/%d/fdinfo/%d", caller ? (int)caller->pid : getpid(),
		 fd);
	real = fopen(path, "re");
	while (real && fgets(line, sizeof(line), real)) {
		unsigned long long was;

		sscanf(line, "ino:\t%llu", &ino);
		sscanf(line, "mnt_id:\t%llu", &mnt);
		if (sscanf(line, "flags:\t%llo", &was) == 1)
			flags = (flags & ~(unsigned long long)O_CLOEXEC) | (was & O_CLOEXEC);
	}
	if (real)
		fclose(real);
	if (obj->kind == SKEP_KIND_MAP &&
	    !skep_handle_mode(obj, skep_caller_fd(fd), &readable, &writable))
		flags = (flags & ~(unsigned long long)O_ACCMODE) | (!writable   ? O_RDONLY
								    : !readable ? O_WRONLY
										: O_RDWR);
	fprintf(f, "pos:\t0\nflags:\t0%llo\nmnt_id:\t%llu\nino:\t%llu\n", flags, mnt, ino);
}

int skep_fdinfo_open(struct skep *skep, int fd)
{
	struct skep_object *obj;
	char *text = NULL;
	size_t len = 0;
	int err = skep_object_get(skep, fd, SKEP_KIND_NONE, &obj), out;
	FILE *f;

	if (err)
		return err;
	f = open_memstream(&text, &len);
	if (f) {
		say_common(f, fd, obj);
		if (kinds[obj->kind].say)
			kinds[obj->kind].say(f, obj);
		fclose(f);
	}
	skep_object_put(obj);
	if (!f)
		return -ENOMEM;
	out = skep_view_text(text, len);
	free(text);
	return out;
}
