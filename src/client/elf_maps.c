/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Maps as they were written before BTF: structures in a section "maps", whose first
 * words are type, key_size, value_size, max_entries, map_flags. libbpf 1.x refuses that section.
 *
 * The section keeps its contents, so that relocations against it still hold; it is renamed to
 * ".maps", and BTF says about each structure what the BTF-defined form would say: a struct
 * with members "type", "key_size", ... each a pointer to an array of as many ints.
 */
#include <bpf/btf.h>
#include <elf.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bpf/uapi.h"
#include "client/elf.h"

#define MAX_MAPS 1024

/* The words of a definition. Beyond the fifth, the kernel's samples and iproute2 disagree. */
enum { W_TYPE, W_KEY, W_VALUE, W_ENTRIES, W_FLAGS, W_INNER, W_NUMA, W_MAX };
#define IPROUTE2_DEF_SIZE 36 /* struct bpf_elf_map: id, pinning, inner_id, inner_idx follow */

struct legacy_map {
	const char *name;
	uint32_t off, size;
	uint32_t w[W_MAX];
	uint32_t sym; /* number of its symbol */
	int var, def; /* BTF ids */
};

struct trans {
	const uint8_t *p;
	size_t size;
	const Elf64_Ehdr *eh;
	const Elf64_Shdr *sh;
	const char *names;
	uint32_t maps_sec, btf_sec; /* section numbers; btf_sec 0: none */
	struct legacy_map *maps;
	uint32_t n;
	struct btf *btf;
	int type_int;
	struct skep_error *err;
};

static const char rewrite[] =
	"Define the map in a section \".maps\" with __uint(type, ...), __type(key, ...).";

static int by_offset(const void *a, const void *b)
{
	const struct legacy_map *x = a, *y = b;

	return x->off < y->off ? -1 : x->off > y->off;
}

static int find_sections(struct trans *t)
{
	t->eh = (const Elf64_Ehdr *)t->p;
	t->sh = (const Elf64_Shdr *)(t->p + t->eh->e_shoff);
	t->names = (const char *)t->p + t->sh[t->eh->e_shstrndx].sh_offset;
	for (uint32_t i = 1; i < t->eh->e_shnum; i++) {
		const char *name = t->names + t->sh[i].sh_name;

		if (!strcmp(name, "maps") && t->sh[i].sh_type == SHT_PROGBITS)
			t->maps_sec = i;
		else if (!strcmp(name, ".BTF"))
			t->btf_sec = i;
		else if (!strcmp(name, ".maps"))
			return skep_fail(
				t->err, -EINVAL, rewrite,
				"the object has both a section \"maps\" and a section \".maps\"");
	}
	if (!t->maps_sec)
		return skep_fail(t->err, -EINVAL, rewrite, "the section \"maps\" holds no data");
	return 0;
}

static int find_symbols(struct trans *t)
{
	const Elf64_Shdr *s = NULL;
	const Elf64_Sym *sym;
	const char *names;

	for (uint32_t i = 1; i < t->eh->e_shnum; i++)
		if (t->sh[i].sh_type == SHT_SYMTAB)
			s = &t->sh[i];
	if (!s)
		return -EINVAL;
	sym = (const Elf64_Sym *)(t->p + s->sh_offset);
	names = (const char *)t->p + t->sh[s->sh_link].sh_offset;
	for (uint64_t k = 0; k < s->sh_size / sizeof(*sym); k++) {
		if (sym[k].st_shndx != t->maps_sec ||
		    ELF64_ST_TYPE(sym[k].st_info) == STT_SECTION || !names[sym[k].st_name])
			continue;
		if (t->n == MAX_MAPS)
			return skep_fail(t->err, -E2BIG, NULL, "more than %d maps", MAX_MAPS);
		t->maps[t->n++] = (struct legacy_map){.name = names + sym[k].st_name,
						      .off = (uint32_t)sym[k].st_value,
						      .size = (uint32_t)sym[k].st_size,
						      .sym = (uint32_t)k};
	}
	if (!t->n)
		return skep_fail(t->err, -EINVAL, rewrite, "the section \"maps\" has no symbols");
	qsort(t->maps, t->n, sizeof(t->maps[0]), by_offset);
	return 0;
}

