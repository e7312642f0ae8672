/* SPDX-License-Identifier: Apache-2.0 */
/* Clocks, and where the program runs. A replay shows programs the time of its packets. */
#include "helper/call.h"
#include "os/os.h"

HELPER(ktime_get_ns)
{
	return env->clock_ns ? env->clock_ns : skep_clock_mono();
}

HELPER(ktime_get_boot_ns)
{
	return env->clock_ns ? env->clock_ns : skep_clock_boot();
}

HELPER(ktime_get_coarse_ns)
{
	return env->clock_ns ? env->clock_ns : skep_clock_coarse();
}

HELPER(ktime_get_tai_ns)
{
	return env->clock_ns ? env->clock_ns : skep_clock_tai();
}

HELPER(jiffies64)
{
	return skep_jiffies();
}

HELPER(get_smp_processor_id)
{
	return env->cpu;
}

/* CPU slots belong to no node: all of them are the first one's. */
HELPER(get_numa_node_id)
{
	return 0;
}
