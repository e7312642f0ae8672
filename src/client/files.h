/* SPDX-License-Identifier: Apache-2.0 */
/* What the kernel says of files, said of handles and pins to the client whose call is being answered. */
#ifndef SKEP_CLIENT_FILES_H
#define SKEP_CLIENT_FILES_H

#include <limits.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#define SKEP_FILES_PASS LONG_MIN /* the kernel is to do the call */

/* statfs(path, buf) and fstatfs(fd, buf), with the call's arguments: a file on the device of the pins is
 * one of a bpffs. */
long skep_files_statfs(dev_t bpffs, const uint64_t *args, bool by_fd);

#endif
