/* SPDX-License-Identifier: Apache-2.0 */
/* Sockets. */
#include "helper/call.h"

/* An instance has no sockets: none is found, and what takes one is never reached. */
HELPER(no_socket)
{
	return 0;
}
