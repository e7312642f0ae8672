/* SPDX-License-Identifier: Apache-2.0 */
/* What the files for Linux share among themselves. */
#ifndef SKEP_LINUX_H
#define SKEP_LINUX_H

#include <stddef.h>

struct skep_seg;

/* A memfd that allows sealing, mode 0600, close-on-exec, a high number. */
int skep_linux_memfd(const char *name);
/* Moves a descriptor of ours up, out of the clients' way; passes -1 on as -errno. */
int skep_linux_high(int fd);
/* Lets the process survive that memory of a writable mapping is gone; before anything else uses
 * the mapping, until before it is unmapped. */
int skep_linux_guard(struct skep_seg *seg);
void skep_linux_unguard(struct skep_seg *seg);
/* skep_probe_read_str() by any way of reading. */
long skep_linux_read_str(int (*read)(void *dst, const void *src, size_t len), char *dst,
			 const void *src, size_t len);

#endif
