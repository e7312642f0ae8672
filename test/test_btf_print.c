/* SPDX-License-Identifier: Apache-2.0 */
/* Values printed through BTF: every kind of type, as text and as JSON. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "btf/btf.h"
#include "btf/build.h"

static char out[8192];
static size_t out_len;

static void sink_write(void *arg, const char *text, size_t len)
{
	assert_true(out_len + len < sizeof(out));
	memcpy(out + out_len, text, len);
	out_len += len;
	out[out_len] = 0;
}

static const char *print(const char *types, const char *name, uint32_t kind, const void *data,
			 size_t size, uint32_t flags)
{
	struct skep_btf_sink sink = {sink_write, NULL};
	struct skep_btf_build b;
	struct skep_btf *btf;
	uint32_t raw_size;
	unsigned line;
	void *raw;

	assert_int_equal(skep_btf_build_init(&b), 0);
	assert_int_equal(skep_btf_build_c(&b, types, strlen(types), &line), 0);
	assert_int_equal(skep_btf_build_write(&b, &raw, &raw_size), 0);
	assert_int_equal(skep_btf_parse(raw, raw_size, NULL, &btf), 0);
	free(raw);
	skep_btf_build_free(&b);
	int64_t id = skep_btf_find(btf, name, kind);
	assert_true(id > 0);
	out_len = 0;
	out[0] = 0;
	/* Exactly so much memory, so that a sanitizer sees a read beyond. */
	void *copy = malloc(size ? size : 1);
	memcpy(copy, data, size);
	int err = skep_btf_print(btf, (uint32_t)id, copy, size, flags, &sink);
	free(copy);
	skep_btf_put(btf);
	return err ? "error" : out;
}

#define S(types, data, flags) print(types, "t", BTF_KIND_STRUCT, data, sizeof(data), flags)
#define TEXT                  SKEP_BTF_COMPACT
#define JSON                  (SKEP_BTF_JSON | SKEP_BTF_COMPACT)

static void test_ints(void **state)
{
	static const char types[] =
		"struct t { unsigned char a; signed char b; short c; unsigned int d; long e;"
		" unsigned long f; _Bool g; char h; };";
	static const struct {
		uint8_t a;
		int8_t b;
		int16_t c;
		uint32_t d;
		int64_t e;
		uint64_t f;
		bool g;
		char h;
		char pad[6];
	} v[1] = {{255, -1, -300, 4000000000u, INT64_MIN, UINT64_MAX, true, 'x', ""}};

	assert_string_equal(
		S(types, v, TEXT),
		"{.a = 255, .b = -1, .c = -300, .d = 4000000000, "
		".e = -9223372036854775808, .f = 18446744073709551615, .g = true, .h = 'x'}");
	assert_string_equal(
		S(types, v, JSON),
		"{\"a\": 255, \"b\": -1, \"c\": -300, \"d\": 4000000000, "
		"\"e\": -9223372036854775808, \"f\": 18446744073709551615, \"g\": true, "
		"\"h\": 120}");
	assert_string_equal(print("struct t { int a; struct { int b; } c; };", "t", BTF_KIND_STRUCT,
				  (int[]){1, 2}, 8, 0),
			    "{\n\t.a = 1,\n\t.c = {\n\t\t.b = 2\n\t}\n}");
	assert_string_equal(print("struct t { int a; int b[2]; };", "t", BTF_KIND_STRUCT,
				  (int[]){1, 2, 3}, 12, SKEP_BTF_JSON),
			    "{\n  \"a\": 1,\n  \"b\": [2, 3]\n}");
}

static void test_bitfields(void **state)
{
	static const char types[] = "struct t { unsigned int a:3; int b:5; unsigned int :8;"
				    " unsigned long long c:40; unsigned int d; };";
	static const struct {
		unsigned int a : 3;
		int b : 5;
		unsigned int : 8;
		unsigned long long c : 40;
		unsigned int d;
	} v[1] = {{5, -1, 0x3456789aab, 0xffffffff}};

	/* The compiler's layout is the judge. */
	assert_string_equal(S(types, v, TEXT),
			    "{.a = 5, .b = -1, .c = 224789043883, .d = 4294967295}");
}

