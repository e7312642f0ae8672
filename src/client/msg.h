/* SPDX-License-Identifier: Apache-2.0 */
/* Messages with descriptors, over sockets that keep messages apart (SOCK_SEQPACKET). */
#ifndef SKEP_CLIENT_MSG_H
#define SKEP_CLIENT_MSG_H

#include <stddef.h>
#include <sys/types.h>

#define SKEP_MSG_FDS 8 /* of one message, at most */

/* 0 or -errno; the descriptors stay the sender's. */
int skep_msg_send(int sock, const void *data, size_t len, const int *fds, unsigned n);
/* Bytes, 0 at the end, or -errno. A message that is longer, or has more descriptors than SKEP_MSG_FDS,
 * is -EPROTO, and none of its descriptors is left open. Those of a good one are close-on-exec, *n of
 * them in fds[SKEP_MSG_FDS], the caller's to close. */
ssize_t skep_msg_recv(int sock, void *data, size_t len, int *fds, unsigned *n, int flags);

#endif
