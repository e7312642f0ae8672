/* SPDX-License-Identifier: Apache-2.0 */
/* What tests share that hold skep against the running kernel's bpf(2). */
#ifndef SKEP_TEST_KERNEL_H
#define SKEP_TEST_KERNEL_H

#include <errno.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "bpf/uapi.h"

/* bpf(2): a result or -errno. */
static inline long kernel_bpf(int cmd, void *attr, unsigned size)
{
	long r = syscall(__NR_bpf, cmd, attr, size);
	return r < 0 ? -errno : r;
}

/* Whether this process may use the kernel's bpf(2). */
static inline bool kernel_there(void)
{
	union bpf_attr attr;

	memset(&attr, 0, sizeof(attr));
	attr.map_type = BPF_MAP_TYPE_ARRAY;
	attr.key_size = attr.value_size = 4;
	attr.max_entries = 1;
	long fd = kernel_bpf(BPF_MAP_CREATE, &attr, sizeof(attr));
	if (fd < 0)
		return false;
	close((int)fd);
	return true;
}

/* How much longer than by default: SKEP_TEST_SCALE. */
static inline unsigned test_scale(unsigned n)
{
	const char *s = getenv("SKEP_TEST_SCALE");
	double f = s ? strtod(s, NULL) : 1;

	return f > 0 ? (unsigned)(n * f) : n;
}

/* A small generator of numbers that repeat with the seed (splitmix64). */
static inline uint64_t test_random(uint64_t *state)
{
	uint64_t z = *state += 0x9e3779b97f4a7c15ull;

	z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ull;
	z = (z ^ (z >> 27)) * 0x94d049bb133111ebull;
	return z ^ (z >> 31);
}

#endif
