/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Moving instructions. Functions of every kind are copied to a place of their own, a jump is put at
 * their beginning, and they must give what they gave; then every function of libc is moved and
 * the result decoded again.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <cmocka.h>
#include <Zydis/Zydis.h>

#include "trace/elf.h"
#include "trace/x86.h"

#ifdef __x86_64__

/* name, body; the argument is in edi, the result in eax. */
#define F(name, body)                                                                              \
	__asm__(".pushsection .text.x86_" #name ", \"ax\", @progbits\n"                            \
		".balign 16\n"                                                                     \
		"x86_" #name ":\n" body "\n"                                                       \
		".globl x86_" #name "_end\n"                                                       \
		"x86_" #name "_end:\n"                                                             \
		".balign 32, 0xcc\n"                                                               \
		".popsection\n");                                                                  \
	extern uint8_t x86_##name[], x86_##name##_end[];

F(plain, "endbr64; push %rbp; mov %rsp, %rbp; lea 7(%rdi), %eax; pop %rbp; ret")
F(ripload, "mov x86_word(%rip), %eax; add %edi, %eax; ret")
F(riplea, "lea x86_word(%rip), %rax; mov (%rax), %eax; imul %edi, %eax; ret")
F(ripimm, "addl $5, x86_word(%rip); mov x86_word(%rip), %eax; subl $5, x86_word(%rip); ret")
F(jccshort, "test %edi, %edi; js 1f; mov %edi, %eax; ret; 1: mov %edi, %eax; neg %eax; ret")
F(jcclong, "cmp $10, %edi; {disp32} jg 1f; mov $1, %eax; ret; 1: mov $2, %eax; ret")
F(jmpfirst, "jmp 1f; .skip 40, 0x90; 1: lea 3(%rdi), %eax; ret")
F(self, "lea -1(%rdi), %rdi; test %edi, %edi; jg x86_self; mov %edi, %eax; ret")
F(callfirst, "call x86_callee; add $1, %eax; ret")
F(calllate, "push %rdi; call x86_callee; pop %rdi; add %edi, %eax; ret")
F(callreg, "mov x86_pointer(%rip), %rax; push %rbx; call *%rax; pop %rbx; ret")
F(callmem, "call *x86_pointer(%rip); add $2, %eax; ret")
F(jmpmem, "jmp *x86_pointer(%rip)")
F(jrcxz, "mov %edi, %ecx; jrcxz 1f; mov $5, %eax; ret; 1: mov $6, %eax; ret")
F(loop, "mov $4, %ecx; xor %eax, %eax; 1: add %edi, %eax; loop 1b; ret")
F(shortone, "mov %edi, %eax; ret")
F(onebyte, "ret")
F(flags, "xor %eax, %eax; cmp $3, %edi; setg %al; ret")
F(inner, "xor %eax, %eax; 1: inc %eax; dec %edi; jg 1b; ret")
F(callee, "lea (%rdi,%rdi), %eax; ret")

__asm__(".data\nx86_word: .long 1000\nx86_pointer: .quad x86_callee\n.previous");

static uint8_t *room; /* within reach of this program */

static uint8_t *make_room(void)
{
	for (uintptr_t at = ((uintptr_t)x86_plain & ~0xffful) + (64u << 20);; at += 1u << 20) {
		void *p = mmap((void *)at, 1u << 20, PROT_READ | PROT_WRITE | PROT_EXEC,
			       MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0);

		if (p != MAP_FAILED)
			return p;
	}
}

/* Moves the first instructions of f, jumps there from its beginning, as a trace would but in this
 * very process; calls it with many arguments, before and after. */
