// SPDX-License-Identifier: Apache-2.0
/*
 * Runs one program on the instruction set alone, by the calling convention of plugins of the
 * bpf_conformance suite:
 *
 *	conformance_plugin [--interpret | --jit | --bpf] [--elf] [MEMORY]
 *
 * MEMORY, in hexadecimal, is what R1 points to and R2 has the size of (none: R1 points to nothing,
 * R2 is 0). The program comes in hexadecimal on standard input: its instructions, or with --elf an object file,
 * whose first executable section is run. R0 is printed in hexadecimal; what goes wrong, on standard error.
 * --interpret and --jit (the default) ask no verifier; --bpf loads through bpf(2), into the kernel, or
 * an instance under `skep exec`.
 */
#include <ctype.h>
#include <errno.h>
#include <libelf.h>
#include <signal.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "bpf/instance.h"
#include "exec/exec.h"
#include "isa/isa.h"
#include "kern.h"
#include "rndprog.h"

#define MAX_BYTES (1u << 22)
#define MAX_MEM   4096
#define PROLOGUE  10

#ifndef R_BPF_64_32
#define R_BPF_64_32 10
#endif

static int fail(const char *what, int err)
{
	if (err)
		fprintf(stderr, "%s: %s\n", what, strerror(-err));
	else
		fprintf(stderr, "%s\n", what);
	return 1;
}

/* Digits in pairs, with or without white space between them. Returns the bytes, or -1. */
static long read_hex(const char *s, uint8_t *out, size_t max)
{
	size_t n = 0;

	for (;; n++) {
		char pair[3] = {0}, *end;

		while (isspace((unsigned char)*s))
			s++;
		if (!*s)
			return (long)n;
		pair[0] = s[0];
		pair[1] = s[1];
		if (n == max || !isxdigit((unsigned char)pair[0]) ||
		    !isxdigit((unsigned char)pair[1]))
			return -1;
		out[n] = (uint8_t)strtoul(pair, &end, 16);
		s += 2;
	}
}

static long read_input(uint8_t *out)
{
	char *text = malloc(3 * MAX_BYTES + 1);
	size_t n = text ? fread(text, 1, 3 * MAX_BYTES, stdin) : 0;
	long len = -1;

	if (text) {
		text[n] = '\0';
		len = read_hex(text, out, MAX_BYTES);
	}
	free(text);
	return len;
}

/* ---- Object files ---- */

/* Calls of functions of the same section; there is nothing else to refer to. */
static int relocate(Elf *elf, size_t text, struct bpf_insn *insns, size_t n)
{
	for (Elf_Scn *scn = elf_nextscn(elf, NULL); scn; scn = elf_nextscn(elf, scn)) {
		const Elf64_Shdr *sh = elf64_getshdr(scn);
		Elf_Data *rel, *symbols;

		if (!sh || sh->sh_type != SHT_REL || sh->sh_info != text)
			continue;
		rel = elf_getdata(scn, NULL);
		symbols = elf_getdata(elf_getscn(elf, sh->sh_link), NULL);
		if (!rel || !symbols)
			return -EINVAL;
		for (size_t i = 0; i < rel->d_size / sizeof(Elf64_Rel); i++) {
			const Elf64_Rel *r = (const Elf64_Rel *)rel->d_buf + i;
			const Elf64_Sym *sym =
				(const Elf64_Sym *)symbols->d_buf + ELF64_R_SYM(r->r_info);
			size_t at = r->r_offset / sizeof(*insns);

			if (ELF64_R_SYM(r->r_info) >= symbols->d_size / sizeof(*sym) || at >= n ||
			    ELF64_R_TYPE(r->r_info) != R_BPF_64_32 || sym->st_shndx != text)
				return -ENOTSUP;
			insns[at].imm += (int)(sym->st_value / sizeof(*insns)) - (int)at;
		}
	}
	return 0;
}

static long read_elf(uint8_t *bytes, long len, struct bpf_insn **insns)
{
	Elf *elf;
	long n = -EINVAL;

	elf_version(EV_CURRENT);
	elf = elf_memory((char *)bytes, len);
	if (!elf || elf_kind(elf) != ELF_K_ELF || !elf64_getehdr(elf))
		goto out;
	for (Elf_Scn *scn = elf_nextscn(elf, NULL); scn; scn = elf_nextscn(elf, scn)) {
		const Elf64_Shdr *sh = elf64_getshdr(scn);
		Elf_Data *data;
		int err;

		if (!sh || sh->sh_type != SHT_PROGBITS || !(sh->sh_flags & SHF_EXECINSTR) ||
		    !sh->sh_size)
			continue;
		data = elf_getdata(scn, NULL);
		if (!data || data->d_size % sizeof(**insns))
			break;
		*insns = malloc(data->d_size);
		if (!*insns)
			break;
		memcpy(*insns, data->d_buf, data->d_size);
		n = (long)(data->d_size / sizeof(**insns));
		err = relocate(elf, elf_ndxscn(scn), *insns, n);
		if (err)
			n = err;
		break;
	}
out:
	elf_end(elf);
	return n;
}

/* ---- Running ---- */

/* The memory, and behind it, on the next 8 bytes, the result: 64 bits, which no way of running
 * a program returns. */
static _Alignas(8) uint8_t ctx[MAX_MEM + 8];

