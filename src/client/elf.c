/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Checks of an object file's structure. libelf and libbpf trust more of a file than they
 * should; what passes here can be walked without leaving it.
 */
#include "client/elf.h"

#include <elf.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#ifndef EM_BPF
#define EM_BPF 247
#endif

static const char damaged[] = "The file is damaged or was cut off: compile or copy it again.";

struct file {
	const uint8_t *p;
	size_t size;
	const Elf64_Ehdr *eh;
	const Elf64_Shdr *sh;
	const char *names;
	size_t names_size;
	struct skep_error *err;
};

#define REFUSE(f, next, ...) (skep_fail((f)->err, -EINVAL, next, __VA_ARGS__), -EINVAL)
#define BAD(f, ...)          REFUSE(f, damaged, __VA_ARGS__)

static bool inside(uint64_t off, uint64_t len, uint64_t size)
{
	return off <= size && len <= size - off;
}

static const char *section_name(const struct file *f, uint32_t i)
{
	return f->names + f->sh[i].sh_name;
}

/* A string table: not empty, begins and ends with NUL. */
static bool is_strings(const struct file *f, uint32_t i)
{
	const Elf64_Shdr *s = &f->sh[i];

	return s->sh_type == SHT_STRTAB && s->sh_size && !f->p[s->sh_offset] &&
	       !f->p[s->sh_offset + s->sh_size - 1];
}

static int check_header(struct file *f)
{
	const Elf64_Ehdr *eh = (const Elf64_Ehdr *)f->p;

	if (f->size < SELFMAG || memcmp(f->p, ELFMAG, SELFMAG) != 0)
		return REFUSE(
			f, "Pass a BPF object made by clang or gcc (.o), or C source (.bpf.c, .c).",
			"not an ELF file");
	if (f->size < sizeof(*eh))
		return BAD(f, "the ELF header is cut off (%zu bytes)", f->size);
	if (eh->e_ident[EI_CLASS] != ELFCLASS64 ||
	    (eh->e_machine != EM_BPF && eh->e_machine != EM_NONE))
		return REFUSE(
			f, "Compile the program with clang -target bpf, or pass its C source.",
			"not a BPF object: the ELF file is for another machine (e_machine %u)",
			eh->e_machine);
	if (eh->e_ident[EI_DATA] != ELFDATA2LSB)
		return REFUSE(f, "Compile it with clang -target bpfel.",
			      "the object is for big-endian machines");
	if (eh->e_type != ET_REL)
		return REFUSE(f, "Pass the output of clang -target bpf -c.",
			      "not a relocatable object (e_type %u)", eh->e_type);
	if (eh->e_shentsize != sizeof(Elf64_Shdr) || !eh->e_shnum || eh->e_shoff % 8 ||
	    !inside(eh->e_shoff, (uint64_t)eh->e_shnum * sizeof(Elf64_Shdr), f->size))
		return BAD(f, "the section headers lie outside of the file");
	f->eh = eh;
	f->sh = (const Elf64_Shdr *)(f->p + eh->e_shoff);
	return 0;
}

static int check_sections(struct file *f)
{
	uint32_t n = f->eh->e_shnum;

	for (uint32_t i = 0; i < n; i++) {
		const Elf64_Shdr *s = &f->sh[i];

		if (s->sh_type == SHT_NULL || s->sh_type == SHT_NOBITS) {
			/* .bss takes no room in the file, but what it asks for must be sane. */
			if (s->sh_size > 1u << 30)
				return BAD(f, "section %u asks for %llu bytes", i,
					   (unsigned long long)s->sh_size);
			continue;
		}
		if (!inside(s->sh_offset, s->sh_size, f->size))
			return BAD(f, "section %u ends behind the file", i);
		if (s->sh_addralign > 4096 || (s->sh_addralign & (s->sh_addralign - 1)))
			return BAD(f, "section %u has alignment %llu", i,
				   (unsigned long long)s->sh_addralign);
		if (s->sh_flags & SHF_COMPRESSED)
			return BAD(f, "section %u is compressed", i);
	}
	if (f->eh->e_shstrndx >= n || !is_strings(f, f->eh->e_shstrndx))
		return BAD(f, "the section names are missing");
	f->names = (const char *)f->p + f->sh[f->eh->e_shstrndx].sh_offset;
	f->names_size = f->sh[f->eh->e_shstrndx].sh_size;
	for (uint32_t i = 0; i < n; i++)
		if (f->sh[i].sh_name >= f->names_size)
			return BAD(f, "section %u has no valid name", i);
	return 0;
}

static int check_symbols(struct file *f, uint32_t i)
{
	const Elf64_Shdr *s = &f->sh[i];
	const Elf64_Sym *sym = (const Elf64_Sym *)(f->p + s->sh_offset);
	uint64_t n = s->sh_size / sizeof(*sym);

	if (s->sh_entsize != sizeof(*sym) || s->sh_size % sizeof(*sym) || s->sh_offset % 8)
		return BAD(f, "the symbol table is malformed");
	if (s->sh_link >= f->eh->e_shnum || !is_strings(f, s->sh_link))
		return BAD(f, "the symbol names are missing");
	for (uint64_t k = 0; k < n; k++) {
		const Elf64_Shdr *in;

		if (sym[k].st_name >= f->sh[s->sh_link].sh_size)
			return BAD(f, "symbol %llu has no valid name", (unsigned long long)k);
		if (sym[k].st_shndx == SHN_UNDEF || sym[k].st_shndx >= SHN_LORESERVE)
			continue;
		if (sym[k].st_shndx >= f->eh->e_shnum)
			return BAD(f, "symbol %llu lies in no section", (unsigned long long)k);
		in = &f->sh[sym[k].st_shndx];
		if (!inside(sym[k].st_value, sym[k].st_size, in->sh_size))
			return BAD(f, "symbol %llu ends behind its section", (unsigned long long)k);
		if ((in->sh_flags & SHF_EXECINSTR) && sym[k].st_value % 8)
			return BAD(f, "symbol %llu points into an instruction",
				   (unsigned long long)k);
	}
	return 0;
}

