/* SPDX-License-Identifier: Apache-2.0 */
/* Cgroups: storage of the one that a program is attached to, and membership. */
#include <errno.h>

#include "helper/call.h"
#include "map/cgroup.h"

HELPER(get_local_storage)
{
	return ADDR(skep_cgroup_storage(PTR(r1), env));
}

/* A packet belongs to a cgroup through its socket, and packets here have none. */
HELPER(skb_under_cgroup)
{
	return ERR(ENOENT);
}

HELPER(current_task_under_cgroup)
{
	return (uint64_t)(int64_t)skep_cgroup_array_has_current(PTR(r1), (uint32_t)r2);
}
