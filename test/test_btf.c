/* SPDX-License-Identifier: Apache-2.0 */
/*
 * BTF_LOAD against the running kernel: the same verdict, the same errno, the same
 * text, byte for byte, over generated, truncated and mutated BTF.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include "btf/btf.h"
#include "kernel.h"

#define LOG_SIZE (1 << 18)

struct blob {
	uint8_t *b;
	uint32_t len, cap;
	uint32_t type_len;
	char str[4096];
	uint32_t str_len;
};

static void put(struct blob *s, const void *p, uint32_t n)
{
	if (s->len + n > s->cap) {
		s->cap = (s->len + n) * 2;
		s->b = realloc(s->b, s->cap);
		assert_non_null(s->b);
	}
	memcpy(s->b + s->len, p, n);
	s->len += n;
}

static void begin(struct blob *s)
{
	struct btf_header h = {.magic = BTF_MAGIC, .version = 1, .hdr_len = sizeof(h)};

	s->len = 0;
	s->str_len = 1;
	s->str[0] = 0;
	put(s, &h, sizeof(h));
}

static uint32_t name(struct blob *s, const char *text)
{
	uint32_t off = s->str_len, n = (uint32_t)strlen(text) + 1;

	if (!*text)
		return 0;
	assert_true(off + n <= sizeof(s->str));
	memcpy(s->str + off, text, n);
	s->str_len += n;
	return off;
}

static void u32(struct blob *s, uint32_t v)
{
	put(s, &v, 4);
}

static void type(struct blob *s, const char *n, uint32_t kind, uint32_t vlen, uint32_t kflag,
		 uint32_t size)
{
	u32(s, name(s, n));
	u32(s, kflag << 31 | kind << 24 | vlen);
	u32(s, size);
}

static void end(struct blob *s)
{
	struct btf_header *h = (void *)s->b;

	h->type_len = s->len - h->hdr_len;
	h->str_off = h->type_len;
	h->str_len = s->str_len;
	put(s, s->str, s->str_len);
}

/* ---- Comparison ---- */

static char klog[LOG_SIZE], slog[LOG_SIZE];
static uint64_t compared, accepted;

static int load_kernel(const void *data, uint32_t size, uint32_t level)
{
	union bpf_attr attr;

	memset(&attr, 0, sizeof(attr));
	attr.btf = (uintptr_t)data;
	attr.btf_size = size;
	attr.btf_log_buf = (uintptr_t)klog;
	attr.btf_log_size = LOG_SIZE;
	attr.btf_log_level = level;
	klog[0] = 0;
	long fd = kernel_bpf(BPF_BTF_LOAD, &attr, sizeof(attr));
	if (fd >= 0)
		close((int)fd);
	return fd < 0 ? (int)fd : 0;
}

static int load_skep(const void *data, uint32_t size, uint32_t level)
{
	struct skep_log log;
	struct skep_btf *btf = NULL;

	slog[0] = 0;
	assert_int_equal(skep_log_init(&log, level, slog, LOG_SIZE), 0);
	int err = skep_btf_parse(data, size, &log, &btf);
	int err2 = skep_log_finish(&log, NULL);
	if (!err)
		skep_btf_put(btf);
	return err2 ? err2 : err;
}

static void dump(const uint8_t *p, uint32_t n)
{
	for (uint32_t i = 0; i < n; i++)
		fprintf(stderr, "%02x%s", p[i], i % 32 == 31 ? "\n" : i % 4 == 3 ? " " : "");
	fprintf(stderr, "\n");
}

static void compare(const void *data, uint32_t size)
{
	int k = load_kernel(data, size, 1), s = load_skep(data, size, 1);

	compared++;
	accepted += !k;
	if (k == s && !strcmp(klog, slog))
		return;
	const char *a = klog, *b = slog;
	while (*a && *a == *b)
		a++, b++;
	while (a > klog && a[-1] != '\n')
		a--, b--;
	fprintf(stderr,
		"kernel %d, skep %d; texts differ from here:\n--- kernel\n%.300s\n--- "
		"skep\n%.300s\n",
		k, s, a, b);
	dump(data, size);
	fail_msg("BTF of %u bytes: kernel and skep differ", size);
}

/* ---- Generation ---- */

static const char *const names[] = {"",     "a",    "b",      "int",   "_x",  ".data",
				    "s.t",  "9bad", "sp ace", "t\xe9", "foo", "bar",
				    ".bss", "list", "x-y",    "\x01"};

