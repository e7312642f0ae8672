/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Waiting for ring buffers and perf readers through epoll, and perf readers as
 * perf_event_open, ioctl and mmap make them. The wrapped libc calls are in ready.c;
 * these are what libbpf.c's wrappers hand over.
 */
#ifndef SKEP_CLIENT_READY_H
#define SKEP_CLIENT_READY_H

#include <stddef.h>

#include "skep.h"

struct perf_event_attr;

/* perf_event_open: PERF_COUNT_SW_BPF_OUTPUT only; a descriptor, or -errno. */
int skep_client_perf_open(struct skep *skep, const struct perf_event_attr *attr, int pid, int cpu,
			  int group, unsigned long flags);
/* Before fd is mapped: 0, also if it is no perf reader; else -errno. */
int skep_client_perf_mmap(struct skep *skep, int fd, size_t len);

#endif
