/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Objects of bpf(2): who holds whom, ids, information, pins, links, statistics. Where the
 * kernel can answer the same question, it does.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <fcntl.h>
#include <sys/stat.h>

#include <linux/btf.h>

#include "bpf/instance.h"
#include "bpf/link.h"
#include "bpf/pin.h"
#include "kernel.h"

enum { KERNEL, SKEP, WORLDS };
static struct skep *skep;

static long call(int w, int cmd, void *attr, unsigned size)
{
	return w == KERNEL ? kernel_bpf(cmd, attr, size) : skep_bpf(skep, cmd, attr, size);
}

#define CALL(w, cmd, ...)                                                                          \
	({                                                                                         \
		union bpf_attr attr;                                                               \
		memset(&attr, 0, sizeof(attr));                                                    \
		__VA_ARGS__;                                                                       \
		call(w, cmd, &attr, sizeof(attr));                                                 \
	})

static int open_instance(void **state)
{
	return skep_open(&skep, NULL);
}

static int close_instance(void **state)
{
	skep_close(skep);
	return 0;
}

static int must(long r)
{
	if (r < 0)
		fail_msg("%ld", r);
	return (int)r;
}

static int map(int w, uint32_t type, uint32_t flags, const char *name)
{
	return must(CALL(w, BPF_MAP_CREATE, attr.map_type = type, attr.key_size = 4,
			 attr.value_size = 8, attr.max_entries = 4, attr.map_flags = flags,
			 strncpy(attr.map_name, name, 15)));
}

static char log_text[65536];

static long load(int w, uint32_t type, const struct bpf_insn *insns, uint32_t n, const char *name)
{
	log_text[0] = 0;
	return CALL(w, BPF_PROG_LOAD, attr.prog_type = type, attr.insns = (uintptr_t)insns,
		    attr.insn_cnt = n, attr.license = (uintptr_t) "GPL",
		    attr.log_buf = (uintptr_t)log_text, attr.log_size = sizeof(log_text),
		    attr.log_level = 1, strncpy(attr.prog_name, name, 15));
}

#define MOV(dst, v)                                                                                \
	{                                                                                          \
		.code = BPF_ALU64 | BPF_MOV | BPF_K, .dst_reg = dst, .imm = v                      \
	}
#define EXIT()                                                                                     \
	{                                                                                          \
		.code = BPF_JMP | BPF_EXIT                                                         \
	}
#define MAP(dst, fd)                                                                               \
	{.code = BPF_LD | BPF_IMM | BPF_DW,                                                        \
	 .dst_reg = dst,                                                                           \
	 .src_reg = BPF_PSEUDO_MAP_FD,                                                             \
	 .imm = fd},                                                                               \
	{                                                                                          \
		0                                                                                  \
	}

static int simple(int w)
{
	static const struct bpf_insn insns[] = {MOV(0, 0), EXIT()};
	return must(load(w, BPF_PROG_TYPE_SOCKET_FILTER, insns, 2, "simple"));
}

/* r1 = map; r0 = 0; exit */
static int with_map(int w, int fd)
{
	const struct bpf_insn insns[] = {MAP(1, fd), MOV(0, 0), EXIT()};
	return must(load(w, BPF_PROG_TYPE_SOCKET_FILTER, insns, 4, "with_map"));
}

static unsigned count(int next_cmd)
{
	uint32_t id = 0, n = 0;
	union bpf_attr attr;

	for (;; n++) {
		memset(&attr, 0, sizeof(attr));
		attr.start_id = id;
		if (skep_bpf(skep, next_cmd, &attr, sizeof(attr)))
			return n;
		id = attr.next_id;
	}
}

static void none_left_at(int line)
{
	unsigned progs = count(BPF_PROG_GET_NEXT_ID), maps = count(BPF_MAP_GET_NEXT_ID);
	unsigned btfs = count(BPF_BTF_GET_NEXT_ID), links = count(BPF_LINK_GET_NEXT_ID);

	if (progs || maps || btfs || links)
		fail_msg("line %d: %u programs, %u maps, %u BTF, %u links are left", line, progs,
			 maps, btfs, links);
}
#define none_left() none_left_at(__LINE__)

/* ---- Types for programs with functions ---- */

static uint8_t btf_raw[512];

static uint32_t make_btf(void)
{
	static const char strings[] = "\0int\0main\0sub\0x.c\0int main";
	static const uint32_t types[] = {
		/* 1 */ 1,  BTF_KIND_INT << 24,
		4,          BTF_INT_SIGNED << 24 | 32,
		/* 2 */ 0,  BTF_KIND_FUNC_PROTO << 24,
		1,
		/* 3 */ 5,  BTF_KIND_FUNC << 24 | BTF_FUNC_STATIC,
		2,
		/* 4 */ 10, BTF_KIND_FUNC << 24 | BTF_FUNC_STATIC,
		2,
	};
	struct btf_header h = {.magic = BTF_MAGIC,
			       .version = 1,
			       .hdr_len = sizeof(h),
			       .type_len = sizeof(types),
			       .str_off = sizeof(types),
			       .str_len = sizeof(strings)};
	memcpy(btf_raw, &h, sizeof(h));
	memcpy(btf_raw + sizeof(h), types, sizeof(types));
	memcpy(btf_raw + sizeof(h) + sizeof(types), strings, sizeof(strings));
	return (uint32_t)(sizeof(h) + sizeof(types) + sizeof(strings));
}

