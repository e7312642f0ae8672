/* SPDX-License-Identifier: Apache-2.0 */
/* The agent's image, a part of this program, and where its functions are in it. */
#ifndef SKEP_TRACE_BLOB_H
#define SKEP_TRACE_BLOB_H

#include <stddef.h>
#include <stdint.h>

/* Offsets from where the image is put. */
struct blob {
	uint64_t enter_func, enter_probe, return_here, remote_call, remote_syscall;
	uint64_t enter_syscall, gate;
	uint64_t init, sync, be_quiet, areas, blocks;
	size_t size; /* of its memory, whole pages */
	struct {
		uint64_t start, size;
		int prot;
	} parts[8];
	int nparts;
};
/* Found out once: NULL, this build has no agent for this machine. */
const struct blob *blob_get(void);
/* The image as it is at base: blob->size bytes. */
int blob_make(uint8_t *out, uint64_t base);

#endif
