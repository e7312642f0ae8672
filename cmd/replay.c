/* SPDX-License-Identifier: Apache-2.0 */
#include "replay.h"

#include <errno.h>
#include <net/ethernet.h>
#include <stdlib.h>
#include <string.h>
#include <sys/param.h>
#include <time.h>

#include "client/libbpf.h"
#include "net/frame.h"
#include "net/verdict.h"

bool takes_packets(enum bpf_prog_type type)
{
	uint32_t n;

	return skep_verdicts(type, &n) != NULL;
}

static void account(struct replay *r, const struct skep_capture_packet *p, uint32_t verdict,
		    const uint8_t *data, uint32_t len, bool write)
{
	const struct skep_verdict *v = skep_verdict(r->type, verdict);
	uint32_t cut = p->wire_len - p->len;

	r->verdicts[v - r->rows]++;
	r->packets++;
	r->bytes += p->len;
	if (v->fate == SKEP_FATE_DROP)
		return;
	r->passed++;
	if (!write || !r->writer)
		return;
	/* A socket filter says how much it wants. */
	if (r->type == BPF_PROG_TYPE_SOCKET_FILTER && verdict < len) {
		cut += len - verdict;
		len = verdict;
	}
	skep_capture_write(r->writer, data, len, len + cut, p->ns);
}

static uint64_t now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000000ull + (uint64_t)ts.tv_nsec;
}

static void tick(struct replay *r, uint64_t pass, uint64_t at)
{
	if (r->tick)
		r->tick(r->tick_arg, pass * r->capture->n + at, r->repeat * r->capture->n);
}

/* ---- skep's runtime ---- */

static int run_user(struct replay *r)
{
	const struct skep_capture *c = r->capture;
	struct skep_capture_slots slots;
	struct skep_runner *runner;
	int err = skep_capture_slots_open(&slots, c);

	if (err)
		return err;
	err = skep_runner_open(&runner, r->skep, r->prog_fd);
	if (err)
		goto out;
	for (uint64_t pass = 0; !err && pass < r->repeat; pass++) {
		for (uint64_t at = 0; at < c->n;) {
			uint64_t from = now_ns();
			uint32_t n = skep_capture_slots_fill(&slots, at, 0);
			long done = skep_run_packets(runner, slots.packets, n);

			r->wall_ns += now_ns() - from;
			if (done < 0) {
				err = (int)done;
				break;
			}
			for (uint32_t i = 0; i < n; i++) {
				struct skep_packet *p = &slots.packets[i];

				if (r->writer)
					skep_frame_put_tag(p);
				account(r, &c->packets[at + i], p->verdict, p->buf + p->off, p->len,
					!pass);
			}
			at += n;
			tick(r, pass, at);
		}
	}
	skep_runner_close(runner);
out:
	skep_capture_slots_close(&slots);
	return err;
}

/* ---- The kernel, by BPF_PROG_TEST_RUN ---- */

/* The kernel's test run takes the link's header off for socket filters and cgroup programs, and
 * gives zeros back in its place. */
static int run_kernel(struct replay *r)
{
	const struct skep_capture *c = r->capture;
	size_t out_size = (size_t)c->longest + 65536;
	/* Socket filters see the header on a packet socket: they get it twice, once to be taken off. */
	uint32_t twice = r->type == BPF_PROG_TYPE_SOCKET_FILTER ? ETH_HLEN : 0;
	uint8_t *out = malloc(out_size), *in = malloc((size_t)c->longest + 2 * ETH_HLEN);
	int err = out && in ? 0 : -ENOMEM;

	for (uint64_t pass = 0; !err && pass < r->repeat; pass++) {
		for (uint64_t at = 0; at < c->n; at++) {
			const struct skep_capture_packet *p = &c->packets[at];
			const uint8_t *frame = c->data + p->off;
			uint32_t head = MIN(p->len, ETH_HLEN);
			union bpf_attr attr;
			uint64_t from;
			long res;

			memset(in, 0, twice);
			memcpy(in, frame, head);
			memcpy(in + twice, frame, p->len);
			memset(&attr, 0, sizeof(attr));
			attr.test.prog_fd = (uint32_t)r->prog_fd;
			attr.test.data_in = (uintptr_t)in;
			attr.test.data_size_in = p->len + twice;
			attr.test.data_out = (uintptr_t)out;
			attr.test.data_size_out = (uint32_t)out_size;
			attr.test.repeat = 1;
			from = now_ns();
			res = skep_client_bpf(BPF_PROG_TEST_RUN, &attr, sizeof(attr));
			r->wall_ns += now_ns() - from;
			if (res == -EINVAL) {
				r->skipped++;
				r->skip_err = (int)res;
			} else if (res < 0) {
				err = (int)res;
				break;
			} else {
				r->prog_ns += attr.test.duration;
				if (r->type == BPF_PROG_TYPE_CGROUP_SKB)
					memcpy(out, frame, head);
				account(r, p, attr.test.retval, out + twice,
					attr.test.data_size_out - twice, !pass);
			}
			if (at % SKEP_CAPTURE_BATCH == SKEP_CAPTURE_BATCH - 1 || at + 1 == c->n)
				tick(r, pass, at + 1);
		}
	}
	free(in);
	free(out);
	return err;
}

int replay_run(struct replay *r)
{
	r->rows = skep_verdicts(r->type, &r->nrows);
	if (!r->rows || r->nrows > MAX_VERDICTS)
		return -EOPNOTSUPP;
	return r->skep ? run_user(r) : run_kernel(r);
}
