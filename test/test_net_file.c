// SPDX-License-Identifier: Apache-2.0
/* Frames to be segmented and capture files, good and hostile. */
#include <errno.h>
#include <linux/virtio_net.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "cmd.h"
#include "net/capture.h"
#include "net/frame.h"
#include "scale.h"

static uint64_t rnd_state = 0x123456789abcdefull;
static uint32_t rnd(uint32_t n)
{
	rnd_state ^= rnd_state << 13;
	rnd_state ^= rnd_state >> 7;
	rnd_state ^= rnd_state << 17;
	return (uint32_t)(rnd_state >> 16) % n;
}

/* Garbage for the segmenter: it ends, and stays inside its buffers (sanitizers watch). */
static void test_hostile_frames(void **state)
{
	static const uint8_t types[] = {VIRTIO_NET_HDR_GSO_TCPV4,
					VIRTIO_NET_HDR_GSO_TCPV6,
					5,
					3,
					0,
					VIRTIO_NET_HDR_GSO_TCPV4 | VIRTIO_NET_HDR_GSO_ECN};
	unsigned segments = 0;

	for (unsigned i = 0; i < scaled(200000); i++) {
		size_t len = rnd(300), cap = rnd(400);
		uint8_t *frame = malloc(len ? len : 1), *out = malloc(cap ? cap : 1);
		struct skep_offload off = {.gso_type = types[rnd(sizeof(types))],
					   .gso_size = (uint16_t)(rnd(4) ? rnd(100) : rnd(65536)),
					   .csum_start = (uint16_t)rnd(320),
					   .csum_offset = (uint16_t)(rnd(4) ? rnd(32) : 65535)};
		struct skep_segmenter s;
		unsigned n = 0;
		long r = 0;

		for (size_t k = 0; k < len; k++)
			frame[k] = (uint8_t)rnd(256);
		if (len > 60 && rnd(8)) {
			bool v6 = rnd(2);

			frame[12] = v6 ? 0x86 : 8;
			frame[13] = v6 ? 0xdd : 0;
			frame[14] = v6 ? 0x60 : (uint8_t)(0x45 + rnd(2));
			frame[v6 ? 20 : 23] = rnd(4) ? (rnd(2) ? 6 : 17) : (uint8_t)(rnd(3) * 43);
		}
		if (!skep_segment_start(&s, frame, len, &off))
			while ((r = skep_segment_next(&s, out, cap)) > 0)
				assert_true(++n <= len + 1);
		segments += n;
		skep_frame_checksum(frame, len, &off);
		free(frame);
		free(out);
	}
	assert_true(segments > 1000);
}

static void test_capture(void **state)
{
	static const uint32_t lens[] = {14, 60, 1514, 0, 9014, 65535};
	const char *file = cmd_path("t.pcap");
	struct skep_capture_writer *w;
	struct skep_error err = {0};
	struct skep_capture c;
	uint8_t data[65536];

	assert_int_equal(skep_capture_create(&w, file, &err), 0);
	for (uint32_t i = 0; i < 6; i++) {
		memset(data, (int)i, sizeof(data));
		skep_capture_write(w, data, lens[i], lens[i] + i,
				   1700000000123456789ull + i * 1000000007ull);
	}
	assert_int_equal(skep_capture_close(w), 0);
	assert_int_equal(skep_capture_read(&c, file, &err), 0);
	assert_int_equal(c.n, 6);
	assert_false(c.damaged);
	for (uint32_t i = 0; i < 6; i++) {
		assert_int_equal(c.packets[i].len, lens[i]);
		assert_int_equal(c.packets[i].wire_len, lens[i] + i);
		assert_int_equal(c.packets[i].ns, 1700000000123456789ull + i * 1000000007ull);
		memset(data, (int)i, sizeof(data));
		assert_memory_equal(c.data + c.packets[i].off, data, lens[i]);
	}
	skep_capture_free(&c);
}

/* Each way to cut and to spoil a file: an answer, never a crash or a wrong packet before
 * the damage. */
static void test_hostile_captures(void **state)
{
	const char *good_file = cmd_path("good.pcap"), *bad_file = cmd_path("bad.pcap");
	uint8_t good[4096], bad[4096];
	struct skep_capture_writer *w;
	struct skep_error err = {0};
	struct skep_capture c;
	unsigned whole = 0, refused = 0, damaged = 0;
	size_t size;
	FILE *f;

	assert_int_equal(skep_capture_create(&w, good_file, &err), 0);
	for (uint32_t i = 0; i < 5; i++) {
		uint8_t data[100];

		memset(data, (int)i, sizeof(data));
		skep_capture_write(w, data, 60 + i, 60 + i, i);
	}
	assert_int_equal(skep_capture_close(w), 0);
	f = fopen(good_file, "rb");
	assert_non_null(f);
	size = fread(good, 1, sizeof(good), f);
	fclose(f);
	for (unsigned i = 0; i < size + scaled(800); i++) {
		size_t len = i < size ? i : size;
		int r;

		memcpy(bad, good, size);
		if (i >= size)
			for (unsigned k = 0; k <= rnd(4); k++)
				bad[rnd((uint32_t)size)] = (uint8_t)(rnd(3) ? rnd(256) : 255);
		f = fopen(bad_file, "wb");
		assert_non_null(f);
		fwrite(bad, 1, len, f);
		fclose(f);
		r = skep_capture_read(&c, bad_file, &err);
		if (r) {
			refused++;
		} else {
			damaged += c.damaged;
			whole += !c.damaged;
			if (i < size)
				assert_int_equal(c.n, len < 24 ? 0 : (len - 24) / 76 > 5 ? 5 : c.n);
		}
		if (!r)
			skep_capture_free(&c);
	}
	print_message("captures: %u refused, %u used up to the damage, %u whole\n", refused,
		      damaged, whole);
	assert_true(refused > 20 && damaged > 20);
	assert_true(skep_capture_read(&c, cmd_path("nosuch"), &err) == -ENOENT);
	assert_true(skep_capture_read(&c, cmd_dir(), &err) == -EISDIR);
	assert_true(skep_capture_create(&w, cmd_path("no/such"), &err) < 0);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_capture),
		cmocka_unit_test(test_hostile_captures),
		cmocka_unit_test(test_hostile_frames),
	};

	return cmocka_run_group_tests(tests, NULL, cmd_teardown);
}
