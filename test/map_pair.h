/* SPDX-License-Identifier: Apache-2.0 */
/* Maps that are made twice, in skep and in the running kernel, and must answer alike. */
#ifndef TEST_MAP_PAIR_H
#define TEST_MAP_PAIR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "bpf/instance.h"
#include "map/map.h"

#ifdef __SANITIZE_THREAD__
/* Forked workers and garbage are races on purpose, or need what the sanitizer forbids. */
#define NOT_UNDER_TSAN() skip()
#else
#define NOT_UNDER_TSAN() (void)0
#endif

extern struct skep *pair_skep; /* of pair_setup() */
extern struct skep_env *pair_env;
extern bool pair_judge; /* the kernel is asked, too */
extern unsigned long pair_compared;

/* The same map in both, or in skep alone. */
struct pair {
	int fd[2];
};

/* A key of a prefix trie. */
struct lpm_key {
	uint32_t plen;
	uint8_t data[256];
};

uint32_t pair_rnd(uint32_t n);
/* SKEP_TEST_SCALE, 1 without. */
unsigned pair_scale(void);
/* A command: who 0 is skep, 1 the kernel. */
long pair_call(int who, int cmd, union bpf_attr *attr);
int pair_create(int who, uint32_t type, uint32_t key, uint32_t value, uint32_t n, uint32_t flags);
int pair_elem(int who, int cmd, int fd, const void *key, void *value, uint64_t flags);
/* Makes it; the kernel's is there if it may be asked. */
struct pair pair_new(uint32_t type, uint32_t key, uint32_t value, uint32_t n, uint32_t flags);
void pair_drop(struct pair *p);
/* One operation on both, results and the value's bytes equal. Returns skep's result. */
int pair_op(struct pair *p, int cmd, const void *key, void *value, size_t size, uint64_t flags);
/* The map of a handle of skep's; the caller puts the reference. */
struct skep_map *pair_map(int fd);
/* For cmocka's groups. */
int pair_setup(void **state);
int pair_teardown(void **state);
/* Makes numbers of pair_rnd() differ, in a forked child from its parent's. */
void pair_seed(uint64_t seed);

/* Takes a ring buffer's records, for skep_ringbuf_consume(). */
struct pair_seen {
	uint32_t n, last;
};

int pair_see(void *arg, const void *data, uint32_t size);

#endif