static int load_btf(int w)
{
	uint32_t size = make_btf();
	return must(CALL(w, BPF_BTF_LOAD, attr.btf = (uintptr_t)btf_raw, attr.btf_size = size));
}

/* main calls sub */
static const struct bpf_insn two_funcs[] = {
	{.code = BPF_JMP | BPF_CALL, .src_reg = BPF_PSEUDO_CALL, .imm = 1},
	EXIT(),
	MOV(0, 2),
	EXIT()};
static const struct bpf_func_info funcs[] = {{0, 3}, {2, 4}};
static const struct bpf_line_info lines[] = {{0, 14, 18, 1 << 10 | 1}, {2, 14, 18, 5 << 10 | 3}};

static long load_two(int w, int btf, const struct bpf_func_info *f, uint32_t nf,
		     const struct bpf_line_info *l, uint32_t nl)
{
	log_text[0] = 0;
	return CALL(w, BPF_PROG_LOAD, attr.prog_type = BPF_PROG_TYPE_SOCKET_FILTER,
		    attr.insns = (uintptr_t)two_funcs, attr.insn_cnt = 4,
		    attr.license = (uintptr_t) "GPL", attr.log_buf = (uintptr_t)log_text,
		    attr.log_size = sizeof(log_text), attr.log_level = 1,
		    attr.prog_btf_fd = (uint32_t)btf, attr.func_info = (uintptr_t)f,
		    attr.func_info_cnt = nf, attr.func_info_rec_size = sizeof(*f),
		    attr.line_info = (uintptr_t)l, attr.line_info_cnt = nl,
		    attr.line_info_rec_size = sizeof(*l));
}

/* ---- Who holds whom ---- */

static void test_holding(void **state)
{
	int m = map(SKEP, BPF_MAP_TYPE_ARRAY, 0, "held"), p = with_map(SKEP, m);

	close(m);
	assert_int_equal(count(BPF_MAP_GET_NEXT_ID), 1); /* the program holds it */
	close(p);
	none_left();

	m = map(SKEP, BPF_MAP_TYPE_HASH, 0, "bound");
	p = simple(SKEP);
	assert_int_equal(CALL(SKEP, BPF_PROG_BIND_MAP, attr.prog_bind_map.prog_fd = (uint32_t)p,
			      attr.prog_bind_map.map_fd = (uint32_t)m),
			 0);
	close(m);
	assert_int_equal(count(BPF_MAP_GET_NEXT_ID), 1);
	close(p);
	none_left();

	/* BTF is held by programs and maps. */
	int b = load_btf(SKEP);
	p = must(load_two(SKEP, b, funcs, 2, lines, 2));
	m = must(CALL(SKEP, BPF_MAP_CREATE, attr.map_type = BPF_MAP_TYPE_HASH, attr.key_size = 4,
		      attr.value_size = 4, attr.max_entries = 1, attr.btf_fd = (uint32_t)b,
		      attr.btf_key_type_id = 1, attr.btf_value_type_id = 1));
	close(b);
	assert_int_equal(count(BPF_BTF_GET_NEXT_ID), 1);
	close(p);
	assert_int_equal(count(BPF_BTF_GET_NEXT_ID), 1);
	close(m);
	none_left();

	/* Maps of maps, prog arrays. */
	int inner = map(SKEP, BPF_MAP_TYPE_ARRAY, 0, "inner");
	int outer = must(CALL(SKEP, BPF_MAP_CREATE, attr.map_type = BPF_MAP_TYPE_ARRAY_OF_MAPS,
			      attr.key_size = 4, attr.value_size = 4, attr.max_entries = 1,
			      attr.inner_map_fd = (uint32_t)inner));
	uint32_t key = 0;
	assert_int_equal(CALL(SKEP, BPF_MAP_UPDATE_ELEM, attr.map_fd = (uint32_t)outer,
			      attr.key = (uintptr_t)&key, attr.value = (uintptr_t)&inner),
			 0);
	close(inner);
	assert_int_equal(count(BPF_MAP_GET_NEXT_ID), 2);
	close(outer);
	none_left();

	int table = must(CALL(SKEP, BPF_MAP_CREATE, attr.map_type = BPF_MAP_TYPE_PROG_ARRAY,
			      attr.key_size = 4, attr.value_size = 4, attr.max_entries = 1));
	p = with_map(SKEP, table); /* it holds the table that will hold it */
	assert_int_equal(CALL(SKEP, BPF_MAP_UPDATE_ELEM, attr.map_fd = (uint32_t)table,
			      attr.key = (uintptr_t)&key, attr.value = (uintptr_t)&p),
			 0);
	close(p);
	assert_int_equal(count(BPF_PROG_GET_NEXT_ID), 1);
	close(table);
	none_left();
}

/* Loads that fail at every point leave nothing. */
static void test_failures(void **state)
{
	int b = load_btf(SKEP), m = map(SKEP, BPF_MAP_TYPE_ARRAY, 0, "m");
	struct bpf_func_info f[2];
	struct bpf_line_info l[2];
	const struct bpf_insn bad[] = {MAP(1, m), {.code = 0xff}, EXIT()};
	const struct bpf_insn no_ret[] = {MAP(1, m), EXIT()};

	assert_true(load(SKEP, BPF_PROG_TYPE_SOCKET_FILTER, bad, 4, "bad") < 0);
	assert_true(load(SKEP, BPF_PROG_TYPE_SOCKET_FILTER, no_ret, 3, "no_ret") < 0);
	for (int i = 0; i < 4; i++) {
		memcpy(f, funcs, sizeof(f));
		memcpy(l, lines, sizeof(l));
		f[1].insn_off = i == 0 ? 1 : 2;
		f[1].type_id = i == 1 ? 1 : 4;
		l[1].insn_off = i == 2 ? 9 : 2;
		l[1].line_off = i == 3 ? 5000 : 18;
		assert_int_equal(load_two(SKEP, b, f, 2, l, 2), -EINVAL);
	}
	assert_int_equal(CALL(SKEP, BPF_MAP_CREATE, attr.map_type = BPF_MAP_TYPE_ARRAY,
			      attr.key_size = 4, attr.value_size = 8, attr.max_entries = 1,
			      attr.btf_fd = (uint32_t)b, attr.btf_value_type_id = 1),
			 -EINVAL);
	close(b);
	close(m);
	none_left();
}

