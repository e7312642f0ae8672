/* SPDX-License-Identifier: Apache-2.0 */
/* The running kernel's bpf(2), as a judge for tests. Errors are -errno. */
#ifndef TEST_KERN_H
#define TEST_KERN_H

#include <stdbool.h>
#include <stdint.h>

#include "bpf/uapi.h"

long kern_bpf(int cmd, union bpf_attr *attr);
/* Whether programs can be loaded at all here. */
bool kern_available(void);
/* Loads a GPL program; log (may be NULL) gets the text at `level`. Returns the descriptor. */
int kern_load(uint32_t type, const struct bpf_insn *insns, uint32_t n, uint32_t level, char *log,
	      uint32_t log_size);
/* TEST_RUN with ctx bytes (SYSCALL programs; NULL: none). 0 or -errno. */
int kern_run_ctx(int fd, void *ctx, uint32_t ctx_size, uint32_t *retval);
/* TEST_RUN on a packet, repeated; *ns gets the mean duration. out may be NULL. */
int kern_run_packet(int fd, const void *in, uint32_t len, void *out, uint32_t *out_len,
		    uint32_t repeat, uint32_t *retval, uint32_t *ns);

#endif
