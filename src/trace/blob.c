/* SPDX-License-Identifier: Apache-2.0 */
/* Laying out the agent: segments, and relocations, which are all relative. */
#include "trace/blob.h"

#include <elf.h>
#include <errno.h>
#include <pthread.h>
#include <string.h>
#include <sys/mman.h>

#ifdef __x86_64__
extern const uint8_t skep_agent_blob[], skep_agent_blob_end[];
#else
static const uint8_t skep_agent_blob[1], *skep_agent_blob_end = skep_agent_blob;
#endif

static const struct {
	const char *name;
	size_t at;
} wanted[] = {
	{"agent_enter_func", offsetof(struct blob, enter_func)},
	{"agent_enter_probe", offsetof(struct blob, enter_probe)},
	{"agent_return_here", offsetof(struct blob, return_here)},
	{"agent_remote_call", offsetof(struct blob, remote_call)},
	{"agent_remote_syscall", offsetof(struct blob, remote_syscall)},
	{"agent_enter_syscall", offsetof(struct blob, enter_syscall)},
	{"agent_gate", offsetof(struct blob, gate)},
	{"agent_init", offsetof(struct blob, init)},
	{"agent_sync", offsetof(struct blob, sync)},
	{"agent_be_quiet", offsetof(struct blob, be_quiet)},
	{"agent_blocks", offsetof(struct blob, blocks)},
	{"agent_areas", offsetof(struct blob, areas)},
};
#define WANTED (sizeof(wanted) / sizeof(wanted[0]))

static struct blob blob;
static const Elf64_Rela *relas;
static size_t nrelas;

static const Elf64_Phdr *phdrs(int *n)
{
	const Elf64_Ehdr *eh = (const Elf64_Ehdr *)skep_agent_blob;

	*n = eh->e_phnum;
	return (const Elf64_Phdr *)(skep_agent_blob + eh->e_phoff);
}

/* The first segment begins at 0 both in the file and in memory, so what .dynamic names is found
 * at its address. */
static void find(void)
{
	const Elf64_Dyn *dyn = NULL;
	const Elf64_Sym *syms = NULL;
	const uint32_t *hash = NULL;
	const char *names = NULL;
	size_t got = 0;
	int n;
	const Elf64_Phdr *ph;

	if ((uintptr_t)skep_agent_blob_end - (uintptr_t)skep_agent_blob < sizeof(Elf64_Ehdr))
		return;
	ph = phdrs(&n);
	for (int i = 0; i < n; i++) {
		uint64_t end = (ph[i].p_vaddr + ph[i].p_memsz + 4095) & ~4095ull;

		if (ph[i].p_type == PT_DYNAMIC)
			dyn = (const Elf64_Dyn *)(skep_agent_blob + ph[i].p_offset);
		if (ph[i].p_type != PT_LOAD)
			continue;
		blob.parts[blob.nparts].start = ph[i].p_vaddr & ~4095ull;
		blob.parts[blob.nparts].size = end - blob.parts[blob.nparts].start;
		blob.parts[blob.nparts++].prot = (ph[i].p_flags & PF_R ? PROT_READ : 0) |
						 (ph[i].p_flags & PF_W ? PROT_WRITE : 0) |
						 (ph[i].p_flags & PF_X ? PROT_EXEC : 0);
		if (end > blob.size)
			blob.size = end;
	}
	for (; dyn && dyn->d_tag != DT_NULL; dyn++) {
		const uint8_t *p = skep_agent_blob + dyn->d_un.d_ptr;

		if (dyn->d_tag == DT_SYMTAB)
			syms = (const Elf64_Sym *)p;
		else if (dyn->d_tag == DT_STRTAB)
			names = (const char *)p;
		else if (dyn->d_tag == DT_HASH)
			hash = (const uint32_t *)p;
		else if (dyn->d_tag == DT_RELA)
			relas = (const Elf64_Rela *)p;
		else if (dyn->d_tag == DT_RELASZ)
			nrelas = dyn->d_un.d_val / sizeof(*relas);
	}
	for (uint32_t i = 1; syms && names && hash && i < hash[1]; i++)
		for (size_t k = 0; k < WANTED; k++)
			if (!strcmp(names + syms[i].st_name, wanted[k].name)) {
				memcpy((char *)&blob + wanted[k].at, &syms[i].st_value, 8);
				got++;
			}
	if (got != WANTED)
		blob.size = 0;
}

const struct blob *blob_get(void)
{
	static pthread_once_t once = PTHREAD_ONCE_INIT;

	pthread_once(&once, find);
	return blob.size ? &blob : NULL;
}

int blob_make(uint8_t *out, uint64_t base)
{
	int n;
	const Elf64_Phdr *ph = phdrs(&n);

	memset(out, 0, blob.size);
	for (int i = 0; i < n; i++)
		if (ph[i].p_type == PT_LOAD)
			memcpy(out + ph[i].p_vaddr, skep_agent_blob + ph[i].p_offset,
			       ph[i].p_filesz);
	for (size_t i = 0; i < nrelas; i++) {
		uint64_t value = base + (uint64_t)relas[i].r_addend;

		if (ELF64_R_TYPE(relas[i].r_info) != R_X86_64_RELATIVE)
			return -ENOEXEC;
		memcpy(out + relas[i].r_offset, &value, 8);
	}
	return 0;
}