/* ---- func_info, line_info against the kernel: errno and text ---- */

static void test_debug_info(void **state)
{
	static char kernel_log[sizeof(log_text)];
	unsigned compared = 0;

	if (!kernel_there()) {
		print_message("skipped: bpf(2) is not permitted here\n");
		skip();
	}
	int b[WORLDS] = {load_btf(KERNEL), load_btf(SKEP)};
	for (unsigned i = 0; i < 400; i++) {
		static const uint32_t offs[] = {0, 1, 2, 3, 4, 5, 0xffffffff};
		static const uint32_t types[] = {0, 1, 2, 3, 4, 5, 0xffffffff};
		static const uint32_t strs[] = {0, 1, 14, 18, 29, 30, 0xffffffff};
		uint64_t r = i;
		struct bpf_func_info f[3] = {funcs[0], funcs[1], {3, 4}};
		struct bpf_line_info l[3] = {lines[0], lines[1], {3, 14, 18, 0}};
		uint32_t nf = 2, nl = 2;
		switch (test_random(&r) % 7) {
		case 0:
			f[test_random(&r) % 2].insn_off = offs[test_random(&r) % 7];
			break;
		case 1:
			f[test_random(&r) % 2].type_id = types[test_random(&r) % 7];
			break;
		case 2:
			nf = test_random(&r) % 4;
			break;
		case 3:
			l[test_random(&r) % 2].insn_off = offs[test_random(&r) % 7];
			break;
		case 4:
			l[test_random(&r) % 2].line_off = strs[test_random(&r) % 7];
			break;
		case 5:
			l[test_random(&r) % 2].file_name_off = strs[test_random(&r) % 7];
			break;
		default:
			nl = test_random(&r) % 4;
		}
		long k = load_two(KERNEL, b[KERNEL], f, nf, l, nl);
		memcpy(kernel_log, log_text, sizeof(log_text));
		long s = load_two(SKEP, b[SKEP], f, nf, l, nl);
		if (k >= 0)
			close((int)k), k = 0;
		if (s >= 0)
			close((int)s), s = 0;
		if (k != s || strcmp(kernel_log, log_text))
			fail_msg("case %u: kernel %ld, skep %ld\n--- kernel\n%s--- skep\n%s", i, k,
				 s, kernel_log, log_text);
		compared++;
	}
	close(b[KERNEL]);
	close(b[SKEP]);
	none_left();
	print_message("%u loads compared, with texts\n", compared);
}

/* ---- Information ---- */

static int info(int w, int fd, void *buf, uint32_t len, uint32_t *out_len)
{
	union bpf_attr attr;

	memset(&attr, 0, sizeof(attr));
	attr.info.bpf_fd = (uint32_t)fd;
	attr.info.info = (uintptr_t)buf;
	attr.info.info_len = len;
	long r = call(w, BPF_OBJ_GET_INFO_BY_FD, &attr, sizeof(attr));
	if (out_len)
		*out_len = attr.info.info_len;
	return (int)r;
}

static void test_info_map(void **state)
{
	static const uint32_t flags[] = {0, BPF_F_NO_PREALLOC, BPF_F_RDONLY, BPF_F_WRONLY,
					 BPF_F_RDONLY_PROG};
	unsigned compared = 0;

	if (!kernel_there())
		skip();
	for (size_t i = 0; i < sizeof(flags) / sizeof(*flags); i++) {
		struct bpf_map_info out[WORLDS];
		for (int w = 0; w < WORLDS; w++) {
			int fd = map(w, BPF_MAP_TYPE_HASH, flags[i], "a_map.1");
			uint32_t len;
			memset(&out[w], 0, sizeof(out[w]));
			assert_int_equal(info(w, fd, &out[w], sizeof(out[w]), &len), 0);
			assert_int_equal(len, sizeof(out[w]));
			assert_true(out[w].id > 0);
			out[w].id = 0;
			/* A shorter structure is filled as far as it goes. */
			uint32_t some[20];
			memset(some, 0xee, sizeof(some));
			assert_int_equal(info(w, fd, some, 12, &len), 0);
			assert_int_equal(len, 12);
			assert_int_equal(some[2], 4);
			assert_int_equal(some[3], 0xeeeeeeee);
			close(fd);
		}
		assert_memory_equal(&out[KERNEL], &out[SKEP], sizeof(out[0]));
		compared++;
	}
	print_message("information of %u maps equal\n", compared);
}

