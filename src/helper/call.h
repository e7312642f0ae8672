/* SPDX-License-Identifier: Apache-2.0 */
/* What the files of helpers share: the shape of a helper. */
#ifndef SKEP_HELPER_CALL_H
#define SKEP_HELPER_CALL_H

#include <stdint.h>

#include "helper/fn.h"

#define HELPER(name)                                                                               \
	uint64_t skep_help_##name(uint64_t r1, uint64_t r2, uint64_t r3, uint64_t r4, uint64_t r5, \
				  struct skep_env *env)

#define PTR(r)    ((void *)(uintptr_t)(r))
#define ADDR(ptr) ((uint64_t)(uintptr_t)(ptr))
#define ERR(e)    ((uint64_t)(int64_t) - (e))

#define SKEP_ENOTSUPP 524 /* the kernel's own, not in errno.h */

#endif
