/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The log's buffer rules against the running kernel, through BTF_LOAD: every level, every
 * small size and the sizes around the text's end: errno, true size and all bytes.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <sys/mman.h>

#include "btf/btf.h"
#include "kernel.h"

#define CAP 8192

static uint8_t blob[4096];
static uint32_t blob_len;
static unsigned compared;

/* n typedefs of an int; the last one refers to a type that is not there if bad. */
static void make(uint32_t n, bool bad)
{
	struct btf_header h = {.magic = BTF_MAGIC, .version = 1, .hdr_len = sizeof(h)};
	static const char strings[] = "\0int\0name_t";
	uint32_t *w = (uint32_t *)(blob + sizeof(h)), *start = w;

	*w++ = 1, *w++ = BTF_KIND_INT << 24, *w++ = 4, *w++ = 32;
	for (uint32_t i = 0; i < n; i++)
		*w++ = 5, *w++ = BTF_KIND_TYPEDEF << 24, *w++ = bad && i == n - 1 ? 5000 : i + 1;
	h.type_len = h.str_off = (uint32_t)((uint8_t *)w - (uint8_t *)start);
	h.str_len = sizeof(strings);
	memcpy(blob, &h, sizeof(h));
	memcpy(w, strings, sizeof(strings));
	blob_len = sizeof(h) + h.type_len + h.str_len;
}

static int kernel_load(char *buf, uint32_t size, uint32_t level, uint32_t *true_size)
{
	union bpf_attr attr;

	memset(&attr, 0, sizeof(attr));
	attr.btf = (uintptr_t)blob;
	attr.btf_size = blob_len;
	attr.btf_log_buf = (uintptr_t)buf;
	attr.btf_log_size = size;
	attr.btf_log_level = level;
	attr.btf_log_true_size = 4711;
	long fd = kernel_bpf(BPF_BTF_LOAD, &attr, sizeof(attr));
	*true_size = attr.btf_log_true_size;
	if (fd >= 0)
		close((int)fd);
	return fd < 0 ? (int)fd : 0;
}

static int skep_load(char *buf, uint32_t size, uint32_t level, uint32_t *true_size)
{
	struct skep_log log;
	struct skep_btf *btf = NULL;

	*true_size = 4711;
	int err = skep_log_init(&log, level, buf, size);
	if (err)
		return err;
	err = skep_btf_parse(blob, blob_len, &log, &btf);
	int err2 = skep_log_finish(&log, true_size);
	if (!err)
		skep_btf_put(btf);
	return err2 ? err2 : err;
}

static void compare(uint32_t size, uint32_t level, bool no_buf)
{
	static char kbuf[CAP], sbuf[CAP];
	uint32_t ktrue, strue;

	memset(kbuf, 'U', CAP);
	memset(sbuf, 'U', CAP);
	int k = kernel_load(no_buf ? NULL : kbuf, size, level, &ktrue);
	int s = skep_load(no_buf ? NULL : sbuf, size, level, &strue);
	compared++;
	if (k != s || ktrue != strue)
		fail_msg("size %u level %u buf %d: kernel %d true %u, skep %d true %u", size, level,
			 !no_buf, k, ktrue, s, strue);
	for (uint32_t i = 0; i < CAP; i++)
		if (kbuf[i] != sbuf[i])
			fail_msg("size %u level %u: byte %u is %02x in the kernel, %02x in skep\n"
				 "kernel: %.100s\nskep: %.100s",
				 size, level, i, kbuf[i], sbuf[i], kbuf, sbuf);
}

static void test_sizes(void **state)
{
	if (!kernel_there()) {
		print_message("skipped: bpf(2) is not permitted here\n");
		skip();
	}
	for (int n = 1; n <= 31; n += 10) {
		for (int bad = 0; bad < 2; bad++) {
			make((uint32_t)n, bad);
			for (uint32_t level = 0; level <= 17; level++) {
				for (uint32_t size = 0; size < 40; size++) {
					compare(size, level, false);
					compare(size, level, true);
				}
				for (uint32_t size = 40; size < 2200;
				     size += level == 1 || level == 9 ? 1 : 97)
					compare(size, level, false);
				compare(CAP, level, false);
			}
			compare(UINT32_MAX >> 2, 1, true);
			compare(UINT32_MAX, 1, true);
			compare(1, 0xffffffff, false);
		}
	}
	print_message("%u logs compared\n", compared);
}

static void test_huge(void **state)
{
	uint32_t ktrue, strue;
	static char buf[CAP];

	if (!kernel_there())
		skip();
	make(3, false);
	static const uint32_t sizes[] = {UINT32_MAX >> 2, (UINT32_MAX >> 2) + 1, UINT32_MAX};
	for (int i = 0; i < 3; i++) {
		int k = kernel_load(buf, sizes[i], 1, &ktrue);
		assert_int_equal(k, skep_load(buf, sizes[i], 1, &strue));
		assert_int_equal(ktrue, strue);
	}
}

/* A buffer that ends in memory that can't be written. */
static void test_fault(void **state)
{
	long page = sysconf(_SC_PAGESIZE);
	uint32_t ktrue, strue;

	if (!kernel_there())
		skip();
	char *p = mmap(NULL, 2 * (size_t)page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS,
		       -1, 0);
	assert_ptr_not_equal(p, MAP_FAILED);
	assert_int_equal(mprotect(p + page, (size_t)page, PROT_NONE), 0);
	make(31, false);
	for (uint32_t room = 0; room < 1400; room += 50) {
		for (uint32_t level = 1; level < 16; level += 8) {
			int k = kernel_load(p + page - room, 4096, level, &ktrue);
			int s = skep_load(p + page - room, 4096, level, &strue);
			if (k != s || (k != -EFAULT && ktrue != strue))
				fail_msg("room %u level %u: kernel %d %u skep %d %u", room, level,
					 k, ktrue, s, strue);
		}
	}
	munmap(p, 2 * (size_t)page);
}

/* What was forgotten does not come back, and counts for the true size. */
static void test_reset(void **state)
{
	struct skep_log log;
	char buf[16];
	uint32_t n;

	assert_int_equal(skep_log_init(&log, 1, buf, sizeof(buf)), 0);
	skep_log_printf(&log, "kept ");
	uint64_t pos = log.end;
	skep_log_printf(&log, "0123456789abcdef");
	skep_log_reset(&log, pos);
	skep_log_printf(&log, "on");
	assert_int_equal(skep_log_finish(&log, &n), -ENOSPC);
	assert_int_equal(n, 22);
	/* "kept " was overwritten while the long text was there; the kernel keeps what is left. */
	assert_string_equal(buf, "on");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_sizes),
		cmocka_unit_test(test_huge),
		cmocka_unit_test(test_fault),
		cmocka_unit_test(test_reset),
	};
	return cmocka_run_group_tests_name("log", tests, NULL, NULL);
}
