// SPDX-License-Identifier: Apache-2.0
/* Attaching to the interface A by link and by netlink, well and badly: says each result, which must be the
 * same on the kernel and on a port of an instance. */
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <linux/if_link.h>
#include <net/if.h>
#include <stdio.h>
#include <unistd.h>

#define TCX_INGRESS 46 /* newer than the header */
#define SKB         XDP_FLAGS_SKB_MODE

static int load(enum bpf_prog_type type)
{
	const struct bpf_insn pass[] = {{.code = BPF_ALU64 | BPF_MOV, .imm = XDP_PASS},
					{.code = BPF_JMP | BPF_EXIT}};

	return bpf_prog_load(type, "p", "GPL", pass, 2, NULL);
}

static long say(const char *what, long result)
{
	printf("%s: %ld\n", what, result < 0 ? result : 0);
	return result;
}

static void about(int link, int ifindex)
{
	struct bpf_link_info info = {0};
	__u32 len = sizeof(info);

	say("info", bpf_obj_get_info_by_fd(link, &info, &len));
	printf("type %u, %s\n", info.type,
	       (int)info.xdp.ifindex == ifindex ? "here"
	       : info.xdp.ifindex               ? "elsewhere"
						: "gone");
}

static void netlink(int a, int p, int q, int cls)
{
	LIBBPF_OPTS(bpf_xdp_attach_opts, was_q, .old_prog_fd = q);
	LIBBPF_OPTS(bpf_xdp_attach_opts, was_p, .old_prog_fd = p);
	LIBBPF_OPTS(bpf_link_create_opts, lo, .flags = SKB);

	say("wrong type", bpf_xdp_attach(a, cls, SKB, NULL));
	say("closed", bpf_xdp_attach(a, 999, SKB, NULL));
	say("no interface", bpf_xdp_attach(9999, p, SKB, NULL));
	say("nothing to detach", bpf_xdp_detach(a, SKB, NULL));
	say("attach", bpf_xdp_attach(a, p, SKB, NULL));
	say("only if none", bpf_xdp_attach(a, q, SKB | XDP_FLAGS_UPDATE_IF_NOEXIST, NULL));
	say("another was there", bpf_xdp_attach(a, q, SKB, &was_q));
	say("this was there", bpf_xdp_attach(a, q, SKB, &was_p));
	say("two modes", bpf_xdp_attach(a, q, SKB | XDP_FLAGS_HW_MODE, NULL));
	say("unknown flag", bpf_xdp_attach(a, q, 1 << 10, NULL));
	say("link beside it", bpf_link_create(p, a, BPF_XDP, &lo));
	say("detach", bpf_xdp_detach(a, SKB, NULL));
}

static void links(int a, int p, int q, int cls)
{
	LIBBPF_OPTS(bpf_link_create_opts, lo, .flags = XDP_FLAGS_REPLACE);
	LIBBPF_OPTS(bpf_link_update_opts, plain);
	LIBBPF_OPTS(bpf_link_update_opts, was_p, .flags = BPF_F_REPLACE, .old_prog_fd = p);
	LIBBPF_OPTS(bpf_link_update_opts, was_q, .flags = BPF_F_REPLACE, .old_prog_fd = q);
	int link, second;

	say("link replaces", bpf_link_create(p, a, BPF_XDP, &lo));
	lo.flags = SKB | XDP_FLAGS_DRV_MODE;
	say("link of two modes", bpf_link_create(p, a, BPF_XDP, &lo));
	lo.flags = SKB;
	say("link of wrong type", bpf_link_create(cls, a, BPF_XDP, &lo));
	say("link to no interface", bpf_link_create(p, 9999, BPF_XDP, &lo));
	link = (int)say("link", bpf_link_create(p, a, BPF_XDP, &lo));
	say("second link", bpf_link_create(p, a, BPF_XDP, &lo));
	say("netlink beside it", bpf_xdp_attach(a, q, SKB, NULL));
	say("netlink detaches it", bpf_xdp_detach(a, SKB, NULL));
	about(link, a);
	say("update", bpf_link_update(link, q, &plain));
	say("update, wrong type", bpf_link_update(link, cls, &plain));
	say("update, another was there", bpf_link_update(link, p, &was_p));
	say("update, this was there", bpf_link_update(link, p, &was_q));
	say("detach", bpf_link_detach(link));
	about(link, a);
	say("update of none", bpf_link_update(link, q, NULL));
	second = (int)say("link again", bpf_link_create(p, a, BPF_XDP, &lo));
	close(second);
	usleep(100000);
	second = (int)say("link after a close", bpf_link_create(q, a, BPF_XDP, &lo));
	close(second);
	close(link);
	usleep(100000);
	link = (int)say("tcx", bpf_link_create(cls, a, TCX_INGRESS, NULL));
	say("tcx, wrong type", bpf_link_create(p, a, TCX_INGRESS, NULL));
	say("tcx, no interface", bpf_link_create(cls, 9999, TCX_INGRESS, NULL));
	about(link, a);
	say("detach", bpf_link_detach(link));
}

int main(void)
{
	int a = (int)if_nametoindex("A"), p = load(BPF_PROG_TYPE_XDP), q = load(BPF_PROG_TYPE_XDP);
	int cls = load(BPF_PROG_TYPE_SCHED_CLS);

	if (!a || p < 0 || q < 0 || cls < 0)
		return 2;
	libbpf_set_print(NULL);
	netlink(a, p, q, cls);
	links(a, p, q, cls);
	return 0;
}
