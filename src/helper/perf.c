/* SPDX-License-Identifier: Apache-2.0 */
/* Perf event arrays: the program's bytes, and the beginning of its packet if it asks. */
#include <errno.h>

#include "bpf/instance.h"
#include "helper/call.h"
#include "map/map.h"
#include "prog/type.h"

/* The packet behind a context, if its type has one. */
static const void *packet(const struct skep_env *env, const void *ctx, uint64_t *len)
{
	const struct skep_xdp *xdp = ctx;
	const struct skep_skb *skb = ctx;

	*len = 0;
	if (env->prog->ops->ctx_size == sizeof(struct xdp_md)) {
		*len = skep_xdp_len(xdp);
		return xdp->data;
	}
	if (env->prog->ops->ctx_size == sizeof(struct __sk_buff)) {
		*len = skb->len;
		return skb->data;
	}
	return NULL;
}

HELPER(perf_event_output)
{
	uint64_t len, extra = (r3 & BPF_F_CTXLEN_MASK) >> 32;
	const void *data = packet(env, PTR(r1), &len);
	uint64_t allowed = BPF_F_INDEX_MASK | (data ? BPF_F_CTXLEN_MASK : 0);

	if (r3 & ~allowed)
		return ERR(EINVAL);
	if (extra > len)
		return ERR(EFAULT);
	return (uint64_t)skep_perf_output(PTR(r2), r3 & BPF_F_INDEX_MASK, PTR(r4), r5, data, extra,
					  env);
}
