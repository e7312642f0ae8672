/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The types that skep presents: its interface header against the running kernel's BTF and
 * the installed header, and the whole BTF against the kernel's checker.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include "btf/btf.h"
#include "installed_uapi.h"
#include "kernel.h"

#define KIND(t)  BTF_INFO_KIND((t)->info)
#define VLEN(t)  BTF_INFO_VLEN((t)->info)
#define KFLAG(t) BTF_INFO_KFLAG((t)->info)

static struct skep_btf *ours, *theirs;
static unsigned members, enumerators, structs;

static int open_both(void **state)
{
	static uint8_t raw[64 << 20];

	assert_int_equal(skep_btf_vmlinux(&ours), 0);
	FILE *f = fopen("/sys/kernel/btf/vmlinux", "r");
	if (!f)
		return 0;
	size_t n = fread(raw, 1, sizeof(raw), f);
	fclose(f);
	assert_int_equal(skep_btf_parse(raw, (uint32_t)n, NULL, &theirs), 0);
	return 0;
}

static int close_both(void **state)
{
	skep_btf_put(ours);
	skep_btf_put(theirs);
	return 0;
}

/* Looks a member up by name, in anonymous members too: its bit offset and type, or false. */
static bool find_member(const struct skep_btf *btf, const struct btf_type *t, const char *name,
			uint32_t base, uint32_t *off, uint32_t *bits, uint32_t *type)
{
	const struct btf_member *m = (const void *)(t + 1);

	for (uint32_t i = 0; i < VLEN(t); i++) {
		uint32_t at = base + (KFLAG(t) ? BTF_MEMBER_BIT_OFFSET(m[i].offset) : m[i].offset);
		const char *its = skep_btf_str(btf, m[i].name_off);
		if (*its && !strcmp(its, name)) {
			*off = at;
			*bits = KFLAG(t) ? BTF_MEMBER_BITFIELD_SIZE(m[i].offset) : 0;
			*type = m[i].type;
			return true;
		}
		const struct btf_type *in = skep_btf_skip_mods(btf, m[i].type, NULL);
		if (!*its && (KIND(in) == BTF_KIND_STRUCT || KIND(in) == BTF_KIND_UNION) &&
		    find_member(btf, in, name, at, off, bits, type))
			return true;
	}
	return false;
}

static void same_struct(const char *what, const struct btf_type *a, const struct btf_type *b,
			bool whole);

static void each_member(const char *what, const struct skep_btf *btf, const struct btf_type *t,
			uint32_t base, const struct skep_btf *other, const struct btf_type *top,
			bool whole)
{
	const struct btf_member *m = (const void *)(t + 1);

	for (uint32_t i = 0; i < VLEN(t); i++) {
		uint32_t at = base + (KFLAG(t) ? BTF_MEMBER_BIT_OFFSET(m[i].offset) : m[i].offset);
		uint32_t bits = KFLAG(t) ? BTF_MEMBER_BITFIELD_SIZE(m[i].offset) : 0;
		const char *its = skep_btf_str(btf, m[i].name_off);
		const struct btf_type *in = skep_btf_skip_mods(btf, m[i].type, NULL);
		bool nested = KIND(in) == BTF_KIND_STRUCT || KIND(in) == BTF_KIND_UNION;
		uint32_t off2, bits2, type2;
		if (!*its) {
			if (nested)
				each_member(what, btf, in, at, other, top, whole);
			continue;
		}
		if (!find_member(other, top, its, 0, &off2, &bits2, &type2))
			fail_msg("%s.%s is missing on one side", what, its);
		if (at != off2 || bits != bits2 ||
		    skep_btf_size(btf, m[i].type) != skep_btf_size(other, type2))
			fail_msg("%s.%s: at bit %u size %ld, other at %u size %ld", what, its, at,
				 (long)skep_btf_size(btf, m[i].type), off2,
				 (long)skep_btf_size(other, type2));
		members++;
		if (nested && !in->name_off && btf == ours)
			same_struct(its, in, skep_btf_skip_mods(other, type2, NULL), whole);
	}
}

static void same_struct(const char *what, const struct btf_type *a, const struct btf_type *b,
			bool whole)
{
	if (a->size != b->size)
		fail_msg("%s: %u bytes, the kernel's %u", what, a->size, b->size);
	each_member(what, ours, a, 0, theirs, b, whole);
	if (whole)
		each_member(what, theirs, b, 0, ours, a, whole);
	structs++;
}

static bool starts(const char *s, const char *with)
{
	return !strncmp(s, with, strlen(with));
}

static bool one_of(const char *s, const char *const *list)
{
	for (; *list; list++)
		if (!strcmp(s, *list))
			return true;
	return false;
}

