/* SPDX-License-Identifier: Apache-2.0 */
#include "bpf/mprog.h"

#include <stdlib.h>
#include <string.h>

#define NOWHERE (-ERANGE) /* no position was asked for */

/* What the caller names as "before or after this". */
struct relative {
	struct skep_object *obj; /* referenced, or NULL: nothing is named */
	struct skep_prog *prog;
	struct skep_link *link;
};

/* Where, and how: flags of the call. */
struct place {
	uint32_t flags, id_or_fd;
	uint64_t revision;
};

void skep_mprog_init(struct skep_mprog *m, struct skep *skep,
		     int (*run)(void *arg, struct skep_prog *const *progs, uint32_t n), void *arg)
{
	memset(m, 0, sizeof(*m));
	pthread_mutex_init(&m->lock, NULL);
	m->skep = skep;
	m->run = run;
	m->arg = arg;
	m->revision = 1;
}

/* ---- What the caller names ---- */

static int get_relative(struct skep *skep, const struct place *at, uint32_t type,
			struct relative *out)
{
	enum skep_kind kind = at->flags & BPF_F_LINK ? SKEP_KIND_LINK : SKEP_KIND_PROG;
	bool id = at->flags & BPF_F_ID;
	int err = 0;

	memset(out, 0, sizeof(*out));
	if (kind == SKEP_KIND_PROG && !id && !at->id_or_fd)
		return 0;
	if (id) {
		out->obj = skep_object_by_id(skep, kind, at->id_or_fd);
		err = out->obj ? 0 : -ENOENT;
	} else {
		err = skep_object_get(skep, (int)at->id_or_fd, kind, &out->obj);
	}
	if (err)
		return err;
	if (kind == SKEP_KIND_LINK) {
		out->link = (struct skep_link *)out->obj;
		out->prog = skep_link_prog(out->link);
		if (out->prog)
			skep_object_put(&out->prog->obj); /* the list holds it if it is there */
	} else {
		out->prog = (struct skep_prog *)out->obj;
	}
	if (out->prog && (!type || out->prog->type == type))
		return 0;
	skep_object_put(out->obj);
	out->obj = NULL;
	return -EINVAL;
}

/* ---- Positions; under m->lock ---- */

/* Of exactly this program: -EBUSY if it is another's (a link's, or no link's), -ENOENT. */
static int exactly(const struct skep_mprog *m, const struct skep_prog *prog,
		   const struct skep_link *link)
{
	for (uint32_t i = 0; i < m->n; i++)
		if (m->e[i].prog == prog)
			return m->e[i].link == link ? (int)i : -EBUSY;
	return -ENOENT;
}

static int find_relative(const struct skep_mprog *m, const struct relative *r)
{
	for (uint32_t i = 0; i < m->n; i++)
		if (m->e[i].prog == r->prog && (!r->link || m->e[i].link == r->link))
			return (int)i;
	return -ENOENT;
}

/* Combines BEFORE and AFTER with a position that may be known already. A position is the index of
 * an entry, or one beside the list: -1, n. */
static int locate(const struct skep_mprog *m, const struct place *at, const struct relative *r,
		  int pos, uint32_t *flags)
{
	*flags = at->flags;
	for (int after = 0; after < 2; after++) {
		if (!(at->flags & (after ? BPF_F_AFTER : BPF_F_BEFORE)))
			continue;
		int it = after ? (int)m->n : -1;
		if (r->prog) {
			it = find_relative(m, r);
			if (it < 0)
				return it;
			it += after ? 1 : -1;
		}
		if (pos >= -1 && it != pos)
			return -ERANGE;
		pos = it;
	}
	if (pos < -1) {
		if (r->prog || at->flags)
			return -EINVAL;
		pos = (int)m->n;
		*flags = BPF_F_AFTER;
	}
	return pos >= (int)SKEP_MPROG_MAX ? -ERANGE : pos;
}

/* ---- Changes; under m->lock ---- */

