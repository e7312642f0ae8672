/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What lies in the pages that consumers map, beyond the kernel's layout: the words by which
 * a consumer waits without asking the instance.
 */
#ifndef SKEP_MAP_PAGES_H
#define SKEP_MAP_PAGES_H

#include <linux/perf_event.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "os/participant.h"

#define SKEP_PAGE 4096u

/* Ring buffer: the consumer's page, and the producer's behind it. */
struct skep_cons_page {
	_Atomic uint64_t pos;
	uint8_t pad[56];
	_Atomic uint32_t armed; /* who sleeps */
};

struct skep_prod_page {
	_Atomic uint64_t pos, pending;
	uint8_t pad[48];
	_Atomic uint32_t seq; /* what they sleep on: changed at each wakeup */
};

static inline bool skep_ring_readable(const struct skep_cons_page *cons,
				      const struct skep_prod_page *prod)
{
	return atomic_load(&prod->pos) != atomic_load(&cons->pos);
}

/* Perf reader: at SKEP_PERF_OWN of the header page. */
struct skep_perf_own {
	struct skep_lock lock;
	_Atomic uint32_t seq, armed;
	uint32_t events; /* since the last wakeup */
	_Atomic uint64_t lost;
};
#define SKEP_PERF_OWN 2048

static inline bool skep_perf_page_readable(const struct perf_event_mmap_page *page)
{
	return __atomic_load_n(&page->data_head, __ATOMIC_ACQUIRE) !=
	       __atomic_load_n(&page->data_tail, __ATOMIC_ACQUIRE);
}

#endif
