/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Objects of gcc and the GNU assembler (2.40). For a reference to a variable the assembler leaves
 * the variable's offset in the instruction, although the relocation's symbol says it too;
 * libbpf, which expects there what clang leaves (the distance from the symbol), would add
 * both.
 */
#include <elf.h>
#include <string.h>

#include "bpf/uapi.h"
#include "client/elf.h"

#define R_BPF_64_64 1

static bool by_gcc(const uint8_t *p, const Elf64_Ehdr *eh, const Elf64_Shdr *sh)
{
	const char *names = (const char *)p + sh[eh->e_shstrndx].sh_offset;

	for (uint32_t i = 0; i < eh->e_shnum; i++)
		if (!strcmp(names + sh[i].sh_name, ".comment") && sh[i].sh_type == SHT_PROGBITS &&
		    sh[i].sh_size > 4)
			return !memcmp(p + sh[i].sh_offset, "GCC:", 4) ||
			       !memcmp(p + sh[i].sh_offset, "\0GCC", 4);
	return false;
}

void skep_elf_fix_gnu(void *image)
{
	uint8_t *p = image;
	const Elf64_Ehdr *eh = (const Elf64_Ehdr *)p;
	const Elf64_Shdr *sh = (const Elf64_Shdr *)(p + eh->e_shoff);

	if (!by_gcc(p, eh, sh))
		return;
	for (uint32_t i = 0; i < eh->e_shnum; i++) {
		const Elf64_Rel *rel = (const Elf64_Rel *)(p + sh[i].sh_offset);
		const Elf64_Shdr *to = &sh[sh[i].sh_info < eh->e_shnum ? sh[i].sh_info : 0];
		const Elf64_Sym *syms;

		if (sh[i].sh_type != SHT_REL || !(to->sh_flags & SHF_EXECINSTR))
			continue;
		syms = (const Elf64_Sym *)(p + sh[sh[i].sh_link].sh_offset);
		for (uint64_t k = 0; k < sh[i].sh_size / sizeof(*rel); k++) {
			const Elf64_Sym *s = &syms[ELF64_R_SYM(rel[k].r_info)];
			struct bpf_insn *in =
				(struct bpf_insn *)(p + to->sh_offset + rel[k].r_offset);

			if (ELF64_R_TYPE(rel[k].r_info) == R_BPF_64_64 &&
			    ELF64_ST_TYPE(s->st_info) == STT_OBJECT &&
			    in->code == (BPF_LD | BPF_IMM | BPF_DW))
				in->imm -= (int32_t)s->st_value;
		}
	}
}
