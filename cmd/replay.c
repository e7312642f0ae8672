/* SPDX-License-Identifier: Apache-2.0 */
#include "replay.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "client/libbpf.h"

#define BATCH    64
#define HEADROOM 256 /* XDP_PACKET_HEADROOM */
#define TAILROOM 320 /* what the kernel leaves behind a frame of full size */
#define MIN_ROOM 4096 /* a page per frame at least, as drivers have it */
/* Slots start at different sets of the first cache. */
#define STAGGER 192

/* Live frames have ifindex 1 in BPF_PROG_TEST_RUN: the loopback interface. */
#define INGRESS_IFINDEX 1

/* ---- Verdicts ---- */

static const char *xdp_name(uint32_t v, uint32_t len)
{
	static const char *const names[] = {"XDP_ABORTED", "XDP_DROP", "XDP_PASS", "XDP_TX",
					    "XDP_REDIRECT"};

	return v < 5 ? names[v] : "XDP_INVALID";
}

static uint32_t xdp_passes(uint32_t v, uint32_t len)
{
	return v == XDP_PASS || v == XDP_TX || v == XDP_REDIRECT ? len : 0;
}

static const char *tc_name(uint32_t v, uint32_t len)
{
	static const char *const names[] = {"TC_ACT_UNSPEC", "TC_ACT_OK",     "TC_ACT_RECLASSIFY",
					    "TC_ACT_SHOT",   "TC_ACT_PIPE",   "TC_ACT_STOLEN",
					    "TC_ACT_QUEUED", "TC_ACT_REPEAT", "TC_ACT_REDIRECT",
					    "TC_ACT_TRAP"};

	return v + 1 < 10 ? names[v + 1] : "TC_ACT_INVALID";
}

/* What is neither shot nor taken away goes on; tc treats unknown values as "unspecified". */
static uint32_t tc_passes(uint32_t v, uint32_t len)
{
	return v == 2 || v == 4 || v == 5 || v == 8 ? 0 : len;
}

static const char *filter_name(uint32_t v, uint32_t len)
{
	return !v ? "DROP" : v < len ? "TRUNCATE" : "PASS";
}

static uint32_t filter_passes(uint32_t v, uint32_t len)
{
	return v < len ? v : len;
}

static const char *cgroup_name(uint32_t v, uint32_t len)
{
	return v & 1 ? "PASS" : "DROP";
}

static uint32_t cgroup_passes(uint32_t v, uint32_t len)
{
	return v & 1 ? len : 0;
}

const struct packet_type *packet_type(enum bpf_prog_type type)
{
	static const struct packet_type types[] = {
		{BPF_PROG_TYPE_XDP, xdp_name, xdp_passes},
		{BPF_PROG_TYPE_SCHED_CLS, tc_name, tc_passes},
		{BPF_PROG_TYPE_SCHED_ACT, tc_name, tc_passes},
		{BPF_PROG_TYPE_SOCKET_FILTER, filter_name, filter_passes},
		{BPF_PROG_TYPE_CGROUP_SKB, cgroup_name, cgroup_passes},
	};

	for (size_t i = 0; i < sizeof(types) / sizeof(types[0]); i++)
		if (types[i].type == type)
			return &types[i];
	return NULL;
}

/* Names are constants: comparing addresses finds the same one again. */
static void count(struct replay *r, const char *name)
{
	for (uint32_t i = 0; i < r->nverdicts; i++) {
		if (r->verdicts[i].name == name) {
			r->verdicts[i].n++;
			return;
		}
	}
	if (r->nverdicts == MAX_VERDICTS)
		return;
	r->verdicts[r->nverdicts].name = name;
	r->verdicts[r->nverdicts++].n = 1;
}

