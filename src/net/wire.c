/* SPDX-License-Identifier: Apache-2.0 */
#include "net/wire.h"

#include <errno.h>
#include <poll.h>
#include <stdbool.h>
#include <string.h>
#include <time.h>

#include "bpf/uapi.h"
#include "net/frame.h"
#include "net/verdict.h"

#define TICK_NS 1000000000ull
#define ROUNDS  16 /* batches of one direction before the other gets its turn */
#define POLL_MS 50

static uint64_t now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000ull + (uint64_t)t.tv_nsec;
}

/* Frames on their way to one port. */
struct outbox {
	const struct skep_packet *frames[SKEP_PORT_BATCH];
	uint32_t n;
};

static void put(struct outbox *box, struct skep_packet *p)
{
	/* Without room for its tag a frame would be another one: it stays away. */
	if (skep_frame_put_tag(p))
		box->frames[box->n++] = p;
}

static void flush(struct skep_port *port, struct outbox *box)
{
	if (port && box->n)
		skep_port_send(port, box->frames, box->n);
	box->n = 0;
}

/* What a program of `type` decided about p: true if the frame passes. */
static bool judge(const struct skep_wire *w, struct skep_wire_stats *s, uint32_t type,
		  struct skep_packet *p, struct outbox *to_a, struct outbox *to_b)
{
	uint32_t nrows;
	const struct skep_verdict *rows = skep_verdicts(type, &nrows);
	const struct skep_verdict *v = skep_verdict(type, p->verdict);

	if (v && v - rows < SKEP_WIRE_VERDICTS)
		s->verdicts[v - rows]++;
	switch (v ? v->fate : SKEP_FATE_PASS) {
	case SKEP_FATE_PASS:
		return true;
	case SKEP_FATE_DROP:
		s->dropped++;
		break;
	case SKEP_FATE_TX:
		s->returned++;
		put(to_a, p);
		break;
	case SKEP_FATE_REDIRECT:
		if (p->out_ifindex == skep_port_ifindex(w->a)) {
			s->redirected++;
			put(to_a, p);
		} else if (w->b && p->out_ifindex == skep_port_ifindex(w->b)) {
			s->redirected++;
			put(to_b, p);
		} else {
			s->lost_redirects++;
		}
		break;
	}
	return false;
}

/* Through the programs of tcx: true if the frame passes. */
static bool pass_chain(const struct skep_wire *w, const struct skep_chain *chain,
		       struct skep_wire_stats *s, struct skep_packet *p, struct outbox *to_a,
		       struct outbox *to_b)
{
	for (uint32_t i = 0; i < chain->n; i++) {
		skep_run_packets(chain->run[i], p, 1);
		if ((int32_t)p->verdict != TCX_NEXT)
			break;
	}
	if (!chain->n)
		return true;
	/* Of tc's other actions tcx knows none: the frame goes on. */
	if (p->verdict != TCX_PASS && p->verdict != TCX_DROP && p->verdict != TCX_REDIRECT)
		p->verdict = (uint32_t)TCX_NEXT;
	return judge(w, s, BPF_PROG_TYPE_SCHED_CLS, p, to_a, to_b);
}

/* What bpf_clone_redirect() sends: out of either port, at once. */
static int send_clone(void *arg, struct skep_packet *copy)
{
	const struct skep_wire *w = arg;
	struct outbox box = {.n = 0};
	struct skep_port *port = NULL;

	if (copy->out_ifindex == skep_port_ifindex(w->a))
		port = w->a;
	else if (copy->out_ifindex == skep_port_ifindex(w->b))
		port = w->b;
	if (!port)
		return -EINVAL;
	put(&box, copy);
	flush(port, &box);
	return 0;
}

