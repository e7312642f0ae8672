/* SPDX-License-Identifier: Apache-2.0 */
/* The two sides of a comparison: the running kernel and an instance, asked the same. */
#ifndef TEST_SIDE_H
#define TEST_SIDE_H

#include <stdint.h>

#include "bpf/uapi.h"
#include "skep.h"

#define SIDE_LOG 65536

struct side {
	struct skep *skep; /* NULL: the kernel */
	int array, ringbuf; /* maps, for tests that want them */
	char log[SIDE_LOG]; /* of the last load */
};

/* bpf(2): a result or -errno. */
long side_bpf(struct side *s, int cmd, union bpf_attr *attr);
int side_map(struct side *s, uint32_t type, uint32_t key, uint32_t value, uint32_t n);
/* What a program of the type is attached to when it is loaded: attach_btf_id, or 0. */
uint32_t side_target(struct side *s, uint32_t type);
/* A frozen array of one element that programs can only read: for constants. */
int side_const(struct side *s, const void *value, uint32_t size);
/* Loads a program; 0 or -errno. The descriptor is closed again unless fd takes it. */
long side_load(struct side *s, uint32_t type, const struct bpf_insn *insns, uint32_t n,
	       const char *license, int *fd);
/* The same for a program of two functions, the second a callback from insns[start] on: with
 * the BTF that this takes. */
long side_load_callback(struct side *s, uint32_t type, const struct bpf_insn *insns, uint32_t n,
			uint32_t start, int *fd);
/* Runs a program on a packet, which it may change but not resize. */
long side_run_packet(struct side *s, int fd, void *data, uint32_t size, uint32_t *retval);
/* Runs a SYSCALL program on ctx, which it may change. */
long side_run(struct side *s, int fd, void *ctx, uint32_t size, uint32_t *retval);

#endif
