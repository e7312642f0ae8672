/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The file is read whole, and every number in it is held against that before it is used: traced
 * programs' files are not ours to trust.
 */
#include "trace/elf.h"

#include <dlfcn.h>
#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <fnmatch.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

struct trace_elf {
	char *path;
	uint8_t *image;
	size_t size;
	uint64_t dev, ino;
	const Elf64_Ehdr *eh;
	const Elf64_Phdr *ph;
	const Elf64_Shdr *sh; /* NULL: none */
	uint32_t nph, nsh;
	const char *names; /* of sections */
	size_t names_size;
	struct trace_func *funcs; /* by offset, then the name to prefer */
	size_t nfuncs;
};

static bool inside(const struct trace_elf *elf, uint64_t off, uint64_t size)
{
	return off <= elf->size && size <= elf->size - off;
}

/* A string in [off, off + size) of the file that ends there. */
static const char *string(const struct trace_elf *elf, uint64_t off, uint64_t size, uint64_t at)
{
	const char *s;

	if (!inside(elf, off, size) || at >= size)
		return "";
	s = (const char *)elf->image + off + at;
	return memchr(s, 0, size - at) ? s : "";
}

uint64_t trace_elf_offset(const struct trace_elf *elf, uint64_t addr)
{
	for (uint32_t i = 0; i < elf->nph; i++) {
		const Elf64_Phdr *p = &elf->ph[i];

		if (p->p_type == PT_LOAD && addr >= p->p_vaddr && addr - p->p_vaddr < p->p_filesz)
			return addr - p->p_vaddr + p->p_offset;
	}
	return 0;
}

uint64_t trace_elf_addr(const struct trace_elf *elf, uint64_t offset)
{
	for (uint32_t i = 0; i < elf->nph; i++) {
		const Elf64_Phdr *p = &elf->ph[i];

		if (p->p_type == PT_LOAD && (p->p_flags & PF_X) && offset >= p->p_offset &&
		    offset - p->p_offset < p->p_filesz)
			return offset - p->p_offset + p->p_vaddr;
	}
	return 0;
}

/* Bytes of the executable segment from offset on. */
static uint64_t segment_left(const struct trace_elf *elf, uint64_t offset)
{
	for (uint32_t i = 0; i < elf->nph; i++) {
		const Elf64_Phdr *p = &elf->ph[i];

		if (p->p_type == PT_LOAD && (p->p_flags & PF_X) && offset >= p->p_offset &&
		    offset - p->p_offset < p->p_filesz && inside(elf, p->p_offset, p->p_filesz))
			return p->p_filesz - (offset - p->p_offset);
	}
	return 0;
}

static const Elf64_Shdr *section_at(const struct trace_elf *elf, uint64_t offset)
{
	for (uint32_t i = 0; i < elf->nsh; i++) {
		const Elf64_Shdr *s = &elf->sh[i];

		if (s->sh_type == SHT_PROGBITS && (s->sh_flags & SHF_EXECINSTR) &&
		    offset >= s->sh_offset && offset - s->sh_offset < s->sh_size &&
		    inside(elf, s->sh_offset, s->sh_size))
			return s;
	}
	return NULL;
}

/* ---- Symbols ---- */

static int each_symbol(const struct trace_elf *elf,
		       int (*fn)(void *arg, const Elf64_Sym *sym, const char *name), void *arg)
{
	for (uint32_t i = 0; i < elf->nsh; i++) {
		const Elf64_Shdr *s = &elf->sh[i], *str;
		const Elf64_Sym *syms;

		if ((s->sh_type != SHT_SYMTAB && s->sh_type != SHT_DYNSYM) ||
		    s->sh_link >= elf->nsh || !inside(elf, s->sh_offset, s->sh_size))
			continue;
		str = &elf->sh[s->sh_link];
		syms = (const Elf64_Sym *)(elf->image + s->sh_offset);
		for (uint64_t k = 1; k < s->sh_size / sizeof(*syms); k++) {
			Elf64_Sym sym;
			int err;

			memcpy(&sym, &syms[k], sizeof(sym));
			err = fn(arg, &sym, string(elf, str->sh_offset, str->sh_size, sym.st_name));
			if (err)
				return err;
		}
	}
	return 0;
}

