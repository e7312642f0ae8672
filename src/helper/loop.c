/* SPDX-License-Identifier: Apache-2.0 */
/* bpf_loop: a callback, called again and again. */
#include <errno.h>

#include "helper/call.h"

#define MAX_LOOPS (8u * 1024 * 1024)

HELPER(loop)
{
	uint32_t n = (uint32_t)r1;

	if (r4)
		return ERR(EINVAL);
	/* All 64 bits, as the kernel has it where it inlines the loop, which is the rule. */
	if (r1 > MAX_LOOPS)
		return ERR(E2BIG);
	for (uint32_t i = 0; i < n; i++) {
		if (env->call(env, r2, i, r3, 0, 0, 0))
			return i + 1;
	}
	return n;
}
