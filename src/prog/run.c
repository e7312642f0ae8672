/* SPDX-License-Identifier: Apache-2.0 */
/* Runners: a program over many packets in the caller's memory. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "map/map.h"
#include "prog/run.h"
#include "prog/skb.h"

struct skep_runner {
	struct skep_session session;
	/* Runs packets; NULL: the type takes none. */
	void (*packet)(struct skep_session *s, struct skep_packet *p, void *ctx);
	union {
		struct skep_xdp xdp;
		struct skep_skb skb;
	} ctx;
	int (*send)(void *arg, struct skep_packet *copy);
	void *send_arg;
};

#define RW (SKEP_REGION_READ | SKEP_REGION_WRITE)

static bool inside(const struct skep_packet *p)
{
	return p->off <= p->cap && p->len <= p->cap - p->off;
}

/* The program of a devmap's element, on a packet that is redirected to it. What it does not
 * pass is not sent: 0; else the target. */
static uint32_t run_egress(struct skep_session *s, struct skep_xdp *xdp,
			   const struct skep_prog *egress, uint32_t ifindex)
{
	if (!egress)
		return ifindex;
	xdp->egress_ifindex = ifindex;
	s->env->prog = egress;
	s->env->tail_calls = 0;
	return egress->run(xdp, s->env) == XDP_PASS ? ifindex : 0;
}

/* A copy of the packet out of one interface of a broadcast. */
static void send_copy(struct skep_session *s, const struct skep_xdp *xdp,
		      const struct skep_prog *egress, uint32_t ifindex)
{
	struct skep_runner *runner = s->env->clone_arg;
	uint32_t room = (uint32_t)(xdp->data - xdp->hard_start);
	struct skep_packet copy = {.cap = (uint32_t)(xdp->hard_end - xdp->hard_start),
				   .ifindex = xdp->ingress_ifindex};
	struct skep_xdp own = *xdp;

	copy.buf = runner && runner->send ? malloc(copy.cap) : NULL;
	if (!copy.buf)
		return;
	own.hard_start = copy.buf;
	own.hard_end = copy.buf + copy.cap;
	own.data = own.data_meta = copy.buf + room;
	own.data_end = own.data + (xdp->data_end - xdp->data);
	own.frags_end = own.hard_end;
	memcpy(own.data, xdp->data, skep_xdp_len(xdp));
	skep_session_show(s, &own, sizeof(own), RW);
	skep_session_show(s, copy.buf, copy.cap, RW);
	copy.out_ifindex = run_egress(s, &own, egress, ifindex);
	copy.off = (uint32_t)(own.data - copy.buf);
	copy.len = skep_xdp_len(&own);
	if (copy.out_ifindex)
		runner->send(runner->send_arg, &copy);
	if (s->checked) {
		skep_checker_remove(&s->checker, &own);
		skep_checker_remove(&s->checker, copy.buf);
	}
	free(copy.buf);
}

/* To all elements of a devmap: copies, and the packet itself to the last. */
static uint32_t broadcast(struct skep_session *s, struct skep_xdp *xdp)
{
	struct skep_redirect r = s->env->redirect;
	const struct skep_prog *egress = NULL;
	uint32_t key = 0, next, target = 0, ifindex, n = 0;

	while (n < r.map->max_entries && !r.map->ops->next_key(r.map, n ? &key : NULL, &next)) {
		key = next;
		n++;
		if (r.map->ops->redirect(r.map, key, &ifindex) ||
		    (r.flags & BPF_F_EXCLUDE_INGRESS && ifindex == xdp->ingress_ifindex))
			continue;
		if (target)
			send_copy(s, xdp, egress, target);
		target = ifindex;
		egress = skep_devmap_prog(r.map, key);
	}
	return target ? run_egress(s, xdp, egress, target) : 0;
}

/* Where a redirected packet goes: 0, nowhere. */
static uint32_t redirect_target(struct skep_session *s, struct skep_xdp *xdp)
{
	const struct skep_redirect *r = &s->env->redirect;

	if (r->kind == SKEP_REDIRECT_NONE)
		return 0;
	if (r->kind == SKEP_REDIRECT_MAP && r->flags & BPF_F_BROADCAST)
		return broadcast(s, xdp);
	return run_egress(s, xdp, r->kind == SKEP_REDIRECT_MAP ? r->egress : NULL, r->ifindex);
}

static void run_xdp(struct skep_session *s, struct skep_packet *p, void *ctx)
{
	struct skep_xdp *xdp = ctx;
	uint32_t verdict, linear = p->len;

	/* Who can do with fragments gets them, cut as the kernel does before generic XDP. */
	if (linear > SKEP_XDP_LINEAR && s->prog->xdp_frags)
		linear = SKEP_XDP_LINEAR;
	xdp->hard_start = p->buf;
	xdp->hard_end = p->buf + p->cap;
	xdp->data = xdp->data_meta = p->buf + p->off;
	xdp->data_end = xdp->data + linear;
	xdp->frags_size = p->len - linear;
	xdp->frags_end = xdp->hard_end;
	xdp->ingress_ifindex = p->ifindex;
	xdp->rx_queue_index = p->queue;
	xdp->egress_ifindex = 0;
	skep_session_show(s, xdp, sizeof(*xdp), RW);
	skep_session_show(s, xdp->data, linear, RW);
	verdict = (uint32_t)skep_session_run(s, xdp);
	p->verdict = verdict <= XDP_REDIRECT ? verdict : XDP_ABORTED;
	p->out_ifindex = verdict == XDP_REDIRECT ? redirect_target(s, xdp) : 0;
	p->off = (uint32_t)(xdp->data - p->buf);
	p->len = skep_xdp_len(xdp);
}

