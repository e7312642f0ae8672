/* SPDX-License-Identifier: Apache-2.0 */
/* Which accesses of its context a program may make, and what it may return. */
#include "prog/type.h"

#include <stddef.h>

#include "bpf/iter.h"
#include "prog/fields.h"

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
	for (uint32_t i = 0; i < (prog->iter ? prog->iter->nfields : prog->ops->nfields); i++) {
		const struct skep_ctx_field *f =
			prog->iter ? &prog->iter->fields[i] : &prog->ops->fields[i];

		if (off < f->off || off >= (uint32_t)f->off + f->size || !(f->flags & need) ||
		    (f->flags & SKEP_CTX_PRIV && !privileged &&
		     (write || !(f->flags & SKEP_CTX_W))) ||
		    (f->attach && !skep_attach_in(f->attach, prog->attach_type)))
			continue;
		if (allowed(f, off, size, write))
			return f;
	}
	return NULL;
}

bool skep_sock_find(uint32_t off, uint32_t size, bool full)
{
	/* What request and timewait sockets don't have lies together. */
	if (!full && off >= offsetof(struct bpf_sock, type) &&
	    off < offsetof(struct bpf_sock, src_ip4))
		return false;
	for (uint32_t i = 0; i < SKEP_NFIELDS_CGROUP_SOCK; i++) {
		const struct skep_ctx_field *f = &skep_fields_cgroup_sock[i];

		if (off >= f->off && off % size == 0 && allowed(f, off, size, false))
			return true;
	}
	return false;
}

#define A(type) (1ull << BPF_CGROUP_##type)

/* Where the attach type says what may be returned. */
static const struct {
	uint32_t type;
	uint64_t attach;
	int32_t min, max;
} ranges[] = {
	/* Egress may report congestion besides its verdict. */
	{BPF_PROG_TYPE_CGROUP_SKB, A(INET_EGRESS), 0, 3},
	/* Bind may spare the caller the check of its capability. */
	{BPF_PROG_TYPE_CGROUP_SOCK_ADDR, A(INET4_BIND) | A(INET6_BIND), 0, 3},
	/* What is done already can't be refused. */
	{BPF_PROG_TYPE_CGROUP_SOCK_ADDR,
	 A(UDP4_RECVMSG) | A(UDP6_RECVMSG) | A(UNIX_RECVMSG) | A(INET4_GETPEERNAME) |
		 A(INET6_GETPEERNAME) | A(UNIX_GETPEERNAME) | A(INET4_GETSOCKNAME) |
		 A(INET6_GETSOCKNAME) | A(UNIX_GETSOCKNAME),
	 1, 1},
	{BPF_PROG_TYPE_TRACING, 1ull << BPF_TRACE_ITER, 0, 1},
	/* Of a session, the entry says whether the exit is asked for. */
	{BPF_PROG_TYPE_KPROBE, 1ull << BPF_TRACE_KPROBE_SESSION | 1ull << BPF_TRACE_UPROBE_SESSION,
	 0, 1},
};

bool skep_prog_ret_range(const struct skep_prog *prog, int64_t *min, int64_t *max)
{
	for (size_t i = 0; i < sizeof(ranges) / sizeof(ranges[0]); i++) {
		if (ranges[i].type == prog->type &&
		    skep_attach_in(ranges[i].attach, prog->attach_type)) {
			*min = ranges[i].min;
			*max = ranges[i].max;
			return true;
		}
	}
	*min = prog->ops->ret_min;
	*max = prog->ops->ret_max;
	return !prog->ops->ret_any;
}
