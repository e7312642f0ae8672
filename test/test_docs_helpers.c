/* SPDX-License-Identifier: Apache-2.0 */
/*
 * docs/helpers.md says what the tables say: it is made from them, here.
 * SKEP_WRITE_DOCS=1 writes it anew; else it is compared.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "helper/helper.h"
#include "prog/type.h"

#define PAGE "docs/helpers.md"

/* What falls short of Linux, by helper. */
static const struct {
	uint32_t id;
	const char *text;
} notes[] = {
	{BPF_FUNC_setsockopt, "verified; nothing here runs such programs"},
	{BPF_FUNC_getsockopt, "verified; nothing here runs such programs"},
	{BPF_FUNC_sock_ops_cb_flags_set, "verified; nothing here runs such programs"},
	{BPF_FUNC_load_hdr_opt, "verified; nothing here runs such programs"},
	{BPF_FUNC_store_hdr_opt, "verified; nothing here runs such programs"},
	{BPF_FUNC_reserve_hdr_opt, "verified; nothing here runs such programs"},
	{BPF_FUNC_msg_apply_bytes, "verified; nothing here runs such programs"},
	{BPF_FUNC_msg_cork_bytes, "verified; nothing here runs such programs"},
	{BPF_FUNC_msg_pull_data, "verified; nothing here runs such programs"},
	{BPF_FUNC_msg_push_data, "verified; nothing here runs such programs"},
	{BPF_FUNC_msg_pop_data, "verified; nothing here runs such programs"},
	{BPF_FUNC_sysctl_get_name, "verified; nothing here runs such programs"},
	{BPF_FUNC_sysctl_get_current_value, "verified; nothing here runs such programs"},
	{BPF_FUNC_sysctl_get_new_value, "verified; nothing here runs such programs"},
	{BPF_FUNC_sysctl_set_new_value, "verified; nothing here runs such programs"},
	{BPF_FUNC_get_retval, "verified; nothing here runs such programs"},
	{BPF_FUNC_set_retval, "verified; nothing here runs such programs"},
	{BPF_FUNC_perf_prog_read_value, "verified; nothing here runs such programs"},
	{BPF_FUNC_read_branch_records, "verified; nothing here runs such programs"},
	{BPF_FUNC_lwt_push_encap, "-EINVAL: no packet has a route into a tunnel"},
	{BPF_FUNC_lwt_seg6_store_bytes, "as lwt_push_encap"},
	{BPF_FUNC_lwt_seg6_adjust_srh, "as lwt_push_encap"},
	{BPF_FUNC_lwt_seg6_action, "-EBADMSG: no packet has a segment routing header of its route"},
	{BPF_FUNC_skb_cgroup_id, "0 but in TEST_RUN: packets have no socket"},
	{BPF_FUNC_skb_ancestor_cgroup_id, "as skb_cgroup_id"},
	{BPF_FUNC_skb_cgroup_classid, "0: packets have no socket"},
	{BPF_FUNC_skb_get_xfrm_state, "-EINVAL: no packet came out of IPsec"},
	{BPF_FUNC_fib_lookup,
	 "an instance has no routes: FWD_DISABLED, with BPF_FIB_LOOKUP_OUTPUT NOT_FWDED"},
	{BPF_FUNC_sk_assign, "never reached: no socket is found"},
	{BPF_FUNC_tcp_raw_gen_syncookie_ipv4, "the secret is the process's own"},
	{BPF_FUNC_tcp_raw_gen_syncookie_ipv6, "the secret is the process's own"},
	{BPF_FUNC_get_current_cgroup_id,
	 "of version 2; 0 where that is not mounted and the task is not in its root"},
	{BPF_FUNC_get_current_ancestor_cgroup_id, "as get_current_cgroup_id"},
	{BPF_FUNC_skb_get_tunnel_key, "packets come without one: reads what a program set"},
	{BPF_FUNC_get_smp_processor_id,
	 "a CPU is a slot that a thread holds while the program runs"},
	{BPF_FUNC_get_numa_node_id, "always 0: slots belong to no node"},
	{BPF_FUNC_probe_read, "this process's memory; 'user' and 'kernel' are the same"},
	{BPF_FUNC_probe_read_str, "as probe_read"},
	{BPF_FUNC_probe_read_user, "as probe_read"},
	{BPF_FUNC_probe_read_user_str, "as probe_read"},
	{BPF_FUNC_probe_read_kernel, "as probe_read"},
	{BPF_FUNC_probe_read_kernel_str, "as probe_read"},
	{BPF_FUNC_copy_from_user, "as probe_read"},
	{BPF_FUNC_trace_printk, "text goes to the instance's printk callback; %p and %pK print the "
				"address, %ps, %pS and %pB never know a symbol"},
	{BPF_FUNC_trace_vprintk, "as trace_printk"},
	{BPF_FUNC_snprintf, "%p and %pK print the address, %ps, %pS and %pB never know a symbol"},
	{BPF_FUNC_get_hash_recalc, "another hash function; addresses, ports and protocol count"},
	{BPF_FUNC_get_cgroup_classid, "0: packets have no socket; only with a packet as context"},
	{BPF_FUNC_get_route_realm, "0: packets have no route"},
	{BPF_FUNC_get_socket_cookie,
	 "0: packets have no socket; only with a packet or the program's context"},
	{BPF_FUNC_get_socket_uid, "65534: packets have no socket"},
	{BPF_FUNC_get_netns_cookie, "always 1: an instance is one namespace"},
	{BPF_FUNC_sk_lookup_tcp, "NULL: an instance has no sockets"},
	{BPF_FUNC_sk_lookup_udp, "NULL: an instance has no sockets"},
	{BPF_FUNC_skc_lookup_tcp, "NULL: an instance has no sockets"},
	{BPF_FUNC_skc_to_tcp_sock, "NULL: an instance has no sockets"},
	{BPF_FUNC_xdp_get_buff_len, "not in syscall programs"},
	{BPF_FUNC_skb_pull_data, "packets are linear, so nothing moves"},
	{BPF_FUNC_clone_redirect,
	 "-EINVAL unless the data path has interfaces; not into one (BPF_F_INGRESS)"},
	{BPF_FUNC_redirect_peer, "noted for the data path, which has no namespaces to cross"},
	{BPF_FUNC_redirect_neigh, "noted for the data path, which has no neighbours"},
	{BPF_FUNC_per_cpu_ptr,
	 "of bpf_prog_active and cpu_number: a CPU is a slot that a thread holds"},
	{BPF_FUNC_this_cpu_ptr, "as per_cpu_ptr"},
	{BPF_FUNC_loop, "a count beyond 32 bits is -E2BIG, as where Linux inlines the call"},
	{BPF_FUNC_get_stack, "user stacks, in traced processes; -EFAULT elsewhere"},
	{BPF_FUNC_get_stackid, "as get_stack"},
	{BPF_FUNC_get_ns_current_pid_tgid, "only the calling process's own namespace"},
};

