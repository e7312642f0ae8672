/* SPDX-License-Identifier: Apache-2.0 */
/*
 * BPF_PROG_TEST_RUN. One function per family of program types for the table of
 * types; below, what they share: the caller's memory, copied with faults caught.
 */
#ifndef SKEP_PROG_TEST_RUN_H
#define SKEP_PROG_TEST_RUN_H

#include <stdbool.h>
#include <stdint.h>

#include "prog/run.h"
#include "prog/type.h"

int skep_test_run_xdp(struct skep_prog *prog, const union bpf_attr *attr, union bpf_attr *uattr);
int skep_test_run_skb(struct skep_prog *prog, const union bpf_attr *attr, union bpf_attr *uattr);
int skep_test_run_tracing(struct skep_prog *prog, const union bpf_attr *attr,
			  union bpf_attr *uattr);
int skep_test_run_raw_tp(struct skep_prog *prog, const union bpf_attr *attr, union bpf_attr *uattr);
int skep_test_run_syscall(struct skep_prog *prog, const union bpf_attr *attr,
			  union bpf_attr *uattr);

/* ---- Shared ---- */

/* The kernel's limits come from one page that holds a packet, room before it and a
 * structure after it. */
#define SKEP_TEST_PAGE     4096u
#define SKEP_TEST_TAILROOM 320u /* the structure */

/* Copies a context of the type's structure, zeros beyond what the caller gave. *used: whether
 * there is a context, in or out. -E2BIG for bytes that are not zero beyond the structure. */
int skep_test_ctx_in(const union bpf_attr *attr, void *ctx, uint32_t size, bool *used);
/* Gives packet, length, result and duration back: -ENOSPC when data_out is too small. frags:
 * bytes behind the first size that were in fragments. */
int skep_test_finish(const union bpf_attr *attr, union bpf_attr *uattr, const void *data,
		     uint32_t size, uint32_t frags, uint32_t retval, uint32_t duration);
int skep_test_ctx_out(const union bpf_attr *attr, union bpf_attr *uattr, const void *ctx,
		      uint32_t size, bool used);
int skep_test_copy_in(void *dst, uint64_t src, uint32_t size);
int skep_test_copy_out(uint64_t dst, const void *src, uint32_t size);

/* Runs the program as often as attr says. The result is the last one's, *duration the mean in
 * ns. fresh: size bytes that the context begins with each time; NULL: as the run before left it. */
uint32_t skep_test_repeat(struct skep_session *s, const union bpf_attr *attr, void *ctx,
			  const void *fresh, size_t size, uint32_t *duration);

#endif
