/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Access to element memory that other threads and processes write at the same
 * time. The bytes may be torn, and callers either check afterwards that the
 * element stayed theirs or promise no more than the kernel does; what the
 * sanitizer must see are accesses that are meant to race.
 */
#ifndef SKEP_MAP_ACCESS_H
#define SKEP_MAP_ACCESS_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#include "map/map.h"

#ifdef __SANITIZE_THREAD__
#define SKEP_TSAN 1
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define SKEP_TSAN 1
#endif
#endif

#ifdef SKEP_TSAN

static inline void skep_copy_racy(void *dst, const void *src, size_t len)
{
	uint8_t *d = dst;
	const uint8_t *s = src;

	/* By words where both are aligned, as the plain copy would. */
	if (!(((uintptr_t)d | (uintptr_t)s) & 7))
		for (; len >= 8; d += 8, s += 8, len -= 8)
			__atomic_store_n((uint64_t *)d,
					 __atomic_load_n((const uint64_t *)s, __ATOMIC_RELAXED),
					 __ATOMIC_RELAXED);
	for (; len; d++, s++, len--)
		__atomic_store_n(d, __atomic_load_n(s, __ATOMIC_RELAXED), __ATOMIC_RELAXED);
}

static inline void skep_zero_racy(void *dst, size_t len)
{
	uint8_t *d = dst;

	for (; len; d++, len--)
		__atomic_store_n(d, 0, __ATOMIC_RELAXED);
}

static inline bool skep_equal_racy(const void *a, const void *b, size_t len)
{
	const uint8_t *x = a, *y = b;

	for (; len; x++, y++, len--)
		if (__atomic_load_n(x, __ATOMIC_RELAXED) != __atomic_load_n(y, __ATOMIC_RELAXED))
			return false;
	return true;
}

static inline int skep_compare_racy(const void *a, const void *b, size_t len)
{
	const uint8_t *x = a, *y = b;

	for (; len; x++, y++, len--) {
		int d = __atomic_load_n(x, __ATOMIC_RELAXED) - __atomic_load_n(y, __ATOMIC_RELAXED);

		if (d)
			return d;
	}
	return 0;
}

#else

static inline void skep_copy_racy(void *dst, const void *src, size_t len)
{
	/* Values of one or two words are copied whole, as the kernel's are. */
	if (len == 8)
		*(volatile uint64_t *)dst = *(const volatile uint64_t *)src;
	else if (len == 4)
		*(volatile uint32_t *)dst = *(const volatile uint32_t *)src;
	else
		memcpy(dst, src, len);
}

static inline void skep_zero_racy(void *dst, size_t len)
{
	memset(dst, 0, len);
}

static inline bool skep_equal_racy(const void *a, const void *b, size_t len)
{
	return !memcmp(a, b, len);
}

static inline int skep_compare_racy(const void *a, const void *b, size_t len)
{
	return memcmp(a, b, len);
}

#endif

/* Copies a value; special fields (locks, timers ...) of dst stay as they are. */
void skep_map_copy_value(const struct skep_map *map, void *dst, const void *src);
/* The same, into a buffer of a system call: special fields read as 0. */
/* One CPU's value of a per-CPU map, in or out. */
void skep_map_copy_cpu(const struct skep_map *map, void *dst, const void *src, bool out);
void skep_map_copy_out(const struct skep_map *map, void *dst, const void *src);
/* Under the value's spin lock (BPF_F_LOCK). The lock is in value; to says which way. */
void skep_map_copy_locked(const struct skep_map *map, void *value, void *other, bool to_value,
			  struct skep_env *env);
/* The spin lock's field, or NULL. */
const struct skep_field *skep_map_spin_lock(const struct skep_map *map);

static inline uint64_t skep_round_up(uint64_t v, uint64_t to)
{
	return (v + to - 1) & ~(to - 1);
}

static inline uint64_t skep_pow2_up(uint64_t v)
{
	return v <= 1 ? 1 : 1ull << (64 - __builtin_clzll(v - 1));
}

#endif
