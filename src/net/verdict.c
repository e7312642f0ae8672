/* SPDX-License-Identifier: Apache-2.0 */
#include "net/verdict.h"

#include <stddef.h>

#include "bpf/uapi.h"

/* Of <linux/pkt_cls.h>, which can't be had without libc's clashing headers. */
enum {
	ACT_UNSPEC = -1,
	ACT_OK,
	ACT_RECLASSIFY,
	ACT_SHOT,
	ACT_PIPE,
	ACT_STOLEN,
	ACT_QUEUED,
	ACT_REPEAT,
	ACT_REDIRECT,
	ACT_TRAP
};

/* The first row of each table is what undefined values mean. */
static const struct skep_verdict xdp[] = {
	{"XDP_ABORTED", SKEP_FATE_DROP, XDP_ABORTED},
	{"XDP_DROP", SKEP_FATE_DROP, XDP_DROP},
	{"XDP_PASS", SKEP_FATE_PASS, XDP_PASS},
	{"XDP_TX", SKEP_FATE_TX, XDP_TX},
	{"XDP_REDIRECT", SKEP_FATE_REDIRECT, XDP_REDIRECT},
};

static const struct skep_verdict tc[] = {
	{"TC_ACT_UNSPEC", SKEP_FATE_PASS, ACT_UNSPEC},
	{"TC_ACT_OK", SKEP_FATE_PASS, ACT_OK},
	{"TC_ACT_RECLASSIFY", SKEP_FATE_PASS, ACT_RECLASSIFY},
	{"TC_ACT_SHOT", SKEP_FATE_DROP, ACT_SHOT},
	{"TC_ACT_PIPE", SKEP_FATE_PASS, ACT_PIPE},
	{"TC_ACT_STOLEN", SKEP_FATE_DROP, ACT_STOLEN},
	{"TC_ACT_QUEUED", SKEP_FATE_DROP, ACT_QUEUED},
	{"TC_ACT_REPEAT", SKEP_FATE_PASS, ACT_REPEAT},
	{"TC_ACT_REDIRECT", SKEP_FATE_REDIRECT, ACT_REDIRECT},
	{"TC_ACT_TRAP", SKEP_FATE_DROP, ACT_TRAP},
};

/* A socket filter's result is the number of bytes to keep. */
static const struct skep_verdict filter[] = {
	{"PASS", SKEP_FATE_PASS, 1},
	{"DROP", SKEP_FATE_DROP, 0},
};

static const struct skep_verdict cgroup[] = {
	{"DROP", SKEP_FATE_DROP, 0},
	{"PASS", SKEP_FATE_PASS, 1},
};

#define ROWS(t) t, sizeof(t) / sizeof((t)[0])
static const struct {
	uint32_t type;
	const struct skep_verdict *rows;
	size_t n;
} tables[] = {
	{BPF_PROG_TYPE_XDP, ROWS(xdp)},           {BPF_PROG_TYPE_SCHED_CLS, ROWS(tc)},
	{BPF_PROG_TYPE_SCHED_ACT, ROWS(tc)},      {BPF_PROG_TYPE_SOCKET_FILTER, ROWS(filter)},
	{BPF_PROG_TYPE_CGROUP_SKB, ROWS(cgroup)},
};

const struct skep_verdict *skep_verdicts(uint32_t type, uint32_t *n)
{
	for (size_t i = 0; i < sizeof(tables) / sizeof(tables[0]); i++) {
		if (tables[i].type == type) {
			*n = (uint32_t)tables[i].n;
			return tables[i].rows;
		}
	}
	*n = 0;
	return NULL;
}

const struct skep_verdict *skep_verdict(uint32_t type, uint32_t value)
{
	uint32_t n;
	const struct skep_verdict *rows = skep_verdicts(type, &n);

	for (uint32_t i = 0; i < n; i++)
		if (rows[i].value == (int32_t)value)
			return &rows[i];
	return rows;
}