static void test_info_prog(void **state)
{
	if (!kernel_there())
		skip();
	struct bpf_prog_info out[WORLDS];
	struct bpf_insn xlated[WORLDS][16];
	uint32_t ids[WORLDS][2];
	for (int w = 0; w < WORLDS; w++) {
		int m = map(w, BPF_MAP_TYPE_ARRAY, 0, "m"), p = with_map(w, m);
		struct bpf_map_info mi = {0};
		struct bpf_prog_info *o = &out[w];
		assert_int_equal(info(w, m, &mi, sizeof(mi), NULL), 0);
		memset(o, 0, sizeof(*o));
		o->xlated_prog_insns = (uintptr_t)xlated[w];
		o->xlated_prog_len = sizeof(xlated[w]);
		o->map_ids = (uintptr_t)ids[w];
		o->nr_map_ids = 2;
		assert_int_equal(info(w, p, o, sizeof(*o), NULL), 0);
		assert_int_equal(o->nr_map_ids, 1);
		assert_int_equal(ids[w][0], mi.id);
		assert_true(o->load_time > 0);
		assert_true(o->id > 0);
		close(p);
		close(m);
		/* What the map's load shows is its id. */
		for (uint32_t i = 0; i < o->xlated_prog_len / 8; i++)
			if (xlated[w][i].code == (BPF_LD | BPF_IMM | BPF_DW)) {
				assert_int_equal(xlated[w][i].imm, mi.id);
				xlated[w][i].imm = 0;
			}
	}
	assert_memory_equal(out[KERNEL].tag, out[SKEP].tag, 8);
	assert_string_equal(out[KERNEL].name, out[SKEP].name);
	assert_int_equal(out[KERNEL].type, out[SKEP].type);
	assert_int_equal(out[KERNEL].gpl_compatible, out[SKEP].gpl_compatible);
	assert_int_equal(out[KERNEL].created_by_uid, out[SKEP].created_by_uid);
	assert_int_equal(out[KERNEL].verified_insns, out[SKEP].verified_insns);
	assert_int_equal(out[KERNEL].xlated_prog_len, out[SKEP].xlated_prog_len);
	assert_memory_equal(xlated[KERNEL], xlated[SKEP], out[SKEP].xlated_prog_len);
	assert_int_equal(out[KERNEL].nr_prog_tags, out[SKEP].nr_prog_tags);
	assert_int_equal(out[KERNEL].nr_jited_ksyms, out[SKEP].nr_jited_ksyms);
	none_left();
}

/* Functions, lines, tags, machine code: counts and records. */
static void test_info_funcs(void **state)
{
	if (!kernel_there())
		skip();
	struct bpf_prog_info out[WORLDS];
	struct bpf_func_info f[WORLDS][4];
	struct bpf_line_info l[WORLDS][4];
	uint32_t lens[WORLDS][4];
	uint64_t syms[WORLDS][4], jl[WORLDS][4];
	static uint8_t code[WORLDS][4096];
	struct bpf_insn xlated[WORLDS][16];
	for (int w = 0; w < WORLDS; w++) {
		int b = load_btf(w), p = must(load_two(w, b, funcs, 2, lines, 2));
		struct bpf_prog_info *o = &out[w];
		memset(o, 0, sizeof(*o));
		memset(l[w], 0, sizeof(l[w]));
		o->func_info = (uintptr_t)f[w];
		o->nr_func_info = 4;
		o->func_info_rec_size = 8;
		o->line_info = (uintptr_t)l[w];
		o->nr_line_info = 4;
		o->line_info_rec_size = 16;
		o->jited_line_info = (uintptr_t)jl[w];
		o->nr_jited_line_info = 4;
		o->jited_line_info_rec_size = 8;
		o->jited_func_lens = (uintptr_t)lens[w];
		o->nr_jited_func_lens = 4;
		o->jited_ksyms = (uintptr_t)syms[w];
		o->nr_jited_ksyms = 4;
		o->jited_prog_insns = (uintptr_t)code[w];
		o->jited_prog_len = sizeof(code[w]);
		o->xlated_prog_insns = (uintptr_t)xlated[w];
		o->xlated_prog_len = sizeof(xlated[w]);
		assert_int_equal(info(w, p, o, sizeof(*o), NULL), 0);
		assert_int_equal(o->nr_func_info, 2);
		assert_int_equal(o->nr_line_info, 2);
		assert_int_equal(o->nr_jited_func_lens, 2);
		assert_true(o->btf_id > 0);
		if (o->jited_prog_len) {
			assert_int_equal(o->nr_jited_line_info, 2);
			/* Lines lie in their functions. */
			for (int i = 0; i < 2; i++)
				assert_true(jl[w][i] >= syms[w][i] &&
					    jl[w][i] < syms[w][i] + lens[w][i]);
			/* Clients look for the first line at the very start of a function. */
			assert_int_equal(jl[w][0], syms[w][0]);
			/* The functions' lengths make up the code. */
			assert_true(lens[w][0] + lens[w][1] <= o->jited_prog_len);
		}
		/* Other record sizes are refused, and the right one answered. */
		o->func_info_rec_size = 12;
		assert_int_equal(info(w, p, o, sizeof(*o), NULL), -EINVAL);
		close(p);
		close(b);
	}
	assert_memory_equal(f[KERNEL], f[SKEP], 2 * sizeof(f[0][0]));
	assert_memory_equal(l[KERNEL], l[SKEP], 2 * sizeof(l[0][0]));
	/* Calls of functions by number, where they are compiled. */
	assert_int_equal(out[KERNEL].xlated_prog_len, out[SKEP].xlated_prog_len);
	if (out[KERNEL].jited_prog_len && out[SKEP].jited_prog_len)
		assert_memory_equal(xlated[KERNEL], xlated[SKEP], out[SKEP].xlated_prog_len);
	assert_memory_equal(out[KERNEL].tag, out[SKEP].tag, 8);
	none_left();
}