struct want {
	const char *name;
	uint64_t value;
};

static int by_value(void *arg, const Elf64_Sym *sym, const char *name)
{
	struct want *w = arg;

	if (sym->st_shndx == SHN_UNDEF || strcmp(name, w->name) != 0)
		return 0;
	w->value = sym->st_value;
	return 1;
}

uint64_t trace_elf_symbol(const struct trace_elf *elf, const char *name)
{
	struct want w = {name, 0};

	each_symbol(elf, by_value, &w);
	return w.value;
}

struct collect {
	struct trace_elf *elf;
	size_t cap;
};

static int collect(void *arg, const Elf64_Sym *sym, const char *name)
{
	struct collect *c = arg;
	struct trace_elf *elf = c->elf;
	unsigned type = ELF64_ST_TYPE(sym->st_info);
	uint64_t off;

	if ((type != STT_FUNC && type != STT_GNU_IFUNC) || sym->st_shndx == SHN_UNDEF || !name[0])
		return 0;
	off = trace_elf_offset(elf, sym->st_value);
	if (!off || !segment_left(elf, off))
		return 0;
	if (elf->nfuncs == c->cap) {
		size_t cap = c->cap ? 2 * c->cap : 1024;
		struct trace_func *grown = realloc(elf->funcs, cap * sizeof(*grown));

		if (!grown)
			return -ENOMEM;
		elf->funcs = grown;
		c->cap = cap;
	}
	elf->funcs[elf->nfuncs++] = (struct trace_func){
		.name = name, .offset = off, .addr = sym->st_value, .size = sym->st_size};
	return 0;
}

static int by_offset(const void *a, const void *b)
{
	const struct trace_func *x = a, *y = b;
	int c;

	if (x->offset != y->offset)
		return x->offset < y->offset ? -1 : 1;
	c = strcmp(x->name, y->name);
	return c ? c : (x->size > y->size ? -1 : x->size < y->size);
}

/* Sorted, the double entries of both tables gone, with sizes and room that are true. */
static void tidy(struct trace_elf *elf)
{
	size_t n = 0;

	if (elf->nfuncs)
		qsort(elf->funcs, elf->nfuncs, sizeof(*elf->funcs), by_offset);
	for (size_t i = 0; i < elf->nfuncs; i++)
		if (!n || elf->funcs[n - 1].offset != elf->funcs[i].offset ||
		    strcmp(elf->funcs[n - 1].name, elf->funcs[i].name) != 0)
			elf->funcs[n++] = elf->funcs[i];
	elf->nfuncs = n;
	for (size_t i = n, next = n; i--;) {
		struct trace_func *f = &elf->funcs[i];
		const Elf64_Shdr *s = section_at(elf, f->offset);
		uint64_t left = segment_left(elf, f->offset);

		if (s && s->sh_size - (f->offset - s->sh_offset) < left)
			left = s->sh_size - (f->offset - s->sh_offset);
		if (i + 1 < n && elf->funcs[i + 1].offset != f->offset)
			next = i + 1;
		if (next < n && elf->funcs[next].offset - f->offset < left)
			left = elf->funcs[next].offset - f->offset;
		f->room = left;
		/* Functions may overlap (cold parts, second entries): a size that says so is kept,
		 * but never beyond the segment. */
		if (f->size > segment_left(elf, f->offset))
			f->size = left;
		if (f->size > f->room)
			f->room = f->size;
	}
}

/* ---- Opening ---- */

static int read_all(struct trace_elf *elf, int fd)
{
	struct stat st;
	size_t done = 0;

	if (fstat(fd, &st))
		return -errno;
	if (!S_ISREG(st.st_mode))
		return -ENOEXEC;
	elf->dev = st.st_dev;
	elf->ino = st.st_ino;
	elf->size = (size_t)st.st_size;
	elf->image = malloc(elf->size ? elf->size : 1);
	if (!elf->image)
		return -ENOMEM;
	while (done < elf->size) {
		ssize_t n = read(fd, elf->image + done, elf->size - done);

		if (n < 0)
			return -errno;
		if (!n)
			break;
		done += (size_t)n;
	}
	elf->size = done;
	return 0;
}

