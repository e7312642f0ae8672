// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/* A chain of 15 tail calls: here through a table of functions; as BPF the harness makes it. */
#include "bench.h"

#ifdef __bpf__
BENCH(struct ctx *ctx)
{
	return 0;
}
#else
static int (*volatile table[16])(struct ctx *);
static volatile unsigned calls;

#define STEP(n)                                                                                    \
	static int step##n(struct ctx *ctx)                                                        \
	{                                                                                          \
		int (*fn)(struct ctx *) = table[n];                                                \
                                                                                                   \
		if (!fn)                                                                           \
			return 1;                                                                  \
		calls++;                                                                           \
		return fn(ctx);                                                                    \
	}
STEP(1)
STEP(2)
STEP(3)
STEP(4)
STEP(5)
STEP(6)
STEP(7)
STEP(8)
STEP(9)
STEP(10)
STEP(11)
STEP(12)
STEP(13)
STEP(14)
STEP(15)

static int (*volatile table[16])(struct ctx *) = {step1,  step2,  step3,  step4,  step5,
						  step6,  step7,  step8,  step9,  step10,
						  step11, step12, step13, step14, step15};

BENCH(struct ctx *ctx)
{
	calls++;
	return table[0](ctx);
}
#endif
