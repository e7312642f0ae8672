// SPDX-License-Identifier: Apache-2.0
/*
 * How control arrives from patched code. Each trampoline is
 *
 *	lea -128(%rsp), %rsp		the caller's red zone stays
 *	call *entry(%rip)
 *	lea 128(%rsp), %rsp
 *	the moved instructions, and back
 *
 * with the address of its site 16 bytes before its beginning, so 27 before the address that
 * the call pushes. The entry code builds the kernel's struct pt_regs on the stack. Nothing
 * here or below touches vector registers (the agent is compiled without them), so those
 * need no saving.
 *
 * At a function's first instruction the flags are free (the ABI gives them no meaning but the
 * direction flag, which is clear), and popf costs more than all the rest: hence two entries.
 */
#include "trace/agent/agent.h"

/* struct agent_regs below what is on the stack, its sp being `above` bytes over the slot
 * that the first push uses. */
#define PUSHES                                                                                     \
	"	pushq %rdi\n"                                                                            \
	"	pushq %rsi\n"                                                                            \
	"	pushq %rdx\n"                                                                            \
	"	pushq %rcx\n"                                                                            \
	"	pushq %rax\n"                                                                            \
	"	pushq %r8\n"                                                                             \
	"	pushq %r9\n"                                                                             \
	"	pushq %r10\n"                                                                            \
	"	pushq %r11\n"                                                                            \
	"	pushq %rbx\n"                                                                            \
	"	pushq %rbp\n"                                                                            \
	"	pushq %r12\n"                                                                            \
	"	pushq %r13\n"                                                                            \
	"	pushq %r14\n"                                                                            \
	"	pushq %r15\n"
#define SAVE(above)                                                                                \
	"	pushq $0x2b\n"                                                                           \
	"	pushq %rsp\n"                                                                            \
	"	pushfq\n"                                                                                \
	"	pushq $0x33\n"                                                                           \
	"	pushq $0\n"                                                                              \
	"	pushq $-1\n" PUSHES "	addq $" #above ", 152(%rsp)\n"                             \
	"	cld\n"                                                                                   \
	"	movq %rsp, %rdi\n"                                                                       \
	"	movq %rsp, %rbx\n"

#define RESTORE                                                                                    \
	"	movq %rbx, %rsp\n"                                                                       \
	"	popq %r15\n"                                                                             \
	"	popq %r14\n"                                                                             \
	"	popq %r13\n"                                                                             \
	"	popq %r12\n"                                                                             \
	"	popq %rbp\n"                                                                             \
	"	popq %rbx\n"                                                                             \
	"	popq %r11\n"                                                                             \
	"	popq %r10\n"                                                                             \
	"	popq %r9\n"                                                                              \
	"	popq %r8\n"                                                                              \
	"	popq %rax\n"                                                                             \
	"	popq %rcx\n"                                                                             \
	"	popq %rdx\n"                                                                             \
	"	popq %rsi\n"                                                                             \
	"	popq %rdi\n"

/* On the stack: the trampoline's address, 128 bytes, the host's. */
#define PROBE                                                                                      \
	SAVE(144)                                                                                  \
	"	movq 168(%rbx), %rsi\n"                                                                  \
	"	movq -27(%rsi), %rsi\n"                                                                  \
	"	movq (%rsi), %rax\n"                                                                     \
	"	movq %rax, 128(%rbx)\n"                                                                  \
	"	andq $-16, %rsp\n"                                                                       \
	"	call agent_on_probe\n" RESTORE

__asm__(".text\n"
	".globl agent_enter_func\n"
	".type agent_enter_func, @function\n"
	"agent_enter_func:\n" PROBE "	leaq 48(%rsp), %rsp\n"
	"	ret\n"
	".size agent_enter_func, . - agent_enter_func\n"

	".globl agent_enter_probe\n"
	".type agent_enter_probe, @function\n"
	"agent_enter_probe:\n" PROBE "	leaq 24(%rsp), %rsp\n"
	"	popfq\n"
	"	leaq 16(%rsp), %rsp\n"
	"	ret\n"
	".size agent_enter_probe, . - agent_enter_probe\n"

	/* A function returns here instead of to its caller. What lies below the stack pointer was
	 * the function's: dead. Its results (rax, rdx, vector registers, x87) pass through. */
	".globl agent_return_here\n"
	".type agent_return_here, @function\n"
	"	nop\n" /* unwinders look up the address before */
	"agent_return_here:\n"
	"	pushq $0\n" SAVE(
		16) "	andq $-16, %rsp\n"
		    "	call agent_on_return\n"
		    "	movq %rax, 168(%rbx)\n" RESTORE "	leaq 48(%rsp), %rsp\n"
		    "	ret\n"
		    ".size agent_return_here, . - agent_return_here\n"

		    /* A system call, in the place of the instruction. The upper part of struct agent_regs
	 * (orig_ax and on) stays on the stack meanwhile; the rest is saved again afterwards. */
		    ".globl agent_enter_syscall\n"
		    ".type agent_enter_syscall, @function\n"
		    "agent_enter_syscall:\n" SAVE(
			    144) "	movq 168(%rbx), %rsi\n"
				 "	movq -27(%rsi), %rsi\n"
				 "	andq $-16, %rsp\n"
				 "	call agent_on_enter\n"
				 "	testl %eax, %eax\n"
				 "	jnz 1f\n" RESTORE ".globl agent_gate\n"
				 "agent_gate:\n"
				 "	syscall\n"
				 "	xorl %ecx, %ecx\n"
				 "	jmp 2f\n"
				 /* The child runs on this very stack before the parent does (vfork). */
				 "1:\n" RESTORE "	syscall\n"
				 "	movl $1, %ecx\n"
				 "2:\n" PUSHES "	movq %rsp, %rdi\n"
				 "	movq %rsp, %rbx\n"
				 "	movl %ecx, %esi\n"
				 "	andq $-16, %rsp\n"
				 "	call agent_on_exit\n" RESTORE "	leaq 48(%rsp), %rsp\n"
				 "	ret\n"
				 ".size agent_enter_syscall, . - agent_enter_syscall\n"

				 /* Where the supervisor runs system calls and functions of the agent in a stopped thread. */
				 ".globl agent_remote_call\n"
				 ".type agent_remote_call, @function\n"
				 "agent_remote_call:\n"
				 "	call *%rax\n"
				 "	int3\n"
				 ".size agent_remote_call, . - agent_remote_call\n"

				 ".globl agent_remote_syscall\n"
				 ".type agent_remote_syscall, @function\n"
				 "agent_remote_syscall:\n"
				 "	syscall\n"
				 "	int3\n"
				 ".size agent_remote_syscall, . - agent_remote_syscall\n");