static int parse(struct trace_elf *elf)
{
	const Elf64_Ehdr *eh = (const Elf64_Ehdr *)elf->image;

	if (elf->size < sizeof(*eh) || memcmp(eh->e_ident, ELFMAG, SELFMAG) != 0 ||
	    eh->e_ident[EI_CLASS] != ELFCLASS64 || eh->e_machine != EM_X86_64)
		return -ENOEXEC;
	elf->eh = eh;
	if (eh->e_phentsize != sizeof(Elf64_Phdr) ||
	    !inside(elf, eh->e_phoff, (uint64_t)eh->e_phnum * sizeof(Elf64_Phdr)) ||
	    eh->e_phoff % 8)
		return -ENOEXEC;
	elf->ph = (const Elf64_Phdr *)(elf->image + eh->e_phoff);
	elf->nph = eh->e_phnum;
	if (eh->e_shentsize == sizeof(Elf64_Shdr) && eh->e_shoff % 8 == 0 &&
	    inside(elf, eh->e_shoff, (uint64_t)eh->e_shnum * sizeof(Elf64_Shdr))) {
		elf->sh = (const Elf64_Shdr *)(elf->image + eh->e_shoff);
		elf->nsh = eh->e_shnum;
	}
	return 0;
}

int trace_elf_open(struct trace_elf **out, const char *path)
{
	struct trace_elf *elf = calloc(1, sizeof(*elf));
	struct collect c = {elf, 0};
	int fd, err = -ENOMEM;

	if (!elf)
		return -ENOMEM;
	elf->path = strdup(path);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0) {
		err = -errno;
		goto fail;
	}
	err = elf->path ? read_all(elf, fd) : -ENOMEM;
	close(fd);
	if (!err)
		err = parse(elf);
	if (!err)
		err = each_symbol(elf, collect, &c);
	if (err)
		goto fail;
	tidy(elf);
	*out = elf;
	return 0;
fail:
	trace_elf_close(elf);
	return err;
}

void trace_elf_close(struct trace_elf *elf)
{
	if (!elf)
		return;
	free(elf->path);
	free(elf->image);
	free(elf->funcs);
	free(elf);
}

const char *trace_elf_path(const struct trace_elf *elf)
{
	return elf->path;
}

const uint8_t *trace_elf_image(const struct trace_elf *elf, size_t *size)
{
	if (size)
		*size = elf->size;
	return elf->image;
}

void trace_elf_id(const struct trace_elf *elf, uint64_t *dev, uint64_t *ino)
{
	*dev = elf->dev;
	*ino = elf->ino;
}

bool trace_elf_is_go(const struct trace_elf *elf)
{
	const Elf64_Shdr *names =
		elf->eh->e_shstrndx < elf->nsh ? &elf->sh[elf->eh->e_shstrndx] : NULL;

	for (uint32_t i = 0; names && i < elf->nsh; i++) {
		const char *name =
			string(elf, names->sh_offset, names->sh_size, elf->sh[i].sh_name);

		if (!strcmp(name, ".gopclntab") || !strcmp(name, ".data.rel.ro.gopclntab"))
			return true;
	}
	return false;
}

/* ---- Finding ---- */

int trace_elf_each(const struct trace_elf *elf, int (*fn)(void *arg, const struct trace_func *f),
		   void *arg)
{
	for (size_t i = 0; i < elf->nfuncs; i++) {
		int err;

		if (i && elf->funcs[i].offset == elf->funcs[i - 1].offset)
			continue;
		err = fn(arg, &elf->funcs[i]);
		if (err)
			return err;
	}
	return 0;
}

/* The demangler of the C++ runtime, where there is one: no part of a build depends on it. */
static char *demangle(const char *name)
{
	static char *(*fn)(const char *, char *, size_t *, int *);
	static bool tried;
	int status = 0;

	if (!tried) {
		void *lib = dlopen("libstdc++.so.6", RTLD_LAZY | RTLD_LOCAL);
		void *sym = lib ? dlsym(lib, "__cxa_demangle") : NULL;

		memcpy(&fn, &sym, sizeof(fn));
		tried = true;
	}
	return fn && name[0] == '_' && name[1] == 'Z' ? fn(name, NULL, NULL, &status) : NULL;
}

