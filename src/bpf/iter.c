/* SPDX-License-Identifier: Apache-2.0 */
/* Iterators: the targets, links, and how a text comes about. */
#include "bpf/iter.h"

#include <stdlib.h>
#include <string.h>

#include "bpf/link_cmd.h"
#include "bpf/sys.h"

#define SEQ_SIZE (8 * 4096) /* what one object may write: the kernel's buffer */

static const struct skep_iter_target *const targets[] = {&skep_iter_maps, &skep_iter_progs,
							 &skep_iter_links, &skep_iter_map_elems,
							 &skep_iter_tasks};

const struct skep_iter_target *skep_iter_find(const char *func)
{
	static const char prefix[] = "bpf_iter_";

	if (strncmp(func, prefix, sizeof(prefix) - 1) != 0)
		return NULL;
	for (size_t i = 0; i < sizeof(targets) / sizeof(targets[0]); i++)
		if (!strcmp(func + sizeof(prefix) - 1, targets[i]->name))
			return targets[i];
	return NULL;
}

/* ---- Links ---- */

const struct skep_iter_link *skep_iter_of(const struct skep_link *link)
{
	return link->priv;
}

static int read_info(const union bpf_attr *a, union bpf_iter_link_info *info)
{
	uint64_t from = a->link_create.iter_info;
	uint32_t len = a->link_create.iter_info_len;

	memset(info, 0, sizeof(*info));
	if (a->link_create.target_fd || a->link_create.flags || !from != !len)
		return -EINVAL;
	int err = from ? skep_user_tail_zero(from, sizeof(*info), len) : 0;
	if (err)
		return err;
	return skep_user_read(info, from, len < sizeof(*info) ? len : sizeof(*info));
}

static int attach(struct skep_link *link, const union bpf_attr *attr)
{
	const struct skep_iter_target *t = link->prog->iter;
	union bpf_iter_link_info info;
	struct skep_iter_link *l;
	int err = read_info(attr, &info);

	if (err)
		return err;
	if (link->prog->sleepable && !t->sleepable)
		return -EINVAL;
	l = calloc(1, sizeof(*l));
	if (!l)
		return -ENOMEM;
	l->target = t;
	err = t->attach ? t->attach(link->obj.skep, link->prog, &info, l) : 0;
	if (err)
		free(l);
	else
		link->priv = l;
	return err;
}

static void detach(struct skep_link *link)
{
	struct skep_iter_link *l = link->priv;

	if (l->map)
		skep_object_put(&l->map->obj);
	free(l);
	link->priv = NULL;
}

static int update(struct skep_link *link, struct skep_prog *next, uint32_t flags)
{
	return next->attach_btf_id == link->prog->attach_btf_id ? 0 : -EINVAL;
}

static int fill_info(struct skep_link *link, struct bpf_link_info *info)
{
	const struct skep_iter_link *l = link->priv;
	uint64_t to = info->iter.target_name;
	uint32_t room = info->iter.target_name_len, len = (uint32_t)strlen(l->target->name) + 1;

	if (!to != !room)
		return -EINVAL;
	memset(&info->iter, 0, sizeof(info->iter));
	info->iter.target_name = to;
	info->iter.target_name_len = len;
	if (to && (skep_user_write(to, l->target->name, room < len ? room - 1 : len) ||
		   (room < len && skep_user_write(to + room - 1, "", 1))))
		return -EFAULT;
	if (to && room < len)
		return -ENOSPC;
	if (l->target->info)
		l->target->info(l, info);
	return 0;
}

static const struct skep_hook hook = {.name = "iter",
				      .link_type = BPF_LINK_TYPE_ITER,
				      .attach = attach,
				      .detach = detach,
				      .update = update,
				      .info = fill_info};

long skep_iter_link(struct skep_call *c, struct skep_prog *prog)
{
	return skep_link_make(c, prog, BPF_TRACE_ITER, 0, &hook, NULL, 0);
}

/* ---- Texts ---- */

/* What was written so far is read before the next object begins. */
static int flush(struct skep_iter *it)
{
	uint64_t more = it->seq.view.count;
	char *grown;

	if (!more)
		return 0;
	grown = realloc(it->text, it->len + more);
	if (!grown)
		return -ENOMEM;
	it->text = grown;
	memcpy(it->text + it->len, it->seq.buf, more);
	it->len += more;
	it->seq.view.count = 0;
	return 0;
}

static void show_memory(struct skep_iter *it)
{
	struct skep_session *s = &it->session;

	skep_session_hide_all(s);
	skep_session_show(s, it->ctx, it->of->target->args * 8, SKEP_REGION_READ);
}

/* An object whose text finds no room, or for which the program asks, is shown once more to an
 * empty buffer: it has to fit then. */
int skep_iter_show(struct skep_iter *it)
{
	struct skep_session *s = &it->session;
	struct skep_seq *seq = &it->seq;
	bool last = !it->ctx[it->of->target->args - 1]; /* the call at the end, without an object */

	for (;;) {
		uint64_t before = seq->view.count;

		seq->overflow = false;
		skep_enter(s->env);
		uint64_t again = skep_session_run(s, it->ctx);
		skep_leave(s->env);
		if (!seq->overflow && (!again || last)) {
			it->meta.seq_num++;
			return 0;
		}
		seq->view.count = before;
		if (!before)
			return again && !last ? -EAGAIN : -E2BIG;
		int err = flush(it);
		if (err)
			return err;
	}
}

static int run(struct skep_iter *it, struct skep_prog *prog)
{
	int err, flushed = 0;

	it->seq.buf = malloc(SEQ_SIZE);
	if (!it->seq.buf)
		return -ENOMEM;
	err = skep_session_open(&it->session, prog);
	if (err)
		goto out;
	it->seq.view.size = SEQ_SIZE;
	it->meta.seq = &it->seq.view;
	it->ctx[0] = (uintptr_t)&it->meta;
	show_memory(it);
	err = it->of->target->each(it);
	if (!err) {
		/* Without an object, once; a map whose elements they were stays. */
		for (uint32_t i = it->of->map ? 2 : 1; i < it->of->target->args; i++)
			it->ctx[i] = 0;
		err = skep_iter_show(it);
	}
	flushed = flush(it);
	skep_session_close(&it->session);
out:
	free(it->seq.buf);
	/* A reader would get the text before the error: it ends there. */
	return it->len ? flushed : err;
}

long skep_iter_text(struct skep_call *c, struct skep_link *link)
{
	struct skep_caller *caller = skep_caller_current();
	struct skep_sys *sys = skep_sys(c->skep);
	struct skep_iter it = {.skep = c->skep, .of = skep_iter_of(link)};
	struct skep_prog *prog = skep_link_prog(link);
	long fd = -ENOMEM;

	if (!sys || !prog)
		goto out;
	pthread_mutex_lock(&sys->lock);
	it.meta.session_id = ++sys->iter_sessions;
	pthread_mutex_unlock(&sys->lock);
	fd = run(&it, prog);
	if (!fd)
		fd = skep_fd_text("bpf_iter", it.text, it.len);
	if (fd >= 0 && caller)
		caller->gave = true;
out:
	free(it.text);
	if (prog)
		skep_object_put(&prog->obj);
	return fd;
}