static void test_info_btf(void **state)
{
	if (!kernel_there())
		skip();
	static uint8_t raw[WORLDS][1024];
	struct bpf_btf_info out[WORLDS];
	for (int w = 0; w < WORLDS; w++) {
		int b = load_btf(w);
		char name[8] = "?";
		memset(&out[w], 0, sizeof(out[w]));
		out[w].btf = (uintptr_t)raw[w];
		out[w].btf_size = sizeof(raw[w]);
		out[w].name = (uintptr_t)name;
		out[w].name_len = sizeof(name);
		assert_int_equal(info(w, b, &out[w], sizeof(out[w]), NULL), 0);
		assert_string_equal(name, "");
		assert_memory_equal(raw[w], btf_raw, make_btf());
		out[w].id = 0;
		out[w].btf = out[w].name = 0;
		close(b);
	}
	assert_memory_equal(&out[KERNEL], &out[SKEP], sizeof(out[0]));
	none_left();
}

/* ---- fd_array, digests ---- */

static long load_array(int w, const struct bpf_insn *insns, uint32_t n, const int *fds,
		       uint32_t cnt)
{
	log_text[0] = 0;
	return CALL(w, BPF_PROG_LOAD, attr.prog_type = BPF_PROG_TYPE_SOCKET_FILTER,
		    attr.insns = (uintptr_t)insns, attr.insn_cnt = n,
		    attr.license = (uintptr_t) "GPL", attr.log_buf = (uintptr_t)log_text,
		    attr.log_size = sizeof(log_text), attr.log_level = 1,
		    attr.fd_array = (uintptr_t)fds, attr.fd_array_cnt = cnt);
}

static void test_fd_array(void **state)
{
	static char kernel_log[sizeof(log_text)];
	unsigned compared = 0;

	if (!kernel_there())
		skip();
	int m[WORLDS], b[WORLDS], null_fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
	for (int w = 0; w < WORLDS; w++) {
		m[w] = map(w, BPF_MAP_TYPE_ARRAY, 0, "m");
		b[w] = load_btf(w);
	}
	for (int kind = 0; kind < 12; kind++) {
		for (uint32_t cnt = 0; cnt < 4; cnt++) {
			struct bpf_insn insns[] = {MAP(1, kind % 3), MOV(0, 0), EXIT()};
			struct bpf_prog_info pi[WORLDS];
			long r[WORLDS];
			insns[0].src_reg = kind < 6 ? BPF_PSEUDO_MAP_IDX : BPF_PSEUDO_MAP_IDX_VALUE;
			for (int w = 0; w < WORLDS; w++) {
				const int fds[] = {m[w], kind / 3 % 2 ? b[w] : null_fd, 999, 0};
				memset(&pi[w], 0, sizeof(pi[w]));
				r[w] = load_array(w, insns, 4, fds, cnt);
				if (!w)
					memcpy(kernel_log, log_text, sizeof(log_text));
				if (r[w] >= 0) {
					assert_int_equal(
						info(w, (int)r[w], &pi[w], sizeof(pi[w]), NULL), 0);
					close((int)r[w]);
					r[w] = 0;
				}
			}
			/* Descriptors have other numbers in texts. */
			if (r[KERNEL] != r[SKEP] || memcmp(pi[KERNEL].tag, pi[SKEP].tag, 8) ||
			    pi[KERNEL].nr_map_ids != pi[SKEP].nr_map_ids)
				fail_msg("kind %d, count %u: kernel %ld (%u maps), skep %ld (%u "
					 "maps)\n%s---\n%s",
					 kind, cnt, r[KERNEL], pi[KERNEL].nr_map_ids, r[SKEP],
					 pi[SKEP].nr_map_ids, kernel_log, log_text);
			compared++;
		}
	}
	for (int w = 0; w < WORLDS; w++) {
		close(m[w]);
		close(b[w]);
	}
	close(null_fd);
	none_left();
	print_message("%u loads with fd_array compared\n", compared);
}

/* A map for one program only, and the digest of a frozen map. */
static void test_digests(void **state)
{
	if (!kernel_there())
		skip();
	uint8_t digests[WORLDS][32];
	for (int w = 0; w < WORLDS; w++) {
		/* SHA-256 of the program below with the map left out: taken from its tag, and found
		 * by the kernel's refusal of any other. */
		uint8_t hash[32] = {0};
		int m = must(CALL(w, BPF_MAP_CREATE, attr.map_type = BPF_MAP_TYPE_ARRAY,
				  attr.key_size = 4, attr.value_size = 8, attr.max_entries = 4,
				  attr.excl_prog_hash = (uintptr_t)hash,
				  attr.excl_prog_hash_size = 32));
		const struct bpf_insn insns[] = {MAP(1, m), MOV(0, 0), EXIT()};
		assert_int_equal(load(w, BPF_PROG_TYPE_SOCKET_FILTER, insns, 4, "x"), -EACCES);
		assert_non_null(
			strstr(log_text, "program's hash doesn't match map's excl_prog_hash"));
		close(m);
		assert_int_equal(CALL(w, BPF_MAP_CREATE, attr.map_type = BPF_MAP_TYPE_ARRAY,
				      attr.key_size = 4, attr.value_size = 8, attr.max_entries = 4,
				      attr.excl_prog_hash = (uintptr_t)hash,
				      attr.excl_prog_hash_size = 31),
				 -EINVAL);

		m = map(w, BPF_MAP_TYPE_ARRAY, 0, "m");
		for (uint32_t key = 0; key < 4; key++) {
			uint64_t value = key * 77;
			assert_int_equal(CALL(w, BPF_MAP_UPDATE_ELEM, attr.map_fd = (uint32_t)m,
					      attr.key = (uintptr_t)&key,
					      attr.value = (uintptr_t)&value),
					 0);
		}
		struct bpf_map_info mi = {.hash = (uintptr_t)digests[w], .hash_size = 32};
		assert_int_equal(info(w, m, &mi, sizeof(mi), NULL), -EPERM);
		assert_int_equal(CALL(w, BPF_MAP_FREEZE, attr.map_fd = (uint32_t)m), 0);
		mi = (struct bpf_map_info){.hash = (uintptr_t)digests[w], .hash_size = 32};
		assert_int_equal(info(w, m, &mi, sizeof(mi), NULL), 0);
		close(m);
	}
	assert_memory_equal(digests[KERNEL], digests[SKEP], 32);
	none_left();
}