static uint32_t pick(uint64_t *r, uint32_t n)
{
	return (uint32_t)(test_random(r) % n);
}

static const char *any_name(uint64_t *r, bool need)
{
	if (pick(r, 40) == 0)
		return names[pick(r, sizeof(names) / sizeof(*names))];
	return need || pick(r, 2) ? names[1 + pick(r, 4)] : "";
}

/* A type that is usually right by itself and refers to ids below n (or a bit above). */
static void random_type(struct blob *s, uint64_t *r, uint32_t n)
{
	static const uint32_t kind_of[] = {1,  1,  1,  2,  2,  2,  3,  3,  4,  4,  4,
					   5,  6,  7,  8,  8,  9,  9,  10, 10, 11, 12,
					   13, 13, 14, 15, 16, 17, 18, 18, 19};
	uint32_t kind = kind_of[pick(r, sizeof(kind_of) / sizeof(*kind_of))];
	uint32_t kflag = pick(r, 4) == 0, vlen = 0, size;
	static const uint32_t int_size[] = {1, 2, 4, 8, 16, 4, 4, 4};
#define ID() (pick(r, 16) == 0 ? pick(r, n + 3) : 1 + pick(r, n ? n : 1))
	switch (kind) {
	case BTF_KIND_INT:
		size = int_size[pick(r, 8)];
		type(s, any_name(r, true), kind, 0, pick(r, 60) == 0, size);
		u32(s, (pick(r, 30) ? 1u << pick(r, 3) >> 1 : pick(r, 16)) << 24 |
			       (pick(r, 12) ? 0 : pick(r, 9)) << 16 |
			       (pick(r, 12) ? size * 8 : pick(r, 140)));
		break;
	case BTF_KIND_ARRAY:
		type(s, "", kind, 0, 0, 0);
		u32(s, ID());
		u32(s, pick(r, 8) ? 1 : ID());
		u32(s, pick(r, 20) ? pick(r, 10) : (uint32_t)test_random(r));
		break;
	case BTF_KIND_STRUCT:
	case BTF_KIND_UNION:
		vlen = pick(r, 5);
		type(s, any_name(r, false), kind, vlen, kflag,
		     pick(r, 10) ? vlen * 16 : pick(r, 40));
		for (uint32_t i = 0; i < vlen; i++) {
			u32(s, name(s, any_name(r, false)));
			u32(s, ID());
			uint32_t off = kind == BTF_KIND_UNION && pick(r, 20) ? 0 : i * 128;
			if (pick(r, 12) == 0)
				off += pick(r, 40);
			u32(s, off | (kflag && pick(r, 3) == 0 ? pick(r, 40) << 24 : 0));
		}
		break;
	case BTF_KIND_ENUM:
	case BTF_KIND_ENUM64:
		vlen = pick(r, 4);
		type(s, any_name(r, false), kind, vlen, kflag,
		     pick(r, 20) ? 1u << pick(r, 4) : pick(r, 20));
		for (uint32_t i = 0; i < vlen; i++) {
			u32(s, name(s, any_name(r, true)));
			u32(s, (uint32_t)test_random(r));
			if (kind == BTF_KIND_ENUM64)
				u32(s, (uint32_t)test_random(r));
		}
		break;
	case BTF_KIND_FWD:
		type(s, any_name(r, true), kind, 0, kflag, pick(r, 40) == 0);
		break;
	case BTF_KIND_FUNC:
		type(s, any_name(r, true), kind, pick(r, 3), 0, ID());
		break;
	case BTF_KIND_FUNC_PROTO:
		vlen = pick(r, 4);
		type(s, pick(r, 40) ? "" : "x", kind, vlen, 0, pick(r, 3) ? ID() : 0);
		for (uint32_t i = 0; i < vlen; i++) {
			u32(s, name(s, any_name(r, pick(r, 4))));
			u32(s, pick(r, 8) ? ID() : 0);
		}
		break;
	case BTF_KIND_VAR:
		type(s, any_name(r, true), kind, 0, 0, ID());
		u32(s, pick(r, 30) ? pick(r, 2) : 2);
		break;
	case BTF_KIND_DATASEC:
		vlen = pick(r, 4);
		type(s, pick(r, 6) ? ".data" : any_name(r, true), kind, vlen, 0, vlen * 16 + !vlen);
		for (uint32_t i = 0; i < vlen; i++) {
			u32(s, ID());
			u32(s, pick(r, 30) ? i * 16 : pick(r, 100));
			u32(s, pick(r, 10) ? 1u << pick(r, 5) : pick(r, 100));
		}
		break;
	case BTF_KIND_FLOAT:
		type(s, any_name(r, pick(r, 10)), kind, 0, 0, pick(r, 20) ? 2u << pick(r, 4) : 12);
		break;
	case BTF_KIND_DECL_TAG:
		type(s, any_name(r, true), kind, 0, pick(r, 8) == 0, ID());
		u32(s, pick(r, 20) ? pick(r, 4) - 1 : (uint32_t)test_random(r));
		break;
	case BTF_KIND_TYPEDEF:
	case BTF_KIND_TYPE_TAG:
		type(s, any_name(r, true), kind, 0, kind == BTF_KIND_TYPE_TAG && pick(r, 4) == 0,
		     pick(r, 12) ? ID() : 0);
		break;
	default:
		type(s, pick(r, 60) ? "" : "x", kind, 0, 0, pick(r, 12) ? ID() : 0);
	}
#undef ID
}

