/* SPDX-License-Identifier: Apache-2.0 */
/*
 * USDT probes: a note in .note.stapsdt names the place (a nop), where its arguments are, and a semaphore that
 * has to be above zero for the program to go there. Programs find the arguments as libbpf's usdt.bpf.h reads
 * them: by the attachment's cookie, the number of a description in their map __bpf_usdt_specs.
 */
#include <elf.h>
#include <errno.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/user.h>

#include "bpf/uapi.h"
#include "trace/session.h"

#define MAX_ARGS 12

/* The layout is usdt.bpf.h's. */
struct arg_spec {
	uint64_t val_off;
	uint32_t type; /* constant, register, memory at a register */
	int16_t reg_off; /* in struct pt_regs */
	uint8_t is_signed;
	int8_t bitshift;
};
enum { ARG_CONST, ARG_REG, ARG_DEREF };
struct spec {
	struct arg_spec args[MAX_ARGS];
	uint64_t cookie;
	int16_t nargs;
};

/* A note. */
struct place {
	uint64_t pc, base, semaphore;
	const char *provider, *name, *args;
};

/* By their part that all widths share, with the offset in the registers as the kernel shows them. */
static const struct {
	const char *names[4];
	uint16_t off;
} registers[] = {
#define R(field) offsetof(struct user_regs_struct, field)
	{{"rax", "eax", "ax", "al"}, R(rax)},      {{"rbx", "ebx", "bx", "bl"}, R(rbx)},
	{{"rcx", "ecx", "cx", "cl"}, R(rcx)},      {{"rdx", "edx", "dx", "dl"}, R(rdx)},
	{{"rsi", "esi", "si", "sil"}, R(rsi)},     {{"rdi", "edi", "di", "dil"}, R(rdi)},
	{{"rbp", "ebp", "bp", "bpl"}, R(rbp)},     {{"rsp", "esp", "sp", "spl"}, R(rsp)},
	{{"r8", "r8d", "r8w", "r8b"}, R(r8)},      {{"r9", "r9d", "r9w", "r9b"}, R(r9)},
	{{"r10", "r10d", "r10w", "r10b"}, R(r10)}, {{"r11", "r11d", "r11w", "r11b"}, R(r11)},
	{{"r12", "r12d", "r12w", "r12b"}, R(r12)}, {{"r13", "r13d", "r13w", "r13b"}, R(r13)},
	{{"r14", "r14d", "r14w", "r14b"}, R(r14)}, {{"r15", "r15d", "r15w", "r15b"}, R(r15)},
	{{"rip", "eip", "ip", "ip"}, R(rip)},
#undef R
};

static int find_register(const char *name, size_t len)
{
	for (size_t i = 0; i < sizeof(registers) / sizeof(registers[0]); i++)
		for (int k = 0; k < 4; k++)
			if (strlen(registers[i].names[k]) == len &&
			    !strncmp(registers[i].names[k], name, len))
				return registers[i].off;
	return -EINVAL;
}

/* "8", "-16", "name", "8+name", "name+8": *named if there is a symbol, whose value is added. */
static int parse_offset(const struct trace_elf *elf, const char *text, size_t len, uint64_t *out,
			bool *named)
{
	const char *end = text + len;

	*out = 0;
	*named = false;
	while (text < end) {
		char *p, name[128];
		size_t n;

		text += *text == '+' && text[1] != '-';
		*out += (uint64_t)strtoll(text, &p, 0);
		if (p == text) {
			n = strcspn(text, "+-");
			n = n < (size_t)(end - text) ? n : (size_t)(end - text);
			snprintf(name, sizeof(name), "%.*s", (int)n, text);
			if (*named || !n || !trace_elf_symbol(elf, name))
				return -EINVAL;
			*out += trace_elf_symbol(elf, name);
			*named = true;
			p = (char *)text + n;
		}
		text = p;
	}
	return 0;
}