static void run_skb(struct skep_session *s, struct skep_packet *p, struct skep_skb *skb, bool l2)
{
	uint8_t *frame;

	skep_skb_init(skb, p->buf, p->cap, p->buf + p->off, p->len, l2);
	skb->pkt = p;
	skb->mac_len = (uint32_t)(skb->net - skb->mac);
	skb->ifindex = skb->ingress_ifindex = p->ifindex;
	skb->queue_mapping = (uint16_t)p->queue;
	skb->tstamp = p->tstamp;
	skb->mark = p->mark;
	skb->hash = p->hash;
	skb->sw_hash = p->hash != 0;
	if (p->vlan_proto) {
		skb->vlan_present = 1;
		skb->vlan_proto = p->vlan_proto;
		skb->vlan_tci = p->vlan_tci;
	}
	skep_session_show(s, skb, sizeof(*skb), RW);
	skep_session_show(s, skb->data, skb->len, RW);
	p->verdict = (uint32_t)skep_session_run(s, skb);
	p->out_ifindex = s->env->redirect.kind ? s->env->redirect.ifindex : 0;
	frame = l2 ? skb->data : skb->mac;
	p->off = (uint32_t)(frame - p->buf);
	p->len = (uint32_t)(skb->data_end - frame);
	p->tstamp = skb->tstamp;
	p->mark = skb->mark;
	p->hash = skb->hash;
	p->vlan_proto = skb->vlan_proto;
	p->vlan_tci = skb->vlan_tci;
}

static void run_skb_l2(struct skep_session *s, struct skep_packet *p, void *ctx)
{
	run_skb(s, p, ctx, true);
}

static void run_skb_l3(struct skep_session *s, struct skep_packet *p, void *ctx)
{
	run_skb(s, p, ctx, false);
}

static void (*packet_fn(uint32_t type))(struct skep_session *, struct skep_packet *, void *)
{
	switch (type) {
	case BPF_PROG_TYPE_XDP:
		return run_xdp;
	case BPF_PROG_TYPE_SCHED_CLS:
	case BPF_PROG_TYPE_SCHED_ACT:
	case BPF_PROG_TYPE_SOCKET_FILTER:
		return run_skb_l2;
	case BPF_PROG_TYPE_CGROUP_SKB:
		return run_skb_l3;
	default:
		return NULL;
	}
}

int skep_runner_open_prog(struct skep_runner **out, struct skep_prog *prog)
{
	struct skep_runner *runner;
	int err = posix_memalign((void **)&runner, 64, sizeof(*runner)) ? -ENOMEM : 0;

	if (err)
		return err;
	err = skep_session_open(&runner->session, prog);
	if (err) {
		free(runner);
		return err;
	}
	skep_object_ref(&prog->obj);
	runner->send = NULL;
	runner->packet = packet_fn(prog->type);
	*out = runner;
	return 0;
}

int skep_runner_open(struct skep_runner **out, struct skep *skep, int prog_fd)
{
	struct skep_object *obj;
	int err = skep_object_get(skep, prog_fd, SKEP_KIND_PROG, &obj);

	if (err)
		return err;
	err = skep_runner_open_prog(out, (struct skep_prog *)obj);
	skep_object_put(obj);
	return err;
}

void skep_runner_close(struct skep_runner *runner)
{
	struct skep_prog *prog;

	if (!runner)
		return;
	prog = runner->session.prog;
	skep_session_close(&runner->session);
	skep_object_put(&prog->obj);
	free(runner);
}

#define CLONE_HEADROOM 64u

/* Gives a copy of the packet away. */
static int clone_packet(struct skep_env *env, const struct skep_skb *skb, uint32_t ifindex,
			uint64_t flags)
{
	struct skep_runner *runner = env->clone_arg;
	uint32_t len = (uint32_t)(skb->data_end - skb->mac);
	struct skep_packet copy = {.cap = CLONE_HEADROOM + len,
				   .off = CLONE_HEADROOM,
				   .len = len,
				   .out_ifindex = ifindex,
				   .ifindex = skb->ingress_ifindex,
				   .tstamp = skb->tstamp,
				   .vlan_proto = skb->vlan_proto,
				   .vlan_tci = skb->vlan_tci,
				   .mark = skb->mark,
				   .hash = skb->hash};
	int err;

	/* There is no way in to an interface, only out of it. */
	if (flags)
		return -EOPNOTSUPP;
	copy.buf = malloc(copy.cap);
	if (!copy.buf)
		return -ENOMEM;
	memcpy(copy.buf + copy.off, skb->mac, len);
	err = runner->send(runner->send_arg, &copy);
	free(copy.buf);
	return err;
}

void skep_runner_on_clone(struct skep_runner *runner,
			  int (*send)(void *arg, struct skep_packet *copy), void *arg)
{
	runner->send = send;
	runner->send_arg = arg;
	runner->session.env->clone = send ? clone_packet : NULL;
	runner->session.env->clone_arg = runner;
}

long skep_run_packets(struct skep_runner *runner, struct skep_packet *packets, uint32_t n)
{
	struct skep_session *s = &runner->session;

	if (!runner->packet)
		return -EINVAL;
	for (uint32_t i = 0; i < n; i++) {
		if (!inside(&packets[i]))
			return -EINVAL;
	}
	skep_enter(s->env);
	for (uint32_t i = 0; i < n; i++) {
		struct skep_packet *p = &packets[i];

		s->env->clock_ns = p->flags & SKEP_PACKET_CLOCK ? p->tstamp : 0;
		runner->packet(s, p, &runner->ctx);
		if (s->checked)
			skep_session_hide_all(s);
	}
	s->env->clock_ns = 0;
	skep_leave(s->env);
	return n;
}
