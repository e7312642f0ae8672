/* SPDX-License-Identifier: Apache-2.0 */
#ifndef SKEP_CMD_MACHINE_H
#define SKEP_CMD_MACHINE_H

#include <stdint.h>
#include <stdio.h>

/* Prints machine code of this processor: disassembled where that is built in (x86-64),
 * as bytes elsewhere. */
void machine_print(FILE *f, const uint8_t *code, uint32_t size);

#endif