/* "-4@%edi", "8@-16(%rbp)", "4@$5", "8@8+name(%rip)": its length, or -EINVAL. */
static int parse_arg(const struct trace_elf *elf, uint64_t pc, const char *text, struct arg_spec *a)
{
	size_t len = strcspn(text, " "), name;
	const char *at, *end = text + len;
	long size;
	char *p;
	int off;

	size = strtol(text, &p, 10);
	if (*p != '@' || (labs(size) != 1 && labs(size) != 2 && labs(size) != 4 && labs(size) != 8))
		return -EINVAL;
	at = p + 1;
	*a = (struct arg_spec){.is_signed = size < 0, .bitshift = (int8_t)(64 - 8 * labs(size))};
	if (*at == '$') {
		a->type = ARG_CONST;
		a->val_off = (uint64_t)strtoll(at + 1, &p, 0);
		return p == end ? (int)len : -EINVAL;
	}
	if (*at == '%') {
		a->type = ARG_REG;
		off = find_register(at + 1, (size_t)(end - at - 1));
	} else {
		bool named;

		a->type = ARG_DEREF;
		name = strcspn(at, "(");
		if (name >= (size_t)(end - at) || at[name + 1] != '%' ||
		    parse_offset(elf, at, name, &a->val_off, &named))
			return -EINVAL;
		/* What the linker placed is told by its address; the program counter is the probe's. */
		if (named)
			a->val_off -= pc;
		at += name + 2;
		name = strcspn(at, ")");
		if (at + name + 1 != end || named != (name == 3 && !strncmp(at, "rip", 3)))
			return -EINVAL;
		off = find_register(at, name);
	}
	a->reg_off = (int16_t)off;
	return off < 0 ? off : (int)len;
}

static int parse_args(const struct trace_elf *elf, const struct place *place, struct spec *s)
{
	const char *text = place->args;

	while (text += strspn(text, " "), *text) {
		int n;

		if (s->nargs == MAX_ARGS)
			return -E2BIG;
		n = parse_arg(elf, place->pc, text, &s->args[s->nargs]);
		if (n < 0)
			return n;
		s->nargs++;
		text += n;
	}
	return 0;
}

/* ---- Notes ---- */

struct image {
	const uint8_t *p;
	size_t size;
	const Elf64_Shdr *sh;
	uint16_t n;
	const char *names;
};

static const Elf64_Shdr *section(const struct image *im, const char *name)
{
	for (uint16_t i = 0; i < im->n; i++)
		if (im->sh[i].sh_type != SHT_NULL && !strcmp(im->names + im->sh[i].sh_name, name) &&
		    (im->sh[i].sh_type == SHT_NOBITS ||
		     (im->sh[i].sh_offset <= im->size &&
		      im->sh[i].sh_size <= im->size - im->sh[i].sh_offset)))
			return &im->sh[i];
	return NULL;
}

static int open_image(const struct trace_elf *elf, struct image *im)
{
	const Elf64_Ehdr *eh;
	const Elf64_Shdr *str;

	im->p = trace_elf_image(elf, &im->size);
	eh = (const Elf64_Ehdr *)im->p;
	if (!eh->e_shnum || eh->e_shentsize != sizeof(Elf64_Shdr) || eh->e_shoff % 8 ||
	    eh->e_shoff > im->size || eh->e_shnum * sizeof(Elf64_Shdr) > im->size - eh->e_shoff ||
	    eh->e_shstrndx >= eh->e_shnum)
		return -ENOENT;
	im->sh = (const Elf64_Shdr *)(im->p + eh->e_shoff);
	im->n = eh->e_shnum;
	str = &im->sh[eh->e_shstrndx];
	if (!str->sh_size || str->sh_offset > im->size ||
	    str->sh_size > im->size - str->sh_offset || im->p[str->sh_offset + str->sh_size - 1])
		return -ENOENT;
	im->names = (const char *)im->p + str->sh_offset;
	for (uint16_t i = 0; i < im->n; i++)
		if (im->sh[i].sh_name >= str->sh_size)
			return -ENOENT;
	return 0;
}

/* The next string of a note's data: false, it has none that ends. */
static bool next_text(const char **out, const char **at, const char *end)
{
	size_t n = strnlen(*at, (size_t)(end - *at));

	if (n == (size_t)(end - *at))
		return false;
	*out = *at;
	*at += n + 1;
	return true;
}

typedef int (*place_fn)(void *arg, const struct place *p);

