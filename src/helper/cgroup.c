/* SPDX-License-Identifier: Apache-2.0 */
/* Cgroups: storage of the one that a program is attached to, and membership. */
#include <errno.h>

#include "helper/call.h"
#include "map/cgroup.h"
#include "os/owner.h"
#include "prog/type.h"

HELPER(get_local_storage)
{
	return ADDR(skep_cgroup_storage(PTR(r1), env));
}

/* A packet belongs to a cgroup through its socket, and packets here have none. */
HELPER(skb_under_cgroup)
{
	return ERR(ENOENT);
}

/* But for those that TEST_RUN makes: they are their maker's. */
HELPER(skb_cgroup_id)
{
	return ((struct skep_skb *)PTR(r1))->own ? skep_owner_cgroup_id(-1) : 0;
}

HELPER(skb_ancestor_cgroup_id)
{
	if (!((struct skep_skb *)PTR(r1))->own || (int32_t)r2 < 0)
		return 0;
	return skep_owner_cgroup_id((int)r2);
}

HELPER(skb_cgroup_classid)
{
	return 0;
}

HELPER(get_current_cgroup_id)
{
	return skep_owner_cgroup_id(-1);
}

HELPER(get_current_ancestor_cgroup_id)
{
	return (int32_t)r1 < 0 ? 0 : skep_owner_cgroup_id((int)r1);
}

HELPER(current_task_under_cgroup)
{
	return (uint64_t)(int64_t)skep_cgroup_array_has_current(PTR(r1), (uint32_t)r2);
}
