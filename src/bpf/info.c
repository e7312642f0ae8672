/* SPDX-License-Identifier: Apache-2.0 */
/*
 * OBJ_GET_INFO_BY_FD. The caller's structure may be shorter or (zero-filled) longer than
 * ours; arrays are copied up to the count that the caller gave, the true one is answered.
 */
#include <stdlib.h>
#include <string.h>

#include "bpf/call.h"
#include "bpf/link.h"
#include "bpf/sha256.h"
#include "btf/btf.h"

static uint32_t min32(uint32_t a, uint32_t b)
{
	return a < b ? a : b;
}

/* Reads the caller's structure of info_len bytes into one of size bytes. */
static int info_begin(struct skep_call *c, void *info, uint32_t size, uint32_t *len)
{
	uint32_t user_len = c->attr.info.info_len;
	int err = skep_user_tail_zero(c->attr.info.info, size, user_len);

	if (err)
		return err;
	*len = min32(user_len, size);
	memset(info, 0, size);
	return skep_user_read(info, c->attr.info.info, *len);
}

static int info_end(struct skep_call *c, const void *info, uint32_t len)
{
	if (skep_user_write(c->attr.info.info, info, len) || skep_call_put(c, info.info_len, len))
		return -EFAULT;
	return 0;
}

/* ---- Programs ---- */

/* Compiled programs call subprograms by number, the distance stands in off. */
static void number_call(const struct skep_image *img, struct bpf_insn *insns, uint32_t at)
{
	uint32_t target = at + 1 + (uint32_t)insns[at].imm;

	for (uint32_t k = 0; k < img->nsubprogs; k++) {
		if (img->subprogs[k].start != target)
			continue;
		insns[at].off = (int16_t)insns[at].imm;
		insns[at].imm = (int32_t)k;
		return;
	}
}

/* The image as others may see it: ids for maps, numbers for functions. */
static struct bpf_insn *dump(const struct skep_prog *prog)
{
	const struct skep_image *img = &prog->image;
	struct bpf_insn *insns = malloc(img->len * sizeof(*insns) + 1);

	if (!insns)
		return NULL;
	memcpy(insns, img->insns, img->len * sizeof(*insns));
	for (uint32_t i = 0; i < img->nrelocs; i++) {
		const struct skep_reloc *r = &img->relocs[i];
		struct bpf_insn *in = &insns[r->insn];
		bool map = r->kind == SKEP_RELOC_MAP || r->kind == SKEP_RELOC_MAP_VALUE;
		if (map && r->target < prog->nmaps) {
			in->src_reg = r->kind == SKEP_RELOC_MAP ? BPF_PSEUDO_MAP_FD
								: BPF_PSEUDO_MAP_VALUE;
			in[0].imm = (int32_t)prog->maps[r->target]->obj.id;
			in[1].imm = r->kind == SKEP_RELOC_MAP ? 0 : (int32_t)r->offset;
		} else if (r->kind == SKEP_RELOC_FUNC && r->target < img->nsubprogs) {
			in->src_reg = BPF_PSEUDO_FUNC;
			in[0].imm = (int32_t)(img->subprogs[r->target].start - r->insn - 1);
			in[1].imm = 0;
		}
	}
	for (uint32_t i = 0; prog->code.mem && i < img->len; i++)
		if (insns[i].code == (BPF_JMP | BPF_CALL) && insns[i].src_reg == BPF_PSEUDO_CALL)
			number_call(img, insns, i);
	return insns;
}

/* Fixes a record size as the kernel does: only its own, or nothing asked. */
static int rec_size(uint32_t *size, uint32_t nr, uint32_t ours)
{
	bool ok = !(nr || *size) || *size == ours;

	*size = ours;
	return ok ? 0 : -EINVAL;
}

static int copy_array(uint64_t user, uint32_t *count, uint32_t have, const void *data,
		      uint32_t each)
{
	uint32_t want = *count;

	*count = have;
	if (!have || !want)
		return 0;
	return user ? skep_user_write(user, data, (size_t)min32(want, have) * each) : -EFAULT;
}

static void sum_stats(const struct skep_prog *prog, struct bpf_prog_info *info)
{
	for (uint32_t i = 0; i < prog->obj.skep->cpus; i++) {
		info->run_cnt += atomic_load(&prog->stats[i].cnt);
		info->run_time_ns += atomic_load(&prog->stats[i].nsecs);
		info->recursion_misses += atomic_load(&prog->stats[i].misses);
	}
}

static int put_map_ids(const struct skep_prog *prog, struct bpf_prog_info *info)
{
	uint32_t want = min32(info->nr_map_ids, prog->nmaps);
	uint64_t user = info->map_ids;

	info->nr_map_ids = prog->nmaps;
	for (uint32_t i = 0; i < want; i++)
		if (skep_user_write(user + i * 4ull, &prog->maps[i]->obj.id, 4))
			return -EFAULT;
	return 0;
}

