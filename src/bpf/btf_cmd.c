/* SPDX-License-Identifier: Apache-2.0 */
/* BTF_LOAD. */
#include <stdlib.h>

#include "bpf/call.h"
#include "bpf/log.h"
#include "btf/btf.h"

#define BTF_MAX_BYTES (16u << 20)

static void destroy(struct skep_object *obj)
{
	skep_btf_free((struct skep_btf *)obj);
}

long skep_cmd_btf_load(struct skep_call *c)
{
	const union bpf_attr *a = &c->attr;
	struct skep_btf *btf = NULL;
	struct skep_log log;
	uint32_t true_size = 0;
	void *data = NULL;
	int err;

	if (a->btf_flags & ~(uint32_t)BPF_F_TOKEN_FD)
		return -EINVAL;
	if (a->btf_flags & BPF_F_TOKEN_FD)
		return skep_wrong_fd((uint32_t)a->btf_token_fd); /* there are no tokens */
	if (!skep_capable(c->skep, SKEP_CAP_BPF))
		return -EPERM;
	if (a->btf_size > BTF_MAX_BYTES)
		return -E2BIG;
	err = skep_log_init(&log, a->btf_log_level, skep_user_ptr(a->btf_log_buf), a->btf_log_size);
	if (err)
		return err;
	data = malloc(a->btf_size ? a->btf_size : 1);
	if (!data)
		err = -ENOMEM;
	else
		err = skep_user_read(data, a->btf, a->btf_size);
	if (!err)
		err = skep_btf_parse_for(c->skep, data, a->btf_size, &log, &btf);
	free(data);
	int log_err = skep_log_finish(&log, &true_size);
	if (c->size >= offsetof(union bpf_attr, btf_log_true_size) + sizeof(true_size) &&
	    skep_call_put(c, btf_log_true_size, true_size))
		log_err = -EFAULT;
	if (log_err)
		err = log_err;
	if (!err) {
		btf->obj.skep = c->skep;
		btf->obj.destroy = destroy;
		err = skep_object_add(c->skep, &btf->obj, SKEP_KIND_BTF, -1);
		if (err)
			btf->obj.skep = NULL;
	}
	if (err) {
		skep_btf_free(btf);
		return err;
	}
	return skep_give_fd(&btf->obj, 0);
}