/* ---- Ids ---- */

static void test_ids(void **state)
{
	int m = map(SKEP, BPF_MAP_TYPE_ARRAY, 0, "one");
	struct bpf_map_info mi = {0};

	assert_int_equal(info(SKEP, m, &mi, sizeof(mi), NULL), 0);
	int again = must(CALL(SKEP, BPF_MAP_GET_FD_BY_ID, attr.map_id = mi.id));
	close(m);
	assert_int_equal(count(BPF_MAP_GET_NEXT_ID), 1);
	/* Read-only: writing is refused, whoever holds another descriptor. */
	int ro = must(CALL(SKEP, BPF_MAP_GET_FD_BY_ID, attr.map_id = mi.id,
			   attr.open_flags = BPF_F_RDONLY));
	uint32_t key = 0;
	uint64_t value = 1;
	assert_int_equal(CALL(SKEP, BPF_MAP_UPDATE_ELEM, attr.map_fd = (uint32_t)ro,
			      attr.key = (uintptr_t)&key, attr.value = (uintptr_t)&value),
			 -EPERM);
	assert_int_equal(CALL(SKEP, BPF_MAP_UPDATE_ELEM, attr.map_fd = (uint32_t)again,
			      attr.key = (uintptr_t)&key, attr.value = (uintptr_t)&value),
			 0);
	close(ro);
	close(again);
	none_left();
	assert_int_equal(CALL(SKEP, BPF_MAP_GET_FD_BY_ID, attr.map_id = mi.id), -ENOENT);
}

/* ---- Pins ---- */

static long pin(struct skep *s, int fd, const char *path)
{
	union bpf_attr attr;

	memset(&attr, 0, sizeof(attr));
	attr.bpf_fd = (uint32_t)fd;
	attr.pathname = (uintptr_t)path;
	return skep_bpf(s, BPF_OBJ_PIN, &attr, sizeof(attr));
}

static long unpinned(struct skep *s, const char *path, uint32_t flags)
{
	union bpf_attr attr;

	memset(&attr, 0, sizeof(attr));
	attr.pathname = (uintptr_t)path;
	attr.file_flags = flags;
	return skep_bpf(s, BPF_OBJ_GET, &attr, sizeof(attr));
}

static void test_pins(void **state)
{
	int m = map(SKEP, BPF_MAP_TYPE_ARRAY, 0, "pinned");

	assert_int_equal(unpinned(skep, "/sys/fs/bpf/a", 0), -ENOENT);
	assert_int_equal(pin(skep, m, "/sys/fs/bpf/a"), 0);
	assert_int_equal(pin(skep, m, "/sys/fs/bpf//./a"), -EEXIST);
	assert_int_equal(pin(skep, m, "/tmp/a"), -EPERM);
	assert_int_equal(pin(skep, m, "/no/such/a"), -ENOENT);
	assert_int_equal(pin(skep, m, "/dev/null/a"), -ENOTDIR);
	assert_int_equal(pin(skep, m, "/tmp"), -EEXIST);
	assert_int_equal(unpinned(skep, "/tmp", 0), -EACCES);
	assert_int_equal(pin(skep, 0, "/sys/fs/bpf/b"), -EINVAL);
	close(m);
	assert_int_equal(count(BPF_MAP_GET_NEXT_ID), 1);
	m = must(unpinned(skep, "/sys/fs/bpf/x/../a", BPF_F_RDONLY));
	uint32_t key = 0;
	uint64_t value = 0;
	assert_int_equal(CALL(SKEP, BPF_MAP_UPDATE_ELEM, attr.map_fd = (uint32_t)m,
			      attr.key = (uintptr_t)&key, attr.value = (uintptr_t)&value),
			 -EPERM);
	close(m);
	assert_int_equal(skep_unpin(skep, "/sys/fs/bpf/b"), -ENOENT);
	assert_int_equal(skep_unpin(skep, "/sys/fs/bpf/a"), 0);
	none_left();
}

