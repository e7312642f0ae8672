// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/* What a call costs. */
#include "bench.h"

BENCH(struct ctx *ctx)
{
	return 0;
}
