// SPDX-License-Identifier: Apache-2.0
/* A program built from the skeleton that bpftool makes of client.bpf.o: global data, a ring
 * buffer, programs run. Says what it found; exits with 0 if all is as it should be. */
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "client.skel.h"

#define RUNS 5

struct event {
	unsigned len, seq;
};

static unsigned events, total, last;

static int on_event(void *ctx, void *data, size_t size)
{
	const struct event *e = data;

	events++;
	total += e->len;
	last = e->seq;
	return size == sizeof(*e) ? 0 : -1;
}

int main(void)
{
	char packet[64] = "";
	LIBBPF_OPTS(bpf_test_run_opts, run, .data_in = packet, .data_size_in = sizeof(packet));
	struct client *c = client__open();
	struct ring_buffer *rb;
	int n, err;

	if (!c)
		return 2;
	c->rodata->step = 3;
	c->bss->packets = 100;
	err = client__load(c);
	if (err) {
		fprintf(stderr, "load: %s\n", strerror(-err));
		return 3;
	}
	rb = ring_buffer__new(bpf_map__fd(c->maps.skt_ring), on_event, NULL, NULL);
	if (!rb)
		return 4;
	n = ring_buffer__poll(rb, 0);
	printf("before: %d\n", n);
	for (int i = 0; i < RUNS; i++) {
		err = bpf_prog_test_run_opts(bpf_program__fd(c->progs.skt_xdp), &run);
		if (err || run.retval != 2)
			return 5;
	}
	n = ring_buffer__poll(rb, 1000);
	printf("polled %d events %u bytes %u last %u packets %u\n", n, events, total, last,
	       c->bss->packets);
	ring_buffer__free(rb);
	client__destroy(c);
	return events == RUNS && total == RUNS * sizeof(packet) && last == 100 + 3 * RUNS ? 0 : 1;
}
