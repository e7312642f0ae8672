/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One thread waits for connections and messages and never for one of them alone. A connection
 * that has not given a listener after some seconds is ended, and the oldest is when there are too many;
 * descriptors that come where none are expected are closed.
 */
#include "client/serve.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "bpf/instance.h"
#include "bpf/sys.h"
#include "client/msg.h"
#include "client/notify.h"
#include "os/os.h"

#define WAITING    64 /* connections that have not given a listener */
#define TREES      256 /* listeners that are served */
#define PATIENCE_S 5
#define COLLECT_S  15 /* after the last of a tree's processes: longer than handle.c's rounds */

struct waiting {
	int sock;
	time_t since;
	struct skep_seg serving; /* once it has asked to join */
};

/* Processes behind one filter. */
struct tree {
	struct skep_serve *s;
	int sock, listener;
	struct skep_seg serving;
	struct skep_notify *notify;
	pthread_t thread;
	_Atomic bool done;
};

struct skep_serve {
	struct skep *skep;
	struct skep_serve_opts opts;
	int event; /* something is to be looked at: a tree has ended, or we have */
	int spare; /* given up for a moment when descriptors run out */
	_Atomic bool stop, last;
	time_t collect; /* what clients held that have gone is looked for until then */
	struct waiting waiting[WAITING]; /* the oldest first */
	unsigned nwaiting;
	struct tree *trees[TREES];
	_Atomic unsigned ntrees;
};

static time_t now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec;
}

static int spare_fd(void)
{
	return open("/dev/null", O_RDONLY | O_CLOEXEC);
}

int skep_serve_open(struct skep_serve **out, struct skep *skep, const struct skep_serve_opts *opts)
{
	struct skep_serve *s = calloc(1, sizeof(*s));

	if (!s)
		return -ENOMEM;
	s->skep = skep;
	s->opts = *opts;
	s->event = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	s->spare = spare_fd();
	if (s->event < 0) {
		int err = -errno;

		free(s);
		return err;
	}
	*out = s;
	return 0;
}

unsigned skep_serve_clients(struct skep_serve *s)
{
	return atomic_load(&s->ntrees);
}

static void wake(struct skep_serve *s)
{
	uint64_t one = 1;

	/* Full: it is readable, which is all that matters. */
	(void)!write(s->event, &one, sizeof(one));
}

void skep_serve_stop(struct skep_serve *s, bool at_once)
{
	if (at_once)
		atomic_store(&s->stop, true);
	atomic_store(&s->last, true);
	wake(s);
}

/* ---- Trees ---- */

static void *serve_tree(void *arg)
{
	struct tree *t = arg;
	struct skep_serve *s = t->s;

	skep_notify_serve(t->notify);
	atomic_store(&t->done, true);
	wake(s);
	return NULL;
}

static void free_tree(struct tree *t)
{
	if (t->notify)
		skep_notify_close(t->notify);
	skep_seg_close(&t->serving);
	if (t->listener >= 0)
		close(t->listener);
	if (t->sock >= 0)
		close(t->sock);
	free(t);
}

static void end_trees(struct skep_serve *s)
{
	for (unsigned i = 0; i < s->ntrees;) {
		struct tree *t = s->trees[i];

		if (!atomic_load(&t->done)) {
			i++;
			continue;
		}
		pthread_join(t->thread, NULL);
		s->trees[i] = s->trees[s->ntrees - 1];
		s->ntrees--;
		s->collect = now() + COLLECT_S;
		free_tree(t);
	}
}

static bool is_listener(int fd)
{
	char path[48], link[64];
	ssize_t n;

	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	n = readlink(path, link, sizeof(link) - 1);
	link[n < 0 ? 0 : n] = 0;
	return !strcmp(link, "anon_inode:seccomp notify");
}

