/* SPDX-License-Identifier: Apache-2.0 */
/* What a client opens instead of the kernel's files. Descriptors are close-on-exec. */
#ifndef SKEP_CLIENT_VIEW_H
#define SKEP_CLIENT_VIEW_H

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>

#define SKEP_VIEW_BTF "/sys/kernel/btf/vmlinux"

struct skep;
/* A sealed file, at its start: the BTF that the instance presents as the kernel's (NULL: nothing). -errno. */
int skep_view_open(struct skep *skep);
/* The same with that text. */
int skep_view_text(const char *text, size_t len);
/* The file behind fd again, read-only and at its start: -errno. */
static inline int skep_view_again(int fd)
{
	char path[64];
	int again;

	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	again = open(path, O_RDONLY | O_CLOEXEC);
	return again < 0 ? -errno : again;
}

#endif
