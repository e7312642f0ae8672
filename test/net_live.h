/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A wire between two ends, in network namespaces of the test's own:
 *
 *	client namespace        wire namespace        server namespace
 *	10.9.0.1  c0 ---------- wa      wb ---------- s0  10.9.0.2
 *
 * All offloads are left as they are. Needs root or an unprivileged user namespace.
 */
#ifndef SKEP_TEST_NET_LIVE_H
#define SKEP_TEST_NET_LIVE_H

#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>

#include "net/wire.h"
#include "net_end.h"
#include "skep.h"

extern struct skep *skep; /* from net_setup() to net_teardown() */
extern struct end client, server;
extern char why_not[256]; /* why there are no namespaces here; "" if there are */

/* Of the test group. */
int net_setup(void **state);
int net_teardown(void **state);

#define NEED_NAMESPACES()                                                                          \
	do {                                                                                       \
		if (why_not[0]) {                                                                  \
			print_message("skipped: %s\n", why_not);                                   \
			skip();                                                                    \
		}                                                                                  \
	} while (0)

int sh(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

/* A wire on a thread of its own. */
struct live {
	struct skep_wire wire;
	struct skep_wire_stats stats;
	volatile sig_atomic_t stop;
	pthread_t thread;
	int result;
};

/* From wa to wb, or watching wa. */
void start_wire(struct live *l, bool two);
/* With a program of that type. */
void start_program(struct live *l, struct skep_runner *runner, uint32_t type);
void stop_wire(struct live *l);

struct order to_server(enum what what, const char *addr);
/* bytes of TCP each way through the wire. */
void tcp_both_ways(const char *addr, uint64_t bytes);

#endif
