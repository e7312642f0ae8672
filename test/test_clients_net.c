/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Clients that attach to a port of an instance (skep exec --port), in a network namespace of the
 * test's own: two veth pairs, far0-A and B-far1.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <fcntl.h>
#include <limits.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cmd.h"

static bool have_net;

static void write_file(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY);

	if (fd < 0)
		return;
	if (write(fd, text, strlen(text)) < 0)
		perror(path);
	close(fd);
}

static int setup(void **state)
{
	if (unshare(CLONE_NEWNET))
		return 0;
	write_file("/proc/sys/net/ipv6/conf/default/disable_ipv6", "1");
	have_net = !system("ip link add A type veth peer name far0 && "
			   "ip link add B type veth peer name far1 && "
			   "for i in A B far0 far1; do ip link set $i up || exit 1; done");
	return 0;
}

static void needs_net(void)
{
	if (have_net)
		return;
	print_message("skipped: root, ip and veth are needed\n");
	skip();
}

static const char *client(const char *name)
{
	static char path[PATH_MAX + 64];

	snprintf(path, sizeof(path), "%s/test/clients/%s", cmd_build(), name);
	return path;
}

static void test_traffic(void **state)
{
	const struct cmd_result *r;

	needs_net();
	r = skep_cmd("exec --port A,B -- %s", client("xdp_traffic"));
	if (r->status)
		print_error("exit %d\n%s%s", r->status, r->out, r->err);
	assert_int_equal(r->status, 0);
	/* Of the machine, the same fails: nothing is attached to A, and no wire joins A and B. */
	assert_int_not_equal(skep_cmd("exec -- %s", client("xdp_traffic"))->status, 0);
	print_message("ran: clients_net 1\n");
}

/* Each errno is the kernel's. */
static void test_errors(void **state)
{
	const char *theirs = cmd_path("errors");
	char line[2 * PATH_MAX];
	const struct cmd_result *r;
	FILE *diff;

	needs_net();
	r = skep_cmd("exec --port A,B -- %s", client("xdp_errors"));
	assert_int_equal(r->status, 0);
	assert_non_null(strstr(r->out, "tcx, no interface"));
	if (!cmd_kernel()) {
		print_message("skipped: no comparison with the kernel\n");
		skip();
	}
	snprintf(line, sizeof(line), "%s >%s && diff %s -", client("xdp_errors"), theirs, theirs);
	diff = popen(line, "w");
	assert_non_null(diff);
	fputs(r->out, diff);
	assert_int_equal(pclose(diff), 0);
	print_message("ran: clients_net 1\n");
}

/* bpftool and ip, which talk to the kernel by other calls than libbpf; other interfaces are the kernel's. */
static void test_tools(void **state)
{
	static const char text[] = "bpftool prog load $2 /sys/fs/bpf/p type xdp\n"
				   "bpftool net attach xdp pinned /sys/fs/bpf/p dev A\n"
				   "! bpftool net attach xdp pinned /sys/fs/bpf/p dev A\n"
				   "bpftool net attach xdp pinned /sys/fs/bpf/p dev A overwrite\n"
				   "bpftool net detach xdp dev A\n"
				   "bpftool net attach xdpgeneric pinned /sys/fs/bpf/p dev A\n"
				   "bpftool net detach xdpgeneric dev A\n"
				   "ip link set dev A xdpgeneric pinned /sys/fs/bpf/p\n"
				   "! ip link set dev A xdpgeneric pinned /sys/fs/bpf/p\n"
				   "ip -force link set dev A xdpgeneric pinned /sys/fs/bpf/p\n"
				   "ip link set dev A xdpgeneric off\n"
				   "! bpftool net attach xdp pinned /sys/fs/bpf/p dev far0\n"
				   "! ip link set dev far1 xdpgeneric pinned /sys/fs/bpf/p\n"
				   "ip link set dev far0 mtu 1400\n";
	const struct cmd_result *r;
	char object[PATH_MAX + 64];

	needs_net();
	if (system("command -v bpftool >/dev/null")) {
		print_message("skipped: bpftool is needed\n");
		skip();
	}
	snprintf(object, sizeof(object), "%s", cmd_path("pass.o"));
	r = skep_cmd("exec -- clang -O2 -g -target bpf -I/usr/include/x86_64-linux-gnu -c %s -o %s",
		     cmd_text("pass.bpf.c",
			      "#include <linux/bpf.h>\n#include <bpf/bpf_helpers.h>\n"
			      "SEC(\"xdp\") int pass(struct xdp_md *c) { return XDP_PASS; }\n"
			      "char l[] SEC(\"license\") = \"GPL\";\n"),
		     object);
	assert_int_equal(r->status, 0);
	r = skep_cmd("exec --port A,B -- sh -eu %s %s %s", cmd_text("tools.sh", text), cmd_dir(),
		     object);
	if (r->status)
		print_error("exit %d\n%s%s", r->status, r->out, r->err);
	assert_int_equal(r->status, 0);
	print_message("ran: clients_net 1\n");
}

static void test_refused(void **state)
{
	needs_net();
	assert_int_equal(skep_cmd("exec --port nowhere -- true")->status, 1);
	assert_int_equal(skep_cmd("exec --port A,A -- true")->status, 1);
	assert_int_equal(skep_cmd("exec --port A --port A -- true")->status, 1);
	assert_int_equal(skep_cmd("exec --port A -- true")->status, 0);
}

/* What can't be attached is said once, with the reason. */
static void test_reason(void **state)
{
	static const char text[] =
		"bpftool prog load $1 /sys/fs/bpf/p type xdp\n"
		"bpftool prog load $1 /sys/fs/bpf/c type cgroup/skb\n"
		"! bpftool cgroup attach /sys/fs/cgroup egress pinned /sys/fs/bpf/c\n"
		"! bpftool cgroup attach /sys/fs/cgroup egress pinned /sys/fs/bpf/c\n";
	const struct cmd_result *r;
	char object[PATH_MAX + 64];

	needs_net();
	if (system("command -v bpftool >/dev/null")) {
		print_message("skipped: bpftool is needed\n");
		skip();
	}
	snprintf(object, sizeof(object), "%s", cmd_path("allow.o"));
	r = skep_cmd("exec -- clang -O2 -g -target bpf -I/usr/include/x86_64-linux-gnu -c %s -o %s",
		     cmd_text("allow.bpf.c",
			      "#include <linux/bpf.h>\n#include <bpf/bpf_helpers.h>\n"
			      "SEC(\"cgroup/skb\") int allow(struct __sk_buff *s) { return 1; }\n"
			      "char l[] SEC(\"license\") = \"GPL\";\n"),
		     object);
	assert_int_equal(r->status, 0);
	r = skep_cmd("exec -- sh -eu %s %s", cmd_text("reason.sh", text), object);
	assert_int_equal(r->status, 0);
	const char *said = strstr(r->err, "skep: cgroups are the machine's");
	assert_non_null(said);
	assert_null(strstr(said + 1, "skep: cgroups"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_traffic), cmocka_unit_test(test_errors),
		cmocka_unit_test(test_tools),   cmocka_unit_test(test_refused),
		cmocka_unit_test(test_reason),
	};

	return cmocka_run_group_tests(tests, setup, cmd_teardown);
}