/* Structures of the interface: every member, on both sides. */
static void test_structs(void **state)
{
	static const char *const internal[] = {
		"bpf_map", "bpf_map_ops", "bpf_array", "bpf_htab", "bpf_queue_stack",
		"bpf_ringbuf_map", "bpf_stack_map", "bpf_dtab", "bpf_cpu_map", "bpf_stab",
		"bpf_shtab", "bpf_local_storage_map", "bpf_bloom_filter", "bpf_cgroup_storage_map",
		"bpf_struct_ops_map", "bpf_arena", "bpf_key", "bpf_prog", "bpf_prog_aux",
		"bpf_link", "xdp_buff", "xdp_rxq_info", "xdp_txq_info",
		/* not in the kernel's BTF */
		"xdp_sock", NULL};
	static const char *const packets[] = {"ethhdr",
					      "vlan_hdr",
					      "vlan_ethhdr",
					      "arphdr",
					      "iphdr",
					      "ipv6hdr",
					      "frag_hdr",
					      "ip_auth_hdr",
					      "tcphdr",
					      "udphdr",
					      "icmphdr",
					      "icmp6hdr",
					      "in_addr",
					      "in6_addr",
					      "sockaddr_in",
					      "sockaddr_in6",
					      "sockaddr_un",
					      "ipv6_opt_hdr",
					      "pt_regs",
					      "trace_entry",
					      "syscall_trace_enter",
					      "syscall_trace_exit",
					      NULL};
	unsigned missing = 0;

	if (!theirs) {
		print_message("skipped: no /sys/kernel/btf/vmlinux\n");
		skip();
	}
	for (uint32_t id = 1; id < ours->ntypes; id++) {
		const struct btf_type *t = skep_btf_type(ours, id);
		const char *name = skep_btf_name(ours, id);
		bool uapi = starts(name, "bpf_") || starts(name, "xdp_") || starts(name, "sk_") ||
			    !strcmp(name, "__sk_buff") || !strcmp(name, "btf_ptr");
		bool event = starts(name, "trace_event_raw_") || one_of(name, packets);
		if (KIND(t) != BTF_KIND_STRUCT && KIND(t) != BTF_KIND_UNION)
			continue;
		if (!*name || one_of(name, internal) || (!uapi && !event) ||
		    !strcmp(name, "sk_buff"))
			continue;
		int64_t other = skep_btf_find(theirs, name, KIND(t));
		if (other < 0) {
			missing++; /* the kernel does not use it itself */
			continue;
		}
		/* Of some, not every member is presented (FRED's, aliases). */
		bool whole = uapi;
		same_struct(name, t, skep_btf_type(theirs, (uint32_t)other), whole);
	}
	print_message("%u structures, %u members equal; %u not in the kernel's BTF\n", structs,
		      members, missing);
	assert_true(structs > 80 && members > 900);
}

struct constant {
	const char *name;
	int64_t value;
};
static struct constant *constants;
static unsigned nconstants;

static int by_name(const void *a, const void *b)
{
	return strcmp(((const struct constant *)a)->name, ((const struct constant *)b)->name);
}

static void gather(const struct skep_btf *btf)
{
	nconstants = 0;
	constants = malloc(400000 * sizeof(*constants));
	assert_non_null(constants);
	for (uint32_t id = 1; id < btf->ntypes; id++) {
		const struct btf_type *t = skep_btf_type(btf, id);
		const struct btf_enum *e = (const void *)(t + 1);
		const struct btf_enum64 *w = (const void *)(t + 1);
		for (uint32_t i = 0; KIND(t) == BTF_KIND_ENUM && i < VLEN(t); i++)
			constants[nconstants++] = (struct constant){
				skep_btf_str(btf, e[i].name_off),
				KFLAG(t) ? e[i].val : (int64_t)(uint32_t)e[i].val};
		for (uint32_t i = 0; KIND(t) == BTF_KIND_ENUM64 && i < VLEN(t); i++)
			constants[nconstants++] = (struct constant){
				skep_btf_str(btf, w[i].name_off),
				(int64_t)((uint64_t)w[i].val_hi32 << 32 | w[i].val_lo32)};
	}
	qsort(constants, nconstants, sizeof(*constants), by_name);
}

