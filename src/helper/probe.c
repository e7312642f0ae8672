/* SPDX-License-Identifier: Apache-2.0 */
/* Where a tracing program runs: the probe's cookie, the function, the stack that led there. */
#include <errno.h>
#include <string.h>

#include "bpf/instance.h"
#include "exec/exec.h"
#include "helper/call.h"
#include "helper/stack.h"
#include "map/map.h"

#define STACK_FLAGS (BPF_F_SKIP_FIELD_MASK | BPF_F_USER_STACK | BPF_F_USER_BUILD_ID)

HELPER(get_attach_cookie)
{
	return env->cookie;
}

HELPER(get_func_ip)
{
	return env->func_ip;
}

HELPER(get_stack)
{
	uint64_t ips[SKEP_STACK_MAX], skip = r4 & BPF_F_SKIP_FIELD_MASK;
	uint32_t size = (uint32_t)r3, n;

	if ((r4 & ~STACK_FLAGS) ||
	    (r4 & (BPF_F_USER_BUILD_ID | BPF_F_USER_STACK)) == BPF_F_USER_BUILD_ID ||
	    size % (r4 & BPF_F_USER_BUILD_ID ? sizeof(struct bpf_stack_build_id) : 8)) {
		memset(PTR(r2), 0, size);
		return ERR(EINVAL);
	}
	/* A stack of the kernel's, or build ids: there are none here. */
	if (!(r4 & BPF_F_USER_STACK) || (r4 & BPF_F_USER_BUILD_ID) || !env->regs) {
		memset(PTR(r2), 0, size);
		return ERR(EFAULT);
	}
	n = size / 8 + (uint32_t)skip;
	n = skep_user_stack(env, ips, n < SKEP_STACK_MAX ? n : SKEP_STACK_MAX);
	if (n <= skip) {
		memset(PTR(r2), 0, size);
		return ERR(EFAULT);
	}
	n -= (uint32_t)skip;
	memcpy(PTR(r2), ips + skip, n * 8ul);
	memset((uint8_t *)PTR(r2) + n * 8ul, 0, size - n * 8ul);
	return n * 8ul;
}

HELPER(get_stackid)
{
	uint64_t ips[SKEP_STACK_MAX];
	uint32_t n;

	/* Flags are stackmap's to judge; it takes none that it does not know. */
	if (!(r3 & BPF_F_USER_STACK) || !env->regs)
		return ERR(EFAULT);
	n = skep_user_stack(env, ips, SKEP_STACK_MAX);
	return (uint64_t)skep_stackmap_put(PTR(r2), ips, n, r3);
}
