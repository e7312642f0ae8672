/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a run came to, and how it is told.
 */
#ifndef SKEP_CMD_OUTCOME_H
#define SKEP_CMD_OUTCOME_H

#include "cmd.h"
#include "live.h"
#include "maps.h"

struct skep_verdict;

struct outcome {
	const struct session *s;
	const struct verdict *prog;
	const char *source; /* capture file, or interface */
	struct maps_opts maps;

	const struct skep_verdict *rows;
	uint32_t nrows;
	const uint64_t *verdicts; /* by row */
	uint64_t packets, bytes, skipped;
	double ns_per_packet;
	bool in_program; /* that counts the program alone */
	double seconds;
	/* Captures. */
	uint64_t read_ns, written;
	const char *write; /* or NULL */
	/* Interfaces, or NULL. */
	const struct live_stats *live;
	const char *bridge;
};

void outcome_text(const struct outcome *o);
void outcome_json(const struct outcome *o);

#endif
