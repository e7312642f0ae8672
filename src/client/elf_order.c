/* SPDX-License-Identifier: Apache-2.0 */
#include <elf.h>
#include <string.h>

#include "client/elf.h"

struct object {
	const uint8_t *p;
	const Elf64_Ehdr *eh;
	const Elf64_Shdr *sh;
	const char *names;
};

static const Elf64_Shdr *section(const struct object *o, const char *name)
{
	for (uint32_t i = 0; i < o->eh->e_shnum; i++)
		if (o->sh[i].sh_type == SHT_PROGBITS && !strcmp(o->names + o->sh[i].sh_name, name))
			return &o->sh[i];
	return NULL;
}

static uint32_t word(const uint8_t *p)
{
	uint32_t w;

	memcpy(&w, p, 4);
	return w;
}

/* The last line that the code at [off, off + size) of a section comes from, 0 if that is not
 * known. The last, because what was inlined stands further up, and in the file where the function
 * returns, because headers have lines too. Header words of BTF.ext: hdr_len at 4, line_off
 * at 16, line_len at 20; of BTF: hdr_len at 4, str_off at 16. */
static uint32_t last_line(const struct object *o, const char *code, uint64_t off, uint64_t size,
			  uint32_t *first)
{
	const Elf64_Shdr *ext = section(o, ".BTF.ext"), *btf = section(o, ".BTF");
	const uint8_t *x, *end;
	const char *strings;
	uint32_t rec, file = 0, line = 0;

	*first = 0;
	if (!ext || !btf)
		return 0;
	x = o->p + ext->sh_offset;
	strings = (const char *)o->p + btf->sh_offset;
	strings += word((const uint8_t *)strings + 4) + word((const uint8_t *)strings + 16);
	end = x + word(x + 4) + word(x + 16) + word(x + 20);
	x += word(x + 4) + word(x + 16);
	if (x == end)
		return 0;
	rec = word(x);
	for (x += 4; x < end;) {
		bool ours = !strcmp(strings + word(x), code);
		uint32_t n = word(x + 4);

		for (x += 8; n; n--, x += rec) {
			if (!ours || word(x) < off || word(x) - off >= size)
				continue;
			if (word(x) == off)
				*first = word(x + 12) >> 10;
			if (word(x + 4) != file)
				line = 0;
			file = word(x + 4);
			if (word(x + 12) >> 10 > line)
				line = word(x + 12) >> 10;
		}
	}
	return line;
}

static uint64_t place(const void *image, const char *function, uint32_t *first)
{
	struct object o = {.p = image, .eh = image};

	o.sh = (const Elf64_Shdr *)(o.p + o.eh->e_shoff);
	o.names = (const char *)o.p + o.sh[o.eh->e_shstrndx].sh_offset;
	for (uint32_t i = 0; i < o.eh->e_shnum; i++) {
		const Elf64_Shdr *s = &o.sh[i];
		const Elf64_Sym *sym = (const Elf64_Sym *)(o.p + s->sh_offset);
		const char *names;

		if (s->sh_type != SHT_SYMTAB)
			continue;
		names = (const char *)o.p + o.sh[s->sh_link].sh_offset;
		for (uint64_t k = 0; k < s->sh_size / sizeof(*sym); k++) {
			uint32_t in = sym[k].st_shndx, line;

			if (ELF64_ST_TYPE(sym[k].st_info) != STT_FUNC || in >= o.eh->e_shnum ||
			    strcmp(names + sym[k].st_name, function) != 0)
				continue;
			line = last_line(&o, o.names + o.sh[in].sh_name, sym[k].st_value,
					 sym[k].st_size, first);
			return line ? line : (uint64_t)in << 48 | sym[k].st_value;
		}
	}
	return UINT64_MAX;
}

uint64_t skep_elf_position(const void *image, size_t size, const char *function)
{
	uint32_t first;

	return place(image, function, &first);
}

uint32_t skep_elf_line(const void *image, size_t size, const char *function)
{
	uint32_t first = 0;

	place(image, function, &first);
	return first;
}

/* What a relocation in there leads to: a function, or a place in its section. */
static const char *target(const struct object *o, const Elf64_Shdr *rel, uint64_t addend)
{
	const Elf64_Shdr *tab = &o->sh[rel->sh_link];
	const Elf64_Sym *sym = (const Elf64_Sym *)(o->p + tab->sh_offset), *s;
	const Elf64_Rel *r = (const Elf64_Rel *)(o->p + rel->sh_offset);
	const char *names = (const char *)o->p + o->sh[tab->sh_link].sh_offset;

	s = &sym[ELF64_R_SYM(r->r_info)];
	if (ELF64_ST_TYPE(s->st_info) != STT_SECTION)
		return names + s->st_name;
	for (uint64_t k = 0; k < tab->sh_size / sizeof(*sym); k++)
		if (ELF64_ST_TYPE(sym[k].st_info) == STT_FUNC && sym[k].st_shndx == s->st_shndx &&
		    sym[k].st_value == addend)
			return names + sym[k].st_name;
	return names;
}

const char *skep_elf_constructor(const void *image, size_t size)
{
	static const char *const where[] = {".init_array", ".ctors"};
	struct object o = {.p = image, .eh = image};

	o.sh = (const Elf64_Shdr *)(o.p + o.eh->e_shoff);
	o.names = (const char *)o.p + o.sh[o.eh->e_shstrndx].sh_offset;
	for (uint32_t i = 0; i < o.eh->e_shnum; i++) {
		const Elf64_Shdr *rel = &o.sh[i], *at;
		uint64_t addend = 0;

		if ((rel->sh_type != SHT_REL && rel->sh_type != SHT_RELA) || !rel->sh_size ||
		    rel->sh_info >= o.eh->e_shnum)
			continue;
		at = &o.sh[rel->sh_info];
		for (int k = 0; k < 2; k++) {
			size_t n = strlen(where[k]);

			if (strncmp(o.names + at->sh_name, where[k], n) != 0)
				continue;
			if (at->sh_type != SHT_NOBITS && at->sh_size >= 8)
				memcpy(&addend, o.p + at->sh_offset, 8);
			return target(&o, rel, addend);
		}
	}
	return NULL;
}
