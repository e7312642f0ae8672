/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The verifier: proves a program safe, as Linux 6.18 does, and rewrites it.
 */
#ifndef SKEP_VERIFIER_H
#define SKEP_VERIFIER_H

#include <stdbool.h>
#include <stdint.h>

#include "bpf/instance.h"
#include "bpf/log.h"

struct skep_map;
struct skep_btf;

enum skep_load_phase {
	SKEP_LOAD_BEGIN, /* before anything is looked at */
	SKEP_LOAD_SUBPROGS, /* functions are known */
	SKEP_LOAD_CFG, /* control flow is right */
};

/* What PROG_LOAD gathered before: nothing here is trusted but the sizes. */
struct skep_verify_in {
	struct bpf_insn *insns; /* private copy; changed by the verifier */
	uint32_t ninsns;
	const uint32_t *fd_array; /* of attr.fd_array: resolved by get_map, NULL if none */
	/* Resolves the map behind an fd (pseudo loads), or fd_array[index]; takes a reference. */
	int (*get_map)(void *arg, uint32_t fd_or_idx, bool is_idx, struct skep_map **out);
	/* What PROG_LOAD checks in between, in the kernel's order; NULL: nothing. */
	int (*phase)(void *arg, enum skep_load_phase phase);
	void *arg;
	bool privileged; /* CAP_BPF, CAP_PERFMON: as for a root caller */
	bool strict_alignment, test_state_freq;
	struct skep_log *log;
};

struct skep_verify_stats {
	uint64_t insns_processed; /* the kernel's "processed N insns" */
	uint32_t total_states, peak_states, max_states_per_insn, mark_read;
	uint64_t ns;
	uint32_t stack_depth; /* deepest call chain, bytes */
};

/* Verifies prog (type, attach_type, btf, func_info, line_info, gpl, flags set; maps and
 * image filled in here). 0, or -errno with the kernel's message in the log and the
 * explanation given to the instance's explain callback. */
int skep_verify(struct skep_prog *prog, const struct skep_verify_in *in,
		struct skep_verify_stats *stats);

#endif
