/* SPDX-License-Identifier: Apache-2.0 */
#include "live.h"

#include <errno.h>
#include <net/if.h>
#include <signal.h>
#include <string.h>
#include <unistd.h>

#include "net/port.h"
#include "net/wire.h"

/* A signal's handler can reach nothing else. */
static volatile sig_atomic_t stopped;

static void on_signal(int sig)
{
	stopped = 1;
}

/* The first Ctrl-C ends the run in order, a second one the process. */
static void catch_signals(void)
{
	struct sigaction sa = {.sa_handler = on_signal, .sa_flags = (int)SA_RESETHAND};

	stopped = 0;
	sigaction(SIGINT, &sa, NULL);
	sigaction(SIGTERM, &sa, NULL);
}

static int check_one(const char *name, unsigned int *index, struct skep_error *err)
{
	*index = if_nametoindex(name);
	if (*index)
		return 0;
	return skep_fail(err, -ENODEV, "`ip link` lists the interfaces.",
			 "there is no interface \"%s\"", name);
}

int live_check(struct live *l, struct skep_error *err)
{
	const char *const ends[] = {l->iface, l->bridge};
	char why[256] = "";
	int r = check_one(l->iface, &l->a, err);

	if (!r && l->bridge)
		r = check_one(l->bridge, &l->b, err);
	if (!r && l->bridge && l->a == l->b)
		r = skep_fail(err, -EINVAL, NULL, "--iface and --bridge are the same interface");
	for (int i = 0; !r && l->bridge && i < 2; i++) {
		r = skep_port_check_free(ends[i], why, sizeof(why));
		if (r)
			skep_fail(err, r, NULL, "%s", why);
	}
	if (!r && !l->skep && l->type != BPF_PROG_TYPE_XDP)
		r = skep_fail(err, -EOPNOTSUPP, "Leave --runtime kernel out, or pass --capture.",
			      "on interfaces the kernel runtime takes XDP programs only");
	return r;
}

static void convert(const struct skep_wire_stats *w, struct live_stats *s)
{
	memset(s, 0, sizeof(*s));
	s->ns = w->ns;
	s->frames = w->a.rx_frames;
	s->bytes = w->a.rx_bytes;
	for (int i = 0; i < SKEP_WIRE_VERDICTS; i++)
		s->verdicts[i] = w->verdicts[i];
	s->passed = w->passed;
	s->dropped = w->dropped;
	s->returned = w->returned;
	s->redirected = w->redirected;
	s->backwards = w->backwards;
	s->lost = w->a.rx_lost + w->a.tx_lost + w->b.rx_lost + w->b.tx_lost + w->lost_redirects;
	s->run_ns = w->run_ns;
}

static void on_tick(void *arg, const struct skep_wire_stats *w)
{
	struct live *l = arg;
	struct live_stats s;

	convert(w, &s);
	l->tick(l->arg, &s);
}

static int run_user(struct live *l, struct live_stats *out, struct skep_error *err)
{
	struct skep_wire w = {.prog_type = l->type,
			      .duration_ns = l->duration_ns,
			      .stop = &stopped,
			      .tick = on_tick,
			      .tick_arg = l,
			      .idle = l->idle,
			      .idle_arg = l->arg};
	struct skep_wire_stats stats;
	char why[256] = "";
	int r;

	_Static_assert(SKEP_WIRE_VERDICTS == sizeof(out->verdicts) / sizeof(out->verdicts[0]),
		       "one count per row");
	r = skep_runner_open(&w.runner, l->skep, l->prog_fd);
	if (r)
		return skep_fail(err, r, NULL, "the program can't be run: %s", strerror(-r));
	r = skep_port_open(&w.a, l->iface, why, sizeof(why));
	if (!r && l->bridge)
		r = skep_port_open(&w.b, l->bridge, why, sizeof(why));
	if (r) {
		skep_fail(err, r,
			  r == -EPERM ? "Run as root, or in a network namespace of your own."
				      : NULL,
			  "%s", why);
	} else {
		memset(&stats, 0, sizeof(stats));
		r = skep_wire_run(&w, &stats);
		convert(&stats, out);
		if (r)
			skep_fail(err, r, NULL, "the run ended early: %s", strerror(-r));
	}
	if (w.b)
		skep_port_close(w.b);
	if (w.a)
		skep_port_close(w.a);
	skep_runner_close(w.runner);
	return r;
}

int live_run(struct live *l, struct live_stats *out, struct skep_error *err)
{
	catch_signals();
	memset(out, 0, sizeof(*out));
	return l->skep ? run_user(l, out, err) : live_run_kernel(l, &stopped, out, err);
}

void live_close(struct live *l)
{
	const int fds[] = {l->counts_fd, l->out_fd, l->back_fd};

	for (size_t i = 0; i < sizeof(fds) / sizeof(fds[0]); i++)
		if (fds[i] > 0)
			close(fds[i]);
}