static int read_maps(struct trans *t)
{
	const Elf64_Shdr *s = &t->sh[t->maps_sec];

	for (uint32_t i = 0; i < t->n; i++) {
		struct legacy_map *m = &t->maps[i];
		uint32_t end = i + 1 < t->n ? m[1].off : (uint32_t)s->sh_size;
		uint32_t words;

		if (!m->size)
			m->size = end - m->off;
		if (m->size < 5 * 4 || m->off + m->size > end)
			return skep_fail(t->err, -EINVAL, rewrite,
					 "map \"%.64s\" is not a struct bpf_map_def (%u bytes)",
					 m->name, m->size);
		words = m->size / 4 < W_MAX ? m->size / 4 : W_MAX;
		memcpy(m->w, t->p + s->sh_offset + m->off, words * 4);
		if (m->size == IPROUTE2_DEF_SIZE)
			m->w[W_INNER] = m->w[W_NUMA] = 0;
		for (uint32_t k = m->size == IPROUTE2_DEF_SIZE ? 7 : words; k < m->size / 4; k++) {
			uint32_t v;

			memcpy(&v, t->p + s->sh_offset + m->off + k * 4, 4);
			if (v && v != UINT32_MAX)
				return skep_fail(
					t->err, -EOPNOTSUPP, rewrite,
					"map \"%.64s\": word %u of its definition is set, and not "
					"known",
					m->name, k);
		}
	}
	return 0;
}

/* The BTF-defined way to write a number: a pointer to an array of that many ints. */
static int add_number(struct trans *t, uint32_t v)
{
	int id = btf__add_array(t->btf, t->type_int, t->type_int, v);

	return id < 0 ? id : btf__add_ptr(t->btf, id);
}

/* Key and value types that BPF_ANNOTATE_KV_PAIR left: struct ____btf_map_NAME { key; value; }. */
static void find_annotation(struct trans *t, const char *map, int *key, int *value)
{
	const struct btf_type *s;
	char name[256];
	int id;

	*key = *value = 0;
	snprintf(name, sizeof(name), "____btf_map_%s", map);
	id = btf__find_by_name_kind(t->btf, name, BTF_KIND_STRUCT);
	if (id < 0)
		return;
	s = btf__type_by_id(t->btf, (uint32_t)id);
	if (btf_vlen(s) == 2) {
		*key = (int)btf_members(s)[0].type;
		*value = (int)btf_members(s)[1].type;
	}
}

struct member {
	const char *name;
	int type;
};

/* One map's definition as a BTF struct; inner: that of the maps it will hold, or 0. All members
 * lie at offset 0: only names and types count, and the struct must not be larger than
 * the data. */
static int add_def(struct trans *t, struct legacy_map *m, int inner)
{
	static const char *const names[] = {"type", "key_size", "value_size", "max_entries",
					    "map_flags"};
	struct member mem[9];
	int n = 0, key, value, id;

	if (m->def)
		return m->def;
	find_annotation(t, m->name, &key, &value);
	for (int i = 0; i < 5; i++) {
		/* 0 is what a missing member means, and an array of 0 ints is what a bug means. */
		if (i && !m->w[i])
			continue;
		if (i == W_VALUE && inner)
			continue;
		mem[n++] = (struct member){names[i], add_number(t, m->w[i])};
	}
	if (key)
		mem[n++] = (struct member){"key", btf__add_ptr(t->btf, key)};
	if (value && !inner)
		mem[n++] = (struct member){"value", btf__add_ptr(t->btf, value)};
	if (m->w[W_NUMA])
		mem[n++] = (struct member){"numa_node", add_number(t, m->w[W_NUMA])};
	if (inner) {
		id = btf__add_ptr(t->btf, inner);
		mem[n++] = (struct member){
			"values", id < 0 ? id : btf__add_array(t->btf, t->type_int, id, 0)};
	}
	id = btf__add_struct(t->btf, NULL, m->size);
	for (int i = 0; id >= 0 && i < n; i++) {
		int err = mem[i].type < 0 ? mem[i].type
					  : btf__add_field(t->btf, mem[i].name, mem[i].type, 0, 0);
		if (err < 0)
			id = err;
	}
	m->def = id;
	return id;
}

static int add_defs(struct trans *t)
{
	/* Inner maps first: they are what outer ones point to. */
	for (int outer = 0; outer < 2; outer++) {
		for (uint32_t i = 0; i < t->n; i++) {
			struct legacy_map *m = &t->maps[i];
			bool is_outer = m->w[W_TYPE] == BPF_MAP_TYPE_ARRAY_OF_MAPS ||
					m->w[W_TYPE] == BPF_MAP_TYPE_HASH_OF_MAPS;
			int inner = 0, id;

			if (is_outer != outer)
				continue;
			if (is_outer) {
				if (m->w[W_INNER] >= t->n || !t->maps[m->w[W_INNER]].def)
					return skep_fail(
						t->err, -EINVAL, rewrite,
						"map \"%.64s\": its inner map is not defined",
						m->name);
				inner = t->maps[m->w[W_INNER]].def;
			}
			id = add_def(t, m, inner);
			if (id < 0)
				return id;
		}
	}
	return 0;
}