/* Calls the body as a function and stores its R0 at `result`. */
static size_t wrap(struct bpf_insn *out, const struct bpf_insn *body, size_t n, size_t size,
		   size_t result)
{
	size_t k = 0;

	out[k++] = INSN(BPF_STX | BPF_MEM | BPF_DW, 10, 1, -8, 0);
	out[k++] = INSN(BPF_ALU64 | BPF_MOV | BPF_K, 2, 0, 0, (int)size);
	if (!size)
		out[k++] = INSN(BPF_ALU64 | BPF_MOV | BPF_K, 1, 0, 0, 0);
	out[k++] = INSN(BPF_JMP | BPF_CALL, 0, BPF_PSEUDO_CALL, 0, 4);
	out[k++] = INSN(BPF_LDX | BPF_MEM | BPF_DW, 1, 10, -8, 0);
	out[k++] = INSN(BPF_STX | BPF_MEM | BPF_DW, 1, 0, (short)result, 0);
	out[k++] = INSN(BPF_ALU64 | BPF_MOV | BPF_K, 0, 0, 0, 0);
	out[k++] = INSN(BPF_JMP | BPF_EXIT, 0, 0, 0, 0);
	memcpy(out + k, body, n * sizeof(*body));
	return k + n;
}

static int interpret(const struct bpf_insn *insns, size_t n, size_t result)
{
	struct skep_region region = {.base = (uintptr_t)ctx,
				     .size = result + 8,
				     .flags = SKEP_REGION_READ | SKEP_REGION_WRITE};
	struct skep_raw raw = {.insns = insns,
			       .len = (uint32_t)n,
			       .regions = &region,
			       .nregions = 1,
			       .max_steps = 100000000};
	struct skep_prog prog = {0};
	struct skep_env env = {.prog = &prog};
	uint64_t r0;

	return skep_interp_raw(&raw, (uintptr_t)ctx, 0, &env, &r0);
}

static int jit(const struct bpf_insn *insns, size_t n)
{
	struct skep_prog prog = {0};
	struct skep_env env = {.prog = &prog};
	int err = skep_image_raw(&prog.image, insns, (uint32_t)n);

	err = err ? err : skep_jit(&prog, &prog.code);
	if (!err)
		prog.code.entry(ctx, &env);
	skep_jit_free(&prog.code);
	skep_image_free(&prog.image);
	return err;
}

static int through_bpf(const struct bpf_insn *insns, size_t n, size_t result)
{
	static char log[1 << 20];
	uint32_t ret;
	int fd = kern_load(BPF_PROG_TYPE_SYSCALL, insns, (uint32_t)n, 1, log, sizeof(log)), err;

	if (fd < 0) {
		fputs(log, stderr);
		return fd;
	}
	err = kern_run_ctx(fd, ctx, (uint32_t)(result + 8), &ret);
	close(fd);
	return err;
}

/* Nobody verified it: it may reach anywhere, or never end. */
static void on_signal(int sig)
{
	static const char said[] =
		"the program accessed memory that is not its own, or did not end\n";

	(void)!write(2, said, sizeof(said) - 1);
	_exit(1);
}

int main(int argc, char **argv)
{
	enum { JIT, INTERPRET, BPF } mode = JIT;
	static uint8_t input[MAX_BYTES];
	struct bpf_insn *body = NULL, *insns;
	const char *memory = NULL;
	size_t n, result;
	bool elf = false;
	long len, size = 0;
	uint64_t r0;
	int err;

	for (int i = 1; i < argc; i++) {
		if (!strcmp(argv[i], "--interpret"))
			mode = INTERPRET;
		else if (!strcmp(argv[i], "--jit"))
			mode = JIT;
		else if (!strcmp(argv[i], "--bpf"))
			mode = BPF;
		else if (!strcmp(argv[i], "--elf"))
			elf = true;
		else if (argv[i][0] == '-' || memory)
			return fail("usage: conformance_plugin [--interpret | --jit | --bpf] "
				    "[--elf] [MEMORY]",
				    0);
		else
			memory = argv[i];
	}
	if (memory)
		size = read_hex(memory, ctx, MAX_MEM);
	if (size < 0)
		return fail("the memory is not in hexadecimal, or more than 4096 bytes", 0);
	len = read_input(input);
	if (len <= 0)
		return fail("there is no program in hexadecimal on standard input", 0);
	if (elf) {
		len = read_elf(input, len, &body);
		if (len < 0)
			return fail("object file", (int)len);
	} else if (len % sizeof(*body)) {
		return fail("the program is not of whole instructions", 0);
	} else {
		body = (struct bpf_insn *)input;
		len /= sizeof(*body);
	}
	result = ((size_t)size + 7) / 8 * 8;
	insns = malloc((len + PROLOGUE) * sizeof(*insns));
	if (!insns)
		return fail("memory", -ENOMEM);
	n = wrap(insns, body, len, size, result);

	signal(SIGSEGV, on_signal);
	signal(SIGBUS, on_signal);
	signal(SIGALRM, on_signal);
	alarm(30);
	err = mode == INTERPRET ? interpret(insns, n, result)
	      : mode == JIT     ? jit(insns, n)
				: through_bpf(insns, n, result);
	if (err)
		return fail("the program", err);
	memcpy(&r0, ctx + result, sizeof(r0));
	printf("%llx\n", (unsigned long long)r0);
	free(insns);
	if (elf)
		free(body);
	return 0;
}
