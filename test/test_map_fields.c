/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Special fields in map values (locks, timers, lists, trees, pointers ...): generated value types
 * are loaded and maps of every type made of them, by the running kernel and by skep.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <linux/btf.h>

#include "kernel.h"
#include "skep.h"

enum { KERNEL, SKEP, WORLDS };
static struct skep *skep;
static uint64_t seed;

static uint32_t rnd(uint32_t n)
{
	return (uint32_t)(test_random(&seed) >> 32) % n;
}

static long call(int w, int cmd, union bpf_attr *attr)
{
	return w == KERNEL ? kernel_bpf(cmd, attr, sizeof(*attr))
			   : skep_bpf(skep, cmd, attr, sizeof(*attr));
}

/* ---- A BTF ---- */

static struct {
	struct btf_header h;
	uint32_t w[2048];
} blob;
static char strings[4096];
static uint32_t nwords, nstrings, ntypes;

static uint32_t str(const char *s)
{
	uint32_t at = nstrings, n = (uint32_t)strlen(s) + 1;

	if (!*s)
		return 0;
	assert_true(at + n <= sizeof(strings));
	memcpy(strings + at, s, n);
	nstrings += n;
	return at;
}

static void word(uint32_t v)
{
	assert_true(nwords < 1024);
	blob.w[nwords++] = v;
}

static uint32_t type(const char *name, uint32_t kind, uint32_t vlen, uint32_t size)
{
	word(str(name));
	word(kind << 24 | vlen);
	word(size);
	return ++ntypes;
}

static void member(const char *name, uint32_t id, uint32_t bytes)
{
	word(str(name));
	word(id);
	word(8 * bytes);
}

static const struct {
	const char *name;
	uint32_t size;
} specials[] = {
	{"bpf_spin_lock", 4}, {"bpf_res_spin_lock", 4}, {"bpf_timer", 16},     {"bpf_wq", 16},
	{"bpf_task_work", 8}, {"bpf_list_head", 16},    {"bpf_list_node", 24}, {"bpf_rb_root", 16},
	{"bpf_rb_node", 32},  {"bpf_refcount", 4},
};
#define NSPECIALS (sizeof(specials) / sizeof(*specials))
enum { LIST_HEAD = 5, LIST_NODE, RB_ROOT, RB_NODE, REFCOUNT };

/* What members of a value are chosen from. */
static struct kind {
	uint32_t id, size;
} kinds[40];
static unsigned nkinds;

static void add_kind(uint32_t id, uint32_t size)
{
	kinds[nkinds++] = (struct kind){id, size};
}

static uint32_t node_id;

static void begin(void)
{
	static const char *const tags[] = {"kptr_untrusted", "kptr", "percpu_kptr", "uptr",
					   "other"};
	uint32_t special[NSPECIALS], targets[4];

	memset(&blob, 0, sizeof(blob));
	nwords = ntypes = nkinds = 0;
	nstrings = 1;
	type("int", BTF_KIND_INT, 0, 4);
	word(1u << 24 | 32);
	for (unsigned i = 0; i < NSPECIALS; i++) {
		/* Now and then of a size that is none. */
		uint32_t size = specials[i].size + (rnd(40) ? 0 : 8);
		special[i] = type(specials[i].name, BTF_KIND_STRUCT, 0, size);
		add_kind(special[i], size);
	}
	node_id = type("node", BTF_KIND_STRUCT, 3, 64);
	member("l", special[LIST_NODE], 0);
	member("r", special[RB_NODE], 24);
	member("c", special[REFCOUNT], 56);
	targets[0] = type("task_struct", BTF_KIND_STRUCT, 0, 8);
	targets[1] = type("sk_buff", BTF_KIND_STRUCT, 0, 8);
	targets[2] = type("mine", BTF_KIND_STRUCT, 1, 8);
	member("x", 1, 0);
	targets[3] = type("big", BTF_KIND_STRUCT, 0, rnd(2) ? 4096 : 4097);
	for (unsigned t = 0; t < 4; t++) {
		unsigned tag = rnd(5) ? rnd(4) : 4;
		uint32_t id = type(tags[tag], BTF_KIND_TYPE_TAG, 0, targets[t]);
		add_kind(type("", BTF_KIND_PTR, 0, id), 8);
	}
	uint32_t array = type("", BTF_KIND_ARRAY, 0, 0);
	uint32_t of = kinds[rnd(nkinds)].id, n = rnd(4);
	word(of);
	word(1);
	word(n);
	for (unsigned i = 0; i < nkinds; i++)
		if (kinds[i].id == of) {
			add_kind(array, n * kinds[i].size);
			break;
		}
	add_kind(1, 4);
}