static void test_strings(void **state)
{
	static const char types[] = "struct t { char a[8]; };";

	assert_string_equal(S(types, ((char[8]){"ab\"\\\n"}), TEXT), "{.a = \"ab\\\"\\\\\\n\"}");
	assert_string_equal(S(types, ((char[8]){"12345678"}), JSON), "{\"a\": \"12345678\"}");
	assert_string_equal(S(types, ((char[8]){""}), JSON), "{\"a\": \"\"}");
	assert_string_equal(S(types, ((char[8]){1, 2}), JSON), "{\"a\": [1, 2, 0, 0, 0, 0, 0, 0]}");
	assert_string_equal(S(types, ((char[8]){"\xc3\xa9\xff"}), JSON),
			    "{\"a\": \"\xc3\xa9\\u00ff\"}");
	assert_string_equal(S(types, ((char[8]){"a\0b"}), TEXT),
			    "{.a = {'a', 0, 'b', 0, 0, 0, 0, 0}}");
}

static void test_enums(void **state)
{
	static const char types[] = "enum e { A, B = 7, C = -1 }; enum w { X = 0x100000000 };"
				    "struct t { enum e a, b, c; int pad; enum w d; };";
	static const struct {
		int a, b, c, pad;
		uint64_t d;
	} v[1] = {{7, 3, -1, 0, 0x100000000}};

	assert_string_equal(S(types, v, TEXT), "{.a = B, .b = 3, .c = C, .pad = 0, .d = X}");
	assert_string_equal(S(types, v, JSON),
			    "{\"a\": \"B\", \"b\": 3, \"c\": \"C\", \"pad\": 0, \"d\": \"X\"}");
}

static void test_nested(void **state)
{
	static const char types[] = "struct in { short x, y; };"
				    "struct t { union { int i; unsigned char c[4]; };"
				    " struct in in[2]; void *p; int none[0]; };";
	static const uint32_t v[] = {0x04030201, 0x00020001, 0x00040003, 0, 0xbeef, 0};

	assert_string_equal(S(types, v, TEXT),
			    "{.i = 67305985, .c = {1, 2, 3, 4}, "
			    ".in = {{.x = 1, .y = 2}, {.x = 3, .y = 4}}, .p = 0xbeef, .none = {}}");
	assert_string_equal(
		S(types, v, JSON),
		"{\"i\": 67305985, \"c\": [1, 2, 3, 4], "
		"\"in\": [{\"x\": 1, \"y\": 2}, {\"x\": 3, \"y\": 4}], \"p\": \"0xbeef\", "
		"\"none\": []}");
}

static void test_wide(void **state)
{
	static const uint64_t v[] = {1, 2};

	assert_string_equal(S("struct t { unsigned __int128 a; };", v, TEXT),
			    "{.a = 0x20000000000000001}");
	assert_string_equal(S("struct t { __int128 a; };", v, JSON),
			    "{\"a\": \"0x20000000000000001\"}");
}

/* Too little data is refused, and never read. */
static void test_short(void **state)
{
	uint64_t v[2] = {0};

	for (size_t n = 0; n < 16; n++)
		assert_string_equal(
			print("struct t { long a; int b[2]; };", "t", BTF_KIND_STRUCT, v, n, 0),
			"error");
	assert_string_not_equal(
		print("struct t { long a; int b[2]; };", "t", BTF_KIND_STRUCT, v, 16, 0), "error");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_ints),    cmocka_unit_test(test_bitfields),
		cmocka_unit_test(test_strings), cmocka_unit_test(test_enums),
		cmocka_unit_test(test_nested),  cmocka_unit_test(test_wide),
		cmocka_unit_test(test_short),
	};
	return cmocka_run_group_tests_name("btf_print", tests, NULL, NULL);
}