static int put_xlated(const struct skep_prog *prog, struct bpf_prog_info *info)
{
	uint32_t want = info->xlated_prog_len;

	info->xlated_prog_len = prog->image.len * (uint32_t)sizeof(struct bpf_insn);
	if (!want || !info->xlated_prog_len)
		return 0;
	struct bpf_insn *insns = dump(prog);
	if (!insns)
		return -ENOMEM;
	int err =
		skep_user_write(info->xlated_prog_insns, insns, min32(want, info->xlated_prog_len));
	free(insns);
	return err;
}

/* Where the code of instruction i starts; of the last one: where it ends. */
static uint32_t code_at(const struct skep_prog *prog, uint32_t i)
{
	return prog->code.offsets && i < prog->image.len ? prog->code.offsets[i]
							 : (uint32_t)prog->code.size;
}

/* The same, but the program's own code begins with its prologue. */
static uint32_t line_at(const struct skep_prog *prog, uint32_t i)
{
	return i ? code_at(prog, i) : 0;
}

static int put_jited(const struct skep_prog *prog, struct bpf_prog_info *info)
{
	const struct skep_image *img = &prog->image;
	uint32_t want_code = info->jited_prog_len, want_syms = info->nr_jited_ksyms;
	uint32_t want_lens = info->nr_jited_func_lens, want_lines = info->nr_jited_line_info;
	uint64_t base = (uintptr_t)prog->code.mem;
	bool lines = prog->nline_info && prog->code.offsets;

	info->jited_prog_len = (uint32_t)prog->code.size;
	info->nr_jited_ksyms = info->nr_jited_func_lens = img->nsubprogs ? img->nsubprogs : 1;
	info->nr_jited_line_info = lines ? prog->nline_info : 0;
	if (want_code && skep_user_write(info->jited_prog_insns, prog->code.mem,
					 min32(want_code, info->jited_prog_len)))
		return -EFAULT;
	for (uint32_t i = 0; i < info->nr_jited_ksyms; i++) {
		uint32_t start = img->nsubprogs ? img->subprogs[i].start : 0;
		uint32_t len = img->nsubprogs ? img->subprogs[i].len : img->len;
		uint64_t addr = base + line_at(prog, start);
		uint32_t size = (uint32_t)(base + code_at(prog, start + len) - addr);
		if (i < want_syms && skep_user_write(info->jited_ksyms + i * 8ull, &addr, 8))
			return -EFAULT;
		if (i < want_lens && skep_user_write(info->jited_func_lens + i * 4ull, &size, 4))
			return -EFAULT;
	}
	for (uint32_t i = 0; i < min32(want_lines, info->nr_jited_line_info); i++) {
		uint64_t addr = base + line_at(prog, prog->line_info[i].insn_off);
		if (skep_user_write(info->jited_line_info + i * 8ull, &addr, 8))
			return -EFAULT;
	}
	return 0;
}

static int put_tags(const struct skep_prog *prog, struct bpf_prog_info *info)
{
	const struct skep_image *img = &prog->image;
	uint32_t want = info->nr_prog_tags, n = img->nsubprogs ? img->nsubprogs : 1;

	info->nr_prog_tags = n;
	for (uint32_t i = 0; i < min32(want, n); i++) {
		uint8_t digest[32];
		memcpy(digest, prog->tag, sizeof(prog->tag));
		if (n > 1)
			skep_sha256(img->insns + img->subprogs[i].start,
				    img->subprogs[i].len * sizeof(*img->insns), digest);
		if (skep_user_write(info->prog_tags + i * 8ull, digest, BPF_TAG_SIZE))
			return -EFAULT;
	}
	return 0;
}

static int prog_info(struct skep_call *c, const struct skep_prog *prog)
{
	struct bpf_prog_info info;
	uint32_t len;
	int err = info_begin(c, &info, sizeof(info), &len);

	if (err)
		return err;
	info.type = prog->type;
	info.id = prog->obj.id;
	memcpy(info.tag, prog->tag, sizeof(info.tag));
	info.load_time = prog->load_ns;
	info.created_by_uid = prog->obj.uid;
	info.gpl_compatible = prog->gpl;
	memcpy(info.name, prog->name, sizeof(info.name));
	info.ifindex = 0;
	info.netns_dev = info.netns_ino = 0;
	err = put_map_ids(prog, &info);
	if (err)
		return err;
	err = rec_size(&info.func_info_rec_size, info.nr_func_info, sizeof(*prog->func_info));
	if (!err)
		err = rec_size(&info.line_info_rec_size, info.nr_line_info,
			       sizeof(*prog->line_info));
	if (!err)
		err = rec_size(&info.jited_line_info_rec_size, info.nr_jited_line_info, 8);
	if (err)
		return err;
	info.run_time_ns = info.run_cnt = info.recursion_misses = 0;
	sum_stats(prog, &info);
	info.verified_insns = prog->verified_insns;
	info.btf_id = prog->btf ? prog->btf->obj.id : 0;
	info.attach_btf_id = prog->attach_btf_id;
	info.attach_btf_obj_id = 0;
	if (!skep_capable(c->skep, SKEP_CAP_BPF)) {
		info.jited_prog_len = info.xlated_prog_len = 0;
		info.nr_jited_ksyms = info.nr_jited_func_lens = 0;
		info.nr_func_info = info.nr_line_info = info.nr_jited_line_info = 0;
		return info_end(c, &info, len);
	}
	err = put_xlated(prog, &info);
	if (!err)
		err = put_jited(prog, &info);
	if (!err)
		err = copy_array(info.func_info, &info.nr_func_info, prog->nfunc_info,
				 prog->func_info, sizeof(*prog->func_info));
	if (!err)
		err = copy_array(info.line_info, &info.nr_line_info, prog->nline_info,
				 prog->line_info, sizeof(*prog->line_info));
	if (!err)
		err = put_tags(prog, &info);
	return err ? err : info_end(c, &info, len);
}

