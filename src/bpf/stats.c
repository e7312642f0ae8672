/* SPDX-License-Identifier: Apache-2.0 */
/* ENABLE_STATS: runs are counted and timed while anyone holds such a descriptor. */
#include <stdlib.h>

#include "bpf/call.h"

static void stats_destroy(struct skep_object *obj)
{
	atomic_fetch_sub(&obj->skep->stats_enabled, 1);
	free(obj);
}

long skep_cmd_enable_stats(struct skep_call *c)
{
	if (!skep_capable(c->skep, SKEP_CAP_SYS_ADMIN))
		return -EPERM;
	if (c->attr.enable_stats.type != BPF_STATS_RUN_TIME)
		return -EINVAL;
	struct skep_object *obj = calloc(1, sizeof(*obj));
	if (!obj)
		return -ENOMEM;
	obj->destroy = stats_destroy;
	int err = skep_object_add(c->skep, obj, SKEP_KIND_STATS, -1);
	if (err) {
		free(obj);
		return err;
	}
	atomic_fetch_add(&c->skep->stats_enabled, 1);
	return skep_give_fd(obj, 0);
}

/* Tokens stand for rights that a mount of bpffs delegates; there is no such mount. */
long skep_cmd_token_create(struct skep_call *c)
{
	if (c->attr.token_create.flags)
		return -EINVAL;
	return skep_wrong_fd(c->attr.token_create.bpffs_fd);
}
