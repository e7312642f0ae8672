/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Ports: live interfaces as packet sources and sinks, without changing anything
 * of the interface (its offloads stay on: what they leave undone is done here).
 * A port belongs to one thread at a time.
 */
#ifndef SKEP_PORT_H
#define SKEP_PORT_H

#include <stddef.h>
#include <stdint.h>

#include "skep.h"

struct skep_port;

/* Bytes that a program may grow a frame by at its start and at its end. */
#define SKEP_PORT_HEADROOM 256
#define SKEP_PORT_TAILROOM 320
/* Frames that one receive call can deliver at most. */
#define SKEP_PORT_BATCH 64

struct skep_port_stats {
	uint64_t rx_frames, rx_bytes;
	uint64_t rx_lost; /* by the kernel: our ring was full */
	uint64_t rx_bad; /* truncated, or offload data that does not fit the frame */
	uint64_t rx_cut; /* large packets that were cut into segments */
	uint64_t tx_frames, tx_bytes;
	uint64_t tx_lost; /* the interface did not take them in time, or they were too long */
};

/* Opens an interface by name in promiscuous mode. Needs CAP_NET_RAW. Where it fails, why
 * holds a sentence and the result is -errno. */
int skep_port_open(struct skep_port **out, const char *ifname, char *why, size_t len);
void skep_port_close(struct skep_port *port);
uint32_t skep_port_ifindex(const struct skep_port *port);
const char *skep_port_name(const struct skep_port *port);
int skep_port_fd(const struct skep_port *port); /* readable when frames wait */

/* Takes up to n <= SKEP_PORT_BATCH frames that wait. They lie in the port's memory, which
 * stays valid until the next call. Returns their number, 0 if none waits. */
int skep_port_recv(struct skep_port *port, struct skep_packet *packets, uint32_t n);

/* Sends n frames; waits at most 10 ms for an interface that takes none. Returns how
 * many went out; the others are counted as lost. */
int skep_port_send(struct skep_port *port, const struct skep_packet *const *packets, uint32_t n);

void skep_port_stats(struct skep_port *port, struct skep_port_stats *out);

/* Why an interface can't be an end of a wire: it has addresses (IPv6 link-local ones
 * aside), a master, or forwards. 0, or -EBUSY with a sentence in why. */
int skep_port_check_free(const char *ifname, char *why, size_t len);

#endif
