/* SPDX-License-Identifier: Apache-2.0 */
/* TEST_RUN of programs on socket buffers. */
#include <errno.h>
#include <net/if.h>
#include <stdlib.h>
#include <string.h>

#include "helper/packet.h"
#include "prog/skb.h"
#include "prog/test_run.h"

#define ROOM      (MAX_PACKET + 256u) /* before and after: what helpers may add */
#define MIN_FRAME 14u
#define HEADROOM  64u
#define MAX_WIRE  65536u
#define MAX_SEGS  65535u
#define LOOPBACK  1u
#define HOST      0u /* skb->pkt_type */
#define BROADCAST 1u
#define MULTICAST 2u
#define OTHERHOST 3u

static bool is_zero(const struct __sk_buff *ctx, size_t from, size_t to)
{
	const uint8_t *p = (const uint8_t *)ctx;

	for (; from < to; from++) {
		if (p[from])
			return false;
	}
	return true;
}

#define FROM(field) offsetof(struct __sk_buff, field)
#define END(field)  (FROM(field) + sizeof(((struct __sk_buff *)0)->field))

/* Only some fields may be given; the others are 0. */
static bool fields_ok(const struct __sk_buff *c)
{
	return is_zero(c, 0, FROM(mark)) && is_zero(c, END(mark), FROM(priority)) &&
	       is_zero(c, END(ifindex), FROM(cb)) && is_zero(c, END(cb), FROM(tstamp)) &&
	       is_zero(c, END(gso_segs), FROM(gso_size)) &&
	       is_zero(c, END(gso_size), FROM(hwtstamp)) && is_zero(c, END(hwtstamp), sizeof(*c));
}

static int ctx_to_skb(struct skep_skb *skb, const struct __sk_buff *c)
{
	if (!fields_ok(c))
		return -EINVAL;
	skb->mark = c->mark;
	skb->priority = c->priority;
	skb->ingress_ifindex = c->ingress_ifindex;
	skb->tstamp = c->tstamp;
	memcpy(skb->cb, c->cb, sizeof(skb->cb));
	if (c->wire_len) {
		if (c->wire_len < skb->len || c->wire_len > MAX_WIRE)
			return -EINVAL;
		skb->wire_len = c->wire_len;
	}
	if (c->gso_segs > MAX_SEGS)
		return -EINVAL;
	skb->gso_segs = (uint16_t)c->gso_segs;
	skb->gso_size = (uint16_t)c->gso_size;
	skb->hwtstamp = c->hwtstamp;
	return 0;
}

static void skb_to_ctx(struct __sk_buff *c, const struct skep_skb *skb)
{
	c->mark = skb->mark;
	c->priority = skb->priority;
	c->ingress_ifindex = skb->ingress_ifindex;
	c->ifindex = skb->ifindex;
	c->tstamp = skb->tstamp;
	memcpy(c->cb, skb->cb, sizeof(c->cb));
	c->wire_len = skb->wire_len;
	c->gso_segs = skb->gso_segs;
	c->hwtstamp = skb->hwtstamp;
}

/* The address decides, as on the loopback device, whose own one is all zeros. */
static uint8_t packet_type(const uint8_t *dst)
{
	static const uint8_t zeros[6], ones[6] = {255, 255, 255, 255, 255, 255};

	if (!memcmp(dst, zeros, sizeof(zeros)))
		return HOST;
	if (!memcmp(dst, ones, sizeof(ones)))
		return BROADCAST;
	return dst[0] & 1 ? MULTICAST : OTHERHOST;
}

#define AF_INET_  2
#define AF_INET6_ 10

/* What a socket that the packet is for would say of itself. */
static void socket_fields(struct skep_skb *skb)
{
	const uint8_t *ip = skb->net;

	if (skb->protocol == PROTO_IP) {
		skb->family = AF_INET_;
		memcpy(&skb->local_ip4, ip + 12, 4);
		memcpy(&skb->remote_ip4, ip + 16, 4);
	} else if (skb->protocol == PROTO_IPV6) {
		skb->family = AF_INET6_;
		memcpy(skb->local_ip6, ip + 8, 16);
		memcpy(skb->remote_ip6, ip + 24, 16);
	}
}

