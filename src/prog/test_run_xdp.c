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
#define MAX_FRAGS  17u
#define MAX_BATCH  256u
#define LIVE_STATE 112u /* what the kernel keeps beside a live frame */
#define LOOPBACK   1u
#define ETH_HEADER 14u

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

/* The caller's context says how much of the data is metadata, where the first part of the
 * frame ends, and where it comes from. */
static int check_ctx(const union bpf_attr *attr, const struct xdp_md *md)
{
	if (md->data_meta || md->data_end > attr->test.data_size_in || md->data > md->data_end)
		return -EINVAL;
	if (md->data % 4 || md->data > MAX_META)
		return -EINVAL;
	return is_live(attr) && (attr->test.data_out || attr->test.ctx_out) ? -EINVAL : 0;
}

static int take_interface(struct skep_xdp *xdp, const struct xdp_md *md)
{
	xdp->ingress_ifindex = LOOPBACK;
	if (md->egress_ifindex || (!md->ingress_ifindex && md->rx_queue_index))
		return -EINVAL;
	if (!md->ingress_ifindex)
		return 0;
	xdp->ingress_ifindex = md->ingress_ifindex;
	xdp->rx_queue_index = md->rx_queue_index;
	return check_queue(md->ingress_ifindex, md->rx_queue_index);
}

/* Lays the frame out: metadata and the first part in a page, the rest in fragments. buf has room
 * for any. 0 or -errno. */
static int lay_out(struct skep_xdp *xdp, uint8_t *buf, const union bpf_attr *attr,
		   const struct xdp_md *md)
{
	uint32_t size = attr->test.data_size_in, meta = md->data, max, linear;
	int err;

	max = SKEP_XDP_LINEAR + meta - (is_live(attr) ? LIVE_STATE : 0);
	/* A context that is only asked for is all zero, and so is the first part then. */
	linear = attr->test.ctx_in || attr->test.ctx_out ? md->data_end : size;
	linear = linear < max ? linear : max;
	if (is_live(attr) && size > linear)
		return -EINVAL;
	if (size - meta < ETH_HEADER)
		return -EINVAL;
	xdp->hard_start = buf + STRUCTURE;
	xdp->hard_end = buf + SKEP_TEST_PAGE - SKEP_TEST_TAILROOM;
	xdp->data_meta = buf + HEADROOM - meta;
	xdp->data = buf + HEADROOM;
	xdp->data_end = xdp->data_meta + linear;
	xdp->frags_size = size - linear;
	xdp->frags_end = xdp->data_end + MAX_FRAGS * SKEP_XDP_FRAG;
	err = skep_test_copy_in(xdp->data_meta, attr->test.data_in, linear);
	if (!err)
		err = take_interface(xdp, md);
	if (err)
		return err;
	/* Pages are filled one by one until there are too many. */
	linear = xdp->frags_size < MAX_FRAGS * SKEP_XDP_FRAG ? xdp->frags_size
							     : MAX_FRAGS * SKEP_XDP_FRAG;
	err = skep_test_copy_in(xdp->data_end, attr->test.data_in + (size - xdp->frags_size),
				linear);
	return !err && linear < xdp->frags_size ? -ENOMEM : err;
}

int skep_test_run_xdp(struct skep_prog *prog, const union bpf_attr *attr, union bpf_attr *uattr)
{
	struct skep_xdp xdp = {0}, fresh;
	uint32_t retval, duration;
	struct skep_session s;
	struct xdp_md md;
	bool used;
	uint8_t *buf;
	int err;

	err = check_attr(prog, attr);
	if (!err)
		err = skep_test_ctx_in(attr, &md, sizeof(md), &used);
	if (!err && used)
		err = check_ctx(attr, &md);
	if (err)
		return err;
	buf = calloc(1, SKEP_TEST_PAGE + (MAX_FRAGS + 1) * SKEP_XDP_FRAG);
	if (!buf)
		return -ENOMEM;
	err = lay_out(&xdp, buf, attr, &md);
	if (!err)
		err = skep_session_open(&s, prog);
	if (err)
		goto out;
	skep_session_show(&s, &xdp, sizeof(xdp), SKEP_REGION_READ);
	skep_session_show(&s, xdp.data_meta, (size_t)(xdp.data_end - xdp.data_meta),
			  SKEP_REGION_READ | SKEP_REGION_WRITE);
	fresh = xdp;
	retval = skep_test_repeat(&s, attr, &xdp, is_live(attr) ? &fresh : NULL, sizeof(fresh),
				  &duration);
	skep_session_close(&s);
	if (is_live(attr)) {
		xdp = fresh;
		retval = 0;
		err = skep_test_copy_in(xdp.data_meta, attr->test.data_in, attr->test.data_size_in);
		if (err)
			goto out;
	}
	md.data = (uint32_t)(xdp.data - xdp.data_meta);
	md.data_end = (uint32_t)(xdp.data_end - xdp.data_meta);
	err = skep_test_finish(attr, uattr, xdp.data_meta, md.data_end, xdp.frags_size, retval,
			       duration);
	if (!err)
		err = skep_test_ctx_out(attr, uattr, &md, sizeof(md), used);
out:
	free(buf);
	return err;
}