/* Takes the connection's socket and page, and the listener: 0 or -errno, then with nothing taken. */
static int add_tree(struct skep_serve *s, struct waiting *w, int listener)
{
	struct skep_notify_opts opts = {
		.listener = listener,
		.pins = s->opts.mounts->pins,
		.serving = (struct skep_serving *)w->serving.base,
	};
	struct tree *t;
	int err;

	if (!w->serving.base || !is_listener(listener))
		return -EINVAL;
	if (s->ntrees == TREES)
		return -EUSERS;
	t = calloc(1, sizeof(*t));
	if (!t)
		return -ENOMEM;
	t->s = s;
	t->sock = t->listener = -1;
	t->serving.fd = -1;
	err = skep_notify_open(&t->notify, s->skep, &opts);
	if (!err) {
		skep_notify_ports(t->notify, s->opts.ports, s->opts.nports);
		err = -pthread_create(&t->thread, NULL, serve_tree, t);
	}
	if (err) {
		free_tree(t);
		return err;
	}
	t->sock = w->sock;
	t->listener = listener;
	t->serving = w->serving;
	w->sock = -1;
	w->serving = (struct skep_seg){.fd = -1};
	s->trees[s->ntrees] = t;
	s->ntrees++;
	return 0;
}

/* ---- Messages ---- */

static void count(struct skep_object *obj, void *arg)
{
	struct skep_serve_reply *r = arg;

	r->progs += obj->kind == SKEP_KIND_PROG;
	r->maps += obj->kind == SKEP_KIND_MAP;
	r->links += obj->kind == SKEP_KIND_LINK;
}

static void collect(struct skep_serve *s)
{
	skep_pins_collect(s->skep);
	skep_collect(s->skep);
}

static void overview(struct skep_serve *s, struct skep_serve_reply *r)
{
	/* What nobody holds any more is not there. */
	collect(s);
	r->pid = getpid();
	r->clients = s->opts.own + s->ntrees;
	skep_objects_walk(s->skep, count, r);
}

static unsigned join(struct skep_serve *s, struct waiting *w, struct skep_serve_reply *r, int *fds)
{
	const struct skep_mounts *m = s->opts.mounts;
	const int all[] = {m->pins, m->trace, m->ns, m->user, -1};
	unsigned n = 0;

	r->jit = s->opts.jit;
	if (!w->serving.base)
		r->err = skep_seg_create(&w->serving, "serving", sizeof(struct skep_serving));
	if (r->err)
		return 0;
	for (unsigned i = 0; i < 4; i++)
		if (all[i] >= 0) {
			r->has |= 1u << i;
			fds[n++] = all[i];
		}
	fds[n] = skep_fd_reopen(w->serving.fd, O_RDONLY, false);
	if (fds[n] < 0) {
		r->err = fds[n];
		return 0;
	}
	r->has |= SKEP_SERVE_HAS_SERVING;
	return n + 1;
}

/* The connection's next message: false when it is to be ended, or has become a tree's. */
static bool talk(struct skep_serve *s, struct waiting *w)
{
	struct skep_serve_ask ask = {0};
	struct skep_serve_reply r = {0};
	int fds[SKEP_MSG_FDS], out[SKEP_MSG_FDS];
	unsigned n, nout = 0;
	ssize_t got = skep_msg_recv(w->sock, &ask, sizeof(ask), fds, &n, MSG_DONTWAIT);
	bool good = got == sizeof(ask) && ask.magic == SKEP_SERVE_MAGIC;
	int sock = w->sock;

	if (got == -EAGAIN)
		return true;
	if (good && ask.op == SKEP_SERVE_LISTENER && n == 1) {
		r.err = add_tree(s, w, fds[0]);
		if (!r.err)
			n = 0;
	} else if (good && ask.op == SKEP_SERVE_OVERVIEW && !n) {
		overview(s, &r);
	} else if (good && ask.op == SKEP_SERVE_JOIN && !n) {
		nout = join(s, w, &r, out);
	} else {
		r.err = -EPROTO;
	}
	while (n)
		close(fds[--n]);
	if (got > 0 || got == -EPROTO)
		skep_msg_send(sock, &r, sizeof(r), out, nout);
	if (nout)
		close(out[nout - 1]);
	return !r.err && w->sock >= 0;
}