static int patched(uint8_t *f, uint8_t *end, const char **why)
{
	static const int args[] = {0, 1, -1, 3, 4, 10, 11, 1000, -5};
	struct x86_code code = {.bytes = f,
				.addr = (uintptr_t)f,
				.len = (size_t)(end - f),
				.room = (size_t)(end - f),
				.whole = true};
	/* Variadic, so that eax is 0 for what leaves it as it is. */
	int (*fn)(int, ...) = (int (*)(int, ...))(uintptr_t)f;
	uint8_t saved[X86_MAX_MOVED], jump[X86_JUMP];
	int before[9], after[9], err;
	struct x86_moved m;

	while (code.room % 32)
		code.room++;
	err = x86_move(&m, &code, code.addr, (uintptr_t)room, X86_JUMP, why);
	if (err)
		return err;
	for (int i = 0; i < 9; i++)
		before[i] = fn(args[i]);
	memcpy(room, m.out, m.out_len);
	assert_int_equal(mprotect((void *)((uintptr_t)f & ~4095ul), 8192,
				  PROT_READ | PROT_WRITE | PROT_EXEC),
			 0);
	memcpy(saved, f, sizeof(saved));
	assert_true(x86_jump_to(jump, (uintptr_t)f, (uintptr_t)room));
	memcpy(f, jump, X86_JUMP);
	/* What is left of the moved instructions must not be run. */
	if (m.len > X86_JUMP)
		memset(f + X86_JUMP, 0xcc, m.len - X86_JUMP);
	for (int i = 0; i < 9; i++)
		after[i] = fn(args[i]);
	memcpy(f, saved, sizeof(saved));
	for (int i = 0; i < 9; i++)
		assert_int_equal(before[i], after[i]);
	memset(room, 0xcc, m.out_len);
	return 0;
}