static void test_pins_in_directory(void **state)
{
	char dir[] = "/tmp/skep-pins-XXXXXX", path[128], sub[128];
	struct skep *s, *old = skep;
	struct stat st;

	assert_non_null(mkdtemp(dir));
	struct skep_opts opts = {.sz = sizeof(opts), .pin_dir = dir};
	assert_int_equal(skep_open(&s, &opts), 0);
	skep = s;
	int m = map(SKEP, BPF_MAP_TYPE_ARRAY, 0, "pinned");
	snprintf(path, sizeof(path), "%s/a", dir);
	snprintf(sub, sizeof(sub), "%s/no/b", dir);
	assert_int_equal(pin(s, m, path), 0);
	assert_int_equal(pin(s, m, "/sys/fs/bpf/a"), -EEXIST);
	assert_int_equal(pin(s, m, sub), -ENOENT);
	assert_int_equal(pin(s, m, "/tmp/skep-outside"), -EPERM);
	close(m);
	close(must(unpinned(s, "/sys/fs/bpf/a", 0)));
	close(must(unpinned(s, path, 0)));
	assert_int_equal(stat(path, &st), 0);
	/* Removing the file removes the pin. */
	assert_int_equal(unlink(path), 0);
	assert_int_equal(unpinned(s, path, 0), -ENOENT);
	assert_int_equal(count(BPF_MAP_GET_NEXT_ID), 0);
	/* What is left ends with the instance. */
	m = map(SKEP, BPF_MAP_TYPE_ARRAY, 0, "pinned");
	assert_int_equal(pin(s, m, path), 0);
	close(m);
	skep_close(s);
	assert_int_equal(stat(path, &st), -1);
	assert_int_equal(rmdir(dir), 0);
	skep = old;
}

/* ---- Links ---- */

static int attached, detached, updated;

static int hook_attach(struct skep_link *link, const union bpf_attr *attr)
{
	if (link->ifindex == 13)
		return -ENODEV;
	attached++;
	return 0;
}

static void hook_detach(struct skep_link *link)
{
	detached++;
}

static int hook_update(struct skep_link *link, struct skep_prog *next, uint32_t flags)
{
	updated++;
	return 0;
}

static const struct skep_hook hook = {.name = "test",
				      .link_type = BPF_LINK_TYPE_XDP,
				      .attach = hook_attach,
				      .detach = hook_detach,
				      .update = hook_update,
				      .can_detach = true};

static long link_xdp(int prog, uint32_t ifindex)
{
	return CALL(SKEP, BPF_LINK_CREATE, attr.link_create.prog_fd = (uint32_t)prog,
		    attr.link_create.target_ifindex = ifindex,
		    attr.link_create.attach_type = BPF_XDP);
}

static void test_links(void **state)
{
	static const struct bpf_insn insns[] = {MOV(0, 2), EXIT()};
	int p = must(load(SKEP, BPF_PROG_TYPE_XDP, insns, 2, "a"));
	int q = must(load(SKEP, BPF_PROG_TYPE_XDP, insns, 2, "b")), other = simple(SKEP);

	assert_int_equal(link_xdp(p, 1), -EINVAL); /* no hook: no such interface */
	assert_int_equal(skep_hook_register(skep, BPF_XDP, 0, &hook, NULL), 0);
	assert_int_equal(skep_hook_register(skep, BPF_XDP, 0, &hook, NULL), -EEXIST);
	assert_int_equal(link_xdp(p, 13), -ENODEV);
	assert_int_equal(link_xdp(other, 1), -EINVAL);
	int l = must(link_xdp(p, 7));
	assert_int_equal(attached, 1);
	close(p);
	assert_int_equal(count(BPF_PROG_GET_NEXT_ID), 3); /* the link holds it */

	struct bpf_link_info li = {0};
	assert_int_equal(info(SKEP, l, &li, sizeof(li), NULL), 0);
	assert_int_equal(li.type, BPF_LINK_TYPE_XDP);
	assert_int_equal(li.xdp.ifindex, 7);
	assert_true(li.prog_id > 0);

	union bpf_attr up;
	memset(&up, 0, sizeof(up));
	up.link_update.link_fd = (uint32_t)l;
	up.link_update.new_prog_fd = (uint32_t)other;
	assert_int_equal(skep_bpf(skep, BPF_LINK_UPDATE, &up, sizeof(up)), -EINVAL);
	up.link_update.new_prog_fd = (uint32_t)q;
	up.link_update.old_prog_fd = (uint32_t)q;
	assert_int_equal(skep_bpf(skep, BPF_LINK_UPDATE, &up, sizeof(up)), -EINVAL);
	up.link_update.flags = BPF_F_REPLACE;
	assert_int_equal(skep_bpf(skep, BPF_LINK_UPDATE, &up, sizeof(up)), -EPERM);
	up.link_update.flags = up.link_update.old_prog_fd = 0;
	assert_int_equal(skep_bpf(skep, BPF_LINK_UPDATE, &up, sizeof(up)), 0);
	assert_int_equal(updated, 1);
	close(q);
	close(other);
	assert_int_equal(count(BPF_PROG_GET_NEXT_ID), 1);

	assert_int_equal(CALL(SKEP, BPF_LINK_DETACH, attr.link_detach.link_fd = (uint32_t)l), 0);
	assert_int_equal(detached, 1);
	assert_int_equal(count(BPF_PROG_GET_NEXT_ID), 0);
	assert_int_equal(info(SKEP, l, &li, sizeof(li), NULL), 0);
	assert_int_equal(li.xdp.ifindex, 0);
	close(l);
	none_left();
	assert_int_equal(detached, 1);

	/* Closing the last descriptor detaches. */
	p = must(load(SKEP, BPF_PROG_TYPE_XDP, insns, 2, "a"));
	close(must(link_xdp(p, 7)));
	close(p);
	none_left();
	assert_int_equal(detached, 2);
	/* So does the end of the hook. */
	p = must(load(SKEP, BPF_PROG_TYPE_XDP, insns, 2, "a"));
	l = must(link_xdp(p, 7));
	skep_hook_unregister(skep, BPF_XDP, 0);
	assert_int_equal(detached, 3);
	close(l);
	close(p);
	none_left();
}

