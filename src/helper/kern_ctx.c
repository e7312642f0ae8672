/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The kernel's own contexts, as programs see them after bpf_cast_to_kern_ctx: copies of the
 * internal context, laid out as skep's BTF describes them. A copy is as it was at the
 * cast; the next cast makes it anew. There are no devices and sockets to point to: NULL.
 */
#include "helper/kern_ctx.h"
#include "helper/kfn.h"

#include <stdlib.h>
#include <string.h>

#include "bpf/instance.h"
#include "prog/type.h"

struct views {
	struct skep_view_skb skb;
	struct skep_view_xdp xdp;
	struct skep_view_rxq rxq;
};

static struct views *views_of(struct skep_env *env)
{
	if (!env->scratch)
		env->scratch = calloc(1, sizeof(struct views));
	return env->scratch;
}

static uint64_t view_skb(struct views *v, const struct skep_skb *skb)
{
	struct skep_view_skb *o = &v->skb;
	const uint8_t *head = skb->hard_start;

	memset(o, 0, sizeof(*o));
	o->tstamp = (int64_t)skb->tstamp;
	/* What is before the program's five words: length, and the class. */
	memcpy(o->cb, &skb->len, sizeof(skb->len));
	memcpy(o->cb + 6, &skb->tc_classid, sizeof(skb->tc_classid));
	memcpy(o->cb + 8, skb->cb, sizeof(skb->cb));
	o->len = skb->len;
	o->mac_len = (uint16_t)skb->mac_len;
	o->queue_mapping = skb->queue_mapping;
	o->pkt_type = skb->pkt_type & 7;
	o->ip_summed = skb->ip_summed & 3;
	o->vlan_present = skb->vlan_present != 0;
	o->csum = skb->csum;
	o->priority = skb->priority;
	o->skb_iif = (int32_t)skb->ingress_ifindex;
	o->hash = skb->hash;
	o->vlan_proto = skb->vlan_proto;
	o->vlan_tci = skb->vlan_tci;
	o->mark = skb->mark;
	o->protocol = skb->protocol;
	o->head = skb->hard_start;
	o->data = skb->data;
	if (head && skb->mac)
		o->mac_header = (uint16_t)(skb->mac - head);
	if (head && skb->net)
		o->network_header = (uint16_t)(skb->net - head);
	o->tail = (uint32_t)(skb->data_end - head);
	o->end = (uint32_t)(skb->hard_end - head);
	return ADDR(o);
}

static uint64_t view_xdp(struct views *v, const struct skep_xdp *xdp)
{
	struct skep_view_xdp *o = &v->xdp;

	v->rxq = (struct skep_view_rxq){.queue_index = xdp->rx_queue_index};
	*o = (struct skep_view_xdp){
		.data = xdp->data,
		.data_end = xdp->data_end,
		.data_meta = xdp->data_meta,
		.data_hard_start = xdp->hard_start,
		.rxq = &v->rxq,
		.frame_sz = (uint32_t)(xdp->hard_end - xdp->hard_start),
	};
	return ADDR(o);
}

KFUNC(bpf_cast_to_kern_ctx)
{
	struct views *v = views_of(env);

	(void)r2, (void)r3, (void)r4, (void)r5;
	if (!v)
		return 0; /* loads give 0 */
	return env->prog->type == BPF_PROG_TYPE_XDP ? view_xdp(v, PTR(r1)) : view_skb(v, PTR(r1));
}
