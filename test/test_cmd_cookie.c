/* SPDX-License-Identifier: Apache-2.0 */
/*
 * SYN cookies without a socket, and the limits of devices, as a program written in C uses them: on
 * both runtimes the same counts.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "cmd.h"

static int ran;

/* Each SYN is answered with a cookie, becomes the ACK that brings it back, then a forged one. */
static const char source[] =
	"#include <linux/bpf.h>\n#include <linux/ip.h>\n#include <linux/ipv6.h>\n#include "
	"<linux/tcp.h>\n"
	"#include <bpf/bpf_helpers.h>\n#include <bpf/bpf_endian.h>\n"
	"struct { __uint(type, BPF_MAP_TYPE_HASH); __uint(max_entries, 64);\n"
	"	__type(key, char[16]); __type(value, __s64); } said SEC(\".maps\");\n"
	"static void say(const char *what, __s64 value)\n"
	"{ char key[16] = \"\"; __builtin_memcpy(key, what, 8);\n"
	"  bpf_map_update_elem(&said, key, &value, BPF_ANY); }\n"
	"#define FAMILY(n, header, mss) static int cookies##n(struct xdp_md *ctx)\\\n"
	"{\\\n"
	"	struct header *ip = (void *)(long)ctx->data + 14;\\\n"
	"	struct tcphdr *th = (void *)(ip + 1);\\\n"
	"	__u64 cookie; __u8 *opt = (void *)(th + 1);\\\n"
	"	if ((void *)th + 24 > (void *)(long)ctx->data_end) return XDP_DROP;\\\n"
	"	opt[0] = 2; opt[1] = 4; opt[2] = (mss) >> 8; opt[3] = (mss) & 255;\\\n"
	"	th->doff = 6;\\\n"
	"	say(\"short\" #n \"  \", bpf_tcp_raw_gen_syncookie_ipv##n(ip, th, 16));\\\n"
	"	say(\"length\" #n \" \", bpf_tcp_raw_gen_syncookie_ipv##n(ip, th, 20));\\\n"
	"	cookie = bpf_tcp_raw_gen_syncookie_ipv##n(ip, th, 24);\\\n"
	"	say(\"size\" #n \"   \", cookie >> 32);\\\n"
	"	th->seq = bpf_htonl(bpf_ntohl(th->seq) + 1);\\\n"
	"	th->ack_seq = bpf_htonl((__u32)cookie + 1); th->syn = 0; th->ack = 1;\\\n"
	"	say(\"good\" #n \"   \", bpf_tcp_raw_check_syncookie_ipv##n(ip, th));\\\n"
	"	th->ack_seq ^= bpf_htonl(1 << 30);\\\n"
	"	say(\"forged\" #n \" \", bpf_tcp_raw_check_syncookie_ipv##n(ip, th));\\\n"
	"	th->ack_seq ^= bpf_htonl(1 << 30); th->source ^= 1;\\\n"
	"	say(\"port\" #n \"   \", bpf_tcp_raw_check_syncookie_ipv##n(ip, th));\\\n"
	"	return XDP_PASS;\\\n"
	"}\n"
	"FAMILY(4, iphdr, MSS) FAMILY(6, ipv6hdr, MSS)\n"
	"SEC(\"xdp\") int cookies(struct xdp_md *ctx)\n"
	"{\n"
	"	struct bpf_fib_lookup f = {.family = 2, .ifindex = 999999};\n"
	"	__u32 len = 100;\n"
	"	say(\"nodev   \", bpf_check_mtu(ctx, 999999, &len, 0, 0));\n"
	"	say(\"mtu     \", bpf_check_mtu(ctx, 1, &len, 0, 0)); say(\"mtu_len \", len);\n"
	"	say(\"far     \", bpf_check_mtu(ctx, 1, &len, 100000, 0));\n"
	"	say(\"fibdev  \", bpf_fib_lookup(ctx, &f, sizeof(f), 0));\n"
	"	say(\"fibsize \", bpf_fib_lookup(ctx, &f, 8, 0));\n"
	"	say(\"fibflag \", bpf_fib_lookup(ctx, &f, sizeof(f), 1 << 20));\n"
	"	f.family = 77;\n"
	"	say(\"fibfam  \", bpf_fib_lookup(ctx, &f, sizeof(f), 0));\n"
	"	say(\"signal  \", bpf_send_signal(1000));\n"
	"	say(\"signal0 \", bpf_send_signal_thread(0));\n"
	"	cookies4(ctx);\n"
	"	return cookies6(ctx);\n"
	"}\n"
	"char _license[] SEC(\"license\") = \"GPL\";\n";

static void cookies(void **state)
{
	static const int sizes[] = {100, 536, 1299, 1300, 1440, 1460, 9000};
	struct frames *f = frames_open("syn.pcap");
	uint8_t frame[120] = {0};
	const char *capture;

	for (size_t i = 0; i < sizeof(frame); i++)
		frame[i] = (uint8_t)(i * 37);
	frame[12] = 8;
	frame[13] = 0;
	frames_add(f, frame, sizeof(frame), 0);
	capture = frames_close(f);
	for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		char text[sizeof(source) + 32], *said[2] = {NULL, NULL};

		snprintf(text, sizeof(text), "#define MSS %d\n%s", sizes[i], source);
		for (int kernel = 0; kernel <= cmd_kernel(); kernel++) {
			const struct cmd_result *r =
				skep_cmd("run --runtime %s --capture %s -m said %s",
					 kernel ? "kernel" : "user", capture,
					 cmd_text("cookie.bpf.c", text));
			const char *maps = strstr(r->out, "said");

			assert_int_equal(r->status, 0);
			assert_non_null(maps);
			said[kernel] = strdup(maps);
		}
		if (said[1])
			assert_string_equal(said[0], said[1]);
		assert_non_null(strstr(said[0], "good4"));
		free(said[0]);
		free(said[1]);
		ran++;
	}
}

static int teardown(void **state)
{
	printf("ran: cmd_cookie %d\n", ran);
	cmd_cleanup();
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(cookies)};

	return cmocka_run_group_tests(tests, NULL, teardown);
}