static struct btf_type *type_rw(struct trans *t, int id)
{
	return (struct btf_type *)(uintptr_t)btf__type_by_id(t->btf, (uint32_t)id);
}

/* The object's own DATASEC "maps" becomes ".maps", its variables get the new types. */
static int reuse_datasec(struct trans *t, int sec)
{
	struct btf_type *d;
	struct btf_var_secinfo *v;
	int name = btf__add_str(t->btf, ".maps");
	uint32_t i, k;

	if (name < 0)
		return name;
	d = type_rw(t, sec);
	if (btf_vlen(d) != t->n)
		return skep_fail(t->err, -EINVAL, "Compile the program again, with -g.",
				 "the BTF describes %u maps, the section holds %u", btf_vlen(d),
				 t->n);
	d->name_off = (uint32_t)name;
	v = btf_var_secinfos(d);
	for (i = 0; i < t->n; i++) {
		struct btf_type *var = type_rw(t, (int)v[i].type);
		const char *vn = btf__name_by_offset(t->btf, var->name_off);

		for (k = 0; k < t->n; k++)
			if (vn && !strcmp(vn, t->maps[k].name))
				break;
		if (k == t->n || !btf_is_var(var))
			return skep_fail(
				t->err, -EINVAL, "Compile the program again, with -g.",
				"the BTF describes a map \"%.64s\" that the object does not hold",
				vn ? vn : "");
		var->type = (uint32_t)t->maps[k].def;
		/* Static maps were allowed; see also globalize(). */
		btf_var(var)->linkage = BTF_VAR_GLOBAL_ALLOCATED;
		v[i].offset = t->maps[k].off;
		v[i].size = t->maps[k].size;
	}
	return 0;
}

static int new_datasec(struct trans *t)
{
	int id, err;

	for (uint32_t i = 0; i < t->n; i++) {
		id = btf__add_var(t->btf, t->maps[i].name, BTF_VAR_GLOBAL_ALLOCATED,
				  t->maps[i].def);
		if (id < 0)
			return id;
		t->maps[i].var = id;
	}
	id = btf__add_datasec(t->btf, ".maps", (uint32_t)t->sh[t->maps_sec].sh_size);
	for (uint32_t i = 0; id >= 0 && i < t->n; i++) {
		err = btf__add_datasec_var_info(t->btf, t->maps[i].var, t->maps[i].off,
						t->maps[i].size);
		if (err)
			return err;
	}
	return id < 0 ? id : 0;
}

static int build_btf(struct trans *t)
{
	int sec, err;

	if (t->btf_sec) {
		const Elf64_Shdr *b = &t->sh[t->btf_sec];

		t->btf = btf__new(t->p + b->sh_offset, (uint32_t)b->sh_size);
	} else {
		t->btf = btf__new_empty();
	}
	if (!t->btf)
		return -errno;
	/* A type of our own: the object's may be named otherwise, or be missing. */
	t->type_int = btf__add_int(t->btf, "int", 4, BTF_INT_SIGNED);
	if (t->type_int < 0)
		return t->type_int;
	err = add_defs(t);
	if (err)
		return err;
	sec = btf__find_by_name_kind(t->btf, "maps", BTF_KIND_DATASEC);
	return sec > 0 ? reuse_datasec(t, sec) : new_datasec(t);
}

/* In the new image: symbols of static maps become global, as libbpf wants those of maps to be, and
 * references to them, which name the section and leave the map's offset in the instruction,
 * name the map. */