/* ---- Statistics ---- */

static void test_stats(void **state)
{
	struct bpf_prog_info pi;
	uint8_t packet[64] = {0};
	int p = simple(SKEP);

	for (int on = 0; on < 2; on++) {
		int fd = on ? must(CALL(SKEP, BPF_ENABLE_STATS,
					attr.enable_stats.type = BPF_STATS_RUN_TIME))
			    : -1;
		assert_int_equal(CALL(SKEP, BPF_PROG_TEST_RUN, attr.test.prog_fd = (uint32_t)p,
				      attr.test.data_in = (uintptr_t)packet,
				      attr.test.data_size_in = 64, attr.test.repeat = 100),
				 0);
		memset(&pi, 0, sizeof(pi));
		assert_int_equal(info(SKEP, p, &pi, sizeof(pi), NULL), 0);
		assert_int_equal(pi.run_cnt, on ? 100 : 0);
		assert_true(on ? pi.run_time_ns > 0 : !pi.run_time_ns);
		if (on)
			close(fd);
	}
	/* Nobody holds it any more. */
	assert_int_equal(count(BPF_MAP_GET_NEXT_ID), 0);
	assert_int_equal(atomic_load(&skep->stats_enabled), 0);
	close(p);
	none_left();
}

/* Callers without capabilities. */
static void test_unprivileged(void **state)
{
	static const struct bpf_insn insns[] = {MOV(0, 0), EXIT()};
	static struct bpf_insn many[BPF_MAXINSNS + 1];
	static const struct {
		uint32_t type;
		long err;
	} maps[] = {{BPF_MAP_TYPE_HASH, 0},          {BPF_MAP_TYPE_ARRAY, 0},
		    {BPF_MAP_TYPE_PERCPU_HASH, 0},   {BPF_MAP_TYPE_LRU_HASH, -EPERM},
		    {BPF_MAP_TYPE_LPM_TRIE, -EPERM}, {BPF_MAP_TYPE_STACK_TRACE, -EPERM}};
	struct skep_opts opts = {.sz = sizeof(opts), .flags = SKEP_F_UNPRIVILEGED};
	struct skep *s, *old = skep;

	assert_int_equal(skep_open(&s, &opts), 0);
	skep = s;
	for (size_t i = 0; i < sizeof(maps) / sizeof(*maps); i++) {
		bool trie = maps[i].type == BPF_MAP_TYPE_LPM_TRIE;
		long r = CALL(SKEP, BPF_MAP_CREATE, attr.map_type = maps[i].type,
			      attr.key_size = trie ? 8 : 4, attr.value_size = 8,
			      attr.max_entries = 4, attr.map_flags = trie ? BPF_F_NO_PREALLOC : 0);
		if (r >= 0)
			close((int)r), r = 0;
		if (r != maps[i].err)
			fail_msg("map type %u: %ld", maps[i].type, r);
	}
	for (uint32_t i = 0; i <= BPF_MAXINSNS; i++)
		many[i] = insns[i == BPF_MAXINSNS];
	close(must(load(SKEP, BPF_PROG_TYPE_SOCKET_FILTER, insns, 2, "ok")));
	assert_int_equal(load(SKEP, BPF_PROG_TYPE_XDP, insns, 2, "xdp"), -EPERM);
	assert_int_equal(load(SKEP, BPF_PROG_TYPE_SOCKET_FILTER, many, BPF_MAXINSNS + 1, "many"),
			 -E2BIG);
	assert_int_equal(CALL(SKEP, BPF_MAP_GET_NEXT_ID, (void)0), -EPERM);
	assert_int_equal(CALL(SKEP, BPF_MAP_GET_FD_BY_ID, attr.map_id = 1), -EPERM);
	assert_int_equal(CALL(SKEP, BPF_ENABLE_STATS, (void)0), -EPERM);
	assert_int_equal(CALL(SKEP, BPF_BTF_LOAD, attr.btf_size = 1), -EPERM);
	assert_int_equal(CALL(SKEP, BPF_PROG_QUERY, (void)0), -EPERM);
	/* What it may load it may not attach. */
	int skb = must(load(SKEP, BPF_PROG_TYPE_CGROUP_SKB, insns, 2, "skb"));
	assert_int_equal(CALL(SKEP, BPF_PROG_ATTACH, attr.attach_bpf_fd = (uint32_t)skb,
			      attr.attach_type = BPF_CGROUP_INET_INGRESS),
			 -EPERM);
	assert_int_equal(CALL(SKEP, BPF_LINK_CREATE, attr.link_create.prog_fd = (uint32_t)skb,
			      attr.link_create.attach_type = BPF_CGROUP_INET_INGRESS),
			 -EPERM);
	close(skb);
	skep_close(s);
	skep = old;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_holding),      cmocka_unit_test(test_failures),
		cmocka_unit_test(test_debug_info),   cmocka_unit_test(test_info_map),
		cmocka_unit_test(test_info_prog),    cmocka_unit_test(test_info_funcs),
		cmocka_unit_test(test_info_btf),     cmocka_unit_test(test_ids),
		cmocka_unit_test(test_fd_array),     cmocka_unit_test(test_digests),
		cmocka_unit_test(test_pins),         cmocka_unit_test(test_pins_in_directory),
		cmocka_unit_test(test_links),        cmocka_unit_test(test_stats),
		cmocka_unit_test(test_unprivileged),
	};
	return cmocka_run_group_tests_name("objects", tests, open_instance, close_instance);
}
