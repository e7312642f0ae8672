/* SPDX-License-Identifier: Apache-2.0 */
/* Targets of programs, in BTF. */
#include "prog/target.h"

#include <errno.h>
#include <string.h>

#include "bpf/instance.h"
#include "bpf/iter.h"
#include "bpf/log.h"
#include "btf/btf.h"
#include "btf/internal.h"

bool skep_target_needed(uint32_t prog_type)
{
	return prog_type == BPF_PROG_TYPE_TRACING;
}

static int refuse(struct skep_log *log, int err, const char *format, uint32_t id, const char *name)
{
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
	skep_log_printf(log, format, id, name);
#pragma GCC diagnostic pop
	return err;
}

/* A typedef of a pointer to a function: what a tracepoint passes. */
static int find_tracepoint(struct skep_prog *prog, struct skep_log *log, const struct skep_btf *btf,
			   const struct btf_type *t)
{
	static const char prefix[] = "btf_trace_";
	uint32_t id = prog->attach_btf_id;

	if (T_KIND(t) != BTF_KIND_TYPEDEF)
		return refuse(log, -EINVAL, "attach_btf_id %u is not a typedef\n", id, NULL);
	if (strncmp(prefix, prog->target.name, sizeof(prefix) - 1))
		return refuse(log, -EINVAL, "attach_btf_id %u points to wrong type name %s\n", id,
			      prog->target.name);
	prog->target.name += sizeof(prefix) - 1;
	t = skep_btf_type(btf, t->type);
	if (!t || T_KIND(t) != BTF_KIND_PTR)
		return -EINVAL;
	t = skep_btf_type(btf, t->type);
	if (!t || T_KIND(t) != BTF_KIND_FUNC_PROTO)
		return -EINVAL;
	prog->target.proto = t;
	prog->target.skip = 1; /* the first one is the tracepoint's own */
	return 0;
}

static int find_function(struct skep_prog *prog, struct skep_log *log, const struct skep_btf *btf,
			 const struct btf_type *t)
{
	if (T_KIND(t) != BTF_KIND_FUNC)
		return refuse(log, -EINVAL, "attach_btf_id %u is not a function\n",
			      prog->attach_btf_id, NULL);
	t = skep_btf_type(btf, t->type);
	if (!t || T_KIND(t) != BTF_KIND_FUNC_PROTO)
		return -EINVAL;
	prog->target.proto = t;
	return 0;
}

int skep_target_find(struct skep_prog *prog, struct skep_log *log)
{
	const struct skep_btf *btf;
	const struct btf_type *t;
	int err;

	if (!skep_target_needed(prog->type))
		return 0;
	if (!prog->attach_btf_id)
		return refuse(log, -EINVAL, "Tracing programs must provide btf_id\n", 0, NULL);
	err = skep_btf_presented(prog->obj.skep, &btf);
	if (err)
		return err;
	t = skep_btf_type(btf, prog->attach_btf_id);
	if (!t)
		return refuse(log, -EINVAL, "attach_btf_id %u is invalid\n", prog->attach_btf_id,
			      NULL);
	prog->target.btf = btf;
	prog->target.name = skep_btf_name(btf, prog->attach_btf_id);
	if (!*prog->target.name)
		return refuse(log, -EINVAL, "attach_btf_id %u doesn't have a name\n",
			      prog->attach_btf_id, NULL);
	switch (prog->attach_type) {
	case BPF_TRACE_RAW_TP:
		return find_tracepoint(prog, log, btf, t);
	case BPF_TRACE_ITER:
		err = find_function(prog, log, btf, t);
		prog->iter = err ? NULL : skep_iter_find(prog->target.name);
		return prog->iter ? 0 : -EINVAL;
	default:
		return -EINVAL;
	}
}

const struct btf_param *skep_target_params(const struct skep_prog *prog, uint32_t *n)
{
	*n = T_VLEN(prog->target.proto) - prog->target.skip;
	return skep_btf_params(prog->target.proto) + prog->target.skip;
}