static void globalize(const struct trans *t, uint8_t *p)
{
	for (uint32_t i = 1; i < t->eh->e_shnum; i++) {
		const Elf64_Shdr *s = &t->sh[i];
		Elf64_Sym *sym = (Elf64_Sym *)(p + s->sh_offset);

		for (uint32_t k = 0; s->sh_type == SHT_SYMTAB && k < t->n; k++)
			sym[t->maps[k].sym].st_info = ELF64_ST_INFO(STB_GLOBAL, STT_OBJECT);
	}
	for (uint32_t i = 1; i < t->eh->e_shnum; i++) {
		const Elf64_Shdr *s = &t->sh[i], *to, *syms;
		Elf64_Rel *rel = (Elf64_Rel *)(p + s->sh_offset);

		if (s->sh_type != SHT_REL || !(t->sh[s->sh_info].sh_flags & SHF_EXECINSTR))
			continue;
		to = &t->sh[s->sh_info];
		syms = &t->sh[s->sh_link];
		for (uint64_t r = 0; r < s->sh_size / sizeof(*rel); r++) {
			uint64_t number = ELF64_R_SYM(rel[r].r_info);
			const Elf64_Sym *sym = (const Elf64_Sym *)(p + syms->sh_offset) + number;
			struct bpf_insn *in =
				(struct bpf_insn *)(p + to->sh_offset + rel[r].r_offset);

			if (sym->st_shndx != t->maps_sec ||
			    ELF64_ST_TYPE(sym->st_info) != STT_SECTION)
				continue;
			for (uint32_t k = 0; k < t->n; k++) {
				if (t->maps[k].off != sym->st_value + (uint32_t)in->imm)
					continue;
				rel[r].r_info = ELF64_R_INFO((uint64_t)t->maps[k].sym,
							     ELF64_R_TYPE(rel[r].r_info));
				in->imm = 0;
				break;
			}
		}
	}
}

static size_t up8(size_t n)
{
	return (n + 7) & ~(size_t)7;
}

/* The old file, then the new BTF, the new section names and the new section headers. */
static int write_image(struct trans *t, void **out, size_t *out_size)
{
	static const char more[] = ".maps\0.BTF";
	const Elf64_Shdr *names = &t->sh[t->eh->e_shstrndx];
	uint32_t nsec = t->eh->e_shnum + (t->btf_sec ? 0 : 1), btf_len, b;
	const void *btf = btf__raw_data(t->btf, &btf_len);
	size_t at_btf = up8(t->size), at_names = up8(at_btf + btf_len);
	size_t at_sh = up8(at_names + names->sh_size + sizeof(more));
	size_t size = at_sh + nsec * sizeof(Elf64_Shdr);
	Elf64_Shdr *sh;
	uint8_t *p;

	if (!btf)
		return -ENOMEM;
	if (nsec >= SHN_LORESERVE)
		return -E2BIG;
	p = calloc(1, size);
	if (!p)
		return -ENOMEM;
	memcpy(p, t->p, t->size);
	globalize(t, p);
	memcpy(p + at_btf, btf, btf_len);
	memcpy(p + at_names, t->p + names->sh_offset, names->sh_size);
	memcpy(p + at_names + names->sh_size, more, sizeof(more));
	sh = (Elf64_Shdr *)(p + at_sh);
	memcpy(sh, t->sh, t->eh->e_shnum * sizeof(*sh));

	b = t->btf_sec ? t->btf_sec : nsec - 1;
	if (!t->btf_sec) {
		sh[b].sh_name = (uint32_t)names->sh_size + 6;
		sh[b].sh_type = SHT_PROGBITS;
	}
	sh[b].sh_addralign = 4;
	sh[b].sh_offset = at_btf;
	sh[b].sh_size = btf_len;
	sh[t->maps_sec].sh_name = (uint32_t)names->sh_size;
	sh[t->eh->e_shstrndx].sh_offset = at_names;
	sh[t->eh->e_shstrndx].sh_size = names->sh_size + sizeof(more);
	((Elf64_Ehdr *)p)->e_shoff = at_sh;
	((Elf64_Ehdr *)p)->e_shnum = (uint16_t)nsec;
	*out = p;
	*out_size = size;
	return 0;
}

int skep_elf_translate_maps(const void *image, size_t size, void **out, size_t *out_size,
			    struct skep_error *err)
{
	struct trans t = {.p = image, .size = size, .err = err};
	int r;

	t.maps = calloc(MAX_MAPS, sizeof(*t.maps));
	if (!t.maps)
		return -ENOMEM;
	if (err)
		err->what[0] = 0;
	r = find_sections(&t);
	if (!r)
		r = find_symbols(&t);
	if (!r)
		r = read_maps(&t);
	if (!r)
		r = build_btf(&t);
	if (!r)
		r = write_image(&t, out, out_size);
	if (r && err && !err->what[0])
		skep_fail(err, r, NULL, "the section \"maps\" can't be translated: %s",
			  strerror(-r));
	btf__free(t.btf);
	free(t.maps);
	return r;
}