static int commit(struct skep_mprog *m, const struct skep_mprog_entry *e, uint32_t n)
{
	struct skep_prog *progs[SKEP_MPROG_MAX] = {NULL};

	for (uint32_t i = 0; i < n; i++)
		progs[i] = e[i].prog;
	int err = m->run(m->arg, progs, n);
	if (err)
		return err;
	memcpy(m->e, e, n * sizeof(*e));
	m->n = n;
	m->revision = n ? m->revision + 1 : 1; /* an empty list is a new one */
	return 0;
}

static int insert(struct skep_mprog *m, uint32_t i, struct skep_mprog_entry new)
{
	struct skep_mprog_entry e[SKEP_MPROG_MAX];

	memcpy(e, m->e, i * sizeof(*e));
	e[i] = new;
	memcpy(e + i + 1, m->e + i, (m->n - i) * sizeof(*e));
	int err = commit(m, e, m->n + 1);
	if (!err)
		skep_object_ref(&new.prog->obj);
	return err;
}

static int replace(struct skep_mprog *m, uint32_t i, struct skep_prog *next)
{
	struct skep_mprog_entry e[SKEP_MPROG_MAX];
	struct skep_prog *was = m->e[i].prog;

	memcpy(e, m->e, m->n * sizeof(*e));
	e[i].prog = next;
	int err = commit(m, e, m->n);
	if (!err) {
		skep_object_ref(&next->obj);
		skep_object_put(&was->obj);
	}
	return err;
}

static int take_out(struct skep_mprog *m, uint32_t i)
{
	struct skep_mprog_entry e[SKEP_MPROG_MAX];
	struct skep_prog *was = m->e[i].prog;

	memcpy(e, m->e, i * sizeof(*e));
	memcpy(e + i, m->e + i + 1, (m->n - i - 1) * sizeof(*e));
	int err = commit(m, e, m->n - 1);
	if (!err)
		skep_object_put(&was->obj);
	return err;
}

static int attach(struct skep_mprog *m, struct skep_prog *prog, struct skep_link *link,
		  const struct skep_prog *old, const struct place *at)
{
	struct relative r = {0};
	uint32_t flags;
	int pos = NOWHERE, err = 0;

	pthread_mutex_lock(&m->lock);
	if (at->revision && at->revision != m->revision)
		err = -ESTALE;
	for (uint32_t i = 0; i < m->n && !err; i++)
		if (m->e[i].prog == prog)
			err = -EEXIST;
	if (!err)
		err = get_relative(m->skep, at, prog->type, &r);
	if (!err && at->flags & BPF_F_REPLACE) {
		pos = exactly(m, old, link);
		err = pos < 0 ? pos : 0;
	} else if (!err && m->n == SKEP_MPROG_MAX) {
		err = -ERANGE;
	}
	if (!err) {
		pos = locate(m, at, &r, pos, &flags);
		if (pos < -1)
			err = pos;
		else if (flags & BPF_F_REPLACE)
			err = replace(m, (uint32_t)pos, prog);
		else
			err = insert(m, (uint32_t)(flags & BPF_F_BEFORE ? pos + 1 : pos),
				     (struct skep_mprog_entry){prog, link});
	}
	skep_object_put(r.obj);
	pthread_mutex_unlock(&m->lock);
	return err;
}

static int detach(struct skep_mprog *m, struct skep_prog *prog, const struct place *at)
{
	struct relative r = {0};
	uint32_t flags;
	int pos = NOWHERE, err = 0;

	pthread_mutex_lock(&m->lock);
	if (!m->n)
		err = -ENOENT;
	else if (at->flags & BPF_F_REPLACE)
		err = -EINVAL;
	else if (at->revision && at->revision != m->revision)
		err = -ESTALE;
	else
		err = get_relative(m->skep, at, prog ? prog->type : 0, &r);
	if (!err && prog) {
		pos = exactly(m, prog, NULL);
		err = pos < 0 ? pos : 0;
	}
	if (!err) {
		pos = locate(m, at, &r, pos, &flags);
		err = pos < -1 ? pos : 0;
	}
	if (!err) {
		pos = pos == -1 ? 0 : pos == (int)m->n ? pos - 1 : pos;
		if (prog && m->e[pos].prog != prog)
			err = -ENOENT;
		else if (m->e[pos].link)
			err = -EBUSY; /* the link's to detach */
		else
			err = take_out(m, (uint32_t)pos);
	}
	skep_object_put(r.obj);
	pthread_mutex_unlock(&m->lock);
	return err;
}

