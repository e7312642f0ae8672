/* SPDX-License-Identifier: Apache-2.0 */
/* Which accesses of its context a program may make, and what it may return. */
#include "prog/type.h"

#include <stddef.h>

static bool allowed(const struct skep_ctx_field *f, uint32_t off, uint32_t size, bool write)
{
	uint32_t whole = f->unit ? f->unit : f->size;

	if (off + size > (uint32_t)f->off + f->size)
		return false;
	if (f->flags & SKEP_CTX_ANYSIZE || size == whole)
		return true;
	return !write && f->flags & SKEP_CTX_NARROW && size < whole;
}

const struct skep_ctx_field *skep_ctx_find(const struct skep_prog *prog, uint32_t off,
					   uint32_t size, bool write, bool privileged)
{
	uint32_t need = write ? SKEP_CTX_W : SKEP_CTX_R;

	if (!size || off % size)
		return NULL;
	for (uint32_t i = 0; i < prog->ops->nfields; i++) {
		const struct skep_ctx_field *f = &prog->ops->fields[i];

		if (off < f->off || off >= (uint32_t)f->off + f->size || !(f->flags & need) ||
		    (f->flags & SKEP_CTX_PRIV && !privileged) ||
		    (f->attach && f->attach != prog->attach_type))
			continue;
		if (allowed(f, off, size, write))
			return f;
	}
	return NULL;
}

bool skep_prog_ret_range(const struct skep_prog *prog, int64_t *min, int64_t *max)
{
	if (prog->ops->ret_any)
		return false;
	*min = prog->ops->ret_min;
	*max = prog->ops->ret_max;
	/* Egress may report congestion besides its verdict. */
	if (prog->type == BPF_PROG_TYPE_CGROUP_SKB && prog->attach_type == BPF_CGROUP_INET_EGRESS)
		*max = 3;
	return true;
}
