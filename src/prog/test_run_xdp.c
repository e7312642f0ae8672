/* SPDX-License-Identifier: Apache-2.0 */
/* TEST_RUN of XDP programs. */
#include <errno.h>
#include <net/if.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "prog/test_run.h"

#define HEADROOM   256u /* before a frame, the kernel's own structure included */
#define STRUCTURE  40u /* of that: what adjust_head can't have */
#define MAX_META   (HEADROOM - STRUCTURE)
#define MAX_LINEAR (SKEP_TEST_PAGE - HEADROOM - SKEP_TEST_TAILROOM)
#define MAX_FRAGS  (17 * SKEP_TEST_PAGE)
#define MAX_BATCH  256u
#define LIVE_STATE 112u /* what the kernel keeps beside a live frame */
#define LOOPBACK   1u
#define MIN_FRAME  14u

/*
 * Live frames go where the program sends them, and the caller sees nothing of it: the result
 * is 0 and the data is what came in. An instance has neither a network stack nor
 * interfaces, so that whatever passes, or is sent or redirected, ends here.
 */
static bool is_live(const union bpf_attr *attr)
{
	return attr->test.flags & BPF_F_TEST_XDP_LIVE_FRAMES;
}

/* The flags and sizes that go together: 0 or -errno. */
static int check_attr(const struct skep_prog *prog, const union bpf_attr *attr)
{
	if (prog->attach_type == BPF_XDP_DEVMAP || prog->attach_type == BPF_XDP_CPUMAP)
		return -EINVAL;
	if (attr->test.flags & ~BPF_F_TEST_XDP_LIVE_FRAMES)
		return -EINVAL;
	if (is_live(attr))
		return attr->test.batch_size > MAX_BATCH ? -E2BIG : 0;
	return attr->test.batch_size ? -EINVAL : 0;
}

/* Whether the interface and its receive queue exist: 0 or -errno. */
static int check_queue(uint32_t ifindex, uint32_t queue)
{
	char name[IF_NAMESIZE], path[IF_NAMESIZE + 64];

	if (!if_indextoname(ifindex, name))
		return -ENODEV;
	snprintf(path, sizeof(path), "/sys/class/net/%s/queues/rx-%u", name, queue);
	return queue && access(path, F_OK) ? -EINVAL : 0;
}

/* The caller's context says how much of the data is metadata, where the linear part ends, and
 * where it comes from. */
static int check_ctx(const struct xdp_md *md, uint32_t size)
{
	if (md->data_meta || md->data_end > size || md->data > md->data_end)
		return -EINVAL;
	if (md->data % 4 || md->data > MAX_META)
		return -EINVAL;
	if (md->egress_ifindex || (!md->ingress_ifindex && md->rx_queue_index))
		return -EINVAL;
	return md->ingress_ifindex ? check_queue(md->ingress_ifindex, md->rx_queue_index) : 0;
}

int skep_test_run_xdp(struct skep_prog *prog, const union bpf_attr *attr, union bpf_attr *uattr)
{
	uint32_t size = attr->test.data_size_in, meta, linear, retval, duration;
	struct skep_session s;
	struct skep_xdp xdp = {.ingress_ifindex = LOOPBACK}, fresh;
	struct xdp_md md;
	bool used;
	uint8_t *buf;
	int err;

	err = check_attr(prog, attr);
	if (err)
		return err;
	err = skep_test_ctx_in(attr, &md, sizeof(md), &used);
	if (err)
		return err;
	if (attr->test.ctx_in) {
		err = check_ctx(&md, size);
		if (err)
			return err;
		xdp.ingress_ifindex = md.ingress_ifindex ? md.ingress_ifindex : LOOPBACK;
		xdp.rx_queue_index = md.rx_queue_index;
	}
	meta = md.data;
	/* A context that is only asked for is all zero, and so is the linear part then. */
	linear = used ? md.data_end : size;
	if (linear > MAX_LINEAR + meta)
		linear = MAX_LINEAR + meta;
	if (size < MIN_FRAME)
		return -EINVAL;
	if (is_live(attr) && (size > MAX_LINEAR - LIVE_STATE || size > linear))
		return -EINVAL;
	if (size - linear > MAX_FRAGS)
		return -ENOMEM;
	buf = calloc(1, 2 * SKEP_TEST_PAGE + MAX_FRAGS);
	if (!buf)
		return -ENOMEM;
	xdp.hard_start = buf + STRUCTURE;
	xdp.data_meta = buf + HEADROOM - meta;
	xdp.data = buf + HEADROOM;
	xdp.data_end = xdp.data_meta + linear;
	xdp.hard_end = buf + SKEP_TEST_PAGE - SKEP_TEST_TAILROOM;
	xdp.frags = size - linear;
	err = skep_test_copy_in(xdp.data_meta, attr->test.data_in, size);
	if (!err)
		err = skep_session_open(&s, prog);
	if (err)
		goto out;
	skep_session_show(&s, &xdp, sizeof(xdp), SKEP_REGION_READ);
	skep_session_show(&s, xdp.data_meta, linear, SKEP_REGION_READ | SKEP_REGION_WRITE);
	fresh = xdp;
	retval = skep_test_repeat(&s, attr, &xdp, is_live(attr) ? &fresh : NULL, sizeof(fresh),
				  &duration);
	skep_session_close(&s);
	if (is_live(attr)) {
		xdp = fresh;
		retval = 0;
		err = skep_test_copy_in(xdp.data_meta, attr->test.data_in, size);
		if (err)
			goto out;
	}
	md.data = (uint32_t)(xdp.data - xdp.data_meta);
	md.data_end = (uint32_t)(xdp.data_end - xdp.data_meta);
	err = skep_test_finish(attr, uattr, xdp.data_meta, md.data_end + xdp.frags, xdp.frags,
			       retval, duration);
	if (!err)
		err = skep_test_ctx_out(attr, uattr, &md, sizeof(md), used);
out:
	free(buf);
	return err;
}