#define OK(name)                                                                                   \
	do {                                                                                       \
		const char *w = NULL;                                                              \
		int r = patched(x86_##name, x86_##name##_end, &w);                                 \
		if (r)                                                                             \
			print_error("%s: %d %s\n", #name, r, w ? w : "");                          \
		assert_int_equal(r, 0);                                                            \
		done++;                                                                            \
	} while (0)
#define REFUSED(name, text)                                                                        \
	do {                                                                                       \
		const char *w = NULL;                                                              \
		assert_int_equal(patched(x86_##name, x86_##name##_end, &w), -ENOTSUP);             \
		assert_non_null(w);                                                                \
		assert_non_null(strstr(w, text));                                                  \
		done++;                                                                            \
	} while (0)

static void runs(void **state)
{
	int done = 0;

	room = make_room();
	OK(plain);
	OK(ripload);
	OK(riplea);
	OK(ripimm);
	OK(jccshort);
	OK(jcclong);
	OK(jmpfirst);
	OK(self);
	OK(callfirst);
	OK(calllate);
	OK(callreg);
	OK(callmem);
	OK(jmpmem);
	OK(jrcxz);
	OK(shortone);
	OK(onebyte);
	OK(flags);
	/* The loop's target is the second instruction of those that would move. */
	REFUSED(inner, "jumps to among");
	OK(loop);
	printf("ran: x86-moved %d\n", done);
}

/* Too far, in the middle, not whole. */
static void refusals(void **state)
{
	struct x86_code code = {.bytes = x86_ripload,
				.addr = (uintptr_t)x86_ripload,
				.len = (size_t)(x86_ripload_end - x86_ripload),
				.whole = true};
	struct x86_moved m;
	const char *why;

	code.room = code.len;
	assert_int_equal(x86_move(&m, &code, code.addr, code.addr + (3ul << 30), 5, &why), -ERANGE);
	assert_int_equal(x86_move(&m, &code, code.addr - 1, code.addr + 4096, 5, &why), -EINVAL);
	assert_int_equal(x86_move(&m, &code, code.addr + code.len, code.addr, 5, &why), -EINVAL);
	assert_false(x86_is_boundary(&code, code.addr + 1));
	assert_true(x86_is_boundary(&code, code.addr + 6));
	code = (struct x86_code){.bytes = x86_plain,
				 .addr = (uintptr_t)x86_plain,
				 .len = (size_t)(x86_plain_end - x86_plain),
				 .room = (size_t)(x86_plain_end - x86_plain)};
	assert_int_equal(x86_move(&m, &code, code.addr, code.addr + 4096, 5, &why), -ENOTSUP);
	/* A function that ends with other code right behind it. */
	code = (struct x86_code){.bytes = x86_onebyte,
				 .addr = (uintptr_t)x86_onebyte,
				 .len = 1,
				 .room = 1,
				 .whole = true};
	assert_int_equal(x86_move(&m, &code, code.addr, code.addr + 4096, 5, &why), -ENOTSUP);
	assert_non_null(strstr(why, "too short"));
}

/* ---- Every function of libc ---- */

struct sweep {
	const uint8_t *image; /* mapped at its own addresses */
	uint64_t base;
	unsigned moved, refused, far;
};

/* Decodes both and compares what they do, as far as names and targets tell it. */
static void same(const struct x86_moved *m, const uint8_t *from, uint64_t to)
{
	ZydisDecodedOperand a_ops[ZYDIS_MAX_OPERAND_COUNT], b_ops[ZYDIS_MAX_OPERAND_COUNT];
	ZydisDecodedInstruction a, b;
	ZydisDecoder d;

	ZydisDecoderInit(&d, ZYDIS_MACHINE_MODE_LONG_64, ZYDIS_STACK_WIDTH_64);
	for (uint32_t i = 0; i < m->n; i++) {
		uint64_t pc = m->addr + m->at[i], npc = to + m->to[i];

		assert_true(
			ZYAN_SUCCESS(ZydisDecoderDecodeFull(&d, from + m->at[i], 15, &a, a_ops)));
		assert_true(ZYAN_SUCCESS(ZydisDecoderDecodeFull(&d, m->out + m->to[i],
								m->out_len - m->to[i], &b, b_ops)));
		if (a.meta.category == ZYDIS_CATEGORY_CALL) {
			assert_int_equal(b.mnemonic, ZYDIS_MNEMONIC_PUSH);
			continue;
		}
		assert_int_equal(a.mnemonic, b.mnemonic);
		for (int k = 0; k < a.operand_count_visible; k++) {
			uint64_t x, y;

			if (ZYAN_FAILED(ZydisCalcAbsoluteAddress(&a, &a_ops[k], pc, &x)) ||
			    a_ops[k].type == ZYDIS_OPERAND_TYPE_REGISTER)
				continue;
			assert_true(ZYAN_SUCCESS(ZydisCalcAbsoluteAddress(&b, &b_ops[k], npc, &y)));
			if (a.mnemonic == ZYDIS_MNEMONIC_JRCXZ || a.mnemonic == ZYDIS_MNEMONIC_LOOP)
				continue;
			if (x86_moved_pc(m, x, to))
				x = x86_moved_pc(m, x, to);
			assert_int_equal(x, y);
		}
	}
}

static int sweep_one(void *arg, const struct trace_func *f)
{
	struct sweep *s = arg;
	struct x86_code code = {.bytes = s->image + f->offset,
				.addr = s->base + f->offset,
				.len = f->size,
				.room = f->room,
				.whole = true};
	uint64_t to = (s->base & ~0xfffull) - (1u << 20);
	struct x86_moved m;
	const char *why;
	int err;

	if (!f->size)
		return 0;
	err = x86_move(&m, &code, code.addr, to, X86_JUMP, &why);
	if (err) {
		s->refused++;
		return 0;
	}
	same(&m, code.bytes, to);
	assert_true(m.len >= X86_JUMP);
	s->moved++;
	return 0;
}

static void libc(void **state)
{
	struct trace_elf *elf;
	struct sweep s = {.base = 0x7f0000000000};

	assert_int_equal(trace_elf_open(&elf, "/lib/x86_64-linux-gnu/libc.so.6"), 0);
	s.image = trace_elf_image(elf, NULL);
	assert_int_equal(trace_elf_each(elf, sweep_one, &s), 0);
	trace_elf_close(elf);
	printf("ran: x86-libc %u\n", s.moved);
	print_message("libc: %u functions moved, %u refused\n", s.moved, s.refused);
	/* Almost all; what is refused is shorter than a jump or loops to its own beginning. */
	assert_true(s.moved > 20 * s.refused);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(runs),
		cmocka_unit_test(refusals),
		cmocka_unit_test(libc),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

#else
int main(void)
{
	printf("skipped: x86-64 only\n");
	return 0;
}
#endif