static int check_relocations(struct file *f, uint32_t i)
{
	const Elf64_Shdr *s = &f->sh[i], *to, *syms;
	const Elf64_Rel *rel = (const Elf64_Rel *)(f->p + s->sh_offset);
	uint64_t n = s->sh_size / sizeof(*rel);

	if (s->sh_type == SHT_RELA)
		return BAD(f, "relocations with addends are not BPF's");
	if (s->sh_entsize != sizeof(*rel) || s->sh_size % sizeof(*rel) || s->sh_offset % 8)
		return BAD(f, "relocation section %u is malformed", i);
	if (!s->sh_info || s->sh_info >= f->eh->e_shnum || s->sh_link >= f->eh->e_shnum)
		return BAD(f, "relocation section %u belongs to nothing", i);
	to = &f->sh[s->sh_info];
	syms = &f->sh[s->sh_link];
	if (syms->sh_type != SHT_SYMTAB || to->sh_type == SHT_SYMTAB || to->sh_type == SHT_REL ||
	    to->sh_type == SHT_NOBITS || to->sh_type == SHT_NULL)
		return BAD(f, "relocation section %u belongs to nothing", i);
	for (uint64_t k = 0; k < n; k++) {
		if (ELF64_R_SYM(rel[k].r_info) >= syms->sh_size / sizeof(Elf64_Sym))
			return BAD(f, "relocation %llu of section %u names no symbol",
				   (unsigned long long)k, i);
		if (!inside(rel[k].r_offset, 4, to->sh_size) ||
		    ((to->sh_flags & SHF_EXECINSTR) &&
		     (rel[k].r_offset % 8 || !inside(rel[k].r_offset, 8, to->sh_size))))
			return BAD(f, "relocation %llu of section %u lies outside of its section",
				   (unsigned long long)k, i);
	}
	return 0;
}

static int check_texts(struct file *f)
{
	for (uint32_t i = 0; i < f->eh->e_shnum; i++) {
		const Elf64_Shdr *s = &f->sh[i];
		const char *name = section_name(f, i);

		if (s->sh_type == SHT_PROGBITS && (s->sh_flags & SHF_EXECINSTR) && s->sh_size % 8)
			return BAD(f, "section \"%.100s\" ends inside an instruction", name);
		if ((s->sh_flags & SHF_EXECINSTR) && s->sh_offset % 8)
			return BAD(f, "section \"%.100s\" is not aligned", name);
		if (!strcmp(name, "version") && s->sh_size != 4)
			return BAD(f, "section \"version\" is not 4 bytes long");
	}
	return 0;
}

static void *copy_of(const struct file *f, const Elf64_Shdr *s)
{
	void *p = malloc(s->sh_size ? s->sh_size : 1);

	return p ? memcpy(p, f->p + s->sh_offset, s->sh_size) : NULL;
}

static int check_types(struct file *f)
{
	const Elf64_Shdr *btf = NULL, *ext = NULL;
	void *b = NULL, *x = NULL;
	int err;

	for (uint32_t i = 0; i < f->eh->e_shnum; i++) {
		const char *name = section_name(f, i);
		const Elf64_Shdr **which = !strcmp(name, ".BTF")       ? &btf
					   : !strcmp(name, ".BTF.ext") ? &ext
								       : NULL;

		if (!which)
			continue;
		if (*which || f->sh[i].sh_type != SHT_PROGBITS)
			return BAD(f, "more than one section \"%s\"", name);
		*which = &f->sh[i];
	}
	if (!btf)
		return 0;
	/* gcc does not align these sections. */
	b = copy_of(f, btf);
	x = ext ? copy_of(f, ext) : NULL;
	err = !b || (ext && !x) ? -ENOMEM : skep_elf_check_btf(b, btf->sh_size, f->err);
	if (!err && ext)
		err = skep_elf_check_btf_ext(x, ext->sh_size, b, btf->sh_size, f->err);
	free(b);
	free(x);
	return err;
}

int skep_elf_check(const void *image, size_t size, struct skep_error *err)
{
	struct file f = {.p = image, .size = size, .err = err};
	uint32_t symtabs = 0, i;
	int r;

	if (!size)
		return skep_fail(err, -EINVAL, damaged, "the file is empty");
	r = check_header(&f);
	if (!r)
		r = check_sections(&f);
	for (i = 0; !r && i < f.eh->e_shnum; i++) {
		if (f.sh[i].sh_type == SHT_SYMTAB) {
			if (symtabs++)
				r = BAD(&f, "more than one symbol table");
			else
				r = check_symbols(&f, i);
		}
	}
	if (!r && !symtabs)
		r = BAD(&f, "there is no symbol table");
	for (i = 0; !r && i < f.eh->e_shnum; i++)
		if (f.sh[i].sh_type == SHT_REL || f.sh[i].sh_type == SHT_RELA)
			r = check_relocations(&f, i);
	if (!r)
		r = check_texts(&f);
	if (!r)
		r = check_types(&f);
	return r;
}

bool skep_elf_has_legacy_maps(const void *image, size_t size)
{
	struct file f = {.p = image, .size = size};

	if (check_header(&f) || check_sections(&f))
		return false;
	for (uint32_t i = 0; i < f.eh->e_shnum; i++)
		if (!strcmp(section_name(&f, i), "maps") && f.sh[i].sh_size)
			return true;
	return false;
}
