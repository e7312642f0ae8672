/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Fuzz targets (libFuzzer). Each is fed bytes of which nothing is known; the sanitizers and
 * the target's own checks say what is wrong. `make fuzz` runs all for FUZZ_TIME seconds.
 */
#ifndef FUZZ_H
#define FUZZ_H

#include <stddef.h>
#include <stdint.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Takes n bytes off the input; 0 where there are none left. */
static inline uint64_t fuzz_take(const uint8_t **data, size_t *size, unsigned n)
{
	uint64_t v = 0;

	for (; n && *size; n--, (*size)--)
		v = v << 8 | *(*data)++;
	return v;
}

#endif