static void test_enums(void **state)
{
	unsigned absent = 0;

	if (!theirs)
		skip();
	gather(theirs);
	struct constant *kernel = constants;
	unsigned nkernel = nconstants;
	gather(ours);
	for (unsigned i = 0; i < nconstants; i++) {
		struct constant *k =
			bsearch(&constants[i], kernel, nkernel, sizeof(*kernel), by_name);
		if (!k) {
			absent++;
			continue;
		}
		/* A name may be used twice in the kernel, with different values. */
		bool found = false;
		while (k > kernel && !strcmp(k[-1].name, constants[i].name))
			k--;
		for (; k < kernel + nkernel && !strcmp(k->name, constants[i].name); k++)
			found |= k->value == constants[i].value;
		if (!found)
			fail_msg("%s is %lld, not the kernel's", constants[i].name,
				 (long long)constants[i].value);
		enumerators++;
	}
	/* And all of the kernel's in the enums that have names here. */
	for (uint32_t id = 1; id < ours->ntypes; id++) {
		const struct btf_type *t = skep_btf_type(ours, id);
		if (KIND(t) != BTF_KIND_ENUM || !t->name_off)
			continue;
		int64_t other = skep_btf_find(theirs, skep_btf_name(ours, id), BTF_KIND_ENUM);
		if (other > 0)
			assert_int_equal(VLEN(t), VLEN(skep_btf_type(theirs, (uint32_t)other)));
	}
	free(kernel);
	free(constants);
	print_message("%u enumerators equal, %u not in the kernel's BTF\n", enumerators, absent);
	assert_true(enumerators > 600);
}

static void test_installed(void **state)
{
	gather(ours);
	for (unsigned i = 0; i < installed_nfacts; i++) {
		const struct installed_fact *f = &installed_facts[i];
		const char *dot = strchr(f->name, '.');
		if (!dot) {
			struct constant key = {f->name, 0};
			struct constant *c =
				bsearch(&key, constants, nconstants, sizeof(key), by_name);
			if (!c || c->value != f->value)
				fail_msg("%s: %lld here, %lld installed", f->name,
					 c ? (long long)c->value : -1, f->value);
			continue;
		}
		char name[64], *part, *rest = NULL;
		snprintf(name, sizeof(name), "%s", f->name);
		part = strtok_r(name, ".", &rest);
		bool attr = !strcmp(part, "bpf_attr");
		int64_t id = skep_btf_find(ours, part, attr ? BTF_KIND_UNION : BTF_KIND_STRUCT);
		assert_true(id > 0);
		uint32_t off = 0, total = 0, bits, type = (uint32_t)id;
		while ((part = strtok_r(NULL, ".", &rest))) {
			const struct btf_type *t = skep_btf_skip_mods(ours, type, NULL);
			if (!find_member(ours, t, part, 0, &off, &bits, &type))
				fail_msg("%s is missing", f->name);
			total += off;
		}
		if (total / 8 != f->value)
			fail_msg("%s: at %u here, %lld installed", f->name, total / 8, f->value);
	}
	free(constants);
	print_message("%u facts of the installed header hold\n", installed_nfacts);
}

/* What programs relocate against is there. */
static void test_presented(void **state)
{
	static const char *const wanted[][2] = {
		{"task_struct", "pid"},
		{"task_struct", "tgid"},
		{"task_struct", "comm"},
		{"task_struct", "real_parent"},
		{"task_struct", "start_time"},
		{"sk_buff", "len"},
		{"sock", "__sk_common"},
		{"net_device", "ifindex"},
		{"xdp_md", "data"},
		{"xdp_buff", "data"},
		{"bpf_map", "max_entries"},
		{"bpf_prog", "aux"},
		{"pt_regs", "di"},
		{"iphdr", "saddr"},
		{"__sk_buff", "ifindex"},
		{"bpf_sock", "src_ip4"},
		{"trace_event_raw_sys_enter", "args"},
		{"trace_event_raw_sys_exit", "ret"},
	};
	uint32_t off, bits, type;

	for (size_t i = 0; i < sizeof(wanted) / sizeof(*wanted); i++) {
		int64_t id = skep_btf_find(ours, wanted[i][0], BTF_KIND_STRUCT);
		if (id < 0 || !find_member(ours, skep_btf_type(ours, (uint32_t)id), wanted[i][1], 0,
					   &off, &bits, &type))
			fail_msg("%s.%s is not there", wanted[i][0], wanted[i][1]);
	}
	if (!kernel_there())
		return;
	union bpf_attr attr;
	memset(&attr, 0, sizeof(attr));
	attr.btf = (uintptr_t)ours->data;
	attr.btf_size = ours->data_size;
	long fd = kernel_bpf(BPF_BTF_LOAD, &attr, sizeof(attr));
	assert_true(fd >= 0);
	close((int)fd);
	print_message("%u types in %u bytes, which the kernel takes\n", ours->ntypes,
		      ours->data_size);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_presented),
		cmocka_unit_test(test_structs),
		cmocka_unit_test(test_enums),
		cmocka_unit_test(test_installed),
	};
	return cmocka_run_group_tests_name("uapi", tests, open_both, close_both);
}