static int each_place(const struct trace_elf *elf, place_fn fn, void *arg)
{
	const Elf64_Shdr *notes, *base;
	struct image im;
	int err = open_image(elf, &im);

	notes = err ? NULL : section(&im, ".note.stapsdt");
	if (!notes || notes->sh_type != SHT_NOTE)
		return -ENOENT;
	base = section(&im, ".stapsdt.base");
	for (uint64_t at = 0; at + sizeof(Elf64_Nhdr) <= notes->sh_size && !err;) {
		const uint8_t *p = im.p + notes->sh_offset + at;
		const Elf64_Nhdr *nh = (const Elf64_Nhdr *)p;
		uint64_t name = (nh->n_namesz + 3ull) & ~3ull, desc = (nh->n_descsz + 3ull) & ~3ull;
		const char *text, *end;
		struct place place;

		if (name > notes->sh_size || desc > notes->sh_size ||
		    at + sizeof(*nh) + name + desc > notes->sh_size)
			break;
		at += sizeof(*nh) + name + desc;
		if (nh->n_type != 3 || nh->n_namesz != 8 || memcmp(nh + 1, "stapsdt", 8) != 0 ||
		    nh->n_descsz < 24 + 3)
			continue;
		text = (const char *)(nh + 1) + name;
		end = text + nh->n_descsz;
		memcpy(&place, text, 24);
		text += 24;
		if (!next_text(&place.provider, &text, end) ||
		    !next_text(&place.name, &text, end) || !next_text(&place.args, &text, end))
			continue;
		/* What a tool moved after linking. */
		if (base && place.base) {
			place.pc += base->sh_addr - place.base;
			place.semaphore += place.semaphore ? base->sh_addr - place.base : 0;
		}
		err = fn(arg, &place);
	}
	return err;
}

/* ---- Attaching ---- */

struct attaching {
	struct skep_trace *t;
	const struct trace_elf *elf;
	const char *path, *provider, *name;
	int prog_fd, specs_fd;
	unsigned n;
	struct skep_error *err;
};

static int describe(struct attaching *a, const struct place *p, uint32_t id)
{
	struct spec spec = {.nargs = 0};
	union bpf_attr attr;
	int e = parse_args(a->elf, p, &spec);

	if (e)
		return skep_fail(a->err, e, NULL, "%s: arguments of %s:%s can't be read: %s",
				 a->path, a->provider, a->name, p->args);
	memset(&attr, 0, sizeof(attr));
	attr.map_fd = (uint32_t)a->specs_fd;
	attr.key = (uintptr_t)&id;
	attr.value = (uintptr_t)&spec;
	e = (int)skep_bpf(a->t->skep, BPF_MAP_UPDATE_ELEM, &attr, sizeof(attr));
	if (e)
		return skep_fail(a->err, e, "#define BPF_USDT_MAX_SPEC_CNT before usdt.bpf.h.",
				 "the program's map of USDT arguments is full: %s", strerror(-e));
	return 0;
}

static int attach(void *arg, const struct place *p)
{
	struct attaching *a = arg;
	struct skep_uprobe u = {.path = a->path};
	int e;

	if (strcmp(p->provider, a->provider) != 0 || strcmp(p->name, a->name) != 0)
		return 0;
	u.offset = trace_elf_offset(a->elf, p->pc);
	u.semaphore = p->semaphore ? trace_elf_offset(a->elf, p->semaphore) : 0;
	u.cookie = a->t->nusdt++;
	if (!u.offset)
		return 0;
	if (a->specs_fd >= 0) {
		e = describe(a, p, (uint32_t)u.cookie);
		if (e)
			return e;
	}
	e = skep_trace_uprobe(a->t, a->prog_fd, &u, a->err);
	a->n += e > 0;
	return e < 0 ? e : 0;
}

int skep_trace_usdt(struct skep_trace *t, int prog_fd, int specs_fd, const char *probe,
		    struct skep_error *err)
{
	char text[512], path[4096], *name, *provider;
	struct attaching a = {
		.t = t, .prog_fd = prog_fd, .specs_fd = specs_fd, .path = path, .err = err};
	struct trace_elf *elf;
	int e;

	snprintf(text, sizeof(text), "%s", probe);
	name = strrchr(text, ':');
	if (name)
		*name++ = 0;
	provider = name ? strrchr(text, ':') : NULL;
	if (!provider)
		return skep_fail(err, -EINVAL, "SEC(\"usdt//usr/bin/python3:python:line\")",
				 "'%s' is not PATH:PROVIDER:NAME", probe);
	*provider++ = 0;
	a.provider = provider;
	a.name = name;
	if (skep_trace_find_file(text, path, sizeof(path)))
		return skep_fail(err, -ENOENT, "Give its path.", "there is no file '%s'", text);
	e = trace_elf_open(&elf, path);
	if (e)
		return skep_fail(err, e, NULL, "%s: %s", path, strerror(-e));
	a.elf = elf;
	e = each_place(elf, attach, &a);
	trace_elf_close(elf);
	if (e && e != -ENOENT)
		return e;
	return a.n ? (int)a.n
		   : skep_fail(err, -ENOENT, NULL, "%s has no USDT probe %s:%s", path, provider,
			       name);
}
