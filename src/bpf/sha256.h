/* SPDX-License-Identifier: Apache-2.0 */
/* SHA-256 (FIPS 180-4): tags of programs, digests of maps. */
#ifndef SKEP_SHA256_H
#define SKEP_SHA256_H

#include <stddef.h>
#include <stdint.h>

void skep_sha256(const void *data, size_t len, uint8_t digest[32]);

#endif
