/* SPDX-License-Identifier: Apache-2.0 */
/* Random numbers: fast, seeded from the system per environment, not for secrets. */
#include "helper/call.h"
#include "os/os.h"

/* SplitMix64: a counter through a mixer, so that no state is a bad one. */
HELPER(get_prandom_u32)
{
	uint64_t x;

	if (!env->prandom)
		env->prandom = skep_random() | 1;
	x = env->prandom += 0x9e3779b97f4a7c15ull;
	x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9ull;
	x = (x ^ (x >> 27)) * 0x94d049bb133111ebull;
	return (uint32_t)(x >> 32);
}