static bool is_name(const char *have, const char *want, bool pattern)
{
	size_t plain = strcspn(have, "@");
	char *text;
	bool ok;

	if (pattern ? !fnmatch(want, have, 0)
		    : (!strcmp(have, want) ||
		       (have[plain] && strlen(want) == plain && !strncmp(have, want, plain))))
		return true;
	text = demangle(have);
	if (!text)
		return false;
	ok = pattern ? !fnmatch(want, text, 0) : !strcmp(text, want);
	if (!ok) {
		/* Without its arguments: up to the last '(' that opens them. */
		char *open = strrchr(text, '(');

		if (open && open != text) {
			*open = 0;
			ok = pattern ? !fnmatch(want, text, 0) : !strcmp(text, want);
		}
	}
	free(text);
	return ok;
}

int trace_elf_find(const struct trace_elf *elf, const char *name, struct trace_func *out)
{
	int found = 0;

	/* The name as it stands first: a C name is never taken for a demangled one. */
	for (int pass = 0; pass < 2 && !found; pass++)
		for (size_t i = 0; i < elf->nfuncs; i++) {
			const struct trace_func *f = &elf->funcs[i];

			if (pass ? !is_name(f->name, name, false) : strcmp(f->name, name) != 0)
				continue;
			if (found && out->offset == f->offset)
				continue;
			if (found++)
				return -EEXIST;
			*out = *f;
		}
	return found ? 0 : -ENOENT;
}

int trace_elf_match(const struct trace_elf *elf, const char *pattern,
		    int (*fn)(void *arg, const struct trace_func *f), void *arg)
{
	uint64_t last = 0;
	int n = 0;

	for (size_t i = 0; i < elf->nfuncs; i++) {
		const struct trace_func *f = &elf->funcs[i];
		int err;

		if (f->offset == last || !is_name(f->name, pattern, true))
			continue;
		last = f->offset;
		err = fn(arg, f);
		if (err < 0)
			return err;
		n++;
	}
	return n;
}

int trace_elf_around(const struct trace_elf *elf, uint64_t offset, struct trace_func *out)
{
	const Elf64_Shdr *s = section_at(elf, offset);
	const struct trace_func *best = NULL;
	size_t lo = 0, hi = elf->nfuncs;

	while (lo < hi) {
		size_t mid = (lo + hi) / 2;

		if (elf->funcs[mid].offset <= offset)
			lo = mid + 1;
		else
			hi = mid;
	}
	/* Backwards over a few: functions may lie in functions. */
	for (size_t i = lo, n = 0; i-- && n < 16; n++) {
		const struct trace_func *f = &elf->funcs[i];

		if (offset - f->offset < f->size || offset == f->offset) {
			best = f;
			break;
		}
	}
	if (best) {
		*out = *best;
		return 0;
	}
	if (!segment_left(elf, offset))
		return -ENOENT;
	*out = (struct trace_func){.name = ""};
	if (s) {
		out->offset = s->sh_offset;
		out->room = s->sh_size;
	} else {
		out->offset = offset;
		out->room = segment_left(elf, offset);
	}
	out->addr = trace_elf_addr(elf, out->offset);
	return 0;
}

int trace_elf_text(const struct trace_elf *elf, struct trace_func *out)
{
	/* From the first executable section to the last one's end: they lie side by side. */
	for (uint32_t i = 0; i < elf->nph; i++) {
		const Elf64_Phdr *p = &elf->ph[i];

		if (p->p_type != PT_LOAD || !(p->p_flags & PF_X) ||
		    !inside(elf, p->p_offset, p->p_filesz))
			continue;
		*out = (struct trace_func){
			.name = "", .offset = p->p_offset, .addr = p->p_vaddr, .room = p->p_filesz};
		return 0;
	}
	return -ENOENT;
}
