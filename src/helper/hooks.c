/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Helpers of hooks that only a kernel has: connections (sock_ops, sk_msg), sysctl files, samples of a
 * performance counter, lightweight tunnels. Their programs are verified as the kernel does.
 * Those that TEST_RUN runs answer what it gets from the kernel, where nothing was set up either.
 */
#include <errno.h>

#include "helper/call.h"

/* Nothing runs programs of these types here. */
HELPER(no_hook)
{
	return ERR(EOPNOTSUPP);
}

/* ---- Lightweight tunnels: a packet of TEST_RUN has no route that leads into one ---- */

HELPER(lwt_push_encap)
{
	return ERR(EINVAL);
}

HELPER(lwt_seg6_store_bytes)
{
	return ERR(EINVAL);
}

HELPER(lwt_seg6_adjust_srh)
{
	return ERR(EINVAL);
}

HELPER(lwt_seg6_action)
{
	return ERR(EBADMSG);
}