/* One batch from A through the program. False: nothing waited. */
static bool forward(const struct skep_wire *w, struct skep_wire_stats *s)
{
	struct skep_packet p[SKEP_PORT_BATCH];
	struct outbox to_a = {.n = 0}, to_b = {.n = 0};
	int n = skep_port_recv(w->a, p, SKEP_PORT_BATCH);

	if (n <= 0)
		return false;
	if (w->runner) {
		uint64_t start = now_ns();

		skep_run_packets(w->runner, p, (uint32_t)n);
		s->run_ns += now_ns() - start;
	}
	for (int i = 0; i < n; i++) {
		if ((w->runner && !judge(w, s, w->prog_type, &p[i], &to_a, &to_b)) ||
		    !pass_chain(w, &w->in, s, &p[i], &to_a, &to_b))
			continue;
		s->passed++;
		put(&to_b, &p[i]);
	}
	if (w->b) {
		flush(w->a, &to_a);
		flush(w->b, &to_b);
	}
	return true;
}

static bool backward(const struct skep_wire *w, struct skep_wire_stats *s)
{
	struct skep_packet p[SKEP_PORT_BATCH];
	struct outbox to_a = {.n = 0}, to_b = {.n = 0};
	int n = skep_port_recv(w->b, p, SKEP_PORT_BATCH);

	if (n <= 0)
		return false;
	s->backwards += (uint64_t)n;
	for (int i = 0; i < n; i++) {
		/* Programs at A's way out see A as the interface. */
		p[i].ifindex = skep_port_ifindex(w->a);
		if (pass_chain(w, &w->out, s, &p[i], &to_a, &to_b))
			put(&to_a, &p[i]);
	}
	flush(w->a, &to_a);
	flush(w->b, &to_b);
	return true;
}

/* Waits for either port. -ENETDOWN if one is gone. */
static int wait_for_frames(const struct skep_wire *w)
{
	struct pollfd fds[3] = {
		{.fd = skep_port_fd(w->a), .events = POLLIN},
		{.fd = w->b ? skep_port_fd(w->b) : -1, .events = POLLIN},
		{.fd = w->wake ? w->wake : -1, .events = POLLIN},
	};

	if (poll(fds, 3, POLL_MS) < 0 && errno != EINTR)
		return -errno;
	if ((fds[0].revents | fds[1].revents) & (POLLERR | POLLHUP | POLLNVAL))
		return -ENETDOWN;
	return 0;
}

static void totals(const struct skep_wire *w, struct skep_wire_stats *s, uint64_t start)
{
	s->ns = now_ns() - start;
	skep_port_stats(w->a, &s->a);
	if (w->b)
		skep_port_stats(w->b, &s->b);
}

void skep_wire_use(struct skep_wire *w, struct skep_runner *runner, uint32_t prog_type)
{
	w->runner = runner;
	w->prog_type = prog_type;
	if (runner && w->b)
		skep_runner_on_clone(runner, send_clone, w);
}

void skep_wire_chain(struct skep_wire *w, struct skep_chain *chain, struct skep_runner **run,
		     uint32_t n)
{
	chain->run = run;
	chain->n = n;
	for (uint32_t i = 0; i < n && w->b; i++)
		skep_runner_on_clone(run[i], send_clone, w);
}

int skep_wire_run(const struct skep_wire *w, struct skep_wire_stats *s)
{
	uint64_t start = now_ns(), tick = start + TICK_NS, now;
	int err = 0;

	memset(s, 0, sizeof(*s));
	if (w->runner && w->b)
		skep_runner_on_clone(w->runner, send_clone, (void *)w);
	while (!err && !(w->stop && __atomic_load_n(w->stop, __ATOMIC_RELAXED))) {
		bool busy = false;

		for (int i = 0; i < ROUNDS && forward(w, s); i++)
			busy = true;
		for (int i = 0; w->b && i < ROUNDS && backward(w, s); i++)
			busy = true;
		if (w->idle)
			w->idle(w->idle_arg);
		if (!busy)
			err = wait_for_frames(w);
		now = now_ns();
		if (w->tick && now >= tick) {
			totals(w, s, start);
			w->tick(w->tick_arg, s);
			tick += TICK_NS;
		}
		if (w->duration_ns && now - start >= w->duration_ns)
			break;
	}
	if (w->runner)
		skep_runner_on_clone(w->runner, NULL, NULL);
	totals(w, s, start);
	return err;
}
