/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which stack slots may still be read. Reads and certain writes are collected
 * per instruction while paths are walked, for each chain of calls apart, and
 * flow backwards through the control flow graph. Once all paths from a state
 * have been walked, all reads that can follow it are known.
 *
 * A chain of calls is a node of a tree: the function and where it was called
 * from. In each node every frame of the chain has its masks, since a function
 * may read its callers' slots through pointers.
 */
#include "verifier/state.h"

#include <stdlib.h>

#define ROUNDS 32

struct vmasks {
	uint64_t read; /* slots that it may read */
	uint64_t write; /* slots that it writes whole, whatever path led to it */
	uint64_t live; /* slots that it or what follows may read */
};

struct vnode {
	struct vnode *parent, *child, *sibling;
	int32_t callsite;
	uint32_t sub, depth;
	uint32_t dirty; /* nothing at or behind this instruction changed since all was settled */
	uint8_t *visited; /* per instruction: its writes are known */
	struct vmasks
		*frame[V_FRAMES]; /* per frame, per instruction and one more; NULL: never touched */
};

/* What follows an instruction in its function; the function's end, where nothing lives, stands for nothing. */
struct vflow {
	uint32_t to[2];
};

struct vlive {
	struct vflow *flow; /* by instruction */
	bool *loops; /* by subprogram: something follows that stands before */
	struct vnode *root;
	struct vnode *now; /* of the instruction being walked */
	uint64_t written[V_FRAMES];
	bool any;
};

static uint32_t length(const struct venv *env, const struct vnode *n)
{
	return env->subs[n->sub].end - env->subs[n->sub].start;
}

static struct vnode *node_new(struct venv *env, struct vnode *parent, int32_t callsite,
			      uint32_t sub)
{
	struct vnode *n = calloc(1, sizeof(*n));

	if (!n)
		return NULL;
	n->parent = parent;
	n->callsite = callsite;
	n->sub = sub;
	n->depth = parent ? parent->depth + 1 : 0;
	n->visited = calloc(length(env, n), 1);
	if (!n->visited) {
		free(n);
		return NULL;
	}
	return n;
}

static void node_free(struct vnode *n)
{
	while (n) {
		struct vnode *next = n->sibling;

		node_free(n->child);
		for (uint32_t i = 0; i < V_FRAMES; i++)
			free(n->frame[i]);
		free(n->visited);
		free(n);
		n = next;
	}
}

int skep_v_live_init(struct venv *env)
{
	struct vlive *l = calloc(1, sizeof(*l));

	env->live = l;
	if (!l)
		return -ENOMEM;
	l->flow = malloc(env->n * sizeof(*l->flow));
	l->loops = calloc(env->nsubs, sizeof(*l->loops));
	if (!l->flow || !l->loops)
		return -ENOMEM;
	for (uint32_t i = 0; i < env->n; i++) {
		uint32_t s = env->aux[i].subprog, succ[2];
		unsigned k = skep_v_succ(env, i, succ);

		for (unsigned j = 0; j < 2; j++) {
			l->flow[i].to[j] = j < k ? succ[j] : env->subs[s].end;
			l->loops[s] |= j < k && succ[j] <= i;
		}
	}
	return 0;
}

void skep_v_live_free(struct venv *env)
{
	if (!env->live)
		return;
	node_free(env->live->root);
	free(env->live->flow);
	free(env->live->loops);
	free(env->live);
	env->live = NULL;
}

/* The node of a state's chain up to frame; made when it is new. */
static struct vnode *node_of(struct venv *env, const struct vstate *st, uint32_t frame)
{
	struct vnode *n = NULL, **list = &env->live->root;

	for (uint32_t i = 0; i <= frame; i++) {
		const struct vframe *f = st->frame[i];
		struct vnode *c = *list;

		while (c && (c->callsite != f->callsite || c->sub != f->subprog))
			c = c->sibling;
		if (!c) {
			c = node_new(env, n, f->callsite, f->subprog);
			if (!c)
				return NULL;
			c->sibling = *list;
			*list = c;
		}
		n = c;
		list = &c->child;
	}
	return n;
}

static struct vnode *now(struct venv *env)
{
	const struct vstate *st = env->cur;
	const struct vframe *f = v_frame(st);
	struct vnode *n = env->live->now;

	/* The last one is right as long as the path stays in its function. */
	if (n && n->depth == st->curframe) {
		const struct vnode *up = n;

		for (uint32_t i = st->curframe + 1; i-- > 0; up = up->parent)
			if (up->callsite != st->frame[i]->callsite ||
			    up->sub != st->frame[i]->subprog)
				break;
		if (!up)
			return n;
	}
	(void)f;
	env->live->now = node_of(env, st, st->curframe);
	return env->live->now;
}

static struct vmasks *masks(struct venv *env, struct vnode *n, uint32_t frame)
{
	if (!n->frame[frame])
		n->frame[frame] = calloc(length(env, n) + 1, sizeof(struct vmasks));
	return n->frame[frame];
}