static void random_blob(struct blob *s, uint64_t *r, uint32_t max)
{
	uint32_t n = 1 + pick(r, max);

	begin(s);
	type(s, "int", BTF_KIND_INT, 0, 0, 4);
	u32(s, BTF_INT_SIGNED << 24 | 32);
	for (uint32_t i = 1; i < n; i++)
		random_type(s, r, n);
	end(s);
}

/* ---- Tests ---- */

#define NEED_KERNEL                                                                                \
	if (!kernel_there()) {                                                                     \
		print_message("skipped: bpf(2) is not permitted here\n");                          \
		skip();                                                                            \
	}

static void test_generated(void **state)
{
	struct blob s = {0};
	uint64_t r = 1;

	NEED_KERNEL
	for (unsigned i = 0, n = test_scale(60000); i < n; i++) {
		random_blob(&s, &r, i % 4 ? 6 : 24);
		compare(s.b, s.len);
	}
	free(s.b);
	print_message("%lu BTF compared, the kernel took %lu of them\n", compared, accepted);
}

static void test_mutated(void **state)
{
	static const uint32_t words[] = {0,          1,          2,          0xff,       0xffff,
					 0x10000,    0x7fffffff, 0x80000000, 0xffffffff, 24,
					 0x01000000, 0x04000001, 0x84000002};
	struct blob s = {0};
	uint64_t r = 2, before = compared;

	NEED_KERNEL
	for (unsigned i = 0, n = test_scale(60000); i < n; i++) {
		random_blob(&s, &r, 8);
		for (uint32_t k = 1 + pick(&r, 3); k; k--) {
			uint32_t at = pick(&r, 4) ? pick(&r, s.len) : pick(&r, 24);
			if (pick(&r, 2))
				s.b[at] = (uint8_t)test_random(&r);
			else if (at + 4 <= s.len)
				memcpy(s.b + (at & ~3u), &words[pick(&r, 13)], 4);
		}
		/* Its exact size in memory, so that a sanitizer sees an overrun. */
		uint32_t len = pick(&r, 4) ? s.len : pick(&r, s.len + 1);
		void *copy = malloc(len ? len : 1);
		memcpy(copy, s.b, len);
		compare(copy, len);
		free(copy);
	}
	free(s.b);
	print_message("%lu mutated BTF compared\n", compared - before);
}