/* ---- Maps ---- */

/* The digest of a frozen array's contents. */
static int map_hash(const struct skep_map *map, const struct bpf_map_info *info)
{
	uint8_t digest[32];

	if (!info->hash)
		return info->hash_size ? -EINVAL : 0;
	if (map->type != BPF_MAP_TYPE_ARRAY || info->hash_size != sizeof(digest))
		return -EINVAL;
	if (!atomic_load(&map->frozen))
		return -EPERM;
	/* An array's elements are its data segment's beginning. */
	skep_sha256(map->data.base, (size_t)map->elem_size * map->max_entries, digest);
	return skep_user_write(info->hash, digest, sizeof(digest));
}

static int map_info(struct skep_call *c, const struct skep_map *map)
{
	struct bpf_map_info info;
	uint32_t len;
	int err = info_begin(c, &info, sizeof(info), &len);

	if (!err)
		err = map_hash(map, &info);
	if (err)
		return err;
	info.type = map->type;
	info.id = map->obj.id;
	info.key_size = map->key_size;
	info.value_size = map->value_size;
	info.max_entries = map->max_entries;
	/* How the descriptor may be used is no property of the map. */
	info.map_flags = map->flags & ~(uint32_t)(BPF_F_RDONLY | BPF_F_WRONLY);
	info.map_extra = map->extra;
	memcpy(info.name, map->name, sizeof(info.name));
	info.ifindex = 0;
	info.netns_dev = info.netns_ino = 0;
	info.btf_id = map->btf ? map->btf->obj.id : 0;
	info.btf_key_type_id = map->btf_key_id;
	info.btf_value_type_id = map->btf_value_id;
	info.btf_vmlinux_value_type_id = info.btf_vmlinux_id = 0;
	return info_end(c, &info, len);
}

/* ---- BTF ---- */

static int btf_info(struct skep_call *c, const struct skep_btf *btf)
{
	struct bpf_btf_info info;
	uint32_t len, have = (uint32_t)strlen(btf->name);
	int ret = 0, err = info_begin(c, &info, sizeof(info), &len);

	if (err)
		return err;
	info.id = btf->obj.id;
	if (skep_user_write(info.btf, btf->data, min32(btf->data_size, info.btf_size)))
		return -EFAULT;
	info.btf_size = btf->data_size;
	info.kernel_btf = btf->kernel;
	uint32_t room = info.name_len;
	if (!info.name != !room)
		return -EINVAL;
	info.name_len = have;
	if (info.name) {
		uint32_t n = have + 1 <= room ? have : room - 1;
		if (n < have)
			ret = -ENOSPC;
		if (skep_user_write(info.name, btf->name, n) ||
		    skep_user_write(info.name + n, "", 1))
			return -EFAULT;
	}
	err = info_end(c, &info, len);
	return err ? err : ret;
}

/* ---- Links ---- */

static int link_info(struct skep_call *c, struct skep_link *link)
{
	struct bpf_link_info info;
	uint32_t len;
	int err = info_begin(c, &info, sizeof(info), &len);

	if (err)
		return err;
	struct skep_prog *prog = skep_link_prog(link);
	info.type = link->type;
	info.id = link->obj.id;
	info.prog_id = prog ? prog->obj.id : 0;
	if (prog)
		skep_object_put(&prog->obj);
	err = skep_link_info(link, &info);
	return err ? err : info_end(c, &info, len);
}

long skep_cmd_info(struct skep_call *c)
{
	struct skep_object *obj;
	int err = skep_object_get(c->skep, (int)c->attr.info.bpf_fd, SKEP_KIND_NONE, &obj);

	if (err)
		return err == -EBADF ? -EBADFD : err; /* as the kernel has it, only here */
	switch (obj->kind) {
	case SKEP_KIND_PROG:
		err = prog_info(c, (struct skep_prog *)obj);
		break;
	case SKEP_KIND_MAP:
		err = map_info(c, (struct skep_map *)obj);
		break;
	case SKEP_KIND_BTF:
		err = btf_info(c, (struct skep_btf *)obj);
		break;
	case SKEP_KIND_LINK:
		err = link_info(c, (struct skep_link *)obj);
		break;
	default:
		err = -EINVAL;
	}
	skep_object_put(obj);
	return err;
}