/* ---- Connections ---- */

static void hang_up(struct skep_serve *s, unsigned i)
{
	struct waiting *w = &s->waiting[i];

	if (w->sock >= 0)
		close(w->sock);
	skep_seg_close(&w->serving);
	s->nwaiting--;
	memmove(w, w + 1, (s->nwaiting - i) * sizeof(*w));
}

void skep_serve_accept(struct skep_serve *s, int sock)
{
	struct ucred who;
	socklen_t len = sizeof(who);

	/* The directory keeps others out already. */
	if (getsockopt(sock, SOL_SOCKET, SO_PEERCRED, &who, &len) || who.uid != geteuid()) {
		close(sock);
		return;
	}
	/* Who does not read its answers is not waited for. */
	fcntl(sock, F_SETFL, O_NONBLOCK);
	if (s->nwaiting == WAITING)
		hang_up(s, 0);
	s->waiting[s->nwaiting++] = (struct waiting){sock, now(), {.fd = -1}};
}

static void accept_one(struct skep_serve *s)
{
	int sock = accept4(s->opts.listen, NULL, NULL, SOCK_CLOEXEC);

	if (sock >= 0) {
		skep_serve_accept(s, sock);
	} else if ((errno == EMFILE || errno == ENFILE) && s->spare >= 0) {
		/* Else it would wait there, and we would turn round and round. */
		close(s->spare);
		sock = accept4(s->opts.listen, NULL, NULL, SOCK_CLOEXEC);
		if (sock >= 0)
			close(sock);
		s->spare = spare_fd();
	}
}

bool skep_serve_step(struct skep_serve *s, int until, int ms)
{
	struct pollfd p[3 + WAITING] = {{.fd = s->event, .events = POLLIN},
					{.fd = s->opts.listen, .events = POLLIN},
					{.fd = until, .events = POLLIN}};
	unsigned n = s->nwaiting;
	uint64_t events;

	for (unsigned i = 0; i < n; i++)
		p[3 + i] = (struct pollfd){.fd = s->waiting[i].sock, .events = POLLIN};
	/* Somebody's time may run out, and nobody may call to have collected what is left. */
	if ((n || s->collect > now()) && (ms < 0 || ms > 1000))
		ms = 1000;
	if (poll(p, 3 + n, ms) < 0)
		return errno == EINTR;
	if (p[0].revents)
		(void)!read(s->event, &events, sizeof(events));
	end_trees(s);
	if (s->collect > now())
		collect(s);
	for (unsigned i = n; i-- > 0;) {
		bool stays = !p[3 + i].revents || talk(s, &s->waiting[i]);

		if (!stays || now() - s->waiting[i].since >= PATIENCE_S)
			hang_up(s, i);
	}
	if (p[1].revents)
		accept_one(s);
	if (p[2].revents)
		atomic_store(&s->stop, true);
	return !atomic_load(&s->stop) && !(atomic_load(&s->last) && !s->ntrees);
}

void skep_serve_run(struct skep_serve *s, int until)
{
	while (skep_serve_step(s, until, -1))
		;
}

bool skep_serve_close(struct skep_serve *s)
{
	struct timespec end;
	bool all = true;

	while (s->nwaiting)
		hang_up(s, s->nwaiting - 1);
	for (unsigned i = 0; i < s->ntrees; i++)
		skep_notify_stop(s->trees[i]->notify);
	clock_gettime(CLOCK_REALTIME, &end);
	end.tv_sec += PATIENCE_S;
	for (unsigned i = 0; i < s->ntrees; i++) {
		if (pthread_timedjoin_np(s->trees[i]->thread, NULL, &end))
			all = false;
		else
			free_tree(s->trees[i]);
	}
	if (!all)
		return false;
	close(s->event);
	if (s->spare >= 0)
		close(s->spare);
	free(s);
	return true;
}
