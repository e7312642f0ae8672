/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Addresses of processes to names: by what is mapped where, as it is (or was, when a process was first
 * asked about), and the symbols of the files.
 */
#ifndef SKEP_CMD_SYMBOLS_H
#define SKEP_CMD_SYMBOLS_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

struct symbols;

/* "func+0x12 (libc.so.6)", "[0x1234] (prog)" or "[0x1234]". *s is made on first use; NULL: no memory. */
void symbols_write(struct symbols **s, pid_t pid, uint64_t addr, char *buf, size_t size);
void symbols_close(struct symbols *s);

#endif
