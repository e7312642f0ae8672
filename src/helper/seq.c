/* SPDX-License-Identifier: Apache-2.0 */
/* What iterators write for their readers. */
#include <errno.h>
#include <string.h>

#include "bpf/iter.h"
#include "helper/call.h"
#include "helper/format.h"

/* The verifier let the file of the running program's own context come here, and there is no other. */
static struct skep_seq *seq_of(uint64_t r)
{
	return (struct skep_seq *)PTR(r);
}

static uint64_t full(struct skep_seq *seq)
{
	seq->view.count = seq->view.size;
	seq->overflow = true;
	return ERR(EOVERFLOW);
}

HELPER(seq_printf)
{
	struct skep_seq *seq = seq_of(r1);
	uint64_t room = seq->view.size - seq->view.count;
	uint32_t len = (uint32_t)r5;
	long n;

	if (len % 8 || len > SKEP_FORMAT_MAX_ARGS * 8 || (len && !r4))
		return ERR(EINVAL);
	n = skep_format(env->prog, seq->buf + seq->view.count, room, PTR(r2), (uint32_t)r3, PTR(r4),
			len / 8);
	if (n < 0)
		return (uint64_t)n;
	if ((uint64_t)n >= room)
		return full(seq);
	seq->view.count += (uint64_t)n;
	return 0;
}

HELPER(seq_write)
{
	struct skep_seq *seq = seq_of(r1);
	uint32_t len = (uint32_t)r3;

	if (len >= seq->view.size - seq->view.count)
		return full(seq);
	memcpy(seq->buf + seq->view.count, PTR(r2), len);
	seq->view.count += len;
	return 0;
}
