/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A small assembler for tests: the kernel's instruction syntax, one instruction
 * per line or separated by ';', labels as "name:".
 *
 *	r1 = map 0 ll		address of the map with number 0
 *	r1 = value 0 +4 ll	address of byte 4 in map 0's data
 *	r1 = func name ll	address of the function at a label
 *	call map_lookup_elem	a helper, by name or number
 *	call kfunc bpf_x	a kfunc: its number from vasm_kfunc()
 *	call :name		the function at a label
 *	raw 0xCODE dst src off imm
 */
#ifndef SKEP_TEST_VASM_H
#define SKEP_TEST_VASM_H

#include <stddef.h>
#include <stdint.h>

#include "bpf/uapi.h"

/* Assembles text into insns (room for max). Returns the count, or -1 with a
 * message on stderr. map_fds[i] is put into loads of map i. */
/* The BTF id of a kfunc where the program is loaded next: set by who uses them. */
extern uint32_t (*vasm_kfunc)(const char *name);

int vasm(const char *text, const int *map_fds, int nmaps, struct bpf_insn *insns, int max);

#endif
