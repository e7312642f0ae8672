/* SPDX-License-Identifier: Apache-2.0 */
/* Spin locks in map values. */
#include "helper/call.h"
#include "map/map.h"

HELPER(spin_lock)
{
	skep_spin_lock(PTR(r1), env);
	return 0;
}

HELPER(spin_unlock)
{
	skep_spin_unlock(PTR(r1), env);
	return 0;
}