/* The header grows, sections move, depth and loops. */
static void test_shapes(void **state)
{
	struct blob s = {0};
	uint64_t before = compared;

	NEED_KERNEL
	for (uint32_t extra = 0; extra < 12; extra++) {
		for (int junk = 0; junk < 2; junk++) {
			begin(&s);
			for (uint32_t i = 0; i < extra; i++)
				put(&s, junk ? "x" : "", 1);
			((struct btf_header *)s.b)->hdr_len += extra;
			type(&s, "int", BTF_KIND_INT, 0, 0, 4);
			u32(&s, 32);
			end(&s);
			compare(s.b, s.len);
		}
	}
	for (uint32_t depth = 28; depth < 40; depth++) {
		for (uint32_t kind = 1; kind < NR_BTF_KINDS; kind++) {
			begin(&s);
			for (uint32_t i = 1; i <= depth; i++) {
				bool named = kind == BTF_KIND_TYPEDEF || kind == BTF_KIND_TYPE_TAG;
				if (kind == BTF_KIND_STRUCT) {
					type(&s, "", kind, 1, 0, 4);
					u32(&s, 0), u32(&s, i + 1), u32(&s, 0);
				} else if (kind == BTF_KIND_ARRAY) {
					type(&s, "", kind, 0, 0, 0);
					u32(&s, i + 1), u32(&s, depth + 1), u32(&s, 1);
				} else {
					type(&s, named ? "t" : "", kind, 0, 0, i + 1);
				}
			}
			type(&s, "int", BTF_KIND_INT, 0, 0, 4);
			u32(&s, 32);
			end(&s);
			compare(s.b, s.len);
		}
	}
	for (uint32_t n = 0; n < 30; n++) {
		begin(&s);
		type(&s, "int", BTF_KIND_INT, 0, 0, 4);
		u32(&s, 32);
		end(&s);
		compare(s.b, n);
	}
	char longname[700];
	for (uint32_t n = 505; n < 520; n++) {
		memset(longname, 'n', n);
		longname[n] = 0;
		for (int section = 0; section < 2; section++) {
			begin(&s);
			type(&s, "int", BTF_KIND_INT, 0, 0, 4);
			u32(&s, 32);
			if (section)
				type(&s, longname, BTF_KIND_DATASEC, 0, 0, 4);
			else
				type(&s, longname, BTF_KIND_TYPEDEF, 0, 0, 1);
			end(&s);
			compare(s.b, s.len);
		}
	}
	free(s.b);
	print_message("%lu shapes compared\n", compared - before);
}

/* Structures that the kernel knows by name (locks, lists, ...) inside others. */
static void test_special_fields(void **state)
{
	static const struct {
		const char *name;
		uint32_t size;
	} specials[] = {{"bpf_spin_lock", 4},  {"bpf_res_spin_lock", 4}, {"bpf_timer", 16},
			{"bpf_wq", 16},        {"bpf_refcount", 4},      {"bpf_list_head", 16},
			{"bpf_list_node", 24}, {"bpf_rb_root", 16},      {"bpf_rb_node", 32},
			{"bpf_task_work", 8}};
	const uint32_t n = sizeof(specials) / sizeof(*specials);
	struct blob s = {0};
	uint64_t r = 3, before = compared;

	NEED_KERNEL
	for (unsigned i = 0, end_ = test_scale(20000); i < end_; i++) {
		begin(&s);
		type(&s, "int", BTF_KIND_INT, 0, 0, 4);
		u32(&s, BTF_INT_SIGNED << 24 | 32);
		/* 2 .. n + 1 */
		for (uint32_t k = 0; k < n; k++)
			type(&s, specials[k].name, BTF_KIND_STRUCT, 0, 0,
			     specials[k].size + (pick(&r, 12) ? 0 : 4));
		/* an array, a pointer, a tagged pointer: n + 2 .. n + 5 */
		type(&s, "", BTF_KIND_ARRAY, 0, 0, 0);
		u32(&s, 2 + pick(&r, n));
		u32(&s, 1);
		u32(&s, pick(&r, 4));
		type(&s, "", BTF_KIND_PTR, 0, 0, n + 4);
		type(&s,
		     (const char *[]){"kptr", "kptr_untrusted", "percpu_kptr", "uptr",
				      "user"}[pick(&r, 5)],
		     BTF_KIND_TYPE_TAG, 0, 0, pick(&r, 2) ? 1 : n + 6);
		type(&s, "", BTF_KIND_CONST, 0, 0, 2 + pick(&r, n));
		uint32_t top = 1 + pick(&r, 3);
		for (uint32_t k = 0; k < top; k++) {
			uint32_t vlen = pick(&r, 4), off = 0;
			type(&s, pick(&r, 3) ? "foo" : "",
			     pick(&r, 8) ? BTF_KIND_STRUCT : BTF_KIND_UNION, vlen, 0, 1000);
			bool is_union =
				BTF_INFO_KIND(((uint32_t *)(s.b + s.len))[-2]) == BTF_KIND_UNION;
			for (uint32_t m = 0; m < vlen; m++) {
				u32(&s, name(&s, "m"));
				u32(&s, 1 + pick(&r, n + 5 + k));
				u32(&s, is_union ? 0 : off);
				off += pick(&r, 8) ? 1024 : 32 * 33;
			}
		}
		end(&s);
		compare(s.b, s.len);
	}
	free(s.b);
	print_message("%lu BTF with special fields compared\n", compared - before);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_shapes),
		cmocka_unit_test(test_special_fields),
		cmocka_unit_test(test_generated),
		cmocka_unit_test(test_mutated),
	};
	return cmocka_run_group_tests_name("btf", tests, NULL, NULL);
}