static void account(struct replay *r, const struct packet_type *t, const struct capture_packet *p,
		    uint32_t verdict, const uint8_t *data, uint32_t len, bool write)
{
	uint32_t keep = t->passes(verdict, len);

	count(r, t->name(verdict, len));
	r->packets++;
	r->bytes += p->len;
	if (!keep)
		return;
	r->passed++;
	/* What the capture had cut off is still cut off. */
	if (write && r->writer)
		capture_write(r->writer, data, keep,
			      keep < len ? keep : keep + (p->wire_len - p->len), p->ns);
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

static int run_user(struct replay *r, const struct packet_type *t)
{
	const struct capture *c = r->capture;
	size_t slot = HEADROOM + c->longest + TAILROOM;
	struct skep_packet pkt[BATCH];
	struct skep_runner *runner;
	uint8_t *mem;
	int err;

	slot = (slot < MIN_ROOM ? MIN_ROOM : (slot + 63) & ~(size_t)63) + STAGGER;
	mem = aligned_alloc(64, slot * BATCH);
	if (!mem)
		return -ENOMEM;
	memset(mem, 0, slot * BATCH);
	err = skep_runner_open(&runner, r->skep, r->prog_fd);
	if (err)
		goto out;
	for (uint64_t pass = 0; !err && pass < r->repeat; pass++) {
		for (uint64_t at = 0; at < c->n; at += BATCH) {
			uint32_t n = c->n - at < BATCH ? (uint32_t)(c->n - at) : BATCH;
			const struct capture_packet *p = c->packets + at;
			uint64_t from = now_ns();
			long done;

			for (uint32_t i = 0; i < n; i++) {
				pkt[i] = (struct skep_packet){.buf = mem + i * slot,
							      .cap = (uint32_t)(slot - STAGGER),
							      .off = HEADROOM,
							      .len = p[i].len,
							      .ifindex = INGRESS_IFINDEX,
							      .tstamp = p[i].ns};
				memcpy(pkt[i].buf + HEADROOM, c->data + p[i].off, p[i].len);
			}
			done = skep_run_packets(runner, pkt, n);
			r->wall_ns += now_ns() - from;
			if (done < 0) {
				err = (int)done;
				break;
			}
			for (uint32_t i = 0; i < n; i++)
				account(r, t, &p[i], pkt[i].verdict, pkt[i].buf + pkt[i].off,
					pkt[i].len, !pass);
			tick(r, pass, at + n);
		}
	}
	skep_runner_close(runner);
out:
	free(mem);
	return err;
}

/* ---- The kernel, by BPF_PROG_TEST_RUN ---- */

static int run_kernel(struct replay *r, const struct packet_type *t)
{
	const struct capture *c = r->capture;
	size_t out_size = (size_t)c->longest + 65536;
	uint8_t *out = malloc(out_size);
	int err = 0;

	if (!out)
		return -ENOMEM;
	for (uint64_t pass = 0; !err && pass < r->repeat; pass++) {
		for (uint64_t at = 0; at < c->n; at++) {
			const struct capture_packet *p = &c->packets[at];
			union bpf_attr attr;
			uint64_t from;
			long res;

			memset(&attr, 0, sizeof(attr));
			attr.test.prog_fd = (uint32_t)r->prog_fd;
			attr.test.data_in = (uintptr_t)(c->data + p->off);
			attr.test.data_size_in = p->len;
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
				account(r, t, p, attr.test.retval, out, attr.test.data_size_out,
					!pass);
			}
			if (at % BATCH == BATCH - 1 || at + 1 == c->n)
				tick(r, pass, at + 1);
		}
	}
	free(out);
	return err;
}

static int by_count(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)((const char *)a + sizeof(void *));
	uint64_t y = *(const uint64_t *)((const char *)b + sizeof(void *));

	return x > y ? -1 : x < y;
}

int replay_run(struct replay *r)
{
	const struct packet_type *t = packet_type(r->type);
	int err;

	if (!t)
		return -EOPNOTSUPP;
	err = r->skep ? run_user(r, t) : run_kernel(r, t);
	_Static_assert(sizeof(r->verdicts[0]) == sizeof(void *) + 8, "by_count reads it so");
	qsort(r->verdicts, r->nverdicts, sizeof(r->verdicts[0]), by_count);
	return err;
}
