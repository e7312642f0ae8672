/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Contexts of tracing and system call programs. They are passed as they are, so
 * one row often covers the whole structure: any aligned access inside it is right.
 */
#include "prog/fields.h"

#define SAME(first, bytes) .off = (first), .size = (bytes), .ioff = (first), .isize = (bytes)
#define RA                 (SKEP_CTX_R | SKEP_CTX_ANYSIZE)

const struct skep_ctx_field skep_fields_kprobe[] = {
	{.name = "regs", SAME(0, SKEP_REGS_SIZE), .flags = RA},
};

const struct skep_ctx_field skep_fields_tracepoint[] = {
	{.name = "record", SAME(8, SKEP_CTX_SIZE_TRACEPOINT - 8), .flags = RA},
};

const struct skep_ctx_field skep_fields_raw_tp[] = {
	{.name = "args", SAME(0, SKEP_CTX_SIZE_RAW_TP), .flags = RA},
};

/* The first argument's bytes may be read one by one, but not from its start. */
const struct skep_ctx_field skep_fields_raw_tp_writable[] = {
	{.name = "buffer", SAME(0, 8), .kind = SKEP_CTX_TP_BUFFER, .flags = SKEP_CTX_R},
	{.name = "args", SAME(1, SKEP_CTX_SIZE_RAW_TP - 1), .flags = RA},
};

/* Registers one by one and whole; period and address in parts, too. */
const struct skep_ctx_field skep_fields_perf_event[] = {
	{.name = "regs", SAME(0, SKEP_REGS_SIZE), .unit = 8, .flags = SKEP_CTX_R},
	{.name = "sample_period", SAME(SKEP_REGS_SIZE, 8), .flags = SKEP_CTX_R | SKEP_CTX_NARROW},
	{.name = "addr", SAME(SKEP_REGS_SIZE + 8, 8), .flags = SKEP_CTX_R | SKEP_CTX_NARROW},
};

const struct skep_ctx_field skep_fields_syscall[] = {
	{.name = "args", SAME(0, SKEP_CTX_SIZE_SYSCALL), .flags = RA | SKEP_CTX_W},
};