static void changed_at(struct vnode *n, uint32_t at)
{
	if (n->dirty <= at)
		n->dirty = at + 1;
}

static int add_read(struct venv *env, struct vnode *n, uint32_t insn, uint32_t frame,
		    uint64_t slots)
{
	struct vmasks *m = masks(env, n, frame);

	if (!m)
		return -ENOMEM;
	insn -= env->subs[n->sub].start;
	m += insn;
	if (slots & ~m->read) {
		m->read |= slots;
		changed_at(n, insn);
	}
	return 0;
}

int skep_v_live_read(struct venv *env, uint32_t frame, uint64_t slots)
{
	struct vnode *n = slots ? now(env) : NULL;

	if (!slots)
		return 0;
	return n ? add_read(env, n, env->insn, frame, slots) : -ENOMEM;
}

int skep_v_live_write(struct venv *env, uint32_t frame, uint64_t slots)
{
	env->live->written[frame] |= slots;
	env->live->any = true;
	return now(env) ? 0 : -ENOMEM;
}

void skep_v_live_begin(struct venv *env)
{
	if (!env->live->any)
		return;
	for (uint32_t i = 0; i < V_FRAMES; i++)
		env->live->written[i] = 0;
	env->live->any = false;
}

/* Only what every visit of the instruction writes is certainly written. Called
 * before the instruction changes frames. */
int skep_v_live_commit(struct venv *env, const struct vstate *st, uint32_t insn)
{
	struct vlive *l = env->live;
	struct vnode *n;
	uint32_t at;

	(void)st;
	n = now(env);
	if (!n)
		return -ENOMEM;
	at = insn - env->subs[n->sub].start;
	if (at >= length(env, n))
		return 0;
	for (uint32_t i = 0; i <= n->depth; i++) {
		struct vmasks *m = n->frame[i];
		uint64_t w = l->written[i];

		if (!m && !w)
			continue;
		m = masks(env, n, i);
		if (!m)
			return -ENOMEM;
		m += at;
		if (!n->visited[at]) {
			m->write = w;
		} else if (m->write & ~w) {
			m->write &= w;
			changed_at(n, at);
		}
	}
	n->visited[at] = 1;
	return 0;
}

/* ---- The flow ---- */

static uint64_t after(const struct venv *env, const struct vnode *n, const struct vmasks *m,
		      uint32_t insn)
{
	const struct vflow *f = &env->live->flow[insn];
	uint32_t start = env->subs[n->sub].start;

	return m[f->to[0] - start].live | m[f->to[1] - start].live;
}

/* Backwards from instruction `from` on: whether anything changed. What was live may be no more, once
 * a write is known; `grow`: it stays. */
static bool flow_back(const struct venv *env, const struct vnode *n, struct vmasks *m,
		      uint32_t from, bool grow)
{
	uint32_t start = env->subs[n->sub].start;
	bool changed = false;

	for (uint32_t i = from; i-- > 0;) {
		uint64_t live = m[i].read | (after(env, n, m, start + i) & ~m[i].write);

		if (grow)
			live |= m[i].live;
		changed |= live != m[i].live;
		m[i].live = live;
	}
	return changed;
}

static int settle(struct venv *env, struct vnode *n)
{
	uint32_t from = n->dirty, len = length(env, n);

	n->dirty = 0;
	for (uint32_t f = 0; f <= n->depth; f++) {
		struct vmasks *m = n->frame[f];

		/* Without a loop once is enough. With one it settles soon; if not, it only grows. */
		if (m && flow_back(env, n, m, from, false) && env->live->loops[n->sub])
			for (uint32_t round = 0; flow_back(env, n, m, len, round > ROUNDS); round++)
				;
		/* What a function reads of its callers' slots, its call reads. */
		if (m && f < n->depth && m[0].live) {
			int err = add_read(env, n->parent, (uint32_t)n->callsite, f, m[0].live);

			if (err)
				return err;
		}
	}
	return 0;
}

static int settle_all(struct venv *env, struct vnode *n)
{
	int err = 0;

	for (; n && !err; n = n->sibling) {
		err = settle_all(env, n->child);
		if (!err && n->dirty)
			err = settle(env, n);
	}
	return err;
}

int skep_v_live_update(struct venv *env)
{
	return settle_all(env, env->live->root);
}

uint64_t skep_v_live_slots(struct venv *env, const struct vstate *st, uint32_t frame)
{
	struct vnode *n = node_of(env, st, st->curframe);
	uint64_t live = 0;

	if (!n)
		return ~0ull;
	for (uint32_t j = st->curframe; n && j >= frame; n = n->parent, j--) {
		const struct vmasks *m = n->frame[frame];
		uint32_t start = env->subs[n->sub].start, insn;

		if (m && j == st->curframe) {
			live |= m[st->insn - start].live;
		} else if (m) {
			insn = (uint32_t)st->frame[j + 1]->callsite;
			live |= env->aux[insn].flags & V_CALLBACKS ? m[insn - start].live
								   : after(env, n, m, insn);
		}
		if (!j)
			break;
	}
	return live;
}
