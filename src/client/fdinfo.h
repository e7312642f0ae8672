/* SPDX-License-Identifier: Apache-2.0 */
/* What /proc/PID/fd and /proc/PID/fdinfo say of a handle. */
#ifndef SKEP_CLIENT_FDINFO_H
#define SKEP_CLIENT_FDINFO_H

#include "skep.h"

/* The name that the kernel's handle has, "anon_inode:bpf-map", of kind enum skep_kind; NULL. */
const char *skep_fdinfo_name(int kind);
/* enum skep_kind of the object behind the caller's fd, or -errno. */
int skep_fdinfo_kind(struct skep *skep, int fd);
/* A new descriptor, read-only, that reads as the kernel's fdinfo of the caller's fd: -errno. */
int skep_fdinfo_open(struct skep *skep, int fd);

#endif