/* A structure of random members; lists and trees say what they contain, mostly. */
static uint32_t value(uint32_t *size)
{
	uint32_t n = 1 + rnd(4), at = 0;
	struct kind member_kinds[4];
	uint32_t offs[4];

	for (uint32_t i = 0; i < n; i++) {
		/* Few kinds are allowed together, so locks come often. */
		member_kinds[i] = kinds[rnd(3) ? rnd(nkinds) : rnd(2)];
		at = (at + 7) & ~7u;
		if (!rnd(30))
			at += 4;
		offs[i] = at;
		at += member_kinds[i].size;
	}
	*size = at ? (at + 7) & ~7u : 8;
	uint32_t id = type("value", BTF_KIND_STRUCT, n, *size);
	for (uint32_t i = 0; i < n; i++) {
		char name[8];
		snprintf(name, sizeof(name), "m%u", i);
		member(name, member_kinds[i].id, offs[i]);
	}
	for (uint32_t i = 0; i < n; i++) {
		static const char *const wrong[] = {"contains:node", "contains:none:l",
						    "contains:node:c", "contains:value:m0"};
		bool list = member_kinds[i].id == 2 + LIST_HEAD;
		if ((!list && member_kinds[i].id != 2 + RB_ROOT) || !rnd(10))
			continue;
		const char *text = !rnd(10) ? wrong[rnd(4)]
				   : list   ? "contains:node:l"
					    : "contains:node:r";
		type(text, BTF_KIND_DECL_TAG, 0, id);
		word(i);
	}
	return id;
}

static long load(int w)
{
	union bpf_attr a;

	memset(&a, 0, sizeof(a));
	blob.h = (struct btf_header){
		.magic = BTF_MAGIC,
		.version = 1,
		.hdr_len = sizeof(blob.h),
		.type_len = nwords * 4,
		.str_off = nwords * 4,
		.str_len = nstrings,
	};
	memcpy(blob.w + nwords, strings, nstrings);
	a.btf = (uintptr_t)&blob;
	a.btf_size = (uint32_t)(sizeof(blob.h) + nwords * 4 + nstrings);
	return call(w, BPF_BTF_LOAD, &a);
}

static bool is_storage(uint32_t type)
{
	return type == BPF_MAP_TYPE_TASK_STORAGE || type == BPF_MAP_TYPE_SK_STORAGE ||
	       type == BPF_MAP_TYPE_INODE_STORAGE || type == BPF_MAP_TYPE_CGRP_STORAGE;
}

static void test_create(void **state)
{
	unsigned compared = 0, made = 0, loaded = 0, counts[200] = {0};

	if (!kernel_there()) {
		print_message("skipped: bpf(2) is not permitted here\n");
		skip();
	}
	assert_int_equal(skep_open(&skep, NULL), 0);
	for (unsigned round = 0; round < test_scale(600); round++) {
		uint32_t size, id;
		long btf[WORLDS];
		seed = round + 1;
		begin();
		id = value(&size);
		for (int w = 0; w < WORLDS; w++)
			btf[w] = load(w);
		if ((btf[KERNEL] < 0 || btf[SKEP] < 0) && btf[KERNEL] != btf[SKEP])
			fail_msg("round %u: BTF: kernel %ld, skep %ld", round, btf[KERNEL],
				 btf[SKEP]);
		if (btf[KERNEL] < 0)
			continue;
		loaded++;
		for (uint32_t t = 1; t <= BPF_MAP_TYPE_ARENA; t++) {
			long r[WORLDS];
			for (int w = 0; w < WORLDS; w++) {
				union bpf_attr a;
				memset(&a, 0, sizeof(a));
				bool cgroup = t == BPF_MAP_TYPE_CGROUP_STORAGE ||
					      t == BPF_MAP_TYPE_PERCPU_CGROUP_STORAGE;
				bool no_key = t == BPF_MAP_TYPE_QUEUE || t == BPF_MAP_TYPE_STACK;
				a.map_type = t;
				a.key_size = no_key ? 0 : cgroup ? 8 : 4;
				a.value_size = size;
				a.max_entries = !is_storage(t) && !cgroup;
				a.map_flags = is_storage(t) || t == BPF_MAP_TYPE_LPM_TRIE
						      ? BPF_F_NO_PREALLOC
					      : round % 16 == 15 ? BPF_F_RDONLY_PROG
								 : 0;
				a.btf_fd = (uint32_t)btf[w];
				a.btf_key_type_id = no_key || cgroup ? 0 : 1;
				a.btf_value_type_id = id;
				r[w] = call(w, BPF_MAP_CREATE, &a);
				if (r[w] >= 0) {
					close((int)r[w]);
					r[w] = 0;
				}
			}
			if (r[KERNEL] != r[SKEP])
				fail_msg("round %u, map type %u: kernel %ld, skep %ld", round, t,
					 r[KERNEL], r[SKEP]);
			compared++;
			made += !r[KERNEL];
			counts[-r[KERNEL] < 200 ? -r[KERNEL] : 199]++;
		}
		for (int w = 0; w < WORLDS; w++)
			close((int)btf[w]);
	}
	print_message("%u maps of %u BTFs compared, %u made, %u EOPNOTSUPP, %u EACCES\n", compared,
		      loaded, made, counts[95], counts[13]);
	assert_true(loaded > 100 && made > 500 && counts[95] > 500 && counts[13] > 20);
	print_message("ran: map_fields %u\n", compared);
	skep_close(skep);
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(test_create)};

	return cmocka_run_group_tests_name("map_fields", tests, NULL, NULL);
}
