/* SPDX-License-Identifier: Apache-2.0 */
/* Sockets. */
#include "helper/call.h"

/* An instance is one namespace; numbers begin at 1. */
HELPER(get_netns_cookie)
{
	return 1;
}

/* An instance has no sockets: none is found, and what takes one is never reached. */
HELPER(no_socket)
{
	return 0;
}
