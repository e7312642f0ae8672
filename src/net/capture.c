/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <pcap/pcap.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

#include "net/capture.h"

#define MAX_FRAME 262144 /* tcpdump's own limit */

static uint64_t now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000000ull + (uint64_t)ts.tv_nsec;
}

static int add_packet(struct skep_capture *c, const struct pcap_pkthdr *h, const uint8_t *data,
		      uint64_t *data_cap, uint64_t *packets_cap)
{
	if (c->n == *packets_cap) {
		uint64_t cap = *packets_cap ? *packets_cap * 2 : 1024;
		void *p = realloc(c->packets, cap * sizeof(*c->packets));

		if (!p)
			return -ENOMEM;
		c->packets = p;
		*packets_cap = cap;
	}
	if (!c->data || c->size + h->caplen > *data_cap) {
		uint64_t cap = (*data_cap + h->caplen) * 2 + 65536;
		void *p = realloc(c->data, cap);

		if (!p)
			return -ENOMEM;
		c->data = p;
		*data_cap = cap;
	}
	if (h->caplen)
		memcpy(c->data + c->size, data, h->caplen);
	/* With nanosecond precision asked for, tv_usec holds nanoseconds. */
	c->packets[c->n++] = (struct skep_capture_packet){
		.off = c->size,
		.ns = (uint64_t)h->ts.tv_sec * 1000000000ull + (uint64_t)h->ts.tv_usec,
		.len = h->caplen,
		.wire_len = h->len,
	};
	c->size += h->caplen;
	if (h->caplen > c->longest)
		c->longest = h->caplen;
	return 0;
}

static int read_packets(struct skep_capture *c, pcap_t *p, const char *path, struct skep_error *err)
{
	uint64_t data_cap = 0, packets_cap = 0;
	struct pcap_pkthdr *h;
	const uint8_t *data;
	int r;

	while ((r = pcap_next_ex(p, &h, &data)) == 1) {
		if (h->caplen > MAX_FRAME) {
			r = -1;
			break;
		}
		if (add_packet(c, h, data, &data_cap, &packets_cap))
			return skep_fail(err, -ENOMEM, "Split it (editcap -c).",
					 "%s does not fit into memory", path);
	}
	if (r == -2) /* end of file */
		return 0;
	c->damaged = true;
	if (!c->n)
		return skep_fail(err, -EINVAL, "Capture it again.", "%s: %s", path, pcap_geterr(p));
	skep_fail(err, 0, "The packets before that are used.",
		  "%s is damaged after packet %llu: %s", path, (unsigned long long)c->n,
		  pcap_geterr(p));
	return 0;
}

int skep_capture_read(struct skep_capture *c, const char *path, struct skep_error *err)
{
	char text[PCAP_ERRBUF_SIZE] = "";
	uint64_t from = now_ns();
	struct stat st;
	pcap_t *p;
	int link, r;
	FILE *f;

	memset(c, 0, sizeof(*c));
	f = fopen(path, "rb");
	if (!f || fstat(fileno(f), &st) < 0) {
		r = -errno;
		if (f)
			fclose(f);
		return skep_fail(err, r, r == -ENOENT ? "Check the name." : NULL, "%s: %s", path,
				 strerror(-r));
	}
	if (S_ISDIR(st.st_mode)) {
		fclose(f);
		return skep_fail(err, -EISDIR, "Pass a pcap or pcapng file.", "%s: is a directory",
				 path);
	}
	p = pcap_fopen_offline_with_tstamp_precision(f, PCAP_TSTAMP_PRECISION_NANO, text);
	if (!p) {
		fclose(f);
		return skep_fail(err, -EINVAL,
				 "Pass a pcap or pcapng file (tcpdump -w, Wireshark).",
				 "%s is not a capture: %s", path, text);
	}
	link = pcap_datalink(p);
	if (link != DLT_EN10MB) {
		const char *name = pcap_datalink_val_to_name(link);

		r = skep_fail(
			err, -EINVAL,
			"Capture on one Ethernet interface (tcpdump -i eth0), not on \"any\".",
			"%s holds no Ethernet frames, but %s", path, name ? name : "unknown ones");
	} else {
		r = read_packets(c, p, path, err);
	}
	pcap_close(p);
	if (r)
		skep_capture_free(c);
	c->read_ns = now_ns() - from;
	return r;
}