/* ---- Commands ---- */

static struct place place_of(const union bpf_attr *a)
{
	return (struct place){a->attach_flags, a->relative_fd, a->expected_revision};
}

int skep_mprog_attach(struct skep_mprog *m, struct skep_prog *prog, const union bpf_attr *a)
{
	struct place at = place_of(a);
	struct skep_prog *old = NULL;
	int err = 0;

	if (a->attach_flags & BPF_F_REPLACE)
		err = skep_get_prog(m->skep, a->replace_bpf_fd, &old);
	if (!err && old && old->type != prog->type)
		err = -EINVAL;
	if (!err)
		err = attach(m, prog, NULL, old, &at);
	if (old)
		skep_object_put(&old->obj);
	return err;
}

int skep_mprog_detach(struct skep_mprog *m, struct skep_prog *prog, const union bpf_attr *a)
{
	struct place at = place_of(a);

	return detach(m, prog, &at);
}

void skep_mprog_clear(struct skep_mprog *m)
{
	while (m->n)
		skep_object_put(&m->e[--m->n].prog->obj);
	pthread_mutex_destroy(&m->lock);
}

/* The list as it is now, so that answers are written without the lock. */
struct copy {
	uint64_t revision;
	uint32_t n, progs[SKEP_MPROG_MAX], links[SKEP_MPROG_MAX];
};

int skep_mprog_query(struct skep_mprog *m, struct skep_call *c)
{
	static const uint32_t none[SKEP_MPROG_MAX]; /* no entry has flags */
	const union bpf_attr *a = &c->attr;
	struct copy now = {.revision = 1};
	int ret = 0;

	if (a->query.query_flags || a->query.attach_flags)
		return -EINVAL;
	if (m) {
		pthread_mutex_lock(&m->lock);
		now.revision = m->revision;
		for (; now.n < m->n; now.n++) {
			now.progs[now.n] = m->e[now.n].prog->obj.id;
			now.links[now.n] = m->e[now.n].link ? m->e[now.n].link->obj.id : 0;
		}
		pthread_mutex_unlock(&m->lock);
	}
	if (skep_call_put(c, query.attach_flags, 0) ||
	    skep_call_put(c, query.revision, now.revision) || skep_call_put(c, query.count, now.n))
		return -EFAULT;
	uint32_t n = a->query.count;
	if (!n || !a->query.prog_ids || !now.n)
		return 0;
	if (n < now.n)
		ret = -ENOSPC;
	else
		n = now.n;
	const struct {
		uint64_t to;
		const uint32_t *from;
	} arrays[] = {{a->query.prog_ids, now.progs},
		      {a->query.prog_attach_flags, none},
		      {a->query.link_ids, now.links},
		      {a->query.link_attach_flags, none}};
	for (size_t i = 0; i < sizeof(arrays) / sizeof(*arrays); i++)
		if (arrays[i].to &&
		    skep_user_write(arrays[i].to, arrays[i].from, n * sizeof(uint32_t)))
			return -EFAULT;
	return ret;
}

/* ---- Links ---- */

static int link_attach(struct skep_link *link, const union bpf_attr *a)
{
	struct place at = {a->link_create.flags, a->link_create.tcx.relative_fd,
			   a->link_create.tcx.expected_revision};

	return attach(link->arg, link->prog, link, NULL, &at);
}

static void link_detach(struct skep_link *link)
{
	struct skep_mprog *m = link->arg;

	pthread_mutex_lock(&m->lock);
	for (uint32_t i = 0; i < m->n; i++)
		if (m->e[i].link == link) {
			take_out(m, i);
			break;
		}
	pthread_mutex_unlock(&m->lock);
}

static int link_update(struct skep_link *link, struct skep_prog *next, uint32_t flags)
{
	struct place at = {.flags = BPF_F_REPLACE};

	return attach(link->arg, next, link, link->prog, &at);
}

const struct skep_hook skep_mprog_tcx = {.name = "tcx",
					 .link_type = BPF_LINK_TYPE_TCX,
					 .attach = link_attach,
					 .detach = link_detach,
					 .update = link_update,
					 .can_detach = true};
