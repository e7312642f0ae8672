/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/* Between the engine of one-line probes and tools (probe.bpf.c) and what fills and reads its maps. */
#ifndef SKEP_TOOLS_PROBE_H
#define SKEP_TOOLS_PROBE_H

#define PROBE_MAX    512 /* probes of a trace */
#define PROBE_ARGS   6
#define PROBE_TEXTS  2 /* arguments read from memory, per event */
#define PROBE_TEXT   512
#define PROBE_CONDS  8
#define PROBE_STACK  32
#define PROBE_SLOTS  64
#define PROBE_STRING 64 /* of a condition */

/* What a condition looks at, and what histograms and counts go by. Below PROBE_ARGS: that argument. */
enum probe_field {
	FIELD_RET = PROBE_ARGS,
	FIELD_PID,
	FIELD_TID,
	FIELD_UID,
	FIELD_LATENCY,
	FIELD_COMM,
	FIELD_TEXT0, /* the arguments that were read */
	FIELD_TEXT1,
	FIELD_NONE,
};

enum probe_op { OP_EQ, OP_NE, OP_LT, OP_LE, OP_GT, OP_GE };

/* How a number is taken from a register. */
enum probe_width { WIDTH_S64, WIDTH_U64, WIDTH_S32, WIDTH_U32 };

struct probe_cond {
	unsigned char field, op, width;
	unsigned char prefix; /* only the beginning is compared */
	unsigned int pad;
	long long value;
	char text[PROBE_STRING];
};

enum probe_flag {
	PROBE_F_EVENT = 1, /* an event each time */
	PROBE_F_COUNT = 2,
	PROBE_F_HIST = 4,
	PROBE_F_STACK = 8,
	PROBE_F_RETURN = 16, /* complete when the call returns */
	PROBE_F_BY_PID = 32, /* counts and histograms: each process for itself */
	PROBE_F_BOTH = 64, /* events at entry, and at the return as well */
};

enum probe_text_kind { TEXT_NONE, TEXT_STRING, TEXT_DATA, TEXT_ARGV };

struct probe {
	unsigned int flags, nconds;
	unsigned char text_kind[PROBE_TEXTS];
	unsigned char text_field[PROBE_TEXTS]; /* an argument, or FIELD_RET */
	unsigned char text_len[PROBE_TEXTS]; /* TEXT_DATA: the field that tells how much */
	unsigned char hist_field, hist_width;
	unsigned int hist_unit; /* values are divided by it; 0: not */
	struct probe_cond conds[PROBE_CONDS];
};

struct probe_event {
	unsigned long long ns; /* when it was made, by the monotonic clock */
	unsigned long long took; /* ns; 0: not known */
	unsigned long long args[PROBE_ARGS];
	long long ret;
	unsigned int probe, target; /* of what was attached; a system call's number */
	unsigned int pid, tid, uid;
	unsigned char returned, ntext, pad[2];
	char comm[16];
	/* From here on as far as it is used. */
	unsigned int len[PROBE_TEXTS + 1]; /* of the texts; bytes of the stack */
	unsigned int pad2;
	unsigned long long stack[PROBE_STACK];
	char text[PROBE_TEXTS][PROBE_TEXT];
};

struct probe_count_key {
	unsigned int probe, target, pid, pad;
};

struct probe_count {
	unsigned long long count, ns;
};

struct probe_hist {
	unsigned long long slots[PROBE_SLOTS]; /* [i]: values of i significant bits */
};

#endif