void skep_capture_free(struct skep_capture *c)
{
	free(c->data);
	free(c->packets);
	memset(c, 0, sizeof(*c));
}

/* ---- Writing ---- */

/* ---- Slots ---- */

#define HEADROOM 256 /* XDP_PACKET_HEADROOM */
#define TAILROOM 320 /* what the kernel leaves behind a frame of full size */
#define MIN_ROOM 4096 /* a page per frame at least, as drivers have it */
/* Slots start at different sets of the first cache. */
#define STAGGER 192
/* As frames have it in BPF_PROG_TEST_RUN: the loopback interface. */
#define INGRESS_IFINDEX 1

int skep_capture_slots_open(struct skep_capture_slots *s, const struct skep_capture *c)
{
	size_t room = HEADROOM + c->longest + TAILROOM;

	s->capture = c;
	s->size = (room < MIN_ROOM ? MIN_ROOM : (room + 63) & ~(size_t)63) + STAGGER;
	s->mem = aligned_alloc(64, s->size * SKEP_CAPTURE_BATCH);
	if (!s->mem)
		return -ENOMEM;
	memset(s->mem, 0, s->size * SKEP_CAPTURE_BATCH);
	return 0;
}

void skep_capture_slots_close(struct skep_capture_slots *s)
{
	free(s->mem);
}

uint32_t skep_capture_slots_fill(struct skep_capture_slots *s, uint64_t at, uint32_t flags)
{
	const struct skep_capture *c = s->capture;
	const struct skep_capture_packet *in = c->packets + at;
	uint64_t left = c->n - at;
	uint32_t n = left < SKEP_CAPTURE_BATCH ? (uint32_t)left : SKEP_CAPTURE_BATCH;
	uint32_t cap = (uint32_t)(s->size - STAGGER);
	const uint8_t *data = c->data;
	uint8_t *slot = s->mem;

	for (uint32_t i = 0; i < n; i++, slot += cap + STAGGER) {
		s->packets[i] = (struct skep_packet){.buf = slot,
						     .cap = cap,
						     .off = HEADROOM,
						     .len = in[i].len,
						     .ifindex = INGRESS_IFINDEX,
						     .tstamp = in[i].ns,
						     .flags = flags};
		memcpy(slot + HEADROOM, data + in[i].off, in[i].len);
	}
	return n;
}

struct skep_capture_writer {
	pcap_t *p;
	pcap_dumper_t *d;
};

int skep_capture_create(struct skep_capture_writer **out, const char *path, struct skep_error *err)
{
	struct skep_capture_writer *w = calloc(1, sizeof(*w));
	int r;

	if (!w)
		return -ENOMEM;
	w->p = pcap_open_dead_with_tstamp_precision(DLT_EN10MB, MAX_FRAME,
						    PCAP_TSTAMP_PRECISION_NANO);
	w->d = w->p ? pcap_dump_open(w->p, path) : NULL;
	if (w->d) {
		*out = w;
		return 0;
	}
	r = errno ? -errno : -EIO;
	skep_fail(err, r, "Choose another place for --write.", "%s",
		  w->p ? pcap_geterr(w->p) : strerror(-r));
	if (w->p)
		pcap_close(w->p);
	free(w);
	return r;
}

void skep_capture_write(struct skep_capture_writer *w, const uint8_t *data, uint32_t len,
			uint32_t wire_len, uint64_t ns)
{
	struct pcap_pkthdr h = {.caplen = len, .len = wire_len < len ? len : wire_len};

	h.ts.tv_sec = (time_t)(ns / 1000000000ull);
	h.ts.tv_usec = (suseconds_t)(ns % 1000000000ull);
	pcap_dump((u_char *)w->d, &h, data);
}

int skep_capture_close(struct skep_capture_writer *w)
{
	int r;

	if (!w)
		return 0;
	r = pcap_dump_flush(w->d) || ferror(pcap_dump_file(w->d)) ? -EIO : 0;
	pcap_dump_close(w->d);
	pcap_close(w->p);
	free(w);
	return r;
}
