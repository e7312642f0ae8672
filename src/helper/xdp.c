/* SPDX-License-Identifier: Apache-2.0 */
/* XDP frames: their ends, and bytes in them. */
#include <errno.h>

#include "helper/packet.h"

#define MAX_META 252 /* bytes of metadata before a frame */

/* Where what the program may touch begins: the metadata, unless there can be none. */
static uint8_t *start_of(const struct skep_xdp *xdp)
{
	return xdp->data_meta < xdp->data ? xdp->data_meta : xdp->data;
}

/* A driver without metadata has data_meta after data. */
static bool has_meta(const struct skep_xdp *xdp)
{
	return xdp->data_meta <= xdp->data;
}

HELPER(xdp_adjust_head)
{
	struct skep_xdp *xdp = PTR(r1);
	uint8_t *start = start_of(xdp);
	int64_t off = (int32_t)r2;
	int64_t meta = has_meta(xdp) ? xdp->data - xdp->data_meta : 0;

	if (xdp->data - xdp->hard_start + off < meta ||
	    xdp->data_end - xdp->data - off < (int64_t)ETH_HEADER)
		return ERR(EINVAL);
	if (meta)
		memmove(xdp->data_meta + off, xdp->data_meta, (size_t)meta);
	xdp->data_meta += off;
	xdp->data += off;
	skep_packet_moved(env, start, start_of(xdp), xdp->data_end);
	return 0;
}

/* The last fragment grows in its page. */
static int grow_frags(struct skep_xdp *xdp, uint32_t len)
{
	uint8_t *end = xdp->data_end + xdp->frags_size;
	uint32_t room = -xdp->frags_size % SKEP_XDP_FRAG;

	if (len > room || len > (size_t)(xdp->frags_end - end))
		return -EINVAL;
	memset(end, 0, len);
	xdp->frags_size += len;
	return 0;
}

/* Fragments go first, the last of them before the others. */
static int shrink_frags(struct skep_xdp *xdp, int32_t len)
{
	uint32_t gone = len > 0 ? (uint32_t)len : 0;

	if (len > (int32_t)(skep_xdp_len(xdp) - ETH_HEADER))
		return -EINVAL;
	if (gone > xdp->frags_size) {
		xdp->data_end -= gone - xdp->frags_size;
		gone = xdp->frags_size;
	}
	xdp->frags_size -= gone;
	return 0;
}

static int adjust_tail(struct skep_xdp *xdp, int64_t off)
{
	/* The least number stays negative when negated, and takes nothing, as in the kernel. */
	if (xdp->frags_size)
		return off < 0 ? shrink_frags(xdp, (int32_t)-off) : grow_frags(xdp, (uint32_t)off);
	if (off > xdp->hard_end - xdp->data_end ||
	    xdp->data_end - xdp->data + off < (int64_t)ETH_HEADER)
		return -EINVAL;
	if (off > 0)
		memset(xdp->data_end, 0, (size_t)off);
	xdp->data_end += off;
	return 0;
}

HELPER(xdp_adjust_tail)
{
	struct skep_xdp *xdp = PTR(r1);
	int err = adjust_tail(xdp, (int32_t)r2);

	if (!err)
		skep_packet_moved(env, start_of(xdp), start_of(xdp), xdp->data_end);
	return (uint64_t)(int64_t)err;
}

HELPER(xdp_adjust_meta)
{
	struct skep_xdp *xdp = PTR(r1);
	uint8_t *start = start_of(xdp);
	int64_t off = (int32_t)r2;
	int64_t len = xdp->data - xdp->data_meta - off;

	if (!has_meta(xdp))
		return ERR(SKEP_ENOTSUPP);
	if (len < 0 || len > xdp->data - xdp->hard_start)
		return ERR(EINVAL);
	if (len % 4 || len > MAX_META)
		return ERR(EACCES);
	xdp->data_meta += off;
	skep_packet_moved(env, start, start_of(xdp), xdp->data_end);
	return 0;
}

HELPER(xdp_get_buff_len)
{
	return skep_xdp_len(PTR(r1));
}

/* 0 if len bytes at off are the frame's. */
static int bytes_ok(const struct skep_xdp *xdp, uint32_t off, uint32_t len)
{
	if (off > MAX_OFFSET || len > MAX_OFFSET)
		return -EFAULT;
	return off + len > skep_xdp_len(xdp) ? -EINVAL : 0;
}

HELPER(xdp_load_bytes)
{
	const struct skep_xdp *xdp = PTR(r1);
	int err = bytes_ok(xdp, (uint32_t)r2, (uint32_t)r4);

	if (!err)
		memcpy(PTR(r3), xdp->data + (uint32_t)r2, (uint32_t)r4);
	return (uint64_t)(int64_t)err;
}

HELPER(xdp_store_bytes)
{
	struct skep_xdp *xdp = PTR(r1);
	int err = bytes_ok(xdp, (uint32_t)r2, (uint32_t)r4);

	if (!err)
		memmove(xdp->data + (uint32_t)r2, PTR(r3), (uint32_t)r4);
	return (uint64_t)(int64_t)err;
}