/* A packet that says it is IP has at least the header. */
static bool long_enough(const struct skep_skb *skb)
{
	size_t left = (size_t)(skb->data_end - skb->net);

	if (skb->protocol == PROTO_IP)
		return left >= 20;
	return skb->protocol != PROTO_IPV6 || left >= 40;
}

static int make_skb(struct skep_skb *skb, uint8_t *buf, const union bpf_attr *attr,
		    const struct __sk_buff *c, bool l2)
{
	uint32_t size = attr->test.data_size_in;
	char name[IF_NAMESIZE];
	int err;

	err = skep_test_copy_in(buf + ROOM, attr->test.data_in, size);
	if (err)
		return err;
	skep_skb_init(skb, buf, 2 * ROOM + size, buf + ROOM, size, l2);
	skb->pkt_type = packet_type(skb->mac);
	skb->own = true;
	skb->ifindex = c->ifindex > LOOPBACK ? c->ifindex : LOOPBACK;
	if (c->ifindex > LOOPBACK && !if_indextoname(c->ifindex, name))
		return -ENODEV;
	if (!long_enough(skb))
		return -EINVAL;
	socket_fields(skb);
	err = ctx_to_skb(skb, c);
	if (err)
		return err;
	if (attr->test.flags & BPF_F_TEST_SKB_CHECKSUM_COMPLETE) {
		skb->ip_summed = CHECKSUM_COMPLETE;
		skb->csum = skep_csum(skb->net, (uint32_t)(skb->data_end - skb->net), 0);
	}
	return 0;
}

/* Programs that see no link layer header get one of zeros before the packet goes back. */
static int finish(const union bpf_attr *attr, union bpf_attr *uattr, struct skep_skb *skb, bool l2,
		  uint32_t retval, uint32_t duration)
{
	uint32_t sum;

	if (!l2) {
		skb->data -= MIN_FRAME;
		memset(skb->data, 0, MIN_FRAME);
		skb->len += MIN_FRAME;
	}
	if (attr->test.flags & BPF_F_TEST_SKB_CHECKSUM_COMPLETE) {
		sum = skep_csum(skb->net, (uint32_t)(skb->data_end - skb->net), 0);
		if (csum_fold16(sum) != csum_fold16(skb->csum))
			return -EBADMSG;
	}
	return skep_test_finish(attr, uattr, skb->data, skb->len, 0, retval, duration);
}

int skep_test_run_skb(struct skep_prog *prog, const union bpf_attr *attr, union bpf_attr *uattr)
{
	bool l2 = prog->type == BPF_PROG_TYPE_SCHED_CLS || prog->type == BPF_PROG_TYPE_SCHED_ACT;
	uint32_t size = attr->test.data_size_in, retval, duration;
	struct skep_session s;
	struct skep_skb skb;
	struct __sk_buff ctx;
	bool used;
	uint8_t *buf;
	int err;

	if (attr->test.flags & ~BPF_F_TEST_SKB_CHECKSUM_COMPLETE || attr->test.cpu ||
	    attr->test.batch_size)
		return -EINVAL;
	if (size < MIN_FRAME || size > SKEP_TEST_PAGE - HEADROOM - SKEP_TEST_TAILROOM)
		return -EINVAL;
	err = skep_test_ctx_in(attr, &ctx, sizeof(ctx), &used);
	if (err)
		return err;
	buf = calloc(1, 2 * ROOM + size);
	if (!buf)
		return -ENOMEM;
	err = make_skb(&skb, buf, attr, &ctx, l2);
	if (!err)
		err = skep_session_open(&s, prog);
	if (err)
		goto out;
	skep_session_show(&s, &skb, sizeof(skb), SKEP_REGION_READ | SKEP_REGION_WRITE);
	skep_session_show(&s, skb.data, skb.len, SKEP_REGION_READ | SKEP_REGION_WRITE);
	retval = skep_test_repeat(&s, attr, &skb, NULL, 0, &duration);
	skep_session_close(&s);
	skb_to_ctx(&ctx, &skb);
	err = finish(attr, uattr, &skb, l2, retval, duration);
	if (!err)
		err = skep_test_ctx_out(attr, uattr, &ctx, sizeof(ctx), used);
out:
	free(buf);
	return err;
}
