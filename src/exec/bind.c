// SPDX-License-Identifier: Apache-2.0
/*
 * Bound instructions: a private copy of the image in which every reference is an
 * address of this process and loads that may fault say so in their opcode.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "bpf/instance.h"
#include "exec/bind.h"
#include "exec/slot.h"
#include "map/map.h"

int skep_reloc_value(const struct skep_prog *prog, const struct skep_reloc *reloc, uint64_t *value)
{
	struct skep_map *map;
	uint64_t size;
	void *base;
	int err;

	if (reloc->kind == SKEP_RELOC_BTF) {
		*value = (uintptr_t)skep_slots_var(prog->obj.skep->slots, reloc->target);
		return *value ? 0 : -ENOENT;
	}
	if (reloc->kind != SKEP_RELOC_MAP && reloc->kind != SKEP_RELOC_MAP_VALUE)
		return -ENOTSUP;
	if (reloc->target >= prog->nmaps)
		return -ENOENT;
	map = prog->maps[reloc->target];
	if (reloc->kind == SKEP_RELOC_MAP) {
		*value = (uintptr_t)map;
		return 0;
	}
	if (!map->ops->direct)
		return -ENOTSUP;
	err = map->ops->direct(map, &base, &size);
	if (err)
		return err;
	if (reloc->offset >= size)
		return -ENOENT;
	*value = (uintptr_t)base + reloc->offset;
	return 0;
}

static int bind_one(const struct skep_prog *prog, struct bpf_insn *insns,
		    const struct skep_reloc *reloc)
{
	const struct skep_image *image = &prog->image;
	uint64_t value;
	int err = 0;

	if (reloc->insn + 1 >= image->len)
		return -ENOENT;
	if (reloc->kind == SKEP_RELOC_FUNC) {
		if (reloc->target >= image->nsubprogs)
			return -ENOENT;
		value = (uintptr_t)&insns[image->subprogs[reloc->target].start] + SKEP_FUNC_INTERP;
	} else {
		err = skep_reloc_value(prog, reloc, &value);
		if (err)
			return err;
	}
	insns[reloc->insn].imm = (int32_t)value;
	insns[reloc->insn + 1].imm = (int32_t)(value >> 32);
	return 0;
}

static void mark_probes(struct bpf_insn *insns, const struct skep_image *image)
{
	for (uint32_t i = 0; i < image->len; i++) {
		uint8_t mode = BPF_MODE(insns[i].code);

		if (BPF_CLASS(insns[i].code) != BPF_LDX || image->facts[i].mem != SKEP_MEM_PROBE)
			continue;
		insns[i].code = BPF_LDX | BPF_SIZE(insns[i].code) |
				(mode == BPF_MEMSX ? SKEP_PROBE_MEMSX : SKEP_PROBE_MEM);
	}
}

int skep_bind(struct skep_prog *prog)
{
	const struct skep_image *image = &prog->image;
	struct bpf_insn *insns = malloc(image->len * sizeof(*insns));
	int err = 0;

	if (!insns)
		return -ENOMEM;
	memcpy(insns, image->insns, image->len * sizeof(*insns));
	for (uint32_t i = 0; i < image->nrelocs && !err; i++)
		err = bind_one(prog, insns, &image->relocs[i]);
	if (err) {
		free(insns);
		return err;
	}
	if (image->facts)
		mark_probes(insns, image);
	prog->bound = (struct skep_bound){.insns = insns, .len = image->len};
	return 0;
}

void skep_unbind(struct skep_prog *prog)
{
	free(prog->bound.insns);
	prog->bound = (struct skep_bound){0};
}
