/* SPDX-License-Identifier: Apache-2.0 */
/* A small assembler for tests: the syntax of skep_disasm(), with labels. */
#ifndef TEST_ASM_H
#define TEST_ASM_H

#include <stdint.h>

#include "bpf/uapi.h"

/*
 * Assembles text (lines separated by newline or ';', "name:" is a label, jumps
 * and calls of functions name one, "call #N" calls helper N, "r1 = 5 ll" is a
 * 64-bit immediate). Returns the number of slots or prints the line and returns -1.
 */
int asm_text(const char *text, struct bpf_insn *out, int max);

#endif
