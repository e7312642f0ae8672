/* SPDX-License-Identifier: Apache-2.0 */
/* What the files for Linux share among themselves. */
#ifndef SKEP_LINUX_H
#define SKEP_LINUX_H

/* A memfd that allows sealing, mode 0600, close-on-exec, a high number. */
int skep_linux_memfd(const char *name);
/* Moves a descriptor of ours up, out of the clients' way; passes -1 on as -errno. */
int skep_linux_high(int fd);

#endif
