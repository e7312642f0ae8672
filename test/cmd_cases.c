/* SPDX-License-Identifier: Apache-2.0 */
#include "cmd_cases.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

const char *const runtimes[2] = {"user", "kernel"};
static int ran, skipped;

bool cmd_usable(int i)
{
	if (i == 0 || cmd_kernel()) {
		ran++;
		return true;
	}
	skipped++;
	return false;
}

int cmd_finish(const char *name, int count)
{
	printf("ran: %s %d\n", name, count < 0 ? ran : count);
	if (skipped)
		printf("skipped %d runs on the kernel: no bpf(2) here\n", skipped);
	cmd_cleanup();
	return 0;
}

void says(const char *text, const char *what)
{
	if (!strstr(text, what))
		fail_msg("\"%s\" is missing in:\n%s", what, text);
}
void refuses(const struct cmd_result *r, const char *what)
{
	if (r->status != 1)
		fail_msg("status %d rather than 1; %s", r->status, r->err);
	says(r->err, what);
}
const char pass_source[] =
	"#include <linux/bpf.h>\n"
	"#include <bpf/bpf_helpers.h>\n"
	"struct { __uint(type, BPF_MAP_TYPE_PERCPU_ARRAY); __type(key, __u32); __type(value, "
	"__u64);\n"
	"	__uint(max_entries, 2); } percpu SEC(\".maps\");\n"
	"struct { __uint(type, BPF_MAP_TYPE_HASH); __type(key, __u32); __type(value, __u64);\n"
	"	__uint(max_entries, 8); } sizes SEC(\".maps\");\n"
	"SEC(\"xdp\") int all_pass(struct xdp_md *ctx)\n"
	"{\n"
	"	__u32 zero = 0, size = ctx->data_end - ctx->data;\n"
	"	__u64 one = 1, *n = bpf_map_lookup_elem(&percpu, &zero);\n"
	"	if (n) *n += 1;\n"
	"	n = bpf_map_lookup_elem(&sizes, &size);\n"
	"	if (n) *n += 1; else bpf_map_update_elem(&sizes, &size, &one, BPF_ANY);\n"
	"	return XDP_PASS;\n"
	"}\n"
	"SEC(\"xdp\") int all_drop(struct xdp_md *ctx) { return XDP_DROP; }\n"
	"SEC(\"socket\") int filter(struct __sk_buff *skb)\n"
	"{\n"
	"	__u8 first = 0;\n"
	"	bpf_skb_load_bytes(skb, 0, &first, 1);\n"
	"	return (skb->len == 60 || skb->len == 100) && first == 2 ? 0xffff : 0;\n"
	"}\n"
	"SEC(\"cgroup_skb/egress\") int cgroup(struct __sk_buff *skb) { return 1; }\n"
	"SEC(\"tracepoint/syscalls/sys_enter_write\") int on_write(void *ctx) { return 0; }\n"
	"char _license[] SEC(\"license\") = \"GPL\";\n";

const char bad_source[] = "#include <linux/bpf.h>\n"
			  "#include <bpf/bpf_helpers.h>\n"
			  "SEC(\"xdp\") int fine(struct xdp_md *ctx) { return XDP_PASS; }\n"
			  "SEC(\"xdp\") int unchecked(struct xdp_md *ctx)\n"
			  "{\n"
			  "	char *data = (void *)(long)ctx->data;\n"
			  "	return data[5];\n"
			  "}\n"
			  "char _license[] SEC(\"license\") = \"GPL\";\n";

const char *capture(void)
{
	static const char *path;
	uint8_t big[100] = {2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2, 8, 0};
	struct frames *f;

	if (path)
		return path;
	f = frames_open("ten.pcap");
	for (int i = 0; i < 7; i++)
		frames_ipv4(f, 17, 0x0a000001, 0x0a000002, 1, 2, 0);
	for (int i = 0; i < 3; i++)
		frames_add(f, big, sizeof(big), 1800000000000000123ull);
	path = frames_close(f);
	return path;
}

void *slurp(const char *path, size_t *len)
{
	FILE *f = fopen(path, "rb");
	char *p;

	assert_non_null(f);
	fseek(f, 0, SEEK_END);
	*len = (size_t)ftell(f);
	rewind(f);
	p = malloc(*len + 1);
	assert_non_null(p);
	assert_int_equal(fread(p, 1, *len, f), *len);
	p[*len] = 0;
	fclose(f);
	return p;
}

const char *object(const char *name, const char *source, const char *flags)
{
	const char *c = cmd_text("object.c", source), *o = cmd_path(name);
	char cmd[1024];

	snprintf(cmd, sizeof(cmd),
		 "clang -O2 -target bpf -idirafter /usr/include/$(uname -m)-linux-gnu %s -c %s -o "
		 "%s",
		 flags, c, o);
	assert_int_equal(system(cmd), 0);
	return o;
}
