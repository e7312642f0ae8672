/* SPDX-License-Identifier: Apache-2.0 */
/* The seccomp filter of the clients of skep exec. */
#ifndef SKEP_CLIENT_FILTER_H
#define SKEP_CLIENT_FILTER_H

#include <stdbool.h>

/* From now on bpf(2) and perf_event_open(2) of the calling thread, and of what it starts, wait for
 * who serves the listener: its descriptor (close-on-exec), or -errno. */
int skep_filter_install(void);

/* Which of the two a notification is about. */
struct seccomp_data;
bool skep_filter_is_bpf(const struct seccomp_data *call);

#endif