static char page[65536];
static size_t len;

static void put(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
static void put(const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	len += (size_t)vsnprintf(page + len, sizeof(page) - len, fmt, ap);
	va_end(ap);
	assert_true(len < sizeof(page));
}

static void put_types(uint64_t mask)
{
	uint32_t named = 0, in = 0, n = 0;

	for (uint32_t t = 0; t < skep_nprog_types; t++) {
		named += skep_prog_types[t].name != NULL;
		in += skep_prog_types[t].name && mask & 1ull << t;
	}
	if (in == named) {
		put("all");
		return;
	}
	if (named - in <= 3) {
		put("all but");
		mask = ~mask;
	}
	for (uint32_t t = 0; t < skep_nprog_types; t++) {
		if (skep_prog_types[t].name && mask & 1ull << t)
			put("%s%s",
			    n++               ? ", "
			    : named - in <= 3 ? " "
					      : "",
			    skep_prog_types[t].name);
	}
}

static const char *note(uint32_t id)
{
	for (size_t i = 0; i < sizeof(notes) / sizeof(notes[0]); i++) {
		if (notes[i].id == id)
			return notes[i].text;
	}
	return "";
}

static void put_helpers(void)
{
	put("# Helpers\n\n"
	    "Made from the tables `src/helper/table.c` and `src/prog/table.c` by\n"
	    "`SKEP_WRITE_DOCS=1 test_docs_helpers`; do not edit.\n\n"
	    "Arguments, results and errors are those of Linux 6.18 (`man 7 bpf-helpers`), compared "
	    "with\n"
	    "the running kernel by `test_helper`, `test_helper_packet` and `test_helper_text`. The "
	    "last\n"
	    "column says what falls short of it.\n\n"
	    "| Helper | Program types | GPL only | Falls short |\n"
	    "| --- | --- | --- | --- |\n");
	for (uint32_t id = 1; id < __BPF_FUNC_MAX_ID; id++) {
		const struct skep_helper *row = &skep_helpers[id];

		if (!row->name)
			continue;
		put("| `bpf_%s` | ", row->name);
		put_types(row->progs);
		put(" | %s | %s |\n", row->flags & SKEP_HELPER_GPL ? "yes" : "", note(id));
	}
}

static void put_missing(void)
{
	size_t line = 0;

	put("\nA program that calls one of these is refused, as on a kernel that lacks them:\n\n");
	for (uint32_t id = 1; id < __BPF_FUNC_MAX_ID; id++) {
		const char *name = skep_helper_name(id);

		if (skep_helpers[id].name)
			continue;
		if (line + strlen(name) + 2 > 98) {
			put("\n");
			line = 0;
		}
		put("%s%s", line ? " " : "", name);
		line += strlen(name) + 1;
	}
	put("\n");
}

static void put_types_table(void)
{
	put("\n# Program types\n\n"
	    "| Type | Context | Packet pointers | LD_ABS | Returns | TEST_RUN |\n"
	    "| --- | --- | --- | --- | --- | --- |\n");
	for (uint32_t t = 0; t < skep_nprog_types; t++) {
		const struct skep_prog_type *p = &skep_prog_types[t];

		if (!p->name)
			continue;
		put("| %s | %u bytes | %s | %s | ", p->name, p->ctx_size,
		    !p->direct_packet ? ""
		    : p->direct_write ? "read, write"
				      : "read",
		    p->ld_abs ? "yes" : "");
		if (p->ret_any)
			put("any");
		else
			put("%lld to %lld%s", (long long)p->ret_min, (long long)p->ret_max,
			    t == BPF_PROG_TYPE_CGROUP_SKB         ? " (egress: 3)"
			    : t == BPF_PROG_TYPE_CGROUP_SOCK_ADDR ? " (bind: 3, receiving and "
								    "names: 1 alone)"
								  : "");
		put(" | %s |\n", p->test_run ? "yes" : "");
	}
	put("\nPrograms without TEST_RUN and without a probe to attach to are only verified: "
	    "sockets, control\n"
	    "groups and the flow dissector are not there. Linux runs sk_lookup, flow_dissector "
	    "and\n"
	    "netfilter programs in TEST_RUN, skep answers 524. The two fields of netfilter's "
	    "context lead\nto structures of the kernel; loads of them are refused.\n");
	put("\nTEST_RUN takes what the kernel's takes and answers as it does, except: live frames\n"
	    "end with their verdict, since an instance has no network stack to pass them to.\n");
}

static void test_page(void **state)
{
	static char have[sizeof(page)];
	const char *write = getenv("SKEP_WRITE_DOCS");
	FILE *f;

	put_helpers();
	put_missing();
	put_types_table();
	f = fopen(PAGE, write ? "w" : "r");
	if (!f) {
		print_message("skipped: run from the root of the sources, where " PAGE " is\n");
		skip();
	}
	if (write)
		assert_int_equal(fwrite(page, 1, len, f), len);
	else
		have[fread(have, 1, sizeof(have) - 1, f)] = 0;
	fclose(f);
	if (!write)
		assert_string_equal(have, page);
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(test_page)};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
